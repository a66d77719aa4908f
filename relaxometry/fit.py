"""Fitting: a series to maps, a curve to numbers, the mean signal of each tube."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .crosscheck import fit_with_lmfit
from .errors import FitError, GeometryError, InputError
from .estimate import Estimate
from .jupyter import Shown
from .maps import ParameterMaps, Status, determined
from .models import SignalModel, as_model, model_for
from .series import Protocol, Series
from .solve import CHUNK, Solution, Solver
from .tubes import Tubes
from .units import RATE_OF, TIME_OF

Array = NDArray[np.float64]
Polarity = Literal["magnitude", "signed"]
Bounds = tuple[float, float]


def fit_maps(
    series: Series,
    model: str | SignalModel | None = None,
    mask: NDArray[np.bool_] | None = None,
    *,
    bounds: Bounds | None = None,
    workers: int | None = None,
    max_memory: int | None = None,
    progress: bool | None = None,
) -> ParameterMaps:
    """Fit a model in every voxel: the exact least-squares minimum, its errors and its status.

    Parameters
    ----------
    series : Series
    model : str or SignalModel, optional
        Default by the kind of series.
    mask : ndarray of bool (x, y, z), optional
        Voxels to fit; all by default.
    bounds : (float, float), optional
        Range of the time constant searched, s; default `SignalModel.bounds`.
    workers : int, optional
        Threads; default one per processor. The result does not depend on it.
    max_memory : int, optional
        Bytes that the maps and the threads may take beside the series; fewer threads are used to
        keep within it.
    progress : bool, optional
        Show a progress bar; default only on a terminal or in Jupyter.

    Returns
    -------
    ParameterMaps

    Raises
    ------
    FitError, ProtocolError, GeometryError
        If model, series and mask do not fit together.
    InputError
        If `max_memory` is too little.
    """
    chosen = model_for(series.kind) if model is None else as_model(model)
    mask = np.ones(series.grid, bool) if mask is None else np.asarray(mask, dtype=bool)
    if mask.shape != series.grid:
        raise GeometryError(f"mask of shape {mask.shape}", expected=f"the series' {series.grid}")
    bounds = _bounds(chosen, series.protocol, bounds)
    solver = _solver(chosen, series.protocol, bounds, magnitude=not series.signed)
    curves = series.signal[mask]
    workers = _workers(workers, max_memory, solver, chosen, mask)
    parts = _in_parallel(solver, curves, workers, progress)

    def put(values: Array) -> Array:
        full = np.full(series.grid, np.nan)
        full[mask] = values
        return full

    status = np.full(series.grid, Status.MASKED, dtype=np.uint8)
    columns: dict[str, tuple[list[Array], list[Array]]] = {}
    for part in parts:
        for name, (value, stderr) in _parameters(chosen, series.protocol, part).items():
            values, stderrs = columns.setdefault(name, ([], []))
            values.append(value)
            stderrs.append(stderr)
    joined = {k: [np.concatenate(pair) for pair in both] for k, both in columns.items()}
    status[mask] = np.concatenate([part.status for part in parts])
    rss = np.concatenate([part.rss for part in parts])
    return ParameterMaps(
        raw={name: (put(value), put(stderr)) for name, (value, stderr) in joined.items()},
        rmse=put(np.sqrt(rss / len(series.protocol))),
        rsquared=put(np.concatenate([part.rsquared for part in parts])),
        status=status,
        series=series,
        model=chosen,
        bounds=bounds,
    )


def _workers(
    workers: int | None,
    max_memory: int | None,
    solver: Solver,
    model: SignalModel,
    mask: NDArray[np.bool_],
) -> int:
    """Threads to use: as many as asked for, or as the memory allows."""
    if workers is not None and workers < 1:
        raise InputError(f"{workers}", field="workers", expected="at least 1")
    workers = workers or os.cpu_count() or 1
    if max_memory is None:
        return workers
    parameters = 2 + len(model.amplitudes)  # the time, the amplitudes, one derived quantity
    # Value and error of each, RMSE and R² as maps; the solutions' covariances while fitting.
    fixed = 8 * (2 * parameters + 2) * mask.size + 8 * parameters**2 * int(mask.sum())
    affordable = (max_memory - fixed) // solver.working_memory
    if affordable < 1:
        raise InputError(
            f"{max_memory / 1e6:.0f} MB",
            field="max_memory",
            expected=f"at least {(fixed + solver.working_memory) / 1e6:.0f} MB for this series",
        )
    return min(workers, affordable)


def _in_parallel(
    solver: Solver, curves: NDArray[np.float32], workers: int, progress: bool | None
) -> list[Solution]:
    from tqdm.auto import tqdm

    if progress is None:
        progress = sys.stderr.isatty() or "ipykernel" in sys.modules
    starts = range(0, max(len(curves), 1), CHUNK)
    with (
        ThreadPoolExecutor(workers) as pool,
        tqdm(
            total=len(curves), unit="voxel", unit_scale=True, disable=not progress, delay=1
        ) as bar,
    ):
        parts = []
        for part in pool.map(lambda i: solver(curves[i : i + CHUNK]), starts):
            parts.append(part)
            bar.update(len(part.T))
    return parts


def _bounds(model: SignalModel, protocol: Protocol, bounds: Bounds | None) -> Bounds:
    model.check(protocol)
    parameters = 1 + len(model.amplitudes)
    if len(protocol) < parameters:
        raise FitError(
            f"{len(protocol)} points for the {parameters} parameters of {model.name}",
            expected=f"at least {parameters}",
        )
    low, high = bounds or model.bounds(protocol)
    if not 0 < low < high < np.inf:
        raise FitError(f"{low:g} … {high:g} s", field="bounds", expected="0 < lowest < highest")
    for T in (low, high):
        if not np.linalg.norm(model.basis(protocol, np.array([T])), axis=1).all():
            raise FitError(
                f"{T:g} s",
                field="bounds",
                expected=f"a range of {model.time} in which {model.name} has a signal",
            )
    return float(low), float(high)


def _solver(model: SignalModel, protocol: Protocol, bounds: Bounds, magnitude: bool) -> Solver:
    return Solver(
        lambda T: model.basis(protocol, T),
        bounds,
        model.ratio(protocol),
        magnitude=magnitude and model.inverts,
    )


def _parameters(
    model: SignalModel, protocol: Protocol, solution: Solution
) -> dict[str, tuple[Array, Array]]:
    """Value and standard error (V,) of every parameter of a model, as the solver left them."""
    variance = np.diagonal(solution.covariance, axis1=1, axis2=2)
    stderr = np.sqrt(variance)
    found = {model.time: (solution.T, stderr[:, 0])}
    for i, name in enumerate(model.amplitudes):
        found[name] = (solution.amplitudes[:, i], stderr[:, 1 + i])
    at_edge = solution.status == Status.AT_EDGE
    derived = model.derived(protocol, solution.amplitudes, solution.covariance[:, 1:, 1:])
    for name, (value, error) in derived.items():
        # At the edge the ratio is its bound, not an estimate.
        found[name] = (np.where(at_edge, np.nan, value), np.where(at_edge, np.nan, error))
    return found


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
    raw : mapping of str to Estimate
        Every parameter as the solver left it, values at a bound included.
    rss, rmse, rsquared : float
        RSS, √(RSS/n) and 1 − RSS/Σ(S − mean S)².
    status : Status
    bounds : (float, float)
        Range of the time constant searched, s.
    polarity : {"magnitude", "signed"}
    engine : {"own", "lmfit"}
    lmfit_result : lmfit MinimizerResult or None
        With ``engine="lmfit"``: for ``lmfit.conf_interval(r.minimizer, r)`` and correlations.
    """

    model: SignalModel
    protocol: Protocol
    signal: Array
    amplitudes: Array
    raw: Mapping[str, Estimate]
    rss: float
    rmse: float
    rsquared: float
    status: Status
    bounds: Bounds
    polarity: Polarity
    engine: str = "own"
    lmfit_result: Any = None

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
        S: Array = self.model.signal(protocol or self.protocol, T, self.amplitudes[None])[0]
        folded = self.model.inverts and self.polarity == "magnitude"
        return np.abs(S) if folded else S

    def report(self) -> str:
        """A fit report for people; lmfit's own, with correlations, where lmfit fitted."""
        if self.lmfit_result is not None:
            from .crosscheck import lmfit_report

            return lmfit_report(self.lmfit_result)
        lines = [f"{self.model.name}: {self.model.equation}", f"status: {self.status.words}"]
        lines += [f"  {self[name]!r}" for name in (*self.raw, RATE_OF[self.model.time])]
        lines += [f"  RSS = {self.rss:.6g}, R² = {self.rsquared:.6f}, n = {self.signal.size}"]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return (
            f"CurveFit: {self.model.name}, {self[self.model.time]!r}, "
            f"R² = {self.rsquared:.5f}, {self.status.words}"
        )


