"""Lines that some wrong points cannot bend: an average over which are wrong, and Theil–Sen.

Arrays only: nothing here knows of concentrations or rates.
"""

from __future__ import annotations

import math
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .straight import Line

Array = NDArray[np.float64]

NORMAL95 = 1.959963984540054
#: How likely a point is thought to be wrong before it is looked at: one in ten.
WRONG = 0.1
#: Of more points only so many may be wrong: those farthest from the line of Theil and Sen.
SUSPECTS = 12


class Mixture(NamedTuple):
    """A mixture of Student's t: centre, width, degrees of freedom and weight of each part, (m,)."""

    centre: Array
    width: Array
    dof: Array
    weight: Array

    def below(self, value: float) -> float:
        """Probability below a value."""
        from scipy.special import stdtr

        return float(self.weight @ stdtr(self.dof, (value - self.centre) / self.width))

    def quantile(self, p: float) -> float:
        """The value with the probability `p` below it."""
        from scipy.optimize import brentq
        from scipy.special import stdtrit

        own = self.centre + self.width * stdtrit(self.dof, p)  # of each part: it lies among them
        low, high = float(own.min()), float(own.max())
        tight = 1e-12 * max(abs(low), abs(high))
        if high - low <= tight:
            return (low + high) / 2
        # Rounding may leave the ends a hair short of what lies between them.
        low, high = low - tight, high + tight
        return float(brentq(lambda value: self.below(value) - p, low, high, xtol=tight))


class RobustLine(NamedTuple):
    """A line, with a covariance that stands as it is, and its own 95 % interval.

    Attributes
    ----------
    line : Line
        Its covariance holds the scatter and the doubt about which points are wrong; its sigma is
        the estimated error of a point.
    slope : Mixture
        What is known of the slope.
    wrong : ndarray (n,)
        Probability of each point to be wrong.
    """

    line: Line
    slope: Mixture
    wrong: Array

    @property
    def ci95(self) -> tuple[float, float]:
        """95 % interval of the slope."""
        return self.slope.quantile(0.025), self.slope.quantile(0.975)


def averaged(x: Array, y: Array, sigma: Array, intercept: float | None = None) -> RobustLine:
    """Average of the lines without each set of points that may be wrong, by their probability.

    A point is either on the line with an error in proportion to `sigma`, or anywhere in the range
    of the measured values: the mean-shift model of an outlier, with the line and the size of the
    error unknown. The posterior of the slope is a mixture of Student's t, one per set.

    Parameters
    ----------
    x, y, sigma : ndarray (n,)
        `sigma` only relative.
    intercept : float, optional
        Held fixed.

    Notes
    -----
    Box & Tiao, Biometrika 55:119 (1968); Guttman, Technometrics 15:723 (1973). As many points may
    be wrong as a quarter of them (at least one, 12 at most), if a degree of freedom is left.
    """
    n, p = x.size, 2 if intercept is None else 1
    keep = _ways(x, p, _suspects(x, y, sigma, intercept))
    a, b, inverse, rss = _lines(x, y, sigma, keep, intercept)
    dof = keep.sum(axis=1) - p
    gone = n - keep.sum(axis=1)
    reach = np.ptp(y) or 1.0
    # Of points that lie on a line to the last digit the residual is rounding.
    rss = np.maximum(rss, (1e-12 * reach / sigma.min()) ** 2)
    lost = ~keep @ np.log(reach / sigma)  # a wrong point may be anywhere in the range
    evidence = 0.5 * np.linalg.slogdet(inverse)[1] if p == 2 else 0.5 * np.log(inverse[:, 1, 1])
    evidence = evidence + _log_gamma(dof / 2) - dof / 2 * np.log(np.pi * rss) - lost
    evidence = evidence + gone * math.log(WRONG / (1 - WRONG))
    weight = np.exp(evidence - evidence.max())
    weight /= weight.sum()
    variance = rss / dof
    mean = np.array([weight @ a, weight @ b])
    off = np.stack([a, b], axis=1) - mean
    covariance = np.einsum("m,mij->ij", weight * variance, inverse)
    covariance = covariance + np.einsum("m,mi,mj->ij", weight, off, off)
    line = Line(
        float(mean[0]) if intercept is None else intercept,
        float(mean[1]),
        covariance,
        sigma * math.sqrt(float(weight @ variance)),
    )
    slope = Mixture(b, np.sqrt(variance * inverse[:, 1, 1]), dof, weight)
    return RobustLine(line, slope, np.clip(weight @ ~keep, 0.0, 1.0))


