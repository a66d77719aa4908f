"""The header of a ParaVision reconstruction: an allow-list of parameters, and what they mean.

Names beginning in Visu are those of ``visu_pars``. Times are in ms there, and in s from here on.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .dicomheader import LPS_TO_RAS
from .errors import GeometryError, InputError
from .geometry import Affine
from .images import KEYWORDS, hint_by_hand
from .series import Sequence_

# All that is ever read: physics, geometry, and what tells one acquisition from another.
PARAMETERS = frozenset(
    """
    VisuAcqEchoSequenceType VisuAcqEchoTime VisuAcqFlipAngle VisuAcqImagedNucleus
    VisuAcqImagingFrequency VisuAcqInversionTime VisuAcqRepetitionTime VisuAcqSequenceName
    VisuAcquisitionProtocol VisuCoreByteOrder VisuCoreDataOffs VisuCoreDataSlope VisuCoreDataUnits
    VisuCoreDim VisuCoreDimDesc VisuCoreDiskSliceOrder VisuCoreExtent VisuCoreFrameCount
    VisuCoreFrameThickness VisuCoreFrameType VisuCoreOrientation VisuCorePosition VisuCoreSize
    VisuCoreSlicePacksSliceDist VisuCoreUnits VisuCoreWordType VisuCreator VisuCreatorVersion
    VisuExperimentNumber VisuFGElemComment VisuFGOrderDesc VisuGroupDepVals
    VisuMagneticFieldStrength VisuProcessingNumber VisuSeriesTypeId
    ACQ_repetition_time RECO_image_type
    """.split()  # noqa: SIM905
)
_SETTINGS = {
    "TE": "VisuAcqEchoTime",
    "TI": "VisuAcqInversionTime",
    "TR": "VisuAcqRepetitionTime",
    "FA": "VisuAcqFlipAngle",
}
# Where a parameter has one value per element of a group and VisuGroupDepVals does not say so.
_USUAL_GROUP = {
    "VisuAcqEchoTime": "FG_ECHO",
    "VisuCoreOrientation": "FG_SLICE",
    "VisuCorePosition": "FG_SLICE",
    "VisuCoreDataUnits": "FG_ISA",
    "VisuFGElemComment": "FG_ISA",
}
_WORDS = {
    "_8BIT_UNSGN_INT": "u1",
    "_16BIT_SGN_INT": "i2",
    "_32BIT_SGN_INT": "i4",
    "_32BIT_FLOAT": "f4",
}
_ORDERS = {"littleEndian": "<", "bigEndian": ">"}
_COMPONENTS = {
    "MAGNITUDE_IMAGE": "M",
    "REAL_IMAGE": "R",
    "IMAGINARY_IMAGE": "I",
    "PHASE_IMAGE": "P",
}
_FITTED_GROUPS = ("FG_ISA", "FG_DTI", "FG_CONTRAST_MAP")
_FITTED_SERIES = ("DERIVED_ISA", "DERIVED_DTI", "DERIVED_MAP")
_SEQUENCES: dict[str, Sequence_] = {
    r"MGE|FLASH|FISP|GEFC|UTE|ZTE": "GE",
    r"MSME|RARE|SPIN_?ECHO|(^|[^A-Z])SE([^A-Z]|$)": "SE",
}
_ECHO_TYPES: dict[str, Sequence_] = {"SpinEcho": "SE", "GradientEcho": "GE"}
_MHZ_PER_T = 42.577
_MOST_FRAMES = 10**6  # a forged number asks for all the memory there is
_GARBLED = (TypeError, ValueError, IndexError, OverflowError)


@dataclass(frozen=True, slots=True)
class Group:
    """A loop of the scan: its length, its name, and where the values it sweeps begin."""

    length: int
    name: str
    sweeps: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Header:
    """The parameters of one reconstruction by name.

    Attributes
    ----------
    path : Path
        The ``2dseq`` file.
    values : mapping of str to object
        As the library parses them; names are those of :data:`PARAMETERS`.
    """

    path: Path
    values: Mapping[str, Any]

    def words(self, name: str) -> list[str]:
        """Texts or code words; none where there is nothing."""
        value = self.values.get(name)
        return [] if value is None else [str(word).strip() for word in _flat(value)]

    def word(self, name: str) -> str:
        return next(iter(self.words(name)), "")

    def numbers(self, name: str) -> NDArray[np.float64] | None:
        """Finite numbers, one after another; None where there is nothing."""
        if (value := self.values.get(name)) is None:
            return None
        try:
            numbers = np.ravel(np.asarray(value, dtype=np.float64))
        except _GARBLED:
            numbers = np.array([math.nan])
        if not np.isfinite(numbers).all() or not numbers.size:
            raise self.error(name, f"{str(value)[:40]!r}", "numbers")
        return numbers

    def needed(self, name: str, count: int | None = None) -> NDArray[np.float64]:
        numbers = self.numbers(name)
        if numbers is None or (count is not None and numbers.size != count):
            found = "missing" if numbers is None else f"{numbers.size} values"
            raise self.error(name, found, f"{count} numbers" if count else "a number")
        return numbers

    def number(self, name: str) -> float | None:
        numbers = self.numbers(name)
        return None if numbers is None else float(numbers[0])

    def error(self, name: str, found: str, expected: str = "", hint: str = "") -> InputError:
        """What is wrong with a parameter of this reconstruction, and in which of its files."""
        path = self.path.with_name("reco" if name.startswith("RECO_") else "visu_pars")
        if name.startswith("ACQ_"):
            path = scan_of(self.path) / "acqp"
        return InputError(found, path=path, field=name, expected=expected, hint=hint)

    @property
    def frames(self) -> int:
        count = self.number("VisuCoreFrameCount")
        if count is None or not 1 <= count <= _MOST_FRAMES or count != int(count):
            found = "missing" if count is None else f"{count:g}"
            raise self.error("VisuCoreFrameCount", found, "a whole number from 1")
        return int(count)

    @property
    def groups(self) -> list[Group]:
        """The loops of the scan, the one that turns fastest first."""
        rows, parameters = self._rows("VisuFGOrderDesc", 5), self._rows("VisuGroupDepVals", 2)
        try:
            groups = []
            for length, name, _, start, count in rows:
                swept = parameters[int(start) : int(start) + int(count)]
                groups.append(Group(int(length), str(name), {str(n): int(s) for n, s in swept}))
        except _GARBLED:
            raise self.error(
                "VisuFGOrderDesc", "no frame groups", "(5, <FG_SLICE>, <>, 0, 2)…"
            ) from None
        if math.prod(group.length for group in groups) != self.frames and groups:
            lengths = " × ".join(str(group.length) for group in groups)
            raise self.error("VisuFGOrderDesc", f"{lengths} frames", f"{self.frames} in all")
        return groups

    def _rows(self, name: str, width: int) -> list[list[Any]]:
        """A list of structures, which the library flattens where there is but one."""
        value = self.values.get(name)
        rows = value if isinstance(value, list) else []
        if rows and not isinstance(rows[0], list):
            rows = [rows]
        if any(not isinstance(row, list) or len(row) != width for row in rows):
            raise self.error(name, "rows of another form", f"rows of {width}")
        return rows

    def of_frames(self, name: str, count: int) -> NDArray[np.intp]:
        """Which of a parameter's `count` values each frame has."""
        frames, groups = self.frames, self.groups
        if count == 1:
            return np.zeros(frames, dtype=np.intp)
        own = [k for k, group in enumerate(groups) if name in group.sweeps]
        own = own or [k for k, g in enumerate(groups) if g.name == _USUAL_GROUP.get(name)]
        if own:
            turns = np.unravel_index(np.arange(frames), [g.length for g in groups], order="F")
            lengths = [groups[k].length for k in own]
            first = groups[own[0]].sweeps.get(name, 0)
            if count == math.prod(lengths) + first or count != frames:
                row = first + np.ravel_multi_index(tuple(turns[k] for k in own), lengths, order="F")
                if row.max() < count:
                    return np.asarray(row, dtype=np.intp)
        if count == frames:
            return np.arange(frames, dtype=np.intp)
        raise self.error(
            name,
            f"{count} values for {frames} frames",
            "VisuGroupDepVals to say which frame has which",
        )

    def per_frame(self, name: str, width: int = 1) -> NDArray[np.float64] | None:
        """The numbers of each frame, (frames, width); None where there are none."""
        numbers = self.numbers(name)
        if numbers is None:
            return None
        if numbers.size % width:
            raise self.error(name, f"{numbers.size} values", f"{width} for each frame")
        table = numbers.reshape(-1, width)
        return np.asarray(table[self.of_frames(name, len(table))])

    def words_per_frame(self, name: str) -> list[str]:
        """The text of each frame; empty where there is none."""
        words = self.words(name) or [""]
        return [words[row] for row in self.of_frames(name, len(words))]


