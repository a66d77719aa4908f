"""Two images and their regions → `Contrast`: signals, noise, every quantity and its error."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .background import NO_AIR, find_air
from .contrast import WHEN, Contrast
from .contrastformulas import (
    change,
    cnr_relative,
    cnr_usual,
    relative_enhancement,
    snr_of,
    target_to_muscle,
)
from .errors import GeometryError, InputError
from .estimate import Estimate
from .noise import rician_amplitude
from .noiselevel import METHODS, OF_AIR, Noise, NoiseMethod, measure_noise, pool_noise
from .regions import Regions

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_IN_WORDS = {"pre": "before", "post": "after"}
_LIFT = 0.02  # of the mean of a magnitude region by the noise floor, from which it is remarked
_CLIPPED = 0.02  # of the voxels of a region at the largest value of the image
_CERTAIN = 1.96  # standard errors that tell a value from 0


@dataclass(frozen=True, slots=True)
class AsScanned:
    """The image after as it was scanned, where it was moved in place: moving smooths its noise.

    Attributes
    ----------
    image : ndarray (x, y, z)
    regions : Regions
        Where they lie on it.
    second : ndarray (x, y, z), optional
        For ``difference``: the same taken a second time.
    """

    image: NDArray[Any]
    regions: Regions
    second: NDArray[Any] | None = None


def measure_contrast(
    pre: NDArray[Any],
    post: NDArray[Any],
    regions: NDArray[np.integer] | Regions,
    *,
    target: int | str,
    reference: int | str,
    noise: int | str | None = None,
    muscle: int | str | None = None,
    noise_method: NoiseMethod = "sd",
    coils: int = 1,
    pooled: bool = False,
    phase_axis: int | None = None,
    repeats: tuple[NDArray[Any], NDArray[Any]] | None = None,
    as_scanned: AsScanned | None = None,
    scale: Estimate | None = None,
    name: str = "",
) -> Contrast:
    """SNR, CNR and their changes from one injection, slice by slice.

    Parameters
    ----------
    pre, post : ndarray (x, y) or (x, y, z)
        Magnitude images before and after, on one grid.
    regions : ndarray of int, same shape, or Regions
        Label image; `target`, `reference`, `noise` and `muscle` are its labels, or names.
    noise : int or str, optional
        Region that the noise is taken from: air, or for ``difference`` and ``smoothed`` tissue.
        Default: air is sought (:func:`relaxometry.find_air`), or the reference is taken.
    muscle : int or str, optional
        A tissue that takes up no agent, for T/M.
    noise_method : str
        As in :func:`relaxometry.measure_noise`; default ``sd``, as the relaxivity papers do.
    coils : int
        Coils combined by root sum of squares, for ``mean`` and ``chi``.
    pooled : bool
        One noise for all slices of an image instead of one each.
    phase_axis : {0, 1}, optional
        The axis along which ghosts lie (0 is x, 1 is y), where air is sought: there is more of it.
    repeats : tuple of ndarray, optional
        For ``difference``: the image before, and the one after, taken a second time; signals are
        means over both.
    as_scanned : AsScanned, optional
        The image after as it was scanned, where `post` was moved in place.
    scale : Estimate, optional
        How much brighter the muscle is after than before; enters RE only, as noise is scaled too.
        RE of the muscle is then 0 by construction, and left out.
    name : str

    Returns
    -------
    Contrast

    Raises
    ------
    InputError, GeometryError
        If grids differ, a region is missing, the noise cannot be measured in this way, or a change
        would divide by zero.
    """
    if noise_method not in METHODS:
        raise InputError(
            f"{noise_method!r}"[:60], field="noise_method", expected=" or ".join(METHODS)
        )
    drawn = regions if isinstance(regions, Regions) else Regions(_volume(regions), np.eye(4), {})
    images = {"pre": _volume(pre), "post": _volume(post)}
    if not drawn.labels.shape == images["pre"].shape == images["post"].shape:
        raise GeometryError(
            f"pre {images['pre'].shape}, post {images['post'].shape}, regions {drawn.labels.shape}",
            expected="one grid",
        )
    roles = {"target": target, "reference": reference, "muscle": muscle, "noise": noise}
    known = {role: one for role, one in roles.items() if one is not None}
    tissue_noise = noise_method not in OF_AIR
    masks = _masks(drawn, known, tissue_noise)
    seconds = dict(zip(WHEN, map(_volume, repeats), strict=True)) if repeats is not None else {}
    if noise_method == "difference" and not seconds:
        raise InputError(
            "one image only", field="noise_method difference", expected="each image taken twice"
        )
    # One noise for all slices need not be measured in each of them.
    needed = {role: mask for role, mask in masks.items() if role != "noise" or not pooled}
    present = _slices_with(needed)
    found = {}
    for when in WHEN:
        image, second, own = images[when], seconds.get(when), masks
        if when == "post" and as_scanned is not None:
            image, second = _volume(as_scanned.image), as_scanned.second
            own = _masks(as_scanned.regions, known, tissue_noise)
        how = (noise_method, coils, pooled, second, phase_axis)
        try:
            found[when] = _noises(image, own, *how, present)
        except InputError as error:
            raise InputError(
                error.found,
                field=f"noise {_IN_WORDS[when]}",
                expected=error.expected,
                hint=error.hint,
            ) from None
    if seconds:
        images = {when: (images[when] + seconds[when]) / 2.0 for when in WHEN}
    signals = {
        f"S_{role}_{when}": _signals(image, masks[role], present, role, found[when])
        for role in ("target", "reference", "muscle")
        if role in masks
        for when, image in images.items()
    }
    called = {role: _called(role, drawn.name(one)) for role, one in known.items()}
    estimates = _quantities(signals, _levels(found), scale, called)
    shared: dict[str, Array] = {}
    if pooled or scale is not None:
        exact = None if scale is None else Estimate(scale.value, 0.0)
        alone = _quantities(signals, _levels(found, exact=pooled), exact, called)
        shared = {
            key: np.sqrt(np.maximum(np.square(one.stderr) - np.square(alone[key].stderr), 0))
            for key, one in estimates.items()
        }
    contrast = Contrast(
        name=name,
        noise_method=noise_method,
        estimates=MappingProxyType(estimates),
        noise=MappingProxyType(found),
        slice_numbers=tuple(z + 1 for z in present),
        n_voxels={r: tuple(int(m[..., z].sum()) for z in present) for r, m in masks.items()},
        shared=shared,
    )
    notes = [*_left_out(masks, present), *_remarks(contrast), *_clipped(images, masks, present)]
    return replace(contrast, notes=tuple(dict.fromkeys(notes)))


def _masks(regions: Regions, roles: Mapping[str, int | str], tissue_noise: bool) -> dict[str, Mask]:
    """(x, y, z) of each role; noise of tissue may be measured in a region that has another role."""
    labels = {role: regions.label(one, f"region {role}") for role, one in roles.items()}
    taken: dict[int, str] = {}
    for role, label in labels.items():
        if label in taken and not (role == "noise" and tissue_noise):
            raise InputError(
                f"{taken[label]} and {role} are both {regions.name(roles[role])[:40]!r}",
                field=f"region {role}",
                expected="different regions",
            )
        taken.setdefault(label, role)
    return {role: regions.labels == label for role, label in labels.items()}


def _slices_with(masks: Mapping[str, Mask]) -> list[int]:
    """Slices in which every region is."""
    here = np.logical_and.reduce([mask.any(axis=(0, 1)) for mask in masks.values()])
    if not here.any():
        raise InputError(
            "no slice has all regions", field="regions", expected=", ".join(masks) + " in one slice"
        )
    return [int(z) for z in np.flatnonzero(here)]


def _volume(array: NDArray[Any]) -> NDArray[Any]:
    array = np.asarray(array)
    return array[..., None] if array.ndim == 2 else array


def _signals(
    image: NDArray[Any], mask: Mask, slices: list[int], role: str, noise: tuple[Noise, ...]
) -> Estimate:
    """Mean of a region in each slice, with SD/√n as its standard error.

    Where neighbours in air are correlated, so are those here: fewer voxels count.
    """
    means, errors = [], []
    for i, z in enumerate(slices):
        values = np.asarray(image[..., z][mask[..., z]], dtype=float)
        if values.size < 2:
            raise InputError(f"{values.size} voxels", field=f"region {role}", expected="≥ 2")
        if not np.isfinite(values).all():
            raise InputError(
                "NaN or infinity in it",
                field=f"region {role}",
                expected="voxels that both images show",
            )
        per = noise[i if len(noise) > 1 else 0].per_mean
        means.append(values.mean())
        errors.append(values.std(ddof=1) * math.sqrt(per / values.size))
    return Estimate(np.array(means), np.array(errors))


def _noises(
    image: NDArray[Any],
    masks: Mapping[str, Mask],
    method: NoiseMethod,
    coils: int,
    pooled: bool,
    second: NDArray[Any] | None,
    phase_axis: int | None,
    slices: list[int],
) -> tuple[Noise, ...]:
    tissue = method not in OF_AIR
    if tissue:
        where = masks.get("noise", masks["reference"])
    elif "noise" in masks:
        where = masks["noise"]
    else:
        where = find_air(image, phase_axis=phase_axis)
        slices = _with_air(where, slices, pooled)
    if pooled:
        slices = [int(z) for z in np.flatnonzero(where.any(axis=(0, 1)))]
    noises = [
        measure_noise(
            np.asarray(image[..., z], dtype=float),
            None if tissue else where[..., z],
            method,
            coils=coils,
            second=None if second is None else second[..., z],
            region=where[..., z] if tissue else None,
        )
        for z in slices
    ]
    return (pool_noise(noises),) if pooled else tuple(noises)


def _with_air(air: Mask, slices: list[int], pooled: bool) -> list[int]:
    """The slices whose noise is measured where air was sought: all, or for one noise those with."""
    empty = [z for z in slices if not air[..., z].any()]
    if empty and not (pooled and len(empty) < len(slices)):
        raise InputError(
            f"no corner free of the object and its ghosts in slice {empty[0] + 1}",
            expected="air in every slice",
            hint=f'{NO_AIR}; with noise_slices = "pooled" air in one slice is enough',
        )
    return [z for z in slices if z not in empty]


class _Levels(NamedTuple):
    """Noise by which SNR is divided, and σ, by which the usual CNR is; one per slice or for all."""

    noise: Mapping[str, Estimate]
    sigma: Mapping[str, Estimate]


def _levels(noises: Mapping[str, tuple[Noise, ...]], exact: bool = False) -> _Levels:
    def estimate(key: str, error: str, own: tuple[Noise, ...]) -> Estimate:
        value = np.array([getattr(one, key) for one in own])
        stderr = np.array([getattr(one, error) for one in own])
        return Estimate(value, np.zeros_like(stderr) if exact else stderr)

    return _Levels(
        {when: estimate("value", "stderr", own) for when, own in noises.items()},
        {when: estimate("sigma", "sigma_stderr", own) for when, own in noises.items()},
    )


def _called(role: str, name: str) -> str:
    return role if name == role else f"{role} ({name[:40]})"


def _quantities(
    signals: Mapping[str, Estimate],
    levels: _Levels,
    scale: Estimate | None,
    called: Mapping[str, str],
) -> dict[str, Estimate]:
    """Every quantity from the mean signals and the noise."""
    roles = [key[2:-4] for key in signals if key.endswith("_pre")]
    both = f"{called['target']} and {called['reference']}"
    found = dict(signals)
    for role in roles:
        for when in WHEN:
            found[f"SNR_{role}_{when}"] = snr_of(signals[f"S_{role}_{when}"], levels.noise[when])
    for when in WHEN:
        target, reference = (signals[f"S_{role}_{when}"] for role in ("target", "reference"))
        found[f"CNR_relative_{when}"] = cnr_relative(target, reference)
        found[f"CNR_usual_{when}"] = cnr_usual(target, reference, levels.sigma[when])
        if "muscle" in roles:
            found[f"TM_{when}"] = target_to_muscle(target, signals[f"S_muscle_{when}"])
    for role in roles:
        if role == "muscle" and scale is not None:
            continue
        before, after = (signals[f"S_{role}_{when}"] for when in WHEN)
        found[f"RE_{role}"] = relative_enhancement(before, after, scale, called[role])
    changes = {f"dSNR_{role}": (f"SNR_{role}", called[role]) for role in roles}
    changes |= {"dCNR": ("CNR_relative", both), "dCNR_usual": ("CNR_usual", both)}
    changes |= {"dTM": ("TM", f"{called['target']} and {called.get('muscle', '')}")}
    for delta, (quantity, whose) in changes.items():
        if f"{quantity}_pre" not in found:
            continue
        pre, post = (found[f"{quantity}_{when}"] for when in WHEN)
        signed = change(pre, post, f"{quantity} of {whose} before injection")
        found[delta] = Estimate(np.abs(signed.value), signed.stderr)
        found[f"{delta}_signed"] = signed
    return found


def _left_out(masks: Mapping[str, Mask], present: list[int]) -> list[str]:
    """Slices in which some region was drawn but not all."""
    some = np.logical_or.reduce([mask.any(axis=(0, 1)) for mask in masks.values()])
    gone = [int(z) + 1 for z in np.flatnonzero(some) if z not in present]
    if not gone:
        return []
    return [f"slices left out, where not all regions were drawn: {', '.join(map(str, gone))}"]


def _clipped(
    images: Mapping[str, NDArray[Any]], masks: Mapping[str, Mask], slices: list[int]
) -> list[str]:
    """Regions of which many voxels have the largest value of the image."""
    told = []
    for when, image in images.items():
        shown = np.asarray(image)[..., slices]
        most = np.nanmax(shown)
        for role, mask in masks.items():
            share = float(np.mean(shown[mask[..., slices]] == most))
            if share > _CLIPPED and role != "noise":
                told.append(
                    f"{role} {when}: {100 * share:.0f} % of its voxels have the largest value of "
                    f"the image, {most:g}: clipped"
                )
    return told


def _remarks(contrast: Contrast) -> tuple[str, ...]:
    """What a reader should know of these numbers."""
    told = list(
        dict.fromkeys(n for when in WHEN for one in contrast.noise[when] for n in one.notes)
    )
    sigma = {when: np.array([n.sigma for n in contrast.noise[when]]) for when in WHEN}
    for role in ("target", "reference", "muscle"):
        for when in WHEN:
            signal = contrast.estimates.get(f"S_{role}_{when}")
            if signal is None:
                continue
            lowest = float(np.min(signal.value / sigma[when]))
            true = float(rician_amplitude(lowest, 1.0, contrast.coils))
            if not true > 0:
                told.append(f"{role} {when}: {lowest:.1f} σ, which is no more than noise")
            elif lowest > (1 + _LIFT) * true:
                told.append(
                    f"{role} {when}: {lowest:.1f} σ, where the noise floor lifts the mean of a "
                    f"magnitude image by {100 * (lowest / true - 1):.0f} %"
                )
    # Signed: the mean of bare sizes is above 0 by chance alone.
    target, reference = (contrast.slices[f"S_{role}_pre"] for role in ("target", "reference"))
    difference, error = float(np.mean(1 - reference / target)), contrast.stderr("CNR_relative_pre")
    after = [contrast.slices[f"S_{role}_post"] for role in ("target", "reference")]
    turned, spread = float(np.mean(1 - after[1] / after[0])), contrast.stderr("CNR_relative_post")
    sure = abs(difference) > _CERTAIN * error and abs(turned) > _CERTAIN * spread
    if sure and difference * turned < 0:
        order = "brighter" if difference > 0 else "darker"
        told.append(
            f"the target was {order} than the reference before, and is not after: CNR, which has "
            "no sign, hides it"
        )
    if abs(difference) < _CERTAIN * error:
        told.append(
            f"CNR before is not told from 0 ({difference:.2g} ± {error:.2g} of the target): its "
            "relative change means little"
        )
    return tuple(told)
