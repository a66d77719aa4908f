"""What is kept about files and folders is kept no longer than they stay as they are."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from relaxometry import nifti, sidecar
from relaxometry.recall import Recall

from .test_nifti import save, voxels


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if all files had been written a while ago."""
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 10)


@pytest.mark.usefixtures("later")
def test_a_file_is_asked_for_once_and_again_when_it_has_changed(tmp_path: Path) -> None:
    asked: list[Path] = []
    size = Recall(lambda path: asked.append(path) or path.stat().st_size)
    file = tmp_path / "file"
    file.write_bytes(b"123")
    assert [size(file), size(file)] == [3, 3]
    assert len(asked) == 1
    file.write_bytes(b"12345")
    assert size(file) == 5
    other = tmp_path / "other"
    other.write_bytes(b"54321")
    os.utime(other, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
    other.replace(file)
    assert size(file) == 5
    assert len(asked) == 3


def test_a_file_just_written_is_asked_for_again(tmp_path: Path) -> None:
    asked: list[Path] = []
    size = Recall(lambda path: asked.append(path) or path.stat().st_size)
    (tmp_path / "file").write_bytes(b"123")
    assert [size(tmp_path / "file"), size(tmp_path / "file")] == [3, 3]
    assert len(asked) == 2


@pytest.mark.usefixtures("later")
def test_a_nifti_file_is_unpacked_once_and_a_folder_listed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []

    def noting(ask: Recall) -> Recall:
        return Recall(lambda path: asked.append(path) or ask._ask(path))

    monkeypatch.setattr(nifti, "_unpacked_size", noting(nifti._unpacked_size))
    monkeypatch.setattr(sidecar, "_sidecars", noting(sidecar._sidecars))
    files = [
        save(tmp_path / f"sub-01_echo-{k}_MESE.nii.gz", voxels(4, 3, 1), {"EchoTime": k / 100})
        for k in (1, 2, 3)
    ]
    for _ in range(2):
        assert [nifti.images(f)[0].settings["TE"] for f in files] == [0.01, 0.02, 0.03]
    assert sorted(asked) == sorted([tmp_path, *files])
    (tmp_path / "MESE.json").write_text('{"FlipAngle": 90}')
    (tmp_path / "dataset_description.json").write_text("{}")
    assert nifti.images(files[0])[0].settings == {"TE": 0.01, "FA": 90.0}
