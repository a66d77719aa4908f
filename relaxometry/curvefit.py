"""One curve: `fit_curve` and what it gives, a `CurveFit`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .crosscheck import fit_with_lmfit, lmfit_report, profile_intervals
from .errors import FitError, InputError
from .estimate import Estimate
from .jupyter import Shown
from .maps import Status, determined
from .models import SignalModel, as_model
from .points import Choices, checked_choices, kept_points
from .polarity import Polarity
from .problem import Bounds, Problem, checked_bounds
from .series import Protocol
from .solve import Solution
from .units import RATE_OF, TIME_OF

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class CurveFit(Shown):
    """One fitted curve. ``fit["T2"]`` and ``fit["R2"]`` are Estimates.

    Attributes
    ----------
    model : SignalModel
    protocol : Protocol
    signal : ndarray (n,)
        What was fitted.
    amplitudes : ndarray (p,)
        As the solver left them.
    covariance : ndarray (1+p, 1+p)
        s²·(JᵀJ)⁻¹ of :attr:`parameters`, s² = RSS/(n − number of parameters); NaN where unknown.
    raw : mapping of str to Estimate
        Every parameter as the solver left it, values at a bound included.
    rss, rmse, rsquared : float
        RSS, √(RSS/n) and 1 − RSS/Σ(S − mean S)².
    status : Status
    used : ndarray of bool (n,)
        Which points were fitted.
    choices : Choices
        Bounds, polarity, weights, points left out.
    engine : {"own", "lmfit"}
    lmfit_result : lmfit MinimizerResult or None
        With ``engine="lmfit"``: lmfit's own, its minimizer in the attribute ``minimizer``.
    """

    model: SignalModel
    protocol: Protocol
    signal: Array
    amplitudes: Array
    covariance: Array
    raw: Mapping[str, Estimate]
    rss: float
    rmse: float
    rsquared: float
    status: Status
    used: NDArray[np.bool_]
    choices: Choices
    engine: str = "own"
    lmfit_result: Any = None

    @property
    def points(self) -> int:
        """How many points were fitted."""
        return int(np.count_nonzero(self.used))

    @property
    def bounds(self) -> Bounds:
        """Range of the time constant searched, s."""
        return self.choices.bounds

    @property
    def polarity(self) -> Polarity:
        """Whether the signal was taken for a magnitude or signed."""
        return self.choices.polarity

    def __getitem__(self, name: str) -> Estimate:
        if TIME_OF.get(name) in self.raw:
            return self[TIME_OF[name]].inverse(name)
        if name not in self.raw:
            raise KeyError(f"no parameter {name!r}; there are {', '.join(self.raw)}")
        known = bool(determined(np.array(self.status)))
        return self.raw[name] if known else Estimate(np.nan, np.nan, name)

    def curve(self, protocol: Protocol | None = None) -> Array:
        """The fitted signal (n,) at a protocol, default the measured one; as measured, |S| or S."""
        T = np.array([self.raw[self.model.time].value])
        actual = with_B1(protocol or self.protocol, self.choices.B1)
        S: Array = self.model.signal(actual, T, self.amplitudes[None])[0]
        folded = self.model.inverts and self.polarity == "magnitude"
        return np.abs(S) if folded else S

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of what was fitted: the time, then the amplitudes; the order of covariance."""
        return (self.model.time, *self.model.amplitudes)

    @property
    def correlations(self) -> dict[tuple[str, str], float]:
        """Correlation of each pair of parameters, from the covariance; NaN where unknown."""
        with np.errstate(divide="ignore", invalid="ignore"):
            sd = np.sqrt(np.diagonal(self.covariance))
            r = self.covariance / np.outer(sd, sd)
        names = self.parameters
        return {
            (names[i], names[j]): float(r[i, j])
            for i in range(len(names))
            for j in range(i + 1, len(names))
        }

    @property
    def noise_rss(self) -> float:
        """RSS, but at least 10⁻¹⁸ of Σ S²: below that it is rounding, by which no model may win."""
        return max(self.rss, 1e-18 * float((self.signal[self.used] ** 2).sum()))

    @property
    def aicc(self) -> float:
        """Akaike's information criterion, corrected for few points; less is better.

        n·ln(RSS/n) + 2k + 2k(k+1)/(n − k − 1), k the parameters and the variance (Hurvich & Tsai,
        Biometrika 76:297, 1989; Burnham & Anderson, Model Selection and Multimodel Inference, 2nd
        ed., 2002), RSS as :attr:`noise_rss`. It compares models of the same points only. NaN where
        n ≤ k + 1 or nothing was determined.
        """
        known = bool(determined(np.array(self.status)))
        return aicc(self.noise_rss, self.points, len(self.parameters)) if known else np.nan

    def conf_interval(self, level: float = 0.95) -> dict[str, tuple[float, float]]:
        """Profile-likelihood intervals of the time and of every amplitude.

        Where the curve is bent between what a standard error takes for a line, these are uneven
        and hold the truth more often. Found by lmfit, whichever engine fitted: the parameter is
        held, the others fitted, until the F test of RSS against the minimum reaches `level`.

        Parameters
        ----------
        level : float
            Between 0 and 1.

        Returns
        -------
        dict of str to (float, float)
            Lower and upper end, in the parameter's own unit. An end that the curve does not reach
            (for the time: within :attr:`bounds`) is ∓inf. NaN where nothing was determined, there
            are no more points than parameters, or lmfit finds no profile. At an edge, that edge
            is taken as given.

        Raises
        ------
        InputError
            If the level is not between 0 and 1, or the points were weighted.
        """
        if not 0 < level < 1:
            raise InputError(f"{level!r}", field="level", expected="between 0 and 1, e.g. 0.95")
        if not determined(np.array(self.status)):
            return dict.fromkeys(self.parameters, (float("nan"), float("nan")))
        exact = self.rss <= 1e-18 * float((self.signal[self.used] ** 2).sum())
        if exact and self.points > len(self.parameters):
            # No noise, no interval: what is left of RSS is rounding.
            values = self.raw[self.model.time].value, *self.amplitudes.tolist()
            return {name: (v, v) for name, v in zip(self.parameters, values, strict=True)}
        if self.choices.weights is not None:
            raise InputError("weights", field="conf_interval", expected="points that count alike")
        return profile_intervals(
            self.model,
            with_B1(self.protocol, self.choices.B1).take(np.flatnonzero(self.used)),
            self.signal[self.used],
            self.bounds,
            self.model.inverts and self.polarity == "magnitude",
            self.raw[self.model.time].value,
            self.amplitudes,
            self.status is Status.AT_EDGE,
            level,
        )

    def report(self) -> str:
        """A fit report for people; lmfit's own, with correlations, where lmfit fitted."""
        if self.lmfit_result is not None:
            return f"status: {self.status.words}\n{lmfit_report(self.lmfit_result)}"
        lines = [f"{self.model.name}: {self.model.equation}", f"status: {self.status.words}"]
        lines += [f"  {self[name]!r}" for name in (*self.raw, RATE_OF[self.model.time])]
        lines += [f"  RSS = {self.rss:.6g}, R² = {self.rsquared:.6f}, n = {self.points}"]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return (
            f"CurveFit: {self.model.name}, {self[self.model.time]!r}, "
            f"R² = {self.rsquared:.5f}, {self.status.words}"
        )


