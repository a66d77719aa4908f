"""Bars of SNR, CNR and their kin before and after: animals with dots, SDs and stars."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .canvas import AGENT_COLOURS, INK, SMALL_PRINT, STYLE, Picture, short_name
from .cohort import WORDS, over_animals
from .contrast import Contrast
from .units import elapsed_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BEFORE, _AFTER = "#b8c4cf", AGENT_COLOURS[0]
_PANELS = ("SNR_target", "SNR_reference", "CNR_relative", "CNR_usual", "TM")
_HEIGHT, _LONGEST = 2.3, 12


@rc_context(STYLE)
def contrast_bars(contrasts: Sequence[Contrast], animals: pd.DataFrame | None = None) -> Figure:
    """SNR, CNR and their kin before and after, a panel per quantity.

    Of animals: mean ± SD over them, a dot for each, and stars where before and after differ (paired
    test, Holm over the times). A measurement without an animal's name has bars of its own, ± SD
    over its slices where there are several, else ± its standard error, and no stars.

    Parameters
    ----------
    contrasts : sequence of Contrast
    animals : DataFrame, optional
        As of :func:`relaxometry.over_animals`, which is the default.
    """
    animals = over_animals(contrasts) if animals is None else animals
    alone = [one for one in contrasts if not one.animal]
    names = [n for n in _PANELS if any(f"{n}_pre" in one.estimates for one in contrasts)]
    bars = {name: _bars(name, animals, contrasts, alone) for name in names}
    most = max(len(one) for one in bars.values())
    width = min(7.2, len(names) * (0.62 + 0.36 * most))
    figure = Picture(figsize=(max(width, 3.4), _HEIGHT), layout="constrained")
    for ax, name in zip(np.atleast_1d(figure.subplots(1, len(names))), names, strict=True):
        _panel(ax, WORDS[name], bars[name])
    figure.supxlabel(_legend(animals, alone), fontsize=6.5, color=SMALL_PRINT)
    return figure


def _bars(
    name: str, animals: pd.DataFrame, contrasts: Sequence[Contrast], alone: Sequence[Contrast]
) -> list[dict[str, Any]]:
    """Each bar: its label, height, error, dots, colour and stars, in the order they are drawn."""
    found: list[dict[str, Any]] = []
    rows = [] if animals.empty else animals[animals["quantity"] == name].to_dict("records")
    for group in dict.fromkeys(row["group"] for row in rows):
        own = [row for row in rows if row["group"] == group]
        several = len({row["group"] for row in rows}) > 1 or bool(alone)
        title = short_name((group, ""), _LONGEST) if several and group else ""
        members = [one for one in contrasts if one.animal and one.group == group]
        first = {a: o for o in reversed(members) for a in [o.animal]}  # of each animal's times
        before = [o.mean(f"{name}_pre") for o in first.values() if f"{name}_pre" in o.estimates]
        found.append(
            {
                "label": "before",
                "group": title,
                "height": float(np.mean(before)),
                "error": float(np.std(before, ddof=1)) if len(before) > 1 else math.nan,
                "dots": before,
                "colour": _BEFORE,
                "stars": "",
            }
        )
        for row in own:
            at = row["time_s"]
            then = [o for o in members if _same(o.time_s, at) and f"{name}_post" in o.estimates]
            dots = [
                np.mean([o.mean(f"{name}_post") for o in then if o.animal == animal])
                for animal in dict.fromkeys(o.animal for o in then)
            ]
            found.append(
                {
                    "label": "after" if _missing(at) else elapsed_text(at),
                    "height": row["post_mean"],
                    "error": row["post_sd"],
                    "dots": dots,
                    "colour": _AFTER,
                    "stars": row["stars"],
                }
            )
    for one in alone:
        if f"{name}_pre" not in one.estimates:
            continue
        title = short_name((one.name, ""), _LONGEST) if len(contrasts) > 1 else ""
        for when, colour in (("pre", _BEFORE), ("post", _AFTER)):
            key = f"{name}_{when}"
            word = {"pre": "before", "post": "after"}[when]
            if when == "post" and one.time_s is not None:
                word = elapsed_text(one.time_s)
            found.append(
                {
                    "label": word,
                    "group": title if when == "pre" else "",
                    "height": one.mean(key),
                    "error": one.sd(key) if one.n_slices > 1 else one.stderr(key),
                    "dots": [],
                    "colour": colour,
                    "stars": "",
                }
            )
    return found


def _missing(time: float | None) -> bool:
    return time is None or math.isnan(time)


def _same(a: float | None, b: float | None) -> bool:
    return (_missing(a) and _missing(b)) or a == b


def _panel(ax: Axes, title: str, bars: Sequence[Mapping[str, Any]]) -> None:
    large = 9 if len(bars) < 5 else 7  # stars of neighbours must not run together
    for i, bar in enumerate(bars):
        ax.bar(i, bar["height"], width=0.72, color=bar["colour"])
        top = bar["height"]
        if math.isfinite(bar["error"]):
            ax.errorbar(i, bar["height"], bar["error"], color=INK, elinewidth=0.8, capsize=2)
            top += bar["error"]
        if bar["dots"]:
            at = i + np.linspace(-0.2, 0.2, len(bar["dots"])) if len(bar["dots"]) > 1 else [i]
            ax.plot(at, bar["dots"], "o", color=INK, mec="white", mew=0.4, markersize=2.8, zorder=4)
            top = max(top, *bar["dots"])
        if bar["stars"]:
            small = bar["stars"] == "ns"
            ax.annotate(
                bar["stars"],
                (i, top),
                (0, 2),
                textcoords="offset points",
                ha="center",
                fontsize=6.5 if small else large,
            )
    # The name of a group stands over its first bar, level with the top of the panel.
    for i, bar in enumerate(bars):
        if bar.get("group"):
            ax.annotate(
                bar["group"],
                (i - 0.36, 1.0),
                xycoords=("data", "axes fraction"),
                va="top",
                fontsize=6,
                color=SMALL_PRINT,
            )
    ax.set_title(title, loc="left")
    tilted = max(len(line) for bar in bars for line in bar["label"].split("\n")) > 5
    ax.set_xticks(range(len(bars)), [bar["label"] for bar in bars])
    ax.tick_params(axis="x", labelsize=6.5, length=0, labelrotation=45 if tilted else 0)
    if tilted:
        for label in ax.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    ax.tick_params(axis="y", labelsize=7)
    ax.yaxis.set_major_locator(MaxNLocator(5))
    ax.margins(y=0.24 if any(bar.get("group") for bar in bars) else 0.14)
    ax.set_ylim(bottom=0)


def _legend(animals: pd.DataFrame, alone: Sequence[Contrast]) -> str:
    told = []
    if not animals.empty:
        n = sorted(set(animals["n_animals"]))
        span = f"{n[0]}" if len(n) == 1 else f"{n[0]} to {n[-1]}"
        one = "; one animal: no SD, no test" if n[0] == 1 else ""
        told.append(f"mean ± SD over animals (n = {span}), a dot for each{one}")
        if (animals["stars"] != "").any():
            told.append("against before, Holm: * p < 0.05, ** < 0.01, *** < 0.001")
    if alone:
        slices = any(one.n_slices > 1 for one in alone)
        told.append("± SD over slices of one subject" if slices else "± standard error")
    return "; ".join(told)
