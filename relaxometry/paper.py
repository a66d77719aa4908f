"""Type on A4 paper: text, lists, tables and pictures as PDF, where no text is ever markup."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files
from typing import Any
from xml.sax.saxutils import escape

from reportlab import rl_config
from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase.pdfmetrics import registerFont, registerFontFamily, stringWidth
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import (
    CondPageBreak,
    Image,
    KeepTogether,
    Paragraph,
    SimpleDocTemplate,
    Table,
    TableStyle,
)

from . import __version__

Cell = tuple[str, str]  # what stands in it, and the small print below
Part = Any  # what platypus calls a flowable

_MARGIN, _PADDING = 16 * mm, 6.0  # of the page; of the frame that platypus puts on it
_WIDTH = A4[0] - 2 * _MARGIN
_REGULAR, _BOLD = "DejaVuSans", "DejaVuSans-Bold"
INK, SOFT, ALARM, NOTE = (HexColor(c) for c in ("#1d1d1f", "#6b6b70", "#a63603", "#7a5c00"))
SIZE = 7.2
# What a page has room for; all of it stands in index.html beside.
_ITEMS, _LONGEST = 8, 90


def typeset(title: str, story: Sequence[Part]) -> tuple[bytes, int]:
    """The paragraphs, tables and pictures as a PDF, and on how many pages.

    The same bytes for the same story; fonts are embedded.
    """
    _fonts()
    _as_they_are()
    stream = io.BytesIO()
    document = SimpleDocTemplate(
        stream,
        pagesize=A4,
        leftMargin=_MARGIN - _PADDING,
        rightMargin=_MARGIN - _PADDING,
        topMargin=13 * mm,
        bottomMargin=15 * mm,
        title=plain(title),
        author="",
        subject="Relaxometry report",
        creator=f"relaxometry {__version__}",
        lang="en",
        invariant=1,
    )
    document.build(list(story), onFirstPage=_footer, onLaterPages=_footer)
    return stream.getvalue(), document.page


@cache
def _fonts() -> None:
    """DejaVu Sans, which comes with matplotlib and has µ, ⁻¹, → and ±."""
    for name in (_REGULAR, _BOLD):
        path = files("matplotlib") / "mpl-data" / "fonts" / "ttf" / f"{name}.ttf"
        registerFont(TTFont(name, io.BytesIO(path.read_bytes())))
    registerFontFamily(_REGULAR, _REGULAR, _BOLD, _REGULAR, _BOLD)


@cache
def _as_they_are() -> None:
    """Bytes in the file, and not spelt in letters, which takes longer than all else."""
    rl_config.useA85 = 0


def _footer(canvas: Any, document: Any) -> None:
    canvas.saveState()
    canvas.setFont(_REGULAR, 6.5)
    canvas.setFillColor(SOFT)
    canvas.drawString(_MARGIN, 9 * mm, f"relaxometry {__version__}")
    canvas.drawRightString(A4[0] - _MARGIN, 9 * mm, str(document.page))
    canvas.restoreState()


def plain(text: object) -> str:
    """Text in one line, without what cannot be printed."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())


def shortened(text: str) -> str:
    """A name that a table has room for."""
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def prose(
    text: object,
    size: float = SIZE,
    colour: Any = INK,
    bold: bool = False,
    after: float = 1.5,
    **more: Any,
) -> Part:
    """A paragraph of text: whatever it holds, none of it is markup."""
    return _marked(escape(plain(text)), size, colour, bold, after, **more)


def labelled(name: str, text: str, size: float) -> Part:
    """A paragraph that begins with a name in bold."""
    return _marked(f"<b>{escape(plain(name))}</b>: {escape(plain(text))}", size)


def _marked(
    markup: str,
    size: float = SIZE,
    colour: Any = INK,
    bold: bool = False,
    after: float = 1.5,
    **more: Any,
) -> Part:
    _fonts()
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


def heading(text: str, colour: Any = INK) -> list[Part]:
    """A heading that is not the last thing on its page."""
    return [
        CondPageBreak(18 * mm),
        prose(text, size=9.5, bold=True, colour=colour, after=2, spaceBefore=6),
    ]


def listing(title: str, items: Iterable[str], colour: Any = INK) -> list[Part]:
    """A heading and its items, or nothing where there are none."""
    shown = first_of(items)
    points = [prose(f"• {item}", leftIndent=7, firstLineIndent=-7) for item in shown]
    return [*heading(title, colour), *points] if shown else []


def first_of(items: Iterable[str]) -> list[str]:
    """As many as a page has room for, and how many more there are."""
    items = list(items)
    more = len(items) - _ITEMS
    return items if more <= 0 else [*items[:_ITEMS], f"and {more} more, in index.html"]


def together(parts: Sequence[Part]) -> Part:
    """Parts that stand on one page."""
    return KeepTogether(list(parts))


def grid(heads: Sequence[Cell], rows: Sequence[Sequence[Cell]], left: Iterable[int]) -> Part:
    """A table across the page: columns of words share what the numbers leave."""
    _fonts()
    words = set(left)
    cells = [list(heads), *(list(row) for row in rows)]
    natural = [
        max(stringWidth(plain(part), _BOLD, SIZE) for row in cells for part in row[i]) + 7
        for i in range(len(heads))
    ]
    least = 24 * mm
    # Columns of words shrink to no less than `least`; then all change alike to fill the page.
    fixed = sum(min(w, least) if i in words else w for i, w in enumerate(natural))
    spare = {i: max(0.0, w - least) for i, w in enumerate(natural) if i in words}
    wanted = sum(spare.values())
    share = min(1.0, max(0.0, _WIDTH - fixed) / wanted) if wanted else 0.0
    widths = [min(w, least) + share * spare[i] if i in words else w for i, w in enumerate(natural)]
    fill = _WIDTH / sum(widths)
    laid = [
        [_cell(cell, head=not n, right=i not in words) for i, cell in enumerate(row)]
        for n, row in enumerate(cells)
    ]
    rules = TableStyle(
        [
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ("VALIGN", (0, 0), (-1, 0), "BOTTOM"),
            ("LINEABOVE", (0, 0), (-1, 0), 0.9, INK),
            ("LINEBELOW", (0, 0), (-1, 0), 0.5, INK),
            ("LINEBELOW", (0, 1), (-1, -2), 0.25, HexColor("#d7d7da")),
            ("LINEBELOW", (0, -1), (-1, -1), 0.9, INK),
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


def _cell(cell: Cell, head: bool, right: bool) -> Part:
    value, below = (escape(plain(part)) for part in cell)
    if below:
        value += f'<br/><font size="6" color="{SOFT.hexval().replace("0x", "#")}">{below}</font>'
    return _marked(value, bold=head, after=0, alignment=2 if right else 0)


def picture(png: bytes, height: float) -> Part:
    """A picture as wide as the page, unless it is then higher than so many mm."""
    image = Image(io.BytesIO(png))
    scale = min(_WIDTH / image.imageWidth, height * mm / image.imageHeight)
    image.drawWidth, image.drawHeight = scale * image.imageWidth, scale * image.imageHeight
    return image
