"""Estimates: error propagation against simulation, and what people read."""

from __future__ import annotations

import numpy as np
import pytest

import relaxometry as rx

NAN, INF = float("nan"), float("inf")


def test_rate_of_a_time_has_the_error_of_the_time():
    rate = rx.Estimate(0.05, 0.001, "T2").inverse("R2")
    assert rate.value == pytest.approx(20)
    assert rate.stderr == pytest.approx(0.001 / 0.05**2)  # σ_R = σ_T/T²
    back = rate.inverse("T2")
    assert (back.value, back.stderr) == pytest.approx((0.05, 0.001))
    assert (rate.unit, back.unit) == ("s⁻¹", "s")


def test_errors_of_inverse_and_ratio_are_those_of_a_simulation():
    rng = np.random.default_rng(2)
    a, b = rx.Estimate(98.0, 1.0), rx.Estimate(4.2, 0.05)
    drawn_a, drawn_b = (rng.normal(e.value, e.stderr, 400_000) for e in (a, b))
    ratio = a.over(b)
    assert ratio.value == pytest.approx(98 / 4.2)
    assert ratio.stderr == pytest.approx(np.std(drawn_a / drawn_b), rel=0.01)
    assert b.inverse().stderr == pytest.approx(np.std(1 / drawn_b), rel=0.01)


def test_zero_has_no_inverse_and_is_no_divisor():
    zero, one = rx.Estimate(0.0, 0.1), rx.Estimate(1.0, 0.2)
    for estimate in (zero.inverse(), one.over(zero)):
        assert np.isnan(estimate.value)
        assert np.isnan(estimate.stderr)
    nothing = zero.over(one)  # a ratio of zero keeps its error
    assert (nothing.value, nothing.stderr) == pytest.approx((0.0, 0.1))


def test_maps_go_voxel_by_voxel():
    T = rx.Estimate(np.array([[0.05, 0.1], [0.0, NAN]]), np.full((2, 2), 0.01), "T2")
    R = T.inverse("R2")
    np.testing.assert_allclose(R.value, [[20, 10], [NAN, NAN]])
    np.testing.assert_allclose(R.stderr, [[4, 1], [NAN, NAN]])
    ratio = T.over(rx.Estimate(0.05, 0.0))
    np.testing.assert_allclose(ratio.value, [[1, 2], [0, NAN]])
    assert repr(T) == "T2 map 2×2: median 50 ms over 3 voxels"
    assert repr(rx.Estimate(np.full(3, NAN), np.full(3, NAN))) == "value map 3: nothing determined"
    with pytest.raises(TypeError, match="scalar"):
        format(T, ".2f")


def test_value_and_error_must_have_one_shape():
    with pytest.raises(rx.InputError, match="same shape"):
        rx.Estimate([1.0, 2.0], 0.1)


@pytest.mark.parametrize(
    ("value", "stderr", "symbol", "text"),
    [
        (0.0506371, 0.000123, "T2", "50.64 ± 0.12 ms"),
        (533.412, 13.21, "r2", "533 ± 13 mM⁻¹ s⁻¹"),
        (1234.5, 140, "", "1230 ± 140"),
        (98765.4, 4321.0, "", "98800 ± 4300"),
        (20, 0.05, "R2", "20.000 ± 0.050 s⁻¹"),
        # The error is 0.10 or 10 after rounding: still two digits.
        (1.23456, 0.0996, "", "1.23 ± 0.10"),
        (12.3456, 9.96, "", "12 ± 10"),
        (-0.001, 0.5, "", "0.00 ± 0.50"),
        (1.5, 0.0, "R1", "1.5 ± 0 s⁻¹"),
        (1.5, NAN, "R1", "1.5 s⁻¹"),
        (1.5, INF, "R1", "1.5 ± inf s⁻¹"),
        (1e12, 2.3e9, "", "1e+12 ± 2.3e+09"),
        (1.0, 1e-12, "", "1 ± 1e-12"),
        (NAN, 0.1, "T2", "not determined"),
        (NAN, NAN, "", "not determined"),
    ],
)
def test_as_people_read_it(value, stderr, symbol, text):
    estimate = rx.Estimate(value, stderr, symbol)
    assert str(estimate) == text
    assert repr(estimate) == f"{symbol or 'value'} = {text}"


def test_a_format_of_ones_own():
    assert f"{rx.Estimate(0.0506371, 0.000123, 'T2'):.1f}" == "50.6 ± 0.1 ms"
