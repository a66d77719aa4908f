"""One physical phantom, upright tubes in mm of the scanner, scanned on any grid.

Each voxel has the share of it that lies in a tube, by sampling it finely. Shared by the tests and
`benchmarks/moved_phantoms.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

import relaxometry as rx

T2_WEIGHTED = rx.Protocol(TE=np.arange(1, 9) * 0.020, TR=10.0)
T1_WEIGHTED = rx.Protocol(TE=0.010, TR=[0.3, 0.6, 1.2, 2.5, 5.0, 10.0])


def axial(n, voxel, nz=1, thick=3.0, middle=(0, 0)):
    """DICOM's order: +x to the patient's left, +y to the back."""
    affine = np.diag([-voxel, -voxel, thick, 1.0])
    affine[:3, 3] = (n - 1) / 2 * voxel, (n - 1) / 2 * voxel, -(nz - 1) / 2 * thick
    affine[:2, 3] += middle
    return affine, (n, n, nz)


def coronal(n, voxel, nz, thick):
    affine = np.zeros((4, 4))
    affine[[0, 2, 1, 3], [0, 1, 2, 3]] = -voxel, -voxel, -thick, 1
    affine[:3, 3] = (n - 1) / 2 * voxel, (nz - 1) / 2 * thick, (n - 1) / 2 * voxel
    return affine, (n, n, nz)


def turned(grid, degrees, axes):
    """A grid turned about the middle of the scanner, from one axis (0, 1, 2) to another."""
    affine, shape = grid
    turn = np.eye(4)
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn[np.ix_(axes, axes)] = [[cos, -sin], [sin, cos]]
    return turn @ affine, shape


def swapped(grid):
    """The same voxels with y before x, and x backwards."""
    affine, (nx, ny, nz) = grid
    index = np.array([[0, -1, 0, nx - 1], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    return affine @ index, (ny, nx, nz)


@dataclass
class Rack:
    """Tubes (x, y, radius) in mm of the scanner, upright along z, and their T1 and T2 in s."""

    tubes: np.ndarray
    T1: np.ndarray
    T2: np.ndarray
    bath: float = 0.0

    def moved(self, shift=(0, 0), degrees=0.0):
        cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        places = self.tubes[:, :2] @ np.array([[cos, -sin], [sin, cos]]).T + shift
        tubes = np.column_stack([places, self.tubes[:, 2]])
        return Rack(tubes, self.T1.copy(), self.T2.copy(), self.bath)

    def shares(self, affine, voxels, points=(5, 5, 5)):
        """(tube, n) share of each voxel (3, n) inside each tube."""
        centres = affine[:2, :3] @ voxels + affine[:2, 3:]
        along = [(np.arange(n) + 0.5) / n - 0.5 for n in points]
        offsets = affine[:2, :3] @ np.stack(np.meshgrid(*along)).reshape(3, -1)
        reach = np.hypot(*offsets).max()
        shares = np.zeros((len(self.tubes), voxels.shape[1]))
        for share, (x, y, radius) in zip(shares, self.tubes, strict=True):
            distance = np.hypot(centres[0] - x, centres[1] - y)
            share[distance < radius - reach] = 1
            edge = np.abs(distance - radius) <= reach
            at = centres[:, edge, None] + offsets[:, None]
            share[edge] = (np.hypot(at[0] - x, at[1] - y) <= radius).mean(axis=-1)
        return shares

    def scan(self, grid, kind, snr=50, seed=0, points=(4, 4, 4)):
        affine, shape = grid
        if np.abs(affine[:2, 2]).max() < 1e-9:  # upright on the tubes: all depth is alike
            flat = np.indices((*shape[:2], 1)).reshape(3, -1)
            shares = self.shares(affine, flat, (*points[:2], 1)).reshape(-1, *shape[:2], 1)
            shares = np.repeat(shares, shape[2], axis=3)
        else:
            voxels = np.indices(shape).reshape(3, -1)
            shares = self.shares(affine, voxels, points).reshape(-1, *shape)
        if kind == "T2":
            protocol, signal = T2_WEIGHTED, np.exp(-T2_WEIGHTED.TE / self.T2[:, None])
        else:
            protocol, signal = T1_WEIGHTED, -np.expm1(-T1_WEIGHTED.TR / self.T1[:, None])
        image = 1000 * np.einsum("txyz,tn->xyzn", shares, signal)
        image += 1000 * self.bath * (1 - shares.sum(axis=0))[..., None]
        rng = np.random.default_rng((seed, kind == "T2"))
        real, imaginary = rng.normal(0, 1000 / snr, (2, *image.shape))
        return rx.Series(np.hypot(image + real, imaginary), protocol, affine=affine, signed=False)

    def placed(self, series, margin=True, **sheet):
        """Circles where the tubes are, as seen in an axial series."""
        affine = series.affine
        voxel = -affine[0, 0]
        circles = [((affine[0, 3] - x), (affine[1, 3] - y), radius) for x, y, radius in self.tubes]
        numbers = range(1, len(circles) + 1)
        table = pd.DataFrame({"tube": numbers, "agent": "C3", "concentration_mM": 0.1, **sheet})
        margin_mm = max(1.5 * voxel, 0.15 * self.tubes[:, 2].min()) if margin else 0.0
        return rx.tubes_from_circles(series, circles, table, margin_mm)


def regular(columns=4, rows=4, pitch=6.0, radius=2.3, **more):
    """A rack of tubes 6 mm apart."""
    x = (np.arange(columns) - (columns - 1) / 2) * pitch
    y = (np.arange(rows) - (rows - 1) / 2) * pitch
    places = [(a, b, radius) for b in y for a in x]
    n = len(places)
    return Rack(np.array(places), np.geomspace(0.3, 2.5, n), np.geomspace(0.02, 0.2, n), **more)
