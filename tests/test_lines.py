"""Lines of every method: against independent solutions, by hand, and by simulation."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from scipy import optimize, stats

import relaxometry as rx
from relaxometry.ratio import fieller, ratio
from tests.studies import CASES, scored

C = np.array([0, 0.025, 0.05, 0.1, 0.2, 0.4])
R = np.array([3.1, 16.2, 30.1, 56.0, 110.3, 215.9])
SIGMA = np.array([0.1, 0.3, 0.5, 1, 2, 5])


#: The others are in the benchmark only: they take time.
TOLD = CASES[:6]


def noisy(seed=0, slope=90.0, c=C, error=0.5):
    return 9 + slope * c + np.random.default_rng(seed).normal(0, error, c.size)


class TestBothAxes:
    @pytest.mark.parametrize("seed", range(5))
    def test_two_solutions_of_one_problem(self, seed):
        """ODRPACK and York's iteration, with an exact blank."""
        rng = np.random.default_rng(seed)
        c_sd, sigma = 0.05 * C, rng.uniform(0.2, 2, 6)
        given = {"stderr": sigma, "concentration_sd": c_sd}
        one, two = (rx.relaxivity_fit(C, noisy(seed), method=m, **given) for m in ("odr", "york"))
        assert one.r.value == pytest.approx(two.r.value, rel=1e-7)
        assert one.R0.value == pytest.approx(two.R0.value, rel=1e-6)
        np.testing.assert_allclose(one.covariance, two.covariance, rtol=1e-5)
        assert one.ci95 == pytest.approx(two.ci95, rel=1e-6)

    def test_fixed_intercept_is_the_least_sum_of_squares(self):
        """With the best place of each tube put in, χ² is a function of r alone."""
        c_sd = 0.1 * C
        rates = noisy(3)
        line = rx.relaxivity_fit(
            C, rates, stderr=SIGMA, concentration_sd=c_sd, intercept=9.0, method="odr"
        )

        def chi2(r):
            return ((rates - 9 - r * C) ** 2 / (SIGMA**2 + (r * c_sd) ** 2)).sum()

        best = optimize.minimize_scalar(chi2, bounds=(50, 130), method="bounded")
        assert line.r.value == pytest.approx(best.x, rel=1e-5)
        assert line.chi2_reduced == pytest.approx(best.fun / 5, rel=1e-6)
        assert (line.R0.value, line.dof) == (9.0, 5)


class TestRelative:
    def test_against_maximum_likelihood_of_a_gamma_free_kind(self):
        """The fixed point of weights by the fitted values, by NumPy."""
        a, b = np.polyfit(C, R, 1)[::-1]
        for _ in range(50):
            b, a = np.polyfit(C, R, 1, w=1 / (a + b * C))
        line = rx.relaxivity_fit(C, R, method="relative")
        assert (line.R0.value, line.r.value) == pytest.approx((a, b), rel=1e-9)
        fitted = a + b * C
        cv = np.sqrt((((R - fitted) / fitted) ** 2).sum() / 4)
        X = np.stack([np.ones(6), C], 1) / (cv * fitted)[:, None]
        np.testing.assert_allclose(line.covariance, np.linalg.inv(X.T @ X), rtol=1e-8)
        half = stats.t.ppf(0.975, 4) * line.r.stderr
        assert line.ci95 == pytest.approx((b - half, b + half))

    def test_the_unit_of_the_rates_does_not_matter(self):
        one, two = (rx.relaxivity_fit(C, k * R, method="relative") for k in (1, 1000))
        assert two.r.value == pytest.approx(1000 * one.r.value)
        assert two.r.stderr == pytest.approx(1000 * one.r.stderr)


