"""The paragraphs of methods of a study, ready for a thesis: what was done, and by whose method."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from . import __version__
from .contrastmethods import contrast_paragraphs
from .geometry import voxel_size
from .maps import ParameterMaps
from .series import range_text
from .tablereport import table_methods
from .units import QUANTITIES

if TYPE_CHECKING:
    from .study import StudyResult

KINDS = {
    "MESE": "multi-echo spin echo",
    "MEGRE": "multi-echo gradient echo",
    "IRT1": "inversion recovery",
    "VTR": "variable repetition time",
    "VFA": "variable flip angle",
}


def paragraphs(result: StudyResult) -> Iterator[str]:
    """Paragraphs ready for a thesis: what was done, with which equations, and by whom."""
    scans = [_scan_sentence(quantity, maps) for quantity, maps in result.maps.items()]
    if scans:
        yield " ".join([*scans, *_fit_sentences(result)])
    if result.relaxivity is not None:
        yield table_methods(result.relaxivity, result.facts)
    if result.reference is not None:
        sources = reference_sources(result)
        yield (
            "Measured times were compared with reference values"
            + (f" ({'; '.join(sources)})" if sources else "")
            + " by their differences in percent of the mean of both; the limits of agreement are "
            "mean ± 1.96 SD, with confidence intervals after Bland & Altman (Stat Methods Med Res "
            "8:135, 1999)."
        )
    yield from contrast_paragraphs(result)
    yield (
        f"Analysis: relaxometry {__version__} (Python {platform.python_version()}, "
        f"NumPy {np.__version__})."
    )


def _scan_sentence(quantity: str, maps: ParameterMaps) -> str:
    series, model = maps.series, maps.model
    protocol = series.protocol
    swept, times = protocol.swept, protocol.times
    constant = [
        f"{name} {range_text(name, getattr(protocol, name))}"
        for name in ("TE", "TR")
        if name != swept and getattr(protocol, name) is not None
    ]
    field = f" at {series.field_T:g} T" if series.field_T is not None else ""
    size = " × ".join(f"{v:.3g}" for v in voxel_size(series.affine))
    settings = ", ".join(
        [
            f"{len(times)} {QUANTITIES[swept].name}s of {range_text(swept, times)}",
            *constant,
            f"matrix {' × '.join(map(str, series.grid))}",
            f"voxel {size} mm",
        ]
    )
    shortest, longest = maps.bounds
    text = (
        f"{quantity} was measured by {KINDS.get(series.kind, series.kind)}{field} ({settings}) "
        f"and fitted with {model.equation} ({model.source}), {quantity} being searched from "
        f"{1e3 * shortest:.3g} ms to {longest:.3g} s."
    )
    ratio = model.ratio(protocol)
    if ratio is not None:
        first, second = model.amplitudes
        text += f" {second}/{first} was held between {ratio[0]:g} and {ratio[1]:g}."
    if model.inverts and not series.signed:
        text += " The signs of the magnitudes were found by trying every monotone pattern of them."
    return text


def _fit_sentences(result: StudyResult) -> Iterator[str]:
    yield (
        "Each fit is the exact nonlinear least-squares minimum, by variable projection "
        "(Golub & Pereyra, SIAM J Numer Anal 10:413, 1973), with standard errors from "
        "s²·(JᵀJ)⁻¹, s² = RSS/(n − p)."
    )
    for tubes in list(result.tubes.values())[:1]:
        how = {"labels": "taken from a label image", "circles": "given as circles"}
        table = result.tube_table
        counts = " and ".join(
            dict.fromkeys(
                f"{own.min()} to {own.max()}" if own.min() < own.max() else f"{own.min()}"
                for own in (table[f"{time}_n_voxels"] for time in result.maps)
            )
        )
        margin = f", keeping {tubes.margin_mm:.2g} mm from the wall" if tubes.margin_mm else ""
        yield (
            f"The {len(tubes)} tubes were {how.get(tubes.source, tubes.source)}{margin} "
            f"({counts} voxels each); the fit of a tube's mean signal is "
            "its value, and the SD is that between its voxels."
        )


def reference_sources(result: StudyResult) -> list[str]:
    """Who the reference values are from, each once."""
    told = () if result.reference is None else result.reference.table["source"]
    return list(dict.fromkeys(source for source in told if source))
