"""Time courses after an injection: a panel per quantity, animals faint, mean ± SD on top."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import ScaledTranslation
from numpy.typing import NDArray

from .canvas import (
    AGENT_COLOURS,
    FAINT,
    INK,
    MARKERS,
    SMALL_PRINT,
    Look,
    Picture,
    any_letters,
    short_name,
)
from .cohort import WORDS
from .errors import InputError
from .numerals import number, short
from .timecourse import TimeCourse

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]

_LABELS = WORDS | {
    "dR1_per_s": "ΔR1 (s⁻¹)",
    "dR2_per_s": "ΔR2 (s⁻¹)",
    "dR2star_per_s": "ΔR2* (s⁻¹)",
    "dR2_signal_only_per_s": "ΔR2, signal only (s⁻¹)",
    "R1_per_s": "R1 (s⁻¹)",
    "R2_per_s": "R2 (s⁻¹)",
    "concentration_mM": "concentration (mM)",
    **WORDS,
}
#: Unit of the time axis up to so many s: its name and how many s it has.
_UNITS = ((180.0, "s", 1.0), (3 * 3600.0, "min", 60.0), (72 * 3600.0, "h", 3600.0))
_DAY = ("d", 86400.0)
_CROWDED = 30.0  # the last time over the first after the injection, from which the axis is bent


@any_letters()
def time_course(
    courses: TimeCourse | Sequence[TimeCourse],
    *,
    look: Look | None = None,
    change: bool | None = None,
) -> Figure:
    """Time courses: mean ± SD over animals, single animals faint, before and the peak marked.

    The dashed line is what changes are against, the ring the largest change of the mean curve. The
    small print has the animals' own peaks, mean ± SD. Times that span more than a factor of 30 are
    drawn on a logarithmic axis.

    Parameters
    ----------
    courses : TimeCourse or sequence of TimeCourse
        A panel for each quantity; groups of one quantity share its panel.
    look : Look, optional
        Its size; default two columns of a journal.
    change : bool, optional
        Draw the change against before. By default that is drawn where the values are changes
        already (``baseline="zero"``), and the values themselves elsewhere.

    Raises
    ------
    InputError
        If there is no course, or two have one quantity and one group.
    """
    given = [courses] if isinstance(courses, TimeCourse) else list(courses)
    if not given:
        raise InputError("no time course", field="courses", expected="at least one")
    keys = [(c.quantity, c.group) for c in given]
    if len(set(keys)) < len(keys):
        raise InputError(
            "two courses of one quantity and one group", field="courses", expected="one of each"
        )
    look = look or Look()
    quantities = list(dict.fromkeys(c.quantity for c in given))
    groups = list(dict.fromkeys(c.group for c in given))
    columns = 1 if look.narrow else min(2, len(quantities))
    rows = math.ceil(len(quantities) / columns)
    wide = look.inches / columns if columns > 1 or look.narrow else 0.62 * look.inches
    letters = look.points / 72
    high = min(0.66 * wide, 24 * letters) + 1.2 * letters
    key = len(groups) > 1
    size = (wide * columns, high * rows + 2.2 * letters * key)
    with rc_context(look.style):
        figure = Picture(figsize=size, layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False)
        for ax in panels.flat[len(quantities) :]:
            ax.set_axis_off()
        for ax, quantity in zip(panels.flat, quantities, strict=False):
            mine = [c for c in given if c.quantity == quantity]
            _panel(ax, mine, groups, look, change, wide)
        if key:
            handles = [
                Line2D(
                    [], [], color=_colour(i), marker=_marker(i), label=short_name((g or "—", ""))
                )
                for i, g in enumerate(groups)
            ]
            figure.legend(handles=handles, loc="outside upper left", ncols=min(len(groups), 4))
    return figure


def _colour(i: int) -> str:
    return AGENT_COLOURS[i % len(AGENT_COLOURS)]


def _marker(i: int) -> str:
    return MARKERS[i // len(AGENT_COLOURS) % len(MARKERS)] if i >= len(AGENT_COLOURS) else "o"


def _panel(
    ax: Axes,
    courses: Sequence[TimeCourse],
    groups: Sequence[str],
    look: Look,
    change: bool | None,
    wide: float,
) -> None:
    drawn = any(c.baseline == "zero" for c in courses) if change is None else change
    times = np.concatenate([c.time_s for c in courses])
    unit, seconds = _unit(float(np.abs(times).max()))
    thick = look.lines
    said = []
    for i, course in enumerate(courses):
        colour = _colour(groups.index(course.group))
        for animal in course.animals:
            y = animal.change if drawn else animal.value
            known = np.isfinite(y)
            ax.plot(
                animal.time_s[known] / seconds, y[known], "-", color=colour, alpha=0.3,
                lw=0.6 * thick, zorder=2,
            )  # fmt: skip
        aside = 0.35 * look.points * (i - (len(courses) - 1) / 2)  # points, for bars to show
        _mean(ax, course, drawn, seconds, look, groups, aside)
        said.append(_said(course, unit, seconds, len(courses) > 1))
    baseline = 0.0 if drawn else _before(courses)
    if math.isfinite(baseline):
        ax.axhline(baseline, color=FAINT, lw=0.7 * thick, ls=(0, (4, 3)), zorder=1)
    _time_axis(ax, times / seconds, unit, seconds, look, wide)
    name = _LABELS.get(courses[0].quantity, courses[0].quantity)
    if drawn and not any(c.baseline == "zero" for c in courses):
        name = f"change of {name}"
    ax.set_ylabel(name)
    ax.yaxis.set_major_locator(MaxNLocator(5))
    ax.margins(y=0.08)
    size = look.letters(0.8)
    room = int(72 * wide / (0.56 * size)) - 4
    text = "\n".join(textwrap.fill(line, room) for line in said)
    ax.set_title(text, loc="left", fontsize=size, color=SMALL_PRINT)


def _mean(
    ax: Axes,
    course: TimeCourse,
    drawn: bool,
    seconds: float,
    look: Look,
    groups: Sequence[str],
    aside: float,
) -> None:
    mean, sd = (course.change_mean, course.change_sd) if drawn else (course.mean, course.sd)
    n = course.change_n if drawn else course.n
    i = groups.index(course.group)
    colour, thick = _colour(i), look.lines
    # A lone animal among several would pull the mean curve to itself.
    known = np.isfinite(mean) & ((n > 1) | (len(course.animals) == 1))
    x, y = course.time_s[known] / seconds, mean[known]
    figure = ax.get_figure(root=True)
    assert figure is not None
    place = ax.transData + ScaledTranslation(aside / 72, 0, figure.dpi_scale_trans)
    drawing: dict[str, Any] = {"color": colour, "transform": place}
    ax.plot(x, y, "-", lw=1.3 * thick, zorder=4, **drawing)
    bars = np.where(np.isfinite(sd[known]), sd[known], 0.0)
    low, high = y - bars, y + bars
    if bars.any():
        ax.vlines(x, low, high, lw=0.9 * thick, zorder=4.5, **drawing)
        for ends in (low, high):
            ax.plot(x, ends, "_", ms=4.0 * thick, mew=0.9 * thick, zorder=4.5, **drawing)
    ax.plot(x, y, _marker(i), ms=3.6 * thick, mec="white", mew=0.4 * thick, zorder=5, **drawing)
    ax.update_datalim(np.column_stack([np.tile(x, 2), np.concatenate([low, high])]))
    _, at = course.curve_peak
    here = np.flatnonzero(course.time_s[known] == at)
    ring: dict[str, Any] = {"mfc": "none", "mec": INK, "mew": 0.9 * thick, "ms": 7.5 * thick}
    ax.plot(x[here], y[here], "o", zorder=6, transform=place, **ring)


def _said(course: TimeCourse, unit: str, seconds: float, several: bool) -> str:
    """The peak in small print."""
    row = course.row()
    if not math.isfinite(row["peak"]):
        text = "no change known"
    else:
        sd = row["peak_sd"]
        spread = math.isfinite(sd)
        text = f"peak change {number(row['peak'], sd) if spread else short(row['peak'], 3)}"
        if row["n_peak_not_reached"]:
            text += f", not reached in {row['n_peak_not_reached']} of {row['peak_n']}"
        else:
            time, time_sd = row["time_to_peak_s"] / seconds, row["time_to_peak_sd_s"] / seconds
            known = math.isfinite(time_sd) and time_sd > 0
            text += f" at {number(time, time_sd) if known else short(time, 3)} {unit}"
    animals = len(course.animals)
    n = f"± SD, n\u00a0=\u00a0{animals}" if animals > 1 else "n = 1"
    name = f"{short_name((course.group, ''), 16)}: " if several and course.group else ""
    return f"{name}{text} ({n})"


def _before(courses: Sequence[TimeCourse]) -> float:
    """Mean over animals of the values before."""
    known = [a.before for c in courses for a in c.animals if math.isfinite(a.before)]
    return float(np.mean(known)) if known else math.nan


def _unit(longest: float) -> tuple[str, float]:
    for most, name, seconds in _UNITS:
        if longest <= most:
            return name, seconds
    return _DAY


def _time_axis(ax: Axes, times: Array, unit: str, seconds: float, look: Look, wide: float) -> None:
    """A time axis that is straight, or bent where early times would be pressed together."""
    after = np.unique(times[times > 0])
    ax.axvline(0, color=FAINT, lw=0.6 * look.lines, zorder=0.5)
    if after.size > 2 and after[-1] > _CROWDED * after[0]:
        first, earliest = float(after[0]), min(float(times.min()), 0.0)
        ax.set_xscale("symlog", linthresh=first, linscale=0.6)
        beyond = float(after[-1]) * 1.35
        ax.set_xlim(earliest - 0.25 * first, beyond)
        place = ax.xaxis.get_transform()
        left, right = (float(v) for v in place.transform(np.array([earliest, beyond])))
        room = 3.2 * look.points / 72 / wide * (right - left)
        ticks: list[float] = []
        for t in [0.0, *after[::-1].tolist()]:  # the last has its number, the others as they fit
            x = float(place.transform(np.array([t]))[0])
            if all(abs(x - float(place.transform(np.array([u]))[0])) > room for u in ticks):
                ticks.append(t)
        ax.set_xticks(ticks, [_in_words(t * seconds) for t in ticks])
        ax.minorticks_off()
        ax.set_xlabel("time after injection, logarithmic")
    else:
        ax.xaxis.set_major_locator(MaxNLocator(6))
        ax.set_xlabel(f"time after injection ({unit})")


def _in_words(time: float) -> str:
    """A time in the largest unit of which it is one or more."""
    if time == 0:
        return "0"
    for name, seconds in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if time >= seconds:
            return f"{time / seconds:.3g} {name}"
    return f"{time:.3g} s"
