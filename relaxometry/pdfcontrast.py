"""Contrast on paper: the tables and figures of a page, as far as A4 has room."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .contrastpage import contrast_section, uniformity_section
from .contrasttables import contrast_row
from .paper import SOFT, Cell, Part, grid, heading, picture, prose, shortened, together

if TYPE_CHECKING:
    from .study import StudyResult

_BARS_MM, _IMAGES_MM, _COURSES_MM = 55.0, 38.0, 130.0
_SMALL = 6.2
_SUBJECTS = 12  # measurements and regions on paper; all of them stand in the tables beside


def contrast_parts(result: StudyResult, figures: Mapping[str, bytes]) -> list[Part]:
    """Images, bars, animals or each measurement, rates and time courses, uniformity."""
    told = contrast_section(result.contrast, figures)
    parts: list[Part] = []
    if told is not None and result.contrasts:
        parts += heading("Contrast")
        for name in told["shown"][:1]:
            parts.append(picture(figures[name], _IMAGES_MM))
        if "contrast" in figures and result.relaxivity is None:
            parts.append(picture(figures["contrast"], _BARS_MM))
        parts += _animals(told) if told["animals"] else _measurements(result)
    if told is not None and (told["rates"] or told["signal"]["rows"]):
        parts += _rates(told)
    if told is not None and told["courses"] and "time_courses" in figures:
        courses = [*heading("Time courses"), picture(figures["time_courses"], _COURSES_MM)]
        parts.append(together(courses))
    floods = uniformity_section(result.floods, figures)
    if floods is not None:
        heads = [("Image", ""), *floods["heads"], ("Slices", "")]
        rows = [
            [(shortened(row["name"]), ""), *((c, "") for c in row["cells"]),
             (str(row["n_slices"]), "")]
            for row in floods["rows"]
        ]  # fmt: skip
        parts += [*heading("Uniformity and ghosting"), grid(heads, rows, left=[0])]
    return parts


def _animals(told: Mapping[str, Any]) -> list[Part]:
    heads: list[Cell] = [("Quantity", "formula"), ("After", ""), ("Before", "mean ± SD")]
    heads += [("After", "mean ± SD"), ("Change (%)", "mean ± SD"), ("Animals", ""), ("P", "Holm")]
    rows: list[list[Cell]] = []
    last = None
    for row in told["animals"]:
        known = (row["group"], row["words"])
        group = f"{shortened(row['group'])}: " if row["group"] else ""
        first: Cell = ("", "") if known == last else (group + row["words"], row["formula"])
        last = known
        cells = [row["time"], row["pre"], row["post"], row["change"], str(row["n"])]
        rows.append([first, *((cell, "") for cell in cells), (f"{row['p']} {row['stars']}", "")])
    note = "Each animal counts once, however many slices it has."
    tests = f" Before against after: {'; '.join(told['tests'])}." if told["tests"] else ""
    return [grid(heads, rows, left=[0]), prose(note + tests, _SMALL, SOFT)]


def _measurements(result: StudyResult) -> list[Part]:
    heads: list[Cell] = [("Contrast", "")]
    heads += [(f"SNR {r}", when) for r in ("target", "reference") for when in ("pre", "post")]
    heads += [("CNR", "pre"), ("CNR", "post")]
    heads += [("ΔSNR target", "%"), ("ΔSNR reference", "%"), ("ΔCNR", "%")]
    rows = [contrast_row(one) for one in result.contrasts[:_SUBJECTS]]
    cells = [[(shortened(r["name"]), ""), *((c, "") for c in r["cells"])] for r in rows]
    note = "CNR: |SNR(target) − SNR(reference)|/SNR(target). Δ: (post − pre)/pre."
    return [
        grid(heads, cells, left=[0]),
        prose(note, _SMALL, SOFT),
        *_more(len(result.contrasts)),
    ]


def _rates(told: Mapping[str, Any]) -> list[Part]:
    """Fitted changes in one table, those by the signal only in another."""
    parts = [*heading("Rates before and after")]
    if told["rates"]:
        heads: list[Cell] = [("Subject, region", ""), *told["rate_heads"]]
        rows: list[list[Cell]] = [
            [(f"{shortened(row['name'])}, {shortened(row['region'])}", row["time"]), *row["cells"]]
            for row in told["rates"][:_SUBJECTS]
        ]
        parts += [grid(heads, rows, left=[0]), *_more(len(told["rates"]))]
    alone = told["signal"]
    if alone["rows"]:
        heads = [("ΔR2, signal only (s⁻¹)", told["signal_formula"]), ("After", "")]
        heads += [(shortened(region), "") for region in alone["regions"]]
        rows = [
            [(shortened(row["name"]), ""), (row["time"], ""), *((c, "") for c in row["cells"])]
            for row in alone["rows"][:_SUBJECTS]
        ]
        parts += [grid(heads, rows, left=[0]), *_more(len(alone["rows"]))]
    return parts


def _more(n: int) -> list[Part]:
    if n <= _SUBJECTS:
        return []
    return [prose(f"{n - _SUBJECTS} more in results.json.", _SMALL, SOFT)]
