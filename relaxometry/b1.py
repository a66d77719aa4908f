"""`B1Map`: by how much the flip angles are off, voxel by voxel, and how that is known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from .errors import GeometryError, InputError
from .geometry import Affine, same_grid
from .jupyter import Shown
from .nifti import read_volume
from .points import LEAST_B1, MOST_B1
from .series import Series
from .sidecar import Sidecar

Array = NDArray[np.float64]

# Units that sidecars state. BIDS writes "arbitrary", which says nothing.
_FACTOR = {"1", "factor", "ratio", "fraction", "relative", "p.u.", "pu", "a.u.", "unitless"}
_PERCENT = {"percent", "%", "per cent", "p.c."}
_SAYS_NOTHING = {"", "arbitrary", "arb", "arbitrary units"}
_SPLIT = 10.0  # a median above it is in percent: no coil is ten times off
# Where nothing says which it is: degrees and Hz have other medians, mostly.
_LIKELY = 0.5, 1.5
_HALF = 0.5  # of a voxel: as far as it reaches from its centre


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class B1Map(Shown):
    """Actual over nominal flip angle.

    Attributes
    ----------
    factor : ndarray (x, y, z)
        About 1; NaN where nothing is known.
    affine : ndarray (4, 4)
        Voxel → mm, RAS.
    origin : str
        How the unit of the file is known, e.g. ``"percent: the median is 98"``.
    files : tuple of str
        The map, and the sidecars that said anything of it.
    """

    factor: Array
    affine: Affine
    origin: str
    files: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.factor.flags.writeable = False

    def __repr__(self) -> str:
        known = self.factor[np.isfinite(self.factor)]
        low, middle, high = np.percentile(known, [5, 50, 95])
        grid = "×".join(map(str, self.factor.shape))
        return f"B1Map: {grid}, median {middle:.3g} (90 % {low:.3g} … {high:.3g}), {self.origin}"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """The factor, so that a map on the grid of a series goes into a fit as it is."""
        return np.array(self.factor, dtype=dtype, copy=copy)

    def on(self, series: Series) -> B1Map:
        """The same map on the grid of a series.

        Between voxels it is interpolated linearly through the affines, of what is known; where the
        map does not reach, or more than half of what lies around is unknown, it is NaN.

        Raises
        ------
        GeometryError
            If it covers no voxel of the series.
        """
        if series.grid == self.factor.shape and same_grid(series.affine, self.affine):
            return self
        to_here = np.linalg.inv(self.affine) @ series.affine
        there = np.indices(series.grid).reshape(3, -1)
        place = to_here[:3, :3] @ there + to_here[:3, 3:]
        last = np.array(self.factor.shape)[:, None] - 1.0
        edge = _HALF + 1e-6
        covered = ((place >= -edge) & (place <= last + edge)).all(axis=0)
        place = np.clip(place, 0, last)
        known = np.isfinite(self.factor)
        weight = map_coordinates(known.astype(np.float64), place, order=1, mode="nearest")
        total = map_coordinates(np.where(known, self.factor, 0.0), place, order=1, mode="nearest")
        covered &= weight >= _HALF
        if not covered.any():
            raise GeometryError(
                "covers no voxel of the series",
                path=self.files[0] if self.files else None,
                field="B1",
                expected="a map of the same object in the same position",
            )
        factor = np.full(there.shape[1], np.nan)
        factor[covered] = total[covered] / weight[covered]
        return replace(self, factor=factor.reshape(series.grid), affine=series.affine)

    def noted(self, series: Series) -> Series:
        """The series, with this map among what it was made from."""
        provenance = series.provenance
        files = tuple(dict.fromkeys((*provenance.files, *self.files)))
        origin = {**provenance.origin, "B1": self.origin}
        return replace(series, provenance=replace(provenance, files=files, origin=origin))


def read_B1(path: str | Path) -> B1Map:
    """Read a map of actual over nominal flip angle: a BIDS ``TB1map`` or any NIfTI file.

    Parameters
    ----------
    path : str or Path
        A factor (about 1) or percent (about 100), as ``Units`` in its sidecar says or, where that
        says nothing, the median of its positive voxels: above 10 it is percent.

    Returns
    -------
    B1Map
        As a factor, NaN where the file is not positive or not finite. For a fit:
        ``rx.fit_maps(series, B1=rx.read_B1(path).on(series))``.

    Raises
    ------
    InputError
        If the file cannot be used, or its values cannot be either.
    """
    path = Path(path)
    value, affine = read_volume(path)
    positive = value[np.isfinite(value) & (value > 0)]
    if not positive.size:
        raise InputError("no positive number", path=path, expected="a map of B1")
    median, sidecar = float(np.median(positive)), Sidecar.of(path)
    stated = sidecar.text("Units").strip()
    if stated.lower() in _FACTOR | _PERCENT:
        percent, how = stated.lower() in _PERCENT, f"Units {stated!r} (sidecar)"
    elif stated.lower() in _SAYS_NOTHING:
        percent, how = median > _SPLIT, f"the median is {median:.3g}"
    else:
        raise InputError(
            f"{stated!r:.40}",
            path=sidecar.fields["Units"][1],
            field="Units",
            expected="percent, or a factor",
            hint="divide actual by nominal flip angles",
        )
    middle = median / 100 if percent else median
    limits = _LIKELY if stated.lower() in _SAYS_NOTHING else (LEAST_B1, MOST_B1)
    if not limits[0] <= middle <= limits[1]:
        low, high = (f"{limit * (100 if percent else 1):g}" for limit in limits)
        raise InputError(
            f"a median of {median:.4g}{' percent' if percent else ''} ({how})",
            path=path,
            field="B1",
            expected=f"actual over nominal flip angle, {low} to {high}",
            hint="divide angles by the nominal one, or state Units in a sidecar: factor or percent",
        )
    factor = np.full(value.shape, np.nan)
    known = np.isfinite(value) & (value > 0)
    factor[known] = value[known] / (100.0 if percent else 1.0)
    files = (str(path), *(str(file) for file in sidecar.files))
    return B1Map(factor, affine, f"{'percent' if percent else 'factor'}: {how}", files)
