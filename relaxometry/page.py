"""The report as one self-contained page: a study's result in words, tables and figures."""

from __future__ import annotations

import base64
import math
import platform
import re
from collections.abc import Iterable, Iterator, Mapping
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import Environment, StrictUndefined

from . import __version__
from .agents import T1_BELOW, T2_ABOVE
from .estimate import Estimate
from .flags import in_words
from .geometry import voxel_size
from .maps import ParameterMaps, Status
from .rates import RELATIVE_FLOOR
from .results import libraries
from .series import Protocol, range_text
from .units import QUANTITIES, RATE_OF, RELAXIVITY_OF

if TYPE_CHECKING:
    from .contrast import Contrast
    from .settings import StudyFacts
    from .study import StudyResult

Row = dict[str, Any]

KINDS = {
    "MESE": "multi-echo spin echo",
    "MEGRE": "multi-echo gradient echo",
    "IRT1": "inversion recovery",
    "VTR": "variable repetition time",
    "VFA": "variable flip angle",
}
NOT_STATED = "not stated"
_LINES = {
    "ordinary": "ordinary least squares",
    "weighted": "least squares weighted by 1/σ²",
    "york": "a line with errors in both axes (York et al., Am J Phys 72:367, 2004)",
}


def page(result: StudyResult, figures: Mapping[str, bytes]) -> str:
    """The report as HTML, with nothing to load from elsewhere and no script.

    Parameters
    ----------
    result : StudyResult
    figures : mapping of str to bytes
        SVG of each figure by name: ``relaxivity``, ``tubes``, ``T1_map``, ``T1_curves``,
        ``contrast`` and so on; those that are missing are left out.
    """
    source = files(__package__).joinpath("templates/report.html").read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(source).render(
        title=result.facts.title or "Relaxometry",
        facts=_facts(result.facts),
        ion=result.facts.concentration_of,
        figures={name: _picture(svg) for name, svg in figures.items()},
        relaxivity=list(_relaxivity(result)),
        failures=result.failures,
        warnings=result.warnings,
        quantities=list(result.maps),
        unseen=any(one.placed_by_template for one in result.tubes.values()),
        acquisition=_acquisition(result.maps),
        tubes=list(_tubes(result)),
        tube_columns=_tube_columns(result),
        left_out=result.relaxivity is not None and bool(result.relaxivity.left_out),
        contrast=[_contrast(one) for one in result.contrasts],
        reference=list(_reference(result)),
        agreement=_agreement(result),
        caveats=() if result.reference is None else result.reference.caveats,
        sources=_sources(result),
        methods=list(_methods(result)),
        inputs=result.inputs,
        software={"relaxometry": __version__, **libraries()},
    )


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


# --- numbers -------------------------------------------------------------------------------------


def _number(value: float, stderr: float = math.nan, factor: float = 1.0) -> str:
    """A value ± its error, as an `Estimate` prints it but without its unit."""
    return str(Estimate(value * factor, stderr * factor)).replace("-", "−")


def _interval(low: float, high: float) -> str:
    """An interval, to two digits of a quarter of its width: about its standard error."""
    if not (math.isfinite(low) and math.isfinite(high) and high > low):
        return ""
    decimals = max(0, 1 - math.floor(math.log10((high - low) / 4)))
    return f"{low:.{decimals}f} to {high:.{decimals}f}".replace("-", "−")


def _stated(value: float | str | None, unit: str = "") -> str:
    if value is None or value == "":
        return NOT_STATED
    return f"{value:g} {unit}" if isinstance(value, float) else value


def _listed(name: str, protocol: Protocol) -> str:
    """All values of a setting in the unit people read, or the one they share."""
    values = getattr(protocol, name)
    if values is None:
        return NOT_STATED
    if np.ptp(values) == 0:
        values = values[:1]
    return ", ".join(f"{v * QUANTITIES[name].people_factor:.6g}" for v in values)


