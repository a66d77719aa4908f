"""The one table of quantities: symbol, unit inside, key in files, unit and label for people.

Inside, times are in seconds, rates in s⁻¹, concentration in mM, relaxivity in mM⁻¹ s⁻¹, field in T,
temperature in °C, angles in degrees, lengths in mm. People read T1 and T2 in milliseconds.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from .errors import InputError


@dataclass(frozen=True, slots=True)
class Quantity:
    """A physical quantity and how it is written.

    Attributes
    ----------
    symbol : str
        The field's symbol; case is physics (R1 is a rate, r1 a relaxivity).
    name : str
        Name in words.
    unit : str
        Unit inside the package.
    key : str
        Suffix of the unit in a JSON key or a CSV column, e.g. ``per_s``.
    people_unit, people_factor : str, float
        Unit in figures and tables, and the factor from the unit inside to it.
    bids : str
        Suffix of a BIDS map of it; empty where BIDS has none.
    bids_unit : str
        ``Units`` of that map's sidecar.
    written : str
        The symbol as people write it, where that is another.
    """

    symbol: str
    name: str
    unit: str
    key: str
    people_unit: str
    people_factor: float = 1.0
    bids: str = ""
    bids_unit: str = ""
    written: str = ""

    @property
    def column(self) -> str:
        """Name of its column or JSON key, e.g. ``T2_s``."""
        return f"{self.symbol}_{self.key}" if self.key else self.symbol

    @property
    def label(self) -> str:
        """Axis label for people, e.g. ``T2 (ms)``."""
        name = self.written or self.symbol
        return f"{name} ({self.people_unit})" if self.people_unit else name


def _time(symbol: str, name: str, bids: str = "") -> Quantity:
    return Quantity(symbol, name, "s", "s", "ms", 1e3, bids, "s")


def _rate(symbol: str, name: str, bids: str = "") -> Quantity:
    return Quantity(symbol, name, "s⁻¹", "per_s", "s⁻¹", 1.0, bids, "1/s")


def _change(symbol: str, name: str) -> Quantity:
    label = f"Δ{symbol[1:]}"
    return Quantity(symbol, name, "s⁻¹", "per_s", "s⁻¹", 1.0, "", "1/s", label)


def _relaxivity(symbol: str, name: str) -> Quantity:
    return Quantity(symbol, name, "mM⁻¹ s⁻¹", "per_mM_per_s", "mM⁻¹ s⁻¹")


QUANTITIES: dict[str, Quantity] = {
    q.symbol: q
    for q in (
        _time("T1", "longitudinal relaxation time", "T1map"),
        _time("T2", "transverse relaxation time", "T2map"),
        _time("T2star", "effective transverse relaxation time", "T2starmap"),
        _rate("R1", "longitudinal relaxation rate", "R1map"),
        _rate("R2", "transverse relaxation rate", "R2map"),
        _rate("R2star", "effective transverse relaxation rate", "R2starmap"),
        _change("dR1", "change of the longitudinal relaxation rate"),
        _change("dR2", "change of the transverse relaxation rate"),
        _change("dR2star", "change of the effective transverse relaxation rate"),
        _time("TE", "echo time"),
        _time("TI", "inversion time"),
        _time("TR", "repetition time"),
        Quantity("FA", "flip angle", "°", "deg", "°"),
        Quantity("S0", "signal at equilibrium", "", "", "a.u.", 1.0, "S0map", "arbitrary"),
        Quantity("B", "amplitude of the inverted part", "", "", "a.u.", 1.0, "", "arbitrary"),
        Quantity("C", "offset of the signal", "", "", "a.u.", 1.0, "", "arbitrary"),
        Quantity("a", "signal when recovered", "", "", "a.u.", 1.0, "", "arbitrary"),
        Quantity("b", "amplitude of the recovery", "", "", "a.u.", 1.0, "", "arbitrary"),
        Quantity("efficiency", "inversion efficiency", "", "", ""),
        Quantity("concentration", "concentration", "mM", "mM", "mM", 1.0, "", "mM"),
        _relaxivity("r1", "longitudinal relaxivity"),
        _relaxivity("r2", "transverse relaxivity"),
    )
}

RATE_OF = {"T1": "R1", "T2": "R2", "T2star": "R2star"}
TIME_OF = {rate: time for time, rate in RATE_OF.items()}
#: Rate → its change by an injection.
CHANGE_OF = {rate: f"d{rate}" for rate in TIME_OF}
RELAXIVITY_OF = {"R1": "r1", "R2": "r2"}

#: Acquisition times longer than this, in s, were written in milliseconds.
LONGEST = {"TE": 10.0, "TI": 60.0, "TR": 60.0, "FA": 360.0}

_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6}  # micro sign and Greek mu
_TIME_TEXT = re.compile(r"\s*([+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|[+-]?\.\d+)\s*([a-zµμ]*)\s*\Z")
_ELAPSED = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_ELAPSED_TEXT = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-z]+)\s*")


def seconds(time: str | float) -> float:
    """A time in seconds from a number (s) or from text with its unit.

    Parameters
    ----------
    time : str or float
        ``"10 ms"``, ``"0.01 s"``, ``"0.01"`` or ``0.01``; a bare number is in seconds.

    Returns
    -------
    float
        The time in s.

    Raises
    ------
    InputError
        If it is not a finite time in s, ms or µs.
    """
    if isinstance(time, str):
        match = _TIME_TEXT.match(time)
        if match is None or match[2] not in (*_SECONDS, ""):
            raise InputError(f"{time!r} is not a time", expected="a number with s, ms or us")
        value = float(match[1]) * _SECONDS[match[2] or "s"]
    elif isinstance(time, bool) or not isinstance(time, (int, float)):
        raise InputError(f"{time!r} is not a time", expected="a number of seconds")
    else:
        value = float(time)
    if not math.isfinite(value):
        raise InputError(f"{time!r} is not a finite time")
    return value


def elapsed(time: str | float) -> float:
    """Time after an injection in seconds, from text with its unit or from a number of seconds.

    Parameters
    ----------
    time : str or float
        ``"90 s"``, ``"10 min"``, ``"24 h"``, ``"7 d"``, or a number in s.

    Raises
    ------
    InputError
        If it is not such a time, above 0.
    """
    value = math.nan
    if isinstance(time, str):
        match = _ELAPSED_TEXT.fullmatch(time)
        if match is not None:
            value = float(match[1]) * _ELAPSED.get(match[2], math.nan)
    elif isinstance(time, (int, float)) and not isinstance(time, bool):
        value = float(time)
    if not 0 < value < math.inf:
        raise InputError(
            f"{time!r}"[:60] + " is not a time after an injection",
            expected='a number of s, or text such as "10 min" or "24 h"',
        )
    return value


def elapsed_text(time_s: float) -> str:
    """A time after an injection in the unit people read: ``90 s``, ``30 min``, ``24 h``."""
    for unit, least in (("d", 3 * _ELAPSED["d"]), ("h", 2 * _ELAPSED["h"]), ("min", 120.0)):
        if time_s >= least:
            return f"{time_s / _ELAPSED[unit]:.4g} {unit}"
    return f"{time_s:.4g} s"
