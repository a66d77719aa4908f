"""Decays at uniform times, compiled: with q = exp(−Δt/T) everything is a polynomial in q.

c(q) = P(q)/√D(q), P = Σ y_i qⁱ, D = Σ q²ⁱ, so that Newton's steps need no tables. All else is as
in `relaxometry.lanes`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .kernels import exact
from .lanes import BESIDE, FAINT, SLOPE, load, peaks, rivals, rounding_of, score
from .loops import ELSEWHERE
from .maps import Status
from .room import FOUR, LANES, Room
from .tables import Tables

_OK = int(Status.OK)
_NEXT = np.uint64(1)
_STEPS = 7
_CONVERGED = 1e-10  # of log q, in the last step, as a share of it: the error after it
_SAME_SPACING = 1e-9  # of log columns × T, whose rounding is far below
_LARGEST_Q = 0.99
# What is worked with lies in one row, part after part: see `relaxometry.lanes`. q comes first.
_FAR, _P0, _P1, _P2, _D0, _D1, _D2 = (part * LANES for part in range(1, 8))


def spacing_of(tables: Tables) -> tuple[float, float] | None:
    """(t₀, Δt) if the one column is exp(−(t₀ + i·Δt)/T) times a constant at every node, or None."""
    if tables.p != 1 or tables.fixed or tables.sign <= 0 or len(tables.signs) > 1:
        return None
    if len(tables.family.b) > 1 or tables.coarse is None:
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


def scored_at(tables: Tables) -> tuple[Any, ...]:
    """Unit columns (node, n) at every second node, slopes, both kinds of slack, rounding, and T."""
    assert tables.coarse is not None
    heights, slopes = tables.coarse.columns[:, 0, 1:-1].astype(np.float32)
    slack, cubic_slack = tables.coarse.share_slack[1:-1], tables.coarse.cubic_slack[1:-1]
    n = heights.shape[1]
    fours = (0, 0), (0, -n % FOUR)
    return (
        np.pad(heights, fours),
        np.pad(slopes, fours),
        slack.astype(np.float32),
        cubic_slack.astype(np.float32),
        rounding_of(n),
        np.exp(tables.log_T[::2]),
    )


@exact
def follow(number: int, n: int, T_nodes: Any, step: float, room: Room, status: Any) -> None:
    """Newton's steps in q from between two nodes for each curve; into `work` what they end with."""
    lanes, nodes, scores, y, work = room.lanes, room.nodes, room.scores, room.y, room.work
    begin = room.best
    h = np.log(T_nodes[1] / T_nodes[0])
    for lane in range(LANES):
        work[lane] = 0.5
    for k in range(number):
        lane, node = lanes[k], nodes[k]
        here, there = scores[node], scores[node + _NEXT]
        begin[lane] = T_nodes[node]
        # The top of the cubic through both values and slopes.
        up, down, fall = here[SLOPE + lane], there[SLOPE + lane], 6.0 * (here[lane] - there[lane])
        a, b = fall + 3.0 * (up + down), -fall - 4.0 * up - 2.0 * down
        root = np.sqrt(max(b * b - 4.0 * a * up, 0.0)) - b
        x = h * (2.0 * up / root if root > 2.0 * up else 0.5)
        work[lane] = np.exp(-step / (T_nodes[node] * (1.0 + x * (1.0 + x * (0.5 + x / 6.0)))))
    for _ in range(_STEPS):
        i = n - 1
        for lane in range(LANES):
            work[_P0 + lane] = y[i, lane]
            work[_P1 + lane] = work[_P2 + lane] = work[_D1 + lane] = work[_D2 + lane] = 0.0
            work[_D0 + lane] = 1.0
        while i > 0:
            # Two at a time, where there are two: to fetch and put back costs as much as to reckon.
            two = i > 1
            one, other = y[i - 1], y[i - 2 if two else i - 1]
            for lane in range(LANES):
                x = work[lane]
                s = x * x
                P0, P1, P2 = work[_P0 + lane], work[_P1 + lane], work[_P2 + lane]
                D0, D1, D2 = work[_D0 + lane], work[_D1 + lane], work[_D2 + lane]
                P2, P1, P0 = P2 * x + P1, P1 * x + P0, P0 * x + one[lane]
                D2, D1, D0 = D2 * s + D1, D1 * s + D0, D0 * s + 1.0
                if two:
                    P2, P1, P0 = P2 * x + P1, P1 * x + P0, P0 * x + other[lane]
                    D2, D1, D0 = D2 * s + D1, D1 * s + D0, D0 * s + 1.0
                work[_P0 + lane], work[_P1 + lane], work[_P2 + lane] = P0, P1, P2
                work[_D0 + lane], work[_D1 + lane], work[_D2 + lane] = D0, D1, D2
            i -= 2
        for lane in range(LANES):
            x = work[lane]
            s = x * x
            # Σ i·qⁱ and Σ i²·qⁱ, as shares of Σ qⁱ.
            share = x / work[_P0 + lane]
            p1 = share * work[_P1 + lane]
            p2 = 2.0 * x * share * work[_P2 + lane] + p1
            share = s / work[_D0 + lane]
            d1 = share * work[_D1 + lane]
            d2 = 2.0 * s * share * work[_D2 + lane] + d1
            spread = d2 - d1 * d1
            bend = p2 - p1 * p1 - 2.0 * spread
            delta = (p1 - d1) / bend if bend < 0.0 else 1.0
            # A curve that has arrived stays, however long its neighbours take.
            far = abs(delta) - _CONVERGED * (1.0 - x)
            x *= 1.0 - delta if far >= 0.0 else 1.0
            work[lane] = x if x > 0.0 and x < 1.0 else 0.5
            work[_FAR + lane] = far
            work[_D1 + lane] = d1
            work[_D2 + lane] = spread
        worst = -1.0
        for lane in range(LANES):
            worst = max(worst, work[_FAR + lane] if status[lane] == _OK else -1.0)
        if worst < 0.0:
            break


