"""The whole chain against the truth that the simulator put in."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import relaxometry as rx
from relaxometry.cli import run
from relaxometry.simulate import mese, phantom, t1_series


def truth(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_sample_study_from_dicom_by_the_command_line(sample_data, tmp_path):
    out = tmp_path / "report"
    assert run(["report", str(sample_data / "study.toml"), "-o", str(out), "--quiet"]) == 0
    results = json.loads((out / "results.json").read_text())
    rows = {row["agent"]: row for row in results["relaxivity"]}
    for agent in truth(sample_data, "truth_relaxivity.csv"):
        row = rows[agent["agent"]]
        for symbol, tolerance in (("r1", 0.03), ("r2", 0.02)):
            true = float(agent[f"{symbol}_per_mM_per_s"])
            assert row[f"{symbol}_per_mM_per_s"] == pytest.approx(true, rel=tolerance)
            low, high = row[f"{symbol}_ci95_per_mM_per_s"]
            assert low < true < high
        assert row["n_points"] == 6  # five concentrations and the blank
        assert row["class"] == "T2 agent"
    for tube, true in zip(results["tubes"], truth(sample_data, "truth.csv"), strict=True):
        # Where T2 is near the echo times, echoes and inversion nulls lie on the noise floor, which
        # plain `t2` and `t1_ir` take for signal.
        if float(true["T2_s"]) > 0.02:
            assert tube["T1_s"] == pytest.approx(float(true["T1_s"]), rel=0.01)
            assert tube["T2_s"] == pytest.approx(float(true["T2_s"]), rel=0.01)


def test_relaxivities_and_their_intervals_over_many_seeds():
    """Over 50 seeds: r2 within 2 %, r1 within 3 %, each in its 95 % interval at least so often.

    The intervals count the method's floor of 1 % and Student's t with few degrees of freedom, so
    with nothing but noise in the images they cover more often than 95 %; they must still be of use.
    T1 by inversion and by saturation recovery: a study of each, with the same echoes for T2.
    """
    protocols = ("small", "small-vtr")
    true, other = (phantom(protocol) for protocol in protocols)
    assert np.array_equal(true.labels, other.labels)
    assert (true.tubes, true.agents) == (other.tubes, other.agents)
    sheet = pd.DataFrame(
        [(t.number, t.agent, t.concentration_mM) for t in true.tubes],
        columns=["tube", "agent", "concentration_mM"],
    )
    off: dict[tuple[str, str, str], list[float]] = {}
    covered: dict[str, list[bool]] = {protocol: [] for protocol in protocols}
    widths: dict[str, list[float]] = {protocol: [] for protocol in protocols}
    for seed in range(50):
        # A coarse voxel has more signal: the tube's mean is as sure as in the full-size study.
        T2 = mese(true, seed, snr=600)
        tubes = rx.find_tubes(T2, sheet)
        T2_maps = rx.fit_maps(T2, mask=tubes.mask)
        for protocol, scanned in zip(protocols, (true, other), strict=True):
            T1 = t1_series(scanned, seed, snr=600)
            maps = T2_maps, rx.fit_maps(T1, mask=tubes.mask)
            result = rx.relaxivity(rx.tube_table(tubes, *maps))
            for agent in true.agents:
                for symbol, line in result[agent.name].items():
                    value = getattr(agent, symbol)
                    errors = off.setdefault((protocol, agent.name, symbol), [])
                    errors.append(line.r.value / value - 1)
                    covered[protocol].append(line.ci95[0] < value < line.ci95[1])
                    widths[protocol].append((line.ci95[1] - line.ci95[0]) / value)
    assert len(off) == 2 * 2 * len(true.agents)
    for (protocol, agent, symbol), errors in off.items():
        worst = np.abs(errors).max()
        assert worst <= {"r1": 0.03, "r2": 0.02}[symbol], (protocol, agent, symbol)
    for protocol in protocols:
        assert np.mean(covered[protocol]) >= 0.93, protocol
        assert np.median(widths[protocol]) <= 0.10, protocol
