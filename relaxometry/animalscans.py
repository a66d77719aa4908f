"""Images of simulated mice: T2-weighted before and after, T2 and T1 series, and what goes wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .animals import REGIONS, TARGET, Mouse, typical_mouse
from .errors import InputError
from .geometry import Affine
from .jupyter import Shown
from .scanner import Array, axial_affine, digitised, rician
from .series import Protocol, Provenance, Series

# Counts of S0 = 1. The receiver's gain is set once, so that the brightest image of an animal, the
# longest TR at the shortest TE, fits into 12 bits.
_S0 = 3200.0
_T2W, _T2, _T1 = 0, 1, 2  # streams of noise


@dataclass(frozen=True, slots=True)
class Session:
    """How an image came out otherwise than it should; by default nothing is wrong.

    Attributes
    ----------
    shift_mm : (float, float)
        How far the animal lies from where the regions were drawn, along x and y.
    rotation_deg : float
        How far it is turned about the centre of the picture, from +x to +y. It is drawn anew
        there; no image is interpolated.
    gain : float
        Of the receiver, relative to the other session: scales signal and noise.
    ghost : float
        Fraction of the signal that appears half a field of view further along y.
    coils : int
        Receiver coils, combined by root sum of squares.
    bias : float
        Sensitivity lost from the middle of the picture to its lower edge, and gained to its upper
        one, as a fraction: 0.3 is 1.3 at the top and 0.7 at the bottom. The noise is not scaled.
    masked : bool
        The background was set to 0.

    Raises
    ------
    InputError
        If a value cannot be.
    """

    shift_mm: tuple[float, float] = (0.0, 0.0)
    rotation_deg: float = 0.0
    gain: float = 1.0
    ghost: float = 0.0
    coils: int = 1
    bias: float = 0.0
    masked: bool = False

    def __post_init__(self) -> None:
        motion = (*self.shift_mm, self.rotation_deg)
        checks = {
            "shift_mm, rotation_deg": (
                len(motion) == 3 and all(map(math.isfinite, motion)),
                "three finite numbers: x, y and an angle",
            ),
            "gain": (0 < self.gain < math.inf, "a positive number"),
            "ghost": (0 <= self.ghost < 1, "a fraction from 0 to below 1"),
            "coils": (self.coils >= 1 and self.coils == int(self.coils), "a whole number from 1"),
            "bias": (-1 < self.bias < 1, "a fraction between -1 and 1"),
        }
        for field, (good, expected) in checks.items():
            if not good:
                found = motion if "," in field else getattr(self, field)
                raise InputError(f"{found!r}", field=field, expected=expected)


_USUAL = Session()


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class InVivo(Shown):
    """T2-weighted magnitudes of one mouse, before and after an injection.

    Attributes
    ----------
    mouse : Mouse
        The truth.
    images : ndarray of int16 (x, y, z, time)
        In whole numbers of 12 bits; the first was taken before.
    times_min : tuple of float
        Time after the injection of each image, min; 0 for before.
    sigma : float
        σ of each channel at gain 1, in the units of the images.
    labels : ndarray of int16 (x, y, z)
        Regions as drawn on the image before: the numbers of :data:`relaxometry.animals.REGIONS`.
    """

    mouse: Mouse
    images: NDArray[np.int16]
    times_min: tuple[float, ...]
    sigma: float
    labels: NDArray[np.int16]

    @property
    def affine(self) -> Affine:
        """Voxel indices → mm, RAS."""
        return self.mouse.affine

    @property
    def pre(self) -> NDArray[np.int16]:
        """(x, y, z) image before the injection."""
        return self.images[..., 0]

    def post(self, time_min: float) -> NDArray[np.int16]:
        """(x, y, z) image at a time; raises `InputError` if none was taken then."""
        if time_min not in self.times_min[1:]:
            raise InputError(
                f"no image at {time_min:g} min",
                expected=", ".join(f"{t:g}" for t in self.times_min[1:]),
            )
        return self.images[..., self.times_min.index(time_min)]

    def region(self, name: str) -> NDArray[np.bool_]:
        """(x, y, z) mask of one of tumour, liver, air and muscle."""
        if name not in REGIONS:
            raise InputError(f"no region {name!r}", field="region", expected=", ".join(REGIONS))
        mask: NDArray[np.bool_] = self.labels == REGIONS[name]
        return mask

    def __repr__(self) -> str:
        x, y, z = self.labels.shape
        times = ", ".join(f"{t:g}" for t in self.times_min[1:])
        snr = float(self.pre[self.region(TARGET)].mean()) / self.sigma
        return (
            f"InVivo: mouse {self.mouse.number}, {x}×{y}×{z}, T2-weighted before and {times} min "
            f"after {self.mouse.agent.name}, SNR of the tumour {snr:.0f} before"
        )


def t2_weighted(
    mouse: Mouse,
    seed: int,
    snr: float = 150,
    *,
    times_min: Sequence[float] | None = None,
    before: Session = _USUAL,
    after: Session = _USUAL,
) -> InVivo:
    """Scan a mouse before and at every time after the injection.

    Parameters
    ----------
    mouse : Mouse
    seed : int
        Of the noise; every mouse and every image has noise of its own.
    snr : float
        S0/σ of water; a typical tumour has 0.4 of it in the image before.
    times_min : sequence of float, optional
        Times after the injection, min, instead of those of the mouse's protocol. The noise of an
        image is that of its time, whichever others are taken.
    before, after : Session
        What went wrong in the image before, and in all those after.

    Returns
    -------
    InVivo

    Raises
    ------
    InputError
        If `snr` is not positive, or a time is not after the injection.
    """
    taken = mouse.scan.times_min if times_min is None else tuple(map(float, times_min))
    if not all(0 < time < math.inf for time in taken):
        raise InputError(f"{taken}", field="times_min", expected="times after the injection, min")
    sigma, times = _sigma(snr), (0.0, *taken)
    protocol = Protocol(TE=mouse.scan.TE, TR=mouse.scan.TR)
    images = [
        _image(mouse, time, protocol, sigma, session, _noise(seed, _T2W, mouse, time))[..., 0]
        for time, session in zip(times, (before, *[after] * (len(times) - 1)), strict=True)
    ]
    return InVivo(mouse, np.stack(images, axis=-1), times, sigma, mouse.labels)


def mese(mouse: Mouse, time_min: float, seed: int, snr: float = 150) -> Series:
    """Multi-echo spin echo of the centre slice: S0·(1 − exp(−TR·R1))·exp(−TE·R2).

    Parameters
    ----------
    mouse : Mouse
    time_min : float
        After the injection, min; 0 is before.
    seed, snr
        As in :func:`t2_weighted`.

    Returns
    -------
    Series
        One slice; R1 and R2 of each region are those of ``mouse.rates``.
    """
    return _series(mouse, time_min, mouse.scan.T2, snr, _noise(seed, _T2, mouse, time_min))


def t1_vtr(mouse: Mouse, time_min: float, seed: int, snr: float = 150) -> Series:
    """Spin echo with variable TR, of the centre slice; all else as in :func:`mese`."""
    return _series(mouse, time_min, mouse.scan.T1, snr, _noise(seed, _T1, mouse, time_min))


def centre_labels(mouse: Mouse) -> NDArray[np.int16]:
    """(x, y, 1) regions on the slice of :func:`mese` and :func:`t1_vtr`."""
    middle = mouse.scan.slices // 2
    return mouse.labels[..., middle : middle + 1]


def tumour(
    seed: int, snr: float = 150
) -> tuple[NDArray[np.int16], NDArray[np.int16], NDArray[np.int16], Affine]:
    """A tumour in the liver of the typical mouse, T2-weighted, before and 60 min after injection.

    The liver darkens by 63 %, the tumour by 2 %.

    Parameters
    ----------
    seed, snr
        As in :func:`t2_weighted`.

    Returns
    -------
    pre, post : ndarray of int16 (96, 96, 3)
        Magnitudes in whole numbers of 12 bits.
    regions : ndarray of int16 (96, 96, 3)
        1 tumour, 2 liver, 3 air (the upper corners), 4 muscle.
    affine : ndarray (4, 4)
        Axial slices, mm.
    """
    mouse = typical_mouse()
    at = mouse.scan.rate_time_min
    scanned = t2_weighted(mouse, seed, snr, times_min=[at])
    return scanned.pre, scanned.post(at), scanned.labels, scanned.affine


def _noise(seed: int, stream: int, mouse: Mouse, time_min: float) -> np.random.Generator:
    return np.random.default_rng((seed, 5, stream, mouse.number, round(60 * time_min)))


def _sigma(snr: float) -> float:
    if not 0 < snr < math.inf:
        raise InputError(f"{snr!r}", field="snr", expected="a positive number")
    return _S0 / snr


def _image(
    mouse: Mouse,
    time_min: float,
    protocol: Protocol,
    sigma: float,
    session: Session,
    rng: np.random.Generator,
    slices: slice = slice(None),
) -> NDArray[np.int16]:
    """(x, y, z, n) images of the protocol, as a scanner writes them."""
    shares = mouse.shares(session.shift_mm, session.rotation_deg)[..., slices]
    signal: Array = np.stack([mouse.signal(t.name, time_min, protocol) for t in mouse.tissues])
    clean = np.einsum("txyz,tn->xyzn", shares, _S0 * signal)
    outside = clean == 0
    if session.ghost:
        clean = clean + session.ghost * np.roll(clean, mouse.scan.matrix // 2, axis=1)
    if session.bias:
        n = mouse.scan.matrix
        y = (np.arange(n) + 0.5) / n * 2 - 1  # from -1 at the upper edge to 1 at the lower one
        clean = clean * (1 - session.bias * y)[None, :, None, None]
    found = session.gain * rician(clean, sigma, rng, session.coils)
    if session.masked:
        found[outside] = 0
    return digitised(found).astype(np.int16)


def _series(
    mouse: Mouse, time_min: float, protocol: Protocol, snr: float, rng: np.random.Generator
) -> Series:
    middle = mouse.scan.slices // 2
    centre = slice(middle, middle + 1)
    image = _image(mouse, time_min, protocol, _sigma(snr), _USUAL, rng, centre)
    return Series(
        image.astype(np.float32),
        protocol,
        affine=axial_affine(mouse.scan.matrix, mouse.voxel, mouse.scan.slice_thickness),
        signed=False,
        field_T=mouse.scan.field_T,
        sequence="SE",
        provenance=Provenance(source="simulation", origin={"signed": "simulated magnitudes"}),
    )
