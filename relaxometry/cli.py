"""The command line: parse, call, print. Everything heavy is imported by the verb that needs it."""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from . import __version__
from . import options as opt
from .arguments import (
    by_hand,
    in_bytes,
    matrix,
    on_grid,
    points,
    table_facts,
)
from .errors import InputError, RelaxometryError
from .plancommand import plan_verb

if TYPE_CHECKING:
    from .canvas import Look
    from .study import StudyResult

OK, QUALITY, USAGE, BAD_INPUT, INTERNAL = 0, 1, 2, 3, 4
STOPPED = 130  # by Ctrl-C, as shells count it

app = typer.Typer(
    name="relaxometry",
    help="From MRI scans of contrast-agent phantoms to T1, T2, r1, r2 with honest errors.",
    epilog="Exit codes: 0 done; 1 a quality check failed; 2 usage; 3 bad input; 4 internal error.",
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class _Options:
    debug = False
    quiet = False


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"relaxometry {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Say the version.", callback=_say_version, is_eager=True),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing but errors.")] = False,
) -> None:
    """Options for every command, before or after its name."""


def _say(text: str) -> None:
    if not _Options.quiet:
        typer.echo(text)


def _finish(result: StudyResult, page: Path) -> None:
    """Say the answer and where it is; leave with 1 if a quality check failed."""
    from .answer import contrast_lines, relaxivity_lines

    lines = [] if result.relaxivity is None else [*relaxivity_lines(result.relaxivity)]
    for line in (*lines, *contrast_lines(result.contrast), *map(repr, result.floods)):
        _say(line)
    for warning in result.warnings:
        _say(f"note: {warning}")
    for failure in result.failures:
        typer.echo(f"quality check failed: {failure}", err=True)
    _say(f"Report: {page}")
    if result.failures:
        raise typer.Exit(QUALITY)


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where to put it.")] = Path("relaxometry-demo"),
    force: opt.Force = False,
) -> None:
    """Simulate a study, analyse it and write its report."""
    from .reports import report as write_report
    from .sample import write_study
    from .study import analyse
    from .whole import whole_folder

    with whole_folder(folder, "study/study.toml", force) as beside:
        _say("Simulating a 7 T study of three iron oxides in agarose …")
        study = write_study(beside / "study")
        _say("Analysing it …")
        result = analyse(study)
        write_report(result, beside / "report")
    _finish(result, folder / "report" / "index.html")


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(help="A folder or file that a scanner wrote.")],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """Say what scans a folder holds, and what is wrong.

    Series, kind, times, geometry, scanner; what cannot be fitted is listed with the reason.
    """
    from .inspection import inspect as look

    found = look(path)
    typer.echo(
        json.dumps(found.to_dict(), indent=1, ensure_ascii=False) if as_json else repr(found)
    )


@app.command()
def fit(
    path: Annotated[Path, typer.Argument(help="Folder or file of one series.")],
    output: opt.Output,
    model: Annotated[str | None, typer.Option("--model", "-m", help="Default by the data.")] = None,
    mask: Annotated[Path | None, typer.Option(help="Label NIfTI: fit where it is not 0.")] = None,
    series: opt.SeriesNumber = None,
    te: opt.Times = None,
    ti: opt.Times = None,
    tr: opt.Times = None,
    fa: opt.Angles = None,
    polarity: Annotated[
        Literal["magnitude", "signed"] | None, typer.Option(help="Of inversion recovery.")
    ] = None,
    repeats: opt.Repeats = None,
    drop_echoes: Annotated[str | None, typer.Option(help="Points to leave out, e.g. 1,2.")] = None,
    drop_reason: Annotated[str, typer.Option(help="Why; needed with --drop-echoes.")] = "",
    b1: Annotated[
        Path | None, typer.Option(help="NIfTI: actual over nominal angle, or percent.")
    ] = None,
    noise_floor: Annotated[
        float | None, typer.Option(help="Leave out points below K sigma.", metavar="K")
    ] = None,
    sigma: Annotated[float | None, typer.Option(help="Noise, in units of the signal.")] = None,
    dicom: Annotated[
        bool, typer.Option("--dicom", help="Also as DICOM Parametric Maps, in dicom/.")
    ] = False,
    workers: opt.Workers = None,
    max_memory: opt.MaxMemory = None,
    force: opt.Force = False,
) -> None:
    """Fit T1 or T2 maps of one series (BIDS derivatives)."""
    from .bids import write_maps
    from .fit import fit_maps
    from .folder import read
    from .maps import determined
    from .models import as_model
    from .nifti import read_labels
    from .tubes import above_air
    from .whole import check_free, whole_folder

    check_free(output, "dataset_description.json", force)
    if dicom:
        from .parametric import check_writable

        check_writable()
    chosen, memory = None if model is None else as_model(model), in_bytes(max_memory)
    if (noise_floor is None) != (sigma is None):
        raise InputError("one without the other", field="--noise-floor, --sigma", expected="both")
    data = read(
        path,
        series=series,
        **by_hand(te=te, ti=ti, tr=tr, fa=fa),
        polarity=polarity,
        repeats=repeats,
    ).drop(points(drop_echoes), drop_reason)
    _say(repr(data))
    if mask is None:
        where = above_air(data.root_sum_of_squares())[0]
    else:
        where = on_grid(data, mask, *read_labels(mask)) > 0
    if not where.any():
        found = "no voxel stands out from air" if mask is None else "no voxel of a label above 0"
        raise InputError(
            f"nothing to fit: {found}",
            path=mask or path,
            hint="say where to fit by --mask",
        )
    more: dict[str, Any] = {}
    if b1 is not None:
        from .b1 import read_B1

        B1 = read_B1(b1).on(data)
        _say(repr(B1))
        data, more["B1"] = B1.noted(data), B1.factor
    if noise_floor is not None:
        more["noise_floor"] = noise_floor, sigma
    maps = fit_maps(
        data,
        chosen,
        where,
        workers=workers,
        max_memory=memory,
        progress=False if _Options.quiet else None,
        **more,
    )
    # Counted now: once the folder is there, nothing may be told of it as if it were not.
    told = "\n".join([repr(maps), *(f"note: {note}" for note in maps.notes)])
    few = determined(maps.status).sum() < where.sum() / 2
    with whole_folder(output, "dataset_description.json", force) as beside:
        write_maps(maps, beside, dicom=dicom)
    _say(told)
    _say(f"Maps: {output}")
    if few:
        typer.echo("quality check failed: most voxels could not be determined", err=True)
        raise typer.Exit(QUALITY)


