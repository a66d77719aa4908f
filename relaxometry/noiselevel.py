"""The noise of an image, by a named method, with its error: `measure_noise`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import gammaincc

from .aircheck import Statistic, check_air
from .background import find_air, find_object
from .errors import GeometryError, InputError
from .jupyter import Shown
from .noise import air_factors, air_shape
from .objectnoise import TooFew, by_difference, by_smoothing

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
NoiseMethod = Literal["sd", "rayleigh", "mean", "chi", "difference", "smoothed"]

METHODS: tuple[NoiseMethod, ...] = get_args(NoiseMethod)
#: Methods that look at air; the others look at the object.
OF_AIR = ("sd", "rayleigh", "mean", "chi")
_APART = 1e-3  # probability below which slices differ by more than chance


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Noise(Shown):
    """Noise of an image, and how it was measured.

    Attributes
    ----------
    value : float
        What a signal is divided by for its SNR, in units of the image. By ``sd`` the plain SD of
        air, as relaxivity papers have it; by every other method :attr:`sigma`.
    stderr : float
        Standard error of the value.
    sigma : float
        σ of each Gaussian channel.
    method : {"sd", "rayleigh", "mean", "chi", "difference", "smoothed"}
    formula : str
        How the value was had, in symbols.
    coils : int
        Coils combined by root sum of squares, as stated.
    n_voxels : int
        Voxels it was measured in; where neighbours are correlated, not all of them count.
    n_effective : float
        Independent voxels (times repeats less one) that scatter as much as these do.
    region : ndarray of bool or None
        The voxels, in the shape of the image.
    notes : tuple of str
        What is doubtful.
    slices : tuple of Noise
        Slice by slice, where several were pooled.
    per_mean : float
        Voxels that count as one in a mean, by the correlation of neighbours in air; 1 where nothing
        is known of it.
    """

    value: float
    stderr: float
    sigma: float
    method: NoiseMethod
    formula: str
    coils: int
    n_voxels: int
    n_effective: float
    region: Mask | None = None
    notes: tuple[str, ...] = ()
    slices: tuple[Noise, ...] = ()
    per_mean: float = 1.0

    @property
    def sigma_stderr(self) -> float:
        """Standard error of :attr:`sigma`."""
        return self.stderr * self.sigma / self.value

    def row(self) -> dict[str, Any]:
        """Named values, as a table has them."""
        return {
            "noise": self.value,
            "noise_stderr": self.stderr,
            "sigma": self.sigma,
            "noise_method": self.method,
            "noise_formula": self.formula,
            "coils": self.coils,
            "n_noise_voxels": self.n_voxels,
        }

    def __repr__(self) -> str:
        slices = f" in {len(self.slices)} slices" if self.slices else ""
        noted = f"; {len(self.notes)} note{'s'[: len(self.notes) != 1]}" if self.notes else ""
        sigma = "" if self.value == self.sigma else f" (σ = {self.sigma:.4g})"
        return (
            f"Noise: {self.value:.4g} ± {self.stderr:.2g}{sigma} = {self.formula}, "
            f"{self.n_voxels} voxels{slices}{noted}"
        )


def measure_noise(
    image: NDArray[Any],
    air: Mask | None = None,
    method: NoiseMethod = "sd",
    *,
    coils: int = 1,
    second: NDArray[Any] | None = None,
    region: Mask | None = None,
    drift_limit: float = 0.02,
) -> Noise:
    """Noise of a magnitude image.

    ==========  ======================================  ========================================
    method      value                                   for
    ==========  ======================================  ========================================
    sd          SD(air)                                 SNR as relaxivity papers have it
    rayleigh    SD(air)/0.6551                          σ, one coil
    mean        mean(air)/β_n                           σ, n coils by root sum of squares
    chi         SD(air)/√(2n − β_n²)                    σ, n coils by root sum of squares
    difference  SD(a − b)/√2 in a region                σ, two or more images taken alike
    smoothed    SD(S − mean of 9×9)/√(80/81) in it      σ, one image whose air was set, filtered
    ==========  ======================================  ========================================

    Parameters
    ----------
    image : ndarray (x, y) or (x, y, z)
        Magnitude image. Slices are measured one by one and pooled.
    air : ndarray of bool, same shape, optional
        Air, for the first four methods; by default :func:`find_air`.
    method : str
        See above.
    coils : int
        Coils combined by root sum of squares. For ``sd`` it is only for `sigma`.
    second : ndarray, optional
        For ``difference``: an image taken alike, of the shape of `image`; or several with the
        repeats along a last axis, and then the noise is the SD over repeats.
    region : ndarray of bool, same shape, optional
        For the last two methods: a part of the object; by default the object, less its edge.
        ``smoothed`` leaves out 4 voxels at its edge.
    drift_limit : float
        For ``difference``: largest change between images, as a fraction of the signal (root mean
        square), that is taken out and noted; more is an error.

    Returns
    -------
    Noise

    Raises
    ------
    InputError
        If the air is none (see docs/noise.md): set to one value, filtered, with ghosts, of another
        number of coils; if images differ by more than noise; if too few voxels are left. The
        message names another method.
    GeometryError
        If shapes differ.

    References
    ----------
    NEMA MS 1-2008 (R2020), methods 1 and 4; Constantinides et al., Magn Reson Med 38:852 (1997);
    McCann et al., Phys Med Biol 58:3775 (2013) for ``smoothed``; Dietrich et al., J Magn Reson
    Imaging 26:375 (2007).
    """
    if method not in METHODS:
        raise InputError(f"{method!r}", field="noise_method", expected=", ".join(METHODS))
    air_factors(coils)
    values = np.asarray(image, dtype=float)
    if values.ndim not in (2, 3):
        raise GeometryError(f"{values.ndim} axes", field="image", expected="(x, y) or (x, y, z)")
    _as_asked(method, coils, second is not None, air is not None, region is not None)
    if method in OF_AIR:
        where = find_air(values) if air is None else _mask(air, values.shape, "air")
        return _by_slice(values, where, lambda at: _air(values, where, at, method, coils))
    where = find_object(values) if region is None else _mask(region, values.shape, "region")
    if method == "smoothed":
        return _by_slice(values, where, lambda at: _smoothed(values[at], where[at], coils))
    repeats = _repeats(values, np.asarray(second, dtype=float))
    if region is None:
        # The wall of an object moves first, and rings.
        inner = np.ones((5, 5) + (1,) * (values.ndim - 2), bool)
        where = ndimage.binary_erosion(where, inner)
    return _by_slice(
        values, where, lambda at: _difference(repeats[at], where[at], drift_limit, coils)
    )


def pool_noise(noises: Sequence[Noise]) -> Noise:
    """One σ of several measurements of the same noise: slices, or images taken alike.

    Squares are averaged by their degrees of freedom (means, for method ``mean``). Where the
    measurements differ by more than their errors explain, a note says so and the error is enlarged
    by √(χ²/ν).

    Raises
    ------
    InputError
        If there is none, or methods or coils differ.
    """
    if not noises:
        raise InputError("no noise to pool", expected="one measurement or more")
    first = noises[0]
    kinds = {(noise.method, noise.coils) for noise in noises}
    if len(kinds) > 1:
        found = ", ".join(sorted(f"{method} of {coils}" for method, coils in kinds))
        raise InputError(f"noise by {found} coils", expected="one method and number of coils")
    if len(noises) == 1:
        return first
    values, errors = (np.array([getattr(n, key) for n in noises]) for key in ("value", "stderr"))
    sigmas = np.array([noise.sigma for noise in noises])
    weights = np.array([max(noise.n_effective - 1, 1e-9) for noise in noises])
    weights /= weights.sum()
    power = 1 if first.method == "mean" else 2
    value, sigma = (float(weights @ v**power) ** (1 / power) for v in (values, sigmas))
    stderr = math.sqrt(float(((weights * (values / value) ** (power - 1) * errors) ** 2).sum()))
    notes = _together(noises)
    # Each error as large as the pooled value says: a slice low by chance has a small error too.
    chi2 = float((((values - value) / (errors * value / values)) ** 2).sum())
    dof = len(noises) - 1
    if gammaincc(dof / 2, chi2 / 2) < _APART:
        stderr *= math.sqrt(chi2 / dof)
        notes.insert(
            0,
            f"noise differs between slices by more than chance ({values.min():.4g} to "
            f"{values.max():.4g}); the error was enlarged",
        )
    return replace(
        first,
        value=value,
        stderr=stderr,
        sigma=sigma,
        n_voxels=sum(noise.n_voxels for noise in noises),
        n_effective=sum(noise.n_effective for noise in noises),
        region=None,
        notes=tuple(notes),
        slices=tuple(noises),
        per_mean=float(np.mean([noise.per_mean for noise in noises])),
    )


def _together(noises: Sequence[Noise]) -> list[str]:
    """Every note once: notes that differ in their numbers alone are one."""
    alike: dict[str, list[str]] = {}
    for noise in noises:
        for note in noise.notes:
            alike.setdefault(re.sub(r"[-+−]?\d[\d.]*", "#", note), []).append(note)
    return [
        f"{notes[0]} ({len(notes)} of {len(noises)} slices)"
        if len(notes) < len(noises)
        else notes[0]
        for notes in alike.values()
    ]


def _as_asked(method: str, coils: int, second: bool, air: bool, region: bool) -> None:
    """Refuse what contradicts the method rather than leave it unused."""
    if method == "rayleigh" and coils > 1:
        raise InputError(
            f"{coils} coils", field="coils", expected="1 for 'rayleigh'", hint="take 'chi'"
        )
    if second != (method == "difference"):
        raise InputError(
            "a second image" if second else "no second image",
            field="second",
            expected="a second image for 'difference', and for no other method",
        )
    if (air and method not in OF_AIR) or (region and method in OF_AIR):
        raise InputError(
            f"{'air' if air else 'region'} given to {method!r}",
            expected="air for sd, rayleigh, mean and chi, a region for difference and smoothed",
        )


def _mask(mask: Mask, shape: tuple[int, ...], field: str) -> Mask:
    where = np.asarray(mask)
    if where.shape != shape:
        raise GeometryError(
            f"shape {where.shape}", field=field, expected=f"that of the image {shape}"
        )
    if where.dtype != bool:
        if not np.isin(where, (0, 1)).all():
            raise InputError("values other than 0 and 1", field=field, expected="a mask")
        where = where.astype(bool)
    if where.sum() < 2:
        raise InputError(f"{int(where.sum())} voxels", field=field, expected="2 or more")
    return where


def _by_slice(values: Array, where: Mask, one: Callable[[tuple[Any, ...]], Noise]) -> Noise:
    if values.ndim == 2:
        return one((slice(None), slice(None)))
    found: dict[int, Noise] = {}
    short: InputError | None = None
    for z in np.flatnonzero(where.sum(axis=(0, 1)) >= 2).tolist():
        try:
            found[z] = one((slice(None), slice(None), z))
        except TooFew as error:
            short = error  # the tip of an object; the other slices may do
    if not found:
        raise short or InputError("no slice has two voxels", field="region", expected="2 or more")
    pooled = pool_noise(list(found.values()))
    whole = np.zeros(values.shape, bool)
    for z, noise in found.items():
        whole[..., z] = noise.region
    return replace(pooled, region=whole)


def _air(values: Array, where: Mask, at: tuple[Any, ...], method: NoiseMethod, coils: int) -> Noise:
    patch = where[at]
    statistic: Statistic = "plain" if method == "sd" else "mean" if method == "mean" else "sd"
    air = check_air(values[at], coils, air=patch, statistic=statistic)
    beta, factor = air_factors(coils)
    _, _, kurtosis = air_shape(coils)
    near, n = air.correlation, air.n_voxels
    of_sd = 0.5 * math.sqrt((2 + kurtosis) * near.per_sd / (n - 1))
    if method == "mean":
        sigma = value = air.mean / beta
        relative, per = air_shape(coils)[0] ** -1 * math.sqrt(near.per_mean / n), near.per_mean
    else:
        sigma = air.sd_unrounded / factor
        value, relative, per = air.sd if method == "sd" else sigma, of_sd, near.per_sd
    return Noise(
        value,
        relative * value,
        sigma,
        method,
        _formula(method, coils),
        coils,
        n,
        n / per,
        patch,
        air.notes,
        per_mean=near.by_neighbours if near.found else 1.0,
    )


def _formula(method: str, coils: int) -> str:
    beta, factor = air_factors(coils)
    if method == "sd":
        return "SD(air)"
    if method == "rayleigh":
        return "SD(air)/√(2 − π/2)"
    if method == "mean":
        return f"mean(air)/β{_low(coils)}, β{_low(coils)} = {beta:.4f}"
    return f"SD(air)/√({2 * coils} − β{_low(coils)}²) = SD(air)/{factor:.4f}"


def _low(number: int) -> str:
    return str(number).translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))


def _repeats(first: Array, second: Array) -> Array:
    """All images alike, the repeats along a last axis."""
    if second.shape == first.shape:
        second = second[..., None]
    if second.shape[:-1] != first.shape or second.shape[-1] < 1:
        raise GeometryError(
            f"shape {second.shape}",
            field="second",
            expected=f"that of the image {first.shape}, or a stack of such along a last axis",
        )
    return np.concatenate([first[..., None], second], axis=-1)


def _difference(images: Array, where: Mask, drift_limit: float, coils: int) -> Noise:
    _finite(images, where)
    found = by_difference(images, where, drift_limit, coils)
    K = images.shape[-1]
    formula = "SD(a − b)/√2" if K == 2 else f"√mean(SD²) over {K} images"
    n = int(found.region.sum())
    return Noise(
        found.sigma,
        found.stderr,
        found.sigma,
        "difference",
        formula,
        coils,
        n,
        found.dof,
        found.region,
        found.notes,
    )


def _smoothed(plane: Array, where: Mask, coils: int) -> Noise:
    _finite(plane[..., None], where)
    found = by_smoothing(plane, where, coils)
    return Noise(
        found.sigma,
        found.stderr,
        found.sigma,
        "smoothed",
        "SD(S − mean of 9×9)/√(80/81)",
        coils,
        int(found.region.sum()),
        found.dof,
        found.region,
        found.notes,
    )


def _finite(images: Array, where: Mask) -> None:
    if not np.isfinite(images[where]).all():
        raise InputError("NaN or infinity in it", field="region", expected="finite values")
