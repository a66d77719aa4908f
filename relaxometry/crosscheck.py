"""The second opinion on one curve: the same minimum found by lmfit, its report and profiles."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .maps import Status
from .models import SignalModel
from .series import Protocol
from .solve import Solution

Array = NDArray[np.float64]

_GRID = 128
_STARTS = 3  # best local minima of the grid that are followed, until one stays within the cone
_SAME_SHAPE = 1e-9
_PROFILE_STEPS = 1000


def fit_with_lmfit(
    model: SignalModel,
    protocol: Protocol,
    signal: Array,
    bounds: tuple[float, float],
    magnitude: bool,
) -> tuple[Solution, Any]:
    """Fit one curve (n,) by lmfit's Levenberg–Marquardt, started from the best of a coarse grid.

    The first amplitude must be positive and a bounded ratio of amplitudes within its bounds. Where
    the free minimum is not, the minima on the edges of that range compete; an edge whose signal is
    the same at every T (an offset alone) does not, since it says nothing of T.

    Returns
    -------
    Solution
        Of one curve, as :class:`relaxometry.solve.Solver` gives it; ``LOW_SIGNAL`` and NaN where no
        amplitudes are allowed.
    lmfit.minimizer.MinimizerResult or None
        For its report and ``lmfit.conf_interval``; its minimizer is the attribute ``minimizer``.
        None where nothing was fitted.
    """
    p = len(model.amplitudes)
    free = np.eye(p)
    edges, least = _edges(model, protocol, bounds), _timeless(model, protocol, signal, bounds)
    found: list[tuple[float, Array, Any]] = []
    starts, inside = _starts(model, protocol, signal, bounds, magnitude, free)
    for start in starts:
        result = _minimise(model, protocol, signal, bounds, magnitude, free, start)
        if _allowed(model, protocol, _amplitudes(model, result)[None])[0]:
            found.append((result.chisqr, free, result))
            break
    if not (found and inside):
        for mix in edges:
            for start in _starts(model, protocol, signal, bounds, magnitude, mix)[0][:1]:
                result = _minimise(model, protocol, signal, bounds, magnitude, mix, start)
                if result.params[model.amplitudes[0]].value >= 0:
                    found.append((result.chisqr, mix, result))
    found = [one for one in found if one[0] < least]
    if not found:
        return _nothing(p), None
    _, mix, result = min(found, key=lambda one: one[0])
    return _solution(model, signal, bounds, mix, result), result


def profile_intervals(
    model: SignalModel,
    protocol: Protocol,
    signal: Array,
    bounds: tuple[float, float],
    magnitude: bool,
    T: float,
    amplitudes: Array,
    at_edge: bool,
    level: float,
) -> dict[str, tuple[float, float]]:
    """Profile-likelihood intervals of T and every amplitude around a minimum, by lmfit.

    An end where the curve never becomes that unlikely, within `bounds` for T, is infinite; what
    lmfit cannot profile is NaN.
    """
    import lmfit

    mix = np.eye(len(amplitudes))
    if at_edge:
        mix = min(
            _edges(model, protocol, bounds),
            key=lambda edge: float(np.linalg.lstsq(edge, amplitudes, rcond=None)[1].sum()),
        )
    at = (model, protocol, signal, bounds, magnitude, mix, (T, amplitudes))
    result = _minimise(*at)
    names = (model.time, *model.amplitudes)
    intervals = dict.fromkeys(names, (np.nan, np.nan))
    if result.nfree < 1 or not result.errorbars:
        return intervals
    # Lmfit steps out by the standard error, but by a fifth of the value where that is less, and
    # never arrives where the value is nearly 0 (an offset): there it sees the value shifted.
    shift = np.zeros(len(amplitudes))
    if not at_edge:
        error = np.array([result.params[name].stderr for name in model.amplitudes])
        shift = np.where(error < np.abs(amplitudes), 0, 10 * error)
        if shift.any():
            result = _minimise(*at, shift)
    for name in result.var_names:
        # An end that is not reached is told by its infinity; lmfit would warn as well.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found = lmfit.conf_interval(
                    result.minimizer, result, p_names=[name], sigmas=[level], maxiter=_PROFILE_STEPS
                )[name]
            except (lmfit.minimizer.MinimizerException, ValueError):
                continue
        if len(found) == 3:
            off = 0.0 if name == model.time else float(shift[names.index(name) - 1])
            intervals[name] = (float(found[0][1]) - off, float(found[2][1]) - off)
    if mix.shape[1] == 1 and len(amplitudes) == 2 and mix[0, 0]:  # the second follows the first
        low, high = sorted(mix[1, 0] * end for end in intervals[names[1]])
        intervals[names[2]] = (float(low), float(high))
    return intervals


def lmfit_report(result: Any) -> str:
    """Lmfit's fit report: values, errors and correlations."""
    import lmfit

    return str(lmfit.fit_report(result))


