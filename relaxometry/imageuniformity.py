"""Image uniformity of a phantom, as NEMA MS 3 measures it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import ndtri

from .background import find_object
from .errors import GeometryError, InputError
from .jupyter import Shown
from .voxelcorrelation import as_volume

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: NEMA's low-pass filter: 1-2-1 each way.
WEIGHTS = np.outer([1, 2, 1], [1, 2, 1]) / 16
#: The measurement region holds at least so much of the phantom's area.
AREA = 0.75
FORMULA = "100·(1 − (Smax − Smin)/(Smax + Smin)), S filtered 1-2-1 each way"
_SMALLEST = 100  # voxels of a phantom in a slice, below which its edge is in every part of it
_FILTERED_SD = float(np.sqrt((WEIGHTS**2).sum()))  # 0.375 of that of a voxel
_DETAIL_SD = math.sqrt(1 - 2 * WEIGHTS[1, 1] + _FILTERED_SD**2)  # of S less its filtered self
_NOISY = 1.0  # percent of uniformity that noise may take without a note


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Uniformity(Shown):
    """Uniformity of an image, by slice and over all.

    Attributes
    ----------
    uniformity_percent : float
        U = 100·(1 − (Smax − Smin)/(Smax + Smin)) on the filtered image; 100 is even.
    naad_percent : float
        Normalised absolute average deviation, 100·(1 − mean|S − S̄|/S̄) on the filtered image: what
        NEMA asks for where the SNR is too low for the extremes.
    S_max, S_min, S_mean : float
        Of the filtered image in the region.
    at_max, at_min : tuple of int
        The voxels where they lie.
    noise_percent : float
        About what U would fall short of 100 by noise alone, were the phantom even.
    n_voxels : int
    region : ndarray of bool
        The measurement region, in the shape of the image.
    notes : tuple of str
    slices : tuple of Uniformity
        Slice by slice, where the image has several.
    """

    uniformity_percent: float
    naad_percent: float
    S_max: float
    S_min: float
    S_mean: float
    at_max: tuple[int, ...]
    at_min: tuple[int, ...]
    noise_percent: float
    n_voxels: int
    region: Mask
    notes: tuple[str, ...] = ()
    slices: tuple[Uniformity, ...] = ()

    @property
    def formula(self) -> str:
        """How the percentage was had, in symbols."""
        return FORMULA

    def row(self) -> dict[str, Any]:
        """Named values, as a table has them."""
        return {
            "uniformity_percent": self.uniformity_percent,
            "naad_percent": self.naad_percent,
            "S_max": self.S_max,
            "S_min": self.S_min,
            "S_mean": self.S_mean,
            "noise_percent": self.noise_percent,
            "n_voxels": self.n_voxels,
        }

    def __repr__(self) -> str:
        slices = f" in {len(self.slices)} slices" if self.slices else ""
        noted = f"; {'; '.join(self.notes)}" if self.notes else ""
        return (
            f"Uniformity: {self.uniformity_percent:.1f} % (S {self.S_min:.4g} to {self.S_max:.4g}) "
            f"over {self.n_voxels} voxels{slices}{noted}"
        )


def uniformity(image: NDArray[Any], region: Mask | None = None) -> Uniformity:
    """Percent integral uniformity of an even phantom (NEMA MS 3).

    The image is filtered with NEMA's nine weights (1-2-1 each way, over 16) slice by slice, with
    voxels of the phantom alone.

    Parameters
    ----------
    image : ndarray (x, y) or (x, y, z)
        Magnitude image of an even phantom.
    region : ndarray of bool, same shape, optional
        Measurement region; the filter reaches one voxel beyond it. By default the phantom is found
        in every slice, and as much taken off its edge, evenly, as leaves at least 75 % of its area.

    Returns
    -------
    Uniformity
        Of all slices together: the largest and smallest of all; `slices` has each of its own.

    Raises
    ------
    InputError
        If no phantom is found, the region is small, not finite or without signal.
    GeometryError
        If shapes differ.

    References
    ----------
    NEMA MS 3-2008 (R2020), Determination of image uniformity in diagnostic magnetic resonance
    images.
    """
    values = np.asarray(image, dtype=float)
    if values.ndim not in (2, 3):
        raise GeometryError(f"{values.ndim} axes", field="image", expected="(x, y) or (x, y, z)")
    if region is None:
        phantom = find_object(values)
        where = measurement_region(phantom)
    else:
        where = np.asarray(region).astype(bool)
        if where.shape != values.shape:
            raise GeometryError(
                f"shape {where.shape}",
                field="region",
                expected=f"that of the image {values.shape}",
            )
        phantom = ndimage.binary_dilation(as_volume(where), np.ones((3, 3, 1), bool))
        phantom = phantom.reshape(values.shape)
    if not where.any():
        raise InputError("no voxels", field="region", hint="draw a region in the phantom")
    volume, inside, held = as_volume(values), as_volume(where), as_volume(phantom)
    if not np.isfinite(volume[inside]).all():
        raise InputError("NaN or infinity in it", field="region", expected="finite values")
    filtered = np.full(volume.shape, np.nan)
    sigma = np.zeros(volume.shape[2])
    present = np.flatnonzero(inside.any(axis=(0, 1)))
    for z in present:
        own = held[..., z] & np.isfinite(volume[..., z])
        filtered[..., z] = low_pass(volume[..., z], own)
        detail = volume[..., z] - filtered[..., z]
        sigma[z] = _noise(
            detail[inside[..., z] & ndimage.binary_erosion(own, np.ones((3, 3), bool))]
        )
    slices = tuple(
        _measured(filtered[..., [z]], inside[..., [z]], sigma[z], values.ndim, int(z))
        for z in present
    )
    if len(slices) == 1:
        return replace(slices[0], region=where)
    whole = _measured(filtered, inside, float(np.sqrt(np.mean(sigma[present] ** 2))), 3)
    return replace(whole, region=where, slices=slices)


def measurement_region(phantom: Mask, area: float = AREA) -> Mask:
    """As much off the edge of a phantom, evenly, as leaves at least `area` of it, by slice.

    A circle stays a circle, a rectangle a rectangle: NEMA's regular shape in the middle.

    Raises
    ------
    InputError
        If no slice has a phantom of 100 voxels.
    """
    volume = as_volume(phantom)
    where = np.zeros(volume.shape, bool)
    for z in np.flatnonzero(volume.sum(axis=(0, 1)) >= _SMALLEST):
        # Beyond the image there is no phantom: its border is an edge too.
        depth = ndimage.distance_transform_edt(np.pad(volume[..., z], 1))[1:-1, 1:-1]
        depths = np.sort(depth[volume[..., z]])[::-1]
        limit = depths[math.ceil(area * depths.size) - 1]
        where[..., z] = depth >= limit
    if not where.any():
        raise InputError(
            f"{int(volume.sum(axis=(0, 1)).max())} voxels of a phantom in a slice",
            field="image",
            expected=f"{_SMALLEST} or more",
            hint="draw the region yourself",
        )
    return where.reshape(phantom.shape)


def low_pass(plane: Array, inside: Mask) -> Array:
    """NEMA's filter, with the voxels `inside` alone: their weights are made to add up to 1."""
    weights = ndimage.convolve(inside.astype(float), WEIGHTS, mode="constant")
    sums = ndimage.convolve(np.where(inside, plane, 0.0), WEIGHTS, mode="constant")
    filtered: Array = np.where(weights > 0, sums, np.nan) / np.where(weights > 0, weights, 1.0)
    return filtered


