"""Bruker ParaVision reconstructions as `Image`s. The only module that knows brukerapi."""

from __future__ import annotations

import math
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from brukerapi.exceptions import InvalidJcampdxFile, JcampdxFileError, JcampdxVersionError
from brukerapi.jcampdx import JCAMPDX
from numpy.typing import NDArray

from . import visupars
from .errors import InputError
from .images import Image, LeftOut, vendor_of
from .standins import check_fetched, dangling
from .visupars import PARAMETERS, Header

_RECORD = re.compile(r"^##\$?(\w+)=", re.MULTILINE)
_COMMENT = re.compile(r"^\$\$.*\n?", re.MULTILINE)
# ParaVision 360 writes equal values once, "@5*(0.5)"; what it repeats holds no other repeat.
_REPEATED = re.compile(r"@(\d+)\*\(((?:<[^<>@]*>|\([^()@]*\)|[^()<>@])*+)\)")
_REPEAT = re.compile(r"@\d+\*\(")
_WORD = re.compile(r"<[^<>]*>|[^\s<]+|<.*")
_DEEP = re.compile(r"(?:\([^()]*){5}")  # structures hold structures, but not without end
_WIDE = 1 << 18  # characters of a table whose words are all as wide as its widest
# Characters that the repeats of a file may be written out to, whatever its images are, and beside
# many images. A forged count asks for all the memory there is.
_FEW_REPEATED, _MOST_REPEATED = 1 << 18, 1 << 24
_LARGEST_TEXT = 64 << 20  # bytes
_GARBLED = (
    *(InvalidJcampdxFile, JcampdxFileError, JcampdxVersionError),
    *(AttributeError, IndexError, KeyError, OverflowError, RecursionError, TypeError, ValueError),
)
_FITTED = re.compile(r"T([12])( ?\*| ?star)? relaxation time", re.IGNORECASE)


def images(path: str | Path) -> list[Image]:
    """The frames of a ``2dseq`` file with their settings, before any voxel is read.

    Parameters
    ----------
    path : str or Path
        ``<study>/<scan>/pdata/<n>/2dseq`` of ParaVision 5, 6 or 360. Its parameters come from
        ``visu_pars`` beside it, and what that lacks from ``reco`` and the scan's ``acqp``. Only
        those of physics and geometry are read, none about a person.

    Returns
    -------
    list of Image
        One per frame, in the file's order: a slice, or a volume of a 3-D scan. What ParaVision
        fitted itself has a ``problem``. A time or angle that is not a possible number, or of which
        nobody can say which frame it belongs to, is kept in ``Image.faults``.

    Raises
    ------
    LeftOut
        If it holds spectra.
    InputError
        If it is empty, cut off or a pointer to a file that was never fetched, if ``visu_pars`` is
        missing or garbled, or if its size, geometry or scaling cannot be used.
    """
    return _frames(_header(Path(path)))


def fits(path: str | Path) -> dict[str, tuple[list[Image], str]]:
    """The relaxation times that ParaVision fitted, as it stored them.

    Parameters
    ----------
    path : str or Path
        A ``2dseq`` file.

    Returns
    -------
    dict of str to (list of Image, str)
        For T1, T2, T2star the slices or the volume, and the unit that VisuCoreDataUnits states.
        Empty where nothing was fitted: a scan.

    Raises
    ------
    InputError
        See :func:`images`.
    """
    header = _header(Path(path))
    if not visupars.problem(header).startswith("a vendor's fit"):
        return {}
    comments = header.words_per_frame("VisuFGElemComment")
    units = header.words_per_frame("VisuCoreDataUnits")
    found: dict[str, tuple[list[Image], str]] = {}
    for image, comment, unit in zip(_frames(header), comments, units, strict=True):
        if match := _FITTED.fullmatch(comment):
            quantity = f"T{match[1]}" + ("star" if match[2] else "")
            found.setdefault(quantity, ([], unit))[0].append(image)
    return found


def _frames(header: Header) -> list[Image]:
    path = header.path
    grid, kind, backwards = (
        visupars.shape(header),
        visupars.stored_type(header),
        visupars.is_reversed(header),
    )
    _check_size(header, grid, kind)
    scaling = visupars.scaling(header)
    settings, origin, faults = visupars.settings(header)
    components, affines = visupars.components(header), visupars.affines(header)
    problem, rank = visupars.problem(header), visupars.rank(header)
    sequence, field_T = visupars.sequence(header), visupars.field_T(header)
    encoding = visupars.encoding(header)
    sidecars = tuple(str(file) for file in (path.with_name("visu_pars"), *_others(header)))
    return [
        Image(
            file=str(path),
            settings=settings[k],
            shape=grid,
            affine=affines[k],
            load=partial(_voxels, path, kind, k, grid, float(slope), float(offset), backwards),
            origin={**origin, "signed": components[k][1]} if components[k][0] else origin,
            component=components[k][0],
            sequence=sequence,
            field_T=field_T,
            vendor=vendor_of("Bruker"),
            source="Bruker",
            acquisition=str(path.parent),
            name=header.word("VisuAcquisitionProtocol"),
            order=(*rank, float(k)),
            problem=problem,
            faults=faults,
            sidecars=sidecars,
            number=k,
            encoding=encoding,
        )
        for k, (slope, offset) in enumerate(scaling)
    ]


