"""Reference values by batch, field and temperature, and how far measured times are from them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import relaxometry as rx
from relaxometry.agreement import bland_altman
from relaxometry.cli import run
from relaxometry.plots import as_png

TABLE = Path(rx.__file__).parent / "values" / "system-phantom.csv"


def shipped() -> pd.DataFrame:
    return pd.read_csv(TABLE, dtype={"batch": str})


# --- the table -----------------------------------------------------------------------------------


def test_values_as_published():
    """Stupic et al., MRM 86:1194 (2021), supporting tables, batch 1 at 20 °C."""
    nickel = rx.reference.system_phantom("NiCl2").set_index("tube")
    assert nickel.loc[1, ["T1_s", "T2_s"]].tolist() == pytest.approx([2.033, 1.669])
    assert nickel.loc[14, ["T1_s", "T2_s"]].tolist() == pytest.approx([0.022859, 0.0202])
    assert nickel.loc[3, "concentration_mM"] == 1.053  # by ICP; nominal 1.072
    assert nickel.loc[3, "T1_uncertainty_s"] == pytest.approx(0.0002)
    assert "Stupic" in nickel.loc[1, "source"]
    assert rx.reference.system_phantom("NiCl2", 1, 3).loc[0, "T1_s"] == pytest.approx(1.989)


def test_manganese_relaxes_faster_at_3_T():
    """One published copy of the table has the fields of the MnCl2 plate exchanged."""
    low, high = (rx.reference.system_phantom("MnCl2", 1, field) for field in (1.5, 3))
    assert low.loc[0, "T2_s"] == pytest.approx(0.9394)
    assert high.loc[0, "T2_s"] == pytest.approx(0.5813)
    assert (high["T2_s"] < low["T2_s"]).all()


@pytest.mark.parametrize(
    ("array", "quantity", "field", "relaxivity"),
    [
        ("NiCl2", "T1", 1.5, 0.630),
        ("NiCl2", "T1", 3, 0.662),
        ("MnCl2", "T2", 1.5, 83.0),
        ("MnCl2", "T2", 3, 116.9),
    ],
)
def test_certified_relaxivities_follow_from_the_table(array, quantity, field, relaxivity):
    table = rx.reference.system_phantom(array, 1, field)
    rate = 1 / table[f"{quantity}_s"]
    fit = rx.relaxivity_fit(table["concentration_mM"], rate, method="ordinary")
    assert fit.r.value == pytest.approx(relaxivity, abs=0.6 * 10 ** (-3 if relaxivity < 1 else -1))


def test_every_row_has_its_source_and_the_times_fall_with_the_number():
    table = shipped()
    assert table["source"].notna().all()
    columns = ["batch", "array", "field_T", "temp_C"]
    assert not table.duplicated([*columns, "sphere"]).any()
    for _, rows in table.groupby(columns):
        assert rows["sphere"].tolist() == list(range(1, 15))
        assert (rows["T1_ms"].diff()[1:] < 0).all()
        assert (rows["T2_ms"].diff()[1:] < 0).all()
        assert (rows["T2_ms"] < rows["T1_ms"]).all()


def test_times_change_smoothly_with_temperature():
    """A slip of a digit would stand out against a parabola through the six temperatures."""
    for _, rows in (
        shipped().query("batch != '1' and field_T == 3").groupby(["batch", "array", "sphere"])
    ):
        assert rows["temp_C"].tolist() == [16, 18, 20, 22, 24, 26]
        for time in ("T1_ms", "T2_ms"):
            curve = np.polyfit(rows["temp_C"] - 21, rows[time], 2)
            off = rows[time] / np.polyval(curve, rows["temp_C"] - 21) - 1
            assert off.abs().max() < 0.02


@pytest.mark.real_data
def test_the_same_numbers_as_another_copy(real_data):
    ours = shipped().set_index(["batch", "array", "sphere", "field_T", "temp_C"])
    with (real_data / "system_phantom" / "reference.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 126
    for row in rows:
        key = (row["batch"], row["array"], int(row["sphere"]), float(row["field_T"]), 20)
        for time in ("T1_ms", "T2_ms"):
            assert ours.loc[key, time] == float(row[time])


def test_between_two_temperatures():
    at = {T: rx.reference.system_phantom("MnCl2", 2.5, 3, T) for T in (20, 20.5, 22)}
    assert at[20].loc[13, "T2_s"] == pytest.approx(5.10e-3)
    assert at[22].loc[13, "T2_s"] == pytest.approx(5.28e-3)
    assert at[20.5].loc[13, "T2_s"] == pytest.approx(5.145e-3)
    assert at[20.5].loc[0, "T1_s"] == pytest.approx(0.75 * 2.47819 + 0.25 * 2.62359)
    assert "interpolated between 20 and 22 °C" in at[20.5].loc[0, "source"]


def test_what_is_not_in_the_table_is_not_made_up():
    look = rx.reference.system_phantom
    with pytest.raises(rx.InputError, match="21 °C; expected 20 °C, the only temperature"):
        look("NiCl2", 1, 1.5, 21)
    with pytest.raises(rx.InputError, match=r"27 °C; expected 16 to 26 °C.*not extrapolated"):
        look("NiCl2", 2, 3, 27)
    with pytest.raises(rx.InputError, match=r"7 T; expected a field.*: 1.5, 3 T"):
        look("NiCl2", 1, 7)
    with pytest.raises(rx.InputError, match=r"batch: '2.5'; expected 1 or 2"):
        look("NiCl2", 2.5)
    with pytest.raises(rx.InputError, match="array: 'CuSO4'; expected NiCl2 or MnCl2"):
        look("CuSO4")
    # A scanner of 2.89 T is sold as one of 3 T.
    assert look("NiCl2", 2, 2.89)["T1_s"].equals(look("NiCl2", "2", 3)["T1_s"])


def test_contradictions_between_published_tables_are_marked():
    manganese = rx.reference.system_phantom("MnCl2", 1).set_index("tube")
    assert "contradicts its ICP value" in manganese.loc[13, "concentration_remark"]
    assert "off the line" in manganese.loc[11, "remark"]
    second = rx.reference.system_phantom("MnCl2", 2, 3).set_index("tube")
    assert "contradicts the concentration" in second.loc[1, "remark"]
    assert second.loc[2, "remark"] == ""
    assert "not measured" in rx.reference.system_phantom("NiCl2", 2).loc[0, "remark"]


OWN = """tube,field_T,temp_C,T1_ms,T2_s,source
1,7,20,1000,0.100,bench
1,7,25,1200,0.110,bench
2,7,20,500,0.050,bench
2,7,25,550,0.060,bench NMR
1,1.5,20,900,0.120,bench
2,1.5,20,400,0.070,bench
"""


def own(tmp_path: Path, text: str = OWN) -> Path:
    path = tmp_path / "own.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_table_of_ones_own(tmp_path):
    table = rx.reference.read_reference(own(tmp_path), 7.05, 22.0)
    assert table["tube"].tolist() == [1, 2]
    assert table["T1_s"].tolist() == pytest.approx([1.08, 0.52])
    assert table["T2_s"].tolist() == pytest.approx([0.104, 0.054])
    assert table.loc[1, "source"] == "bench; bench NMR (interpolated between 20 and 25 °C)"
    plain = own(tmp_path, "sphere,T2_ms\n4,80\n9,20\n")
    assert rx.reference.read_reference(plain)["T2_s"].tolist() == pytest.approx([0.08, 0.02])


@pytest.mark.parametrize(
    ("text", "field", "temperature", "complaint"),
    [
        (OWN, 7, 26, "26 °C; expected 20 to 25 °C, where tube 1 has"),
        (OWN, 1.5, 25, "25 °C; expected 20 °C, the only"),
        (OWN, 3, 20, "3 T; expected a field of the reference table: 1.5, 7 T"),
        (OWN, None, 20, "no field; expected that of the scanner"),
        (OWN, 7, None, "no temperature; expected that of the phantom"),
        ("T1_ms\n3\n", None, None, "no column tube"),
        ("tube,T1_ms\n", None, None, "no row"),
        ("tube,note\n1,short\n", None, None, "no T1 or T2"),
        ("tube,T1_ms\n1,long\n", None, None, "T1_ms of tube 1: 'long'; expected a number"),
        ("tube,T1_ms\n1,inf\n", None, None, "T1_ms of tube 1: 'inf'"),
        ("tube,T1_ms\n1,-3\n", None, None, "T1: 0 or less"),
        ("tube,T1_ms\n1.5,3\n", None, None, "tube: not a whole number"),
        ("tube,T1_ms\nA,3\n", None, None, "tube of tube A: 'A'"),
        ("tube,T1_ms\n1,3\n1,4\n", None, None, "two rows of tube 1"),
        ("tube,T1_ms,T1_s\n1,3,0.003\n", None, None, "T1: twice, in s and in ms"),
        ("tube,T1_ms,temp_c\n1,3,20\n", None, None, "temp_c: no such column; temp_C is meant"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(tmp_path, text, field, temperature, complaint):
    path = own(tmp_path, text)
    with pytest.raises(rx.InputError, match=complaint) as caught:
        rx.reference.read_reference(path, field, temperature)
    assert caught.value.path == str(path)


# --- bias and limits of agreement ----------------------------------------------------------------

KNOWN = pd.DataFrame(
    {"tube": [1, 2, 3, 4, 5], "T1_s": [1.0, 0.5, 0.2, 0.1, 0.05], "T1_uncertainty_s": 0.001}
)


def measured(**changed) -> pd.DataFrame:
    table = {
        "tube": [1, 2, 3, 4, 5],
        "T1_s": [1.1, 0.5, 0.21, 0.1, 0.06],
        "T1_stderr_s": [0.1, 0.001, 0.001, 0.001, 0.001],
        "exclude": [False, False, False, False, True],
        "reason": ["", "", "", "", "a bubble"],
    }
    return pd.DataFrame(table | changed)


def test_bias_and_limits_by_hand():
    found = rx.compare_with_reference(measured(), KNOWN)
    table = found.table.set_index("tube")
    assert table["bias_percent"].tolist() == pytest.approx([10, 0, 5, 0, 20])
    # 200·0.1/2.1 and 200·0.01/0.41
    percent = [9.52381, 0, 4.87805, 0]
    assert table["difference_percent"].tolist()[:4] == pytest.approx(percent, abs=1e-5)
    assert table.loc[1, "difference_s"] == pytest.approx(0.1)
    assert table["in_ci95"].tolist() == [True, True, False, True, False]
    assert table["included"].tolist() == [True, True, True, True, False]
    assert table.loc[5, "reason"] == "a bubble"
    (row,) = found.summary.to_dict("records")
    mean, sd = 3.600465, 4.569644
    assert (row["quantity"], row["n"]) == ("T1", 4)
    assert row["mean_percent"] == pytest.approx(mean, abs=1e-5)
    assert row["sd_percent"] == pytest.approx(sd, abs=1e-5)
    assert row["upper_percent"] == pytest.approx(mean + 1.96 * sd, abs=1e-5)
    # Student's t of 3 degrees of freedom is 3.182446; √(1/4 + 1.96²/6) = 0.943540.
    assert row["mean_ci95_low_percent"] == pytest.approx(mean - 3.182446 * sd / 2, abs=1e-4)
    half = 3.182446 * 0.943540 * sd
    assert row["lower_ci95_high_percent"] == pytest.approx(mean - 1.96 * sd + half, abs=1e-4)
    assert repr(found) == "ReferenceComparison: T1 +3.6 % (−5.4 … +12.6 %, n = 4)"


def test_what_was_not_determined_or_is_flagged_is_left_out():
    table = measured(
        T1_s=[1.1, np.nan, 0.21, 0.1, 0.06], flags=["T1_at_bound", "", "T2_at_bound", "", ""]
    )
    known = KNOWN.assign(T1_s=[1.0, 0.5, 0.2, np.nan, 0.05])
    found = rx.compare_with_reference(table, known)
    reasons = dict(zip(found.table["tube"], found.table["reason"], strict=True))
    assert reasons == {
        1: "T1_at_bound",
        2: "T1 not determined",
        3: "",
        4: "no reference value",
        5: "a bubble",
    }
    # One difference has no SD: nothing is said of it, and nothing is 0.
    assert found.summary.loc[0, "n"] == 1
    assert found.summary.drop(columns=["quantity", "n"]).isna().all(axis=None)
    assert repr(found) == "ReferenceComparison: T1 n = 1"
    assert rx.compare_with_reference(table, known, keep_flagged=True).summary.loc[0, "n"] == 2


def test_only_quantities_that_both_know_are_compared():
    table = measured(T2_s=[0.1] * 5)
    assert set(rx.compare_with_reference(table, KNOWN).table["quantity"]) == {"T1"}
    known = KNOWN.assign(T2_s=np.nan)
    assert set(rx.compare_with_reference(table, known).table["quantity"]) == {"T1"}
    with pytest.raises(rx.InputError, match="no value to compare"):
        rx.compare_with_reference(table, known.assign(T1_s=np.nan))
    with pytest.raises(rx.InputError, match="no tube has both"):
        rx.compare_with_reference(table, KNOWN.assign(tube=[6, 7, 8, 9, 10]))
    with pytest.raises(rx.InputError, match="reference: no column tube"):
        rx.compare_with_reference(table, KNOWN.drop(columns="tube"))


def test_caveats_are_said_in_words():
    known = rx.reference.system_phantom("MnCl2", 1)
    tubes = pd.DataFrame({"tube": [6, 11, 13, 15], "T2_s": [0.15, 0.022, 0.012, 0.1]})
    found = rx.compare_with_reference(tubes, known)
    assert "no test of the scanner" in found.caveats[0]
    assert found.caveats[1] == "tube 15: no reference value"
    assert found.caveats[2].startswith("reference of tube 6, 11: 7 to 11 % off the line")
    assert found.table["tube"].tolist() == [6, 11, 13]
    nickel = rx.compare_with_reference(tubes[:3], rx.reference.system_phantom("NiCl2", 1))
    assert not any("no test of the scanner" in caveat for caveat in nickel.caveats)


def of_plate(array: str, batch: float = 1, field: float = 1.5, **factors: float) -> pd.DataFrame:
    """A tube table that reads the reference values, times so much."""
    known = rx.reference.system_phantom(array, batch, field)
    times = {f"{time}_s": known[f"{time}_s"] * factor for time, factor in factors.items()}
    return pd.DataFrame({"tube": known["tube"], **times})


def test_values_in_doubt_are_shown_and_left_out_of_the_summary():
    known = rx.reference.system_phantom("MnCl2", 2, 3)
    tubes = of_plate("MnCl2", 2, 3, T1=1.02, T2=1.04)
    tubes.loc[[0, 4], "T2_s"] = [0.6, 0.12]  # what the spheres are likely to have
    found = rx.compare_with_reference(tubes, known)
    rows = found.table.set_index(["quantity", "tube"])
    assert sorted(rows.index[~rows["included"]]) == [("T2", 1), ("T2", 5)]
    assert rows.loc[("T2", 1), "reason"].startswith(
        "reference value in doubt: T2 contradicts the concentration"
    )
    assert rows.loc[("T2", 1), "bias_percent"] == pytest.approx(100 * (0.6 / 1.928 - 1), abs=0.1)
    summary = found.summary.set_index("quantity")
    assert summary["n"].to_dict() == {"T1": 14, "T2": 12}
    assert summary.loc["T2", "mean_percent"] == pytest.approx(200 * 0.04 / 2.04)
    assert any("tube 1, 5: T2 contradicts" in caveat for caveat in found.caveats)
    (panel,) = bland_altman(rx.compare_with_reference(tubes.drop(columns="T1_s"), known)).axes
    points = [line for line in panel.lines if line.get_marker() == "o"]
    assert [line.get_markerfacecolor() for line in points].count("white") == 2
    # Between two temperatures a value is no better than those it lies between.
    warmer = rx.reference.system_phantom("MnCl2", 2, 3, 21).set_index("tube")
    assert warmer.loc[[1, 2], "doubtful"].tolist() == ["T2", ""]
    both = rx.compare_with_reference(
        of_plate("MnCl2", T1=1, T2=1), rx.reference.system_phantom("MnCl2")
    )
    assert set(both.table.loc[~both.table["included"], "tube"]) == {6, 11}
    assert both.summary["n"].tolist() == [12, 12]
    assert (rx.reference.system_phantom("MnCl2", 2)["doubtful"] == "").all()


def test_values_in_doubt_in_a_table_of_ones_own(tmp_path):
    path = own(tmp_path, "tube,T1_ms,doubtful\n1,1000,\n2,500,T1\n3,200,T2\n")
    found = rx.compare_with_reference(measured(), rx.reference.read_reference(path))
    assert found.table["included"].tolist() == [True, False, True]
    with pytest.raises(rx.InputError, match="doubtful: 'yes'; expected T1, T2 or T1 T2"):
        rx.reference.read_reference(own(tmp_path, "tube,T1_ms,doubtful\n1,3,yes\n"))


@pytest.mark.parametrize(("plate", "other"), [("MnCl2", "NiCl2"), ("NiCl2", "MnCl2")])
def test_the_other_plate_is_noticed(plate, other):
    look = rx.reference.system_phantom
    tubes = of_plate(plate, T1=0.97, T2=1.25 if plate == "MnCl2" else 0.98)
    wrong = rx.compare_with_reference(tubes, look(other), others={plate: look(plate)})
    (told,) = wrong.failures
    assert told == wrong.caveats[0]
    assert "hardly the solutions of this table" in told
    reads = "T2 +25 %" if plate == "MnCl2" else "T2 −2 %"
    assert told.endswith(f"? The values of {plate} fit better (T1 −3 %, {reads}).")
    alone = rx.compare_with_reference(tubes, look(other))
    assert alone.failures[0].endswith("batch, field or temperature?")
    right = rx.compare_with_reference(tubes, look(plate), others={other: look(other)})
    assert right.failures == ()


@pytest.mark.parametrize(
    ("factor", "far"), [(1.28, False), (1.45, False), (1 / 1.45, False), (1.8, True)]
)
def test_what_trains_of_spin_echoes_do_to_manganese_is_not_another_plate(factor, far):
    tubes = of_plate("MnCl2", T2=factor)
    found = rx.compare_with_reference(tubes, rx.reference.system_phantom("MnCl2"))
    assert bool(found.failures) == far


def test_the_plot_shows_every_tube_its_limits_and_units():
    table = measured(T2_s=[0.31, 0.2, 0.11, 0.05, 0.02])
    known = KNOWN.assign(T2_s=[0.3, 0.2, 0.1, 0.05, 0.02])
    found = rx.compare_with_reference(table, known)
    figure = bland_altman(found)
    left, right = figure.axes
    assert [left.get_title("left"), right.get_title("left")] == ["T1", "T2"]
    assert left.get_xlabel() == "mean of measured and reference T1 (ms)"
    assert left.get_xscale() == "log"
    points = [line for line in left.lines if line.get_marker() == "o"]
    assert len(points) == 5
    assert points[0].get_xdata()[0] == pytest.approx(1050)
    assert points[0].get_ydata()[0] == pytest.approx(9.52381)
    assert [line.get_markerfacecolor() for line in points].count("white") == 1
    texts = [text.get_text() for text in left.texts]
    assert {"1", "2", "3", "4", "5", "+3.6 %", "−5.4 %", "+12.6 %"} == set(texts)
    assert as_png(found.plot())[:4] == b"\x89PNG"
    few = rx.compare_with_reference(table[:2], known)
    assert as_png(bland_altman(few))[:4] == b"\x89PNG"


# --- in a study ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    return rx.write_study(tmp_path_factory.mktemp("simulated") / "study", protocol="small").parent


def study(simulated: Path, name: str, more: str, temperature: str = "temperature_C = 21.0") -> Path:
    text = (simulated / "study.toml").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("temperature_C")]
    lines.insert(lines.index("[study]") + 1, temperature)
    path = simulated / name
    path.write_text("\n".join([*lines, more]), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def usual(simulated):
    return rx.analyse(simulated / "study.toml", progress=False)


def test_a_study_against_a_table(simulated, usual, tmp_path):
    truth = usual.tube_table
    lines = ["tube,temp_C,T2_ms,source"]
    for row in truth.to_dict("records"):
        for T, factor in ((20, 1.0), (22, 1.2)):  # 1.1 at 21 °C
            lines.append(f"{row['tube']},{T},{1e3 * row['T2_s'] * factor},<b>bench</b>")
    (simulated / "known.csv").write_text("\n".join(lines), encoding="utf-8")
    path = simulated / "against.toml"
    path.write_text(
        """
        [study]
        temperature_C = 21.0
        [T2]
        path = "dicom/t2_mese"
        [tubes]
        sheet = "tubes.csv"
        [reference]
        table = "known.csv"
        """
    )
    assert run(["report", str(path), "-o", str(tmp_path / "out")]) in (0, 1)
    results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    reference = results["reference"]
    assert {row["quantity"] for row in reference["tubes"]} == {"T2"}
    for row in reference["tubes"]:
        assert row["bias_percent"] == pytest.approx(100 * (1 / 1.1 - 1), abs=1e-6)
    for row in reference["agreement"]:
        assert row["mean_percent"] == pytest.approx(200 * (1 - 1.1) / 2.1, abs=1e-6)
        assert row["mean_ci95_percent"][0] <= row["mean_percent"] <= row["mean_ci95_percent"][1]
        assert row["flags"] == []
    assert len(pd.read_csv(tmp_path / "out" / "reference.csv")) == len(reference["tubes"])
    assert (tmp_path / "out" / "figures" / "reference.svg").exists()
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "Against reference values" in page
    assert "−9.1" in page
    assert "&lt;b&gt;bench&lt;/b&gt;" in page
    assert "<b>bench" not in page
    assert "known.csv" in {file["path"] for file in results["inputs"]}


def test_without_a_reference_nothing_is_said_of_one(usual):
    assert usual.reference is None
    from relaxometry.results import document, files

    assert document(usual)["reference"] is None
    assert "reference.csv" not in files(usual)


PHANTOM = '[reference]\nphantom = "system-phantom"\n'


@pytest.mark.parametrize(
    ("more", "temperature", "complaint"),
    [
        (PHANTOM, "", r"\[reference\] batch: missing; expected the batch.*serial numbers"),
        (PHANTOM + "batch = true", "", r"\[reference\] batch: True"),
        (PHANTOM + 'batch = 4\narray = "NiCl2"', "", "batch: '4'; expected 1 or 2"),
        (
            PHANTOM + "batch = 1",
            "temperature_C = 20",
            r"\[reference\] array: missing; expected \[tubes\] template",
        ),
        (PHANTOM + 'batch = 1\narray = "NiCl2"', "", "field_T: 7 T; expected a field"),
        (PHANTOM + 'batch = 1\ntable = "tubes.csv"', "", "both phantom and table"),
        ("[reference]", "", r"\[reference\]: neither phantom nor table"),
        ('[reference]\ntable = "none.csv"', "", "'none.csv' does not exist"),
        ('[reference]\ntable = "tubes.csv"', "", "tubes.csv: no T1 or T2"),
        ('[reference]\ntable = "tubes.csv"\nbatch = 1', "", r"\[reference\] batch: batch with"),
        ('[reference]\nphantom = "mine"', "", r"phantom: 'mine'; expected system-phantom"),
        (PHANTOM + "batch = 1\nfield = 3", "", r"\[reference\] field: unknown key"),
    ],
)
def test_a_study_that_asks_for_a_reference_wrongly(simulated, more, temperature, complaint):
    path = study(simulated, "wrong.toml", more, temperature)
    with pytest.raises(rx.InputError, match=complaint):
        rx.analyse(path, progress=False)


def against(simulated: Path, name: str, reference: str, tubes: str = "", study: str = "") -> Path:
    """A study of the simulated rack, without a sheet where nothing is said of its tubes."""
    path = simulated / name
    path.write_text(
        f'[study]\n{study}\n[T2]\npath = "dicom/t2_mese"\n[tubes]\n{tubes}\n'
        f"[reference]\n{reference}",
        encoding="utf-8",
    )
    return path


def known_of(usual, **changed: dict[int, object]) -> str:
    """A reference table of the simulated rack; a tube changed to None has no row."""
    rows = usual.tube_table[["tube", "concentration_mM"]].assign(array="A")
    rows["T2_ms"] = 1e3 * usual.tube_table["T2_s"]
    rows = rows.astype(object).set_index("tube")
    for column, cells in changed.items():
        for tube, value in cells.items():
            rows.loc[tube, column] = value
    return rows.dropna(subset="T2_ms").to_csv()


@pytest.mark.parametrize(
    ("changed", "compared"),
    [
        ({"T2_ms": {4: None}}, False),
        ({"concentration_mM": {4: None}}, True),
        ({"array": {4: ""}}, True),
    ],
)
def test_a_tube_of_which_the_reference_says_nothing(simulated, usual, changed, compared):
    (simulated / "lacking.csv").write_text(known_of(usual, **changed), encoding="utf-8")
    result = rx.analyse(against(simulated, "lacking.toml", 'table = "lacking.csv"'), progress=False)
    told = "tube 4 left out of the lines: no agent with a concentration is stated"
    assert told in result.warnings
    assert (4 in set(result.reference.table["tube"])) == compared
    assert ("tube 4: no reference value" in result.reference.caveats) != compared
    line = result.relaxivity["A"]["r2"]
    elsewhere = {one.tube for one in result.relaxivity.left_out}  # too short to be measured
    assert 4 not in elsewhere
    assert line.n == len(result.tube_table) - 1 - len(elsewhere)
    assert np.isfinite(line.r.value)


def test_another_temperature_leaves_out_the_comparison_alone(simulated, usual, tmp_path):
    text = known_of(usual).replace("tube,", "temp_C,tube,")
    header, *rows = text.splitlines()
    (simulated / "cold.csv").write_text(
        "\n".join([header, *(f"20,{row}" for row in rows)]), encoding="utf-8"
    )
    path = against(simulated, "warm.toml", 'table = "cold.csv"', study="temperature_C = 21")
    result = rx.analyse(path, progress=False)
    assert result.reference is None
    (told,) = (w for w in result.warnings if w.startswith("not compared"))
    assert told.startswith(
        "not compared with reference values: the phantom was at 21 °C; expected 20 °C, the only"
    )
    assert str(simulated) not in told
    assert result.relaxivity["A"]["r2"].r.value > 0
    page = rx.report(result, tmp_path / "out").read_text(encoding="utf-8")
    assert "not compared with reference values" in page
    with pytest.raises(rx.InputError, match="no temperature; expected that of the phantom"):
        rx.analyse(against(simulated, "cool.toml", 'table = "cold.csv"'), progress=False)


def test_numbers_of_spheres_need_a_template_or_a_word(simulated):
    more = 'phantom = "system-phantom"\nbatch = 1\n'
    path = against(simulated, "rows.toml", more, 'order = "rows"')
    with pytest.raises(rx.InputError, match=r"\[reference\] array: missing.*numbers of the sph"):
        rx.analyse(path, progress=False)


@pytest.mark.real_data
@pytest.mark.parametrize(("quantity", "plate"), [("T1", 5), ("T2", 4)])
def test_a_real_plate_from_its_name_alone(real_data, tmp_path, quantity, plate):
    folder = real_data / "system_phantom" / "philips_1p5T" / f"{quantity}_plate{plate}"
    (tmp_path / "study.toml").write_text(
        f"""
        [study]
        temperature_C = 20.0
        [{quantity}]
        path = {json.dumps(str(folder))}
        [tubes]
        template = "system-phantom-{quantity}"
        [reference]
        phantom = "system-phantom"
        batch = 1
        """
    )
    assert run(["report", str(tmp_path / "study.toml"), "-o", str(tmp_path / "out")]) in (0, 1)
    results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    (agreement,) = results["reference"]["agreement"]
    assert agreement["n"] >= 10
    (agent,) = results["relaxivity"]
    if quantity == "T1":
        assert abs(agreement["mean_percent"]) < 6
        assert agent["agent"] == "NiCl2"
        assert 0.60 <= agent["r1_per_mM_per_s"] <= 0.66
    else:
        assert any("no test of the scanner" in text for text in results["reference"]["caveats"])
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "found by the template of the ISMRM/NIST system phantom" in page


@pytest.mark.real_data
@pytest.mark.parametrize("template", ["T1", "T2"])
@pytest.mark.parametrize("scan", ["ge_1p5T/T1_plate4", "ge_1p5T/T2_plate4", "ge_1p5T/T2_plate5"])
def test_a_real_plate_taken_for_the_other(real_data, tmp_path, scan, template):
    (tmp_path / "study.toml").write_text(
        f"""
        [study]
        temperature_C = 20.0
        [{scan[8:10]}]
        path = {json.dumps(str(real_data / "system_phantom" / scan))}
        [tubes]
        template = "system-phantom-{template}"
        [reference]
        phantom = "system-phantom"
        batch = 1
        """
    )
    true = {"4": "T2", "5": "T1"}[scan[-1]]
    found = rx.analyse(tmp_path / "study.toml", progress=False).reference
    if template == true:
        assert found.failures == ()
    else:
        better = {"T1": "NiCl2", "T2": "MnCl2"}[true]
        assert f"The values of {better} fit better" in found.failures[0]