def _noise(detail: Array) -> float:
    """σ of voxels from an image less its filtered self; NaN where too few tell it."""
    if detail.size < 20:
        return math.nan
    return 1.4826 * float(np.median(np.abs(detail - np.median(detail)))) / _DETAIL_SD


def _measured(filtered: Array, where: Mask, sigma: float, axes: int, z: int = 0) -> Uniformity:
    S, n = filtered[where], int(where.sum())
    highest, lowest, mean = float(S.max()), float(S.min()), float(S.mean())
    if not mean > 0 or not highest + lowest > 0:
        raise InputError(
            f"a mean of {mean:.4g}", field="region", expected="signal: Smax + Smin is divided by"
        )
    places = np.argwhere(where) + np.array([0, 0, z])
    notes = []
    noise = float(100 * _range_of_noise(n) * _FILTERED_SD * sigma / (2 * mean))
    if noise > _NOISY:
        notes.append(
            f"SNR {mean / sigma:.0f}: noise alone makes an even phantom {100 - noise:.0f} % "
            "uniform; take naad_percent, or average images"
        )
    if n < _SMALLEST:
        notes.append(f"region of {n} voxels: little to tell uniformity by")
    return Uniformity(
        100 * (1 - (highest - lowest) / (highest + lowest)),
        100 * (1 - float(np.abs(S - mean).mean()) / mean),
        highest,
        lowest,
        mean,
        tuple(int(i) for i in places[S.argmax()][:axes]),
        tuple(int(i) for i in places[S.argmin()][:axes]),
        noise,
        n,
        where[..., 0],
        tuple(notes),
    )


def _range_of_noise(n: int) -> float:
    """Expected largest less smallest of n filtered voxels of noise, in their SD.

    The largest of m independent normal values lies near Φ⁻¹((m − 0.375)/(m + 0.25)) (Blom); those
    of the filter, which are not independent, reach as far as n/1.4 would (simulated).
    """
    m = max(n / 1.4, 2.0)
    return 2 * float(ndtri((m - 0.375) / (m + 0.25)))
