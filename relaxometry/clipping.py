"""Clipped data: whether the brightest value of a series is where the numbers ended."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .mapped import release
from .maps import determined
from .problem import Problem
from .series import Series

#: Full scale of 12, 15 and 16 bits, as scanners store magnitudes.
FULL_SCALE = (4095.0, 32767.0, 65535.0)
_SEVERAL = 3
_SLAB = 1 << 18  # values looked at together: few enough that most slabs have none near the top
_ENOUGH = 256  # curves that tell
_MANY = 4096  # curves that are looked at, about
# A fit this near (RMS, of the brightest value, or in steps of whole numbers) misses nothing.
_NEAR, _ROUNDED = 5e-4, 0.5
_MOST, _HALF = 0.9, 0.5
_FAR = 4.0  # standard deviations of a count


def clipping_of(series: Series, problem: Problem) -> float | None:
    """The value at which a series is clipped; None if it is not.

    Three things are asked, of the brightest value.

    1. Is it a *plateau*? A full scale of the scanner (4095, 32767, 65535), or a value reached three
       times or more and by more points than the next two values below it together, while without
       clipping the brightest values are the rarest. Equal curves count once, and curves that never
       leave the plateau not at all.
    2. Do the curves *lead there by themselves*? Where nine in ten of those that reach it are met by
       the model, plateau and all, to 0.05 % of it (RMS; of whole numbers to half a step), it is
       that of recoveries without noise, which end at S0.
    3. Few equal values may be chance, or a scale that somebody chose, so where they do not by far
       outnumber the next two: does the model, fitted to the other points, lead *above* it? The
       largest of unclipped values owe that to their noise, and lie above their curves.

    Curves with too few points below the plateau have no vote in 2 and 3. Where none has, many equal
    values and a full scale are clipped.

    Parameters
    ----------
    series : Series
        Its upper end only; signed data clipped below are not told. Data interpolated after they
        were clipped have no plateau left.
    problem : Problem
        The model and protocol to be fitted.
    """
    plateau = _plateau(series)
    if plateau is None:
        return None
    level, voters = plateau.level, plateau.voters(2 + len(problem.model.amplitudes))
    if not len(voters.curves):
        return level if plateau.certain or level in FULL_SCALE else None
    if _explained(voters, problem) or not (plateau.certain or _led_above(voters, problem)):
        return None
    return level


@dataclass(frozen=True, slots=True, eq=False)
class _Plateau:
    """A value, curves (V, n) that reach it, the voxel (V, 3) of each; whether chance is out."""

    level: float
    curves: NDArray[np.float32]
    voxels: NDArray[np.intp]
    certain: bool

    def voters(self, least: int) -> _Plateau:
        """Some curves with as many points below."""
        able = np.flatnonzero((self.curves < self.level).sum(axis=1) >= least)
        some = able[:: max(able.size // _ENOUGH, 1)]
        return replace(self, curves=self.curves[some], voxels=self.voxels[some])

    def B1(self, problem: Problem) -> NDArray[np.float64] | None:
        """That of each curve."""
        B1 = problem.choices.B1
        return None if B1 is None else problem.usable(B1[tuple(self.voxels.T)])


def _plateau(series: Series) -> _Plateau | None:
    highest = np.array([_highest(slab) for _, slab in _slabs(series)])
    top = float(highest.max())
    if not np.isfinite(top) or top <= 0:
        return None
    share = -(-_MANY // np.count_nonzero(highest == top))  # of each slab that reaches it
    # Steps of stored numbers are at least 1/65535 of the largest; so much lies near the top.
    near = 0.99 * top
    curves: list[NDArray[np.float32]] = []
    voxels: list[NDArray[np.intp]] = []
    levels: dict[float, int] = {}
    for high, (first, slab) in zip(highest, _slabs(series), strict=True):
        if high < near:
            continue
        bright = _reaching(slab, near)
        flat, place = slab[bright], np.stack(bright, axis=-1) + first
        values, counts = np.unique(flat[(flat >= near) & (flat <= top)], return_counts=True)
        for value, count in zip(values[-3:].tolist(), counts[-3:].tolist(), strict=True):
            levels[value] = levels.get(value, 0) + count
        reaching = np.flatnonzero((flat == top).any(axis=1) & np.isfinite(flat).all(axis=1))
        reaching = reaching[:: max(reaching.size // share, 1)]
        curves.append(flat[reaching])
        voxels.append(place[reaching])
    different, index = np.unique(np.concatenate(curves), axis=0, return_index=True)
    second = sum(levels[value] for value in sorted(levels)[-3:-1])
    leaving = different[(different < top).any(axis=1)]
    reached = int((leaving == top).sum())
    tied = reached >= _SEVERAL and levels[top] > second
    if top not in FULL_SCALE and not tied:
        return None
    certain = tied and reached > second + _FAR * math.sqrt(second + 1)
    return _Plateau(top, different, np.concatenate(voxels)[index], certain)


def _highest(slab: NDArray[np.float32]) -> float:
    """The largest number; −∞ where there is none."""
    highest = float(slab.max())
    if not np.isfinite(highest):  # NaN or infinity somewhere
        highest = float(np.max(slab, initial=-np.inf, where=np.isfinite(slab)))
    return highest


def _reaching(slab: NDArray[np.float32], level: float) -> tuple[NDArray[np.intp], ...]:
    """Where the voxels of a slab are that reach a level at some point, which is rare."""
    there = slab >= level
    if not there.flags.c_contiguous:
        return np.nonzero(there.any(axis=-1))
    # Going through short rows would take many times as long.
    flat = np.unique(np.flatnonzero(there) // slab.shape[-1])
    return np.unravel_index(flat, slab.shape[:-1])


def _explained(voters: _Plateau, problem: Problem) -> bool:
    """Whether the model leads to the plateau by itself."""
    curves, weights = voters.curves, problem.choices.weights
    solution, _ = problem.solve_all(curves, voters.B1(problem))
    total = curves.shape[1] if weights is None else float(weights.sum())
    miss = np.sqrt(solution.rss / total)
    whole = bool((curves == np.rint(curves)).all())
    enough = max(_NEAR * voters.level, _ROUNDED if whole else 0.0)
    return bool((miss <= enough).mean() >= _MOST)


def _led_above(voters: _Plateau, problem: Problem) -> bool:
    """Whether the model, fitted to the other points, leads above the plateau."""
    B1 = voters.B1(problem)
    clipped = replace(problem.choices, clipped_at=voters.level)
    without = Problem(problem.model, problem.protocol, clipped, problem.engine)
    solution, _ = without.solve(voters.curves, B1)
    known = np.flatnonzero(determined(solution.status))
    if not known.size:
        return voters.level in FULL_SCALE
    led = np.abs(without.curves(solution, B1)[known])
    led[voters.curves[known] < voters.level] = 0
    return bool((led.max(axis=1) > voters.level).mean() > _HALF)


def _slabs(series: Series) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float32]]]:
    """First voxel and view of slabs of the signal across its longest side, a few MB each."""
    signal = series.signal
    axis = int(np.argmax(signal.shape[:3])) if signal.shape[2] == 1 else 2
    step = max(1, _SLAB * signal.shape[axis] // signal.size)
    for start in range(0, signal.shape[axis], step):
        first = np.zeros(3, dtype=np.intp)
        first[axis] = start
        yield first, signal[(slice(None),) * axis + (slice(start, start + step),)]
        release(signal)
