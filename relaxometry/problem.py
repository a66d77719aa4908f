"""What is solved for each curve: one model, one protocol, and what was chosen about its points."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .errors import FitError
from .maps import Status
from .models import SignalModel
from .points import LEAST_B1, MOST_B1, Choices, kept_points
from .series import Protocol
from .solve import Engine, Solution, Solver

Array = NDArray[np.float64]
Bounds = tuple[float, float]

_STRAIGHT = 179.0  # degrees; next to 180° the signal vanishes, and its shape with it


class Problem:
    """A model and a protocol, ready to fit curves; solvers are made once and shared by threads.

    Parameters
    ----------
    model : SignalModel
    protocol : Protocol
        n points, one of them swept.
    choices : Choices
    engine : {"numpy", "compiled"}, optional
        See :class:`relaxometry.solve.Solver`.

    Raises
    ------
    FitError
        If the model cannot be fitted so.
    """

    def __init__(
        self,
        model: SignalModel,
        protocol: Protocol,
        choices: Choices,
        engine: Engine | None = None,
    ) -> None:
        self.model, self.protocol, self.choices = model, protocol, choices
        self.engine = engine
        self._span = None
        if choices.B1 is not None:
            if protocol.FA is None or "FA" not in model.reads:
                raise FitError(
                    f"model {model.name}", field="B1", expected="a model that reads the flip angle"
                )
            usable = self.usable(choices.B1)
            usable = usable[np.isfinite(usable)]
            low, high = (float(usable.min()), float(usable.max())) if usable.size else (1.0, 1.0)
            # Never of no width: the tables lie between the ends.
            self._span = low * (1 - 1e-3), high * (1 + 1e-3)
        self._solvers: dict[bytes, Solver] = {}
        # What has no weight is no point: it must not count among the degrees of freedom.
        weighs = np.ones(len(protocol)) if choices.weights is None else choices.weights
        self._weighs = weighs > 0
        parameters = 1 + len(model.amplitudes)
        if (used := np.count_nonzero(self._weighs)) < parameters:
            raise FitError(
                f"{used} above 0 for the {parameters} parameters of {model.name}",
                field="weights",
                expected=f"at least {parameters}",
            )
        self.solver = self._solver_of(self._weighs)

    def solve(
        self, curves: NDArray[np.floating], B1: Array | None = None
    ) -> tuple[Solution, NDArray[np.intp]]:
        """Fit curves (V, n), in the order of the protocol.

        Returns
        -------
        Solution
            Of V curves; CLIPPED where too few points are left for one more than the parameters,
            LOW_SIGNAL where too few are above the noise floor.
        ndarray (V,)
            Number of points that each fit used.
        """
        if B1 is not None:
            B1 = self.usable(B1)
        if not self.choices.leaves_out:
            return self.solve_all(curves, B1)
        kept, clipped = kept_points(curves, self.choices, self.protocol.swept)
        lost = (~kept & self._weighs).any(axis=1)
        if not lost.any():
            return self.solve_all(curves, B1)
        rows = np.flatnonzero(~lost)
        solution, points = self.solve_all(curves[rows], None if B1 is None else B1[rows])
        result = Solution.empty(
            len(curves), len(self.model.amplitudes), np.zeros(len(curves), dtype=np.uint8)
        )
        used = np.zeros(len(curves), dtype=np.intp)
        result.put(rows, solution)
        used[rows] = points
        rows = np.flatnonzero(lost)
        solution, points = self._with_gaps(
            curves[rows],
            kept[rows] & self._weighs,
            clipped[rows] & self._weighs,
            None if B1 is None else B1[rows],
        )
        result.put(rows, solution)
        used[rows] = points
        return result, used

    def solve_all(
        self, curves: NDArray[np.floating], B1: Array | None = None
    ) -> tuple[Solution, NDArray[np.intp]]:
        """As :meth:`solve`, with every point that has a weight; B1 as :meth:`usable` gives it."""
        used = curves if self._weighs.all() else curves[:, self._weighs]
        solution = self._at_bounds(self.solver(used, B1), self._bounds_of(self._weighs))
        return solution, np.broadcast_to(np.intp(used.shape[1]), len(curves))

    def usable(self, B1: Array) -> Array:
        """B1 where it can be one, with all flip angles below 180°; NaN elsewhere."""
        straight = _STRAIGHT / float(np.max(self.protocol.FA))
        with np.errstate(invalid="ignore"):
            can_be = (B1 >= LEAST_B1) & (B1 <= MOST_B1) & (straight >= B1)
        usable: Array = np.where(can_be, B1, np.nan)
        return usable

    def _with_gaps(
        self,
        curves: NDArray[np.floating],
        kept: NDArray[np.bool_],
        clipped: NDArray[np.bool_],
        B1: Array | None,
    ) -> tuple[Solution, NDArray[np.intp]]:
        points = kept.sum(axis=1)
        enough = points >= 2 + len(self.model.amplitudes)
        gone = np.where(clipped.any(axis=1), Status.CLIPPED, Status.LOW_SIGNAL)
        gone[~np.isfinite(curves[:, self._weighs]).all(axis=1)] = Status.NON_FINITE
        result = Solution.empty(len(curves), len(self.model.amplitudes), gone.astype(np.uint8))
        rows = np.flatnonzero(enough)
        for pattern, members in _alike(kept[rows]):
            here = rows[members]
            part = self._solver_of(pattern)(
                curves[here][:, pattern], None if B1 is None else B1[here]
            )
            result.put(here, self._at_bounds(part, self._bounds_of(pattern)))
        return result, np.where(enough, points, 0)

    @staticmethod
    def _at_bounds(solution: Solution, bounds: Bounds) -> Solution:
        """The solution with each T that ended at a bound exactly there, whatever log T rounds."""
        at = np.flatnonzero(solution.status == Status.AT_BOUND.value)
        low, high = bounds
        solution.T[at] = np.where(solution.T[at] ** 2 < low * high, low, high)
        return solution

    def _bounds_of(self, kept: NDArray[np.bool_]) -> Bounds:
        """The range of T searched with these points (n,) of the protocol."""
        low, high = self.choices.bounds
        if not kept.all():
            # Without its first points a signal may be gone, at short T, that the whole has.
            least = self.model.bounds(self.protocol.take(np.flatnonzero(kept)))[0]
            low = min(max(low, least), high / 2)
        return low, high

    def _solver_of(self, kept: NDArray[np.bool_]) -> Solver:
        """The solver for these points (n,) of the protocol."""
        key = kept.tobytes()
        if key not in self._solvers:
            protocol = self.protocol.take(np.flatnonzero(kept))
            weights = self.choices.weights
            self._solvers[key] = Solver(
                lambda T, b: self.model.basis(_scaled(protocol, b), T),
                self._bounds_of(kept),
                self.model.ratio(protocol),
                magnitude=self.choices.polarity == "magnitude" and self.model.inverts,
                weights=None if weights is None else weights[kept],
                span=self._span,
                engine=self.engine,
            )
        return self._solvers[key]

    def curves(self, solution: Solution, B1: Array | None = None) -> Array:
        """The fitted signals (V, n), signed, at all points of the protocol."""
        model = self.model
        if B1 is None:
            return model.signal(self.protocol, solution.T, solution.amplitudes)
        each = zip(B1, solution.T[:, None], solution.amplitudes[:, None], strict=True)
        return np.concatenate([model.signal(_scaled(self.protocol, b), T, a) for b, T, a in each])

    def parameters(self, solution: Solution) -> dict[str, tuple[Array, Array]]:
        """Value and standard error (V,) of every parameter, as the solver left them."""
        model = self.model
        values = [solution.T, *solution.amplitudes.T]
        with np.errstate(invalid="ignore"):
            stderr = [np.sqrt(solution.covariance[:, i, i]) for i in range(len(values))]
        names = (model.time, *model.amplitudes)
        found = dict(zip(names, zip(values, stderr, strict=True), strict=True))
        at_edge = solution.status == Status.AT_EDGE.value
        derived = model.derived(self.protocol, solution.amplitudes, solution.covariance[:, 1:, 1:])
        for name, (value, error) in derived.items():
            # At the edge the ratio is its bound, not an estimate.
            found[name] = (np.where(at_edge, np.nan, value), np.where(at_edge, np.nan, error))
        return found


def checked_bounds(model: SignalModel, protocol: Protocol, bounds: Bounds | None) -> Bounds:
    """The range of T to search, s; raises unless model and protocol go together."""
    model.check(protocol)
    parameters = 1 + len(model.amplitudes)
    different = len(np.unique(protocol.times))  # repeats do not tell more of T
    if different < parameters:
        values = "points" if different == len(protocol) else f"different {model.reads[0]}"
        raise FitError(
            f"{different} {values} for the {parameters} parameters of {model.name}",
            expected=f"at least {parameters}",
        )
    low, high = bounds or model.bounds(protocol)
    if not 0 < low < high < np.inf:
        raise FitError(f"{low:g} … {high:g} s", field="bounds", expected="0 < lowest < highest")
    for T in (low, high):
        if not np.linalg.norm(model.basis(protocol, np.array([T])), axis=1).all():
            raise FitError(
                f"{T:g} s",
                field="bounds",
                expected=f"a range of {model.time} in which {model.name} has a signal",
            )
    return float(low), float(high)


def _alike(
    kept: NDArray[np.bool_],
) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.intp]]]:
    """Each pattern (n,) among rows (V, n), with the rows that have it, in their order."""
    # Rows are told apart by one number each: sorting them as rows takes longer than the fits.
    bits = np.packbits(kept, axis=1)
    name = np.zeros(len(kept), dtype=np.intp)
    for column in bits.T:
        name = np.unique(name * 256 + column, return_inverse=True)[1].reshape(-1)
    order = np.argsort(name, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(name[order])) + 1):
        if members.size:
            yield kept[members[0]], members


def _scaled(protocol: Protocol, b: float) -> Protocol:
    """The protocol with its flip angles times b."""
    return protocol if b == 1.0 else replace(protocol, FA=protocol.FA * b)
