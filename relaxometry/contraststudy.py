"""Images and series before and after an injection: read, checked against each other, measured."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .agents import RelaxivityTable
from .cohort import over_animals
from .contrast import Contrast
from .contrastmeasure import AsScanned, measure_contrast
from .contrastsettings import ContrastSettings, PairedTest
from .displacements import STILL_VOXELS, check_not_mirrored, check_still, displacement
from .errors import GeometryError, InputError
from .folder import read_image
from .geometry import PLACE_TOLERANCE_MM, Affine, same_grid
from .jupyter import Shown
from .ratestudy import SubjectRates, rates_by_series, rates_by_signal
from .regions import Regions, read_regions
from .registration import register
from .scaling import FEWEST, IntensityScale, intensity_scale
from .studycourses import courses_of
from .timecourse import TimeCourse
from .units import elapsed_text

Image = NDArray[np.float64]
_GAIN = 0.15  # relative change of the noise that asks for a reason


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
    failures : tuple of str
        What was asked for and could not be told, as whether a subject lay still.
    """

    contrasts: tuple[Contrast, ...] = ()
    test: PairedTest = "t"
    sightings: tuple[Sighting, ...] = ()
    rates: tuple[SubjectRates, ...] = ()
    notes: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()

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
    _check_animals(settings)
    found = [_measured(one) for one in settings if one.pre is not None]
    contrasts = [contrast for one in found for contrast in one.contrasts]
    notes = [*(note for one in found for note in one.notes), *_of_groups(settings, contrasts)]
    return ContrastStudy(
        tuple(contrasts),
        test,
        tuple(sighting for one in found for sighting in one.sightings),
        tuple(rates for one in found for rates in one.rates),
        tuple(dict.fromkeys(notes)),
        tuple(dict.fromkeys(failure for one in found for failure in one.failures)),
    )


def _check_animals(settings: Sequence[ContrastSettings]) -> None:
    """One image is of one animal: slices of it are no others."""
    whose: dict[str, str] = {}
    for one in settings:
        for path in (one.pre, *one.post) if one.animal and one.pre is not None else ():
            assert path is not None
            of = str(path.resolve())
            if path.is_file():
                of = hashlib.sha256(path.read_bytes()).hexdigest()
            if whose.setdefault(of, one.animal) != one.animal:
                raise InputError(
                    f"the image of animals {whose[of][:40]!r} and {one.animal[:40]!r}",
                    path=path,
                    expected="an image of one animal",
                    hint="slices of one animal are one [[contrast]]: they are no animals",
                )


def _of_groups(
    settings: Sequence[ContrastSettings], contrasts: Sequence[Contrast]
) -> Iterator[str]:
    """What is odd about animals that are taken together."""
    drawn: dict[str, set[tuple[Any, Any]]] = {}
    for one in settings:
        if one.animal:
            drawn.setdefault(one.group, set()).add((one.target, one.reference))
    for group, pairs in drawn.items():
        if len(pairs) > 1:
            told = " and ".join(sorted(f"{t} against {r}" for t, r in pairs))
            yield f"group {group or 'without a name'}: not all animals have one target and one " + (
                f"reference: {told}"
            )
    counts = Counter((o.group, o.animal, o.time_s) for o in contrasts if o.animal)
    for (_, animal, _time), n in counts.items():
        if n > 1:
            yield f"animal {animal} was measured {n} times at one time: it counts once, averaged"


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


