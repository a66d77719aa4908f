"""r1 against r2: what kind of agent it is, and where it lies among published ones."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.markers import TICKDOWN, TICKLEFT
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from .agents import T1_BELOW, T2_ABOVE, RelaxivityTable
from .canvas import FAINT, SMALL_PRINT, Look, Picture, agent_looks, short_name
from .labelling import Box, inside, meets, place_labels
from .literature import comparable
from .literature import literature as published
from .units import QUANTITIES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Bbox

Array = NDArray[np.float64]
Pair = list[tuple[float, float]]

_R1, _R2 = (f"{symbol}_{QUANTITIES[symbol].key}" for symbol in ("r1", "r2"))
_MARGIN = 1.45  # factor that the axes reach beyond what is drawn
_APART = (1.28, 1.6, 2.2)  # factors from a border at which the name of its class may stand
_LEGEND = 26  # letters in a line of the legend
_LEAST = 12.0  # factor that each axis spans at least
_LONGEST = 26  # letters of a published agent's name


def relaxivity_map(
    table: RelaxivityTable,
    literature: pd.DataFrame | None = None,
    field_T: float | None = None,
    ion: str | None = None,
    *,
    switches: pd.DataFrame | None = None,
    look: Look | None = None,
) -> Figure:
    """r2 against r1, both logarithmic, with the borders of the classes and published agents.

    The borders are r2/r1 = 5 and 8. Published agents at a comparable field are grey, with as many
    names as there is room for; one whose source gives r2/r1 and either of r1 and r2 has its place
    too. Arrows lead from before to after a stimulus.

    Parameters
    ----------
    table : RelaxivityTable
        With r1 and r2.
    literature : DataFrame, optional
        As of :func:`relaxometry.reference.literature`; default the shipped rows.
    field_T : float, optional
        Of the measurement, T; default that of the table where it is the same in all rows. Without
        one no published agent is drawn.
    ion : str, optional
        That the concentrations count; default any.
    switches : DataFrame, optional
        ``agent``, ``before``, ``after`` (conditions), as of the table, which is the default.
    look : Look, optional
        Its size; default two columns of a journal.
    """
    look = look or Look()
    field_T = _field(table) if field_T is None else field_T
    among = published() if literature is None else literature
    near = comparable(among, field_T, ion)
    switches = table.switches if switches is None else switches
    with rc_context(look.style):
        return _map(look, table, _with_both(near[0]), near, switches)


def _field(table: RelaxivityTable) -> float | None:
    stated = set(table["field_T"].dropna()) if "field_T" in table.columns else set()
    return float(stated.pop()) if len(stated) == 1 else None


def _with_both(literature: pd.DataFrame) -> pd.DataFrame:
    """Rows that have a place: with two of r1, r2 and r2/r1."""
    r1, r2, ratio = (literature[name] for name in (_R1, _R2, "r2_r1"))
    both = literature.assign(**{_R1: r1.fillna(r2 / ratio), _R2: r2.fillna(r1 * ratio)})
    return both[(both[_R1] > 0) & (both[_R2] > 0)]


def _map(
    look: Look,
    table: RelaxivityTable,
    among: pd.DataFrame,
    near: tuple[pd.DataFrame, str],
    switches: pd.DataFrame,
) -> Figure:
    """Draw it; `among` are the published agents that have a place, of those in `near`."""
    looks = agent_looks(list(table))
    mine = {
        key: (fits["r1"], fits["r2"])
        for key, fits in table.lines.items()
        if {"r1", "r2"} <= set(fits) and fits["r1"].r.value > 0 and fits["r2"].r.value > 0
    }
    figure, ax, beside = _sheet(look)
    x = [line.r.value for line, _ in mine.values()] + among[_R1].tolist()
    y = [line.r.value for _, line in mine.values()] + among[_R2].tolist()
    (x0, x1), (y0, y1) = _span(x), _span(y)
    ax.set_xlim(x0, x1)
    ax.set_ylim(y0, y1)
    ends = np.array([x0, x1])
    ax.fill_between(ends, T1_BELOW * ends, T2_ABOVE * ends, color=FAINT, alpha=0.16, lw=0)
    for border in (T1_BELOW, T2_ABOVE):
        ax.plot(ends, border * ends, color=FAINT, lw=0.6 * look.lines, ls="--", zorder=1)
    handles, arrows = _published(ax, among, near, look)
    for key, (r1, r2) in mine.items():
        colour, marker, _ = looks[key]
        handles[short_name(key)] = ax.errorbar(
            r1.r.value,
            r2.r.value,
            xerr=_reach(r1, x0),
            yerr=_reach(r2, y0),
            fmt=marker,
            color=colour,
            mec="white",
            mew=0.5 * look.lines,
            markersize=6 * look.lines,
            elinewidth=0.9 * look.lines,
            zorder=4,
        )
    for row in switches.to_dict("records"):
        ends_of = [mine.get((str(row["agent"]), str(row[when]))) for when in ("before", "after")]
        pair = [(end[0].r.value, end[1].r.value) for end in ends_of if end]
        if len(pair) == 2:
            _arrow(ax, pair, looks[str(row["agent"]), str(row["before"])][0], look, 1.0)
            arrows.append(pair)
    missing = len(set(table) - set(mine))
    if missing:
        handles[f"r1 or r2 not determined: {missing}"] = ax.plot([], [], " ")[0]
    legend = ax.legend(
        handles.values(),
        handles.keys(),
        loc="upper left",
        bbox_to_anchor=(0, 1),
        bbox_transform=beside.transAxes,
        borderaxespad=0.0,
    )
    legend.set_in_layout(False)
    _size(figure, look, sum(text.count("\n") + 1.0 for text in handles))
    _names(ax, figure, among, list(mine.values()), arrows, look)
    return figure


def _sheet(look: Look) -> tuple[Figure, Axes, Axes]:
    """A figure with its axes, and a place for the legend: beside them, below where it is narrow."""
    figure = Picture(figsize=(look.inches, look.inches), layout="constrained")
    words = (0.6 * _LEGEND + 4.5) * look.letters(0.92) / 72
    ratios = [look.inches - words, words]
    grid = (
        figure.add_gridspec(2, 1) if look.narrow else figure.add_gridspec(1, 2, width_ratios=ratios)
    )
    ax, beside = figure.add_subplot(grid[0]), figure.add_subplot(grid[1])
    beside.set_axis_off()
    ax.set_xscale("log")
    ax.set_yscale("log")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
    ax.set_xlabel(QUANTITIES["r1"].label)
    ax.set_ylabel(QUANTITIES["r2"].label)
    return figure, ax, beside


def _size(figure: Figure, look: Look, rows: float) -> None:
    """Make the figure as high as the rows of its legend need."""
    legend = (rows + 1.5) * look.line_inches
    tall = 0.86 * look.inches if look.narrow else max(0.6 * look.inches, legend)
    figure.set_size_inches(look.inches, tall + legend if look.narrow else tall)
    if look.narrow:
        figure.axes[0].get_gridspec().set_height_ratios([tall, legend])  # type: ignore[union-attr]


def _span(values: Sequence[float]) -> tuple[float, float]:
    """Limits of an axis around these values."""
    if not values:
        return 1.0, 100.0
    low, high = min(values) / _MARGIN, max(values) * _MARGIN
    widen = math.sqrt(max(1.0, _LEAST * low / high))
    return low / widen, high * widen


def _reach(line: Any, least: float) -> Any:
    """How far the 95 % interval reaches down and up; to the edge where it reaches 0 or below."""
    low, high = line.ci95
    if not (math.isfinite(low) and math.isfinite(high)):
        return None
    return [[line.r.value - max(low, least / 10)], [high - line.r.value]]


def _arrow(ax: Axes, places: Pair, colour: str, look: Look, alpha: float) -> None:
    ax.annotate(
        "",
        places[1],
        places[0],
        arrowprops={
            "arrowstyle": "-|>",
            "color": colour,
            "alpha": alpha,
            "lw": (1.1 if alpha == 1 else 0.6) * look.lines,
            "shrinkA": 3 * look.lines,
            "shrinkB": 3.5 * look.lines,
            "mutation_scale": 7 * look.lines,
        },
        zorder=3,
    )


def _published(
    ax: Axes, among: pd.DataFrame, near: tuple[pd.DataFrame, str], look: Look
) -> tuple[dict[str, Any], list[Pair]]:
    """Draw the published agents; what the legend says of them, and the arrows between them."""
    every, what = near[0], near[1].replace(" T", "\N{NO-BREAK SPACE}T")
    letters = 2 * _LEGEND - 6 if look.narrow else _LEGEND
    said: dict[str, Any] = {}
    grey: dict[str, Any] = {"color": FAINT, "linestyle": "", "zorder": 2}
    if every.empty:
        said[textwrap.fill(f"no published {what}", letters)] = ax.plot([], [], " ")[0]
    if not among.empty:
        points = ax.plot(
            among[_R1],
            among[_R2],
            "o",
            mfc="white",
            mew=0.8 * look.lines,
            markersize=3.6 * look.lines,
            **grey,
        )[0]
        said[textwrap.fill(f"published {what} ({len(among)})", letters)] = points
    rest = every.drop(among.index)
    for column, other, marker, side in ((_R2, _R1, TICKLEFT, "right"), (_R1, _R2, TICKDOWN, "top")):
        alone = rest.loc[rest[column].notna() & rest[other].isna(), column]
        low, high = ax.get_ylim() if column == _R2 else ax.get_xlim()
        alone = alone[(alone > low) & (alone < high)]
        if len(alone):
            edge = np.ones(len(alone))
            xy = (edge, alone) if column == _R2 else (alone, edge)
            move = ax.get_yaxis_transform() if column == _R2 else ax.get_xaxis_transform()
            ticks = ax.plot(*xy, marker=marker, markersize=5 * look.lines, transform=move, **grey)
            symbol = column.partition("_")[0]
            text = f"{side} edge: only {symbol} published ({len(alone)})"
            if among.empty:
                text = f"{side} edge: published {what}, {symbol} only ({len(alone)})"
            said[textwrap.fill(text, letters)] = ticks[0]
    arrows: list[Pair] = []
    for _, own in among.groupby(["agent", "source"], sort=False):
        for rows in pairwise(own.to_dict("records")):
            pair = [(float(row[_R1]), float(row[_R2])) for row in rows]
            if [str(row["condition"]).partition(" ")[0] for row in rows] == ["before", "after"]:
                _arrow(ax, pair, FAINT, look, 0.55)
                arrows.append(pair)
    return said, arrows


def _names(
    ax: Axes,
    figure: Figure,
    among: pd.DataFrame,
    mine: Sequence[tuple[Any, Any]],
    arrows: Sequence[Pair],
    look: Look,
) -> None:
    """Name the regions, then as many published agents as there is room for."""
    figure.draw_without_rendering()
    pixels = figure.dpi / 72
    taken = _obstacles(ax, among, mine, arrows, 3.5 * look.lines * pixels)
    frame = _box(ax.get_window_extent())
    spots = ax.transData.transform(among[[_R1, _R2]].to_numpy(dtype=float).reshape(-1, 2))
    half = 3 * look.lines * pixels
    taken += _regions(
        ax, look, frame, [*taken, *((x - half, y - half, x + half, y + half) for x, y in spots)]
    )
    once = among.drop_duplicates("agent", keep="last")
    labels = [
        ax.annotate(
            short_name((str(row["agent"]).partition(" (")[0], ""), _LONGEST),
            (row[_R1], row[_R2]),
            fontsize=look.letters(0.74),
            color=SMALL_PRINT,
            zorder=2.5,
        )
        for row in once.to_dict("records")
    ]
    points = ax.transData.transform(once[[_R1, _R2]].to_numpy(dtype=float).reshape(-1, 2))
    sizes = np.array([label.get_window_extent().size for label in labels]).reshape(-1, 2)
    gap = 3.6 * look.lines * pixels
    places = place_labels(points, sizes, frame, taken, gap)
    for label, point, width, place in zip(labels, points, sizes[:, 0], places, strict=True):
        if place is None:
            label.remove()
            continue
        label.set_in_layout(False)
        # Held at the end that is at its point: letters are not as wide at every resolution.
        left = place.x + width / 2 < point[0]
        x = place.x + width * left - point[0]
        label.set_position((x / pixels, (place.y - point[1]) / pixels))
        label.set_anncoords("offset points")
        label.set_horizontalalignment("right" if left else "left")
        label.set_verticalalignment("bottom")


def _obstacles(
    ax: Axes,
    among: pd.DataFrame,
    mine: Sequence[tuple[Any, Any]],
    arrows: Sequence[Pair],
    size: float,
) -> list[Box]:
    """What names must not lie on: the agents' error bars, arrows, and the other points."""
    spots = list(arrows)
    for r1, r2 in mine:
        x, y = r1.r.value, r2.r.value
        lows = [limits[0] / 10 for limits in (ax.get_xlim(), ax.get_ylim())]
        spots += [[(max(v, lows[0]), y) for v in r1.ci95 if math.isfinite(v)] or [(x, y)]]
        spots += [[(x, max(v, lows[1])) for v in r2.ci95 if math.isfinite(v)] or [(x, y)]]
    boxes: list[Box] = []
    for ends in spots:
        first, last = ax.transData.transform([ends[0], ends[-1]])
        steps = max(2, int(np.hypot(*(last - first)) / size))
        for x, y in np.linspace(first, last, min(steps, 400)):
            boxes.append((x - size / 2, y - size / 2, x + size / 2, y + size / 2))
    mid = [(r1.r.value, r2.r.value) for r1, r2 in mine]
    doubled = among[among.duplicated("agent", keep="last")]
    rest = [*mid, *doubled[[_R1, _R2]].itertuples(index=False, name=None)]
    for x, y in ax.transData.transform(np.reshape(rest, (-1, 2)).astype(float)):
        boxes.append((x - size, y - size, x + size, y + size))
    return boxes


def _box(box: Bbox) -> Box:
    return float(box.x0), float(box.y0), float(box.x1), float(box.y1)


def _along(length: float, height: float, middle: Array, direction: Array) -> list[Box]:
    """A turned text as small boxes along it: the one around all of it is mostly air."""
    half = height / 2
    places = np.linspace(-length / 2, length / 2, 2 + int(length / height))
    ends = middle + places[:, None] * direction
    return [(float(x - half), float(y - half), float(x + half), float(y + half)) for x, y in ends]


def _regions(ax: Axes, look: Look, frame: Box, taken: Sequence[Box]) -> list[Box]:
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
        own = _along(float(flat.width), float(flat.height), middle, along)
        if all(inside(box, frame) and not meets(box, taken) for box in own):
            return own
    text.remove()
    return []
