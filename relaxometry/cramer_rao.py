"""How well a protocol can tell a time constant: the Cramér–Rao bound of each model over T.

No unbiased estimate of T has a smaller variance than the bound, and least squares reaches it in
white noise, so it says what the times can tell before anything is measured.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .models import SignalModel
from .series import Protocol
from .tables import orthonormal

Array = NDArray[np.float64]

#: T is told by the times where its relative error is at most so many times that of the best T.
WORSE = 20.0
_STEP = 1e-4  # in log T; the error of a central difference goes with its square
_GRID = 241


def jacobian(model: SignalModel, protocol: Protocol, T: float, amplitudes: Array) -> Array:
    """Derivatives (n, 1+p) of the signal by log T and by each amplitude."""
    columns, slope = _columns(model, protocol, np.array([T]), amplitudes)
    return np.column_stack([slope[0], columns[0]])


def relative_bound(model: SignalModel, protocol: Protocol, T: Array, amplitudes: Array) -> Array:
    """Least relative error σ_T/T of an unbiased estimate of T, for noise of SD 1 in each image.

    With the other parameters unknown too, 1/(σ_T/T)² is the squared length of dS/dlog T outside the
    span of the columns that multiply the amplitudes.

    Parameters
    ----------
    model : SignalModel
    protocol : Protocol
    T : ndarray (g,)
        Time constants, s.
    amplitudes : ndarray (p,)
        In units of the SD of the noise.

    Returns
    -------
    ndarray (g,)
        Infinite where the signal does not depend on T.

    Notes
    -----
    Rao, Bull Calcutta Math Soc 37:81 (1945); for T1 and T2 see Jones et al., J Magn Reson B
    113:25 (1996).
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        columns, slope = _columns(model, protocol, T, amplitudes)
        Q = orthonormal(columns)[0]
        outside = slope - np.einsum("gnp,gmp,gm->gn", Q, Q, slope)
        bound: Array = 1 / np.linalg.norm(outside, axis=1)
    return np.where(np.isfinite(bound), bound, np.inf)


def told(
    model: SignalModel, protocol: Protocol, amplitudes: Array, worse: float = WORSE
) -> tuple[float, float]:
    """The range of T, s, that the times of a protocol can tell.

    It reaches from the best T, whose relative error is least, to where that error is `worse` times
    as large at the same amplitudes and noise, or to the bounds of the search.

    Parameters
    ----------
    model : SignalModel
    protocol : Protocol
    amplitudes : ndarray (p,)
        In any unit: only their ratios count.
    worse : float
    """
    T = np.geomspace(*model.bounds(protocol), _GRID)
    bound = relative_bound(model, protocol, T, amplitudes)
    best = int(bound.argmin())
    if not np.isfinite(bound[best]):
        return np.nan, np.nan
    over = bound > worse * bound[best]
    below, above = np.flatnonzero(over[:best]), np.flatnonzero(over[best:])

    def crossing(inside: int, outside: int) -> float:
        rise = np.log(worse * bound[best] / bound[inside]) / np.log(bound[outside] / bound[inside])
        return float(T[inside] * (T[outside] / T[inside]) ** rise)

    return (
        crossing(below[-1] + 1, below[-1]) if below.size else float(T[0]),
        crossing(best + above[0] - 1, best + above[0]) if above.size else float(T[-1]),
    )


def _columns(
    model: SignalModel, protocol: Protocol, T: Array, amplitudes: Array
) -> tuple[Array, Array]:
    """The basis (g, n, p), and the slope (g, n) of the signal over log T."""
    near, far = (
        model.basis(protocol, T * np.exp(step)) @ np.asarray(amplitudes, dtype=float)
        for step in (-_STEP, _STEP)
    )
    return model.basis(protocol, T), (far - near) / (2 * _STEP)
