"""`Tubes`: which voxels belong to which tube, on the grid of one series, and carried to others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .alignment import Alignment
from .carry import carried_labels
from .errors import GeometryError, InputError
from .geometry import Affine, checked_affine, same_grid, voxel_size
from .moved import moved_circles, placement, walls_of
from .order import ORDERS as ORDERS
from .series import Series
from .sheet import checked_sheet, empty_sheet, read_circles, read_sheet
from .walls import SHIFTS, Walls, frame_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Tubes:
    """Tubes on the grid of one series.

    `labels` say what is measured in each slice. In a stack of slices a tube that was found may
    lean, and a sphere changes its radius: `circles` then hold the median over its slices.

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
    alignment : Alignment or None
        Where the template of a known phantom lies, if that is how they were found.
    """

    labels: NDArray[np.int32]
    affine: Affine
    sheet: pd.DataFrame
    circles: NDArray[np.float64] | None = None
    margin_mm: float = 0.0
    source: str = field(default="labels")
    alignment: Alignment | None = None
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

    @property
    def placed_by_template(self) -> tuple[int, ...]:
        """Numbers of the tubes that the image did not show, placed by a template."""
        hidden = () if self.alignment is None else self.alignment.placed_by_template
        return tuple(number for number in self.numbers if number in hidden)

    def voxels(self, tube: int) -> NDArray[np.bool_]:
        """(x, y, z), True in this tube."""
        inside: NDArray[np.bool_] = self.labels == tube
        return inside

    def with_sheet(self, sheet: pd.DataFrame | str | Path) -> Tubes:
        """The same regions with another sheet (a table or a CSV file)."""
        table = read_sheet(sheet) if isinstance(sheet, (str, Path)) else sheet
        return replace(self, sheet=table)

    def plot(self, series: Series) -> Figure:
        """The tubes on an image of the series, numbered, for a person to check."""
        from .plots import tube_overlay

        return tube_overlay(series, self)

    def seen_in(self, series: Series) -> Tubes:
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
        per_tube = np.unique(self.labels[self.mask], return_counts=True)[1]
        agents = sorted({a for a in self.sheet["agent"] if a})
        told = f": {', '.join(agents)}" if agents else ""
        low, high = per_tube.min(), per_tube.max()
        voxels = f"{low} voxels" if low == high else f"{low} … {high} voxels"
        return f"Tubes: {len(self)}, {voxels}{' each' if len(self) > 1 else ''}{told}"

    def _repr_html_(self) -> str:
        from html import escape

        return f"<b>{escape(repr(self))}</b>" + str(self.sheet.to_html(index=False, escape=True))


def as_sheet(sheet: pd.DataFrame | str | Path | None) -> pd.DataFrame | None:
    """A sheet as a table, read if it is a file; None where there is none."""
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
    if isinstance(labels, (str, Path)):
        raise InputError(
            "a path",
            field="labels",
            expected="an array and its affine",
            hint="labels, affine = rx.read_labels(path)",
        )
    table = as_sheet(sheet)
    if table is None:
        table = empty_sheet(np.unique(labels[labels > 0]).tolist())
    if not (labels > 0).any():
        raise InputError("no tube", field="labels", expected="a number from 1 in each tube")
    tubes = Tubes(labels, affine, table)
    return tubes if series is None else tubes.seen_in(series)


def tubes_from_circles(
    series: Series,
    circles: Sequence[Sequence[float]] | str | Path,
    sheet: pd.DataFrame | str | Path | None = None,
    margin_mm: float | None = None,
    unit: Literal["mm", "voxels"] | None = None,
) -> Tubes:
    """Tubes from circles, one per row of the sheet, in its order; through all slices.

    Parameters
    ----------
    series : Series
        Image the circles were drawn on.
    circles : sequence of (x, y, radius), or path
        Along a row (x) and down a column (y) from the centre of the first voxel; or a CSV file as
        `relaxometry tubes` writes it, whose tube numbers say which circle is whose.
    sheet : DataFrame or path, optional
        As many rows as circles; numbered from 1 if absent.
    margin_mm : float, optional
        How much is taken off each radius before voxels are counted in; a voxel is in when its
        centre is. Default what the file says, else 0.
    unit : {"mm", "voxels"}, optional
        Of the circles; default mm, or what the file has.

    Returns
    -------
    Tubes

    Raises
    ------
    InputError
        If a circle is not three numbers, lies outside the image, overlaps another, or holds no
        voxel, if the sheet has another number of tubes, or if the unit is voxels that are not
        square.
    """
    table = as_sheet(sheet)
    numbers: list[int] | None = None
    given: Any = circles
    if isinstance(circles, (str, Path)):
        listed = read_circles(circles, unit)
        numbers, given, unit = listed.tubes, listed.circles, listed.unit
        margin_mm = listed.margin_mm if margin_mm is None else margin_mm
    margin_mm, unit = margin_mm or 0.0, unit or "mm"
    try:
        array = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.ndim != 2 or array.shape[1:] != (3,) or not np.isfinite(array).all():
        raise InputError(
            "not a list of [x, y, radius]", field="circles", expected=f"numbers of {unit}"
        )
    if unit not in ("mm", "voxels"):
        raise InputError(f"{unit!r}", field="unit", expected="mm or voxels")
    check_margin(margin_mm)
    if table is None:
        table = empty_sheet(range(1, len(array) + 1) if numbers is None else numbers)
    table = checked_sheet(table)
    if len(table) != len(array):
        raise InputError(
            f"{len(array)} circles for {len(table)} tubes in the sheet",
            field="circles",
            expected="one circle per row of the sheet, in its order",
        )
    if numbers is not None:
        odd = sorted(set(numbers) ^ set(table["tube"]))
        if odd:
            raise InputError(
                f"tube {odd[0]} is in one of circles and sheet, not in both",
                field="circles",
                expected="the tubes of the sheet",
            )
        array = array[[numbers.index(tube) for tube in table["tube"]]]
    if unit == "voxels":
        dx, dy, _ = voxel_size(series.affine)
        if abs(dx - dy) > 1e-3 * dx:
            raise InputError(
                f"voxels of {dx:.4g} × {dy:.4g} mm: a radius in voxels is no circle",
                field="circles_unit",
                expected="mm where voxels are not square",
            )
        array = array * dx
    paths = np.repeat(array[:, None], series.grid[2], axis=1)
    return Tubes(
        painted(series, paths, table, margin_mm),
        series.affine,
        table,
        circles=array,
        margin_mm=margin_mm,
        source="circles",
    ).seen_in(series)


def check_margin(margin_mm: float) -> None:
    """Raise `InputError` unless a margin is 0 mm or more."""
    if not 0 <= margin_mm < np.inf:
        raise InputError(f"{margin_mm:g} mm", field="margin_mm", expected="0 or more")


def painted(
    series: Series, paths: NDArray[np.float64], sheet: pd.DataFrame, margin_mm: float
) -> NDArray[np.int32]:
    """Label image of circles (tubes, z, 3) in mm, NaN where a tube is not."""
    dx, dy, _ = voxel_size(series.affine)
    nx, ny, _ = series.grid
    x, y = np.arange(nx)[:, None] * dx, np.arange(ny)[None, :] * dy
    labels = np.zeros(series.grid, dtype=np.int32)
    for number, path in zip(sheet["tube"], paths, strict=True):
        for z in np.flatnonzero(np.isfinite(path).all(axis=1)):
            cx, cy, radius = path[z]
            inside = (x - cx) ** 2 + (y - cy) ** 2 <= max(radius - margin_mm, 0) ** 2
            outside = min(cx + dx, cy + dy, nx * dx - cx, ny * dy - cy) < radius
            if outside or radius <= margin_mm or not inside.any():
                raise InputError(
                    f"circle of tube {number} at ({cx:g}, {cy:g}) mm, radius {radius:g} mm, "
                    + ("reaches out of the image" if outside else "holds no voxel"),
                    field="circles",
                    expected=f"circles within {(nx - 1) * dx:.4g} × {(ny - 1) * dy:.4g} mm",
                )
            taken = labels[inside, z]
            if taken.any():
                raise InputError(
                    f"circles of tubes {taken[taken > 0][0]} and {number} overlap", field="circles"
                )
            labels[inside, z] = number
    return labels


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
