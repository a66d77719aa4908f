"""An animal that moved is put where it lay: what is left, what has no data, what is refused."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import relaxometry as rx

from .animals import VOXEL, Animal, Scan, axial, uptake

GRID = (96, 96, 1)
SHIFT, TURN = np.array([2.3, -1.4]), 3.0


def pair(grid=GRID, across=0.0, seed=1):
    animal, change = Animal.of(seed, 24.0), uptake(np.random.default_rng(seed), 0.35)
    pre = animal.image(Scan(30, seed=1), grid)
    post = animal.image(Scan(30, scale=1.5, seed=2), grid, change, (*(VOXEL * SHIFT), across), TURN)
    # What the animal looks like after, had it not moved: without noise.
    still = animal.image(Scan(1e6, scale=1.5), grid, change)
    return pre, post, still


@pytest.fixture(scope="module")
def flat():
    return pair()


@pytest.fixture(scope="module")
def by_edges(flat):
    return rx.register(*flat[:2], axial(GRID))


@pytest.fixture(scope="module")
def by_mattes(flat):
    pytest.importorskip("SimpleITK")
    return rx.register(*flat[:2], axial(GRID), method="mattes")


@pytest.mark.parametrize(("method", "close"), [("edges", 0.12), ("mattes", 0.3)])
def test_what_moved_is_put_back(flat, method, close, request):
    _, post, still = flat
    found = request.getfixturevalue(f"by_{method}")
    middle = np.array([47.5, 47.5, 0, 1])
    there = np.linalg.inv(axial(GRID)) @ found.matrix @ axial(GRID) @ middle
    np.testing.assert_allclose(there[:2] - middle[:2], SHIFT, atol=close)
    np.testing.assert_allclose(found.shift_mm, [*(VOXEL * (there - middle)[:2]), 0], atol=1e-9)
    np.testing.assert_allclose(found.rotation_deg, [0, 0, TURN], atol=0.4)
    assert found.before.beyond(0.5)
    assert found.left.largest_voxels < found.before.largest_voxels / 5
    assert not found.left.beyond(0.5)
    # As if it had not moved: the difference is noise (σ 72 of 2175), not edges.
    apart = (found.image - still)[8:-8, 8:-8]
    was_apart = (post - still)[8:-8, 8:-8]
    assert np.nanstd(apart) < 0.6 * was_apart.std()
    assert "measure noise on the image before registration" in found.notes[0]


def test_the_same_twice_to_the_last_bit(flat, by_mattes):
    again = rx.register(*flat[:2], axial(GRID), method="mattes")
    np.testing.assert_array_equal(again.image, by_mattes.image)
    np.testing.assert_array_equal(again.matrix, by_mattes.matrix)


def test_what_has_no_data_is_nan_and_never_0(flat):
    pre, post, _ = flat
    post = post.copy()
    post[30:33, 40:43] = np.nan
    found = rx.register(pre, post, axial(GRID), interpolation="linear")
    # The animal lies 2.3 voxels further along x, so the last columns come from outside.
    assert np.isnan(found.image[-1, 48])
    assert np.isnan(found.image[28:31, 41:45]).any()
    assert np.isfinite(found.image[5:25, 5:-5]).all()
    gone = int(np.isnan(found.image).sum())
    assert any("have no data after registration" in note for note in found.notes)
    assert 100 < gone < 700


def test_other_images_move_alike(flat, by_edges):
    found = by_edges
    np.testing.assert_array_equal(found.apply(flat[1]), found.image)
    ramp = np.broadcast_to(np.arange(96.0)[:, None, None], GRID)
    moved = found.apply(ramp)
    # A ramp along x shows the x where each voxel came from.
    motion = np.linalg.inv(axial(GRID)) @ found.matrix @ axial(GRID)
    assert moved[20, 60, 0] == pytest.approx((motion @ [20, 60, 0, 1])[0], abs=0.01)
    with pytest.raises(rx.GeometryError, match="image: shape"):
        found.apply(ramp[..., 0])


def test_across_the_slices():
    grid = (64, 64, 4)
    animal, change = Animal.of(3, 16.0), uptake(np.random.default_rng(3), 0.4)
    pre = animal.image(Scan(40), grid)
    post = animal.image(Scan(40, seed=5), grid, change, (0.25, 0.0, 0.7))
    found = rx.register(pre, post, axial(grid))
    assert found.shift_mm[2] == pytest.approx(0.7, abs=0.15)
    # The last slice would come from 0.7 slices beyond the stack.
    assert np.isnan(found.image[..., -1]).all()
    assert np.isfinite(found.image[10:-10, 10:-10, :-1]).all()


def test_one_plane_is_one_plane(flat, by_edges):
    found = rx.register(flat[0][..., 0], flat[1][..., 0], axial(GRID))
    np.testing.assert_array_equal(found.image, by_edges.image[..., 0])
    assert repr(found).startswith("Registered: registered by x +0.5")


def test_without_simpleitk_it_says_what_to_install(flat, monkeypatch):
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(rx.InputError, match=r'pip install "relaxometry\[register\]"'):
        rx.register(*flat[:2], axial(GRID), method="mattes")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"method": "by hand"}, "edges or mattes"),
        ({"interpolation": "cubic"}, "bspline or linear"),
    ],
)
def test_what_is_refused(flat, options, complaint):
    with pytest.raises(rx.InputError, match=complaint):
        rx.register(*flat[:2], axial(GRID), **options)


def test_noise_is_not_registered():
    rng = np.random.default_rng(1)
    with pytest.raises(rx.InputError, match="nothing to register by"):
        rx.register(rng.random((48, 48)), rng.random((48, 48)), np.eye(4))
