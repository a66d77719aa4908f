"""What an agent is by its r2/r1: T1 agent, dual-mode or T2 agent."""

from __future__ import annotations

import math

# Borders of r2/r1 between them (5 and 8 in the reviews).
T1_BELOW, T2_ABOVE = 5.0, 8.0
CLASSES = ("T1 agent", "dual-mode", "T2 agent")


def classify(ratio: float, ci95: tuple[float, float]) -> str:
    """What an agent is by r2/r1 and its interval: T1 agent, dual-mode, T2 agent.

    Where the interval reaches over a border it may be more than one. Borders 5 and 8 as in the
    reviews (Yang et al., Small 2023; Li et al., Chem Biomed Imaging 2023).
    """
    if not math.isfinite(ratio) or ratio <= 0:
        return "not determined"

    def side(value: float) -> int:
        return 0 if value < T1_BELOW else 1 if value <= T2_ABOVE else 2

    if any(math.isnan(v) for v in ci95):
        return f"{CLASSES[side(ratio)]}, interval unknown"
    low, high = (side(v) for v in ci95)
    return " or ".join(CLASSES[low : high + 1])
