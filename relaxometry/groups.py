"""Which tubes of a table make a line: those of an agent in one condition, and the blanks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .errors import InputError
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


def groups_of(points: pd.DataFrame) -> Iterator[Group]:
    """Lines of a table, in the order of its rows.

    A blank belongs to every line whose condition and settings it does not contradict.

    Raises
    ------
    InputError
        If a tube has a concentration but no agent.
    """
    blank = (points["concentration_mM"] == 0) & points["agent"].str.lower().isin(BLANKS)
    unnamed = ~blank & (points["agent"] == "")
    if unnamed.any():
        raise InputError(
            f"tube {points['tube'][unnamed].iloc[0]} has a concentration but no agent",
            field="agent",
        )
    said = points[list(SETTINGS)].astype(object).where(points[list(SETTINGS)].notna(), "")
    varying = [name for name in SETTINGS if said.loc[~blank, name].nunique() > 1]
    keys = ["agent", "condition", *varying]
    own = points[["agent", "condition"]].assign(**{name: said[name] for name in varying})
    for key in own[~blank].drop_duplicates().itertuples(index=False, name=None):
        mine = ~blank & (own[keys] == pd.Series(key, index=keys)).all(axis=1)
        shared = blank.copy()
        for name, value in zip(keys[1:], key[1:], strict=True):
            shared &= own[name].isin(["", value])
        words = [SETTINGS[name].format(value) for name, value in zip(varying, key[2:], strict=True)
                 if value != ""]  # fmt: skip
        settings = {name: points.loc[mine, name].iloc[0] for name in SETTINGS}
        condition = ", ".join(part for part in (key[1], *words) if part)
        yield Group(str(key[0]), condition, settings, (mine | shared).to_numpy())
