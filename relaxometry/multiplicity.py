"""Many pairs at once: Holm's correction, and the stars and letters that a figure needs."""

from __future__ import annotations

import math
import string
from collections.abc import Hashable, Sequence
from itertools import combinations
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)

#: Levels below which a difference gets so many stars; from 0.05 on it is ``ns``.
STARS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))
LEVEL = 0.05


def holm(p: Sequence[float]) -> list[float]:
    """P values adjusted for how many there are; NaN, which is no test, stays and does not count.

    Notes
    -----
    Holm, Scand J Stat 6:65 (1979).
    """
    adjusted = [math.nan] * len(p)
    known = sorted((value, i) for i, value in enumerate(p) if not math.isnan(value))
    highest = 0.0
    for rank, (value, i) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - rank) * value))
        adjusted[i] = highest
    return adjusted


def stars(p: float) -> str:
    """``***`` below 0.001, ``**`` below 0.01, ``*`` below 0.05, else ``ns``; empty for NaN."""
    if math.isnan(p):
        return ""
    return next((text for level, text in STARS if p < level), "ns")


def letters(groups: Sequence[Key], different: set[frozenset[Key]]) -> dict[Key, str]:
    """Compact letter display: two groups share a letter exactly where they do not differ.

    Parameters
    ----------
    groups : sequence
        In the order of the letters: the first has an ``a``.
    different : set of frozenset
        The pairs that differ.

    Returns
    -------
    dict
        Letters of each group.

    Notes
    -----
    Insert and absorb, with a sweep for letters that say nothing new (Piepho, J Comput Graph Stat
    13:456, 2004).
    """
    place = {group: i for i, group in enumerate(groups)}
    columns: list[frozenset[Key]] = [frozenset(groups)]
    for pair in sorted(different, key=lambda pair: sorted(place[g] for g in pair)):
        split = [column - {one} for column in columns if pair <= column for one in pair]
        columns = [column for column in columns if not pair <= column] + split
        columns = [
            column
            for i, column in enumerate(columns)
            if not any(
                column < other or (column == other and j < i) for j, other in enumerate(columns)
            )
        ]
    for column in sorted(columns, key=len):
        rest = [other for other in columns if other != column]
        pairs = [{a, b} for a, b in combinations(column, 2)] or [set(column)]
        if rest and all(any(pair <= other for other in rest) for pair in pairs):
            columns = rest
    columns.sort(key=lambda column: sorted(place[group] for group in column))
    names = list(string.ascii_lowercase) + [f"({i})" for i in range(27, 27 + len(columns))]
    return {
        group: "".join(n for n, column in zip(names, columns, strict=False) if group in column)
        for group in groups
    }
