"""Concentrations in mM from whatever they were weighed, measured or diluted in."""

from __future__ import annotations

import re
from typing import overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import InputError

Array = NDArray[np.float64]

#: Molar masses of the elements that contrast agents count, g/mol: IUPAC's abridged standard atomic
#: weights (Prohaska et al., Pure Appl Chem 2022, 94, 573–600, doi:10.1515/pac-2019-0603).
MOLAR_MASS = {
    "Ti": 47.867,
    "V": 50.942,
    "Cr": 51.996,
    "Mn": 54.938,
    "Fe": 55.845,
    "Co": 58.933,
    "Ni": 58.693,
    "Cu": 63.546,
    "Zn": 65.38,
    "La": 138.91,
    "Ce": 140.12,
    "Pr": 140.91,
    "Nd": 144.24,
    "Sm": 150.36,
    "Eu": 151.96,
    "Gd": 157.25,
    "Tb": 158.93,
    "Dy": 162.50,
    "Ho": 164.93,
    "Er": 167.26,
    "Tm": 168.93,
    "Yb": 173.05,
    "Lu": 174.97,
}
NAMES = {
    "iron": "Fe",
    "gadolinium": "Gd",
    "manganese": "Mn",
    "dysprosium": "Dy",
    "holmium": "Ho",
    "europium": "Eu",
    "terbium": "Tb",
    "copper": "Cu",
    "cobalt": "Co",
    "nickel": "Ni",
    "zinc": "Zn",
    "chromium": "Cr",
}
# Of one unit: mM where an amount is counted, g/L where it is weighed.
_AMOUNTS = {
    "M": 1e3,
    "mol/L": 1e3,
    "mM": 1.0,
    "mmol/L": 1.0,
    "uM": 1e-3,
    "umol/L": 1e-3,
    "nM": 1e-6,
}
_MASSES = {"g/L": 1.0, "mg/mL": 1.0, "mg/L": 1e-3, "ug/mL": 1e-3, "ng/mL": 1e-6}
# A mass in a mass (µg/g): a mass in a volume by the density of the whole.
_PPM = "ppm"
#: Every unit, as it is written (µ may stand for u).
UNITS = (*_AMOUNTS, *_MASSES, _PPM)
_ION = re.compile(r"([A-Z][a-z]?)\s*(\d*[+⁺]|[²³⁴]⁺|\((?:I|II|III|IV)\)|\d*)?")


def element(ion: str) -> str:
    """The element that an ion is of: ``Fe`` for ``Fe``, ``Fe3+``, ``Fe(III)``, ``iron``.

    Empty where it is none of :data:`MOLAR_MASS`.
    """
    text = ion.strip()
    if text.lower() in NAMES:
        return NAMES[text.lower()]
    match = _ION.fullmatch(text)
    return match[1] if match and match[1] in MOLAR_MASS else ""


@overload
def concentration_mM(
    value: float,
    unit: str,
    *,
    ion: str = ...,
    molar_mass: float | None = ...,
    ions_per_particle: float | None = ...,
    density_g_per_mL: float = ...,
) -> float: ...


@overload
def concentration_mM(
    value: ArrayLike,
    unit: str,
    *,
    ion: str = ...,
    molar_mass: float | None = ...,
    ions_per_particle: float | None = ...,
    density_g_per_mL: float = ...,
) -> Array: ...


