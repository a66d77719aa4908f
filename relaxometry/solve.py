"""Exact least squares for many curves at once: y ≈ A(T)·a, linear in a, with one time constant T.

For a fixed T the best amplitudes are closed-form, so the fit is a search along one line: maximise
F(T) = |Q(T)ᵀy|², where Q spans the columns of A (variable projection; Golub & Pereyra, SIAM J Numer
Anal 10:413, 1973). Q and all that the errors need are tabulated once per protocol as polynomials in
log T, so that no exponential is evaluated per curve and no start value is needed:

1. one matrix product scores every node of the table (for magnitude data: every monotone sign
   pattern at every node);
2. every node that is a local maximum, and could by the curvature of F still win, is polished by
   bracketed Newton steps on the polynomial;
3. amplitudes, RSS and the Gauss–Newton covariance follow from the tables.

Where the ratio of two amplitudes is bounded, the optimum is a local maximum of F within the bounds
or lies on an edge, where the basis collapses to one column: an edge is one more basis, solved alike.

Arrays only: nothing here knows of images or MRI.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .maps import Status

Array = NDArray[np.float64]
Basis = Callable[[Array], Array]

# Curves are worked on in chunks of this many, counted from the first: a curve's neighbours, and so
# its rounding, are the same whatever block or thread it is handed to.
CHUNK = 4096
_NODES, _MOST_NODES, _DEGREE = 48, 768, 11
_TABLE_ERROR = 1e-10
_MAX_STEPS = 60
_STEP = 1e-10  # in log T; Newton is quadratic, so the next step would be its square
_EXACT_RSS = 1e-6  # below this share of |y|², RSS is summed from residuals, not by difference


@dataclass(frozen=True, slots=True)
class Solution:
    """Least-squares minima of V curves; p amplitudes each.

    Attributes
    ----------
    T : ndarray (V,)
        Time constant at the minimum, s; at a bound, the bound.
    amplitudes : ndarray (V, p)
    covariance : ndarray (V, 1+p, 1+p)
        s²·(JᵀJ)⁻¹ of (T, amplitudes), s² = RSS/(n − number of parameters); NaN at a bound.
    rss, rsquared : ndarray (V,)
    status : ndarray of uint8 (V,)
        Codes of :class:`Status`; NaN stands in all else where nothing could be fitted.
    """

    T: Array
    amplitudes: Array
    covariance: Array
    rss: Array
    rsquared: Array
    status: NDArray[np.uint8]


class Solver:
    """Tables of one basis over the range of T, ready to fit any number of curves.

    Parameters
    ----------
    basis : callable
        T (g,) → columns (g, n, p), smooth in log T.
    bounds : (float, float)
        Range of T searched, s.
    ratio : (float, float), optional
        Range of a[1]/a[0], for p = 2; a[0] is then positive.
    magnitude : bool
        Whether the curves lost their sign: the model is negative for the first k points, k unknown.
    """

    def __init__(
        self,
        basis: Basis,
        bounds: tuple[float, float],
        ratio: tuple[float, float] | None = None,
        magnitude: bool = False,
    ) -> None:
        n = basis(np.array([bounds[0]])).shape[1]
        self._free = _Branch(1, basis, bounds)
        edges = () if ratio is None else ratio
        self._edges = [_Branch(2 + i, basis, bounds, (1.0, edge)) for i, edge in enumerate(edges)]
        self._ratio = ratio
        # signs[k] turns the first k points over.
        flips = np.arange(n + 1)[:, None] > np.arange(n) if magnitude else np.zeros((1, n), bool)
        self._signs = np.where(flips, -1.0, 1.0)

    @property
    def working_memory(self) -> int:
        """Bytes one chunk takes while it is fitted, about."""
        # Scores of every pattern at every node, their comparison masks, and one pattern's columns.
        nodes, p = len(self._free.log_T), self._free.p
        return CHUNK * nodes * (len(self._signs) * 12 + 8 * 4 * p)

    def __call__(self, curves: NDArray[np.floating]) -> Solution:
        """Fit curves (V, n), in the order of the basis' points; V of any size."""
        parts = [self._chunk(curves[i : i + CHUNK]) for i in range(0, max(len(curves), 1), CHUNK)]
        return Solution(
            *(np.concatenate([getattr(p, f) for p in parts]) for f in Solution.__slots__)
        )

    def _chunk(self, curves: NDArray[np.floating]) -> Solution:
        y = np.asarray(curves, dtype=np.float64)
        finite = np.isfinite(y).all(axis=1)
        # Scaled to unit length, so that no square over- or underflows and tolerances are relative.
        peak = np.abs(np.where(finite[:, None], y, 0)).max(axis=1, initial=0)
        signal = finite & (peak > 0)
        unit = np.where(signal[:, None], y, 0) / np.where(signal, peak, 1)[:, None]
        length = np.sqrt((unit**2).sum(axis=1))
        unit /= np.where(signal, length, 1)[:, None]
        scale = peak * length

        best = _Best(len(y), self._free.p)
        rows = np.flatnonzero(signal)
        free = self._free.maxima(unit, self._signs, rows)
        best.offer(free, self._feasible(free))
        if self._edges:
            top = np.zeros(len(y))
            np.maximum.at(top, free.row, free.F)
            rows = rows[best.F[rows] < top[rows]]  # the unbounded optimum is out of bounds
            if rows.size:
                every = self._free.maxima(unit, self._signs, rows, prune=False)
                best.offer(every, self._feasible(every))
                for edge in self._edges:
                    on_edge = edge.maxima(unit, self._signs, rows)
                    best.offer(on_edge, on_edge.F > 0)
        return self._finish(unit, scale, finite, best)

    def _feasible(self, found: _Maxima) -> NDArray[np.bool_]:
        a = found.amplitudes
        if self._ratio is None:
            return found.F > 0
        low, high = self._ratio
        return (a[:, 0] > 0) & (a[:, 1] > low * a[:, 0]) & (a[:, 1] <= high * a[:, 0])

    def _finish(
        self, unit: Array, scale: Array, finite: NDArray[np.bool_], best: _Best
    ) -> Solution:
        V, n = unit.shape
        p = self._free.p
        status = np.full(V, Status.LOW_SIGNAL, dtype=np.uint8)
        status[~finite] = Status.NON_FINITE
        T, rss = np.full(V, np.nan), np.full(V, np.nan)
        amplitudes, covariance = np.full((V, p), np.nan), np.full((V, 1 + p, 1 + p), np.nan)
        for branch in (self._free, *self._edges):
            rows = np.flatnonzero(best.branch == branch.key)
            if not rows.size:
                continue
            s = self._signs[best.pattern[rows]] * unit[rows]
            node, u = best.node[rows], best.u[rows]
            left = 1.0 - best.F[rows]
            close = np.flatnonzero(left < _EXACT_RSS)
            if close.size:
                left[close] = branch.residual(s[close], node[close], u[close])
            T[rows] = branch.T(node, u)
            amplitudes[rows] = best.amplitudes[rows] * scale[rows, None]
            rss[rows] = left * scale[rows] ** 2
            free_points = n - 1 - branch.p
            if free_points > 0:
                covariance[rows] = branch.covariance(
                    best.c[rows][:, : branch.p], node, u, left / free_points, scale[rows]
                )
            at_bound = branch.at_bound(node, u)
            state = np.where(best.converged[rows], Status.OK, Status.NOT_CONVERGED)
            state[best.converged[rows] & (branch is not self._free)] = Status.AT_EDGE
            state[at_bound] = Status.AT_BOUND
            status[rows] = state
            covariance[rows[at_bound | ~best.converged[rows]]] = np.nan
        spread = ((unit - unit.mean(axis=1, keepdims=True)) ** 2).sum(axis=1) * scale**2
        with np.errstate(divide="ignore", invalid="ignore"):
            rsquared = np.where(spread > 0, 1 - rss / spread, np.nan)
        return Solution(T, amplitudes, covariance, rss, rsquared, status)