def with_B1(protocol: Protocol, B1: Array | None) -> Protocol:
    """The protocol with the flip angles that a curve's B1 (one number) makes of the nominal."""
    return protocol if B1 is None else replace(protocol, FA=protocol.FA * float(B1.item()))


def aicc(rss: float, n: int, parameters: int) -> float:
    """AICc of a least-squares fit to n points; see :attr:`CurveFit.aicc`."""
    k = parameters + 1
    if n - k - 1 <= 0:
        return float("nan")
    return float(n * np.log(rss / n) + 2 * k + 2 * k * (k + 1) / (n - k - 1))


def curve_of(
    problem: Problem,
    signal: Array,
    *,
    solution: Solution | None = None,
    lmfit_result: Any = None,
) -> CurveFit:
    """The fit of one signal (n,), in the order of the problem's protocol."""
    engine, choices = "lmfit", problem.choices
    if solution is None:
        engine, B1 = "own", choices.B1
        solution, _ = problem.solve(signal[None], None if B1 is None else B1.reshape(1))
    used = kept_points(signal[None], choices, problem.protocol.swept)[0][0]
    if choices.weights is not None:
        used &= choices.weights > 0
    if not np.isfinite(solution.rss[0]):
        used[:] = False
    raw = problem.parameters(solution)
    rss = float(solution.rss[0])
    return CurveFit(
        model=problem.model,
        protocol=problem.protocol,
        signal=signal,
        amplitudes=solution.amplitudes[0],
        covariance=solution.covariance[0],
        raw=MappingProxyType({name: Estimate(v[0], e[0], name) for name, (v, e) in raw.items()}),
        rss=rss,
        rmse=math.sqrt(rss / used.sum()) if used.any() else math.nan,
        rsquared=float(solution.rsquared[0]),
        status=Status(int(solution.status[0])),
        used=used,
        choices=choices,
        engine=engine,
        lmfit_result=lmfit_result,
    )


