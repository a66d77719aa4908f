"""The second opinion on one curve: the same minimum found by lmfit, with its report."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .maps import Status
from .models import SignalModel
from .series import Protocol
from .solve import Solution

Array = NDArray[np.float64]


def fit_with_lmfit(
    model: SignalModel,
    protocol: Protocol,
    signal: Array,
    bounds: tuple[float, float],
    magnitude: bool,
) -> tuple[Solution, Any]:
    """Fit one curve (n,) by lmfit's Levenberg–Marquardt, started from the best of a coarse grid.

    Returns
    -------
    Solution
        Of one curve, as :class:`relaxometry.solve.Solver` gives it.
    lmfit.minimizer.MinimizerResult
        For its report and ``lmfit.conf_interval``; its minimizer is the attribute ``minimizer``.
    """
    ratio = model.ratio(protocol)
    result = _minimise(model, protocol, signal, bounds, magnitude, edge=None)
    edge = None
    if ratio is not None:
        S0, second = (result.params[name].value for name in model.amplitudes)
        if not (S0 > 0 and ratio[0] * S0 < second <= ratio[1] * S0):
            edges = [_minimise(model, protocol, signal, bounds, magnitude, edge=at) for at in ratio]
            edge = int(np.argmin([one.chisqr for one in edges]))
            result = edges[edge]
    names = (model.time, *model.amplitudes)
    values = np.array([result.params[name].value for name in names])
    covariance = np.full((1, len(names), len(names)), np.nan)
    if result.errorbars:
        free = [names.index(name) for name in result.var_names]
        covariance[0][np.ix_(free, free)] = result.covar
        if edge is not None:  # the second amplitude follows the first
            assert ratio is not None
            mix = ratio[edge]
            covariance[0, 2, :2] = covariance[0, :2, 2] = mix * covariance[0, 1, :2]
            covariance[0, 2, 2] = mix**2 * covariance[0, 1, 1]
    near = np.isclose(values[0], bounds, rtol=1e-4).any()
    status = Status.AT_BOUND if near else Status.OK if edge is None else Status.AT_EDGE
    if not result.success:
        status = Status.NOT_CONVERGED
    spread = ((signal - signal.mean()) ** 2).sum()
    return (
        Solution(
            T=values[:1],
            amplitudes=values[None, 1:],
            covariance=covariance,
            rss=np.array([result.chisqr]),
            rsquared=np.array([1 - result.chisqr / spread if spread > 0 else np.nan]),
            status=np.array([status], dtype=np.uint8),
        ),
        result,
    )


def _minimise(
    model: SignalModel,
    protocol: Protocol,
    signal: Array,
    bounds: tuple[float, float],
    magnitude: bool,
    edge: float | None,
) -> Any:
    import lmfit

    T, amplitudes = _start(model, protocol, signal, bounds, magnitude, edge)
    params = lmfit.Parameters()
    params.add(model.time, value=T, min=bounds[0], max=bounds[1])
    params.add(model.amplitudes[0], value=amplitudes[0])
    for name, value in zip(model.amplitudes[1:], amplitudes[1:], strict=True):
        if edge is None:
            params.add(name, value=value)
        else:
            params.add(name, expr=f"{edge!r}*{model.amplitudes[0]}")

    def curve(p: Any, stretch: float = 1.0) -> Array:
        values = [p[name].value for name in model.amplitudes]
        T = np.array([p[model.time].value * stretch])
        S: Array = model.signal(protocol, T, np.array([values]))[0]
        return S

    def residual(p: Any) -> Array:
        S = curve(p)
        return (np.abs(S) if magnitude else S) - signal

    def jacobian(p: Any) -> Array:
        # Central differences in T, exact in the amplitudes: MINPACK's own forward differences
        # stop a part in 10⁶ short of the minimum.
        T, step = p[model.time].value, 1e-5
        by_T = (curve(p, 1 + step) - curve(p, 1 - step)) / (2 * step * T)
        columns = model.basis(protocol, np.array([T]))[0]
        mixed = columns if edge is None else columns @ np.array([[1.0], [edge]])
        J = np.column_stack([by_T, mixed])
        return J * np.where(curve(p) < 0, -1.0, 1.0)[:, None] if magnitude else J

    minimizer = lmfit.Minimizer(residual, params)
    result = minimizer.minimize(method="leastsq", Dfun=jacobian, ftol=1e-14, xtol=1e-14, gtol=0)
    result.minimizer = minimizer
    return result


def _start(
    model: SignalModel,
    protocol: Protocol,
    signal: Array,
    bounds: tuple[float, float],
    magnitude: bool,
    edge: float | None,
) -> tuple[float, Array]:
    """The best point of a grid over T, amplitudes by linear least squares, every sign pattern."""
    grid = np.geomspace(bounds[0], bounds[1], 128)[1:-1]
    n = signal.size
    patterns = [
        np.where(np.arange(n) < k, -signal, signal) for k in range(n + 1 if magnitude else 1)
    ]
    best: tuple[float, float, Array] = (np.inf, float(grid[0]), np.zeros(len(model.amplitudes)))
    for T, columns in zip(grid, model.basis(protocol, grid), strict=True):
        mixed = columns if edge is None else columns @ np.array([[1.0], [edge]])
        for y in patterns:
            a, *_ = np.linalg.lstsq(mixed, y, rcond=None)
            rss = float(((y - mixed @ a) ** 2).sum())
            if a[0] > 0 and rss < best[0]:
                best = (rss, float(T), a if edge is None else np.array([a[0], edge * a[0]]))
    return best[1], best[2]


def lmfit_report(result: Any) -> str:
    """Lmfit's fit report: values, errors and correlations."""
    import lmfit

    return str(lmfit.fit_report(result))
