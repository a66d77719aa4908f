"""Numbering circles: rows, columns, ring, serpentine or a grid, as a person reads the picture.

Places are (right, down) in mm as the picture is shown, so that the numbers depend only on what a
person sees, never on how a file keeps its voxels. Where an order is in doubt it is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import InputError

ORDERS = ("rows", "columns", "serpentine", "ring", "grid", "height")

Places = NDArray[np.float64]
Grid = NDArray[np.int64]

# Degrees, the level first; beyond 45 only to see where a reading is best.
_TILTS = np.array(sorted(np.arange(-60.0, 60.5, 0.5), key=abs))
_MOST_TILT = 42.0  # from here on rows might as well be columns
_LOOSE = 0.4  # of the space between rows, the most that one row may spread
_APART = 0.6  # of the usual distance from a tube to the next, the least space between rows
# Of the best reading's clearness: worth weighing, worth weighing if much more level, as good.
_RIVAL, _LEVEL_RIVAL, _EQUAL = 0.65, 0.5, 0.9
# Degrees: so much nearer to level is how a person would read it, and might read it nonetheless.
_LEVELLER, _MUCH_LEVELLER = 15.0, 25.0
_ON_RING = 0.5  # of a tube's radius, how far its centre may lie from the ring
_SHORT_ARC = 90.0  # degrees; over less than that a ring is no better than a line
# Of the usual step along a ring: a tube that lies less before the start is the first, one that lies
# more is the last, and between the two there is no telling.
_AT_START, _BEFORE_START = 0.2, 0.4

_ELSE = 'say grid = [[1, 2, …], …] as you see the rack, or order = "height" and renumber circles'


class Reading(NamedTuple):
    """One way to read a rack: indices row by row, the rack's tilt, and how clear the rows are."""

    rows: tuple[tuple[int, ...], ...]
    tilt: float
    clearness: float
    apart: bool = True  # whether the rows are as far apart as neighbours are, or nearly so


def checked_order(
    order: str | None, start_angle: float | None, grid: Any
) -> tuple[str, float, Grid | None]:
    """Order, start angle and grid, if they go together; `order` follows from a grid.

    Raises
    ------
    InputError
        For an order there is not, a start angle or grid where none belongs, or a grid that is not a
        matrix of tube numbers, each once, with 0 for an empty place.
    """
    if order is None:
        order = "rows" if grid is None else "grid"
    if order not in ORDERS:
        raise InputError(f"{order!r}", field="order", expected=" or ".join(ORDERS))
    if (order == "grid") != (grid is not None):
        found = "no grid" if grid is None else f'with order = "{order}"'
        raise InputError(found, field="grid", expected='order = "grid" and a grid, or neither')
    if start_angle is not None and order != "ring":
        raise InputError(f'with order = "{order}"', field="start_angle", expected='order = "ring"')
    if start_angle is not None and not np.isfinite(start_angle):
        raise InputError(f"{start_angle}", field="start_angle", expected="degrees")
    return order, start_angle or 0.0, None if grid is None else _checked_grid(grid)


def how_numbered(order: str, start_angle: float = 0.0) -> str:
    """An order in words, as in "the tubes were numbered …"."""
    return {
        "rows": "by rows",
        "columns": "by columns",
        "serpentine": "by rows, every second one backwards",
        "ring": f"clockwise from {start_angle:g}°",
        "grid": "as the grid says",
        "height": "by height",
    }[order]


