"""How does mine rank: measured relaxivities among published ones, at comparable field and ion."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from .agents import RelaxivityTable
from .literature import FEWEST, comparable
from .literature import literature as published
from .numerals import short
from .quoted import quoted
from .units import QUANTITIES

_SYMBOLS = ("r1", "r2", "r2_r1")
_COLUMNS = {"r1": "r1_per_mM_per_s", "r2": "r2_per_mM_per_s", "r2_r1": "r2_r1"}


def rank(
    table: RelaxivityTable | pd.DataFrame,
    field_T: float | None = None,
    ion: str | None = None,
    literature: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Rank each agent's r1, r2 and r2/r1 among published values.

    Compared are values at a field within a factor of 1.25 and of the same ion (where those are
    fewer than three: with that ion among others too); not those whose field is unknown. An agent
    that a source lists before and after a stimulus has two values. Ranks count from the highest,
    the agent itself included. Of an agent with two replicates or more their mean is ranked, with
    its mixed interval. A value that is not above 0 is not ranked, nor is an r2/r1 whose interval
    is not known, unbounded or reaches below 0. The spread of published
    values is not in the range of ranks.

    Parameters
    ----------
    table : RelaxivityTable or DataFrame
        Columns as in ``relaxivity.csv``.
    field_T : float, optional
        Of the measurement, T; default the column ``field_T`` of the table, row by row.
    ion : str, optional
        Ion the concentrations count, such as ``"Fe"``; default any, and the words say so.
    literature : DataFrame, optional
        As of :func:`relaxometry.reference.literature`; default the shipped rows.

    Returns
    -------
    DataFrame
        A row per agent, condition and symbol: ``agent``, ``condition``, ``symbol`` (``r1``, ``r2``,
        ``r2_r1``), ``value``, ``ci95_low``, ``ci95_high`` (mM⁻¹ s⁻¹; r2/r1 has no unit),
        ``field_T``, ``rank``, ``rank_best``, ``rank_worst`` (over the interval; missing where there
        are fewer than three values, or no interval), ``n_published`` (compared with),
        ``n_other_field``, ``n_unknown_field`` (of the ion, and not comparable), ``nearest``,
        ``nearest_value``, ``nearest_source``, ``words``.
    """
    rows = table if isinstance(table, pd.DataFrame) else _by_replicates(table)
    among = published() if literature is None else literature
    ranked = [
        _ranked(row, symbol, _field_of(row) if field_T is None else field_T, ion, among)
        for row in rows.to_dict("records")
        for symbol in _SYMBOLS
        if _COLUMNS[symbol] in row and (symbol != "r2_r1" or math.isfinite(row["r2_r1"]))
    ]
    out = pd.DataFrame(ranked, columns=list(_EMPTY))
    whole = [name for name in _EMPTY if name.startswith(("rank", "n_"))]
    return out.astype(dict.fromkeys(whole, "Int64"))


_EMPTY: dict[str, Any] = {
    "agent": "",
    "condition": "",
    "symbol": "",
    "value": math.nan,
    "ci95_low": math.nan,
    "ci95_high": math.nan,
    "field_T": math.nan,
    "rank": None,
    "rank_best": None,
    "rank_worst": None,
    "n_published": 0,
    "n_other_field": 0,
    "n_unknown_field": 0,
    "nearest": "",
    "nearest_value": math.nan,
    "nearest_source": "",
    "words": "",
}


def _by_replicates(table: RelaxivityTable) -> pd.DataFrame:
    """Its rows; of an agent with replicates their mean and its interval."""
    rows = []
    for known, row in zip(quoted(table).values(), table.table.to_dict("records"), strict=True):
        changed = dict(row)
        for symbol, one in known.items():
            if one.n:
                unit = _unit(symbol)
                changed[_COLUMNS[symbol]] = one.value
                changed |= {
                    f"{symbol}_ci95_{end}{unit}": v
                    for end, v in zip(("low", "high"), one.ci95, strict=True)
                }
                changed[f"{symbol}_n"] = one.n
        rows.append(changed)
    return pd.DataFrame(rows)


def _unit(symbol: str) -> str:
    return "" if symbol == "r2_r1" else f"_{QUANTITIES[symbol].key}"


