"""The line R = R(0) + r·c and its errors: ordinary, weighted, and with errors in both axes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import InputError
from .estimate import Estimate
from .jupyter import Shown

Array = NDArray[np.float64]
Method = Literal["auto", "ordinary", "weighted", "york"]
METHODS = get_args(Method)


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Relaxivity(Shown):
    """A fitted line R = R(0) + r·c.

    Attributes
    ----------
    r : Estimate
        Relaxivity, mM⁻¹ s⁻¹.
    R0 : Estimate
        Rate of the matrix without agent, s⁻¹; its stderr is 0 where it was fixed.
    ci95 : (float, float)
        95 % interval of r by Student's t.
    covariance : ndarray (2, 2)
        Of (R0, r).
    rsquared, residual_sd, chi2_reduced : float
        R² (weighted where the line is), SD of the residuals in s⁻¹, χ²/ν (NaN without σ).
    n, dof : int
        Points and degrees of freedom.
    method : str
        ``ordinary``, ``weighted`` or ``york`` (errors in both axes).
    concentration, rate, sigma : ndarray (n,)
        The points; sigma is the error each was weighted by, NaN where none was.
    flags : tuple of str
        What a reader should know about this line.
    """

    r: Estimate
    R0: Estimate
    ci95: tuple[float, float]
    covariance: Array
    rsquared: float
    residual_sd: float
    chi2_reduced: float
    n: int
    dof: int
    method: str
    concentration: Array
    rate: Array
    sigma: Array
    flags: tuple[str, ...] = ()

    def line(self, concentration: ArrayLike) -> Array:
        """R at these concentrations (mM), s⁻¹."""
        R: Array = self.R0.value + self.r.value * np.asarray(concentration, dtype=float)
        return R

    def band(self, concentration: ArrayLike) -> Array:
        """Half-width of the 95 % confidence band of the line, s⁻¹."""
        c = np.asarray(concentration, dtype=float)
        design = np.stack([np.ones_like(c), c], axis=-1)
        variance = np.einsum("...i,ij,...j->...", design, self.covariance, design)
        half: Array = t95(self.dof) * np.sqrt(variance)
        return half

    def __repr__(self) -> str:
        low, high = self.ci95
        return (
            f"Relaxivity: {self.r!r} (95 % {low:.4g} … {high:.4g}), R(0) = {self.R0}, "
            f"n = {self.n}, {self.method}, R² = {self.rsquared:.4f}"
        )


def t95(dof: int) -> float:
    """Student's t for a 95 % interval; NaN without a degree of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(dof, 0.975)) if dof > 0 else math.nan


