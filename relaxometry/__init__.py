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
    "AnimalCourse": "animalcourse",
    "change_ratio": "regionchange",
    "ChangeRatio": "regionchange",
    "compare_models": "selection",
    "compare_with_reference": "bias",
    "concentration_map": "concentrationmap",
    "concentration_mM": "concentration",
    "B1Map": "b1",
    "ConcentrationMap": "concentrationmap",
    "Contrast": "contrast",
    "ContrastPlan": "planning",
    "CurveFit": "curvefit",
    "check_still": "displacements",
    "diluted_mM": "concentration",
    "Displacement": "displacements",
    "displacement": "displacements",
    "Estimate": "estimate",
    "FitError": "errors",
    "find_air": "background",
    "find_tubes": "finding",
    "fit_curve": "curvefit",
    "fit_maps": "fit",
    "fit_tubes": "fit",
    "GeometryError": "errors",
    "Ghosting": "ghosts",
    "ghosting": "ghosts",
    "InputError": "errors",
    "inspect": "inspection",
    "intensity_scale": "scaling",
    "IntensityScale": "scaling",
    "measure_contrast": "contrastmeasure",
    "measure_noise": "noiselevel",
    "MapImage": "mapimage",
    "MODELS": "models",
    "Noise": "noiselevel",
    "offset_warranted": "selection",
    "OffsetVerdict": "selection",
    "ParameterMaps": "maps",
    "pool_noise": "noiselevel",
    "plan_contrast": "planning",
    "Protocol": "series",
    "ProtocolError": "errors",
    "rate_change": "ratechange",
    "RateChange": "ratechange",
    "read": "folder",
    "read_all": "folder",
    "read_image": "folder",
    "read_map": "mapfiles",
    "read_B1": "b1",
    "read_labels": "nifti",
    "ReferenceComparison": "bias",
    "region_fit": "regionrate",
    "region_rate": "regionrate",
    "RegionChange": "regionchange",
    "RegionConcentration": "concentrationmap",
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
    "signal_only_dR2": "signalonly",
    "SignalModel": "models",
    "Regions": "regions",
    "read_regions": "regions",
    "over_animals": "cohort",
    "snr": "snrmaps",
    "snr_map": "snrmaps",
    "Status": "maps",
    "Tissue": "weighted",
    "SignalOnlyChange": "signalonly",
    "SignalOnlyRegion": "signalonly",
    "time_course": "timecourse",
    "TimeCourse": "timecourse",
    "tube_table": "tubetable",
    "Tubes": "tubes",
    "tubes_from_circles": "tubes",
    "tubes_from_labels": "tubes",
    "tubes_from_rois": "imagej",
    "Uniformity": "imageuniformity",
    "uniformity": "imageuniformity",
    "write_maps": "bids",
    "write_parametric_maps": "parametric",
    "write_rate_change": "changefiles",
    "write_study": "sample",
}

# Modules that are public by their own name, loaded likewise.
_TABLES = ("reference", "plots")

__all__ = [
    "MODELS",
    "AnimalCourse",
    "B1Map",
    "ChangeRatio",
    "ConcentrationMap",
    "Contrast",
    "ContrastPlan",
    "CurveFit",
    "Displacement",
    "Estimate",
    "FitError",
    "GeometryError",
    "Ghosting",
    "InputError",
    "IntensityScale",
    "MapImage",
    "Noise",
    "OffsetVerdict",
    "ParameterMaps",
    "Protocol",
    "ProtocolError",
    "RateChange",
    "ReferenceComparison",
    "RegionChange",
    "RegionConcentration",
    "Regions",
    "Registered",
    "Relaxivity",
    "RelaxivityTable",
    "RelaxometryError",
    "Series",
    "SignalModel",
    "SignalOnlyChange",
    "SignalOnlyRegion",
    "Status",
    "TimeCourse",
    "Tissue",
    "Tubes",
    "Uniformity",
    "__version__",
    "analyse",
    "analyse_table",
    "change_ratio",
    "check_still",
    "compare_models",
    "compare_with_reference",
    "concentration_mM",
    "concentration_map",
    "diluted_mM",
    "displacement",
    "find_air",
    "find_tubes",
    "fit_curve",
    "fit_maps",
    "fit_tubes",
    "ghosting",
    "inspect",
    "intensity_scale",
    "measure_contrast",
    "measure_noise",
    "offset_warranted",
    "over_animals",
    "plan_contrast",
    "plots",
    "pool_noise",
    "rank",
    "rate_change",
    "read",
    "read_B1",
    "read_all",
    "read_image",
    "read_labels",
    "read_map",
    "read_regions",
    "reference",
    "region_fit",
    "region_rate",
    "register",
    "relaxivity",
    "relaxivity_fit",
    "report",
    "signal_only_dR2",
    "snr",
    "snr_map",
    "time_course",
    "tube_table",
    "tubes_from_circles",
    "tubes_from_labels",
    "tubes_from_rois",
    "uniformity",
    "write_maps",
    "write_parametric_maps",
    "write_rate_change",
    "write_study",
]

