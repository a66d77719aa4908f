"""When not to trust a fit: bias, coverage and failures over simulated curves whose truth is known.

    python benchmarks/trust.py [--quick] [--out benchmarks/results] [--write-docs]

Tables: T2 beyond the times measured; the noise floor; stimulated echoes; clipped echoes; and how
often the 95 % interval T ± t·stderr holds the truth for magnitude data, for every model. Writes
trust.json, trust.md and trust.png; --write-docs puts them into docs/how-the-fit-works.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import ours
from curves import CASE, CASES, S0, TRAIN, Case, magnitude
from scipy.stats import t as student
from tables import ROOT, paste, table

import relaxometry as rx

HERE = Path(__file__).resolve().parent
FLOOR = 3.0  # k of `noise_floor=(k, σ)`: points below k·σ are left out


def summary(case: Case, curves, truth, signed=False, left=None, **options) -> dict | None:
    """Bias, spread, coverage and failures of a fit; None where the package has no such fit.

    `left` (V,) is how many points of each curve are fitted; all by default.
    """
    series = case.series(curves, signed)
    try:
        maps = ours.fit(series, case.model, **options)
    except (rx.RelaxometryError, TypeError):
        return None
    estimate = maps[maps.model.time]
    T, error = estimate.value.ravel(), estimate.stderr.ravel()
    known = np.isfinite(T)
    truth = np.broadcast_to(truth, T.shape)
    if not known.any():
        return {"known": 0.0}
    ratio = T[known] / truth[known] - 1
    points = np.broadcast_to(len(case.times) if left is None else left, T.shape)[known]
    half = student.ppf(0.975, np.maximum(points - case.parameters, 1)) * error[known]
    held = np.abs(T - truth)[known] <= half
    return {
        "known": float(known.mean()),
        "bias": float(np.median(ratio)),
        "spread": float(np.subtract(*np.percentile(ratio, [84, 16])) / 2),
        "coverage": float(held.mean()),
        "relative_stderr": float(np.nanmedian(error[known] / T[known])),
    }


def beyond(voxels: int, rng) -> list:
    """T2 against the echoes, first 10 ms and last 160 ms, SNR 50."""
    case, rows = CASE["t2"], []
    for T2 in (2.5, 5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120):
        truth = np.full(voxels, T2 / 1e3)
        curves = magnitude(case.clean(truth), S0 / 50, rng)
        row = {"T2_ms": T2, "T2_over_last": T2 / 160}
        rows.append({**row, "magnitude": summary(case, curves, truth)})
        signed = (case.clean(truth) + S0 / 50 * rng.standard_normal(curves.shape)).astype("f4")
        rows[-1]["signed"] = summary(case, signed, truth, signed=True)
    return rows


def floor(voxels: int, rng) -> list:
    """Bias of T2 on Rician data, by SNR and by what is done about the floor."""
    rows = []
    for T2 in (20, 50, 100):
        for snr in (10, 20, 30, 50, 100, 200):
            truth = np.full(voxels, T2 / 1e3)
            curves = magnitude(CASE["t2"].clean(truth), S0 / snr, rng)
            row = {"T2_ms": T2, "snr": snr, "t2": summary(CASE["t2"], curves, truth)}
            row["t2_offset"] = summary(CASE["t2_offset"], curves, truth)
            if ours.has("noise_floor"):
                left = (curves >= FLOOR * S0 / snr).sum(axis=1)
                row["cut"] = summary(
                    CASE["t2"], curves, truth, left=left, noise_floor=(FLOOR, S0 / snr)
                )
            rows.append(row)
    return rows


def echo_train(n: int, spacing: float, T1: float, T2: float, angle: float) -> np.ndarray:
    """Echoes of a CPMG train by extended phase graphs, perfect 90° excitation, S0 = 1.

    States F₊, F₋ and Z by order; a pulse mixes them, a gradient moves them one order on.
    Weigel, J Magn Reson Imaging 41:266 (2015).
    """
    a = np.deg2rad(angle)
    cos2, sin2, sin, cos = np.cos(a / 2) ** 2, np.sin(a / 2) ** 2, np.sin(a), np.cos(a)
    pulse = np.array([[cos2, sin2, sin], [sin2, cos2, -sin], [-sin / 2, sin / 2, cos]])
    E2, E1 = np.exp(-spacing / 2 / T2), np.exp(-spacing / 2 / T1)
    states = np.zeros((3, 2 * n + 2))
    states[:2, 0] = 1
    echoes = []
    for _ in range(n):
        for after in (False, True):
            states *= np.array([[E2], [E2], [E1]])
            plus, minus = states[0].copy(), states[1].copy()
            states[0, 1:], states[1, :-1] = plus[:-1], minus[1:]
            states[1, -1] = 0
            states[0, 0] = states[1, 0]
            if not after:
                states = pulse @ states
        echoes.append(states[0, 0])
    return np.array(echoes)


def stimulated() -> list:
    """Noise-free trains of imperfect pulses, fitted by `t2`: 16 echoes, T1 = 1 s."""
    rows = []
    for T2 in (20, 50, 80, 150):
        for angle in (180, 170, 160, 150, 140, 130, 120):
            train = S0 * echo_train(16, 0.01, 1.0, T2 / 1e3, angle)
            row = {"T2_ms": T2, "angle": angle}
            row["all"] = rx.fit_curve(TRAIN, train, "t2")["T2"].value * 1e3 / T2 - 1
            row["without_first"] = (
                rx.fit_curve(TRAIN[1:], train[1:], "t2")["T2"].value * 1e3 / T2 - 1
            )
            rows.append(row)
    return rows


def clipped(voxels: int, rng) -> list:
    """Echoes above the receiver's range, S0 up to three times the ceiling."""
    case, rows = CASE["t2"], []
    for T2 in (20, 50, 100):
        for overdrive in (1.0, 1.1, 1.5, 2.0, 3.0):
            truth = np.full(voxels, T2 / 1e3)
            curves = magnitude(case.clean(truth), S0 / 100, rng)
            ceiling = np.float32(S0 / overdrive)
            curves = np.minimum(curves, ceiling)
            row = {
                "T2_ms": T2,
                "overdrive": overdrive,
                "echoes": float((curves >= ceiling).sum(axis=1).mean()),
            }
            off = {"clip": None} if ours.has("clip") else {}
            row["as_is"] = summary(case, curves, truth, **off)
            if ours.has("clip"):
                left = (curves < ceiling).sum(axis=1)
                row["left_out"] = summary(case, curves, truth, left=left, clip="auto")
            rows.append(row)
    return rows


