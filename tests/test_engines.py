"""Two engines, one answer: the compiled loops against the array code, curve by curve."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import relaxometry as rx
from relaxometry import solve

from .hard_cases import CASES, SCHEMES, compared, simulated

pytest.importorskip("numba")

MODELS = pytest.mark.parametrize("model", rx.MODELS, ids=lambda model: model.name)


def both(series, model, **choices):
    return [
        rx.fit_maps(series, model, engine=engine, progress=False, **choices)
        for engine in ("numpy", "compiled")
    ]


def agree(one, other):
    np.testing.assert_array_equal(other.status, one.status)
    np.testing.assert_array_equal(other.points, one.points)
    for name in one.names:
        for here, there, rtol in zip(one.raw[name], other.raw[name], (1e-9, 1e-9), strict=True):
            largest = np.nanmax(np.abs(here), initial=0)
            np.testing.assert_allclose(there, here, rtol=rtol, atol=1e-10 * largest)
    np.testing.assert_allclose(other.rmse, one.rmse, rtol=1e-9)
    np.testing.assert_allclose(other.rsquared, one.rsquared, rtol=1e-9, atol=1e-10)


@MODELS
@pytest.mark.parametrize("times", SCHEMES)
@pytest.mark.parametrize("case", ["SNR 50", "SNR 5", "pure noise"])
def test_the_engines_agree(model, times, case):
    protocol = SCHEMES[times][model.reads[0]]
    curves, magnitude = simulated(model, protocol, case, 2000, np.random.default_rng(1))
    agree(*both(rx.Series(curves[:, None, None, :], protocol, signed=not magnitude), model))


@MODELS
@pytest.mark.parametrize("times", SCHEMES)
@pytest.mark.parametrize("case", CASES)
def test_the_compiled_minimum_is_the_global_one(model, times, case):
    protocol = SCHEMES[times][model.reads[0]]
    rng = np.random.default_rng(8)
    curves = simulated(model, protocol, case, 250, rng)
    found = compared(model, protocol, *curves, engine="compiled")
    assert found.missed.sum() == 0
    assert found.beaten == 0


@pytest.mark.parametrize("model", ["t2", "t2_offset", "t1_ir", "t1_vfa"])
def test_curves_without_an_answer_are_the_same(model):
    chosen = next(one for one in rx.MODELS if one.name == model)
    protocol = SCHEMES["even"][chosen.reads[0]]
    good = simulated(chosen, protocol, "SNR 50", 1, np.random.default_rng(2))[0][0]
    n = len(good)
    odd = [
        np.zeros(n),
        np.full(n, 7.0),
        -good,
        np.where(np.arange(n) == 1, np.nan, good),
        np.where(np.arange(n) == 1, np.inf, good),
        good * 1e-30,
        good * 1e30,
        np.where(np.arange(n) == 0, good, 0.0),
        good,
    ]
    series = rx.Series(np.array(odd)[:, None, None, :], protocol, signed=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        agree(*both(series, model, clip=None))


@pytest.mark.parametrize("name", ["t2", "t2_offset", "t1_ir"])
def test_a_curve_without_noise_is_the_same(name):
    model = next(one for one in rx.MODELS if one.name == name)
    protocol = SCHEMES["even"][model.reads[0]]
    T = np.geomspace(protocol.times.min(), protocol.times.max(), 100)
    amplitudes = np.tile([1000.0, 1900.0 if name == "t1_ir" else 50.0], (100, 1))
    signal = model.signal(protocol, T, amplitudes[:, : len(model.amplitudes)])
    series = rx.Series(np.abs(signal)[:, None, None, :], protocol, signed=False)
    one, other = both(series, model, clip=None)
    np.testing.assert_allclose(other.raw[model.time][0], one.raw[model.time][0], rtol=1e-9, atol=0)


def test_the_engines_agree_where_there_is_little_noise():
    rng = np.random.default_rng(9)
    protocol = SCHEMES["even"]["TE"]
    T2 = np.geomspace(0.01, 0.3, 3000)
    signal = 1000 * np.exp(-protocol.TE / T2[:, None]) + rng.normal(0, 1, (3000, 16))
    agree(*both(rx.Series(signal[:, None, None, :], protocol, signed=True), "t2"))


def test_choices_reach_the_compiled_engine():
    rng = np.random.default_rng(3)
    model = next(one for one in rx.MODELS if one.name == "t2")
    protocol = SCHEMES["even"]["TE"]
    curves, _ = simulated(model, protocol, "SNR 50", 3000, rng)
    series = rx.Series(curves[:, None, None, :], protocol, signed=False)
    weights = rng.uniform(0.2, 2, len(protocol))
    agree(*both(series, model, weights=weights))
    agree(*both(series, model, noise_floor=(3.0, 20.0)))
    agree(*both(series, model, bounds=(0.02, 0.06)))
    agree(*both(series, model, clip=800.0))


def test_a_B1_map_reaches_the_compiled_engine():
    rng = np.random.default_rng(4)
    model = next(one for one in rx.MODELS if one.name == "t1_vfa")
    protocol = SCHEMES["even"]["FA"]
    curves, _ = simulated(model, protocol, "SNR 50", 2000, rng)
    series = rx.Series(curves[:, None, None, :], protocol, signed=False)
    B1 = rng.uniform(0.4, 1.6, (2000, 1, 1))
    B1[::100] = np.nan
    agree(*both(series, model, B1=B1))


@MODELS
def test_same_bits_for_any_number_of_threads(model):
    protocol = SCHEMES["even"][model.reads[0]]
    size = solve.CHUNK + 777
    curves, magnitude = simulated(model, protocol, "SNR 50", size, np.random.default_rng(5))
    series = rx.Series(curves[:, None, None, :], protocol, signed=not magnitude)
    one, two = (rx.fit_maps(series, model, engine="compiled", workers=w) for w in (1, 2))
    for name in one.names:
        for here, there in zip(one.raw[name], two.raw[name], strict=True):
            np.testing.assert_array_equal(here, there)


class TestChoice:
    def test_by_size_alone(self):
        assert solve.engine_for(256 * 256, None) == "numpy"
        assert solve.engine_for(256**3, None) == "compiled"
        assert solve.engine_for(1, "compiled") == "compiled"
        assert solve.engine_for(256**3, "numpy") == "numpy"

    def test_without_numba(self, monkeypatch):
        def refuse(name):
            raise ImportError("Numba needs NumPy 2.3 or less")

        monkeypatch.setattr(solve, "find_spec", lambda name: None)
        monkeypatch.setattr(solve, "import_module", refuse)
        assert solve.engine_for(256**3, None) == "numpy"
        with pytest.raises(rx.InputError, match=r"numba is not installed; .*relaxometry\[fast\]"):
            solve.engine_for(1, "compiled")

    def test_no_such_engine(self):
        with pytest.raises(rx.InputError, match="engine: 'fortran'"):
            solve.engine_for(1, "fortran")


@pytest.mark.parametrize("model", ["t2", "t2_offset", "t1_ir", "t1_ir of 40"])
def test_a_compiled_fit_knows_nothing_of_its_neighbours(model):
    """Curves go side by side: not a bit of one may hang on the others, or on their number."""
    model, *many = model.split(" of ")
    chosen = next(one for one in rx.MODELS if one.name == model)
    protocol = SCHEMES["even"][chosen.reads[0]]
    if many:  # sign patterns that are rivals
        protocol = rx.Protocol(TI=np.linspace(0.05, 4, 40), TR=8.0)
    curves, magnitude = simulated(chosen, protocol, "SNR 5", 700, np.random.default_rng(4))

    def fitted(some):
        series = rx.Series(some[:, None, None, :], protocol, signed=not magnitude)
        return rx.fit_maps(series, model, engine="compiled", clip=None, progress=False)

    whole, part = fitted(curves), fitted(curves[200:531][::-1])
    for name in whole.names:
        for all_of, some in zip(whole.raw[name], part.raw[name], strict=True):
            np.testing.assert_array_equal(some.ravel(), all_of.ravel()[200:531][::-1])
    np.testing.assert_array_equal(part.rmse.ravel(), whole.rmse.ravel()[200:531][::-1])


@pytest.mark.parametrize("engine", ["numpy", "compiled"])
def test_a_maximum_hidden_beside_a_minimum_is_found(engine):
    """Between two nodes of the tables the fit gets better, and worse again, in noise alone."""
    model = next(one for one in rx.MODELS if one.name == "t1_ir")
    first = [85562.8125, 71764.1171875, 192343.015625, 40883.30859375, 65622.359375]
    last = [200211.625, 199594.15625, 139901.34375, 80772.3984375, 160034.5625]
    curve = np.array([*first, *last])
    found = compared(model, SCHEMES["even"]["TI"], curve[None], True, engine)
    assert not found.missed.any()
    assert pytest.approx(0.0489759219, rel=1e-6) == found.T


@pytest.mark.parametrize("engine", ["numpy", "compiled"])
def test_where_the_time_changes_nothing_it_is_at_its_bound(engine):
    """A first echo above a constant: any T far below the first spacing does as well as another."""
    rng = np.random.default_rng(0)
    curves = 1000 + rng.normal(0, 20, (500, 5))
    curves[:, 0] += 30
    series = rx.Series(curves[:, None, None, :], rx.Protocol(TE=[0.001, 0.01, 0.03, 0.06, 0.1]))
    maps = rx.fit_maps(series, "t2_offset", engine=engine, clip=None, progress=False)
    known = maps.status == rx.Status.OK
    assert (maps.status != rx.Status.NOT_CONVERGED).all()
    assert np.isfinite(maps.raw["T2"][1][known]).all()
    assert (maps.raw["T2"][0][known] > 0.009 / 35).all()  # below, the second echo is gone
    assert (maps.status == rx.Status.AT_BOUND).sum() > 100
