"""`ParameterMaps` and `Status`: the result of a fit in every voxel, and what became of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import GeometryError
from .estimate import Estimate
from .points import Choices
from .series import Series
from .units import TIME_OF

if TYPE_CHECKING:
    from .models import SignalModel

Map = NDArray[np.floating[Any]]


class Status(IntEnum):
    """What became of a fit. Only ``OK`` and ``AT_EDGE`` have values; the others are NaN."""

    OK = 0
    AT_BOUND = 1  #: the time ended at its bound: the data do not determine it
    NOT_CONVERGED = 2
    LOW_SIGNAL = 3  #: nothing there: all zero, or no positive amplitude fits
    NON_FINITE = 4  #: NaN or infinity in the data, or no usable B1
    MASKED = 5  #: not asked for
    AT_EDGE = 6  #: an amplitude ratio (inversion efficiency) is at its bound, the time is not
    CLIPPED = 7  #: too few points below the plateau at which the data are clipped

    @property
    def words(self) -> str:
        """The status as people read it."""
        return "ok" if self is Status.OK else self.name.lower().replace("_", " ")


def determined(status: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Where a status stands for a value that may be used."""
    # Plain numbers: NumPy asks an enum's class for attributes, and what is raised while it asks, a
    # Ctrl-C at worst, is lost.
    known: NDArray[np.bool_] = (status == Status.OK.value) | (status == Status.AT_EDGE.value)
    return known


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class ParameterMaps:
    """Maps of every parameter of a model, with their errors.

    ``maps["T2"]`` is an :class:`Estimate` of (x, y, z) arrays in s; rates (``maps["R2"]``) are
    derived. Values are NaN wherever :attr:`status` is neither OK nor AT_EDGE.

    Attributes
    ----------
    raw : mapping of str to (value, stderr)
        Every parameter as the solver left it, values at a bound included; ask for these knowingly.
    rmse : ndarray (x, y, z)
        √(RSS/n), in units of the signal.
    rsquared : ndarray (x, y, z)
        1 − RSS/Σ(S − mean S)².
    status : ndarray of uint8 (x, y, z)
        Codes of :class:`Status`.
    points : ndarray of int (x, y, z)
        How many points each fit used; 0 where there was none.
    series : Series
        What was fitted.
    model : SignalModel
        With what.
    choices : Choices
        Bounds, polarity, weights, points left out.
    left_out : mapping of str to int
        In how many voxels points were left out as ``"clipped"``, and below the ``"noise_floor"``;
        without what was not asked for.
    """

    raw: Mapping[str, tuple[Map, Map]]
    rmse: Map
    rsquared: Map
    status: NDArray[np.uint8]
    points: NDArray[np.integer[Any]]
    series: Series
    model: SignalModel
    choices: Choices
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done to the points, in words: of the whole series, then voxel by voxel."""
        return (*self.series.provenance.notes, *self.choices.notes(self.left_out))

    @property
    def bounds(self) -> tuple[float, float]:
        """Range of the time constant searched, s."""
        return self.choices.bounds

    def __post_init__(self) -> None:
        arrays: list[NDArray[Any]] = [a for pair in self.raw.values() for a in pair]
        for array in [*arrays, self.rmse, self.rsquared, self.status, self.points]:
            if array.shape != self.series.grid:
                raise GeometryError(
                    f"a map of shape {array.shape}", expected=f"the series' {self.series.grid}"
                )
            array.flags.writeable = False
        for name in ("raw", "left_out"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    @property
    def names(self) -> tuple[str, ...]:
        """Parameters of the model: its time first, then amplitudes and what derives from them."""
        return tuple(self.raw)

    def __getitem__(self, name: str) -> Estimate:
        if TIME_OF.get(name) in self.raw:
            return self[TIME_OF[name]].inverse(name)
        if name not in self.raw:
            raise KeyError(f"no map {name!r}; there are {', '.join(self.names)}")
        known = determined(self.status)
        value, stderr = (np.where(known, array, np.nan) for array in self.raw[name])
        value.flags.writeable = stderr.flags.writeable = False
        return Estimate(value, stderr, name)

    def __contains__(self, name: object) -> bool:
        return name in self.raw or (isinstance(name, str) and TIME_OF.get(name) in self.raw)

    def counts(self) -> dict[Status, int]:
        """Number of voxels of each status that occurs."""
        codes, numbers = np.unique(self.status, return_counts=True)
        return {Status(code): int(n) for code, n in zip(codes, numbers, strict=True)}

    def __repr__(self) -> str:
        counts = {s: n for s, n in self.counts().items() if s is not Status.MASKED}
        told = [f"{n:,} {s.words}".replace(",", " ") for s, n in counts.items()]
        if Status.AT_BOUND not in counts:
            told.append("0 at bound")
        return f"ParameterMaps: {self.model.name}, {', '.join(self.names)}: {', '.join(told)}"

    def _repr_html_(self) -> str:
        from html import escape

        return f"<b>{escape(repr(self))}</b>"