def concentration_mM(
    value: float | ArrayLike,
    unit: str,
    *,
    ion: str = "",
    molar_mass: float | None = None,
    ions_per_particle: float | None = None,
    density_g_per_mL: float = 1.0,
) -> float | Array:
    """Concentrations in mM.

    An amount is counted: c = value × the unit. A mass is weighed: c = β/M, with β in g/L and M in
    g/mol. A mass fraction w in ppm (µg/g) becomes β = w·ρ: at ρ = 1 g/mL, as of dilute water, 1 ppm
    is 1 µg/mL.

    Parameters
    ----------
    value : float or array
        Any shape.
    unit : str
        M, mol/L, mM, mmol/L, uM (µM), umol/L, nM; g/L, mg/mL, mg/L, ug/mL (µg/mL), ng/mL; ppm.
    ion : str, optional
        What is weighed: an element of :data:`MOLAR_MASS`, as ``"Fe"``, ``"Fe3+"`` or ``"iron"``.
    molar_mass : float, optional
        Of what is weighed, g/mol, where it is no such element (a complex, a ligand): in place of
        that of the ion.
    ions_per_particle : float, optional
        Where `value` counts particles and the concentration of their ions is wanted.
    density_g_per_mL : float
        Of the solution, for ppm.

    Returns
    -------
    float or array
        In mM, of the shape of `value`.

    Raises
    ------
    InputError
        If the unit or the element is not known, a mass comes without its molar mass, particles are
        weighed, or a number that must be above 0 is not.

    Notes
    -----
    Molar masses: IUPAC, abridged standard atomic weights 2021, Pure Appl Chem 2022, 94, 573.

    Examples
    --------
    >>> round(concentration_mM(1.0, "mg/mL", ion="Fe"), 3)
    17.907
    >>> round(concentration_mM(2.0, "nM", ions_per_particle=5000), 3)
    0.01
    """
    plain = unit.strip().replace("µ", "u").replace("μ", "u")  # micro sign and Greek mu
    values = np.asarray(value, dtype=float)
    if (values < 0).any():
        raise InputError(f"{values.min():g} {unit}", field="concentration", expected="from 0")
    if plain in _AMOUNTS:
        found = values * _AMOUNTS[plain]
    elif plain in _MASSES or plain == _PPM:
        # µg/g × g/mL = µg/mL
        factor = _MASSES["ug/mL"] * _above_0(density_g_per_mL, "density_g_per_mL")
        weighed = values * _MASSES.get(plain, factor)
        found = weighed / _molar_mass(ion, molar_mass, unit) * 1e3
    else:
        raise InputError(f"{unit!r}", field="unit of concentration", expected=", ".join(UNITS))
    if ions_per_particle is not None:
        if plain not in _AMOUNTS:
            raise InputError(
                f"ions_per_particle with {unit}",
                field="unit of concentration",
                expected="a number of particles, as nM",
            )
        found = found * _above_0(ions_per_particle, "ions_per_particle")
    return found if np.ndim(value) else float(found)


@overload
def diluted_mM(stock_mM: float, dilution_factor: float) -> float: ...


@overload
def diluted_mM(stock_mM: ArrayLike, dilution_factor: ArrayLike) -> Array: ...


def diluted_mM(stock_mM: float | ArrayLike, dilution_factor: float | ArrayLike) -> float | Array:
    """Concentrations of dilutions of a stock: c = stock/factor.

    Parameters
    ----------
    stock_mM : float or array
        Of the stock, mM.
    dilution_factor : float or array
        Whole volume over volume of stock, so from 1: 100 where 10 µL are made up to 1 mL.

    Returns
    -------
    float or array
        In mM.

    Raises
    ------
    InputError
        If a factor is below 1: the volumes are the other way round.
    """
    factor = np.asarray(dilution_factor, dtype=float)
    if (factor < 1).any():
        raise InputError(
            f"{factor[factor < 1].flat[0]:g}",
            field="dilution_factor",
            expected="from 1: 100 where 10 µL are made up to 1 mL",
        )
    found = np.asarray(stock_mM, dtype=float) / factor
    return found if found.ndim else float(found)


def _molar_mass(ion: str, molar_mass: float | None, unit: str) -> float:
    if molar_mass is not None:
        return _above_0(molar_mass, "molar_mass")
    if not ion.strip():
        raise InputError(
            f"{unit} of what is not said",
            field="ion",
            expected=f"the ion that is weighed ({', '.join(MOLAR_MASS)}), or a molar mass",
        )
    found = element(ion)
    if not found:
        raise InputError(
            f"the molar mass of {ion!r} is not known",
            field="ion",
            expected=f"one of {', '.join(MOLAR_MASS)}, or a molar mass in g/mol",
        )
    return MOLAR_MASS[found]


def _above_0(value: float, field: str) -> float:
    if not (np.isfinite(value) and value > 0):
        raise InputError(f"{value:g}", field=field, expected="a number above 0")
    return float(value)
