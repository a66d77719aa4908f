"""Every closed-form T1 and T2 model: each is its basis, one equation on one screen.

A model is linear in its amplitudes once its one time constant T is fixed, so it *is* the matrix
whose columns multiply the amplitudes. It knows nothing of images, files or solvers. To add one,
subclass :class:`SignalModel`; ``fit_maps(series, MyModel())`` takes an instance, and a model in
:data:`MODELS` also has a name on the command line and is covered by every test over the models.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from .errors import InputError, ProtocolError
from .series import Protocol

Array = NDArray[np.float64]

_LONGEST_SPOILED_TR = 2.0  # s; spoiled gradient echoes follow each other in 2 to 500 ms


class SignalModel(ABC):
    """An equation S(protocol; T, amplitudes), linear in its amplitudes.

    Attributes
    ----------
    name : str
        Key on the command line and in files, e.g. ``"t2"``.
    reads : tuple of str
        Settings it needs: the swept one first, then those it uses where they are known.
    time : str
        Symbol of its time constant, ``"T1"``, ``"T2"`` or ``"T2star"``.
    amplitudes : tuple of str
        Names of the linear parameters, one per column of the basis; the first is positive.
    kinds : tuple of str
        Kinds of series it is the default for.
    inverts : bool
        Whether its signal changes sign over the sweep, so that magnitude data lose their polarity.
        It must then be negative before and positive after one value of the swept setting.
    offset_of : str
        Name of the model it adds an offset to, one more amplitude; empty for all others.
    equation, source : str
        For people: what is fitted, and who says so.
    """

    name: ClassVar[str]
    reads: ClassVar[tuple[str, ...]]
    time: ClassVar[str]
    amplitudes: ClassVar[tuple[str, ...]]
    kinds: ClassVar[tuple[str, ...]] = ()
    inverts: ClassVar[bool] = False
    offset_of: ClassVar[str] = ""
    equation: ClassVar[str]
    source: ClassVar[str]

    @abstractmethod
    def basis(self, protocol: Protocol, T: Array) -> Array:
        """Columns that multiply the amplitudes.

        Parameters
        ----------
        protocol : Protocol
            n images.
        T : ndarray of shape (g,)
            Time constants in s.

        Returns
        -------
        ndarray of shape (g, n, p)
        """

    def bounds(self, protocol: Protocol) -> tuple[float, float]:
        """Range of T searched, in s: from 1/20 of the shortest to 50 × the longest time.

        Beyond it the signal is gone before the first image, or does not change over them all.
        """
        times = getattr(protocol, self.reads[0])
        return float(times[times > 0].min()) / 20, float(times.max()) * 50

    def ratio(self, protocol: Protocol) -> tuple[float, float] | None:
        """Range allowed for (second amplitude)/(first amplitude), or None."""
        return None

    def derived(
        self, protocol: Protocol, amplitudes: Array, covariance: Array
    ) -> dict[str, tuple[Array, Array]]:
        """What follows from amplitudes (…, p) and covariance (…, p, p): name → value, stderr."""
        return {}

    def signal(self, protocol: Protocol, T: Array, amplitudes: Array) -> Array:
        """Signal (…, n) for time constants (…) in s and amplitudes (…, p)."""
        T, amplitudes = np.asarray(T, dtype=float), np.asarray(amplitudes, dtype=float)
        columns = self.basis(protocol, T.ravel())
        flat = np.einsum("gnp,gp->gn", columns, amplitudes.reshape(T.size, -1))
        signal: Array = flat.reshape(*T.shape, -1)
        return signal

    def check(self, protocol: Protocol) -> None:
        """Raise `ProtocolError` unless the protocol sweeps what the model reads, and has enough."""
        if protocol.swept != self.reads[0]:
            raise ProtocolError(
                f"model {self.name} with a sweep of {protocol.swept}",
                expected=f"a sweep of {self.reads[0]}",
                hint="choose a model with `relaxometry models`",
            )

    def __repr__(self) -> str:
        return f"{type(self).__name__}: {self.name}, {self.equation}"


class SpinEchoDecay(SignalModel):
    """Mono-exponential T2 of a multi-echo spin echo."""

    name = "t2"
    reads = ("TE",)
    time = "T2"
    amplitudes = ("S0",)
    kinds = ("MESE",)
    equation = "S = S0·exp(−TE/T2)"
    source = "Carr & Purcell, Phys Rev 94:630 (1954); Meiboom & Gill, Rev Sci Instrum 29:688 (1958)"

    def basis(self, protocol: Protocol, T: Array) -> Array:
        decay: Array = np.exp(-protocol.TE / T[:, None])
        return decay[..., None]


class InversionRecovery(SignalModel):
    """T1 by inversion recovery, for any TR: constant, short, or different for each TI.

    With TR unknown, e^(−TR/T1) is taken as 0: the same space of signals where TR is constant.
    """

    name = "t1_ir"
    reads = ("TI", "TR")
    time = "T1"
    amplitudes = ("S0", "B")
    kinds = ("IRT1",)
    inverts = True
    equation = "S = S0·(1 + exp(−TR/T1)) − B·exp(−TI/T1)"
    source = "Barral et al., Magn Reson Med 64:1057 (2010), over all monotone sign patterns"

    def basis(self, protocol: Protocol, T: Array) -> Array:
        recovery = 0.0 if protocol.TR is None else np.exp(-protocol.TR / T[:, None])
        inversion = np.exp(-protocol.TI / T[:, None])
        return np.stack([np.broadcast_to(1 + recovery, inversion.shape), -inversion], axis=-1)

    def ratio(self, protocol: Protocol) -> tuple[float, float]:
        # B/S0 = 1 + ε. Without a bound on the inversion efficiency ε, tubes whose T1 is far below
        # the first TI come out with ε = 12 and a tiny error; real scans do reach 1.3, because the
        # TI of the header is not the exact one. With TR unknown the first amplitude stands for
        # S0·(1 + e^(−TR/T1)) ≤ 2·S0, which lowers the least ratio to a half.
        return (1.0 if protocol.TR is not None else 0.5), 2.5

    def derived(
        self, protocol: Protocol, amplitudes: Array, covariance: Array
    ) -> dict[str, tuple[Array, Array]]:
        if protocol.TR is None:  # then S0 stands for S0·(1 + e^(−TR/T1)), and ε is not known
            return {}
        S0, B = amplitudes[..., 0], amplitudes[..., 1]
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = B / S0
            # The gradient of B/S0 is (−B/S0, 1)/S0.
            variance = covariance[..., 1, 1] - 2 * ratio * covariance[..., 0, 1]
            variance += ratio**2 * covariance[..., 0, 0]
            return {"efficiency": (ratio - 1, np.sqrt(variance) / np.abs(S0))}


class SaturationRecovery(SignalModel):
    """T1 by saturation recovery or variable repetition time (Bruker RARE-VTR)."""

    name = "t1_sr"
    reads = ("TR",)
    time = "T1"
    amplitudes = ("S0",)
    kinds = ("VTR",)
    equation = "S = S0·(1 − exp(−TR/T1))"
    source = "Markley, Horsley & Klein, J Chem Phys 55:3604 (1971)"

    def basis(self, protocol: Protocol, T: Array) -> Array:
        recovery: Array = -np.expm1(-protocol.TR / T[:, None])
        return recovery[..., None]


class SpinEchoDecayOffset(SignalModel):
    """T2 on an offset, which takes up a noise floor or a slow compartment; negative if need be.

    The floor of a magnitude image lies under its weak echoes only. Taken for a constant it makes
    T2 too short, where `t2` makes it too long: at TE = 10 … 160 ms and S0/σ = 100, by 8 % for
    T2 = 10 ms (`t2`: 3 %), by 4 % for 20 ms (1 %).
    """

    name = "t2_offset"
    reads = ("TE",)
    time = "T2"
    amplitudes = ("S0", "C")
    offset_of = "t2"
    equation = "S = S0·exp(−TE/T2) + C"
    source = "Milford et al., PLoS ONE 10:e0145255 (2015)"

    def basis(self, protocol: Protocol, T: Array) -> Array:
        decay = np.exp(-protocol.TE / T[:, None])
        return np.stack([decay, np.ones_like(decay)], axis=-1)

    def check(self, protocol: Protocol) -> None:
        super().check(protocol)
        # Three echoes are met by its three parameters whatever they say, and betray nothing.
        if len(protocol) < 4:
            raise ProtocolError(
                f"{len(protocol)} echoes for the three parameters of {self.name}",
                expected="at least 4",
                hint="fit t2",
            )


class GradientEchoDecay(SignalModel):
    """Mono-exponential T2* of a multi-echo gradient echo."""

    name = "t2star"
    reads = ("TE",)
    time = "T2star"
    amplitudes = ("S0",)
    kinds = ("MEGRE",)
    equation = "S = S0·exp(−TE/T2*)"
    source = "Chavhan et al., RadioGraphics 29:1433 (2009)"

    def basis(self, protocol: Protocol, T: Array) -> Array:
        decay: Array = np.exp(-protocol.TE / T[:, None])
        return decay[..., None]


class SaturationRecoveryOffset(SignalModel):
    """T1 by saturation recovery whose saturation is imperfect."""

    name = "t1_sr_offset"
    reads = ("TR",)
    time = "T1"
    amplitudes = ("a", "b")
    offset_of = "t1_sr"
    equation = "S = a + b·exp(−TR/T1)"
    source = "Chow et al., Magn Reson Med 71:2082 (2014)"

    def basis(self, protocol: Protocol, T: Array) -> Array:
        recovery = np.exp(-protocol.TR / T[:, None])
        return np.stack([np.ones_like(recovery), recovery], axis=-1)

    def ratio(self, protocol: Protocol) -> tuple[float, float]:
        # The magnetisation starts at a + b: at 0 after a perfect saturation (b = −a), at −a where
        # the pulse inverted it altogether (b = −2a), at a where it did nothing (b = 0). What lies
        # beyond is no recovery.
        return -2.0, 0.0


class VariableFlipAngle(SignalModel):
    """T1 by spoiled gradient echoes of several flip angles; the repetition time must be known."""

    name = "t1_vfa"
    reads = ("FA", "TR")
    time = "T1"
    amplitudes = ("S0",)
    kinds = ("VFA",)
    equation = "S = S0·sin α·(1−E1)/(1−E1·cos α), E1 = exp(−TR/T1)"
    source = "Gupta, J Magn Reson 25:231 (1977); Deoni et al., Magn Reson Med 49:515 (2003)"

    def basis(self, protocol: Protocol, T: Array) -> Array:
        angle = np.deg2rad(protocol.FA)
        recovered = -np.expm1(-protocol.TR / T[:, None])
        # 1 − E1·cos α as a sum of what is small where T1 ≫ TR and α is small: no digit is lost.
        steady = recovered + (1 - recovered) * 2 * np.sin(angle / 2) ** 2
        signal: Array = np.sin(angle) * recovered / steady
        return signal[..., None]

    def bounds(self, protocol: Protocol) -> tuple[float, float]:
        """Range of T1 searched, in s, from TR: the angles are no times.

        Below TR/10 the magnetisation is back before each pulse, whatever T1. Once
        T1 ≫ TR/(1 − cos α) the signal is S0·sin α/(1 − cos α)·TR/T1: its shape over the angles
        says no more of T1, which goes into S0. 50 times that, for the least angle, is the end.
        """
        lowest = 2 * np.sin(np.deg2rad(protocol.FA.min()) / 2) ** 2
        return float(protocol.TR.min()) / 10, float(50 * protocol.TR.max() / lowest)

    def check(self, protocol: Protocol) -> None:
        super().check(protocol)
        if protocol.TR is None:
            raise ProtocolError(
                f"model {self.name} without a repetition time",
                field="TR",
                expected="the TR of the images, in s",
                hint="give it by hand: tr, --tr, or Protocol(FA=…, TR=0.015)",
            )
        if protocol.TR.max() > _LONGEST_SPOILED_TR:
            raise ProtocolError(
                f"{protocol.TR.max():g} s between small flip angles",
                field="TR",
                expected="seconds, not milliseconds (15 ms is 0.015)",
            )
        if protocol.FA.max() < 1.6:
            raise ProtocolError(
                f"no flip angle above {protocol.FA.max():.3g}°",
                field="FA",
                expected="degrees, not radians",
            )
        if protocol.FA.max() >= 180:
            raise ProtocolError(
                f"{protocol.FA.max():g}°", field="FA", expected="flip angles below 180°"
            )


MODELS: tuple[SignalModel, ...] = (
    SpinEchoDecay(),
    InversionRecovery(),
    SaturationRecovery(),
    SpinEchoDecayOffset(),
    GradientEchoDecay(),
    SaturationRecoveryOffset(),
    VariableFlipAngle(),
)


def model_for(kind: str) -> SignalModel:
    """The default model of a kind of series; raises `InputError` if there is none."""
    for model in MODELS:
        if kind in model.kinds:
            return model
    raise InputError(
        f"no model fits a {kind} series yet",
        expected=" or ".join(kind for model in MODELS for kind in model.kinds),
    )


def as_model(model: str | SignalModel) -> SignalModel:
    """A model from its name, or the instance itself; raises `InputError` if there is no such."""
    if isinstance(model, SignalModel):
        return model
    for known in MODELS:
        if known.name == model:
            return known
    raise InputError(
        f"no model {model!r}", field="model", expected=", ".join(m.name for m in MODELS)
    )
