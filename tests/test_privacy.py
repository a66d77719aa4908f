"""Nothing of a patient leaves the readers: what is planted in every field comes out nowhere.

The fields are all of DICOM's dictionary but the few that this package reads as physics, and so all
that PS3.15 (table E.1-1) counts as identifying; private ones; and what sidecars, NIfTI headers and
ParaVision keep of a person, a place or a device.
"""

from __future__ import annotations

import gzip
import json
import logging
import shutil
import traceback
import warnings
import zlib
from collections.abc import Container
from functools import cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset
from typer.testing import CliRunner

import relaxometry as rx
from relaxometry.cli import app
from relaxometry.dicomheader import TAGS

SAMPLE = Path(__file__).resolve().parents[1] / "sample_data"
SENTINEL, NUMBER, DATE = "ZQSENTINEL", 7711773, "19110203"
TELLTALES = (SENTINEL, "Zqsentinel", "zqsentinel", str(NUMBER), DATE)
PLANTED: dict[str, Any] = {
    **dict.fromkeys(("LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"), SENTINEL),
    **{"AE": SENTINEL, "CS": SENTINEL, "AS": "077Y", "DA": DATE, "DT": DATE, "TM": "111213"},
    **{"DS": str(NUMBER), "IS": str(NUMBER), "UI": f"1.2.{NUMBER}.3"},
    **{"FL": float(NUMBER), "FD": float(NUMBER), "SL": NUMBER, "UL": NUMBER},
    **{"UN": SENTINEL.encode(), "OB": SENTINEL.encode()},
}
#: Read as physics or geometry, or needed to be an MR image, or to read text; all else is planted.
TEXTS = ("CS", "LO", "LT", "SH", "ST", "UC", "UT", "PN")
PHYSICS = {*TAGS.values(), 0x00080005, 0x00080016}
#: Of these free text is read, to tell makers and scans apart: it must stay inside.
FREE_TEXT = {"Manufacturer": SENTINEL, "SeriesDescription": SENTINEL, "SequenceName": SENTINEL}


def plant_names(item: Dataset) -> None:
    """Who, and what somebody typed, in an item of a sequence and in one of the item's own."""
    within = Dataset()
    for one in (item, within):
        one.PatientName, one.PatientID, one.StationName = SENTINEL, SENTINEL, SENTINEL
        one.PatientBirthDate, one.ImageComments, one.ProtocolName = DATE, SENTINEL, SENTINEL
    item.ReferencedPatientSequence = [within]


@cache
def planted() -> Dataset:
    """Every attribute of the dictionary that a file may have, with what is not to be told."""
    dataset, item = Dataset(), Dataset()
    plant_names(item)
    for tag, (vr, *_) in DicomDictionary.items():
        group = tag >> 16
        # What stands before a file, its pixels, and the groups that frames are described in.
        if group in (0, 2, 0x7FE0) or tag in (0x52009229, 0x52009230):
            continue
        if vr == "SQ":
            dataset.add_new(tag, vr, [item])
        # Of the group that says how pixels are stored only what is text.
        elif vr in (TEXTS if group == 0x0028 else PLANTED):
            dataset.add_new(tag, vr, PLANTED[vr])
    return dataset


def plant(dataset: Dataset, needed: Container[int] = PHYSICS, nested: bool = True) -> None:
    """Fill every attribute that is not physics, retired or not, at the top and one level down."""
    elements = [e for e in planted() if e.tag not in needed and (nested or e.VR != "SQ")]
    dataset.update({element.tag: element for element in elements})
    dataset.SpecificCharacterSet = "ISO_IR 192"
    for keyword, text in FREE_TEXT.items():
        setattr(dataset, keyword, text)
    for group in (0x0009, 0x0019, 0x0029, 0x0051, 0x2001, 0x2005):
        block = dataset.private_block(group, SENTINEL, create=True)
        block.add_new(0x01, "LO", SENTINEL)
        block.add_new(0x02, "PN", SENTINEL)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample study as a careless scanner would have written it."""
    folder = tmp_path_factory.mktemp("study")
    shutil.copytree(SAMPLE / "dicom", folder / "dicom")
    shutil.copy(SAMPLE / "tubes.csv", folder)
    settings = (SAMPLE / "study.toml").read_text("utf-8").split("[[contrast]]")[0]
    (folder / "study.toml").write_text(settings, "utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for file in (folder / "dicom").rglob("*.dcm"):
            first = file.name == "IM_0001.dcm"
            dataset = pydicom.dcmread(file)
            of_series = dataset.SeriesInstanceUID
            plant(dataset, nested=first)  # 900 sequences in every file would take long
            dataset.SeriesInstanceUID = f"{of_series}.{NUMBER}"[-64:].lstrip(".0")
            dataset.save_as(file)
    return folder


@pytest.fixture(scope="module")
def parametric_map(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Parametric Map with the same in all that is not needed to read it."""
    pytest.importorskip("highdicom", reason="pip install 'relaxometry[dicom]'")
    folder = tmp_path_factory.mktemp("map")
    scan = rx.read(SAMPLE / "dicom" / "t2_mese")
    file = rx.write_parametric_maps(rx.fit_maps(scan), folder)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(file)
        groups = (0x52009229, 0x52009230)
        plant(dataset, {*PHYSICS, *groups, *(e.tag for e in dataset if e.tag.group == 0x0028)})
        for group in groups:
            for item in dataset[group].value:
                for inner in [e for e in item if e.VR == "SQ"]:
                    plant_names(inner.value[0])
        dataset.save_as(file)
    assert file.read_bytes().count(SENTINEL.encode()) > 500
    return file


