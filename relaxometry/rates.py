"""The rates of a tube table, checked, with the errors by which a regression weights them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .amounts import amounts
from .cells import MISSING, as_text, number_or, yes
from .columns import AMOUNTS, CONTEXT, TABLE, check_columns
from .errors import InputError
from .estimate import error_of_inverse
from .flags import tubes_in_words
from .sheet import context, replicates
from .units import LONGEST, RELAXIVITY_OF, TIME_OF

Array = NDArray[np.float64]

# A rate is never better known than the method repeats itself: echo and inversion times, slice
# profile and temperature limit it to about 1 %, however small the formula error of a fit.
RELATIVE_FLOOR = 0.01
REQUIRED = ("agent", "concentration_mM")
# At concentration 0 these belong to every agent.
BLANKS = ("", "blank", "control")
# Where the longest of several times is below this many ms, they are seconds: the T1 and T2 of water
# itself are seconds, and no image shows solutions that all relax so fast.
_LONGEST_MS = {"T1": 5.0, "T2": 3.0}


def rate_sigma(rate: Array, stderr: Array, sd: Array, n_voxels: Array) -> Array:
    """Error a tube's rate is weighted by, s⁻¹.

    The larger of the curve fit's standard error and the standard error of the mean over the tube's
    voxels (SD/√n), and in quadrature the relative floor of the method, 1 % of the rate: with few
    points and a near-noiseless mean curve, the formula error alone can be absurdly small.
    """
    n = np.maximum(np.nan_to_num(n_voxels), 1)  # not said: one
    scatter = np.where(np.isfinite(sd) & (n > 1), sd / np.sqrt(n), 0)
    sigma: Array = np.hypot(np.fmax(stderr, scatter), RELATIVE_FLOOR * rate)
    return np.where(np.isfinite(stderr), sigma, np.nan)


def points_of(table: pd.DataFrame) -> pd.DataFrame:
    """The columns a regression needs, checked, with rates and their errors worked out.

    Returns
    -------
    DataFrame
        One row per row of the table: ``tube`` (as the table numbers it, else from 1), ``agent``,
        ``condition``, ``medium``, ``ion``, ``reason``, ``flags`` (text), ``exclude`` (bool),
        ``replicate`` (0: a blank that all replicates share), ``concentration_mM``,
        ``concentration_sd_mM``, ``field_T``, ``temperature_C`` (NaN where not said), ``stock_rsd``
        (relative SD of a factor common to the concentrations of an agent; 0 where there is none),
        and for each rate ``R1`` (s⁻¹) and ``R1_sigma``, the error it is weighted by.

    Raises
    ------
    InputError
        If a column is missing, not numeric, or cannot be right.
    """
    if not isinstance(table, pd.DataFrame):
        raise InputError(
            f"not a table ({type(table).__name__})",
            expected="a pandas DataFrame",
            hint="a CSV file is for relaxometry.analyse_table",
        )
    doubled = table.columns[table.columns.duplicated()]
    if len(doubled):
        raise InputError("two columns of this name", field=str(doubled[0]))
    check_columns(table.columns, TABLE)
    stated = any(column in table for column in AMOUNTS)
    for column in REQUIRED:
        if column not in table and not (stated and column == "concentration_mM"):
            raise InputError(
                f"no column {column}; there are {', '.join(map(str, table.columns))}"[:200],
                expected="agent, concentration_mM and R1_per_s, R2_per_s, T1_ms or T2_ms",
            )
    if table.empty:
        raise InputError("no row in the table", expected="one row per tube")
    table = table.reset_index(drop=True)
    points = pd.DataFrame(index=table.index)
    for text in ("agent", "condition", "medium", "ion", "reason", "exclude", "flags"):
        points[text] = _texts(table, text)
    points["tube"] = _tubes(table)
    rows = _rows(table)
    points["exclude"] = [
        yes(text, f"exclude of {row}") for text, row in zip(points["exclude"], rows, strict=True)
    ]
    points["concentration_mM"], c_sd = amounts(table, rows)
    # A blank holds no agent: its concentration is 0 without error.
    points["concentration_sd_mM"] = np.where(points["concentration_mM"] == 0, 0.0, c_sd)
    missing = (points["concentration_mM"].isna() & ~points["exclude"]).to_numpy()
    if missing.any():
        raise InputError(
            f"{rows[int(np.argmax(missing))]} has no concentration",
            field="concentration_mM",
            expected="a number (0 for a blank)",
        )
    points["replicate"] = replicates(_texts(table, "replicate"), points["concentration_mM"], rows)
    said = context(pd.DataFrame({key: _texts(table, key) for key in CONTEXT}), rows)
    points["field_T"], points["temperature_C"] = said["field_T"], said["temperature_C"]
    points["stock_rsd"] = _stock_rsd(points, said["stock_sd_percent"])
    found = False
    for rate in RELAXIVITY_OF:
        value, stderr, sd = _rate(table, rate)
        if value is None:
            continue
        found = True
        _check_rates(rate, value, stderr, points["tube"])
        points[rate] = value
        points[f"{rate}_sigma"] = rate_sigma(value, stderr, sd, _count(table, rate))
    if not found:
        raise InputError(
            "no rates or times", expected="a column R1_per_s, R2_per_s, T1_s, T2_s, T1_ms or T2_ms"
        )
    _check_tubes(points)
    return points


def doubts_of(table: pd.DataFrame, points: pd.DataFrame) -> list[str]:
    """What is odd about the points of a table, though it may be meant, in words.

    Parameters
    ----------
    table : DataFrame
    points : DataFrame
        As :func:`points_of` makes them of it.
    """
    said = []
    if "concentration_ppm" in table and "density_g_per_mL" not in table:
        said.append("concentration_ppm is taken as µg per g at 1 g/mL, so as µg/mL")
    for rate in RELAXIVITY_OF:
        time = TIME_OF[rate]
        names = [f"{rate}_sd_per_s", f"{time}_sd_s", f"{time}_sd_ms"]
        if not _has_stderr(table, rate) and np.isnan(_count(table, rate)).any():
            said += [
                f"{name} is not used: of how many measurements, a column n would say"
                for name in names
                if name in table
            ]
    used = points[~points["exclude"]]
    holders: dict[str, set[str]] = {}
    for tube, agent in zip(_texts(used, "tube"), used["agent"], strict=True):
        holders.setdefault(tube, set()).add(agent)
    several = [tube for tube, agents in holders.items() if tube and len(agents) > 1]
    if several:
        said.append(
            f"tube{'s' if len(several) > 1 else ''} {', '.join(several)} of several agents: taken "
            "for different tubes"
        )
    rates = [rate for rate in RELAXIVITY_OF if rate in points]
    if len(rates) == 2:
        swapped = used.loc[used["R2"] < used["R1"], "tube"].tolist()
        if swapped:
            said.append(
                f"R2 is below R1 in {tubes_in_words(swapped)}, T2 longer than T1: are the columns "
                "swapped?"
            )
    said += _copied(used, rates)
    if "tube" not in table:
        alike = used.duplicated(["agent", *_SAME_LINE, "concentration_mM", *rates], keep=False)
        numbers = [str(i) for i in used.loc[alike, "tube"]]
        if numbers:
            said.append(f"rows {', '.join(numbers)} are alike and all counted: copies?")
    blank = used["concentration_mM"].eq(0) & used["agent"].str.lower().isin(BLANKS)
    settings = [key for key in _SAME_LINE if key != "replicate"]
    stated = used[["agent", *settings]].map(as_text)
    for own in stated[~blank].drop_duplicates().to_dict("records"):
        line = ~blank & (stated == pd.Series(own)).all(axis=1)
        shared = blank & np.logical_and.reduce([stated[k].isin(["", own[k]]) for k in settings])
        if line.sum() + shared.sum() == 2:
            name = f"{own['agent']} {own['condition']}".strip()
            said.append(f"{name}: nothing checks a line through two points")
    return list(dict.fromkeys(said))


def _copied(used: pd.DataFrame, rates: list[str]) -> list[str]:
    """Replicates of an agent with the same numbers throughout."""
    said = []
    keys = ["agent", *(key for key in _SAME_LINE if key != "replicate")]
    held = used[(used["concentration_mM"] > 0) & (used["replicate"] > 0)]
    for _, own in held.groupby(keys, sort=False, dropna=False):
        seen: dict[tuple[Any, ...], int] = {}
        for number, batch in own.groupby("replicate"):
            numbers = batch[["concentration_mM", *rates]].sort_values("concentration_mM")
            content = tuple(map(tuple, numbers.to_numpy().tolist()))
            if len(content) > 1 and content in seen:
                name = own["agent"].iloc[0]
                said.append(f"replicates {seen[content]} and {number} of {name} are alike: copies?")
            seen.setdefault(content, int(str(number)))
    return said


# Rows that differ in one of these belong to different lines, or are different tubes of one.
_SAME_LINE = ("condition", "replicate", "field_T", "temperature_C", "medium")


def _check_tubes(points: pd.DataFrame) -> None:
    """Raise `InputError` where a tube is listed twice for one line."""
    used = points["tube"].notna() & ~points["exclude"]
    listed = points.loc[used, ["tube", "agent", *_SAME_LINE]]
    twice = listed.map(as_text).duplicated()
    if twice.any():
        tube = listed.loc[twice.to_numpy(), "tube"].iloc[0]
        raise InputError(
            f"tube {tube} is listed twice",
            field="tube",
            expected="one row per tube",
            hint="say what differs: replicate, condition, field_T, temperature_C or medium",
        )


def _stock_rsd(points: pd.DataFrame, percent: list[float]) -> Array:
    """Relative SD of the stock of each row, the same for all of a line; 0 of blanks."""
    stated = pd.Series(percent, index=points.index, dtype=float) / 100
    found = pd.Series(0.0, index=points.index)
    holds = points["concentration_mM"].gt(0) & ~points["exclude"]
    for (agent, condition), rows in points[holds].groupby(["agent", "condition"]):
        said = stated[holds].loc[rows.index].fillna(0.0).unique()
        if len(said) > 1:
            raise InputError(
                f"{100 * said.min():g} and {100 * said.max():g} in rows of "
                + f"{agent} {condition}".strip(),
                field="stock_sd_percent",
                expected="one number in all rows of an agent",
                hint="an error of its own of each tube is concentration_sd_percent",
            )
        found[rows.index] = said[0]
    return np.asarray(found, dtype=float)


def _rows(table: pd.DataFrame) -> list[str]:
    """What to call each row: by its tube, or by its number."""
    tubes = enumerate(_texts(table, "tube"), start=1)
    return [f"tube {text}" if text else f"row {i}" for i, text in tubes]


def _texts(table: pd.DataFrame, column: str) -> list[str]:
    if column not in table:
        return [""] * len(table)
    texts = [as_text(value) for value in table[column]]
    return ["" if text.lower() == "nan" else text for text in texts]


def _has_stderr(table: pd.DataFrame, rate: str) -> bool:
    time = TIME_OF[rate]
    names = (f"{rate}_stderr_per_s", f"{time}_stderr_s", f"{time}_stderr_ms")
    return any(name in table for name in names)


def _count(table: pd.DataFrame, rate: str) -> Array:
    """How many measurements are behind an SD: voxels, or repeated measurements; NaN if not said."""
    names = (f"{TIME_OF[rate]}_n_fitted", "n_voxels", "n")
    return _column(table, next((name for name in names if name in table), "n"), np.nan)


def _check_rates(rate: str, value: Array, stderr: Array, tubes: pd.Series) -> None:
    for name, bad, expected in (
        (rate, (value <= 0) | np.isinf(value), "above 0"),
        # One so slow may be a fit that failed, and has a flag; all of them are in another unit.
        (rate, _all_below(value, 1 / LONGEST["TR"]), f"{rate} in s⁻¹, faster than that"),
        (f"error of {rate}", (stderr <= 0) | np.isinf(stderr), "above 0, or empty if not known"),
    ):
        if bad.any():
            found = (stderr if name != rate else value)[bad][0]
            where = f"{name} of tube {tubes.to_numpy()[bad][0]}"
            raise InputError(f"{found:g} s⁻¹", field=where, expected=expected)


def _tubes(table: pd.DataFrame) -> pd.Series[Any]:
    """Numbers of the tubes; where there is none, the row's, so that r1 and r2 stay paired."""
    if "tube" not in table:
        return pd.Series(np.arange(1, len(table) + 1))
    said = table["tube"].map(as_text)
    missing = said.str.lower().isin((*MISSING, "none"))
    rows = pd.Series([f"of row {i}" for i in range(1, len(table) + 1)])
    return table["tube"].astype(object).where(~missing, rows) if missing.any() else table["tube"]