def scan_of(path: Path) -> Path:
    """The folder of the scan that a ``2dseq`` file is reconstructed from."""
    # As the user named it, where that says in which scan it lies.
    named = len(path.parents) > 2 and ".." not in path.parts
    above = (path if named else path.resolve()).parents
    return above[min(2, len(above) - 1)]


def _flat(value: Any) -> list[Any]:
    """What a value holds, one after another, however deep its lists are."""
    if not isinstance(value, (list, np.ndarray)):
        return [value]
    return [part for inner in value for part in _flat(inner)]


def in_study(folder: Path) -> bool:
    """Whether a folder is one of ParaVision's, where many files lie beside those of images."""
    ours = folder.absolute()
    return (
        ((ours / "subject").is_file() and any(ours.glob("*/pdata")))
        or (ours / "2dseq").is_file()
        or any(
            (above / "pdata").is_dir() and any((above / n).is_file() for n in ("acqp", "method"))
            for above in (ours, *ours.parents[:3])
        )
    )


def stored_type(header: Header) -> np.dtype[Any]:
    """How voxels are stored."""
    word, order = header.word("VisuCoreWordType"), header.word("VisuCoreByteOrder")
    if word not in _WORDS:
        raise header.error("VisuCoreWordType", f"{word[:40]!r}", ", ".join(_WORDS))
    if order not in _ORDERS:
        raise header.error("VisuCoreByteOrder", f"{order[:40]!r}", ", ".join(_ORDERS))
    return np.dtype(_ORDERS[order] + _WORDS[word])


