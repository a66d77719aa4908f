"""A `Series` as DICOM files: classic, one image each, or one enhanced multi-frame file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage, generate_uid
from pydicom.valuerep import format_number_as_ds

from .dicomheader import LPS_TO_RAS
from .errors import InputError
from .geometry import voxel_size
from .series import Series


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
