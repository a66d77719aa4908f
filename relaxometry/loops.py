"""The search of `relaxometry.projection` again, curve by curve, compiled by numba.

The tables, the maxima that are followed and the rules by which one is chosen are the same; only the
order of the loops differs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .kernels import (
    COEFFICIENTS,
    coefficients,
    dot,
    exact,
    least_change,
    one_less,
    product,
    quick,
    score,
    slope_at,
    top_of_share,
    top_of_square,
    top_of_squares,
)
from .maps import Status
from .projection import EQUAL, MAX_STEPS, NEAR, NOTHING, ROUNDED, SILENT, STEP

_OK, _AT_BOUND, _AT_EDGE = int(Status.OK), int(Status.AT_BOUND), int(Status.AT_EDGE)
_NOT_CONVERGED = int(Status.NOT_CONVERGED)
ELSEWHERE = 255  #: status of curves left to the other engine
MOST = 512  #: maxima followed for one curve; more than there are columns between two patterns


@exact
def prepare(curves: Any, weights: Any, y: Any, length: Any, spread: Any, elsewhere: Any) -> None:
    """Curves (V, n) × √weights of unit length, those lengths, and Σ w(S − mean S)².

    `elsewhere` (V,): nothing, not finite, or too large or small to be squared.
    """
    V, n = curves.shape
    total = 0.0
    for i in range(n):
        total += weights[i]
    for v in range(V):
        square = mean = off = 0.0
        for i in range(n):
            value = float(curves[v, i])
            square += weights[i] * value * value
            mean += weights[i] * value
        mean /= total
        for i in range(n):
            value = float(curves[v, i]) - mean
            off += weights[i] * value * value
        elsewhere[v] = not (square > 1e-200 and square < 1e200)
        length[v] = np.sqrt(square)
        spread[v] = off
        for i in range(n):
            y[v, i] = float(curves[v, i]) * np.sqrt(weights[i]) / length[v]


@quick
def follow(
    b: Any,
    branch: int,
    rows: Any,
    y: Any,
    members: Any,
    floors: bool,
    climbs: bool,
    ratio: Any,
    best: Any,
    lifted: Any,
    height: Any,
    constants: Any,
    tops: Any,
    found: Any,
    brackets: Any,
    c: Any,
    shares: Any,
    amplitudes: Any,
    tables: Any,
    powers: Any,
    turned: Any,
) -> None:
    """Follow the maxima of a branch for some curves (rows); keep the best that is allowed.

    Parameters
    ----------
    b, branch
        Tables, and their number: 0 is the free branch.
    rows, y, members
        Which of the curves (V, n) of unit length; weights (V, J) of their b (one row: of all).
    floors, climbs
        Whether to look only for what exceeds the best so far; or uphill from it (`Branch.climb`).
    ratio
        The cone of amplitudes; no bound unless ratio[0] < ratio[1].
    best
        A `State`, changed in place. The others: of :func:`room`.
    """
    at_nodes, columns, runs, barred = b.at_nodes, b.columns, b.runs, b.barred
    slack, cubic_slack, rises = b.column_slack, b.cubic_slack, b.rises
    of_y, of_u, still, order, mix = b.of_y, b.of_u, b.still, b.order, b.mix
    log_T, h, widest, fixed, sign = b.log_T, b.h, b.widest, b.fixed, b.sign
    by_share, on_edge = b.by_share, b.on_edge
    n, p, J = y.shape[1], order.size, members.shape[1]
    m = p - fixed
    norms, one_share = 2 * p * p + m * m, sign != 0
    for row in range(rows.size):
        v = rows[row]
        at = v if members.shape[0] > 1 else 0
        for k in range(J):
            for i in range(n):
                lifted[k * n + i] = members[at, k] * y[v, i]
        number = 0
        if climbs:
            position = (np.log(best.T[v]) - log_T[0]) / h
            node = min(max(int(np.rint(position)), 0), log_T.size - 1)
            u = min(max(position - node, -1.0), 1.0)
            pattern = best.pattern[v]
            coefficients(of_y, lifted, turned, n, J, m, node, pattern, c)
            slope, bend = slope_at(sign, m, c, u)
            found[0, 0] = node
            found[0, 1] = pattern
            found[0, 2] = False
            brackets[0, 0] = u
            brackets[0, 1] = u if slope > 0.0 else (-1.0 if node > 0 else 0.0)
            brackets[0, 2] = (1.0 if node < log_T.size - 1 else 0.0) if slope > 0.0 else u
            number = 1
        else:
            # Scores of all columns, and the highest of every run: see `peaks`. Pattern k
            # turns one more point over than pattern k − 1, so that it costs one row, not all.
            for k in range(m):
                product(at_nodes[k], lifted, height[k, 0])
            share = 0.0
            if fixed:
                for i in range(n):
                    share += still[i] * y[v, i]
            least = best.F[v]
            seen = 0.0
            over = 0
            for r in range(runs.shape[0]):
                # Row r is pattern runs[r, 0]: the row before, less twice the point turned over.
                source = max(r - 1, 0)
                if r > 0 and over == runs[r, 0]:
                    for k in range(m):
                        for j in range(barred.shape[1]):
                            height[k, r, j] = height[k, source, j]
                while over < runs[r, 0]:
                    if fixed:
                        share -= 2.0 * still[over] * y[v, over]
                    for i in range(over, J * n, n):
                        for k in range(m):
                            one_less(
                                height[k, source], at_nodes[k, i], 2.0 * lifted[i], height[k, r]
                            )
                        source = r
                    over += 1
                constants[r] = share * share
                if by_share:
                    top = top_of_share(height[0, r], barred[r])
                elif one_share:
                    top = constants[r] + top_of_square(height[0, r], barred[r])
                else:
                    top = top_of_squares(height[0, r], height[1, r], barred[r])
                tops[r] = top
                seen = max(seen, top)
            if by_share and floors:
                least = np.sqrt(max(least - constants[0], 0.0))
            if not floors:
                least = seen
                if branch == 0 and not by_share:
                    best.top[v] = max(best.top[v], seen)
            cut = least - widest
            for r in range(runs.shape[0]):
                if tops[r] < cut:
                    continue
                known = -2
                before = 0.0
                up = 0.0
                constant = constants[r]
                first = runs[r, 1]
                last = runs[r, 2]
                skip = runs[r, 3] - first
                right_score = -4.0
                for j in range(first - 1, last):
                    left_is = j >= first
                    right_is = j + 1 < last
                    left_score = right_score
                    right_score = -4.0
                    if right_is:
                        right_score = score(height, r, j + 1, one_share, by_share, constant)
                    if max(left_score, right_score) < cut:
                        continue
                    if max(left_score, right_score) + slack[j + skip] < least:
                        continue
                    after = 0.0
                    down = 0.0
                    for side in range(2):
                        if (side == 0 and (known == j or not left_is)) or (
                            side == 1 and not right_is
                        ):
                            continue
                        column = j + side + skip
                        slope = dot(columns[1, 0, column], lifted)
                        if not one_share:
                            slope *= 2.0 * dot(columns[0, 0, column], lifted)
                            for k in range(1, m):
                                value = dot(columns[0, k, column], lifted)
                                slope += 2.0 * value * dot(columns[1, k, column], lifted)
                        level = height[0, r, j + side]
                        if not one_share:
                            level = right_score if side == 1 else left_score
                        if side == 0:
                            before = level
                            up = slope
                        else:
                            after = level
                            down = slope
                    # At the ends where it is flat: see `peaks._hold_ends`.
                    held = not right_is and left_score >= least - EQUAL and abs(up) < EQUAL
                    rising = up > 0.0 or held if left_is else rises[j + skip]
                    held = not left_is and right_score >= least - EQUAL and abs(down) < EQUAL
                    going_on = down > 0.0 and not held if right_is else rises[j + 1 + skip]
                    fall = 6.0 * (before - after)
                    a = fall + 3.0 * (up + down)
                    e = -fall - 4.0 * up - 2.0 * down
                    low = 0.0
                    far = 1.0
                    wanted = rising and not going_on
                    doubted = False
                    if not wanted and up * down > 0.0:
                        way = 1.0 if up > 0.0 else -1.0
                        turns = a * way > 0.0 and e * way < 0.0 and abs(e) < 2.0 * abs(a)
                        dip = way * (up - e * e / (4.0 * a)) if turns else 0.0
                        allowed = NEAR * min(abs(up), abs(down))
                        if turns and dip < (cubic_slack[j + skip] if one_share else allowed):
                            wanted = doubted = True
                            if up > 0.0:
                                far = -e / (2.0 * a)
                            else:
                                low = -e / (2.0 * a)
                    if wanted and number < MOST:
                        node = j
                        u = 0.0
                        if not left_is or not right_is:
                            node = j if left_is else j + 1
                            low = 0.0
                            far = 0.0
                        else:
                            root = np.sqrt(max(e * e - 4.0 * a * up, 0.0)) - e
                            u = 0.5
                            if abs(2.0 * up) < abs(root) and up * root > 0.0:
                                u = 2.0 * up / root
                            if j % 2 == 0:  # from the odd one: see `relaxometry.peaks`
                                node = j + 1
                                u -= 1.0
                                low -= 1.0
                                far -= 1.0
                        found[number, 0] = node
                        found[number, 1] = runs[r, 0]
                        found[number, 2] = doubted
                        brackets[number, 0] = u
                        brackets[number, 1] = low
                        brackets[number, 2] = far
                        number += 1
                    known = j + 1
                    before = after
                    up = down
        for candidate in range(number):
            node = found[candidate, 0]
            pattern = found[candidate, 1]
            coefficients(of_y, lifted, turned, n, J, m, node, pattern, c)
            u = brackets[candidate, 0]
            low = brackets[candidate, 1]
            far = brackets[candidate, 2]
            converged = False
            for _ in range(MAX_STEPS):
                slope, bend = slope_at(sign, m, c, u)
                if slope > 0.0:
                    low = u
                elif slope < 0.0:
                    far = u
                else:
                    converged = True
                    break
                step = u - slope / bend if bend < 0.0 else far + 1.0
                if step < low or step > far:
                    step = 0.5 * (low + far)
                moved = abs(step - u) * h
                u = step
                if moved <= STEP:
                    converged = True
                    break
            F = 0.0
            for k in range(m):
                value = c[k, COEFFICIENTS - 1]
                for d in range(COEFFICIENTS - 2, -1, -1):
                    value = value * u + c[k, d]
                shares[fixed + k] = value
                F += value * value
            if found[candidate, 2] and least_change(m, c, F) <= EQUAL:
                continue
            if (one_share and shares[fixed] * sign <= 0.0) or F < NOTHING:
                continue
            if fixed:
                share = 0.0
                for i in range(n):
                    share += -still[i] * y[v, i] if i < pattern else still[i] * y[v, i]
                shares[0] = share
                F += share * share
            if branch == 0 and not floors and not climbs:
                best.top[v] = max(best.top[v], F)
            # Of equals the first, whatever rounding makes of them.
            if not best.F[v] + (0.0 if best.branch[v] == branch else ROUNDED) < F:
                continue
            for k in range(J):
                power = members[at, k]
                for d in range(COEFFICIENTS):
                    powers[k * COEFFICIENTS + d] = power
                    power *= u
            product(of_u[node], powers, tables)
            for i in range(p):
                total = 0.0
                for j in range(i, p):
                    total += tables[i * p + j] * shares[j]
                total *= np.exp(-tables[norms + i])
                if on_edge:
                    for k in range(amplitudes.size):
                        amplitudes[k] = total * mix[k]
                else:
                    amplitudes[order[i]] = total
            if branch == 0:
                if not amplitudes[0] > 0.0:
                    continue
                if ratio[0] < ratio[1] and not (
                    amplitudes[1] > ratio[0] * amplitudes[0]
                    and amplitudes[1] <= ratio[1] * amplitudes[0]
                ):
                    continue
            best.F[v] = F
            best.u[v] = u
            best.T[v] = np.exp(log_T[node] + h * u)
            best.branch[v] = branch
            best.node[v] = node
            best.pattern[v] = pattern
            best.converged[v] = converged
            for i in range(m + fixed):
                best.shares[v, i] = shares[i]
            for i in range(amplitudes.size):
                best.amplitudes[v, i] = amplitudes[i]
            for i in range(of_u.shape[2]):
                best.tables[v, i] = tables[i]


@exact
def finish(
    b: Any,
    branch: int,
    best: Any,
    length: Any,
    spread: Any,
    points: int,
    exact_rss: float,
    no_spread: float,
    scratch: Any,
    T: Any,
    amplitudes: Any,
    covariance: Any,
    rss: Any,
    rsquared: Any,
    status: Any,
) -> None:
    """Results of the curves whose best maximum lies on this branch; see `Solver._finish`."""
    p, last, h = b.order.size, b.log_T.size - 1, b.h
    m = p - b.fixed
    order, mix, on_edge, fixed_columns = b.order, b.mix, b.on_edge, b.fixed
    pull, bend, norms = p * p, 2 * p * p, 2 * p * p + m * m
    whole = covariance.shape[0]
    for v in range(T.size):
        if best.branch[v] != branch:
            continue
        left = 1.0 - best.F[v]
        if left < exact_rss:
            status[v] = ELSEWHERE
            continue
        scale, u, node = length[v], best.u[v], best.node[v]
        T[v] = best.T[v]
        for i in range(amplitudes.shape[0]):
            amplitudes[i, v] = best.amplitudes[v, i] * scale
        rss[v] = left * scale * scale
        told = spread[v] > no_spread * scale * scale
        rsquared[v] = 1.0 - rss[v] / spread[v] if told else np.nan
        information = 0.0
        for i in range(m):
            for j in range(m):
                both = best.shares[v, fixed_columns + i] * best.shares[v, fixed_columns + j]
                information += both * best.tables[v, bend + i * m + j]
        if information <= SILENT:
            T[v] = np.exp(b.log_T[0] if 2 * node <= last else b.log_T[last])
        if information <= SILENT or (node == 0 and u <= 0.0) or (node == last and u >= 0.0):
            status[v] = _AT_BOUND
            continue
        if not best.converged[v]:
            status[v] = _NOT_CONVERGED
            continue
        status[v] = _AT_EDGE if branch > 0 else _OK
        free = points - 1 - p
        if free <= 0:
            continue
        s2 = left / free
        # (JᵀJ)⁻¹·s²: see `Branch.covariance`.
        var_u = s2 / information
        dT = best.T[v] * h
        for i in range(p):
            scratch[0, i] = 0.0
            for j in range(i, p):
                scratch[0, i] += best.tables[v, i * p + j] * best.shares[v, j]
        for i in range(p):
            drift = best.tables[v, norms + p + i] * scratch[0, i]
            for j in range(p):
                drift += best.tables[v, pull + i * p + j] * scratch[0, j]
            scratch[1, i] = drift
            scratch[2, i] = np.exp(-best.tables[v, norms + i]) * scale
        covariance[0, 0, v] = var_u * dT * dT
        if on_edge:
            drift, unit = scratch[1, 0], scratch[2, 0]
            alone = best.tables[v, 0] * best.tables[v, 0] * s2
            block = (alone + var_u * drift * drift) * unit * unit
            for i in range(1, whole):
                covariance[0, i, v] = covariance[i, 0, v] = -var_u * drift * unit * dT * mix[i - 1]
                for j in range(1, whole):
                    covariance[i, j, v] = block * mix[i - 1] * mix[j - 1]
            continue
        for i in range(p):
            at = 1 + order[i]
            cross = -var_u * scratch[1, i] * scratch[2, i] * dT
            covariance[0, at, v] = covariance[at, 0, v] = cross
            for j in range(i, p):
                other = 1 + order[j]
                alone = 0.0
                for k in range(j, p):
                    alone += best.tables[v, i * p + k] * best.tables[v, j * p + k]
                value = alone * s2 + var_u * scratch[1, i] * scratch[1, j]
                value *= scratch[2, i] * scratch[2, j]
                covariance[at, other, v] = covariance[other, at, v] = value
