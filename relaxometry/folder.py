"""Files and folders of scans: read one series, or read them all."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .archive import inside, is_archive, renamed, unpacked
from .dicomheader import starts_as_dicom
from .errors import InputError
from .geometry import Affine
from .images import Image, LeftOut, stack_voxels, stacked
from .plan import Repeats, Times, load
from .polarity import Polarity
from .recall import Recall
from .scans import Scan, scans
from .series import Protocol, Series, kind_of, range_text
from .standins import check_fetched
from .units import seconds
from .visupars import in_study


def read(
    path: str | Path,
    *,
    series: int | None = None,
    te: Sequence[float | str] | None = None,
    ti: Sequence[float | str] | None = None,
    tr: Sequence[float | str] | None = None,
    fa: Sequence[float] | None = None,
    polarity: Polarity | None = None,
    repeats: Repeats | None = None,
) -> Series:
    """Read the one series in a file or folder.

    Parameters
    ----------
    path : str or Path
        DICOM, NIfTI or a Bruker ParaVision study; folders are searched to the bottom, and a zip
        archive is one.
    series : int, optional
        Number of the series in :func:`inspect`, where there are several.
    te, ti, tr : sequence of float or str, optional
        Echo, inversion and repetition times instead of those of the files: numbers in s, or text
        with its unit (``"10 ms"``); one per image, in the order they were taken, or a single one
        for all.
    fa : sequence of float, optional
        Flip angles in degrees, likewise.
    polarity : {"magnitude", "signed"}, optional
        Whether negative signal means inverted magnetisation, instead of what the files say or,
        where they say nothing, the voxels show (see :class:`Series`).
    repeats : {"mean", "separate"}, optional
        What becomes of several images of one place at one setting: their mean, or a point each. By
        default they are an error: averages are never taken silently.

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
    _check_repeats(repeats)
    given = {"TE": te, "TI": ti, "TR": tr, "FA": fa}
    times = {name: _in_s(name, values) for name, values in given.items() if values is not None}
    content = searched(path)
    found = content.scans(times, repeats)
    scan = _chosen(found, path, series) if series is not None else _only(found, path, content)
    if scan.plan is None:
        raise scan.error or InputError("cannot be read", path=path)
    return load(scan.plan, path, polarity)


