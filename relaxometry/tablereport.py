"""A table of relaxivities in words: its rows as text, a report, and its methods for a paper."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from .agents import T1_BELOW, T2_ABOVE
from .linereport import FITTED_BY, line_report
from .numerals import columns, interval, listed, named, number, percent, probability, short
from .rates import RELATIVE_FLOOR
from .regression import STATED95
from .units import QUANTITIES, RELAXIVITY_OF

if TYPE_CHECKING:
    from .agents import RelaxivityTable
    from .regression import Relaxivity
    from .settings import StudyFacts

Row = dict[str, Any]

_UNIT = QUANTITIES["r1"].key
SYMBOLS = tuple(RELAXIVITY_OF.values())


# --- rows ----------------------------------------------------------------------------------------


def symbols_of(table: RelaxivityTable) -> list[str]:
    """``r1`` and ``r2``, those that the table has lines of."""
    return list(dict.fromkeys(s for lines in table.lines.values() for s in lines))


def agent_rows(table: RelaxivityTable) -> list[Row]:
    """A row per agent and condition, each number as text with its error and interval."""
    rows = []
    for row in table.table.to_dict("records"):
        key = str(row["agent"]), str(row["condition"] or "")
        letters = {symbol: of.get(key, "") for symbol, of in table.letters.items()}
        rows.append(_agent_row(row, table.lines[key], letters))
    return rows


def _agent_row(
    row: Mapping[Any, Any], lines: Mapping[str, Relaxivity], letters: Mapping[str, str]
) -> Row:
    return {
        "name": named(row["agent"], row["condition"]),
        "r": {
            symbol: {
                "value": number(one.r.value, one.r.stderr),
                "ci": interval(*one.ci95),
                "letters": letters.get(symbol, ""),
            }
            for symbol, one in lines.items()
        },
        "R0": {s.upper(): number(one.R0.value, one.R0.stderr) for s, one in lines.items()},
        "ratio": short(row["r2_r1"]),
        "ratio_ci": interval(row["r2_r1_ci95_low"], row["r2_r1_ci95_high"]),
        "ratio_delta_ci": interval(row["r2_r1_delta_ci95_low"], row["r2_r1_delta_ci95_high"]),
        "class": str(row["class"]),
        "n": " / ".join(dict.fromkeys(str(line.n) for line in lines.values())),
        "method": row["method"],
        "flags": [flag for flag in str(row["flags"]).split("; ") if flag],
    }


def notes(table: RelaxivityTable, told: Iterable[str] = ()) -> list[str]:
    """What is to be known of the agents' lines, besides what warnings have told."""
    said = set(told)
    return [
        f"{row['name']}, {flag}"
        for row in agent_rows(table)
        for flag in row["flags"]
        if f"{row['name']}: {flag}" not in said and not flag.startswith("class:")
    ]


def legend(table: RelaxivityTable) -> str:
    """What the numbers of the agents' rows are, and why the lines are what they are."""
    reasons = list(
        dict.fromkeys(
            f"{line.method}: {line.reason}"
            for lines in table.lines.values()
            for line in lines.values()
            if line.reason
        )
    )
    text = "Values ± standard error; below them, the 95 % confidence interval."
    if any(table.letters.values()):
        text += " Agents that share no letter differ (P < 0.05 after Holm)."
    if any("class:" in str(flags) for flags in table.table["flags"]):
        text += " Where replicates differ more than their errors the class is that of their ratios."
    return f"{text} Method by rule – {'; '.join(reasons)}." if reasons else text


def replicate_rows(table: RelaxivityTable) -> list[Row]:
    """A row per agent with replicates: mean ± SD as papers print it, and the mixed view."""
    return [
        {
            "name": named(row["agent"], row["condition"]),
            "n": str(int(row["n_replicates"])),
            "r": {s: _replicated(row, s) for s in symbols_of(table)},
            "ratio": _value(row.get("r2_r1_mean", math.nan), row.get("r2_r1_sd", math.nan)),
        }
        for row in table.replicate_summary.to_dict("records")
        if row["n_replicates"] > 1
    ]