def shape(header: Header) -> tuple[int, int, int]:
    """Voxels of a frame along x, y, z."""
    size = header.needed("VisuCoreSize")
    if size.size not in (2, 3) or (size < 1).any() or (size != np.rint(size)).any():
        raise header.error("VisuCoreSize", f"{size.tolist()}", "two or three whole numbers")
    x, y, z = (*map(int, size), 1)[:3]
    return x, y, z


def is_spatial(header: Header) -> bool:
    """Whether frames are pictures, not spectra."""
    return set(header.words("VisuCoreDimDesc")) <= {"spatial"} and header.number("VisuCoreDim") != 1


def is_reversed(header: Header) -> bool:
    """Whether the planes of a volume are stored last first; a stack of slices has positions."""
    return (
        shape(header)[2] > 1 and header.word("VisuCoreDiskSliceOrder") == "disk_reverse_slice_order"
    )


def scaling(header: Header) -> NDArray[np.float64]:
    """Slope and offset from stored to linear values, (frames, 2)."""
    slope = header.per_frame("VisuCoreDataSlope")
    offset = header.per_frame("VisuCoreDataOffs")
    if slope is None:
        raise header.error("VisuCoreDataSlope", "missing", "one number per frame")
    if (slope == 0).any() and not problem(header):
        raise header.error("VisuCoreDataSlope", "0", "another number than 0")
    return np.column_stack([slope, np.zeros_like(slope) if offset is None else offset])