def _measured(settings: ContrastSettings) -> ContrastStudy:
    """One ``[[contrast]]`` with images."""
    assert settings.pre is not None
    pre, affine = read_image(settings.pre)
    regions = _regions(settings, pre, affine)
    roles = {
        role: region
        for role in ("target", "reference", "muscle", "noise")
        if (region := getattr(settings, role)) is not None
    }
    repeat = (
        None
        if settings.pre_repeat is None
        else _alike(settings.pre_repeat, settings, affine, pre.shape)
    )
    contrasts: list[Contrast] = []
    images: list[tuple[str, Image]] = [("before", pre)]
    scales: list[IntensityScale | None] = []
    notes: list[str] = []
    failures: list[str] = []
    for i, (path, time) in enumerate(zip(settings.post, settings.times_s, strict=True)):
        scanned = _alike(path, settings, affine, pre.shape)
        second = (
            None if repeat is None else _alike(settings.post_repeat[i], settings, affine, pre.shape)
        )
        name = " ".join(
            part for part in (settings.name, "" if time is None else elapsed_text(time)) if part
        )
        try:
            moved = _in_place(pre, scanned, second, affine, regions, settings)
            scale = _scale(pre, moved.image, regions, settings)
            one = measure_contrast(
                pre,
                moved.image,
                regions,
                **roles,
                noise_method=settings.noise_method,  # type: ignore[arg-type]
                coils=settings.coils,
                pooled=settings.pooled,
                phase_axis=settings.phase_axis,
                repeats=None if repeat is None or moved.second is None else (repeat, moved.second),
                as_scanned=moved.as_scanned,
                scale=scale.ratio if scale is not None and settings.scale == "correct" else None,
                name=settings.name,
            )
        except InputError as error:
            raise (error if error.path else error.at(_at_fault(error, settings, path))) from None
        said = (*moved.notes, *_said_of(scale, settings, regions))
        said = (*said, *_of_noise(one, settings))
        notes += [f"{name}: {note}" if name else note for note in (*said, *one.notes)]
        failures += [f"{name}: {told}" if name else told for told in moved.failures]
        checks = dict(moved.checks)
        if scale is not None:
            ratio = scale.ratio
            checks |= {"scale_ratio": ratio.value, "scale_ratio_stderr": ratio.stderr}
        contrasts.append(
            replace(
                one,
                animal=settings.animal,
                group=settings.group,
                time_s=time,
                checks=MappingProxyType(checks),
                notes=(*one.notes, *said, *moved.failures),
            )
        )
        images.append(("after" if time is None else elapsed_text(time), moved.image))
        scales.append(scale if settings.scale == "correct" else None)
    rates: tuple[SubjectRates, ...] = ()
    if settings.TE_s is not None:
        ratios = [None if scale is None else scale.ratio for scale in scales]
        rates = tuple(rates_by_signal(settings, contrasts, images, regions, ratios))
    order = sorted(range(len(contrasts)), key=lambda i: contrasts[i].time_s or 0.0)
    seen = (images[0], *(images[i + 1] for i in order))
    sighting = Sighting(settings.name, seen, regions, roles)
    return ContrastStudy(tuple(contrasts), "t", (sighting,), rates, tuple(notes), tuple(failures))


def _at_fault(error: InputError, settings: ContrastSettings, after: Path) -> Path:
    """The file that an error is about, by what it says was wrong."""
    field = error.field or ""
    of_regions = field.startswith(("region", "circle", "names"))
    if of_regions and isinstance(settings.regions, Path):
        return settings.regions
    return settings.pre if settings.pre is not None and field == "noise before" else after


def _regions(settings: ContrastSettings, image: Image, affine: Affine) -> Regions:
    grid: Any = image.shape
    regions = read_regions(settings.regions, grid, affine, settings.names)
    if regions.labels.shape != grid:
        raise GeometryError(
            f"regions of {regions.labels.shape} voxels for an image of {grid}",
            path=settings.regions if isinstance(settings.regions, Path) else None,
            field="regions",
            expected="one grid",
        )
    if not same_grid(affine, regions.affine, PLACE_TOLERANCE_MM):
        raise _elsewhere(settings, settings.regions)
    return regions


def _alike(path: Path, settings: ContrastSettings, affine: Affine, shape: tuple[int, ...]) -> Image:
    """An image on the grid of that before."""
    image, own = read_image(path)
    assert settings.pre is not None
    if image.shape != shape:
        raise GeometryError(
            f"{image.shape} voxels, {settings.pre.name} has {shape}", path=path, expected="one grid"
        )
    if not same_grid(affine, own, PLACE_TOLERANCE_MM):
        raise _elsewhere(settings, path)
    return image


def _of_noise(one: Contrast, settings: ContrastSettings) -> tuple[str, ...]:
    """Noise that changed, where no muscle tells whether the scale did."""
    if settings.muscle is not None or settings.scale == "ignore":
        return ()
    before, after = (
        float(np.mean([noise.value for noise in one.noise[when]])) for when in ("pre", "post")
    )
    error = math.hypot(one.noise["pre"][0].stderr, one.noise["post"][0].stderr)
    if abs(after - before) < max(_GAIN * before, 4 * error):
        return ()
    return (
        f"noise is {after / before:.2f} times that before, and no muscle was drawn to check the "
        "scale by: enhancement may be another gain",
    )


