"""The answer of a study in a line per agent, as the command line says it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def relaxivity_line(row: Mapping[Any, Any]) -> str:
    """r1, r2 with their intervals, and the class of an agent: a row of the relaxivity table."""
    name = " ".join(str(row[key]) for key in ("agent", "condition") if row[key])
    parts = []
    for symbol in ("r1", "r2"):
        if f"{symbol}_per_mM_per_s" in row:
            value, low, high = (
                row[f"{symbol}_{part}per_mM_per_s"] for part in ("", "ci95_low_", "ci95_high_")
            )
            sure = math.isfinite(low)
            interval = f"95 % {low:.4g} … {high:.4g}" if sure else "interval unknown"
            known = math.isfinite(value)
            told = f"= {value:.4g} ({interval}) mM⁻¹ s⁻¹" if known else "not determined"
            parts.append(f"{symbol} {told}")
    if row["class"] != "not determined":
        parts.append(f"r2/r1 = {row['r2_r1']:.3g}: {row['class']}")
    return f"{name}: " + ", ".join(parts)
