"""`Contrast`: SNR and CNR of regions and how an injection changed them, slice by slice."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .contrastformulas import FORMULAS
from .estimate import Estimate
from .jupyter import Shown
from .noiselevel import Noise

Array = NDArray[np.float64]

WHEN = ("pre", "post")
#: What was looked at before anything was compared.
CHECKS = ("shift_voxels", "shift_uncertainty_voxels", "scale_ratio", "scale_ratio_stderr")


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Contrast(Shown):
    """SNR and CNR of a target and a reference region, before and after.

    Attributes
    ----------
    name : str
    noise_method : str
        As in :func:`relaxometry.measure_noise`.
    estimates : mapping of str to Estimate
        Every quantity with its standard error, one value per slice: ``S_target_pre`` … (mean
        signals), ``SNR_target_pre`` …, ``CNR_relative_pre`` …, ``CNR_usual_pre`` …, with a muscle
        ``TM_pre`` …; ``RE_target`` …; the changes ``dSNR_target``, ``dSNR_reference``, ``dCNR``
        (of the relative CNR), ``dCNR_usual`` and ``dTM``, |post − pre|/pre as fractions, and
        signed as ``…_signed``.
    noise : mapping of str to tuple of Noise
        ``pre`` and ``post``, one per slice; one for all where pooled.
    slice_numbers : tuple of int
        Which slices of the images, from 1.
    n_voxels : mapping of str to tuple of int
        Of each region in each slice.
    animal, group : str
        Whose images these are, and what it was given; "" where nobody says.
    time_s : float or None
        After the injection; None where nobody says.
    shared : mapping of str to ndarray (n_slices,)
        The part of each standard error that all slices share, as that of a pooled noise or scale.
    checks : mapping of str to float
        Whether the subject lay still and the scale stayed, where it was looked at:
        ``shift_voxels`` (the largest displacement) and ``shift_uncertainty_voxels``,
        ``scale_ratio`` (how much brighter the muscle is after) and ``scale_ratio_stderr``.
    notes : tuple of str
    """

    name: str
    noise_method: str
    estimates: Mapping[str, Estimate]
    noise: Mapping[str, tuple[Noise, ...]]
    slice_numbers: tuple[int, ...]
    n_voxels: Mapping[str, tuple[int, ...]]
    animal: str = ""
    group: str = ""
    time_s: float | None = None
    shared: Mapping[str, Array] = field(default_factory=dict)
    checks: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def slices(self) -> Mapping[str, Array]:
        """Every quantity slice by slice; each slice is paired with itself."""
        return {key: np.asarray(one.value) for key, one in self.estimates.items()}

    @property
    def n_slices(self) -> int:
        """Slices in which all regions were drawn."""
        return len(self.slice_numbers)

    @property
    def coils(self) -> int:
        """Coils that the noise was taken for."""
        return self.noise["pre"][0].coils

    @property
    def formulas(self) -> dict[str, str]:
        """The formula of each quantity of :meth:`row`, and of the noise."""
        noise = self.noise["pre"][0].formula
        told = {key: _formula(key) for key in self.estimates if _formula(key)}
        return {"noise": noise, **told}

    def mean(self, quantity: str) -> float:
        """Mean over slices, e.g. of ``"dSNR_reference"``."""
        return float(self.slices[quantity].mean())

    def sd(self, quantity: str) -> float:
        """SD over slices; NaN for one slice."""
        values = self.slices[quantity]
        return float(values.std(ddof=1)) if values.size > 1 else math.nan

    def stderr(self, quantity: str) -> float:
        """Standard error of the mean over slices, from the noise in each (not from their SD)."""
        total = np.asarray(self.estimates[quantity].stderr)
        shared = self.shared.get(quantity, np.zeros_like(total))
        alone = np.sqrt(np.maximum(total**2 - shared**2, 0))
        return float(np.hypot(np.sqrt((alone**2).sum()), shared.sum()) / total.size)

    def row(self) -> dict[str, Any]:
        """Means over slices under the names of ``contrast.csv``, with errors and flags."""
        row: dict[str, Any] = {
            "name": self.name,
            "animal": self.animal,
            "group": self.group,
            "time_s": self.time_s,
            "noise_method": self.noise_method,
            "coils": self.coils,
        }
        for quantity in self.estimates:
            row[quantity] = self.mean(quantity)
            if _is_change(quantity):
                row[f"{quantity}_percent"] = 100 * self.mean(quantity)
            row[f"{quantity}_stderr"] = self.stderr(quantity)
            if self.n_slices > 1:
                row[f"{quantity}_sd"] = self.sd(quantity)
        checks = {key: self.checks.get(key, math.nan) for key in CHECKS}
        return row | checks | {"n_slices": self.n_slices, "flags": list(self.notes)}

    def slice_rows(self) -> list[dict[str, Any]]:
        """A row per slice, under the names of ``contrast_slices.csv``."""
        rows = []
        for i, number in enumerate(self.slice_numbers):
            row: dict[str, Any] = {"name": self.name, "time_s": self.time_s, "slice": number}
            row.update({f"n_voxels_{role}": n[i] for role, n in self.n_voxels.items()})
            for when in WHEN:
                noise = self.noise[when]
                own = noise[i] if len(noise) > 1 else noise[0]
                row |= {f"noise_{when}": own.value, f"noise_{when}_stderr": own.stderr}
            for quantity, one in self.estimates.items():
                row[quantity] = float(one.value[i])
                row[f"{quantity}_stderr"] = float(one.stderr[i])
            rows.append(row)
        return rows

    def __repr__(self) -> str:
        changes = {"target SNR": "dSNR_target", "reference SNR": "dSNR_reference", "CNR": "dCNR"}
        told = ", ".join(
            f"{name} {100 * self.mean(f'{key}_signed'):+.1f} %" for name, key in changes.items()
        )
        slices = "1 slice" if self.n_slices == 1 else f"{self.n_slices} slices"
        name = f"{self.name}: " if self.name else ""
        return f"Contrast: {name}{told}; noise by {self.noise_method}, {slices}"


def _is_change(quantity: str) -> bool:
    return quantity.startswith(("dSNR", "dCNR", "dTM", "RE_"))


def _formula(quantity: str) -> str:
    """The formula of a quantity by its name; signed changes lose the bars."""
    bare = quantity.removesuffix("_signed").removesuffix("_pre").removesuffix("_post")
    for role in ("target", "reference", "muscle"):
        bare = bare.removesuffix(f"_{role}")
    formula = FORMULAS.get(bare, "")
    if quantity.endswith("_signed"):
        top, _, bottom = formula.rpartition("/")
        formula = f"({top.strip('|')})/{bottom}"
    return formula
