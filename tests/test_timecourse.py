"""Time courses after an injection: hand arithmetic, and peaks of which noise tells little."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

import relaxometry as rx
from relaxometry.coursepeak import peak_of

TIMES = [-60.0, 0.0, 300.0, 600.0, 1200.0]
A = [19.0, 21.0, 15.0, 10.0, 12.0]
B = [30.0, 30.0, 24.0, 22.0, 26.0]


def table(**animals):
    rows = [
        {"animal": name, "time_s": t, "value": v, "stderr": 0.5}
        for name, values in animals.items()
        for t, v in zip(TIMES, values, strict=True)
    ]
    return pd.DataFrame(rows)


def course(values, stderr=None, times=None, **options):
    """One animal, from its first time after the injection; the values are changes."""
    times = 60.0 * np.arange(1, len(values) + 1) if times is None else times
    rows = pd.DataFrame({"animal": "a", "time_s": times, "value": values})
    if stderr is not None:
        rows["stderr"] = stderr
    return rx.time_course(rows, "dR2_per_s", **({"baseline": "zero"} | options)).animals[0]


class TestOneAnimal:
    def test_change_against_before(self):
        a = rx.time_course(table(a=A), "SNR").animals[0]
        assert a.before == 20
        assert a.before_stderr == pytest.approx(0.5 / math.sqrt(2))
        np.testing.assert_allclose(a.change, [-1, 1, -5, -10, -8])
        np.testing.assert_allclose(a.change_stderr[2:], math.hypot(0.5, 0.5 / math.sqrt(2)))
        # (x − y)/2 of two values before.
        np.testing.assert_allclose(a.change_stderr[:2], 0.5 / math.sqrt(2))
        np.testing.assert_allclose(a.relative, a.change / 20)

    def test_one_value_before_has_no_change(self):
        rows = table(a=A).iloc[1:]
        a = rx.time_course(rows, "SNR").animals[0]
        assert (a.change[0], a.change_stderr[0]) == (0, 0)

    def test_peak(self):
        peak = rx.time_course(table(a=A), "SNR").animals[0].peak
        assert peak.value == -10
        assert peak.time_s == 600
        assert peak.between_s == (300, 1200)
        assert peak.reached
        # The 1.41 that tell two values apart: 2 > 1.96·0.5·√2.
        assert peak.range_s == (600, 600)
        assert peak.notes == ()

    def test_area_and_its_error(self):
        """From 0 at the injection: ½·5·300 + ½·15·300 + ½·18·600."""
        a = rx.time_course(table(a=A), "SNR").animals[0]
        assert a.area == pytest.approx(-(750 + 2250 + 5400))
        weights = np.array([300, 450, 300])
        noise = 0.25 * (weights**2).sum()
        assert a.area_stderr == pytest.approx(math.sqrt(noise + 1050**2 * 0.125))

    def test_rows_in_any_order(self):
        rows = table(a=A, b=B)
        one = rx.time_course(rows, "SNR").row()
        assert rx.time_course(rows.sample(frac=1, random_state=2), "SNR").row() == one

    def test_marked_as_before(self):
        rows = pd.DataFrame(
            {
                "animal": 1,
                "time_s": [60.0, 120, 180],
                "value": [10.0, 14, 12],
                "before": ["yes", "", "no"],
            }
        )
        a = rx.time_course(rows, "SNR").animals[0]
        assert a.before == 10
        assert a.peak.value == 4
        assert a.peak.between_s == (60, 180)
        assert a.area == pytest.approx(0.5 * 4 * 60 + 0.5 * 6 * 60)
        rows["before"] = [True, False, False]
        assert rx.time_course(rows, "SNR").animals[0].before == 10

    def test_no_value_before(self):
        found = rx.time_course(table(a=A).iloc[2:], "SNR")
        a = found.animals[0]
        assert np.isnan(a.change).all()
        assert math.isnan(a.peak.value)
        assert math.isnan(a.area)
        assert "animal a: no value before: its change is not determined" in found.notes
        assert found.mean.tolist() == [15, 10, 12]

    def test_changes_already(self):
        rows = table(a=[0.0, 0.0, 5.0, 9.0, 3.0])
        a = rx.time_course(rows, "dR2_per_s", baseline="zero").animals[0]
        np.testing.assert_allclose(a.change, a.value)
        np.testing.assert_allclose(a.change_stderr, 0.5)
        assert a.before == 0
        with pytest.raises(rx.InputError, match="animal a: the value before is 0"):
            _ = a.relative

    def test_a_missing_value_is_no_zero(self):
        values = [*A[:3], math.nan, 12.0]
        found = rx.time_course(table(a=values), "SNR")
        a = found.animals[0]
        assert a.peak.value == -8
        assert a.area == pytest.approx(-(0.5 * 5 * 300 + 0.5 * 13 * 900))
        assert any("bridges" in note for note in found.notes)
        assert found.n.tolist() == [1, 1, 1, 0, 1]


class TestPeaks:
    def test_at_the_last_time_is_not_reached(self):
        peak = course([1.0, 2.0, 5.0], 0.1).peak
        assert not peak.reached
        assert math.isnan(peak.time_s)
        assert peak.at_least_s == 180
        assert peak.between_s == (120, math.inf)
        assert peak.row()["time_to_peak_at_least_s"] == 180
        assert peak.notes == ("peak not reached: it may be later than the last time, 180 s",)

    def test_at_the_first_time_may_be_earlier(self):
        peak = course([5.0, 2.0, 1.0], 0.1).peak
        assert peak.between_s == (0, 120)
        assert peak.notes == ("the peak is at the first time, 60 s: it may be earlier",)

    def test_times_that_cannot_be_told_apart(self):
        """1.96·√2·0.5 = 1.39: 9.0 and 8.7 go with 10, 8.5 does not."""
        peak = course([2.0, 9.0, 10.0, 8.7, 8.5, 1.0], 0.5).peak
        assert peak.time_s == 180
        assert peak.range_s == (120, 240)
        assert any("120 to 240 s" in note for note in peak.notes)
        up_to_last = course([2.0, 10.0, 9.0], 0.5).peak
        assert "nor from the last time: it may be later" in up_to_last.notes

    def test_no_change_at_all(self):
        assert "not told apart from no change" in course([0.1, 0.4, 0.2], 0.5).peak.notes[-1]

    def test_without_errors(self):
        peak = course([1.0, 5.0, 2.0]).peak
        assert peak.time_s == 120
        assert all(map(math.isnan, peak.range_s))
        assert math.isnan(peak.bias)
        assert any("no errors" in note for note in peak.notes)

    def test_downward(self):
        peak = course([-1.0, -9.0, 4.0], 0.1).peak
        assert peak.value == -9
        assert peak.bias == pytest.approx(0, abs=1e-6)

    def test_bias_of_two_equal_values_is_known(self):
        """E[max] of two standard normals is 1/√π."""
        assert course([5.0, 5.0], 1.0).peak.bias == pytest.approx(1 / math.sqrt(math.pi), rel=1e-4)

    def test_bias_by_simulation(self):
        """What is said of five values is what drawing them again gives."""
        values, stderr = np.array([3.0, 8.0, 9.0, 8.5, 5.0]), np.array([1.0, 0.5, 1.0, 1.5, 1.0])
        drawn = np.random.default_rng(4).normal(values, stderr, (200_000, 5)).max(axis=1)
        found = course(values, stderr).peak.bias
        assert found == pytest.approx(drawn.mean() - 9, abs=0.01)

    def test_the_lift_is_of_the_size_said(self):
        """A flat curve of 6 times: the largest lies 1.27σ too high, and the guess sees half of it.

        As the docs say: a rough guess, on the low side, but never the wrong way.
        """
        rng = np.random.default_rng(5)
        lifts, said = [], []
        for values in rng.normal(20.0, 1.0, (400, 6)):
            time = 60.0 * np.arange(1, 7)
            peak = peak_of(time, values, np.ones(6), np.ones(6), start=0.0)
            lifts.append(peak.value - 20)
            said.append(peak.bias)
        assert np.mean(lifts) == pytest.approx(1.267, abs=0.1)
        assert 0.3 * 1.267 < np.mean(said) < 1.267


class TestAnimals:
    def test_mean_and_sd_by_hand(self):
        found = rx.time_course(table(a=A, b=B), "SNR", group="C3")
        np.testing.assert_allclose(found.mean, [24.5, 25.5, 19.5, 16, 19])
        np.testing.assert_allclose(found.sd, np.std([A, B], axis=0, ddof=1))
        np.testing.assert_allclose(found.change_mean[2:], [-5.5, -9, -6])
        assert found.n.tolist() == [2] * 5
        row = found.row()
        assert (row["quantity"], row["group"], row["n_animals"]) == ("SNR", "C3", 2)
        assert row["peak"] == -9
        assert row["peak_sd"] == pytest.approx(math.sqrt(2))
        assert row["time_to_peak_s"] == 600
        assert row["time_to_peak_sd_s"] == 0
        assert (row["mean_curve_peak"], row["mean_curve_peak_time_s"]) == (-9, 600)
        assert "peak change -9 ± 1.4 (SD)" in repr(found)
        assert found.to_dataframe()["n"].tolist() == [2] * 5
        assert [r["animal"] for r in found.animal_rows()] == ["a", "b"]

    def test_a_peak_not_reached_makes_no_mean_time(self):
        found = rx.time_course(table(a=A, b=[30.0, 30, 28, 24, 20]), "SNR")
        row = found.row()
        assert row["n_peak_not_reached"] == 1
        assert "peak not reached in 1 of 2 animals" in row["flags"]
        assert math.isnan(row["time_to_peak_s"])
        assert row["time_to_peak_at_least_s"] == 900
        assert row["time_to_peak_n"] == 1
        assert row["peak_n"] == 2
        assert any(note.startswith("animal b: peak not reached") for note in found.notes)

    def test_peaks_are_in_one_direction(self):
        """The mean change is +1 at its largest: b's own −2 is no peak of this course."""
        up, down = [0.0, 0.0, 2.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.5, -2.0]
        found = rx.time_course(table(a=up, b=down), "dR2_per_s", baseline="zero")
        assert [c.peak.value for c in found.animals] == [2.0, 0.5]
        row = found.row()
        assert row["peak"] == 1.25
        assert row["peak_sd"] == pytest.approx(1.5 / math.sqrt(2))
        assert "the largest change goes the other way in 1 of 2 animals" in row["flags"]
        assert "peak not told apart from no change in 1 of 2 animals" in row["flags"]
        own = "animal b: its largest change, -2 at 1200 s, goes the other way"
        assert own in found.notes
        assert own not in row["flags"]
        # One more that falls turns the course, and its peaks.
        found = rx.time_course(table(a=up, b=down, c=down), "dR2_per_s", baseline="zero")
        assert [c.peak.value for c in found.animals] == [0, -2, -2]

    def test_opposite_changes_of_one_size(self):
        rows = table(a=[0.0, 0, 2, 2, 2], b=[0.0, 0, -2, -2, -2])
        row = rx.time_course(rows, "dR2_per_s", baseline="zero").row()
        assert row["peak"] == 0
        assert "the largest change goes the other way in 1 of 2 animals" in row["flags"]
        rows = table(a=[0.0, 0, 2, 1, 0], b=[0.0, 0, -2, -1, 0])
        found = rx.time_course(rows, "dR2_per_s", baseline="zero")
        assert [c.peak.value for c in found.animals] == [2, 0]

    def test_no_change_has_no_time_to_peak(self):
        """Five flat animals: what is largest is noise, and its time is chance."""
        rng = np.random.default_rng(8)
        flat = {name: [0.0, 0.0, *rng.normal(0, 0.3, 2), -0.5] for name in "abcd"}
        told = table(**flat, e=[0.0, 0.0, 3.0, 5.0, 2.0])
        found = rx.time_course(told, "dR2_per_s", baseline="zero")
        row = found.row()
        assert math.isnan(row["time_to_peak_s"])
        assert math.isnan(row["time_to_peak_at_least_s"])
        why = "peak not told apart from no change in 4 of 5 animals; time to peak not determined"
        assert why in row["flags"]
        assert why in found.notes
        few = rx.time_course(table(a=flat["a"], e=[0.0, 0, 3, 5, 2], f=[0.0, 0, 2, 6, 3]), "SNR")
        assert few.row()["time_to_peak_s"] > 0
        assert "peak not told apart from no change in 1 of 3 animals" in few.row()["flags"]

    def test_without_errors_it_is_said(self):
        row = rx.time_course(table(a=A, b=B).drop(columns="stderr"), "SNR").row()
        assert row["time_to_peak_s"] == 600
        assert row["flags"] == [
            "no errors, so that no peak is told apart from no change, in 2 of 2 animals"
        ]
        assert rx.time_course(table(a=A, b=B), "SNR").row()["flags"] == []

    def test_one_animal_has_no_sd(self):
        found = rx.time_course(table(a=A), "SNR")
        assert np.isnan(found.sd).all()
        assert math.isnan(found.row()["peak_sd"])
        assert "one animal: there is no SD over animals" in found.notes

    def test_animals_measured_at_other_times_are_not_interpolated(self):
        rows = table(a=A, b=B)
        rows.loc[(rows["animal"] == "b") & (rows["time_s"] == 600), "time_s"] = 660
        found = rx.time_course(rows, "SNR")
        assert found.time_s.tolist() == [-60, 0, 300, 600, 660, 1200]
        assert found.n.tolist() == [2, 2, 2, 1, 1, 2]
        assert found.mean[3:5].tolist() == [10, 22]
        assert any("n is 1 to 2 of 2" in note for note in found.notes)
        asked = rx.time_course(rows, "SNR", at_s=[0, 600, 2000])
        assert asked.n.tolist() == [2, 2, 0]
        assert asked.mean[1] == pytest.approx((10 + 24 + (22 - 24) * 300 / 360) / 2)
        assert math.isnan(asked.mean[2])
        assert any("interpolated" in note for note in asked.notes)
        # What an animal's peak is does not hang on what was asked.
        assert asked.row()["peak"] == found.row()["peak"]

    def test_areas_of_other_lengths_are_said(self):
        rows = table(a=A, b=B).iloc[:-1]
        assert any("not of one length" in note for note in rx.time_course(rows, "SNR").notes)

    def test_columns_by_the_name_of_the_quantity(self):
        rows = table(a=A).rename(columns={"value": "dR2_per_s", "stderr": "dR2_stderr_per_s"})
        a = rx.time_course(rows, "dR2_per_s").animals[0]
        assert a.stderr.tolist() == [0.5] * 5
        rows = table(a=A).rename(
            columns={"value": "concentration_mM", "stderr": "concentration_stderr_mM"}
        )
        assert rx.time_course(rows, "concentration_mM").animals[0].stderr[0] == 0.5

    def test_rows_of_regions_make_a_course(self):
        """What `RegionChange.row` and its like give goes in as it is."""
        rows = pd.DataFrame(
            [
                {"animal": "m1", "time_s": 60.0 * t, "dR2_per_s": 3.0 * t, "dR2_stderr_per_s": 1.0}
                for t in (1, 2, 3)
            ]
        )
        found = rx.time_course(rows, "dR2_per_s", baseline="zero")
        assert found.row()["peak"] == 9

    def test_noise_of_animals_is_what_the_sd_says(self):
        """SD over 600 animals: √(4² + σ²) of spread and noise, both known."""
        rng = np.random.default_rng(6)
        values = 20 + rng.normal(0, 4, 600)[:, None] + rng.normal(0, 1, (600, 3))
        rows = pd.DataFrame(
            {
                "animal": np.repeat(np.arange(600), 3),
                "time_s": np.tile([0.0, 60, 120], 600),
                "value": values.ravel(),
            }
        )
        found = rx.time_course(rows, "SNR")
        np.testing.assert_allclose(found.sd, math.sqrt(17), rtol=0.08)
        # Against its own value before, each animal's level cancels.
        np.testing.assert_allclose(found.change_sd[1:], math.sqrt(2), rtol=0.08)


