"""Time courses after an injection: mean ± SD over animals, and each animal's peak and area."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .animalcourse import SAME_TIME, AnimalCourse, Baseline, animal_course, towards
from .coursetable import course_table
from .errors import InputError
from .jupyter import Shown

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from .canvas import Look

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class TimeCourse(Shown):
    """A quantity before and after an injection, over animals.

    Attributes
    ----------
    quantity : str
        As in tables, with its unit: ``"SNR"``, ``"dR2_per_s"``.
    group : str
        What the animals have in common, e.g. the agent.
    baseline : {"before", "zero"}
    animals : tuple of AnimalCourse
    time_s : ndarray (t,)
        Every time at which an animal was measured (or those asked for).
    n : ndarray of int (t,)
        Animals with a value at each time.
    mean, sd : ndarray (t,)
        Over animals; `sd` is NaN for one.
    change_mean, change_sd : ndarray (t,)
        Of the change against each animal's own value before.
    change_n : ndarray of int (t,)
    notes : tuple of str
        What stands between these numbers and the truth, animals named.
    """

    quantity: str
    group: str
    baseline: Baseline
    animals: tuple[AnimalCourse, ...]
    time_s: Array
    n: NDArray[np.intp]
    mean: Array
    sd: Array
    change_mean: Array
    change_sd: Array
    change_n: NDArray[np.intp]
    notes: tuple[str, ...] = ()

    @property
    def curve_peak(self) -> tuple[float, float]:
        """Largest change of the mean curve and its time in s, where at least half have a value.

        Noise lifts it less than the mean of the animals' own peaks, and animals that peak at
        different times flatten it.
        """
        return _largest(self.time_s, self.change_mean, self.change_n, self.animals)

    @property
    def flags(self) -> list[str]:
        """What is doubtful of the course as a whole: its notes, but for those of one animal."""
        own = tuple(f"animal {c.animal}: " for c in self.animals)
        return [note for note in self.notes if not note.startswith(own)]

    def row(self) -> dict[str, Any]:
        """Peak, time to peak and area over animals; SD between animals, each with its n.

        All peaks are in one direction, that of the largest mean change. Where most of them are not
        told apart from no change, there is no time to peak. Where an animal's peak was not reached,
        the mean time to peak is not determined: ``time_to_peak_at_least_s`` is then what it is at
        least. ``flags`` say which.
        """
        peaks = [c.peak for c in self.animals]
        there = [p for p in peaks if math.isfinite(p.value)]
        waiting = sum(not p.reached for p in there)
        times = [p.time_s for p in there if p.reached]
        least = [p.at_least_s for p in there]
        bias = [p.bias for p in there if math.isfinite(p.bias)]
        peak = _mean_sd([p.value for p in there])
        none = _mostly_none(self.animals)
        time = (math.nan, math.nan) if waiting or none else _mean_sd(times)
        area = _mean_sd([c.area for c in self.animals])
        curve_peak, curve_time = self.curve_peak
        return {
            "quantity": self.quantity,
            "group": self.group,
            "n_animals": len(self.animals),
            "peak": peak[0],
            "peak_sd": peak[1],
            "peak_n": len(there),
            "peak_bias": _mean_sd(bias)[0],
            "time_to_peak_s": time[0],
            "time_to_peak_sd_s": time[1],
            "time_to_peak_n": len(times),
            "time_to_peak_at_least_s": _mean_sd(least)[0] if waiting and not none else math.nan,
            "n_peak_not_reached": waiting,
            "mean_curve_peak": curve_peak,
            "mean_curve_peak_time_s": curve_time,
            "area_s": area[0],
            "area_sd_s": area[1],
            "area_n": sum(math.isfinite(c.area) for c in self.animals),
            "flags": self.flags,
        }

    def rows(self) -> list[dict[str, Any]]:
        """A row per time."""
        return [
            {
                "quantity": self.quantity,
                "group": self.group,
                "time_s": float(self.time_s[i]),
                "n": int(self.n[i]),
                "mean": float(self.mean[i]),
                "sd": float(self.sd[i]),
                "change_n": int(self.change_n[i]),
                "change_mean": float(self.change_mean[i]),
                "change_sd": float(self.change_sd[i]),
            }
            for i in range(self.time_s.size)
        ]

    def animal_rows(self) -> list[dict[str, Any]]:
        """A row per animal: its value before, peak, time to peak and area."""
        said = {"quantity": self.quantity, "group": self.group}
        return [said | course.row() for course in self.animals]

    def to_dataframe(self) -> pd.DataFrame:
        """The rows of :meth:`rows`."""
        import pandas as pd

        return pd.DataFrame(self.rows())

    def plot(self, look: Look | None = None) -> Figure:
        """The figure, see :func:`relaxometry.plots.time_course`."""
        from .plots import time_course

        return time_course(self, look=look)

    def __repr__(self) -> str:
        row = self.row()
        group = f" ({self.group})" if self.group else ""
        animals = f"{len(self.animals)} animal{'s' * (len(self.animals) != 1)}"
        peak = f"peak change {row['peak']:.4g}"
        if math.isfinite(row["peak_sd"]):
            peak += f" ± {row['peak_sd']:.2g} (SD)"
        if row["n_peak_not_reached"]:
            peak += f", not reached in {row['n_peak_not_reached']}"
        times = f"{self.time_s.size} times"
        return f"TimeCourse: {self.quantity}{group}, {animals}, {times}, {peak}"


def time_course(
    table: pd.DataFrame,
    quantity: str,
    *,
    baseline: Baseline = "before",
    group: str = "",
    at_s: ArrayLike | None = None,
) -> TimeCourse:
    """Mean ± SD over animals at every time, and each animal's change, peak and area.

    Parameters
    ----------
    table : DataFrame
        One row per animal and time: ``animal``, ``time_s`` (0 is the injection), the value in a
        column of the quantity's name or ``value``, and where known its ``stderr`` (or
        ``dR2_stderr_per_s`` beside ``dR2_per_s``). ``before`` (yes, no) may mark rows that are
        before; those at time 0 or earlier are in any case. A missing value is no 0.
    quantity : str
        What it is, with its unit as in tables: ``"SNR"``, ``"dR2_per_s"``, ``"concentration_mM"``.
    baseline : {"before", "zero"}
        What a change is against: the mean of the animal's values before, or 0, for values that are
        changes already, as ΔR is.
    group : str
        A name for these animals.
    at_s : array_like, optional
        Times of the mean curve, where animals were measured at different ones: each animal's curve
        is interpolated by straight lines inside its own range. By default nothing is interpolated,
        and every time has the animals that were measured then.

    Returns
    -------
    TimeCourse

    Raises
    ------
    InputError
        If a column is missing, a time or value no number, an animal has two rows at one time (as
        slices would make), or a row before comes after one that is not.
    """
    if baseline not in get_args(Baseline):
        raise InputError(
            f"{baseline!r}"[:60], field="baseline", expected=" or ".join(get_args(Baseline))
        )
    if not isinstance(quantity, str) or not quantity:
        raise InputError(f"{quantity!r}"[:60], field="quantity", expected="a name, e.g. SNR")
    columns = course_table(table, quantity)
    names = columns.pop("animal")
    courses = tuple(
        animal_course(
            str(a), {name: values[names == a] for name, values in columns.items()}, baseline
        )
        for a in dict.fromkeys(names.tolist())
    )
    measured = _distinct(np.concatenate([c.time_s for c in courses]))
    changes = np.array([_at(measured, c.time_s, c.change, False) for c in courses])
    change_n, change_mean, change_sd = _over(changes)
    # Noise makes peaks of either sign: of mixed ones the mean would be nobody's change.
    direction = _largest(measured, change_mean, change_n, courses)[0]
    if math.isfinite(direction):
        courses = tuple(towards(c, 1 if direction >= 0 else -1) for c in courses)
    notes = [f"animal {c.animal}: {note}" for c in courses for note in c.notes]
    times = measured
    if at_s is not None:
        times = _asked(at_s)
        changes = np.array([_at(times, c.time_s, c.change, True) for c in courses])
        change_n, change_mean, change_sd = _over(changes)
        notes.append("values are interpolated by straight lines at the times asked for")
    values = np.array([_at(times, c.time_s, c.value, at_s is not None) for c in courses])
    n, mean, sd = _over(values)
    return TimeCourse(
        quantity=quantity,
        group=group,
        baseline=baseline,
        animals=courses,
        time_s=times,
        n=n,
        mean=mean,
        sd=sd,
        change_mean=change_mean,
        change_sd=change_sd,
        change_n=change_n,
        notes=(*notes, *_notes(courses, n)),
    )


def _largest(
    time: Array, change: Array, n: NDArray[np.intp], courses: Sequence[AnimalCourse]
) -> tuple[float, float]:
    """Largest mean change after the injection and its time, where at least half have a value."""
    before = [c.time_s[c.is_before].max() for c in courses if c.is_before.any()]
    after = (time > max([0.0, *map(float, before)])) & (2 * n >= max(n.max(), 1))
    size = np.where(after & np.isfinite(change), np.abs(change), -1.0)
    if not (size >= 0).any():
        return math.nan, math.nan
    i = int(size.argmax())
    return float(change[i]), float(time[i])


def _mostly_none(courses: Sequence[AnimalCourse]) -> bool:
    """Whether most peaks are not told apart from no change."""
    peaks = [c.peak for c in courses if math.isfinite(c.peak.value)]
    return 2 * sum(p.told is False for p in peaks) > len(peaks)


def _distinct(times: Array) -> Array:
    ordered = np.sort(times)
    new = np.concatenate([[True], np.diff(ordered) > SAME_TIME])
    distinct: Array = ordered[new]
    return distinct


def _asked(at_s: ArrayLike) -> Array:
    try:
        times = np.atleast_1d(np.asarray(at_s, dtype=np.float64))
    except (TypeError, ValueError):
        raise InputError(f"{at_s!r}"[:60], field="at_s", expected="times in s") from None
    if times.ndim != 1 or not times.size or not np.isfinite(times).all():
        raise InputError(f"{at_s!r}"[:60], field="at_s", expected="times in s")
    return _distinct(times)


def _at(times: Array, own: Array, values: Array, between: bool) -> Array:
    """An animal's values at some times: NaN where there is none."""
    known = np.isfinite(values)
    if not known.any():
        return np.full(times.shape, np.nan)
    own, values = own[known], values[known]
    if between:
        inside: Array = np.interp(times, own, values, left=np.nan, right=np.nan)
        return inside
    near = np.abs(own - times[:, None]).argmin(axis=1)
    there: Array = np.where(np.abs(own[near] - times) <= SAME_TIME, values[near], np.nan)
    return there


