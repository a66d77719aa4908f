"""Tubes through a stack of slices: circles of neighbouring slices that go on in one another."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .circles import holds, of_one_rack, search, square_voxels
from .scene import INWARD, Circle

Array = NDArray[np.float64]

_SLABS = 16  # at most: slices between are averaged, which is where a long tube gains
_MISSED = 2  # slabs in a row in which a tube may go unseen
_PERSISTENT = 0.5  # of the longest track: what comes and goes is no tube
_ENDS = 0.5  # of a tube's usual level: there it has ended
_STEADY = 0.5  # voxels, the scatter of the radii of a tube; more is a sphere or a cone


@dataclass
class _Track:
    """One object: its circle in each slab where it was seen."""

    seen: dict[int, Circle] = field(default_factory=dict)

    @property
    def last(self) -> int:
        return max(self.seen)

    @property
    def recent(self) -> Circle:
        """Where it was last, and as wide as it mostly was: one slab gone wrong is no other tube."""
        return self.seen[self.last]._replace(radius=self.typical.radius)

    @property
    def typical(self) -> Circle:
        x, y, radius = np.median([one[:3] for one in self.seen.values()], axis=0)
        return Circle(float(x), float(y), float(radius), INWARD)


def find_in_stack(stack: NDArray[Any], dx: float, dy: float, points: int = 1) -> tuple[Array, int]:
    """Round tubes in a stack of slices, each followed from its first slice to its last.

    Parameters
    ----------
    stack : ndarray (x, y, z)
        Best the root sum of squares over all echoes.
    dx, dy : float
        Voxel size in mm.
    points : int
        How many images it is the root sum of squares of.

    Returns
    -------
    ndarray (tubes, z, 3)
        x, y of the centre and the radius in every slice, in mm from the centre of the first voxel;
        NaN where the tube is not. Tubes may lean; a sphere's radius changes from slice to slice.
    int
        How many more were left out, less than half as wide as most: wells, ports, fiducials.
    """
    slices = stack.shape[2]
    slabs = np.array_split(np.arange(slices), min(slices, _SLABS))
    tracks: list[_Track] = []
    for index, slab in enumerate(slabs):
        picture, step = square_voxels(stack[:, :, slab].mean(axis=2), dx, dy)
        tubes, containers = search(picture, points)
        _follow(tracks, index, tubes if len(slabs) == 1 else [*tubes, *containers])
    longest = max((len(track.seen) for track in tracks), default=0)
    tracks = [track for track in tracks if len(track.seen) >= _PERSISTENT * longest]
    tracks = [track for track in tracks if not any(_contains(track, other) for other in tracks)]
    rack = of_one_rack([track.typical for track in tracks])
    paths = [_path(track, slabs) * step for track in tracks if track.typical in rack]
    for path in paths:
        _ended(path, stack, dx, dy)
    return np.array(paths).reshape(-1, slices, 3), len(tracks) - len(paths)


def _contains(track: _Track, other: _Track) -> bool:
    """Whether one object lies within another, where there are both."""
    together = len(track.seen.keys() & other.seen.keys())
    return 2 * together >= len(other.seen) and holds(track.typical, other.typical)


def _follow(tracks: list[_Track], index: int, circles: list[Circle]) -> None:
    """Add the circles of a slab to the tracks they go on, nearest first, or begin new ones."""
    waiting = [track for track in tracks if index - track.last <= _MISSED + 1]
    pairs = sorted(
        (float(np.hypot(one.x - was.x, one.y - was.y)), i, j)
        for i, one in enumerate(circles)
        for j, was in enumerate(track.recent for track in waiting)
        if np.hypot(one.x - was.x, one.y - was.y) < 0.5 * min(one.radius, was.radius)
        and 0.5 < one.radius / was.radius < 2
    )
    taken: set[int] = set()
    going_on: set[int] = set()
    for _, i, j in pairs:
        if i not in taken and j not in going_on:
            taken.add(i)
            going_on.add(j)
            waiting[j].seen[index] = circles[i]
    tracks += [_Track({index: one}) for i, one in enumerate(circles) if i not in taken]


def _path(track: _Track, slabs: list[NDArray[np.intp]]) -> Array:
    """Centre and radius in voxels in every slice, (z, 3); NaN beyond the ends."""
    from scipy.stats import theilslopes

    slices = np.arange(slabs[-1][-1] + 1)
    at = np.array([slabs[i].mean() for i in sorted(track.seen)])
    measured = np.array([track.seen[i][:3] for i in sorted(track.seen)])
    path = np.empty((slices.size, 3))
    for column in range(2):
        # A straight line, by medians: one slab gone wrong does not bend a tube.
        slope, middle = 0.0, float(np.median(measured[:, column]))
        if at.size > 2:
            slope, middle, _, _ = theilslopes(measured[:, column], at)
        path[:, column] = middle + slope * slices
    radii = measured[:, 2]
    steady = np.median(np.abs(radii - np.median(radii))) < _STEADY
    path[:, 2] = np.median(radii) if steady else np.interp(slices, at, radii)
    first, last = slabs[min(track.seen)][0], slabs[track.last][-1]
    path[(slices < first) | (slices > last)] = np.nan
    return path


def _ended(path: Array, stack: NDArray[Any], dx: float, dy: float) -> None:
    """NaN in the slices where a path of a tube goes on, but its signal does not."""
    x = np.arange(stack.shape[0])[:, None] * dx
    y = np.arange(stack.shape[1])[None, :] * dy
    inside = [z for z in range(len(path)) if np.isfinite(path[z, 0])]
    levels = np.array(
        [
            np.mean(stack[..., z][np.hypot(x - cx, y - cy) <= 0.7 * radius])
            for z, (cx, cy, radius) in zip(inside, path[inside], strict=True)
        ]
    )
    for z, level in zip(inside, levels, strict=True):
        if level < _ENDS * np.median(levels):
            path[z] = np.nan