def read_all(path: str | Path, *, repeats: Repeats | None = None) -> list[Series]:
    """Read every series in a file or folder that can be fitted.

    Parameters
    ----------
    path : str or Path
    repeats : {"mean", "separate"}, optional
        As in :func:`read`.

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
    _check_repeats(repeats)
    content = searched(path)
    found = content.scans(repeats=repeats)
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
    content = searched(path)
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
class Content:
    """All images below a path, and the files that gave none."""

    path: Path
    images: list[Image]
    left_out: dict[str, InputError]

    def scans(self, times: Times | None = None, repeats: Repeats | None = None) -> list[Scan]:
        return scans(self.images, self.path, times, repeats)


def searched(path: Path, strict: bool = True) -> Content:
    """Read every header below a path; a broken file is an error where strict.

    A file that no scan can miss never is: but of a broken one nobody can say which echo it held.
    """
    if not path.exists():
        raise InputError("there is no such file or folder", path=path)
    if is_archive(path):
        return _unzipped(path, strict)
    content = Content(path, [], {})
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


def _unzipped(path: Path, strict: bool) -> Content:
    """The content of an archive, under the names that it has there."""
    try:
        folder = unpacked(path)
    except InputError as error:
        if strict:
            raise
        return Content(path, [], {str(path): error})
    try:
        content = searched(folder, strict)
    except InputError as error:
        raise error.at(inside(error.path or "", folder, path)) from None
    left_out = {inside(f, folder, path): error for f, error in content.left_out.items()}
    left_out = {file: error.at(file) for file, error in left_out.items()}
    return Content(path, [renamed(i, folder, path) for i in content.images], left_out)


def _files(path: Path) -> Iterator[Path]:
    """The file itself, or all files below a folder but hidden ones, ``e2`` before ``e10``."""
    if not path.is_dir():
        yield path
        return
    for folder, below, names in os.walk(path):
        below[:] = sorted((n for n in below if not n.startswith(".")), key=_natural)
        bruker = in_study(Path(folder))
        for name in sorted(names, key=_natural):
            # A sidecar is read with its image.
            if name.startswith(".") or name.lower().endswith(".json"):
                continue
            # ParaVision's parameters and raw data are read with its images, or not at all.
            if not bruker or name == "2dseq" or _is_image(Path(folder, name)):
                yield Path(folder, name)
        if bruker and "2dseq" not in names and Path(folder).parent.name == "pdata":
            yield Path(folder, "2dseq")  # it is missed


def _is_image(file: Path) -> bool:
    """Whether a file in a Bruker folder is an image in another format, as ParaVision exports."""
    if file.name.lower().endswith((".nii", ".nii.gz", ".dcm")):
        return True
    try:
        return starts_as_dicom(file)
    except OSError:
        return True  # to be reported by the reader


def _natural(name: str) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _images(file: Path) -> list[Image]:
    """The images of one file, by the reader of its format, which is imported when needed."""
    if file.exists() and not file.is_file():
        raise InputError("neither a file nor a folder", path=file, hint="move it away")
    check_fetched(file)
    if file.name.lower().endswith((".nii", ".nii.gz")):
        from . import nifti

        found = nifti.images(file)
        if not found:
            raise LeftOut("a map, a mask or labels", path=file)
        return found
    if file.name == "2dseq":
        if not file.exists():
            raise InputError(
                "missing: the parameters of its scan are here, its images are not",
                path=file,
                hint="copy the scan again",
            )
        from . import bruker

        return bruker.images(file)
    if is_archive(file):
        raise LeftOut("a zip archive: not searched; give it as the path itself", path=file)
    try:
        known = _remembered(file)
    except OSError as error:
        raise InputError(f"cannot be opened ({error.strerror})", path=file) from None
    if isinstance(known, InputError):
        raise known.with_traceback(None)
    return known


def _dicom(file: Path) -> list[Image] | InputError:
    """The images of a DICOM file, or why there are none."""
    from . import dicom

    try:
        return dicom.images(file)
    except InputError as error:
        return error


# Who inspects a folder reads it next.
_remembered = Recall(_dicom)


def _in_s(name: str, values: Sequence[float | str]) -> list[float]:
    if isinstance(values, str):
        raise InputError(f"{values!r}", field=name, expected="a list, e.g. ['10 ms', '20 ms']")
    if name == "FA":
        return [float(value) for value in values]
    try:
        return [seconds(value) for value in values]
    except InputError as error:
        raise InputError(error.found, field=name, expected=error.expected) from None


def _check_repeats(repeats: Repeats | None) -> None:
    if repeats not in (None, "mean", "separate"):
        raise InputError(f"{repeats!r}", field="repeats", expected='"mean" or "separate"')


def _chosen(found: list[Scan], path: Path, number: int) -> Scan:
    if not 1 <= number <= len(found):
        raise InputError(
            f"no series {number}", path=path, field="series", expected=f"1 to {len(found)}"
        )
    return found[number - 1]


def _only(found: list[Scan], path: Path, content: Content) -> Scan:
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


def _nothing(found: list[Scan], path: Path, content: Content) -> InputError:
    """Why there is nothing to fit: the reason itself where there is but one."""
    failed = sorted((len(scan.images), k) for k, scan in enumerate(found) if scan.error)
    if failed and (len(failed) == 1 or failed[-1][0] > failed[-2][0]):
        # What stops most of the images is what was asked for; `inspect` tells the rest.
        error = found[failed[-1][1]].error
        if error:
            return error
    reasons = [scan.error for scan in found if scan.error]
    reasons = reasons or list(content.left_out.values())
    if len(reasons) == 1:
        return reasons[0]
    listed = "; ".join(f"{k}: {error.found}" for k, error in enumerate(reasons[:8], 1))
    return InputError(
        "nothing to fit here" + (f" ({listed})" if listed else ""),
        path=path,
        expected="DICOM, NIfTI or Bruker images that sweep one of TE, TI, TR, FA",
    )


def sweep_text(protocol: Protocol) -> str:
    """What was swept, e.g. ``TE 10 … 160 ms``."""
    return f"{protocol.swept} {range_text(protocol.swept, protocol.times)}"


def _told(scan: Scan) -> str:
    plan = scan.plan
    if plan is None:
        return scan.error.found if scan.error else ""
    kind = kind_of(plan.protocol, plan.table[0][0].sequence)
    return f"{kind}, {len(plan.protocol)} {sweep_text(plan.protocol)}"
