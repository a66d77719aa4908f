"""The largest value of a function on the unit box, kinks and edges included; arrays only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter
from scipy.optimize import brentq

Array = NDArray[np.float64]
Value = Callable[[Sequence[Array]], Array]

_NODES = {1: 2001, 2: 201, 3: 61, 4: 25}  # along each side, by the number of sides
_STARTS, _NEAR = 4, 0.9  # peaks that are climbed, and how high they must be, of the highest
_SMALLEST = 1e-10  # step at which the climb ends
_MOST = 400
_TURNS = 48  # directions drawn anew at each step: they find the way along a kink


class Peak(NamedTuple):
    """Where a function is largest, in [0, 1] along each side, and its value there."""

    place: Array
    value: float


def highest(value: Value, sides: int) -> Peak:
    """The global maximum on the unit box.

    A dense grid finds the peaks; from each of those that may be the highest a direct search climbs
    on, with a mesh that shrinks where no point of it is higher and directions that are never the
    same. It needs no derivative, so that the kinks of a difference of magnitudes do not stop it.

    Parameters
    ----------
    value : callable
        Of as many arrays of coordinates, broadcast together, to finite values.
    sides : int
        1 to 4.

    References
    ----------
    Audet & Dennis, SIAM J Optim 17:188 (2006), for direct searches of this kind.
    """
    n = _NODES[sides]
    along = np.linspace(0, 1, n)
    nodes = np.meshgrid(*[along] * sides, indexing="ij", sparse=True)
    found = np.broadcast_to(value(nodes), (n,) * sides)
    peaks = found == maximum_filter(found, size=3, mode="nearest")
    peaks &= found >= found.max() - (1 - _NEAR) * abs(found.max())
    order = np.argsort(-found[peaks], kind="stable")[:_STARTS]
    places = along[np.argwhere(peaks)[order]]
    return _climb(value, places, found[peaks][order], 1 / (n - 1))


def _climb(value: Value, places: Array, heights: Array, step: float) -> Peak:
    """Climb from each place (m, sides) at once; the highest that is reached."""
    m, sides = places.shape
    rng = np.random.default_rng(0)
    mesh = np.stack(np.meshgrid(*[[-1.0, 0.0, 1.0]] * sides), axis=-1).reshape(-1, sides)
    steps = np.full(m, step)
    rows = np.arange(m)
    for _ in range(_MOST):
        if (steps < _SMALLEST).all():
            break
        drawn = rng.normal(size=(_TURNS, sides))
        drawn *= (rng.random(_TURNS) / np.linalg.norm(drawn, axis=1))[:, None]
        tried = places[:, None] + steps[:, None, None] * np.concatenate([mesh, drawn])
        tried = np.clip(tried, 0, 1)
        found = value(np.moveaxis(tried, -1, 0))
        best = found.argmax(axis=1)
        better = found[rows, best] > heights + 1e-15 * np.abs(heights)
        places = np.where(better[:, None], tried[rows, best], places)
        heights = np.maximum(heights, found[rows, best])
        steps = np.where(better, steps, 0.5 * steps)
    top = int(heights.argmax())
    return Peak(places[top], float(heights[top]))


def around(value: Callable[[Array], Array], at: float, least: float) -> tuple[float, float]:
    """The interval about `at` in [0, 1] in which value(u) is at least `least`, without a gap."""
    ends = []
    for end in (0.0, 1.0):
        u = np.linspace(at, end, 1001)
        below = np.flatnonzero(value(u) < least)
        below = below[below > 0]
        if at == end or not below.size:
            ends.append(end)
            continue
        i = int(below[0])
        ends.append(
            float(
                brentq(lambda x: float(value(np.array([x]))[0]) - least, u[i - 1], u[i], xtol=1e-12)
            )
            if value(u[i - 1 : i])[0] > least
            else float(u[i - 1])
        )
    return ends[0], ends[1]
