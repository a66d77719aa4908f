"""Rigid registration of an image after onto one before.

By the edges that both show; or by the mutual information of the whole images, by SimpleITK (extra
``register``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .displacements import STILL_VOXELS, Displacement, displacement, image_pair
from .errors import GeometryError, InputError
from .geometry import Affine, voxel_size
from .jupyter import Shown

Array = NDArray[np.float64]
Interpolation = Literal["linear", "bspline"]
Method = Literal["edges", "mattes"]

_BINS = 32
_SMOOTH, _WIDE = 1.0, 0.1  # SD in voxels of the plane, and as a share of it
_ISOTROPIC, _DEEP = 2.0, 16  # thickness over edge, and slices, from which a tilt can be seen
_GONE = 0.01  # share of a voxel without data that makes the looked-up value none
_OVER = 0.25  # of a voxel: as far beyond the last one its value holds


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Registered(Shown):
    """An image put where another one's subject lies.

    Attributes
    ----------
    image : ndarray
        The second image on the grid and in the place of the first, of its shape; NaN where no data
        reach.
    matrix : ndarray (4, 4)
        From a place of the subject in the first image to its place in the second, mm in the scanner
        (RAS).
    shift_mm : ndarray (3,)
        Of the middle of the grid by `matrix`, along the axes x, y and z of the image.
    rotation_deg : ndarray (3,)
        About the axes x, y and z of the image; the last is the turn in the plane.
    before, left : Displacement
        Before registration, and what is left after it.
    method : {"edges", "mattes"}
    interpolation : {"bspline", "linear"}
    affine : ndarray (4, 4)
        Of the grid.
    notes : tuple of str
    """

    image: Array
    matrix: Affine
    shift_mm: Array
    rotation_deg: Array
    before: Displacement
    left: Displacement
    method: Method
    interpolation: Interpolation
    affine: Affine
    notes: tuple[str, ...] = ()

    def apply(self, image: ArrayLike) -> Array:
        """Another image of the second session, moved alike: another echo, a map.

        Raises
        ------
        GeometryError
            If its shape is not that of the registered one.
        """
        given = np.asarray(image, dtype=float)
        if given.shape != self.image.shape:
            raise GeometryError(
                f"shape {given.shape}", field="image", expected=f"{self.image.shape}"
            )
        volume = given[..., None] if given.ndim == 2 else given
        motion = np.linalg.inv(self.affine) @ self.matrix @ self.affine
        return _resampled(volume, motion, self.interpolation).reshape(given.shape)

    @property
    def words(self) -> str:
        """What was done, for a report."""
        moved = ", ".join(
            f"{axis} {mm:+.2f} mm" for axis, mm in zip("xyz", self.shift_mm, strict=True)
        )
        left = (
            f"{self.left.largest_voxels:.2f} ± {self.left.uncertainty_voxels:.2f} voxels are left"
            if self.left.known
            else "what is left cannot be told"
        )
        return f"registered by {moved} and a turn of {self.rotation_deg[2]:+.1f}°; {left}"

    def __repr__(self) -> str:
        return f"Registered: {self.words}"


def register(
    pre: ArrayLike,
    post: ArrayLike,
    affine: ArrayLike,
    *,
    mask: NDArray[np.bool_] | None = None,
    method: Method = "edges",
    interpolation: Interpolation = "bspline",
) -> Registered:
    """Put the image after an injection where the subject lay before it.

    Shift and turn in the plane, and with three slices or more the shift across them. The same
    images give the same result to the last bit: every voxel is used, on one thread.

    Parameters
    ----------
    pre, post : array_like (x, y) or (x, y, z)
        Magnitude images on one grid.
    affine : array_like (4, 4)
        Voxel to mm, RAS.
    mask : ndarray of bool, same shape, optional
        The places that count for what is left; see :func:`relaxometry.displacement`.
    method : {"edges", "mattes"}
        ``edges``: by what :func:`relaxometry.displacement` finds, the more exact. ``mattes``: from
        there to the greatest mutual information of the whole images by SimpleITK, after a slow
        bias is divided out; a second opinion, and with 16 slices or more of nearly cubic voxels
        the tilts too. Needs ``pip install "relaxometry[register]"``.
    interpolation : {"bspline", "linear"}
        ``bspline`` (cubic) keeps edges and most of the noise, and may swing over at edges;
        ``linear`` never does, and smooths.

    Returns
    -------
    Registered

    Raises
    ------
    InputError
        If the images show nothing to register by, or SimpleITK is asked for and not installed.
    GeometryError
        If the shapes differ, or the affine cannot be right.

    Notes
    -----
    Mattes, Haynor, Vesselle, Lewellen & Eubank, IEEE Trans Med Imaging 22:120 (2003), as built into
    SimpleITK (Lowekamp et al., Front Neuroinform 7:45, 2013).
    """
    if interpolation not in ("bspline", "linear"):
        raise InputError(f"{interpolation!r}", field="interpolation", expected="bspline or linear")
    if method not in ("edges", "mattes"):
        raise InputError(f"{method!r}", field="method", expected="edges or mattes")
    library = _library() if method == "mattes" else None
    first, second, grid = image_pair(pre, post, affine)
    before = displacement(pre, post, affine, mask=mask)
    if not before.known:
        raise InputError(
            f"nothing to register by: {'; '.join(before.notes)}",
            expected="images whose edges show",
            hint='go on without registration with shift = "ignore"',
        )
    motion = np.linalg.inv(grid) @ before.matrix @ grid
    if library is not None:
        motion = _by_mutual_information(library, first, second, np.array(voxel_size(grid)), motion)
    moved = _resampled(second, motion, interpolation).reshape(np.shape(post))
    left = displacement(pre, moved, affine, mask=mask)
    notes = [
        "interpolation changes the noise: measure noise on the image before registration",
        *before.notes,
    ]
    gone = int((np.isnan(moved) & np.isfinite(second.reshape(moved.shape))).sum())
    if gone:
        notes.append(f"{gone} voxels have no data after registration: they are NaN")
    if not left.known:
        notes.append(f"what is left cannot be told: {'; '.join(left.notes)}")
    elif left.beyond(STILL_VOXELS):
        notes.append(f"registration did not succeed: {left.words}")
    sizes = np.diag([*voxel_size(grid), 1.0])
    in_mm = sizes @ motion @ np.linalg.inv(sizes)
    middle = np.append((np.array(first.shape) - 1) / 2 * np.diag(sizes)[:3], 1.0)
    return Registered(
        image=moved,
        matrix=grid @ motion @ np.linalg.inv(grid),
        shift_mm=(in_mm @ middle - middle)[:3],
        rotation_deg=_angles(in_mm[:3, :3]),
        before=before,
        left=left,
        method=method,
        interpolation=interpolation,
        affine=grid,
        notes=tuple(notes),
    )


def _library() -> Any:
    try:
        import SimpleITK
    except ImportError:
        raise InputError(
            "registration needs SimpleITK, which is not installed",
            hint='pip install "relaxometry[register]", or register by method = "edges"',
        ) from None
    return SimpleITK


def _angles(rotation: Array) -> Array:
    """Degrees about x, y, z of Rz·Rx·Ry, the order of SimpleITK's Euler transform."""
    x = math.asin(float(np.clip(rotation[2, 1], -1, 1)))
    y = math.atan2(-rotation[2, 0], rotation[2, 2])
    z = math.atan2(-rotation[0, 1], rotation[1, 1])
    degrees: Array = np.degrees(np.array([x, y, z]))
    return degrees


