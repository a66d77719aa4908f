"""Pictures of docs/figures.md, from simulated tables of the iron oxide clusters of the study.

    python benchmarks/relaxivity_figures.py [FOLDER]

r2 and its SD over three batches are those of Zhou et al., Nat Commun 8:15468 (2017), at 7 T; the
study gives no r1, and those here are made up. Rates scatter by 3 %, and say so.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from tables import ROOT

import relaxometry as rx
from relaxometry.plots import Look, agent_bars, relaxivity_lines, relaxivity_map, save

#: r1, r2 and the SD of r2 between batches, mM⁻¹ s⁻¹.
AGENTS = {
    "IO-5": (2.8, 70.2, 5.7),
    "C1": (2.0, 231.6, 9.3),
    "C2": (1.8, 358.3, 14.2),
    "C3": (1.5, 533.4, 13.2),
    "C4": (1.4, 515.3, 18.9),
    "C5": (1.6, 445.8, 24.6),
    "C6": (1.1, 589.3, 26.8),
    "C7": (1.2, 487.7, 21.5),
}
#: A smart agent before and after acid, as IONAs (Li et al., Chem Biomed Imaging, 2023) at 3 T.
SMART = {("smart agent", "pH 7.4"): (3.2, 108.0, 4.0), ("smart agent", "pH 5"): (5.1, 21.3, 1.0)}
CONCENTRATIONS = (0.4, 0.2, 0.1, 0.05, 0.025)
NOISE = 0.03


def simulated(
    agents: dict[tuple[str, str], tuple[float, float, float]], seed: int = 4
) -> pd.DataFrame:
    """Three batches of each agent at five concentrations, and a blank for each batch."""
    rng, rows = np.random.default_rng(seed), []
    for (agent, condition), (r1, r2, sd) in agents.items():
        for batch in (1, 2, 3):
            factor = 1 + sd / r2 * rng.normal()
            for c in CONCENTRATIONS:
                rates = {"R1": 0.4 + factor * r1 * c, "R2": 9.0 + factor * r2 * c}
                row = {"tube": len(rows) + 1, "agent": agent, "condition": condition}
                row |= {"replicate": batch, "concentration_mM": c}
                row["concentration_sd_mM"] = 0.02 * c
                for name, rate in rates.items():
                    row[f"{name}_per_s"] = rate * (1 + NOISE * rng.normal())
                    row[f"{name}_stderr_per_s"] = NOISE * rate
                rows.append(row)
    return pd.DataFrame(rows)


def main(folder: Path) -> None:
    clusters = {(name, ""): values for name, values in AGENTS.items()}
    few = {key: clusters[key] for key in (("IO-5", ""), ("C1", ""), ("C3", ""))}
    table = rx.relaxivity(simulated(clusters))
    three = rx.relaxivity(simulated(few))
    smart = rx.relaxivity(simulated(SMART))
    turned = pd.DataFrame([{"agent": "smart agent", "before": "pH 7.4", "after": "pH 5"}])
    single, double = Look("single"), Look("double")
    pictures = {
        "lines-double": relaxivity_lines(three, "Fe", look=double, prediction=True),
        "lines-single": relaxivity_lines(three, "Fe", look=single, residuals=False),
        "lines-many": relaxivity_lines(table, "Fe", look=double),
        "bars-single": agent_bars(three, "r2", look=single),
        "bars-double": agent_bars(table, "r2", look=double),
        "map-single": relaxivity_map(smart, field_T=3.0, ion="Fe", switches=turned, look=single),
        "map-double": relaxivity_map(table, field_T=7.0, ion="Fe", look=double),
    }
    for name, figure in pictures.items():
        print(save(figure, folder / f"figure-{name}.png", dpi=150).name)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images")
