"""What is quoted of an agent: of its replicates where there are two or more, else of its line."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from .agents import RelaxivityTable
from .regression import Relaxivity, t95
from .units import QUANTITIES

if TYPE_CHECKING:
    import pandas as pd


class Quoted(NamedTuple):
    """A relaxivity, or r2/r1, with its errors.

    Attributes
    ----------
    value : float
        Mean over replicates, else that of the line.
    sd : float
        Over replicates; NaN without.
    stderr : float
        Standard error: mixed (within and between replicates), else that of the line.
    ci95 : (float, float)
        95 % interval: mixed, of r2/r1 that of the mean over replicates; else that of the line.
    n : int
        Replicates that have a slope; 0 where there are not two.
    """

    value: float
    sd: float
    stderr: float
    ci95: tuple[float, float]
    n: int


def quoted(table: RelaxivityTable) -> dict[tuple[str, str], dict[str, Quoted]]:
    """``r1``, ``r2`` of each (agent, condition) that it has a line of, and ``r2_r1`` of its row."""
    summary: pd.DataFrame = table.replicate_summary
    replicated = {
        (str(row["agent"]), str(row["condition"])): row for row in summary.to_dict("records")
    }
    rows = zip(table.lines.items(), table.table.to_dict("records"), strict=True)
    return {
        key: {s: _of_line(line, replicated.get(key, {}), s) for s, line in fits.items()}
        | {"r2_r1": _of_ratio(row, replicated.get(key, {}))}
        for (key, fits), row in rows
    }


def _of_line(line: Relaxivity, row: Mapping[Any, Any], symbol: str) -> Quoted:
    unit = QUANTITIES[symbol].key
    n = int(row.get(f"{symbol}_n_replicates", 0))
    if n < 2 or not math.isfinite(row[f"{symbol}_mean_{unit}"]):
        return Quoted(line.r.value, math.nan, line.r.stderr, line.ci95, 0)
    interval = row[f"{symbol}_mixed_ci95_low_{unit}"], row[f"{symbol}_mixed_ci95_high_{unit}"]
    stderr = row[f"{symbol}_mixed_stderr_{unit}"]
    return Quoted(row[f"{symbol}_mean_{unit}"], row[f"{symbol}_sd_{unit}"], stderr, interval, n)


def _of_ratio(row: Mapping[Any, Any], replicated: Mapping[Any, Any]) -> Quoted:
    mean, sd = (float(replicated.get(f"r2_r1_{what}", math.nan)) for what in ("mean", "sd"))
    # As many as have both: the fewer of r1's and r2's.
    n = min(int(replicated.get(f"{symbol}_n_replicates", 0)) for symbol in ("r1", "r2"))
    if n > 1 and math.isfinite(mean) and math.isfinite(sd):
        stderr = sd / math.sqrt(n)
        half = t95(n - 1) * stderr
        return Quoted(mean, sd, stderr, (mean - half, mean + half), n)
    value, stderr, *ends = (
        float(row.get(f"r2_r1{what}", math.nan))
        for what in ("", "_stderr", "_ci95_low", "_ci95_high")
    )
    return Quoted(value, math.nan, stderr, (ends[0], ends[1]), 0)
