"""How far curves reach into the span of a basis A(T), and where over log T they reach furthest.

Arrays lie component first, curve last: (n, V) for V curves of n points, so that every step runs
along memory whatever n is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .tables import DEGREE, Array, Index, Tables, orthonormal

MAX_STEPS = 60
STEP = 1e-8  # in log T; Newton is quadratic, so the next step would be its square
NOTHING = 1e-24  # share of |y|² that rounding alone may leave in the part that depends on T
# Products of up to m·n·k = 2^18 are one thread's work for OpenBLAS. Larger ones it would spread
# over threads of its own, which then wait for each other and for ours: ten times slower, measured.
_ONE_THREAD = 1 << 18
NEAR = 0.25  # share of a slope that the cubic may be wrong by
_CACHE = 1 << 18  # scores worked on at once: they stay in a core's cache


@dataclass(slots=True)
class Maxima:
    """Local maxima of F found for some curves (rows): one entry per candidate, (P,) each.

    `c` (p, P) is Qᵀy, and `tables` (…, P) what :meth:`Branch.covariance` needs. `seen` (V,) is the
    highest F of each curve at any node: more than its maxima only where a sign pattern was given up
    in the middle of a rise.
    """

    branch: Branch
    row: Index
    pattern: Index
    node: Index
    u: Array
    F: Array
    c: Array
    amplitudes: Array
    tables: Array
    converged: NDArray[np.bool_]
    seen: Array


class Branch(Tables):
    """The search for the maxima of F = |Qᵀy|² over log T, and what follows from them."""

    def maxima(self, y: Array, weights: Array | None = None, floor: Array | None = None) -> Maxima:
        """All local maxima of F over log T that may be the highest, polished.

        Parameters
        ----------
        y : ndarray (n, V)
            Curves of unit length.
        weights : ndarray (J, V), optional
            Of each curve's b.
        floor : ndarray (V,), optional
            Maxima that cannot exceed it are left out; by default, those that cannot exceed the
            highest node.
        """
        lifted = self.family.lift(y, weights)
        still = self.signs @ (self.still[:, None] * y) if self.fixed else None
        step = max(_CACHE // len(self.column_node), 16)
        found: list[tuple[Index, Index, Array, Array]] = []
        seen = np.zeros(y.shape[1])
        # Made once: fresh memory costs more than what is done with it.
        room = np.empty((4, len(self.column_node), min(step, y.shape[1])))
        for start in range(0, max(y.shape[1], 1), step):
            rows = slice(start, start + step)
            column, row, u, bracket, seen[rows] = self._peaks(
                lifted[:, rows],
                None if still is None else still[:, rows] ** 2,
                None if floor is None else floor[rows],
                room,
            )
            found.append((column, row + start, u, bracket))
        column, row, u, bracket = (
            np.concatenate(parts, axis=-1) for parts in zip(*found, strict=True)
        )
        found_at = self.column_node[column], self.column_pattern[column]
        return self._polished(y, weights, row, *found_at, u, bracket, seen)

    def climb(
        self, y: Array, weights: Array | None, row: Index, pattern: Index, T: Array
    ) -> Maxima:
        """The maxima of F uphill from given places, one for each; as :meth:`maxima` otherwise."""
        position = (np.log(T) - self.log_T[0]) / self.h
        node = np.clip(np.rint(position), 0, len(self.log_T) - 1).astype(np.intp)
        u = np.clip(position - node, -1.0, 1.0)
        return self._polished(y, weights, row, node, pattern, u, None, np.zeros(y.shape[1]))

    def _polished(
        self,
        y: Array,
        weights: Array | None,
        row: Index,
        node: Index,
        pattern: Index,
        u: Array,
        bracket: Array | None,
        seen: Array,
    ) -> Maxima:
        """The maxima in their brackets (2, P), or uphill from u."""
        order = np.argsort(node, kind="stable")
        row, node, pattern, u = row[order], node[order], pattern[order], u[order]
        edges = np.searchsorted(node, np.arange(len(self.log_T) + 1))
        lifted = self.family.lift(y, weights)[:, row]
        if len(self.signs) > 1:
            lifted *= np.tile(self.signs, len(lifted) // len(y))[pattern].T
        c = _by_node(self.of_y, lifted, edges)
        c = c.reshape(self.p - self.fixed, DEGREE + 1, len(row))
        if bracket is None:
            uphill = self._slope(c, u)[0] > 0
            low = np.where(uphill, u, np.where(node == 0, 0.0, -1.0))
            high = np.where(uphill, np.where(node == len(self.log_T) - 1, 0.0, 1.0), u)
        else:
            low, high = bracket[:, order]
        u, converged = self._polish(c, u, low, high)
        moving = np.stack([_horner(one, u) for one in c])
        F = (moving * moving).sum(axis=0)
        if self.sign:
            F = np.where(moving[0] * self.sign > 0, F, 0)
        F[F < NOTHING] = 0
        if self.fixed:
            c0 = np.einsum("np,np->p", self.still[:, None] * self.signs[pattern].T, y[:, row])
            moving = np.concatenate([c0[None], moving])
            F = np.where(F > 0, F + c0 * c0, 0)
        tables = self._tables(u, edges, None if weights is None else weights[:, row])
        return Maxima(
            branch=self,
            row=row,
            pattern=pattern,
            node=node,
            u=u,
            F=F,
            c=moving,
            amplitudes=self._amplitudes(moving, tables),
            tables=tables,
            converged=converged,
            seen=seen,
        )

    def _peaks(
        self, lifted: Array, still: Array | None, floor: Array | None, room: Array
    ) -> tuple[Index, Index, Array, Array, Array]:
        """The maxima between nodes that may be the highest.

        A maximum lies where the slope at one node is upwards and at the next is not.

        Returns
        -------
        column, row : ndarray (P,)
            The nearer node, and the curve.
        u : ndarray (P,)
            Where it is, about, as seen from that node.
        bracket : ndarray (2, P)
            Between what it is for certain.
        seen : ndarray (V,)
        """
        height, slope, other, more = room[:, :, : lifted.shape[1]]
        _product(self.columns[0, 0], lifted, height)
        _product(self.columns[1, 0], lifted, slope)
        score = height
        if self.by_share:
            if floor is not None:
                floor = np.sqrt(np.maximum(floor - (0 if still is None else still[0]), 0))
        else:
            if self.sign:
                score = np.maximum(height, 0, out=other)
            else:  # half the slope of F
                slope *= height
            score *= score
            for value, change in zip(self.columns[0, 1:], self.columns[1, 1:], strict=True):
                _product(value, lifted, other)
                _product(change, lifted, more)
                more *= other
                slope += more
                other *= other
                score += other
            if still is not None:
                for k, first, last in self.runs:
                    score[first:last] += still[k]
        seen = score.max(axis=0, initial=0)
        least = seen if floor is None else floor
        rises = slope > 0
        rises[self.empty] = self.empty_rises[:, None]
        near = score >= least - self.column_slack.max()
        peak = rises[:-1] > rises[1:]
        if not self.sign:
            peak |= _hidden(score, slope)
        peak &= near[:-1] | near[1:]
        where = np.flatnonzero(peak)
        V = lifted.shape[1]
        column = where // V
        row = where - column * V
        before, after = score[column, row], score[column + 1, row]
        keep = np.maximum(before, after) + self.column_slack[column] >= least[row]
        keep &= (self.column_node[column] >= 0) | (self.column_node[column + 1] >= 0)
        column, row = column[keep], row[keep]
        # With one column the maxima of F are those of c.
        before, after = height[column, row], height[column + 1, row]
        up, down = slope[column, row], slope[column + 1, row]
        if not self.sign:
            up, down = 2 * up, 2 * down
        # The cubic through both values and slopes: Newton starts next to the top.
        a, b = _cubic(before, after, up, down)
        with np.errstate(divide="ignore", invalid="ignore"):
            t = 2 * up / (np.sqrt(np.maximum(b * b - 4 * a * up, 0)) - b)
            turn = -b / (2 * a)
        t = np.where((t >= 0) & (t <= 1), t, 0.5)
        # At a bound of T one of the two columns is empty, and there is nothing to polish.
        first, last = self.column_node[column] < 0, self.column_node[column + 1] < 0
        right = ((t > 0.5) & ~last) | first
        # Of a hidden pair the maximum is the one before the turn if both nodes rise, else after it.
        bracket = np.array([np.where((up < 0) & (down < 0), turn, 0.0), np.ones(len(t))])
        bracket[1] = np.where((up > 0) & (down > 0), turn, 1.0)
        bracket -= right
        bracket[:, first | last] = 0
        u = np.where(first | last, 0.0, np.where(right, t - 1, t))
        return column + right, row, u, bracket, seen * (not self.by_share)

    def _polish(
        self, c: Array, u: Array, low: Array, high: Array
    ) -> tuple[Array, NDArray[np.bool_]]:
        """The maximum of |c(u)|², or of the one share, within a bracket, by Newton steps."""
        result, done = u.copy(), np.zeros(len(u), dtype=bool)
        active = np.arange(len(u))
        at = u
        for _ in range(MAX_STEPS):
            if not active.size:
                break
            slope, bend = self._slope(c, at)
            low = np.where(slope > 0, at, low)
            high = np.where(slope < 0, at, high)
            with np.errstate(divide="ignore", invalid="ignore"):
                step = at - slope / bend
            inside = (bend < 0) & (step >= low) & (step <= high)
            step = np.where(inside, step, (low + high) / 2)
            step = np.where(slope == 0, at, step)
            result[active] = step
            moved = np.abs(step - at) * self.h > STEP
            done[active] = ~moved
            at = step
            # Few are left after three steps: take them along alone.
            if np.count_nonzero(moved) < 0.7 * len(at):
                active, low, high, at = active[moved], low[moved], high[moved], at[moved]
                c = c[:, :, moved]
        return result, done

    def _slope(self, c: Array, u: Array) -> tuple[Array, Array]:
        """Half the slope of F and how it bends, or those of the one share."""
        if self.sign:
            _, slope, bend = _horner_2(c[0], u)
            return slope * self.sign, bend * self.sign
        slope, bend = np.zeros(len(u)), np.zeros(len(u))
        for one in c:
            value, first, second = _horner_2(one, u)
            slope += value * first
            bend += first * first + value * second
        return slope, bend

    # --- what follows from the maximum -----------------------------------------------------------

    def _tables(self, u: Array, edges: Index, weights: Array | None) -> Array:
        """Tables at u: R̂⁻¹, Â⁺Â' (p×p each), bend (m×m), log norms and their slope (p each)."""
        powers = np.ones((DEGREE + 1, u.size))
        for d in range(DEGREE):
            np.multiply(powers[d], u, out=powers[d + 1])
        return _by_node(self.of_u, self.family.lift(powers, weights), edges)

    def _amplitudes(self, c: Array, tables: Array) -> Array:
        """Amplitudes (p, P), in the order of the basis."""
        p = self.p
        inverse = tables[: self.widths[0]].reshape(p, p, -1)
        log_norm = tables[self.widths[2] : self.widths[3]]
        a = np.empty((p, c.shape[1]))
        for i in range(p):  # R̂⁻¹ is an upper triangle
            a[i] = sum(inverse[i, j] * c[j] for j in range(i, p)) * np.exp(-log_norm[i])
        if self.mix is not None:
            return a * self.mix[:, None]
        return a[np.argsort(self.order)]

    def covariance(self, found: Maxima, chosen: Index, s2: Array, scale: Array) -> Array:
        """(JᵀJ)⁻¹·s² of (T, amplitudes), (1+p, 1+p, V), by blocks: T from dA/dT·a outside A."""
        p, m = self.p, self.p - self.fixed
        c, tables = found.c[:, chosen], found.tables[:, chosen]
        inverse, pull, bend, log_norm, norm_slope = np.split(tables, self.widths)
        inverse, pull = inverse.reshape(p, p, -1), pull.reshape(p, p, -1)
        bend = bend.reshape(m, m, -1)
        a = [sum(inverse[i, j] * c[j] for j in range(i, p)) for i in range(p)]
        moving = c[self.fixed :]
        information = sum(moving[i] * bend[i, j] * moving[j] for i in range(m) for j in range(m))
        with np.errstate(divide="ignore", invalid="ignore"):
            var_u = s2 / information
        drift = [sum(pull[i, j] * a[j] for j in range(p)) + norm_slope[i] * a[i] for i in range(p)]
        unit = [np.exp(-log_norm[i]) * scale for i in range(p)]
        dT_du = self.T(found.node[chosen], found.u[chosen]) * self.h
        result = np.empty((1 + p, 1 + p, len(chosen)))
        result[0, 0] = var_u * dT_du**2
        for i in range(p):
            result[0, 1 + i] = result[1 + i, 0] = -var_u * drift[i] * unit[i] * dT_du
            for j in range(i, p):
                fixed = sum(inverse[i, k] * inverse[j, k] for k in range(j, p)) * s2
                both = (fixed + var_u * drift[i] * drift[j]) * unit[i] * unit[j]
                result[1 + i, 1 + j] = result[1 + j, 1 + i] = both
        if self.mix is None:
            back = np.r_[0, 1 + np.argsort(self.order)]
            return result if (back == np.arange(1 + p)).all() else result[np.ix_(back, back)]
        spread = np.vstack([np.eye(1, 2), np.c_[np.zeros(len(self.mix)), self.mix]])
        mixed: Array = np.einsum("ia,jb,abv->ijv", spread, spread, result)
        return mixed

    def residual(self, y: Array, found: Maxima, chosen: Index, b: Array | None) -> Array:
        """Σ(y − Q Qᵀy)² of curves (n, V) without the cancellation of |y|² − |Qᵀy|²."""
        log_T = self.log_T[found.node[chosen]] + self.h * found.u[chosen]
        if b is None:
            columns = self.basis_at(log_T, np.ones(1))[0]
        else:
            pairs = zip(log_T, b, strict=True)
            columns = np.concatenate(
                [self.basis_at(np.array([t]), np.array([one]))[0] for t, one in pairs]
            )
        Q = orthonormal(columns[..., self.order])[0]
        turned = y.T * self.signs[found.pattern[chosen]]
        c = np.einsum("vnp,vn->vp", Q, turned)
        result: Array = ((turned - np.einsum("vnp,vp->vn", Q, c)) ** 2).sum(axis=1)
        return result


