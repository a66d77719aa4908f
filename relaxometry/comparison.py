"""Are two relaxivities different? Every pair of agents and conditions, with stars and letters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .multiplicity import LEVEL, holm, letters, stars
from .regression import NORMAL95, Relaxivity, t95
from .replicates import LINEAR, Batches, Lines, batches, covariance_of_slopes, unscaled
from .units import QUANTITIES

Array = NDArray[np.float64]
Group = tuple[Relaxivity, Batches]

ANCOVA, REPLICATES, SLOPES = "ANCOVA F", "Welch's t over replicates", "Welch's t of the slopes"
# An analysis of covariance takes the scatter about all lines for one. It forgives scatters that
# differ where the concentrations give slopes of like precision: variances within this factor,
UNEVEN = 2.0
# and where an F test of the scatters does not reach this level (Bonferroni over pairs).
UNEQUAL = 0.2


@dataclass(frozen=True, slots=True)
class Slope:
    """A relaxivity as a test takes it.

    Attributes
    ----------
    value, variance : float
        mM⁻¹ s⁻¹, and its square.
    dof : float
        Degrees of freedom of the variance.
    """

    value: float
    variance: float
    dof: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """A test of one difference, or of several at once.

    Attributes
    ----------
    test, why : str
        Which test, and why this one; ``""`` and the reason where there is none.
    difference, stderr : float
        First minus second, mM⁻¹ s⁻¹; NaN for more than two.
    ci95 : (float, float)
        Of the difference, for this pair alone.
    statistic : float
        F of ``ANCOVA F`` and of several at once, else t.
    dof_between, dof : float
        Degrees of freedom of the statistic: numerator (1 for t) and denominator.
    p : float
        Two-sided.
    slopes : tuple of Slope
        What was compared.
    covariance : float
        Of the two slopes, by the points they share.
    """

    test: str
    why: str
    difference: float = math.nan
    stderr: float = math.nan
    ci95: tuple[float, float] = (math.nan, math.nan)
    statistic: float = math.nan
    dof_between: float = math.nan
    dof: float = math.nan
    p: float = math.nan
    slopes: tuple[Slope, ...] = ()
    covariance: float = 0.0


def compare(a: Relaxivity, b: Relaxivity, *, same_stock: bool = False) -> Comparison:
    """Whether two relaxivities differ.

    Parameters
    ----------
    a, b : Relaxivity
    same_stock : bool
        Both lines are of one agent's stock, so that the stock's error moves both alike.

    Returns
    -------
    Comparison
        Of a minus b. The test is

        * Welch's t over the replicates' slopes where both have at least two: the batch is the unit;
        * else the F test of common against separate slopes (analysis of covariance) where both
          lines are ordinary, weighted or relative, and scatter alike;
        * else Welch's t of the two slopes with their standard errors.

    Notes
    -----
    Welch, Biometrika 34:28 (1947). Points that both share, such as a blank, make the slopes depend
    on each other; their covariance is taken off the variance of the difference.
    """
    return compare_all([a, b], same_stock=same_stock)


def compare_all(lines: Sequence[Relaxivity], *, same_stock: bool = False) -> Comparison:
    """Whether any of several relaxivities differs from the others: tests as in :func:`compare`.

    Notes
    -----
    Of k slopes by analysis of covariance: F with k − 1 degrees of freedom. Otherwise Welch's
    analysis of variance (Biometrika 38:330, 1951), which for two is Welch's t.
    """
    return _compare([(line, batches(line)) for line in lines], same_stock)


def _compare(groups: Sequence[Group], same_stock: bool) -> Comparison:
    lines = [line for line, _ in groups]
    if any(not math.isfinite(line.r.value) for line in lines):
        return Comparison("", "a slope is not determined")
    counts = [found.slopes.size for _, found in groups]
    if min(counts) >= 2:
        why = f"{_counts(counts)} replicates: the batch is the unit"
        slopes = [_over_replicates(group, same_stock) for group in groups]
        return _welch(REPLICATES, why, slopes, _shared_by_replicates(groups))
    if max(counts) >= 2:
        # A batch may differ as a whole, and then its points are not as many as they seem.
        if len(groups) > 2:
            return Comparison("", "one batch of some, several of others")
        return _one_batch(groups, same_stock)
    why = _not_by_ancova(lines, same_stock)
    if not why:
        return _ancova(lines, "separate lines against one common slope")
    return _welch(SLOPES, why, [_of_line(line, same_stock) for line in lines], 0.0)


def _one_batch(groups: Sequence[Group], same_stock: bool) -> Comparison:
    """One batch against several, with the relative scatter between these taken for that of both."""
    several = 0 if groups[0][1].slopes.size >= 2 else 1
    line, found = groups[several]
    slopes, single = found.slopes, groups[1 - several][0]
    k, mean, variance = slopes.size, float(slopes.mean()), float(slopes.var(ddof=1))
    alike = (single.r.value / mean) ** 2 if mean else math.nan
    parts = [
        Slope(mean, variance / k, k - 1),
        Slope(single.r.value, variance * alike, k - 1),
    ]
    rsd = [0.0 if same_stock else one.stock_rsd for one in (line, single)]
    total = [_with_stock(part, r) for part, r in zip(parts, rsd, strict=True)]
    pair = total if several == 0 else total[::-1]
    why = f"{k} replicates and one batch, whose scatter is taken to be as large"
    # One estimate of the scatter for both: its degrees of freedom are those of the replicates.
    return _welch(REPLICATES, why, pair, 0.0, k - 1)


def _counts(counts: Sequence[int]) -> str:
    return " and ".join(map(str, counts)) if len(counts) == 2 else f"at least {min(counts)}"


def _over_replicates(group: Group, same_stock: bool) -> Slope:
    """Mean of the replicates' slopes, with the variance their scatter gives it."""
    line, slopes = group[0], group[1].slopes
    return _with_stock(
        Slope(float(slopes.mean()), float(slopes.var(ddof=1)) / slopes.size, slopes.size - 1),
        0.0 if same_stock else line.stock_rsd,
    )


