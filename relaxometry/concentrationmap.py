"""Concentration of an agent from ΔR and its relaxivity; the errors of the two kept apart."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import InputError
from .estimate import Estimate
from .geometry import Affine
from .jupyter import Shown
from .mapimage import MapImage
from .ratio import fieller
from .regionchange import RegionChange
from .units import CHANGE_OF, QUANTITIES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

_OF_RATE = {"R1": "r1", "R2": "r2", "R2star": "r2star"}
#: Fields closer than this share are one field, as scanners round it.
SAME_FIELD = 0.02


class Changed(Protocol):
    """What a concentration is made of: a `RateChange`."""

    @property
    def value(self) -> Array:
        """ΔR (x, y, z), s⁻¹."""

    @property
    def stderr(self) -> Array:
        """Of ΔR (x, y, z), s⁻¹."""

    @property
    def quantity(self) -> str:
        """The rate that changed."""

    @property
    def symbol(self) -> str:
        """Of its change."""

    @property
    def counts(self) -> Mapping[str, int]:
        """Voxels by what became of them."""

    @property
    def affine(self) -> Affine:
        """Voxel → mm."""

    @property
    def field_T(self) -> float | None:
        """Field of the scans."""

    def region(
        self,
        mask: ArrayLike,
        name: str = "",
        *,
        sigma: float | tuple[float, float] | None = None,
        coils: int = 1,
    ) -> RegionChange:
        """ΔR of a region."""


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class RegionConcentration(Shown):
    """Concentration of an agent in a region.

    Attributes
    ----------
    name : str
    value : float
        ΔR/r, mM, of the region's mean signal; negative where ΔR is.
    noise_stderr : float
        From the error of ΔR: other for every region.
    r_stderr : float
        From the error of r, which moves all regions together by the same share.
    ci95 : (float, float)
        Fieller's interval of ΔR/r; an end is infinite where r may be 0.
    change : RegionChange
    notes : tuple of str
    """

    name: str
    value: float
    noise_stderr: float
    r_stderr: float
    ci95: tuple[float, float]
    change: RegionChange
    notes: tuple[str, ...] = ()

    @property
    def stderr(self) -> float:
        """Both errors together. Of a difference between regions, `noise_stderr` counts."""
        return math.hypot(self.noise_stderr, self.r_stderr)

    def row(self) -> dict[str, Any]:
        """One row of a table, units in its keys."""
        low, high = (end if math.isfinite(end) else None for end in self.ci95)
        return {
            "region": self.name,
            "from": CHANGE_OF[self.change.quantity],
            "concentration_mM": self.value,
            "concentration_stderr_mM": self.stderr,
            "concentration_noise_stderr_mM": self.noise_stderr,
            "concentration_r_stderr_mM": self.r_stderr,
            "concentration_ci95_low_mM": low,
            "concentration_ci95_high_mM": high,
        }

    def __repr__(self) -> str:
        name = f" of {self.name}" if self.name else ""
        value = Estimate(self.value, self.stderr, "concentration")
        return f"RegionConcentration: {value}{name} ({self.r_stderr:.2g} mM of it by r)"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class ConcentrationMap(Shown):
    """Concentration of an agent in every voxel, c = ΔR/r.

    Attributes
    ----------
    change : RateChange
    r, r_stderr : float
        The relaxivity and its standard error, mM⁻¹ s⁻¹.
    notes : tuple of str
    """

    change: Changed
    r: float
    r_stderr: float
    notes: tuple[str, ...] = ()

    @property
    def value(self) -> Array:
        """(x, y, z), mM; negative where ΔR is, NaN where it is not determined."""
        value: Array = self.change.value / self.r
        return value

    @property
    def stderr(self) -> Array:
        """(x, y, z), mM: from the noise of ΔR alone, independent from voxel to voxel."""
        stderr: Array = self.change.stderr / self.r
        return stderr

    @property
    def r_relative_stderr(self) -> float:
        """Share by which the error of r moves all voxels together."""
        return self.r_stderr / self.r

    @property
    def total_stderr(self) -> Array:
        """(x, y, z), mM: both errors, for one voxel by itself; never to be averaged down."""
        total: Array = np.hypot(self.stderr, self.value * self.r_relative_stderr)
        return total

    @property
    def counts(self) -> Mapping[str, int]:
        """As of the change."""
        return self.change.counts

    @property
    def affine(self) -> Affine:
        """Voxel → mm, RAS."""
        return self.change.affine

    @property
    def map(self) -> MapImage:
        """The concentration as a map in mM."""
        symbol = QUANTITIES[self.change.symbol].written
        return MapImage("concentration", self.value, self.affine, f"{symbol} over r = {self.r:g}")

    def plot(self, mask: ArrayLike | None = None, z: int | None = None) -> Figure:
        """The map as a picture, see :func:`relaxometry.plots.change_map`."""
        from .plots import change_map

        return change_map(self.map, mask, z)

    def region(
        self,
        mask: ArrayLike,
        name: str = "",
        *,
        sigma: float | tuple[float, float] | None = None,
        coils: int = 1,
    ) -> RegionConcentration:
        """Concentration in a region; parameters and errors as of :meth:`RateChange.region`."""
        return self.of(self.change.region(mask, name, sigma=sigma, coils=coils))

    def of(self, change: RegionChange) -> RegionConcentration:
        """Concentration by the ΔR of a region, with the r of this map.

        Raises
        ------
        InputError
            If it is a change of another rate.
        """
        if change.quantity != self.change.quantity:
            raise InputError(
                f"a change of {change.quantity}", expected=f"of {self.change.quantity}"
            )
        r = Estimate(self.r, self.r_stderr, _OF_RATE[change.quantity])
        c = change.value / self.r
        return RegionConcentration(
            name=change.name,
            value=c,
            noise_stderr=change.stderr / self.r,
            r_stderr=abs(c) * self.r_relative_stderr,
            ci95=fieller(change.estimate, r, change.k95),
            change=change,
            notes=(*change.notes, *self.notes),
        )

    def __repr__(self) -> str:
        known = self.value[np.isfinite(self.value)]
        middle = f"median {np.median(known):.4g} mM" if known.size else "nothing determined"
        common = f"r known to {100 * self.r_relative_stderr:.2g} %" if self.r_stderr else "r exact"
        return f"ConcentrationMap: {middle}, {known.size} voxels, {common}"


def concentration_map(
    change: Changed,
    r: float | Estimate,
    r_stderr: float = 0.0,
    *,
    r_field_T: float | None = None,
) -> ConcentrationMap:
    """Concentration of an agent, c = ΔR/r, voxel by voxel.

    Parameters
    ----------
    change : RateChange
    r : float or Estimate
        Relaxivity of the rate that changed, mM⁻¹ s⁻¹; an Estimate brings its standard error.
    r_stderr : float
        Standard error of r, mM⁻¹ s⁻¹, where `r` is a number. It is common to all voxels.
    r_field_T : float, optional
        Field at which r was measured; a note says where the scans' field is another.

    Returns
    -------
    ConcentrationMap

    Raises
    ------
    InputError
        If r is no positive number, its error negative, given twice or not finite, or r belongs to
        another rate.

    Notes
    -----
    c = ΔR/r takes the relaxivity in tissue for that in the phantom, and an agent that all water
    sees. Inside cells and vessels neither need hold.
    """
    symbol = _OF_RATE[change.quantity]
    if isinstance(r, Estimate):
        if r_stderr:
            raise InputError(
                f"{r_stderr!r} beside an Estimate", field="r_stderr", expected="one error of r"
            )
        if r.symbol not in ("", symbol):
            raise InputError(
                f"{r.symbol} for a change of {change.quantity}", field="r", expected=symbol
            )
        if np.ndim(r.value):
            raise InputError("a map", field="r", expected="one number")
        value, error = r.value, r.stderr
    else:
        value, error = r, r_stderr
    r, r_stderr = _number(value, "r"), _number(error, "r_stderr")
    if not r > 0:
        raise InputError(f"{r:g} mM⁻¹ s⁻¹", field="r", expected="a relaxivity above 0")
    if r_stderr < 0:
        raise InputError(f"{r_stderr:g}", field="r_stderr", expected="0 or more")
    notes = ["c = ΔR/r with the relaxivity of the phantom: in tissue it may be another"]
    if r_stderr == 0:
        notes.append("r is taken as exact: its error is not in those of the concentration")
    at = change.field_T
    if r_field_T is not None and at is not None and abs(r_field_T / at - 1) > SAME_FIELD:
        notes.append(f"r was measured at {r_field_T:g} T, the scans are at {at:g} T")
    return ConcentrationMap(change, r, r_stderr, tuple(notes))


def _number(value: Any, field: str) -> float:
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not number or not math.isfinite(value):
        raise InputError(f"{value!r}"[:60], field=field, expected="a finite number, mM⁻¹ s⁻¹")
    return float(value)
