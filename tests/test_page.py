"""The page: its sections where there is something to show, and everything escaped."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace

import pandas as pd
import pytest

from relaxometry.contraststudy import ContrastStudy
from relaxometry.page import page
from relaxometry.settings import StudyFacts
from relaxometry.study import InputFile, StudyResult

from . import stated

SECTIONS = ("Replicates", "Before and after the stimulus", "Comparisons")
SVG = b'<svg viewBox="0 0 720 310" xmlns="http://www.w3.org/2000/svg"></svg>'
HOSTILE = {"SPIO": "<script>alert(1)</script>", "Gd": '"><img src=x> & ' + "N" * 200}


def of_table(table: SimpleNamespace, title: str = "Smart agents") -> StudyResult:
    """The result of a table alone."""
    facts = StudyFacts(title, 3.0, 37.0, "water", "Fe")
    inputs = (InputFile("table.csv", "a" * 64),)
    return StudyResult(facts, {}, {}, {}, pd.DataFrame(), table, ContrastStudy(), inputs, (), ())  # type: ignore[arg-type]


def test_facts_that_rows_say_are_in_the_header() -> None:
    table = stated.plain()
    nan = float("nan")
    stated_by_row = {"field_T": [7.0, 3.0, 7.0], "temperature_C": [37.0, nan, nan]}
    table.table = table.table.assign(**stated_by_row, medium="water")
    result = replace(of_table(table), facts=StudyFacts("", None, None, "", "Fe"))
    text = Read(page(result, {})).text
    assert "3 T and 7 T" in text
    assert "37 °C and elsewhere not stated" in text
    assert "field not stated" not in text
    assert "medium not stated" not in text


class Read(HTMLParser):
    """Headings, cells of tables, text and tags of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.headings: list[str] = []
        self.rows: list[list[str]] = []
        self.words: list[str] = []
        self.feed(text)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.words.append(data)
        if {"h2", "h3"} & set(self.open):
            self.headings.append(data)
        if {"td", "th"} & set(self.open) and self.rows:
            self.rows[-1][-1] = f"{self.rows[-1][-1]} {data.strip()}".strip()


@pytest.fixture(scope="module")
def shown() -> Read:
    figures = dict.fromkeys(("relaxivity", "r1_bars", "r2_bars", "relaxivity_map"), SVG)
    return Read(page(of_table(stated.full()), figures, stated.ranking()))


def test_a_page_has_its_sections_in_order(shown: Read) -> None:
    # Of replicates their mean and SD are the answer, and come before the lines through them all.
    later = [name for name in SECTIONS if name != "Replicates"]
    order = ["Replicates", "Lines through all replicates", "Among published agents", *later]
    order += ["Methods", "Each line in full"]
    places = [shown.headings.index(heading) for heading in order]
    assert places == sorted(places)
    assert shown.tags.count("img") == 4
    assert "SPIO pH 5: r1 is the 3rd of 12; r2 is the 3rd of 12" in shown.text


def test_what_is_not_there_has_no_section() -> None:
    read = Read(page(of_table(stated.plain()), {"relaxivity": SVG}))
    assert not set(SECTIONS) & set(read.headings)
    assert "Among published agents" not in read.headings
    assert "letter" not in read.text
    assert read.headings[:2] == ["Relaxivity", "Methods"]  # the answer, and how
    assert "None" not in read.text
    assert not re.search(r"\bnan\b", read.text)


def test_tables_have_the_numbers(shown: Read) -> None:
    replicates = next(row for row in shown.rows if "4.61 ± 0.21" in row)
    assert replicates[:2] == ["SPIO pH 5", "3"]
    assert "4.71 ± 0.10 4.40 to 4.82" in replicates
    assert replicates[-1] == "17.9 ± 1.1"
    pair = next(row for row in shown.rows if "SPIO pH 5 − Gd" in row)
    assert pair == [
        *("r2", "SPIO pH 5 − Gd", "77.8 ± 2.1 72.4 to 83.2", "Welch's t", "0.0012", "**")
    ]
    switch = next(row for row in shown.rows if "pH 7 → pH 5" in row)
    assert switch[2:5] == ["3.54 3.19 to 3.89", "5.91 5.32 to 6.50", "1.67 1.503 to 1.837"]
    assert switch[5:] == ["T2 agent → T2 agent", "T2 agent before and after, stronger"]


def test_the_answer_has_letters_and_the_reason_of_the_method(shown: Read) -> None:
    agents = [row for row in shown.rows if "agent" in " ".join(row[4:5])]
    assert [row[0] for row in agents] == ["SPIO pH 7", "SPIO pH 5", "Gd"]
    assert "Method" not in [cell for row in shown.rows for cell in row]  # one for all: below
    assert [re.sub(r"[^abc]", "", row[2].replace("to", "")) for row in agents] == ["a", "b", "c"]
    assert "Agents that share no letter differ (P < 0.05 after Holm)" in shown.text
    assert "weighted: every rate has an error" in shown.text


def test_lines_are_told_as_by_their_own_report(shown: Read) -> None:
    table = stated.full()
    for (agent, condition), lines in table.lines.items():
        for symbol, line in lines.items():
            assert f"{symbol} of {agent} {condition}".rstrip() in shown.headings
            assert " ".join(line.report().split()) in shown.text


def test_what_a_warning_says_is_not_noted_again() -> None:
    table = stated.plain()
    table.table.loc[0, "flags"] = "r1: a bend; r2: another"
    result = of_table(table)
    first = Read(page(result, {})).text
    assert "SPIO pH 7, r1: a bend" in first
    warned = Read(page(replace(result, warnings=("SPIO pH 7: r1: a bend",)), {})).text
    assert "SPIO pH 7, r1: a bend" not in warned
    assert "SPIO pH 7: r1: a bend" in warned
    assert "SPIO pH 7, r2: another" in warned


def test_many_pairs_are_folded() -> None:
    assert "All 13 pairs" in page(of_table(stated.full(pairs=13)), {})
    assert "All 12 pairs" not in page(of_table(stated.full(pairs=12)), {})


def test_names_are_text_in_every_section() -> None:
    result = of_table(stated.full(HOSTILE), "<b>title</b>")
    text = page(result, {}, stated.ranking(HOSTILE, "<i>&amp;"))
    read = Read(text)
    assert not {"script", "img", "b", "i"} & set(read.tags)
    for name in HOSTILE.values():
        assert read.text.count(name) >= 6  # answer, tables, methods, lines, ranking
    assert read.text.startswith("<b>title</b>")
    assert "r2 <i>&amp;" in read.text
