"""Curves of which everything is known, for the benchmarks: protocols, signals, noise, true minima.

The equations are written out here once more and not taken from the package, so that a slip in a
model cannot hide in its own benchmark.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import relaxometry as rx

Array = NDArray[np.float64]
S0 = 1000.0
EFFICIENCY = 0.96  # of the inversion
TRAIN = np.arange(10, 161, 10) / 1e3  # 16 echoes, s


@dataclass(frozen=True)
class Case:
    """A model of the package, the protocol it is tried with, and its equation.

    `columns` takes (protocol, T (g, 1)) and gives the columns (g, n, p); `truth` their amplitudes.
    It must hold for complex T, of which the reference takes its derivative.
    """

    model: str
    protocol: rx.Protocol
    T: tuple[float, float]  # of the voxels simulated, s
    columns: Callable[[rx.Protocol, Any], Any]
    truth: tuple[float, ...]
    sequence: str | None = None
    ratio: tuple[float, float] | None = None  # allowed for amplitude 2 / amplitude 1
    inverts: bool = False

    @property
    def times(self) -> Array:
        return self.protocol.times

    @property
    def parameters(self) -> int:
        return 1 + len(self.truth)

    def clean(self, T: Array, truth: tuple[float, ...] | None = None) -> Array:
        """Signal (…, n) without noise, signed."""
        flat = np.ravel(T)[:, None]
        signal = self.columns(self.protocol, flat) @ np.array(truth or self.truth)
        return signal.reshape(*np.shape(T), -1)

    def draw(self, voxels: int, rng: np.random.Generator) -> Array:
        """True time constants, log-uniform."""
        return np.exp(rng.uniform(*np.log(self.T), voxels))

    def series(self, signal: Array, signed: bool = False) -> rx.Series:
        """Curves (V, n) as a Series, square where they fill one."""
        side = round(len(signal) ** 0.5)
        grid = (side, side, 1) if side * side == len(signal) else (len(signal), 1, 1)
        return rx.Series(
            signal.reshape(*grid, -1), self.protocol, sequence=self.sequence, signed=signed
        )


def _decay(protocol, T):
    return np.exp(-protocol.TE / T)[..., None]


def _decay_offset(protocol, T):
    decay = np.exp(-protocol.TE / T)
    return np.stack([decay, np.ones_like(decay)], axis=-1)


def _inversion(protocol, T):
    inversion = np.exp(-protocol.TI / T)
    return np.stack([1 + np.exp(-protocol.TR / T) + 0 * inversion, -inversion], axis=-1)


def _saturation(protocol, T):
    return -np.expm1(-protocol.TR / T)[..., None]


def _saturation_offset(protocol, T):
    recovery = np.exp(-protocol.TR / T)
    return np.stack([np.ones_like(recovery), recovery], axis=-1)


def _spoiled(protocol, T):
    E1, angle = np.exp(-protocol.TR / T), np.deg2rad(protocol.FA)
    return (np.sin(angle) * (1 - E1) / (1 - E1 * np.cos(angle)))[..., None]


_MESE = rx.Protocol(TE=TRAIN, TR=3.0)
_IR = rx.Protocol(TI=(0.05, 0.1, 0.2, 0.4, 0.7, 1.1, 1.7, 2.5, 3.5, 5.0), TR=8.0)
_VTR = rx.Protocol(TR=(0.2, 0.4, 0.7, 1.2, 2.0, 3.2, 5.0, 8.0))
_VFA = rx.Protocol(FA=(2, 5, 10, 15, 20, 30), TR=0.015)
_T1 = (0.1, 2.5)

CASES = (
    Case("t2", _MESE, (0.005, 0.5), _decay, (S0,)),
    Case("t2_offset", _MESE, (0.005, 0.5), _decay_offset, (S0, 50.0)),
    Case("t2star", _MESE, (0.005, 0.5), _decay, (S0,), sequence="GE"),
    Case(
        "t1_ir",
        _IR,
        _T1,
        _inversion,
        (S0, (1 + EFFICIENCY) * S0),
        ratio=(1.0, 2.5),
        inverts=True,
    ),
    Case("t1_sr", _VTR, _T1, _saturation, (S0,)),
    Case("t1_sr_offset", _VTR, _T1, _saturation_offset, (S0, -0.9 * S0), ratio=(-2.0, 0.0)),
    # Of the fully relaxed signal a tenth is seen at best; σ is that of a signal of 1000 here too.
    Case("t1_vfa", _VFA, _T1, _spoiled, (10 * S0,)),
)
CASE = {case.model: case for case in CASES}


def with_echoes(n: int) -> Case:
    """`t2` with n echoes over the same 10 … 160 ms."""
    protocol = rx.Protocol(TE=np.linspace(TRAIN[0], TRAIN[-1], n), TR=3.0)
    return Case("t2", protocol, CASE["t2"].T, _decay, (S0,))


def magnitude(signal: Array, sigma: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """What a scanner shows of a signal with σ of noise in each channel: Rician, float32."""
    real = signal + sigma * rng.standard_normal(signal.shape)
    imaginary = sigma * rng.standard_normal(signal.shape)
    return np.hypot(real, imaginary).astype(np.float32)


def simulated(case: Case, voxels: int, snr: float, seed: int) -> tuple[NDArray[np.float32], Array]:
    """Rician curves (V, n) at SNR = S0/σ, and their true T (V,).

    Drawn by the thousand, so that the first voxels are the same however many are asked for.
    """
    parts = []
    for block in range(0, voxels, 1000):
        rng = np.random.default_rng((seed, block))
        T = case.draw(1000, rng)
        parts.append((magnitude(case.clean(T), S0 / snr, rng), T))
    curves, T = (np.concatenate(column)[:voxels] for column in zip(*parts, strict=True))
    return curves, T


def bounds(case: Case) -> tuple[float, float]:
    """The range that the package's models search by default."""
    if case.model == "t1_vfa":  # its times are not its sweep
        TR, least = case.protocol.TR.max(), 2 * np.sin(np.deg2rad(case.protocol.FA.min()) / 2) ** 2
        return float(TR) / 10, float(50 * TR / least)
    times = case.times[case.times > 0]
    return float(times.min()) / 20, float(times.max()) * 50