def fit_curve(
    times: Protocol | ArrayLike,
    signal: ArrayLike,
    model: str | SignalModel,
    *,
    engine: Literal["own", "lmfit"] = "own",
    polarity: Polarity = "magnitude",
    bounds: Bounds | None = None,
    weights: ArrayLike | None = None,
    noise_floor: tuple[float, float] | None = None,
    clip: float | None = None,
    B1: float | None = None,
) -> CurveFit:
    """Fit one curve.

    Parameters
    ----------
    times : Protocol or array_like (n,)
        Values of the swept setting in s, or a whole protocol (for TR per TI).
    signal : array_like (n,)
    model : str or SignalModel
    engine : {"own", "lmfit"}
        The exact search, or lmfit as a second opinion with its report (then without weights,
        noise_floor, clip and B1). Standard errors,
        correlations and profile intervals (:meth:`CurveFit.conf_interval`) come with either.
    polarity : {"magnitude", "signed"}
        Whether a model that changes sign was measured as a magnitude.
    bounds : (float, float), optional
        Range of the time constant searched, s.
    weights : array_like (n,), optional
        Of the squared residuals.
    noise_floor : (float, float), optional
        (k, σ): points below k·σ are left out.
    clip : float, optional
        Points at or above it are left out as clipped.
    B1 : float, optional
        Actual over nominal flip angle, for models that read FA.

    Returns
    -------
    CurveFit

    Raises
    ------
    InputError, FitError, ProtocolError
        If these do not fit together, or a magnitude is negative.
    """
    chosen = as_model(model)
    if engine not in ("own", "lmfit"):
        raise InputError(f"{engine!r}", field="engine", expected="own or lmfit")
    given = times if isinstance(times, Protocol) else Protocol(**{chosen.reads[0]: times})
    try:
        if np.iscomplexobj(signal):
            raise TypeError
        y = np.array(signal, dtype=np.float64)
    except (TypeError, ValueError):
        raise FitError(
            "not real numbers", field="signal", expected="magnitudes or signed data"
        ) from None
    if y.shape != (len(given),):
        raise FitError(f"{y.size} signals for {len(given)} times", field="signal")
    order = np.argsort(given.times, kind="stable")
    protocol, y = given.take(order), y[order]
    magnitude = polarity == "magnitude"
    if chosen.inverts and magnitude and (y < 0).any():
        raise FitError(
            f"{y.min():g} in a magnitude", field="signal", hint="say polarity='signed' if it is"
        )
    choices = checked_choices(
        len(protocol),
        checked_bounds(chosen, protocol, bounds),
        polarity,
        weights,
        noise_floor,
        clip,
        None if B1 is None else [B1],
    )
    if choices.weights is not None:
        choices = replace(choices, weights=choices.weights[order])
    problem = Problem(chosen, protocol, choices)
    if engine == "lmfit":
        if choices.leaves_out or choices.weights is not None or B1 is not None:
            raise InputError(
                "weights, clip, noise_floor or B1",
                field="engine",
                expected='engine="own" with these',
                hint="leave the points out, or scale the angles, in what you give it",
            )
        if np.isfinite(y).all() and y.any():
            fold = magnitude and chosen.inverts
            solution, result = fit_with_lmfit(chosen, protocol, y, choices.bounds, fold)
            return curve_of(problem, y, solution=solution, lmfit_result=result)
    return curve_of(problem, y)
