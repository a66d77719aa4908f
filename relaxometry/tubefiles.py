"""Tubes as files: labels, circles, the picture to check them by, and a sheet to fill in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .errors import InputError
from .geometry import voxel_size
from .nifti import write_volume
from .plots import as_png, as_svg
from .records import as_csv
from .series import Series
from .settings import PHANTOMS, TubeSettings
from .sheet import as_text, empty_sheet, read_sheet
from .tubes import Tubes
from .whole import whole_folder

MARKER = "overlay.svg"  # by which an earlier result is known
_SHEET = (
    *("tube", "agent", "concentration_mM", "concentration_sd_mM"),
    *("replicate", "condition", "exclude", "reason"),
)
_DECIMALS = 5


def write_tubes(
    tubes: Tubes,
    series: Series,
    folder: str | Path,
    sheet: str | Path | None = None,
    force: bool = False,
) -> Path:
    """Write tubes for a person to check, to fill in and to give back.

    ``labels.nii.gz`` (the number of the tube each voxel is measured for), ``circles.csv`` (where
    circles are known), ``overlay.png`` and ``overlay.svg``, and ``tubes.csv``.

    Parameters
    ----------
    tubes : Tubes
        On the grid of the series.
    series : Series
    folder : path
    sheet : path, optional
        The sheet of these tubes, kept as it is; if absent, ``tubes.csv`` is one to fill in.
    force : bool
        Replace an earlier result, unless its sheet has been filled in and is not the one given.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    InputError
        If the folder exists and may not be replaced, or a tube has no voxel on the grid. Nothing is
        written then.
    """
    folder = Path(folder)
    kept = None if sheet is None else Path(sheet).read_bytes()
    check_sheet_kept(folder, sheet)
    figure = tubes.plot(series)
    with whole_folder(folder, MARKER, force) as beside:
        kind = np.int16 if tubes.labels.max() < 2**15 else np.int32  # as drawing programs keep them
        write_volume(beside / "labels.nii.gz", tubes.labels.astype(kind), tubes.affine)
        if tubes.circles is not None:
            (beside / "circles.csv").write_bytes(as_csv(circle_records(tubes)))
        (beside / "overlay.svg").write_bytes(as_svg(figure))
        (beside / "overlay.png").write_bytes(as_png(figure))
        (beside / "tubes.csv").write_bytes(as_csv(_to_fill_in(tubes)) if kept is None else kept)
    return folder


def way_back(tubes: Tubes) -> str:
    """Which of the files gives the same tubes in a study: circles go through all slices alike."""
    alike = (tubes.labels == tubes.labels[..., :1]).all()
    return "circles.csv" if tubes.circles is not None and alike else "labels.nii.gz"


def next_steps(tubes: Tubes, settings: TubeSettings, folder: Path) -> list[str]:
    """What a person does with the files of a folder, so that a study measures these tubes.

    Parameters
    ----------
    tubes : Tubes
    settings : TubeSettings
        By which they were placed.
    folder : Path
        Where they were written.
    """
    look = f"Check the numbers: {folder / 'overlay.png'}"
    fill = f"Fill in what is in each tube: {folder / 'tubes.csv'}"
    study = "Then in study.toml: [tubes] "
    if tubes.alignment is None:
        way = way_back(tubes)
        notes = [f"note: {note}" for note in tubes.notes]
        return [
            *notes,
            look,
            fill,
            f'{study}sheet = "…/tubes.csv", {way.partition(".")[0]} = "…/{way}"',
        ]
    template = settings.template
    own = isinstance(template, Path)
    way = f'template = "{f"…/{template.name}" if isinstance(template, Path) else template}"'
    if settings.margin_mm is not None:
        way += f", margin_mm = {settings.margin_mm:g}"
    told = [repr(tubes.alignment), *(f"note: {note}" for note in tubes.alignment.notes), look]
    if own or settings.sheet is not None:
        return [*told, fill, f'{study}sheet = "…/tubes.csv", {way}']
    # A sheet would have to be filled in; without one the reference values say what is in the tubes.
    return [
        *told,
        f"{study}{way}",
        f'and what is in them, in place of tubes.csv: [reference] phantom = "{PHANTOMS[0]}", '
        "batch = … (1, 2 or 2.5), [study] temperature_C = …",
    ]


def check_sheet_kept(folder: Path, sheet: str | Path | None) -> None:
    """Raise `InputError` if a folder to be replaced holds a sheet somebody filled in."""
    there = folder / "tubes.csv"
    if sheet is not None or not there.is_file():
        return
    try:
        read = read_sheet(there, filled=False).drop(columns="tube")
        blank = read.equals(empty_sheet(range(len(read))).drop(columns="tube"))
    except InputError:  # half filled in is filled in
        blank = False
    if not blank:
        raise InputError(
            "somebody has filled it in",
            path=there,
            hint="keep it by --sheet with its name, or choose another folder",
        )


def circle_records(tubes: Tubes) -> list[dict[str, Any]]:
    """Rows of ``circles.csv``, by tube number; a radius in voxels only where they are square."""
    assert tubes.circles is not None
    dx, dy, _ = voxel_size(tubes.affine)
    square = abs(dx - dy) <= 1e-3 * dx
    records = []
    for number, (x, y, radius) in sorted(zip(tubes.numbers, tubes.circles.tolist(), strict=True)):
        record = {
            "tube": number,
            "x_mm": x,
            "y_mm": y,
            "radius_mm": radius,
            "margin_mm": tubes.margin_mm,
            "x_voxel": x / dx,
            "y_voxel": y / dy,
            "radius_voxels": radius / dx if square else None,
            "n_voxels": int(tubes.voxels(number).sum()),
        }
        records.append(
            {k: round(v, _DECIMALS) if isinstance(v, float) else v for k, v in record.items()}
        )
    return records


def _to_fill_in(tubes: Tubes) -> list[dict[str, Any]]:
    """Rows of a sheet: the tubes' numbers, and what is known of them."""
    plain = empty_sheet([1]).iloc[0]
    known = tubes.sheet.sort_values("tube").to_dict("records")
    return [
        {
            key: row[key] if key == "tube" or as_text(row[key]) != as_text(plain[key]) else None
            for key in _SHEET
        }
        for row in known
    ]
