"""ImageJ's regions of interest (``.roi``, RoiSet ``.zip``) → `Tubes`; the only door to roifile.

ImageJ shows an image as it is stored: column = x index, row = y index, the first row on top. Its
coordinates are corners of pixels: pixel i spans i to i + 1. A voxel is in a region when its centre
is.
"""

from __future__ import annotations

import logging
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from roifile import ROI_OPTIONS, ROI_SUBTYPE, ROI_TYPE, ImagejRoi

from .errors import InputError
from .series import Series
from .sheet import checked_sheet, empty_sheet, read_sheet
from .tubes import Tubes

# What it finds odd it writes to the screen; here what matters is an error and the rest is nothing.
logging.getLogger("roifile").addHandler(logging.NullHandler())

# The longest outline ImageJ writes is 65 535 points of 12 bytes.
_MOST_BYTES, _MOST_ROIS = 1 << 20, 1000
_BAD_ZIP = (
    *(zipfile.BadZipFile, zlib.error, EOFError, LookupError, NotImplementedError, OSError),
    *(RuntimeError, ValueError),
)
_BAD_ROI = (ValueError, TypeError, LookupError, OverflowError, AssertionError, struct.error)

_OUTLINES = (ROI_TYPE.POLYGON, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED)
_NAMES = {
    ROI_TYPE.LINE: "a line",
    ROI_TYPE.FREELINE: "a freehand line",
    ROI_TYPE.POLYLINE: "a segmented line",
    ROI_TYPE.ANGLE: "an angle",
    ROI_TYPE.POINT: "a point",
    ROI_TYPE.NOROI: "no region",
}
_NOT_DRAWN = {
    ROI_SUBTYPE.TEXT: "a text",
    ROI_SUBTYPE.ARROW: "an arrow",
    ROI_SUBTYPE.IMAGE: "an image",
}
_SHORT = 40  # characters of a name that are repeated


def tubes_from_rois(
    series: Series, path: str | Path, sheet: pd.DataFrame | str | Path | None = None
) -> Tubes:
    """Tubes from regions of interest drawn in ImageJ or Fiji on an image of the series.

    Parameters
    ----------
    series : Series
        What they were drawn on, with its voxels as ImageJ shows them: column x, row y.
    path : path
        A ``.roi`` file, or the ``.zip`` that the ROI Manager saves. Ovals, rectangles, polygons,
        freehand and traced regions are read. A region with a position lies in that slice, counted
        from 1, one without it in all slices.
    sheet : DataFrame or path, optional
        What is in the tubes. Regions whose names are whole numbers are the tubes of these numbers;
        others are the tubes of the sheet, or 1, 2, …, in the order of the file.

    Returns
    -------
    Tubes
        Measured as drawn; `Tubes.source` says how they were numbered.

    Raises
    ------
    InputError
        If the file cannot be used, a region is no area (a line, a point, a text), is composite,
        rounded or smoothed by a spline, holds no voxel, leaves the image or overlaps another, or if
        the names are numbers in part.
    """
    path = Path(path)
    drawn = drawn_regions(path, series.grid)
    names = [name for name, _ in drawn]
    table = read_sheet(sheet) if isinstance(sheet, (str, Path)) else sheet
    table = None if table is None else checked_sheet(table)
    try:
        by_name = _numbers(names)
        numbers = by_name or (list(range(1, len(drawn) + 1)) if table is None else list(table.tube))
        if len(numbers) != len(drawn):
            raise InputError(
                f"{len(drawn)} regions for {len(numbers)} tubes in the sheet",
                expected="one region per row of the sheet, in its order, or named by its number",
            )
        labels = np.zeros(series.grid, dtype=np.int32)
        for number, (_, inside) in zip(numbers, drawn, strict=True):
            taken = labels[inside]
            if taken.any():
                raise InputError(f"regions of tubes {taken[taken > 0][0]} and {number} overlap")
            labels[inside] = number
    except InputError as error:
        raise error.at(path) from None
    listed = ", ".join(f"{n} = {name[:_SHORT]}" for n, name in zip(numbers, names, strict=True))
    how = "" if by_name else f" and numbered in the order of their file ({listed})"
    return Tubes(
        labels,
        series.affine,
        empty_sheet(sorted(numbers)) if table is None else table,
        source=f"drawn in ImageJ{how}",
    ).seen_in(series)


