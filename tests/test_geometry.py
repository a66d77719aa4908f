"""One scan looks the same, whatever order its file keeps the voxels in."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from relaxometry import GeometryError
from relaxometry.geometry import checked_affine, same_grid, shown, shown_position, voxel_size

# Where (x, y, z) of the array point in RAS: columns of the affine for DICOM's order of rows.
PLANES = {
    "axial": [[-1, 0, 0], [0, -1, 0], [0, 0, 1]],  # x to the left, y to the back
    "coronal": [[-1, 0, 0], [0, 0, 1], [0, -1, 0]],  # x to the left, y to the feet
    "sagittal": [[0, 0, 1], [-1, 0, 0], [0, -1, 0]],  # x to the back, y to the feet
}
STEPS = (0.5, 0.8, 2.0)


def affine_of(plane, tilt=0.0):
    affine = np.eye(4)
    affine[:3, :3] = np.array(PLANES[plane], dtype=float) * STEPS
    turn = np.array([[np.cos(tilt), -np.sin(tilt), 0], [np.sin(tilt), np.cos(tilt), 0], [0, 0, 1]])
    affine[:3, :3] = turn @ affine[:3, :3]
    affine[:3, 3] = 7, -3, 20
    return affine


def stored_otherwise(image, affine, swap, flip_x, flip_y):
    """The same voxels at the same places, kept in another order in the file."""
    nx, ny = image.shape
    to_old = np.eye(4)  # index in the new array -> index in the old one
    if flip_x:
        image = image[::-1]
        to_old = to_old @ np.array([[-1, 0, 0, nx - 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    if flip_y:
        image = image[:, ::-1]
        to_old = to_old @ np.array([[1, 0, 0, 0], [0, -1, 0, ny - 1], [0, 0, 1, 0], [0, 0, 0, 1]])
    if swap:
        image = image.T
        to_old = to_old[:, [1, 0, 2, 3]]
    return image, affine @ to_old


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("tilt", [0.0, 0.3])
def test_one_scan_is_one_picture(plane, tilt):
    rng = np.random.default_rng(0)
    image, affine = rng.random((5, 7)), affine_of(plane, tilt)
    # Stored as DICOM stores it, x along a row to the right and y down: only to be transposed.
    picture = image.T
    for swap, flip_x, flip_y in product((False, True), repeat=3):
        other, other_affine = stored_otherwise(image, affine, swap, flip_x, flip_y)
        np.testing.assert_array_equal(shown(other, other_affine), picture)
        xy = np.indices(other.shape, dtype=float).transpose(1, 2, 0)
        places = shown_position(xy, other.shape, other_affine).astype(int)
        np.testing.assert_array_equal(picture[places[..., 1], places[..., 0]], other)
        # A slice with something behind its x and y, as colours.
        stack = np.stack([other, other], axis=2)
        np.testing.assert_array_equal(shown(stack, other_affine)[..., 1], picture)


@pytest.mark.parametrize(("plane", "down", "right"), [("axial", 1, 0), ("coronal", 2, 0)])
def test_the_picture_is_seen_from_the_feet_or_the_front(plane, down, right):
    """A spot at the patient's left is at the right of the picture; in front or at the head, up."""
    image = np.zeros((9, 9))
    affine = affine_of(plane)
    centre = affine @ [4, 4, 0, 1]
    spot = centre[:3].copy()
    spot[right] -= 1.6  # RAS: left is negative
    spot[down] += 1.6
    x, y, *_ = np.rint(np.linalg.inv(affine) @ [*spot, 1]).astype(int)
    image[x, y] = 1
    row, column = np.argwhere(shown(image, affine))[0]
    assert column > 4
    assert row < 4


def test_voxel_size_and_same_grid():
    affine = affine_of("sagittal", tilt=0.4)
    assert voxel_size(affine) == pytest.approx(STEPS)
    moved = affine.copy()
    moved[0, 3] += 5e-4
    assert same_grid(affine, moved)
    moved[0, 3] += 1e-2
    assert not same_grid(affine, moved)


@pytest.mark.parametrize(
    "affine",
    [
        np.eye(3),
        np.full((4, 4), np.nan),
        np.diag([1.0, 1.0, 0.0, 1.0]),
        np.diag([np.inf, 1, 1, 1]),
        "identity",
        None,
    ],
)
def test_an_affine_that_cannot_be_right(affine):
    with pytest.raises(GeometryError, match="affine"):
        checked_affine(affine)


def test_a_checked_affine_is_ones_own_and_stays():
    given = np.eye(4)
    affine = checked_affine(given)
    given[0, 0] = 3
    assert affine[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        affine[0, 0] = 2