class TestRefusals:
    @pytest.mark.parametrize(
        ("change", "complaint"),
        [
            ({"animal": ["", "a"]}, "a row without an animal"),
            ({"animal": [None, "a"]}, "a row without an animal"),
            ({"time_s": ["soon", 60.0]}, "time_s of animal a: 'soon'; expected a number"),
            ({"time_s": [math.nan, 60.0]}, "time_s of animal a: no number"),
            ({"time_s": [60.0, 60.0]}, "animal a: two rows at 60 s.*slices"),
            ({"value": ["?", 1.0]}, r"value of animal a: '\?'"),
            ({"value": [math.inf, 1.0]}, "value: infinity"),
            ({"stderr": [-1.0, 1.0]}, "stderr: a negative number"),
            ({"before": ["perhaps", "no"]}, "before: 'perhaps'; expected yes or no"),
            (
                {"before": ["no", "yes"], "time_s": [30.0, 60.0]},
                "a row before, at 60 s, comes after",
            ),
        ],
    )
    def test_tables(self, change, complaint):
        rows = {"animal": ["a", "a"], "time_s": [0.0, 60.0], "value": [1.0, 2.0]}
        with pytest.raises(rx.InputError, match=complaint):
            rx.time_course(pd.DataFrame(rows | change), "SNR")

    def test_columns(self):
        with pytest.raises(rx.InputError, match="no column time_s, SNR; expected animal, time_s"):
            rx.time_course(pd.DataFrame({"animal": ["a"]}), "SNR")
        with pytest.raises(rx.InputError, match="no row"):
            rx.time_course(pd.DataFrame({"animal": [], "time_s": [], "value": []}), "SNR")

    @pytest.mark.parametrize(
        ("options", "complaint"),
        [
            ({"baseline": "first"}, "'first'; expected before or zero"),
            ({"quantity": ""}, "quantity: ''"),
            ({"at_s": ["x"]}, "at_s"),
            ({"at_s": []}, "at_s"),
            ({"at_s": [math.nan]}, "at_s"),
        ],
    )
    def test_options(self, options, complaint):
        with pytest.raises(rx.InputError, match=complaint):
            rx.time_course(table(a=A), **({"quantity": "SNR"} | options))
