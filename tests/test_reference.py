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
    assert nickel.caveats == ()


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
        (PHANTOM + "batch = 1", "temperature_C = 20", "array: not stated; expected NiCl2 or MnCl2"),
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
