"""Which model a curve asks for: rank by AICc, and the verdict on an offset."""

from __future__ import annotations

import numpy as np
import pytest

import relaxometry as rx

TE = np.arange(1, 17) * 0.010
# The check values of the science: RSS 176.3397317730 without an offset, 176.3220299593 with it.
T2_SIGNAL = [903, 825, 741, 678, 604, 553, 501, 448, 413, 369, 332, 307, 272, 251, 223, 207]


def test_models_side_by_side():
    table = rx.compare_models(TE, T2_SIGNAL, ["t2_offset", "t2"])
    assert list(table["model"]) == ["t2", "t2_offset"]
    assert list(table["parameters"]) == [2, 3]
    assert list(table["rss"]) == pytest.approx([176.3397317730, 176.3220299593], rel=1e-8)
    # By hand: 16·ln(RSS/16) + 2k + 2k(k + 1)/(16 − k − 1), k = 3 and 4.
    better = 16 * np.log(176.3397317730 / 16) + 6 + 2
    worse = 16 * np.log(176.3220299593 / 16) + 8 + 40 / 11
    assert list(table["aicc"]) == pytest.approx([better, worse], abs=1e-6)
    assert list(table["delta_aicc"]) == pytest.approx([0, worse - better], abs=1e-6)
    odds = np.exp((better - worse) / 2)
    assert list(table["weight"]) == pytest.approx([1 / (1 + odds), odds / (1 + odds)], rel=1e-6)
    assert list(table["time_s"]) == pytest.approx([0.1006170217, 0.1005376942], rel=1e-8)
    assert table["time_stderr_s"][0] == pytest.approx(4.65479167e-4, rel=1e-6)
    assert set(table["time"]) == {"T2"}
    assert list(table["status"]) == ["ok", "ok"]


def test_a_model_that_the_curve_does_not_determine_stands_last_without_a_weight():
    y = fast_decay_on_a_floor()
    table = rx.compare_models(TE, y, ["t2", "t2_offset"])
    assert list(table["model"]) == ["t2_offset", "t2"]
    assert table["status"][1] == "at bound"
    assert table["weight"][0] == 1
    assert table.loc[1, ["aicc", "delta_aicc", "weight", "time_s"]].isna().all()


def fast_decay_on_a_floor():
    """T2 = 8 ms on a floor thirty times as high: t2 alone finds next to no decay."""
    noise = np.random.default_rng(0).normal(0, 0.2, TE.size)
    return 500 + 15 * np.exp(-(TE - TE[0]) / 0.008) + noise


@pytest.mark.parametrize("models", [[], ["t2"], ["t2", "t2"]])
def test_what_cannot_be_compared(models):
    with pytest.raises(rx.InputError, match=r"models: .*at least two, each once"):
        rx.compare_models(TE, T2_SIGNAL, models)


def test_models_of_another_sweep_are_refused():
    with pytest.raises(rx.ProtocolError, match="expected a sweep of TR"):
        rx.compare_models(rx.Protocol(TE=TE), T2_SIGNAL, ["t2", "t1_sr"])


def test_an_offset_that_is_there():
    y = np.array(T2_SIGNAL) + 60.0
    verdict = rx.offset_warranted(TE, y)
    assert verdict.warranted
    assert verdict.judged
    # The offset model takes up all of it: its own RSS is that of the science.
    assert verdict.offset.rss == pytest.approx(176.3220299593, rel=1e-6)
    F = (verdict.plain.rss / verdict.offset.rss - 1) * 13
    assert verdict.p_value == pytest.approx(float(f_tail(F, 13)), rel=1e-6)
    assert verdict.offset["T2"].value == pytest.approx(0.1005376942, rel=1e-7)
    assert verdict.words.startswith("an offset is warranted: AICc falls by ")
    assert f"T2 changes from {verdict.plain['T2']} to 100.5 ± 2.3 ms" in verdict.words
    assert repr(verdict) == f"OffsetVerdict: {verdict.words}"


def f_tail(F, freedom):
    """P(F(1, ν) > F), by way of Student's t."""
    from scipy.stats import t

    return 2 * t.sf(np.sqrt(F), freedom)


