"""Records as files: strict JSON, and CSV that says the same; what is not known is null."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

Record = dict[str, Any]

# A spreadsheet takes a cell that begins like this for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def plain(value: Any) -> Any:
    """A value JSON knows; None for NaN, infinity, nothing and empty text."""
    if value is None or value is pd.NA or (isinstance(value, str) and not value):
        return None
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def paired(record: Mapping[str, Any]) -> Record:
    """A record of a CSV with the two ends of each interval as one list.

    An interval of which one end alone is known keeps it: the other is unbounded.
    """
    found: Record = {}
    for key, value in record.items():
        if "_ci95_low" in key:
            ends = [value, record[key.replace("_ci95_low", "_ci95_high")]]
            found[key.replace("_ci95_low", "_ci95")] = None if ends == [None, None] else ends
        elif "_ci95_high" not in key:
            found[key] = value
    return found


def unknown(record: Mapping[str, Any], keys: Iterable[str], reason: str) -> list[str]:
    """A flag for each of these keys that is null; an interval is one."""
    missing = [key for key in keys if record[key] is None]
    names = (key.replace("_ci95_low", "_ci95").replace("_ci95_high", "_ci95") for key in missing)
    return [f"{name}: {reason}" for name in dict.fromkeys(names)]


def as_json(record: Mapping[str, Any]) -> bytes:
    """Strict JSON, readable by people, ending in a line break."""
    return (json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def as_csv(records: Sequence[Mapping[str, Any]]) -> bytes:
    """Records as CSV: UTF-8, full precision, flags joined by "; ", text never a formula."""
    columns = list(dict.fromkeys(key for record in records for key in record))
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(record.get(key)) for key in columns] for record in records)
    return stream.getvalue().encode()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        value = "; ".join(value)
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) else value
    return repr(value)
