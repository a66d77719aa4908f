"""Relaxivity of agents from a tube table: r1, r2, r2/r1 with errors, and what they mean."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .agentrow import T1_BELOW, T2_ABOVE, agent_row, classify
from .comparison import Comparison, comparison_table, letters_of, omnibus
from .errors import InputError
from .groups import blanks_in_words, groups_of
from .linemethod import BOTH_AXES, FEWEST_ROBUST, METHODS, Method
from .rates import doubts_of, points_of
from .ratio import Ratio, ratio
from .regression import Relaxivity, no_line, relaxivity_fit, t95
from .replicates import SIGNIFICANT, doubts, replicate_summary, replicate_table
from .switching import switches
from .units import RELAXIVITY_OF
from .usable import LeftOut, by_the_sheet, kept_anyway, left_out_of, usable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .settings import StudyFacts

__all__ = [
    "METHODS",
    "T1_BELOW",
    "T2_ABOVE",
    "LeftOut",
    "RelaxivityTable",
    "by_the_sheet",
    "classify",
    "relaxivity",
]

Array = NDArray[np.float64]

# Points that scatter more than so many times their errors are a blunder rather than noise.
SCATTER = 5.0
# Least and most that an ion may have, mM⁻¹ s⁻¹: nickel below 1, the best clusters near 1000.
_PLAUSIBLE = {"r1": (0.02, 300.0), "r2": (0.2, 4000.0)}


@dataclass(frozen=True, repr=False, eq=False)
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
    before : str
        The condition before the stimulus; else the first of each agent.
    replicates, replicate_summary : DataFrame
        A line per replicate, and what they say together; empty where nothing was replicated.
    comparisons : DataFrame
        Every pair of agents and conditions.
    letters : mapping of {"r1", "r2"} to {(agent, condition): str}
        Compact letters: two that share one do not differ.
    omnibus : mapping of {"r1", "r2"} to Comparison
        Whether all slopes are equal.
    switches : DataFrame
        Agents in two or more conditions, before and after.
    """

    table: pd.DataFrame
    lines: Mapping[tuple[str, str], Mapping[str, Relaxivity]]
    warnings: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    before: str = ""

    @cached_property
    def replicates(self) -> pd.DataFrame:
        return replicate_table(self.lines)

    @cached_property
    def replicate_summary(self) -> pd.DataFrame:
        return replicate_summary(self.lines)

    @cached_property
    def comparisons(self) -> pd.DataFrame:
        return comparison_table(self.lines)

    @cached_property
    def letters(self) -> Mapping[str, Mapping[tuple[str, str], str]]:
        return letters_of(self.lines, self.comparisons)

    @cached_property
    def omnibus(self) -> Mapping[str, Comparison]:
        return omnibus(self.lines)

    @cached_property
    def switches(self) -> pd.DataFrame:
        keys = list(self.lines)
        settings = {
            key: tuple(str(row.get(name)) for name in ("field_T", "temperature_C", "medium"))
            for key, row in zip(keys, self.table.to_dict("records"), strict=True)
        }
        classes = dict(zip(keys, self.table["class"], strict=True))
        return switches(self.lines, classes, self.before or None, settings)

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

    def ratio(self, agent: str, condition: str = "") -> Ratio:
        """r2/r1 of an agent with its intervals.

        Raises
        ------
        InputError
            If there is no such agent, or one of its lines is missing.
        """
        lines = self.lines.get((agent, condition), {})
        if {"r1", "r2"} - set(lines):
            raise InputError(
                "no r1 and r2 of it", field=f"{agent} {condition}".strip(),
                expected="one of " + ", ".join(" ".join(key).strip() for key in self.lines),
            )  # fmt: skip
        return ratio(lines["r2"], lines["r1"])

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

    def report(self) -> str:
        """All there is to say about the agents and their lines, to print."""
        from .tablereport import table_report

        return table_report(self)

    def methods(self, facts: StudyFacts | None = None) -> str:
        """A paragraph of methods with the numbers in it, ready to paste.

        `facts` are field, temperature, medium and ion, where they are known.
        """
        from .tablereport import table_methods

        return table_methods(self, facts)

    def to_dataframe(self) -> pd.DataFrame:
        """A copy of the table, one row per agent and condition."""
        return self.table.copy()

    def _repr_html_(self) -> str:
        return str(self.table.to_html(index=False, escape=True, float_format="{:.4g}".format))


