"""ΔR1 and ΔR2 of a study's subjects, by region: from series before and after, or one image each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .agents import RelaxivityTable
from .concentrationmap import ConcentrationMap
from .contrast import Contrast
from .contrastsettings import ContrastSettings, RateSettings
from .displacements import STILL_VOXELS, check_not_mirrored, displacement
from .errors import GeometryError, InputError
from .estimate import Estimate
from .fit import fit_maps
from .folder import read, read_image
from .jupyter import Shown
from .models import model_for
from .noiselevel import OF_AIR, NoiseMethod, measure_noise, pool_noise
from .quoted import quoted
from .ratechange import RateChange, rate_change
from .regionchange import RegionChange, change_ratio
from .regions import Regions, read_regions
from .series import Series
from .signalonly import signal_only_dR2
from .tubes import above_air
from .units import CHANGE_OF, RELAXIVITY_OF

Array = NDArray[np.float64]
_ROLES = ("target", "reference", "muscle")
_OWN = ("region", "n_voxels", "n_determined")  # of each quantity, in rows that hold several


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class SubjectRates(Shown):
    """How the rates of one subject changed by one time.

    Attributes
    ----------
    name, animal, group : str
    time_s : float or None
    rows : tuple of dict
        One for each region, with units in the keys.
    changes : mapping of str to RateChange
        By rate, ``"R1"`` and ``"R2"``: the maps. Empty where the signal alone was used.
    concentrations : mapping of str to ConcentrationMap
        By rate, where its relaxivity is known.
    notes : tuple of str
    """

    name: str
    animal: str
    group: str
    time_s: float | None
    rows: tuple[dict[str, Any], ...]
    changes: Mapping[str, RateChange]
    concentrations: Mapping[str, ConcentrationMap]
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        how = " and ".join(f"Δ{rate}" for rate in self.changes) or "ΔR2 by the signal only"
        return f"SubjectRates: {self.name}, {how}, {len(self.rows)} regions"


def rates_by_series(
    settings: ContrastSettings, lines: RelaxivityTable | None = None, workers: int | None = None
) -> Iterator[SubjectRates]:
    """ΔR1, ΔR2, their ratio and concentrations, at each time that T1 or T2 was measured.

    Raises
    ------
    InputError, GeometryError
        Naming the file: for series that are not of T1 or T2, regions that lie elsewhere, an agent
        that the study's lines lack.
    """
    drawn = _drawn(settings)
    found: dict[float | None, dict[str, RateChange]] = {}
    kept: dict[str, Regions] = {}
    sigmas: dict[tuple[float | None, str], _Sigmas] = {}
    moved: dict[float | None, list[str]] = {}
    for rate in settings.rates:
        before = _series(rate, rate.pre)
        regions = _on(before, drawn, settings)
        mask = _fitted(before, regions, settings)
        first = fit_maps(before, mask=mask, workers=workers, progress=False)
        for path, time in zip(rate.post, rate.times_s, strict=True):
            scanned = _series(rate, path)
            try:
                said = _still(before, scanned, regions, settings)
                after = fit_maps(scanned, mask=mask, workers=workers, progress=False)
                change = rate_change(first, after)
            except InputError as error:
                raise (error if error.path else error.at(path)) from None
            found.setdefault(time, {})[change.quantity] = change
            sigmas[time, change.quantity] = _sigmas(change, regions, settings)
            moved.setdefault(time, []).extend(f"{change.quantity}: {note}" for note in said)
            kept[change.quantity] = regions
    agents = _relaxivities(settings, lines)
    for time in sorted(found, key=lambda t: -1.0 if t is None else t):
        changes = found[time]
        concentrations = {
            rate: change.concentration(agents[RELAXIVITY_OF[rate]])
            for rate, change in changes.items()
            if RELAXIVITY_OF.get(rate) in agents
        }
        own = {rate: sigmas[time, rate] for rate in changes}
        rows: list[dict[str, Any]] = []
        notes = list(moved[time])
        notes += [f"{rate}: {one.note}" for rate, one in own.items() if one.note]
        for role in _ROLES:
            region = getattr(settings, role)
            if region is None:
                continue
            row, told = _row(changes, concentrations, kept, region, own, settings.coils)
            rows.append(_whose(settings, time) | {"role": role} | row)
            notes += [f"{row['region']}: {note}" for note in told]
        notes += [note for change in changes.values() for note in change.notes]
        yield SubjectRates(
            *(settings.name, settings.animal, settings.group, time, tuple(rows)),
            changes=MappingProxyType(changes),
            concentrations=MappingProxyType(concentrations),
            notes=tuple(dict.fromkeys(notes)),
        )


def rates_by_signal(
    settings: ContrastSettings,
    contrasts: Sequence[Contrast],
    images: Sequence[tuple[str, Array]],
    regions: Regions,
    scales: Sequence[Estimate | None] = (),
) -> Iterator[SubjectRates]:
    """ΔR2 = ln(S_pre/S_post)/TE by region, from the image before and each image after.

    Parameters
    ----------
    settings : ContrastSettings
        With its TE.
    contrasts : sequence of Contrast
        Of each image after: whose σ is that of the images.
    images : sequence of (str, ndarray (x, y, z))
        The image before, then each after, in place.
    regions : Regions
    scales : sequence of Estimate or None
        How much brighter everything is in each image after, where that is divided out.
    """
    assert settings.TE_s is not None
    for i, (contrast, (_, post)) in enumerate(zip(contrasts, images[1:], strict=True)):
        before, after = (
            float(np.mean([noise.sigma for noise in contrast.noise[when]]))
            for when in ("pre", "post")
        )
        scale = scales[i] if i < len(scales) else None
        if scale is not None:
            post, after = post / scale.value, after / scale.value
        change = signal_only_dR2(
            images[0][1], post, settings.TE_s, sigma=(before, after), coils=settings.coils
        )
        rows, notes = [], list(change.notes)
        for role in _ROLES:
            region = getattr(settings, role)
            if region is not None:
                name = regions.name(region)
                found = change.region(regions.mask(region), name)
                row = found.row()
                if scale is not None:  # which moves all regions alike
                    error = scale.stderr / scale.value / settings.TE_s
                    row["dR2_signal_only_stderr_per_s"] = math.hypot(found.stderr, error)
                rows.append(_whose(settings, contrast.time_s) | {"role": role} | row)
                notes += [f"{name}: {note}" for note in found.notes if note not in change.notes]
        yield SubjectRates(
            *(settings.name, settings.animal, settings.group, contrast.time_s, tuple(rows)),
            changes=MappingProxyType({}),
            concentrations=MappingProxyType({}),
            notes=tuple(dict.fromkeys(notes)),
        )


def _whose(settings: ContrastSettings, time: float | None) -> dict[str, Any]:
    return {
        "name": settings.name,
        "animal": settings.animal,
        "group": settings.group,
        "time_s": time,
    }


def _series(rate: RateSettings, path: Any) -> Series:
    series = read(path)
    if model_for(series.kind).time != rate.quantity:
        expected = f"a scan of {rate.quantity}"
        raise InputError(f"{series!r}", path=path, field=f"{rate.quantity}_…", expected=expected)
    return series


def _drawn(settings: ContrastSettings) -> Regions | None:
    """The regions as they were drawn, or None where it was on the series themselves."""
    if settings.pre is not None:
        image, affine = read_image(settings.pre)
        grid: Any = image.shape
        return read_regions(settings.regions, grid, affine, settings.names)
    named = str(settings.regions).lower()
    if named.endswith((".nii", ".nii.gz")):
        return read_regions(settings.regions, names=settings.names)
    return None


def _on(series: Series, drawn: Regions | None, settings: ContrastSettings) -> Regions:
    if drawn is None:
        return read_regions(settings.regions, series.grid, series.affine, settings.names)
    try:
        return drawn.on(series.grid, series.affine)
    except InputError as error:
        raise (error if error.path else error.at(series.provenance.files[0])) from None


def _fitted(series: Series, regions: Regions, settings: ContrastSettings) -> NDArray[np.bool_]:
    """What is fitted: all that stands out of air, and the regions whatever they show."""
    mask = above_air(series.root_sum_of_squares())[0]
    for role in _ROLES:
        region = getattr(settings, role)
        if region is not None:
            mask = mask | regions.mask(region, f"region {role}")
    return mask


def _still(
    before: Series, after: Series, regions: Regions, settings: ContrastSettings
) -> tuple[str, ...]:
    """Refuse series between which the subject moved; what could not be told, where it matters."""
    if before.grid != after.grid:
        raise GeometryError(f"{after.grid} voxels after, {before.grid} before", expected="one grid")
    if settings.shift == "ignore":
        return ()
    labels = [
        regions.label(region) for role in _ROLES if (region := getattr(settings, role)) is not None
    ]
    images = before.root_sum_of_squares(), after.root_sum_of_squares()
    check_not_mirrored(*images, before.affine)
    found = displacement(*images, before.affine, mask=np.isin(regions.labels, labels))
    if found.beyond(STILL_VOXELS):
        raise InputError(
            f"the subject moved between the series: {found.words}",
            expected=f"a displacement of at most {STILL_VOXELS:g} voxels",
            hint="register the series before the study (rx.register), or go on as they are with "
            'shift = "ignore"',
        )
    # Of one slice nobody sees a shift across it.
    return () if found.known else (found.words,)


class _Sigmas(NamedTuple):
    """σ of the series before and after, or why the floor of their noise is not known."""

    values: tuple[float, float] | None
    note: str = ""


def _sigmas(change: RateChange, regions: Regions, settings: ContrastSettings) -> _Sigmas:
    """σ by the air that was drawn: with it the floor is taken off mean signals."""
    if settings.noise is None or settings.noise_method not in OF_AIR:
        return _Sigmas(None)
    method: NoiseMethod = "rayleigh" if settings.coils == 1 else "chi"
    found = []
    for series in (change.pre.series, change.post.series):
        air = regions.labels == regions.label(settings.noise, "region noise")
        if series.signed:
            return _Sigmas(None)
        try:
            noises = [
                measure_noise(
                    np.asarray(series.signal[..., i], dtype=float),
                    air,
                    method,
                    coils=settings.coils,
                )
                for i in range(len(series.protocol))
            ]
        except InputError as error:
            why = f"the floor of the noise stays in the fits: {error.found}"
            return _Sigmas(None, note=why)
        found.append(pool_noise(noises).sigma)
    return _Sigmas((found[0], found[1]))


def _relaxivities(settings: ContrastSettings, lines: RelaxivityTable | None) -> dict[str, Estimate]:
    """The relaxivity of each rate: as stated, else of the agent by the study's own lines."""
    stated = {
        RELAXIVITY_OF[one.quantity.replace("T", "R")]: Estimate(
            one.relaxivity, one.relaxivity_stderr
        )
        for one in settings.rates
        if one.relaxivity is not None
    }
    if not settings.agent:
        return stated
    known = {} if lines is None else quoted(lines)
    own = [found for (agent, _), found in known.items() if agent == settings.agent]
    if len(own) != 1:
        names = ", ".join(dict.fromkeys(agent for agent, _ in known)) or "no lines in this study"
        raise InputError(
            f"{len(own)} lines of {settings.agent[:40]!r}",
            field="[[contrast]] agent",
            expected=f"one of: {names}",
            hint="or state r1_per_mM_per_s and r2_per_mM_per_s",
        )
    lined = {
        symbol: Estimate(found.value, found.stderr)
        for symbol, found in own[0].items()
        if symbol in ("r1", "r2")
    }
    return lined | stated


