"""Painted animals: a body with organs, before and after an injection, moved by a known amount."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
VOXEL, SLICE = 0.25, 1.0  # mm
FINE = 3  # points per voxel edge, in the plane and across the slice


@dataclass
class Scan:
    """How an image is taken: the noise and what the coil does to it."""

    snr: float = 30.0  # of the liver before injection, over σ of each channel
    scale: float = 1.0
    bias: tuple[float, float] = (0.0, 0.0)  # per half field of view
    ghost: float = 0.0  # of a copy half a field of view further along y
    seed: int = 0


@dataclass
class Animal:
    """Ellipsoids in body coordinates (mm), painted in order.

    `organs` holds (name, centre (3,), semi-axes (3,), angle, signal).
    """

    organs: list[tuple[str, Array, Array, float, float]]
    waves: Array = field(default_factory=lambda: np.zeros((0, 5)))  # texture

    @classmethod
    def of(cls, seed: int, size_mm: float = 32.0) -> Animal:
        """A mouse's belly that fills a field of view of this size, no two alike."""
        rng = np.random.default_rng((seed, 11))
        unit = size_mm / 32

        def near(*value: float, by: float = 0.1) -> Array:
            return np.array(value) * unit * rng.uniform(1 - by, 1 + by, len(value))

        organs = [
            ("body", near(0, 0, 0), near(13, 11, 40), rng.uniform(-0.2, 0.2), 1000.0),
            ("fat", near(0, 8.5, 2), near(5, 1.5, 14), 0.0, rng.uniform(1300, 2200)),
            ("liver", near(-2.4, -1.6, 1), near(9, 7, 9), rng.uniform(-0.4, 0.4), 1450.0),
            ("stomach", near(8.4, -0.4, 2), near(2.7, 3.7, 5), rng.uniform(0, 3), 600.0),
            ("spine", near(0, 8.1, 0), near(1.7, 1.5, 40), 0.0, rng.uniform(400, 1800)),
            ("gut", near(4, -7, -2), near(2.5, 1.6, 4), rng.uniform(0, 3), rng.uniform(500, 2000)),
            ("tumour", near(-5.4, -2.1, 0.5, by=0.3), near(2.6, 2.4, 3, by=0.4), 0.5, 2000.0),
        ]
        for _ in range(int(rng.integers(2, 6))):
            place = near(-2.4, -1.6, 0) + unit * rng.uniform(-5, 5, 3)
            across = unit * rng.uniform(0.35, 0.8, 3) * [1, 1, 6]
            organs.append(("vessel", place, across, rng.uniform(0, 3), rng.uniform(400, 2200)))
        waves = np.column_stack(
            [
                rng.normal(0, 1.5 / unit, (6, 2)),
                rng.normal(0, 0.4 / unit, 6),
                rng.uniform(0, 2 * np.pi, 6),
                rng.uniform(0, 0.03, 6),
            ]
        )
        return cls(organs, waves)

    def signal(self, points: Array, uptake: dict[str, float]) -> Array:
        """Noise-free signal at points (3, …) in mm; `uptake` multiplies an organ's signal."""
        total = np.zeros(points.shape[1:])
        for name, centre, axes, angle, value in self.organs:
            x, y, z = (points[i] - centre[i] for i in range(3))
            c, s = np.cos(angle), np.sin(angle)
            reach = (x * c + y * s) ** 2 / axes[0] ** 2 + (y * c - x * s) ** 2 / axes[1] ** 2
            total[reach + z**2 / axes[2] ** 2 <= 1] = value * uptake.get(name, 1.0)
        for kx, ky, kz, phase, height in self.waves:
            x, y, z = points
            total *= 1 + height * np.cos(kx * x + ky * y + kz * z + phase)
        return total

    def image(
        self,
        scan: Scan,
        grid: tuple[int, int, int],
        uptake: dict[str, float] | None = None,
        shift_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
        degrees: float = 0.0,
        voxel: tuple[float, float, float] = (VOXEL, VOXEL, SLICE),
    ) -> NDArray[np.float32]:
        """Magnitude image (x, y, z), the animal turned about z and then shifted."""
        fine = (FINE, FINE, FINE)
        axes = [
            ((np.arange(n * f) + 0.5) / f - n / 2) * v
            for n, f, v in zip(grid, fine, voxel, strict=True)
        ]
        x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        u, v, w = x - shift_mm[0], y - shift_mm[1], z - shift_mm[2]
        points = np.stack(np.broadcast_arrays(c * u + s * v, c * v - s * u, w))
        full = self.signal(points, uptake or {})
        shape = [k for n, f in zip(grid, fine, strict=True) for k in (n, f)]
        clean = full.reshape(shape).mean(axis=(1, 3, 5))
        bx, by = (np.linspace(-1, 1, n) * b for n, b in zip(grid, scan.bias, strict=False))
        clean = clean * (1 + bx[:, None, None] + by[None, :, None])
        clean = clean + scan.ghost * np.roll(clean, grid[1] // 2, axis=1)
        rng = np.random.default_rng((scan.seed, 7))
        real, imaginary = rng.normal(0, 1450.0 / scan.snr, (2, *grid))
        return (scan.scale * np.hypot(clean + real, imaginary)).astype(np.float32)


def uptake(rng: np.random.Generator, liver: float) -> dict[str, float]:
    """What an agent does: the liver goes dark, vessels may brighten, the tumour hardly changes."""
    return {
        "liver": liver,
        "tumour": rng.uniform(0.9, 1.05),
        "vessel": rng.uniform(0.3, 2.5),
        "gut": rng.uniform(0.7, 1.5),
        "fat": 1.0,
    }


def axial(grid: tuple[int, int, int]) -> Array:
    """RAS affine of axial slices centred at the origin, in DICOM's order of rows."""
    affine = np.diag([-VOXEL, -VOXEL, SLICE, 1.0])
    affine[:2, 3] = (np.array(grid[:2]) - 1) / 2 * VOXEL
    affine[2, 3] = -(grid[2] - 1) / 2 * SLICE
    return affine