def _why_not(row: dict[Any, Any], symbol: str, value: float, low: float, high: float) -> str:
    """Why this value has no rank, whatever is published; empty if nothing speaks against it."""
    if value <= 0:
        return "it is not above 0"
    if symbol != "r2_r1":
        return ""
    if str(row.get("class", "")).startswith("not determined"):
        return "r1 or r2 may be 0"
    if "r2_r1_ci95_low" not in row:
        return ""
    if math.isnan(low) or math.isnan(high):
        return "its 95 % interval is not known"
    if math.isinf(low) or math.isinf(high):
        return "its 95 % interval is unbounded"
    return "its 95 % interval reaches below 0" if low < 0 else ""


def _field_of(row: dict[Any, Any]) -> float | None:
    stated = row.get("field_T")
    return None if stated is None or pd.isna(stated) else float(stated)


def _ranked(
    row: dict[Any, Any], symbol: str, field_T: float | None, ion: str | None, among: pd.DataFrame
) -> dict[str, Any]:
    column = _COLUMNS[symbol]
    unit = _unit(symbol)
    value = float(row[column])
    low, high = (float(row.get(f"{symbol}_ci95_{end}{unit}", math.nan)) for end in ("low", "high"))
    known = among[among[column].notna()]
    others, what = comparable(known, field_T, ion)
    of_ion = known if not ion else comparable(known.assign(field_T=1.0), 1.0, ion, 0)[0]
    of_ion = known.loc[of_ion.index.union(others.index)]
    unknown = int(of_ion["field_T"].isna().sum())
    out = _EMPTY | {
        "agent": row["agent"],
        "condition": row.get("condition") or "",
        "symbol": symbol,
        "value": value,
        "ci95_low": low,
        "ci95_high": high,
        "field_T": math.nan if field_T is None else field_T,
        "n_published": len(others),
        "n_unknown_field": unknown,
        "n_other_field": len(of_ion) - len(others) - unknown,
    }
    name = symbol.replace("_", "/")
    if not math.isfinite(value):
        return out | {"words": f"{name} not determined: not ranked"}
    n = row.get(f"{symbol}_n", math.nan)
    said = f"{name} = {short(value)}" + (f" (mean of {n:g} replicates)" if n > 1 else "")
    why = _why_not(row, symbol, value, low, high)
    if not why and field_T is None:
        why = "the field is not stated, and relaxivities change with it"
    if why:
        return out | {"words": f"{said}: not ranked, {why}"}
    if len(others):
        # By ratio: 10 is as far from 20 as 100 from 200.
        values = others[column].to_numpy(dtype=float)
        apart = np.abs(np.log(values / value))
        near = others.iloc[int(apart.argmin())]
        out["nearest"] = f"{near['agent']} {near['condition']}".strip()
        out["nearest_value"], out["nearest_source"] = float(near[column]), near["source"]
    if len(others) < FEWEST:
        few = f"{len(others) or 'no'} published value{'s' * (len(others) != 1)} of {what}"
        there = f": {_nearest(out)}" if len(others) else ""
        return out | {"words": f"{said}: too few to rank, {few}{there}"}

    def place(at: float) -> int:
        return 1 + int((others[column] > at).sum())

    out["rank"] = place(value)
    spread = ""
    if math.isfinite(low) and math.isfinite(high):
        out["rank_best"], out["rank_worst"] = place(high), place(low)
        if out["rank_best"] < out["rank_worst"]:
            ends = f"{ordinal(out['rank_best'])} to {ordinal(out['rank_worst'])}"
            spread = f" ({ends} within its 95 % interval)"
    return out | {
        "words": f"{said} ranks {ordinal(out['rank'])}{spread} of "
        f"{len(others) + 1} values of {what}, highest first, itself included; "
        f"nearest: {_nearest(out)}"
    }


def _nearest(row: dict[str, Any]) -> str:
    # A source ends in its DOI, which is in a column of its own right.
    short = str(row["nearest_source"]).partition(" 10.")[0]
    return f"{row['nearest']} ({row['nearest_value']:.4g}, {short})"


def ordinal(n: int) -> str:
    """1st, 2nd, 3rd, 4th …"""
    ending = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{ending}"
