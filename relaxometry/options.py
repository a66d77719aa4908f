"""The options of the command line that are long to say or shared by several commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Output = Annotated[Path, typer.Option("--output", "-o", help="Folder to write; made for you.")]
Force = Annotated[bool, typer.Option("--force", help="Replace an earlier result in that folder.")]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, help="Threads; default one per CPU.")
]
KeepFlagged = Annotated[
    bool, typer.Option("--keep-flagged", help="Keep tubes whose flags exclude them.")
]
MaxMemory = Annotated[
    str | None, typer.Option("--max-memory", help="Memory the fit may use, e.g. 2GB.")
]
SeriesNumber = Annotated[int | None, typer.Option(help="Number of the series in `inspect`.")]
Times = Annotated[str | None, typer.Option(help="By hand, e.g. 10ms,20ms,30ms.")]
Angles = Annotated[str | None, typer.Option(help="By hand, in degrees, e.g. 2,5,10.")]
Repeats = Annotated[
    Literal["mean", "separate"] | None,
    typer.Option(help="What becomes of several images at one setting."),
]

TableFile = Annotated[
    Path,
    typer.Argument(
        metavar="TABLE",
        help="CSV, one row per tube: agent, concentration_mM (or _uM, _mg_per_mL, _ppm, a "
        "dilution), R1_per_s, R2_per_s, T1_ms or T2_ms, their errors, replicate, condition.",
    ),
]
R1_0 = Annotated[float | None, typer.Option("--R1-0", help="R1 of the medium held fixed, 1/s.")]
R2_0 = Annotated[float | None, typer.Option("--R2-0", help="R2 of the medium held fixed, 1/s.")]
Prediction = Annotated[
    bool, typer.Option("--prediction", help="Draw bands for one more tube as well.")
]
LineMethod = Annotated[
    Literal["auto", "ordinary", "relative", "weighted", "odr", "york", "robust", "theil-sen"],
    typer.Option(help="How the lines are drawn; auto chooses by the errors and says why."),
]
Ion = Annotated[str, typer.Option(help="What the concentration counts or weighs: Fe, Gd, Mn …")]
StockSD = Annotated[
    float | None,
    typer.Option("--stock-sd-percent", help="Error common to all tubes of an agent (ICP)."),
]
Field = Annotated[float | None, typer.Option(help="Field strength in T.")]
Temperature = Annotated[float | None, typer.Option(help="In °C.")]
Medium = Annotated[str, typer.Option(help="For example: 1 % agarose.")]
Before = Annotated[
    str, typer.Option(help="The condition before the stimulus, of switchable agents.")
]
Literature = Annotated[
    Path | None, typer.Option(metavar="CSV", help="Published relaxivities of your own.")
]
FigureWidth = Annotated[
    Literal["single", "double", "presentation"] | None,
    typer.Option(help="Of the figures: one or two columns of a journal, or a slide."),
]
FontSize = Annotated[float | None, typer.Option(help="In the figures, in points.")]

Sheet = Annotated[Path | None, typer.Option(help="tubes.csv: what is in the tubes.")]
Count = Annotated[int | None, typer.Option(min=1, help="How many tubes there are.")]
Order = Annotated[str | None, typer.Option(help="rows, columns, serpentine, ring, grid or height.")]
StartAngle = Annotated[
    float | None, typer.Option(help="Of a ring: degrees clockwise from the top.")
]
Grid = Annotated[
    str | None, typer.Option(help='Numbers as you see them, 0 for none: "1,2,3;0,4,5".')
]
Margin = Annotated[float | None, typer.Option(help="In mm: how far to keep from the wall.")]
Labels = Annotated[Path | None, typer.Option(help="By hand: a label NIfTI.")]
ROIs = Annotated[Path | None, typer.Option(help="By hand: .roi or .zip of ImageJ.")]
Circles = Annotated[Path | None, typer.Option(help="By hand: a CSV of circles.")]
Template = Annotated[
    str | None, typer.Option(help="A known phantom: system-phantom-T1, -T2, or a TOML file.")
]