def _as_image(library: Any, volume: Array, sizes: Array) -> Any:
    """(x, y, z) as an image of the library, 2-D if it is one slice; mm along its own axes."""
    flat = volume.shape[2] == 1
    image = library.GetImageFromArray(np.ascontiguousarray((volume[..., 0] if flat else volume).T))
    image.SetSpacing([float(size) for size in sizes[: image.GetDimension()]])
    return image


def _by_mutual_information(
    library: Any, first: Array, second: Array, sizes: Array, start: Affine
) -> Affine:
    """The motion in voxels that makes the mutual information greatest, from a start."""
    flat = first.shape[2] == 1
    deep = first.shape[2] >= _DEEP and sizes[2] <= _ISOTROPIC * sizes[:2].max()
    scale = np.diag([*sizes, 1.0])
    begin = scale @ start @ np.linalg.inv(scale)
    middle = (np.array(first.shape) - 1) / 2 * sizes
    shift = begin[:3, :3] @ middle + begin[:3, 3] - middle
    turn = math.atan2(begin[1, 0], begin[0, 0])
    known = np.isfinite(first).astype(float)
    transform = library.Euler2DTransform() if flat else library.Euler3DTransform()
    transform.SetCenter([float(value) for value in middle[: 2 if flat else 3]])
    if flat:
        transform.SetParameters([turn, *map(float, shift[:2])])
        free = [1.0, 1.0, 1.0]
    else:
        transform.SetParameters([0.0, 0.0, turn, *map(float, shift)])
        tilts, across = float(deep), float(first.shape[2] > 2)
        free = [tilts, tilts, 1.0, 1.0, 1.0, across]
    images = (_flattened(np.nan_to_num(image)) for image in (first, second))
    fixed, moving = (_as_image(library, image, sizes) for image in images)
    # Sums in another order end in other digits. The metric asks for the global number of threads
    # when it is made, whatever the method is told.
    process = library.ProcessObject
    threads = process.GetGlobalDefaultNumberOfThreads()
    process.SetGlobalDefaultNumberOfThreads(1)
    try:
        method = library.ImageRegistrationMethod()
        method.SetNumberOfThreads(1)
        method.SetMetricAsMattesMutualInformation(_BINS)
        method.SetMetricSamplingStrategy(method.NONE)
        if not known.all():
            inside = library.Cast(_as_image(library, known, sizes), library.sitkUInt8)
            method.SetMetricFixedMask(inside)
        # Slopes by differences: the filter for them wants four slices.
        method.SetMetricUseFixedImageGradientFilter(False)
        method.SetMetricUseMovingImageGradientFilter(False)
        method.SetInterpolator(library.sitkLinear)
        method.SetOptimizerAsRegularStepGradientDescent(
            learningRate=0.25 * float(sizes[:2].min()),
            minStep=0.002 * float(sizes[:2].min()),
            numberOfIterations=200,
            relaxationFactor=0.5,
            gradientMagnitudeTolerance=1e-8,
        )
        method.SetOptimizerScalesFromPhysicalShift()
        method.SetOptimizerWeights(free)
        method.SetInitialTransform(transform, inPlace=True)
        method.Execute(fixed, moving)
    except RuntimeError as error:
        raise InputError(
            f"SimpleITK could not register the images ({str(error).splitlines()[-1]})",
            hint='register by method = "edges"',
        ) from error
    finally:
        process.SetGlobalDefaultNumberOfThreads(threads)
    in_mm = np.eye(4)
    if flat:
        in_mm[:2, :2] = np.array(transform.GetMatrix()).reshape(2, 2)
        in_mm[:2, 3] = transform.GetTranslation()
    else:
        in_mm[:3, :3] = np.array(transform.GetMatrix()).reshape(3, 3)
        in_mm[:3, 3] = transform.GetTranslation()
    in_mm[:3, 3] += middle - in_mm[:3, :3] @ middle
    return np.linalg.inv(scale) @ in_mm @ scale


