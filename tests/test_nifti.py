"""NIfTI and BIDS: what nibabel writes is read right, and nibabel reads right what is written."""

from __future__ import annotations

import gzip
import json
import mmap
from collections.abc import Iterator
from pathlib import Path
from time import process_time
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from relaxometry import nifti
from relaxometry.bids import write_labels, write_maps, write_series
from relaxometry.errors import GeometryError, InputError
from relaxometry.folder import read
from relaxometry.maps import ParameterMaps, Status
from relaxometry.models import MODELS
from relaxometry.plan import assemble
from relaxometry.points import Choices
from relaxometry.series import Protocol, Series

AFFINE = np.array([[0, -2, 0, 10], [1.5, 0, 0, -20], [0, 0, 4, 5], [0, 0, 0, 1]], dtype=float)


def save(path: Path, array: Any, sidecar: Any = None, affine: Any = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.asarray(array), affine), path)
    if sidecar is not None:
        name = path.name.removesuffix(".gz").removesuffix(".nii")
        text = sidecar if isinstance(sidecar, str) else json.dumps(sidecar)
        path.with_name(f"{name}.json").write_text(text, encoding="utf-8")
    return path


def load(path: Path) -> Any:
    return nib.load(path)


def voxels(*shape: int) -> np.ndarray:
    """Every voxel with its own value, so that no axis can be exchanged or turned unseen."""
    return np.arange(np.prod(shape), dtype=np.int16).reshape(shape)


def forged(path: Path, source: Path, **fields: Any) -> Path:
    """A copy of an uncompressed file, with fields of its header overwritten as they are."""
    data = source.read_bytes()
    header = nib.Nifti1Header(data[:348], check=False)
    for name, value in fields.items():
        header[name] = value
    raw = header.binaryblock + data[348:]
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    return save(tmp_path / "volume.nii", voxels(4, 3, 2))


# --- images --------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_four_dimensions_are_one_image_per_volume(tmp_path: Path, suffix: str) -> None:
    data = voxels(4, 3, 2, 3)
    sidecar = {
        "EchoTime": [0.03, 0.01, 0.02],
        "RepetitionTime": 2,
        "FlipAngle": 90,
        "MagneticFieldStrength": 7,
        "Manufacturer": "Bruker",
        "PatientName": "Doe^Jane",
    }
    images = nifti.images(save(tmp_path / f"mese{suffix}", data, sidecar))
    assert [i.settings["TE"] for i in images] == [0.03, 0.01, 0.02]
    assert all(i.settings["TR"] == 2.0 and i.settings["FA"] == 90.0 for i in images)
    assert all((i.field_T, i.vendor, i.source) == (7.0, "Bruker", "NIfTI") for i in images)
    assert "Doe" not in repr(images)
    for k in (2, 0, 1):
        loaded = images[k].load()
        assert loaded.dtype == np.float32
        np.testing.assert_array_equal(loaded, data[..., k])
        np.testing.assert_allclose(images[k].affine, AFFINE)


def test_values_order_the_echoes_and_names_do_not(tmp_path: Path) -> None:
    for echo in range(1, 13):
        data = np.full((4, 3, 1), 100 - echo, dtype=np.int16)
        save(tmp_path / f"T2_7_e{echo}.nii.gz", data, {"EchoTime": echo / 100})
    images = [i for path in sorted(tmp_path.glob("*.nii.gz")) for i in nifti.images(path)]
    assert len({i.acquisition for i in images}) == 1
    series = assemble(images, tmp_path)
    np.testing.assert_allclose(series.protocol.TE, np.arange(1, 13) / 100)
    np.testing.assert_array_equal(series.signal[0, 0, 0], 100 - np.arange(1, 13))


def test_times_by_hand_follow_the_numbers_in_the_names(tmp_path: Path) -> None:
    for echo in (1, 2, 10):
        save(tmp_path / f"T2_e{echo}.nii", np.full((4, 3, 1), 100 - echo, dtype=np.int16))
    images = [i for path in sorted(tmp_path.glob("*.nii")) for i in nifti.images(path)]
    series = assemble(images, tmp_path, times={"TE": [0.01, 0.02, 0.1]})
    np.testing.assert_array_equal(series.signal[0, 0, 0], [99, 98, 90])


@pytest.mark.parametrize("name", ["scaled.nii", "scaled.nii.gz"])
@pytest.mark.parametrize("slope", [2.0, 0.25, 0.0])
def test_scaling_is_applied_once(tmp_path: Path, volume: Path, name: str, slope: float) -> None:
    path = forged(tmp_path / name, volume, scl_slope=slope, scl_inter=-3.0)
    stored = voxels(4, 3, 2)
    expected = stored * slope - 3 if slope else stored  # a slope of 0 means "as stored"
    np.testing.assert_array_equal(nifti.images(path)[0].load(), expected)
    np.testing.assert_array_equal(nifti.read_volume(path)[0], expected)


