"""Signal against the concentration of an agent: its peak, and the least that can be seen."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .contrastmodel import ContrastModel
from .errors import InputError
from .weighted import positive

Array = NDArray[np.float64]
#: CNR from which a detail is told from its surroundings (Rose, J Opt Soc Am 38:196, 1948).
ROSE = 5.0

_NODES = 3001
_HALVINGS = 60
_ROOM = 4_000_000  # numbers at a time


def direction(model: ContrastModel) -> tuple[tuple[float, float], str]:
    """Uptake of target and reference for 1 mM in the one that takes up more, and which it is."""
    most = model.target.uptake_mM.max(), model.reference.uptake_mM.max()
    if max(most) == 0:
        return (1.0, 0.0), "target"
    region = "target" if most[0] >= most[1] else "reference"
    return (float(most[0] / max(most)), float(most[1] / max(most))), region


def limits(model: ContrastModel, at: dict[str, Array], least: float = ROSE) -> pd.DataFrame:
    """What more and more of the agent does, for settings (m,) each.

    Returns
    -------
    DataFrame
        As :meth:`ContrastPlan.limits`.
    """
    least = positive(least, "least")
    if model.agent.r1.value == 0 and model.agent.decay.value == 0:
        raise InputError("0", field="r1, r2", expected="a relaxivity above 0")
    m = len(at["TE"])
    blocks = max(1, math.ceil(m * _NODES / _ROOM))
    parts = [
        _limits(model, {name: values[rows] for name, values in at.items()}, least)
        for rows in np.array_split(np.arange(m), blocks)
    ]
    return pd.concat(parts, ignore_index=True)


def _limits(model: ContrastModel, at: dict[str, Array], least: float) -> pd.DataFrame:
    share, region = direction(model)
    columns = {name: values[:, None] for name, values in at.items()}
    tissue = getattr(model, region)
    r1, decay = model.agent.r1.value, model.agent.decay.value

    def S(c: Array) -> Array:
        return model.tissue_signal(tissue, c, columns, r1, decay)

    def CNR(c: Array) -> Array:
        s = model.signals(columns, (share[0] * c, share[1] * c))
        return np.abs(s.target_post - s.reference_post) / model.sigma

    def changed(c: Array) -> Array:
        return np.abs(S(c) - S(np.zeros(1))) / (math.sqrt(2) * model.sigma)

    scales = [factor * at[name] for factor, name in ((decay, "TE"), (r1, "TR")) if factor > 0]
    weakest, strongest = min(one.min() for one in scales), max(one.max() for one in scales)
    c = np.concatenate([[0.0], np.geomspace(1e-6 / strongest, 1e2 / weakest, _NODES)])
    signal = S(c)
    peak = _peak(S, c, signal)
    risen = S(peak[:, None])[:, 0] > signal[:, 0] * (1 + 1e-12)
    peak = np.where(risen, peak, np.nan)
    enhancement = S(peak[:, None])[:, 0] / signal[:, 0] - 1
    again = _first(lambda c: signal[:, :1] - S(c), c, np.where(risen, peak, np.inf))
    contrast = _first(lambda c: CNR(c) - least, c)
    change = _first(lambda c: changed(c) - least, c)
    seen = CNR(np.zeros(1))[:, 0] >= least
    flags = []
    for i in range(len(peak)):
        told = []
        if not risen[i]:
            told.append("the signal falls with any amount")
        elif not np.isfinite(again[i]):
            told.append("the signal does not fall below that without agent")
        if seen[i]:
            told.append(f"a CNR of {least:g} without any agent")
        elif not np.isfinite(contrast[i]):
            told.append(f"no amount gives a CNR of {least:g}")
        if not np.isfinite(change[i]):
            told.append(f"no amount changes the signal by {least:g}·√2·σ")
        flags.append("; ".join(told))
    return pd.DataFrame(
        {
            **at,
            "region": region,
            "peak_mM": peak,
            "peak_enhancement": enhancement,
            "same_again_mM": again,
            "detectable_CNR_mM": np.where(seen, np.nan, contrast),
            "detectable_change_mM": change,
            "flags": flags,
        }
    )


def _peak(S: Callable[[Array], Array], c: Array, signal: Array) -> Array:
    """Concentration (m,) of the largest signal: that of the nodes, looked at ever closer."""
    i = signal.argmax(axis=1)
    low, high = c[np.maximum(i - 1, 0)], c[np.minimum(i + 1, len(c) - 1)]
    share = np.linspace(0, 1, 41)
    for _ in range(12):
        nodes = low[:, None] + (high - low)[:, None] * share
        i = S(nodes).argmax(axis=1)
        rows = np.arange(len(i))
        low, high = nodes[rows, np.maximum(i - 1, 0)], nodes[rows, np.minimum(i + 1, 40)]
    middle: Array = (low + high) / 2
    return middle


def _first(above: Callable[[Array], Array], c: Array, beyond: Array | None = None) -> Array:
    """Least concentration (m,), above `beyond`, where above(c) is not negative; NaN for none."""
    found = above(c) >= 0
    if beyond is not None:
        found = found & (c > beyond[:, None])
    i = found.argmax(axis=1)
    none = ~found.any(axis=1)
    low, high = c[np.maximum(i - 1, 0)], c[i]
    if beyond is not None:
        low = np.maximum(low, np.where(np.isfinite(beyond), beyond, low))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        up = above(middle[:, None])[:, 0] >= 0
        low, high = np.where(up, low, middle), np.where(up, middle, high)
    return np.where(none, np.nan, high)
