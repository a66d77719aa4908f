"""The report of a study: a page, its numbers, its figures and its maps, written all or nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from . import plots, results
from .bids import write_maps
from .page import page
from .pdfpage import pdf_page
from .whole import whole_folder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .study import StudyResult


def report(result: StudyResult, folder: str | Path, *, force: bool = False) -> Path:
    """Write the report of a study, the same to the byte for the same result.

    ``index.html`` (self-contained), ``report.pdf`` (for paper), ``results.json``, ``tubes.csv``,
    ``relaxivity.csv``, ``contrast.csv``, ``reference.csv``, ``figures/*.svg`` and ``*.png``,
    ``derivatives/relaxometry`` (BIDS maps and labels); what a study has no data for is left out.

    Parameters
    ----------
    result : StudyResult
    folder : str or Path
        To be made.
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
        _write(result, beside)
    return Path(folder) / "index.html"


def _write(result: StudyResult, folder: Path) -> None:
    figures = _figures(result)
    drawn = {name: plots.as_svg(figure) for name, figure in figures.items()}
    (folder / "index.html").write_text(page(result, drawn), encoding="utf-8", newline="\n")
    painted = {name: plots.as_png(figure) for name, figure in figures.items()}
    (folder / "report.pdf").write_bytes(pdf_page(result, painted))
    for name, content in results.files(result).items():
        (folder / name).write_bytes(content)
    if figures:
        (folder / "figures").mkdir()
    for name in figures:
        (folder / "figures" / f"{name}.svg").write_bytes(drawn[name])
        (folder / "figures" / f"{name}.png").write_bytes(painted[name])
    # The data set holds one label map: where the grids of T1 and T2 differ, that of T2.
    for quantity in sorted(result.maps):
        labels = result.tubes[quantity].labels if quantity in result.tubes else None
        write_maps(
            result.maps[quantity], folder / "derivatives" / "relaxometry", tubes_labels=labels
        )


def _figures(result: StudyResult) -> dict[str, Figure]:
    """Every figure of a report by its name."""
    figures: dict[str, Figure] = {}
    if result.relaxivity is not None:
        figures["relaxivity"] = plots.relaxivity_lines(
            result.relaxivity, result.facts.concentration_of
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
    if result.contrasts:
        figures["contrast"] = plots.contrast_bars(result.contrasts)
    return figures


def _flagged(result: StudyResult, quantity: str) -> set[int]:
    """Numbers of the tubes whose fit of this quantity has a flag."""
    return {
        int(row["tube"])
        for row in result.tube_table.to_dict("records")
        if any(code.startswith(f"{quantity}_") for code in str(row["flags"]).split())
    }
