"""Fitting a series: every voxel to maps, the mean signal of each tube to a curve."""

from __future__ import annotations

import math
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .clipping import clipping_of
from .curvefit import CurveFit, curve_of
from .errors import GeometryError, InputError
from .mapped import release
from .maps import ParameterMaps, Status
from .models import SignalModel, as_model, model_for
from .points import checked_choices, clipped_in_tube, kept_points
from .polarity import Polarity
from .problem import Bounds, Problem, checked_bounds
from .series import Series
from .solve import CHUNK, Engine, Solution, engine_for
from .tubes import Tubes

Array = NDArray[np.float64]
_Where = slice | NDArray[np.intp]

_MOST_CHUNKS, _SHARES = 2, 8  # in a block handed to a thread; least number of blocks
_LOOKED_AT = 1 << 20  # voxels of a mask
_DOUBLE = 256 << 20  # bytes of maps up to which they are kept in double precision


def fit_maps(
    series: Series,
    model: str | SignalModel | None = None,
    mask: NDArray[np.bool_] | None = None,
    *,
    bounds: Bounds | None = None,
    polarity: Polarity | None = None,
    drop_echoes: int | Sequence[int] = (),
    drop_reason: str = "",
    weights: ArrayLike | None = None,
    noise_floor: tuple[float, float] | None = None,
    clip: float | Literal["auto"] | None = "auto",
    B1: ArrayLike | None = None,
    engine: Engine | None = None,
    workers: int | None = None,
    max_memory: int | None = None,
    progress: bool | None = None,
) -> ParameterMaps:
    """Fit a model in every voxel: the exact least-squares minimum, its errors and its status.

    Parameters
    ----------
    series : Series
    model : str or SignalModel, optional
        Default by the kind of series.
    mask : ndarray of bool (x, y, z), optional
        Voxels to fit; all by default.
    bounds : (float, float), optional
        Range of the time constant searched, s; default `SignalModel.bounds`.
    polarity : {"magnitude", "signed"}, optional
        Default `Series.signed`.
    drop_echoes : int or sequence of int
        Points left out everywhere, numbered from 1, for a `drop_reason`; see `Series.drop`.
    weights : array_like (n,), optional
        Of the squared residuals, one per point that is left; a point of weight 0 is none.
    noise_floor : (float, float), optional
        (k, σ): points below k·σ are left out: of a decay all from the first such point on, of
        a recovery over TR all up to the last.
    clip : "auto", None or float
        Points at or above this value are left out as clipped; "auto" finds it, if there is one
        (:func:`relaxometry.clipping.clipping_of`).
    B1 : array_like (x, y, z), optional
        Actual over nominal flip angle, for models that read FA.
    engine : {"numpy", "compiled"}, optional
        By default the compiled one where numba is installed and the job is large.
    workers : int, optional
        Threads; default one per processor. The result does not depend on it, bit for bit. (The
        order in which the signal lies in memory, and a mask, may move the last bit.)
    max_memory : int, optional
        Bytes that the maps and the threads may take beside the series; single precision for the
        maps and fewer threads keep within it. Where the series is a mapped file, the system keeps a
        few MB of it per image on top, which it takes back when they are wanted.
    progress : bool, optional
        Show a progress bar; default only on a terminal or in Jupyter.

    Returns
    -------
    ParameterMaps
        In double precision up to 256 MB of maps, beyond that in single, as files hold them.

    Raises
    ------
    FitError, ProtocolError, GeometryError
        If model, series and mask do not fit together.
    InputError
        If a choice is impossible, or `max_memory` is too little.
    """
    if not isinstance(series, Series):
        raise InputError(
            f"a {type(series).__name__}", field="series", expected="a Series, e.g. from rx.read"
        )
    if isinstance(max_memory, str):
        raise InputError(f"{max_memory!r}", field="max_memory", expected="a number of bytes")
    drop_echoes = [drop_echoes] if isinstance(drop_echoes, int) else drop_echoes
    if len(drop_echoes):
        series = series.drop(drop_echoes, drop_reason)
    chosen = model_for(series.kind) if model is None else as_model(model)
    if mask is not None:
        mask = np.asarray(mask, dtype=bool)
        if mask.shape != series.grid:
            raise GeometryError(
                f"mask of shape {mask.shape}", expected=f"the series' {series.grid}"
            )
    voxels = math.prod(series.grid) if mask is None else int(np.count_nonzero(mask))
    engine = engine_for(voxels, engine)
    problem = problem_of(
        series, chosen, bounds, polarity, weights, noise_floor, clip, B1, engine=engine
    )
    filled = _Filled(problem, series)
    workers = filled.fitting(workers, max_memory, mask is None)
    with _bar(voxels, progress) as move:

        def done(counts: NDArray[np.intp]) -> None:
            filled.counts += counts
            move(int(counts[0]))

        _in_parallel(filled.fit, filled.blocks(mask), workers, done)
    return filled.maps()


