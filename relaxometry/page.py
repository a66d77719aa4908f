"""The report as one self-contained page: a study's result in words, tables and figures."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import TYPE_CHECKING

from jinja2 import Environment, FunctionLoader, StrictUndefined

from . import __version__
from .contrastpage import contrast_section, uniformity_section
from .methods import paragraphs, reference_sources
from .pagetables import (
    Row,
    acquisition_rows,
    agreement_rows,
    facts_of,
    reference_rows,
    tube_columns,
    tube_rows,
)
from .results import libraries
from .tablereport import (
    agent_rows,
    comparison_rows,
    legend,
    line_texts,
    notes,
    ranking_rows,
    replicate_rows,
    switch_rows,
)

if TYPE_CHECKING:
    import pandas as pd

    from .study import StudyResult


def page(
    result: StudyResult, figures: Mapping[str, bytes], ranking: pd.DataFrame | None = None
) -> str:
    """The report as HTML, with nothing to load from elsewhere and no script.

    Parameters
    ----------
    result : StudyResult
    figures : mapping of str to bytes
        SVG of each figure by name: ``relaxivity``, ``tubes``, ``T1_map``, ``T1_curves``,
        ``contrast`` and so on; those that are missing are left out.
    ranking : DataFrame, optional
        How each agent ranks among published ones: columns ``agent``, ``condition``, ``words``.
    """
    table = result.relaxivity
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(_template),
    )
    return environment.get_template("report.html").render(
        title=result.facts.title or "Relaxometry",
        facts=facts_of(result.facts, table),
        ion=result.facts.concentration_of,
        figures={name: _picture(svg) for name, svg in figures.items()},
        relaxivity=[] if table is None else agent_rows(table),
        notes=[] if table is None else notes(table, result.warnings),
        legend="" if table is None else legend(table),
        replicates=[] if table is None else replicate_rows(table),
        comparisons=[] if table is None else comparison_rows(table),
        switches=[] if table is None else switch_rows(table),
        ranking=ranking_rows(ranking),
        lines=[] if table is None else line_texts(table),
        failures=result.failures,
        warnings=result.warnings,
        quantities=list(result.maps),
        unseen=any(one.placed_by_template for one in result.tubes.values()),
        acquisition=acquisition_rows(result.maps),
        tubes=list(tube_rows(result)),
        tube_columns=tube_columns(result),
        left_out=table is not None and bool(table.left_out),
        contrast=contrast_section(result.contrast, figures),
        uniformity=uniformity_section(result.floods, figures),
        reference=list(reference_rows(result)),
        agreement=agreement_rows(result),
        caveats=() if result.reference is None else result.reference.caveats,
        sources=reference_sources(result),
        methods=list(paragraphs(result)),
        inputs=result.inputs,
        software={"relaxometry": __version__, **libraries()},
    )


def _template(name: str) -> str:
    return files(__package__).joinpath("templates", name).read_text(encoding="utf-8")


def _picture(svg: bytes) -> Row:
    """An SVG to be embedded, with its width and height in px at 96 to the inch."""
    points = re.search(rb'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    width, height = (float(p) * 96 / 72 for p in points.groups()) if points else (1.0, 1.0)
    return {
        "source": "data:image/svg+xml;base64," + base64.b64encode(svg).decode(),
        "width": round(width),
        "height": round(height),
        "aspect": round(width / height, 3),
    }
