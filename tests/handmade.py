"""A small study put together by hand from simulated series: what a report is given."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pandas as pd

from relaxometry.agents import relaxivity
from relaxometry.animalscans import tumour
from relaxometry.contrastmeasure import measure_contrast
from relaxometry.contraststudy import ContrastStudy
from relaxometry.finding import find_tubes
from relaxometry.fit import fit_maps, fit_tubes
from relaxometry.series import Provenance, Series
from relaxometry.settings import StudyFacts
from relaxometry.simulate import Agent, mese, phantom, t1_series
from relaxometry.study import InputFile, StudyResult
from relaxometry.tubetable import tube_table

AGENTS = (Agent("A", 4.0, 20.0), Agent("B", 2.0, 60.0))
CONCENTRATIONS_mM = (0.4, 0.2, 0.1)
FACTS = StudyFacts("Two agents", 7.0, 22.0, "1 % agarose", "Fe")


def sheet_of(agents: tuple[Agent, ...] = AGENTS) -> pd.DataFrame:
    tubes = phantom("small", agents, CONCENTRATIONS_mM).tubes
    return pd.DataFrame(
        [
            {"tube": t.number, "agent": t.agent, "concentration_mM": t.concentration_mM}
            for t in tubes
        ]
    )


def series_of(quantity: str, snr: float = 150) -> Series:
    scanned = phantom("small", AGENTS, CONCENTRATIONS_mM)
    series = {"T1": t1_series, "T2": mese}[quantity](scanned, seed=1, snr=snr)
    return replace(
        series,
        provenance=Provenance(
            source="DICOM",
            files=("/home/somebody/scan/1.dcm",),
            vendor="Bruker",
            origin={"TE": "EchoTime (0018,0081)", "signed": "ImageType M"},
        ),
    )


def study(
    facts: StudyFacts = FACTS,
    quantities: tuple[str, ...] = ("T1", "T2"),
    sheet: pd.DataFrame | None = None,
    names: dict[str, str] | None = None,
    warnings: tuple[str, ...] = (),
    failures: tuple[str, ...] = (),
    contrast: bool = True,
) -> StudyResult:
    """A study of two agents and a blank in seven tubes."""
    sheet = sheet_of() if sheet is None else sheet
    sheet = sheet.assign(agent=sheet["agent"].replace(names or {}))
    series = {quantity: series_of(quantity) for quantity in quantities}
    tubes = find_tubes(series[quantities[-1]], sheet) if quantities else None
    on = {quantity: tubes.on(one) for quantity, one in series.items()} if tubes else {}
    maps = {quantity: fit_maps(one, mask=on[quantity].mask) for quantity, one in series.items()}
    table = tube_table(tubes, *maps.values()) if tubes else pd.DataFrame()
    contrasts = ()
    if contrast:
        pre, post, regions, _ = tumour(1)
        contrasts = (
            measure_contrast(
                pre, post, regions, target=1, reference=2, noise=3, name="liver, axial"
            ),
        )
    return StudyResult(
        facts=facts,
        maps=MappingProxyType(maps),
        curves=MappingProxyType({q: fit_tubes(one, on[q]) for q, one in series.items()}),
        tubes=MappingProxyType(on),
        tube_table=table,
        relaxivity=relaxivity(table) if tubes else None,
        contrast=ContrastStudy(contrasts),
        inputs=(InputFile("study.toml", "0" * 64), InputFile("scan/1.dcm", "f" * 64)),
        warnings=warnings,
        failures=failures,
    )
