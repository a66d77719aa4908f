"""The peak of one time course, how sure its place is, how far noise lifts it; the area under it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .jupyter import Shown

Array = NDArray[np.float64]

_APART = 1.96  # standard errors of a difference that tell two times apart
_GRID, _REACH = 4001, 8.0  # points of the integral, and how many σ beyond the values it goes


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Peak(Shown):
    """The largest change of one animal after the injection, in one direction.

    Attributes
    ----------
    value, stderr : float
        The change with its sign, in the unit of the quantity; the largest that was seen.
    time_s : float
        When; NaN where it is the last time: the peak may be later.
    at_least_s : float
        The time of the largest change that was seen.
    between_s : (float, float)
        The times before and after it, between which the peak lies if the curve has one; the end is
        infinite at the last time.
    range_s : (float, float)
        From the first to the last time whose change is not told apart from it (1.96 standard errors
        of the difference; the error of the value before is common and cancels). NaN without errors.
    bias : float
        How far noise lifts the largest of these values, in its direction: E[max] − max for values
        with these errors (a rough guess; it errs on the low side). NaN without errors.
    reached : bool
        Whether a later time has a smaller change.
    told : bool or None
        Whether the change is told apart from none (1.96 standard errors); None without errors.
    opposed : bool
        Whether a change the other way is larger.
    notes : tuple of str
    """

    value: float
    stderr: float
    time_s: float
    at_least_s: float
    between_s: tuple[float, float]
    range_s: tuple[float, float]
    bias: float
    reached: bool
    told: bool | None = None
    opposed: bool = False
    notes: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """The peak as people say it."""
        if math.isnan(self.value):
            return "no peak"
        if not self.reached:
            return f"peak {self.value:.4g}, not reached by {self.at_least_s:g} s"
        return f"peak {self.value:.4g} at {self.time_s:g} s"

    def row(self) -> dict[str, Any]:
        """Its part of a row; what has no unit in its key has that of the quantity."""
        return {
            "peak": self.value,
            "peak_stderr": self.stderr,
            "peak_bias": self.bias,
            "peak_reached": self.reached,
            "time_to_peak_s": self.time_s,
            "time_to_peak_at_least_s": math.nan if self.reached else self.at_least_s,
            "time_to_peak_range_low_s": self.range_s[0],
            "time_to_peak_range_high_s": self.range_s[1],
        }

    def __repr__(self) -> str:
        return f"Peak: {self.words}"


def peak_of(
    time: Array,
    change: Array,
    stderr: Array,
    change_stderr: Array,
    *,
    start: float,
    direction: int = 0,
) -> Peak:
    """The peak of changes (n,) at times after the injection, in order of time.

    Parameters
    ----------
    time, change : ndarray (n,)
        Finite.
    stderr : ndarray (n,)
        Of each value by itself.
    change_stderr : ndarray (n,)
        Of each change, the error of the value before included.
    start : float
        When the course starts, s.
    direction : {0, 1, -1}
        Of the peak; 0 is either.
    """
    nothing = (math.nan, math.nan)
    if not time.size:
        why = ("no value after the injection: no peak",)
        return Peak(
            math.nan, math.nan, math.nan, math.nan, nothing, nothing, math.nan, False, notes=why
        )
    direction = direction or int(np.sign(change[np.abs(change).argmax()])) or 1
    upward = direction * change
    i = int(upward.argmax())
    last = time.size - 1
    reached = i < last
    notes = []
    if not reached:
        notes.append(f"peak not reached: it may be later than the last time, {time[last]:g} s")
    elif i == 0:
        notes.append(f"the peak is at the first time, {time[0]:g} s: it may be earlier")
    other = int(upward.argmin())
    opposed = bool(-upward[other] > upward[i])
    if opposed:
        notes.append(
            f"its largest change, {change[other]:.4g} at {time[other]:g} s, goes the other way"
        )
    spread, bias, told = nothing, math.nan, None
    if np.isfinite(stderr).all():
        alike = upward[i] - upward < _APART * np.hypot(stderr[i], stderr)
        alike[i] = True
        where = np.flatnonzero(alike)
        spread = float(time[where[0]]), float(time[where[-1]])
        bias = _lift(upward, stderr)
        if spread[0] < spread[1]:
            notes.append(
                f"the peak is not told apart from other times, {spread[0]:g} to {spread[1]:g} s"
            )
        if reached and where[-1] == last:
            notes.append("nor from the last time: it may be later")
        told = bool(upward[i] > _APART * change_stderr[i])
        if not told:
            notes.append("the peak is not told apart from no change")
    else:
        notes.append("no errors: whether the peak is told apart from other times is not known")
    return Peak(
        value=float(change[i]),
        stderr=float(change_stderr[i]),
        time_s=float(time[i]) if reached else math.nan,
        at_least_s=float(time[i]),
        between_s=(
            float(time[i - 1]) if i else start,
            float(time[i + 1]) if reached else math.inf,
        ),
        range_s=spread,
        bias=bias,
        reached=reached,
        told=told,
        opposed=opposed,
        notes=tuple(notes),
    )


def _lift(values: Array, stderr: Array) -> float:
    """E[max] − max for independent normal values with these means and errors.

    E[max] = b − ∫ F over (−∞, b], with F the product of their distributions.
    """
    from scipy.special import ndtr

    if values.size < 2 or not (stderr > 0).all():
        return 0.0 if not (stderr > 0).any() or values.size < 2 else math.nan
    widest = _REACH * float(stderr.max())
    x = np.linspace(float(values.min()) - widest, float(values.max()) + widest, _GRID)
    F = ndtr((x[:, None] - values) / stderr).prod(axis=1)
    expected = float(x[-1] - np.trapezoid(F, x))
    return max(expected - float(values.max()), 0.0)


def area_under(
    time: Array, change: Array, stderr: Array, before_stderr: float, start: float
) -> tuple[float, float]:
    """Area under changes (n,) by trapezoids from 0 at the start, and its standard error.

    The error of the value before is common to all changes: it counts with the whole length.
    """
    if not time.size:
        return math.nan, math.nan
    steps = np.diff(np.concatenate([[start], time]))
    weight = (steps + np.concatenate([steps[1:], [0.0]])) / 2
    noise = float((weight**2 * stderr**2).sum())
    common = float(weight.sum()) * before_stderr
    return float((weight * change).sum()), math.sqrt(noise + common**2)
