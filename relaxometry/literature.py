"""Published relaxivities of contrast agents: the table that is shipped, and rows of your own.

A relaxivity belongs to a field: r1 and r2 change with it. What may be compared with what is decided
here, by :func:`comparable`.
"""

from __future__ import annotations

import csv
import io
import math
import re
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path

import pandas as pd

from .concentration import NAMES, element
from .csvtable import read_table
from .errors import InputError

#: Fields within this factor of each other are comparable: 3 T and 2.89 T are, 7 T and 9.4 T not.
SAME_FIELD = 1.25
#: Fewer published values than this are no ranking.
FEWEST = 3

_TEXTS = ("agent", "ion", "condition", "source", "remark")
_NUMBERS = ("field_T", "r1_per_mM_per_s", "r1_sd", "r2_per_mM_per_s", "r2_sd", "r2_r1")
_VALUES = ("r1_per_mM_per_s", "r2_per_mM_per_s", "r2_r1")
_NEEDED = ("agent", "ion", "source")
_COLUMNS = ("agent", "ion", "condition", *_NUMBERS, "source", "remark")


def literature(
    path: str | Path | None = None, ion: str | None = None, field_T: float | None = None
) -> pd.DataFrame:
    """Published relaxivities, each with its source, field and ion; and your own where given.

    Parameters
    ----------
    path : str or Path, optional
        A CSV table of your own, added to the shipped rows: ``agent``, ``ion``, ``source`` and at
        least one of ``r1_per_mM_per_s``, ``r2_per_mM_per_s``, ``r2_r1``; where wanted
        ``condition``, ``field_T``, ``r1_sd``, ``r2_sd``, ``remark``.
    ion : str, optional
        Only rows with this ion, alone or among others (``"Fe"``, ``"Fe+Mn"``); ``"Fe3+"``,
        ``"Fe(III)"`` and ``"iron"`` are ``"Fe"``.
    field_T : float, optional
        Only rows at a comparable field: within a factor of 1.25; an unstated one is not comparable.

    Returns
    -------
    DataFrame
        ``agent``, ``ion`` (that the concentration counts), ``condition``, ``field_T`` (T; NaN where
        not stated), ``r1_per_mM_per_s``, ``r1_sd``, ``r2_per_mM_per_s``, ``r2_sd`` (mM⁻¹ s⁻¹),
        ``r2_r1``, ``source``, ``remark`` (what is approximate), ``derived`` (whether r2/r1 is r2
        over r1 and not stated by the source), ``own`` (whether the row is from `path`).

    Raises
    ------
    InputError
        Naming the file, row and column, if `path` is no such table.

    Notes
    -----
    The shipped rows are from Zhou et al., Nat Commun 8:15468 (2017), and the reviews of Yang et
    al., Small (2023), and Li et al., Chem Biomed Imaging (2023). The
    reviews took them from the first papers; a field they leave out is left out.
    """
    table = _shipped()
    if path is not None:
        table = pd.concat([table, _own(path)], ignore_index=True)
    if ion is not None:
        table = _with(table, ion)
    if field_T is not None:
        table = table[same_field(table["field_T"], field_T)]
    return table.reset_index(drop=True)


def same_field(fields: pd.Series[float], field_T: float) -> pd.Series[bool]:
    """Whether each field (T) is comparable with this one; an unstated one (NaN) is not."""
    if not field_T > 0 or not math.isfinite(field_T):
        return pd.Series(False, index=fields.index)
    ratio = fields.astype(float) / field_T
    return ratio.between(1 / SAME_FIELD - 1e-12, SAME_FIELD + 1e-12)


def comparable(
    table: pd.DataFrame, field_T: float | None, ion: str | None, fewest: int = FEWEST
) -> tuple[pd.DataFrame, str]:
    """Rows of :func:`literature` to compare a relaxivity with, and what they are, in words.

    At a comparable field and of the same ion; where those are fewer than `fewest`, with that ion
    among others too.

    Parameters
    ----------
    table : DataFrame
    field_T : float or None
        T; None or NaN: nothing is comparable.
    ion : str or None
        Ion the concentration counts; None or empty: any.
    fewest : int

    Returns
    -------
    (DataFrame, str)
        Such as ``"iron agents at 7 T"``.
    """
    near = table[same_field(table["field_T"], math.nan if field_T is None else field_T)]
    at = f"at {field_T:g} T" if field_T is not None and field_T > 0 else "at an unknown field"
    if not ion or not ion.strip():
        return near, f"agents of any ion {at}"
    same = _with(near, ion, alone=True)
    name = _ion_name(ion)
    if len(same) >= fewest:
        return same, f"{name} agents {at}"
    among = _with(near, ion)
    if len(among) > len(same):
        return among, f"agents with {name}, alone or not, {at}"
    return same, f"{name} agents {at}"


