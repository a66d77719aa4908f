"""Pictures of slices: the tubes on the image they were found on, maps in the unit people read.

Maps use lipari for T1 and navia for T2, as recommended for relaxometry (Fuderer et al., MRM 2025).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from .canvas import STYLE, Picture
from .geometry import Affine, shown, voxel_size
from .maps import ParameterMaps, determined
from .series import Series
from .tubes import Tubes
from .units import QUANTITIES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOUR_MAPS = {"T1": "lipari", "R1": "lipari", "T2": "navia", "R2": "navia"}
_NOTHING = "#dcdcdc"  # where there is no value
_PICTURE_HEIGHT = 2.4  # inches
_NUMBER_SIZE = 6.5  # points


def tube_overlay(series: Series, tubes: Tubes) -> Figure:
    """Root sum of squares of a series, with the outline of what is measured of each tube.

    The slice with most of the tubes is shown.

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
    figure, ax = _picture(image.shape, series.affine)
    low, high = np.percentile(image[np.isfinite(image)], [0.5, 99.5])
    ax.imshow(image, cmap="gray", vmin=low, vmax=high, aspect="auto", interpolation="none")
    borders = _borders(labels)
    # Dark under light: a line that shows on bright tubes as on dark ones.
    for colour, width in (("#000000", 1.4), ("#56B4E9", 0.7)):
        ax.add_patch(PathPatch(borders, fill=False, edgecolor=colour, linewidth=width))
    pixel = 72 * _PICTURE_HEIGHT / labels.shape[0]  # in points
    for number in here.numbers:
        rows, columns = np.nonzero(labels == number)
        if rows.size:
            # A number that would hide its tube stands on top of it.
            beside = (np.ptp(rows) + 1) * pixel < 2 * _NUMBER_SIZE
            row = rows.min() - 1 if beside else rows.mean()
            _number(ax, columns.mean(), row, str(number), "bottom" if beside else "center")
    return figure


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
    colours = getattr(cm, _COLOUR_MAPS.get(name, "batlow")).with_extremes(bad=_NOTHING)
    low, high = _limits(plane[within[:, :, z]])
    bar_width = 0.72
    figure, ax = _picture(values.shape, maps.series.affine, beside=bar_width)
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


def _picture(shape: tuple[int, ...], affine: Affine, beside: float = 0.0) -> tuple[Figure, Axes]:
    """A figure filled by a picture (row, column) in true proportions, with room to its right."""
    dx, dy, _ = voxel_size(affine)
    swapped = shown(np.empty((2, 3)), affine).shape == (2, 3)
    across, down = (dy, dx) if swapped else (dx, dy)
    width = _PICTURE_HEIGHT * (shape[1] * across) / (shape[0] * down)
    width = min(max(width, _PICTURE_HEIGHT / 3), 2 * _PICTURE_HEIGHT)
    figure = Picture(figsize=(width + beside, _PICTURE_HEIGHT))
    ax = figure.add_axes((0, 0, width / (width + beside), 1))
    ax.set_axis_off()
    return figure, ax


def _borders(labels: NDArray[Any]) -> Path:
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
