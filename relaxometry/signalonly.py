"""ΔR2 from the signal of two images alone, one TE and one TR: what it takes for granted, said."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import GeometryError, InputError
from .jupyter import Shown
from .regionrate import checked_mask, two_sigmas, without_floor
from .units import LONGEST

Array = NDArray[np.float64]

#: Signals below so many σ are at the floor of the noise: the logarithm would tell of the floor.
FLOOR = 3.0

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
        ln(S_pre/S_post)/TE in s⁻¹, NaN where not determined; `stderr` is NaN without σ.
    pre, post : ndarray
        The signals.
    TE : float
        s.
    sigma : (float, float) or None
        σ of each channel before and after.
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
            With σ, the mean magnitudes are rid of the floor of the noise (Rice) first. The error is
            that of the ratio of two means over the same voxels, from the scatter of
            S_pre/S̄_pre − S_post/S̄_post between voxels: what is uneven in both images alike cancels.
            Of one voxel it comes from σ.

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
        if why := _region_reason(means, self.sigma):
            notes.append(f"not determined: {why}")
        else:
            if self.sigma is not None:
                means = [float(without_floor(m, s)) for m, s in zip(means, self.sigma, strict=True)]
            value = math.log(means[0] / means[1]) / self.TE
            stderr = self._region_stderr(before[finite], after[finite], means)
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

    def _region_stderr(self, before: Array, after: Array, means: list[float]) -> float:
        if before.size > 1:
            apart = before / means[0] - after / means[1]
            return float(apart.std(ddof=1)) / math.sqrt(before.size) / self.TE
        if self.sigma is None:
            return math.nan
        return math.hypot(*(s / m for s, m in zip(self.sigma, means, strict=True))) / self.TE

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
        σ of each channel, of both images or before and after. With it voxels have errors, and a
        signal below 3σ is not determined.
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
        If a time or σ is no positive number, TE is in ms, or of TR and the two T1 some are missing.

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
    effect = _effect_of_T1(before.shape, TE, TR, T1_pre, T1_post)
    reasons = np.zeros(before.shape, dtype=np.uint8)
    words = ["determined"]
    for when, signal, at in (("before", before, 0), ("after", after, 1)):
        with np.errstate(invalid="ignore"):
            cases = [("not finite", ~np.isfinite(signal)), ("not above 0", signal <= 0)]
            if sigmas is not None:
                low = signal < FLOOR * sigmas[at]
                cases.append((f"below {FLOOR:g}σ, at the floor of the noise", low))
        for why, where in cases:
            reasons[where & (reasons == 0)] = len(words)
            words.append(f"{when}: signal {why}")
    known = reasons == 0
    # 1 in the place of what has no logarithm: it is NaN in the result.
    S, s = np.where(known, before, 1.0), np.where(known, after, 1.0)
    value = np.where(known, np.log(S / s) / TE, np.nan)
    stderr = np.full(before.shape, np.nan)
    if sigmas is not None:
        stderr = np.where(known, np.hypot(sigmas[0] / S, sigmas[1] / s) / TE, np.nan)
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


def _region_reason(means: list[float], sigma: tuple[float, float] | None) -> str:
    for at, (when, mean) in enumerate(zip(("before", "after"), means, strict=True)):
        if not math.isfinite(mean):
            return "no voxel has a finite signal"
        if mean <= 0:
            return f"the mean signal {when} is not above 0"
        if sigma is not None and mean < FLOOR * sigma[at]:
            return f"the mean signal {when} is below {FLOOR:g}σ, at the floor of the noise"
    return ""


def _time(value: Any, name: str) -> float:
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value <= 0:
        raise InputError(f"{value!r}"[:60], field=name, expected="a time in s, above 0")
    if value > LONGEST[name]:
        raise InputError(f"{value:g} s is too much", field=name, expected="seconds, 10 ms is 0.01")
    return float(value)
