"""A table of a TOML file: typed access to its keys, and a complaint about what nobody asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import InputError
from .units import seconds


class TomlTable:
    """One table of the document: typed access, and a complaint about what nobody asked for."""

    def __init__(self, name: str, values: Mapping[str, Any], folder: Path) -> None:
        self.name, self.values, self.folder = name, values, folder
        self.asked: set[str] = set()

    def key(self, key: str) -> str:
        return f"[{self.name}] {key}" if self.name else key

    def seen(self, key: str) -> bool:
        return key in self.values

    def take(self, key: str, kind: type | tuple[type, ...], default: Any = None) -> Any:
        self.asked.add(key)
        value = self.values.get(key, default)
        if value is None:
            return None
        if not isinstance(value, kind) or isinstance(value, bool):
            names = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
            words = {"str": "text", "int": "a whole number", "list": "a list", "dict": "a table"}
            words |= {"int or str": "a whole number or text", "str or int": "text"}
            words |= {
                "str or list": "a path or a list of paths",
                "str or dict": "a path or a table",
            }
            words["list or str"] = "a list, or the name of a CSV file"
            raise InputError(
                f"{value!r}", field=self.key(key), expected=words.get(names, "a number")
            )
        return value

    def table(self, key: str) -> TomlTable:
        return TomlTable(key, self.take(key, dict, {}), self.folder)

    def tables(self, key: str) -> list[TomlTable]:
        found = self.values.get(key, [])
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise InputError("not a list of tables", field=key, expected=f"[[{key}]] for each")
        return [TomlTable(f"{key} {i}", one, self.folder) for i, one in enumerate(found, start=1)]

    def text(self, key: str) -> str:
        return str(self.take(key, str, ""))

    def number(self, key: str) -> float | None:
        value = self.take(key, (int, float))
        if value is not None and not math.isfinite(value):
            raise InputError(f"{value}", field=self.key(key), expected="a finite number")
        return None if value is None else float(value)

    def positive(self, key: str) -> float | None:
        value = self.number(key)
        if value is not None and value <= 0:
            raise InputError(f"{value:g}", field=self.key(key), expected="above 0")
        return value

    def region(self, key: str) -> int | str | None:
        """A region by its label or by its name."""
        value: int | str | None = self.take(key, (int, str))
        if value == "" or (isinstance(value, int) and value < 1):
            raise InputError(
                f"{value!r}",
                field=self.key(key),
                expected="a label of the regions, from 1, or a name",
            )
        return value

    def choice(self, key: str, choices: tuple[str, ...]) -> Any:
        value = self.take(key, str)
        if value is not None and value not in choices:
            raise InputError(f"{value!r}", field=self.key(key), expected=" or ".join(choices))
        return value

    def path(self, key: str) -> Path:
        return self._there(key, self.take(key, str))

    def paths(self, key: str) -> tuple[Path, ...]:
        """A path, or a list of them; empty where there is none."""
        value = self.take(key, (str, list))
        return tuple(
            self._there(key, one)
            for one in ([] if value is None else value if isinstance(value, list) else [value])
        )

    def _there(self, key: str, text: Any) -> Path:
        if not text or not isinstance(text, str):
            found = "missing" if not text else f"{text!r}"[:60]
            raise InputError(found, field=self.key(key), expected="a path")
        path = self.folder / text
        if not path.exists():
            raise InputError(
                f"{text!r} does not exist",
                field=self.key(key),
                expected="a path relative to the study file",
            )
        return path

    def numbers(self, key: str) -> tuple[float, ...] | None:
        values = self.take(key, list)
        if values is None:
            return None
        if not all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values):
            raise InputError(f"{values!r}", field=self.key(key), expected="a list of numbers")
        return tuple(float(v) for v in values)

    def times(self, key: str) -> tuple[float, ...] | None:
        values = self.take(key, list)
        try:
            return None if values is None else tuple(seconds(v) for v in values)
        except InputError as error:
            raise InputError(error.found, field=self.key(key), expected=error.expected) from None

    def time(self, key: str) -> float | None:
        """A time above 0 in s, or as text with its unit."""
        value = self.take(key, (int, float, str))
        try:
            time = None if value is None else seconds(value)
        except InputError as error:
            raise InputError(error.found, field=self.key(key), expected=error.expected) from None
        if time is not None and time <= 0:
            raise InputError(f"{value!r}", field=self.key(key), expected="a time above 0")
        return time

    def done(self) -> None:
        unknown = sorted(set(self.values) - self.asked)
        if unknown:
            raise InputError(
                "unknown key",
                field=self.key(unknown[0]),
                expected=", ".join(sorted(self.asked)),
            )
