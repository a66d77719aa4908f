"""``study.toml``: read, checked and typed before anything else is touched."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from .contrastsettings import (
    TESTS,
    ContrastSettings,
    PairedTest,
    UniformitySettings,
    contrast_settings,
    uniformity_settings,
)
from .errors import InputError
from .linemethod import METHODS, Method
from .noiselevel import METHODS as NOISE_METHODS
from .order import checked_order
from .template import checked_name
from .tomltable import TomlTable
from .units import RELAXIVITY_OF
from .walls import SHIFTS

QUANTITY_TABLES = ("T1", "T2")
#: Phantoms whose reference values come with the package.
PHANTOMS = ("system-phantom",)


@dataclass(frozen=True, slots=True)
class StudyFacts:
    """What a relaxivity must be stated with; None or "" where the study does not say."""

    title: str = ""
    field_T: float | None = None
    temperature_C: float | None = None
    medium: str = ""
    concentration_of: str = ""


@dataclass(frozen=True, slots=True)
class ScanSettings:
    """One scan: where it lies and how it is fitted; times by hand in s, angles in degrees."""

    path: Path
    model: str | None = None
    series: int | None = None
    drop_echoes: tuple[int, ...] = ()
    drop_reason: str = ""
    polarity: Literal["magnitude", "signed"] | None = None
    repeats: Literal["mean", "separate"] | None = None
    te: tuple[float, ...] | None = None
    ti: tuple[float, ...] | None = None
    tr: tuple[float, ...] | None = None
    fa: tuple[float, ...] | None = None
    b1: Path | None = None


@dataclass(frozen=True, slots=True)
class TubeSettings:
    """Where the tubes are and what is in them."""

    on: str
    sheet: Path | None = None
    order: str | None = None
    start_angle: float | None = None
    grid: tuple[tuple[int, ...], ...] | None = None
    count: int | None = None
    labels: Path | None = None
    rois: Path | None = None
    circles: tuple[tuple[float, ...], ...] | Path | None = None
    circles_unit: Literal["mm", "voxels"] | None = None
    margin_mm: float | None = None
    template: str | Path | None = None
    shift: str = "correct"
    ion: str = ""  # of concentrations by mass, where the sheet says none


@dataclass(frozen=True, slots=True)
class ReferenceSettings:
    """What the measured times are compared with: a known phantom, or a table of one's own."""

    phantom: str = ""
    batch: str = ""
    array: str = ""
    table: Path | None = None


@dataclass(frozen=True, slots=True)
class LineSettings:
    """How the lines are drawn, and what they are compared with (``[relaxivity]``)."""

    method: Method = "auto"
    intercepts: Mapping[str, float] = field(default_factory=dict)
    before: str = ""
    literature: Path | None = None


@dataclass(frozen=True, slots=True)
class StudySettings:
    """All of a ``study.toml``."""

    path: Path
    facts: StudyFacts
    scans: Mapping[str, ScanSettings]
    tubes: TubeSettings | None
    contrasts: tuple[ContrastSettings, ...]
    reference: ReferenceSettings | None = None
    lines: LineSettings = field(default_factory=LineSettings)
    uniformities: tuple[UniformitySettings, ...] = ()
    test: PairedTest = "t"


