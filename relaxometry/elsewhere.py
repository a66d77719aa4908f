"""Tubes that do not show where they should: whether the whole image shows them elsewhere.

A tube that does not show may hold nothing that gives a signal. It is said to have moved only where
it, or the pattern of all tubes, is found at a place that looked otherwise before.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .geometry import Affine
from .silhouette import ALIKE, SEARCHED_MM, Silhouette
from .walls import SURELY_MATCHED, Motion, Walls, view_of

Array = NDArray[np.float64]

_ALONE = 0.95  # the same for one of many: between tubes in water much is round
_UNMISTAKABLE = 0.8  # of a full match: what one round thing needs to be the tube that is missed


@dataclass(frozen=True, slots=True, eq=False)
class Elsewhere:
    """Where tubes are that do not show where they should.

    Attributes
    ----------
    shift : ndarray (2,) or None
        Of all tubes, mm: where more of them are found together than where they should be.
    alias : float
        Distance in mm of a place where as many are found; NaN if there is none.
    alone : ndarray (tubes,)
        How far one tube has moved against the others, mm; NaN where that is not seen.
    """

    shift: Array | None
    alias: float
    alone: Array


def elsewhere(
    walls: Walls, image: NDArray[np.float32], affine: Affine, motion: Motion | None
) -> Elsewhere:
    """Look in the whole image for tubes that do not show where they should.

    Parameters
    ----------
    walls, image, affine
        As for :func:`relaxometry.walls.motion_of`.
    motion : Motion or None
        What that found.
    """
    alone = np.full(len(walls.radii), np.nan)
    nowhere = Elsewhere(None, np.nan, alone)
    seen = np.flatnonzero(walls.seen)
    if not seen.size or walls.view is None:
        return nowhere
    circles = np.column_stack([walls.centres, walls.radii])[seen]
    there, reach = view_of(image, affine, walls.frame, walls.slab, circles)
    if there is None:
        return nowhere
    start = np.zeros(2) if motion is None else motion.shift
    shifts = there.shifts(circles, reach)
    score, covered = there.match(circles, shifts, directions=16)
    moves = (shifts * there.step).astype(np.float64)
    # What shows only now may be a tube whose wall did not show before.
    if motion is not None and there.axis is None and walls.seen.all():
        for i in np.flatnonzero(motion.unseen[seen]).tolist():
            alone[seen[i]] = _gone_alone(walls.view, there, circles, i, start, moves, score[i])
    # All together: more of them than where they should be.
    radius = float(circles[:, 2].min())
    distance = np.hypot(*(moves - start).T)
    near = distance < 0.6 * radius
    count = (score > SURELY_MATCHED).sum(axis=0)
    total = (1.5 * score - 0.5 * covered).sum(axis=0)
    enough = count >= np.maximum(np.maximum(2, len(circles) / 3), covered.sum(axis=0) / 2)
    if len(circles) == 1:
        enough = score[0] > _UNMISTAKABLE
    far = enough & (distance > 1.2 * radius) & (np.hypot(*moves.T) > SEARCHED_MM)
    here, most = total[near].max(initial=0), count[near].max(initial=0)
    better = far & (total > here + ALIKE) & (count > most)
    if better.any():
        best = int(np.where(better, total, -np.inf).argmax())
        was, _ = _before(walls.view, circles, moves[best] - start)
        if (was > SURELY_MATCHED).sum() < count[best]:
            return Elsewhere(_refined(there, circles, moves[best], score[:, best]), np.nan, alone)
    alike = far & (total >= here - ALIKE) & (count >= most)
    return Elsewhere(None, float(distance[alike].min()) if alike.any() else np.nan, alone)


def _before(view: Silhouette, circles: Array, move: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Match and coverage (tubes,) of circles moved by this (2,) where they were first seen."""
    score, covered = view.match(circles, np.rint(move / view.step).astype(np.intp)[None])
    return score[:, 0], covered[:, 0]


def _refined(there: Silhouette, circles: Array, move: Array, score: Array) -> Array:
    found = [
        place.centre - circle[:2]
        for circle in circles[score > SURELY_MATCHED]
        if (place := there.circle(circle[:2] + move, float(circle[2]))) is not None
    ]
    return np.median(found, axis=0) if found else move


def _gone_alone(
    view: Silhouette,
    there: Silhouette,
    circles: Array,
    tube: int,
    start: Array,
    moves: Array,
    score: Array,
) -> float:
    """How far a tube lies from its place among the others, in mm; NaN if it is not found.

    It is a circle as large, where neither another tube belongs nor anything like it was before.
    """
    x, y, radius = circles[tube]
    others = np.delete(circles, tube, axis=0)
    places = np.array([x, y]) + moves
    gaps = np.hypot(*(places[:, None] - others[:, :2] - start).transpose(2, 0, 1))
    free = (gaps > 1.15 * radius + others[:, 2]).all(axis=1)
    free &= np.hypot(*(moves - start).T) < SEARCHED_MM
    for _ in range(5):
        best = int(np.where(free, score, -np.inf).argmax())
        if not free[best] or score[best] < _ALONE:
            break
        found = there.circle(places[best], float(radius))
        if found is not None and abs(found.radius - radius) < 0.25 * radius:
            move = found.centre - start - (x, y)
            was, known = _before(view, circles[tube : tube + 1], move)
            gap = np.hypot(*(found.centre - others[:, :2] - start).T) - others[:, 2]
            clear = bool((gap > 1.1 * radius).all())
            if clear and known[0] and was[0] < SURELY_MATCHED:
                return float(np.hypot(*move))
        free &= np.hypot(*(places - places[best]).T) > radius
    return np.nan