def _said_of(
    scale: IntensityScale | None, settings: ContrastSettings, regions: Regions
) -> tuple[str, ...]:
    """The verdict on the scale, where there is anything to say, and what was done about it."""
    if scale is None:
        if settings.muscle is None or settings.scale == "ignore":
            return ()
        n = int(regions.mask(settings.muscle).sum())
        return (f"the scale of the images was not checked: {n} voxels of muscle are too few",)
    divided = "; enhancements and ΔR2 by the signal only are divided by it"
    words = f"{scale.words}{divided if settings.scale == 'correct' else ''}"
    said = scale.changed or settings.scale == "correct"
    return (words, *scale.notes) if said else scale.notes


@dataclass(frozen=True, slots=True)
class _InPlace:
    """The image after where the subject lies as before, and what to say of it."""

    image: Image
    second: Image | None
    checks: Mapping[str, float] = field(default_factory=dict)
    as_scanned: AsScanned | None = None
    notes: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()


def _in_place(
    pre: Image,
    post: Image,
    second: Image | None,
    affine: Affine,
    regions: Regions,
    settings: ContrastSettings,
) -> _InPlace:
    if settings.shift == "ignore" or pre.shape != post.shape:  # of shapes the measurement says more
        return _InPlace(post, second)
    tissue = {"target": settings.target, "reference": settings.reference, "muscle": settings.muscle}
    labels = [regions.label(r, f"region {role}") for role, r in tissue.items() if r is not None]
    where = np.isin(regions.labels, labels)
    check_not_mirrored(pre, post, affine)
    found = displacement(pre, post, affine, mask=where)
    checks = {
        "shift_voxels": found.largest_voxels,
        "shift_uncertainty_voxels": found.uncertainty_voxels,
    }
    if settings.shift == "refuse" or (found.known and not found.beyond(STILL_VOXELS)):
        told = check_still(found, STILL_VOXELS)
        if not found.known:
            return _InPlace(post, second, checks, failures=told)
        return _InPlace(post, second, checks, notes=told)
    if not found.known:
        raise InputError(
            found.words,
            expected="images that show where the subject lies",
            hint='look at them, and go on without registration with shift = "ignore"',
        )
    how: Any = settings.registration
    registered = register(pre, post, affine, mask=where, method=how)
    left = registered.left
    if not left.known or left.beyond(STILL_VOXELS):
        raise InputError(
            f"registration did not succeed: {registered.words}",
            expected=f"at most {STILL_VOXELS:g} voxels left",
            hint='try registration = "edges" or "mattes", or go on with shift = "ignore"',
        )
    # Where the regions lie on the image as it was scanned: its noise is measured there.
    moved = Regions(regions.labels, registered.matrix @ affine, regions.names, regions.source)
    grid: Any = pre.shape
    on_scan = AsScanned(post, moved.on(grid, affine), second)
    again = None if second is None else registered.apply(second)
    return _InPlace(
        registered.image, again, checks, on_scan, notes=(registered.words, *registered.notes)
    )


def _scale(
    pre: Image, post: Image, regions: Regions, settings: ContrastSettings
) -> IntensityScale | None:
    """The scale by the muscle; None where nobody asks, or the muscle is too small to tell."""
    if settings.scale == "ignore" or settings.muscle is None:
        return None
    muscle = regions.mask(settings.muscle, "region muscle")
    if settings.scale == "check" and muscle.sum() < FEWEST:
        return None
    name = regions.name(settings.muscle)
    named = "the muscle" if name.isdigit() else name
    return intensity_scale(pre, post, muscle, name=named)


def _elsewhere(settings: ContrastSettings, path: Any) -> GeometryError:
    assert settings.pre is not None
    return GeometryError(
        f"its voxels lie elsewhere than those of {settings.pre.name}",
        path=path if isinstance(path, Path) else None,
        hint="convert pre, post and regions alike, or draw the regions on these images",
    )
