"""How far curves reach into the span of a basis A(T), and where over log T they reach furthest.

Everything that depends on T alone is tabulated once, as polynomials around nodes of log T: the
orthonormal columns Q, what turns Qᵀy into amplitudes, and what their errors need.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import FitError

Array = NDArray[np.float64]
Basis = Callable[[Array], Array]

_NODES, _MOST_NODES, _DEGREE = 48, 768, 11
_TABLE_ERROR = 1e-10
_MAX_STEPS = 60
_STEP = 1e-10  # in log T; Newton is quadratic, so the next step would be its square


@dataclass(slots=True)
class Maxima:
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


class Branch:
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
            if error <= _TABLE_ERROR:
                break
            nodes *= 2
            if nodes > _MOST_NODES:
                raise FitError(
                    f"the basis is not smooth enough in log T (error {error:.1e} in its tables)",
                    field="model",
                    expected="exponentials and the like, between bounds where they do not vanish",
                )
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
            coefficients: Array = np.einsum("du,gu...->gd...", to_powers, values)
            return coefficients

        def at_samples(coefficients: Array) -> Array:
            values: Array = np.einsum("ud,gd...->gu...", u[:, None] ** degree, coefficients)
            return values

        def slope(coefficients: Array) -> Array:
            shape = (-1,) + (1,) * (coefficients.ndim - 2)
            risen = coefficients[:, 1:] * degree[1:].reshape(shape)
            return np.concatenate([risen, np.zeros_like(risen[:, :1])], axis=1)

        Q, triangle, norm = _orthonormal(self._columns(self.log_T[:, None] + self.h * u))
        self.Q = polynomial(Q)
        inverse = np.linalg.inv(triangle).astype(np.float64)
        unit_slope = at_samples(slope(polynomial(Q @ triangle)))
        pull = inverse @ np.swapaxes(Q, 2, 3) @ unit_slope
        Q1 = at_samples(slope(self.Q))
        Q2 = at_samples(slope(slope(self.Q)))
        outside = Q1 - Q @ (np.swapaxes(Q, 2, 3) @ Q1)
        bend = np.swapaxes(outside, 2, 3) @ outside
        log_norm = polynomial(np.log(norm))
        p = Q.shape[3]
        square: list[Array] = [inverse, pull, bend]
        flat = [polynomial(t).reshape(len(t), _DEGREE + 1, -1) for t in square]
        self._tables = np.concatenate([*flat, log_norm, slope(log_norm)], axis=2)
        self._widths = np.cumsum([p * p, p * p, p * p, p])
        # |F''| ≤ 2(|Q'|² + |Q''|)|y|², so a maximum is at most h²/8 of that above a node near it.
        first = np.linalg.norm(Q1, axis=(2, 3)).max(axis=1)
        second = np.linalg.norm(Q2, axis=(2, 3)).max(axis=1)
        self._slack = (first**2 + second) / 4
        between = np.linspace(-1, 1, 7)
        exact, _, _ = _orthonormal(self._columns(self.log_T[:, None] + self.h * between))
        rebuilt = np.einsum("ud,gdnp->gunp", between[:, None] ** degree, self.Q)
        return float(np.abs(exact - rebuilt).max())

    def T(self, node: NDArray[np.intp], u: Array) -> Array:
        T: Array = np.exp(self.log_T[node] + self.h * u)
        return T

    def at_bound(self, node: NDArray[np.intp], u: Array) -> NDArray[np.bool_]:
        last = len(self.log_T) - 1
        bound: NDArray[np.bool_] = ((node == 0) & (u <= 0)) | ((node == last) & (u >= 0))
        return bound

    def maxima(
        self, unit: Array, signs: Array, rows: NDArray[np.intp], prune: bool = True
    ) -> Maxima:
        """All local maxima of F over log T that may be the highest (or all, unpruned), polished."""
        y = unit[rows]
        nodes, n, p = len(self.log_T), y.shape[1], self.p
        score = np.empty((len(rows), len(signs), nodes))
        at_nodes = [self.Q[:, 0, :, j].T for j in range(p)]
        c = [y @ column for column in at_nodes]
        for k in range(len(signs)):  # pattern k turns point k−1 over, on top of pattern k−1
            if k:
                for one, column in zip(c, at_nodes, strict=True):
                    one -= 2 * y[:, k - 1, None] * column[k - 1]
            # With one column only a positive amplitude counts.
            score[:, k] = c[0] * (np.maximum(c[0], 0) if p == 1 else c[0])
            for one in c[1:]:
                score[:, k] += one * one
        peak = score > 0
        peak[..., 1:] &= score[..., 1:] >= score[..., :-1]
        peak[..., :-1] &= score[..., :-1] > score[..., 1:]
        if prune:
            peak &= score + self._slack >= score.max(axis=(1, 2), keepdims=True)
        index, pattern, node = np.nonzero(peak)
        coefficients = self._by_node(
            lambda k, at: signs[pattern[at]] * y[index[at]],
            self.Q.transpose(0, 2, 1, 3).reshape(nodes, n, -1),
            node,
        ).reshape(-1, _DEGREE + 1, p)
        u, converged = self._polish(coefficients, node)
        value = _horner(coefficients, u)
        F = value[:, 0] * np.maximum(value[:, 0], 0) if p == 1 else (value**2).sum(1)
        amplitudes = self._amplitudes(value, node, u)
        return Maxima(self.key, rows[index], pattern, node, u, F, value, amplitudes, converged)

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
        powers = np.ones((u.size, _DEGREE + 1))
        for d in range(_DEGREE):  # ten times faster than u ** d
            powers[:, d + 1] = powers[:, d] * u
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
        a: Array = np.einsum("vij,vj->vi", inverse, c) * np.exp(-log_norm)
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
