"""ΔR1 and ΔR2: relaxation rates after an injection less those before, by voxel and by region."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .concentrationmap import SAME_FIELD, ConcentrationMap, concentration_map
from .curvefit import CurveFit
from .errors import GeometryError, InputError
from .estimate import Estimate
from .geometry import Affine, same_grid
from .jupyter import Shown
from .mapimage import MapImage
from .maps import ParameterMaps, Status, determined
from .regionchange import RegionChange, welch
from .regionrate import checked_mask, region_fit, two_sigmas
from .units import CHANGE_OF, QUANTITIES, RATE_OF

if TYPE_CHECKING:
    from matplotlib.figure import Figure


Array = NDArray[np.float64]

_FAR = 2.0  # standard errors by which voxels and mean signal may differ unsaid


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class RateChange(Shown):
    """ΔR = R_post − R_pre in every voxel.

    Attributes
    ----------
    pre, post : ParameterMaps
    value, stderr : ndarray (x, y, z)
        ΔR in s⁻¹ and its standard error, √(σ_pre² + σ_post²) of two independent fits; NaN where the
        rate before or after is not determined.
    quantity : {"R1", "R2", "R2star"}
        The rate that changed.
    counts : mapping of str to int
        Voxels that are ``"determined"``, and of the others how many for each reason, e.g.
        ``"after: at bound"``.
    notes : tuple of str
        What differs between the two fits beside the injection.
    """

    pre: ParameterMaps
    post: ParameterMaps
    value: Array
    stderr: Array
    quantity: str
    counts: Mapping[str, int]
    notes: tuple[str, ...] = ()

    @property
    def symbol(self) -> str:
        """``"dR1"`` or ``"dR2"``, as in the names of columns and files."""
        return CHANGE_OF[self.quantity]

    @property
    def affine(self) -> Affine:
        """Voxel → mm, RAS."""
        return self.pre.series.affine

    @property
    def field_T(self) -> float | None:
        """Field of the scans in T, where it is known."""
        known = (self.pre.series.field_T, self.post.series.field_T)
        return next((T for T in known if T is not None), None)

    @property
    def map(self) -> MapImage:
        """ΔR as a map in 1/s."""
        return MapImage(self.symbol, self.value, self.affine, "after less before")

    def plot(self, mask: ArrayLike | None = None, z: int | None = None) -> Figure:
        """The map as a picture, see :func:`relaxometry.plots.change_map`."""
        from .plots import change_map

        return change_map(self.map, mask, z)

    def concentration(
        self, r: float | Estimate, r_stderr: float = 0.0, *, r_field_T: float | None = None
    ) -> ConcentrationMap:
        """Concentration of the agent, ΔR/r: see :func:`relaxometry.concentration_map`."""
        return concentration_map(self, r, r_stderr, r_field_T=r_field_T)

    def region(
        self,
        mask: ArrayLike,
        name: str = "",
        *,
        sigma: float | tuple[float, float] | None = None,
        coils: int = 1,
    ) -> RegionChange:
        """ΔR of a region.

        Parameters
        ----------
        mask : array_like of bool (x, y, z)
        name : str
        sigma : float or (float, float), optional
            σ of each channel, of both series or before and after: the floor of the noise is then
            taken off the mean signal (:func:`relaxometry.region_fit`).
        coils : int
            Coils combined by root sum of squares; it matters where `sigma` is given.

        Returns
        -------
        RegionChange
            Fitted with the model and the choices of the maps.

        Raises
        ------
        InputError, GeometryError
            If the mask has no voxel or is on another grid, σ is no positive number, or `coils` no
            whole number from 1.

        Notes
        -----
        The mean signal is fitted, and not the voxels averaged, because single voxels reach the
        floor of the noise sooner, and those it ruins drop out (which of them, is no chance); the
        error then counts a misfit, which the errors of voxels do not. Where a region is uneven, its
        mean signal leans to its slow parts; the voxels say so, and a note does.
        """
        inside = checked_mask(mask, self.value.shape)
        both = None if sigma is None else two_sigmas(sigma)
        finite = inside.copy()
        for maps in (self.pre, self.post):
            finite[finite] = np.isfinite(maps.series.signal[finite]).all(axis=-1)
        if not finite.any():
            raise InputError(
                "no voxel with finite signal before and after",
                field=f"region {name}".strip(),
                expected="a region inside both scans",
            )
        fits = [
            _refitted(maps, finite, s, coils)
            for maps, s in zip((self.pre, self.post), both or (None, None), strict=True)
        ]
        pre, post = (fit[self.quantity] for fit in fits)
        voxels, errors = self.value[inside], self.stderr[inside]
        known = np.isfinite(voxels)
        n = int(known.sum())
        voxels, errors = voxels[known], errors[known]
        stderr = math.hypot(pre.stderr, post.stderr)
        found = RegionChange(
            name=name,
            quantity=self.quantity,
            value=post.value - pre.value,
            stderr=stderr,
            dof=_dof(fits, (pre, post)),
            mean=float(voxels.mean()) if n else math.nan,
            median=float(np.median(voxels)) if n else math.nan,
            sd=float(voxels.std(ddof=1)) if n > 1 else math.nan,
            mean_stderr=math.sqrt(float((errors**2).sum())) / n if n else math.nan,
            n_voxels=int(inside.sum()),
            n_determined=n,
            pre=pre,
            post=post,
            sigma=both,
            field_T=self.field_T,
            counts=MappingProxyType(_counts(self.pre.status[inside], self.post.status[inside])),
        )
        notes = [*self.notes, *_region_notes(found, fits, int(inside.sum() - finite.sum()))]
        return replace(found, notes=tuple(notes))

    def __repr__(self) -> str:
        label = QUANTITIES[self.symbol].written
        known = self.value[np.isfinite(self.value)]
        facts = [f"RateChange: {label}"]
        if known.size:
            facts.append(f"median {np.median(known):.4g} s⁻¹")
        told = {why: n for why, n in self.counts.items() if "masked" not in why}
        return ", ".join([*facts, *(f"{n} {why}" for why, n in told.items())])


def rate_change(pre: ParameterMaps, post: ParameterMaps) -> RateChange:
    """ΔR1 or ΔR2 in every voxel: the rate after an injection less that before.

    Parameters
    ----------
    pre, post : ParameterMaps
        Of one quantity, on one grid.

    Returns
    -------
    RateChange

    Raises
    ------
    GeometryError
        If the grids differ.
    InputError
        If the two show different quantities (T2* is not T2), or were taken at different fields.
    """
    for name, maps in (("pre", pre), ("post", post)):
        if not isinstance(maps, ParameterMaps):
            raise InputError(
                f"a {type(maps).__name__}", field=name, expected="ParameterMaps, of rx.fit_maps"
            )
    before, after = pre.model.time, post.model.time
    if before != after:
        raise InputError(
            f"{before} before and {after} after", field="post", expected=f"maps of {before} in both"
        )
    if pre.series.grid != post.series.grid:
        raise GeometryError(
            f"{post.series.grid} after, {pre.series.grid} before",
            field="post",
            expected="one grid",
            hint="register the series after to that before, and fit it then",
        )
    if not same_grid(pre.series.affine, post.series.affine):
        raise GeometryError(
            "the voxels after lie elsewhere than those before",
            field="post",
            expected="one affine",
            hint="register the series after to that before, and fit it then",
        )
    fields = [T for T in (pre.series.field_T, post.series.field_T) if T is not None]
    if len(fields) == 2 and abs(fields[0] / fields[1] - 1) > SAME_FIELD:
        raise InputError(
            f"{fields[0]:g} T before, {fields[1]:g} T after", field="post", expected="one field"
        )
    rate = RATE_OF[before]
    first, last = pre[rate], post[rate]
    value: Array = np.asarray(last.value, float) - np.asarray(first.value, float)
    stderr: Array = np.hypot(np.asarray(first.stderr, float), np.asarray(last.stderr, float))
    value.flags.writeable = stderr.flags.writeable = False
    counts = MappingProxyType(_counts(pre.status, post.status))
    return RateChange(pre, post, value, stderr, rate, counts, _differences(pre, post))


def _refitted(maps: ParameterMaps, inside: NDArray[np.bool_], sigma: Any, coils: int) -> CurveFit:
    """The fit of the mean signal, with the choices of the maps."""
    choices = maps.choices.arguments()
    if sigma is not None:
        choices |= {"noise_floor": None}  # it is taken off instead
    return region_fit(maps.series, inside, maps.model, sigma=sigma, coils=coils, **choices)


def _dof(fits: Iterable[CurveFit], rates: Iterable[Estimate]) -> float:
    pairs = zip(fits, rates, strict=True)
    return welch((rate.stderr**2, fit.points - len(fit.parameters)) for fit, rate in pairs)


def _counts(before: NDArray[Any], after: NDArray[Any]) -> dict[str, int]:
    """Voxels by what became of them: determined, or which of the two fits failed and how."""
    codes, numbers = np.unique(before.astype(int) * 256 + after, return_counts=True)
    counts = {"determined": 0}
    for code, n in zip(codes.tolist(), numbers.tolist(), strict=True):
        failed = [None if determined(np.array(s)) else Status(s).words for s in divmod(code, 256)]
        if failed == [None, None]:
            why = "determined"
        elif failed[0] == failed[1]:
            why = f"before and after: {failed[0]}"
        else:
            told = zip(("before", "after"), failed, strict=True)
            why = "; ".join(f"{when}: {words}" for when, words in told if words)
        counts[why] = counts.get(why, 0) + n
    return counts


def _differences(pre: ParameterMaps, post: ParameterMaps) -> tuple[str, ...]:
    """What differs between two fits beside what was injected."""
    notes = []
    if pre.model.name != post.model.name:
        notes.append(f"model {pre.model.name} before, {post.model.name} after")
    one, other = pre.series.protocol.times, post.series.protocol.times
    if one.shape != other.shape or not np.allclose(one, other, rtol=0, atol=1e-6):
        notes.append(f"other {pre.series.protocol.swept} after than before")
    for when, maps in (("before", pre), ("after", post)):
        notes += [f"{when}: {note}" for note in maps.notes]
    return tuple(notes)


def _region_notes(found: RegionChange, fits: list[CurveFit], lost: int) -> list[str]:
    notes = []
    if lost:
        notes.append(f"{lost} voxels have a signal that is not finite: left out of the mean signal")
    for when, fit in zip(("before", "after"), fits, strict=True):
        if not determined(np.array(fit.status)):
            notes.append(f"{when}: the mean signal is not determined ({fit.status.words})")
    if found.n_determined < found.n_voxels:
        missing = found.n_voxels - found.n_determined
        notes.append(f"{missing} of {found.n_voxels} voxels are not determined")
    apart = abs(found.mean - found.value)
    if apart > _FAR * math.hypot(found.stderr, found.mean_stderr):
        notes.append(
            f"the voxels' mean {found.mean:.4g} is not the mean signal's {found.value:.4g} s⁻¹: "
            "the region is uneven, or its signal reaches the floor of the noise"
        )
    return notes
