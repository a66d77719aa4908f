"""Smart agents: what a stimulus does to r1, r2 and r2/r1, and whether the agent switches."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from .agentrow import CLASSES, classify
from .comparison import Comparison, Slope, compare, dof_of
from .errors import InputError
from .estimate import Estimate
from .multiplicity import LEVEL, holm
from .ratio import fieller
from .ratio import ratio as ratio_of
from .regression import Relaxivity, t95
from .replicates import Lines, batches, ratios
from .units import QUANTITIES

Key = tuple[str, str]
SYMBOLS = ("r1", "r2")
RISES, FALLS, SAME, UNKNOWN = "rises", "falls", "no significant change", "unknown"

_SIDES = dict(zip(CLASSES, ("T1", "dual-mode", "T2"), strict=True))
# What became of r1 and of r2, where the class stays: the first line that fits.
_BY_CHANGE = (
    ({RISES}, {RISES}, "T1–T2 dual activated"),
    ({RISES}, {FALLS}, "T1 activated, T2 deactivated"),
    ({FALLS}, {RISES}, "T2 activated, T1 deactivated"),
    ({RISES}, {SAME, UNKNOWN}, "T1 activated"),
    ({SAME, UNKNOWN}, {RISES}, "T2 activated"),
    ({FALLS}, {FALLS}, "deactivated"),
    ({FALLS}, {SAME, UNKNOWN}, "T1 deactivated"),
    ({SAME, UNKNOWN}, {FALLS}, "T2 deactivated"),
    ({SAME}, {SAME}, "no significant change"),
)


@dataclass(frozen=True, slots=True)
class Fold:
    """A quantity before and after, and after/before with its 95 % interval."""

    before: float
    after: float
    fold: float
    ci95: tuple[float, float] = (math.nan, math.nan)


def switch_in_words(
    r1: str,
    r2: str,
    class_before: str,
    class_after: str,
    ratio: Fold | None = None,
) -> str:
    """What a stimulus did, in the words of the reviews.

    Parameters
    ----------
    r1, r2 : {"rises", "falls", "no significant change", "unknown"}
        What became of each relaxivity.
    class_before, class_after : str
        As :func:`relaxometry.agents.classify` says.
    ratio : Fold, optional
        Of r2/r1.

    Returns
    -------
    str
        In this order: both relaxivities rise, ``T1–T2 dual activated``; the class has changed for
        sure, ``T2→T1 switchable`` and so on; else which of r1 and r2 was activated (rises) or
        deactivated (falls). Where the interval of a class straddles a border, r2/r1 has changed and
        its values lie in two classes, ``possibly T2→T1 switchable`` stands behind.
    """
    change = next((text for a, b, text in _BY_CHANGE if r1 in a and r2 in b), "not determined")
    before, after = _possible(class_before), _possible(class_after)
    if not before or not after:
        return change
    dual = r1 == r2 == RISES
    known = "unknown" not in class_before + class_after
    if known and not set(before) & set(after):
        switched = f"{' or '.join(before)}→{' or '.join(after)} switchable"
        return change if dual else switched
    maybe = _by_value(ratio, known)
    if not maybe or dual:
        return change
    return maybe if change in ("not determined", SAME) else f"{change}, {maybe}"


def _possible(label: str) -> list[str]:
    return [side for name, side in _SIDES.items() if name in label]


def _by_value(ratio: Fold | None, known: bool) -> str:
    """The switch that the values of r2/r1 speak of, where their intervals leave it open."""
    if ratio is None or (known and ratio.ci95[0] <= 1 <= ratio.ci95[1]):
        return ""
    before, after = (_possible(classify(v, (v, v))) for v in (ratio.before, ratio.after))
    if not before or not after or before == after:
        return ""
    return f"possibly {before[0]}→{after[0]} switchable"


def switches(
    lines: Lines,
    classes: Mapping[Key, str],
    before: str | None = None,
    settings: Mapping[Key, Hashable] | None = None,
) -> pd.DataFrame:
    """Agents in two or more conditions: r1, r2, r2/r1 and class, before and after.

    Parameters
    ----------
    lines : mapping of (agent, condition) to {"r1": Relaxivity, "r2": Relaxivity}
        In the order of the table.
    classes : mapping of (agent, condition) to str
        By r2/r1.
    before : str, optional
        The condition before the stimulus; without it, each agent's first.
    settings : mapping of (agent, condition) to anything, optional
        Field, temperature and medium: a change of those is no stimulus, and only lines with equal
        settings are set side by side.

    Returns
    -------
    DataFrame
        A row per agent and later condition; every unit is in its column's name. Folds are
        after/before with Fieller's 95 % interval, in which an end may be infinite; a stock's error,
        common to both, cancels. p is that of :func:`relaxometry.comparison.compare`, Holm's over
        the changes of the agent.

    Raises
    ------
    InputError
        If no agent has the condition `before`.
    """
    rows: list[dict[str, Any]] = []
    named = False
    for keys in _side_by_side(lines, settings or {}):
        first = [key for key in keys if before and _is(key[1], before)] or keys[:1]
        named |= bool(before) and _is(first[0][1], str(before))
        mine = [_row(lines, classes, first[0], key) for key in keys if key != first[0]]
        _adjust(mine)
        rows += mine
    if before and not named:
        conditions = ", ".join(dict.fromkeys(condition for _, condition in lines if condition))
        raise InputError(
            f"no agent is measured in {before!r} and in another condition",
            field="before",
            expected=conditions or "a column condition",
        )
    for row in rows:
        _say(row)
    return pd.DataFrame([{k: v for k, v in row.items() if k != "_ratio"} for row in rows])


def _is(condition: str, name: str) -> bool:
    """Whether a condition is this one; field and temperature may stand behind it."""
    return condition == name or condition.startswith(f"{name}, ")


def _side_by_side(lines: Lines, settings: Mapping[Key, Hashable]) -> Iterator[list[Key]]:
    groups: dict[Hashable, list[Key]] = {}
    for key in lines:
        groups.setdefault((key[0], settings.get(key)), []).append(key)
    yield from (keys for keys in groups.values() if len(keys) > 1)


def _row(lines: Lines, classes: Mapping[Key, str], before: Key, after: Key) -> dict[str, Any]:
    row: dict[str, Any] = {"agent": before[0], "before": before[1], "after": after[1]}
    flags = []
    for symbol in SYMBOLS:
        if symbol not in lines[before] or symbol not in lines[after]:
            continue
        unit = QUANTITIES[symbol].key
        test = compare(lines[after][symbol], lines[before][symbol], same_stock=True)
        found = _fold_of_test(test, lines[before][symbol], lines[after][symbol])
        row[f"{symbol}_before_{unit}"], row[f"{symbol}_after_{unit}"] = found.before, found.after
        _enter(row, symbol, found)
        row[f"{symbol}_test"], row[f"{symbol}_p"] = test.test, test.p
        row[f"{symbol}_p_holm"] = math.nan  # once all changes of the agent are known
        if not test.test:
            flags.append(f"{symbol}: no test, {test.why}")
        flags += _open_ends(symbol, found)
    ratio = _fold_of_ratio(lines[before], lines[after])
    if ratio is not None:
        row["r2_r1_before"], row["r2_r1_after"] = ratio.before, ratio.after
        _enter(row, "r2_r1", ratio)
        flags += _open_ends("r2/r1", ratio)
    row["class_before"] = classes.get(before, "not determined")
    row["class_after"] = classes.get(after, "not determined")
    return row | {"_ratio": ratio, "flags": "; ".join(flags)}


def _enter(row: dict[str, Any], name: str, found: Fold) -> None:
    row[f"{name}_fold"] = found.fold
    row[f"{name}_fold_ci95_low"], row[f"{name}_fold_ci95_high"] = found.ci95


def _open_ends(name: str, found: Fold) -> list[str]:
    if not any(math.isinf(end) for end in found.ci95):
        return []
    return [f"{name}: the fold change is unbounded, for what it is divided by may be 0"]


def _adjust(rows: list[dict[str, Any]]) -> None:
    """Holm's correction over all changes of one agent."""
    cells = [(row, symbol) for row in rows for symbol in SYMBOLS if f"{symbol}_p" in row]
    for (row, symbol), p in zip(cells, holm([r[f"{s}_p"] for r, s in cells]), strict=True):
        row[f"{symbol}_p_holm"] = p