def theil_sen(x: Array, y: Array) -> tuple[Line, tuple[float, float]]:
    """The median of the slopes of all pairs of points, with an interval by their ranks.

    The interval is exact at the ranks that Kendall's distribution allows, and interpolated between
    the two on either side of 95 %; with fewer than five points no rank reaches 95 %, and its ends
    are NaN. Where several points share one x it is the usual approximation by a normal.

    Notes
    -----
    Theil, Proc K Ned Akad Wet 53 (1950); Sen, J Am Stat Assoc 63:1379 (1968); the interpolation as
    of Hettmansperger & Sheather, Stat Probab Lett 4:75 (1986). The covariance is the one of a
    normal estimate with this interval.
    """
    first, second = np.triu_indices(x.size, 1)
    apart = x[first] != x[second]
    tied = not apart.all()
    first, second = first[apart], second[apart]
    slopes = np.sort((y[second] - y[first]) / (x[second] - x[first]))
    slope = float(np.median(slopes))
    intercept = float(np.median(y - slope * x))
    if tied:
        from scipy.stats import theilslopes

        low, high = (float(end) for end in theilslopes(y, x, 0.95)[2:])
    else:
        low, high = _by_rank(slopes, x.size)
    error = (high - low) / (2 * NORMAL95)
    covariance = np.array(
        [
            [x.mean() ** 2 + x.var(), -x.mean()],
            [-x.mean(), 1.0],
        ]
    )
    spread = float(np.median(np.abs(y - intercept - slope * x)) / 0.6744897501960817)
    line = Line(intercept, slope, error**2 * covariance, np.full_like(y, spread))
    return line, (low, high)


def _suspects(x: Array, y: Array, sigma: Array, intercept: float | None) -> NDArray[np.intp]:
    """The points that may be wrong: all, or of many those farthest from a line none can bend."""
    if x.size <= SUSPECTS:
        return np.arange(x.size)
    if intercept is None:
        line, _ = theil_sen(x, y)
        residual = y - line.intercept - line.slope * x
    else:
        away = x != 0
        residual = y - intercept - np.median((y[away] - intercept) / x[away]) * x
    farthest: NDArray[np.intp] = np.sort(np.argsort(-np.abs(residual / sigma))[:SUSPECTS])
    return farthest


def _ways(x: Array, p: int, suspects: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Every set of points that may be right: a row each, the first with all of them."""
    n, rows = x.size, [np.ones((1, x.size), dtype=bool)]
    for k in range(1, min(max(1, n // 4), suspects.size) + 1):
        if n - k - p < 1:
            break
        gone = np.array(list(combinations(suspects.tolist(), k)))
        keep = np.ones((len(gone), n), dtype=bool)
        np.put_along_axis(keep, gone, False, axis=1)
        rows.append(keep)
    keep = np.concatenate(rows)
    # Points at one place say nothing of a slope.
    least, most = np.where(keep, x, np.inf).min(axis=1), np.where(keep, x, -np.inf).max(axis=1)
    tells: NDArray[np.bool_] = most > least if p == 2 else most > 0
    told: NDArray[np.bool_] = keep[tells]
    return told


def _lines(
    x: Array, y: Array, sigma: Array, keep: NDArray[np.bool_], intercept: float | None
) -> tuple[Array, Array, Array, Array]:
    """Intercepts, slopes, covariances (m, 2, 2) for errors sigma, and weighted RSS, of m sets."""
    w = np.where(keep, sigma**-2, 0.0)
    total, inverse = w.sum(axis=1), np.zeros((len(keep), 2, 2))
    if intercept is not None:
        square = (w * x * x).sum(axis=1)
        b = (w * x * (y - intercept)).sum(axis=1) / square
        a = np.full_like(b, intercept)
        inverse[:, 1, 1] = 1 / square
    else:
        centre = (w * x).sum(axis=1) / total
        U = x - centre[:, None]
        spread = (w * U * U).sum(axis=1)
        b = (w * U * y).sum(axis=1) / spread
        a = (w * y).sum(axis=1) / total - b * centre
        inverse[:, 0, 0] = 1 / total + centre**2 / spread
        inverse[:, 0, 1] = inverse[:, 1, 0] = -centre / spread
        inverse[:, 1, 1] = 1 / spread
    rss = (w * (y - a[:, None] - b[:, None] * x) ** 2).sum(axis=1)
    return a, b, inverse, rss


def _log_gamma(x: Array) -> Array:
    from scipy.special import gammaln

    value: Array = gammaln(x)
    return value


def _by_rank(slopes: Array, n: int) -> tuple[float, float]:
    pairs = slopes.size
    ways = np.array([1.0])  # numbers of orders of n points by their inversions: Kendall
    for k in range(2, n + 1):
        ways = np.convolve(ways, np.ones(k))
    tail = 2 * np.cumsum(ways / ways.sum())  # beyond the k-th slope from either end
    beyond = int(np.searchsorted(tail, 0.05))
    if beyond == 0 or beyond >= (pairs + 1) // 2:
        return math.nan, math.nan
    share = (0.05 - tail[beyond - 1]) / (tail[beyond] - tail[beyond - 1])
    low = slopes[beyond - 1] + share * (slopes[beyond] - slopes[beyond - 1])
    high = slopes[pairs - beyond] - share * (slopes[pairs - beyond] - slopes[pairs - beyond - 1])
    return float(low), float(high)
