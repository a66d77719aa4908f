"""A study's numbers as files: strict JSON and CSV under the same names, every unit in its key.

What is not known is ``null`` in JSON and an empty cell in CSV, with the reason among the flags.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib.metadata import version
from typing import TYPE_CHECKING

import pandas as pd

from . import __version__
from .columns import CONTEXT
from .contrastrecords import contrast_document, contrast_tables, flood_records
from .geometry import voxel_size
from .maps import ParameterMaps, Status
from .records import Record, as_csv, as_json, paired, plain
from .relaxivityrecords import ranking_records, relaxivity_document, relaxivity_tables
from .series import SWEEPABLE
from .units import QUANTITIES, RELAXIVITY_OF, TIME_OF

if TYPE_CHECKING:
    from .agents import RelaxivityTable
    from .bias import ReferenceComparison
    from .settings import StudyFacts
    from .study import StudyResult

SCHEMA_VERSION = 1
LIBRARIES = ("numpy", "scipy", "pandas", "pydicom", "nibabel", "matplotlib")
# Statuses that explain why nothing of a quantity is known.
_FAILED = {s.name.lower() for s in Status} - {"ok", "at_edge"}


def files(result: StudyResult) -> dict[str, bytes]:
    """``results.json``, and a CSV of each table that there is."""
    found = {"results.json": as_json(document(result))}
    tables = {
        "tubes.csv": tube_records(result.tube_table, result.relaxivity),
        **{f"{name}.csv": rows for name, rows in relaxivity_tables(result.relaxivity).items()},
        "ranking.csv": ranking_records(result.ranking),
        **{f"{name}.csv": rows for name, rows in contrast_tables(result.contrast).items()},
        "uniformity.csv": flood_records(result.floods),
        "reference.csv": [] if result.reference is None else reference_records(result.reference),
    }
    return found | {name: as_csv(records) for name, records in tables.items() if records}


def document(result: StudyResult) -> Record:
    """All of ``results.json``, as described in the user guide."""
    lines = result.relaxivity
    return {
        "schema_version": SCHEMA_VERSION,
        "software": {"name": "relaxometry", "version": __version__, "libraries": libraries()},
        "inputs": [{"path": file.path, "sha256": file.sha256} for file in result.inputs],
        "study": _study(result.facts),
        "series": [_series(quantity, maps) for quantity, maps in result.maps.items()],
        "tubes": tube_records(result.tube_table, result.relaxivity),
        **relaxivity_document(lines),
        "ranking": [paired(one) for one in ranking_records(result.ranking)],
        **contrast_document(result.contrast),
        "uniformity": flood_records(result.floods, with_formulas=True),
        "reference": None if result.reference is None else _reference(result.reference),
        "warnings": list(result.warnings),
        "failures": list(result.failures),
    }


def libraries() -> dict[str, str]:
    """Versions of Python and of what the numbers depend on."""
    return {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}}


def tube_records(table: pd.DataFrame, lines: RelaxivityTable | None = None) -> list[Record]:
    """Rows of ``tubes.csv``; T1 and T2 are always there, null where they were not measured."""
    left_out = () if lines is None else lines.left_out
    numbers = ["concentration_mM"]
    if "concentration_sd_mM" in table and table["concentration_sd_mM"].notna().any():
        numbers.append("concentration_sd_mM")
    first = ["tube", "agent", "condition", "replicate", *numbers]
    first += [*(column for column in CONTEXT if column in table), "exclude", "reason", "n_voxels"]
    measured: list[str] = []
    for rate in RELAXIVITY_OF:
        time = TIME_OF[rate]
        measured += [f"{time}_s", f"{time}_stderr_s", f"{time}_sd_s", f"{time}_median_s"]
        measured += [f"{rate}_per_s", f"{rate}_stderr_per_s"]
        measured += [f"{time}_rsquared", f"{time}_n_voxels", f"{time}_n_fitted"]
    records = []
    for row in table.to_dict("records"):
        record = {key: plain(row.get(key)) for key in [*first, *measured]}
        record["flags"] = _tube_flags(record, [*numbers, *measured], str(row["flags"]).split())
        gone = {one.symbol for one in left_out if one.tube == row["tube"]}
        record["left_out_of"] = sorted(gone)
        records.append(record)
    return records


def _tube_flags(record: Record, numbers: Iterable[str], codes: list[str]) -> list[str]:
    """The codes of the tube table, and a reason for every null they do not explain."""
    explained = {
        quantity for quantity, _, kind in (c.partition("_") for c in codes) if kind in _FAILED
    }
    flags = list(codes)
    for key in numbers:
        if record[key] is not None:
            continue
        symbol = key.partition("_")[0]
        time = TIME_OF.get(symbol, symbol)
        if symbol == "concentration":
            flags.append(f"{key}: not stated")
        elif record[f"{time}_n_voxels"] is None:
            flags.append(f"{time}: not measured")
        elif time not in explained:
            flags.append(f"{key}: not determined")
    return list(dict.fromkeys(flags))


def reference_records(comparison: ReferenceComparison) -> list[Record]:
    """Rows of ``reference.csv``."""
    return [
        {str(key): plain(value) for key, value in row.items()}
        for row in comparison.table.to_dict("records")
    ]


def _reference(comparison: ReferenceComparison) -> Record:
    agreement = []
    for row in comparison.summary.to_dict("records"):
        record = paired({str(key): plain(value) for key, value in row.items()})
        few = record["mean_percent"] is None
        agreement.append(record | {"flags": ["fewer than three tubes"] if few else []})
    return {
        "tubes": reference_records(comparison),
        "agreement": agreement,
        "caveats": list(comparison.caveats),
    }


def _study(facts: StudyFacts) -> Record:
    record = {
        "title": plain(facts.title),
        "field_T": plain(facts.field_T),
        "temperature_C": plain(facts.temperature_C),
        "medium": plain(facts.medium),
        "concentration_of": plain(facts.concentration_of),
    }
    return record | {"flags": [f"{k}: not stated" for k, v in record.items() if v is None]}


def _series(quantity: str, maps: ParameterMaps) -> Record:
    series, model = maps.series, maps.model
    settings = {}
    for name in SWEEPABLE:
        values = getattr(series.protocol, name)
        settings[QUANTITIES[name].column] = None if values is None else values.tolist()
    unknown = [f"{key}: not stated" for key, value in settings.items() if value is None]
    if series.field_T is None:
        unknown.append("field_T: not stated")
    choices = maps.choices
    polarity = choices.polarity if model.inverts else None
    weights = [] if choices.weights is None else choices.weights.tolist()
    if polarity is None:
        unknown.append(f"polarity: of no account to model {model.name}")
    return {
        "quantity": quantity,
        "kind": series.kind,
        "model": model.name,
        **settings,
        "shape": list(series.grid),
        "source": series.provenance.source,
        "polarity": polarity,
        "polarity_known_by": plain(series.provenance.origin.get("signed", "")),
        "settings_known_by": {
            name: how
            for name, how in series.provenance.origin.items()
            if name in (*SWEEPABLE, "B1")
        },
        "field_T": plain(series.field_T),
        "vendor": plain(series.provenance.vendor),
        "voxel_size_mm": [round(v, 6) for v in voxel_size(series.affine)],
        "bounds_s": list(maps.bounds),
        "notes": list(maps.notes),
        "points_left_out": _left_out(maps),
        "weights": weights,
        "n_voxels": {s.name.lower(): n for s, n in maps.counts().items() if s is not Status.MASKED},
        "flags": unknown,
    }


def _left_out(maps: ParameterMaps) -> list[Record]:
    """Rules by which single voxels lost points: below or from which signal on, and how many did."""
    choices, found = maps.choices, []
    if choices.clipped_at is not None:
        found.append({"why": "clipped", "from": choices.clipped_at})
    if choices.noise_floor is not None:
        k, sigma = choices.noise_floor
        found.append({"why": "noise_floor", "k": k, "sigma": sigma, "below": k * sigma})
    return [one | {"n_voxels": maps.left_out.get(str(one["why"]), 0)} for one in found]
