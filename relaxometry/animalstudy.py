"""A simulated study in living mice as a folder: images, T1 and T2 series, regions and the truth."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from . import bids, nifti
from .animals import REGIONS, Mouse, mice, truth, typical_mouse
from .animalscans import mese, t1_vtr, t2_weighted, tumour
from .truthfiles import write_csv

_README = """\
A simulated study. No scanner and no animal was involved: every number below is known.

{n} mice with a tumour in the liver at {field:g} T, before and {times} min after an
injection of iron oxide clusters ({agent}: r1 {r1:g}, r2 {r2:g} per mM per s). S0/sigma = {snr:g},
seed {seed}, protocol "{protocol}".

study.toml           what to analyse: the images, their times and regions
regions.csv          the name of each label: {labels}
mouse1 ... mouse{n}/   T2-weighted spin echo, TE {TE:g} ms, TR {TR:g} s, {slices} slices, one coil:
                     pre.nii.gz, post_010min.nii.gz ..., and regions.nii.gz drawn on them
mouse1/t2_..., t1_... multi-echo spin echo and variable TR of the centre slice, before and at
                     {peak:g} min: pre and post
truth.csv            by animal, time and region: concentration, R1, R2 and their rise, signal
                     without noise (S0 of water = 1), SNR = signal/sigma, relative CNR of the
                     tumour and the region, and their changes; 0 min is before

Signal: S0 (1 - exp(-TR R1)) exp(-TE R2), R = R(0) + r c. The liver's concentration rises to its
peak at {peak:g} min, c = c_peak sqrt(t/tp exp(1 - t/tp)); the tumour takes up next to nothing,
muscle nothing. Animals scatter: uptake by 8 %, T1 by 3 %, T2 by 2 %, size by 2 % (SD).
"""

_STUDY = """\
[study]
title = "Simulated liver tumours, {field:g} T"
field_T = {field:.1f}
concentration_of = "Fe"
"""

_MOUSE = """
[[contrast]]
name = "mouse {number}"
animal = "{number}"
group = "{agent}"
pre = "mouse{number}/pre.nii.gz"
post = [{post}]
times = [{times}]
regions = "mouse{number}/regions.nii.gz"
names = "regions.csv"
target = "tumour"
reference = "liver"
noise = "air"
muscle = "muscle"
noise_method = "rayleigh"
TE = "{TE_ms:g} ms"
"""

_SERIES = """\
T2_pre = "mouse{number}/t2_pre"
T2_post = ["mouse{number}/t2_post"]
T1_pre = "mouse{number}/t1_pre"
T1_post = ["mouse{number}/t1_post"]
rate_times = ["{peak:g} min"]
"""

_RELAXIVITIES = """\
r1_per_mM_per_s = {r1:g}
r2_per_mM_per_s = {r2:g}
"""


def write_animals(folder: Path, protocol: str, seed: int, snr: float) -> None:
    """Write the study into a folder that is there and empty, the same to the byte on every run.

    Parameters
    ----------
    folder : Path
    protocol : str
        A name in :data:`relaxometry.animals.SCANS`.
    seed : int
        Of the animals' scatter and of the noise.
    snr : float
        S0/σ of water.

    Raises
    ------
    InputError
        If there is no such protocol, or `snr` is not positive.
    """
    animals = mice(seed=seed, protocol=protocol)
    for mouse in animals:
        _write_images(folder / f"mouse{mouse.number}", mouse, seed, snr)
    # One animal's series show how it is done; those of all would be most of the study's size.
    _write_series(folder / "mouse1", animals[0], seed, snr)
    _write_names(folder / "regions.csv")
    _write_truth(folder / "truth.csv", truth(animals, snr))
    _write_words(folder, animals, protocol=protocol, seed=seed, snr=snr)


def write_pair(folder: Path, truth_file: Path, seed: int, snr: float) -> None:
    """Write the typical mouse before and at the peak, its regions and their names, and its truth.

    Parameters
    ----------
    folder : Path
        For ``pre.nii.gz``, ``post.nii.gz``, ``regions.nii.gz`` and ``regions.csv``.
    truth_file : Path
        As ``truth.csv`` of :func:`write_animals`.
    seed, snr
        As there.
    """
    pre, post, regions, affine = tumour(seed, snr)
    for name, image in (("pre", pre), ("post", post), ("regions", regions)):
        nifti.write_volume(folder / f"{name}.nii.gz", image, affine)
    _write_names(folder / "regions.csv")
    mouse = typical_mouse()
    _write_truth(truth_file, truth([mouse], snr, [mouse.scan.rate_time_min]))


def _write_images(folder: Path, mouse: Mouse, seed: int, snr: float) -> None:
    scanned = t2_weighted(mouse, seed, snr)
    nifti.write_volume(folder / "pre.nii.gz", scanned.pre, scanned.affine)
    for time in mouse.scan.times_min:
        nifti.write_volume(folder / _post(time), scanned.post(time), scanned.affine)
    nifti.write_volume(folder / "regions.nii.gz", scanned.labels, scanned.affine)


def _write_series(folder: Path, mouse: Mouse, seed: int, snr: float) -> None:
    for when, time in (("pre", 0.0), ("post", mouse.scan.rate_time_min)):
        for name, scan in (("t2", mese), ("t1", t1_vtr)):
            series = scan(mouse, time, seed, snr)
            bids.write_images(series, folder / f"{name}_{when}", subject=f"mouse{mouse.number}")


def _write_names(path: Path) -> None:
    write_csv(path, "label,name", ((label, name) for name, label in REGIONS.items()))


def _write_truth(path: Path, table: pd.DataFrame) -> None:
    write_csv(path, ",".join(map(str, table)), table.itertuples(index=False))


def _write_words(
    folder: Path, animals: tuple[Mouse, ...], *, protocol: str, seed: int, snr: float
) -> None:
    scan, agent = animals[0].scan, animals[0].agent
    study = _STUDY.format(field=scan.field_T)
    for mouse in animals:
        number = mouse.number
        study += _MOUSE.format(
            number=number,
            agent=agent.name,
            TE_ms=1e3 * scan.TE,
            post=_quoted(f"mouse{number}/{_post(time)}" for time in scan.times_min),
            times=_quoted(f"{time:g} min" for time in scan.times_min),
        )
        if mouse is animals[0]:
            study += _SERIES.format(number=number, peak=scan.rate_time_min)
            study += _RELAXIVITIES.format(r1=agent.r1, r2=agent.r2)
    readme = _README.format(
        n=len(animals),
        field=scan.field_T,
        times=", ".join(f"{time:g}" for time in scan.times_min),
        agent=agent.name,
        r1=agent.r1,
        r2=agent.r2,
        snr=snr,
        seed=seed,
        protocol=protocol,
        labels=", ".join(f"{label} {name}" for name, label in REGIONS.items()),
        TE=scan.TE * 1e3,
        TR=scan.TR,
        slices=scan.slices,
        peak=scan.rate_time_min,
    )
    for name, text in (("study.toml", study), ("README.txt", readme)):
        (folder / name).write_text(text, encoding="utf-8", newline="\n")


def _post(time_min: float) -> str:
    return f"post_{time_min:03.0f}min.nii.gz"


def _quoted(texts: Iterable[str]) -> str:
    return ", ".join(f'"{text}"' for text in texts)
