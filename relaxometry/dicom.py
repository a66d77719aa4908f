"""DICOM files as `Image`s."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.encaps import get_frame, parse_basic_offsets, parse_fragments
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from . import dicomheader, multiframe
from .codestream import MOST_OF_RLE, cut_off, holds_rle, size_of
from .dicomheader import TAGS, Header
from .dicomparts import UNDEFINED, DicomFile, Items, known_name, parsed, unheard
from .errors import InputError
from .images import Image, LeftOut

# What pydicom raises on files that are cut off or garbled.
_GARBLED = (
    *(AttributeError, BytesLengthException, EOFError, InvalidDicomError, KeyError),
    *(
        NotImplementedError,
        OSError,
        OverflowError,
        RecursionError,
        TypeError,
        ValueError,
        struct.error,
    ),
)
_CLASSIC = uid.MRImageStorage
_READ = {
    _CLASSIC: "classic DICOM",
    uid.EnhancedMRImageStorage: "enhanced DICOM",
    uid.LegacyConvertedEnhancedMRImageStorage: "enhanced DICOM converted from classic",
}
_EXCHANGED = (
    "PixelSpacing (0028,0030) taken as [between columns, between rows], as ParaVision has it"
)
_ENCODINGS = {
    uid.ImplicitVRLittleEndian: "implicit little endian",
    uid.ExplicitVRLittleEndian: "explicit little endian",
    uid.ExplicitVRBigEndian: "explicit big endian",
    uid.RLELossless: "RLE",
    uid.JPEGBaseline8Bit: "JPEG, lossy",
    uid.JPEGExtended12Bit: "JPEG, lossy",
    uid.JPEGLossless: "JPEG lossless",
    uid.JPEGLosslessSV1: "JPEG lossless",
    uid.JPEGLSLossless: "JPEG-LS lossless",
    uid.JPEGLSNearLossless: "JPEG-LS, lossy",
    uid.JPEG2000Lossless: "JPEG 2000 lossless",
    uid.JPEG2000: "JPEG 2000",  # lossy or not: only its codestream knows
}
# No compressed image is larger than this many times its file.
_MOST_INFLATED = 1000
_PIXELS = {
    0x7FE00008: "FloatPixelData",
    0x7FE00009: "DoubleFloatPixelData",
    0x7FE00010: "PixelData",
}
# Where each frame starts in compressed pixels, and its length.
_OFFSETS, _LENGTHS = 0x7FE00001, 0x7FE00002
_WANTED = {*TAGS.values(), *multiframe.WANTED, _OFFSETS, _LENGTHS}
_KEPT = (multiframe.SHARED, multiframe.PER_FRAME)


def images(path: str | Path) -> list[Image]:
    """The images of one DICOM file with their settings, before any pixel is read.

    Parameters
    ----------
    path : str or Path
        A DICOM file. Only tags of physics and geometry are read, none about a person.

    Returns
    -------
    list of Image
        One for a classic MR image, one for each frame of an enhanced one.

    Raises
    ------
    LeftOut
        If it is no MR image, a colour picture, or computed from others and cannot be used.
    InputError
        If it is cut off or garbled, or its size, geometry or scaling cannot be used. A time or
        angle that is not a possible number is kept in ``Image.faults``.
    """
    path = Path(path)
    with DicomFile(path) as file, unheard():
        if file.size == 0:  # a copy that failed: nobody can say which image it was
            raise InputError(
                "is an empty file", path=path, hint="copy the scan again, or delete it"
            )
        if not dicomheader.starts_as_dicom(path):
            raise LeftOut("not a DICOM or NIfTI file", path=path)
        file.seek(132)
        try:
            meta = read_dataset(file, False, True, stop_when=_behind_meta)
            content, syntax = UID(meta.MediaStorageSOPClassUID), UID(meta.TransferSyntaxUID)
        except _GARBLED as error:
            raise _garbled(path, error) from None
        if content not in _READ:
            raise LeftOut(f"not an MR image ({known_name(content)})", path=path)
        if syntax == uid.DeflatedExplicitVRLittleEndian:
            # A small file may inflate to any size.
            raise InputError("deflated DICOM is not read", path=path, hint="export uncompressed")
        if syntax not in _ENCODINGS:
            raise InputError(
                f"the encoding {known_name(syntax)} is not read",
                path=path,
                field="TransferSyntaxUID (0002,0010)",
                hint="export uncompressed",
            )
        try:
            file.encoded_as(syntax)
            dataset, groups = parsed(file, _WANTED, kept=_KEPT)
            values = {name: dataset[tag].value for name, tag in TAGS.items() if tag in dataset}
            header = Header(path, values, 0, _inflates(syntax))
            if content == _CLASSIC:
                header = multiframe.classic(header, dataset)
            dicomheader.check_grey(header)
            with _dispensable(header):
                room, stored = _stored(file, syntax, values, dataset)
                return _read(replace(header, room=room), content, groups, stored)
        except InputError:
            raise
        except _GARBLED as error:
            raise _garbled(path, error) from None


@contextmanager
def _dispensable(header: Header) -> Iterator[None]:
    """No series misses a picture that was computed from it, so that a broken one is left out."""
    try:
        yield
    except InputError:
        if reason := dicomheader.derived(header):
            raise LeftOut(reason, path=header.path) from None
        raise


def _behind_meta(tag: Any, vr: str | None, length: int) -> bool:
    """Whether the part of a file that says how the rest is written ends here; it is short."""
    return bool(tag.group != 2 or length > 4096)


def _inflates(syntax: UID) -> int:
    """How many times its size in a file a picture may have."""
    if syntax == uid.RLELossless:
        return MOST_OF_RLE
    compressed: bool = syntax.is_compressed
    return _MOST_INFLATED if compressed else 1


def _garbled(path: Path, error: BaseException) -> InputError:
    """Only the kind of error is told: its words may quote what stands in the file, or who."""
    what = f"cut off or garbled: cannot be read as DICOM ({type(error).__name__})"
    return InputError(what, path=path, hint="copy the scan again")


def _read(
    header: Header, content: UID, groups: Mapping[int, Items], stored: _Stored
) -> list[Image]:
    """The images of a file, one for each of its frames."""
    columns, rows, count = dicomheader.shape(header)
    stored.frames, stored.shape = count, (columns, rows, 1)
    if content == _CLASSIC:
        if count > 1:
            raise header.error("NumberOfFrames", f"{count}", "1 in a classic MR image")
        headers: Iterable[Header] = [header]
    else:
        shared, own = (groups.get(tag, ()) for tag in _KEPT)
        headers = multiframe.frames(header, shared, own, count)
    encoding = f"{_READ[content]}, {_ENCODINGS[stored.syntax]}"
    found = []
    left_out = None
    for frame in headers:
        try:
            with _dispensable(frame):
                found.append(_image(frame, stored, encoding))
        except LeftOut as error:
            left_out = error
    if left_out and not found:
        raise left_out
    return found


def _image(header: Header, stored: _Stored, encoding: str) -> Image:
    settings, origin, faults = dicomheader.settings(header)
    component, origin["signed"] = dicomheader.component(header)
    slope, intercept, gain = dicomheader.scaling(header)
    order = [dicomheader.rank(header, keyword) for keyword in ("SeriesNumber", "InstanceNumber")]
    number = (header.frame or 1) - 1
    return Image(
        file=str(header.path),
        settings=settings,
        shape=stored.shape,
        affine=dicomheader.affine(header),
        load=partial(stored.voxels, number, slope, intercept),
        origin=origin,
        component=component,
        sequence=dicomheader.sequence(header),
        field_T=dicomheader.field_T(header),
        vendor=dicomheader.maker(header),
        encoding=encoding,
        acquisition=" ".join(header.words("SeriesInstanceUID")),
        name=" ".join(header.words("SeriesDescription")),
        order=(*order, float(number)),
        problem=dicomheader.problem(header),
        faults=faults,
        placed=header.placed,
        identity=" ".join(header.words("SOPInstanceUID")),
        notes=(_EXCHANGED,) if header.placed and dicomheader.exchanged(header) else (),
        gain=gain,
        number=number,
    )


def _stored(
    file: DicomFile, syntax: UID, values: Mapping[str, Any], dataset: Any
) -> tuple[int, _Stored]:
    """Where the pixels of a file lie, which stands at their tag, and for how many bytes."""
    if file.tell() == file.size:
        raise InputError("cut off, or without pixels", path=file.path)
    tag, length = file.head()
    keyword, offset = _PIXELS[tag], file.tell()
    room = file.size if syntax.is_compressed else min(length, file.size - offset)
    if (length == UNDEFINED) is not syntax.is_compressed:
        raise InputError(
            "pixels are not stored as the file says",
            path=file.path,
            field="TransferSyntaxUID (0002,0010)",
            hint="export uncompressed",
        )
    bits = values.get("BitsAllocated")
    options = {
        "pixel_keyword": keyword,
        "rows": values.get("Rows"),
        "columns": values.get("Columns"),
        "samples_per_pixel": 1,
        "photometric_interpretation": values.get("PhotometricInterpretation", "MONOCHROME2"),
        "bits_allocated": bits,
        "bits_stored": values.get("BitsStored", bits),
        "pixel_representation": values.get("PixelRepresentation"),
    }
    table = tuple(dataset[tag].value for tag in (_OFFSETS, _LENGTHS) if tag in dataset)
    return room, _Stored(file.path, syntax, offset, options, table)


@dataclass(eq=False)
class _Stored:
    """The pixels of a file, read frame by frame."""

    path: Path
    syntax: UID
    offset: int
    options: Mapping[str, Any]
    table: tuple[Any, ...]
    frames: int = 1
    shape: tuple[int, int, int] = (0, 0, 0)

    def voxels(self, number: int, slope: float, intercept: float) -> NDArray[np.float32]:
        """One frame as (x, y, 1) in linear units."""
        try:
            with DicomFile(self.path) as file, unheard():
                pixels = self._pixels(file, number)
        except InputError:
            raise
        except RuntimeError:  # what pydicom raises when every decoder has failed
            hint = "copy the scan again, or export it uncompressed"
            raise self._error("they are cut off or garbled", hint) from None
        except OSError as error:
            raise InputError(f"cannot be opened ({error.strerror})", path=self.path) from None
        except _GARBLED as error:
            raise _garbled(self.path, error) from None
        return (pixels.T[..., np.newaxis] * slope + intercept).astype(np.float32)

    def _pixels(self, file: DicomFile, number: int) -> NDArray[Any]:
        """One frame (row, column) as it is stored."""
        options = {**self.options, "number_of_frames": self.frames}
        decoder = get_decoder(self.syntax)
        if self.syntax.is_compressed:
            if not decoder.is_available:
                raise self._error("no decoder is installed", "pip install python-gdcm")
            options["extended_offsets"] = self._places
            file.seek(self.offset)
            self._check(file, number)
        file.seek(self.offset)
        pixels: NDArray[Any] = decoder.as_array(file, index=number, raw=True, **options)[0]
        return pixels

    def _error(self, why: str, hint: str) -> InputError:
        what = f"compressed pixels ({_ENCODINGS[self.syntax]}) cannot be decoded: {why}"
        return InputError(what, path=self.path, hint=hint)

    def _check(self, file: DicomFile, number: int) -> None:
        """Raise unless a compressed frame is whole and of the size that the header says."""
        places = self._places
        stream = get_frame(file, number, number_of_frames=self.frames, extended_offsets=places)
        columns, rows, _ = self.shape
        if self.syntax == uid.RLELossless:
            if not holds_rle(stream, columns * rows, int(self.options["bits_allocated"])):
                raise self._error("they are cut off or garbled", "copy the scan again")
            return
        if cut_off(stream):
            raise self._error("they are cut off", "copy the scan again")
        size = size_of(stream)
        if size is None:
            raise self._error("they are garbled", "copy the scan again")
        if size != (columns, rows):
            columns, rows = size
            raise self._error(f"{columns}×{rows} pixels, unlike the header", "export uncompressed")

    @cached_property
    def _places(self) -> tuple[Any, Any] | None:
        """Offset and length of each frame; None where its own table, or counting, must do."""
        if len(self.table) == 2:
            return self.table[0], self.table[1]
        with DicomFile(self.path) as file:
            file.seek(self.offset)
            if parse_basic_offsets(file):
                return None
            start = file.tell()
            count, fragments = parse_fragments(file)
            if count != self.frames:
                return None
            lengths = []
            for place in fragments:
                file.seek(place + 4)
                lengths.append(int.from_bytes(file.read(4), "little"))
        return [place - start for place in fragments], lengths
