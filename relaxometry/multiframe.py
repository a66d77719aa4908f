"""Enhanced multi-frame MR: one header per frame, its own values before those that all share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

from .dicomheader import TAGS, Header, named
from .errors import InputError


def _same(*keywords: str) -> dict[str, tuple[str, int]]:
    """Values that lie under their own tags."""
    return {keyword: (keyword, TAGS[keyword]) for keyword in keywords}


# The two sequences of functional groups, and of each group what is read of it.
SHARED, PER_FRAME = 0x52009229, 0x52009230
_Tag = tuple[str, int]
_STATED: dict[int, dict[str, _Tag]] = {
    0x00189114: {"EchoTime": ("EffectiveEchoTime", 0x00189082)},  # MREchoSequence
    0x00189115: {"InversionTime": ("InversionTimes", 0x00189079)},  # MRModifierSequence
    0x00189112: _same("RepetitionTime", "FlipAngle", "EchoTime"),  # MRTimingAndRelatedParameters
    0x00189226: {  # MRImageFrameTypeSequence
        "ImageType": ("FrameType", 0x00089007),
        **_same("ComplexImageComponent"),
    },
    0x00209113: _same("ImagePositionPatient"),  # PlanePositionSequence
    0x00209116: _same("ImageOrientationPatient"),  # PlaneOrientationSequence
    0x00289110: _same("PixelSpacing", "SliceThickness", "SpacingBetweenSlices"),  # PixelMeasures
    0x00289145: _same("RescaleSlope", "RescaleIntercept"),  # PixelValueTransformationSequence
}
# Where groups are missing: the map to real-world values, and classic headers, whole or in part, of
# what a converter could not place elsewhere (0020,9170 and 9171) and of Philips (2005,140E and F).
_CLASSIC = _same(
    *("ImageType", "ComplexImageComponent", "ScanningSequence", "GE maker", "GE image type"),
    *("EchoTime", "InversionTime", "RepetitionTime", "FlipAngle", "RescaleSlope"),
    *("RescaleIntercept", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
    *("SliceThickness", "SpacingBetweenSlices", "Philips maker", "Philips scale slope"),
)
_INSTEAD: dict[int, dict[str, _Tag]] = {
    0x00409096: {
        "RescaleSlope": ("RealWorldValueSlope", 0x00409225),
        "RescaleIntercept": ("RealWorldValueIntercept", 0x00409224),
    },
    **dict.fromkeys((0x00209170, 0x00209171, 0x2005140E, 0x2005140F), _CLASSIC),
}
# The groups, and the name of Philips' own, without which it is but bytes.
WANTED = {*_STATED, *_INSTEAD, 0x20050014}
_PULSES = {"SPIN": "SE", "GRADIENT": "GR"}


class Groups(Protocol):
    """One functional group per frame, or one for all."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int, /) -> Any: ...


def frames(header: Header, shared: Groups, per_frame: Groups, count: int) -> Iterator[Header]:
    """The header of each frame, in the order of the file.

    Parameters
    ----------
    header : Header
        What stands outside of the functional groups.
    shared, per_frame : sequence of groups
        Each as the DICOM library gives it, when it is asked for; empty where there is none.
    count : int
        Number of frames that the file states.

    Raises
    ------
    InputError
        If the groups are not as many as the frames.
    """
    if len(per_frame) not in (0, count):
        raise InputError(
            f"NumberOfFrames (0028,0008) is {count}, but {len(per_frame)} frames are described",
            path=header.path,
            hint="export the scan again",
        )
    pulses = _pulses(header)
    whole = [_of_group(shared[0])] if shared else []
    for number in range(count):
        own = [_of_group(per_frame[number])] if per_frame else []
        merged: dict[str, tuple[Any, str]] = {}
        # The last word is the frame's own; what stands in for a missing group has none.
        for found in (*(g.instead for g in whole + own), *(g.stated for g in whole + own)):
            merged |= found
        if _says_little(merged.get("ImageType", ("", ""))[0]):
            merged.pop("ImageType", None)
        yield replace(
            header,
            values={**header.values, **pulses, **{k: value for k, (value, _) in merged.items()}},
            frame=number + 1,
            names={keyword: name for keyword, (_, name) in merged.items() if name},
            # Without groups of their own, none of several frames has a place or times.
            placed=bool(per_frame) or count == 1,
        )


def classic(header: Header, dataset: Any) -> Header:
    """The header of a classic image, with what it says in functional groups alone.

    ParaVision keeps the slope of its classic images there.
    """
    found = _of_group(dataset)
    more = {
        keyword: (value, name)
        for keyword, (value, name) in (found.instead | found.stated).items()
        if _empty(header[keyword])
    }
    return replace(
        header,
        values={**header.values, **{k: value for k, (value, _) in more.items()}},
        names={keyword: name for keyword, (_, name) in more.items() if name},
    )


class _Group(NamedTuple):
    """Values of a functional group, each with the name of its tag where that is another."""

    stated: dict[str, tuple[Any, str]]
    instead: dict[str, tuple[Any, str]]


def _of_group(group: Any) -> _Group:
    def found(sequence: int, places: Mapping[str, _Tag]) -> dict[str, tuple[Any, str]]:
        return {
            keyword: (value, "" if name == keyword else named(name, tag))
            for item in _items(_value(group, sequence))[:1]
            for keyword, (name, tag) in places.items()
            if not _empty(value := _value(item, tag))
        }

    stated: dict[str, tuple[Any, str]] = {}
    for sequence, places in _STATED.items():
        stated = found(sequence, places) | stated
    instead: dict[str, tuple[Any, str]] = {}
    for sequence, places in _INSTEAD.items():
        instead |= found(sequence, places)
    return _Group(stated, instead)


def _says_little(frame_type: Any) -> bool:
    """Whether a type leaves open what a frame shows, as ORIGINAL, PRIMARY; the file's may say."""
    return isinstance(frame_type, str) or len(frame_type) <= 2


def _pulses(header: Header) -> dict[str, Any]:
    """ScanningSequence, which enhanced files state in other words."""
    if header.words("ScanningSequence"):
        return {}
    pulses = [_PULSES[word] for word in header.words("EchoPulseSequence") if word in _PULSES]
    inverted = header.words("InversionRecovery") == ["YES"]
    return {"ScanningSequence": pulses + ["IR"] * inverted}


def _value(item: Any, tag: int) -> Any:
    return item[tag].value if tag in item else None


def _items(value: Any) -> Sequence[Any]:
    """Items of a sequence; none where there is none, or something else instead."""
    if value is None or isinstance(value, (str, bytes, int, float)):
        return ()
    return value if all(hasattr(item, "keys") for item in value[:1]) else ()


def _empty(value: Any) -> bool:
    return value is None or (not isinstance(value, (int, float)) and len(value) == 0)
