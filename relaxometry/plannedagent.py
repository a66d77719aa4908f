"""The relaxivities that a plan goes by: given, measured, or published."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np

from .agents import RelaxivityTable
from .errors import InputError
from .estimate import Estimate
from .literature import SAME_FIELD, literature, same_field
from .quoted import quoted
from .regression import Relaxivity
from .weighted import Sequence

_SYMBOLS = ("r1", "r2", "r2star")


@dataclass(frozen=True, slots=True)
class AgentRates:
    """Relaxivities of an agent, mM⁻¹ s⁻¹.

    Attributes
    ----------
    r1 : Estimate
    decay : Estimate
        r2, or r2* for gradient echo.
    name : str
    field_T : float or None
    notes : tuple of str
        Where they are from, and what had to be assumed.
    """

    r1: Estimate
    decay: Estimate
    name: str = ""
    field_T: float | None = None
    notes: tuple[str, ...] = ()


def agent_rates(
    sequence: Sequence,
    given: Mapping[str, Any],
    agent: str | None,
    condition: str,
    relaxivity: RelaxivityTable | None,
    field_T: float | None,
) -> AgentRates:
    """Relaxivities from numbers, a table of your own, or the published ones by the agent's name.

    What is given by number goes before what a table says.

    Raises
    ------
    InputError
        For no relaxivity at all, an agent that is not there or is there more than once, a field
        other than the table's, or r2 < r1/2.
    """
    found = {s: _estimate(value, s) for s, value in given.items() if value is not None}
    notes: list[str] = []
    if relaxivity is not None:
        if not isinstance(relaxivity, RelaxivityTable):
            hint = "give a Relaxivity as r1= or r2="
            raise InputError(
                f"a {type(relaxivity).__name__}",
                field="relaxivity",
                expected="a RelaxivityTable",
                hint=hint,
            )
        known, agent, own = _of_table(relaxivity, agent, condition)
        if own is not None and field_T is not None and not _same(own, field_T):
            raise InputError(
                f"{field_T:g} T, where the relaxivities are of {own:g} T",
                field="field_T",
                expected="the same field",
                hint="r1 and r2 change with the field",
            )
        field_T = own if field_T is None else field_T
        found = known | found
    elif agent is not None and not found:
        known, agent, field_T, note = _published(agent, condition, field_T)
        found = known
        notes.append(note)
    _possible(found)
    symbol = sequence.decay.replace("T", "r")
    if not {"r1", symbol, "r2"} & set(found):
        raise InputError(
            "no relaxivity",
            field=f"r1, {symbol}",
            expected="a number of mM⁻¹ s⁻¹, an Estimate, or agent= of a table",
        )
    if symbol == "r2star" and symbol not in found and "r2" in found:
        value = found["r2"]
        found[symbol] = Estimate(value.value, value.stderr, symbol)
        notes.append("r2* not known: r2 in its place, so that the agent darkens more than planned")
    for name in ("r1", symbol):
        if name not in found:
            found[name] = Estimate(0.0, math.nan, name)
            notes.append(f"{name} not known: taken as 0, so that its effect is left out")
    return AgentRates(found["r1"], found[symbol], agent or "", field_T, tuple(notes))


def _estimate(value: Any, symbol: str) -> Estimate:
    if isinstance(value, Relaxivity):
        value = value.r
    if isinstance(value, Estimate):
        if np.ndim(value.value):
            raise InputError("a map", field=symbol, expected="one number")
        stderr = value.stderr if math.isfinite(value.stderr) else math.nan
        value = value.value
    elif isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        stderr = math.nan
    else:
        raise InputError(
            f"{value!r}"[:60], field=symbol, expected="a number, an Estimate or a Relaxivity"
        )
    if not math.isfinite(value) or value < 0:
        raise InputError(f"{value:g}", field=symbol, expected="0 or more, mM⁻¹ s⁻¹")
    return Estimate(float(value), float(stderr), symbol)


def _possible(found: Mapping[str, Estimate]) -> None:
    r1 = found.get("r1")
    for symbol in ("r2", "r2star"):
        other = found.get(symbol)
        if r1 is not None and other is not None and other.value < r1.value / 2:
            raise InputError(
                f"{symbol} of {other.value:g} with r1 of {r1.value:g}",
                field=symbol,
                expected="at least r1/2",
                hint="r1 and r2 swapped?",
            )
    r2, star = found.get("r2"), found.get("r2star")
    if r2 is not None and star is not None and star.value < r2.value:
        raise InputError(f"{star.value:g}", field="r2star", expected=f"r2 ({r2.value:g}) or more")


def _of_table(
    table: RelaxivityTable, agent: str | None, condition: str
) -> tuple[dict[str, Estimate], str, float | None]:
    keys = list(table)
    fitting = [
        key
        for key in keys
        if (agent is None or key[0] == agent) and (not condition or key[1] == condition)
    ]
    if len(fitting) != 1:
        there = ", ".join(" ".join(key).strip() for key in keys)
        raise InputError(
            "not named" if agent is None else f"{agent} {condition}".strip()[:80],
            field="agent",
            expected=f"one of {there}"[:200],
            hint="name its condition too" if len(fitting) > 1 and agent is not None else None,
        )
    key = fitting[0]
    row = table.table.iloc[keys.index(key)]
    field = float(row["field_T"]) if "field_T" in row and row["field_T"] == row["field_T"] else None
    found = {
        symbol: _estimate(Estimate(one.value, one.stderr, symbol), symbol)
        for symbol, one in quoted(table)[key].items()
        if symbol in _SYMBOLS and math.isfinite(one.value)
    }
    return found, " ".join(key).strip(), field


def _published(
    agent: str, condition: str, field_T: float | None
) -> tuple[dict[str, Estimate], str, float | None, str]:
    table = literature()
    names = table["agent"].str.casefold()
    asked = agent.strip().casefold()
    rows = table[names == asked]
    if rows.empty:
        rows = table[names.str.contains(asked, regex=False)] if asked else rows
    if rows.empty:
        near = get_close_matches(agent, [str(name) for name in table["agent"]], 3, cutoff=0.5)
        raise InputError(
            f"{agent!r} is not among the published agents"[:100],
            field="agent",
            expected=" or ".join(near) if near else "a name of relaxometry.reference.literature()",
            hint="or give r1= and r2=",
        )
    everywhere = rows
    if field_T is not None:
        rows = rows[same_field(rows["field_T"], field_T)]
    if condition:
        rows = rows[rows["condition"].str.casefold() == condition.strip().casefold()]
    if len(rows) != 1:
        there = "; ".join(
            " ".join(part for part in (row["agent"], row["condition"], _at(row["field_T"])) if part)
            for row in (rows if len(rows) else everywhere).to_dict("records")
        )
        raise InputError(
            f"{len(rows)} published values of {agent} {condition} {_at(field_T)}".strip()[:100],
            field="agent",
            expected="one, told by agent, condition and field_T",
            hint=f"there are: {there}"[:300],
        )
    row = rows.iloc[0]
    values = {s: (float(row[f"{s}_per_mM_per_s"]), float(row[f"{s}_sd"])) for s in ("r1", "r2")}
    ratio = float(row["r2_r1"])
    for symbol, other, factor in (("r1", "r2", 1 / ratio), ("r2", "r1", ratio)):
        if math.isnan(values[symbol][0]):
            values[symbol] = values[other][0] * factor, math.nan
    found = {s: Estimate(v, sd, s) for s, (v, sd) in values.items() if math.isfinite(v)}
    field = float(row["field_T"]) if math.isfinite(row["field_T"]) else field_T
    note = f"relaxivities published for {row['agent']} ({row['source']})"
    if any(math.isfinite(one.stderr) for one in found.values()):
        note += "; their error is the SD that was published"
    return found, str(row["agent"]), field_T if field_T is not None else field, note


def _same(a: float, b: float) -> bool:
    return 1 / SAME_FIELD <= a / b <= SAME_FIELD


def _at(field: Any) -> str:
    return "" if field is None or math.isnan(field) else f"at {field:g} T"
