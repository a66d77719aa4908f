"""What every figure shares: its style and colours, and the same bytes every time it is written.

Colours tell agents apart for colour-blind readers too (Okabe & Ito, 2008).
"""

from __future__ import annotations

import io
from typing import Any, Literal

from matplotlib import rc_context
from matplotlib.figure import Figure

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.fontsize": 7.5,
    "legend.title_fontsize": 7.5,
    "legend.frameon": False,
    "savefig.dpi": 300,
    # A name in a sheet may hold a $: it is a name, not a formula.
    "text.parse_math": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "relaxometry",
}
INK, FAINT, ALARM = "#222222", "#8a8a8a", "#D55E00"
AGENT_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
WIDTH = 7.2  # inches, of a figure across the page


def as_svg(figure: Figure) -> bytes:
    """The figure as SVG, without a date."""
    return _written(figure, "svg", {"Date": None, "Creator": None})


def as_png(figure: Figure) -> bytes:
    """The figure as PNG, 300 dots per inch."""
    return _written(figure, "png", {"Software": None})


@rc_context(STYLE)
def _written(figure: Figure, kind: Literal["svg", "png"], metadata: dict[str, None]) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format=kind, metadata=metadata)
    return stream.getvalue()


@rc_context(STYLE)
class Picture(Figure):
    """A figure that Jupyter shows by itself, without pyplot or an inline backend."""

    def _repr_png_(self) -> bytes:
        return as_png(self)
