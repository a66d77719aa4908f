"""The sample study: complete, true, the same to the byte, and never half written."""

from __future__ import annotations

import gzip
import re
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest

from relaxometry import animalscans, nifti, sample, simulate
from relaxometry.errors import InputError
from relaxometry.sample import write_study


@pytest.fixture(scope="module")
def small_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("small") / "study", "small").parent


def contents(folder: Path) -> dict[str, bytes]:
    """Every file's bytes; of .gz what is inside, since versions of zlib compress differently."""

    def inside(path: Path) -> bytes:
        data = path.read_bytes()
        if path.suffix == ".gz":
            return gzip.decompress(data)
        if path.name == "dataset_description.json":
            # A new version of this package does not make the sample another one.
            return re.sub(rb'"Version": "[^"]*"', b"", data)
        return data

    return {p.relative_to(folder).as_posix(): inside(p) for p in folder.rglob("*") if p.is_file()}


def assert_same(a: Path, b: Path, beside: str = "/") -> None:
    """The same files with the same bytes, but for what lies in the folder `beside` of the first."""
    first = {name: data for name, data in contents(a).items() if not name.startswith(beside)}
    second = contents(b)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_the_study_in_the_repository_is_what_the_code_writes(
    sample_data: Path, tmp_path: Path
) -> None:
    study = write_study(tmp_path / "again").parent
    assert_same(sample_data, study, beside="in_vivo/")
    assert size(study) <= 8e6


def test_the_mice_in_the_repository_are_what_the_code_writes(
    sample_data: Path, tmp_path: Path
) -> None:
    study = write_study(tmp_path / "again", "liver-7T").parent
    assert_same(sample_data / "in_vivo", study)
    assert size(study) <= 1.5e6


@pytest.mark.parametrize("protocol", ["small", "small-vtr"])
def test_two_runs_write_the_same_bytes(protocol: str, tmp_path: Path) -> None:
    a, b = (write_study(tmp_path / name, protocol, seed=4).parent for name in "ab")
    assert_same(a, b)
    other = write_study(tmp_path / "c", protocol, seed=5).parent
    assert contents(other)["contrast/pre.nii.gz"] != contents(a)["contrast/pre.nii.gz"]


@pytest.mark.parametrize(("protocol", "t1"), [("small", "t1_ir"), ("small-vtr", "t1_vtr")])
def test_study_toml_names_what_is_there(protocol: str, t1: str, tmp_path: Path) -> None:
    toml = write_study(tmp_path / "study", protocol)
    assert toml == tmp_path / "study" / "study.toml"
    study = tomllib.loads(toml.read_text(encoding="utf-8"))
    assert study["study"]["field_T"] == 7.0
    assert study["T1"]["path"] == f"dicom/{t1}"
    named = [study["T1"]["path"], study["T2"]["path"], study["tubes"]["sheet"]]
    named += [study["contrast"][0][key] for key in ("pre", "post", "regions")]
    assert [path for path in named if not (toml.parent / path).exists()] == []


def test_truth_is_that_of_the_phantom(small_study: Path) -> None:
    truth = pd.read_csv(small_study / "truth.csv").set_index("tube")
    assert len(truth) == 16
    # Tube 11 is C3 at 0.4 mM: R2 = 9 + 533.4·0.4, R1 = 0.4 + 1.5·0.4.
    c3 = truth.loc[11]
    assert (c3.agent, c3.concentration_mM, c3.radius_mm) == ("C3", 0.4, 3.0)
    assert (c3.R1_per_s, c3.R2_per_s) == (1.0, 222.36)
    np.testing.assert_allclose(truth.T2_s * truth.R2_per_s, 1, rtol=1e-9)
    np.testing.assert_allclose(truth.T1_s * truth.R1_per_s, 1, rtol=1e-9)
    sheet = pd.read_csv(small_study / "tubes.csv")
    assert list(sheet) == ["tube", "agent", "concentration_mM"]
    assert tuple(sheet.iloc[-1]) == (16, "blank", 0.0)
    relaxivity = pd.read_csv(small_study / "truth_relaxivity.csv").set_index("agent")
    assert dict(relaxivity.r2_per_mM_per_s) == {"IO-5": 70.2, "C1": 231.6, "C3": 533.4}