def _cubic(before: Array, after: Array, up: Array, down: Array) -> tuple[Array, Array]:
    """a, b of the slope a·t² + b·t + up of the cubic through two values and slopes, t = 0 … 1."""
    fall = 6 * (before - after)
    return fall + 3 * (up + down), -fall - 4 * up - 2 * down


def _hidden(score: Array, slope: Array) -> NDArray[np.bool_]:
    """Where a maximum may hide beside a minimum between two nodes that rise, or fall, both.

    There the slope of the cubic through them comes near to 0, or crosses it twice.
    """
    up, down = 2 * slope[:-1], 2 * slope[1:]
    a, b = _cubic(score[:-1], score[1:], up, down)
    way = np.sign(up)
    inside = (up * down > 0) & (a * way > 0) & (b * way < 0) & (np.abs(b) < 2 * np.abs(a))
    with np.errstate(divide="ignore", invalid="ignore"):
        least = way * (up - b * b / (4 * a))
    found: NDArray[np.bool_] = inside & (least < NEAR * np.minimum(np.abs(up), np.abs(down)))
    return found


def _product(left: Array, right: Array, out: Array) -> None:
    """Left @ right into `out`, in pieces of one thread's work."""
    step = max(_ONE_THREAD // left.size, 16)
    for start in range(0, right.shape[1], step):
        at = slice(start, start + step)
        np.matmul(left, right[:, at], out=out[:, at])


def _by_node(tables: Array, right: Array, edges: Index) -> Array:
    """tables[k] @ right[:, of node k], for columns sorted by node."""
    result = np.empty((tables.shape[1], right.shape[1]))
    step = max(_ONE_THREAD // tables[0].size, 16)
    for k in np.flatnonzero(np.diff(edges)):
        for start in range(edges[k], edges[k + 1], step):
            at = slice(start, min(start + step, edges[k + 1]))
            np.matmul(tables[k], right[:, at], out=result[:, at])
    return result


def _horner(coefficients: Array, u: Array) -> Array:
    """A polynomial with coefficients (degree+1, V) at u (V,)."""
    value: Array = coefficients[-1] * u
    for one in coefficients[-2:0:-1]:
        value += one
        value *= u
    value += coefficients[0]
    return value


def _horner_2(coefficients: Array, u: Array) -> tuple[Array, Array, Array]:
    """A polynomial and its first two derivatives."""
    value = coefficients[-1].copy()
    first, half_second = np.zeros_like(u), np.zeros_like(u)
    for one in coefficients[-2::-1]:
        half_second *= u
        half_second += first
        first *= u
        first += value
        value *= u
        value += one
    half_second *= 2
    return value, first, half_second
