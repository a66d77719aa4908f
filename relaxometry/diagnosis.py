"""What is odd about a line: points far from it, points it hangs on, a bend.

Arrays only; the words are for R = R(0) + r·c.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: A bend is told of below this probability, a point off the line below the other.
CURVED, OFF_THE_LINE = 0.05, 0.01
#: A point off the line is told of where the slope would change by more than this without it.
MATTERS = 0.01
#: A point of more leverage than this, and with more than half of the slope's variance, has the
#: slope to itself. Leverage alone may be on R(0), as that of a blank.
ALONE, HALF = 0.9, 0.5
#: Squares of residuals below this part of those of the rates are rounding.
ROUNDING = 1e-20


class Diagnosis(NamedTuple):
    """How each point stands to a line.

    Attributes
    ----------
    leverage : ndarray (n,)
        Diagonal of the hat matrix: 1 where the line must pass through the point.
    share : ndarray (n,)
        Part of the slope's variance that is this point's: they add up to 1.
    cook : ndarray (n,)
        Cook's distance (Technometrics 19:15, 1977); NaN without a degree of freedom.
    influence : ndarray (n,)
        Relative change of the slope when the point is left out; NaN where none is then left.
    off : ndarray (n,)
        Probability of a point so far off the line through the others, times the number of points
        (Bonferroni); NaN where the others leave no degree of freedom.
    curvature : float
        What a quadratic term adds at the largest c, over what the line's slope does there.
    curvature_p : float
        Probability of such a term where there is none; NaN below four points or three
        concentrations.
    """

    leverage: Array
    share: Array
    cook: Array
    influence: Array
    off: Array
    curvature: float
    curvature_p: float


def diagnose(
    c: Array, R: Array, weight: Array, R0: float | None, absolute: bool, outliers: bool = True
) -> Diagnosis:
    """How each point stands to the least-squares line weighted by `weight` (0: not counted).

    Parameters
    ----------
    c, R, weight : ndarray (n,)
        Weight 1/σ².
    R0 : float or None
        R(0) where it is held fixed.
    absolute : bool
        Whether the σ behind the weights are the true errors, and not only in proportion to them.
    outliers : bool
        Whether to judge how far each point lies off the line; a robust line has done so.
    """
    root = np.sqrt(weight)
    fixed = R0 is not None
    columns = [c] if fixed else [np.ones_like(c), c]
    X = np.stack(columns, axis=1) * root[:, None]
    inverse = np.linalg.pinv(X.T @ X)
    leverage = np.einsum("ni,ij,nj->n", X, inverse, X)
    y = (R - (R0 or 0.0)) * root
    coefficients = inverse @ X.T @ y
    z, r = y - X @ coefficients, float(coefficients[-1])
    counted = int((weight > 0).sum())
    p = len(columns)
    dof = counted - p
    # Where a point is alone the line has no choice there, and no opinion without it.
    apart = np.where(leverage < 1 - 1e-9, 1 - leverage, np.nan)
    scale = (z @ z) / dof if dof > 0 else math.nan
    with np.errstate(divide="ignore", invalid="ignore"):
        cook = z**2 * leverage / (p * scale * apart**2)
        pull = (X @ inverse)[:, -1] * z / apart
        influence = -pull / r if r else np.full_like(c, np.nan)
    share = (X @ inverse)[:, -1] ** 2
    bend, bend_p = _curvature(c, y, root, r, fixed, absolute)
    # Stated errors are not doubted for a point that lies within them.
    least = 1.0 if absolute else ROUNDING * float((R * root) @ (R * root))
    off = _off(z, apart, dof, counted, least) if outliers else np.full_like(c, np.nan)
    counts = weight > 0
    return Diagnosis(
        leverage,
        share / share.sum(),
        np.where(counts, cook, np.nan),
        np.where(counts, influence, 0.0),
        np.where(counts, off, np.nan),
        bend,
        bend_p,
    )


def remarks(found: Diagnosis, symbol: str, c: Array, tubes: tuple[object, ...]) -> list[str]:
    """What a reader should know of a line's points, in sentences."""
    said = []
    if found.curvature_p < CURVED and np.isfinite(found.curvature):
        said.append(_bend_in_words(found, symbol))
    odd = np.flatnonzero((found.off < OFF_THE_LINE) & (np.abs(found.influence) > MATTERS))
    worst = int(odd[np.argmin(found.off[odd])]) if odd.size else -1
    if worst >= 0:
        change = 100 * found.influence[worst]
        said.append(
            f"{point_in_words(tubes, c, worst)} does not lie on the line through the others "
            f"(P = {found.off[worst]:.1g}): without it {symbol or 'r'} changes by {change:+.1f} %, "
            "method robust weighs that"
        )
    alone = np.flatnonzero(
        (found.leverage > ALONE) & (found.share > HALF) & (np.arange(c.size) != worst)
    )
    if alone.size and c.size > 3:
        said.append(
            f"the slope rests almost alone on {point_in_words(tubes, c, int(alone[0]))} "
            f"(leverage {found.leverage[alone[0]]:.2f}): an error there is the slope's error"
        )
    return said


