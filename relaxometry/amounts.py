"""How much agent each row of a table holds: the ways people state it, in mM."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .cells import as_text, number_or
from .columns import CONCENTRATIONS, STOCKS
from .concentration import concentration_mM, diluted_mM
from .errors import InputError

Array = NDArray[np.float64]
Row = Mapping[str, str]

# Two statements of one concentration are rounded; further apart, one of them is wrong.
_AGREE = 0.01


class Amounts(NamedTuple):
    """Concentration and its SD, (n,) mM each; NaN where not stated."""

    concentration_mM: Array
    concentration_sd_mM: Array


class _Stated(NamedTuple):
    """One statement: which column, in what unit, how many mM one of it is."""

    column: str
    unit: str
    value: float
    mM: Callable[[float], float]


def amounts(table: pd.DataFrame, rows: Sequence[str], ion: str = "") -> Amounts:
    """The concentration of each row of a table, however it is stated there.

    One of ``concentration_mM`` (``_uM``, ``_nM``, ``_mg_per_mL``, ``_ug_per_mL``, ``_ppm``),
    ``particles_nM`` with ``ions_per_particle``, or ``dilution_factor`` with ``stock_mM``
    (``_mg_per_mL``, ``_ug_per_mL``). Masses need ``ion``, or else ``molar_mass_g_per_mol``. The SD
    is ``concentration_sd_`` with the same unit, ``particles_sd_nM``, or
    ``concentration_sd_percent``.

    Parameters
    ----------
    table : DataFrame
    rows : sequence of str
        What to call each row: ``"tube 4"``.
    ion : str
        Where the table has no column ``ion``, or an empty cell there.

    Raises
    ------
    InputError
        Naming the column and the row.
    """
    names = [str(name) for name in table.columns]
    texts = [dict(zip(names, map(as_text, row), strict=True)) for row in table.to_numpy(object)]
    found = np.full((2, len(table)), math.nan)
    for i, (row, where) in enumerate(zip(texts, rows, strict=True)):
        found[:, i] = _amount(row, where, ion)
    return Amounts(*found)


def _amount(row: Row, where: str, ion: str) -> tuple[float, float]:
    stated = _stated(row, where, row.get("ion", "") or ion)
    if not stated:
        _check_no_sd(row, where)
        return math.nan, math.nan
    for one in stated:
        if one.value < 0:
            raise InputError(
                f"{one.value:g} {one.unit}".strip(),
                field=f"{one.column} of {where}",
                expected="≥ 0",
            )
    first, *others = stated
    c = first.mM(first.value)
    for other in others:
        again = other.mM(other.value)
        if abs(again - c) > _AGREE * max(abs(c), abs(again)):
            raise InputError(
                f"{first.column} says {c:.4g} mM, {other.column} {again:.4g} mM",
                field=f"concentration of {where}",
                expected="one of them, or both alike",
            )
    return c, _sd(row, where, first, c)


def _stated(row: Row, where: str, ion: str) -> list[_Stated]:
    """The statements of a row, each with its way to mM."""
    found = []
    density, mass = (
        _number(row, key, where) for key in ("density_g_per_mL", "molar_mass_g_per_mol")
    )

    def by(unit: str, per_particle: float | None = None) -> Callable[[float], float]:
        def mM(value: float) -> float:
            if value == 0:  # nothing of anything
                return 0.0
            try:
                return concentration_mM(
                    value,
                    unit,
                    ion=ion,
                    molar_mass=None if math.isnan(mass) else mass,
                    ions_per_particle=per_particle,
                    density_g_per_mL=1.0 if math.isnan(density) else density,
                )
            except InputError as error:
                raise InputError(
                    error.found, field=f"{error.field} of {where}", expected=error.expected
                ) from None

        return mM

    for suffix, unit in CONCENTRATIONS.items():
        column = f"concentration_{suffix}"
        value = _number(row, column, where)
        if not math.isnan(value):
            found.append(_Stated(column, unit, value, by(unit)))
    particles = _number(row, "particles_nM", where)
    if not math.isnan(particles):
        ions = _number(row, "ions_per_particle", where)
        if math.isnan(ions) and particles > 0:
            raise InputError(
                "no number of ions in a particle",
                field=f"ions_per_particle of {where}",
                expected="a number above 0",
                hint="for a relaxivity per particle name the column concentration_nM",
            )
        found.append(_Stated("particles_nM", "nM", particles, by("nM", ions)))
    return found + _diluted(row, where, by)


def _diluted(row: Row, where: str, by: Callable[[str], Callable[[float], float]]) -> list[_Stated]:
    factor = _number(row, "dilution_factor", where)
    found = []
    for column, unit in STOCKS.items():
        stock = _number(row, column, where)
        if math.isnan(stock):
            continue
        if stock == 0:  # however diluted
            found.append(_Stated(column, unit, 0.0, by(unit)))
        elif not math.isnan(factor):
            if factor < 1:
                raise InputError(
                    f"{factor:g}",
                    field=f"dilution_factor of {where}",
                    expected="from 1: 100 where 10 µL are made up to 1 mL",
                )
            found.append(_Stated(column, unit, stock, _of_dilution(by(unit), factor)))
    if not math.isnan(factor) and not found and not any(row.get(c) for c in _PLAIN):
        raise InputError(
            "a dilution of what is not said",
            field=f"dilution_factor of {where}",
            expected=f"the stock in one of the columns {', '.join(STOCKS)}",
        )
    return found


def _of_dilution(mM: Callable[[float], float], factor: float) -> Callable[[float], float]:
    return lambda stock: diluted_mM(mM(stock), factor)


def _sd(row: Row, where: str, stated: _Stated, c: float) -> float:
    """The SD of a concentration, mM, by the column of its own unit or in percent."""
    column = "concentration_sd_percent"
    percent = _number(row, column, where)
    own, value = "", math.nan
    for unit in CONCENTRATIONS:
        said = _number(row, f"concentration_sd_{unit}", where)
        if not math.isnan(said):
            own, value = f"concentration_sd_{unit}", said
            if stated.column != f"concentration_{unit}" and unit != "mM":
                raise InputError(
                    f"the concentration is {stated.column}",
                    field=f"{own} of {where}",
                    expected="its SD in the same unit, in mM or in percent",
                )
            break
    if stated.column == "particles_nM" and not own:
        value = _number(row, "particles_sd_nM", where)
        own = "" if math.isnan(value) else "particles_sd_nM"
    if own and not math.isnan(percent):
        raise InputError(
            f"also said by {own}", field=f"{column} of {where}", expected="one of them"
        )
    for name, said in ((own, value), (column, percent)):
        if said < 0:
            unit = "%" if name == column else "mM" if name.endswith("mM") else stated.unit
            raise InputError(f"{said:g} {unit}", field=f"{name} of {where}", expected="≥ 0")
    if not math.isnan(percent):
        return c * percent / 100
    if own == "concentration_sd_mM" or math.isnan(value):
        return value
    return stated.mM(value)


_PLAIN = (*(f"concentration_{suffix}" for suffix in CONCENTRATIONS), "particles_nM")


def _check_no_sd(row: Row, where: str) -> None:
    """A negative SD is wrong even where there is no concentration yet."""
    for name in ("concentration_sd_mM", "concentration_sd_percent"):
        if _number(row, name, where) < 0:
            raise InputError(row[name], field=f"{name} of {where}", expected="≥ 0")


def _number(row: Row, column: str, where: str) -> float:
    return number_or(row.get(column, ""), f"{column} of {where}")
