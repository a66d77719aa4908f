"""The line R = R(0) + r·c and its errors, by the method that suits what is known of its points."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import robust, straight
from .diagnosis import Diagnosis, diagnose, point_in_words, remarks
from .estimate import Estimate
from .jupyter import Shown
from .linemethod import ABSOLUTE, BOTH_AXES, Method, batches_of, check, chosen, names_of, numbers

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]
NORMAL95 = robust.NORMAL95
#: In its place for stated errors under Birge's rule, which only ever widens them: so the rule as a
#: whole holds 96 % of truths where the errors are right, and with 1.96 up to 97 % (docs).
STATED95 = 1.90
#: A point is told of as set aside where it is more likely wrong than right.
_SET_ASIDE = 0.5


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Relaxivity(Shown):
    """A fitted line R = R(0) + r·c.

    Attributes
    ----------
    r : Estimate
        Relaxivity, mM⁻¹ s⁻¹, with the error of the stock's concentration where one is stated.
    R0 : Estimate
        Rate of the matrix without agent, s⁻¹; its stderr is 0 where it was fixed.
    ci95 : (float, float)
        95 % interval of r.
    covariance : ndarray (2, 2)
        Of (R0, r), without the error of the stock.
    rsquared, residual_sd, chi2_reduced : float
        R² (weighted where the line is), SD of the residuals in s⁻¹, χ²/ν (NaN without σ).
    n, dof : int
        Points and degrees of freedom.
    method, reason : str
        ``ordinary``, ``relative``, ``weighted``, ``odr``, ``york``, ``robust`` or ``theil-sen``;
        and why this one.
    concentration, rate : ndarray (n,)
        The points, mM and s⁻¹.
    sigma, concentration_sd : ndarray (n,)
        Stated errors that were used, NaN where none was.
    weight : ndarray (n,)
        1/σ² by which each point counted, with all its errors; in a robust line times the
        probability that the point is right.
    known : float
        Share of the variance of r that follows from stated errors, 0 to 1; the rest is estimated
        from the scatter.
    k95 : float
        Coverage factor: half-width of a 95 % interval over the standard error.
    stock_rsd : float
        Relative SD of a factor common to all concentrations.
    tubes : tuple
        Numbers of the tubes, if they were given.
    replicate : ndarray (n,) of int
        Batch of each point; 0 for one that belongs to all, such as a blank.
    used : ndarray (n,) of bool
        False for a point that a robust line sets aside.
    diagnosis : Diagnosis
        Leverage, Cook's distance, influence and curvature.
    remarks : tuple of str
        What is odd about its points: a bend, one off the line, one that the slope hangs on.
    flags : tuple of str
        What a reader should know about this line, with these remarks.
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
    remarks: tuple[str, ...] = ()
    reason: str = ""
    concentration_sd: Array = field(default_factory=lambda: np.empty(0))
    weight: Array = field(default_factory=lambda: np.empty(0))
    known: float = 0.0
    k95: float = math.nan
    stock_rsd: float = 0.0
    fixed: bool = False
    tubes: tuple[Any, ...] = ()
    replicate: NDArray[np.int_] = field(default_factory=lambda: np.empty(0, dtype=int))
    used: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, dtype=bool))
    diagnosis: Diagnosis | None = None

    @property
    def slope(self) -> Estimate:
        """The relaxivity without the error of the stock's concentration."""
        return Estimate(self.r.value, math.sqrt(self.covariance[1, 1]), self.r.symbol)

    @property
    def R0_ci95(self) -> tuple[float, float]:
        """95 % interval of R(0), s⁻¹."""
        half = self.k95 * self.R0.stderr if self.R0.stderr else self.R0.stderr
        return self.R0.value - half, self.R0.value + half

    @property
    def parameters(self) -> int:
        """Numbers that were fitted: 1 where R(0) is held fixed."""
        return 1 if self.fixed else 2

    @property
    def residual(self) -> Array:
        """What the line leaves of each rate, s⁻¹."""
        left: Array = self.rate - self.line(self.concentration)
        return left

    @property
    def pull(self) -> Array:
        """How r moves with each rate, ∂r/∂R, mM⁻¹."""
        # With R(0) held fixed the line turns about c = 0, else about the centre of its points.
        w = self.weight
        off = self.concentration - (0.0 if self.fixed else (w @ self.concentration) / w.sum())
        moved: Array = w * off / (w @ off**2)
        return moved

    @property
    def leverage(self) -> Array:
        """Diagonal of the hat matrix, (n,)."""
        return self._diagnosed("leverage")

    @property
    def cook(self) -> Array:
        """Cook's distance of each point, (n,)."""
        return self._diagnosed("cook")

    @property
    def influence(self) -> Array:
        """Relative change of r without each point, (n,)."""
        return self._diagnosed("influence")

    @property
    def curvature_p(self) -> float:
        """Probability of a bend like the one seen where there is none."""
        return self.diagnosis.curvature_p if self.diagnosis else math.nan

    def _diagnosed(self, name: str) -> Array:
        if self.diagnosis is None:
            return np.full(self.n, np.nan)
        found: Array = getattr(self.diagnosis, name)
        return found

    def line(self, concentration: ArrayLike) -> Array:
        """R at these concentrations (mM), s⁻¹."""
        R: Array = self.R0.value + self.r.value * np.asarray(concentration, dtype=float)
        return R

    def band(self, concentration: ArrayLike) -> Array:
        """Half-width of the 95 % confidence band of the line, s⁻¹."""
        half: Array = self.k95 * np.sqrt(self._variance(concentration))
        return half

    def prediction(self, concentration: ArrayLike) -> Array:
        """Half-width of the 95 % prediction band, for the rate of one more tube, s⁻¹.

        The error of a tube between those measured is interpolated between theirs.
        """
        c = np.asarray(concentration, dtype=float)
        order = np.argsort(self.concentration, kind="stable")
        used = order[self.weight[order] > 0]
        if not used.size:
            return np.full_like(c, np.nan)
        widened = math.sqrt(max(self.chi2_reduced, 1.0)) if self.method in ABSOLUTE else 1.0
        sigma = widened / np.sqrt(self.weight[used])
        tube = np.interp(c, self.concentration[used], sigma)
        half: Array = self.k95 * np.sqrt(self._variance(c) + tube**2)
        return half

    def _variance(self, concentration: ArrayLike) -> Array:
        c = np.asarray(concentration, dtype=float)
        design = np.stack([np.ones_like(c), c], axis=-1)
        variance: Array = np.einsum("...i,ij,...j->...", design, self.covariance, design)
        return np.maximum(variance, 0.0)

    def refit(self, keep: ArrayLike) -> Relaxivity:
        """The line by the same method through some of its points.

        Parameters
        ----------
        keep : array_like of bool (n,)

        Returns
        -------
        Relaxivity
            NaN throughout, with the reason, where they are at fewer than two concentrations.
        """
        kept = np.asarray(keep, dtype=bool)
        c, R = self.concentration[kept], self.rate[kept]
        tubes = tuple(tube for tube, k in zip(self.tubes, kept, strict=False) if k)
        if np.unique(c).size < 2:
            return no_line(c, R, self.r.symbol, "fewer than two concentrations", tubes)
        sigma, c_sd = self.sigma[kept], self.concentration_sd[kept]
        return relaxivity_fit(
            c,
            R,
            stderr=sigma if np.isfinite(sigma).all() else None,
            concentration_sd=c_sd if np.isfinite(c_sd).all() else None,
            intercept=self.R0.value if self.fixed else None,
            method=self.method,  # type: ignore[arg-type]
            symbol=self.r.symbol,
            stock_rsd=self.stock_rsd,
            tubes=tubes or None,
            replicate=self.replicate[kept],
        )

    def __repr__(self) -> str:
        low, high = self.ci95
        return (
            f"Relaxivity: {self.r!r} (95 % {low:.4g} … {high:.4g}), R(0) = {self.R0}, "
            f"n = {self.n}, {self.method}, R² = {self.rsquared:.4f}"
        )

    def report(self) -> str:
        """All there is to say about the line, to print: see :func:`linereport.line_report`."""
        from .linereport import line_report

        return line_report(self)

    def methods(self, ion: str = "") -> str:
        """A sentence of methods with the numbers in it; `ion` is what the concentration counts."""
        from .linereport import line_methods

        return line_methods(self, ion)

    def to_dataframe(self) -> pd.DataFrame:
        """The numbers of the line as one row, with the columns of ``relaxivity.csv``."""
        from .linereport import line_frame

        return line_frame(self)


