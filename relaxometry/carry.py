"""Labels carried to another grid: a voxel goes with a tube only where it lies wholly inside.

Nearest neighbour alone would count a coarse voxel that straddles a wall, because its centre is
inside. Here the whole voxel of the target decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from .errors import GeometryError
from .geometry import Affine, voxel_size

Array = NDArray[np.float64]
Labels = NDArray[np.int32]

# Of a voxel, each way from its centre: what must lie inside a region that was drawn (the whole
# voxel), less what the digits of a header may be off by.
_WHOLE, _DIGITS = 0.5, 0.05
# A circle that keeps a margin is the tube's wall, and an image blurs a wall over one voxel in the
# plane; a slice has edges of its own.
_CLEAR_OF_WALL = (1.0, 1.0, 0.5)
# A tube's circle stands for all its slices where the labels of none reach further out, or less far,
# by more than this: voxels of the labels.
_UPRIGHT = 0.5
# Voxels that coincide to this share of their size are the same voxels.
_SAME_LATTICE = 0.02
_VOXELS_AT_ONCE = 200_000  # of the other grid: their places take memory
_TINY = 1e-6  # mm or slices, of rounding


def carried_labels(
    labels: Labels,
    affine: Affine,
    numbers: Sequence[int],
    grid: tuple[int, int, int],
    target: Affine,
    circles: Array | None = None,
    margin_mm: float = 0.0,
    walls: Array | None = None,
) -> Labels:
    """Labels on a grid of other resolution, orientation or field of view.

    A voxel belongs to a tube when its centre does and all of it lies inside: inside the labels, or
    inside the circle, extended along the normal over the slices that hold the tube. Where the
    circle is not that of every slice (a leaning tube, a sphere) it does not count, and the labels
    do. A circle with a margin is taken for the wall: the centre keeps `margin_mm` from it, and a
    voxel grown to twice its size in the plane lies inside; so it is with the wall seen around a
    region drawn deep inside a tube. Where the voxels are those of the labels (axes swapped or
    flipped, a field of view moved by whole voxels), the labels come out as they are. Beyond the
    first and the last slice of the image a tube is taken to go on, but for leaning tubes, spheres,
    and labels carried to slices that are not parallel.

    Parameters
    ----------
    labels : ndarray of int32 (x, y, z)
    affine : ndarray (4, 4)
        Of the labels, voxel → mm.
    numbers : sequence of int
        Of the tubes, in the order of the circles.
    grid : (nx, ny, nz)
    target : ndarray (4, 4)
        Of the grid, voxel → mm.
    circles : ndarray (tubes, 3), optional
        x, y, radius in mm along a row and down a column from the centre of the labels' first voxel.
    margin_mm : float
        How far the labels keep from the circles.
    walls : ndarray (tubes, 3), optional
        Circles like these, of the walls of tubes whose region lies deep inside; NaN for others.

    Returns
    -------
    ndarray of int32, of shape `grid`

    Raises
    ------
    GeometryError
        If a tube has no voxel there, saying whether it lies outside or the voxels are too coarse.
    """
    to_here: Affine = np.linalg.inv(affine) @ target
    if walls is None:
        walls = np.full((len(numbers), 3), np.nan)
    upright = np.ones(len(numbers), dtype=bool)
    if circles is not None:
        upright[:] = [
            _is_upright(labels == number, affine, circle, margin_mm)
            for number, circle in zip(numbers, circles, strict=True)
        ]
    # A wall, too, is known as one circle.
    walls = np.where(upright[:, None], walls, np.nan)
    by_circle = upright & (circles is not None and not _same_in_plane(to_here, grid))
    by_label = [n for n, circular in zip(numbers, by_circle, strict=True) if not circular]
    carried = np.zeros(grid, dtype=np.int32)
    if by_label:
        deep = {n: wall for n, wall in zip(numbers, walls, strict=True) if np.isfinite(wall).all()}
        own = np.where(np.isin(labels, by_label), labels, 0)
        bent = [n for n, straight in zip(numbers, upright, strict=True) if not straight]
        carried = _wholly_labelled(own, affine, to_here, grid, deep, bent)
    if circles is not None and by_circle.any():
        _add_wholly_in_circles(
            carried,
            labels,
            affine,
            np.array(numbers)[by_circle].tolist(),
            to_here,
            circles[by_circle],
            margin_mm,
            circles[by_circle] if margin_mm > 0 else walls[by_circle],
        )
    missing = sorted(set(numbers) - set(np.unique(carried).tolist()))
    if missing:
        raise _not_there(missing[0], labels, to_here, grid, target)
    return carried


def _is_upright(inside: NDArray[np.bool_], affine: Affine, circle: Array, margin: float) -> bool:
    """Whether a tube's labels (x, y, z) are its circle less the margin, in all slices it is in."""
    dx, dy, _ = voxel_size(affine)
    there = inside.any(axis=(0, 1))
    in_all, in_any = inside[..., there].all(axis=2), inside.any(axis=2)
    x, y = np.indices(in_any.shape)
    within = circle[2] - margin - np.hypot(x * dx - circle[0], y * dy - circle[1])  # mm
    beyond = -within[in_any].min(initial=0)
    short = within[~in_all].max(initial=0)
    return bool(max(beyond, short) <= _UPRIGHT * max(dx, dy))


