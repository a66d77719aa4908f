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
    "analyse_table": "tablestudy",
    "compare_models": "selection",
    "compare_with_reference": "bias",
    "concentration_mM": "concentration",
    "B1Map": "b1",
    "Contrast": "contrast",
    "CurveFit": "curvefit",
    "check_still": "displacements",
    "diluted_mM": "concentration",
    "Displacement": "displacements",
    "displacement": "displacements",
    "Estimate": "estimate",
    "FitError": "errors",
    "find_tubes": "finding",
    "fit_curve": "curvefit",
    "fit_maps": "fit",
    "fit_tubes": "fit",
    "GeometryError": "errors",
    "InputError": "errors",
    "inspect": "inspection",
    "intensity_scale": "scaling",
    "IntensityScale": "scaling",
    "measure_contrast": "contrast",
    "MapImage": "mapimage",
    "MODELS": "models",
    "offset_warranted": "selection",
    "OffsetVerdict": "selection",
    "ParameterMaps": "maps",
    "Protocol": "series",
    "ProtocolError": "errors",
    "read": "folder",
    "read_all": "folder",
    "read_map": "mapfiles",
    "read_B1": "b1",
    "read_labels": "nifti",
    "ReferenceComparison": "bias",
    "register": "registration",
    "Registered": "registration",
    "Relaxivity": "regression",
    "relaxivity": "agents",
    "relaxivity_fit": "regression",
    "RelaxivityTable": "agents",
    "RelaxometryError": "errors",
    "rank": "ranking",
    "report": "reports",
    "Series": "series",
    "SignalModel": "models",
    "snr": "contrast",
    "Status": "maps",
    "tube_table": "tubetable",
    "Tubes": "tubes",
    "tubes_from_circles": "tubes",
    "tubes_from_labels": "tubes",
    "tubes_from_rois": "imagej",
    "write_maps": "bids",
    "write_parametric_maps": "parametric",
    "write_study": "sample",
}

# Modules that are public by their own name, loaded likewise.
_TABLES = ("reference", "plots")

__all__ = [
    "MODELS",
    "B1Map",
    "Contrast",
    "CurveFit",
    "Displacement",
    "Estimate",
    "FitError",
    "GeometryError",
    "InputError",
    "IntensityScale",
    "MapImage",
    "OffsetVerdict",
    "ParameterMaps",
    "Protocol",
    "ProtocolError",
    "ReferenceComparison",
    "Registered",
    "Relaxivity",
    "RelaxivityTable",
    "RelaxometryError",
    "Series",
    "SignalModel",
    "Status",
    "Tubes",
    "__version__",
    "analyse",
    "analyse_table",
    "check_still",
    "compare_models",
    "compare_with_reference",
    "concentration_mM",
    "diluted_mM",
    "displacement",
    "find_tubes",
    "fit_curve",
    "fit_maps",
    "fit_tubes",
    "inspect",
    "intensity_scale",
    "measure_contrast",
    "offset_warranted",
    "plots",
    "rank",
    "read",
    "read_B1",
    "read_all",
    "read_labels",
    "read_map",
    "reference",
    "register",
    "relaxivity",
    "relaxivity_fit",
    "report",
    "snr",
    "tube_table",
    "tubes_from_circles",
    "tubes_from_labels",
    "tubes_from_rois",
    "write_maps",
    "write_parametric_maps",
    "write_study",
]

if TYPE_CHECKING:
    from . import plots as plots
    from . import reference as reference
    from .agents import RelaxivityTable as RelaxivityTable
    from .agents import relaxivity as relaxivity
    from .b1 import B1Map as B1Map
    from .b1 import read_B1 as read_B1
    from .bias import ReferenceComparison as ReferenceComparison
    from .bias import compare_with_reference as compare_with_reference
    from .bids import write_maps as write_maps
    from .concentration import concentration_mM as concentration_mM
    from .concentration import diluted_mM as diluted_mM
    from .contrast import Contrast as Contrast
    from .contrast import measure_contrast as measure_contrast
    from .contrast import snr as snr
    from .curvefit import (
        CurveFit as CurveFit,
    )
    from .curvefit import (
        fit_curve as fit_curve,
    )
    from .displacements import Displacement as Displacement
    from .displacements import check_still as check_still
    from .displacements import displacement as displacement
    from .errors import (
        FitError as FitError,
    )
    from .errors import (
        GeometryError as GeometryError,
    )
    from .errors import (
        InputError as InputError,
    )
    from .errors import (
        ProtocolError as ProtocolError,
    )
    from .errors import (
        RelaxometryError as RelaxometryError,
    )
    from .estimate import Estimate as Estimate
    from .finding import find_tubes as find_tubes
    from .fit import (
        fit_maps as fit_maps,
    )
    from .fit import (
        fit_tubes as fit_tubes,
    )
    from .folder import read as read
    from .folder import read_all as read_all
    from .imagej import tubes_from_rois as tubes_from_rois
    from .inspection import inspect as inspect
    from .mapfiles import read_map as read_map
    from .mapimage import MapImage as MapImage
    from .maps import ParameterMaps as ParameterMaps
    from .maps import Status as Status
    from .models import MODELS as MODELS
    from .models import SignalModel as SignalModel
    from .nifti import read_labels as read_labels
    from .parametric import write_parametric_maps as write_parametric_maps
    from .ranking import rank as rank
    from .registration import Registered as Registered
    from .registration import register as register
    from .regression import Relaxivity as Relaxivity
    from .regression import relaxivity_fit as relaxivity_fit
    from .reports import report as report
    from .sample import write_study as write_study
    from .scaling import IntensityScale as IntensityScale
    from .scaling import intensity_scale as intensity_scale
    from .selection import (
        OffsetVerdict as OffsetVerdict,
    )
    from .selection import (
        compare_models as compare_models,
    )
    from .selection import (
        offset_warranted as offset_warranted,
    )
    from .series import Protocol as Protocol
    from .series import Series as Series
    from .study import analyse as analyse
    from .tablestudy import analyse_table as analyse_table
    from .tubes import (
        Tubes as Tubes,
    )
    from .tubes import (
        tubes_from_circles as tubes_from_circles,
    )
    from .tubes import (
        tubes_from_labels as tubes_from_labels,
    )
    from .tubetable import tube_table as tube_table


def __getattr__(name: str) -> Any:
    if name in _TABLES:
        return import_module(f".{name}", __name__)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
