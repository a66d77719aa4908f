"""Reports: the numbers of the study in every file, nothing else, nothing half-written."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from relaxometry import reports
from relaxometry.errors import InputError
from relaxometry.reports import report
from relaxometry.settings import StudyFacts
from relaxometry.study import StudyResult

from . import handmade


@pytest.fixture(scope="module")
def result() -> StudyResult:
    return handmade.study(warnings=("tube 2: T2 is odd",), failures=("tube 3: no T1",))


@pytest.fixture(scope="module")
def written(result: StudyResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reports") / "out"
    assert report(result, folder) == folder / "index.html"
    return folder


def strict(path: Path) -> dict:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} in strict JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


class Page(HTMLParser):
    """The text of a page outside of style, its tags, and all attributes."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] != ["style"]:
            self.words.append(data)


def test_writes_all_of_it_and_nothing_else(written: Path) -> None:
    names = {p.relative_to(written).as_posix() for p in written.rglob("*") if p.is_file()}
    figures = ("relaxivity", "tubes", "T1_map", "T2_map", "T1_curves", "T2_curves", "contrast")
    figures += ("r1_bars", "r2_bars", "relaxivity_map")
    expected = {"index.html", "report.pdf", "results.json", "points.csv", "comparisons.csv"}
    expected |= {"ranking.csv"}
    expected |= {"tubes.csv", "relaxivity.csv", "contrast.csv", "contrast_slices.csv"}
    expected |= {f"figures/{name}.{kind}" for name in figures for kind in ("svg", "png")}
    papers = ("relaxivity", "r1_bars", "r2_bars", "relaxivity_map", "contrast")
    expected |= {f"figures/{name}.pdf" for name in papers}
    assert {n for n in names if not n.startswith("derivatives/")} == expected
    assert "derivatives/relaxometry/dataset_description.json" in names
    assert [p.name for p in written.parent.iterdir()] == ["out"]


def test_json_has_the_keys_of_the_design(written: Path) -> None:
    found = strict(written / "results.json")
    assert found["schema_version"] == 1
    assert found["software"]["name"] == "relaxometry"
    assert found["inputs"][0] == {"path": "study.toml", "sha256": "0" * 64}
    assert found["study"] == {
        "title": "Two agents",
        "field_T": 7.0,
        "temperature_C": 22.0,
        "medium": "1 % agarose",
        "concentration_of": "Fe",
        "flags": [],
    }
    assert found["warnings"] == ["tube 2: T2 is odd"]
    assert found["failures"] == ["tube 3: no T1"]
    T1, T2 = found["series"]
    assert (T1["quantity"], T1["kind"], T1["model"], T1["polarity"]) == (
        *("T1", "IRT1", "t1_ir"),
        "magnitude",
    )
    assert (T2["quantity"], T2["kind"], T2["model"], T2["polarity"]) == ("T2", "MESE", "t2", None)
    assert T2["TE_s"] == pytest.approx([0.01 * i for i in range(1, 17)])
    assert T2["TR_s"] == [3.0] * 16
    assert T2["TI_s"] is None
    assert "TI_s: not stated" in T2["flags"]
    assert T2["shape"] == [64, 64, 1]
    assert T2["source"] == "DICOM"
    assert {"tube", "agent", "condition", "replicate", "concentration_mM"} <= found["tubes"][
        0
    ].keys()
    for symbol in ("r1", "r2"):
        assert {f"{symbol}_ci95_per_mM_per_s", f"{symbol.upper()}_0_stderr_per_s"} <= found[
            "relaxivity"
        ][0].keys()
    assert found["contrast"][0]["name"] == "liver, axial"
    assert found["contrast"][0]["n_slices"] == 3


def test_json_has_the_numbers_of_the_study(written: Path, result: StudyResult) -> None:
    found = strict(written / "results.json")
    assert len(found["tubes"]) == 7
    for tube, fit, number in zip(found["tubes"], result.curves["T2"], range(1, 8), strict=True):
        assert tube["tube"] == number
        assert tube["T2_s"] == fit["T2"].value
        assert tube["T2_stderr_s"] == fit["T2"].stderr
        assert tube["R2_per_s"] == pytest.approx(1 / tube["T2_s"], rel=1e-12)
        voxels = result.maps["T2"]["T2"].value[result.tubes["T2"].voxels(number)]
        assert tube["T2_median_s"] == pytest.approx(np.median(voxels))
        assert tube["T2_sd_s"] == pytest.approx(np.std(voxels, ddof=1))
        assert tube["n_voxels"] == voxels.size
        assert tube["flags"] == []
    for row, agent in zip(found["relaxivity"], handmade.AGENTS, strict=True):
        line = result.relaxivity.lines[agent.name, ""]["r2"]
        assert row["agent"] == agent.name
        assert row["r2_per_mM_per_s"] == line.r.value
        assert row["r2_ci95_per_mM_per_s"] == list(line.ci95)
        # The truth lies within the interval of this seed.
        assert row["r1_ci95_per_mM_per_s"][0] < agent.r1 < row["r1_ci95_per_mM_per_s"][1]
        assert row["r2_r1"] == pytest.approx(agent.r2 / agent.r1, rel=0.05)
        assert row["r2_r1_ci95"][0] < row["r2_r1"] < row["r2_r1_ci95"][1]
    assert found["contrast"][0]["dCNR"] == result.contrasts[0].mean("dCNR")


