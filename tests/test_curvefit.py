"""One curve and its second opinion: intervals, correlations, AICc, and what lmfit must refuse."""

from __future__ import annotations

import warnings
from math import log

import numpy as np
import pytest
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import f as fisher

import relaxometry as rx

from .hard_cases import PROTOCOLS, amplitudes_of

TE = PROTOCOLS["TE"].TE
# The check values of the science.
T2_SIGNAL = [903, 825, 741, 678, 604, 553, 501, 448, 413, 369, 332, 307, 272, 251, 223, 207]
TIMES = {"TE": 0.04, "TI": 0.9, "TR": 0.9, "FA": 0.9}
MODELS = pytest.mark.parametrize("model", rx.MODELS, ids=lambda model: model.name)


def noisy(model, sigma=20.0, seed=2):
    protocol = PROTOCOLS[model.reads[0]]
    T = np.array([TIMES[model.reads[0]]])
    signal = model.signal(protocol, T, amplitudes_of(model, 1))[0]
    return protocol, signal + np.random.default_rng(seed).normal(0, sigma, signal.size)


def least_rss(model, protocol, y, T, held=None, fold=False):
    """RSS at T by linear least squares, one amplitude (index, value) held, over every polarity."""
    columns = model.basis(protocol, np.array([T]))[0]
    rss = []
    for k in range(y.size + 1 if fold else 1):
        target = np.where(np.arange(y.size) < k, -y, y)
        rest = columns
        if held is not None:
            target = target - columns[:, held[0]] * held[1]
            rest = np.delete(columns, held[0], axis=1)
        if rest.shape[1]:
            a, *_ = np.linalg.lstsq(rest, target, rcond=None)
            target = target - rest @ a
        rss.append(float((target**2).sum()))
    return min(rss)


def profile_ends(model, fit, name, level, fold):
    """Where the profile of RSS over one parameter crosses the F test's threshold."""
    protocol, y, T = fit.protocol, fit.signal, fit[model.time].value
    freedom = y.size - len(fit.parameters)
    threshold = fit.rss * (1 + fisher.ppf(level, 1, freedom) / freedom)
    best, error = fit[name].value, fit[name].stderr

    def profile(value):
        if name == model.time:
            return least_rss(model, protocol, y, value, fold=fold)
        held = (model.amplitudes.index(name), value)
        grid = np.geomspace(T / 3, T * 3, 200)
        i = int(np.argmin([least_rss(model, protocol, y, t, held, fold) for t in grid]))
        around = grid[max(i - 1, 0)], grid[min(i + 1, 199)]
        found = minimize_scalar(
            lambda t: least_rss(model, protocol, y, t, held, fold),
            bounds=around,
            method="bounded",
            options={"xatol": 1e-9 * T},
        )
        return found.fun

    def beyond(value):
        return profile(value) - threshold

    return [brentq(beyond, best, best + side * 5 * error, rtol=1e-6) for side in (-1, 1)]


@MODELS
@pytest.mark.parametrize("engine", ["own", "lmfit"])
def test_intervals_are_where_the_profile_crosses_the_F_test(model, engine):
    protocol, y = noisy(model)
    fit = rx.fit_curve(protocol, y, model, engine=engine, polarity="signed")
    found = fit.conf_interval(0.9)
    assert tuple(found) == fit.parameters == (model.time, *model.amplitudes)
    for name, (low, high) in found.items():
        expected = profile_ends(model, fit, name, 0.9, fold=False)
        assert [low, high] == pytest.approx(expected, abs=2e-3 * (high - low)), name


def test_intervals_of_a_magnitude_whose_polarity_is_searched():
    model = rx.MODELS[1]
    protocol, y = noisy(model)
    fit = rx.fit_curve(protocol, np.abs(y), model)
    assert (fit.curve(protocol) > 0).all()
    low, high = fit.conf_interval()["T1"]
    expected = profile_ends(model, fit, "T1", 0.95, fold=True)
    assert [low, high] == pytest.approx(expected, abs=2e-3 * (high - low))