def _header(path: Path) -> Header:
    """What visu_pars says, and what only the files of the scan say where it does not."""
    check_fetched(path)
    stored = path.with_name("visu_pars")
    check_fetched(stored)
    if not stored.is_file():
        raise InputError(
            "no visu_pars beside it",
            path=path,
            expected="the parameters of the reconstruction",
            hint="copy the whole scan folder, as ParaVision keeps it",
        )
    header = Header(path, _parameters(stored, path))
    if not visupars.is_spatial(header):
        raise LeftOut("spectra or time courses, no images", path=path)
    extra: dict[str, Any] = {}
    for file in _others(header):
        check_fetched(file)
        extra |= _parameters(file, path)
    return Header(path, extra | dict(header.values))


def _others(header: Header) -> list[Path]:
    """Files to ask for what visu_pars lacks."""
    path, lacking = header.path, []
    if not header.words("VisuAcqRepetitionTime"):
        lacking.append(visupars.scan_of(path) / "acqp")
    if not header.words("VisuCoreFrameType"):
        lacking.append(path.with_name("reco"))
    return [file for file in lacking if file.is_file() or dangling(file)]


def _parameters(file: Path, images: Path) -> dict[str, Any]:
    """The parameters of a file that are on the allow-list; nothing else of it is parsed."""
    try:
        # Each frame has a few values and hundreds of voxels: repeats stay below those.
        room = min(max(images.stat().st_size, _FEW_REPEATED), _MOST_REPEATED)
        if file.stat().st_size > _LARGEST_TEXT:
            raise InputError("too large to be a list of parameters", path=file)
        # ParaVision before 360 wrote names of people in whatever encoding its console had.
        text = _COMMENT.sub("", file.read_bytes().decode("utf-8", errors="replace"))
    except OSError as error:
        raise InputError(f"cannot be opened ({error.strerror})", path=file) from None
    starts = list(_RECORD.finditer(text))
    if not starts:
        raise InputError("not a list of parameters", path=file, expected="JCAMP-DX")
    values: dict[str, Any] = {}
    ends = [record.start() for record in starts[1:]] + [len(text)]
    for record, end in zip(starts, ends, strict=True):
        name, body = record[1], text[record.start() : end].split("\n##")[0].rstrip()
        if name not in PARAMETERS:
            continue
        repeats = [(int(times[:20]), value) for times, value in _REPEATED.findall(body)]
        room -= sum(times * (len(value) + 1) for times, value in repeats)
        if room < 0:
            raise InputError("more values than a scan can have", path=file, field=name)
        if len(repeats) < len(_REPEAT.findall(body)):
            raise InputError("repeats within repeats", path=file, field=name, expected="@5*(0.5)")
        words = _WORD.findall(re.sub(r"\r?\n", "", body))
        count = len(words) + sum(times for times, _ in repeats)
        widest = max(map(len, words))
        try:
            if _DEEP.search(body) or count * widest > max(_WIDE, 64 * count):
                raise InvalidJcampdxFile("it would take the memory of all there is")
            _, parameter = JCAMPDX.handle_jcampdx_line(body, None)
            values[name] = parameter.value
        except _GARBLED:
            raise InputError(
                "cannot be read as JCAMP-DX", path=file, field=name, hint="copy the scan again"
            ) from None
    return values


def _check_size(header: Header, grid: tuple[int, int, int], kind: np.dtype[Any]) -> None:
    """Raise unless the file holds as many voxels as its parameters say."""
    path, wanted = header.path, math.prod(grid) * header.frames * kind.itemsize
    try:
        stored = path.stat().st_size
    except OSError as error:
        raise InputError(f"cannot be opened ({error.strerror})", path=path) from None
    if stored != wanted:
        size = "×".join(str(n) for n in (*grid, header.frames))
        what = "an empty file" if stored == 0 else f"{stored} bytes"
        if 0 < stored < wanted:
            what = f"cut off: {what}"
        raise InputError(
            what,
            path=path,
            expected=f"{wanted} bytes, {size} voxels of {8 * kind.itemsize} bits",
            hint="copy the scan again, or delete it",
        )


def _voxels(
    path: Path,
    kind: np.dtype[Any],
    number: int,
    grid: tuple[int, int, int],
    slope: float,
    offset: float,
    backwards: bool,
) -> NDArray[np.float32]:
    """One frame (x, y, z) in linear units; the others are not read."""
    count = math.prod(grid)
    try:
        stored = np.fromfile(path, kind, count, offset=number * count * kind.itemsize)
    except OSError as error:
        raise InputError(f"cannot be opened ({error.strerror})", path=path) from None
    if stored.size != count:
        raise InputError("cut off", path=path, hint="copy the scan again, or delete it")
    voxels = stored.reshape(grid, order="F") * slope + offset
    return (voxels[:, :, ::-1] if backwards else voxels).astype(np.float32)
