"""Where the tubes of a study are: found, drawn or given by hand, and carried to each series."""

from __future__ import annotations

from collections.abc import Mapping

from .nifti import read_labels
from .series import Series
from .settings import TubeSettings
from .tubes import Tubes, find_tubes, tubes_from_circles, tubes_from_labels


def place_tubes(settings: TubeSettings, series: Mapping[str, Series]) -> dict[str, Tubes]:
    on = series[settings.on]
    if settings.labels is not None:
        labels, affine = read_labels(settings.labels)
        tubes = tubes_from_labels(labels, affine, settings.sheet)
    elif settings.circles is not None:
        tubes = tubes_from_circles(on, settings.circles, settings.sheet, settings.margin_mm or 0.0)
    else:
        # What the study does not say is left to the defaults of `find_tubes`.
        order = {} if settings.order is None else {"order": settings.order}
        tubes = find_tubes(
            on, settings.sheet, margin_mm=settings.margin_mm, template=settings.template, **order
        )
    return {name: tubes.on(one) for name, one in series.items()}