def _of_line(line: Relaxivity, same_stock: bool) -> Slope:
    """Slope of a line, with the degrees of freedom that its coverage factor speaks of."""
    slope = line.slope
    own = Slope(float(slope.value), float(slope.stderr) ** 2, dof_of(line.k95, line.dof))
    return _with_stock(own, 0.0 if same_stock else line.stock_rsd)


def dof_of(k95: float, otherwise: float) -> float:
    """Degrees of freedom for which Student's t has this coverage factor at 95 %."""
    from scipy.special import stdtridf

    if not k95 > NORMAL95:
        return otherwise if math.isnan(k95) else math.inf
    return float(stdtridf(0.975, k95))


def _with_stock(slope: Slope, stock_rsd: float) -> Slope:
    stock = (stock_rsd * slope.value) ** 2
    total = slope.variance + stock
    # Welch and Satterthwaite; the error of the stock is taken as known.
    dof = slope.dof * (total / slope.variance) ** 2 if slope.variance > 0 else slope.dof
    return Slope(slope.value, total, dof if stock > 0 else slope.dof)


def _shared_by_replicates(groups: Sequence[Group]) -> float:
    """Covariance of two means over replicates that stands for the points their lines share.

    A blank that all replicates of one agent share does not show in their SD; where both agents
    share it, it moves both alike, and nothing is missing. Never above 0: what would make a test
    less strict is not used.
    """
    if len(groups) != 2:
        return 0.0
    known = [
        [one for one in found.lines.values() if math.isfinite(one.r.value)] for _, found in groups
    ]
    together = [*known[0], *known[1]]
    if any(one.method not in LINEAR for one in together):
        return 0.0
    full, _ = covariance_of_slopes(together)
    if not np.isfinite(full).all():
        return 0.0
    n = len(known[0])
    blocks = (full[:n, :n], full[n:, n:])
    own = sum(
        float(block[~np.eye(len(block), dtype=bool)].mean()) for block in blocks if len(block) > 1
    )
    return min(float(full[:n, n:].mean()) - own / 2, 0.0)


