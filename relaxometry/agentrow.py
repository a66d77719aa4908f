"""An agent in a row of the table: its numbers, and what they mean."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from .ratio import Ratio, ratio
from .regression import Relaxivity
from .units import QUANTITIES
from .usable import LeftOut

# Borders of r2/r1 between T1 agent, dual-mode and T2 agent (science: 5 and 8 in the reviews).
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


def agent_row(
    agent: str,
    condition: str,
    fits: Mapping[str, Relaxivity],
    left_out: Iterable[LeftOut],
    kept: Iterable[str],
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "agent": agent,
        "condition": condition,
        "n_points": max(fit.n for fit in fits.values()),
        "method": " / ".join(dict.fromkeys(fit.method for fit in fits.values())),
    }
    flags: list[str] = []
    for symbol, fit in fits.items():
        row |= line_numbers(fit, symbol)
        flags += [f"{symbol}: {flag}" for flag in fit.flags]
        flags += [
            f"{symbol}: without tube {one.tube} ({', '.join(one.codes)})"
            for one in left_out
            if (one.agent, one.condition, one.symbol) == (agent, condition, symbol) and one.codes
        ]
    flags += kept
    row |= dict.fromkeys(RATIO_KEYS, math.nan) | {"class": "not determined"}
    if len(fits) == 2:
        found = ratio(fits["r2"], fits["r1"])
        values = (found.value, found.stderr, *found.fieller95, *found.delta95)
        row |= dict(zip(RATIO_KEYS, values, strict=False)) | {"r1_r2_correlation": _together(found)}
        # Of a relaxivity that may be 0 or below a ratio says nothing of what the agent is.
        if (fits["r1"].r.value > 0 and fits["r2"].ci95[0] > 0) or math.isnan(found.k95):
            row["class"] = classify(found.value, found.fieller95)
        flags += _unbounded(found.fieller95)
    row["flags"] = "; ".join(flags)
    return row


RATIO_KEYS = (
    "r2_r1",
    "r2_r1_stderr",
    "r2_r1_ci95_low",
    "r2_r1_ci95_high",
    "r2_r1_delta_ci95_low",
    "r2_r1_delta_ci95_high",
    "r1_r2_correlation",
)


def line_keys(symbol: str) -> tuple[str, ...]:
    """Columns that an agent's row has for a line, in order."""
    rate, unit = symbol.upper(), QUANTITIES["r1"].key  # that of r2 too
    return (
        f"{symbol}_{unit}",
        f"{symbol}_stderr_{unit}",
        f"{symbol}_ci95_low_{unit}",
        f"{symbol}_ci95_high_{unit}",
        f"{rate}_0_per_s",
        f"{rate}_0_stderr_per_s",
        f"{rate}_0_ci95_low_per_s",
        f"{rate}_0_ci95_high_per_s",
        f"{symbol}_{rate}_0_covariance_per_mM_per_s2",
        f"{symbol}_rsquared",
        f"{symbol}_chi2_reduced",
        f"{symbol}_residual_sd_per_s",
        f"{symbol}_dof",
        f"{symbol}_curvature_p",
        f"{symbol}_stock_percent",
        f"{symbol}_n_points",
        f"{symbol}_method",
        f"{symbol}_method_reason",
    )


def line_numbers(fit: Relaxivity, symbol: str) -> dict[str, Any]:
    """What an agent's row has of a line."""
    return dict(
        zip(
            line_keys(symbol),
            (
                fit.r.value,
                fit.r.stderr,
                *fit.ci95,
                fit.R0.value,
                fit.R0.stderr,
                *fit.R0_ci95,
                float(fit.covariance[0, 1]),
                fit.rsquared,
                fit.chi2_reduced,
                fit.residual_sd,
                fit.dof,
                fit.curvature_p,
                100 * fit.stock_rsd,
                fit.n,
                fit.method,
                fit.reason,
            ),
            strict=True,
        )
    )


def _together(found: Ratio) -> float:
    """Correlation of r1 and r2."""
    errors = found.numerator.slope.stderr * found.denominator.slope.stderr
    return found.covariance / errors if errors > 0 else math.nan


def _unbounded(interval: tuple[float, float]) -> list[str]:
    low, high = interval
    if math.isinf(low) and math.isinf(high):
        return ["r2_r1_ci95: unbounded, r1 may be 0: the data say nothing of r2/r1"]
    if math.isinf(low) or math.isinf(high):
        return [f"r2_r1_ci95: unbounded {'above' if math.isinf(high) else 'below'}, r1 may be 0"]
    return []
