"""`Protocol` and `Series`: what was scanned, with which times, where, and how that is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import GeometryError, InputError, ProtocolError
from .geometry import Affine, checked_affine, voxel_size
from .jupyter import Shown
from .mapped import release
from .polarity import signed_by_voxels
from .units import LONGEST, QUANTITIES

SWEEPABLE = ("TE", "TI", "TR", "FA")
# Settings closer than this are the same setting: scanners write times with 4–6 digits.
SAME_SETTING = 1e-6
_SLAB = 1 << 24  # bytes of the signal worked on at once, where the whole may not fit

Sequence_ = Literal["SE", "GE"]

_OFF_BEAT, _IN_TRAIN = 0.1, 0.7  # of the spacing; of a train's echoes that are there


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Protocol(Shown):
    """The times and angles at which n images were taken; exactly one of them was swept.

    Attributes
    ----------
    TE, TI, TR : ndarray of shape (n,) or None
        Echo, inversion and repetition times in s; None where not known.
    FA : ndarray of shape (n,) or None
        Flip angle of the excitation in degrees.

    Raises
    ------
    ProtocolError
        If a value is not finite or not positive (TI may be 0), lengths differ, or nothing is given.
        A single number stands for every image.
    """

    TE: Any = None
    TI: Any = None
    TR: Any = None
    FA: Any = None

    def __post_init__(self) -> None:
        given = {name: getattr(self, name) for name in SWEEPABLE if getattr(self, name) is not None}
        if not given:
            raise ProtocolError("no acquisition times given", expected="one of TE, TI, TR, FA")
        arrays = {name: _checked_setting(name, values) for name, values in given.items()}
        lengths = {a.size for a in arrays.values() if a.ndim} or {1}
        if len(lengths) != 1:
            raise ProtocolError(
                "settings of different length: "
                + ", ".join(f"{name} has {a.size}" for name, a in arrays.items()),
                expected="one value per image, or a single one for all",
            )
        (n,) = lengths
        for name, array in arrays.items():
            full = np.broadcast_to(array, (n,)).copy()
            full.flags.writeable = False
            object.__setattr__(self, name, full)

    def __len__(self) -> int:
        known = (getattr(self, name) for name in SWEEPABLE)
        return len(next(values for values in known if values is not None))

    @property
    def varying(self) -> tuple[str, ...]:
        """Names of the settings that differ between images."""
        return tuple(
            name
            for name in SWEEPABLE
            if (values := getattr(self, name)) is not None and np.ptp(values) > SAME_SETTING
        )

    @property
    def swept(self) -> str:
        """The one setting that was swept; TR may follow TI.

        Raises
        ------
        ProtocolError
            If none or more than one varies.
        """
        varying = self.varying
        if varying == ("TI", "TR"):
            return "TI"
        if len(varying) == 1:
            return varying[0]
        if not varying:
            raise ProtocolError(
                "nothing varies between the images",
                expected="exactly one of TE, TI, TR, FA to be swept",
            )
        raise ProtocolError(
            f"{' and '.join(varying)} vary together: "
            + ", ".join(f"{name} {range_text(name, getattr(self, name))}" for name in varying),
            expected="exactly one of TE, TI, TR, FA to be swept (TR may follow TI)",
        )

    @property
    def times(self) -> NDArray[np.float64]:
        """Values of the swept setting, (n,), in s (degrees for FA)."""
        return np.asarray(getattr(self, self.swept))

    def take(self, index: ArrayLike) -> Protocol:
        """The protocol of the images at these positions."""
        where = np.asarray(index, dtype=np.intp)
        return Protocol(
            **{n: getattr(self, n)[where] for n in SWEEPABLE if getattr(self, n) is not None}
        )

    def __repr__(self) -> str:
        known = [n for n in SWEEPABLE if getattr(self, n) is not None]
        return "Protocol: " + ", ".join(f"{n} {range_text(n, getattr(self, n))}" for n in known)


def _checked_setting(name: str, values: Any) -> NDArray[np.float64]:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise ProtocolError(f"{values!r} is not numeric", field=name) from None
    if array.ndim > 1 or array.size == 0:
        raise ProtocolError(f"shape {array.shape}", field=name, expected="one value per image")
    bad = ~np.isfinite(array) | (array < 0) | ((array == 0) & (name != "TI"))
    if bad.any():
        worst = array[bad].flat[0] if array.ndim else float(array)
        raise ProtocolError(
            f"{worst:g} is not possible", field=name, expected="finite and positive values"
        )
    if array.max() > LONGEST[name]:
        unit = "degrees" if name == "FA" else "seconds, not milliseconds (10 ms is 0.01)"
        raise ProtocolError(f"{array.max():g} is too much", field=name, expected=unit)
    return array


def kind_of(protocol: Protocol, sequence: Sequence_ | None) -> str:
    """MESE, MEGRE, IRT1, VFA as in BIDS; VTR (variable TR), for which BIDS has no name."""
    swept = protocol.swept
    if swept == "TE":
        return "MEGRE" if sequence == "GE" else "MESE"
    return {"TI": "IRT1", "TR": "VTR", "FA": "VFA"}[swept]


def range_text(name: str, values: NDArray[np.float64]) -> str:
    """Values of a setting for people, e.g. ``10 … 160 ms``."""
    quantity = QUANTITIES[name]
    numbers = np.unique(np.asarray(values)) * quantity.people_factor
    unit = quantity.people_unit if name == "FA" else f" {quantity.people_unit}"
    if numbers[-1] - numbers[0] <= SAME_SETTING * quantity.people_factor:
        return f"{numbers[0]:.6g}{unit}"
    return f"{numbers[0]:.6g} … {numbers[-1]:.6g}{unit}"


@dataclass(frozen=True, slots=True, repr=False)
class Provenance(Shown):
    """Where a series came from and how each of its facts is known.

    Attributes
    ----------
    source : str
        ``"DICOM"``, ``"NIfTI"``, ``"Bruker"``, ``"simulation"`` or ``"array"``.
    files : tuple of str
        Files read, as given to the reader; never shown with their folders.
    vendor : str
        Maker of the scanner, if the files say so.
    origin : mapping of str to str
        How each fact is known: ``{"TE": "EchoTime (0018,0081)", "signed": "ImageType M"}``.
    notes : tuple of str
        What was done to the data since (echoes left out, and why).
    """

    source: str = "array"
    files: tuple[str, ...] = ()
    vendor: str = ""
    origin: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "origin", MappingProxyType(dict(self.origin)))

    def __repr__(self) -> str:
        facts = [self.source, self.vendor, f"{len(self.files)} files" if self.files else ""]
        return f"Provenance: {', '.join(fact for fact in (*facts, *self.notes) if fact)}"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Series:
    """Images of one object in which exactly one acquisition setting is swept.

    Attributes
    ----------
    signal : ndarray of shape (x, y, z, n), float32
        In the scanner's linear units; x runs along an image row, y down a column, z over slices.
        Points are ordered by the swept setting. It may lie in a file, memory-mapped: the file must
        stay as it is as long as the series is used.
    protocol : Protocol
        Times in s and angles in degrees, one per image.
    affine : ndarray of shape (4, 4)
        Voxel indices → mm, RAS, as in NIfTI.
    signed : bool
        Whether negative signal means inverted magnetisation (True), or the data are magnitudes.
        Where it is not given, the voxels decide: signed if more than 1 % of the strong ones (above
        a tenth of the brightest) are negative, see :mod:`relaxometry.polarity`. How it is known
        stands in ``provenance.origin["signed"]``.
    field_T : float or None
        Field strength in T.
    sequence : {"SE", "GE"} or None
        Spin or gradient echo, where known.
    provenance : Provenance

    Raises
    ------
    ProtocolError, GeometryError, InputError
        If these do not fit together.
    """

    signal: NDArray[np.float32]
    protocol: Protocol
    affine: Affine = field(default_factory=lambda: np.eye(4))
    signed: bool | None = None
    field_T: float | None = None
    sequence: Sequence_ | None = None
    provenance: Provenance = field(default_factory=Provenance)

    def __post_init__(self) -> None:
        signal = np.asarray(self.signal)
        if signal.dtype.kind not in "biuf":
            raise InputError(
                f"signal of type {signal.dtype}", expected="real numbers: magnitudes or signed data"
            )
        signal = signal.astype(np.float32, copy=False)
        if signal.ndim == 3:
            signal = signal[:, :, np.newaxis, :]
        if signal.ndim != 4 or 0 in signal.shape:
            raise GeometryError(f"signal of shape {signal.shape}", expected="(x, y, z, n)")
        if signal.shape[3] != len(self.protocol):
            raise ProtocolError(
                f"{signal.shape[3]} images with {len(self.protocol)} settings",
                expected="one set of times per image",
            )
        order = np.argsort(self.protocol.times, kind="stable")
        protocol = self.protocol
        if (order != np.arange(order.size)).any():
            signal, protocol = np.ascontiguousarray(signal[..., order]), protocol.take(order)
        if self.field_T is not None and not 0 < self.field_T < 30:
            raise InputError(f"{self.field_T!r} T", field="field_T", expected="a field below 30 T")
        origin = {"signed": "given by hand", **self.provenance.origin}
        signed = self.signed
        if signed is None:
            signed, origin["signed"] = signed_by_voxels(signal)
        signal = signal.view()
        signal.flags.writeable = False
        object.__setattr__(self, "signal", signal)
        object.__setattr__(self, "protocol", protocol)
        object.__setattr__(self, "affine", checked_affine(self.affine))
        object.__setattr__(self, "signed", bool(signed))
        object.__setattr__(self, "provenance", replace(self.provenance, origin=origin))

    @property
    def grid(self) -> tuple[int, int, int]:
        """Number of voxels along x, y, z."""
        x, y, z, _ = self.signal.shape
        return x, y, z

    @property
    def kind(self) -> str:
        """MESE, MEGRE, IRT1, VFA as in BIDS; VTR (variable TR), for which BIDS has no name."""
        return kind_of(self.protocol, self.sequence)

    def drop(self, points: Sequence[int], reason: str) -> Series:
        """A series without some points, numbered from 1 in the order of the swept setting.

        Raises
        ------
        InputError
            If there is no such point, or no reason is given.
        """
        n = len(self.protocol)
        wrong = [p for p in points if p not in range(1, n + 1)]
        if wrong:
            raise InputError(f"no point {wrong[0]}", expected=f"numbers from 1 to {n}")
        if len(points) == 0:
            return self
        if not reason:
            raise InputError(
                "points dropped without a reason", hint="say why: drop_reason, or --drop-reason"
            )
        left_out = {p - 1 for p in points}
        keep = [i for i in range(n) if i not in left_out]
        if len(keep) < 2:
            raise InputError(f"{len(keep)} point left of {n}", expected="at least two")
        note = f"left out point {', '.join(str(p) for p in sorted(set(points)))} of {n}: {reason}"
        side_by_side = keep[-1] - keep[0] < len(keep) and self.signal.flags.f_contiguous
        return replace(
            self,
            # Images that lie behind one another, as in a mapped file, need no copy.
            signal=self.signal[..., slice(keep[0], keep[-1] + 1) if side_by_side else keep],
            protocol=self.protocol.take(keep),
            provenance=replace(self.provenance, notes=(*self.provenance.notes, note)),
        )

    def root_sum_of_squares(self) -> NDArray[np.float32]:
        """(x, y, z) image bright wherever any point has signal, short T2 and nulls included."""
        image: NDArray[np.float32] = np.empty_like(self.signal[..., 0])
        # Across the axis whose planes lie furthest apart, so that each slab is read in one go.
        slowest = int(np.argmax(self.signal.strides[:3]))
        signal, into = (np.moveaxis(array, slowest, 0) for array in (self.signal, image))
        planes = max(_SLAB // signal[0].nbytes, 1)
        for start in range(0, len(signal), planes):
            slab = signal[start : start + planes]
            into[start : start + planes] = np.sqrt(np.einsum("abcn,abcn->abc", slab, slab))
            release(self.signal)
        return image

    def __repr__(self) -> str:
        swept = self.protocol.swept
        facts = [
            "×".join(map(str, self.grid)),
            f"{len(self.protocol)} {swept} {range_text(swept, self.protocol.times)}",
        ]
        if self.kind == "IRT1":
            facts.append("signed" if self.signed else "magnitude")
        facts.append("field not stated" if self.field_T is None else f"{self.field_T:.3g} T")
        facts.append(self.provenance.vendor or self.provenance.source)
        return f"Series: {self.kind}, {', '.join(facts)}"

    def _repr_html_(self) -> str:
        from html import escape

        size = " × ".join(f"{v:.3g}" for v in voxel_size(self.affine))
        return f"<b>{escape(repr(self))}</b><br>voxel {size} mm"


def echo_numbers(TE: NDArray[np.float64]) -> NDArray[np.intp] | None:
    """Which echo of a train each echo time is, from 1; None where they are those of no train.

    Times of single echoes, taken one by one, have no odd and even.
    """
    spacing = float(np.diff(TE).min()) if len(TE) > 1 else 0.0
    if spacing <= 0:
        return None
    steps = (TE - TE[0]) / spacing
    number = np.rint(steps).astype(np.intp)
    if np.abs(steps - number).max() > _OFF_BEAT or len(TE) < _IN_TRAIN * (number[-1] + 1):
        return None
    first: int = max(1, round(float(TE[0]) / spacing))
    return np.asarray(number + first)