def drawn_regions(path: str | Path, grid: tuple[int, ...]) -> list[tuple[str, NDArray[np.bool_]]]:
    """The regions of a ``.roi`` or ``.zip`` on a grid: the name of each, and its voxels (x, y, z).

    Raises
    ------
    InputError
        As :func:`tubes_from_rois`, but for numbers and overlaps.
    """
    path = Path(path)
    found = []
    for name, roi in _read(path):
        inside = np.zeros(grid, dtype=bool)
        try:
            inside[..., _slices(roi, grid[2])] = _inside(roi, grid)[..., None]
        except InputError as error:
            raise InputError(
                error.found,
                path=path,
                field=f"region {name[:_SHORT]}",
                expected=error.expected,
                hint=error.hint,
            ) from None
        found.append((name, inside))
    return found


# --- the file ------------------------------------------------------------------------------------


def _read(path: Path) -> list[tuple[str, ImagejRoi]]:
    """The regions in a file, each with its name."""
    if not path.is_file():
        raise InputError("no such file", path=path, expected="a .roi or .zip of ImageJ")
    kind = path.suffix.lower()
    if kind == ".roi":
        with path.open("rb") as stream:
            roi = _decoded(stream.read(_MOST_BYTES + 1), path)
        return [(_plain(roi.name) or path.stem, roi)]
    if kind != ".zip":
        raise InputError(f"a {kind or 'nameless'} file", path=path, expected=".roi or .zip")
    rois = []
    try:
        with zipfile.ZipFile(path) as archive:
            files = [
                one
                for one in archive.infolist()
                # What macOS adds to archives is no region.
                if one.filename.lower().endswith(".roi") and "__MACOSX" not in one.filename
            ]
            if not files or len(files) > _MOST_ROIS:
                raise InputError(
                    f"{len(files)} regions", path=path, expected=f"1 to {_MOST_ROIS} .roi files"
                )
            for one in files:
                if one.file_size > _MOST_BYTES:
                    raise InputError(
                        f"a region of {one.file_size / 1e6:.3g} MB", path=f"{path}/{one.filename}"
                    )
                name = one.filename.replace("\\", "/").rpartition("/")[2][: -len(".roi")]
                roi = _decoded(archive.read(one), f"{path}/{one.filename}")
                rois.append((_plain(name) or roi.name, roi))
    except _BAD_ZIP as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"cannot be unpacked ({str(error) or type(error).__name__})".split("\n")[0],
            path=path,
            hint="save it again with the ROI Manager of ImageJ",
        ) from None
    return rois


def _decoded(data: bytes, path: str | Path) -> ImagejRoi:
    if len(data) > _MOST_BYTES:
        raise InputError("too large for a region", path=path, expected="a .roi of ImageJ")
    try:
        return ImagejRoi.frombytes(data)
    except _BAD_ROI as error:
        raise InputError(
            f"not readable as a region ({error})".split("\n")[0][:120],
            path=path,
            expected="a .roi of ImageJ",
        ) from None


def _plain(text: str) -> str:
    """A name without what cannot be printed."""
    return "".join(c for c in text if c.isprintable()).strip()


def _numbers(names: list[str]) -> list[int] | None:
    """Tube numbers if the names are such; None if none is."""
    is_number = [name.isascii() and name.isdigit() and 0 < int(name[:12]) < 2**31 for name in names]
    if not any(is_number):
        return None
    if not all(is_number):
        raise InputError(
            f"region {names[is_number.index(False)][:_SHORT]} has a name that is no number, "
            "others are numbers",
            expected="every region named by its tube's number, or none",
        )
    numbers = [int(name) for name in names]
    if len(set(numbers)) < len(numbers):
        doubled = next(n for n in numbers if numbers.count(n) > 1)
        raise InputError(f"two regions are named {doubled}", expected="one region per tube")
    return numbers


# --- one region ----------------------------------------------------------------------------------


