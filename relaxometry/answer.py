"""The answer of a study in a line per agent, as the command line says it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from .estimate import Estimate
from .units import elapsed_text

if TYPE_CHECKING:
    from .agents import RelaxivityTable
    from .contraststudy import ContrastStudy


def relaxivity_lines(table: RelaxivityTable) -> Iterator[str]:
    """r1, r2 with their intervals, and the class, of each agent.

    Of replicates it is their mean ± SD, and the interval of the mixed view: the line through all of
    them knows nothing of the scatter between batches.
    """
    summary = table.replicate_summary
    batches = {
        (str(row["agent"]), str(row["condition"])): row
        for row in summary.to_dict("records")
        if row["n_replicates"] > 1
    }
    for row in table.table.to_dict("records"):
        key = str(row["agent"]), str(row["condition"])
        name, found = " ".join(part for part in key if part), batches.get(key)
        symbols = [s for s in ("r1", "r2") if f"{s}_per_mM_per_s" in row]
        parts = [_batches(found, s) if found else _line(row, s) for s in symbols]
        if found:
            parts.append(f"mean ± SD of {found['n_replicates']} replicates")
        if row["class"] == "not determined" and len(symbols) == 2:
            parts.append("r2/r1 not determined")
        elif row["class"] != "not determined":
            ratio = found["r2_r1_mean"] if found else row["r2_r1"]
            ends = (row["r2_r1_ci95_low"], row["r2_r1_ci95_high"])
            bare = " (unbounded, r1 may be 0)" if any(map(math.isinf, ends)) else ""
            parts.append(f"r2/r1 = {ratio:.3g}{bare}: {row['class']}")
        yield f"{name}: " + ", ".join(parts)


def contrast_lines(study: ContrastStudy) -> Iterator[str]:
    """ΔSNR and ΔCNR over animals at each time; of who is no named animal, each measurement."""
    wanted = {"SNR_target": "target SNR", "SNR_reference": "reference SNR", "CNR_relative": "CNR"}
    rows = [] if study.animals.empty else study.animals.to_dict("records")
    for group, time in dict.fromkeys((row["group"], _at(row["time_s"])) for row in rows):
        own = [row for row in rows if (row["group"], _at(row["time_s"])) == (group, time)]
        told = ", ".join(
            f"{name} {100 * row['change_mean']:+.1f}{_sd(100 * row['change_sd'])} %"
            + ("" if row["stars"] in ("", "ns") else f" {row['stars']}")
            for quantity, name in wanted.items()
            for row in own
            if row["quantity"] == quantity
        )
        n = max(row["n_animals"] for row in own)
        whose = "1 animal" if n == 1 else f"mean ± SD of {n} animals"
        yield f"{', '.join(part for part in (group, time) if part) or 'Animals'}: {told}; {whose}"
    for one in study.contrasts:
        if not one.animal:
            yield repr(one)


def _at(time: float | None) -> str:
    return "" if time is None or math.isnan(time) else elapsed_text(time)


def _sd(sd: float) -> str:
    return "" if math.isnan(sd) else f" ± {sd:.1f}"


def _line(row: Mapping[Any, Any], symbol: str) -> str:
    value, low, high = (
        row[f"{symbol}_{part}per_mM_per_s"] for part in ("", "ci95_low_", "ci95_high_")
    )
    if not math.isfinite(value):
        return f"{symbol} not determined"
    return f"{symbol} = {value:.4g} ({_interval(low, high)}) mM⁻¹ s⁻¹"


def _batches(row: Mapping[Any, Any], symbol: str) -> str:
    mean, sd, low, high = (
        row[f"{symbol}_{part}_per_mM_per_s"]
        for part in ("mean", "sd", "mixed_ci95_low", "mixed_ci95_high")
    )
    if not math.isfinite(mean):
        return f"{symbol} not determined"
    mixed = row[f"{symbol}_mixed_per_mM_per_s"]
    apart = f"mixed {mixed:.4g}, " if f"{mixed:.4g}" != f"{mean:.4g}" else ""
    return f"{symbol} = {Estimate(mean, sd)} ({apart}{_interval(low, high)}) mM⁻¹ s⁻¹"


def _interval(low: float, high: float) -> str:
    return f"95 % {low:.4g} … {high:.4g}" if math.isfinite(low) else "interval unknown"
