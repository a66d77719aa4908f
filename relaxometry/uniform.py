"""Decays at uniform times, compiled: with q = exp(−Δt/T) everything is a polynomial in q.

c(q) = P(q)/√D(q), P = Σ y_i qⁱ, D = Σ q²ⁱ, so that Newton's steps need no tables and many curves go
side by side through the same instructions. Curves that need more than this (several maxima that may
win, one at a bound, almost no noise) are left to `relaxometry.compiled`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .kernels import quick
from .loops import ELSEWHERE
from .maps import Status
from .tables import Tables

Array = NDArray[np.float64]

LANES = 64  # curves side by side
_OK = int(Status.OK)
_STEPS = 6
EVERY = 2  #: of the tables' nodes every second is scored
_CONVERGED = 1e-10  # of log q, in the last step, as a share of it: the error after it
_SAME_SPACING = 1e-9  # of log columns × T, whose rounding is far below
_LARGEST_Q = 0.99
_SINGLE = 1e-5  # scores are in single precision: two nearer than this may be in either order


def spacing_of(tables: Tables) -> tuple[float, float] | None:
    """(t₀, Δt) if the one column is exp(−(t₀ + i·Δt)/T) times a constant at every node, or None."""
    if tables.p != 1 or tables.fixed or tables.sign <= 0 or len(tables.signs) > 1:
        return None
    if len(tables.family.b) > 1:
        return None
    T = np.exp(tables.log_T)
    column = tables.basis_at(tables.log_T, np.ones(1))[0, :, :, 0]
    if column.shape[1] < 3 or not (column > 0).all():
        return None
    steps = -np.diff(np.log(column), axis=1) * T[:, None]
    first = -np.log(column[:, 0]) * T
    if np.ptp(steps) > _SAME_SPACING * steps.max() or np.ptp(first) > _SAME_SPACING * first.max():
        return None
    return float(first.mean()), float(steps.mean())


def score_table(tables: Tables) -> tuple[Array, Array]:
    """Unit columns (node, n) and T (node,) at some nodes of log T, s: decays bend that little."""
    nodes = np.arange(len(tables.log_T) - 1, -1, -EVERY)[::-1]
    return tables.of_y[nodes, 0].astype(np.float32), np.exp(tables.log_T[nodes])


@quick
def fit(
    curves: Any,
    at_nodes: Any,
    T_nodes: Any,
    slack: float,
    first: float,
    step: float,
    exact_rss: float,
    y: Any,
    single: Any,
    length: Any,
    mean: Any,
    left: Any,
    now: Any,
    top: Any,
    second: Any,
    before: Any,
    after: Any,
    where: Any,
    q: Any,
    P0: Any,
    P1: Any,
    P2: Any,
    D0: Any,
    D1: Any,
    D2: Any,
    moved: Any,
    T: Any,
    amplitudes: Any,
    covariance: Any,
    rss: Any,
    rsquared: Any,
    status: Any,
) -> None:
    """Fit curves (V, n), V a multiple of LANES; results as in `Solution`."""
    V, n = curves.shape
    nodes = T_nodes.size
    h = np.log(T_nodes[1] / T_nodes[0])
    for start in range(0, V, LANES):
        for lane in range(LANES):
            length[lane] = 0.0
            mean[lane] = 0.0
        for lane in range(LANES):
            for i in range(n):
                y[i, lane] = curves[start + lane, i]
        for i in range(n):
            for lane in range(LANES):
                length[lane] += y[i, lane] * y[i, lane]
                mean[lane] += y[i, lane]
        for lane in range(LANES):
            usable = length[lane] > 1e-200 and length[lane] < 1e200
            status[start + lane] = _OK if usable else ELSEWHERE
            length[lane] = np.sqrt(length[lane]) if usable else 1.0
            mean[lane] /= n
            left[lane] = 0.0
            top[lane] = -1.0
            second[lane] = -1.0
            before[lane] = -1.0
            after[lane] = -1.0
            where[lane] = 0
            now[0, lane] = -1.0
            now[1, lane] = -1.0
        for i in range(n):
            for lane in range(LANES):
                off = y[i, lane] - mean[lane]
                left[lane] += off * off
                y[i, lane] /= length[lane]
                single[i, lane] = y[i, lane]
        # Local maxima over the nodes: the highest, its neighbours, and the second highest. `now` is
        # a ring of three: the scores at the node before, at this one, and at the one after.
        for node in range(nodes + 1):
            at = (node + 2) % 3
            last, middle = (node + 1) % 3, node % 3
            for lane in range(LANES):
                now[at, lane] = np.float32(0.0) if node < nodes else np.float32(-1.0)
            if node < nodes:
                i = 0
                while i + 4 <= n:
                    a, b = at_nodes[node, i], at_nodes[node, i + 1]
                    c, d = at_nodes[node, i + 2], at_nodes[node, i + 3]
                    for lane in range(LANES):
                        now[at, lane] += (a * single[i, lane] + b * single[i + 1, lane]) + (
                            c * single[i + 2, lane] + d * single[i + 3, lane]
                        )
                    i += 4
                while i < n:
                    a = at_nodes[node, i]
                    for lane in range(LANES):
                        now[at, lane] += a * single[i, lane]
                    i += 1
            if node == 0:
                continue
            for lane in range(LANES):
                low, here, high = now[middle, lane], now[last, lane], now[at, lane]
                peak = here >= low and here > high
                wins = peak and here > top[lane]
                other = top[lane] if wins else (here if peak else np.float32(-1.0))
                second[lane] = max(second[lane], other)
                before[lane] = low if wins else before[lane]
                after[lane] = high if wins else after[lane]
                where[lane] = node - 1 if wins else where[lane]
                top[lane] = here if wins else top[lane]
        for lane in range(LANES):
            node = where[lane]
            bend = before[lane] - 2.0 * top[lane] + after[lane]
            u = 0.5 * (before[lane] - after[lane]) / bend if bend < 0.0 else 0.0
            # Of two maxima that may win, and of one at a bound, the other loops take care.
            alone = second[lane] + slack + _SINGLE < top[lane] and node > 0 and node < nodes - 1
            if not (alone and top[lane] > 1e-6):
                status[start + lane] = ELSEWHERE
            q[lane] = np.exp(-step / (T_nodes[node] * (1.0 + h * u * (1.0 + 0.5 * h * u))))
        for _ in range(_STEPS):
            worst = 0.0
            for lane in range(LANES):
                P0[lane] = y[n - 1, lane]
                P1[lane] = 0.0
                P2[lane] = 0.0
                D0[lane] = 1.0
                D1[lane] = 0.0
                D2[lane] = 0.0
            for i in range(n - 2, -1, -1):
                for lane in range(LANES):
                    x = q[lane]
                    s = x * x
                    P2[lane] = P2[lane] * x + P1[lane]
                    P1[lane] = P1[lane] * x + P0[lane]
                    P0[lane] = P0[lane] * x + y[i, lane]
                    D2[lane] = D2[lane] * s + D1[lane]
                    D1[lane] = D1[lane] * s + D0[lane]
                    D0[lane] = D0[lane] * s + 1.0
            for lane in range(LANES):
                x = q[lane]
                s = x * x
                # Σ i·qⁱ and Σ i²·qⁱ, as shares of Σ qⁱ.
                p1 = x * P1[lane] / P0[lane]
                p2 = 2.0 * x * x * P2[lane] / P0[lane] + p1
                d1 = s * D1[lane] / D0[lane]
                d2 = 2.0 * s * s * D2[lane] / D0[lane] + d1
                slope = p1 - d1
                curve = p2 - p1 * p1 - 2.0 * (d2 - d1 * d1)
                delta = slope / curve if curve < 0.0 else 1.0
                moved[lane] = delta / (1.0 - x)
                asked = status[start + lane] == _OK
                worst = max(worst, abs(delta) / (1.0 - x) if asked else 0.0)
                # A curve that has arrived stays, however long its neighbours take.
                x *= 1.0 - delta if abs(delta) >= _CONVERGED * (1.0 - x) else 1.0
                q[lane] = x if x > 0.0 and x < 1.0 else 0.5
                D1[lane] = d1
                D2[lane] = d2 - d1 * d1
            if worst < _CONVERGED:
                break
        for lane in range(LANES):
            v = start + lane
            c2 = P0[lane] * P0[lane] / D0[lane]
            rest = 1.0 - c2
            away = -step / (np.log(q[lane]) * T_nodes[where[lane]])
            steady = abs(moved[lane]) < _CONVERGED and P0[lane] > 0.0
            near = away > np.exp(-h) and away < np.exp(h)
            # Where q is nearly 1, log q is what rounding leaves of it.
            if not (steady and near and rest >= exact_rss and q[lane] < _LARGEST_Q):
                status[v] = ELSEWHERE
            x = q[lane]
            time = -step / np.log(x)
            norm2 = np.exp(-2.0 * first / time) * D0[lane]
            S0 = P0[lane] / D0[lane] * np.exp(first / time)
            s2 = rest / (n - 2)
            var_x = s2 / (c2 * D2[lane])
            dT = time * time / step
            drift = (first / step + D1[lane]) * S0
            scale = length[lane]
            T[v] = time
            amplitudes[v, 0] = S0 * scale
            covariance[v, 0, 0] = var_x * dT * dT
            covariance[v, 0, 1] = covariance[v, 1, 0] = -var_x * drift * dT * scale
            covariance[v, 1, 1] = (s2 / norm2 + var_x * drift * drift) * scale * scale
            rss[v] = rest * scale * scale
            rsquared[v] = 1.0 - rss[v] / left[lane] if left[lane] > 0.0 else np.nan


def room(n: int) -> tuple[NDArray[Any], ...]:
    """Arrays that :func:`fit` works in."""
    half = np.float32
    lanes = [np.zeros(LANES) for _ in range(11)]
    return (
        np.zeros((n, LANES)),
        np.zeros((n, LANES), dtype=half),
        *lanes[:3],
        np.zeros((3, LANES), dtype=half),
        *(np.zeros(LANES, dtype=half) for _ in range(4)),
        np.zeros(LANES, dtype=np.int32),
        *lanes[3:11],
    )
