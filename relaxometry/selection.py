"""Which model the data of one curve ask for: several side by side, and whether an offset is needed.

Models are compared on the same points by least squares, with Gaussian noise, by Akaike's criterion
for few points and, where one model is within the other, by the F test of their RSS.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike

from .curvefit import CurveFit, aicc, fit_curve
from .errors import InputError
from .jupyter import Shown
from .maps import determined
from .models import MODELS, SignalModel, as_model
from .polarity import Polarity
from .problem import Bounds
from .series import Protocol

if TYPE_CHECKING:
    import pandas as pd


def compare_models(
    times: Protocol | ArrayLike,
    signal: ArrayLike,
    models: Sequence[str | SignalModel],
    *,
    engine: Literal["own", "lmfit"] = "own",
    polarity: Polarity = "magnitude",
    bounds: Bounds | None = None,
) -> pd.DataFrame:
    """Fit several models to one curve and rank them by AICc.

    Parameters
    ----------
    times, signal, engine, polarity, bounds
        As in :func:`fit_curve`; the same for every model.
    models : sequence of str or SignalModel
        At least two that read the same setting, e.g. ``["t2", "t2_offset"]``.

    Returns
    -------
    DataFrame
        A row per model, the best first: model, parameters (their number), rss, rsquared, aicc,
        delta_aicc (from the best), weight (Akaike's: its share of exp(−ΔAICc/2)), time (symbol),
        time_s, time_stderr_s, status. A model that the curve does not determine has no AICc and no
        weight, and stands last.

    Raises
    ------
    InputError, FitError, ProtocolError
        If fewer than two are given, one is given twice, or one cannot be fitted to these points.

    Notes
    -----
    Burnham & Anderson, Model Selection and Multimodel Inference, 2nd ed. (2002), sections 2.4, 2.9.
    """
    import pandas as pd

    chosen = [as_model(model) for model in models]
    names = [model.name for model in chosen]
    if len(names) < 2 or len(set(names)) < len(names):
        raise InputError(
            ", ".join(names) or "none", field="models", expected="at least two, each once"
        )
    rows = []
    for model in chosen:
        fit = fit_curve(times, signal, model, engine=engine, polarity=polarity, bounds=bounds)
        time = fit[model.time]
        rows.append(
            {
                "model": model.name,
                "parameters": len(fit.parameters),
                "rss": fit.rss,
                "rsquared": fit.rsquared,
                "aicc": fit.aicc,
                "time": model.time,
                "time_s": time.value,
                "time_stderr_s": time.stderr,
                "status": fit.status.words,
            }
        )
    table = pd.DataFrame(rows).sort_values("aicc", kind="stable", ignore_index=True)
    delta = table["aicc"] - table["aicc"].min()
    likelihood = np.exp(-delta / 2)
    after = list(table).index("aicc") + 1
    table.insert(after, "delta_aicc", delta)
    table.insert(after + 1, "weight", likelihood / likelihood.sum())
    return table


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class OffsetVerdict(Shown):
    """Whether a curve asks for an offset.

    Attributes
    ----------
    warranted : bool
        AICc falls and the F test rejects the plain model; False where it cannot be judged.
    delta_aicc : float
        AICc with the offset less that without; NaN where it cannot be judged.
    p_value : float
        Of the F test: how often noise alone would make the offset help that much.
    level : float
        Below which that counts.
    plain, offset : CurveFit
        The two fits.
    """

    warranted: bool
    delta_aicc: float
    p_value: float
    level: float
    plain: CurveFit
    offset: CurveFit

    @property
    def judged(self) -> bool:
        """Whether there is a verdict at all."""
        return bool(np.isfinite(self.delta_aicc))

    @property
    def words(self) -> str:
        """The verdict in one sentence for people."""
        time = self.plain.model.time
        if not self.judged:
            return f"cannot be judged: {self._why_not()}"
        verb = "falls" if self.delta_aicc < 0 else "rises"
        numbers = f"AICc {verb} by {abs(self.delta_aicc):.1f} and F p {_p_text(self.p_value)}"
        if not self.warranted:
            return f"an offset is not warranted: {numbers}; {self.plain[time]!r} stands"
        return (
            f"an offset is warranted: {numbers}; "
            f"{time} changes from {self.plain[time]} to {self.offset[time]}"
        )

    def _why_not(self) -> str:
        for fit in (self.plain, self.offset):
            there = np.isfinite(fit.rss) if fit is self.plain else determined(np.array(fit.status))
            if not there:
                return f"{fit.model.name} is not determined ({fit.status.words})"
        least = len(self.offset.parameters) + 3
        return f"{self.plain.signal.size} points are too few; expected at least {least}"

    def __repr__(self) -> str:
        return f"OffsetVerdict: {self.words}"


def offset_warranted(
    times: Protocol | ArrayLike,
    signal: ArrayLike,
    model: str | SignalModel = "t2",
    *,
    level: float = 0.05,
    polarity: Polarity = "magnitude",
    bounds: Bounds | None = None,
) -> OffsetVerdict:
    """Judge whether a curve asks for the model with an offset instead of the plain one.

    Both must say so: AICc falls, and the F test, F = (RSS₀ − RSS₁)/(RSS₁/(n − k₁)) with 1 and
    n − k₁ degrees of freedom, rejects the plain model at `level`. The F test keeps false alarms at
    `level`; with few points AICc is the stricter of the two.

    Parameters
    ----------
    times, signal, polarity, bounds
        As in :func:`fit_curve`.
    model : str or SignalModel
        The plain model, e.g. ``"t2"`` or ``"t1_sr"``.
    level : float
        Probability of a false alarm, between 0 and 1.

    Returns
    -------
    OffsetVerdict

    Raises
    ------
    InputError, FitError, ProtocolError
        If the model has no counterpart with an offset, or does not fit these points.

    Notes
    -----
    The noise is taken as Gaussian. On magnitude images an offset takes up the noise floor, which is
    none: "warranted" then says that the plain model fails, not that there is a slow compartment.
    """
    if not 0 < level < 1:
        raise InputError(f"{level!r}", field="level", expected="between 0 and 1, e.g. 0.05")
    plain = as_model(model)
    extended = {other.offset_of: other for other in MODELS if other.offset_of}
    if plain.name not in extended:
        raise InputError(
            f"{plain.name} has no counterpart with an offset",
            field="model",
            expected=" or ".join(extended),
        )
    without = fit_curve(times, signal, plain, polarity=polarity, bounds=bounds)
    with_it = fit_curve(times, signal, extended[plain.name], polarity=polarity, bounds=bounds)
    # A plain model that ends at its bound has an RSS all the same: an offset may be the reason.
    n, k = without.signal.size, len(without.parameters)
    delta = with_it.aicc - (aicc(without.noise_rss, n, k) if np.isfinite(without.rss) else np.nan)
    p = _p_value(without, with_it) if np.isfinite(delta) else float("nan")
    return OffsetVerdict(
        warranted=bool(delta < 0 and p < level),
        delta_aicc=delta,
        p_value=p,
        level=level,
        plain=without,
        offset=with_it,
    )


def _p_value(plain: CurveFit, extended: CurveFit) -> float:
    """P of the F test of two nested fits that differ by one parameter."""
    from scipy.special import fdtrc

    freedom = extended.signal.size - len(extended.parameters)
    F = max(plain.noise_rss / extended.noise_rss - 1, 0.0) * freedom
    return float(fdtrc(1, freedom, F))


def _p_text(p: float) -> str:
    return f"= {p:.2g}" if p >= 1e-4 else "< 0.0001"
