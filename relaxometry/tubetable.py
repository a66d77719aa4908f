"""The tube table: one row per tube, with the fit of its mean signal as the answer of record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .curvefit import CurveFit, with_B1
from .errors import InputError
from .fit import fit_tubes
from .geometry import voxel_size
from .judgement import Evidence, judged
from .maps import ParameterMaps, determined
from .series import Series
from .tubes import Tubes
from .units import RATE_OF


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
        spaces (see :data:`relaxometry.flags.FLAGS`).

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
            seen = number not in here.placed_by_template
            tube = _evidence(one.series, fit, here.voxels(number), seen)
            codes += [f"{time}_{code}" for code in judged(tube)]
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


def _evidence(series: Series, fit: CurveFit, inside: NDArray[np.bool_], seen: bool) -> Evidence:
    """What there is to judge of a tube, at the points that were fitted."""
    # A fit that used no point is judged by all of them.
    number = np.flatnonzero(fit.used if fit.used.any() else np.isfinite(fit.signal))
    known = bool(determined(np.array(fit.status)))
    # Without a T there may be no B1 either.
    actual = with_B1(fit.protocol, fit.choices.B1) if known else fit.protocol
    curve = fit.curve() if known else np.full(len(actual), np.nan)
    return Evidence(
        status=fit.status,
        model=fit.model,
        protocol=actual.take(number) if number.size else actual,
        T=fit[fit.model.time].value,
        stderr=fit[fit.model.time].stderr,
        amplitudes=fit.amplitudes,
        rsquared=fit.rsquared,
        signal=fit.signal[number],
        curve=curve[number],
        voxels=series.signal[inside].astype(np.float64)[:, number],
        index=np.argwhere(inside),
        size=voxel_size(series.affine),
        magnitude=fit.polarity == "magnitude",
        seen=seen,
    )
