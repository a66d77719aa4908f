"""What a flag of the tube table says, and whether the tube counts nevertheless.

The rules by which flags are given are in :mod:`relaxometry.judgement`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

#: Fewer voxels than this are few.
FEW_VOXELS = 10


@dataclass(frozen=True, slots=True)
class Flag:
    """One thing that may be wrong with one quantity of a tube.

    Attributes
    ----------
    code : str
        In tables it stands behind the quantity: ``T2_short``.
    sentence : str
        Read with the quantity in front of it: what is the matter, and what helps.
    excludes : bool
        Whether the value is not to be trusted, so that the tube leaves the lines of this quantity.
    """

    code: str
    sentence: str
    excludes: bool


FLAGS: Mapping[str, Flag] = MappingProxyType(
    {
        code: Flag(code, sentence, excludes)
        for code, excludes, sentence in (
            # What became of the fit.
            ("at_bound", True, "ended at the bound of the search: the data do not determine it"),
            ("not_converged", True, "did not converge"),
            ("low_signal", True, "has no signal to fit"),
            ("non_finite", True, "has NaN or infinity in the data"),
            (
                "clipped",
                True,
                "is clipped: too few points lie below the plateau of the data, so lower the gain",
            ),
            (
                "at_edge",
                False,
                "has the inversion efficiency at its bound: it is less sure than its error says",
            ),
            # What the times can tell.
            (
                "short",
                True,
                "is shorter than these times can tell: use shorter times or less agent",
            ),
            (
                "long",
                True,
                "is longer than these times can tell: use longer times",
            ),
            (
                "imprecise",
                True,
                "is known to no better than 20 %: noise or the noise floor decides it",
            ),
            (
                "noise_floor",
                False,
                "is biased: points lie on the noise floor, which the model does not know "
                "(noise_floor leaves them out)",
            ),
            # The echo train.
            (
                "first_echo",
                False,
                "has a first echo that is too low (stimulated echoes) and may read long: "
                "leave it out with drop_echoes",
            ),
            (
                "zigzag",
                False,
                "has odd and even echoes that differ (stimulated echoes) and may read long",
            ),
            # The place and its voxels.
            (
                "placed_by_template",
                False,
                "was measured where the template says, for the image shows no wall there: "
                "look at the picture of the tubes",
            ),
            ("few_voxels", False, f"was measured on fewer than {FEW_VOXELS} voxels"),
            (
                "uneven",
                True,
                "is of voxels whose signals differ by more than 20 %: a wall, a large bubble or a "
                "wrong place, so draw the region anew",
            ),
            (
                "bubble",
                False,
                "is of a region with a hole in its signal, perhaps an air bubble: draw around it",
            ),
            (
                "gradient",
                False,
                "changes by more than 10 % across the tube: settled particles, a temperature "
                "gradient or an uneven flip angle",
            ),
            (
                "inhomogeneous",
                False,
                "differs between voxels far more than the noise explains: clumps, or two media in "
                "one region",
            ),
        )
    }
)


def flags_of(quantity: str, flags: str | Iterable[str]) -> tuple[Flag, ...]:
    """The flags of one quantity among codes like ``T2_short``; other words are no codes.

    Parameters
    ----------
    quantity : str
        ``"T1"``, ``"T2"`` …
    flags : str or iterable of str
        A cell of the column ``flags``: codes apart by spaces, or by semicolons as in a CSV.
    """
    words = re.split(r"[;\s]+", flags) if isinstance(flags, str) else flags
    found = (word.removeprefix(f"{quantity}_") for word in words if word.startswith(f"{quantity}_"))
    return tuple(FLAGS[code] for code in dict.fromkeys(found) if code in FLAGS)


def in_words(code: str) -> str:
    """A code of the tube table, ``T2_short``, as a sentence."""
    quantity, _, kind = code.partition("_")
    return f"{quantity} {FLAGS[kind].sentence}"


def tubes_in_words(tubes: Iterable[Any]) -> str:
    """``tube 3``, ``tubes 2 and 5``, ``tubes 1 to 7``: as a sentence names them."""
    names = list(dict.fromkeys(tubes))
    whole = [one for one in names if isinstance(one, int | np.integer)]
    if len(whole) < len(names):
        parts = [str(one) for one in names]
    else:
        runs: list[list[int]] = []
        for one in sorted(int(one) for one in whole):
            if runs and one == runs[-1][-1] + 1:
                runs[-1].append(one)
            else:
                runs.append([one])
        parts = []
        for run in runs:
            parts += [f"{run[0]} to {run[-1]}"] if len(run) > 2 else [str(one) for one in run]
    listed = ", ".join(parts[:-1]) + (" and " if len(parts) > 1 else "") + parts[-1]
    return f"{'tube' if len(names) == 1 else 'tubes'} {listed}"
