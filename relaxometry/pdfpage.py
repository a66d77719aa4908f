"""The report for paper: the answer of a study on one A4 page, as PDF (more agents take more)."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase.pdfmetrics import (
    registerFont,
    registerFontFamily,
    stringWidth,
)
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import (
    CondPageBreak,
    Image,
    KeepTogether,
    Paragraph,
    SimpleDocTemplate,
    Spacer,
    Table,
    TableStyle,
)

from . import __version__
from .methods import paragraphs, reference_sources
from .pagetables import agreement_rows, contrast_row, facts_of, tube_columns, tube_rows
from .tablereport import (
    agent_rows,
    comparison_rows,
    legend,
    replicate_rows,
    switch_rows,
    symbols_of,
)

if TYPE_CHECKING:
    from .agents import RelaxivityTable
    from .study import StudyResult

Cell = tuple[str, str]  # what stands in it, and the small print below

_MARGIN, _PADDING = 16 * mm, 6.0  # of the page; of the frame that platypus puts on it
WIDTH = A4[0] - 2 * _MARGIN
_REGULAR, _BOLD = "DejaVuSans", "DejaVuSans-Bold"
_INK, _SOFT, _ALARM, _NOTE = (HexColor(c) for c in ("#1d1d1f", "#6b6b70", "#a63603", "#7a5c00"))
_SIZE = 7.2
# What a page has room for; all of it stands in the page beside and in results.json.
_ANSWERS, _PAIRS, _WARNINGS, _INPUTS, _LONGEST = 4, 10, 8, 4, 90
_FIGURE_HEIGHTS = 60 * mm, 46 * mm


def pdf_page(
    result: StudyResult, figures: Mapping[str, bytes], ranking: Sequence[str] = ()
) -> bytes:
    """The report as PDF, the same to the byte for the same result.

    Parameters
    ----------
    result : StudyResult
    figures : mapping of str to bytes
        PNG of each figure by name; ``relaxivity``, ``contrast`` and ``reference`` are shown.
    ranking : sequence of str
        How each agent ranks among published ones, in words.

    Returns
    -------
    bytes
        A4, text as text, fonts embedded.
    """
    _fonts()
    content, pages = _built(result, figures, ranking, _FIGURE_HEIGHTS[0])
    if pages > 1:  # a lower figure, if that saves a page
        lower, fewer = _built(result, figures, ranking, _FIGURE_HEIGHTS[1])
        content = lower if fewer < pages else content
    return content


def _built(
    result: StudyResult, figures: Mapping[str, bytes], ranking: Sequence[str], height: float
) -> tuple[bytes, int]:
    stream = io.BytesIO()
    title = _plain(result.facts.title) or "Relaxometry"
    document = SimpleDocTemplate(
        stream,
        pagesize=A4,
        leftMargin=_MARGIN - _PADDING,
        rightMargin=_MARGIN - _PADDING,
        topMargin=13 * mm,
        bottomMargin=15 * mm,
        title=title,
        author="",
        subject="Relaxometry report",
        creator=f"relaxometry {__version__}",
        lang="en",
        invariant=1,
    )
    story = [
        _text(title, size=15, bold=True, after=2),
        _text("  ·  ".join(facts_of(result.facts)), colour=_SOFT, size=8, after=4),
        *_answer(result),
        *_list("Failed checks", result.failures, _ALARM),
        *_figure(figures, "relaxivity", height),
    ]
    if result.relaxivity is not None:
        story += _relaxivity(result.relaxivity, result.facts.concentration_of)
    else:
        story += _tubes(result)
    story += [
        *_list("Among published agents", ranking),
        *_reference(result, figures),
        *_contrast(result, figures),
        *_list("Warnings", result.warnings, _NOTE),
        *_heading("Methods"),
        *(_text(paragraph, size=6.8, after=2) for paragraph in paragraphs(result)),
        *_inputs(result),
    ]
    document.build(story, onFirstPage=_footer, onLaterPages=_footer)
    return stream.getvalue(), document.page


@cache
def _fonts() -> None:
    """DejaVu Sans, which comes with matplotlib and has µ, ⁻¹, → and ±."""
    for name in (_REGULAR, _BOLD):
        path = files("matplotlib") / "mpl-data" / "fonts" / "ttf" / f"{name}.ttf"
        registerFont(TTFont(name, io.BytesIO(path.read_bytes())))
    registerFontFamily(_REGULAR, _REGULAR, _BOLD, _REGULAR, _BOLD)


def _footer(canvas: Any, document: Any) -> None:
    canvas.saveState()
    canvas.setFont(_REGULAR, 6.5)
    canvas.setFillColor(_SOFT)
    canvas.drawString(_MARGIN, 9 * mm, f"relaxometry {__version__}")
    canvas.drawRightString(A4[0] - _MARGIN, 9 * mm, str(document.page))
    canvas.restoreState()


# --- text ----------------------------------------------------------------------------------------


def _plain(text: object) -> str:
    """Text in one line, without what cannot be printed."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _text(
    text: str,
    size: float = _SIZE,
    colour: Any = _INK,
    bold: bool = False,
    after: float = 1.5,
    **more: Any,
) -> Paragraph:
    """A paragraph of plain text: whatever it holds, none of it is markup."""
    return _marked(escape(_plain(text)), size, colour, bold, after, **more)