_NAMES = {symbol: name for name, symbol in NAMES.items()}


def _ion_name(ion: str) -> str:
    """An ion in words: ``iron`` for ``Fe``, ``Fe3+`` and ``fe``."""
    symbols = [_symbol(part) for part in _PLUS.split(ion)]
    return _NAMES.get(symbols[0], symbols[0]) if len(symbols) == 1 else "+".join(symbols)


# Between ions, not the charge at the end of one: Fe3+, Fe+Mn, Fe3+ + Mn2+.
_PLUS = re.compile(r"\+(?=\s*[A-Za-z])")


def _with(table: pd.DataFrame, ion: str, alone: bool = False) -> pd.DataFrame:
    """Rows with this ion, alone or else among others too."""
    asked = _ions(ion)
    others = [_ions(text) for text in table["ion"]]
    which = [asked == other if alone else asked <= other for other in others]
    return table[pd.Series(which, index=table.index, dtype=bool)]


def _ions(text: str) -> frozenset[str]:
    return frozenset(_symbol(part).lower() for part in _PLUS.split(text))


def _symbol(text: str) -> str:
    """The element of an ion however it is spelled; the text itself where it is none."""
    text = text.strip()
    spelled = (text, text[:1].upper() + text[1:], text.capitalize())
    return next(filter(None, map(element, spelled)), text)


def _shipped() -> pd.DataFrame:
    text = files(__package__).joinpath("values/literature.csv").read_text(encoding="utf-8")
    table = pd.DataFrame(list(csv.DictReader(io.StringIO(text))), dtype=str)
    return _checked(table).assign(own=False)


def _own(path: str | Path) -> pd.DataFrame:
    table = read_table(path, _NEEDED)
    try:
        for column in table.columns.difference(
            list(_COLUMNS)
        ):  # a comment is welcome, a slip is not
            meant = get_close_matches(str(column), _COLUMNS, 1, cutoff=0.8)
            if meant:
                raise InputError("no such column", field=column, hint=f"{meant[0]} is meant?")
        if not set(_VALUES) & set(table):
            raise InputError("no relaxivity", expected="a column " + ", ".join(_VALUES))
        if table.empty:
            raise InputError("no row in the table", expected="one row per published value")
        return _checked(table).assign(own=True)
    except InputError as error:
        raise error.at(path) from None


def _checked(table: pd.DataFrame) -> pd.DataFrame:
    """The table with numbers for text, every column in place and r2/r1 worked out."""
    rows = []
    for number, cells in enumerate(table.to_dict("records"), start=1):
        row: dict[str, object] = {name: cells.get(name, "") for name in _TEXTS}
        for name in _NEEDED:
            if not row[name]:
                raise InputError("empty", field=f"{name} in row {number}", expected="a text")
        row |= {name: _number(cells.get(name, ""), name, number) for name in _NUMBERS}
        rows.append(row)
        if not any(cells.get(name) for name in _VALUES):
            raise InputError(
                "no relaxivity", field=f"row {number}", expected="one of " + ", ".join(_VALUES)
            )
    out = pd.DataFrame(rows, columns=list(_COLUMNS))
    ratio = out["r2_per_mM_per_s"] / out["r1_per_mM_per_s"]
    out["derived"] = out["r2_r1"].isna() & ratio.notna()
    out["r2_r1"] = out["r2_r1"].where(~out["derived"], ratio)
    return out


def _number(text: str, column: str, row: int) -> float:
    if not text:
        return math.nan
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    field = f"{column} in row {row}"
    if not math.isfinite(value):
        hint = "write the decimal point as a point" if "," in text else None
        raise InputError(f"{text!r}"[:80], field=field, expected="a number", hint=hint)
    if value < 0 or (value == 0 and not column.endswith("_sd")):
        expected = "0 or more" if column.endswith("_sd") else "above 0"
        raise InputError(f"{value:g}", field=field, expected=expected)
    return value
