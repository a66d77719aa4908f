"""A study: ``study.toml`` → series → maps → tube table → relaxivity, with what it was made from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import pandas as pd

from .agents import RelaxivityTable, relaxivity
from .archive import outside
from .b1 import B1Map, read_B1
from .bias import ReferenceComparison, compare_with_reference
from .contrast import Contrast
from .contraststudy import ContrastStudy, measure_study, with_rates
from .csvtable import read_csv
from .curvefit import CurveFit
from .errors import InputError
from .fit import fit_maps, fit_tubes
from .folder import read
from .jupyter import Shown
from .literature import literature
from .maps import ParameterMaps
from .models import as_model, model_for
from .placing import place_tubes
from .ranking import rank
from .reference import (
    ARRAYS,
    read_reference,
    read_solutions,
    system_phantom,
    system_phantom_solutions,
)
from .remarks import remarks, unsaid_of
from .series import Series
from .settings import (
    LineSettings,
    ScanSettings,
    StudyFacts,
    StudySettings,
    read_settings,
)
from .stated import FIELD_TOLERANCE, facts_of
from .tubes import Tubes, above_air
from .tubetable import tube_table
from .uniformitystudy import Flood, measure_floods


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file the result was made from: its path relative to the study, and its SHA-256."""

    path: str
    sha256: str


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class StudyResult(Shown):
    """Everything that was measured in a study.

    Attributes
    ----------
    facts : StudyFacts
        Title, field, temperature, medium, ion.
    maps : mapping of str to ParameterMaps
        By quantity, ``"T1"`` and/or ``"T2"``; each knows its series and model.
    curves : mapping of str to tuple of CurveFit
        The fit of every tube's mean signal, in the order of the sheet.
    tubes : mapping of str to Tubes
        The tubes on the grid of each quantity's series.
    tube_table : DataFrame
        One row per tube; empty where the study has no tubes.
    relaxivity : RelaxivityTable or None
        None where no agent is named.
    contrast : ContrastStudy
        What was measured before and after an injection; empty where the study names none.
    inputs : tuple of InputFile
    warnings : tuple of str
        What a reader should know.
    failures : tuple of str
        Quality checks that failed: what was asked for and could not be determined.
    floods : tuple of Flood
        Uniformity and ghosting, where the study names images of a uniform phantom.
    reference : ReferenceComparison or None
        Measured times against reference values, where the study names some.
    literature : DataFrame or None
        Published relaxivities to compare with, as of :func:`relaxometry.reference.literature`;
        None: those that come with the package.
    ranking : DataFrame or None
        Where each agent stands among them, as of :func:`relaxometry.rank`.
    """

    facts: StudyFacts
    maps: Mapping[str, ParameterMaps]
    curves: Mapping[str, tuple[CurveFit, ...]]
    tubes: Mapping[str, Tubes]
    tube_table: pd.DataFrame
    relaxivity: RelaxivityTable | None
    contrast: ContrastStudy
    inputs: tuple[InputFile, ...]
    warnings: tuple[str, ...]
    failures: tuple[str, ...]
    floods: tuple[Flood, ...] = ()
    reference: ReferenceComparison | None = None
    literature: pd.DataFrame | None = None

    @property
    def contrasts(self) -> tuple[Contrast, ...]:
        """Each measurement before and after."""
        return self.contrast.contrasts

    @property
    def ranking(self) -> pd.DataFrame | None:
        if self.relaxivity is None:
            return None
        facts = self.facts
        return rank(self.relaxivity, facts.field_T, facts.concentration_of or None, self.literature)

    def __repr__(self) -> str:
        parts = [self.facts.title or "untitled"]
        parts += [f"{len(self.tube_table)} tubes"] if len(self.tube_table) else []
        parts += [f"{name} by {maps.model.name}" for name, maps in self.maps.items()]
        agents = len(self.relaxivity) if self.relaxivity else 0
        for number, what in (
            (agents, "agent"),
            (len(self.contrasts), "contrast"),
            (len(self.warnings), "warning"),
        ):
            parts += [f"{number} {what}{'' if number == 1 else 's'}"] if number else []
        return f"StudyResult: {', '.join(parts)}"


