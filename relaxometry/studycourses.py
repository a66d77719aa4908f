"""What a study measured at several times, as time courses over animals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .cohort import QUANTITIES
from .contrast import Contrast
from .timecourse import TimeCourse, time_course

if TYPE_CHECKING:
    from .ratestudy import SubjectRates

#: Changes of rates that have a course of their own, against 0: they are changes already.
_RATES = ("dR1_per_s", "dR2_per_s", "dR2_signal_only_per_s")


def courses_of(
    contrasts: Sequence[Contrast], rates: Sequence[SubjectRates]
) -> tuple[TimeCourse, ...]:
    """A course of each quantity and group that was measured at two times or more.

    Animals of a group are the courses' animals; who has a name but is no animal is alone, and who
    has neither has none: nobody says which images are of one subject.
    """
    return (*_of_contrasts(contrasts), *_of_rates(rates))


def _of_contrasts(contrasts: Sequence[Contrast]) -> Iterator[TimeCourse]:
    timed = [one for one in contrasts if one.time_s is not None and (one.animal or one.name)]
    for group in dict.fromkeys(map(_group, timed)):
        own = [one for one in timed if _group(one) == group]
        for quantity in QUANTITIES:
            rows = [
                row
                for one in own
                if f"{quantity}_pre" in one.estimates
                for row in (_at(one, quantity, "pre", 0.0), _at(one, quantity, "post", one.time_s))
            ]
            table = _averaged(rows)
            if table is not None:
                yield time_course(table, quantity, group=group[1])


def _of_rates(rates: Sequence[SubjectRates]) -> Iterator[TimeCourse]:
    timed = [one for one in rates if one.time_s is not None and (one.animal or one.name)]
    for group in dict.fromkeys(map(_group, timed)):
        own = [row for one in timed if _group(one) == group for row in one.rows]
        for region in dict.fromkeys(row["region"] for row in own):
            for key in _RATES:
                rows = [
                    {
                        "animal": row["animal"] or row["name"],
                        "time_s": row["time_s"],
                        "value": row[key],
                        "stderr": row[key.replace("_per_s", "_stderr_per_s")],
                    }
                    for row in own
                    if row["region"] == region and key in row
                ]
                table = _averaged(rows)
                if table is not None:
                    title = f"{group[1]}, {region}" if group[1] else str(region)
                    yield time_course(table, key, baseline="zero", group=title)


def _group(one: Contrast | SubjectRates) -> tuple[bool, str]:
    """Animals of a group are together; who is no animal is alone, by its name."""
    return bool(one.animal), one.group if one.animal else one.name


def _at(one: Contrast, quantity: str, when: str, time: float | None) -> dict[str, Any]:
    key = f"{quantity}_{when}"
    return {
        "animal": one.animal or one.name,
        "time_s": time,
        "value": one.mean(key),
        "stderr": one.stderr(key),
    }


def _averaged(rows: Sequence[dict[str, Any]]) -> pd.DataFrame | None:
    """One row per animal and time, or None without two times after.

    An animal measured twice at one time counts once; so does its image before, which is beside each
    one after.
    """
    table = pd.DataFrame(rows)
    if table.empty or table.loc[table["time_s"] > 0, "time_s"].nunique() < 2:
        return None
    grouped = table.drop_duplicates().groupby(["animal", "time_s"], sort=False)
    return grouped.agg(value=("value", "mean"), stderr=("stderr", _of_mean)).reset_index()


def _of_mean(errors: pd.Series[Any]) -> float:
    """Standard error of a mean of values with these independent errors."""
    return float(np.sqrt(np.square(errors.to_numpy()).sum()) / len(errors))
