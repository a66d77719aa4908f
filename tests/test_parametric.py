"""DICOM Parametric Maps: what pydicom finds in them, and that they read back as they were."""

from __future__ import annotations

import traceback
from pathlib import Path

import numpy as np
import pydicom
import pytest

import relaxometry as rx
from relaxometry import parametric
from relaxometry.bids import write_maps
from relaxometry.cli import run
from relaxometry.errors import GeometryError, InputError
from relaxometry.maps import ParameterMaps, Status
from relaxometry.models import as_model
from relaxometry.points import Choices
from relaxometry.series import Protocol, Series

from .test_bids_validity import VALIDATOR, complaints

pytest.importorskip("highdicom", reason="pip install 'relaxometry[dicom]'")

PROTOCOLS = {
    "t2": (Protocol(TE=[0.01, 0.02, 0.04], TR=3.0), "SE"),
    "t2star": (Protocol(TE=[0.002, 0.004, 0.008], TR=3.0), "GE"),
    "t1_ir": (Protocol(TI=[0.05, 0.2, 0.8, 3.0], TR=5.0), "SE"),
}
CODES = {
    "T1": ("113063", "T1"),
    "T2": ("113065", "T2"),
    "T2star": ("113064", "T2*"),
    "R1": ("126393", "R1"),
    "R2": ("126394", "R2"),
    "R2star": ("126395", "R2*"),
}


def turned(about_x: float, about_z: float) -> np.ndarray:
    a, b = np.deg2rad([about_x, about_z])
    x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    return x @ z


def affine_of(steps: np.ndarray, corner: tuple[float, ...] = (-17.123456789, 8.25, 1 / 3)):
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = steps, corner
    return affine


OBLIQUE = turned(21, -37) @ np.diag([0.3125, 0.46875, 2.2])
AFFINES = {
    "scanner": affine_of(np.diag([-2.0, -1.5, 4.0])),
    "oblique": affine_of(OBLIQUE),
    "oblique, mirrored": affine_of(OBLIQUE @ np.diag([1, -1, 1])),
    "counted down": affine_of(OBLIQUE @ np.diag([1, 1, -1])),
    "axes exchanged": affine_of(OBLIQUE[:, [1, 2, 0]]),
    "sheared slices": affine_of(OBLIQUE + np.outer([0.5, 0.3, 0], [0, 0, 1])),
    "in float32": affine_of(OBLIQUE).astype(np.float32).astype(float),
}


def maps_of(
    model: str = "t2", affine: np.ndarray = AFFINES["oblique"], grid: tuple = (5, 4, 3)
) -> ParameterMaps:
    """Maps with a voxel of every status that has no value."""
    protocol, sequence = PROTOCOLS[model]
    chosen, rng = as_model(model), np.random.default_rng(3)
    raw = {n: (rng.uniform(0.01, 2, grid), rng.random(grid)) for n in (chosen.time, "S0")}
    status = np.zeros(grid, dtype=np.uint8)
    status.flat[:4] = [Status.AT_BOUND, Status.MASKED, Status.LOW_SIGNAL, Status.NON_FINITE]
    series = Series(np.ones((*grid, len(protocol))), protocol, affine, sequence=sequence)
    plain = rng.random(grid), rng.random(grid)
    points = np.full(grid, len(protocol), dtype=np.uint8)
    return ParameterMaps(raw, *plain, status, points, series, chosen, Choices((0.0005, 5)))


def stored(maps: ParameterMaps, symbol: str) -> np.ndarray:
    return maps[symbol].value.astype(np.float32).astype(np.float64)


