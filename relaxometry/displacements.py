"""Whether the subject moved between two images, such as before and after an injection."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import GeometryError, InputError
from .geometry import Affine, checked_affine, voxel_size
from .jupyter import Shown
from .matching import SEARCHED_DEG, Match, likeness, match

Array = NDArray[np.float64]

_OBJECT = 0.15  # of the bright end of the image: what is brighter belongs to the object


#: Up to here the regions drawn on one image hold for the other.
STILL_VOXELS = 0.5
_MIRRORED, _ALIKE = 1.25, 0.3  # how much more alike a mirror image must be, and at least


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Displacement(Shown):
    """How far the subject moved from one image to the next, as a rigid body.

    Attributes
    ----------
    shift_mm : ndarray (3,)
        Shift of the middle of the object along the axes x, y and z of the image, mm; NaN for what
        cannot be seen.
    shift_voxels : ndarray (3,)
        The same in voxels.
    rotation_deg : float
        Turn in the plane, from x towards y; NaN if it cannot be seen.
    largest_voxels : float
        The largest displacement of any place of the object, or of the mask, in voxels; what cannot
        be seen counts as none. NaN if nothing can be told.
    uncertainty_voxels : float
        Half the width of the 95 % interval of `largest_voxels`.
    matrix : ndarray (4, 4)
        From a place of the subject in the first image to its place in the second, mm in the scanner
        (RAS); what cannot be seen counts as none. NaN if nothing can be told.
    n : int
        Patches with edges that were matched.
    notes : tuple of str
        What was not seen, and why.
    """

    shift_mm: Array
    shift_voxels: Array
    rotation_deg: float
    largest_voxels: float
    uncertainty_voxels: float
    matrix: Affine
    n: int
    notes: tuple[str, ...] = ()

    @property
    def known(self) -> bool:
        """Whether the images tell a displacement at all."""
        return math.isfinite(self.largest_voxels)

    def beyond(self, limit_voxels: float) -> bool:
        """Whether the displacement is larger than a limit beyond doubt (95 %)."""
        return self.known and self.largest_voxels - self.uncertainty_voxels > limit_voxels

    @property
    def words(self) -> str:
        """The displacement for a report, or why there is none."""
        if not self.known:
            return "whether the subject moved cannot be told: " + "; ".join(self.notes)
        along = [
            f"{axis} {mm:+.2f} mm ({voxels:+.2f} voxels)"
            for axis, mm, voxels in zip("xyz", self.shift_mm, self.shift_voxels, strict=True)
            if math.isfinite(mm)
        ]
        turn = f", turned by {self.rotation_deg:+.1f}°" if math.isfinite(self.rotation_deg) else ""
        return (
            f"shifted along {', '.join(along)}{turn}; at most {self.largest_voxels:.2f} ± "
            f"{self.uncertainty_voxels:.2f} voxels"
        )

    def __repr__(self) -> str:
        return f"Displacement: {self.words}"


def displacement(
    pre: ArrayLike,
    post: ArrayLike,
    affine: ArrayLike,
    *,
    mask: NDArray[np.bool_] | None = None,
) -> Displacement:
    """Did the subject move between two images, whatever became of its contrast?

    Small patches of the one image are compared with those of the other by their correlation, so
    that an organ that goes dark or bright, another receiver gain and a slow bias field count for
    nothing: only where edges lie does. Shift and turn in the plane are sought, and the shift across
    the slices where there are three or more; a tilt out of the plane is not.

    Parameters
    ----------
    pre, post : array_like (x, y) or (x, y, z)
        Magnitude images on one grid. Voxels that are NaN are left out.
    affine : array_like (4, 4)
        Voxel to mm, RAS.
    mask : ndarray of bool, same shape, optional
        The places whose largest displacement counts, such as the regions that are measured;
        default: the object, which is what is brighter than 15 % of the bright end. The motion is
        always that of all edges that show.

    Returns
    -------
    Displacement
        Of NaN, with a note that says why, where the images do not tell.

    Raises
    ------
    InputError
        If an image has no finite voxel, or the mask none at all.
    GeometryError
        If the shapes differ, or the affine cannot be right.

    Notes
    -----
    Coarse: correlation of squared normalised gradients at every shift and every 2° up to 10°
    (orientation correlation; Fitch et al., Proc BMVC 133, 2002). Fine: the greatest sum over
    patches of −½·ln(1 − ρ²), the mutual information of two Gaussians with correlation ρ, noise
    included. The error comes from the scatter between blocks of patches ("sandwich").
    """
    first, second, grid = image_pair(pre, post, affine)
    sizes = np.array(voxel_size(grid))
    places = _places(first, second, mask, np.shape(pre))
    found = match(first, second, float(sizes[0] / sizes[1]))
    if isinstance(found, str):
        unknown = np.full(3, np.nan)
        return Displacement(
            unknown, unknown, math.nan, math.nan, math.nan, np.full((4, 4), np.nan), 0, (found,)
        )
    return _told(found, places, grid, sizes, first.shape)


def mirrored_along(pre: ArrayLike, post: ArrayLike, affine: ArrayLike) -> str:
    """The axis, x or y, along which the image after looks mirrored; "" if along none.

    A conversion that loses the direction of an axis makes a mirror image, which no motion explains,
    and of which the outline of a body tells little. So both mirror images are held against the
    image before as the image itself is, by the orientation of edges at the best shift.
    """
    first, second, grid = image_pair(pre, post, affine)
    aspect = float(np.divide(*voxel_size(grid)[:2]))
    views = {"": second, "x": second[::-1], "y": second[:, ::-1]}
    alike = {axis: likeness(first, view, aspect) for axis, view in views.items()}
    best = max(alike, key=lambda axis: alike[axis])
    return best if alike[best] > max(_MIRRORED * alike[""], _ALIKE) else ""


def check_not_mirrored(pre: ArrayLike, post: ArrayLike, affine: ArrayLike) -> None:
    """Raise `InputError` where the image after looks mirrored."""
    axis = mirrored_along(pre, post, affine)
    if axis:
        raise InputError(
            f"the image after looks mirrored along {axis}",
            expected="images whose axes run alike",
            hint='convert both with one program, or go on as they are with shift = "ignore"',
        )


def check_still(found: Displacement, limit_voxels: float = STILL_VOXELS) -> tuple[str, ...]:
    """Refuse images between which the subject moved; return notes on what could not be told.

    Parameters
    ----------
    found : Displacement
    limit_voxels : float
        Up to here the regions of the one image hold for the other.

    Returns
    -------
    tuple of str
        Empty if the subject lay still and everything was seen.

    Raises
    ------
    InputError
        If the displacement is larger than the limit beyond doubt (its 95 % interval lies above), or
        the limit is not a positive number.
    """
    if not (math.isfinite(limit_voxels) and limit_voxels > 0):
        raise InputError(f"{limit_voxels!r}", field="limit_voxels", expected="a positive number")
    if found.beyond(limit_voxels):
        raise InputError(
            f"the subject moved between the images: {found.words}",
            expected=f"a displacement of at most {limit_voxels:g} voxels",
            hint='register the second image onto the first with shift = "correct", or go on as '
            'they are with shift = "ignore"',
        )
    if not found.known:
        return (found.words,)
    notes = list(found.notes)
    if found.largest_voxels + found.uncertainty_voxels > limit_voxels:
        notes.insert(
            0, f"the subject may have moved by more than {limit_voxels:g} voxels: {found.words}"
        )
    return tuple(notes)


def image_pair(pre: ArrayLike, post: ArrayLike, affine: ArrayLike) -> tuple[Array, Array, Affine]:
    """Both images as (x, y, z), and the affine; refused if they are not on one grid."""
    images = []
    for name, given in (("pre", pre), ("post", post)):
        image = np.asarray(given)
        if image.ndim not in (2, 3) or not image.size or image.dtype.kind not in "biuf":
            raise GeometryError(
                f"an array of {image.dtype} of shape {image.shape}",
                field=name,
                expected="a magnitude image (x, y) or (x, y, z)",
            )
        image = image.astype(float)
        if not np.isfinite(image).any():
            raise InputError("no finite voxel", field=name, expected="a magnitude image")
        images.append(image)
    if images[0].shape != images[1].shape:
        raise GeometryError(
            f"pre of shape {images[0].shape} and post of shape {images[1].shape}",
            expected="images on one grid",
        )
    first, second = (image[..., None] if image.ndim == 2 else image for image in images)
    return first, second, checked_affine(affine)


def _places(
    first: Array, second: Array, mask: NDArray[np.bool_] | None, shape: tuple[int, ...]
) -> Array:
    """(n, 3) voxels of the mask, or of the object, in the first image."""
    from scipy.ndimage import gaussian_filter

    if mask is not None:
        asked = np.asarray(mask)
        if asked.shape != shape:
            raise GeometryError(f"shape {asked.shape}", field="mask", expected=f"{shape}")
        asked = asked.astype(bool).reshape(first.shape)
        if not asked.any():
            raise InputError("no voxel in it", field="mask", expected="the places that count")
        return np.argwhere(asked).astype(float)
    smooth = gaussian_filter(np.where(np.isfinite(first), first, 0), (1, 1, 0))
    bright = smooth > _OBJECT * np.percentile(smooth, 99)
    return np.argwhere(bright if bright.any() else np.ones(first.shape, dtype=bool)).astype(float)


def _told(
    found: Match, places: Array, grid: Affine, sizes: Array, shape: tuple[int, ...]
) -> Displacement:
    notes = []
    if shape[2] < 3:
        notes.append(
            f"a shift across the slices cannot be seen in {shape[2]} of them: 3 are needed"
        )
    elif np.isnan(found.shift[2]):
        notes.append("a shift across the slices cannot be seen: the edges in them run straight on")
    if np.isnan(found.turn):
        notes.append("a turn cannot be seen: what shows is round or lies close together")
    elif abs(np.degrees(found.turn)) > SEARCHED_DEG:
        notes.append(f"turned by more than the {SEARCHED_DEG:g}° that are searched")
    shift = np.nan_to_num(found.shift)
    turn = 0.0 if np.isnan(found.turn) else found.turn
    covariance = np.nan_to_num(found.covariance)
    middle = np.array([(n - 1) / 2 for n in shape])
    c, s = np.cos(turn), np.sin(turn)
    ratio = sizes[0] / sizes[1]
    motion = np.eye(4)  # of voxels
    motion[:2, :2] = [[c, -s / ratio], [s * ratio, c]]
    motion[:3, 3] = middle + shift - motion[:3, :3] @ middle
    centre = places.mean(axis=0)

    def moved(at: Array) -> Array:
        vectors: Array = at @ motion[:3, :3].T + motion[:3, 3] - at
        return vectors

    # The largest is at the rim, in the plane: of many voxels the outermost in some directions do.
    footprint = np.zeros(shape[:2], dtype=bool)
    footprint[tuple(places[:, :2].astype(int).T)] = True
    outline = np.argwhere(footprint).astype(float)
    angles = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    outermost = (outline @ np.stack([np.cos(angles), np.sin(angles)])).argmax(axis=0)
    rim = np.column_stack([outline[outermost], np.full(angles.size, middle[2])])
    vectors = moved(rim)
    lengths = np.linalg.norm(vectors, axis=1)
    furthest = int(lengths.argmax())
    vector, largest = vectors[furthest], float(lengths[furthest])
    # d(displacement)/d(shift, turn) there.
    slope = np.zeros((3, 4))
    slope[:, :3] = np.eye(3)
    x, y = rim[furthest, :2] - middle[:2]
    slope[:2, 3] = [-s * x - c / ratio * y, c * ratio * x - s * y]
    of_place = slope @ covariance @ slope.T
    # Along the displacement; where that is hardly there, in the direction that is least sure.
    along = float(vector @ of_place @ vector) / largest**2 if largest > 0 else 0.0
    most = float(np.linalg.eigvalsh(of_place).max())
    variance = along if largest > 3 * math.sqrt(most) else most
    at_centre = np.where(np.isnan(found.shift), np.nan, moved(centre))
    return Displacement(
        shift_mm=at_centre * sizes,
        shift_voxels=at_centre,
        rotation_deg=float(np.degrees(found.turn)),
        largest_voxels=largest,
        uncertainty_voxels=1.96 * math.sqrt(variance),
        matrix=grid @ motion @ np.linalg.inv(grid),
        n=found.n_patches,
        notes=tuple(notes),
    )
