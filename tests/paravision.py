"""Small ParaVision studies written by hand: what a scanner would leave, with known voxels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

SECRET = "Sentinel"
AXIAL = (1, 0, 0, 0, 1, 0, 0, 0, 1)
WORDS = {
    "_8BIT_UNSGN_INT": "u1",
    "_16BIT_SGN_INT": "i2",
    "_32BIT_SGN_INT": "i4",
    "_32BIT_FLOAT": "f4",
}
# What a study says of people and places, none of which may come out of a reader.
PEOPLE = dict.fromkeys(
    (
        *("VisuSubjectName", "VisuSubjectId", "VisuSubjectComment", "VisuStudyId"),
        *("VisuStudyReferringPhysician", "VisuStudyDescription", "VisuInstitution"),
        *("VisuStation", "VisuSystemOrderNumber", "VisuSeriesComment", "VisuAcquisitionProtocol"),
        *("VisuSubjectBirthDate", "VisuUid"),
    ),
    SECRET,
)


class Word(str):
    """A code word, which JCAMP-DX writes without brackets."""


def jcamp(parameters: Mapping[str, Any], title: str = "ParaVision 6.0.1") -> str:
    """A JCAMP-DX file as ParaVision writes it."""
    lines = [
        f"##TITLE=Parameter List, {title}",
        "##JCAMPDX=4.24",
        "##DATATYPE=Parameter Values",
        "##ORIGIN=Bruker BioSpin MRI GmbH",
        f"##OWNER={SECRET}",
        f"$$ 2016-07-18 12:44:12.540 +0200  {SECRET}@host",
        f"$$ /opt/PV6.0.1/data/{SECRET}/9/pdata/1/visu_pars",
    ]
    for name, value in parameters.items():
        lines.append(f"##${name}={_written(value)}")
        lines.append(f"$$ @vis= {name}")
    return "\n".join([*lines, "##END=", f"$$ File finished by PARX, {SECRET}", ""])


def _written(value: Any) -> str:
    if isinstance(value, Word):
        return str(value)
    if isinstance(value, str):
        return f"( 65 )\n<{value}>"
    if isinstance(value, (int, float)):
        return repr(value)
    values = list(value)
    if isinstance(values[0], tuple):
        return f"( {len(values)} )\n" + " ".join(
            "(" + ", ".join(f"<{v}>" if isinstance(v, str) else str(v) for v in row) + ")"
            for row in values
        )
    if isinstance(values[0], str) and not isinstance(values[0], Word):
        return f"( {len(values)}, 65 )\n" + " ".join(f"<{v}>" for v in values)
    texts = [str(v) if isinstance(v, Word) else repr(float(v)) for v in values]
    # ParaVision breaks its lines.
    rows = [" ".join(texts[k : k + 6]) for k in range(0, len(texts), 6)]
    return f"( {len(values)} )\n" + " \n".join(rows)


def write_scan(
    study: Path,
    number: int,
    stored: np.ndarray,
    groups: Sequence[tuple[int, str, str, Sequence[str]]],
    settings: Mapping[str, Any],
    *,
    processing: int = 1,
    slope: Any = 1.0,
    offset: Any = 0.0,
    slices: int = 1,
    step_mm: float = 2.0,
    word: str = "_16BIT_SGN_INT",
    order: str = "littleEndian",
    acqp: Mapping[str, Any] | None = None,
    without: Sequence[str] = (),
    title: str = "ParaVision 6.0.1",
) -> Path:
    """Write a scan of frames (x, y, [z,] frame) and give its 2dseq.

    `groups` are (length, name, comment, parameters swept); `settings` are the parameters of
    visu_pars that matter, and win over all others; `without` leaves some out.
    """
    *size, frames = stored.shape
    volume = len(size) == 3
    extent = [0.5 * size[0], 0.25 * size[1], *([step_mm * size[2]] if volume else [])]
    swept: list[tuple[str, int]] = []
    described = []
    for length, name, comment, parameters in groups:
        described.append((length, name, comment, len(swept), len(parameters)))
        swept += [(parameter, 0) for parameter in parameters]
    parameters = {
        "VisuVersion": 3,
        "VisuCreator": "ParaVision",
        "VisuCreatorVersion": "6.0.1",
        "VisuCoreFrameCount": frames,
        "VisuCoreDim": len(size),
        "VisuCoreSize": size,
        "VisuCoreDimDesc": [Word("spatial")] * len(size),
        "VisuCoreExtent": extent,
        "VisuCoreFrameThickness": [1.0],
        "VisuCoreUnits": ["mm"] * len(size),
        "VisuCoreOrientation": [v for _ in range(slices) for v in AXIAL],
        "VisuCorePosition": [v for z in range(slices) for v in (-2.0, -3.0, step_mm * z)],
        "VisuCoreDataOffs": np.broadcast_to(offset, frames),
        "VisuCoreDataSlope": np.broadcast_to(slope, frames),
        "VisuCoreFrameType": [Word("MAGNITUDE_IMAGE")],
        "VisuCoreWordType": Word(word),
        "VisuCoreByteOrder": Word(order),
        "VisuSeriesTypeId": "ACQ_BRUKER_PVM",
        "VisuExperimentNumber": number,
        "VisuProcessingNumber": processing,
        "VisuAcqSequenceName": "Bruker:MSME",
        "VisuAcqEchoSequenceType": Word("Both"),
        "VisuAcqImagingFrequency": 300.33,
        "VisuAcqImagedNucleus": "1H",
        "VisuAcqFlipAngle": 90.0,
        **({"VisuFGOrderDesc": described} if described else {}),
        **({"VisuGroupDepVals": swept} if swept else {}),
        **PEOPLE,
        **settings,
    }
    if slices > 1:
        parameters.setdefault("VisuCoreSlicePacksSliceDist", [step_mm])
    parameters = {name: v for name, v in parameters.items() if name not in without}
    scan = study / str(number)
    folder = scan / "pdata" / str(processing)
    folder.mkdir(parents=True)
    for file in (study / "subject", scan / "method", scan / "fid", scan / "pulseprogram"):
        file.write_text(jcamp({"SUBJECT_name_string": SECRET, "Method": SECRET}, title))
    (scan / "acqp").write_text(jcamp({"ACQ_operator": SECRET, **(acqp or {})}, title))
    for name in ("id", "procs", "roi"):
        (folder / name).write_text(jcamp({"DATASET_KEY": SECRET}, title))
    (folder / "reco").write_text(jcamp({"RECO_image_type": Word("MAGNITUDE_IMAGE")}, title))
    (folder / "visu_pars").write_text(jcamp(parameters, title))
    kind = np.dtype({"littleEndian": "<", "bigEndian": ">"}[order] + WORDS[word])
    (folder / "2dseq").write_bytes(stored.astype(kind).tobytes(order="F"))
    return folder / "2dseq"


def frames(count: int, size: tuple[int, ...] = (4, 3), seed: int = 0) -> np.ndarray:
    """Random voxels (x, y, [z,] frame) that fit into 8 bits."""
    return np.random.default_rng(seed).integers(1, 250, (*size, count))


def write_fit(study: Path, number: int, t2_ms: np.ndarray, unit: str = "msec", **more: Any) -> Path:
    """ParaVision's own T2 fit (x, y, z) of a scan, in pdata/2, stored in steps of 0.5 ms."""
    z = t2_ms.shape[2]
    comments = [
        *("signal intensity", "std dev of signal intensity"),
        *("T2 relaxation time", "std dev of T2 relaxation time", "std dev of the fit"),
    ]
    stored = frames(5 * z, t2_ms.shape[:2]).reshape(*t2_ms.shape[:2], 5, z, order="F")
    stored[:, :, 2] = np.rint(t2_ms / 0.5)
    groups = [
        (5, "FG_ISA", "", ["VisuFGElemComment", "VisuCoreDataUnits"]),
        (z, "FG_SLICE", "", ["VisuCoreOrientation", "VisuCorePosition"]),
    ]
    settings = {
        "VisuSeriesTypeId": "DERIVED_ISA",
        "VisuFGElemComment": comments,
        "VisuCoreDataUnits": ["a.u.", "a.u.", unit, unit, "a.u."],
        "VisuAcqEchoTime": [10.0],
        "VisuAcqRepetitionTime": [3000.0],
        **more,
    }
    return write_scan(
        study,
        number,
        stored.reshape(*t2_ms.shape[:2], -1, order="F"),
        groups,
        settings,
        processing=2,
        slices=z,
        slope=np.tile([1.0, 1.0, 0.5, 0.5, 1.0], z),
    )
