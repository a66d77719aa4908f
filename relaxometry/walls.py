"""Where the walls of tubes are seen in an image, and how far the tubes have moved since.

A phantom that was moved between two scans moves all its tubes alike, whatever their contrast. So
the walls around the tubes are sought in both images, and a rigid motion is fitted to the centres.
Walls run along the normal of the slices on which the tubes were placed; along them a motion cannot
be seen, and does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from .geometry import Affine, voxel_size
from .silhouette import MATCHED, SEARCHED_MM, Circle, Silhouette

Array = NDArray[np.float64]

#: Of a full match: below, a tube alone accuses nobody of having moved.
SURELY_MATCHED = 0.6
#: What may be done about tubes that have moved a little.
SHIFTS = ("correct", "refuse", "ignore")
# Of the way to the wall: a region that reaches no further lies deep inside, even where the wall
# that is seen is the outer one of a bottle.
_DEEP = 0.6
_FAR = 30.0  # radii, each way, to which tubes are looked for that are not where they should be
_COARSE = 0.25  # of a radius: the pixels for that


@dataclass(frozen=True, slots=True, eq=False)
class Walls:
    """Walls of tubes as seen in the image they were placed on.

    Attributes
    ----------
    centres : ndarray (tubes, 2)
        mm along a row and down a column; NaN where no round wall is seen.
    radii : ndarray (tubes,)
        mm.
    room : ndarray (tubes,)
        How far the region of each tube keeps from its wall, mm.
    frame : ndarray (4, 4)
        mm along a row, down a column and through the slices → mm in the scanner.
    slab : (float, float)
        First and last slice that holds a tube, mm along the normal.
    images : frozenset of int
        Fingerprints of the images they were seen in.
    seen_in : str
        What messages call the series.
    view : Silhouette or None
        What that series shows all around: a place that looked like a tube even then is no tube
        that has moved there.
    """

    centres: Array
    radii: Array
    room: Array
    frame: Affine
    slab: tuple[float, float]
    images: frozenset[int]
    seen_in: str = "the series they were placed on"
    view: Silhouette | None = None

    @property
    def seen(self) -> NDArray[np.bool_]:
        """(tubes,)."""
        return np.isfinite(self.radii)

    def around_deep_regions(self) -> Array:
        """(tubes, 3) x, y, radius in mm of the walls whose region lies deep inside; else NaN."""
        deep = self.room >= (1 - _DEEP) * self.radii
        return np.where(deep[:, None], np.column_stack([self.centres, self.radii]), np.nan)

    def of(self, signal: NDArray[np.float32]) -> bool:
        """Whether they were seen in this series, or in one that images were left out of."""
        here = fingerprints(signal)
        if not self.images and not here:  # nothing in either
            return True
        return 2 * len(self.images & here) >= max(min(len(self.images), len(here)), 1)

    def moved(self, motion: Affine, images: frozenset[int]) -> Walls:
        """The same walls after a motion (mm in the scanner), as seen in other images."""
        return replace(self, frame=motion @ self.frame, images=images)


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """How the tubes lie in another image, against where they were seen.

    Attributes
    ----------
    shift : ndarray (2,)
        mm along a row and down a column, of the middle of the tubes.
    turn : float
        Angle in the plane, rad, from x to y.
    middle : ndarray (2,)
        What it turns about.
    stderr : float
        Standard error of the shift, mm.
    voxel : float
        Larger of the voxels compared, mm across the tubes.
    tubes : int
        Number of tubes it was measured on.
    left_over : ndarray (tubes,)
        How far each tube lies from where this motion puts it, less 3 standard errors; NaN where it
        is not seen.
    axis : ndarray (2,) or None
        The only direction in which it could be measured; None if it was in both.
    alias : float
        Distance in mm of another place that matches as well; NaN if there is none.
    unseen : ndarray of bool (tubes,)
        Whose wall was seen, and does not show where this motion puts it, though that is in view.
    """

    shift: Array
    turn: float
    middle: Array
    stderr: float
    voxel: float
    tubes: int
    left_over: Array
    axis: Array | None
    alias: float
    unseen: NDArray[np.bool_]

    def matrix(self, frame: Affine) -> Affine:
        """(4, 4) motion in the scanner, mm."""
        cos, sin = np.cos(self.turn), np.sin(self.turn)
        plane = np.eye(4)
        plane[:2, :2] = [[cos, -sin], [sin, cos]]
        plane[:2, 3] = self.middle + self.shift - plane[:2, :2] @ self.middle
        matrix: Affine = frame @ plane @ np.linalg.inv(frame)
        return matrix


def frame_of(affine: Affine) -> Affine:
    """(4, 4): mm along a row, down a column, through the slices → scanner, from the first voxel."""
    frame = np.array(affine, dtype=np.float64)
    frame[:3, :3] /= np.array(voxel_size(affine))
    return frame


def fingerprints(signal: NDArray[np.float32]) -> frozenset[int]:
    """One number for each image of a series (x, y, z, n): an image left out leaves the others.

    Empty images are alike in all series, and have none.
    """
    x, y, z, _ = signal.shape
    some = signal[:: -(-x // 64), :: -(-y // 64), :: -(-z // 16)]
    images = (some[..., i] for i in range(some.shape[-1]))
    return frozenset(crc32(image.tobytes()) for image in images if np.ptp(image) > 0)


def see_walls(
    image: NDArray[np.float32],
    affine: Affine,
    frame: Affine,
    slab: tuple[float, float],
    circles: Array,
    regions: Array,
    margin_mm: float,
    images: frozenset[int],
) -> Walls:
    """Look for the round wall of each tube.

    Parameters
    ----------
    image : ndarray (x, y, z)
        Root sum of squares of the series on which the tubes were placed.
    affine : ndarray (4, 4)
        Of the image.
    frame, slab
        As in :class:`Walls`.
    circles : ndarray (tubes, 3)
        x, y, radius in mm: the walls, or circles somewhere inside them.
    regions : ndarray (tubes,)
        Radius in mm of a disc as large as what is measured of each tube.
    margin_mm : float
        How far the regions keep from the circles; 0 where the circles are no walls, and the first
        wall further out is sought.
    images : frozenset of int
        Fingerprints of the series.
    """
    # A wall may lie as far out as four radii of a circle that is none.
    around = 3 * float(circles[:, 2].max()) if margin_mm == 0 else 0.0
    silhouette = Silhouette.of(image, affine, frame, slab, circles, around)
    centres, radii = np.full((len(circles), 2), np.nan), np.full(len(circles), np.nan)
    if silhouette is not None and silhouette.axis is None:
        for i, (x, y, radius) in enumerate(circles):
            others = np.delete(circles, i, axis=0)
            gap = np.hypot(others[:, 0] - x, others[:, 1] - y).min(initial=np.inf)
            start = silhouette.radius_around((x, y), radius, gap) if margin_mm == 0 else radius
            if start is not None:
                found = silhouette.circle(np.array([x, y]), start)
                if found is None or abs(found.radius - start) > 0.5 * start:
                    continue
                # Not the wall of another: around the region, or where the circle says.
                off = float(np.hypot(*(found.centre - (x, y))))
                most = found.radius - 0.8 * regions[i] if margin_mm == 0 else 0.25 * radius
                if off <= max(most, silhouette.step):
                    centres[i], radii[i] = found.centre, found.radius
    off = np.hypot(*(centres - circles[:, :2]).T) if margin_mm == 0 else 0.0
    room = np.maximum(radii - regions - off, margin_mm)
    walls = Walls(centres, radii, room, frame, slab, images)
    if not walls.seen.any():
        return walls
    shown = np.column_stack([centres, radii])[walls.seen]
    return replace(walls, view=view_of(image, affine, frame, slab, shown)[0])


def view_of(
    image: NDArray[np.float32],
    affine: Affine,
    frame: Affine,
    slab: tuple[float, float],
    circles: Array,
) -> tuple[Silhouette | None, float]:
    """A coarse silhouette of all that may hold tubes, and how far it reaches around them, mm."""
    extent = np.abs(np.linalg.inv(frame)[:2, :3] @ affine[:3, :3]) @ image.shape
    radius = float(np.median(circles[:, 2]))
    reach = min(float(extent.max()), _FAR * radius)
    return Silhouette.of(image, affine, frame, slab, circles, reach, _COARSE * radius), reach


def motion_of(walls: Walls, image: NDArray[np.float32], affine: Affine) -> Motion | None:
    """Where the tubes lie in another image; None if it does not show enough of them to say.

    Parameters
    ----------
    walls : Walls
    image : ndarray (x, y, z)
        Root sum of squares of the other series.
    affine : ndarray (4, 4)
        Of the other series.
    """
    seen = np.flatnonzero(walls.seen)
    if not seen.size:
        return None
    circles = np.column_stack([walls.centres, walls.radii])[seen]
    silhouette = Silhouette.of(image, affine, walls.frame, walls.slab, circles, SEARCHED_MM)
    if silhouette is None:
        return None
    found = silhouette.place(circles)
    if found is None:
        return None
    start, matched, alias = found
    points: list[Circle | None] = [
        silhouette.circle(circle[:2] + start, float(circle[2])) if match > MATCHED else None
        for circle, match in zip(circles, matched, strict=True)
    ]
    usable = np.array(
        [
            p is not None and abs(p.radius - r) < max(0.25 * r, 2 * silhouette.step)
            for p, r in zip(points, circles[:, 2], strict=True)
        ]
    )
    if usable.sum() < max(1, len(seen) / 3):
        return None
    good = [p for p, use in zip(points, usable, strict=True) if use and p is not None]
    was = circles[usable, :2]
    moves = np.array([p.centre for p in good]) - was
    errors = np.array([p.stderr for p in good])
    if silhouette.axis is not None:
        moves = np.outer(moves @ silhouette.axis, silhouette.axis)
    middle = was.mean(axis=0)
    shift, turn, left, stderr = _rigid(was - middle, moves, errors, silhouette.axis is None)
    left_over = np.full(len(walls.radii), np.nan)
    sure = np.array(matched)[usable] > SURELY_MATCHED
    apart = np.hypot(*left.T) - 3 * np.hypot(errors, stderr)
    left_over[seen[usable]] = np.where(sure, apart, np.nan)
    unseen = np.zeros(len(walls.radii), dtype=bool)
    unseen[seen] = ~usable & (matched <= SURELY_MATCHED)
    # It may be another's wall: too faint to say that it moved, too far off to say that it did not.
    doubtful = ~sure & (apart > np.maximum(walls.room[seen[usable]], silhouette.voxel))
    unseen[seen[usable]] = doubtful
    return Motion(
        shift,
        turn,
        middle,
        stderr,
        silhouette.voxel,
        len(good),
        left_over,
        silhouette.axis,
        alias,
        unseen,
    )


def _rigid(
    arms: Array, moves: Array, errors: Array, both: bool
) -> tuple[Array, float, Array, float]:
    """Shift, turn, what is left (n, 2) and standard error of the shift: medians, then weights."""
    shift, turn = _middle(moves, errors), 0.0
    n = len(moves)
    lever = float(np.sqrt((arms**2).sum(axis=1).mean()))
    left = moves - shift
    if both and n >= 4 and lever > 0:
        rows = np.zeros((n, 2, 3))
        rows[:, 0, 0] = rows[:, 1, 1] = 1
        rows[:, 0, 2], rows[:, 1, 2] = -arms[:, 1], arms[:, 0]
        for _ in range(10):
            distance = np.hypot(*left.T)
            scale = np.maximum(1.5 * float(np.median(distance)), errors)
            W = np.repeat(1 / ((1 + (distance / (2 * scale)) ** 2) * scale), 2)
            answer = np.linalg.lstsq(rows.reshape(-1, 3) * W[:, None], moves.ravel() * W)[0]
            left = moves - rows @ answer
            shift, turn = answer[:2], float(answer[2])
    spread = 1.4826 * float(np.median(np.abs(left))) if n > 2 else 0.0
    stderr = 1.25 * max(spread, float(np.median(errors))) / np.sqrt(n)
    # A turn that hardly moves the outer tubes is noise.
    if abs(turn) * lever < max(3 * stderr, 1e-9):
        shift, turn = _middle(moves, errors), 0.0
        left = moves - shift
    return shift, turn, left, stderr


def _middle(moves: Array, errors: Array) -> Array:
    """Median (2,) of moves (n, 2), each counted by how well it is known."""
    weight = 1 / np.maximum(errors, np.median(errors)) ** 2
    order = np.argsort(moves, axis=0)
    share = np.cumsum(weight[order], axis=0) - weight[order] / 2
    middle: Array = np.array(
        [
            np.interp(weight.sum() / 2, share[:, i], np.sort(moves[:, i]))
            for i in range(moves.shape[1])
        ]
    )
    return middle


def in_words(shift: Array, turn: float = 0.0) -> str:
    """A motion in words: ``2.0 mm (x +1.4, y −1.4)``."""
    x, y = (f"{v:+.1f}".replace("-", "−") for v in shift)
    turned = f", turned by {abs(np.degrees(turn)):.1f}°" if turn else ""
    return f"{np.hypot(*shift):.1f} mm (x {x}, y {y}){turned}"
