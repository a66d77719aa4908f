"""Planning an image: the contrast an agent will give, and the times that make the most of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .agents import RelaxivityTable
from .contrastmodel import AIMS, FLOOR, Aim, ContrastModel, Fixed
from .detectable import ROSE, limits
from .errors import InputError
from .jupyter import Shown
from .optimum import around, highest
from .plannedagent import agent_rates
from .units import QUANTITIES
from .weighted import (
    Sequence,
    Tissue,
    as_tissue,
    positive,
    said,
    sequence_named,
    setting,
    settings,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .canvas import Look

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
    at_edge : tuple of str
        Settings at the edge of what was allowed, in words: a wider range would give more.
    uptake_mM : (float, float)
        In target and reference.
    """

    settings: Mapping[str, float]
    value: float
    within: Mapping[str, tuple[float, float]]
    share: float
    at_edge: tuple[str, ...]
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
        edge = f"; {'; '.join(self.at_edge)}" if self.at_edge else ""
        return f"Best: {', '.join(parts)}: {self.value:.4g}{edge}"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class ContrastPlan(Shown):
    """What a weighted image would show before and after an agent.

    Attributes
    ----------
    model : ContrastModel
        Tissues, agent, sequence and σ.
    noise_method : {"rayleigh", "sd"}
        What SNR is divided by: σ, or the SD of magnitudes in air.
    maximise, fixed : str
        As in :func:`plan_contrast`.
    bounds : Bounds
    table : DataFrame
        A row for each setting that was given (or the best ones) and each concentration.
    optima : tuple of Optimum
        One for each concentration.
    notes : tuple of str
    """

    model: ContrastModel
    noise_method: str
    maximise: Aim
    fixed: Fixed
    bounds: Bounds
    table: pd.DataFrame
    optima: tuple[Optimum, ...]
    notes: tuple[str, ...]

    @property
    def best(self) -> Optimum:
        """The optimum of the concentration that can give the most."""
        return max(self.optima, key=lambda one: one.value)

    @property
    def sigma(self) -> float:
        """σ of each channel, in the unit of S0."""
        return self.model.sigma

    def limits(self, least: float = ROSE) -> pd.DataFrame:
        """Where the signal peaks with concentration, and the least concentration that is seen.

        Parameters
        ----------
        least : float
            CNR from which a detail is seen; 5 after Rose, J Opt Soc Am 38:196 (1948).

        Returns
        -------
        DataFrame
            A row per setting of the table. Concentrations are those of `region`, the one that takes
            up more; the other takes up in proportion. ``peak_mM``, ``peak_enhancement``: where
            its signal is largest, and S/S(0) − 1 there: beyond, T2 overtakes T1. ``same_again_mM``:
            where it is back at the signal without agent. ``detectable_CNR_mM``: least with CNR ≥
            `least`. ``detectable_change_mM``: least with a change of the signal from before of
            `least`·√2·σ. NaN with a reason in ``flags``.
        """
        names = self.model.sequence.settings
        columns = [QUANTITIES[name].column for name in names]
        rows = self.table[columns].drop_duplicates()
        at = {n: rows[c].to_numpy(float) for n, c in zip(names, columns, strict=True)}
        return limits(self.model, at, least).rename(columns=dict(zip(names, columns, strict=True)))

    def _limits_at(self, at: dict[str, Array]) -> dict[str, float]:
        """The limits at one setting."""
        found = limits(self.model, at).iloc[0]
        return {name: float(found[name]) for name in found.index if str(name).endswith("_mM")}

    def plot(self, kind: str = "contrast", *, look: Look | None = None) -> Figure:
        """The contrast over TE and TR, or the signals against concentration.

        Parameters
        ----------
        kind : {"contrast", "concentration"}
        look : Look, optional
            Its size; default one column of a journal.
        """
        from .planplots import concentration_plot, contrast_map

        plots = {"contrast": contrast_map, "concentration": concentration_plot}
        if kind not in plots:
            raise InputError(f"{kind!r}"[:60], field="kind", expected=" or ".join(plots))
        return plots[kind](self, look)

    def report(self) -> str:
        """A short text: what was planned, the best settings, the formulas."""
        from .plantext import plan_text

        return plan_text(self)

    def __repr__(self) -> str:
        what = f"{self.model.sequence.name}, {self.maximise}"
        return f"Contrast plan: {what} at fixed {self.fixed}. {self.best!r}"


