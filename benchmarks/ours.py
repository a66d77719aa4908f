"""The package as a rival among rivals: `fit_maps` with an engine, where model and engine exist."""

from __future__ import annotations

import inspect
import sys

import relaxometry as rx

# numba imports coverage where there is one, and would take coverage.py of this folder for it.
sys.modules.setdefault("coverage", None)  # type: ignore[arg-type]

ENGINES = ("numpy", "compiled")
_OPTIONS = inspect.signature(rx.fit_maps).parameters


def has(option: str) -> bool:
    """Whether `fit_maps` takes this argument."""
    return option in _OPTIONS


def fit(series: rx.Series, model: str, engine: str = "numpy", **options) -> rx.ParameterMaps:
    if has("engine"):
        options["engine"] = engine
    elif engine != "numpy":
        raise rx.InputError("fit_maps has no engines yet", field="engine")
    maps = rx.fit_maps(series, model, progress=False, **options)
    if engine == "compiled" and "numba" not in sys.modules:
        # An engine that was asked for and not used must not get a row of its own.
        raise rx.InputError("the compiled engine ran without numba", field="engine")
    return maps


def why_not(series: rx.Series, model: str, engine: str = "numpy") -> str:
    """Why this cannot be fitted here; empty if it can."""
    try:
        fit(series, model, engine)
    except (rx.RelaxometryError, ImportError) as error:
        return str(error)
    return ""
