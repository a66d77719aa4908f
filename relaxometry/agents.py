"""Relaxivity of agents from a tube table: r1, r2, r2/r1 with errors, and what they mean."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .errors import InputError
from .flags import flags_of, tubes_in_words
from .rates import points_of
from .regression import Method, Relaxivity, fieller, no_line, relaxivity_fit, t95
from .units import QUANTITIES, RELAXIVITY_OF, TIME_OF

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

# Points that scatter more than so many times their errors are a blunder rather than noise.
SCATTER = 5.0
# Borders of r2/r1 between T1 agent, dual-mode and T2 agent (science: 5 and 8 in the reviews).
T1_BELOW, T2_ABOVE = 5.0, 8.0
BLANKS = ("", "blank", "control")


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


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A tube that is not on a line: whose, of which relaxivity, where it would be, and why.

    Attributes
    ----------
    tube : Any
        As the table numbers it.
    agent, condition : str
        Of the line; empty where a tube that the sheet excludes says no agent.
    symbol : str
        ``"r1"`` or ``"r2"``.
    concentration_mM, rate : float
        The point, mM and s⁻¹; NaN where unknown.
    reason : str
        In words.
    codes : tuple of str
        Flags that exclude it, ``T2_short``; empty where the sheet does, or there is no rate.
    by_sheet : bool
        Whether the sheet says so.
    """

    tube: Any
    agent: str
    condition: str
    symbol: str
    concentration_mM: float
    rate: float
    reason: str
    codes: tuple[str, ...] = ()
    by_sheet: bool = False


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
    left_out : tuple of LeftOut
        The points that were, by the sheet, by a flag, or because they were not determined.
    """

    table: pd.DataFrame
    lines: Mapping[tuple[str, str], Mapping[str, Relaxivity]]
    warnings: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

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

    def plot(
        self,
        concentration_of: str = "",
        *,
        width: str | float = "double",
        font_size: float | None = None,
        prediction: bool = False,
        residuals: bool = True,
    ) -> Figure:
        """R1 and R2 against concentration, with lines and 95 % confidence bands.

        Parameters
        ----------
        concentration_of : str
            Ion the concentration counts, for the axis.
        width : {"single", "double", "presentation"} or float
            Of the figure: one or two columns of a journal, a slide, or mm.
        font_size : float, optional
            Points, as printed.
        prediction, residuals : bool
            Draw the 95 % prediction bands; draw the residuals beneath.

        Raises
        ------
        InputError
            For an unknown width or letters that cannot be.
        """
        from .plots import Look, relaxivity_lines

        look = Look(width, font_size)
        return relaxivity_lines(
            self, concentration_of, look=look, prediction=prediction, residuals=residuals
        )

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


def relaxivity(
    table: pd.DataFrame, method: Method = "auto", *, keep_flagged: bool = False
) -> RelaxivityTable:
    """Relaxivities of every agent in a tube table.

    A tube whose T1 has a flag that excludes (:data:`relaxometry.flags.FLAGS`) is left out of r1,
    one whose T2 has, out of r2, and the warnings say so. An agent whose tubes give no line (too few
    rates left) has a row of NaN and a flag.

    Parameters
    ----------
    table : DataFrame
        Columns ``agent`` and ``concentration_mM``, and ``R1_per_s`` and/or ``R2_per_s`` or else
        ``T1_s``/``T1_ms`` and so on. Used where there: ``R1_stderr_per_s`` (or of the times),
        ``T1_sd_s``, ``T1_n_fitted`` or ``n_voxels`` (behind that SD), ``concentration_sd_mM``,
        ``condition``, ``exclude``, ``reason``, ``flags``, ``tube``. Rows at concentration 0 without
        an agent, or with agent ``blank`` or ``control``, belong to every agent.
    method : {"auto", "ordinary", "weighted", "york"}
        As in :func:`relaxivity_fit`; the errors are those of :func:`rate_sigma`.
    keep_flagged : bool
        Keep tubes whose flags exclude them, and say so.

    Returns
    -------
    RelaxivityTable

    Raises
    ------
    InputError
        If a column is missing or not numeric, or no agent is at two concentrations.
    """
    points = points_of(table)
    excluded = points[points["exclude"]]
    warnings = [by_the_sheet(row) for row in excluded.to_dict("records")]
    points = points[~points["exclude"]]
    rates = [rate for rate in RELAXIVITY_OF if rate in points]
    left_out = [
        _left_out(row, rate, row["reason"] or "no reason given", by_sheet=True)
        for rate in rates
        for row in excluded.to_dict("records")
    ]
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
        kept: list[str] = []
        for rate in rates:
            symbol = RELAXIVITY_OF[rate]
            used, gone, told = _usable(points[own | shared], rate, keep_flagged)
            line = fits[symbol] = _agent_line(used, rate, method)
            kept += [f"{symbol}: with {text}" for text in _kept(used, rate)]
            warnings += [f"{name}: {text}" for text in (*told, *_doubts(line, used, rate))]
            left_out += [replace(one, agent=agent, condition=condition) for one in gone]
        lines[agent, condition] = fits
        rows.append(_row(agent, condition, fits, left_out, kept))
    if not rows:
        raise InputError("no agent in the table", field="agent", expected="a name in each row")
    if levels < 2:  # a table that no measurement could make a line of
        (symbol, fit), *_ = next(iter(lines.values())).items()
        raise InputError(f"{symbol} of {rows[0]['agent']} {fit.flags[0]}", field="concentration_mM")
    return RelaxivityTable(pd.DataFrame(rows), lines, tuple(warnings), tuple(left_out))


def by_the_sheet(row: Mapping[Any, Any]) -> str:
    """That a tube is left out as the sheet says, with its reason."""
    return f"tube {row['tube']} left out as the sheet says: {row['reason'] or 'no reason given'}"


def _usable(
    points: pd.DataFrame, rate: str, keep_flagged: bool
) -> tuple[pd.DataFrame, list[LeftOut], list[str]]:
    """The points a line is drawn through, those left out, and what is to be said of both."""
    symbol, time = RELAXIVITY_OF[rate], TIME_OF[rate]
    left_out, used = [], []
    told: dict[tuple[str, str], list[Any]] = {}  # what became of tubes, and why: which
    for row in points.to_dict("records"):
        flags = [flag for flag in flags_of(time, row["flags"]) if flag.excludes]
        why = ", and ".join(f"{time} {flag.sentence}" for flag in flags)
        known = math.isfinite(row[rate])
        used.append(known and (keep_flagged or not flags))
        if known and flags and keep_flagged:
            told.setdefault((f"kept in {symbol} although", why), []).append(row["tube"])
        elif not used[-1]:
            codes = tuple(f"{time}_{flag.code}" for flag in flags)
            left_out.append(_left_out(row, rate, why or f"{rate} not determined", codes))
            reason = (f"left out of {symbol}:", left_out[-1].reason)
            told.setdefault(reason, []).append(row["tube"])
    said = [f"{tubes_in_words(tubes)} {what} {why}" for (what, why), tubes in told.items()]
    return points[np.array(used, dtype=bool)], left_out, said


def _kept(used: pd.DataFrame, rate: str) -> Iterator[str]:
    """Tubes on a line whose flags would exclude them: they were asked to be kept."""
    time = TIME_OF[rate]
    for row in used.to_dict("records"):
        codes = [f"{time}_{flag.code}" for flag in flags_of(time, row["flags"]) if flag.excludes]
        if codes:
            yield f"tube {row['tube']} ({', '.join(codes)})"


def _left_out(
    row: Mapping[Any, Any],
    rate: str,
    reason: str,
    codes: tuple[str, ...] = (),
    by_sheet: bool = False,
) -> LeftOut:
    return LeftOut(
        tube=row["tube"],
        agent=row["agent"],
        condition=row["condition"],
        symbol=RELAXIVITY_OF[rate],
        concentration_mM=float(row["concentration_mM"]),
        rate=float(row[rate]),
        reason=reason,
        codes=codes,
        by_sheet=by_sheet,
    )


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


def _row(
    agent: str,
    condition: str,
    fits: Mapping[str, Relaxivity],
    left_out: Iterable[LeftOut],
    kept: Iterable[str],
) -> dict[str, Any]:
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
        flags += [
            f"{symbol}: without tube {one.tube} ({', '.join(one.codes)})"
            for one in left_out
            if (one.agent, one.condition, one.symbol) == (agent, condition, symbol) and one.codes
        ]
    flags += kept
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
