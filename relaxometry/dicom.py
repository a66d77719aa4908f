"""DICOM files as `Image`s, and a `Series` as DICOM files. The only module that knows pydicom."""

from __future__ import annotations

import re
import struct
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    UID,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    LegacyConvertedEnhancedMRImageStorage,
    MRImageStorage,
    generate_uid,
)
from pydicom.valuerep import format_number_as_ds

from .errors import InputError
from .geometry import Affine, voxel_size
from .images import KEYWORDS, Image, LeftOut, hint_by_hand
from .series import Sequence_, Series

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
# What pydicom raises on files that are cut off or garbled.
_GARBLED = (
    *(AttributeError, EOFError, InvalidDicomError, KeyError, NotImplementedError, OSError),
    *(OverflowError, RecursionError, TypeError, ValueError, struct.error),
)
# All that is ever read: physics, geometry, and what tells one acquisition from another.
_TAGS = {
    "ImageType": 0x00080008,
    "Manufacturer": 0x00080070,
    "SeriesDescription": 0x0008103E,
    "ComplexImageComponent": 0x00089208,
    "ScanningSequence": 0x00180020,
    "SequenceName": 0x00180024,
    "SliceThickness": 0x00180050,
    "RepetitionTime": 0x00180080,
    "EchoTime": 0x00180081,
    "InversionTime": 0x00180082,
    "ImagingFrequency": 0x00180084,
    "MagneticFieldStrength": 0x00180087,
    "SpacingBetweenSlices": 0x00180088,
    "FlipAngle": 0x00181314,
    "SeriesInstanceUID": 0x0020000E,
    "SeriesNumber": 0x00200011,
    "InstanceNumber": 0x00200013,
    "ImagePositionPatient": 0x00200032,
    "ImageOrientationPatient": 0x00200037,
    "SamplesPerPixel": 0x00280002,
    "NumberOfFrames": 0x00280008,
    "Rows": 0x00280010,
    "Columns": 0x00280011,
    "PixelSpacing": 0x00280030,
    "BitsAllocated": 0x00280100,
    "RescaleIntercept": 0x00281052,
    "RescaleSlope": 0x00281053,
    # Private elements, each with the name of its maker: by that a reader knows their type.
    "GE maker": 0x00430010,
    "GE image type": 0x0043102F,
    "Philips maker": 0x20050010,
    "Philips scale slope": 0x2005100E,
}
_MHZ_PER_T = 42.5775
# No compressed image is larger than this many times its file.
_MOST_INFLATED = 1000
_COMPONENTS = {"M": "M", "R": "R", "I": "I", "P": "P"} | {
    "MAGNITUDE": "M", "REAL": "R", "IMAGINARY": "I", "PHASE": "P"
}  # fmt: skip
_GE_COMPONENTS = {0: "M", 1: "P", 2: "R", 3: "I"}
_UNFIT_TYPES = {
    r"LOCALIZER": "a localiser",
    r"MOSAIC": "a mosaic of slices",
    r"(.*[ _])?MAP|ADC|MPR|MIP|MINIP|PROJECTION IMAGE|SUBTRACTION": "computed from other images",
}
# Bruker says only "research mode", and the method in the name of the sequence.
_BRUKER_SEQUENCES: dict[str, Sequence_] = {
    r"MGE|FLASH|FISP|GEFC|UTE|ZTE": "GE",
    r"MSME|RARE|SE": "SE",
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
    LeftOut
        If it is no MR image, or an enhanced multi-frame one, which cannot be read yet.
    InputError
        If it is cut off or garbled, or its size, geometry or scaling cannot be used. A time or
        angle that is not a possible number is kept in ``Image.faults``.
    """
    path = Path(path)
    if not is_dicom(path):
        raise LeftOut("not a DICOM or NIfTI file", path=path)
    with warnings.catch_warnings():
        # pydicom warns of odd values; those that matter are checked one by one.
        warnings.simplefilter("ignore")
        try:
            meta = read_file_meta_info(path)
            content, syntax = UID(meta.MediaStorageSOPClassUID), UID(meta.TransferSyntaxUID)
        except _GARBLED as error:
            raise _garbled(path, error) from None
        if content not in _READERS:
            raise LeftOut(f"not an MR image ({content.name})", path=path)
        if syntax.is_deflated:
            raise InputError("deflated DICOM is not read", path=path, hint="export uncompressed")
        try:
            dataset = pydicom.dcmread(
                path, specific_tags=list(_TAGS.values()), stop_before_pixels=True
            )
            values = {name: dataset[tag].value for name, tag in _TAGS.items() if tag in dataset}
        except _GARBLED as error:
            raise _garbled(path, error) from None
    return _READERS[content](_Header(path, values, syntax.is_compressed))


def _garbled(path: Path, error: BaseException) -> InputError:
    what = f"{type(error).__name__}: {error}".rstrip(": ")
    return InputError(f"cannot be read as DICOM ({what})", path=path)


def _classic(header: _Header) -> list[Image]:
    """The one image of a classic MR image file."""
    shape = _shape(header)
    settings, origin, faults = _settings(header)
    component, origin["signed"] = _component(header)
    slope, intercept, gain = _scaling(header)
    order = ("SeriesNumber", "InstanceNumber")
    return [
        Image(
            file=str(header.path),
            settings=settings,
            shape=shape,
            affine=_affine(header),
            load=partial(_pixels, header.path, shape, slope, intercept),
            origin=origin,
            component=component,
            sequence=_sequence(header),
            field_T=_field_T(header),
            vendor=" ".join(header.words("Manufacturer")),
            acquisition=" ".join(header.words("SeriesInstanceUID")),
            name=" ".join(header.words("SeriesDescription")),
            order=tuple(_rank(header, keyword) for keyword in order),
            problem=_problem(header),
            faults=faults,
            gain=gain,
        )
    ]


def _enhanced(header: _Header) -> list[Image]:
    raise LeftOut(
        "enhanced multi-frame DICOM is not read yet",
        path=header.path,
        hint="export it as classic DICOM, one file per image, or convert it with dcm2niix",
    )


# One reader per storage class.
_READERS: dict[str, Callable[[_Header], list[Image]]] = {
    MRImageStorage: _classic,
    EnhancedMRImageStorage: _enhanced,
    LegacyConvertedEnhancedMRImageStorage: _enhanced,
}


@dataclass(frozen=True, slots=True)
class _Header:
    """The values of one image by keyword; DICOM libraries do not check numbers, so this does.

    Attributes
    ----------
    path : Path
        File it is from, as the user gave it.
    values : mapping of str to object
        As the library gives them; keys are those of :data:`_TAGS`.
    compressed : bool
        Whether the pixels take less room in the file than in memory.
    """

    path: Path
    values: Mapping[str, Any]
    compressed: bool = False

    def __getitem__(self, keyword: str) -> Any:
        return self.values.get(keyword)

    def words(self, keyword: str) -> list[str]:
        """Words of a code or a name; none where there is nothing."""
        value = self[keyword]
        return [] if value is None else [str(word).strip() for word in np.atleast_1d(value)]

    def numbers(self, keyword: str, count: int) -> NDArray[np.float64] | None:
        """Finite numbers; None where there is nothing; raises `InputError` for anything else."""
        value = self[keyword]
        if isinstance(value, bytes) and len(value) == 4:  # a private float of unknown type
            value = struct.unpack("<f", value)[0]
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        parts = [value] if isinstance(value, (str, bytes)) or np.ndim(value) == 0 else list(value)
        real = all(isinstance(part, (int, float)) and np.isfinite(part) for part in parts)
        if not real or len(parts) != count:
            found = repr(value) if isinstance(value, str) else str(value)
            raise self.error(keyword, found, _numbers(count))
        return np.array(parts, dtype=np.float64)

    def number(self, keyword: str) -> float | None:
        values = self.numbers(keyword, 1)
        return None if values is None else float(values[0])

    def needed(self, keyword: str, count: int) -> NDArray[np.float64]:
        values = self.numbers(keyword, count)
        if values is None:
            raise self.error(keyword, "missing", _numbers(count))
        return values

    def error(
        self, keyword: str, found: str, expected: str = "a number", hint: str = ""
    ) -> InputError:
        """What is wrong with a tag of this file."""
        return InputError(
            found, path=self.path, field=_named(keyword), expected=expected, hint=hint
        )


def _numbers(count: int) -> str:
    return "a number" if count == 1 else f"{count} numbers"


def _named(keyword: str) -> str:
    """A keyword with its tag, e.g. ``EchoTime (0018,0081)``."""
    tag = f"{_TAGS[keyword]:08X}"
    return f"{keyword} ({tag[:4]},{tag[4:]})"


def _shape(header: _Header) -> tuple[int, int, int]:
    """Size of the image, which must fit into its file before any memory is asked for."""
    rows, columns, bits = (
        int(header.needed(tag, 1)[0]) for tag in ("Rows", "Columns", "BitsAllocated")
    )
    if min(rows, columns, bits) < 1:
        raise InputError(f"{columns}×{rows} pixels of {bits} bits", path=header.path)
    if (header.number("SamplesPerPixel") or 1) != 1 or (header.number("NumberOfFrames") or 1) != 1:
        raise InputError("colour or several frames", path=header.path, expected="one grey image")
    size, stored = rows * columns * bits / 8, header.path.stat().st_size
    if size > stored * (_MOST_INFLATED if header.compressed else 1):
        raise InputError(
            f"cut off: {columns}×{rows} pixels of {bits} bits in a file of {stored} bytes",
            path=header.path,
        )
    return columns, rows, 1


def _settings(header: _Header) -> tuple[dict[str, float], dict[str, str], dict[str, InputError]]:
    """Times in s and angle in degrees, how they are known, and which are impossible."""
    known, origin, faults = {}, {}, {}
    for name, keyword in KEYWORDS.items():
        try:
            value = header.number(keyword)
            # GE and Philips write TI = 0 where nothing is inverted.
            if name == "TI" and value == 0 and "IR" not in header.words("ScanningSequence"):
                value = None
            if value is not None and (value < 0 or (value == 0 and name != "TI")):
                raise header.error(keyword, f"{value:g}")
        except InputError as error:
            hint = hint_by_hand(name)
            faults[name] = header.error(keyword, error.found, "a positive number", hint)
            continue
        if value is not None:
            known[name] = value if name == "FA" else value / 1e3  # DICOM has ms
            origin[name] = _named(keyword)
    return known, origin, faults


def _component(header: _Header) -> tuple[str, str]:
    """Magnitude, real, imaginary or phase, and which tag says so."""
    for word in header.words("ComplexImageComponent"):
        if word in _COMPONENTS:
            return _COMPONENTS[word], f"ComplexImageComponent {word}"
    ge = header["GE image type"]
    if isinstance(ge, int) and ge in _GE_COMPONENTS:
        return _GE_COMPONENTS[ge], f"GE image type {ge} (0043,102F)"
    for word in header.words("ImageType")[2:]:
        # Philips writes M_SE, M_IR, M_FFE; Bruker MAGNITUDE_IMAGE.
        part = _COMPONENTS.get(word.split("_")[0])
        if part:
            return part, f"ImageType {word}"
    return "", ""


def _problem(header: _Header) -> str:
    """Why the type of the image makes it nothing to fit; empty if it may be."""
    for word in header.words("ImageType"):
        for pattern, reason in _UNFIT_TYPES.items():
            if re.fullmatch(pattern, word.strip().upper()):
                return f"{reason} (ImageType {word.strip()})"
    return ""


def _sequence(header: _Header) -> Sequence_ | None:
    """Spin or gradient echo, where the tags tell."""
    words = header.words("ScanningSequence")
    if "GR" in words:
        return "GE"
    if "SE" in words or "IR" in words:
        return "SE"
    method = " ".join(header.words("SequenceName")).upper()
    for pattern, kind in _BRUKER_SEQUENCES.items():
        if "RM" in words and re.search(pattern, method):
            return kind
    return None


def _field_T(header: _Header) -> float | None:
    """Field in T, from the frequency where it is absent or not in T (old GE files have gauss)."""
    stated = header.number("MagneticFieldStrength") or 0.0
    if not 0 < stated < 30:
        stated = (header.number("ImagingFrequency") or 0.0) / _MHZ_PER_T
    return stated if 0 < stated < 30 else None


def _rank(header: _Header, keyword: str) -> float:
    """A number that only orders images, so that anything else than a number is no error."""
    value = header[keyword]
    return float(value) if isinstance(value, (int, float)) else 0.0


def _scaling(header: _Header) -> tuple[float, float, float | None]:
    """Slope and intercept from stored to linear values, and the gain that stays unknown.

    Philips keeps a second, private scale: FP = (SV·RS + RI)/(RS·SS), image by image (Chenevert et
    al., Transl Oncol 7:65 (2014)). Without it, images of different RS cannot be compared.
    """
    stated = header.number("RescaleSlope")
    slope, intercept = 1.0 if stated is None else stated, header.number("RescaleIntercept") or 0.0
    if slope == 0:
        raise header.error("RescaleSlope", "0", "another number than 0")
    vendor = " ".join([*header.words("Manufacturer"), str(header["Philips maker"])]).lower()
    if "philips" not in vendor:
        return slope, intercept, None
    scale = header.number("Philips scale slope")
    if scale is None:
        return slope, intercept, stated
    if scale == 0:
        raise header.error("Philips scale slope", "0", "another number than 0")
    return 1 / scale, intercept / (slope * scale), None


def _affine(header: _Header) -> Affine:
    """Voxel → mm, RAS. PixelSpacing is [between rows, between columns]."""
    position = header.needed("ImagePositionPatient", 3)
    cosines = header.needed("ImageOrientationPatient", 6)
    down, along = header.needed("PixelSpacing", 2)
    thickness = header.number("SpacingBetweenSlices") or 0.0
    if thickness <= 0:
        thickness = header.needed("SliceThickness", 1)[0]
    x, y = cosines[:3], cosines[3:]
    if not np.allclose([x @ x, y @ y, x @ y], [1, 1, 0], atol=1e-3):
        raise header.error(
            "ImageOrientationPatient", str(cosines.tolist()), "two perpendicular unit vectors"
        )
    if min(down, along, thickness) <= 0:
        raise header.error(
            "PixelSpacing", f"a voxel of {along:g}×{down:g}×{thickness:g} mm", "positive lengths"
        )
    matrix = np.eye(4)
    matrix[:3] = np.column_stack([x * along, y * down, np.cross(x, y) * thickness, position])
    return _LPS_TO_RAS @ matrix


def _pixels(
    path: Path, shape: tuple[int, int, int], slope: float, intercept: float
) -> NDArray[np.float32]:
    """Pixels as (x, y, 1) in linear units."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            stored = pixel_array(path)
        except RuntimeError as error:
            raise InputError(
                f"compressed pixels cannot be decoded ({error})".split("\n")[0],
                path=path,
                hint="export uncompressed, or pip install pylibjpeg[openjpeg,rle]",
            ) from None
        except _GARBLED as error:
            raise _garbled(path, error) from None
    if stored.shape != (shape[1], shape[0]):
        raise InputError(f"pixels of shape {stored.shape}", path=path, expected="one image")
    return (stored.T[..., np.newaxis] * slope + intercept).astype(np.float32)


def write_series(
    series: Series,
    folder: str | Path,
    *,
    description: str,
    series_number: int,
    uid_seed: str,
    one_series_per_setting: bool = False,
) -> list[Path]:
    """Write a series as classic MR DICOM files, the same bytes every time.

    Parameters
    ----------
    series : Series
        Its signal is stored in 16 bits with one RescaleSlope: to 1/30000 of its maximum or better.
    folder : str or Path
        Made if need be; files are ``IM_0001.dcm`` and so on, setting by setting.
    description : str
        SeriesDescription.
    series_number : int
        SeriesNumber; of the first, where there is one DICOM series per setting.
    uid_seed : str
        What the study's UIDs are made from.
    one_series_per_setting : bool
        Whether each TE, TI, TR or angle is a DICOM series of its own, as some scanners have it.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    InputError
        If the signal is not finite.
    """
    if not np.isfinite(series.signal).all():
        raise InputError("signal is not finite", path=folder, field="signal")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    kind = np.dtype(np.int16 if series.signal.min() < 0 else np.uint16)
    # A little below the largest number, so that rounding the slope to 16 characters is safe.
    largest = 30000 if kind == np.int16 else 60000
    slope = float(format_number_as_ds(float(np.abs(series.signal).max()) / largest or 1.0))
    files: list[Path] = []
    for k in range(len(series.protocol)):
        number = series_number + (k if one_series_per_setting else 0)
        for z in range(series.grid[2]):
            stored = np.rint(series.signal[:, :, z, k].T / slope).astype(kind)
            dataset = _dataset(series, k, z, stored, slope)
            instance = z + 1 + (0 if one_series_per_setting else k * series.grid[2])
            _identify(dataset, uid_seed, description, number, instance)
            files.append(folder / f"IM_{len(files) + 1:04d}.dcm")
            beside = files[-1].with_suffix(".part")
            dataset.save_as(beside, enforce_file_format=True)
            beside.replace(files[-1])
    return files


def _dataset(
    series: Series, k: int, z: int, stored: NDArray[np.integer[Any]], slope: float
) -> Dataset:
    """Physics, geometry and pixels of one image."""
    protocol = series.protocol
    gradient = series.sequence == "GE"
    dataset = Dataset()
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "R" if series.signed else "M"]
    dataset.Modality = "MR"
    dataset.Manufacturer = "relaxometry simulation"
    pulses = ["GR" if gradient or series.kind == "VFA" else "SE"]
    dataset.ScanningSequence = pulses + (["IR"] if protocol.TI is not None else [])
    dataset.SequenceVariant, dataset.ScanOptions, dataset.MRAcquisitionType = "NONE", "", "2D"
    dataset.EchoTime = None if protocol.TE is None else _decimal(protocol.TE[k] * 1e3)  # ms
    dataset.EchoTrainLength = len(protocol) if protocol.swept == "TE" else 1
    if protocol.TI is not None:
        dataset.InversionTime = _decimal(protocol.TI[k] * 1e3)
    if protocol.TR is not None:
        dataset.RepetitionTime = _decimal(protocol.TR[k] * 1e3)
    if protocol.FA is not None:
        dataset.FlipAngle = _decimal(protocol.FA[k])
    if series.field_T is not None:
        dataset.MagneticFieldStrength = _decimal(series.field_T)

    affine = _LPS_TO_RAS @ series.affine
    x, y, thickness = voxel_size(series.affine)
    corner = affine[:3, 3] + z * affine[:3, 2]
    dataset.ImagePositionPatient = [_decimal(v) for v in corner]
    dataset.ImageOrientationPatient = [
        _decimal(v) for v in (*(affine[:3, 0] / x), *(affine[:3, 1] / y))
    ]
    dataset.PixelSpacing = [_decimal(y), _decimal(x)]
    dataset.SliceThickness = dataset.SpacingBetweenSlices = _decimal(thickness)

    dataset.Rows, dataset.Columns = stored.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelRepresentation = int(stored.dtype == np.int16)
    dataset.RescaleSlope, dataset.RescaleIntercept = format_number_as_ds(slope), "0"
    dataset.PixelData = stored.astype(stored.dtype.newbyteorder("<")).tobytes()
    return dataset