def answers(table: RelaxivityTable) -> list[tuple[str, str]]:
    """Each agent and what it came to: mean ± SD of its replicates where there are any."""
    batches = {row["name"]: row for row in replicate_rows(table)}
    found = []
    for row in agent_rows(table):
        batch = batches.get(row["name"])
        values = {
            symbol: batch["r"][symbol]["mean"] if batch else one["value"]
            for symbol, one in row["r"].items()
        }
        told = [
            f"{symbol} not determined"
            if value in ("not determined", "–")
            else f"{symbol} = {value} mM⁻¹ s⁻¹"
            for symbol, value in values.items()
        ]
        if row["ratio"] != "–":
            told.append(f"r2/r1 = {batch['ratio'] if batch else row['ratio']}")
        text = ", ".join(told) + (f" (mean ± SD, n = {batch['n']})" if batch else "")
        found.append((row["name"], text + (f": {row['class']}" if row["ratio"] != "–" else "")))
    return found


def _replicated(row: Mapping[Any, Any], symbol: str) -> Row:
    def value(what: str) -> float:
        return float(row.get(f"{symbol}_{what}_{_UNIT}", math.nan))

    return {
        "mean": _value(value("mean"), value("sd")),
        "mixed": _value(value("mixed"), value("mixed_stderr")),
        "ci": interval(value("mixed_ci95_low"), value("mixed_ci95_high")),
        "between": short(value("between_sd"), 2),
        "within": short(value("within_stderr"), 2),
        "p": probability(float(row.get(f"{symbol}_heterogeneity_p", math.nan))),
    }


def _value(value: float, error: float) -> str:
    return number(value, error) if math.isfinite(value) else "–"


def comparison_rows(table: RelaxivityTable) -> list[Row]:
    """A row per pair and relaxivity: the difference, its interval, the test and Holm's P."""
    return [
        {
            "symbol": row["symbol"],
            "a": named(row["agent_a"], row["condition_a"]),
            "b": named(row["agent_b"], row["condition_b"]),
            "difference": _value(row[f"difference_{_UNIT}"], row[f"difference_stderr_{_UNIT}"]),
            "ci": interval(
                row[f"difference_ci95_low_{_UNIT}"], row[f"difference_ci95_high_{_UNIT}"]
            ),
            "test": row["test"],
            "p": probability(row["p_holm"]),
            "stars": row["stars"],
        }
        for row in table.comparisons.to_dict("records")
    ]


def switch_rows(table: RelaxivityTable) -> list[Row]:
    """A row per smart agent and stimulus: fold changes of what was measured, and the classes."""
    return [
        {
            "name": named(row["agent"]),
            "before": named(row["before"]),
            "after": named(row["after"]),
            "folds": {
                name: {
                    "value": short(row[f"{key}_fold"], 3),
                    "ci": interval(row[f"{key}_fold_ci95_low"], row[f"{key}_fold_ci95_high"]),
                }
                for key, name in (("r1", "r1"), ("r2", "r2"), ("r2_r1", "r2/r1"))
                if f"{key}_fold" in row
            },
            "class": f"{row['class_before']} → {row['class_after']}",
            "switch": row["switch"],
        }
        for row in table.switches.to_dict("records")
    ]


def ranking_rows(ranking: pd.DataFrame | None) -> list[str]:
    """A sentence per agent: how its r1, r2 and r2/r1 rank among published ones.

    Parameters
    ----------
    ranking : DataFrame or None
        Columns ``agent``, ``condition`` and ``words``.
    """
    told: dict[str, list[str]] = {}
    for row in [] if ranking is None else ranking.to_dict("records"):
        if row["words"]:
            told.setdefault(named(row["agent"], row["condition"]), []).append(str(row["words"]))
    return [f"{name}: {'; '.join(words)}" for name, words in told.items()]


# --- report --------------------------------------------------------------------------------------


def table_report(table: RelaxivityTable) -> str:
    """All there is to say about a table of relaxivities, section by section, as a text to print.

    Parameters
    ----------
    table : RelaxivityTable

    Returns
    -------
    str
        Agents with r1, r2, r2/r1 and class; replicates, comparisons and switches where there are
        any; warnings; and the report of each line.
    """
    sections = {
        "Agents": list(_agents_text(table)),
        "Replicates": list(_replicates_text(table)),
        "Comparisons": list(_comparisons_text(table)),
        "Switches": list(_switches_text(table)),
        "Warnings": [f"- {warning}" for warning in table.warnings],
    }
    text: list[str] = []
    for heading, rows in sections.items():
        if rows:
            text += [f"[[{heading}]]", *(f"    {row}".rstrip() for row in rows)]
    for name, line in line_texts(table):
        text += ["", name, line]
    return "\n".join(text)


