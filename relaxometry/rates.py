"""The rates of a tube table, checked, with the errors by which a regression weights them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .errors import InputError
from .estimate import error_of_inverse
from .sheet import as_text, yes
from .units import LONGEST, RELAXIVITY_OF, TIME_OF

Array = NDArray[np.float64]

# A rate is never better known than the method repeats itself: echo and inversion times, slice
# profile and temperature limit it to about 1 %, however small the formula error of a fit.
RELATIVE_FLOOR = 0.01
REQUIRED = ("agent", "concentration_mM")
_MISSING = ("", "nan", "na", "n/a")


def rate_sigma(rate: Array, stderr: Array, sd: Array, n_voxels: Array) -> Array:
    """Error a tube's rate is weighted by, s⁻¹.

    The larger of the curve fit's standard error and the standard error of the mean over the tube's
    voxels (SD/√n), and in quadrature the relative floor of the method, 1 % of the rate: with few
    points and a near-noiseless mean curve, the formula error alone can be absurdly small.
    """
    scatter = np.where(np.isfinite(sd) & (n_voxels > 1), sd / np.sqrt(np.maximum(n_voxels, 1)), 0)
    sigma: Array = np.hypot(np.fmax(stderr, scatter), RELATIVE_FLOOR * rate)
    return np.where(np.isfinite(stderr), sigma, np.nan)


def points_of(table: pd.DataFrame) -> pd.DataFrame:
    """The columns a regression needs, checked, with rates and their errors worked out.

    Raises
    ------
    InputError
        If one is missing, not numeric, or cannot be right.
    """
    for column in REQUIRED:
        if column not in table:
            raise InputError(
                f"no column {column}; there are {', '.join(map(str, table.columns))}"[:200],
                expected="agent, concentration_mM and R1_per_s, R2_per_s, T1_ms or T2_ms",
            )
    if table.empty:
        raise InputError("no row in the table", expected="one row per tube")
    points = pd.DataFrame(index=table.index)
    for text in ("agent", "condition", "reason", "exclude", "flags"):
        points[text] = [as_text(value) for value in table[text]] if text in table else ""
    points["tube"] = table["tube"] if "tube" in table else np.arange(1, len(table) + 1)
    points["exclude"] = [yes(text, "exclude") for text in points["exclude"]]
    points["concentration_mM"] = _column(table, "concentration_mM", np.nan)
    missing = points["concentration_mM"].isna() & ~points["exclude"]
    if missing.any():
        raise InputError(
            f"tube {points['tube'][missing].iloc[0]} has no concentration", field="concentration_mM"
        )
    negative = points["concentration_mM"] < 0
    if negative.any():
        raise InputError(
            f"tube {points['tube'][negative].iloc[0]} has {points['concentration_mM'].min():g} mM",
            field="concentration_mM",
            expected="none below 0",
        )
    c_sd = _column(table, "concentration_sd_mM", np.nan)
    # A blank holds no agent: its concentration is 0 without error.
    points["concentration_sd_mM"] = np.where(points["concentration_mM"] == 0, 0.0, c_sd)
    points["replicate"] = _column(table, "replicate", 1.0).astype(int)
    points["stock_rsd"] = _column(table, "stock_sd_percent", 0.0) / 100
    found = False
    for rate in RELAXIVITY_OF:
        value, stderr, sd = _rate(table, rate)
        if value is None:
            continue
        found = True
        _check_rates(rate, value, stderr, points["tube"])
        points[rate] = value
        counts = (f"{TIME_OF[rate]}_n_fitted", "n_voxels")
        voxels = next((name for name in counts if name in table), "n_voxels")
        points[f"{rate}_sigma"] = rate_sigma(value, stderr, sd, _column(table, voxels, 1.0))
    if not found:
        raise InputError(
            "no rates or times", expected="a column R1_per_s, R2_per_s, T1_s, T2_s, T1_ms or T2_ms"
        )
    return points


def _check_rates(rate: str, value: Array, stderr: Array, tubes: pd.Series) -> None:
    for name, bad, expected in (
        (rate, (value <= 0) | np.isinf(value), "above 0"),
        (f"error of {rate}", (stderr <= 0) | np.isinf(stderr), "above 0, or empty if not known"),
    ):
        if bad.any():
            found = (stderr if name != rate else value)[bad][0]
            where = f"{name} of tube {tubes.to_numpy()[bad][0]}"
            raise InputError(f"{found:g} s⁻¹", field=where, expected=expected)


def _rate(table: pd.DataFrame, rate: str) -> tuple[Any, Any, Any]:
    """Rate, its standard error and its SD between voxels, from rates or else from times."""
    time = TIME_OF[rate]
    _check_times(table, rate)
    if f"{rate}_per_s" in table:
        value = _column(table, f"{rate}_per_s", np.nan)
        stderr = _column(table, f"{rate}_stderr_per_s", np.nan)
        sd = _column(table, f"{rate}_sd_per_s", np.nan)
        from_time = error_of_inverse(_column(table, f"{time}_sd_s", np.nan), value)
        return value, stderr, np.where(np.isnan(sd), from_time, sd)
    for unit, factor in (("s", 1.0), ("ms", 1e-3)):
        if f"{time}_{unit}" in table:
            T = factor * _column(table, f"{time}_{unit}", np.nan)
            if (T <= 0).any():
                raise InputError("a time that is not positive", field=f"{time}_{unit}")
            stderr, sd = (
                error_of_inverse(factor * _column(table, f"{time}_{error}_{unit}", np.nan), 1 / T)
                for error in ("stderr", "sd")
            )
            return 1 / T, stderr, sd
    return None, None, None


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
    numbers = np.full(len(table), np.nan)
    for i, cell in enumerate(table[name]):
        text = as_text(cell)
        if text.lower() in _MISSING:
            continue
        try:
            numbers[i] = float(text)
        except ValueError:
            raise InputError(
                f"{text!r} in row {i + 1}", field=name, expected="a number with a decimal point"
            ) from None
    return numbers
