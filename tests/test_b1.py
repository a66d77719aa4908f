"""Maps of B1: factor or percent, on another grid, and in a fit of variable flip angles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import relaxometry as rx
from relaxometry.bids import write_series
from relaxometry.cli import run
from relaxometry.errors import GeometryError, InputError
from relaxometry.models import as_model
from relaxometry.series import Protocol, Series
from relaxometry.simulate import series_from_maps

from .test_nifti import save

GRID = (12, 10, 4)
AFFINE = np.array([[-2, 0, 0, 12], [0, -2, 0, 10], [0, 0, 3, -4], [0, 0, 0, 1.0]])
PROTOCOL = Protocol(FA=[2, 5, 10, 15, 20, 30], TR=0.015)


def field_at(places: np.ndarray) -> np.ndarray:
    """B1 (…) at places (…, 3) in mm: linear, so that linear interpolation makes no error."""
    return 1 + places @ np.array([0.01, -0.008, 0.02])


def on_grid(grid: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    voxels = np.moveaxis(np.indices(grid), 0, -1)
    return field_at(voxels @ affine[:3, :3].T + affine[:3, 3])


def series(grid: tuple[int, int, int] = GRID, affine: np.ndarray = AFFINE) -> Series:
    return Series(np.ones((*grid, 6)), PROTOCOL, affine, sequence="GE")


@pytest.mark.parametrize(
    ("scale", "sidecar", "origin"),
    [
        (1, None, "factor: the median is 0.9"),
        (100, None, "percent: the median is 90"),
        (100, {"Units": "arbitrary"}, "percent: the median is 90"),
        (1, {"Units": "arbitrary"}, "factor: the median is 0.9"),
        (100, {"Units": "percent"}, "percent: Units 'percent' (sidecar)"),
        (100, {"Units": "%"}, "percent: Units '%' (sidecar)"),
        (1, {"Units": "1"}, "factor: Units '1' (sidecar)"),
    ],
)
def test_factor_or_percent(tmp_path: Path, scale: float, sidecar: Any, origin: str) -> None:
    truth = np.full(GRID, 0.9)
    truth[0] = 1.1
    stored = (truth * scale).astype(np.float32)
    stored[1, 0, 0], stored[1, 1, 0], stored[1, 2, 0], truth[1, :3, 0] = 0, -scale, np.nan, np.nan
    path = save(tmp_path / "sub-01" / "fmap" / "sub-01_TB1map.nii.gz", stored, sidecar, AFFINE)
    B1 = rx.read_B1(path)
    np.testing.assert_allclose(B1.factor, truth, rtol=1e-6)
    np.testing.assert_allclose(B1.affine, AFFINE)
    assert B1.origin == origin
    assert len(B1.files) == (2 if sidecar else 1)
    assert origin in repr(B1)


@pytest.mark.parametrize(
    ("value", "sidecar", "says"),
    [
        (0, None, "no positive number"),
        (np.nan, None, "no positive number"),
        (-1, None, "no positive number"),
        (0.05, None, r"B1: a median of 0.05 \(the median is 0.05\); expected .*0.5 to 1.5"),
        (5, None, "a median of 5"),
        (800, None, r"a median of 800 percent .*50 to 150; divide angles by the nominal"),
        (0.9, {"Units": "percent"}, r"a median of 0.9 percent \(Units 'percent' \(sidecar\)\)"),
        (90, {"Units": "1"}, "a median of 90"),
        (45, {"Units": "degrees"}, r"TB1map.json: Units: 'degrees'; expected percent, or a factor"),
    ],
)
def test_what_cannot_be_B1_is_refused(
    tmp_path: Path, value: float, sidecar: Any, says: str
) -> None:
    path = save(tmp_path / "sub-01_TB1map.nii", np.full(GRID, value, "f4"), sidecar)
    with pytest.raises(InputError, match=says):
        rx.read_B1(path)


def test_of_four_dimensions_or_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2 volumes"):
        rx.read_B1(save(tmp_path / "x.nii", np.ones((3, 3, 1, 2), "f4")))
    with pytest.raises(InputError, match="no such file"):
        rx.read_B1(tmp_path / "none.nii")


COARSE = np.array([[0, 5, 0, -30], [-4, 0, 0, 24], [0, 0, 6, -8], [0, 0, 0, 1.0]])


def test_another_grid_is_reached_through_the_affines(tmp_path: Path) -> None:
    """Coarser, and with its axes exchanged and turned."""
    path = save(tmp_path / "b1.nii", on_grid((14, 13, 5), COARSE), affine=COARSE)
    B1 = rx.read_B1(path)
    here = B1.on(series())
    assert here.factor.shape == GRID
    np.testing.assert_allclose(here.factor, on_grid(GRID, AFFINE), rtol=1e-6)
    np.testing.assert_array_equal(here.affine, AFFINE)
    assert here.on(series()) is here
    assert here.origin == B1.origin


def test_what_is_not_covered_is_not_known(tmp_path: Path) -> None:
    half = on_grid((6, 10, 4), AFFINE)
    B1 = rx.read_B1(save(tmp_path / "b1.nii", half, affine=AFFINE)).on(series())
    np.testing.assert_allclose(B1.factor[:6], half, rtol=1e-6)
    assert np.isnan(B1.factor[6:]).all()
    away = AFFINE.copy()
    away[0, 3] += 500
    outside = rx.read_B1(save(tmp_path / "away.nii", half, affine=away))
    with pytest.raises(GeometryError, match=r"away.nii: B1: covers no voxel of the series"):
        outside.on(series())


def test_a_thick_slice_covers_the_thin_ones_within_it(tmp_path: Path) -> None:
    thick = AFFINE @ np.diag([1, 1, 4, 1.0])
    thick[2, 3] = -4 + 4.5  # 12 mm, centred in the four slices of 3 mm
    path = save(tmp_path / "b1.nii", np.full((12, 10, 1), 1.2, "f4"), affine=thick)
    np.testing.assert_allclose(rx.read_B1(path).on(series()).factor, 1.2, rtol=1e-6)


def test_holes_do_not_pull_their_neighbours_down(tmp_path: Path) -> None:
    coarse = np.full((14, 13, 5), 80, "f4")
    coarse[5, 5, 2] = 0
    B1 = rx.read_B1(save(tmp_path / "b1.nii", coarse, affine=COARSE)).on(series())
    known = np.isfinite(B1.factor)
    assert 0 < (~known).sum() < 60
    np.testing.assert_allclose(B1.factor[known], 0.8, rtol=1e-6)


def test_maps_in_a_folder_are_listed_as_maps(tmp_path: Path) -> None:
    (tmp_path / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.10.0"}')
    write_study(tmp_path / "raw")
    save(tmp_path / "raw/sub-01/fmap/sub-01_TB1map.nii.gz", np.ones(GRID, "f4"))
    found = rx.inspect(tmp_path / "raw")
    assert found.ignored["sub-01/fmap/sub-01_TB1map.nii.gz"].startswith("a map")
    assert rx.read(tmp_path / "raw").kind == "VFA"


def write_study(folder: Path) -> np.ndarray:
    """A VFA whose angles are off by `field_at`; the true T1."""
    model, rng = as_model("t1_vfa"), np.random.default_rng(3)
    T1 = rng.uniform(0.5, 1.2, GRID)
    B1 = on_grid(GRID, AFFINE)
    signal = np.empty((*GRID, 6))
    for where in np.ndindex(GRID):
        scanned = Protocol(FA=PROTOCOL.FA * B1[where], TR=PROTOCOL.TR)
        one = np.full((1, 1, 1), T1[where]), np.full((1, 1, 1, 1), 1e4)
        signal[where] = series_from_maps(model, scanned, *one, 0.0, 5).signal[0, 0, 0]
    write_series(Series(signal, PROTOCOL, AFFINE, signed=False, sequence="GE"), folder)
    return T1


def test_the_fit_knows_the_angles_from_a_coarse_map_in_percent(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    T1 = write_study(tmp_path / "raw")
    path = save(tmp_path / "b1.nii", 100 * on_grid((14, 13, 5), COARSE), affine=COARSE)
    scanned = rx.read(tmp_path / "raw")
    maps = rx.fit_maps(scanned, "t1_vfa", B1=rx.read_B1(path).on(scanned).factor)
    np.testing.assert_allclose(maps["T1"].value, T1, rtol=1e-3)
    save(tmp_path / "mask.nii", np.ones(GRID, "i2"), affine=AFFINE)
    asked = ["fit", str(tmp_path / "raw"), "-o", str(tmp_path / "maps"), "--b1", str(path)]
    assert run([*asked, "--mask", str(tmp_path / "mask.nii")]) == 0
    assert "percent: the median is" in capsys.readouterr().out
    (file,) = (tmp_path / "maps").rglob("sub-01_T1map.nii.gz")
    np.testing.assert_allclose(rx.nifti.read_volume(file)[0], T1, rtol=1e-3)


STUDY = """[T1]
path = "raw"
b1 = "fmap/b1.nii"
[tubes]
circles = [[8, 8, 4], [16, 8, 3]]
"""


def test_a_study_with_a_map_of_B1(tmp_path: Path) -> None:
    write_study(tmp_path / "raw")
    path = tmp_path / "fmap" / "b1.nii"
    save(path, 100 * on_grid((14, 13, 5), COARSE), {"Units": "percent"}, affine=COARSE)
    (tmp_path / "study.toml").write_text(STUDY)
    result = rx.analyse(tmp_path / "study.toml", progress=False)
    inputs = {one.path: one.sha256 for one in result.inputs}
    assert {"fmap/b1.nii", "fmap/b1.json"} <= inputs.keys()
    without = STUDY.replace('b1 = "fmap/b1.nii"\n', "")
    (tmp_path / "study.toml").write_text(without)
    plain = rx.analyse(tmp_path / "study.toml", progress=False)
    assert (abs(plain.tube_table["T1_s"] / result.tube_table["T1_s"] - 1) > 0.02).any()
    rx.report(result, tmp_path / "report")
    (told,) = json.loads((tmp_path / "report" / "results.json").read_text())["series"]
    assert told["settings_known_by"]["B1"] == "percent: Units 'percent' (sidecar)"
    assert "flip angles are scaled by the B1 map" in told["notes"]
    assert "B1: percent" in (tmp_path / "report" / "index.html").read_text()


def test_a_study_whose_scan_has_no_use_for_B1(tmp_path: Path) -> None:
    study = rx.write_study(tmp_path / "study", "small")
    text = study.read_text().replace("[T1]\n", '[T1]\nb1 = "labels.nii.gz"\n')
    study.write_text(text)
    with pytest.raises(InputError, match=r"study.toml: \[T1\] b1: a B1 map for IRT1; expected"):
        rx.analyse(study, progress=False)
    study.write_text(text.replace("labels.nii.gz", "none.nii"))
    with pytest.raises(InputError, match=r"\[T1\] b1: 'none.nii' does not exist"):
        rx.analyse(study, progress=False)