@dataclass(slots=True)
class _Maxima:
    """Local maxima of F found for some rows (curves): one entry per candidate."""

    branch: int
    row: NDArray[np.intp]
    pattern: NDArray[np.intp]
    node: NDArray[np.intp]
    u: Array
    F: Array
    c: Array
    amplitudes: Array
    converged: NDArray[np.bool_]


class _Best:
    """The best candidate offered for each curve so far; branch 0 is none."""

    def __init__(self, V: int, p: int) -> None:
        self.F = np.zeros(V)
        self.branch, self.pattern, self.node = (np.zeros(V, dtype=np.intp) for _ in range(3))
        self.u, self.c, self.amplitudes = np.zeros(V), np.zeros((V, p)), np.zeros((V, p))
        self.converged = np.zeros(V, dtype=bool)

    def offer(self, found: _Maxima, allowed: NDArray[np.bool_]) -> None:
        chosen = np.flatnonzero(allowed & (found.F > self.F[found.row]))
        # The last write per row wins, so write in order of F.
        chosen = chosen[np.argsort(found.F[chosen], kind="stable")]
        rows = found.row[chosen]
        self.branch[rows] = found.branch
        self.c[rows, : found.c.shape[1]] = found.c[chosen]
        for name in ("F", "pattern", "node", "u", "amplitudes", "converged"):
            getattr(self, name)[rows] = getattr(found, name)[chosen]


