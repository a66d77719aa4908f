"""What only a fresh process can measure: cold starts, and the memory of a mapped fit.

    python probes.py cold ENGINE          seconds to import, to fit first, to fit again
    python probes.py make FILE SIDE       a .nii of SIDE³ × 16 float32
    python probes.py fit FILE WAY ENGINE  WAY is mapped or loaded

`speed.py` runs these; each prints one line of JSON.
"""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

START = time.perf_counter()
GIB = 2**30


def status_bytes(field: str) -> int:
    """A field of /proc/self/status in bytes, e.g. VmHWM, the peak of resident memory."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return 0


class Watch(threading.Thread):
    """The peak of memory that is not a file's, which the kernel does not keep: sampled."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak, self.go = 0, True

    def run(self) -> None:
        while self.go:
            self.peak = max(self.peak, status_bytes("RssAnon"))
            time.sleep(0.02)


def cold(engine: str) -> dict:
    import numpy as np

    import relaxometry as rx

    imported = time.perf_counter() - START
    rx.fit_maps  # noqa: B018 - loaded when first asked for
    import ours

    TE = np.arange(10, 161, 10) / 1e3
    signal = 1000 * np.exp(-TE / np.linspace(0.02, 0.2, 4096)[:, None])
    series = rx.Series(signal.reshape(64, 64, 1, -1).astype("f4"), rx.Protocol(TE=TE))
    seconds = []
    for _ in range(2):
        began = time.perf_counter()
        ours.fit(series, "t2", engine)
        seconds.append(time.perf_counter() - began)
    return {"import_s": imported, "first_fit_s": seconds[0], "second_fit_s": seconds[1]}


def make(path: str, side: int) -> dict:
    """Echo by echo, as the file has them, so that making it takes little memory."""
    import nibabel as nib
    import numpy as np
    from curves import CASE, S0, TRAIN, magnitude

    rng = np.random.default_rng(7)
    T2 = CASE["t2"].draw(side**3, rng).astype("f4")
    header = nib.Nifti1Header()
    header.set_data_dtype(np.float32)
    header.set_data_shape((side, side, side, len(TRAIN)))
    header.set_xyzt_units("mm", "sec")
    header["vox_offset"], header["magic"] = 352, b"n+1"
    header.set_sform(np.eye(4), 1)
    with Path(path).open("wb") as file:
        file.write(header.binaryblock)
        file.write(b"\0" * 4)
        for TE in TRAIN:
            file.write(magnitude(S0 * np.exp(-TE / T2), S0 / 50, rng).tobytes())
    sidecar = {"EchoTime": TRAIN.tolist(), "RepetitionTime": 3.0, "Modality": "MR"}
    Path(path).with_suffix(".json").write_text(json.dumps(sidecar))
    return {"bytes": Path(path).stat().st_size}


def fit(path: str, way: str, engine: str) -> dict:
    import nibabel  # noqa: F401 - what reading and fitting import belongs to the baseline
    import numpy as np
    import ours
    import scipy.special  # noqa: F401

    import relaxometry as rx

    rx.fit_maps, rx.read  # noqa: B018
    small = rx.Series(
        np.geomspace(100, 1, 16, dtype="f4")[None, None, None] * np.ones((8, 8, 1, 1), "f4"),
        rx.Protocol(TE=np.arange(1, 17) / 100),
    )
    ours.fit(small, "t2", engine)
    baseline = status_bytes("VmRSS")
    watch = Watch()
    watch.start()
    began = time.perf_counter()
    series = rx.read(path)
    if way == "loaded":
        series = replace(series, signal=np.array(series.signal))
    read = time.perf_counter() - began
    began = time.perf_counter()
    maps = ours.fit(series, "t2", engine)
    seconds = time.perf_counter() - began
    watch.go = False
    peak = status_bytes("VmHWM")
    digest = hashlib.sha256()
    for array in (*(a for pair in maps.raw.values() for a in pair), maps.rmse, maps.rsquared):
        for z in range(array.shape[2]):
            digest.update(np.ascontiguousarray(array[:, :, z]).tobytes())
    digest.update(np.ascontiguousarray(maps.status).tobytes())
    return {
        "read_s": read,
        "fit_s": seconds,
        "baseline_GiB": baseline / GIB,
        "peak_above_baseline_GiB": (peak - baseline) / GIB,
        "anonymous_above_baseline_GiB": (watch.peak - baseline) / GIB,
        "voxels": int(maps.status.size),
        "maps_sha256": digest.hexdigest(),
    }


def main() -> None:
    verb, *rest = sys.argv[1:]
    verbs = {"cold": cold, "make": lambda p, n: make(p, int(n)), "fit": fit}
    print(json.dumps(verbs[verb](*rest)))


if __name__ == "__main__":
    main()