def test_big_endian_nifti2_and_two_dimensions(tmp_path: Path) -> None:
    data = voxels(4, 3)
    header = nib.Nifti2Header(endianness=">")
    image = nib.Nifti2Image(data, AFFINE, header=header)
    nib.save(image, tmp_path / "slice.nii")
    (read,) = nifti.images(tmp_path / "slice.nii")
    assert read.shape == (4, 3, 1)
    assert read.settings == {}
    np.testing.assert_array_equal(read.load()[..., 0], data)


def test_units_of_length_become_mm(tmp_path: Path) -> None:
    image = nib.Nifti1Image(voxels(4, 3, 2), AFFINE)
    image.header.set_xyzt_units("micron")
    nib.save(image, tmp_path / "small.nii")
    _, affine = nifti.read_volume(tmp_path / "small.nii")
    np.testing.assert_allclose(affine[:3], AFFINE[:3] * 1e-3)


def test_folded_inversion_recovery_has_no_inversion_times(tmp_path: Path) -> None:
    data = voxels(4, 3, 1, 3)
    sidecar = {"InversionTime": 0.05, "RepetitionTime": 3.0, "EchoTime": 0.01}
    images = nifti.images(save(tmp_path / "ir.nii.gz", data, sidecar))
    assert all("TI" not in i.settings for i in images)
    with pytest.raises(InputError, match=r"one InversionTime for 3 volumes.*--ti"):
        assemble(images, tmp_path)
    series = assemble(images, tmp_path, times={"TI": [0.4, 0.05, 0.1]}, polarity="magnitude")
    assert series.kind == "IRT1"
    np.testing.assert_array_equal(series.signal, data[..., [1, 2, 0]])


def test_inversion_times_may_be_a_list_and_a_constant_one_is_kept(tmp_path: Path) -> None:
    path = save(
        tmp_path / "ir.nii", voxels(4, 3, 1, 2), {"InversionTimes": [0.1, 0.2], "InversionTime": 9}
    )
    assert [i.settings["TI"] for i in nifti.images(path)] == [0.1, 0.2]
    path = save(
        tmp_path / "te.nii", voxels(4, 3, 1, 2), {"EchoTime": [0.1, 0.2], "InversionTime": 0.5}
    )
    assert [i.settings["TI"] for i in nifti.images(path)] == [0.5, 0.5]


def test_repetition_time_of_the_excitation_is_preferred(tmp_path: Path) -> None:
    sidecar = {"RepetitionTime": 5.0, "RepetitionTimeExcitation": 0.02}
    (image,) = nifti.images(save(tmp_path / "vfa.nii", voxels(4, 3, 1), sidecar))
    assert image.settings == {"TR": 0.02}


@pytest.mark.parametrize(
    ("name", "sidecar", "component", "sequence", "problem"),
    [
        ("a", {"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"]}, "M", None, ""),
        ("a", {"ImageType": ["ORIGINAL", "PRIMARY", "R_IR", "R", "IR"]}, "R", None, ""),
        ("a", {"ComplexImageComponent": "PHASE"}, "P", None, "phase images"),
        ("a", {"ScanningSequence": "SE_IR"}, "", "SE", ""),
        ("a", {"ScanningSequence": ["GR", "IR"]}, "", "GE", ""),
        ("a", {"ScanningSequence": "IR"}, "", None, ""),
        ("a", {"PulseSequenceType": "Gradient Echo EPI"}, "", "GE", ""),
        ("sub-01_echo-1_MESE", {}, "", "SE", ""),
        ("sub-01_inv-1_IRT1", {"ScanningSequence": "GR"}, "", "GE", ""),
        ("sub-01_flip-1_VFA", {}, "", "GE", ""),
        ("sub-01_echo-1_part-mag_MEGRE", {}, "M", "GE", ""),
        ("sub-01_inv-1_part-real_IRT1", {"ImageType": ["O", "P", "M"]}, "R", "SE", ""),
        ("sub-01_echo-1_part-imag_MESE", {}, "I", "SE", "imaginary images"),
    ],
)
def test_component_and_sequence(
    tmp_path: Path, name: str, sidecar: Any, component: str, sequence: str | None, problem: str
) -> None:
    (image,) = nifti.images(save(tmp_path / f"{name}.nii.gz", voxels(4, 3, 1), sidecar))
    assert (image.component, image.sequence) == (component, sequence)
    assert problem in image.problem
    assert bool(problem) == bool(image.problem)


@pytest.mark.parametrize("name", ["sub-01_T2map", "sub-01_desc-tubes_dseg", "sub-01_mask"])
def test_what_was_computed_from_scans_is_no_scan(tmp_path: Path, name: str) -> None:
    path = save(tmp_path / f"{name}.nii.gz", voxels(4, 3, 1), {"EchoTime": [0.01, 0.02]})
    assert nifti.images(path) == []
    np.testing.assert_array_equal(nifti.read_volume(path)[0], voxels(4, 3, 1))


