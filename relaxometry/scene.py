"""An image as the search for circles sees it: its edges, its noise, its air.

Edges are crests of the gradient, to a fraction of a voxel, with their direction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LEAST_RADIUS = 3.0  # voxels: smaller ones have no interior clear of their edge
SLACK = 0.35  # voxels by which a radius may be measured short
INWARD, OUTWARD, EITHER = 1, -1, 0  # where the signal rises: into the circle, out of it
RINGING = 0.1  # of a tube's level: what Gibbs ringing and shading make of a flat region
FINE, COARSE = 0.75, 1.5  # voxels, blur of the gradient
_DARK = 0.02  # of the brightest: ringing and ghosts in air
_CLEAR = 3.0  # an edge rises so many sigma above the noise of the gradient
_FAINT = 0.01  # of the steepest edges: ringing and ghosts
_ALONG = 0.8  # cosine between an edge's direction and the radius it is to belong to
_WALL = 1.2  # voxels, of a tube whose outside was seen; a bubble has none
_GHOST = 0.06  # of the brightest
_BUBBLE = 0.2  # of the bath's level: so much leaks into the smallest bubble
_RUNS_ON = 0.25  # of the level: a bath between tubes is dimmed by their walls
_UNEVEN = 0.5  # of the voxels inside, far from their median: not one thing
_NEARBY = 25.0  # voxels in which shading matters little
_STANDS_OUT = 0.8  # share of the directions in which a tube must


class Circle(NamedTuple):
    """A circle in voxels, which way its edges point, how well they speak for it, where they are."""

    x: float
    y: float
    radius: float
    sign: int
    score: float = 0.0
    rim: float = 0.0  # radius of the edges: beyond that of the tube where they are its outer wall


@dataclass(frozen=True)
class Scene:
    """An image with what is known of it: its edges, its noise, its air."""

    image: Array
    sigma: float
    air: float
    spread: float  # of the air
    bright: float
    places: Array  # (edges, 2)
    directions: Array  # (edges, 2), towards the brighter side
    tree: Any

    @classmethod
    def of(cls, image: Array, points: int = 1, blur: float = FINE) -> Scene:
        """The scene of a root sum of squares over so many points, its edges found at a blur."""
        from scipy.spatial import cKDTree

        sigma = _noise(image)
        air, spread, bright = _air(image, sigma, points)
        places, directions = _edges(image, sigma, blur)
        return cls(
            image,
            sigma,
            air,
            spread,
            bright,
            places,
            directions,
            cKDTree(places) if len(places) else None,
        )

    def belonging(
        self, circle: Circle, within: float, free: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.intp], Array, Array]:
        """Indices of the edges of a circle, their distances from its centre, their offsets."""
        centre = np.array(circle[:2])
        near = np.array(self.tree.query_ball_point(centre, circle.radius + within), dtype=np.intp)
        if free is not None:
            near = near[free[near]]
        offsets = self.places[near] - centre
        distances = np.hypot(*offsets.T)
        cosine = (offsets * self.directions[near]).sum(axis=1) / np.maximum(distances, 1e-9)
        cosine = -circle.sign * cosine if circle.sign else np.abs(cosine)
        on = (np.abs(distances - circle.radius) < within) & (cosine > _ALONG)
        return near[on], distances[on], offsets[on]

    def fitted(self, circle: Circle) -> Circle | None:
        """Least-squares circle through its edges (Kåsa, IEEE Trans Instrum Meas 25:8, 1976)."""
        for turn in range(6):
            within = max(1.1, 0.25 * circle.radius) if turn < 2 else max(0.9, 0.1 * circle.radius)
            _, distances, offsets = self.belonging(circle, within)
            if len(distances) < 6:
                return None
            weights = 1 / (1 + ((distances - circle.radius) / 0.5) ** 2)
            columns = np.column_stack([2 * offsets, np.ones(len(offsets))])
            weighted = columns * weights[:, None]
            try:
                a, b, c = np.linalg.solve(columns.T @ weighted, weighted.T @ distances**2)
            except np.linalg.LinAlgError:
                return None
            square = c + a * a + b * b
            step = float(np.hypot(a, b))
            if square <= 0 or step > max(2.0, 0.5 * circle.radius):
                return None
            moved = Circle(circle.x + a, circle.y + b, float(np.sqrt(square)), circle.sign)
            settled = step + abs(moved.radius - circle.radius) < 0.02
            circle = moved
            if turn > 2 and settled:
                break
        return circle

    def scored(self, circle: Circle, free: NDArray[np.bool_] | None = None) -> Circle:
        """The circle with its score: the share of its angles that have an edge, less their scatter.

        Edges without order scatter over the whole band they are sought in: they lose 0.52.
        """
        within = max(0.9, 0.08 * circle.radius)
        _, distances, offsets = self.belonging(circle, within, free)
        if len(distances) < 5:
            return circle._replace(score=-1.0)
        sectors = int(np.clip(2 * np.pi * circle.radius / 1.5, 12, 48))
        hit = np.unique(_sector(offsets, sectors)).size / sectors
        scatter = float(np.sqrt(np.mean((distances - circle.radius) ** 2)))
        return circle._replace(score=hit - 0.9 * scatter / within)

    def is_tube(self, circle: Circle) -> bool:
        """Whether it has signal inside, and stands out against what lies around it."""
        radius = circle.radius - (_WALL if circle.sign == OUTWARD else 0.0)
        one = circle._replace(radius=max(radius, LEAST_RADIUS - SLACK))
        return self.has_signal(one) and self.standing_out(one) >= _STANDS_OUT

    def has_signal(self, circle: Circle) -> bool:
        """Whether the inside has a level, above that of air by more than noise or ringing.

        What is far darker than the bath it is in, without an edge of its own, is a bubble; half of
        a bubble and half of the bath have no level.
        """
        values, offsets = self.around(circle, 3.0)
        distances = np.hypot(*offsets.T)
        inside = values[distances <= 0.7 * circle.radius]
        unsure = 5 * self.spread / np.sqrt(max(inside.size, 1))
        least = max(unsure, _DARK * (self.bright - self.air))
        if circle.sign == OUTWARD:
            outside = values[(distances > circle.radius + 1.5) & (distances < circle.radius + 3)]
            if outside.size:
                leak = _BUBBLE * min(1.0, (LEAST_RADIUS / (circle.radius + _WALL)) ** 4)
                least = max(least, leak * (float(np.median(outside)) - self.air))
        if not inside.size or np.median(inside) <= self.air + least:
            return False
        level = float(np.median(inside))
        uneven = np.abs(inside - level) > max(3 * self.sigma, _RUNS_ON * abs(level - self.air))
        return bool(uneven.mean() < _UNEVEN)

    def level(self, circle: Circle) -> float:
        """Median inside, above air."""
        values, offsets = self.around(circle, 0.0)
        inside = values[np.hypot(*offsets.T) <= 0.7 * circle.radius]
        return float(np.median(inside)) - self.air if inside.size else 0.0

    def is_faint(self, circle: Circle) -> bool:
        """Whether the inside is no brighter than ghosts may be."""
        return self.level(circle) < _GHOST * (self.bright - self.air)

    def standing_out(self, circle: Circle) -> float:
        """Share of directions in which the level just outside differs from that inside."""
        values, offsets = self.around(circle, 2.3)
        distances = np.hypot(*offsets.T)
        level = float(np.median(values[distances < 0.75 * circle.radius]))
        around = values[(distances > circle.radius + 0.1) & (distances < circle.radius + 2.2)]
        # As many directions as the noise lets be told apart, 6 at least.
        contrast = float(np.median(np.abs(around - level))) if around.size else 0.0
        sectors = np.sqrt(around.size) * contrast / max(4 * self.sigma, 1e-12)
        sectors = int(np.clip(min(sectors**2, 2 * np.pi * circle.radius / 2.5), 6, 16))
        sector = _sector(offsets, sectors)
        least = max(RINGING * abs(level - self.air), 1e-12)
        clear = np.zeros(sectors, dtype=bool)
        for low, high in ((0.1, 1.1), (1.0, 2.2)):  # a thin wall shows in the first only
            on = (distances >= circle.radius + low) & (distances <= circle.radius + high)
            counts = np.bincount(sector[on], minlength=sectors)
            outside = np.bincount(sector[on], values[on], sectors) / np.maximum(counts, 1)
            needed = np.maximum(2.5 * self.sigma / np.sqrt(np.maximum(counts, 1)), least)
            clear |= (np.abs(outside - level) > needed) & (counts > 0)
        return float(clear.mean())

    def is_open(self, circle: Circle, others: Sequence[Circle]) -> bool:
        """Whether the level inside runs on outside, past other tubes: a part of the bath."""
        from scipy import ndimage

        values, offsets = self.around(circle, circle.radius + 4)
        width = int(np.count_nonzero(offsets[:, 0] == offsets[0, 0]))
        distances = np.hypot(*offsets.T)
        inside = distances < 0.6 * circle.radius
        if not inside.any():  # moved out of the image
            return True
        level = float(np.median(values[inside]))
        allowed = _RUNS_ON * abs(level - self.air)
        if allowed < 3 * self.sigma:
            # Smoothed over a voxel, noise is 0.28 of what it was: what is barely above it is shut.
            values = ndimage.gaussian_filter(values.reshape(-1, width), 1.0).ravel()
            allowed = max(0.7 * self.sigma, allowed)
        alike = np.abs(values - level) < allowed
        for other in others:
            if other is not circle:
                away = offsets - (other.x - circle.x, other.y - circle.y)
                alike &= np.hypot(*away.T) > other.radius + 0.7
        alike = alike.reshape(-1, width)
        regions, _ = ndimage.label(alike)
        within = np.bincount(regions.ravel()[inside], minlength=2)
        largest = int(np.argmax(within[1:])) + 1
        # Where walls blur into a bath every level occurs, but a voxel wide: out means a place of
        # three by three voxels that is as bright as the inside.
        broad = ndimage.binary_erosion(alike, np.ones((3, 3), dtype=bool)) & (regions == largest)
        means = ndimage.uniform_filter(values.reshape(-1, width), 3)
        equal = np.abs(means - level) < max(0.4 * self.sigma, RINGING * abs(level - self.air))
        out = distances > 1.35 * circle.radius + 1.5
        return bool((broad & equal).ravel()[out].any())

    def is_like_bath(self, circle: Circle, others: Sequence[Circle]) -> bool:
        """Whether the level inside is that of what is bright around the tubes nearby."""
        values, offsets = self.around(circle, _NEARBY)
        inside = np.hypot(*offsets.T) < 0.7 * circle.radius
        if not inside.any():  # moved out of the image
            return True
        level = float(np.median(values[inside]))
        outside = values > self.air + RINGING * (self.bright - self.air)
        for one in (circle, *others):
            away = offsets - (one.x - circle.x, one.y - circle.y)
            outside &= np.hypot(*away.T) > one.radius + 2.5
        if outside.sum() <= inside.sum():
            return False
        return bool(abs(np.median(values[outside]) - level) < RINGING * abs(level - self.air))

    def around(self, circle: Circle, beyond: float) -> tuple[Array, Array]:
        """Values and offsets from the centre of the voxels in a box around a circle."""
        reach = circle.radius + beyond
        spans = [
            np.arange(max(0, int(c - reach)), min(n, int(c + reach) + 2))
            for c, n in zip(circle[:2], self.image.shape, strict=True)
        ]
        x, y = np.meshgrid(*spans, indexing="ij")
        offsets = np.column_stack([(x - circle.x).ravel(), (y - circle.y).ravel()])
        return self.image[x, y].ravel(), offsets


# --- what an image tells at once -----------------------------------------------------------------


def _noise(image: Array) -> float:
    """SD of the noise, from the residuals of a plane through each voxel's neighbours.

    Of these the smallest quarter, where there is no edge, and where the scanner has not cleared the
    air.
    """
    from scipy import ndimage

    kernel = np.array([[1.0, -2, 1], [-2, 4, -2], [1, -2, 1]]) / 6
    residuals = np.abs(ndimage.convolve(image, kernel))[image > 0]
    return float(np.percentile(residuals, 25)) / 0.3186 if residuals.size else 0.0


def _air(image: Array, sigma: float, points: int) -> tuple[float, float, float]:
    """Level and spread of the air around the object, and the brightest level of the image.

    Air is the darkest that the frame of the image shows. Where that is far above what noise alone
    gives, √(2·points)·sigma, the frame shows none, and air is that.
    """
    frame = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    expected = float(np.sqrt(2 * points)) * sigma
    bright = float(np.percentile(image, 99.5))
    dark = float(np.percentile(frame, 10))
    if dark > max(2 * expected, 0.1 * bright):
        return expected, sigma, bright
    frame = frame[frame <= 3 * dark]
    air = float(np.median(frame))
    spread = 1.4826 * float(np.median(np.abs(frame - air)))
    # Corners that the scanner cleared are darker than the air.
    return max(air, expected), max(spread, sigma), bright


def _edges(image: Array, sigma: float, blur: float) -> tuple[Array, Array]:
    """Crests of the gradient: places (edges, 2), and directions towards the brighter side."""
    from scipy import ndimage

    along_x = ndimage.gaussian_filter(image, blur, order=(1, 0))
    along_y = ndimage.gaussian_filter(image, blur, order=(0, 1))
    steep = np.hypot(along_x, along_y)
    noise = sigma / (np.sqrt(8 * np.pi) * blur**2)  # of one component of the gradient
    strong = steep > max(_CLEAR * noise, _FAINT * float(np.percentile(steep, 99.9)))
    strong[[0, 1, -2, -1], :] = strong[:, [0, 1, -2, -1]] = False
    x, y = np.nonzero(strong)
    here = steep[x, y]
    ux, uy = along_x[x, y] / here, along_y[x, y] / here
    back, forth = (
        ndimage.map_coordinates(steep, [x + d * ux, y + d * uy], order=1) for d in (-1, 1)
    )
    crest = (here >= back) & (here > forth)
    ux, uy, here, back, forth = (v[crest] for v in (ux, uy, here, back, forth))
    # The top of the parabola through three points across the edge.
    shift = np.clip(0.5 * (back - forth) / (back - 2 * here + forth), -0.5, 0.5)
    places = np.column_stack([x[crest] + shift * ux, y[crest] + shift * uy])
    return places, np.column_stack([ux, uy])


def _sector(offsets: Array, sectors: int) -> NDArray[np.intp]:
    turns = np.arctan2(offsets[:, 1], offsets[:, 0]) / (2 * np.pi) + 0.5
    return (turns * sectors).astype(np.intp) % sectors