def analyse(
    study: str | Path | StudySettings,
    *,
    keep_flagged: bool = False,
    workers: int | None = None,
    max_memory: int | None = None,
    progress: bool | None = None,
) -> StudyResult:
    """Do all that a ``study.toml`` asks for.

    Parameters
    ----------
    study : path or StudySettings
    keep_flagged : bool
        As for :func:`relaxometry.relaxivity`.
    workers, max_memory, progress
        As in :func:`relaxometry.fit_maps`.

    Returns
    -------
    StudyResult

    Raises
    ------
    InputError
        Naming file and field, before anything is fitted where possible.
    """
    settings = study if isinstance(study, StudySettings) else read_settings(study)
    scanned = {name: _read_scan(scan) for name, scan in settings.scans.items()}
    try:
        series = {name: _to_fit(name, settings.scans[name], one) for name, one in scanned.items()}
        # Sought in all that was scanned: a short T2 may show only in an echo left out of the fit.
        tubes = place_tubes(settings.tubes, scanned) if settings.tubes and scanned else {}
        B1 = {name: _B1(name, settings.scans[name], one) for name, one in series.items()}
    except InputError as error:
        # What is wrong between files is a matter of the study that brought them together.
        raise (error if error.path else error.at(settings.path)) from None
    facts = _with_field(settings, series)
    on = settings.tubes.on if settings.tubes else ""
    facts, by_row, noted = _by_sheet(settings, facts, tubes)
    known = _reference(settings, facts, tubes[on]) if settings.reference else None
    if known is not None and settings.tubes and settings.tubes.sheet is None:
        tubes = {
            name: one.with_sheet(_contents(one.sheet, known.solutions))
            for name, one in tubes.items()
        }
    try:
        contrast = measure_study(settings.contrasts, settings.test)
    except InputError as error:
        raise (error if error.path else error.at(settings.path)) from None
    floods = measure_floods(settings.uniformities)
    maps, curves = {}, {}
    for name, one in series.items():
        model = _model(name, settings.scans[name], one)
        mask = tubes[name].mask | above_air(one.root_sum_of_squares())[0]
        factor = None
        if (b1 := B1[name]) is not None:
            one, factor = b1.noted(one), b1.factor
        maps[name] = fit_maps(
            one, model, mask, B1=factor, workers=workers, max_memory=max_memory, progress=progress
        )
        curves[name] = fit_tubes(one, tubes[name], model, **maps[name].choices.arguments())
    table = tube_table(tubes[on], *maps.values(), carried=tubes) if tubes else pd.DataFrame()
    published = settings.lines.literature
    lines = _relaxivity(table, settings.lines, keep_flagged)
    try:
        contrast = with_rates(contrast, settings.contrasts, lines, workers=workers)
    except InputError as error:
        raise (error if error.path else error.at(settings.path)) from None
    warnings, failures = remarks(facts, series, table, lines, by_row)
    compared = None
    if known is not None and known.values is not None:
        compared = compare_with_reference(
            table, known.values, keep_flagged=keep_flagged, others=known.others
        )
        failures += compared.failures
    placed = tubes[on].notes if tubes else ()
    noted += placed
    for name, fitted in maps.items():
        moved = (note for note in tubes[name].notes if note not in placed)
        noted += [f"{name}: {note}" for note in (*moved, *fitted.notes)]
    noted += known.notes if known is not None else ()
    return StudyResult(
        facts=facts,
        maps=MappingProxyType(maps),
        curves=MappingProxyType(curves),
        tubes=MappingProxyType(tubes),
        tube_table=table,
        relaxivity=lines,
        contrast=contrast,
        inputs=_inputs(settings, {name: one.series for name, one in maps.items()}),
        warnings=(*noted, *warnings, *contrast.notes),
        failures=(*failures, *contrast.failures),
        floods=floods,
        reference=compared,
        literature=None if published is None else literature(published),
    )


def _read_scan(scan: ScanSettings) -> Series:
    return read(
        scan.path,
        series=scan.series,
        te=scan.te,
        ti=scan.ti,
        tr=scan.tr,
        fa=scan.fa,
        polarity=scan.polarity,
        repeats=scan.repeats,
    )


def _to_fit(name: str, scan: ScanSettings, series: Series) -> Series:
    """The series without the points to be left out, checked against its model."""
    if scan.drop_echoes:
        try:
            series = series.drop(scan.drop_echoes, scan.drop_reason)
        except InputError as error:
            raise InputError(
                error.found, field=f"[{name}] drop_echoes", expected=error.expected
            ) from None
    _model(name, scan, series)
    return series


def _model(name: str, scan: ScanSettings, series: Series) -> str:
    try:
        model = as_model(scan.model) if scan.model else model_for(series.kind)
    except InputError as error:
        raise InputError(error.found, field=f"[{name}] model", expected=error.expected) from None
    if model.time != name:
        raise InputError(
            f"{series!r} with model {model.name}",
            path=scan.path,
            field=f"[{name}]",
            expected=f"a scan and a model of {name}",
        )
    model.check(series.protocol)
    return model.name


def _B1(name: str, scan: ScanSettings, series: Series) -> B1Map | None:
    """The map of B1 on the grid of its series, where the study names one."""
    if scan.b1 is None:
        return None
    if "FA" not in as_model(_model(name, scan, series)).reads:
        raise InputError(
            f"a B1 map for {series.kind}",
            field=f"[{name}] b1",
            expected="a scan with variable flip angle",
        )
    return read_B1(scan.b1).on(series)


def _with_field(settings: StudySettings, series: Mapping[str, Series]) -> StudyFacts:
    facts = settings.facts
    for name, one in series.items():
        if one.field_T is None:
            continue
        if facts.field_T is None:
            facts = replace(facts, field_T=one.field_T)
        elif abs(one.field_T - facts.field_T) > FIELD_TOLERANCE * facts.field_T:
            raise InputError(
                f"field_T is {facts.field_T:g} but the {name} data were taken at {one.field_T:g} T",
                path=settings.path,
                field="[study] field_T",
                expected="the field of the data",
            )
    return facts


