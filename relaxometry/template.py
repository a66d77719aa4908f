"""`Template`: a rack or phantom whose geometry is known, from a small TOML file."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError

#: Templates that come with the package.
SHIPPED = ("system-phantom-T1", "system-phantom-T2")
SHAPES = ("tubes", "spheres")
_QUANTITIES = ("T1", "T2")
_KEYS = ("name", "source", "array", "radius_mm", "shape", "positions_mm", "numbers", "falling")
_LEAST, _MOST = 4, 100  # positions: three fit nearly anywhere
_REACH = 1000.0  # mm; more does not go into a scanner


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Template:
    """Where the tubes or spheres of a known phantom are, in its own frame.

    Attributes
    ----------
    name : str
    positions : ndarray (n, 2)
        x to the right and y up, in mm, from any origin.
    radius : float
        Of what is inside a tube or sphere, in mm.
    numbers : tuple of int
        One per position.
    shape : {"tubes", "spheres"}
        Tubes run through all slices; spheres are measured in the slices through their middle.
    falling : mapping of str to tuple of int
        ``{"T1": (1, 2, 3, …)}``: numbers in the order of falling T1 or T2. It tells apart
        placements that look alike, such as a ring turned by one place.
    array : str
        What the phantom's reference values are listed under, e.g. ``"NiCl2"``; empty if nothing.
    source : str
        Who says where the positions are.
    """

    name: str
    positions: NDArray[np.float64]
    radius: float
    numbers: tuple[int, ...]
    shape: str = "tubes"
    falling: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    array: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        positions = np.array(self.positions, dtype=np.float64)
        positions.flags.writeable = False
        object.__setattr__(self, "positions", positions)
        object.__setattr__(self, "falling", MappingProxyType(dict(self.falling)))

    def __reduce__(self) -> tuple[Any, ...]:
        # A mapping that cannot be changed cannot be pickled or copied either.
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return type(self), tuple({**values, "falling": dict(self.falling)}.values())

    def __len__(self) -> int:
        return len(self.numbers)

    def __repr__(self) -> str:
        return f"Template: {self.name}, {len(self)} {self.shape} of {self.radius:g} mm radius"


def read_template(template: str | Path) -> Template:
    """A template that comes with the package, by its name, or one of your own, from a TOML file.

    Parameters
    ----------
    template : str or Path
        ``"system-phantom-T1"`` or ``"system-phantom-T2"`` (the plates of the ISMRM/NIST system
        phantom), or the path of a TOML file with ``name``, ``radius_mm``, ``positions_mm`` and,
        if wanted, ``numbers``, ``shape``, ``falling``, ``array``, ``source``.

    Raises
    ------
    InputError
        Naming the file and the key: if there is no such template, the file is not TOML, or a key
        is missing, unknown or not what it should be.
    """
    path = checked_name(str(template))
    if isinstance(path, str):
        shipped = files(__package__).joinpath(f"templates/phantoms/{path}.toml")
        return _template(tomllib.loads(shipped.read_text(encoding="utf-8")))
    try:
        return _template(tomllib.loads(path.read_text(encoding="utf-8-sig")))
    except FileNotFoundError:
        raise InputError("no such file", path=path, expected="a template in TOML") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"not readable as TOML: {error}"[:200], path=path) from error
    except InputError as error:
        raise error.at(path) from None


def checked_name(name: str, field: str = "template") -> str | Path:
    """The name of a template that comes with the package, or the path of another.

    Raises
    ------
    InputError
        Naming the field, if it is neither.
    """
    if name in SHIPPED:
        return name
    if not name.lower().endswith(".toml"):
        raise InputError(
            f"{name!r}",
            field=field,
            expected=f"{' or '.join(SHIPPED)}, or the path of a TOML file",
        )
    return Path(name)


def _template(values: Mapping[str, Any]) -> Template:
    unknown = sorted(set(values) - set(_KEYS))
    if unknown:
        raise InputError("unknown key", field=unknown[0][:60], expected=", ".join(_KEYS))
    radius = _radius(values.get("radius_mm"))
    positions = _positions(values.get("positions_mm"), radius)
    numbers = _numbers(values.get("numbers", list(range(1, len(positions) + 1))), len(positions))
    shape = _text(values, "shape") or SHAPES[0]
    if shape not in SHAPES:
        raise InputError(f"{shape!r}", field="shape", expected=" or ".join(SHAPES))
    return Template(
        name=_text(values, "name") or _missing("name", "what the phantom is called"),
        positions=np.array(positions),
        radius=radius,
        numbers=numbers,
        shape=shape,
        falling=_falling(values.get("falling", {}), numbers),
        array=_text(values, "array"),
        source=_text(values, "source"),
    )


def _missing(key: str, expected: str) -> str:
    raise InputError("missing", field=key, expected=expected)


def _text(values: Mapping[str, Any], key: str) -> str:
    text = values.get(key, "")
    if not isinstance(text, str):
        raise InputError(f"{text!r}"[:80], field=key, expected="text")
    return " ".join(text.split())


def _is_number(value: Any) -> bool:
    # Neither NaN nor infinity nor a whole number too long for a float passes the comparison.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e9


def _radius(value: Any) -> float:
    if not _is_number(value) or not 0 < value <= _REACH:
        found = "missing" if value is None else f"{value!r}"[:80]
        raise InputError(found, field="radius_mm", expected="a radius in mm, above 0")
    return float(value)


def _positions(value: Any, radius: float) -> list[tuple[float, float]]:
    expected = f"a list of [x, y] in mm, at least {_LEAST} and at most {_MOST}"
    if not isinstance(value, list) or not _LEAST <= len(value) <= _MOST:
        count = f"{len(value)} positions" if isinstance(value, list) else f"{value!r}"[:80]
        raise InputError(
            "missing" if value is None else count, field="positions_mm", expected=expected
        )
    positions: list[tuple[float, float]] = []
    for i, one in enumerate(value, start=1):
        place = f"positions_mm, number {i} of the list"
        pair = isinstance(one, list) and len(one) == 2 and all(map(_is_number, one))
        if not pair or max(map(abs, one)) > _REACH:
            raise InputError(f"{one!r}"[:80], field=place, expected="[x, y] in mm")
        x, y = float(one[0]), float(one[1])
        for j, (other_x, other_y) in enumerate(positions, start=1):
            if math.hypot(x - other_x, y - other_y) < 2 * radius:
                raise InputError(
                    f"overlaps number {j}",
                    field=place,
                    expected=f"centres at least two radii ({2 * radius:g} mm) apart",
                )
        positions.append((x, y))
    return positions


def _numbers(value: Any, n: int, field: str = "numbers", least: int = 0) -> tuple[int, ...]:
    whole = isinstance(value, list) and all(
        isinstance(one, int) and not isinstance(one, bool) and 1 <= one < 2**31 for one in value
    )
    if not whole or len(set(value)) < len(value) or not (least or n) <= len(value) <= n:
        count = f"{least} to {n}" if least else f"{n}"
        raise InputError(
            f"{value!r}"[:80], field=field, expected=f"{count} different whole numbers from 1"
        )
    return tuple(value)


def _falling(value: Any, numbers: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    if not isinstance(value, dict):
        raise InputError(
            f"{value!r}"[:80], field="falling", expected="a table, [falling], with T1 and/or T2"
        )
    falling = {}
    for quantity, order in value.items():
        key = f"[falling] {quantity}"[:60]
        if quantity not in _QUANTITIES:
            raise InputError("unknown key", field=key, expected=", ".join(_QUANTITIES))
        falling[quantity] = _numbers(order, len(numbers), key, least=min(_LEAST, len(numbers)))
        strange = sorted(set(falling[quantity]) - set(numbers))
        if strange:
            raise InputError(
                f"{strange[0]}", field=key, expected="numbers of the template's positions"
            )
    return falling
