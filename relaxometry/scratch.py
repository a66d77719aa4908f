"""Memory that a thread keeps to work in: fresh memory costs more than what is done with it.

The system hands fresh memory out page by page, and to one thread at a time. What a thread leaves
behind when it ends goes to the next one.
"""

from __future__ import annotations

import threading
import weakref
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

_Kept = dict[str, NDArray[np.uint8]]


class Scratch(threading.local):
    """Arrays by name, for what lives no longer than one call: the next call writes over them."""

    _left_behind: list[_Kept] = []  # noqa: RUF012 - shared by all threads

    def __init__(self) -> None:
        try:
            self._kept = self._left_behind.pop()
        except IndexError:
            self._kept = {}
        weakref.finalize(threading.current_thread(), self._left_behind.append, self._kept)

    def __call__(self, name: str, shape: tuple[int, ...], dtype: DTypeLike = float) -> Any:
        """An array of this shape, with whatever stands in it."""
        size = prod(shape) * np.dtype(dtype).itemsize
        if name not in self._kept or len(self._kept[name]) < size:
            self._kept[name] = np.empty(size, dtype=np.uint8)
        return self._kept[name][:size].view(dtype).reshape(shape)


scratch = Scratch()
