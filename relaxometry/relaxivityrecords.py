"""Relaxivities as records: lines, their points, replicates, comparisons and switches.

Each is a row of a CSV and an object of ``results.json``, under the same names.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from .agentrow import RATIO_KEYS, line_keys
from .records import Record, paired, plain, unknown
from .units import RELAXIVITY_OF, TIME_OF

if TYPE_CHECKING:
    from .agents import RelaxivityTable
    from .regression import Relaxivity

#: Key in ``results.json``, which is also the name of the CSV.
TABLES = (
    "relaxivity",
    "points",
    "replicates",
    "replicate_summary",
    "comparisons",
    "switches",
)
_ORDER_LAST = ("class", "flags")


def relaxivity_tables(lines: RelaxivityTable | None) -> dict[str, list[Record]]:
    """Records of every table there is, by its key; none of them where there are no lines."""
    if lines is None:
        return {name: [] for name in TABLES}
    return {
        "relaxivity": relaxivity_records(lines.table),
        "points": point_records(lines),
        "replicates": table_records(lines.replicates, "replicate gives no line"),
        "replicate_summary": table_records(lines.replicate_summary, "too few replicates"),
        "comparisons": comparison_records(lines.comparisons),
        "switches": table_records(lines.switches, "not determined"),
    }


def relaxivity_document(lines: RelaxivityTable | None) -> Record:
    """The same for ``results.json``, the ends of an interval as one list; letters and omnibus."""
    tables = relaxivity_tables(lines)
    document: Record = {name: [paired(one) for one in rows] for name, rows in tables.items()}
    document["letters"] = [] if lines is None else letter_records(lines)
    document["omnibus"] = [] if lines is None else omnibus_records(lines)
    return document


def relaxivity_records(table: pd.DataFrame) -> list[Record]:
    """Rows of ``relaxivity.csv``; r1 and r2 are always there, null where they were not measured."""
    keys = [key for symbol in RELAXIVITY_OF.values() for key in line_keys(symbol)]
    keys += RATIO_KEYS
    first = ("agent", "condition", "n_points", "method")
    more = [c for c in map(str, table.columns) if c not in {*first, *keys, *_ORDER_LAST}]
    records = []
    for row in table.to_dict("records"):
        record = {key: plain(row.get(key)) for key in (*first, *keys, *more, "class")}
        stated = [flag for flag in str(row["flags"]).split("; ") if flag]
        record["flags"] = stated + _relaxivity_reasons(record, [*keys, *more])
        records.append(record)
    return records


def _relaxivity_reasons(record: Record, keys: Iterable[str]) -> list[str]:
    missing = [s for s in RELAXIVITY_OF.values() if record[f"{s}_n_points"] is None]
    reasons = [f"{symbol}: {TIME_OF[symbol.upper()]} was not measured" for symbol in missing]
    for key in keys:
        symbol = key.partition("_")[0].lower()
        if record[key] is not None or (symbol in missing and not key.startswith("r2_r1")):
            continue
        if key == "r2_r1" and missing:
            reasons.append("r2_r1: needs both r1 and r2")
        elif key.endswith("chi2_reduced"):
            reasons.append(f"{key}: the rates have no errors, or no degree of freedom is left")
        elif key in ("field_T", "temperature_C", "medium"):
            reasons.append(f"{key}: not stated")
        elif key.endswith("curvature_p"):
            reasons.append(f"{key}: too few points to tell a bend")
        elif not (key.startswith("r2_r1_") and record["r2_r1"] is None):
            reasons += unknown(record, [key], "not determined")
    return list(dict.fromkeys(reasons))


def point_records(lines: RelaxivityTable) -> list[Record]:
    """Rows of ``points.csv``: every point of every line, and those left out with their reason."""
    records = []
    for (agent, condition), fits in lines.lines.items():
        for symbol, line in fits.items():
            name = {"agent": plain(agent), "condition": plain(condition), "symbol": symbol}
            records += [name | one for one in _points_of(line)]
            gone = [
                one
                for one in lines.left_out
                if one.symbol == symbol
                and (one.agent, one.condition) in ((agent, condition), ("", ""))
            ]
            for one in gone:
                shown = {
                    "tube": one.tube,
                    "concentration_mM": one.concentration_mM,
                    "rate_per_s": one.rate,
                    "used": False,
                    "reason": one.reason,
                }
                records.append(name | _point(shown))
    return records


def _points_of(line: Relaxivity) -> list[Record]:
    columns = (line.residual, line.leverage, line.cook, 100 * line.influence)
    return [
        _point(
            {
                "tube": line.tubes[i] if line.tubes else i + 1,
                # 0 in a line is a point that all replicates share.
                "replicate": int(line.replicate[i]) or None,
                "concentration_mM": line.concentration[i],
                "concentration_sd_mM": line.concentration_sd[i],
                "rate_per_s": line.rate[i],
                "sigma_per_s": line.sigma[i],
                "residual_per_s": columns[0][i],
                "leverage": columns[1][i],
                "cook": columns[2][i],
                "influence_percent": columns[3][i],
                "used": bool(line.used[i]),
                "reason": "" if line.used[i] else "set aside: it does not lie on the line",
            }
        )
        for i in range(line.n)
    ]


_POINT = (
    *("tube", "replicate", "concentration_mM", "concentration_sd_mM", "rate_per_s"),
    *("sigma_per_s", "residual_per_s", "leverage", "cook", "influence_percent", "used", "reason"),
)


def _point(found: Mapping[str, Any]) -> Record:
    record: Record = {key: plain(found.get(key)) for key in _POINT}
    fitted = ("residual_per_s", "leverage", "cook", "influence_percent")
    flags = unknown(record, ["replicate"], "shared by all replicates, or not stated")
    flags += unknown(record, ["concentration_mM", "rate_per_s"], "not determined")
    flags += unknown(
        record, ["concentration_sd_mM", "sigma_per_s"], "not stated, or not used by this method"
    )
    why = "not determined" if record["used"] else "the point is not on the line"
    return record | {"flags": flags + unknown(record, fitted, why)}


def table_records(table: pd.DataFrame, reason: str) -> list[Record]:
    """Rows of a table that has ``flags`` in words; what is null without a word gets this reason."""
    records = []
    for row in table.to_dict("records"):
        record = {str(key): plain(value) for key, value in row.items() if key != "flags"}
        flags = [flag for flag in str(row.get("flags", "")).split("; ") if flag]
        known = {flag.partition(":")[0] for flag in flags}
        for key, value in row.items():
            if record.get(str(key)) is not None or key in ("flags", "condition"):
                continue
            if isinstance(value, float) and math.isinf(value):
                flags += unknown(record, [str(key)], "unbounded")
            elif str(key).partition("_")[0] not in known:
                flags += unknown(record, [str(key)], reason)
        records.append(record | {"flags": list(dict.fromkeys(flags))})
    return records


def comparison_records(table: pd.DataFrame) -> list[Record]:
    """Rows of ``comparisons.csv``."""
    records = []
    for row in table.to_dict("records"):
        record = {str(key): plain(value) for key, value in row.items()}
        flags = []
        if not row["test"]:
            flags.append(f"no test: {row['why']}")
        elif isinstance(row["dof"], float) and math.isinf(row["dof"]):
            flags.append("dof: without limit, for the errors of the rates are taken as known")
        records.append(record | {"flags": flags})
    return records


def letter_records(lines: RelaxivityTable) -> list[Record]:
    """Compact letters: groups that share one do not differ."""
    return [
        {"symbol": symbol, "agent": plain(agent), "condition": plain(condition), "letters": text}
        for symbol, groups in lines.letters.items()
        for (agent, condition), text in groups.items()
    ]


def omnibus_records(lines: RelaxivityTable) -> list[Record]:
    """One test per symbol of whether all slopes are equal."""
    rows = [
        {
            "symbol": symbol,
            "n_slopes": sum(symbol in fits for fits in lines.lines.values()),
            "test": found.test,
            "statistic": found.statistic,
            "dof_between": found.dof_between,
            "dof": found.dof,
            "p": found.p,
            "why": found.why,
        }
        for symbol, found in lines.omnibus.items()
    ]
    return comparison_records(pd.DataFrame(rows))