def _not_by_ancova(lines: Sequence[Relaxivity], same_stock: bool) -> str:
    """Why an analysis of covariance does not apply; empty where it does."""
    from scipy.special import fdtrc

    methods = list(dict.fromkeys(line.method for line in lines))
    if len(methods) > 1:
        return f"lines of different kinds ({', '.join(methods)})"
    if methods[0] not in LINEAR:
        return f"{methods[0]} lines"
    if not same_stock and any(line.stock_rsd > 0 for line in lines):
        return "the stocks have errors"
    known = [line for line in lines if line.dof > 0]
    if methods[0] == "weighted" or len(known) < len(lines):
        return ""
    alone = [unscaled([line]) for line in lines]
    reach = [float(unit[0, 0]) for unit, _, _ in alone]
    if max(reach) > UNEVEN * min(reach):
        return "the lines differ in their concentrations, so their scatters are kept apart"
    scatter = [scale for _, scale, _ in alone]
    high, low = int(np.argmax(scatter)), int(np.argmin(scatter))
    pairs = len(lines) * (len(lines) - 1) / 2
    # A preliminary test finds little among few points: its level is generous for that reason.
    if not scatter[low] > 0:
        return ""  # rounding alone
    tail = float(fdtrc(lines[high].dof, lines[low].dof, scatter[high] / scatter[low]))
    if 2 * pairs * tail < UNEQUAL:
        return "the points scatter more about one line than about another"
    return ""


def _ancova(lines: Sequence[Relaxivity], why: str) -> Comparison:
    """F test of one common slope against separate slopes, each line with its own intercept."""
    from scipy.special import chdtrc, fdtrc

    k = len(lines)
    covariance, dof = covariance_of_slopes(list(lines))
    y = np.array([line.r.value for line in lines])
    if not dof > 0 or not np.isfinite(covariance).all():
        return Comparison("", "no degree of freedom is left for a test")
    slopes = tuple(
        Slope(float(v), float(c), dof) for v, c in zip(y, np.diag(covariance), strict=True)
    )
    contrast = np.eye(k)[:-1] - np.eye(k)[1:]
    between = contrast @ covariance @ contrast.T
    if not np.linalg.det(between / max(np.trace(between), 1e-300)) > 0:
        return Comparison("", "points without any scatter tell nothing of errors")
    step = contrast @ y
    F = float(step @ np.linalg.solve(between, step)) / (k - 1)
    if math.isinf(dof):
        why += "; the points scatter no more than their errors, which are taken as known"
        p = float(chdtrc(k - 1, F * (k - 1)))
    else:
        p = float(fdtrc(k - 1, dof, F))
    if k > 2:
        return Comparison(
            ANCOVA, why, statistic=F, dof_between=k - 1.0, dof=dof, p=p, slopes=slopes
        )
    return _pair(ANCOVA, why, slopes, float(covariance[0, 1]), dof=dof, statistic=F, p=p)


def _welch(
    test: str, why: str, slopes: Sequence[Slope], covariance: float, common: float | None = None
) -> Comparison:
    """Welch's analysis of variance of estimates with their own errors; for two, Welch's t.

    `common` degrees of freedom are those of one estimate behind both errors.
    """
    from scipy.special import fdtrc, stdtr

    y, v, nu = (np.array([getattr(s, n) for s in slopes]) for n in ("value", "variance", "dof"))
    if not (np.isfinite(v).all() and (nu > 0).all()):
        return Comparison("", "the error of a slope is unknown")
    k = len(slopes)
    if k == 2:
        total = float(v.sum() - 2 * covariance)
        if not total > 0:
            return Comparison("", "slopes without any scatter tell nothing of errors")
        spread = float((v**2 / nu).sum())
        # Welch and Satterthwaite; what shared points add is taken as known.
        dof = total**2 / spread if spread > 0 else math.inf
        dof = common or dof
        t = float(y[0] - y[1]) / math.sqrt(total)
        p = 2 * float(stdtr(dof, -abs(t)))
        return _pair(test, why, tuple(slopes), covariance, dof=dof, statistic=t, p=p)
    if not (v > 0).all():
        return Comparison("", "slopes without any scatter tell nothing of errors")
    w = 1 / v
    lack = float(((1 - w / w.sum()) ** 2 / nu).sum())
    mean = float((w * y).sum() / w.sum())
    F = float((w * (y - mean) ** 2).sum()) / (k - 1)
    F /= 1 + 2 * (k - 2) / (k * k - 1) * lack
    dof = (k * k - 1) / (3 * lack) if lack > 0 else math.inf
    p = float(fdtrc(k - 1, min(dof, 1e12), F))
    name = "Welch's ANOVA over replicates" if test == REPLICATES else "Welch's ANOVA of the slopes"
    return Comparison(
        name, why, statistic=F, dof_between=k - 1.0, dof=dof, p=p, slopes=tuple(slopes)
    )


