"""DICOM files as `Image`s, and a `Series` as DICOM files. The only module that knows pydicom."""

from __future__ import annotations

import re
import struct
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.pixels import pixel_array
from pydicom.uid import (
    UID,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    LegacyConvertedEnhancedMRImageStorage,
    MRImageStorage,
    generate_uid,
)
from pydicom.valuerep import format_number_as_ds

from .errors import GeometryError, InputError
from .geometry import Affine
from .images import Image, NotAnImage
from .series import Sequence_, Series

_PHILIPS_SCALE_SLOPE = (0x2005, 0x100E)
_GE_IMAGE_TYPE = (0x0043, 0x102F)
# All that is ever read: physics, geometry, and what tells one acquisition from another.
_TAGS: list[Any] = [
    "ImageType",
    "ComplexImageComponent",
    "Manufacturer",
    "SeriesInstanceUID",
    "SeriesNumber",
    "InstanceNumber",
    "SeriesDescription",
    "ScanningSequence",
    "SequenceName",
    "EchoTime",
    "InversionTime",
    "RepetitionTime",
    "FlipAngle",
    "MagneticFieldStrength",
    "ImagingFrequency",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "SamplesPerPixel",
    "PixelSpacing",
    "SliceThickness",
    "SpacingBetweenSlices",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "RescaleSlope",
    "RescaleIntercept",
    # Private elements come with the name of their maker, so that pydicom knows their type.
    0x20050010,
    0x2005100E,
    0x00430010,
    0x0043102F,
]
_MHZ_PER_T = 42.5775
# What pydicom raises on files that are cut off or garbled.
_GARBLED = (
    AttributeError,
    EOFError,
    InvalidDicomError,
    KeyError,
    NotImplementedError,
    OSError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)
# No compressed image is larger than this many times its file.
_MOST_INFLATED = 1000
_COMPONENTS = {"MAGNITUDE": "M", "REAL": "R", "IMAGINARY": "I", "PHASE": "P"}
_GE_COMPONENTS = {0: "M", 1: "P", 2: "R", 3: "I"}
_UNFIT_COMPONENTS = {"P": "a phase image", "I": "an imaginary image"}
_UNFIT_TYPES = {
    r"LOCALIZER": "a localiser",
    r"MOSAIC": "a mosaic of slices",
    r"(.*[ _])?MAP|ADC|MPR|(MIN|MAX)?IP|PROJECTION IMAGE|SUBTRACTION": "computed from other images",
}


def is_dicom(path: str | Path) -> bool:
    """Whether a file has the preamble of a DICOM file; nothing else of it is read."""
    with Path(path).open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def images(path: str | Path) -> list[Image]:
    """The images of one DICOM file with their settings, before any pixel is read.

    Parameters
    ----------
    path : str or Path
        A DICOM file. Only tags of physics and geometry are read, none about a person.

    Returns
    -------
    list of Image
        One for a classic MR image.

    Raises
    ------
    NotAnImage
        If it is no MR image, or an enhanced multi-frame one, which cannot be read yet.
    InputError
        If it is cut off or garbled, or its size, geometry or scaling cannot be used. A time or
        angle that is not a number is kept in ``Image.faults``.
    """
    path = Path(path)
    if not is_dicom(path):
        raise NotAnImage("not a DICOM file", path=path)
    with warnings.catch_warnings():
        # pydicom warns of odd values; every number is checked below.
        warnings.simplefilter("ignore")
        try:
            meta = read_file_meta_info(path)
            syntax = UID(str(meta.TransferSyntaxUID))
            content = UID(str(meta.MediaStorageSOPClassUID))
        except _GARBLED as error:
            raise _garbled(path, error) from None
        if content not in _READERS:
            raise NotAnImage(f"not an MR image ({content.name})", path=path)
        if syntax.is_deflated:
            raise InputError("deflated DICOM is not read", path=path, hint="export uncompressed")
        try:
            dataset = pydicom.dcmread(path, specific_tags=_TAGS, stop_before_pixels=True)
            header = {element.tag: element.value for element in dataset}
        except _GARBLED as error:
            raise _garbled(path, error) from None
    return _READERS[content](_Header(path, header, syntax))


def _garbled(path: Path, error: BaseException) -> InputError:
    return InputError(f"cannot be read as DICOM ({type(error).__name__}: {error})", path=path)


class _Header:
    """The values of a file by keyword, every number checked."""

    def __init__(self, path: Path, values: Mapping[int, Any], syntax: UID) -> None:
        self.path, self.values, self.syntax = path, values, syntax

    def get(self, keyword: str) -> Any:
        return self.values.get(pydicom.datadict.tag_for_keyword(keyword) or 0)

    def private(self, tag: tuple[int, int]) -> Any:
        return self.values.get(pydicom.tag.Tag(tag))

    def words(self, keyword: str) -> list[str]:
        value = self.get(keyword)
        if value is None:
            return []
        return [str(value)] if isinstance(value, str) else [str(word) for word in value]

    def numbers(self, keyword: str, count: int) -> NDArray[np.float64] | None:
        """Finite numbers; None where the tag is absent or empty; raises `InputError` else."""
        value = self.get(keyword)
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        values = [value] if np.ndim(value) == 0 else list(value)
        bad = any(
            isinstance(v, (str, bytes)) and not isinstance(v, pydicom.valuerep.DSfloat)
            for v in values
        )
        if bad or len(values) != count or not all(np.isfinite(float(v)) for v in values):
            raise self.error(
                keyword, repr_of(value), f"{count} numbers" if count > 1 else "a number"
            )
        return np.array([float(v) for v in values])

    def number(self, keyword: str) -> float | None:
        values = self.numbers(keyword, 1)
        return None if values is None else float(values[0])

    def positive(self, keyword: str) -> float | None:
        value = self.number(keyword)
        if value is not None and value <= 0:
            raise self.error(keyword, f"{value:g}", "a positive number")
        return value

    def needed(self, keyword: str, count: int) -> NDArray[np.float64]:
        values = self.numbers(keyword, count)
        if values is None:
            raise self.error(keyword, "missing", "a number" if count == 1 else f"{count} numbers")
        return values

    def error(self, keyword: str, found: str, expected: str, hint: str | None = None) -> InputError:
        return InputError(found, path=self.path, field=named(keyword), expected=expected, hint=hint)


def named(keyword: str) -> str:
    """A keyword with its tag, e.g. ``EchoTime (0018,0081)``."""
    tag = pydicom.tag.Tag(keyword)
    return f"{keyword} ({tag.group:04X},{tag.element:04X})"


def repr_of(value: Any) -> str:
    return repr(value) if isinstance(value, str) else str(value)
