"""DICOM in every encoding, and files made to harm: each read as it is, or refused in words."""

from __future__ import annotations

import contextlib
import logging
import struct
import threading
import tracemalloc
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.sequence import Sequence
from pydicom.uid import JPEG2000, UID, DeflatedExplicitVRLittleEndian, JPEGLSLossless, RLELossless

import relaxometry as rx
from relaxometry import dicom
from relaxometry.codestream import size_of
from relaxometry.dicomparts import unheard
from relaxometry.errors import InputError
from relaxometry.folder import read, read_image
from relaxometry.images import LeftOut

from .handmade_dicom import mese, write

SMALL = {
    "": "classic DICOM, explicit little endian",
    "_implicit": "classic DICOM, implicit little endian",
    "_bigendian": "classic DICOM, explicit big endian",
    "_expb": "classic DICOM, explicit big endian",
    "_padded": "classic DICOM, explicit little endian",
    "_RLE": "classic DICOM, RLE",
    "_jp2klossless": "classic DICOM, JPEG 2000 lossless",
    "_jpeg_ls_lossless": "classic DICOM, JPEG-LS lossless",
}
FRAMES = {
    "": "enhanced DICOM, explicit little endian",
    "_big_endian": "enhanced DICOM, explicit big endian",
    "_RLE": "enhanced DICOM, RLE",
    "_jpeg_2k_lossless": "enhanced DICOM, JPEG 2000 lossless",
    "_jpeg_ls_lossless": "enhanced DICOM, JPEG-LS lossless",
}


def enhanced(folder: Path) -> Path:
    (file,) = write(mese(1), folder, enhanced=True)
    return file


def peak_bytes(act: Callable[[], object]) -> int:
    """Most memory that Python held at any time of a call that is to fail or not."""
    tracemalloc.start()
    try:
        act()
    except InputError:
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return peak


def inserted(file: Path, before: int, element: bytes) -> None:
    """Put an element into a file, before the tag given."""
    content = file.read_bytes()
    place = content.index(struct.pack("<HH", before >> 16, before & 0xFFFF), 300)
    file.write_bytes(content[:place] + element + content[place:])


def sequence(tag: int, content: bytes, length: int = 0xFFFFFFFF) -> bytes:
    """A sequence in explicit little endian, up to its end where the length is not known."""
    end = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0) if length == 0xFFFFFFFF else b""
    return struct.pack("<HH2sHL", tag >> 16, tag & 0xFFFF, b"SQ", 0, length) + content + end


EMPTY_ITEM = struct.pack("<HHL", 0xFFFE, 0xE000, 0)
OPEN_ITEM = struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)


@pytest.mark.real_data
@pytest.mark.parametrize("variant", SMALL)
def test_one_small_image_in_every_encoding(real_data: Path, variant: str) -> None:
    folder = real_data / "dicom_variants" / "pydicom_test_files"
    expected, affine = read_image(folder / "MR_small.dcm")
    assert expected.sum() == 2125338
    voxels, other = read_image(folder / f"MR_small{variant}.dcm")
    assert np.array_equal(voxels, expected)
    assert np.array_equal(other, affine)
    (image,) = dicom.images(folder / f"MR_small{variant}.dcm")
    assert image.encoding == SMALL[variant]


def described(source: Path, file: Path) -> None:
    """A copy of a file whose frames have lost their description, with one made up for them."""
    dataset = pydicom.dcmread(source)
    frames = []
    for k in range(int(dataset.NumberOfFrames)):
        frame, echo, place, plane, pixels = (Dataset() for _ in range(5))
        echo.EffectiveEchoTime = 10.0 * (k + 1)
        place.ImagePositionPatient, plane.ImageOrientationPatient = [0, 0, 0], [1, 0, 0, 0, 1, 0]
        pixels.PixelSpacing, pixels.SliceThickness = [1, 1], 1
        frame.MREchoSequence, frame.PlanePositionSequence = Sequence([echo]), Sequence([place])
        frame.PlaneOrientationSequence = Sequence([plane])
        frame.PixelMeasuresSequence = Sequence([pixels])
        frames.append(frame)
    dataset.PerFrameFunctionalGroupsSequence = Sequence(frames)
    dataset.save_as(file, enforce_file_format=True)


