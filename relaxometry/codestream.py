"""What a JPEG, JPEG-LS or JPEG 2000 codestream says of itself, before it is decoded."""

from __future__ import annotations

import struct

_JP2_BOX = b"\x00\x00\x00\x0cjP  "
# Starts of frame: all of FFC0 to FFCF but tables (C4, C8, CC), and that of JPEG-LS.
_FRAMES = {0xFF00 | low for low in range(0xC0, 0xD0)} - {0xFFC4, 0xFFC8, 0xFFCC} | {0xFFF7}


def cut_off(stream: bytes) -> bool:
    """Whether the end of a codestream is missing; padding may follow it."""
    return b"\xff\xd9" not in stream[-64:]


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
            marker, length = struct.unpack_from(">2H", stream, place)
            if marker in _FRAMES:
                rows, columns = struct.unpack_from(">2H", stream, place + 5)
                return columns, rows
            place += 2 + length
    except (ValueError, struct.error):
        return None
