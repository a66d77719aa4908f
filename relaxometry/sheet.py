"""The sheet of a rack: which agent is in which tube, at which concentration (``tubes.csv``)."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .errors import InputError

REQUIRED = ("tube", "agent", "concentration_mM")
_CIRCLE: dict[Literal["mm", "voxels"], tuple[str, str, str]] = {
    "mm": ("x_mm", "y_mm", "radius_mm"),
    "voxels": ("x_voxel", "y_voxel", "radius_voxels"),
}
_YES, _NO = ("yes", "y", "true", "1", "1.0", "x"), ("", "no", "n", "false", "0", "0.0")


def empty_sheet(tubes: Iterable[int]) -> pd.DataFrame:
    """A sheet that knows the tubes' numbers and nothing else."""
    numbers = [int(n) for n in tubes]
    sheet = pd.DataFrame({"tube": numbers, "agent": "", "condition": "", "replicate": 1})
    sheet["concentration_mM"] = sheet["concentration_sd_mM"] = np.nan
    return sheet.assign(exclude=False, reason="")


def read_sheet(path: str | Path, filled: bool = True) -> pd.DataFrame:
    """Read ``tubes.csv``.

    Columns ``tube, agent, concentration_mM`` and, optionally, ``concentration_sd_mM, replicate,
    condition, exclude, reason``. An agent may be empty or ``blank`` where the concentration is 0.
    Agents and concentrations may be missing where it need not be `filled` yet.

    Raises
    ------
    InputError
        Naming the file, the tube and the column: if a number is text or missing, a tube is doubled,
        a concentration is negative, or a tube has no concentration.
    """
    table = read_table(path, REQUIRED)
    known = empty_sheet([]).columns.tolist()
    for column in table.columns.difference(known):  # a comment is welcome, a slip is not
        meant = get_close_matches(str(column), known, 1, cutoff=0.8)
        if meant:
            raise InputError(
                "no such column", path=path, field=column, hint=f"{meant[0]} is meant?"
            )
    try:
        sheet = checked_sheet(table)
        if filled:
            _check_stated(sheet)
    except InputError as error:
        raise error.at(path) from None
    return sheet


def read_table(path: str | Path, required: Sequence[str]) -> pd.DataFrame:
    """A comma-separated table with a header, as text; spaces around cells and blank lines go.

    Raises
    ------
    InputError
        Naming the file and the line: if it is not such a table, a required column is missing, one
        is doubled, or a row has more fields than the header, as where a decimal comma divides a
        number.
    """
    path = Path(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            lines = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except FileNotFoundError:
        raise InputError("no such file", path=path, expected="a CSV table") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"not a CSV table ({error})", path=path) from error
    (_, columns), *rows = [line for line in lines if any(line[1])] or [(1, [])]
    while columns and not columns[-1]:
        columns.pop()
    missing = [name for name in required if name not in columns]
    if missing:
        raise InputError(
            f"no column {missing[0]}, there are: {', '.join(columns)}"[:200],
            path=path,
            expected="columns divided by commas, among them " + ", ".join(required),
        )
    named = [name for name in columns if name]
    if len(set(named)) < len(named):
        doubled = next(name for name in named if named.count(name) > 1)
        raise InputError("two columns of this name", path=path, field=doubled)
    for number, cells in rows:
        if any(cells[len(columns) :]):
            raise InputError(
                f"line {number} has {len(cells)} fields, the header {len(columns)}",
                path=path,
                hint="write the decimal point as a point, and a text with a comma in quotes",
            )
    full = [(cells + [""] * len(columns))[: len(columns)] for _, cells in rows]
    return pd.DataFrame(full, columns=columns, dtype=str)


class CircleList(NamedTuple):
    """A table of circles: tube numbers, (k, 3) x, y, radius in `unit`, and the margin it states."""

    tubes: list[int]
    circles: NDArray[np.float64]
    unit: Literal["mm", "voxels"]
    margin_mm: float | None


