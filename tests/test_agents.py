"""Relaxivities of agents from tables as people have them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import linregress
from scipy.stats import t as student

import relaxometry as rx
from relaxometry.agents import classify
from relaxometry.rates import RELATIVE_FLOOR, rate_sigma

C = np.array([0.4, 0.2, 0.1, 0.05])
NAN = float("nan")


def table(agents=("A", "B"), blanks=1, noise=0.0, **columns):
    """Two agents with r1, r2 = 4, 24 and 2, 60 in a medium of R1, R2 = 0.4, 9 s⁻¹."""
    rng = np.random.default_rng(0)
    relaxivities = {"A": (4.0, 24.0), "B": (2.0, 60.0)}
    rows = [(agent, c) for agent in agents for c in C] + [("blank", 0.0)] * blanks
    made = pd.DataFrame(rows, columns=["agent", "concentration_mM"])
    made.insert(0, "tube", np.arange(1, len(made) + 1))
    for i, (rate, R0) in enumerate((("R1", 0.4), ("R2", 9.0))):
        r = [relaxivities.get(agent, (0, 0))[i] for agent in made["agent"]]
        clean = R0 + np.array(r) * made["concentration_mM"]
        made[f"{rate}_per_s"] = clean * (1 + rng.normal(0, noise, len(made)))
    return made.assign(**columns)


class TestLines:
    def test_relaxivities_of_each_agent_with_the_blank_of_all(self):
        result = rx.relaxivity(table())
        assert list(result) == [("A", ""), ("B", "")]
        for agent, r1, r2 in (("A", 4, 24), ("B", 2, 60)):
            lines = result[agent]
            assert (lines["r1"].r.value, lines["r2"].r.value) == pytest.approx((r1, r2))
            assert (lines["r1"].R0.value, lines["r2"].R0.value) == pytest.approx((0.4, 9))
            assert lines["r2"].n == 5
            assert lines["r1"].R0.symbol == "R1"
        np.testing.assert_allclose(result["r2_r1"], [6, 30])
        assert list(result["class"]) == ["dual-mode", "T2 agent"]
        assert result.warnings == ()
        assert repr(result).startswith("Relaxivity: A: r1 4 ± ")

    @pytest.mark.parametrize("name", ["", "blank", "Blank", "control", None, NAN])
    def test_names_of_a_blank(self, name):
        made = table()
        made["agent"] = made["agent"].astype(object).where(made["agent"] != "blank", name)
        assert rx.relaxivity(made)["A"]["r2"].n == 5

    def test_a_blank_of_ones_own(self):
        made = table(blanks=0)
        own = pd.DataFrame({"agent": ["A"], "concentration_mM": [0.0], "R1_per_s": [0.4]})
        result = rx.relaxivity(pd.concat([made, own.assign(R2_per_s=9.0)]))
        assert (result["A"]["r2"].n, result["B"]["r2"].n) == (5, 4)

    def test_several_blanks_are_several_points(self):
        assert rx.relaxivity(table(blanks=3))["B"]["r1"].n == 7

    def test_replicates_are_points_of_one_line(self):
        made = pd.concat([table(noise=0.05).assign(replicate=i) for i in (1, 2, 3)])
        line = rx.relaxivity(made)["A"]["r2"]
        assert line.n == 15
        np.testing.assert_allclose(
            line.r.value, np.polyfit(line.concentration, line.rate, 1)[0], rtol=1e-9
        )

    def test_a_condition_is_a_line_of_its_own(self):
        before, after = table(("A",)), table(("A",)).assign(tube=range(6, 11))
        after["R2_per_s"] = 9 + 4 * (after["R2_per_s"] - 9)
        made = pd.concat([before.assign(condition="pH 7.4"), after.assign(condition="pH 5.5")])
        made.loc[made["agent"] == "blank", "condition"] = ""
        result = rx.relaxivity(made)
        assert list(result) == [("A", "pH 7.4"), ("A", "pH 5.5")]
        np.testing.assert_allclose(result["r2_per_mM_per_s"], [24, 96])
        assert [lines["r2"].n for lines in result.lines.values()] == [
            6,
            6,
        ]  # both blanks are shared
        with pytest.raises(KeyError, match="not exactly one agent"):
            result["A"]

    def test_a_blank_of_one_condition_is_not_shared(self):
        made = pd.concat([table(("A",)).assign(condition=name) for name in ("before", "after")])
        assert [lines["r2"].n for lines in rx.relaxivity(made).lines.values()] == [5, 5]

    def test_agents_with_and_without_a_condition(self):
        made = table()
        made["condition"] = np.where(made["agent"] == "A", "acid", None)
        result = rx.relaxivity(made)
        assert list(result["condition"]) == ["acid", ""]
        assert "A acid: r1" in repr(result)
        assert "; B: r1" in repr(result)

    def test_one_quantity_alone(self):
        result = rx.relaxivity(table().drop(columns="R1_per_s"))
        assert list(result["A"]) == ["r2"]
        assert "r1_per_mM_per_s" not in result.table
        assert list(result["class"]) == ["not determined"] * 2


class TestLeftOut:
    def test_excluded_tubes_are_named_once_with_their_reason(self):
        made = table()
        made["exclude"], made["reason"] = False, None
        made.loc[0, ["exclude", "reason", "R2_per_s"]] = True, "air bubble", 1e6
        made.loc[8, "exclude"] = True  # the blank of both
        result = rx.relaxivity(made)
        assert result["A"]["r2"].r.value == pytest.approx(24)
        assert (result["A"]["r2"].n, result["B"]["r2"].n) == (3, 4)
        assert result.warnings == (
            "tube 1 left out as the sheet says: air bubble",
            "tube 9 left out as the sheet says: no reason given",
        )

    @pytest.mark.parametrize("no", ["no", "", "0", "false", False, 0, None, NAN])
    def test_words_that_exclude_nothing(self, no):
        made = table()
        made["exclude"] = pd.Series([no] * 8 + ["yes"], dtype=object)
        result = rx.relaxivity(made)
        assert result["A"]["r2"].n == 4
        assert len(result.warnings) == 1

    def test_an_excluded_tube_may_lack_agent_and_concentration(self):
        made = table().assign(exclude=False)
        made.loc[3, ["agent", "concentration_mM", "exclude"]] = "", NAN, True
        assert rx.relaxivity(made)["A"]["r2"].n == 4

    def test_an_agent_without_a_tube_left_is_not_there(self):
        made = table()
        made["exclude"] = made["agent"] == "A"
        result = rx.relaxivity(made)
        assert list(result) == [("B", "")]
        assert len(result.warnings) == 4

    def test_what_could_not_be_determined_is_named(self):
        made = table()
        made.loc[2, "R1_per_s"] = NAN
        result = rx.relaxivity(made)
        assert (result["A"]["r1"].n, result["A"]["r2"].n) == (4, 5)
        assert result.warnings == ("A: tube 3 left out of r1: R1 not determined",)
        assert result.table.loc[0, "n_points"] == 5


class TestTables:
    def test_times_alone_as_people_type_them(self):
        made = table().assign(
            T1_ms=lambda t: 1e3 / t["R1_per_s"], T2_ms=lambda t: 1e3 / t["R2_per_s"]
        )
        result = rx.relaxivity(made[["agent", "concentration_mM", "T1_ms", "T2_ms"]])
        np.testing.assert_allclose(result["r1_per_mM_per_s"], [4, 2])
        np.testing.assert_allclose(result["r2_per_mM_per_s"], [24, 60])
        assert list(result["method"]) == ["ordinary"] * 2

    def test_errors_of_times_are_those_of_rates(self):
        T2 = 1 / table()["R2_per_s"]
        made = table().drop(columns=["R1_per_s", "R2_per_s"])
        seconds = made.assign(T2_s=T2, T2_stderr_s=0.01 * T2, T2_sd_s=0.3 * T2, n_voxels=25)
        milliseconds = made.assign(
            T2_ms=1e3 * T2, T2_stderr_ms=10 * T2, T2_sd_ms=300 * T2, n_voxels=25
        )
        # σ_T/T = max(1 %, 30 %/√25) = 6 %, and the floor of 1 %; σ_R/R is the same.
        sigma = np.hypot(0.06, RELATIVE_FLOOR) / T2
        for given in (seconds, milliseconds):
            line = rx.relaxivity(given)["A"]["r2"]
            assert line.method == "weighted"
            np.testing.assert_allclose(line.sigma, sigma.iloc[[0, 1, 2, 3, 8]], rtol=1e-9)

    def test_voxels_are_counted_on_the_grid_they_were_fitted_on(self):
        sd = {"R2_stderr_per_s": 1e-6, "R2_sd_per_s": 1.0, "n_voxels": 100}
        coarse = rx.relaxivity(table(**sd, T2_n_fitted=25))["A"]["r2"]
        fine = rx.relaxivity(table(**sd))["A"]["r2"]
        np.testing.assert_allclose(
            coarse.sigma, np.hypot(1 / np.sqrt(25), RELATIVE_FLOOR * coarse.rate)
        )
        np.testing.assert_allclose(
            fine.sigma, np.hypot(1 / np.sqrt(100), RELATIVE_FLOOR * fine.rate)
        )

    def test_text_from_a_file_is_read_as_numbers(self):
        made = table(exclude="no").astype(str)
        result = rx.relaxivity(made)
        np.testing.assert_allclose(result["r2_per_mM_per_s"], [24, 60])

    @pytest.mark.parametrize("missing", ["", " ", "nan", "NA", None])
    def test_a_missing_rate_is_not_determined(self, missing):
        made = table().astype({"R2_per_s": object})
        made.loc[1, "R2_per_s"] = missing
        assert rx.relaxivity(made)["A"]["r2"].n == 4

    def test_errors_in_both_axes_where_every_concentration_has_one(self):
        made = table(R2_stderr_per_s=0.5)
        some = made.assign(concentration_sd_mM=[0.01] * 4 + [NAN] * 5)
        result = rx.relaxivity(some)
        assert (result["A"]["r2"].method, result["B"]["r2"].method) == ("odr", "weighted")
        assert result["A"]["r1"].method == "ordinary"  # R1 has no errors
        assert result.table.loc[0, "method"] == "ordinary / odr"
        assert result["A"]["r2"].r.value == pytest.approx(24)

    def test_one_rate_without_an_error_makes_the_line_ordinary(self):
        made = table(R2_stderr_per_s=0.5)
        made.loc[0, "R2_stderr_per_s"] = NAN
        result = rx.relaxivity(made)
        assert (result["A"]["r2"].method, result["B"]["r2"].method) == ("ordinary", "weighted")

    @pytest.mark.parametrize(
        ("change", "complaint"),
        [
            ({"R2_per_s": ["12,5"] + ["1"] * 8}, "R2_per_s of tube 1: '12,5'; .*decimal point"),
            (
                {"concentration_mM": ["much"] + ["1"] * 8},
                "concentration_mM of tube 1: 'much'; expected a n",
            ),
            ({"concentration_mM": [NAN] + [1.0] * 8}, "concentration_mM: tube 1 has no concentrat"),
            ({"concentration_mM": -1.0}, "concentration_mM of tube 1: -1 mM; expected ≥ 0"),
            ({"agent": ["A"] * 3 + [""] + ["B"] * 5}, "agent: tube 4 has a concentration but no"),
            ({"agent": "", "concentration_mM": 0.0}, "no agent in the table"),
            ({"exclude": "perhaps"}, "exclude of tube 1: 'perhaps'; expected yes or no"),
        ],
    )
    def test_cells_that_cannot_be_right(self, change, complaint):
        with pytest.raises(rx.InputError, match=complaint):
            rx.relaxivity(table().assign(**change))

    @pytest.mark.parametrize(
        ("dropped", "complaint"),
        [
            (["agent"], "no column agent; there are tube, concentration_mM"),
            (["concentration_mM"], "no column concentration_mM"),
            (["R1_per_s", "R2_per_s"], "no rates or times"),
        ],
    )
    def test_columns_that_must_be_there(self, dropped, complaint):
        with pytest.raises(rx.InputError, match=complaint):
            rx.relaxivity(table().drop(columns=dropped))

    @pytest.mark.parametrize("time", [0.0, -5.0])
    def test_times_must_be_positive(self, time):
        made = table().drop(columns=["R1_per_s", "R2_per_s"]).assign(T2_ms=time)
        with pytest.raises(rx.InputError, match="T2_ms"):
            rx.relaxivity(made)

    def test_a_table_of_nothing(self):
        with pytest.raises(rx.InputError, match="no row in the table"):
            rx.relaxivity(table().iloc[:0])

    def test_one_concentration_is_no_line(self):
        made = table(blanks=0)
        made = made[(made["agent"] == "A") | (made["concentration_mM"] == 0.4)]
        result = rx.relaxivity(made)
        assert result["A"]["r2"].r.value == pytest.approx(24)
        assert np.isnan(result["B"]["r2"].r.value)
        assert result.table.loc[1, "class"] == "not determined"
        assert "r1: not determined: rates known at 1 concentration" in result["flags"][1]
        with pytest.raises(rx.InputError, match="r1 of B not determined: rates known at 1 conc"):
            rx.relaxivity(made[made["agent"] == "B"])


class TestRatio:
    def test_intervals_by_fieller_and_the_delta_method(self):
        """Fieller's ends are the ratios ρ at which the slope of R2 − ρ·R1 is just not 0."""
        made = table(noise=0.02)
        result = rx.relaxivity(made)
        row = result.table.iloc[0]
        own = made[made["agent"].isin(["A", "blank"])]
        for end in (row["r2_r1_ci95_low"], row["r2_r1_ci95_high"]):
            line = linregress(own["concentration_mM"], own["R2_per_s"] - end * own["R1_per_s"])
            assert abs(line.slope / line.stderr) == pytest.approx(student.ppf(0.975, 3), rel=1e-6)
        r1, r2 = result["A"]["r1"], result["A"]["r2"]
        ratio = r2.r.value / r1.r.value
        e1, e2 = r1.residual, r2.residual
        correlation = (e1 @ e2) / np.sqrt((e1 @ e1) * (e2 @ e2))
        s1, s2 = r1.r.stderr / r1.r.value, r2.r.stderr / r2.r.value
        se = ratio * np.sqrt(s1**2 + s2**2 - 2 * correlation * s1 * s2)
        assert row["r2_r1"] == pytest.approx(ratio)
        assert row["r2_r1_stderr"] == pytest.approx(se)
        assert row["r1_r2_correlation"] == pytest.approx(correlation)
        half = student.ppf(0.975, 3) * se
        assert row["r2_r1_delta_ci95_low"] == pytest.approx(ratio - half)
        assert row["r2_r1_delta_ci95_high"] == pytest.approx(ratio + half)
        assert row["class"] == classify(ratio, (row["r2_r1_ci95_low"], row["r2_r1_ci95_high"]))

    @pytest.mark.parametrize(
        ("ratio", "ci95", "name"),
        [
            (4.9, (4.8, 4.99), "T1 agent"),
            (5.0, (5.0, 5.0), "dual-mode"),
            (8.0, (8.0, 8.0), "dual-mode"),
            (8.1, (8.05, 8.2), "T2 agent"),
            (4.9, (4.5, 5.3), "T1 agent or dual-mode"),
            (8.1, (7.9, 8.3), "dual-mode or T2 agent"),
            (6.0, (4.0, 9.0), "T1 agent or dual-mode or T2 agent"),
            (6.0, (-np.inf, np.inf), "T1 agent or dual-mode or T2 agent"),
            (4.9, (NAN, NAN), "T1 agent, interval unknown"),
            (100.0, (90.0, 110.0), "T2 agent"),
            (0.0, (-1.0, 1.0), "not determined"),
            (-3.0, (-4.0, -2.0), "not determined"),
            (NAN, (NAN, NAN), "not determined"),
            (np.inf, (NAN, NAN), "not determined"),
        ],
    )
    def test_class(self, ratio, ci95, name):
        assert classify(ratio, ci95) == name


