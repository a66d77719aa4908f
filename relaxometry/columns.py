"""The columns of tables and sheets, and what is meant by a name that is almost one of them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from difflib import SequenceMatcher

from .concentration import NAMES
from .errors import InputError

#: Units of the columns of a concentration, as :func:`relaxometry.concentration_mM` takes them.
CONCENTRATIONS = {
    "mM": "mM",
    "uM": "uM",
    "nM": "nM",
    "mg_per_mL": "mg/mL",
    "ug_per_mL": "ug/mL",
    "ppm": "ppm",
}
STOCKS = {f"stock_{unit}": CONCENTRATIONS[unit] for unit in ("mM", "mg_per_mL", "ug_per_mL")}
AMOUNTS = (
    *(f"concentration_{unit}" for unit in CONCENTRATIONS),
    *(f"concentration_sd_{unit}" for unit in CONCENTRATIONS),
    *("concentration_sd_percent", "particles_nM", "particles_sd_nM", "ions_per_particle"),
    *("dilution_factor", *STOCKS, "molar_mass_g_per_mol", "density_g_per_mL"),
)
#: What a relaxivity is stated with, where the rows of a table say it themselves.
CONTEXT = ("ion", "field_T", "temperature_C", "medium", "stock_sd_percent")
SHEET = ("tube", "agent", "condition", "replicate", "exclude", "reason", *AMOUNTS, *CONTEXT)
TABLE = (
    *(*SHEET, "flags", "left_out_of", "n", "n_voxels"),
    *(f"R{i}_{what}per_s" for i in (1, 2) for what in ("", "stderr_", "sd_")),
    *(f"T{i}_{what}{unit}" for i in (1, 2) for what in ("", "stderr_", "sd_", "median_")
      for unit in ("s", "ms")),
    *(f"T{i}_{what}" for i in (1, 2) for what in ("rsquared", "n_voxels", "n_fitted")),
)  # fmt: skip

_WRITTEN = (
    (r"[µμ]", "u"),
    (r"⁻¹", "-1"),
    (r"(?<=[\s(\[])(s\s*\^?-1|1\s*/\s*s(ec)?|/\s*s|hz)(?![a-z])", " per s "),
    (r"mmol\s*(/|per\s*)\s*l\b|mmol\s*l-1", " mm "),
    (r"umol\s*(/|per\s*)\s*l\b|umol\s*l-1", " um "),
    (r"nmol\s*(/|per\s*)\s*l\b|nmol\s*l-1", " nm "),
    (r"/\s*ml\b", " per ml "),
    (r"%", " percent "),
    (r"°\s*c\b|\bdeg\s*c\b", " c "),
)
_WORDS = {
    "conc": "concentration",
    "se": "stderr",
    "sem": "stderr",
    "err": "stderr",
    "error": "stderr",
    "std": "sd",
    "stdev": "sd",
    "temp": "temperature",
    "b0": "field",
    "sec": "s",
    "msec": "ms",
    "tesla": "t",
}
_UNITS = (
    *("per", "s", "ms", "mm", "um", "nm", "mg", "ug", "g", "ml", "mol", "ppm", "percent", "t", "c"),
)
# The ions of contrast agents; V and Ti are volumes and inversion times more often.
_ELEMENTS = {*(symbol.lower() for symbol in NAMES.values()), *NAMES}
# Names people give to what goes by another here.
_ALIASES = {"dilution": "dilution_factor", "stock sd": "stock_sd_percent"}


def check_columns(columns: Iterable[object], known: Collection[str]) -> None:
    """Raise `InputError` for a column whose name is almost a known one: a slip must not pass.

    A comment is welcome: what resembles no known name passes. Case, spaces, brackets, µ and the
    ways to write s⁻¹ make no difference to what is meant, but they do to what is read.
    """
    named = [str(column) for column in columns]
    for name in named:
        if name in known or not name:
            continue
        meant, unit = _meant(name, known)
        if not meant or (unit and any(one in named for one in _same(meant))):
            continue
        present = [one for one in meant if one in named]
        if present:
            raise InputError(f"and {present[0]} say the same", field=name, expected="one of them")
        raise InputError(
            "a column without a unit" if unit else "no such column",
            field=name,
            hint=f"{' or '.join(meant)} is meant?",
        )


def _meant(name: str, known: Collection[str]) -> tuple[Sequence[str], bool]:
    """The known names that one may mean, and whether it lacks no more than the unit."""
    words = _words(name)
    keys = {one: _words(one) for one in known}
    same = [one for one, its in keys.items() if its == words]
    if same:
        return same, False
    bare = [one for one, its in keys.items() if len(its) > 1 and _without_unit(its) == words]
    if bare:
        return bare, True
    if words[:2] == ["stock", "sd"]:
        words = words[:2]
    alias = _ALIASES.get(" ".join(words), "")
    if alias in known:
        return [alias], False
    near = [(_likeness(words, its), one) for one, its in keys.items() if _is_near(words, its)]
    return ([max(near)[1]] if near else []), False


def _words(name: str) -> list[str]:
    """A name taken apart: ``R2 (1/s)`` and ``R2_per_s`` are both r2, per, s."""
    text = name.strip().lower()
    for pattern, plain in _WRITTEN:
        text = re.sub(pattern, plain, text)
    words = [_WORDS.get(word, word) for word in re.findall(r"[a-z0-9]+", text)]
    if words[:1] == ["c"] or (words[:1] and words[0] in _ELEMENTS and words[1:]):
        words[0] = "concentration"
    if words[:1] == ["concentration"]:  # of Fe, Fe, [Fe]
        words[1:] = [word for word in words[1:] if word not in (*_ELEMENTS, "of")]
    return words


def _without_unit(words: Sequence[str]) -> list[str]:
    kept = list(words)
    while len(kept) > 1 and kept[-1] in _UNITS:
        kept.pop()
    return kept


def _same(columns: Iterable[str]) -> set[str]:
    """The columns, and the rates of those that are times: either says what is needed."""
    found = set(columns)
    for column in columns:
        for i in ("1", "2"):
            either = {f"R{i}_per_s", f"T{i}_s", f"T{i}_ms"}
            found |= either if column in either else set()
    return found


def _is_near(one: Sequence[str], other: Sequence[str]) -> bool:
    if _likeness(one, other) >= 0.9:
        return True
    return len(one) == len(other) > 1 and all(
        a == b or (min(len(a), len(b)) > 2 and _likeness([a], [b]) >= 0.75)
        for a, b in zip(one, other, strict=True)
    )


def _likeness(one: Sequence[str], other: Sequence[str]) -> float:
    return SequenceMatcher(None, " ".join(one), " ".join(other)).ratio()
