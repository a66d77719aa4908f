"""The settings of the largest contrast, within what is allowed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .contrastmodel import AIMS, Aim, ContrastModel, Fixed
from .errors import InputError
from .jupyter import Shown
from .optimum import around, highest
from .weighted import Sequence, said, setting, settings

Array = NDArray[np.float64]

_ORDER = ("TE", "TI", "TR", "FA")
_EDGE = 1e-6  # of the side of the box
_MOST_ROWS, _MOST_SEARCHES = 1_000_000, 500
_NOTHING = 1e-9  # σ


@dataclass(frozen=True, slots=True)
class Bounds:
    """What may be chosen: values that are given, or a range; TE + TI ≤ TR always holds.

    Attributes
    ----------
    given : mapping of str to ndarray
    ranges : mapping of str to (float, float)
        Of each setting that is searched.
    """

    given: Mapping[str, Array]
    ranges: Mapping[str, tuple[float, float]]

    def from_box(self, place: Any, fixed: Mapping[str, float]) -> dict[str, Array]:
        """Settings for coordinates in the unit box: logarithmic, and each one possible."""
        at: dict[str, Array] = {name: np.asarray(value) for name, value in fixed.items()}
        longest = fixed.get("TR", self.ranges.get("TR", (0.0, math.inf))[1])
        side = 0
        for name in _ORDER:
            if name not in self.ranges:
                continue
            u, side = place[side], side + 1
            low, high = self.ranges[name]
            if name == "TE":
                other = fixed.get("TI", self.ranges.get("TI", (0.0, 0.0))[0])
                lows, highs = low, min(high, longest - other)
                at[name] = lows * (highs / lows) ** u
            elif name == "TI":
                tops = np.minimum(high, longest - at["TE"])
                at[name] = low * (tops / low) ** u
            elif name == "TR":
                bottoms = np.maximum(low, at["TE"] + at.get("TI", np.zeros(())))
                at[name] = bottoms * (high / bottoms) ** u
            else:
                at[name] = low * (high / low) ** u
        return at


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Optimum(Shown):
    """The settings of the largest contrast for one pair of concentrations.

    Attributes
    ----------
    settings : mapping of str to float
        TE, TR, and FA or TI: s, degrees.
    value : float
        What was maximised, in units of σ; at fixed scan time per √s.
    within : mapping of str to (float, float)
        The range of each setting that was searched in which, the others as they are, the value is
        at least `share` of the best.
    share : float
    remarks : tuple of str
        Settings at the edge of what was allowed, where a wider range would give more; or that no
        setting gives any contrast.
    uptake_mM : (float, float)
        In target and reference.
    """

    settings: Mapping[str, float]
    value: float
    within: Mapping[str, tuple[float, float]]
    share: float
    remarks: tuple[str, ...]
    uptake_mM: tuple[float, float]

    @property
    def TE(self) -> float:
        """Echo time, s."""
        return self.settings["TE"]

    @property
    def TR(self) -> float:
        """Repetition time, s."""
        return self.settings["TR"]

    @property
    def FA(self) -> float:
        """Flip angle, degrees; NaN where the sequence has none."""
        return self.settings.get("FA", math.nan)

    @property
    def TI(self) -> float:
        """Inversion time, s; NaN where the sequence has none."""
        return self.settings.get("TI", math.nan)

    def __repr__(self) -> str:
        parts = []
        for name, value in self.settings.items():
            told = said(name, value)
            if name in self.within:
                low, high = (said(name, end).split(" ", 1)[1] for end in self.within[name])
                told += f" ({low} to {high})"
            parts.append(told)
        edge = f"; {'; '.join(self.remarks)}" if self.remarks else ""
        return f"Best: {', '.join(parts)}: {self.value:.4g}{edge}"


def bounds_of(
    sequence: Sequence, given: Mapping[str, Any], bounds: Mapping[str, Any] | None
) -> Bounds:
    known: dict[str, Array] = {}
    for name, values in given.items():
        if values is None:
            continue
        if name not in sequence.settings:
            raise InputError(
                "given", field=name, expected=f"none: {sequence.words} has {sequence.settings}"
            )
        known[name] = settings(values, name)
    if math.prod(len(values) for values in known.values()) > _MOST_ROWS:
        raise InputError("too many settings", expected=f"at most {_MOST_ROWS:,} together")
    ranges = {name: ends for name, ends in sequence.bounds.items() if name not in known}
    for name, ends in (bounds or {}).items():
        if name not in sequence.settings:
            raise InputError(
                f"{name!r}"[:60], field="bounds", expected=", ".join(sequence.settings)
            )
        if name in known:
            raise InputError("given, and bounds for it too", field=name, expected="either")
        if not isinstance(ends, (tuple, list)) or len(ends) != 2:
            raise InputError(
                f"{ends!r}"[:60], field=f"bounds {name}", expected="two: the least and the most"
            )
        low, high = (setting(end, name) for end in ends)
        if not low < high:
            raise InputError(
                f"{low:g} to {high:g}", field=f"bounds {name}", expected="the least, then the most"
            )
        ranges[name] = low, high
    taken = {n: (ends.min(), ends.max()) for n, ends in known.items()} | ranges
    # Of values that are given each must be possible with each; of a range, one of it.
    longest = {n: taken[n][1] if n in known else taken[n][0] for n in ("TE", "TI") if n in taken}
    TR = float(taken["TR"][0] if "TR" in known else taken["TR"][1])
    if sum(longest.values()) > TR:
        words = " + ".join(said(name, value) for name, value in longest.items())
        raise InputError(
            f"{words} with {said('TR', TR)}",
            field=" + ".join(longest),
            expected="at most TR",
        )
    return Bounds(known, ranges)


def searched(
    model: ContrastModel,
    aim: Aim,
    fixed: Fixed,
    allowed: Bounds,
    uptakes: list[tuple[float, float]],
    share: float,
) -> tuple[Optimum, ...]:
    """The optimum of every concentration, and of every combination of settings that are given."""
    names = model.sequence.settings
    grids = np.meshgrid(*allowed.given.values(), indexing="ij")
    at = {name: grid.ravel() for name, grid in zip(allowed.given, grids, strict=True)}
    if not allowed.ranges:
        optima = []
        for uptake in uptakes:
            values = model.aim(aim, fixed, at, uptake)
            best = int(values.argmax())
            chosen = {name: float(at[name][best]) for name in names}
            optima.append(Optimum(chosen, float(values[best]), {}, share, (), uptake))
        return tuple(optima)
    rows = zip(*at.values(), strict=True) if at else [()]
    combinations = [dict(zip(at, map(float, row), strict=True)) for row in rows]
    if len(combinations) * len(uptakes) > _MOST_SEARCHES:
        raise InputError(
            f"{len(combinations)} settings with {len(uptakes)} concentrations",
            expected=f"at most {_MOST_SEARCHES} searches together",
            hint="give all settings, and nothing is searched",
        )
    found: list[Optimum] = []
    for held in combinations:
        tried = [_optimum(model, aim, fixed, allowed, held, one, share) for one in uptakes]
        known = [one for one in tried if one is not None]
        if not known:
            raise InputError(
                f"{AIMS[aim]}: 0 at all settings that are allowed",
                field="maximise",
                expected="tissues that differ, or an agent that one of them takes up",
            )
        top = max(known, key=lambda one: one.value)
        # A blank in a dilution series shows nothing anywhere: imaged like the best of the others.
        blank = replace(
            top,
            value=0.0,
            within={},
            remarks=(f"no contrast at any setting: those of {max(top.uptake_mM):g} mM",),
        )
        found += [
            replace(blank, uptake_mM=uptake) if one is None else one
            for one, uptake in zip(tried, uptakes, strict=True)
        ]
    return tuple(found)


def _optimum(
    model: ContrastModel,
    aim: Aim,
    fixed: Fixed,
    allowed: Bounds,
    held: Mapping[str, float],
    uptake: tuple[float, float],
    share: float,
) -> Optimum | None:
    """The optimum of one concentration; None where there is no contrast at all."""
    names = model.sequence.settings
    sides = [name for name in _ORDER if name in allowed.ranges]
    peak = highest(
        lambda place: model.aim(aim, fixed, allowed.from_box(place, held), uptake), len(sides)
    )
    if not peak.value > _NOTHING:
        return None
    found = allowed.from_box(peak.place, held)
    at = {name: float(found[name]) for name in names}
    reach = {
        name: _within(model, aim, fixed, allowed, at, name, uptake, share * peak.value)
        for name in names
        if name in sides
    }
    edges = _edges(allowed, dict(zip(sides, peak.place, strict=True)))
    return Optimum(at, peak.value, reach, share, edges, uptake)


def _within(
    model: ContrastModel,
    aim: Aim,
    fixed: Fixed,
    allowed: Bounds,
    at: Mapping[str, float],
    name: str,
    uptake: tuple[float, float],
    least: float,
) -> tuple[float, float]:
    """Range of one setting, the others held, in which the contrast is at least `least`."""
    low, high = allowed.ranges[name]
    if name == "TR":
        low = max(low, at["TE"] + at.get("TI", 0.0))
    elif name in ("TE", "TI"):
        others = sum(at.get(other, 0.0) for other in ("TE", "TI") if other != name)
        high = min(high, at["TR"] - others)
    if not high > low:
        return at[name], at[name]

    def value(u: Array) -> Array:
        return model.aim(aim, fixed, {**at, name: low * (high / low) ** u}, uptake)

    place = min(max(math.log(at[name] / low) / math.log(high / low), 0.0), 1.0)
    u0, u1 = around(value, place, least)
    return low * (high / low) ** u0, low * (high / low) ** u1


def _edges(allowed: Bounds, place: Mapping[str, float]) -> tuple[str, ...]:
    """Which settings are at the edge, in words."""
    told = []
    for name, u in place.items():
        low, high = allowed.ranges[name]
        if u < _EDGE:
            told.append(f"{name} at the least allowed ({said(name, low).split(' ', 1)[1]})")
        elif u > 1 - _EDGE:
            told.append(f"{name} at the most allowed ({said(name, high).split(' ', 1)[1]})")
    return tuple(told)
