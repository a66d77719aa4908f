"""Pictures of images before and after an injection, with the regions that were measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from numpy.typing import NDArray

from .canvas import STYLE, Picture, short_name
from .geometry import Affine, shown, voxel_size
from .pictures import borders, fullest_slice, upright
from .regions import Regions

# On grey images, light enough for dark organs and apart for colour-blind readers.
_OF_ROLE = {"target": "#F0E442", "reference": "#56B4E9", "muscle": "#CC79A7", "noise": "#E69F00"}
_MOST = 6  # images in a row
_HEIGHT = 1.75  # inches
_LEGEND = 0.24  # inches, a row of names


@rc_context(STYLE)
def contrast_images(
    images: Sequence[tuple[str, NDArray[Any]]],
    regions: Regions,
    roles: Mapping[str, str | int],
) -> Figure:
    """One slice of each image in one grey scale, with the outlines of its regions.

    Parameters
    ----------
    images : sequence of (str, ndarray (x, y, z))
        What each is called, e.g. ``before`` and ``30 min``; of more than six the first, the last
        and some between are shown.
    regions : Regions
    roles : mapping of str to str or int
        The region of each role: ``target``, ``reference``, ``muscle``, ``noise``.
    """
    labels = {role: regions.label(region) for role, region in roles.items()}
    z = fullest_slice(np.isin(regions.labels, [labels[r] for r in labels if r != "noise"]))
    chosen = np.unique(np.linspace(0, len(images) - 1, min(len(images), _MOST)).round().astype(int))
    planes = [(images[i][0], shown(images[i][1][..., z], regions.affine)) for i in chosen]
    outline = shown(regions.labels[..., z], regions.affine)
    dx, dy, _ = voxel_size(regions.affine)
    across, down = (dx, dy) if upright(regions.affine) else (dy, dx)
    aspect = outline.shape[1] * across / (outline.shape[0] * down)
    width, legend, title = _HEIGHT * float(np.clip(aspect, 0.4, 2.5)), _LEGEND, 0.18
    gap = 0.06
    total = (len(planes) * (width + gap) - gap, _HEIGHT + legend + title)
    figure = Picture(figsize=(max(total[0], 3.4), total[1]))
    full = figure.get_figwidth()
    # One scale for all: what darkens must look darker. Of the object: the brightest are vessels.
    finite = np.concatenate([plane[np.isfinite(plane)] for _, plane in planes])
    high = float(np.percentile(finite, 99.5)) or 1.0
    for k, (name, plane) in enumerate(planes):
        place = (k * (width + gap) / full, legend / total[1], width / full, _HEIGHT / total[1])
        ax = figure.add_axes(place)
        ax.set_axis_off()
        ax.imshow(plane, cmap="gray", vmin=0, vmax=high, aspect="auto", interpolation="none")
        ax.set_title(short_name((name, ""), 30), pad=3, loc="left")
        for role, label in labels.items():
            path = borders((outline == label).astype(np.int8))
            for colour, line in (("#000000", 1.5), (_OF_ROLE[role], 0.8)):
                ax.add_patch(PathPatch(path, fill=False, edgecolor=colour, linewidth=line))
        ax.set_xlim(-0.5, plane.shape[1] - 0.5)
        ax.set_ylim(plane.shape[0] - 0.5, -0.5)
    _legend(figure, {_called(role, regions.name(roles[role])): _OF_ROLE[role] for role in labels})
    return figure


def _legend(figure: Figure, colours: Mapping[str, str]) -> None:
    """The regions' names below their images, in as many rows as the width asks for."""
    handles = [Line2D([], [], color=colour, linewidth=2) for colour in colours.values()]
    for columns in range(len(handles), 0, -1):
        legend = figure.legend(
            handles,
            list(colours),
            loc="lower left",
            ncols=columns,
            borderaxespad=0.1,
            handlelength=1.2,
            columnspacing=1.4,
        )
        taken = legend.get_window_extent()
        if columns == 1 or taken.width <= figure.bbox.width:
            break
        legend.remove()
    width, height = figure.get_size_inches()
    more = max(0.0, taken.y1 / figure.dpi - _LEGEND)
    if more:
        figure.set_size_inches(width, height + more)
        for ax in figure.axes:
            box = ax.get_position()
            bottom, high = (box.y0 * height + more), box.height * height
            ax.set_position((box.x0, bottom / (height + more), box.width, high / (height + more)))


def _called(role: str, name: str) -> str:
    """The role of a region, and what the user calls it."""
    return role if name.isdigit() or name == role else f"{role} ({short_name((name, ''), 18)})"


@rc_context(STYLE)
def flood_image(
    image: NDArray[Any], affine: Affine, regions: Mapping[str, NDArray[np.bool_]]
) -> Figure:
    """The middle slice of a uniform phantom with the outlines of what was measured.

    Parameters
    ----------
    image : ndarray (x, y, z)
    affine : ndarray (4, 4)
    regions : mapping of str to ndarray of bool (x, y, z)
        By what they are called.
    """
    names = list(regions)
    masks = [mask if mask.ndim == 3 else mask[..., None] for mask in regions.values()]
    z = fullest_slice(np.logical_or.reduce(masks))
    plane = shown(image[..., z], affine)
    dx, dy, _ = voxel_size(affine)
    across, down = (dx, dy) if upright(affine) else (dy, dx)
    aspect = float(np.clip(plane.shape[1] * across / (plane.shape[0] * down), 0.4, 2.5))
    high, legend = 2.4, 0.24
    figure = Picture(figsize=(max(high * aspect, 3.0), high + legend))
    width, height = figure.get_size_inches()
    ax = figure.add_axes((0, legend / height, high * aspect / width, high / height))
    ax.set_axis_off()
    # Ghosts are faint: the dark end is shown lighter than it is.
    top = float(np.nanpercentile(plane, 99.5)) or 1.0
    ax.imshow(
        np.sqrt(np.clip(plane, 0, top) / top), cmap="gray", vmin=0, vmax=1, aspect="auto",
        interpolation="none",
    )  # fmt: skip
    colours = [*_OF_ROLE.values()]
    for mask, colour in zip(masks, colours, strict=False):
        path = borders(shown(mask[..., z], affine).astype(np.int8))
        for edge, line in (("#000000", 1.5), (colour, 0.8)):
            ax.add_patch(PathPatch(path, fill=False, edgecolor=edge, linewidth=line))
    ax.set_xlim(-0.5, plane.shape[1] - 0.5)
    ax.set_ylim(plane.shape[0] - 0.5, -0.5)
    handles = [Line2D([], [], color=colour, linewidth=2) for colour in colours[: len(names)]]
    figure.legend(
        handles, names, loc="lower left", ncols=len(names), borderaxespad=0.1, handlelength=1.2
    )
    return figure
