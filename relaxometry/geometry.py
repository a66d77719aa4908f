"""Where voxels lie: affines in mm (RAS, as in NIfTI), their checks, and how a slice is shown."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import GeometryError

Affine = NDArray[np.float64]

#: Headers write positions with 4 to 6 digits.
PLACE_TOLERANCE_MM = 0.01

# Patient axes (RAS: 0 = right, 1 = anterior, 2 = superior) that a picture shows to its right and
# downwards, with their sign, for a slice whose normal is the axis named by the key.
_SHOWN = {
    2: ((0, -1), (1, -1)),  # axial: patient's left to the right, posterior down
    1: ((0, -1), (2, -1)),  # coronal: patient's left to the right, inferior down
    0: ((1, -1), (2, -1)),  # sagittal: posterior to the right, inferior down
}


def checked_affine(affine: Any) -> Affine:
    """A 4×4 float affine (voxel → mm), read-only; raises `GeometryError` unless it is usable."""
    try:
        matrix = np.array(affine, dtype=np.float64)
    except (TypeError, ValueError):
        raise GeometryError("affine is not numeric", field="affine") from None
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise GeometryError("affine is not a finite 4×4 matrix", field="affine")
    if abs(np.linalg.det(matrix[:3, :3])) < 1e-12:
        raise GeometryError("affine is singular: a voxel has no volume", field="affine")
    matrix.flags.writeable = False
    return matrix


def voxel_size(affine: Affine) -> tuple[float, float, float]:
    """Edge lengths of a voxel along x, y, z, in mm."""
    x, y, z = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    return float(x), float(y), float(z)


def same_grid(a: Affine, b: Affine, tolerance: float = 1e-3) -> bool:
    """Whether two affines place their voxels alike, to `tolerance` mm per voxel step and origin."""
    return bool(np.allclose(a, b, rtol=0, atol=tolerance))


def shown(image: NDArray[Any], affine: Affine) -> NDArray[Any]:
    """An (x, y, …) slice as a picture (row, column, …), the way a radiologist sees it.

    The picture depends only on where the voxels lie, not on the order the file keeps them in, so
    the same scan looks the same, and its tubes are numbered alike, from DICOM and from NIfTI.
    """
    swap, flip_right, flip_down = _orientation(affine)
    picture = image if swap else np.swapaxes(image, 0, 1)
    if flip_down:
        picture = picture[::-1]
    return picture[:, ::-1] if flip_right else picture


def shown_position(
    xy: NDArray[np.float64], shape: tuple[int, ...], affine: Affine
) -> NDArray[np.float64]:
    """Positions (…, 2) in voxels (x, y) as (column, row) of the picture made by :func:`shown`."""
    swap, flip_right, flip_down = _orientation(affine)
    right, down = (xy[..., 1], xy[..., 0]) if swap else (xy[..., 0], xy[..., 1])
    width, height = (shape[1], shape[0]) if swap else (shape[0], shape[1])
    return np.stack(
        [width - 1 - right if flip_right else right, height - 1 - down if flip_down else down],
        axis=-1,
    )


def _orientation(affine: Affine) -> tuple[bool, bool, bool]:
    """Whether the picture swaps x and y, and flips them to run rightwards and downwards."""
    x, y = (
        affine[:3, 0] / np.linalg.norm(affine[:3, 0]),
        affine[:3, 1] / np.linalg.norm(affine[:3, 1]),
    )
    normal = int(np.argmax(np.abs(np.cross(x, y))))
    (right, right_sign), (down, down_sign) = _SHOWN[normal]
    swap = bool(abs(x[down]) + abs(y[right]) > abs(x[right]) + abs(y[down]) + 1e-9)
    along_right, along_down = (y, x) if swap else (x, y)
    return (
        swap,
        bool(along_right[right] * right_sign < 0),
        bool(along_down[down] * down_sign < 0),
    )
