"""Where the tubes of a study are: found, drawn or given by hand, and carried to each series."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .errors import GeometryError
from .nifti import read_labels
from .series import Series
from .settings import TubeSettings
from .tubes import Tubes, find_tubes, tubes_from_circles, tubes_from_labels


def place_tubes(settings: TubeSettings, series: Mapping[str, Series]) -> dict[str, Tubes]:
    on = series[settings.on]
    if settings.labels is not None:
        labels, affine = read_labels(settings.labels)
        tubes = tubes_from_labels(labels, affine, settings.sheet, on)
    elif settings.circles is not None:
        tubes = tubes_from_circles(on, settings.circles, settings.sheet, settings.margin_mm or 0.0)
    else:
        # What the study does not say is left to the defaults of `find_tubes`.
        order = {} if settings.order is None else {"order": settings.order}
        tubes = find_tubes(on, settings.sheet, margin_mm=settings.margin_mm, **order)
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