def coverage(voxels: int, rng) -> list:
    """Of the 95 % intervals, for T drawn over each model's range; magnitude, and signed beside."""
    rows = []
    for case in CASES:
        for snr in (30, 50, 100):
            truth = case.draw(voxels, rng)
            clean = case.clean(truth)
            found = summary(case, magnitude(clean, S0 / snr, rng), truth)
            if found is None:
                rows.append({"model": case.model, "snr": snr})
                break
            noisy = (clean + S0 / snr * rng.standard_normal(clean.shape)).astype("f4")
            beside = summary(case, noisy, truth, signed=True)
            # T whose signal leaves no point on the floor: where the intervals should hold.
            clear = np.abs(clean).min(axis=1) > 3 * S0 / snr
            row = {"model": case.model, "snr": snr, "magnitude": found, "signed": beside}
            if clear.sum() > 100:
                part = magnitude(clean[clear], S0 / snr, rng)
                row["clear"] = summary(case, part, truth[clear])
            rows.append(row)
    return rows


# --- for people ---


def signed_percent(share: float | None) -> str:
    if share is None:
        return ""
    if abs(share) > 5:
        return f"× {1 + share:.3g}"
    return f"{100 * share:+.1f}".replace("-", "−").replace("+0.0", "0.0").replace("−0.0", "0.0")


def field(found: dict | None, key: str, absent: str = "not here yet") -> str:
    if found is None:
        return absent
    if key not in found:
        return "none fitted"
    return signed_percent(found[key]) if key == "bias" else f"{100 * found[key]:.0f}"


