"""`Image`: one picture at one setting of the scanner, and how pictures lie in a stack."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .errors import GeometryError, InputError
from .geometry import Affine
from .polarity import Polarity
from .series import Sequence_

# What DICOM and BIDS both call the settings.
KEYWORDS = {"TE": "EchoTime", "TI": "InversionTime", "TR": "RepetitionTime", "FA": "FlipAngle"}
# Makers by what their files call them: free text stays out of results, it may name a place.
_VENDORS = {
    "siemens": "Siemens",
    "ge medical": "GE",
    "ge healthcare": "GE",
    "philips": "Philips",
    "bruker": "Bruker",
    "toshiba": "Canon",
    "canon": "Canon",
    "hitachi": "Hitachi",
    "fujifilm": "Fujifilm",
    "uih": "United Imaging",
    "united imaging": "United Imaging",
    "agilent": "Agilent",
    "varian": "Varian",
    "mr solutions": "MR Solutions",
    "relaxometry simulation": "relaxometry simulation",
}
_UNFIT_COMPONENTS = {"P": "a phase image", "I": "an imaginary image"}
# Scanners write positions and directions with 4 to 6 digits.
_SAME_PLACE_MM, _SAME_STEP_MM, _SAME_HEIGHT_MM = 0.05, 1e-3, 0.01


class LeftOut(InputError):
    """A file that no scan made of other files can miss: a report, text, another modality."""


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
    whole : callable or None
        Maps all volumes of its file, (x, y, z, n) float32 and read-only, without reading them; None
        where they are not stored as they are used.
    number : int
        Of its volume in that file, from 0.
    origin : mapping of str to str
        How each setting (and "signed") is known, e.g. ``{"TE": "EchoTime (0018,0081)"}``; of a
        setting that is not known, why not.
    component : {"M", "R", "I", "P", ""}
        Magnitude, real, imaginary, phase; empty where the file does not say.
    sequence : {"SE", "GE"} or None
    field_T : float or None
    vendor, source : str
        Maker of the scanner; ``"DICOM"``, ``"NIfTI"``, ``"Bruker"``.
    placed : bool
        Whether its file says where it lies; if not, `affine` means nothing.
    identity : str
        What the scanner calls this image and no other (SOPInstanceUID); never written to results.
    notes : tuple of str
        What a reader had to put right.
    encoding : str
        How its file is written, for people: ``"classic DICOM, JPEG 2000 lossless"``, ``"NIfTI-1,
        gzip"``, ``"ParaVision 6.0.1"``.
    acquisition : str
        What the scanner counts as one acquisition (SeriesInstanceUID, BIDS entities, file stem).
    name : str
        What the operator called it; for grouping and messages, never written to results.
    order : tuple of float
        When it was taken (series and instance number); images with the same are in file order.
    problem : str
        Why it is nothing to fit (a map, a localiser); empty if it may be.
    faults : mapping of str to InputError
        Settings that the file states, but not as a usable number.
    gain : float or None
        Factor of the voxel values that is not known to be comparable between images (Philips
        without its private scale slope); None where values compare.
    sidecars : tuple of str
        Other files that it was read from: sidecars, and the repeats that it is the mean of.
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
    order: tuple[float, ...] = ()
    problem: str = ""
    faults: Mapping[str, InputError] = field(default_factory=dict)
    gain: float | None = None
    sidecars: tuple[str, ...] = ()
    whole: Callable[[], NDArray[np.float32]] | None = None
    number: int = 0
    encoding: str = ""
    notes: tuple[str, ...] = ()
    identity: str = ""
    placed: bool = True

    @property
    def unfit(self) -> str:
        """Why it is nothing to fit; empty if it may be."""
        return _UNFIT_COMPONENTS.get(self.component, self.problem)


def vendor_of(text: str) -> str:
    """The maker of a scanner that a file names; empty if it is none we know."""
    lower = text.strip().lower()
    found = (vendor for words, vendor in _VENDORS.items() if lower.startswith(words))
    return "GE" if lower == "ge" else next(found, "")


def stacked(images: Sequence[Image], path: str | Path) -> tuple[list[int], Affine]:
    """Number of the slice that each image shows, along the normal, and the affine of the stack.

    Raises
    ------
    GeometryError
        If the images do not lie in one stack of equally spaced slices.
    """
    if not images:
        raise InputError("no images", path=path)
    if max(geometries(images)) > 0:
        raise GeometryError("images of different size, orientation or position", path=path)
    level = levels(images)
    affine = images[level.index(0)].affine.copy()
    if max(level) > 0:
        corners = [images[level.index(z)].affine[:3, 3] for z in range(max(level) + 1)]
        gaps = np.linalg.norm(np.diff(corners, axis=0), axis=1)
        if np.ptp(gaps) > max(0.01 * gaps.mean(), _SAME_HEIGHT_MM):
            raise GeometryError(
                f"slices lie {gaps.min():.4g} to {gaps.max():.4g} mm apart",
                path=path,
                expected="equal steps",
                hint="a slice may be missing",
            )
        affine[:3, 2] = (corners[-1] - corners[0]) / max(level)
    return level, affine


def stack_voxels(slices: Sequence[Image]) -> NDArray[np.float32]:
    """The voxels (x, y, z) of slices or of one volume, read from their files."""
    blocks = [image.load() for image in slices]
    for image, block in zip(slices, blocks, strict=True):
        if block.shape != image.shape:
            raise GeometryError(
                f"voxels of shape {block.shape}", path=image.file, expected=f"{image.shape}"
            )
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks, axis=2)


def geometries(images: Sequence[Image]) -> list[int]:
    """A number for each image, the same for those of one stack."""
    known: dict[tuple[int, int, int], list[tuple[int, NDArray[np.float64]]]] = {}
    count, numbers = 0, []
    for image in images:
        alike = known.setdefault(image.shape, [])
        # All at once: a file may hold thousands of frames, each at a place of its own.
        same = _same_stack(image, np.array([affine for _, affine in alike]).reshape(-1, 4, 4))
        if same.any():
            numbers.append(alike[int(same.argmax())][0])
            continue
        alike.append((count, image.affine))
        numbers.append(count)
        count += 1
    return numbers


def _same_stack(image: Image, affines: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether an image lies in the stacks of others of its size, (n, 4, 4)."""
    steps = np.abs(affines[:, :3, :3] - image.affine[:3, :3]).max(axis=(1, 2))
    offset = image.affine[:3, 3] - affines[:, :3, 3]
    if image.shape[2] == 1:
        normal = normal_of(image)
        offset = offset - np.outer(offset @ normal, normal)
    same: NDArray[np.bool_] = (steps <= _SAME_STEP_MM) & (
        np.abs(offset).max(axis=1, initial=0) <= _SAME_PLACE_MM
    )
    return same