@pytest.mark.parametrize(
    ("names", "groups"),
    [
        (["sub-01_echo-1_MESE", "sub-01_echo-10_MESE"], 1),
        (["sub-01_inv-1_part-mag_IRT1", "sub-01_inv-2_part-mag_IRT1"], 1),
        (["sub-01_flip-1_VFA", "sub-02_flip-2_VFA"], 2),
        (["scan_5_e1", "scan_5_e1a", "scan_5_e12b"], 1),
        (["scan_5_e1", "scan_5_e1_ph"], 2),
        (["scan_e1_5", "scan_e2_5"], 2),
        (["one", "two"], 2),
    ],
)
def test_files_of_one_acquisition_are_known_by_name(
    tmp_path: Path, names: list[str], groups: int
) -> None:
    images = [
        nifti.images(save(tmp_path / f"{name}.nii", voxels(4, 3, 1)))[0].acquisition
        for name in names
    ]
    assert len(set(images)) == groups


def test_sidecars_are_inherited_and_the_deepest_wins(tmp_path: Path) -> None:
    def put(name: str, fields: dict[str, Any]) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(fields))

    put("MESE.json", {"RepetitionTime": 99})  # above the data set: another one's
    put("set/dataset_description.json", {"Name": "x", "BIDSVersion": "1.10.0"})
    put("set/MESE.json", {"RepetitionTime": 1, "MagneticFieldStrength": 3})
    put("set/IRT1.json", {"Manufacturer": "of another suffix"})
    put("set/sub-01/sub-01_MESE.json", {"RepetitionTime": 2, "Manufacturer": "Bruker BioSpin"})
    put("set/sub-01/anat/sub-01_echo-1_MESE.json", {"EchoTime": 0.01})
    put("set/sub-01/anat/sub-01_echo-2_MESE.json", {"EchoTime": 0.02, "RepetitionTime": 3})
    put("set/sub-01/anat/sub-02_MESE.json", {"FlipAngle": 1})
    settings, origin = [], []
    for echo in (1, 2):
        path = tmp_path / f"set/sub-01/anat/sub-01_echo-{echo}_MESE.nii.gz"
        (image,) = nifti.images(save(path, voxels(4, 3, 1)))
        assert (image.field_T, image.vendor) == (3.0, "Bruker")
        settings.append(image.settings)
        origin.append(image.origin["TR"])
    assert settings == [{"TE": 0.01, "TR": 2.0}, {"TE": 0.02, "TR": 3.0}]
    assert origin == [
        "RepetitionTime (sub-01_MESE.json)",
        "RepetitionTime (sub-01_echo-2_MESE.json)",
    ]


def test_inheritance_reaches_above_a_relative_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dataset_description.json").write_text("{}")
    (tmp_path / "MESE.json").write_text('{"RepetitionTime": 1}')
    path = save(tmp_path / "sub-01/anat/sub-01_echo-1_MESE.nii", voxels(4, 3, 1))
    monkeypatch.chdir(path.parent)
    assert nifti.images(path.name)[0].settings == {"TR": 1.0}


@pytest.mark.parametrize(
    ("sidecar", "says"),
    [
        ({"EchoTime": 12.7}, "milliseconds"),
        ({"EchoTime": [5, 10, 15]}, "milliseconds"),
        ({"EchoTime": [1, 2, 3]}, "EchoTime: 3 s is too long, it looks like milliseconds"),
        (
            {"EchoTime": [0.5, 1, 1.5], "RepetitionTime": 1},
            "EchoTime: 1.5 s is longer than RepetitionTime, 1 s; expected both in seconds",
        ),
        ({"InversionTime": [100, 200, 400]}, "milliseconds"),
        ({"RepetitionTime": 2000}, "milliseconds"),
        ({"EchoTime": "0.01"}, "expected a number"),
        ({"EchoTime": True}, "expected a number"),
        ({"EchoTime": [0.01, "x", 0.03]}, "expected a number"),
        ({"EchoTime": [0.01, None, 0.03]}, "expected a number"),
        ({"EchoTime": [0.01, 0.02]}, "2 values for 3 volumes"),
        ({"EchoTime": []}, "0 values for 3 volumes"),
        ({"EchoTime": -0.01}, "-0.01 is not possible"),
        ('{"EchoTime": 1e999}', "inf is not possible"),
        ('{"EchoTime": 1' + 400 * "0" + "}", "inf is not possible"),
    ],
)
def test_unusable_times_are_refused_and_may_be_given_by_hand(
    tmp_path: Path, sidecar: Any, says: str
) -> None:
    images = nifti.images(save(tmp_path / "x.nii", voxels(4, 3, 1, 3), sidecar))
    with pytest.raises(InputError, match=says) as caught:
        assemble(images, tmp_path)
    assert caught.value.path == str(tmp_path / "x.json")
    (symbol,) = images[0].faults
    values = [0.01, 0.02, 0.03]
    assert assemble(images, tmp_path, times={symbol: values}).protocol.times.tolist() == values


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"EchoTime": 0.01, "EchoTime": 0.02}', "'EchoTime' is given twice"),
        ('{"Nested": {"a": 1, "a": 2}}', "JSON: a key is given twice"),
        ('{"JANE DOE": 1, "JANE DOE": 2}', "JSON: a key is given twice"),
        ('{"EchoTime": NaN}', "NaN is not a number"),
        ('{"Other": -Infinity}', "-Infinity is not a number"),
        ('{"EchoTime": 0.01', "not strict JSON"),
        ("[0.01]", "expected a JSON object"),
        ("[" * 100_000, "not strict JSON"),
        ('{"MagneticFieldStrength": "7T"}', "MagneticFieldStrength"),
    ],
)
def test_sidecars_that_are_not_strict_json_are_refused(
    tmp_path: Path, text: str, says: str
) -> None:
    with pytest.raises(InputError, match=says):
        nifti.images(save(tmp_path / "x.nii", voxels(4, 3, 1), text))


