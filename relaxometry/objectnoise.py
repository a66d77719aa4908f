"""Noise where there is signal: from images taken alike, or from one less a smoothed copy.

Both are for images whose air was set to zero or filtered. Far above the floor of the noise,
which is higher with more coils, the magnitude scatters like one Gaussian channel; near it, less.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import fdtrc, gammaincc

from .errors import InputError
from .noise import air_factors, magnitude_moments, rician_mean
from .voxelcorrelation import Correlation, correlation, uneven

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Edge of the square of the smoothed copy, voxels (McCann et al. 2013), and half of it.
SMOOTHED = 9
HALF = SMOOTHED // 2
#: Fewest voxels either method takes, after the edge is off.
AT_LEAST = 25
_CHANCE = 1e-4  # of a drift being chance
_UNEVEN = 1e-6
_PARTS_TOLD, _PARTS_REFUSED = 0.1, 0.3  # SD between parts of the region over SD of its voxels
_TAILS_TOLD, _TAILS_REFUSED = 0.4, 1.0  # excess kurtosis
_SMALLER_TOLD, _NO_SIGNAL = 0.02, 2.5  # SD of the magnitude below σ; SNR


class TooFew(InputError):
    """A region with too few voxels in this slice."""


@dataclass(frozen=True, slots=True)
class OfObject:
    """σ in one plane: its standard error, degrees of freedom, voxels and what is doubtful."""

    sigma: float
    stderr: float
    dof: float
    region: Mask
    notes: tuple[str, ...]


def by_difference(images: Array, region: Mask, drift_limit: float, coils: int) -> OfObject:
    """σ from K images taken alike: SD over them, √2 less than that of a difference if K = 2.

    What changed smoothly between them is taken out if it is more than chance and at most
    `drift_limit` of the signal: an offset, a scale, a trend along x and y, a shift of the object.

    Parameters
    ----------
    images : ndarray (x, y, K)
    region : ndarray of bool (x, y)
    """
    N, K = int(region.sum()), images.shape[2]
    if N < AT_LEAST:
        raise _too_few(f"{N} voxels")
    mean = images.mean(axis=2)
    apart = np.where(region[..., None], images - mean[..., None], 0.0)
    within = apart[region]
    offset = within.mean(axis=0)
    signal = float(mean[region].mean())
    plain = within - offset
    basis = _basis(mean, region)
    fitted = basis @ (basis.T @ plain)
    rest = plain - fitted
    p = basis.shape[1]
    dof = float((N - 1) * (K - 1))
    left = dof - p * (K - 1)
    rss, rss_rest = float((plain**2).sum()), float((rest**2).sum())
    if not rss > 0:
        raise InputError(
            "the images are the same", field="second", expected="another image, taken alike"
        )
    near = _of_each(rest, region)
    variance = rss_rest / left
    # Noise alone fits something too: its share is taken off before a change is told.
    change2 = float((offset**2).sum()) + (float((fitted**2).sum()) - p * (K - 1) * variance) / N
    change = math.sqrt(max(change2, 0.0) * 2 / (K - 1)) / abs(signal) if signal else math.inf
    F = (rss - rss_rest) / (p * (K - 1)) / variance / near.by_neighbours
    trend = float(fdtrc(p * (K - 1), left, F)) < _CHANCE
    chi2 = N * float((offset**2).sum()) / variance / near.by_neighbours
    moved = float(gammaincc((K - 1) / 2, chi2 / 2)) < _CHANCE
    notes = []
    if trend or moved:
        what = f"the images differ by {100 * change:.2g} % of the signal beyond noise"
        if change > drift_limit:
            raise InputError(
                f"{what}: drift, another gain, or movement",
                field="second",
                expected=f"images taken alike (at most {100 * drift_limit:.2g} %)",
                hint="measure noise by 'smoothed' (one even region), or in air",
            )
        notes.append(f"{what} (drift or a small shift): taken out")
    final, dof = (rest, left) if trend else (plain, dof)
    sigma = math.sqrt(float((final**2).sum()) / dof)
    for k in range(K if K > 2 else 1):
        notes += _noise_only(_put(final[:, k], region), region, near, "second")
    stderr = sigma * math.sqrt(near.per_sd / (2 * dof))
    notes += _low_signal(signal, sigma, stderr, coils) + _correlated(near)
    return OfObject(sigma, stderr, dof / near.per_sd, region, tuple(dict.fromkeys(notes)))


def by_smoothing(plane: Array, region: Mask, coils: int) -> OfObject:
    """σ from an image less its mean over 9×9 voxels, in `region` less 4 voxels at its edge.

    A mean of n voxels takes 1/n of the variance of each away: SD/√(1 − 1/81).
    """
    kept = ndimage.binary_erosion(region, np.ones((SMOOTHED, SMOOTHED), bool))
    N = int(kept.sum())
    if N < AT_LEAST:
        raise _too_few(f"{N} of {int(region.sum())} voxels left, without {HALF} at the edge")
    noise = plane - ndimage.uniform_filter(np.where(region, plane, 0.0), SMOOTHED)
    sd = float(noise[kept].std(ddof=1))
    if not sd > 0:
        raise InputError("no scatter", field="region", expected="signal with noise in it")
    sigma = sd / math.sqrt(1 - 1 / SMOOTHED**2)
    near = correlation(noise, kept)
    notes = _noise_only(noise, kept, near, "region")
    if near.found:
        notes += _correlated(near)
        if min(near.lag1) > 0:
            notes.append("structure finer than 9 voxels would look so too, and enlarge σ")
    dof = (N - 1) / near.per_sd
    stderr = sigma / math.sqrt(2 * dof)
    notes += _low_signal(float(plane[kept].mean()), sigma, stderr, coils)
    return OfObject(sigma, stderr, dof, kept, tuple(notes))


def _basis(mean: Array, region: Mask) -> Array:
    """Orthonormal columns (N, p): what a trend, a scale and a small shift change, without offset.

    They come from the mean of the images, whose noise does not go with that of their difference.
    """
    x, y = np.nonzero(region)
    along = np.gradient(mean)
    columns = np.stack([x, y, mean[region], along[0][region], along[1][region]], axis=1).astype(
        float
    )
    columns -= columns.mean(axis=0)
    size = np.linalg.norm(columns, axis=0)
    columns = columns[:, size > 0] / size[size > 0]
    u, s, _ = np.linalg.svd(columns, full_matrices=False)
    return np.asarray(u[:, s > 1e-6])


def _put(values: Array, region: Mask) -> Array:
    plane = np.zeros(region.shape)
    plane[region] = values
    return plane


def _of_each(rest: Array, region: Mask) -> Correlation:
    """Correlation of neighbours, over all images."""
    count = rest.shape[1] if rest.shape[1] > 2 else 1  # of two images one is the other's negative
    stack = np.stack([_put(rest[:, k], region) for k in range(count)], axis=2)
    return correlation(stack, np.broadcast_to(region[..., None], stack.shape))


def _noise_only(noise: Array, region: Mask, near: Correlation, field: str) -> list[str]:
    """Refuse what has structure or edges in it."""
    found = noise[region]
    about = found - found.mean()
    tails = float((about**4).mean() / (about**2).mean() ** 2 - 3)
    sure = tails > 6 * math.sqrt(24 * near.per_sd / found.size)
    p, parts = uneven(noise, region, near.by_neighbours)
    notes = []
    for is_sure, size, told, refused, what in (
        (sure, tails, _TAILS_TOLD, _TAILS_REFUSED, "edges or spikes"),
        (p < _UNEVEN, parts, _PARTS_TOLD, _PARTS_REFUSED, "structure"),
    ):
        if is_sure and size > refused:
            moved = "the object moved between the images" if field == "second" else "not even"
            raise InputError(
                f"{what} in the noise of the region: {moved}",
                field=field,
                expected="noise alone",
                hint="draw a smaller, even region",
            )
        if is_sure and size > told:
            notes.append(f"{what} in the noise of the region: σ may be too large")
    return notes


def _low_signal(signal: float, sd: float, stderr: float, coils: int) -> list[str]:
    """By how much the SD of this magnitude is below σ, told from mean/SD."""
    snr = signal / sd
    if snr < max(_NO_SIGNAL, 1.3 * air_factors(coils)[0]):
        raise InputError(
            f"SNR {snr:.1f}: hardly signal",
            field="region",
            expected="a part of the object with SNR above 5",
            hint="measure noise in air ('rayleigh', 'chi')",
        )
    A = np.linspace(0.0, 8 * math.sqrt(coils), 801)
    sds, _ = magnitude_moments(A, 1.0, coils)
    ratio = rician_mean(A, 1.0, coils) / sds  # it grows with A
    off = 2 * stderr / sd
    near, low, high = np.interp([snr, snr * (1 - off), snr * (1 + off)], ratio, 1 - sds)
    if near <= _SMALLER_TOLD:
        return []
    many = "" if coils == 1 else f" of {coils} coils"
    return [
        f"SNR of the region is {snr:.1f}: so near the floor a magnitude{many} scatters less than "
        f"σ, by about {100 * near:.0f} % ({100 * high:.0f} to {100 * low:.0f} %): σ is too small"
    ]


def _correlated(near: Correlation) -> list[str]:
    if not near.found:
        return []
    return [
        f"noise of neighbouring voxels is correlated ({near.lag1[0]:.2f} along x, "
        f"{near.lag1[1]:.2f} along y: interpolated or filtered); {near.per_sd:.1f} voxels count "
        "as one"
    ]


def _too_few(found: str) -> TooFew:
    return TooFew(
        found,
        field="region",
        expected=f"{AT_LEAST} or more",
        hint="draw a larger region, or measure noise in air",
    )
