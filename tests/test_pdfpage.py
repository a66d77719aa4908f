"""The report for paper: its text, its pages, the same bytes each time."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from pypdf import PdfReader

from relaxometry.agents import relaxivity
from relaxometry.canvas import as_png
from relaxometry.pdfpage import pdf_page
from relaxometry.plots import relaxivity_lines
from relaxometry.reports import report
from relaxometry.tablereport import agent_rows

from . import handmade, stated
from .test_page import HOSTILE, of_table


def read(content: bytes) -> PdfReader:
    return PdfReader(io.BytesIO(content))


def text_of(content: bytes) -> str:
    return " ".join(" ".join(page.extract_text() for page in read(content).pages).split())


@pytest.fixture(scope="module")
def figure() -> bytes:
    return as_png(Figure(figsize=(7.2, 3.1)))


@pytest.fixture(scope="module")
def written(figure: bytes) -> bytes:
    return pdf_page(of_table(stated.full()), {"relaxivity": figure}, stated.ranking())


def test_the_answer_of_a_table_is_one_page_of_a4(written: bytes) -> None:
    pages = read(written).pages
    assert len(pages) == 1
    assert [float(v) for v in pages[0].mediabox] == pytest.approx([0, 0, 595.28, 841.89], abs=0.01)
    assert len(pages[0].images) == 1


def test_the_text_is_that_of_the_study(written: bytes) -> None:
    text = text_of(written)
    order = ["Smart agents", "3 T", "37 °C", "SPIO pH 7: r1 =", "Replicates", "Before and after"]
    order += ["Comparisons", "Among published agents", "Methods", "Inputs", "a" * 64]
    places = [text.index(words) for words in order]
    assert places == sorted(places)
    for row in agent_rows(stated.full()):  # type: ignore[arg-type]
        for one in row["r"].values():
            assert one["value"] in text
            assert one["ci"] in text
    for words in ("mM⁻¹ s⁻¹", "4.61 ± 0.21", "77.8 ± 2.1", "0.0012 **", "pH 7 → pH 5", "5.91"):
        assert words in text
    assert "SPIO pH 5: r1 is the 3rd of 12; r2 is the 3rd of 12" in text


def test_same_result_same_bytes(written: bytes, figure: bytes) -> None:
    again = pdf_page(of_table(stated.full()), {"relaxivity": figure}, stated.ranking())
    assert again == written
    other = pdf_page(of_table(stated.full(), "Other"), {"relaxivity": figure}, stated.ranking())
    assert other != written


def test_names_are_text(figure: bytes) -> None:
    """Markup, entities, formats, long names, controls, letters that no font has: all of it text."""
    result = of_table(stated.full(HOSTILE), "<b>a & b</b> &amp; </para> %s {0} $x$ \x07")
    content = pdf_page(
        result, {"relaxivity": figure}, stated.ranking(HOSTILE, "<font size=99>&lt; \x00 名前")
    )
    text = text_of(content)
    assert "<b>a & b</b> &amp; </para> %s {0} $x$" in text
    assert text.replace(" ", "").count("<script>alert(1)</script>") >= 5
    assert '"><img src=x> &' in text
    assert "<font size=99>&lt;" in text
    assert "…" in text  # two hundred letters are cut in a table
    assert b"/JavaScript" not in content
    assert len(read(content).pages) <= 2


def test_twelve_agents_flow_onto_a_second_page() -> None:
    many = {
        (f"{'Agent with a long name ' * 3}{i}", ""): (2.0 + i, 20.0 + 40 * i) for i in range(12)
    }
    table = stated.plain(truth=many)
    drawn = as_png(relaxivity_lines(relaxivity(stated.tubes(truth=many))))
    content = pdf_page(of_table(table), {"relaxivity": drawn})
    assert len(read(content).pages) == 2
    text = text_of(content)
    for row in agent_rows(table):  # type: ignore[arg-type]
        assert row["r"]["r2"]["value"] in text


def test_the_figure_of_many_lines_is_as_wide_as_the_page() -> None:
    many = {(f"Agent {i}", ""): (2.0 + i, 20.0 + 40 * i) for i in range(13)}
    drawn = as_png(relaxivity_lines(relaxivity(stated.tubes(truth=many))), dpi=60)
    first = read(pdf_page(of_table(stated.plain(truth=many)), {"relaxivity": drawn})).pages[0]
    content = first.get_contents()
    assert content is not None
    moved = [operands for operands, operator in content.operations if operator == b"cm"]
    widths = [float(operands[0]) for operands in moved if float(operands[0]) > 1]
    assert max(widths) == pytest.approx(595.28 - 2 * 16 * 72 / 25.4, abs=0.5)


def test_more_than_a_page_has_room_for_is_counted() -> None:
    result = of_table(stated.full(pairs=30))
    text = text_of(pdf_page(result, {}))
    assert "30 pairs were compared; all are in index.html" in text
    assert "letters" in text
    warned = replace(result, warnings=tuple(f"tube {i} is odd" for i in range(30)))
    assert "and 22 more, in index.html" in text_of(pdf_page(warned, {}))


@pytest.mark.parametrize("what", ["study", "contrast", "no agents"])
def test_every_report_has_one(what: str, tmp_path: Path) -> None:
    more: dict[str, Any] = {"warnings": ("tube 2: T2 is odd",), "failures": ("tube 3: no T1",)}
    if what == "contrast":
        more["quantities"] = ()
    result = handmade.study(**more, contrast=what != "no agents")
    if what == "no agents":
        result = replace(result, relaxivity=None)
    report(result, tmp_path / "out")
    content = (tmp_path / "out" / "report.pdf").read_bytes()
    text = text_of(content)
    assert "Two agents" in text
    assert text.index("tube 3: no T1") < text.index("tube 2: T2 is odd")
    assert ("SNR target" in text) == (what != "no agents")
    assert ("Tubes" in text.split()) == (what == "no agents")
    assert str(tmp_path).encode() not in content
    assert b"/usr" not in content
    assert len(read(content).pages) <= 2