def relaxivity_fit(
    concentration: ArrayLike,
    rate: ArrayLike,
    stderr: ArrayLike | None = None,
    concentration_sd: ArrayLike | None = None,
    intercept: float | None = None,
    method: Method = "auto",
    symbol: str = "",
) -> Relaxivity:
    """Fit R = R(0) + r·c.

    Parameters
    ----------
    concentration, rate : array_like (n,)
        mM and s⁻¹.
    stderr : array_like (n,), optional
        Standard error of each rate, s⁻¹, all positive.
    concentration_sd : array_like (n,), optional
        SD of each concentration, mM (0 for a blank).
    intercept : float, optional
        R(0) held fixed, s⁻¹ (not with ``york``).
    method : {"auto", "ordinary", "weighted", "york"}
        ``auto``: errors in both axes where both are given, weighted by 1/stderr² where every rate
        has an error, else ordinary.
    symbol : str
        ``"r1"`` or ``"r2"``, for printing.

    Returns
    -------
    Relaxivity
        With known errors (weighted, york) the standard errors are those that follow from them, and
        are scaled by √(χ²/ν) where the points scatter more than that (Birge ratio).

    Raises
    ------
    InputError
        For fewer than two different concentrations, numbers that are not finite, or a method that
        lacks its errors.

    Notes
    -----
    Errors in both axes: York et al., Am J Phys 72:367 (2004), without correlation.
    """
    c, R = _numbers(concentration, "concentration"), _numbers(rate, "rate")
    sigma = None if stderr is None else _numbers(stderr, "stderr")
    c_sd = None if concentration_sd is None else _numbers(concentration_sd, "concentration_sd")
    for name, values in (("rate", R), ("stderr", sigma), ("concentration_sd", c_sd)):
        if values is not None and values.shape != c.shape:
            raise InputError(f"{values.size} values", field=name, expected=f"{c.size} of them")
    for name, values in (("concentration", c), ("concentration_sd", c_sd)):
        if values is not None and (values < 0).any():
            raise InputError(f"{values.min():g} mM", field=name, expected="none below 0")
    if np.unique(c).size < 2:
        raise InputError(
            f"{np.unique(c).size} different concentration", expected="at least two for a line"
        )
    if sigma is not None and (sigma <= 0).any():
        raise InputError(f"an error of {sigma.min():g}", field="stderr", expected="above 0")
    if intercept is not None and not math.isfinite(intercept):
        raise InputError(f"{intercept!r}", field="intercept", expected="a finite rate in s⁻¹")
    if method not in METHODS:
        raise InputError(f"{method!r}", field="method", expected=", ".join(METHODS))
    if method == "auto":
        both = c_sd is not None and sigma is not None and bool((c_sd > 0).any())
        method = "york" if both else "weighted" if sigma is not None else "ordinary"
    if method != "ordinary" and sigma is None:
        raise InputError(f"method {method} without errors of the rates", field="stderr")
    if method == "york" and (c_sd is None or intercept is not None):
        raise InputError("method york", expected="concentration_sd, and no fixed intercept")
    if method == "ordinary":
        sigma = None

    if method == "york" and sigma is not None and c_sd is not None:
        R0, r, covariance, effective = _york(c, R, sigma, c_sd)
    else:
        effective = np.ones_like(c) if sigma is None else sigma
        R0, r, covariance = _line(c, R, effective, intercept)
    residual = R - R0 - r * c
    chi2, dof = float(((residual / effective) ** 2).sum()), c.size - (2 if intercept is None else 1)
    reduced = chi2 / dof if dof > 0 else math.nan
    flags = []
    if dof <= 0:
        covariance = np.full((2, 2), np.nan)
        flags.append("no degree of freedom: the error of the slope is unknown")
    elif sigma is None:
        covariance = covariance * reduced
    elif reduced > 1:
        covariance = covariance * reduced
        flags.append(f"points scatter more than their errors: errors × {math.sqrt(reduced):.3g}")
    se_R0, se_r = np.sqrt(np.diagonal(covariance))
    w = effective**-2
    spread = float((w * (R - (w * R).sum() / w.sum()) ** 2).sum())
    half = t95(dof) * se_r
    return Relaxivity(
        r=Estimate(r, se_r, symbol),
        R0=Estimate(R0, se_R0, symbol.upper()),
        ci95=(float(r - half), float(r + half)),
        covariance=covariance,
        rsquared=1 - chi2 / spread if spread > 0 else math.nan,
        residual_sd=math.sqrt(float((residual**2).sum()) / dof) if dof > 0 else math.nan,
        chi2_reduced=math.nan if sigma is None else reduced,
        n=c.size,
        dof=dof,
        method=method,
        concentration=c,
        rate=R,
        sigma=np.full_like(c, np.nan) if sigma is None else sigma,
        flags=tuple(flags),
    )


