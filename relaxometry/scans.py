"""Which images belong together: those of one scan, in whatever files and folders they lie."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import GeometryError, InputError
from .images import KEYWORDS, Image, geometries, levels
from .plan import Plan, Repeats, Times, arrange


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """Images that belong together: a `plan` to read them as a series, or the `error` why not."""

    images: tuple[Image, ...]
    plan: Plan | None = None
    error: InputError | None = None


def scans(
    images: Sequence[Image],
    path: str | Path,
    times: Times | None = None,
    repeats: Repeats | None = None,
) -> list[Scan]:
    """Images sorted into scans, in the order they were taken.

    An acquisition that shows some place more than once is a scan. Those that show it once, at a
    single setting, are pooled: with their like in the same folder, else with their like anywhere.
    Alike are images of the same geometry, component, sequence and scanner, all with or all without
    an inversion time.

    Parameters
    ----------
    images : sequence of Image
    path : str or Path
        The file or folder as the user gave it, for messages.
    times : mapping of str to sequence of float, optional
        Settings given by hand (see :func:`assemble`).
    repeats : {"mean", "separate"}, optional
        See :func:`assemble`.

    Returns
    -------
    list of Scan
        What cannot be read as a series is there too, with the reason.
    """
    place = dict(zip(map(id, images), geometries(images), strict=True))

    def alike(image: Image) -> tuple[Hashable, ...]:
        field_T = None if image.field_T is None else round(image.field_T, 1)
        kind = image.unfit, image.component, image.sequence, image.vendor, image.source
        return (place[id(image)], field_T, *kind)

    def inverted(image: Image) -> bool:
        return "TI" in image.settings or "TI" in image.faults

    unfit = _split((i for i in images if i.unfit), lambda i: (i.acquisition, *alike(i)))
    left = [i for i in images if not i.unfit]
    whole, left = _take_sweeps(left, lambda i: (i.acquisition, *alike(i)))
    pooled, left = _take_sweeps(left, lambda i: (Path(i.file).parent, inverted(i), *alike(i)))
    single = _split(left, lambda i: (inverted(i), *alike(i)))

    position = {id(image): k for k, image in enumerate(images)}
    groups = [*unfit, *whole, *pooled, *single]
    groups.sort(key=lambda group: min((i.order, position[id(i)]) for i in group))
    strays = {
        kin: image
        for image in left
        for kin in (*_acquired(image), *_alongside(image, place[id(image)]))
    }
    found = []
    for group in groups:
        kin = _acquired(group[0])
        if any(group is one for one in pooled):
            kin += _alongside(group[0], place[id(group[0])])
        lost = (strays[one] for one in kin if one in strays and strays[one] not in group)
        found.append(_scan(group, path, times, repeats, next(lost, None)))
    return found


def _acquired(image: Image) -> list[Hashable]:
    """What images of one acquisition share, whatever their size, place and settings."""
    return [(image.acquisition, image.component)] if image.acquisition else []


def _alongside(image: Image, place: int) -> list[Hashable]:
    """What they share where each setting is an acquisition of its own (IR_TI50, IR_TI100).

    But for one thing: of another size or place it has the same settings, or else one is missing.
    """
    # A file that no scanner named is named by whoever saved it.
    name = re.sub(r"\d+", "", image.name or Path(image.file).stem)
    kind = Path(image.file).parent, name, image.component, image.sequence, image.source
    return [(*kind, "at", place), (*kind, "with", tuple(sorted(image.settings)))]


def _scan(
    group: Sequence[Image],
    path: str | Path,
    times: Times | None,
    repeats: Repeats | None,
    stray: Image | None = None,
) -> Scan:
    if group[0].unfit:
        return Scan(tuple(group), error=InputError(group[0].unfit, path=path))
    if stray is not None and len(group) > 1:
        error = GeometryError(
            f"{_unlike(stray, group[0])}, unlike the images taken with it",
            path=stray.file,
            expected="images alike",
            hint="if it belongs to something else, move it away; else export the scan again",
        )
        return Scan(tuple(group), error=error)
    try:
        return Scan(tuple(group), plan=arrange(group, path, times, repeats))
    except InputError as error:
        return Scan(tuple(group), error=error)


def _unlike(stray: Image, other: Image) -> str:
    """What tells an image apart from another, e.g. ``5×4×1 voxels (not 6×4×1 voxels)``."""

    def stated(image: Image) -> str:
        known = [KEYWORDS[name] for name in image.settings]
        return " and ".join(known) or "no setting"

    def size(image: Image) -> str:
        return "×".join(map(str, image.shape)) + " voxels"

    def field_T(image: Image) -> str:
        return "no field stated" if image.field_T is None else f"{image.field_T:g} T"

    for fact in (size, stated, field_T):
        if fact(stray) != fact(other):
            return f"{fact(stray)} (not {fact(other)})"
    return "another place, orientation or maker"


def _split(images: Iterable[Image], key: Callable[[Image], Hashable]) -> list[list[Image]]:
    groups: dict[Hashable, list[Image]] = {}
    for image in images:
        groups.setdefault(key(image), []).append(image)
    return list(groups.values())


def _take_sweeps(
    images: Iterable[Image], key: Callable[[Image], Hashable]
) -> tuple[list[list[Image]], list[Image]]:
    """Groups that show some place more than once, and the images of the others."""
    sweeps: list[list[Image]] = []
    rest: list[Image] = []
    for group in _split(images, key):
        if len(group) > max(levels(group)) + 1:
            sweeps.append(group)
        else:
            rest += group
    return sweeps, rest
