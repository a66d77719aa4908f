"""How far curves reach into the span of a basis A(T), and where over log T they reach furthest.

Arrays lie component first, curve last: (n, V) for V curves of n points, so that every step runs
along memory whatever n is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .peaks import EQUAL as EQUAL  # of the compiled loops too
from .peaks import NEAR as NEAR
from .peaks import Peaks, peaks_of_share, peaks_of_sum, product
from .scratch import scratch
from .tables import DEGREE, Array, Index, Tables, orthonormal

MAX_STEPS = 60
STEP = 1e-8  # in log T, of a bracket halved
_PLAIN_STEPS = 3  # of Newton, after which most are there
_SQUARES = 1e-6  # in log T, of Newton's step: the next would be its square
ROUNDED = 1e-14  # share of |y|² that is rounding of F
SILENT = 1e-26  # |dQ/d log T|², times the share: so small that F is as high as at the bound
NOTHING = 1e-24  # share of |y|² that rounding alone may leave in the part that depends on T


@dataclass(slots=True)
class Maxima:
    """Local maxima of F found for some curves (rows): one entry per candidate, (P,) each.

    `c` (p, P) is Qᵀy, and `tables` (…, P) what :meth:`Branch.covariance` needs. `seen` (V,) is the
    highest F of each curve at any node: more than its maxima only where a sign pattern was given up
    in the middle of a rise. `unsure` are curves of which nothing is given, because rounding left it
    open where their maxima lie.
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
    unsure: Index

    def take(self, chosen: Index) -> Maxima:
        """These candidates alone."""
        if len(chosen) == len(self.row):
            return self
        kept = {name: getattr(self, name).take(chosen, axis=-1) for name in _EACH}
        return replace(self, **kept)


_EACH = ("row", "pattern", "node", "u", "F", "c", "amplitudes", "tables", "converged")