@app.command()
def tubes(
    path: Annotated[Path, typer.Argument(help="Folder or file of one series.")],
    output: opt.Output,
    sheet: opt.Sheet = None,
    count: opt.Count = None,
    order: opt.Order = None,
    start_angle: opt.StartAngle = None,
    grid: opt.Grid = None,
    margin: opt.Margin = None,
    labels: opt.Labels = None,
    rois: opt.ROIs = None,
    circles: opt.Circles = None,
    template: opt.Template = None,
    series: opt.SeriesNumber = None,
    te: opt.Times = None,
    ti: opt.Times = None,
    tr: opt.Times = None,
    fa: opt.Angles = None,
    repeats: opt.Repeats = None,
    force: opt.Force = False,
) -> None:
    """Find and number the tubes, to check and to fill in."""
    from .folder import read
    from .placing import place_tubes
    from .settings import TubeSettings, check_one_way
    from .template import checked_name
    from .tubefiles import MARKER, check_sheet_kept, next_steps, write_tubes
    from .whole import check_free

    check_free(output, MARKER, force)
    check_sheet_kept(output, sheet)
    settings = TubeSettings(
        on="series",
        sheet=sheet,
        order=order,
        start_angle=start_angle,
        grid=matrix(grid),
        count=count,
        labels=labels,
        rois=rois,
        circles=circles,
        margin_mm=margin,
        template=None if template is None else checked_name(template, "--template"),
    )
    check_one_way(settings, lambda key: f"--{key.removesuffix('_mm').replace('_', '-')}")
    by = by_hand(te=te, ti=ti, tr=tr, fa=fa)
    data = read(path, series=series, **by, polarity=None, repeats=repeats)
    _say(repr(data))
    placed = place_tubes(settings, {"series": data}, filled=False)["series"]
    folder = write_tubes(placed, data, output, sheet, force)
    _say("\n".join([repr(placed), *next_steps(placed, settings, folder)]))


@app.command()
def report(
    study: Annotated[Path, typer.Argument(help="study.toml: see the README.")],
    output: opt.Output,
    keep_flagged: opt.KeepFlagged = False,
    workers: opt.Workers = None,
    max_memory: opt.MaxMemory = None,
    force: opt.Force = False,
) -> None:
    """Analyse a study.toml: maps, tubes, r1, r2, report."""
    from .study import analyse
    from .whole import check_free

    check_free(output, "results.json", force)
    result = analyse(
        study,
        keep_flagged=keep_flagged,
        workers=workers,
        max_memory=in_bytes(max_memory),
        progress=False if _Options.quiet else None,
    )
    _write_report(result, output, force)


@app.command()
def contrast(
    study: Annotated[Path, typer.Argument(help="study.toml with [[contrast]] or [[uniformity]].")],
    output: opt.Output,
    force: opt.Force = False,
) -> None:
    """SNR, CNR and rates before and after an injection; uniformity."""
    from dataclasses import replace

    from .settings import read_settings
    from .study import analyse

    settings = read_settings(study)
    if not (settings.contrasts or settings.uniformities):
        raise InputError("nothing to do", path=study, expected="[[contrast]] or [[uniformity]]")
    if not any(one.agent for one in settings.contrasts):  # whose relaxivity the scans would tell
        settings = replace(settings, scans={}, tubes=None, reference=None)
    _write_report(analyse(settings), output, force)


