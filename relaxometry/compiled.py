"""The compiled engine (extra ``fast``): tables and working room for the loops, chunk by chunk.

It gives the answers of :class:`relaxometry.solve.Solver` by the same tables. What is rare or
delicate (no signal, hardly any noise) it leaves to the other engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import uniform
from .kernels import COEFFICIENTS
from .loops import ELSEWHERE, MOST, finish, follow, prepare
from .maps import Status
from .projection import Branch

Array = NDArray[np.float64]

_VECTOR = 16  # numbers: four vectors of four, or two of eight


class Packed(NamedTuple):
    """The tables of a `Branch` as the loops want them.

    Lengths run over in a loop are filled up with zeros to whole vectors: what is left over of a
    vector is worked on number by number, and takes longer than the rest.
    """

    at_nodes: Array  # (m, J·n, node): the moving columns, times the sign
    columns: Array  # (2, m, columns, J·n): values and slopes
    runs: NDArray[np.int64]  # (runs, 4): pattern, first node, last + 1, first column
    barred: Array  # (runs, node): 0 at the nodes of a run, far below any score elsewhere
    column_slack: Array
    rises: NDArray[np.bool_]  # of the empty columns
    of_y: Array  # (node·m, J·n, degree+1)
    of_u: Array  # (node, J·(degree+1), width)
    still: Array
    order: NDArray[np.int64]
    mix: Array
    log_T: Array
    h: float
    widest: float
    fixed: int
    sign: int
    by_share: bool
    on_edge: bool


def packed(branch: Branch) -> Packed:
    """The tables of a branch for :func:`relaxometry.loops.follow`."""
    m = branch.p - branch.fixed
    nodes, rows = branch.of_y.shape[0], branch.of_y.shape[2]
    rises = np.zeros(len(branch.column_node), dtype=np.bool_)
    rises[branch.empty] = branch.empty_rises
    runs = [
        (pattern, branch.column_node[first], branch.column_node[last - 1] + 1, first)
        for pattern, first, last in branch.runs
    ]
    barred = np.full((len(runs), nodes), -4.0)
    for row, (_, first, last, _) in zip(barred, runs, strict=True):
        row[first:last] = 0
    return Packed(
        at_nodes=_filled(branch.of_y[:, ::COEFFICIENTS].transpose(1, 2, 0) * (branch.sign or 1)),
        columns=_filled(branch.columns),
        runs=np.array(runs, dtype=np.int64),
        barred=_filled(barred, -4.0),
        column_slack=branch.column_slack,
        rises=rises,
        of_y=_filled(branch.of_y.reshape(nodes * m, COEFFICIENTS, rows).transpose(0, 2, 1)),
        of_u=_filled(branch.of_u.transpose(0, 2, 1)),
        still=np.ascontiguousarray(branch.still),
        order=branch.order.astype(np.int64),
        mix=np.zeros(2) if branch.mix is None else branch.mix.astype(np.float64),
        log_T=branch.log_T,
        h=float(branch.h),
        widest=float(branch.column_slack.max()),
        fixed=branch.fixed,
        sign=branch.sign,
        by_share=branch.by_share,
        on_edge=branch.mix is not None,
    )


def _whole(length: int) -> int:
    return -(-length // _VECTOR) * _VECTOR


def _filled(array: Array, by: float = 0.0) -> Array:
    """The array with its last axis filled up to whole vectors."""
    full = np.full((*array.shape[:-1], _whole(array.shape[-1])), by)
    full[..., : array.shape[-1]] = array
    return full


class State(NamedTuple):
    """The best maximum of each of V curves so far, and room to work in."""

    F: Array
    u: Array
    T: Array
    branch: NDArray[np.int64]
    node: NDArray[np.int64]
    pattern: NDArray[np.int64]
    converged: NDArray[np.bool_]
    shares: Array  # (V, 2)
    amplitudes: Array  # (V, p)
    tables: Array  # (V, width)
    top: Array  # highest F seen, allowed or not


def state(branches: tuple[Packed, ...], V: int, p: int) -> State:
    """Nothing found yet."""
    width = max(b.of_u.shape[2] for b in branches)
    return State(
        F=np.zeros(V),
        u=np.zeros(V),
        T=np.zeros(V),
        branch=np.full(V, -1),
        node=np.zeros(V, dtype=np.int64),
        pattern=np.zeros(V, dtype=np.int64),
        converged=np.zeros(V, dtype=np.bool_),
        shares=np.zeros((V, 2)),
        amplitudes=np.zeros((V, p)),
        tables=np.zeros((V, width)),
        top=np.zeros(V),
    )


def room(b: Packed, n: int, p: int, members: int) -> tuple[Any, ...]:
    """Arrays that :func:`follow` works in."""
    runs, nodes = b.barred.shape
    return (
        np.zeros(_whole(n * members)),
        np.zeros((2, runs, nodes)),
        np.zeros(runs),
        np.zeros(runs),
        np.zeros((MOST, 2), dtype=np.int64),
        np.zeros((MOST, 3)),
        np.zeros((2, _whole(COEFFICIENTS))),
        np.zeros(2),
        np.zeros(p),
        np.zeros(b.of_u.shape[2]),
        np.zeros(COEFFICIENTS * members),
        np.zeros(n * members),
    )


class Search:
    """Everything the loops need, for the branches of one solver.

    Parameters
    ----------
    branches : sequence of Branch
        The free one, and edges that tell of T.
    flat : ndarray (f, n)
        Directions of edges that do not; any fit must beat them.
    ratio : (float, float) or None
    weights : ndarray (n,)
        Of the squared residuals.
    exact_rss, nothing, no_spread : float
        Shares of |y|²: RSS below which the other engine sums residuals; what is rounding of F; what
        is rounding of the spread about the mean.
    """

    def __init__(
        self,
        branches: Sequence[Branch],
        flat: Array,
        ratio: tuple[float, float] | None,
        weights: Array,
        exact_rss: float,
        nothing: float,
        no_spread: float,
    ) -> None:
        self._branches, self._flat, self._weights = branches, flat, weights
        self._tables = tuple(packed(branch) for branch in branches)
        self._bounded = ratio is not None or len(branches) > 1
        self._ratio = np.array(ratio or (0.0, 0.0))
        self._exact_rss, self._nothing, self._no_spread = exact_rss, nothing, no_spread
        self._spacing = None
        if (weights == 1).all() and ratio is None and len(weights) > 2:
            self._spacing = uniform.spacing_of(branches[0])
            self._at_nodes = uniform.score_table(branches[0])

    def __call__(
        self, curves: NDArray[np.floating], b: Array | None, result: tuple[NDArray[Any], ...]
    ) -> NDArray[np.intp]:
        """Fit curves (V, n) with their b (V,) into the arrays of a `Solution`.

        Returns
        -------
        ndarray of int
            Curves that are left to the other engine.
        """
        curves = np.ascontiguousarray(curves)
        if self._spacing is None:
            self._follow(curves, b, result)
            return np.flatnonzero(result[-1] == ELSEWHERE)
        self._uniform(curves, result)
        rest = np.flatnonzero(result[-1] == ELSEWHERE)
        if rest.size:
            parts = tuple(array[rest] for array in result)
            self._follow(curves[rest], None, parts)
            for array, part in zip(result, parts, strict=True):
                array[rest] = part
        return np.flatnonzero(result[-1] == ELSEWHERE)

    def _uniform(self, curves: NDArray[np.floating], result: tuple[NDArray[Any], ...]) -> None:
        V, n = curves.shape
        room_for = uniform.room(n)
        whole = V // uniform.LANES * uniform.LANES
        assert self._spacing is not None
        facts = (
            *self._at_nodes,
            float(self._branches[0].column_slack.max()) * uniform.EVERY**2,
            *self._spacing,
            10 * self._exact_rss,  # by difference here: ten times safer
        )
        # The loops are compiled for finite numbers.
        finite = np.isfinite(curves).all(axis=1)
        if not finite.all():
            curves = np.where(finite[:, None], curves, 1)
        uniform.fit(curves[:whole], *facts, *room_for, *(array[:whole] for array in result))
        if whole < V:  # the last ones go with copies of the first of them
            again = np.r_[np.arange(whole, V), np.full(whole + uniform.LANES - V, whole)]
            parts = tuple(array[again] for array in result)
            uniform.fit(curves[again], *facts, *room_for, *parts)
            for array, part in zip(result, parts, strict=True):
                array[whole:] = part[: V - whole]
        result[-1][~finite] = ELSEWHERE

    def _follow(
        self, curves: NDArray[np.floating], b: Array | None, result: tuple[NDArray[Any], ...]
    ) -> None:
        """See `Solver._chunk`: the free maxima; where those are out of bounds, all others."""
        (V, n), p = curves.shape, result[1].shape[1]
        members = [np.ones((1, 1)) for _ in self._tables]
        usable = np.ones(V, dtype=bool)
        if b is not None:
            usable = np.isfinite(b) & (b > 0)
            safe = np.where(usable, b, 1.0)
            members = [np.ascontiguousarray(one.family.weights(safe).T) for one in self._branches]
        y, length, spread = np.empty((V, n)), np.empty(V), np.empty(V)
        elsewhere = np.empty(V, dtype=bool)
        prepare(curves, self._weights, y, length, spread, elsewhere)
        best = state(self._tables, V, p)

        def follow_all(
            k: int, rows: NDArray[np.intp], floors: bool = False, climbs: bool = False
        ) -> None:
            if rows.size:
                tables, share = self._tables[k], members[k]
                working = room(tables, n, p, share.shape[1])
                follow(tables, k, rows, y, share, floors, climbs, self._ratio, best, *working)

        signal = usable & ~elsewhere
        follow_all(0, np.flatnonzero(signal))
        if self._bounded:
            out = (best.top - self._nothing > best.F) | (best.F == 0)
            left = np.flatnonzero(signal & out)
            for k in range(1, len(self._tables)):
                follow_all(k, left)
            follow_all(0, left, floors=True)
            follow_all(0, left[best.branch[left] > 0], climbs=True)
            if len(self._flat) and left.size:
                reach = np.abs(y[left] @ self._flat.T).max(axis=1) ** 2
                best.branch[left[best.F[left] <= reach + self._nothing]] = -1
        T, amplitudes, covariance, rss, rsquared, status = result
        for array in (T, amplitudes, covariance, rss, rsquared):
            array[:] = np.nan
        status[:] = np.where(signal, Status.LOW_SIGNAL, Status.NON_FINITE)
        status[usable & elsewhere] = ELSEWHERE
        scratch = np.zeros((3, 2))
        for k, tables in enumerate(self._tables):
            finish(
                tables, k, best, length, spread, n, self._exact_rss, self._no_spread, scratch,
                T, amplitudes, covariance, rss, rsquared, status,
            )  # fmt: skip
