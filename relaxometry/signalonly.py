"""ΔR2 from the signal of two images alone, one TE and one TR: what it takes for granted, said."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import GeometryError, InputError
from .jupyter import Shown
from .noise import air_factors, magnitude_moments, rician_amplitude
from .regionrate import checked_mask, two_sigmas
from .units import LONGEST

Array = NDArray[np.float64]

_SURE = 3.0  # standard errors of a mean of air by which a signal must lie above it
# A σ that is 5 % off may move a signal by at most 20 % once its floor is taken off.
_SIGMA_OFF, _SIGNAL_OFF = 0.05, 0.2
_LIFT_TOLD = 0.05
_AT_FLOOR = "at the floor of the noise"

_ASSUMED = (
    "signal only: S0, T1 and the receiver's gain are taken as those before",
    "of a gradient echo this is ΔR2*",
)


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class SignalOnlyRegion(Shown):
    """ΔR2 of a region from its mean signals before and after.

    Attributes
    ----------
    name : str
    value, stderr : float
        ln(S̄_pre/S̄_post)/TE in s⁻¹ and its standard error; NaN with a reason in `notes`.
    mean, median, sd : float
        Of the voxels that are determined.
    n_voxels, n_determined : int
    T1_effect : float
        How much the change of T1 alone moves `value`, s⁻¹: mean over the region; NaN where TR and
        both T1 are not given.
    notes : tuple of str
    """

    name: str
    value: float
    stderr: float
    mean: float
    median: float
    sd: float
    n_voxels: int
    n_determined: int
    T1_effect: float
    notes: tuple[str, ...] = ()

    def row(self) -> dict[str, Any]:
        """One row of a table, units in its keys."""
        return {
            "region": self.name,
            "dR2_signal_only_per_s": self.value,
            "dR2_signal_only_stderr_per_s": self.stderr,
            "dR2_signal_only_voxel_mean_per_s": self.mean,
            "dR2_signal_only_voxel_median_per_s": self.median,
            "dR2_signal_only_voxel_sd_per_s": self.sd,
            "dR2_signal_only_T1_effect_per_s": self.T1_effect,
            "n_voxels": self.n_voxels,
            "n_determined": self.n_determined,
        }

    def __repr__(self) -> str:
        name = f" of {self.name}" if self.name else ""
        return f"ΔR2, signal only{name}: {self.value:.4g} ± {self.stderr:.2g} s⁻¹"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class SignalOnlyChange(Shown):
    """ΔR2 from one image before and one after.

    Attributes
    ----------
    value, stderr : ndarray
        ln(S_pre/S_post)/TE in s⁻¹, NaN where not determined; `stderr` is NaN without σ. With σ the
        floor of the noise is taken off both signals.
    pre, post : ndarray
        The signals.
    TE : float
        s.
    sigma : (float, float) or None
        σ of each channel before and after.
    coils : int
        Coils combined by root sum of squares.
    T1_effect : ndarray
        ln(f_pre/f_post)/TE with f = 1 − exp(−TR/T1), s⁻¹: what the change of T1 alone adds to
        `value` (it takes away where the agent shortens T1). NaN where TR and both T1 are not given.
        It is not taken off.
    counts : mapping of str to int
        Voxels that are ``"determined"``, and of the others how many for each reason.
    notes : tuple of str
        What is taken for granted.
    """

    value: Array
    stderr: Array
    pre: Array
    post: Array
    TE: float
    sigma: tuple[float, float] | None
    coils: int
    T1_effect: Array
    counts: Mapping[str, int]
    notes: tuple[str, ...] = field(default=_ASSUMED)

    def region(self, mask: ArrayLike, name: str = "") -> SignalOnlyRegion:
        """ΔR2 of a region from its mean signals.

        Parameters
        ----------
        mask : array_like of bool
            On the grid of the images; voxels with a signal that is not finite are left out.
        name : str

        Returns
        -------
        SignalOnlyRegion
            With σ, the mean magnitudes are rid of the floor of the noise first: each is replaced by
            the signal with that mean (:func:`~relaxometry.noise.rician_amplitude`). It is not
            determined where a mean lies within 3 standard errors of that of air, or a σ that is 5 %
            off would move it by more than 20 %. The error is that of the ratio of two means over
            the same voxels, from the scatter of S_pre/S̄_pre − S_post/S̄_post between voxels: what is
            uneven in both images alike cancels. Of one voxel it comes from σ.

        Raises
        ------
        InputError, GeometryError
            If the mask has no voxel or is on another grid.
        """
        inside = checked_mask(mask, self.value.shape)
        before, after = self.pre[inside], self.post[inside]
        finite = np.isfinite(before) & np.isfinite(after)
        notes, n = list(self.notes), int(finite.sum())
        if n < inside.sum():
            notes.append(f"{int(inside.sum()) - n} voxels have no finite signal: left out")
        value = stderr = math.nan
        means = [float(s[finite].mean()) if n else math.nan for s in (before, after)]
        sigmas = self.sigma or (None, None)
        signals = [
            _signal(np.array(m), s, self.coils, n) for m, s in zip(means, sigmas, strict=True)
        ]
        if why := _region_reason(means, [bool(one.sure) for one in signals]):
            notes.append(f"not determined: {why}")
        else:
            A = [float(one.A) for one in signals]
            value = math.log(A[0] / A[1]) / self.TE
            notes += _said_of_lift(means, A)
            stderr = self._region_stderr(before[finite], after[finite], signals)
        voxels = self.value[inside]
        known = voxels[np.isfinite(voxels)]
        effect = self.T1_effect[inside]
        effect = effect[np.isfinite(effect)]
        return SignalOnlyRegion(
            name=name,
            value=value,
            stderr=stderr,
            mean=float(known.mean()) if known.size else math.nan,
            median=float(np.median(known)) if known.size else math.nan,
            sd=float(known.std(ddof=1)) if known.size > 1 else math.nan,
            n_voxels=int(inside.sum()),
            n_determined=known.size,
            T1_effect=float(effect.mean()) if effect.size else math.nan,
            notes=tuple(notes),
        )

    def _region_stderr(self, before: Array, after: Array, signals: list[_Signal]) -> float:
        if before.size > 1:
            by = [float(one.A * one.slope) for one in signals]  # d ln A = dM/(A·dM/dA)
            apart = before / by[0] - after / by[1]
            return float(apart.std(ddof=1)) / math.sqrt(before.size) / self.TE
        return math.hypot(*(float(one.stderr / one.A) for one in signals)) / self.TE

    def __repr__(self) -> str:
        known = self.value[np.isfinite(self.value)]
        middle = f"median {np.median(known):.4g} s⁻¹" if known.size else "nothing determined"
        told = ", ".join(f"{n} {why}" for why, n in self.counts.items())
        return f"SignalOnlyChange: ΔR2 from the signal at TE {1e3 * self.TE:g} ms, {middle}, {told}"


def signal_only_dR2(
    pre: ArrayLike,
    post: ArrayLike,
    TE: float,
    *,
    sigma: float | tuple[float, float] | None = None,
    coils: int = 1,
    TR: float | None = None,
    T1_pre: ArrayLike | None = None,
    T1_post: ArrayLike | None = None,
) -> SignalOnlyChange:
    """ΔR2 = ln(S_pre/S_post)/TE, from one image before and one after.

    It takes for granted that nothing but T2 changed: neither T1 (or TR is long), nor gain, nor
    place. Where T1 and T2 were mapped, :func:`relaxometry.rate_change` takes nothing for granted.

    Parameters
    ----------
    pre, post : array_like
        Magnitudes before and after, on one grid, at one TE and one TR.
    TE : float
        s.
    sigma : float or (float, float), optional
        σ of each channel, of both images or before and after. With it the floor of the noise is
        taken off, voxels have errors, and a signal within 3 SD of the mean of air, β_n·σ, is not
        determined (of one coil: below 3.2σ).
    coils : int
        Coils combined by root sum of squares: the floor, β_n·σ, grows with them.
    TR : float, optional
        s; with `T1_pre` and `T1_post` it gives the size of the effect of T1.
    T1_pre, T1_post : array_like, optional
        s; numbers, or maps on the grid of the images.

    Returns
    -------
    SignalOnlyChange

    Raises
    ------
    GeometryError
        If the grids differ.
    InputError
        If a time or σ is no positive number, `coils` no whole number from 1, TE is in ms, or of TR
        and the two T1 some are missing.

    Notes
    -----
    Without σ a signal at the floor cannot be told: it makes ΔR2 too small.
    The effect of T1 is that of a spin echo with TE ≪ TR, S ∝ 1 − exp(−TR/T1).
    """
    before, after = np.asarray(pre, dtype=np.float64), np.asarray(post, dtype=np.float64)
    if before.shape != after.shape:
        raise GeometryError(
            f"shape {after.shape} after, {before.shape} before", field="post", expected="one grid"
        )
    TE = _time(TE, "TE")
    sigmas = None if sigma is None else two_sigmas(sigma)
    air_factors(coils)
    effect = _effect_of_T1(before.shape, TE, TR, T1_pre, T1_post)
    reasons = np.zeros(before.shape, dtype=np.uint8)
    words = ["determined"]
    both = (None, None) if sigmas is None else sigmas
    signals = [_signal(M, one, coils) for M, one in zip((before, after), both, strict=True)]
    for when, M, one in zip(("before", "after"), (before, after), signals, strict=True):
        with np.errstate(invalid="ignore"):
            cases = [
                ("not finite", ~np.isfinite(M)),
                ("not above 0", M <= 0),
                (_AT_FLOOR, ~one.sure),
            ]
        for why, where in cases:
            reasons[where & (reasons == 0)] = len(words)
            words.append(f"{when}: signal {why}")
    known = reasons == 0
    # 1 in the place of what has no logarithm: it is NaN in the result.
    S, s = (np.where(known, one.A, 1.0) for one in signals)
    value = np.where(known, np.log(S / s) / TE, np.nan)
    errors = [np.where(known, one.stderr, np.nan) for one in signals]
    stderr = np.hypot(errors[0] / S, errors[1] / s) / TE
    for array in (value, stderr, effect):
        array.flags.writeable = False
    codes, numbers = np.unique(reasons, return_counts=True)
    counts = {"determined": 0} | {
        words[code]: n for code, n in zip(codes.tolist(), numbers.tolist(), strict=True)
    }
    return SignalOnlyChange(
        value=value,
        stderr=stderr,
        pre=before,
        post=after,
        TE=TE,
        sigma=sigmas,
        coils=int(coils),
        T1_effect=effect,
        counts=MappingProxyType(counts),
        notes=(*_ASSUMED, _said_of_T1(effect), *_said_of_sigma(sigmas)),
    )


def _effect_of_T1(
    shape: tuple[int, ...],
    TE: float,
    TR: float | None,
    T1_pre: ArrayLike | None,
    T1_post: ArrayLike | None,
) -> Array:
    given = {"TR": TR, "T1_pre": T1_pre, "T1_post": T1_post}
    missing = [name for name, value in given.items() if value is None]
    if len(missing) == len(given):
        return np.full(shape, np.nan)
    if missing:
        raise InputError("missing", field=missing[0], expected="TR, T1_pre and T1_post, or none")
    TR = _time(TR, "TR")
    recovered = []
    for name in ("T1_pre", "T1_post"):
        T1 = np.asarray(given[name], dtype=np.float64)
        if T1.shape not in ((), shape):
            raise GeometryError(f"shape {T1.shape}", field=name, expected=f"the images' {shape}")
        if (T1 <= 0).any() or not np.isfinite(T1).any():
            raise InputError("not above 0", field=name, expected="times in s, NaN where unknown")
        recovered.append(-np.expm1(-TR / T1))
    effect: Array = np.broadcast_to(np.log(recovered[0] / recovered[1]) / TE, shape).copy()
    return effect


def _said_of_T1(effect: Array) -> str:
    known = effect[np.isfinite(effect)]
    if not known.size:
        return "a T1 that the agent shortens makes ΔR2 too small unless TR is long: not judged"
    middle = float(np.median(known))
    return (
        f"the change of T1 alone moves ΔR2 by {middle:+.3g} s⁻¹ (median) at this TR: not taken off"
    )


def _said_of_sigma(sigma: tuple[float, float] | None) -> list[str]:
    if sigma is not None:
        return []
    return ["σ is not given: voxels have no error, and a signal at the noise floor is not seen"]


def _said_of_lift(means: list[float], A: list[float]) -> list[str]:
    return [
        f"the floor of the noise lifted the mean signal {when} by {100 * (m / a - 1):.0f} %: "
        "taken off"
        for when, m, a in zip(("before", "after"), means, A, strict=True)
        if m / a - 1 > _LIFT_TOLD
    ]


def _region_reason(means: list[float], sure: list[bool]) -> str:
    for when, mean, stands_out in zip(("before", "after"), means, sure, strict=True):
        if not math.isfinite(mean):
            return "no voxel has a finite signal"
        if mean <= 0:
            return f"the mean signal {when} is not above 0"
        if not stands_out:
            return f"the mean signal {when} is {_AT_FLOOR}"
    return ""


class _Signal(NamedTuple):
    """Signals A without the floor, dM/dA, their standard errors, and which stand out of it."""

    A: Array
    slope: Array
    stderr: Array
    sure: NDArray[np.bool_]


def _signal(M: Array, sigma: float | None, coils: int, voxels: int = 1) -> _Signal:
    """Of mean magnitudes over so many voxels; without σ the floor stays, and is not seen."""
    if sigma is None:
        one = np.ones_like(M)
        return _Signal(M, one, np.full_like(M, np.nan), one > 0)
    beta, air_sd = air_factors(coils)
    floor = beta * sigma
    A = rician_amplitude(np.where(M > 0, M, np.nan), sigma, coils)
    sd, slope = magnitude_moments(A, sigma, coils)
    with np.errstate(divide="ignore", invalid="ignore"):
        stderr = sd / slope / math.sqrt(max(voxels, 1))
        # Far above the floor A² = M² − (2n − 1)σ², so that dA/A = −(2n − 1)(σ/A)²·dσ/σ.
        moved = (2 * coils - 1) * (sigma / A) ** 2 * _SIGMA_OFF
        sure = (floor + _SURE * air_sd * sigma / math.sqrt(max(voxels, 1)) < M) & (
            moved < _SIGNAL_OFF
        )
    return _Signal(A, slope, stderr, sure)


def _time(value: Any, name: str) -> float:
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value <= 0:
        raise InputError(f"{value!r}"[:60], field=name, expected="a time in s, above 0")
    if value > LONGEST[name]:
        raise InputError(f"{value:g} s is too much", field=name, expected="seconds, 10 ms is 0.01")
    return float(value)