def relaxivity(
    table: pd.DataFrame,
    method: Method = "auto",
    *,
    intercepts: Mapping[str, float] | None = None,
    keep_flagged: bool = False,
    before: str = "",
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
        ``condition``, ``replicate``, ``field_T``, ``temperature_C``, ``medium``,
        ``stock_sd_percent``, ``exclude``, ``reason``, ``flags``, ``tube``; other ways to state a
        concentration are in docs/tables.md. Rows at concentration 0 without an agent, or with agent
        ``blank`` or ``control``, belong to every agent.
    method : str
        As in :func:`relaxivity_fit`; the errors are those of :func:`rate_sigma`. ``auto`` chooses
        for each line. A robust line needs four points; one of fewer is ordinary, and says so.
    intercepts : mapping of str to float, optional
        Rates of the medium held fixed, s⁻¹: ``{"R1": 0.36, "R2": 9.1}``.
    keep_flagged : bool
        Keep tubes whose flags exclude them, and say so.
    before : str
        The condition before the stimulus, of agents in several; default each one's first row.

    Returns
    -------
    RelaxivityTable

    Raises
    ------
    InputError
        If a column is missing or not numeric, or no agent is at two concentrations.
    """
    if method not in METHODS:
        raise InputError(f"{method!r}", field="method", expected=", ".join(METHODS))
    fixed = dict(intercepts or {})
    if set(fixed) - set(RELAXIVITY_OF):
        raise InputError(", ".join(fixed), field="intercepts", expected="R1 and/or R2")
    points = points_of(table)
    _check_condition(points, before)
    excluded = points[points["exclude"]]
    warnings = doubts_of(table, points)
    warnings += [by_the_sheet(row) for row in excluded.to_dict("records")]
    points = points[~points["exclude"]]
    rates = [rate for rate in RELAXIVITY_OF if rate in points]
    left_out = [
        left_out_of(row, rate, row["reason"] or "no reason given", by_sheet=True)
        for rate in rates
        for row in excluded.to_dict("records")
    ]
    lines: dict[tuple[str, str], dict[str, Relaxivity]] = {}
    rows, levels = [], 0
    groups = list(groups_of(points))
    warnings += blanks_in_words(points, groups)
    for agent, condition, settings, own in groups:
        name = f"{agent} {condition}".strip()
        levels = max(levels, points.loc[own, "concentration_mM"].nunique())
        fits: dict[str, Relaxivity] = {}
        kept: list[str] = []
        for rate in rates:
            symbol = RELAXIVITY_OF[rate]
            used, gone, told = usable(points[own], rate, keep_flagged)
            line = fits[symbol] = _agent_line(used, rate, method, fixed.get(rate), name)
            kept += [f"{symbol}: with {text}" for text in kept_anyway(used, rate)]
            said = (*told, *_doubts(line, used, rate, method), *doubts(line))
            warnings += [f"{name}: {text}" for text in said]
            left_out += [replace(one, agent=agent, condition=condition) for one in gone]
        lines[agent, condition] = fits
        rows.append(agent_row(agent, condition, fits, left_out, kept) | settings)
    summary = replicate_summary(lines)
    _class_by_replicates(rows, summary)
    warnings += _single_batches(summary)
    if not rows:
        raise InputError("no agent in the table", field="agent", expected="a name in each row")
    if levels < 2:  # a table that no measurement could make a line of
        (symbol, fit), *_ = next(iter(lines.values())).items()
        raise InputError(f"{symbol} of {rows[0]['agent']} {fit.flags[0]}", field="concentration_mM")
    return RelaxivityTable(pd.DataFrame(rows), lines, tuple(warnings), tuple(left_out), before)


def _check_condition(points: pd.DataFrame, before: str) -> None:
    conditions = [text for text in points["condition"].unique() if text]
    if before and before not in conditions:
        listed = ", ".join(conditions) or "none"
        raise InputError(f"no {before!r}, there are: {listed}"[:200], field="condition")


def _class_by_replicates(rows: list[dict[str, Any]], summary: pd.DataFrame) -> None:
    """The class of an agent whose replicates differ more than their errors, by their ratios."""
    by_agent = {(row["agent"], row["condition"]): row for row in summary.to_dict("records")}
    for row in rows:
        found = by_agent.get((row["agent"], row["condition"]), {})
        differ = any(found.get(f"{s}_heterogeneity_p", 1.0) < SIGNIFICANT for s in ("r1", "r2"))
        if row["class"] == "not determined" or not differ:
            continue
        mean, n = found["r2_r1_mean"], found["n_replicates"]
        half = t95(n - 1) * found["r2_r1_sd"] / math.sqrt(n)
        if math.isfinite(half):
            row["class"] = classify(mean, (mean - half, mean + half))
            row["flags"] = "; ".join(
                filter(None, [row["flags"], "class: by the replicates' ratios"])
            )


def _single_batches(summary: pd.DataFrame) -> Iterator[str]:
    """Agents of one batch beside others of several."""
    for row in summary.to_dict("records"):
        if row["n_replicates"] == 1 and summary["n_replicates"].max() > 1:
            name = f"{row['agent']} {row['condition']}".strip()
            yield (
                f"{name}: one batch: its scatter between batches is not known; comparisons take it "
                "to be that of the others"
            )


def _doubts(line: Relaxivity, points: pd.DataFrame, rate: str, method: Method) -> list[str]:
    """What is odd about a line, in words."""
    symbol, doubts = line.r.symbol, []
    known = int(np.isfinite(points[f"{rate}_sigma"]).sum())
    if 0 < known < line.n:
        doubts.append(f"{symbol} is not weighted: {line.n - known} of {line.n} rates have no error")
    stated = points.loc[points["concentration_mM"] > 0, "concentration_sd_mM"].notna()
    if stated.any() and method == "auto" and line.method not in BOTH_AXES:
        lacking = int((~stated).sum())
        why = (
            f"{lacking} of {len(stated)} tubes have none" if lacking else "the rates have no errors"
        )
        doubts.append(f"{symbol}: errors of the concentration are not used: {why}")
    if method == "robust" and line.method == "ordinary":
        doubts.append(f"{symbol}: {line.n} points are too few for a robust line: it is ordinary")
    doubts += [f"{symbol}: {remark}" for remark in line.remarks]
    doubts += _impossible(line)
    if line.chi2_reduced > SCATTER**2:
        doubts.append(
            f"{symbol}: the points scatter {math.sqrt(line.chi2_reduced):.0f} times more than "
            "their errors: are the tubes in the order of the sheet, and measured where they are?"
        )
    return doubts


def _impossible(line: Relaxivity) -> Iterator[str]:
    """What no agent and no medium does: rather columns, units or concentrations mixed up."""
    symbol, rate = line.r.symbol, line.r.symbol.upper()
    least, most = _PLAUSIBLE[symbol]
    if line.ci95[1] < 0:
        yield f"{symbol} is negative: {rate} falls with concentration; are the columns right?"
    elif line.ci95[0] > most or 0 < line.ci95[1] < least:
        yield (
            f"{symbol} = {line.r.value:.3g} mM⁻¹ s⁻¹ is not that of an ion: are the concentrations "
            "in mM, per ion?"
        )
    if not line.fixed and line.R0_ci95[1] < 0:
        yield f"{rate}(0) = {line.R0.value:.3g} s⁻¹ is below 0: no medium has such a rate"


def _agent_line(
    points: pd.DataFrame, rate: str, method: Method, intercept: float | None, name: str
) -> Relaxivity:
    c, R = points["concentration_mM"].to_numpy(), points[rate].to_numpy()
    tubes, symbol = tuple(points["tube"].tolist()), RELAXIVITY_OF[rate]
    levels = np.unique(c).size
    if levels < 2:
        reason = f"rates known at {levels} concentration{'' if levels == 1 else 's'}, 2 are needed"
        if levels and not c.any():
            reason += " (a blank is called blank or control, or has no agent)"
        return no_line(c, R, symbol, reason, tubes)
    sigma, c_sd = points[f"{rate}_sigma"].to_numpy(), points["concentration_sd_mM"].to_numpy()
    if method == "robust" and len(c) < FEWEST_ROBUST:
        method = "ordinary"
    try:
        return relaxivity_fit(
            c,
            R,
            stderr=sigma if np.isfinite(sigma).all() else None,
            concentration_sd=c_sd if np.isfinite(c_sd).all() else None,
            intercept=intercept,
            method=method,
            symbol=symbol,
            stock_rsd=float(points["stock_rsd"].max()),
            tubes=tubes,
            replicate=points["replicate"].to_numpy(),
        )
    except InputError as error:
        raise InputError(
            error.found,
            field=f"{error.field}, {symbol} of {name}",
            expected=error.expected,
            hint=error.hint,
        ) from None