def _all_edges(model: SignalModel, protocol: Protocol) -> list[Array]:
    """Edges of the allowed amplitudes, as mixtures (p, q) of the columns."""
    p, ratio = len(model.amplitudes), model.ratio(protocol)
    if p == 1:
        return []
    return [np.eye(p)[:, 1:]] if ratio is None else [np.array([[1.0], [at]]) for at in ratio]


def _tells_time(
    model: SignalModel, protocol: Protocol, bounds: tuple[float, float], mix: Array
) -> bool:
    Q, _ = np.linalg.qr(model.basis(protocol, np.geomspace(*bounds, 16)) @ mix)
    reach = Q @ np.swapaxes(Q, 1, 2)
    return bool(np.abs(reach - reach[0]).max() > _SAME_SHAPE)


def _edges(model: SignalModel, protocol: Protocol, bounds: tuple[float, float]) -> list[Array]:
    edges = _all_edges(model, protocol)
    return [mix for mix in edges if _tells_time(model, protocol, bounds, mix)]


def _timeless(
    model: SignalModel, protocol: Protocol, signal: Array, bounds: tuple[float, float]
) -> float:
    """RSS that must be undercut: by more than rounding, what edges without a T reach."""
    least = np.inf
    for mix in _all_edges(model, protocol):
        if not _tells_time(model, protocol, bounds, mix):
            columns = model.basis(protocol, np.array([bounds[1]]))[0] @ mix
            a, *_ = np.linalg.lstsq(columns, signal, rcond=None)
            least = min(least, float(((signal - columns @ a) ** 2).sum()))
    return least - 1e-14 * float(signal @ signal)


def _allowed(model: SignalModel, protocol: Protocol, amplitudes: Array) -> NDArray[np.bool_]:
    """Whether amplitudes (…, p) are within what the model allows."""
    allowed: NDArray[np.bool_] = amplitudes[..., 0] > 0
    ratio = model.ratio(protocol)
    if ratio is not None:
        first, second = amplitudes[..., 0], amplitudes[..., 1]
        allowed &= (second > ratio[0] * first) & (second <= ratio[1] * first)
    return allowed


def _starts(
    model: SignalModel,
    protocol: Protocol,
    signal: Array,
    bounds: tuple[float, float],
    magnitude: bool,
    mix: Array,
) -> tuple[list[tuple[float, Array]], bool]:
    """Where to start: the best allowed minima of a grid over T, every sign pattern, best first.

    Amplitudes come by linear least squares. Also says whether the best of all, allowed or not, is
    allowed.
    """
    n, grid = signal.size, np.geomspace(bounds[0], bounds[1], _GRID)[1:-1]
    turned = np.arange(n) < np.arange(n + 1 if magnitude else 1)[:, None]
    patterns = np.where(turned, -signal, signal)
    columns = model.basis(protocol, grid) @ mix
    length = np.linalg.norm(columns, axis=1, keepdims=True)
    Q, R = np.linalg.qr(columns / length)
    reach = np.einsum("gnq,kn->gkq", Q, patterns)
    reduced = np.linalg.solve(R[:, None], reach[..., None])[..., 0] / length
    amplitudes = reduced @ mix.T
    rss = (signal**2).sum() - (reach**2).sum(axis=2)
    if mix.shape[1] < mix.shape[0]:
        allowed = amplitudes[..., 0] > 0 if mix[0].any() else np.ones(rss.shape, dtype=bool)
    else:
        allowed = _allowed(model, protocol, amplitudes)
    inside = bool(allowed.ravel()[np.argmin(rss)])
    rss = np.where(allowed, rss, np.inf)
    around = np.pad(rss, ((1, 1), (0, 0)), constant_values=np.inf)
    lowest = np.argwhere(allowed & (rss <= around[:-2]) & (rss <= around[2:]))
    lowest = lowest[np.argsort(rss[tuple(lowest.T)], kind="stable")][:_STARTS]
    return [(float(grid[g]), amplitudes[g, k]) for g, k in lowest], inside


