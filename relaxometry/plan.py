"""How the images of one scan become a `Series`: what was swept, which slices, what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .errors import InputError, ProtocolError
from .geometry import Affine
from .images import (
    KEYWORDS,
    Image,
    clusters,
    hint_by_hand,
    levels,
    normal_of,
    polarity_of,
    stack_voxels,
    stacked,
)
from .polarity import Polarity
from .series import SAME_SETTING, SWEEPABLE, Protocol, Provenance, Series, range_text
from .units import LONGEST

Times = Mapping[str, Sequence[float]]
Repeats = Literal["mean", "separate"]


class Repeated(InputError):
    """Several images of one place at one setting, and nobody has said what to do with them."""


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """How images make a series, known before any voxel is read.

    Attributes
    ----------
    table : tuple of tuple of Image
        One row per setting, its slices in the order of their position along the normal.
    protocol : Protocol
        One setting per row.
    affine : ndarray (4, 4)
    origin : mapping of str to str
        How each setting is known.
    repeats : int
        Most images of one place at one setting, as the files have them.
    notes : tuple of str
        What was done with the repeats.
    """

    table: tuple[tuple[Image, ...], ...]
    protocol: Protocol
    affine: Affine
    origin: Mapping[str, str]
    repeats: int = 1
    notes: tuple[str, ...] = ()

    @property
    def images(self) -> list[Image]:
        """All images, setting by setting."""
        return [image for row in self.table for image in row]


def assemble(
    images: Sequence[Image],
    path: str | Path,
    *,
    times: Times | None = None,
    repeats: Repeats | None = None,
    polarity: Polarity | None = None,
) -> Series:
    """The images of one scan as a series.

    Parameters
    ----------
    images : sequence of Image
        Of the same geometry, sweeping exactly one of TE, TI, TR, FA; TR may follow TI.
    path : str or Path
        The file or folder as the user gave it, for messages.
    times : mapping of str to sequence of float, optional
        TE, TI, TR in s, FA in degrees, instead of what the files say: one value per image of a
        slice, in the order they were taken, or a single one for all.
    repeats : {"mean", "separate"}, optional
        What becomes of several images of one place at one setting: their mean, or a point each. By
        default they are an error: averages are never taken silently.
    polarity : {"magnitude", "signed"}, optional
        Whether negative signal means inverted magnetisation, instead of what the files say or,
        where they say nothing, the voxels show.

    Returns
    -------
    Series
        Its signal is a memory map of the file, and not read yet, where that is one uncompressed
        NIfTI of float32 without scaling, in the order of the swept setting.

    Raises
    ------
    InputError
        If settings are missing, wrong or repeated, slices are missing or doubled, or nothing or
        more than one setting varies.
    """
    return load(arrange(images, path, times, repeats), path, polarity)


def arrange(
    images: Sequence[Image],
    path: str | Path,
    times: Times | None = None,
    repeats: Repeats | None = None,
) -> Plan:
    """Sort images by setting and slice, without reading a voxel; see :func:`assemble`."""
    level, affine = stacked(images, path)
    values, origin = _settings(images, level, times or {}, path)
    if not values:
        raise ProtocolError(
            "no acquisition times are stated", path=path, hint="give them by hand, e.g. with --te"
        )
    rows, row_of = np.unique(np.stack(list(values.values()), axis=1), axis=0, return_inverse=True)
    protocol = Protocol(**dict(zip(values, rows.T, strict=True)))
    _check_sweep(protocol, images, path)
    table: list[list[list[Image]]] = [[[] for _ in range(max(level) + 1)] for _ in rows]
    for image, row, z in zip(images, row_of.ravel(), level, strict=True):
        table[row][z].append(image)
    _check_table(table, protocol, images, path, repeats is not None)
    _check_gain(images)
    most = max(len(row[0]) for row in table)
    cells = [(k, [sorted(cell, key=_taken) for cell in row]) for k, row in enumerate(table)]
    if repeats == "separate":
        kept = [(k, tuple(r)) for k, row in cells for r in zip(*row, strict=True)]
    else:
        kept = [(k, tuple(_mean_of(cell) for cell in row)) for k, row in cells]
    protocol = protocol.take([k for k, _ in kept])
    notes = images[0].notes
    if most > 1:
        words = {"mean": "mean of", "separate": "each a point of its own:"}[repeats or "mean"]
        notes += (f"{words} up to {most} images of one place at one setting",)
    return Plan(tuple(row for _, row in kept), protocol, affine, origin, most, notes)


def _taken(image: Image) -> tuple[tuple[float, ...], int]:
    return image.order, image.number


def _mean_of(images: Sequence[Image]) -> Image:
    """The mean of repeats as one image; a single one as it is."""
    if len(images) == 1:
        return images[0]
    others = (name for image in images for name in (image.file, *image.sidecars))
    sidecars = tuple(dict.fromkeys(name for name in others if name != images[0].file))
    return replace(images[0], load=partial(_mean_voxels, images), whole=None, sidecars=sidecars)


def _mean_voxels(images: Sequence[Image]) -> NDArray[np.float32]:
    total = np.zeros(images[0].shape)
    for image in images:
        total += stack_voxels([image])
    return (total / len(images)).astype(np.float32)


def load(plan: Plan, path: str | Path, polarity: Polarity | None = None) -> Series:
    """Read the voxels of a planned series; see :func:`assemble`."""
    first = plan.table[0][0]
    signed, reason = _signed(first, polarity)
    provenance = Provenance(
        source=first.source,
        files=tuple(dict.fromkeys(f for i in plan.images for f in (i.file, *i.sidecars))),
        vendor=first.vendor,
        origin={**plan.origin, **reason},
        notes=plan.notes,
    )
    facts = plan.protocol, plan.affine, signed, first.field_T, first.sequence, provenance
    try:
        return Series(_voxels(plan), *facts)
    except InputError as error:
        raise (error if error.path else error.at(path)) from None


def _voxels(plan: Plan) -> NDArray[np.float32]:
    """The voxels (x, y, z, n), left in their file where they lie there as they are needed."""
    images = plan.images
    if (
        (whole := images[0].whole) is not None
        and {image.file for image in images} == {images[0].file}
        and [image.number for image in images] == list(range(len(plan.table)))
        and (mapped := whole()).shape[3] == len(images)
    ):
        return mapped
    x, y, _ = images[0].shape
    z = sum(image.shape[2] for image in plan.table[0])
    # Filled one by one: a list of volumes and their stack would hold everything twice.
    signal = np.empty((x, y, z, len(plan.table)), dtype=np.float32)
    for k, row in enumerate(plan.table):
        signal[..., k] = stack_voxels(row)
    return signal


def _settings(
    images: Sequence[Image], level: Sequence[int], times: Times, path: str | Path
) -> tuple[dict[str, NDArray[np.float64]], dict[str, str]]:
    """The settings known of every image, (images,) each, and how they are known."""
    values, origin = {}, {}
    for name in SWEEPABLE:
        if name in times:
            values[name] = _by_hand(images, level, name, times[name], path)
            origin[name] = "given by hand"
        elif name != "FA" and (stated := _stated(images, name)) is not None:
            values[name] = stated
            origin[name] = images[0].origin.get(name, KEYWORDS[name])
    varies = any(np.ptp(v) > 0 for v in values.values())
    # In spin echo the angle is often that of the refocusing or the inversion pulse.
    trusted = images[0].sequence == "GE" or (images[0].sequence is None and not varies)
    if "FA" not in times and trusted and (stated := _stated(images, "FA")) is not None:
        values["FA"] = stated
        origin["FA"] = images[0].origin.get("FA", KEYWORDS["FA"])
    return values, origin


def _stated(images: Sequence[Image], name: str) -> NDArray[np.float64] | None:
    """A setting as the files state it, equal values made the same; None where it is not known."""
    for image in images:
        if name in image.faults:
            raise image.faults[name]
        if image.settings.get(name, 0.0) > LONGEST[name]:
            raise InputError(
                f"{image.settings[name]:g} {'°' if name == 'FA' else 's'} is too much",
                path=image.file,
                field=image.origin.get(name, KEYWORDS[name]),
                expected=f"up to {LONGEST[name]:g}",
                hint=hint_by_hand(name),
            )
    known = np.array([i.settings[name] for i in images if name in i.settings])
    if known.size == 0:
        return None
    rank = clusters(known, SAME_SETTING)
    if known.size < len(images):
        if rank.max() == 0:
            return None
        lacking = next(image for image in images if name not in image.settings)
        raise InputError(
            lacking.origin.get(name, "not stated"),
            path=lacking.file,
            field=KEYWORDS[name],
            expected="a number, as in the other images",
            hint=hint_by_hand(name),
        )
    return np.array([known[rank == k].min() for k in range(rank.max() + 1)])[rank]


def _by_hand(
    images: Sequence[Image],
    level: Sequence[int],
    name: str,
    given: Sequence[float],
    path: str | Path,
) -> NDArray[np.float64]:
    """Values given for the images of each slice, in the order they were taken."""
    numbers = getattr(Protocol(**{name: given}), name)
    if numbers.size == 1:
        return np.full(len(images), numbers[0])
    values = np.empty(len(images))
    for z in range(max(level) + 1):
        here = [k for k in range(len(images)) if level[k] == z]
        if len(here) != numbers.size:
            raise ProtocolError(
                f"{numbers.size} values by hand for {len(here)} images of a slice",
                path=path,
                field=name,
                expected="one per image, or a single one for all",
            )
        here.sort(key=lambda k: (*_taken(images[k]), k))
        _check_order(name, numbers, [images[k] for k in here])
        values[here] = numbers
    return values


def _check_order(name: str, given: NDArray[np.float64], taken: Sequence[Image]) -> None:
    """Raise where the files, as far as they state the values, have them the other way round."""
    stated = np.array([image.settings.get(name, np.nan) for image in taken])
    for k, j in zip(*np.nonzero(stated[:, None] + SAME_SETTING < stated), strict=True):
        if given[k] > given[j]:
            first, last = min(k, j), max(k, j)
            raise InputError(
                f"{range_text(name, given[[first]])} before {range_text(name, given[[last]])} by "
                f"hand, where the files state {range_text(name, stated[[first]])} before "
                f"{range_text(name, stated[[last]])}",
                path=taken[first].file,
                field=name,
                expected="values in the order in which the images were taken",
            )


def _check_sweep(protocol: Protocol, images: Sequence[Image], path: str | Path) -> None:
    if len(protocol) == 1:
        names = [n for n in SWEEPABLE if getattr(protocol, n) is not None]
        setting = ", ".join(f"{n} {range_text(n, getattr(protocol, n))}" for n in names)
        repeated = len(images) > max(levels(images)) + 1
        # Of a setting that is not known, the origin says why.
        stated = images[0].settings
        why = [
            # Every MR image has an echo time: one without it has lost what may have been swept.
            images[0].origin.get(n, f"{KEYWORDS[n]} is not stated")
            for n in SWEEPABLE
            if n not in stated and (n == "TE" or n in images[0].origin)
        ]
        number = f"{len(images)} images" if len(images) > 1 else "one image"
        raise ProtocolError(
            "; ".join([f"nothing varies: {number} at {setting}", *why]),
            path=path,
            expected="a sweep of one of TE, TI, TR, FA",
            hint="give what varied by hand, e.g. --te, or te = [...]" if repeated else None,
        )
    try:
        swept = protocol.swept
    except ProtocolError as error:
        raise error.at(path) from None
    ranks = clusters(protocol.times, SAME_SETTING)
    if ranks.max() + 1 < len(protocol):
        twice = protocol.times[ranks == np.bincount(ranks).argmax()]
        if "TR" in protocol.varying and swept != "TR":
            found, expected = f"occurs at {twice.size} different TR", f"one TR for each {swept}"
        else:
            found, expected = "cannot be told apart", "settings more than 1 µs (or 1e-6°) apart"
        raise ProtocolError(
            f"{swept} {range_text(swept, twice)} {found}", path=path, expected=expected
        )


def _check_table(
    table: list[list[list[Image]]],
    protocol: Protocol,
    images: Sequence[Image],
    path: str | Path,
    repeats: bool,
) -> None:
    """Raise unless every slice is there at every setting: once, or as often as its neighbours."""
    normal = normal_of(images[0])
    swept = protocol.swept
    height = {
        z: cell[0].affine[:3, 3] @ normal for row in table for z, cell in enumerate(row) if cell
    }
    for k, row in enumerate(table):
        setting = f"{swept} {range_text(swept, protocol.times[k : k + 1])}"
        most = max(map(len, row))
        for z, cell in enumerate(row):
            where = f"slice {z + 1} of {len(row)} (at {height[z]:.4g} mm along the normal)"
            if not cell:
                raise InputError(
                    f"{where} is missing at {setting}",
                    path=path,
                    expected="every slice at every setting",
                )
            if repeats and len(cell) < most:
                raise InputError(
                    f"{len(cell)} of {most} repeats of {where} at {setting}",
                    path=path,
                    expected="as many of every slice",
                )
            if len({image.file for image in cell}) > 1:
                _check_copies(cell)
            if not repeats and len(cell) > 1:
                both = " and ".join(_called(image, cell) for image in cell[:2])
                raise Repeated(
                    f"{len(cell)} images of {where} at {setting}: {both}",
                    path=path,
                    expected="one; averages are never taken silently",
                    hint=(
                        'if they are repeats, repeats = "mean" or "separate" (--repeats); '
                        "if something else varied, give it by hand (--te, --ti, --tr or --fa)"
                    ),
                )


def _called(image: Image, cell: Sequence[Image]) -> str:
    """The name of its file, with the number of the volume where that tells it from others."""
    alone = sum(other.file == image.file for other in cell) == 1
    return Path(image.file).name + ("" if alone else f" (volume {image.number + 1})")


def _check_copies(cell: Sequence[Image]) -> None:
    """Raise where two files hold one image: a copy is no repeat."""
    known: dict[object, Image] = {}
    for image in cell:
        if not image.identity:
            continue
        other = known.setdefault((image.identity, image.number), image)
        if other.file != image.file:
            raise InputError(
                f"the same image as {Path(other.file).name}",
                path=image.file,
                expected="each image once",
                hint="delete one of the two",
            )


def _check_gain(images: Sequence[Image]) -> None:
    gains = [image.gain for image in images if image.gain is not None]
    # Philips' differs from one acquisition to the next even where RescaleSlope does not.
    apart = images[0].vendor == "Philips" and len({image.acquisition for image in images}) > 1
    if not gains or (not apart and len(set(gains)) == 1 and len(gains) == len(images)):
        return
    if len(gains) < len(images):
        found = "missing, while the other images have it"
    elif len(set(gains)) > 1:
        found = f"missing, while RescaleSlope is {min(gains):.6g} to {max(gains):.6g}"
    else:
        found = "missing in images of several acquisitions"
    raise InputError(
        found,
        path=next(image.file for image in images if image.gain is not None),
        field="scale slope (2005,100E)",
        expected="Philips' private scale slope, or a maker that has none: without, images of "
        "different slopes cannot be compared",
        hint="export again, and keep Manufacturer and private tags",
    )


def _signed(image: Image, polarity: Polarity | None) -> tuple[bool | None, dict[str, str]]:
    """Whether the signal has a sign, and how that is known; None where only the voxels tell."""
    if polarity is not None:
        return polarity == "signed", {"signed": "given by hand"}
    if known := polarity_of(image):
        reason = image.origin.get("signed", f"component {image.component}")
        return known == "signed", {"signed": reason}
    return None, {}