def told(folder: Path) -> dict[str, bytes]:
    """All that stands in files, unpacked, and in their names."""
    found: dict[str, bytes] = {}
    for file in folder.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            if file.suffix == ".gz":
                content = gzip.decompress(content)
            if file.suffix == ".png":
                content = unpacked_png(content)
            found[str(file.relative_to(folder))] = content
    return found


def unpacked_png(content: bytes) -> bytes:
    """The text chunks of a picture, packed or not."""
    parts, at = [], 8
    while at < len(content):
        size, kind = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8]
        chunk = content[at + 8 : at + 8 + size]
        if kind == b"zTXt":
            parts.append(zlib.decompress(chunk.split(b"\0\0", 1)[1]))
        elif kind != b"IDAT":
            parts.append(chunk)
        at += 12 + size
    return b"\n".join(parts)


def assert_nothing_in(text: str | bytes, where: str) -> None:
    content = text if isinstance(text, bytes) else text.encode()
    for telltale in TELLTALES:
        assert telltale.encode() not in content, f"{telltale} in {where}"


def run(*arguments: object) -> str:
    done = CliRunner().invoke(app, [str(one) for one in arguments])
    return done.output + done.stderr + repr(done.exception)


def test_the_plants_are_there(study: Path) -> None:
    """A test that finds nothing must have something to find."""
    file = study / "dicom" / "t2_mese" / "IM_0001.dcm"
    content = file.read_bytes()
    assert content.count(SENTINEL.encode()) > 500
    assert DATE.encode() in content
    dataset = pydicom.dcmread(file)
    for keyword in ("PatientName", "PatientID", "InstitutionName", "OperatorsName", "StationName"):
        assert dataset[keyword].value == SENTINEL
    for tag in (0x00081040, 0x00084000, 0x00324000, 0x00041141, 0x00281055):
        assert tag in dataset, hex(tag)
    item = dataset.RequestAttributesSequence[0]
    assert item.PatientName == item.ReferencedPatientSequence[0].PatientName == SENTINEL
    assert sum(element.VR == "SQ" for element in dataset) > 500