def _say(row: dict[str, Any]) -> None:
    changes = {}
    for symbol in SYMBOLS:
        p, fold = row.get(f"{symbol}_p_holm", math.nan), row.get(f"{symbol}_fold", math.nan)
        significant = RISES if fold > 1 else FALLS
        changes[symbol] = (
            UNKNOWN if math.isnan(p + fold) else SAME if not p < LEVEL else significant
        )
    row["switch"] = switch_in_words(
        changes["r1"], changes["r2"], row["class_before"], row["class_after"], row["_ratio"]
    )
    row["flags"] = row.pop("flags")  # last


def _fold_of_test(test: Comparison, before: Relaxivity, after: Relaxivity) -> Fold:
    """After/before of the slopes that the test compared."""
    if not test.slopes:
        value = after.r.value / before.r.value if before.r.value > 0 else math.nan
        return Fold(before.r.value, after.r.value, value)
    top, bottom = test.slopes
    return _fold(top, bottom, test.covariance)


def _fold(after: Slope, before: Slope, covariance: float = 0.0) -> Fold:
    if not before.value > 0:
        return Fold(before.value, after.value, math.nan)
    fold = after.value / before.value
    v, w = after.variance, fold**2 * before.variance
    if not (math.isfinite(v + w) and after.dof > 0 and before.dof > 0):
        return Fold(before.value, after.value, fold)
    # Welch and Satterthwaite, of the difference after − fold·before.
    spread = v**2 / after.dof + w**2 / before.dof
    k = t95((v + w) ** 2 / spread if spread > 0 else math.inf)
    ends = fieller(_estimate(after), _estimate(before), k, covariance)
    return Fold(before.value, after.value, fold, ends)


def _estimate(slope: Slope) -> Estimate:
    return Estimate(slope.value, math.sqrt(slope.variance))


def _fold_of_ratio(
    before: Mapping[str, Relaxivity], after: Mapping[str, Relaxivity]
) -> Fold | None:
    """Of r2/r1: over replicates where both conditions have them, else of the lines."""
    if not all({"r1", "r2"} <= fits.keys() for fits in (before, after)):
        return None
    each = [
        ratios({symbol: batches(line) for symbol, line in fits.items()}) for fits in (after, before)
    ]
    if all(values.size >= 2 for values in each):
        top, bottom = (
            Slope(float(v.mean()), float(v.var(ddof=1)) / v.size, v.size - 1.0) for v in each
        )
    else:
        top, bottom = (_ratio_of_lines(fits) for fits in (after, before))
    return _fold(top, bottom)


def _ratio_of_lines(fits: Mapping[str, Relaxivity]) -> Slope:
    if not fits["r1"].r.value > 0:
        return Slope(math.nan, math.nan, 0.0)
    found = ratio_of(fits["r2"], fits["r1"])
    return Slope(found.value, found.stderr**2, dof_of(found.k95, 0.0))