def _over(values: Array) -> tuple[NDArray[np.intp], Array, Array]:
    """n, mean and SD over animals (a, t), of those with a value."""
    known = np.isfinite(values)
    n = known.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(known, values, 0.0).sum(axis=0) / n
        squares = np.where(known, (values - mean) ** 2, 0.0).sum(axis=0)
        sd = np.where(n > 1, np.sqrt(squares / (n - 1)), np.nan)
    return n, mean, sd


def _mean_sd(values: Sequence[float]) -> tuple[float, float]:
    known = np.array([v for v in values if math.isfinite(v)])
    if not known.size:
        return math.nan, math.nan
    return float(known.mean()), float(known.std(ddof=1)) if known.size > 1 else math.nan


def _notes(courses: Sequence[AnimalCourse], n: NDArray[np.intp]) -> list[str]:
    notes = _peak_notes(courses)
    if len(courses) > 1 and (n < len(courses)).any():
        notes.append(
            f"animals were not all measured at every time: n is {n.min()} to {n.max()} of "
            f"{len(courses)}"
        )
    last = {float(c.time_s.max()) for c in courses if math.isfinite(c.area)}
    if len(last) > 1 and max(last) - min(last) > SAME_TIME:
        notes.append("the last times differ between animals: their areas are not of one length")
    if len(courses) == 1:
        notes.append("one animal: there is no SD over animals")
    return notes


def _peak_notes(courses: Sequence[AnimalCourse]) -> list[str]:
    """How many animals leave the peak in doubt, and how."""
    peaks = [c.peak for c in courses]
    there = [p for p in peaks if math.isfinite(p.value)]
    none = "; time to peak not determined" if _mostly_none(courses) else ""
    return [
        f"{words} in {count} of {len(courses)} animal{'s' * (len(courses) != 1)}{ending}"
        for words, count, ending in (
            ("no peak", len(peaks) - len(there), ""),
            ("peak not told apart from no change", sum(p.told is False for p in there), none),
            (
                "no errors, so that no peak is told apart from no change,",
                sum(p.told is None for p in there),
                "",
            ),
            ("peak not reached", sum(not p.reached for p in there), ""),
            ("the largest change goes the other way", sum(p.opposed for p in there), ""),
        )
        if count
    ]