def _by_sheet(
    settings: StudySettings, facts: StudyFacts, tubes: Mapping[str, Tubes]
) -> tuple[StudyFacts, tuple[str, ...], list[str]]:
    """The facts with those of the sheet, which each tube states for itself, and how it was read."""
    where = settings.tubes
    if where is None or where.sheet is None or not tubes:
        return facts, (), []
    try:
        facts, by_row = facts_of(tubes[where.on].sheet, facts)
    except InputError as error:
        raise error.at(where.sheet) from None
    return facts, by_row, [f"{where.sheet.name}: {note}" for note in read_csv(where.sheet).notes]


@dataclass(frozen=True, slots=True)
class _Known:
    """What a study's reference says of its tubes: times, solutions, and what to say of both."""

    values: pd.DataFrame | None  # None where there are none at this temperature
    solutions: pd.DataFrame
    others: Mapping[str, pd.DataFrame]
    notes: tuple[str, ...]


def _reference(settings: StudySettings, facts: StudyFacts, tubes: Tubes) -> _Known:
    """The reference values of a study, at its field and temperature."""
    asked = settings.reference
    assert asked is not None
    at, array = (facts.field_T, facts.temperature_C), asked.array
    if not array and tubes.alignment is not None:
        array = tubes.alignment.template.array
    others, notes, values = {}, [], None
    if asked.phantom and tubes.alignment is None:
        notes.append(
            "tube numbers are taken for the sphere numbers of the phantom: no template says which "
            "sphere is which"
        )
    try:
        if asked.table is not None:
            solutions = read_solutions(asked.table)
        else:
            solutions = system_phantom_solutions(array, asked.batch)
        try:
            if asked.table is not None:
                values = read_reference(asked.table, *at)
            else:
                values = system_phantom(array, asked.batch, *at)
        except InputError as error:
            # One that is not stated is soon stated; one that was not tabulated remains so.
            if error.field != "temperature_C" or facts.temperature_C is None:
                raise
            notes.append(
                f"not compared with reference values: the phantom was at {error.found}; expected "
                f"{error.expected}; {error.hint}"
            )
    except InputError as error:
        raise (error if error.path else error.at(settings.path)) from None
    for other in ARRAYS if asked.phantom and values is not None else ():
        if other != array:
            with suppress(InputError):  # not in this batch
                others[other] = system_phantom(other, asked.batch, *at)
    return _Known(values, solutions, others, tuple(notes))


def _contents(sheet: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """A sheet that says nothing of what is in the tubes, filled from the reference values."""
    of_tube = known.set_index("tube").reindex(sheet["tube"])
    return sheet.assign(
        agent=of_tube["array"].fillna("").to_numpy(),
        concentration_mM=of_tube["concentration_mM"].to_numpy(),
    )


def _relaxivity(
    table: pd.DataFrame, lines: LineSettings, keep_flagged: bool
) -> RelaxivityTable | None:
    if table.empty:
        return None
    # A sheet is complete; a reference table need not say what is in every tube.
    unsaid = unsaid_of(table)
    named = (table["agent"] != "") & (table["concentration_mM"] > 0) & ~table["exclude"]
    if not named.any():
        return None
    return relaxivity(
        table[~unsaid],
        lines.method,
        intercepts=lines.intercepts,
        keep_flagged=keep_flagged,
        before=lines.before,
    )


def _inputs(settings: StudySettings, series: Mapping[str, Series]) -> tuple[InputFile, ...]:
    files: list[Path] = [settings.path]
    for one in series.values():
        files += [Path(file) for file in one.provenance.files]
    if settings.tubes:
        where = settings.tubes
        given = (where.sheet, where.labels, where.rois, where.circles, where.template)
        files += [f for f in given if isinstance(f, Path)]
    if settings.reference and settings.reference.table:
        files.append(settings.reference.table)
    if settings.lines.literature:
        files.append(settings.lines.literature)
    for pair in settings.contrasts:
        files += pair.files
    for flood in settings.uniformities:
        files += [flood.image] if flood.region is None else [flood.image, flood.region]
    folder = settings.path.parent
    return tuple(hashed(file, folder) for file in _files(files))


def _files(paths: Iterable[Path]) -> list[Path]:
    found: dict[Path, None] = {}
    for path in paths:
        inside = (
            sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [outside(path)]
        )
        found.update(dict.fromkeys(inside))
    return list(found)


def hashed(file: Path, folder: Path) -> InputFile:
    """A file the result is made from, named by its path in a folder, or by its name alone."""
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    # A file elsewhere is named without its folders: they may tell who works where.
    inside = file.is_relative_to(folder) and ".." not in file.relative_to(folder).parts
    return InputFile(file.relative_to(folder).as_posix() if inside else file.name, digest)
