"""Which tubes a line is drawn through, and which are left out, why."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .flags import flags_of, tubes_in_words
from .units import RELAXIVITY_OF, TIME_OF


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


def by_the_sheet(row: Mapping[Any, Any]) -> str:
    """That a tube is left out as the sheet says, with its reason."""
    return f"tube {row['tube']} left out as the sheet says: {row['reason'] or 'no reason given'}"


def usable(
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
            left_out.append(left_out_of(row, rate, why or f"{rate} not determined", codes))
            reason = (f"left out of {symbol}:", left_out[-1].reason)
            told.setdefault(reason, []).append(row["tube"])
    said = [f"{tubes_in_words(tubes)} {what} {why}" for (what, why), tubes in told.items()]
    return points[np.array(used, dtype=bool)], left_out, said


def kept_anyway(used: pd.DataFrame, rate: str) -> Iterator[str]:
    """Tubes on a line whose flags would exclude them: they were asked to be kept."""
    time = TIME_OF[rate]
    for row in used.to_dict("records"):
        codes = [f"{time}_{flag.code}" for flag in flags_of(time, row["flags"]) if flag.excludes]
        if codes:
            yield f"tube {row['tube']} ({', '.join(codes)})"


def left_out_of(
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
