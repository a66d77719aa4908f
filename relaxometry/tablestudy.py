"""Relaxivities from a table alone, for those whose scanner or relaxometer gave the times."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from .agents import relaxivity
from .cells import as_text, number_or
from .columns import AMOUNTS, TABLE, check_columns
from .csvtable import check_required, read_csv
from .errors import InputError
from .rates import BLANKS, REQUIRED
from .regression import Method
from .remarks import not_stated, undetermined
from .settings import StudyFacts
from .study import FIELD_TOLERANCE, StudyResult, hashed

# What a study says once and the rows of a table may say: the fact, its column, the option.
_FACTS = (
    ("field_T", "field_T", "--field"),
    ("temperature_C", "temperature_C", "--temperature"),
    ("medium", "medium", "--medium"),
    ("concentration_of", "ion", "--ion"),
)


def analyse_table(
    table: str | Path | pd.DataFrame,
    facts: StudyFacts | None = None,
    *,
    method: Method = "auto",
    keep_flagged: bool = False,
    stock_sd_percent: float | None = None,
    literature: str | Path | None = None,
    before: str = "",
) -> StudyResult:
    """Relaxivities from a table of concentrations and rates or times alone.

    Parameters
    ----------
    table : path or DataFrame
        Columns as for :func:`relaxometry.relaxivity`. A CSV file may have commas, semicolons or
        tabs between its columns, decimal commas with the latter two, and any encoding of Excel.
    facts : StudyFacts, optional
        Title, field, temperature, medium and ion. What is not said here is taken from the columns
        ``field_T``, ``temperature_C``, ``medium`` and ``ion`` where all rows agree. The ion is also
        that of concentrations by mass.
    method : str
        As for :func:`relaxometry.relaxivity`.
    keep_flagged : bool
        As for :func:`relaxometry.relaxivity`.
    stock_sd_percent : float, optional
        Relative SD of a factor common to all concentrations of an agent, in percent, as of the ICP
        of a stock: for a table without such a column.
    literature : path, optional
        A table of published relaxivities of one's own, to compare with.
    before : str
        The condition before the stimulus, of agents in two conditions.

    Returns
    -------
    StudyResult
        Without maps, curves or tubes.

    Raises
    ------
    InputError
        Naming the file and the column.
    """
    path = None if isinstance(table, pd.DataFrame) else Path(table)
    literature = None if literature is None else Path(literature)
    if literature is not None and not literature.is_file():
        raise InputError("no such file", path=literature, expected="a CSV table")
    try:
        read, notes = (table, ()) if isinstance(table, pd.DataFrame) else _read(Path(table))
        facts = facts or StudyFacts()
        read = _with_options(read, facts, stock_sd_percent)
        facts, by_row = _facts_of(read, facts)
        lines = relaxivity(read, method, keep_flagged=keep_flagged)
        if before and before not in {condition for _, condition in lines.lines}:
            conditions = ", ".join(sorted({c for _, c in lines.lines if c})) or "none"
            raise InputError(
                f"no condition {before!r}, there are: {conditions}"[:200], field="condition"
            )
    except InputError as error:
        raise (error if error.path or path is None else error.at(path)) from None
    inputs = [] if path is None else [hashed(path, path.parent)]
    if literature is not None:
        inputs.append(hashed(literature, literature.parent))
    unsaid = not_stated(facts, by_row)
    return StudyResult(
        facts=facts,
        maps=MappingProxyType({}),
        curves=MappingProxyType({}),
        tubes=MappingProxyType({}),
        tube_table=pd.DataFrame(),
        relaxivity=lines,
        contrasts=(),
        inputs=tuple(inputs),
        warnings=tuple(w for w in (*notes, *lines.warnings, unsaid) if w),
        failures=undetermined(lines),
        literature=literature,
        before=before,
    )


def _read(path: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    table, notes = read_csv(path)
    check_columns(table.columns, TABLE)
    stated = any(column in table for column in AMOUNTS)
    check_required(table, REQUIRED[:1] if stated else REQUIRED, path)
    return table, notes


def _with_options(
    table: pd.DataFrame, facts: StudyFacts, stock_sd_percent: float | None
) -> pd.DataFrame:
    """The table with what was said once for all its rows, where they say nothing themselves."""
    if stock_sd_percent is not None:
        name = "stock_sd_percent"
        if name in table and any(as_text(cell) for cell in table[name]):
            raise InputError("in the table and given as well", field=name, expected="one of them")
        if not (np.isfinite(stock_sd_percent) and stock_sd_percent >= 0):
            raise InputError(f"{stock_sd_percent:g}", field=name, expected="percent, from 0")
        table = table.assign(**{name: stock_sd_percent})
    if facts.concentration_of:
        own = [as_text(cell) for cell in table["ion"]] if "ion" in table else [""] * len(table)
        table = table.assign(ion=[one or facts.concentration_of for one in own])
    return table


def _facts_of(table: pd.DataFrame, facts: StudyFacts) -> tuple[StudyFacts, tuple[str, ...]]:
    """The facts with what all rows of the table say, and what each row says for itself.

    Blanks may leave out what they do not change.
    """
    holds = _holds_agent(table)
    by_row = []
    for fact, column, option in _FACTS:
        if column not in table:
            continue
        texts = [as_text(cell) for cell in table[column]]
        said = [text for text in dict.fromkeys(texts) if text and text.lower() != "nan"]
        given = getattr(facts, fact)
        values: list[float | str] = [*said]
        if column in ("field_T", "temperature_C"):
            values = [number_or(text, column) for text in said]
        for value in values:
            if given not in (None, "") and not _same(given, value, column):
                raise InputError(
                    f"{value} in the table, but {given} given",
                    field=column,
                    expected="the same in both",
                    hint=f"leave {option} out where the rows of the table say it",
                )
        complete = all(text for text, agent in zip(texts, holds, strict=True) if agent)
        if len(values) == 1 and complete and given in (None, ""):
            known: dict[str, Any] = {fact: values[0]}
            facts = replace(facts, **known)
        elif values and complete:
            by_row.append(fact)
    return facts, tuple(by_row)


def _same(given: float | str, value: float | str, column: str) -> bool:
    if isinstance(given, str) or isinstance(value, str):
        return given == value
    allowed = FIELD_TOLERANCE * abs(given) if column == "field_T" else 1e-9
    return abs(given - value) <= allowed


def _holds_agent(table: pd.DataFrame) -> list[bool]:
    if "agent" not in table:
        return [True] * len(table)
    return [as_text(cell).lower() not in BLANKS for cell in table["agent"]]
