"""Arrays that lie in a file: what is released leaves the memory, and nothing is lost by it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from relaxometry.mapped import release

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

MEASURE = """
import os, sys
import numpy as np
def status(name):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024  # MiB
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
"""


def measured(program: str, *arguments: object) -> list[float]:
    """The numbers (MiB) that a program of its own process prints."""
    command = [sys.executable, "-c", MEASURE + program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [float(number) for number in done.stdout.split()]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "numbers"
    np.arange(2**12, dtype=np.float32).tofile(path)
    return path


@linux
def test_what_was_read_leaves_the_memory(tmp_path: Path) -> None:
    """64 MiB are read through one of many views; released, they are read again as they were."""
    with (tmp_path / "numbers").open("wb") as stream:
        stream.truncate(2**26)
    before, read, after, total = measured(
        """
from relaxometry.mapped import release
array = np.memmap(sys.argv[1], np.float32, "r").reshape(4, -1)
view = np.asarray(array)[1:, ::2].T
before = resident(); array.sum(); read = resident(); release(view); after = resident()
print(before, read, after, array.sum())
""",
        tmp_path / "numbers",
    )
    assert read - before > 60
    assert after - before < 4
    assert total == 0


@linux
def test_a_large_file_streams_through(tmp_path: Path) -> None:
    """Read, polarity and the image that shows the tubes: 256 MiB, of which a part is resident."""
    shape = (128, 128, 256, 16)
    header = nib.Nifti1Header()
    header.set_data_dtype(np.float32)
    header.set_data_shape(shape)
    header.set_sform(np.eye(4), 1)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    with (tmp_path / "large.nii").open("wb") as stream:
        stream.write(header.binaryblock)
        stream.truncate(352 + 4 * int(np.prod(shape)))  # zeros, which take no room on the disk
    (grown,) = measured(
        """
import relaxometry as rx
from relaxometry import nifti
before = resident()
series = rx.read(sys.argv[1], te=[0.01 * (k + 1) for k in range(16)])
series.root_sum_of_squares()
print(status("VmHWM") - before)
""",
        tmp_path / "large.nii",
    )
    assert grown < 160


def test_changes_that_are_nowhere_else_are_not_lost(file: Path) -> None:
    for mode in ("c", "r+"):
        array = np.memmap(file, np.float32, mode)
        array[:] = 7
        release(array[::2])
        assert (array == 7).all()


def test_of_an_array_in_memory_nothing_happens(file: Path) -> None:
    for array in (np.ones(3), np.frombuffer(b"12345678", np.float32), np.ones((4, 4)).T[1:]):
        before = array.copy()
        release(array)
        np.testing.assert_array_equal(array, before)
