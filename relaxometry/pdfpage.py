"""The report for paper: the answer of a study on one A4 page, as PDF (more agents take more)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .methods import paragraphs, reference_sources
from .pagetables import agreement_rows, facts_of, tube_columns, tube_rows
from .paper import (
    ALARM,
    NOTE,
    SOFT,
    Cell,
    Part,
    first_of,
    grid,
    heading,
    labelled,
    listing,
    picture,
    plain,
    prose,
    shortened,
    together,
    typeset,
)
from .pdfcontrast import contrast_parts
from .tablereport import (
    agent_rows,
    answers,
    comparison_rows,
    legend,
    notes,
    ranking_rows,
    replicate_rows,
    switch_rows,
    symbols_of,
)

if TYPE_CHECKING:
    import pandas as pd

    from .agents import RelaxivityTable
    from .study import StudyResult

# What a page has room for; all of it stands in index.html and results.json beside.
_ANSWERS, _PAIRS, _INPUTS = 4, 6, 4
_HEIGHTS_MM, _LOWER_MM = (66.0, 46.0), 55.0  # of the figure of the lines; of others
_PAGE_MM, _LINES = 235.0, 6  # a figure of more lines than these may be as high as the page
_SMALL = 6.2


def pdf_page(
    result: StudyResult, figures: Mapping[str, bytes], ranking: pd.DataFrame | None = None
) -> bytes:
    """The report as PDF, the same to the byte for the same result.

    Parameters
    ----------
    result : StudyResult
    figures : mapping of str to bytes
        PNG of each figure by name; ``relaxivity``, ``contrast`` and ``reference`` are shown.
    ranking : DataFrame, optional
        How each agent ranks among published ones: columns ``agent``, ``condition``, ``words``.

    Returns
    -------
    bytes
        A4, text as text, fonts embedded.
    """
    content, pages = _built(result, figures, ranking, _HEIGHTS_MM[0])
    for height_mm in _HEIGHTS_MM[1:] if pages == 2 else ():  # a lower figure may save a page
        lower, fewer = _built(result, figures, ranking, height_mm)
        if fewer < pages:
            return lower
    if pages > 1:  # then the figure may as well be as wide as the page
        wide, as_many = _built(result, figures, ranking, _PAGE_MM)
        return wide if as_many == pages else content
    return content


def _built(
    result: StudyResult,
    figures: Mapping[str, bytes],
    ranking: pd.DataFrame | None,
    height_mm: float,
) -> tuple[bytes, int]:
    title = plain(result.facts.title) or "Relaxometry"
    story = [
        prose(title, size=15, bold=True, after=2),
        prose(
            "  ·  ".join(facts_of(result.facts, result.relaxivity)), colour=SOFT, size=8, after=4
        ),
        *_answer(result),
        *listing("Failed checks", result.failures, ALARM),
        *_figure(figures, "relaxivity", _PAGE_MM if _many_lines(result) else height_mm),
    ]
    if result.relaxivity is not None:
        story += _relaxivity(result.relaxivity, result.facts.concentration_of, result.warnings)
    else:
        story += _tubes(result)
    story += [
        *listing("Among published agents", ranking_rows(ranking)),
        *_reference(result, figures),
        *contrast_parts(result, figures),
        *listing("Warnings", result.warnings, NOTE),
        *heading("Methods"),
        *(prose(paragraph, size=6.8, after=2) for paragraph in paragraphs(result)),
        *_inputs(result),
    ]
    return typeset(title, story)


def _many_lines(result: StudyResult) -> bool:
    """Whether the figure's legend is so long that it needs the page's width to be read."""
    return result.relaxivity is not None and len(result.relaxivity.lines) > _LINES


def _figure(figures: Mapping[str, bytes], name: str, height_mm: float) -> list[Part]:
    return [picture(figures[name], height_mm)] if name in figures else []


def _answer(result: StudyResult) -> list[Part]:
    """A line for each agent, where they are few; the table says it of many."""
    if result.relaxivity is None:
        return []
    told = answers(result.relaxivity)
    if len(told) > _ANSWERS:
        return []
    return [labelled(shortened(name), text, size=8.5) for name, text in told]


def _relaxivity(table: RelaxivityTable, ion: str, told: Sequence[str]) -> list[Part]:
    symbols = symbols_of(table)
    unit = f"mM⁻¹ s⁻¹{f' ({shortened(plain(ion))})' if ion else ''}"
    heads = [("Agent", ""), *((symbol, unit) for symbol in symbols)]
    both = len(symbols) == 2
    heads += [("r2/r1", ""), ("Class", "")] * both
    heads += [(f"{symbol.upper()}(0)", "s⁻¹") for symbol in symbols]
    heads += [("n", ""), ("Method", "")]
    rows = []
    for row in agent_rows(table):
        cells: list[Cell] = [(shortened(row["name"]), "")]
        cells += [
            (" ".join((row["r"][s]["value"], row["r"][s]["letters"])), row["r"][s]["ci"])
            for s in symbols
        ]
        cells += [(row["ratio"], row["ratio_ci"]), (row["class"], "")] * both
        cells += [(row["R0"][s.upper()], "") for s in symbols]
        rows.append([*cells, (row["n"], ""), (row["method"], "")])
    words = [0, *([len(symbols) + 2] if both else []), len(heads) - 1]
    found = [grid(heads, rows, left=words), prose(legend(table), _SMALL, SOFT)]
    found += [prose(f"• {note}", _SMALL, SOFT, after=0) for note in first_of(notes(table, told))]
    batches = _replicates(table)
    if batches:  # their mean and SD are the answer, the lines through them all come after
        found = [*batches, *heading("Lines through all replicates"), *found]
    return [*found, *_switches(table), *_comparisons(table)]


def _replicates(table: RelaxivityTable) -> list[Part]:
    rows = replicate_rows(table)
    if not rows:
        return []
    heads: list[Cell] = [("Agent", ""), ("n", "")]
    for symbol in symbols_of(table):
        heads += [(symbol, "mean ± SD"), (symbol, "mixed ± SE")]
    heads.append(("r2/r1", "mean ± SD"))
    cells = [
        [
            (shortened(row["name"]), ""),
            (row["n"], ""),
            *(
                cell
                for one in row["r"].values()
                for cell in ((one["mean"], ""), (one["mixed"], one["ci"]))
            ),
            (row["ratio"], ""),
        ]
        for row in rows
    ]
    return [*heading("Replicates"), grid(heads, cells, left=[0])]


def _switches(table: RelaxivityTable) -> list[Part]:
    rows = switch_rows(table)
    if not rows:
        return []
    heads = [("Agent", ""), ("Before → after", "")]
    heads += [(name, "× before") for name in rows[0]["folds"]]
    heads += [("Class", ""), ("Switch", "")]
    cells = [
        [
            (shortened(row["name"]), ""),
            (shortened(f"{row['before']} → {row['after']}"), ""),
            *((one["value"], one["ci"]) for one in row["folds"].values()),
            (row["class"], ""),
            (row["switch"], ""),
        ]
        for row in rows
    ]
    last = len(heads) - 1
    return [
        *heading("Before and after the stimulus"),
        grid(heads, cells, left=[0, 1, last - 1, last]),
    ]


def _comparisons(table: RelaxivityTable) -> list[Part]:
    rows = comparison_rows(table)
    if not rows:
        return []
    heads = [("", ""), ("Pair", ""), ("Difference", "mM⁻¹ s⁻¹"), ("Test", ""), ("P", "Holm")]
    if len(rows) > _PAIRS:
        told = f"{len(rows)} pairs were compared; all are in index.html."
        if any(table.letters.values()):
            told += " The letters beside r1 and r2 say which differ."
        return [*heading("Comparisons"), prose(told)]
    cells = [
        [
            (row["symbol"], ""),
            (f"{shortened(row['a'])} − {shortened(row['b'])}", ""),
            (row["difference"], row["ci"]),
            (row["test"], ""),
            (f"{row['p']} {row['stars']}", ""),
        ]
        for row in rows
    ]
    return [*heading("Comparisons"), grid(heads, cells, left=[0, 1, 3])]


def _tubes(result: StudyResult) -> list[Part]:
    """The tubes' times, where no agent has a line."""
    rows = list(tube_rows(result))
    if not rows:
        return []
    named = tube_columns(result)
    heads = [(name.capitalize(), "") for name in named]
    for quantity in result.maps:
        heads += [(quantity, "ms"), (f"voxels’ {quantity}", "ms"), (f"R{quantity[1:]}", "s⁻¹")]
    cells = [
        [
            *((shortened(str(row[name])), "") for name in named),
            *((one["text"], "") for one in row["measured"]),
        ]
        for row in rows
    ]
    return [*heading("Tubes"), grid(heads, cells, left=range(1, len(named)))]


def _reference(result: StudyResult, figures: Mapping[str, bytes]) -> list[Part]:
    rows = agreement_rows(result)
    if not rows:
        return []
    heads = [("", ""), ("n", ""), ("mean difference", "%"), ("lower limit", "%")]
    heads += [("upper limit", "%"), ("SD", "%")]
    cells = [
        [(row["quantity"], ""), (str(row["n"]), ""), *row["cells"], (row["sd"], "")] for row in rows
    ]
    return [
        *heading("Against reference values"),
        *_figure(figures, "reference", _LOWER_MM),
        grid(heads, cells, left=[0]),
        *[prose(f"Source: {one}", _SMALL, SOFT) for one in reference_sources(result)],
    ]


def _inputs(result: StudyResult) -> list[Part]:
    """Names and checksums of what went in."""
    shown = [f"{shortened(plain(one.path))}  {one.sha256}" for one in result.inputs[:_INPUTS]]
    more = len(result.inputs) - len(shown)
    shown += [f"and {more} more, in results.json"] if more > 0 else []
    if not shown:
        return []
    lines = [prose(one, size=5.8, colour=SOFT, after=0) for one in shown]
    return [together([prose("Inputs (SHA-256)", 6.8, SOFT, bold=True, after=1), *lines])]