# --- tables --------------------------------------------------------------------------------------


def _facts(facts: StudyFacts) -> list[str]:
    told = {
        "field": _stated(facts.field_T, "T"),
        "temperature": _stated(facts.temperature_C, "°C"),
        "medium": _stated(facts.medium),
        "ion": facts.concentration_of and f"concentrations of {facts.concentration_of}",
    }
    return [
        f"{name} {NOT_STATED}" if value in ("", NOT_STATED) else str(value)
        for name, value in told.items()
    ]


def _relaxivity(result: StudyResult) -> Iterator[Row]:
    if result.relaxivity is None:
        return
    for row in result.relaxivity.table.to_dict("records"):
        lines = result.relaxivity.lines[str(row["agent"]), str(row["condition"] or "")]
        ratio = row["r2_r1"]
        yield {
            "name": " ".join(str(row[k]) for k in ("agent", "condition") if row[k]),
            "r": {
                symbol: {"value": _number(one.r.value, one.r.stderr), "ci": _interval(*one.ci95)}
                for symbol, one in lines.items()
            },
            "R0": {s.upper(): _number(one.R0.value, one.R0.stderr) for s, one in lines.items()},
            "ratio": f"{ratio:.4g}" if math.isfinite(ratio) else "–",
            "ratio_ci": _interval(row["r2_r1_ci95_low"], row["r2_r1_ci95_high"]),
            "class": row["class"],
            "n": " / ".join(dict.fromkeys(str(line.n) for line in lines.values())),
            "method": row["method"],
            "flags": [flag for flag in str(row["flags"]).split("; ") if flag],
        }


def _acquisition(maps: Mapping[str, ParameterMaps]) -> list[tuple[str, list[str]]]:
    """Rows of the acquisition table: what, and its value for each series."""
    columns = [_scan(one) for one in maps.values()]
    rows = [(label, [column[label] for column in columns]) for label in (columns or [{}])[0]]
    return [(label, values) for label, values in rows if set(values) != {"–"}]


def _scan(maps: ParameterMaps) -> dict[str, str]:
    series = maps.series
    protocol, provenance = series.protocol, series.provenance
    known = [f"{name}: {provenance.origin[name]}" for name in ("TE", "TI", "TR", "FA", "B1")
             if name in provenance.origin]  # fmt: skip
    polarity = "signed" if series.signed else "magnitude"
    how = provenance.origin.get("signed")
    counts = [f"{n} {s.words}" for s, n in maps.counts().items() if s is not Status.MASKED]
    return {
        "kind": f"{KINDS.get(series.kind, series.kind)} ({series.kind})",
        "echo times TE (ms)": _listed("TE", protocol),
        "inversion times TI (ms)": _listed("TI", protocol) if protocol.swept == "TI" else "–",
        "repetition times TR (ms)": _listed("TR", protocol),
        "settings known by": "; ".join(known) or NOT_STATED,
        "matrix": " × ".join(map(str, series.grid)),
        "voxel (mm)": " × ".join(f"{v:.3g}" for v in voxel_size(series.affine)),
        "field (T)": NOT_STATED if series.field_T is None else f"{series.field_T:g}",
        "vendor": provenance.vendor or NOT_STATED,
        "source": provenance.source,
        "model": f"{maps.model.name}: {maps.model.equation}",
        "polarity": f"{polarity} ({how})" if how else polarity,
        "points left out": "; ".join(maps.notes) or "none",
        "voxels fitted": ", ".join(counts),
    }


def _tube_columns(result: StudyResult) -> list[str]:
    """Columns that tell tubes apart; those that say the same of all are left out."""
    table = result.tube_table
    if table.empty:
        return []
    told = {name: bool((table[name] != "").any()) for name in ("agent", "condition")}
    told["replicate"] = table["replicate"].nunique() > 1
    return ["tube", *(name for name, some in told.items() if some)]


