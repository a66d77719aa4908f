"""How often the 95 % intervals of r1, r2 and r2/r1 hold the truth, over many simulated studies.

    python benchmarks/relaxivity_coverage.py [--protocol seed-7T] [--seeds 100] [--snr 150]

Prints a Markdown table: bias and worst error of each relaxivity, and the coverage of its interval
by the default line and, beside it, by an ordinary line through the same points.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd

import relaxometry as rx
from relaxometry.simulate import mese, phantom, t1_series


def study(true, sheet: pd.DataFrame, seed: int, snr: float):
    """Relaxivities of one simulated study, tubes found in the image."""
    T2, T1 = mese(true, seed, snr), t1_series(true, seed, snr)
    tubes = rx.find_tubes(T2, sheet)
    return rx.relaxivity(
        rx.tube_table(tubes, *(rx.fit_maps(s, mask=tubes.on(s).mask) for s in (T2, T1)))
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--protocol", default="seed-7T")
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--snr", type=float, default=150.0)
    options = parser.parse_args()
    true = phantom(options.protocol)
    sheet = pd.DataFrame(
        [(t.number, t.agent, t.concentration_mM) for t in true.tubes],
        columns=["tube", "agent", "concentration_mM"],
    )
    rows = []
    for seed in range(options.seeds):
        table = study(true, sheet, seed, options.snr)
        for agent, record in zip(true.agents, table.table.to_dict("records"), strict=True):
            ratio = agent.r2 / agent.r1
            rows.append(
                {
                    "agent": agent.name,
                    "quantity": "r2/r1",
                    "error": record["r2_r1"] / ratio - 1,
                    "default": record["r2_r1_ci95_low"] < ratio < record["r2_r1_ci95_high"],
                }
            )
            for symbol, line in table[agent.name].items():
                value = getattr(agent, symbol)
                ordinary = rx.relaxivity_fit(line.concentration, line.rate)
                rows.append(
                    {
                        "agent": agent.name,
                        "quantity": symbol,
                        "error": line.r.value / value - 1,
                        "default": line.ci95[0] < value < line.ci95[1],
                        "ordinary": ordinary.ci95[0] < value < ordinary.ci95[1],
                    }
                )
    print(f"{options.seeds} studies {options.protocol}, S0/sigma = {options.snr:g}\n")
    print("| agent | quantity | bias % | worst error % | coverage % | ordinary line % |")
    print("|---|---|---|---|---|---|")
    for (agent, quantity), group in pd.DataFrame(rows).groupby(["agent", "quantity"]):
        error = 100 * group["error"]
        beside = group["ordinary"].dropna().astype(float)
        print(
            f"| {agent} | {quantity} | {error.mean():+.2f} | {np.abs(error).max():.2f} "
            f"| {100 * group['default'].mean():.0f} "
            f"| {f'{100 * beside.mean():.0f}' if len(beside) else ''} |"
        )


if __name__ == "__main__":
    main()