class _Branch:
    """One basis, tabulated: at node k, everything is a polynomial in u = (log T − log T_k)/h.

    With `mix`, the columns are combined into the one column A·mix: an edge of the cone of
    amplitudes.
    """

    def __init__(
        self,
        key: int,
        basis: Basis,
        bounds: tuple[float, float],
        mix: tuple[float, float] | None = None,
    ) -> None:
        self.key = key
        self.mix = None if mix is None else np.array(mix)
        self._basis = basis
        low, high = np.log(bounds[0]), np.log(bounds[1])
        nodes = _NODES
        while True:
            self.h = (high - low) / (nodes - 1)
            self.log_T = low + self.h * np.arange(nodes)
            error = self._tabulate()
            if error <= _TABLE_ERROR or nodes >= _MOST_NODES:
                break
            nodes *= 2
        self.p = self.Q.shape[3]

    def _columns(self, log_T: Array) -> Array:
        columns = self._basis(np.exp(log_T.ravel()))
        if self.mix is not None:
            columns = (columns @ self.mix)[..., None]
        return columns.reshape(*log_T.shape, *columns.shape[1:])

    def _tabulate(self) -> float:
        """Fill the tables; return the largest error of Q between the points it was built from."""
        degree = np.arange(_DEGREE + 1)
        u = np.cos(np.pi * (degree + 0.5) / (_DEGREE + 1))
        to_powers = np.linalg.inv(u[:, None] ** degree)

        def polynomial(values: Array) -> Array:  # (nodes, samples, …) -> (nodes, degree+1, …)
            return np.einsum("du,gu...->gd...", to_powers, values)

        def at_samples(coefficients: Array) -> Array:
            return np.einsum("ud,gd...->gu...", u[:, None] ** degree, coefficients)

        def slope(coefficients: Array) -> Array:
            shape = (-1,) + (1,) * (coefficients.ndim - 2)
            risen = coefficients[:, 1:] * degree[1:].reshape(shape)
            return np.concatenate([risen, np.zeros_like(risen[:, :1])], axis=1)

        Q, triangle, norm = _orthonormal(self._columns(self.log_T[:, None] + self.h * u))
        self.Q = polynomial(Q)
        inverse = np.linalg.inv(triangle)
        unit_slope = at_samples(slope(polynomial(Q @ triangle)))
        pull = inverse @ np.swapaxes(Q, 2, 3) @ unit_slope
        Q1 = at_samples(slope(self.Q))
        Q2 = at_samples(slope(slope(self.Q)))
        outside = Q1 - Q @ (np.swapaxes(Q, 2, 3) @ Q1)
        bend = np.swapaxes(outside, 2, 3) @ outside
        log_norm = polynomial(np.log(norm))
        p = Q.shape[3]
        flat = [t.reshape(*t.shape[:2], -1) for t in map(polynomial, (inverse, pull, bend))]
        self._tables = np.concatenate([*flat, log_norm, slope(log_norm)], axis=2)
        self._widths = np.cumsum([p * p, p * p, p * p, p])
        # |F''| ≤ 2(|Q'|² + |Q''|)|y|², hence a maximum is at most h²/8 of that above a node near it.
        first = np.linalg.norm(Q1, axis=(2, 3)).max(axis=1)
        second = np.linalg.norm(Q2, axis=(2, 3)).max(axis=1)
        self._slack = (first**2 + second) / 4
        between = np.linspace(-1, 1, 7)
        exact, _, _ = _orthonormal(self._columns(self.log_T[:, None] + self.h * between))
        rebuilt = np.einsum("ud,gdnp->gunp", between[:, None] ** degree, self.Q)
        return float(np.abs(exact - rebuilt).max())

    def T(self, node: NDArray[np.intp], u: Array) -> Array:
        return np.exp(self.log_T[node] + self.h * u)

    def at_bound(self, node: NDArray[np.intp], u: Array) -> NDArray[np.bool_]:
        last = len(self.log_T) - 1
        return ((node == 0) & (u <= 0)) | ((node == last) & (u >= 0))

    def maxima(
        self, unit: Array, signs: Array, rows: NDArray[np.intp], prune: bool = True
    ) -> _Maxima:
        """All local maxima of F over log T that may be the highest (or all, unpruned), polished."""
        y = unit[rows]
        nodes, n, p = len(self.log_T), y.shape[1], self.p
        at_nodes = self.Q[:, 0].transpose(1, 0, 2).reshape(n, -1)
        score = np.empty((len(rows), len(signs), nodes))
        c = (y @ at_nodes).reshape(-1, nodes, p)
        for k in range(len(signs)):  # pattern k turns point k−1 over, on top of pattern k−1
            if k:
                c = c - 2 * y[:, k - 1, None, None] * self.Q[None, :, 0, k - 1, :]
            score[:, k] = c[..., 0] * np.maximum(c[..., 0], 0) if p == 1 else (c * c).sum(-1)
        peak = score > 0
        peak[..., 1:] &= score[..., 1:] >= score[..., :-1]
        peak[..., :-1] &= score[..., :-1] > score[..., 1:]
        if prune:
            peak &= score + self._slack >= score.max(axis=(1, 2), keepdims=True)
        index, pattern, node = np.nonzero(peak)
        order = np.argsort(node, kind="stable")
        index, pattern, node = index[order], pattern[order], node[order]
        coefficients = self._by_node(
            lambda k, at: signs[pattern[at]] * y[index[at]],
            self.Q.transpose(0, 2, 1, 3).reshape(nodes, n, -1),
            node,
        ).reshape(-1, _DEGREE + 1, p)
        u, converged = self._polish(coefficients, node)
        value = _horner(coefficients, u)
        F = value[:, 0] * np.maximum(value[:, 0], 0) if p == 1 else (value**2).sum(1)
        amplitudes = self._amplitudes(value, node, u)
        return _Maxima(self.key, rows[index], pattern, node, u, F, value, amplitudes, converged)

    def _by_node(
        self,
        left: Callable[[int, NDArray[np.intp]], Array],
        right: Array,
        node: NDArray[np.intp],
    ) -> Array:
        """Rows of left(k, rows) @ right[k] for the rows at each node k."""
        order = np.argsort(node, kind="stable")
        result = np.empty((len(node), right.shape[2]))
        edges = np.searchsorted(node[order], np.arange(len(right) + 1))
        for k in np.unique(node):
            at = order[edges[k] : edges[k + 1]]
            result[at] = left(int(k), at) @ right[k]
        return result

    def _polish(
        self, coefficients: Array, node: NDArray[np.intp]
    ) -> tuple[Array, NDArray[np.bool_]]:
        """The maximum of |c(u)|² next to each node, by Newton steps kept within a bracket."""
        last = len(self.log_T) - 1
        low = np.where(node == 0, 0.0, -1.0)
        high = np.where(node == last, 0.0, 1.0)
        u, done = np.zeros(len(node)), np.zeros(len(node), dtype=bool)
        active = np.arange(len(node))
        for _ in range(_MAX_STEPS):
            if not active.size:
                break
            at = u[active]
            c, c1, c2 = _horner_2(coefficients[active], at)
            slope = (c * c1).sum(1)
            bend = (c1 * c1 + c * c2).sum(1)
            low[active] = np.where(slope > 0, at, low[active])
            high[active] = np.where(slope < 0, at, high[active])
            with np.errstate(divide="ignore", invalid="ignore"):
                step = at - slope / bend
            inside = (bend < 0) & (step >= low[active]) & (step <= high[active])
            step = np.where(inside, step, (low[active] + high[active]) / 2)
            step = np.where(slope == 0, at, step)
            u[active] = step
            still = np.abs(step - at) * self.h > _STEP
            done[active] = ~still
            active = active[still]
        return u, done

    def _at(self, node: NDArray[np.intp], u: Array) -> tuple[Array, Array, Array, Array, Array]:
        """Tables at u: R̂⁻¹, Â⁺Â', bend (each p×p), log column norms and their slope (each p)."""
        powers = u[:, None] ** np.arange(_DEGREE + 1)
        values = self._by_node(lambda k, at: powers[at], self._tables, node)
        inverse, pull, bend, log_norm, norm_slope = np.split(values, self._widths, axis=1)
        square = (-1, self.p, self.p)
        return (
            inverse.reshape(square),
            pull.reshape(square),
            bend.reshape(square),
            log_norm,
            norm_slope,
        )

    def _amplitudes(self, c: Array, node: NDArray[np.intp], u: Array) -> Array:
        inverse, _, _, log_norm, _ = self._at(node, u)
        a = np.einsum("vij,vj->vi", inverse, c) * np.exp(-log_norm)
        return a if self.mix is None else a * self.mix

    def covariance(
        self, c: Array, node: NDArray[np.intp], u: Array, s2: Array, scale: Array
    ) -> Array:
        """(JᵀJ)⁻¹·s² of (T, amplitudes), by blocks: T from the part of dA/dT·a outside A's span."""
        inverse, pull, bend, log_norm, norm_slope = self._at(node, u)
        a = np.einsum("vij,vj->vi", inverse, c)  # amplitudes of unit columns
        with np.errstate(divide="ignore", invalid="ignore"):
            var_u = s2 / np.einsum("vi,vij,vj->v", c, bend, c)
        drift = np.einsum("vij,vj->vi", pull, a) + norm_slope * a
        fixed = np.einsum("vik,vjk->vij", inverse, inverse) * s2[:, None, None]
        block = fixed + var_u[:, None, None] * drift[:, :, None] * drift[:, None, :]
        cross = -var_u[:, None] * drift
        rescale = np.exp(-log_norm) * scale[:, None]
        block *= rescale[:, :, None] * rescale[:, None, :]
        cross *= rescale
        if self.mix is not None:
            block, cross = block * np.outer(self.mix, self.mix), cross * self.mix
        dT_du = self.T(node, u) * self.h
        p = block.shape[1]
        result = np.empty((len(u), 1 + p, 1 + p))
        result[:, 0, 0] = var_u * dT_du**2
        result[:, 0, 1:] = result[:, 1:, 0] = cross * dT_du[:, None]
        result[:, 1:, 1:] = block
        return result

    def residual(self, y: Array, node: NDArray[np.intp], u: Array) -> Array:
        """Σ(y − Q Qᵀy)² without the cancellation of |y|² − |Qᵀy|²."""
        columns = self._columns(self.log_T[node] + self.h * u)
        Q, _, _ = _orthonormal(columns)
        c = np.einsum("vnp,vn->vp", Q, y)
        result: Array = ((y - np.einsum("vnp,vp->vn", Q, c)) ** 2).sum(axis=1)
        return result


def _orthonormal(columns: Array) -> tuple[Array, Array, Array]:
    """Q, R of the columns scaled to unit length, and those lengths; R with a positive diagonal."""
    norm = np.linalg.norm(columns, axis=-2)
    Q, R = np.linalg.qr(columns / norm[..., None, :])
    sign = np.where(np.diagonal(R, axis1=-2, axis2=-1) < 0, -1.0, 1.0)
    return Q * sign[..., None, :], R * sign[..., :, None], norm


def _horner(coefficients: Array, u: Array) -> Array:
    value = coefficients[:, -1].copy()
    for d in range(coefficients.shape[1] - 2, -1, -1):
        value *= u[:, None]
        value += coefficients[:, d]
    return value


def _horner_2(coefficients: Array, u: Array) -> tuple[Array, Array, Array]:
    """A polynomial and its first two derivatives."""
    x = u[:, None]
    value = coefficients[:, -1].copy()
    first, half_second = np.zeros_like(value), np.zeros_like(value)
    for d in range(coefficients.shape[1] - 2, -1, -1):
        half_second = half_second * x + first
        first = first * x + value
        value = value * x + coefficients[:, d]
    return value, first, 2 * half_second
