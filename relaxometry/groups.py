"""Which tubes of a table make a line: those of an agent in one condition, and the blanks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .errors import InputError
from .flags import tubes_in_words
from .rates import BLANKS

#: What a relaxivity depends on besides its agent, and how it is said.
SETTINGS = {"field_T": "{:g} T", "temperature_C": "{:g} °C", "medium": "{}"}


class Group(NamedTuple):
    """The tubes of a line.

    Attributes
    ----------
    agent, condition : str
        The condition with the settings that differ between the rows of the table, in words:
        ``"pH 5, 7 T"``.
    settings : dict
        ``field_T``, ``temperature_C`` (NaN where not said) and ``medium`` of its tubes.
    rows : ndarray (n,) of bool
        Its tubes, with the blanks that belong to it.
    """

    agent: str
    condition: str
    settings: dict[str, Any]
    rows: NDArray[np.bool_]


def blanks_in_words(points: pd.DataFrame, groups: Sequence[Group]) -> list[str]:
    """Blanks that belong to no line, and lines that none belongs to while others have one."""
    blank = _blank(points).to_numpy()
    used = np.logical_or.reduce([group.rows for group in groups]) if groups else ~blank
    said = []
    if (blank & ~used).any():
        lost = points["tube"][blank & ~used].tolist()
        said.append(
            f"{tubes_in_words(lost)}, blank, on no line: no agent has this condition, field, "
            "temperature and medium"
        )
    without = [f"{g.agent} {g.condition}".strip() for g in groups if not (g.rows & blank).any()]
    own_zero = {
        f"{g.agent} {g.condition}".strip()
        for g in groups
        if (points["concentration_mM"].to_numpy()[g.rows] == 0).any()
    }
    without = [name for name in without if name not in own_zero]
    if without and blank.any():
        said.append(f"no blank belongs to {', '.join(without)}")
    return said


def _blank(points: pd.DataFrame) -> pd.Series[bool]:
    return (points["concentration_mM"] == 0) & points["agent"].str.lower().isin(BLANKS)


def groups_of(points: pd.DataFrame) -> Iterator[Group]:
    """Lines of a table, in the order of its rows.

    A blank belongs to every line whose condition and settings it does not contradict.

    Raises
    ------
    InputError
        If a tube has a concentration but no agent.
    """
    blank = _blank(points)
    unnamed = ~blank & (points["agent"] == "")
    if unnamed.any():
        raise InputError(
            f"tube {points['tube'][unnamed].iloc[0]} has a concentration but no agent",
            field="agent",
        )
    said = _settings(points, ~blank)
    varying = [name for name in SETTINGS if said.loc[~blank, name].nunique() > 1]
    keys = ["agent", "condition", *varying]
    own = points[["agent", "condition"]].assign(**{name: said[name] for name in varying})
    for key in own[~blank].drop_duplicates().itertuples(index=False, name=None):
        mine = ~blank & (own[keys] == pd.Series(key, index=keys)).all(axis=1)
        shared = blank & own["condition"].isin(["", key[1]])
        for name in SETTINGS:
            held = set(said.loc[mine, name])
            shared &= said[name].isin(["", *held]) | (held == {""})
        words = [SETTINGS[name].format(value) for name, value in zip(varying, key[2:], strict=True)
                 if value != ""]  # fmt: skip
        settings = {name: _one(said.loc[mine, name], name) for name in SETTINGS}
        condition = ", ".join(part for part in (key[1], *words) if part)
        yield Group(str(key[0]), condition, settings, (mine | shared).to_numpy())


def _settings(points: pd.DataFrame, held: pd.Series[bool]) -> pd.DataFrame:
    """The settings of each row, "" where not said; what was measured twice is one setting.

    A row of an agent in a condition that leaves out what all its others say shares it.
    """
    said = pd.DataFrame(index=points.index)
    for name in SETTINGS:
        said[name] = points[name].astype(object).where(points[name].notna(), "")
        if name in _ALIKE:
            said[name] = _merged(said[name], _ALIKE[name])
    for _, rows in points[held].groupby(["agent", "condition"], sort=False):
        for name in SETTINGS:
            own = said.loc[rows.index, name]
            known = [value for value in own.unique() if value != ""]
            if len(known) == 1:
                said.loc[rows.index, name] = known[0]
    return said


#: Fields within 5 % are of one scanner, temperatures within 1 °C of one measurement.
_ALIKE: dict[str, Callable[[float, float], bool]] = {
    "field_T": lambda a, b: b - a <= 0.05 * b,
    "temperature_C": lambda a, b: b - a <= 1.0,
}


def _merged(values: pd.Series[Any], alike: Callable[[float, float], bool]) -> pd.Series[Any]:
    """Numbers that are alike as one, the first of them in size."""
    known = sorted({float(value) for value in values if value != ""})
    first: dict[float, float] = {}
    for value in known:
        start = next((begin for begin in first.values() if alike(begin, value)), value)
        first[value] = start
    return values.map(lambda value: first[float(value)] if value != "" else "").astype(object)


def _one(values: pd.Series[Any], name: str) -> Any:
    value = values.iloc[0]
    return value if value != "" or name == "medium" else float("nan")