def test_error_a_rate_is_weighted_by():
    """The larger of the fit's error and SD/√n, and in quadrature 1 % of the rate."""
    rate = np.array([10.0, 10.0, 10.0, 10.0, 10.0])
    stderr = np.array([0.5, 0.01, 0.01, NAN, 0.5])
    sd = np.array([1.0, 4.0, 4.0, 4.0, NAN])
    n = np.array([100, 100, 1, 100, 100])
    np.testing.assert_allclose(
        rate_sigma(rate, stderr, sd, n),
        np.hypot([0.5, 0.4, 0.01, NAN, 0.5], 0.1),
    )


class TestDoubts:
    """What must not pass in silence."""

    def test_a_time_corrected_beside_its_rate(self):
        made = table(T2_s=0.1)
        with pytest.raises(rx.InputError, match=r"R2_per_s: row 1 has R2 = .* but 1/T2 = 10"):
            rx.relaxivity(made)

    @pytest.mark.parametrize(
        ("column", "value", "complaint"),
        [
            ("R2_per_s", -16.0, "R2 of tube 1: -16 s"),
            ("R2_per_s", np.inf, "R2_per_s of tube 1: 'inf'; expected a number"),
            ("R2_stderr_per_s", 0.0, "error of R2 of tube 1: 0 s.*or empty"),
            ("R2_stderr_per_s", -3.0, "error of R2 of tube 1"),
        ],
    )
    def test_a_rate_or_error_that_cannot_be(self, column, value, complaint):
        made = table(R2_stderr_per_s=1.0)
        made.loc[0, column] = value
        with pytest.raises(rx.InputError, match=complaint):
            rx.relaxivity(made)

    def test_milliseconds_in_a_column_of_seconds(self):
        made = table()[["tube", "agent", "concentration_mM"]].assign(T1_s=2500.0)
        with pytest.raises(rx.InputError, match="T1_s: 2500 s is too long"):
            rx.relaxivity(made)

    def test_some_rates_without_errors(self):
        made = table(R2_stderr_per_s=0.5)
        made.loc[2, "R2_stderr_per_s"] = NAN
        warnings = rx.relaxivity(made).warnings
        assert "A: r2 is not weighted: 1 of 5 rates have no error" in warnings

    def test_tubes_in_the_wrong_order(self):
        made = table(R2_stderr_per_s=0.5)
        made.loc[:3, "R2_per_s"] = made.loc[:3, "R2_per_s"].to_numpy()[::-1]
        (warning,) = [w for w in rx.relaxivity(made).warnings if w.startswith("A: r2")]
        assert "in the order of the sheet" in warning

    def test_a_slope_that_may_be_zero_makes_no_class(self):
        made = table(noise=0.0)
        made["R2_per_s"] = 9 + 0.001 * np.arange(len(made)) % 2
        assert set(rx.relaxivity(made)["class"]) == {"not determined"}

    def test_a_poorly_known_r1_keeps_a_sure_class(self):
        """r1 = 0.04, at most about 0.3; r2 = 70: no ratio below 200 is possible."""
        c = np.array([0.0, 0.1, 0.2, 0.4])
        made = pd.DataFrame({"agent": "A", "concentration_mM": c, "R2_per_s": 9 + 70 * c})
        made["R1_per_s"] = 0.4 + 0.04 * c + np.array([0.01, -0.02, 0.02, -0.01])
        result = rx.relaxivity(made)
        assert result["A"]["r1"].ci95[0] < 0
        assert list(result["class"]) == ["T2 agent"]

    def test_errors_of_some_concentrations_only(self):
        made = table(R2_stderr_per_s=0.5, concentration_sd_mM=0.01)
        made.loc[2, "concentration_sd_mM"] = NAN
        warnings = rx.relaxivity(made).warnings
        assert "A: r2: errors of the concentration are not used: 1 of 4 tubes have none" in warnings
        assert not any(warning.startswith("B: r2") for warning in warnings)
        unknown = "errors of the concentration are not used: the rates have no errors"
        assert f"B: r1: {unknown}" in warnings


