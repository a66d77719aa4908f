"""Between which nodes of a table the maxima of F lie that could be the highest, and about where."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .scratch import scratch
from .tables import Array, Index, Tables

EQUAL = 1e-12  # share of |y|² by which minima differ that are as good as each other
NEAR = 0.25  # share of a slope that the cubic may be wrong by
# Products of up to m·n·k = 2^18 are one thread's work for OpenBLAS. Larger ones it would spread
# over threads of its own, which then wait for each other and for ours: ten times slower, measured.
ONE_THREAD = 1 << 18
_ROWS = 64  # of one product: with more, its pieces get narrow and slow
_CACHE = 1 << 19  # scores worked on at once: less, and threads wait for the interpreter

Real = NDArray[np.floating[Any]]
_Some = TypeVar("_Some", bound=Real)


class Peaks(NamedTuple):
    """Where maxima lie (P,): about at `u` as seen from a node, within a `bracket` (2, P).

    The node is the odd one of the two between which it lies: every computation has the same, which
    tells as much as the tables do (1e-13). Those `doubted` may turn out to be none.
    Those that are `faint` may owe their slopes, or which sign these have, to rounding.
    """

    row: Index
    node: Index
    pattern: Index
    u: Array
    bracket: Array | None = None
    doubted: NDArray[np.bool_] | None = None
    faint: NDArray[np.bool_] | None = None


class _Pairs(NamedTuple):
    """Neighbouring columns of scores (P,), `column` the first: what is scored, and its slope."""

    column: Index
    row: Index
    before: Real
    after: Real
    up: Real
    down: Real


def peaks_of_share(
    tables: Tables, lifted: Array, squares: Array | None, floor: Array | None, dtype: DTypeLike
) -> tuple[Peaks, Array]:
    """Peaks of the one moving share c where its sign is known: F has its maxima where c has.

    A maximum lies where c rises at one node and at the next does not; or hides beside a minimum
    between two nodes at which it rises, or falls, both. It does not where the slope of the cubic
    through them stays farther from 0 than the cubic can be wrong.

    Parameters
    ----------
    tables : Tables
    lifted : ndarray (J·n, V)
        Curves of unit length, see `Family`.
    squares : ndarray (K, V), optional
        What the column that keeps its direction adds to F, by sign pattern.
    floor : ndarray (V,), optional
        Maxima of F that cannot exceed it are left out; by default, those that cannot exceed the
        highest node.
    dtype : dtype
        Precision of the scores.

    Returns
    -------
    Peaks
    seen : ndarray (V,)
        See `Maxima`.
    """
    coarse = tables.coarse if dtype == np.float32 else None
    scored = coarse or tables.fine
    columns = scored.columns[:, 0].astype(dtype)
    y: Real = scratch("rounded curves", lifted.shape[::-1], dtype).T
    y[:] = lifted
    rounding = tables.rounding(dtype)
    # In double, all else would be.
    slack = (scored.share_slack + rounding).astype(dtype)
    allowed = (scored.cubic_slack + 4 * rounding).astype(dtype)
    still = np.zeros((len(tables.runs), y.shape[1]))
    if squares is not None:
        still = squares[[k for k, _, _ in tables.runs]]
    alone = len(tables.runs) == 1
    tops = None if alone else _tops(tables, columns[0], y)
    seen, need = np.zeros(y.shape[1]), None
    if tops is not None:
        seen = (np.square(np.maximum(tops, 0)) + still).max(axis=0) - 4 * rounding
    if tops is not None or floor is not None:
        least = np.maximum((seen if floor is None else floor) - still, 0)
        need = np.sqrt(least).astype(dtype)
    parts = []
    for i, (_, first, last) in enumerate(scored.runs):
        run = slice(first - 1, last + 1)  # with the empty column on either side
        between = slice(first - 1, last)  # neighbouring columns
        widest = slack[between].max()
        rows = np.arange(y.shape[1])
        if tops is not None and need is not None:
            rows = np.flatnonzero(tops[i] >= need[i] - widest)
        for at, height, slope in _scored(columns[:, run], y, rows):
            enough = height.max(axis=0) if need is None else need[i, at]
            ends = (
                tables.column_rises[[0, -1]] if coarse else tables.column_rises[[first - 1, last]]
            )
            _hold_ends(height, slope, enough)
            peak = _turns(height, slope, enough - widest, ends)
            pairs = _pairs(peak, height, slope)
            if (alike := np.flatnonzero(pairs.up * pairs.down > 0)).size:
                some = _taken(pairs, alike)
                most = allowed[first - 1 :][some.column]
                smooth = alike[~_hides(some, most, enough[some.row])]
                pairs = _taken(pairs, np.delete(np.arange(len(pairs.row)), smooth))
            reach = np.maximum(pairs.before, pairs.after) + slack[first - 1 :][pairs.column]
            pairs = _taken(pairs, np.flatnonzero(reach >= enough[pairs.row]))
            parts.append(pairs._replace(column=pairs.column + first - 1, row=at[pairs.row]))
            if not alone:
                ends = _at_ends(tables, first, last, height, slope) + still[i, at] + 4 * rounding
                seen[at] = np.maximum(seen[at], ends)
    peaks = _starts_between(tables, parts) if coarse else _starts(tables, parts)
    slopes = [np.concatenate([np.abs(p.up), np.abs(p.down)]).reshape(2, -1) for p in parts]
    up, down = np.concatenate([np.zeros((2, 0)), *slopes], axis=1)
    # An empty column has none.
    least = np.where(up == 0, down, np.where(down == 0, up, np.minimum(up, down)))
    # Rounding goes with what is summed up, and that with the slopes of the columns.
    steepest = np.linalg.norm(scored.columns[1, 0], axis=1).max()
    return peaks._replace(faint=least <= rounding / 4 * steepest), seen


def peaks_of_sum(
    tables: Tables, lifted: Array, squares: Array | None, floor: Array | None
) -> tuple[Peaks, Array]:
    """As :func:`peaks_of_share` where two columns move, or either sign is allowed: peaks of F."""
    V = lifted.shape[1]
    count = len(tables.column_node)
    seen, parts = np.zeros(V), []
    for rows in _pieces(V, count):
        score, slope, value, change = scratch("scores", (4, count, rows.stop - rows.start))
        score[:] = slope[:] = 0
        for height, rise in zip(*tables.columns, strict=True):
            product(height, lifted[:, rows], value)
            product(rise, lifted[:, rows], change)
            change *= value
            slope += change
            value *= value
            score += value
        slope *= 2
        if squares is not None:
            for k, first, last in tables.runs:
                score[first:last] += squares[k, rows]
        seen[rows] = score.max(axis=0, initial=0)
        least = seen[rows] if floor is None else floor[rows]
        rises = slope > 0
        rises[tables.empty] = tables.empty_rises[:, None]
        near = score >= least - tables.column_slack.max()
        peak = rises[:-1] > rises[1:]
        peak |= _hidden(score, slope)
        peak &= near[:-1] | near[1:]
        pairs = _pairs(peak, score, slope)
        keep = np.maximum(pairs.before, pairs.after) + tables.column_slack[pairs.column]
        occupied = tables.column_node >= 0
        inside = occupied[pairs.column] | occupied[pairs.column + 1]
        pairs = _taken(pairs, np.flatnonzero((keep >= least[pairs.row]) & inside))
        parts.append(pairs._replace(row=pairs.row + rows.start))
    return _starts(tables, parts), seen


def product(left: _Some, right: _Some, out: Any = None) -> _Some:
    """Left @ right, into `out` if given, in pieces of one thread's work."""
    result: Any = np.empty((len(left), right.shape[1]), right.dtype) if out is None else out
    rows = -(-len(left) // -(-len(left) // _ROWS))  # about as many in each
    step = max(ONE_THREAD // (rows * left.shape[1]), 16)
    whole = right.shape[1] // step * step

    def pieces(matrix: Real) -> Real:
        return matrix[:, :whole].reshape(len(matrix), -1, step).swapaxes(0, 1)

    for first in range(0, len(left), rows):
        some = slice(first, first + rows)
        # One call for all: after each, a thread may have to wait for the interpreter.
        if whole:
            np.matmul(left[some], pieces(right), out=pieces(result[some]))
        if whole < right.shape[1]:
            np.matmul(left[some], right[:, whole:], out=result[some, whole:])
    done: _Some = result
    return done


def _tops(tables: Tables, heights: Real, y: Real) -> Real:
    """The highest share at the nodes of each run, (runs, V)."""
    V = y.shape[1]
    tops = np.empty((len(tables.runs), V), y.dtype)
    for at in _pieces(V, len(heights)):
        height = scratch("heights", (len(heights), at.stop - at.start), y.dtype)
        product(heights, y[:, at], height)
        for top, (_, first, last) in zip(tops, tables.runs, strict=True):
            np.max(height[first:last], axis=0, out=top[at])
    return tops


def _pieces(curves: int, scores: int) -> Iterator[slice]:
    """Curves by so many at a time, about alike, that their scores stay in a cache."""
    pieces = -(-curves * scores // _CACHE)
    for i in range(pieces):
        yield slice(curves * i // pieces, curves * (i + 1) // pieces)


def _scored(columns: Real, y: Real, rows: Index) -> Iterator[tuple[Index, Real, Real]]:
    """Some of the rows at a time, with values and slopes in these columns (2, columns, J·n)."""
    count = columns.shape[1]
    for piece in _pieces(len(rows), count):
        at = rows[piece]
        some = y[:, piece] if len(rows) == y.shape[1] else y.T.take(at, axis=0).T
        height, slope = scratch("heights and slopes", (2, count, len(at)), y.dtype)
        product(columns[0], some, height)
        product(columns[1], some, slope)
        yield at, height, slope


def _hold_ends(height: Real, slope: Real, enough: Real) -> None:
    """Let slopes point outwards at the ends that are as high as any node, and where it is flat.

    Where T changes nothing any more, only rounding would tell which place is the highest.
    """
    for end, way in ((1, -1), (-2, 1)):
        flat = np.abs(slope[end]) < EQUAL
        slope[end, flat & (height[end] >= enough - EQUAL)] = way


def _turns(height: Real, slope: Real, enough: Real, rises_at_ends: Real) -> NDArray[np.bool_]:
    """Where a column rises and the next does not, (columns - 1, V), and one of both is enough.

    And where both rise, or fall, but the slope of the cubic turns between them.
    """
    rises, near = scratch("rises and near", (2, *height.shape), bool)
    peak, beside, other = scratch("peak and beside", (3, len(height) - 1, height.shape[1]), bool)
    np.greater(slope, 0, out=rises)
    rises[0], rises[-1] = rises_at_ends
    np.greater_equal(height, enough, out=near)
    np.greater(rises[:-1], rises[1:], out=peak)
    # By b < 0 < 2·a + b of the cubic: three climbs are less than both slopes and the lesser.
    size = np.abs(slope, out=scratch("sizes", slope.shape, slope.dtype))
    bend, lesser = scratch("bend and lesser", (2, len(height) - 1, height.shape[1]), height.dtype)
    np.subtract(height[1:], height[:-1], out=bend)
    bend *= 3
    bend -= slope[:-1]
    bend -= slope[1:]
    np.minimum(size[:-1], size[1:], out=lesser)
    np.not_equal(np.signbit(bend, out=beside), rises[:-1], out=beside)
    beside &= np.greater(np.abs(bend, out=bend), lesser, out=other)
    np.greater(np.equal(rises[:-1], rises[1:], out=other), beside, out=beside)
    peak[1:-1] |= beside[1:-1]
    peak &= np.logical_or(near[:-1], near[1:], out=beside)
    found: NDArray[np.bool_] = peak
    return found


def _at_ends(tables: Tables, first: int, last: int, height: Real, slope: Real) -> Array:
    """The squared share where a run ends, not at a bound of T, and curves rise beyond; or -1."""
    most = np.full(height.shape[1], -1.0)
    bounds = 0, len(tables.log_T) - 1
    for column, at, beyond in ((first, 1, slope[1] < 0), (last - 1, -2, slope[-2] > 0)):
        if tables.column_node[column] not in bounds:
            top = np.square(np.maximum(height[at], 0))
            most = np.maximum(most, np.where(beyond, top, -1.0))
    return most


def _pairs(peak: NDArray[np.bool_], score: Real, slope: Real) -> _Pairs:
    """What stands on both sides of the peaks."""
    # The last peak of each curve by whole rows, then the few others: faster than one by one.
    flags = peak.view(np.uint8)
    number = np.arange(len(peak), dtype=np.min_scalar_type(len(peak)))[:, None]
    last = np.multiply(flags, number, out=scratch("numbers", peak.shape, number.dtype)).max(axis=0)
    row = np.flatnonzero(np.logical_or.reduce(peak, axis=0))
    column = last.take(row).astype(np.intp)
    several = np.flatnonzero(np.add.reduce(flags, axis=0, dtype=number.dtype) > 1)
    if several.size:
        peak[last[several], several] = False
        others = peak.take(several, axis=1).nonzero()
        column = np.concatenate([column, others[0]])
        row = np.concatenate([row, several[others[1]]])
    width = score.shape[1]
    here = column * width + row
    score, slope = score.ravel(), slope.ravel()
    before, after = score.take(here), score.take(here + width)
    return _Pairs(column, row, before, after, slope.take(here), slope.take(here + width))


def _taken(pairs: _Pairs, chosen: Index) -> _Pairs:
    if len(chosen) == len(pairs.row):
        return pairs
    column, row = pairs.column.take(chosen), pairs.row.take(chosen)
    return _Pairs(column, row, *(real.take(chosen) for real in pairs[2:]))


def _starts(tables: Tables, parts: list[_Pairs]) -> Peaks:
    """Where the cubic through both values and slopes has its top: Newton starts next to it."""
    column, row, t, bracket, doubted = _tops_between(parts)
    # At a bound of T one of the two columns is empty, and there is nothing to polish.
    first, last = tables.column_node[column] < 0, tables.column_node[column + 1] < 0
    right = (tables.column_node[column] % 2 == 0) & ~last | first
    bracket -= right
    bracket[:, first | last] = 0
    u = np.where(first | last, 0.0, t - right)
    column += right
    node, pattern = tables.column_node[column], tables.column_pattern[column]
    return Peaks(row, node, pattern, u, bracket, doubted)


def _starts_between(tables: Tables, parts: list[_Pairs]) -> Peaks:
    """The same where every second node was scored, those that are even."""
    column, row, t, bracket, doubted = _tops_between(parts)
    nodes = len(tables.log_T)
    first, last = column == 0, column == nodes // 2 + 1
    bound = first | last
    bracket = np.where(bound, 0.0, 2 * bracket - 1)
    u = np.where(bound, 0.0, 2.0 * t - 1)
    node = np.where(bound, np.where(last, nodes - 1, 0), 2 * column - 1)
    return Peaks(row, node, np.zeros_like(node), u, bracket, doubted)


def _tops_between(
    parts: list[_Pairs],
) -> tuple[Index, Index, Real, Array, NDArray[np.bool_]]:
    """Columns, rows, tops from 0 to 1 to the next column, brackets (2, P), whether in doubt."""
    if not parts:
        parts = [_Pairs(*np.zeros((2, 0), dtype=np.intp), *np.zeros((4, 0)))]
    column, row, before, after, up, down = (
        np.concatenate(arrays) for arrays in zip(*parts, strict=True)
    )
    t, turn = _top_of_cubic(before, after, up, down)
    # Of a hidden pair the maximum is the one before the turn if both nodes rise, else after it.
    bracket = np.empty((2, len(t)))
    bracket[0] = np.where((up < 0) & (down < 0), turn, 0.0)
    bracket[1] = np.where((up > 0) & (down > 0), turn, 1.0)
    return column, row, t, bracket, up * down > 0


def _top_of_cubic(before: Real, after: Real, up: Real, down: Real) -> tuple[Real, Real]:
    """Where, from 0 to 1, the cubic through two values and slopes has its top, and its turn."""
    a, b = _cubic(before, after, up, down)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = 2 * up / (np.sqrt(np.maximum(b * b - 4 * a * up, 0)) - b)
        turn = -b / (2 * a)
    return np.where((t >= 0) & (t <= 1), t, 0.5), turn


def _cubic(before: Real, after: Real, up: Real, down: Real) -> tuple[Real, Real]:
    """a, b of the slope a·t² + b·t + up of the cubic through two values and slopes, t = 0 … 1."""
    fall = 6 * (before - after)
    return fall + 3 * (up + down), -fall - 4 * up - 2 * down


def _hides(pairs: _Pairs, allowed: Real, enough: Real) -> NDArray[np.bool_]:
    """Whether there may be a maximum, as high as enough, where both nodes rise, or fall.

    It lies where the slope of the cubic is at most what is allowed for, and so between the two
    places where it is just that. (Next to a node the slope may be as small without a turn of the
    cubic: what hides there is lower than the other node.)
    """
    back = pairs.up < 0  # seen from the other side, it rises
    before, after = (np.where(back, *both) for both in (pairs[3:1:-1], pairs[2:4]))
    up, down = (np.where(back, -other, one) for one, other in (pairs[4:], pairs[:3:-1]))
    a, b = _cubic(before, after, up, down)
    square = b * b - 4 * a * (up - allowed)
    turns = (b < 0) & (2 * a + b > 0) & (square > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        places = np.clip((-b + np.sqrt(square) * [[-1], [1]]) / (2 * a), 0, 1)
    heights = before + places * (up + places * (b / 2 + places * (a / 3)))
    # The cubic itself is wrong by less than a third of what its slope is (h⁴/384 of |Q⁽⁴⁾|).
    high: NDArray[np.bool_] = turns & (heights.max(axis=0) + 2 * allowed >= enough)
    return high


def _hidden(score: Array, slope: Array) -> NDArray[np.bool_]:
    """Where a maximum may hide beside a minimum between two nodes that rise, or fall, both.

    There the slope of the cubic through them comes near to 0, or crosses it twice.
    """
    up, down = slope[:-1], slope[1:]
    a, b = _cubic(score[:-1], score[1:], up, down)
    way = np.sign(up)
    inside = (up * down > 0) & (a * way > 0) & (b * way < 0) & (np.abs(b) < 2 * np.abs(a))
    with np.errstate(divide="ignore", invalid="ignore"):
        least = way * (up - b * b / (4 * a))
    found: NDArray[np.bool_] = inside & (least < NEAR * np.minimum(np.abs(up), np.abs(down)))
    return found