class Branch(Tables):
    """The search for the maxima of F = |Qᵀy|² over log T, and what follows from them."""

    def maxima(
        self, y: Array, weights: Array | None = None, floor: Array | None = None
    ) -> list[Maxima]:
        """The highest maximum of F over log T, or all that exceed a floor, polished.

        Parameters
        ----------
        y : ndarray (n, V)
            Curves of unit length.
        weights : ndarray (J, V), optional
            Of each curve's b.
        floor : ndarray (V,), optional
            Maxima that cannot exceed it are left out; by default, all but each curve's highest.

        Returns
        -------
        list of Maxima
            In any number.
        """
        if not self.sign or floor is not None:
            return [self._maxima(y, weights, floor, np.float64)]
        # Single precision tells of nearly all curves where to look, in half the time.
        found = self._maxima(y, weights, None, np.float32)
        again = found.unsure
        if not again.size:
            return [found]
        rest = self._maxima(
            y[:, again], None if weights is None else weights[:, again], None, np.float64
        )
        seen = np.zeros(y.shape[1])
        seen[again] = rest.seen
        return [found, replace(rest, row=again[rest.row], seen=seen)]

    def _maxima(
        self, y: Array, weights: Array | None, floor: Array | None, dtype: DTypeLike
    ) -> Maxima:
        lifted = self.family.lift(y, weights)
        squares = product(self.signs * self.still, y) ** 2 if self.fixed else None
        if self.sign:
            peaks, seen = peaks_of_share(self, lifted, squares, floor, dtype)
        else:
            peaks, seen = peaks_of_sum(self, lifted, squares, floor)
        return self._polished(y, weights, peaks, seen, floor is None, dtype == np.float32)

    def climb(
        self, y: Array, weights: Array | None, row: Index, pattern: Index, T: Array
    ) -> Maxima:
        """The maxima of F uphill from given places, one for each; as :meth:`maxima` otherwise."""
        position = (np.log(T) - self.log_T[0]) / self.h
        node = np.clip(np.rint(position), 0, len(self.log_T) - 1).astype(np.intp)
        u = np.clip(position - node, -1.0, 1.0)
        return self._polished(y, weights, Peaks(row, node, pattern, u), np.zeros(y.shape[1]))

    def _polished(
        self,
        y: Array,
        weights: Array | None,
        peaks: Peaks,
        seen: Array,
        highest: bool = False,
        rounded: bool = False,
    ) -> Maxima:
        """The maxima in their brackets, or uphill from u where there are none.

        Of each curve the `highest` alone, if that is all that is asked for. Of a curve that was
        scored with much rounding (`rounded`) none, where a bracket turns out to hold no maximum.
        """
        order = np.argsort(peaks.node.astype(np.int16), kind="stable")
        row, node, pattern = (one.take(order) for one in (peaks.row, peaks.node, peaks.pattern))
        u = peaks.u.take(order)
        turned = y.T.take(row, axis=0).T
        if len(self.signs) > 1:
            turned *= self.signs.take(pattern, axis=0).T
        c = self._polynomials(turned, None if weights is None else weights[:, row], node)
        last = len(self.log_T) - 1
        if peaks.bracket is None:
            uphill = self._slope(c, *_derivatives(c), u)[0] > 0
            low = np.where(uphill, u, np.where(node == 0, 0.0, -1.0))
            high = np.where(uphill, np.where(node == last, 0.0, 1.0), u)
        else:
            low, high = peaks.bracket.take(order, axis=1)
        u, converged, settled = self._polish(c, u, low, high, peaks.bracket is not None)
        powers = _powers(u, DEGREE)
        moving = np.einsum("mdp,dp->mp", c, powers)
        F = np.einsum("mp,mp->p", moving, moving)
        if self.sign:
            F[moving[0] * self.sign <= 0] = 0
        if peaks.doubted is not None:
            doubted = np.flatnonzero(peaks.doubted.take(order))
            none = doubted[~settled[doubted] | (_least_change(c, F, doubted) <= EQUAL)]
            settled[none], F[none] = True, 0
        F[F < NOTHING] = 0
        if self.fixed:
            c0 = np.einsum("n,np->p", self.still, turned)
            moving = np.concatenate([c0[None], moving])
            F = np.where(F > 0, F + c0 * c0, 0)
        unsure = np.zeros(0, dtype=np.intp)
        chosen = np.arange(len(row))
        if highest:
            top = np.full(y.shape[1], -1.0)
            np.maximum.at(top, row, F)
            if rounded:
                rise = c[0, 1] * self.sign
                beyond = (node == 0) & (rise <= 0) | (node == last) & (rise >= 0)
                wanting = ~settled & ~(beyond & (u == 0)) | (top[row] == 0)
                if peaks.faint is not None:
                    wanting |= peaks.faint.take(order)
                unsure = np.unique(row[wanting])
                top[unsure] = np.inf
            chosen = np.flatnonzero(top[row] == F)
        if len(chosen) < len(row):
            row, node, pattern = (one.take(chosen) for one in (row, node, pattern))
            u, F, converged = u.take(chosen), F.take(chosen), converged.take(chosen)
            moving, powers = moving.take(chosen, axis=1), _powers(u, DEGREE)
        powers = self.family.lift(powers, None if weights is None else weights[:, row])
        tables = np.empty((self.of_u.shape[1], len(row)))
        self._by_node(self.of_u, powers, node, tables)
        amplitudes = self._amplitudes(moving, tables)
        return Maxima(
            self, row, pattern, node, u, F, moving, amplitudes, tables, converged, seen, unsure
        )

    def _polynomials(self, turned: Array, weights: Array | None, node: Index) -> Array:
        """Shares (m, degree+1, P) of the moving columns about the nodes, of curves (n, P)."""
        c: Array = scratch("polynomials", (self.of_y.shape[1], len(node)))
        self._by_node(self.of_y, self.family.lift(turned, weights), node, c)
        return c.reshape(self.p - self.fixed, DEGREE + 1, len(node))

    def _by_node(self, tables: Array, right: Array, node: Index, result: Array) -> None:
        """tables[k] @ right[:, of node k] into `result`, for columns sorted by node."""
        edges = np.searchsorted(node, np.arange(len(tables) + 1))
        for k in np.flatnonzero(np.diff(edges)):
            at = slice(edges[k], edges[k + 1])
            product(tables[k], right[:, at], result[:, at])

    def _polish(
        self, c: Array, u: Array, low: Array, high: Array, bracketed: bool
    ) -> tuple[Array, NDArray[np.bool_], NDArray[np.bool_]]:
        """The maximum of |c(u)|², or of the one share, within a bracket, by Newton steps.

        Returns
        -------
        u : ndarray (P,)
        converged : ndarray of bool (P,)
        settled : ndarray of bool (P,)
            Whether the slope vanishes there; not so where the bracket ends and it still rises.
        """
        polynomials = (c, *_derivatives(c))
        with np.errstate(all="ignore"):
            if self.sign:  # from the cubic about the node: u may hang on how scores were rounded
                up, bent, skew = (self.sign * k * c[0, k] for k in (1, 2, 3))
                top = 2 * up / (np.sqrt(bent * bent - 4 * up * skew) - bent)
                u = np.where((top >= low) & (top <= high), top, (low + high) / 2)
            at = u
            for _ in range(_PLAIN_STEPS):
                slope, bend = self._slope(*polynomials, at)
                step = slope / bend
                at = at - step
            plain = (bend < 0) & (np.abs(step) * self.h <= _SQUARES)
        plain &= (at >= low) & (at <= high)
        converged, settled = plain.copy(), plain.copy()
        rest = np.flatnonzero(~plain)
        if bracketed:  # most of these brackets were doubts, and hold none
            ends = low[rest], high[rest]
            values, firsts, seconds = _some(polynomials, rest)
            sides = [self._slope(values, firsts, seconds, end)[0] for end in ends]
            held = (sides[0] > 0) & (sides[1] < 0) | (ends[0] == ends[1])
            at[rest[~held]] = u[rest[~held]]
            rest = rest[held]
        began = np.where((at >= low) & (at <= high), at, u)
        if not rest.size:
            return at, converged, settled
        at[rest], converged[rest], settled[rest] = self._halved(
            *_some((*polynomials, began, low, high), rest)
        )
        return at, converged, settled

    def _halved(
        self, c: Array, first: Array, second: Array, u: Array, low: Array, high: Array
    ) -> tuple[Array, NDArray[np.bool_], NDArray[np.bool_]]:
        """As :meth:`_polish`, by Newton steps that stay within a bracket, or else by halving it."""
        result, active = u.copy(), np.arange(len(u))
        converged, settled = np.zeros((2, len(u)), dtype=bool)
        for _ in range(MAX_STEPS):
            if not active.size:
                break
            slope, bend = self._slope(c, first, second, u)
            low = np.where(slope > 0, u, low)
            high = np.where(slope < 0, u, high)
            with np.errstate(divide="ignore", invalid="ignore"):
                newton = np.where(slope == 0, u, u - slope / bend)
            inside = (bend < 0) & (newton >= low) & (newton <= high)
            step = np.where(inside, newton, (low + high) / 2)
            near = np.abs(newton - u) * self.h <= _SQUARES
            moved = (np.abs(step - u) * self.h > STEP) & ~(inside & near)
            settled[active] = inside | near
            result[active] = step
            converged[active] = ~moved
            left = np.flatnonzero(moved)
            active = active.take(left)
            low, high, u = (one.take(left) for one in (low, high, step))
            c, first, second = (one.take(left, axis=-1) for one in (c, first, second))
        return result, converged, settled

    def _slope(self, c: Array, first: Array, second: Array, u: Array) -> tuple[Array, Array]:
        """Half the slope of F and how it bends, or those of the one share."""
        powers = _powers(u, DEGREE)
        slope = np.einsum("mdp,dp->mp", first, powers[:-1])
        bend = np.einsum("mdp,dp->mp", second, powers[:-2])
        if self.sign:
            return slope[0] * self.sign, bend[0] * self.sign
        value = np.einsum("mdp,dp->mp", c, powers)
        bend = np.einsum("mp,mp->p", slope, slope) + np.einsum("mp,mp->p", value, bend)
        return np.einsum("mp,mp->p", value, slope), bend

    # --- what follows from the maximum -----------------------------------------------------------

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

    def silent(self, found: Maxima) -> NDArray[np.bool_]:
        """Whether T changes nothing any more where the maximum is, so that the bound is as good."""
        bend = found.tables[self.widths[1] : self.widths[2]]
        m = self.p - self.fixed
        moving = found.c[self.fixed :]
        told = np.einsum("ip,ijp,jp->p", moving, bend.reshape(m, m, -1), moving)
        silent: NDArray[np.bool_] = told <= SILENT
        return silent

    def covariance(self, found: Maxima, s2: Array, scale: Array) -> Array:
        """(JᵀJ)⁻¹·s² of (T, amplitudes), (1+p, 1+p, P), by blocks: T from dA/dT·a outside A."""
        p, m = self.p, self.p - self.fixed
        c = found.c
        inverse, pull, bend, log_norm, norm_slope = np.split(found.tables, self.widths)
        inverse, pull = inverse.reshape(p, p, -1), pull.reshape(p, p, -1)
        bend = bend.reshape(m, m, -1)
        a = [sum(inverse[i, j] * c[j] for j in range(i, p)) for i in range(p)]
        moving = c[self.fixed :]
        information = sum(moving[i] * bend[i, j] * moving[j] for i in range(m) for j in range(m))
        with np.errstate(divide="ignore", invalid="ignore"):
            var_u = s2 / information
        drift = [sum(pull[i, j] * a[j] for j in range(p)) + norm_slope[i] * a[i] for i in range(p)]
        unit = [np.exp(-log_norm[i]) * scale for i in range(p)]
        dT_du = self.T(found.node, found.u) * self.h
        result = np.empty((1 + p, 1 + p, len(s2)))
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

    def residual(self, y: Array, found: Maxima, b: Array | None) -> Array:
        """Σ(y − Q Qᵀy)² of curves (n, P) without the cancellation of |y|² − |Qᵀy|²."""
        log_T = self.log_T[found.node] + self.h * found.u
        if b is None:
            columns = self.basis_at(log_T, np.ones(1))[0]
        else:
            pairs = zip(log_T, b, strict=True)
            columns = np.concatenate(
                [self.basis_at(np.array([t]), np.array([one]))[0] for t, one in pairs]
            )
        Q = orthonormal(columns[..., self.order])[0]
        turned = y.T * self.signs[found.pattern]
        c = np.einsum("vnp,vn->vp", Q, turned)
        result: Array = ((turned - np.einsum("vnp,vp->vn", Q, c)) ** 2).sum(axis=1)
        return result