def test_intervals_are_wider_above_where_the_curve_bends():
    """T2 of twice the last echo: the data exclude a short T2 better than a long one."""
    short = TE[:5]
    y = 1000 * np.exp(-short / 0.1) + np.random.default_rng(3).normal(0, 10, 5)
    fit = rx.fit_curve(short, y, "t2")
    low, high = fit.conf_interval()["T2"]
    assert high - fit["T2"].value > 1.2 * (fit["T2"].value - low)


def test_an_end_that_is_not_reached_is_infinite_and_nothing_warns():
    """A T2 far beyond the last echo, in noise: none is too long for these data."""
    rng = np.random.default_rng(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(20):
            y = 1000 * np.exp(-TE[:6] / 1.0) + rng.normal(0, 60, 6)
            fit = rx.fit_curve(TE[:6], y, "t2")
            if fit.status is rx.Status.OK:
                break
        low, high = fit.conf_interval()["T2"]
    assert 0.01 < low < fit["T2"].value
    assert high == np.inf


def test_intervals_hold_the_truth():
    """120 curves of six echoes at S0/σ = 12, where an error by linearisation is off."""
    rng, T2, few = np.random.default_rng(5), 0.03, TE[:6]
    inside = {"T2": 0, "S0": 0}
    for _ in range(120):
        y = 1000 * np.exp(-few / T2) + rng.normal(0, 80, few.size)
        ends = rx.fit_curve(few, y, "t2").conf_interval(0.9)
        for name, true in (("T2", T2), ("S0", 1000.0)):
            inside[name] += ends[name][0] < true < ends[name][1]
    # Three binomial SDs of 120 at 90 % are 8.2 %.
    for name, number in inside.items():
        assert 0.818 <= number / 120 <= 0.982, name


def test_nothing_determined_has_no_interval():
    for y, times in ((np.zeros(16), TE), (np.full(16, 5.0), TE), ([3.0, 2.0], TE[:2])):
        for engine in ("own", "lmfit"):
            fit = rx.fit_curve(times, y, "t2", engine=engine)
            assert np.isnan([*fit.conf_interval().values()]).all()
            assert np.isnan([*fit.correlations.values()]).all()
            assert np.isnan(fit.aicc)


@pytest.mark.parametrize("level", [0, 1, 95, -0.5, np.nan])
def test_a_level_that_is_none(level):
    fit = rx.fit_curve(TE, T2_SIGNAL, "t2")
    with pytest.raises(rx.InputError, match="level"):
        fit.conf_interval(level)


def test_the_interval_of_an_offset_near_zero_is_reached():
    """C = 0.378 ± 10.5: lmfit alone steps by a fifth of the value and never arrives."""
    ends = rx.fit_curve(TE, T2_SIGNAL, "t2_offset", engine="lmfit").conf_interval()
    assert -25 < ends["C"][0] < -20
    assert 20 < ends["C"][1] < 25


@MODELS
def test_covariance_is_that_of_the_slopes_at_the_minimum(model):
    """s²·(JᵀJ)⁻¹ by central differences of the equation."""
    protocol, y = noisy(model)
    fit = rx.fit_curve(protocol, y, model, polarity="signed")
    best = np.array([fit[name].value for name in fit.parameters])

    def signal(values):
        return model.signal(protocol, values[:1], values[None, 1:])[0]

    J = []
    for i, value in enumerate(best):
        step = np.zeros(best.size)
        step[i] = 1e-5 * abs(value)
        J.append((signal(best + step) - signal(best - step)) / (2 * step[i]))
    s2 = fit.rss / (y.size - best.size)
    expected = s2 * np.linalg.inv(np.array(J) @ np.array(J).T)
    np.testing.assert_allclose(fit.covariance, expected, rtol=1e-5)
    sd = np.sqrt(np.diag(expected))
    for (one, other), r in fit.correlations.items():
        i, j = fit.parameters.index(one), fit.parameters.index(other)
        assert r == pytest.approx(expected[i, j] / sd[i] / sd[j], abs=1e-6)
    assert len(fit.correlations) == best.size * (best.size - 1) // 2


def test_aicc_by_hand():
    """16·ln(RSS/16) + 2·3 + 24/12 with the RSS of the science; three for the offset make 4."""
    fit = rx.fit_curve(TE, T2_SIGNAL, "t2")
    assert fit.aicc == pytest.approx(16 * log(176.3397317730 / 16) + 6 + 2, abs=1e-6)
    offset = rx.fit_curve(TE, T2_SIGNAL, "t2_offset")
    assert offset.aicc == pytest.approx(16 * log(176.3220299593 / 16) + 8 + 40 / 11, abs=1e-6)
    assert np.isnan(rx.fit_curve(TE[:4], T2_SIGNAL[:4], "t2").aicc)
    assert np.isfinite(rx.fit_curve(TE[:5], T2_SIGNAL[:5], "t2").aicc)


class TestSecondOpinion:
    """Lmfit within the cone of allowed amplitudes."""

    def test_at_an_edge_both_engines_stand(self):
        """An inversion twice as deep as can be: B/S0 stands at its bound, 2.5."""
        protocol = PROTOCOLS["TI"]
        y = 1000 - 3500 * np.exp(-protocol.TI / 0.9)
        y += np.random.default_rng(1).normal(0, 5, y.size)
        own, lmfit = (
            rx.fit_curve(protocol, y, "t1_ir", engine=engine, polarity="signed")
            for engine in ("own", "lmfit")
        )
        assert own.status is lmfit.status is rx.Status.AT_EDGE
        for name in own.parameters:
            assert lmfit[name].value == pytest.approx(own[name].value, rel=1e-6)
            assert lmfit[name].stderr == pytest.approx(own[name].stderr, rel=1e-4)
        assert lmfit["B"].value == pytest.approx(2.5 * lmfit["S0"].value, rel=1e-12)
        np.testing.assert_allclose(lmfit.covariance, own.covariance, rtol=1e-3)
        for fit in (own, lmfit):
            ends = fit.conf_interval()
            assert ends["B"] == pytest.approx([2.5 * end for end in ends["S0"]])
            assert ends["T1"][0] < fit["T1"].value < ends["T1"][1]

    def test_a_saturation_beyond_inversion_stands_at_its_edge(self):
        protocol = PROTOCOLS["TR"]
        y = 1000 - 2400 * np.exp(-protocol.TR / 0.9)
        y += np.random.default_rng(1).normal(0, 5, y.size)
        for engine in ("own", "lmfit"):
            fit = rx.fit_curve(protocol, y, "t1_sr_offset", engine=engine)
            assert fit.status is rx.Status.AT_EDGE
            assert fit["b"].value == pytest.approx(-2 * fit["a"].value, rel=1e-12)

    @pytest.mark.parametrize(
        ("name", "signal"),
        [
            ("t2", -np.exp(-TE / 0.05)),
            ("t2star", -np.ones(16)),
            ("t2_offset", 1 - np.exp(-TE / 0.05)),
            ("t2_offset", np.full(16, 3.0)),
        ],
    )
    def test_what_no_allowed_amplitudes_fit_is_refused(self, name, signal):
        fit = rx.fit_curve(TE, signal, name, engine="lmfit")
        assert fit.status is rx.Status.LOW_SIGNAL
        assert np.isnan(fit[fit.model.time].value)
        assert np.isnan(fit.rss)
        assert fit.lmfit_result is None
        assert "low signal" in fit.report()

    def test_an_amplitude_that_is_zero_at_the_edge(self):
        """A floor that must be positive under a decay that ends below zero: none, and T2 alone."""

        class Floor(rx.SignalModel):
            name, reads, time, amplitudes = "floor", ("TE",), "T2", ("C", "S0")
            equation, source = "S = C + S0·exp(−TE/T2)", "here"

            def basis(self, protocol, T):
                decay = np.exp(-protocol.TE / T[:, None])
                return np.stack([np.ones_like(decay), decay], axis=-1)

        y = 100 * np.exp(-TE / 0.05) - 20
        fit = rx.fit_curve(TE, y, Floor(), engine="lmfit")
        assert fit.status is rx.Status.AT_EDGE
        assert fit["C"].value == 0
        alone = rx.fit_curve(TE, y, "t2")
        for name in ("T2", "S0"):
            assert fit[name].value == pytest.approx(alone[name].value, rel=1e-6)
            assert fit[name].stderr == pytest.approx(alone[name].stderr, rel=1e-4)
        assert np.isnan(fit.conf_interval()["C"]).all()
        assert fit.conf_interval()["T2"] == pytest.approx(alone.conf_interval()["T2"], rel=1e-3)


def test_a_curve_with_points_left_out_and_a_B1_is_the_same_without_them():
    """What a fit leaves out, its curve, intervals and AICc leave out as well."""
    rng = np.random.default_rng(3)
    TE = np.arange(1, 9) * 0.010
    signal = 1000 * np.exp(-TE / 0.050) + rng.normal(0, 5, 8)
    clipped = np.minimum(signal, 600.0)
    left = clipped < 600
    one = rx.fit_curve(TE, clipped, "t2", clip=600.0)
    other = rx.fit_curve(TE[left], signal[left], "t2")
    assert one.points == left.sum()
    assert one["T2"].value == pytest.approx(other["T2"].value, rel=1e-9)
    assert one.aicc == pytest.approx(other.aicc, rel=1e-9)
    assert f"n = {left.sum()}" in one.report()
    for name, ends in one.conf_interval().items():
        assert ends == pytest.approx(other.conf_interval()[name], rel=1e-6)

    protocol = rx.Protocol(FA=[2, 5, 10, 15, 20], TR=0.015)
    actual = rx.Protocol(FA=0.7 * protocol.FA, TR=0.015)
    model = next(model for model in rx.MODELS if model.name == "t1_vfa")
    y = model.signal(actual, np.array([1.0]), [[12000.0]])[0] + rng.normal(0, 2, 5)
    scaled = rx.fit_curve(protocol, y, model, B1=0.7)
    plain = rx.fit_curve(actual, y, model)
    np.testing.assert_allclose(scaled.curve(), plain.curve(), rtol=1e-8)
    for name, ends in scaled.conf_interval().items():
        assert ends == pytest.approx(plain.conf_interval()[name], rel=1e-6)
    weighted = rx.fit_curve(protocol, y, model, weights=[1, 1, 2, 1, 1])
    with pytest.raises(rx.InputError, match="points that count alike"):
        weighted.conf_interval()


def test_a_curve_without_noise_has_its_values_for_an_interval():
    TE = np.arange(1, 17) * 0.010
    fit = rx.fit_curve(TE, 1000 * np.exp(-TE / 0.05), "t2")
    assert fit.conf_interval()["T2"] == pytest.approx((0.05, 0.05), rel=1e-9)


def test_what_a_user_may_give_by_mistake():
    TE = np.arange(1, 17) * 0.010
    with pytest.raises(rx.InputError, match="not real numbers"):
        rx.fit_curve(TE, np.exp(-TE / 0.05).astype(complex), "t2")
    angles = np.array([2.0, 5, 10, 20, 30])
    with pytest.raises(rx.ProtocolError, match="degrees, not radians"):
        rx.fit_curve(rx.Protocol(FA=np.deg2rad(angles), TR=0.015), np.ones(5), "t1_vfa")
    with pytest.raises(rx.ProtocolError, match="seconds, not milliseconds"):
        rx.fit_curve(rx.Protocol(FA=angles, TR=15.0), np.ones(5), "t1_vfa")
    told = rx.fit_curve(TE, np.full(16, 100.0), "t2", engine="lmfit").report()
    assert told.startswith("status: at bound")
    with pytest.raises(rx.InputError, match="a ndarray; expected a Series"):
        rx.fit_maps(np.ones((2, 2, 1, 4)), "t2")
