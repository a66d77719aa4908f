"""The part of a page that shows contrast: its figures, and the rows of its tables as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from . import plots
from .contrasttables import Row, animal_rows, contrast_details, tests_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .contraststudy import ContrastStudy


def contrast_figures(study: ContrastStudy) -> dict[str, Figure]:
    """Every figure of contrast by its name."""
    figures: dict[str, Figure] = {}
    if study.contrasts:
        figures["contrast"] = plots.contrast_bars(study.contrasts, study.animals)
    for i, one in enumerate(study.sightings, 1):
        figures[f"contrast_images_{i}"] = plots.contrast_images(one.images, one.regions, one.roles)
    return figures


def contrast_section(study: ContrastStudy, figures: Mapping[str, bytes]) -> Row | None:
    """What the section of a page needs, or None where there is nothing to show."""
    if not (study.contrasts or study.rates):
        return None
    captions = {
        f"contrast_images_{i}": one.name or "unnamed" for i, one in enumerate(study.sightings, 1)
    }
    return {
        "details": contrast_details(study.contrasts),
        "animals": animal_rows(study.animals),
        "tests": tests_of(study.animals),
        "shown": [name for name in captions if name in figures],
        "captions": captions,
        "notes": [],
        "rates": [],
        "courses": [],
    }
