"""`Tubes`: which voxels belong to which tube; finding, ordering and carrying them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .carry import carried_labels
from .errors import GeometryError, InputError
from .geometry import Affine, checked_affine, same_grid, shown_position, voxel_size
from .moved import moved_circles, placement, walls_of
from .series import Series
from .sheet import checked_sheet, empty_sheet, read_sheet
from .walls import SHIFTS, Walls, frame_of

ORDERS = ("rows",)
# A tube's wall blurs over one voxel and rings over the next: the region keeps clear of both.
MARGIN_VOXELS, MARGIN_OF_RADIUS = 1.5, 0.15
_LEAST_DIAMETER = 6  # voxels
_RISE = 1.5  # of the threshold, from one search for round patches to the next
_ROUND = 1.12  # an ellipse of 5 : 4 reaches so far beyond a disc of its area; a square 1.25


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Tubes:
    """Tubes on the grid of one series.

    Attributes
    ----------
    labels : ndarray of int32 (x, y, z)
        Number of the tube each voxel is measured for; 0 elsewhere.
    affine : ndarray (4, 4)
        Voxel → mm, RAS.
    sheet : DataFrame
        One row per tube: tube, agent, concentration_mM and what else the sheet says.
    circles : ndarray (tubes, 3) or None
        x, y, radius of each tube in mm along a row and down a column from the centre of the first
        voxel, in the order of the sheet; None where labels were given.
    margin_mm : float
        How far the region keeps from the circle.
    walls : Walls or None
        Where the walls are seen in the image the tubes were placed on, so that a phantom moved
        since is noticed; None where no image is known.
    shift_mm : ndarray (3,) or None
        How far the tubes were moved from where they were placed, mm in the scanner (RAS); None
        where that was not looked at or could not be judged.
    notes : tuple of str
        What was found when they were carried to another series.
    """

    labels: NDArray[np.int32]
    affine: Affine
    sheet: pd.DataFrame
    circles: NDArray[np.float64] | None = None
    margin_mm: float = 0.0
    source: str = field(default="labels")
    walls: Walls | None = None
    shift_mm: NDArray[np.float64] | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        labels = np.asarray(self.labels)
        if labels.ndim == 2:
            labels = labels[..., None]
        if labels.ndim != 3 or not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
            raise GeometryError("labels", expected="whole numbers from 0 on an (x, y, z) grid")
        labels = labels.astype(np.int32)
        labels.flags.writeable = False
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "affine", checked_affine(self.affine))
        object.__setattr__(self, "sheet", checked_sheet(self.sheet))
        drawn, listed = (
            set(np.unique(labels[labels > 0]).tolist()),
            set(self.sheet["tube"].tolist()),
        )
        if drawn != listed:
            odd = sorted(drawn ^ listed)[0]
            where = (
                "drawn but not in the sheet" if odd in drawn else "in the sheet but has no voxel"
            )
            raise InputError(
                f"tube {odd} is {where} ({len(drawn)} drawn, {len(listed)} listed)",
                hint="give labels or circles for exactly the tubes of the sheet",
            )

    def __len__(self) -> int:
        return len(self.sheet)

    @property
    def numbers(self) -> list[int]:
        """Tube numbers in the order of the sheet."""
        return [int(n) for n in self.sheet["tube"]]

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(x, y, z), True in any tube."""
        return self.labels > 0

    def voxels(self, tube: int) -> NDArray[np.bool_]:
        """(x, y, z), True in this tube."""
        inside: NDArray[np.bool_] = self.labels == tube
        return inside

    def with_sheet(self, sheet: pd.DataFrame | str | Path) -> Tubes:
        """The same regions with another sheet (a table or a CSV file)."""
        table = read_sheet(sheet) if isinstance(sheet, (str, Path)) else sheet
        return replace(self, sheet=table)

    def _seen_in(self, series: Series) -> Tubes:
        """The same tubes, with what the series on which they were placed shows of their walls."""
        where = (self.labels, self.affine, self.numbers, self.circles, self.margin_mm)
        return replace(self, walls=walls_of(series, *where))

    def on(self, series: Series, shift: str = "correct") -> Tubes:
        """The same tubes on the grid of another series, through the affines.

        A voxel goes with a tube only where it lies wholly inside, see
        :func:`relaxometry.carry.carried_labels`. Where the tubes are seen to lie elsewhere in this
        series than in that on which they were placed, the regions follow.

        Parameters
        ----------
        series : Series
        shift : {"correct", "refuse", "ignore"}
            What is done about tubes that have moved by up to 3 mm: the regions follow; it is an
            error; it is not looked at. A larger shift is an error unless ignored.

        Returns
        -------
        Tubes
            What was found stands in `shift_mm` and `notes`.

        Raises
        ------
        GeometryError
            If a tube has no voxel there; if the tubes have moved too far, or one of them against
            the others by more than its margin.
        """
        if shift not in SHIFTS:
            raise InputError(f"{shift!r}", field="shift", expected=" or ".join(SHIFTS))
        same = series.grid == self.labels.shape and same_grid(series.affine, self.affine)
        if same and (self.walls is None or self.walls.of(series.signal)):
            return self
        excluded = [bool(e) for e in self.sheet["exclude"]]
        found = placement(self.walls, series, self.numbers, excluded, shift)
        shift_mm = self.shift_mm if found.shift_mm is None else found.shift_mm
        notes = (*self.notes, *found.notes)
        here = replace(self, walls=found.walls, shift_mm=shift_mm, notes=notes)
        motion = found.motion
        if same and (motion == np.eye(4)).all():
            return here
        walls = None
        if self.walls is not None and np.allclose(self.walls.frame, frame_of(self.affine)):
            walls = self.walls.around_deep_regions()
        labels = carried_labels(
            self.labels,
            self.affine,
            self.numbers,
            series.grid,
            np.linalg.inv(motion) @ series.affine,
            self.circles,
            self.margin_mm,
            walls,
        )
        circles = None
        if same and self.circles is not None:
            circles = moved_circles(self.circles, self.affine, motion)
        return replace(here, labels=labels, affine=series.affine, circles=circles)

    def __repr__(self) -> str:
        counts = np.bincount(self.labels[self.mask])
        per_tube = counts[counts > 0]
        agents = sorted({a for a in self.sheet["agent"] if a})
        told = f": {', '.join(agents)}" if agents else ""
        return f"Tubes: {len(self)}, {per_tube.min()} … {per_tube.max()} voxels each{told}"

    def _repr_html_(self) -> str:
        from html import escape

        return f"<b>{escape(repr(self))}</b>" + str(self.sheet.to_html(index=False, escape=True))