def _same_in_plane(to_here: Affine, grid: tuple[int, int, int]) -> bool:
    """Whether seen along the normal every voxel of the grid is a voxel of the labels."""
    whole = np.rint(to_here[:2])
    corners = np.array(list(product(*((0, n - 1) for n in grid), (1,)))).T
    off = np.abs((to_here[:2] - whole) @ corners).max()
    return bool(off <= _SAME_LATTICE and (np.abs(whole[:, :3]).sum(axis=1) == 1).all())


def _nearest(labels: Labels, place: Array) -> Labels:
    """Label at each place (3, …) in voxels of the labels; 0 outside."""
    voxel = np.rint(place).astype(np.intp)
    shape = np.array(labels.shape).reshape(3, *(1,) * (voxel.ndim - 1))
    inside = ((voxel >= 0) & (voxel < shape)).all(axis=0)
    found = np.zeros(voxel.shape[1:], dtype=np.int32)
    found[inside] = labels[tuple(voxel[:, inside])]
    return found


def _wholly_labelled(
    labels: Labels,
    affine: Affine,
    to_here: Affine,
    grid: tuple[int, int, int],
    deep: Mapping[int, Array],
    bent: Sequence[int],
) -> Labels:
    carried = np.zeros(grid, dtype=np.int32)
    rows = max(_VOXELS_AT_ONCE // (grid[1] * grid[2]), 1)
    for first in range(0, grid[0], rows):
        part = carried[first : first + rows]
        step = np.eye(4)
        step[0, 3] = first
        part[:] = _part_wholly_labelled(labels, affine, to_here @ step, part.shape, deep, bent)
    return carried


def _part_wholly_labelled(
    labels: Labels,
    affine: Affine,
    to_here: Affine,
    grid: tuple[int, ...],
    deep: Mapping[int, Array],
    bent: Sequence[int],
) -> Labels:
    there = np.indices(grid).reshape(3, -1)
    centre = to_here[:3, :3] @ there + to_here[:3, 3:]
    label = _nearest(labels, centre)
    mm = np.array(voxel_size(affine))[:2, None]
    safe = []
    for number, wall in deep.items():
        own = np.flatnonzero(label == number)
        safe.append(own[_inside(centre[:2, own] * mm, _corners(to_here, mm, _CLEAR_OF_WALL), wall)])
    counted = np.flatnonzero((label > 0) & ~np.isin(label, list(deep)))
    # Slices cut otherwise may leave the tube where they leave the labels: it may lie along them.
    parallel = np.sort(np.abs(to_here[2, :3]))[1] < _SAME_LATTICE
    # Points over the whole voxel, no further apart than the voxels of the labels.
    reach = _WHOLE - _DIGITS
    across = np.ceil(2 * reach * np.abs(to_here[:3, :3]).max(axis=0)).astype(int) + 1
    along = [np.linspace(-reach, reach, max(n, 2)) for n in across]
    for offset in product(*along):
        place = centre[:, counted] + (to_here[:3, :3] @ offset)[:, None]
        if parallel:
            on = ~np.isin(label[counted], bent)
            place[2, on] = np.clip(place[2, on], 0, labels.shape[2] - 1)
        counted = counted[_nearest(labels, place) == label[counted]]
    counted = np.concatenate([counted, *safe])
    carried = np.zeros(label.size, dtype=np.int32)
    carried[counted] = label[counted]
    return carried.reshape(grid)


def _corners(to_here: Affine, mm: Array, halves: tuple[float, float, float]) -> Array:
    """(2, 8) of a voxel of the target grown to these half sizes, in the plane, from its centre."""
    signs = np.array(list(product(*((-h, h) for h in halves)))).T
    corners: Array = (to_here[:2, :3] @ signs) * mm
    return corners


def _inside(place: Array, corners: Array, circle: Array) -> NDArray[np.bool_]:
    """Whether all corners of the voxels at these places (2, n) in mm lie in a circle."""
    x, y, radius = circle
    inside = np.ones(place.shape[1], dtype=bool)
    for dx, dy in corners.T:
        inside &= np.hypot(place[0] + dx - x, place[1] + dy - y) <= radius + _TINY
    return inside


def _add_wholly_in_circles(
    carried: Labels,
    labels: Labels,
    affine: Affine,
    numbers: Sequence[int],
    to_here: Affine,
    circles: Array,
    margin_mm: float,
    walls: Array,
) -> None:
    dx, dy, _ = voxel_size(affine)
    mm = np.array([[dx], [dy], [1.0]])  # the third axis is counted in slices
    clear = _corners(to_here, mm[:2], _CLEAR_OF_WALL)
    whole = _corners(to_here, mm[:2], (_WHOLE,) * 3)
    deep = (_WHOLE - _DIGITS) * np.abs(to_here[2, :3]).sum()  # of a voxel, in slices
    for number, circle, wall in zip(numbers, circles, walls, strict=True):
        slices = np.flatnonzero((labels == number).any(axis=(0, 1)))
        slab = (slices[0] - 0.5, slices[-1] + 0.5)
        box = _box(to_here, carried.shape, mm, circle, slab)
        if box is None:
            continue
        there = np.stack(np.meshgrid(*(np.arange(s.start, s.stop) for s in box), indexing="ij"))
        there = there.reshape(3, -1)
        place = (to_here[:3, :3] @ there + to_here[:3, 3:]) * mm
        inside = (place[2] >= slab[0] - _TINY) & (place[2] <= slab[1] + _TINY)
        if slices[0] > 0:
            inside &= place[2] - deep >= slab[0]
        if slices[-1] < labels.shape[2] - 1:
            inside &= place[2] + deep <= slab[1]
        away = np.hypot(place[0] - circle[0], place[1] - circle[1])
        inside &= away <= circle[2] - margin_mm + _TINY
        seen = bool(np.isfinite(wall).all())
        inside &= _inside(place[:2], clear if seen else whole, wall if seen else circle)
        carried[tuple(there[:, inside])] = number


def _box(
    to_here: Affine,
    grid: tuple[int, ...],
    mm: Array,
    circle: Array,
    slab: tuple[float, float],
) -> tuple[slice, slice, slice] | None:
    """The part of the grid that holds a tube; None if it lies outside."""
    x, y, radius = circle
    ends = np.array(list(product((x - radius, x + radius), (y - radius, y + radius), slab))).T / mm
    from_here = np.linalg.inv(to_here)
    there = from_here[:3, :3] @ ends + from_here[:3, 3:]
    low = np.maximum(np.floor(there.min(axis=1)), 0).astype(int)
    high = np.minimum(np.ceil(there.max(axis=1)) + 1, grid).astype(int)
    if (low >= high).any():
        return None
    i, j, k = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return i, j, k


def _not_there(
    number: int, labels: Labels, to_here: Affine, grid: tuple[int, int, int], target: Affine
) -> GeometryError:
    middle = np.argwhere(labels == number).mean(axis=0)
    place = np.linalg.solve(to_here, [*middle, 1])[:3]
    size = " × ".join(f"{edge:.3g}" for edge in voxel_size(target))
    if ((place > -0.5) & (place < np.array(grid) - 0.5)).all():
        return GeometryError(
            f"no voxel of the other series lies wholly inside tube {number}: "
            f"its voxels of {size} mm are too coarse",
            expected="voxels well smaller than the tubes",
            hint="leave the tube out, or scan with smaller voxels or thinner slices",
        )
    return GeometryError(
        f"tube {number} lies outside the other series",
        expected="series that show the same tubes",
        hint="draw the tubes on each series, or scan them in one position",
    )
