"""Uniformity and ghosting of the phantoms that a study names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .contrastsettings import UniformitySettings
from .errors import GeometryError, InputError
from .folder import read_image
from .geometry import PLACE_TOLERANCE_MM, Affine, same_grid
from .ghosts import Ghosting, ghosting
from .imageuniformity import Uniformity, uniformity
from .jupyter import Shown
from .nifti import read_labels


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Flood(Shown):
    """An image of a uniform phantom, and what it tells of the scanner.

    Attributes
    ----------
    name : str
    image : ndarray (x, y, z)
    affine : ndarray (4, 4)
    uniformity : Uniformity
    ghosting : Ghosting or None
        None where the image has no room for it, with the reason in `notes`.
    notes : tuple of str
    """

    name: str
    image: NDArray[np.float64]
    affine: Affine
    uniformity: Uniformity
    ghosting: Ghosting | None
    notes: tuple[str, ...] = ()

    def row(self) -> dict[str, Any]:
        """Its row of ``uniformity.csv``."""
        ghosts = {} if self.ghosting is None else self.ghosting.row()
        slices = len(self.uniformity.slices) or 1
        own = {"name": self.name} | self.uniformity.row()
        return own | {k: v for k, v in ghosts.items() if k != "S_mean"} | {"n_slices": slices}

    def __repr__(self) -> str:
        ghosts = "" if self.ghosting is None else f", {self.ghosting!r}"
        return f"Flood: {self.name}: {self.uniformity!r}{ghosts}"


def measure_floods(settings: Sequence[UniformitySettings]) -> tuple[Flood, ...]:
    """Uniformity and ghosting of every ``[[uniformity]]`` of a study.

    Raises
    ------
    InputError, GeometryError
        Naming the file: if there is no phantom in the image, or the region lies elsewhere.
    """
    return tuple(_flood(one) for one in settings)


def _flood(settings: UniformitySettings) -> Flood:
    image, affine = read_image(settings.image)
    region = None
    if settings.region is not None:
        labels, own = read_labels(settings.region)
        if labels.shape != image.shape or not same_grid(affine, own, PLACE_TOLERANCE_MM):
            raise GeometryError(
                f"its voxels lie elsewhere than those of {settings.image.name}",
                path=settings.region,
                hint="draw the region on this image",
            )
        region = labels > 0
    try:
        even = uniformity(image, region)
    except InputError as error:
        raise (error if error.path else error.at(settings.image)) from None
    flood = Flood(settings.name, image, affine, even, None, even.notes)
    try:
        ghosts = ghosting(image)
    except InputError as error:
        return replace(flood, notes=(*even.notes, f"ghosting: not measured: {error.found}"))
    return replace(flood, ghosting=ghosts, notes=(*even.notes, *ghosts.notes))
