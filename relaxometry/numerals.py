"""Numbers as people read them in a report: a value and its error, an interval."""

from __future__ import annotations

import math

from .estimate import Estimate


def number(value: float, stderr: float = math.nan, factor: float = 1.0) -> str:
    """A value ± its error, as an `Estimate` prints it but without its unit."""
    return str(Estimate(value * factor, stderr * factor)).replace("-", "−")


def interval(low: float, high: float) -> str:
    """An interval, to two digits of a quarter of its width: about its standard error."""
    if not (math.isfinite(low) and math.isfinite(high) and high > low):
        return ""
    decimals = max(0, 1 - math.floor(math.log10((high - low) / 4)))
    return f"{low:.{decimals}f} to {high:.{decimals}f}".replace("-", "−")
