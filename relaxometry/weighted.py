"""Signal of a T1- or T2-weighted image: tissues, sequences and their equations.

Noise-free and in units of S0; the inversion of IR is perfect, echoes are refocused perfectly, and
no pulse takes time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import InputError
from .jupyter import Shown
from .units import LONGEST, QUANTITIES, seconds

Array = NDArray[np.float64]

#: No tissue or liquid relaxes more slowly, in s: a longer time was written in ms.
SLOWEST = {"T1": 20.0, "T2": 10.0, "T2star": 10.0}
_HALF_TURN = 180.0  # degrees
#: No weighted image has a later echo or inversion, in s.
_LATEST = {**LONGEST, "TE": 2.0, "TI": 20.0}


@dataclass(frozen=True, slots=True)
class Sequence:
    """A kind of weighted image.

    Attributes
    ----------
    name, words, equation, source : str
    settings : tuple of str
        What it needs, of TE, TR, FA and TI.
    decay : {"T2", "T2star"}
        The time by which its echo decays.
    bounds : mapping of str to (float, float)
        What is searched for each setting where nothing else is said: s, degrees.
    """

    name: str
    words: str
    equation: str
    source: str
    settings: tuple[str, ...]
    decay: str
    bounds: Mapping[str, tuple[float, float]]


SEQUENCES: Mapping[str, Sequence] = MappingProxyType(
    {
        one.name: one
        for one in (
            Sequence(
                "SE",
                "spin echo",
                "S = S0·(1 − exp(−TR/T1))·exp(−TE/T2)",
                "Haacke et al., Magnetic Resonance Imaging (1999), for TE ≪ TR; of a multi-echo "
                "train, each echo at its TE",
                ("TE", "TR"),
                "T2",
                MappingProxyType({"TE": (0.005, 0.3), "TR": (0.1, 10.0)}),
            ),
            Sequence(
                "GRE",
                "spoiled gradient echo",
                "S = S0·sin(FA)·(1 − E1)/(1 − E1·cos(FA))·exp(−TE/T2*), E1 = exp(−TR/T1)",
                "Ernst & Anderson, Rev Sci Instrum 37:93 (1966)",
                ("TE", "TR", "FA"),
                "T2star",
                MappingProxyType({"TE": (0.0015, 0.1), "TR": (0.005, 2.0), "FA": (1.0, 90.0)}),
            ),
            Sequence(
                "IR",
                "inversion recovery, magnitude",
                "S = |S0·(1 − 2·exp(−TI/T1) + exp(−TR/T1))|·exp(−TE/T2)",
                "Bydder & Young, J Comput Assist Tomogr 9:659 (1985), for TE ≪ TR",
                ("TE", "TR", "TI"),
                "T2",
                MappingProxyType({"TE": (0.005, 0.3), "TR": (0.1, 10.0), "TI": (0.02, 5.0)}),
            ),
        )
    }
)


def sequence_named(name: Any) -> Sequence:
    """The sequence of this name, whatever its case.

    Raises
    ------
    InputError
        For one that is not known.
    """
    known = SEQUENCES.get(name.strip().upper()) if isinstance(name, str) else None
    if known is None:
        words = ", ".join(f"{one.name} ({one.words})" for one in SEQUENCES.values())
        raise InputError(f"{name!r}"[:60], field="sequence", expected=words)
    return known


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Tissue(Shown):
    """A tissue, organ, tumour or medium before the agent, and how much of the agent it takes up.

    Attributes
    ----------
    T1 : float or str
        s, or text with its unit, such as ``"1300 ms"``; kept in s.
    T2 : float or str, optional
        For spin echo and inversion recovery.
    T2star : float or str, optional
        For gradient echo; at most T2.
    S0 : float
        Signal at equilibrium (proton density), in a unit of your own that noise has too.
    uptake_mM : float or sequence of float
        Concentration of the agent after it was given; several for a dilution series.
    name : str
        For tables and figures.

    Raises
    ------
    InputError
        For a time that is not above 0, seems to be in ms, or cannot be (T2 > 2·T1, T2* > T2); an
        S0 that is not above 0; a concentration below 0.
    """

    T1: Any
    T2: Any = None
    T2star: Any = None
    S0: float = 1.0
    uptake_mM: Any = 0.0
    name: str = ""

    def __post_init__(self) -> None:
        for symbol in SLOWEST:
            value = getattr(self, symbol)
            if value is not None or symbol == "T1":
                object.__setattr__(self, symbol, time_in_s(value, symbol, SLOWEST[symbol]))
        object.__setattr__(self, "S0", positive(self.S0, "S0"))
        uptake = np.atleast_1d(concentrations(self.uptake_mM))
        uptake.flags.writeable = False
        object.__setattr__(self, "uptake_mM", uptake)
        if not isinstance(self.name, str):
            raise InputError(f"{self.name!r}"[:60], field="name", expected="text")
        if self.T2 is not None and self.T2 > 2 * self.T1:
            raise InputError(
                f"T2 of {self.T2:g} s with T1 of {self.T1:g} s",
                field="T2",
                expected="at most 2·T1",
                hint="no spins lose their phase so slowly; T1 and T2 swapped, or ms for s?",
            )
        if self.T2star is not None and self.T2star > (2 * self.T1 if self.T2 is None else self.T2):
            found = f"T2* of {self.T2star:g} s with " + (
                f"T1 of {self.T1:g} s" if self.T2 is None else f"T2 of {self.T2:g} s"
            )
            raise InputError(
                found, field="T2star", expected="at most " + ("2·T1" if self.T2 is None else "T2")
            )

    def __repr__(self) -> str:
        times = [
            f"{symbol.replace('star', '*')} {1e3 * time:.4g} ms"
            for symbol in SLOWEST
            if (time := getattr(self, symbol)) is not None
        ]
        low, high = self.uptake_mM.min(), self.uptake_mM.max()
        amount = f"{low:g} mM" if low == high else f"{low:g} to {high:g} mM"
        name = f"Tissue {self.name}".strip()
        return f"{name}: {', '.join(times)}, S0 {self.S0:g}, takes up {amount}"

    def rates(self, sequence: Sequence) -> tuple[float, float]:
        """R1 and the rate by which the echo decays, s⁻¹.

        Raises
        ------
        InputError
            If the time that the sequence needs was not given.
        """
        decay = getattr(self, sequence.decay)
        if decay is None:
            raise InputError(
                "missing", field=sequence.decay, expected=f"a time: {sequence.words} needs it"
            )
        return 1 / self.T1, 1 / decay


def as_tissue(given: Any, role: str) -> Tissue:
    """A tissue from a `Tissue` or a mapping of its attributes; `role` is named in errors."""
    if isinstance(given, Tissue):
        return given
    if not isinstance(given, Mapping):
        found = "missing" if given is None else f"{given!r}"[:60]
        raise InputError(found, field=role, expected='a Tissue, or {"T1": …, "T2": …}')
    known = [one.name for one in fields(Tissue)]
    for key in given:
        if key not in known:
            meant = get_close_matches(str(key), known, 1, cutoff=0.6)
            raise InputError(
                f"no such property: {key!r}"[:80],
                field=role,
                expected=", ".join(known),
                hint=f"{meant[0]} is meant?" if meant else None,
            )
    try:
        return Tissue(**{"T1": None, **given})
    except InputError as error:
        raise InputError(
            error.found, field=f"{role} {error.field}", expected=error.expected, hint=error.hint
        ) from None


def signal(
    sequence: Sequence,
    R1: ArrayLike,
    R2: ArrayLike,
    *,
    TE: ArrayLike,
    TR: ArrayLike,
    FA: ArrayLike | None = None,
    TI: ArrayLike | None = None,
) -> Array:
    """Magnitude over S0 of an image without noise.

    Parameters
    ----------
    sequence : Sequence
    R1, R2 : array_like
        s⁻¹; for gradient echo R2 is R2*.
    TE, TR, TI : array_like
        s.
    FA : array_like
        Degrees.

    Returns
    -------
    ndarray
        Of the shape to which all are broadcast.
    """
    R1, R2, TE, TR = (np.asarray(value, dtype=float) for value in (R1, R2, TE, TR))
    decay = np.exp(-TE * R2)
    if sequence.name == "SE":
        found = -np.expm1(-TR * R1) * decay
    elif sequence.name == "GRE":
        angle = np.radians(np.asarray(FA, dtype=float))
        lost = -np.expm1(-TR * R1)  # 1 − E1, exact also where TR ≪ T1
        found = np.sin(angle) * lost / (lost + (1 - lost) * 2 * np.sin(angle / 2) ** 2) * decay
    else:
        TI = np.asarray(TI, dtype=float)
        found = np.abs(1 - 2 * np.exp(-TI * R1) + np.exp(-TR * R1)) * decay
    magnitude: Array = found
    return magnitude


def time_in_s(value: Any, field: str, longest: float | None = None) -> float:
    """A time in s from a number or text, above 0 and not ms by mistake.

    Raises
    ------
    InputError
        Naming the field.
    """
    if value is None:
        raise InputError("missing", field=field, expected='a time in s, or such as "40 ms"')
    if isinstance(value, np.generic):
        value = value.item()
    try:
        time = seconds(value)
    except InputError as error:
        raise InputError(error.found, field=field, expected=error.expected) from None
    longest = _LATEST[field] if longest is None else longest
    if time > longest:
        raise InputError(
            f"{time:g} s",
            field=field,
            expected=f"at most {longest:g} s",
            hint=f'if ms are meant, write "{time:g} ms" or {time / 1e3:g}',
        )
    if time <= 0:
        raise InputError(f"{time:g} s", field=field, expected="above 0")
    return time


def angle(value: Any, field: str = "FA") -> float:
    """A flip angle in degrees, above 0 and below 180."""
    degrees = positive(value, field)
    if degrees >= _HALF_TURN:
        raise InputError(f"{degrees:g}°", field=field, expected="above 0 and below 180°")
    return degrees


def setting(value: Any, name: str) -> float:
    """A TE, TR, TI (s) or FA (degrees)."""
    return angle(value) if name == "FA" else time_in_s(value, name)


def settings(values: Any, name: str) -> Array:
    """One setting or several, each checked."""
    several = isinstance(values, (list, tuple, np.ndarray)) and np.ndim(values) > 0
    found = np.array([setting(one, name) for one in (values if several else [values])])
    if not found.size:
        raise InputError("none", field=name, expected="a value")
    return found


def said(name: str, value: float) -> str:
    """A setting in words, in the unit people read: ``TE 40 ms``."""
    quantity = QUANTITIES[name]
    unit = "°" if name == "FA" else f" {quantity.people_unit}"
    rounded = float(f"{value * quantity.people_factor:.4g}")
    return f"{name} {rounded:.10g}{unit}"


def positive(value: Any, field: str) -> float:
    """A number above 0."""
    number = _number(value, field)
    if not number > 0:
        raise InputError(f"{number:g}", field=field, expected="above 0")
    return number


def concentrations(values: Any) -> Array:
    """Concentrations in mM, none below 0, a scalar or (n,)."""
    if isinstance(values, str) or values is None:
        raise InputError(f"{values!r}"[:60], field="uptake_mM", expected="a number of mM")
    try:
        found = np.array(values, dtype=float)
    except (TypeError, ValueError):
        raise InputError(f"{values!r}"[:60], field="uptake_mM", expected="mM") from None
    if found.ndim > 1 or not found.size:
        raise InputError(f"shape {found.shape}", field="uptake_mM", expected="a number or a list")
    if not np.isfinite(found).all() or (found < 0).any():
        wrong = found[~(np.isfinite(found) & (found >= 0))].flat[0]
        raise InputError(f"{wrong:g} mM", field="uptake_mM", expected="0 or more")
    return found


def _number(value: Any, field: str) -> float:
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(
        value, bool
    )
    if not number or not math.isfinite(value):
        hint = None
        if isinstance(value, str) and "%" in value:
            hint = "write a fraction: 1 % is 0.01"
        raise InputError(f"{value!r}"[:60], field=field, expected="a number", hint=hint)
    return float(value)
