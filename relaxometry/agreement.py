"""Bland–Altman plots: how far measured times are from their reference values, over all tubes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from .bias import ReferenceComparison
from .canvas import AGENT_COLOURS, FAINT, INK, STYLE, WIDTH, Picture
from .units import QUANTITIES

_COLOUR = AGENT_COLOURS[0]


@rc_context(STYLE)
def bland_altman(comparison: ReferenceComparison) -> Figure:
    """Differences in percent of the mean of both against that mean, a panel per quantity.

    The mean difference is a line, the 95 % limits of agreement are dashed, their 95 % confidence
    intervals shaded; tubes left out are hollow.

    Parameters
    ----------
    comparison : ReferenceComparison
    """
    rows = comparison.summary.to_dict("records")
    figure = Picture(figsize=(WIDTH / 2 * max(len(rows), 1) + 0.3, 3.1), layout="constrained")
    panels = figure.subplots(1, len(rows), squeeze=False)
    for ax, summary in zip(panels.flat, rows, strict=True):
        _panel(ax, comparison.table, summary)
    panels[0, 0].set_ylabel("(measured − reference) / mean of both (%)")
    return figure


def _panel(ax: Axes, table: pd.DataFrame, summary: dict[Any, Any]) -> None:
    quantity = QUANTITIES[str(summary["quantity"])]
    own = table[(table["quantity"] == quantity.symbol) & table["difference_percent"].notna()]
    middle = quantity.people_factor * (own["measured_s"] + own["reference_s"]) / 2
    ax.axhline(0, color=FAINT, linewidth=0.6)
    for name, dashes in (("mean", "-"), ("lower", "--"), ("upper", "--")):
        value = float(summary[f"{name}_percent"])
        if not math.isfinite(value):
            continue
        ends = [float(summary[f"{name}_ci95_{end}_percent"]) for end in ("low", "high")]
        ax.axhspan(*ends, color=_COLOUR, alpha=0.12, linewidth=0)
        ax.axhline(value, color=_COLOUR, linewidth=1.0, linestyle=dashes)
        ax.annotate(
            f"{value:+.1f} %".replace("-", "−"),
            (1.01, value),
            xycoords=("axes fraction", "data"),
            color=_COLOUR,
            fontsize=7,
            va="center",
        )
    for x, (_, row) in zip(middle, own.iterrows(), strict=True):
        y, inside = float(row["difference_percent"]), bool(row["included"])
        ax.plot(x, y, "o", color=INK, markersize=4, mfc=INK if inside else "white", mew=0.8)
        ax.annotate(
            str(row["tube"]), (x, y), (0, 4), textcoords="offset points", fontsize=6.5, ha="center"
        )
    ax.set_xscale("log")
    if len(middle):
        low, high = float(middle.min()), float(middle.max())
        ax.set_xlim(low / 1.35, high * 1.35)
        _ticks(ax, low, high)
    ax.set_xlabel(f"mean of measured and reference {quantity.label}")
    ax.set_title(quantity.symbol, loc="left", fontweight="bold")
    ax.tick_params(labelsize=7.5, length=3, width=0.6)
    ax.margins(y=0.12)


def _ticks(ax: Axes, low: float, high: float) -> None:
    """Round numbers at 1, 2 and 5, which a log axis over a decade or two has room for."""
    decades = 10.0 ** np.arange(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 3) if high > 50 * low else (1, 2, 5)
    ticks = [d * m for d in decades for m in steps if low / 1.35 <= d * m <= high * 1.35]
    ax.set_xticks(ticks)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