def settings(
    header: Header,
) -> tuple[list[dict[str, float]], dict[str, str], dict[str, InputError]]:
    """Times in s and angle in degrees of each frame, how they are known, and which are wrong."""
    known: list[dict[str, float]] = [{} for _ in range(header.frames)]
    origin: dict[str, str] = {}
    faults: dict[str, InputError] = {}
    for symbol, usual in _SETTINGS.items():
        name = usual
        try:
            values, source = header.per_frame(name), f"{name} (visu_pars)"
            if values is None and symbol == "TR":
                name = "ACQ_repetition_time"
                values, source = _tr_of_scanner(header), f"{name} (acqp)"
            if values is None or (symbol == "TI" and not values.any()):  # 0: nothing is inverted
                continue
            if (values < 0).any() or (symbol != "TI" and (values == 0).any()):
                raise header.error(name, f"{values.min():g}", f"a positive {KEYWORDS[symbol]}")
        except InputError as error:
            faults[symbol] = header.error(
                error.field or name, error.found, error.expected or "", hint_by_hand(symbol)
            )
            continue
        origin[symbol] = source
        for frame, value in zip(known, values[:, 0], strict=True):
            frame[symbol] = float(value) / (1.0 if symbol == "FA" else 1e3)  # ParaVision has ms
    return known, origin, faults


def _tr_of_scanner(header: Header) -> NDArray[np.float64] | None:
    """TR where visu_pars has none: FAIR lengthens it with TI, and keeps that in acqp alone."""
    stated, inverted = (
        header.numbers(name) for name in ("ACQ_repetition_time", "VisuAcqInversionTime")
    )
    if stated is None:
        return None
    if stated.size == 1:
        return np.full((header.frames, 1), stated[0])
    if inverted is None or inverted.size != stated.size:
        return None
    return stated[header.of_frames("VisuAcqInversionTime", stated.size), np.newaxis]


def components(header: Header) -> list[tuple[str, str]]:
    """Magnitude, real, imaginary or phase of each frame, and which parameter says so."""
    groups = header.groups
    complex_ = next((k for k, g in enumerate(groups) if g.name == "FG_COMPLEX"), None)
    name = "VisuCoreFrameType" if header.words("VisuCoreFrameType") else "RECO_image_type"
    words = header.words_per_frame(name)
    if complex_ is not None and not set(words) <= set(_COMPONENTS):
        lengths = [group.length for group in groups]
        turn = np.unravel_index(np.arange(header.frames), lengths, order="F")[complex_]
        return [("RI"[k] if k < 2 else "", "FG_COMPLEX (visu_pars)") for k in turn]
    return [(_COMPONENTS.get(word, ""), f"{name} {word}") for word in words]


def problem(header: Header) -> str:
    """Why a reconstruction is nothing to fit; empty if it may be."""
    kind = header.word("VisuSeriesTypeId")
    kind = kind if re.fullmatch("[A-Z_]+", kind) else ""
    if kind.startswith(_FITTED_SERIES) or any(g.name in _FITTED_GROUPS for g in header.groups):
        return f"a vendor's fit ({kind or 'FG_ISA'}), to compare with: see read_map"
    if "DERIVED" in kind:
        return f"computed from other images ({kind})"
    types = set(header.words("VisuCoreFrameType"))
    if "COMPLEX_IMAGE" in types and all(g.name != "FG_COMPLEX" for g in header.groups):
        return "complex images whose real and imaginary frames are not told apart"
    across = header.per_frame("VisuCoreOrientation", 9)
    if across is not None and np.abs(across - across[0]).max() > 1e-3:
        return "slice packages that are not parallel, as in a localiser"
    return ""


