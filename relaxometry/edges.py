"""`Edges`: which way the edges of a slice face, and the circles of a known radius they make.

Only the direction of an edge counts, so that no shading changes the result and that bright and dark
circles are alike to it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]

#: Radii tried, relative to the known one: a slice off the middle of a sphere shows a smaller one,
#: the outside of a wall a larger one.
RADII = np.array([0.75, 0.85, 0.95, 1.05, 1.2, 1.35])
SEEN = 0.35  # of a circle's edge, at least, faces its centre or turns its back on it


class Edges:
    """The direction of the edges of an (x, y) image: of length near 1 at an edge, 0 in noise."""

    def __init__(self, image: Array, dx: float, dy: float) -> None:
        from scipy import ndimage

        self.dx, self.dy = dx, dy
        blur = 0.7 * max(dx, dy)
        image = np.where(np.isfinite(image), image, 0.0)
        sigma = (blur / dx, blur / dy)
        x = ndimage.gaussian_filter(image, sigma, order=(1, 0)) / dx
        y = ndimage.gaussian_filter(image, sigma, order=(0, 1)) / dy
        steep = np.hypot(x, y)
        # Half of an image with circles in it is free of edges.
        level = 2 * float(np.median(steep)) + 1e-3 * float(steep.max()) + np.finfo(float).tiny
        self.field = (x + 1j * y) / (steep + level)

    def circles(self, radius: float, most: int) -> Complex:
        """Centres x + iy in mm of circles of about this radius, the clearest first."""
        from scipy import fft, ndimage

        nx, ny = self.field.shape
        if 2 * radius > max(nx * self.dx, ny * self.dy):
            return np.empty(0, dtype=np.complex128)
        reach = 1.5 * radius
        px, py = math.ceil(reach / self.dx), math.ceil(reach / self.dy)
        size = (fft.next_fast_len(nx + 2 * px), fft.next_fast_len(ny + 2 * py))
        field = fft.fft2(self.field, size)
        x = np.arange(-px, px + 1)[:, None] * self.dx
        y = np.arange(-py, py + 1)[None, :] * self.dy
        distance = np.hypot(x, y)
        outward = (x + 1j * y) / np.maximum(distance, 1e-9)
        thick = 0.7 * max(self.dx, self.dy)
        clear = np.zeros(self.field.shape)
        for r in RADII * radius:
            ring = np.exp(-0.5 * ((distance - r) / thick) ** 2)
            # The part of each edge's direction that points away from the centre, as a correlation.
            kernel = fft.fft2((ring * outward)[::-1, ::-1].conj() / ring.sum(), size)
            around = fft.ifft2(field * kernel)[px : px + nx, py : py + ny].real
            np.maximum(clear, np.abs(around), out=clear)
        wide = [2 * max(1, round(0.6 * radius / d)) + 1 for d in (self.dx, self.dy)]
        peaks = np.argwhere((clear == ndimage.maximum_filter(clear, size=wide)) & (clear > SEEN))
        order = np.argsort(-clear[tuple(peaks.T)], kind="stable")[:most]
        centres = [complex(*self._top(clear, i, j)) for i, j in peaks[order]]
        return np.array(centres, dtype=np.complex128)

    def _top(self, clear: Array, i: int, j: int) -> tuple[float, float]:
        """Where a parabola through a peak and its neighbours is highest, in mm."""
        place = []
        for k, line, step in ((i, clear[:, j], self.dx), (j, clear[i], self.dy)):
            shift = 0.0
            if 0 < k < len(line) - 1:
                bend = line[k - 1] - 2 * line[k] + line[k + 1]
                shift = 0.5 * (line[k - 1] - line[k + 1]) / bend if bend < 0 else 0.0
            place.append((k + shift) * step)
        return place[0], place[1]

    def around(self, centres: Complex, radii: Array) -> Array:
        """Mean outward slope (centres, radii) on circles: −1 round bright ones, +1 round dark."""
        from scipy import ndimage

        turn = np.exp(2j * np.pi * np.arange(72) / 72)
        points = centres[:, None, None] + radii[:, None] * turn
        at = np.stack([points.real / self.dx, points.imag / self.dy])
        field = [
            ndimage.map_coordinates(part, at, order=1, mode="constant")
            for part in (self.field.real, self.field.imag)
        ]
        mean: Array = (field[0] * turn.real + field[1] * turn.imag).mean(axis=-1)
        return mean