def _marked(
    markup: str,
    size: float = _SIZE,
    colour: Any = _INK,
    bold: bool = False,
    after: float = 1.5,
    **more: Any,
) -> Paragraph:
    style = ParagraphStyle(
        "text",
        fontName=_BOLD if bold else _REGULAR,
        fontSize=size,
        leading=1.32 * size,
        textColor=colour,
        spaceAfter=after,
        **more,
    )
    return Paragraph(markup, style)


def _heading(text: str, colour: Any = _INK) -> list[Any]:
    """A heading that is not the last thing on its page."""
    return [
        CondPageBreak(18 * mm),
        _text(text, size=9.5, bold=True, colour=colour, after=2, spaceBefore=6),
    ]


def _list(heading: str, items: Iterable[str], colour: Any = _INK) -> list[Any]:
    shown = _most(items)
    bullets = [_text(f"• {item}", leftIndent=7, firstLineIndent=-7) for item in shown]
    return [*_heading(heading, colour), *bullets] if shown else []


def _most(items: Iterable[str]) -> list[str]:
    items = list(items)
    more = len(items) - _WARNINGS
    return items if more <= 0 else [*items[:_WARNINGS], f"and {more} more, in index.html"]


# --- tables and figures --------------------------------------------------------------------------


def _table(heads: Sequence[Cell], rows: Sequence[Sequence[Cell]], left: Iterable[int]) -> Table:
    """A table across the page: columns of words share what the numbers leave."""
    words = set(left)
    cells = [list(heads), *(list(row) for row in rows)]
    natural = [
        max(stringWidth(_plain(part), _BOLD, _SIZE) for row in cells for part in row[i]) + 7
        for i in range(len(heads))
    ]
    least = 24 * mm
    # Columns of words shrink to no less than `least`; then all change alike to fill the page.
    fixed = sum(min(w, least) if i in words else w for i, w in enumerate(natural))
    spare = {i: max(0.0, w - least) for i, w in enumerate(natural) if i in words}
    wanted = sum(spare.values())
    share = min(1.0, max(0.0, WIDTH - fixed) / wanted) if wanted else 0.0
    widths = [min(w, least) + share * spare[i] if i in words else w for i, w in enumerate(natural)]
    fill = WIDTH / sum(widths)
    laid = [
        [_cell(cell, head=not n, right=i not in words) for i, cell in enumerate(row)]
        for n, row in enumerate(cells)
    ]
    rules = TableStyle(
        [
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ("VALIGN", (0, 0), (-1, 0), "BOTTOM"),
            ("LINEABOVE", (0, 0), (-1, 0), 0.9, _INK),
            ("LINEBELOW", (0, 0), (-1, 0), 0.5, _INK),
            ("LINEBELOW", (0, 1), (-1, -2), 0.25, HexColor("#d7d7da")),
            ("LINEBELOW", (0, -1), (-1, -1), 0.9, _INK),
            ("LEFTPADDING", (0, 0), (-1, -1), 3),
            ("RIGHTPADDING", (0, 0), (-1, -1), 3),
            ("TOPPADDING", (0, 0), (-1, -1), 1.5),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 1.5),
        ]
    )
    return Table(
        laid,
        colWidths=[fill * width for width in widths],
        repeatRows=1,
        style=rules,
        hAlign="LEFT",
        spaceBefore=2,
        spaceAfter=3,
    )


