"""Times and angles given by hand, wherever they may be given, and recorded as such."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import relaxometry as rx
from relaxometry.cli import run
from relaxometry.models import as_model
from relaxometry.series import Protocol
from relaxometry.simulate import series_from_maps

from .test_nifti import save

GRID = (16, 16, 1)
AFFINE = np.diag([1.0, 1, 3, 1])
TE = [0.01, 0.02, 0.04, 0.08, 0.16]
TI = [0.05, 0.15, 0.4, 0.9, 2.0, 4.0]

#: Model, protocol, and the same in study.toml (with units, or numbers in s) and for the shell.
SWEEPS: dict[str, tuple[str, Protocol, str, list[str]]] = {
    "MESE": (
        "t2",
        Protocol(TE=TE, TR=3.0),
        'te = ["10 ms", 0.02, "40ms", "0.08 s", 0.16]\ntr = ["3000 ms"]\n',
        ["--te", "10ms,0.02,40ms,0.08s,0.16", "--tr", "3"],
    ),
    "IRT1": (
        "t1_ir",
        Protocol(TI=TI, TR=[5.0, 5, 5, 6, 7, 9], TE=0.01),
        'ti = ["50 ms", 0.15, 0.4, 0.9, 2, "4 s"]\ntr = [5, 5, 5, 6, 7, "9000 ms"]\nte = [0.01]\n',
        ["--ti", "50ms,0.15,0.4,0.9,2,4s", "--tr", "5,5,5,6,7,9s", "--te", "10ms"],
    ),
    "VTR": (
        "t1_sr",
        Protocol(TR=[0.3, 0.6, 1.2, 2.4, 5.0], TE=0.01),
        'tr = ["300 ms", "600 ms", 1.2, 2.4, 5]\nte = ["10 ms"]\n',
        ["--tr", "300ms,600ms,1.2,2.4,5", "--te", "10ms"],
    ),
    "VFA": (
        "t1_vfa",
        Protocol(FA=[2, 5, 10, 20, 30], TR=0.015),
        'fa = [2, 5, 10, 20.0, 30]\ntr = ["15 ms"]\n',
        ["--fa", "2,5,10,20,30", "--tr", "15ms"],
    ),
}


def written(folder: Path, kind: str) -> float:
    """A 4-D file without a sidecar; the true T1 or T2 of its two tubes."""
    model, protocol = as_model(SWEEPS[kind][0]), SWEEPS[kind][1]
    x, y = np.indices(GRID[:2])
    tubes = (np.hypot(x - 4, y - 8) < 3.5) | (np.hypot(x - 12, y - 8) < 3.0)
    truth = {"T1": 0.7, "T2": 0.05}[model.time]
    size = [1e4, -2e4] if model.name == "t1_ir" else [1e4]
    amplitudes = tubes[..., None, None] * np.broadcast_to(size, (*GRID, len(size)))
    if model.name == "t1_ir":
        amplitudes = amplitudes * [1, -0.98]
    T = np.full(GRID, truth)
    signal = series_from_maps(model, protocol, T, amplitudes, 0.0, 1).signal
    save(folder / "scan.nii.gz", signal, affine=AFFINE)
    return truth


@pytest.mark.parametrize("kind", SWEEPS)
def test_in_a_study(tmp_path: Path, kind: str) -> None:
    model, protocol, lines, _ = SWEEPS[kind]
    truth, time = written(tmp_path, kind), as_model(model).time
    study = tmp_path / "study.toml"
    tubes = "[tubes]\ncircles = [[4, 8, 2.5], [12, 8, 2]]\n"
    study.write_text(f'[{time}]\npath = "scan.nii.gz"\nmodel = "{model}"\n{lines}{tubes}')
    result = rx.analyse(study, progress=False)
    assert result.tube_table[f"{time}_s"].tolist() == pytest.approx([truth] * 2, rel=1e-3)
    rx.report(result, tmp_path / "report")
    (told,) = json.loads((tmp_path / "report" / "results.json").read_text())["series"]
    given = [name for name in ("TE", "TI", "TR", "FA") if getattr(protocol, name) is not None]
    assert told["settings_known_by"] == dict.fromkeys(given, "given by hand")
    for name in given:
        key = "FA_deg" if name == "FA" else f"{name}_s"
        assert told[key] == pytest.approx(getattr(protocol, name).tolist(), rel=1e-12)
    assert f"{given[0]}: given by hand" in (tmp_path / "report" / "index.html").read_text()


@pytest.mark.parametrize("kind", SWEEPS)
def test_in_python_and_in_the_shell(tmp_path: Path, kind: str) -> None:
    model, protocol, _, options = SWEEPS[kind]
    truth, time = written(tmp_path, kind), as_model(model).time
    given: dict[str, Any] = {
        name.lower(): getattr(protocol, name).tolist()
        for name in ("TE", "TI", "TR", "FA")
        if getattr(protocol, name) is not None
    }
    series = rx.read(tmp_path, **given)
    assert series.kind == kind
    assert {series.provenance.origin[name.upper()] for name in given} == {"given by hand"}
    for name, values in given.items():
        assert getattr(series.protocol, name.upper()).tolist() == values
    arguments = ["fit", str(tmp_path), "-o", str(tmp_path / "maps"), *options, "--model", model]
    assert run([*arguments, "--quiet"]) == 0
    (file,) = (tmp_path / "maps").rglob(f"sub-01_{time}map.nii.gz")
    value = rx.nifti.read_volume(file)[0]
    assert value[4, 8, 0] == pytest.approx(truth, rel=1e-3)


def test_times_in_milliseconds_without_a_unit_are_refused(tmp_path: Path) -> None:
    written(tmp_path, "MESE")
    with pytest.raises(rx.InputError, match="seconds, not milliseconds"):
        rx.read(tmp_path, te=[10, 20, 40, 80, 160])
    study = tmp_path / "study.toml"
    text = '[T2]\npath = "scan.nii.gz"\nte = [10, 20, 40, 80, 160]\n[tubes]\n'
    study.write_text(text + "circles = [[4, 8, 2.5]]\n")
    with pytest.raises(rx.InputError, match="TE: 160 is too much; expected seconds"):
        rx.analyse(study, progress=False)
