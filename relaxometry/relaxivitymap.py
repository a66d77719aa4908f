"""r1 against r2: what kind of agent it is, and where it lies among published ones."""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.markers import TICKDOWN, TICKLEFT
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from .agents import RelaxivityTable
from .canvas import (
    FAINT,
    SMALL_PRINT,
    Look,
    Picture,
    agent_looks,
    any_letters,
    short_name,
    short_names,
)
from .classregions import draw_borders, name_classes
from .labelling import Box, place_labels
from .literature import comparable
from .literature import literature as published
from .quoted import Quoted, quoted
from .units import QUANTITIES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.legend import Legend
    from matplotlib.transforms import Bbox

Array = NDArray[np.float64]
Pair = list[tuple[float, float]]

_R1, _R2 = (f"{symbol}_{QUANTITIES[symbol].key}" for symbol in ("r1", "r2"))
_MARGIN = 1.45  # factor that the axes reach beyond what is drawn
_LEGEND = 26  # letters in a line of the legend
_LEAST = 12.0  # factor that each axis spans at least
_LONGEST = 26  # letters of a published agent's name


@any_letters()
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
    known = quoted(table)
    mine = {
        key: (of["r1"], of["r2"])
        for key, of in known.items()
        if {"r1", "r2"} <= set(of) and of["r1"].value > 0 and of["r2"].value > 0
    }
    figure, ax, beside = _sheet(look)
    x = [r1.value for r1, _ in mine.values()] + among[_R1].tolist()
    y = [r2.value for _, r2 in mine.values()] + among[_R2].tolist()
    (x0, x1), (y0, y1) = _span(x), _span(y)
    ax.set_xlim(x0, x1)
    ax.set_ylim(y0, y1)
    _ticks(ax, look)
    draw_borders(ax, look)
    letters = _LEGEND
    if look.narrow:  # below the axes, and as wide as the figure
        ems = 72 * look.inches / look.letters(0.92)
        letters = max(12, min(2 * _LEGEND - 6, int((ems - 9.0) / 0.58)))
    said, arrows = _published(ax, among, near, look, letters)
    own = {}
    for key, (r1, r2) in mine.items():
        colour, marker, _ = looks[key]
        own[key] = ax.errorbar(
            r1.value,
            r2.value,
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
        pair = [(end[0].value, end[1].value) for end in ends_of if end]
        if len(pair) == 2:
            _arrow(ax, pair, looks[str(row["agent"]), str(row["before"])][0], look, 1.0)
            arrows.append(pair)
    missing = [textwrap.fill(text, letters) for text in _missing(known)]
    # Two agents may have one name when it is cut: they have two entries nevertheless.
    handles = [*said.values(), *own.values(), *(ax.plot([], [], " ")[0] for _ in missing)]
    entries = [*said, *short_names(list(own), letters).values(), *missing]
    legend = ax.legend(
        handles,
        entries,
        loc="upper left",
        bbox_to_anchor=(0, 1),
        bbox_transform=beside.transAxes,
        borderaxespad=0.0,
    )
    legend.set_in_layout(False)
    _size(figure, look, sum(text.count("\n") + 1.0 for text in entries))
    _narrowed(figure, legend, list(own), len(said), letters)
    _names(ax, figure, among, list(mine.values()), arrows, look)
    return figure


def _missing(known: Mapping[tuple[str, str], Mapping[str, Quoted]]) -> list[str]:
    """What the legend says of agents that have no place, and how many they are."""
    why: Counter[str] = Counter()
    for of in known.values():
        values = {s: of[s].value if s in of else math.nan for s in ("r1", "r2")}
        if not all(math.isfinite(v) for v in values.values()):
            why["r1 or r2 not determined"] += 1
        elif min(values.values()) <= 0:
            below = " and ".join(s for s, v in values.items() if v <= 0)
            why[f"{below} below 0: no place on the map"] += 1
    return [f"{text} ({n})" if "place" in text else f"{text}: {n}" for text, n in why.items()]


def _narrowed(
    figure: Figure, legend: Legend, keys: Sequence[tuple[str, str]], first: int, letters: int
) -> None:
    """Cut the names of the agents until they do not run off the figure."""
    own = legend.get_texts()[first : first + len(keys)]
    for longest in range(letters, 9, -2):
        for text, name in zip(own, short_names(keys, longest).values(), strict=True):
            text.set_text(name)
        figure.draw_without_rendering()
        if all(text.get_window_extent().x1 < 0.985 * figure.bbox.width for text in own):
            return


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
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
    ax.set_xlabel(QUANTITIES["r1"].label)
    ax.set_ylabel(QUANTITIES["r2"].label)
    return figure, ax, beside


def _ticks(ax: Axes, look: Look) -> None:
    """Numbers at 1, 2 and 5 of each decade where they have room, else at the decades."""
    ems = 72 * look.inches / look.points  # widths of a letter across the figure
    across = ems - 8.0 if look.narrow else ems - 0.6 * _LEGEND - 13.0
    for axis, room in ((ax.xaxis, across / 3.6), (ax.yaxis, 0.5 * ems / 2.0)):
        low, high = axis.get_view_interval()
        subs = (1.0, 2.0, 5.0) if 3 * math.log10(high / low) < room else (1.0,)
        axis.set_major_locator(LogLocator(subs=subs))


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


def _reach(one: Quoted, least: float) -> Any:
    """How far the 95 % interval reaches down and up; to the edge where it reaches 0 or below."""
    low, high = one.ci95
    if not (math.isfinite(low) and math.isfinite(high)):
        return None
    # Unequal replicates may pull the mixed interval past their mean.
    return [[max(one.value - max(low, least / 10), 0.0)], [max(high - one.value, 0.0)]]


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
    ax: Axes, among: pd.DataFrame, near: tuple[pd.DataFrame, str], look: Look, letters: int
) -> tuple[dict[str, Any], list[Pair]]:
    """Draw the published agents; what the legend says of them, and the arrows between them."""
    every, what = near[0], near[1].replace(" T", "\N{NO-BREAK SPACE}T")
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
        said[textwrap.fill(f"published {what} ({len(among)} values)", letters)] = points
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
    taken += name_classes(
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
        x, y = r1.value, r2.value
        lows = [limits[0] / 10 for limits in (ax.get_xlim(), ax.get_ylim())]
        spots += [[(max(v, lows[0]), y) for v in r1.ci95 if math.isfinite(v)] or [(x, y)]]
        spots += [[(x, max(v, lows[1])) for v in r2.ci95 if math.isfinite(v)] or [(x, y)]]
    boxes: list[Box] = []
    for ends in spots:
        first, last = ax.transData.transform([ends[0], ends[-1]])
        steps = max(2, int(np.hypot(*(last - first)) / size))
        for x, y in np.linspace(first, last, min(steps, 400)):
            boxes.append((x - size / 2, y - size / 2, x + size / 2, y + size / 2))
    mid = [(r1.value, r2.value) for r1, r2 in mine]
    doubled = among[among.duplicated("agent", keep="last")]
    rest = [*mid, *doubled[[_R1, _R2]].itertuples(index=False, name=None)]
    for x, y in ax.transData.transform(np.reshape(rest, (-1, 2)).astype(float)):
        boxes.append((x - size, y - size, x + size, y + size))
    return boxes


def _box(box: Bbox) -> Box:
    return float(box.x0), float(box.y0), float(box.x1), float(box.y1)