@pytest.mark.real_data
@pytest.mark.parametrize("variant", FRAMES)
def test_ten_frames_in_every_encoding(real_data: Path, tmp_path: Path, variant: str) -> None:
    folder = real_data / "dicom_variants" / "pydicom_data"
    bare = dicom.images(folder / f"emri_small{variant}.dcm")
    (row,) = rx.inspect(folder / f"emri_small{variant}.dcm").rows
    assert "no frame has a place or times: PerFrameFunctionalGroups" in str(row.problem)
    described(folder / f"emri_small{variant}.dcm", tmp_path / "1.dcm")
    images = dicom.images(tmp_path / "1.dcm")
    expected = pydicom.dcmread(folder / "emri_small.dcm").pixel_array
    for image in (*reversed(images), *bare):
        assert np.array_equal(image.load()[:, :, 0], expected[image.number].T)
    assert {image.encoding for image in images} == {FRAMES[variant]}
    series = read(tmp_path / "1.dcm")
    assert np.array_equal(series.signal[:, :, 0], expected.transpose(2, 1, 0))
    assert np.allclose(series.protocol.TE, np.arange(1, 11) * 0.01)


@pytest.mark.real_data
def test_compressed_pixels_that_are_cut_off(
    real_data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = real_data / "dicom_variants" / "pydicom_data"
    # Of this one only the mark of the end is missing: every frame is there, to the last bit.
    short = folder / "emri_small_jpeg_2k_lossless_too_short.dcm"
    expected = pydicom.dcmread(folder / "emri_small.dcm").pixel_array
    for image in dicom.images(short):
        assert np.array_equal(image.load()[:, :, 0], expected[image.number].T)
    with pytest.raises(InputError, match="no frame has a place or times"):
        read(short)
    for variant in ("_jpeg_2k_lossless", "_jpeg_ls_lossless", "_RLE"):
        file = tmp_path / f"{variant}.dcm"
        described(folder / f"emri_small{variant}.dcm", file)
        whole = file.read_bytes()
        for missing in (12, 40, 1000, 10_000):
            file.write_bytes(whole[:-missing])
            with pytest.raises(InputError, match=rf"{variant}.dcm: .*(cut off|garbled)"):
                read(file)
    assert capfd.readouterr() == ("", "")


@pytest.mark.real_data
def test_every_other_real_file_opens_or_says_why_not(real_data: Path) -> None:
    folder = real_data / "dicom_variants"
    found = rx.inspect(folder / "pydicom_data")
    problems = {row.files[0]: row.problem for row in found.rows}
    assert problems["MR-SIEMENS-DICOM-WithOverlays.dcm"] == (
        "computed from other images (ImageType MPR)"
    )
    assert "nothing varies: one image" in str(problems["MR2_J2KI.dcm"])
    assert found.ignored["bad_sequence.dcm"] == "not an MR image (CT Image Storage)"
    voxels, _ = read_image(folder / "pydicom_data" / "MR2_J2KI.dcm")
    assert voxels.shape == (1024, 1024, 1)
    with pytest.raises(InputError, match=r"MR_truncated.dcm: cut off: 64×64 pixels of 16 bits"):
        read_image(folder / "pydicom_test_files" / "MR_truncated.dcm")


@pytest.mark.real_data
def test_a_picture_larger_than_its_header_says_is_not_decoded(
    real_data: Path, tmp_path: Path
) -> None:
    """A decoder makes room for what the codestream claims: here 60000 × 60000 pixels."""
    source = real_data / "dicom_variants/pydicom_test_files/MR_small_jp2klossless.dcm"
    dataset = pydicom.dcmread(source)
    (stream,) = generate_frames(dataset.PixelData, number_of_frames=1)
    assert stream[:4] == b"\xff\x4f\xff\x51"
    forged = stream[:8] + struct.pack(">2L", 60000, 60000) + stream[16:]
    dataset.PixelData = encapsulate([forged])
    dataset.save_as(tmp_path / "1.dcm", enforce_file_format=True)
    with pytest.raises(InputError, match="60000×60000 pixels, unlike the header"):
        read_image(tmp_path / "1.dcm")


@pytest.mark.real_data
def test_an_encoding_without_a_decoder_is_an_error_that_says_so(
    real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = pydicom.pixels.get_decoder(pydicom.uid.JPEGLSLossless)
    monkeypatch.setattr(decoder, "_available", {})
    with pytest.raises(InputError, match=r"JPEG-LS.*cannot be decoded.*pip install python-gdcm"):
        read_image(real_data / "dicom_variants/pydicom_test_files/MR_small_jpeg_ls_lossless.dcm")


def compressed(file: Path) -> None:
    dataset = pydicom.dcmread(file)
    dataset.compress(RLELossless)
    dataset.save_as(file, enforce_file_format=True)


def test_compressed_frames_with_and_without_a_table_of_offsets(tmp_path: Path) -> None:
    expected = read(enhanced(tmp_path)).signal
    compressed(tmp_path / "IM_0001.dcm")
    assert np.array_equal(read(tmp_path).signal, expected)
    dataset = pydicom.dcmread(tmp_path / "IM_0001.dcm")
    frames = list(generate_frames(dataset.PixelData, number_of_frames=3))
    dataset.PixelData = encapsulate(frames, has_bot=False)
    dataset.save_as(tmp_path / "IM_0001.dcm", enforce_file_format=True)
    assert np.array_equal(read(tmp_path).signal, expected)


def test_RLE_of_more_pixels_than_it_can_hold_costs_no_memory(tmp_path: Path) -> None:
    """A megabyte that claims 300 million pixels: RLE makes 64 bytes of one at most."""
    file = write(mese(1), tmp_path)[0]
    compressed(file)
    dataset = pydicom.dcmread(file)
    (stream,) = generate_frames(dataset.PixelData, number_of_frames=1)
    dataset.PixelData = encapsulate([stream + bytes(1_000_000)])
    dataset.Rows = dataset.Columns = 17_000
    dataset.save_as(file, enforce_file_format=True)
    assert peak_bytes(lambda: read_image(file)) < 10e6
    with pytest.raises(InputError, match="cut off: 17000×17000 pixels"):
        read_image(file)
    # A size that the file may have, but its first segment is 50 bytes long.
    dataset.Rows = dataset.Columns = 5_000
    dataset.save_as(file, enforce_file_format=True)
    assert peak_bytes(lambda: read_image(file)) < 10e6
    with pytest.raises(InputError, match="they are cut off or garbled"):
        read_image(file)


@pytest.mark.parametrize(
    "head",
    [(1, 64), (3, 64, 80, 90), (2, 60, 80), (2, 64, 60), (2, 64, 1 << 30), (15, *[64] * 15), (0,)],
)
def test_RLE_with_segments_that_cannot_be(tmp_path: Path, head: tuple[int, ...]) -> None:
    file = write(mese(1), tmp_path)[0]
    compressed(file)
    dataset = pydicom.dcmread(file)
    (stream,) = generate_frames(dataset.PixelData, number_of_frames=1)
    forged = struct.pack("<16L", *head, *[0] * (16 - len(head)))
    dataset.PixelData = encapsulate([forged + stream[64:]])
    dataset.save_as(file, enforce_file_format=True)
    with pytest.raises(InputError, match="they are cut off or garbled"):
        read_image(file)


def test_a_codestream_says_its_size_behind_fill_bytes() -> None:
    start, end = b"\xff\xd8", b"\xff\xd9"
    frame = struct.pack(">2HB2H", 0xFFC3, 11, 16, 7, 5) + b"\1\1\x11\0"
    table = struct.pack(">2H", 0xFFC4, 4) + b"ab"
    assert size_of(start + frame + end) == (5, 7)
    assert size_of(start + table + b"\xff" * 3 + frame + end) == (5, 7)
    assert size_of(start + b"\0" + frame + end) is None
    assert size_of(start + table + end) is None
    assert size_of(b"JOHN" + frame + end) is None


def test_a_codestream_of_unknown_size_is_not_decoded(tmp_path: Path) -> None:
    """Whatever its head says: a decoder takes room for what it finds behind."""
    file = write(mese(1), tmp_path)[0]
    dataset = pydicom.dcmread(file)
    dataset.file_meta.TransferSyntaxUID = JPEGLSLossless
    dataset.PixelData = encapsulate([b"\xff\xd8" + bytes(30) + b"\xff\xd9"])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(file, enforce_file_format=True)
    with pytest.raises(InputError, match="they are garbled"):
        read_image(file)


@pytest.mark.parametrize("shorten", [20, 60, 120])
def test_compressed_frames_that_end_early(tmp_path: Path, shorten: int) -> None:
    compressed(enhanced(tmp_path))
    file = tmp_path / "IM_0001.dcm"
    file.write_bytes(file.read_bytes()[:-shorten])
    with pytest.raises(InputError, match=r"IM_0001.dcm"):
        read(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\xff\x4f\xff\x51", b"\0" * 100, b"\xff\xd9"])
def test_compressed_pixels_that_are_none(tmp_path: Path, content: bytes) -> None:
    dataset = pydicom.dcmread(enhanced(tmp_path))
    dataset.file_meta.TransferSyntaxUID = JPEG2000
    dataset.PixelData = encapsulate([content or b"\0\0"] * 3)
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(tmp_path / "IM_0001.dcm", enforce_file_format=True)
    with pytest.raises(InputError, match=r"IM_0001.dcm: compressed pixels .* cannot be decoded"):
        read(tmp_path)


def test_pixels_that_are_not_as_the_syntax_says(tmp_path: Path) -> None:
    file = enhanced(tmp_path)
    content = file.read_bytes()
    for syntax, words in (
        (b"1.2.840.10008.1.2.5\0", "not stored as the file says"),  # RLE, but plain pixels
        (b"1.2.840.10008.1.9.9\0", "the encoding 1.2.840.10008.1.9.9 is not read"),
        (b"1.2.840.113619.5.2\0\0", "the encoding 1.2.840.113619.5.2 is not read"),
    ):
        file.write_bytes(content.replace(b"1.2.840.10008.1.2.1\0", syntax))
        with pytest.raises(InputError, match=words):
            dicom.images(file)


def test_a_file_cut_off_anywhere_is_an_error_and_never_a_crash(tmp_path: Path) -> None:
    file = enhanced(tmp_path)
    whole = file.read_bytes()
    for length in range(0, len(whole), 41):
        file.write_bytes(whole[:length])
        with pytest.raises(InputError):
            dicom.images(file)


def test_a_file_with_any_byte_changed_never_crashes(tmp_path: Path) -> None:
    file = enhanced(tmp_path)
    whole = file.read_bytes()
    rng = np.random.default_rng(5)
    for place in rng.integers(132, len(whole), 300):
        spoilt = bytearray(whole)
        spoilt[place] = rng.integers(256)
        file.write_bytes(spoilt)
        with contextlib.suppress(InputError):
            read(file)


@pytest.mark.parametrize("tag", [0x7FDF1010, 0x00409096])
def test_a_bomb_of_empty_items_costs_no_memory(tmp_path: Path, tag: int) -> None:
    """A megabyte of items of 8 bytes would be 160 megabytes of objects."""
    file = enhanced(tmp_path)
    inserted(file, 0x7FE00010, sequence(tag, EMPTY_ITEM * 130_000))
    assert peak_bytes(lambda: dicom.images(file)) < 20e6


def test_a_bomb_of_frames_costs_no_memory(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(enhanced(tmp_path))
    del dataset.PerFrameFunctionalGroupsSequence
    dataset.save_as(tmp_path / "IM_0001.dcm", enforce_file_format=True)
    file = tmp_path / "IM_0001.dcm"
    inserted(file, 0x7FE00010, sequence(0x52009230, EMPTY_ITEM * 130_000))
    assert peak_bytes(lambda: dicom.images(file)) < 20e6
    with pytest.raises(InputError, match="more than 65536 frames"):
        dicom.images(file)


def test_sequences_nested_without_end(tmp_path: Path) -> None:
    file = enhanced(tmp_path)
    nested = sequence(0x0040A730, OPEN_ITEM)[:-8]
    inserted(file, 0x7FE00010, nested * 20_000)
    with pytest.raises(InputError, match="nested"):
        dicom.images(file)
    file = enhanced(tmp_path)
    inserted(file, 0x52009229, sequence(0x00409096, OPEN_ITEM)[:-8] * 20_000)
    with pytest.raises(InputError, match=r"IM_0001.dcm"):
        dicom.images(file)


def test_a_value_longer_than_the_file(tmp_path: Path) -> None:
    file = write(mese(1), tmp_path)[0]
    claim = struct.pack("<HH2sHL", 0x0008, 0x103E, b"UN", 0, 0xFFFFFFF0)
    inserted(file, 0x0008103E, claim)
    assert peak_bytes(lambda: dicom.images(file)) < 5e6
    with pytest.raises(InputError, match=r"4294967280 bytes in \(0008,103E\)"):
        dicom.images(file)


@pytest.mark.parametrize("keyword", ["PixelSpacing", "EchoTime", "ImagePositionPatient"])
def test_a_value_of_a_million_characters_is_not_told_in_full(tmp_path: Path, keyword: str) -> None:
    file = write(mese(1), tmp_path)[0]
    dataset = pydicom.dcmread(file)
    tag = int(dataset[keyword].tag)
    del dataset[keyword]
    dataset.save_as(file, enforce_file_format=True)
    text = b"12\\" * 100_000 + b"12"
    head = struct.pack("<HH2sHL", tag >> 16, tag & 0xFFFF, b"UN", 0, len(text))
    behind = min(int(element.tag) for element in dataset if int(element.tag) > tag)
    inserted(file, behind, head + text)
    with pytest.raises(InputError, match=rf"IM_0001.dcm: {keyword}.*…; expected") as caught:
        read(tmp_path)
    assert len(str(caught.value).replace(str(tmp_path), "")) < 250


def test_a_deflated_bomb_is_refused_unread(tmp_path: Path) -> None:
    file = write(mese(1), tmp_path)[0]
    dataset = pydicom.dcmread(file)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(file, enforce_file_format=True)
    content = file.read_bytes()
    start = content.index(b"RELAXOMETRY") + len("RELAXOMETRY") + 1
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = b"".join(packer.compress(bytes(1_000_000)) for _ in range(100)) + packer.flush()
    file.write_bytes(content[:start] + bomb)
    assert peak_bytes(lambda: dicom.images(file)) < 2e6
    with pytest.raises(InputError, match="deflated DICOM is not read"):
        dicom.images(file)


def test_a_file_that_is_gone_when_its_pixels_are_wanted(tmp_path: Path) -> None:
    file = enhanced(tmp_path)
    image, *_ = dicom.images(file)
    file.unlink()
    with pytest.raises(InputError, match=r"IM_0001.dcm: cannot be opened"):
        image.load()


def test_a_directory_of_files_is_left_out_and_opens_none(tmp_path: Path) -> None:
    dataset = Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = pydicom.uid.MediaStorageDirectoryStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3")
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    entry = Dataset()
    entry.ReferencedFileID = ["SCAN", "IM1"]
    dataset.DirectoryRecordSequence = Sequence([entry])
    dataset.save_as(tmp_path / "DICOMDIR", enforce_file_format=True)
    with pytest.raises(LeftOut, match=r"not an MR image .Media Storage Directory Storage"):
        dicom.images(tmp_path / "DICOMDIR")
    write(mese(1), tmp_path / "scan")
    assert read(tmp_path).kind == "MESE"


def test_threads_that_read_leave_the_process_as_it_was() -> None:
    """Two that overlap: the one that came first goes first, the other must not keep the silence."""
    log = logging.getLogger("pydicom")
    before, level = list(warnings.filters), log.level
    first_in, second_in, first_out = (threading.Event() for _ in range(3))

    def first() -> None:
        with unheard():
            first_in.set()
            assert second_in.wait(5)
        first_out.set()

    def second() -> None:
        assert first_in.wait(5)
        with unheard():
            second_in.set()
            assert first_out.wait(5)
            heard.append(log.isEnabledFor(logging.CRITICAL))

    heard: list[bool] = []
    threads = [threading.Thread(target=act) for act in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert heard == [False]
    assert (list(warnings.filters), log.level) == (before, level)


def test_many_threads_read_at_once(tmp_path: Path) -> None:
    log = logging.getLogger("pydicom")
    before, level = list(warnings.filters), log.level
    file = enhanced(tmp_path)
    found: list[int] = []

    def act() -> None:
        found.extend(len(dicom.images(file)) for _ in range(10))

    threads = [threading.Thread(target=act) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [3] * 80
    assert (list(warnings.filters), log.level) == (before, level)
