"""Two tissues before and after an agent, in one kind of image: signals, contrasts, their errors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .noise import air_factors, rician_mean
from .plannedagent import AgentRates
from .units import QUANTITIES
from .weighted import Sequence, Tissue, signal

Array = NDArray[np.float64]
Settings = Mapping[str, Any]
Aim = Literal["CNR", "dCNR", "dS", "SNR"]
Fixed = Literal["averages", "time"]

#: What can be maximised, in words.
AIMS: dict[str, str] = {
    "CNR": "CNR after the agent, |S_target − S_reference|/σ",
    "dCNR": "change of the CNR, |CNR_usual_post − CNR_usual_pre|, in units of σ",
    "dS": "change of the target's signal, |S_post − S_pre|/σ",
    "SNR": "SNR of the target after the agent, S/σ",
}
FLOOR = 3.0  # σ; below this a magnitude is more noise than signal
_NOTHING = 1e-9  # σ; a CNR below this is none
_STEP = 1e-3  # of a standard error, for the slope of a signal over a relaxivity
_REGIONS = ("target", "reference")


class Signals(NamedTuple):
    """Noise-free magnitudes, broadcast over settings and concentrations."""

    target_pre: Array
    target_post: Array
    reference_pre: Array
    reference_post: Array


@dataclass(frozen=True, slots=True)
class ContrastModel:
    """What is imaged, with what agent, sequence and noise.

    Attributes
    ----------
    sequence : Sequence
    target, reference : Tissue
    agent : AgentRates
    sigma : float
        σ of each channel, in the unit of S0.
    """

    sequence: Sequence
    target: Tissue
    reference: Tissue
    agent: AgentRates
    sigma: float

    def tissue_signal(
        self, tissue: Tissue, uptake: Any, at: Settings, r1: float, decay: float
    ) -> Array:
        """S of a tissue with this much agent (mM)."""
        R1, R2 = tissue.rates(self.sequence)
        uptake = np.asarray(uptake, dtype=float)
        return tissue.S0 * signal(self.sequence, R1 + r1 * uptake, R2 + decay * uptake, **at)

    def signals(
        self, at: Settings, uptake: tuple[Any, Any], r1: float | None = None,
        decay: float | None = None,
    ) -> Signals:  # fmt: skip
        """Signals at these settings with these concentrations (mM) in target and reference."""
        r1 = self.agent.r1.value if r1 is None else r1
        decay = self.agent.decay.value if decay is None else decay
        found = []
        for tissue, amount in zip((self.target, self.reference), uptake, strict=True):
            found.append(self.tissue_signal(tissue, 0.0, at, r1, decay))
            found.append(self.tissue_signal(tissue, amount, at, r1, decay))
        return Signals(*found)

    def aim(self, aim: Aim, fixed: Fixed, at: Settings, uptake: tuple[Any, Any]) -> Array:
        """What is maximised, in units of σ; at fixed scan time per √s of TR."""
        t_pre, t_post, r_pre, r_post = self.signals(at, uptake)
        if aim == "CNR":
            found = np.abs(t_post - r_post)
        elif aim == "dCNR":
            found = np.abs(np.abs(t_post - r_post) - np.abs(t_pre - r_pre))
        elif aim == "dS":
            found = np.abs(t_post - t_pre)
        else:
            found = t_post
        found = found / self.sigma
        return found / np.sqrt(at["TR"]) if fixed == "time" else found

    def quantities(
        self, at: Settings, uptake: tuple[Array, Array], noise_method: str
    ) -> pd.DataFrame:
        """The table: settings and concentrations are broadcast together, and each is a row."""
        clean = self.signals(at, uptake)
        measured = Signals(*(rician_mean(one, self.sigma) for one in clean))
        columns = self._contrasts(clean, noise_method)
        columns |= self._errors(at, uptake, noise_method)
        for name in ("CNR_usual_post", "CNR_usual_change"):
            columns[f"{name}_per_sqrt_s"] = columns[name] / np.sqrt(at["TR"])
        as_measured = self._contrasts(measured, noise_method)
        before = columns["CNR_usual_pre"]
        doubts = {
            f"S_{name} below {FLOOR:g}σ, at the noise floor": values < FLOOR * self.sigma
            for name, values in clean._asdict().items()
        }
        doubts["no CNR before: its relative change has no meaning"] = before < _NOTHING
        doubts["CNR before below 1: its relative change would be noise"] = (before >= _NOTHING) & (
            before < 1
        )
        columns = {
            **{QUANTITIES[name].column: values for name, values in at.items()},
            **{f"uptake_{r}_mM": c for r, c in zip(_REGIONS, uptake, strict=True)},
            **columns,
            **{f"{name}_measured": values for name, values in as_measured.items()},
        }
        shape = np.broadcast_shapes(*(np.shape(values) for values in columns.values()))
        table = {name: np.broadcast_to(v, shape).ravel() for name, v in columns.items()}
        return pd.DataFrame({**table, "flags": _flags(doubts, shape)}, copy=False)

    def noise_of_snr(self, noise_method: str) -> float:
        """What an SNR is divided by: σ, or the SD of magnitudes in air."""
        return self.sigma * (air_factors()[1] if noise_method == "sd" else 1.0)

    def _contrasts(self, s: Signals, noise_method: str) -> dict[str, Array]:
        columns = {f"S_{name}": values for name, values in zip(Signals._fields, s, strict=True)}
        noise = self.noise_of_snr(noise_method)
        snr = {name: values / noise for name, values in zip(Signals._fields, s, strict=True)}
        columns |= {f"SNR_{name}": values for name, values in snr.items()}
        for when, a, b in (
            ("pre", s.target_pre, s.reference_pre),
            ("post", s.target_post, s.reference_post),
        ):
            columns[f"CNR_usual_{when}"] = np.abs(a - b) / self.sigma
            columns[f"CNR_relative_{when}"] = _over(np.abs(a - b), a)
        columns["CNR_usual_change"] = columns["CNR_usual_post"] - columns["CNR_usual_pre"]
        for region in _REGIONS:
            pre, post = snr[f"{region}_pre"], snr[f"{region}_post"]
            columns[f"dSNR_{region}_signed"] = _over(post - pre, pre)
        for name, of in (("dCNR", "CNR_relative"), ("dCNR_usual", "CNR_usual")):
            pre, post = columns[f"{of}_pre"], columns[f"{of}_post"]
            none = columns["CNR_usual_pre"] < _NOTHING
            columns[f"{name}_signed"] = _over(post - pre, np.where(none, 0.0, pre))
        for name in ("dSNR_target", "dSNR_reference", "dCNR", "dCNR_usual"):
            columns[name] = np.abs(columns[f"{name}_signed"])
        return columns

    def _errors(self, at: Settings, uptake: tuple[Any, Any], noise_method: str) -> dict[str, Array]:
        """Standard errors that follow from those of r1 and r2 (delta method, independent)."""
        r1, decay = self.agent.r1, self.agent.decay
        shares, stated = [], False
        for which, one in (("r1", r1), ("decay", decay)):
            stated |= math.isfinite(one.stderr)
            if not one.stderr > 0:
                continue
            step = min(_STEP * one.stderr, one.value) or _STEP * one.stderr
            up, down = (
                self.signals(at, uptake, **{which: max(one.value + sign * step, 0.0)})
                for sign in (1, -1)
            )
            width = one.value + step - max(one.value - step, 0.0)
            slopes = [(a - b) / width for a, b in zip(up, down, strict=True)]
            shares.append([slope * one.stderr for slope in slopes])
        noise = self.noise_of_snr(noise_method)
        columns = {}
        for name, number, factor in (
            ("SNR_target_post", 1, noise),
            ("SNR_reference_post", 3, noise),
        ):
            parts = [share[number] / factor for share in shares]
            columns[f"{name}_stderr"] = _together(parts, stated)
        # The errors of both tissues are those of one r1 and one r2: they may cancel.
        parts = [(share[1] - share[3]) / self.sigma for share in shares]
        columns["CNR_usual_post_stderr"] = columns["CNR_usual_change_stderr"] = _together(
            parts, stated
        )
        return columns


def _flags(doubts: Mapping[str, Array], shape: tuple[int, ...]) -> NDArray[np.object_]:
    """What is to be said of each row, joined."""
    code = np.zeros(shape, dtype=int)
    for bit, where in enumerate(doubts.values()):
        code += where.astype(int) << bit
    texts = np.empty(1 << len(doubts), dtype=object)
    for one in np.flatnonzero(np.bincount(code.ravel())):
        texts[one] = "; ".join(text for bit, text in enumerate(doubts) if one >> bit & 1)
    flags: NDArray[np.object_] = texts[code.ravel()]
    return flags


def _together(parts: list[Array], stated: bool) -> Array:
    found = np.array(0.0 if stated else np.nan)
    for part in parts:
        found = np.hypot(found, part)
    return found


def _over(a: Array, b: Array) -> Array:
    """a/b, and NaN where b is 0."""
    ratio: Array = np.divide(a, b, out=np.full(np.shape(a), np.nan), where=b != 0)
    return ratio
