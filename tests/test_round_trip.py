"""Whatever a series is written as, its maps are those of the simulation."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import relaxometry as rx
from relaxometry import bids, dicomwriter
from relaxometry.series import Sequence_

TI = np.array([0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2])
TE = 0.01 * np.arange(1, 13)
AFFINE = np.array([[0, -0.5, 0, 10], [0.4, 0, 0, -20], [0, 0, 2, 5], [0, 0, 0, 1.0]])


def simulated(
    protocol: rx.Protocol, equation: Callable[..., np.ndarray], sequence: Sequence_, signed: bool
) -> rx.Series:
    """T from 0.02 to 2 s over 12 × 10 × 3 voxels, S0 3000, noise 10."""
    rng = np.random.default_rng(3)
    T = np.geomspace(0.02, 2, 360).reshape(12, 10, 3)[..., None]
    signal = 3000 * equation(T) + rng.normal(0, 10, (12, 10, 3, len(protocol)))
    # Scanners store whole numbers, and what they store is what must come back.
    signal = np.rint(signal if signed else np.abs(signal))
    return rx.Series(signal, protocol, AFFINE, signed, 7.0, sequence)


def inverted(T: np.ndarray) -> np.ndarray:
    return 1 - 2 * np.exp(-TI / T) + np.exp(-(5 + TI) / T)


FA = np.array([2.0, 5, 10, 15, 20])


def spoiled(T: np.ndarray) -> np.ndarray:
    E1, angle = np.exp(-0.015 / T), np.deg2rad(FA)
    return np.sin(angle) * (1 - E1) / (1 - E1 * np.cos(angle))


SERIES = {
    "MESE": lambda: simulated(rx.Protocol(TE=TE, TR=3), lambda T: np.exp(-TE / T), "SE", False),
    "MEGRE": lambda: simulated(
        rx.Protocol(TE=TE, TR=0.5, FA=20), lambda T: np.exp(-TE / T), "GE", False
    ),
    "IRT1": lambda: simulated(rx.Protocol(TI=TI, TR=5 + TI, TE=0.01), inverted, "SE", False),
    "IRT1, signed": lambda: simulated(rx.Protocol(TI=TI, TR=5 + TI, TE=0.01), inverted, "SE", True),
    "VTR": lambda: simulated(
        rx.Protocol(TR=TI, TE=0.01), lambda T: -np.expm1(-TI / T), "SE", False
    ),
    "VFA": lambda: simulated(rx.Protocol(FA=FA, TR=0.015, TE=0.002), spoiled, "GE", False),
}


def dicom(series: rx.Series, folder: Path, **options: object) -> Path:
    dicomwriter.write_series(
        series, folder, description="scan", series_number=1, uid_seed="a", **options
    )
    return folder


def as_bids(series: rx.Series, folder: Path) -> Path:
    bids.write_series(series, folder)
    return folder


def zipped(series: rx.Series, folder: Path) -> Path:
    return Path(shutil.make_archive(str(folder), "zip", dicom(series, folder)))


WRITTEN: dict[str, Callable[[rx.Series, Path], Path]] = {
    "classic DICOM": dicom,
    "classic DICOM, a series each": lambda s, f: dicom(s, f, one_series_per_setting=True),
    "enhanced DICOM": lambda s, f: dicom(s, f, enhanced=True),
    "BIDS": as_bids,
    "zip": zipped,
}


@pytest.mark.parametrize("kind", SERIES)
@pytest.mark.parametrize("how", WRITTEN)
def test_maps_are_those_of_the_simulation(kind: str, how: str, tmp_path: Path) -> None:
    series = SERIES[kind]()
    path = WRITTEN[how](series, tmp_path / "scan")
    back = rx.read(path)
    assert (back.kind, back.signed, back.field_T) == (series.kind, series.signed, 7.0)
    np.testing.assert_allclose(back.protocol.times, series.protocol.times, rtol=1e-9)
    np.testing.assert_allclose(back.affine, AFFINE, atol=1e-5)
    (row,) = rx.inspect(path).rows
    assert (row.kind, row.repeats, row.problem) == (series.kind, 1, None)
    assert set(row.origin) >= {series.protocol.swept}
    np.testing.assert_array_equal(back.signal, series.signal)
    expected, found = rx.fit_maps(series), rx.fit_maps(back)
    time = expected.model.time
    assert np.isfinite(expected[time].value).sum() > 200
    np.testing.assert_array_equal(expected.status, found.status)
    np.testing.assert_allclose(found[time].value, expected[time].value, rtol=1e-5)
