"""An independent search for the least-squares minimum of many curves, and how far a fit is from it.

A dense grid over log T, every sign pattern, every maximum that could win, and a root of the slope.
Nothing is shared with `relaxometry.solve` or `relaxometry.projection`: no tables, no polynomials;
the basis is evaluated afresh wherever it is needed, orthonormal columns come from Gram and Schmidt
(twice), and the slope of the projection from differences of the basis.

What counts as the minimum:

* the first amplitude is positive; where the model bounds the ratio of its two amplitudes,
  low < a[1]/a[0] ≤ high;
* it is the best of the local minima of RSS(T) within the bounds whose free amplitudes keep to that,
  and of those on an edge of it, where the basis collapses to one column;
* an edge whose column is the same at every T (nothing but an offset) cannot tell T: not offered;
* if nothing is left there is no answer, and it is NaN.

RSS alone finds T to the root of the machine's precision only, 1e-8; a root of the slope finds it to
1e-10 wherever the RSS is quadratic.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from relaxometry import Protocol, SignalModel

POINTS = 320  # of the grid: 0.03 to 0.04 apart in log T, where exponentials take 0.5 to change
_CHUNK = 2048
_DIFFERENCE = 3e-4  # in log T; of fourth order, so errors of 1e-12 both by truncation and rounding
_TIE = 1e-12

Columns = Callable[[np.ndarray], np.ndarray]  # log T (g,) -> (g, n, p)


class _Way(NamedTuple):
    """A basis to search: the model's own, or an edge of the cone.

    What is reached beyond a bound that leaves nothing to tell T by (S0 = 0, or an offset alone) is
    the square of one amplitude across that bound. Its sign is searched with it: where the amplitude
    is allowed over a window of T narrower than the grid, the square shows nothing, its root does.
    """

    columns: Columns
    ratio: tuple[float, float] | None = None
    either_sign: bool = False
    across: np.ndarray | None = None  # (p,): amplitudes · across is positive on the right side
    shape: np.ndarray | None = None  # (n,): what is left at that bound, of length 1; None: nothing


def brute_force(
    model: SignalModel,
    protocol: Protocol,
    curves: np.ndarray,
    bounds: tuple[float, float],
    magnitude: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """T (V,) and RSS (V,) of the global minimum for curves (V, n); NaN where there is none."""
    curves = np.atleast_2d(np.asarray(curves, dtype=float))
    n = curves.shape[1]
    ways = _ways(model, protocol, bounds)
    flips = n + 1 if magnitude and model.inverts else 1
    patterns = np.where(np.arange(n) < np.arange(flips)[:, None], -1.0, 1.0)
    found = [
        _search(ways, curves[i : i + _CHUNK], np.log(bounds), patterns)
        for i in range(0, len(curves), _CHUNK)
    ]
    T, rss = (np.concatenate(part) for part in zip(*found, strict=True))
    return T, rss


def _ways(model: SignalModel, protocol: Protocol, bounds: tuple[float, float]) -> list[_Way]:
    """The model's basis, and its edges that tell T."""

    def free(log_T: np.ndarray) -> np.ndarray:
        return model.basis(protocol, np.exp(log_T))

    one = np.ones(1)
    if len(model.amplitudes) == 1:
        return [_Way(free, across=one)]
    ratio = model.ratio(protocol)
    own = _Way(free, ratio=ratio)
    if ratio is None:  # a[0] ≥ 0, and a[1] of either sign
        edges = [(np.array([0.0, 1.0]), np.array([1.0, 0.0]))]
    else:
        edges = [
            (np.array([1.0, at]), side * np.array([-at, 1.0]))
            for at, side in zip(ratio, (1, -1), strict=True)
        ]
    ways = []
    for mix, across in edges:

        def columns(log_T: np.ndarray, mix: np.ndarray = mix) -> np.ndarray:
            return (free(log_T) @ mix)[..., None]

        shapes = columns(np.linspace(*np.log(bounds), 50))[..., 0]
        shapes /= np.linalg.norm(shapes, axis=1)[:, None]
        if np.ptp(shapes, axis=0).max() < 1e-9:
            own = own._replace(across=across, shape=shapes[0])
        elif ratio is None:
            ways.append(_Way(columns, either_sign=True))
        else:
            ways.append(_Way(columns, across=one))
    return [own, *ways]