if TYPE_CHECKING:
    from . import plots as plots
    from . import reference as reference
    from .agents import RelaxivityTable as RelaxivityTable
    from .agents import relaxivity as relaxivity
    from .animalcourse import AnimalCourse as AnimalCourse
    from .b1 import B1Map as B1Map
    from .b1 import read_B1 as read_B1
    from .background import find_air as find_air
    from .bias import ReferenceComparison as ReferenceComparison
    from .bias import compare_with_reference as compare_with_reference
    from .bids import write_maps as write_maps
    from .changefiles import write_rate_change as write_rate_change
    from .cohort import over_animals as over_animals
    from .concentration import concentration_mM as concentration_mM
    from .concentration import diluted_mM as diluted_mM
    from .concentrationmap import ConcentrationMap as ConcentrationMap
    from .concentrationmap import RegionConcentration as RegionConcentration
    from .concentrationmap import concentration_map as concentration_map
    from .contrast import Contrast as Contrast
    from .contrastmeasure import measure_contrast as measure_contrast
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
    from .folder import read_image as read_image
    from .ghosts import Ghosting as Ghosting
    from .ghosts import ghosting as ghosting
    from .imagej import tubes_from_rois as tubes_from_rois
    from .imageuniformity import Uniformity as Uniformity
    from .imageuniformity import uniformity as uniformity
    from .inspection import inspect as inspect
    from .mapfiles import read_map as read_map
    from .mapimage import MapImage as MapImage
    from .maps import ParameterMaps as ParameterMaps
    from .maps import Status as Status
    from .models import MODELS as MODELS
    from .models import SignalModel as SignalModel
    from .nifti import read_labels as read_labels
    from .noiselevel import Noise as Noise
    from .noiselevel import measure_noise as measure_noise
    from .noiselevel import pool_noise as pool_noise
    from .parametric import write_parametric_maps as write_parametric_maps
    from .planning import ContrastPlan as ContrastPlan
    from .planning import plan_contrast as plan_contrast
    from .ranking import rank as rank
    from .ratechange import RateChange as RateChange
    from .ratechange import rate_change as rate_change
    from .regionchange import ChangeRatio as ChangeRatio
    from .regionchange import RegionChange as RegionChange
    from .regionchange import change_ratio as change_ratio
    from .regionrate import region_fit as region_fit
    from .regionrate import region_rate as region_rate
    from .regions import Regions as Regions
    from .regions import read_regions as read_regions
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
    from .signalonly import SignalOnlyChange as SignalOnlyChange
    from .signalonly import SignalOnlyRegion as SignalOnlyRegion
    from .signalonly import signal_only_dR2 as signal_only_dR2
    from .snrmaps import snr as snr
    from .snrmaps import snr_map as snr_map
    from .study import analyse as analyse
    from .tablestudy import analyse_table as analyse_table
    from .timecourse import TimeCourse as TimeCourse
    from .timecourse import time_course as time_course
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
    from .weighted import Tissue as Tissue


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
