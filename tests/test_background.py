"""Air is found beside whatever is scanned, and air that is none is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

import relaxometry as rx
from relaxometry.aircheck import check_air
from relaxometry.background import find_object
from relaxometry.voxelcorrelation import correlation, uneven

from .scans_of_noise import disc, grid, interpolated, magnitude


def objects(n: int) -> dict[str, np.ndarray]:
    x, y = grid(n)
    head = 0.4 * ((x / 0.5) ** 2 + (y / 0.62) ** 2 < 1) + 0.6 * (
        ((x + 0.02) / 0.42) ** 2 + (y / 0.55) ** 2 < 1
    )
    rack = sum(
        (0.3 + 0.1 * i) * (np.hypot(x + 0.45 - 0.3 * i, y + 0.3 - 0.3 * j) < 0.1)
        for i in range(4)
        for j in range(3)
    )
    mouse = 0.7 * (((x - 0.1) / 0.3) ** 2 + (y / 0.6) ** 2 < 1) + 0.2 * (
        (np.abs(x - 0.1) < 0.35) & (np.abs(y - 0.4) < 0.1)
    )
    shapes = {"head": head, "rack": rack, "mouse": mouse, "phantom": disc(n, 0.6)}
    return {name: ndimage.gaussian_filter(shape, 0.6) for name, shape in shapes.items()}


def battery() -> Iterator[tuple[str, np.ndarray, np.ndarray, int]]:
    rng = np.random.default_rng(11)
    for n in (96, 128):
        for name, shape in objects(n).items():
            for ghost in (0.01, 0.03, 0.1):
                for axis in (0, 1):
                    for shift in (n // 2, n // 5):
                        both = np.roll(shape, shift, axis) + np.roll(shape, -shift, axis)
                        ghosts = ghost * both / (2 if shift == n // 2 else 1)
                        snr, coils = ((12, 1), (60, 8), (300, 1))[int(rng.integers(3))]
                        image = magnitude(shape + ghosts, 1 / snr, coils, rng)
                        told = f"{name} {n} ghost {ghost} axis {axis} shift {shift} SNR {snr}"
                        yield told, image, (shape > 1e-3) | (ghosts > 1e-4), coils


def test_air_never_touches_the_object_or_its_ghosts() -> None:
    for told, image, not_air, coils in battery():
        air = rx.find_air(image)
        assert air.sum() >= 100, told
        assert not (air & not_air).any(), told
        check_air(image, coils, air=air)


def test_with_the_phase_axis_there_is_more_air() -> None:
    shape = objects(160)["head"]
    image = magnitude(shape + 0.05 * np.roll(shape, 80, 1), 0.01, 1, np.random.default_rng(1))
    air = rx.find_air(image, phase_axis=1)
    assert air.sum() > 2 * rx.find_air(image).sum()
    assert not (air & ((shape > 1e-3) | (np.roll(shape, 80, 1) > 1e-3))).any()


def test_edges_and_patches_of_one_value_are_left_out() -> None:
    shape = objects(160)["phantom"]
    image = magnitude(shape, 0.02, 1, np.random.default_rng(2))
    image[:14], image[-14:, :20] = 0.0, 0.37
    air = rx.find_air(image, border=6)
    assert not air[:14].any()
    assert not air[-14:, :20].any()
    assert not air[:, :6].any()
    assert not air[:, -6:].any()
    assert air[20:30, 8:20].any()


def test_slices_one_by_one() -> None:
    rng = np.random.default_rng(3)
    shape = objects(96)["phantom"]
    volume = magnitude(np.stack([shape, shape, 0 * shape], axis=2), 0.02, 1, rng)
    air = rx.find_air(volume)
    assert air.shape == volume.shape
    assert (air.sum(axis=(0, 1)) >= 100).all()
    # A slice beyond the object keeps away from where other slices have it.
    assert not air[..., 2][shape > 0].any()
    volume[..., 1] = np.where(shape > 0.01, volume[..., 1], 0)
    assert not rx.find_air(volume)[..., 1].any()


def test_no_air_is_refused_with_what_to_do_instead(sample_data: Path) -> None:
    rng = np.random.default_rng(4)
    full = magnitude(np.ones((96, 96)) * (np.abs(grid(96)[0]) < 0.97), 0.02, 1, rng)
    with pytest.raises(rx.InputError, match=r"no corner free .*'difference'.*'smoothed'"):
        rx.find_air(full)
    shape = objects(96)["phantom"]
    masked = np.where(shape > 0.05, magnitude(shape, 0.02, 1, rng), 0)
    with pytest.raises(rx.InputError, match=r"of one value.*'smoothed'"):
        rx.find_air(masked)
    # Of a mouse cut out of its air, the darkest organ is none.
    mouse, _ = rx.read_image(sample_data / "in_vivo" / "mouse1" / "pre.nii.gz")
    with pytest.raises(rx.InputError, match="of one value"):
        rx.measure_noise(np.where(mouse < 106, 0, mouse))  # 5σ
    with pytest.raises(rx.InputError, match="16 voxels"):
        rx.find_air(np.ones((8, 8)))
    with pytest.raises(rx.InputError, match="phase_axis"):
        rx.find_air(full, phase_axis=2)
    with pytest.raises(rx.InputError, match="≥ 0"):
        rx.find_air(full, border=-1)
    with pytest.raises(rx.InputError, match="of one value"):
        rx.find_air(np.zeros((32, 32)))


def test_the_object_is_found_at_half_its_signal() -> None:
    rng = np.random.default_rng(5)
    shape = disc(128, 0.6)
    x, _ = grid(128)
    image = magnitude(1000 * shape * (1 + 0.6 * x) + 80 * np.roll(shape, 64, 1), 10, 1, rng)
    found = find_object(image)
    assert (found ^ (shape > 0)).sum() < 0.03 * shape.sum()
    with pytest.raises(rx.InputError, match="stands out"):
        find_object(np.zeros((32, 32)))


def air_of(coils: int, sigma: float, shape: tuple[int, int], seed: int) -> np.ndarray:
    return magnitude(np.zeros(shape), sigma, coils, np.random.default_rng(seed))


WHOLE = np.ones((40, 40), bool)


@pytest.mark.parametrize("coils", [1, 8])
@pytest.mark.parametrize("rounded", [None, np.round, np.floor])
def test_true_air_is_not_accused(coils: int, rounded: object) -> None:
    refused = 0
    for seed in range(75):
        side = (10, 25, 60)[seed % 3]
        image = air_of(coils, (1.0, 2.5, 40.0)[seed // 3 % 3], (side, side), seed)
        image = image if rounded is None else rounded(image)
        try:
            check_air(image, coils, air=np.ones(image.shape, bool))
        except rx.InputError:
            refused += 1
    # Well under 1 % (docs/noise.md): in 75 at most one.
    assert refused <= 1


@pytest.mark.parametrize("coils", [1, 4])
@pytest.mark.parametrize("grey", [0.5, 1.0, 1.1])
def test_rounding_is_taken_into_account(coils: int, grey: float) -> None:
    image = np.round(air_of(coils, 1.0, (150, 150), 6) / grey) * grey
    noise = rx.measure_noise(image, np.ones(image.shape, bool), "chi", coils=coils)
    assert noise.sigma == pytest.approx(1, rel=0.03)


def test_a_stated_number_of_coils_is_checked() -> None:
    one, eight = (air_of(n, 10, (40, 40), 7) for n in (1, 8))
    with pytest.raises(rx.InputError, match=r"mean/SD of air is 1\.[89]\S* as of 1 coil, not of 8"):
        rx.measure_noise(one, WHOLE, "chi", coils=8)
    with pytest.raises(rx.InputError, match=r"not of 1; .*if 8 channels .*coils=8 \(method 'chi'"):
        rx.measure_noise(eight, WHOLE, "rayleigh")
    with pytest.raises(rx.InputError, match=r"not of 4"):
        rx.measure_noise(eight, WHOLE, "mean", coils=4)
    plain = rx.measure_noise(eight, WHOLE, "sd")
    assert plain.value == pytest.approx(eight.std(ddof=1))
    (told,) = plain.notes
    assert "coils, not of 1" in told
    assert "if 8 channels were combined by root sum of squares, give coils=8" in told
    assert rx.measure_noise(eight, WHOLE, "chi", coils=8).notes == ()


def spoilt() -> dict[str, np.ndarray]:
    image = air_of(1, 10, (40, 40), 8)
    rng = np.random.default_rng(9)
    x, _ = grid(40)
    ghost = np.zeros((40, 40))
    ghost[10:30, 10:30] = 25
    half = np.where(rng.random((40, 40)) < 0.1, 0, image)
    return {
        "every voxel is 0": np.zeros((40, 40)),
        "every voxel is 7": np.full((40, 40), 7.0),
        "exactly 0": half,
        "below 0": image - 20,
        "grey levels": np.round(image / 30),
        "differ by": magnitude(ghost, 10, 1, rng),
        "ghosts, signal or shading": image * (1 + 0.8 * x),
        "brighter than noise": np.where(rng.random((40, 40)) < 0.003, 200, image),
        "more than of any coils": rng.normal(1000, 10, (40, 40)),
        "less than of any": rng.exponential(10, (40, 40)),
        "histogram": np.where(rng.random((40, 40)) < 0.5, 20.0, 45.0) + rng.random((40, 40)),
        "NaN": np.where(image > 30, np.nan, image),
    }


@pytest.mark.parametrize("what", spoilt())
def test_spoilt_air_is_refused_by_every_method_of_one_image(what: str) -> None:
    for method in ("sd", "rayleigh"):
        with pytest.raises(rx.InputError) as error:
            rx.measure_noise(spoilt()[what], WHOLE, method)
        assert what in str(error.value) or method == "rayleigh"
        assert what in ("below 0", "NaN") or "'difference'" in str(error.value)


@pytest.mark.parametrize("method", ["sd", "rayleigh"])
def test_filtered_air_and_tissue_are_refused(method: str) -> None:
    everywhere = np.ones((60, 60), bool)
    white = air_of(1, 10, (60, 60), 10)
    for filtered in (ndimage.uniform_filter(white, 3), ndimage.median_filter(white, 3)):
        with pytest.raises(rx.InputError, match="coils, not of 1"):
            rx.measure_noise(filtered, everywhere, method)
    rng = np.random.default_rng(14)
    with pytest.raises(rx.InputError, match=r"more than of any.*'difference'"):
        rx.measure_noise(magnitude(np.full((60, 60), 400.0), 10, 1, rng), everywhere, method)
    with pytest.raises(rx.InputError, match=r"not of 1.*'difference'"):
        rx.measure_noise(magnitude(np.full((60, 60), 200.0), 10, 1, rng), everywhere, method)


def test_tissue_as_dark_as_air_of_many_coils_is_told_by_darker_air() -> None:
    mouse = magnitude(80 * disc(96), 10, 1, np.random.default_rng(15))
    with pytest.raises(rx.InputError, match="voxels of the image are darker"):
        rx.measure_noise(mouse, disc(96, 0.4) > 0)
    # Where the rest was set to 0 there is nothing to compare with: a note names the coils.
    masked = np.where(disc(96) > 0, mouse, 0)
    notes = rx.measure_noise(masked, disc(96, 0.4) > 0).notes
    assert any("give coils=1" in note for note in notes)


def cut(
    side: tuple[int, int], share: float, way: str, snr: float, coils: int, seed: int
) -> np.ndarray:
    x, y = np.meshgrid(*(np.arange(n) / n for n in side), indexing="ij")
    along = {"x": x, "y": y, "askew": x + y}[way]
    scene = 10 * snr * (along < np.quantile(along, share))
    return magnitude(scene, 10, coils, np.random.default_rng(seed))


@pytest.mark.parametrize(
    ("side", "weakest"), [((16, 32), 10), ((32, 32), 3)], ids=["16x32", "32x32"]
)
@pytest.mark.parametrize(
    ("method", "coils"),
    [("sd", 1), ("rayleigh", 1), ("chi", 8), ("mean", 1), ("mean", 8)],
)
def test_air_with_an_object_in_it_is_refused(
    side: tuple[int, int], weakest: float, method: str, coils: int
) -> None:
    passed = []
    for way in ("x", "y", "askew"):
        for share in (0.2, 0.35, 0.5, 0.65, 0.8):
            for snr in (3, 5, 10, 20, 60):
                if snr < weakest:
                    continue
                image = cut(side, share, way, snr, coils, round(1000 * share) + snr)
                try:
                    rx.measure_noise(image, np.ones(side, bool), method, coils=coils)
                except rx.InputError:
                    continue
                passed.append((way, share, snr))
    assert not passed


@pytest.mark.parametrize("fold", [2, 3, 4])
def test_interpolated_air_is_not_accused(fold: int) -> None:
    rng = np.random.default_rng(16)
    refused = 0
    for _ in range(60):
        n = 40 // fold + 2
        k = np.zeros((n * fold, n * fold), complex)
        k[:n, :n] = rng.normal(size=(n, n)) + 1j * rng.normal(size=(n, n))
        image = 1e3 * np.abs(np.fft.ifft2(k))[:40, :40]
        try:
            rx.measure_noise(image, WHOLE, "rayleigh")
            rx.measure_noise(image, WHOLE)
        except rx.InputError:
            refused += 1
    assert refused <= 1


def test_a_few_zeros_are_a_note() -> None:
    image = air_of(1, 10, (40, 40), 12)
    image[3, 4] = 0
    assert any("exactly 0" in note for note in rx.measure_noise(image, WHOLE).notes)


def test_correlation_and_parts_by_hand() -> None:
    rng = np.random.default_rng(13)
    white = rng.normal(size=(60, 60))
    alone = correlation(white, np.ones(white.shape, bool))
    assert not alone.found
    assert alone.per_sd == 1
    # The mean of two neighbours along x: ρ = ½ there, so Σρ = 2 and Σρ² = 1.5.
    pairs = (white[1:] + white[:-1]) / 2
    found = correlation(pairs, np.ones(pairs.shape, bool))
    assert found.lag1[0] == pytest.approx(0.5, abs=0.06)
    assert abs(found.lag1[1]) < 0.06
    assert found.per_mean == pytest.approx(2, abs=0.35)
    assert found.per_sd == pytest.approx(1.5, abs=0.15)
    # Two halves that differ by one SD: about 0.5 SD between the parts of 8×8.
    step = white + (np.arange(60) < 32)[:, None]
    p, excess = uneven(step, np.ones(step.shape, bool))
    assert p < 1e-10
    assert excess == pytest.approx(0.5, abs=0.08)
    p, excess = uneven(white, np.ones(white.shape, bool))
    assert p > 1e-3
    assert correlation(interpolated(30, 1, rng), np.ones((60, 60), bool)).found
