"""Whatever stands in a file: it is read, or refused in one line; `inspect` never fails."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import tempfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import relaxometry as rx
from relaxometry import standins

from .paravision import frames, write_scan

SAMPLE = Path(__file__).resolve().parents[1] / "sample_data" / "dicom" / "t1_ir" / "IM_0001.dcm"
MOST = 64 << 20  # bytes that a broken file of a few 100 kB may make us take


def dicom() -> tuple[str, bytes]:
    return "image.dcm", SAMPLE.read_bytes()


def nifti(compressed: bool) -> tuple[str, bytes]:
    voxels = np.random.default_rng(0).normal(100, 10, (6, 5, 2, 3)).astype(np.float32)
    data = nib.Nifti1Image(voxels, np.eye(4)).to_bytes()
    return ("image.nii.gz", gzip.compress(data, mtime=0)) if compressed else ("image.nii", data)


def archive() -> tuple[str, bytes]:
    import io

    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("scan/image.nii", nifti(False)[1])
        file.writestr("scan/image.json", json.dumps({"EchoTime": [0.01, 0.02, 0.03]}))
    return "scan.zip", stream.getvalue()


def bruker() -> tuple[str, bytes]:
    """The parameters of a reconstruction; what lies beside them is the same every time."""
    with tempfile.TemporaryDirectory() as folder:
        file = paravision(Path(folder)).with_name("visu_pars")
        return str(file.relative_to(folder)), file.read_bytes()


def paravision(folder: Path) -> Path:
    echoes = (3, "FG_ECHO", "", ["VisuAcqEchoTime"])
    settings = {"VisuAcqEchoTime": [10.0, 20.0, 30.0], "VisuAcqRepetitionTime": [3000.0]}
    return write_scan(folder, 7, frames(3), [echoes], settings)


FILES: dict[str, Callable[[], tuple[str, bytes]]] = {
    "DICOM": dicom,
    "NIfTI": lambda: nifti(False),
    "NIfTI, gzip": lambda: nifti(True),
    "zip": archive,
    "Bruker": bruker,
}


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Cut off, overwritten, doubled or filled in places; mostly where a header is."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 6)):
        span = len(data) if rng.random() < 0.3 else min(len(data), 1000)
        at = int(rng.integers(0, max(span, 1)))
        kind = rng.integers(0, 5)
        if kind == 0:
            del data[at:]
        elif kind == 1:
            data[at : at + 1] = bytes([rng.integers(256)])
        elif kind == 2:
            data[at : at + 4] = rng.choice([b"\xff" * 4, bytes(4), b"\xff\xff\xff\x7f"])
        elif kind == 3:
            data[at:at] = data[at : at + int(rng.integers(1, 50))]
        else:
            del data[at : at + int(rng.integers(1, 20))]
        if not data:
            break
    return bytes(data)


def complaint(folder: Path) -> str:
    """What reading it is refused with; empty if it is read."""
    try:
        rx.read(folder)
    except rx.InputError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("kind", FILES)
def test_damaged_files_are_told_of_or_read(kind: str, tmp_path: Path) -> None:
    name, content = FILES[kind]()
    rng = np.random.default_rng(7)
    for k in range(250):
        folder = tmp_path / str(k)
        folder.mkdir()
        if kind == "Bruker":
            paravision(folder)
        (folder / name).write_bytes(damaged(content, rng))
        for path in (folder, folder / name):
            found = rx.inspect(path)
            json.dumps(found.to_dict(), allow_nan=False)
            assert all(
                "\n" not in why for why in (*found.ignored.values(), *found.unreadable.values())
            )
        assert "\n" not in complaint(folder)
        shutil.rmtree(folder)


@pytest.mark.parametrize("kind", ["DICOM", "NIfTI", "Bruker"])
def test_damaged_files_take_no_more_memory_than_they_deserve(kind: str, tmp_path: Path) -> None:
    name, content = FILES[kind]()
    if kind == "Bruker":
        paravision(tmp_path)
    rng = np.random.default_rng(8)
    tracemalloc.start()
    try:
        for _ in range(60):
            (tmp_path / name).write_bytes(damaged(content, rng))
            complaint(tmp_path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MOST


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", "null", '{"EchoTime": 1e999}', '{"EchoTime": [[1], 2, 3]}', "\x00", "[" * 9999],
)
def test_strange_sidecars(text: str, tmp_path: Path) -> None:
    name, content = nifti(False)
    (tmp_path / name).write_bytes(content)
    (tmp_path / "image.json").write_text(text)
    assert rx.inspect(tmp_path).rows or rx.inspect(tmp_path).unreadable
    with pytest.raises(rx.InputError, match=r"image|EchoTime"):
        rx.read(tmp_path)


def test_files_that_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "DICOMDIR").write_bytes(b"rubbish")
    found = rx.inspect(tmp_path)
    assert set(found.ignored) | set(found.unreadable) == {"loop", "gone", "empty", "DICOMDIR"}


@pytest.mark.parametrize("name", ["image.nii", "image.nii.gz", "image.json"])
def test_links_to_files_that_were_not_fetched(name: str, tmp_path: Path) -> None:
    """As git-annex and datalad leave them."""
    (tmp_path / "image.nii").write_bytes(nifti(False)[1])
    (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / name).symlink_to(tmp_path / ".git" / "annex" / "objects" / "MD5E")
    assert len(rx.inspect(tmp_path).unreadable) == 1
    with pytest.raises(rx.InputError, match=rf"{name}: a link to a file that .*git annex get"):
        rx.read(tmp_path)


def test_an_inherited_sidecar_that_was_not_fetched(tmp_path: Path) -> None:
    (tmp_path / "dataset_description.json").write_text("{}")
    (tmp_path / "sub-01_MESE.nii").write_bytes(nifti(False)[1])
    (tmp_path / "MESE.json").symlink_to(tmp_path / "nowhere")
    with pytest.raises(rx.InputError, match=r"MESE.json: a link to a file that is not here"):
        rx.read(tmp_path)


@pytest.mark.parametrize("name", ["sub-01_MESE", "image"])
def test_a_folder_is_no_sidecar(name: str, tmp_path: Path) -> None:
    (tmp_path / "dataset_description.json").write_text("{}")
    (tmp_path / f"{name}.nii").write_bytes(nifti(False)[1])
    (tmp_path / f"{name}.json").mkdir()
    (tmp_path / "MESE.json").mkdir()
    found = rx.inspect(tmp_path)
    assert found.rows
    assert not found.unreadable


def test_a_sidecar_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "image.nii").write_bytes(nifti(False)[1])
    (tmp_path / "image.json").write_text("{}")
    monkeypatch.setattr(Path, "read_bytes", refused)
    with pytest.raises(rx.InputError, match=r"image.json: cannot be opened \(Permission denied\)"):
        rx.read(tmp_path)


@pytest.mark.parametrize("name", ["image.nii", "image.nii.gz", "image.json"])
def test_pointers_of_git_lfs(name: str, tmp_path: Path) -> None:
    (tmp_path / "image.nii").write_bytes(nifti(False)[1])
    if name.endswith(".gz"):
        (tmp_path / "image.nii").unlink()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{64 * '0'}\nsize 144\n"
    (tmp_path / name).write_text(pointer)
    assert standins.pointer(tmp_path / name)
    assert len(rx.inspect(tmp_path).unreadable) == 1
    with pytest.raises(rx.InputError, match=rf"{name}: a Git LFS pointer in .*; git lfs pull"):
        rx.read(tmp_path)


def test_what_is_no_pointer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "image").write_bytes(b"version https://git-lfs")
    assert not any(standins.pointer(tmp_path / name) for name in ("pipe", "image", "gone", "."))
