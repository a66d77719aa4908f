"""Tables of relaxivities in words: every section where there is something to say."""

from __future__ import annotations

import pytest

from relaxometry.agents import relaxivity
from relaxometry.settings import StudyFacts
from relaxometry.tablereport import agent_rows, replicate_rows, table_methods, table_report

from . import stated

FACTS = StudyFacts("Smart agents", 3.0, 37.0, "water", "Fe")
SECTIONS = ("Replicates", "Comparisons", "Switches")


def test_the_report_of_a_table_has_all_there_is() -> None:
    table = stated.full()
    text = table_report(table)
    first = text.partition("\n\n")[0]
    for name in ("Agents", *SECTIONS):
        assert f"[[{name}]]" in first
    for (agent, condition), lines in table.lines.items():
        for symbol, line in lines.items():
            assert f"\n{symbol} of {agent} {condition}".rstrip() + f"\n{line.report()}" in text
            assert f"{line.r}".removesuffix(" mM⁻¹ s⁻¹") in first
    assert "4.61 ± 0.21" in first  # mean ± SD
    assert "82.4 ± 1.7" in first  # mixed
    assert "77.8 ± 2.1" in first
    assert "Welch's t" in first
    assert "0.0012" in first
    assert "r2 × 5.91 (5.32 to 6.50)" in first
    assert "stronger" in first


def test_what_a_table_has_not_is_not_told() -> None:
    text = table_report(stated.plain())
    for name in SECTIONS:
        assert f"[[{name}]]" not in text
    assert "nan" not in text


def test_the_ratio_has_both_intervals() -> None:
    table = relaxivity(stated.tubes())
    found = table.ratio("SPIO", "pH 5")
    row = next(row for row in agent_rows(table) if row["name"] == "SPIO pH 5")
    for told, (low, high) in (
        (row["ratio_ci"], found.fieller95),
        (row["ratio_delta_ci"], found.delta95),
    ):
        ends = [float(end) for end in told.split(" to ")]
        assert ends == pytest.approx([low, high], abs=0.01)
    assert row["ratio_ci"] in table.report()
    assert row["ratio_delta_ci"] in table.report()


def test_the_methods_have_the_numbers_in_them() -> None:
    table = stated.full()
    text = table_methods(table, FACTS)
    assert "(3 T, 37 °C, water)" in text
    assert "R1 = R1(0) + r1·c and R2 = R2(0) + r2·c" in text
    assert "of Fe (0.025 to 0.4 mM)" in text
    assert "least squares weighted by 1/σ²" in text
    assert "over 5 points each" in text
    assert "Replicates (n = 3)" in text
    assert "by Welch's t, with P values corrected after Holm" in text
    batches = {row["name"]: row for row in replicate_rows(table)}
    assert len(batches) == 1
    for row in agent_rows(table):
        batch = batches.get(row["name"])
        if batch:  # the answer is that of the replicates
            assert f"{row['name']} (n = 3 replicates), r1 = {batch['r']['r1']['mean']} mM" in text
            assert f"r2/r1 = {batch['ratio']}" in text
        else:
            assert f"{row['name']}, r1 = {row['r']['r1']['value']} mM⁻¹ s⁻¹" in text
            assert f"r2/r1 = {row['ratio']} ({row['ratio_ci']})" in text
    assert "None" not in table_methods(stated.plain())
    assert "Holm" not in table_methods(stated.plain())


def test_the_methods_of_a_table_with_a_stock_error_say_that_it_cancels() -> None:
    table = relaxivity(stated.tubes().assign(stock_sd_percent=5.0))
    assert "An error of 5 % common to all concentrations" in table.methods()
    assert "cancels in r2/r1" in table.methods()
    assert "common to all" not in relaxivity(stated.tubes()).methods()


def test_a_table_without_a_line_says_so() -> None:
    tubes = stated.tubes(truth={("A", ""): (4.0, 20.0)})
    tubes[["R1_per_s", "R2_per_s"]] = float("nan")
    table = relaxivity(tubes)
    assert table.methods() == "No relaxivity could be determined from these tubes."
    assert "r1 not determined" in table.report()
    assert "nan" not in table.report()


def test_one_relaxivity_alone() -> None:
    table = relaxivity(stated.tubes().drop(columns=["R1_per_s", "R1_stderr_per_s"]))
    text = table.report()
    assert "r2 of Gd" in text
    assert "r1" not in text
    assert "r2/r1" not in table.methods()


def test_a_switch_of_one_relaxivity_alone() -> None:
    table = stated.full()
    table.switches = table.switches[[c for c in table.switches if not c.startswith("r1_")]].drop(
        columns=[c for c in table.switches if c.startswith("r2_r1_")]
    )
    text = table_report(table)
    assert "r2 × 5.91" in text
    assert "r1 ×" not in text


def test_names_stay_on_their_line() -> None:
    table = stated.full({"SPIO": "two\nlines\tof it"})
    assert "two lines of it pH 5" in table_report(table)
    assert "two\nlines" not in table_report(table)
    assert "two\nlines" not in table_methods(table)


def test_the_frame_is_a_copy() -> None:
    table = relaxivity(stated.tubes())
    frame = table.to_dataframe()
    assert list(frame["agent"]) == ["SPIO", "SPIO", "Gd"]
    frame.loc[0, "agent"] = "other"
    assert table.table["agent"][0] == "SPIO"