def test_label_map_lies_on_the_circles_of_the_truth(small_study: Path) -> None:
    labels, affine = nifti.read_labels(small_study / "labels.nii.gz")
    truth = pd.read_csv(small_study / "truth.csv")
    first_voxel = affine[:3, 3]
    for tube in truth.itertuples():
        at = np.argwhere(labels == tube.tube).mean(axis=0)
        offset = affine[:3, :3] @ at
        # An axial slice in the order of DICOM: along a row is −x of RAS, down a column −y.
        np.testing.assert_allclose(offset[:2], (-tube.x_mm, -tube.y_mm), atol=0.1)
    np.testing.assert_allclose(first_voxel[:2], 31.5 * 0.625)


def test_dicom_and_bids_hold_the_simulated_series(small_study: Path) -> None:
    phantom = simulate.phantom("small")
    for name, series, suffix in (
        ("t2_mese", simulate.mese(phantom, 0), "echo-{}_MESE"),
        ("t1_ir", simulate.t1_series(phantom, 0), "inv-{}_IRT1"),
    ):
        swept = {"TE": "EchoTime", "TI": "InversionTime"}[series.protocol.swept]
        datasets = [pydicom.dcmread(path) for path in (small_study / "dicom" / name).iterdir()]
        datasets.sort(key=lambda dataset: dataset[swept].value)
        assert [d[swept].value / 1e3 for d in datasets] == pytest.approx(series.protocol.times)
        for i, dataset in enumerate(datasets):
            image = np.rint(dataset.pixel_array * float(dataset.RescaleSlope)).T
            assert np.array_equal(image, series.signal[:, :, 0, i])
            stem = f"bids/sub-01/anat/sub-01_{suffix.format(i + 1)}.nii.gz"
            assert np.array_equal(nifti.read_volume(small_study / stem)[0][..., 0], image)


def test_contrast_images_are_the_simulated_ones(small_study: Path) -> None:
    *images, affine = animalscans.tumour(0)
    for name, expected in zip(("pre", "post", "regions"), images, strict=True):
        written, where = nifti.read_volume(small_study / "contrast" / f"{name}.nii.gz")
        assert np.array_equal(written, expected)
        np.testing.assert_allclose(where, affine, atol=1e-5)
    names = pd.read_csv(small_study / "contrast" / "regions.csv")
    assert dict(zip(names.label, names["name"], strict=True)) == {
        **{1: "tumour", 2: "liver", 3: "air", 4: "muscle"}
    }
    truth = pd.read_csv(small_study / "truth_contrast.csv").set_index(["time_min", "region"])
    # 60 min: R2 = 1/0.034 + 533.4·0.048 s⁻¹.
    assert truth.loc[(60, "liver"), "R2_per_s"] == pytest.approx(29.41176 + 25.6032, rel=1e-6)
    assert truth.loc[(60, "liver"), "dCNR"] == pytest.approx(1.2384, abs=5e-5)
    assert len(truth) == 6


def test_an_existing_folder_is_refused_and_forced_only_if_a_study(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", "small", seed=1).parent
    before = contents(study)
    with pytest.raises(InputError, match="is there already"):
        write_study(study, "small", seed=2)
    assert contents(study) == before
    write_study(study, "small", seed=2, force=True)
    assert contents(study) != before

    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter.txt").write_text("years of work")
    with pytest.raises(InputError, match="something else"):
        write_study(other, "small", force=True)
    assert (other / "chapter.txt").read_text() == "years of work"


def test_nothing_is_left_of_a_study_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(sample.nifti, "write_volume", full_disk)
    with pytest.raises(OSError, match="no space"):
        write_study(tmp_path / "study", "small")
    with pytest.raises(InputError, match="protocol"):
        write_study(tmp_path / "study", "9T")
    assert list(tmp_path.iterdir()) == []