def plan_contrast(
    *,
    target: Tissue | Mapping[str, Any],
    reference: Tissue | Mapping[str, Any] | None = None,
    r1: Any = None,
    r2: Any = None,
    r2star: Any = None,
    agent: str | None = None,
    condition: str = "",
    relaxivity: RelaxivityTable | None = None,
    field_T: float | None = None,
    sequence: str = "SE",
    TE: Any = None,
    TR: Any = None,
    FA: Any = None,
    TI: Any = None,
    sigma: float | None = None,
    SNR: float | None = None,
    SNR_at: Mapping[str, Any] | None = None,
    noise_method: str = "rayleigh",
    maximise: Aim = "CNR",
    fixed: Fixed = "averages",
    bounds: Mapping[str, tuple[Any, Any]] | None = None,
    within: float = 0.95,
) -> ContrastPlan:
    """Contrast of a weighted image before and after an agent, and the settings of the largest.

    Each setting (TE, TR, and FA or TI) is one value, several, or left out: then the best within
    its bounds is sought.

    Parameters
    ----------
    target, reference : Tissue or mapping
        With ``T1``, ``T2`` (``T2star`` for GRE) and where wanted ``S0``, ``uptake_mM``, ``name``.
        Without a reference it is the target without agent.
    r1, r2, r2star : float, Estimate or Relaxivity, optional
        mM⁻¹ s⁻¹. From an Estimate the errors of SNR and CNR follow.
    agent, condition : str, optional
        Which agent of `relaxivity`; without that table and numbers, which published agent
        (:func:`relaxometry.reference.literature`).
    relaxivity : RelaxivityTable, optional
    field_T : float, optional
        T; a contradiction with the relaxivities is an error.
    sequence : {"SE", "GRE", "IR"}
        Spin echo, spoiled gradient echo, inversion recovery.
    TE, TR, TI : float, str or sequence, optional
        s, or text such as ``"40 ms"``.
    FA : float or sequence, optional
        Degrees.
    sigma : float, optional
        σ of each channel of the noise, in the unit of S0.
    SNR, SNR_at : float, mapping, optional
        In place of σ: SNR of the target before, at these settings, such as ``{"TE": 0.04, "TR":
        2}``; default those of the plan.
    noise_method : {"rayleigh", "sd"}
        What an SNR is: S/σ, or S over the SD of magnitudes in air (0.6551 σ) as
        :func:`measure_contrast` measures it by default. CNR is always over σ.
    maximise : {"CNR", "dCNR", "dS", "SNR"}
        CNR after; its change |CNR_post − CNR_pre|; the change of the target's signal |S_post −
        S_pre|/σ; SNR of the target after.
    fixed : {"averages", "time"}
        Whether a shorter TR saves time, or buys averages: then it is per √TR.
    bounds : mapping of str to (low, high), optional
        What the scanner can do, for settings that are sought; defaults in docs/planning.md.
    within : float
        Share of the best for :attr:`Optimum.within`.

    Returns
    -------
    ContrastPlan

    Raises
    ------
    InputError
        Naming the argument, for anything missing, impossible or ambiguous; times that seem to be in
        ms; TE + TI > TR; nothing that any setting could show.
    """
    kind = sequence_named(sequence)
    tissues, notes = _tissues(target, reference, kind)
    if field_T is not None:
        field_T = positive(field_T, "field_T")
    numbers = {"r1": r1, "r2": r2, "r2star": r2star}
    rates = agent_rates(kind, numbers, agent, condition, relaxivity, field_T)
    for name, value, known in (
        ("noise_method", noise_method, ("rayleigh", "sd")),
        ("maximise", maximise, tuple(AIMS)),
        ("fixed", fixed, get_args(Fixed)),
    ):
        if value not in known:
            raise InputError(f"{value!r}"[:60], field=name, expected=", ".join(known))
    if not 0 < positive(within, "within") < 1:
        hint = "write a fraction: 95 % is 0.95" if within > 1 else None
        raise InputError(f"{within:g}", field="within", expected="between 0 and 1", hint=hint)
    allowed = _bounds(kind, {"TE": TE, "TR": TR, "FA": FA, "TI": TI}, bounds)
    model = ContrastModel(kind, *tissues, rates, 1.0)
    noise = _sigma(model, sigma, SNR, SNR_at, noise_method, allowed)
    model = replace(model, sigma=noise)
    uptakes = [
        (float(t), float(r))
        for t, r in zip(tissues[0].uptake_mM, tissues[1].uptake_mM, strict=True)
    ]
    optima = _searched(model, maximise, fixed, allowed, uptakes, within)
    table = _table(model, allowed, optima, noise_method)
    told = (*notes, *rates.notes)
    return ContrastPlan(model, noise_method, maximise, fixed, allowed, table, optima, told)


