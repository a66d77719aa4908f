"""Animals before and after: means, SDs and paired tests, by hand and by R's numbers."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

import relaxometry as rx
from relaxometry.multiplicity import holm

REGIONS = np.array([[1, 1, 2, 2, 4, 4, 3, 3, 3]])
LABELS = {"target": 1, "reference": 2, "noise": 3, "muscle": 4}


def one(pre, post, slices=1, **what):
    """A measurement with these SNRs of the reference; SD of air 2, target 40, muscle 20."""

    def image(snr):
        row = np.array([[38.0, 42, 2 * snr, 2 * snr, 19, 21, 1, 3, 5]])
        return np.stack([row] * slices, axis=-1)

    regions = np.stack([REGIONS] * slices, axis=-1)
    found = rx.measure_contrast(image(pre), image(post), regions, **LABELS)
    return replace(found, **what)


def animals(pre, post, **what):
    return [
        one(a, b, animal=str(i), group="C3", **what)
        for i, (a, b) in enumerate(zip(pre, post, strict=True))
    ]


def of(table, quantity, **where):
    rows = table[table["quantity"] == quantity]
    for key, value in where.items():
        rows = rows[rows[key] == value]
    assert len(rows) == 1
    return rows.iloc[0]


PRE, POST = [15.0, 16, 14, 15], [5.0, 7, 6, 4]


class TestMeans:
    def test_by_hand(self):
        row = of(rx.over_animals(animals(PRE, POST)), "SNR_reference")
        assert (row["group"], row["n_animals"], row["n_slices"]) == ("C3", 4, 4)
        assert row["pre_mean"] == pytest.approx(15)
        assert row["pre_sd"] == pytest.approx(np.sqrt(2 / 3))
        assert row["post_mean"] == pytest.approx(5.5)
        changes = [5 / 15 - 1, 7 / 16 - 1, 6 / 14 - 1, 4 / 15 - 1]
        assert row["change_mean"] == pytest.approx(np.mean(changes))
        assert row["change_sd"] == pytest.approx(np.std(changes, ddof=1))

    def test_paired_t_by_hand(self):
        # Differences −10, −9, −8, −11: mean −9.5, SD 1.290994; t = −9.5/(1.290994/2) = −14.7173.
        row = of(rx.over_animals(animals(PRE, POST)), "SNR_reference")
        assert row["difference"] == pytest.approx(-9.5)
        p = 2 * stats.t.sf(9.5 / (math.sqrt(5 / 3) / 2), 3)
        assert p == pytest.approx(0.000681, rel=2e-3)
        assert row["p"] == pytest.approx(p)
        half = 3.182446 * math.sqrt(5 / 3) / 2
        assert row["difference_ci95_low"] == pytest.approx(-9.5 - half, rel=1e-6)
        assert row["difference_ci95_high"] == pytest.approx(-9.5 + half, rel=1e-6)
        assert (row["test"], row["stars"]) == ("paired t test", "***")

    def test_wilcoxon_exact(self):
        pre = [15.0, 16, 14, 15, 13, 17, 18]
        post = [5.0, 7, 6, 4, 14, 8, 6]
        row = of(rx.over_animals(animals(pre, post), "wilcoxon"), "SNR_reference")
        # Ranks of |−10, −9, −8, −11, +1, −9, −12|: W+ = 1, P = 2·2/2⁷.
        assert row["p"] == pytest.approx(2 * 2 / 2**7)
        assert row["reason"] == ""

    def test_wilcoxon_of_few_says_what_it_cannot(self):
        row = of(rx.over_animals(animals(PRE, POST), "wilcoxon"), "SNR_reference")
        assert row["p"] == pytest.approx(0.125)
        assert row["reason"] == "4 animals that changed: p cannot be below 0.125"
        assert row["stars"] == "ns"

    def test_wilcoxon_with_ties_is_exact(self):
        """Six up by 1 and one down by 1: sums of ranks as extreme in 16 of 2⁷ signs."""
        pre = [15.0, 16, 14, 15, 13, 17, 18]
        post = [p + d for p, d in zip(pre, [1, 1, 1, 1, 1, 1, -1], strict=True)]
        row = of(rx.over_animals(animals(pre, post), "wilcoxon"), "SNR_reference")
        assert row["p"] == pytest.approx(16 / 2**7)

    def test_what_is_no_contrast(self):
        with pytest.raises(rx.InputError, match=r"expected Contrast, of rx\.measure_contrast"):
            rx.over_animals([1])


class TestWhatCounts:
    def test_slices_are_no_animals(self):
        few = of(rx.over_animals(animals(PRE, POST)), "SNR_reference")
        many = of(rx.over_animals(animals(PRE, POST, slices=9)), "SNR_reference")
        assert (many["n_animals"], many["n_slices"]) == (4, 36)
        assert many["p"] == pytest.approx(few["p"])
        assert many["pre_sd"] == pytest.approx(few["pre_sd"])

    def test_one_animal_of_many_slices_is_no_test(self):
        row = of(rx.over_animals([one(15, 5, 9, animal="1", group="C3")]), "SNR_reference")
        assert (row["n_animals"], row["n_slices"]) == (1, 9)
        assert math.isnan(row["p"])
        assert math.isnan(row["pre_sd"])
        assert row["reason"] == "one animal: nothing to test"

    def test_two_measurements_of_one_animal_are_averaged_first(self):
        twice = [*animals(PRE, POST), one(17, 7, animal="0", group="C3", name="coronal")]
        row = of(rx.over_animals(twice), "SNR_reference")
        assert row["n_animals"] == 4
        assert row["pre_mean"] == pytest.approx(np.mean([16, 16, 14, 15]))

    def test_nobody_named_is_nobody_counted(self):
        assert rx.over_animals([one(15, 5), one(16, 6)]).empty

    def test_groups_are_apart(self):
        others = [replace(o, group="C1") for o in animals(POST, PRE)]
        table = rx.over_animals([*animals(PRE, POST), *others])
        assert of(table, "SNR_reference", group="C3")["change_mean"] < 0
        assert of(table, "SNR_reference", group="C1")["change_mean"] > 0

    def test_holm_over_the_times_of_a_quantity(self):
        early = animals(PRE, [14.0, 16.5, 13, 14.5], time_s=600.0)
        late = animals(PRE, POST, time_s=3600.0)
        table = rx.over_animals([*early, *late])
        rows = [of(table, "SNR_reference", time_s=t) for t in (600.0, 3600.0)]
        assert [row["p_holm"] for row in rows] == holm([row["p"] for row in rows])
        assert rows[0]["p_holm"] > 0.05 > rows[1]["p_holm"]

    def test_animals_that_all_differ_alike_have_no_scatter_to_test(self):
        row = of(rx.over_animals(animals([15, 15, 15], [5, 5, 5])), "SNR_reference")
        assert math.isnan(row["p"])
        assert "no scatter" in row["reason"]

    @pytest.mark.parametrize(("test", "complaint"), [("welch", "'welch'; expected t or wilcoxon")])
    def test_a_test_there_is_none(self, test, complaint):
        with pytest.raises(rx.InputError, match=complaint):
            rx.over_animals(animals(PRE, POST), test)

    def test_noise_methods_are_not_mixed(self):
        mixed = animals(PRE, POST)
        mixed[0] = replace(mixed[0], noise_method="rayleigh")
        with pytest.raises(rx.InputError, match="noise by rayleigh and by sd"):
            rx.over_animals(mixed)


def test_the_t_test_errs_in_one_of_twenty():
    """Animals that do not change, 400 times six of them: p < 0.05 in 2.5 to 8 %."""
    rng = np.random.default_rng(4)
    base = animals([15.0] * 6, [15.0] * 6)
    wrong = 0
    for _ in range(400):
        pre, post = rng.normal(15, 1, (2, 6))
        made = [
            replace(o, estimates=o.estimates | {
                "SNR_reference_pre": rx.Estimate(np.array([a]), np.array([0.1])),
                "SNR_reference_post": rx.Estimate(np.array([b]), np.array([0.1])),
            })
            for o, a, b in zip(base, pre, post, strict=True)
        ]  # fmt: skip
        wrong += of(rx.over_animals(made), "SNR_reference")["p"] < 0.05
    assert 0.025 <= wrong / 400 <= 0.08
