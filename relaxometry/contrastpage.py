"""The parts of a page that show contrast: its figures, and the rows of its tables as text."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from . import plots
from .cohort import WORDS
from .contrastformulas import RATE_FORMULAS
from .contrasttables import Row, animal_rows, contrast_details, tests_of
from .ghosts import FORMULA as GHOSTING_FORMULA
from .imageuniformity import FORMULA
from .numerals import interval, listed, number
from .uniformitystudy import Flood
from .units import elapsed_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .contraststudy import ContrastStudy
    from .ratestudy import SubjectRates
    from .timecourse import TimeCourse

_MAPS = 12  # maps of rates on a page; all of them are among the files
# Key of a column, its unit in the key, its head.
_RATES = (
    ("dR1", "per_s", "ΔR1 (s⁻¹)"),
    ("dR2", "per_s", "ΔR2 (s⁻¹)"),
    ("dR2star", "per_s", "ΔR2* (s⁻¹)"),
    ("dR2_over_dR1", "", "ΔR2/ΔR1"),
    ("dR2_signal_only", "per_s", "ΔR2, signal only (s⁻¹)"),
    ("concentration_by_r1", "mM", "c by r1 (mM)"),
    ("concentration_by_r2", "mM", "c by r2 (mM)"),
)
_UNIFORMITY = (
    ("Uniformity (%)", FORMULA),
    ("NAAD (%)", "100·(1 − mean|S − mean(S)|/mean(S)), filtered"),
    ("Ghosting (%)", GHOSTING_FORMULA),
    ("Along", ""),
)


def contrast_figures(study: ContrastStudy) -> dict[str, Figure]:
    """Every figure of contrast by its name."""
    figures: dict[str, Figure] = {}
    if study.contrasts:
        figures["contrast"] = plots.contrast_bars(study.contrasts, study.animals)
    for i, one in enumerate(study.sightings, 1):
        figures[f"contrast_images_{i}"] = plots.contrast_images(one.images, one.regions, one.roles)
    for name, _, subject, rate in _changes(study):
        figures[name] = subject.changes[rate].plot()
    if study.courses:
        figures["time_courses"] = plots.time_course(study.courses)
    return figures


def flood_figures(floods: Sequence[Flood]) -> dict[str, Figure]:
    """The image of each phantom with what was measured of it."""
    figures = {}
    for i, one in enumerate(floods, 1):
        regions = {"uniformity": one.uniformity.region}
        if one.ghosting is not None:
            regions |= {"bands along x": one.ghosting.x_bands, "along y": one.ghosting.y_bands}
        figures[f"uniformity_{i}"] = plots.flood_image(one.image, one.affine, regions)
    return figures


def contrast_section(study: ContrastStudy, figures: Mapping[str, bytes]) -> Row | None:
    """What the section of a page needs, or None where there is nothing to show."""
    if not (study.contrasts or study.rates):
        return None
    captions = {
        f"contrast_images_{i}": one.name or "unnamed" for i, one in enumerate(study.sightings, 1)
    }
    maps = {name: caption for name, caption, *_ in _changes(study) if name in figures}
    present = [
        (key, unit, head, RATE_FORMULAS[key])
        for key, unit, head in _RATES
        if key != "dR2_signal_only"
        and any(_key(key, unit) in row for one in study.rates for row in one.rows)
    ]
    return {
        "details": contrast_details(study.contrasts),
        "animals": animal_rows(study.animals),
        "tests": tests_of(study.animals),
        "shown": [name for name in captions if name in figures],
        "maps": list(maps),
        "captions": captions | maps,
        "rate_heads": [(head, formula) for _, _, head, formula in present],
        "rates": [
            {
                "name": row["name"] or "unnamed",
                "time": "" if row["time_s"] is None else elapsed_text(row["time_s"]),
                "region": row["region"],
                "cells": [_cell(row, key, unit) for key, unit, *_ in present],
            }
            for one in study.rates
            if one.changes
            for row in one.rows
        ],
        "signal": _signal_only(study.rates),
        "signal_formula": RATE_FORMULAS["dR2_signal_only"],
        "rate_notes": _gathered(study.rates),
        "courses": [_course(course) for course in study.courses],
    }


def uniformity_section(floods: Sequence[Flood], figures: Mapping[str, bytes]) -> Row | None:
    """What the section of a page needs, or None where no phantom is named."""
    if not floods:
        return None
    captions = {f"uniformity_{i}": one.name or "unnamed" for i, one in enumerate(floods, 1)}
    return {
        "shown": [name for name in captions if name in figures],
        "captions": captions,
        "heads": _UNIFORMITY,
        "rows": [
            {
                "name": one.name or "unnamed",
                "cells": _flood_cells(one),
                "n_slices": len(one.uniformity.slices) or 1,
                "notes": list(one.notes),
            }
            for one in floods
        ],
    }


def _flood_cells(one: Flood) -> list[str]:
    even, ghosts = one.uniformity, one.ghosting
    cells = [f"{even.uniformity_percent:.1f}", f"{even.naad_percent:.1f}"]
    if ghosts is None:
        return [*cells, "–", "–"]
    axis = "–" if ghosts.axis is None else "xy"[ghosts.axis]
    return [*cells, number(ghosts.ghosting_percent, ghosts.stderr_percent), axis]


def _changes(study: ContrastStudy) -> Iterator[tuple[str, str, SubjectRates, str]]:
    """Name, caption, subject and rate of the maps that a page has room for."""
    known = [(one, rate) for one in study.rates for rate in sorted(one.changes)]
    for i, (one, rate) in enumerate(known[:_MAPS], 1):
        yield f"d{rate}_map_{i}", f"Δ{rate} of {_subject(one)} (s⁻¹)", one, rate


def _subject(one: SubjectRates) -> str:
    at = "" if one.time_s is None else f", {elapsed_text(one.time_s)}"
    return f"{one.name or 'unnamed'}{at}"


def _signal_only(rates: Sequence[SubjectRates]) -> Row:
    """ΔR2 by the signal only: a row for each subject and time, a column for each region."""
    alone = [one for one in rates if not one.changes]
    regions = list(dict.fromkeys(str(row["region"]) for one in alone for row in one.rows))
    rows = []
    for one in alone:
        cells = {str(row["region"]): _cell(row, "dR2_signal_only", "per_s") for row in one.rows}
        rows.append(
            {
                "name": one.name or "unnamed",
                "time": "" if one.time_s is None else elapsed_text(one.time_s),
                "cells": [cells.get(region, ("–", ""))[0] for region in regions],
            }
        )
    return {"regions": regions, "rows": rows}


def _gathered(rates: Sequence[SubjectRates]) -> list[str]:
    """Every note once: with its regions, or without where it is true of all of them."""
    every = list(dict.fromkeys(str(row["region"]) for one in rates for row in one.rows))
    of: dict[str, list[str]] = {}
    for note in (note for one in rates for note in one.notes):
        region = next((r for r in every if note.startswith(f"{r}: ")), "")
        of.setdefault(note.removeprefix(f"{region}: "), []).append(region)
    told = []
    for note, found in of.items():
        regions = [region for region in dict.fromkeys(found) if region]
        whose = f"{listed(regions)}: " if regions and len(regions) < len(every) else ""
        told.append(whose + note)
    return told


def _key(key: str, unit: str) -> str:
    return f"{key}_{unit}" if unit else key


def _cell(row: Mapping[str, Any], key: str, unit: str) -> tuple[str, str]:
    """A value ± its standard error, and its 95 % interval."""
    value = row.get(_key(key, unit))
    if value is None or math.isnan(value):
        return "–", ""
    error = row.get(_key(f"{key}_stderr", unit), math.nan)
    low, high = (row.get(_key(f"{key}_ci95_{end}", unit), math.nan) for end in ("low", "high"))
    if f"{key}_bounded" in row and not row[f"{key}_bounded"]:
        return number(value, error), "unbounded"
    known = low is not None and high is not None
    return number(value, error), interval(low, high) if known else ""


def _course(course: TimeCourse) -> Row:
    row = course.row()
    words = WORDS.get(course.quantity)
    if words is None:
        words = next(head for key, unit, head in _RATES if _key(key, unit) == course.quantity)
    time = "–"
    if math.isfinite(row["time_to_peak_s"]):
        time = elapsed_text(row["time_to_peak_s"])
        if row["time_to_peak_sd_s"] > 0:
            time += f" ± {elapsed_text(row['time_to_peak_sd_s'])}"
    elif math.isfinite(row["time_to_peak_at_least_s"]):
        time = f"{elapsed_text(row['time_to_peak_at_least_s'])} or later"
    return {
        "group": course.group or "–",
        "words": words,
        "n": row["n_animals"],
        "peak": number(row["peak"], row["peak_sd"]),
        "time": time,
        "notes": "; ".join(row["flags"]),
    }
