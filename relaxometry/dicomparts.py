"""A DICOM file read in parts: what is wanted of it, and never more memory than that deserves.

A sequence of a few bytes an item becomes a thousand bytes an item as Python objects. So sequences
that nobody wants are stepped over, the frames of an enhanced file are parsed one at a time, and of
each part only so many elements are read.
"""

from __future__ import annotations

import io
import logging
import math
import struct
import threading
import warnings
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from .errors import InputError

UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_PIXELS = 0x7FE00008, 0x7FE00010  # as numbers of 32 or 64 bits, or as whole numbers
_LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
# Headers of scanners have some hundred elements in a part, values of some kilobytes, depth 6.
_MOST_READS, _MOST_BYTES, _DEEPEST, _MOST_ITEMS = 20_000, 1 << 19, 32, 1 << 16


class _Silence:
    """Whether pydicom is heard: filters of warnings and levels of logs are those of the process.

    So the first thread to enter silences it and the last to leave restores what was; each for
    itself would restore what another had silenced.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._restore = ExitStack()

    def enter(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside > 1:
                return
            log = logging.getLogger("pydicom")
            self._restore.callback(log.setLevel, log.level)
            self._restore.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            log.setLevel(logging.CRITICAL + 1)

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._restore.close()


_silence = _Silence()


@contextmanager
def unheard() -> Iterator[None]:
    """What pydicom warns of, aloud or in its log, stays here: it quotes what stands in the file.

    Values that matter are checked one by one.
    """
    _silence.enter()
    try:
        yield
    finally:
        _silence.leave()


def known_name(one: UID) -> str:
    """Its name in the standard, or its number; what is neither may be anything."""
    return str(one.name if one.name != one or one.is_valid else "unknown")


class DicomFile(io.BufferedReader):
    """A file that never makes room for more bytes than it has, whatever its lengths claim."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self.path = path
        self.size = self.seek(0, io.SEEK_END)
        self.reads_left = math.inf
        self.encoded_as(ExplicitVRLittleEndian)
        self.seek(0)

    def encoded_as(self, syntax: UID) -> None:
        """Say how the elements are written that follow."""
        self.syntax = syntax
        self._head = struct.Struct("<HHL" if syntax.is_little_endian else ">HHL").unpack

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads_left -= 1
        if self.reads_left < 0:
            raise self.error("more elements in one part of the header than any scanner writes")
        return super().read(size if size is None or size < 4096 else min(size, self.size))

    def error(self, found: str) -> InputError:
        return InputError(found, path=self.path, hint="export the scan again")

    def head(self) -> tuple[int, int]:
        """Tag and length of the element that starts here; the file then stands at its value."""
        start = super().read(8)
        if len(start) < 8:
            raise self.error("cut off within a sequence, or before the pixels")
        group, element, length = self._head(start)
        vr = start[4:6]
        # Items have no type; and some writers leave it out inside of a sequence.
        if group != 0xFFFE and not self.syntax.is_implicit_VR and vr.isalpha() and vr.isupper():
            order: Literal["little", "big"] = "little" if self.syntax.is_little_endian else "big"
            length = int.from_bytes(super().read(4) if vr in _LONG else start[6:], order)
        return group << 16 | element, length


def parsed(
    file: DicomFile, wanted: Collection[int], kept: Collection[int] = (), end: int | None = None
) -> tuple[Dataset, dict[int, Items]]:
    """The wanted elements from here on, up to the pixels or to `end`.

    Sequences named in `kept` are not parsed, but found; the file stands at the tag of the pixels.
    """
    file.reads_left = _MOST_READS
    found = Dataset()
    places: dict[int, Items] = {}
    while True:
        halt: list[int] = []

        def stop(tag: int, vr: str | None, length: int, halt: list[int] = halt) -> bool:
            tag = int(tag)  # pydicom's own type compares slowly
            if _PIXELS[0] <= tag <= _PIXELS[1] or (end is not None and file.tell() > end):
                halt.append(0)
            elif tag in kept or (length == UNDEFINED and tag not in wanted):
                halt.append(tag)
            elif tag in wanted and length != UNDEFINED and length > _MOST_BYTES:
                raise file.error(f"{length} bytes in ({tag >> 16:04X},{tag & 0xFFFF:04X})")
            return bool(halt)

        part = read_dataset(
            file,
            file.syntax.is_implicit_VR,
            file.syntax.is_little_endian,
            stop_when=stop,
            specific_tags=list(wanted),
        )
        found.update(part)
        if halt in ([], [0]):
            file.reads_left = math.inf
            return found, places
        tag, length = file.head()
        if tag in kept:
            places[tag] = Items(file, length, wanted)
        else:
            _step_over(file, length)


class Items:
    """The items of a sequence, each parsed when it is asked for and not kept."""

    def __init__(self, file: DicomFile, length: int, wanted: Collection[int]) -> None:
        self._file, self._wanted = file, wanted
        self._places = list(islice(_items(file, length), _MOST_ITEMS + 1))
        if len(self._places) > _MOST_ITEMS:
            raise file.error(f"more than {_MOST_ITEMS} frames")

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, number: int) -> Any:
        start, end = self._places[number]
        self._file.seek(start)
        return parsed(self._file, self._wanted, end=end)[0]


def _items(file: DicomFile, length: int, depth: int = 0) -> Iterator[tuple[int, int]]:
    """Start and end of each item of a sequence; the file then stands behind it."""
    if depth > _DEEPEST:
        raise file.error(f"sequences nested {depth} deep")
    last = file.size if length == UNDEFINED else file.tell() + length
    if last > file.size:
        raise file.error("cut off within a sequence")
    while file.tell() < last:
        tag, size = file.head()
        if tag == _SEQUENCE_END:
            return
        if tag != _ITEM:
            raise ValueError(f"({tag >> 16:04X},{tag & 0xFFFF:04X}) in place of an item")
        start = file.tell()
        if size == UNDEFINED:
            end = _end_of_item(file, depth)
        else:
            end = start + size
            if size:
                file.seek(end)
        yield start, end


def _end_of_item(file: DicomFile, depth: int) -> int:
    while True:
        end = file.tell()
        tag, length = file.head()
        if tag == _ITEM_END:
            return end
        if length == UNDEFINED:
            _step_over(file, length, depth + 1)
        else:
            file.seek(length, io.SEEK_CUR)


def _step_over(file: DicomFile, length: int, depth: int = 0) -> None:
    for _ in _items(file, length, depth):
        pass
