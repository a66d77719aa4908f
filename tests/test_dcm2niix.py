"""What dcm2niix writes, in all its namings, and BIDS inputs: one series, in the order of values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

import relaxometry as rx
from relaxometry import nifti
from relaxometry.errors import InputError

from .test_nifti import save, voxels

SE = {"EchoTime": 0.01, "RepetitionTime": 3.0, "ScanningSequence": "SE", "SeriesDescription": "gel"}
GE = {"EchoTime": 0.005, "RepetitionTime": 0.02, "ScanningSequence": "GR"}


def image(path: Path, value: float, sidecar: dict[str, Any] | None = None) -> Path:
    """A volume that is `value` everywhere: the signal at one voxel says which file went where."""
    return save(path, np.full((4, 3, 2), value, dtype=np.float32), sidecar)


def signal(series: rx.Series) -> list[float]:
    return series.signal[1, 2, 1].tolist()


def test_echoes_are_sorted_by_their_times_and_not_by_their_names(tmp_path: Path) -> None:
    for echo in range(1, 11):
        image(tmp_path / f"gel_5_e{echo}.nii.gz", echo, SE | {"EchoTime": echo / 100})
    series = rx.read(tmp_path)
    assert series.kind == "MESE"
    assert signal(series) == list(range(1, 11))


@pytest.mark.parametrize(
    ("kind", "key", "values", "sidecar"),
    [
        ("VTR", "RepetitionTime", [3.0, 0.5, 8.0, 1.25], SE),
        ("VFA", "FlipAngle", [20.0, 2.0, 30.0, 5.0], GE),
    ],
)
@pytest.mark.parametrize("letters", [("", "a", "b", "c"), ("c", "", "a", "b")])
def test_variable_TR_and_angles_come_out_with_letters_in_any_order(
    tmp_path: Path, kind: str, key: str, values: list[float], sidecar: Any, letters: tuple[str]
) -> None:
    for letter, value in zip(letters, values, strict=True):
        image(tmp_path / f"gel_7_e1{letter}.nii.gz", value, sidecar | {key: value})
    series = rx.read(tmp_path)
    assert series.kind == kind
    assert signal(series) == series.protocol.times.tolist() == sorted(values)


def test_components_beside_each_other_are_kept_apart(tmp_path: Path) -> None:
    parts = {"": "M", "_ph": "PHASE", "_real": "REAL", "_imaginary": "IMAGINARY"}
    for echo in (1, 2, 3):
        for offset, (mark, word) in enumerate(parts.items()):
            fields = {"EchoTime": echo / 100, "ImageType": ["ORIGINAL", "PRIMARY", word]}
            image(tmp_path / f"gel_5_e{echo}{mark}.nii.gz", echo + 10 * offset, SE | fields)
    magnitude, real = rx.read_all(tmp_path)
    assert (magnitude.signed, signal(magnitude)) == (False, [1, 2, 3])
    assert (real.signed, signal(real)) == (True, [21, 22, 23])
    problems = [row.problem for row in rx.inspect(tmp_path).rows if row.problem]
    assert sorted(problems) == ["a phase image", "an imaginary image"]


@pytest.mark.parametrize(
    ("mark", "component"), [("_ph", "P"), ("_real", "R"), ("_imaginary", "I"), ("_pha", "P")]
)
def test_the_name_says_the_component_where_the_sidecar_does_not(
    tmp_path: Path, mark: str, component: str
) -> None:
    (one,) = nifti.images(image(tmp_path / f"gel_5_e1{mark}.nii.gz", 1, SE))
    assert (one.component, one.origin["signed"]) == (
        component,
        f"{mark.removesuffix('a') if component == 'P' else mark} in the file name",
    )
    says = SE | {"ImageType": ["ORIGINAL", "PRIMARY", "M"]}
    (one,) = nifti.images(image(tmp_path / f"gel_6_e1{mark}.nii.gz", 1, says))
    assert one.component == "M"
    (one,) = nifti.images(image(tmp_path / f"phantom{mark}.nii.gz", 1))
    assert one.component == "", "a file of nobody knows which program"


def test_image_numbers_behind_the_names(tmp_path: Path) -> None:
    for scan in (3, 4):
        for k in (1, 2, 3):
            fields = SE | {"EchoTime": k * scan / 1000}
            image(tmp_path / f"gel_{scan}_i{k:05d}.nii.gz", k * scan, fields)
    assert [signal(series) for series in rx.read_all(tmp_path)] == [[3, 6, 9], [4, 8, 12]]


def test_one_file_per_inversion_time_under_one_description(tmp_path: Path) -> None:
    for number, TI in enumerate([0.4, 0.05, 1.6, 0.1], 4):
        fields = {"InversionTime": TI, "SeriesNumber": number, "ScanningSequence": ["SE", "IR"]}
        image(tmp_path / f"{number}_gel.nii.gz", TI * 20, SE | fields)
    series = rx.read(tmp_path)
    assert series.kind == "IRT1"
    assert signal(series) == [1, 2, 8, 32]


@pytest.mark.parametrize(
    ("kind", "sidecar"),
    [
        ("MESE", SE | {"EchoTime": [0.03, 0.01, 0.02]}),
        ("IRT1", SE | {"InversionTime": [0.3, 0.1, 0.2]}),
        ("IRT1", SE | {"InversionTimes": [0.3, 0.1, 0.2], "RepetitionTimes": [3, 2, 2]}),
        ("VTR", SE | {"RepetitionTime": [3, 1, 2]}),
        ("VFA", GE | {"FlipAngle": [30, 10, 20]}),
    ],
)
def test_a_file_of_four_dimensions_with_lists(tmp_path: Path, kind: str, sidecar: Any) -> None:
    data = voxels(4, 3, 2, 3)
    save(tmp_path / "gel.nii.gz", data, sidecar)
    series = rx.read(tmp_path)
    assert series.kind == kind
    np.testing.assert_array_equal(series.signal, data[..., [1, 2, 0]])


@pytest.mark.parametrize(
    ("sidecar", "says"),
    [
        (SE | {"EchoTime": [0.01, 0.01, 0.02]}, "2 images of .*TE 10 ms.*never taken silently"),
        (SE | {"EchoTime": [0.01, 0.02, 0.03], "RepetitionTime": [1, 2, 3]}, "TE and TR vary toge"),
        (SE | {"EchoTime": [10, 20, 30]}, r"EchoTime: 10 s is too long.*milliseconds"),
        (SE | {"InversionTime": 0.1}, r"one InversionTime for 3 volumes.*--ti"),
        (SE, r"nothing varies: 3 images at TE 10 ms, TR 3000 ms.*--te"),
    ],
)
def test_what_cannot_be_a_sweep_is_refused(tmp_path: Path, sidecar: Any, says: str) -> None:
    path = save(tmp_path / "gel.nii.gz", voxels(4, 3, 2, 3), sidecar)
    with pytest.raises(InputError, match=says) as caught:
        rx.read(path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    times = {"te": [0.01, 0.02, 0.03]} | ({"tr": [3.0]} if "TE and TR" in says else {})
    assert rx.read(path, **times).kind == "MESE"


# --- BIDS ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suffix", "entity", "key", "shared"),
    [
        ("MESE", "echo", "EchoTime", {"RepetitionTime": 3.0}),
        ("MEGRE", "echo", "EchoTime", {"RepetitionTimeExcitation": 1.0, "FlipAngle": 20}),
        ("IRT1", "inv", "InversionTime", {"RepetitionTimeExcitation": 3.0, "EchoTime": 0.01}),
        ("VFA", "flip", "FlipAngle", {"RepetitionTimeExcitation": 0.02, "EchoTime": 0.005}),
    ],
)
@pytest.mark.parametrize("part", ["", "_part-mag", "_part-real"])
def test_bids_inputs_with_settings_of_their_folders(
    tmp_path: Path, suffix: str, entity: str, key: str, shared: dict[str, float], part: str
) -> None:
    save(tmp_path / "sub-01/anat/x.nii", voxels(2, 2, 1), {"MagneticFieldStrength": 3})
    (tmp_path / "sub-01/anat/x.nii").unlink()
    (tmp_path / "sub-01/anat/x.json").rename(tmp_path / f"{suffix}.json")
    (tmp_path / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.10.0"}')
    values = {k: (k if key == "FlipAngle" else k / 10) for k in (1, 2, 10)}
    for k, value in values.items():
        name = f"sub-01_{entity}-{k}{part}_{suffix}.nii.gz"
        image(tmp_path / "sub-01" / "anat" / name, k, shared | {key: value})
        if part:
            other = name.replace(part, "_part-phase")
            image(tmp_path / "sub-01" / "anat" / other, -k, shared | {key: value})
    (series,) = rx.read_all(tmp_path)
    assert (series.kind, series.field_T) == (suffix, 3.0)
    assert signal(series) == list(values)
    assert series.protocol.times.tolist() == list(values.values())
    assert series.signed == (part == "_part-real")


# --- how a file is written -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "order", "name", "encoding"),
    [
        (1, "<", "x.nii", "NIfTI-1"),
        (1, "<", "x.nii.gz", "NIfTI-1, gzip"),
        (1, ">", "x.nii", "NIfTI-1, big-endian"),
        (2, "<", "x.nii", "NIfTI-2"),
        (2, ">", "x.nii.gz", "NIfTI-2, big-endian, gzip"),
    ],
)
def test_how_a_file_is_written_is_said(
    tmp_path: Path, kind: int, order: str, name: str, encoding: str
) -> None:
    make, head = {1: (nib.Nifti1Image, nib.Nifti1Header), 2: (nib.Nifti2Image, nib.Nifti2Header)}[
        kind
    ]
    data = voxels(4, 3, 2, 2)
    nib.save(make(data, np.eye(4), header=head(endianness=order)), tmp_path / name)
    one, two = nifti.images(tmp_path / name)
    assert one.encoding == two.encoding == encoding
    np.testing.assert_array_equal(two.load(), data[..., 1])
