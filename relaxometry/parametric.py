"""Maps as DICOM Parametric Maps, written through highdicom and read back.

One file per map: 32-bit floats in s or 1/s, NaN where nothing was determined, the quantity and its
unit as codes of DICOM and UCUM, the geometry of the series. Nothing in them is about a person.
"""

from __future__ import annotations

import hashlib
import re
import struct
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    MRImageStorage,
    ParametricMapStorage,
    generate_uid,
)
from pydicom.valuerep import format_number_as_ds

from .dicomheader import LPS_TO_RAS
from .dicomparts import known_name, unheard
from .errors import GeometryError, InputError
from .geometry import Affine, checked_affine, voxel_size
from .maps import ParameterMaps
from .nifti import Content, write_together
from .units import QUANTITIES, RATE_OF

# Codes of DICOM's CID 7180.
_CODES = {
    "T1": ("113063", "T1"),
    "T2": ("113065", "T2"),
    "T2star": ("113064", "T2*"),
    "R1": ("126393", "R1"),
    "R2": ("126394", "R2"),
    "R2star": ("126395", "R2*"),
}
_QUANTITY_OF = {code: symbol for symbol, (code, _) in _CODES.items()}
# UCUM: what a stored number is multiplied by, to be in s or 1/s.
_TIMES = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
_RATES = {"/s": 1.0, "1/s": 1.0, "s-1": 1.0, "Hz": 1.0, "/ms": 1e3, "1/ms": 1e3}
_OTHERS = dict.fromkeys(("mm2/s", "um2/s", "10-6.mm2/s", "%", "1", "[ppm]"))
_CREATOR, _GROUP, _AFFINE = "RELAXOMETRY", 0x0099, 0x01
_SQUARE, _SAME_MM = 1e-4, 1e-3
_MOST_BYTES = 8 << 30
_GARBLED = (
    *(AttributeError, EOFError, IndexError, InvalidDicomError, KeyError, NotImplementedError),
    *(OSError, OverflowError, RecursionError, RuntimeError, TypeError, ValueError, struct.error),
)


def write_parametric_maps(
    maps: ParameterMaps, folder: str | Path, *, study: str | None = None
) -> list[Path]:
    """Write the maps of a relaxation time and of its rate as DICOM Parametric Maps.

    ``T2.dcm`` (s) and ``R2.dcm`` (1/s), so that T1 and T2 go into one folder. The same input gives
    the same bytes: UIDs are made from it, dates are fixed, and the patient is called PHANTOM.

    Parameters
    ----------
    maps : ParameterMaps
    folder : str or Path
        Made if absent.
    study : str, optional
        Maps written under the same name lie in one DICOM study and one frame of reference, so that
        a viewer shows them over each other. By default each call makes its own.

    Returns
    -------
    list of Path
        Files written: all of them, or none.

    Raises
    ------
    InputError
        If highdicom is not installed, or a file cannot be written.
    GeometryError
        If rows and columns are not at right angles, which DICOM cannot say.
    """
    return write_together(files(maps, Path(folder), study))


def files(maps: ParameterMaps, folder: Path, study: str | None = None) -> dict[Path, Content]:
    """What :func:`write_parametric_maps` writes, ready to be written."""
    check_writable()
    time = maps.model.time
    checked = _checked(maps.series.affine)
    digest = hashlib.sha256(time.encode() + checked.tobytes())
    digest.update(np.ascontiguousarray(maps[time].value).tobytes())
    seed = digest.hexdigest()
    contents: dict[Path, Content] = {}
    for number, symbol in enumerate((time, RATE_OF[time]), 1):
        value = maps[symbol].value.astype(np.float32)
        dataset = _written(symbol, value, checked, seed, study, number)
        stream = BytesIO()
        dataset.save_as(stream, enforce_file_format=True)
        contents[folder / f"{symbol}.dcm"] = stream.getvalue()
    return contents


def check_writable() -> None:
    """Raise `InputError` unless highdicom is installed."""
    if find_spec("highdicom") is None:
        raise InputError("DICOM maps need highdicom", hint='pip install "relaxometry[dicom]"')


