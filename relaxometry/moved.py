"""Whether the tubes lie in a series where they were placed, and what is done if they do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .elsewhere import elsewhere
from .errors import GeometryError
from .geometry import Affine, voxel_size
from .series import Series
from .silhouette import SEARCHED_MM
from .walls import (
    Motion,
    Walls,
    fingerprints,
    frame_of,
    in_words,
    motion_of,
    see_walls,
)

#: A phantom that was nudged is followed; one that was taken out and put back is another scan.
MOST_MM, MOST_TURN_DEG = 3.0, 3.0
#: Of a voxel: a smaller shift is not followed, it changes nothing and may be noise.
LEAST_VOXELS = 0.25
_SURE = 3.0  # standard errors


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """How tubes lie in a series.

    Attributes
    ----------
    motion : ndarray (4, 4)
        From where they were placed to where they are, mm in the scanner; the identity if they have
        not moved, or nobody can say.
    walls : Walls or None
        Their walls there.
    shift_mm : ndarray (3,) or None
        Of their middle, mm in the scanner; None where it could not be judged or was not asked.
    notes : tuple of str
    """

    motion: Affine
    walls: Walls | None
    shift_mm: NDArray[np.float64] | None
    notes: tuple[str, ...]


def walls_of(
    series: Series,
    labels: NDArray[np.int32],
    affine: Affine,
    numbers: Sequence[int],
    circles: NDArray[np.float64] | None,
    margin_mm: float,
) -> Walls:
    """Where the walls of tubes are seen in the series on which they were placed.

    Parameters
    ----------
    series : Series
    labels, affine, numbers, circles, margin_mm
        As in :class:`relaxometry.Tubes`. A circle with a margin is taken for the wall; without one,
        and where labels were given, the first wall around the region is.
    """
    sizes = np.array(voxel_size(affine))
    x, y, z = (at * size for at, size in zip(np.nonzero(labels), sizes, strict=True))
    _, tube = np.unique(labels[labels > 0], return_inverse=True)
    n = np.bincount(tube)
    slices = [len(np.unique(z[tube == i])) for i in range(len(n))]
    radius = np.sqrt(n / slices * sizes[0] * sizes[1] / np.pi)
    drawn = np.column_stack([np.bincount(tube, x) / n, np.bincount(tube, y) / n, radius])
    drawn = drawn[np.argsort(np.argsort(numbers))]  # in the order of the sheet
    return see_walls(
        series.root_sum_of_squares(),
        series.affine,
        frame_of(affine),
        (float(z.min()), float(z.max())),
        drawn if circles is None else circles,
        drawn[:, 2],
        margin_mm,
        fingerprints(series.signal),
    )


def placement(
    walls: Walls | None,
    series: Series,
    numbers: Sequence[int],
    excluded: Sequence[bool],
    shift: str = "correct",
) -> Placement:
    """Where the tubes lie in a series.

    Parameters
    ----------
    walls : Walls or None
        Where they were seen.
    series : Series
    numbers : sequence of int
        Of the tubes.
    excluded : sequence of bool
        Which of them the sheet excludes: where such a one has moved alone, that is a note.
    shift : {"correct", "refuse", "ignore"}
        Whether tubes that have moved by up to 3 mm and 3° are followed, refused, or not looked for.

    Raises
    ------
    GeometryError
        If the tubes have moved too far, or one against the others.
    """
    still: Affine = np.eye(4)
    if walls is None:
        note = "not checked whether the phantom moved: labels alone do not show where it was"
        return Placement(still, None, None, (note,) * (shift != "ignore"))
    images = fingerprints(series.signal)
    here = walls.moved(still, walls.images | images)
    if shift == "ignore" or walls.of(series.signal):
        return Placement(still, here, None, ())
    image = series.root_sum_of_squares()
    motion = motion_of(walls, image, series.affine)
    if motion is None or motion.unseen.any():
        found = elsewhere(walls, image, series.affine, motion)
        if found.shift is not None:
            raise _moved_too_far(in_words(found.shift), walls)
        if motion is not None:
            alone = np.where(motion.unseen, found.alone, motion.left_over)
            alias = motion.alias if np.isnan(found.alias) else found.alias
            motion = replace(motion, left_over=alone, alias=alias)
    if motion is None:
        note = "not checked whether the phantom moved: the walls of the tubes do not show"
        return Placement(still, here, None, (note,))
    words = in_words(motion.shift, motion.turn)
    distance = float(np.hypot(*motion.shift))
    if distance > MOST_MM or abs(np.degrees(motion.turn)) > MOST_TURN_DEG:
        raise _moved_too_far("more than " * (distance > 0.95 * SEARCHED_MM) + words, walls)
    notes = _alone(motion, walls, numbers, excluded)
    if motion.axis is not None:
        notes.append("whether the phantom moved shows in one direction only in this orientation")
    if not np.isnan(motion.alias):
        notes.append(
            f"a shift by {motion.alias:.0f} mm more would look the same: the tubes that show are "
            "part of a regular rack"
        )
    reach = max(LEAST_VOXELS * motion.voxel, _SURE * motion.stderr)
    if distance <= reach and not motion.turn:
        return Placement(still, here, np.zeros(3), (*notes,))
    if shift == "refuse":
        raise GeometryError(
            f"the tubes lie {words} from where they lie in {walls.seen_in}: the phantom was moved",
            expected='no shift, as shift = "refuse" asks',
            hint='let the regions follow with shift = "correct"',
        )
    notes.insert(0, f"tubes moved by {words} against {walls.seen_in}; regions follow")
    matrix = motion.matrix(walls.frame)
    shift_mm = walls.frame[:3, :2] @ motion.shift
    return Placement(matrix, walls.moved(matrix, images), shift_mm, tuple(notes))


def _moved_too_far(words: str, walls: Walls) -> GeometryError:
    return GeometryError(
        f"the tubes lie {words} from where they lie in {walls.seen_in}: the phantom was moved",
        expected=f"a shift of at most {MOST_MM:g} mm and a turn of at most {MOST_TURN_DEG:g}°",
        hint="scan again in one position, or draw the tubes on each series",
    )


def _alone(
    motion: Motion, walls: Walls, numbers: Sequence[int], excluded: Sequence[bool]
) -> list[str]:
    """Notes of tubes that left the others by more than the region keeps from the wall, or are gone.

    Raises where such a tube is not excluded.
    """
    notes = []
    room = np.maximum(walls.room, motion.voxel)
    for i in map(int, np.flatnonzero(motion.left_over > room)):
        what = f"tube {numbers[i]} has moved by {motion.left_over[i]:.1f} mm against the others"
        if not excluded[i]:
            raise GeometryError(
                f"{what}: its region would be half outside",
                expected=f"tubes that moved together, to {room[i]:.1f} mm",
                hint="exclude the tube in the sheet, or draw the tubes on each series",
            )
        notes.append(what)
    gone = motion.unseen & np.isnan(motion.left_over) & ~np.array(excluded)
    if gone.any():
        tubes = _listed([numbers[i] for i in np.flatnonzero(gone).tolist()])
        notes.append(f"{tubes}: no wall shows in its place, so whether it is there was not checked")
    return notes


def _listed(numbers: Sequence[int]) -> str:
    """``tube 3``, ``tubes 3, 7``."""
    return f"tube{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}"


def moved_circles(
    circles: NDArray[np.float64], affine: Affine, motion: Affine
) -> NDArray[np.float64]:
    """Circles (tubes, 3) in the plane of a grid after a motion in that plane."""
    frame = frame_of(affine)
    places = np.column_stack([circles[:, :2], np.zeros(len(circles)), np.ones(len(circles))])
    there = places @ (np.linalg.inv(frame) @ motion @ frame).T
    return np.column_stack([there[:, :2], circles[:, 2]])
