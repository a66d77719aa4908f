"""Relaxivities from a table alone, for those whose scanner or relaxometer gave the times."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd

from .agents import relaxivity
from .cells import as_text
from .columns import AMOUNTS, TABLE, check_columns
from .contraststudy import ContrastStudy
from .csvtable import check_required, read_csv
from .errors import InputError
from .linemethod import Method
from .literature import literature as published_with
from .rates import REQUIRED
from .remarks import not_stated, undetermined
from .settings import StudyFacts
from .stated import facts_of
from .study import StudyResult, hashed


def analyse_table(
    table: str | Path | pd.DataFrame,
    facts: StudyFacts | None = None,
    *,
    method: Method = "auto",
    intercepts: Mapping[str, float] | None = None,
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
    method, intercepts
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
    published = None if literature is None else published_with(literature)
    try:
        read, notes = (table, ()) if isinstance(table, pd.DataFrame) else _read(Path(table))
        facts = facts or StudyFacts()
        read = _with_options(read, facts, stock_sd_percent)
        facts, by_row = facts_of(read, facts)
        lines = relaxivity(
            read, method, intercepts=intercepts, keep_flagged=keep_flagged, before=before
        )
    except InputError as error:
        raise (error if error.path or path is None else error.at(path)) from None
    inputs = [] if path is None else [hashed(path, path.parent)]
    if literature is not None:
        inputs.append(hashed(Path(literature), Path(literature).parent))
    unsaid = not_stated(facts, by_row)
    return StudyResult(
        facts=facts,
        maps=MappingProxyType({}),
        curves=MappingProxyType({}),
        tubes=MappingProxyType({}),
        tube_table=pd.DataFrame(),
        relaxivity=lines,
        contrast=ContrastStudy(),
        inputs=tuple(inputs),
        warnings=tuple(w for w in (*notes, *lines.warnings, unsaid) if w),
        failures=undetermined(lines),
        literature=published,
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
