"""relaxometry: from MRI scans of contrast-agent phantoms to relaxivities with honest errors.

Series → ParameterMaps → tube table → Relaxivity → report. Inside, times are in s, rates in s⁻¹,
concentrations in mM, relaxivities in mM⁻¹ s⁻¹, angles in degrees, lengths in mm.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Public name → the module it lives in; loaded when first asked for, so that importing is quick.
_HOMES = {
    "analyse": "study",
    "Contrast": "contrast",
    "CurveFit": "fit",
    "Estimate": "estimate",
    "FitError": "errors",
    "find_tubes": "tubes",
    "fit_curve": "fit",
    "fit_maps": "fit",
    "fit_tubes": "fit",
    "GeometryError": "errors",
    "InputError": "errors",
    "inspect": "folder",
    "measure_contrast": "contrast",
    "MODELS": "models",
    "ParameterMaps": "maps",
    "Protocol": "series",
    "ProtocolError": "errors",
    "read": "folder",
    "read_all": "folder",
    "Relaxivity": "regression",
    "relaxivity": "agents",
    "relaxivity_fit": "regression",
    "RelaxivityTable": "agents",
    "RelaxometryError": "errors",
    "report": "reports",
    "Series": "series",
    "SignalModel": "models",
    "snr": "contrast",
    "Status": "maps",
    "tube_table": "tubetable",
    "Tubes": "tubes",
    "tubes_from_circles": "tubes",
    "tubes_from_labels": "tubes",
    "write_maps": "bids",
    "write_study": "sample",
}

__all__ = [
    "analyse",
    "Contrast",
    "CurveFit",
    "Estimate",
    "find_tubes",
    "fit_curve",
    "fit_maps",
    "fit_tubes",
    "FitError",
    "GeometryError",
    "InputError",
    "inspect",
    "measure_contrast",
    "MODELS",
    "ParameterMaps",
    "Protocol",
    "ProtocolError",
    "read",
    "read_all",
    "Relaxivity",
    "relaxivity",
    "relaxivity_fit",
    "RelaxivityTable",
    "RelaxometryError",
    "report",
    "Series",
    "SignalModel",
    "snr",
    "Status",
    "tube_table",
    "Tubes",
    "tubes_from_circles",
    "tubes_from_labels",
    "write_maps",
    "write_study",
    "__version__",
]

if TYPE_CHECKING:
    from .agents import RelaxivityTable as RelaxivityTable, relaxivity as relaxivity
    from .contrast import Contrast as Contrast, measure_contrast as measure_contrast, snr as snr
    from .errors import (
        FitError as FitError,
        GeometryError as GeometryError,
        InputError as InputError,
        ProtocolError as ProtocolError,
        RelaxometryError as RelaxometryError,
    )
    from .estimate import Estimate as Estimate
    from .fit import (
        CurveFit as CurveFit,
        fit_curve as fit_curve,
        fit_maps as fit_maps,
        fit_tubes as fit_tubes,
    )
    from .folder import inspect as inspect, read as read, read_all as read_all
    from .maps import ParameterMaps as ParameterMaps, Status as Status
    from .models import MODELS as MODELS, SignalModel as SignalModel
    from .bids import write_maps as write_maps
    from .regression import Relaxivity as Relaxivity, relaxivity_fit as relaxivity_fit
    from .reports import report as report
    from .sample import write_study as write_study
    from .series import Protocol as Protocol, Series as Series
    from .study import analyse as analyse
    from .tubes import (
        Tubes as Tubes,
        find_tubes as find_tubes,
        tubes_from_circles as tubes_from_circles,
        tubes_from_labels as tubes_from_labels,
    )
    from .tubetable import tube_table as tube_table


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