def line_texts(table: RelaxivityTable) -> list[tuple[str, str]]:
    """The report of each line, under its name."""
    return [
        (f"{symbol} of {named(agent, condition)}", line_report(line))
        for (agent, condition), lines in table.lines.items()
        for symbol, line in lines.items()
    ]


def _agents_text(table: RelaxivityTable) -> Iterator[str]:
    symbols = symbols_of(table)
    heads = ["agent"]
    for symbol in symbols:
        heads += [f"{symbol} (mM⁻¹ s⁻¹)", "95 %"]
    both = len(symbols) == 2
    heads += ["r2/r1", "95 %, Fieller", "95 %, delta", "class"] * both + ["n", "method"]
    rows = []
    for row in agent_rows(table):
        cells = [row["name"]]
        for symbol in symbols:
            one = row["r"].get(symbol, {"value": "–", "ci": ""})
            cells += [one["value"], one["ci"]]
        cells += [row["ratio"], row["ratio_ci"], row["ratio_delta_ci"], row["class"]] * both
        rows.append([*cells, row["n"], row["method"]])
    yield from columns(heads, rows)
    yield "± is one standard error"


def _replicates_text(table: RelaxivityTable) -> Iterator[str]:
    rows = replicate_rows(table)
    if not rows:
        return
    heads = ["agent", "n"]
    for symbol in symbols_of(table):
        heads += [f"{symbol} mean ± SD", "mixed ± SE", "95 %", "between SD", "P"]
    keys = ("mean", "mixed", "ci", "between", "p")
    yield from columns(
        heads,
        ([r["name"], r["n"], *(one[k] for one in r["r"].values() for k in keys)] for r in rows),
    )
    yield "P: that all replicates have one slope"


def _comparisons_text(table: RelaxivityTable) -> Iterator[str]:
    rows = comparison_rows(table)
    if rows:
        keys = ("symbol", "a", "b", "difference", "ci", "test", "p", "stars")
        heads = ("", "a", "b", "a − b (mM⁻¹ s⁻¹)", "95 %", "test", "P (Holm)", "")
        yield from columns(heads, ([row[key] for key in keys] for row in rows), left=3)


def _switches_text(table: RelaxivityTable) -> Iterator[str]:
    for row in switch_rows(table):
        folds = ", ".join(
            f"{name} × {one['value']}" + (f" ({one['ci']})" if one["ci"] else "")
            for name, one in row["folds"].items()
        )
        yield f"{row['name']}, {row['before']} → {row['after']}: {folds}"
        yield f"    {row['class']}: {row['switch']}"


# --- methods -------------------------------------------------------------------------------------


def table_methods(table: RelaxivityTable, facts: StudyFacts | None = None) -> str:
    """A paragraph of methods with the numbers in it, ready to paste.

    Parameters
    ----------
    table : RelaxivityTable
    facts : StudyFacts, optional
        Field, temperature, medium and ion, where they are known.
    """
    return " ".join(_sentences(table, facts))


def _sentences(table: RelaxivityTable, facts: StudyFacts | None) -> Iterator[str]:
    lines = [
        line
        for fits in table.lines.values()
        for line in fits.values()
        if math.isfinite(line.r.value)
    ]
    if not lines:
        yield "No relaxivity could be determined from these tubes."
        return
    methods = list(dict.fromkeys(line.method for line in lines))
    symbols = symbols_of(table)
    equations = " and ".join(f"{s.upper()} = {s.upper()}(0) + {s}·c" for s in symbols)
    ion = f" of {facts.concentration_of}" if facts and facts.concentration_of else ""
    yield (
        f"Relaxivities{_conditions(facts)} are the slopes of {equations} against the concentration "
        f"c{ion} ({_span(lines)} mM), by {listed((FITTED_BY[m] for m in methods), 'or')}, over "
        f"{_counts(lines)} points each."
    )
    reasons = list(dict.fromkeys(line.reason for line in lines if line.reason))
    if reasons:
        yield f"The method was chosen by rule: {'; '.join(reasons)}."
    flagged = sum(bool(one.codes) for one in table.left_out)
    if flagged:
        yield (
            "Points whose T1 or T2 is not to be trusted by the rules of the software, as the tube "
            f"table says, were left out ({flagged} in all)."
        )
    if set(methods) & {"weighted", "odr", "york"}:
        yield (
            "A rate's σ is its standard error or, where the scatter between the tube's voxels is "
            "known and larger, that of the mean over them (SD/√n), in quadrature with "
            f"{100 * RELATIVE_FLOOR:g} % of the rate; where the points scatter more than their σ, "
            "the errors of the line are multiplied by √(χ²/ν)."
        )
    stock = sorted({line.stock_rsd for line in lines if line.stock_rsd > 0})
    if stock:
        yield (
            f"An error of {listed(map(percent, stock))} common to all concentrations of an agent "
            "is part of the errors of r1 and r2, and cancels in r2/r1."
        )
    yield from _interval_sentences(lines, symbols)
    yield from _further_sentences(table)
    of = (
        "± standard error, of replicates mean ± SD" if replicate_rows(table) else "± standard error"
    )
    yield f"Found ({of}; 95 % confidence interval): {'; '.join(_found(table))}."


