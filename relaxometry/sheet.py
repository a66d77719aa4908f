"""The sheet of a rack: which agent is in which tube, at which concentration (``tubes.csv``)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .errors import InputError

COLUMNS = (
    "tube",
    "agent",
    "condition",
    "replicate",
    "concentration_mM",
    "concentration_sd_mM",
    "exclude",
    "reason",
)
REQUIRED = ("tube", "agent", "concentration_mM")
_YES, _NO = ("yes", "true", "1", "x"), ("", "no", "false", "0")


def empty_sheet(tubes: Iterable[int]) -> pd.DataFrame:
    """A sheet that knows the tubes' numbers and nothing else."""
    numbers = [int(n) for n in tubes]
    sheet = pd.DataFrame({"tube": numbers, "agent": "", "condition": "", "replicate": 1})
    sheet["concentration_mM"] = sheet["concentration_sd_mM"] = np.nan
    return sheet.assign(exclude=False, reason="")


def read_sheet(path: str | Path) -> pd.DataFrame:
    """Read ``tubes.csv``.

    Columns ``tube, agent, concentration_mM`` and, optionally, ``concentration_sd_mM, replicate,
    condition, exclude, reason``. An agent may be empty or ``blank`` where the concentration is 0.

    Raises
    ------
    InputError
        Naming the file, the tube and the column: if a number is text or missing, a tube is doubled,
        a concentration is negative, or a tube has no concentration.
    """
    path = Path(path)
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError("no such file", path=path, expected="the sheet of the tubes") from None
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(f"not a CSV table ({error})", path=path) from error
    table = table.rename(columns=lambda name: str(name).strip())
    for column in REQUIRED:
        if column not in table:
            raise InputError(
                f"no column {column}, there are: {', '.join(table.columns)}"[:200],
                path=path,
                expected="comma-separated columns " + ", ".join(REQUIRED),
            )
    table = table.apply(lambda column: column.str.strip())
    table = table[(table != "").any(axis=1)]
    try:
        return _parsed(table)
    except InputError as error:
        raise error.at(path) from None


def checked_sheet(sheet: pd.DataFrame) -> pd.DataFrame:
    """A copy with every column in place; raises `InputError` for doubled tubes."""
    tubes = sheet["tube"].to_numpy()
    if len(set(tubes.tolist())) != len(tubes):
        doubled = next(t for t in tubes if (tubes == t).sum() > 1)
        raise InputError(f"tube {doubled} is listed twice", field="tube")
    filled = empty_sheet(tubes)
    for column in COLUMNS[1:]:
        if column in sheet:
            filled[column] = sheet[column].to_numpy()
    return filled


def _parsed(table: pd.DataFrame) -> pd.DataFrame:
    if table.empty:
        raise InputError("no tube in the sheet", expected="one row per tube")
    tubes = [_whole(text, f"tube in row {i}") for i, text in enumerate(table["tube"], start=1)]
    sheet = empty_sheet(tubes)
    for column in ("agent", "condition", "reason"):
        if column in table:
            sheet[column] = table[column].to_numpy()

    def numbers(column: str, default: Any) -> list[Any]:
        return [
            _number(text, f"{column} of tube {tube}") if text else default
            for tube, text in zip(tubes, table[column], strict=True)
        ]

    for column in ("concentration_mM", "concentration_sd_mM"):
        if column in table:
            sheet[column] = numbers(column, np.nan)
            negative = sheet[column] < 0
            if negative.any():
                row = sheet[negative].iloc[0]
                raise InputError(
                    f"{row[column]:g} mM", field=f"{column} of tube {row['tube']}", expected="≥ 0"
                )
    if "replicate" in table:
        sheet["replicate"] = [
            _whole(text, f"replicate of tube {tube}") if text else 1
            for tube, text in zip(tubes, table["replicate"], strict=True)
        ]
    if "exclude" in table:
        sheet["exclude"] = [
            yes(text, f"exclude of tube {tube}")
            for tube, text in zip(tubes, table["exclude"], strict=True)
        ]
    missing = sheet["concentration_mM"].isna() & ~sheet["exclude"]
    if missing.any():
        raise InputError(
            "no concentration",
            field=f"concentration_mM of tube {sheet.loc[missing, 'tube'].iloc[0]}",
            expected="a number of mM (0 for a blank)",
            hint="or say exclude = yes, with a reason",
        )
    unnamed = (sheet["agent"] == "") & (sheet["concentration_mM"] > 0)
    if unnamed.any():
        raise InputError(
            "no agent",
            field=f"agent of tube {sheet.loc[unnamed, 'tube'].iloc[0]}",
            expected="a name where the concentration is above 0",
        )
    return checked_sheet(sheet)


def _number(text: str, field: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        hint = "write the decimal point as a point" if "," in text else None
        raise InputError(f"{text!r}", field=field, expected="a number", hint=hint)
    return value


def _whole(text: str, field: str) -> int:
    value = _number(text, field)
    if value != int(value) or value < 1:
        raise InputError(f"{text!r}", field=field, expected="a whole number from 1")
    return int(value)


def yes(text: str, field: str) -> bool:
    """Whether a cell of a sheet says yes or no; raises `InputError` for anything else."""
    if text.lower() not in (*_YES, *_NO):
        raise InputError(f"{text!r}", field=field, expected="yes or no")
    return text.lower() in _YES