def fieller(numerator: Estimate, denominator: Estimate, t: float) -> tuple[float, float]:
    """Fieller's interval of the ratio of two independent estimates.

    It stays right where the delta method fails: a denominator that may be 0 leaves it unbounded.

    Parameters
    ----------
    numerator, denominator : Estimate
    t : float
        Student's t of the level wanted.

    Returns
    -------
    (float, float)
        With an infinite end where it is unbounded; of two branches, the one of the estimate's sign.

    Notes
    -----
    Fieller, J R Stat Soc B 16:175 (1954).
    """
    n, d = numerator.value, denominator.value
    dn, dd = t * numerator.stderr, t * denominator.stderr
    a, b = d * d - dd * dd, n * d
    # b² − a·c with its large terms cancelled by hand: exact data would lose it to rounding.
    discriminant = (n * dd) ** 2 + (d * dn) ** 2 - (dn * dd) ** 2
    if not math.isfinite(a + discriminant):
        return math.nan, math.nan
    if a == 0 or discriminant < 0:
        return -math.inf, math.inf
    ends = sorted((b + sign * math.sqrt(discriminant)) / a for sign in (-1, 1))
    if a > 0:
        return ends[0], ends[1]
    return (ends[1], math.inf) if b > 0 else (-math.inf, ends[0])


def no_line(concentration: Array, rate: Array, symbol: str, reason: str) -> Relaxivity:
    """A line that could not be drawn through these points: NaN throughout, and the reason."""
    unknown = Estimate(np.nan, np.nan, symbol)
    return Relaxivity(
        r=unknown,
        R0=Estimate(np.nan, np.nan, symbol.upper()),
        ci95=(math.nan, math.nan),
        covariance=np.full((2, 2), np.nan),
        rsquared=math.nan,
        residual_sd=math.nan,
        chi2_reduced=math.nan,
        n=concentration.size,
        dof=0,
        method="none",
        concentration=concentration,
        rate=rate,
        sigma=np.full_like(concentration, np.nan),
        flags=(f"not determined: {reason}",),
    )


def _numbers(values: ArrayLike, name: str) -> Array:
    try:
        array = np.atleast_1d(np.asarray(values, dtype=np.float64))
    except (TypeError, ValueError):
        raise InputError(f"{values!r} is not numeric", field=name) from None
    if array.ndim != 1 or not np.isfinite(array).all():
        raise InputError("not a list of finite numbers", field=name)
    return array


def _line(c: Array, R: Array, sigma: Array, R0: float | None) -> tuple[float, float, Array]:
    w = sigma**-2
    if R0 is not None:
        r = float((w * c * (R - R0)).sum() / (w * c * c).sum())
        return R0, r, np.array([[0.0, 0.0], [0.0, 1 / (w * c * c).sum()]])
    total, centre = w.sum(), (w * c).sum() / w.sum()
    spread = (w * (c - centre) ** 2).sum()
    r = float((w * (c - centre) * R).sum() / spread)
    covariance = np.array(
        [[1 / total + centre**2 / spread, -centre / spread], [-centre / spread, 1 / spread]]
    )
    return float((w * R).sum() / total - r * centre), r, covariance


def _york(c: Array, R: Array, sigma: Array, c_sd: Array) -> tuple[float, float, Array, Array]:
    r = float(np.polyfit(c, R, 1)[0])
    for _ in range(200):
        w = 1 / (sigma**2 + (r * c_sd) ** 2)
        c_mean, R_mean = (w * c).sum() / w.sum(), (w * R).sum() / w.sum()
        U, V = c - c_mean, R - R_mean
        beta = w * (U * sigma**2 + r * V * c_sd**2)
        last, r = r, float((w * beta * V).sum() / (w * beta * U).sum())
        if abs(r - last) <= 1e-14 * abs(r):
            break
    adjusted = c_mean + beta
    centre = (w * adjusted).sum() / w.sum()
    var_r = 1 / (w * (adjusted - centre) ** 2).sum()
    var_R0 = 1 / w.sum() + centre**2 * var_r
    covariance = np.array([[var_R0, -centre * var_r], [-centre * var_r, var_r]])
    return float(R_mean - r * c_mean), r, covariance, 1 / np.sqrt(w)
