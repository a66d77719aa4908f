"""The chart of `speed.py`: voxels per second, our engines against their rivals, on a log scale."""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import NullLocator
from tables import rate

# Okabe & Ito's colours, apart in lightness too; rivals are grey, so that no legend is needed.
_COLOURS = {"relaxometry, NumPy": "#0072B2", "relaxometry, compiled": "#D55E00"}
_RIVAL, _OTHER, _INK = "#5F5F5F", "#A6A6A6", "#1A1A1A"
_TITLES = {
    "t2": "T2, 16 echoes",
    "t2_offset": "T2 and offset, 16 echoes",
    "t1_ir": "T1, inversion recovery, magnitude, 10 TI",
    "t1_sr": "T1, variable TR, 8 TR",
    "t1_sr_offset": "T1, variable TR and offset, 8 TR",
    "t1_vfa": "T1, variable flip angle, 6 angles",
}


def _colour(record: dict) -> str:
    if record["kind"] == "approximation":
        return _OTHER
    return _COLOURS.get(record["contestant"], _RIVAL)


def draw(results: dict, folder: Path) -> None:
    """Write speed.png and speed.svg; only models that the package fits here are shown."""
    fitted = {r["model"] for r in results["speed"] if r["kind"] == "ours"}
    models = [m for m in _TITLES if m in fitted]
    groups = [[r for r in results["speed"] if r["model"] == m] for m in models]
    style = {
        "font.family": "DejaVu Sans",
        "font.size": 10,
        "text.color": _INK,
        "axes.labelcolor": _INK,
        "xtick.color": _INK,
        "ytick.color": _INK,
        "svg.hashsalt": "speed",
    }
    with mpl.rc_context(style):
        columns = 2 if len(groups) > 1 else 1
        lines = -(-len(groups) // columns)
        tallest = [
            max(len(g) for g in groups[i * columns : (i + 1) * columns]) for i in range(lines)
        ]
        figure, grid = plt.subplots(
            lines,
            columns,
            figsize=(5.6 * columns, 0.34 * sum(tallest) + 0.75 * lines + 0.6),
            height_ratios=tallest,
            squeeze=False,
            layout="constrained",
        )
        rates = [r["mvoxel_per_s"] for g in groups for r in g]
        low = 10 ** math.floor(math.log10(min(rates)))
        limit = results["read_once"]["mvoxel_per_s"]
        for axes, group in zip(grid.flat, groups, strict=False):
            _panel(axes, group, low)
            axes.axvline(limit, color=_INK, lw=1, ls=(0, (4, 3)))
            axes.set_xlim(low, limit * 2.5)
            axes.set_ylim(len(group) - 0.4, -0.6)
        for axes in list(grid.flat)[len(groups) :]:
            axes.set_axis_off()
        figure.supxlabel(
            "million voxels per second; dashed: reading the data once      "
            "* straightened equation, another minimum",
            fontsize=9.5,
        )
        for suffix in ("png", "svg"):
            metadata = {"Date": None} if suffix == "svg" else {}
            figure.savefig(
                folder / f"speed.{suffix}", dpi=150, facecolor="white", metadata=metadata
            )
        plt.close(figure)


def _panel(axes, group: list, low: float) -> None:
    for i, r in enumerate(group):
        ours = r["kind"] == "ours"
        colour = _colour(r)
        axes.plot([low, r["mvoxel_per_s"]], [i, i], color=colour, lw=5 if ours else 3, alpha=0.9)
        axes.plot(r["mvoxel_per_s"], i, "o", color=colour, ms=8 if ours else 6)
        axes.annotate(
            f"{rate(r['mvoxel_per_s'])}",
            (r["mvoxel_per_s"], i),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            fontweight="bold" if ours else "normal",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_yticks(range(len(group)), [_label(r) for r in group])
    for label, r in zip(axes.get_yticklabels(), group, strict=True):
        if r["kind"] == "ours":
            label.set_fontweight("bold")
            label.set_color(_colour(r))
    axes.set_title(_TITLES[group[0]["model"]], loc="left", fontsize=10.5, fontweight="bold")
    axes.grid(axis="x", color="#E2E2E2", lw=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _label(record: dict) -> str:
    return record["contestant"] + ("*" if record["kind"] == "approximation" else "")
