"""Are the voxels of a region independent, and is there structure between its parts?

Interpolated and zero-filled images have fewer independent voxels than voxels, so an error by the
count of voxels is too small. And noise has no structure: parts of a region that differ by more than
chance hold a ghost, an edge or shading.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Lags in voxels each way over which correlation is sought: images interpolated up to fourfold.
REACH = 5
#: A correlation counts beyond this many of its own standard errors, and beyond this size.
_SURE, _SLIGHT = 4.0, 0.03
#: Most voxels per independent voxel: 16 interpolated fourfold each way, as well as it can be told.
_MOST = 24.0
#: Edge of the square parts that are compared, voxels.
TILE = 8
#: (1 − ρ₂)/(1 − ρ₁) and ρ₁ of noise interpolated 1, 2, 3 and 4-fold, ρ_k = sinc²(k/fold).
_GROWTH = (1.0, 1.681, 2.623, 3.140), (0.0, 0.405, 0.684, 0.811)


@dataclass(frozen=True, slots=True)
class Correlation:
    """Correlation of neighbouring voxels of a region.

    Attributes
    ----------
    lag1 : tuple of float
        Between neighbours along x and along y; NaN where too few voxels lie side by side.
    per_mean, per_sd : float
        Voxels per independent voxel, for the error of a mean (Σρ over lags) and of an SD (Σρ of the
        squared deviations); 1 where no correlation was found.
    inner : tuple of float
        Between neighbours as `lag1`, by medians of differences: an edge that runs through the
        region raises `lag1` and not this. With chance added; NaN where it cannot be told.
    """

    lag1: tuple[float, float]
    per_mean: float
    per_sd: float
    inner: tuple[float, float] = (math.nan, math.nan)

    @property
    def by_neighbours(self) -> float:
        """`per_mean` by the neighbours alone, as far as interpolation explains it.

        Ghosts, edges and structure correlate voxels too: who tests for them must not forgive it.
        """
        if not self.found:
            return 1.0
        near = np.clip(np.nan_to_num(np.fmin(self.lag1, self.inner)), 0, 0.95)
        return min(1.3 * float(np.prod(1 / (1 - near))), _MOST)

    @property
    def found(self) -> bool:
        """Whether neighbours are correlated by more than chance."""
        return self.per_sd > 1


def correlation(image: Array, region: Mask) -> Correlation:
    """Correlation of the voxels of `region` with their neighbours in the plane.

    Parameters
    ----------
    image : ndarray (x, y) or (x, y, z)
        Noise; its mean over the region is taken off, slice by slice.
    region : ndarray of bool, same shape

    Returns
    -------
    Correlation
    """
    values, mask = as_volume(image), as_volume(region)
    size = 2 * REACH + 1
    products, squares, pairs = np.zeros((3, size, size))
    for z in np.flatnonzero(mask.any(axis=(0, 1))):
        inside = _cropped(mask[..., z])
        held = mask[..., z][inside].astype(float)
        noise = _centred(np.where(held > 0, values[..., z][inside], 0.0), held)
        products += _lags(noise)
        squares += _lags(_centred(noise**2, held))
        pairs += _lags(held)
    centre = REACH, REACH
    if not products[centre] > 0:
        return Correlation((math.nan, math.nan), 1.0, 1.0)
    pairs = np.round(pairs)
    rho = _per_pair(products, pairs)
    with np.errstate(divide="ignore"):
        chance = 1 / np.sqrt(pairs)
    lag1 = float(rho[REACH + 1, REACH]), float(rho[REACH, REACH + 1])
    limits = np.array([chance[REACH + 1, REACH], chance[REACH, REACH + 1]])
    sure = np.append(np.abs(lag1) / limits, np.nansum(lag1 / limits) / math.sqrt(2)) > _SURE
    if not (sure.any() and (np.abs(lag1) > _SLIGHT).any()):
        return Correlation(lag1, 1.0, 1.0)
    # Of the farther lags only what is sure, or 120 lags of chance would add up. Squares are
    # correlated where the voxels are.
    real = np.abs(rho) > 3 * chance
    per_mean = float(rho[real].sum())
    per_sd = float(_per_pair(squares, pairs)[real].sum()) if squares[centre] > 0 else 1.0
    inner = _inner(values, mask, 0), _inner(values, mask, 1)
    return Correlation(lag1, max(per_mean, 1.0), max(per_sd, 1.0 + 1e-9), inner)


def _inner(values: Array, mask: Mask, axis: int) -> float:
    """Correlation of neighbours by how differences grow from neighbours to next-but-one.

    Few such differences cross an edge, and their medians do not heed them. 2/√pairs is added for
    chance.
    """
    values, mask = np.moveaxis(values, axis, 0), np.moveaxis(mask, axis, 0)
    medians = []
    for lag in (1, 2):
        pairs = mask[lag:] & mask[:-lag]
        n = int(pairs.sum())
        if n < 20:
            return math.nan
        medians.append(float(np.median(np.abs(values[lag:] - values[:-lag])[pairs])))
    if not medians[0] > 0:
        return math.nan
    return float(np.interp((medians[1] / medians[0]) ** 2, *_GROWTH)) + 2 / math.sqrt(n)


def _centred(values: Array, held: Array) -> Array:
    mean: float = float((values * held).sum() / held.sum())
    return np.where(held > 0, values - mean, 0.0)


def _per_pair(products: Array, pairs: Array) -> Array:
    """Correlation at every lag; NaN with fewer than 20 pairs."""
    with np.errstate(divide="ignore", invalid="ignore"):
        rho = products / products[REACH, REACH] * pairs[REACH, REACH] / pairs
    return np.where(pairs >= 20, rho, np.nan)


def uneven(
    image: Array, region: Mask, per_mean: float = 1.0, tile: int = TILE
) -> tuple[float, float]:
    """How much the means of the parts of a region differ beyond chance.

    The region is cut into squares of `tile` voxels; Q = Σ n_i·(m_i − m)²/SD² over the degrees of
    freedom, one less than there are squares, is F-distributed if all is noise. Of correlated
    voxels, `per_mean` count as one.

    Returns
    -------
    p, excess : float
        Probability of a larger Q by chance, and the SD between parts beyond chance over the SD of
        the voxels. (1, 0) where there are fewer than two parts.
    """
    values, mask = as_volume(image), as_volume(region)
    x, y, z = np.nonzero(mask)
    wide = mask.shape[1] // tile + 1
    tall = mask.shape[0] // tile + 1
    part = (z * tall + x // tile) * wide + y // tile
    found = values[mask]
    _, part, counts = np.unique(part, return_inverse=True, return_counts=True)
    big = counts >= tile
    if big.sum() < 2:
        return 1.0, 0.0
    sums = np.bincount(part, weights=found)[big]
    n = counts[big].astype(float)
    means = sums / n
    middle = sums.sum() / n.sum()
    # About the means of the parts: a ghost in some of them is not to count as scatter.
    about = found - (np.bincount(part, weights=found) / counts)[part]
    freedom = float(np.maximum(counts - per_mean, 0).sum())
    variance = float((about**2).sum()) / freedom if freedom > 0 else 0.0
    if not variance > 0:
        return 1.0, 0.0
    Q = float((n * (means - middle) ** 2).sum()) / variance / per_mean
    dof = means.size - 1
    excess = max(Q - dof, 0.0) * per_mean / n.sum()
    return float(fdtrc(dof, freedom / per_mean, Q / dof)), math.sqrt(excess)


def as_volume(array: NDArray[Any]) -> NDArray[Any]:
    """(x, y) as (x, y, 1); anything else as it is."""
    return array[..., None] if array.ndim == 2 else array


def _cropped(mask: Mask) -> tuple[slice, slice]:
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _lags(plane: Array) -> Array:
    """Sum of products at every lag up to REACH each way, (2·REACH + 1)²."""
    # Padded by REACH, no lag within reach wraps round.
    power = np.abs(np.fft.rfft2(plane, [n + REACH for n in plane.shape])) ** 2
    whole = np.fft.irfft2(power, [n + REACH for n in plane.shape])
    lags = np.arange(-REACH, REACH + 1)
    return np.asarray(whole[np.ix_(lags % whole.shape[0], lags % whole.shape[1])])
