"""Simulated studies of which something is wrong, and how often an interval holds the truth."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

import relaxometry as rx
from relaxometry.ratio import ratio

C = np.array([0.0, 0.025, 0.05, 0.1, 0.2, 0.4])
DOSES = C[1:]
TRUE = {"r1": (0.4, 4.0), "r2": (10.0, 100.0)}  # R(0), r
TUBES = tuple(range(1, 7))


class Case(NamedTuple):
    """What is wrong with a study, and the line made for it."""

    name: str
    method: str
    make: Callable[[np.random.Generator], tuple]


def _line(symbol: str, c: np.ndarray) -> np.ndarray:
    R0, r = TRUE[symbol]
    return R0 + r * c


def _noise(rng: np.random.Generator, c: np.ndarray) -> dict[str, np.ndarray]:
    """Equal noise of 1 % of the largest rate."""
    return {s: _line(s, c) + rng.normal(0, 0.01 * _line(s, C).max(), c.size) for s in TRUE}


def equal(rng: np.random.Generator) -> tuple:
    return C, _noise(rng, C), {}


def growing(rng: np.random.Generator, told: bool = True) -> tuple:
    """Noise of 3 % of each rate; its size is told, or only that it grows."""
    sigma = {s: 0.03 * _line(s, C) for s in TRUE}
    rates = {s: _line(s, C) + rng.normal(0, sigma[s]) for s in TRUE}
    return C, rates, {"stderr": sigma} if told else {}


def growing_untold(rng: np.random.Generator) -> tuple:
    return growing(rng, told=False)


def weighed(rng: np.random.Generator, error: float = 0.05) -> tuple:
    """Concentrations stated with an error of 5 % each, which moves both rates of a tube."""
    held = C * (1 + rng.normal(0, error, C.size))
    sigma = {s: 0.01 * _line(s, C) for s in TRUE}
    rates = {s: _line(s, held) + rng.normal(0, sigma[s]) for s in TRUE}
    return C, rates, {"stderr": sigma, "concentration_sd": error * C}


def stock(rng: np.random.Generator) -> tuple:
    """All concentrations off by one factor, known to 5 %."""
    sigma = {s: 0.01 * _line(s, C) for s in TRUE}
    held = C * (1 + rng.normal(0, 0.05))
    rates = {s: _line(s, held) + rng.normal(0, sigma[s]) for s in TRUE}
    return C, rates, {"stderr": sigma, "stock_rsd": 0.05}


def outlier(rng: np.random.Generator, size: float, c: np.ndarray = DOSES) -> tuple:
    """Five tubes, one of them off by `size` times the noise, up or down; both its rates."""
    rates = _noise(rng, c)
    i, sign = rng.integers(c.size), rng.choice([-1.0, 1.0])
    for s in TRUE:
        rates[s][i] += sign * size * 0.01 * _line(s, C).max()
    return c, rates, {}


def outlier_of_any_size(rng: np.random.Generator) -> tuple:
    return outlier(rng, float(np.exp(rng.uniform(np.log(3), np.log(100)))))


CASES = (
    Case("equal noise", "ordinary", equal),
    Case("noise grows with R, errors told", "weighted", growing),
    Case("noise grows with R, not told", "relative", growing_untold),
    Case("5 % error of each concentration", "odr", weighed),
    Case("5 % error of the stock", "weighted", stock),
    Case("one of five off, by 3 … 100 σ", "robust", outlier_of_any_size),
    Case("one of five off, by 10 σ", "robust", lambda rng: outlier(rng, 10)),
    Case("one of five off, by 30 σ", "robust", lambda rng: outlier(rng, 30)),
    Case("five tubes, none off", "robust", lambda rng: outlier(rng, 0)),
)


class Score(NamedTuple):
    """Share of studies, in %, whose interval holds the truth; half-width of r2's in % of r2."""

    r1: float
    r2: float
    ratio: float
    width: float


def scored(case: Case, method: str, studies: int, seed: int) -> Score:
    rng = np.random.default_rng(seed)
    held = np.zeros(3)
    width = []
    for _ in range(studies):
        c, rates, known = case.make(rng)
        lines = {}
        for symbol, R in rates.items():
            given = {k: v[symbol] if isinstance(v, dict) else v for k, v in known.items()}
            if method == "ordinary" and case.method != "ordinary":
                given = {}
            lines[symbol] = rx.relaxivity_fit(
                c, R, method=method, symbol=symbol, tubes=TUBES[: c.size], **given
            )
        for i, symbol in enumerate(("r1", "r2")):
            low, high = lines[symbol].ci95
            held[i] += low < TRUE[symbol][1] < high
        low, high = ratio(lines["r2"], lines["r1"]).fieller95
        held[2] += low < TRUE["r2"][1] / TRUE["r1"][1] < high
        width.append((lines["r2"].ci95[1] - lines["r2"].ci95[0]) / 2)
    return Score(*100 * held / studies, float(np.median(width)))