class TestRobust:
    def test_one_wrong_tube_of_five_is_set_aside_by_name(self):
        c, rates = C[1:], R[1:].copy()
        rates[3] = 61.0
        line = rx.relaxivity_fit(c, rates, method="robust", symbol="r2", tubes=[7, 8, 9, 10, 11])
        without = rx.relaxivity_fit(np.delete(c, 3), np.delete(rates, 3))
        assert line.r.value == pytest.approx(without.r.value, rel=2e-3)
        assert list(line.used) == [True, True, True, False, True]
        assert "tube 10 is set aside" in line.flags[0]
        ordinary = rx.relaxivity_fit(c, rates)
        assert line.r.stderr < 0.2 * ordinary.r.stderr

    def test_weights_of_the_sets_by_integration(self):
        """Posterior of the slope by adding up over a grid of line and error, set by set."""
        c, rates = np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.1, 1.0, 2.1, 4.4])
        line = rx.relaxivity_fit(c, rates, method="robust")
        slopes = np.linspace(-6, 9, 301)
        intercepts = np.linspace(-12, 12, 241)[:, None]
        sigmas = np.geomspace(0.003, 60, 220)
        density = np.zeros_like(slopes)
        for gone in [(), *((i,) for i in range(4))]:
            keep = np.delete(np.arange(4), gone)
            rss = sum((rates[i] - intercepts - slopes * c[i]) ** 2 for i in keep)
            prior = (0.1 / 0.9) ** len(gone) / np.ptp(rates) ** len(gone)
            for s in sigmas:  # dσ/σ is one step of the geometric grid
                density += prior * (
                    np.exp(-rss / (2 * s * s)) / (2 * np.pi * s * s) ** (len(keep) / 2)
                ).sum(axis=0)
        below = np.cumsum(density) / density.sum()
        # The grids end somewhere, and a t of one degree of freedom does not.
        for end, p in zip(line.ci95, (0.025, 0.975), strict=True):
            assert np.interp(end, slopes + slopes[1] / 2 - slopes[0] / 2, below) == pytest.approx(
                p, abs=0.012
            )

    def test_clean_points_are_all_used(self):
        line = rx.relaxivity_fit(C, R, method="robust")
        assert line.used.all()
        assert line.r.value == pytest.approx(rx.relaxivity_fit(C, R).r.value, rel=1e-3)

    def test_many_points_with_several_wrong(self):
        c = np.tile(C, 3)
        rates = noisy(1, c=c)
        rates[[4, 9, 16]] += [40, -35, 60]
        line = rx.relaxivity_fit(c, rates, method="robust")
        assert list(np.flatnonzero(~line.used)) == [4, 9, 16]
        assert line.ci95[0] < 90 < line.ci95[1]
        assert line.dof == 13

    def test_a_quarter_of_many_tubes(self):
        c = np.tile(C, 4)
        rates = noisy(3, c=c)
        wrong = [1, 5, 8, 13, 15, 22]
        rates[wrong] += np.array([30, -40, 25, 50, -30, 35])
        line = rx.relaxivity_fit(c, rates, method="robust")
        assert list(np.flatnonzero(~line.used)) == wrong
        assert line.ci95[0] < 90 < line.ci95[1]

    @pytest.mark.parametrize("n", [4, 5, 6])
    def test_of_clean_tubes_none_is_called_off_the_line(self, n):
        told = [
            rx.relaxivity_fit(C[-n:], noisy(seed, c=C[-n:]), method="robust").remarks
            for seed in range(200)
        ]
        assert sum(any("does not lie" in text for text in one) for one in told) == 0
        assert sum(any("set aside" in text for text in one) for one in told) <= 20

    def test_a_fixed_intercept(self):
        rates = noisy(2)
        rates[2] += 30
        line = rx.relaxivity_fit(C, rates, method="robust", intercept=9.0)
        assert line.R0.value == 9
        assert list(np.flatnonzero(~line.used)) == [2]
        assert line.ci95[0] < 90 < line.ci95[1]

    def test_points_exactly_on_a_line(self):
        line = rx.relaxivity_fit(C, 4 + 100 * C, method="robust")
        assert line.r.value == pytest.approx(100)
        assert line.used.all()

    def test_three_points_cannot_tell_which_is_wrong(self):
        with pytest.raises(rx.InputError, match="method robust: 3 points; expected at least four"):
            rx.relaxivity_fit(C[:3], R[:3], method="robust")

    def test_theil_sen_is_the_median_of_slopes_and_its_interval_lies_between_ranks(self):
        c, rates = C[1:], noisy(5, c=C[1:])
        line = rx.relaxivity_fit(c, rates, method="theil-sen")
        slopes = sorted((rates[j] - rates[i]) / (c[j] - c[i]) for i, j in combinations(range(5), 2))
        assert line.r.value == pytest.approx(np.median(slopes))
        # Of the 120 orders of five points 1 has no inversion and 4 have one: from slope 1 to 10
        # the interval holds the truth in 98.3 %, from 2 to 9 in 91.7 %.
        assert slopes[0] < line.ci95[0] < slopes[1]
        assert slopes[-2] < line.ci95[1] < slopes[-1]
        few = rx.relaxivity_fit(c[:4], rates[:4], method="theil-sen")
        assert np.isnan(few.ci95).all()


