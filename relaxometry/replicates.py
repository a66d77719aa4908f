"""Replicates: a line per batch, mean ± SD as papers print it, and scatter within and between."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .errors import InputError
from .estimate import Estimate
from .regression import NORMAL95, Relaxivity, no_line, t95
from .units import QUANTITIES

Array = NDArray[np.float64]
Lines = Mapping[tuple[str, str], Mapping[str, Relaxivity]]

#: Below this, replicates differ by more than their errors.
SIGNIFICANT = 0.05
#: Lines whose slope is a weighted sum of the rates, with known weights.
LINEAR = ("ordinary", "relative", "weighted")


@dataclass(frozen=True, slots=True, eq=False)
class Batches:
    """What the replicates of one line say together.

    Attributes
    ----------
    lines : mapping of int to Relaxivity
        The line of each replicate; shared points, such as blanks, belong to each.
    mean, sd : float
        Mean and SD of their slopes, mM⁻¹ s⁻¹; SD is NaN with fewer than two.
    mixed : Estimate
        Mean with the error that counts the scatter within and between replicates.
    ci95 : (float, float)
        95 % interval of that mean, mM⁻¹ s⁻¹.
    between_sd : float
        SD between replicates that is not explained by the scatter about their lines, mM⁻¹ s⁻¹.
    within_stderr : float
        Error of the mean if only the scatter about the lines counted, mM⁻¹ s⁻¹.
    heterogeneity_p : float
        Of Cochran's Q: how likely it is that equal batches differ so much.
    flags : tuple of str
        What a reader should know.
    """

    lines: Mapping[int, Relaxivity]
    mean: float
    sd: float
    mixed: Estimate
    ci95: tuple[float, float]
    between_sd: float
    within_stderr: float
    heterogeneity_p: float
    flags: tuple[str, ...]

    @property
    def slopes(self) -> Array:
        """Of the replicates that have one, mM⁻¹ s⁻¹, shape (k,)."""
        found: Array = np.array([line.r.value for line in self.lines.values()], dtype=float)
        known: Array = found[np.isfinite(found)]
        return known


def lines_of_replicates(line: Relaxivity) -> dict[int, Relaxivity]:
    """The line through each replicate's points and the shared ones (replicate 0).

    A replicate with too few points has a line of NaN.
    """
    return {number: _refitted(line, keep) for number, keep in _masks(line).items()}


def _refitted(line: Relaxivity, keep: NDArray[np.bool_]) -> Relaxivity:
    if keep.all():
        return line
    try:
        return line.refit(keep)
    except InputError as error:  # a robust line needs four points
        return no_line(line.concentration[keep], line.rate[keep], line.r.symbol, str(error))


def _masks(line: Relaxivity) -> dict[int, NDArray[np.bool_]]:
    # A batch is what holds agent: a blank with a number of its own is none.
    own = (line.replicate != 0) & (line.concentration > 0)
    numbers = np.unique(line.replicate[own]).tolist()
    return {int(n): (line.replicate == n) | (line.replicate == 0) for n in numbers}


def batches(line: Relaxivity) -> Batches:
    """What the replicates of a line say together.

    Parameters
    ----------
    line : Relaxivity
        With the replicate of each point; 0 is a point that all of them share.

    Returns
    -------
    Batches
        NaN where there are too few replicates.

    Notes
    -----
    Random-effects model of the slopes yᵢ, i = 1…k, with covariance V(τ²) = τ²·I + Σ: Σ holds the
    errors of the slopes (from the scatter about all the replicates' lines together) and, off its
    diagonal, what the shared points do to every slope alike. The between-batch variance τ² solves
    Q(τ²) = (y − μ)ᵀV⁻¹(y − μ) = k − 1 (Paule & Mandel, J Res Natl Bur Stand 87:377, 1982), or is 0
    where Q(0) is less. The interval is μ ± t(k−1)·√(q/1ᵀV⁻¹1), q = Q(τ²)/(k − 1) (Hartung & Knapp,
    Stat Med 20:3875, 2001; Sidik & Jonkman, Stat Med 21:3153, 2002). For replicates of one design
    without shared points it is mean ± t·SD/√k. It is never narrower than ± 1.96 of the slopes' own
    errors: replicates that agree by chance are not known better. Q(0) is Cochran's Q
    (Biometrics 10:101, 1954), held against F where the errors come from the scatter, else
    against χ². A stock error, common to all replicates, is added to the error of the mean.
    """
    lines = lines_of_replicates(line)
    known = {number: one for number, one in lines.items() if math.isfinite(one.r.value)}
    flags = [
        f"replicate {number}: {flag}"
        for number, one in lines.items()
        for flag in one.flags
        if number not in known
    ]
    y = np.array([one.r.value for one in known.values()])
    k = y.size
    nan = math.nan
    mean = float(y.mean()) if k else nan
    sd = float(y.std(ddof=1)) if k > 1 else nan
    if k < 2:
        if k == 1:
            flags.append("one replicate: it tells nothing of the scatter between batches")
        return Batches(
            lines, mean, sd, Estimate(nan, nan, line.r.symbol), (nan, nan), nan, nan, nan,
            tuple(flags),
        )  # fmt: skip
    masks = _masks(line)
    points = [np.flatnonzero(masks[number]).tolist() for number in known]
    within, dof = covariance_of_slopes(list(known.values()), points)
    if not within.any():
        # Points without any scatter about their lines: all there is lies between them.
        tau2, mu, variance, fixed_variance, p = sd**2, mean, sd**2 / k, 0.0, nan
    elif np.isfinite(within).all():
        tau2, mu, variance = _random_effects(y, within)
        chi2, _, fixed_variance = _weighted_mean(y, within)
        p = _upper_tail(chi2, k - 1, dof)
    else:
        flags.append("the replicates' own errors are unknown: all count alike")
        tau2, mu, variance = nan, mean, sd**2 / k
        fixed_variance = p = nan
    if k == 2:
        flags.append("two replicates: their SD is hardly known")
    stock = (line.stock_rsd * mu) ** 2
    # Welch and Satterthwaite; the stock's share is taken as known.
    freedom = (k - 1) * (1 + stock / variance) ** 2 if variance > 0 else math.inf
    half = t95(freedom) * math.sqrt(variance + stock)
    # Slopes that agree by chance are not better known than their own errors allow.
    own = fixed_variance if math.isfinite(fixed_variance) else 0.0
    half = max(half, NORMAL95 * math.sqrt(own + stock))
    stderr = math.sqrt(max(variance, own) + stock)
    return Batches(
        lines=lines,
        mean=mean,
        sd=sd,
        mixed=Estimate(mu, stderr, line.r.symbol),
        ci95=(mu - half, mu + half),
        between_sd=math.sqrt(tau2),
        within_stderr=math.sqrt(fixed_variance),
        heterogeneity_p=p,
        flags=tuple(flags),
    )


def covariance_of_slopes(
    lines: Sequence[Relaxivity], points: Sequence[Sequence[Hashable]] | None = None
) -> tuple[Array, float]:
    """Covariance (k, k) of the slopes of lines that may share points, and its degrees of freedom.

    The scatter is taken from all lines together where their slopes are weighted sums of the rates;
    it is not below 1 where the errors of the rates are known. Degrees of freedom are infinite where
    those errors suffice. Lines of other methods bring their own errors, taken as independent.

    Parameters
    ----------
    lines : sequence of Relaxivity (k,)
    points : sequence of sequences, optional
        A name for each point of each line, the same for a point that several share; without it,
        points are told apart by tube, replicate, concentration and rate.
    """
    methods = {line.method for line in lines}
    if len(methods) > 1 or not methods <= set(LINEAR):
        variances = [line.slope.stderr**2 for line in lines]
        return np.diag(np.array(variances)), float(sum(line.dof for line in lines))
    unit, scale, dof = unscaled(lines, points)
    if methods == {"weighted"}:
        return (unit, math.inf) if not scale > 1 else (scale * unit, dof)
    return scale * unit, dof


def unscaled(
    lines: Sequence[Relaxivity], points: Sequence[Sequence[Hashable]] | None = None
) -> tuple[Array, float, float]:
    """Covariance of slopes for points of unit scatter, the scatter (χ²/ν), and its ν.

    A point that several lines share makes their slopes depend on each other.
    """
    errors = [_errors(line) for line in lines]
    moves = [line.pull * error for line, error in zip(lines, errors, strict=True)]
    named = [_places(names) for names in points or [_names(line) for line in lines]]
    covariance = np.empty((len(lines), len(lines)))
    for i, mine in enumerate(named):
        for j, other in enumerate(named):
            shared = [(mine[name], other[name]) for name in mine if name in other]
            covariance[i, j] = sum(float(moves[i][a] * moves[j][b]) for a, b in shared)
    residuals = [line.residual / error for line, error in zip(lines, errors, strict=True)]
    chi2 = sum(float(rest @ rest) for rest in residuals)
    freedom = sum(line.dof for line in lines)
    repeated = sum(map(len, named)) - len(set().union(*named))
    # The scatter is unbiased whether or not points are shared, but rests on fewer of them.
    scale = chi2 / freedom if freedom > 0 else math.nan
    return covariance, scale, float(max(freedom - repeated, 0))


def _errors(line: Relaxivity) -> Array:
    """Errors of a line's points up to a factor common to all lines of its method."""
    if line.method == "weighted":
        return line.sigma
    if line.method != "relative":
        return np.ones(line.n)
    fitted = np.abs(line.line(line.concentration))
    error: Array = np.maximum(fitted, 1e-6 * fitted.max())
    return error


def _names(line: Relaxivity) -> list[Hashable]:
    if not line.tubes:
        return [object() for _ in range(line.n)]
    columns = (line.tubes, line.replicate.tolist(), line.concentration.tolist(), line.rate.tolist())
    return list(zip(*columns, strict=True))


def _places(names: Sequence[Hashable]) -> dict[Hashable, int]:
    found: dict[Hashable, int] = {}
    for i, name in enumerate(names):
        # A tube that stands twice in one line is two points.
        found[name if name not in found else (name, i)] = i
    return found


def _weighted_mean(y: Array, covariance: Array) -> tuple[float, float, float]:
    """Weighted sum of squares about the weighted mean, that mean, and its variance."""
    inverse = np.linalg.pinv(covariance, hermitian=True)
    total = float(inverse.sum())
    mu = float(inverse.sum(axis=0) @ y) / total
    rest = y - mu
    return float(rest @ inverse @ rest), mu, 1 / total


def _random_effects(y: Array, within: Array) -> tuple[float, float, float]:
    """τ² by Paule and Mandel, the mean, and its variance by Hartung, Knapp, Sidik and Jonkman."""
    from scipy.optimize import brentq

    k = y.size
    identity = np.eye(k)

    def excess(tau2: float) -> float:
        return _weighted_mean(y, within + tau2 * identity)[0] - (k - 1)

    spread, tau2 = float(y.var(ddof=1)), 0.0
    if excess(0.0) > 0:
        # Q falls with τ², and at this end it is below k − 1.
        tau2 = float(brentq(excess, 0.0, 2 * k * spread, xtol=1e-14 * spread, rtol=1e-12))
    Q, mu, variance = _weighted_mean(y, within + tau2 * identity)
    return tau2, mu, Q / (k - 1) * variance


def _upper_tail(chi2: float, dof_between: int, dof: float) -> float:
    from scipy.special import chdtrc, fdtrc

    if not dof > 0:
        return math.nan
    if math.isinf(dof):
        return float(chdtrc(dof_between, chi2))
    return float(fdtrc(dof_between, dof, chi2 / dof_between))


def doubts(line: Relaxivity, found: Batches | None = None) -> Iterator[str]:
    """What replicates cast doubt on, in sentences for the table's warnings."""
    found = batches(line) if found is None else found
    symbol, k = line.r.symbol, found.slopes.size
    if found.heterogeneity_p < SIGNIFICANT:
        yield (
            f"{symbol}: {k} replicates differ by more than their errors (p = "
            f"{found.heterogeneity_p:.1g}), so the line through all of them is too sure of itself"
        )
    if k == 2:
        yield f"{symbol}: two replicates, so their SD is hardly known"
    for number, one in found.lines.items():
        if not math.isfinite(one.r.value) and math.isfinite(line.r.value):
            yield f"{symbol}: replicate {number} gives no line ({one.flags[0]})"


def replicate_table(lines: Lines) -> pd.DataFrame:
    """A row per agent, condition and replicate: its lines and their r2/r1.

    Parameters
    ----------
    lines : mapping of (agent, condition) to {"r1": Relaxivity, "r2": Relaxivity}

    Returns
    -------
    DataFrame
        Every unit is in its column's name; NaN where a replicate gives no line. Empty where
        nothing was replicated.
    """
    rows: list[dict[str, Any]] = []
    for (agent, condition), fits in lines.items() if replicated(lines) else ():
        each = {symbol: lines_of_replicates(line) for symbol, line in fits.items()}
        for number in sorted(set().union(*each.values())):
            row: dict[str, Any] = {"agent": agent, "condition": condition, "replicate": number}
            mine = {symbol: own[number] for symbol, own in each.items() if number in own}
            row["n_points"] = max(line.n for line in mine.values())
            for symbol in fits:
                unit, line = QUANTITIES[symbol].key, mine.get(symbol)
                row[f"{symbol}_{unit}"] = line.r.value if line else math.nan
                row[f"{symbol}_stderr_{unit}"] = line.slope.stderr if line else math.nan
                row[f"{symbol.upper()}_0_per_s"] = line.R0.value if line else math.nan
            if len(fits) == 2:
                row["r2_r1"] = ratio_of_slopes(mine)
            row["flags"] = "; ".join(
                f"{symbol}: {flag}" for symbol, line in mine.items() for flag in line.flags
            )
            rows.append(row)
    return pd.DataFrame(rows)


def replicated(lines: Lines) -> bool:
    """Whether any line has more than one replicate."""
    return any(len(_masks(line)) > 1 for fits in lines.values() for line in fits.values())


def ratio_of_slopes(mine: Mapping[str, Relaxivity]) -> float:
    """r2/r1 of one replicate; NaN where it lacks one or r1 is not above 0."""
    if not {"r1", "r2"} <= mine.keys() or not mine["r1"].r.value > 0:
        return math.nan
    return float(mine["r2"].r.value / mine["r1"].r.value)


def ratios(found: Mapping[str, Batches]) -> Array:
    """r2/r1 of each replicate that has both, shape (k,)."""
    if not {"r1", "r2"} <= found.keys():
        return np.empty(0)
    r1, r2 = found["r1"].lines, found["r2"].lines
    values = np.array([ratio_of_slopes({"r1": r1[n], "r2": r2[n]}) for n in r1 if n in r2])
    return values[np.isfinite(values)] if values.size else np.empty(0)


def replicate_summary(lines: Lines) -> pd.DataFrame:
    """A row per agent and condition: mean ± SD over replicates, and the mixed view.

    Parameters
    ----------
    lines : mapping of (agent, condition) to {"r1": Relaxivity, "r2": Relaxivity}

    Returns
    -------
    DataFrame
        Every unit is in its column's name; see :class:`Batches`. Empty where nothing was
        replicated.
    """
    rows: list[dict[str, Any]] = []
    for (agent, condition), fits in lines.items() if replicated(lines) else ():
        found = {symbol: batches(line) for symbol, line in fits.items()}
        row: dict[str, Any] = {
            "agent": agent,
            "condition": condition,
            "n_replicates": max(one.slopes.size for one in found.values()),
        }
        for symbol, one in found.items():
            unit = QUANTITIES[symbol].key
            row[f"{symbol}_n_replicates"] = one.slopes.size
            row[f"{symbol}_mean_{unit}"], row[f"{symbol}_sd_{unit}"] = one.mean, one.sd
            row[f"{symbol}_mixed_{unit}"] = one.mixed.value
            row[f"{symbol}_mixed_stderr_{unit}"] = one.mixed.stderr
            row[f"{symbol}_mixed_ci95_low_{unit}"] = one.ci95[0]
            row[f"{symbol}_mixed_ci95_high_{unit}"] = one.ci95[1]
            row[f"{symbol}_between_sd_{unit}"] = one.between_sd
            row[f"{symbol}_within_stderr_{unit}"] = one.within_stderr
            row[f"{symbol}_heterogeneity_p"] = one.heterogeneity_p
        if len(found) == 2:
            each = ratios(found)
            row["r2_r1_mean"] = float(each.mean()) if each.size else math.nan
            row["r2_r1_sd"] = float(each.std(ddof=1)) if each.size > 1 else math.nan
        row["flags"] = "; ".join(
            f"{symbol}: {f}" for symbol, one in found.items() for f in one.flags
        )
        rows.append(row)
    return pd.DataFrame(rows)