def test_many_keys_are_compared_quickly(tmp_path: Path) -> None:
    path = save(tmp_path / "x.nii", voxels(4, 3, 1), {f"Key{k}": 0 for k in range(40_000)})
    start = process_time()
    nifti.images(path)
    assert process_time() - start < 2


def test_sidecar_in_another_encoding_is_refused_and_a_byte_order_mark_is_not(
    tmp_path: Path,
) -> None:
    path = save(tmp_path / "x.nii", voxels(4, 3, 1))
    path.with_suffix(".json").write_bytes('{"EchoTime": 0.01}'.encode("utf-8-sig"))
    assert nifti.images(path)[0].settings == {"TE": 0.01}
    path.with_suffix(".json").write_bytes('{"Manufacturer": "Müller"}'.encode("latin-1"))
    with pytest.raises(InputError, match="not strict JSON"):
        nifti.images(path)


# --- a file that is used where it lies ------------------------------------------------------------


def mapped(series: Series) -> bool:
    base: Any = series.signal
    while isinstance(base, np.ndarray):
        base = base.base
    return isinstance(base, mmap.mmap)


def echoes(tmp_path: Path, dtype: str = "<f4", name: str = "mese.nii", **header: Any) -> Path:
    data = voxels(4, 3, 2, 3).astype(dtype)
    image = nib.Nifti1Image(data, AFFINE, nib.Nifti1Header(endianness=dtype[0]))
    image.header.set_data_dtype(dtype)
    nib.save(image, tmp_path / "plain.nii")
    if not header and not name.endswith(".gz"):
        return (tmp_path / "plain.nii").rename(tmp_path / name)
    return forged(tmp_path / name, tmp_path / "plain.nii", **header)


def test_plain_float32_is_mapped_and_read_only(tmp_path: Path) -> None:
    series = read(echoes(tmp_path), te=[0.01, 0.02, 0.03])
    assert mapped(series)
    assert series.signal.flags.f_contiguous
    np.testing.assert_array_equal(series.signal, voxels(4, 3, 2, 3))
    with pytest.raises(ValueError, match="read-only"):
        series.signal[0] = 0
    assert "voxels" in series.provenance.origin["signed"]


def test_a_bids_file_of_several_volumes_is_mapped(tmp_path: Path) -> None:
    (tmp_path / "dataset_description.json").write_text("{}")
    sidecar = {"RepetitionTime": [0.5, 1, 3], "ScanningSequence": "SE"}
    save(tmp_path / "sub-01/anat/sub-01_VTR.nii", voxels(4, 3, 2, 3).astype(np.float32), sidecar)
    series = read(tmp_path)
    assert series.kind == "VTR"
    assert mapped(series)


@pytest.mark.parametrize(
    ("dtype", "name", "header"),
    [
        (">f4", "mese.nii", {}),
        ("<f8", "mese.nii", {}),
        ("<i2", "mese.nii", {}),
        ("<f4", "mese.nii.gz", {}),
        ("<f4", "mese.nii", {"scl_slope": 2.0, "scl_inter": 0.0}),
        ("<f4", "mese.nii", {"scl_slope": 1.0, "scl_inter": -3.0}),
    ],
)
def test_what_must_be_converted_is_copied(
    tmp_path: Path, dtype: str, name: str, header: dict[str, Any]
) -> None:
    series = read(echoes(tmp_path, dtype, name, **header), te=[0.01, 0.02, 0.03])
    assert not mapped(series)
    slope, inter = header.get("scl_slope", 1), header.get("scl_inter", 0)
    np.testing.assert_array_equal(series.signal, voxels(4, 3, 2, 3) * slope + inter)


def test_volumes_in_another_order_are_copied_in_the_right_one(tmp_path: Path) -> None:
    path = echoes(tmp_path)
    path.with_suffix(".json").write_text('{"EchoTime": [0.03, 0.01, 0.02]}')
    series = read(path)
    assert not mapped(series)
    np.testing.assert_array_equal(series.signal, voxels(4, 3, 2, 3)[..., [1, 2, 0]])


def test_voxels_between_the_words_of_a_machine_are_copied(tmp_path: Path) -> None:
    plain = echoes(tmp_path).read_bytes()
    header = nib.Nifti1Header(plain[:348])
    header["vox_offset"] = 353
    odd = tmp_path / "odd.nii"
    odd.write_bytes(header.binaryblock + bytes(5) + plain[352:])
    series = read(odd, te=[0.01, 0.02, 0.03])
    assert not mapped(series)
    np.testing.assert_array_equal(series.signal, voxels(4, 3, 2, 3))


