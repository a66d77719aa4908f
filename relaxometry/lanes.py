"""The search for one moving column, compiled, with many curves side by side: one in each lane.

Each step runs over all lanes before the next, so that one instruction works on many curves. The
rules are those of `relaxometry.loops`. Only what is common is answered here; what needs more
(maxima that rival each other, a bound, an edge, almost no noise) is left to them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .kernels import COEFFICIENTS, exact, quick
from .loops import ELSEWHERE
from .maps import Status
from .room import FOUR, LANES, WIDTH, Room

_OK = int(Status.OK)
_STEPS = 8
_CONVERGED = 1e-8  # of log T: see `projection.STEP`
_ZERO, _ONE, _TWO, _THREE, _FOUR, _SIX = (np.float32(number) for number in (0, 1, 2, 3, 4, 6))
_FIRST_BIT = np.uint64(1)
_NONE = np.float32(-4.0)  # below any share
FAINT = 1e-3  # share of a curve below which single precision tells too little
BESIDE = 1e-3  # of the way between two nodes, that rounded slopes may be wrong by


def rounding_of(n: int) -> np.float32:
    """What single precision leaves, at most, of a share of a curve of n points and unit length."""
    return np.float32(max(4e-6, 2 * n * float(np.finfo(np.float32).eps)))


@exact
def load(curves: Any, weights: Any, room: Room, status: Any) -> None:
    """Curves × √weights of unit length; those lengths, and Σ w(S − mean S)²."""
    y, single, mean, length, spread = room.y, room.single, room.var, room.length, room.spread
    n = curves.shape[1]
    total = 0.0
    for i in range(n):
        total += weights[i]
        for lane in range(LANES):
            y[i, lane] = curves[lane, i]
    for lane in range(LANES):
        length[lane] = 0.0
        spread[lane] = 0.0
        mean[lane] = 0.0
    for i in range(n):
        w, share = weights[i], weights[i] / total
        for lane in range(LANES):
            length[lane] += w * y[i, lane] * y[i, lane]
            mean[lane] += share * y[i, lane]
    for lane in range(LANES):
        usable = length[lane] > 1e-200 and length[lane] < 1e200
        status[lane] = _OK if usable else ELSEWHERE
        length[lane] = np.sqrt(length[lane]) if usable else 1.0
    for i in range(n):
        w, root = weights[i], np.sqrt(weights[i])
        for lane in range(LANES):
            off = y[i, lane] - mean[lane]
            spread[lane] += w * off * off
            # Zero where it is no number: what follows is compiled for numbers alone.
            y[i, lane] = y[i, lane] * (root / length[lane]) if status[lane] == _OK else 0.0
            single[i, lane] = y[i, lane]


# What a step writes for a lane lies in one row, part after part: of rows of several arrays the
# compiler would have to find out, every time, that they do not overlap.
SLOPE = LANES  #: in a row of scores, after the shares
_PEAKS = LANES  # in what is found of a run, after the top: for each maximum 1024 + its node
_A_PEAK = np.float32(1024.0)


@quick
def score(single: Any, values: Any, slopes: Any, scores: Any) -> None:
    """Shares of all curves at the nodes, and their slopes, in single precision."""
    nodes, n = values.shape
    for node in range(nodes):
        out, a, b = scores[node], values[node], slopes[node]
        for lane in range(2 * LANES):
            out[lane] = _ZERO
        for i in range(0, n, FOUR):
            a0, a1, a2, a3 = a[i], a[i + 1], a[i + 2], a[i + 3]
            b0, b1, b2, b3 = b[i], b[i + 1], b[i + 2], b[i + 3]
            for lane in range(LANES):
                y0, y1 = single[i, lane], single[i + 1, lane]
                y2, y3 = single[i + 2, lane], single[i + 3, lane]
                out[lane] += (a0 * y0 + a1 * y1) + (a2 * y2 + a3 * y3)
                out[SLOPE + lane] += (b0 * y0 + b1 * y1) + (b2 * y2 + b3 * y3)


@quick
def turn(single: Any, values: Any, slopes: Any, i: int, first: int, scores: Any) -> None:
    """The scores with point i of the curves turned over, from one node on."""
    y = single[i]
    for node in range(first, values.shape[0]):
        a, b, out = _TWO * values[node, i], _TWO * slopes[node, i], scores[node]
        for lane in range(LANES):
            out[lane] -= a * y[lane]
            out[SLOPE + lane] -= b * y[lane]


@quick
def share(y: Any, column: Any, out: Any) -> None:
    """That of one column in all curves."""
    for lane in range(LANES):
        out[lane] = 0.0
    for i in range(column.size):
        for lane in range(LANES):
            out[lane] += column[i] * y[i, lane]


@quick
def peaks(
    scores: Any, slack: Any, cubic_slack: Any, rounding: Any, first: int, last: int, found: Any
) -> None:
    """The highest node of a run, and the maxima that may be higher: how many, and after which node.

    A slope that rounding may have turned counts as both. What counts twice is not for here: the end
    of a run in a rise, at a bound of T or where the sign pattern is given up; and a maximum that
    may hide beside a minimum (see `relaxometry.peaks`).
    """
    for lane in range(LANES):
        found[lane] = _NONE
        found[_PEAKS + lane] = _ZERO
    end = last - 1
    for node in range(first, last, FOUR):
        a, b = scores[node], scores[min(node + 1, end)]
        c, d = scores[min(node + 2, end)], scores[min(node + 3, end)]
        for lane in range(LANES):
            found[lane] = max(found[lane], max(max(a[lane], b[lane]), max(c[lane], d[lane])))
    for node in range(first, last - 1):
        here, there = scores[node], scores[node + 1]
        number, more = _A_PEAK + np.float32(node), slack[node] + rounding
        allowed = cubic_slack[node] + _FOUR * rounding
        for lane in range(LANES):
            up, down = here[SLOPE + lane], there[SLOPE + lane]
            high = max(here[lane], there[lane]) + more - found[lane]
            # One comparison of one number: several, joined, are not made into vectors.
            peak = min(min(up + rounding, rounding - down), high) >= _ZERO
            found[_PEAKS + lane] += number if peak else _ZERO
            # The slope of the cubic is a·t² + b·t + up.
            fall, way = _SIX * (here[lane] - there[lane]), _ONE if up > _ZERO else -_ONE
            a, b = (fall + _THREE * (up + down)) * way, (_TWO * down + _FOUR * up + fall) * way
            dips = b * b - _FOUR * a * (up * way - allowed)
            hides = min(min(b, _TWO * a - b), min(min(up * down, dips), high)) > _ZERO
            found[_PEAKS + lane] += _TWO * _A_PEAK if hides else _ZERO
    here, there = scores[first], scores[end]
    for lane in range(LANES):
        low = min(rounding - here[SLOPE + lane], here[lane] + rounding - found[lane])
        far = min(rounding + there[SLOPE + lane], there[lane] + rounding - found[lane])
        found[_PEAKS + lane] += _TWO * _A_PEAK if max(low, far) >= _ZERO else _ZERO


@exact
def rivals(slack: float, rounding: float, room: Room, status: Any) -> int:
    """Maxima that may be the highest: whose they are, in which run, after which node; how many."""
    found, constant, best = room.found, room.constant, room.seen
    for lane in range(LANES):
        best[lane] = _ZERO
    for run in range(found.shape[0]):
        for lane in range(LANES):
            top = max(found[run, lane], _ZERO)
            best[lane] = max(best[lane], top * top + constant[run, lane])
    number = 0
    for run in range(found.shape[0]):
        one = found[run]
        for lane in range(LANES):
            reach = max(one[lane], _ZERO) + slack
            if reach * reach + constant[run, lane] < best[lane] - 4.0 * rounding:
                continue
            node = one[_PEAKS + lane] - _A_PEAK
            if node < _ZERO or node >= _A_PEAK:  # none, or several
                status[lane] = ELSEWHERE
            elif status[lane] == _OK:
                room.lanes[number] = lane
                room.runs[number] = run
                room.nodes[number] = int(node)
                number += 1
    return number


@exact
def shares_about(of_y: Any, signs: Any, number: int, room: Room) -> None:
    """Coefficients of the shares about a node next to their maxima, and where these begin."""
    lanes, runs, nodes, middle, u = room.lanes, room.runs, room.nodes, room.middle, room.u
    y, row, c = room.eights, room.row, room.c
    for k in range(number):
        lane, run = lanes[k], runs[k]
        # From the odd one of the two nodes: see `relaxometry.peaks`.
        middle[k] = u[k] = 0.5 if nodes[k] & _FIRST_BIT else -0.5
        node = nodes[k] = nodes[k] | _FIRST_BIT
        for d in range(WIDTH):
            row[d] = 0.0
        for eight in range(y.shape[0]):
            v, s, t = y[eight], signs[run, eight], of_y[node, eight]
            y0, y1, y2, y3 = v[0, lane], v[1, lane], v[2, lane], v[3, lane]
            y4, y5, y6, y7 = v[4, lane], v[5, lane], v[6, lane], v[7, lane]
            y0, y1, y2, y3 = s[0] * y0, s[1] * y1, s[2] * y2, s[3] * y3
            y4, y5, y6, y7 = s[4] * y4, s[5] * y5, s[6] * y6, s[7] * y7
            t0, t1, t2, t3, t4, t5, t6, t7 = t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7]
            for d in range(WIDTH):
                row[d] += ((y0 * t0[d] + y1 * t1[d]) + (y2 * t2[d] + y3 * t3[d])) + (
                    (y4 * t4[d] + y5 * t5[d]) + (y6 * t6[d] + y7 * t7[d])
                )
        for d in range(COEFFICIENTS + 1):
            c[d, k] = row[d]


@exact
def polish(number: int, h: float, room: Room) -> None:
    """Newton's steps to the maximum of each share: where, how far the last was, how high."""
    c, u, moved, bend, top = room.c, room.u, room.moved, room.bend, room.top
    for k in range(number):
        moved[k] = 1.0
    for _ in range(_STEPS):
        for k in range(number):
            first = (COEFFICIENTS - 1) * c[COEFFICIENTS - 1, k]
            second = 0.0
            for j in range(COEFFICIENTS - 2):
                d = COEFFICIENTS - 2 - j
                second = second * u[k] + first
                first = first * u[k] + d * c[d, k]
            # One that has arrived stays, however long its neighbours take.
            step = first / second if moved[k] > _CONVERGED else 0.0
            moved[k] = abs(step) * h
            bend[k] = second
            u[k] = min(max(u[k] - step, -1.0), 1.0)
        worst = 0.0
        for k in range(number):
            worst = max(worst, moved[k])
        if worst <= _CONVERGED:
            break
    for k in range(number):
        top[k] = c[COEFFICIENTS - 1, k]
    for j in range(COEFFICIENTS - 1):
        d = COEFFICIENTS - 2 - j
        for k in range(number):
            top[k] = top[k] * u[k] + c[d, k]


