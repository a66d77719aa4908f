"""What changed, as files: maps of ΔR, their errors and the concentration, with their sidecars."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bids import data_set, ignored, image_files, subject_folder
from .concentrationmap import ConcentrationMap
from .errors import InputError
from .maps import determined
from .nifti import write_together
from .ratechange import RateChange
from .units import QUANTITIES

_LEVELS = {"0": "determined", "1": "not before", "2": "not after", "3": "neither"}


def write_rate_change(
    change: RateChange,
    folder: str | Path,
    *,
    concentration: ConcentrationMap | None = None,
    subject: str = "01",
    sources: Sequence[str] = (),
) -> list[Path]:
    """Write ΔR beside the maps of a BIDS derivatives data set, as `write_maps` writes those.

    ``sub-01_dR2map.nii.gz`` (1/s) with ``desc-stderr`` and ``desc-status``; with a concentration
    ``sub-01_desc-dR2_concentrationmap.nii.gz`` (mM) and ``desc-dR2stderr``. BIDS has no names for
    these: ``.bidsignore`` leaves them out. Maps are float32, NaN where nothing was determined.

    Parameters
    ----------
    change : RateChange
    folder : str or Path
        Root of the derivatives; made if absent, and added to if this package wrote it.
    concentration : ConcentrationMap, optional
        Made of this change.
    subject : str
        Label of the subject: letters and digits.
    sources : sequence of str
        What was fitted, as BIDS URIs or as paths in the data set.

    Returns
    -------
    list of Path
        Files written.

    Raises
    ------
    InputError
        If the folder holds a data set of another origin, the label is not one, or the concentration
        is of another change. Nothing is written then.
    """
    if concentration is not None and concentration.change is not change:
        raise InputError(
            "of another change", field="concentration", expected="change.concentration(r)"
        )
    folder, symbol = Path(folder), change.symbol
    quantity = QUANTITIES[symbol]
    common = _facts(change, sources)
    failed = [~determined(maps.status) for maps in (change.pre, change.post)]
    status = (failed[0] + 2 * failed[1].astype(np.uint8)).astype(np.uint8)
    images: list[tuple[str, NDArray[Any], dict[str, Any]]] = [
        (f"{symbol}map", _float(change.value), _said(quantity.name, quantity.bids_unit)),
        (
            f"desc-stderr_{symbol}map",
            _float(change.stderr),
            _said(f"standard error of the {quantity.name}", quantity.bids_unit),
        ),
        (
            f"desc-status_{symbol}map",
            status,
            _said("where the rate was determined", "1") | {"Levels": _LEVELS},
        ),
    ]
    if concentration is not None:
        facts = {
            "Relaxivity": concentration.r,
            "RelaxivityStandardError": concentration.r_stderr,
            "RelaxivityUnits": "1/(mM s)",
            "Notes": list(concentration.notes),
        }
        images += [
            (
                f"desc-{symbol}_concentrationmap",
                _float(concentration.value),
                _said(f"concentration of the agent, {symbol}/r", "mM") | facts,
            ),
            (
                f"desc-{symbol}stderr_concentrationmap",
                _float(concentration.stderr),
                _said(
                    "standard error of the concentration by noise; that of the relaxivity, common "
                    "to all voxels, is not in it",
                    "mM",
                )
                | facts,
            ),
        ]
    contents = data_set(folder, "derivative")
    stem = f"{subject_folder(subject)}/anat/sub-{subject}"
    for name, array, facts in images:
        contents |= image_files(
            folder / f"{stem}_{name}.nii.gz", array, change.affine, common | facts
        )
    contents |= ignored(folder, f"*_{symbol}map.*", "*_concentrationmap.*")
    return write_together(contents)


def _float(array: NDArray[Any]) -> NDArray[np.float32]:
    return array.astype(np.float32)


def _said(what: str, units: str) -> dict[str, Any]:
    return {"Description": what, "Units": units}


def _facts(change: RateChange, sources: Sequence[str]) -> dict[str, Any]:
    models = dict.fromkeys(
        f"{maps.model.name}: {maps.model.equation}" for maps in (change.pre, change.post)
    )
    facts: dict[str, Any] = {
        "EstimationAlgorithm": "; ".join(
            [f"{change.quantity} after less before", *models, *change.notes]
        ),
        "SkullStripped": False,
    }
    if change.field_T is not None:
        facts["MagneticFieldStrength"] = change.field_T
    if sources:
        facts["Sources"] = list(sources)
    return facts