def _search(
    ways: list[_Way],
    curves: np.ndarray,
    log_bounds: np.ndarray,
    patterns: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """T and RSS of some curves: F = the share of |y|² within reach, at its highest."""
    length = np.linalg.norm(curves, axis=1)
    y = curves / np.where(length > 0, length, 1)[:, None]
    grid = np.linspace(*log_bounds, POINTS)
    step = grid[1] - grid[0]
    least = np.zeros(len(y))  # what is reached at some point of the grid, and so surely at the best
    peaks = []
    for way in ways:
        Q, R = _gram_schmidt(way.columns(grid))
        for k, signs in enumerate(patterns):
            c = [(y * signs) @ Q[..., j].T for j in range(Q.shape[2])]
            F = sum(one**2 for one in c)
            a = _solved(c, R)
            best = np.where(_allowed(a, way), F, 0).max(axis=1)
            np.maximum(least, best, out=least)
            offset = _offset(way, y * signs)
            if way.across is not None:
                F = (F - offset[:, None]) * np.sign(_across(a, way))
            higher = np.pad(F, ((0, 0), (1, 1)), constant_values=-np.inf)
            left, right = higher[:, :-2], higher[:, 2:]
            row, node = np.nonzero(((left <= F) & (right < F)) | ((left < F) & (right <= F)))
            middle = F[row, node]
            # A parabola through a maximum and its neighbours rises an eighth of this above it;
            # at a bound, with one neighbour, by step²/8 of F'', which is 4 at most.
            sides = np.stack([left[row, node], right[row, node]])
            fall = np.where(np.isfinite(sides), middle - sides, step**2).sum(axis=0)
            peaks.append((way, k, row, node, offset[row] + middle + fall + 1e-9))
    # What an offset alone reaches. A candidate that reaches no further is that offset.
    best_F = np.max([_offset(way, y) for way in ways], axis=0) + 1e-14
    best_T, best_rss = np.full(len(y), np.nan), np.full(len(y), np.nan)
    for way, k, row, node, ceiling in peaks:
        could = (ceiling >= least[row]) & (length[row] > 0)
        row, node = row[could], node[could]
        if not row.size:
            continue
        low, high = grid[np.maximum(node - 1, 0)], grid[np.minimum(node + 1, POINTS - 1)]
        s = y[row] * patterns[k]
        x = _top(way, s, low, grid[node], high)
        Q, R = _gram_schmidt(way.columns(x))
        c = np.einsum("vnp,vn->pv", Q, s)
        left = s - np.einsum("vnp,pv->vn", Q, c)
        rss = (left**2).sum(axis=1)
        better = np.flatnonzero(_allowed(_solved(list(c), R), way) & (1 - rss > best_F[row]))
        better = better[np.argsort(-rss[better], kind="stable")]  # the last written stays
        row = row[better]
        best_F[row], best_T[row] = 1 - rss[better], np.exp(x[better])
        best_rss[row] = rss[better] * length[row] ** 2
    return best_T, best_rss


def _gram_schmidt(A: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Q (g, n, p), R (g, p, p) of A (g, n, p), each column made orthogonal twice."""
    Q, R = np.array(A), np.zeros((len(A), A.shape[2], A.shape[2]))
    for j in range(A.shape[2]):
        for _ in range(2):
            for i in range(j):
                part = np.einsum("gn,gn->g", Q[..., i], Q[..., j])
                Q[..., j] -= part[:, None] * Q[..., i]
                R[:, i, j] += part
        R[:, j, j] = np.sqrt(np.einsum("gn,gn->g", Q[..., j], Q[..., j]))
        Q[..., j] /= R[:, j, j, None]
    return Q, R


def _solved(c: list[np.ndarray], R: np.ndarray) -> list[np.ndarray]:
    """Amplitudes a of R a = c, for one or two columns."""
    if len(c) == 1:
        return [c[0] / R[:, 0, 0]]
    second = c[1] / R[:, 1, 1]
    return [(c[0] - R[:, 0, 1] * second) / R[:, 0, 0], second]


def _offset(way: _Way, y: np.ndarray) -> np.ndarray:
    """Share of |y|² that is reached at a bound where T does not matter."""
    if way.shape is None:
        return np.zeros(len(y))
    reached: np.ndarray = (y @ way.shape) ** 2
    return reached


def _across(a: list[np.ndarray], way: _Way) -> np.ndarray:
    assert way.across is not None
    return sum(share * one for share, one in zip(way.across, a, strict=True) if share)


def _allowed(a: list[np.ndarray], way: _Way) -> np.ndarray:
    if way.either_sign:
        return np.ones_like(a[0], dtype=bool)
    allowed = a[0] > 0
    if way.ratio is not None:
        low, high = way.ratio
        allowed &= (a[1] > low * a[0]) & (a[1] <= high * a[0])
    return allowed


def _slope(way: _Way, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """dF/d log T (v,) for curves (v, n) at x (v,): 2·rᵀA'a, r what A·a leaves of y.

    On the wrong side of a bound across which a way is searched it is turned over, as F is.
    """
    columns = way.columns
    Q, R = _gram_schmidt(columns(x))
    c = np.einsum("vnp,vn->pv", Q, y)
    residual = y - np.einsum("vnp,pv->vn", Q, c)
    residual -= np.einsum("vnp,vp->vn", Q, np.einsum("vnp,vn->vp", Q, residual))
    a = _solved(list(c), R)
    h = _DIFFERENCE
    rise = 8 * (columns(x + h) - columns(x - h)) - (columns(x + 2 * h) - columns(x - 2 * h))
    mixed = sum(rise[..., j] * one[:, None] for j, one in enumerate(a))
    slope: np.ndarray = np.einsum("vn,vn->v", residual, mixed) / (6 * h)
    return slope if way.across is None else slope * np.where(_across(a, way) < 0, -1, 1)


def _top(
    way: _Way,
    y: np.ndarray,
    low: np.ndarray,
    middle: np.ndarray,
    high: np.ndarray,
) -> np.ndarray:
    """Log T (v,) of the maximum of F between low and high (v,), next to middle.

    Chandrupatla's root of the slope: inverse quadratic interpolation where that is safe, else
    bisection. Where the slope at an end points out of the range, that end is the answer.
    """
    at_low, at_high = _slope(way, y, low), _slope(way, y, high)
    answer = np.where(at_low <= 0, low, high)  # where there is no root between
    # An inner maximum whose neighbours show no change of sign is flat to rounding: leave it there.
    inner = (middle > low) & (middle < high)
    answer = np.where(inner, middle, answer)
    open_ = np.flatnonzero((at_low > 0) & (at_high < 0))
    x1, f1, x2, f2 = low[open_], at_low[open_], high[open_], at_high[open_]
    x3, f3, t = x2, f2, np.full(open_.size, 0.5)
    for _ in range(100):
        if not open_.size:
            break
        x = x1 + t * (x2 - x1)
        f = _slope(way, y[open_], x)
        same = (f > 0) == (f1 > 0)
        x3, f3 = np.where(same, x1, x2), np.where(same, f1, f2)
        x2, f2 = np.where(same, x2, x1), np.where(same, f2, f1)
        x1, f1 = x, f
        nearer = np.abs(f1) < np.abs(f2)
        answer[open_] = np.where(nearer, x1, x2)
        width = np.abs(x2 - x1)
        # The smaller of the two slopes is a root to 1e-12; halving on would change nothing.
        going = (width > 1e-12) & (f1 != 0) & (f2 != 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            xi, phi = (x1 - x2) / (x3 - x2), (f1 - f2) / (f3 - f2)
            safe = (phi**2 < xi) & ((1 - phi) ** 2 < 1 - xi)
            quadratic = f1 / (f2 - f1) * f3 / (f2 - f3) + (x3 - x1) / (x2 - x1) * f1 / (
                f3 - f1
            ) * f2 / (f3 - f2)
            margin = np.where(width > 0, 2.5e-13 / width, 0.5)
        t = np.where(safe & np.isfinite(quadratic), quadratic, 0.5)
        t = np.clip(t, np.minimum(margin, 0.5), np.maximum(1 - margin, 0.5))
        keep = np.flatnonzero(going)
        open_, x1, f1, x2, f2 = open_[keep], x1[keep], f1[keep], x2[keep], f2[keep]
        x3, f3, t = x3[keep], f3[keep], t[keep]
    return answer


class Misses(NamedTuple):
    """How a set of fits compares with the brute-force minima."""

    curves: int
    missed: np.ndarray  # (V,) bool: no minimum, or another, or none where there is one
    tied: int  # T further off than 1e-6, but RSS the same to 1e-12 of |y|²: either counts
    beaten: int  # RSS of the fit lower than that of the search: the search is at fault
    largest: float  # error of T, relative, over what is neither tied nor missed
    T: np.ndarray
    rss: np.ndarray


def misses(
    model: SignalModel,
    protocol: Protocol,
    curves: np.ndarray,
    T: np.ndarray,
    amplitudes: np.ndarray,
    bounds: tuple[float, float],
    magnitude: bool,
) -> Misses:
    """Fits T (V,), amplitudes (V, p) of curves (V, n) against `brute_force`.

    A fit is right if its T is within 1e-6 of the global minimum's, or its RSS within 1e-12·|y|².
    That RSS is worked out here from its T and amplitudes, which must be within what is allowed.
    """
    best_T, best_rss = brute_force(model, protocol, curves, bounds, magnitude)
    known, there = np.isfinite(T), np.isfinite(best_T)
    signal = model.signal(protocol, np.where(known, T, 1), np.where(known[:, None], amplitudes, 0))
    rss = ((curves - signal) ** 2).sum(axis=1)
    if magnitude and model.inverts:
        # Of every polarity, not of |S|: where TR differs from TI to TI a model far from the data
        # may change sign twice, which no recovery does.
        for k in range(1, curves.shape[1] + 1):
            turned = np.where(np.arange(curves.shape[1]) < k, -curves, curves)
            np.minimum(rss, ((turned - signal) ** 2).sum(axis=1), out=rss)
    first = amplitudes[:, 0]
    low, high = bounds[0] * (1 - 1e-12), bounds[1] * (1 + 1e-12)
    allowed = known & (low <= T) & (high >= T)
    ratio = model.ratio(protocol)
    with np.errstate(invalid="ignore"):
        if ratio is None:
            allowed &= first >= 0
        else:
            slack = 1e-9 * first
            allowed &= (first > 0) & (amplitudes[:, 1] >= ratio[0] * first - slack)
            allowed &= amplitudes[:, 1] <= ratio[1] * first + slack
        size = (curves**2).sum(axis=1)
        off = np.abs(T / best_T - 1)
        close = off <= 1e-6
        # Right T with wrong amplitudes is wrong too: RSS is quadratic in both.
        honest = rss <= best_rss + 1e-9 * size
        tie = rss - best_rss <= _TIE * size
        beaten = known & there & allowed & (best_rss - rss > _TIE * size)
    right = np.where(known & there, allowed & (tie | (close & honest)), ~known & ~there)
    counted = right & known & close
    return Misses(
        curves=len(curves),
        missed=~right,
        tied=int((right & known & there & ~close).sum()),
        beaten=int(beaten.sum()),
        largest=float(off[counted].max(initial=0)),
        T=best_T,
        rss=best_rss,
    )