def _cell(cell: Cell, head: bool, right: bool) -> Paragraph:
    value, below = (escape(_plain(part)) for part in cell)
    if below:
        value += f'<br/><font size="6" color="{_SOFT.hexval().replace("0x", "#")}">{below}</font>'
    return _marked(value, bold=head, after=0, alignment=2 if right else 0)


def _figure(figures: Mapping[str, bytes], name: str, height: float) -> list[Any]:
    if name not in figures:
        return []
    picture = Image(io.BytesIO(figures[name]))
    scale = min(WIDTH / picture.imageWidth, height / picture.imageHeight)
    picture.drawWidth, picture.drawHeight = scale * picture.imageWidth, scale * picture.imageHeight
    return [picture, Spacer(1, 2)]


# --- sections ------------------------------------------------------------------------------------


def _answer(result: StudyResult) -> list[Any]:
    """A line for each agent, where they are few; the table says it of many."""
    if result.relaxivity is None:
        return []
    rows = agent_rows(result.relaxivity)
    if len(rows) > _ANSWERS:
        return []
    lines = []
    for row in rows:
        told = [
            f"{symbol} = {one['value']}" + " mM⁻¹ s⁻¹" * (one["value"][:1].isdigit())
            for symbol, one in row["r"].items()
        ]
        if row["ratio"] != "–":
            told.append(f"r2/r1 = {row['ratio']}: {row['class']}")
        lines.append(
            _marked(f"<b>{escape(_cut(row['name']))}</b>: {escape(', '.join(told))}", size=8.5)
        )
    return lines


def _relaxivity(table: RelaxivityTable, ion: str) -> list[Any]:
    symbols = symbols_of(table)
    unit = f"mM⁻¹ s⁻¹{f' ({_cut(_plain(ion))})' if ion else ''}"
    heads = [("Agent", ""), *((symbol, unit) for symbol in symbols)]
    both = len(symbols) == 2
    heads += [("r2/r1", ""), ("Class", "")] * both
    heads += [(f"{symbol.upper()}(0)", "s⁻¹") for symbol in symbols]
    heads += [("n", ""), ("Method", "")]
    rows = []
    for row in agent_rows(table):
        cells: list[Cell] = [(_cut(row["name"]), "")]
        cells += [
            (" ".join((row["r"][s]["value"], row["r"][s]["letters"])), row["r"][s]["ci"])
            for s in symbols
        ]
        cells += [(row["ratio"], row["ratio_ci"]), (row["class"], "")] * both
        cells += [(row["R0"][s.upper()], "") for s in symbols]
        rows.append([*cells, (row["n"], ""), (row["method"], "")])
    words = [0, *([len(symbols) + 2] if both else []), len(heads) - 1]
    found = [_table(heads, rows, left=words), _text(legend(table), 6.2, _SOFT)]
    notes = [f"{_cut(row['name'])}, {flag}" for row in agent_rows(table) for flag in row["flags"]]
    found += [_text(f"• {note}", 6.2, _SOFT, after=0) for note in _most(notes)]
    return [*found, *_replicates(table), *_switches(table), *_comparisons(table)]


