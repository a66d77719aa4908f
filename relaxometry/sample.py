"""A simulated study as a folder: scans, `study.toml`, and the truth.

Of tubes: DICOM, BIDS and the sheet of tubes. Of mice: see :mod:`relaxometry.animalstudy`.
"""

from __future__ import annotations

from pathlib import Path

from . import animals, bids, dicomwriter, nifti
from .animalstudy import write_animals, write_pair
from .errors import InputError
from .series import Series
from .simulate import SCANS, Phantom, mese, phantom, t1_series
from .truthfiles import write_csv
from .whole import whole_folder

#: What can be simulated.
PROTOCOLS = (*SCANS, *animals.SCANS)

_README = """\
A simulated study. No scanner and no animal was involved: every number below is known.

{tubes} tubes of iron oxide in 1 % agarose at {field:g} T, S0/sigma = {snr:g}, seed {seed},
protocol "{protocol}".

study.toml             what to analyse: relaxometry report study.toml -o report
tubes.csv              what is in each tube, numbered by rows from the top left
dicom/                 the T2 and the T1 series as a scanner would write them
bids/                  the same two series as a BIDS data set
contrast/              a liver with a tumour, T2-weighted, before and 60 min after an injection of
                       C3, and its regions: 1 tumour, 2 liver, 3 air, 4 muscle
truth.csv              T1, T2, R1 and R2 of each tube, and its circle in mm along a row (x) and
                       down a column (y) from the centre of the first voxel
truth_relaxivity.csv   r1 and r2 of each agent, and the rates of the medium without agent
truth_contrast.csv     SNR = signal/sigma, relative CNR, R1, R2 and concentration of each region
                       before (0 min) and after, and their changes
labels.nii.gz          tube number in each voxel
"""

_STUDY = """\
[study]
title = "Simulated iron oxides, {field:g} T"
field_T = {field:.1f}
temperature_C = 22.0
medium = "1 % agarose"
concentration_of = "Fe"

[T2]
path = "dicom/t2_mese"

[T1]
path = "dicom/{t1}"

[tubes]
sheet = "tubes.csv"
order = "rows"
on = "T2"

[[contrast]]
name = "C3, axial"
pre = "contrast/pre.nii.gz"
post = "contrast/post.nii.gz"
regions = "contrast/regions.nii.gz"
target = 1
reference = 2
noise = 3
"""


def write_study(
    folder: str | Path,
    protocol: str = "seed-7T",
    seed: int = 0,
    snr: float = 150,
    *,
    force: bool = False,
) -> Path:
    """Simulate a study and write it, all or nothing, the same to the byte on every run.

    Parameters
    ----------
    folder : str or Path
        To be made.
    protocol : str
        A name in :data:`PROTOCOLS`: of :data:`relaxometry.simulate.SCANS` a phantom of tubes, of
        :data:`relaxometry.animals.SCANS` mice with a liver tumour.
    seed : int
        Of the noise, and of the scatter between animals.
    snr : float
        S0/σ.
    force : bool
        Replace an earlier study.

    Returns
    -------
    Path
        Its ``study.toml``.

    Raises
    ------
    InputError
        If there is no such protocol; if the folder exists, unless `force` is given and it is empty
        or holds a study.
    """
    if protocol not in PROTOCOLS:
        raise InputError(
            f"no protocol {protocol!r}", field="protocol", expected=", ".join(PROTOCOLS)
        )
    folder = Path(folder)
    with whole_folder(folder, "study.toml", force) as beside:
        write = write_animals if protocol in animals.SCANS else _write_tubes
        write(beside, protocol, seed, snr)
    return folder / "study.toml"


def _write_tubes(folder: Path, protocol: str, seed: int, snr: float) -> None:
    scanned = phantom(protocol)
    T2, T1 = mese(scanned, seed, snr), t1_series(scanned, seed, snr)
    t1 = "t1_vtr" if T1.kind == "VTR" else "t1_ir"
    _write_scans(folder, T2, T1, t1, uid_seed=f"{protocol} {seed} {snr:g}")
    _write_truth(folder, scanned)
    write_pair(folder / "contrast", folder / "truth_contrast.csv", seed, snr)
    _write_words(folder, scanned, t1, protocol=protocol, seed=seed, snr=snr)


def _write_scans(folder: Path, T2: Series, T1: Series, t1: str, uid_seed: str) -> None:
    for number, (name, series) in enumerate({"t2_mese": T2, t1: T1}.items(), 1):
        dicomwriter.write_series(
            series,
            folder / "dicom" / name,
            description=name,
            series_number=number,
            uid_seed=uid_seed,
        )
        bids.write_series(series, folder / "bids", subject="01")


def _write_truth(folder: Path, phantom: Phantom) -> None:
    tubes = phantom.tubes
    write_csv(
        folder / "tubes.csv",
        "tube,agent,concentration_mM",
        ((t.number, t.agent, t.concentration_mM) for t in tubes),
    )
    write_csv(
        folder / "truth.csv",
        "tube,agent,concentration_mM,T1_s,T2_s,R1_per_s,R2_per_s,x_mm,y_mm,radius_mm",
        (
            (
                *(t.number, t.agent, t.concentration_mM),
                *(1 / t.R1, 1 / t.R2, t.R1, t.R2),
                *(t.x, t.y, t.radius),
            )
            for t in tubes
        ),
    )
    write_csv(
        folder / "truth_relaxivity.csv",
        "agent,r1_per_mM_per_s,r2_per_mM_per_s,R1_0_per_s,R2_0_per_s",
        ((a.name, a.r1, a.r2, phantom.R1_0, phantom.R2_0) for a in phantom.agents),
    )
    nifti.write_volume(folder / "labels.nii.gz", phantom.labels, phantom.affine)


def _write_words(
    folder: Path, phantom: Phantom, t1: str, *, protocol: str, seed: int, snr: float
) -> None:
    facts = {
        "field": phantom.scan.field_T,
        "tubes": len(phantom.tubes),
        "t1": t1,
        "protocol": protocol,
        "seed": seed,
        "snr": snr,
    }
    for name, text in (("study.toml", _STUDY), ("README.txt", _README)):
        (folder / name).write_text(text.format(**facts), encoding="utf-8", newline="\n")