def read_settings(path: str | Path) -> StudySettings:
    """Read a ``study.toml``; paths in it are relative to it.

    Raises
    ------
    InputError
        Naming the file and the key: if it is not TOML, a key is unknown, missing or of the wrong
        type, or a path does not exist.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError("is a folder", path=path, expected="a study.toml")
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise InputError("no such file", path=path, expected="a study.toml") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"not readable as TOML: {error}", path=path) from error
    try:
        return _settings(path, TomlTable("", document, path.parent))
    except InputError as error:
        raise (error if error.path else error.at(path)) from None


def _settings(path: Path, top: TomlTable) -> StudySettings:
    top.asked.update(("study", *QUANTITY_TABLES, "tubes", "reference", "relaxivity"))
    top.asked.update(("contrast", "animals", "uniformity"))
    top.done()
    study = top.table("study")
    facts = StudyFacts(
        title=study.text("title"),
        field_T=study.positive("field_T"),
        temperature_C=study.number("temperature_C"),
        medium=study.text("medium"),
        concentration_of=study.text("concentration_of"),
    )
    study.done()
    scans = {name: _scan(top.table(name)) for name in QUANTITY_TABLES if name in top.values}
    tubes = _tubes(top.table("tubes"), scans) if "tubes" in top.values else None
    tubes = None if tubes is None else replace(tubes, ion=facts.concentration_of)
    if scans and tubes is None:
        raise InputError("missing", field="[tubes]", expected="where the tubes are")
    contrasts = tuple(contrast_settings(one, NOISE_METHODS) for one in top.tables("contrast"))
    uniformities = tuple(uniformity_settings(one) for one in top.tables("uniformity"))
    if not (scans or contrasts or uniformities):
        raise InputError(
            "nothing to do", expected="at least one of [T1], [T2], [[contrast]], [[uniformity]]"
        )
    animals = top.table("animals")
    test: PairedTest = animals.choice("test", TESTS) or "t"
    animals.done()
    by_template = tubes is not None and tubes.template is not None
    reference = None
    if "reference" in top.values:
        reference = _reference(top.table("reference"), by_template)
    if reference is not None and not scans:
        raise InputError("nothing to compare", field="[reference]", expected="[T1] or [T2]")
    lines = _lines(top.table("relaxivity")) if "relaxivity" in top.values else LineSettings()
    return StudySettings(path, facts, scans, tubes, contrasts, reference, lines, uniformities, test)


def _scan(table: TomlTable) -> ScanSettings:
    drop = table.take("drop_echoes", list, []) or []
    if not all(isinstance(point, int) and not isinstance(point, bool) for point in drop):
        raise InputError(
            f"{drop!r}", field=table.key("drop_echoes"), expected="whole numbers from 1"
        )
    scan = ScanSettings(
        path=table.path("path"),
        model=table.text("model") or None,
        series=table.take("series", int),
        drop_echoes=tuple(drop),
        drop_reason=table.text("drop_reason"),
        polarity=table.choice("polarity", ("magnitude", "signed")),
        repeats=table.choice("repeats", ("mean", "separate")),
        te=table.times("te"),
        ti=table.times("ti"),
        tr=table.times("tr"),
        fa=table.numbers("fa"),
        b1=table.path("b1") if "b1" in table.values else None,
    )
    if scan.drop_echoes and not scan.drop_reason:
        raise InputError(
            "echoes dropped without a reason",
            field=table.key("drop_reason"),
            expected='a reason, e.g. "stimulated echo"',
        )
    table.done()
    return scan


def _tubes(table: TomlTable, scans: Mapping[str, ScanSettings]) -> TubeSettings:
    default = "T2" if "T2" in scans else next(iter(scans), "")

    def named(key: str) -> Path | None:
        return table.path(key) if table.seen(key) else None

    circles, grid = table.take("circles", (list, str)), table.take("grid", list)
    count = table.take("count", int)
    if count is not None and count < 1:
        raise InputError(f"{count}", field=table.key("count"), expected="a number of tubes, from 1")
    settings = TubeSettings(
        on=table.choice("on", tuple(scans)) or default,
        sheet=named("sheet"),
        order=table.text("order") or None,
        start_angle=table.number("start_angle"),
        grid=None if grid is None else tuple(grid),
        count=count,
        labels=named("labels"),
        rois=named("rois"),
        circles=tuple(circles) if isinstance(circles, list) else named("circles"),
        circles_unit=table.choice("circles_unit", ("mm", "voxels")),
        margin_mm=table.number("margin_mm"),
        template=_template(table) if "template" in table.values else None,
        shift=table.choice("shift", SHIFTS) or "correct",
    )
    check_one_way(settings, table.key)
    table.done()
    return settings


def check_one_way(settings: TubeSettings, named: Callable[[str], str]) -> None:
    """Raise `InputError` unless the tubes are placed in one way, with what belongs to it.

    Parameters
    ----------
    settings : TubeSettings
    named : callable
        How the user calls a setting: a key of a file, an option of a command.
    """
    finding = ("order", "start_angle", "grid", "count")
    given = [key for key in finding if getattr(settings, key) is not None][:1]
    drawn = ("labels", "rois", "circles", "template")
    given += [key for key in drawn if getattr(settings, key) is not None]
    if len(given) > 1:
        raise InputError(
            f"both {' and '.join(given[:2])}",
            field=named("").strip(" -") or None,
            expected="one way to place the tubes",
        )
    way = given[0] if given else ""
    if settings.margin_mm is not None and way in ("labels", "rois"):
        raise InputError(
            f"margin_mm with {way}",
            field=named("margin_mm"),
            expected=f"order or circles: {way} are measured as they are drawn",
        )
    if settings.circles_unit is not None and way != "circles":
        raise InputError("without circles", field=named("circles_unit"), expected="circles")
    if way in finding or not way:
        try:
            checked_order(settings.order, settings.start_angle, settings.grid)
        except InputError as error:
            raise InputError(
                error.found,
                field=named(error.field or ""),
                expected=error.expected,
                hint=error.hint,
            ) from None


def _template(table: TomlTable) -> str | Path:
    """The name of a template that comes with the package, or the path of another."""
    name = checked_name(table.text("template"), table.key("template"))
    return name if isinstance(name, str) else table.path("template")


def _reference(table: TomlTable, by_template: bool) -> ReferenceSettings:
    settings = ReferenceSettings(
        phantom=table.choice("phantom", PHANTOMS) or "",
        batch=_batch(table),
        array=table.text("array"),
        table=table.path("table") if "table" in table.values else None,
    )
    table.done()
    if bool(settings.phantom) == (settings.table is not None):
        raise InputError(
            "both phantom and table" if settings.phantom else "neither phantom nor table",
            field="[reference]",
            expected=f'one of phantom = "{PHANTOMS[0]}" and table = "my.csv"',
        )
    for key in ("batch", "array"):
        if settings.table is not None and table.seen(key):
            raise InputError(f"{key} with table", field=f"[reference] {key}", expected="phantom")
    if settings.phantom and not settings.batch:
        raise InputError(
            "missing",
            field=table.key("batch"),
            expected="the batch of the solutions: 1, 2 or 2.5",
            hint="1: serial numbers to 130-0041, 2: from 130-0042, 2.5: from 130-0133",
        )
    if settings.phantom and not settings.array and not by_template:
        raise InputError(
            "missing",
            field=table.key("array"),
            expected="[tubes] template, which knows the plate and numbers its spheres, or array",
            hint="with array, NiCl2 or MnCl2, the tubes must have the numbers of the spheres",
        )
    return settings


def _lines(table: TomlTable) -> LineSettings:
    held = {rate: table.positive(f"{rate}_0_per_s") for rate in RELAXIVITY_OF}
    settings = LineSettings(
        method=table.choice("method", METHODS) or "auto",
        intercepts={rate: value for rate, value in held.items() if value is not None},
        before=table.text("before"),
        literature=table.path("literature") if "literature" in table.values else None,
    )
    table.done()
    return settings


def _batch(table: TomlTable) -> str:
    """A batch, which may be written as a number or in quotes."""
    value = table.take("batch", (int, float, str))
    return "" if value is None else f"{value:g}" if isinstance(value, (int, float)) else value
