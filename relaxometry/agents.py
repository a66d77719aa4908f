"""Relaxivity of agents from a tube table: r1, r2, r2/r1 with errors, and what they mean."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .errors import InputError
from .estimate import error_of_inverse
from .regression import Method, Relaxivity, fieller, no_line, relaxivity_fit, t95
from .sheet import as_text, yes
from .units import LONGEST, QUANTITIES, RELAXIVITY_OF, TIME_OF

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

# A rate is never better known than the method repeats itself: echo and inversion times, slice
# profile and temperature limit it to about 1 %, however small the formula error of a fit.
RELATIVE_FLOOR = 0.01
# Points that scatter more than so many times their errors are a blunder rather than noise.
SCATTER = 5.0
# Borders of r2/r1 between T1 agent, dual-mode and T2 agent (science: 5 and 8 in the reviews).
T1_BELOW, T2_ABOVE = 5.0, 8.0
BLANKS = ("", "blank", "control")
REQUIRED = ("agent", "concentration_mM")
_MISSING = ("", "nan", "na", "n/a")


def classify(ratio: float, ci95: tuple[float, float]) -> str:
    """What an agent is by r2/r1 and its interval: T1 agent, dual-mode, T2 agent.

    Where the interval reaches over a border it may be more than one. Borders 5 and 8 as in the
    reviews (Yang et al., Small 2023; Li et al., Chem Biomed Imaging 2023).
    """
    names = ("T1 agent", "dual-mode", "T2 agent")
    if not math.isfinite(ratio) or ratio <= 0:
        return "not determined"

    def side(value: float) -> int:
        return 0 if value < T1_BELOW else 1 if value <= T2_ABOVE else 2

    if any(math.isnan(v) for v in ci95):
        return f"{names[side(ratio)]}, interval unknown"
    low, high = (side(v) for v in ci95)
    return " or ".join(names[low : high + 1])


def rate_sigma(rate: Array, stderr: Array, sd: Array, n_voxels: Array) -> Array:
    """Error a tube's rate is weighted by, s⁻¹.

    The larger of the curve fit's standard error and the standard error of the mean over the tube's
    voxels (SD/√n), and in quadrature the relative floor of the method, 1 % of the rate: with few
    points and a near-noiseless mean curve, the formula error alone can be absurdly small.
    """
    scatter = np.where(np.isfinite(sd) & (n_voxels > 1), sd / np.sqrt(np.maximum(n_voxels, 1)), 0)
    sigma: Array = np.hypot(np.fmax(stderr, scatter), RELATIVE_FLOOR * rate)
    return np.where(np.isfinite(stderr), sigma, np.nan)


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class RelaxivityTable:
    """One row per agent (and condition): r1, r2, r2/r1, class, with errors.

    Attributes
    ----------
    table : DataFrame
        Columns as in ``relaxivity.csv``; every unit is in its column's name.
    lines : mapping of (agent, condition) to {"r1": Relaxivity, "r2": Relaxivity}
        The lines behind each row; condition is ``""`` where there is none.
    warnings : tuple of str
        What was left out of the lines, and why.
    """

    table: pd.DataFrame
    lines: Mapping[tuple[str, str], Mapping[str, Relaxivity]]
    warnings: tuple[str, ...] = ()

    @property
    def columns(self) -> pd.Index:
        """Names of the table's columns."""
        return self.table.columns

    def __len__(self) -> int:
        return len(self.table)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.lines)

    def __getitem__(self, key: str) -> Any:
        """A column of the table, or the lines of an agent."""
        if key in self.table.columns:
            return self.table[key]
        found = [lines for (agent, _), lines in self.lines.items() if agent == key]
        if len(found) != 1:
            raise KeyError(f"no column, and not exactly one agent, named {key!r}")
        return found[0]

    def plot(self) -> Figure:
        """R1 and R2 against concentration, with lines and 95 % confidence bands."""
        from .plots import relaxivity_lines

        return relaxivity_lines(self)

    def __repr__(self) -> str:
        rows = []
        for row in self.table.to_dict("records"):
            name = " ".join(str(row[k]) for k in ("agent", "condition") if row[k])
            lines = self.lines[str(row["agent"]), str(row["condition"] or "")]
            values = [f"{s} {lines[s].r.value:.4g} ± {lines[s].r.stderr:.2g}" for s in lines]
            rows.append(f"{name}: {', '.join(values)} mM⁻¹ s⁻¹, {row['class']}")
        return "Relaxivity: " + "; ".join(rows)

    def _repr_html_(self) -> str:
        return str(self.table.to_html(index=False, escape=True, float_format="{:.4g}".format))


