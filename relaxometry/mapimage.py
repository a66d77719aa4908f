"""`MapImage`: a map that is already made: of relaxation times or rates, or of what changed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import GeometryError, InputError
from .geometry import Affine, checked_affine
from .jupyter import Shown
from .units import CHANGE_OF, QUANTITIES, RATE_OF, TIME_OF

#: What a map in a file can show.
MAPPED = (*RATE_OF, *TIME_OF)
#: What follows from two of them; unlike a time or a rate, it may be negative.
FOLLOWS = (*CHANGE_OF.values(), "concentration")
# Factor to s or 1/s of the units that files state, for a time and for a rate.
_TIME_UNITS = {"s": 1.0, "sec": 1.0, "ms": 1e-3, "msec": 1e-3}
_RATE_UNITS = {"1/s": 1.0, "s^-1": 1.0, "s-1": 1.0, "s⁻¹": 1.0, "Hz": 1.0, "1/ms": 1e3}
# No liquid relaxes more slowly, in s: a map that does is in milliseconds.
_LONGEST_s = {"T1": 60.0, "T2": 10.0, "T2star": 10.0}


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class MapImage(Shown):
    """A map of one relaxation time or rate, from whatever made it, or of what changed.

    Attributes
    ----------
    quantity : {"T1", "T2", "T2star", "R1", "R2", "R2star", "dR1", "dR2", "dR2star", \
"concentration"}
    value : ndarray (x, y, z)
        In s, 1/s or mM; NaN where nothing was determined.
    affine : ndarray (4, 4)
        Voxel → mm, RAS.
    source : str
        What it was read from, for people: ``"NIfTI"``, ``"vendor's fit, ParaVision 6.0.1"``.
    file : str
        File it was read from.
    """

    quantity: str
    value: NDArray[np.float64]
    affine: Affine
    source: str = ""
    file: str = ""

    def __post_init__(self) -> None:
        known = (*MAPPED, *FOLLOWS)
        if self.quantity not in known:
            raise InputError(
                f"no map of {self.quantity!r}", field="quantity", expected=", ".join(known)
            )
        value = np.array(self.value, dtype=np.float64)
        if value.ndim != 3:
            raise GeometryError(f"a map of shape {value.shape}", expected="(x, y, z)")
        value.flags.writeable = False
        object.__setattr__(self, "value", value)
        object.__setattr__(self, "affine", checked_affine(self.affine))

    @property
    def unit(self) -> str:
        """Of the values: ``"s"``, ``"1/s"`` or ``"mM"``."""
        return QUANTITIES[self.quantity].bids_unit

    @classmethod
    def of(
        cls,
        quantity: str,
        stored: NDArray[Any],
        unit: str,
        affine: Affine,
        *,
        source: str,
        file: str | Path,
        field: str = "Units",
    ) -> MapImage:
        """A map from values as a program stored them.

        Parameters
        ----------
        quantity : str
        stored : ndarray (x, y, z)
            No relaxation time is 0, negative or infinite: there, nothing was fitted.
        unit : str
            As the file states it; empty where it does not, which in BIDS means s or 1/s.
        affine : ndarray (4, 4)
        source : str
        file : str or Path
        field : str
            What states the unit, for messages.

        Raises
        ------
        InputError
            If the unit is none of the quantity, or the values cannot be in it.
        """
        units = _TIME_UNITS if quantity in RATE_OF else _RATE_UNITS
        if unit and unit not in units:
            raise InputError(
                f"unit {unit[:20]!r} of a map of {quantity}",
                path=file,
                field=field,
                expected=" or ".join(units),
            )
        factor = units[unit] if unit else 1.0
        value = np.asarray(stored, dtype=np.float64) * factor
        value = np.where(np.isfinite(value) & (value > 0), value, np.nan)
        try:
            found = cls(quantity, value, affine, source, str(file))
        except InputError as error:
            raise error.at(file) from None
        found._check_unit(field)
        return found

    def _check_unit(self, field: str) -> None:
        """Raise if the values are too long for seconds: never a silent rescale."""
        known = self.value[np.isfinite(self.value)]
        if not known.size:
            return
        median = float(np.median(known))
        rate = self.quantity in TIME_OF
        longest = _LONGEST_s[TIME_OF.get(self.quantity, self.quantity)]
        if (1 / median if rate else median) > longest:
            right, wrong = ("1/s", "1/ms") if rate else ("s", "ms")
            raise InputError(
                f"{self.quantity} has a median of {median:.4g} {right}, it looks like {wrong}",
                path=self.file,
                field=field,
                expected=f"a map in {right}",
                hint=f"state the unit: a sidecar with Units {wrong}, or convert the map",
            )

    def __repr__(self) -> str:
        known = self.value[np.isfinite(self.value)]
        quantity = QUANTITIES[self.quantity]
        facts = [
            f"MapImage: {quantity.written or quantity.symbol}",
            "×".join(str(n) for n in self.value.shape),
        ]
        if known.size:
            median = float(np.median(known)) * quantity.people_factor
            facts.append(f"median {median:.4g} {quantity.people_unit}")
        facts.append(f"{known.size} of {self.value.size} voxels")
        return ", ".join([*facts, *filter(None, [self.source])])
