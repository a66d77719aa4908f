"""Numbers as people read them in a report: a value and its error, an interval, a P value."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from .estimate import Estimate

_MINUS = str.maketrans({"-": "−"})


def number(value: float, stderr: float = math.nan, factor: float = 1.0) -> str:
    """A value ± its error, as an `Estimate` prints it but without its unit."""
    return str(Estimate(value * factor, stderr * factor)).translate(_MINUS)


def interval(low: float, high: float) -> str:
    """An interval, to two digits of a quarter of its width: about its standard error.

    An end that is infinite is said in words; nothing is said of an interval that is not known.
    """
    if math.isnan(low) or math.isnan(high):
        return ""
    if math.isinf(low) or math.isinf(high):
        if math.isinf(low) and math.isinf(high):
            return "unbounded"
        return f"above {short(low)}" if math.isinf(high) else f"below {short(high)}"
    if high <= low:
        return ""
    decimals = 1 - math.floor(math.log10((high - low) / 4))
    most = 6 - math.floor(math.log10(max(abs(low), abs(high))))  # the rest is rounding
    decimals = max(0, min(decimals, most))
    return f"{low:.{decimals}f} to {high:.{decimals}f}".translate(_MINUS)


def short(value: float, digits: int = 4, unknown: str = "–") -> str:
    """A number to so many digits, or a dash where it is not known."""
    return f"{value:.{digits}g}".translate(_MINUS) if math.isfinite(value) else unknown


def percent(fraction: float) -> str:
    """A fraction in percent to two digits, or a dash where it is not known."""
    if not math.isfinite(fraction):
        return "–"
    value = 100 * fraction + 0.0  # no −0
    return f"{value:{'.0f' if abs(value) >= 100 else '.2g'}} %".translate(_MINUS)


def probability(p: float) -> str:
    """A P value: two digits, and below 0.0001 no more than that."""
    if math.isnan(p):
        return "–"
    return "< 0.0001" if p < 1e-4 else f"{p:.2g}" if p < 0.9995 else "1.0"


def named(*parts: object) -> str:
    """An agent with its condition, in one line whatever its name holds."""
    return " ".join(" ".join(str(part).split()) for part in parts if part)


def listed(words: Iterable[str], last: str = "and") -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    *most, end = list(words) or [""]
    return f"{', '.join(most)} {last} {end}" if most else end


def columns(heads: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> list[str]:
    """Lines of a table in plain text, its first columns to the left and numbers to the right."""
    table = [tuple(heads), *(tuple(row) for row in rows)]
    widths = [max(map(len, cells)) for cells in zip(*table, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]
