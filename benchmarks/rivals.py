"""The other ways to fit the same curves, as a careful user would write them.

Each takes (case, curves (V, n)) and gives T (V,) in s, NaN where it failed. Start values are the
best that practice offers; settings are otherwise the defaults of each library.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
from curves import Case

try:
    import joblib
except ImportError:  # it is no dependency of the package
    joblib = None


def _logarithms(times, curves):
    """Slope and intercept of log S against time, every curve at once."""
    y = np.log(np.maximum(curves, 1e-3))
    x = times - times.mean()
    slope = (y @ x) / (x @ x)
    return slope, np.exp(y.mean(axis=-1) - slope * times.mean())


def _spoiled_line(case: Case, curves):
    """DESPOT1: S/sin α against S/tan α is a line of slope exp(−TR/T1)."""
    angle = np.deg2rad(case.protocol.FA)
    x, y = curves / np.tan(angle), curves / np.sin(angle)
    dx = x - x.mean(axis=-1, keepdims=True)
    slope = (dx * y).sum(axis=-1) / (dx * dx).sum(axis=-1)
    T1 = -case.protocol.TR[0] / np.log(np.clip(slope, 1e-6, 1 - 1e-6))
    return T1, (y.mean(axis=-1) - slope * x.mean(axis=-1)) / (1 - slope)


def linearised(case: Case, curves):
    """NumPy, all voxels at once, on a straightened equation: quick, and another minimum."""
    curves = np.asarray(curves, dtype=float)
    if case.model == "t1_vfa":
        return _spoiled_line(case, curves)[0]
    with np.errstate(divide="ignore"):
        return -1 / _logarithms(case.times, curves)[0]


def _problem(case: Case):
    """f(times, T, a…) and start(y) of a model."""
    p, x = case.protocol, case.times
    if case.model in ("t2", "t2star", "t2_offset"):

        def start(y):
            slope, S0 = _logarithms(x, y)
            T = float(np.clip(-1 / slope if slope < 0 else x[-1], x[0] / 5, 10 * x[-1]))
            return (T, S0, 0.0) if case.model == "t2_offset" else (T, S0)

        if case.model == "t2_offset":
            return (lambda x, T, S0, C: S0 * np.exp(-x / T) + C), start
        return (lambda x, T, S0: S0 * np.exp(-x / T)), start
    if case.model == "t1_ir":
        TR = p.TR

        def inversion(x, T, S0, B):
            return np.abs(S0 * (1 + np.exp(-TR / T)) - B * np.exp(-x / T))

        # The null is at T1·log 2, near the smallest magnitude.
        return inversion, lambda y: (x[y.argmin()] / np.log(2), y.max(), 2 * y.max())
    if case.model == "t1_sr":
        return (lambda x, T, S0: S0 * -np.expm1(-x / T)), lambda y: (_two_thirds(x, y), y.max())
    if case.model == "t1_sr_offset":
        return (
            lambda x, T, a, b: a + b * np.exp(-x / T),
            lambda y: (_two_thirds(x, y), y.max(), y.min() - y.max()),
        )
    angle, TR = np.deg2rad(p.FA), p.TR[0]

    def spoiled(x, T, S0):
        E1 = np.exp(-TR / T)
        return S0 * np.sin(angle) * (1 - E1) / (1 - E1 * np.cos(angle))

    return spoiled, lambda y: tuple(float(v) for v in _spoiled_line(case, y))


def _two_thirds(x, y):
    """Time at which a recovery has come to 63 % of its last value."""
    return float(np.interp(0.63 * y[-1], np.maximum.accumulate(y), x))


def curve_fit(case: Case, curves):
    """scipy.optimize.curve_fit, voxel by voxel, on one core; errors of the parameters with it."""
    from scipy.optimize import curve_fit as fit

    f, start = _problem(case)
    T = np.full(len(curves), np.nan)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for i, y in enumerate(np.asarray(curves, dtype=float)):
            try:
                found, covariance = fit(f, case.times, y, p0=start(y))
            except RuntimeError:  # no convergence
                continue
            np.sqrt(np.diag(covariance))
            T[i] = found[0]
    return T


def curve_fit_parallel(case: Case, curves):
    """The same in as many processes as there are cores, by joblib."""
    jobs = os.cpu_count() or 1
    # Only names travel: the equations are lambdas, which each worker makes for itself.
    parts = joblib.Parallel(n_jobs=jobs)(
        joblib.delayed(_named)(str(Path(__file__).parent), case.model, part)
        for part in np.array_split(curves, 4 * jobs)
    )
    return np.concatenate(parts)


def _named(folder: str, model: str, part):
    import sys

    if folder not in sys.path:
        sys.path.insert(0, folder)
    from curves import CASE

    return curve_fit(CASE[model], part)


def lmfit(case: Case, curves):
    """lmfit.minimize, voxel by voxel, with its standard errors."""
    import lmfit as library

    f, start = _problem(case)
    T = np.full(len(curves), np.nan)
    x = case.times
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for i, y in enumerate(np.asarray(curves, dtype=float)):
            parameters = library.Parameters()
            for k, value in enumerate(start(y)):
                parameters.add(f"p{k}", value=value)
            try:
                found = library.minimize(
                    lambda q, y=y: f(x, *q.valuesdict().values()) - y, parameters
                )
            except ValueError:  # NaN on the way
                continue
            T[i] = found.params["p0"].value if found.success else np.nan
    return T


# name, function, voxels per run, exact: False where the equation is not the one asked for
RIVALS = [
    ("curve_fit, 1 core", curve_fit, 2000, True),
    ("lmfit, 1 core", lmfit, 300, True),
]
if joblib is not None:
    RIVALS.insert(1, ("curve_fit, joblib", curve_fit_parallel, 4000, True))


def rivals_of(case: Case):
    if case.model in ("t2", "t2star"):
        return [*RIVALS, ("NumPy, log-linear", linearised, 262_144, False)]
    if case.model == "t1_vfa":
        return [*RIVALS, ("NumPy, DESPOT1 line", linearised, 262_144, False)]
    return RIVALS