def _as_sheet(sheet: pd.DataFrame | str | Path | None) -> pd.DataFrame | None:
    return read_sheet(sheet) if isinstance(sheet, (str, Path)) else sheet


def tubes_from_labels(
    labels: NDArray[Any],
    affine: Affine,
    sheet: pd.DataFrame | str | Path | None = None,
    series: Series | None = None,
) -> Tubes:
    """Tubes from a label image.

    Parameters
    ----------
    labels : ndarray of int (x, y, z)
        Every positive number is a tube.
    affine : ndarray (4, 4)
        Voxel → mm, RAS.
    sheet : DataFrame or path, optional
        Listing exactly the tubes that are drawn.
    series : Series, optional
        The series they were drawn on: with it, a phantom moved before another series was taken is
        noticed (:meth:`Tubes.on`).

    Returns
    -------
    Tubes

    Raises
    ------
    InputError, GeometryError
        If labels and sheet differ, or the labels are not whole numbers.
    """
    table = _as_sheet(sheet)
    if table is None:
        table = empty_sheet(np.unique(labels[labels > 0]).tolist())
    if not (labels > 0).any():
        raise InputError("no tube", field="labels", expected="a number from 1 in each tube")
    tubes = Tubes(labels, affine, table)
    return tubes if series is None else tubes._seen_in(series)


