"""Exact least squares for many curves at once: y ≈ A(T)·a, linear in a, with one time constant T.

For a fixed T the best amplitudes are closed-form, so the fit is a search along one line: maximise
F(T) = |Q(T)ᵀy|², where Q spans the columns of A (variable projection; Golub & Pereyra, SIAM J Numer
Anal 10:413, 1973). Q and all that the errors need are tabulated once per protocol as polynomials in
log T, so that no exponential is evaluated per curve and no start value is needed:

1. matrix products give F and its slope at every node of the table (for magnitude data: for every
   monotone sign pattern that can occur there);
2. every maximum between nodes that could, by the curvature of F, still win is polished by bracketed
   Newton steps on the polynomial;
3. amplitudes, RSS and the Gauss–Newton covariance follow from the tables.

Where the ratio of two amplitudes is bounded, the optimum is a local maximum of F within the bounds
or lies on an edge, where the basis collapses to one column: an edge is one more basis, and is
solved alike. `relaxometry.compiled` does the same for large jobs, curve by curve.

Arrays only: nothing here knows of images or MRI.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .errors import FitError, InputError
from .maps import Status
from .peaks import product
from .projection import ROUNDED, Branch, Maxima
from .scratch import scratch
from .tables import Basis

Array = NDArray[np.float64]
Engine = Literal["numpy", "compiled"]

# Curves are worked on in chunks of this many, counted from the first: a curve's neighbours, and so
# its rounding, are the same whatever block or thread it is handed to.
CHUNK = 32768
_LARGE = 1 << 21  # curves from which the compiled engine pays
_NO_SPREAD = 1e-24  # share of Σ w·y² that rounding alone leaves of Σ w·(y − mean)²
_CANCELS = 1e-3  # below this share of it, sums are made anew and not by difference
_EXACT_RSS = 1e-6  # below this share of |y|², RSS is summed from residuals, not by difference


def engine_for(curves: int, engine: Engine | None) -> Engine:
    """The engine for a job of that many curves.

    By default the compiled one from 2 million curves on, where numba is installed: they pay for
    loading it, and soon for compiling it, which is done once and kept on the disk. The choice hangs
    on nothing else, so that the same job gives the same bits.

    Raises
    ------
    InputError
        If there is no such engine, or numba is not installed.
    """
    if engine not in (None, "numpy", "compiled"):
        raise InputError(f"{engine!r}", field="engine", expected="numpy or compiled")
    if engine == "compiled" and find_spec("numba") is None:
        raise InputError(
            "numba is not installed",
            field="engine",
            hint='pip install "relaxometry[fast]", or leave the engine out',
        )
    return engine or ("compiled" if curves >= _LARGE and _numba_works() else "numpy")


def _numba_works() -> bool:
    """Whether numba is here and goes with this NumPy: it refuses those newer than itself."""
    try:
        import_module("numba")
    except ImportError:
        return False
    return True


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

    @classmethod
    def empty(cls, V: int, p: int, status: NDArray[np.uint8]) -> Solution:
        """V curves of which nothing is known but the status."""
        return cls(
            T=np.full(V, np.nan),
            amplitudes=np.full((V, p), np.nan),
            covariance=np.full((V, 1 + p, 1 + p), np.nan),
            rss=np.full(V, np.nan),
            rsquared=np.full(V, np.nan),
            status=status,
        )

    def put(self, rows: NDArray[np.intp], part: Solution) -> None:
        """Set some of the curves to those of another solution."""
        for name in Solution.__slots__:
            getattr(self, name)[rows] = getattr(part, name)


class Solver:
    """Tables of one basis over the range of T, ready to fit any number of curves.

    Parameters
    ----------
    basis : callable
        T (g,), b → columns (g, n, p), smooth in log T and log b; b is 1 without a `span`.
    bounds : (float, float)
        Range of T searched, s.
    ratio : (float, float), optional
        Range of a[1]/a[0], for p = 2. The first amplitude is positive in any case.
    magnitude : bool
        Whether the curves lost their sign: the model is negative for the first k points, k unknown.
    weights : ndarray (n,), optional
        Of the squared residuals.
    span : (float, float), optional
        Range of b, a second variable of the basis that each curve brings along (B1).
    """

    def __init__(
        self,
        basis: Basis,
        bounds: tuple[float, float],
        ratio: tuple[float, float] | None = None,
        magnitude: bool = False,
        weights: Array | None = None,
        span: tuple[float, float] | None = None,
        engine: Engine | None = None,
    ) -> None:
        n, p = basis(np.array([bounds[0]]), 1.0).shape[1:]
        self._weights = np.ones(n) if weights is None else np.asarray(weights, dtype=np.float64)
        root = np.sqrt(self._weights)[:, None]
        # signs[k] turns the first k points over.
        flips = np.arange(n + 1)[:, None] > np.arange(n) if magnitude else np.zeros((1, n), bool)
        self.signs = np.where(flips, -1.0, 1.0)
        self._ratio = ratio
        if p > 2:
            raise FitError(f"{p} amplitudes", field="model", expected="one or two")
        edges = np.empty((0, p))
        if p == 2:  # without a ratio, the half-plane of a positive first amplitude
            edges = np.array([(0.0, 1), (0, -1)] if ratio is None else [(1, one) for one in ratio])
        # The first amplitude alone lies within every half-plane.
        cone = edges.T if ratio is not None else np.vstack([edges, np.eye(1, p)]).T

        def weighted(T: Array, b: float) -> Array:
            return basis(T, b) * root

        self.free = Branch(weighted, bounds, self.signs, cone, span=span)
        if self.free.flat:
            raise FitError(
                "the basis does not change with T", field="model", expected="one that does"
            )
        self._branch_on = partial(Branch, weighted, bounds, self.signs, np.ones((1, 1)), span=span)
        self._mixes = edges
        self._search: Any = None
        if engine == "compiled":
            from .compiled import Search

            branches = [self.free, *self.edges]
            self._search = Search(
                branches, self._flat, ratio, self._weights, _EXACT_RSS, ROUNDED, _NO_SPREAD
            )

    @cached_property
    def _every_edge(self) -> list[Branch]:
        """Built when the first curve wants them: many images have none that does."""
        return [self._branch_on(mix=mix) for mix in self._mixes]

    @property
    def edges(self) -> list[Branch]:
        """Edges that tell of T."""
        return [branch for branch in self._every_edge if not branch.flat]

    @property
    def _flat(self) -> Array:
        """Directions of edges that tell nothing of T, but that others must beat."""
        return np.array([branch.still for branch in self._every_edge if branch.flat])

    @property
    def working_memory(self) -> int:
        """Bytes one chunk takes while it is fitted, about."""
        candidates = 1 if len(self.signs) == 1 else 5
        each = self.free.working_numbers * candidates + 8 * self.signs.shape[1]
        return int(8 * CHUNK * each)

    def __call__(self, curves: NDArray[np.floating], b: Array | None = None) -> Solution:
        """Fit curves (V, n), in the order of the basis' points; V of any size; b (V,) of each."""
        if self._search is not None:
            return self._compiled(curves, b)
        return self._by_chunks(curves, b)

    def _by_chunks(self, curves: NDArray[np.floating], b: Array | None) -> Solution:
        parts = [
            self._chunk(curves[i : i + CHUNK], None if b is None else b[i : i + CHUNK])
            for i in range(0, max(len(curves), 1), CHUNK)
        ]
        if len(parts) == 1:
            return parts[0]
        return Solution(
            *(np.concatenate([getattr(p, f) for p in parts]) for f in Solution.__slots__)
        )

    def _compiled(self, curves: NDArray[np.floating], b: Array | None) -> Solution:
        """As :meth:`_by_chunks`, by `relaxometry.compiled`."""
        V, p = len(curves), len(self.free.order)
        # Curves last: what is worked on in one go lies in one row.
        T, rss, rsquared = (np.empty(V) for _ in range(3))
        amplitudes, covariance = np.empty((p, V)), np.empty((1 + p, 1 + p, V))
        status = np.empty(V, dtype=np.uint8)
        again = self._search(curves, b, (T, amplitudes, covariance, rss, rsquared, status))
        result = Solution(T, amplitudes.T, covariance.transpose(2, 0, 1), rss, rsquared, status)
        if again.size:
            result.put(again, self._by_chunks(curves[again], None if b is None else b[again]))
        return result

    def _chunk(self, curves: NDArray[np.floating], b: Array | None) -> Solution:
        # In memory curve by curve: where they are reordered, each is taken as a whole.
        y = scratch("curves", curves.shape).T
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            y[:] = curves.T
            square = np.einsum("nv,nv->v", y, y)
        finite = np.isfinite(square)
        peak = np.ones(len(square))
        odd = ~(finite & (square > 1e-200))
        if odd.any():  # NaN, infinity, zero; or squares that over- or underflow
            finite[odd] = np.isfinite(y[:, odd]).all(axis=0)
            y[:, ~finite] = 0
            peak[odd] = np.maximum(np.abs(y[:, odd]).max(axis=0), np.finfo(float).tiny)
            y /= peak
            square = np.einsum("nv,nv->v", y, y)
        if b is not None:
            usable = np.isfinite(b) & (b > 0)
            finite &= usable
            b = np.where(usable, b, 1.0)
        signal = finite & (square > 0)
        root = np.sqrt(self._weights)
        if (self._weights != 1).any():
            y *= root[:, None]
            square = np.einsum("nv,nv->v", y, y)
        length = np.sqrt(square)
        signal &= length > 0
        y *= 1 / np.where(signal, length, 1.0)
        scale = peak * length

        best = _Best(y.shape[1])
        rows = np.flatnonzero(signal)
        whole = len(rows) == len(signal)
        unit = y if whole else y[:, rows]
        top = np.zeros(len(signal))
        if rows.size:
            shares = None if b is None else self.free.family.weights(b if whole else b[rows])
            for free in self.free.maxima(unit, shares):
                best.offer(rows, free, self._feasible(free))
                np.maximum.at(top, rows[free.row], free.F)
                top[rows] = np.maximum(top[rows], free.seen - ROUNDED)
        if len(self._mixes):
            # The unbounded optimum is out of bounds.
            left = np.flatnonzero((top > best.F) | (signal & (best.F == 0)))
            if left.size:
                unit = y[:, left]
                for edge in self.edges:
                    shares = None if b is None else edge.family.weights(b[left])
                    for found in edge.maxima(unit, shares):
                        best.offer(left, found, found.F > 0)
                shares = None if b is None else self.free.family.weights(b[left])
                for every in self.free.maxima(unit, shares, floor=best.F[left]):
                    best.offer(left, every, self._feasible(every))
                self._leave_edges(unit, shares, left, best)
                if len(flat := self._flat):
                    reach = np.abs(product(flat, unit)).max(axis=0) ** 2
                    best.withdraw(left[best.F[left] <= reach + ROUNDED])
        solution = self._finish(y, scale, b, best)
        solution.status[~finite] = Status.NON_FINITE
        spread = self._spread(y)
        with np.errstate(divide="ignore", invalid="ignore"):
            rsquared = 1 - solution.rss / (spread * scale**2)
        solution.rsquared[:] = np.where(spread > _NO_SPREAD, rsquared, np.nan)
        return solution

    def _spread(self, y: Array) -> Array:
        """Σ w·(y − mean)² of curves (n, V), weighted already and of unit length."""
        root = np.sqrt(self._weights)
        mean = np.einsum("n,nv->v", root, y) / self._weights.sum()
        spread: Array = 1 - mean * mean * self._weights.sum()
        alike = np.flatnonzero(spread < _CANCELS)
        spread[alike] = ((y[:, alike] - root[:, None] * mean[alike]) ** 2).sum(axis=0)
        return spread

    def _leave_edges(
        self, unit: Array, shares: Array | None, left: NDArray[np.intp], best: _Best
    ) -> None:
        """Climb from the maxima on an edge: where F goes on rising inside, they are none.

        What is found so lies next to the edge, hidden from the table by a minimum beside it.
        """
        for code, (_, found) in enumerate(best.offers):
            if found.branch.mix is None:
                continue
            place = np.flatnonzero(best.offer_of[left] == code)
            at = best.index[left[place]]
            inside = self.free.climb(
                unit, shares, place, found.pattern[at], found.branch.T(found.node[at], found.u[at])
            )
            best.offer(left, inside, self._feasible(inside))

    def _feasible(self, found: Maxima) -> NDArray[np.bool_]:
        a = found.amplitudes
        allowed: NDArray[np.bool_] = (found.F > 0) & (a[0] > 0)
        if self._ratio is not None:
            low, high = self._ratio
            allowed &= (a[1] > low * a[0]) & (a[1] <= high * a[0])
        return allowed

    def _finish(self, unit: Array, scale: Array, b: Array | None, best: _Best) -> Solution:
        n, V = unit.shape
        p = len(self.free.order)
        status = np.full(V, Status.LOW_SIGNAL, dtype=np.uint8)
        T, rss = np.full(V, np.nan), np.full(V, np.nan)
        amplitudes, covariance = np.full((p, V), np.nan), np.full((1 + p, 1 + p, V), np.nan)
        for rows, found in best.chosen():
            branch = found.branch
            left = 1.0 - found.F
            close = np.flatnonzero(left < _EXACT_RSS)
            if close.size:
                at = rows[close]
                left[close] = branch.residual(
                    unit[:, at], found.take(close), None if b is None else b[at]
                )
            T[rows] = branch.T(found.node, found.u)
            amplitudes[:, rows] = found.amplitudes * scale[rows]
            rss[rows] = left * scale[rows] ** 2
            free_points = n - 1 - branch.p
            if free_points > 0:
                covariance[:, :, rows] = branch.covariance(found, left / free_points, scale[rows])
            silent = branch.silent(found)
            at_bound = branch.at_bound(found.node, found.u) | silent
            if silent.any():
                low = found.node[silent] * 2 < len(branch.log_T)
                T[rows[silent]] = np.exp(np.where(low, branch.log_T[0], branch.log_T[-1]))
            state = np.where(found.converged, Status.OK, Status.NOT_CONVERGED)
            if branch is not self.free:
                state[found.converged] = Status.AT_EDGE
            state[at_bound] = Status.AT_BOUND
            status[rows] = state
            covariance[:, :, rows[at_bound | ~found.converged]] = np.nan
        return Solution(
            T, amplitudes.T, covariance.transpose(2, 0, 1), rss, np.full(V, np.nan), status
        )