def relaxivity(table: pd.DataFrame, method: Method = "auto") -> RelaxivityTable:
    """Relaxivities of every agent in a tube table.

    An agent whose tubes give no line (too few rates determined) has a row of NaN and a flag.

    Parameters
    ----------
    table : DataFrame
        Columns ``agent`` and ``concentration_mM``, and ``R1_per_s`` and/or ``R2_per_s`` or else
        ``T1_s``/``T1_ms`` and so on. Used where there: ``R1_stderr_per_s`` (or of the times),
        ``T1_sd_s``, ``T1_n_fitted`` or ``n_voxels`` (behind that SD), ``concentration_sd_mM``,
        ``condition``, ``exclude``, ``reason``, ``tube``. Rows at concentration 0 without an agent,
        or with agent ``blank`` or ``control``, belong to every agent.
    method : {"auto", "ordinary", "weighted", "york"}
        As in :func:`relaxivity_fit`; the errors are those of :func:`rate_sigma`.

    Returns
    -------
    RelaxivityTable

    Raises
    ------
    InputError
        If a column is missing or not numeric, or no agent is at two concentrations.
    """
    points = _points(table)
    excluded = points[points["exclude"]]
    warnings = [
        f"tube {tube} left out as the sheet says: {reason or 'no reason given'}"
        for tube, reason in zip(excluded["tube"], excluded["reason"], strict=True)
    ]
    points = points[~points["exclude"]]
    rates = [rate for rate in RELAXIVITY_OF if rate in points]
    blank = (points["concentration_mM"] == 0) & points["agent"].str.lower().isin(BLANKS)
    unnamed = ~blank & (points["agent"] == "")
    if unnamed.any():
        raise InputError(
            f"tube {points['tube'][unnamed].iloc[0]} has a concentration but no agent",
            field="agent",
        )
    lines: dict[tuple[str, str], dict[str, Relaxivity]] = {}
    rows, levels = [], 0
    for agent, condition in (
        points.loc[~blank, ["agent", "condition"]].drop_duplicates().itertuples(index=False)
    ):
        own = ~blank & (points["agent"] == agent) & (points["condition"] == condition)
        shared = blank & points["condition"].isin(["", condition])
        name = f"{agent} {condition}".strip()
        levels = max(levels, points.loc[own | shared, "concentration_mM"].nunique())
        fits: dict[str, Relaxivity] = {}
        for rate in rates:
            used, left_out = _usable(points[own | shared], rate)
            warnings += [f"{name}: {text}" for text in left_out]
            line = fits[RELAXIVITY_OF[rate]] = _agent_line(used, rate, method)
            warnings += [f"{name}: {text}" for text in _doubts(line, used, rate)]
        lines[agent, condition] = fits
        rows.append(_row(agent, condition, fits))
    if not rows:
        raise InputError("no agent in the table", field="agent", expected="a name in each row")
    if levels < 2:  # a table that no measurement could make a line of
        (symbol, fit), *_ = next(iter(lines.values())).items()
        raise InputError(f"{symbol} of {rows[0]['agent']} {fit.flags[0]}", field="concentration_mM")
    return RelaxivityTable(pd.DataFrame(rows), lines, tuple(warnings))


