"""Finding the tubes of a rack in a series: anywhere in the image, or by a known phantom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .alignment import align
from .errors import InputError
from .geometry import shown_position, voxel_size
from .order import checked_order, how_numbered, in_order
from .series import Series
from .sheet import checked_sheet, empty_sheet
from .stack import find_in_stack
from .template import Template, read_template
from .tubes import Tubes, as_sheet, check_margin, painted, tubes_from_circles

# A tube's wall blurs over one voxel and rings over the next: the region keeps clear of both.
MARGIN_VOXELS, MARGIN_OF_RADIUS = 1.5, 0.15
#: What is said where no order was asked for, and the tubes have none.
NOT_IN_ROWS = (
    "the tubes do not stand in rows, so they are numbered by height, from the top: compare the "
    "numbers with the picture, or say the order"
)


def find_tubes(
    series: Series,
    sheet: pd.DataFrame | str | Path | None = None,
    order: str | None = None,
    margin_mm: float | None = None,
    *,
    start_angle: float | None = None,
    grid: Sequence[Sequence[int]] | None = None,
    count: int | None = None,
    template: str | Path | Template | None = None,
) -> Tubes:
    """Find the tubes in the image: round, brighter than air, alone, touching or in a bath.

    Detection is on the root sum of squares over all points, so that neither a short T2 nor an
    inversion null hides a tube; a tube is followed through the slices from its first to its last.

    Parameters
    ----------
    series : Series
    sheet : DataFrame or path, optional
        What is in the tubes; its number of rows is the number expected. Tube numbers follow the
        stated order, whatever the order of the rows.
    order : {"rows", "columns", "serpentine", "ring", "grid", "height"}, optional
        As the picture is shown: by rows, left to right and top to bottom; by columns, top to bottom
        and left to right; by rows, every second one backwards; clockwise around a ring; as `grid`
        says; or by height alone. By default by rows, and by height where there are none, which the
        tubes' `notes` say.
    margin_mm : float, optional
        How far a region keeps from the wall; default the larger of 1.5 voxels and 0.15 radii.
    start_angle : float, optional
        Where a ring begins, in degrees clockwise from the top; the first tube is the one there or
        the first one after it. Default 0.
    grid : sequence of sequence of int, optional
        Tube numbers as a person sees the rack, row by row, 0 for an empty place.
    count : int, optional
        The number expected, where there is no sheet to say it.
    template : str, Path or Template, optional
        A known phantom, see :func:`relaxometry.template.read_template`: its geometry says where the
        tubes are and what their numbers are.

    Returns
    -------
    Tubes

    Raises
    ------
    InputError
        If none is found, another number than expected, or if they do not lie in the order asked
        for; if the template does not fit.
    """
    if template is not None:
        said = (order, start_angle, grid, count)
        if any(one is not None for one in said):
            raise InputError(
                "a template, and an order or a number of tubes",
                field="template",
                expected="one of them: a template knows both",
            )
        return _by_template(series, template, as_sheet(sheet), margin_mm)
    stated = order is not None or grid is not None
    order, start_angle, matrix = checked_order(order, start_angle, grid)
    if margin_mm is not None:
        check_margin(margin_mm)
    dx, dy, _ = voxel_size(series.affine)
    paths, small = find_in_stack(series.root_sum_of_squares(), dx, dy, series.signal.shape[-1])
    table = as_sheet(sheet)
    table = None if table is None else checked_sheet(table)
    told = [] if table is None else [(len(table), "listed in the sheet")]
    told += [] if count is None else [(count, "expected")]
    cut = _is_cut(paths, series)
    paths = paths[~cut]
    others = [f", {n} {what}" for n, what in told if n != len(paths)]
    if not len(paths) or others:
        raise InputError(
            f"{len(paths)} tubes found in the image"
            + (f" and {small} less than half as wide" if small else "")
            + (f" and {cut.sum()} cut by its edge" if cut.any() else "")
            + "".join(others),
            expected="round tubes, each at least 6 voxels across",
            hint="see what is found without a number or a sheet (relaxometry tubes), and give the "
            "places by hand: circles = [[x, y, radius], …], a label image or ImageJ ROIs",
        )
    circles = np.nanmedian(paths, axis=1)
    # In mm; where they are counted from does not matter here.
    shown = shown_position(circles[:, :2], series.grid, series.affine)
    left_out = {"less than half as wide as most": small, "cut by the edge of the image": cut.sum()}
    notes = tuple(f"left out, {why}: {n}" for why, n in left_out.items() if n)
    try:
        places = in_order(shown, circles[:, 2], order, start_angle, matrix)
    except InputError:
        if stated:
            raise
        order, notes = "height", (*notes, NOT_IN_ROWS)
        places = in_order(shown, circles[:, 2], order)
    if matrix is not None:
        numbers = np.sort(matrix[matrix > 0]).tolist()
        table = empty_sheet(numbers) if table is None else table
        odd = sorted(set(numbers) ^ set(table["tube"]))
        if odd:
            raise InputError(
                f"tube {odd[0]} is in one of grid and sheet, not in both",
                field="grid",
                expected="the tubes of the sheet",
            )
    if table is not None:  # the circle of each row of the sheet: its number counts, not its place
        places = places[table["tube"].rank().astype(int) - 1]
    else:
        table = empty_sheet(range(1, len(paths) + 1))
    circles, paths = circles[places], paths[places]
    margin_mm = _margin(margin_mm, float(circles[:, 2].min()), max(dx, dy))
    # Near the pole of a sphere nothing is left inside the margin.
    paths[paths[..., 2] < margin_mm + max(dx, dy)] = np.nan
    return Tubes(
        painted(series, paths, table, margin_mm),
        series.affine,
        table,
        circles=circles,
        margin_mm=margin_mm,
        source=f"found in the image and numbered {how_numbered(order, start_angle)}",
        notes=notes,
    ).seen_in(series)


def _is_cut(paths: NDArray[np.float64], series: Series) -> NDArray[np.bool_]:
    """Which tubes (tubes, z, 3) reach over the edge of the image."""
    dx, dy, _ = voxel_size(series.affine)
    nx, ny, _ = series.grid
    x, y, radius = np.moveaxis(paths, -1, 0)
    room = np.minimum.reduce([x + dx, y + dy, nx * dx - x, ny * dy - y])
    cut: NDArray[np.bool_] = (room < radius).any(axis=1)
    return cut


def _margin(margin_mm: float | None, radius: float, voxel: float) -> float:
    """How far regions keep from the walls of tubes of this radius, all in mm."""
    if margin_mm is None:
        margin_mm = max(MARGIN_VOXELS * voxel, MARGIN_OF_RADIUS * radius)
    if margin_mm >= radius:
        raise InputError(
            f"{margin_mm:g} mm leaves nothing of a tube of {radius:.3g} mm radius",
            field="margin_mm",
            expected="a margin well below the radius",
        )
    return margin_mm


def _by_template(
    series: Series,
    template: str | Path | Template,
    sheet: pd.DataFrame | None,
    margin_mm: float | None,
) -> Tubes:
    """The tubes of a known phantom, or those of them that the sheet lists."""
    known = template if isinstance(template, Template) else read_template(template)
    table = empty_sheet(known.numbers) if sheet is None else checked_sheet(sheet)
    strange = sorted(set(table["tube"]) - set(known.numbers))
    if strange:
        raise InputError(
            f"tube {strange[0]} of the sheet is not in the template ({known.name})",
            field="tube",
            expected=f"numbers among {', '.join(map(str, known.numbers))}",
        )
    found = align(known, series)
    rows = [known.numbers.index(number) for number in table["tube"]]
    circles = [[*found.places[row], found.radius] for row in rows]
    dx, dy, _ = voxel_size(series.affine)
    tubes = tubes_from_circles(
        series, circles, table, _margin(margin_mm, found.radius, max(dx, dy))
    )
    labels = np.zeros_like(tubes.labels)
    labels[:, :, found.slices] = tubes.labels[:, :, found.slices]
    source = f"found by the template of the {known.name}, at a scale of {found.scale:.3f}"
    return replace(tubes, labels=labels, source=source, alignment=found)