@app.command()
def relaxivity(
    table: opt.TableFile,
    output: opt.Output,
    method: opt.LineMethod = "auto",
    ion: opt.Ion = "",
    R1_0: opt.R1_0 = None,
    R2_0: opt.R2_0 = None,
    stock_sd_percent: opt.StockSD = None,
    field: opt.Field = None,
    temperature: opt.Temperature = None,
    medium: opt.Medium = "",
    before: opt.Before = "",
    literature: opt.Literature = None,
    title: Annotated[str, typer.Option(help="Of the report.")] = "",
    figure_width: opt.FigureWidth = None,
    font_size: opt.FontSize = None,
    prediction: opt.Prediction = False,
    keep_flagged: opt.KeepFlagged = False,
    force: opt.Force = False,
) -> None:
    """r1, r2, r2/r1 from a table of concentrations and rates or times.

    For people whose scanner or relaxometer gave the times. Columns and examples: docs/tables.md.
    """
    from .tablestudy import analyse_table
    from .whole import check_free

    check_free(output, "results.json", force)
    look = None
    if figure_width or font_size:
        from .canvas import Look

        look = Look(figure_width or "double", font_size)
    result = analyse_table(
        table,
        table_facts(title, field, temperature, medium, ion),
        method=method,
        intercepts={rate: R0 for rate, R0 in (("R1", R1_0), ("R2", R2_0)) if R0 is not None},
        keep_flagged=keep_flagged,
        stock_sd_percent=stock_sd_percent,
        literature=literature,
        before=before,
    )
    _write_report(result, output, force, look, prediction)


def _write_report(
    result: StudyResult,
    output: Path,
    force: bool,
    look: Look | None = None,
    prediction: bool = False,
) -> None:
    from .reports import report as write_report

    written = write_report(result, output, look=look, prediction=prediction, force=force)
    _finish(result, written)


@app.command()
def simulate(
    output: opt.Output,
    protocol: Annotated[
        str, typer.Option(help="Tubes: seed-7T, seed-7T-vtr, small, small-vtr. Mice: liver-7T.")
    ] = "seed-7T",
    seed: Annotated[int, typer.Option(min=0, help="Of the noise.")] = 0,
    snr: Annotated[float, typer.Option(min=1, help="S0/sigma.")] = 150.0,
    force: opt.Force = False,
) -> None:
    """Write a digital phantom, or mice with a liver tumour: scans and the truth."""
    from .sample import write_study

    _say(f"Study: {write_study(output, protocol, seed, snr, force=force)}")


@app.command()
def models() -> None:
    """List the models, their equations and sources."""
    from .models import MODELS

    width = max(len(model.name) for model in MODELS)
    for model in MODELS:
        typer.echo(f"{model.name:{width}}  {model.equation}")
        typer.echo(f"{'':{width}}  {model.time} from a sweep of {model.reads[0]}. {model.source}")


app.command("plan")(plan_verb(_say))


def main() -> None:
    """Run the command line and leave with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command; return its exit code. Errors are one line on stderr."""
    _Options.debug, _Options.quiet = "--debug" in arguments, "--quiet" in arguments
    arguments = [argument for argument in arguments if argument not in ("--debug", "--quiet")]
    if not arguments:
        app(["--help"], prog_name="relaxometry", standalone_mode=False)
        return USAGE
    try:
        code = app(arguments, prog_name="relaxometry", standalone_mode=False)
        if code == STOPPED:  # what typer makes of Ctrl-C
            raise KeyboardInterrupt
    except typer.TyperException as error:  # usage: unknown options, missing arguments
        typer.echo(f"usage: {error.format_message()} (see relaxometry --help)", err=True)
        return USAGE
    except (typer.Abort, KeyboardInterrupt):
        typer.echo("stopped; nothing was written", err=True)
        return STOPPED
    except RelaxometryError as error:
        return _failed(f"error: {error}", BAD_INPUT, error)
    except OSError as error:  # no permission, disk full
        told = " ".join(str(part) for part in (error.filename, error.strerror) if part)
        return _failed(f"error: {told or error}", BAD_INPUT, error)
    except Exception as error:  # noqa: BLE001 - the last line of defence: a code, not a traceback
        told = f"internal error: {type(error).__name__}: {error}".splitlines()[0]
        return _failed(f"{told} (--debug shows where)", INTERNAL, error)
    return code if isinstance(code, int) else OK


def _failed(message: str, code: int, error: BaseException) -> int:
    if _Options.debug:
        traceback.print_exception(error)
    else:
        typer.echo(message, err=True)
    return code