def _least_change(c: Array, F: Array, place: Index) -> Array:
    """How much F is from |c(u)|² at the node and at its neighbours, at least."""
    about = np.array([-1, 0, 1]) ** np.arange(DEGREE + 1)[:, None]
    there: Array = np.einsum("mdp,dk->mkp", c[:, :, place], about)
    change: Array = np.abs((there**2).sum(axis=0) - F[place]).min(axis=0)
    return change


def _some(arrays: Sequence[Array], rows: Index) -> Iterator[Array]:
    return (one.take(rows, axis=-1) for one in arrays)


def _powers(u: Array, degree: int) -> Array:
    """1, u, u², … (degree+1, P), in few long steps."""
    powers: Array = scratch("powers", (degree + 1, len(u)))
    powers[0] = 1
    powers[1] = u
    known = 2
    while known <= degree:
        some = min(known - 1, degree + 1 - known)
        np.multiply(powers[1 : 1 + some], powers[known - 1], out=powers[known : known + some])
        known += some
    return powers


def _derivatives(c: Array) -> tuple[Array, Array]:
    """Coefficients of the first and the second derivative of polynomials (m, degree+1, P)."""
    degree = np.arange(1, c.shape[1])[:, None]
    m, count, P = c.shape
    first = np.multiply(c[:, 1:], degree, out=scratch("first", (m, count - 1, P)))
    second = np.multiply(first[:, 1:], degree[:-1], out=scratch("second", (m, count - 2, P)))
    return first, second