class _Filled:
    """Maps being filled, block by block, in the order in which the signal lies in memory."""

    def __init__(self, problem: Problem, series: Series) -> None:
        self.problem, self.series = problem, series
        #: Voxels fitted, those with clipped points, those with points below the noise floor.
        self.counts = np.zeros(3, dtype=np.intp)
        self._order: Literal["C", "F"] = "F" if series.signal.flags.f_contiguous else "C"
        n = len(series.protocol)
        self._curves = series.signal.reshape(-1, n, order=self._order)
        B1 = problem.choices.B1
        self._B1 = None if B1 is None else B1.ravel(order=self._order)
        nothing = Solution.empty(0, len(problem.model.amplitudes), np.zeros(0, dtype=np.uint8))
        self._names = tuple(problem.parameters(nothing))

    def fitting(self, workers: int | None, max_memory: int | None, whole: bool) -> int:
        """Make room for the maps, `whole` or in part; return how many threads fit beside them."""
        if workers is not None and workers < 1:
            raise InputError(f"{workers}", field="workers", expected="at least 1")
        workers = workers or os.cpu_count() or 1
        voxels, columns = len(self._curves), 2 * len(self._names) + 2
        double, each = 8 * columns * voxels, self.problem.solver.working_memory
        dtype = np.float64 if double <= _DOUBLE else np.float32
        if max_memory is not None:
            if double + each + 2 * voxels > max_memory:
                dtype = np.float32
            fixed = columns * voxels * np.dtype(dtype).itemsize + 2 * voxels
            if fixed + each > max_memory:
                raise InputError(
                    f"{max_memory / 1e6:.0f} MB",
                    field="max_memory",
                    expected=f"at least {math.ceil((fixed + each) / 1e6)} MB for this series",
                )
            workers = min(workers, (max_memory - fixed) // each)
        maps = np.empty((columns, voxels), dtype)
        if not whole:
            maps.fill(np.nan)
        self._rmse, self._rsquared = maps[:2]
        self._columns = dict(
            zip(self._names, zip(maps[2::2], maps[3::2], strict=True), strict=True)
        )
        self._status = np.full(voxels, Status.MASKED, dtype=np.uint8)
        few = len(self.series.protocol) < 256
        self._points = np.zeros(voxels, dtype=np.uint8 if few else np.uint16)
        return int(workers)

    def blocks(self, mask: NDArray[np.bool_] | None) -> Iterator[_Where]:
        """Where the voxels of each block lie: as many, whatever the number of threads."""
        voxels = len(self._curves)
        size = CHUNK
        if self.problem.engine == "compiled":  # whose curves do not depend on their neighbours
            size *= min(max(voxels // (_SHARES * CHUNK), 1), _MOST_CHUNKS)
        if mask is None:
            for start in range(0, voxels, size):
                yield slice(start, min(start + size, voxels))
            return
        flat = mask.ravel(order=self._order)
        waiting: NDArray[np.intp] = np.zeros(0, dtype=np.intp)
        for start in range(0, voxels, _LOOKED_AT):
            found = np.flatnonzero(flat[start : start + _LOOKED_AT]) + start
            waiting = np.concatenate([waiting, found])
            whole = len(waiting) // size * size
            for first in range(0, whole, size):
                yield waiting[first : first + size]
            waiting = waiting[whole:]
        if len(waiting):
            yield waiting

    def fit(self, where: _Where) -> NDArray[np.intp]:
        """Fit the voxels of a block; return what there is to add to the counts."""
        curves = np.ascontiguousarray(self._curves[where])
        B1 = None if self._B1 is None else self._B1[where]
        if not isinstance(where, slice) and where[-1] - where[0] == len(where) - 1:
            where = slice(where[0], where[-1] + 1)
        solution, points = self.problem.solve(curves, B1)
        for name, pair in self.problem.parameters(solution).items():
            for column, values in zip(self._columns[name], pair, strict=True):
                column[where] = values
        with np.errstate(divide="ignore", invalid="ignore"):
            self._rmse[where] = np.sqrt(solution.rss / points)
        self._rsquared[where] = solution.rsquared
        self._status[where] = solution.status
        used = points.astype(self._points.dtype)
        self._points[where] = used * np.isfinite(solution.rss)
        release(self.series.signal)
        clipped, low = self._left_out(curves)
        return np.array([len(curves), clipped, low])

    def _left_out(self, curves: NDArray[np.floating]) -> tuple[int, int]:
        """How many of the curves have clipped points, and points below the noise floor."""
        choices, protocol = self.problem.choices, self.problem.protocol
        if not choices.leaves_out:
            return 0, 0
        kept, clipped = kept_points(curves, choices, protocol.swept)
        return int(clipped.any(axis=1).sum()), int((~kept & ~clipped).any(axis=1).sum())

    def maps(self) -> ParameterMaps:
        """The maps, on the grid of the series."""

        def put(flat: NDArray[Any]) -> NDArray[Any]:
            return flat.reshape(self.series.grid, order=self._order)

        choices, left_out = self.problem.choices, {}
        if choices.clipped_at is not None:
            left_out["clipped"] = int(self.counts[1])
        if choices.noise_floor is not None:
            left_out["noise_floor"] = int(self.counts[2])
        return ParameterMaps(
            raw={
                name: (put(value), put(stderr)) for name, (value, stderr) in self._columns.items()
            },
            rmse=put(self._rmse),
            rsquared=put(self._rsquared),
            status=put(self._status),
            points=put(self._points),
            series=self.series,
            model=self.problem.model,
            choices=choices,
            left_out=left_out,
        )


def problem_of(
    series: Series,
    model: SignalModel,
    bounds: Bounds | None,
    polarity: Polarity | None,
    weights: ArrayLike | None,
    noise_floor: tuple[float, float] | None,
    clip: float | Literal["auto"] | None,
    B1: ArrayLike | None,
    engine: Engine | None = None,
) -> Problem:
    """What is fitted to each curve of a series, clipping found where it is sought."""
    choices = checked_choices(
        len(series.protocol),
        checked_bounds(model, series.protocol, bounds),
        polarity or ("signed" if series.signed else "magnitude"),
        weights,
        noise_floor,
        None if clip == "auto" else clip,
        B1,
        series.grid,
    )
    problem = Problem(model, series.protocol, choices, engine)
    if clip != "auto" or (found := clipping_of(series, problem)) is None:
        return problem
    return Problem(model, series.protocol, replace(choices, clipped_at=found), engine)


@contextmanager
def _bar(total: int, progress: bool | None) -> Iterator[Callable[[int], object]]:
    """A progress bar, as what moves it on; nothing where none is wanted."""
    if progress is None:
        progress = sys.stderr.isatty() or "ipykernel" in sys.modules
    if not progress:  # tqdm would start a thread of its own even for a bar that is not shown
        yield lambda voxels: None
        return
    from tqdm.auto import tqdm

    with tqdm(total=total, unit="voxel", unit_scale=True, delay=1) as bar:
        yield bar.update


def _in_parallel(
    work: Callable[[_Where], NDArray[np.intp]],
    blocks: Iterable[_Where],
    workers: int,
    done: Callable[[NDArray[np.intp]], object],
) -> None:
    """Work on blocks in threads, never many blocks ahead, so that none pile up in memory."""
    if workers == 1:
        for block in blocks:
            done(work(block))
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[NDArray[np.intp]]] = deque()
        try:
            for block in blocks:
                waiting.append(pool.submit(work, block))
                if len(waiting) > 2 * workers:
                    done(waiting.popleft().result())
            while waiting:
                done(waiting.popleft().result())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def fit_tubes(
    series: Series,
    tubes: Tubes,
    model: str | SignalModel | None = None,
    *,
    bounds: Bounds | None = None,
    polarity: Polarity | None = None,
    weights: ArrayLike | None = None,
    noise_floor: tuple[float, float] | None = None,
    clip: float | Literal["auto"] | None = "auto",
    B1: ArrayLike | None = None,
) -> tuple[CurveFit, ...]:
    """Fit each tube's mean signal: the answer of record.

    Parameters
    ----------
    series : Series
    tubes : Tubes
        Carried to the series' grid where they lie on another.
    model, bounds, polarity, weights, noise_floor, clip, B1
        As in :func:`fit_maps`. A point is left out as clipped where more than 1 % of the tube's
        voxels are; a tube has the mean of its B1.

    Returns
    -------
    tuple of CurveFit
        One per row of the sheet, in its order.

    Raises
    ------
    FitError, ProtocolError, GeometryError, InputError
        If model, series and tubes do not fit together, or a choice is impossible.
    """
    chosen = model_for(series.kind) if model is None else as_model(model)
    problem = problem_of(series, chosen, bounds, polarity, weights, noise_floor, clip, B1)
    here = tubes.on(series)
    return tuple(
        curve_of(*mean_curve(problem, series, here.voxels(number))) for number in here.numbers
    )


def mean_curve(
    problem: Problem, series: Series, inside: NDArray[np.bool_]
) -> tuple[Problem, Array]:
    """The mean signal (n,) of some voxels, and what is fitted to it: with the mean of their B1."""
    choices = problem.choices
    voxels = series.signal[inside]
    mean = voxels.mean(axis=0, dtype=np.float64)
    if choices.clipped_at is not None:
        # A mean hides its clipped voxels below the plateau.
        mean = np.where(clipped_in_tube(voxels, choices), choices.clipped_at, mean)
    if choices.B1 is not None:
        usable = problem.usable(choices.B1[inside])
        usable = usable[np.isfinite(usable)]
        B1 = np.array([usable.mean() if usable.size else np.nan])
        problem = Problem(problem.model, series.protocol, replace(choices, B1=B1))
    return problem, mean