def _points(table: pd.DataFrame) -> pd.DataFrame:
    """The columns a regression needs, checked, with rates and their errors worked out."""
    for column in REQUIRED:
        if column not in table:
            raise InputError(
                f"no column {column}; there are {', '.join(map(str, table.columns))}"[:200],
                expected="agent, concentration_mM and R1_per_s, R2_per_s, T1_ms or T2_ms",
            )
    if table.empty:
        raise InputError("no row in the table", expected="one row per tube")
    points = pd.DataFrame(index=table.index)
    for text in ("agent", "condition", "reason", "exclude"):
        points[text] = [as_text(value) for value in table[text]] if text in table else ""
    points["tube"] = table["tube"] if "tube" in table else np.arange(1, len(table) + 1)
    points["exclude"] = [yes(text, "exclude") for text in points["exclude"]]
    points["concentration_mM"] = _column(table, "concentration_mM", np.nan)
    missing = points["concentration_mM"].isna() & ~points["exclude"]
    if missing.any():
        raise InputError(
            f"tube {points['tube'][missing].iloc[0]} has no concentration", field="concentration_mM"
        )
    negative = points["concentration_mM"] < 0
    if negative.any():
        raise InputError(
            f"tube {points['tube'][negative].iloc[0]} has {points['concentration_mM'].min():g} mM",
            field="concentration_mM",
            expected="none below 0",
        )
    c_sd = _column(table, "concentration_sd_mM", np.nan)
    # A blank holds no agent: its concentration is 0 without error.
    points["concentration_sd_mM"] = np.where(points["concentration_mM"] == 0, 0.0, c_sd)
    found = False
    for rate in RELAXIVITY_OF:
        value, stderr, sd = _rate(table, rate)
        if value is None:
            continue
        found = True
        _check_rates(rate, value, stderr, points["tube"])
        points[rate] = value
        counts = (f"{TIME_OF[rate]}_n_fitted", "n_voxels")
        voxels = next((name for name in counts if name in table), "n_voxels")
        points[f"{rate}_sigma"] = rate_sigma(value, stderr, sd, _column(table, voxels, 1.0))
    if not found:
        raise InputError(
            "no rates or times", expected="a column R1_per_s, R2_per_s, T1_s, T2_s, T1_ms or T2_ms"
        )
    return points


def _check_rates(rate: str, value: Array, stderr: Array, tubes: pd.Series) -> None:
    for name, bad, expected in (
        (rate, (value <= 0) | np.isinf(value), "above 0"),
        (f"error of {rate}", (stderr <= 0) | np.isinf(stderr), "above 0, or empty if not known"),
    ):
        if bad.any():
            found = (stderr if name != rate else value)[bad][0]
            where = f"{name} of tube {tubes.to_numpy()[bad][0]}"
            raise InputError(f"{found:g} s⁻¹", field=where, expected=expected)


def _rate(table: pd.DataFrame, rate: str) -> tuple[Any, Any, Any]:
    """Rate, its standard error and its SD between voxels, from rates or else from times."""
    time = TIME_OF[rate]
    _check_times(table, rate)
    if f"{rate}_per_s" in table:
        value = _column(table, f"{rate}_per_s", np.nan)
        stderr = _column(table, f"{rate}_stderr_per_s", np.nan)
        sd = _column(table, f"{rate}_sd_per_s", np.nan)
        from_time = error_of_inverse(_column(table, f"{time}_sd_s", np.nan), value)
        return value, stderr, np.where(np.isnan(sd), from_time, sd)
    for unit, factor in (("s", 1.0), ("ms", 1e-3)):
        if f"{time}_{unit}" in table:
            T = factor * _column(table, f"{time}_{unit}", np.nan)
            if (T <= 0).any():
                raise InputError("a time that is not positive", field=f"{time}_{unit}")
            stderr, sd = (
                error_of_inverse(factor * _column(table, f"{time}_{error}_{unit}", np.nan), 1 / T)
                for error in ("stderr", "sd")
            )
            return 1 / T, stderr, sd
    return None, None, None


def _check_times(table: pd.DataFrame, rate: str) -> None:
    """Raise `InputError` where time and rate of a tube disagree, or a time is in another unit."""
    time = TIME_OF[rate]
    for unit, factor in (("s", 1.0), ("ms", 1e-3)):
        T = factor * _column(table, f"{time}_{unit}", np.nan)
        if (LONGEST["TR"] < T).any():
            raise InputError(
                f"{np.nanmax(T) / factor:g} {unit} is too long",
                field=f"{time}_{unit}",
                expected=f"{time} in {unit}",
            )
        R = _column(table, f"{rate}_per_s", np.nan)
        apart = np.abs(R * T - 1) > 0.01
        if apart.any():
            row = int(np.flatnonzero(apart)[0])
            raise InputError(
                f"row {row + 1} has {rate} = {R[row]:g} s⁻¹ but 1/{time} = {1 / T[row]:g} s⁻¹",
                field=f"{rate}_per_s",
                expected=f"{rate} = 1/{time}",
                hint="correct both, or leave one column out",
            )


