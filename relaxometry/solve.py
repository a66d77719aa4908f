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
or lies on an edge, where the basis collapses to one column: an edge is one more basis, and is
solved alike.

Arrays only: nothing here knows of images or MRI.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .maps import Status
from .projection import Basis, Branch, Maxima

Array = NDArray[np.float64]

# Curves are worked on in chunks of this many, counted from the first: a curve's neighbours, and so
# its rounding, are the same whatever block or thread it is handed to.
CHUNK = 4096
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
        self._free = Branch(1, basis, bounds)
        edges = () if ratio is None else ratio
        self._edges = [Branch(2 + i, basis, bounds, (1.0, edge)) for i, edge in enumerate(edges)]
        self._ratio = ratio
        # signs[k] turns the first k points over.
        flips = np.arange(n + 1)[:, None] > np.arange(n) if magnitude else np.zeros((1, n), bool)
        self._signs = np.where(flips, -1.0, 1.0)

    @property
    def working_memory(self) -> int:
        """Bytes one chunk takes while it is fitted, about."""
        # Scores of every pattern at every node, their comparison masks, and one pattern's columns.
        nodes, p = len(self._free.log_T), self._free.p
        return int(CHUNK * nodes * (len(self._signs) * 12 + 8 * 4 * p))

    def __call__(self, curves: NDArray[np.floating]) -> Solution:
        """Fit curves (V, n), in the order of the basis' points; V of any size."""
        parts = [self._chunk(curves[i : i + CHUNK]) for i in range(0, max(len(curves), 1), CHUNK)]
        return Solution(
            *(np.concatenate([getattr(p, f) for p in parts]) for f in Solution.__slots__)
        )

    def _chunk(self, curves: NDArray[np.floating]) -> Solution:
        y = np.asarray(curves, dtype=np.float64)
        finite: NDArray[np.bool_] = np.asarray(np.isfinite(y).all(axis=1))
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

    def _feasible(self, found: Maxima) -> NDArray[np.bool_]:
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


class _Best:
    """The best candidate offered for each curve so far; branch 0 is none."""

    def __init__(self, V: int, p: int) -> None:
        self.F = np.zeros(V)
        self.branch, self.pattern, self.node = (np.zeros(V, dtype=np.intp) for _ in range(3))
        self.u, self.c, self.amplitudes = np.zeros(V), np.zeros((V, p)), np.zeros((V, p))
        self.converged = np.zeros(V, dtype=bool)

    def offer(self, found: Maxima, allowed: NDArray[np.bool_]) -> None:
        chosen = np.flatnonzero(allowed & (self.F[found.row] < found.F))
        # The last write per row wins, so write in order of F.
        chosen = chosen[np.argsort(found.F[chosen], kind="stable")]
        rows = found.row[chosen]
        self.branch[rows] = found.branch
        self.c[rows, : found.c.shape[1]] = found.c[chosen]
        for name in ("F", "pattern", "node", "u", "amplitudes", "converged"):
            getattr(self, name)[rows] = getattr(found, name)[chosen]
