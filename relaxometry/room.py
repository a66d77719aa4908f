"""The arrays that the compiled loops work in, for many curves side by side: one in each lane."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .kernels import COEFFICIENTS

Array = NDArray[np.float64]
Single = NDArray[np.float32]
Index = NDArray[np.uint64]

LANES = 128  # curves side by side: what a step runs over stays in the nearest cache
WIDTH = 16  # numbers that a table has for one place, filled up to whole vectors
# Points are filled up to fours, or eights: shorter loops are not made into vectors.
FOUR, EIGHT = 4, 8
_LINE = 64  # bytes of a cache's line


class Room(NamedTuple):
    """Arrays that the steps work in: of each lane, or (most,) of each maximum that is followed."""

    y: Array  # (n filled up to eights, LANES): curves of unit length
    eights: Array  # the same, by eights
    single: Single  # the same in single precision, n filled up to fours
    length: Array
    spread: Array  # Σ w(S − mean S)²
    scores: Single  # (node, 2·LANES): shares, then slopes
    found: Single  # (run, 2·LANES): see `peaks`
    constant: Single  # (run, LANES): F of the column that keeps its direction
    seen: Single  # highest F of any node
    lanes: Index  # whose maximum it is
    runs: Index
    nodes: Index  # after which it lies; then the odd one of the two
    middle: Array  # of the two, as seen from it
    u: Array
    moved: Array  # by the last of Newton's steps, in log T
    bend: Array
    top: Array  # the share there
    c: Array  # (degree+2, most): coefficients of the share, and that of the other column
    row: Array  # (WIDTH,)
    best: Array  # F of the highest maximum
    chosen: Index  # which that is
    tables: Array  # (WIDTH, LANES): at that maximum
    a: Array  # (2, LANES)
    drift: Array  # (2, LANES)
    var: Array
    work: Array  # (EIGHT·LANES,)


def aligned(shape: int | tuple[int, ...], dtype: DTypeLike = np.float64) -> Any:
    """Zeros from the start of a cache line on: what goes over the end of one takes longer."""
    size = math.prod(np.atleast_1d(shape).tolist()) * np.dtype(dtype).itemsize
    bytes_ = np.zeros(size + _LINE, dtype=np.uint8)
    start = -bytes_.ctypes.data % _LINE
    return bytes_[start : start + size].view(dtype).reshape(shape)


def room_for(n: int, nodes: int, runs: int) -> Room:
    """Room for curves of n points, tables of so many nodes, and runs."""
    y = aligned((-(-n // EIGHT) * EIGHT, LANES))
    most = runs * LANES  # one maximum of each: what lies beside a curve must not crowd it out
    single = np.float32
    return Room(
        y=y,
        eights=y.reshape(-1, EIGHT, LANES),
        single=aligned((-(-n // FOUR) * FOUR, LANES), single),
        length=aligned(LANES),
        spread=aligned(LANES),
        scores=aligned((nodes, 2 * LANES), single),
        found=aligned((runs, 2 * LANES), single),
        constant=aligned((runs, LANES), single),
        seen=aligned(LANES, single),
        lanes=aligned(most, np.uint64),
        runs=aligned(most, np.uint64),
        nodes=aligned(most, np.uint64),
        middle=aligned(most),
        u=aligned(most),
        moved=aligned(most),
        bend=aligned(most),
        top=aligned(most),
        c=aligned((COEFFICIENTS + 1, most + EIGHT)),
        row=aligned(WIDTH),
        best=aligned(LANES),
        chosen=aligned(LANES, np.uint64),
        tables=aligned((WIDTH, LANES + EIGHT)),
        a=aligned((2, LANES)),
        drift=aligned((2, LANES)),
        var=aligned(LANES),
        work=aligned(EIGHT * LANES),
    )