def _minimise(
    model: SignalModel,
    protocol: Protocol,
    signal: Array,
    bounds: tuple[float, float],
    magnitude: bool,
    mix: Array,
    start: tuple[float, Array],
    shift: Array | None = None,
) -> Any:
    import lmfit

    T, amplitudes = start
    added = np.zeros(len(amplitudes)) if shift is None else shift
    amplitudes = amplitudes + added
    params = lmfit.Parameters()
    params.add(model.time, value=T, min=bounds[0], max=bounds[1])
    on_edge, first = mix.shape[1] < mix.shape[0], model.amplitudes[0]
    params.add(first, value=amplitudes[0], vary=bool(mix[0].any()))
    for name, value, share in zip(model.amplitudes[1:], amplitudes[1:], mix[1:, 0], strict=True):
        if on_edge and mix[0].any():  # the other amplitude follows the first
            params.add(name, expr=f"{float(share)!r}*{first}")
        else:
            params.add(name, value=value)

    def curve(p: Any, stretch: float = 1.0) -> Array:
        values = [p[name].value for name in model.amplitudes]
        T = np.array([p[model.time].value * stretch])
        S: Array = model.basis(protocol, T)[0] @ (values - added)
        return S

    def residual(p: Any) -> Array:
        S = curve(p)
        return (np.abs(S) if magnitude else S) - signal

    def jacobian(p: Any) -> Array:
        # Central differences in T, exact in the amplitudes: MINPACK's own forward differences
        # stop a part in 10⁶ short of the minimum.
        T, step = p[model.time].value, 1e-5
        by_T = (curve(p, 1 + step) - curve(p, 1 - step)) / (2 * step * T)
        J = np.column_stack([by_T, model.basis(protocol, np.array([T]))[0] @ mix])
        return J * np.where(curve(p) < 0, -1.0, 1.0)[:, None] if magnitude else J

    minimizer = lmfit.Minimizer(residual, params)
    result = minimizer.minimize(method="leastsq", Dfun=jacobian, ftol=1e-14, xtol=1e-14, gtol=0)
    result.minimizer = minimizer
    return result


def _amplitudes(model: SignalModel, result: Any) -> Array:
    return np.array([result.params[name].value for name in model.amplitudes])


def _solution(
    model: SignalModel, signal: Array, bounds: tuple[float, float], mix: Array, result: Any
) -> Solution:
    p, q = mix.shape
    T = result.params[model.time].value
    near = np.isclose(T, bounds, rtol=1e-4).any()
    status = Status.AT_BOUND if near else Status.OK if p == q else Status.AT_EDGE
    if not result.success:
        status = Status.NOT_CONVERGED
    covariance = np.full((1 + p, 1 + p), np.nan)
    if result.errorbars and result.nfree > 0 and status in (Status.OK, Status.AT_EDGE):
        spread = np.zeros((1 + p, 1 + q))
        spread[0, 0], spread[1:, 1:] = 1, mix
        covariance = spread @ result.covar @ spread.T
    variance = ((signal - signal.mean()) ** 2).sum()
    return Solution(
        T=np.array([T]),
        amplitudes=_amplitudes(model, result)[None],
        covariance=covariance[None],
        rss=np.array([result.chisqr]),
        rsquared=np.array([1 - result.chisqr / variance if variance > 0 else np.nan]),
        status=np.array([status], dtype=np.uint8),
    )


def _nothing(p: int) -> Solution:
    return Solution(
        T=np.full(1, np.nan),
        amplitudes=np.full((1, p), np.nan),
        covariance=np.full((1, 1 + p, 1 + p), np.nan),
        rss=np.full(1, np.nan),
        rsquared=np.full(1, np.nan),
        status=np.array([Status.LOW_SIGNAL], dtype=np.uint8),
    )