class TestIntervals:
    def test_known_errors_and_scatter_each_with_their_own_quantile(self):
        line = rx.relaxivity_fit(C, R, stderr=0.1 * SIGMA)
        base = line.r.stderr**2 / line.chi2_reduced
        half = np.sqrt(1.90**2 * base + stats.t.ppf(0.975, 4) ** 2 * (line.r.stderr**2 - base))
        assert line.ci95[1] - line.r.value == pytest.approx(half)
        assert line.k95 == pytest.approx(half / line.r.stderr)
        assert line.known == pytest.approx(1 / line.chi2_reduced)

    def test_error_of_the_stock_is_added_to_r_and_not_to_the_band(self):
        plain = rx.relaxivity_fit(C, R, stderr=SIGMA)
        line = rx.relaxivity_fit(C, R, stderr=SIGMA, stock_rsd=0.05)
        assert line.r.stderr == pytest.approx(np.hypot(plain.r.stderr, 0.05 * plain.r.value))
        assert line.slope.stderr == pytest.approx(plain.r.stderr)
        np.testing.assert_array_equal(line.band(C), plain.band(C))
        # The line's errors are stated under Birge's rule (1.90), the stock's are not (1.96).
        half = np.hypot(1.90 * plain.r.stderr, 1.959963984540054 * 0.05 * plain.r.value)
        assert line.ci95 == pytest.approx((line.r.value - half, line.r.value + half))

    def test_prediction_band_by_hand(self):
        line = rx.relaxivity_fit(C, R)
        at = np.array([0.0, 0.15, 0.4])
        spread = ((C - C.mean()) ** 2).sum()
        half = (
            stats.t.ppf(0.975, 4)
            * line.residual_sd
            * np.sqrt(1 + 1 / 6 + (at - C.mean()) ** 2 / spread)
        )
        np.testing.assert_allclose(line.prediction(at), half)

    def test_prediction_band_holds_one_more_tube_as_often_as_it_says(self):
        rng, held = np.random.default_rng(4), 0
        for _ in range(1000):
            line = rx.relaxivity_fit(C, 9 + 90 * C + rng.normal(0, 1, 6))
            held += abs(9 + 90 * 0.3 + rng.normal(0, 1) - line.line(0.3)) < line.prediction(0.3)
        assert 930 <= held <= 970

    @pytest.mark.parametrize("case", TOLD, ids=lambda case: case.name)
    def test_hold_the_truth_as_often_as_they_say(self, case):
        """95 % intervals of r1, r2 and r2/r1 over 2000 studies: 93 to 97 %."""
        score = scored(case, case.method, 2000, seed=11)
        assert all(93 <= held <= 97 for held in (score.r1, score.r2, score.ratio)), score

    @pytest.mark.parametrize("case", CASES[1:5], ids=lambda case: case.name)
    def test_the_ordinary_line_fails_in_the_same_studies(self, case):
        assert scored(case, "ordinary", 500, seed=12).r2 < 85


