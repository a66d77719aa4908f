"""The command line as its user meets it: verbs, exit codes, one line for each fault."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pydicom
import pytest

from relaxometry import __version__, fit
from relaxometry.bids import write_series
from relaxometry.cli import run
from relaxometry.folder import read
from relaxometry.maps import ParameterMaps
from relaxometry.models import MODELS, as_model
from relaxometry.sample import write_study
from relaxometry.series import Protocol, Series
from relaxometry.simulate import series_from_maps

PACKAGE = Path(fit.__file__).parents[1]
VERBS = (
    "demo",
    "inspect",
    "fit",
    "tubes",
    "report",
    "contrast",
    "relaxivity",
    "simulate",
    "models",
    "plan",
)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small simulated study, not to be changed."""
    return write_study(tmp_path_factory.mktemp("cli") / "study", "small").parent


@pytest.fixture(scope="module")
def report(study: Path) -> Path:
    """Its report, not to be changed."""
    folder = study.parent / "report"
    assert run(["report", str(study / "study.toml"), "-o", str(folder), "--quiet"]) == 0
    return folder


@pytest.fixture
def own_study(study: Path, tmp_path: Path) -> Path:
    """A copy of the study, to be spoilt."""
    return Path(shutil.copytree(study, tmp_path / "study"))


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def edit_headers(folder: Path, change: Callable[[pydicom.Dataset, int], None]) -> None:
    for i, file in enumerate(sorted(folder.iterdir())):
        header = pydicom.dcmread(file)
        change(header, i)
        header.save_as(file)


def relaxometry(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "relaxometry", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, encoding="utf-8", check=False)


