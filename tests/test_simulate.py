"""The digital phantom: its truth, its noise, and that the models fit it back."""

from __future__ import annotations

import numpy as np
import pytest

from relaxometry import simulate
from relaxometry.errors import InputError
from relaxometry.geometry import shown
from relaxometry.models import MODELS, SignalModel
from relaxometry.noise import sigma_from_air
from relaxometry.series import Protocol
from relaxometry.simulate import Agent, Phantom


@pytest.fixture(scope="module")
def small() -> Phantom:
    return simulate.phantom("small")


def inner(phantom: Phantom, number: int) -> np.ndarray:
    """(x, y) mask of the middle of a tube, clear of its wall."""
    tube = phantom.tubes[number - 1]
    at = np.arange(phantom.scan.matrix) * phantom.voxel
    return np.hypot(at[:, None] - tube.x, at[None, :] - tube.y) < 0.7 * tube.radius


def test_truth_of_the_default_phantom() -> None:
    phantom = simulate.phantom()
    assert [t.number for t in phantom.tubes] == list(range(1, 17))
    assert [t.agent for t in phantom.tubes] == ["IO-5"] * 5 + ["C1"] * 5 + ["C3"] * 5 + ["blank"]
    first, blank = phantom.tubes[0], phantom.tubes[-1]
    assert first.concentration_mM == 0.4
    assert (blank.concentration_mM, blank.R1, blank.R2) == (0.0, 0.40, 9.0)
    rates = {t.number: (t.R1, t.R2) for t in phantom.tubes}
    assert rates[1] == pytest.approx((0.40 + 2.8 * 0.4, 9 + 70.2 * 0.4))
    assert rates[11] == pytest.approx((0.40 + 1.5 * 0.4, 9 + 533.4 * 0.4))
    assert rates[15] == pytest.approx((0.40 + 1.5 * 0.025, 9 + 533.4 * 0.025))
    assert (phantom.tubes[1].x - first.x, phantom.tubes[4].y - first.y) == (9.0, 9.0)
    # The grid is centred on an axial slice that is centred on the origin.
    centre = np.mean([(t.x, t.y) for t in phantom.tubes], axis=0) / phantom.voxel
    np.testing.assert_allclose(phantom.affine @ [*centre, 0, 1], [0, 0, 0, 1], atol=1e-12)


@pytest.mark.parametrize("protocol", ["small", "seed-7T"])
def test_labels_have_the_area_and_centre_of_the_circles(protocol: str) -> None:
    phantom = simulate.phantom(protocol)
    labels = phantom.labels[..., 0]
    for tube in phantom.tubes:
        at = np.argwhere(labels == tube.number) * phantom.voxel
        np.testing.assert_allclose(at.mean(axis=0), (tube.x, tube.y), atol=0.15 * phantom.voxel)
        assert len(at) * phantom.voxel**2 == pytest.approx(
            np.pi * tube.radius**2, rel=0.1 * phantom.voxel
        )


