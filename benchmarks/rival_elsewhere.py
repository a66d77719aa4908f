"""ukat and qmrpy, run by the interpreter of the environment they are installed in.

    PYTHON rival_elsewhere.py CURVES.npz ANSWERS.npz

`speed.py --rival-python PYTHON` calls this. It reads curves and times (ms) from the first file and
writes rates and T to the second. Only the public functions of each library are called. Nothing of
relaxometry is imported: the environment need not have it.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
import types
import warnings

import numpy as np

REPEATS = 3


def qmrpy(model, times, curves, TR):
    from qmrpy.models import T1VFA, T1InversionRecovery, T2Mono

    jobs = {"n_jobs": os.cpu_count() or 1}
    if model in ("t2", "t2_offset"):
        fit = T2Mono(te_ms=times).fit_image
        return lambda: fit(curves, offset_term=model == "t2_offset", **jobs)["t2_ms"]
    if model == "t1_ir":
        fit = T1InversionRecovery(ti_ms=times).fit_image
        return lambda: fit(curves, method="magnitude", **jobs)["t1_ms"]
    if model == "t1_vfa":
        fit = T1VFA(flip_angle_deg=times, tr_ms=TR).fit_image
        return lambda: fit(curves, **jobs)["t1_ms"]
    return None


def ukat(model, times, curves, TR):
    try:
        importlib.import_module("segment")
    except ImportError:
        # Kidney segmentation, which `import ukat` loads and mapping does not use, needs this and
        # with it a deep-learning framework.
        stub = types.ModuleType("segment")
        stub.Tkv = object
        sys.modules["segment"] = stub
    from ukat.mapping.t1 import T1
    from ukat.mapping.t2 import T2

    image, affine = curves[:, None], np.eye(4)
    if model in ("t2", "t2_offset"):
        method = "2p_exp" if model == "t2" else "3p_exp"
        return lambda: T2(image, times, affine, method=method, multithread=True).t2_map[:, 0]
    if model == "t1_ir":
        return lambda: T1(image, times, affine, parameters=3, multithread=True).t1_map[:, 0]
    return None


def main() -> None:
    warnings.simplefilter("ignore")
    given = dict(np.load(sys.argv[1]))
    answers = {}
    for name, maker in (("qmrpy", qmrpy), ("ukat", ukat)):
        for key in [k for k in given if k.startswith("curves:")]:
            model = key.split(":")[1]
            times, TR = given[f"times:{model}"], float(given[f"TR:{model}"])
            # Their progress bars are theirs; ours is the answer file.
            few, many = (maker_of(maker, model, times, given[key][:n], TR) for n in (32, None))
            if isinstance(many, str):
                answers[f"why:{name}"] = np.array(many)
                break
            if many is None:
                continue
            few()  # warm-up
            seconds = []
            for _ in range(REPEATS):
                start = time.perf_counter()
                T = many()
                seconds.append(time.perf_counter() - start)
            answers[f"T:{name}:{model}"] = np.asarray(T, dtype=float) / 1e3
            answers[f"seconds:{name}:{model}"] = np.median(seconds)
        if not any(f":{name}" in key for key in answers):
            continue
        module = sys.modules.get(name)
        if module is not None:
            from importlib.metadata import version

            answers[f"version:{name}"] = np.array(version(name))
    np.savez(sys.argv[2], **answers)


def maker_of(maker, model, times, curves, TR):
    try:
        return maker(model, times, curves, TR)
    except ImportError as error:
        return f"{error}"


if __name__ == "__main__":
    main()
