"""Protocols and curves on which every model's fit is held to the global minimum.

Shared by the tests (some hundred curves each) and `benchmarks/exactness.py` (a million).
"""

from __future__ import annotations

import numpy as np

import relaxometry as rx
from relaxometry import Protocol, SignalModel

from .brute_force import Misses, misses

PROTOCOLS = {
    "TE": Protocol(TE=np.arange(1, 17) * 0.010),
    "TI": Protocol(TI=np.geomspace(0.05, 5, 10), TR=8.0),
    "TR": Protocol(TR=[0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4]),
    "FA": Protocol(FA=[2, 5, 10, 15, 20, 30], TR=0.015),
}
UNEVEN = {
    "TE": Protocol(TE=[0.008, 0.010, 0.030, 0.050, 0.200]),
    # TR grows with TI, as on Siemens phantoms.
    "TI": Protocol(TI=[0.05, 0.1, 0.2, 0.4, 0.6, 0.8], TR=[1, 1, 1, 1.26, 1.86, 2.46]),
    "TR": Protocol(TR=[0.5, 1.5, 3.0]),
    "FA": Protocol(FA=[3, 4, 25], TR=0.015),
}
SCHEMES = {"even": PROTOCOLS, "uneven": UNEVEN}

#: Second amplitude for one of 1: an inversion of efficiency 1.1, a floor of a tenth, a saturation
#: that leaves a twentieth.
_SECOND = {"B": 2.1, "C": 0.1, "b": -0.95}

#: σ of the noise for a highest signal of 1000, whether magnitudes, and which times.
CASES = {
    "SNR 50": (20.0, True, "two decades"),
    "SNR 5": (200.0, True, "two decades"),
    "SNR 5, signed": (200.0, False, "two decades"),
    "pure noise": (1e5, True, "two decades"),
    "long T": (20.0, True, "long"),
    "short T": (20.0, True, "short"),
}


def amplitudes_of(model: SignalModel, size: int) -> np.ndarray:
    """Amplitudes (size, p) that give a highest signal of about 1000, within what is allowed."""
    first = 12_000.0 if model.reads[0] == "FA" else 1000.0
    ratio = model.ratio(PROTOCOLS[model.reads[0]])
    usual = np.mean(ratio) if ratio else 0.1
    second = [_SECOND.get(name, usual) for name in model.amplitudes[1:]]
    return np.tile(first * np.array([1.0, *second]), (size, 1))


def ranges(model: SignalModel, protocol: Protocol) -> dict[str, tuple[float, float]]:
    """Ranges of T in s: two decades about what the protocol tells, and far beyond on both sides."""
    low, high = model.bounds(protocol)
    if model.reads[0] == "FA":  # angles are no times
        first, last = 10 * protocol.TR[0], 300 * protocol.TR[0]
    else:
        first, last = protocol.times.min(), protocol.times.max()
    middle = np.sqrt(first * last)
    return {
        "two decades": (middle / 10, middle * 10),
        "long": (5 * last, high),
        "short": (low, first / 5),
    }


def simulated(
    model: SignalModel, protocol: Protocol, case: str, size: int, rng: np.random.Generator
) -> tuple[np.ndarray, bool]:
    """Curves (size, n), as exact in single precision, and whether they are magnitudes."""
    sigma, magnitude, times = CASES[case]
    low, high = ranges(model, protocol)[times]
    T = np.exp(rng.uniform(np.log(low), np.log(high), size))
    signal = model.signal(protocol, T, amplitudes_of(model, size))
    signal = signal + rng.normal(0, sigma, signal.shape)
    if magnitude:
        signal = np.hypot(signal, rng.normal(0, sigma, signal.shape))
    return signal.astype(np.float32).astype(float), magnitude


def compared(
    model: SignalModel,
    protocol: Protocol,
    curves: np.ndarray,
    magnitude: bool,
    engine: str | None = None,
) -> Misses:
    """Fits of curves (V, n) by `fit_maps` against the global minima."""
    series = rx.Series(curves[:, None, None, :], protocol, signed=not magnitude)
    maps = rx.fit_maps(series, model, engine=engine, progress=False)
    values = [maps.raw[name][0].ravel() for name in (model.time, *model.amplitudes)]
    return misses(
        model,
        series.protocol,
        curves,
        values[0],
        np.stack(values[1:], axis=1),
        maps.bounds,
        magnitude,
    )
