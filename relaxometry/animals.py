"""Simulated mice: a liver with a tumour before and after an injection, of which all is known.

The truth only: tissues, uptake, where they lie, and the signal by the equation of the spin echo.
:mod:`relaxometry.animalscans` makes images of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .errors import InputError
from .geometry import Affine
from .scanner import Array, axial_affine, ellipse_share
from .series import Protocol
from .simulate import AGENTS, Agent

C3 = AGENTS[-1]
#: Labels of the regions drawn on the images; air is the noise region.
REGIONS: Mapping[str, int] = MappingProxyType({"tumour": 1, "liver": 2, "air": 3, "muscle": 4})
TARGET, REFERENCE = "tumour", "liver"


@dataclass(frozen=True, slots=True)
class AnimalScan:
    """How a mouse is scanned: axial slices, T2-weighted; T1 and T2 on the centre slice.

    Attributes
    ----------
    field_T : float
    matrix, slices : int
        Voxels along x and y; slices without a gap.
    field_of_view, slice_thickness : float
        In mm.
    TE, TR : float
        Of the T2-weighted spin echo, s.
    times_min : tuple of float
        When images are taken after the injection, min.
    rate_time_min : float
        When T1 and T2 are measured after the injection, min: at the peak.
    T2, T1 : Protocol
        Of the multi-echo spin echo, short enough for a liver full of iron, and of variable TR.
    """

    field_T: float
    matrix: int
    slices: int
    field_of_view: float
    slice_thickness: float
    TE: float
    TR: float
    times_min: tuple[float, ...]
    rate_time_min: float
    T2: Protocol
    T1: Protocol


_PEAK_MIN, _RISE = 60.0, 0.5

SCANS: Mapping[str, AnimalScan] = MappingProxyType(
    {
        "liver-7T": AnimalScan(
            *(7.0, 96, 3, 28.8, 1.0, 0.040, 3.0),
            times_min=(10.0, 30.0, 60.0, 120.0),
            rate_time_min=_PEAK_MIN,
            T2=Protocol(TE=np.arange(6, 61, 6) / 1e3, TR=3.0),
            T1=Protocol(TE=0.006, TR=(0.2, 0.4, 0.7, 1.2, 2.0, 3.2, 5.0, 8.0)),
        )
    }
)


@dataclass(frozen=True, slots=True)
class Tissue:
    """One tissue of one mouse.

    Attributes
    ----------
    name : str
    S0 : float
        Proton density; 1 is water.
    R1, R2 : float
        Before the injection, s⁻¹.
    peak_mM : float
        Concentration of the agent at its peak.
    """

    name: str
    S0: float
    R1: float
    R2: float
    peak_mM: float = 0.0


# S0, T1 s, T2 s, peak mM. Measured in people: liver T1 0.81 s, T2 34 ms and muscle 0.90 s, 29 ms at
# 3 T (de Bazelaire et al., Radiology 230:652, 2004), water of the liver T1 1.36 s at 7 T (Gajdošík
# et al., J Magn Reson Imaging 40:1365, 2014): with the field T1 grows and T2 shortens a little. A
# tumour holds more free water, so both are longer. Kupffer cells take up the clusters, which a
# tumour has none of; muscle takes up none, and so is a reference. All else is plausible.
_TYPICAL: Mapping[str, tuple[float, float, float, float]] = MappingProxyType(
    {
        "body": (0.75, 1.10, 0.031, 0.0),
        "liver": (0.95, 1.30, 0.034, 0.048),
        "stomach": (0.60, 1.50, 0.045, 0.0),
        "spine": (0.90, 1.70, 0.065, 0.0),
        "muscle": (0.95, 1.60, 0.027, 0.0),
        "tumour": (1.00, 1.80, 0.056, 0.001),
    }
)
# SD between animals, as a fraction of the mean. Drawn from a normal distribution cut at ±2 SD.
_SD_UPTAKE, _SD_T1, _SD_T2, _SD_SIZE, _CUT = 0.08, 0.03, 0.02, 0.02, 2.0

# Ellipses (x, y, semi-axis along x, along y) in mm from the centre of the slice, painted in this
# order. Muscle lies on either side of the spine.
_ANATOMY = (
    ("body", (0.0, 0.0, 12.6, 10.2)),
    ("liver", (-1.6, -2.2, 9.4, 6.0)),
    ("stomach", (9.0, -0.5, 2.2, 3.0)),
    ("spine", (0.0, 7.0, 1.8, 1.5)),
    ("muscle", (-4.6, 6.4, 2.3, 2.0)),
    ("muscle", (4.6, 6.4, 2.3, 2.0)),
    ("tumour", (-5.4, -2.4, 3.0, 2.8)),
)
# Drawn half a millimetre inside the tissue, as one does, and the liver clear of the tumour.
_DRAWN = (
    ("tumour", (-5.4, -2.4, 2.5, 2.3)),
    ("liver", (2.6, -2.2, 3.0, 3.0)),
    ("muscle", (-4.6, 6.4, 1.8, 1.5)),
    ("muscle", (4.6, 6.4, 1.8, 1.5)),
)
_AIR_MM = (0.3, 5.1)  # squares in the two upper corners, from the edge of the picture
# The body is another in each slice: its scale, and how far its middle lies off, mm.
_SLICES = ((0.95, 0.20, -0.15), (1.0, 0.0, 0.0), (0.97, -0.15, 0.10))


@dataclass(frozen=True, slots=True)
class Mouse:
    """A mouse whose truth is known.

    Attributes
    ----------
    number : int
        From 1; 0 is the typical mouse, without scatter.
    tissues : tuple of Tissue
    agent : Agent
        What was injected.
    size : float
        Of the body, relative to the typical one.
    scan : AnimalScan
    """

    number: int
    tissues: tuple[Tissue, ...]
    agent: Agent
    size: float
    scan: AnimalScan

    def tissue(self, name: str) -> Tissue:
        """One tissue by its name; raises `InputError` if there is none."""
        for tissue in self.tissues:
            if tissue.name == name:
                return tissue
        raise InputError(
            f"no tissue {name!r}", field="tissue", expected=", ".join(t.name for t in self.tissues)
        )

    def concentration_mM(self, name: str, time_min: float) -> float:
        """Agent in a tissue: c_peak·√((t/t_p)·exp(1 − t/t_p)), t_p = 60 min; 0 at 0 min, before.

        Raises
        ------
        InputError
            If there is no such tissue, or the time is negative.
        """
        if not 0 <= time_min < math.inf:
            raise InputError(f"{time_min!r} min", field="time_min", expected="0 (before) or later")
        t = time_min / _PEAK_MIN
        return float(self.tissue(name).peak_mM * (t * math.exp(1 - t)) ** _RISE)

    def rates(self, name: str, time_min: float) -> tuple[float, float]:
        """R1 and R2 of a tissue, s⁻¹: R = R_0 + r·c."""
        tissue, c = self.tissue(name), self.concentration_mM(name, time_min)
        return tissue.R1 + self.agent.r1 * c, tissue.R2 + self.agent.r2 * c

    def signal(self, name: str, time_min: float, protocol: Protocol | None = None) -> Array:
        """Noise-free spin echo in units of S0 = 1: S0·(1 − exp(−TR·R1))·exp(−TE·R2), (n,).

        Without a protocol that of the T2-weighted image, n = 1.
        """
        if protocol is None:
            protocol = Protocol(TE=self.scan.TE, TR=self.scan.TR)
        R1, R2 = self.rates(name, time_min)
        signal: Array = (
            self.tissue(name).S0 * -np.expm1(-protocol.TR * R1) * np.exp(-protocol.TE * R2)
        )
        return signal

    @property
    def voxel(self) -> float:
        """Edge of a voxel in the plane, mm."""
        return self.scan.field_of_view / self.scan.matrix

    @property
    def affine(self) -> Affine:
        """Of the axial slices, centred in the magnet."""
        scan = self.scan
        return axial_affine(scan.matrix, self.voxel, scan.slice_thickness, scan.slices)

    @property
    def labels(self) -> NDArray[np.int16]:
        """(x, y, z) regions as drawn on the image before: numbers of :data:`REGIONS`, 0 outside."""
        return _labels(self.scan, self.size)

    def shares(
        self, shift_mm: tuple[float, float] = (0.0, 0.0), rotation_deg: float = 0.0
    ) -> Array:
        """(tissue, x, y, z) share of each voxel that each tissue fills, in the order of `tissues`.

        Parameters
        ----------
        shift_mm : (float, float)
            How far the animal lies from where it lay, along x and y.
        rotation_deg : float
            How far it is turned about the centre of the picture, from +x to +y.
        """
        names = tuple(tissue.name for tissue in self.tissues)
        return _shares(self.scan, names, self.size, shift_mm, rotation_deg)

    def __repr__(self) -> str:
        peak = self.concentration_mM(REFERENCE, _PEAK_MIN)
        return f"Mouse {self.number}: {self.agent.name}, {peak:.3g} mM in the liver at the peak"


def typical_mouse(protocol: str = "liver-7T", agent: Agent = C3) -> Mouse:
    """The mouse that the others scatter about.

    Raises
    ------
    InputError
        If there is no such protocol.
    """
    if protocol not in SCANS:
        raise InputError(f"no protocol {protocol!r}", field="protocol", expected=", ".join(SCANS))
    tissues = tuple(
        Tissue(name, S0, 1 / T1, 1 / T2, peak) for name, (S0, T1, T2, peak) in _TYPICAL.items()
    )
    return Mouse(0, tissues, agent, 1.0, SCANS[protocol])


def mice(
    n: int = 5, seed: int = 0, protocol: str = "liver-7T", agent: Agent = C3
) -> tuple[Mouse, ...]:
    """Mice that differ as animals do: uptake by 8 %, T1 by 3 %, T2 by 2 %, size by 2 % (SD).

    Parameters
    ----------
    n : int
    seed : int
        Of the scatter; the first mice are the same however many there are.
    protocol : str
        A name in :data:`SCANS`.
    agent : Agent

    Raises
    ------
    InputError
        If there is no such protocol, or `n` is not a whole number from 1.
    """
    if n != int(n) or n < 1:
        raise InputError(f"{n!r} mice", field="n", expected="a whole number from 1")
    typical = typical_mouse(protocol, agent)
    return tuple(_scattered(typical, number, seed) for number in range(1, int(n) + 1))


def _scattered(typical: Mouse, number: int, seed: int) -> Mouse:
    rng = np.random.default_rng((seed, 4, number))

    def factors(count: int, sd: float) -> Array:
        return 1 + sd * np.clip(rng.normal(0, 1, count), -_CUT, _CUT)

    (size,) = factors(1, _SD_SIZE)
    (uptake,) = factors(1, _SD_UPTAKE)  # of the whole animal: what was injected, and how much stays
    T1 = factors(len(typical.tissues), _SD_T1)
    T2 = factors(len(typical.tissues), _SD_T2)
    tissues = tuple(
        Tissue(t.name, t.S0, t.R1 / float(t1), t.R2 / float(t2), t.peak_mM * float(uptake))
        for t, t1, t2 in zip(typical.tissues, T1, T2, strict=True)
    )
    return replace(typical, number=number, tissues=tissues, size=float(size))


def truth(
    animals: Iterable[Mouse], snr: float = 150, times_min: Sequence[float] | None = None
) -> pd.DataFrame:
    """What is to be measured: per animal, time and region, before (0 min) and after.

    Parameters
    ----------
    animals : iterable of Mouse
    snr : float
        S0/σ of water.
    times_min : sequence of float, optional
        Times after the injection, min, instead of those of each mouse's protocol.

    Returns
    -------
    DataFrame
        ``animal``, ``agent``, ``time_min`` and ``region``; ``concentration_mM``; ``R1_per_s``,
        ``R2_per_s`` and their rise ``dR1_per_s``, ``dR2_per_s``, ``dR2_dR1`` (NaN before); of the
        T2-weighted image the noise-free ``signal`` in units of S0 = 1, ``SNR`` = signal/σ, its
        signed change ``dSNR_signed``; ``CNR_relative`` = |SNR_tumour − SNR_region|/SNR_tumour (NaN
        for the tumour), its change ``dCNR`` = |after − before|/before, and ``dCNR_signed``.
    """
    rows = [
        _row(mouse, time, name, snr)
        for mouse in animals
        for time in (0.0, *(mouse.scan.times_min if times_min is None else times_min))
        for name in REGIONS
        if name != "air"
    ]
    return pd.DataFrame(rows)


def _row(mouse: Mouse, time: float, name: str, snr: float) -> dict[str, object]:
    (R1_0, R2_0), (R1, R2) = mouse.rates(name, 0), mouse.rates(name, time)
    before, after = (float(mouse.signal(name, t)[0]) for t in (0, time))
    cnr_before, cnr = (_cnr(mouse, name, t) for t in (0, time))
    return {
        "animal": mouse.number,
        "agent": mouse.agent.name,
        "time_min": time,
        "region": name,
        "concentration_mM": mouse.concentration_mM(name, time),
        "R1_per_s": R1,
        "R2_per_s": R2,
        "dR1_per_s": R1 - R1_0,
        "dR2_per_s": R2 - R2_0,
        "dR2_dR1": (R2 - R2_0) / (R1 - R1_0) if R1 > R1_0 else math.nan,
        "signal": after,
        "SNR": after * snr,
        "dSNR_signed": after / before - 1,
        "CNR_relative": cnr,
        "dCNR": abs(cnr / cnr_before - 1),
        "dCNR_signed": cnr / cnr_before - 1,
    }


def _cnr(mouse: Mouse, name: str, time: float) -> float:
    """The noise cancels, so signals do for SNRs."""
    if name == TARGET:
        return math.nan
    target, reference = (float(mouse.signal(region, time)[0]) for region in (TARGET, name))
    return abs(target - reference) / target


# Each image of an animal that lies still needs the same ellipses: more work than its noise.
@lru_cache(maxsize=8)
def _labels(scan: AnimalScan, size: float) -> NDArray[np.int16]:
    labels = np.zeros((scan.matrix, scan.matrix, scan.slices), dtype=np.int16)
    for z in range(scan.slices):
        for name, ellipse in _DRAWN:
            labels[_share(scan, z, size, ellipse, (0.0, 0.0), 0.0) >= 0.5, z] = REGIONS[name]
    near, far = (round(mm * scan.matrix / scan.field_of_view) for mm in _AIR_MM)
    labels[near:far, near:far] = labels[-far:-near, near:far] = REGIONS["air"]
    labels.flags.writeable = False
    return labels


@lru_cache(maxsize=8)
def _shares(
    scan: AnimalScan,
    names: tuple[str, ...],
    size: float,
    shift_mm: tuple[float, float],
    rotation_deg: float,
) -> Array:
    shares = np.zeros((len(names), scan.matrix, scan.matrix, scan.slices))
    for z in range(scan.slices):
        for name, ellipse in _ANATOMY:
            share = _share(scan, z, size, ellipse, shift_mm, rotation_deg)
            shares[..., z] *= 1 - share  # what is painted covers what lay there
            shares[names.index(name), ..., z] += share
    shares.flags.writeable = False
    return shares


def _share(
    scan: AnimalScan,
    z: int,
    size: float,
    ellipse: Sequence[float],
    shift_mm: tuple[float, float],
    rotation_deg: float,
) -> Array:
    """(x, y) share of each voxel of a slice inside an ellipse of the anatomy, moved."""
    x, y, a, b = ellipse
    scale, dx, dy = _SLICES[z % len(_SLICES)]
    scale *= size
    x, y = scale * x + dx, scale * y + dy
    cos, sin = math.cos(math.radians(rotation_deg)), math.sin(math.radians(rotation_deg))
    x, y = cos * x - sin * y + shift_mm[0], sin * x + cos * y + shift_mm[1]
    voxel, middle = scan.field_of_view / scan.matrix, (scan.matrix - 1) / 2
    return ellipse_share(
        scan.matrix,
        x / voxel + middle,
        y / voxel + middle,
        scale * a / voxel,
        scale * b / voxel,
        rotation_deg,
    )
