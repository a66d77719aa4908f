"""What is written as BIDS is BIDS: the validator of its makers finds no error in it."""

from __future__ import annotations

import json
import subprocess
import sysconfig
from pathlib import Path

import numpy as np
import pytest

import relaxometry as rx
from relaxometry.bids import write_maps, write_series

from .test_nifti import SWEEPS, maps_of, series_of, voxels

VALIDATOR = Path(sysconfig.get_path("scripts")) / "bids-validator-deno"
pytestmark = pytest.mark.skipif(
    not VALIDATOR.is_file(), reason="pip install bids-validator-deno: the validator is not there"
)
# What only the people who scanned can know.
THEIRS = {"JSON_KEY_RECOMMENDED", "SIDECAR_KEY_RECOMMENDED", "NO_AUTHORS", "TOO_FEW_AUTHORS"}


def complaints(folder: Path) -> dict[str, set[str]]:
    """Codes of the errors and of the warnings."""
    done = subprocess.run(
        [VALIDATOR, str(folder), "--format", "json"], capture_output=True, text=True, check=False
    )
    found: dict[str, set[str]] = {"error": set(), "warning": set()}
    for issue in json.loads(done.stdout)["issues"]["issues"]:
        found[issue["severity"]].add(issue["code"])
    assert (done.returncode == 0) == (not found["error"]), done.stderr
    return found


def assert_valid(folder: Path) -> None:
    found = complaints(folder)
    assert found["error"] == set()
    assert found["warning"] <= THEIRS


@pytest.mark.parametrize("kind", SWEEPS)
@pytest.mark.parametrize("signed", [False, True])
def test_raw_data(tmp_path: Path, kind: str, signed: bool) -> None:
    signal = voxels(4, 3, 2, 3) - (40 if signed else 0)
    write_series(series_of(kind, signal=signal, signed=signed), tmp_path / "raw")
    assert_valid(tmp_path / "raw")


def test_all_kinds_in_one_data_set(tmp_path: Path) -> None:
    for kind in SWEEPS:
        write_series(series_of(kind), tmp_path / "raw", subject="A1")
    assert_valid(tmp_path / "raw")


def test_maps_of_every_time_and_labels(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    sources = ["bids:raw:sub-01/anat/sub-01_echo-1_MESE.nii.gz"]
    labels = voxels(4, 3, 2) % 3
    write_maps(maps_of("MESE", 0, rng), tmp_path, tubes_labels=labels, sources=sources)
    write_maps(maps_of("IRT1", 1, rng), tmp_path)
    write_maps(rx.fit_maps(series_of("MEGRE"), progress=False), tmp_path)
    assert_valid(tmp_path)


@pytest.mark.parametrize("kind", ["VTR", "VFA"])
def test_maps_of_T1(tmp_path: Path, kind: str) -> None:
    write_maps(rx.fit_maps(series_of(kind), progress=False), tmp_path)
    assert_valid(tmp_path)


def test_the_sample_study(sample_data: Path, tmp_path: Path) -> None:
    assert_valid(sample_data / "bids")
    result = rx.analyse(sample_data / "study.toml", progress=False)
    for quantity, maps in result.maps.items():  # as a report writes them, without its figures
        write_maps(maps, tmp_path / "maps", tubes_labels=result.tubes[quantity].labels)
    assert_valid(tmp_path / "maps")


def test_the_validator_does_look(tmp_path: Path) -> None:
    write_maps(maps_of("MESE", 0, np.random.default_rng(3)), tmp_path)
    sidecar = tmp_path / "sub-01" / "anat" / "sub-01_T2map.json"
    facts = json.loads(sidecar.read_text())
    del facts["SkullStripped"]
    sidecar.write_text(json.dumps(facts | {"InversionTime": [0.1, 0.2]}))
    assert complaints(tmp_path)["error"] == {
        "JSON_SCHEMA_VALIDATION_ERROR",
        "SIDECAR_KEY_REQUIRED",
    }


def test_a_readme_of_somebody_stays(tmp_path: Path) -> None:
    maps = maps_of("MESE", 0, np.random.default_rng(3))
    (tmp_path / "README").write_text("mine")
    write_maps(maps, tmp_path)
    assert [path.read_text() for path in tmp_path.glob("README*")] == ["mine"]
