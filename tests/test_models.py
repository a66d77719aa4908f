"""What holds for every model: these tests run over MODELS and cover a new one by themselves."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t as student

import relaxometry as rx

from .brute_force import brute_force

PROTOCOLS = {
    "TE": rx.Protocol(TE=np.arange(1, 17) * 0.010),
    "TI": rx.Protocol(TI=np.geomspace(0.05, 5, 10), TR=8.0),
    "TR": rx.Protocol(TR=[0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4]),
}
UNEVEN = {
    "TE": rx.Protocol(TE=[0.008, 0.010, 0.030, 0.050, 0.200]),
    # TR grows with TI, as on Siemens phantoms.
    "TI": rx.Protocol(TI=[0.05, 0.1, 0.2, 0.4, 0.6, 0.8], TR=[1, 1, 1, 1.26, 1.86, 2.46]),
    "TR": rx.Protocol(TR=[0.5, 1.5, 3.0]),
}
MODELS = pytest.mark.parametrize("model", rx.MODELS, ids=lambda model: model.name)


def protocol_of(model):
    return PROTOCOLS[model.reads[0]]


def amplitudes_of(model, size, S0=1000.0):
    """Amplitudes within what the model allows: equal to S0, or at a likely ratio to it."""
    ratio = model.ratio(protocol_of(model))
    second = S0 * (0.6 * sum(ratio) if ratio else 0.1)
    return np.tile([S0, second][: len(model.amplitudes)], (size, 1))


def curves(model, protocol, T, rng, sigma, signed=True):
    signal = model.signal(protocol, T, amplitudes_of(model, T.size))
    noisy = signal + rng.normal(0, sigma, signal.shape)
    if signed:
        return noisy
    return np.hypot(noisy, rng.normal(0, sigma, signal.shape))


def likely_times(model, rng, size):
    times = protocol_of(model).times
    return np.exp(rng.uniform(np.log(2 * times.min()), np.log(times.max() / 2), size))


def series_of(signal, protocol, signed):
    return rx.Series(signal[:, None, None, :], protocol, signed=signed)


@MODELS
@pytest.mark.parametrize("signed", [True, False])
def test_round_trip_without_noise(model, signed):
    protocol = protocol_of(model)
    T = likely_times(model, np.random.default_rng(1), 200)
    true = amplitudes_of(model, T.size)
    signal = model.signal(protocol, T, true)
    # A double-precision signal through fit_curve: single precision of maps would limit it.
    for i in range(0, T.size, 20):
        y = signal[i] if signed else np.abs(signal[i])
        fit = rx.fit_curve(protocol, y, model, polarity="signed" if signed else "magnitude")
        assert fit.status is rx.Status.OK
        assert fit[model.time].value == pytest.approx(T[i], rel=1e-8)
        for name, value in zip(model.amplitudes, true[i], strict=True):
            assert fit[name].value == pytest.approx(value, rel=1e-8)
        assert fit.curve() == pytest.approx(y, abs=1e-5)


@MODELS
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), factor=st.floats(1e-12, 1e12))
def test_scale_of_the_signal_does_not_matter(model, seed, factor):
    rng = np.random.default_rng(seed)
    protocol = protocol_of(model)
    y = curves(model, protocol, likely_times(model, rng, 1), rng, 20.0)[0]
    one = rx.fit_curve(protocol, y, model, polarity="signed")
    other = rx.fit_curve(protocol, factor * y, model, polarity="signed")
    assert other.status is one.status
    assert other.raw[model.time].value == pytest.approx(one.raw[model.time].value, rel=1e-7)
    assert other.rss == pytest.approx(one.rss * factor**2, rel=1e-6)


@MODELS
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_order_of_the_points_does_not_matter(model, seed):
    rng = np.random.default_rng(seed)
    protocol = protocol_of(model)
    y = curves(model, protocol, likely_times(model, rng, 1), rng, 20.0, signed=False)[0]
    shuffled = rng.permutation(y.size)
    one = rx.fit_curve(protocol, y, model)
    other = rx.fit_curve(protocol.take(shuffled), y[shuffled], model)
    assert other.raw[model.time].value == one.raw[model.time].value


@MODELS
@pytest.mark.parametrize("protocols", [PROTOCOLS, UNEVEN], ids=["even", "uneven"])
@pytest.mark.parametrize("case", ["snr 50", "snr 5", "pure noise", "far outside the times"])
def test_minimum_is_the_global_one(model, protocols, case):
    """Against a dense grid over T, every sign pattern, and a scalar minimiser."""
    rng = np.random.default_rng(7)
    protocol, size = protocols[model.reads[0]], 12
    times = protocol.times
    wide = 30 if case.startswith("far") else 3
    T = np.exp(rng.uniform(np.log(times.min() / wide), np.log(times.max() * wide), size))
    sigma = {"snr 5": 200.0, "pure noise": 1e4}.get(case, 20.0)
    for y in curves(model, protocol, T, rng, sigma, signed=False):
        fit = rx.fit_curve(protocol, y, model)
        best_T, best_rss = brute_force(model, protocol, y, fit.bounds, magnitude=True)
        same = fit.raw[model.time].value == pytest.approx(best_T, rel=1e-6)
        # Where two minima agree in RSS to 1e-12 of the signal, either counts.
        assert same or fit.rss - best_rss <= 1e-12 * (y @ y)


@MODELS
def test_both_engines_agree(model):
    rng = np.random.default_rng(3)
    protocol = protocol_of(model)
    for y in curves(model, protocol, likely_times(model, rng, 8), rng, 15.0, signed=False):
        own = rx.fit_curve(protocol, y, model)
        lmfit = rx.fit_curve(protocol, y, model, engine="lmfit")
        assert lmfit[model.time].value == pytest.approx(own[model.time].value, rel=1e-6)
        for name in own.raw:
            assert lmfit[name].value == pytest.approx(own[name].value, rel=1e-6)
            assert lmfit[name].stderr == pytest.approx(own[name].stderr, rel=1e-4)
        assert lmfit.rss == pytest.approx(own.rss, rel=1e-8)
        assert model.time in lmfit.report()


@MODELS
def test_errors_cover_the_truth(model):
    """95 % intervals by Student's t over 20 000 voxels with Gaussian noise, SNR 50."""
    rng = np.random.default_rng(11)
    protocol, size = protocol_of(model), 20_000
    T = likely_times(model, rng, size)
    y = curves(model, protocol, T, rng, 20.0)
    maps = rx.fit_maps(series_of(y, protocol, signed=True), model)
    known = maps.status.ravel() == rx.Status.OK
    assert known.mean() > 0.99
    dof = len(protocol) - 1 - len(model.amplitudes)
    true = {model.time: T} | dict(zip(model.amplitudes, amplitudes_of(model, size).T, strict=True))
    for name, value in true.items():
        estimate = maps[name]
        off = np.abs(estimate.value.ravel() - value)
        inside = off <= student.ppf(0.975, dof) * estimate.stderr.ravel()
        # 3.5 binomial SDs of 20 000 are 0.5 %; the linearisation of the model takes the rest.
        assert 0.93 <= inside[known].mean() <= 0.97, name


