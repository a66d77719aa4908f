"""The report of a study: a page, its numbers, its figures and its maps, written all or nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from . import plots, results
from .bids import write_maps
from .changefiles import write_rate_change
from .contrastpage import contrast_figures, flood_figures
from .page import page
from .pdfpage import pdf_page
from .units import elapsed_text
from .whole import whole_folder

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from .agents import RelaxivityTable
    from .study import StudyResult


#: Figures for papers, written as PDF too; the others are for the reader of the report.
_PRINTED = ("relaxivity", "r1_bars", "r2_bars", "relaxivity_map", "contrast")


def report(
    result: StudyResult,
    folder: str | Path,
    *,
    look: plots.Look | None = None,
    prediction: bool = False,
    force: bool = False,
) -> Path:
    """Write the report of a study, the same to the byte for the same result.

    ``index.html`` (self-contained), ``report.pdf`` (for paper), ``results.json``, ``tubes.csv``,
    ``relaxivity.csv``, ``contrast.csv``, ``reference.csv``, ``figures/*.svg`` and ``*.png`` (those
    of relaxivity and contrast also ``*.pdf``),
    ``derivatives/relaxometry`` (BIDS maps and labels); what a study has no data for is left out.

    Parameters
    ----------
    result : StudyResult
    folder : str or Path
        To be made.
    look : plots.Look, optional
        Size of the figures of relaxivity; default two columns of a journal.
    prediction : bool
        Draw 95 % prediction bands as well, for one more tube.
    force : bool
        Replace an earlier report, once the new one is complete.

    Returns
    -------
    Path
        Of ``index.html``.

    Raises
    ------
    InputError
        If the folder exists, unless `force` is given and it is empty or holds a report. On any
        error nothing is left behind, and an earlier report is as it was.
    """
    with whole_folder(folder, "results.json", force) as beside:
        _write(result, beside, look, prediction)
    return Path(folder) / "index.html"


def _write(result: StudyResult, folder: Path, look: plots.Look | None, prediction: bool) -> None:
    figures = _figures(result, look, prediction)
    drawn = {name: plots.as_svg(figure) for name, figure in figures.items()}
    for figure in figures.values():  # laid out once: half of the time of writing them
        figure.set_layout_engine("none")
    ranking = result.ranking
    text = page(result, drawn, ranking)
    (folder / "index.html").write_text(text, encoding="utf-8", newline="\n")
    painted = {name: plots.as_png(figure) for name, figure in figures.items()}
    (folder / "report.pdf").write_bytes(pdf_page(result, painted, ranking))
    for name, content in results.files(result).items():
        (folder / name).write_bytes(content)
    if figures:
        (folder / "figures").mkdir()
    for name in figures:
        (folder / "figures" / f"{name}.svg").write_bytes(drawn[name])
        if name in _PRINTED:
            (folder / "figures" / f"{name}.pdf").write_bytes(plots.as_pdf(figures[name]))
        (folder / "figures" / f"{name}.png").write_bytes(painted[name])
    # The data set holds one label map: where the grids of T1 and T2 differ, that of T2.
    for quantity in sorted(result.maps):
        labels = result.tubes[quantity].labels if quantity in result.tubes else None
        write_maps(
            result.maps[quantity], folder / "derivatives" / "relaxometry", tubes_labels=labels
        )
    _write_changes(result, folder / "derivatives" / "relaxometry")


def _write_changes(result: StudyResult, folder: Path) -> None:
    """Maps of ΔR and of concentrations, a BIDS subject for each animal and time."""
    taken: set[str] = set()
    for one in result.contrast.rates:
        if not one.changes:
            continue
        at = "" if one.time_s is None else f"at{elapsed_text(one.time_s)}"
        label = "".join(c for c in f"{one.name}{at}" if c.isascii() and c.isalnum()) or "subject"
        subject = next(n for n in _numbered(label) if n.lower() not in taken)
        taken.add(subject.lower())
        for rate, change in one.changes.items():
            write_rate_change(
                change, folder, subject=subject, concentration=one.concentrations.get(rate)
            )


def _numbered(label: str) -> Iterator[str]:
    """The label, and the same with a number for those that are called alike."""
    yield label
    yield from (f"{label}x{i}" for i in count(2))


def _figures(
    result: StudyResult, look: plots.Look | None = None, prediction: bool = False
) -> dict[str, Figure]:
    """Every figure of a report by its name."""
    figures: dict[str, Figure] = {}
    if result.relaxivity is not None:
        figures |= relaxivity_figures(
            result.relaxivity,
            result.facts.concentration_of,
            result.facts.field_T,
            look,
            result.literature,
            prediction,
        )
    if result.tubes:
        shown = max(result.tubes)  # T2 where there is one: no tube is dark in all of its echoes
        figures["tubes"] = plots.tube_overlay(result.maps[shown].series, result.tubes[shown])
    for quantity, maps in result.maps.items():
        tubes = result.tubes.get(quantity)
        figures[f"{quantity}_map"] = plots.parameter_map(maps, quantity, tubes)
        if tubes:
            figures[f"{quantity}_curves"] = plots.curve_panel(
                result.curves[quantity], tubes, _flagged(result, quantity)
            )
    if result.reference is not None:
        figures["reference"] = plots.bland_altman(result.reference)
    return figures | contrast_figures(result.contrast) | flood_figures(result.floods)


def relaxivity_figures(
    table: RelaxivityTable,
    concentration_of: str = "",
    field_T: float | None = None,
    look: plots.Look | None = None,
    literature: pd.DataFrame | None = None,
    prediction: bool = False,
) -> dict[str, Figure]:
    """Figures of a table of relaxivities by name.

    ``relaxivity``; ``r1_bars`` and ``r2_bars`` where there are two agents or conditions to compare;
    ``relaxivity_map`` where one has both r1 and r2.
    """
    lines = plots.relaxivity_lines(table, concentration_of, look=look, prediction=prediction)
    figures = {"relaxivity": lines}
    for symbol in ("r1", "r2"):
        known = [key for key, fits in table.lines.items() if symbol in fits]
        if len(known) > 1 and any(math.isfinite(table.lines[k][symbol].r.value) for k in known):
            figures[f"{symbol}_bars"] = plots.agent_bars(table, symbol, look=look)
    both = [fits for fits in table.lines.values() if {"r1", "r2"} <= set(fits)]
    if any(fits["r1"].r.value > 0 and fits["r2"].r.value > 0 for fits in both):
        figures["relaxivity_map"] = plots.relaxivity_map(
            table,
            literature=literature,
            field_T=field_T,
            ion=concentration_of or None,
            look=look,
        )
    return figures


def _flagged(result: StudyResult, quantity: str) -> set[int]:
    """Numbers of the tubes whose fit of this quantity has a flag."""
    return {
        int(row["tube"])
        for row in result.tube_table.to_dict("records")
        if any(code.startswith(f"{quantity}_") for code in str(row["flags"]).split())
    }
