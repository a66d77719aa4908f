"""Zipped folders are read like the folders they were, and bad ones are refused."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

import relaxometry as rx
from relaxometry.dicomwriter import write_series

TE = np.array([0.01, 0.02, 0.04])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    signal = np.rint(rng.uniform(100, 1000, (5, 4, 2, 3)))
    series = rx.Series(signal, rx.Protocol(TE=TE, TR=3.0), field_T=7.0, signed=False)
    write_series(series, tmp_path / "scan" / "t2", description="T2", series_number=1, uid_seed="a")
    (tmp_path / "scan" / "notes.txt").write_text("nothing")
    return tmp_path / "scan"


def zipped(folder: Path, extra: dict[str, bytes] | None = None) -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder.parent))
        for name, content in (extra or {}).items():
            archive.writestr(name, content)
    return path


def test_an_archive_is_the_folder_it_holds(folder: Path) -> None:
    path = zipped(folder)
    there, here = rx.read(path), rx.read(folder)
    np.testing.assert_array_equal(there.signal, here.signal)
    np.testing.assert_array_equal(there.protocol.TE, TE)
    files = [Path(file) for file in there.provenance.files]
    assert {file.relative_to(path).as_posix() for file in files} == {
        f"scan/t2/IM_{k:04d}.dcm" for k in range(1, 7)
    }
    found = rx.inspect(path)
    assert [row.kind for row in found.rows] == ["MESE"]
    assert found.ignored == {"scan.zip/scan/notes.txt": "not a DICOM or NIfTI file"}
    assert "in scan.zip/scan/t2" in repr(found)


def test_a_fault_is_told_with_its_place_in_the_archive(folder: Path) -> None:
    file = folder / "t2" / "IM_0003.dcm"
    file.write_bytes(file.read_bytes()[:200])
    path = zipped(folder)
    with pytest.raises(rx.InputError, match=r"scan\.zip.scan.t2.IM_0003\.dcm") as caught:
        rx.read(path)
    assert "relaxometry-" not in str(caught.value)
    assert list(rx.inspect(path).unreadable) == ["scan.zip/scan/t2/IM_0003.dcm"]


def test_pixels_that_are_lost_are_missed_when_they_are_read(folder: Path) -> None:
    file = folder / "t2" / "IM_0003.dcm"
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(rx.InputError, match=r"scan\.zip.scan.t2.IM_0003\.dcm") as caught:
        rx.read(zipped(folder))
    assert "relaxometry-" not in str(caught.value)


def test_one_beside_other_files_waits_to_be_asked_for(folder: Path) -> None:
    path = zipped(folder)
    found = rx.inspect(path.parent)
    assert len(found.rows) == 1
    assert found.ignored["scan.zip"].startswith("a zip archive")


def test_a_name_cannot_lead_out(folder: Path) -> None:
    path = zipped(folder, {"../../escaped.txt": b"out", "/tmp/escaped.txt": b"out"})
    assert rx.inspect(path).rows
    assert not list(folder.parents[1].rglob("escaped.txt"))


def test_a_bomb_is_not_set_off(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("zeros", "w", force_zip64=True) as file,
    ):
        for _ in range(400):
            file.write(bytes(1 << 20))
    with pytest.raises(rx.InputError, match=r"bomb\.zip: .* bytes that would unpack to 0\.419 GB"):
        rx.read(path)
    assert "unpack" in repr(rx.inspect(path))


def test_forged_sizes_unpack_no_more_than_they_say(tmp_path: Path) -> None:
    """A header that lies of its size is damaged, not trusted."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(1 << 20))
    data = bytearray(packed.getvalue())
    central = data.index(b"PK\1\2")
    for at in (22, central + 24):
        data[at : at + 4] = (100).to_bytes(4, "little")
    path = tmp_path / "forged.zip"
    path.write_bytes(data)
    with pytest.raises(rx.InputError, match=r"forged\.zip: cannot be unpacked"):
        rx.read(path)


def test_a_damaged_one(folder: Path) -> None:
    path = zipped(folder)
    data = bytearray(path.read_bytes())
    data[60:90] = bytes(30)
    path.write_bytes(data)
    with pytest.raises(rx.InputError, match=r"scan\.zip: cannot be unpacked .*copy it again"):
        rx.read(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(rx.InputError, match=r"scan\.zip"):
        rx.read(path)


def test_names_are_read_whether_or_not_they_say_how_they_are_written(folder: Path) -> None:
    path = zipped(folder, {"n\u00b0 1.txt": b"text", "n\u00b0 2.txt": b"text"})
    content = bytearray(path.read_bytes())
    for head, at in ((b"PK\1\2", 8), (b"PK\3\4", 6)):  # the flag for UTF-8, of the first alone
        name = content.index("n\u00b0 1.txt".encode(), content.index(head))
        start = content.rindex(head, 0, name)
        content[start + at + 1] &= ~0x08
    path.write_bytes(content)
    assert {"scan.zip/n\u00b0 1.txt", "scan.zip/n\u00b0 2.txt"} <= set(rx.inspect(path).ignored)


def test_what_paravision_exports_is_one(folder: Path) -> None:
    path = zipped(folder)
    path = path.rename(path.with_suffix(".PvDatasets"))
    assert rx.read(path).kind == "MESE"


def test_a_locked_one(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("secret", b"0" * 20)
    data = bytearray(packed.getvalue())
    for at in (6, data.index(b"PK\1\2") + 8):  # the flag of encryption
        data[at] |= 1
    path = tmp_path / "locked.zip"
    path.write_bytes(data)
    with pytest.raises(rx.InputError, match=r"locked\.zip: encrypted; unpack it"):
        rx.read(path)