def test_csv_says_the_same_as_json(written: Path) -> None:
    found = strict(written / "results.json")
    for table in ("tubes", "relaxivity", "points", "comparisons", "contrast"):
        with (written / f"{table}.csv").open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        for row, record in zip(rows, found[table], strict=True):
            flat = {}
            for key, value in record.items():
                if key in ("formulas", "slices"):  # what a table has no room for
                    continue
                if "_ci95" in key:
                    low, high = value
                    flat[key.replace("_ci95", "_ci95_low")] = low
                    flat[key.replace("_ci95", "_ci95_high")] = high
                else:
                    flat[key] = value
            assert list(row) == list(flat)
            for key, value in flat.items():
                if isinstance(value, float):
                    assert float(row[key]) == value
                elif isinstance(value, bool):
                    assert row[key] == str(value).lower()
                else:
                    told = "; ".join(value) if isinstance(value, list) else value
                    assert row[key] == ("" if told is None else str(told))


def test_maps_are_bids_derivatives(written: Path, result: StudyResult) -> None:
    anat = written / "derivatives" / "relaxometry" / "sub-01" / "anat"
    stored = np.asarray(nib.load(anat / "sub-01_T2map.nii.gz").dataobj)
    np.testing.assert_allclose(stored, result.maps["T2"]["T2"].value, rtol=1e-6)
    labels = np.asarray(nib.load(anat / "sub-01_desc-tubes_dseg.nii.gz").dataobj)
    assert (labels == result.tubes["T2"].labels).all()


def test_page_gives_the_answer_first(written: Path, result: StudyResult) -> None:
    text = Page(written / "index.html").text
    line = result.relaxivity.lines["B", ""]["r2"]
    answer = str(line.r).removesuffix(" mM⁻¹ s⁻¹")
    order = ["Two agents", "7 T", "22 °C", "1 % agarose", "Relaxivity", answer, "tube 3: no T1"]
    order += ["tube 2: T2 is odd", "Tubes and maps", "Acquisition", "Bruker", "Tube table"]
    order += ["Contrast", "Methods", "Golub", "Provenance", "f" * 64]
    places = [text.index(word) for word in order]
    assert places == sorted(places)
    T2 = result.curves["T2"][0]["T2"]
    assert f"{1e3 * T2.value:.1f}"[:3] in text
    assert "not stated" not in text[: text.index("Relaxivity")]


def test_page_is_self_contained(written: Path) -> None:
    page = Page(written / "index.html")
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert ("content", policy) in page.attributes
    assert not {"script", "link", "iframe", "object", "embed", "form"} & set(page.tags)
    for name, value in page.attributes:
        assert not name.startswith("on")
        assert name != "href"
        if name == "src":
            assert value.startswith("data:image/")
        assert "http:" not in (value or "")
        assert "https:" not in (value or "")
    assert "url(" not in (written / "index.html").read_text(encoding="utf-8")


def test_no_path_of_a_machine_is_told(written: Path) -> None:
    for path in written.rglob("*"):
        if path.is_file() and path.suffix in (".html", ".json", ".csv", ".svg"):
            content = path.read_text(encoding="utf-8")
            assert "/home/" not in content
            assert str(written.parent) not in content


def test_names_are_text_wherever_they_stand(tmp_path: Path) -> None:
    script, formula = "<script>alert(1)</script>", "=cmd()"
    facts = replace(handmade.FACTS, title=script, medium='"><img src=x>')
    made = handmade.study(facts, names={"A": script, "B": formula}, warnings=(script,))
    report(made, tmp_path / "out")
    page = Page(tmp_path / "out" / "index.html")
    assert "script" not in page.tags
    assert ("src", "x") not in page.attributes
    assert page.text.count(script) >= 4  # title, heading, table, warning
    for svg in (tmp_path / "out" / "figures").glob("*.svg"):
        assert "<script" not in svg.read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out" / "relaxivity.csv").read_text())))
    assert [row["agent"] for row in rows] == [script, "'" + formula]
    found = strict(tmp_path / "out" / "results.json")
    assert [row["agent"] for row in found["relaxivity"]] == [script, formula]


