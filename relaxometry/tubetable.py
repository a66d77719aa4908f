"""The tube table: one row per tube, with the fit of its mean signal as the answer of record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .curvefit import CurveFit
from .errors import InputError
from .fit import fit_tubes
from .maps import ParameterMaps, Status
from .tubes import Tubes
from .units import RATE_OF

FEW_VOXELS = 10
_UNEVEN = 0.2  # SD between voxels at the brightest point, as a share of their mean
# Points lie on a floor where the curve has fallen below 2 % of the signal and they stay 4 times
# above it; it matters where the fit feels it.
_GONE, _ABOVE, _FELT = 0.02, 4.0, 0.998
#: What a flag of the tube table says, as a sentence with the quantity in front.
FLAGS = {
    "at_bound": "ended at the bound of the search: the data do not determine it",
    "not_converged": "did not converge",
    "low_signal": "has no signal to fit",
    "non_finite": "has NaN or infinity in the data",
    "clipped": "is clipped: too few points lie below the plateau of the data",
    "at_edge": "has the inversion efficiency at its bound: it is less sure than its error says",
    "short": "is below half the shortest time measured: poorly determined",
    "long": "is above three times the longest time measured: poorly determined",
    "imprecise": "is known to no better than 20 %: noise or the noise floor decides it",
    "noise_floor": "is biased: late points lie on the noise floor, which the model does not know",
    "uneven": "is of voxels that differ by more than 20 %: noise, a wall, a bubble, a wrong place",
    "few_voxels": f"was measured on fewer than {FEW_VOXELS} voxels",
}


def tube_table(
    tubes: Tubes, *maps: ParameterMaps, carried: Mapping[str, Tubes] | None = None
) -> pd.DataFrame:
    """One row per tube: the fit of its mean signal, and beside it the map's median and SD.

    Parameters
    ----------
    tubes : Tubes
        Carried to the grid of each map.
    *maps : ParameterMaps
        One per quantity (T1, T2).
    carried : mapping of str to Tubes, optional
        By quantity, the tubes as they were already carried to its series.

    Returns
    -------
    DataFrame
        The sheet's columns, ``n_voxels``, and for each quantity ``T2_s`` (fit of the mean signal),
        ``T2_stderr_s`` (of that fit), ``T2_sd_s`` and ``T2_median_s`` (between voxels of the map),
        ``T2_n_voxels``, ``R2_per_s``, ``R2_stderr_per_s``; ``flags``, a list of codes separated by
        spaces (see :data:`FLAGS`).

    Raises
    ------
    InputError
        If two maps are of the same quantity.
    """
    table = tubes.sheet.copy()
    table["n_voxels"] = [int(tubes.voxels(n).sum()) for n in tubes.numbers]
    flags: list[list[str]] = [[] for _ in tubes.numbers]
    for one in maps:
        time = one.model.time
        if f"{time}_s" in table:
            raise InputError(f"two maps of {time}", expected="one map of each quantity")
        here = (carried or {}).get(time, tubes).on(one.series)
        fits = fit_tubes(one.series, here, one.model, **one.choices.arguments())
        columns = [
            _tube_row(one, fit, here.voxels(n)) for fit, n in zip(fits, here.numbers, strict=True)
        ]
        for name in columns[0]:
            table[name] = [row[name] for row in columns]
        for codes, fit, number in zip(flags, fits, here.numbers, strict=True):
            voxels = one.series.signal[here.voxels(number)]
            codes += [f"{time}_{code}" for code in _judge(fit, voxels)]
    table["flags"] = [" ".join(codes) for codes in flags]
    return table


def _tube_row(maps: ParameterMaps, fit: CurveFit, voxels: NDArray[np.bool_]) -> dict[str, Any]:
    time, rate = maps.model.time, RATE_OF[maps.model.time]
    values = maps[time].value[voxels]
    values = values[np.isfinite(values)]
    return {
        f"{time}_s": fit[time].value,
        f"{time}_stderr_s": fit[time].stderr,
        f"{time}_sd_s": float(values.std(ddof=1)) if values.size > 1 else np.nan,
        f"{time}_median_s": float(np.median(values)) if values.size else np.nan,
        f"{rate}_per_s": fit[rate].value,
        f"{rate}_stderr_per_s": fit[rate].stderr,
        f"{time}_rsquared": fit.rsquared,
        f"{time}_n_voxels": int(voxels.sum()),
        f"{time}_n_fitted": int(values.size),
    }


def _judge(fit: CurveFit, voxels: NDArray[np.float32]) -> Sequence[str]:
    """Codes of what is doubtful about a tube's fit, from it and its voxels (voxels, n)."""
    codes = [] if fit.status is Status.OK else [fit.status.name.lower()]
    T, times = fit[fit.model.time].value, fit.protocol.times
    if fit.protocol.swept != "FA":  # angles are no times
        if times[times > 0].min() / 2 > T:
            codes.append("short")
        if 3 * times.max() < T:
            codes.append("long")
    if fit[fit.model.time].stderr > 0.2 * T:
        codes.append("imprecise")
    if _on_floor(fit):
        codes.append("noise_floor")
    brightest = voxels[:, int(np.argmax(np.abs(fit.signal)))]
    if len(voxels) > 1 and brightest.std(ddof=1) > _UNEVEN * abs(brightest.mean()):
        codes.append("uneven")
    if len(voxels) < FEW_VOXELS:
        codes.append("few_voxels")
    return codes


def _on_floor(fit: CurveFit) -> bool:
    """Whether the last of a decay lies on a plateau that the fitted curve does not have."""
    if not np.isfinite(fit[fit.model.time].value) or fit.rsquared > _FELT:
        return False
    curve = fit.curve()
    gone = curve < _GONE * fit.signal.max()
    return bool(gone.sum() >= 3 and fit.signal[gone].mean() > _ABOVE * curve[gone].mean())


def flag_sentence(tube: int, code: str) -> str:
    """A flag of the tube table in words."""
    quantity, _, kind = code.partition("_")
    return f"tube {tube}: {quantity} {FLAGS[kind]}"
