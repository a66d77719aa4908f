"""Digital phantoms: `Series` of tubes whose agent, concentration, T1 and T2 are known exactly.

The signal equations are written out here and not taken from the models, so that fitting a simulated
scan tests the models too. Arrays only: :mod:`relaxometry.sample` writes them to files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import InputError
from .geometry import Affine
from .models import SignalModel
from .scanner import BRIGHTEST, axial_affine, digitised, ellipse_share, rician
from .series import Protocol, Provenance, Series

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Agent:
    """A contrast agent: its name and its relaxivities r1, r2 in mM⁻¹ s⁻¹."""

    name: str
    r1: float
    r2: float


@dataclass(frozen=True, slots=True)
class TubeSpec:
    """A tube whose truth is known.

    Attributes
    ----------
    number : int
        From 1, by rows as seen in the picture.
    agent : str
        Name of the agent, or ``"blank"``.
    concentration_mM : float
    R1, R2 : float
        R = R_0 + r·c, in s⁻¹.
    x, y, radius : float
        Circle in mm along a row and down a column, from the centre of the first voxel.
    """

    number: int
    agent: str
    concentration_mM: float
    R1: float
    R2: float
    x: float
    y: float
    radius: float


@dataclass(frozen=True, slots=True)
class Scan:
    """How a phantom is scanned: one square slice, a T2 and a T1 series.

    Attributes
    ----------
    field_T : float
    matrix : int
        Voxels along x and y.
    field_of_view, slice_thickness : float
        In mm.
    T2, T1 : Protocol
        Of the multi-echo spin echo, and of the inversion recovery or variable TR.
    """

    field_T: float
    matrix: int
    field_of_view: float
    slice_thickness: float
    T2: Protocol
    T1: Protocol


_MESE = Protocol(TE=np.arange(10, 161, 10) / 1e3, TR=3.0)
_IR = Protocol(TE=0.008, TI=(0.05, 0.1, 0.2, 0.4, 0.7, 1.1, 1.7, 2.5, 3.5, 5.0), TR=8.0)
_VTR = Protocol(TE=0.008, TR=(0.2, 0.4, 0.7, 1.2, 2.0, 3.2, 5.0, 8.0))

SCANS: Mapping[str, Scan] = MappingProxyType(
    {
        "seed-7T": Scan(7.0, 256, 40.0, 3.0, _MESE, _IR),
        "seed-7T-vtr": Scan(7.0, 256, 40.0, 3.0, _MESE, _VTR),
        "small": Scan(7.0, 64, 40.0, 3.0, _MESE, _IR),
        "small-vtr": Scan(7.0, 64, 40.0, 3.0, _MESE, _VTR),
    }
)

# r2 as measured at 7 T (Zhou et al., Nat Commun 8:15468, 2017), where r1 is not given. Ours are
# plausible: at 7 T iron oxides have an r1 of order 0.5–3, because the longitudinal relaxation by
# their large moment is dispersed away; it falls with the size of the core and, in a cluster, with
# the share of iron that water can reach.
AGENTS = (Agent("IO-5", 2.8, 70.2), Agent("C1", 2.0, 231.6), Agent("C3", 1.5, 533.4))
CONCENTRATIONS_mM = (0.4, 0.2, 0.1, 0.05, 0.025)
BLANK = "blank"
# 1 % agarose at 7 T and room temperature, s⁻¹.
R1_0, R2_0 = 0.40, 9.0

_PITCH, _RADIUS = 9.0, 3.0  # mm, from tube to tube and of the bore
_EFFICIENCY = 0.96  # of the inversion


@dataclass(frozen=True, slots=True)
class Phantom:
    """Tubes in air, and how they are scanned.

    Attributes
    ----------
    scan : Scan
    agents : tuple of Agent
    tubes : tuple of TubeSpec
        The truth.
    R1_0, R2_0 : float
        Rates of the medium without agent, s⁻¹.
    """

    scan: Scan
    agents: tuple[Agent, ...]
    tubes: tuple[TubeSpec, ...]
    R1_0: float
    R2_0: float

    @property
    def voxel(self) -> float:
        """Edge of a voxel in the plane, mm."""
        return self.scan.field_of_view / self.scan.matrix

    @property
    def affine(self) -> Affine:
        """Of an axial slice centred in the magnet: +x to the patient's left, +y to the back."""
        return axial_affine(self.scan.matrix, self.voxel, self.scan.slice_thickness)

    @property
    def labels(self) -> NDArray[np.int16]:
        """(x, y, 1) number of the tube that fills at least half of the voxel; 0 for air."""
        labels = np.zeros((self.scan.matrix, self.scan.matrix, 1), dtype=np.int16)
        for tube, share in zip(self.tubes, self._shares(), strict=True):
            labels[share >= 0.5, 0] = tube.number
        return labels

    def _shares(self) -> Array:
        """(tube, x, y) share of each voxel that each tube fills."""
        n, voxel = self.scan.matrix, self.voxel
        return np.stack(
            [
                ellipse_share(n, t.x / voxel, t.y / voxel, t.radius / voxel, t.radius / voxel)
                for t in self.tubes
            ]
        )

    def __repr__(self) -> str:
        names = ", ".join(agent.name for agent in self.agents)
        return f"Phantom: {len(self.tubes)} tubes, {names}, {self.scan.field_T:g} T"


