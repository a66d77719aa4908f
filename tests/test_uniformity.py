"""Uniformity and ghosting against hand arithmetic and against ghosts put in."""

from __future__ import annotations

import numpy as np
import pytest

import relaxometry as rx
from relaxometry.imageuniformity import low_pass, measurement_region

from .scans_of_noise import disc, grid, magnitude


def test_the_filter_by_hand() -> None:
    plane = np.zeros((5, 5))
    plane[2, 2] = 16
    found = low_pass(plane, np.ones((5, 5), bool))
    np.testing.assert_allclose(found[1:4, 1:4], [[1, 2, 1], [2, 4, 2], [1, 2, 1]])
    # At an edge only voxels of the phantom count: an even one stays even.
    inside = np.zeros((5, 5), bool)
    inside[1:4, 1:3] = True
    np.testing.assert_allclose(low_pass(np.where(inside, 7.0, 99.0), inside)[inside], 7)


def test_uniformity_by_hand() -> None:
    # A ramp is its own filtered self inside: 90 … 110 along x.
    ramp = np.broadcast_to(np.linspace(85, 115, 31)[:, None], (31, 31))
    region = np.zeros((31, 31), bool)
    region[5:26, 5:26] = True
    u = rx.uniformity(ramp, region)
    assert (u.S_min, u.S_max) == pytest.approx((90, 110))
    assert u.uniformity_percent == pytest.approx(100 * (1 - 20 / 200))
    assert u.at_max[0] == 25
    assert u.at_min[0] == 5
    # Mean deviation of 90, 91 … 110 from 100 is 2·(1 + … + 10)/21.
    assert u.naad_percent == pytest.approx(100 - 110 / 21)
    assert u.row()["uniformity_percent"] == u.uniformity_percent
    assert "90.0 %" in repr(u)
    assert "Smax" in u.formula


@pytest.mark.parametrize("shape", ["disc", "box"])
def test_the_region_is_found_and_keeps_three_quarters(shape: str) -> None:
    x, y = grid(128)
    phantom = disc(128) > 0 if shape == "disc" else (np.abs(x) < 0.6) & (np.abs(y) < 0.4)
    image = magnitude(1000 * phantom * (1 + 0.1 * x), 5, 1, np.random.default_rng(1))
    u = rx.uniformity(image)
    assert 0.73 < u.n_voxels / phantom.sum() < 0.80
    assert not (u.region & ~phantom).any()
    # Over ±0.9 of the half-width or so S runs by 10 % of x.
    reach = x[u.region].max()
    assert u.uniformity_percent == pytest.approx(100 - 10 * reach, abs=1.0)
    if shape == "disc":
        r = np.hypot(x, y)
        assert r[u.region].max() == pytest.approx(0.6 * np.sqrt(0.75), abs=0.03)


def test_noise_is_told() -> None:
    rng = np.random.default_rng(2)
    short = [rx.uniformity(magnitude(1000 * disc(96), 1000 / 25, 1, rng)) for _ in range(20)]
    found = np.mean([100 - u.uniformity_percent for u in short])
    assert found == pytest.approx(np.mean([u.noise_percent for u in short]), rel=0.1)
    assert all("noise alone" in u.notes[0] for u in short)
    assert rx.uniformity(magnitude(1000 * disc(96), 1, 1, rng)).notes == ()


def test_slices_each_and_together() -> None:
    phantom = 1000 * disc(64)
    u = rx.uniformity(np.stack([phantom, 0.8 * phantom, 0 * phantom], axis=2))
    assert [one.uniformity_percent for one in u.slices] == pytest.approx([100, 100])
    assert u.uniformity_percent == pytest.approx(100 * (1 - 200 / 1800))
    assert u.at_min[2] == 1
    assert u.slices[1].at_max[2] == 1
    assert u.region.shape == (64, 64, 3)