def beyond_table(results: dict) -> str:
    rows = [
        [
            f"{r['T2_ms']:g}",
            f"{r['T2_over_last']:.2g}",
            field(r["magnitude"], "known"),
            field(r["magnitude"], "bias"),
            field(r["magnitude"], "spread"),
            field(r["magnitude"], "coverage"),
            field(r["signed"], "bias"),
            field(r["signed"], "coverage"),
        ]
        for r in results["beyond"]
    ]
    head = ["T2, ms", "T2 / last TE", "fitted, %", "bias, %", "spread, ± %", "95 % holds, %"]
    return table([*head, "no noise floor: bias, %", "95 % holds, %"], rows)


def floor_table(results: dict) -> str:
    rows = [
        [
            f"{r['T2_ms']}",
            f"{r['snr']}",
            *(
                text
                for way in ("t2", "t2_offset", "cut")
                for text in (field(r.get(way), "bias"), field(r.get(way), "coverage", ""))
            ),
        ]
        for r in results["floor"]
    ]
    head = ["T2, ms", "SNR", "`t2`: bias, %", "95 % holds, %", "`t2_offset`: bias, %"]
    cut = f"`t2`, cut at {FLOOR:g} σ: bias, %"
    return table([*head, "95 % holds, %", cut, "95 % holds, %"], rows)


def stimulated_table(results: dict) -> str:
    angles = sorted({r["angle"] for r in results["stimulated"]}, reverse=True)
    rows = []
    for T2 in sorted({r["T2_ms"] for r in results["stimulated"]}):
        for key, name in (("all", "all 16 echoes"), ("without_first", "without the first")):
            at = {r["angle"]: r[key] for r in results["stimulated"] if r["T2_ms"] == T2}
            rows.append([f"{T2}", name, *(signed_percent(at[a]) for a in angles)])
    return table(["T2, ms", "fitted", *(f"{a}°" for a in angles)], rows)


def clipped_table(results: dict) -> str:
    rows = [
        [
            f"{r['T2_ms']}",
            f"{r['overdrive']:g}",
            f"{r['echoes']:.1f}",
            field(r["as_is"], "bias"),
            field(r.get("left_out"), "bias"),
            field(r.get("left_out"), "coverage", ""),
        ]
        for r in results["clipped"]
    ]
    head = ["T2, ms", "S0 / ceiling", "echoes clipped", "as they are: bias, %"]
    return table([*head, '`clip="auto"`: bias, %', "95 % holds, %"], rows)


def coverage_table(results: dict) -> str:
    rows = []
    for r in results["coverage"]:
        if "magnitude" not in r:
            rows.append([f"`{r['model']}`", "", "not here yet", "", "", "", "", ""])
            continue
        clear = r.get("clear")
        rows.append(
            [
                f"`{r['model']}`",
                f"{r['snr']}",
                field(r["magnitude"], "known"),
                field(r["magnitude"], "bias"),
                field(r["magnitude"], "coverage"),
                field(clear, "bias", "–"),
                field(clear, "coverage", "–"),
                field(r["signed"], "coverage"),
            ]
        )
    head = ["model", "SNR", "fitted, %", "bias, %", "95 % holds, %"]
    clear = ["no point below 3 σ: bias, %", "95 % holds, %"]
    return table([*head, *clear, "Gaussian noise: 95 % holds, %"], rows)


TABLES = {
    "beyond": beyond_table,
    "floor": floor_table,
    "stimulated": stimulated_table,
    "clipped": clipped_table,
    "coverage": coverage_table,
}


