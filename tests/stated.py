"""A table of relaxivities with replicates, pairs and a smart agent, its numbers written by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from relaxometry.agents import relaxivity

UNIT = "per_mM_per_s"
#: Agent and condition: r1, r2.
TRUTH = {("SPIO", "pH 7"): (1.3, 13.9), ("SPIO", "pH 5"): (4.6, 82.2), ("Gd", ""): (4.0, 4.4)}


def tubes(names: dict[str, str] | None = None, truth: Any = TRUTH, seed: int = 1) -> pd.DataFrame:
    """Rates of five tubes of each, 1 % noise, with their errors."""
    rng, rows = np.random.default_rng(seed), []
    for (agent, condition), (r1, r2) in truth.items():
        for c in (0.4, 0.2, 0.1, 0.05, 0.025):
            R1, R2 = 0.4 + r1 * c, 9 + r2 * c
            rows.append(
                {
                    "tube": len(rows) + 1,
                    "agent": (names or {}).get(agent, agent),
                    "condition": condition,
                    "concentration_mM": c,
                    "R1_per_s": R1 * (1 + 0.01 * rng.normal()),
                    "R1_stderr_per_s": 0.01 * R1,
                    "R2_per_s": R2 * (1 + 0.01 * rng.normal()),
                    "R2_stderr_per_s": 0.01 * R2,
                }
            )
    return pd.DataFrame(rows)


def plain(names: dict[str, str] | None = None, truth: Any = TRUTH) -> SimpleNamespace:
    """A table without replicates, comparisons and switches."""
    made = relaxivity(tubes(names, truth))
    nothing = pd.DataFrame()
    return SimpleNamespace(
        table=made.table,
        lines=made.lines,
        warnings=made.warnings,
        left_out=made.left_out,
        replicates=nothing,
        replicate_summary=nothing,
        comparisons=nothing,
        switches=nothing,
        letters={},
    )


def full(names: dict[str, str] | None = None, pairs: int = 1) -> SimpleNamespace:
    """A table with one of each."""
    table = plain(names)
    agent, gd = ((names or {}).get(name, name) for name in ("SPIO", "Gd"))
    summary: dict[str, Any] = {"agent": agent, "condition": "pH 5", "n_replicates": 3}
    for symbol, (mean, sd) in {"r1": (4.61, 0.21), "r2": (82.3, 3.4)}.items():
        values = {
            "mean": mean,
            "sd": sd,
            "mixed": mean + 0.1,
            "mixed_stderr": sd / 2,
            "mixed_ci95_low": mean - sd,
            "mixed_ci95_high": mean + sd,
            "between_sd": sd / 3,
            "within_stderr": sd / 4,
        }
        summary |= {f"{symbol}_{key}_{UNIT}": value for key, value in values.items()}
        summary[f"{symbol}_heterogeneity_p"] = 0.037
    table.replicate_summary = pd.DataFrame([summary | {"r2_r1_mean": 17.9, "r2_r1_sd": 1.1}])
    pair = {
        "symbol": "r2",
        "agent_a": agent,
        "condition_a": "pH 5",
        "agent_b": gd,
        "condition_b": "",
        f"difference_{UNIT}": 77.8,
        f"difference_stderr_{UNIT}": 2.1,
        f"difference_ci95_low_{UNIT}": 72.4,
        f"difference_ci95_high_{UNIT}": 83.2,
        "test": "Welch's t",
        "statistic": 37.0,
        "dof_between": 1,
        "dof": 4.2,
        "p": 0.0004,
        "p_holm": 0.0012,
        "stars": "**",
    }
    table.comparisons = pd.DataFrame([pair] * pairs)
    table.letters = {"r2": {(agent, "pH 7"): "a", (agent, "pH 5"): "b", (gd, ""): "c"}}
    switch: dict[str, Any] = {"agent": agent, "before": "pH 7", "after": "pH 5"}
    for key, fold in {"r1": 3.54, "r2": 5.91, "r2_r1": 1.67}.items():
        switch |= {
            f"{key}_fold": fold,
            f"{key}_fold_ci95_low": 0.9 * fold,
            f"{key}_fold_ci95_high": 1.1 * fold,
        }
    switch |= {"class_before": "T2 agent", "class_after": "T2 agent"}
    table.switches = pd.DataFrame([switch | {"switch": "T2 agent before and after, stronger"}])
    return table


def ranking(names: dict[str, str] | None = None, words: str = "is the 3rd of 12") -> pd.DataFrame:
    """How two relaxivities of an agent rank."""
    agent = (names or {}).get("SPIO", "SPIO")
    rows = [{"agent": agent, "condition": "pH 5", "words": f"{s} {words}"} for s in ("r1", "r2")]
    return pd.DataFrame([*rows, {"agent": agent, "condition": "pH 7", "words": ""}])