class TestBlanks:
    def two(self, **blank):
        """A at 3 and 7 T, r2 100 and 150, and one blank."""
        rows = [("A", f, c, 9 + r2 * c) for f, r2 in ((3.0, 100), (7.0, 150)) for c in C]
        made = pd.DataFrame(rows, columns=["agent", "field_T", "concentration_mM", "R2_per_s"])
        made["R2_per_s"] *= 1 + np.random.default_rng(0).normal(0, 0.01, len(made))
        one = {"agent": "blank", "concentration_mM": 0.0, "R2_per_s": 9.0} | blank
        return pd.concat([made, pd.DataFrame([one])], ignore_index=True)

    def test_belong_to_the_settings_they_do_not_contradict(self):
        result = rx.relaxivity(self.two(field_T=7.0))
        assert [lines["r2"].n for lines in result.lines.values()] == [4, 5]
        assert list(result) == [("A", "3 T"), ("A", "7 T")]
        assert "no blank belongs to A 3 T" in result.warnings
        everywhere = rx.relaxivity(self.two())
        assert [lines["r2"].n for lines in everywhere.lines.values()] == [5, 5]

    def test_of_a_setting_that_all_tubes_contradict_are_on_no_line(self):
        made = self.two(field_T=1.5)
        result = rx.relaxivity(made[made["field_T"] != 3])
        assert result["A"]["r2"].n == 4
        assert any(text.startswith("tube 5, blank, on no line") for text in result.warnings)

    def test_near_temperatures_are_one_and_an_unsaid_one_joins(self):
        made = self.two().assign(field_T=[*[7.0] * 7, NAN, NAN])
        made["temperature_C"] = [21.9, 22.0, 22.1, NAN, 22.3, 22.0, 22.0, 21.8, 22.0]
        assert len(rx.relaxivity(made)) == 1


