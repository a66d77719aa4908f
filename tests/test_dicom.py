"""DICOM files: written and read back, against the standard's formula, and broken in many ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedSRStorage,
    MediaStorageDirectoryStorage,
    ParametricMapStorage,
    SecondaryCaptureImageStorage,
)

from relaxometry import dicom
from relaxometry.dicomheader import starts_as_dicom
from relaxometry.errors import InputError
from relaxometry.folder import read, read_image
from relaxometry.images import LeftOut
from relaxometry.series import Protocol, Series

from .handmade_dicom import change, mese, oblique, write


@pytest.mark.parametrize("apart", [False, True])
def test_round_trip(tmp_path: Path, apart: bool) -> None:
    series = mese()
    files = write(series, tmp_path, one_series_per_setting=apart)
    assert [f.name for f in files] == [f"IM_{k:04d}.dcm" for k in range(1, 10)]
    assert sorted(tmp_path.iterdir()) == files
    back = read(tmp_path)
    slope = float(pydicom.dcmread(files[0]).RescaleSlope)
    assert np.abs(back.signal - series.signal).max() <= slope * 0.501
    assert np.allclose(back.affine, series.affine, atol=1e-6)
    assert np.allclose(back.protocol.TE, series.protocol.TE, rtol=1e-12, atol=0)
    assert np.allclose(back.protocol.TR, series.protocol.TR, rtol=1e-12, atol=0)
    assert (back.kind, back.signed, back.field_T, back.sequence) == ("MESE", False, 7.0, "SE")
    assert back.provenance.origin["TE"] == "EchoTime (0018,0081)"
    assert back.provenance.origin["signed"] == "ImageType M"


@pytest.mark.parametrize("kind", ["IRT1", "VTR", "MEGRE", "VFA"])
def test_round_trip_of_every_kind(tmp_path: Path, kind: str) -> None:
    protocol = {
        "IRT1": Protocol(TI=[0.05, 0.4, 0.8], TR=[1.0, 1.26, 2.46], TE=0.012),
        "VTR": Protocol(TR=[0.5, 1.5, 3.0], TE=0.0061),
        "MEGRE": Protocol(TE=[0.002, 0.004, 0.006], TR=0.1, FA=20),
        "VFA": Protocol(FA=[2, 5, 15], TR=0.015, TE=0.002),
    }[kind]
    signal = np.random.default_rng(1).normal(0, 300, (5, 4, 1, 3))
    sequence = "GE" if kind in ("MEGRE", "VFA") else "SE"
    signed = kind == "IRT1"
    series = Series(
        signal if signed else np.abs(signal), protocol, oblique(), signed, 3.0, sequence
    )
    write(series, tmp_path)
    back = read(tmp_path)
    assert (back.kind, back.signed, back.sequence) == (kind, signed, sequence)
    for name in ("TE", "TI", "TR", "FA"):
        expected = getattr(protocol, name)
        assert (getattr(back.protocol, name) is None) is (expected is None)
        if expected is not None:
            assert getattr(back.protocol, name) == pytest.approx(expected, rel=1e-12)
    assert np.abs(back.signal - series.signal).max() <= np.abs(signal).max() / 50000


def test_the_same_series_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = write(mese(), tmp_path / "a"), write(mese(), tmp_path / "b")
    assert [f.read_bytes() for f in first] == [f.read_bytes() for f in second]
    other = write(mese(), tmp_path / "c", uid_seed="another")
    uids = {pydicom.dcmread(f).SOPInstanceUID for f in (*first, *other)}
    assert len(uids) == 18


def test_a_signal_that_is_not_finite_is_not_written(tmp_path: Path) -> None:
    signal = np.array(mese().signal)
    signal[0, 0, 0, 0] = np.nan
    with pytest.raises(InputError, match="not finite"):
        write(Series(signal, mese().protocol), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_voxels_lie_where_the_standard_puts_them(tmp_path: Path) -> None:
    """PS3.3 C.7.6.2.1.1: P = S + X·(column spacing)·column + Y·(row spacing)·row, in LPS."""
    for file in write(mese(), tmp_path):
        dataset = pydicom.dcmread(file)
        voxels, affine = read_image(file)
        cosines = np.array(dataset.ImageOrientationPatient, dtype=float)
        row, column = 3, 5
        lps = (
            np.array(dataset.ImagePositionPatient, dtype=float)
            + cosines[:3] * float(dataset.PixelSpacing[1]) * column
            + cosines[3:] * float(dataset.PixelSpacing[0]) * row
        )
        assert (affine @ [column, row, 0, 1])[:3] == pytest.approx(lps * [-1, -1, 1], abs=1e-4)
        stored = dataset.pixel_array[row, column] * float(dataset.RescaleSlope)
        assert voxels[column, row, 0] == pytest.approx(stored)


@pytest.mark.parametrize("text", ["12,5", "abc", "nan", "-5", "8\\16", "inf", "0"])
def test_a_time_that_is_no_number_is_an_error_that_names_it(tmp_path: Path, text: str) -> None:
    files = write(mese(1), tmp_path)
    change(files[1], EchoTime=text)
    with pytest.raises(InputError, match=r"IM_0002.dcm: EchoTime \(0018,0081\)") as caught:
        read(tmp_path)
    assert text.split("\\")[0] in caught.value.found
    assert "--te" in str(caught.value)
    times = read(tmp_path, te=[0.0127, 0.0254, 0.0381]).protocol.TE
    assert times.tolist() == [0.0127, 0.0254, 0.0381]


@pytest.mark.parametrize("name", ["TE", "TI", "TR"])
def test_times_in_seconds_are_refused_in_words(tmp_path: Path, name: str) -> None:
    protocol = {
        "TE": Protocol(TE=[0.0127, 0.0254, 0.0381], TR=0.9),
        "TI": Protocol(TI=[0.05, 0.4, 0.8], TR=3.0),
        "TR": Protocol(TR=[0.05, 0.5, 3.0]),
    }[name]
    files = write(Series(np.ones((5, 4, 1, 3)), protocol, sequence="SE"), tmp_path)
    for file in files:
        dataset = pydicom.dcmread(file)
        for keyword in ("EchoTime", "InversionTime", "RepetitionTime"):
            if dataset.get(keyword) is not None:
                change(file, **{keyword: f"{float(dataset[keyword].value) / 1e3:.9g}"})
    with pytest.raises(InputError, match="ms is too short; expected milliseconds, as DICOM") as e:
        read(tmp_path)
    assert f"--{name.lower()}" in str(e.value)
    times = {n: getattr(protocol, n) for n in ("TE", "TI", "TR")}
    given = {n.lower(): [*dict.fromkeys(t)] for n, t in times.items() if t is not None}
    assert read(tmp_path, **given).protocol.times == pytest.approx(protocol.times)


def test_an_ultrashort_echo_time_is_one(tmp_path: Path) -> None:
    files = write(mese(1), tmp_path)
    change(files[0], EchoTime="0.008")
    assert read(tmp_path).protocol.TE[0] == pytest.approx(8e-6)


@pytest.mark.parametrize("value", ["", None])
def test_a_missing_echo_time_is_an_error_that_names_it(tmp_path: Path, value: str | None) -> None:
    files = write(mese(1), tmp_path)
    change(files[1], EchoTime=value)
    with pytest.raises(InputError, match=r"IM_0002.dcm: EchoTime: not stated.* --te"):
        read(tmp_path)


@pytest.mark.parametrize(
    "tags",
    [
        {"RescaleSlope": "0"},
        {"RescaleSlope": "abc"},
        {"PixelSpacing": "0.5"},
        {"PixelSpacing": "0\\0.5"},
        {"PixelSpacing": None},
        {"ImagePositionPatient": "1\\2\\nan"},
        {"ImagePositionPatient": None},
        {"ImageOrientationPatient": "1\\0\\0\\1\\0\\0"},
        {"Rows": 40000},
        {"Rows": None},
        {"NumberOfFrames": "3"},
        {"SamplesPerPixel": 3},
        {"MagneticFieldStrength": "abc"},
    ],
)
def test_a_corrupt_image_is_an_error_that_names_its_file(
    tmp_path: Path, tags: dict[str, Any]
) -> None:
    files = write(mese(1), tmp_path)
    change(files[2], **tags)
    with pytest.raises(InputError, match=r"IM_0003.dcm") as caught:
        read(tmp_path)
    assert caught.value.hint


def test_a_file_cut_off_anywhere_is_an_error_and_never_a_crash(tmp_path: Path) -> None:
    file = write(mese(1), tmp_path)[0]
    whole = file.read_bytes()
    for length in range(0, len(whole), 37):
        file.write_bytes(whole[:length])
        with pytest.raises(InputError):
            read_image(file)


REPORT = ["DERIVED", "SECONDARY", "OTHER", "CSA REPORT"]
MAP = ["DERIVED", "PRIMARY", "M", "T1 MAP"]
RGB = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}
PALETTE = {"PhotometricInterpretation": "PALETTE COLOR"}


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"ImageType": MAP, **RGB}, "a colour picture"),
        ({"ImageType": ["DERIVED", "SECONDARY"], **RGB}, "a colour picture"),
        (PALETTE, "a colour picture"),
        ({"ImageType": REPORT, "ImagePositionPatient": None}, "a picture of a screen"),
        ({"ImageType": REPORT, "Rows": None}, "a picture of a screen"),
        ({"ImageType": REPORT, "PixelData": None}, "a picture of a screen"),
        ({"ImageType": MAP, "RescaleSlope": "0"}, "computed from other images"),
        ({"ImageType": MAP, "PixelSpacing": "0\\0"}, "computed from other images"),
    ],
)
def test_no_scan_misses_a_picture_made_of_it(
    tmp_path: Path, tags: dict[str, Any], reason: str
) -> None:
    write(mese(1), tmp_path)
    other = tmp_path / "other.dcm"
    write(mese(1), tmp_path / ".made", description="made of it")[0].rename(other)
    change(other, **tags)
    assert read(tmp_path).kind == "MESE"
    with pytest.raises(LeftOut, match=f"^{other}: {reason}"):
        dicom.images(other)


def test_no_scan_misses_a_frame_made_of_the_others(tmp_path: Path) -> None:
    (file,) = write(mese(1), tmp_path, enhanced=True)
    dataset = pydicom.dcmread(file)
    frame = dataset.PerFrameFunctionalGroupsSequence[1]
    frame.MRImageFrameTypeSequence = [pydicom.Dataset()]
    frame.MRImageFrameTypeSequence[0].FrameType = MAP
    del frame.PlanePositionSequence
    dataset.save_as(file)
    assert [image.number for image in dicom.images(file)] == [0, 2]
    assert read(tmp_path).protocol.TE.tolist() == [0.0127, 0.0381]


def test_pixels_that_are_stretched_by_slope_and_intercept(tmp_path: Path) -> None:
    files = write(mese(1), tmp_path)
    change(files[0], RescaleSlope="2", RescaleIntercept="-4096")
    stored = pydicom.dcmread(files[0]).pixel_array.T
    assert np.array_equal(read_image(files[0])[0][:, :, 0], stored * 2.0 - 4096)
    change(files[1], RescaleSlope=None, RescaleIntercept=None)
    stored = pydicom.dcmread(files[1]).pixel_array.T
    assert np.array_equal(read_image(files[1])[0][:, :, 0], stored)


def philips(file: Path, RS: float, RI: float, SS: float | None) -> None:
    dataset = pydicom.dcmread(file)
    dataset.Manufacturer = "Philips Medical Systems"
    dataset.RescaleSlope, dataset.RescaleIntercept = RS, RI
    if SS is not None:
        block = dataset.private_block(0x2005, "Philips MR Imaging DD 001", create=True)
        block.add_new(0x0E, "FL", SS)
        assert (0x2005, 0x100E) in dataset
    dataset.save_as(file, enforce_file_format=True)


def test_philips_floating_point_values(tmp_path: Path) -> None:
    """FP = (SV·RS + RI)/(RS·SS), by hand: SV of 3 and 7."""
    file = write(mese(1), tmp_path)[0]
    dataset = pydicom.dcmread(file)
    pixels = np.zeros((4, 6), dtype="<u2")
    pixels[1, 2], pixels[3, 5] = 3, 7
    dataset.PixelData = pixels.tobytes()
    dataset.save_as(file, enforce_file_format=True)
    philips(file, RS=1.25, RI=5.0, SS=0.5)
    voxels, _ = read_image(file)
    assert voxels[2, 1, 0] == pytest.approx((3 * 1.25 + 5) / (1.25 * 0.5))
    assert voxels[5, 3, 0] == pytest.approx(22.0)
    assert voxels[0, 0, 0] == pytest.approx(8.0)


def test_philips_without_its_scale_slope(tmp_path: Path) -> None:
    files = write(mese(1), tmp_path)
    for file in files:
        philips(file, RS=1.25, RI=0, SS=None)
    assert read(tmp_path).kind == "MESE"  # one scale for all: no harm done
    philips(files[1], RS=1.5, RI=0, SS=None)
    with pytest.raises(InputError, match=r"2005,100E.*missing, while RescaleSlope is 1.25 to 1.5"):
        read(tmp_path)
    for file in files:
        philips(file, RS=1.5, RI=0, SS=0.0)
    with pytest.raises(InputError, match=r"2005,100E"):
        read(tmp_path)


@pytest.mark.parametrize("kind", ["M_IR", "M_SE", "M"])
@pytest.mark.parametrize("maker", ["", None, "REMOVED"])
def test_philips_without_its_name(tmp_path: Path, maker: str | None, kind: str) -> None:
    """As an anonymiser leaves it: no private tags, no maker, and a RescaleSlope per image."""
    files = write(mese(1), tmp_path)
    for file in files:
        change(file, Manufacturer=maker, ImageType=["ORIGINAL", "PRIMARY", kind])
        change(file, RescaleSlope="1.25")
    assert read(tmp_path).kind == "MESE"
    change(files[1], RescaleSlope="1.5")
    with pytest.raises(InputError, match=r"RescaleSlope is 1.25 to 1.5"):
        read(tmp_path)


@pytest.mark.parametrize("maker", ["GE MEDICAL SYSTEMS", "SIEMENS", "Canon", "Bruker", ""])
def test_a_slope_per_image_of_other_makers(tmp_path: Path, maker: str) -> None:
    files = write(mese(1), tmp_path)
    for k, file in enumerate(files):
        change(file, Manufacturer=maker, RescaleSlope=f"{k + 1}", SequenceName="Bruker:MSME")
    stored = [pydicom.dcmread(file).pixel_array.T * (k + 1.0) for k, file in enumerate(files)]
    assert np.array_equal(read(tmp_path).signal[:, :, 0], np.stack(stored, axis=-1))


def test_an_inversion_time_of_zero_without_inversion_is_none(tmp_path: Path) -> None:
    files = write(mese(1), tmp_path)
    for file in files:
        change(file, InversionTime="0")
    assert read(tmp_path).protocol.TI is None
    for file in files:
        change(file, ScanningSequence=["SE", "IR"])
    assert read(tmp_path).protocol.TI.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("image_type", "reason"),
    [
        (["ORIGINAL", "PRIMARY", "P", "ND"], "a phase image"),
        (["ORIGINAL", "PRIMARY", "PHASE MAP", "P", "SE"], "a phase image"),
        (["ORIGINAL", "PRIMARY", "I"], "an imaginary image"),
        (["ORIGINAL", "PRIMARY", "LOCALIZER"], "a localiser"),
        (["DERIVED", "PRIMARY", "M", "T2 MAP"], "computed from other images"),
        (["DERIVED", "PRIMARY", "T1_MAP"], "computed from other images"),
        (["DERIVED", "PRIMARY", "M", "T2_STAR MAP", "T2_STAR MAP"], "computed from other images"),
        (["DERIVED", "PRIMARY", "OTHER", "QUANTITY"], "computed from other images"),
        (["DERIVED", "PRIMARY", "PHASE MAP", "FFE"], "a phase image"),
        (["ORIGINAL", "PRIMARY", "I_SE", "I", "SE"], "an imaginary image"),
        (["DERIVED", "SECONDARY", "OTHER", "CSA REPORT"], "a picture of a screen"),
        (["ORIGINAL", "PRIMARY", "M_FFE", "M", "FFE"], ""),
        (["ORIGINAL", "PRIMARY", "R_IR", "R", "IR"], ""),
        (["DERIVED", "SECONDARY", "OTHER"], ""),
        (["ORIGINAL", "PRIMARY", "M", "ND", "NORM"], ""),
        (["DERIVED", "PRIMARY", "M", "DIS2D"], ""),
        (["ORIGINAL", "PRIMARY", "", "MAGNITUDE_IMAGE"], ""),
    ],
)
def test_what_the_type_of_an_image_says(tmp_path: Path, image_type: list[str], reason: str) -> None:
    file = write(mese(1), tmp_path)[0]
    change(file, ImageType=image_type)
    (image,) = dicom.images(file)
    assert image.unfit.startswith(reason)
    assert bool(image.unfit) is bool(reason)


@pytest.mark.parametrize(
    ("image_type", "told"),
    [
        (["DERIVED", "PRIMARY", "JOHN DOE MAP"], "ImageType MAP"),
        (["ORIGINAL", "PRIMARY", "M_JOHN"], "ImageType M"),
        (["ORIGINAL", "PRIMARY", "MAGNITUDE_DOE"], "ImageType MAGNITUDE"),
        (["ORIGINAL", "PRIMARY", "MAGNITUDE_IMAGE"], "ImageType MAGNITUDE_IMAGE"),
        (["ORIGINAL", "PRIMARY", "M_FFE"], "ImageType M_FFE"),
    ],
)
def test_of_an_images_type_only_known_words_are_told(
    tmp_path: Path, image_type: list[str], told: str
) -> None:
    file = write(mese(1), tmp_path)[0]
    change(file, ImageType=image_type)
    (image,) = dicom.images(file)
    words = [image.origin["signed"], image.problem]
    assert any(word == told or word.endswith(f"({told})") for word in words)
    assert not any("JOHN" in word or "DOE" in word for word in words)


@pytest.mark.parametrize(("stored", "component"), [(0, "M"), (1, "P"), (2, "R"), (3, "I")])
def test_what_GE_says_in_its_own_tag(tmp_path: Path, stored: int, component: str) -> None:
    file = write(mese(1), tmp_path)[0]
    dataset = pydicom.dcmread(file)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    dataset.private_block(0x0043, "GEMS_PARM_01", create=True).add_new(0x2F, "SS", stored)
    dataset.save_as(file, enforce_file_format=True)
    assert dicom.images(file)[0].component == component


def test_field_falls_back_on_the_frequency(tmp_path: Path) -> None:
    files = write(mese(1), tmp_path)
    change(files[0], MagneticFieldStrength=None, ImagingFrequency="63.86625")
    change(files[1], MagneticFieldStrength="15000", ImagingFrequency="63.86625")
    change(files[2], MagneticFieldStrength=None)
    fields = [dicom.images(file)[0].field_T for file in files]
    assert fields[:2] == pytest.approx([1.5, 1.5])
    assert fields[2] is None


@pytest.mark.parametrize(
    ("words", "method", "expected"),
    [
        (["SE"], "", "SE"),
        (["SE", "IR"], "", "SE"),
        (["IR"], "", "SE"),
        (["GR"], "", "GE"),
        (["GR", "IR"], "", "GE"),
        (["RM"], "Bruker:MSME", "SE"),
        (["RM"], "Bruker:RAREVTR", "SE"),
        (["RM"], "Bruker:MGE", "GE"),
        (["EP"], "", None),
    ],
)
def test_spin_or_gradient_echo(
    tmp_path: Path, words: list[str], method: str, expected: str | None
) -> None:
    file = write(mese(1), tmp_path)[0]
    change(file, ScanningSequence=words, SequenceName=method)
    assert dicom.images(file)[0].sequence == expected


def test_what_is_not_an_MR_image_is_left_out(tmp_path: Path) -> None:
    file = write(mese(1), tmp_path)[0]
    dataset = pydicom.dcmread(file)
    for content, words in (
        (CTImageStorage, "not an MR image .CT"),
        (SecondaryCaptureImageStorage, "not an MR image .Secondary Capture"),
        (EnhancedSRStorage, "not an MR image .Enhanced SR"),
        (ParametricMapStorage, "not an MR image .Parametric Map"),
        (MediaStorageDirectoryStorage, "not an MR image .Media Storage Directory"),
    ):
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = content
        dataset.save_as(file, enforce_file_format=True)
        with pytest.raises(LeftOut, match=words):
            dicom.images(file)
    text = tmp_path / "notes.txt"
    text.write_text("TE 10 ms")
    assert starts_as_dicom(file)
    assert not starts_as_dicom(text)
    with pytest.raises(LeftOut):
        dicom.images(text)


def test_deflated_files_are_refused_unread(tmp_path: Path) -> None:
    file = write(mese(1), tmp_path)[0]
    dataset = pydicom.dcmread(file)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(file, enforce_file_format=True)
    with pytest.raises(InputError, match="deflated"):
        dicom.images(file)


def test_a_strange_instance_number_is_no_error(tmp_path: Path) -> None:
    files = write(mese(1), tmp_path)
    change(files[0], InstanceNumber="1.5")
    assert read(tmp_path).kind == "MESE"


@pytest.mark.real_data
def test_philips_phantom_against_its_raw_tags(real_data: Path) -> None:
    folder = real_data / "system_phantom" / "philips_1p5T" / "T1_plate5"
    series = read(folder)
    for file in folder.iterdir():
        dataset = pydicom.dcmread(file)
        stored = dataset.pixel_array.astype(float)
        RS, RI = float(dataset.RescaleSlope), float(dataset.RescaleIntercept)
        expected = (stored * RS + RI) / (RS * float(dataset[0x2005, 0x100E].value))
        point = series.protocol.TI.tolist().index(float(dataset.InversionTime) / 1e3)
        assert np.allclose(series.signal[:, :, 0, point], expected.T, rtol=1e-6)


@pytest.mark.real_data
def test_philips_phantom_without_private_tags_and_maker(real_data: Path, tmp_path: Path) -> None:
    for file in (real_data / "system_phantom" / "philips_1p5T" / "T1_plate5").iterdir():
        dataset = pydicom.dcmread(file)
        dataset.remove_private_tags()
        dataset.Manufacturer = ""
        dataset.save_as(tmp_path / file.name)
    with pytest.raises(InputError, match=r"RescaleSlope is 1.00\d+ to 1.8"):
        read(tmp_path)


@pytest.mark.real_data
def test_bruker_files_with_fractions_and_the_slope_in_a_group(real_data: Path) -> None:
    folder = real_data / "bruker_7T" / "classic_dicom" / "11"
    series = read(folder)
    assert series.kind == "VTR"
    assert series.protocol.TR.tolist() == [0.5, 1.5, 3.0]
    assert np.allclose(series.protocol.TE, 0.0061, rtol=0, atol=1e-9)
    assert series.grid == (192, 160, 9)
    assert series.field_T == pytest.approx(7.05, abs=0.01)
    # Frames of the 2dseq: slice fastest, then TR as it was played, descending.
    stored = np.fromfile(real_data / "bruker_7T/paravision/11/pdata/1/2dseq", dtype="<i2")
    frames = stored.reshape(3, 9, 160, 192).transpose(3, 2, 1, 0)[..., ::-1]
    assert np.allclose(series.signal, frames * 9.359898394905e-4, rtol=1e-6, atol=0)
