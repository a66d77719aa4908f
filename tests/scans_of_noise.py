"""Magnitude images of a known scene, known coils and known σ."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def magnitude(scene: Array, sigma: float, coils: int, rng: np.random.Generator) -> Array:
    """Root sum of squares over coils that see the scene alike; noise-free it is the scene."""
    total = np.zeros(scene.shape)
    for coil in range(coils):
        phase = 2 * np.pi * coil / coils
        own = scene / np.sqrt(coils)
        total += (own * np.cos(phase) + rng.normal(0, sigma, scene.shape)) ** 2
        total += (own * np.sin(phase) + rng.normal(0, sigma, scene.shape)) ** 2
    return np.sqrt(total)


def grid(n: int) -> tuple[Array, Array]:
    """x and y from −1 to 1, (n, n)."""
    line = np.linspace(-1, 1, n)
    return tuple(np.meshgrid(line, line, indexing="ij"))


def disc(n: int, radius: float = 0.6) -> Array:
    x, y = grid(n)
    return (np.hypot(x, y) < radius).astype(float)


def interpolated(n: int, sigma: float, rng: np.random.Generator) -> Array:
    """Air of n×n voxels, zero-filled to twice that in k-space; σ of each voxel stays."""
    k = np.zeros((2 * n, 2 * n), complex)
    k[n // 2 : n // 2 + n, n // 2 : n // 2 + n] = rng.normal(size=(n, n)) + 1j * rng.normal(
        size=(n, n)
    )
    image = np.fft.ifft2(np.fft.ifftshift(k)) * (2 * n) ** 2 / n
    return sigma * np.abs(image)
