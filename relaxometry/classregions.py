"""The classes of agents on the map of r2 against r1: their borders, and their names along them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from .agents import T1_BELOW, T2_ABOVE
from .canvas import FAINT, SMALL_PRINT, Look
from .labelling import Box, along_line, inside, meets

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_APART = (1.28, 1.6, 2.2)  # factors from a border at which the name of its class may stand


def draw_borders(ax: Axes, look: Look) -> None:
    """Draw r2/r1 = 5 and 8 as dashed lines, with a shade for what is dual-mode."""
    ends = np.array(ax.get_xlim())
    ax.fill_between(ends, T1_BELOW * ends, T2_ABOVE * ends, color=FAINT, alpha=0.16, lw=0)
    for border in (T1_BELOW, T2_ABOVE):
        ax.plot(ends, border * ends, color=FAINT, lw=0.6 * look.lines, ls="--", zorder=1)


def name_classes(ax: Axes, look: Look, frame: Box, taken: Sequence[Box]) -> list[Box]:
    """Write each class along its diagonal where it is free; the room they take."""
    boxes: list[Box] = []
    for name, ratios in (
        (f"T1 agents, r2/r1 < {T1_BELOW:g}", [T1_BELOW / apart for apart in _APART]),
        (f"dual-mode, {T1_BELOW:g} to {T2_ABOVE:g}", [math.sqrt(T1_BELOW * T2_ABOVE)]),
        (f"T2 agents, r2/r1 > {T2_ABOVE:g}", [T2_ABOVE * apart for apart in _APART]),
    ):
        for words, ratio in product((name, name.partition(",")[0]), ratios):
            found = _written_along(ax, look, words, ratio, frame, [*taken, *boxes])
            boxes += found
            if found:
                break
    return boxes


def _written_along(
    ax: Axes, look: Look, words: str, ratio: float, frame: Box, taken: Sequence[Box]
) -> list[Box]:
    """Write words along a diagonal r2 = ratio·r1; the room they take, none if there is none."""
    (x0, x1), (y0, y1) = ax.get_xlim(), ax.get_ylim()
    start, end = max(x0, y0 / ratio), min(x1, y1 / ratio)
    if end <= start:
        return []
    ends = ax.transData.transform([(start, ratio * start), (end, ratio * end)])
    along = (ends[1] - ends[0]) / np.hypot(*(ends[1] - ends[0]))
    text = ax.text(
        x0,
        y0,
        words,
        rotation_mode="anchor",
        ha="center",
        va="center",
        fontsize=look.letters(0.82),
        color=SMALL_PRINT,
        zorder=1.5,
    )
    text.set_in_layout(False)
    flat = text.get_window_extent()
    text.set_rotation(math.degrees(math.atan2(along[1], along[0])))
    for share in (0.88, 0.12, *np.linspace(0.86, 0.14, 19)):
        x = start * (end / start) ** share
        text.set_position((x, ratio * x))
        middle = ax.transData.transform((x, ratio * x))
        own = along_line(float(flat.width), float(flat.height), middle, along)
        if all(inside(box, frame) and not meets(box, taken) for box in own):
            return own
    text.remove()
    return []