class _Best:
    """The best candidate offered for each curve so far."""

    def __init__(self, V: int) -> None:
        self.F = np.zeros(V)
        self.offers: list[tuple[NDArray[np.intp], Maxima]] = []
        self.offer_of, self.index = np.full(V, -1), np.zeros(V, dtype=np.intp)

    def withdraw(self, rows: NDArray[np.intp]) -> None:
        """Take back what was offered for these curves."""
        self.F[rows] = 0
        self.offer_of[rows] = -1

    def offer(self, rows: NDArray[np.intp], found: Maxima, allowed: NDArray[np.bool_]) -> None:
        """Candidates whose row counts in `rows`, a selection of the curves."""
        row = rows[found.row]
        # Of equals that which was offered first, whatever rounding makes of them.
        F = np.where(allowed & (self.F[row] + ROUNDED < found.F), found.F, 0)
        np.maximum.at(self.F, row, F)
        chosen = np.flatnonzero((F > 0) & (self.F[row] == F))
        row = row[chosen]
        self.offer_of[row], self.index[row] = len(self.offers), chosen
        self.offers.append((rows, found))

    def chosen(self) -> Iterator[tuple[NDArray[np.intp], Maxima]]:
        """What was best of each offer, with the curves (counted from the first) it is best for."""
        for code, (rows, found) in enumerate(self.offers):
            row = rows[found.row]
            mine = (self.offer_of[row] == code) & (self.index[row] == np.arange(len(row)))
            chosen = np.flatnonzero(mine)
            if chosen.size:
                yield row[chosen], found.take(chosen)
