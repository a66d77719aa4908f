"""Measured against reference: bias of each tube, and the limits of agreement over all of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .cells import as_text, yes
from .errors import InputError
from .flags import flags_of
from .jupyter import Shown
from .regression import t95

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TIMES = ("T1", "T2")
#: Two limits of agreement hold 95 % of normally distributed differences between them.
WITHIN = 1.96
_LEAST = 3  # differences, to speak of their SD
MANGANESE = (
    "T2 of MnCl2 from trains of spin echoes is no test of the scanner against these values: with a "
    "mono-exponential fit it reads long (by 21 to 27 % in the median on three scanners at 1.5 T), "
    "through stimulated echoes, the slice profile and the temperature"
)
#: A factor no scanner is off by in the median: on ten scans at 1.5 T the right plate was off by up
#: to 1.34 (T2 of MnCl2 from all spin echoes), the wrong one by 1.9 to 3.2.
FAR = 1.6


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class ReferenceComparison(Shown):
    """Measured times against their reference values.

    Attributes
    ----------
    table : DataFrame
        One row per tube and quantity: ``tube``, ``quantity``, ``measured_s``, ``stderr_s``,
        ``reference_s``, ``reference_uncertainty_s``, ``difference_s`` (measured − reference),
        ``bias_percent`` (of the reference), ``difference_percent`` (of the mean of both),
        ``in_ci95`` (whether the reference lies within the measured value ± 1.96 times the
        uncertainties of both in quadrature), ``included``, ``reason`` (why not), ``source``,
        ``remark``.
    summary : DataFrame
        One row per quantity, over the included rows: ``n``, ``mean_percent``, ``sd_percent``,
        ``lower_percent`` and ``upper_percent`` (the limits of agreement, mean ± 1.96 SD), each
        but the SD with ``…_ci95_low`` and ``…_ci95_high``; all of ``difference_percent``. NaN
        where there are fewer than three.
    caveats : tuple of str
        What a reader should know.
    failures : tuple of str
        Those of the caveats that say that these are hardly the solutions of the table.
    """

    table: pd.DataFrame
    summary: pd.DataFrame
    caveats: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()

    def plot(self) -> Figure:
        """Bland–Altman plot, a panel per quantity."""
        from .plots import bland_altman

        return bland_altman(self)

    def __repr__(self) -> str:
        parts = [
            f"{row['quantity']} {row['mean_percent']:+.1f} % "
            f"({row['lower_percent']:+.1f} … {row['upper_percent']:+.1f} %, n = {row['n']})"
            if math.isfinite(row["mean_percent"])
            else f"{row['quantity']} n = {row['n']}"
            for row in self.summary.to_dict("records")
        ]
        return f"ReferenceComparison: {', '.join(parts)}".replace("-", "−")


def compare_with_reference(
    tubes: pd.DataFrame,
    reference: pd.DataFrame,
    *,
    keep_flagged: bool = False,
    others: Mapping[str, pd.DataFrame] | None = None,
) -> ReferenceComparison:
    """Compare a tube table with reference values.

    Parameters
    ----------
    tubes : DataFrame
        As of :func:`relaxometry.tube_table`: ``tube`` and ``T1_s`` and/or ``T2_s``; used where
        there: ``T1_stderr_s``, ``exclude``, ``reason``, ``flags``.
    reference : DataFrame
        As of :mod:`relaxometry.reference`: ``tube`` and ``T1_s`` and/or ``T2_s``; used where there:
        ``T1_uncertainty_s``, ``array``, ``source``, ``remark``, ``doubtful`` (of which quantities
        the value is in the table, and not in the summary).
    keep_flagged : bool
        Keep in the summary what has a flag that excludes it (:data:`relaxometry.flags.FLAGS`).

    others : mapping of str to DataFrame, optional
        Reference values of other solutions, to be named where they fit much better.

    Returns
    -------
    ReferenceComparison

    Raises
    ------
    InputError
        If a column is missing, or no tube has both a measured and a reference column.

    Notes
    -----
    Differences are relative to the mean of measured and reference value, since times span decades.
    The 95 % limits are mean ± 1.96 SD, their standard errors SD·√(1/n + 1.96²/(2(n − 1))), and
    Student's t has n − 1 degrees of freedom (Bland & Altman, Stat Methods Med Res 8:135, 1999).
    """
    for name, table in (("tubes", tubes), ("reference", reference)):
        if "tube" not in table:
            raise InputError("no column tube", field=name, expected="tube, and T1_s and/or T2_s")
    quantities = [q for q in TIMES if f"{q}_s" in tubes and f"{q}_s" in reference]
    known = {int(row["tube"]): row for row in reference.to_dict("records")}
    rows = [
        _row(row, known[int(row["tube"])], quantity, keep_flagged)
        for quantity in quantities
        for row in tubes.to_dict("records")
        if int(row["tube"]) in known
    ]
    if not rows:
        raise InputError(
            "no tube has both a measured and a reference value",
            field="reference",
            expected="the numbers of the tubes that were measured",
        )
    table = pd.DataFrame(rows)
    # A quantity that the reference says nothing of, or that was not measured, is no comparison.
    told = table.groupby("quantity")[["measured_s", "reference_s"]].transform("count").min(axis=1)
    table = table[told > 0].reset_index(drop=True)
    summary = pd.DataFrame([_summary(q, table) for q in dict.fromkeys(table.get("quantity", ()))])
    if table.empty:
        raise InputError("no value to compare", field="reference", expected="T1 or T2 of both")
    failures = _far_off(table, tubes, others or {}, keep_flagged)
    caveats = (*failures, *_caveats(tubes, known, table))
    return ReferenceComparison(table, summary, caveats, failures)


def _far_off(
    table: pd.DataFrame,
    tubes: pd.DataFrame,
    others: Mapping[str, pd.DataFrame],
    keep_flagged: bool,
) -> tuple[str, ...]:
    """That measured and reference values are hardly of the same solutions, and whose fit better."""
    apart = _apart(table)
    far = [quantity for quantity, (factor, _) in apart.items() if factor > FAR]
    if not far:
        return ()
    better = []
    for name, other in others.items():
        try:
            found = compare_with_reference(tubes, other, keep_flagged=keep_flagged)
        except InputError:
            continue
        there = _apart(found.table)
        if all(q in there and there[q][0] < min(FAR, apart[q][0]) for q in far):
            better.append(f"{name} fit better ({_in_words(far, there)})")
    text = (
        f"{_in_words(far, apart)} in the median against the reference: these are hardly the "
        "solutions of this table: is it the other plate, batch, field or temperature?"
    )
    return (f"{text} The values of {' and of '.join(better)}." if better else text,)


def _apart(table: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """By quantity, over the included rows: the median factor between both, the median bias in %."""
    found = {}
    for quantity, own in table[table["included"]].groupby("quantity", sort=False):
        if len(own) >= _LEAST:
            ratio = (own["measured_s"] / own["reference_s"]).to_numpy(dtype=float)
            factor = float(np.exp(np.median(np.abs(np.log(ratio)))))
            found[str(quantity)] = (factor, float(own["bias_percent"].median()))
    return found


def _in_words(quantities: list[str], apart: Mapping[str, tuple[float, float]]) -> str:
    return ", ".join(f"{q} {apart[q][1]:+.0f} %" for q in quantities).replace("-", "−")


def _row(
    tube: Mapping[Any, Any], reference: Mapping[Any, Any], quantity: str, keep_flagged: bool
) -> dict[str, Any]:
    def number(of: Mapping[Any, Any], key: str) -> float:
        value = of.get(key)
        return math.nan if value is None else float(value)

    measured, true = number(tube, f"{quantity}_s"), number(reference, f"{quantity}_s")
    stderr = number(tube, f"{quantity}_stderr_s")
    uncertainty = number(reference, f"{quantity}_uncertainty_s")
    both = math.hypot(stderr, uncertainty if math.isfinite(uncertainty) else 0.0)
    remark = _remark(reference, quantity)
    reason = _reason(tube, quantity, measured, true, keep_flagged)
    if not reason and quantity in as_text(reference.get("doubtful", "")):
        reason = f"reference value in doubt: {remark or 'no remark'}"
    return {
        "tube": int(tube["tube"]),
        "quantity": quantity,
        "measured_s": measured,
        "stderr_s": stderr,
        "reference_s": true,
        "reference_uncertainty_s": uncertainty,
        "difference_s": measured - true,
        "bias_percent": 100 * (measured - true) / true,
        "difference_percent": 200 * (measured - true) / (measured + true),
        "in_ci95": bool(abs(measured - true) <= WITHIN * both) if math.isfinite(both) else None,
        "included": not reason,
        "reason": reason,
        "source": as_text(reference.get("source", "")),
        "remark": remark,
    }


def _reason(
    tube: Mapping[Any, Any], quantity: str, measured: float, true: float, keep_flagged: bool
) -> str:
    """Why a tube is left out of the summary; empty where it is in."""
    if yes(as_text(tube.get("exclude", "")), "exclude"):
        return as_text(tube.get("reason", "")) or "excluded in the sheet"
    if not math.isfinite(measured):
        return f"{quantity} not determined"
    if not math.isfinite(true):
        return "no reference value"
    flags = flags_of(quantity, as_text(tube.get("flags", "")))
    return "" if keep_flagged else " ".join(f"{quantity}_{f.code}" for f in flags if f.excludes)


def _remark(reference: Mapping[Any, Any], quantity: str) -> str:
    """What is said of a reference value, unless it is said of the other quantity."""
    remark = as_text(reference.get("remark", ""))
    others = tuple(f"{time} " for time in TIMES if time != quantity)
    return "" if remark.startswith(others) else remark


def _summary(quantity: str, table: pd.DataFrame) -> dict[str, Any]:
    own = table[(table["quantity"] == quantity) & table["included"]]
    percent = own["difference_percent"].to_numpy()
    n = len(percent)
    mean = sd = math.nan
    if n >= _LEAST:
        mean, sd = float(percent.mean()), float(percent.std(ddof=1))
    t = t95(n - 1)
    half = t * sd / math.sqrt(max(n, 1))
    half_limit = t * sd * math.sqrt(1 / max(n, 1) + WITHIN**2 / (2 * max(n - 1, 1)))
    row: dict[str, Any] = {"quantity": quantity, "n": n, "sd_percent": sd}
    for name, value, width in (
        ("mean", mean, half),
        ("lower", mean - WITHIN * sd, half_limit),
        ("upper", mean + WITHIN * sd, half_limit),
    ):
        row[f"{name}_percent"] = value
        row[f"{name}_ci95_low_percent"] = value - width
        row[f"{name}_ci95_high_percent"] = value + width
    return row


def _caveats(tubes: pd.DataFrame, known: Mapping[int, Any], table: pd.DataFrame) -> list[str]:
    found = []
    arrays = {as_text(row.get("array", "")) for row in known.values()}
    if "MnCl2" in arrays and "T2" in set(table["quantity"]):
        found.append(MANGANESE)
    unknown = [str(n) for n in tubes["tube"] if int(n) not in known]
    if unknown:
        found.append(f"tube {', '.join(unknown)}: no reference value")
    if (table["remark"] != "").any():
        told = table[table["remark"] != ""].groupby("remark", sort=False)["tube"]
        found += [
            f"reference of tube {', '.join(map(str, dict.fromkeys(numbers)))}: {remark}"
            for remark, numbers in told
        ]
    return found
