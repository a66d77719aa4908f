"""What people type after an option, as numbers in the units inside."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .geometry import Affine
    from .series import Series
    from .settings import StudyFacts


def table_facts(
    title: str, field: float | None, temperature: float | None, medium: str, ion: str
) -> StudyFacts:
    """What is stated once of a table; raises `InputError` for a number that cannot be right."""
    from .settings import StudyFacts

    for value, option, expected in (
        (field, "--field", "tesla, above 0 and up to 30"),
        (temperature, "--temperature", "°C, −50 to 150"),
    ):
        low, high = (-50.0, 150.0) if option == "--temperature" else (1e-6, 30.0)
        if value is not None and not low <= value <= high:
            raise InputError(f"{value:g}", field=option, expected=expected)
    return StudyFacts(title, field, temperature, medium, ion)


def times(text: str | None, option: str) -> list[float] | None:
    from .units import seconds

    if text is None:
        return None
    try:
        return [seconds(part) for part in text.split(",")]
    except InputError as error:
        raise InputError(error.found, field=option, expected=error.expected) from None


def by_hand(
    te: str | None, ti: str | None, tr: str | None, fa: str | None
) -> dict[str, list[float] | None]:
    """Times and flip angles as :func:`relaxometry.read` takes them."""
    return {
        "te": times(te, "--te"),
        "ti": times(ti, "--ti"),
        "tr": times(tr, "--tr"),
        "fa": angles(fa),
    }


def points(text: str | None) -> list[int]:
    try:
        return [] if text is None else [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"{text!r}", field="--drop-echoes", expected="numbers from 1") from None


def matrix(text: str | None) -> tuple[tuple[int, ...], ...] | None:
    try:
        rows = None if text is None else [row.split(",") for row in text.split(";")]
        return None if rows is None else tuple(tuple(int(n) for n in row) for row in rows)
    except ValueError:
        raise InputError(
            f"{text!r}", field="--grid", expected='tube numbers row by row, e.g. "1,2,3;0,4,5"'
        ) from None


def on_grid(series: Series, path: Path, array: NDArray[Any], affine: Affine) -> NDArray[Any]:
    """An image (x, y, z), if it lies on the grid of the series."""
    from .errors import GeometryError
    from .geometry import same_grid

    if array.shape != series.grid or not same_grid(affine, series.affine):
        other = "" if array.shape != series.grid else ", with other voxel size, place or direction"
        raise GeometryError(
            f"not on the grid of the series: {'×'.join(map(str, array.shape))} voxels{other}",
            path=path,
            expected=f"{'×'.join(map(str, series.grid))} voxels at the same place",
        )
    return array


def angles(text: str | None) -> list[float] | None:
    try:
        return None if text is None else [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"{text!r}", field="--fa", expected="degrees, e.g. 5,10,20") from None


def in_bytes(text: str | None) -> int | None:
    if text is None:
        return None
    units = {"KB": 1e3, "MB": 1e6, "GB": 1e9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "B": 1.0}
    number = text.strip().upper()
    for unit, factor in units.items():
        if number.endswith(unit):
            number, scale = number[: -len(unit)], factor
            break
    else:
        scale = 1.0
    try:
        return int(float(number) * scale)
    except ValueError:
        raise InputError(f"{text!r}", field="--max-memory", expected="e.g. 2GB") from None