class TestDiagnosis:
    def test_against_definitions(self):
        line = rx.relaxivity_fit(C, noisy(7))
        X = np.stack([np.ones(6), C], axis=1)
        hat = X @ np.linalg.inv(X.T @ X) @ X.T
        h, e = np.diag(hat), line.residual
        np.testing.assert_allclose(line.leverage, h)
        s2 = (e @ e) / 4
        np.testing.assert_allclose(line.cook, e**2 * h / (2 * s2 * (1 - h) ** 2))

    @pytest.mark.parametrize("sigma", [None, SIGMA])
    def test_influence_is_what_leaving_a_point_out_does(self, sigma):
        line = rx.relaxivity_fit(C, noisy(8), stderr=sigma)
        for i, change in enumerate(line.influence):
            without = line.refit(np.arange(6) != i)
            assert without.method == line.method
            assert without.r.value / line.r.value - 1 == pytest.approx(change, abs=1e-9)

    def test_curvature_is_the_test_of_a_quadratic_term(self):
        rates = noisy(9) + 40 * C**2
        line = rx.relaxivity_fit(C, rates)
        rss1 = (line.residual**2).sum()
        rss2 = ((rates - np.polyval(np.polyfit(C, rates, 2), C)) ** 2).sum()
        F = (rss1 - rss2) / (rss2 / 3)
        assert line.curvature_p == pytest.approx(stats.f.sf(F, 1, 3))

    @pytest.mark.parametrize(
        ("symbol", "sign", "word"),
        [
            ("r2", -1, "first echo"),
            ("r2", 1, "aggregate"),
            ("r1", -1, "shortest TI or TR"),
            ("r1", 1, "longest TI or TR"),
            ("", 1, "limit of the method"),
        ],
    )
    def test_a_bend_is_told_in_plain_words(self, symbol, sign, word):
        line = rx.relaxivity_fit(C, noisy(9, error=0.05) + sign * 60 * C**2, symbol=symbol)
        (remark,) = line.remarks
        assert f"bends {'up' if sign > 0 else 'down'}" in remark
        assert word in remark
        assert line.diagnosis.curvature == pytest.approx(
            sign * 60 * 0.4**2 / (line.r.value * 0.4), rel=0.1
        )

    def test_straight_lines_are_seldom_called_bent_or_a_point_off(self):
        """5 % and 1 % by their probabilities."""
        bent = off = 0
        for seed in range(1000):
            remarks = rx.relaxivity_fit(C, noisy(seed), symbol="r2").remarks
            bent += any("bends" in text for text in remarks)
            off += any("does not lie" in text for text in remarks)
        assert 30 <= bent <= 70
        assert off <= 20

    def test_a_point_off_the_line_is_named(self):
        rates = noisy(10, error=0.05)
        rates[3] += 8
        line = rx.relaxivity_fit(C, rates, symbol="r2", tubes=list("abcdef"))
        told = [text for text in line.remarks if "does not lie" in text]
        assert told[0].startswith("tube d does not lie on the line through the others (P = ")
        # The externally studentised residual of d, by leaving it out.
        without = line.refit(np.arange(6) != 3)
        wide = np.hypot(without.residual_sd, without.band(C[3]) / without.k95)
        t = abs(rates[3] - without.line(C[3])) / wide
        assert line.diagnosis.off[3] == pytest.approx(6 * 2 * stats.t.sf(t, 3), rel=1e-6)

    def test_a_slope_that_rests_on_one_tube(self):
        c = np.array([0, 0.01, 0.02, 0.03, 1.0])
        line = rx.relaxivity_fit(c, noisy(1, c=c), symbol="r2")
        assert any(
            "rests almost alone on the point at 1 mM (leverage 1.00)" in f for f in line.flags
        )


