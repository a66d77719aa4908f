"""Animals: mean ± SD over them and paired tests between before and after, never over slices."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from .contrast import Contrast
from .contrastsettings import TESTS, PairedTest
from .errors import InputError
from .multiplicity import holm, stars

#: What is compared before and after, where it was measured, and the change that says by how much.
QUANTITIES = {
    "SNR_target": "dSNR_target",
    "SNR_reference": "dSNR_reference",
    "SNR_muscle": "dSNR_muscle",
    "CNR_relative": "dCNR",
    "CNR_usual": "dCNR_usual",
    "TM": "dTM",
}
#: What people call them.
WORDS = {
    "SNR_target": "SNR, target",
    "SNR_reference": "SNR, reference",
    "SNR_muscle": "SNR, muscle",
    "CNR_relative": "CNR, relative",
    "CNR_usual": "CNR, usual",
    "TM": "Target/muscle",
}
_TESTED = {"t": "paired t test", "wilcoxon": "Wilcoxon signed-rank test"}
_FEWEST_WILCOXON = 6  # with fewer the smallest p there can be is above 0.05
_MOST_PERMUTED = 16  # animals whose signs are all tried
_EXACT = 1e-12  # relative scatter that is rounding, not biology


def over_animals(contrasts: Sequence[Contrast], test: PairedTest = "t") -> pd.DataFrame:
    """Mean ± SD over animals before and after, and a paired test of their difference.

    Each animal counts once: its slices, and several measurements of it at one time, are averaged
    first.

    Parameters
    ----------
    contrasts : sequence of Contrast
        Those without an animal's name are not counted.
    test : {"t", "wilcoxon"}
        Paired t test, or Wilcoxon's signed-rank test with its exact distribution, which from fewer
        than six animals cannot tell anything at p < 0.05.

    Returns
    -------
    DataFrame
        One row per group, time and quantity: ``n_animals``, ``n_slices`` (of all of them together,
        which no test counts), ``pre_mean``, ``pre_sd``, ``post_mean``, ``post_sd``,
        ``change_mean`` and ``change_sd`` (signed, a fraction of before, of each animal),
        ``difference`` (post − pre) with its 95 % interval by t, ``test``, ``p``, ``p_holm`` (over
        the times of one quantity in one group), ``stars`` and ``reason`` where there is no test.

    Raises
    ------
    InputError
        For another test, or animals measured with unlike noise methods in one group.
    """
    if test not in TESTS:
        raise InputError(f"{test!r}"[:60], field="test", expected=" or ".join(TESTS))
    if not all(isinstance(one, Contrast) for one in contrasts):
        raise InputError(
            "something else", field="contrasts", expected="Contrast, of rx.measure_contrast"
        )
    of_group: dict[str, list[Contrast]] = {}
    for one in contrasts:
        if one.animal:
            of_group.setdefault(one.group, []).append(one)
    rows = [row for group, own in of_group.items() for row in _group(group, own, test)]
    return pd.DataFrame(rows)


def _group(group: str, own: list[Contrast], test: PairedTest) -> Iterator[dict[str, Any]]:
    methods = list(dict.fromkeys((one.noise_method, one.coils) for one in own))
    if len(methods) > 1:
        raise InputError(
            f"noise by {methods[0][0]} and by {methods[1][0]}"
            if methods[0][0] != methods[1][0]
            else f"noise of {methods[0][1]} and of {methods[1][1]} coils",
            field=f"group {group or 'without a name'}",
            expected="one noise method for all animals that are compared",
        )
    at = sorted({one.time_s for one in own}, key=lambda t: -math.inf if t is None else t)
    for quantity, delta in QUANTITIES.items():
        rows = [
            _row(group, time, quantity, delta, [o for o in own if o.time_s == time], test)
            for time in at
            if any(f"{quantity}_pre" in o.estimates for o in own if o.time_s == time)
        ]
        adjusted = holm([row["p"] for row in rows])
        for row, p in zip(rows, adjusted, strict=True):
            yield {**row, "p_holm": p, "stars": stars(p)}


def _row(
    group: str,
    time: float | None,
    quantity: str,
    delta: str,
    own: list[Contrast],
    test: PairedTest,
) -> dict[str, Any]:
    own = [one for one in own if f"{quantity}_pre" in one.estimates]
    animals = list(dict.fromkeys(one.animal for one in own))

    def by_animal(key: str) -> np.ndarray[Any, Any]:
        return np.array(
            [np.mean([one.mean(key) for one in own if one.animal == a]) for a in animals]
        )

    pre, post = by_animal(f"{quantity}_pre"), by_animal(f"{quantity}_post")
    changes = by_animal(f"{delta}_signed")
    low, high = _interval(post - pre)
    p, reason = _p(pre, post, test)
    return {
        "group": group,
        "time_s": time,
        "quantity": quantity,
        "n_animals": len(animals),
        "n_slices": sum(one.n_slices for one in own),
        "pre_mean": pre.mean(),
        "pre_sd": _sd(pre),
        "post_mean": post.mean(),
        "post_sd": _sd(post),
        "change_mean": changes.mean(),
        "change_sd": _sd(changes),
        "difference": float((post - pre).mean()),
        "difference_ci95_low": low,
        "difference_ci95_high": high,
        "test": _TESTED[test] if math.isfinite(p) else "",
        "p": p,
        "reason": reason,
    }


def _sd(values: np.ndarray[Any, Any]) -> float:
    return float(values.std(ddof=1)) if values.size > 1 else math.nan


def _interval(differences: np.ndarray[Any, Any]) -> tuple[float, float]:
    n = differences.size
    if n < 2:
        return math.nan, math.nan
    half = stats.t.ppf(0.975, n - 1) * differences.std(ddof=1) / math.sqrt(n)
    return float(differences.mean() - half), float(differences.mean() + half)


def _p(
    pre: np.ndarray[Any, Any], post: np.ndarray[Any, Any], test: PairedTest
) -> tuple[float, str]:
    """P that the difference is by chance, or NaN and why there is none."""
    if pre.size < 2:
        return math.nan, "one animal: nothing to test"
    differences = post - pre
    if differences.std(ddof=1) <= _EXACT * max(np.abs(pre).max(), np.abs(post).max()):
        return math.nan, "all animals differ by the same: no scatter to test against"
    if test == "t":
        return float(stats.ttest_rel(post, pre).pvalue), ""
    sizes = np.abs(differences[differences != 0])
    tied = np.unique(sizes).size < differences.size
    # Ties and zeros have a distribution of their own: every sign of every pair is tried.
    every: Any = np.inf
    how: Any = stats.PermutationMethod(n_resamples=every) if tied else "exact"
    if tied and sizes.size > _MOST_PERMUTED:
        how = "approx"
    p = float(stats.wilcoxon(post, pre, method=how).pvalue)
    if sizes.size < _FEWEST_WILCOXON:
        return (
            p,
            f"{sizes.size} animals that changed: p cannot be below {2.0 ** (1 - sizes.size):.3g}",
        )
    return p, ""