def _all_below(value: Array, least: float) -> NDArray[np.bool_]:
    below: NDArray[np.bool_] = value < least
    return below & bool((below | np.isnan(value)).all())


def _rate(table: pd.DataFrame, rate: str) -> tuple[Any, Any, Any]:
    """Rate, its standard error and its SD, from rates or else from times.

    In a table without standard errors, the SD of n measurements gives one: SD/√n.
    """
    time = TIME_OF[rate]
    _check_times(table, rate)
    value, stderr, sd = None, np.full(len(table), np.nan), np.full(len(table), np.nan)
    if f"{rate}_per_s" in table:
        value = _column(table, f"{rate}_per_s", np.nan)
        stderr = _column(table, f"{rate}_stderr_per_s", np.nan)
        sd = _column(table, f"{rate}_sd_per_s", np.nan)
        from_time = error_of_inverse(_column(table, f"{time}_sd_s", np.nan), value)
        sd = np.where(np.isnan(sd), from_time, sd)
    for unit, factor in (("s", 1.0), ("ms", 1e-3)):
        if value is None and f"{time}_{unit}" in table:
            T = factor * _column(table, f"{time}_{unit}", np.nan)
            if (T <= 0).any():
                raise InputError("a time that is not positive", field=f"{time}_{unit}")
            stderr, sd = (
                error_of_inverse(factor * _column(table, f"{time}_{error}_{unit}", np.nan), 1 / T)
                for error in ("stderr", "sd")
            )
            value = 1 / T
    n = _count(table, rate)
    if value is not None and not _has_stderr(table, rate):
        with np.errstate(divide="ignore", invalid="ignore"):
            stderr = np.where((n > 1) & (sd > 0), sd / np.sqrt(n), np.nan)
    return value, stderr, sd