# --- headers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"dim": [3, 30000, 30000, 30000, 1, 1, 1, 1]}, "too short"),
        ({"dim": [4, 4, 3, 2, 32000, 1, 1, 1]}, "too short"),
        ({"dim": [3, 4, 0, 2, 1, 1, 1, 1]}, "dim"),
        ({"dim": [3, 4, -3, 2, 1, 1, 1, 1]}, "dim"),
        ({"dim": [5, 2, 3, 2, 1, 2, 1, 1]}, "dim"),
        ({"pixdim": [1, 1, 0, 1, 1, 1, 1, 1]}, "pixdim"),
        ({"pixdim": [1, 1, np.nan, 1, 1, 1, 1, 1]}, "pixdim"),
        ({"pixdim": [1, 1, -1, 1, 1, 1, 1, 1]}, "pixdim"),
        ({"srow_x": [np.nan, 0, 0, 0]}, "affine"),
        ({"srow_x": [0, 0, 0, 0]}, "singular"),
        ({"sform_code": 0, "qform_code": 1, "quatern_b": 7.0}, "affine"),
        ({"xyzt_units": 7}, "affine"),
        ({"scl_slope": np.nan}, "scl_slope"),
        ({"scl_slope": 1, "scl_inter": np.inf}, "scl_slope"),
        ({"datatype": 32, "bitpix": 64}, "datatype"),
        ({"datatype": 128, "bitpix": 24}, "datatype"),
        ({"datatype": 999}, "datatype"),
        ({"vox_offset": np.nan}, "vox_offset"),
        ({"vox_offset": 0}, "vox_offset"),
        ({"vox_offset": 1e9}, "too short"),
        ({"magic": b"ni1"}, "not a single-file NIfTI"),
    ],
)
def test_headers_that_cannot_be_right_are_refused(
    tmp_path: Path, volume: Path, fields: dict[str, Any], says: str
) -> None:
    for name in ("forged.nii", "forged.nii.gz"):
        with pytest.raises(InputError, match=says) as caught:
            nifti.images(forged(tmp_path / name, volume, **fields))
        assert str(tmp_path / name) in str(caught.value)


def test_a_mirror_factor_of_zero_means_none(tmp_path: Path, volume: Path) -> None:
    fields = {"pixdim": [0, 1, 2, 3, 1, 1, 1, 1], "sform_code": 0, "qform_code": 1}
    fields |= {"quatern_b": 0, "quatern_c": 0, "quatern_d": 0}
    _, affine = nifti.read_volume(forged(tmp_path / "old.nii", volume, **fields))
    np.testing.assert_allclose(np.diag(affine), [1, 2, 3, 1])


@pytest.mark.parametrize("name", ["cut.nii", "cut.nii.gz"])
def test_truncated_files_are_refused(tmp_path: Path, volume: Path, name: str) -> None:
    data = volume.read_bytes()[:-2]
    path = tmp_path / name
    path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    with pytest.raises(InputError, match="truncated"):
        nifti.read_volume(path)


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    path = save(tmp_path / "x.nii.gz", rng.integers(0, 9999, (20, 20, 20)).astype(np.int16))
    data = bytearray(path.read_bytes())
    data[2000:2100] = bytes(100)
    path.write_bytes(data)
    with pytest.raises(InputError, match="cannot be read"):
        nifti.read_volume(path)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("x.nii", b"", "not a single-file NIfTI"),
        (
            "x.nii",
            b"version https://git-lfs.github.com/spec/v1\n",
            "Git LFS pointer.*git lfs pull",
        ),
        ("x.nii.gz", b"not gzip", "cannot be read"),
        ("x.nii.gz", b"", "not a single-file NIfTI"),
        ("x.img", b"", "not a NIfTI file name"),
        ("x.nii", None, "no such file"),
    ],
)
def test_what_is_no_nifti_is_refused(
    tmp_path: Path, name: str, content: bytes | None, says: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=says):
        nifti.images(tmp_path / name)


# --- volumes and labels --------------------------------------------------------------------------


def test_volume_and_labels_are_read(tmp_path: Path) -> None:
    data = voxels(4, 3, 2)
    path = save(tmp_path / "labels.nii.gz", data[..., np.newaxis].astype(np.float32))
    for array, affine in (nifti.read_volume(path), nifti.read_labels(path)):
        np.testing.assert_array_equal(array, data)
        np.testing.assert_allclose(affine, AFFINE)
    assert nifti.read_labels(path)[0].dtype == np.int32


@pytest.mark.parametrize("value", [1.5, np.nan, np.inf, 1e12])
def test_labels_are_whole_numbers(tmp_path: Path, value: float) -> None:
    data = np.ones((4, 3, 2))
    data[1, 1, 1] = value
    with pytest.raises(InputError, match="whole numbers"):
        nifti.read_labels(save(tmp_path / "x.nii", data))


