"""What a simulated scanner does to an object: ellipses on a grid, noise, 12 bits."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .geometry import Affine

Array = NDArray[np.float64]

# A scanner's 12 bits, and how far its gain fills them, with headroom for the noise.
LARGEST, BRIGHTEST = 4095, 3500
_SUBVOXELS = 8  # along each side: the share of a voxel inside an ellipse to about 1 %


def rician(signal: Array, sigma: float, rng: np.random.Generator, coils: int = 1) -> Array:
    """Magnitude of the signal with Gaussian noise of SD σ in the real and imaginary channels.

    Several coils see the signal alike, with noise of their own, and are combined by root sum of
    squares, so that without noise the magnitude is the signal.
    """
    magnitude: Array = np.zeros(())
    for _ in range(coils):
        real, imaginary = rng.normal(0, sigma, (2, *signal.shape))
        one = np.hypot(signal / math.sqrt(coils) + real, imaginary)
        magnitude = np.hypot(magnitude, one) if coils > 1 else one
    return magnitude


def digitised(signal: Array) -> Array:
    """Whole numbers of 12 bits."""
    return np.clip(np.rint(signal), 0, LARGEST)


def ellipse_share(
    matrix: int, x: float, y: float, a: float, b: float, angle_deg: float = 0.0
) -> Array:
    """(x, y) share of each voxel inside an ellipse.

    Centre and semi-axes in voxels; the angle turns from +x to +y.
    """
    fine = (np.arange(matrix * _SUBVOXELS) + 0.5) / _SUBVOXELS - 0.5
    dx, dy = (fine - x)[:, None], (fine - y)[None, :]
    if angle_deg:
        cos, sin = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
        dx, dy = cos * dx + sin * dy, cos * dy - sin * dx
    inside = (dx / a) ** 2 + (dy / b) ** 2 <= 1
    share: Array = inside.reshape(matrix, _SUBVOXELS, matrix, _SUBVOXELS).mean(axis=(1, 3))
    return share


def axial_affine(matrix: int, voxel: float, thickness: float, slices: int = 1) -> Affine:
    """RAS affine of square axial slices centred at the origin, in DICOM's order of rows."""
    affine = np.diag([-voxel, -voxel, thickness, 1.0])
    affine[:2, 3] = (matrix - 1) / 2 * voxel
    affine[2, 3] = (1 - slices) / 2 * thickness  # and not −0.0 for one slice
    return affine