@pytest.mark.parametrize("name", AFFINES)
@pytest.mark.parametrize("grid", [(5, 4, 3), (6, 7, 1)])
def test_values_and_geometry_come_back(tmp_path: Path, name: str, grid: tuple) -> None:
    maps = maps_of(affine=AFFINES[name], grid=grid)
    files = rx.write_parametric_maps(maps, tmp_path)
    assert [file.name for file in files] == ["T2.dcm", "R2.dcm"]
    for file, symbol in zip(files, ("T2", "R2"), strict=True):
        quantity, value, affine = parametric.read(file)
        assert quantity == symbol
        assert value.dtype == np.float64
        np.testing.assert_array_equal(value, stored(maps, symbol))
        assert np.isnan(value.ravel()[:4]).all()
        np.testing.assert_allclose(affine, AFFINES[name], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", AFFINES)
def test_what_only_standard_tags_say_lies_at_the_same_place(tmp_path: Path, name: str) -> None:
    """As another program reads it: private tags gone, slices counted along their normal."""
    maps = maps_of(affine=AFFINES[name])
    file = rx.write_parametric_maps(maps, tmp_path)[0]
    dataset = pydicom.dcmread(file)
    dataset.remove_private_tags()
    dataset.save_as(file)
    _, value, affine = parametric.read(file)
    z = np.arange(3)
    if np.abs(affine[:3, 2] - AFFINES[name][:3, 2]).max() > 1e-3:
        z, value = z[::-1], value[:, :, ::-1]
    np.testing.assert_array_equal(value, stored(maps, "T2"))
    for voxel in np.ndindex(5, 4, 3):
        here = affine @ [*voxel[:2], z[voxel[2]], 1]
        np.testing.assert_allclose(here, AFFINES[name] @ [*voxel, 1], rtol=0, atol=1e-6)


def test_a_file_that_another_program_moved_is_where_it_was_moved_to(tmp_path: Path) -> None:
    file = rx.write_parametric_maps(maps_of(), tmp_path)[0]
    dataset = pydicom.dcmread(file)
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        position = frame.PlanePositionSequence[0].ImagePositionPatient
        frame.PlanePositionSequence[0].ImagePositionPatient = [position[0] - 7, *position[1:]]
    dataset.save_as(file)
    shift = parametric.read(file)[2] - AFFINES["oblique"]
    np.testing.assert_allclose(shift[:3, 3], [7, 0, 0], atol=1e-6)  # LPS to RAS


@pytest.mark.parametrize("model", PROTOCOLS)
def test_codes_units_and_pixels_as_pydicom_finds_them(tmp_path: Path, model: str) -> None:
    maps = maps_of(model)
    for file in rx.write_parametric_maps(maps, tmp_path):
        dataset = pydicom.dcmread(file)
        assert dataset.SOPClassUID == "1.2.840.10008.5.1.4.1.1.30"
        (shared,) = dataset.SharedFunctionalGroupsSequence
        (mapping,) = shared.RealWorldValueMappingSequence
        (unit,) = mapping.MeasurementUnitsCodeSequence
        assert unit.CodingSchemeDesignator == "UCUM"
        assert unit.CodeValue == ("s" if file.stem.startswith("T") else "/s")
        (definition,) = mapping.QuantityDefinitionSequence
        (concept,) = definition.ConceptCodeSequence
        found = concept.CodeValue, concept.CodeMeaning, concept.CodingSchemeDesignator
        assert found == (*CODES[file.stem], "DCM")
        assert (mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept) == (1, 0)
        assert (dataset.Rows, dataset.Columns, dataset.NumberOfFrames) == (4, 5, 3)
        frames = np.frombuffer(dataset.FloatPixelData, "<f4").reshape(3, 4, 5)
        places = [
            np.array(frame.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
            for frame in dataset.PerFrameFunctionalGroupsSequence
        ]
        x, y = np.split(np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient), 2)
        down, along = (float(v) for v in shared.PixelMeasuresSequence[0].PixelSpacing)
        expected, to_lps = stored(maps, file.stem), np.diag([-1, -1, 1])
        for k, row, column in np.ndindex(3, 4, 5):
            place = to_lps @ (places[k] + column * along * x + row * down * y)
            index = np.linalg.solve(AFFINES["oblique"], [*place, 1])[:3]
            np.testing.assert_allclose(index, np.rint(index), atol=1e-6)
            voxel = tuple(np.rint(index).astype(int))
            np.testing.assert_equal(float(frames[k, row, column]), expected[voxel])


def test_nobody_and_no_clock_is_in_them(tmp_path: Path) -> None:
    maps = maps_of()
    first = [file.read_bytes() for file in rx.write_parametric_maps(maps, tmp_path / "a")]
    again = [file.read_bytes() for file in rx.write_parametric_maps(maps, tmp_path / "b")]
    assert first == again
    dataset = pydicom.dcmread(tmp_path / "a" / "T2.dcm")
    assert (str(dataset.PatientName).strip("^"), dataset.PatientID) == ("PHANTOM", "PHANTOM")
    for element in dataset.iterall():
        if element.VR in ("DA", "DT") and element.value:
            assert str(element.value).startswith("20000101")
        if element.VR == "TM" and element.value:
            assert element.value == "000000"
    assert not dataset.get("InstitutionName")
    assert not dataset.get("StationName")
    assert not dataset.get("OperatorsName")


def test_maps_of_one_study_lie_over_each_other(tmp_path: Path) -> None:
    def frames(**named: str) -> tuple[set[str], set[str], set[str]]:
        files = rx.write_parametric_maps(maps_of("t2"), tmp_path / "x", **named)
        files += rx.write_parametric_maps(maps_of("t1_ir"), tmp_path / "x", **named)
        found = [pydicom.dcmread(file) for file in files]
        assert len({one.SOPInstanceUID for one in found}) == 4
        return (
            {one.StudyInstanceUID for one in found},
            {one.FrameOfReferenceUID for one in found},
            {one.SeriesInstanceUID for one in found},
        )

    assert [len(uids) for uids in frames(study="gel 7")] == [1, 1, 4]
    assert [len(uids) for uids in frames()] == [2, 2, 4]
    assert {p.name for p in (tmp_path / "x").iterdir()} == {"T1.dcm", "R1.dcm", "T2.dcm", "R2.dcm"}


def test_a_map_of_nothing(tmp_path: Path) -> None:
    maps = maps_of()
    maps.status.flags.writeable = True
    maps.status[:] = Status.LOW_SIGNAL
    for file in rx.write_parametric_maps(maps, tmp_path):
        assert np.isnan(parametric.read(file)[1]).all()


def test_rows_and_columns_at_right_angles(tmp_path: Path) -> None:
    sheared = affine_of(OBLIQUE + np.outer([0.1, 0, 0], [0, 1, 0]))
    with pytest.raises(GeometryError, match="right angles"):
        rx.write_parametric_maps(maps_of(affine=sheared), tmp_path / "new")
    assert not list(tmp_path.iterdir())


def test_without_highdicom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relaxometry.parametric.find_spec", lambda name: None)
    for write in (rx.write_parametric_maps, lambda m, f: write_maps(m, f, dicom=True)):
        with pytest.raises(InputError, match=r'highdicom; pip install "relaxometry\[dicom\]"'):
            write(maps_of(), tmp_path / "new")
    assert not list(tmp_path.iterdir())


def test_all_or_nothing(tmp_path: Path) -> None:
    (tmp_path / ".R2.dcm.part").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        rx.write_parametric_maps(maps_of(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".R2.dcm.part"]


# --- files of others -----------------------------------------------------------------------------


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return rx.write_parametric_maps(maps_of(), tmp_path)[0]


def mapping(dataset: pydicom.Dataset) -> pydicom.Dataset:
    return dataset.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]


def test_milliseconds_and_integers(written: Path) -> None:
    dataset = pydicom.dcmread(written)
    expected = np.nan_to_num(stored(maps_of(), "T2"), nan=0.0)
    frames = np.frombuffer(dataset.FloatPixelData, "<f4").reshape(3, 4, 5)
    del dataset.FloatPixelData
    pixels = np.rint(np.nan_to_num(frames) * 1e4).astype("<u2").tobytes()
    dataset.add_new("PixelData", "OW", pixels)
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelRepresentation = 0
    mapping(dataset).MeasurementUnitsCodeSequence[0].CodeValue = "ms"
    mapping(dataset).RealWorldValueSlope = 0.1
    dataset.save_as(written)
    quantity, value, _ = parametric.read(written)
    assert quantity == "T2"
    np.testing.assert_allclose(value, expected, atol=5.1e-5)


def other_unit(dataset: pydicom.Dataset) -> None:
    mapping(dataset).MeasurementUnitsCodeSequence[0].CodeValue = "mm2/s"


def other_quantity(dataset: pydicom.Dataset) -> None:
    definition = mapping(dataset).QuantityDefinitionSequence[0]
    definition.ConceptCodeSequence[0].CodeValue = "113041"  # ADC


def no_mapping(dataset: pydicom.Dataset) -> None:
    del dataset.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence


def too_large(dataset: pydicom.Dataset) -> None:
    dataset.Rows = dataset.Columns = 65535
    dataset.NumberOfFrames = 100_000


def short_pixels(dataset: pydicom.Dataset) -> None:
    dataset.FloatPixelData = dataset.FloatPixelData[:-8]


def lost_frame(dataset: pydicom.Dataset) -> None:
    del dataset.PerFrameFunctionalGroupsSequence[1]


def uneven(dataset: pydicom.Dataset) -> None:
    frame = dataset.PerFrameFunctionalGroupsSequence[1]
    position = frame.PlanePositionSequence[0].ImagePositionPatient
    frame.PlanePositionSequence[0].ImagePositionPatient = [*position[:2], position[2] + 0.7]


FAULTS = {
    other_unit: r"a map of 113065 in 'mm2/s'; expected T1",
    other_quantity: "a map of 113041 in 's'; expected T1",
    no_mapping: "cannot be read as a Parametric Map",
    too_large: "100000 frames of 65535×65535",
    short_pixels: "cannot be read as a Parametric Map",
    lost_frame: "3 frames, 2 of them described",
    uneven: "slices that lie unevenly",
}


@pytest.mark.parametrize("spoil", FAULTS, ids=lambda spoil: spoil.__name__)
def test_what_cannot_be_a_map_is_refused(written: Path, spoil) -> None:
    dataset = pydicom.dcmread(written)
    spoil(dataset)
    dataset.save_as(written)
    with pytest.raises(InputError, match=FAULTS[spoil]) as caught:
        parametric.read(written)
    assert str(caught.value).startswith(str(written))
    assert "\n" not in str(caught.value)


def test_nothing_of_a_file_is_told_but_what_the_standard_knows(written: Path) -> None:
    """Of a name in place of a number, or of a unit, and in no traceback either."""
    content = written.read_bytes()
    plain, name = b"1.2.840.10008.1.2.1\0", b"JOHN^DOE 1.2.840.999"
    number = pydicom.uid.ParametricMapStorage.encode()
    other = b"JOHN^DOE".ljust(len(number))

    def refused() -> str:
        with pytest.raises(InputError) as caught:
            parametric.read(written)
        return "".join(traceback.format_exception(caught.value))

    for old, new in ((plain, name), (number, other)):
        assert len(old) == len(new)
        written.write_bytes(content.replace(old, new, 1))
        assert "DOE" not in refused()
    written.write_bytes(content)
    for keyword in ("MeasurementUnitsCodeSequence", "QuantityDefinitionSequence"):
        dataset = pydicom.dcmread(written)
        item = mapping(dataset)[keyword].value[0]
        item = item.get("ConceptCodeSequence", [item])[0]
        item.CodeValue = "JOHN DOE"
        dataset.save_as(written)
        assert "DOE" not in refused()
        written.write_bytes(content)
    dataset = pydicom.dcmread(written)
    del mapping(dataset).RealWorldValueSlope
    mapping(dataset).add_new("RealWorldValueSlope", "LO", "JOHN DOE")
    dataset.save_as(written)
    assert "DOE" not in refused()


def test_other_files_are_refused(sample_data: Path, tmp_path: Path, written: Path) -> None:
    image = sample_data / "dicom" / "t2_mese" / "IM_0001.dcm"
    with pytest.raises(InputError, match=r"not a Parametric Map \(MR Image Storage\)"):
        parametric.read(image)
    (tmp_path / "text").write_text("hello")
    (tmp_path / "cut.dcm").write_bytes(written.read_bytes()[:3000])
    for name in ("text", "cut.dcm", "none"):
        with pytest.raises(InputError, match="cannot be read as a Parametric Map"):
            parametric.read(tmp_path / name)


def test_a_map_is_no_scan(written: Path) -> None:
    assert rx.inspect(written.parent).ignored["T2.dcm"].startswith("not an MR image (Parametric")


# --- beside BIDS ---------------------------------------------------------------------------------


def test_the_shell_writes_them_beside_the_bids_maps(sample_data: Path, tmp_path: Path) -> None:
    arguments = ["fit", str(sample_data / "dicom" / "t1_ir"), "-o", str(tmp_path / "maps")]
    assert run([*arguments, "--dicom", "--quiet"]) == 0
    (nifti,) = (tmp_path / "maps").rglob("sub-01_T1map.nii.gz")
    expected, at = rx.nifti.read_volume(nifti)
    quantity, value, affine = parametric.read(tmp_path / "maps" / "dicom" / "T1.dcm")
    assert quantity == "T1"
    np.testing.assert_array_equal(value, expected)
    np.testing.assert_allclose(affine, at, atol=1e-5)
    assert (tmp_path / "maps" / ".bidsignore").read_text() == "dicom\n"
    if VALIDATOR.is_file():
        assert complaints(tmp_path / "maps")["error"] == set()


def test_the_shell_says_at_once_that_highdicom_is_missing(
    sample_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr("relaxometry.parametric.find_spec", lambda name: None)
    arguments = ["fit", str(sample_data / "dicom" / "t1_ir"), "-o", str(tmp_path / "maps")]
    assert run([*arguments, "--dicom"]) == 3
    assert 'pip install "relaxometry[dicom]"' in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
