"""A basis A(T) tabulated over log T: its orthonormal columns, and what errors need, as polynomials.

Everything that depends on T alone is worked out here, once per protocol; no exponential is left for
the curves.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.polynomial.chebyshev import cheb2poly
from numpy.typing import DTypeLike, NDArray
from scipy.ndimage import maximum_filter1d, minimum_filter1d

from .errors import FitError

Array = NDArray[np.float64]
Index = NDArray[np.intp]
#: Columns (g, n, p) at g values of T, for one value of the second variable b (see `Family`).
Basis = Callable[[Array, float], Array]

DEGREE = 11
_NODES, _MOST_NODES = 49, 769  # odd, so that every second one may do
_FAMILY_NODES, _MOST_FAMILY_NODES = 6, 48
_TABLE_ERROR = 1e-12  # of Q; rounding alone leaves 1e-13
_CONSTANT = 1e-13


class Family:
    """A second variable b > 0 of the basis that each curve brings along, such as B1.

    Everything tabulated is interpolated in log b between Chebyshev nodes b_j, linearly in the
    curve: Σ_j ℓ_j(b)·Q_jᵀy = Qᵀ(ℓ(b) ⊗ y). So a curve with a b is a longer curve ℓ ⊗ y, and
    nothing else needs to know. Without a family, b is 1 and ℓ ⊗ y is y.
    """

    def __init__(self, span: tuple[float, float] | None = None, nodes: int = 1) -> None:
        low, high = np.log(span or (1.0, 1.0))
        angle = np.pi * (np.arange(nodes) + 0.5) / nodes
        self.log_b = (low + high) / 2 + (high - low) / 2 * np.cos(angle)
        self._share = np.sin(angle) * (-1.0) ** np.arange(nodes)
        self._span = span

    @property
    def b(self) -> Array:
        """Values (J,) at which the basis is tabulated."""
        b: Array = np.exp(self.log_b)
        return b

    def between(self) -> Array:
        """Values as far from the nodes as there are."""
        if self._span is None:
            return self.b
        edges = np.log(self._span)
        inner: Array = np.exp(np.sort(np.r_[edges, (self.log_b[1:] + self.log_b[:-1]) / 2]))
        return inner

    def lift(self, y: Array, weights: Array | None) -> Array:
        """ℓ ⊗ y, (J·n, V), for curves (n, V) with weights ℓ (J, V)."""
        if weights is None:
            return y
        lifted: Array = (weights[:, None] * y).reshape(len(weights) * len(y), y.shape[1])
        return lifted

    def weights(self, b: Array) -> Array:
        """Weights ℓ (J, V) of each curve's b (V,), by the barycentric formula."""
        apart = np.log(b) - self.log_b[:, None]
        hit = apart == 0
        share = self._share[:, None] / np.where(hit, 1.0, apart)
        share[:, hit.any(axis=0)] = 0.0
        share[hit] = 1.0
        weights: Array = share / share.sum(axis=0)
        return weights


class Scored(NamedTuple):
    """Columns by which curves are scored, and what is between two of them: see `Tables`."""

    columns: Array
    share_slack: Array
    cubic_slack: Array
    runs: list[tuple[int, int, int]]