def read(path: str | Path) -> tuple[str, NDArray[np.float64], Affine]:
    """Read a DICOM Parametric Map of a relaxation time or rate.

    Parameters
    ----------
    path : str or Path
        Written by :func:`write_parametric_maps` or another program.

    Returns
    -------
    quantity : str
        ``"T1"``, ``"T2"``, ``"T2star"``, ``"R1"``, ``"R2"`` or ``"R2star"``.
    value : ndarray (x, y, z)
        In s or 1/s.
    affine : ndarray (4, 4)
        Voxel → mm, RAS. That of the maps themselves where this package wrote the file; else
        slices are ordered along their normal.

    Raises
    ------
    InputError
        If it is no parametric map, not one of a relaxation time or rate, or damaged.
    """
    path = Path(path)
    with unheard():
        try:
            meta = read_file_meta_info(path)
            content, syntax = UID(meta.MediaStorageSOPClassUID), UID(meta.TransferSyntaxUID)
            if content != ParametricMapStorage:
                raise InputError(f"not a Parametric Map ({known_name(content)})", path=path)
            if syntax.is_deflated or not syntax.is_little_endian:
                told = f"{known_name(syntax)} is not read"
                raise InputError(told, path=path, hint="export plain DICOM")
            dataset = pydicom.dcmread(path, defer_size="1 MB")
            symbol, slope, intercept = _mapping(dataset, path)
            stored = _stored(dataset, path)
            affine, level = _placed(dataset, path)
        except InputError:
            raise
        except _GARBLED as error:
            # Its words may quote what stands in the file, or who.
            told = f"cannot be read as a Parametric Map ({type(error).__name__})"
            raise InputError(told, path=path, hint="copy it again") from None
    value = np.empty((stored.shape[2], stored.shape[1], stored.shape[0]), dtype=np.float64)
    for frame, z in zip(stored, level, strict=True):
        value[:, :, z] = frame.T * slope + intercept
    return symbol, value, affine


# --- writing -------------------------------------------------------------------------------------


def _checked(affine: Affine) -> Affine:
    x, y, _ = voxel_size(affine)
    if abs(affine[:3, 0] @ affine[:3, 1]) > _SQUARE * x * y:
        raise GeometryError(
            "rows and columns are not at right angles",
            field="affine",
            expected="what DICOM can say",
            hint="write NIfTI instead",
        )
    return affine