@exact
def estimate(
    n: int,
    first: float,
    step: float,
    T_nodes: Any,
    exact_rss: float,
    no_spread: float,
    start: int,
    room: Room,
    result: Any,
) -> None:
    """Results for LANES curves."""
    at = slice(start, start + LANES)
    T, rss, rsquared, status = result[0][at], result[3][at], result[4][at], result[5][at]
    S0, var_S0 = result[1][0][at], result[2][1, 1][at]
    var_T, cross, again = result[2][0, 0][at], result[2][0, 1][at], result[2][1, 0][at]
    work, length, spread = room.work, room.length, room.spread
    # Between its two nodes there is one maximum, and no other may be taken for it.
    begin, wide = room.best, T_nodes[1] / T_nodes[0]
    alike = abs(first / step - 1.0) < _SAME_SPACING
    for lane in range(LANES):
        x, scale = work[lane], length[lane]
        time = -step / np.log(x)
        F = work[_P0 + lane] * work[_P0 + lane] / work[_D0 + lane]
        left = 1.0 - F
        # Where q is nearly 1, log q is what rounding leaves of it.
        steady = work[_FAR + lane] < 0.0 and work[_P0 + lane] > 0.0 and x < _LARGEST_Q
        between = time > begin[lane] * (1.0 - BESIDE) and time < begin[lane] * wide * (1.0 + BESIDE)
        if not (steady and between and left >= exact_rss and F > FAINT * FAINT):
            status[lane] = ELSEWHERE
        # Most trains begin as they go on.
        decayed = x if alike else np.exp(-first / time)
        S0[lane] = work[_P0 + lane] / (work[_D0 + lane] * decayed) * scale
        s2 = left / (n - 2)
        dT = time * time / step
        drift = (first / step + work[_D1 + lane]) * S0[lane]
        var = s2 / (F * work[_D2 + lane])
        alone = s2 * scale * scale / (work[_D0 + lane] * decayed * decayed)
        T[lane] = time
        var_T[lane] = var * dT * dT
        cross[lane] = -var * drift * dT
        again[lane] = cross[lane]
        var_S0[lane] = alone + var * drift * drift
        rss[lane] = left * scale * scale
        told = spread[lane] > no_spread * scale * scale
        rsquared[lane] = 1.0 - rss[lane] / spread[lane] if told else np.nan


@exact
def fit(
    curves: Any,
    weights: Any,
    values: Any,
    slopes: Any,
    slack: Any,
    cubic_slack: Any,
    rounding: Any,
    T_nodes: Any,
    first: float,
    step: float,
    exact_rss: float,
    no_spread: float,
    room: Room,
    result: Any,
) -> None:
    """Fit curves (V, n); see `lanes.fit`."""
    status = result[5]
    n = curves.shape[1]
    widest = slack[0]
    for one in slack:
        widest = max(widest, one)
    for start in range(0, curves.shape[0] - LANES + 1, LANES):
        at = slice(start, start + LANES)
        load(curves[at], weights, room, status[at])
        score(room.single, values, slopes, room.scores)
        peaks(room.scores, slack, cubic_slack, rounding, 0, T_nodes.size, room.found[0])
        number = rivals(widest + rounding, rounding, room, status[at])
        follow(number, n, T_nodes, step, room, status[at])
        estimate(n, first, step, T_nodes, exact_rss, no_spread, start, room, result)
