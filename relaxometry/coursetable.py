"""Tables of time courses, one row per animal and time, as checked arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]

_NEEDED = ("animal", "time_s")
_YES_NO = {"yes": True, "no": False, "true": True, "false": False, "": False}


def course_table(table: pd.DataFrame, quantity: str) -> dict[str, NDArray[Any]]:
    """The table's columns as arrays, checked."""
    stem, per, unit = quantity.partition("_per_")
    stem, unit = (stem, f"{per}{unit}") if per else (quantity.removesuffix("_mM"), "")
    unit = unit or ("_mM" if quantity.endswith("_mM") else "")
    names = {"value": (quantity, "value"), "stderr": (f"{stem}_stderr{unit}", "stderr")}
    found = {what: next((c for c in known if c in table), None) for what, known in names.items()}
    missing = [c for c in _NEEDED if c not in table]
    if missing or found["value"] is None:
        raise InputError(
            f"no column {', '.join([*missing, *([quantity] if found['value'] is None else [])])}",
            field="table",
            expected=f"animal, time_s, {quantity} (or value)",
        )
    if not len(table):
        raise InputError("no row", field="table", expected="a row per animal and time")
    animals = table["animal"]
    if animals.isna().any() or (animals.astype(str).str.strip() == "").any():
        raise InputError("a row without an animal", field="animal", expected="a name or number")
    animal = animals.astype(str).str.strip().to_numpy()
    time = _numbers(table, "time_s")
    if not np.isfinite(time).all():
        i = int(np.flatnonzero(~np.isfinite(time))[0])
        raise InputError(
            "no number", field=f"time_s of animal {animal[i]}", expected="s after the injection"
        )
    stderr = np.full(time.shape, np.nan)
    if found["stderr"] is not None:
        stderr = _numbers(table, found["stderr"])
        if (stderr < 0).any():
            raise InputError("a negative number", field=found["stderr"], expected="0 or more")
    value = _numbers(table, str(found["value"]))
    if np.isinf(value).any():
        raise InputError("infinity", field=str(found["value"]), expected="numbers; none if missing")
    return {
        "animal": animal,
        "time_s": time,
        "value": value,
        "stderr": stderr,
        "before": _marked(table) | (time <= 0),
    }


def _numbers(table: pd.DataFrame, column: str) -> Array:
    """A column as numbers; NaN where a cell is empty."""
    cells = table[column]
    try:
        numbers: Array = cells.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError):
        for animal, cell in zip(table["animal"], cells, strict=True):
            try:
                float(cell)
            except (TypeError, ValueError):
                raise InputError(
                    f"{cell!r}"[:60], field=f"{column} of animal {animal}", expected="a number"
                ) from None
        raise
    return numbers


def _marked(table: pd.DataFrame) -> NDArray[np.bool_]:
    if "before" not in table:
        return np.zeros(len(table), dtype=bool)
    import pandas as pd

    marks = []
    for cell in table["before"]:
        if isinstance(cell, bool | np.bool_):
            marks.append(bool(cell))
            continue
        text = "" if pd.isna(cell) else str(cell).strip().lower()
        if text not in _YES_NO:
            raise InputError(f"{cell!r}"[:60], field="before", expected="yes or no")
        marks.append(_YES_NO[text])
    return np.array(marks, dtype=bool)
