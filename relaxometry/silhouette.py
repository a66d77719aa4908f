"""Tubes as an image shows them from above: one plane, whatever the image's own orientation.

In it the walls of the tubes are circles. They are found without knowing the contrast, which differs
between tubes and between scans: a tube may be brighter or darker than what is around it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .geometry import Affine

Array = NDArray[np.float64]

#: How far from their place tubes are looked for, mm each way.
SEARCHED_MM = 10.0
#: Of a full match: below, a tube is not recognised.
MATCHED = 0.4
# At most, over which an image is averaged along the tubes; slices that cut them slantwise reach
# each tube at another depth.
_PLANES, _PLANES_ASLANT = 5, 25
_VOXEL_LIKE = 0.6  # of a radius: a voxel longer than this across the wall shows no wall
# Tubes' worth of match: another place that matches so nearly as well cannot be told from the best.
# One tube that is not where it should be counts for twice as much.
ALIKE = 0.75


@dataclass(frozen=True, slots=True, eq=False)
class Circle:
    """A round wall: centre (2,), radius and standard error of the centre, in mm."""

    centre: Array
    radius: float
    stderr: float


@dataclass(frozen=True, slots=True, eq=False)
class Silhouette:
    """An image seen along the tubes: a plane of square pixels, NaN where it does not reach.

    `axis` is the only direction in which its voxels are fine enough to show a wall, None if both.
    """

    plane: Array
    origin: Array
    step: float
    voxel: float
    axis: Array | None
    noise: float
    bright: float

    @staticmethod
    def of(
        image: NDArray[np.float32],
        affine: Affine,
        frame: Affine,
        slab: tuple[float, float],
        circles: Array,
        around: float,
        coarse: float = 0.0,
    ) -> Silhouette | None:
        """Averaged over the slices that hold the tubes; None if it shows no wall of theirs.

        It reaches `around` mm further than the circles; its pixels are no smaller than `coarse` mm.
        """
        from scipy.ndimage import map_coordinates

        to_plane = np.linalg.inv(frame)[:3, :3] @ affine[:3, :3]  # mm per voxel step
        radius = float(np.median(circles[:, 2]))
        angles = np.linspace(0, np.pi, 36, endpoint=False)
        normals = np.stack([np.cos(angles), np.sin(angles)])
        extent = np.abs(to_plane[:2].T @ normals).sum(axis=0)  # of a voxel along each normal
        if extent.min() > _VOXEL_LIKE * radius:
            return None
        axis = normals[:, extent.argmin()] if extent.max() > _VOXEL_LIKE * radius else None
        # The finest of the voxel's edges that lie in the plane, not one that stands upright on it.
        edges = np.hypot(*to_plane[:2])
        step = max(float(edges[edges > 0.3 * extent.min()].min()), coarse)
        voxel = float(extent.min() if axis is not None else max(extent[0], extent[18]))
        reach = around + 1.8 * circles[:, 2].max() + 2 * step
        low = circles[:, :2].min(axis=0) - reach
        size = np.ceil((circles[:, :2].max(axis=0) + reach - low) / step).astype(int) + 1
        x, y = (low[i] + step * np.arange(size[i]) for i in range(2))
        thick = float(np.abs(to_plane[2]).sum())
        aslant = np.abs(to_plane[2, :2]).max() > 0.02 * thick
        most = _PLANES_ASLANT if aslant else _PLANES
        n = int(np.clip(np.ceil((slab[1] - slab[0]) / thick) + 1, 1, most))
        depths = np.linspace(*slab, n) if n > 1 else np.array([sum(slab) / 2])
        to_voxel = np.linalg.inv(affine) @ frame
        last = np.array(image.shape)[:, None, None] - 1.0
        total, count = np.zeros((x.size, y.size)), np.zeros((x.size, y.size))
        for depth in depths:
            place = (
                to_voxel[:3, 0, None, None] * x[:, None]
                + to_voxel[:3, 1, None, None] * y
                + (to_voxel[:3, 2] * depth + to_voxel[:3, 3])[:, None, None]
            )
            reached = ((place >= -0.501) & (place <= last + 0.501)).all(axis=0)
            if reached.any():
                value = map_coordinates(
                    image, np.clip(place, 0, last), output=np.float64, order=1, mode="nearest"
                )
                reached &= np.isfinite(value)
                total[reached] += value[reached]
                count += reached
        if not count.any():
            return None
        with np.errstate(invalid="ignore"):
            plane = total / count
        return Silhouette(plane, low, step, voxel, axis, _noise(plane), float(np.nanmax(plane)))

    def at(self, points: Array) -> Array:
        """Value at points (…, 2) in mm; NaN where the image does not reach."""
        from scipy.ndimage import map_coordinates

        place = np.moveaxis((points - self.origin) / self.step, -1, 0)
        values: Array = map_coordinates(self.plane, place, order=1, cval=np.nan)
        return values

    def normals(self, radius: float) -> Array:
        """(n, 2) directions in which a wall shows."""
        n = 4 * int(np.clip(np.ceil(np.pi * radius / (2 * self.step)), 6, 16))
        angles = 2 * np.pi * (np.arange(n) + 0.5) / n
        normals = np.column_stack([np.cos(angles), np.sin(angles)])
        return normals if self.axis is None else normals[np.abs(normals @ self.axis) > 0.6]

    def circle(self, centre: Array, radius: float) -> Circle | None:
        """Centre and radius of the round wall near a circle, to a fraction of a voxel.

        Along each radius the wall lies at the centroid of the squared slope of its own sign: a
        bottle in water has a second wall of the other sign close by. A circle is fitted to these
        places, without those that do not fit: a neighbour that touches, a bubble.
        """
        normals = self.normals(radius)
        across = normals if self.axis is None else (normals @ self.axis)[:, None]
        columns = np.column_stack([np.ones(len(normals)), across])
        least = max(6, (0.5 if self.axis is None else 0.1) * len(normals))
        half = max(0.4 * radius, 2 * self.step, 1.25 * self.voxel)
        # Slope between places two steps apart; its noise is that of two pixels.
        floor = 2 * np.sqrt(2) * self.noise + 0.01 * self.bright
        sign, own, stderr = 0.0, radius, np.inf
        for turn in range(12):
            spread = np.arange(max(own - half, 0), own + half + self.step, self.step / 2)
            profile = self.at(centre + normals[:, None, :] * spread[:, None])
            slope, at = profile[:, 4:] - profile[:, :-4], spread[2:-2]
            known = np.isfinite(slope).all(axis=1)
            if known.sum() < least:
                return None
            if not sign:
                typical = np.median(slope[known], axis=0)
                near = typical * np.exp(-(((at - own) / (0.3 * radius)) ** 2))
                sign = float(np.sign(near[np.abs(near).argmax()]))
            weight = np.maximum(slope * sign - floor, 0) ** 2
            # The flank of this wall, not of a neighbour's that lies as far off as half the window.
            weight *= np.exp(-(((at - own) / half) ** 2) * min(turn, 3))
            mass = weight.sum(axis=1)
            known &= mass > 0.1 * np.median(mass[known])
            known &= mass > 0
            if known.sum() < least:
                return None
            wall = (weight[known] @ at) / mass[known]
            X, trust = columns[known], np.ones(int(known.sum()))
            gram = X.T @ X
            for _ in range(4):
                if np.linalg.cond(gram) > 1e6:
                    return None
                answer = np.linalg.solve(gram, X.T @ (trust**2 * wall))
                off = wall - X @ answer
                scale = max(1.4826 * float(np.median(np.abs(off))), 0.02 * self.step)
                trust = np.maximum(1 - (off / (4.7 * scale)) ** 2, 0)
                gram = (X * trust[:, None] ** 2).T @ X
            if np.linalg.cond(gram) > 1e6:
                return None
            # Neighbouring angles share their voxels.
            shared = max(len(normals) * self.step / (2 * np.pi * radius), 1.0) * 2
            stderr = float(scale * np.sqrt(shared * np.linalg.inv(gram).diagonal()[1:].max()))
            step = answer[1:] if self.axis is None else answer[1] * self.axis
            centre, own = centre + np.clip(step, -half, half), float(answer[0])
            if np.abs(step).max() < 0.01 * self.step and turn >= 3:
                break
        if stderr > 0.5 * self.step or not np.isfinite(own):
            return None
        return Circle(centre, own, stderr)

    def radius_around(self, centre: tuple[float, float], radius: float, gap: float) -> float | None:
        """Radius of the first wall around a region inside a tube, up to half way to the next."""
        out = min(gap / 2 + radius / 2, 4 * radius + 4 * self.step)
        radii = np.arange(0.5 * radius, out, self.step / 2)
        if radii.size < 6:
            return radius
        normals = self.normals(out)
        values = self.at(np.array(centre) + radii[:, None, None] * normals)
        known = np.isfinite(values).all(axis=1)
        if known.sum() < 6:
            return None
        mean = np.median(values[known], axis=1)
        slope = np.abs(mean[4:] - mean[:-4])  # over two pixels
        if slope.max() < max(3 * self.noise, 0.02 * self.bright):
            return None
        first = int(np.flatnonzero(slope > 0.25 * slope.max())[0])
        last = first + int(np.argmax(slope[first : first + 8]))
        return float(radii[known][last + 2])

    def shifts(self, circles: Array, reach: float) -> NDArray[np.intp]:
        """(n, 2) shifts in pixels, up to `reach` mm each way, close enough to miss no circle."""
        every = max(int(0.25 * float(circles[:, 2].min()) / self.step), 1)
        most = int(reach / (every * self.step))
        along = np.arange(-most, most + 1) * every
        if self.axis is None:
            return np.stack(np.meshgrid(along, along, indexing="ij"), axis=-1).reshape(-1, 2)
        return np.rint(along[:, None] * self.axis).astype(np.intp)

    def match(
        self, circles: Array, shifts: NDArray[np.intp], directions: int = 40
    ) -> tuple[Array, NDArray[np.bool_]]:
        """How far each circle is a wall (0 to 1), and whether it is in view, (circles, shifts)."""
        from scipy.ndimage import gaussian_filter

        blur = max(0.12 * float(circles[:, 2].min()), 0.5 * self.step)
        known = np.isfinite(self.plane)
        plane = gaussian_filter(np.where(known, self.plane, 0), blur / self.step)
        plane = np.where(known, plane, np.nan).astype(np.float32)
        # Nothing is known beyond the plane.
        out = 1.5 * circles[:, 2:] + 2 * self.step
        low = (circles[:, :2] - out - self.origin).min(axis=0) / self.step + shifts.min(axis=0)
        high = (circles[:, :2] + out - self.origin).max(axis=0) / self.step + shifts.max(axis=0)
        before = np.maximum(np.ceil(-low), 0).astype(int)
        after = np.maximum(np.ceil(high) + 1 - plane.shape, 0).astype(int)
        plane = np.pad(plane, np.column_stack([before, after]), constant_values=np.nan)
        origin = self.origin - before * self.step
        floor = max(2 * self.noise, 0.01 * self.bright)
        score = np.zeros((len(circles), len(shifts)))
        covered = np.zeros(score.shape, dtype=bool)
        values, jumps = plane.ravel(), (shifts @ [plane.shape[1], 1])[:, None]
        for i, (x, y, r) in enumerate(circles):
            normals = self.normals(r)
            if self.axis is None:
                normals = normals[:: 1 + len(normals) // directions]
            off = max(0.25 * r, 1.5 * self.step)
            inside, outside = (
                np.rint((np.array([x, y]) + rho * normals - origin) / self.step).astype(int)
                @ [plane.shape[1], 1]
                for rho in (r - off, r + off)
            )
            steps = values[inside + jumps] - values[outside + jumps]
            reached = np.isfinite(steps)
            n = reached.sum(axis=1)
            steps[~reached] = 0
            mean_square = steps.sum(axis=1) ** 2 / np.maximum(n, 1)
            score[i] = mean_square / ((steps**2).sum(axis=1) + n * floor**2 + 1e-30)
            covered[i] = n >= (0.7 if self.axis is None else 0.15) * len(normals)
            score[i, ~covered[i]] = 0
        return score, covered

    def place(self, circles: Array) -> tuple[Array, Array, float] | None:
        """Shift that puts most circles on walls, how well each fits there, and what else fits.

        How well is NaN for a circle that is out of view.

        A circle fits as far as the step across it is the same all around: the place of a whole
        pattern is not that of its neighbour.
        """
        radius = float(circles[:, 2].min())
        shifts = self.shifts(circles, SEARCHED_MM)
        score, covered = self.match(circles, shifts)
        # A tube that shows anywhere counts against a place where it should show and does not.
        shows = score.max(axis=1) > MATCHED
        if shows.sum() < max(1, len(circles) / 3):
            return None
        total = (1.5 * score[shows] - 0.5 * covered[shows]).sum(axis=0)
        if total.max() <= 0:
            return None

        def top(places: NDArray[np.bool_], distance: Array) -> int:
            """The top of the hill of the nearest of some places."""
            nearest = int(np.where(places, distance, np.inf).argmin())
            hill = np.hypot(*(shifts - shifts[nearest]).T) * self.step < 0.6 * radius
            return int(np.where(hill, total, -np.inf).argmax())

        # Of places that match alike, the nearest: phantoms are nudged.
        alike = total >= total.max() - ALIKE
        best = top(alike, np.hypot(*shifts.T))
        distance = np.hypot(*(shifts - shifts[best]).T) * self.step
        # Walls have a width: its middle.
        near = (distance < 0.6 * radius) & (total > 0.9 * total[best])
        start = (shifts[near] * total[near, None]).sum(axis=0) / total[near].sum() * self.step
        matched = np.where(covered[:, near].any(axis=1), score[:, near].max(axis=1), np.nan)
        alike &= distance > 1.2 * radius
        alias = float(distance[top(alike, distance)]) if alike.any() else np.nan
        return start, matched, alias


def _noise(plane: Array) -> float:
    """SD of the noise, from second differences, which a smooth image hardly has."""
    second = plane[2:, :] - 2 * plane[1:-1, :] + plane[:-2, :]
    second = second[np.isfinite(second)]
    return float(1.4826 * np.median(np.abs(second)) / np.sqrt(6)) if second.size else 0.0
