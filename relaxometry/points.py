"""Which points of a curve are fitted, how much each counts, and the record of what was chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import GeometryError, InputError
from .polarity import Polarity

Array = NDArray[np.float64]
Kept = NDArray[np.bool_]

# Of a tube's voxels at one point; fewer do not move its mean.
_SHARE_CLIPPED = 0.01
# A B1 beyond these is no measurement of a flip angle.
LEAST_B1, MOST_B1 = 0.2, 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Choices:
    """What a fit was told beside the data and the model; kept with its result.

    Attributes
    ----------
    bounds : (float, float)
        Range of the time constant searched, s.
    polarity : {"magnitude", "signed"}
    weights : ndarray (n,) or None
        Of the squared residuals, one per point.
    noise_floor : (float, float) or None
        (k, σ): points below k·σ were left out.
    clipped_at : float or None
        Points at or above this were left out as clipped.
    B1 : ndarray or None
        Actual over nominal flip angle, on the grid of the series (or one number for one curve).
    """

    bounds: tuple[float, float]
    polarity: Polarity = "magnitude"
    weights: Array | None = None
    noise_floor: tuple[float, float] | None = None
    clipped_at: float | None = None
    B1: Array | None = None

    def notes(self, left_out: Mapping[str, int] | None = None) -> tuple[str, ...]:
        """What was done to the points, in words; `left_out` as in :class:`ParameterMaps`."""
        voxels = {why: f" of {number} voxels" for why, number in (left_out or {}).items()}
        notes = []
        if self.clipped_at is not None:
            of = voxels.get("clipped", "")
            notes.append(f"points at {self.clipped_at:g} are clipped and left out{of}")
        if self.noise_floor is not None:
            (k, sigma), of = self.noise_floor, voxels.get("noise_floor", "")
            notes.append(f"points below {k:g}·σ = {k * sigma:.4g} are left out{of}")
        if self.weights is not None:
            notes.append("points are weighted by " + ", ".join(f"{w:.4g}" for w in self.weights))
        if self.B1 is not None:
            notes.append("flip angles are scaled by the B1 map")
        return tuple(notes)

    @property
    def leaves_out(self) -> bool:
        """Whether curves may lose points."""
        return self.clipped_at is not None or self.noise_floor is not None

    def arguments(self) -> dict[str, Any]:
        """Keywords that make :func:`relaxometry.fit_tubes` choose the same again."""
        return {
            "bounds": self.bounds,
            "polarity": self.polarity,
            "weights": self.weights,
            "noise_floor": self.noise_floor,
            "clip": self.clipped_at,
            "B1": self.B1,
        }


def kept_points(curves: NDArray[np.floating], choices: Choices, swept: str) -> tuple[Kept, Kept]:
    """Which points (V, n) of curves to fit, and which of the others are clipped.

    The noise-floor cut takes what lies together, since single points that noise has lifted above
    the level again would pull a fit the more, the fewer are left: of a decay (TE swept) the first
    point below k·σ and all that follow; of a recovery (TR) the last one and all before; of an
    inversion recovery (TI) from the first to the last, about the null; over the flip angle all that
    lies beyond the first one on either side of the brightest.
    NaN and infinity are kept: they decide the status of their curve.
    """
    clipped = np.zeros(curves.shape, dtype=bool)
    low = np.zeros(curves.shape, dtype=bool)
    if choices.clipped_at is not None:
        clipped = (curves >= choices.clipped_at) & np.isfinite(curves)
    if choices.noise_floor is not None:
        low = np.abs(curves) < choices.noise_floor[0] * choices.noise_floor[1]
        low = _cut(low, np.abs(curves), swept) & np.isfinite(curves)
    return ~(clipped | low), clipped


def _cut(low: Kept, size: NDArray[np.floating], swept: str) -> Kept:
    """Points (V, n) that go with those below the level."""
    onwards = np.logical_or.accumulate
    if swept == "TE":
        return onwards(low, axis=1)
    back = onwards(low[:, ::-1], axis=1)[:, ::-1]
    if swept == "TR":
        return back
    if swept == "TI":
        return onwards(low, axis=1) & back
    brightest = np.where(np.isfinite(size), size, -1).argmax(axis=1)[:, None]
    after = np.arange(size.shape[1]) >= brightest
    right = onwards(low & after, axis=1)
    left = onwards((low & ~after)[:, ::-1], axis=1)[:, ::-1]
    return right | left


def clipped_in_tube(voxels: NDArray[np.floating], choices: Choices) -> Kept:
    """At which points (n,) more than 1 % of a tube's voxels (V, n) are clipped."""
    share: Array = kept_points(voxels, choices, "")[1].mean(axis=0)
    return share > _SHARE_CLIPPED


def checked_choices(
    n: int,
    bounds: tuple[float, float],
    polarity: Polarity,
    weights: ArrayLike | None,
    noise_floor: tuple[float, float] | None,
    clipped_at: float | None,
    B1: ArrayLike | None,
    grid: tuple[int, ...] | None = None,
) -> Choices:
    """The choices for curves of n points, checked; raises `InputError` where one is impossible."""
    if polarity not in ("magnitude", "signed"):
        raise InputError(f"{polarity!r}", field="polarity", expected="magnitude or signed")
    given = None if weights is None else _numbers(weights, "weights")
    if given is not None and (given.shape != (n,) or (given < 0).any() or not given.any()):
        raise InputError(
            f"{given.size} numbers, least {given.min():g}" if given.size else "nothing",
            field="weights",
            expected=f"{n}, one per point, none below 0, some above",
        )
    floor = None
    if noise_floor is not None:
        pair = _numbers(noise_floor, "noise_floor")
        if pair.shape != (2,) or not (pair > 0).all():
            raise InputError(
                f"{noise_floor!r}", field="noise_floor", expected="(k, sigma), both above 0"
            )
        floor = float(pair[0]), float(pair[1])
    number = isinstance(clipped_at, int | float | np.number) and not isinstance(clipped_at, bool)
    if clipped_at is not None and not (number and np.isfinite(clipped_at) and clipped_at > 0):
        raise InputError(f"{clipped_at!r}", field="clip", expected='"auto", None or a signal')
    factor = None
    if B1 is not None:
        factor = np.asarray(B1, dtype=np.float64)
        if grid is not None and factor.shape != grid:
            raise GeometryError(
                f"shape {factor.shape}", field="B1", expected=f"the grid of the series, {grid}"
            )
        usable = factor[np.isfinite(factor) & (factor > 0)]
        if usable.size == 0 or np.median(usable) > MOST_B1:
            found = f"median {np.median(usable):g}" if usable.size else "no positive number"
            raise InputError(
                found,
                field="B1",
                expected="actual over nominal flip angle, about 1",
                hint="divide percent by 100",
            )
    return Choices(bounds, polarity, given, floor, clipped_at, factor)


def _numbers(values: ArrayLike, field: str) -> Array:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{values!r}", field=field, expected="numbers") from None
    if not np.isfinite(array).all():
        raise InputError("a number that is not finite", field=field, expected="finite numbers")
    return array