def _curve_fit(
    model: SignalModel,
    protocol: Protocol,
    signal: Array,
    solution: Solution,
    i: int,
    **facts: Any,
) -> CurveFit:
    parameters = _parameters(model, protocol, solution)
    return CurveFit(
        model=model,
        protocol=protocol,
        signal=signal,
        amplitudes=solution.amplitudes[i],
        raw=MappingProxyType(
            {
                name: Estimate(value[i], error[i], name)
                for name, (value, error) in parameters.items()
            }
        ),
        rss=float(solution.rss[i]),
        rmse=float(np.sqrt(solution.rss[i] / signal.size)),
        rsquared=float(solution.rsquared[i]),
        status=Status(int(solution.status[i])),
        **facts,
    )


def fit_curve(
    times: Protocol | ArrayLike,
    signal: ArrayLike,
    model: str | SignalModel,
    *,
    engine: Literal["own", "lmfit"] = "own",
    polarity: Polarity = "magnitude",
    bounds: Bounds | None = None,
) -> CurveFit:
    """Fit one curve.

    Parameters
    ----------
    times : Protocol or array_like (n,)
        Values of the swept setting in s, or a whole protocol (for TR per TI).
    signal : array_like (n,)
    model : str or SignalModel
    engine : {"own", "lmfit"}
        The exact search, or lmfit as a second opinion with its report.
    polarity : {"magnitude", "signed"}
        Whether a model that changes sign was measured as a magnitude.
    bounds : (float, float), optional
        Range of the time constant searched, s.

    Returns
    -------
    CurveFit

    Raises
    ------
    InputError, FitError, ProtocolError
        If these do not fit together, or a magnitude is negative.
    """
    chosen = as_model(model)
    for name, choice, choices in (
        ("engine", engine, ("own", "lmfit")),
        ("polarity", polarity, ("magnitude", "signed")),
    ):
        if choice not in choices:
            raise InputError(f"{choice!r}", field=name, expected=" or ".join(choices))
    given = times if isinstance(times, Protocol) else Protocol(**{chosen.reads[0]: times})
    try:
        y = np.array(signal, dtype=np.float64)
    except (TypeError, ValueError):
        raise FitError("not numeric", field="signal") from None
    if y.shape != (len(given),):
        raise FitError(f"{y.size} signals for {len(given)} times", field="signal")
    order = np.argsort(given.times, kind="stable")
    protocol, y = given.take(order), y[order]
    magnitude = polarity == "magnitude"
    if chosen.inverts and magnitude and (y < 0).any():
        raise FitError(
            f"{y.min():g} in a magnitude", field="signal", hint="say polarity='signed' if it is"
        )
    bounds = _bounds(chosen, protocol, bounds)
    result = None
    if engine == "lmfit" and np.isfinite(y).all() and y.any():
        fold = magnitude and chosen.inverts
        solution, result = fit_with_lmfit(chosen, protocol, y, bounds, fold)
    else:
        solution = _solver(chosen, protocol, bounds, magnitude)(y[None])
    facts = {"bounds": bounds, "polarity": polarity, "engine": engine, "lmfit_result": result}
    return _curve_fit(chosen, protocol, y, solution, 0, **facts)


def fit_tubes(
    series: Series,
    tubes: Tubes,
    model: str | SignalModel | None = None,
    *,
    bounds: Bounds | None = None,
) -> tuple[CurveFit, ...]:
    """Fit each tube's mean signal: the answer of record.

    Parameters
    ----------
    series : Series
    tubes : Tubes
        Carried to the series' grid where they lie on another.
    model, bounds
        As in :func:`fit_maps`.

    Returns
    -------
    tuple of CurveFit
        One per row of the sheet, in its order.

    Raises
    ------
    FitError, ProtocolError, GeometryError
        If model, series and tubes do not fit together.
    """
    chosen = model_for(series.kind) if model is None else as_model(model)
    bounds = _bounds(chosen, series.protocol, bounds)
    here = tubes.on(series)
    curves = np.array(
        [series.signal[here.voxels(n)].mean(axis=0, dtype=np.float64) for n in here.numbers]
    )
    solution = _solver(chosen, series.protocol, bounds, magnitude=not series.signed)(curves)
    polarity: Polarity = "signed" if series.signed else "magnitude"
    return tuple(
        _curve_fit(chosen, series.protocol, y, solution, i, bounds=bounds, polarity=polarity)
        for i, y in enumerate(curves)
    )
