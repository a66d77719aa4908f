"""r2/r1 of lines through the same tubes, with intervals by the delta method and by Fieller."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .estimate import Estimate
from .jupyter import Shown
from .linemethod import ABSOLUTE, BOTH_AXES
from .regression import NORMAL95, STATED95, Relaxivity, t95
from .robust import averaged, theil_sen

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, repr=False)
class Ratio(Shown):
    """A ratio of two relaxivities.

    Attributes
    ----------
    value, stderr : float
        The ratio, and its standard error by the delta method.
    covariance : float
        Of the two relaxivities, (mM⁻¹ s⁻¹)².
    k95 : float
        Coverage factor: half-width of a 95 % interval over the standard error.
    delta95, fieller95 : (float, float)
        95 % intervals; Fieller's has an infinite end where the denominator may be 0.
    """

    value: float
    stderr: float
    covariance: float
    k95: float
    delta95: tuple[float, float]
    fieller95: tuple[float, float]
    numerator: Relaxivity
    denominator: Relaxivity

    def simulated95(self, seed: int = 0, draws: int = 200_000) -> tuple[float, float]:
        """The interval by Monte Carlo, as a check of the others.

        Draws both relaxivities from a bivariate Student's t (normal where their errors are known)
        of their covariance; without a meaning where the denominator may be 0.

        Notes
        -----
        JCGM 101:2008 (GUM, Supplement 1).
        """
        rng = np.random.default_rng(seed)
        n, d = self.numerator.slope, self.denominator.slope
        covariance = (
            np.array([[n.stderr**2, self.covariance], [self.covariance, d.stderr**2]])
            * (self.k95 / NORMAL95) ** 2
        )
        drawn = rng.multivariate_normal([n.value, d.value], covariance, draws)
        low, high = np.quantile(drawn[:, 0] / drawn[:, 1], [0.025, 0.975])
        return float(low), float(high)

    def __repr__(self) -> str:
        low, high = self.fieller95
        return f"Ratio: {self.value:.4g} ± {self.stderr:.2g} (95 % {low:.4g} … {high:.4g})"


def ratio(numerator: Relaxivity, denominator: Relaxivity) -> Ratio:
    """Ratio of two relaxivities measured on the same tubes, r2 over r1.

    Parameters
    ----------
    numerator, denominator : Relaxivity
        Their points are paired by tube. An error of the stock's concentration, common to all
        tubes of both, cancels.

    Returns
    -------
    Ratio

    Notes
    -----
    The interval is the set of ratios ρ for which the slope of R2 − ρ·R1 could be 0 (Fieller). Its
    error is judged from what the two lines leave of R2 − ρ·R1 in each tube: a tube that holds more
    than stated has both rates too high, and that cancels. Through the same tubes and by ordinary
    lines this is exact. The covariance is the one that follows. Robust lines are drawn through
    R2 − ρ·R1 itself.
    """
    n, d = numerator.slope, denominator.slope
    value = n.value / d.value if d.value else math.nan
    if not math.isfinite(value * n.stderr * d.stderr):
        unknown = (math.nan, math.nan)
        return Ratio(value, math.nan, 0.0, math.nan, unknown, unknown, numerator, denominator)
    pair = _Pair(numerator, denominator)
    variance, k = _difference(pair, value)
    apart = n.stderr**2 + (value * d.stderr) ** 2
    limit = n.stderr * d.stderr
    covariance = (apart - variance) / (2 * value) if value else 0.0
    covariance = min(max(covariance, -limit), limit)
    stderr = math.sqrt(max(apart - 2 * value * covariance, 0.0)) / abs(d.value)
    interval = _where_flat(_criterion(pair), value, stderr)
    delta = (value - k * stderr, value + k * stderr)
    return Ratio(value, stderr, covariance, k, delta, interval, numerator, denominator)


def fieller(
    numerator: Estimate, denominator: Estimate, k: float, covariance: float = 0.0
) -> tuple[float, float]:
    """Fieller's interval of the ratio of two estimates.

    It stays right where the delta method fails: a denominator that may be 0 leaves it unbounded.

    Parameters
    ----------
    numerator, denominator : Estimate
    k : float
        Coverage factor of the level wanted, as Student's t.
    covariance : float
        Of the two.

    Returns
    -------
    (float, float)
        With an infinite end where it is unbounded; of two branches, the one of the estimate's sign.

    Notes
    -----
    Fieller, J R Stat Soc B 16:175 (1954).
    """
    n, d = numerator.value, denominator.value
    dn, dd, dnd = k * numerator.stderr, k * denominator.stderr, k * k * covariance
    a, b = d * d - dd * dd, n * d - dnd
    # b² − a·c with its large terms cancelled by hand: exact data would lose it to rounding.
    discriminant = (n * dd) ** 2 + (d * dn) ** 2 - 2 * n * d * dnd - (dn * dd) ** 2 + dnd**2
    if not math.isfinite(a + discriminant):
        return math.nan, math.nan
    if a == 0 or (discriminant < 0 and a < 0):
        return -math.inf, math.inf
    root = math.sqrt(max(discriminant, 0.0))
    ends = sorted((b + sign * root) / a for sign in (-1, 1))
    if a > 0:
        return ends[0], ends[1]
    return (ends[1], math.inf) if n * d > 0 else (-math.inf, ends[0])


#: Methods whose lines have intervals of their own, not by a standard error.
_OF_THEIR_OWN = ("robust", "theil-sen")
#: Each step of the search for an end of an interval over the one before.
_LONGER = 1.25
#: The last angle tried stands so far from a right one: a ratio a million times the one found.
_INFINITY = 1e-6


class _Pair:
    """Two lines, and what is asked of them for every ρ anew."""

    def __init__(self, one: Relaxivity, other: Relaxivity) -> None:
        self.lines = one, other
        self.common = _common(one, other)
        self.stderr = one.slope.stderr, other.slope.stderr

    @cached_property
    def pull(self) -> tuple[Array, Array]:
        return self.lines[0].pull, self.lines[1].pull

    @cached_property
    def rate_variance(self) -> tuple[Array, Array]:
        return _rate_variance(self.lines[0]), _rate_variance(self.lines[1])


def _difference(pair: _Pair, rho: float) -> tuple[float, float]:
    """Variance of the slope of R2 − ρ·R1, and the coverage factor of its interval."""
    (one, other), (mine, theirs) = pair.lines, pair.common
    apart = pair.stderr[0] ** 2 + (rho * pair.stderr[1]) ** 2
    if mine.size <= max(one.parameters, other.parameters):
        # Not the same tubes: two estimates that know nothing of each other.
        parts = np.array([pair.stderr[0] ** 2, (rho * pair.stderr[1]) ** 2])
        sure = np.array([one.known, other.known])
        dofs = np.array([one.dof, other.dof])
        return apart, _coverage(float(parts @ sure), parts * (1 - sure), dofs)
    absolute = one.method in ABSOLUTE and other.method in ABSOLUTE
    mine_of, theirs_of = pair.rate_variance
    error = mine_of[mine] + rho**2 * theirs_of[theirs]
    stated = float(pair.pull[0] ** 2 @ mine_of)
    stated += rho**2 * float(pair.pull[1] ** 2 @ theirs_of)
    if absolute and {one.method, other.method} & set(BOTH_AXES):
        stated += _from_concentrations(pair, rho)
    chi2, dof = _scatter(pair, rho, error)
    if dof < 1:
        return stated, STATED95 if absolute else math.nan
    found = chi2 / dof
    scale = max(found, 1.0) if absolute else found
    known = 1 / scale if absolute else 0.0
    k = _coverage(known, np.array([1 - known]), np.array([dof]))
    return scale * stated, k


def _scatter(pair: _Pair, rho: float, variance: Array) -> tuple[float, int]:
    """χ² of the line through R2 − ρ·R1 of common tubes, and its degrees of freedom.

    From this difference the concentrations cancel. Where they have errors its best line is not the
    one that was drawn; what lies between the two is then no scatter, and one degree less is left.
    """
    (one, other), (mine, theirs) = pair.lines, pair.common
    used = variance > 0
    sigma = np.sqrt(variance[used])
    c, R = one.concentration[mine], one.rate[mine] - rho * other.rate[theirs]
    columns = [c] if one.fixed and other.fixed else [np.ones_like(c), c]
    if one.method in BOTH_AXES:
        columns.append(pair.pull[0][mine] * variance)
    if one.fixed and other.fixed:
        R = R - (one.R0.value - rho * other.R0.value)
    # In units of their own size, so that the rank can be told.
    X = np.stack([column[used] / sigma for column in columns], axis=1)
    X /= np.sqrt((X**2).sum(axis=0))
    coefficients, _, rank, _ = np.linalg.lstsq(X, R[used] / sigma, rcond=1e-9)
    left = R[used] / sigma - X @ coefficients
    return float(left @ left), int(used.sum() - rank)


def _coverage(known: float, scatter: Array, dof: NDArray[Any]) -> float:
    """Coverage factor of a variance with a known part and parts estimated from scatter."""
    unsure = float(scatter.sum())
    if not unsure > 0:
        return STATED95
    # Of several parts the degrees of freedom are those of Welch and Satterthwaite.
    t = t95(unsure**2 / float((scatter**2 / np.maximum(dof, 1)).sum()))
    return math.sqrt((STATED95**2 * known + t**2 * unsure) / (known + unsure))


def _rate_variance(line: Relaxivity) -> Array:
    """Variance of each point along the rate, without what its concentration adds."""
    if line.method in ABSOLUTE:
        variance: Array = line.sigma**2
        return variance
    with np.errstate(divide="ignore"):
        return np.where(line.weight > 0, 1 / line.weight, 0.0)


def _from_concentrations(pair: _Pair, rho: float) -> float:
    """What stated errors of concentrations leave in R2 − ρ·R1: little where tubes are common."""
    (one, other), (mine, theirs) = pair.lines, pair.common
    # Of each tube of either line: how far its concentration moves the difference of the slopes.
    alone = one.r.value * pair.pull[0] * np.nan_to_num(one.concentration_sd)
    others = rho * other.r.value * pair.pull[1] * np.nan_to_num(other.concentration_sd)
    both = alone[mine] - others[theirs]
    single = np.delete(alone, mine) @ np.delete(alone, mine)
    return float(both @ both + single + np.delete(others, theirs) @ np.delete(others, theirs))


def _criterion(pair: _Pair) -> Callable[[float], float]:
    """What is below 0 for ratios ρ with which the slope of R2 − ρ·R1 could be 0."""
    (one, other), (mine, theirs) = pair.lines, pair.common
    own = one.method in _OF_THEIR_OWN and one.method == other.method
    if own and mine.size == max(one.n, other.n):
        c, R2, R1 = one.concentration[mine], one.rate[mine], other.rate[theirs]
        sigma = one.sigma[mine] if np.isfinite(one.sigma).all() else np.ones_like(c)

        def beyond(rho: float) -> float:
            R = R2 - rho * R1
            if one.fixed:
                R = R - (one.R0.value - rho * other.R0.value)
            if one.method == "robust":
                below = averaged(c, R, sigma, 0.0 if one.fixed else None).slope.below(0.0)
                return 0.025 - min(below, 1 - below)
            low, high = theil_sen(c, R)[1]
            return max(low, -high)

        return beyond

    def unlikely(rho: float) -> float:
        variance, k = _difference(pair, rho)
        off = abs(one.r.value - rho * other.r.value)
        return float(off - k * math.sqrt(variance))

    return unlikely


def _where_flat(
    beyond: Callable[[float], float], value: float, stderr: float
) -> tuple[float, float]:
    """The ends of the ratios for which a criterion is below 0, infinite where there is no end.

    Looked for along the angle arctan(ρ/ρ̂), on which all ratios have room.
    """
    from scipy.optimize import brentq, minimize_scalar

    if not stderr > 1e-12 * abs(value):
        return value, value
    if beyond(value) > 0:  # a robust line through R2 − ρ·R1 need not agree to the last digit
        reach = (value - 3 * stderr, value + 3 * stderr)
        value = float(minimize_scalar(beyond, bounds=reach, method="bounded").x)
        if beyond(value) > 0:
            return math.nan, math.nan
    scale = abs(value)

    def at(angle: float) -> float:
        return beyond(scale * math.tan(angle))

    ends = []
    start = math.atan(value / scale)
    for side in (-1.0, 1.0):
        inside, end = start, math.copysign(math.inf, side)
        step = side * min(stderr / (2 * scale), 0.1)
        last = side * (math.pi / 2 - _INFINITY)
        while inside != last:
            ahead = min(inside + step, last) if side > 0 else max(inside + step, last)
            if at(ahead) > 0:
                end = scale * math.tan(float(brentq(at, inside, ahead, xtol=1e-12)))
                break
            inside, step = ahead, _LONGER * step
        ends.append(end)
    return ends[0], ends[1]


def _common(one: Relaxivity, other: Relaxivity) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Where the points of the same tubes stand in each of two lines."""
    if one.tubes and other.tubes:
        # Racks of several batches may number their tubes alike.
        theirs = {key: i for i, key in enumerate(zip(other.tubes, other.replicate, strict=True))}
        mine = enumerate(zip(one.tubes, one.replicate, strict=True))
        # A tube without a number is like no other.
        pairs = [(i, theirs[key]) for i, key in mine if key in theirs and not pd.isna(key[0])]
    elif np.array_equal(one.concentration, other.concentration):
        pairs = [(i, i) for i in range(one.n)]
    else:
        pairs = []
    found = np.array(pairs, dtype=np.intp).reshape(-1, 2)
    return found[:, 0], found[:, 1]
