"""Whether the receiver's scale changed between two images, by a region that takes up no agent."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import GeometryError, InputError
from .estimate import Estimate
from .jupyter import Shown

Array = NDArray[np.float64]

#: Relative: a smaller change of the scale is not worth a division.
TOLERANCE = 0.05
_SURE = 1.96  # standard errors
#: Voxels of a reference below which it tells no scale.
FEWEST = 10
_UNEVEN = 0.3  # of the mean


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class IntensityScale(Shown):
    """How many times as bright a reference is in the second image as in the first.

    Attributes
    ----------
    ratio : Estimate
        Mean after over mean before, with its standard error; no unit.
    sd_pre, sd_post : float
        Scatter of the signal within the region, relative to its mean.
    n_voxels : int
        Of the region, with a number in both images.
    tolerance : float
        Relative change that is let pass.
    name : str
        Of the reference.
    notes : tuple of str
    """

    ratio: Estimate
    sd_pre: float
    sd_post: float
    n_voxels: int
    tolerance: float
    name: str
    notes: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether the scale changed: beyond 1.96 standard errors and beyond the tolerance."""
        away = abs(self.ratio.value - 1)
        return bool(away > _SURE * self.ratio.stderr and away > self.tolerance)

    @property
    def words(self) -> str:
        """The verdict for a report."""
        found = f"{self.name} is {self.ratio} times as bright after as before"
        if self.changed:
            return (
                f"{found}: divide the image after by this, or compare only what is relative to a "
                "region of the same image"
            )
        if abs(self.ratio.value - 1) > self.tolerance:
            return f"{found}: too uncertain to say that the scale changed"
        return f"{found}: within {100 * self.tolerance:g} %, the scale did not change"

    def apply(self, post: ArrayLike) -> Array:
        """The image after, divided by the ratio: in the units of the image before.

        Its noise is divided with it; the error of the ratio is common to all voxels and is not in
        the result.
        """
        divided: Array = np.asarray(post, dtype=float) / self.ratio.value
        return divided

    def __repr__(self) -> str:
        return f"IntensityScale: {self.words}"


def intensity_scale(
    pre: ArrayLike,
    post: ArrayLike,
    region: NDArray[np.bool_],
    *,
    name: str = "the reference",
    tolerance: float = TOLERANCE,
) -> IntensityScale:
    """How the scale of the signal changed from one image to the next, by a reference region.

    A scanner may set its receiver gain anew for each scan. A region that takes up no agent (muscle,
    a tube of water) has the same signal in both, so the ratio of its means is that of the scales.

    Parameters
    ----------
    pre, post : array_like, same shape
        Magnitude images, on one grid; where the subject moved, registered.
    region : ndarray of bool, same shape
        The reference, of 10 voxels or more. Voxels that are NaN in either image are left out.
    name : str
        Of the reference, for words.
    tolerance : float
        Relative change that is let pass, 0.05 for 5 %.

    Returns
    -------
    IntensityScale

    Raises
    ------
    InputError
        If the region has fewer than 10 voxels with a number, a mean is not positive, or the
        tolerance is negative.
    GeometryError
        If the shapes differ.

    Notes
    -----
    With means m and standard errors of the means s = SD/√n,
    stderr(ratio)² = (s_post/m_pre)² + (ratio·s_pre/m_pre)² (delta method). The scatter within a
    region is noise and structure; structure is common to both images, so that the error is rather
    too large than too small. It holds for voxels whose noise is independent.
    """
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise InputError(f"{tolerance!r}", field="tolerance", expected="0 or a positive number")
    images = [_numbers(given, side) for side, given in (("pre", pre), ("post", post))]
    asked = np.asarray(region)
    if not images[0].shape == images[1].shape == asked.shape:
        raise GeometryError(
            f"pre {images[0].shape}, post {images[1].shape}, region {asked.shape}",
            field=name,
            expected="one grid",
        )
    asked = asked.astype(bool)
    values = np.stack([image[asked] for image in images])
    known = np.isfinite(values).all(axis=0)
    n = int(known.sum())
    if n < FEWEST:
        raise InputError(
            f"{n} voxels with a number in both images",
            field=name,
            expected=f"a reference of {FEWEST} or more",
        )
    notes = []
    if n < known.size:
        notes.append(f"{known.size - n} of {known.size} voxels are no number and were left out")
    means, sds = values[:, known].mean(axis=1), values[:, known].std(axis=1, ddof=1)
    for side, mean in zip(("before", "after"), means, strict=True):
        if not mean > 0:
            raise InputError(
                f"mean signal {mean:.4g} {side}",
                field=name,
                expected="a positive mean",
                hint="take a region with signal",
            )
    before, after = (
        Estimate(float(mean), float(sd) / math.sqrt(n)) for mean, sd in zip(means, sds, strict=True)
    )
    spread = sds / means
    if spread.max() > _UNEVEN:
        notes.append(
            f"the signal within {name} scatters by {100 * spread.max():.0f} % of its mean: "
            "noise, or not one tissue"
        )
    return IntensityScale(
        after.over(before), float(spread[0]), float(spread[1]), n, float(tolerance), name, (*notes,)
    )


def _numbers(given: ArrayLike, side: str) -> Array:
    image = np.asarray(given)
    if image.dtype.kind not in "biuf":
        raise InputError(f"an array of {image.dtype}", field=side, expected="a magnitude image")
    return image.astype(float)
