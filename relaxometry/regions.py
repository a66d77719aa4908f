"""Regions of an image by name: a label image with names, ImageJ's outlines, or circles."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cells import number, whole
from .csvtable import read_table
from .errors import GeometryError, InputError
from .geometry import Affine, checked_affine, voxel_size
from .imagej import drawn_regions
from .jupyter import Shown
from .nifti import read_labels

Circles = Mapping[str, Sequence[float]]
_CIRCLE = ("x_mm", "y_mm", "radius_mm")
_SHORT = 40  # letters of a name that are repeated in messages
#: How far, in voxels, a voxel's centre may lie outside the regions' outermost voxels and be theirs.
_BORDER = 0.5


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Regions(Shown):
    """Labelled regions of an image.

    Attributes
    ----------
    labels : ndarray of int32 (x, y, z)
        0 where there is no region.
    affine : ndarray (4, 4)
        Voxel → mm, RAS.
    names : mapping of str to int
        The label of each name; a region may have none.
    source : str
        How they were drawn.
    """

    labels: NDArray[np.int32]
    affine: Affine
    names: Mapping[str, int]
    source: str = "label image"

    def __post_init__(self) -> None:
        labels = np.asarray(self.labels)
        if labels.ndim == 2:
            labels = labels[..., None]
        if labels.ndim != 3 or not np.issubdtype(labels.dtype, np.integer):
            raise GeometryError(
                f"{labels.dtype} of shape {labels.shape}",
                field="regions",
                expected="whole numbers (x, y, z)",
            )
        object.__setattr__(self, "labels", labels.astype(np.int32, copy=False))
        object.__setattr__(self, "affine", checked_affine(self.affine))
        object.__setattr__(self, "names", MappingProxyType(dict(self.names)))

    def label(self, region: str | int, field: str = "region") -> int:
        """The label of a region by its name, or by its label.

        Raises
        ------
        InputError
            If no region is called so, or no voxel has the label.
        """
        if isinstance(region, str):
            if region not in self.names:
                known = ", ".join(name[:_SHORT] for name in self.names) or "labels: none has a name"
                raise InputError(f"no region {region[:_SHORT]!r}", field=field, expected=known)
            label = self.names[region]
        else:
            label = int(region)
        if label < 1 or not (self.labels == label).any():
            known = ", ".join(str(v) for v in np.unique(self.labels[self.labels > 0])[:20])
            raise InputError(
                f"no voxel has label {label}", field=field, expected=f"one of {known or 'none'}"
            )
        return label

    def mask(self, region: str | int, field: str = "region") -> NDArray[np.bool_]:
        """(x, y, z), True in the region; raises as :meth:`label`."""
        found: NDArray[np.bool_] = self.labels == self.label(region, field)
        return found

    def name(self, region: str | int) -> str:
        """What a region is called: its name, else its label as text."""
        if isinstance(region, str):
            return region
        return next((name for name, label in self.names.items() if label == region), str(region))

    def on(self, grid: tuple[int, ...], affine: Affine) -> Regions:
        """The regions on another grid: each of its voxels has the label where its centre lies.

        Parameters
        ----------
        grid : tuple of int
            (x, y, z).
        affine : ndarray (4, 4)
            Of that grid.

        Raises
        ------
        GeometryError
            If the grids have no place in common.
        """
        if grid == self.labels.shape and np.allclose(affine, self.affine, rtol=0, atol=1e-3):
            return self
        step = np.linalg.inv(self.affine) @ affine
        axes = np.meshgrid(*(np.arange(n) for n in grid), indexing="ij", sparse=True)
        index, inside = [], np.ones(grid, dtype=bool)
        for row, n in zip(step[:3], self.labels.shape, strict=True):
            at = sum((row[k] * axes[k] for k in range(3)), start=np.asarray(row[3]))
            # Half a voxel belongs to the outermost; a hair more is rounding.
            inside &= (at > -_BORDER - 1e-6) & (at < n - 1 + _BORDER + 1e-6)
            index.append(np.clip(np.rint(at), 0, n - 1).astype(np.intp))
        if not inside.any():
            raise GeometryError(
                "the regions lie elsewhere than the images",
                field="regions",
                hint="draw them on these images, or convert all with one program",
            )
        labels = np.where(inside, self.labels[tuple(np.broadcast_arrays(*index))], 0)
        return Regions(labels.astype(np.int32), affine, self.names, self.source)

    def __repr__(self) -> str:
        told = [
            f"{self.name(int(label))} {int(n)}"
            for label, n in zip(*np.unique(self.labels, return_counts=True), strict=True)
            if label > 0
        ]
        return f"Regions: {', '.join(told) or 'none'} voxels, {self.source}"


def read_regions(
    path: str | Path | Circles,
    grid: tuple[int, ...] | None = None,
    affine: Affine | None = None,
    names: str | Path | Mapping[str, int] | None = None,
) -> Regions:
    """Regions from a file, or from circles.

    Parameters
    ----------
    path : path, or mapping of str to (x, y, radius)
        A label image (NIfTI); ImageJ's ``.roi`` or ``.zip``; a CSV of circles with the columns
        ``name, x_mm, y_mm, radius_mm`` and, for circles that are in one slice only, ``slice``
        (from 1). Or circles by name: mm along a row and down a column from the centre of the first
        voxel, through all slices.
    grid, affine : tuple (x, y, z) and ndarray (4, 4), optional
        Of the image that outlines and circles were drawn on; a label image has its own.
    names : path or mapping, optional
        Names of labels: a CSV with the columns ``label, name``, or a TOML file with lines
        ``name = label``.

    Returns
    -------
    Regions

    Raises
    ------
    InputError, GeometryError
        If the file cannot be used, regions overlap or hold no voxel, a name is doubled, or names
        are given for what has its own.
    """
    if isinstance(path, (str, Path)):
        kind = "".join(Path(path).suffixes[-2:]).lower()
        if kind.endswith((".nii", ".nii.gz", ".hdr", ".img")):
            labels, own = read_labels(path)
            known = _names(names)
            return Regions(labels, own, known, f"label image {Path(path).name}")
    if names is not None:
        raise InputError(
            "names for regions that have their own",
            field="names",
            expected="names with a label image only",
        )
    if grid is None or affine is None:
        raise InputError(
            "regions without labels, and no image they were drawn on",
            field="regions",
            expected="grid and affine of the image",
        )
    if not isinstance(path, (str, Path)):
        return _painted(_circles_of(path, grid, affine), grid, affine, "circles")
    path = Path(path)
    if path.suffix.lower() in (".roi", ".zip"):
        drawn, how = drawn_regions(path, grid), "drawn in ImageJ"
    elif path.suffix.lower() == ".csv":
        drawn, how = _circles_in(path, grid, affine), f"circles of {path.name}"
    else:
        raise InputError(
            f"a {path.suffix or 'nameless'} file",
            path=path,
            expected="a label image (.nii, .nii.gz), ImageJ's .roi or .zip, or circles (.csv)",
        )
    try:
        return _painted(drawn, grid, affine, how)
    except InputError as error:
        raise error.at(path) from None


def _painted(
    drawn: Iterable[tuple[str, NDArray[np.bool_]]],
    grid: tuple[int, ...],
    affine: Affine,
    how: str,
) -> Regions:
    """Regions of one name are one, as an outline in each slice; others must not overlap."""
    labels, names = np.zeros(grid, dtype=np.int32), dict[str, int]()
    for name, inside in drawn:
        label = names.setdefault(name, len(names) + 1)
        taken = labels[inside]
        taken = taken[(taken > 0) & (taken != label)]
        if taken.size:
            other = next(n for n, v in names.items() if v == taken[0])
            raise InputError(f"regions {other[:_SHORT]} and {name[:_SHORT]} overlap")
        labels[inside] = label
    return Regions(labels, affine, names, how)


def _circles_of(
    circles: Circles, grid: tuple[int, ...], affine: Affine
) -> list[tuple[str, NDArray[np.bool_]]]:
    found = []
    for name, circle in circles.items():
        try:
            x, y, radius = (float(v) for v in circle)
        except (TypeError, ValueError):
            raise InputError(
                f"{circle!r}"[:60],
                field=f"circle {name[:_SHORT]}",
                expected="[x, y, radius] in mm",
            ) from None
        found.append((name, _circle(name, x, y, radius, grid, affine)))
    return found


def _circles_in(
    path: Path, grid: tuple[int, ...], affine: Affine
) -> list[tuple[str, NDArray[np.bool_]]]:
    table = read_table(path, ("name", *_CIRCLE))
    found = []
    try:
        for row in table.to_dict("records"):
            name = str(row["name"])
            if not name:
                raise InputError("no name", field="name", expected="a name in every row")
            x, y, radius = (number(row[key], f"{key} of {name[:_SHORT]}") for key in _CIRCLE)
            inside = _circle(name, x, y, radius, grid, affine)
            if row.get("slice"):
                z = whole(row["slice"], f"slice of {name[:_SHORT]}")
                if z > grid[2]:
                    raise InputError(
                        f"slice {z} of {name[:_SHORT]}", expected=f"1 to {grid[2]}, or none"
                    )
                inside[..., np.arange(grid[2]) != z - 1] = False
            found.append((name, inside))
    except InputError as error:
        raise error.at(path) from None
    return found


def _circle(
    name: str, x: float, y: float, radius: float, grid: tuple[int, ...], affine: Affine
) -> NDArray[np.bool_]:
    dx, dy, _ = voxel_size(affine)
    across, down = np.arange(grid[0])[:, None] * dx, np.arange(grid[1])[None, :] * dy
    inside = (across - x) ** 2 + (down - y) ** 2 <= radius**2
    outside = min(x + dx, y + dy, grid[0] * dx - x, grid[1] * dy - y) < radius
    if not np.isfinite([x, y, radius]).all() or outside or radius <= 0 or not inside.any():
        raise InputError(
            f"({x:g}, {y:g}) mm with radius {radius:g} mm",
            field=f"circle {name[:_SHORT]}",
            expected=f"voxels within {(grid[0] - 1) * dx:.4g} × {(grid[1] - 1) * dy:.4g} mm",
        )
    found: NDArray[np.bool_] = np.broadcast_to(inside[..., None], grid).copy()
    return found


def _names(names: str | Path | Mapping[str, int] | None) -> dict[str, int]:
    if names is None:
        return {}
    if not isinstance(names, (str, Path)):
        return _checked(names.items())
    path = Path(names)
    try:
        if path.suffix.lower() == ".toml":
            return _checked(_toml(path).items())
        table = read_table(path, ("label", "name"))
        rows = zip(table["name"], table["label"], strict=True)
        return _checked((name, whole(label, f"label of {name[:_SHORT]}")) for name, label in rows)
    except InputError as error:
        raise (error if error.path else error.at(path)) from None


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise InputError("no such file", path=path, expected="names of labels") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"not readable as TOML: {error}", path=path) from error


def _checked(pairs: Iterable[tuple[str, Any]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, label in pairs:
        if not name or not isinstance(label, int) or isinstance(label, bool) or label < 1:
            raise InputError(
                f"{str(name)[:_SHORT]!r} = {label!r}"[:80],
                field="names",
                expected="a name and a whole number from 1",
            )
        if name in found or label in found.values():
            raise InputError(
                f"{str(name)[:_SHORT]!r} or label {label} twice",
                field="names",
                expected="one name per label",
            )
        found[str(name)] = label
    return found
