"""SNR and CNR of regions and how an injection changes them, slice by slice, by named formulas."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .background import NO_AIR, find_air
from .contrastformulas import (
    FORMULAS,
    change,
    cnr_relative,
    cnr_usual,
    relative_enhancement,
    snr_of,
    target_to_muscle,
)
from .errors import GeometryError, InputError
from .estimate import Estimate
from .jupyter import Shown
from .noiselevel import METHODS, Noise, NoiseMethod, measure_noise, pool_noise
from .regions import Regions

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

WHEN = ("pre", "post")
IN_WORDS = {"pre": "before", "post": "after"}
#: From here down the noise floor lifts the mean of a magnitude region by 2 % and more.
_LOW_SNR = 5.0
_CERTAIN = 1.96  # standard errors that tell a value from 0


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Contrast(Shown):
    """SNR and CNR of a target and a reference region, before and after.

    Attributes
    ----------
    name : str
    noise_method : str
        As in :func:`relaxometry.measure_noise`.
    estimates : mapping of str to Estimate
        Every quantity with its standard error, one value per slice: ``S_target_pre`` … (mean
        signals), ``SNR_target_pre`` …, ``CNR_relative_pre`` …, ``CNR_usual_pre`` …, with a muscle
        ``TM_pre`` …; ``RE_target`` …; the changes ``dSNR_target``, ``dSNR_reference``, ``dCNR``
        (of the relative CNR), ``dCNR_usual`` and ``dTM``, |post − pre|/pre as fractions, and
        signed as ``…_signed``.
    noise : mapping of str to tuple of Noise
        ``pre`` and ``post``, one per slice; one for all where pooled.
    slice_numbers : tuple of int
        Which slices of the images, from 1.
    n_voxels : mapping of str to tuple of int
        Of each region in each slice.
    animal, group : str
        Whose images these are, and what it was given; "" where nobody says.
    time_s : float or None
        After the injection; None where nobody says.
    shared : mapping of str to ndarray (n_slices,)
        The part of each standard error that all slices share, as that of a pooled noise.
    notes : tuple of str
    """

    name: str
    noise_method: str
    estimates: Mapping[str, Estimate]
    noise: Mapping[str, tuple[Noise, ...]]
    slice_numbers: tuple[int, ...]
    n_voxels: Mapping[str, tuple[int, ...]]
    animal: str = ""
    group: str = ""
    time_s: float | None = None
    shared: Mapping[str, Array] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def slices(self) -> Mapping[str, Array]:
        """Every quantity slice by slice; each slice is paired with itself."""
        return {key: np.asarray(one.value) for key, one in self.estimates.items()}

    @property
    def n_slices(self) -> int:
        """Slices in which all regions were drawn."""
        return len(self.slice_numbers)

    @property
    def coils(self) -> int:
        """Coils that the noise was taken for."""
        return self.noise["pre"][0].coils

    @property
    def formulas(self) -> dict[str, str]:
        """The formula of each quantity of :meth:`row`, and of the noise."""
        noise = self.noise["pre"][0].formula
        told = {key: _formula(key) for key in self.estimates if _formula(key)}
        return {"noise": noise, **told}

    def mean(self, quantity: str) -> float:
        """Mean over slices, e.g. of ``"dSNR_reference"``."""
        return float(self.slices[quantity].mean())

    def sd(self, quantity: str) -> float:
        """SD over slices; NaN for one slice."""
        values = self.slices[quantity]
        return float(values.std(ddof=1)) if values.size > 1 else math.nan

    def stderr(self, quantity: str) -> float:
        """Standard error of the mean over slices, from the noise in each (not from their SD)."""
        total = np.asarray(self.estimates[quantity].stderr)
        shared = self.shared.get(quantity, np.zeros_like(total))
        alone = np.sqrt(np.maximum(total**2 - shared**2, 0))
        return float(np.hypot(np.sqrt((alone**2).sum()), shared.sum()) / total.size)

    def row(self) -> dict[str, Any]:
        """Means over slices under the names of ``contrast.csv``, with errors and flags."""
        row: dict[str, Any] = {
            "name": self.name,
            "animal": self.animal,
            "group": self.group,
            "time_s": self.time_s,
            "noise_method": self.noise_method,
            "coils": self.coils,
        }
        for quantity in self.estimates:
            row[quantity] = self.mean(quantity)
            if _is_change(quantity):
                row[f"{quantity}_percent"] = 100 * self.mean(quantity)
            row[f"{quantity}_stderr"] = self.stderr(quantity)
            if self.n_slices > 1:
                row[f"{quantity}_sd"] = self.sd(quantity)
        return row | {"n_slices": self.n_slices, "flags": list(self.notes)}

    def slice_rows(self) -> list[dict[str, Any]]:
        """A row per slice, under the names of ``contrast_slices.csv``."""
        rows = []
        for i, number in enumerate(self.slice_numbers):
            row: dict[str, Any] = {"name": self.name, "time_s": self.time_s, "slice": number}
            row.update({f"n_voxels_{role}": n[i] for role, n in self.n_voxels.items()})
            for when in WHEN:
                noise = self.noise[when]
                own = noise[i] if len(noise) > 1 else noise[0]
                row |= {f"noise_{when}": own.value, f"noise_{when}_stderr": own.stderr}
            for quantity, one in self.estimates.items():
                row[quantity] = float(one.value[i])
                row[f"{quantity}_stderr"] = float(one.stderr[i])
            rows.append(row)
        return rows

    def __repr__(self) -> str:
        changes = {"target SNR": "dSNR_target", "reference SNR": "dSNR_reference", "CNR": "dCNR"}
        told = ", ".join(
            f"{name} {100 * self.mean(f'{key}_signed'):+.1f} %" for name, key in changes.items()
        )
        slices = "1 slice" if self.n_slices == 1 else f"{self.n_slices} slices"
        name = f"{self.name}: " if self.name else ""
        return f"Contrast: {name}{told}; noise by {self.noise_method}, {slices}"


def _is_change(quantity: str) -> bool:
    return quantity.startswith(("dSNR", "dCNR", "dTM", "RE_"))


def _formula(quantity: str) -> str:
    """The formula of a quantity by its name; signed changes lose the bars."""
    bare = quantity.removesuffix("_signed").removesuffix("_pre").removesuffix("_post")
    for role in ("target", "reference", "muscle"):
        bare = bare.removesuffix(f"_{role}")
    formula = FORMULAS.get(bare, "")
    if quantity.endswith("_signed"):
        top, _, bottom = formula.rpartition("/")
        formula = f"({top.strip('|')})/{bottom}"
    return formula


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
    as_scanned: NDArray[Any] | None = None,
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
        For ``difference``: the image before, and the one after, taken a second time.
    as_scanned : ndarray, optional
        The image after as it was scanned, where `post` was moved in place: moving smooths noise, so
        noise is measured here.
    scale : Estimate, optional
        How much brighter everything is after than before; enters RE only, as noise is scaled too.
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
    masks = _masks(drawn, {role: one for role, one in roles.items() if one is not None})
    second = {}
    if repeats is not None:
        second = dict(zip(WHEN, map(_volume, repeats), strict=True))
    elif noise_method == "difference":
        raise InputError(
            "one image only", field="noise_method difference", expected="each image taken twice"
        )
    present = _slices_with(masks)
    noisy = images if as_scanned is None else images | {"post": _volume(as_scanned)}
    found = {}
    for when, image in noisy.items():
        how = (noise_method, coils, pooled, second.get(when), phase_axis)
        try:
            found[when] = _noises(image, masks, *how, present)
        except InputError as error:
            raise InputError(
                error.found,
                field=f"noise {IN_WORDS[when]}",
                expected=error.expected,
                hint=error.hint,
            ) from None
    signals = {
        f"S_{role}_{when}": _signals(image, masks[role], present, role)
        for role in ("target", "reference", "muscle")
        if role in masks
        for when, image in images.items()
    }
    estimates = _quantities(signals, {when: _as_estimate(n) for when, n in found.items()}, scale)
    shared: dict[str, Array] = {}
    if pooled:
        exact = {when: _as_estimate(n, exact=True) for when, n in found.items()}
        alone = _quantities(signals, exact, scale)
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
    return replace(contrast, notes=_remarks(contrast))


def _masks(regions: Regions, roles: Mapping[str, int | str]) -> dict[str, Mask]:
    labels = {role: regions.label(one, f"region {role}") for role, one in roles.items()}
    if len(set(labels.values())) < len(labels):
        raise InputError(
            f"labels {', '.join(map(str, labels.values()))}", expected="different ones"
        )
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


def _signals(image: NDArray[Any], mask: Mask, slices: list[int], role: str) -> Estimate:
    """Mean of a region in each slice, with SD/√n as its standard error."""
    means, errors = [], []
    for z in slices:
        values = np.asarray(image[..., z][mask[..., z]], dtype=float)
        if values.size < 2:
            raise InputError(f"{values.size} voxels", field=f"region {role}", expected="≥ 2")
        if not np.isfinite(values).all():
            raise InputError(
                "NaN or infinity in it",
                field=f"region {role}",
                expected="voxels that both images show",
            )
        means.append(values.mean())
        errors.append(values.std(ddof=1) / math.sqrt(values.size))
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
    tissue = method in ("difference", "smoothed")
    if tissue:
        where = masks.get("noise", masks["reference"])
    elif "noise" in masks:
        where = masks["noise"]
    else:
        where = find_air(image, phase_axis=phase_axis)
        slices = _with_air(where, slices, pooled)
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


def _as_estimate(noises: tuple[Noise, ...], exact: bool = False) -> Estimate:
    value = np.array([noise.value for noise in noises])
    error = np.array([noise.stderr for noise in noises])
    return Estimate(value, np.zeros_like(error) if exact else error)


def _quantities(
    signals: Mapping[str, Estimate], noise: Mapping[str, Estimate], scale: Estimate | None
) -> dict[str, Estimate]:
    """Every quantity from the mean signals and the noise."""
    roles = [key[2:-4] for key in signals if key.endswith("_pre")]
    found = dict(signals)
    for role in roles:
        for when in WHEN:
            found[f"SNR_{role}_{when}"] = snr_of(signals[f"S_{role}_{when}"], noise[when])
    for when in WHEN:
        target, reference = (signals[f"S_{role}_{when}"] for role in ("target", "reference"))
        found[f"CNR_relative_{when}"] = cnr_relative(target, reference)
        found[f"CNR_usual_{when}"] = cnr_usual(target, reference, noise[when])
        if "muscle" in roles:
            found[f"TM_{when}"] = target_to_muscle(target, signals[f"S_muscle_{when}"])
    for role in roles:
        before, after = (signals[f"S_{role}_{when}"] for when in WHEN)
        found[f"RE_{role}"] = relative_enhancement(before, after, scale, role)
    changes = {f"dSNR_{role}": f"SNR_{role}" for role in roles}
    changes |= {"dCNR": "CNR_relative", "dCNR_usual": "CNR_usual", "dTM": "TM"}
    for delta, quantity in changes.items():
        if f"{quantity}_pre" not in found:
            continue
        pre, post = (found[f"{quantity}_{when}"] for when in WHEN)
        signed = change(pre, post, f"{quantity} before injection")
        found[delta] = Estimate(np.abs(signed.value), signed.stderr)
        found[f"{delta}_signed"] = signed
    return found


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
            if lowest < _LOW_SNR:
                told.append(
                    f"{role} {when}: {lowest:.1f} σ, where the noise floor lifts the mean of a "
                    f"magnitude image by about {50 * (2 * contrast.coils - 1) / lowest**2:.0f} %"
                )
    # Signed: the mean of bare sizes is above 0 by chance alone.
    target, reference = (contrast.slices[f"S_{role}_pre"] for role in ("target", "reference"))
    difference, error = float(np.mean(1 - reference / target)), contrast.stderr("CNR_relative_pre")
    if abs(difference) < _CERTAIN * error:
        told.append(
            f"CNR before is not told from 0 ({difference:.2g} ± {error:.2g} of the target): its "
            "relative change means little"
        )
    return tuple(told)
