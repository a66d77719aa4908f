"""Short pieces of the compiled loops; numba writes each of them out where it is used."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import Any

from numba import njit

from .tables import DEGREE

COEFFICIENTS = DEGREE + 1


def _forget_older() -> None:
    """Drop what numba has kept of other versions of these files.

    It asks only whether the file of a function is the same; but others are written out in it.
    """
    here = Path(__file__).parent
    names = [
        "kernels",
        "loops",
        "room",
        "lanes",
        "uniform",
        "peaks",
        "projection",
        "tables",
        "maps",
    ]
    sources = b"".join((here / f"{name}.py").read_bytes() for name in names)
    digest, mark = hashlib.sha256(sources).hexdigest(), here / "__pycache__" / "kernels.sha256"
    with suppress(OSError):  # a folder that cannot be written is not changed either
        if mark.is_file() and mark.read_text() == digest:
            return
        for kept in mark.parent.glob("*.nb[ic]"):
            kept.unlink()
        mark.parent.mkdir(exist_ok=True)
        mark.write_text(digest)


_forget_older()

# Without reference counting (`_nrt`): an atomic count for every array touched in a loop costs more
# than the arithmetic. Nothing compiled here makes an array.
exact = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"}, _nrt=False)
# Sums in any order, and no NaN: curves that are not finite are taken out before.
quick = njit(cache=True, nogil=True, error_model="numpy", fastmath=True, _nrt=False)
inlined = njit(inline="always", error_model="numpy", _nrt=False)


@inlined
def product(table: Any, y: Any, out: Any) -> None:
    """Out = y @ table, eight rows at a time: a pass over `out` costs as much as a row."""
    rows, columns = table.shape
    for j in range(columns):
        out[j] = 0.0
    i = 0
    while i + 8 <= rows:
        a, b, c, d = y[i], y[i + 1], y[i + 2], y[i + 3]
        e, f, g, h = y[i + 4], y[i + 5], y[i + 6], y[i + 7]
        r0, r1, r2, r3 = table[i], table[i + 1], table[i + 2], table[i + 3]
        r4, r5, r6, r7 = table[i + 4], table[i + 5], table[i + 6], table[i + 7]
        for j in range(columns):
            out[j] += ((a * r0[j] + b * r1[j]) + (c * r2[j] + d * r3[j])) + (
                (e * r4[j] + f * r5[j]) + (g * r6[j] + h * r7[j])
            )
        i += 8
    while i + 2 <= rows:
        a, b = y[i], y[i + 1]
        r0, r1 = table[i], table[i + 1]
        for j in range(columns):
            out[j] += a * r0[j] + b * r1[j]
        i += 2
    if i < rows:
        a = y[i]
        r0 = table[i]
        for j in range(columns):
            out[j] += a * r0[j]


@inlined
def one_less(share: Any, row: Any, twice: float, out: Any) -> None:
    """A share with one point turned over."""
    for j in range(out.size):
        out[j] = share[j] - twice * row[j]


@inlined
def top_of_share(height: Any, barred: Any) -> float:
    """The highest share of a run."""
    top = 0.0
    for j in range(height.size):
        top = max(top, height[j] + barred[j])
    return top


@inlined
def top_of_square(height: Any, barred: Any) -> float:
    """Of one share, which must be positive."""
    top = 0.0
    for j in range(height.size):
        one = max(height[j], 0.0)
        top = max(top, one * one + barred[j])
    return top


@inlined
def top_of_squares(one: Any, other: Any, barred: Any) -> float:
    """Of both shares together."""
    top = 0.0
    for j in range(one.size):
        top = max(top, one[j] * one[j] + other[j] * other[j] + barred[j])
    return top


@inlined
def score(height: Any, r: int, j: int, one_share: bool, by_share: bool, constant: float) -> Any:
    """What a node is judged by: the share itself, or F."""
    one = height[0, r, j]
    if by_share:
        result = one
    elif one_share:
        one = max(one, 0.0)
        result = one * one + constant
    else:
        result = one * one + height[1, r, j] * height[1, r, j]
    return result


@inlined
def dot(a: Any, b: Any) -> float:
    total = 0.0
    for i in range(a.size):
        total += a[i] * b[i]
    return total


@inlined
def coefficients(
    of_y: Any, lifted: Any, turned: Any, n: int, J: int, m: int, node: int, pattern: int, c: Any
) -> None:
    """Coefficients (m, degree+1) of the moving shares around a node, for one sign pattern."""
    for start in range(0, J * n, n):
        for i in range(pattern):
            turned[start + i] = -lifted[start + i]
        for i in range(pattern, n):
            turned[start + i] = lifted[start + i]
    for k in range(m):
        product(of_y[node * m + k], turned, c[k])


@inlined
def slope_at(sign: int, m: int, c: Any, u: float) -> Any:
    """See `Branch._slope`."""
    slope = 0.0
    bend = 0.0
    for k in range(m):
        value = c[k, COEFFICIENTS - 1]
        first = 0.0
        half_second = 0.0
        for d in range(COEFFICIENTS - 2, -1, -1):
            half_second = half_second * u + first
            first = first * u + value
            value = value * u + c[k, d]
        if sign != 0:
            slope = first * sign
            bend = 2.0 * half_second * sign
        else:
            slope += value * first
            bend += first * first + 2.0 * value * half_second
    return slope, bend


@inlined
def least_change(m: int, c: Any, F: float) -> float:
    """How much F is from that at the node and at its neighbours, at least."""
    least = 2.0
    for place in range(-1, 2):
        there = 0.0
        for k in range(m):
            value = c[k, COEFFICIENTS - 1]
            for d in range(COEFFICIENTS - 2, -1, -1):
                value = value * place + c[k, d]
            there += value * value
        least = min(least, abs(F - there))
    return least
