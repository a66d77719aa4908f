"""Maps already made: our own, another program's with its units, and ParaVision's own fit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import relaxometry as rx
from relaxometry import nifti
from relaxometry.errors import GeometryError, InputError
from relaxometry.simulate import Agent, mese, phantom

from .paravision import frames, write_fit, write_scan
from .test_bruker import ECHOES, SLICES, TE_TR

AFFINE = np.diag([0.5, 0.5, 2.0, 1.0])
T2 = np.array([[[0.04, 0.08], [0.12, 0.0]], [[0.2, np.nan], [0.05, 0.06]]])
KNOWN = np.where(T2 > 0, T2, np.nan)


def write(path: Path, values: np.ndarray, **sidecar) -> Path:
    nifti.write_volume(path, values, AFFINE)
    if sidecar:
        path.with_name(path.name.replace(".nii.gz", ".json")).write_text(json.dumps(sidecar))
    return path


class TestNifti:
    def test_our_own_maps(self, tmp_path):
        series = mese(phantom("small", (Agent("A", 4.0, 20.0),), (0.4, 0.1)), seed=1)
        maps = rx.fit_maps(series)
        rx.write_maps(maps, tmp_path)
        (time,) = tmp_path.rglob("sub-01_T2map.nii.gz")
        found = rx.read_map(time)
        assert (found.quantity, found.unit, found.source) == ("T2", "s", "NIfTI")
        assert found.value == pytest.approx(maps["T2"].value, rel=1e-6, nan_ok=True)
        assert found.affine == pytest.approx(series.affine)
        rate = rx.read_map(time.with_name("sub-01_R2map.nii.gz"))
        assert (rate.quantity, rate.unit) == ("R2", "1/s")
        assert rate.value == pytest.approx(maps["R2"].value, rel=1e-6, nan_ok=True)
        (stderr,) = tmp_path.rglob("*desc-stderr_T2map.nii.gz")
        with pytest.raises(InputError, match="desc-stderr: not a map of T2 itself"):
            rx.read_map(stderr)

    def test_nothing_was_fitted_where_there_is_0(self, tmp_path):
        found = rx.read_map(write(tmp_path / "sub-1_T2map.nii.gz", T2))
        assert found.value == pytest.approx(KNOWN, nan_ok=True)
        assert repr(found) == "MapImage: T2, 2×2×2, median 70 ms, 6 of 8 voxels, NIfTI"
        assert found._repr_html_().startswith("<pre")
        with pytest.raises(ValueError, match="read-only"):
            found.value[0] = 1

    @pytest.mark.parametrize("unit", ["ms", "msec"])
    def test_stated_milliseconds(self, tmp_path, unit):
        path = write(tmp_path / "sub-1_T2map.nii.gz", T2 * 1e3, Units=unit)
        assert rx.read_map(path).value == pytest.approx(KNOWN, nan_ok=True)

    def test_another_programs_name(self, tmp_path):
        path = write(tmp_path / "fit_result.nii.gz", KNOWN, Units="s")
        with pytest.raises(InputError, match=r'its name does not say.*quantity="T2"'):
            rx.read_map(path)
        assert rx.read_map(path, "T1").quantity == "T1"
        assert rx.read_map(path, quantity="T2star").quantity == "T2star"

    @pytest.mark.parametrize(
        ("name", "values", "words"),
        [
            ("sub-1_T1map", T2 * 1e4, "T1 has a median of 700 s, it looks like ms; expected a map"),
            ("sub-1_T2map", T2 * 1e3, "T2 has a median of 70 s, it looks like ms"),
            ("sub-1_R1map", 1 / (KNOWN * 1e4), "R1 has a median of .* 1/s, it looks like 1/ms"),
        ],
    )
    @pytest.mark.parametrize("stated", [True, False])
    def test_milliseconds_not_stated_are_never_rescaled(
        self, tmp_path, name, values, words, stated
    ):
        unit = {"Units": "1/s" if "_R" in name else "s"} if stated else {}
        with pytest.raises(InputError, match=words):
            rx.read_map(write(tmp_path / f"{name}.nii.gz", values, **unit))

    def test_a_unit_of_something_else(self, tmp_path):
        path = write(tmp_path / "sub-1_T2map.nii.gz", T2, Units="arbitrary")
        with pytest.raises(InputError, match="Units: unit 'arbitrary' of a map of T2; expected s"):
            rx.read_map(path)
        with pytest.raises(InputError, match="called T2map, but T1 is asked for"):
            rx.read_map(path, "T1")

    def test_rates(self, tmp_path):
        path = write(tmp_path / "r2.nii.gz", 1e-3 / KNOWN, Units="1/ms")
        found = rx.read_map(path, "R2")
        assert found.value == pytest.approx(1 / KNOWN, rel=1e-6, nan_ok=True)
        assert found.unit == "1/s"

    def test_a_map_of_nothing(self, tmp_path):
        found = rx.read_map(write(tmp_path / "sub-1_T1map.nii.gz", np.zeros((2, 2, 2))))
        assert repr(found) == "MapImage: T1, 2×2×2, 0 of 8 voxels, NIfTI"


class TestBruker:
    def test_the_vendors_fit_of_t2(self, tmp_path):
        t2_ms = np.arange(24).reshape(4, 3, 2) * 2.5
        path = write_fit(tmp_path, 9, t2_ms)
        found = rx.read_map(path)
        assert (found.quantity, found.unit) == ("T2", "s")
        expected = np.where(t2_ms > 0, t2_ms / 1e3, np.nan)
        assert found.value == pytest.approx(expected, rel=1e-6, nan_ok=True)
        assert found.source == "vendor's fit, ParaVision 6.0.1"
        assert found.affine == pytest.approx(rx.read_map(tmp_path).affine)
        assert found.affine[:3, 3] == pytest.approx([2, 3, 0])

    def test_it_lies_on_the_grid_of_its_scan(self, tmp_path):
        write_scan(tmp_path, 9, frames(6), [ECHOES, SLICES], TE_TR, slices=2)
        write_fit(tmp_path, 9, np.full((4, 3, 2), 40.0))
        series, found = rx.read(tmp_path), rx.read_map(tmp_path, "T2")
        assert found.affine == pytest.approx(series.affine)
        assert found.value.shape == series.grid

    def test_other_units_and_quantities(self, tmp_path):
        comments = ["a", "b", "T1 relaxation time", "std dev of T1 relaxation time", "c"]
        path = write_fit(tmp_path, 9, np.full((4, 3, 1), 1.5), "s", VisuFGElemComment=comments)
        found = rx.read_map(path)
        assert found.quantity == "T1"
        assert found.value == pytest.approx(np.full((4, 3, 1), 1.5))
        write_fit(tmp_path, 10, np.full((4, 3, 1), 40.0))
        with pytest.raises(InputError, match=r"2 maps .*: T1 in 9/pdata/2/2dseq, T2 in 10/"):
            rx.read_map(tmp_path)
        assert rx.read_map(tmp_path, "T2").quantity == "T2"

    @pytest.mark.parametrize(("unit", "words"), [("", "missing"), ("um", "unit 'um' of a map")])
    def test_a_fit_without_a_unit(self, tmp_path, unit, words):
        path = write_fit(tmp_path, 9, np.full((4, 3, 2), 40.0), unit)
        with pytest.raises(InputError, match=f"VisuCoreDataUnits: {words}"):
            rx.read_map(path)

    def test_a_scan_is_no_map(self, tmp_path):
        path = write_scan(tmp_path, 9, frames(6), [ECHOES, SLICES], TE_TR, slices=2)
        with pytest.raises(InputError, match="0 maps of relaxation times"):
            rx.read_map(path)


class TestWrong:
    def test_places(self, tmp_path):
        with pytest.raises(InputError, match="there is no such file"):
            rx.read_map(tmp_path / "absent.nii")
        text = tmp_path / "notes.txt"
        text.write_text("text")
        with pytest.raises(
            InputError, match=r"not a map that can be read; expected NIfTI.*, a DICOM"
        ):
            rx.read_map(text)
        with pytest.raises(InputError, match="quantity: no map of 'T3'; expected T1, T2"):
            rx.read_map(text, "T3")

    def test_a_map_has_three_axes_and_a_quantity(self):
        with pytest.raises(GeometryError, match="a map of shape"):
            rx.MapImage("T2", np.ones((2, 2)), AFFINE)
        with pytest.raises(InputError, match="no map of 'S0'"):
            rx.MapImage("S0", np.ones((2, 2, 2)), AFFINE)


def test_the_one_map_of_a_quantity_in_a_folder(tmp_path: Path) -> None:
    series = rx.Series(
        1000 * np.exp(-np.arange(1, 9) * 0.01 / np.full((4, 3, 2, 1), 0.05)),
        rx.Protocol(TE=np.arange(1, 9) * 0.01),
    )
    rx.write_maps(rx.fit_maps(series, "t2"), tmp_path)
    found = rx.read_map(tmp_path, "T2")
    assert found.quantity == "T2"
    assert found.value == pytest.approx(np.full((4, 3, 2), 0.05), rel=1e-5)
    with pytest.raises(InputError, match=r"2 maps: .*R2map.nii.gz, .*T2map.nii.gz; expected one"):
        rx.read_map(tmp_path)
