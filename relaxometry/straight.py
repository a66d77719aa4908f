"""The straight line y = a + b·x through n points, by each way of weighing their errors.

Arrays only: nothing here knows of concentrations or rates.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_SMALLEST = 1e-3  # of the largest fitted value: below, an error in proportion to it is no error


class Line(NamedTuple):
    """A line and what its errors would be if `sigma` were the true error of each point.

    Attributes
    ----------
    intercept, slope : float
    covariance : ndarray (2, 2)
        Of (intercept, slope), for errors `sigma`.
    sigma : ndarray (n,)
        Error of each point along y, with that along x carried over by the slope.
    """

    intercept: float
    slope: float
    covariance: Array
    sigma: Array


def weighted(x: Array, y: Array, sigma: Array, intercept: float | None = None) -> Line:
    """Least squares weighted by 1/σ²; the ordinary line where all σ are the same."""
    w = sigma**-2
    if intercept is not None:
        square = (w * x * x).sum()
        slope = float((w * x * (y - intercept)).sum() / square)
        return Line(intercept, slope, np.array([[0.0, 0.0], [0.0, 1 / square]]), sigma)
    total, centre = w.sum(), (w * x).sum() / w.sum()
    spread = (w * (x - centre) ** 2).sum()
    slope = float((w * (x - centre) * y).sum() / spread)
    return Line(
        float((w * y).sum() / total - slope * centre), slope, _covariance(w, x, centre), sigma
    )


def relative(x: Array, y: Array, intercept: float | None = None) -> Line:
    """Least squares with σ in proportion to the line itself, so that each decade counts alike.

    Weights follow the fitted values, not the measured ones: those would favour points that came
    out low (Carroll & Ruppert, Transformation and Weighting in Regression, 1988, chapter 2).
    """
    line = weighted(x, y, np.ones_like(y), intercept)
    for _ in range(100):
        fitted = np.abs(line.intercept + line.slope * x)
        last, line = line, weighted(x, y, np.maximum(fitted, _SMALLEST * fitted.max()), intercept)
        if abs(line.slope - last.slope) <= 1e-13 * abs(line.slope):
            break
    return line


def york(x: Array, y: Array, sigma_x: Array, sigma_y: Array) -> Line:
    """Errors in both axes, by the closed iteration of York et al., Am J Phys 72:367 (2004)."""
    slope = float(np.polyfit(x, y, 1)[0])
    for _ in range(200):
        w = 1 / (sigma_y**2 + (slope * sigma_x) ** 2)
        x_mean, y_mean = (w * x).sum() / w.sum(), (w * y).sum() / w.sum()
        U, V = x - x_mean, y - y_mean
        beta = w * (U * sigma_y**2 + slope * V * sigma_x**2)
        last, slope = slope, float((w * beta * V).sum() / (w * beta * U).sum())
        if abs(slope - last) <= 1e-14 * abs(slope):
            break
    adjusted = x_mean + beta
    centre = (w * adjusted).sum() / w.sum()
    return Line(
        float(y_mean - slope * x_mean), slope, _covariance(w, adjusted, centre), 1 / np.sqrt(w)
    )


def odr(x: Array, y: Array, sigma_x: Array, sigma_y: Array, intercept: float | None = None) -> Line:
    """Errors in both axes, by orthogonal distance regression; exact x (σ 0) stay where they are.

    ODRPACK95: Zwolak, Boggs & Watson, ACM Trans Math Softw 33:27 (2007).
    """
    from odrpack import odr_fit

    start = weighted(x, y, np.hypot(sigma_y, np.polyfit(x, y, 1)[0] * sigma_x), intercept)
    exact = sigma_x == 0
    # In units of their own spread the two axes are alike, and the search ends nearer the minimum.
    sx, sy = float(np.ptp(x)), float(max(np.ptp(y), np.abs(y).max() * 1e-9)) or 1.0
    scale = np.array([sy, sy / sx])
    found = odr_fit(
        lambda X, beta: beta[0] + beta[1] * X,
        x / sx,
        y / sy,
        np.array([start.intercept, start.slope]) / scale,
        weight_x=(np.where(exact, 1.0, sigma_x) / sx) ** -2.0,
        weight_y=(sigma_y / sy) ** -2.0,
        fix_x=exact,
        fix_beta=np.array([intercept is not None, False]),
        jac_beta=lambda X, beta: np.stack([np.ones_like(X), X]),
        jac_x=lambda X, beta: np.full_like(X, beta[1]),
        maxit=500,
        sstol=1e-15,
        partol=1e-15,
    )
    a, b = (float(value) for value in found.beta * scale)
    w = 1 / (sigma_y**2 + (b * sigma_x) ** 2)
    adjusted = np.asarray(found.xplusd) * sx
    if intercept is not None:
        covariance = np.array([[0.0, 0.0], [0.0, 1 / (w * adjusted**2).sum()]])
        return Line(intercept, b, covariance, 1 / np.sqrt(w))
    covariance = _covariance(w, adjusted, float((w * adjusted).sum() / w.sum()))
    return Line(a, b, covariance, 1 / np.sqrt(w))


def _covariance(w: Array, x: Array, centre: float) -> Array:
    """Of (intercept, slope) for weights w at x, whose weighted mean is `centre`."""
    spread = (w * (x - centre) ** 2).sum()
    return np.array(
        [[1 / w.sum() + centre**2 / spread, -centre / spread], [-centre / spread, 1 / spread]]
    )