def read_circles(path: str | Path, unit: Literal["mm", "voxels"] | None = None) -> CircleList:
    """Read ``circles.csv``: ``tube`` and ``x_mm, y_mm, radius_mm``, or the same in voxels.

    Parameters
    ----------
    path : path
    unit : {"mm", "voxels"}, optional
        Which of the two is read; default mm where they are there.

    Raises
    ------
    InputError
        Naming the file, the tube and the column, if a number is missing or is none, a tube is
        doubled, or the margin is not the same for all.
    """
    table = read_table(path, ("tube",))
    if unit is None:
        unit = "mm" if set(_CIRCLE["mm"]) <= set(table) else "voxels"
    columns = _CIRCLE.get(unit, _CIRCLE["mm"])
    missing = [column for column in columns if column not in table]
    if missing:
        raise InputError(
            f"no column {missing[0]}",
            path=path,
            expected=" or ".join(", ".join(("tube", *one)) for one in _CIRCLE.values()),
        )
    try:
        tubes = checked_sheet(table[["tube"]])["tube"].tolist()
        circles = [
            [_number(row[column], f"{column} of tube {row['tube']}") for column in columns]
            for row in table.to_dict("records")
        ]
        _check_same_place(table)
        margins = set(table["margin_mm"]) if "margin_mm" in table else {""}
        if len(margins) > 1:
            raise InputError("not the same for all tubes", field="margin_mm", expected="one number")
        margin = margins.pop()
        margin_mm = _number(margin, "margin_mm") if margin else None
    except InputError as error:
        raise error.at(path) from None
    return CircleList(tubes, np.array(circles), unit, margin_mm)


def _check_same_place(table: pd.DataFrame) -> None:
    """Raise `InputError` where places in mm and in voxels are not the same, as after an edit."""
    for axis in ("x", "y"):
        if not {f"{axis}_mm", f"{axis}_voxel"} <= set(table):
            continue
        rows = [row for row in table.to_dict("records") if row[f"{axis}_voxel"]]
        mm, voxels = (
            np.array([_number(row[key], f"{key} of tube {row['tube']}") for row in rows])
            for key in (f"{axis}_mm", f"{axis}_voxel")
        )
        far = int(np.argmax(np.abs(voxels))) if len(rows) else 0
        if not len(rows) or voxels[far] == 0:
            continue
        # One voxel size for all; both columns are written to some digits only.
        odd = np.abs(mm * voxels[far] - voxels * mm[far]) > 0.02 * np.abs(mm[far])
        if odd.any():
            tube = rows[int(np.argmax(odd))]["tube"]
            raise InputError(
                "mm and voxels say different places",
                field=f"{axis}_mm and {axis}_voxel of tube {tube}",
                expected="one of the two edited and the other column deleted, or both alike",
            )


def as_text(value: Any) -> str:
    """A cell as text: empty where it is missing."""
    return "" if pd.isna(value) else str(value).strip()


def checked_sheet(sheet: pd.DataFrame) -> pd.DataFrame:
    """A copy with every column in place and of its type.

    Raises
    ------
    InputError
        Naming the tube and the column: if a number is text, a concentration is negative, a tube is
        doubled, or there is none.
    """
    if "tube" not in sheet:
        raise InputError("no column tube", expected="columns " + ", ".join(REQUIRED))
    if sheet.empty:
        raise InputError("no tube in the sheet", expected="one row per tube")
    table = sheet.map(as_text)
    tubes = [_whole(text, f"tube in row {i}") for i, text in enumerate(table["tube"], start=1)]
    if len(set(tubes)) < len(tubes):
        doubled = next(tube for tube in tubes if tubes.count(tube) > 1)
        raise InputError(f"tube {doubled} is listed twice", field="tube")
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
    return sheet


def _check_stated(sheet: pd.DataFrame) -> None:
    """Raise `InputError` unless every tube in use has its concentration and agent."""
    missing = sheet["concentration_mM"].isna() & ~sheet["exclude"]
    if missing.all() and (sheet["agent"] == "").all():
        raise InputError(
            f"not filled in yet: {len(sheet)} tubes, and nothing of what is in them",
            field="agent, concentration_mM",
            expected="in each row a name and a number of mM (0 for a blank)",
        )
    if missing.any():
        raise InputError(
            "no concentration",
            field=f"concentration_mM of tube {sheet.loc[missing, 'tube'].iloc[0]}",
            expected="a number of mM (0 for a blank)",
            hint="or say exclude = yes, with a reason",
        )
    unnamed = (sheet["agent"] == "") & (sheet["concentration_mM"] > 0) & ~sheet["exclude"]
    if unnamed.any():
        raise InputError(
            "no agent",
            field=f"agent of tube {sheet.loc[unnamed, 'tube'].iloc[0]}",
            expected="a name where the concentration is above 0",
        )


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
