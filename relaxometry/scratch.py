"""Memory that a thread keeps to work in: fresh memory costs more than what is done with it.

The system hands fresh memory out page by page, and to one thread at a time.
"""

from __future__ import annotations

import threading
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


class Scratch(threading.local):
    """Arrays by name, for what lives no longer than one call: the next call writes over them."""

    def __init__(self) -> None:
        self._kept: dict[str, NDArray[np.uint8]] = {}

    def __call__(self, name: str, shape: tuple[int, ...], dtype: DTypeLike = float) -> Any:
        """An array of this shape, with whatever stands in it."""
        size = prod(shape) * np.dtype(dtype).itemsize
        if name not in self._kept or len(self._kept[name]) < size:
            self._kept[name] = np.empty(size, dtype=np.uint8)
        return self._kept[name][:size].view(dtype).reshape(shape)


scratch = Scratch()