def draw(results: dict, path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    ink, blue, red, green, grey = "#1A1A1A", "#0072B2", "#D55E00", "#009E73", "#5F5F5F"
    with mpl.rc_context({"font.size": 10, "text.color": ink, "axes.labelcolor": ink}):
        figure, grid = plt.subplots(2, 2, figsize=(11, 7.4), layout="constrained")
        axes = grid[0, 0]
        rows = [r for r in results["beyond"] if r["magnitude"].get("known", 0) > 0.02]
        x = [r["T2_over_last"] for r in rows]
        middle = np.array([100 * r["magnitude"]["bias"] for r in rows])
        spread = np.array([100 * r["magnitude"]["spread"] for r in rows])
        axes.fill_between(x, middle - spread, middle + spread, color=blue, alpha=0.25, lw=0)
        axes.plot(x, middle, "o-", color=blue)
        axes.set(xscale="log", ylim=(-60, 60), xlabel="true T2 / last echo time")
        axes.set_title("T2 beyond the echoes (band: 68 % of voxels)", loc="left", weight="bold")
        axes.axvspan(TRAIN[0] / TRAIN[-1], 1, color=grey, alpha=0.12, lw=0)
        axes.annotate("between first and last echo", (0.25, -54), ha="center", fontsize=8.5)
        axes = grid[0, 1]
        for way, colour, mark, name in (
            ("t2", blue, "o-", "t2"),
            ("t2_offset", red, "s-", "t2_offset"),
            ("cut", green, "^-", f"t2, cut at {FLOOR:g} σ"),
        ):
            part = [
                r for r in results["floor"] if r["T2_ms"] == 20 and "bias" in (r.get(way) or {})
            ]
            if part:
                y = [100 * r[way]["bias"] for r in part]
                axes.plot([r["snr"] for r in part], y, mark, color=colour, label=name)
        axes.set(xscale="log", xlabel="SNR = S0/σ")
        axes.set_xticks([10, 20, 30, 50, 100, 200], ["10", "20", "30", "50", "100", "200"])
        axes.minorticks_off()
        axes.legend(frameon=False)
        axes.set_title("The noise floor, T2 = 20 ms", loc="left", weight="bold")
        axes = grid[1, 0]
        for T2, mark in zip((20, 50, 150), "osD", strict=True):
            part = [r for r in results["stimulated"] if r["T2_ms"] == T2]
            y = [100 * r["all"] for r in part]
            axes.plot([r["angle"] for r in part], y, f"{mark}-", color=blue, alpha=0.85)
            axes.annotate(
                f"{T2} ms", (part[-1]["angle"], y[-1]), xytext=(6, 0), textcoords="offset points"
            )
        axes.set(xlabel="refocusing angle, degrees", xlim=(182, 112))
        axes.set_title("Stimulated echoes, T1 = 1 s, 16 echoes", loc="left", weight="bold")
        axes = grid[1, 1]
        for key, colour, mark, name in (
            ("as_is", blue, "o-", "clipped echoes fitted as they are"),
            ("left_out", green, "^-", 'clip="auto"'),
        ):
            part = [
                r for r in results["clipped"] if r["T2_ms"] == 50 and "bias" in (r.get(key) or {})
            ]
            if part:
                y = [100 * r[key]["bias"] for r in part]
                axes.plot([r["overdrive"] for r in part], y, mark, color=colour, label=name)
        axes.set(xlabel="S0 / largest number the file holds")
        axes.legend(frameon=False)
        axes.set_title("Clipped echoes, T2 = 50 ms", loc="left", weight="bold")
        for axes in grid.flat:
            axes.axhline(0, color=ink, lw=0.8)
            axes.set_ylabel("bias of T2, %")
            axes.grid(color="#E2E2E2", lw=0.6)
            axes.set_axisbelow(True)
            for side in ("top", "right"):
                axes.spines[side].set_visible(False)
        figure.savefig(path, dpi=130, facecolor="white")
        plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="1000 voxels a row instead of 10 000")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--write-docs", action="store_true")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    voxels = 1000 if options.quick else 10_000
    results = {
        "voxels": voxels,
        "beyond": beyond(voxels, np.random.default_rng(1)),
        "floor": floor(voxels, np.random.default_rng(2)),
        "stimulated": stimulated(),
        "clipped": clipped(voxels, np.random.default_rng(3)),
        "coverage": coverage(voxels, np.random.default_rng(4)),
    }
    text = json.dumps(results, indent=1, allow_nan=False)
    (options.out / "trust.json").write_text(text + "\n", encoding="utf-8")
    whole = "\n".join(f"## {name}\n\n{make(results)}" for name, make in TABLES.items())
    (options.out / "trust.md").write_text(whole, encoding="utf-8")
    draw(results, options.out / "trust.png")
    print(whole)
    if options.write_docs:
        shutil.copy(options.out / "trust.png", ROOT / "docs" / "images")
        for name, make in TABLES.items():
            paste(ROOT / "docs" / "how-the-fit-works.md", name, make(results))


if __name__ == "__main__":
    main()