def _column(table: pd.DataFrame, name: str, default: float) -> Array:
    if name not in table:
        return np.full(len(table), default)
    numbers = np.full(len(table), np.nan)
    for i, cell in enumerate(table[name]):
        text = as_text(cell)
        if text.lower() in _MISSING:
            continue
        try:
            numbers[i] = float(text)
        except ValueError:
            raise InputError(
                f"{text!r} in row {i + 1}", field=name, expected="a number with a decimal point"
            ) from None
    return numbers


def _usable(points: pd.DataFrame, rate: str) -> tuple[pd.DataFrame, list[str]]:
    unknown = ~np.isfinite(points[rate])
    left_out = [
        f"tube {tube} left out of {RELAXIVITY_OF[rate]}: {rate} not determined"
        for tube in points.loc[unknown, "tube"]
    ]
    return points[~unknown], left_out


def _doubts(line: Relaxivity, points: pd.DataFrame, rate: str) -> list[str]:
    """What is odd about a line, in words."""
    symbol, doubts = line.r.symbol, []
    known = int(np.isfinite(points[f"{rate}_sigma"]).sum())
    if 0 < known < line.n:
        doubts.append(f"{symbol} is not weighted: {line.n - known} of {line.n} rates have no error")
    stated = points.loc[points["concentration_mM"] > 0, "concentration_sd_mM"].notna()
    if stated.any() and not stated.all():
        doubts.append(
            f"{symbol}: errors of the concentration are not used: "
            f"{int((~stated).sum())} of {len(stated)} tubes have none"
        )
    if line.chi2_reduced > SCATTER**2:
        doubts.append(
            f"{symbol}: the points scatter {math.sqrt(line.chi2_reduced):.0f} times more than "
            "their errors: are the tubes in the order of the sheet, and measured where they are?"
        )
    return doubts


def _agent_line(points: pd.DataFrame, rate: str, method: Method) -> Relaxivity:
    c, R = points["concentration_mM"].to_numpy(), points[rate].to_numpy()
    levels = np.unique(c).size
    if levels < 2:
        reason = f"rates known at {levels} concentration{'' if levels == 1 else 's'}, 2 are needed"
        return no_line(c, R, RELAXIVITY_OF[rate], reason)
    sigma, c_sd = points[f"{rate}_sigma"].to_numpy(), points["concentration_sd_mM"].to_numpy()
    return relaxivity_fit(
        c,
        R,
        stderr=sigma if np.isfinite(sigma).all() else None,
        concentration_sd=c_sd if np.isfinite(c_sd).all() else None,
        method=method,
        symbol=RELAXIVITY_OF[rate],
    )


def _row(agent: str, condition: str, fits: Mapping[str, Relaxivity]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "agent": agent,
        "condition": condition,
        "n_points": max(fit.n for fit in fits.values()),
        "method": " / ".join(dict.fromkeys(fit.method for fit in fits.values())),
    }
    flags: list[str] = []
    for symbol, fit in fits.items():
        unit = QUANTITIES[symbol].key
        row[f"{symbol}_{unit}"] = fit.r.value
        row[f"{symbol}_stderr_{unit}"] = fit.r.stderr
        row[f"{symbol}_ci95_low_{unit}"], row[f"{symbol}_ci95_high_{unit}"] = fit.ci95
        row[f"{symbol.upper()}_0_per_s"] = fit.R0.value
        row[f"{symbol.upper()}_0_stderr_per_s"] = fit.R0.stderr
        row[f"{symbol}_rsquared"] = fit.rsquared
        row[f"{symbol}_chi2_reduced"] = fit.chi2_reduced
        row[f"{symbol}_n_points"] = fit.n
        flags += [f"{symbol}: {flag}" for flag in fit.flags]
    ratio, low, high, label = math.nan, math.nan, math.nan, "not determined"
    if len(fits) == 2:
        r1, r2 = fits["r1"].r, fits["r2"].r
        estimate, t = r2.over(r1), t95(min(f.dof for f in fits.values()))
        ratio, half = estimate.value, t * estimate.stderr
        low, high = ratio - half, ratio + half
        if (r1.value > 0 and r2.value - t * r2.stderr > 0) or math.isnan(t):
            # By Fieller's interval: where r1 is poorly known the delta method's is too narrow
            # above and too wide below.
            label = classify(ratio, fieller(r2, r1, t))
    row["r2_r1"], row["r2_r1_ci95_low"], row["r2_r1_ci95_high"] = ratio, low, high
    row["class"] = label
    row["flags"] = "; ".join(flags)
    return row
