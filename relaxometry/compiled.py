"""The compiled engine (extra ``fast``): tables and working room for the loops, chunk by chunk.

It gives the answers of :class:`relaxometry.solve.Solver` by the same tables. What is rare or
delicate (no signal, hardly any noise) it leaves to the other engine.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import lanes, uniform
from .kernels import COEFFICIENTS
from .loops import ELSEWHERE, MOST, finish, follow, prepare
from .maps import Status
from .projection import Branch
from .room import EIGHT, FOUR, LANES, WIDTH, aligned, room_for

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
    cubic_slack: Array
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
        cubic_slack=branch.cubic_slack,
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


class Abreast(NamedTuple):
    """The tables of a branch with one moving column as :func:`relaxometry.lanes.fit` wants them.

    The column is times its sign, so that shares are positive; points are filled up with zeros.
    """

    values: NDArray[np.float32]  # (node, n): the column at the nodes
    slopes: NDArray[np.float32]
    slack: NDArray[np.float32]  # (node − 1,): how much higher a share can be between two nodes
    cubic_slack: NDArray[np.float32]  # how far off the slope of the cubic through them
    rounding: np.float32
    widest: float
    of_y: Array  # (node, n/8, 8, WIDTH): coefficients, and the column that keeps its direction
    of_u: Array  # (node, degree+1, WIDTH)
    patterns: NDArray[np.int64]  # (runs,): points turned over
    firsts: NDArray[np.int64]  # (runs,): first node
    lasts: NDArray[np.int64]  # (runs,): last node + 1
    lowest: NDArray[np.int64]  # (runs,): lowest node from this run on
    signs: Array  # (runs, n/8, 8)
    still: Array  # (n,): the column that keeps its direction; 0 without one
    p: int
    sign: int
    order: NDArray[np.int64]
    log_T: Array
    h: float


def abreast(branch: Branch) -> Abreast | None:
    """The tables of a branch for many curves side by side; None where they are not for that."""
    m = branch.p - branch.fixed
    if m > 1 or not branch.sign or len(branch.family.b) > 1:
        return None
    nodes, n = len(branch.log_T), len(branch.still)
    fours, eights = (-(-n // many) * many for many in (FOUR, EIGHT))
    of_y = aligned((nodes, eights, WIDTH))
    of_y[:, :n, :COEFFICIENTS] = branch.of_y.transpose(0, 2, 1) * branch.sign
    of_y[:, :n, COEFFICIENTS] = branch.still * branch.fixed
    of_u = aligned((nodes, COEFFICIENTS, WIDTH))
    of_u[:, :, : branch.of_u.shape[1]] = branch.of_u.transpose(0, 2, 1)
    patterns, begin, end = np.array(branch.runs).T
    firsts = branch.column_node[begin]
    signs = np.ones((len(patterns), eights))
    signs[:, :n] = branch.signs[patterns]
    slack = np.maximum(branch.slack[1, :-1], branch.slack[1, 1:]).astype(np.float32)
    cubic_slack = np.maximum(branch.slope_slack[:-1], branch.slope_slack[1:])
    return Abreast(
        values=np.ascontiguousarray(of_y[:, :fours, 0], dtype=np.float32),
        slopes=np.ascontiguousarray(of_y[:, :fours, 1], dtype=np.float32),
        slack=slack,
        cubic_slack=cubic_slack.astype(np.float32),
        rounding=lanes.rounding_of(n),
        widest=float(slack.max() + lanes.rounding_of(n)),
        of_y=of_y.reshape(nodes, -1, EIGHT, WIDTH),
        of_u=of_u,
        patterns=patterns.copy(),
        firsts=firsts,
        lasts=branch.column_node[end - 1] + 1,
        lowest=np.minimum.accumulate(firsts[::-1])[::-1].copy(),
        signs=signs.reshape(len(patterns), -1, EIGHT),
        still=branch.still * branch.fixed,
        p=branch.p,
        sign=branch.sign,
        order=branch.order.astype(np.int64),
        log_T=branch.log_T,
        h=float(branch.h),
    )


def _whole(length: int) -> int:
    """The length filled up to whole vectors."""
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


def working_arrays(b: Packed, n: int, p: int, members: int) -> tuple[Any, ...]:
    """Arrays that :func:`follow` works in."""
    runs, nodes = b.barred.shape
    return (
        np.zeros(_whole(n * members)),
        np.zeros((2, runs, nodes)),
        np.zeros(runs),
        np.zeros(runs),
        np.zeros((MOST, 3), dtype=np.int64),
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
        self._fit: Any = None
        self._kept = threading.local()  # of each thread, since to make room anew takes its time
        #: Nodes and runs for which `room_for` is to be made.
        self._nodes, self._runs = len(branches[0].log_T), len(branches[0].runs)
        if len(weights) > 1 + branches[0].p:
            self._side_by_side(branches[0], ratio)

    def _side_by_side(self, free: Branch, ratio: tuple[float, float] | None) -> None:
        """Ready the loops that answer what is common, where there are any for these tables."""
        # Sums run in another order here, so that a little more is left of them by rounding.
        limits = 10 * self._exact_rss, self._no_spread
        spacing = uniform.spacing_of(free) if (self._weights == 1).all() and not ratio else None
        if spacing:
            scored = uniform.scored_at(free)
            self._nodes = len(scored[0])
            self._fit, self._facts = uniform.fit, (*scored, *spacing, *limits)
        elif (tables := abreast(free)) is not None:
            self._fit, self._facts = lanes.fit, (tables, self._ratio, *limits)

    def __call__(
        self, curves: NDArray[np.floating], b: Array | None, result: tuple[NDArray[Any], ...]
    ) -> NDArray[np.intp]:
        """Fit curves (V, n) with their b (V,) into the arrays of a `Solution`, curves last.

        Returns
        -------
        ndarray of int
            Curves that are left to the other engine.
        """
        curves = np.ascontiguousarray(curves)
        if self._fit is None:
            self._follow(curves, b, result)
            return np.flatnonzero(result[-1] == ELSEWHERE)
        V, kept = len(curves), self._kept
        if not hasattr(kept, "room"):
            kept.room = room_for(curves.shape[1], self._nodes, self._runs)
        room = kept.room
        self._fit(curves, self._weights, *self._facts, room, result)
        if tail := V % LANES:  # goes with copies of its last curve
            rows = np.minimum(np.arange(V - tail, V - tail + LANES), V - 1)
            parts = _taken(result, rows)
            self._fit(curves[rows], self._weights, *self._facts, room, parts)
            for array, part in zip(result, parts, strict=True):
                array[..., V - tail :] = part[..., :tail]
        rest = np.flatnonzero(result[-1] == ELSEWHERE)
        if rest.size:
            parts = _taken(result, rest)
            self._follow(curves[rest], None, parts)
            for array, part in zip(result, parts, strict=True):
                array[..., rest] = part
        left: NDArray[np.intp] = rest[result[-1][rest] == ELSEWHERE]
        return left

    def _follow(
        self, curves: NDArray[np.floating], b: Array | None, result: tuple[NDArray[Any], ...]
    ) -> None:
        """See `Solver._chunk`: the free maxima; where those are out of bounds, all others."""
        (V, n), p = curves.shape, len(result[1])
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
                working = working_arrays(tables, n, p, share.shape[1])
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


def _taken(result: tuple[NDArray[Any], ...], rows: NDArray[np.intp]) -> tuple[NDArray[Any], ...]:
    """Some of the curves; not by an index, which may leave them in another order in memory."""
    return tuple(array.take(rows, axis=-1) for array in result)
