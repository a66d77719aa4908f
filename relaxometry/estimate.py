"""`Estimate`: a value that knows its standard error and its unit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .jupyter import Shown
from .units import QUANTITIES

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Estimate(Shown):
    """A value with its standard error, as a scalar or as a map.

    Attributes
    ----------
    value : float or ndarray
        NaN where it could not be determined.
    stderr : float or ndarray
        Standard error of the value, same shape; NaN where unknown.
    symbol : str
        What it is, e.g. ``"T2"``; its unit inside the package is :attr:`unit`.
    """

    value: Any
    stderr: Any
    symbol: str = ""

    def __post_init__(self) -> None:
        if np.shape(self.value) != np.shape(self.stderr):
            raise InputError(
                f"value of shape {np.shape(self.value)} with stderr of shape "
                f"{np.shape(self.stderr)}",
                field=self.symbol or "Estimate",
                expected="the same shape",
            )
        if np.ndim(self.value) == 0:
            object.__setattr__(self, "value", float(self.value))
            object.__setattr__(self, "stderr", float(self.stderr))
        if np.any(np.less(self.stderr, 0)):
            raise InputError("a negative stderr", field=self.symbol or "Estimate")

    @property
    def unit(self) -> str:
        """Unit of the value inside the package (s, s⁻¹, mM⁻¹ s⁻¹ …)."""
        return QUANTITIES[self.symbol].unit if self.symbol in QUANTITIES else ""

    def inverse(self, symbol: str = "") -> Estimate:
        """1/value: a rate from a time or back, with σ_R = σ_T/T²."""
        value = np.asarray(self.value, dtype=float)
        with np.errstate(divide="ignore", invalid="ignore"):
            inverse = np.where(value == 0, np.nan, 1.0 / value)
            stderr = error_of_inverse(np.asarray(self.stderr, dtype=float), inverse)
        return Estimate(inverse, stderr, symbol)

    def over(self, other: Estimate, symbol: str = "") -> Estimate:
        """Ratio to an independent estimate: (σ_ρ/ρ)² = (σ_a/a)² + (σ_b/b)² (delta method)."""
        a, b = np.asarray(self.value, dtype=float), np.asarray(other.value, dtype=float)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(b == 0, np.nan, a / b)
            # Written without dividing by a, so that a ratio of zero keeps its error.
            stderr = np.hypot(self.stderr / b, ratio * other.stderr / b)
        return Estimate(ratio, np.where(np.isnan(ratio), np.nan, stderr), symbol)

    def __format__(self, spec: str) -> str:
        """Value ± stderr in the unit people read; the error to two digits, the value to match."""
        if np.ndim(self.value):
            raise TypeError("only a scalar Estimate can be formatted")
        if math.isnan(self.value):
            return "not determined"
        quantity = QUANTITIES.get(self.symbol)
        factor = quantity.people_factor if quantity else 1.0
        unit = f" {quantity.people_unit}" if quantity and quantity.people_unit else ""
        return _plus_minus(self.value * factor, self.stderr * factor, spec) + unit

    def __repr__(self) -> str:
        name = self.symbol or "value"
        if np.ndim(self.value) == 0:
            return f"{name} = {self}"
        known = np.asarray(self.value)[np.isfinite(self.value)]
        shape = "×".join(map(str, np.shape(self.value)))
        if not known.size:
            return f"{name} map {shape}: nothing determined"
        median = Estimate(float(np.median(known)), float("nan"), self.symbol)
        return f"{name} map {shape}: median {median} over {known.size} voxels"

    def __str__(self) -> str:
        return format(self, "") if np.ndim(self.value) == 0 else repr(self)


def error_of_inverse(error: Array, inverse: Array) -> Array:
    """Error of 1/x from that of x: σ_R = σ_T/T², given R = 1/T."""
    result: Array = error * inverse**2
    return result


def _plus_minus(value: float, stderr: float, spec: str) -> str:
    if spec:
        text, error = format(value, spec), format(stderr, spec)
    elif math.isfinite(stderr) and stderr > 0:
        digits = 1 - int(f"{stderr:.1e}".partition("e")[2])  # after rounding: 0.0996 is 0.10
        if digits > 8 or digits < -6:
            text, error = f"{value:.6g}", f"{stderr:.2g}"
        else:
            decimals = max(digits, 0)
            text = f"{round(value, digits) + 0.0:.{decimals}f}"  # + 0.0: no −0.00
            error = f"{round(stderr, digits):.{decimals}f}"
    else:
        text, error = f"{value:.4g}", f"{stderr:.2g}"
    return text if math.isnan(stderr) else f"{text} ± {error}"
