"""SNR, CNR, their relatives and their changes: each formula once, with its propagated error.

Every function takes and gives :class:`relaxometry.Estimate`, of one value or of one per slice, and
propagates independent errors to first order. What would divide by zero is an error that names what
is zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from .errors import InputError
from .estimate import Estimate

#: The formula of each quantity, as it is printed beside its number. S: mean signal of a region.
FORMULAS: Mapping[str, str] = MappingProxyType(
    {
        "SNR": "S/noise",
        "CNR_relative": "|SNR(target) − SNR(reference)|/SNR(target)",
        "CNR_usual": "|S(target) − S(reference)|/σ",
        "TM": "S(target)/S(muscle)",
        "RE": "(S(post) − S(pre))/S(pre)",
        "dSNR": "|SNR(post) − SNR(pre)|/SNR(pre)",
        "dCNR": "|CNR_relative(post) − CNR_relative(pre)|/CNR_relative(pre)",
        "dCNR_usual": "|CNR_usual(post) − CNR_usual(pre)|/CNR_usual(pre)",
        "dTM": "|TM(post) − TM(pre)|/TM(pre)",
    }
)

#: Of changes of rates, by the beginning of their keys.
RATE_FORMULAS: Mapping[str, str] = MappingProxyType(
    {
        "dR1": "R1(post) − R1(pre)",
        "dR2": "R2(post) − R2(pre)",
        "dR2star": "R2*(post) − R2*(pre)",
        "dR2_over_dR1": "ΔR2/ΔR1",
        "dR2_signal_only": "ln(S(pre)/S(post))/TE",
        "concentration_by_r1": "ΔR1/r1",
        "concentration_by_r2": "ΔR2/r2",
    }
)


def snr_of(signal: Estimate, noise: Estimate) -> Estimate:
    """Mean signal of a region over the noise (NEMA MS 1, MS 6).

    Parameters
    ----------
    signal : Estimate
        Mean of the region, with its standard error.
    noise : Estimate
        What is divided by, as the method says: :class:`relaxometry.Noise`.

    Raises
    ------
    InputError
        If the noise is not above 0.
    """
    _nonzero(noise, "the noise", positive=True)
    return signal.over(noise)


def cnr_relative(target: Estimate | float, reference: Estimate | float) -> Estimate:
    """|SNR_target − SNR_reference|/SNR_target: relative to the target, so the noise cancels.

    Parameters
    ----------
    target, reference : Estimate or float
        SNR or, as the noise cancels, mean signal of the two; errors of signals, not of SNRs, make
        its error, for the noise of both is one.

    Raises
    ------
    InputError
        If the target's is 0.
    """
    target, reference = _estimate(target), _estimate(reference)
    _nonzero(target, "SNR of the target", hint="a target with signal")
    ratio = reference.over(target)
    return Estimate(np.abs(1 - np.asarray(ratio.value)), ratio.stderr)


def cnr_usual(target: Estimate, reference: Estimate, sigma: Estimate) -> Estimate:
    """|S_target − S_reference|/σ, σ the SD of each Gaussian channel, whatever divides SNR."""
    _nonzero(sigma, "the noise", positive=True)
    difference = np.abs(np.subtract(target.value, reference.value))
    return Estimate(difference, np.hypot(target.stderr, reference.stderr)).over(sigma)


def target_to_muscle(target: Estimate, muscle: Estimate) -> Estimate:
    """S_target/S_muscle, in one image: neither noise nor the scale of the image matters."""
    _nonzero(muscle, "signal of the muscle", hint="a muscle with signal")
    return target.over(muscle)


def relative_enhancement(
    pre: Estimate, post: Estimate, scale: Estimate | None = None, region: str = ""
) -> Estimate:
    """(S_post − S_pre)/S_pre, signed.

    Parameters
    ----------
    pre, post : Estimate
        Mean signal of one region before and after.
    scale : Estimate, optional
        How much brighter everything is after than before; the signal after is divided by it.
    region : str
        For the message where its signal before is 0.
    """
    if scale is not None:
        post = post.over(scale)
    return change(pre, post, f"signal of {region or 'the region'} before injection")


def change(pre: Estimate | float, post: Estimate | float, what: str = "value before") -> Estimate:
    """Signed relative change (post − pre)/pre, a fraction; an error where `pre` is 0."""
    pre, post = _estimate(pre), _estimate(post)
    if np.any(np.equal(pre.value, 0)):
        raise InputError(f"{what} is 0: its change has no meaning", field="contrast")
    ratio = post.over(pre)
    return Estimate(np.asarray(ratio.value) - 1, ratio.stderr)


def _estimate(value: Estimate | float) -> Estimate:
    return value if isinstance(value, Estimate) else Estimate(value, 0.0)


def _nonzero(of: Estimate, what: str, positive: bool = False, hint: str | None = None) -> None:
    value = np.asarray(of.value)
    if np.any(value <= 0 if positive else value == 0):
        raise InputError(f"{what} is {'not above ' if positive else ''}0", expected=hint)
