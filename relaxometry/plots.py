"""Figures for reports and papers: T1 and T2 in ms, a unit on every axis."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from .agreement import bland_altman
from .canvas import AGENT_COLOURS, ALARM, INK, STYLE, WIDTH, Picture, as_png, as_svg
from .curvefit import CurveFit
from .flags import tubes_in_words
from .maps import Status
from .pictures import parameter_map, tube_overlay
from .series import SWEEPABLE, Protocol
from .tubes import Tubes
from .units import QUANTITIES, RELAXIVITY_OF

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .agents import LeftOut, RelaxivityTable
    from .contrast import Contrast
    from .regression import Relaxivity

__all__ = [
    "Picture",
    "as_png",
    "as_svg",
    "bland_altman",
    "contrast_bars",
    "curve_panel",
    "parameter_map",
    "relaxivity_lines",
    "tube_overlay",
]

_MARKERS, _DASHES = "osD^v", ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)))
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
    logarithmic = bool(times.min() > 0 and times.max() > _LOG_FROM * times.min())
    certain = curve.status is Status.OK and row["tube"] not in flagged
    if np.isfinite(curve.raw[time].value):
        dense = _dense(curve.protocol, logarithmic)
        ax.plot(
            dense.times * factor,
            curve.curve(dense) / largest,
            color=AGENT_COLOURS[0] if certain else ALARM,
            linestyle="-" if np.isfinite(curve[time].value) else ":",
            linewidth=1.1,
        )
    ax.plot(times * factor, curve.signal / largest, "o", color=INK, markersize=2.4, mew=0)
    if logarithmic:
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.xaxis.set_minor_formatter(NullFormatter())
    value = f"{curve[time]}" if np.isfinite(curve[time].value) else curve.status.words
    title = f"{_tube_name(row)}\n{time} {value}"
    ax.set_title(title if certain else f"⚑ {title}", fontsize=7, color=INK if certain else ALARM)


def _dense(protocol: Protocol, logarithmic: bool) -> Protocol:
    """The measured range, finely; other settings follow the swept one as they were measured."""
    measured = protocol.times
    spaced = np.geomspace if logarithmic else np.linspace
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


# --- relaxivity and contrast ---------------------------------------------------------------------


@rc_context(STYLE)
def relaxivity_lines(
    table: RelaxivityTable,
    concentration_of: str = "",
) -> Figure:
    """R1 and R2 against concentration: points with their errors, lines, 95 % confidence bands.

    Points that are left out are hollow, with the number of their tube.

    Parameters
    ----------
    table : RelaxivityTable
    concentration_of : str
        Ion the concentration counts, for the axis.
    """
    symbols = [s for s in RELAXIVITY_OF.values() if any(s in fits for fits in table.lines.values())]
    names = [" ".join(key) for key in table]
    falling = any(fit.r.value < 0 for fits in table.lines.values() for fit in fits.values())
    # Where the legend would lie on the lines it goes below the axes.
    most = max(len({one.tube for one in table.left_out if one.symbol == s}) for s in symbols)
    rows = len(table) + min(most, _REASONS)
    crowded = rows > 6 or max(map(len, names)) > 14 or falling or (most > 1 and rows > 3)
    height = 3.1 + (0.17 * rows if crowded else 0)
    figure = Picture(figsize=(WIDTH / 2 * len(symbols), height), layout="constrained")
    panels = figure.subplots(1, len(symbols), squeeze=False)
    for ax, symbol in zip(panels.flat, symbols, strict=True):
        lines = {key: fits[symbol] for key, fits in table.lines.items() if symbol in fits}
        left_out = [one for one in table.left_out if one.symbol == symbol]
        gone = _relaxivity_panel(ax, symbol, lines, left_out)
        of = f"mM {concentration_of}" if concentration_of else "mM"
        ax.set_xlabel(f"concentration ({of})")
        place: dict[str, Any] = {"loc": "upper left"}
        if crowded:
            place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.17)}
        legend = ax.legend(
            [*ax.get_legend_handles_labels()[0], *gone],
            [*(_line_name(key, line) for key, line in lines.items()), *gone.values()],
            title=f"{symbol} (mM⁻¹ s⁻¹)",
            alignment="left",
            **place,
        )
        legend.get_title().set_fontweight("bold")
    return figure


def _relaxivity_panel(
    ax: Axes,
    symbol: str,
    lines: Mapping[tuple[str, str], Relaxivity],
    left_out: Sequence[LeftOut],
) -> dict[Line2D, str]:
    """Draw a panel; return what its legend says of the points left out."""
    rate = symbol.upper()
    drawn = [line for line in lines.values() if line.n]  # an agent may have no point at all
    there = [float(line.concentration.max()) for line in drawn]
    there += [one.concentration_mM for one in left_out if math.isfinite(one.rate)]
    reach = 1.05 * (max(there, default=0.0) or 1.0)
    c = np.linspace(0, reach, 121)
    looks = _looks(list(lines))
    for key, line in lines.items():
        colour, marker, dashes = looks[key]
        middle, half = line.line(c), line.band(c)
        ax.plot(c, middle, color=colour, linestyle=dashes, linewidth=1.1, zorder=2)
        if np.isfinite(half).all():
            ax.fill_between(c, middle - half, middle + half, color=colour, alpha=0.16, linewidth=0)
        ax.errorbar(
            line.concentration,
            line.rate,
            yerr=line.sigma if np.isfinite(line.sigma).all() else None,
            fmt=marker,
            color=colour,
            markersize=4,
            elinewidth=0.8,
            capsize=2,
            label="line",
            zorder=3,
        )
    gone = _hollow(ax, left_out, list(lines), 1.5 * max(ax.get_ylim()))
    ax.set_ylabel(QUANTITIES[rate].label)
    ax.tick_params(labelsize=7.5, length=3, width=0.6)
    ax.set_xlim(-0.02 * reach, max(reach, ax.get_xlim()[1]))
    if min((float(line.rate.min()) for line in drawn), default=1.0) > 0:
        ax.set_ylim(bottom=0)
    return gone


def _looks(keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], tuple[str, str, Any]]:
    """Colour of each agent; marker and dashes tell its conditions apart."""
    agents = list(dict.fromkeys(agent for agent, _ in keys))
    looks = {}
    for agent, condition in keys:
        i = agents.index(agent)
        conditions = [c for a, c in keys if a == agent]
        variant = (i // len(AGENT_COLOURS) + conditions.index(condition)) % len(_MARKERS)
        colour = AGENT_COLOURS[i % len(AGENT_COLOURS)]
        looks[agent, condition] = colour, _MARKERS[variant], _DASHES[variant]
    return looks


_REASONS = 3  # lines of the legend


def _hollow(
    ax: Axes, left_out: Sequence[LeftOut], keys: Sequence[tuple[str, str]], top: float
) -> dict[Line2D, str]:
    """Draw the points that are left out, numbered, up to a rate; entries of the legend say why."""
    looks = _looks(keys)
    drawn: dict[Any, LeftOut] = {}
    for one in left_out:
        key = (one.agent, one.condition)
        if key not in looks or one.tube in drawn:
            continue  # a blank may be left out of several lines
        drawn[one.tube] = one
        if not one.rate <= top:
            continue  # no value, or one that would press all others flat
        colour, marker, _ = looks[key]
        ax.plot(
            one.concentration_mM,
            one.rate,
            marker,
            color=colour,
            markersize=4.5,
            mfc="white",
            mew=0.9,
            zorder=3,
        )
        ax.annotate(
            str(one.tube),
            (one.concentration_mM, one.rate),
            xytext=(4, -7),
            textcoords="offset points",
            fontsize=6.5,
            color=colour,
        )
    why: dict[str, list[Any]] = {}
    for one in drawn.values():
        codes = "sheet" if one.by_sheet else ", ".join(c.partition("_")[2] for c in one.codes)
        codes = codes or "not determined"
        why.setdefault(codes + " (off the scale)" * int(one.rate > top), []).append(one.tube)
    said = [f"{tubes_in_words(tubes)} left out: {reason}" for reason, tubes in why.items()]
    if len(said) > _REASONS:
        said = [*said[: _REASONS - 1], f"and {len(said) - _REASONS + 1} more"]
    ring: dict[str, Any] = {
        "marker": "o",
        "linestyle": "",
        "color": INK,
        "mfc": "white",
        "markersize": 4.5,
    }
    return {Line2D([], [], **ring): text for text in said}


_LONGEST_NAME = 26  # letters, in a legend that leaves room for the lines


def _line_name(key: tuple[str, str], line: Relaxivity) -> str:
    name = " ".join(part for part in key if part)
    name = name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
    # Without its symbol an Estimate prints no unit: that is in the legend's title.
    return f"{name}  {str(line.r).removesuffix(' mM⁻¹ s⁻¹')}"


@rc_context(STYLE)
def contrast_bars(contrasts: Sequence[Contrast]) -> Figure:
    """SNR of target and reference before and after, a panel per contrast; SD over slices if any."""
    columns = min(len(contrasts), 3)
    rows = math.ceil(len(contrasts) / columns)
    figure = Picture(figsize=(2.4 * columns + 0.6, 2.3 * rows + 0.2), layout="constrained")
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for ax, contrast in zip(panels.flat, contrasts, strict=False):
        for shift, when, colour in ((-0.19, "pre", "#b8c4cf"), (0.19, "post", AGENT_COLOURS[0])):
            names = [f"SNR_{region}_{when}" for region in ("target", "reference")]
            bars = ax.bar(
                np.arange(2) + shift,
                [contrast.mean(n) for n in names],
                width=0.36,
                yerr=[contrast.sd(n) for n in names] if contrast.n_slices > 1 else None,
                color=colour,
                error_kw={"elinewidth": 0.8, "capsize": 2},
                label=when,
            )
            ax.bar_label(bars, fmt="{:.1f}", fontsize=7, padding=2)
        ax.set_xticks([0, 1], ["target", "reference"])
        ax.tick_params(labelsize=7.5, length=0)
        ax.set_title(contrast.name)
    for ax in panels.flat[len(contrasts) :]:
        ax.set_axis_off()
    for ax in panels[:, 0]:
        ax.set_ylabel("SNR")
        ax.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    figure.legend(*panels.flat[0].get_legend_handles_labels(), loc="outside right upper")
    return figure
