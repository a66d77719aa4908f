"""What a study says once of its measurements and the rows of a table may say: they must agree."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd

from .cells import as_text, number_or
from .errors import InputError
from .rates import BLANKS
from .settings import StudyFacts

# Header and study.toml may round the field differently (1.494 T and 1.5 T are one scanner).
FIELD_TOLERANCE = 0.05
_NUMBERS = ("field_T", "temperature_C")
#: The fact, and the column of a table that says it row by row.
COLUMN_OF = {
    "field_T": "field_T",
    "temperature_C": "temperature_C",
    "medium": "medium",
    "concentration_of": "ion",
}


def facts_of(table: pd.DataFrame, facts: StudyFacts) -> tuple[StudyFacts, tuple[str, ...]]:
    """The facts with what all rows of a table say, and which facts each row says for itself.

    Blanks may leave out what they share.

    Raises
    ------
    InputError
        Naming the column, if a row contradicts what is said once for all.
    """
    holds = [True] * len(table)
    if "agent" in table:
        holds = [as_text(cell).lower() not in BLANKS for cell in table["agent"]]
    by_row = []
    for fact, column in COLUMN_OF.items():
        if column not in table:
            continue
        texts = [as_text(cell) for cell in table[column]]
        texts = ["" if text.lower() == "nan" else text for text in texts]
        said: list[Any] = list(dict.fromkeys(filter(None, texts)))
        if column in _NUMBERS:
            said = [number_or(text, column) for text in said]
        given = getattr(facts, fact)
        for value in said:
            if given not in (None, "") and not _same(given, value, fact):
                raise InputError(
                    f"{value} in the table, but {given} is stated for all of it",
                    field=column,
                    expected="the same in both",
                    hint="leave out what the rows say themselves",
                )
        complete = all(text for text, agent in zip(texts, holds, strict=True) if agent)
        if len(set(said)) == 1 and complete and given in (None, ""):
            known: dict[str, Any] = {fact: said[0]}
            facts = replace(facts, **known)
        elif said and complete:
            by_row.append(fact)
    return facts, tuple(by_row)


def _same(given: Any, value: Any, fact: str) -> bool:
    if fact not in _NUMBERS:
        return bool(given == value)
    allowed = FIELD_TOLERANCE * abs(given) if fact == "field_T" else 1e-9
    return bool(abs(given - value) <= allowed)
