"""The line R = R(0) + r·c against NumPy, hand computation and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t as student

import relaxometry as rx

C = np.array([0, 0.025, 0.05, 0.1, 0.2, 0.4])
R = np.array([3.1, 16.2, 30.1, 56.0, 110.3, 215.9])
SIGMA = np.array([0.1, 0.3, 0.5, 1, 2, 5])


class TestFixedIntercept:
    @pytest.mark.parametrize("sigma", [None, SIGMA])
    def test_against_least_squares_of_numpy(self, sigma):
        w = np.ones_like(C) if sigma is None else 1 / sigma
        (r,), (rss,), *_ = np.linalg.lstsq((w * C)[:, None], w * (R - 3.0), rcond=None)
        line = rx.relaxivity_fit(C, R, stderr=sigma, intercept=3.0, symbol="r2")
        assert line.r.value == pytest.approx(r, rel=1e-12)
        assert (line.R0.value, line.R0.stderr) == (3.0, 0.0)
        assert (line.n, line.dof) == (6, 5)
        variance = 1 / ((w * C) ** 2).sum()
        reduced = rss / 5
        known = variance * (reduced if sigma is None else max(reduced, 1))
        assert line.r.stderr == pytest.approx(np.sqrt(known), rel=1e-9)
        # What follows from the errors given counts as known, the rest by Student's t.
        k = [student.ppf(0.975, 5), 1.90]
        half = k[0] * line.r.stderr
        if sigma is not None:
            half = np.sqrt(k[1] ** 2 * variance + k[0] ** 2 * max(reduced - 1, 0) * variance)
        assert line.ci95 == pytest.approx((r - half, r + half), rel=1e-9)
        assert line.band(0.0) == 0

    @pytest.mark.parametrize("intercept", [float("nan"), float("inf")])
    def test_that_cannot_be(self, intercept):
        with pytest.raises(rx.InputError, match="intercept"):
            rx.relaxivity_fit(C, R, intercept=intercept)


class TestFewPoints:
    def test_two_points_have_a_slope_without_an_error(self):
        line = rx.relaxivity_fit([0, 0.2], [10, 60], symbol="r2")
        assert (line.r.value, line.R0.value) == pytest.approx((250, 10))
        assert np.isnan([line.r.stderr, line.R0.stderr, *line.ci95, line.residual_sd]).all()
        assert line.flags == ("no degree of freedom: the error of the slope is unknown",)
        assert "r2 = 250 mM⁻¹ s⁻¹" in repr(line)

    def test_two_points_with_their_errors_have_one(self):
        line = rx.relaxivity_fit([0, 0.2], [10, 60], stderr=[0.3, 0.4])
        assert line.r.stderr == pytest.approx(0.5 / 0.2)
        assert line.ci95[1] - line.r.value == pytest.approx(1.9 * 2.5)
        assert "not held against the scatter" in line.flags[0]

    @pytest.mark.parametrize("c", [[0.1], [0.1, 0.1, 0.1], [], [0, 0]])
    def test_one_concentration_is_no_line(self, c):
        with pytest.raises(rx.InputError, match="different concentration; expected at least two"):
            rx.relaxivity_fit(c, np.ones(len(c)))

    def test_points_on_a_line_leave_nothing_over(self):
        line = rx.relaxivity_fit(C, 4 + 100 * C)
        assert line.r.value == pytest.approx(100)
        assert line.rsquared == pytest.approx(1)
        assert line.r.stderr < 1e-9

    def test_a_flat_line_has_no_share_to_explain(self):
        assert np.isnan(rx.relaxivity_fit(C, np.full(6, 4.0)).rsquared)


class TestWeights:
    def test_a_point_without_weight_does_not_pull(self):
        wrong = np.append(R, 500.0)
        line = rx.relaxivity_fit(np.append(C, 0.3), wrong, stderr=np.append(SIGMA, 1e9))
        without = rx.relaxivity_fit(C, R, stderr=SIGMA)
        assert line.r.value == pytest.approx(without.r.value, rel=1e-9)

    def test_errors_that_are_too_small_are_scaled_by_the_scatter(self):
        """Birge: below χ²/ν = 1 errors stand as given; above it the scatter alone tells them."""
        wide, narrow, tiny = (
            rx.relaxivity_fit(C, R, stderr=factor * SIGMA) for factor in (10, 0.1, 0.01)
        )
        plain = np.sqrt(np.linalg.inv(design_of(SIGMA).T @ design_of(SIGMA))[1, 1])
        assert wide.r.stderr == pytest.approx(10 * plain)
        assert wide.flags == ()
        assert narrow.chi2_reduced == pytest.approx(0.3232060315 * 100, rel=1e-8)
        assert narrow.r.stderr == pytest.approx(0.1 * plain * np.sqrt(narrow.chi2_reduced))
        assert tiny.r.stderr == pytest.approx(narrow.r.stderr)
        assert narrow.flags == ("points scatter more than their errors: errors × 5.69",)

    def test_equal_weights_are_the_ordinary_line(self):
        ordinary = rx.relaxivity_fit(C, R)
        weighted = rx.relaxivity_fit(C, R, stderr=np.full(6, 1e-3))
        assert weighted.r.value == pytest.approx(ordinary.r.value)
        assert weighted.r.stderr == pytest.approx(ordinary.r.stderr)
        assert weighted.rsquared == pytest.approx(ordinary.rsquared)

    def test_errors_of_concentrations_widen_the_line(self):
        line = rx.relaxivity_fit(C, R, stderr=SIGMA, concentration_sd=0.05 * C)
        assert line.method == "odr"
        assert line.r.stderr > rx.relaxivity_fit(C, R, stderr=SIGMA, method="weighted").r.stderr
        # With exact concentrations it is the weighted line.
        same = rx.relaxivity_fit(
            C, R, stderr=SIGMA, concentration_sd=np.full(6, 1e-12), method="york"
        )
        weighted = rx.relaxivity_fit(C, R, stderr=SIGMA)
        assert same.r.value == pytest.approx(weighted.r.value, rel=1e-6)
        assert same.r.stderr == pytest.approx(weighted.r.stderr, rel=1e-6)

    def test_the_method_follows_from_the_errors(self):
        assert rx.relaxivity_fit(C, R).method == "ordinary"
        assert rx.relaxivity_fit(C, R, concentration_sd=0.05 * C).method == "ordinary"
        assert rx.relaxivity_fit(C, R, stderr=SIGMA, concentration_sd=0 * C).method == "weighted"
        plain = rx.relaxivity_fit(C, R, stderr=SIGMA, method="ordinary")
        assert plain.r.value == rx.relaxivity_fit(C, R).r.value
        assert np.isnan(plain.sigma).all()


def design_of(sigma):
    return np.column_stack([np.ones_like(C), C]) / sigma[:, None]


def test_band_of_the_line_by_hand():
    """s·t·√(1/n + (c − c̄)²/Σ(c − c̄)²)."""
    line = rx.relaxivity_fit(C, R)
    s = np.sqrt(((R - line.line(C)) ** 2).sum() / 4)
    at = np.array([0.0, 0.1, 0.7])
    spread = ((C - C.mean()) ** 2).sum()
    half = student.ppf(0.975, 4) * s * np.sqrt(1 / 6 + (at - C.mean()) ** 2 / spread)
    np.testing.assert_allclose(line.band(at), half, rtol=1e-9)
    assert line.band(0.0) == pytest.approx(student.ppf(0.975, 4) * line.R0.stderr)
    assert line.residual_sd == pytest.approx(s)
    np.testing.assert_allclose(line.line(at), line.R0.value + line.r.value * at)


@pytest.mark.parametrize("method", ["ordinary", "weighted", "york"])
def test_intervals_hold_the_truth_as_often_as_they_say(method):
    """2000 lines; where errors are given they are true, and χ²/ν > 1 can only widen them."""
    rng = np.random.default_rng(8)
    true_r, true_R0, inside = 90.0, 9.0, 0
    sigma, c_sd = 0.2 + 0.02 * (true_R0 + true_r * C), 0.02 * C
    for _ in range(2000):
        if method == "ordinary":
            line = rx.relaxivity_fit(C, true_R0 + true_r * C + rng.normal(0, 1, 6))
        else:
            c = C + (rng.normal(0, c_sd) if method == "york" else 0)
            rates = true_R0 + true_r * C + rng.normal(0, sigma)
            line = rx.relaxivity_fit(
                np.abs(c), rates, stderr=sigma, concentration_sd=c_sd, method=method
            )
        inside += line.ci95[0] < true_r < line.ci95[1]
    upper = 0.97 if method == "ordinary" else 1.0
    assert 0.93 <= inside / 2000 <= upper


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"stderr": [0.1, 0, 0.5, 1, 2, 5]}, "stderr: an error of 0; expected above 0"),
        ({"stderr": [0.1, -1, 0.5, 1, 2, 5]}, "stderr: an error of -1"),
        ({"stderr": [0.1, np.nan, 0.5, 1, 2, 5]}, "stderr: not a list of finite numbers"),
        ({"stderr": [0.1]}, "stderr: 1 values; expected 6 of them"),
        ({"rate": R[:5]}, "rate: 5 values; expected 6"),
        ({"rate": ["a"] * 6}, "rate: .* not numeric"),
        ({"rate": np.where(C > 0.3, np.inf, R)}, "rate: not a list of finite"),
        ({"concentration": -C}, "concentration: -0.4 mM"),
        ({"concentration": C[None]}, "concentration: not a list"),
        ({"stderr": SIGMA, "concentration_sd": -C}, "concentration_sd: -0.4 mM"),
        ({"method": "weighted"}, "method weighted without errors"),
        ({"method": "york"}, "method york without errors"),
        ({"method": "york", "stderr": SIGMA}, "concentration_sd: method york without errors"),
        (
            {"method": "york", "stderr": SIGMA, "concentration_sd": C, "intercept": 3.0},
            "method york with a fixed intercept",
        ),
        ({"method": "best"}, "method: 'best'; expected auto, ordinary, relative, weighted"),
        ({"method": "relative", "rate": R - 50}, "method relative: a rate of -46.9 s⁻¹"),
        ({"method": "theil-sen", "intercept": 3.0}, "method theil-sen with a fixed intercept"),
        ({"stock_rsd": 5}, "stock_rsd: 5; expected a fraction, as 0.05 for 5 %"),
        ({"stock_rsd": -0.1}, "stock_rsd: -0.1"),
        ({"tubes": [1, 2]}, "tubes: 2 values; expected 6"),
        ({"replicate": [1, 2]}, "replicate: 2 values; expected 6"),
        ({"replicate": [1, 1, 1, 2, 2, float("nan")]}, "replicate: not a list of finite"),
        ({"replicate": [1, 1, 1, 2, 2, 2.5]}, "expected whole numbers from 0"),
    ],
)
def test_what_is_no_line(arguments, complaint):
    with pytest.raises(rx.InputError, match=complaint):
        rx.relaxivity_fit(**{"concentration": C, "rate": R} | arguments)
