"""SNR of a region and of every voxel of a magnitude image."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import GeometryError, InputError
from .estimate import Estimate
from .noiselevel import METHODS, Noise, NoiseMethod, measure_noise


def snr(
    image: NDArray[Any],
    region: NDArray[np.bool_],
    noise: NDArray[np.bool_] | Noise | float | None = None,
    method: NoiseMethod = "sd",
    *,
    coils: int = 1,
    second: NDArray[Any] | None = None,
) -> float:
    """Signal-to-noise ratio of a region in one magnitude image.

    Parameters
    ----------
    image : ndarray (x, y) or (x, y, z)
    region : ndarray of bool, same shape
        The tissue.
    noise : ndarray of bool, Noise or float, optional
        A patch of air; or the noise itself. Default: air is sought, or for ``difference`` and
        ``smoothed`` the noise of `region` is measured.
    method : str
        As in :func:`relaxometry.measure_noise`. ``sd``: mean(region)/SD(noise), as the relaxivity
        papers do. ``rayleigh``: the SD is divided by √(2 − π/2) = 0.6551 first, because magnitude
        noise in air is Rayleigh (NEMA MS 1, MS 6).
    coils : int
        Coils combined by root sum of squares.
    second : ndarray, optional
        For ``difference``: the image taken a second time; the signal is that of both.

    Returns
    -------
    float

    Raises
    ------
    InputError
        If a region has fewer than two voxels or values that are not finite, or the noise cannot be
        measured in this way.
    """
    if method not in METHODS:
        raise InputError(f"{method!r}"[:60], field="noise_method", expected=" or ".join(METHODS))
    values = np.asarray(image, dtype=float)
    _check(values, region, "signal region")
    signal = float(np.mean(values[region]))
    if isinstance(noise, np.ndarray):
        _check(values, noise, "noise region")
    if isinstance(noise, Noise) or (noise is not None and not isinstance(noise, np.ndarray)):
        level = noise.value if isinstance(noise, Noise) else float(noise)
    elif method in ("difference", "smoothed"):
        where = region if noise is None else noise
        level = measure_noise(values, None, method, coils=coils, second=second, region=where).value
        if second is not None and np.shape(second) == values.shape:
            signal = (signal + float(np.mean(np.asarray(second, dtype=float)[region]))) / 2
    else:
        level = measure_noise(values, noise, method, coils=coils).value
    if not (level > 0 and math.isfinite(level)):
        raise InputError(f"{level:g}", field="noise", expected="above 0")
    return signal / level


def snr_map(image: NDArray[Any], noise: Noise | float) -> Estimate:
    """SNR of every voxel: its signal over the noise.

    Parameters
    ----------
    image : ndarray
        Magnitude image of any shape.
    noise : Noise or float
        What is divided by, as of :func:`relaxometry.measure_noise`.

    Returns
    -------
    Estimate
        Maps of the image's shape: the value, and its standard error from the noise of the voxel
        (σ) and from that of the noise's measurement. NaN where the image is not finite.

    Raises
    ------
    InputError
        If the noise is not above 0.
    """
    values = np.asarray(image, dtype=float)
    known = isinstance(noise, Noise)
    level, error, sigma = (
        (noise.value, noise.stderr, noise.sigma)
        if isinstance(noise, Noise)
        else (noise, 0.0, noise)
    )
    if not (level > 0 and math.isfinite(level)):
        raise InputError(
            f"{level:g}", field="noise", expected="above 0" if not known else "noise that is there"
        )
    value = np.where(np.isfinite(values), values / level, np.nan)
    stderr = np.hypot(sigma / level, value * (error / level))
    return Estimate(value, np.where(np.isnan(value), np.nan, stderr), "SNR")


def _check(values: NDArray[Any], mask: NDArray[np.bool_], name: str) -> None:
    if mask.shape != values.shape:
        raise GeometryError(
            f"shape {mask.shape}", field=name, expected=f"that of the image {values.shape}"
        )
    if mask.sum() < 2:
        raise InputError(f"{int(mask.sum())} voxels", field=name, expected="≥ 2")
    if not np.isfinite(values[mask]).all():
        raise InputError("NaN or infinity in it", field=name)