def test_tubes_are_numbered_by_rows_of_the_picture(small: Phantom) -> None:
    picture = shown(small.labels[..., 0], small.affine)
    numbers = picture[picture > 0]
    _, first = np.unique(numbers, return_index=True)
    top_row = picture[: picture.shape[0] // 4].max(axis=0)
    assert numbers[first.min()] == 1
    assert list(dict.fromkeys(top_row[top_row > 0])) == [1, 2, 3, 4]


def test_mese_and_t1_signal_by_hand(small: Phantom) -> None:
    # Without noise to speak of, tube 1: R1 1.52, R2 37.08; tube 16: R1 0.4, R2 9.
    mese, ir = simulate.mese(small, 0, snr=1e9), simulate.t1_series(small, 0, snr=1e9)
    vtr = simulate.t1_series(simulate.phantom("small-vtr"), 0, snr=1e9)
    m1, m16 = inner(small, 1), inner(small, 16)

    def ratio(series: simulate.Series, a: tuple, b: tuple) -> float:
        return float(series.signal[a[0], 0, a[1]].mean() / series.signal[b[0], 0, b[1]].mean())

    assert ratio(mese, (m1, 3), (m1, 0)) == pytest.approx(np.exp(-0.030 * 37.08), rel=2e-3)
    assert ratio(mese, (m1, 0), (m16, 0)) == pytest.approx(
        np.exp(-0.010 * 28.08) * (1 - np.exp(-4.56)) / (1 - np.exp(-1.2)), rel=2e-3
    )
    recovery = 1 - 1.96 * np.exp(-np.array([0.05, 5.0]) * 0.4) + np.exp(-3.2)
    assert ratio(ir, (m16, 0), (m16, 9)) == pytest.approx(-recovery[0] / recovery[1], rel=2e-3)
    assert ratio(vtr, (m16, 0), (m16, 7)) == pytest.approx(
        (1 - np.exp(-0.08)) / (1 - np.exp(-3.2)), rel=3e-3
    )


def test_series_say_what_they_are(small: Phantom) -> None:
    mese, ir = simulate.mese(small, 0), simulate.t1_series(small, 0)
    vtr = simulate.t1_series(simulate.phantom("small-vtr"), 0)
    assert [s.kind for s in (mese, ir, vtr)] == ["MESE", "IRT1", "VTR"]
    assert (mese.field_T, mese.signed, ir.signed, mese.grid) == (7.0, False, False, (64, 64, 1))
    np.testing.assert_allclose(mese.protocol.TE, np.arange(1, 17) * 0.010)
    assert (mese.protocol.TR[0], ir.protocol.TE[0], ir.protocol.TR[0]) == (3.0, 0.008, 8.0)


@pytest.mark.parametrize("protocol", ["small", "small-vtr"])
def test_signal_is_as_a_scanner_writes_it(protocol: str) -> None:
    phantom = simulate.phantom(protocol)
    for series in (simulate.mese(phantom, 3), simulate.t1_series(phantom, 3)):
        assert (series.signal == np.rint(series.signal)).all()
        assert series.signal.min() >= 0
        assert 3300 < series.signal.max() < 4095


@pytest.mark.parametrize("snr", [150, 40])
def test_noise_has_the_snr_asked_for(small: Phantom, snr: float) -> None:
    series = simulate.mese(small, 5, snr=snr)
    tube = small.tubes[3]
    first_echo = series.signal[inner(small, 4), 0, 0].mean()
    S0 = first_echo / (np.exp(-0.010 * tube.R2) * (1 - np.exp(-3.0 * tube.R1)))
    air = series.signal[:4].astype(float)
    assert sigma_from_air(mean=air.mean()) == pytest.approx(S0 / snr, rel=0.02)
    assert sigma_from_air(sd=air.std()) == pytest.approx(S0 / snr, rel=0.04)


def test_walls_have_partial_volume(small: Phantom) -> None:
    signal = simulate.mese(small, 0, snr=1e9).signal[..., 0, 0]
    tube = small.tubes[15]
    mask = np.zeros_like(signal, dtype=bool)
    x, y = round(tube.x / small.voxel), round(tube.y / small.voxel)
    mask[x - 7 : x + 8, y - 7 : y + 8] = True
    full = signal[inner(small, 16)].mean()
    assert ((signal > 0.1 * full) & (signal < 0.9 * full) & mask).sum() > 10
    # Whatever lies across the wall, the tube's whole signal is that of its area.
    area = signal[mask].sum() / full * small.voxel**2
    assert area == pytest.approx(np.pi * tube.radius**2, rel=5e-3)


def test_seeds(small: Phantom) -> None:
    a, b, c = (simulate.mese(small, seed).signal for seed in (1, 1, 2))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)
    # One seed for a study: noise of its T1 and T2 series must not be the same noise.
    air = np.s_[:4, :, 0, :8]
    t1 = simulate.t1_series(small, 1).signal
    assert abs(np.corrcoef(a[air].ravel(), t1[air].ravel())[0, 1]) < 0.06


def test_other_agents_and_too_many_tubes() -> None:
    one = simulate.phantom("small", [Agent("Gd", 4.0, 5.0)], [1.0, 0.5, 0.25])
    assert [t.agent for t in one.tubes] == ["Gd", "Gd", "Gd", "blank"]
    np.testing.assert_allclose([t.R1 for t in one.tubes], [4.40, 2.40, 1.40, 0.40])
    with pytest.raises(InputError, match="at most 16"):
        simulate.phantom("small", concentrations_mM=[0.1] * 6)
    with pytest.raises(InputError, match="seed-7T"):
        simulate.phantom("9T")


PROTOCOLS = {
    "TE": Protocol(TE=np.arange(1, 13) * 0.010, TR=3.0),
    "TI": Protocol(TI=[0.05, 0.2, 0.5, 1.0, 2.0, 4.0], TR=6.0),
    "TR": Protocol(TR=[0.2, 0.5, 1.0, 2.0, 4.0, 8.0]),
    "FA": Protocol(FA=[2, 5, 10, 15, 20, 30], TR=0.015),
}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
@pytest.mark.parametrize("signed", [True, False])
def test_series_of_any_model(model: SignalModel, signed: bool) -> None:
    protocol = PROTOCOLS[model.reads[0]]
    T = np.linspace(0.05, 0.9, 60).reshape(5, 4, 3)
    amplitudes = np.stack(
        [np.full(T.shape, 1000.0 * (i + 1)) for i in range(len(model.amplitudes))], -1
    )
    truth = model.signal(protocol, T, amplitudes)
    exact = simulate.series_from_maps(model, protocol, T, amplitudes, 0.0, 0, signed)
    np.testing.assert_allclose(exact.signal, truth if signed else abs(truth), rtol=1e-6, atol=1e-4)
    assert exact.signed is signed
    noisy = simulate.series_from_maps(model, protocol, T, amplitudes, 5.0, 0, signed).signal
    # Far from zero, where Rician noise too is Gaussian, its SD is σ.
    residual = (noisy - exact.signal)[abs(truth) > 100]
    assert residual.std() == pytest.approx(5.0, rel=0.2)
    assert noisy.min() >= (-np.inf if signed else 0)
