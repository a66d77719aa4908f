"""The paragraphs of methods about contrast: which formulas, which noise, which test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .contrastformulas import FORMULAS
from .numerals import listed

if TYPE_CHECKING:
    from .contrast import Contrast
    from .study import StudyResult

_NOISE = {
    "sd": "the SD of the background, as it is",
    "rayleigh": "the SD of the background over √(2 − π/2) (NEMA MS 1; MS 6)",
    "mean": "the mean of the background over β_n (Constantinides et al., Magn Reson Med 38:852, "
    "1997)",
    "chi": "the SD of the background over √(2n − β_n²) (Constantinides et al., Magn Reson Med "
    "38:852, 1997)",
    "difference": "the SD of the difference of two images taken alike over √2 (NEMA MS 1)",
    "smoothed": "the SD of the image less its smoothed copy (McCann et al., Phys Med Biol 58:3775, "
    "2013)",
}


def contrast_paragraphs(result: StudyResult) -> Iterator[str]:
    """What was done with the images before and after, ready for a thesis."""
    if result.contrasts:
        yield " ".join(_sentences(result))
    if result.contrast.rates:
        yield " ".join(_rates(result))
    if result.floods:
        yield (
            "Uniformity is 100·(1 − (Smax − Smin)/(Smax + Smin)) after the nine-point low-pass "
            "filter over at least 75 % of the phantom's area (NEMA MS 3); ghosting compares bands "
            "of background along both axes of the image (AAPM report 100)."
        )


def _sentences(result: StudyResult) -> Iterator[str]:
    contrasts = result.contrasts
    methods = dict.fromkeys((one.noise_method, one.coils) for one in contrasts)
    noise = listed(f"{_NOISE[name]}{_coils(n)}" for name, n in methods)
    each = "of each image" if any(len(o.noise["pre"]) == 1 < o.n_slices for o in contrasts) else (
        "of each slice"
    )  # fmt: skip
    yield f"SNR is the mean signal of a region over the noise {each}: {noise}."
    yield (
        f"CNR relative to the target is {FORMULAS['CNR_relative']}; the usual CNR is "
        f"{FORMULAS['CNR_usual']}. Changes are |post − pre|/pre, each slice with itself, averaged "
        "over slices; standard errors are propagated from the scatter in each region and from the "
        "error of the noise."
    )
    if any("TM_pre" in one.estimates for one in contrasts):
        yield f"Tumour (target) to muscle is {FORMULAS['TM']}."
    if not result.contrast.animals.empty:
        tests = listed(dict.fromkeys(t for t in result.contrast.animals["test"] if t))
        yield (
            "Each animal counts once; given are mean ± SD over animals"
            + (f", and the {tests} of before against after, adjusted after Holm (Scand J Stat "
               "6:65, 1979) over the times of a quantity" if tests else "")
            + "."
        )  # fmt: skip
    if _noted(contrasts, "registered"):
        yield "Where the subject had moved, the image after was registered rigidly to that before."


def _rates(result: StudyResult) -> Iterator[str]:
    rates = result.contrast.rates
    if any(one.changes for one in rates):
        yield (
            "ΔR1 and ΔR2 of a region are the differences of the rates fitted to its mean signal "
            "before and after; intervals of their ratio are Fieller's (J R Stat Soc B 16:175, "
            "1954); concentrations are ΔR/r."
        )
    if any(not one.changes for one in rates):
        yield (
            "ΔR2 named “signal only” is ln(S(pre)/S(post))/TE, which takes for granted that "
            "nothing but T2 changed."
        )


def _coils(n: int) -> str:
    return "" if n == 1 else f", {n} coils"


def _noted(contrasts: tuple[Contrast, ...], start: str) -> bool:
    return any(note.startswith(start) for one in contrasts for note in one.notes)
