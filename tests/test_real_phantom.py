"""Real scans of the ISMRM/NIST system phantom on three makes of scanner, through `report`.

The numbers to reach are another program's (hazen's, on 5×5-pixel means; it drops the first echo and
fits T1 with the TR of each TI), and the certified relaxivity of NiCl2 at 1.5 T, 0.630 mM⁻¹ s⁻¹.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pydicom
import pytest

import relaxometry as rx
from relaxometry.cli import run

pytestmark = pytest.mark.real_data

SCANNERS = ("siemens_aera_1p5T", "ge_1p5T", "philips_1p5T")
PLATES = [
    ("siemens_aera_1p5T/T1_plate5", "T1"),
    ("siemens_aera_1p5T/T2_plate4", "T2"),
    ("ge_1p5T/T1_plate4", "T1"),
    ("ge_1p5T/T1_plate5", "T1"),
    ("ge_1p5T/T2_plate4", "T2"),
    ("ge_1p5T/T2_plate5", "T2"),
    ("philips_1p5T/T1_plate4", "T1"),
    ("philips_1p5T/T1_plate5", "T1"),
    ("philips_1p5T/T2_plate4", "T2"),
    ("philips_1p5T/T2_plate5", "T2"),
]
# Where the other program's numbers are determined by these times.
RANGE_MS = {"T1": (40, 1000), "T2": (20, 400)}


def certified_nickel(real_data: Path) -> list[float]:
    """ICP concentrations (mM) of the 14 NiCl2 spheres of batch 1."""
    with (real_data / "system_phantom" / "reference.csv").open(encoding="utf-8") as file:
        return [
            float(row["conc_icp_mM"])
            for row in csv.DictReader(file)
            if (row["batch"], row["array"], row["field_T"]) == ("1", "NiCl2", "1.5")
        ]


def reported(real_data: Path, tmp_path: Path, plate: str, quantity: str) -> dict:
    """results.json of a plate, with circles of 2.5 voxels at the spheres' centres."""
    folder = real_data / "system_phantom" / plate
    expected = json.loads((real_data / "system_phantom" / "expected.json").read_text())[plate]
    header = pydicom.dcmread(next(folder.iterdir()), stop_before_pixels=True)
    down, along = (float(v) for v in header.PixelSpacing)
    circles = [[c * along, r * down, 2.5 * along] for r, c in expected["sphere_centres_row_col"]]
    nickel = plate.endswith("plate5")
    concentrations = certified_nickel(real_data) if nickel else [0.0] * 14
    rows = [f"{i},{'NiCl2' if nickel else ''},{c}" for i, c in enumerate(concentrations, start=1)]
    (tmp_path / "tubes.csv").write_text("tube,agent,concentration_mM\n" + "\n".join(rows))
    drop = 'drop_echoes = [1]\ndrop_reason = "stimulated echo"' if quantity == "T2" else ""
    (tmp_path / "study.toml").write_text(
        f"""
        [study]
        title = "System phantom, {plate.replace("_", " ")}"
        field_T = 1.5
        temperature_C = 20.0
        medium = "water"
        concentration_of = "Ni"
        [{quantity}]
        path = {json.dumps(str(folder))}
        {drop}
        [tubes]
        sheet = "tubes.csv"
        circles = {circles}
        on = "{quantity}"
        """
    )
    assert run(["report", str(tmp_path / "study.toml"), "-o", str(tmp_path / "out")]) in (0, 1)
    results: dict = json.loads((tmp_path / "out" / "results.json").read_text())
    results["expected_ms"] = expected["hazen_expected_ms"]
    return results


@pytest.mark.parametrize(("plate", "quantity"), PLATES, ids=[plate for plate, _ in PLATES])
def test_times_agree_with_another_program(real_data, tmp_path, plate, quantity):
    results = reported(real_data, tmp_path, plate, quantity)
    low, high = RANGE_MS[quantity]
    misses, compared = [], 0
    for tube, expected in zip(results["tubes"], results["expected_ms"], strict=True):
        if not low <= expected <= high:
            continue
        compared += 1
        found = 1e3 * tube[f"{quantity}_s"]
        if abs(found - expected) > 0.02 * expected + 1:
            misses.append((tube["tube"], round(found, 1), expected))
    assert compared >= 8
    # Sphere 14 of plate 4 has its null next to the first TI: see the test below.
    if plate.endswith("T1_plate4"):
        misses = [miss for miss in misses if miss[0] != 14]
    assert not misses


@pytest.mark.parametrize("scanner", SCANNERS)
def test_relaxivity_of_nickel_chloride(real_data, tmp_path, scanner):
    results = reported(real_data, tmp_path, f"{scanner}/T1_plate5", "T1")
    (nickel,) = results["relaxivity"]
    assert nickel["n_points"] == 14
    assert nickel["method"] == "weighted"
    assert 0.60 <= nickel["r1_per_mM_per_s"] <= 0.66
    low, high = nickel["r1_ci95_per_mM_per_s"]
    assert low < nickel["r1_per_mM_per_s"] < high


def test_tr_of_each_ti_is_used(real_data, tmp_path):
    """Siemens lengthens TR with TI; with one TR for all, 1000 ms reads 441 ms."""
    results = reported(real_data, tmp_path, "siemens_aera_1p5T/T1_plate5", "T1")
    (series,) = results["series"]
    assert series["TI_s"] == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.6, 0.8])
    assert series["TR_s"] == pytest.approx([1, 1, 1, 1.26, 1.86, 2.46])
    assert series["polarity"] == "magnitude"
    assert 1e3 * results["tubes"][2]["T1_s"] == pytest.approx(999.9, rel=0.02)


@pytest.mark.parametrize("scanner", ["ge_1p5T", "philips_1p5T"])
def test_the_sphere_that_misses_does_so_by_the_sign_of_one_point(real_data, tmp_path, scanner):
    """Sphere 14 of plate 4: the other program takes the first TI for negative.

    With that sign its number comes out here too, at a several times larger RSS; without the point
    at all, ours stays.
    """
    results = reported(real_data, tmp_path, f"{scanner}/T1_plate4", "T1")
    expected = 1e-3 * results["expected_ms"][13]
    folder = real_data / "system_phantom" / scanner / "T1_plate4"
    series = rx.read(folder)
    settings = (tmp_path / "study.toml").read_text()
    circle = json.loads(settings.split("circles = ")[1].split("\n")[0])[13]
    (ours,) = rx.fit_tubes(series, rx.tubes_from_circles(series, [circle]))
    turned = np.where(np.arange(6) == 0, -ours.signal, ours.signal)
    theirs = rx.fit_curve(series.protocol, turned, "t1_ir", polarity="signed")
    assert abs(theirs["T1"].value - expected) <= 0.02 * expected + 0.001
    assert theirs.rss > 3 * ours.rss
    without = rx.fit_curve(series.protocol.take(range(1, 6)), ours.signal[1:], "t1_ir")
    assert abs(without["T1"].value - ours["T1"].value) < 2 * ours["T1"].stderr
