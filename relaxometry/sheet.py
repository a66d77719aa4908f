"""The sheet of a rack: which agent is in which tube, at which concentration (``tubes.csv``)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .amounts import amounts
from .cells import as_text, number, number_or, whole, yes
from .columns import AMOUNTS, CONTEXT, SHEET, check_columns
from .csvtable import check_required, read_csv, read_table
from .errors import InputError

REQUIRED = ("tube", "agent", "concentration_mM")
_CIRCLE: dict[Literal["mm", "voxels"], tuple[str, str, str]] = {
    "mm": ("x_mm", "y_mm", "radius_mm"),
    "voxels": ("x_voxel", "y_voxel", "radius_voxels"),
}


def empty_sheet(tubes: Iterable[int]) -> pd.DataFrame:
    """A sheet that knows the tubes' numbers and nothing else."""
    numbers = [int(n) for n in tubes]
    sheet = pd.DataFrame({"tube": numbers, "agent": "", "condition": "", "replicate": 1})
    sheet["concentration_mM"] = sheet["concentration_sd_mM"] = np.nan
    return sheet.assign(exclude=False, reason="")


def read_sheet(path: str | Path, filled: bool = True, ion: str = "") -> pd.DataFrame:
    """Read ``tubes.csv``.

    Columns ``tube``, ``agent``, a concentration (see :func:`relaxometry.amounts.amounts`) and,
    optionally, its SD, ``replicate, condition, exclude, reason`` and what the rows say of their
    measurement: ``ion, field_T, temperature_C, medium, stock_sd_percent``. An agent may be empty or
    ``blank`` where the concentration is 0. Agents and concentrations may be missing where it need
    not be `filled` yet. Masses are of the `ion` where the sheet says none.

    Raises
    ------
    InputError
        Naming the file, the tube and the column: if a number is text or missing, a tube is doubled,
        a concentration is negative, or a tube has no concentration.
    """
    table = read_csv(path).table
    try:
        check_columns(table.columns, SHEET)
        stated = any(column in table for column in AMOUNTS)
        check_required(table, REQUIRED[:2] if stated else REQUIRED, path)
        sheet = checked_sheet(table, ion)
        if filled:
            _check_stated(sheet)
    except InputError as error:
        raise error.at(path) from None
    return sheet


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
            [number(row[column], f"{column} of tube {row['tube']}") for column in columns]
            for row in table.to_dict("records")
        ]
        _check_same_place(table)
        margins = set(table["margin_mm"]) if "margin_mm" in table else {""}
        if len(margins) > 1:
            raise InputError("not the same for all tubes", field="margin_mm", expected="one number")
        margin = margins.pop()
        margin_mm = number(margin, "margin_mm") if margin else None
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
            np.array([number(row[key], f"{key} of tube {row['tube']}") for row in rows])
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


def checked_sheet(sheet: pd.DataFrame, ion: str = "") -> pd.DataFrame:
    """A copy with every column in place and of its type, concentrations in mM.

    Columns of :data:`relaxometry.columns.CONTEXT` are there where the sheet has them. A blank that
    states no replicate where others do has replicate 0: it is shared by all.

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
    tubes = [whole(text, f"tube in row {i}") for i, text in enumerate(table["tube"], start=1)]
    if len(set(tubes)) < len(tubes):
        doubled = next(tube for tube in tubes if tubes.count(tube) > 1)
        raise InputError(f"tube {doubled} is listed twice", field="tube")
    sheet = empty_sheet(tubes)
    for column in ("agent", "condition", "reason"):
        if column in table:
            sheet[column] = table[column].to_numpy()
    rows = [f"tube {tube}" for tube in tubes]
    sheet["concentration_mM"], sheet["concentration_sd_mM"] = amounts(table, rows, ion)
    if "replicate" in table:
        blank = 0 if table["replicate"].any() else 1
        sheet["replicate"] = replicates(table["replicate"], sheet["concentration_mM"], rows, blank)
    if "exclude" in table:
        sheet["exclude"] = [
            yes(text, f"exclude of {row}") for row, text in zip(rows, table["exclude"], strict=True)
        ]
    return sheet.assign(**context(table, rows))


def replicates(
    texts: Iterable[str], concentration_mM: Iterable[float], rows: Iterable[str], blank: int = 0
) -> list[int]:
    """Which replicate each row belongs to: 1 where none is stated, `blank` at concentration 0.

    0 is that of a point that all replicates share.

    Raises
    ------
    InputError
        If one is not a whole number from 1.
    """
    return [
        whole(text, f"replicate of {row}", lowest=0 if c == 0 else 1)
        if text
        else (blank if c == 0 else 1)
        for text, c, row in zip(texts, concentration_mM, rows, strict=True)
    ]


def context(table: pd.DataFrame, rows: Sequence[str]) -> dict[str, list[Any]]:
    """The columns of a table, as text, by which its rows say how they were measured.

    Text, or numbers with NaN where a row says none.

    Raises
    ------
    InputError
        If one is not a number, or cannot be right.
    """
    found: dict[str, list[Any]] = {}
    for column in CONTEXT:
        if column not in table:
            continue
        found[column] = list(table[column])
        if column in ("ion", "medium"):
            continue
        numbers = [
            number_or(text, f"{column} of {row}")
            for row, text in zip(rows, table[column], strict=True)
        ]
        for row, value in zip(rows, numbers, strict=True):
            low, expected = {
                "field_T": (1e-6, "above 0 T"),
                "temperature_C": (-100.0, "°C"),
                "stock_sd_percent": (0.0, "percent, from 0"),
            }[column]
            if value < low:
                raise InputError(f"{value:g}", field=f"{column} of {row}", expected=expected)
        found[column] = numbers
    return found


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
