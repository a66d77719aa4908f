"""Files and folders of scans: read one series, read them all, or say what is there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .geometry import Affine, voxel_size
from .images import Image, LeftOut, Polarity, polarity_of, stack_voxels, stacked
from .jupyter import Shown
from .scans import Scan, Times, load, scans
from .series import SWEEPABLE, Protocol, Series, kind_of, range_text
from .units import QUANTITIES


def read(
    path: str | Path,
    *,
    series: int | None = None,
    te: Sequence[float] | None = None,
    ti: Sequence[float] | None = None,
    tr: Sequence[float] | None = None,
    fa: Sequence[float] | None = None,
    polarity: Polarity | None = None,
) -> Series:
    """Read the one series in a file or folder.

    Parameters
    ----------
    path : str or Path
        DICOM or NIfTI; folders are searched to the bottom.
    series : int, optional
        Number of the series in :func:`inspect`, where there are several.
    te, ti, tr : sequence of float, optional
        Echo, inversion and repetition times in s instead of those of the files: one per image, in
        the order they were taken, or a single one for all.
    fa : sequence of float, optional
        Flip angles in degrees, likewise.
    polarity : {"magnitude", "signed"}, optional
        Whether negative signal means inverted magnetisation, instead of what the files say.

    Returns
    -------
    Series

    Raises
    ------
    InputError
        If there is nothing to fit, or more than one series and none chosen; if a file is broken;
        if settings or slices are missing, wrong or repeated.
    """
    path = Path(path)
    given = {"TE": te, "TI": ti, "TR": tr, "FA": fa}
    times = {name: values for name, values in given.items() if values is not None}
    content = _searched(path)
    found = content.scans(times)
    scan = _chosen(found, path, series) if series is not None else _only(found, path, content)
    if scan.plan is None:
        raise scan.error or InputError("cannot be read", path=path)
    return load(scan.plan, path, polarity)


def read_all(path: str | Path) -> list[Series]:
    """Read every series in a file or folder that can be fitted.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    list of Series
        Numbered from 1 as in :func:`inspect`, those that cannot be fitted left out.

    Raises
    ------
    InputError
        If there is none, or a file is broken.
    """
    path = Path(path)
    content = _searched(path)
    found = content.scans()
    readable = [scan.plan for scan in found if scan.plan is not None]
    if not readable:
        raise _nothing(found, path, content)
    return [load(plan, path) for plan in readable]


def read_image(path: str | Path) -> tuple[NDArray[np.float64], Affine]:
    """Read one image without a sweep: a file, or a folder with its slices.

    Returns
    -------
    voxels : ndarray of shape (x, y, z)
        In the scanner's linear units.
    affine : ndarray of shape (4, 4)
        Voxel → mm, RAS.

    Raises
    ------
    InputError
        If there is no image, or more than one.
    """
    path = Path(path)
    content = _searched(path)
    if not content.images:
        raise _nothing([], path, content)
    level, affine = stacked(content.images, path)
    if len(level) > max(level) + 1:
        raise InputError(
            f"{len(level)} images of {max(level) + 1} slice(s)", path=path, expected="one image"
        )
    slices = [content.images[level.index(z)] for z in range(max(level) + 1)]
    return stack_voxels(slices).astype(np.float64), affine


@dataclass(frozen=True, slots=True)
class ScanSummary:
    """One line of :func:`inspect`: what a scan is, or why it cannot be fitted.

    Attributes
    ----------
    number : int
        For ``read(…, series=number)``.
    kind : str or None
        MESE, MEGRE, IRT1, VFA, VTR; None where it is no series.
    protocol : Protocol or None
    shape : (int, int, int, int)
        Voxels along x, y, z, and number of settings (images where it is no series).
    voxel_mm : (float, float, float)
    field_T : float or None
    vendor, source : str
    polarity : str or None
        ``"magnitude"``, ``"signed"``, or None where only the voxels tell.
    files : tuple of str
        Relative to the folder.
    problem : str or None
    """

    number: int
    kind: str | None
    protocol: Protocol | None
    shape: tuple[int, int, int, int]
    voxel_mm: tuple[float, float, float]
    field_T: float | None
    vendor: str
    source: str
    polarity: str | None
    files: tuple[str, ...]
    problem: str | None

    def __repr__(self) -> str:
        x, y, z, n = self.shape
        facts = [
            f"{self.number}: {self.kind or 'not a series'}",
            f"{n} {_sweep(self.protocol)}" if self.protocol else _counted(n, "image"),
            f"{x}×{y}×{z}",
            " × ".join(f"{v:.3g}" for v in self.voxel_mm) + " mm",
            "field not stated" if self.field_T is None else f"{self.field_T:.3g} T",
            self.vendor,
            self.source,
            self.polarity,
            _counted(len(self.files), "file") + self._where,
        ]
        line = ", ".join(fact for fact in facts if fact)
        return f"{line}: {self.problem}" if self.problem else line

    @property
    def _where(self) -> str:
        """The folder that holds all of its files, where it is not the one asked for."""
        folder = os.path.commonpath([Path(file).parent for file in self.files])
        return f" in {Path(folder).as_posix()}" if folder not in ("", ".") else ""

    def to_dict(self) -> dict[str, Any]:
        """For JSON, units in the keys, e.g. ``TE_s``."""
        protocol = self.protocol
        names = [n for n in SWEEPABLE if protocol and getattr(protocol, n) is not None]
        return {
            "number": self.number,
            "kind": self.kind,
            "swept": protocol.swept if protocol else None,
            **{QUANTITIES[name].column: getattr(protocol, name).tolist() for name in names},
            "shape": list(self.shape[:3]),
            "voxel_mm": list(self.voxel_mm),
            "field_T": self.field_T,
            "vendor": self.vendor or None,
            "source": self.source,
            "polarity": self.polarity,
            "n_files": len(self.files),
            "files": list(self.files),
            "problem": self.problem,
        }


@dataclass(frozen=True, slots=True)
class Inspection(Shown):
    """What is in a file or folder.

    Attributes
    ----------
    path : str
        As given.
    rows : tuple of ScanSummary
    ignored : mapping of str to str
        Files that belong to no scan, relative to the folder, and why.
    """

    path: str
    rows: tuple[ScanSummary, ...]
    ignored: Mapping[str, str]

    def __repr__(self) -> str:
        fit = sum(row.problem is None for row in self.rows)
        head = f"Inspection: {Path(self.path).name}, {fit} series to fit"
        if others := len(self.rows) - fit:
            head += f", {others} other"
        if self.ignored:
            head += f", {_counted(len(self.ignored), 'file')} ignored"
        by_reason: dict[str, list[str]] = {}
        for file, why in self.ignored.items():
            by_reason.setdefault(why, []).append(file)
        ignored = [
            f"  ignored: {files[0]}"
            + (f" and {len(files) - 1} more" if len(files) > 1 else "")
            + f": {why}"
            for why, files in by_reason.items()
        ]
        return "\n".join([head, *(f"  {row!r}" for row in self.rows), *ignored])

    def to_dict(self) -> dict[str, Any]:
        """For JSON, units in the keys."""
        return {
            "series": [row.to_dict() for row in self.rows],
            "ignored": [{"file": file, "reason": why} for file, why in self.ignored.items()],
        }


def inspect(path: str | Path) -> Inspection:
    """Say what is in a file or folder, without failing on anything strange in it.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    Inspection
        No patient data, and nothing that the operator wrote.

    Raises
    ------
    InputError
        If there is no such file or folder.
    """
    path = Path(path)
    content = _searched(path, strict=False)
    root = path if path.is_dir() else path.parent
    rows = tuple(_summary(k, s, root) for k, s in enumerate(content.scans(), 1))
    ignored = {_below(f, root): _reason(e, Path(f)) for f, e in content.left_out.items()}
    return Inspection(str(path), rows, ignored)


@dataclass(frozen=True, slots=True)
class _Content:
    """All images below a path, and the files that gave none."""

    path: Path
    images: list[Image]
    left_out: dict[str, InputError]

    def scans(self, times: Times | None = None) -> list[Scan]:
        return scans(self.images, self.path, times)


def _searched(path: Path, strict: bool = True) -> _Content:
    """Read every header below a path; a broken file is an error where strict.

    A file that no scan can miss never is: but of a broken one nobody can say which echo it held.
    """
    if not path.exists():
        raise InputError("there is no such file or folder", path=path)
    content = _Content(path, [], {})
    for file in _files(path):
        try:
            content.images.extend(_images(file))
        except LeftOut as error:
            content.left_out[str(file)] = error
        except InputError as error:
            if strict:
                raise
            content.left_out[str(file)] = error
    return content


def _files(path: Path) -> Iterator[Path]:
    """The file itself, or all files below a folder but hidden ones, ``e2`` before ``e10``."""
    if not path.is_dir():
        yield path
        return
    for folder, below, names in os.walk(path):
        below[:] = sorted((n for n in below if not n.startswith(".")), key=_natural)
        for name in sorted(names, key=_natural):
            # A sidecar is read with its image.
            if not name.startswith(".") and not name.lower().endswith(".json"):
                yield Path(folder, name)


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _images(file: Path) -> list[Image]:
    """The images of one file, by the reader of its format, which is imported when needed."""
    if file.name.lower().endswith((".nii", ".nii.gz")):
        from . import nifti

        found = nifti.images(file)
        if not found:
            raise LeftOut("a map, a mask or labels", path=file)
        return found
    from . import dicom

    try:
        return dicom.images(file)
    except OSError as error:
        raise InputError(f"cannot be opened ({error.strerror})", path=file) from None


def _chosen(found: list[Scan], path: Path, number: int) -> Scan:
    if not 1 <= number <= len(found):
        raise InputError(
            f"no series {number}", path=path, field="series", expected=f"1 to {len(found)}"
        )
    return found[number - 1]


def _only(found: list[Scan], path: Path, content: _Content) -> Scan:
    readable = [scan for scan in found if scan.plan is not None]
    if len(readable) > 1:
        listed = "; ".join(
            f"{k}: {_told(scan)}" for k, scan in enumerate(found, 1) if scan.plan is not None
        )
        raise InputError(
            f"{len(readable)} series ({listed})",
            path=path,
            expected="one",
            hint="choose with --series, or series = <number>",
        )
    if not readable:
        raise _nothing(found, path, content)
    return readable[0]


def _nothing(found: list[Scan], path: Path, content: _Content) -> InputError:
    """Why there is nothing to fit: the reason itself where there is but one."""
    reasons = [scan.error for scan in found if scan.error]
    reasons = reasons or list(content.left_out.values())
    if len(reasons) == 1:
        return reasons[0]
    listed = "; ".join(f"{k}: {error.found}" for k, error in enumerate(reasons[:8], 1))
    return InputError(
        "nothing to fit here" + (f" ({listed})" if listed else ""),
        path=path,
        expected="DICOM or NIfTI images that sweep one of TE, TI, TR, FA",
    )


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _sweep(protocol: Protocol) -> str:
    """What was swept, e.g. ``TE 10 … 160 ms``."""
    return f"{protocol.swept} {range_text(protocol.swept, protocol.times)}"


def _told(scan: Scan) -> str:
    plan = scan.plan
    if plan is None:
        return scan.error.found if scan.error else ""
    kind = kind_of(plan.protocol, plan.table[0][0].sequence)
    return f"{kind}, {len(plan.protocol)} {_sweep(plan.protocol)}"


def _summary(number: int, scan: Scan, root: Path) -> ScanSummary:
    plan, first = scan.plan, scan.images[0]
    level, affine = [0], first.affine
    try:
        level, affine = stacked(scan.images, root)
    except InputError as error:
        problem: str | None = _reason(error, root)
    else:
        problem = _reason(scan.error, root) if scan.error else None
    files = tuple(dict.fromkeys(_below(image.file, root) for image in scan.images))
    slices = first.shape[2] * (max(level) + 1)
    return ScanSummary(
        number=number,
        kind=kind_of(plan.protocol, first.sequence) if plan else None,
        protocol=plan.protocol if plan else None,
        shape=(*first.shape[:2], slices, len(plan.protocol) if plan else len(scan.images)),
        voxel_mm=voxel_size(affine),
        field_T=first.field_T,
        vendor=first.vendor,
        source=first.source,
        polarity=polarity_of(first),
        files=files,
        problem=problem,
    )


def _reason(error: InputError, root: Path) -> str:
    """An error told with its file relative to the folder."""
    place = None if error.path is None else _below(error.path, root)
    local = InputError(
        error.found,
        path=None if place in (None, ".") else place,
        field=error.field,
        expected=error.expected,
        hint=error.hint,
    )
    return str(local)


def _below(file: str, root: Path) -> str:
    path = Path(file)
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