def test_an_offset_that_is_not():
    verdict = rx.offset_warranted(TE, T2_SIGNAL)
    assert not verdict.warranted
    assert verdict.delta_aicc == pytest.approx(3.6347, abs=1e-3)
    assert verdict.p_value == pytest.approx(0.97, abs=0.01)
    assert verdict.words == (
        "an offset is not warranted: AICc rises by 3.6 and F p = 0.97; T2 = 100.62 ± 0.47 ms stands"
    )


def test_too_few_points_cannot_be_judged():
    verdict = rx.offset_warranted(TE[:5], T2_SIGNAL[:5])
    assert not verdict.judged
    assert not verdict.warranted
    assert verdict.words == "cannot be judged: 5 points are too few; expected at least 6"
    assert rx.offset_warranted(TE[:6], T2_SIGNAL[:6]).judged


@pytest.mark.parametrize("signal", [np.zeros(16), np.full(16, 500.0), np.linspace(100, 200, 16)])
def test_what_has_no_decay_cannot_be_judged(signal):
    verdict = rx.offset_warranted(TE, signal)
    assert not verdict.warranted
    assert verdict.words.startswith("cannot be judged: t2")


def test_a_floor_that_drives_the_plain_model_to_its_bound_is_an_offset():
    verdict = rx.offset_warranted(TE, fast_decay_on_a_floor())
    assert verdict.plain.status is rx.Status.AT_BOUND
    assert verdict.warranted
    assert "T2 changes from not determined to " in verdict.words


def test_a_curve_without_noise_asks_for_nothing():
    """The residuals are rounding, and the smaller rounding wins nothing."""
    for T2 in (0.03, 0.05, 0.08):
        assert not rx.offset_warranted(TE, 1000 * np.exp(-TE / T2)).warranted


@pytest.mark.parametrize(
    ("model", "complaint"),
    [("t1_ir", "t1_ir has no counterpart with an offset"), ("t2_offset", "no counterpart")],
)
def test_a_model_without_a_counterpart(model, complaint):
    with pytest.raises(rx.InputError, match=complaint):
        rx.offset_warranted(TE, T2_SIGNAL, model)
    with pytest.raises(rx.InputError, match="level"):
        rx.offset_warranted(TE, T2_SIGNAL, level=5)


@pytest.mark.parametrize("model", ["t2", "t1_sr"])
def test_false_alarms_are_as_rare_as_the_level_says(model):
    """300 curves without an offset, SNR 50: 10 % at level 0.1, and p evenly spread."""
    rng = np.random.default_rng(8)
    times, signal = curve(model, 0.0)
    verdicts = [
        rx.offset_warranted(times, signal + rng.normal(0, 20, times.size), model, level=0.1)
        for _ in range(300)
    ]
    assert all(verdict.judged for verdict in verdicts)
    alarms = np.mean([verdict.p_value < 0.1 for verdict in verdicts])
    # Three binomial SDs of 300 at 10 % are 5.2 %; the mean of an even spread has an SD of 1.7 %.
    assert 0.048 <= alarms <= 0.152
    assert np.mean([verdict.p_value for verdict in verdicts]) == pytest.approx(0.5, abs=0.06)
    # AICc may only make it rarer.
    assert np.mean([verdict.warranted for verdict in verdicts]) <= alarms


@pytest.mark.parametrize("model", ["t2", "t1_sr"])
def test_offsets_that_matter_are_found(model):
    """An offset of a tenth at SNR 50: found in nearly every curve, and the time is put right."""
    rng = np.random.default_rng(9)
    times, signal = curve(model, 0.1)
    true = 0.04 if model == "t2" else 0.9
    verdicts = [
        rx.offset_warranted(times, signal + rng.normal(0, 20, times.size), model) for _ in range(60)
    ]
    assert np.mean([verdict.warranted for verdict in verdicts]) > 0.9
    plain, offset = (
        np.mean([getattr(v, which)[v.plain.model.time].value for v in verdicts])
        for which in ("plain", "offset")
    )
    assert offset == pytest.approx(true, rel=0.05)
    assert abs(plain - true) > 3 * abs(offset - true)


def curve(model, offset):
    if model == "t2":
        return TE, 1000 * (np.exp(-TE / 0.04) + offset)
    TR = np.geomspace(0.1, 6.0, 16)
    return TR, 1000 * (1 - (1 - offset) * np.exp(-TR / 0.9))
