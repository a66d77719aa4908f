"""Ghosts of a phantom: how much brighter the image is beside it along one axis than the other."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .background import find_object
from .errors import GeometryError, InputError
from .imageuniformity import measurement_region
from .jupyter import Shown
from .voxelcorrelation import as_volume, correlation

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

FORMULA = "100·|(y₁ + y₂) − (x₁ + x₂)|/(2·S)"
#: Voxels of a band beside the phantom below which it is left out.
AT_LEAST = 20
_SURE = 3.0  # standard errors beyond which there is a ghost
_MIDDLE = 0.8  # of the phantom's width, that a band beside it is wide


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Ghosting(Shown):
    """Ghosts beside a phantom.

    Attributes
    ----------
    ghosting_percent : float
        |(y₁ + y₂) − (x₁ + x₂)|/(2·S) in percent, of the means of the bands beside the phantom
        along either axis, S that of the phantom. Noise lifts all bands alike and cancels.
    stderr_percent : float
        Its standard error, by the scatter within the bands.
    ghost_percent : float
        Size of the ghosts themselves, √(mean(M_y²) − mean(M_x²))/S in percent (or x − y): squares
        of noise add, whatever the SNR and the number of coils, while the mean of a magnitude hides
        ghosts weaker than noise. NaN where no ghost is seen.
    seen_percent : float
        Smallest size of a ghost that would have been seen (3 standard errors).
    axis : int or None
        The axis along which ghosts lie: 0 is x, 1 is y; None where the difference of the mean
        squares is chance (less than 3 standard errors).
    S_mean : float
        Mean of the phantom, in its measurement region.
    x_mean, y_mean : float
        Mean of the bands beside the phantom along x and along y.
    phantom, x_bands, y_bands : ndarray of bool
        What was measured, in the shape of the image.
    notes : tuple of str
    slices : tuple of Ghosting
        Slice by slice, where the image has several.
    """

    ghosting_percent: float
    stderr_percent: float
    ghost_percent: float
    seen_percent: float
    axis: int | None
    S_mean: float
    x_mean: float
    y_mean: float
    phantom: Mask
    x_bands: Mask
    y_bands: Mask
    notes: tuple[str, ...] = ()
    slices: tuple[Ghosting, ...] = ()

    @property
    def formula(self) -> str:
        """How the percentage was had, in symbols."""
        return FORMULA

    def row(self) -> dict[str, Any]:
        """Named values, as a table has them."""
        return {
            "ghosting_percent": self.ghosting_percent,
            "ghosting_stderr_percent": self.stderr_percent,
            "ghost_percent": self.ghost_percent,
            "ghost_seen_percent": self.seen_percent,
            "ghost_axis": None if self.axis is None else "xy"[self.axis],
            "S_mean": self.S_mean,
            "x_mean": self.x_mean,
            "y_mean": self.y_mean,
        }

    def __repr__(self) -> str:
        where = f"none above {self.seen_percent:.2g} % seen"
        if self.axis is not None:
            where = f"along {'xy'[self.axis]}, {self.ghost_percent:.2g} % without noise"
        noted = f"; {'; '.join(self.notes)}" if self.notes else ""
        return (
            f"Ghosting: {self.ghosting_percent:.2f} ± {self.stderr_percent:.2f} % of the signal, "
            f"{where}{noted}"
        )


def ghosting(
    image: NDArray[Any], *, keep_away: int | None = None, border: int | None = None
) -> Ghosting:
    """Percent signal ghosting of a phantom (ACR, AAPM report 100).

    Four bands lie beside the phantom, as wide as its middle, between it and the edge of the image.
    Ghosts repeat the phantom along the phase-encoding axis, so one pair has them and one has not.

    Parameters
    ----------
    image : ndarray (x, y) or (x, y, z)
        Magnitude image of one phantom with room beside it.
    keep_away, border : int, optional
        Voxels left out beside the phantom (by default 3 % of the longer side, at least 3) and at
        the edge of the image (2 %, at least 2).

    Returns
    -------
    Ghosting
        For several slices the means over their voxels; `slices` has each.

    Raises
    ------
    InputError
        If no phantom is found, or there is no room for a band along one of the axes.

    References
    ----------
    American College of Radiology, Phantom Test Guidance for the MRI Accreditation Program; AAPM
    report 100 (2010).
    """
    values = np.asarray(image, dtype=float)
    if values.ndim not in (2, 3):
        raise GeometryError(f"{values.ndim} axes", field="image", expected="(x, y) or (x, y, z)")
    if not np.isfinite(values).all():
        raise InputError("NaN or infinity in it", field="image", expected="finite values")
    volume = as_volume(values)
    side = max(volume.shape[:2])
    away = max(3, round(0.03 * side)) if keep_away is None else keep_away
    edge = max(2, round(0.02 * side)) if border is None else border
    phantom = as_volume(find_object(values))
    whole = as_volume(measurement_region(phantom))
    bands = np.zeros((2, *volume.shape), bool)
    notes: list[str] = []
    present = np.flatnonzero(whole.any(axis=(0, 1)))
    for z in present:
        bands[..., z], one_sided = _bands(phantom[..., z], away, edge)
        notes += one_sided
    slices = tuple(
        _measured(volume[..., [z]], whole[..., [z]], bands[..., [z]], notes) for z in present
    )
    shape = values.shape
    overall = slices[0] if len(slices) == 1 else _measured(volume, whole, bands, notes)
    return replace(
        overall,
        phantom=whole.reshape(shape),
        x_bands=bands[0].reshape(shape),
        y_bands=bands[1].reshape(shape),
        slices=() if len(slices) == 1 else tuple(_flat(one) for one in slices),
    )


def _bands(phantom: Mask, away: int, edge: int) -> tuple[NDArray[np.bool_], list[str]]:
    """Masks (2, x, y) of the bands beside a phantom, and which side has none."""
    found = np.zeros((2, *phantom.shape), bool)
    notes = []
    spans = [np.flatnonzero(phantom.any(axis=1 - axis))[[0, -1]] for axis in (0, 1)]
    for axis in (0, 1):
        first, last = spans[axis]
        low, high = spans[1 - axis]
        trim = round((1 - _MIDDLE) / 2 * (high - low + 1))
        across = slice(max(low + trim, edge), min(high - trim + 1, phantom.shape[1 - axis] - edge))
        sides = (
            slice(edge, max(first - away, edge)),
            slice(last + away + 1, max(phantom.shape[axis] - edge, last + away + 1)),
        )
        kept = 0
        for along in sides:
            at = (along, across) if axis == 0 else (across, along)
            if found[axis][at].size >= AT_LEAST:
                found[axis][at] = True
                kept += 1
        if not kept:
            raise InputError(
                f"no room beside the phantom along {'xy'[axis]}",
                field="image",
                expected=f"a band of {AT_LEAST} voxels, {away} away from it and {edge} from the "
                "edge of the image",
                hint="scan it with a larger field of view",
            )
        if kept == 1:
            notes.append(f"only one side of the phantom along {'xy'[axis]} has room for a band")
    return found, notes


def _measured(volume: Array, whole: Mask, bands: Mask, notes: list[str]) -> Ghosting:
    S = float(volume[whole].mean())
    if not S > 0:
        raise InputError(f"a mean of {S:.4g}", field="phantom", expected="signal to divide by")
    means, variances, squares, square_variances = [], [], [], []
    for band in bands:
        found = volume[band]
        per = correlation(volume, band).per_mean / found.size
        means.append(float(found.mean()))
        variances.append(float(found.var(ddof=1)) * per)
        squares.append(float((found**2).mean()))
        square_variances.append(float((found**2).var(ddof=1)) * per)
    # The mean of two bands of a pair is half their sum: the 2 of the formula goes.
    signed = 100 * (means[1] - means[0]) / S
    stderr = 100 * math.sqrt(sum(variances)) / S
    difference, sure = squares[1] - squares[0], _SURE * math.sqrt(sum(square_variances))
    axis = None if abs(difference) <= sure else int(difference > 0)
    ghost = math.nan if axis is None else 100 * math.sqrt(abs(difference)) / S
    return Ghosting(
        abs(signed),
        stderr,
        ghost,
        100 * math.sqrt(sure) / S,
        axis,
        S,
        means[0],
        means[1],
        whole,
        bands[0],
        bands[1],
        tuple(dict.fromkeys(notes)),
    )


def _flat(one: Ghosting) -> Ghosting:
    return replace(
        one, phantom=one.phantom[..., 0], x_bands=one.x_bands[..., 0], y_bands=one.y_bands[..., 0]
    )