def _inside(roi: ImagejRoi, grid: tuple[int, ...]) -> NDArray[np.bool_]:
    """(x, y), True where the centre of the voxel is in the region."""
    _check_area(roi)
    if roi.roitype in _OUTLINES:
        outline = np.asarray(roi.coordinates(), dtype=np.float64)
    else:
        outline = np.array(_box(roi), dtype=np.float64)
    if len(outline) < 2 or not np.isfinite(outline).all():
        raise InputError("has no outline", expected="an area")
    low, high = outline.min(axis=0), outline.max(axis=0)
    if (low < 0).any() or (high > grid[:2]).any():
        raise InputError(
            f"reaches out of the image, to ({high[0]:g}, {high[1]:g})"
            if (high > grid[:2]).any()
            else f"reaches out of the image, to ({low[0]:g}, {low[1]:g})",
            expected=f"columns 0 to {grid[0]}, rows 0 to {grid[1]}",
            hint="were they drawn on this series, without binning or turning it?",
        )
    x, y = np.arange(grid[0])[:, None] + 0.5, np.arange(grid[1])[None, :] + 0.5
    if roi.roitype in _OUTLINES:
        inside = _in_polygon(outline, grid)
    elif roi.roitype == ROI_TYPE.OVAL:
        (a, b), (middle_x, middle_y) = (high - low) / 2, (high + low) / 2
        flat = min(a, b) <= 0
        inside = (
            np.zeros(grid[:2], bool)
            if flat
            else ((x - middle_x) / a) ** 2 + ((y - middle_y) / b) ** 2 <= 1
        )
    else:
        inside = (x > low[0]) & (x < high[0]) & (y > low[1]) & (y < high[1])
    if not inside.any():
        raise InputError("holds no voxel", expected="an area of several voxels")
    return inside


def _check_area(roi: ImagejRoi) -> None:
    what = _NOT_DRAWN.get(roi.subtype) or _NAMES.get(roi.roitype)
    if roi.composite:
        what = "composite"
    elif what is None and roi.roitype not in (*_OUTLINES, ROI_TYPE.RECT, ROI_TYPE.OVAL):
        what = "of a kind that is not known"
    elif roi.roitype == ROI_TYPE.RECT and roi.rounded_rect_arc_size > 0:
        what = "a rounded rectangle"
    elif roi.roitype in _OUTLINES and roi.options & ROI_OPTIONS.SPLINE_FIT:
        what = "smoothed by a spline"
    if what:
        raise InputError(
            f"is {what}",
            expected="an oval, rectangle, polygon, freehand or traced region",
            hint="or save a label image and give that",
        )


def _box(roi: ImagejRoi) -> tuple[tuple[float, float], tuple[float, float]]:
    """Two corners of a rectangle or oval."""
    if roi.subpixelrect:
        return (roi.xd, roi.yd), (roi.xd + roi.widthd, roi.yd + roi.heightd)
    return (roi.left, roi.top), (roi.right, roi.bottom)


def _in_polygon(outline: NDArray[np.float64], grid: tuple[int, ...]) -> NDArray[np.bool_]:
    """(x, y), True where a ray from the centre of the voxel crosses the outline an odd number."""
    inside = np.zeros(grid[:2], dtype=bool)
    (x0, y0), (x1, y1) = outline.T, np.roll(outline, -1, axis=0).T
    columns = np.arange(grid[0]) + 0.5
    first, last = np.floor(outline[:, 1].min()), np.ceil(outline[:, 1].max())
    for row in range(int(first), int(min(last, grid[1]))):
        y = row + 0.5
        crossing = (y0 <= y) != (y1 <= y)
        a, b = x0[crossing], x1[crossing]
        at = a + (y - y0[crossing]) / (y1[crossing] - y0[crossing]) * (b - a)
        inside[:, row] = np.searchsorted(np.sort(at), columns) % 2 == 1
    return inside


def _slices(roi: ImagejRoi, n: int) -> Any:
    """The slices a region lies in: its own, or all."""
    at = roi.z_position if roi.z_position > 0 else roi.position
    if n == 1 or at <= 0:  # of a single slice, a position is that of the echo it was drawn on
        return slice(None)
    if at > n:
        raise InputError(
            f"lies in image {at} of a stack",
            expected=f"slice 1 to {n}, or no position for all slices",
            hint="draw on a stack of the slices of one echo, or remove the positions (More » in "
            "the ROI Manager)",
        )
    return slice(at - 1, at)