def test_many_volumes_are_no_volume(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2 volumes"):
        nifti.read_volume(save(tmp_path / "x.nii", voxels(4, 3, 2, 2)))


@pytest.mark.parametrize(
    ("given", "stored"),
    [("f8", "f4"), ("f4", "f4"), ("?", "u1"), ("u1", "u1"), ("i2", "i2"), ("u2", "u2")],
)
@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz"])
def test_written_volumes_are_what_nibabel_reads(
    tmp_path: Path, given: str, stored: str, name: str
) -> None:
    data = (voxels(4, 3, 2) % 2).astype(given)
    nifti.write_volume(tmp_path / name, data, AFFINE)
    image = load(tmp_path / name)
    assert image.get_data_dtype() == stored
    np.testing.assert_array_equal(np.asarray(image.dataobj), data)
    np.testing.assert_allclose(image.get_sform(), AFFINE)
    np.testing.assert_allclose(image.get_qform(), AFFINE, atol=1e-6)
    assert image.header.get_xyzt_units() == ("mm", "sec")
    first = (tmp_path / name).read_bytes()
    nifti.write_volume(tmp_path / name, data, AFFINE)
    assert (tmp_path / name).read_bytes() == first
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("name", "array", "affine"),
    [
        ("x.img", np.zeros((2, 2, 2)), AFFINE),
        ("x.nii", np.zeros((2, 2)), AFFINE),
        ("x.nii", np.zeros((2, 0, 2)), AFFINE),
        ("x.nii", np.zeros((2, 2, 2), dtype=complex), AFFINE),
        ("x.nii", np.zeros((2, 2, 2), dtype=np.int64), AFFINE),
        ("x.nii", np.zeros((2, 2, 2)), np.full((4, 4), np.nan)),
    ],
)
def test_what_cannot_be_nifti_is_not_written(
    tmp_path: Path, name: str, array: Any, affine: Any
) -> None:
    with pytest.raises(InputError):
        nifti.write_volume(tmp_path / "new" / name, array, affine)
    assert not list(tmp_path.iterdir())


