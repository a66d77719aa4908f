"""How long a folder of 1000 images takes to be inspected, beside reading its headers alone.

    python benchmarks/inspect_folder.py [--files 1000] [--write-docs]

The rival is a loop of `pydicom.dcmread(stop_before_pixels=True)`: headers read whole, and nothing
made of them. Everything runs in one process, in turns; the files lie in the disk's cache.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import pydicom
from tables import ROOT, paste, table

import relaxometry as rx
from relaxometry.dicomwriter import write_series

ECHOES = 25


def clock(function, *args) -> float:
    began = time.perf_counter()
    function(*args)
    return time.perf_counter() - began


def headers(files: list[Path]) -> None:
    for file in files:
        pydicom.dcmread(file, stop_before_pixels=True)


def written(folder: Path, files: int) -> list[Path]:
    rng = np.random.default_rng(0)
    signal = np.rint(rng.uniform(0, 1000, (128, 128, files // ECHOES, ECHOES)))
    series = rx.Series(signal, rx.Protocol(TE=0.01 * np.arange(1, ECHOES + 1), TR=3.0))
    found = write_series(series, folder, description="T2", series_number=1, uid_seed="benchmark")
    for file in found:  # as old as a scan is: what changed just now is not remembered
        os.utime(file, (1e9, 1e9))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--write-docs", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = written(Path(folder), options.files)
        time.sleep(2.5)  # until the file system's clock has ticked past the last of them
        rx.inspect(files[0])  # warm-up
        headers(files[:10])
        first = clock(rx.inspect, folder)
        again = min(clock(rx.inspect, folder) for _ in range(3))
        rival = min(clock(headers, files) for _ in range(3))
    rows = [
        ["`inspect`, first time", f"{first:.2f} s", f"{first / rival:.2f}"],
        ["`inspect` again, nothing changed", f"{again:.2f} s", f"{again / rival:.2f}"],
        ["headers by pydicom, one by one", f"{rival:.2f} s", "1"],
    ]
    lines = table([f"{len(files)} classic DICOM files", "time", "ratio"], rows)
    print(lines)
    if options.write_docs:
        paste(ROOT / "docs" / "reading.md", "inspect", lines)


if __name__ == "__main__":
    main()