@exact
def choose(number: int, room: Room, status: Any) -> None:
    """The highest F of each curve, and which it is; curves with one gone astray go elsewhere."""
    lanes, middle, u, moved, bend = room.lanes, room.middle, room.u, room.moved, room.bend
    top, constant, best, chosen = room.top, room.c[COEFFICIENTS], room.best, room.chosen
    for lane in range(LANES):
        best[lane] = 0.0
        chosen[lane] = 0
    for k in range(number):
        lane = lanes[k]
        found = moved[k] <= _CONVERGED and bend[k] < 0.0 and top[k] > FAINT
        if not (found and abs(u[k] - middle[k]) <= 0.5 + BESIDE):
            status[lane] = ELSEWHERE
        F = top[k] * top[k] + constant[k] * constant[k]
        if best[lane] < F:
            best[lane] = F
            chosen[lane] = k


@exact
def tables_at(of_u: Any, room: Room) -> None:
    """Tables at the maximum chosen for each curve."""
    nodes, u, chosen, row, tables = room.nodes, room.u, room.chosen, room.row, room.tables
    for lane in range(LANES):
        k = chosen[lane]
        t, x = of_u[nodes[k]], u[k]
        x2 = x * x
        x4 = x2 * x2
        x8 = x4 * x4
        t0, t1, t2, t3, t4, t5 = t[0], t[1], t[2], t[3], t[4], t[5]
        t6, t7, t8, t9, t10, t11 = t[6], t[7], t[8], t[9], t[10], t[11]
        for j in range(WIDTH):
            row[j] = (
                ((t0[j] + x * t1[j]) + x2 * (t2[j] + x * t3[j]))
                + x4 * ((t4[j] + x * t5[j]) + x2 * (t6[j] + x * t7[j]))
                + x8 * ((t8[j] + x * t9[j]) + x2 * (t10[j] + x * t11[j]))
            )
        for j in range(WIDTH):
            tables[j, lane] = row[j]


