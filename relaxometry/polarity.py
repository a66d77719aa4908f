"""Magnitude or signed: the rule by which voxels tell it where no header does."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .mapped import release

Polarity = Literal["magnitude", "signed"]

_BRIGHT, _STRONG, _SHARE_NEGATIVE, _LEAST_VOXELS = 99.9, 0.1, 0.01, 2
_MOST, _RUN = 1 << 20, 1 << 10  # values looked at; side by side, as they are fetched from a file
_GROUP = 32 * _RUN
_GOLDEN = (math.sqrt(5) - 1) / 2


def signed_by_voxels(signal: NDArray[Any]) -> tuple[bool, str]:
    """Whether the voxels (…, n) themselves show signed data, and the finding in words.

    A value is *strong* if its size is above a tenth of the 99.9th percentile of all sizes. Data are
    signed if more than 1 % of the strong values are negative, and in two voxels or more.

    The numbers stand between two kinds of data. A magnitude that was filtered, interpolated or
    corrected for its offset dips below zero by a few per cent of the brightest tissue, beside
    edges and in air, and single voxels may be spoilt altogether: hence the tenth, the percentile
    in place of the maximum, the share, and the second voxel. Real-valued inversion recovery is
    strongly negative wherever TI < 0.69·T1, that is in most tubes at the first of its times: even
    with one such time in thirty it passes 1 % threefold.

    All values are looked at up to 2²⁰ of them; of more, a fixed sample of 2²⁰, in runs of 2¹⁰ along
    x, spread by the golden ratio so that no period of the image is met. The same data give the same
    answer, however they lie in memory.
    """
    values, voxel = _looked_at(signal)
    finite = np.isfinite(values)
    values, voxel = values[finite], voxel[finite]
    share, several = 0.0, False
    if (values < 0).any():
        size = np.abs(values)
        strong = _STRONG * np.percentile(size, _BRIGHT)
        negative = values < -strong
        share = float(negative.sum() / max((size > strong).sum(), 1))
        several = np.unique(voxel[negative]).size >= _LEAST_VOXELS
    reason = f"data: {share:.2%} of the strong voxels are negative"
    if share > _SHARE_NEGATIVE and not several:
        return False, f"{reason}, all in one place"
    return share > _SHARE_NEGATIVE, reason


def _looked_at(signal: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """Values, all or a sample, and the number of the voxel that each lies in."""
    voxels = math.prod(signal.shape[:-1])
    if signal.size <= _MOST:
        return signal.ravel(order="F"), np.arange(signal.size) % voxels
    first = np.arange(_MOST // _RUN) * _GOLDEN % 1 * (signal.size - _RUN)
    flat = (first.astype(np.intp)[:, None] + np.arange(_RUN)).ravel()
    values = np.empty(flat.size, dtype=signal.dtype)
    for start in range(0, flat.size, _GROUP):
        here = slice(start, start + _GROUP)
        values[here] = signal[np.unravel_index(flat[here], signal.shape, order="F")]
        # The system maps up to 2 MB of a file around each run: all of it, in the end.
        release(signal)
    return values, flat % voxels