def in_order(
    places: Places,
    radii: NDArray[np.float64],
    order: str = "rows",
    start_angle: float = 0.0,
    grid: Grid | None = None,
) -> NDArray[np.intp]:
    """Indices of circles in the order of their numbers.

    Parameters
    ----------
    places : ndarray (k, 2)
        Centres, to the right and downwards as the picture is shown, in mm.
    radii : ndarray (k,)
        mm.
    order : str
        One of `ORDERS`. Rows and columns are those of the rack, which may be tilted by up to 40°.
    start_angle : float
        Where a ring begins, in degrees clockwise from the top.
    grid : ndarray of int (rows, columns), optional
        Tube numbers as a person sees the rack; 0 where there is no tube.

    Returns
    -------
    ndarray of int (k,)

    Raises
    ------
    InputError
        If the circles do not lie in such an order, or in more than one.
    """
    if len(places) < 2 and order != "grid":
        return np.arange(len(places))
    if order == "ring":
        return _around(places, radii, start_angle)
    if order == "grid":
        assert grid is not None
        return _on_grid(places, radii, grid)
    if order == "height":
        return np.lexsort((places[:, 0], places[:, 1]))
    rows = _rows(places[:, ::-1] if order == "columns" else places, radii, order)
    if order == "serpentine":
        rows = tuple(row[::-1] if i % 2 else row for i, row in enumerate(rows))
    return np.array([i for row in rows for i in row], dtype=np.intp)


# --- rows ----------------------------------------------------------------------------------------


def _rows(places: Places, radii: NDArray[np.float64], order: str) -> tuple[tuple[int, ...], ...]:
    """Rows from the top, each from the left; those of the rack nearest to the picture's."""
    readings = _readings(places, radii)
    what = "columns" if order == "columns" else "rows"
    if not readings or not readings[0].apart:
        raise _doubtful(f"the tubes found stand in no {what} that can be told apart", what)
    best = readings[0]
    rivals = [r for r in readings[1:] if r.clearness >= _needed(r, best) * best.clearness]
    if abs(best.tilt) > _MOST_TILT:
        # Five as on a die: its diagonals stand clearer, and still a person reads 2, 1, 2.
        level = [r for r in rivals if abs(r.tilt) < _LEVELLER]
        if level:
            return level[0].rows
        raise _doubtful(
            f"the rack is tilted by {abs(best.tilt):.0f}°: its {what} could be "
            + ("rows" if what == "columns" else "columns"),
            what,
        )
    for rival in rivals:
        nearer = abs(best.tilt) - abs(rival.tilt)  # of the two, how much more level is the rival
        as_good = rival.clearness >= _EQUAL * best.clearness
        if nearer > 0 or (as_good and nearer > -_LEVELLER):
            raise _doubtful(
                f"the tubes found can be read in {what} tilted by {best.tilt:.0f}° "
                f"or by {rival.tilt:.0f}°",
                what,
            )
    return best.rows


def _needed(rival: Reading, best: Reading) -> float:
    """How clear a reading must be, for the best one's clearness, to put that in doubt."""
    return _LEVEL_RIVAL if abs(best.tilt) - abs(rival.tilt) > _MUCH_LEVELLER else _RIVAL


def _doubtful(found: str, what: str) -> InputError:
    return InputError(
        found, field="order", expected=f"a rack of {what}, tilted by less than 40°", hint=_ELSE
    )


def _readings(places: Places, radii: NDArray[np.float64]) -> list[Reading]:
    """Every way the places fall into rows, the clearest first.

    At each tilt a new row begins where the next centre lies more than a radius further down. Rows
    are clear if the space between them is much wider than they spread, and few if they are true:
    the diagonals of a lattice are rows too, but more of them and closer together.
    """
    least = float(np.median(radii))
    nearest = _nearest(places)
    found: dict[tuple[tuple[int, ...], ...], Reading] = {}
    for tilt in _TILTS:
        across, down = _turned(places, tilt)
        by_height = np.argsort(down, kind="stable")
        steps = np.diff(down[by_height])
        parts = np.split(by_height, np.flatnonzero(steps > least) + 1)
        between = float(steps[steps > least].min()) if len(parts) > 1 else nearest
        spread = max(float(np.ptp(down[part])) for part in parts)
        if spread > _LOOSE * between:
            continue
        rows = tuple(tuple(part[np.argsort(across[part])].tolist()) for part in parts)
        clearness = (between - spread) * len(places) / len(parts)
        if rows not in found or clearness > found[rows].clearness:
            apart = between - spread >= _APART * nearest
            found[rows] = Reading(rows, float(tilt), clearness, apart)
    return _upright(found.values())


