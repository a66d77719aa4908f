"""Curves of tubes: the signal that was measured and the curve that was fitted, a panel per tube."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from .canvas import AGENT_COLOURS, ALARM, INK, STYLE, WIDTH, Picture
from .curvefit import CurveFit
from .maps import Status
from .series import SWEEPABLE, Protocol
from .tubes import Tubes
from .units import QUANTITIES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LOG_FROM = 30  # a time axis that spans more than this factor is logarithmic


@rc_context(STYLE)
def curve_panel(curves: Sequence[CurveFit], tubes: Tubes, flagged: Collection[int] = ()) -> Figure:
    """A panel per tube: its mean signal and the fitted curve, each relative to its largest signal.

    Parameters
    ----------
    curves : sequence of CurveFit
        One per row of the sheet.
    tubes : Tubes
    flagged : collection of int
        Numbers of tubes to mark, besides those whose fit has another status than ok.
    """
    columns = next((n for n in (4, 5, 6) if len(curves) <= 6 * n), 6)
    rows = math.ceil(len(curves) / columns)
    figure = Picture(figsize=(WIDTH, 0.45 + 1.32 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for ax in panels.flat:
        ax.tick_params(labelsize=7, length=2.5, width=0.6, color=INK)
    for ax, curve, row in zip(panels.flat, curves, tubes.sheet.to_dict("records"), strict=False):
        _curve(ax, curve, row, flagged)
    if _logarithmic(curves[0].protocol):  # all are of one series
        axis = panels[0, 0].xaxis
        panels[0, 0].set_xscale("log")
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
    signed = any(curve.polarity == "signed" and (curve.signal < 0).any() for curve in curves)
    panels[0, 0].set_ylim(-1.15 if signed else -0.04, 1.15)
    for i in range(len(curves), rows * columns):
        panels.flat[i].set_axis_off()
        panels.flat[i - columns].tick_params(labelbottom=True)
    swept = QUANTITIES[curves[0].protocol.swept]
    figure.supxlabel(swept.label, fontsize=8)
    figure.supylabel("signal / largest signal", fontsize=8)
    return figure


def _curve(ax: Axes, curve: CurveFit, row: Mapping[Any, Any], flagged: Collection[int]) -> None:
    swept, time = curve.protocol.swept, curve.model.time
    factor, times = QUANTITIES[swept].people_factor, curve.protocol.times
    finite = np.abs(curve.signal[np.isfinite(curve.signal)])
    largest = finite.max() if finite.any() else 1.0
    certain = curve.status is Status.OK and row["tube"] not in flagged
    if np.isfinite(curve.raw[time].value):
        dense = _dense(curve.protocol)
        ax.plot(
            dense.times * factor,
            curve.curve(dense) / largest,
            color=AGENT_COLOURS[0] if certain else ALARM,
            linestyle="-" if np.isfinite(curve[time].value) else ":",
            linewidth=1.1,
        )
    ax.plot(times * factor, curve.signal / largest, "o", color=INK, markersize=2.4, mew=0)
    value = f"{curve[time]}" if np.isfinite(curve[time].value) else curve.status.words
    title = f"{_tube_name(row)}\n{time} {value}"
    # Its place is given: otherwise all numbers at the axes are measured to find it.
    ax.set_title(
        title if certain else f"⚑ {title}", y=1, fontsize=7, color=INK if certain else ALARM
    )


def _logarithmic(protocol: Protocol) -> bool:
    times = protocol.times
    return bool(times.min() > 0 and times.max() > _LOG_FROM * times.min())


def _dense(protocol: Protocol) -> Protocol:
    """The measured range, finely; other settings follow the swept one as they were measured."""
    measured = protocol.times
    spaced = np.geomspace if _logarithmic(protocol) else np.linspace
    times = spaced(measured[0], measured[-1], 200)
    settings = {
        name: np.interp(times, measured, getattr(protocol, name))
        for name in SWEEPABLE
        if getattr(protocol, name) is not None
    }
    return Protocol(**{**settings, protocol.swept: times})


def _tube_name(row: Mapping[Any, Any]) -> str:
    """What is in a tube, short enough for a panel."""
    agent = " ".join(str(row[k]) for k in ("agent", "condition") if row[k])
    agent = agent if len(agent) <= 16 else f"{agent[:15]}…"
    c = row["concentration_mM"]
    amount = f"{c:g} mM" if c > 0 else ""
    content = ", ".join(part for part in (agent, amount) if part)
    return f"{row['tube']}: {content}" if content else f"tube {row['tube']}"
