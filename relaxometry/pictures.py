"""Pictures of slices: the tubes on the image they were found on, maps in the unit people read.

Maps use lipari for T1 and navia for T2, as recommended for relaxometry (Fuderer et al., MRM 2025).
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, FancyArrowPatch, PathPatch
from matplotlib.path import Path
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from .canvas import STYLE, Picture
from .geometry import Affine, shown, shown_position, voxel_size
from .maps import ParameterMaps, determined
from .series import Series
from .tubes import Tubes
from .units import QUANTITIES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOUR_MAPS = {"T1": "lipari", "R1": "lipari", "T2": "navia", "R2": "navia"}
NOTHING = "#dcdcdc"  # where there is no value
_PICTURE_HEIGHT = 2.4  # inches
_OVERLAY_HEIGHTS = 2.4, 5.2  # inches; the more the smaller the tubes
_NUMBER_SIZE = 6.5  # points
_MEASURED, _FOUND, _ORDER = "#56B4E9", "#E69F00", "#F0E442"


@rc_context(STYLE)
def tube_overlay(series: Series, tubes: Tubes) -> Figure:
    """The tubes on an image of a series, for a person to check: where, how large, in which order.

    The image is the root sum of squares over the series, in the slice with most of the tubes. Each
    tube has its number and the outline of what is measured of it, the circle it was found as where
    there is one (dashed where a template placed it unseen), and a faint arrow to the next number.

    Parameters
    ----------
    series : Series
    tubes : Tubes
        Carried to the grid of the series.
    """
    here = tubes.on(series)
    z = fullest_slice(here.mask)
    image = shown(series.root_sum_of_squares()[:, :, z], series.affine)
    labels = shown(here.labels[:, :, z], series.affine)
    drawn = [_Drawn.of(number, labels, here, series) for number in sorted(here.numbers)]
    present = [tube for tube in drawn if tube is not None]
    least = min(tube.box[3] - tube.box[1] for tube in present)
    height = np.clip(2.8 * _NUMBER_SIZE / 72 * image.shape[0] / least, *_OVERLAY_HEIGHTS)
    figure, ax = picture_axes(image.shape, series.affine, height=float(height))
    low, high = np.percentile(image[np.isfinite(image)], [0.5, 99.5])
    ax.imshow(image, cmap="gray", vmin=low, vmax=high, aspect="auto", interpolation="none")
    outline = borders(labels)
    # Dark under light: a line that shows on bright tubes as on dark ones.
    for colour, width in (("#000000", 1.4), (_MEASURED, 0.7)):
        ax.add_patch(PathPatch(outline, fill=False, edgecolor=colour, linewidth=width))
    pixel = 72 * height / image.shape[0]  # in points
    for tube in present:
        if tube.circle is not None:
            column, row, across, down = tube.circle
            # Dashes are drawn stronger: gaps take half of the line away.
            unseen = tube.number in here.placed_by_template
            line, width = ((0, (3, 2)), 0.9) if unseen else ("solid", 0.5)
            ax.add_patch(
                Ellipse(
                    (column, row), 2 * across, 2 * down, fill=False, ec=_FOUND, ls=line, lw=width
                )
            )
        # A number that would hide its tube stands on top of it.
        _, top, _, bottom = tube.box
        beside = (bottom - top) * pixel < 2 * _NUMBER_SIZE
        row = top - 1 if beside else tube.row
        _number(ax, tube.column, row, str(tube.number), "bottom" if beside else "center")
    steps = [(one, other, one.far(other)) for one, other in pairwise(present)]
    for one, other, far in steps:
        # Back to the next row, across other tubes.
        _arrow(ax, one, other, pixel, back=far > 1.8 * float(np.median([f for *_, f in steps])))
    ax.set_xlim(-0.5, image.shape[1] - 0.5)
    ax.set_ylim(image.shape[0] - 0.5, -0.5)
    return figure


class _Drawn(NamedTuple):
    """A tube in the picture, in pixels.

    Attributes
    ----------
    number : int
    column, row : float
        Middle of what is measured.
    box : tuple of int
        Left, top, right, bottom of what is measured, the last two exclusive.
    circle : tuple of float or None
        Column, row and half axes of the circle it was found as.
    """

    number: int
    column: float
    row: float
    box: tuple[int, int, int, int]
    circle: tuple[float, float, float, float] | None

    @classmethod
    def of(cls, number: int, labels: NDArray[Any], tubes: Tubes, series: Series) -> _Drawn | None:
        """None if the tube is not in this slice."""
        rows, columns = np.nonzero(labels == number)
        if not rows.size:
            return None
        box = (int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)
        circle = None
        if tubes.circles is not None:
            step = np.array(voxel_size(series.affine)[:2])
            x, y, radius = tubes.circles[tubes.numbers.index(number)]
            centre = shown_position(np.array([x, y]) / step, series.grid, series.affine)
            axes = radius / (step if upright(series.affine) else step[::-1])
            circle = (float(centre[0]), float(centre[1]), float(axes[0]), float(axes[1]))
        return cls(number, float(columns.mean()), float(rows.mean()), box, circle)

    def far(self, other: _Drawn) -> float:
        """Pixels to the middle of another tube."""
        return float(np.hypot(other.column - self.column, other.row - self.row))

    def edge(self, towards: _Drawn) -> tuple[float, float]:
        """Where the way from the middle to that of another tube leaves this one."""
        left, top, right, bottom = self.box
        a, b = (right - left) / 2, (bottom - top) / 2
        if self.circle is not None:
            a, b = self.circle[2:]
        dx, dy = towards.column - self.column, towards.row - self.row
        length = np.hypot(dx / a, dy / b)
        part = min(1 / length, 0.5) if length else 0.0
        return self.column + part * dx, self.row + part * dy


def _arrow(ax: Axes, one: _Drawn, other: _Drawn, pixel: float, back: bool) -> None:
    """A faint arrow from one tube to the next, under everything but the image."""
    start, end = one.edge(other), other.edge(one)
    long = np.hypot(end[0] - start[0], end[1] - start[1]) * pixel  # points, nearly
    ax.add_patch(
        FancyArrowPatch(
            start,
            end,
            arrowstyle="-|>",
            mutation_scale=float(np.clip(0.6 * long, 2.5, 5)),
            shrinkA=0,
            shrinkB=0,
            linewidth=0.4 if back else 0.7,
            color=_ORDER,
            alpha=0.5 if back else 0.8,
            zorder=0.9,
            capstyle="butt",
            joinstyle="miter",
        )
    )


@rc_context(STYLE)
def parameter_map(maps: ParameterMaps, name: str, tubes: Tubes | None = None) -> Figure:
    """A map in the unit people read, with a colour bar; grey where nothing was determined.

    Parameters
    ----------
    maps : ParameterMaps
    name : str
        Which map, e.g. ``"T2"`` (ms) or ``"R2"`` (s⁻¹).
    tubes : Tubes, optional
        What the colours are for: they span the values in the tubes, in the slice with most of them.
    """
    from cmcrameri import cm

    quantity = QUANTITIES[name]
    within = determined(maps.status) if tubes is None else tubes.on(maps.series).mask
    z = fullest_slice(within)
    plane = maps[name].value[:, :, z] * quantity.people_factor
    values = shown(plane, maps.series.affine)
    colours = getattr(cm, _COLOUR_MAPS.get(name, "batlow")).with_extremes(bad=NOTHING)
    low, high = _limits(plane[within[:, :, z]])
    bar_width = 0.72
    figure, ax = picture_axes(values.shape, maps.series.affine, beside=bar_width)
    drawn = ax.imshow(
        values, cmap=colours, vmin=low, vmax=high, aspect="auto", interpolation="none"
    )
    width = figure.get_figwidth()
    bar_ax = figure.add_axes((1 - (bar_width - 0.1) / width, 0.04, 0.11 / width, 0.84))
    known = values[np.isfinite(values)]
    beyond = {(False, False): "neither", (True, False): "min", (False, True): "max"}
    ends = (bool((known < low).any()), bool((known > high).any()))
    bar = figure.colorbar(drawn, cax=bar_ax, extend=beyond.get(ends, "both"))
    bar.outline.set_linewidth(0)
    bar_ax.tick_params(labelsize=7.5, length=2, width=0.6)
    bar_ax.set_title(quantity.label, fontsize=8, pad=6, loc="left")
    return figure


def fullest_slice(mask: NDArray[np.bool_]) -> int:
    """Index of the slice of an (x, y, z) mask with most voxels; of equals the middle one."""
    counts = mask.sum(axis=(0, 1))
    best = np.flatnonzero(counts == counts.max())
    return int(best[best.size // 2])


def upright(affine: Affine) -> bool:
    """Whether x runs along the rows of the picture, and not down its columns."""
    return shown(np.empty((2, 3)), affine).shape == (3, 2)


def picture_axes(
    shape: tuple[int, ...], affine: Affine, beside: float = 0.0, height: float = _PICTURE_HEIGHT
) -> tuple[Figure, Axes]:
    """A figure filled by a picture (row, column) in true proportions, with room to its right."""
    dx, dy, _ = voxel_size(affine)
    across, down = (dx, dy) if upright(affine) else (dy, dx)
    width = height * (shape[1] * across) / (shape[0] * down)
    width = min(max(width, height / 3), 2 * height)
    figure = Picture(figsize=(width + beside, height))
    ax = figure.add_axes((0, 0, width / (width + beside), 1))
    ax.set_axis_off()
    return figure, ax


def borders(labels: NDArray[Any]) -> Path:
    """The edges between pixels (row, column) of different labels, as they lie in the picture."""
    x, y = np.array([0.5, 0.0]), np.array([0.0, 0.5])  # half a pixel
    below = np.argwhere(labels[1:] != labels[:-1])[:, ::-1] + y
    beside = np.argwhere(labels[:, 1:] != labels[:, :-1])[:, ::-1] + x
    edges = np.stack([np.vstack([below - x, beside - y]), np.vstack([below + x, beside + y])], 1)
    return Path(edges.reshape(-1, 2), np.tile([Path.MOVETO, Path.LINETO], len(edges)))


def _number(
    ax: Axes, column: float, row: float, text: str, va: Literal["bottom", "center"]
) -> None:
    ax.text(
        column,
        row,
        text,
        color="white",
        fontsize=_NUMBER_SIZE,
        fontweight="bold",
        ha="center",
        va=va,
        path_effects=[withStroke(linewidth=1.6, foreground="black")],
    )


def _limits(values: NDArray[Any]) -> tuple[float, float]:
    """Ends of the colours: of all values but outliers, from 0 where they reach down near it."""
    known = values[np.isfinite(values)]
    if not known.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(known, [2, 98]))
    if known.min() >= 0 and low < 0.3 * high:
        low = 0.0
    return low, high if high > low else low + max(abs(low), 1.0)