def _conditions(facts: StudyFacts | None) -> str:
    if facts is None:
        return ""
    told = [
        f"{facts.field_T:g} T" if facts.field_T is not None else "",
        f"{facts.temperature_C:g} °C" if facts.temperature_C is not None else "",
        facts.medium,
    ]
    return f" ({', '.join(text for text in told if text)})" if any(told) else ""


def _span(lines: list[Relaxivity]) -> str:
    low = min(float(line.concentration.min()) for line in lines)
    high = max(float(line.concentration.max()) for line in lines)
    return f"{low:.4g} to {high:.4g}"


def _counts(lines: list[Relaxivity]) -> str:
    points = sorted({line.n for line in lines})
    return f"{points[0]}" if len(points) == 1 else f"{points[0]} to {points[-1]}"


def _interval_sentences(lines: list[Relaxivity], symbols: list[str]) -> Iterator[str]:
    told = []
    if any(line.known > 0 for line in lines):
        told.append(f"what follows from stated errors counts {STATED95:.2f}-fold")
    if any(line.known < 1 for line in lines):
        told.append("what is estimated from the scatter counts by Student's t")
    yield f"Intervals are 95 %: {listed(told)}."
    if len(symbols) == 2:
        yield (
            "That of r2/r1 is Fieller's, with the covariance of r1 and r2 over the same tubes "
            "(Fieller, J R Stat Soc B 16:175, 1954). By r2/r1, an agent is a T1 agent below "
            f"{T1_BELOW:g}, a T2 agent above {T2_ABOVE:g} and dual-mode between; where the "
            "interval crosses a border, both are named."
        )


def _further_sentences(table: RelaxivityTable) -> Iterator[str]:
    """What was done beyond the lines: replicates and comparisons."""
    summary = table.replicate_summary
    repeated = [] if summary.empty else sorted({int(n) for n in summary["n_replicates"] if n > 1})
    if repeated:
        yield (
            f"Replicates (n = {listed(map(str, repeated), 'or')}) each have a line of their own; "
            "given are the mean ± SD over them, and an estimate by a random-effects model of the "
            "scatter within and between them."
        )
    tests: pd.DataFrame = table.comparisons
    if not tests.empty:
        yield (
            f"Slopes were compared in pairs by {listed(dict.fromkeys(map(str, tests['test'])))}, "
            "with P values corrected after Holm (Scand J Stat 6:65, 1979)."
        )


def _found(table: RelaxivityTable) -> Iterator[str]:
    batches = {row["name"]: row for row in replicate_rows(table)}
    for row in agent_rows(table):
        told = []
        batch = batches.get(row["name"])
        for symbol, one in row["r"].items():
            value, reach = one["value"], one["ci"]
            if batch:
                value, reach = batch["r"][symbol]["mean"], batch["r"][symbol]["ci"]
            if value in ("not determined", "–"):
                told.append(f"{symbol} not determined")
            else:
                told.append(f"{symbol} = {value} mM⁻¹ s⁻¹" + (f" ({reach})" if reach else ""))
        if batch and batch["ratio"] != "–":
            told.append(f"r2/r1 = {batch['ratio']}")
        elif row["ratio"] != "–":
            told.append(
                f"r2/r1 = {row['ratio']}" + (f" ({row['ratio_ci']})" if row["ratio_ci"] else "")
            )
        count = f" (n = {batch['n']} replicates)" if batch else ""
        yield f"{row['name']}{count}, {', '.join(told)}"
