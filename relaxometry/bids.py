"""BIDS data sets: a `Series` as raw data, `ParameterMaps` and tubes as derivatives.

Files are those of BIDS 1.10: times in s, rates in 1/s, one JSON sidecar per image. The same input
gives the same bytes, and a data set of somebody else is never written into.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import GeometryError, InputError
from .geometry import Affine
from .maps import ParameterMaps, Status
from .nifti import Content, stored_type, volume, write_together
from .series import SAME_SETTING, Protocol, Series
from .units import QUANTITIES, RATE_OF

ArrayOf = Callable[[ParameterMaps], NDArray[Any]]

_README = """\
# Relaxometry of a phantom

Written by relaxometry, a program that turns MRI scans of contrast-agent phantoms into relaxivities.
{what}
"""
_IN_IT = {
    "raw": "No person was scanned: the subject is a phantom.",
    "derivative": (
        "Maps of relaxation times (s) and rates (1/s), their standard errors and goodness of fit.\n"
        "The sidecar of each map says which model was fitted and within which bounds; voxels that\n"
        "were not determined are NaN, and desc-status says why."
    ),
}

_SLAB = 1 << 20  # voxels of a map made and written at once
_BIDS_VERSION = "1.10.0"
# Entity that tells the images of a kind apart. BIDS has no suffix for variable TR.
_ENTITY = {"MESE": "echo", "MEGRE": "echo", "IRT1": "inv", "VFA": "flip"}
_KEY = {
    "TE": "EchoTime",
    "TI": "InversionTime",
    "TR": "RepetitionTimeExcitation",
    "FA": "FlipAngle",
}
# Keys that take the values of all images; BIDS has arrays of EchoTime and FlipAngle alone.
_KEY_OF_MANY = {**_KEY, "TI": "InversionTimes", "TR": "RepetitionTimes"}


def write_series(series: Series, folder: str | Path, *, subject: str = "01") -> list[Path]:
    """Write a series as a raw BIDS data set.

    One file per image (``sub-01_echo-1_MESE.nii.gz``), numbered in the order of the swept setting;
    a variable TR, for which BIDS has no name, is one 4-D ``sub-01_VTR.nii.gz`` that ``.bidsignore``
    leaves out. Signed data are marked ``part-real``.

    Parameters
    ----------
    series : Series
    folder : str or Path
        Root of the data set; made if absent, and added to if this package wrote it.
    subject : str
        Label of the subject: letters and digits.

    Returns
    -------
    list of Path
        Files written.

    Raises
    ------
    InputError
        If the folder holds a data set of another origin, or the label is not one. Nothing is
        written then.
    """
    folder = Path(folder)
    contents = data_set(folder, "raw")
    contents |= _images(series, folder / subject_folder(subject) / "anat", subject)
    if series.kind not in _ENTITY:
        contents |= ignored(folder, f"*_{series.kind}.*")
    return write_together(contents)


def write_images(series: Series, folder: str | Path, *, subject: str = "01") -> list[Path]:
    """Write the images and sidecars of a series alone, named as in BIDS, into one folder.

    As :func:`write_series`, without the data set around them: for a folder of scans that is not
    one, such as an animal's.

    Parameters
    ----------
    series : Series
    folder : str or Path
        Made if absent.
    subject : str
        Label of the subject: letters and digits.

    Returns
    -------
    list of Path
        Files written.

    Raises
    ------
    InputError
        If the label is not one. Nothing is written then.
    """
    subject_folder(subject)
    return write_together(_images(series, Path(folder), subject))


def write_maps(
    maps: ParameterMaps,
    folder: str | Path,
    *,
    subject: str = "01",
    tubes_labels: ArrayLike | None = None,
    sources: Sequence[str] = (),
    dicom: bool = False,
) -> list[Path]:
    """Write parameter maps as a BIDS derivatives data set.

    ``sub-01_T2map.nii.gz`` (s), ``sub-01_R2map`` (1/s), their ``desc-stderr``, ``desc-rmse``,
    ``desc-rsquared`` and ``desc-status``, and every amplitude: ``sub-01_desc-T2_S0map``, so that T1
    and T2 go into one folder. Maps are float32, NaN where nothing was determined.

    Parameters
    ----------
    maps : ParameterMaps
    folder : str or Path
        Root of the derivatives, e.g. ``…/derivatives/relaxometry``; made if absent, and added to
        if this package wrote it.
    subject : str
        Label of the subject: letters and digits.
    tubes_labels : array_like of int, optional
        Label map (x, y, z) on the grid of the maps, written as by :func:`write_labels`.
    sources : sequence of str
        What was fitted, as BIDS URIs or as paths in the data set.
    dicom : bool
        Write the time and its rate as DICOM Parametric Maps too, ``dicom/T2.dcm`` and
        ``dicom/R2.dcm`` (see :func:`write_parametric_maps`), which ``.bidsignore`` leaves out.

    Returns
    -------
    list of Path
        Files written.

    Raises
    ------
    InputError
        If the folder holds a data set of another origin, the label is not one, or the tubes do not
        lie on the grid of the maps; if DICOM is asked for and highdicom is not installed. Nothing
        is written then.
    """
    folder, affine = Path(folder), maps.series.affine
    contents = data_set(folder, "derivative")
    stem = f"{subject_folder(subject)}/anat/sub-{subject}"
    common = _estimated(maps, sources)
    for name, array_of, facts in _arrays(maps):
        image = folder / f"{stem}_{name}.nii.gz"
        dtype = stored_type(array_of(next(_slabs(maps))).dtype)
        # Each map is made as it is written, a slab at a time: all of them together would take as
        # much memory again as the fit.
        slabs = map(array_of, _slabs(maps))
        contents[image] = volume(maps.series.grid, dtype, affine, slabs)
        contents[_beside(image)] = _json(common | facts)
    if tubes_labels is not None:
        if np.shape(tubes_labels) != maps.series.grid:
            raise GeometryError(
                f"labels of shape {np.shape(tubes_labels)}",
                expected=f"the maps' {maps.series.grid}",
            )
        contents |= _labels(tubes_labels, affine, folder, subject)
    if dicom:
        from . import parametric

        contents |= parametric.files(maps, folder / "dicom")
        contents |= ignored(folder, "dicom")
    return write_together(contents)


def write_labels(
    labels: ArrayLike, affine: Affine, folder: str | Path, subject: str = "01"
) -> list[Path]:
    """Write a label map (x, y, z) as ``sub-01_desc-tubes_dseg.nii.gz``; see :func:`write_maps`."""
    folder = Path(folder)
    contents = data_set(folder, "derivative")
    return write_together(contents | _labels(labels, affine, folder, subject))


def _slabs(maps: ParameterMaps) -> Iterator[ParameterMaps]:
    """The maps cut across z, a few MB each."""
    x, y, z = maps.series.grid
    step = max(_SLAB // (x * y), 1)
    for start in range(0, z, step):
        cut = np.s_[:, :, start : start + step]
        yield replace(
            maps,
            raw={name: (value[cut], stderr[cut]) for name, (value, stderr) in maps.raw.items()},
            rmse=maps.rmse[cut],
            rsquared=maps.rsquared[cut],
            status=maps.status[cut],
            points=maps.points[cut],
            series=replace(maps.series, signal=maps.series.signal[cut]),
        )


def _arrays(maps: ParameterMaps) -> list[tuple[str, ArrayOf, dict[str, Any]]]:
    """Each map of a fit: BIDS name behind the subject, array (x, y, z), facts for its sidecar."""
    time = maps.model.time
    suffix, unit = QUANTITIES[time].bids, QUANTITIES[time].bids_unit
    rate = QUANTITIES[RATE_OF[time]]
    found: list[tuple[str, ArrayOf, dict[str, Any]]] = [
        (
            suffix,
            lambda part: part[time].value,
            {"Description": QUANTITIES[time].name, "Units": unit},
        ),
        (
            rate.bids,
            lambda part: part[rate.symbol].value,
            {"Description": rate.name, "Units": rate.bids_unit},
        ),
        (
            f"desc-stderr_{suffix}",
            lambda part: part[time].stderr,
            {"Description": f"standard error of the {QUANTITIES[time].name}", "Units": unit},
        ),
        (
            f"desc-rmse_{suffix}",
            lambda part: part.rmse,
            {"Description": "root mean square of the residuals", "Units": "arbitrary"},
        ),
        (
            f"desc-rsquared_{suffix}",
            lambda part: part.rsquared,
            {"Description": "coefficient of determination", "Units": "1"},
        ),
        (
            f"desc-status_{suffix}",
            lambda part: part.status,
            {
                "Description": "what became of the fit; only ok and at edge have values",
                "Levels": {str(status.value): status.words for status in Status},
                "Units": "1",
            },
        ),
    ]
    for name in maps.names[1:]:
        quantity = QUANTITIES.get(name)
        facts = {
            "Description": quantity.name if quantity else name,
            "Units": (quantity and quantity.bids_unit) or "1",
        }
        bids = f"desc-{time}_{quantity.bids}" if quantity and quantity.bids else ""
        found.append((bids or f"desc-{name}_{suffix}", partial(_value, name), facts))
    return found


def _value(name: str, maps: ParameterMaps) -> NDArray[Any]:
    value: NDArray[Any] = maps[name].value
    return value


def _labels(labels: ArrayLike, affine: Affine, folder: Path, subject: str) -> dict[Path, Content]:
    array = np.asarray(labels)
    if array.dtype.kind not in "bui":
        raise InputError(f"labels of {array.dtype}", expected="whole numbers")
    image = folder / subject_folder(subject) / "anat" / f"sub-{subject}_desc-tubes_dseg.nii.gz"
    facts = {"Description": "number of the tube in each voxel, 0 outside", "Manual": False}
    return image_files(image, array.astype(np.int32), affine, facts)


def _images(series: Series, folder: Path, subject: str) -> dict[Path, Content]:
    """The images of a series and their sidecars, ready to be written."""
    part = "_part-real" if series.signed else ""
    voxels = _stored(series.signal)
    entity = _ENTITY.get(series.kind)
    if entity is None:
        image = folder / f"sub-{subject}{part}_{series.kind}.nii.gz"
        return image_files(image, voxels, series.affine, _scanned(series, series.protocol))
    contents: dict[Path, Content] = {}
    for i in range(len(series.protocol)):
        image = folder / f"sub-{subject}_{entity}-{i + 1}{part}_{series.kind}.nii.gz"
        sidecar = _scanned(series, series.protocol.take([i]))
        contents |= image_files(image, voxels[..., i], series.affine, sidecar)
    return contents


def image_files(
    path: Path, array: NDArray[Any], affine: Affine, sidecar: dict[str, Any]
) -> dict[Path, Content]:
    """An image and its sidecar, ready to be written."""
    content = volume(array.shape, stored_type(array.dtype), affine, [array])
    return {path: content, _beside(path): _json(sidecar)}


def _beside(image: Path) -> Path:
    """The sidecar of an image."""
    return image.with_name(image.name.removesuffix(".nii.gz") + ".json")


def _scanned(series: Series, protocol: Protocol) -> dict[str, Any]:
    """Sidecar of raw images, with an array of `RepetitionTime` where they lie in one file."""
    facts = _settings(protocol, {**_KEY, "TR": "RepetitionTime"})
    facts["ImageType"] = ["DERIVED", "PRIMARY", "R" if series.signed else "M"]
    if series.sequence:
        facts["PulseSequenceType"] = {"SE": "Spin echo", "GE": "Gradient echo"}[series.sequence]
    if series.field_T is not None:
        facts["MagneticFieldStrength"] = series.field_T
    if series.provenance.vendor:
        facts["Manufacturer"] = series.provenance.vendor
    return facts


def _estimated(maps: ParameterMaps, sources: Sequence[str]) -> dict[str, Any]:
    """What the sidecars of all maps of a fit share."""
    model, (shortest, longest) = maps.model, maps.bounds
    facts = {
        "EstimationAlgorithm": (
            f"{model.name}: {model.equation}; least squares by variable projection, "
            f"{model.time} from {shortest:g} to {longest:g} s"
            + "".join(f"; {note}" for note in maps.notes)
        ),
        "EstimationReference": model.source,
        "SkullStripped": False,
        **_settings(maps.series.protocol, _KEY_OF_MANY),
    }
    if maps.series.field_T is not None:
        facts["MagneticFieldStrength"] = maps.series.field_T
    if sources:
        facts["Sources"] = list(sources)
    return facts


def _settings(protocol: Protocol, keys: dict[str, str]) -> dict[str, Any]:
    """Times in s and angles in degrees: a number where constant, else one per image."""
    facts: dict[str, Any] = {}
    for symbol, key in keys.items():
        values = getattr(protocol, symbol)
        if values is not None:
            constant = np.ptp(values) <= SAME_SETTING
            facts[_KEY[symbol] if constant else key] = (
                float(values[0]) if constant else values.tolist()
            )
    return facts


def _stored(signal: NDArray[np.float32]) -> NDArray[Any]:
    """The signal as 16-bit integers where that loses nothing."""
    if np.isfinite(signal).all() and (signal == np.rint(signal)).all():
        for dtype in (np.int16, np.uint16):
            if np.iinfo(dtype).min <= signal.min() and signal.max() <= np.iinfo(dtype).max:
                return signal.astype(dtype)
    return signal


def data_set(folder: Path, kind: str) -> dict[Path, Content]:
    """Its description, ready to be written; raises `InputError` if it is somebody else's."""
    path = folder / "dataset_description.json"
    description = {
        "Name": "Relaxometry of a phantom" + (": maps" if kind == "derivative" else ""),
        "BIDSVersion": _BIDS_VERSION,
        "DatasetType": kind,
        "GeneratedBy": [{"Name": "relaxometry", "Version": _version()}],
    }
    if path.is_file() and not _is_ours(path, kind):
        raise InputError(
            "holds a data set of another origin",
            path=folder,
            hint="give a new folder, e.g. derivatives/relaxometry in it",
        )
    contents: dict[Path, Content] = {path: _json(description)}
    if not [found for found in folder.glob("README*") if found.is_file()]:
        contents[folder / "README.md"] = _README.format(what=_IN_IT[kind]).encode()
    return contents


def _is_ours(path: Path, kind: str) -> bool:
    try:
        found = json.loads(path.read_bytes())
        return bool(
            found["DatasetType"] == kind and found["GeneratedBy"][0]["Name"] == "relaxometry"
        )
    except (ValueError, LookupError, TypeError):
        return False


def ignored(folder: Path, *patterns: str) -> dict[Path, Content]:
    """A .bidsignore with more patterns."""
    path = folder / ".bidsignore"
    lines = path.read_text("utf-8").splitlines() if path.is_file() else []
    return {path: "".join(f"{line}\n" for line in dict.fromkeys([*lines, *patterns])).encode()}


def subject_folder(label: str) -> str:
    """Folder of a subject; raises `InputError` unless its label is letters and digits."""
    if not re.fullmatch("[0-9A-Za-z]+", label):
        raise InputError(f"{label!r}", field="subject", expected="letters and digits")
    return f"sub-{label}"


def _version() -> str:
    try:
        return version("relaxometry")
    except PackageNotFoundError:  # run from a working tree
        return "unknown"


def _json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
