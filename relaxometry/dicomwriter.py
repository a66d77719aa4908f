"""A `Series` as DICOM files: classic ones of an image each, or enhanced ones of many frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import (
    UID,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    generate_uid,
)
from pydicom.valuerep import format_number_as_ds

from .dicomheader import LPS_TO_RAS
from .errors import InputError
from .geometry import voxel_size
from .series import Series

_MAKER = "relaxometry simulation"


def write_series(
    series: Series,
    folder: str | Path,
    *,
    description: str,
    series_number: int,
    uid_seed: str,
    one_series_per_setting: bool = False,
    enhanced: bool = False,
    frame_order: Sequence[int] | None = None,
) -> list[Path]:
    """Write a series as MR DICOM files, the same bytes every time.

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
    enhanced : bool
        Whether a DICOM series is one enhanced file of many frames, or classic files of one image.
    frame_order : sequence of int, optional
        Order of the frames in an enhanced file, where it is not slice by slice, setting by setting.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    InputError
        If the signal is not finite, or the order of frames leaves out or repeats one.
    """
    if not np.isfinite(series.signal).all():
        raise InputError("signal is not finite", path=folder, field="signal")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    kind = np.dtype(np.int16 if series.signal.min() < 0 else np.uint16)
    slope = _slope(series.signal, 30000 if kind == np.int16 else 60000)
    slices, settings = series.grid[2], range(len(series.protocol))
    files: list[Path] = []
    for together in [[k] for k in settings] if one_series_per_setting else [list(settings)]:
        number = series_number + (together[0] if one_series_per_setting else 0)
        frames = [(k, z) for k in together for z in range(slices)]
        if enhanced:
            order = range(len(frames)) if frame_order is None else frame_order
            if sorted(order) != list(range(len(frames))):
                raise InputError(
                    f"{len(order)} numbers",
                    field="frame_order",
                    expected=f"each from 0 to {len(frames) - 1} once",
                )
            datasets = [_enhanced(series, [frames[i] for i in order], kind, slope)]
        else:
            datasets = [_classic(series, k, z, kind, slope) for k, z in frames]
        for instance, dataset in enumerate(datasets, 1):
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


def _classic(series: Series, k: int, z: int, kind: np.dtype[Any], slope: float) -> Dataset:
    """Physics, geometry and pixels of one image."""
    protocol = series.protocol
    dataset = Dataset()
    dataset.SOPClassUID = MRImageStorage
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "R" if series.signed else "M"]
    dataset.Modality, dataset.Manufacturer = "MR", _MAKER
    pulses = ["GR" if _gradient(series) else "SE"]
    dataset.ScanningSequence = pulses + (["IR"] if protocol.TI is not None else [])
    dataset.SequenceVariant, dataset.ScanOptions, dataset.MRAcquisitionType = "NONE", "", "2D"
    dataset.EchoTime = None if protocol.TE is None else _decimal(protocol.TE[k] * 1e3)  # ms
    dataset.EchoTrainLength = len(protocol) if protocol.swept == "TE" else 1
    if protocol.TI is not None:
        dataset.InversionTime = _decimal(protocol.TI[k] * 1e3)
    dataset.update(_timing(series, k))
    if series.field_T is not None:
        dataset.MagneticFieldStrength = _decimal(series.field_T)
    for part in (_place(series, z), _orientation(series), _measures(series), _scale(slope)):
        dataset.update(part)
    _add_pixels(dataset, _stored(series, k, z, kind, slope))
    return dataset


def _enhanced(
    series: Series, frames: list[tuple[int, int]], kind: np.dtype[Any], slope: float
) -> Dataset:
    """Physics, geometry and pixels of all frames (setting, slice), in the order given."""
    protocol = series.protocol
    component = "REAL" if series.signed else "MAGNITUDE"
    dataset, frame_type = Dataset(), Dataset()
    dataset.SOPClassUID = EnhancedMRImageStorage
    dataset.ImageType = frame_type.FrameType = ["ORIGINAL", "PRIMARY", "OTHER", "NONE"]
    for one in (dataset, frame_type):
        one.PixelPresentation, one.VolumetricProperties = "MONOCHROME", "VOLUME"
        one.VolumeBasedCalculationTechnique = "NONE"
        one.ComplexImageComponent, one.AcquisitionContrast = component, "UNKNOWN"
    dataset.Modality, dataset.Manufacturer = "MR", _MAKER
    dataset.ManufacturerModelName = dataset.DeviceSerialNumber = dataset.SoftwareVersions = "none"
    dataset.ContentDate, dataset.ContentTime = "20000101", "000000"
    dataset.AcquisitionDateTime, dataset.AcquisitionNumber = "20000101000000", 1
    dataset.ContentQualification, dataset.MRAcquisitionType = "RESEARCH", "2D"
    dataset.EchoPulseSequence = "GRADIENT" if _gradient(series) else "SPIN"
    dataset.MultipleSpinEcho = "YES" if series.kind == "MESE" else "NO"
    dataset.InversionRecovery = "NO" if protocol.TI is None else "YES"
    dataset.ResonantNucleus, dataset.BurnedInAnnotation = "1H", "NO"
    dataset.LossyImageCompression, dataset.PresentationLUTShape = "00", "IDENTITY"
    if series.field_T is not None:
        dataset.MagneticFieldStrength = _decimal(series.field_T)
    dataset.AcquisitionContextSequence = Items()

    shared = Dataset()
    shared.MRImageFrameTypeSequence = Items([frame_type])
    shared.PlaneOrientationSequence = Items([_orientation(series)])
    shared.PixelMeasuresSequence = Items([_measures(series)])
    shared.PixelValueTransformationSequence = Items([_scale(slope)])
    shared.PixelValueTransformationSequence[0].RescaleType = "US"
    dataset.SharedFunctionalGroupsSequence = Items([shared])
    dataset.PerFrameFunctionalGroupsSequence = Items(_groups(series, k, z) for k, z in frames)
    dataset.NumberOfFrames = len(frames)
    _add_pixels(dataset, np.stack([_stored(series, k, z, kind, slope) for k, z in frames]))
    return dataset


def _groups(series: Series, k: int, z: int) -> Dataset:
    """What differs from frame to frame."""
    protocol, groups = series.protocol, Dataset()
    content, modifier = Dataset(), Dataset()
    content.StackID, content.InStackPositionNumber = "1", z + 1
    content.TemporalPositionIndex, content.DimensionIndexValues = k + 1, [z + 1, k + 1]
    groups.FrameContentSequence = Items([content])
    groups.PlanePositionSequence = Items([_place(series, z)])
    groups.MRTimingAndRelatedParametersSequence = Items([_timing(series, k)])
    if protocol.TE is not None:
        echo = Dataset()
        echo.EffectiveEchoTime = _milliseconds(protocol.TE[k])
        groups.MREchoSequence = Items([echo])
    if protocol.TI is not None:
        modifier.InversionRecovery, modifier.InversionTimes = "YES", _milliseconds(protocol.TI[k])
        groups.MRModifierSequence = Items([modifier])
    return groups


def _gradient(series: Series) -> bool:
    return series.sequence == "GE" or series.kind == "VFA"


def _timing(series: Series, k: int) -> Dataset:
    protocol, timing = series.protocol, Dataset()
    if protocol.TR is not None:
        timing.RepetitionTime = _decimal(protocol.TR[k] * 1e3)
    if protocol.FA is not None:
        timing.FlipAngle = _decimal(protocol.FA[k])
    return timing


def _place(series: Series, z: int) -> Dataset:
    affine, place = LPS_TO_RAS @ series.affine, Dataset()
    place.ImagePositionPatient = [_decimal(v) for v in affine[:3, 3] + z * affine[:3, 2]]
    return place


def _orientation(series: Series) -> Dataset:
    affine, orientation = LPS_TO_RAS @ series.affine, Dataset()
    x, y, _ = voxel_size(series.affine)
    cosines = (*(affine[:3, 0] / x), *(affine[:3, 1] / y))
    orientation.ImageOrientationPatient = [_decimal(v) for v in cosines]
    return orientation


def _measures(series: Series) -> Dataset:
    measures = Dataset()
    x, y, thickness = voxel_size(series.affine)
    measures.PixelSpacing = [_decimal(y), _decimal(x)]
    measures.SliceThickness = measures.SpacingBetweenSlices = _decimal(thickness)
    return measures


def _scale(slope: float) -> Dataset:
    scale = Dataset()
    scale.RescaleSlope, scale.RescaleIntercept = format_number_as_ds(slope), "0"
    return scale


def _stored(
    series: Series, k: int, z: int, kind: np.dtype[Any], slope: float
) -> NDArray[np.integer[Any]]:
    """Pixels (row, column) of one image as they are stored."""
    stored: NDArray[np.integer[Any]] = np.rint(series.signal[:, :, z, k].T / slope).astype(kind)
    return stored


def _add_pixels(dataset: Dataset, stored: NDArray[np.integer[Any]]) -> None:
    dataset.Rows, dataset.Columns = stored.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelRepresentation = int(stored.dtype == np.int16)
    dataset.PixelData = stored.astype(stored.dtype.newbyteorder("<")).tobytes()


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
    dataset.SOPInstanceUID = uid("image", description, number, instance)
    if dataset.SOPClassUID == EnhancedMRImageStorage:
        _name_dimensions(dataset, uid("dimensions", description, number))
    meta = dataset.file_meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = (
        dataset.SOPClassUID,
        dataset.SOPInstanceUID,
    )
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = generate_uid(entropy_srcs=["relaxometry"])
    meta.ImplementationVersionName = "RELAXOMETRY"


def _name_dimensions(dataset: Dataset, organization: UID) -> None:
    """Which values of a frame's content say where it belongs: its slice, then its setting."""
    named = Dataset()
    named.DimensionOrganizationUID = organization
    dataset.DimensionOrganizationSequence = Items([named])
    indices = []
    for pointer in (0x00209057, 0x00209128):  # InStackPositionNumber, TemporalPositionIndex
        index = Dataset()
        index.DimensionOrganizationUID = organization
        index.DimensionIndexPointer, index.FunctionalGroupPointer = pointer, 0x00209111
        indices.append(index)
    dataset.DimensionIndexSequence = Items(indices)


def _milliseconds(seconds: float) -> float:
    return round(float(seconds) * 1e3, 9)


def _decimal(value: float) -> str:
    """A number as DICOM text of at most 16 characters, without the last digits of its rounding."""
    return format_number_as_ds(round(float(value), 9))