def test_no_command_tells(study: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    said = [
        run("inspect", study / "dicom"),
        run("inspect", study / "dicom", "--json"),
        run("fit", study / "dicom" / "t2_mese", "-o", tmp_path / "maps"),
        run("report", study / "study.toml", "-o", tmp_path / "report"),
        run(
            "fit", study / "dicom", "-o", tmp_path / "none"
        ),  # two series: an error that lists them
        run("fit", study / "dicom" / "t2_mese", "--te", "10ms,20ms", "-o", tmp_path / "none"),
        caplog.text,
    ]
    assert (tmp_path / "report" / "index.html").is_file(), said[3]
    assert (tmp_path / "maps" / "dataset_description.json").is_file(), said[2]
    for text in said:
        assert_nothing_in(text, text[:300])
    for name, content in told(tmp_path).items():
        assert_nothing_in(content, name)
        assert_nothing_in(name, "a file's name")


def test_no_object_tells(study: Path) -> None:
    series = rx.read(study / "dicom" / "t2_mese")
    found = rx.inspect(study / "dicom")
    for one in (series, series.provenance, series.protocol, found):
        assert_nothing_in(repr(one), type(one).__name__)
        assert_nothing_in(one._repr_html_(), type(one).__name__)
    assert_nothing_in(repr(dict(series.provenance.origin)), "origin")
    assert_nothing_in(json.dumps(found.to_dict()), "JSON")


@pytest.mark.parametrize("keyword", ["EchoTime", "PixelSpacing", "RescaleSlope"])
def test_no_complaint_tells(study: Path, tmp_path: Path, keyword: str) -> None:
    """A fault is told by its tag and value, and with nothing else of the file."""
    shutil.copytree(study / "dicom" / "t2_mese", tmp_path / "scan")
    file = next((tmp_path / "scan").iterdir())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(file)
        dataset[keyword].value = 0 if keyword == "RescaleSlope" else None
        dataset.save_as(file)
    assert_nothing_in(run("inspect", tmp_path / "scan"), keyword)
    with pytest.raises(rx.InputError) as caught:
        rx.read(tmp_path / "scan")
    assert_nothing_in(str(caught.value), keyword)


def test_no_garbled_file_tells(study: Path, tmp_path: Path) -> None:
    content = next((study / "dicom" / "t2_mese").iterdir()).read_bytes()
    rng = np.random.default_rng(0)
    for k in range(40):
        broken = bytearray(content[: rng.integers(140, len(content))])
        for at in rng.integers(140, len(broken), 30):
            broken[at] = rng.integers(256)
        (tmp_path / f"{k}").write_bytes(broken)
    found = rx.inspect(tmp_path)
    assert_nothing_in(repr(found) + json.dumps(found.to_dict()), "inspect")


def test_no_map_tells(parametric_map: Path, tmp_path: Path) -> None:
    found = rx.read_map(parametric_map)
    assert found.quantity in ("T2", "R2")
    assert_nothing_in(repr(found) + found._repr_html_(), "a map")
    content = parametric_map.read_bytes()
    rng = np.random.default_rng(0)
    broken = tmp_path / "T2.dcm"
    for k in range(12):
        spoilt = bytearray(content[: rng.integers(140, len(content))] if k % 2 else content)
        for at in rng.integers(140, len(spoilt), 200):
            spoilt[at] = rng.integers(256)
        broken.write_bytes(spoilt)
        try:
            rx.read_map(broken)
        except rx.InputError as error:
            assert_nothing_in("".join(traceback.format_exception(error)), "an error")


def test_no_log_tells(study: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The library that reads DICOM logs what it finds odd, with what stands there."""
    content = (study / "dicom" / "t2_mese" / "IM_0001.dcm").read_bytes()
    assert b"ISO_IR 192" in content
    caplog.set_level(logging.DEBUG)
    (tmp_path / "odd").write_bytes(content.replace(b"ISO_IR 192", SENTINEL.encode()))
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        found = rx.inspect(tmp_path / "odd")
    assert found.rows
    assert_nothing_in(caplog.text + "".join(str(w.message) for w in warned), "the log")


def test_no_sidecar_tells(tmp_path: Path) -> None:
    """What dcm2niix leaves in a sidecar and an image's header, even with -ba y."""
    keys = """
        PatientName PatientID PatientBirthDate PatientSex InstitutionName InstitutionAddress
        InstitutionalDepartmentName StationName DeviceSerialNumber Manufacturer ProtocolName
        ManufacturersModelName SeriesDescription SeriesInstanceUID StudyInstanceUID StudyID
        AcquisitionDateTime ProcedureStepDescription OperatorName PhysicianName ImageComments
        AccessionNumber ConversionSoftware SequenceName BodyPartExamined CoilString StudyComments
    """.split()  # noqa: SIM905
    rng = np.random.default_rng(0)
    for k in range(6):
        voxels = rng.normal(100 * np.exp(-k / 3), 1, (8, 8, 1)).astype(np.float32)
        image = nib.Nifti1Image(voxels, np.eye(4))
        for key in ("descrip", "aux_file", "db_name", "intent_name"):
            image.header[key] = SENTINEL
        nib.save(image, tmp_path / f"scan_e{k + 1}.nii")
        fields = {"EchoTime": 0.01 * (k + 1), "RepetitionTime": 3.0, "MagneticFieldStrength": 7}
        sidecar = dict.fromkeys(keys, SENTINEL) | fields
        (tmp_path / f"scan_e{k + 1}.json").write_text(json.dumps(sidecar))
    series = rx.read(tmp_path)
    out = tmp_path / "out"
    rx.write_maps(rx.fit_maps(series), out)
    for name, content in told(out).items():
        assert_nothing_in(content, name)
    assert_nothing_in(repr(series) + repr(rx.inspect(tmp_path)), "a repr")
    assert_nothing_in(json.dumps(rx.inspect(tmp_path).to_dict()), "JSON")
