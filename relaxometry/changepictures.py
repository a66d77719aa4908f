"""Pictures of what changed: ΔR1, ΔR2 and concentrations, with 0 in the middle of their colours."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from .canvas import STYLE
from .errors import GeometryError, InputError
from .geometry import shown
from .mapimage import MapImage
from .pictures import NOTHING, fullest_slice, picture_axes
from .units import QUANTITIES

_COLOURS = "RdBu_r"
_BAR = 0.78  # inches beside the picture


@rc_context(STYLE)
def change_map(image: MapImage, mask: ArrayLike | None = None, z: int | None = None) -> Figure:
    """A map of what changed, with a colour bar; 0 is white, grey is where nothing was determined.

    Parameters
    ----------
    image : MapImage
        Of dR1, dR2, dR2star or concentration.
    mask : array_like of bool (x, y, z), optional
        What the colours are for: they span 98 % of the values in it. All voxels by default.
    z : int, optional
        The slice; default that with most voxels of the mask (of those determined).

    Raises
    ------
    GeometryError
        If the mask is on another grid.
    InputError
        If there is no such slice.
    """
    known = np.isfinite(image.value)
    within = known if mask is None else np.asarray(mask, dtype=bool)
    if within.shape != known.shape:
        raise GeometryError(
            f"shape {within.shape}", field="mask", expected=f"that of the map {known.shape}"
        )
    slices = known.shape[2]
    if z is None:
        z = fullest_slice(within)
    elif not 0 <= z < slices:
        raise InputError(f"{z}", field="z", expected=f"a slice from 0 to {slices - 1}")
    quantity = QUANTITIES[image.quantity]
    values = shown(image.value[:, :, z], image.affine)
    spanned = image.value[:, :, z][within[:, :, z] & known[:, :, z]]
    reach = float(np.percentile(np.abs(spanned), 98)) if spanned.size else 1.0
    reach = reach or 1.0
    figure, ax = picture_axes(values.shape, image.affine, beside=_BAR)
    drawn = ax.imshow(
        values,
        cmap=colormaps[_COLOURS].with_extremes(bad=NOTHING),
        vmin=-reach,
        vmax=reach,
        aspect="auto",
        interpolation="none",
    )
    width = figure.get_figwidth()
    bar_ax = figure.add_axes((1 - (_BAR - 0.1) / width, 0.04, 0.11 / width, 0.84))
    there = values[np.isfinite(values)]
    beyond = {(False, False): "neither", (True, False): "min", (False, True): "max"}
    ends = bool((there < -reach).any()), bool((there > reach).any())
    bar = figure.colorbar(drawn, cax=bar_ax, extend=beyond.get(ends, "both"))
    bar.outline.set_linewidth(0)
    bar_ax.tick_params(labelsize=7.5, length=2, width=0.6)
    bar_ax.set_title(
        quantity.label.replace("concentration", "conc."), fontsize=8, pad=6, loc="left"
    )
    return figure
