"""Is a patch of air what noise of n coils looks like? If not, no σ can be had from it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import gammainc, gammaincc, gammaincinv

from .errors import InputError
from .noise import air_factors, air_shape
from .voxelcorrelation import Correlation, as_volume, correlation, uneven

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Statistic = Literal["sd", "mean", "plain"]

INSTEAD = (
    "measure noise by 'difference' (two images taken alike) or 'smoothed' (one even region), or "
    "take other air"
)
#: Fewer voxels tell nothing about the distribution: only constant patches are refused.
JUDGED = 20
#: Standard errors beyond which chance is out of the question, …
_SURE = 3.5
#: … and how far mean/SD must be off, besides, to be told or to be refused.
_TOLD, _REFUSED = 0.025, 0.06
# For σ by the SD: air so far from that of the coils stated is filtered for all one knows, or σ off.
_OTHER_COILS, _OTHER_SIGMA = 0.2, 0.03
_COARSE = 0.6  # grey levels: with an SD below it, σ cannot be told from the rounding
_MOST_COILS = 150.0  # mean/SD beyond that of so many is signal, …
_LIKELY_COILS = 64.0  # … and beyond that of so many, where they are not stated, it is too
# Neighbours in noise interpolated fourfold have sinc²(1/4) = 0.81, fivefold 0.87.
_SMOOTH = 0.92
_DARKER = 0.6  # mean of other air over that of the patch: the patch is not the darkest
_CHANCE = 1e-6  # of ghosts or a trend being chance
_SHADE_TOLD, _SHADE_REFUSED = 0.1, 0.3  # SD between parts of the patch over SD of its voxels
_SHAPE_SURE, _SHAPE_TOLD, _SHAPE_REFUSED = 2.5, 0.025, 0.05  # Kolmogorov's D·√N, and D


@dataclass(frozen=True, slots=True)
class Air:
    """What a patch of air is like.

    Attributes
    ----------
    mean, sd : float
        Of its voxels; the SD as it is, the mean half a grey level higher where voxels were rounded
        down.
    step : float
        Grey level it is rounded to, 0 where none is seen.
    coils : float
        Number of coils that have such a mean/SD, not a whole number; NaN where not judged.
    correlation : Correlation
    n_voxels : int
    notes : tuple of str
    """

    mean: float
    sd: float
    step: float
    coils: float
    correlation: Correlation
    n_voxels: int
    notes: tuple[str, ...]

    @property
    def sd_unrounded(self) -> float:
        """SD without what rounding to grey levels adds: √(SD² − step²/12) (Sheppard)."""
        return math.sqrt(self.sd**2 - self.step**2 / 12)


def check_air(
    values: NDArray[Any], coils: int = 1, *, air: Mask | None = None, statistic: Statistic = "sd"
) -> Air:
    """Refuse air that is not the noise of so many coils; what is slight comes as a note.

    Parameters
    ----------
    values : ndarray
        Values of the patch; or the image (x, y) or (x, y, z), with `air` its mask. Only with the
        image can ghosts, trends and correlated voxels be seen.
    coils : int
        Coils combined by root sum of squares.
    air : ndarray of bool, optional
    statistic : {"sd", "mean", "plain"}
        What σ is to be had from. Another number of coils matters little for the SD and much for
        the mean, and not at all for a plain SD, which stays one: there it is a note, if neighbours
        are not correlated, as they are by filters, and nothing of the image is darker.

    Raises
    ------
    InputError
        If the air was set to one value or to zero, rounded too coarsely, filtered, is that of
        another number of coils, or holds signal or ghosts; with what to do instead.
    """
    everything = np.asarray(values, dtype=float)
    found = everything.ravel() if air is None else everything[air]
    _plain(found)
    mean, sd, n = float(found.mean()), float(found.std(ddof=1)), found.size
    near = Correlation((math.nan, math.nan), 1.0, 1.0)
    if n < JUDGED:
        return Air(mean, sd, 0.0, math.nan, near, n, ())
    notes: list[str] = []
    step = _grey_step(found)
    if step and sd < _COARSE * step:
        raise _unfit(f"SD {sd / step:.2g} grey levels: noise is lost in the rounding")
    tested = 1 if statistic == "plain" else coils
    notes += _zeros(found, step, tested)
    if air is not None:
        near = correlation(everything, air)
    unrounded = math.sqrt(sd**2 - step**2 / 12)
    expected, ratio = air_shape(coils)[0], mean / unrounded
    if step and ratio < expected and _off(ratio, coils, near, n):
        down = (mean + step / 2) / unrounded
        if abs(down - expected) < abs(ratio - expected):
            mean, ratio = mean + step / 2, down
            notes.append("air was rounded down to grey levels; half a level was added to its mean")
    fitted = coils_of(ratio)
    if max(near.lag1) > _SMOOTH + 3 / n:
        raise _unfit(
            f"neighbouring voxels are correlated by {max(near.lag1):.2f}, more than noise "
            "interpolated fourfold: part of it is an object, or it was filtered"
        )
    # Ghosts first: they change mean/SD too, and are the better reason.
    if air is not None:
        notes += _even(everything, air, near)
    notes += _spikes(found, step, min(fitted, tested))
    if air is not None and _off(ratio, coils, near, n) > _REFUSED:
        _darkest(as_volume(everything), as_volume(air), mean, fitted)
    notes += _number_of_coils(ratio, fitted, coils, near, n, statistic)
    _two_kinds(found, step, min(fitted, tested), fitted, near)
    notes += _shape(found, mean, fitted, step, near)
    if step and sd < 2 * step:
        notes.append(
            f"air is rounded to grey levels as large as {step / sd:.2g} of its SD; taken into "
            "account"
        )
    if near.found:
        notes.append(
            f"neighbouring voxels of air are correlated ({near.lag1[0]:.2f} along x, "
            f"{near.lag1[1]:.2f} along y: interpolated or filtered): {n} voxels count as "
            f"{n / near.per_sd:.0f}"
        )
    return Air(mean, sd, step, fitted, near, n, tuple(notes))


def coils_of(ratio: float) -> float:
    """Number of coils, not a whole one, whose air has this mean/SD; 1 at least."""
    low, high = 1.0, max(2.0, ratio**2)
    if ratio <= air_shape(1)[0]:
        return 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if air_shape(middle)[0] < ratio else (low, middle)
    return low


def _unfit(found: str, hint: str = INSTEAD) -> InputError:
    return InputError(found, field="air", expected="air with its noise as scanned", hint=hint)


def _plain(found: Array) -> None:
    if found.size < 2:
        raise InputError(f"{found.size} voxels", field="air", expected="2 or more")
    if not np.isfinite(found).all():
        raise InputError("NaN or infinity in it", field="air", expected="finite values")
    if found.min() < 0:
        raise _unfit("values below 0", "give a magnitude image")
    if found.min() == found.max():
        what = "0" if found[0] == 0 else f"{found[0]:.4g}"
        raise _unfit(f"every voxel is {what}: the scanner has set the background")


def _grey_step(found: Array) -> float:
    """Distance of the grey levels that all values lie on; 0 where they do not repeat."""
    levels = np.unique(found)
    if levels.size > 0.9 * found.size or levels.size < 2:
        return 0.0
    apart = np.diff(levels)
    step = float(apart.min())
    whole = apart / step
    return step if np.abs(whole - np.round(whole)).max() < 0.05 else 0.0


def _zeros(found: Array, step: float, coils: int) -> list[str]:
    zeros, n = int((found == 0).sum()), found.size
    if not zeros:
        return []
    # The upper quarter tells σ whether or not some voxels were zeroed. Whole numbers may have been
    # rounded down: all below one grey level are 0 then.
    top = float(np.quantile(found[found > 0], 0.75))
    by_chance = 0.0
    if step:
        sigma2 = top**2 / (2 * float(gammaincinv(coils, 0.75)))
        by_chance = float(gammainc(coils, step**2 / (2 * sigma2)))
    beyond = zeros - n * by_chance
    if beyond > max(0.01 * n, 6 * math.sqrt(n * by_chance) + 3):
        raise _unfit(f"{100 * zeros / n:.0f} % of the voxels are exactly 0: part of it was set")
    return [] if step else [f"{zeros} voxels of air are exactly 0"]


def _even(image: Array, air: Mask, near: Correlation) -> list[str]:
    values = as_volume(image)
    p, excess = uneven(values, as_volume(air), near.by_neighbours)
    if p > _CHANCE or excess < _SHADE_TOLD:
        return []
    found = f"parts of it differ by {100 * excess:.0f} % of its SD, which is not chance"
    if excess > _SHADE_REFUSED:
        raise _unfit(f"{found}: ghosts, signal or shading")
    return [f"air is not even: {found} (ghosts, signal or shading)"]


def _spikes(found: Array, step: float, coils: float) -> list[str]:
    # Against its middle, noise of fewer coils has a longer tail: the fewest that are possible.
    # The median of n voxels is known to 1/√n or so, and no better than a grey level.
    middle = (float(np.median(found)) + step) * (1 + 2.5 / math.sqrt(found.size))
    sigma2 = middle**2 / (2 * float(gammaincinv(coils, 0.5)))
    at_least = np.maximum(found - step / 2, 0)
    bright = found.size * gammaincc(coils, at_least**2 / (2 * sigma2)) < 1e-4
    # One in a hundred is no spike but another distribution, which is judged below.
    if not 0 < bright.mean() < 0.01:
        return []
    change = found.std() / found[~bright].std() - 1
    what = f"{int(bright.sum())} voxels are brighter than noise can be"
    if change > _REFUSED:
        raise _unfit(f"{what}, and raise its SD by {100 * change:.0f} %: signal, ghosts or spikes")
    return [f"{what}: signal, ghosts or spikes in the air"]


def _two_kinds(found: Array, step: float, fewest: float, fitted: float, near: Correlation) -> None:
    """Refuse voxels of air among those of an object, however far neighbours are correlated."""
    known = 1 / math.sqrt(found.size / near.by_neighbours)
    dark, middle = np.quantile(found, (0.25, 0.5))
    # Of noise the lower quarter tells σ, and with it how bright a voxel can be at all.
    sigma2 = (float(dark) + step) ** 2 / (2 * float(gammaincinv(fewest, 0.25)))
    sigma2 *= (1 + 2 * known) ** 2
    outliers = float(
        (gammaincc(fewest, np.maximum(found - step, 0) ** 2 / (2 * sigma2)) < 1e-6).mean()
    )
    # And were most of it an object, the air in it would be too dark for so many coils.
    sigma2 = float(middle) ** 2 / (2 * float(gammaincinv(fitted, 0.5))) / (1 + 2 * known) ** 2
    hidden = float((gammainc(fitted, (found + step) ** 2 / (2 * sigma2)) < 1e-6).mean())
    for share, what in ((outliers, "brighter"), (hidden, "darker")):
        if share > 0.01:
            raise _unfit(
                f"{100 * share:.0f} % of the voxels are {what} than noise can be beside the "
                "others: part of it is an object"
            )


def _number_of_coils(
    ratio: float, fitted: float, coils: int, near: Correlation, n: int, statistic: Statistic
) -> list[str]:
    off = _off(ratio, coils, near, n)
    if abs(off) < _TOLD:
        return []
    told = f"mean/SD of air is {ratio:.2f}"
    number = max(1, round(fitted))
    given = f"if {number} channels were combined by root sum of squares, give coils={number}"
    if number == 1:
        given = "if one coil, or one complex image of several, made it, give coils=1"
    if ratio < air_shape(1)[0] * (1 - _REFUSED):
        raise _unfit(f"{told}, less than of any number of coils: filtered, or signal in it")
    if fitted > _MOST_COILS:
        raise _unfit(f"{told}, more than of any coils: this is signal, or smoothed")
    like = f"as of {_as_coils(fitted)}, not of {coils}"
    change = air_factors(coils)[1] / math.sqrt(2 * fitted - _beta2(fitted)) - 1
    refused = {
        # Filters correlate neighbours as they raise mean/SD; more coils do not.
        "plain": abs(off) > _REFUSED and (near.found or fitted > max(_LIKELY_COILS, 2 * coils)),
        "mean": abs(off) > _REFUSED,
        "sd": abs(off) > _OTHER_COILS or abs(change) > _OTHER_SIGMA,
    }
    if refused[statistic]:
        if statistic == "plain":
            what = "neighbours are correlated" if near.found else "too many for receivers"
            told, given = f"{told}, {like}, and {what}: filtered, or signal", f"{given}; else "
        else:
            told, given = f"{told}, {like}", f"{given} (method 'chi' or 'mean'); else "
        raise _unfit(told, (given if number != coils else "") + INSTEAD)
    hint = f" ({given})" if number != coils else ""
    return [f"{told}, {like}: σ from the SD with that number would be {100 * change:+.1f} %{hint}"]


def _darkest(image: Array, air: Mask, mean: float, coils: float) -> None:
    """Refuse tissue, which is as even as air of many coils, where the image has darker noise."""
    local = ndimage.uniform_filter(np.nan_to_num(image), (5, 5, 1))
    lowest = ndimage.minimum_filter(np.nan_to_num(image), (3, 3, 1))
    # What was set to 0, or fades to it, is darker too and tells nothing.
    dark = (local < _DARKER * mean) & (lowest > 0) & ~air
    dark = ndimage.minimum_filter(dark, (5, 5, 1))  # off the edges of what is brighter
    if int(dark.sum()) < max(100, 0.01 * dark.size):
        return
    found = image[dark]
    if found.mean() > 0.85 * air_shape(1)[0] * found.std():
        raise _unfit(
            f"it looks as of {_as_coils(coils)}, but {int(dark.sum())} voxels of the image are "
            f"darker, {found.mean() / mean:.2g} of its mean: this is signal"
        )


def _off(ratio: float, coils: int, near: Correlation, n: int) -> float:
    """Relative difference of mean/SD from that of so many coils; 0 where chance explains it."""
    expected, skewness, kurtosis = air_shape(coils)
    of_sd = expected * (expected * (kurtosis + 2) / 4 - skewness)
    variance = near.by_neighbours + min(near.per_sd, near.by_neighbours) * of_sd
    chance = abs(ratio - expected) < _SURE * math.sqrt(variance / n)
    return 0.0 if chance else ratio / expected - 1


def _beta2(coils: float) -> float:
    r = air_shape(coils)[0]
    return 2 * coils * r**2 / (1 + r**2)


def _as_coils(coils: float) -> str:
    number = round(coils, 1 if coils < 10 else None)
    return "1 coil" if number == 1 else f"{number:g} coils"


def _shape(found: Array, mean: float, coils: float, step: float, near: Correlation) -> list[str]:
    sigma2 = mean**2 / _beta2(coils)
    levels, counts = np.unique(found, return_counts=True)
    reached = np.cumsum(counts) / found.size
    # Rounded to the nearest or down: whichever fits better.
    D = min(
        float(np.abs(reached - gammainc(coils, (levels + up) ** 2 / (2 * sigma2))).max())
        for up in ({0.5 * step, step} if step else {0.0})
    )
    if D * math.sqrt(found.size / near.by_neighbours) < _SHAPE_SURE or D < _SHAPE_TOLD:
        return []
    what = f"its histogram is up to {100 * D:.0f} % off that of noise"
    if D > _SHAPE_REFUSED:
        raise _unfit(f"{what}: filtered, or signal in it")
    return [f"air is not quite noise: {what} (filtered, or signal in it)"]
