"""`Image`: one picture at one setting of the scanner, and how pictures become a `Series`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .geometry import Affine
from .series import Sequence_


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """A slice or volume taken at one setting: what a reader knows before it reads any voxel.

    Attributes
    ----------
    file : str
        File it lies in.
    settings : mapping of str to float
        TE, TI, TR in s and FA in degrees, as far as the file states them.
    shape : (int, int, int)
        Voxels along x, y, z.
    affine : ndarray (4, 4)
        Voxel → mm, RAS.
    load : callable
        Reads the voxels: (x, y, z) float32 in the scanner's linear units.
    origin : mapping of str to str
        How each setting (and "signed") is known, e.g. ``{"TE": "EchoTime (0018,0081)"}``.
    component : {"M", "R", "I", "P", ""}
        Magnitude, real, imaginary, phase; empty where the file does not say.
    sequence : {"SE", "GE"} or None
    field_T : float or None
    vendor, source : str
        Maker of the scanner; ``"DICOM"``, ``"NIfTI"``.
    acquisition : str
        What the scanner counts as one acquisition (SeriesInstanceUID, BIDS entities, file stem).
    name : str
        What the operator called it; for grouping and messages, never written to results.
    """

    file: str
    settings: Mapping[str, float]
    shape: tuple[int, int, int]
    affine: Affine
    load: Callable[[], NDArray[np.float32]]
    origin: Mapping[str, str] = field(default_factory=dict)
    component: str = ""
    sequence: Sequence_ | None = None
    field_T: float | None = None
    vendor: str = ""
    source: str = "DICOM"
    acquisition: str = ""
    name: str = ""