def tubes_from_circles(
    series: Series,
    circles: Sequence[Sequence[float]],
    sheet: pd.DataFrame | str | Path | None = None,
    margin_mm: float = 0.0,
) -> Tubes:
    """Tubes from circles, one per row of the sheet, in its order; through all slices.

    Parameters
    ----------
    series : Series
        Image the circles were drawn on.
    circles : sequence of (x, y, radius)
        mm along a row (x) and down a column (y) from the centre of the first voxel.
    sheet : DataFrame or path, optional
        As many rows as circles; numbered from 1 if absent.
    margin_mm : float
        How much is taken off each radius before voxels are counted in; a voxel is in when its
        centre is.

    Returns
    -------
    Tubes

    Raises
    ------
    InputError
        If a circle is not three numbers, lies outside the image, overlaps another, or holds no
        voxel, or if the sheet has another number of tubes.
    """
    try:
        array = np.asarray(circles, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.ndim != 2 or array.shape[1:] != (3,) or not np.isfinite(array).all():
        raise InputError("not a list of [x, y, radius]", field="circles", expected="numbers in mm")
    if not 0 <= margin_mm < np.inf:
        raise InputError(f"{margin_mm:g} mm", field="margin_mm", expected="0 or more")
    table = _as_sheet(sheet)
    table = empty_sheet(range(1, len(array) + 1)) if table is None else checked_sheet(table)
    if len(table) != len(array):
        raise InputError(
            f"{len(array)} circles for {len(table)} tubes in the sheet",
            field="circles",
            expected="one circle per row of the sheet, in its order",
        )
    dx, dy, _ = voxel_size(series.affine)
    nx, ny, nz = series.grid
    x, y = np.arange(nx)[:, None] * dx, np.arange(ny)[None, :] * dy
    labels = np.zeros((nx, ny), dtype=np.int32)
    for number, (cx, cy, radius) in zip(table["tube"], array, strict=True):
        inside = (x - cx) ** 2 + (y - cy) ** 2 <= (radius - margin_mm) ** 2
        outside = min(cx + dx, cy + dy, nx * dx - cx, ny * dy - cy) < radius
        if outside or radius <= margin_mm or not inside.any():
            raise InputError(
                f"circle of tube {number} at ({cx:g}, {cy:g}) mm, radius {radius:g} mm, "
                + ("reaches out of the image" if outside else "holds no voxel"),
                field="circles",
                expected=f"circles within {(nx - 1) * dx:.4g} × {(ny - 1) * dy:.4g} mm",
            )
        taken = labels[inside]
        if taken.any():
            raise InputError(
                f"circles of tubes {taken[taken > 0][0]} and {number} overlap", field="circles"
            )
        labels[inside] = number
    tubes = Tubes(
        np.repeat(labels[..., None], nz, axis=2),
        series.affine,
        table,
        circles=array,
        margin_mm=margin_mm,
        source="circles",
    )
    return tubes._seen_in(series)


def find_tubes(
    series: Series,
    sheet: pd.DataFrame | str | Path | None = None,
    order: str = "rows",
    margin_mm: float | None = None,
) -> Tubes:
    """Find the tubes in the image: round, brighter than the air around them.

    Detection is on the root sum of squares over all points, so that neither a short T2 nor an
    inversion null hides a tube, averaged over the slices.

    Parameters
    ----------
    series : Series
    sheet : DataFrame or path, optional
        What is in the tubes; its number of rows is the number expected. Tube numbers follow the
        stated order, whatever the order of the rows.
    order : {"rows"}
        Numbered by rows, left to right, top to bottom, as the picture is shown.
    margin_mm : float, optional
        How far a region keeps from the wall; default the larger of 1.5 voxels and 0.15 radii.

    Returns
    -------
    Tubes

    Raises
    ------
    InputError
        If none is found, or another number than the sheet lists.
    """
    if order not in ORDERS:
        raise InputError(f"{order!r}", field="order", expected=" or ".join(ORDERS))
    dx, dy, _ = voxel_size(series.affine)
    circles = _discs(series.root_sum_of_squares().mean(axis=2, dtype=np.float64), dx, dy)
    table = _as_sheet(sheet)
    table = None if table is None else checked_sheet(table)
    expected = None if table is None else len(table)
    if not len(circles) or (expected is not None and len(circles) != expected):
        raise InputError(
            f"{len(circles)} tubes found in the image"
            + ("" if expected is None else f", {expected} listed in the sheet"),
            expected="round tubes in air, each at least 6 voxels across",
            hint="give their places with circles = [[x, y, radius], …] or a label image",
        )
    circles = circles[_row_order(circles, series)]
    if table is not None:  # the circle of each row of the sheet: its number counts, not its place
        circles = circles[table["tube"].rank().astype(int) - 1]
    if margin_mm is None:
        margin_mm = max(MARGIN_VOXELS * max(dx, dy), MARGIN_OF_RADIUS * float(circles[:, 2].min()))
    if margin_mm >= circles[:, 2].min():
        raise InputError(
            f"{margin_mm:g} mm leaves nothing of a tube of {circles[:, 2].min():.3g} mm radius",
            field="margin_mm",
            expected="a margin well below the radius",
        )
    return replace(
        tubes_from_circles(series, circles.tolist(), table, margin_mm), source="found in the image"
    )


def above_air(image: NDArray[Any]) -> tuple[NDArray[np.bool_], float]:
    """Where an (x, y, …) image rises above the air around the object, and the level of that air.

    Air is what the frame of the image shows; the threshold is 8 of its robust SDs above its median,
    and where the scanner has cleared the air, 2 % of the brightest.
    """
    frame = np.concatenate(
        [image[0].ravel(), image[-1].ravel(), image[:, 0].ravel(), image[:, -1].ravel()]
    )
    frame = frame[np.isfinite(frame)]
    bright = float(np.max(image, where=np.isfinite(image), initial=0))
    if not frame.size:
        return image > 0.02 * bright, 0.0
    air = float(np.median(frame))
    spread = 1.4826 * float(np.median(np.abs(frame - air)))
    return image > air + max(8 * spread, 0.02 * bright), air


def _discs(image: NDArray[np.float64], dx: float, dy: float) -> NDArray[np.float64]:
    """Circles (x, y, radius) in mm of the round bright patches of an (x, y) image.

    The threshold rises from that of the air: ringing and ghosts join tubes at a low one, and a
    higher one parts them.
    """
    from scipy import ndimage

    left, air = above_air(image)
    image = image - air
    level, top = image[left].min(initial=np.inf), image.max()
    circles = []
    while level < top:
        patches, _ = ndimage.label(left & (image >= level))
        for number, box in enumerate(ndimage.find_objects(patches), start=1):
            own = patches[box] == number
            circle = _circle(np.where(own, image[box], 0), dx, dy)
            if circle is not None:
                x, y, radius = circle
                circles.append((x + box[0].start * dx, y + box[1].start * dy, radius))
                left[box] &= ~own
        level *= _RISE
    return np.array(circles).reshape(-1, 3)


def _circle(patch: NDArray[np.float64], dx: float, dy: float) -> tuple[float, float, float] | None:
    """Centre and radius in mm, from the first voxel, of a patch (x, y); None if it is not round."""
    # The wall is where the signal has fallen to half the tube's own.
    ix, iy = np.nonzero(patch > np.median(patch[patch > 0.5 * patch.max()]) / 2)
    x, y = ix * dx, iy * dy
    radius = float(np.sqrt(ix.size * dx * dy / np.pi))
    # Round: nothing lies further out than a disc of this area reaches, give or take half a voxel.
    reach = np.hypot(x - x.mean(), y - y.mean()).max()
    across = min(np.ptp(ix), np.ptp(iy)) + 1
    if across < _LEAST_DIAMETER or reach > _ROUND * radius + max(dx, dy) / 2:
        return None
    return float(x.mean()), float(y.mean()), radius


def _row_order(circles: NDArray[np.float64], series: Series) -> NDArray[np.intp]:
    """Indices by rows, left to right and top to bottom of the picture as it is shown."""
    # In mm; where they are counted from does not matter here.
    places = shown_position(circles[:, :2], series.grid, series.affine)
    right, down = places[:, 0], places[:, 1]
    by_height = np.argsort(down, kind="stable")
    # A new row starts where the next centre lies more than a radius below the last.
    gap = float(np.median(circles[:, 2]))
    row = np.concatenate([[0], np.cumsum(np.diff(down[by_height]) > gap)])
    return by_height[np.lexsort((right[by_height], row))]
