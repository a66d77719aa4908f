"""Where the tubes of a study are: found, drawn or given by hand, and carried to each series."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .errors import GeometryError
from .finding import find_tubes
from .imagej import tubes_from_rois
from .nifti import read_labels
from .series import Series
from .settings import TubeSettings
from .sheet import read_sheet
from .tubes import Tubes, tubes_from_circles, tubes_from_labels


def place_tubes(
    settings: TubeSettings, series: Mapping[str, Series], filled: bool = True
) -> dict[str, Tubes]:
    """The tubes on the grid of every series; the sheet may lack what need not be `filled` yet."""
    on = series[settings.on]
    sheet = None if settings.sheet is None else read_sheet(settings.sheet, filled, settings.ion)
    if settings.labels is not None:
        labels, affine = read_labels(settings.labels)
        tubes = tubes_from_labels(labels, affine, sheet, on)
    elif settings.rois is not None:
        tubes = tubes_from_rois(on, settings.rois, sheet)
    elif settings.circles is not None:
        tubes = tubes_from_circles(
            on, settings.circles, sheet, settings.margin_mm, settings.circles_unit
        )
    else:
        tubes = find_tubes(
            on,
            sheet,
            settings.order,
            settings.margin_mm,
            start_angle=settings.start_angle,
            grid=settings.grid,
            count=settings.count,
            template=settings.template,
        )
    if tubes.walls is not None:
        tubes = replace(tubes, walls=replace(tubes.walls, seen_in=settings.on))
    tubes = tubes.on(on)
    placed = {}
    for name, one in series.items():
        try:
            placed[name] = tubes.on(one, settings.shift)
        except GeometryError as error:
            raise GeometryError(
                f"{name}: {error.found}",
                field="[tubes]",
                expected=error.expected,
                hint=error.hint,
            ) from None
    return placed