def _tubes(result: StudyResult) -> Iterator[Row]:
    left_out = () if result.relaxivity is None else result.relaxivity.left_out
    for row in result.tube_table.to_dict("records"):
        remarks = ["left out: " + (row["reason"] or "no reason given")] if row["exclude"] else []
        remarks += [in_words(code) for code in str(row["flags"]).split()]
        gone = {one.symbol for one in left_out if one.tube == row["tube"] and not one.by_sheet}
        if gone:
            remarks.append(f"left out of {' and '.join(sorted(gone))}")
        c = row["concentration_mM"]
        yield {
            **{name: row[name] for name in _tube_columns(result)},
            "concentration": f"{c:g}" if np.isfinite(c) else "–",
            "n_voxels": " / ".join(dict.fromkeys(_counts(row, result.maps))),
            "measured": [
                {"text": text, "gone": RELAXIVITY_OF.get(RATE_OF[time]) in gone}
                for time in result.maps
                for text in _measured(row, time, RATE_OF[time])
            ],
            "remarks": remarks,
            "excluded": row["exclude"],
        }


def _counts(row: Mapping[Any, Any], maps: Iterable[str]) -> list[str]:
    """How many voxels a tube has on the grid of each series."""
    return [str(row[f"{time}_n_voxels"]) for time in maps]


def _measured(row: Mapping[Any, Any], time: str, rate: str) -> tuple[str, str, str]:
    if not np.isfinite(row[f"{time}_s"]):
        return "–", "–", "–"
    return (
        _number(row[f"{time}_s"], row[f"{time}_stderr_s"], 1e3),
        _number(row[f"{time}_median_s"], row[f"{time}_sd_s"], 1e3),
        _number(row[f"{rate}_per_s"], row[f"{rate}_stderr_per_s"]),
    )


def _contrast(contrast: Contrast) -> Row:
    def told(quantity: str, factor: float = 1.0, spec: str = ".1f") -> str:
        mean, sd = factor * contrast.mean(quantity), factor * contrast.sd(quantity)
        text = f"{mean:{spec}}" if math.isnan(sd) else f"{mean:{spec}} ± {sd:{spec}}"
        return text.replace("-", "−")

    return {
        "name": contrast.name or "unnamed",
        "noise": {"sd": "SD of air", "rayleigh": "SD of air / 0.655"}[contrast.noise_method],
        "n_slices": contrast.n_slices,
        "cells": [
            *(told(f"SNR_{r}_{when}") for r in ("target", "reference") for when in ("pre", "post")),
            *(told(f"CNR_relative_{when}", spec=".2f") for when in ("pre", "post")),
            *(told(f"d{q}_signed", 100, "+.1f") for q in ("SNR_target", "SNR_reference", "CNR")),
        ],
    }


def _reference(result: StudyResult) -> Iterator[Row]:
    """The bias table: a row per tube and quantity."""
    if result.reference is None:
        return
    for row in result.reference.table.to_dict("records"):
        measured = np.isfinite(row["measured_s"])
        known = np.isfinite(row["bias_percent"])
        uncertainty = row["reference_uncertainty_s"]
        yield {
            "tube": row["tube"],
            "quantity": row["quantity"],
            "measured": _number(row["measured_s"], row["stderr_s"], 1e3) if measured else "–",
            "reference": _number(row["reference_s"], uncertainty, 1e3),
            "bias": f"{row['bias_percent']:+.1f}".replace("-", "−") if known else "–",
            "included": row["included"],
            "reason": row["reason"],
        }


def _sources(result: StudyResult) -> list[str]:
    """Who the reference values are from, each once."""
    told = () if result.reference is None else result.reference.table["source"]
    return list(dict.fromkeys(source for source in told if source))


