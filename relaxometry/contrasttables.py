"""The tables of contrast as text: what a page and its printed sister both show."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from .cohort import QUANTITIES, WORDS
from .contrast import Contrast
from .contrastformulas import FORMULAS
from .numerals import number, probability
from .units import elapsed_text

Row = dict[str, Any]

ENHANCEMENT = {
    "RE_target": "Enhancement, target",
    "RE_reference": "Enhancement, reference",
    "RE_muscle": "Enhancement, muscle",
}


def formula_of(quantity: str) -> str:
    """The formula of a quantity as it is printed beside its number."""
    return FORMULAS[quantity.partition("_")[0] if quantity.startswith(("SNR", "RE")) else quantity]


def change_formula(quantity: str) -> str:
    """The formula of the signed change of a quantity."""
    bare = quantity.partition("_")[0] if quantity.startswith("SNR") else quantity
    return f"({bare}(post) − {bare}(pre))/{bare}(pre)"


def time_of(contrast: Contrast) -> str:
    """When it was measured, or nothing."""
    return "" if contrast.time_s is None else elapsed_text(contrast.time_s)


def contrast_details(contrasts: Iterable[Contrast]) -> list[Row]:
    """For each measurement every quantity with its formula, before, after and change."""
    return [
        {
            "name": one.name or "unnamed",
            "time": time_of(one),
            "animal": one.animal,
            "group": one.group,
            "n_slices": one.n_slices,
            "noise": f"{one.noise['pre'][0].formula} ({one.noise_method})",
            "checks": _checks(one),
            "notes": list(one.notes),
            "rows": [*_pairs(one), *_enhancements(one)],
        }
        for one in contrasts
    ]


def _checks(one: Contrast) -> str:
    """Whether the subject lay still and the scale stayed, in words."""
    told = []
    shift = one.checks.get("shift_voxels", math.nan)
    if math.isfinite(shift):
        found = number(shift, one.checks["shift_uncertainty_voxels"])
        told.append(f"moved by at most {found} voxels (95 %)")
    else:
        told.append("whether it moved was not checked")
    ratio = one.checks.get("scale_ratio", math.nan)
    if math.isfinite(ratio):
        found = number(ratio, one.checks["scale_ratio_stderr"])
        told.append(f"muscle {found} times as bright after as before")
    else:
        told.append("the scale was not checked")
    return "; ".join(told)


def _pairs(one: Contrast) -> list[Row]:
    return [
        {
            "words": WORDS[quantity],
            "formula": formula_of(quantity),
            "pre": _cell(one, f"{quantity}_pre"),
            "post": _cell(one, f"{quantity}_post"),
            "change": _cell(one, f"{delta}_signed", 100),
        }
        for quantity, delta in QUANTITIES.items()
        if f"{quantity}_pre" in one.estimates
    ]


def _enhancements(one: Contrast) -> list[Row]:
    return [
        {
            "words": words,
            "formula": formula_of(key),
            "pre": ("–", ""),
            "post": ("–", ""),
            "change": _cell(one, key, 100),
        }
        for key, words in ENHANCEMENT.items()
        if key in one.estimates
    ]


def _cell(one: Contrast, key: str, factor: float = 1.0) -> tuple[str, str]:
    """Mean ± standard error, and the SD over slices where there are several."""
    value, error = one.mean(key), one.stderr(key)
    text = number(value, error, factor)
    if factor != 1.0 and value > 0:
        text = "+" + text
    sd = one.sd(key)
    return text, "" if math.isnan(sd) else f"SD {abs(factor) * sd:.2g}"


def contrast_row(contrast: Contrast) -> Row:
    """One measurement in one line."""

    def told(quantity: str, factor: float = 1.0, spec: str = ".1f") -> str:
        mean, sd = factor * contrast.mean(quantity), factor * contrast.sd(quantity)
        text = f"{mean:{spec}}" if math.isnan(sd) else f"{mean:{spec}} ± {sd:{spec.lstrip('+')}}"
        return text.replace("-", "−")

    return {
        "name": " ".join(part for part in (contrast.name or "unnamed", time_of(contrast)) if part),
        "noise": contrast.noise["pre"][0].formula,
        "n_slices": contrast.n_slices,
        "cells": [
            *(told(f"SNR_{r}_{when}") for r in ("target", "reference") for when in ("pre", "post")),
            *(told(f"CNR_relative_{when}", spec=".2f") for when in ("pre", "post")),
            *(told(f"d{q}_signed", 100, "+.1f") for q in ("SNR_target", "SNR_reference", "CNR")),
        ],
    }


def animal_rows(animals: pd.DataFrame) -> list[Row]:
    """Mean ± SD over animals, with the test of their difference, a row per quantity and time."""
    rows = []
    for row in [] if animals.empty else animals.to_dict("records"):
        quantity = str(row["quantity"])
        time = row["time_s"]
        known = time is not None and not math.isnan(time)
        rows.append(
            {
                "group": _cut(str(row["group"])),
                "words": WORDS[quantity],
                "formula": formula_of(quantity),
                "time": elapsed_text(time) if known else "",
                "n": row["n_animals"],
                "pre": _mean_sd(row["pre_mean"], row["pre_sd"]),
                "post": _mean_sd(row["post_mean"], row["post_sd"]),
                "change": _mean_sd(row["change_mean"], row["change_sd"], 100, sign=True),
                "p": probability(row["p_holm"]) if math.isfinite(row["p_holm"]) else "–",
                "stars": row["stars"],
                "reason": row["reason"],
            }
        )
    return rows


def _cut(name: str, longest: int = 40) -> str:
    """A name that leaves room for the numbers beside it; the whole of it is among the files."""
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def tests_of(animals: pd.DataFrame) -> Sequence[str]:
    """The tests that were made, each once."""
    return [] if animals.empty else list(dict.fromkeys(t for t in animals["test"] if t))


def _mean_sd(mean: float, sd: float, factor: float = 1.0, sign: bool = False) -> str:
    text = number(mean, sd, factor)
    return f"+{text}" if sign and mean > 0 else text
