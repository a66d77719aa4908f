"""Planning an image: the contrast an agent will give, and the times that make the most of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .agents import RelaxivityTable
from .bestsettings import Bounds, Optimum, bounds_of, searched
from .contrastmodel import AIMS, Aim, ContrastModel, Fixed
from .detectable import ROSE, limits
from .errors import InputError
from .jupyter import Shown
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
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .canvas import Look

Array = NDArray[np.float64]


@dataclass(frozen=True, repr=False, eq=False)
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
        One for each concentration; where some settings are given and others sought, for each of
        those that are given too.
    notes : tuple of str
    """

    model: ContrastModel
    noise_method: str
    maximise: Aim
    fixed: Fixed
    bounds: Bounds
    optima: tuple[Optimum, ...]
    notes: tuple[str, ...]

    @cached_property
    def table(self) -> pd.DataFrame:
        return _table(self.model, self.bounds, self.optima, self.noise_method)

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
        CNR (usual) after; its change |CNR_usual_post − CNR_usual_pre|; the change of the target's
        signal |S_post − S_pre|/σ; SNR of the target after.
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
    allowed = bounds_of(kind, {"TE": TE, "TR": TR, "FA": FA, "TI": TI}, bounds)
    model = ContrastModel(kind, *tissues, rates, 1.0)
    noise = _sigma(model, sigma, SNR, SNR_at, noise_method, allowed)
    model = replace(model, sigma=noise)
    uptakes = [
        (float(t), float(r))
        for t, r in zip(tissues[0].uptake_mM, tissues[1].uptake_mM, strict=True)
    ]
    optima = searched(model, maximise, fixed, allowed, uptakes, within)
    told = (*notes, *rates.notes)
    return ContrastPlan(model, noise_method, maximise, fixed, allowed, optima, told)


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