def test_uniformity_refusals() -> None:
    flat = np.full((32, 32), 5.0)
    region = np.ones((32, 32), bool)
    with pytest.raises(rx.InputError, match="stands out"):
        rx.uniformity(np.zeros((32, 32)))
    with pytest.raises(rx.InputError, match="divided by"):
        rx.uniformity(0 * flat, region)
    with pytest.raises(rx.GeometryError, match="that of the image"):
        rx.uniformity(flat, region[:3])
    with pytest.raises(rx.InputError, match="no voxels"):
        rx.uniformity(flat, ~region)
    with pytest.raises(rx.InputError, match="NaN"):
        rx.uniformity(np.where(np.eye(32) > 0, np.nan, flat), region)
    with pytest.raises(rx.GeometryError, match="axes"):
        rx.uniformity(flat[0])
    small = np.zeros((32, 32), bool)
    small[10:16, 10:16] = True
    with pytest.raises(rx.InputError, match="100 or more"):
        measurement_region(small)


def with_ghosts(ghost: float, axis: int, snr: float, coils: int = 1, seed: int = 3) -> np.ndarray:
    phantom = disc(128)
    ghosts = ghost * np.roll(phantom, 64, axis)
    return 100 * magnitude(phantom + ghosts, 1 / snr, coils, np.random.default_rng(seed))


def test_ghosting_by_hand() -> None:
    image = np.zeros((64, 64))
    image[22:42, 22:42] = 100
    image[:22, 22:42] = image[42:, 22:42] = 3
    image[22:42, :22] = image[22:42, 42:] = 1
    g = rx.ghosting(image)
    assert g.ghosting_percent == pytest.approx(2.0)  # |(1 + 1) − (3 + 3)|/(2·100)
    assert g.axis == 0
    assert (g.x_mean, g.y_mean, g.S_mean) == pytest.approx((3, 1, 100))
    assert g.row()["ghost_axis"] == "x"
    assert not (g.x_bands & (g.y_bands | g.phantom)).any()


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(
    ("ghost", "snr", "coils"), [(0.1, 200, 1), (0.02, 200, 8), (0.03, 25, 1), (0.05, 50, 32)]
)
def test_ghosts_are_found_through_noise(axis: int, ghost: float, snr: float, coils: int) -> None:
    image = with_ghosts(ghost, axis, snr, coils)
    g = rx.ghosting(image)
    truth = 100 * np.sqrt(
        np.mean((ghost * np.roll(disc(128), 64, axis))[(g.x_bands, g.y_bands)[axis]] ** 2)
    )
    assert g.axis == axis
    assert g.ghost_percent == pytest.approx(truth, rel=0.12)
    assert g.ghosting_percent < g.ghost_percent  # the mean of a magnitude hides ghosts in noise


def test_no_ghosts_are_seen_where_there_are_none() -> None:
    found = [rx.ghosting(with_ghosts(0, 0, 50, seed=seed)) for seed in range(25)]
    assert sum(g.axis is not None for g in found) <= 1
    none = next(g for g in found if g.axis is None)
    assert np.isnan(none.ghost_percent)
    assert "none above" in repr(none)
    stated = np.mean([g.stderr_percent for g in found])
    # |difference|: the mean of a folded normal is √(2/π) of its SD.
    assert np.mean([g.ghosting_percent for g in found]) == pytest.approx(0.8 * stated, rel=0.35)


def test_ghosting_by_slice() -> None:
    g = rx.ghosting(np.stack([with_ghosts(0.1, 1, 100), with_ghosts(0.02, 1, 100)], axis=2))
    assert len(g.slices) == 2
    assert g.slices[0].ghosting_percent > g.ghosting_percent > g.slices[1].ghosting_percent
    assert g.y_bands.shape == (128, 128, 2)


def test_ghosting_refusals() -> None:
    x, _ = grid(64)
    with pytest.raises(rx.InputError, match="no room beside the phantom along y"):
        rx.ghosting(100.0 * (np.abs(x) < 0.5))
    with pytest.raises(rx.InputError, match="NaN"):
        rx.ghosting(np.full((64, 64), np.nan))
    with pytest.raises(rx.InputError, match="stands out"):
        rx.ghosting(np.zeros((64, 64)))
    one_sided = np.zeros((64, 64))
    one_sided[20:44, 0:30] = 100
    assert any("only one side" in note for note in rx.ghosting(one_sided).notes)
