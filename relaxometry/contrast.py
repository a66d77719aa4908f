"""SNR and CNR of regions, and how an injection changes them, each by a named formula."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .errors import GeometryError, InputError
from .jupyter import Shown
from .noise import sigma_from_air

Array = NDArray[np.float64]
NoiseMethod = Literal["sd", "rayleigh"]


def snr(
    image: NDArray[Any],
    region: NDArray[np.bool_],
    noise: NDArray[np.bool_],
    method: NoiseMethod = "sd",
) -> float:
    """Signal-to-noise ratio of a region in one magnitude image.

    Parameters
    ----------
    image : ndarray
    region, noise : ndarray of bool, same shape
        The tissue, and a patch of air.
    method : {"sd", "rayleigh"}
        ``sd``: mean(region)/SD(noise), as the relaxivity papers do. ``rayleigh``: the SD is divided
        by √(2 − π/2) = 0.6551 first, because magnitude noise in air is Rayleigh (NEMA MS 1, MS 6).

    Returns
    -------
    float

    Raises
    ------
    InputError
        If a region has fewer than two voxels or values that are not finite, or the noise patch no
        scatter.
    """
    if method not in ("sd", "rayleigh"):
        raise InputError(f"{method!r}", field="noise_method", expected="sd or rayleigh")
    values = np.asarray(image, dtype=float)
    for name, mask in (("signal", region), ("noise", noise)):
        if mask.shape != values.shape:
            raise GeometryError(
                f"shape {mask.shape}",
                field=f"{name} region",
                expected=f"that of the image {values.shape}",
            )
        if mask.sum() < 2:
            raise InputError(f"{int(mask.sum())} voxels", field=f"{name} region", expected="≥ 2")
        if not np.isfinite(values[mask]).all():
            raise InputError("NaN or infinity in it", field=f"{name} region")
    sd = float(np.std(values[noise], ddof=1))
    if not sd > 0:
        raise InputError("no scatter", field="noise region", expected="air with noise in it")
    sigma = sd if method == "sd" else sigma_from_air(sd=sd)
    return float(np.mean(values[region])) / sigma


def cnr_relative(snr_target: float, snr_reference: float) -> float:
    """|SNR_target − SNR_reference|/SNR_target: relative to the target, so the noise cancels."""
    if snr_target == 0:
        raise InputError("SNR of the target is 0", expected="a target with signal")
    return abs(snr_target - snr_reference) / snr_target


def change(before: float, after: float, what: str = "value before") -> float:
    """Signed relative change (after − before)/before, a fraction; an error where before is 0."""
    if before == 0:
        raise InputError(f"{what} is 0: its change has no meaning", field="contrast")
    return (after - before) / before


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Contrast(Shown):
    """SNR and CNR of a target and a reference region, before and after.

    Attributes
    ----------
    name : str
    noise_method : {"sd", "rayleigh"}
    slices : mapping of str to ndarray (n_slices,)
        Every quantity slice by slice; each slice is paired with itself.
    """

    name: str
    noise_method: NoiseMethod
    slices: Mapping[str, Array]

    @property
    def n_slices(self) -> int:
        """Slices in which all three regions were drawn."""
        return next(iter(self.slices.values())).size

    def mean(self, quantity: str) -> float:
        """Mean over slices, e.g. of ``"dSNR_reference"``."""
        return float(self.slices[quantity].mean())

    def sd(self, quantity: str) -> float:
        """SD over slices; NaN for one slice."""
        values = self.slices[quantity]
        return float(values.std(ddof=1)) if values.size > 1 else float("nan")

    def row(self) -> dict[str, Any]:
        """Means (and SDs where there are several slices) under the names of ``contrast.csv``."""
        row: dict[str, Any] = {"name": self.name, "noise_method": self.noise_method}
        row.update({quantity: self.mean(quantity) for quantity in self.slices})
        if self.n_slices > 1:
            row.update({f"{quantity}_sd": self.sd(quantity) for quantity in self.slices})
        row["n_slices"] = self.n_slices
        return row

    def __repr__(self) -> str:
        changes = {"target SNR": "dSNR_target", "reference SNR": "dSNR_reference", "CNR": "dCNR"}
        told = ", ".join(
            f"{name} {100 * self.mean(f'{key}_signed'):+.1f} %" for name, key in changes.items()
        )
        slices = "1 slice" if self.n_slices == 1 else f"{self.n_slices} slices"
        return f"Contrast: {self.name}: {told}; noise by {self.noise_method}, {slices}"


def measure_contrast(
    pre: NDArray[Any],
    post: NDArray[Any],
    regions: NDArray[np.integer],
    *,
    target: int,
    reference: int,
    noise: int,
    noise_method: NoiseMethod = "sd",
    name: str = "",
) -> Contrast:
    """SNR, relative CNR and their changes from one injection, slice by slice.

    Parameters
    ----------
    pre, post : ndarray (x, y, z)
        Magnitude images before and after, on one grid.
    regions : ndarray of int (x, y, z)
        Label image; `target`, `reference` and `noise` are its labels.
    noise_method : {"sd", "rayleigh"}
        See :func:`snr`.

    Returns
    -------
    Contrast
        ``SNR_target_pre`` … ``SNR_reference_post``; ``CNR_relative_pre`` and ``_post``; ``dSNR_…``
        and ``dCNR``, |post − pre|/pre as fractions; the signed changes as ``…_signed``.

    Raises
    ------
    InputError, GeometryError
        If grids differ, a label is missing, or a change would divide by zero.
    """
    labels, before, after = (_volume(a) for a in (regions, pre, post))
    if not labels.shape == before.shape == after.shape:
        raise GeometryError(
            f"pre {before.shape}, post {after.shape}, regions {labels.shape}", expected="one grid"
        )
    wanted = {"target": target, "reference": reference, "noise": noise}
    if len(set(wanted.values())) < len(wanted):
        raise InputError(f"labels {target}, {reference}, {noise}", expected="three different ones")
    for region, label in wanted.items():
        if not (labels == label).any():
            raise InputError(f"no voxel has label {label}", field=f"region {region}")
    present = [
        z
        for z in range(labels.shape[2])
        if all((labels[..., z] == v).any() for v in wanted.values())
    ]
    if not present:
        raise InputError("no slice has all three regions", expected="target, reference and noise")
    rows = [
        _one_slice(
            before[..., z],
            after[..., z],
            {k: labels[..., z] == v for k, v in wanted.items()},
            noise_method,
        )
        for z in present
    ]
    slices = {key: np.array([row[key] for row in rows]) for key in rows[0]}
    return Contrast(name, noise_method, MappingProxyType(slices))


def _volume(array: NDArray[Any]) -> NDArray[Any]:
    array = np.asarray(array)
    return array[..., None] if array.ndim == 2 else array


def _one_slice(
    pre: NDArray[Any],
    post: NDArray[Any],
    masks: Mapping[str, NDArray[np.bool_]],
    method: NoiseMethod,
) -> dict[str, float]:
    row = {
        f"SNR_{region}_{when}": snr(image, masks[region], masks["noise"], method)
        for region in ("target", "reference")
        for when, image in (("pre", pre), ("post", post))
    }
    for when in ("pre", "post"):
        row[f"CNR_relative_{when}"] = cnr_relative(
            row[f"SNR_target_{when}"], row[f"SNR_reference_{when}"]
        )
    for delta, quantity in (
        ("dCNR", "CNR_relative"),
        ("dSNR_target", "SNR_target"),
        ("dSNR_reference", "SNR_reference"),
    ):
        signed = change(
            row[f"{quantity}_pre"], row[f"{quantity}_post"], f"{quantity} before injection"
        )
        row[delta], row[f"{delta}_signed"] = abs(signed), signed
    return row