def normal_of(image: Image) -> NDArray[np.float64]:
    """Unit vector across the slice, the way its slices are counted."""
    across = np.cross(image.affine[:3, 0], image.affine[:3, 1])
    return across / np.linalg.norm(across) * np.sign(across @ image.affine[:3, 2])


def levels(images: Sequence[Image]) -> list[int]:
    """Number of each image's slice, counted along the normal."""
    normal = normal_of(images[0])
    heights = np.array([image.affine[:3, 3] @ normal for image in images])
    tolerance = _SAME_HEIGHT_MM if images[0].shape[2] == 1 else _SAME_PLACE_MM
    return [int(k) for k in clusters(heights, tolerance)]


def clusters(values: NDArray[np.float64], tolerance: float) -> NDArray[np.intp]:
    """The rank of each value, the same for values no further apart than the tolerance."""
    order = np.argsort(values, kind="stable")
    rank = np.empty(values.size, dtype=np.intp)
    rank[order] = np.concatenate([[0], np.cumsum(np.diff(values[order]) > tolerance)])
    return rank


def hint_by_hand(name: str) -> str:
    """How to give a setting that the files lack."""
    return f"give the values by hand with --{name.lower()}, or {name.lower()} = [...]"


def polarity_of(image: Image) -> Polarity | None:
    """The polarity its file states; None where only the voxels tell."""
    known: dict[str, Polarity] = {"M": "magnitude", "R": "signed"}
    return known.get(image.component)