def t95(dof: float) -> float:
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
    *,
    stock_rsd: float = 0.0,
    tubes: ArrayLike | None = None,
    replicate: ArrayLike | None = None,
) -> Relaxivity:
    """Fit R = R(0) + r·c.

    Parameters
    ----------
    concentration, rate : array_like (n,)
        mM and s⁻¹.
    stderr : array_like (n,), optional
        Standard error of each rate, s⁻¹, all positive.
    concentration_sd : array_like (n,), optional
        SD of each concentration, mM, independent of each other (0 for a blank).
    intercept : float, optional
        R(0) held fixed, s⁻¹ (not with ``york`` and ``theil-sen``).
    method : str
        * ``auto``: errors in both axes where both are given, weighted by 1/stderr² where every
          rate has an error, else ordinary.
        * ``ordinary``: every rate equally good, its error from the scatter.
        * ``relative``: the error in proportion to the rate, its size from the scatter; for rates
          over decades whose errors are not known.
        * ``weighted``: by 1/stderr².
        * ``odr``: errors in both axes, by orthogonal distance regression (ODRPACK). ``york`` is
          the closed solution of the same problem (York et al., Am J Phys 72:367, 2004).
        * ``robust``: some of the points may be wrong, one in ten beforehand: an average over which
          (Box & Tiao, Biometrika 55:119, 1968). `stderr` counts in proportion only.
        * ``theil-sen``: the median of the slopes of all pairs, with an interval by their ranks.
    symbol : str
        ``"r1"`` or ``"r2"``, for printing.
    stock_rsd : float
        Relative SD of an error common to all concentrations, as of the stock they were diluted
        from: 0.05 for 5 %.
    tubes : array_like (n,), optional
        Numbers of the tubes, to name them and to pair r1 with r2.
    replicate : array_like of int (n,), optional
        Batch of each point; 0 for one that belongs to all.

    Returns
    -------
    Relaxivity
        With stated errors (weighted, odr, york) the standard errors are those that follow from
        them, and are scaled by √(χ²/ν) where the points scatter more than that (Birge ratio).
        Intervals: what follows from stated errors counts with 1.90 (the normal
        quantile 1.96, less what Birge's rule adds), what was
        estimated from the scatter with Student's t, the two in quadrature.

    Raises
    ------
    InputError
        For fewer than two different concentrations, numbers that are not finite, or a method that
        lacks its errors.
    """
    c, R = numbers(concentration, "concentration"), numbers(rate, "rate")
    sigma = None if stderr is None else numbers(stderr, "stderr")
    c_sd = None if concentration_sd is None else numbers(concentration_sd, "concentration_sd")
    check(c, R, sigma, c_sd, intercept, stock_rsd)
    names, batch = names_of(tubes, c.size), batches_of(replicate, c.size)
    method, reason = chosen(method, c, R, sigma, c_sd, intercept)
    if method in ("ordinary", "relative", "theil-sen"):
        sigma = None
    if method not in BOTH_AXES:
        c_sd = None

    parameters = 2 if intercept is None else 1
    dof, flags = c.size - parameters, []
    wrong = np.zeros_like(c)
    own: tuple[float, float] | None = None
    if method == "robust":
        found = robust.averaged(c, R, np.ones_like(c) if sigma is None else sigma, intercept)
        line, own, wrong = found.line, found.ci95, found.wrong
    elif method == "theil-sen":
        line, own = robust.theil_sen(c, R)
    elif method == "odr" and sigma is not None and c_sd is not None:
        line = straight.odr(c, R, c_sd, sigma, intercept)
    elif method == "york" and sigma is not None and c_sd is not None:
        line = straight.york(c, R, c_sd, sigma)
    elif method == "relative":
        line = straight.relative(c, R, intercept)
    else:
        line = straight.weighted(c, R, np.ones_like(c) if sigma is None else sigma, intercept)
    aside = wrong > _SET_ASIDE
    dof -= int(aside.sum())

    weight = (1 - wrong) / line.sigma**2 if line.sigma.all() else np.ones_like(c)
    residual = R - line.intercept - line.slope * c
    chi2 = float((residual**2 * weight).sum())
    reduced = chi2 / dof if dof > 0 else math.nan
    covariance, known = line.covariance, 0.0
    if dof <= 0 and method in ABSOLUTE:
        known = 1.0
        flags.append("no degree of freedom: the errors stated are not held against the scatter")
    elif dof <= 0:
        covariance = np.full((2, 2), np.nan)
        flags.append("no degree of freedom: the error of the slope is unknown")
    elif method in ABSOLUTE:
        covariance = covariance * max(reduced, 1.0)
        known = 1 / max(reduced, 1.0)
        if reduced > 1:
            flags.append(
                f"points scatter more than their errors: errors × {math.sqrt(reduced):.3g}"
            )
    elif own is None:
        covariance, weight = covariance * reduced, weight / (reduced or 1.0)
    error = math.sqrt(covariance[1, 1])
    if own is None:
        t = t95(dof)
        k95 = math.sqrt(STATED95**2 * known + (t**2 * (1 - known) if known < 1 else 0.0))
        own = (line.slope - k95 * error, line.slope + k95 * error)
    else:
        k95 = (own[1] - own[0]) / (2 * error) if error else t95(dof)
    stock = stock_rsd * abs(line.slope)
    spread = float((weight * (R - (weight * R).sum() / weight.sum()) ** 2).sum())
    left = float((residual**2 * (1 - wrong)).sum())
    counts = np.where(aside, 0.0, weight)
    judged = method not in ("robust", "theil-sen")
    found_odd = diagnose(c, R, counts, intercept, method in ABSOLUTE, outliers=judged)
    odd = [
        f"{point_in_words(names, c, int(i))} is set aside: it is off the line of the others "
        f"(probability {wrong[i]:.2f})"
        for i in np.flatnonzero(aside)
    ]
    odd += remarks(found_odd, symbol, c, names)
    return Relaxivity(
        r=Estimate(line.slope, math.hypot(error, stock), symbol),
        R0=Estimate(line.intercept, math.sqrt(covariance[0, 0]), symbol.upper()),
        ci95=(
            line.slope - math.hypot(line.slope - own[0], NORMAL95 * stock),
            line.slope + math.hypot(own[1] - line.slope, NORMAL95 * stock),
        ),
        covariance=covariance,
        rsquared=1 - float((residual**2 * weight).sum()) / spread if spread > 0 else math.nan,
        residual_sd=math.sqrt(left / dof) if dof > 0 else math.nan,
        chi2_reduced=reduced if method in ABSOLUTE else math.nan,
        n=c.size,
        dof=dof,
        method=method,
        reason=reason,
        concentration=c,
        rate=R,
        sigma=np.full_like(c, np.nan) if sigma is None else sigma,
        concentration_sd=np.full_like(c, np.nan) if c_sd is None else c_sd,
        weight=weight,
        known=known,
        k95=k95,
        stock_rsd=stock_rsd,
        fixed=intercept is not None,
        tubes=names,
        replicate=batch,
        used=~aside,
        diagnosis=found_odd,
        remarks=tuple(odd),
        flags=(*flags, *odd),
    )


def no_line(
    concentration: Array, rate: Array, symbol: str, reason: str, tubes: tuple[Any, ...] = ()
) -> Relaxivity:
    """A line that could not be drawn through these points: NaN throughout, and the reason."""
    unknown = Estimate(np.nan, np.nan, symbol)
    n = concentration.size
    return Relaxivity(
        r=unknown,
        R0=Estimate(np.nan, np.nan, symbol.upper()),
        ci95=(math.nan, math.nan),
        covariance=np.full((2, 2), np.nan),
        rsquared=math.nan,
        residual_sd=math.nan,
        chi2_reduced=math.nan,
        n=n,
        dof=0,
        method="none",
        concentration=concentration,
        rate=rate,
        sigma=np.full(n, np.nan),
        concentration_sd=np.full(n, np.nan),
        weight=np.zeros(n),
        tubes=tubes,
        replicate=np.zeros(n, dtype=int),
        used=np.ones(n, dtype=bool),
        flags=(f"not determined: {reason}",),
    )
