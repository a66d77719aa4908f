"""Folders as people have them: shuffled, mixed, incomplete; and the real phantoms."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest

from relaxometry import dicomwriter
from relaxometry.errors import InputError
from relaxometry.folder import read, read_all, read_image
from relaxometry.inspection import inspect
from relaxometry.series import Protocol, Series


def series(protocol: Protocol, seed: int = 0, z: int = 2, shift: float = 0.0) -> Series:
    affine = np.diag([0.5, 0.5, 2.0, 1.0])
    affine[0, 3] = shift
    signal = np.random.default_rng(seed).uniform(10, 1000, (5, 4, z, len(protocol)))
    return Series(signal, protocol, affine, field_T=7.0, sequence="SE")


MESE = series(Protocol(TE=[0.01, 0.02, 0.03, 0.04], TR=3.0))
IR = series(Protocol(TI=[0.05, 0.2, 0.8], TR=[1.0, 1.0, 2.46], TE=0.012), seed=1)


def write(one: Series, folder: Path, number: int, apart: bool = False) -> list[Path]:
    return dicomwriter.write_series(
        one,
        folder,
        description="secret words",
        series_number=number,
        uid_seed="folder",
        one_series_per_setting=apart,
    )


def pour(files: list[Path], folder: Path, seed: int = 3) -> None:
    """Move files into one folder under names that say nothing of their order."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(seed)
    for k, file in zip(rng.permutation(len(files)), files, strict=True):
        shutil.move(file, folder / f"{seed}x{k}")


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A MESE, an IR with one series per TI, a phase series, a localiser and other files."""
    folder = tmp_path / "scan"
    pour(write(MESE, tmp_path / "a", 1), folder, 3)
    pour(write(IR, tmp_path / "b", 10, apart=True), folder, 4)
    phase = write(MESE, tmp_path / "c", 2)
    for file in phase:
        dataset = pydicom.dcmread(file)
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "P"]
        dataset.save_as(file, enforce_file_format=True)
    pour(phase, folder, 5)
    loose = write(series(Protocol(TE=[0.005, 0.006]), 9, 1, shift=40.0), tmp_path / "d", 0)
    pour(loose[:1], folder, 6)
    (folder / "notes.txt").write_text("TE 10 ms")
    (folder / ".DS_Store").write_bytes(b"\0" * 200)
    return folder


def same(a: Series, b: Series) -> bool:
    return bool(np.abs(a.signal - b.signal).max() < 0.02 and np.allclose(a.affine, b.affine))


def test_shuffled_files_with_a_localiser_and_text_give_the_one_series(tmp_path: Path) -> None:
    folder = tmp_path / "scan"
    pour(write(MESE, tmp_path / "a", 1), folder)
    (folder / "readme").write_text("hello")
    loose = write(series(Protocol(TE=[0.005, 0.006]), 9, 1, shift=40.0), tmp_path / "d", 0)
    pour(loose[:1], folder, 6)
    back = read(folder)
    assert same(back, MESE)
    assert np.allclose(back.protocol.TE, MESE.protocol.TE)


def test_all_series_of_a_mixed_folder(mixed: Path) -> None:
    first, second = read_all(mixed)
    assert same(first, MESE)
    assert same(second, IR)
    assert second.protocol.TR.tolist() == [1.0, 1.0, 2.46]


def test_one_of_several_series_is_chosen_by_the_number_that_inspect_gives(mixed: Path) -> None:
    with pytest.raises(InputError, match=r"2 series \(.*MESE, 4 TE 10 … 40 ms.*IRT1.*series = "):
        read(mixed)
    numbers = {row.kind: row.number for row in inspect(mixed).rows if row.kind}
    assert same(read(mixed, series=numbers["IRT1"]), IR)
    assert same(read(mixed, series=numbers["MESE"]), MESE)
    with pytest.raises(InputError, match="no series 9; expected 1 to 4"):
        read(mixed, series=9)
    phase = next(row for row in inspect(mixed).rows if row.problem == "a phase image")
    with pytest.raises(InputError, match="a phase image"):
        read(mixed, series=phase.number)


def test_inspect_says_what_is_there(mixed: Path) -> None:
    (mixed / "broken").write_bytes(b"\0" * 128 + b"DICM" + b"rubbish")
    found = inspect(mixed)
    facts = [(row.kind, row.problem is None, row.shape) for row in found.rows]
    assert facts == [
        (None, False, (5, 4, 1, 1)),
        ("MESE", True, (5, 4, 2, 4)),
        (None, False, (5, 4, 2, 8)),
        ("IRT1", True, (5, 4, 2, 3)),
    ]
    assert set(found.ignored) == {"notes.txt"}
    assert set(found.unreadable) == {"broken"}
    assert found.ignored["notes.txt"] == "not a DICOM or NIfTI file"
    assert "2: MESE, 4 TE 10 … 40 ms, 5×4×2, 0.5 × 0.5 × 2 mm, 7 T" in repr(found)
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    inversion = told["series"][3]
    assert inversion["TI_s"] == pytest.approx([0.05, 0.2, 0.8])
    assert inversion["TR_s"] == pytest.approx([1.0, 1.0, 2.46])
    assert inversion["swept"] == "TI"
    assert inversion["voxel_mm"] == pytest.approx([0.5, 0.5, 2.0])
    assert (inversion["field_T"], inversion["n_files"]) == (7.0, 6)
    assert inversion["polarity"] == "magnitude"
    with pytest.raises(InputError, match="broken"):
        read(mixed)


def test_inspect_tells_nothing_of_people_operators_or_folders(mixed: Path) -> None:
    for file in mixed.glob("[0-9]*"):
        dataset = pydicom.dcmread(file)
        dataset.PatientName, dataset.InstitutionName = "Secret^Person", "Secret Hospital"
        dataset.StationName, dataset.DeviceSerialNumber = "SECRET", "SECRET1"
        dataset.save_as(file, enforce_file_format=True)
    told = (json.dumps(inspect(mixed).to_dict()) + repr(inspect(mixed))).lower()
    assert "secret" not in told
    assert str(mixed.parent).lower() not in told


def test_a_missing_slice_and_a_doubled_file_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "scan"
    files = write(MESE, folder, 1)
    shutil.copy(files[2], folder / "copy.dcm")
    with pytest.raises(InputError, match=r"the same image as IM_0003.dcm"):
        read(folder)
    again = pydicom.dcmread(files[2])
    again.SOPInstanceUID = again.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    again.save_as(folder / "copy.dcm")
    with pytest.raises(InputError, match=r"2 images of slice 1 .*TE 20 ms: .*IM_0003.dcm"):
        read(folder)
    (folder / "copy.dcm").unlink()
    files[2].unlink()
    with pytest.raises(InputError, match=r"slice 1 of 2 .* is missing at TE 20 ms"):
        read(folder)
    assert "is missing at TE 20 ms" in (inspect(folder).rows[0].problem or "")


def test_two_swept_settings_are_an_error(tmp_path: Path) -> None:
    files = write(MESE, tmp_path, 1)
    for k, file in enumerate(files):
        dataset = pydicom.dcmread(file)
        dataset.RepetitionTime = 1000 + 500 * (k // 2)
        dataset.save_as(file, enforce_file_format=True)
    with pytest.raises(InputError, match=r"TE 10 … 40 ms, TR 1000 … 2500 ms"):
        read(tmp_path)
    assert read(tmp_path, tr=[3.0]).kind == "MESE"


def test_times_and_polarity_by_hand_are_recorded(tmp_path: Path) -> None:
    write(IR, tmp_path, 1)
    back = read(tmp_path, ti=[0.06, 0.21, 0.81], polarity="signed")
    assert back.protocol.TI.tolist() == [0.06, 0.21, 0.81]
    assert back.signed
    assert back.provenance.origin["TI"] == back.provenance.origin["signed"] == "given by hand"
    assert same(back, IR)


def test_folders_within_folders(tmp_path: Path) -> None:
    for k, file in enumerate(write(IR, tmp_path / "flat", 1, apart=True)):
        place = tmp_path / "scan" / f"series_{k // 2}"
        place.mkdir(parents=True, exist_ok=True)
        shutil.move(file, place / f"{k}")
    assert same(read(tmp_path / "scan"), IR)


def test_echo_10_comes_after_echo_2_where_only_names_tell(tmp_path: Path) -> None:
    TE = [0.01 * k for k in range(1, 13)]
    train = series(Protocol(TE=TE), z=1)
    for k, file in enumerate(write(train, tmp_path, 1), 1):
        dataset = pydicom.dcmread(file)
        del dataset.EchoTime, dataset.InstanceNumber
        dataset.save_as(tmp_path / f"echo{k}.dcm", enforce_file_format=True)
        file.unlink()
    with pytest.raises(InputError, match="no acquisition times"):
        read(tmp_path)
    assert same(read(tmp_path, te=TE), train)


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        read(tmp_path / "missing")
    with pytest.raises(InputError, match="nothing to fit"):
        read(tmp_path)
    with pytest.raises(InputError, match="nothing to fit"):
        read_all(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        inspect(tmp_path / "missing")
    (file,) = write(series(Protocol(TE=[0.01, 0.02]), z=1), tmp_path, 1)[:1]
    with pytest.raises(InputError, match="nothing varies: one image at TE 10 ms"):
        read(file)


def test_an_image_without_a_sweep(tmp_path: Path) -> None:
    files = write(series(Protocol(TE=[0.01, 0.02]), z=3), tmp_path / "scan", 1)
    with pytest.raises(InputError, match="6 images of 3 slice"):
        read_image(tmp_path / "scan")
    for file in files[3:]:
        file.unlink()
    voxels, affine = read_image(tmp_path / "scan")
    assert voxels.shape == (5, 4, 3)
    assert voxels.dtype == np.float64
    assert affine == pytest.approx(np.diag([0.5, 0.5, 2.0, 1.0]))

    nifti = tmp_path / "image.nii.gz"
    data = np.arange(24, dtype=np.float32).reshape(4, 3, 2)
    nib.save(nib.Nifti1Image(data, np.diag([1.0, 2.0, 3.0, 1.0])), nifti)
    voxels, affine = read_image(nifti)
    assert np.array_equal(voxels, data)
    assert affine == pytest.approx(np.diag([1.0, 2.0, 3.0, 1.0]))
    with pytest.raises(InputError, match="no acquisition times"):
        read(nifti)


TI_S = [0.05, 0.1, 0.2, 0.4, 0.6, 0.8]
PHANTOMS = {
    "siemens_aera_1p5T/T1_plate5": ("IRT1", TI_S, [1.0, 1.0, 1.0, 1.26, 1.86, 2.46]),
    "siemens_aera_1p5T/T2_plate4": ("MESE", [0.0127 * k for k in range(1, 33)], [2.0] * 32),
    "ge_1p5T/T1_plate4": ("IRT1", TI_S, [1.0] * 6),
    "ge_1p5T/T1_plate5": ("IRT1", TI_S, [1.0] * 6),
    "ge_1p5T/T2_plate4": ("MESE", [0.00964 * k for k in range(1, 9)], [2.0] * 8),
    "ge_1p5T/T2_plate5": ("MESE", [0.00964 * k for k in range(1, 9)], [2.0] * 8),
    "philips_1p5T/T1_plate4": ("IRT1", TI_S, [1.0] * 6),
    "philips_1p5T/T1_plate5": ("IRT1", TI_S, [1.0] * 6),
    "philips_1p5T/T2_plate4": ("MESE", [0.005 * k for k in range(1, 33)], [2.0] * 32),
    "philips_1p5T/T2_plate5": ("MESE", [0.005 * k for k in range(1, 33)], [2.0] * 32),
}


@pytest.mark.real_data
@pytest.mark.parametrize("name", PHANTOMS)
def test_system_phantom(real_data: Path, name: str) -> None:
    folder = real_data / "system_phantom" / name
    kind, swept, TR = PHANTOMS[name]
    (back,) = read_all(folder)
    assert (back.kind, back.signed, back.field_T) == (kind, False, 1.5)
    assert np.allclose(back.protocol.times, swept, rtol=1e-6)
    assert np.allclose(back.protocol.TR, TR, rtol=1e-6)
    assert back.grid[2] == 1
    assert "voxels" not in back.provenance.origin["signed"]
    (row,) = inspect(folder).rows
    assert (row.kind, row.polarity, row.repeats, row.problem) == (kind, "magnitude", 1, None)
    assert row.shape == back.signal.shape
    assert np.allclose(row.protocol.times, swept, rtol=1e-6)
    assert row.origin[row.protocol.swept].endswith(
        {"IRT1": "InversionTime (0018,0082)", "MESE": "EchoTime (0018,0081)"}[kind]
    )
    # The spheres lie where another program found them: brighter there than the picture's corner.
    centres = json.loads((folder.parents[1] / "expected.json").read_text())[name]
    image = back.root_sum_of_squares()[:, :, 0]
    for row, column in centres["sphere_centres_row_col"][:10]:
        assert image[round(column), round(row)] > 5 * np.median(image[:10, :10])


@pytest.mark.real_data
def test_a_scanner_s_whole_folder(real_data: Path) -> None:
    found = inspect(real_data / "system_phantom" / "philips_1p5T")
    assert sorted(row.kind or "" for row in found.rows) == ["IRT1", "IRT1", "MESE"]
    assert all(row.problem is None for row in found.rows)


@pytest.mark.real_data
def test_inspect_never_fails(real_data: Path) -> None:
    found = inspect(real_data / "dicom_variants")
    assert found.rows
    assert found.ignored
    assert json.dumps(found.to_dict(), allow_nan=False)


def test_an_empty_file_is_an_image_that_was_lost(tmp_path: Path) -> None:
    protocol = Protocol(TE=[0.01, 0.02, 0.03], TR=3.0)
    files = write(series(protocol), tmp_path / "scan", 1)
    files[0].write_bytes(b"")
    with pytest.raises(InputError, match=r"IM_0001.dcm: is an empty file; copy the scan again"):
        read(tmp_path / "scan")
    assert "IM_0001.dcm: is an empty file" in repr(inspect(tmp_path / "scan"))


def test_a_copy_is_no_repeat(tmp_path: Path) -> None:
    files = write(MESE, tmp_path / "scan", 1)
    shutil.copy(files[2], tmp_path / "scan" / "copy")
    for repeats in (None, "mean", "separate"):
        with pytest.raises(
            InputError, match=r"the same image as (copy|IM_0003.dcm); expected each"
        ):
            read(tmp_path / "scan", repeats=repeats)


def test_a_pointer_in_an_image_s_place_is_an_image_lost(tmp_path: Path) -> None:
    files = write(MESE, tmp_path / "scan", 1)
    files[2].write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(InputError, match=r"IM_0003.dcm: a Git LFS pointer .* git lfs pull"):
        read(tmp_path / "scan")
    assert list(inspect(tmp_path / "scan").unreadable) == ["IM_0003.dcm"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    write(MESE, tmp_path / "scan", 1)
    os.mkfifo(tmp_path / "scan" / "pipe")
    found = inspect(tmp_path / "scan")
    assert found.unreadable["pipe"].startswith("neither a file nor a folder")
    assert [row.kind for row in found.rows] == ["MESE"]


@pytest.mark.real_data
def test_philips_without_its_scale_is_not_compared_across_acquisitions(
    real_data: Path, tmp_path: Path
) -> None:
    """Three TIs whose RescaleSlope happens to be the same, and whose scale slopes differ."""
    folder = real_data / "system_phantom" / "philips_1p5T" / "T1_plate4"
    alike = [
        file
        for file in folder.iterdir()
        if round(pydicom.dcmread(file).RescaleSlope, 6) == 1.221001
    ]
    assert len(alike) == 3
    for file in alike:
        dataset = pydicom.dcmread(file)
        dataset.remove_private_tags()
        dataset.save_as(tmp_path / file.name)
    with pytest.raises(
        InputError, match=r"scale slope \(2005,100E\): missing in images of several"
    ):
        read(tmp_path)


def test_an_unknown_maker_is_no_reason_to_refuse_one_scale(tmp_path: Path) -> None:
    """Each TI an acquisition of its own, the maker's name taken out: one slope for all compares."""
    for file in write(IR, tmp_path / "scan", 1, apart=True):
        dataset = pydicom.dcmread(file)
        dataset.Manufacturer = ""
        dataset.save_as(file, enforce_file_format=True)
    assert same(read(tmp_path / "scan"), IR)