def _written(
    symbol: str,
    value: NDArray[np.float32],
    affine: Affine,
    seed: str,
    study: str | None,
    number: int,
) -> Dataset:
    """The file of one map."""
    import highdicom
    from highdicom.pm import ParametricMap, RealWorldValueMapping

    def uid(*parts: object) -> UID:
        return generate_uid(entropy_srcs=["relaxometry map", *map(str, parts)])

    sources = _sources(value.shape, affine, uid, seed if study is None else study, seed)
    known = value[np.isfinite(value)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    rate = symbol in RATE_OF.values()
    code, meaning = _CODES[symbol]
    unit = ("/s", "/s") if rate else ("s", "second")
    mapping = RealWorldValueMapping(
        lut_label=symbol,
        lut_explanation=f"{QUANTITIES[symbol].name}, {'1/s' if rate else 's'}",
        unit=highdicom.sr.CodedConcept(unit[0], "UCUM", unit[1]),
        value_range=(low, high),
        slope=1.0,
        intercept=0.0,
        quantity_definition=highdicom.sr.CodedConcept(code, "DCM", meaning),
    )
    dataset: Dataset = ParametricMap(
        source_images=sources,
        pixel_array=np.ascontiguousarray(value.T),
        series_instance_uid=uid("series", seed, symbol),
        series_number=number,
        sop_instance_uid=uid("map", seed, symbol),
        instance_number=1,
        manufacturer="relaxometry",
        manufacturer_model_name="relaxometry",
        software_versions=_version(),
        device_serial_number="0",
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[mapping],
        voi_lut_transformations=[
            highdicom.VOILUTTransformation(
                window_center=(low + high) / 2, window_width=max(high - low, 1e-6)
            )
        ],
        content_label=symbol.upper(),
        content_description=QUANTITIES[symbol].name,
    )
    dataset.SeriesDescription = f"{meaning} map ({'1/s' if rate else 's'})"
    block = dataset.private_block(_GROUP, _CREATOR, create=True)
    # To the last bit, and with the direction in which slices are counted.
    block.add_new(_AFFINE, "FD", affine.ravel().tolist())
    _forget_the_clock(dataset, uid("dimensions", seed, symbol))
    return dataset


def _forget_the_clock(dataset: Dataset, dimensions: UID) -> None:
    """Replace what highdicom takes from the clock or from chance."""
    for element in dataset.iterall():
        if element.keyword.endswith("Date") and element.value:
            element.value = "20000101"
        elif element.keyword.endswith("Time") and element.VR == "TM" and element.value:
            element.value = "000000"
        elif element.keyword.endswith("DateTime") and element.value:
            element.value = "20000101000000"
        elif element.keyword == "DimensionOrganizationUID":
            element.value = dimensions


def _sources(
    shape: tuple[int, ...], affine: Affine, uid: Any, study: str, seed: str
) -> list[Dataset]:
    """Headers of the slices that the map was made from, as far as highdicom asks for them."""
    lps = LPS_TO_RAS @ affine
    x, y, z = voxel_size(affine)
    slices = []
    for k in range(shape[2]):
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.SOPClassUID, dataset.SOPInstanceUID = MRImageStorage, uid("slice", seed, k)
        dataset.StudyInstanceUID, dataset.FrameOfReferenceUID = uid("study", study), uid(study)
        dataset.SeriesInstanceUID = uid("scan", seed)
        dataset.PatientName, dataset.PatientID = "PHANTOM^", "PHANTOM"
        dataset.PatientBirthDate = dataset.PatientSex = dataset.ReferringPhysicianName = ""
        dataset.StudyDate, dataset.StudyTime = "20000101", "000000"
        dataset.StudyID, dataset.AccessionNumber = "1", ""
        dataset.PositionReferenceIndicator, dataset.Modality = "", "MR"
        dataset.SeriesNumber, dataset.InstanceNumber = 1, k + 1
        dataset.Columns, dataset.Rows = shape[:2]
        dataset.ImagePositionPatient = [_decimal(v) for v in lps[:3, 3] + k * lps[:3, 2]]
        dataset.ImageOrientationPatient = [
            _decimal(v) for v in (*(lps[:3, 0] / x), *(lps[:3, 1] / y))
        ]
        dataset.PixelSpacing = [_decimal(y), _decimal(x)]
        dataset.SliceThickness = dataset.SpacingBetweenSlices = _decimal(z)
        slices.append(dataset)
    return slices


def _decimal(value: float) -> str:
    """A number as DICOM text of at most 16 characters."""
    return format_number_as_ds(round(float(value), 12))


def _version() -> str:
    try:
        return version("relaxometry")
    except PackageNotFoundError:  # run from a working tree
        return "unknown"


# --- reading -------------------------------------------------------------------------------------


def _groups(dataset: Dataset, keyword: str) -> list[Dataset]:
    """The item of a functional group for each frame; that of the frame goes before the shared."""
    shared = dataset.SharedFunctionalGroupsSequence[0]
    frames = dataset.PerFrameFunctionalGroupsSequence
    return [(frame if keyword in frame else shared)[keyword].value[0] for frame in frames]


def _mapping(dataset: Dataset, path: Path) -> tuple[str, float, float]:
    """The quantity, and slope and intercept from what is stored to s or 1/s."""
    found = []
    for group in _groups(dataset, "RealWorldValueMappingSequence"):
        unit = str(group.MeasurementUnitsCodeSequence[0].CodeValue)
        codes = [
            str(concept.CodeValue)
            for item in group.QuantityDefinitionSequence
            for concept in item.get("ConceptCodeSequence", [])
        ]
        symbol = next((_QUANTITY_OF[code] for code in codes if code in _QUANTITY_OF), None)
        units = _TIMES if symbol in RATE_OF else _RATES
        if symbol is None or unit not in units:
            # Anything may stand in their place.
            coded = ", ".join(code for code in codes[:4] if re.fullmatch(r"\d{5,6}", code))
            told = repr(unit) if unit in _TIMES | _RATES | _OTHERS else "another unit"
            raise InputError(
                f"a map of {coded or 'an unknown quantity'} in {told}",
                path=path,
                expected="T1, T2, T2*, R1, R2 or R2* in s, ms or 1/s",
            )
        slope, intercept = group.RealWorldValueSlope, group.RealWorldValueIntercept
        found.append((symbol, float(slope) * units[unit], float(intercept) * units[unit]))
    if len(set(found)) != 1 or not np.isfinite(found[0][1:]).all():
        raise InputError("frames of different quantity or scale", path=path, expected="one map")
    return found[0]


def _stored(dataset: Dataset, path: Path) -> NDArray[Any]:
    """The frames (n, rows, columns) as they are stored."""
    shape = int(dataset.NumberOfFrames), int(dataset.Rows), int(dataset.Columns)
    size = shape[0] * shape[1] * shape[2]
    if min(shape) < 1 or 8 * size > _MOST_BYTES:
        raise InputError(f"{shape[0]} frames of {shape[1]}×{shape[2]}", path=path)
    if len(dataset.PerFrameFunctionalGroupsSequence) != shape[0]:
        raise InputError(
            f"{shape[0]} frames, {len(dataset.PerFrameFunctionalGroupsSequence)} of them described",
            path=path,
        )
    for keyword, kind in (("FloatPixelData", "<f4"), ("DoubleFloatPixelData", "<f8")):
        if keyword in dataset:
            return np.frombuffer(dataset[keyword].value, kind, size).reshape(shape)
    return dataset.pixel_array.reshape(shape)


def _placed(dataset: Dataset, path: Path) -> tuple[Affine, list[int]]:
    """The affine (RAS), and the number of the slice that each frame shows."""
    sets = [
        _groups(dataset, f"{name}Sequence")
        for name in ("PlanePosition", "PlaneOrientation", "PixelMeasures")
    ]
    positions = np.array([p.ImagePositionPatient for p in sets[0]], dtype=np.float64)
    directions = np.array([o.ImageOrientationPatient for o in sets[1]], dtype=np.float64)
    measures = np.array([m.PixelSpacing for m in sets[2]], dtype=np.float64)
    for what, values in (("orientation", directions), ("pixel spacing", measures)):
        if np.ptp(values, axis=0).max() > _SAME_MM:
            raise GeometryError(f"frames of different {what}", path=path, expected="one stack")
    along_row, along_column = directions[0, :3], directions[0, 3:]
    normal = np.cross(along_row, along_column)
    lps = np.eye(4)
    lps[:3, 0], lps[:3, 1] = along_row * measures[0, 1], along_column * measures[0, 0]
    order = np.argsort(positions @ normal, kind="stable")
    if len(order) > 1:
        lps[:3, 2] = (positions[order[-1]] - positions[order[0]]) / (len(order) - 1)
    else:
        thickness = float(sets[2][0].get("SpacingBetweenSlices") or sets[2][0].SliceThickness)
        lps[:3, 2] = normal * thickness
    lps[:3, 3] = positions[order[0]]
    affine = LPS_TO_RAS @ lps
    affine, order = _as_written(dataset, affine, order)
    level = np.argsort(order)
    steps = LPS_TO_RAS[:3, :3] @ positions.T - affine[:3, 3:] - affine[:3, 2:3] * level
    if np.abs(steps).max() > max(0.01 * np.linalg.norm(affine[:3, 2]), _SAME_MM):
        raise GeometryError("slices that lie unevenly", path=path, expected="equal steps")
    return checked_affine(affine), level.tolist()


def _as_written(
    dataset: Dataset, affine: Affine, order: NDArray[np.intp]
) -> tuple[Affine, NDArray[np.intp]]:
    """The affine that :func:`write_parametric_maps` left, and frames in its order of slices.

    As given where that is gone, or another program has moved the slices since.
    """
    try:
        element = dataset.private_block(_GROUP, _CREATOR)[_AFFINE]
        own = np.array(element.value, dtype=np.float64).reshape(4, 4)
    except (KeyError, ValueError, TypeError):
        return affine, order
    flipped = affine.copy()
    flipped[:3, 3] += (len(order) - 1) * affine[:3, 2]
    flipped[:3, 2] *= -1
    # Of a single slice the third column says nothing of where its voxels are.
    columns = [0, 1, 2, 3] if len(order) > 1 else [0, 1, 3]
    for other, frames in ((affine, order), (flipped, order[::-1])):
        if np.allclose(own[:, columns], other[:, columns], rtol=0, atol=_SAME_MM):
            return own, frames
    return affine, order
