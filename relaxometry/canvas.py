"""What every figure shares: its style and colours, and the same bytes every time it is written.

Colours tell agents apart for colour-blind readers too (Okabe & Ito, 2008).
"""

from __future__ import annotations

import io
import math
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from .errors import InputError

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
    "pdf.fonttype": 42,  # letters that journals and drawing programs can edit
    "svg.hashsalt": "relaxometry",
}
INK, FAINT, ALARM = "#222222", "#8a8a8a", "#D55E00"
SMALL_PRINT = "#5a5a5a"
AGENT_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
WIDTH = 7.2  # inches, of a figure across the page
MARKERS, DASHES = "osD^v", ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)))
#: Widths of a figure by name, in mm, and the size of its letters in points.
WIDTHS = {"single": (85.0, 7.0), "double": (174.0, 8.0), "presentation": (254.0, 16.0)}
KINDS = ("svg", "pdf", "png")
_CANVASES = {"svg": FigureCanvasSVG, "pdf": FigureCanvasPdf, "png": FigureCanvasAgg}
_NARROWEST, _WIDEST = 40.0, 1000.0  # mm
_SMALLEST, _LARGEST = 4.0, 40.0  # points
_ROOM = 6.0  # mm of width that each point of the letters takes
_MM = 25.4


@dataclass(frozen=True, slots=True)
class Look:
    """How large a figure is printed.

    Attributes
    ----------
    width : {"single", "double", "presentation"} or float
        One or two columns of a journal (85 and 174 mm), a slide (254 mm), or a width in mm.
    font_size : float, optional
        Of its letters, in points as printed: 7, 8 and 16 by default; at any other width 7 below
        120 mm, else 8 (smaller below 42 mm). Numbers at the axes and legends are a little smaller.

    Raises
    ------
    InputError
        For an unknown width, one that is not 40 to 1000 mm, or letters not of 4 to 40 points, or
        of more than a sixth of the width in mm.
    """

    width: str | float = "double"
    font_size: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.width, str) and self.width not in WIDTHS:
            try:
                object.__setattr__(self, "width", float(self.width))  # as a command line says it
            except ValueError:
                raise InputError(
                    f"{self.width!r}"[:60],
                    field="width",
                    expected=", ".join(WIDTHS) + ", or a number of mm",
                ) from None
        if not isinstance(self.width, str):
            _between(self.width, "width", _NARROWEST, _WIDEST, "mm")
        if self.font_size is not None:
            _between(self.font_size, "font_size", _SMALLEST, _LARGEST, "points")
            if self.font_size > self.mm / _ROOM:
                raise InputError(
                    f"{self.font_size:g} points at {self.mm:g} mm",
                    field="font_size",
                    expected=f"at most {math.floor(10 * self.mm / _ROOM) / 10:g} points",
                    hint=f"each point takes {_ROOM:g} mm of width",
                )

    @property
    def mm(self) -> float:
        """Width in mm."""
        return WIDTHS[self.width][0] if isinstance(self.width, str) else float(self.width)

    @property
    def inches(self) -> float:
        """Width in inches."""
        return self.mm / _MM

    @property
    def points(self) -> float:
        """Size of its letters."""
        if self.font_size is not None:
            return float(self.font_size)
        if isinstance(self.width, str):
            return WIDTHS[self.width][1]
        return min(7.0, self.mm / _ROOM) if self.mm < 120 else 8.0

    @property
    def narrow(self) -> bool:
        """Whether panels have no room beside each other."""
        return self.mm < 15 * self.points

    def letters(self, share: float = 1.0) -> float:
        """Size of letters that are smaller or larger by a factor, in points."""
        return round(self.points * share, 2)

    @property
    def lines(self) -> float:
        """Factor of the thickness of lines and markers."""
        return self.points / 8.0

    @property
    def line_inches(self) -> float:
        """Height of a line of a legend, in inches."""
        return 1.7 * self.letters(0.92) / 72

    @property
    def style(self) -> dict[Any, Any]:
        """Matplotlib's settings for it."""
        small, thick = self.letters(0.92), self.lines
        axes = {f"axes.{name}size": self.points for name in ("title", "label")}
        ticks = {f"{xy}tick.labelsize": small for xy in "xy"}
        ticks |= {f"{xy}tick.major.{what}": value * thick for xy in "xy"
                  for what, value in (("size", 3.0), ("width", 0.6), ("pad", 2.5))}  # fmt: skip
        ticks |= {f"{xy}tick.minor.{what}": value * thick for xy in "xy"
                  for what, value in (("size", 1.8), ("width", 0.5))}  # fmt: skip
        legend = {"legend.fontsize": small, "legend.title_fontsize": small}
        return {
            **STYLE,
            **axes,
            **ticks,
            **legend,
            "font.size": self.points,
            "axes.linewidth": 0.6 * thick,
            "hatch.linewidth": 0.5 * thick,
            "lines.linewidth": 1.1 * thick,
            "lines.markersize": 4.0 * thick,
        }


