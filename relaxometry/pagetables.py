"""The rows of a report's tables, as text: what a page and its printed sister both show."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .flags import in_words
from .geometry import voxel_size
from .maps import ParameterMaps, Status
from .methods import KINDS
from .numerals import interval, listed, number
from .series import Protocol
from .units import QUANTITIES, RATE_OF, RELAXIVITY_OF

if TYPE_CHECKING:
    from .agents import RelaxivityTable
    from .settings import StudyFacts
    from .study import StudyResult

Row = dict[str, Any]

NOT_STATED = "not stated"


def _stated(value: float | str | None, unit: str = "") -> str:
    if value is None or value == "":
        return NOT_STATED
    return f"{value:g} {unit}" if isinstance(value, float) else value


def _by_row(table: RelaxivityTable | None, column: str, unit: str = "") -> str:
    """What the rows of the table say, each once: ``3 T and 7 T``."""
    if table is None or column not in table.table:
        return NOT_STATED
    values = table.table[column]
    stated = list(dict.fromkeys(v for v in values.dropna() if v != ""))
    if not stated:
        return NOT_STATED
    gaps = [f"elsewhere {NOT_STATED}"] if len(values) > values.isin(stated).sum() else []
    said = [f"{v:g} {unit}" if unit else str(v) for v in sorted(stated)]
    return listed([*said, *gaps])


def _listed(name: str, protocol: Protocol) -> str:
    """All values of a setting in the unit people read, or the one they share."""
    values = getattr(protocol, name)
    if values is None:
        return NOT_STATED
    if np.ptp(values) == 0:
        values = values[:1]
    return ", ".join(f"{v * QUANTITIES[name].people_factor:.6g}" for v in values)


def facts_of(facts: StudyFacts, table: RelaxivityTable | None = None) -> list[str]:
    """Field, temperature, medium and ion, said once or by the rows of the table."""
    told = {
        "field": _stated(facts.field_T, "T") if facts.field_T else _by_row(table, "field_T", "T"),
        "temperature": _stated(facts.temperature_C, "°C")
        if facts.temperature_C is not None
        else _by_row(table, "temperature_C", "°C"),
        "medium": _stated(facts.medium) if facts.medium else _by_row(table, "medium"),
        "ion": facts.concentration_of and f"concentrations of {facts.concentration_of}",
    }
    return [
        f"{name} {NOT_STATED}" if value in ("", NOT_STATED) else str(value)
        for name, value in told.items()
    ]


def acquisition_rows(maps: Mapping[str, ParameterMaps]) -> list[tuple[str, list[str]]]:
    """Rows of the acquisition table: what, and its value for each series."""
    columns = [_scan(one) for one in maps.values()]
    rows = [(label, [column[label] for column in columns]) for label in (columns or [{}])[0]]
    return [(label, values) for label, values in rows if set(values) != {"–"}]


def _scan(maps: ParameterMaps) -> dict[str, str]:
    series = maps.series
    protocol, provenance = series.protocol, series.provenance
    known = [f"{name}: {provenance.origin[name]}" for name in ("TE", "TI", "TR", "FA", "B1")
             if name in provenance.origin]  # fmt: skip
    polarity = "signed" if series.signed else "magnitude"
    how = provenance.origin.get("signed")
    counts = [f"{n} {s.words}" for s, n in maps.counts().items() if s is not Status.MASKED]
    return {
        "kind": f"{KINDS.get(series.kind, series.kind)} ({series.kind})",
        "echo times TE (ms)": _listed("TE", protocol),
        "inversion times TI (ms)": _listed("TI", protocol) if protocol.swept == "TI" else "–",
        "repetition times TR (ms)": _listed("TR", protocol),
        "settings known by": "; ".join(known) or NOT_STATED,
        "matrix": " × ".join(map(str, series.grid)),
        "voxel (mm)": " × ".join(f"{v:.3g}" for v in voxel_size(series.affine)),
        "field (T)": NOT_STATED if series.field_T is None else f"{series.field_T:g}",
        "vendor": provenance.vendor or NOT_STATED,
        "source": provenance.source,
        "model": f"{maps.model.name}: {maps.model.equation}",
        "polarity": f"{polarity} ({how})" if how else polarity,
        "points left out": "; ".join(maps.notes) or "none",
        "voxels fitted": ", ".join(counts),
    }


def tube_columns(result: StudyResult) -> list[str]:
    """Columns that tell tubes apart; those that say the same of all are left out."""
    table = result.tube_table
    if table.empty:
        return []
    told = {name: bool((table[name] != "").any()) for name in ("agent", "condition")}
    told["replicate"] = table["replicate"].nunique() > 1
    return ["tube", *(name for name, some in told.items() if some)]


def tube_rows(result: StudyResult) -> Iterator[Row]:
    left_out = () if result.relaxivity is None else result.relaxivity.left_out
    for row in result.tube_table.to_dict("records"):
        remarks = ["left out: " + (row["reason"] or "no reason given")] if row["exclude"] else []
        remarks += [in_words(code) for code in str(row["flags"]).split()]
        gone = {one.symbol for one in left_out if one.tube == row["tube"] and not one.by_sheet}
        if gone:
            remarks.append(f"left out of {' and '.join(sorted(gone))}")
        c = row["concentration_mM"]
        yield {
            **{name: row[name] for name in tube_columns(result)},
            "concentration": f"{c:g}" if np.isfinite(c) else "–",
            "n_voxels": " / ".join(dict.fromkeys(_counts(row, result.maps))),
            "measured": [
                {"text": text, "gone": RELAXIVITY_OF.get(RATE_OF[time]) in gone}
                for time in result.maps
                for text in _measured(row, time, RATE_OF[time])
            ],
            "remarks": remarks,
            "excluded": row["exclude"],
        }


def _counts(row: Mapping[Any, Any], maps: Iterable[str]) -> list[str]:
    """How many voxels a tube has on the grid of each series."""
    return [str(row[f"{time}_n_voxels"]) for time in maps]


def _measured(row: Mapping[Any, Any], time: str, rate: str) -> tuple[str, str, str]:
    if not np.isfinite(row[f"{time}_s"]):
        return "–", "–", "–"
    return (
        number(row[f"{time}_s"], row[f"{time}_stderr_s"], 1e3),
        number(row[f"{time}_median_s"], row[f"{time}_sd_s"], 1e3),
        number(row[f"{rate}_per_s"], row[f"{rate}_stderr_per_s"]),
    )


def reference_rows(result: StudyResult) -> Iterator[Row]:
    """The bias table: a row per tube and quantity."""
    if result.reference is None:
        return
    for row in result.reference.table.to_dict("records"):
        measured = np.isfinite(row["measured_s"])
        known = np.isfinite(row["bias_percent"])
        uncertainty = row["reference_uncertainty_s"]
        yield {
            "tube": row["tube"],
            "quantity": row["quantity"],
            "measured": number(row["measured_s"], row["stderr_s"], 1e3) if measured else "–",
            "reference": number(row["reference_s"], uncertainty, 1e3),
            "bias": f"{row['bias_percent']:+.1f}".replace("-", "−") if known else "–",
            "included": row["included"],
            "reason": row["reason"],
        }


def agreement_rows(result: StudyResult) -> list[Row]:
    if result.reference is None:
        return []
    return [
        {
            "quantity": row["quantity"],
            "n": row["n"],
            "cells": [
                (
                    f"{row[f'{name}_percent']:+.1f}".replace("-", "−")
                    if math.isfinite(row[f"{name}_percent"])
                    else "–",
                    interval(*(row[f"{name}_ci95_{end}_percent"] for end in ("low", "high"))),
                )
                for name in ("mean", "lower", "upper")
            ],
            "sd": f"{row['sd_percent']:.1f}" if math.isfinite(row["sd_percent"]) else "–",
        }
        for row in result.reference.summary.to_dict("records")
    ]