class TestRatio:
    def two(self, seed=0, r1=4.0, error=0.02, **given):
        r1_line = rx.relaxivity_fit(C, noisy(seed, r1, error=error) - 8.6, symbol="r1", **given)
        return rx.relaxivity_fit(C, noisy(seed + 100, error=0.5), symbol="r2", **given), r1_line

    @pytest.mark.parametrize("method", ["ordinary", "relative", "robust"])
    def test_three_ways_agree_where_r1_is_well_known(self, method):
        found = ratio(*self.two(method=method))
        width = found.fieller95[1] - found.fieller95[0]
        # A robust line's own interval need not lie even about its value.
        apart = (0.2 if method == "robust" else 0.05) * width
        for interval in (found.delta95, found.simulated95()):
            np.testing.assert_allclose(interval, found.fieller95, atol=apart)

    def test_monte_carlo_of_a_poorly_known_r1_goes_with_fieller_and_not_with_the_delta_method(self):
        found = ratio(*self.two(error=0.2))
        drawn, delta = np.array(found.simulated95()), np.array(found.delta95)
        fieller = np.array(found.fieller95)
        assert np.abs(drawn - fieller).max() < 0.4 * np.abs(drawn - delta).max()

    def test_an_r1_that_may_be_zero_leaves_it_unbounded(self):
        found = ratio(*self.two(r1=0.1, error=0.2))
        assert found.denominator.ci95[0] < 0 < found.denominator.ci95[1]
        assert math.inf in [abs(end) for end in found.fieller95]

    def test_an_end_far_off_is_an_end(self):
        """r1 is above 0, if barely: the closed form of Fieller's interval has an upper end."""
        c = np.array([0, 0.05, 0.1, 0.2, 0.4])
        r1 = rx.relaxivity_fit(c, [0.522, 0.508, 0.766, 0.755, 0.941], symbol="r1")
        r2 = rx.relaxivity_fit(c, [3.63, 4.73, 7.41, 8.85, 14.62], symbol="r2")
        assert r1.ci95[0] > 0
        found = ratio(r2, r1)
        t, off = stats.t.ppf(0.975, 3), c - c.mean()
        shared = (r1.residual @ r2.residual) / 3 / (off @ off)
        closed = fieller(r2.r, r1.r, t, shared)
        assert found.fieller95 == pytest.approx(closed, rel=1e-6)
        assert math.isfinite(closed[1])

    def test_tubes_without_a_number_are_not_one_tube(self):
        r2, r1 = (
            rx.relaxivity_fit(C, noisy(seed), symbol=s, tubes=[None] * 6)
            for seed, s in ((1, "r2"), (2, "r1"))
        )
        assert abs(ratio(r2, r1).covariance) < 1e-9

    def test_the_stock_cancels(self):
        one, two = (ratio(*self.two(stock_rsd=f)) for f in (0.0, 0.2))
        assert one.fieller95 == two.fieller95
        assert one.stderr == two.stderr

    def test_lines_through_other_tubes_are_independent(self):
        r2, r1 = self.two()
        alone = rx.relaxivity_fit(C + 0.001, r1.rate, symbol="r1")
        found = ratio(r2, alone)
        assert found.covariance == pytest.approx(0, abs=1e-12)
        relative = np.hypot(r2.r.stderr / r2.r.value, alone.r.stderr / alone.r.value)
        assert found.stderr == pytest.approx(found.value * relative)


def test_refit_of_too_few_points_is_no_line():
    line = rx.relaxivity_fit(C, R).refit(C > 0.3)
    assert np.isnan(line.r.value)
    assert line.flags == ("not determined: fewer than two concentrations",)


@pytest.mark.parametrize(
    ("array", "field_T", "symbol", "published"),
    [
        ("NiCl2", 1.5, "r1", 0.630),
        ("NiCl2", 3.0, "r1", 0.662),
        ("MnCl2", 1.5, "r2", 83.0),
        ("MnCl2", 3.0, "r2", 116.9),
    ],
)
def test_relaxivities_of_the_system_phantom(array, field_T, symbol, published):
    """Stupic et al., Magn Reson Med 86:1194 (2021): batch 1, concentrations by ICP."""
    table = rx.reference.system_phantom(array, batch=1, field_T=field_T)
    rate = 1 / table[f"T{symbol[1]}_s"]
    line = rx.relaxivity_fit(table["concentration_mM"], rate, symbol=symbol)
    assert line.r.value == pytest.approx(published, abs=0.0006 if published < 1 else 0.06)