def _agreement(result: StudyResult) -> list[Row]:
    if result.reference is None:
        return []
    return [
        {
            "quantity": row["quantity"],
            "n": row["n"],
            "cells": [
                (
                    f"{row[f'{name}_percent']:+.1f}".replace("-", "−")
                    if math.isfinite(row[f"{name}_percent"])
                    else "–",
                    _interval(*(row[f"{name}_ci95_{end}_percent"] for end in ("low", "high"))),
                )
                for name in ("mean", "lower", "upper")
            ],
            "sd": f"{row['sd_percent']:.1f}" if math.isfinite(row["sd_percent"]) else "–",
        }
        for row in result.reference.summary.to_dict("records")
    ]


# --- methods -------------------------------------------------------------------------------------


def _methods(result: StudyResult) -> Iterator[str]:
    """Paragraphs ready for a thesis: what was done, with which equations, and by whom."""
    scans = [_scan_sentence(quantity, maps) for quantity, maps in result.maps.items()]
    if scans:
        yield " ".join([*scans, *_fit_sentences(result)])
    if result.relaxivity is not None:
        yield " ".join(_relaxivity_sentences(result))
    if result.reference is not None:
        sources = _sources(result)
        yield (
            "Measured times were compared with reference values"
            + (f" ({'; '.join(sources)})" if sources else "")
            + " by their differences in percent of the mean of both; the limits of agreement are "
            "mean ± 1.96 SD, with confidence intervals after Bland & Altman (Stat Methods Med Res "
            "8:135, 1999)."
        )
    if result.contrasts:
        yield (
            "SNR is the mean of a region over the SD of the noise in air "
            "(over SD/√(2 − π/2) where marked so). CNR is relative to the target, "
            "|SNR(target) − SNR(reference)|/SNR(target). ΔSNR and ΔCNR are |post − pre|/pre, "
            "slice by slice; where there are several slices, mean ± SD over them is given."
        )
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


def _relaxivity_sentences(result: StudyResult) -> Iterator[str]:
    assert result.relaxivity is not None
    lines = [
        line
        for fits in result.relaxivity.lines.values()
        for line in fits.values()
        if math.isfinite(line.r.value)
    ]
    if not lines:
        yield "No relaxivity could be determined from these tubes."
        return
    methods = list(dict.fromkeys(line.method for line in lines))
    symbols = list(dict.fromkeys(s for fits in result.relaxivity.lines.values() for s in fits))
    equations = " and ".join(f"{s.upper()} = {s.upper()}(0) + {s}·c" for s in symbols)
    ion = f" of {result.facts.concentration_of}" if result.facts.concentration_of else ""
    points = sorted({line.n for line in lines})
    count = f"{points[0]}" if len(points) == 1 else f"{points[0]} to {points[-1]}"
    yield (
        f"Relaxivities are the slopes of {equations} against the concentration c{ion}, by "
        f"{' or '.join(_LINES[m] for m in methods)}, over {count} points each."
    )
    flagged = sum(bool(one.codes) for one in result.relaxivity.left_out)
    if flagged:
        yield (
            "Points whose T1 or T2 is not to be trusted by the rules of the software, as the tube "
            f"table says, were left out ({flagged} in all)."
        )
    if set(methods) != {"ordinary"}:
        yield (
            "A rate's σ is the larger of the standard error of its fit and that of the mean over "
            f"the tube's voxels (SD/√n), in quadrature with {100 * RELATIVE_FLOOR:g} % of the "
            "rate; where the points scatter more than their σ, the errors of the line are "
            "multiplied by √(χ²/ν)."
        )
    intervals = "Intervals are 95 %, by Student's t with n − 2 degrees of freedom"
    if len(symbols) < 2:
        yield f"{intervals}."
        return
    yield (
        f"{intervals} (of r2/r1 with its error by the delta method). By r2/r1, an agent is a T1 "
        f"agent below {T1_BELOW:g}, a T2 agent above {T2_ABOVE:g} and dual-mode between; where "
        "Fieller's interval of the ratio crosses a border, both are named."
    )