@exact
def estimate(
    abreast: Any,
    ratio: Any,
    exact_rss: float,
    no_spread: float,
    free: int,
    start: int,
    room: Room,
    result: Any,
) -> None:
    """Results for LANES curves, as `Branch.covariance` and `Solver._finish` have them."""
    at = slice(start, start + LANES)
    T, rss, rsquared, status = result[0][at], result[3][at], result[4][at], result[5][at]
    amplitudes, covariance = result[1], result[2]
    nodes, u, top, constant = room.nodes, room.u, room.top, room.c[COEFFICIENTS]
    chosen, best, tables = room.chosen, room.best, room.tables
    length, spread, a, drift, var = room.length, room.spread, room.a, room.drift, room.var
    p, order, h = abreast.p, abreast.order, abreast.h
    pull, bend = p * p, 2 * p * p
    norm, norm_slope = bend + 1, bend + 1 + p
    for lane in range(LANES):
        k = chosen[lane]
        share, left, scale = abreast.sign * top[k], 1.0 - best[lane], length[lane]
        T[lane] = np.exp(abreast.log_T[nodes[k]] + h * u[k])
        rss[lane] = left * scale * scale
        told = spread[lane] > no_spread * scale * scale
        rsquared[lane] = 1.0 - rss[lane] / spread[lane] if told else np.nan
        status[lane] = status[lane] if left >= exact_rss else ELSEWHERE
        # The last column is the moving one.
        a[p - 1, lane] = tables[p * p - 1, lane] * share
        if p > 1:
            a[0, lane] = tables[0, lane] * constant[k] + tables[1, lane] * share
        var[lane] = left / (free * share * share * tables[bend, lane])
    for i in range(p):
        column, moves = amplitudes[order[i]][at], drift[i]
        for lane in range(LANES):
            moves[lane] = tables[norm_slope + i, lane] * a[i, lane]
        for j in range(p):
            for lane in range(LANES):
                moves[lane] += tables[pull + i * p + j, lane] * a[j, lane]
        for lane in range(LANES):
            unit = np.exp(-tables[norm + i, lane]) * length[lane]
            column[lane] = a[i, lane] * unit
            moves[lane] *= unit
            tables[norm + i, lane] = unit
    own = covariance[0, 0][at]
    for lane in range(LANES):
        own[lane] = var[lane] * (T[lane] * h) * (T[lane] * h)
    for i in range(p):
        one = 1 + order[i]
        cross, again = covariance[0, one][at], covariance[one, 0][at]
        for lane in range(LANES):
            cross[lane] = -var[lane] * drift[i, lane] * T[lane] * h
            again[lane] = cross[lane]
        for j in range(i, p):
            other = 1 + order[j]
            cross, again = covariance[one, other][at], covariance[other, one][at]
            for lane in range(LANES):
                alone = tables[i * p + p - 1, lane] * tables[j * p + p - 1, lane]
                if j == 0 and p > 1:
                    alone += tables[0, lane] * tables[0, lane]
                alone *= (1.0 - best[lane]) / free * tables[norm + i, lane] * tables[norm + j, lane]
                cross[lane] = alone + var[lane] * drift[i, lane] * drift[j, lane]
                again[lane] = cross[lane]
    for lane in range(LANES):
        first = amplitudes[0, start + lane]
        allowed = first > 0.0
        if ratio[0] < ratio[1]:
            second = amplitudes[1, start + lane]
            allowed = allowed and second > ratio[0] * first and second <= ratio[1] * first
        if not allowed:
            status[lane] = ELSEWHERE


