"""Fitting series and tubes: what goes in, what comes out, against SciPy and the truth."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from scipy.optimize import curve_fit

import relaxometry as rx
from relaxometry import fit as fitting
from relaxometry.models import as_model
from relaxometry.nifti import write_volume
from relaxometry.noise import rician_mean
from relaxometry.simulate import series_from_maps
from relaxometry.units import RATE_OF

ECHOES = rx.Protocol(TE=np.arange(1, 17) * 0.010)
INVERSIONS = rx.Protocol(TI=[0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2], TR=8.0)
T2, T1, SR = rx.MODELS[0], rx.MODELS[1], rx.MODELS[2]


def decays(seed=0, grid=(6, 5, 2), sigma=5.0):
    T = np.random.default_rng(seed).uniform(0.03, 0.1, grid)
    return series_from_maps(T2, ECHOES, T, np.full((*grid, 1), 1000.0), sigma, seed)


def recoveries(signed, grid=(6, 5, 2)):
    T = np.random.default_rng(4).uniform(0.3, 1.5, grid)
    amplitudes = np.broadcast_to([1000.0, 1900.0], (*grid, 2))
    return series_from_maps(T1, INVERSIONS, T, amplitudes, 5.0, 4, signed=signed)


class TestMaps:
    def test_only_the_mask_is_fitted(self):
        series = decays()
        everywhere = rx.fit_maps(series)
        mask = np.random.default_rng(1).random(series.grid) < 0.4
        maps = rx.fit_maps(series, mask=mask)
        assert maps.counts() == {rx.Status.OK: mask.sum(), rx.Status.MASKED: (~mask).sum()}
        for name in ("T2", "S0", "R2"):
            assert np.isnan(maps[name].value[~mask]).all()
            assert np.isnan(maps[name].stderr[~mask]).all()
            np.testing.assert_allclose(
                maps[name].value[mask], everywhere[name].value[mask], rtol=1e-9
            )
        assert np.isnan(maps.rmse[~mask]).all()
        np.testing.assert_allclose(maps.rmse[mask], everywhere.rmse[mask], rtol=1e-6)

    def test_a_mask_of_nothing_is_a_map_of_nothing(self):
        series = decays()
        maps = rx.fit_maps(series, mask=np.zeros(series.grid, bool))
        assert maps.counts() == {rx.Status.MASKED: maps.status.size}
        assert maps.names == ("T2", "S0")
        assert np.isnan(maps["T2"].value).all()

    def test_numbers_of_a_map_are_those_of_its_curves(self):
        series = decays()
        maps = rx.fit_maps(series)
        for voxel in [(0, 0, 0), (5, 4, 1), (2, 3, 0)]:
            fit = rx.fit_curve(ECHOES, series.signal[voxel], "t2")
            assert maps["T2"].value[voxel] == pytest.approx(fit["T2"].value, rel=1e-9)
            assert maps["T2"].stderr[voxel] == pytest.approx(fit["T2"].stderr, rel=1e-6)
            assert maps.rmse[voxel] == pytest.approx(np.sqrt(fit.rss / 16), rel=1e-6)
            assert maps.rsquared[voxel] == pytest.approx(fit.rsquared, rel=1e-6)

    def test_a_rate_is_the_inverse_of_its_time_voxel_by_voxel(self):
        maps = rx.fit_maps(decays())
        np.testing.assert_allclose(maps["R2"].value, 1 / maps["T2"].value)
        np.testing.assert_allclose(maps["R2"].stderr, maps["T2"].stderr / maps["T2"].value ** 2)
        assert "R2" in maps
        assert "R1" not in maps
        with pytest.raises(KeyError, match="no map 'R1'; there are T2, S0"):
            maps["R1"]

    @pytest.mark.parametrize(
        ("protocol", "sequence", "model"),
        [
            (ECHOES, "SE", "t2"),
            (ECHOES, None, "t2"),
            (INVERSIONS, None, "t1_ir"),
            (rx.Protocol(TR=[0.2, 0.5, 1, 3]), None, "t1_sr"),
            (rx.Protocol(TE=[0.002, 0.004, 0.006]), "GE", "t2star"),
            (rx.Protocol(FA=[2, 5, 10], TR=0.01), "GE", "t1_vfa"),
        ],
    )
    def test_the_model_follows_from_the_kind_of_series(self, protocol, sequence, model):
        signal = np.random.default_rng(0).uniform(1, 2, (2, 2, 1, len(protocol)))
        assert rx.fit_maps(rx.Series(signal, protocol, sequence=sequence)).model.name == model

    def test_less_memory_gives_the_same_numbers(self):
        series = decays()
        free = rx.fit_maps(series, workers=4)
        least = rx.fit_maps(series, workers=4, max_memory=60_000_000)
        np.testing.assert_array_equal(free["T2"].value, least["T2"].value)

    @pytest.mark.parametrize(
        ("options", "complaint"),
        [
            ({"max_memory": 1000}, "max_memory: 0 MB; expected at least .* MB"),
            ({"workers": 0}, "workers"),
            ({"workers": -2}, "workers"),
            ({"mask": np.ones((6, 5), bool)}, "mask of shape"),
            ({"mask": np.ones((5, 6, 2), bool)}, "mask of shape"),
            ({"bounds": (0, 1)}, "bounds"),
            ({"bounds": (1, 0.1)}, "bounds"),
            ({"bounds": (0.1, 0.1)}, "bounds"),
            ({"bounds": (0.1, np.inf)}, "bounds"),
            ({"bounds": (np.nan, 1)}, "bounds"),
            ({"bounds": (1e-6, 1)}, "bounds: 1e-06 s; expected a range .* has a signal"),
            ({"model": "t2_epg"}, "no model 't2_epg'; expected t2, t1_ir"),
            ({"model": "t1_ir"}, "t1_ir with a sweep of TE; expected a sweep of TI"),
        ],
    )
    def test_what_cannot_be_fitted(self, options, complaint):
        with pytest.raises(rx.InputError, match=complaint):
            rx.fit_maps(decays(), **options)

    def test_one_line_counts_what_became_of_the_voxels(self):
        signal = np.array(decays().signal)
        signal[0, :, 0], signal[1, 0, 0, 3] = 0, np.nan
        mask = np.ones((6, 5, 2), bool)
        mask[5] = False
        maps = rx.fit_maps(rx.Series(signal, ECHOES), mask=mask)
        assert repr(maps) == (
            "ParameterMaps: t2, T2, S0: 44 ok, 5 low signal, 1 non finite, 0 at bound"
        )

    def test_maps_cannot_be_changed(self):
        maps = rx.fit_maps(decays())
        with pytest.raises(ValueError, match="read-only"):
            maps.status[0] = 0
        with pytest.raises(ValueError, match="read-only"):
            maps.raw["T2"][0][0] = 0


class TestTubes:
    """The fit of a tube is that of its mean signal, as SciPy fits it."""

    labels = np.zeros((6, 5, 2), dtype=int)
    labels[:2], labels[3:5, 1:4] = 3, 1

    def tubes(self, series):
        return rx.tubes_from_labels(self.labels, series.affine)

    def test_T2_of_the_mean_signal(self):
        series = decays()
        tubes = self.tubes(series)
        fits = rx.fit_tubes(series, tubes)
        for number, fit in zip(tubes.numbers, fits, strict=True):
            mean = series.signal[self.labels == number].astype(float).mean(axis=0)
            best, covariance = curve_fit(
                lambda TE, S0, T2: S0 * np.exp(-TE / T2), ECHOES.TE, mean, p0=(1000, 0.05)
            )
            assert [fit["S0"].value, fit["T2"].value] == pytest.approx(best, rel=1e-5)
            assert [fit["S0"].stderr, fit["T2"].stderr] == pytest.approx(
                np.sqrt(np.diag(covariance)), rel=1e-3
            )
            np.testing.assert_allclose(fit.signal, mean, rtol=1e-6)
            # A mean of decays is no decay: its T2 lies among those of its voxels.
            times = rx.fit_maps(series)["T2"].value[self.labels == number]
            assert times.min() < fit["T2"].value < times.max()

    @pytest.mark.parametrize("signed", [True, False])
    def test_T1_of_the_mean_signal(self, signed):
        series = recoveries(signed)
        fit = rx.fit_tubes(series, self.tubes(series))[0]
        mean = series.signal[self.labels == 1].astype(float).mean(axis=0)

        def signal(TI, S0, B, T1):
            S = S0 * (1 + np.exp(-8.0 / T1)) - B * np.exp(-TI / T1)
            return S if signed else np.abs(S)

        best, covariance = curve_fit(signal, INVERSIONS.TI, mean, p0=(1000, 1900, 0.8))
        assert [fit[n].value for n in ("S0", "B", "T1")] == pytest.approx(best, rel=1e-5)
        assert [fit[n].stderr for n in ("S0", "B", "T1")] == pytest.approx(
            np.sqrt(np.diag(covariance)), rel=1e-3
        )
        assert fit["efficiency"].value == pytest.approx(best[1] / best[0] - 1, rel=1e-4)
        assert fit.polarity == ("signed" if signed else "magnitude")

    def test_tubes_of_another_grid_are_carried(self):
        fine = decays(grid=(6, 5, 2))
        mirrored = rx.Series(
            fine.signal[:, ::-1],
            ECHOES,
            affine=np.array([[1, 0, 0, 0], [0, -1, 0, 4], [0, 0, 1, 0], [0, 0, 0, 1.0]]),
        )
        here, there = (rx.fit_tubes(series, self.tubes(fine)) for series in (fine, mirrored))
        for one, other in zip(here, there, strict=True):
            assert one["T2"].value == pytest.approx(other["T2"].value, rel=1e-9)

    def test_one_nan_voxel_is_told_and_not_averaged_away(self):
        signal = np.array(decays().signal)
        signal[0, 0, 0, 7] = np.nan
        series = rx.Series(signal, ECHOES)
        first, third = rx.fit_tubes(series, self.tubes(series))
        assert first.status is rx.Status.OK
        assert third.status is rx.Status.NON_FINITE
        assert np.isnan(third["T2"].value)

    def test_table_of_tubes(self):
        series = decays()
        tubes = self.tubes(series)
        maps = rx.fit_maps(series)
        table = rx.tube_table(tubes, maps)
        assert list(table["tube"]) == [1, 3]
        assert list(table["n_voxels"]) == [12, 20]
        for row, fit in zip(table.to_dict("records"), rx.fit_tubes(series, tubes), strict=True):
            T = maps["T2"].value[self.labels == row["tube"]]
            assert row["T2_s"] == fit["T2"].value
            assert row["T2_stderr_s"] == fit["T2"].stderr
            assert row["T2_sd_s"] == pytest.approx(np.std(T, ddof=1))
            assert row["T2_median_s"] == pytest.approx(np.median(T))
            assert row["R2_per_s"] == pytest.approx(1 / row["T2_s"])
            assert row["R2_stderr_per_s"] == pytest.approx(row["T2_stderr_s"] / row["T2_s"] ** 2)
            # T2 was drawn between 30 and 100 ms, voxel by voxel.
            assert row["flags"] == "T2_inhomogeneous"
        with pytest.raises(rx.InputError, match="two maps of T2"):
            rx.tube_table(tubes, maps, maps)

    @pytest.mark.parametrize(
        ("T", "S0", "flag"),
        [(0.0035, 1000, "T2_short"), (0.7, 1000, "T2_long"), (0.05, 15, "T2_imprecise")],
    )
    def test_what_is_doubtful_is_flagged(self, T, S0, flag):
        grid = (6, 5, 2)
        noise = 0.01 if S0 == 1000 else 20.0
        series = series_from_maps(
            T2, ECHOES, np.full(grid, T), np.full((*grid, 1), float(S0)), noise, 3, signed=True
        )
        table = rx.tube_table(self.tubes(series), rx.fit_maps(series))
        assert flag in table["flags"][0].split()

    def test_few_voxels_and_no_signal_are_flagged(self):
        signal = np.array(decays().signal)
        signal[:2] = 0
        series = rx.Series(signal, ECHOES)
        labels = self.labels.copy()
        labels[3:5] = 0
        labels[4, 4] = 1
        table = rx.tube_table(rx.tubes_from_labels(labels, np.eye(4)), rx.fit_maps(series))
        assert list(table["flags"]) == ["T2_few_voxels", "T2_low_signal"]
        assert np.isnan(table["R2_per_s"][1])


class TestCurve:
    @pytest.mark.parametrize(
        ("arguments", "complaint"),
        [
            (([0.01, 0.02], [3, 2, 1], "t2"), "3 signals for 2 times"),
            (([0.01], [3], "t2"), "nothing varies"),
            (([0.1, 0.2], [3, 2], "t1_ir"), "2 points for the 3 parameters"),
            (([0.1, 0.2, 0.3], [-3, 2, 4], "t1_ir"), "-3 in a magnitude; say polarity"),
            (([0.01, -0.02], [3, 2], "t2"), "TE: -0.02"),
            (([0.01, 0.02], [3, 2], "T2"), "no model 'T2'"),
        ],
    )
    def test_what_cannot_be_fitted(self, arguments, complaint):
        with pytest.raises(rx.InputError, match=complaint):
            rx.fit_curve(*arguments)

    @pytest.mark.parametrize("option", [{"engine": "numpy"}, {"polarity": "real"}])
    def test_a_choice_that_is_none(self, option):
        with pytest.raises(rx.InputError, match=next(iter(option))):
            rx.fit_curve([0.01, 0.02, 0.03], [3, 2, 1], "t2", **option)

    def test_points_come_in_any_order_and_leave_sorted(self):
        TE = np.array([0.03, 0.01, 0.02])
        fit = rx.fit_curve(TE, 100 * np.exp(-TE / 0.04), "t2")
        np.testing.assert_array_equal(fit.protocol.TE, [0.01, 0.02, 0.03])
        assert fit["T2"].value == pytest.approx(0.04, rel=1e-9)
        assert fit.curve(rx.Protocol(TE=[0.04, 0.08])) == pytest.approx(
            100 * np.exp([-1, -2]), rel=1e-8
        )

    def test_two_points_give_a_value_without_an_error(self):
        fit = rx.fit_curve([0.01, 0.02], 100 * np.exp([-0.25, -0.5]), "t2")
        assert fit["T2"].value == pytest.approx(0.04, rel=1e-8)
        assert np.isnan(fit["T2"].stderr)

    def test_what_people_read(self):
        # The check values of the science: T2 = 100.61702 ± 0.46548 ms, R² = 0.9997591643.
        signal = [903, 825, 741, 678, 604, 553, 501, 448, 413, 369, 332, 307, 272, 251, 223, 207]
        fit = rx.fit_curve(ECHOES, signal, "t2")
        assert repr(fit) == "CurveFit: t2, T2 = 100.62 ± 0.47 ms, R² = 0.99976, ok"
        assert "S = S0·exp(−TE/T2)" in fit.report()
        assert f"  {fit['R2']!r}\n" in fit.report()
        nothing = rx.fit_curve(ECHOES, np.zeros(16), "t2")
        assert "T2 = not determined, " in repr(nothing)
        with pytest.raises(KeyError, match="no parameter 'T1'; there are T2, S0"):
            fit["T1"]


def test_a_tube_whose_echoes_lie_on_the_noise_floor_is_flagged():
    """Rician means of T2 = 10 ms and 60 ms at S0/σ = 100: the first reads long."""
    TE = np.arange(1, 17) * 0.010
    sigma = 0.01
    tubes = [
        np.broadcast_to(rician_mean(np.exp(-TE / T2), sigma), (12, 1, 1, TE.size))
        for T2 in (0.010, 0.060)
    ]
    series = rx.Series(np.concatenate(tubes), rx.Protocol(TE=TE))
    labels = np.repeat([1, 2], 12).reshape(24, 1, 1)
    table = rx.tube_table(rx.tubes_from_labels(labels, np.eye(4)), rx.fit_maps(series))
    assert table["T2_s"][0] > 0.010 * 1.01
    assert table["T2_s"][1] == pytest.approx(0.060, rel=0.005)
    assert list(table["flags"]) == ["T2_noise_floor", ""]


def test_a_region_that_is_half_air_is_flagged():
    TE = np.arange(1, 17) * 0.010
    decay = 1000 * np.exp(-TE / 0.060)
    share = np.r_[np.ones(8), np.zeros(8)].reshape(16, 1, 1, 1)
    noise = np.random.default_rng(0).normal(0, 5, (16, 1, 1, TE.size))
    series = rx.Series(np.abs(share * decay + noise), rx.Protocol(TE=TE))
    labels = np.ones((16, 1, 1), dtype=int)
    table = rx.tube_table(rx.tubes_from_labels(labels, np.eye(4)), rx.fit_maps(series))
    assert "T2_uneven" in table["flags"][0].split()


FLIPS = rx.Protocol(FA=[2, 5, 10, 15, 20, 30], TR=0.015)
RISES = rx.Protocol(TR=[0.2, 0.4, 0.7, 1.2, 2.0, 3.2, 5.0, 8.0])
OF_EACH = {  # protocol, true T, amplitudes, T beyond the lower and upper bound chosen
    "t2": (ECHOES, 0.06, [1000.0]),
    "t2_offset": (ECHOES, 0.06, [1000.0, 50.0]),
    "t2star": (ECHOES, 0.06, [1000.0]),
    "t1_ir": (INVERSIONS, 0.8, [1000.0, 1900.0]),
    "t1_sr": (RISES, 0.8, [1000.0]),
    "t1_sr_offset": (RISES, 0.8, [1000.0, -900.0]),
    "t1_vfa": (FLIPS, 0.8, [1000.0]),
}


def simulated(name, grid, sigma=5.0, seed=2):
    protocol, T, amplitudes = OF_EACH[name]
    spread = T * np.random.default_rng(seed).uniform(0.5, 1.5, grid)
    amplitudes = np.broadcast_to(amplitudes, (*grid, len(amplitudes)))
    return series_from_maps(as_model(name), protocol, spread, amplitudes, sigma, seed)


def assert_same_bits(one, other):
    for name in one.raw:
        np.testing.assert_array_equal(one.raw[name], other.raw[name], err_msg=name)
    for name in ("rmse", "rsquared", "status", "points"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


class TestBounds:
    @pytest.mark.parametrize("name", OF_EACH)
    @pytest.mark.parametrize("end", [0, 1])
    def test_a_time_at_its_bound_is_the_bound_and_no_value(self, name, end):
        """Its amplitudes are solved anew there, for those who ask for them."""
        protocol, T, amplitudes = OF_EACH[name]
        model = as_model(name)
        bounds = [(1.5 * T, 5 * T), (0.2 * T, 0.7 * T)][end]
        signal = model.signal(protocol, np.array([T]), np.array([amplitudes]))[0]
        series = rx.Series(np.tile(signal, (2, 2, 1, 1)), protocol, signed=True)
        maps = rx.fit_maps(series, name, bounds=bounds)
        assert maps.counts() == {rx.Status.AT_BOUND: 4}
        raw, stderr = maps.raw[model.time]
        assert (raw == bounds[end]).all()
        assert np.isnan(stderr).all()
        columns = model.basis(protocol, np.array([bounds[end]]))[0]
        best = np.linalg.lstsq(columns, series.signal[0, 0, 0].astype(float), rcond=None)[0]
        for one, value in zip(model.amplitudes, best, strict=True):
            np.testing.assert_allclose(maps.raw[one][0], value, rtol=1e-9)
            assert np.isnan(maps.raw[one][1]).all()
        for one in (*maps.names, RATE_OF[model.time]):
            assert np.isnan(maps[one].value).all()
            assert np.isnan(maps[one].stderr).all()
        rss = ((columns @ best - series.signal[0, 0, 0]) ** 2).sum()
        np.testing.assert_allclose(maps.rmse**2 * len(protocol), rss, rtol=1e-9)

    @pytest.mark.parametrize("name", OF_EACH)
    def test_what_is_no_curve_gets_its_status_and_no_warning(self, name):
        """Beside curves that are; a warning would be an error here."""
        series = simulated(name, (12, 4, 1))
        plain = rx.fit_maps(series, name)
        signal = np.array(series.signal)
        signal[0], signal[1] = 0, np.nan
        signal[2, ..., 0], signal[3, ..., -1] = np.nan, np.inf
        signal[4], signal[5] = -np.inf, -np.abs(signal[5])
        signal[6], signal[7] = 3e38, 1e-45  # whose squares over- and underflow in float32
        maps = rx.fit_maps(rx.Series(signal, series.protocol, signed=False), name)
        status = [set(maps.status[x].ravel()) for x in range(12)]
        low, bad = {rx.Status.LOW_SIGNAL}, {rx.Status.NON_FINITE}
        assert status[:5] == [low, bad, bad, bad, bad]
        # A recovery whose sign is lost may begin below zero: not so a decay.
        assert status[5] == low or name == "t1_ir"
        with_value = np.isfinite(maps[maps.names[0]].value)
        known = (maps.status == rx.Status.OK) | (maps.status == rx.Status.AT_EDGE)
        np.testing.assert_array_equal(with_value, known)
        for one in maps.names:
            np.testing.assert_allclose(maps[one].value[8:], plain[one].value[8:], rtol=1e-9)
        assert np.isnan(maps.rmse[1:5]).all()
        assert (maps.points[:5] == 0).all()

    def test_a_constant_ends_at_the_bound_where_decays_are_slow(self):
        series = rx.Series(np.full((2, 2, 1, 16), 250.0), ECHOES)
        maps = rx.fit_maps(series)
        assert maps.counts() == {rx.Status.AT_BOUND: 4}
        assert (maps.raw["T2"][0] == maps.bounds[1]).all()
        # With an offset it is all offset, and there is no decay.
        assert rx.fit_maps(series, "t2_offset").counts() == {rx.Status.LOW_SIGNAL: 4}


class TestTheSameBits:
    @pytest.mark.parametrize("name", OF_EACH)
    def test_whatever_the_threads(self, name):
        series = simulated(name, (61, 30, 10))  # some blocks, the last one short
        one = rx.fit_maps(series, name, workers=1)
        for workers in (2, 5):
            assert_same_bits(one, rx.fit_maps(series, name, workers=workers))

    def test_whatever_the_threads_with_gaps_mask_and_B1(self):
        rng = np.random.default_rng(0)
        series = simulated("t1_vfa", (61, 30, 10))
        chosen = {
            "mask": rng.random(series.grid) < 0.8,
            "B1": rng.uniform(0.7, 1.3, series.grid),
            "clip": float(np.percentile(series.signal, 90)),
            "noise_floor": (3, 8.0),
        }
        one = rx.fit_maps(series, "t1_vfa", workers=1, **chosen)
        two = rx.fit_maps(series, "t1_vfa", workers=3, **chosen)
        assert_same_bits(one, two)
        assert one.left_out == two.left_out
        assert one.left_out["clipped"] > 100
        assert one.left_out["noise_floor"] > 100

    def test_a_bound_on_the_memory_costs_bits_only_where_it_asks_for_single_precision(self):
        series = simulated("t2", (61, 60, 30))
        plain = rx.fit_maps(series)
        maps = 8 * 6 * plain.status.size  # value and error of T2 and S0, RMSE, R², in float64
        each = working_memory(series, "t2")
        threads = rx.fit_maps(series, workers=4, max_memory=maps + 3 * each + 10**6)
        assert threads["T2"].value.dtype == np.float64
        assert_same_bits(plain, threads)
        single = rx.fit_maps(series, workers=4, max_memory=maps // 2 + each)
        assert single["T2"].value.dtype == np.float32
        for name in plain.raw:
            np.testing.assert_array_equal(
                single.raw[name], np.asarray(plain.raw[name], dtype=np.float32)
            )
        np.testing.assert_array_equal(single.status, plain.status)

    @pytest.mark.parametrize("name", OF_EACH)
    def test_whatever_lies_next_to_what_in_memory_to_the_last_digit(self, name):
        """The order decides which curves are worked on together, and so the last bit of some."""
        series = simulated(name, (61, 30, 5))
        one = rx.fit_maps(replace(series, signal=np.ascontiguousarray(series.signal)), name)
        other = rx.fit_maps(replace(series, signal=np.asfortranarray(series.signal)), name)
        np.testing.assert_array_equal(one.status, other.status)
        # RSS is 1 − F of |y|²: there the rounding of F, and it alone, counts for 1/(1 − F) as much.
        square = (np.asarray(series.signal, dtype=float) ** 2).sum(axis=-1)
        share = one.rmse**2 * len(series.protocol) / square
        rounding = 8 * np.finfo(float).eps / share
        apart = np.abs(one.rmse / other.rmse - 1)
        assert (apart <= rounding)[np.isfinite(apart)].all()
        for parameter in one.raw:
            (value, stderr), (there, its_stderr) = one.raw[parameter], other.raw[parameter]
            np.testing.assert_allclose(value, there, rtol=1e-13)
            np.testing.assert_allclose(stderr / one.rmse, its_stderr / other.rmse, rtol=1e-13)

    def test_mapped_or_loaded(self, tmp_path):
        """A plain NIfTI file is mapped, its compressed copy is loaded."""
        series = simulated("t2", (61, 30, 10))
        for suffix in (".nii", ".nii.gz"):
            write_volume(tmp_path / f"echoes{suffix}", series.signal, np.eye(4))
        TE = list(ECHOES.TE)
        mapped, loaded = (
            rx.read(tmp_path / f"echoes{suffix}", te=TE) for suffix in (".nii", ".nii.gz")
        )
        in_memory = rx.Series(np.asfortranarray(loaded.signal), mapped.protocol)
        assert_same_bits(rx.fit_maps(mapped), rx.fit_maps(in_memory))
        mask = np.random.default_rng(0).random(series.grid) < 0.5
        assert_same_bits(rx.fit_maps(mapped, mask=mask), rx.fit_maps(in_memory, mask=mask))


def working_memory(series, name):
    """What the error for too little memory says a thread and the maps need, less the maps."""
    with pytest.raises(rx.InputError, match="at least") as caught:
        rx.fit_maps(series, name, max_memory=1)
    needed = float(re.search(r"at least (\d+) MB", str(caught.value))[1]) * 1e6
    return int(needed - 4 * 6 * np.prod(series.grid))


class TestMemory:
    def test_too_little_is_refused_and_what_is_needed_is_said_and_enough(self):
        series = simulated("t2", (30, 30, 4))
        with pytest.raises(rx.InputError, match=r"max_memory: 2 MB; expected at least") as caught:
            rx.fit_maps(series, max_memory=2_000_000)
        needed = int(re.search(r"at least (\d+) MB", str(caught.value))[1])
        assert rx.fit_maps(series, max_memory=needed * 1_000_000).counts()[rx.Status.OK] == 3600

    def test_very_large_maps_are_in_single_precision_as_files_hold_them(self, monkeypatch):
        series = simulated("t2", (30, 30, 4))
        plain = rx.fit_maps(series)
        assert plain["T2"].value.dtype == plain.rmse.dtype == np.float64
        monkeypatch.setattr(fitting, "_DOUBLE", 8 * 6 * 3600 - 1)  # 256 MB, if this were large
        large = rx.fit_maps(series)
        assert large["T2"].value.dtype == large.rmse.dtype == np.float32
        np.testing.assert_array_equal(large["T2"].value, plain["T2"].value.astype(np.float32))

    @pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
    def test_a_mapped_file_is_fitted_slab_by_slab(self, tmp_path):
        """256 MiB of echoes: what was allowed for, and of the file a few MB per echo.

        The system maps up to 2 MB of the file around each value that is read.
        """
        grid, filled, n = (128, 128, 256), (128, 128, 32), 16
        TE = np.arange(1, n + 1) * 0.010
        S = (1000 * np.exp(-TE / 0.05)).astype(np.float32)
        noise = np.random.default_rng(0).normal(0, 5, (*grid[:2], 1)).astype(np.float32)
        header = nib.Nifti1Header()
        header.set_data_dtype(np.float32)
        header.set_data_shape((*grid, n))
        header.set_sform(np.eye(4), 1)
        header["vox_offset"], header["magic"] = 352, b"n+1"
        with (tmp_path / "echoes.nii").open("wb") as stream:
            stream.write(header.binaryblock)
            for i, s in enumerate(S):  # a sparse file: the rest is zero and takes no room
                stream.seek(352 + 4 * i * int(np.prod(grid)))
                stream.write(np.broadcast_to(s + noise, filled).tobytes(order="F"))
            stream.truncate(352 + 4 * n * int(np.prod(grid)))
        program = """