class TestImpossible:
    def one(self, r1=4.0, r2=24.0, R1_0=0.4, R2_0=9.0, noise=0.005):
        rng = np.random.default_rng(1)
        c = np.array([0.0, 0.05, 0.1, 0.2, 0.4])
        made = pd.DataFrame({"agent": "A", "concentration_mM": c})
        made["R1_per_s"] = (R1_0 + r1 * c) * (1 + rng.normal(0, noise, 5))
        made["R2_per_s"] = (R2_0 + r2 * c) * (1 + rng.normal(0, noise, 5))
        return rx.relaxivity(made).warnings

    @pytest.mark.parametrize(
        ("changes", "word"),
        [
            ({"R1_0": 9.0, "r1": 24.0, "R2_0": 0.4, "r2": 4.0}, "are the columns swapped"),
            ({"r2": -20.0}, "r2 is negative: R2 falls with concentration"),
            ({"r2": 24e3}, "is not that of an ion"),
            ({"r1": 0.004, "noise": 1e-5}, "is not that of an ion"),
        ],
    )
    def test_is_said(self, changes, word):
        assert any(word in text for text in self.one(**changes))

    def test_a_possible_one_has_no_such_word(self):
        assert self.one() == ()


def test_replicates_of_r2_alone_are_reported(tmp_path):
    rng = np.random.default_rng(3)
    rows = [
        ("A", n, c, (9 + (24 + n) * c) * (1 + rng.normal(0, 0.01))) for n in (1, 2, 3) for c in C
    ]
    names = ["agent", "replicate", "concentration_mM", "R2_per_s"]
    result = rx.analyse_table(pd.DataFrame([*rows, ("blank", 9, 0.0, 9.0)], columns=names))
    assert "mean ± SD" in result.relaxivity.methods()
    assert "[[Replicates]]" in result.relaxivity.report()
    assert result.relaxivity.replicate_summary["n_replicates"].tolist() == [3]
    assert rx.report(result, tmp_path / "out").is_file()


def test_copied_replicates_are_told_and_no_better_known_than_one():
    one = table(("A",), noise=0.02)
    made = pd.concat([one.assign(replicate=n) for n in (1, 2, 3)])
    result = rx.relaxivity(made[made["agent"] == "A"])
    assert "replicates 1 and 2 of A are alike: copies?" in result.warnings
    row = result.replicate_summary.iloc[0]
    assert row["r2_mixed_stderr_per_mM_per_s"] >= row["r2_within_stderr_per_mM_per_s"] > 0
    assert row["r2_mixed_ci95_high_per_mM_per_s"] > row["r2_mixed_per_mM_per_s"]