def _pair(
    test: str,
    why: str,
    slopes: tuple[Slope, ...],
    covariance: float,
    *,
    dof: float,
    statistic: float,
    p: float,
) -> Comparison:
    a, b = slopes
    difference = a.value - b.value
    stderr = math.sqrt(a.variance + b.variance - 2 * covariance)
    half = t95(dof) * stderr
    return Comparison(
        test=test,
        why=why,
        difference=difference,
        stderr=stderr,
        ci95=(difference - half, difference + half),
        statistic=statistic,
        dof_between=1.0,
        dof=dof,
        p=p,
        slopes=slopes,
        covariance=covariance,
    )


def comparison_table(lines: Lines) -> pd.DataFrame:
    """Every pair of agents and conditions, r1 and r2, with Holm's correction over each symbol.

    Parameters
    ----------
    lines : mapping of (agent, condition) to {"r1": Relaxivity, "r2": Relaxivity}

    Returns
    -------
    DataFrame
        A row per pair and symbol; every unit is in its column's name. Differences are of the first
        minus the second; their intervals are of that pair alone.
    """
    unit = QUANTITIES["r1"].key
    rows: list[dict[str, Any]] = []
    for symbol in ("r1", "r2"):
        fits = {key: each[symbol] for key, each in lines.items() if symbol in each}
        groups = {key: (line, batches(line)) for key, line in fits.items()}
        pairs = list(combinations(groups, 2))
        tests = [_compare([groups[a], groups[b]], a[0] == b[0]) for a, b in pairs]
        adjusted = holm([test.p for test in tests])
        for (a, b), test, p_holm in zip(pairs, tests, adjusted, strict=True):
            rows.append(
                {
                    "symbol": symbol,
                    "agent_a": a[0],
                    "condition_a": a[1],
                    "agent_b": b[0],
                    "condition_b": b[1],
                    f"difference_{unit}": test.difference,
                    f"difference_stderr_{unit}": test.stderr,
                    f"difference_ci95_low_{unit}": test.ci95[0],
                    f"difference_ci95_high_{unit}": test.ci95[1],
                    "test": test.test,
                    "statistic": test.statistic,
                    "dof_between": test.dof_between,
                    "dof": test.dof,
                    "p": test.p,
                    "p_holm": p_holm,
                    "stars": stars(p_holm),
                    "why": test.why,
                }
            )
    return pd.DataFrame(rows)


def letters_of(lines: Lines, comparisons: pd.DataFrame) -> dict[str, dict[tuple[str, str], str]]:
    """Compact letters of every symbol at 0.05 of Holm's p; the highest slope has an ``a``.

    A group that no test could be made of has no letter.
    """
    found: dict[str, dict[tuple[str, str], str]] = {}
    symbols = comparisons["symbol"] if len(comparisons) else pd.Series(dtype=object)
    for symbol in symbols.unique():
        tested: set[tuple[str, str]] = set()
        different: set[frozenset[tuple[str, str]]] = set()
        for row in comparisons[symbols == symbol].to_dict("records"):
            a, b = ((row[f"agent_{x}"], row[f"condition_{x}"]) for x in "ab")
            tested |= {a, b} if not math.isnan(row["p_holm"]) else set()
            different |= {frozenset((a, b))} if row["p_holm"] < LEVEL else set()
        groups = sorted(tested, key=lambda key: -lines[key][symbol].r.value)
        shown = letters(groups, different) if groups else {}
        found[str(symbol)] = {
            key: shown.get(key, "") for key, each in lines.items() if symbol in each
        }
    return found


def omnibus(lines: Lines) -> Mapping[str, Comparison]:
    """One test per symbol of whether all slopes are equal."""
    found = {}
    for symbol in ("r1", "r2"):
        fits = {key: each[symbol] for key, each in lines.items() if symbol in each}
        if len(fits) > 1:
            one_agent = len({agent for agent, _ in fits}) == 1
            found[symbol] = compare_all(list(fits.values()), same_stock=one_agent)
    return found