import sys
import numpy as np, relaxometry as rx
def status(name):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024
small = rx.Series(np.random.default_rng(0).uniform(1, 2, (200, 200, 1, 16)),
                  rx.Protocol(TE=np.arange(1, 17) * 0.01))
rx.fit_maps(small, workers=2)
series = rx.read(sys.argv[1], te=[0.01 * (k + 1) for k in range(16)])
before = status("VmRSS")
open("/proc/self/clear_refs", "w").write("5")  # the peak so far is forgotten
bound = 180_000_000
maps = rx.fit_maps(series, workers=2, max_memory=bound, engine="numpy")
print(status("VmHWM") - before - bound, maps.counts()[rx.Status.OK], maps.rmse.dtype)
"""
        command = [sys.executable, "-c", program, str(tmp_path / "echoes.nii")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        more, fitted, dtype = done.stdout.split()
        assert int(fitted) == np.prod(filled)
        assert dtype == "float32"  # doubles would take 201 MB and leave no room
        assert int(more) < 4e6 * n

    @pytest.mark.skipif(sys.platform == "win32", reason="sends a signal")
    @pytest.mark.parametrize("workers", [1, 2])
    def test_ctrl_c_stops_at_once_and_leaves_no_thread(self, workers):
        program = """
import signal, sys, threading, time
import numpy as np, relaxometry as rx
TI = rx.Protocol(TI=[0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2], TR=8.0)
signals = np.random.default_rng(0).uniform(0, 9, (300, 300, 40, 7)).astype(np.float32)
series, main = rx.Series(signals, TI, signed=False), threading.main_thread().ident
pressed = []
def press():
    pressed.append(time.perf_counter())
    signal.pthread_kill(main, signal.SIGINT)
