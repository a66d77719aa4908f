"""How often 95 % intervals of r1, r2 and r2/r1 hold the truth when things are as they are.

    python benchmarks/relaxivity_statistics.py [--studies 4000] [--seed 0]

Each study is an agent at five concentrations and a blank (0 … 0.4 mM, r1 = 4, r2 = 100 mM⁻¹ s⁻¹).
For each thing that is wrong with a study: the line that is made for it, and beside it
the ordinary line through the same points: coverage of r1, r2 and r2/r1 in %, and the median
half-width of the interval of r2 in % of it. Then the relaxivities of the system phantom."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from tables import ROOT, paste, table

import relaxometry as rx
from relaxometry.regression import t95
from tests.studies import CASES, TRUE, scored

PAGE = ROOT / "docs" / "relaxivity.md"


def coverage(studies: int, seed: int) -> str:
    rows = []
    for case in CASES:
        own = scored(case, case.method, studies, seed)
        plain = scored(case, "ordinary", studies, seed)
        rows.append([case.name, case.method, *(f"{value:.1f}" for value in (*own, *plain))])
    header = ["r1", "r2", "r2/r1", "± r2 (%)"]
    return table(["study", "line", *header, "ordinary: r1", *header[1:]], rows)


def huber(c: np.ndarray, R: np.ndarray) -> tuple[float, float]:
    """95 % interval of the slope by Huber's estimate (k = 1.345) and Student's t, n − 2.

    Standard errors with Huber's correction (Robust Statistics, 1981, section 7.6).
    """
    X = np.column_stack([np.ones_like(c), c])
    beta = np.linalg.lstsq(X, R, rcond=None)[0]
    for _ in range(50):
        z = np.abs(R - X @ beta)
        scale = np.median(z) / 0.6745
        root = np.sqrt(np.minimum(1.0, 1.345 * scale / np.maximum(z, 1e-12)))[:, None]
        beta = np.linalg.lstsq(X * root, R * root[:, 0], rcond=None)[0]
    z = (R - X @ beta) / scale
    inside = max(float((np.abs(z) < 1.345).mean()), 0.2)
    square = scale**2 * (np.clip(z, -1.345, 1.345) ** 2).sum() / (c.size - 2)
    correction = 1 + 2 / c.size * (1 - inside) / inside
    error = correction * np.sqrt(square * np.linalg.inv(X.T @ X)[1, 1]) / inside
    half = t95(c.size - 2) * error
    return beta[1] - half, beta[1] + half


def usual_robust(studies: int, seed: int) -> str:
    """Coverage and median half-width (% of r2) of three robust intervals of r2, five tubes."""
    rows = []
    for case in CASES[5:]:
        rng = np.random.default_rng(seed)
        held, width = np.zeros(3), []
        for _ in range(studies):
            c, rates, _ = case.make(rng)
            ends = [
                rx.relaxivity_fit(c, rates["r2"], method="robust").ci95,
                rx.relaxivity_fit(c, rates["r2"], method="theil-sen").ci95,
                huber(c, rates["r2"]),
            ]
            held += [low < TRUE["r2"][1] < high for low, high in ends]
            width.append([(high - low) / 2 for low, high in ends])
        cells = zip(100 * held / studies, np.median(width, axis=0), strict=True)
        rows.append([case.name, *(f"{value:.1f}" for pair in cells for value in pair)])
    header = ["five tubes", "robust", "± r2 (%)", "Theil–Sen", "± r2 (%)", "Huber", "± r2 (%)"]
    return table(header, rows)


def system_phantom() -> str:
    rows = []
    for array, symbol in (("NiCl2", "r1"), ("MnCl2", "r2")):
        for field_T in (1.5, 3.0):
            known = rx.reference.system_phantom(array, batch=1, field_T=field_T)
            c, rate = known["concentration_mM"], 1 / known[f"T{symbol[1]}_s"]
            ordinary, relative, robust = (
                rx.relaxivity_fit(c, rate, method=method)
                for method in ("ordinary", "relative", "robust")
            )
            low, high = robust.ci95
            rows.append(
                [
                    f"{symbol} of {array}",
                    f"{field_T:g}",
                    *(str(v) for line in (ordinary, relative) for v in (line.r, line.R0)),
                    f"{robust.r.value:.4g}, {low:.4g} to {high:.4g}",
                ]
            )
    header = ["", "T", "ordinary: r", "R(0)", "relative: r", "R(0)", "robust: r, 95 %"]
    return table(header, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write-docs", action="store_true", help="into docs/")
    options = parser.parse_args()
    for name, text in (
        ("system phantom", system_phantom()),
        ("usual robust", usual_robust(options.studies, options.seed)),
        ("coverage", coverage(options.studies, options.seed)),
    ):
        print(text, flush=True)
        if options.write_docs:
            paste(PAGE, name, text)


if __name__ == "__main__":
    main()
