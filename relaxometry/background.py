"""Where an image shows its object, and where it shows nothing but noise: air.

Ghosts repeat an object along the phase-encoding direction, which an image does not tell. Air that
lies beside the object neither along x nor along y has none of them: the corners.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .errors import InputError
from .voxelcorrelation import as_volume

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Fewest voxels of air in a slice for its noise to count: σ to about 7 %.
AT_LEAST = 100
_SIGNAL = 24.5  # mean/SD of air of 150 coils: more is signal
_SMOOTHED = 5  # voxels, edge of the square over which signal is sought in noise
# Share of a slice that was set to one value from which that may be all of its air; what is left is
# air then only if it is no brighter than this share of the brightest signal.
_MUCH_SET, _DARK = 0.2, 0.15
_SURE = 6.0  # times the scatter of such a square's mean: above, it holds signal
# Of the brightest signal: what is weaker casts no bands. Tried in this order, until air is left:
# where ghosts fill the image, they would else leave none.
_CASTS = (0.0, 0.03, 0.06, 0.12, 0.2)
#: Where nothing but noise is left, and what to do then.
NO_AIR = (
    "measure noise by 'difference' (two images taken alike) or 'smoothed' (one even region), or "
    "give a patch of air, or say by phase_axis along which axis ghosts lie"
)


@dataclass(frozen=True, slots=True)
class Level:
    """A slice in which signal was told from noise.

    `smooth` (x, y) is the image averaged over squares; `level` and `scatter` are those of it in
    air; `usable` leaves out voxels that are not finite or lie in a patch of one value.
    """

    smooth: Array
    usable: Mask
    level: float
    scatter: float

    @property
    def threshold(self) -> float:
        """Above it `smooth` holds signal."""
        return self.level + _SURE * self.scatter

    @property
    def brightest(self) -> float:
        """99th percentile of `smooth`."""
        return float(np.percentile(self.smooth[self.usable], 99))

    @staticmethod
    def of(plane: Array, set_too: bool = False) -> Level | None:
        """None where no voxel is usable: all of one value, unless patches `set` by a scanner do."""
        finite = np.isfinite(plane)
        filled = np.where(finite, plane, 0.0)
        size = _SMOOTHED
        flat = ndimage.maximum_filter(filled, size) == ndimage.minimum_filter(filled, size)
        flat &= not set_too
        spoilt = ndimage.binary_dilation(flat, np.ones((size, size), bool)) | ~finite
        usable = ~ndimage.binary_dilation(spoilt, np.ones((3, 3), bool), iterations=2)
        if not usable.any():
            return None
        smooth = ndimage.uniform_filter(filled, size, mode="nearest")
        return Level(smooth, usable, *_of_air(smooth[usable]))


def _of_air(values: Array) -> tuple[float, float]:
    """Median and scatter of the lowest heap of values; its lower half is free of signal."""
    low, start = np.percentile(values, [1, 5])
    limit = start + 6 * (start - low)
    level = scatter = 0.0
    for _ in range(20):
        heap = values[values <= limit]
        level = float(np.median(heap))
        scatter = 1.4826 * float(np.median(level - heap[heap <= level]))
        if abs(level + 5 * scatter - limit) <= 1e-3 * scatter:
            break
        limit = level + 5 * scatter
    return level, scatter


def find_air(
    image: NDArray[Any],
    *,
    keep_away: int | None = None,
    border: int | None = None,
    phase_axis: int | None = None,
    at_least: int = AT_LEAST,
) -> Mask:
    """Voxels of air: noise alone, away from the object, its ghosts and the edge of the image.

    Signal is what stands out of the lowest level of the image, averaged over squares of 5 voxels.
    Whatever lies beside signal along x or along y is left out, because ghosts fall there; so is
    weaker signal anywhere (ghosts themselves), and patches of one value, which a scanner has set.
    Signal of any slice counts in all, so far as that leaves air.

    Parameters
    ----------
    image : ndarray (x, y) or (x, y, z)
        Magnitude image.
    keep_away : int, optional
        Voxels kept from signal and its bands; by default 3 % of the longer side, at least 3.
    border : int, optional
        Voxels left out at the edge of the image, where filters and gradient correction act; by
        default 2 % of the longer side, at least 2. Where the defaults leave too little air, both
        are as small as 2 voxels.
    phase_axis : {0, 1}, optional
        The phase-encoding axis (0 is x, 1 is y), if known: then only bands along it are left out.
    at_least : int
        Voxels of air below which a slice has none.

    Returns
    -------
    ndarray of bool, the shape of `image`
        A slice without enough air is empty, where another has some.

    Raises
    ------
    InputError
        If no slice has enough air: the object fills the image, or the background was set to one
        value.
    """
    values = np.asarray(image, dtype=float)
    if values.ndim not in (2, 3) or min(values.shape[:2]) < 16:
        raise InputError(
            f"an image of shape {values.shape}",
            field="image",
            expected="(x, y) or (x, y, z), at least 16 voxels wide and tall",
        )
    if phase_axis not in (None, 0, 1):
        raise InputError(f"{phase_axis!r}", field="phase_axis", expected="0 (x), 1 (y) or none")
    volume = as_volume(values)
    side = max(volume.shape[:2])
    away = max(3, round(0.03 * side)) if keep_away is None else keep_away
    edge = max(2, round(0.02 * side)) if border is None else border
    if away < 0 or edge < 0:
        raise InputError(f"{away} and {edge} voxels", field="keep_away, border", expected="≥ 0")
    tried = [(away, edge)]
    if keep_away is None and border is None:
        tried.append((2, 2))
    levels = [Level.of(volume[..., z]) for z in range(volume.shape[2])]
    air = np.zeros(volume.shape, bool)
    for z, level in enumerate(levels):
        if level is not None:
            air[..., z] = _of_slice(level, levels, tried, phase_axis, at_least)
    lowest = min((one.level for one in levels if one is not None), default=0.0)
    for z in np.flatnonzero(air.any(axis=(0, 1))).tolist():
        found = volume[..., z][air[..., z]]
        # Where an object fills a slice, its darkest part is the lowest level.
        if found.mean() > _SIGNAL * found.std() or found.mean() > 2 * lowest:
            air[..., z] = False
        # Where the background was set, its darkest part is the lowest level that was not.
        own = levels[z]
        if own is not None and own.usable.mean() < 1 - _MUCH_SET:
            air[..., z] &= found.mean() <= _DARK * own.brightest
    if not air.any():
        raise InputError(_why_none(levels, volume.shape), field="air", hint=NO_AIR)
    return air.reshape(values.shape)


def _of_slice(
    level: Level,
    levels: list[Level | None],
    tried: list[tuple[int, int]],
    phase_axis: int | None,
    at_least: int,
) -> Mask:
    signal = level.smooth > level.threshold
    # Weaker noise than elsewhere is no air either: a filter or a mask was at work.
    strange = signal | (level.smooth < level.level - _SURE * level.scatter)
    every = [one for one in levels if one is not None]
    for casting in (every, [level]):
        for away, edge in tried:
            clear = level.usable & ~_grown(strange, away)
            clear[:edge], clear[len(clear) - edge :] = False, False
            clear[:, :edge], clear[:, clear.shape[1] - edge :] = False, False
            for share in _CASTS:
                casts = np.any([_casts(one, share) for one in casting], axis=0)
                air: Mask = clear & ~_bands(casts, away, phase_axis)
                air = ndimage.binary_opening(air, np.ones((3, 3), bool))
                if air.sum() >= at_least:
                    return air
    return np.zeros_like(strange)


def _casts(level: Level, share: float) -> Mask:
    above = level.level + share * (level.brightest - level.level)
    found: Mask = (level.smooth > max(level.threshold, above)) & level.usable
    # Squares that reach over the edge of the image hold fewer voxels, and more chance.
    reach = _SMOOTHED // 2
    inner = np.zeros_like(found)
    inner[reach:-reach, reach:-reach] = found[reach:-reach, reach:-reach]
    return inner


def _bands(casts: Mask, away: int, phase_axis: int | None) -> Mask:
    """Every voxel beside signal: along x, along y or, with the phase axis known, along that."""
    beside_y = _grown(np.asarray(casts.any(axis=1, keepdims=True)), away)
    beside_x = _grown(np.asarray(casts.any(axis=0, keepdims=True)), away)
    in_columns, in_rows = (np.broadcast_to(band, casts.shape) for band in (beside_y, beside_x))
    if phase_axis is None:
        return in_columns | in_rows
    return (in_rows if phase_axis == 0 else in_columns) | _grown(casts, away)


def _grown(mask: Mask, by: int) -> Mask:
    grown: Mask = ndimage.maximum_filter(mask, 2 * by + 1, mode="constant", cval=0)
    return grown


def _why_none(levels: list[Level | None], shape: tuple[int, ...]) -> str:
    usable = sum(int(level.usable.sum()) for level in levels if level is not None)
    lost = 1 - usable / np.prod(shape)
    if lost > _MUCH_SET:
        return f"{100 * lost:.0f} % of the image is of one value: the scanner set the background"
    return "no corner free of the object and its ghosts, which fill the image"


def find_object(image: NDArray[Any]) -> Mask:
    """Voxels of the object, slice by slice, without the holes in it.

    Its edge is where the signal is half of that nearby, so that shading moves it little; it is
    brighter than a tenth of the brightest signal, so that ghosts do not count.

    Parameters
    ----------
    image : ndarray (x, y) or (x, y, z)

    Returns
    -------
    ndarray of bool, the shape of `image`
        Empty slices show no object.

    Raises
    ------
    InputError
        If no slice shows one.
    """
    volume = as_volume(np.asarray(image, dtype=float))
    found = np.zeros(volume.shape, bool)
    for z in range(volume.shape[2]):
        found[..., z] = _object_of(volume[..., z])
    if not found.any():
        raise InputError(
            "nothing that stands out of the noise", field="image", hint="draw the region yourself"
        )
    return found.reshape(np.shape(image))


def _object_of(plane: Array) -> Mask:
    filled = np.where(np.isfinite(plane), plane, 0.0)
    level = Level.of(filled, set_too=True)
    nothing = np.zeros(plane.shape, bool)
    if level is None:
        return nothing
    smooth = ndimage.uniform_filter(filled, 3)
    nearby = ndimage.maximum_filter(smooth, 2 * max(4, round(0.03 * max(plane.shape))) + 1)
    signal = level.smooth[level.smooth > level.threshold]
    brightest = float(np.percentile(signal, 95)) if signal.size else level.level
    # Where the lowest level of a slice is as bright as the rest, the object fills it or is missing.
    dark = level.level if level.level < 0.5 * brightest else 0.0
    floor = max(level.threshold if dark else 0.0, dark + 0.1 * (brightest - dark))
    inside = (smooth - dark > 0.5 * (nearby - dark)) & (smooth > floor)
    labels, count = ndimage.label(ndimage.binary_opening(inside, np.ones((3, 3), bool)))
    if not count:
        return nothing
    sizes = np.bincount(labels.ravel())[1:]
    kept = np.flatnonzero(sizes >= max(0.05 * sizes.max(), 25)) + 1
    whole: Mask = ndimage.binary_fill_holes(np.isin(labels, kept))
    return whole