class Tables:
    """One basis, tabulated: at node k, everything is a polynomial in u = (log T − log T_k)/h.

    Parameters
    ----------
    basis : callable
        T (g,), b → columns (g, n, p).
    bounds : (float, float)
        Range of T, s.
    signs : ndarray (K, n)
        Sign patterns that the curves may have lost; pattern k turns the first k points over.
    cone : ndarray (p, e)
        Directions of amplitudes between which the allowed ones lie; [[1]] for p = 1.
    mix : ndarray (p,), optional
        Combines the columns into one: an edge of the cone of amplitudes.
    span : (float, float), optional
        Range of b.

    Attributes
    ----------
    flat : bool
        Whether no column changes its direction with T, so that nothing can be told of T.
    sign : int
        Sign that the amplitude of the one moving column must have; 0 for either, or for two.
    by_share : bool
        Whether curves are scored by c = qᵀy (times the sign) and not by F: with one moving column
        and one sign pattern the highest c has the highest F, and maxima where c is positive in a
        stretch narrower than the grid are seen too.
    """

    def __init__(
        self,
        basis: Basis,
        bounds: tuple[float, float],
        signs: Array,
        cone: Array,
        mix: Array | None = None,
        span: tuple[float, float] | None = None,
    ) -> None:
        self.mix, self.signs = mix, signs
        self._basis = basis
        self._low, self._high = np.log(bounds)
        members = _FAMILY_NODES if span else 1
        error = self._tabulate(_NODES, Family(span, members))
        while not self.flat and error > _TABLE_ERROR:
            # Which of the two grids is too coarse shows only in trying.
            nodes, members = len(self.log_T), len(self.family.log_b)
            if span is not None and members < _MOST_FAMILY_NODES:
                finer = self._tabulate(nodes, Family(span, members + members // 2))
                if finer < 0.9 * error:
                    error = finer
                    continue
            if nodes >= _MOST_NODES:
                raise FitError(
                    f"the basis is not smooth enough in log T (error {error:.1e} in its tables)",
                    field="model",
                    expected="exponentials and the like, between bounds where they do not vanish",
                )
            error = self._tabulate(nodes * 4 // 3 | 1, Family(span, members if span else 1))
        if not self.flat:
            self._lay_out(cone)

    # --- tables ----------------------------------------------------------------------------------

    def basis_at(self, log_T: Array, b: Array) -> Array:
        """Unordered columns (J, …, n, p) at each b (J,) and log T (…)."""
        T = np.exp(log_T.ravel())
        columns = np.stack([self._basis(T, float(one)) for one in b])
        if self.mix is not None:
            columns = (columns @ self.mix)[..., None]
        return columns.reshape(len(b), *log_T.shape, *columns.shape[2:])

    def _tabulate(self, nodes: int, family: Family) -> float:
        """Fill the tables; return the largest error of Q between the points it was built from."""
        self.family = family
        self.h = (self._high - self._low) / (nodes - 1)
        self.log_T = self._low + self.h * np.arange(nodes)
        degree = np.arange(DEGREE + 1)
        u, to_chebyshev, to_powers = _interpolation()

        def along(matrix: Array, values: Array) -> Array:  # of axis 2
            flat = values.reshape(*values.shape[:3], -1)
            result: Array = (matrix @ flat).reshape(*values.shape[:2], -1, *values.shape[3:])
            return result

        def polynomial(values: Array) -> Array:  # (J, nodes, samples, …) -> (J, nodes, degree+1, …)
            # In two steps: in one, the large numbers of the second would multiply rounding errors.
            return along(to_powers, along(to_chebyshev, values))

        def at_samples(coefficients: Array) -> Array:
            return along(u[:, None] ** degree, coefficients)

        def slope(coefficients: Array) -> Array:
            shape = (-1,) + (1,) * (coefficients.ndim - 3)
            risen = coefficients[:, :, 1:] * degree[1:].reshape(shape)
            return np.concatenate([risen, np.zeros_like(risen[:, :, :1])], axis=2)

        columns = self.basis_at(self.log_T[:, None] + self.h * u, family.b)
        direction = columns / np.linalg.norm(columns, axis=-2, keepdims=True)
        constant = np.abs(direction - direction[:1, :1, :1]).max(axis=(0, 1, 2, 3)) < _CONSTANT
        # A column that keeps its direction goes first: it is then out of the search for T.
        self.order = np.argsort(~constant, kind="stable")
        self.flat = bool(constant.all())
        self.p, self.fixed = len(constant), int(constant.any())
        self.still = direction[0, 0, 0, :, self.order[0]]
        if self.flat:
            return 0.0
        Q, triangle, norm = orthonormal(columns[..., self.order])
        moving = polynomial(Q[..., self.fixed :])
        inverse: Array = np.linalg.inv(triangle).astype(np.float64)
        unit_slope = at_samples(slope(polynomial(Q @ triangle)))
        pull = inverse @ np.swapaxes(Q, -1, -2) @ unit_slope
        Q1 = at_samples(slope(moving))
        Q2 = at_samples(slope(slope(moving)))
        outside = Q1 - Q @ (np.swapaxes(Q, -1, -2) @ Q1)
        bend = np.swapaxes(outside, -1, -2) @ outside
        log_norm = polynomial(np.log(norm))
        J, n, m = len(family.log_b), Q.shape[-2], moving.shape[-1]
        square: list[Array] = [inverse, pull, bend]
        flat = [polynomial(t).reshape(J, nodes, DEGREE + 1, -1) for t in square]
        tables = np.concatenate([*flat, log_norm, slope(log_norm)], axis=3)
        self.widths = np.cumsum([self.p**2, self.p**2, m**2, self.p])
        # What the products want: (node, result, what is summed over).
        self.of_u = np.ascontiguousarray(
            tables.transpose(1, 3, 0, 2).reshape(nodes, -1, J * (DEGREE + 1))
        )
        self.of_y = np.ascontiguousarray(
            moving.transpose(1, 4, 2, 0, 3).reshape(nodes, m * (DEGREE + 1), J * n)
        )
        # |F''| ≤ 2(|Q'|² + |Q''|)|y|², so a maximum is at most h²/8 of that above a node near it.
        first = np.linalg.norm(Q1, axis=(-1, -2)).max(axis=(0, 2))
        second = np.linalg.norm(Q2, axis=(-1, -2)).max(axis=(0, 2))
        slack = (first**2 + second) / 4
        # A maximum of the one moving share c itself is at most h²/8·|Q''| above its node.
        self.slack = np.stack([slack, second / 8])
        # Between two nodes its slope is at most h⁴·√3/216·|Q⁽⁴⁾| off that of the cubic through both
        # values and slopes (Birkhoff & Priver, J Math Phys 46:440 (1967)).
        Q4 = at_samples(slope(slope(slope(slope(moving)))))
        fourth = np.linalg.norm(Q4, axis=(-1, -2)).max(axis=(0, 2))
        self.slope_slack = fourth * np.sqrt(3) / 216
        return self._error(moving)

    def _error(self, moving: Array) -> float:
        between, b = np.linspace(-1, 1, 7), self.family.between()
        columns = self.basis_at(self.log_T[:, None] + self.h * between, b)
        exact = orthonormal(columns[..., self.order])[0][..., self.fixed :]
        powers = between[:, None] ** np.arange(DEGREE + 1)
        rebuilt = np.einsum("jb,ud,jgdnm->bgunm", self.family.weights(b), powers, moving)
        return float(np.abs(exact - rebuilt).max())

    def _lay_out(self, cone: Array) -> None:
        """The columns that score curves: one per node and sign pattern that it may have.

        The best amplitudes within the cone have, at the minimum, the signs of the data: only
        patterns between those of the cone's edges can occur at a node (or, for what lies between
        nodes, at its neighbours).
        """
        K, nodes = len(self.signs), len(self.log_T)
        allowed = np.ones((K, nodes), dtype=bool)
        if K > 1:
            negative = (self.basis_at(self.log_T, self.family.b) @ cone < 0).sum(axis=2)
            least = minimum_filter1d(negative.min(axis=(0, 2)), 3)
            most = maximum_filter1d(negative.max(axis=(0, 2)), 3)
            every = np.arange(K)[:, None]
            allowed = (least <= every) & (every <= most)
        # A run of nodes stands between two empty columns. Signals count as rising before the lower
        # bound of T and falling beyond the upper, so that a maximum at a bound is one like others;
        # where a run ends elsewhere, nothing is to be found at its ends.
        pattern: list[int] = []
        node: list[int] = []
        rises: list[bool] = []
        self.runs: list[tuple[int, int, int]] = []  # pattern, first column, last column + 1
        for k, ends in zip(range(K), np.diff(np.pad(allowed, 1)[1:-1].astype(int)), strict=True):
            starts, stops = (np.flatnonzero(ends == way).tolist() for way in (1, -1))
            for first, last in zip(starts, stops, strict=True):
                self.runs.append((k, len(node) + 1, len(node) + 1 + last - first))
                pattern += [k] * (last - first + 2)
                node += [-1, *range(first, last), -1]
                rises += [first == 0, *[False] * (last - first), last < nodes]
        self.column_pattern, self.column_node = np.array(pattern), np.array(node)
        self.empty = np.flatnonzero(self.column_node < 0)
        self.empty_rises = np.array(rises)[self.empty]
        rank = self.of_y.shape[2] // self.signs.shape[1]
        turned = np.tile(self.signs, rank)[self.column_pattern]
        turned[self.empty] = 0
        self.sign = 0
        if self.p - self.fixed == 1:
            along = cone[self.order[-1]]
            self.sign = int((along >= 0).all()) - int((along <= 0).all())
            turned *= self.sign or 1
        self.by_share = self.sign != 0 and K == 1
        # Values and slopes of each moving column at the nodes: (2, m, column, J·n).
        at_nodes = np.stack([self.of_y[:, d :: DEGREE + 1] for d in (0, 1)])
        self.columns = np.ascontiguousarray(
            (at_nodes[:, self.column_node] * turned[:, None]).transpose(0, 2, 1, 3)
        )
        self.column_rises = np.array(rises)
        slack = self.slack[:, self.column_node]
        slack[:, self.empty] = 0
        slack = np.maximum(slack[:, :-1], slack[:, 1:])
        self.share_slack, self.column_slack = slack[1], slack[int(self.by_share)]
        slack = self.slope_slack[self.column_node]
        self.cubic_slack = np.maximum(slack[:-1], slack[1:])
        self.fine = Scored(self.columns, self.share_slack, self.cubic_slack, self.runs)
        self.coarse = _coarser(self.fine) if K == 1 and nodes % 2 else None

    def rounding(self, dtype: DTypeLike) -> float:
        """What rounding may add, at most, to the share of a curve of unit length."""
        return float(8 * self.of_y.shape[2] * np.finfo(dtype).eps)

    @property
    def working_numbers(self) -> int:
        """Numbers kept for one candidate while it is polished, about."""
        return int(self.of_y.shape[1] + 2 * self.of_y.shape[2] + self.of_u.shape[1] + 40)

    def T(self, node: Index, u: Array) -> Array:
        T: Array = np.exp(self.log_T[node] + self.h * u)
        return T

    def at_bound(self, node: Index, u: Array) -> NDArray[np.bool_]:
        last = len(self.log_T) - 1
        bound: NDArray[np.bool_] = ((node == 0) & (u <= 0)) | ((node == last) & (u >= 0))
        return bound


def _coarser(fine: Scored) -> Scored:
    """Every second node of one run, with the first and the last.

    What lies between two of them is seen from the one left out.
    """
    empty = fine.columns.shape[2] - 1
    kept = np.r_[0, 1:empty:2, empty]
    # Twice as far apart: 2² times as much for what goes with the square, 2⁴ times with the fourth.
    slack, cubic_slack = (
        np.r_[one[0], np.maximum(one[1:-1:2], one[2:-1:2]) * times, one[-1]]
        for one, times in ((fine.share_slack, 4), (fine.cubic_slack, 16))
    )
    columns = fine.columns[:, :, kept] * np.array([1, 2])[:, None, None, None]
    return Scored(columns, slack, cubic_slack, [(fine.runs[0][0], 1, len(kept) - 1)])


@cache
def _interpolation() -> tuple[Array, Array, Array]:
    """Where polynomials are sampled; what makes of that Chebyshev series, of those powers."""
    degree = np.arange(DEGREE + 1)
    angle = np.pi * (degree + 0.5) / (DEGREE + 1)
    to_chebyshev = np.cos(degree[:, None] * angle) * (2 - (degree == 0)[:, None]) / len(angle)
    to_powers = np.zeros((len(angle), len(angle)))
    for k in degree:
        to_powers[: k + 1, k] = cheb2poly(np.eye(len(angle))[k, : k + 1])
    return np.cos(angle), to_chebyshev, to_powers


def orthonormal(columns: Array) -> tuple[Array, Array, Array]:
    """Q, R of the columns (…, n, p) scaled to unit length, and those lengths; R_ii > 0."""
    norm = np.linalg.norm(columns, axis=-2)
    unit = columns / norm[..., None, :]
    p = unit.shape[-1]
    Q, R = unit.copy(), np.zeros((*unit.shape[:-2], p, p))
    for j in range(p):
        # Twice is enough: the second pass takes away what rounding left of the first.
        for _ in range(2 if j else 0):
            for i in range(j):
                share = (Q[..., i] * Q[..., j]).sum(axis=-1)
                R[..., i, j] += share
                Q[..., j] -= share[..., None] * Q[..., i]
        R[..., j, j] = np.linalg.norm(Q[..., j], axis=-1)
        Q[..., j] /= R[..., j, j, None]
    return Q, R, norm
