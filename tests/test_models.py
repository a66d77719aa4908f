"""What holds for every model: these tests run over MODELS and cover a new one by themselves."""

from __future__ import annotations

import warnings
from decimal import Decimal, getcontext
from math import factorial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t as student

import relaxometry as rx
from relaxometry.models import model_for
from relaxometry.noise import rician_mean
from relaxometry.solve import CHUNK
from relaxometry.units import QUANTITIES, RATE_OF

from .brute_force import brute_force
from .hard_cases import CASES, PROTOCOLS, SCHEMES, amplitudes_of, compared, simulated

MODELS = pytest.mark.parametrize("model", rx.MODELS, ids=lambda model: model.name)


def protocol_of(model):
    return PROTOCOLS[model.reads[0]]


def by_name(name):
    return next(model for model in rx.MODELS if model.name == name)


def curves(model, protocol, T, rng, sigma, signed=True):
    signal = model.signal(protocol, T, amplitudes_of(model, T.size))
    noisy = signal + rng.normal(0, sigma, signal.shape)
    if signed:
        return noisy
    return np.hypot(noisy, rng.normal(0, sigma, signal.shape))


def likely_range(model):
    """Where the protocol tells T well enough for errors by linearisation to be fair."""
    if model.reads[0] == "FA":  # angles are no times; T1 well above TR
        return 0.2, 2.0
    times = protocol_of(model).times
    if model.name == "t2_offset":  # the offset is seen only once the decay is over
        return 2 * times.min(), times.max() / 4
    return 2 * times.min(), times.max() / 2


def likely_times(model, rng, size):
    return np.exp(rng.uniform(*np.log(likely_range(model)), size))


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
@pytest.mark.parametrize("times", SCHEMES)
@pytest.mark.parametrize("case", CASES)
def test_minimum_is_the_global_one(model, times, case):
    """Against a dense search of its own; `benchmarks/exactness.py` does a million."""
    protocol = SCHEMES[times][model.reads[0]]
    rng = np.random.default_rng(7)
    found = compared(model, protocol, *simulated(model, protocol, case, 250, rng))
    assert found.missed.sum() == 0
    assert found.beaten == 0  # or the search is at fault


@MODELS
@pytest.mark.parametrize("polarity", ["magnitude", "signed"])
def test_both_engines_agree(model, polarity):
    rng = np.random.default_rng(3)
    protocol, signed = protocol_of(model), polarity == "signed"
    for y in curves(model, protocol, likely_times(model, rng, 6), rng, 15.0, signed=signed):
        own = rx.fit_curve(protocol, y, model, polarity=polarity)
        lmfit = rx.fit_curve(protocol, y, model, polarity=polarity, engine="lmfit")
        assert lmfit.status is own.status is rx.Status.OK
        assert lmfit[model.time].value == pytest.approx(own[model.time].value, rel=1e-6)
        for name in own.raw:
            # An amplitude that may be 0 is known to a share of its error.
            slack = 1e-6 * own[name].stderr
            assert lmfit[name].value == pytest.approx(own[name].value, rel=1e-6, abs=slack)
            assert lmfit[name].stderr == pytest.approx(own[name].stderr, rel=1e-4)
        assert lmfit.rss == pytest.approx(own.rss, rel=1e-7)
        np.testing.assert_allclose(lmfit.covariance, own.covariance, rtol=1e-3, atol=0)
        for pair, r in own.correlations.items():
            assert lmfit.correlations[pair] == pytest.approx(r, abs=1e-5)
        assert model.time in lmfit.report()


@MODELS
def test_errors_cover_the_truth(model):
    """95 % intervals by Student's t over 20 000 voxels with Gaussian noise, SNR 40 to 50."""
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