class TestVerbs:
    @pytest.mark.parametrize("verb", VERBS)
    def test_each_verb_explains_itself(self, verb: str, capsys: pytest.CaptureFixture) -> None:
        assert run([verb, "--help"]) == 0
        told = capsys.readouterr()
        assert f"relaxometry {verb}" in told.out
        assert told.err == ""

    def test_help_names_every_verb_and_exit_code(self, capsys: pytest.CaptureFixture) -> None:
        assert run(["--help"]) == 0
        told = " ".join(capsys.readouterr().out.split())
        assert [verb for verb in VERBS if f" {verb} " not in told] == []
        assert "0 done; 1 a quality check failed; 2 usage; 3 bad input; 4 internal error" in told

    def test_demo_gives_the_relaxivities_that_were_simulated(
        self, tmp_path: Path, capsys: pytest.CaptureFixture
    ) -> None:
        assert run(["demo", str(tmp_path / "demo")]) == 0
        found = pd.read_csv(tmp_path / "demo/report/relaxivity.csv", index_col="agent")
        truth = pd.read_csv(tmp_path / "demo/study/truth_relaxivity.csv", index_col="agent")
        for r in ("r1", "r2"):
            low, high = (found[f"{r}_ci95_{end}_per_mM_per_s"] for end in ("low", "high"))
            assert (
                (low <= truth[f"{r}_per_mM_per_s"]) & (truth[f"{r}_per_mM_per_s"] <= high)
            ).all()
        page = tmp_path / "demo" / "report" / "index.html"
        assert page.is_file()
        assert f"Report: {page}" in capsys.readouterr().out

    def test_inspect_lists_what_is_there(self, study: Path, capsys: pytest.CaptureFixture) -> None:
        assert run(["inspect", str(study / "dicom")]) == 0
        told = capsys.readouterr().out
        assert "MESE" in told
        assert "IRT1" in told
        assert "7 T" in told

    def test_inspect_as_json_is_json(self, study: Path, capsys: pytest.CaptureFixture) -> None:
        assert run(["inspect", str(study / "dicom"), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert {"MESE", "IRT1"} <= {one["kind"] for one in found["series"]}
        assert str(study.parent) not in json.dumps(found["series"]), "an absolute path"

    def test_fit_writes_maps_of_the_true_T1(
        self, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture
    ) -> None:
        done = run(["fit", str(study / "dicom" / "t1_ir"), "-o", str(tmp_path / "maps")])
        assert done == 0
        assert f"Maps: {tmp_path / 'maps'}" in capsys.readouterr().out
        (file,) = (tmp_path / "maps").rglob("sub-01_T1map.nii.gz")
        T1 = nibabel.load(file).get_fdata()
        labels = nibabel.load(study / "labels.nii.gz").get_fdata()
        truth = pd.read_csv(study / "truth.csv", index_col="tube")["T1_s"]
        # The blank is the tube of the longest T1 and no noise floor: 2 % is its SD/√n many times.
        assert np.nanmedian(T1[labels == 16]) == pytest.approx(truth[16], rel=0.02)

    def test_fit_only_where_the_mask_says(self, study: Path, tmp_path: Path) -> None:
        arguments = ["fit", str(study / "dicom" / "t2_mese"), "-o", str(tmp_path / "maps")]
        assert run([*arguments, "--mask", str(study / "labels.nii.gz"), "--model", "t2"]) == 0
        (file,) = (tmp_path / "maps").rglob("sub-01_T2map.nii.gz")
        labels = nibabel.load(study / "labels.nii.gz").get_fdata()
        assert np.isnan(nibabel.load(file).get_fdata()[labels == 0]).all()

    def test_fit_with_times_by_hand(self, own_study: Path, tmp_path: Path) -> None:
        scan = own_study / "dicom" / "t2_mese"

        def forget(header: pydicom.Dataset, i: int) -> None:
            del header.EchoTime

        edit_headers(scan, forget)
        times = ",".join(f"{10 * (i + 1)}ms" for i in range(len(list(scan.iterdir()))))
        assert run(["fit", str(scan), "-o", str(tmp_path / "maps"), "--te", times]) == 0

    def test_report_writes_page_numbers_and_maps(self, report: Path) -> None:
        for name in ("index.html", "results.json", "tubes.csv", "relaxivity.csv", "contrast.csv"):
            assert (report / name).stat().st_size > 0
        assert list(report.rglob("*_T1map.nii.gz"))
        assert list(report.rglob("*_T2map.nii.gz"))

    def test_contrast_alone(
        self, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture
    ) -> None:
        assert run(["contrast", str(study / "study.toml"), "-o", str(tmp_path / "out")]) == 0
        assert "C3, axial" in capsys.readouterr().out
        assert len(pd.read_csv(tmp_path / "out" / "contrast.csv")) == 1

    def test_relaxivity_of_a_reports_own_table_is_the_reports(
        self, report: Path, tmp_path: Path
    ) -> None:
        assert run(["relaxivity", str(report / "tubes.csv"), "-o", str(tmp_path / "out")]) == 0
        first, again = (
            pd.read_csv(folder / "relaxivity.csv") for folder in (report, tmp_path / "out")
        )
        pd.testing.assert_frame_equal(first, again, rtol=1e-9)

    def test_a_row_of_a_table_is_left_out_only_where_it_says_so(self, tmp_path: Path) -> None:
        """R1 = 0.4 + 4·c, and one point that is wrong and known to be."""
        table = tmp_path / "rates.csv"
        table.write_text(
            "agent,concentration_mM,R1_per_s,exclude,reason\n"
            "Gd,0,0.4,no,\nGd,0.5,2.4,,\nGd,1,9.9,yes,spilt\nGd,2,8.4,0,\n"
        )
        assert run(["relaxivity", str(table), "-o", str(tmp_path / "out")]) == 0
        (row,) = pd.read_csv(tmp_path / "out" / "relaxivity.csv").to_dict("records")
        assert row["r1_per_mM_per_s"] == pytest.approx(4.0)
        assert row["r1_n_points"] == 3

    def test_simulate_is_the_same_for_the_same_seed(self, tmp_path: Path) -> None:
        for name, seed in (("a", "3"), ("b", "3"), ("c", "4")):
            arguments = ["simulate", "-o", str(tmp_path / name), "--protocol", "small"]
            assert run([*arguments, "--seed", seed]) == 0
        a, b, c = (tmp_path / n / "dicom" / "t1_ir" / "IM_0001.dcm" for n in "abc")
        assert a.read_bytes() == b.read_bytes() != c.read_bytes()

    def test_models_with_equation_and_source(self, capsys: pytest.CaptureFixture) -> None:
        assert run(["models"]) == 0
        told = capsys.readouterr().out
        for name in ("t2 ", "t1_ir ", "t1_sr ", "S0·exp(−TE/T2)", "Barral"):
            assert name in told
        # Names, and what stands behind them, in two columns.
        lines = told.splitlines()
        assert [line.split()[0] for line in lines[::2]] == [model.name for model in MODELS]
        column = len("t1_sr_offset") + 2
        assert all(line[column - 1] == " " != line[column] for line in lines)
        assert all(line[:column].isspace() for line in lines[1::2])

    def test_version(self, capsys: pytest.CaptureFixture) -> None:
        assert run(["--version"]) == 0
        assert capsys.readouterr().out == f"relaxometry {__version__}\n"


def nowhere(study: Path) -> None:
    edit(study / "study.toml", "dicom/t2_mese", "dicom/nowhere")


def no_echo_time(study: Path) -> None:
    def forget(header: pydicom.Dataset, i: int) -> None:
        del header.EchoTime

    edit_headers(study / "dicom" / "t2_mese", forget)


def two_swept(study: Path) -> None:
    def also_sweep_TR(header: pydicom.Dataset, i: int) -> None:
        header.RepetitionTime = 1000 + 100 * i

    edit_headers(study / "dicom" / "t2_mese", also_sweep_TR)


def no_concentration(study: Path) -> None:
    edit(study / "tubes.csv", "2,IO-5,0.2\n", "2,IO-5,\n")


def text_concentration(study: Path) -> None:
    edit(study / "tubes.csv", "2,IO-5,0.2\n", "2,IO-5,0.2 mM\n")


def not_toml(study: Path) -> None:
    edit(study / "study.toml", "[T2]", "[T2")


def unknown_key(study: Path) -> None:
    edit(study / "study.toml", "temperature_C", "temprature_C")


def other_field(study: Path) -> None:
    edit(study / "study.toml", "field_T = 7.0", "field_T = 3.0")


def empty_scan(study: Path) -> None:
    for file in (study / "dicom" / "t2_mese").iterdir():
        file.unlink()


BAD_STUDIES = {
    nowhere: ("study.toml", "[T2] path", "dicom/nowhere"),
    no_echo_time: ("t2_mese", "TE", "by hand"),
    two_swept: ("t2_mese", "TE and TR"),
    no_concentration: ("tubes.csv", "concentration_mM", "tube 2"),
    text_concentration: ("tubes.csv", "concentration_mM", "tube 2", "0.2 mM"),
    not_toml: ("study.toml", "line"),
    unknown_key: ("study.toml", "temprature_C"),
    other_field: ("study.toml", "field_T", "3", "7 T"),
    empty_scan: ("t2_mese",),
}


PROTOCOLS = {
    "t2": (Protocol(TE=np.arange(1, 17) * 0.010, TR=3.0), "SE"),
    "t2_offset": (Protocol(TE=np.arange(1, 17) * 0.010), "SE"),
    "t2star": (Protocol(TE=np.arange(1, 9) * 0.004), "GE"),
    "t1_ir": (Protocol(TI=[0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2], TR=8.0), "SE"),
    "t1_sr": (Protocol(TR=[0.2, 0.4, 0.8, 1.6, 3.2, 6.4]), "SE"),
    "t1_sr_offset": (Protocol(TR=[0.2, 0.4, 0.8, 1.6, 3.2, 6.4]), "SE"),
    "t1_vfa": (Protocol(FA=[2, 5, 10, 15, 20, 30], TR=0.015), "GE"),
}
AMPLITUDES = {"t2_offset": [1e4, 500], "t1_ir": [1e4, 1.9e4], "t1_sr_offset": [1e4, -9e3]}


class TestEveryModelFromFiles:
    """A simulated series, written as a BIDS data set, read and fitted by the command line."""

    def written(self, name: str, folder: Path, B1: float = 1.0) -> tuple[Series, np.ndarray]:
        protocol, sequence = PROTOCOLS[name]
        model, grid = as_model(name), (9, 8, 3)
        T = {"T1": 0.9, "T2": 0.06, "T2star": 0.012}[model.time]
        T = T * np.random.default_rng(3).uniform(0.6, 1.4, grid)
        amplitudes = AMPLITUDES.get(name, [1e4])
        amplitudes = np.broadcast_to(amplitudes, (*grid, len(amplitudes)))
        scanned = protocol if B1 == 1 else replace(protocol, FA=protocol.FA * B1)
        signal = series_from_maps(model, scanned, T, amplitudes, 1.0, 5).signal
        affine = np.array([[-2, 0, 0, 8], [0, -2, 0, 8], [0, 0, 3, 0], [0, 0, 0, 1.0]])
        series = Series(signal, protocol, affine, signed=False, sequence=sequence)
        write_series(series, folder)
        mask = nibabel.Nifti1Image(np.ones(grid, np.int16), affine)
        nibabel.save(mask, folder.parent / "mask.nii.gz")
        return series, T

    @pytest.mark.parametrize("name", PROTOCOLS)
    def test_T_comes_back(self, name: str, tmp_path: Path) -> None:
        series, T = self.written(name, tmp_path / "raw")
        asked = ["fit", str(tmp_path / "raw"), "-o", str(tmp_path / "maps"), "--quiet"]
        asked += ["--mask", str(tmp_path / "mask.nii.gz")]
        # What the files say decides between the models without an offset.
        asked += ["-m", name] if name.endswith("offset") else []
        assert run(asked) == 0
        model = as_model(name)
        suffix = {"T1": "T1map", "T2": "T2map", "T2star": "T2starmap"}[model.time]
        image = nibabel.load(tmp_path / "maps" / "sub-01" / "anat" / f"sub-01_{suffix}.nii.gz")
        np.testing.assert_allclose(image.affine, series.affine, atol=1e-5)
        np.testing.assert_allclose(image.get_fdata(), T, rtol=0.02 if "off" in name else 0.01)
        sidecar = json.loads((tmp_path / f"maps/sub-01/anat/sub-01_{suffix}.json").read_text())
        assert sidecar["EstimationAlgorithm"].startswith(f"{name}: ")
        direct = fit.fit_maps(series, name)
        np.testing.assert_allclose(image.get_fdata(), direct[model.time].value, rtol=1e-5)

    def test_flip_angles_with_a_map_of_B1(
        self, tmp_path: Path, capsys: pytest.CaptureFixture
    ) -> None:
        series, T = self.written("t1_vfa", tmp_path / "raw", B1=0.8)
        b1 = tmp_path / "b1.nii.gz"
        nibabel.save(nibabel.Nifti1Image(np.full(series.grid, 0.8, "f4"), series.affine), b1)
        asked = ["fit", str(tmp_path / "raw"), "-o", str(tmp_path / "maps"), "--b1", str(b1)]
        asked += ["--mask", str(tmp_path / "mask.nii.gz")]
        assert run(asked) == 0
        assert "note: flip angles are scaled by the B1 map\n" in capsys.readouterr().out
        T1 = nibabel.load(next((tmp_path / "maps").rglob("sub-01_T1map.nii.gz"))).get_fdata()
        np.testing.assert_allclose(T1, T, rtol=0.01)
        percent = tmp_path / "percent.nii.gz"
        nibabel.save(nibabel.Nifti1Image(np.full(series.grid, 80, "f4"), series.affine), percent)
        again = ["fit", str(tmp_path / "raw"), "-o", str(tmp_path / "other"), "--b1", str(percent)]
        again += ["--mask", str(tmp_path / "mask.nii.gz")]
        assert run(again) == 0
        assert "median 0.8 (90 % 0.8 … 0.8), percent: the median is 80" in capsys.readouterr().out
        again = nibabel.load(next((tmp_path / "other").rglob("sub-01_T1map.nii.gz"))).get_fdata()
        np.testing.assert_allclose(again, T1, rtol=1e-6)
        angles = tmp_path / "angles.nii.gz"
        nibabel.save(nibabel.Nifti1Image(np.full(series.grid, 800, "f4"), series.affine), angles)
        asked = ["fit", str(tmp_path / "raw"), "-o", str(tmp_path / "third"), "--b1", str(angles)]
        assert run([*asked, "--mask", str(tmp_path / "mask.nii.gz")]) == 3
        assert "B1: a median of 800 percent" in capsys.readouterr().err
        assert not (tmp_path / "third").exists()

    def test_what_was_done_to_the_points_is_said(
        self, tmp_path: Path, capsys: pytest.CaptureFixture
    ) -> None:
        series, T = self.written("t2", tmp_path / "raw")
        cut = replace(series, signal=np.minimum(np.rint(series.signal), 4095))
        write_series(cut, tmp_path / "cut")
        asked = ["fit", str(tmp_path / "cut"), "-o", str(tmp_path / "maps")]
        asked += ["--mask", str(tmp_path / "mask.nii.gz")]
        asked += ["--drop-echoes", "16", "--drop-reason", "a spike"]
        assert run([*asked, "--noise-floor", "3", "--sigma", "200"]) == 0
        told = capsys.readouterr().out.splitlines()
        reached = (cut.signal[..., :15] == 4095).any(axis=-1).sum()
        low = (cut.signal[..., :15] < 600).any(axis=-1).sum()
        assert told[1].startswith("ParameterMaps: t2, T2, S0: ")
        assert told[2:5] == [
            "note: left out point 16 of 16: a spike",
            f"note: points at 4095 are clipped and left out of {reached} voxels",
            f"note: points below 3·σ = 600 are left out of {low} voxels",
        ]
        T2 = nibabel.load(next((tmp_path / "maps").rglob("sub-01_T2map.nii.gz"))).get_fdata()
        np.testing.assert_allclose(T2, T, rtol=0.01)


class TestBadInput:
    @pytest.mark.parametrize(
        ("spoil", "named"), BAD_STUDIES.items(), ids=[spoil.__name__ for spoil in BAD_STUDIES]
    )
    def test_a_bad_study_is_one_line_and_leaves_nothing(
        self,
        spoil: Callable[[Path], None],
        named: tuple[str, ...],
        own_study: Path,
        capsys: pytest.CaptureFixture,
    ) -> None:
        spoil(own_study)
        folder = own_study.parent
        assert run(["report", str(own_study / "study.toml"), "-o", str(folder / "out")]) == 3
        told = capsys.readouterr()
        (line,) = told.err.splitlines()
        assert [name for name in named if name not in line] == []
        assert "Traceback" not in told.out + told.err
        assert [path.name for path in folder.iterdir()] == ["study"]

    @pytest.mark.parametrize(
        ("arguments", "named"),
        [
            (["inspect", "{study}/nowhere"], "nowhere"),
            (["fit", "{study}/dicom", "-o", "{out}"], "2 series"),
            (["fit", "{study}/dicom/t2_mese", "-o", "{out}", "-m", "t1_ir"], "t1_ir"),
            (["fit", "{study}/dicom/t2_mese", "-o", "{out}", "-m", "t3"], "t3"),
            (["fit", "{study}/dicom/t2_mese", "-o", "{out}", "--te", "1,x"], "--te"),
            (["fit", "{study}/dicom/t2_mese", "-o", "{out}", "--max-memory", "much"], "much"),
            (["relaxivity", "{study}/study.toml", "-o", "{out}"], "study.toml"),
            (["relaxivity", "{study}/tubes.csv", "-o", "{out}"], "R1_per_s"),
            (["relaxivity", "{study}/none.csv", "-o", "{out}"], "none.csv"),
            (["contrast", "{study}/tubes.csv", "-o", "{out}"], "tubes.csv"),
            (["simulate", "-o", "{out}", "--protocol", "mine"], "mine"),
            (["report", "{study}", "-o", "{out}"], "{study}"),
        ],
    )
    def test_names_what_is_wrong(
        self,
        arguments: list[str],
        named: str,
        study: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture,
    ) -> None:
        places = {"study": str(study), "out": str(tmp_path / "out")}
        assert run([argument.format(**places) for argument in arguments]) == 3
        (line,) = capsys.readouterr().err.splitlines()
        assert named.format(**places) in line
        assert list(tmp_path.iterdir()) == []


class TestWhatIsHandedToTheFit:
    """Options that the fit understands: given on where they are asked for, and only then."""

    @pytest.fixture
    def handed(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
        seen: dict[str, object] = {}
        real = fit.fit_maps

        def noting(series: Series, *arguments: object, **options: object) -> ParameterMaps:
            seen.update(options, series=series)
            known = {name: options[name] for name in ("workers", "max_memory", "progress")}
            return real(series, *arguments, **known)

        monkeypatch.setattr(fit, "fit_maps", noting)
        return seen

    def arguments(self, study: Path, out: Path) -> list[str]:
        return ["fit", str(study / "dicom" / "t2_mese"), "-o", str(out / "maps")]

    def test_nothing_that_was_not_asked_for(self, study, tmp_path, handed) -> None:
        assert run(self.arguments(study, tmp_path)) == 0
        assert not {"B1", "noise_floor"} & set(handed)

    def test_points_are_left_out_with_their_reason(self, study, tmp_path, handed) -> None:
        chosen = ["--drop-echoes", "1, 3", "--drop-reason", "stimulated echo"]
        assert run([*self.arguments(study, tmp_path), *chosen]) == 0
        series = handed["series"]
        np.testing.assert_allclose(series.protocol.TE[:3], [0.02, 0.04, 0.05])
        assert series.provenance.notes[0].endswith("stimulated echo")
        sidecar = next((tmp_path / "maps").rglob("sub-01_T2map.json"))
        assert json.loads(sidecar.read_text())["EchoTime"] == series.protocol.TE.tolist()

    def test_a_map_of_B1_on_the_grid(self, study, tmp_path, handed) -> None:
        labels = nibabel.load(study / "labels.nii.gz")
        factor = np.linspace(0.8, 1.2, labels.shape[0])[:, None, None] * np.ones(labels.shape)
        b1 = tmp_path / "b1.nii.gz"
        nibabel.save(nibabel.Nifti1Image(factor.astype(np.float32), labels.affine), b1)
        assert run([*self.arguments(study, tmp_path), "--b1", str(b1)]) == 0
        np.testing.assert_allclose(handed["B1"], factor, rtol=1e-6)

    def test_a_noise_floor(self, study, tmp_path, handed) -> None:
        asked = ["--noise-floor", "3", "--sigma", "12.5"]
        assert run([*self.arguments(study, tmp_path), *asked]) == 0
        assert handed["noise_floor"] == (3.0, 12.5)

    @pytest.mark.parametrize(
        ("asked", "named"),
        [
            (["--drop-echoes", "1"], "without a reason"),
            (["--drop-echoes", "99", "--drop-reason", "why"], "no point 99"),
            (["--drop-echoes", "1-3", "--drop-reason", "why"], "--drop-echoes: '1-3'"),
            (["--noise-floor", "3"], "--sigma"),
            (["--sigma", "3"], "--noise-floor"),
            (["--b1", "{study}/labels.nii.gz"], "labels.nii.gz: B1: a median of 8.5"),
        ],
    )
    def test_what_cannot_be(self, asked, named, study, tmp_path, capsys) -> None:
        asked = [argument.format(study=study) for argument in asked]
        assert run([*self.arguments(study, tmp_path), *asked]) == 3
        (line,) = capsys.readouterr().err.splitlines()
        assert named in line
        assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is no signal there")
class TestCtrlC:
    """64×64×256 voxels at 8 echoes, all fitted; stopped by the signal that Ctrl-C sends."""

    @pytest.fixture
    def started(self, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
        decay = np.exp(-0.01 * np.arange(1, 9) / np.linspace(0.02, 0.1, 64)[:, None])
        noise = np.random.default_rng(1).normal(0, 5, (64, 64, 256, 8))
        voxels = np.abs(1000 * decay[:, None, None] + noise).astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), tmp_path / "mese.nii")
        mask = nibabel.Nifti1Image(np.ones((64, 64, 256), np.uint8), np.eye(4))
        nibabel.save(mask, tmp_path / "mask.nii")
        times = ",".join(f"{10 * k}ms" for k in range(1, 9))
        command = [sys.executable, "-m", "relaxometry", "fit", "mese.nii", "--te", times]
        with subprocess.Popen(
            [*command, "--mask", "mask.nii", "-o", "out"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            env={**os.environ, "PYTHONPATH": str(PACKAGE), "COLUMNS": "80"},
        ) as process:
            yield process
            process.kill()

    def stopped(self, process: subprocess.Popen[str], folder: Path) -> None:
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
        assert process.returncode == 130
        assert told.splitlines() == ["stopped; nothing was written"]
        assert sorted(path.name for path in folder.iterdir()) == ["mask.nii", "mese.nii"]

    def test_while_it_fits(self, started: subprocess.Popen[str], tmp_path: Path) -> None:
        assert started.stdout is not None
        assert started.stdout.readline().startswith("Series: MESE, 64×64×256, 8 TE")
        self.stopped(started, tmp_path)

    def test_while_it_writes(self, started: subprocess.Popen[str], tmp_path: Path) -> None:
        while started.poll() is None and not list(tmp_path.glob(".out-*/new/**/*.part")):
            time.sleep(0.002)
        self.stopped(started, tmp_path)


class TestExitCodes:
    def test_1_where_a_tube_cannot_be_determined(
        self, own_study: Path, capsys: pytest.CaptureFixture
    ) -> None:
        """A tube that is said to lie in the air has no T2; the report is written all the same."""
        truth = pd.read_csv(own_study / "truth.csv")
        circles = truth[["x_mm", "y_mm"]].assign(radius_mm=2.0).to_numpy().tolist()
        circles[3] = [20.0, 38.0, 1.5]
        edit(own_study / "study.toml", 'order = "rows"', f"circles = {circles}")
        out = own_study.parent / "out"
        assert run(["report", str(own_study / "study.toml"), "-o", str(out)]) == 1
        told = capsys.readouterr()
        assert "quality check failed: tube 4" in told.err
        assert (out / "index.html").is_file()

    @pytest.mark.parametrize(
        "arguments", [[], ["report"], ["nonsense"], ["models", "--nope"], ["inspect", "a", "b"]]
    )
    def test_2_for_usage(self, arguments: list[str], capsys: pytest.CaptureFixture) -> None:
        assert run(arguments) == 2
        told = capsys.readouterr()
        assert "--help" in told.out + told.err

    def test_4_for_a_fault_of_ours(
        self,
        study: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture,
    ) -> None:
        def fail(*args: object, **options: object) -> None:
            raise RuntimeError("the table is empty\nand more")

        monkeypatch.setattr("relaxometry.study.analyse", fail)
        assert run(["report", str(study / "study.toml"), "-o", str(tmp_path / "out")]) == 4
        (line,) = capsys.readouterr().err.splitlines()
        assert "internal error: RuntimeError: the table is empty" in line
        assert "--debug" in line
        assert list(tmp_path.iterdir()) == []

    def test_a_process_leaves_with_the_code(self, study: Path, tmp_path: Path) -> None:
        assert relaxometry("models").returncode == 0
        bad = relaxometry("fit", tmp_path / "nowhere", "-o", tmp_path / "out")
        assert bad.returncode == 3
        assert "nowhere" in bad.stderr
        assert "Traceback" not in bad.stderr
        assert len(bad.stderr.splitlines()) == 1
        assert relaxometry("fit", study / "dicom" / "t2_mese").returncode == 2

    def test_debug_shows_where(self, tmp_path: Path) -> None:
        bad = relaxometry("inspect", tmp_path / "nowhere", "--debug")
        assert bad.returncode != 0
        assert "Traceback" in bad.stderr
        assert "InputError" in bad.stderr


class TestForceAndQuiet:
    def test_a_result_is_not_overwritten_unasked(
        self, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture
    ) -> None:
        arguments = ["fit", str(study / "dicom" / "t2_mese"), "-o", str(tmp_path / "maps")]
        assert run(arguments) == 0
        before = {file: file.stat().st_mtime_ns for file in (tmp_path / "maps").rglob("*")}
        capsys.readouterr()
        assert run(arguments) == 3
        assert "--force" in capsys.readouterr().err
        after = {file: file.stat().st_mtime_ns for file in (tmp_path / "maps").rglob("*")}
        assert before == after
        assert run([*arguments, "--force"]) == 0

    @pytest.mark.parametrize("verb", ["fit", "report", "contrast", "simulate", "demo"])
    def test_force_never_replaces_something_else(
        self, verb: str, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture
    ) -> None:
        mine = tmp_path / "mine"
        mine.mkdir()
        (mine / "thesis.txt").write_text("mine")
        arguments = {
            "fit": ["fit", str(study / "dicom" / "t2_mese"), "-o"],
            "report": ["report", str(study / "study.toml"), "-o"],
            "contrast": ["contrast", str(study / "study.toml"), "-o"],
            "simulate": ["simulate", "--protocol", "small", "-o"],
            "demo": ["demo"],
        }[verb]
        assert run([*arguments, str(mine), "--force"]) == 3
        assert str(mine) in capsys.readouterr().err
        assert [path.name for path in tmp_path.rglob("*")] == ["mine", "thesis.txt"]

    def test_an_empty_folder_may_be_written_to(self, study: Path, tmp_path: Path) -> None:
        (tmp_path / "maps").mkdir()
        scan = str(study / "dicom" / "t2_mese")
        assert run(["fit", scan, "-o", str(tmp_path / "maps")]) == 0

    @pytest.mark.parametrize("where", ["before", "after"])
    def test_quiet_says_nothing_but_errors(
        self, where: str, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture
    ) -> None:
        arguments = ["contrast", str(study / "study.toml"), "-o", str(tmp_path / "out")]
        asked = ["--quiet", *arguments] if where == "before" else [*arguments, "--quiet"]
        assert run(asked) == 0
        told = capsys.readouterr()
        assert (told.out, told.err) == ("", "")
        assert run(asked) == 3
        assert "is there already" in capsys.readouterr().err


class TestWhatIsNotThere:
    def test_maps_of_nothing_fail_the_quality_check(self, study, tmp_path, capsys) -> None:
        times = ",".join(f"{ms}ms" for ms in range(160, 0, -10))  # the wrong way round
        signal = read(study / "dicom/t2_mese").signal
        nibabel.save(nibabel.Nifti1Image(signal, np.eye(4)), tmp_path / "bare.nii")
        arguments = [
            "fit",
            str(tmp_path / "bare.nii"),
            "-o",
            str(tmp_path / "out"),
            "--te",
            times,
        ]
        assert run(arguments) == 1
        assert "most voxels could not be determined" in capsys.readouterr().err

    def test_an_empty_mask_is_bad_input(self, study, tmp_path, capsys) -> None:
        labels = nibabel.load(study / "labels.nii.gz")
        mask = tmp_path / "mask.nii.gz"
        nibabel.save(nibabel.Nifti1Image(0 * np.asarray(labels.dataobj), labels.affine), mask)
        arguments = ["fit", str(study / "dicom/t2_mese"), "-o", str(tmp_path / "out")]
        assert run([*arguments, "--mask", str(mask)]) == 3
        assert "nothing to fit" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()

    def test_angles_have_no_unit_of_time(self, study, tmp_path, capsys) -> None:
        arguments = ["fit", str(study / "dicom/t2_mese"), "-o", str(tmp_path / "out")]
        assert run([*arguments, "--fa", "90ms"]) == 3
        assert "--fa: '90ms'; expected degrees" in capsys.readouterr().err

    def test_a_table_with_its_conditions_stated(self, report, tmp_path, capsys) -> None:
        arguments = ["relaxivity", str(report / "tubes.csv"), "-o", str(tmp_path / "out")]
        stated = ["--field", "7", "--temperature", "22", "--medium", "agarose", "--ion", "Fe"]
        assert run([*arguments, *stated]) == 0
        assert "not stated" not in capsys.readouterr().out
        said = json.loads((tmp_path / "out/results.json").read_text(encoding="utf-8"))["study"]
        assert (said["field_T"], said["concentration_of"]) == (7.0, "Fe")

    def test_sidecars_are_inputs(self, own_study, tmp_path) -> None:
        edit(own_study / "study.toml", 'path = "dicom/t2_mese"', 'path = "bids"\nseries = 1')
        edit(own_study / "study.toml", 'path = "dicom/t1_ir"', 'path = "bids"\nseries = 2')
        arguments = ["report", str(own_study / "study.toml"), "-o", str(tmp_path / "out")]
        assert run(arguments) == 0
        results = json.loads((tmp_path / "out/results.json").read_text(encoding="utf-8"))
        assert [series["kind"] for series in results["series"]] == ["IRT1", "MESE"]
        named = {entry["path"] for entry in results["inputs"]}
        assert "bids/sub-01/anat/sub-01_echo-1_MESE.json" in named

    @pytest.mark.parametrize("other", ["A,0.1,0.8,20\nA,0.2,1.2,30\nA,0.4,2.0,52\n", ""])
    def test_an_agent_that_gave_nothing_costs_a_check_and_no_report(
        self, tmp_path, capsys, other
    ) -> None:
        """None of X's tubes could be measured; A is fine, or there is no other."""
        table = tmp_path / "table.csv"
        table.write_text(
            f"agent,concentration_mM,R1_per_s,R2_per_s\n{other}X,0.1,,\nX,0.2,,\n",
            encoding="utf-8",
        )
        assert run(["relaxivity", str(table), "-o", str(tmp_path / "out")]) == 1
        assert "r2 of X could not be determined" in capsys.readouterr().err
        results = json.loads((tmp_path / "out/results.json").read_text(encoding="utf-8"))
        row = results["relaxivity"][-1]
        assert (row["agent"], row["r2_per_mM_per_s"], row["class"]) == ("X", None, "not determined")
        assert any("rates known at 0 concentrations" in flag for flag in row["flags"])
        assert (tmp_path / "out/index.html").is_file()