def test_what_is_not_known_is_null_with_a_reason(tmp_path: Path) -> None:
    sheet = handmade.sheet_of()
    sheet["exclude"] = sheet["tube"] == 3
    sheet["reason"] = np.where(sheet["exclude"], "air bubble", "")
    made = handmade.study(StudyFacts(), ("T2",), sheet, contrast=False)
    table = made.tube_table.copy()
    unknown = ["T2_s", "T2_stderr_s", "R2_per_s", "R2_stderr_per_s", "T2_sd_s", "T2_median_s"]
    table.loc[0, unknown] = np.nan
    table.loc[0, "flags"] = "T2_at_bound"
    table.loc[1, "T2_sd_s"] = np.nan
    report(replace(made, tube_table=table), tmp_path / "out")
    found = strict(tmp_path / "out" / "results.json")
    assert found["study"]["field_T"] is None
    assert "field_T: not stated" in found["study"]["flags"]
    first, second, third = found["tubes"][:3]
    assert [first[key] for key in unknown] == [None] * 6
    assert set(first["flags"]) == {"T2_at_bound", "T1: not measured"}
    assert "T2_sd_s: not determined" in second["flags"]
    assert third["exclude"] is True
    assert third["reason"] == "air bubble"
    row = found["relaxivity"][0]
    assert row["r1_per_mM_per_s"] is row["r1_ci95_per_mM_per_s"] is row["r2_r1"] is None
    assert "r1: T1 was not measured" in row["flags"]
    assert "r2_r1: needs both r1 and r2" in row["flags"]
    text = Page(tmp_path / "out" / "index.html").text
    assert "field not stated · temperature" not in text  # the dots are style
    assert "field not stated" in text
    assert "left out: air bubble" in text
    assert "T2 ended at the bound of the search" in text
    assert "r2/r1" not in text
    assert not (tmp_path / "out" / "contrast.csv").exists()
    assert not (tmp_path / "out" / "figures" / "contrast.svg").exists()


def test_contrast_alone(tmp_path: Path) -> None:
    page = Page(report(handmade.study(quantities=()), tmp_path / "out"))
    names = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.*")}
    assert names == {
        "index.html",
        "report.pdf",
        "results.json",
        "contrast.csv",
        "contrast_slices.csv",
        "figures/contrast.svg",
        "figures/contrast.pdf",
        "figures/contrast.png",
    }
    assert "Tube table" not in page.text
    assert "Acquisition" not in page.text
    found = strict(tmp_path / "out" / "results.json")
    assert found["series"] == found["tubes"] == found["relaxivity"] == []


def test_same_result_same_bytes(result: StudyResult, written: Path, tmp_path: Path) -> None:
    report(result, tmp_path / "deep" / "again")
    first = {p.relative_to(written): p.read_bytes() for p in written.rglob("*") if p.is_file()}
    again = tmp_path / "deep" / "again"
    second = {p.relative_to(again): p.read_bytes() for p in again.rglob("*") if p.is_file()}
    assert first == second


def test_an_error_leaves_nothing(
    result: StudyResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(reports, "write_maps", fail)
    with pytest.raises(OSError, match="disk full"):
        report(result, tmp_path / "deep" / "out")
    assert list(tmp_path.iterdir()) == []


def test_an_error_leaves_the_earlier_report(
    result: StudyResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = handmade.study(quantities=())
    report(made, tmp_path / "out")
    before = (tmp_path / "out" / "index.html").read_bytes()

    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(reports, "write_maps", fail)
    with pytest.raises(OSError, match="disk full"):
        report(result, tmp_path / "out", force=True)
    assert (tmp_path / "out" / "index.html").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_force_replaces_reports_and_nothing_else(tmp_path: Path) -> None:
    made = handmade.study(quantities=())
    out = tmp_path / "out"
    report(made, out)
    with pytest.raises(InputError, match="--force"):
        report(made, out)
    (out / "left over.txt").write_text("of the earlier report")
    report(replace(made, facts=StudyFacts("Newer")), out, force=True)
    assert strict(out / "results.json")["study"]["title"] == "Newer"
    assert not (out / "left over.txt").exists()

    thesis = tmp_path / "thesis"
    thesis.mkdir()
    report(made, thesis, force=True)  # it was empty
    other = tmp_path / "other"
    other.mkdir()
    (other / "chapter.txt").write_text("mine")
    with pytest.raises(InputError, match="something else"):
        report(made, other, force=True)
    with pytest.raises(InputError, match="is a file"):
        report(made, other / "chapter.txt", force=True)
    assert (other / "chapter.txt").read_text() == "mine"


def test_printed_intervals_are_those_of_the_study(written: Path) -> None:
    text = Page(written / "index.html").text
    first = strict(written / "results.json")["relaxivity"][0]
    told = re.findall(r"(\d+\.\d+) to (\d+\.\d+)", text[text.index("Relaxivity") :])[:3]
    keys = ("r1_ci95_per_mM_per_s", "r2_ci95_per_mM_per_s", "r2_r1_ci95")
    for (low, high), key in zip(told, keys, strict=True):
        rounding = 0.5 * 10.0 ** -len(low.partition(".")[2])
        assert [float(low), float(high)] == pytest.approx(first[key], abs=1.01 * rounding)
