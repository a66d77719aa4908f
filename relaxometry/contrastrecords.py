"""Contrast as files: rows of CSV tables, and the same in ``results.json`` with its formulas."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from .contrast import CHECKS, Contrast
from .contrastformulas import RATE_FORMULAS
from .contrasttables import change_formula, formula_of
from .records import Record, paired, plain, unknown

_SAID = ("quantity", "group", "flags")  # of a course, in each of its rows by these names

if TYPE_CHECKING:
    from .contraststudy import ContrastStudy
    from .uniformitystudy import Flood


def contrast_tables(study: ContrastStudy) -> dict[str, list[Record]]:
    """The CSV tables there are, by name."""
    return {
        "contrast": contrast_records(study.contrasts),
        "contrast_slices": slice_records(study.contrasts),
        "contrast_animals": animal_records(study.animals),
        "rate_changes": rate_records(study),
        "time_courses": course_records(study),
    }


def contrast_document(study: ContrastStudy) -> Record:
    """The keys of ``results.json``: each record of a contrast with its slices and formulas."""
    contrasts = []
    for one, record in zip(study.contrasts, contrast_records(study.contrasts), strict=True):
        contrasts.append(record | {"formulas": one.formulas, "slices": slice_records([one])})
    rates = rate_records(study)
    animals = []
    for record in animal_records(study.animals):
        formulas = {
            "formula": formula_of(str(record["quantity"])),
            "change_formula": change_formula(str(record["quantity"])),
        }
        animals.append(paired(record) | formulas)
    return {
        "contrast": contrasts,
        "contrast_animals": animals,
        "rate_changes": [paired(one) | {"formulas": _rate_formulas(one)} for one in rates],
        "time_courses": [
            paired(one) | {"formula": _course_formula(str(one["quantity"]))}
            for one in course_records(study)
        ],
    }


def _rate_formulas(record: Record) -> dict[str, str]:
    """The formula of each change that a record has."""
    units = {"concentration_by_r1": "_mM", "concentration_by_r2": "_mM", "dR2_over_dR1": ""}
    return {
        key: formula
        for key, formula in RATE_FORMULAS.items()
        if record.get(f"{key}{units.get(key, '_per_s')}") is not None
    }


def _course_formula(quantity: str) -> str:
    known = RATE_FORMULAS.get(quantity.removesuffix("_per_s"))
    return formula_of(quantity) if known is None else known


def contrast_records(contrasts: Iterable[Contrast]) -> list[Record]:
    """Rows of ``contrast.csv``: means over slices; what is null is explained among the flags."""
    records = []
    for one in contrasts:
        record = {
            key: list(value) if key == "flags" else plain(value) for key, value in one.row().items()
        }
        missing = [key for key in ("animal", "group", "time_s") if record[key] is None]
        flags = [*record.pop("flags"), *(f"{key}: not stated" for key in missing)]
        flags += [
            f"{key}: not checked" for key in CHECKS if record[key] is None and "_u" not in key
        ]
        if "S_muscle_pre" not in record:
            flags.append("muscle: no region")
        record["flags"] = flags
        records.append(record)
    return _alike(records)


def slice_records(contrasts: Iterable[Contrast]) -> list[Record]:
    """Rows of ``contrast_slices.csv``."""
    rows = [row for one in contrasts for row in one.slice_rows()]
    return _alike([{key: plain(value) for key, value in row.items()} for row in rows])


def animal_records(animals: pd.DataFrame) -> list[Record]:
    """Rows of ``contrast_animals.csv``: over animals, with the test of before against after."""
    records = []
    for row in [] if animals.empty else animals.to_dict("records"):
        record: Record = {str(key): plain(value) for key, value in row.items()}
        reason = record.pop("reason")
        flags = [] if reason is None else [str(reason)]
        if record["time_s"] is None:
            flags.append("time_s: not stated")
        if record["n_animals"] < 2:
            gone = ("pre_sd", "post_sd", "change_sd", "difference_ci95_low", "difference_ci95_high")
            flags += unknown(record, gone, "one animal")
        records.append(record | {"flags": flags})
    return records


def rate_records(study: ContrastStudy) -> list[Record]:
    """Rows of ``rate_changes.csv``: a row per subject, time and region."""
    records = []
    for one in study.rates:
        for row in one.rows:
            record: Record = {key: plain(value) for key, value in row.items()}
            region = f"{row['region']}: "
            own = [note.removeprefix(region) for note in one.notes if note.startswith(region)]
            keys = [key for key in record if key.startswith(("dR", "concentration"))]
            flags = [] if own else unknown(record, keys, "not determined")
            how = "signal only" if not one.changes else "series"
            fits = {f"Δ{rate}" for rate in ("R1", "R2")} - {f"Δ{rate}" for rate in one.changes}
            gone = sorted(fits) + ([] if how == "signal only" else ["signal only"])
            flags.append(f"by {how}: {', '.join(gone)} not measured in this row")
            records.append(record | {"flags": own + flags})
    return _alike(records)


def course_records(study: ContrastStudy) -> list[Record]:
    """Rows of ``time_courses.csv``: mean and SD over animals at each time, and the peak."""
    records = []
    for course in study.courses:
        whole = {f"course_{key}": plain(v) for key, v in course.row().items() if key not in _SAID}
        records += [
            {key: plain(value) for key, value in row.items()} | whole | {"flags": course.flags}
            for row in course.rows()
        ]
    return records


def flood_records(floods: Sequence[Flood], with_formulas: bool = False) -> list[Record]:
    """Rows of ``uniformity.csv``, and the same with the formulas."""
    records = []
    for one in floods:
        record: Record = {key: plain(value) for key, value in one.row().items()}
        if with_formulas:
            formulas = {"uniformity_percent": one.uniformity.formula}
            if one.ghosting is not None:
                formulas["ghosting_percent"] = one.ghosting.formula
            record["formulas"] = formulas
        records.append(record | {"flags": list(one.notes)})
    return _alike(records)


def _alike(records: Sequence[Record]) -> list[Record]:
    """Records with the same keys: what one lacks is null; flags come last."""
    keys = dict.fromkeys(key for record in records for key in record if key != "flags")
    last: dict[str, Any] = dict.fromkeys(("flags",)) if any("flags" in r for r in records) else {}
    return [{key: record.get(key) for key in (*keys, *last)} for record in records]
