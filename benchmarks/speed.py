"""How quick the fit is, beside what else one would use, and how often each finds the minimum.

    python benchmarks/speed.py [--quick] [--out benchmarks/results] [--write-docs]
                               [--rival-python PYTHON ...]

Everything runs in one process on the same simulated curves (Rician, SNR 50, float32): warm-up
first, then the repeats of all contestants interleaved, and the median of each. Per-voxel rivals get
a subsample and their rate is scaled up. "Off" is the share of voxels whose T is not that of the
exact minimum, which `curves.true_minimum` finds slowly and apart from the package.
Writes results.json, results.md and speed.png/.svg; --write-docs puts tables and chart where the
README and docs/how-the-fit-works.md show them.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import ours
from curves import CASE, CASES, Case, simulated, true_minimum, with_echoes
from rivals import joblib, rivals_of
from tables import ROOT, paste, percent, rate, table, times

HERE = Path(__file__).resolve().parent
SNR = 50
JUDGED = 2000  # voxels whose true minimum is found the slow way
OURS = {"numpy": "relaxometry, NumPy", "compiled": "relaxometry, compiled"}
REFERENCE = "curve_fit, 1 core"


def clock(function, *args) -> float:
    began = time.perf_counter()
    function(*args)
    return time.perf_counter() - began


def interleaved(jobs: dict, repeats: int) -> dict:
    """Median seconds of each job; one round of all of them after another."""
    seconds = {name: [] for name in jobs}
    for _ in range(repeats):
        for name, job in jobs.items():
            seconds[name].append(clock(job))
    return {name: statistics.median(values) for name, values in seconds.items()}


def off(T, exact, inside) -> dict:
    with np.errstate(invalid="ignore"):
        error = np.abs(T / exact - 1)[inside]
    # NaN, a fit that failed, counts as off.
    return {
        "off_1pct": float((~(error <= 0.01)).mean()),
        "off_1e-6": float((~(error <= 1e-6)).mean()),
    }


def contest(case: Case, voxels: int, repeats: int, elsewhere: dict) -> tuple[list, list]:
    """Records of all contestants for one model, and what was left out."""
    curves, _ = simulated(case, voxels, SNR, seed=1)
    series, judged = case.series(curves), curves[:JUDGED]
    exact, inside = true_minimum(case, judged)
    jobs, facts, skipped = {}, {}, []
    for engine, name in OURS.items():
        reason = ours.why_not(case.series(judged), case.model, engine)
        if reason:
            skipped.append({"model": case.model, "contestant": name, "why": reason})
            continue
        maps = ours.fit(case.series(judged), case.model, engine)
        T = maps[maps.model.time].value.ravel()
        facts[name] = {"kind": "ours", "voxels": voxels, **off(T, exact, inside)}
        jobs[name] = lambda engine=engine: ours.fit(series, case.model, engine)
        jobs[name]()  # warm-up
    for name, function, most, same in rivals_of(case):
        part = curves[: min(most, voxels)]
        T = function(case, judged[:most])  # also the warm-up
        kind = "rival" if same else "approximation"
        m = min(most, JUDGED)
        facts[name] = {"kind": kind, "voxels": len(part), **off(T, exact[:m], inside[:m])}
        jobs[name] = lambda function=function, part=part: function(case, part)
    seconds = interleaved(jobs, repeats)
    for name, (took, T) in elsewhere.get(case.model, {}).items():
        seconds[name] = took
        m = len(T)
        straightened = (case.model, name) == ("t1_vfa", "qmrpy")
        kind = "approximation" if straightened else "rival"
        facts[name] = {"kind": kind, "voxels": m, **off(T, exact[:m], inside[:m])}
    n = len(case.times)
    records = [
        {
            "model": case.model,
            "points": n,
            "contestant": name,
            "mvoxel_per_s": fact["voxels"] / seconds[name] / 1e6,
            **fact,
        }
        for name, fact in facts.items()
    ]
    slow = next(r["mvoxel_per_s"] for r in records if r["contestant"] == REFERENCE)
    best = max(r["mvoxel_per_s"] for r in records if r["kind"] == "rival")
    for record in records:
        record["times_curve_fit"] = record["mvoxel_per_s"] / slow
        record["times_best_rival"] = record["mvoxel_per_s"] / best
    records.sort(key=lambda r: -r["mvoxel_per_s"])
    return records, skipped


def from_elsewhere(pythons: list[str], quick: bool) -> tuple[dict, dict, list]:
    """{model: {contestant: (seconds, T)}} of the libraries in other environments."""
    found, versions, skipped = {}, {}, []
    if not pythons:
        skipped.append({"contestant": "ukat, qmrpy", "why": "no --rival-python given"})
    with tempfile.TemporaryDirectory() as folder:
        given = {}
        for model in ("t2", "t2_offset", "t1_ir", "t1_vfa"):
            case = CASE[model]
            curves, _ = simulated(case, JUDGED, SNR, seed=1)
            given[f"curves:{model}"] = curves[: 500 if quick else JUDGED]
            given[f"times:{model}"] = case.times * (1 if model == "t1_vfa" else 1e3)
            given[f"TR:{model}"] = 1e3 * case.protocol.TR[0]
        np.savez(Path(folder) / "curves.npz", **given)
        for number, python in enumerate(pythons):
            answers = Path(folder) / f"{number}.npz"
            script = [python, str(HERE / "rival_elsewhere.py"), f"{folder}/curves.npz", answers]
            environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
            done = subprocess.run(  # noqa: S603
                script, env=environment, capture_output=True, text=True, check=False
            )
            if done.returncode:
                last = done.stderr.strip().splitlines()[-1:]
                skipped.append({"contestant": "--rival-python", "why": " ".join(last)})
                continue
            data = np.load(answers)
            for key in data:
                kind, name, *model = key.split(":")
                if kind == "version":
                    versions[name] = str(data[key])
                elif kind == "T":
                    took = float(data[f"seconds:{name}:{model[0]}"])
                    found.setdefault(model[0], {})[name] = (took, data[key])
    return found, versions, skipped


def probe(*args, **environment) -> dict:
    """One line of JSON from a fresh process."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, str(HERE / "probes.py"), *map(str, args)]
    done = subprocess.run(  # noqa: S603
        command,
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return {"why": (done.stderr.strip().splitlines() or ["no word"])[-1]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def engines_for(case: Case) -> list[str]:
    few = case.series(simulated(case, 64, SNR, seed=3)[0])
    return [e for e in OURS if not ours.why_not(few, case.model, e)]


def slices(repeats: int) -> list:
    """One 256×256 slice, all voxels."""
    rows = []
    for model in ("t2", "t1_ir"):
        case = CASE[model]
        series = case.series(simulated(case, 256 * 256, SNR, seed=2)[0])
        for engine in engines_for(case):
            ours.fit(series, model, engine)
            took = [clock(ours.fit, series, model, engine) for _ in range(repeats)]
            rows.append(
                {
                    "model": model,
                    "engine": engine,
                    "median_ms": 1e3 * statistics.median(took),
                    "best_ms": 1e3 * min(took),
                }
            )
    return rows


def linearity(quick: bool) -> list:
    case, rows = CASE["t2"], []
    few, _ = simulated(case, 65_536, SNR, seed=4)
    for voxels in (65_536, 262_144, 1_048_576, *(() if quick else (4_194_304, 16_777_216))):
        series = case.series(np.tile(few, (voxels // len(few), 1)))
        for engine in engines_for(case):
            repeats = 3 if voxels < 4e6 else 1
            took = statistics.median(clock(ours.fit, series, "t2", engine) for _ in range(repeats))
            rows.append({"engine": engine, "voxels": voxels, "seconds": took})
    return rows


def echoes(voxels: int) -> list:
    rows = []
    for n in (4, 8, 16, 32, 64):
        case = with_echoes(n)
        series = case.series(simulated(case, voxels, SNR, seed=5)[0])
        for engine in engines_for(case):
            took = statistics.median(clock(ours.fit, series, "t2", engine) for _ in range(3))
            rows.append({"engine": engine, "echoes": n, "us_per_voxel": 1e6 * took / voxels})
    return rows


def read_once(voxels: int) -> dict:
    """Summing the array once: no program that looks at the data can be quicker."""
    curves = simulated(CASE["t2"], voxels, SNR, seed=1)[0]
    took = statistics.median(clock(np.sum, curves) for _ in range(7))
    return {"mvoxel_per_s": voxels / took / 1e6, "GB_per_s": curves.nbytes / took / 1e9}


def cold_starts(engines: list[str]) -> list:
    rows = []
    for engine in engines:
        with tempfile.TemporaryDirectory() as cache:
            for state in ("empty", "filled") if engine == "compiled" else ("none",):
                found = probe("cold", engine, NUMBA_CACHE_DIR=cache)
                rows.append({"engine": engine, "cache": state, **found})
    return rows


def mapped(quick: bool, engines: list[str]) -> dict:
    side = 128 if quick else 256
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sub-sim_MESE.nii"
        if shutil.disk_usage(folder).free < 3 * 64 * side**3:
            return {"why": "no room for the file"}
        made = probe("make", path, side)
        if "why" in made:
            return made
        found = {"side": side, "file_GiB": made["bytes"] / 2**30}
        for engine in engines:
            runs = {way: probe("fit", path, way, engine) for way in ("mapped", "loaded")}
            whys = [run["why"] for run in runs.values() if "why" in run]
            if whys:
                found[engine] = {"why": whys[0]}
                continue
            hashes = {run.pop("maps_sha256") for run in runs.values()}
            found[engine] = {
                **runs,
                "time_ratio": runs["mapped"]["fit_s"] / runs["loaded"]["fit_s"],
                "same_bits": len(hashes) == 1,
            }
    return found


def machine() -> dict:
    """What the figures depend on; nothing that names the machine or its user."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [x for x in info.read_text().splitlines() if x.startswith("model name")]
        cpu = names[0].split(":", 1)[1].strip() if names else cpu
    versions = {}
    for package in ("numpy", "scipy", "lmfit", "numba", "joblib", "relaxometry"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    threads = {
        k: os.environ[k]
        for k in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        if k in os.environ
    }
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": versions,
        "blas": f"{blas.get('name')} {blas.get('version')}",
        "blas_threads": threads or "library default",
    }


# --- for people ---


def machine_line(results: dict) -> str:
    m = results["machine"]
    versions = ", ".join(f"{k} {v}" for k, v in m["versions"].items() if v and k != "relaxometry")
    rehearsal = "**Rehearsal on a busy machine (`--quick`).** " if results["quick"] else ""
    return (
        f"{rehearsal}{m['cpu']}, {m['cores']} cores, {m['system']}, Python {m['python']}, "
        f"{versions}, BLAS {m['blas']} ({m['blas_threads']} threads)."
    ).replace("library default threads", "default threads")


def contest_table(results: dict, models=None, brief: bool = False) -> str:
    header = ["model", "points", "fit", "Mvoxel/s", "× curve_fit, 1 core"]
    tail = ["× best rival"] if not brief else []
    header += [*tail, "off by > 1 %, % of voxels", "off by > 10⁻⁶, %"]
    rows = []
    for r in results["speed"]:
        if models and r["model"] not in models:
            continue
        name = f"**{r['contestant']}**" if r["kind"] == "ours" else r["contestant"]
        name += " (another minimum)" if r["kind"] == "approximation" else ""
        rows.append(
            [
                f"`{r['model']}`",
                str(r["points"]),
                name,
                rate(r["mvoxel_per_s"]),
                times(r["times_curve_fit"]),
                *([] if brief else [times(r["times_best_rival"])]),
                percent(r["off_1pct"]),
                percent(r["off_1e-6"]),
            ]
        )
    return table(header, rows)


def slice_table(results: dict) -> str:
    rows = [
        [f"`{r['model']}`", r["engine"], f"{r['median_ms']:.0f}", f"{r['best_ms']:.0f}"]
        for r in results["slice"]
    ]
    return table(["256×256 slice", "engine", "median, ms", "best, ms"], rows)


def pivot(rows: list, across: str, value, head) -> str:
    columns = sorted({r[across] for r in rows})
    engines = dict.fromkeys(r["engine"] for r in rows)
    body = []
    for engine in engines:
        at = {r[across]: r for r in rows if r["engine"] == engine}
        body.append([engine, *(value(at[c]) if c in at else "" for c in columns)])
    return table(["engine", *map(head, columns)], body)


def linearity_table(results: dict) -> str:
    return pivot(
        results["linearity"],
        "voxels",
        lambda r: f"{r['seconds']:.3g} s ({r['voxels'] / r['seconds'] / 1e6:.2g} M/s)",
        lambda n: f"{n:,} voxels".replace(",", " "),
    )


def echo_table(results: dict) -> str:
    return pivot(
        results["echoes"],
        "echoes",
        lambda r: f"{r['us_per_voxel']:.2f} µs",
        lambda n: f"{n} echoes",
    )


def cold_table(results: dict) -> str:
    rows = [
        [
            r["engine"],
            r["cache"],
            *(
                f"{r[k]:.2f} s" if k in r else r.get("why", "")
                for k in ("import_s", "first_fit_s", "second_fit_s")
            ),
        ]
        for r in results["cold"]
    ]
    return table(["engine", "cache", "import", "first fit, 4096 voxels", "second"], rows)


def mapped_table(results: dict) -> str:
    m = results["mapped"]
    if "why" in m:
        return f"Not measured: {m['why']}\n"
    rows = []
    for engine in (e for e in OURS if e in m):
        if "why" in m[engine]:
            rows.append([engine, "", m[engine]["why"], "", "", "", ""])
            continue
        bits = "the same bits" if m[engine]["same_bits"] else "OTHER BITS"
        ratio = {"mapped": f"{m[engine]['time_ratio']:.2f}, {bits}", "loaded": ""}
        for way in ("mapped", "loaded"):
            run = m[engine][way]
            numbers = [
                run[key]
                for key in (
                    "read_s",
                    "fit_s",
                    "peak_above_baseline_GiB",
                    "anonymous_above_baseline_GiB",
                )
            ]
            rows.append([engine, way, *(f"{x:.2f}" for x in numbers), ratio[way]])
    head = [
        f"{m['side']}³ × 16, {m['file_GiB']:.2g} GiB file",
        "data",
        "read, s",
        "fit, s",
        "peak above baseline, GiB",
        "of it not file pages, GiB",
        "mapped : loaded",
    ]
    return table(head, rows)


def skipped_text(results: dict) -> str:
    seen = dict.fromkeys(
        f"- {s.get('model', 'all models')}, {s['contestant']}: {s['why'].splitlines()[0]}"
        for s in results["skipped"]
    )
    return "Left out:\n\n" + "\n".join(seen) + "\n" if seen else ""


def full_text(results: dict) -> str:
    once = results["read_once"]
    parts = [
        machine_line(results),
        contest_table(results),
        f"Reading the array once (`np.sum`, 16 echoes): {once['mvoxel_per_s']:.0f} Mvoxel/s, "
        f"{once['GB_per_s']:.1f} GB/s. No fit can be quicker.",
        slice_table(results),
        "Time against the number of voxels (`t2`, 16 echoes):",
        linearity_table(results),
        "Time per voxel against the number of echoes (`t2`, uniform echoes over 10 … 160 ms):",
        echo_table(results),
        "Cold start, each in a fresh process:",
        cold_table(results),
        "From a file that is mapped, not loaded, each in a fresh process (`t2`):",
        mapped_table(results),
        skipped_text(results),
    ]
    return "\n".join(f"{part.strip()}\n" for part in parts if part)


def brief_text(results: dict) -> str:
    """What the README shows."""
    brief = {**results, "speed": [r for r in results["speed"] if r["model"] in ("t2", "t1_ir")]}
    return "\n".join((machine_line(results), "", contest_table(brief, brief=True)))


# --- the run ---


def measure(options) -> dict:
    quick = options.quick
    voxels, repeats = (65_536, 3) if quick else (1_048_576, 5)
    elsewhere, versions, skipped = from_elsewhere(options.rival_python, quick)
    results = {"quick": quick, "machine": machine(), "SNR": SNR, "speed": []}
    results["machine"]["versions"].update(versions)
    if joblib is None:
        skipped.append({"contestant": "curve_fit, joblib", "why": "joblib is not installed"})
    for case in CASES:
        print(f"{case.model} …", flush=True)
        records, left_out = contest(case, voxels, repeats, elsewhere)
        results["speed"] += records
        skipped += left_out
    results["skipped"] = skipped
    engines = engines_for(CASE["t2"])
    for name, job in (
        ("slice", lambda: slices(5 if quick else 11)),
        ("linearity", lambda: linearity(quick)),
        ("echoes", lambda: echoes(min(voxels, 262_144))),
        ("read_once", lambda: read_once(1_048_576)),
        ("cold", lambda: cold_starts(engines)),
        ("mapped", lambda: mapped(quick, engines)),
    ):
        print(f"{name} …", flush=True)
        results[name] = job()
    return results


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer voxels and repeats: minutes")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--write-docs", action="store_true", help="into README.md and docs/")
    parser.add_argument(
        "--rival-python",
        action="append",
        default=[],
        help="interpreter of an environment with ukat or qmrpy; may be given twice",
    )
    parser.add_argument("--from-json", type=Path, help="tables and chart of an earlier run only")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.from_json:
        results = json.loads(options.from_json.read_text(encoding="utf-8"))
    else:
        results = measure(options)
    text = json.dumps(results, indent=1, ensure_ascii=False, allow_nan=False)
    (options.out / "results.json").write_text(text + "\n", encoding="utf-8")
    (options.out / "results.md").write_text(full_text(results), encoding="utf-8")
    from chart import draw

    draw(results, options.out)
    print(full_text(results))
    if options.write_docs:
        for suffix in ("png", "svg"):
            shutil.copy(options.out / f"speed.{suffix}", ROOT / "docs" / "images")
        paste(ROOT / "README.md", "speed", brief_text(results))
        paste(ROOT / "docs" / "how-the-fit-works.md", "speed", full_text(results))


if __name__ == "__main__":
    main()