timer = threading.Timer(1.0, press)
timer.start()
try:
    rx.fit_maps(series, workers=int(sys.argv[1]), engine="numpy", clip=None)
    print("done before the key was pressed")
except KeyboardInterrupt:
    took = time.perf_counter() - pressed[0]
    timer.join()
    print(took, threading.active_count())
"""
        command = [sys.executable, "-c", program, str(workers)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        took, threads = done.stdout.split()
        assert float(took) < 2
        assert int(threads) == 1


class TestPolarity:
    """The series knows; whoever fits may know better."""

    @pytest.mark.parametrize("signed", [True, False])
    def test_the_series_decides_unless_told(self, signed):
        series = recoveries(signed)
        maps = rx.fit_maps(series)
        assert maps.choices.polarity == ("signed" if signed else "magnitude")
        truth = np.random.default_rng(4).uniform(0.3, 1.5, series.grid)
        np.testing.assert_allclose(maps["T1"].value, truth, rtol=0.05)
        (tube,) = rx.fit_tubes(series, rx.tubes_from_labels(np.ones(series.grid, int), np.eye(4)))
        assert tube.polarity == maps.choices.polarity

    def test_magnitudes_taken_for_signed_do_not_fit(self):
        series = recoveries(False)
        right, wrong = (rx.fit_maps(series, polarity=p) for p in ("magnitude", "signed"))
        assert wrong.choices.polarity == "signed"
        assert np.median(wrong.rmse) > 20 * np.median(right.rmse)

    def test_signed_data_taken_for_magnitudes_fit_as_well(self):
        """Of the sign patterns that are tried, one leaves all signs as they are."""
        series = recoveries(True)
        right, other = (rx.fit_maps(series, polarity=p) for p in ("signed", "magnitude"))
        np.testing.assert_allclose(other["T1"].value, right["T1"].value, rtol=1e-9)

    def test_where_nobody_says_the_voxels_do_and_never_one_of_them(self):
        for signed in (True, False):
            series = rx.Series(recoveries(signed).signal, INVERSIONS)
            assert rx.fit_maps(series).choices.polarity == ("signed" if signed else "magnitude")
        signal = np.array(recoveries(False).signal)
        signal[0, 0, 0] *= -1
        assert rx.fit_maps(rx.Series(signal, INVERSIONS)).choices.polarity == "magnitude"

    def test_what_is_none(self):
        with pytest.raises(rx.InputError, match="polarity: 'real'"):
            rx.fit_maps(recoveries(True), polarity="real")