def _row(
    changes: Mapping[str, RateChange],
    concentrations: Mapping[str, ConcentrationMap],
    regions: Mapping[str, Regions],
    region: int | str,
    sigmas: Mapping[str, _Sigmas],
    coils: int,
) -> tuple[dict[str, Any], list[str]]:
    """Every change of one region, their ratio and the concentrations they tell."""
    found: dict[str, RegionChange] = {}
    row: dict[str, Any] = {}
    notes: list[str] = []
    for rate in sorted(changes):
        name = regions[rate].name(region)
        sigma = sigmas[rate].values
        one = changes[rate].region(regions[rate].mask(region), name, sigma=sigma, coils=coils)
        found[rate] = one
        notes += one.notes
        own = one.row()
        row = {"region": name} | row | {k: v for k, v in own.items() if k not in _OWN}
        row |= {f"{CHANGE_OF[rate]}_{key}": own[key] for key in _OWN[1:]}
        if rate in concentrations:
            told = concentrations[rate].of(one)
            by = f"concentration_by_{RELAXIVITY_OF[rate]}"
            row |= {
                key.replace("concentration", by): value
                for key, value in told.row().items()
                if key.startswith("concentration")
            }
            notes += told.notes
    if {"R1", "R2"} <= set(found) and found["R1"].value != 0:
        ratio = change_ratio(found["R2"], found["R1"])
        row |= {k: v for k, v in ratio.row().items() if k != "region"}
        notes += ratio.notes
    return row, list(dict.fromkeys(notes))