def _flattened(volume: Array) -> Array:
    """Smoothed, and divided by what varies slowly: a bias that moves with no animal."""
    from scipy.ndimage import gaussian_filter

    wide = _WIDE * min(volume.shape[:2])
    near, around = (gaussian_filter(volume, (sd, sd, 0)) for sd in (_SMOOTH, wide))
    flat: Array = near / (around + 0.1 * around.max())
    return flat


def _resampled(volume: Array, motion: Affine, interpolation: str) -> Array:
    """A volume looked up at motion·p for every voxel p; NaN where no data reach."""
    from scipy.ndimage import map_coordinates

    if np.allclose(motion, np.eye(4), atol=1e-12):
        return volume.copy()
    nz = volume.shape[2]
    if nz > 1 and np.allclose(motion[2], [0, 0, 1, 0]) and np.allclose(motion[:2, 2], 0):
        # Slices that stay as they are: nothing is looked up between them.
        planes = [volume[..., k : k + 1] for k in range(nz)]
        return np.concatenate([_resampled(p, motion, interpolation) for p in planes], axis=2)
    places = np.moveaxis(np.indices(volume.shape), 0, -1) @ motion[:3, :3].T + motion[:3, 3]
    last = np.array(volume.shape) - 1
    reached = ((places >= -_OVER) & (places <= last + _OVER)).all(axis=-1)
    at = np.moveaxis(np.clip(places, 0, last), -1, 0)
    unknown = ~np.isfinite(volume)
    order: Literal[1, 3] = 3 if interpolation == "bspline" else 1
    values = np.where(unknown, 0.0, volume)
    if nz == 1:
        moved: Array = map_coordinates(values[..., 0], at[:2], order=order, mode="mirror")
    else:
        moved = map_coordinates(values, at, order=order, mode="mirror")
    if unknown.any():
        reached &= map_coordinates(unknown.astype(float), at, order=1) <= _GONE
    return np.where(reached, moved, np.nan)
