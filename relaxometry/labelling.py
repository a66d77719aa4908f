"""Where names go beside points so that no two lie on each other: first come, first placed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
#: x0, y0, x1, y1.
Box = tuple[float, float, float, float]


class Placed(NamedTuple):
    """The lower left corner of a label, and how far from its point it had to go."""

    x: float
    y: float
    apart: float


#: Directions tried, in this order: beside a point a name reads best.
_DIRECTIONS = np.array([(1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1), (0, 1), (0, -1)])


def place_labels(
    points: Array,
    sizes: Array,
    frame: Box,
    obstacles: Sequence[Box] = (),
    gap: float = 4.0,
    steps: int = 3,
) -> list[Placed | None]:
    """Places of labels, the first point first; None for one that has no free place.

    Parameters
    ----------
    points : ndarray (n, 2)
        Each is kept free, with `gap` around it.
    sizes : ndarray (n, 2)
        Width and height of each label.
    frame : (x0, y0, x1, y1)
        Labels stay inside.
    obstacles : sequence of (x0, y0, x1, y1)
        Kept free too.
    gap : float
        Between a point and its label; each of the further `steps` is as much farther.
    steps : int
    """
    half = 0.7 * gap
    boxes = [(x - half, y - half, x + half, y + half) for x, y in points] + list(obstacles)
    taken = np.array(boxes, dtype=float).reshape(-1, 4)
    placed: list[Placed | None] = []
    for i, ((x, y), (width, height)) in enumerate(zip(points, sizes, strict=True)):
        others = np.arange(len(taken)) != i
        found = None
        for step in range(1, steps + 1):
            for dx, dy in _DIRECTIONS:
                x0 = x + dx * gap * step - (0 if dx > 0 else width if dx < 0 else width / 2)
                y0 = y + dy * gap * step - (height / 2 if dy == 0 else 0 if dy > 0 else height)
                box = (x0, y0, x0 + width, y0 + height)
                if inside(box, frame) and not meets(box, taken[others]):
                    found = Placed(x0, y0, gap * step)
                    break
            if found:
                break
        placed.append(found)
        if found:
            taken = np.vstack([taken, [found.x, found.y, found.x + width, found.y + height]])
    return placed


def inside(box: Box, frame: Box) -> bool:
    """Whether a box is within another."""
    return box[0] >= frame[0] and box[1] >= frame[1] and box[2] <= frame[2] and box[3] <= frame[3]


def meets(box: Box, others: Sequence[Box] | Array) -> bool:
    """Whether a box overlaps any of others."""
    x0, y0, x1, y1 = np.reshape(others, (-1, 4)).T
    return bool(((x1 > box[0]) & (x0 < box[2]) & (y1 > box[1]) & (y0 < box[3])).any())


def along_line(length: float, height: float, middle: Array, direction: Array) -> list[Box]:
    """A turned text as small boxes along it: the one around all of it is mostly air."""
    half = height / 2
    places = np.linspace(-length / 2, length / 2, 2 + int(length / height))
    ends = middle + places[:, None] * direction
    return [(float(x - half), float(y - half), float(x + half), float(y + half)) for x, y in ends]
