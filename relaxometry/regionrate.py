"""The rate of a region from its mean signal, with the noise floor taken off where σ is known."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .curvefit import CurveFit, curve_of
from .errors import GeometryError, InputError
from .estimate import Estimate
from .fit import mean_curve, problem_of
from .maps import determined
from .models import SignalModel, as_model, model_for
from .noise import air_factors, rician_amplitude
from .polarity import Polarity
from .problem import Bounds, Problem
from .series import Series
from .units import RATE_OF

Array = NDArray[np.float64]

_HALF_NORMAL = 2 * math.sqrt(2 / math.pi)
_ROUNDS = 2


def checked_mask(mask: ArrayLike, grid: tuple[int, ...], name: str = "mask") -> NDArray[np.bool_]:
    """A region as (x, y, z) bool on a grid, with at least one voxel."""
    inside = np.asarray(mask)
    if inside.dtype != np.bool_:
        raise InputError(
            f"{inside.dtype}",
            field=name,
            expected="True and False",
            hint="of a label image, e.g. labels == 2",
        )
    if inside.shape != grid:
        raise GeometryError(f"shape {inside.shape}", field=name, expected=f"the grid {grid}")
    if not inside.any():
        raise InputError("no voxel in it", field=name, expected="a region")
    return inside


def checked_sigma(sigma: float, field: str = "sigma") -> float:
    """σ of each channel: a positive number."""
    number = isinstance(sigma, int | float | np.number) and not isinstance(sigma, bool)
    if not number or not math.isfinite(sigma) or sigma <= 0:
        raise InputError(f"{sigma!r}"[:60], field=field, expected="a positive number")
    return float(sigma)


def two_sigmas(sigma: float | tuple[float, float]) -> tuple[float, float]:
    """σ before and after, of one that holds for both or of two."""
    pair: tuple[Any, ...] = tuple(sigma) if isinstance(sigma, tuple | list) else (sigma, sigma)
    if len(pair) != 2:
        raise InputError(f"{sigma!r}"[:60], field="sigma", expected="one, or before and after")
    return checked_sigma(pair[0]), checked_sigma(pair[1])


def region_fit(
    series: Series,
    mask: ArrayLike,
    model: str | SignalModel | None = None,
    *,
    sigma: float | None = None,
    coils: int = 1,
    bounds: Bounds | None = None,
    polarity: Polarity | None = None,
    weights: ArrayLike | None = None,
    noise_floor: tuple[float, float] | None = None,
    clip: float | Literal["auto"] | None = "auto",
    B1: ArrayLike | None = None,
) -> CurveFit:
    """Fit the mean signal of a region.

    Parameters
    ----------
    series : Series
    mask : array_like of bool (x, y, z)
        Voxels with a point that is not finite are left out.
    model : str or SignalModel, optional
        Default by the kind of series.
    sigma : float, optional
        σ of each channel in the units of the signal. With it the mean magnitude (n,) is replaced by
        the signal whose Rician mean it is, and each point counts by how sure that makes it.
        Without it the floor of the noise stays in the mean, however many voxels there are.
    coils : int
        Coils combined by root sum of squares: the floor, β_n·σ, grows with them.
    bounds, polarity, weights, noise_floor, clip, B1
        As in :func:`relaxometry.fit_tubes`.

    Returns
    -------
    CurveFit
        Its standard errors come from what the curve leaves of the mean signal, so that they count
        a misfit (a floor, two tissues in one region) and not the noise alone.

    Raises
    ------
    GeometryError
        If the mask is on another grid.
    FitError, ProtocolError, InputError
        If the mask is empty or of no voxel with finite signal, model and series do not fit
        together, a choice is impossible, `coils` is not a whole number from 1, or `sigma` is given
        with signed data, weights or a noise floor.

    References
    ----------
    Gudbjartsson & Patz, Magn Reson Med 34:910 (1995); Koay & Basser, J Magn Reson 179:317 (2006).
    """
    inside = checked_mask(mask, series.grid)
    chosen = model_for(series.kind) if model is None else as_model(model)
    air_factors(coils)
    if sigma is not None:
        sigma = checked_sigma(sigma)
        given = {"weights": weights, "noise_floor": noise_floor}
        if found := [name for name, value in given.items() if value is not None]:
            raise InputError(
                f"sigma with {found[0]}", field="sigma", expected="one of them: it does the same"
            )
        if "signed" in (polarity, "signed" if series.signed and polarity is None else None):
            raise InputError("signed data", field="sigma", expected="magnitudes: they have a floor")
    inside = inside.copy()
    inside[inside] = np.isfinite(series.signal[inside]).all(axis=-1)
    if not inside.any():
        raise InputError("no voxel with finite signal", field="mask", expected="a region")
    problem = problem_of(series, chosen, bounds, polarity, weights, noise_floor, clip, B1)
    problem, mean = mean_curve(problem, series, inside)
    if sigma is None:
        return curve_of(problem, mean)
    signal = _without_floor(mean, sigma, coils)
    if chosen.inverts:
        signal = np.maximum(signal, 0.0)  # the fit itself chooses their signs
    if (clipped_at := problem.choices.clipped_at) is not None:
        signal = np.where(mean >= clipped_at, clipped_at, signal)
    fit, expected = None, signal
    for _ in range(_ROUNDS):  # weights by the curve, and not by what noise made of it
        sure = _sureness(expected, sigma, coils, int(inside.sum()))
        weighted = replace(problem.choices, weights=sure / sure.max())
        fit = curve_of(Problem(chosen, series.protocol, weighted), signal)
        if not determined(np.array(fit.status)):
            break
        expected = fit.curve()
    assert fit is not None
    return fit


def _without_floor(mean: Array, sigma: float, coils: int) -> Array:
    """The signal with this mean magnitude; of one below the floor, which is chance, its mirror.

    As far below 0 as a mean that far above the floor is above: errors of late points then cancel.
    """
    floor = air_factors(coils)[0] * sigma
    above = floor + np.abs(mean - floor)
    signal: Array = np.copysign(rician_amplitude(above, sigma, coils), mean - floor)
    return signal


def _sureness(signal: Array, sigma: float, coils: int, voxels: int) -> Array:
    """Weight of each point: how much the floor lets it say of the signal, 1 far above it."""
    # Far above the floor the variance of A is (σ² + nσ⁴/A²)/N; at A = 0 it is the mean of |x| of an
    # x = A² with a variance of 4nσ⁴/N.
    power = signal**2 + math.sqrt(coils / voxels) * sigma**2 / _HALF_NORMAL
    weight: Array = power / (power + coils * sigma**2)
    return weight


def region_rate(
    series: Series,
    mask: ArrayLike,
    model: str | SignalModel | None = None,
    *,
    sigma: float | None = None,
    coils: int = 1,
    **choices: Any,
) -> Estimate:
    """R1 or R2 of a region, from the fit of its mean signal (:func:`region_fit`).

    Parameters
    ----------
    series : Series
    mask : array_like of bool (x, y, z)
    model, sigma, coils, **choices
        As in :func:`region_fit`.

    Returns
    -------
    Estimate
        In s⁻¹; NaN where it is not determined: the status of :func:`region_fit` says why.
    """
    fit = region_fit(series, mask, model, sigma=sigma, coils=coils, **choices)
    return fit[RATE_OF[fit.model.time]]
