"""ΔR of one region, by its mean signal and by its voxels; ΔR2/ΔR1 with Fieller's interval."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import InputError
from .estimate import Estimate
from .jupyter import Shown
from .ratio import fieller
from .regression import t95
from .units import CHANGE_OF, QUANTITIES


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class RegionChange(Shown):
    """ΔR of a region: by its mean signal, which is the answer, and by its voxels.

    Attributes
    ----------
    name : str
    quantity : {"R1", "R2", "R2star"}
    value, stderr : float
        ΔR in s⁻¹ by the fits of the region's mean signal before and after, and its standard error;
        NaN where one of the two is not determined.
    dof : float
        Degrees of freedom of `stderr` (Welch–Satterthwaite).
    mean, median, sd : float
        Of ΔR over the voxels that are determined, s⁻¹; `sd` is their scatter.
    mean_stderr : float
        Of `mean`, from the standard errors of the voxels taken as independent.
    n_voxels, n_determined : int
        Of the region, and of those the voxels with a ΔR.
    pre, post : Estimate
        The rate of the mean signal before and after.
    sigma : (float, float) or None
        σ of each channel before and after, where the noise floor was taken off.
    field_T : float or None
    counts : mapping of str to int
        Voxels by what became of them.
    notes : tuple of str
    """

    name: str
    quantity: str
    value: float
    stderr: float
    dof: float
    mean: float
    median: float
    sd: float
    mean_stderr: float
    n_voxels: int
    n_determined: int
    pre: Estimate
    post: Estimate
    sigma: tuple[float, float] | None
    field_T: float | None
    counts: Mapping[str, int]
    notes: tuple[str, ...] = ()

    @property
    def estimate(self) -> Estimate:
        """ΔR of the mean signal with its standard error."""
        return Estimate(self.value, self.stderr, CHANGE_OF[self.quantity])

    @property
    def k95(self) -> float:
        """Student's t for its 95 % interval."""
        return t95(self.dof)

    @property
    def ci95(self) -> tuple[float, float]:
        """95 % interval of ΔR, s⁻¹."""
        half = self.k95 * self.stderr
        return self.value - half, self.value + half

    def row(self) -> dict[str, Any]:
        """One row of a table, units in its keys."""
        d, R = CHANGE_OF[self.quantity], self.quantity
        low, high = self.ci95
        return {
            "region": self.name,
            f"{d}_per_s": self.value,
            f"{d}_stderr_per_s": self.stderr,
            f"{d}_ci95_low_per_s": low,
            f"{d}_ci95_high_per_s": high,
            f"{d}_voxel_mean_per_s": self.mean,
            f"{d}_voxel_mean_stderr_per_s": self.mean_stderr,
            f"{d}_voxel_median_per_s": self.median,
            f"{d}_voxel_sd_per_s": self.sd,
            f"{R}_pre_per_s": self.pre.value,
            f"{R}_pre_stderr_per_s": self.pre.stderr,
            f"{R}_post_per_s": self.post.value,
            f"{R}_post_stderr_per_s": self.post.stderr,
            "n_voxels": self.n_voxels,
            "n_determined": self.n_determined,
        }

    def __repr__(self) -> str:
        label = QUANTITIES[CHANGE_OF[self.quantity]].written
        value = Estimate(self.value, self.stderr, CHANGE_OF[self.quantity])
        name = f" of {self.name}" if self.name else ""
        return (
            f"RegionChange: {label}{name} {value} by the mean signal; voxels {self.mean:.4g}, "
            f"SD {self.sd:.2g} s⁻¹ ({self.n_determined} of {self.n_voxels})"
        )


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class ChangeRatio(Shown):
    """ΔR2/ΔR1 of one region.

    Attributes
    ----------
    name : str
    value, stderr : float
        The ratio, and its standard error by the delta method; NaN where a change is.
    fieller95 : (float, float)
        95 % interval (Fieller); an end is infinite where ΔR1 may be 0.
    numerator, denominator : RegionChange
    """

    name: str
    value: float
    stderr: float
    fieller95: tuple[float, float]
    numerator: RegionChange
    denominator: RegionChange

    @property
    def bounded(self) -> bool:
        """Whether both ends of the interval are finite."""
        return all(map(math.isfinite, self.fieller95))

    @property
    def notes(self) -> tuple[str, ...]:
        """What there is to say of the interval."""
        if any(map(math.isnan, self.fieller95)):
            return ("not determined: a change or its error is not",)
        if self.bounded:
            return ()
        d = QUANTITIES[CHANGE_OF[self.denominator.quantity]].written
        return (f"unbounded: {d} may be 0 within its error, so the ratio may be of any size",)

    def row(self) -> dict[str, Any]:
        """One row of a table; an end that is infinite is None, and ``…_bounded`` says so."""
        n, d = (CHANGE_OF[one.quantity] for one in (self.numerator, self.denominator))
        ends = [end if math.isfinite(end) else None for end in self.fieller95]
        key = f"{n}_over_{d}"
        return {
            "region": self.name,
            key: self.value,
            f"{key}_stderr": self.stderr,
            f"{key}_ci95_low": ends[0],
            f"{key}_ci95_high": ends[1],
            f"{key}_bounded": self.bounded,
        }

    def __repr__(self) -> str:
        low, high = self.fieller95
        name = f" of {self.name}" if self.name else ""
        n, d = (
            QUANTITIES[CHANGE_OF[one.quantity]].written
            for one in (self.numerator, self.denominator)
        )
        text = f"ChangeRatio: {n}/{d}{name} {self.value:.4g} ± {self.stderr:.2g}"
        return f"{text} (95 % {low:.4g} … {high:.4g})"


def change_ratio(numerator: RegionChange, denominator: RegionChange) -> ChangeRatio:
    """ΔR2/ΔR1 of one region, with Fieller's interval.

    Parameters
    ----------
    numerator, denominator : RegionChange
        Of R2 (or R2*) and of R1, which come from different scans: their errors are independent.

    Raises
    ------
    InputError
        If these are not R2 over R1 of one region, or ΔR1 is exactly 0.

    Notes
    -----
    Fieller, J R Stat Soc B 16:175 (1954); its factor is Student's t at the Welch–Satterthwaite
    degrees of freedom of ΔR2 − ρ·ΔR1.
    """
    if denominator.quantity != "R1" or numerator.quantity not in ("R2", "R2star"):
        raise InputError(
            f"{numerator.quantity} over {denominator.quantity}", expected="a change of R2 over R1"
        )
    if numerator.name != denominator.name:
        raise InputError(
            f"regions {numerator.name!r} and {denominator.name!r}", expected="one region"
        )
    if denominator.value == 0:
        raise InputError(
            "ΔR1 is 0: the ratio has no meaning", field=f"region {denominator.name}".strip()
        )
    n, d = numerator.estimate, denominator.estimate
    ratio = n.over(d)
    parts = (n.stderr**2, numerator.dof), ((ratio.value * d.stderr) ** 2, denominator.dof)
    ends = fieller(n, d, t95(welch(parts)))
    return ChangeRatio(numerator.name, ratio.value, ratio.stderr, ends, numerator, denominator)


def welch(parts: Iterable[tuple[float, float]]) -> float:
    """Degrees of freedom of a sum of variances (Welch–Satterthwaite); 0 where one has none."""
    known = list(parts)
    if any(not variance >= 0 or not dof > 0 for variance, dof in known):
        return 0.0
    total = sum(variance for variance, _ in known)
    if total == 0:
        return float(sum(dof for _, dof in known))
    return total**2 / sum(variance**2 / dof for variance, dof in known)