def point_in_words(tubes: tuple[object, ...], c: Array, i: int) -> str:
    """What to call a point: by its tube, else by its concentration."""
    return f"tube {tubes[i]}" if tubes else f"the point at {c[i]:g} mM"


def _bend_in_words(found: Diagnosis, symbol: str) -> str:
    """What may make this rate bend this way, and what to do."""
    rate = symbol.upper() or "R"
    falls = found.curvature < 0
    causes = {
        ("r1", True): (
            "T1 limited by the shortest TI or TR, settling, or tubes that hold less than stated"
        ),
        ("r2", True): (
            "T2 short against the first echo, points on the noise floor, settling or aggregation"
        ),
        ("r1", False): "T1 long against the longest TI or TR, or concentrations that are wrong",
        ("r2", False): "particles that aggregate at high concentration, or wrong concentrations",
    }
    why = causes.get((symbol, falls), "a limit of the method, or wrong concentrations")
    return (
        f"{rate} bends {'down' if falls else 'up'} with concentration (a quadratic term, "
        f"P = {found.curvature_p:.2g}, {100 * found.curvature:+.1f} % of the slope's share at the "
        f"highest): {why}"
    )


def _off(z: Array, apart: Array, dof: int, counted: int, least: float) -> Array:
    """Bonferroni probability of each externally studentised residual, of at least this variance."""
    from scipy.special import stdtr

    if dof < 2:
        return np.full_like(z, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        without = (z @ z - z**2 / apart) / (dof - 1)
        t = np.abs(z) / np.sqrt(np.maximum(without, least) * apart)
    p: Array = np.minimum(2 * stdtr(dof - 1, -t) * counted, 1.0)
    return p


def _curvature(
    c: Array, y: Array, root: Array, r: float, fixed: bool, absolute: bool
) -> tuple[float, float]:
    from scipy.special import stdtr

    p = 2 if fixed else 3
    counts = root > 0
    dof = int(counts.sum()) - p
    if dof < 1 or np.unique(c[counts]).size < (2 if fixed else 3) or not r:
        return math.nan, math.nan
    top = c[counts].max()
    u = c / top
    columns = [u, u * u] if fixed else [np.ones_like(u), u, u * u]
    X = np.stack(columns, axis=1) * root[:, None]
    coefficients, *_ = np.linalg.lstsq(X, y, rcond=None)
    residual = y - X @ coefficients
    chi2 = float(residual @ residual)
    if chi2 <= ROUNDING * float(y @ y):  # on a curve to the last digits
        flat = abs(coefficients[-1]) <= 1e-8 * abs(r * top)
        return float(coefficients[-1] / (r * top)), 1.0 if flat else 0.0
    scale = chi2 / dof
    if absolute:
        scale = max(scale, 1.0)
    error = math.sqrt(scale * np.linalg.inv(X.T @ X)[-1, -1])
    t = abs(coefficients[-1]) / error
    return float(coefficients[-1] / (r * top)), float(2 * stdtr(dof, -t))
