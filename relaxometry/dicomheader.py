"""The header of one DICOM image: an allow-list of tags, checked numbers, and what they mean."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .geometry import Affine
from .images import KEYWORDS, LeftOut, hint_by_hand, vendor_of
from .series import Sequence_

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
# All that is ever read: physics, geometry, and what tells one acquisition from another.
TAGS = {
    "ImageType": 0x00080008,
    "Manufacturer": 0x00080070,
    "SeriesDescription": 0x0008103E,
    "ComplexImageComponent": 0x00089208,
    "ScanningSequence": 0x00180020,
    "SequenceName": 0x00180024,
    "EchoPulseSequence": 0x00189008,
    "InversionRecovery": 0x00189009,
    "SliceThickness": 0x00180050,
    "RepetitionTime": 0x00180080,
    "EchoTime": 0x00180081,
    "InversionTime": 0x00180082,
    "ImagingFrequency": 0x00180084,
    "MagneticFieldStrength": 0x00180087,
    "SpacingBetweenSlices": 0x00180088,
    "SoftwareVersions": 0x00181020,
    "FlipAngle": 0x00181314,
    "SOPInstanceUID": 0x00080018,
    "SeriesInstanceUID": 0x0020000E,
    "SeriesNumber": 0x00200011,
    "InstanceNumber": 0x00200013,
    "ImagePositionPatient": 0x00200032,
    "ImageOrientationPatient": 0x00200037,
    "SamplesPerPixel": 0x00280002,
    "NumberOfFrames": 0x00280008,
    "Rows": 0x00280010,
    "Columns": 0x00280011,
    "PixelSpacing": 0x00280030,
    "PhotometricInterpretation": 0x00280004,
    "BitsAllocated": 0x00280100,
    "BitsStored": 0x00280101,
    "PixelRepresentation": 0x00280103,
    "RescaleIntercept": 0x00281052,
    "RescaleSlope": 0x00281053,
    # Private elements, each with the name of its maker: by that a reader knows their type.
    "GE maker": 0x00430010,
    "GE image type": 0x0043102F,
    "Philips maker": 0x20050010,
    "Philips scale slope": 0x2005100E,
}
_MHZ_PER_T = 42.5775
_AGAIN = "export the scan again, or move the file away"
_SHORTEST = 1.0  # ms, of a repetition or an inversion
_MILLISECONDS = "milliseconds, as DICOM has them"
_MOST_TOLD = 40  # characters of a value in a message
_COMPONENTS = {"M": "M", "R": "R", "I": "I", "P": "P"} | {
    "MAGNITUDE": "M", "REAL": "R", "IMAGINARY": "I", "PHASE": "P", "PHASE MAP": "P"
}  # fmt: skip
_GE_COMPONENTS = {0: "M", 1: "P", 2: "R", 3: "I"}
_UNFIT_TYPES = {
    r"LOCALIZER": "a localiser",
    r"MOSAIC": "a mosaic of slices",
    r"CSA REPORT|SCREEN[ _]?(?:SAVE|SHOT|CAPTURE)": "a picture of a screen",
    r"(?:.*[ _])?(MAP)|ADC|SUBTRACTION": "computed from other images",
    r"MPR|MIP|MINIP|PROJECTION IMAGE": "computed from other images",
    # Derived pixel contrasts of enhanced files (PS3.3 C.8.16.1.4).
    r"QUANTITY|DIVISION|MAXIMUM|MINIMUM|STD_DEVIATION": "computed from other images",
}
# Philips alone puts component and sequence into one word.
_PHILIPS_TYPE = r"[MRIP]_(SE|IR|FFE|PCA)"
# Bruker says only "research mode", and the method in the name of the sequence.
_BRUKER_SEQUENCES: dict[str, Sequence_] = {
    r"MGE|FLASH|FISP|GEFC|UTE|ZTE": "GE",
    r"MSME|RARE|SE": "SE",
}


def starts_as_dicom(path: str | Path) -> bool:
    """Whether a file has the preamble of a DICOM file; nothing else of it is read."""
    with Path(path).open("rb") as file:
        return file.read(132)[128:] == b"DICM"


@dataclass(frozen=True, slots=True)
class Header:
    """The values of one image by keyword; DICOM libraries do not check numbers, so this does.

    Attributes
    ----------
    path : Path
        File it is from, as the user gave it.
    values : mapping of str to object
        As the library gives them; keys are those of :data:`TAGS`.
    room : int
        Bytes of the file that may hold pixels.
    inflates : int
        How many times their room in the file the pixels may take in memory.
    frame : int or None
        Number of the frame, from 1, where a file has several.
    names : mapping of str to str
        Tags that stand for others, e.g. EffectiveEchoTime for EchoTime.
    """

    path: Path
    values: Mapping[str, Any]
    room: int
    inflates: int = 1
    frame: int | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    placed: bool = True

    def __getitem__(self, keyword: str) -> Any:
        return self.values.get(keyword)

    def words(self, keyword: str) -> list[str]:
        """Words of a code or a name; none where there is nothing."""
        value = self[keyword]
        return [] if value is None else [str(word).strip() for word in np.atleast_1d(value)]

    def numbers(self, keyword: str, count: int) -> NDArray[np.float64] | None:
        """Finite numbers; None where there is nothing; raises `InputError` for anything else."""
        value = self[keyword]
        if isinstance(value, bytes) and len(value) == 4:  # a private float of unknown type
            value = struct.unpack("<f", value)[0]
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        parts = [value] if isinstance(value, (str, bytes)) or np.ndim(value) == 0 else list(value)
        real = all(isinstance(part, (int, float)) and np.isfinite(part) for part in parts)
        if not real or len(parts) != count:
            found = repr(value) if isinstance(value, str) else str(value)
            if len(found) > _MOST_TOLD:  # a file may state a million numbers
                found = f"{found[:_MOST_TOLD]}…"
            raise self.error(keyword, found, _numbers(count))
        return np.array(parts, dtype=np.float64)

    def number(self, keyword: str) -> float | None:
        values = self.numbers(keyword, 1)
        return None if values is None else float(values[0])

    def needed(self, keyword: str, count: int) -> NDArray[np.float64]:
        values = self.numbers(keyword, count)
        if values is None:
            raise self.error(keyword, "missing", _numbers(count))
        return values

    def error(
        self,
        keyword: str,
        found: str,
        expected: str = "a number",
        hint: str = _AGAIN,
    ) -> InputError:
        """What is wrong with a tag of this file."""
        place = self.named(keyword)
        if self.frame is not None:
            place += f" of frame {self.frame}"
        return InputError(found, path=self.path, field=place, expected=expected, hint=hint)

    def named(self, keyword: str) -> str:
        """The tag that a value was read from."""
        return self.names.get(keyword) or named(keyword, TAGS[keyword])


def _numbers(count: int) -> str:
    return "a number" if count == 1 else f"{count} numbers"


def named(keyword: str, tag: int) -> str:
    """A keyword with its tag, e.g. ``EchoTime (0018,0081)``."""
    digits = f"{tag:08X}"
    return f"{keyword} ({digits[:4]},{digits[4:]})"


def check_grey(header: Header) -> None:
    """Raise `LeftOut` for a colour picture; `InputError` where nobody can say whether it is one."""
    samples = header.number("SamplesPerPixel") or 1
    photometry = " ".join(header.words("PhotometricInterpretation")).upper()
    grey = photometry in ("MONOCHROME1", "MONOCHROME2") or (not photometry and samples == 1)
    if grey and samples == 1:
        return
    if (samples == 3 and re.fullmatch(r"(RGB|YBR_[A-Z0-9_]+)?", photometry)) or (
        samples == 1 and photometry == "PALETTE COLOR"
    ):
        raise LeftOut("a colour picture", path=header.path)
    raise header.error("SamplesPerPixel", f"{samples:g}, unlike its kind of colours", "1, of grey")


def shape(header: Header) -> tuple[int, int, int]:
    """Size of the image and number of frames: columns, rows, frames.

    All must fit into the file before any memory is asked for.
    """
    rows, columns, bits = (
        int(header.needed(tag, 1)[0]) for tag in ("Rows", "Columns", "BitsAllocated")
    )
    frames = header.number("NumberOfFrames")
    count = 1 if frames is None else int(frames)
    if min(rows, columns, bits, count) < 1 or (frames or 1) != count:
        found = f"{columns}×{rows} pixels of {bits} bits, {frames or 0:g} frames"
        raise InputError(found, path=header.path, hint=_AGAIN)
    if rows * columns * count * bits / 8 > header.room * header.inflates:
        size = f"{columns}×{rows} pixels of {bits} bits" + (f" × {count} frames" * (count > 1))
        found = f"cut off: {size} in {header.room} bytes"
        raise InputError(found, path=header.path, hint=_AGAIN)
    return columns, rows, count


def settings(header: Header) -> tuple[dict[str, float], dict[str, str], dict[str, InputError]]:
    """Times in s and angle in degrees, how they are known, and which are impossible."""
    known, origin, faults = {}, {}, {}
    for name, keyword in KEYWORDS.items():
        try:
            value = header.number(keyword)
            # GE and Philips write TI = 0 where nothing is inverted.
            if name == "TI" and value == 0 and "IR" not in header.words("ScanningSequence"):
                value = None
            if value is not None and (value < 0 or (value == 0 and name != "TI")):
                raise header.error(keyword, f"{value:g}")
        except InputError as error:
            hint = hint_by_hand(name)
            faults[name] = header.error(keyword, error.found, "a positive number", hint)
            continue
        if value is not None and name in ("TI", "TR") and 0 < value < _SHORTEST:
            faults[name] = _too_short(header, name, value)
        elif value is not None:
            known[name] = value if name == "FA" else value / 1e3  # DICOM has ms
            origin[name] = header.named(keyword)
    # An echo time may be as short; but not of a file that has seconds elsewhere.
    in_seconds = "TR" in faults and faults["TR"].expected == _MILLISECONDS
    if in_seconds and 0 < known.get("TE", 0) < _SHORTEST / 1e3:
        origin.pop("TE")
        faults["TE"] = _too_short(header, "TE", known.pop("TE") * 1e3)
    return known, origin, faults


def _too_short(header: Header, name: str, value: float) -> InputError:
    """What a time is that was written in seconds, most likely."""
    told = f"{value:.4g} ms is too short"
    return header.error(KEYWORDS[name], told, _MILLISECONDS, hint_by_hand(name))


def component(header: Header) -> tuple[str, str]:
    """Magnitude, real, imaginary or phase, and which tag says so."""
    for word in header.words("ComplexImageComponent"):
        if word in _COMPONENTS:
            return _COMPONENTS[word], f"ComplexImageComponent {word}"
    ge = header["GE image type"]
    if isinstance(ge, bytes) and len(ge) == 2:  # a private number of unknown type
        ge = int.from_bytes(ge, "little")
    if isinstance(ge, int) and ge in _GE_COMPONENTS:
        return _GE_COMPONENTS[ge], f"GE image type {ge} (0043,102F)"
    for word in header.words("ImageType")[2:]:
        # Philips writes M_SE, M_IR, M_FFE; Bruker MAGNITUDE_IMAGE.
        code = word.upper().split("_")[0]
        if code in _COMPONENTS:
            ours = re.fullmatch(rf"{_PHILIPS_TYPE}|{code}(_IMAGE)?", word.upper())
            return _COMPONENTS[code], f"ImageType {word.upper() if ours else code}"
    return "", ""


def problem(header: Header) -> str:
    """Why the image is nothing to fit; empty if it may be."""
    if not header.placed:
        return (
            "no frame has a place or times: PerFrameFunctionalGroupsSequence (5200,9230) is missing"
        )
    return derived(header)


def derived(header: Header) -> str:
    """Why the image is none of a series by its type, whatever else is in its header."""
    for word in header.words("ImageType"):
        for pattern, reason in _UNFIT_TYPES.items():
            if found := re.fullmatch(pattern, word.upper()):
                # What stands before MAP may be anything, even who was scanned.
                return f"{reason} (ImageType {found[found.lastindex or 0]})"
    return ""


def sequence(header: Header) -> Sequence_ | None:
    """Spin or gradient echo, where the tags tell."""
    words = header.words("ScanningSequence")
    if "GR" in words:
        return "GE"
    if "SE" in words or "IR" in words:
        return "SE"
    method = " ".join(header.words("SequenceName")).upper()
    for pattern, kind in _BRUKER_SEQUENCES.items():
        if "RM" in words and re.search(pattern, method):
            return kind
    return None


def field_T(header: Header) -> float | None:
    """Field in T, from the frequency where it is absent or not in T (old GE files have gauss)."""
    stated = header.number("MagneticFieldStrength") or 0.0
    if not 0 < stated < 30:
        stated = (header.number("ImagingFrequency") or 0.0) / _MHZ_PER_T
    return stated if 0 < stated < 30 else None


def rank(header: Header, keyword: str) -> float:
    """A number that only orders images, so that anything else than a number is no error."""
    value = header[keyword]
    return float(value) if isinstance(value, (int, float)) else 0.0


def maker(header: Header) -> str:
    """The maker of the scanner, also where its name was taken out; empty if nobody can say."""
    stated = " ".join(header.words("Manufacturer"))
    if "philips" in f"{stated} {header['Philips maker']}".lower():
        return "Philips"
    if known := vendor_of(stated):
        return known
    if any(re.fullmatch(_PHILIPS_TYPE, word) for word in header.words("ImageType")):
        return "Philips"
    method = " ".join(header.words("SequenceName"))
    return "Bruker" if method.startswith("Bruker:") else ""


def scaling(header: Header) -> tuple[float, float, float | None]:
    """Slope and intercept from stored to linear values, and the gain that stays unknown.

    Philips keeps a second, private scale: FP = (SV·RS + RI)/(RS·SS), image by image (Chenevert et
    al., Transl Oncol 7:65 (2014)). Without it, images of different RS cannot be compared; nor can
    those of a maker that nobody knows.
    """
    stated = header.number("RescaleSlope")
    slope, intercept = 1.0 if stated is None else stated, header.number("RescaleIntercept") or 0.0
    if slope == 0:
        raise header.error("RescaleSlope", "0", "another number than 0")
    made_by = maker(header)
    if made_by != "Philips":
        return slope, intercept, None if made_by else slope
    scale = header.number("Philips scale slope")
    if scale is None:
        return slope, intercept, stated
    if scale <= 0:
        raise header.error("Philips scale slope", f"{scale:g}", "a positive number")
    return 1 / scale, intercept / (slope * scale), None


def exchanged(header: Header) -> bool:
    """Whether PixelSpacing is [between columns, between rows], which makes a difference.

    ParaVision writes it so, the other way round than DICOM: its own files (VisuCoreExtent over
    VisuCoreSize) say which is which.
    """
    paravision = any(word.lower() == "paravision" for word in header.words("SoftwareVersions"))
    bruker = " ".join(header.words("Manufacturer")).lower().startswith("bruker")
    return bruker and paravision and bool(np.ptp(header.needed("PixelSpacing", 2)) > 0)


def affine(header: Header) -> Affine:
    """Voxel → mm, RAS. PixelSpacing is [between rows, between columns]."""
    if not header.placed:
        return np.diag([1.0, 1.0, 1.0, 1.0])
    position = header.needed("ImagePositionPatient", 3)
    cosines = header.needed("ImageOrientationPatient", 6)
    down, along = header.needed("PixelSpacing", 2)
    if exchanged(header):
        down, along = along, down
    thickness = header.number("SpacingBetweenSlices") or 0.0
    if thickness <= 0:
        thickness = header.needed("SliceThickness", 1)[0]
    x, y = cosines[:3], cosines[3:]
    if not np.allclose([x @ x, y @ y, x @ y], [1, 1, 0], atol=1e-3):
        raise header.error(
            "ImageOrientationPatient",
            " ".join(f"{value:.3g}" for value in cosines),
            "two perpendicular unit vectors",
        )
    if min(down, along, thickness) <= 0:
        raise header.error(
            "PixelSpacing", f"a voxel of {along:g}×{down:g}×{thickness:g} mm", "positive lengths"
        )
    matrix = np.eye(4)
    matrix[:3] = np.column_stack([x * along, y * down, np.cross(x, y) * thickness, position])
    return LPS_TO_RAS @ matrix
