"""Noise statistics against values computed apart from this project, and against random numbers."""

from __future__ import annotations

import numpy as np
import pytest

from relaxometry.errors import InputError
from relaxometry.noise import air_factors, rician_mean, sigma_from_air, sigma_from_difference


def test_rician_mean_check_values() -> None:
    A = [0, 0.5, 1, 3, 10, 100]
    expected = [
        1.2533141373,
        1.3304473406,
        1.5485724606,
        3.1725772879,
        10.0501269367,
        100.0050001250,  # A + σ²/2A + σ⁴/8A³; and ∫ m·p(m) dm by quadrature
    ]
    np.testing.assert_allclose(rician_mean(A, 1.0), expected, rtol=0, atol=1e-9)


def test_rician_mean_scales_with_sigma_ignores_sign_and_survives_high_snr() -> None:
    np.testing.assert_allclose(rician_mean(-21.0, 7.0), 7 * rician_mean(3.0, 1.0), rtol=1e-14)
    np.testing.assert_allclose(rician_mean(1e6, 1e-3), 1e6, rtol=1e-12)
    assert rician_mean(np.zeros((4, 1)), np.ones(3)).shape == (4, 3)


@pytest.mark.parametrize("sigma", [0.0, -1.0, np.nan])
def test_rician_mean_refuses_impossible_noise(sigma: float) -> None:
    with pytest.raises(InputError, match="sigma"):
        rician_mean(1.0, sigma)


@pytest.mark.parametrize(
    ("coils", "beta", "sd"),
    [
        (1, 1.2533141373, 0.6551363776),
        (2, 1.8799712060, 0.6824282121),
        (4, 2.7416246754, 0.6953374284),
        (8, 3.9380256219, 0.7013944692),
        (32, 7.9688122220, 0.7057136604),
    ],
)
def test_air_factors_check_values(coils: int, beta: float, sd: float) -> None:
    np.testing.assert_allclose(air_factors(coils), (beta, sd), rtol=0, atol=1e-9)


@pytest.mark.parametrize("coils", [0, -1, 1.5])
def test_air_factors_refuse_impossible_coils(coils: float) -> None:
    with pytest.raises(InputError, match="coils"):
        air_factors(coils)  # type: ignore[arg-type]


@pytest.mark.parametrize("coils", [1, 4])
def test_sigma_from_air_finds_the_sigma_of_random_channels(coils: int) -> None:
    channels = np.random.default_rng(1).normal(0, 12.0, (200_000, 2 * coils))
    air = np.sqrt((channels**2).sum(axis=1))
    assert sigma_from_air(mean=air.mean(), coils=coils) == pytest.approx(12, rel=0.01)
    assert sigma_from_air(sd=air.std(), coils=coils) == pytest.approx(12, rel=0.01)


def test_sigma_from_air_needs_one_positive_statistic() -> None:
    with pytest.raises(InputError, match="either the mean or the SD"):
        sigma_from_air()
    with pytest.raises(InputError, match="either the mean or the SD"):
        sigma_from_air(mean=1.0, sd=1.0)
    with pytest.raises(InputError, match="set to zero"):
        sigma_from_air(sd=0.0)


def test_sigma_from_difference_by_hand_and_from_random_images() -> None:
    # Differences 1, −1, 3: mean 1, SD 2, so σ = 2/√2.
    assert sigma_from_difference([5, 6, 8], [4, 7, 5]) == pytest.approx(np.sqrt(2), rel=1e-12)
    rng = np.random.default_rng(2)
    scene = np.linspace(500, 900, 40_000)
    a, b = (scene + rng.normal(0, 8, scene.size) for _ in range(2))
    assert sigma_from_difference(a, b) == pytest.approx(8, rel=0.02)


def test_sigma_from_difference_refuses_regions_that_do_not_match() -> None:
    with pytest.raises(InputError, match="same region"):
        sigma_from_difference([1, 2, 3], [1, 2])
    with pytest.raises(InputError, match="same region"):
        sigma_from_difference([1], [2])
    with pytest.raises(InputError, match="not finite"):
        sigma_from_difference([1, np.nan], [2, 3])
