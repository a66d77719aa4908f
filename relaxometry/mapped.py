"""Arrays that lie in a file: memory that can be given back while they stream through."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray


def release(array: NDArray[Any]) -> None:
    """Tell the system that the pages of a read-only, memory-mapped array may leave the memory.

    What is read again is fetched from the file again, so this never changes a value; of an array
    that lies in memory, and where the system has no such call, it does nothing. Call it after each
    block of a large series: what stays resident is then a block, not the file.

    Parameters
    ----------
    array : ndarray
        A memory map, or any view of one. The whole map is released.
    """
    base: Any = array
    while isinstance(base, np.ndarray | memoryview):
        base = base.obj if isinstance(base, memoryview) else base.base
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        with memoryview(base) as view:
            read_only = view.readonly
        # A map opened to be written may hold changes that are nowhere else (copy on write).
        if read_only:
            base.madvise(mmap.MADV_DONTNEED)
