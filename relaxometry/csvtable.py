"""CSV tables as spreadsheets write them: commas, semicolons or tabs, in the encodings of Excel."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from .errors import InputError

_DIVIDERS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# What is given in place of a CSV table: how it begins, what it is.
_OTHERS = (
    (b"PK\x03\x04", "a spreadsheet (.xlsx, .ods)"),
    (b"\xd0\xcf\x11\xe0", "a spreadsheet (.xls)"),
    (b"%PDF", "a PDF"),
    (b"\x1f\x8b", "compressed"),
)
_AS_CSV = "save it as CSV (in Excel: Save as, CSV UTF-8)"
# A comma in one of these is no decimal comma.
_TEXTS = ("agent", "condition", "reason", "medium", "ion", "flags", "source", "remark")
_COMMA = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?")
_POINT = re.compile(r"[+-]?\d*\.\d+([eE][+-]?\d+)?")
# 1,234 may be 1.234 or 1234; 0,400 and 0,4 can only be decimals.
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+")


class Csv(NamedTuple):
    """A table of text, and what to say of how it was read."""

    table: pd.DataFrame
    notes: tuple[str, ...] = ()


def read_csv(path: str | Path) -> Csv:
    """A table with a header, as text; spaces around cells and blank lines go.

    Commas, semicolons or tabs divide the columns. With semicolons or tabs a decimal comma is read
    as a decimal point, and a note says so. UTF-8, UTF-16 with its mark, and else Windows-1252.

    Raises
    ------
    InputError
        Naming the file and the line: if it is not such a table, a column is doubled, a row has more
        fields than the header (as where a decimal comma divides a number), or decimal commas cannot
        be told from thousands.
    """
    path = Path(path)
    try:
        text, notes = _decoded(path.read_bytes())
        rows, divider = _rows(text)
        table, lines = _table(rows, divider)
        if divider != ",":
            table, found = _with_points(table, lines)
            notes += found
    except FileNotFoundError:
        raise InputError("no such file", path=path, expected="a CSV table") from None
    except (OSError, UnicodeError, csv.Error) as error:
        raise InputError(f"not a CSV table ({error})", path=path) from error
    except InputError as error:
        raise error.at(path) from None
    return Csv(table, tuple(notes))


def read_table(path: str | Path, required: Sequence[str]) -> pd.DataFrame:
    """As :func:`read_csv`, without its notes; raises `InputError` if a required column is missing.

    A decimal comma is read as a decimal point only where semicolons or tabs divide the columns.
    """
    table = read_csv(path).table
    check_required(table, required, path)
    return table


def check_required(table: pd.DataFrame, required: Sequence[str], path: str | Path) -> None:
    """Raise `InputError` unless every required column is there."""
    missing = [name for name in required if name not in table]
    if missing:
        raise InputError(
            f"no column {missing[0]}, there are: {', '.join(table.columns)}"[:200],
            path=path,
            expected="columns divided by commas, among them " + ", ".join(required),
        )


def _decoded(content: bytes) -> tuple[str, list[str]]:
    for start, what in _OTHERS:
        if content.startswith(start):
            raise InputError(f"{what}, not a CSV table", hint=_AS_CSV)
    for mark, encoding in _BOMS:
        if content.startswith(mark):
            return content.decode(encoding), []
    if b"\0" in content:
        raise InputError("not a CSV table (it is not text)", hint=_AS_CSV)
    try:
        return content.decode("utf-8"), []
    except UnicodeDecodeError:
        note = "read as Windows-1252, for it is not UTF-8: check letters such as µ, ° and é"
        return content.decode("cp1252"), [note]


def _rows(text: str) -> tuple[Iterator[tuple[int, list[str]]], str]:
    """(line, cells) of each row that is not blank, and what divides the cells."""
    lines = list(io.StringIO(text, newline=""))
    said = re.fullmatch(r"\ufeff?sep=(.)\s*", lines[0]) if lines else None  # a line for Excel
    skipped = 1 if said else 0
    header = next((line for line in lines[skipped:] if line.strip()), "")
    bare = re.sub(r'"[^"]*"', "", header)
    divider = said[1] if said else max(_DIVIDERS, key=bare.count)
    if divider not in _DIVIDERS:
        raise InputError(f"columns divided by {divider!r}", expected="commas, semicolons or tabs")
    reader = csv.reader(lines[skipped:], strict=True, delimiter=divider)
    stripped = ((reader.line_num + skipped, [cell.strip() for cell in row]) for row in reader)
    return (row for row in stripped if any(row[1])), divider


def _table(
    rows: Iterator[tuple[int, list[str]]], divider: str
) -> tuple[pd.DataFrame, Sequence[int]]:
    """The rows as a table, and the line of each."""
    _, columns = next(rows, (1, []))
    while columns and not columns[-1]:
        columns.pop()
    named = [name for name in columns if name]
    if len(set(named)) < len(named):
        doubled = next(name for name in named if named.count(name) > 1)
        raise InputError("two columns of this name", field=doubled)
    full, lines = [], []
    for line, cells in rows:
        if any(cells[len(columns) :]):
            point = "write the decimal point as a point, and " if divider == "," else "put "
            with_divider = _DIVIDERS[divider].removesuffix("s")
            text = f"a text with a {with_divider} in quotes"
            raise InputError(
                f"line {line} has {len(cells)} fields, the header {len(columns)}",
                hint=point + text,
            )
        full.append((cells + [""] * len(columns))[: len(columns)])
        lines.append(line)
    return pd.DataFrame(full, columns=columns, dtype=str), lines


def _with_points(table: pd.DataFrame, lines: Sequence[int]) -> tuple[pd.DataFrame, list[str]]:
    """The table with decimal points for decimal commas, and a note where there were any."""
    columns = [i for i, name in enumerate(table.columns) if name not in _TEXTS]
    cells = [
        (line, str(table.iat[row, column])) for row, line in enumerate(lines) for column in columns
    ]
    commas = [(line, cell) for line, cell in cells if _COMMA.fullmatch(cell)]
    points = [(line, cell) for line, cell in cells if _POINT.fullmatch(cell)]
    if not commas:
        return table, []
    line, cell = commas[0]
    if points:
        raise InputError(
            f"{cell!r} in line {line} and {points[0][1]!r} in line {points[0][0]}",
            expected="one decimal sign",
            hint="write every decimal point as a point",
        )
    if all(_THOUSANDS.fullmatch(cell) for _, cell in commas):
        raise InputError(
            f"{cell!r} in line {line} may be {cell.replace(',', '.')} or {cell.replace(',', '')}",
            hint="write the decimal point as a point, and no sign for thousands",
        )
    table = table.copy()
    for i in columns:
        table.isetitem(
            i, [c.replace(",", ".") if _COMMA.fullmatch(c) else c for c in table.iloc[:, i]]
        )
    clear = next(cell for _, cell in commas if not _THOUSANDS.fullmatch(cell))
    return table, [
        f"decimal commas are read as decimal points: {clear!r} as {clear.replace(',', '.')}"
    ]
