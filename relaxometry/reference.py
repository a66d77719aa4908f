"""Reference values: what is known of a phantom's T1 and T2, by field and temperature, with sources.

Rows are looked up at one of the fields they were measured at and interpolated linearly between the
temperatures they were measured at; never extrapolated.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Hashable, Sequence
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .csvtable import read_table
from .errors import InputError
from .literature import literature as literature

Row = dict[Hashable, Any]

QUANTITIES = ("T1", "T2")
#: Relaxation plates of the system phantom.
ARRAYS = ("NiCl2", "MnCl2")
#: Scanners sold as 3 T run at 2.89 T; relaxation differs little over so much.
FIELD_TOLERANCE = 0.05
_SAME_TEMPERATURE = 0.05  # °C
_TEXTS = ("source", "remark", "concentration_remark", "doubtful")
# Columns of a table as it is kept, and what they are called here.
_NAMES = {"sphere": "tube", "temp_C": "temperature_C"}


def system_phantom(
    array: str,
    batch: float | str = 1,
    field_T: float | None = 1.5,
    temperature_C: float | None = 20.0,
) -> pd.DataFrame:
    """Reference values of a relaxation plate of the ISMRM/NIST system phantom.

    Parameters
    ----------
    array : {"NiCl2", "MnCl2"}
        The T1 plate and the T2 plate.
    batch : {1, 2, 2.5}
        Of the solutions. 1: serial numbers up to 130-0041; 2: from 130-0042; 2.5: from 130-0133,
        with other solutions in the spheres 1 and 5 of the T2 plate.
    field_T : float
        In T, within 5 % of a field in the table.
    temperature_C : float
        Of the phantom, in °C. Batch 2 and 2.5 at 3 T: 16 to 26; all others: 20 alone.

    Returns
    -------
    DataFrame
        ``tube``, ``array``, ``concentration_mM`` (by ICP where it was measured, else nominal),
        ``T1_s``, ``T1_uncertainty_s``, ``T2_s``, ``T2_uncertainty_s`` (as published; NaN where
        not), ``source``, ``remark`` and ``concentration_remark`` (where published tables
        contradict each other), ``doubtful`` (``"T2"``, ``"T1 T2"``: what cannot be right or is
        contradicted, and no measure of a scanner).

    Raises
    ------
    InputError
        Naming what the table has, if it has nothing for these.
    """
    return _looked_up(_shipped(array, batch), field_T, temperature_C)


def system_phantom_solutions(array: str, batch: float | str = 1) -> pd.DataFrame:
    """What is in the spheres of a relaxation plate, at any field and temperature.

    Parameters
    ----------
    array, batch
        As for :func:`system_phantom`.

    Returns
    -------
    DataFrame
        ``tube``, ``array``, ``concentration_mM``.

    Raises
    ------
    InputError
        Naming what the table has, if it has nothing for these.
    """
    return _solutions(_shipped(array, batch))


def _shipped(array: str, batch: float | str) -> pd.DataFrame:
    shipped = files(__package__).joinpath("values/system-phantom.csv").read_text(encoding="utf-8")
    table = pd.DataFrame(list(csv.DictReader(io.StringIO(shipped))), dtype=str)
    table = _among(table, "array", array)
    try:
        named = f"{float(batch):g}"
    except (TypeError, ValueError):
        named = str(batch)
    table = _among(table, "batch", named)
    measured = table["concentration_icp_mM"]
    table["concentration_mM"] = measured.where(measured != "", table["concentration_nominal_mM"])
    return _numeric(table)


def _solutions(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop_duplicates("tube")[["tube", "array", "concentration_mM"]]


def read_reference(
    path: str | Path, field_T: float | None = None, temperature_C: float | None = None
) -> pd.DataFrame:
    """Reference values of your own, from a CSV table.

    Parameters
    ----------
    path : str or Path
        Columns ``tube`` (or ``sphere``) and ``T1_ms``, ``T1_s``, ``T2_ms`` and/or ``T2_s``; where
        wanted ``field_T``, ``temp_C`` (or ``temperature_C``), ``T1_uncertainty_ms`` and so on,
        ``concentration_mM``, ``array``, ``source``, ``remark``, ``doubtful``. A row for each tube,
        field and temperature.
    field_T, temperature_C : float, optional
        Needed where the table has such a column.

    Returns
    -------
    DataFrame
        As of :func:`system_phantom`.

    Raises
    ------
    InputError
        Naming the file and the column: if it is no such table, or has nothing for these.
    """
    table = _own(path)
    try:
        return _looked_up(table, field_T, temperature_C)
    except InputError as error:
        raise error.at(path) from None


def read_solutions(path: str | Path) -> pd.DataFrame:
    """What is in the tubes by a table of your own, at any field and temperature.

    Parameters
    ----------
    path : str or Path
        As for :func:`read_reference`.

    Returns
    -------
    DataFrame
        ``tube``, ``array``, ``concentration_mM``, by the first row of each tube.

    Raises
    ------
    InputError
        Naming the file and the column, if it is no such table.
    """
    return _solutions(_own(path))


def _own(path: str | Path) -> pd.DataFrame:
    table = read_table(path, ())
    try:
        known = [*_NAMES, *_NAMES.values(), "field_T", "array", "concentration_mM", *_TEXTS]
        known += [f"{q}{what}_{unit}" for q in QUANTITIES for what in ("", "_uncertainty")
                  for unit in ("s", "ms")]  # fmt: skip
        for column in table.columns.difference(known):  # a comment is welcome, a slip is not
            meant = get_close_matches(str(column), known, 1, cutoff=0.8)
            if meant:
                raise InputError("no such column", field=column, hint=f"{meant[0]} is meant?")
        return _numeric(table)
    except InputError as error:
        raise error.at(path) from None


def _among(table: pd.DataFrame, column: str, value: str) -> pd.DataFrame:
    known = list(dict.fromkeys(table[column]))
    if value not in known:
        raise InputError(
            f"{value!r}" if value else "not stated", field=column, expected=" or ".join(known)
        )
    return table[table[column] == value]


def _numeric(table: pd.DataFrame) -> pd.DataFrame:
    """The table with numbers for text and times in s."""
    table = table.rename(columns=_NAMES)
    if "tube" not in table:
        raise InputError("no column tube", expected="tube, and T1_ms and/or T2_ms")
    if table.empty:
        raise InputError("no row in the table", expected="one row per tube and temperature")
    out = pd.DataFrame({"tube": _numbers(table, "tube")})
    if not ((out["tube"] >= 1) & (out["tube"] % 1 == 0)).all():
        raise InputError("not a whole number from 1", field="tube")
    out["tube"] = out["tube"].astype(int)
    for name in ("field_T", "temperature_C", "concentration_mM"):
        out[name] = _numbers(table, name)
    for quantity in QUANTITIES:
        for name in (quantity, f"{quantity}_uncertainty"):
            if f"{name}_s" in table and f"{name}_ms" in table:
                raise InputError("twice, in s and in ms", field=name, expected="one of them")
            in_ms = _numbers(table, f"{name}_ms")
            out[f"{name}_s"] = _numbers(table, f"{name}_s") if in_ms.isna().all() else in_ms / 1e3
        if (out[f"{quantity}_s"] <= 0).any():
            raise InputError("0 or less", field=quantity, expected="times above 0")
    if out[[f"{quantity}_s" for quantity in QUANTITIES]].isna().all(axis=None):
        raise InputError("no T1 or T2", expected="columns T1_ms and/or T2_ms")
    for name in ("array", *_TEXTS):
        out[name] = table[name].to_numpy() if name in table else ""
    for text in out["doubtful"]:
        if not set(text.split()) <= set(QUANTITIES):
            raise InputError(f"{text!r}"[:80], field="doubtful", expected="T1, T2 or T1 T2")
    return out


def _numbers(table: pd.DataFrame, column: str) -> pd.Series[float]:
    """A column of text as numbers; NaN where it is empty or missing."""
    if column not in table:
        return pd.Series(np.nan, index=range(len(table)))
    values = []
    for tube, text in zip(table["tube"], table[column], strict=True):
        try:
            value = float(text) if text else np.nan
        except ValueError:
            value = np.inf
        if np.isinf(value):
            raise InputError(
                f"{text!r}"[:80], field=f"{column} of tube {tube}"[:80], expected="a number"
            )
        values.append(value)
    return pd.Series(values, dtype=float)


def _looked_up(
    table: pd.DataFrame, field_T: float | None, temperature_C: float | None
) -> pd.DataFrame:
    table = _at_field(table, field_T)
    temperatures = table["temperature_C"]
    if temperatures.notna().any() and temperature_C is None:
        raise InputError(
            "no temperature",
            field="temperature_C",
            expected="that of the phantom: reference values are stated at "
            + _listed(temperatures, "°C"),
        )
    rows = [
        _at_temperature(rows.sort_values("temperature_C").to_dict("records"), temperature_C)
        for _, rows in table.groupby("tube", sort=True)
    ]
    times = [f"{q}{what}_s" for q in QUANTITIES for what in ("", "_uncertainty")]
    columns = ["tube", "array", "concentration_mM", *times, *_TEXTS]
    return pd.DataFrame(rows, columns=columns).reset_index(drop=True)


def _listed(values: pd.Series[float], unit: str) -> str:
    return ", ".join(f"{v:g}" for v in np.unique(values.dropna())) + f" {unit}"


def _at_field(table: pd.DataFrame, field_T: float | None) -> pd.DataFrame:
    fields = table["field_T"]
    if fields.isna().all():
        return table
    known = _listed(fields, "T")
    if field_T is None:
        raise InputError(
            "no field", field="field_T", expected=f"that of the scanner: the table has {known}"
        )
    nearest = float(min(fields.dropna(), key=lambda field: abs(field - field_T)))
    if abs(nearest - field_T) > FIELD_TOLERANCE * nearest:
        raise InputError(
            f"{field_T:g} T",
            field="field_T",
            expected=f"a field of the reference table: {known}",
            hint="give a table of your own for another field",
        )
    return table[fields == nearest]


def _at_temperature(rows: Sequence[Row], temperature_C: float | None) -> Row:
    """One tube at this temperature, its rows being sorted by theirs."""
    tube = rows[0]["tube"]
    known = np.array([row["temperature_C"] for row in rows], dtype=float)
    if len(np.unique(known)) < len(known) or (np.isnan(known).any() and len(known) > 1):
        raise InputError(
            f"two rows of tube {tube} at one field and temperature",
            field="tube",
            expected="one row for each",
        )
    if temperature_C is None or np.isnan(known).all():
        return rows[0]
    near = np.abs(known - temperature_C)
    if near.min() <= _SAME_TEMPERATURE:
        return rows[int(near.argmin())]
    if not known[0] < temperature_C < known[-1]:
        raise InputError(
            f"{temperature_C:g} °C",
            field="temperature_C",
            expected=f"{known[0]:g} °C, the only temperature at which tube {tube} has reference "
            "values"
            if len(known) == 1
            else f"{known[0]:g} to {known[-1]:g} °C, where tube {tube} has reference values",
            hint="values are not extrapolated: give a table of your own for this temperature",
        )
    above = int(np.searchsorted(known, temperature_C))
    return _between(rows[above - 1], rows[above], temperature_C)


def _between(below: Row, above: Row, temperature_C: float) -> Row:
    low, high = below["temperature_C"], above["temperature_C"]
    share = (temperature_C - low) / (high - low)
    row = dict(below)
    for quantity in QUANTITIES:
        for name in (f"{quantity}_s", f"{quantity}_uncertainty_s"):
            row[name] = (1 - share) * below[name] + share * above[name]
    for text in _TEXTS:
        row[text] = "; ".join(_once([below[text], above[text]]))
    row["source"] += f" (interpolated between {low:g} and {high:g} °C)"
    return row


def _once(texts: Sequence[str]) -> list[str]:
    return [text for text in dict.fromkeys(texts) if text]