def _tissues(
    target: Any, reference: Any, sequence: Sequence
) -> tuple[tuple[Tissue, Tissue], tuple[str, ...]]:
    """Both tissues, with as many concentrations each."""
    first = as_tissue(target, "target")
    notes: tuple[str, ...] = ()
    if reference is None:
        name = f"{first.name} without agent".strip()
        second = replace(first, uptake_mM=0.0, name=name)
        notes = ("no reference: it is the target without agent",)
    else:
        second = as_tissue(reference, "reference")
    for role, tissue in (("target", first), ("reference", second)):
        try:
            tissue.rates(sequence)
        except InputError as error:
            raise InputError(
                error.found, field=f"{role} {error.field}", expected=error.expected
            ) from None
    sizes = {len(first.uptake_mM), len(second.uptake_mM)}
    if len(sizes - {1}) > 1:
        raise InputError(
            f"{len(first.uptake_mM)} and {len(second.uptake_mM)} concentrations",
            field="uptake_mM",
            expected="as many in target and reference, or one",
        )
    first, second = (
        replace(one, uptake_mM=np.broadcast_to(one.uptake_mM, max(sizes)))
        for one in (first, second)
    )
    return (first, second), notes


def _bounds(
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


def _sigma(
    model: ContrastModel,
    sigma: float | None,
    SNR: float | None,
    SNR_at: Mapping[str, Any] | None,
    noise_method: str,
    allowed: Bounds,
) -> float:
    """σ as given, or that of an SNR of the target before."""
    largest = max(model.target.S0, model.reference.S0)
    if (sigma is None) == (SNR is None):
        raise InputError(
            "both" if SNR is not None else "none",
            field="sigma, SNR",
            expected="one: σ in the unit of S0, or the SNR of the target before",
        )
    if sigma is not None:
        if SNR_at is not None:
            raise InputError("given without SNR", field="SNR_at")
        value = positive(sigma, "sigma")
        if value >= largest:
            raise InputError(
                f"{value:g} where S0 is {largest:g}",
                field="sigma",
                expected="less than S0, in its unit",
                hint="1 % of S0 is 0.01 where S0 is 1",
            )
        return value
    ratio = positive(SNR, "SNR")
    needed = model.sequence.settings
    at = {n: float(v[0]) for n, v in allowed.given.items() if len(v) == 1}
    for name, one in (SNR_at or {}).items():
        if name not in needed:
            raise InputError(f"{name!r}"[:60], field="SNR_at", expected=", ".join(needed))
        at[name] = setting(one, name)
    missing = [name for name in needed if name not in at]
    if missing:
        raise InputError(
            f"no {', '.join(missing)}",
            field="SNR_at",
            expected="the settings at which the SNR is known",
            hint='such as SNR_at={"TE": "40 ms", "TR": "2 s"}',
        )
    if at["TE"] + at.get("TI", 0.0) > at["TR"]:
        raise InputError(said("TE", at["TE"]), field="SNR_at", expected="at most TR")
    signal = float(model.tissue_signal(model.target, 0.0, at, 0.0, 0.0))
    noise = model.noise_of_snr(noise_method)
    if not signal > 1e-9 * model.target.S0:
        raise InputError("the target has no signal there", field="SNR_at")
    return signal / ratio / noise


def _searched(
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
    return tuple(
        _optimum(model, aim, fixed, allowed, held, uptake, share)
        for held in combinations
        for uptake in uptakes
    )


def _optimum(
    model: ContrastModel,
    aim: Aim,
    fixed: Fixed,
    allowed: Bounds,
    held: Mapping[str, float],
    uptake: tuple[float, float],
    share: float,
) -> Optimum:
    names = model.sequence.settings
    sides = [name for name in _ORDER if name in allowed.ranges]
    peak = highest(
        lambda place: model.aim(aim, fixed, allowed.from_box(place, held), uptake), len(sides)
    )
    if not peak.value > _NOTHING:
        raise InputError(
            f"{AIMS[aim]}: 0 at all settings that are allowed",
            field="maximise",
            expected="tissues that differ, or an agent that one of them takes up",
        )
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


def _table(
    model: ContrastModel, allowed: Bounds, optima: tuple[Optimum, ...], noise_method: str
) -> pd.DataFrame:
    """A row per setting and concentration: those given, or the best ones."""
    names = model.sequence.settings
    if allowed.ranges:
        at = {name: np.array([one.settings[name] for one in optima]) for name in names}
        target, reference = np.array([one.uptake_mM for one in optima]).T
    else:
        # Open axes, for what does not change along one need not be worked out for all.
        *axes, target = np.meshgrid(
            *(allowed.given[name] for name in names),
            model.target.uptake_mM,
            indexing="ij",
            sparse=True,
        )
        at = dict(zip(names, axes, strict=True))
        reference = model.reference.uptake_mM
        reference = reference if np.ptp(reference) else reference[:1]
    return model.quantities(at, (target, reference), noise_method)