def _upright(readings: Any) -> list[Reading]:
    """Readings tilted by no more than 45°, the clearest first."""
    return sorted((r for r in readings if abs(r.tilt) <= 45), key=lambda r: -r.clearness)


def _turned(places: Places, tilt: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Places along and across the rows of a rack tilted by so many degrees, clockwise."""
    cos, sin = np.cos(np.radians(tilt)), np.sin(np.radians(tilt))
    return places @ np.array([cos, sin]), places @ np.array([-sin, cos])


def _nearest(places: Places) -> float:
    """Usual distance from a centre to the next one."""
    distance = np.hypot(*(places[:, None] - places[None, :]).T)
    np.fill_diagonal(distance, np.inf)
    return float(np.median(distance.min(axis=0)))


# --- ring ----------------------------------------------------------------------------------------


def _around(places: Places, radii: NDArray[np.float64], start_angle: float) -> NDArray[np.intp]:
    """Clockwise from the tube at the start angle or the first one after it."""
    centre, radius = _ring(places)
    right, down = (places - centre).T
    off = np.abs(np.hypot(right, down) - radius) - _ON_RING * radii
    if not off.max() <= 0:
        astray = places[int(np.argmax(off))]
        raise InputError(
            f"the {len(places)} tubes found lie on no ring: the one {_where(astray, places)} is "
            "off it",
            field="order",
            expected="tubes on a circle",
            hint=f'give order = "rows", or {_ELSE}',
        )
    angle = np.degrees(np.arctan2(right, -down)) % 360  # clockwise from the top
    around = np.argsort(angle, kind="stable")
    steps = np.diff(angle[around], append=angle[around[0]] + 360)
    if 360 - steps.max() < _SHORT_ARC:
        raise InputError(
            f"the tubes found span only {360 - steps.max():.0f}° of a ring",
            field="order",
            expected=f"at least {_SHORT_ARC:.0f}°",
            hint=f'give order = "rows", or {_ELSE}',
        )
    first, second = around[np.argmin(steps)], around[(np.argmin(steps) + 1) % len(around)]
    if np.radians(steps.min()) * radius < max(radii[first], radii[second]):
        raise InputError(
            f"two of the tubes found lie at one angle of the ring, {angle[first]:.0f}° clockwise "
            "from the top",
            field="order",
            expected="tubes side by side on a circle",
            hint=_ELSE,
        )
    step = float(np.median(steps))
    before = (start_angle - angle) % 360 / step  # in steps: how far each lies before the start
    doubtful = (before > _AT_START) & (before < _BEFORE_START)
    if doubtful.any():
        at = angle[doubtful][0]
        raise InputError(
            f"a tube lies at {at:.0f}°, just before the start at {start_angle:g}° clockwise from "
            "the top",
            field="start_angle",
            expected="an angle that says which tube is the first",
            hint=f"{at:.0f} to begin with it, {(at + step / 2) % 360:.0f} to begin after it",
        )
    return np.argsort((angle - start_angle + _AT_START * step) % 360, kind="stable")


def _ring(places: Places) -> tuple[Places, float]:
    """Centre and radius of the circle nearest to the places, by least squares (Kåsa, 1976)."""
    if len(places) == 2:
        return places.mean(axis=0), float(np.hypot(*(places[1] - places[0]))) / 2
    origin = places.mean(axis=0)
    x, y = (places - origin).T
    system = np.column_stack([2 * x, 2 * y, np.ones_like(x)])
    (a, b, c), *_ = np.linalg.lstsq(system, x**2 + y**2, rcond=None)
    return origin + np.array([a, b]), float(np.sqrt(max(c + a**2 + b**2, 0.0)))


def _where(place: Places, places: Places) -> str:
    """In words, where one of several places lies among them."""
    right, down = (place - places.mean(axis=0)) / (np.ptp(places, axis=0) + 1e-9)
    across = "left" if right < -0.17 else "right" if right > 0.17 else ""
    height = "top" if down < -0.17 else "bottom" if down > 0.17 else ""
    told = " ".join(part for part in (height, across) if part)
    return f"at the {told}" if told else "in the middle"


# --- grid ----------------------------------------------------------------------------------------


def _checked_grid(grid: Any) -> Grid:
    rows = list(grid) if isinstance(grid, (Sequence, np.ndarray)) else []
    wrong = InputError(
        f"{grid!r}"[:80],
        field="grid",
        expected="rows of equal length of tube numbers, 0 for an empty place, "
        "e.g. [[1, 2, 3], [0, 4, 5]]",
    )
    if not rows or isinstance(grid, str):
        raise wrong
    for row in rows:
        if not isinstance(row, (Sequence, np.ndarray)) or len(row) != len(rows[0]):
            raise wrong
        if not all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) for n in row):
            raise wrong
    array = np.array(rows, dtype=object)
    if array.ndim != 2 or not all(0 <= n < 2**31 for n in array.flat):
        raise wrong
    matrix: Grid = array.astype(np.int64)
    numbers, counts = np.unique(matrix[matrix > 0], return_counts=True)
    if not numbers.size:
        raise wrong
    if counts.max() > 1:
        raise InputError(f"tube {numbers[counts.argmax()]} stands there twice", field="grid")
    return matrix


def _on_grid(places: Places, radii: NDArray[np.float64], grid: Grid) -> NDArray[np.intp]:
    """Indices in the order of the numbers in the grid, which the places must fill exactly."""
    n = int((grid > 0).sum())
    if n != len(places):
        raise InputError(
            f"{len(places)} tubes found, {n} in the grid",
            field="grid",
            expected="one place in the grid for each tube, 0 where there is none",
        )
    used = grid[(grid > 0).any(axis=1)][:, (grid > 0).any(axis=0)]
    found: dict[tuple[tuple[int, ...], ...], Reading] = {}
    for tilt in _TILTS:
        across, down = _turned(places, tilt)
        row, loose_down = _lines(down, used.shape[0], radii)
        column, loose_across = _lines(across, used.shape[1], radii)
        if max(loose_down, loose_across) > _LOOSE:
            continue
        index = np.full(used.shape, -1)
        index[row, column] = np.arange(n)
        # Two tubes in one place leave another one empty: then these differ as well.
        if ((index >= 0) != (used > 0)).any():
            continue
        by_number = tuple(index.flat[np.argsort(used, axis=None)][-n:].tolist())
        clearness = 1 - max(loose_down, loose_across)
        if (by_number,) not in found or clearness > found[by_number,].clearness:
            found[by_number,] = Reading((by_number,), float(tilt), clearness)
    readings = _upright(found.values())
    if not readings:
        raise InputError(
            f"the {n} tubes found do not stand in these rows and columns",
            field="grid",
            expected="the rack as the picture shows it, tilted by less than 40°",
            hint="give a tube that stands between two columns a column of its own, or give circles",
        )
    clear = [r for r in readings if r.clearness >= _RIVAL * readings[0].clearness]
    best, *rivals = sorted(clear, key=lambda r: abs(r.tilt))
    if rivals and abs(rivals[0].tilt) - abs(best.tilt) < _LEVELLER:
        raise InputError(
            f"the tubes found stand on this grid tilted by {best.tilt:.0f}° "
            f"and by {rivals[0].tilt:.0f}°",
            field="grid",
            expected="a rack tilted by less than 40°",
            hint="give circles",
        )
    return np.array(best.rows[0], dtype=np.intp)


def _lines(
    at: NDArray[np.float64], n: int, radii: NDArray[np.float64]
) -> tuple[NDArray[np.intp], float]:
    """Which of n lines each place lies on, and how far they spread for the space between them."""
    order = np.argsort(at, kind="stable")
    steps = np.diff(at[order])
    widest = np.argsort(steps)[len(steps) - (n - 1) :]
    parts = np.split(order, np.sort(widest) + 1)
    line = np.empty(len(at), dtype=np.intp)
    for number, part in enumerate(parts):
        line[part] = number
    between = float(np.sort(steps)[len(steps) - (n - 1)]) if n > 1 else 2 * float(radii.min())
    spread = max(float(np.ptp(at[part])) for part in parts)
    return line, spread / between if between > 0 else np.inf
