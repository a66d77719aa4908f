"""Lines with replicates, as a table of relaxivities holds them, from arrays."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

import relaxometry as rx
from relaxometry.estimate import Estimate
from relaxometry.regression import t95

C = np.array([0.4, 0.2, 0.1, 0.05, 0.025])


@dataclass
class Line:
    base: Any
    tubes: tuple
    replicate: np.ndarray
    stock_rsd: float = 0.0
    kwargs: dict = field(default_factory=dict)

    def __getattr__(self, name):
        return getattr(self.base, name)

    @property
    def r(self):
        s = np.hypot(self.base.r.stderr, self.stock_rsd * self.base.r.value)
        return Estimate(self.base.r.value, s, self.base.r.symbol)

    @property
    def slope(self):
        return self.base.r

    @property
    def k95(self):
        return t95(self.base.dof)

    @property
    def residual(self):
        return self.base.rate - self.base.line(self.base.concentration)

    def refit(self, keep):
        sigma = self.base.sigma
        return Line(
            rx.relaxivity_fit(
                self.base.concentration[keep],
                self.base.rate[keep],
                stderr=sigma[keep] if np.isfinite(sigma).all() else None,
                symbol=self.base.r.symbol,
                **self.kwargs,
            ),
            tuple(np.array(self.tubes, dtype=object)[keep]),
            self.replicate[keep],
            self.stock_rsd,
            self.kwargs,
        )


def line(c, R, sigma=None, replicate=None, tubes=None, stock_rsd=0.0, symbol="r2", **kwargs):
    c = np.asarray(c, float)
    return Line(
        rx.relaxivity_fit(c, R, stderr=sigma, symbol=symbol, **kwargs),
        tuple(range(1, c.size + 1)) if tubes is None else tuple(tubes),
        np.zeros(c.size, int) if replicate is None else np.asarray(replicate),
        stock_rsd,
        kwargs,
    )
