"""The cells of a table as people type them: text, numbers, yes and no."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

from .errors import InputError

#: What stands in a cell that says nothing.
MISSING = ("", "nan", "na", "n/a")
_YES, _NO = ("yes", "y", "true", "1", "1.0", "x"), ("", "no", "n", "false", "0", "0.0")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
# 1.5 and 1-5, after a spreadsheet has read them: 1. Mai, 05-Jan.
_MONTHS = "jan|feb|m[aä]r|mrz|apr|ma[iy]|jun|jul|aug|sep|o[ck]t|nov|de[cz]"
_DATE = re.compile(
    rf"\d+[.\s/-]*({_MONTHS})\w*\.?[\s/-]*\d*|({_MONTHS})\w*\.?[\s/-]*\d+|\d{{4}}-\d\d-\d\d.*", re.I
)
_WITH_UNIT = re.compile(r"[<>~≈]?\s*[+-]?\d[\d.]*\s*(±.*|[^\d\s.].*)")


def as_text(value: Any) -> str:
    """A cell as text: empty where it is missing."""
    return "" if pd.isna(value) else str(value).strip()


def number(text: str, field: str) -> float:
    """A cell as a finite number.

    Raises
    ------
    InputError
        For anything else, with how to mend it.
    """
    if _NUMBER.fullmatch(text):
        value = float(text)
        if abs(value) < float("inf"):
            return value
    hint = None
    if "," in text:
        hint = "write the decimal point as a point"
    elif "−" in text:
        hint = "write minus as -"
    elif _DATE.fullmatch(text):
        hint = "a spreadsheet has made a date of it: type it again in a column formatted as text"
    elif _WITH_UNIT.fullmatch(text):
        hint = "write the number alone: its unit is in the column's name, its error in another"
    raise InputError(f"{text!r}"[:80], field=field, expected="a number", hint=hint)


def number_or(text: str, field: str, missing: float = float("nan")) -> float:
    """As :func:`number`, or `missing` where the cell says nothing."""
    return missing if text.lower() in MISSING else number(text, field)


def whole(text: str, field: str, lowest: int = 1) -> int:
    """A cell as a whole number; raises `InputError` for one below `lowest`."""
    value = number(text, field)
    if value != int(value) or value < lowest:
        raise InputError(f"{text!r}", field=field, expected=f"a whole number from {lowest}")
    return int(value)


def yes(text: str, field: str) -> bool:
    """Whether a cell of a sheet says yes or no; raises `InputError` for anything else."""
    if text.lower() not in (*_YES, *_NO):
        raise InputError(f"{text!r}", field=field, expected="yes or no")
    return text.lower() in _YES
