"""Noise by every method against images whose σ is known, and what is refused."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy import ndimage

import relaxometry as rx
from relaxometry.noise import air_factors, air_shape, rician_amplitude, rician_mean

from .scans_of_noise import disc, grid, interpolated, magnitude

SIGMA = 20.0
N = 160
INSIDE = disc(N, 0.55) > 0
AIR = np.zeros((N, N), bool)
AIR[4:34, 4:34] = AIR[-34:-4, 4:34] = AIR[4:34, -34:-4] = AIR[-34:-4, -34:-4] = True


def scene() -> np.ndarray:
    x, y = grid(N)
    return 1500 * disc(N) * (1 + 0.15 * x - 0.1 * y**2)


@pytest.fixture(scope="module")
def pairs() -> dict[int, tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(7)
    return {n: tuple(magnitude(scene(), SIGMA, n, rng) for _ in range(2)) for n in (1, 4, 8, 32)}


METHODS = [
    (method, coils)
    for method in ("sd", "rayleigh", "mean", "chi", "difference", "smoothed")
    for coils in (1, 4, 8, 32)
    if method != "rayleigh" or coils == 1
]


@pytest.fixture(scope="module")
def many() -> dict[int, list[tuple[np.ndarray, np.ndarray]]]:
    """Eight pairs of images for each number of coils: above a flat object, below air."""
    rng = np.random.default_rng(22)
    scene = np.zeros((160, 80))
    scene[:80] = 3000.0
    return {
        n: [tuple(magnitude(scene, SIGMA, n, rng) for _ in range(2)) for _ in range(8)]
        for n in (1, 4, 8, 32)
    }


@pytest.mark.parametrize(("method", "coils"), METHODS)
def test_every_method_finds_sigma_within_one_percent(many: dict, method: str, coils: int) -> None:
    lit = np.zeros((160, 80), bool)
    lit[2:78, 2:78] = True
    air = np.zeros((160, 80), bool)
    air[82:] = True
    found = []
    for a, b in many[coils]:
        given = {"region": lit} if method in ("difference", "smoothed") else {"air": air}
        if method == "difference":
            given["second"] = b
        found.append(rx.measure_noise(a, method=method, coils=coils, **given))
    # 8 images of 4600 voxels or more: 0.37 % by chance for an SD, and a part of that by `mean`.
    assert np.mean([noise.sigma for noise in found]) == pytest.approx(SIGMA, rel=0.01)
    factor = air_factors(coils)[1] if method == "sd" else 1.0
    assert np.mean([noise.value for noise in found]) / factor == pytest.approx(SIGMA, rel=0.01)
    assert {noise.method for noise in found} == {method}
    assert {noise.coils for noise in found} == {coils}


@pytest.mark.parametrize("coils", [1, 8])
def test_errors_are_honest_over_many_images(coils: int) -> None:
    rng = np.random.default_rng(21)
    flat, air = np.full((24, 24), 1500.0), np.ones((24, 24), bool)
    for method in ("chi", "mean", "difference", "smoothed"):
        found = []
        for _ in range(90):
            image = magnitude(
                flat if method in ("difference", "smoothed") else 0 * flat, SIGMA, coils, rng
            )
            if method == "difference":
                second = magnitude(flat, SIGMA, coils, rng)
                found.append(rx.measure_noise(image, method=method, second=second, region=air))
            elif method == "smoothed":
                found.append(rx.measure_noise(image, method=method, region=air))
            else:
                found.append(rx.measure_noise(image, air, method, coils=coils))
        sigma = np.array([noise.sigma for noise in found])
        stated = np.mean([noise.sigma_stderr for noise in found])
        assert sigma.mean() == pytest.approx(SIGMA, rel=0.01), method
        # 90 images tell an SD to 7.5 %.
        assert sigma.std(ddof=1) == pytest.approx(stated, rel=0.2), method


def test_by_hand() -> None:
    image = np.array([[3.0, 4.0, 5.0], [900.0, 902.0, 904.0]])
    air = np.array([[1, 1, 1], [0, 0, 0]], bool)
    assert rx.measure_noise(image, air).value == 1.0  # SD of 3, 4, 5
    assert rx.measure_noise(image, air, "rayleigh").value == pytest.approx(1 / 0.6551363776)
    assert rx.measure_noise(image, air, "mean", coils=2).value == pytest.approx(4 / 1.8799712060)
    assert rx.measure_noise(image, air, "chi", coils=4).value == pytest.approx(1 / 0.6953374284)
    assert rx.measure_noise(image, air, "sd", coils=4).sigma == pytest.approx(1 / 0.6953374284)


def test_difference_by_hand_and_over_repeats() -> None:
    rng = np.random.default_rng(1)
    a = 1000 + rng.normal(0, 10, (30, 30))
    b = 1000 + rng.normal(0, 10, (30, 30))
    region = np.zeros((30, 30), bool)
    region[5:25, 5:25] = True
    noise = rx.measure_noise(a, method="difference", second=b, region=region)
    assert noise.value == pytest.approx((a - b)[region].std(ddof=1) / np.sqrt(2), rel=1e-12)
    assert noise.formula == "SD(a − b)/√2"
    more = 1000 + rng.normal(0, 10, (30, 30, 4))
    repeats = rx.measure_noise(a, method="difference", second=more, region=region)
    assert repeats.value == pytest.approx(10, rel=0.06)
    assert repeats.stderr == pytest.approx(noise.stderr / 2, rel=0.1)  # four times the freedom
    assert "over 5 images" in repeats.formula


def test_smoothed_by_hand() -> None:
    rng = np.random.default_rng(3)
    image = 500 + rng.normal(0, 5, (40, 40))
    region = np.ones((40, 40), bool)
    noise = rx.measure_noise(image, method="smoothed", region=region)
    inner = (image - ndimage.uniform_filter(image, 9))[4:-4, 4:-4]
    assert noise.value == pytest.approx(inner.std(ddof=1) / np.sqrt(80 / 81), rel=1e-12)
    assert noise.region is not None
    assert noise.region.sum() == 32**2
    assert noise.n_voxels == 32**2


def test_smoothed_leaves_shading_out() -> None:
    x, y = grid(100)
    rng = np.random.default_rng(4)
    image = 2000 * (1 + 0.4 * x - 0.3 * y) + rng.normal(0, SIGMA, x.shape)
    noise = rx.measure_noise(image, method="smoothed", region=np.ones(x.shape, bool))
    assert noise.sigma == pytest.approx(SIGMA, rel=0.03)


def test_drift_is_taken_out_if_small_and_refused_if_large(pairs: dict) -> None:
    a, b = pairs[1]
    x, _ = grid(N)
    plain = rx.measure_noise(a, method="difference", second=b, region=INSIDE)
    assert plain.notes == ()
    drifted = b * (1.01 + 0.01 * x)
    noise = rx.measure_noise(a, method="difference", second=drifted, region=INSIDE)
    assert noise.sigma == pytest.approx(SIGMA, rel=0.03)
    assert any("differ by 1.1" in note or "differ by 1.2" in note for note in noise.notes)
    with pytest.raises(rx.InputError, match=r"differ by 4\.9 % of the signal"):
        rx.measure_noise(a, method="difference", second=b * 1.05, region=INSIDE)
    allowed = rx.measure_noise(
        a, method="difference", second=b * 1.05, region=INSIDE, drift_limit=0.1
    )
    assert allowed.sigma == pytest.approx(SIGMA * np.sqrt((1 + 1.05**2) / 2), rel=0.03)


def test_an_object_that_moved_is_refused() -> None:
    rng = np.random.default_rng(5)
    tubes = ndimage.gaussian_filter((rng.random((N, N)) > 0.97).astype(float), 2) * 2e4 + 300
    a = magnitude(tubes, 10, 1, rng)
    b = magnitude(ndimage.shift(tubes, (2.5, 0), mode="nearest"), 10, 1, rng)
    with pytest.raises(rx.InputError, match="drift, another gain, or movement"):
        rx.measure_noise(a, method="difference", second=b, region=np.ones((N, N), bool))
    with pytest.raises(rx.InputError, match="moved between the images"):
        rx.measure_noise(
            a, method="difference", second=b, region=np.ones((N, N), bool), drift_limit=10
        )


def test_slices_are_pooled() -> None:
    rng = np.random.default_rng(6)
    volume = magnitude(np.repeat(scene()[..., None], 6, axis=2), SIGMA, 1, rng)
    air = np.repeat(AIR[..., None], 6, axis=2)
    air[..., 5] = False
    noise = rx.measure_noise(volume, air, "rayleigh")
    assert len(noise.slices) == 5
    assert noise.sigma == pytest.approx(SIGMA, rel=0.015)
    assert noise.stderr == pytest.approx(noise.slices[0].stderr / np.sqrt(5), rel=0.05)
    np.testing.assert_array_equal(noise.region, air)
    squares = [one.value**2 for one in noise.slices]
    assert noise.value == pytest.approx(np.sqrt(np.mean(squares)), rel=1e-12)
    assert rx.pool_noise(noise.slices).value == noise.value
    assert noise.notes == ()
    volume[..., 2] *= 1.3
    uneven = rx.measure_noise(volume, air, "rayleigh")
    assert any("between slices by more than chance" in note for note in uneven.notes)
    assert uneven.stderr > 2 * noise.stderr


def test_pool_refuses_what_does_not_go_together() -> None:
    image = np.array([[3.0, 4.0, 5.0]])
    air = np.ones((1, 3), bool)
    sd = rx.measure_noise(image, air)
    assert rx.pool_noise([sd]) is sd
    with pytest.raises(rx.InputError, match="one method"):
        rx.pool_noise([sd, rx.measure_noise(image, air, "rayleigh")])
    with pytest.raises(rx.InputError, match="no noise"):
        rx.pool_noise([])


def test_interpolated_air_has_fewer_voxels() -> None:
    rng = np.random.default_rng(8)
    found = [
        rx.measure_noise(interpolated(24, 5.0, rng), np.ones((48, 48), bool), "rayleigh")
        for _ in range(60)
    ]
    sigma = np.array([noise.sigma for noise in found])
    assert sigma.mean() == pytest.approx(5, rel=0.015)
    assert all(any("correlated" in note for note in noise.notes) for noise in found)
    assert sigma.std(ddof=1) == pytest.approx(np.mean([n.stderr for n in found]), rel=0.25)


def test_air_is_found_where_none_is_given(pairs: dict) -> None:
    a, b = pairs[8]
    noise = rx.measure_noise(a, method="chi", coils=8)
    assert noise.sigma == pytest.approx(SIGMA, rel=0.04)
    assert not (noise.region & (scene() > 0)).any()
    assert rx.measure_noise(a, method="difference", second=b).sigma == pytest.approx(
        SIGMA, rel=0.03
    )
    assert rx.measure_noise(a, method="smoothed").sigma == pytest.approx(SIGMA, rel=0.03)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"method": "median"}, "sd, rayleigh, mean"),
        ({"method": "rayleigh", "coils": 8}, "'chi'"),
        ({"coils": 0}, "coils"),
        ({"method": "difference"}, "no second image"),
        ({"method": "sd", "second": np.ones((N, N))}, "for no other method"),
        ({"method": "smoothed", "air": AIR}, "a region for difference"),
        ({"method": "sd", "region": AIR}, "air for sd"),
        ({"air": AIR[:5]}, "that of the image"),
        ({"air": np.zeros((N, N), bool)}, "0 voxels"),
        ({"air": AIR * 2}, "a mask"),
        ({"method": "difference", "second": np.ones((N, 3))}, "stack of such"),
        ({"method": "smoothed", "region": np.eye(N) > 0}, "without 4 at the edge"),
        ({"method": "smoothed", "region": AIR}, "hardly signal"),
    ],
)
def test_what_contradicts_itself_is_refused(pairs: dict, given: dict, message: str) -> None:
    with pytest.raises(rx.InputError, match=message):
        rx.measure_noise(pairs[1][0], **given)


def test_more_refusals(pairs: dict) -> None:
    a, b = pairs[1]
    with pytest.raises(rx.InputError, match="the same"):
        rx.measure_noise(a, method="difference", second=a, region=INSIDE)
    with pytest.raises(rx.InputError, match="axes"):
        rx.measure_noise(a[0])
    with pytest.raises(rx.InputError, match="NaN"):
        rx.measure_noise(np.where(AIR, np.nan, a), method="smoothed", region=AIR)
    few = np.zeros((N, N), bool)
    few[80, 70:80] = True
    with pytest.raises(rx.InputError, match="25 or more"):
        rx.measure_noise(a, method="difference", second=b, region=few)
    with pytest.raises(rx.InputError, match="edges or spikes"):
        rx.measure_noise(a, method="smoothed", region=np.ones((N, N), bool))


def test_low_snr_is_said() -> None:
    rng = np.random.default_rng(9)
    a, b = (magnitude(np.full((60, 60), 60.0), SIGMA, 1, rng) for _ in range(2))
    noise = rx.measure_noise(a, method="difference", second=b, region=np.ones((60, 60), bool))
    assert any("scatters less than σ" in note for note in noise.notes)


@pytest.mark.parametrize("method", ["difference", "smoothed"])
@pytest.mark.parametrize(
    ("coils", "A", "true"),
    # The SD of the magnitude is σ·√((A² + nσ²)/(A² + 2nσ²)), to 1 %.
    [(1, 3.0, 3.3), (8, 5.0, 10), (32, 5.0, 20), (32, 15.0, 6), (1, 8.0, 0), (32, 60.0, 0)],
)
def test_how_much_less_a_magnitude_scatters_is_said(
    method: str, coils: int, A: float, true: float
) -> None:
    rng = np.random.default_rng(11)
    a, b = (magnitude(np.full((80, 80), A * SIGMA), SIGMA, coils, rng) for _ in range(2))
    second = {"second": b} if method == "difference" else {}
    noise = rx.measure_noise(a, None, method, coils=coils, region=np.ones((80, 80), bool), **second)
    said = [re.search(r"by about (\d+) % \((\d+) to (\d+) %\)", note) for note in noise.notes]
    found = [tuple(map(int, one.groups())) for one in said if one]
    assert noise.sigma == pytest.approx(SIGMA * (1 - true / 100), rel=0.035)
    assert bool(found) == (true > 0)
    if found:
        assert found[0][1] - 1 <= true <= found[0][2] + 1


def test_it_tells_itself() -> None:
    noise = rx.measure_noise(np.array([[3.0, 4.0, 5.0]]), np.ones((1, 3), bool))
    assert repr(noise).startswith("Noise: 1 ± ")
    assert "SD(air)" in repr(noise)
    assert noise.row()["noise_method"] == "sd"
    assert noise.row()["noise"] == 1.0


@pytest.mark.parametrize("coils", [1, 2, 8, 32])
def test_amplitude_is_the_inverse_of_the_mean_at_any_snr(coils: int) -> None:
    A = np.array([0.0, 0.05, 0.5, 1, 3, 10, 100, 1e5])
    found = rician_amplitude(rician_mean(A, 3.0, coils), 3.0, coils)
    np.testing.assert_allclose(found, A, rtol=1e-8, atol=1e-3)
    assert np.isnan(rician_amplitude(0.99 * air_factors(coils)[0], 1.0, coils))
    assert np.isnan(rician_amplitude(np.nan, 1.0, coils))


@pytest.mark.parametrize(("coils", "A"), [(1, 2.0), (4, 1.5), (32, 6.0)])
def test_mean_of_coils_against_random_numbers(coils: int, A: float) -> None:
    rng = np.random.default_rng(10)
    found = magnitude(np.full((400, 400), A), 1.0, coils, rng)
    assert rician_mean(A, 1.0, coils) == pytest.approx(found.mean(), abs=4 / 400)
    assert rician_mean(A, 1.0, coils) > np.hypot(A, 0)
    with pytest.raises(rx.InputError, match="sigma"):
        rician_amplitude(1.0, 0.0, coils)


def test_shape_of_air() -> None:
    # Rayleigh: skewness 2√π(π−3)/(4−π)^1.5, excess kurtosis −(6π²−24π+16)/(4−π)².
    pi = np.pi
    ratio, skewness, kurtosis = air_shape(1)
    assert ratio == pytest.approx(np.sqrt(pi / (4 - pi)))
    assert skewness == pytest.approx(2 * np.sqrt(pi) * (pi - 3) / (4 - pi) ** 1.5)
    assert kurtosis == pytest.approx(-(6 * pi**2 - 24 * pi + 16) / (4 - pi) ** 2)
    beta, factor = air_factors(8)
    assert air_shape(8)[0] == pytest.approx(beta / factor)
