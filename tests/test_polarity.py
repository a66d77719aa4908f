"""Magnitude or signed where nobody says: many voxels decide, never one."""

from __future__ import annotations

import numpy as np
import pytest

import relaxometry as rx
from relaxometry.polarity import signed_by_voxels
from relaxometry.simulate import series_from_maps

TI = np.array([0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2])
RECOVERY = rx.Protocol(TI=TI, TR=6.0)


def recovery(signed: bool, size: int = 48, tube: int = 12, seed: int = 1) -> np.ndarray:
    """Four square tubes in air, T1 0.2 to 1.5 s, S0/sigma = 50."""
    S0, T1 = np.zeros((size, size)), np.ones((size, size))
    for k, value in enumerate((0.2, 0.5, 1.0, 1.5)):
        x, y = divmod(k, 2)
        box = np.s_[x * size // 2 + 4 :, y * size // 2 + 4 :]
        S0[box][:tube, :tube], T1[box][:tube, :tube] = 1000, value
    model = next(m for m in rx.models.MODELS if m.name == "t1_ir")
    amplitudes = np.stack([S0, 1.96 * S0], axis=-1)
    return series_from_maps(model, RECOVERY, T1, amplitudes, 20.0, seed, signed).signal


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("tube", [12, 3])
def test_inversion_recovery_shows_whether_it_is_signed(signed: bool, tube: int) -> None:
    series = rx.Series(recovery(signed, tube=tube), RECOVERY)
    assert series.signed is signed
    assert "of the strong voxels are negative" in series.provenance.origin["signed"]


def test_what_is_said_counts_and_not_the_voxels() -> None:
    for signed in (True, False):
        series = rx.Series(recovery(not signed), RECOVERY, signed=signed)
        assert series.signed is signed
        assert series.provenance.origin["signed"] == "given by hand"


def test_one_strongly_negative_voxel_among_thousands_is_a_fault_and_no_sign() -> None:
    signal = recovery(False).copy()
    signal[20, 20] = -1e6
    assert rx.Series(signal, RECOVERY).signed is False


def test_one_voxel_never_decides_however_few_there_are() -> None:
    signal = np.full((3, 3, 1, 7), 100.0)
    signal[1, 1] = -100
    series = rx.Series(signal, RECOVERY)
    assert series.signed is False
    assert "in one place" in series.provenance.origin["signed"]
    signal[2, 1] = -100
    assert rx.Series(signal, RECOVERY).signed is True


def test_a_filtered_magnitude_that_dips_below_zero_stays_one() -> None:
    """A sinc-like kernel rings by a tenth of an edge, in all the voxels beside it."""
    from scipy.ndimage import convolve1d

    signal = recovery(False)
    for axis in (0, 1):
        signal = convolve1d(signal, [-0.06, 0.0, 0.56, 0.56, 0.0, -0.06], axis=axis)
    assert (signal < -20).sum() > 100
    assert rx.Series(signal, RECOVERY).signed is False


def test_values_that_are_not_finite_do_not_count() -> None:
    signal = recovery(True).copy()
    signal[:4] = -np.inf
    signal[4] = np.nan
    assert rx.Series(signal, RECOVERY).signed is True
    assert signed_by_voxels(np.full((2, 2, 1, 3), np.nan))[0] is False
    assert signed_by_voxels(np.zeros((2, 2, 1, 3)))[0] is False


@pytest.mark.parametrize("signed", [True, False])
def test_of_many_voxels_a_sample_tells_however_they_lie(signed: bool) -> None:
    """5·10⁶ values, of which a fifth is looked at; one slice of eleven holds the tubes."""
    signal = np.zeros((256, 256, 11, 7), np.float32)
    signal[:, :, 4:5] = np.tile(recovery(signed, size=64), (4, 4, 1, 1))
    assert signal.size > 4 * 2**20
    told = signed_by_voxels(signal)
    assert told[0] is signed
    assert signed_by_voxels(np.asfortranarray(signal)) == told
    assert signed_by_voxels(np.moveaxis(np.moveaxis(signal, 3, 0).copy(), 0, 3)) == told


def test_polarity_is_kept_by_what_is_made_of_a_series() -> None:
    series = rx.Series(recovery(True), RECOVERY).drop([1, 2, 3], "all that is negative")
    assert series.signed is True
    assert "data: " in series.provenance.origin["signed"]