def test_all_files_are_written_or_none(tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_bytes(b"old")
    (tmp_path / "file").write_bytes(b"no folder")
    with pytest.raises(InputError, match="x: cannot be written"):
        nifti.write_together({tmp_path / "old.txt": b"new", tmp_path / "file" / "x": b"x"})
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {
        "old.txt": b"old",
        "file": b"no folder",
    }


@pytest.mark.parametrize("shape", [(4, 3, 2), (40, 30, 20), (5, 6, 1), (4, 3, 2, 3), (4, 3, 1, 1)])
@pytest.mark.parametrize("dtype", ["u1", "<i2", ">i2", "u4", "f4", ">f4"])
def test_a_volume_written_piece_by_piece_has_the_bytes_of_one_written_at_once(
    tmp_path: Path, shape: tuple[int, ...], dtype: str
) -> None:
    data = np.random.default_rng(1).integers(0, 200, shape).astype(dtype)
    image = nib.Nifti1Image(data.astype(np.dtype(dtype).newbyteorder("=")), AFFINE)
    image.set_sform(AFFINE, code="scanner")
    image.set_qform(AFFINE, code="scanner")
    image.header.set_xyzt_units("mm", "sec")
    for name in ("x.nii", "x.nii.gz"):
        nifti.write_volume(tmp_path / name, data, AFFINE)
    assert (tmp_path / "x.nii").read_bytes() == image.to_bytes()
    packed = (tmp_path / "x.nii.gz").read_bytes()
    assert gzip.decompress(packed) == image.to_bytes()
    assert packed[4:8] == bytes(4), "the time of writing"


@pytest.mark.parametrize("fault", [KeyboardInterrupt, MemoryError, OSError])
@pytest.mark.parametrize("folder", ["deep/er", "."])
def test_what_stops_the_writing_leaves_nothing_of_it(
    tmp_path: Path, fault: type[BaseException], folder: str
) -> None:
    (tmp_path / "b.nii.gz").write_bytes(b"old")

    def stopped() -> Iterator[np.ndarray]:
        yield np.ones((50, 50, 4))
        raise fault

    slabs = nifti.volume((50, 50, 9), np.dtype("f4"), AFFINE, stopped())
    contents = {tmp_path / folder / "a.json": b"{}", tmp_path / folder / "b.nii.gz": slabs}
    with pytest.raises(InputError if fault is OSError else fault):
        nifti.write_together(contents)
    assert tree(tmp_path) == {"b.nii.gz": b"old"}
    assert [p.name for p in tmp_path.iterdir()] == ["b.nii.gz"]


# --- BIDS data sets ------------------------------------------------------------------------------

SWEEPS: dict[str, tuple[Protocol, Any]] = {
    "MESE": (Protocol(TE=[0.01, 0.02, 0.03], TR=2.0), "SE"),
    "MEGRE": (Protocol(TE=[0.01, 0.02, 0.03], TR=2.0, FA=20), "GE"),
    "IRT1": (Protocol(TE=0.01, TI=[0.05, 0.1, 0.4], TR=[1.0, 1.0, 1.3]), "SE"),
    "VFA": (Protocol(TE=0.005, FA=[2, 5, 20], TR=0.02), "GE"),
    "VTR": (Protocol(TE=0.01, TR=[0.3, 1.0, 3.0]), "SE"),
}


def series_of(kind: str, **facts: Any) -> Series:
    protocol, sequence = SWEEPS[kind]
    signal = facts.pop("signal", voxels(4, 3, 2, 3))
    return Series(signal, protocol, AFFINE, field_T=7.0, sequence=sequence, **facts)


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("kind", SWEEPS)
@pytest.mark.parametrize("signed", [False, True])
def test_series_come_back_from_bids(tmp_path: Path, kind: str, signed: bool) -> None:
    signal = voxels(4, 3, 2, 3) - (40 if signed else 0)
    series = series_of(kind, signal=signal, signed=signed)
    written = write_series(series, tmp_path / "set")
    assert sorted(written) == sorted(p for p in (tmp_path / "set").rglob("*") if p.is_file())
    first = tree(tmp_path / "set")
    write_series(series, tmp_path / "set")
    assert tree(tmp_path / "set") == first
    files = [path for path in written if path.name.endswith(".nii.gz")]
    assert {load(path).get_data_dtype() for path in files} == {np.dtype("i2")}
    images = [image for path in reversed(files) for image in nifti.images(path)]
    assert len({image.acquisition for image in images}) == 1
    back = assemble(images, tmp_path)
    np.testing.assert_array_equal(back.signal, series.signal)
    np.testing.assert_allclose(back.affine, AFFINE, atol=1e-5)
    assert (back.kind, back.signed, back.field_T, back.sequence) == (
        (kind, signed, 7.0, series.sequence)
    )
    for name in ("TE", "TI", "TR"):
        expected = getattr(series.protocol, name)
        np.testing.assert_array_equal(getattr(back.protocol, name), expected)


def test_a_data_set_is_read_as_a_folder_with_its_derivatives_in_it(tmp_path: Path) -> None:
    series = series_of("MESE")
    write_series(series, tmp_path)
    maps = maps_of("MESE", 0, np.random.default_rng(3))
    write_maps(maps, tmp_path / "derivatives" / "relaxometry")
    back = read(tmp_path)
    np.testing.assert_array_equal(back.signal, series.signal)
    np.testing.assert_array_equal(back.protocol.TE, series.protocol.TE)


def test_raw_names_and_sidecars_follow_bids(tmp_path: Path) -> None:
    for kind in ("MESE", "IRT1", "VTR"):
        write_series(series_of(kind), tmp_path, subject="A1")
    files = tree(tmp_path)
    assert {name for name in files if name.endswith(".nii.gz")} == {
        *(f"sub-A1/anat/sub-A1_echo-{i}_MESE.nii.gz" for i in (1, 2, 3)),
        *(f"sub-A1/anat/sub-A1_inv-{i}_IRT1.nii.gz" for i in (1, 2, 3)),
        "sub-A1/anat/sub-A1_VTR.nii.gz",
    }
    assert files[".bidsignore"] == b"*_VTR.*\n"
    description = json.loads(files["dataset_description.json"])
    assert description["DatasetType"] == "raw"
    sidecar = json.loads(files["sub-A1/anat/sub-A1_inv-3_IRT1.json"])
    assert sidecar["InversionTime"] == 0.4
    assert sidecar["EchoTime"] == 0.01
    assert sidecar["RepetitionTimeExcitation"] == 1.3
    assert sidecar["MagneticFieldStrength"] == 7.0
    assert json.loads(files["sub-A1/anat/sub-A1_VTR.json"])["RepetitionTime"] == [0.3, 1.0, 3.0]


@pytest.mark.parametrize(
    ("signal", "dtype"),
    [([0, 65535, 3], "u2"), ([-5, 32767, 3], "i2"), ([0, 70000, 1], "f4"), ([0, 0.5, 1], "f4")],
)
def test_signal_is_kept_exactly(tmp_path: Path, signal: list[float], dtype: str) -> None:
    series = series_of("VTR", signal=np.tile(signal, (4, 3, 2, 1)))
    write_series(series, tmp_path)
    image = load(tmp_path / "sub-01/anat/sub-01_VTR.nii.gz")
    assert image.get_data_dtype() == dtype
    np.testing.assert_array_equal(np.asarray(image.dataobj), series.signal)


def maps_of(kind: str, model: int, rng: np.random.Generator) -> ParameterMaps:
    series, chosen = series_of(kind), MODELS[model]
    names = [chosen.time, *chosen.amplitudes] + ["efficiency"] * (chosen.time == "T1")
    raw = {n: (rng.uniform(0.1, 2, series.grid), rng.random(series.grid)) for n in names}
    status = np.zeros(series.grid, dtype=np.uint8)
    status[0, 0, 0] = Status.AT_BOUND
    rmse, rsquared = rng.random(series.grid), rng.random(series.grid)
    points = np.full(status.shape, len(series.protocol), dtype=np.uint8)
    choices = Choices((0.0005, 1.5))
    return ParameterMaps(raw, rmse, rsquared, status, points, series, chosen, choices)


def test_maps_of_T1_and_T2_go_into_one_folder(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    T2, T1 = maps_of("MESE", 0, rng), maps_of("IRT1", 1, rng)
    folder = tmp_path / "derivatives" / "relaxometry"
    labels = voxels(4, 3, 2) % 3
    write_maps(T2, folder, tubes_labels=labels, sources=["bids:raw:sub-01"])
    write_maps(T1, folder)
    files = tree(folder)
    write_maps(T2, folder, tubes_labels=labels, sources=["bids:raw:sub-01"])
    assert tree(folder) == files

    def at(name: str) -> Any:
        return load(folder / "sub-01" / "anat" / f"sub-01_{name}.nii.gz")

    for maps, time, rate in ((T1, "T1", "R1"), (T2, "T2", "R2")):
        value = maps.raw[time][0].copy()
        value[0, 0, 0] = np.nan
        image = at(f"{time}map")
        assert image.get_data_dtype() == np.float32
        np.testing.assert_allclose(image.affine, AFFINE, atol=1e-5)
        np.testing.assert_allclose(image.get_fdata(), value, rtol=1e-6)
        np.testing.assert_allclose(at(f"{rate}map").get_fdata(), 1 / value, rtol=1e-6)
        for name in ("stderr", "rmse", "rsquared"):
            expected = maps[time].stderr if name == "stderr" else getattr(maps, name)
            found = at(f"desc-{name}_{time}map").get_fdata()
            np.testing.assert_allclose(found, expected, rtol=1e-6)
        status = at(f"desc-status_{time}map")
        assert status.get_data_dtype() == np.uint8
        np.testing.assert_array_equal(np.asarray(status.dataobj), maps.status)
        found = at(f"desc-{time}_S0map").get_fdata()
        np.testing.assert_allclose(found, maps["S0"].value, rtol=1e-6)
    found = at("desc-efficiency_T1map").get_fdata()
    np.testing.assert_allclose(found, T1["efficiency"].value, rtol=1e-6)
    np.testing.assert_array_equal(np.asarray(at("desc-tubes_dseg").dataobj), labels)

    def beside(name: str) -> Any:
        return json.loads(files[f"sub-01/anat/sub-01_{name}.json"])

    assert json.loads(files["dataset_description.json"])["DatasetType"] == "derivative"
    sidecar = beside("T2map")
    assert sidecar["Units"] == "s"
    assert sidecar["SkullStripped"] is False
    assert sidecar["MagneticFieldStrength"] == 7.0
    assert sidecar["EchoTime"] == [0.01, 0.02, 0.03]
    assert sidecar["Sources"] == ["bids:raw:sub-01"]
    assert sidecar["EstimationReference"] == MODELS[0].source
    assert MODELS[0].equation in sidecar["EstimationAlgorithm"]
    assert beside("R2map")["Units"] == "1/s"
    assert beside("desc-T2_S0map")["Units"] == "arbitrary"
    assert beside("T1map")["InversionTimes"] == [0.05, 0.1, 0.4]
    assert "InversionTime" not in beside("T1map")
    assert beside("desc-status_T2map")["Levels"]["1"] == "at bound"


def test_maps_are_written_one_after_the_other_and_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maps = maps_of("IRT1", 1, np.random.default_rng(3))
    write_maps(maps, tmp_path / "whole")
    monkeypatch.setattr("relaxometry.bids._SLAB", 1)
    write_maps(maps, tmp_path / "cut")
    assert tree(tmp_path / "cut") == tree(tmp_path / "whole")


def test_labels_are_written(tmp_path: Path) -> None:
    labels = voxels(4, 3, 2) % 3
    write_labels(labels, AFFINE, tmp_path)
    array, affine = nifti.read_labels(tmp_path / "sub-01/anat/sub-01_desc-tubes_dseg.nii.gz")
    np.testing.assert_array_equal(array, labels)
    np.testing.assert_allclose(affine, AFFINE, atol=1e-5)
    with pytest.raises(InputError, match="whole numbers"):
        write_labels(labels / 2, AFFINE, tmp_path)


def test_data_sets_of_others_and_wrong_labels_are_refused(tmp_path: Path) -> None:
    maps = maps_of("MESE", 0, np.random.default_rng(3))
    write_series(maps.series, tmp_path / "raw")
    for folder, text in (("theirs", '{"Name": "x"}'), ("broken", "{")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "dataset_description.json").write_text(text)
    before = tree(tmp_path)
    with pytest.raises(InputError, match="another origin"):
        write_maps(maps, tmp_path / "raw")
    for folder in ("theirs", "broken"):
        with pytest.raises(InputError, match="another origin"):
            write_series(maps.series, tmp_path / folder)
    with pytest.raises(InputError, match="subject"):
        write_series(maps.series, tmp_path / "new", subject="../01")
    with pytest.raises(GeometryError, match="labels of shape"):
        write_maps(maps, tmp_path / "new", tubes_labels=np.zeros((2, 2, 2), dtype=int))
    assert tree(tmp_path) == before
