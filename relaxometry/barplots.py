"""Bars: agents side by side with errors, replicates and significance."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .agents import RelaxivityTable
from .canvas import INK, SMALL_PRINT, Look, Picture, agent_looks, short_names
from .errors import InputError
from .quoted import Quoted, quoted
from .units import QUANTITIES, RELAXIVITY_OF

if TYPE_CHECKING:
    from matplotlib.axes import Axes


Key = tuple[str, str]
Errors = Literal["auto", "sd", "ci95", "stderr"]
Marks = Literal["auto", "stars", "letters", "none"]

_MOST_BRACKETS = 6  # more pairs than these are told by letters
_LEVEL = 0.05


def agent_bars(
    table: RelaxivityTable,
    symbol: str = "r2",
    *,
    errors: Errors = "auto",
    marks: Marks = "auto",
    pairs: Sequence[tuple[str | Key, str | Key]] | None = None,
    replicates: pd.DataFrame | None = None,
    comparisons: pd.DataFrame | None = None,
    letters: Mapping[str, Mapping[Key, str]] | None = None,
    look: Look | None = None,
) -> Figure:
    """Relaxivities of agents side by side, with errors, replicates as dots, and significance.

    Parameters
    ----------
    table : RelaxivityTable
    symbol : {"r1", "r2"}
    errors : {"auto", "sd", "ci95", "stderr"}
        ``sd``: the mean ± SD of the slopes of the replicates; an agent without two has its line ±
        standard error. ``ci95``, ``stderr``: the mean of the replicates with the mixed 95 %
        interval or standard error; without two, the line with its own. ``auto``: ``sd`` where an
        agent has two replicates or more, else ``ci95``. The axis says which.
    marks : {"auto", "stars", "letters", "none"}
        ``stars``: a bracket for each pair that differs at p < 0.05 (Holm): * < 0.05, ** < 0.01,
        *** < 0.001. ``letters``: bars without a letter in common differ. ``auto``: stars for up to
        six such pairs, else letters.
    pairs : sequence of pairs, optional
        Brackets for these pairs alone, whatever their p, each of two agents or (agent, condition).
    replicates, comparisons : DataFrame, optional
        As of the table, which are the default.
    letters : mapping, optional
        Of symbol to (agent, condition) to letters, as of the table, which is the default.
    look : Look, optional
        Its size; default two columns of a journal.

    Raises
    ------
    InputError
        For a symbol that the table does not have, unknown errors or marks, ``sd`` where nothing was
        replicated, or a pair that was not compared.
    """
    look = look or Look()
    known = [s for s in RELAXIVITY_OF.values() if any(s in fits for fits in table.lines.values())]
    if symbol not in known:
        raise InputError(f"{symbol!r}", field="symbol", expected=" or ".join(known))
    for name, value, choices in (("errors", errors, Errors), ("marks", marks, Marks)):
        if value not in get_args(choices):
            expected = ", ".join(get_args(choices))
            raise InputError(f"{value!r}"[:60], field=name, expected=expected)
    replicates = table.replicates if replicates is None else replicates
    keys = list(table)
    slopes = {key: _slopes(replicates, key, symbol) for key in keys}
    repeated = any(slopes.values())
    if errors == "auto":
        errors = "sd" if repeated else "ci95"
    if errors == "sd" and not repeated:
        raise InputError(
            "'sd'", field="errors", expected="ci95 or stderr: no agent has two replicates"
        )
    known_of = quoted(table)
    heights = [_height(known_of[key].get(symbol), errors, slopes[key]) for key in keys]
    brackets: list[tuple[int, int, str]] = []
    over: Mapping[Key, str] = {}
    if marks != "none" or pairs is not None:
        compared = table.comparisons if comparisons is None else comparisons
        if not compared.empty:  # of one agent it has not even columns
            compared = compared[compared["symbol"] == symbol]
        brackets = _brackets(compared, keys, pairs)
        asked = pairs is not None or marks == "stars"
        if not asked and (marks == "letters" or len(brackets) > _MOST_BRACKETS):
            over = (table.letters if letters is None else letters).get(symbol, {})
            brackets = []
    with rc_context(look.style):
        return _bars(look, keys, symbol, errors, heights, slopes, brackets, over)


def _slopes(replicates: pd.DataFrame, key: Key, symbol: str) -> list[float]:
    """Slopes of the single replicates of an agent, where it has more than one."""
    column = f"{symbol}_{QUANTITIES[symbol].key}"
    if column not in replicates:
        return []
    own = (replicates["agent"] == key[0]) & (replicates["condition"].fillna("") == key[1])
    found = [float(v) for v in replicates.loc[own, column] if math.isfinite(v)]
    return found if len(found) > 1 else []


def _height(
    one: Quoted | None, errors: Errors, slopes: Sequence[float]
) -> tuple[float, float, float]:
    """Height of a bar, and how far its error reaches down and up."""
    if errors == "sd" and slopes:
        sd = float(np.std(slopes, ddof=1))
        return float(np.mean(slopes)), sd, sd
    if one is None:
        return math.nan, math.nan, math.nan
    if errors in ("sd", "stderr"):
        return one.value, one.stderr, one.stderr
    # Unequal replicates may pull the mixed interval past their mean.
    return one.value, max(one.value - one.ci95[0], 0.0), max(one.ci95[1] - one.value, 0.0)


def _brackets(
    compared: pd.DataFrame, keys: Sequence[Key], pairs: Sequence[Any] | None
) -> list[tuple[int, int, str]]:
    """Pairs of bars and what is written over them: those asked for, or those that differ."""
    told = {}
    for row in compared.to_dict("records"):
        ends = [(str(row[f"agent_{x}"]), str(row[f"condition_{x}"] or "")) for x in "ab"]
        if all(end in keys for end in ends):
            i, j = sorted(keys.index(end) for end in ends)
            told[i, j] = str(row["stars"]).strip("ns. "), float(row["p_holm"])
    if pairs is None:
        return [(*ends, stars) for ends, (stars, p) in told.items() if p < _LEVEL and stars]
    asked = []
    for pair in pairs:
        i, j = sorted(_place(end, keys) for end in pair)
        if (i, j) not in told:
            raise InputError(f"{pair!r}"[:80], field="pairs", expected="a pair that was compared")
        asked.append((i, j, told[i, j][0] or "n.s."))
    return asked


def _place(end: str | Key, keys: Sequence[Key]) -> int:
    found = [i for i, key in enumerate(keys) if end in (key, key[0])]
    if len(found) != 1:
        known = ", ".join(" ".join(key).strip() for key in keys)
        raise InputError(f"{end!r}"[:80], field="pairs", expected=f"one of {known}"[:200])
    return found[0]


def _said(errors: Errors, slopes: Mapping[Key, Sequence[float]]) -> list[str]:
    """What the bars and their errors are."""
    counts = sorted({len(own) for own in slopes.values() if own})
    of_line = {"sd": "± standard error", "ci95": "95 % interval", "stderr": "± standard error"}
    if not counts:
        return [of_line[errors]]
    n = "–".join(str(n) for n in (counts[0], counts[-1])[: len(counts)])
    of_mean = {
        "sd": "mean ± SD of replicates",
        "ci95": "mean of replicates, mixed 95 % interval",
        "stderr": "mean of replicates ± mixed standard error",
    }
    single = [f"one replicate: line, {of_line[errors]}"] * (not all(slopes.values()))
    return [f"{of_mean[errors]}, n = {n}", *single]


def _bars(
    look: Look,
    keys: Sequence[Key],
    symbol: str,
    errors: Errors,
    heights: Sequence[tuple[float, float, float]],
    slopes: Mapping[Key, Sequence[float]],
    brackets: Sequence[tuple[int, int, str]],
    letters: Mapping[Key, str],
) -> Figure:
    """Draw them; nothing is decided here."""
    names = list(short_names(keys).values())
    # A few bars across two columns would be as broad as tables.
    fair = (len(keys) + 1) * 3.6 * look.points / 72 / look.inches
    share = 1.0 if look.narrow else min(1.0, max(0.5, fair))
    wide = share * look.inches
    room = 72 * 0.8 * wide / len(keys) / (0.6 * look.letters(0.92))
    turned = max(map(len, names)) > room
    tops, levels = _tops(heights, [slopes[key] for key in keys]), []
    top = max((t for t in tops if math.isfinite(t)), default=1.0) or 1.0
    step = 0.085 * top
    reach = [t if math.isfinite(t) else 0.0 for t in tops]
    for i, j, text in sorted(brackets, key=lambda one: (one[1] - one[0], one[0])):
        level = max(reach[i : j + 1]) + 0.55 * step
        levels.append((i, j, level, text))
        reach[i : j + 1] = [level + 0.6 * step] * (j + 1 - i)
    high = min(0.62 * wide, 26 * look.points / 72) + 0.3
    high += 1.6 * look.points / 72 * len({round(level, 9) for *_, level, _ in levels})
    high += 0.5 * max(map(len, names)) * look.letters(0.92) / 72 * turned
    figure = Picture(figsize=(wide, high), layout="constrained")
    ax = figure.subplots()
    looks = agent_looks(keys)
    for i, key in enumerate(keys):
        _bar(ax, i, look, looks[key], heights[i], slopes[key])
        if letters.get(key) and math.isfinite(tops[i]):
            ax.annotate(
                letters[key],
                (i, tops[i]),
                (0, 0.42 * look.points),
                textcoords="offset points",
                ha="center",
            )
    for i, j, level, text in levels:
        down = level - 0.22 * step
        ax.plot([i, i, j, j], [down, level, level, down], color=INK, lw=0.7 * look.lines)
        # Asterisks hang high in their line: half of it is air.
        drop = -0.02 * look.points if set(text) <= {"*"} else 0.2 * look.points
        ax.annotate(text, ((i + j) / 2, level), (0, drop), textcoords="offset points", ha="center")
    ax.axhline(0, color=INK, linewidth=0.6 * look.lines, clip_on=False)
    beside = max(0.6, 0.35 * (5 - len(keys)))
    ax.set_xlim(-beside, len(keys) - 1 + beside)
    ax.set_xticks(range(len(keys)), names)
    ax.tick_params(axis="x", length=0)
    if turned:
        ax.tick_params(axis="x", rotation=40, pad=1)
        for label in ax.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    highest = max([*reach, top])
    lowest = min([0.0, *(h - d for h, d, _ in heights if math.isfinite(h - d))])
    ax.set_ylim(1.08 * lowest, highest + (0.09 if letters else 0.05) * top)
    ax.spines["bottom"].set_visible(False)
    ax.yaxis.set_major_locator(MaxNLocator(6))
    across = int(0.85 * 72 * high / (0.55 * look.points))
    said = [textwrap.fill(text, across) for text in _said(errors, slopes)]
    ax.set_ylabel("\n".join([QUANTITIES[symbol].label, *said]))
    return figure


def _tops(
    heights: Sequence[tuple[float, float, float]], slopes: Sequence[Sequence[float]]
) -> list[float]:
    """The highest that is drawn of each bar."""
    tops = []
    for (height, _, up), dots in zip(heights, slopes, strict=True):
        known = [v for v in (height, height + up, *dots) if math.isfinite(v)]
        tops.append(max([*known, 0.0]) if known else math.nan)
    return tops


def _bar(
    ax: Axes,
    i: int,
    look: Look,
    drawn: tuple[str, str, Any],
    height: tuple[float, float, float],
    slopes: Sequence[float],
) -> None:
    colour, marker, _ = drawn
    value, down, up = height
    if not math.isfinite(value):
        ax.annotate(
            "not\ndetermined",
            (i, 0),
            (0, 3),
            textcoords="offset points",
            ha="center",
            fontsize=look.letters(0.8),
            color=SMALL_PRINT,
        )
        return
    # Conditions of one agent have its colour, and the hatch tells them apart without colour too.
    hatch = {"o": "", "s": "////", "D": "....", "^": "xxxx", "v": "\\\\\\\\"}[marker]
    ax.bar(i, value, width=0.66, color=colour, alpha=0.35, linewidth=0)
    ax.bar(i, value, width=0.66, fill=False, edgecolor=colour, hatch=hatch, lw=0.9 * look.lines)
    if math.isfinite(down) and math.isfinite(up):
        ax.errorbar(
            i,
            value,
            yerr=[[down], [up]],
            color=INK,
            elinewidth=0.9 * look.lines,
            capsize=2.5 * look.lines,
            capthick=0.9 * look.lines,
            zorder=3,
        )
    # To the right of the error bar, which they would hide.
    ax.plot(
        i + np.linspace(0.13, 0.27, len(slopes)),
        slopes,
        "o",
        color=colour,
        mec="white",
        mew=0.4 * look.lines,
        markersize=3.2 * look.lines,
        zorder=4,
    )
