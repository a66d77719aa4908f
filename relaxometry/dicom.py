"""DICOM files as `Image`s, and a `Series` as DICOM files. The only module that knows pydicom."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Callable
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

from . import dicomheader
from .dicomheader import LPS_TO_RAS, TAGS, Header
from .errors import InputError
from .geometry import voxel_size
from .images import Image, LeftOut, vendor_of
from .series import Series

# What pydicom raises on files that are cut off or garbled.
_GARBLED = (
    *(AttributeError, EOFError, InvalidDicomError, KeyError, NotImplementedError, OSError),
    *(OverflowError, RecursionError, TypeError, ValueError, struct.error),
)


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
    if path.stat().st_size == 0:  # a copy that failed: nobody can say which image it was
        raise InputError("is an empty file", path=path, hint="copy the scan again, or delete it")
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
                path, specific_tags=list(TAGS.values()), stop_before_pixels=True
            )
            values = {name: dataset[tag].value for name, tag in TAGS.items() if tag in dataset}
        except _GARBLED as error:
            raise _garbled(path, error) from None
    return _READERS[content](Header(path, values, syntax.is_compressed))


def _garbled(path: Path, error: BaseException) -> InputError:
    what = f"{type(error).__name__}: {error}".rstrip(": ")
    return InputError(f"cannot be read as DICOM ({what})", path=path)


def _classic(header: Header) -> list[Image]:
    """The one image of a classic MR image file."""
    shape = dicomheader.shape(header)
    settings, origin, faults = dicomheader.settings(header)
    component, origin["signed"] = dicomheader.component(header)
    slope, intercept, gain = dicomheader.scaling(header)
    order = ("SeriesNumber", "InstanceNumber")
    return [
        Image(
            file=str(header.path),
            settings=settings,
            shape=shape,
            affine=dicomheader.affine(header),
            load=partial(_pixels, header.path, shape, slope, intercept),
            origin=origin,
            component=component,
            sequence=dicomheader.sequence(header),
            field_T=dicomheader.field_T(header),
            vendor=vendor_of(" ".join(header.words("Manufacturer"))),
            acquisition=" ".join(header.words("SeriesInstanceUID")),
            name=" ".join(header.words("SeriesDescription")),
            order=tuple(dicomheader.rank(header, keyword) for keyword in order),
            problem=dicomheader.problem(header),
            faults=faults,
            gain=gain,
        )
    ]


def _enhanced(header: Header) -> list[Image]:
    raise LeftOut(
        "enhanced multi-frame DICOM is not read yet",
        path=header.path,
        hint="export it as classic DICOM, one file per image, or convert it with dcm2niix",
    )


# One reader per storage class.
_READERS: dict[str, Callable[[Header], list[Image]]] = {
    MRImageStorage: _classic,
    EnhancedMRImageStorage: _enhanced,
    LegacyConvertedEnhancedMRImageStorage: _enhanced,
}


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
        Its signal is stored in 16 bits: whole numbers as they are, others with one RescaleSlope,
        to 1/30000 of the maximum or better.
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
    slope = _slope(series.signal, 30000 if kind == np.int16 else 60000)
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


def _slope(signal: NDArray[np.float32], largest: int) -> float:
    """Signal per stored number: 1 for whole numbers, else what brings the maximum to `largest`.

    That is a little below what 16 bits hold, so that rounding the slope to 16 characters is safe.
    """
    maximum = float(np.abs(signal).max())
    if maximum <= largest and (signal == np.rint(signal)).all():
        return 1.0
    return float(format_number_as_ds(maximum / largest))


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

    affine = LPS_TO_RAS @ series.affine
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
