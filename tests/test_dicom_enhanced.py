"""Enhanced multi-frame MR: each frame by its own functional groups, written, hand-made and real."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

import relaxometry as rx
from relaxometry import dicom
from relaxometry.errors import InputError
from relaxometry.folder import read, read_all
from relaxometry.images import Image
from relaxometry.series import Protocol, Series

from .handmade_dicom import mese as echoes
from .handmade_dicom import oblique, write

SHUFFLED = np.random.default_rng(3).permutation(9).tolist()


def counted(slices: int = 3) -> Series:
    """Three echoes whose voxels are whole numbers, so that they are stored as they are."""
    series = echoes(slices)
    return replace(series, signal=np.rint(series.signal))


def written(folder: Path, series: Series | None = None, **how: Any) -> Path:
    """One enhanced file of all frames."""
    (file,) = write(series or counted(), folder, enhanced=True, **how)
    return file


def edit(file: Path, change: Callable[[Dataset], object]) -> None:
    dataset = pydicom.dcmread(file)
    change(dataset)
    dataset.save_as(file, enforce_file_format=True)


def groups(dataset: Dataset) -> Iterable[Dataset]:
    return dataset.PerFrameFunctionalGroupsSequence


def same(back: Series, series: Series) -> None:
    assert np.array_equal(back.signal, series.signal)
    assert np.allclose(back.affine, series.affine, rtol=0, atol=1e-6)
    for name in ("TE", "TI", "TR", "FA"):
        stated = getattr(series.protocol, name)
        if stated is not None:
            assert np.allclose(getattr(back.protocol, name), stated, rtol=1e-12, atol=0)
    assert (back.kind, back.signed) == (series.kind, series.signed)
    assert (back.field_T, back.sequence) == (series.field_T, series.sequence)


@pytest.mark.parametrize("order", [None, SHUFFLED, list(range(8, -1, -1))])
def test_frames_in_any_order(tmp_path: Path, order: list[int] | None) -> None:
    file = written(tmp_path, frame_order=order)
    back = read(tmp_path)
    same(back, counted())
    assert back.provenance.files == (str(file),)
    assert back.provenance.origin["TE"] == "EffectiveEchoTime (0018,9082)"
    assert back.provenance.origin["signed"] == "ComplexImageComponent MAGNITUDE"
    images = dicom.images(file)
    assert [image.number for image in images] == list(range(9))
    assert {image.encoding for image in images} == {"enhanced DICOM, explicit little endian"}


def test_one_file_for_each_echo(tmp_path: Path) -> None:
    assert len(write(counted(), tmp_path, enhanced=True, one_series_per_setting=True)) == 3
    same(read(tmp_path), counted())


def test_an_order_that_loses_a_frame_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="frame_order"):
        written(tmp_path, frame_order=[0, 0, *range(2, 9)])


@pytest.mark.parametrize("kind", ["IRT1", "VTR", "MEGRE", "VFA"])
def test_round_trip_of_every_kind(tmp_path: Path, kind: str) -> None:
    """TI in MRModifierSequence, with a TR of its own for each; TR or angle by frame."""
    protocol = {
        "IRT1": Protocol(TI=[0.05, 0.4, 0.8], TR=[1.0, 1.26, 2.46], TE=0.012),
        "VTR": Protocol(TR=[0.5, 1.5, 3.0], TE=0.0061),
        "MEGRE": Protocol(TE=[0.002, 0.004, 0.006], TR=0.1, FA=20),
        "VFA": Protocol(FA=[2, 5, 15], TR=0.015, TE=0.002),
    }[kind]
    signal = np.rint(np.random.default_rng(1).normal(0, 300, (5, 4, 2, 3)))
    signed = kind == "IRT1"
    sequence = "GE" if kind in ("MEGRE", "VFA") else "SE"
    series = Series(
        signal if signed else np.abs(signal), protocol, oblique(), signed, 3.0, sequence
    )
    written(tmp_path, series, frame_order=[5, 0, 3, 1, 4, 2])
    same(read(tmp_path), series)


def test_the_same_series_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = written(tmp_path / "a"), written(tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()


def anew(dataset: Dataset, undefined: bool) -> Dataset:
    """The same content, to be written in any byte order, its sequences with or without length."""
    copy = Dataset()
    copy.is_undefined_length_sequence_item = undefined
    for element in dataset:
        value = element.value
        if element.VR == "SQ":
            value = Sequence(anew(item, undefined) for item in value)
        copy.add_new(element.tag, element.VR, value)
        copy[element.tag].is_undefined_length = undefined and element.VR == "SQ"
    return copy


def encode(file: Path, syntax: str, undefined: bool) -> None:
    """Write a file again, in another byte order or with other lengths of its sequences."""
    dataset = pydicom.dcmread(file)
    meta, dataset = dataset.file_meta, anew(dataset, undefined)
    dataset.file_meta, meta.TransferSyntaxUID = meta, syntax
    if syntax == ExplicitVRBigEndian:
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
    dataset.save_as(file, enforce_file_format=True)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("undefined", [False, True])
def test_every_byte_order_and_length(tmp_path: Path, syntax: str, undefined: bool) -> None:
    file = written(tmp_path, frame_order=SHUFFLED)
    encode(file, syntax, undefined)
    same(read(tmp_path), counted())


def test_a_frame_is_read_without_the_others(tmp_path: Path) -> None:
    """Frame after frame from the same file, in any order, each as it lies there."""
    file = written(tmp_path)
    stored = pydicom.dcmread(file).pixel_array
    for image in reversed(dicom.images(file)):
        assert np.array_equal(image.load()[:, :, 0], stored[image.number].T)


def test_magnitude_and_phase_mixed_in_one_file(tmp_path: Path) -> None:
    series = counted(1)
    file = written(tmp_path, series)

    def add_phase(dataset: Dataset) -> None:
        (frame_type,) = dataset.SharedFunctionalGroupsSequence[0].MRImageFrameTypeSequence
        del dataset.SharedFunctionalGroupsSequence[0].MRImageFrameTypeSequence
        dataset.ComplexImageComponent = "MIXED"
        frames = []
        for group in groups(dataset):
            for component, word in (("PHASE", "P"), ("MAGNITUDE", "M")):
                frames.append(deepcopy(group))
                own = deepcopy(frame_type)
                own.ComplexImageComponent = component
                own.FrameType = ["ORIGINAL", "PRIMARY", word, "NONE"]
                frames[-1].MRImageFrameTypeSequence = Sequence([own])
        dataset.PerFrameFunctionalGroupsSequence = Sequence(frames)
        dataset.NumberOfFrames = 6
        pixels = np.frombuffer(dataset.PixelData, "<u2").reshape(3, 4, 6)
        both = np.stack([np.full_like(pixels, 4095), pixels], axis=1)
        dataset.PixelData = both.tobytes()

    edit(file, add_phase)
    (back,) = read_all(tmp_path)
    same(back, series)
    assert [row.problem for row in rx.inspect(tmp_path).rows if row.problem] == ["a phase image"]


def test_philips_scales_each_frame(tmp_path: Path) -> None:
    """FP = (SV·RS + RI)/(RS·SS) by hand: SV 100; (RS, RI, SS) = (2, 10, .5), (4, -8, .25), …"""
    series = replace(counted(1), signal=np.full((6, 4, 1, 3), 100.0))
    file = written(tmp_path, series)
    scales = [(2.0, 10.0, 0.5), (4.0, -8.0, 0.25), (1.25, 0.0, 2.0)]

    def scale(dataset: Dataset, private: bool = True) -> None:
        dataset.Manufacturer = "Philips Medical Systems"
        for group, (slope, intercept, private_slope) in zip(groups(dataset), scales, strict=True):
            own = Dataset()
            own.RescaleSlope, own.RescaleIntercept, own.RescaleType = slope, intercept, "US"
            group.PixelValueTransformationSequence = Sequence([own])
            item = Dataset()
            block = item.private_block(0x2005, "Philips MR Imaging DD 001", create=True)
            block.add_new(0x0E, "FL", private_slope)
            group.add_new(0x20050014, "LO", "Philips MR Imaging DD 005")
            if private:
                group.add_new(0x2005140F, "SQ", Sequence([item]))
            elif 0x2005140F in group:
                del group[0x2005140F]

    edit(file, scale)
    expected = [(100 * 2 + 10) / (2 * 0.5), (100 * 4 - 8) / (4 * 0.25), 100 / 2.0]
    assert expected == [210.0, 392.0, 50.0]
    assert read(tmp_path).signal[2, 1, 0] == pytest.approx(expected)
    for undefined in (False, True):
        encode(file, ImplicitVRLittleEndian, undefined)
        assert read(tmp_path).signal[2, 1, 0] == pytest.approx(expected)

    edit(file, lambda dataset: scale(dataset, private=False))
    with pytest.raises(InputError, match=r"2005,100E.*missing, while RescaleSlope is 1.25 to 4"):
        read(tmp_path)


def test_real_world_values_stand_in_for_a_missing_rescale(tmp_path: Path) -> None:
    file = written(tmp_path)

    def scale(dataset: Dataset) -> None:
        shared = dataset.SharedFunctionalGroupsSequence[0]
        del shared.PixelValueTransformationSequence
        mapped = Dataset()
        mapped.RealWorldValueSlope, mapped.RealWorldValueIntercept = 0.5, 3.0
        shared.RealWorldValueMappingSequence = Sequence([mapped])

    edit(file, scale)
    assert np.array_equal(read(tmp_path).signal, counted().signal * 0.5 + 3)


def test_what_a_converter_left_in_classic_tags(tmp_path: Path) -> None:
    """Legacy converted files: times and places in UnassignedPerFrameConvertedAttributes."""
    file = written(tmp_path, frame_order=SHUFFLED)

    def convert(dataset: Dataset) -> None:
        dataset.SOPClassUID = pydicom.uid.LegacyConvertedEnhancedMRImageStorage
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        dataset.MagneticFieldStrength = "7"
        dataset.ScanningSequence = "SE"
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "M"]
        shared = dataset.SharedFunctionalGroupsSequence[0]
        dataset.PixelSpacing = shared.PixelMeasuresSequence[0].PixelSpacing
        dataset.SliceThickness = shared.PixelMeasuresSequence[0].SliceThickness
        del dataset.ComplexImageComponent, dataset.EchoPulseSequence
        del shared.PixelMeasuresSequence, shared.MRImageFrameTypeSequence
        for group in groups(dataset):
            classic = Dataset()
            classic.EchoTime = str(group.MREchoSequence[0].EffectiveEchoTime)
            classic.RepetitionTime = "2000"
            del group.MREchoSequence, group.MRTimingAndRelatedParametersSequence
            group.UnassignedPerFrameConvertedAttributesSequence = Sequence([classic])

    edit(file, convert)
    back = read(tmp_path)
    same(back, counted())
    assert back.provenance.origin["TE"] == "EchoTime (0018,0081)"
    (image, *_) = dicom.images(file)
    assert image.encoding.startswith("enhanced DICOM converted from classic")


def first(change: Callable[[Dataset], object], number: int = 2) -> Callable[[Dataset], object]:
    """A change of one frame."""
    return lambda dataset: change(dataset.PerFrameFunctionalGroupsSequence[number])


def without(keyword: str) -> Callable[[Dataset], object]:
    return lambda group: delattr(group, keyword)


def slope_0(group: Dataset) -> None:
    own = Dataset()
    own.RescaleSlope, own.RescaleIntercept, own.RescaleType = 0, 0, "US"
    group.PixelValueTransformationSequence = Sequence([own])


def turned(group: Dataset) -> None:
    own = Dataset()
    own.ImageOrientationPatient = [1, 0, 0, 1, 0, 0]
    group.PlaneOrientationSequence = Sequence([own])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (first(without("PlanePositionSequence")), "ImagePositionPatient.* of frame 3: missing"),
        (first(slope_0), "RescaleSlope .* of frame 3: 0"),
        (first(turned), "ImageOrientationPatient .* of frame 3: .*perpendicular"),
        (lambda d: setattr(d, "NumberOfFrames", 8), "NumberOfFrames .* is 8, but 9 frames"),
        (lambda d: setattr(d, "NumberOfFrames", 10), "cut off: 6×4 pixels of 16 bits × 10 frames"),
        (lambda d: setattr(d, "NumberOfFrames", 2**31 - 1), "cut off: .* × 2147483647 frames"),
        (lambda d: setattr(d, "NumberOfFrames", 0), "0 frames"),
        (lambda d: setattr(d, "Rows", 60000), "cut off: 6×60000 pixels"),
        (without("SharedFunctionalGroupsSequence"), "missing"),
        (without("PixelData"), "cut off, or without pixels"),
    ],
)
def test_a_corrupt_frame_is_an_error_that_names_it(
    tmp_path: Path, change: Callable[[Dataset], object], words: str
) -> None:
    file = written(tmp_path)
    edit(file, change)
    with pytest.raises(InputError, match=rf"IM_0001.dcm: .*{words}"):
        read(tmp_path)
    (broken,) = rx.inspect(tmp_path).unreadable.values()
    assert broken


def test_frames_without_groups_are_listed_but_not_placed(tmp_path: Path) -> None:
    edit(written(tmp_path), without("PerFrameFunctionalGroupsSequence"))
    words = "no frame has a place or times: PerFrameFunctionalGroupsSequence .* is missing"
    with pytest.raises(InputError, match=words):
        read(tmp_path)
    (row,) = rx.inspect(tmp_path).rows
    assert (row.kind, row.voxel_mm, row.shape[3]) == (None, None, 9)


@pytest.mark.parametrize("value", ["abc", "12,5", float("nan"), -5.0, 0.0])
def test_an_echo_time_that_is_no_number_is_an_error_that_names_its_frame(
    tmp_path: Path, value: Any
) -> None:
    file = written(tmp_path, counted(1))

    def spoil(group: Dataset) -> None:
        VR = "LO" if isinstance(value, str) else "FD"
        group.MREchoSequence[0][0x00189082] = DataElement(0x00189082, VR, value)

    edit(file, first(spoil, 1))
    with pytest.raises(
        InputError, match=r"EffectiveEchoTime \(0018,9082\) of frame 2: .*--te"
    ) as caught:
        read(tmp_path)
    assert str(value).rstrip("0").rstrip(".") in caught.value.found
    assert read(tmp_path, te=[0.0127, 0.0254, 0.0381]).protocol.TE[2] == 0.0381


def test_several_inversion_times_of_one_frame_are_none(tmp_path: Path) -> None:
    protocol = Protocol(TI=[0.05, 0.4, 0.8], TR=3.0, TE=0.012)
    file = written(tmp_path, replace(counted(1), protocol=protocol))
    edit(
        file,
        first(lambda g: setattr(g.MRModifierSequence[0], "InversionTimes", [50.0, 100.0])),
    )
    with pytest.raises(InputError, match=r"InversionTimes \(0018,9079\) of frame 3: .*--ti"):
        read(tmp_path)


def test_nothing_about_a_person_leaves_the_reader(tmp_path: Path) -> None:
    file = written(tmp_path)

    def tell(dataset: Dataset) -> None:
        dataset.PatientName, dataset.InstitutionName = "Somebody^Secret", "Secret Hospital"
        for group in groups(dataset):
            group.FrameContentSequence[0].FrameComments = "Secret"
            group.add_new(0x00100010, "PN", "Somebody^Secret")

    edit(file, tell)

    def told(image: Image) -> str:
        return repr((image, image.load, image.origin))

    assert not any("Secret" in told(image) for image in dicom.images(file))


def test_many_frames_are_quick(tmp_path: Path) -> None:
    """A thousand frames are listed and read in about a second."""
    signal = np.arange(8 * 8 * 50 * 20).reshape(8, 8, 50, 20) % 50000
    series = Series(signal, Protocol(TE=np.arange(1, 21) * 0.01, TR=3.0), oblique(), False, 3.0)
    written(tmp_path, series)
    start = perf_counter()
    back = read(tmp_path)
    assert perf_counter() - start < 10
    assert np.array_equal(back.signal, series.signal)


@pytest.mark.real_data
def test_bruker_enhanced_equals_its_raw_file(real_data: Path) -> None:
    series = read(real_data / "bruker_7T" / "enhanced_dicom" / "9")
    assert series.kind == "MESE"
    assert np.allclose(series.protocol.TE, np.arange(1, 8) * 0.0077, rtol=1e-6, atol=0)
    assert series.grid == (192, 160, 9)
    assert series.field_T == pytest.approx(7.05, abs=0.01)
    assert series.signed is False
    # Frames of the 2dseq: echo fastest; the file has one slope for all.
    stored = np.fromfile(real_data / "bruker_7T/paravision/9/pdata/1/2dseq", dtype="<i2")
    frames = stored.reshape(9, 7, 160, 192).transpose(3, 2, 0, 1) * 0.0011764244409278
    assert np.allclose(series.signal, frames, rtol=1e-6)


@pytest.mark.real_data
def test_siemens_XA30_dual_echo(real_data: Path) -> None:
    folder = real_data / "dicom_variants" / "dcm_qa_xa30" / "In"
    (series,) = read_all(folder)
    assert (series.kind, series.grid, series.field_T) == ("MEGRE", (64, 64, 33), 3.0)
    assert series.protocol.TE.tolist() == [0.01, 0.01246]
    assert series.signed is False
    for k, file in enumerate(sorted((folder / "8_gre_field_mapping").iterdir())):
        dataset = pydicom.dcmread(file)
        stored = dataset.pixel_array
        height = [
            np.array(g.PlanePositionSequence[0].ImagePositionPatient, float)
            for g in dataset.PerFrameFunctionalGroupsSequence
        ]
        normal = np.cross([1, 0, 0], [0, 0.998141, -0.060947])
        order = np.argsort([h @ normal for h in height])
        assert np.array_equal(series.signal[..., k], stored[order].transpose(2, 1, 0))
    found = rx.inspect(folder)
    assert [row.problem for row in found.rows] == [None, "a phase image"]
    assert [len(row.files) for row in found.rows] == [2, 1]