@exact
def fit(
    curves: Any,
    weights: Any,
    abreast: Any,
    ratio: Any,
    exact_rss: float,
    no_spread: float,
    room: Room,
    result: Any,
) -> None:
    """Fit curves (V, n) by tables of `compiled.abreast`; less than LANES at the end are left alone.

    Results as in `Solution`, curves last; the status says which are left to others.
    """
    status = result[5]
    values, slopes, still = abreast.values, abreast.slopes, abreast.still
    slack, cubic_slack, rounding = abreast.slack, abreast.cubic_slack, abreast.rounding
    scores, share_of_still = room.scores, room.var
    n = curves.shape[1]
    for start in range(0, curves.shape[0] - LANES + 1, LANES):
        at = slice(start, start + LANES)
        load(curves[at], weights, room, status[at])
        score(room.single, values, slopes, scores)
        share(room.y, still, share_of_still)
        over = 0
        for run in range(abreast.patterns.size):
            while over < abreast.patterns[run]:
                turn(room.single, values, slopes, over, abreast.lowest[run], scores)
                for lane in range(LANES):
                    share_of_still[lane] -= 2.0 * still[over] * room.y[over, lane]
                over += 1
            for lane in range(LANES):
                room.constant[run, lane] = share_of_still[lane] * share_of_still[lane]
            first, last = abreast.firsts[run], abreast.lasts[run]
            peaks(scores, slack, cubic_slack, rounding, first, last, room.found[run])
        number = rivals(abreast.widest, rounding, room, status[at])
        shares_about(abreast.of_y, abreast.signs, number, room)
        polish(number, abreast.h, room)
        choose(number, room, status[at])
        tables_at(abreast.of_u, room)
        estimate(abreast, ratio, exact_rss, no_spread, n - 1 - abreast.p, start, room, result)
