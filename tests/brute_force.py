"""An independent search for the least-squares minimum.

A dense grid over T, every sign pattern, and a polish. Nothing is shared with `relaxometry.solve`:
amplitudes come from the normal equations at each T, the cone of allowed amplitudes from its edges,
and the polish from a scalar minimiser.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar

from relaxometry import Protocol, SignalModel


def _rss(model: SignalModel, protocol: Protocol, T: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Least RSS (g,) at each T (g,) over the allowed amplitudes, for one sign pattern of y (n,)."""
    columns = model.basis(protocol, T)
    ratio = model.ratio(protocol)

    def one_column(a: np.ndarray) -> np.ndarray:
        reach = np.maximum(a @ y, 0) / np.linalg.norm(a, axis=1)
        return y @ y - reach**2

    if columns.shape[2] == 1:
        return one_column(columns[..., 0])
    gram = np.einsum("gni,gnj->gij", columns, columns)
    right = np.einsum("gni,n->gi", columns, y)
    amplitudes = np.linalg.solve(gram, right[..., None])[..., 0]
    residual = y - np.einsum("gni,gi->gn", columns, amplitudes)
    rss = (residual**2).sum(axis=1)
    if ratio is None:
        return rss
    low, high = ratio
    first, second = amplitudes.T
    allowed = (first > 0) & (second > low * first) & (second <= high * first)
    edges = np.min([one_column(columns @ np.array([1.0, edge])) for edge in ratio], axis=0)
    return np.where(allowed, np.minimum(rss, edges), edges)


def brute_force(
    model: SignalModel,
    protocol: Protocol,
    y: np.ndarray,
    bounds: tuple[float, float],
    magnitude: bool,
    points: int = 1500,
) -> tuple[float, float]:
    """T and RSS of the global minimum for one curve y (n,)."""
    grid = np.linspace(*np.log(bounds), points)
    best = (np.inf, np.nan)
    for k in range(len(y) + 1 if magnitude and model.inverts else 1):
        signed = np.where(np.arange(len(y)) < k, -y, y)

        def rss(log_T: float, signed: np.ndarray = signed) -> float:
            return float(_rss(model, protocol, np.exp(np.array([log_T])), signed)[0])

        coarse = _rss(model, protocol, np.exp(grid), signed)
        inner = (coarse[1:-1] <= coarse[:-2]) & (coarse[1:-1] <= coarse[2:])
        for i in [*(np.flatnonzero(inner) + 1), 0, points - 1]:
            if coarse[i] > best[0] * (1 + 1e-3) + 1e-12 * float(y @ y):
                continue
            if 0 < i < points - 1:
                found = minimize_scalar(
                    rss,
                    bounds=(grid[i - 1], grid[i + 1]),
                    method="bounded",
                    options={"xatol": 1e-12},
                )
                candidate = (float(found.fun), float(np.exp(found.x)))
            else:
                candidate = (float(coarse[i]), float(np.exp(grid[i])))
            best = min(best, candidate)
    return best[1], best[0]
