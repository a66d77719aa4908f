"""Circles in an image: where round tubes are, by their edges, and how far each reaches.

Four steps, each of which knows only the image. *Edges*: crests of the gradient, to a fraction of a
voxel, with their direction. *Candidates*: every edge votes for the centres it could belong to
(Hough transform with gradient direction; Kimme, Ballard & Sklansky, Commun ACM 18:120, 1975), and
each peak is fitted by least squares. *Selection*: the best candidate takes its edges, so that
gaps between tubes, which are made of other tubes' edges, are left with none; a circle must stand
out against what lies around it in nearly every direction; one that holds others is the container.
*Refinement*: centre and radius by a fit of the voxels themselves (tube, dark wall, surroundings).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .rims import measured
from .scene import COARSE, EITHER, FINE, INWARD, LEAST_RADIUS, OUTWARD, SLACK, Circle, Scene

Array = NDArray[np.float64]

_GREATEST_SHARE = 0.5  # of the image's shorter side, the greatest radius sought
_STEP = 1.12  # from one radius of the search to the next
_VOTES = 0.22  # of a full circle's votes make a candidate
_MOST = 600  # peaks that are looked at
# Scores (see `Scene.scored`) of a candidate worth a look, of a tube by itself, and of one that is
# as large as the others.
_WORTH, _CERTAIN, _CONFIRMED = 0.1, 0.3, 0.15
_STANDS_CLEAR = 0.88  # share of the directions, where the edges say little
_LARGER = 0.2  # score that 8 voxels of radius are worth: a gap between tubes is the smaller
_TOUCHING = 2.0  # voxels between circles, with their walls
_LEAST_MEASURED = 2.4  # voxels: a blurred wall is measured short
_OWN = 0.38  # score of the edges that are no other's: too many for a gap
_STRAYS = 0.9  # voxels between an edge that was seen and the radius that fits the voxels
_GHOST_OFF, _GHOST_LEVEL = 1.0, 0.15  # voxels; of the level of what it is a ghost of
_SURE = 0.5  # score of a circle that makes a container of the one around it
_SMALL_SHARE = 0.5  # of the usual radius: what is smaller is no tube of the rack


def find_circles(image: NDArray[Any], dx: float = 1.0, dy: float = 1.0, points: int = 1) -> Array:
    """Round tubes in an image, brighter than air, alone, touching, or in a bath.

    Parameters
    ----------
    image : ndarray (x, y)
        Best the root sum of squares over all echoes.
    dx, dy : float
        Voxel size in mm.
    points : int
        How many images it is the root sum of squares of: air is so much brighter.

    Returns
    -------
    ndarray (tubes, 3)
        x, y of the centre and the inner radius, in mm from the centre of the first voxel.
    """
    picture, step = square_voxels(image, dx, dy)
    tubes = of_one_rack(search(picture, points)[0])
    return step * np.array([one[:3] for one in tubes]).reshape(-1, 3)


def square_voxels(image: NDArray[Any], dx: float, dy: float) -> tuple[Array, float]:
    """An (x, y) image where a voxel is as wide as high, and how many mm that is."""
    from scipy import ndimage

    step = min(dx, dy)
    picture = np.where(np.isfinite(image), image, 0).astype(np.float64)
    if max(dx, dy) > 1.005 * step:
        shape = [round((n - 1) * d / step) + 1 for n, d in zip(image.shape, (dx, dy), strict=True)]
        grid = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
        places = [g * step / d for g, d in zip(grid, (dx, dy), strict=True)]
        picture = ndimage.map_coordinates(picture, places, order=1, mode="nearest")
    return picture, step


def search(image: Array, points: int = 1) -> tuple[list[Circle], list[Circle]]:
    """Tubes of an image whose voxels are square, and the containers around them, in voxels."""
    if min(image.shape) < 2 * LEAST_RADIUS or not np.ptp(image) > 0:
        return [], []
    circles: list[Circle] = []
    around: list[Circle] = []
    for blur in (FINE, COARSE):  # noise hides a faint tube from a fine gradient
        scene = Scene.of(image, points, blur)
        if not len(scene.places):
            continue
        found = [
            one
            for sign in (INWARD, OUTWARD)
            for one in _candidates(scene, sign, _radii(scene), circles)
            if scene.is_tube(one) and (blur == FINE or sign == INWARD or one.score >= _SURE)
        ]
        found = [one for one in found if not _is_gap(one, found)]
        taken, containers = _without_containers(_explained(scene, found, circles))
        chosen = _apart(taken)
        circles += [measured(scene, one, [*circles, *chosen]) for one in chosen]
        circles = _completed(scene, circles, found)
        around += containers
    around = [measured(scene, one, []) for one in around]
    scene = Scene.of(image, points)
    circles = [one for one in circles if one.radius > _LEAST_MEASURED]
    circles = [one for one in circles if not _is_ghost(scene, one, circles)]
    circles = [
        one
        for one in circles
        if not _is_bath(scene, one, circles, one.score >= _SURE and one.sign != EITHER)
    ]
    return circles, around


# --- candidates and their choice ----------------------------------------------------------------


def _radii(scene: Scene, least: float = LEAST_RADIUS - SLACK, most: float = np.inf) -> list[float]:
    """Radii of the search, in voxels; an outer wall is further out than the tube."""
    most = min(most, _GREATEST_SHARE * min(scene.image.shape))
    radii = [least]
    while radii[-1] < most:
        radii.append(max(_STEP * radii[-1], radii[-1] + 0.7))
    return radii


def _candidates(
    scene: Scene, sign: int, radii: Sequence[float], circles: Sequence[Circle]
) -> list[Circle]:
    """Fitted circles that the edges vote for beside those known, those with most votes first."""
    peaks = [peak for radius in radii for peak in _peaks(scene, sign, radius)]
    found: list[Circle] = []
    known = np.empty((0, 3))
    for _, x, y, radius in sorted(peaks, reverse=True)[:_MOST]:
        peak = Circle(x, y, radius, sign)
        if _same(known, peak[:3], 0.15, 0.5) or any(_overlap(peak, c, 2.0) for c in circles):
            continue
        circle = scene.fitted(peak)
        if circle is None or any(_overlap(circle, other) for other in circles):
            continue
        shown = all(0 <= c < n for c, n in zip(circle[:2], scene.image.shape, strict=True))
        if not shown or not radii[0] - 0.3 < circle.radius < 1.15 * radii[-1]:
            continue
        if _same(known, circle[:3], 0.1, 0.4):
            continue
        circle = scene.scored(circle)
        if circle.score >= _WORTH:
            found.append(circle._replace(rim=circle.radius))
            known = np.vstack([known, circle[:3]])
    return found


def _peaks(scene: Scene, sign: int, radius: float) -> list[tuple[float, float, float, float]]:
    """(votes as a share of a full circle, x, y, radius) of the local maxima."""
    from scipy import ndimage

    # A far vote is a vague one: counted in wider bins.
    width = max(1.0, radius / 12)
    shape = tuple(int(n / width) + 1 for n in scene.image.shape)
    votes = np.zeros(shape)
    for one in (sign,) if sign else (INWARD, OUTWARD):
        centres = np.rint((scene.places + one * radius * scene.directions) / width).astype(int)
        inside = ((centres >= 0) & (centres < shape)).all(axis=1)
        counted = np.bincount(
            centres[inside, 0] * shape[1] + centres[inside, 1], minlength=votes.size
        )
        votes += counted.reshape(shape)
    spread = (0.8 + 0.06 * radius) / width
    votes = ndimage.gaussian_filter(votes, spread, truncate=3.0) * spread**2 / radius
    top = (votes == ndimage.maximum_filter(votes, size=3)) & (votes > _VOTES)
    return [(votes[i, j], i * width, j * width, radius) for i, j in np.argwhere(top)]


def _explained(scene: Scene, candidates: list[Circle], known: list[Circle]) -> list[Circle]:
    """The best candidate takes its edges, then the best of what is left, and so on."""
    free = _unclaimed(scene, known)
    waiting = sorted(candidates, key=_order)
    taken = []
    while waiting:
        one = waiting.pop(0)
        now = scene.scored(one, free)
        if now.score < _CERTAIN:
            continue
        if waiting and now.score < one.score - 1e-9 and _order(waiting[0]) < _order(now):
            place = next(
                (i for i, o in enumerate(waiting) if _order(o) > _order(now)), len(waiting)
            )
            waiting.insert(place, now)
            continue
        taken.append(now)
        mine, _, _ = scene.belonging(now, max(0.9, 0.08 * now.radius))
        free[mine] = False
    return taken


def _completed(scene: Scene, circles: list[Circle], candidates: list[Circle]) -> list[Circle]:
    """With the tubes that hide among their neighbours: their radius is known by now.

    A dark tube that touches bright ones has edges of both kinds, and too few that are its own.
    """
    if len(circles) < 3:
        return circles
    sizes = np.array([one.radius for one in circles])
    reach = _radii(scene, 0.85 * sizes.min(), 1.15 * sizes.max() + 1)
    mixed = _candidates(scene, EITHER, reach, circles)
    free = _unclaimed(scene, circles)
    for one in sorted([*candidates, *mixed], key=_order):
        if any(_overlap(one, other) for other in circles):
            continue
        if not scene.is_tube(one):
            continue
        true = measured(scene, one, circles)
        if scene.scored(one, free).score < _CONFIRMED and not _packed(true, circles):
            continue
        if _is_bath(scene, true, circles):
            continue
        fits = np.abs(sizes - true.radius).min() < 0.1 * true.radius + 0.3
        if not fits or any(_overlap(true, other, 0.8) for other in circles):
            continue
        if scene.has_signal(true) and scene.standing_out(true) >= _STANDS_CLEAR:
            circles = [*circles, true]
            _claim(scene, true, free)
    return circles


def _unclaimed(scene: Scene, circles: list[Circle]) -> NDArray[np.bool_]:
    """Which edges belong to none of these tubes, nor to their walls."""
    free = np.ones(len(scene.places), dtype=bool)
    for one in circles:
        _claim(scene, one, free)
    return free


def _claim(scene: Scene, circle: Circle, free: NDArray[np.bool_]) -> None:
    """Take from the free edges those of a tube and of its wall."""
    wide = circle._replace(sign=EITHER, radius=circle.radius + 0.7)
    free[scene.belonging(wide, 1.9)[0]] = False


# --- circles among circles -----------------------------------------------------------------------


def _order(circle: Circle) -> float:
    """Best first; of two alike the larger, whose edges are more."""
    return -(circle.score + _LARGER * min(circle.radius, 8) / 8)


def _same(known: Array, circle: Sequence[float], share: float, voxels: float) -> bool:
    if not len(known):
        return False
    apart = np.hypot(known[:, 0] - circle[0], known[:, 1] - circle[1])
    close = apart < share * known[:, 2] + voxels
    alike = np.abs(known[:, 2] - circle[2]) < 0.06 * known[:, 2] + 0.3
    return bool((close & alike).any())


def _overlap(a: Circle, b: Circle, allowed: float | None = None) -> bool:
    """Whether two circles share more than a rim."""
    rim = max(1.2, 0.2 * min(a.radius, b.radius)) if allowed is None else allowed
    return bool(np.hypot(a.x - b.x, a.y - b.y) <= a.radius + b.radius - rim)


def _without_containers(circles: list[Circle]) -> tuple[list[Circle], list[Circle]]:
    """Tubes, and the circles that hold them; what is doubtful makes no container of a tube."""
    sure = [one for one in circles if one.score >= _SURE]
    around = [
        one for one in circles if one.sign == INWARD and any(holds(one, other) for other in sure)
    ]
    doubtful = [
        one
        for one in circles
        if one.score < _SURE and any(holds(other, one) and other not in around for other in circles)
    ]
    return [one for one in circles if one not in around and one not in doubtful], around


def holds(a: Circle, b: Circle) -> bool:
    """Whether b lies within a, with room around it."""
    smaller = b.radius < min(0.8 * a.radius, a.radius - 2.5)
    return bool(smaller and np.hypot(a.x - b.x, a.y - b.y) + b.radius < a.radius + 0.5)


def _is_gap(circle: Circle, others: list[Circle]) -> bool:
    """Whether a circle just fills the space between three or more larger ones."""
    around: list[Circle] = []
    for one in others:
        apart = np.hypot(one.x - circle.x, one.y - circle.y)
        touching = abs(apart - one.radius - circle.radius) < _TOUCHING
        larger = one.radius > 1.5 * circle.radius
        if touching and larger and not any(_overlap(one, other) for other in around):
            around.append(one)
    return len(around) >= 3


def _is_ghost(scene: Scene, circle: Circle, circles: list[Circle]) -> bool:
    """Whether a circle is hardly brighter than air and has few edges.

    Or it is a far brighter one's image half the field of view away, as where odd and even lines of
    k-space differ.
    """
    if scene.is_faint(circle) and circle.score < _SURE:
        return True
    level = scene.level(circle)
    for one in circles:
        aside = [abs(one.x - circle.x), abs(one.y - circle.y)]
        for axis, half in enumerate(n / 2 for n in scene.image.shape):
            if abs(aside[axis] - half) < _GHOST_OFF and aside[1 - axis] < _GHOST_OFF:
                alike = abs(one.radius - circle.radius) < _GHOST_OFF
                if alike and level < _GHOST_LEVEL * scene.level(one):
                    return True
    return False


def _is_bath(scene: Scene, circle: Circle, circles: list[Circle], trusted: bool = False) -> bool:
    """Whether a circle is what tubes leave over of the water around them.

    Of a trusted one only if neither its edges nor its reach are its own.
    """
    others = [one for one in circles if one is not circle]
    own = scene.scored(circle._replace(radius=circle.rim), _unclaimed(scene, others)).score
    if own < _CONFIRMED and circle.sign == INWARD and circle.radius - circle.rim > _STRAYS:
        return True
    if trusted:
        return False
    if own < _CONFIRMED and scene.is_like_bath(circle, others):
        return True
    return own < _OWN and scene.is_open(circle, others)


def _packed(circle: Circle, others: list[Circle]) -> bool:
    """Whether three others or more, no larger, touch a circle: their edges are its own."""
    touching = [
        one
        for one in others
        if one is not circle
        and np.hypot(one.x - circle.x, one.y - circle.y) - one.radius - circle.radius < _TOUCHING
    ]
    return len(touching) >= 3 and circle.radius > 0.9 * np.median([o.radius for o in touching])


def of_one_rack(circles: list[Circle]) -> list[Circle]:
    """Without what is far smaller than most: wells, ports, fiducials."""
    if not circles:
        return []
    usual = float(np.median([one.radius for one in circles]))
    return [one for one in circles if one.radius > _SMALL_SHARE * usual]


def _apart(circles: list[Circle]) -> list[Circle]:
    """Of circles that overlap, the best; an inner edge rather than the outer wall around it."""
    kept: list[Circle] = []
    for one in sorted(circles, key=lambda c: -(c.score + 0.1 * (c.sign == INWARD))):
        if not any(_overlap(one, other) for other in kept):
            kept.append(one)
    return kept
