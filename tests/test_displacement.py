"""Whether an animal moved between two images of other contrast: known motions, found again."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import relaxometry as rx
from relaxometry.animalscans import tumour

from .animals import SLICE, VOXEL, Animal, Scan, axial, uptake

GRID = (96, 96, 1)


def image(
    seed=0,
    grid=GRID,
    *,
    noise=0,
    snr=30.0,
    change=None,
    voxels=(0, 0),
    across=0.0,
    turn=0.0,
    **scan,
):
    shift = (voxels[0] * VOXEL, voxels[1] * VOXEL, across * SLICE)
    animal = Animal.of(seed, 24.0)
    return animal.image(Scan(snr, seed=noise, **scan), grid, change, shift, turn)


def after(seed, **options):
    change = uptake(np.random.default_rng(seed), 0.35)
    return image(seed, noise=seed + 100, change=change, **options)


@pytest.mark.parametrize(
    ("seed", "voxels", "turn", "harm"),
    [
        (0, (0, 0), 0.0, {"scale": 1.9}),
        (1, (0.5, -1.3), 0.0, {"bias": (0.3, -0.2)}),
        (2, (-2.7, 3.0), 4.0, {"scale": 0.5, "ghost": 0.05}),
        (3, (1.0, 2.0), -5.0, {"snr": 15.0}),
    ],
)
def test_a_known_motion_while_the_liver_goes_dark(seed, voxels, turn, harm):
    found = rx.displacement(image(seed), after(seed, voxels=voxels, turn=turn, **harm), axial(GRID))
    assert found.rotation_deg == pytest.approx(turn, abs=0.35)
    # What happens to the middle of the grid, about which the animal was turned.
    middle = np.array([47.5, 47.5, 0, 1])
    there = np.linalg.inv(axial(GRID)) @ found.matrix @ axial(GRID) @ middle
    np.testing.assert_allclose(there[:2] - middle[:2], voxels, atol=0.15)
    np.testing.assert_allclose(found.shift_mm[:2], VOXEL * found.shift_voxels[:2])
    assert np.isnan(found.shift_mm[2])
    assert "across the slices cannot be seen in 1" in found.notes[0]
    assert 0 < found.uncertainty_voxels < 0.4


def test_the_largest_displacement_is_at_the_rim_or_in_the_mask():
    """A turn by 4° about the middle: r·2·sin(2°) at a distance of r voxels from it."""
    before, moved = image(4), after(4, turn=4.0)
    mask = np.zeros(GRID, bool)
    mask[67, 47:49] = True  # 19.5 voxels from the middle
    inside = rx.displacement(before, moved, axial(GRID), mask=mask)
    assert inside.largest_voxels == pytest.approx(19.5 * 2 * np.sin(np.radians(2)), abs=0.12)
    rim = rx.displacement(before, moved, axial(GRID))
    assert rim.largest_voxels > 1.5 * inside.largest_voxels
    np.testing.assert_array_equal(rim.matrix, inside.matrix)


def test_across_the_slices_with_voxels_that_are_not_square():
    grid = (96, 64, 4)
    animal, voxel = Animal.of(5, 24.0), (0.25, 0.375, 1.0)
    before = animal.image(Scan(30), grid, voxel=voxel)
    change = uptake(np.random.default_rng(5), 0.4)
    moved = animal.image(Scan(30, seed=9), grid, change, (0.3, -0.45, 0.6), 3.0, voxel)
    found = rx.displacement(before, moved, np.diag([*voxel, 1.0]))
    assert found.shift_voxels[2] == pytest.approx(0.6, abs=0.15)
    assert found.rotation_deg == pytest.approx(3, abs=0.4)
    centre = np.append((np.array(grid) - 1) / 2 * voxel, 1.0)
    np.testing.assert_allclose((found.matrix @ centre - centre)[:2], [0.3, -0.45], atol=0.05)
    assert found.notes == ()


def test_the_simulated_tumour_lies_still():
    pre, post, _, affine = tumour(1)
    found = rx.displacement(pre, post, affine)
    assert found.largest_voxels < 0.3
    assert not found.beyond(0.5)
    assert rx.check_still(found)[-1:] == found.notes
    shifted = rx.displacement(pre, np.roll(post, 2, axis=1), affine)
    np.testing.assert_allclose(shifted.shift_voxels[:2], [0, 2], atol=0.15)


def test_a_round_object_tells_a_shift_but_no_turn():
    x, y = np.mgrid[:80, :80]
    rng = np.random.default_rng(3)

    def disc(cx, cy, signal):
        inside = np.clip(24.5 - np.hypot(x - cx, y - cy), 0, 1)
        return np.hypot(signal * inside + rng.normal(size=x.shape), rng.normal(size=x.shape))

    found = rx.displacement(disc(39, 41, 30), disc(40.5, 41, 12), np.eye(4))
    np.testing.assert_allclose(found.shift_mm[:2], [1.5, 0], atol=0.15)
    assert np.isnan(found.rotation_deg)
    assert any("turn cannot be seen" in note for note in found.notes)


def noise(seed, signal=0.0, shape=(64, 64)):
    rng = np.random.default_rng(seed)
    return np.hypot(signal + rng.normal(size=shape), rng.normal(size=shape))


@pytest.mark.parametrize(
    ("pre", "post"),
    [
        (noise(1), noise(2)),
        (noise(1, 50.0), noise(2, 20.0)),
        (image(0)[..., 0], noise(3, shape=GRID[:2])),
        (np.ones((40, 40)), np.ones((40, 40))),
        (np.zeros((40, 40)), noise(1, shape=(40, 40))),
        (noise(1, shape=(5, 5)), noise(2, shape=(5, 5))),
    ],
)
def test_what_cannot_be_told_is_nan_and_a_note(pre, post):
    found = rx.displacement(pre, post, np.eye(4))
    assert not found.known
    assert np.isnan([*found.shift_mm, *found.shift_voxels, found.rotation_deg]).all()
    assert np.isnan([found.largest_voxels, found.uncertainty_voxels]).all()
    assert len(found.notes) == 1
    assert "cannot be told" in rx.check_still(found)[0]
    assert "cannot be told" in repr(found)


def test_what_is_no_number_is_left_out():
    before, moved = image(1), after(1, voxels=(1.5, 0))
    before[:, 60:], moved[:10] = np.nan, np.nan
    found = rx.displacement(before, moved, axial(GRID))
    np.testing.assert_allclose(found.shift_voxels[:2], [1.5, 0], atol=0.2)


class TestCheckStill:
    found = rx.Displacement(
        np.array([0.1, -0.2, np.nan]),
        np.array([0.4, -0.8, np.nan]),
        1.0,
        0.9,
        0.3,
        np.eye(4),
        50,
    )

    def test_beyond_doubt_is_refused(self):
        with pytest.raises(rx.InputError) as refused:
            rx.check_still(self.found)
        for part in (
            "x +0.10 mm (+0.40 voxels), y -0.20 mm (-0.80 voxels), turned by +1.0°",
            "at most 0.90 ± 0.30 voxels",
            "expected a displacement of at most 0.5 voxels",
            'shift = "correct"',
            'shift = "ignore"',
        ):
            assert part in str(refused.value)

    def test_within_doubt_is_a_note(self):
        notes = rx.check_still(self.found, 0.7)  # 0.9 − 0.3 is not beyond 0.7
        assert "may have moved by more than 0.7 voxels" in notes[0]

    def test_within_the_limit_is_nothing(self):
        assert rx.check_still(self.found, 1.3) == ()
        told = dataclasses.replace(self.found, notes=("said",))
        assert rx.check_still(told, 1.3) == ("said",)

    @pytest.mark.parametrize("limit", [0, -1, float("nan")])
    def test_a_limit_that_is_none(self, limit):
        with pytest.raises(rx.InputError, match="limit_voxels"):
            rx.check_still(self.found, limit)


@pytest.mark.parametrize(
    ("pre", "post", "affine", "options", "complaint"),
    [
        (np.ones((9, 9)), np.ones((9, 8)), np.eye(4), {}, "images on one grid"),
        (np.ones(9), np.ones(9), np.eye(4), {}, r"pre: .*expected a magnitude image"),
        (np.ones((9, 9)), np.ones((9, 9), complex), np.eye(4), {}, "post: an array of complex"),
        (np.ones((9, 9)), np.full((9, 9), np.nan), np.eye(4), {}, "post: no finite voxel"),
        (np.ones((9, 9)), np.ones((9, 9)), np.eye(3), {}, "affine"),
        (np.ones((9, 9)), np.ones((9, 9)), np.eye(4), {"mask": np.ones(9)}, "mask: shape"),
        (np.ones((9, 9)), np.ones((9, 9)), np.eye(4), {"mask": np.zeros((9, 9))}, "no voxel in it"),
    ],
)
def test_what_is_refused(pre, post, affine, options, complaint):
    with pytest.raises(rx.InputError, match=complaint):
        rx.displacement(pre, post, affine, **options)