def _between(value: Any, field: str, low: float, high: float, unit: str) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not low <= value <= high:
        raise InputError(f"{value!r}"[:60], field=field, expected=f"{low:g} to {high:g} {unit}")


def agent_looks(
    keys: Sequence[tuple[str, str]],
) -> dict[tuple[str, str], tuple[str, str, Any]]:
    """Colour, marker and dashes of each (agent, condition).

    The colour is the agent's; marker and dashes tell its conditions apart.
    """
    agents = list(dict.fromkeys(agent for agent, _ in keys))
    looks = {}
    for agent, condition in keys:
        i = agents.index(agent)
        conditions = [c for a, c in keys if a == agent]
        more, variant = divmod(i // len(AGENT_COLOURS) + conditions.index(condition), len(MARKERS))
        # An agent in more conditions than there are markers needs another colour after all.
        colour = AGENT_COLOURS[(i + more) % len(AGENT_COLOURS)]
        looks[agent, condition] = colour, MARKERS[variant], DASHES[variant]
    return looks


def short_names(keys: Sequence[tuple[str, str]], longest: int = 26) -> dict[tuple[str, str], str]:
    """Agent and condition as a label, one for each key and no two alike.

    A name that is too long is cut in its middle, for what tells batches apart is often at the end.
    Labels that are alike even so are numbered.
    """
    names = {key: short_name(key, longest) for key in keys}
    alike = Counter(names.values())
    numbers: Counter[str] = Counter()
    for key, name in names.items():
        if alike[name] > 1:
            numbers[name] += 1
            end = f" #{numbers[name]}"
            names[key] = short_name(key, max(longest - len(end), 3)) + end
    return names


def short_name(key: tuple[str, str], longest: int = 26) -> str:
    """Agent and condition, cut in the middle to so many letters; its end is kept."""
    name = " ".join(part for part in key if part)
    if len(name) <= longest:
        return name
    tail = longest // 2
    return f"{name[: longest - tail - 1].rstrip()}…{name[-tail:].lstrip()}"


@contextmanager
def any_letters() -> Iterator[None]:
    """No warning for each letter that the font lacks: in its place there is a box, seen by all."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .*missing from", UserWarning)
        yield


def as_svg(figure: Figure) -> bytes:
    """The figure as SVG, without a date."""
    return _written(figure, "svg", {"Date": None, "Creator": None})


def as_pdf(figure: Figure) -> bytes:
    """The figure as PDF with its letters embedded, without a date."""
    return _written(figure, "pdf", {"CreationDate": None, "Creator": None, "Producer": None})


def as_png(figure: Figure, dpi: float = 300.0) -> bytes:
    """The figure as PNG, 300 dots per inch."""
    return _written(figure, "png", {"Software": None}, dpi)


def save(figure: Figure, path: str | Path, dpi: float = 300.0) -> Path:
    """Write a figure as its name ends: ``.svg``, ``.pdf`` (both of lines) or ``.png``.

    The same figure gives the same bytes: no dates inside.

    Parameters
    ----------
    figure : Figure
    path : str or Path
    dpi : float
        Dots per inch of a PNG; journals ask for 300 to 600.

    Returns
    -------
    Path

    Raises
    ------
    InputError
        For another ending, or a place that cannot be written to.
    """
    path = Path(path)
    kind = path.suffix.lower().lstrip(".")
    if kind not in KINDS:
        raise InputError(f"{path.name}", expected="a name ending in .svg, .pdf or .png")
    _between(dpi, "dpi", 50, 1200, "dots per inch")
    content = as_png(figure, dpi) if kind == "png" else {"svg": as_svg, "pdf": as_pdf}[kind](figure)
    try:
        path.write_bytes(content)
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror})", path=path) from error
    return path


@any_letters()
@rc_context(STYLE)
def _written(
    figure: Figure,
    kind: Literal["svg", "pdf", "png"],
    metadata: dict[str, None],
    dpi: float = 300.0,
) -> bytes:
    """What `savefig` does, which would draw a figure with a layout twice."""
    stream = io.BytesIO()
    canvas, dots = figure.canvas, figure.dpi
    try:
        printing = _CANVASES[kind](figure)  # becomes the figure's canvas
        figure.dpi = dpi
        getattr(printing, f"print_{kind}")(stream, metadata=metadata)
    finally:
        figure.dpi = dots
        figure.set_canvas(canvas)
    return stream.getvalue()


@rc_context(STYLE)
class Picture(Figure):
    """A figure that Jupyter shows by itself, without pyplot or an inline backend."""

    def _repr_png_(self) -> bytes:
        return as_png(self)
