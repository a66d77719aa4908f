"""Noise of magnitude images: the Rician mean and its inverse, σ from air or from two images.

σ is always the standard deviation of the Gaussian noise in each channel (real, imaginary) of a
coil, in units of the signal: not the SD of the magnitude in air, which is smaller.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln, hyp1f1, i0e, i1e

from .errors import InputError


def rician_mean(A: ArrayLike, sigma: ArrayLike, coils: int = 1) -> NDArray[np.float64]:
    """Mean of a magnitude signal whose noise-free value is A.

    One coil: E[M] = σ·√(π/2)·[(1+q)·I0e(q/2) + q·I1e(q/2)], q = A²/2σ², with the exponentially
    scaled Bessel functions, so that it holds at any SNR. n coils by root sum of squares, A that of
    the noise-free coils: E[M] = β_n·σ·1F1(−1/2; n; −q).

    Parameters
    ----------
    A : array_like
        Noise-free signal; its sign does not matter.
    sigma : array_like
        σ of each channel, in the units of A; broadcast against it.
    coils : int
        Coils combined by root sum of squares.

    Returns
    -------
    ndarray
        E[M], of the broadcast shape.

    Raises
    ------
    InputError
        If a sigma is not positive, or `coils` is not a whole number from 1.

    References
    ----------
    Rice, Bell Syst Tech J 24:46 (1945); Gudbjartsson & Patz, Magn Reson Med 34:910 (1995);
    Constantinides, Atalar & McVeigh, Magn Reson Med 38:852 (1997).
    """
    sigma = _positive(sigma)
    beta, _ = air_factors(coils)
    q = (np.asarray(A, dtype=float) / sigma) ** 2 / 2
    mean: NDArray[np.float64]
    if coils == 1:
        mean = sigma * math.sqrt(math.pi / 2) * ((1 + q) * i0e(q / 2) + q * i1e(q / 2))
    else:
        mean = sigma * beta * hyp1f1(-0.5, coils, -q)
    return mean


def rician_amplitude(mean: ArrayLike, sigma: ArrayLike, coils: int = 1) -> NDArray[np.float64]:
    """Noise-free signal A whose magnitude has this mean: the inverse of :func:`rician_mean`.

    Parameters
    ----------
    mean : array_like
        Mean of the magnitude over a region of one signal; a single voxel is a poor mean.
    sigma : array_like
        σ of each channel, in the units of `mean`; broadcast against it.
    coils : int
        Coils combined by root sum of squares.

    Returns
    -------
    ndarray
        A ≥ 0, of the broadcast shape; NaN where the mean lies below that of air, β_n·σ: there is
        no signal with such a mean.

    Raises
    ------
    InputError
        If a sigma is not positive, or `coils` is not a whole number from 1.

    References
    ----------
    Koay & Basser, J Magn Reson 179:317 (2006), who iterate otherwise.
    """
    sigma = _positive(sigma)
    beta, _ = air_factors(coils)
    m, scale = np.broadcast_arrays(np.asarray(mean, dtype=float) / sigma, sigma)
    known = np.isfinite(m) & (m >= beta)
    goal = np.where(known, m, beta)
    # In u = A²/σ² the mean rises and bends down, and m² − 2n lies left of the root (the mean of
    # the square is u + 2n): Newton's steps come from the left and never overshoot.
    u = np.maximum(goal**2 - 2 * coils, 0.0)
    for _ in range(60):
        slope = beta / (4 * coils) * hyp1f1(0.5, coils + 1, -u / 2)
        step = (goal - rician_mean(np.sqrt(u), 1.0, coils)) / slope
        u = np.maximum(u + step, 0.0)
        if (np.abs(step) <= 1e-12 * np.maximum(u, 1.0)).all():
            break
    return np.where(known, scale * np.sqrt(u), np.nan)


def magnitude_moments(
    A: ArrayLike, sigma: float, coils: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """SD of the magnitude whose noise-free value is A, and dE[M]/dA, the slope of its mean.

    √(A² + 2nσ² − E[M]²) and (A/σ)·β_n/(2n)·1F1(1/2; n+1; −A²/2σ²): σ and 1 far above the floor;
    the SD of air and 0 without signal. An estimate of A from a mean over N voxels has the standard
    error SD/(slope·√N).

    Raises
    ------
    InputError
        If sigma is not positive, or `coils` is not a whole number from 1.

    References
    ----------
    Constantinides, Atalar & McVeigh, Magn Reson Med 38:852 (1997).
    """
    beta, _ = air_factors(coils)
    a = np.abs(np.asarray(A, dtype=float)) / _positive(sigma)
    # Far up the difference of two large squares has no digits left, and both are 1 to 10⁻⁵.
    near = np.minimum(a, 300.0 * math.sqrt(coils))
    variance = near**2 + 2 * coils - rician_mean(near, 1.0, coils) ** 2
    slope = near * beta / (2 * coils) * hyp1f1(0.5, coils + 1, -(near**2) / 2)
    return sigma * np.sqrt(np.maximum(variance, 0.0)), np.asarray(slope)


def _positive(sigma: ArrayLike) -> NDArray[np.float64]:
    sigma = np.asarray(sigma, dtype=float)
    if not (sigma > 0).all():
        raise InputError("noise that is not positive", field="sigma", expected="a positive number")
    return sigma


def air_factors(coils: int = 1) -> tuple[float, float]:
    """Mean and SD of the magnitude in air, both in units of σ.

    β_n = √(π/2)·(2n−1)!!/(2^(n−1)·(n−1)!) and √(2n − β_n²), for n coils combined by root sum of
    squares; for one coil the Rayleigh values 1.2533 and 0.6551.

    Raises
    ------
    InputError
        If `coils` is not a whole number from 1.

    References
    ----------
    Constantinides, Atalar & McVeigh, Magn Reson Med 38:852 (1997).
    """
    number = isinstance(coils, int | float | np.number) and not isinstance(coils, bool)
    if not number or not math.isfinite(coils) or coils != int(coils) or coils < 1:
        raise InputError(f"{coils!r} coils", field="coils", expected="a whole number from 1")
    beta = math.sqrt(math.pi / 2) * math.prod((2 * k + 1) / (2 * k) for k in range(1, int(coils)))
    return beta, math.sqrt(2 * coils - beta**2)


def air_shape(coils: float = 1) -> tuple[float, float, float]:
    """mean/SD, skewness and excess kurtosis of the magnitude in air; they do not depend on σ.

    `coils` may be a fraction, as coils with correlated noise behave. One coil: 1.9131, 0.6311 and
    0.2451 (Rayleigh); all but the first go to 0 with many coils.
    """
    mean = math.sqrt(2) * math.exp(gammaln(coils + 0.5) - gammaln(coils))
    variance = 2 * coils - mean**2
    skewness = mean * (1 - 2 * variance) / variance**1.5
    kurtosis = 2 * (1 - mean * math.sqrt(variance) * skewness - variance) / variance
    return mean / math.sqrt(variance), skewness, kurtosis


def sigma_from_air(mean: float | None = None, sd: float | None = None, coils: int = 1) -> float:
    """σ from the mean, or from the SD, of the magnitude in a region of air.

    Parameters
    ----------
    mean, sd : float, optional
        Mean or SD of the signal over the region; give one of them.
    coils : int
        Coils combined by root sum of squares.

    Raises
    ------
    InputError
        If not exactly one is given, or it is not positive: air that a scanner set to zero has lost
        its noise.
    """
    if (mean is None) == (sd is None):
        raise InputError("σ from air needs one statistic", expected="either the mean or the SD")
    beta, sd_factor = air_factors(coils)
    name, value, factor = ("mean", mean, beta) if sd is None else ("sd", sd, sd_factor)
    if value is None or not math.isfinite(value) or value <= 0:
        raise InputError(
            f"{value!r} in air",
            field=name,
            expected="a positive number",
            hint="take a region of air that the scanner has not set to zero",
        )
    return value / factor


def sigma_from_difference(a: ArrayLike, b: ArrayLike) -> float:
    """σ from the same region of two images taken alike: SD(a − b)/√2.

    Parameters
    ----------
    a, b : array_like of the same shape
        Signal of the region's voxels in either image.

    Raises
    ------
    InputError
        If the shapes differ, there are fewer than two voxels, or a value is not finite.

    References
    ----------
    NEMA MS 1 (2008), method 1; it holds where the SNR is above about 5.
    """
    first, second = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if first.shape != second.shape or first.size < 2:
        raise InputError(
            f"regions of shape {first.shape} and {second.shape}",
            expected="the same region, of two voxels or more, in both images",
        )
    difference = first - second
    if not np.isfinite(difference).all():
        raise InputError("a region with values that are not finite")
    return float(difference.std(ddof=1)) / math.sqrt(2)
