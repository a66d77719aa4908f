"""Images and series before and after an injection: read, checked against each other, measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .agents import RelaxivityTable
from .cohort import over_animals
from .contrast import Contrast, measure_contrast
from .contrastsettings import ContrastSettings, PairedTest
from .displacements import check_still, displacement
from .errors import GeometryError, InputError
from .folder import read_image
from .geometry import Affine, same_grid
from .jupyter import Shown
from .ratestudy import SubjectRates, rates_by_series, rates_by_signal
from .regions import Regions, read_regions
from .registration import register
from .scaling import IntensityScale, intensity_scale
from .studycourses import courses_of
from .timecourse import TimeCourse
from .units import elapsed_text

Image = NDArray[np.float64]

#: Up to here the regions drawn on one image hold for the other.
STILL_VOXELS = 0.5
# Headers write positions with 4 to 6 digits.
_PLACE_TOLERANCE_MM = 0.01


@dataclass(frozen=True, slots=True)
class Sighting:
    """Images of one subject as they were measured, to be looked at."""

    name: str
    images: tuple[tuple[str, Image], ...]
    regions: Regions
    roles: Mapping[str, str | int]


@dataclass(frozen=True, repr=False, eq=False)
class ContrastStudy(Shown):
    """What was measured of images and series before and after an injection.

    Attributes
    ----------
    contrasts : tuple of Contrast
        One for each subject and time.
    test : {"t", "wilcoxon"}
        By which animals before and after are compared.
    sightings : tuple of Sighting
    rates : tuple of SubjectRates
        ΔR1 and ΔR2 from series before and after; then those from the signal alone.
    notes : tuple of str
    """

    contrasts: tuple[Contrast, ...] = ()
    test: PairedTest = "t"
    sightings: tuple[Sighting, ...] = ()
    rates: tuple[SubjectRates, ...] = ()
    notes: tuple[str, ...] = ()

    @cached_property
    def animals(self) -> pd.DataFrame:
        """As of :func:`relaxometry.over_animals`; empty where no animal is named."""
        return over_animals(self.contrasts, self.test)

    @property
    def table(self) -> pd.DataFrame:
        """Each measurement, a row per subject and time, as ``contrast.csv``."""
        return pd.DataFrame([one.row() for one in self.contrasts])

    @property
    def rate_table(self) -> pd.DataFrame:
        """Each change of rates, a row per subject, time and region, as ``rate_changes.csv``."""
        return pd.DataFrame([row for one in self.rates for row in one.rows])

    @cached_property
    def courses(self) -> tuple[TimeCourse, ...]:
        """Each quantity over time, where a group was measured at two times or more."""
        return courses_of(self.contrasts, self.rates)

    def __repr__(self) -> str:
        parts = [f"{len(self.contrasts)} measurements of {len(self._subjects)} subjects"]
        parts += [f"{len(self.rates)} changes of rates"] if self.rates else []
        parts += [f"{len(self.courses)} time courses"] if self.courses else []
        return f"ContrastStudy: {', '.join(parts)}"

    @property
    def _subjects(self) -> set[str]:
        return {one.animal or one.name for one in self.contrasts}


def measure_study(settings: Sequence[ContrastSettings], test: PairedTest = "t") -> ContrastStudy:
    """Measure every ``[[contrast]]`` of a study.

    Raises
    ------
    InputError, GeometryError
        Naming the file: for images that lie elsewhere or moved, regions that are missing, noise
        that cannot be measured in the way that is asked for.
    """
    contrasts: list[Contrast] = []
    rates: list[SubjectRates] = []
    sightings, notes = [], []
    for one in settings:
        if one.pre is None:
            continue
        found, seen, said = _measured(one)
        contrasts += found
        sightings.append(seen)
        notes += said
        if one.TE_s is not None:
            rates += rates_by_signal(one, found, seen.images, seen.regions)
    return ContrastStudy(
        tuple(contrasts), test, tuple(sightings), tuple(rates), tuple(dict.fromkeys(notes))
    )


def with_rates(
    study: ContrastStudy,
    settings: Sequence[ContrastSettings],
    lines: RelaxivityTable | None = None,
    workers: int | None = None,
) -> ContrastStudy:
    """The study with ΔR1, ΔR2 and concentrations from the series that it names.

    Parameters
    ----------
    study : ContrastStudy
    settings : sequence of ContrastSettings
    lines : RelaxivityTable, optional
        Of the same study: r1 and r2 of the agents that are named.
    workers : int, optional
        As in :func:`relaxometry.fit_maps`.
    """
    fitted: list[SubjectRates] = []
    for one in settings:
        if one.rates:
            fitted += rates_by_series(one, lines, workers)
    return replace(study, rates=(*fitted, *study.rates))


def _measured(settings: ContrastSettings) -> tuple[list[Contrast], Sighting, list[str]]:
    assert settings.pre is not None
    pre, affine = read_image(settings.pre)
    regions = _regions(settings, pre, affine)
    roles = {
        role: region
        for role in ("target", "reference", "muscle", "noise")
        if (region := getattr(settings, role)) is not None
    }
    repeat = None if settings.pre_repeat is None else _alike(settings.pre_repeat, settings, affine)
    contrasts: list[Contrast] = []
    images: list[tuple[str, Image]] = [("before", pre)]
    notes: list[str] = []
    for i, (path, time) in enumerate(zip(settings.post, settings.times_s, strict=True)):
        scanned = _alike(path, settings, affine)
        name = " ".join(
            part for part in (settings.name, "" if time is None else elapsed_text(time)) if part
        )
        try:
            moved = _in_place(pre, scanned, affine, regions, settings)
            scale = _scale(pre, moved.image, regions, settings)
            repeats = None
            if repeat is not None:
                repeats = repeat, _alike(settings.post_repeat[i], settings, affine)
            one = measure_contrast(
                pre,
                moved.image,
                regions,
                **roles,
                noise_method=settings.noise_method,  # type: ignore[arg-type]
                coils=settings.coils,
                pooled=settings.pooled,
                phase_axis=settings.phase_axis,
                repeats=repeats,
                as_scanned=scanned,
                scale=scale.ratio if scale is not None and settings.scale == "correct" else None,
                name=settings.name,
            )
        except InputError as error:
            raise (error if error.path else error.at(_at_fault(error, settings, path))) from None
        said = (*moved.notes, *(() if scale is None else _said_of(scale, settings.scale)))
        notes += [f"{name}: {note}" if name else note for note in said]
        contrasts.append(
            replace(
                one,
                animal=settings.animal,
                group=settings.group,
                time_s=time,
                notes=(*one.notes, *said),
            )
        )
        images.append(("after" if time is None else elapsed_text(time), moved.image))
    return contrasts, Sighting(settings.name, tuple(images), regions, roles), notes


def _at_fault(error: InputError, settings: ContrastSettings, after: Path) -> Path:
    """The file that an error is about, by what it says was wrong."""
    field = error.field or ""
    if field.startswith("region") and isinstance(settings.regions, Path):
        return settings.regions
    return settings.pre if settings.pre is not None and field == "noise before" else after


def _regions(settings: ContrastSettings, image: Image, affine: Affine) -> Regions:
    grid: Any = image.shape
    regions = read_regions(settings.regions, grid, affine, settings.names)
    if not same_grid(affine, regions.affine, _PLACE_TOLERANCE_MM):
        raise _elsewhere(settings, settings.regions)
    return regions


def _alike(path: Path, settings: ContrastSettings, affine: Affine) -> Image:
    """An image on the grid of that before."""
    image, own = read_image(path)
    if not same_grid(affine, own, _PLACE_TOLERANCE_MM):
        raise _elsewhere(settings, path)
    return image


def _said_of(scale: IntensityScale, asked: str) -> tuple[str, ...]:
    """The verdict on the scale, where there is anything to say, and what was done about it."""
    divided = ("; enhancements are divided by it",) if asked == "correct" else ("",)
    words = f"{scale.words}{divided[0]}"
    return (words, *scale.notes) if scale.changed or asked == "correct" else scale.notes


@dataclass(frozen=True, slots=True)
class _InPlace:
    """The image after where the subject lies as before, and what to say of it."""

    image: Image
    notes: tuple[str, ...] = ()


def _in_place(
    pre: Image, post: Image, affine: Affine, regions: Regions, settings: ContrastSettings
) -> _InPlace:
    if settings.shift == "ignore" or pre.shape != post.shape:  # of shapes the measurement says more
        return _InPlace(post)
    tissue = {"target": settings.target, "reference": settings.reference, "muscle": settings.muscle}
    labels = [regions.label(r, f"region {role}") for role, r in tissue.items() if r is not None]
    where = np.isin(regions.labels, labels)
    found = displacement(pre, post, affine, mask=where)
    if settings.shift == "correct" and found.beyond(STILL_VOXELS):
        registered = register(pre, post, affine, mask=where, method=settings.registration)  # type: ignore[arg-type]
        return _InPlace(registered.image, (registered.words, *registered.notes))
    return _InPlace(post, check_still(found, STILL_VOXELS))


def _scale(
    pre: Image, post: Image, regions: Regions, settings: ContrastSettings
) -> IntensityScale | None:
    if settings.scale == "ignore" or settings.muscle is None:
        return None
    name = regions.name(settings.muscle)
    named = "the muscle" if name.isdigit() else name
    return intensity_scale(pre, post, regions.mask(settings.muscle), name=named)


def _elsewhere(settings: ContrastSettings, path: Any) -> GeometryError:
    assert settings.pre is not None
    return GeometryError(
        f"its voxels lie elsewhere than those of {settings.pre.name}",
        path=path if isinstance(path, Path) else None,
        hint="convert pre, post and regions alike, or draw the regions on these images",
    )
