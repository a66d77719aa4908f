"""How far a tube reaches: its centre and inner radius by the voxels around them.

A tube is a disc of one level, a wall as dark as air or none, and surroundings of another level,
blurred by the width of a voxel.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .scene import INWARD, RINGING, Circle, Scene

Array = NDArray[np.float64]

_PSF = 0.45  # voxels, SD of a voxel's blur: its own width and a little of the scanner's
_REACH = 4.0  # voxels outside the edge that the profile looks at
_WALLS = (0.0, 0.6, 1.0, 1.4, 1.8)  # voxels


def measured(scene: Scene, circle: Circle, others: Sequence[Circle]) -> Circle:
    """Centre and inner radius by the voxels around a circle, those of other tubes left out."""
    values, offsets = scene.around(circle, _REACH)
    own = np.hypot(*offsets.T) < circle.radius + _REACH
    for other in others:
        apart = np.hypot(circle.x - other.x, circle.y - other.y)
        if 0.5 * circle.radius < apart < circle.radius + other.radius + _REACH + 2:
            away = offsets - (other.x - circle.x, other.y - circle.y)
            own &= np.hypot(*away.T) > other.radius + 0.7
    values, offsets = values[own], offsets[own]
    start = _profile(scene.air, circle, values, offsets)
    if start is None:
        return circle
    return _by_voxels(scene, circle, start, values, offsets)


def _profile(
    air: float, circle: Circle, values: Array, offsets: Array
) -> tuple[float, float, float, float] | None:
    """Radius, wall, level inside and outside that fit the median at each distance best."""
    bins = (np.hypot(*offsets.T) / 0.25).astype(int)
    order = np.argsort(bins, kind="stable")
    kept, first, counts = np.unique(bins[order], return_index=True, return_counts=True)
    at = np.asarray((kept + 0.5) * 0.25, dtype=np.float64)
    near = at > circle.radius - 4.5
    ordered = values[order]
    medians = np.array([np.median(ordered[i : i + n]) for i, n in zip(first, counts, strict=True)])
    at, medians, weights = at[near], medians[near], counts[near].astype(float)
    if at.size < 6:
        return None
    # From outside, the edge that was seen is that of the wall.
    inward = 1.2 if circle.sign == INWARD else 2.6
    tried = np.arange(max(1.5, circle.radius - inward), circle.radius + 1.2, 0.1)
    best, answer = np.inf, None
    for wall in _WALLS:
        inside = _step((tried[:, None] - at) / _PSF)
        outside = _step((at - tried[:, None] - wall) / _PSF)
        target = medians - air * (1 - inside - outside) if wall else medians
        target = np.broadcast_to(target, inside.shape)
        m11, m12, m22 = (
            (weights * a * b).sum(axis=1)
            for a, b in ((inside, inside), (inside, outside), (outside, outside))
        )
        v1, v2 = ((weights * a * target).sum(axis=1) for a in (inside, outside))
        det = np.maximum(m11 * m22 - m12 * m12, 1e-9)
        a, b = (m22 * v1 - m12 * v2) / det, (m11 * v2 - m12 * v1) / det
        model = a[:, None] * inside + b[:, None] * outside
        rss = (weights * (target - model) ** 2).sum(axis=1) * (1.02 if wall else 1.0)
        i = int(np.argmin(rss))
        if rss[i] < best:
            best, answer = rss[i], (float(tried[i]), wall, float(a[i]), float(b[i]))
    return answer


def _by_voxels(
    scene: Scene,
    circle: Circle,
    start: tuple[float, float, float, float],
    values: Array,
    offsets: Array,
) -> Circle:
    """Gauss–Newton over centre, radius and both levels; voxels of a bubble count little."""
    radius, wall, level, around = start
    centre = np.zeros(2)
    within = np.hypot(*offsets.T) < radius + wall + 1.6
    values, offsets = values[within], offsets[within]
    spread = max(scene.sigma, RINGING * abs(level - scene.air) / 2, 1e-12)
    for _ in range(8):
        away = offsets - centre
        distances = np.maximum(np.hypot(*away.T), 1e-9)
        inside = _step((radius - distances) / _PSF)
        outside = _step((distances - radius - wall) / _PSF)
        dark = scene.air if wall else 0.0
        gap = 1 - inside - outside if wall else 0.0
        residual = values - level * inside - around * outside - dark * gap
        slope = (level - dark) * _bell((radius - distances) / _PSF)
        slope = slope - (around - dark) * _bell((distances - radius - wall) / _PSF)
        columns = np.column_stack(
            [slope[:, None] * away / distances[:, None], slope, inside, outside]
        )
        weights = 1 / (1 + (residual / (3 * spread)) ** 2)
        weighted = columns * weights[:, None]
        square = columns.T @ weighted
        square[np.diag_indices(5)] += 1e-6 * np.trace(square) / 5
        step = np.linalg.solve(square, weighted.T @ residual)
        move = np.clip(step[:3], -0.5, 0.5)
        centre += move[:2]
        radius += move[2]
        level, around = level + step[3], around + step[4]
        if np.abs(move).max() < 0.01:
            break
    if np.hypot(*centre) > max(1.0, 0.2 * circle.radius) or abs(radius - start[0]) > 1.0:
        return circle._replace(radius=start[0])
    return circle._replace(x=circle.x + centre[0], y=circle.y + centre[1], radius=float(radius))


def _step(x: Array) -> Array:
    """The normal distribution function: an edge after blurring."""
    from scipy.special import ndtr

    return np.asarray(ndtr(x), dtype=np.float64)


def _bell(x: Array) -> Array:
    return np.asarray(np.exp(-0.5 * x * x) / (np.sqrt(2 * np.pi) * _PSF))
