"""What an RLE, JPEG, JPEG-LS or JPEG 2000 codestream says of itself, before it is decoded."""

from __future__ import annotations

import struct
from itertools import pairwise

# Two bytes of RLE stand for 128 at most.
MOST_OF_RLE = 64
_RLE_HEAD = struct.Struct("<16L")
_JP2_BOX = b"\x00\x00\x00\x0cjP  "
# Starts of frame: all of FFC0 to FFCF but tables (C4, C8, CC), and that of JPEG-LS.
_FRAMES = {0xFF00 | low for low in range(0xC0, 0xD0)} - {0xFFC4, 0xFFC8, 0xFFCC} | {0xFFF7}


def cut_off(stream: bytes) -> bool:
    """Whether the end of a codestream is missing; padding may follow it."""
    return b"\xff\xd9" not in stream[-64:]


def holds_rle(stream: bytes, pixels: int, bits: int) -> bool:
    """Whether an RLE frame may hold so many pixels: as many segments as bytes in each of them.

    PS3.5 annex G: a head of 64 bytes with the number of segments and where each starts.
    """
    if len(stream) < _RLE_HEAD.size:
        return False
    count, *starts = _RLE_HEAD.unpack_from(stream)
    if count != max(bits // 8, 1) or count > len(starts):
        return False
    edges = [*starts[:count], len(stream)]
    return edges[0] == _RLE_HEAD.size and all(
        pixels <= MOST_OF_RLE * (end - start) for start, end in pairwise(edges)
    )


def size_of(stream: bytes) -> tuple[int, int] | None:
    """Columns and rows that a codestream decodes to; None where it is none of these.

    A decoder takes memory for what the codestream claims, whatever the header says.
    """
    try:
        start = stream.index(b"\xff\x4f\xff\x51") if stream.startswith(_JP2_BOX) else 0
        if stream[start : start + 4] == b"\xff\x4f\xff\x51":  # JPEG 2000: SOC and SIZ
            x1, y1, x0, y0 = struct.unpack_from(">4I", stream, start + 8)
            return x1 - x0, y1 - y0
        if stream[:2] != b"\xff\xd8":
            return None
        place = 2
        while True:
            while stream[place : place + 2] == b"\xff\xff":  # fill bytes before a marker
                place += 1
            marker, length = struct.unpack_from(">2H", stream, place)
            if marker < 0xFFC0:
                return None
            if marker in _FRAMES:
                rows, columns = struct.unpack_from(">2H", stream, place + 5)
                return columns, rows
            place += 2 + length
    except (ValueError, struct.error):
        return None