def _check_times(table: pd.DataFrame, rate: str) -> None:
    """Raise `InputError` where time and rate of a tube disagree, or a time is in another unit."""
    time = TIME_OF[rate]
    for unit, factor in (("s", 1.0), ("ms", 1e-3)):
        T = factor * _column(table, f"{time}_{unit}", np.nan)
        if (LONGEST["TR"] < T).any():
            raise InputError(
                f"{np.nanmax(T) / factor:g} {unit} is too long",
                field=f"{time}_{unit}",
                expected=f"{time} in {unit}",
            )
        known = T[np.isfinite(T)] / factor
        if unit == "ms" and known.size > 1 and 0 < known.max() < _LONGEST_MS[time]:
            raise InputError(
                f"the longest is {known.max():g} ms",
                field=f"{time}_ms",
                expected=f"{time} in ms",
                hint=f"if these are seconds, name the column {time}_s; if they are so short, state "
                f"them as {time}_s, divided by 1000",
            )
        R = _column(table, f"{rate}_per_s", np.nan)
        apart = np.abs(R * T - 1) > 0.01
        if apart.any():
            row = int(np.flatnonzero(apart)[0])
            raise InputError(
                f"row {row + 1} has {rate} = {R[row]:g} s⁻¹ but 1/{time} = {1 / T[row]:g} s⁻¹",
                field=f"{rate}_per_s",
                expected=f"{rate} = 1/{time}",
                hint="correct both, or leave one column out",
            )


def _column(table: pd.DataFrame, name: str, default: float) -> Array:
    if name not in table:
        return np.full(len(table), default)
    return np.array(
        [
            number_or(text, f"{name} of {row}")
            for row, text in zip(_rows(table), _texts(table, name), strict=True)
        ]
    )