def without_an_answer(n, good):
    """Curves (n,) that tell little or nothing, and one that does."""
    at = np.arange(n)
    return {
        "good": good,
        "zero": np.zeros(n),
        "nan": np.where(at == 2, np.nan, good),
        "inf": np.where(at == 2, np.inf, good),
        "minus inf": np.where(at == 0, -np.inf, good),
        "constant": np.full(n, 700.0),
        "negative": -good,
        "all negative": np.full(n, -1.0),
        "first only": np.where(at == 0, 1000.0, 0.0),
        "middle only": np.where(at == n // 2, 1000.0, 0.0),
        "last only": np.where(at == n - 1, 1000.0, 0.0),
    }


@MODELS
def test_fits_without_an_answer_say_so(model):
    protocol = protocol_of(model)
    T = likely_times(model, np.random.default_rng(0), 1)
    good = model.signal(protocol, T, amplitudes_of(model, 1))[0]
    rows = without_an_answer(len(protocol), good)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        maps = rx.fit_maps(series_of(np.array([*rows.values()]), protocol, True), model)
    status = dict(zip(rows, maps.status.ravel(), strict=True))
    assert status["good"] == rx.Status.OK
    assert status["zero"] == rx.Status.LOW_SIGNAL
    assert status["nan"] == status["inf"] == status["minus inf"] == rx.Status.NON_FINITE
    known = np.isin(maps.status.ravel(), (rx.Status.OK, rx.Status.AT_EDGE))
    for name in (*maps.names, RATE_OF[model.time]):
        estimate = maps[name]
        assert np.isfinite(estimate.value.ravel()[0])
        assert np.isnan(estimate.value.ravel()[~known]).all()
        assert np.isnan(estimate.stderr.ravel()[~known]).all()


@MODELS
@pytest.mark.parametrize(
    "name", ["constant", "negative", "all negative", "middle only", "last only"]
)
def test_curves_of_another_kind_end_where_the_search_says(model, name):
    """No answer, a bound, or a minimum: as the brute-force search finds it."""
    protocol = protocol_of(model)
    T = likely_times(model, np.random.default_rng(0), 1)
    good = model.signal(protocol, T, amplitudes_of(model, 1))[0]
    y = without_an_answer(len(protocol), good)[name]
    fit = rx.fit_curve(protocol, y, model, polarity="signed")
    ((best,), (rss,)) = brute_force(model, protocol, y, fit.bounds, magnitude=False)
    if np.isnan(best):
        assert fit.status is rx.Status.LOW_SIGNAL
        assert np.isnan(fit.raw[model.time].value)
        return
    assert fit.rss <= rss + 1e-12 * (y @ y)
    # Where T changes nothing any more, the bound is as good as what the search took.
    if fit.status is not rx.Status.AT_BOUND:
        assert not np.isclose(best, fit.bounds, rtol=1e-9).any()
        assert fit.raw[model.time].value == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize("name", ["t2", "t2star", "t2_offset"])
def test_a_signal_in_the_first_echo_alone_has_no_time(name):
    """Any T2 well below the echo spacing fits it to the last digit: that is the bound, no value."""
    model = by_name(name)
    y = np.where(np.arange(16) == 0, 1000.0, 0.0)
    fit = rx.fit_curve(PROTOCOLS["TE"], y, model)
    assert fit.status in (rx.Status.AT_BOUND, rx.Status.LOW_SIGNAL)


@pytest.mark.parametrize("name", ["t2_offset", "t1_sr_offset"])
@pytest.mark.parametrize("engine", ["own", "lmfit"])
@pytest.mark.parametrize("level", [700.0, 0.1, 1e9])
def test_an_offset_alone_tells_no_time(name, engine, level):
    model = by_name(name)
    fit = rx.fit_curve(
        protocol_of(model), np.full(len(protocol_of(model)), level), model, engine=engine
    )
    assert fit.status is rx.Status.LOW_SIGNAL
    assert np.isnan(fit[model.time].value)
    assert all(np.isnan(end) for ends in fit.conf_interval().values() for end in ends)


def test_a_decay_that_rises_is_none():
    """t2_offset with S0 < 0 is a rise towards C: its best T is not that of a decay."""
    TE = PROTOCOLS["TE"].TE
    for engine in ("own", "lmfit"):
        fit = rx.fit_curve(TE, 1000 - 900 * np.exp(-TE / 0.05), "t2_offset", engine=engine)
        assert fit.status is rx.Status.LOW_SIGNAL, engine


@MODELS
def test_a_bound_is_never_passed_off_as_a_value(model):
    protocol = protocol_of(model)
    T = np.array([likely_range(model)[1]])
    y = model.signal(protocol, T, amplitudes_of(model, 1))[0]
    low = rx.fit_curve(protocol, np.abs(y), model, bounds=(T[0] / 100, T[0] / 2))
    assert low.status is rx.Status.AT_BOUND
    assert np.isnan(low[model.time].value)
    assert np.isnan(low[model.time].stderr)
    assert low.raw[model.time].value == pytest.approx(T[0] / 2, rel=1e-12)


@MODELS
def test_same_bits_for_any_number_of_threads(model):
    rng = np.random.default_rng(5)
    protocol = protocol_of(model)
    y = curves(model, protocol, likely_times(model, rng, CHUNK + 900), rng, 50.0)
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
    other = next(p for swept, p in PROTOCOLS.items() if swept not in model.reads)
    with pytest.raises(rx.ProtocolError, match="sweep of"):
        rx.fit_curve(other, np.ones(len(other)), model)


@pytest.mark.parametrize("polarity", ["magnitude", "signed"])
@pytest.mark.parametrize(
    "TR",
    [None, 8.0, 1.5, [1.2, 1.2, 1.3, 1.6, 2.5, 4.0]],
    ids=["unknown", "long", "short", "per TI"],
)
def test_inversion_recovery_for_every_repetition_time_and_polarity(TR, polarity):
    """The equation written out here; T1, S0 and B as they went in, with TR unknown T1 alone."""
    TI, T1, S0, B = np.array([0.05, 0.15, 0.3, 0.6, 1.5, 3.0]), 0.8, 1000.0, 1950.0
    recovery = 0.0 if TR is None else np.exp(-np.asarray(TR) / T1)
    S = S0 * (1 + recovery) - B * np.exp(-TI / T1)
    assert (S < 0).any()
    y = np.abs(S) if polarity == "magnitude" else S
    for engine in ("own", "lmfit"):
        fit = rx.fit_curve(rx.Protocol(TI=TI, TR=TR), y, "t1_ir", polarity=polarity, engine=engine)
        rel = 1e-8 if engine == "own" else 1e-6
        assert fit["T1"].value == pytest.approx(T1, rel=rel)
        assert [fit["S0"].value, fit["B"].value] == pytest.approx([S0, B], rel=rel)
        assert ("efficiency" in fit.raw) == (TR is not None)
        assert fit.curve() == pytest.approx(y, abs=1e-2)


def test_the_inversion_efficiency_is_not_claimed_without_the_repetition_time():
    """With TR unknown, S0 stands for S0·(1 + e^(−TR/T1)): T1 is right, ε cannot be known."""
    model = by_name("t1_ir")
    TI = np.geomspace(0.05, 5, 10)
    signal = model.signal(rx.Protocol(TI=TI, TR=1.5), np.array([1.0]), [[1000.0, 1950.0]])[0]
    known = rx.fit_curve(rx.Protocol(TI=TI, TR=1.5), signal, model, polarity="signed")
    assert known["efficiency"].value == pytest.approx(0.95, rel=1e-8)
    unknown = rx.fit_curve(TI, signal, model, polarity="signed")
    assert unknown["T1"].value == pytest.approx(1.0, rel=1e-8)
    with pytest.raises(KeyError):
        unknown["efficiency"]


def test_special_values_of_the_equations():
    T = np.array([0.5])

    def signal(name, amplitudes, **settings):
        return by_name(name).signal(rx.Protocol(**settings), T, [amplitudes])[0]

    assert signal("t1_ir", [1, 2], TI=[0.0, 50.0], TR=50.0) == pytest.approx([-1, 1])
    e = np.exp(-1)
    assert signal("t2", [1.0], TE=[0.5, 1.0]) == pytest.approx([e, e**2])
    assert signal("t2star", [1.0], TE=[0.5, 1.0]) == pytest.approx([e, e**2])
    assert signal("t2_offset", [1, -0.5], TE=[0.5, 10.0]) == pytest.approx([e - 0.5, -0.5])
    assert signal("t1_sr", [1.0], TR=[0.5, 50.0]) == pytest.approx([1 - e, 1])
    assert signal("t1_sr_offset", [1, -0.9], TR=[0.5, 50.0]) == pytest.approx([1 - 0.9 * e, 1])
    # A perfect saturation is t1_sr; a pulse of 90° leaves nothing to remember the last one by.
    assert signal("t1_sr_offset", [1, -1], TR=[0.5, 50.0]) == pytest.approx([1 - e, 1])
    right_angle = signal("t1_vfa", [1.0], FA=[90.0, 30.0], TR=0.5)[0]
    assert right_angle == pytest.approx(1 - e)


def test_variable_flip_angles_lie_on_the_DESPOT1_line():
    """S/sin α = E1·S/tan α + S0·(1 − E1), whatever the angle (Gupta 1977)."""
    FA, TR, T1, S0 = np.array([2.0, 7.0, 20.0, 60.0, 90.0, 120.0]), 0.012, 1.3, 500.0
    S = by_name("t1_vfa").signal(rx.Protocol(FA=FA, TR=TR), np.array([T1]), [[S0]])[0]
    angle, E1 = np.deg2rad(FA), np.exp(-TR / T1)
    assert S / np.sin(angle) == pytest.approx(E1 * S / np.tan(angle) + S0 * (1 - E1), rel=1e-12)
    # The signal is highest at the Ernst angle.
    ernst = np.rad2deg(np.arccos(E1))
    around = rx.Protocol(FA=ernst * np.array([0.98, 1.0, 1.02]), TR=TR)
    below, top, above = by_name("t1_vfa").signal(around, np.array([T1]), [[S0]])[0]
    assert top > max(below, above)


@pytest.mark.parametrize(("degrees", "T1"), [(0.1, 1000.0), (2.0, 500.0), (1e-3, 1e4)])
def test_small_angles_and_long_times_keep_every_digit(degrees, T1):
    """Against forty digits: 1 − E1·cos α is a difference of nearly equal numbers."""
    getcontext().prec = 40
    TR = Decimal("0.015")
    x = Decimal(degrees) * Decimal("3.14159265358979323846264338327950288419717") / 180
    sine = sum((-1) ** k * x ** (2 * k + 1) / factorial(2 * k + 1) for k in range(8))
    cosine = sum((-1) ** k * x ** (2 * k) / factorial(2 * k) for k in range(8))
    E1 = (-TR / Decimal(T1)).exp()
    exact = float(sine * (1 - E1) / (1 - E1 * cosine))
    protocol = rx.Protocol(FA=[degrees, 20.0], TR=0.015)
    found = by_name("t1_vfa").signal(protocol, np.array([T1]), [[1.0]])[0, 0]
    assert found == pytest.approx(exact, rel=1e-14)


def test_flip_angles_as_a_map_of_B1_scales_them():
    """Angles 15 % below nominal: the scaled protocol gives T1 back, the nominal one does not."""
    nominal = PROTOCOLS["FA"]
    real = rx.Protocol(FA=0.85 * nominal.FA, TR=nominal.TR)
    y = by_name("t1_vfa").signal(real, np.array([0.9]), [[1e4]])[0]
    assert rx.fit_curve(real, y, "t1_vfa")["T1"].value == pytest.approx(0.9, rel=1e-8)
    # T1 goes about with the square of the angle.
    wrong = rx.fit_curve(nominal, y, "t1_vfa")["T1"].value
    assert wrong == pytest.approx(0.9 * 0.85**2, rel=0.05)


def test_variable_flip_angle_asks_for_its_repetition_time():
    with pytest.raises(rx.ProtocolError, match=r"^TR: .* without a repetition time; .*by hand"):
        rx.fit_curve([2, 10, 20], [1, 2, 1], "t1_vfa")
    with pytest.raises(rx.ProtocolError, match="FA: 180°"):
        rx.fit_curve(rx.Protocol(FA=[5, 90, 180], TR=0.015), [1, 2, 0], "t1_vfa")
    series = rx.Series(np.ones((2, 2, 1, 3)), rx.Protocol(FA=[2, 10, 20]))
    with pytest.raises(rx.ProtocolError, match="TR"):
        rx.fit_maps(series)


def test_range_of_T1_of_flip_angles_follows_from_the_repetition_time():
    model = by_name("t1_vfa")
    protocol = rx.Protocol(FA=[60, 90], TR=0.02)
    assert model.bounds(protocol) == pytest.approx((0.002, 50 * 0.02 / 0.5))
    # At its ends the shape of the signal has next to stopped changing with T1.
    low, high = model.bounds(PROTOCOLS["FA"])
    S = model.basis(PROTOCOLS["FA"], np.array([low / 2, low, high, high * 2]))[..., 0]
    S /= np.linalg.norm(S, axis=1)[:, None]
    assert np.abs(S[0] - S[1]).max() < 1e-4
    assert np.abs(S[2] - S[3]).max() < 0.01


def test_an_offset_needs_four_echoes():
    with pytest.raises(rx.ProtocolError, match=r"3 echoes for the three parameters .*at least 4"):
        rx.fit_curve([0.01, 0.02, 0.03], [3, 2, 1], "t2_offset")
    y = 100 * np.exp(-np.array([1, 2, 3, 4]) / 2) - 7
    fit = rx.fit_curve([0.01, 0.02, 0.03, 0.04], y, "t2_offset")
    assert fit["C"].value == pytest.approx(-7, rel=1e-6)
    assert fit["T2"].value == pytest.approx(0.02, rel=1e-7)


@pytest.mark.parametrize(("T2", "long", "short"), [(0.010, 0.027, -0.077), (0.020, 0.012, -0.040)])
def test_a_noise_floor_is_no_offset(T2, long, short):
    """As the model's words have it: on Rician means t2 reads too long, t2_offset too short."""
    TE = PROTOCOLS["TE"].TE
    y = rician_mean(np.exp(-TE / T2), 0.01)
    assert rx.fit_curve(TE, y, "t2")["T2"].value / T2 - 1 == pytest.approx(long, abs=1e-3)
    assert rx.fit_curve(TE, y, "t2_offset")["T2"].value / T2 - 1 == pytest.approx(short, abs=1e-3)


def test_every_kind_of_series_has_one_default_and_an_offset_is_asked_for():
    defaults = {kind: model_for(kind).name for kind in ("MESE", "MEGRE", "IRT1", "VTR", "VFA")}
    assert defaults == {
        "MESE": "t2",
        "MEGRE": "t2star",
        "IRT1": "t1_ir",
        "VTR": "t1_sr",
        "VFA": "t1_vfa",
    }
    kinds = [kind for model in rx.MODELS for kind in model.kinds]
    assert len(kinds) == len(set(kinds))
    with pytest.raises(rx.InputError, match="no model fits a CEST series yet; expected MESE or"):
        model_for("CEST")


def test_gradient_echoes_give_T2star_and_its_rate():
    TE = np.arange(1, 9) * 0.004
    fit = rx.fit_curve(TE, 800 * np.exp(-TE / 0.015), "t2star")
    assert fit["T2star"].value == pytest.approx(0.015, rel=1e-8)
    assert fit["R2star"].value == pytest.approx(1 / 0.015, rel=1e-8)
    series = rx.Series(np.tile(fit.signal, (2, 2, 1, 1)), rx.Protocol(TE=TE), sequence="GE")
    maps = rx.fit_maps(series)
    assert maps.names == ("T2star", "S0")
    np.testing.assert_allclose(maps["R2star"].value, 1 / 0.015, rtol=1e-5)


@MODELS
def test_every_parameter_has_words_and_a_unit(model):
    for name in (model.time, RATE_OF[model.time], *model.amplitudes):
        assert QUANTITIES[name].name
        assert QUANTITIES[name].people_unit


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
