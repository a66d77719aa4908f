"""A plan in words: what was planned, the best settings, what the image would show, by what."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .contrastmodel import AIMS
from .numerals import columns, named, number, percent, short
from .planning import ContrastPlan
from .units import QUANTITIES
from .weighted import Tissue, said

if TYPE_CHECKING:
    import pandas as pd

_MOST = 12  # rows of the table that are told


def plan_text(plan: ContrastPlan) -> str:
    """The report of a plan, in plain text."""
    return "\n".join(_lines(plan)) + "\n"


def _lines(plan: ContrastPlan) -> Iterator[str]:
    model = plan.model
    sequence, agent = model.sequence, model.agent
    field = "" if agent.field_T is None else f", {agent.field_T:g} T"
    yield f"{sequence.words.capitalize()} with {named(agent.name) or 'the agent'}{field}"
    decay = sequence.decay.replace("T", "r")
    yield (
        f"r1 = {number(agent.r1.value, agent.r1.stderr)}, {decay} = "
        f"{number(agent.decay.value, agent.decay.stderr)} mM⁻¹ s⁻¹; σ = {short(plan.sigma)}"
    )
    for role in ("target", "reference"):
        yield _tissue(role, getattr(model, role), sequence.decay)
    yield ""
    per = " per √s of TR (fixed scan time)" if plan.fixed == "time" else " (fixed averages)"
    if plan.bounds.ranges:
        yield f"Maximised: {AIMS[plan.maximise]}{per}"
        for one in plan.optima[:_MOST]:
            yield f"{_amounts(one.uptake_mM)}: {one!r}"
        if len(plan.optima) > _MOST:
            yield f"… and {len(plan.optima) - _MOST} more"
        yield f"Ranges: at least {percent(plan.best.share)} of the best, one setting at a time."
        yield ""
    yield from _table(plan)
    yield ""
    yield sequence.equation + " (" + sequence.source + ")"
    yield f"1/T1 = 1/T1(0) + r1·c, 1/{_star(sequence.decay)} = 1/{_star(sequence.decay)}(0) + " + (
        f"{_star(decay)}·c"
    )
    noise = "σ" if plan.noise_method == "rayleigh" else "0.6551·σ, the SD of magnitudes in air"
    yield f"SNR = S/({noise})" if plan.noise_method == "sd" else "SNR = S/σ"
    yield "CNR = |S_target − S_reference|/σ; CNR relative = |S_target − S_reference|/S_target"
    yield "ΔSNR = (SNR_post − SNR_pre)/SNR_pre; ΔCNR likewise, of the relative CNR"
    yield "As measured: the mean of a magnitude with noise (Rice, Bell Syst Tech J 24:46, 1945)"
    if math.isfinite(agent.r1.stderr) or math.isfinite(agent.decay.stderr):
        yield f"±: what follows from the errors of r1 and {_star(decay)} (delta method)"
    for note in plan.notes:
        yield f"Note: {note}."


def _star(symbol: str) -> str:
    return symbol.replace("star", "*")


def _tissue(role: str, tissue: Tissue, decay: str) -> str:
    times = [
        f"T1 {1e3 * tissue.T1:.4g} ms",
        f"{_star(decay)} {1e3 * getattr(tissue, decay):.4g} ms",
    ]
    c = tissue.uptake_mM
    amount = f"{c.min():g} mM" if c.min() == c.max() else f"{c.min():g} to {c.max():g} mM"
    name = f" ({named(tissue.name)})" if tissue.name else ""
    return f"{role.capitalize()}{name}: {', '.join(times)}, S0 {tissue.S0:g}, takes up {amount}"


def _amounts(uptake: tuple[float, float]) -> str:
    return f"{uptake[0]:g} mM in the target, {uptake[1]:g} mM in the reference"


def _table(plan: ContrastPlan) -> Iterator[str]:
    names = plan.model.sequence.settings
    heads = [*(QUANTITIES[name].label for name in names), "c (mM)", "SNR before", "after"]
    heads += ["CNR before", "after", "after, measured", "ΔSNR", "ΔCNR"]
    rows: pd.DataFrame = plan.table.head(_MOST)
    cells = []
    for row in rows.to_dict("records"):
        line = [said(n, row[QUANTITIES[n].column]).split(" ", 1)[1].split(" ")[0] for n in names]
        line.append(f"{row['uptake_target_mM']:g} / {row['uptake_reference_mM']:g}")
        for when in ("pre", "post"):
            both = (row[f"SNR_{region}_{when}"] for region in ("target", "reference"))
            line.append(" / ".join(short(one, 3) for one in both))
        error = row["CNR_usual_post_stderr"]
        after = short(row["CNR_usual_post"], 3)
        if math.isfinite(error):
            after = number(row["CNR_usual_post"], error) if error > 0 else after
        line += [short(row["CNR_usual_pre"], 3), after, short(row["CNR_usual_post_measured"], 3)]
        changes = (row[f"dSNR_{region}_signed"] for region in ("target", "reference"))
        line += [" / ".join(percent(one) for one in changes), percent(row["dCNR_signed"])]
        cells.append(line)
    yield "Target / reference:"
    yield from columns(heads, cells, left=0)
    if len(plan.table) > _MOST:
        yield f"… and {len(plan.table) - _MOST} more rows"
    told = sorted({part for one in plan.table["flags"] for part in one.split("; ") if part})
    for one in told:
        yield f"Flag: {one}."