def _replicates(table: RelaxivityTable) -> list[Any]:
    rows = replicate_rows(table)
    if not rows:
        return []
    heads: list[Cell] = [("Agent", ""), ("n", "")]
    for symbol in symbols_of(table):
        heads += [(symbol, "mean ± SD"), (symbol, "mixed ± SE")]
    heads.append(("r2/r1", "mean ± SD"))
    cells = [
        [
            (_cut(row["name"]), ""),
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
    return [*_heading("Replicates"), _table(heads, cells, left=[0])]


def _switches(table: RelaxivityTable) -> list[Any]:
    rows = switch_rows(table)
    if not rows:
        return []
    heads = [("Agent", ""), ("Before → after", "")]
    heads += [(name, "× before") for name in rows[0]["folds"]]
    heads += [("Class", ""), ("Switch", "")]
    cells = [
        [
            (_cut(row["name"]), ""),
            (_cut(f"{row['before']} → {row['after']}"), ""),
            *((one["value"], one["ci"]) for one in row["folds"].values()),
            (row["class"], ""),
            (row["switch"], ""),
        ]
        for row in rows
    ]
    last = len(heads) - 1
    return [
        *_heading("Before and after the stimulus"),
        _table(heads, cells, left=[0, 1, last - 1, last]),
    ]


def _comparisons(table: RelaxivityTable) -> list[Any]:
    rows = comparison_rows(table)
    if not rows:
        return []
    heads = [("", ""), ("Pair", ""), ("Difference", "mM⁻¹ s⁻¹"), ("Test", ""), ("P", "Holm")]
    cells = [
        [
            (row["symbol"], ""),
            (f"{_cut(row['a'])} − {_cut(row['b'])}", ""),
            (row["difference"], row["ci"]),
            (row["test"], ""),
            (f"{row['p']} {row['stars']}", ""),
        ]
        for row in rows[:_PAIRS]
    ]
    more = len(rows) - len(cells)
    return [
        *_heading("Comparisons"),
        _table([*heads], cells, left=[0, 1, 3]),
        *([_text(f"and {more} more pairs, in index.html", 6.2, _SOFT)] if more else []),
    ]


def _tubes(result: StudyResult) -> list[Any]:
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
            *((_cut(str(row[name])), "") for name in named),
            *((one["text"], "") for one in row["measured"]),
        ]
        for row in rows
    ]
    return [*_heading("Tubes"), _table(heads, cells, left=range(1, len(named)))]


def _reference(result: StudyResult, figures: Mapping[str, bytes]) -> list[Any]:
    rows = agreement_rows(result)
    if not rows:
        return []
    heads = [("", ""), ("n", ""), ("mean difference", "%"), ("lower limit", "%")]
    heads += [("upper limit", "%"), ("SD", "%")]
    cells = [
        [(row["quantity"], ""), (str(row["n"]), ""), *row["cells"], (row["sd"], "")] for row in rows
    ]
    return [
        *_heading("Against reference values"),
        *_figure(figures, "reference", 55 * mm),
        _table(heads, cells, left=[0]),
        *[_text(f"Source: {one}", 6.2, _SOFT) for one in reference_sources(result)],
    ]


def _contrast(result: StudyResult, figures: Mapping[str, bytes]) -> list[Any]:
    if not result.contrasts:
        return []
    heads = [("Contrast", "")]
    heads += [(f"SNR {r}", when) for r in ("target", "reference") for when in ("pre", "post")]
    heads += [("CNR", "pre"), ("CNR", "post")]
    heads += [("ΔSNR target", "%"), ("ΔSNR reference", "%"), ("ΔCNR", "%")]
    rows = [contrast_row(one) for one in result.contrasts]
    cells = [[(_cut(r["name"]), ""), *((c, "") for c in r["cells"])] for r in rows]
    table = [*_heading("Contrast"), _table(heads, cells, left=[0])]
    return [*table, *([] if result.relaxivity else _figure(figures, "contrast", 55 * mm))]


def _inputs(result: StudyResult) -> list[Any]:
    """Names and checksums of what went in."""
    shown = [f"{_cut(_plain(one.path))}  {one.sha256}" for one in result.inputs[:_INPUTS]]
    more = len(result.inputs) - len(shown)
    shown += [f"and {more} more, in results.json"] if more > 0 else []
    if not shown:
        return []
    lines = [_text(one, size=5.8, colour=_SOFT, after=0) for one in shown]
    return [KeepTogether([_text("Inputs (SHA-256)", 6.8, _SOFT, bold=True, after=1), *lines])]
