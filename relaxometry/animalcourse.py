"""One animal's time course: its change against before, its peak and the area under it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .coursepeak import Peak, area_under, peak_of
from .errors import InputError
from .jupyter import Shown

Array = NDArray[np.float64]
Baseline = Literal["before", "zero"]

SAME_TIME = 1e-6  # s


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class AnimalCourse(Shown):
    """One animal's curve.

    Attributes
    ----------
    animal : str
    time_s, value, stderr : ndarray (n,)
        In order of time; `value` is NaN where there is none, `stderr` where it is not known.
    is_before : ndarray of bool (n,)
    before, before_stderr : float
        Mean of the values before; 0 with ``baseline="zero"``, NaN where there is none.
    change, change_stderr : ndarray (n,)
        `value` less `before`.
    peak : Peak
        The largest change after the injection, in the direction of the course.
    area, area_stderr : float
        Under the change from the injection to the last time, by trapezoids, in the unit of the
        value times s.
    notes : tuple of str
    """

    animal: str
    time_s: Array
    value: Array
    stderr: Array
    is_before: NDArray[np.bool_]
    before: float
    before_stderr: float
    change: Array
    change_stderr: Array
    peak: Peak
    area: float
    area_stderr: float
    notes: tuple[str, ...] = ()

    @property
    def relative(self) -> Array:
        """Change over the value before, a fraction (n,); raises `InputError` where that is 0."""
        if self.before == 0:
            raise InputError(
                "the value before is 0: its change relative to it has no meaning",
                field=f"animal {self.animal}",
            )
        relative: Array = self.change / self.before
        return relative

    def row(self) -> dict[str, Any]:
        """One row of a table; what has no unit in its key has that of the quantity."""
        return {
            "animal": self.animal,
            "n_times": int(np.isfinite(self.value).sum()),
            "before": self.before,
            "before_stderr": self.before_stderr,
            **self.peak.row(),
            "area_s": self.area,
            "area_stderr_s": self.area_stderr,
        }

    def __repr__(self) -> str:
        return f"AnimalCourse: {self.animal}, {self.time_s.size} times, {self.peak.words}"


def towards(course: AnimalCourse, direction: int) -> AnimalCourse:
    """The same course with its peak in this direction, 1 or -1."""
    after = ~course.is_before & np.isfinite(course.change)
    peak = peak_of(
        *(a[after] for a in (course.time_s, course.change, course.stderr, course.change_stderr)),
        start=_start(course.time_s, course.is_before),
        direction=direction,
    )
    own = course.notes[: len(course.notes) - len(course.peak.notes)]
    return replace(course, peak=peak, notes=(*own, *peak.notes))


def _start(time: Array, before: NDArray[np.bool_]) -> float:
    return max(0.0, float(time[before].max())) if before.any() else 0.0


def animal_course(
    animal: str, columns: dict[str, NDArray[Any]], baseline: Baseline
) -> AnimalCourse:
    """With its peak in either direction."""
    order = np.argsort(columns["time_s"], kind="stable")
    time, value, stderr, before = (
        columns[name][order] for name in ("time_s", "value", "stderr", "before")
    )
    same = np.flatnonzero(np.diff(time) <= SAME_TIME)
    if same.size:
        raise InputError(
            f"two rows at {time[same[0]]:g} s",
            field=f"animal {animal}",
            expected="one row per animal and time",
            hint="average slices first: they are no animals",
        )
    if before.any() and before.argmin() < before.sum() and not before.all():
        raise InputError(
            f"a row before, at {time[before].max():g} s, comes after one at "
            f"{time[~before].min():g} s that is not",
            field=f"animal {animal}",
            expected="before, then after",
        )
    notes = []
    known = before & np.isfinite(value)
    m = int(known.sum())
    B, B_stderr = (0.0, 0.0) if baseline == "zero" else (math.nan, math.nan)
    change_stderr = stderr.copy()
    if baseline == "before" and m:
        B = float(value[known].mean())
        B_stderr = math.sqrt(float((stderr[known] ** 2).sum())) / m
        change_stderr = np.hypot(stderr, B_stderr)
        # A value before is part of that mean: its error is in both.
        shared = stderr[known] ** 2 * (1 - 2 / m) + B_stderr**2
        change_stderr[known] = np.sqrt(np.maximum(shared, 0.0))
    elif baseline == "before":
        notes.append("no value before: its change is not determined")
    change = value - B
    after = ~before & np.isfinite(change)
    if (~before & ~np.isfinite(value)).any() and after.any():
        notes.append("times without a value are left out; its area bridges them by a straight line")
    start = _start(time, before)
    peak = peak_of(time[after], change[after], stderr[after], change_stderr[after], start=start)
    area, area_stderr = area_under(time[after], change[after], stderr[after], B_stderr, start)
    for array in (time, value, stderr, before, change, change_stderr):
        array.flags.writeable = False
    return AnimalCourse(
        animal=animal,
        time_s=time,
        value=value,
        stderr=stderr,
        is_before=before,
        before=B,
        before_stderr=B_stderr,
        change=change,
        change_stderr=change_stderr,
        peak=peak,
        area=area,
        area_stderr=area_stderr,
        notes=(*notes, *peak.notes),
    )