def sequence(header: Header) -> Sequence_ | None:
    """Spin or gradient echo; ParaVision calls many methods "Both", whose name then tells."""
    kind = _ECHO_TYPES.get(header.word("VisuAcqEchoSequenceType"))
    method = header.word("VisuAcqSequenceName").upper()
    named = (s for pattern, s in _SEQUENCES.items() if re.search(pattern, method))
    return kind or next(named, None)


def field_T(header: Header) -> float | None:
    """Field in T, from the frequency of hydrogen where it is not stated."""
    stated = header.number("VisuMagneticFieldStrength")
    if stated is None and header.word("VisuAcqImagedNucleus") in ("", "1H"):
        stated = (header.number("VisuAcqImagingFrequency") or 0.0) / _MHZ_PER_T
    return stated if stated and 0 < stated < 30 else None


def encoding(header: Header) -> str:
    """The software that wrote it, e.g. ``ParaVision 6.0.1``; nothing but its name and number."""
    version = re.search(r"\d+(\.\d+)*", header.word("VisuCreatorVersion"))
    name = "ParaVision 360" if "360" in header.word("VisuCreator") else "ParaVision"
    number = version[0] if version else ""
    return name if not number or number == name.split()[-1] else f"{name} {number}"


def rank(header: Header) -> tuple[float, float]:
    """When it was taken: number of the scan and of the reconstruction."""
    numbers = []
    for name in ("VisuExperimentNumber", "VisuProcessingNumber"):
        try:
            numbers.append(header.number(name) or 0.0)
        except InputError:  # only orders images
            numbers.append(0.0)
    return numbers[0], numbers[1]


def affines(header: Header) -> list[Affine]:
    """Voxel → mm, RAS, of each frame. ParaVision's axes are those of DICOM.

    The rows of VisuCoreOrientation are the directions of x, y and the normal.
    """
    size = shape(header)
    spatial = 3 if header.needed("VisuCoreSize").size == 3 else 2
    units = set(header.words("VisuCoreUnits")) or {"mm"}
    if units != {"mm"}:
        raise header.error("VisuCoreUnits", f"{sorted(units)}"[:40], "mm")
    steps = header.needed("VisuCoreExtent", spatial) / size[:spatial]
    orientation = header.per_frame("VisuCoreOrientation", 9)
    position = header.per_frame("VisuCorePosition", 3)
    if orientation is None or position is None:
        name = "VisuCoreOrientation" if orientation is None else "VisuCorePosition"
        raise header.error(name, "missing", "numbers for each slice")
    if spatial == 2:
        steps = np.append(steps, _slice_step(header))
    if (steps <= 0).any():
        found = " × ".join(f"{step:g}" for step in steps)
        raise header.error("VisuCoreExtent", f"a voxel of {found} mm", "positive lengths")
    found_affines: list[Affine] = []
    for axes, corner in zip(orientation.reshape(-1, 3, 3), position, strict=True):
        if not np.allclose(axes @ axes.T, np.eye(3), atol=1e-3):
            raise GeometryError(
                f"{np.round(axes, 4).tolist()}",
                path=header.path.with_name("visu_pars"),
                field="VisuCoreOrientation",
                expected="three perpendicular unit vectors",
            )
        # Slices are counted along the cross product, as in DICOM; volumes as they are stored.
        normal = axes[2] if spatial == 3 else np.cross(axes[0], axes[1])
        matrix = np.eye(4)
        matrix[:3] = np.column_stack([axes[0], axes[1], normal, corner])
        matrix[:3, :3] *= steps
        found_affines.append(LPS_TO_RAS @ matrix)
    return found_affines


def _slice_step(header: Header) -> float:
    """From slice to slice; ParaVision 5 says nothing but how thick they are."""
    apart = header.number("VisuCoreSlicePacksSliceDist") or 0.0
    return apart if apart > 0 else float(header.needed("VisuCoreFrameThickness")[0])