def phantom(
    protocol: str = "seed-7T",
    agents: Sequence[Agent] = AGENTS,
    concentrations_mM: Sequence[float] = CONCENTRATIONS_mM,
    R1_0: float = R1_0,
    R2_0: float = R2_0,
) -> Phantom:
    """A square grid of tubes: every agent at every concentration, then one blank.

    Parameters
    ----------
    protocol : str
        A name in :data:`SCANS`.
    agents : sequence of Agent
    concentrations_mM : sequence of float
        Of each agent, in the order of the tubes.
    R1_0, R2_0 : float
        Rates of the medium, s⁻¹.

    Raises
    ------
    InputError
        If there is no such protocol, or the tubes do not fit the field of view.
    """
    if protocol not in SCANS:
        raise InputError(f"no protocol {protocol!r}", field="protocol", expected=", ".join(SCANS))
    scan = SCANS[protocol]
    contents = [(agent, c) for agent in agents for c in concentrations_mM]
    contents.append((Agent(BLANK, 0.0, 0.0), 0.0))
    side = math.ceil(math.sqrt(len(contents)))
    if (side - 1) * _PITCH + 2 * _RADIUS > scan.field_of_view:
        raise InputError(
            f"{len(contents)} tubes, blank included",
            expected=f"at most {int((scan.field_of_view - 2 * _RADIUS) / _PITCH + 1) ** 2}, "
            f"{_PITCH:g} mm apart in {scan.field_of_view:g} mm",
        )
    first = (scan.field_of_view - scan.field_of_view / scan.matrix - (side - 1) * _PITCH) / 2
    tubes = tuple(
        TubeSpec(
            number=i + 1,
            agent=agent.name,
            concentration_mM=c,
            R1=R1_0 + agent.r1 * c,
            R2=R2_0 + agent.r2 * c,
            x=first + i % side * _PITCH,
            y=first + i // side * _PITCH,
            radius=_RADIUS,
        )
        for i, (agent, c) in enumerate(contents)
    )
    return Phantom(scan, tuple(agents), tubes, R1_0, R2_0)


def mese(phantom: Phantom, seed: int, snr: float = 150) -> Series:
    """Multi-echo spin echo: S0·exp(−TE/T2)·(1 − exp(−TR/T1)).

    Parameters
    ----------
    phantom : Phantom
    seed : int
        Of the noise; the same seed gives T1 and T2 series independent noise.
    snr : float
        S0/σ.

    Returns
    -------
    Series
        Magnitudes in whole numbers of 12 bits, as a scanner writes them.
    """
    protocol = phantom.scan.T2
    R1, R2 = _rates(phantom)
    signal = np.exp(-protocol.TE * R2) * -np.expm1(-protocol.TR * R1)
    return _scanned(phantom, protocol, signal, snr, np.random.default_rng((seed, 2)))


def t1_series(phantom: Phantom, seed: int, snr: float = 150) -> Series:
    """Inversion recovery or variable TR, whichever the phantom's protocol has.

    |S0·(1 − (1+ε)·exp(−TI/T1) + exp(−TR/T1))|·exp(−TE/T2) with ε = 0.96, or
    S0·(1 − exp(−TR/T1))·exp(−TE/T2). Parameters and result as in :func:`mese`.
    """
    protocol = phantom.scan.T1
    R1, R2 = _rates(phantom)
    if protocol.TI is None:
        recovered = -np.expm1(-protocol.TR * R1)
    else:
        recovered = 1 - (1 + _EFFICIENCY) * np.exp(-protocol.TI * R1) + np.exp(-protocol.TR * R1)
    signal = recovered * np.exp(-protocol.TE * R2)
    return _scanned(phantom, protocol, signal, snr, np.random.default_rng((seed, 1)))


def series_from_maps(
    model: SignalModel,
    protocol: Protocol,
    T: ArrayLike,
    amplitudes: ArrayLike,
    sigma: float,
    seed: int,
    signed: bool = False,
) -> Series:
    """A series of any model, from maps of its parameters.

    Parameters
    ----------
    model : SignalModel
    protocol : Protocol
        n images.
    T : array_like (x, y) or (x, y, z)
        Time constant in s.
    amplitudes : array_like (…, p)
        The model's amplitudes, on the grid of `T`.
    sigma : float
        σ of each channel, in the units of the amplitudes.
    seed : int
        Of the noise.
    signed : bool
        Gaussian noise on the signed signal; otherwise magnitudes with Rician noise.

    Returns
    -------
    Series
        Not rounded.
    """
    signal = model.signal(protocol, np.asarray(T, dtype=float), np.asarray(amplitudes, dtype=float))
    rng = np.random.default_rng(seed)
    noisy = signal + rng.normal(0, sigma, signal.shape) if signed else rician(signal, sigma, rng)
    return Series(
        noisy.astype(np.float32),
        protocol,
        signed=signed,
        provenance=Provenance(source="simulation"),
    )


def _rates(phantom: Phantom) -> tuple[Array, Array]:
    """R1 and R2 of the tubes, (tube, 1) each, s⁻¹."""
    rates = np.array([[tube.R1, tube.R2] for tube in phantom.tubes])
    return rates[:, :1], rates[:, 1:]


def _scanned(
    phantom: Phantom, protocol: Protocol, signal: Array, snr: float, rng: np.random.Generator
) -> Series:
    """The series of tubes with this signal (tube, n), in units of S0, as a scanner writes it."""
    # The receiver gain is set for each scan, so that its brightest voxel nearly fills the 12 bits.
    S0 = BRIGHTEST / np.abs(signal).max()
    image = np.einsum("txy,tn->xyn", phantom._shares(), S0 * signal)
    return Series(
        digitised(rician(image, S0 / snr, rng)).astype(np.float32),
        protocol,
        affine=phantom.affine,
        signed=False,
        field_T=phantom.scan.field_T,
        sequence="SE",
        provenance=Provenance(source="simulation", origin={"signed": "simulated magnitudes"}),
    )
