"""What a reader of a study should know: warnings, and quality checks that failed."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd

from .agents import RelaxivityTable, by_the_sheet
from .flags import in_words, tubes_in_words
from .series import Series
from .settings import StudyFacts


def remarks(
    facts: StudyFacts,
    series: Mapping[str, Series],
    table: pd.DataFrame,
    lines: RelaxivityTable | None,
    by_row: Collection[str] = (),
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Warnings, and quality checks that failed."""
    warnings: list[str] = []
    failures: list[str] = []
    flagged: dict[str, list[int]] = {}
    for row in table.to_dict("records"):
        if row["exclude"]:
            warnings += [by_the_sheet(row)]
        else:
            for code in str(row["flags"]).split():
                flagged.setdefault(code, []).append(row["tube"])
            failures += [
                f"tube {row['tube']}: {name} could not be determined"
                for name in series
                if not np.isfinite(row[f"{name}_s"])
            ]
    warnings += [f"{tubes_in_words(tubes)}: {in_words(code)}" for code, tubes in flagged.items()]
    if lines is None and len(table):
        named = (table["agent"] != "") & (table["concentration_mM"] > 0)
        reason = "the sheet names no agent with a concentration above 0"
        if named.any():
            reason = "every tube with an agent is left out"
        warnings.append(f"no r1 or r2: {reason}")
    if lines is not None:
        unsaid = table.loc[unsaid_of(table), "tube"].tolist()
        if unsaid:
            warnings.append(
                f"{tubes_in_words(unsaid)} left out of the lines: no agent with a concentration is "
                "stated"
            )
        warnings += lines.warnings
        warnings.append(not_stated(facts, by_row))
        failures += undetermined(lines)
    return tuple(w for w in dict.fromkeys(warnings) if w), tuple(failures)


def unsaid_of(table: pd.DataFrame) -> pd.Series[bool]:
    """Which tubes in use neither a sheet nor a reference table gives a solution."""
    concentration = table["concentration_mM"]
    named = (table["agent"] != "") & concentration.notna()
    return ~named & (concentration != 0) & ~table["exclude"]


def undetermined(lines: RelaxivityTable) -> tuple[str, ...]:
    return tuple(
        f"{symbol} of {agent} {condition}".strip() + " could not be determined"
        for (agent, condition), fits in lines.lines.items()
        for symbol, fit in fits.items()
        if not np.isfinite(fit.r.value) and not _never(lines, agent, condition, symbol)
    )


def _never(lines: RelaxivityTable, agent: str, condition: str, symbol: str) -> bool:
    """Whether this was never measured of an agent whose other relaxivity was: no failure."""
    fits = lines.lines[agent, condition]
    others = any(np.isfinite(fit.r.value) for fit in fits.values())
    lost = any(
        one.codes
        for one in lines.left_out
        if (one.agent, one.condition, one.symbol) == (agent, condition, symbol)
    )
    return others and not fits[symbol].n and not lost


def not_stated(facts: StudyFacts, by_row: Collection[str] = ()) -> str:
    """What a relaxivity must be stated with and is not; empty where all is stated.

    Facts in `by_row` are stated by each row of a table for itself.
    """
    stated = {
        "field strength": "field_T",
        "temperature": "temperature_C",
        "medium": "medium",
        "ion that the concentration counts": "concentration_of",
    }
    missing = [
        what
        for what, fact in stated.items()
        if getattr(facts, fact) in (None, "") and fact not in by_row
    ]
    return f"not stated, and part of a relaxivity: {', '.join(missing)}" if missing else ""
