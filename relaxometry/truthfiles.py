"""Tables of what is true, as CSV that is the same to the byte on every machine."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from pathlib import Path


def write_csv(path: Path, header: str, rows: Iterable[Sequence[str | float]]) -> None:
    """Write rows under a header with commas; NaN is an empty cell."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header.split(","))
        writer.writerows([_cell(value) for value in row] for row in rows)


def _cell(value: str | float) -> str:
    if isinstance(value, str):
        return value
    # Ten digits: exact for what was given, and free of 0.30000000000000004.
    return "" if math.isnan(value) else f"{value:.10g}"
