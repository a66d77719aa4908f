"""Lines with replicates from arrays, as the lines of a table are."""

from __future__ import annotations

import numpy as np

import relaxometry as rx

C = np.array([0.4, 0.2, 0.1, 0.05, 0.025])


def line(c, R, sigma=None, replicate=None, tubes=None, symbol="r2", **kwargs) -> rx.Relaxivity:
    """Points numbered from 1 unless they have tubes."""
    tubes = [str(tube) for tube in (range(1, len(c) + 1) if tubes is None else tubes)]
    return rx.relaxivity_fit(
        c, R, stderr=sigma, replicate=replicate, tubes=tubes, symbol=symbol, **kwargs
    )