def _identify(dataset: Dataset, seed: str, description: str, number: int, instance: int) -> None:
    """Names and UIDs that depend on nothing but the arguments: no clock, no person."""

    def uid(*parts: object) -> UID:
        return generate_uid(entropy_srcs=["relaxometry", seed, *map(str, parts)])

    dataset.PatientName = dataset.PatientID = "PHANTOM"
    dataset.PatientBirthDate = dataset.PatientSex = dataset.ReferringPhysicianName = ""
    dataset.StudyDate, dataset.StudyTime = "20000101", "000000"
    dataset.StudyID, dataset.AccessionNumber = "1", ""
    dataset.SeriesNumber, dataset.InstanceNumber = number, instance
    dataset.SeriesDescription = description
    dataset.StudyInstanceUID, dataset.FrameOfReferenceUID = uid("study"), uid("frame")
    dataset.SeriesInstanceUID = uid("series", description, number)
    dataset.SOPClassUID = MRImageStorage
    dataset.SOPInstanceUID = uid("image", description, number, instance)
    meta = dataset.file_meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = (
        dataset.SOPClassUID,
        dataset.SOPInstanceUID,
    )
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = generate_uid(entropy_srcs=["relaxometry"])
    meta.ImplementationVersionName = "RELAXOMETRY"


def _decimal(value: float) -> str:
    """A number as DICOM text of at most 16 characters, without the last digits of its rounding."""
    return format_number_as_ds(round(float(value), 9))