# --- the true minimum, slowly and apart from the package ---

_NODES, _CANDIDATES, _HALVINGS = 1500, 4, 50


def true_minimum(case: Case, curves: NDArray[np.floating]) -> tuple[Array, NDArray[np.bool_]]:
    """T at the least-squares minimum (V,), and where it is one inside all bounds.

    A scan over 1500 nodes of log T and every monotone sign pattern, then bisection on the exact
    slope of the residual at the four best peaks. Voxels whose minimum lies at the end of the range,
    or outside the amplitudes allowed, are left out of every comparison alike: there each program
    has its own idea of what to return.
    """
    y = np.asarray(curves, dtype=float)
    low, high = np.log(bounds(case))
    nodes = np.linspace(low, high, _NODES)
    Q, _ = _orthonormal(case, nodes)
    n = y.shape[1]
    flips = np.arange(n + 1)[:, None] > np.arange(n) if case.inverts else np.zeros((1, n), bool)
    signs = np.where(flips, -1.0, 1.0)
    found = np.full((len(y), _CANDIDATES, 3), -np.inf)  # score, node, pattern
    for k, sign in enumerate(signs):
        c = np.einsum("vn,gnp->vgp", sign * y, Q)
        score = (c**2).sum(-1)
        if c.shape[2] == 1:
            score[c[..., 0] <= 0] = 0
        inner = score[:, 1:-1]
        peak = (inner >= score[:, :-2]) & (inner > score[:, 2:]) & (inner > 0)
        peaks = np.where(peak, inner, -np.inf)
        for _ in range(2):
            best = peaks.argmax(axis=1)
            value = np.take_along_axis(peaks, best[:, None], 1)[:, 0]
            worst = found[:, :, 0].argmin(axis=1)
            better = value > found[np.arange(len(y)), worst, 0]
            rows = np.flatnonzero(better)
            found[rows, worst[rows]] = np.stack([value, best + 1, np.full_like(value, k)], -1)[rows]
            np.put_along_axis(peaks, best[:, None], -np.inf, 1)
        # An end of the range that beats every peak makes the voxel one without an inner minimum.
        for end in (0, -1):
            value = score[:, end]
            slot = found[:, :, 0].argmin(axis=1)
            rows = np.flatnonzero(value > found[:, :, 0].max(axis=1))
            found[rows, slot[rows]] = np.stack(
                [value, np.full_like(value, end % _NODES), np.full_like(value, k)], -1
            )[rows]
    T, F = np.full((len(y), _CANDIDATES), np.nan), np.full((len(y), _CANDIDATES), -np.inf)
    inside = np.zeros((len(y), _CANDIDATES), bool)
    step = nodes[1] - nodes[0]
    for j in range(_CANDIDATES):
        rows = np.flatnonzero(np.isfinite(found[:, j, 0]))
        at = found[rows, j, 1].astype(int)
        s = signs[found[rows, j, 2].astype(int)] * y[rows]
        a, b = nodes[at] - step, nodes[at] + step
        for _ in range(_HALVINGS):
            middle = (a + b) / 2
            rising = _slope(case, middle, s)[0] > 0
            a, b = np.where(rising, middle, a), np.where(rising, b, middle)
        middle = (a + b) / 2
        _, F[rows, j], amplitudes = _slope(case, middle, s)
        T[rows, j] = np.exp(middle)
        good = (at > 0) & (at < _NODES - 1) & (middle > low) & (middle < high)
        if case.ratio is not None:
            ratio = amplitudes[:, 1] / amplitudes[:, 0]
            good &= (amplitudes[:, 0] > 0) & (ratio > case.ratio[0]) & (ratio < case.ratio[1])
        else:
            good &= amplitudes[:, 0] > 0
        inside[rows, j] = good
    best = F.argmax(axis=1)[:, None]
    return np.take_along_axis(T, best, 1)[:, 0], np.take_along_axis(inside, best, 1)[:, 0]


def _orthonormal(case: Case, log_T: Array) -> tuple[Array, Array]:
    columns = case.columns(case.protocol, np.exp(log_T)[:, None])
    Q, R = np.linalg.qr(columns)
    sign = np.sign(np.diagonal(R, axis1=-2, axis2=-1))  # so that Qᵀy > 0 is an amplitude > 0
    return Q * sign[..., None, :], R * sign[..., :, None]


def _slope(case: Case, log_T: Array, y: Array) -> tuple[Array, Array, Array]:
    """d|Qᵀy|²/dlog T, |Qᵀy|² and the amplitudes; the basis is differentiated by a complex step."""
    Q, R = _orthonormal(case, log_T)
    c = np.einsum("vnp,vn->vp", Q, y)
    amplitudes = np.linalg.solve(R, c[..., None])[..., 0]
    residual = y - np.einsum("vnp,vp->vn", Q, c)
    tiny = 1e-30
    bent = case.columns(case.protocol, np.exp(log_T[:, None] + 1j * tiny)).imag / tiny
    slope = 2 * np.einsum("vn,vnp,vp->v", residual, bent, amplitudes)
    return slope, (c**2).sum(axis=1), amplitudes