@MODELS
def test_fits_without_an_answer_say_so(model):
    protocol = protocol_of(model)
    n = len(protocol)
    T = likely_times(model, np.random.default_rng(0), 1)
    good = model.signal(protocol, T, amplitudes_of(model, 1))[0]
    rows = {
        "good": good,
        "zero": np.zeros(n),
        "nan": np.where(np.arange(n) == 2, np.nan, good),
        "inf": np.where(np.arange(n) == 2, np.inf, good),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        maps = rx.fit_maps(series_of(np.array([*rows.values()]), protocol, True), model)
    status = dict(zip(rows, maps.status.ravel(), strict=True))
    assert status["good"] == rx.Status.OK
    assert status["zero"] == rx.Status.LOW_SIGNAL
    assert status["nan"] == status["inf"] == rx.Status.NON_FINITE
    for name in (*maps.names, *(("R1",) if model.time == "T1" else ("R2",))):
        estimate = maps[name]
        assert np.isfinite(estimate.value.ravel()[0])
        assert np.isnan(estimate.value.ravel()[1:]).all()
        assert np.isnan(estimate.stderr.ravel()[1:]).all()


@MODELS
def test_a_bound_is_never_passed_off_as_a_value(model):
    protocol = protocol_of(model)
    T = np.array([protocol.times.max() / 2])
    y = model.signal(protocol, T, amplitudes_of(model, 1))[0]
    low = rx.fit_curve(protocol, np.abs(y), model, bounds=(1e-3, T[0] / 2))
    assert low.status is rx.Status.AT_BOUND
    assert np.isnan(low[model.time].value)
    assert np.isnan(low[model.time].stderr)
    assert low.raw[model.time].value == pytest.approx(T[0] / 2, rel=1e-12)


@MODELS
def test_same_bits_for_any_number_of_threads(model):
    rng = np.random.default_rng(5)
    protocol = protocol_of(model)
    y = curves(model, protocol, likely_times(model, rng, 9000), rng, 50.0)
    series = series_of(y, protocol, signed=True)
    one, two = (rx.fit_maps(series, model, workers=w) for w in (1, 2))
    for name in one.names:
        np.testing.assert_array_equal(one.raw[name][0], two.raw[name][0])
        np.testing.assert_array_equal(one.raw[name][1], two.raw[name][1])


@MODELS
def test_a_model_says_what_it_is(model):
    assert model.equation
    assert model.source
    columns = model.basis(protocol_of(model), np.array([0.1, 1.0]))
    assert columns.shape == (2, len(protocol_of(model)), len(model.amplitudes))
    other = next(p for swept, p in PROTOCOLS.items() if swept != model.reads[0])
    with pytest.raises(rx.ProtocolError, match="sweep of"):
        rx.fit_curve(other, np.ones(len(other)), model)


def test_the_inversion_efficiency_is_not_claimed_without_the_repetition_time():
    """With TR unknown, S0 stands for S0·(1 + e^(−TR/T1)): T1 is right, ε cannot be known."""
    model = next(model for model in rx.MODELS if model.name == "t1_ir")
    TI = np.geomspace(0.05, 5, 10)
    signal = model.signal(rx.Protocol(TI=TI, TR=1.5), np.array([1.0]), [[1000.0, 1950.0]])[0]
    known = rx.fit_curve(rx.Protocol(TI=TI, TR=1.5), signal, model, polarity="signed")
    assert known["efficiency"].value == pytest.approx(0.95, rel=1e-8)
    unknown = rx.fit_curve(TI, signal, model, polarity="signed")
    assert unknown["T1"].value == pytest.approx(1.0, rel=1e-8)
    with pytest.raises(KeyError):
        unknown["efficiency"]


def test_special_values_of_the_equations():
    by_name = {model.name: model for model in rx.MODELS}
    T = np.array([0.5])
    at_once = rx.Protocol(TI=[0.0, 50.0], TR=50.0)
    assert by_name["t1_ir"].signal(at_once, T, [[1.0, 2.0]])[0] == pytest.approx([-1, 1])
    echo = by_name["t2"].signal(rx.Protocol(TE=[0.5, 1.0]), T, [[1.0]])[0]
    assert echo == pytest.approx([np.exp(-1), np.exp(-2)])
    recovered = by_name["t1_sr"].signal(rx.Protocol(TR=[0.5, 50.0]), T, [[1.0]])[0]
    assert recovered == pytest.approx([1 - np.exp(-1), 1])


def test_a_model_of_ones_own_fits_from_its_instance():
    class TwoBaths(rx.SignalModel):
        """A decay on a constant."""

        name, reads, time, amplitudes = "my_model", ("TE",), "T2", ("S0", "C")
        equation, source = "S = S0·exp(−TE/T2) + C", "here"

        def basis(self, protocol, T):
            decay = np.exp(-protocol.TE / T[:, None])
            return np.stack([decay, np.ones_like(decay)], axis=-1)

    # The check values of t2 with an offset.
    signal = [903, 825, 741, 678, 604, 553, 501, 448, 413, 369, 332, 307, 272, 251, 223, 207]
    fit = rx.fit_curve(PROTOCOLS["TE"], signal, TwoBaths())
    assert fit["S0"].value == pytest.approx(1000.7917151, rel=1e-6)
    assert fit["T2"].value == pytest.approx(0.1005376942, rel=1e-6)
    assert fit["C"].value == pytest.approx(0.3781914874, rel=1e-5)
    assert fit.rss == pytest.approx(176.3220299593, rel=1e-6)


def test_a_model_that_its_tables_cannot_hold_is_refused():
    class Step(rx.SignalModel):
        """Signal that jumps at T = 50 ms: no polynomial in log T follows that."""

        name, reads, time, amplitudes = "step", ("TE",), "T2", ("S0",)
        equation, source = "S = S0·[T2 > 50 ms]·TE + S0", "here"

        def basis(self, protocol, T):
            return 1 + np.where(T > 0.05, 1.0, 0.0)[:, None, None] * protocol.TE[:, None]

    with pytest.raises(rx.FitError, match="not smooth enough"):
        rx.fit_curve(PROTOCOLS["TE"], np.ones(16), Step())
