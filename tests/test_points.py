"""Which points count and how much: clipping, weights, dropped echoes, noise floor, B1."""

from __future__ import annotations

import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from scipy.optimize import curve_fit
from scipy.stats import t as student

import relaxometry as rx
from relaxometry.bids import write_series
from relaxometry.contraststudy import ContrastStudy
from relaxometry.models import as_model
from relaxometry.points import Choices, kept_points
from relaxometry.results import document
from relaxometry.simulate import series_from_maps

PROTOCOLS = {
    "t2": rx.Protocol(TE=np.arange(1, 17) * 0.010),
    "t1_ir": rx.Protocol(TI=[0.05, 0.1, 0.2, 0.4, 0.7, 1.0, 1.5, 2.5, 4.0, 6.0], TR=10.0),
    "t1_sr": rx.Protocol(TR=[0.2, 0.4, 0.7, 1.2, 2.0, 3.2, 5.0, 8.0]),
}
RANGE = {"t2": (0.03, 0.2), "t1_ir": (0.3, 1.5), "t1_sr": (0.3, 1.5)}
AMPLITUDES = {"t2": [1000.0], "t1_ir": [1000.0, 1950.0], "t1_sr": [1000.0]}
GRID = (20, 20, 1)


def truth(name: str, kind: str = "gradient", grid: tuple[int, ...] = GRID) -> np.ndarray:
    low, high = RANGE[name]
    if kind == "gradient":
        return np.random.default_rng(8).uniform(low, high, grid)
    return np.repeat(np.linspace(low, high, grid[0]), grid[1]).reshape(grid)  # tubes


def scanned(name: str, sigma: float, T: np.ndarray, seed: int = 3) -> rx.Series:
    amplitudes = np.broadcast_to(AMPLITUDES[name], (*T.shape, len(AMPLITUDES[name])))
    return series_from_maps(as_model(name), PROTOCOLS[name], T, amplitudes, sigma, seed)


def with_signal(series: rx.Series, signal: np.ndarray) -> rx.Series:
    return replace(series, signal=np.asarray(signal, dtype=np.float32))


#: What a converter does to the signal, as a function of the signal in units of S0 = 1000.
CUT = {
    "12 bits": lambda S: np.minimum(np.rint(6 * S), 4095),
    "12 bits, scaled": lambda S: np.minimum(np.rint(6 * S), 4095) * np.float32(0.37),
    "a float level": lambda S: np.minimum(S, np.float32(712.3)),
}
UNCUT = {
    "float": lambda S: S,
    "whole numbers": np.rint,
    "scaled whole numbers": lambda S: np.rint(S) * np.float32(0.37),
    "the brightest at 4095": lambda S: np.rint(S / S.max() * 4095),
    "the brightest float at 4095": lambda S: S / S.max() * np.float32(4095),
}


class TestClipping:
    @pytest.mark.parametrize("how", CUT)
    @pytest.mark.parametrize("name", RANGE)
    @pytest.mark.parametrize("sigma", [0.0, 5.0])
    @pytest.mark.parametrize("kind", ["gradient", "tubes"])
    def test_clipped_points_are_left_out_and_T_is_right(self, how, name, sigma, kind):
        T = truth(name, kind)
        whole = scanned(name, sigma, T)
        series = with_signal(whole, CUT[how](whole.signal))
        top = series.signal.max()
        maps, naive = rx.fit_maps(series), rx.fit_maps(series, clip=None)
        time = maps.model.time
        below = (series.signal < top).sum(axis=-1)
        enough = below >= 2 + len(AMPLITUDES[name])
        assert maps.choices.clipped_at == top
        np.testing.assert_array_equal(maps.status == rx.Status.CLIPPED, ~enough)
        np.testing.assert_array_equal(maps.points, np.where(enough, below, 0))
        assert np.isnan(maps[time].value[~enough]).all()
        assert maps.left_out == {"clipped": (series.signal == top).any(axis=-1).sum()}
        error = maps[time].value[enough] / T[enough] - 1
        assert abs(np.median(error)) < (0.01 if sigma else 1e-3)
        assert abs(np.nanmedian(naive[time].value[enough] / T[enough] - 1)) > 0.15
        if sigma:  # and the 95 % intervals hold it
            t = student.ppf(0.975, maps.points[enough] - 1 - len(AMPLITUDES[name]))
            holds = np.abs(error * T[enough]) < t * maps[time].stderr[enough]
            assert holds.mean() > 0.92

    @pytest.mark.parametrize("how", UNCUT)
    @pytest.mark.parametrize("name", RANGE)
    @pytest.mark.parametrize("sigma", [0.0, 0.3, 5.0])
    @pytest.mark.parametrize("kind", ["gradient", "tubes"])
    def test_what_is_not_clipped_is_not_touched(self, how, name, sigma, kind):
        """Not even recoveries without noise, which end at exactly S0 in whole tubes."""
        T = truth(name, kind) / (1 if name == "t2" else 10)  # saturated early
        whole = scanned(name, sigma, T)
        series = with_signal(whole, UNCUT[how](whole.signal))
        maps, plain = rx.fit_maps(series), rx.fit_maps(series, clip=None)
        assert maps.choices.clipped_at is None
        for name_ in maps.raw:
            np.testing.assert_array_equal(maps.raw[name_], plain.raw[name_])

    @pytest.mark.parametrize("name", ["t2", "t1_sr"])
    def test_equal_maxima_by_chance_are_not_clipped(self, name):
        """Whole numbers of few voxels: three of the brightest are equal in one series of twenty."""
        for seed in range(40):
            rng = np.random.default_rng(seed)
            T = rng.uniform(*RANGE[name], (20, 20))
            whole = scanned(name, rng.uniform(0.5, 8), T, seed)
            series = with_signal(whole, np.rint(whole.signal))
            assert rx.fit_maps(series).choices.clipped_at is None, seed

    def test_images_of_one_value_and_label_like_ones_are_not_clipped(self):
        TE = PROTOCOLS["t2"]
        flat = np.broadcast_to(800 * np.exp(-TE.TE / 0.05), (*GRID, 16))
        assert rx.fit_maps(rx.Series(flat, TE)).choices.clipped_at is None
        assert rx.fit_maps(rx.Series(np.full((*GRID, 16), 7.0), TE)).counts() == {
            rx.Status.AT_BOUND: 400
        }
        assert rx.fit_maps(rx.Series(np.zeros((*GRID, 16)), TE)).choices.clipped_at is None
        labels = np.broadcast_to(np.arange(20.0)[:, None, None, None], (*GRID, 16))
        assert rx.fit_maps(rx.Series(labels, TE)).choices.clipped_at is None

    def test_voxels_that_are_constant_or_not_finite_change_nothing(self):
        whole = scanned("t2", 5.0, truth("t2"))
        signal = np.array(whole.signal)
        signal[0, 0] = 5000.0  # brighter than all, and flat
        maps = rx.fit_maps(with_signal(whole, signal))
        assert maps.choices.clipped_at is None
        assert maps.status[0, 0, 0] == rx.Status.AT_BOUND
        signal = np.minimum(np.array(whole.signal), 700)
        signal[0, 1, 0, 3], signal[0, 2, 0, 5], signal[0, 3, 0, 0] = np.nan, np.inf, -np.inf
        maps = rx.fit_maps(with_signal(whole, signal))
        assert maps.choices.clipped_at == 700
        assert (maps.status[0, 1:4, 0] == rx.Status.NON_FINITE).all()
        signal[0, 1, 0, :14], signal[0, 1, 0, 15] = 700, np.nan  # and too few others are left
        maps = rx.fit_maps(with_signal(whole, signal))
        assert (maps.status[0, 1:4, 0] == rx.Status.NON_FINITE).all()

    def test_a_single_curve_at_full_scale(self):
        TE = PROTOCOLS["t2"]
        S = np.rint(6000 * np.exp(-TE.TE / 0.08))
        series = rx.Series(np.minimum(S, 4095)[None, None, None], TE)
        maps = rx.fit_maps(series)
        assert maps.choices.clipped_at == 4095
        assert maps["T2"].value[0, 0, 0] == pytest.approx(0.08, rel=1e-3)
        assert maps.points[0, 0, 0] == (S < 4095).sum()

    def test_where_nothing_else_can_tell_full_scale_is_clipped(self):
        """Two echoes: none is left to check with, and none of the values is to be believed."""
        TE = rx.Protocol(TE=[0.01, 0.02])
        rng = np.random.default_rng(0)
        signal = np.minimum(np.rint(rng.uniform(3000, 6000, (8, 8, 1, 1)) * [1, 0.7]), 4095)
        maps = rx.fit_maps(rx.Series(signal, TE))
        clipped = (signal == 4095).any(axis=-1)
        np.testing.assert_array_equal(maps.status == rx.Status.CLIPPED, clipped)

    def test_the_level_can_be_given_and_the_rule_switched_off(self):
        whole = scanned("t2", 5.0, truth("t2"))
        maps = rx.fit_maps(whole, clip=500.0)
        np.testing.assert_array_equal(maps.points, (whole.signal < 500).sum(axis=-1))
        cut = with_signal(whole, np.minimum(whole.signal, 700))
        off = rx.fit_maps(cut, clip=None)
        assert off.choices.clipped_at is None
        assert (off.points == 16).all()
        assert off.notes == ()
        curve = rx.fit_curve(PROTOCOLS["t2"], cut.signal[3, 3, 0], "t2", clip=700.0)
        auto = rx.fit_maps(cut)
        assert curve["T2"].value == pytest.approx(auto["T2"].value[3, 3, 0], rel=1e-9)
        assert curve.points == auto.points[3, 3, 0]
        for wrong in (-1.0, 0.0, np.nan, np.inf):
            with pytest.raises(rx.InputError, match="clip"):
                rx.fit_maps(whole, clip=wrong)


@pytest.fixture
def clipped_study(tmp_path):
    """Three tubes at 12 bits, T2 = 60 ms: one is whole, two are clipped, the last beyond help."""
    TE = rx.Protocol(TE=np.arange(1, 7) * 0.010)
    S0 = np.zeros((60, 20))
    for k, value in enumerate((3000.0, 6000.0, 14000.0)):
        S0[20 * k + 4 : 20 * k + 16, 4:16] = value
    model = as_model("t2")
    whole = series_from_maps(model, TE, np.full(S0.shape, 0.06), S0[..., None], 20.0, 1)
    series = rx.Series(np.minimum(np.rint(whole.signal), 4095), TE, np.diag([1, 1, 2, 1.0]))
    write_series(series, tmp_path / "scan")
    labels = np.zeros((60, 20, 1), dtype=np.int16)
    for k in range(3):
        labels[20 * k + 5 : 20 * k + 15, 5:15] = k + 1
    nib.save(nib.Nifti1Image(labels, series.affine), tmp_path / "labels.nii.gz")
    (tmp_path / "tubes.csv").write_text(
        "tube,agent,concentration_mM\n1,Fe,0.1\n2,Fe,0.2\n3,blank,0\n", "utf-8"
    )
    (tmp_path / "study.toml").write_text(
        '[T2]\npath = "scan"\n[tubes]\nsheet = "tubes.csv"\nlabels = "labels.nii.gz"\n', "utf-8"
    )
    return tmp_path


def test_clipped_tubes_are_told_in_every_result(clipped_study):
    result = rx.analyse(clipped_study / "study.toml")
    table = result.tube_table
    assert table["T2_s"].tolist()[:2] == pytest.approx([0.06, 0.06], rel=0.01)
    assert np.isnan(table["T2_s"][2])
    assert list(table["flags"]) == ["", "", "T2_clipped"]
    assert [fit.points for fit in result.curves["T2"]] == [6, 4, 0]
    assert result.curves["T2"][2].status is rx.Status.CLIPPED
    voxels = result.maps["T2"].left_out["clipped"]
    note = f"T2: points at 4095 are clipped and left out of {voxels} voxels"
    assert note in result.warnings
    assert "tube 3: T2 could not be determined" in result.failures
    page = rx.report(result, clipped_study / "report")
    told = page.read_text("utf-8")
    assert "tube 3: T2 is clipped: too few points lie below the plateau" in told
    assert f"left out of {voxels} voxels" in told
    numbers = json.loads((page.parent / "results.json").read_text("utf-8"))
    (series,) = numbers["series"]
    assert series["points_left_out"] == [{"why": "clipped", "from": 4095.0, "n_voxels": voxels}]
    assert series["n_voxels"]["clipped"] >= 100
    assert "T2_clipped" in numbers["tubes"][2]["flags"]
    assert numbers["tubes"][2]["T2_s"] is None
    assert "T2_clipped" in (page.parent / "tubes.csv").read_text("utf-8").splitlines()[3]
    (sidecar,) = page.parent.rglob("sub-01_desc-status_T2map.json")
    facts = json.loads(sidecar.read_text("utf-8"))
    assert facts["Levels"]["7"] == "clipped"
    assert (
        f"points at 4095 are clipped and left out of {voxels} voxels"
        in (facts["EstimationAlgorithm"])
    )
    status = nib.load(sidecar.with_suffix("").with_suffix(".nii.gz")).get_fdata()
    assert (status[45:55, 5:15] == rx.Status.CLIPPED).all()


def test_a_tube_is_clipped_where_more_than_one_voxel_in_a_hundred_is():
    """The mean of clipped and other voxels lies below the plateau, and is wrong all the same."""
    T = np.full((20, 20, 1), 0.08)
    whole = scanned("t2", 20.0, T)
    level = float(np.percentile(whole.signal[..., 0], 80))  # a fifth of the first echo
    series = with_signal(whole, np.minimum(whole.signal, level))
    tubes = rx.tubes_from_labels(np.ones((20, 20, 1), dtype=int), np.eye(4))
    (fit,) = rx.fit_tubes(series, tubes, clip=level)
    assert fit.points == 15
    few = with_signal(whole, np.minimum(whole.signal, whole.signal.max() - 1e-3))
    (fit,) = rx.fit_tubes(few, tubes, clip=float(few.signal.max()))
    assert fit.points == 16


class TestKeptPoints:
    curves = np.array([[9.0, 2, 5, 1, 4], [9, 8, 7, 6, 5], [np.nan, 1, 9, np.inf, 9]])
    choices = Choices((1e-3, 1), noise_floor=(3.0, 1.0), clipped_at=9.0)

    @pytest.mark.parametrize(
        ("swept", "first"),
        [
            ("TE", [False, False, False, False, False]),  # from the first below on
            ("TR", [False, False, False, False, True]),  # up to the last below
            ("TI", [False, False, False, False, True]),  # from the first to the last: a null
            ("FA", [False, False, False, False, False]),  # on either side of the brightest
        ],
    )
    def test_of_each_sweep(self, swept, first):
        kept, clipped = kept_points(self.curves, self.choices, swept)
        assert kept[0].tolist() == first
        assert kept[1].tolist() == [False, True, True, True, True]
        assert clipped[:, 0].tolist() == [True, True, False]

    def test_what_is_not_finite_stays_to_decide_the_status(self):
        kept, clipped = kept_points(self.curves, self.choices, "TI")
        assert kept[2].tolist() == [True, False, False, True, False]
        assert clipped[2].tolist() == [False, False, True, False, True]


MODELS = {  # as SciPy is told them, with a start
    "t2": (lambda TE, T, S0: S0 * np.exp(-TE / T), (0.08, 900)),
    "t1_sr": (lambda TR, T, S0: -S0 * np.expm1(-TR / T), (0.8, 900)),
    "t1_ir": (
        lambda TI, T, S0, B: S0 * (1 + np.exp(-10.0 / T)) - B * np.exp(-TI / T),
        (0.8, 900, 1800),
    ),
}


class TestWeights:
    @pytest.mark.parametrize("name", MODELS)
    def test_against_scipy(self, name):
        signal, start = MODELS[name]
        protocol = PROTOCOLS[name]
        rng = np.random.default_rng(6)
        sigma = np.linspace(2, 20, len(protocol))
        y = signal(protocol.times, 0.07 if name == "t2" else 0.9, 1000, *[1900][: len(start) - 2])
        y = y + rng.normal(0, sigma)
        weights = 100 / sigma**2
        options = {"polarity": "signed"} if name == "t1_ir" else {}
        fit = rx.fit_curve(protocol, y, name, weights=weights, **options)
        best, covariance = curve_fit(
            signal, protocol.times, y, p0=start, sigma=1 / np.sqrt(weights), xtol=1e-13, ftol=1e-13
        )
        assert [fit[p].value for p in fit.parameters] == pytest.approx(best, rel=1e-6)
        assert [fit[p].stderr for p in fit.parameters] == pytest.approx(
            np.sqrt(np.diag(covariance)), rel=1e-4
        )
        assert fit.rss == pytest.approx(weights @ (y - signal(protocol.times, *best)) ** 2)
        unweighted = rx.fit_curve(protocol, y, name, **options)
        assert abs(unweighted[fit.model.time].value / best[0] - 1) > 1e-4
        series = rx.Series(np.tile(y, (2, 3, 1, 1)), protocol, signed=name == "t1_ir")
        maps = rx.fit_maps(series, weights=weights)
        np.testing.assert_allclose(maps[fit.model.time].value, best[0], rtol=1e-5)
        np.testing.assert_array_equal(maps.choices.weights, weights)
        assert maps.notes[0].startswith("points are weighted by ")

    def test_points_may_come_in_any_order(self):
        TE, S = np.array([0.03, 0.01, 0.02, 0.05]), np.array([50.0, 81, 61, 31])
        one = rx.fit_curve(TE, S, "t2", weights=[1, 2, 3, 4])
        other = rx.fit_curve(np.sort(TE), np.sort(S)[::-1], "t2", weights=[2, 3, 1, 4])
        assert one["T2"].value == other["T2"].value

    def test_no_weight_is_no_point(self):
        """Neither its value nor its degree of freedom counts: as if it were not there."""
        TE = PROTOCOLS["t2"].TE
        y = 1000 * np.exp(-TE / 0.06) + np.random.default_rng(2).normal(0, 5, 16)
        y[3] = 5000
        weights = np.ones(16)
        weights[3] = 0
        fit = rx.fit_curve(TE, y, "t2", weights=weights)
        without = rx.fit_curve(np.delete(TE, 3), np.delete(y, 3), "t2")
        assert fit["T2"].value == pytest.approx(without["T2"].value, rel=1e-12)
        assert fit["T2"].stderr == pytest.approx(without["T2"].stderr, rel=1e-9)
        assert fit.points == 15
        clipped = rx.fit_curve(TE, y, "t2", weights=weights, clip=800.0)
        assert clipped.points == ((y < 800) & (weights > 0)).sum() < 15
        with pytest.raises(rx.FitError, match="weights: 1 above 0 for the 2 parameters"):
            rx.fit_curve(TE, y, "t2", weights=np.eye(16)[3])

    @pytest.mark.parametrize(
        "weights",
        [[1.0] * 15, np.ones((4, 4)), [-1.0] + [1.0] * 15, [0.0] * 16, "heavy", [np.nan] * 16],
    )
    def test_what_is_no_weight(self, weights):
        with pytest.raises(rx.InputError, match="weights"):
            rx.fit_maps(scanned("t2", 5.0, truth("t2", grid=(3, 3))), weights=weights)


class TestRecords:
    def test_dropped_echoes_weights_and_cut_travel_with_the_maps(self, tmp_path):
        series = scanned("t2", 5.0, truth("t2", grid=(6, 6)))
        maps = rx.fit_maps(
            series,
            drop_echoes=[1],
            drop_reason="stimulated echoes",
            weights=np.arange(15) + 1.0,
            noise_floor=(3, 5.0),
        )
        assert len(maps.series.protocol) == 15
        assert maps.left_out == {"noise_floor": (maps.series.signal < 15).any(axis=-1).sum()}
        told = (
            "left out point 1 of 16: stimulated echoes",
            f"points below 3·σ = 15 are left out of {maps.left_out['noise_floor']} voxels",
            "points are weighted by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
        )
        assert maps.notes == told
        rx.write_maps(maps, tmp_path)
        algorithm = json.loads(next(tmp_path.rglob("sub-01_T2map.json")).read_text("utf-8"))[
            "EstimationAlgorithm"
        ]
        assert all(note in algorithm for note in told)
        (written,) = document(_study_of(maps))["series"]
        assert written["notes"] == list(told)
        assert written["weights"] == list(range(1, 16))
        assert written["points_left_out"] == [
            {
                "why": "noise_floor",
                "k": 3.0,
                "sigma": 5.0,
                "below": 15.0,
                "n_voxels": maps.left_out["noise_floor"],
            }
        ]

    def test_nothing_done_is_nothing_told(self):
        maps = rx.fit_maps(scanned("t2", 5.0, truth("t2", grid=(3, 3))))
        assert (maps.notes, dict(maps.left_out)) == ((), {})
        (written,) = document(_study_of(maps))["series"]
        assert (written["notes"], written["weights"], written["points_left_out"]) == ([], [], [])

    def test_the_tubes_are_fitted_by_the_same_choices(self):
        series = scanned("t2", 5.0, truth("t2"))
        chosen = {"noise_floor": (3, 100.0), "weights": np.arange(16) + 1.0}
        maps = rx.fit_maps(series, **chosen)
        tubes = rx.tubes_from_labels(np.ones(GRID, dtype=int), np.eye(4))
        table = rx.tube_table(tubes, maps)
        mean = series.signal.reshape(-1, 16).mean(axis=0, dtype=float)
        fit = rx.fit_curve(PROTOCOLS["t2"], mean, "t2", **chosen)
        assert fit.points < 16
        assert table["T2_s"][0] == pytest.approx(fit["T2"].value, rel=1e-9)

    @pytest.mark.parametrize("floor", [(3,), (0, 5.0), (3, -1.0), (3, np.nan), "3 sigma", 5.0])
    def test_what_is_no_noise_floor(self, floor):
        with pytest.raises(rx.InputError, match="noise_floor"):
            rx.fit_maps(scanned("t2", 5.0, truth("t2", grid=(3, 3))), noise_floor=floor)


def _study_of(maps):
    import pandas as pd

    from relaxometry.settings import StudyFacts
    from relaxometry.study import StudyResult

    return StudyResult(
        StudyFacts(),
        {maps.model.time: maps},
        {},
        {},
        pd.DataFrame(),
        None,
        ContrastStudy(),
        (),
        (),
        (),
    )


class TestNoiseFloor:
    """Rician data, echoes 10 … 160 ms; the cut at 3σ ends a decay where it reaches the floor.

    It helps where many echoes lie on the floor. In single voxels the last points kept are those
    that noise has lifted, which is why some bias stays, and why the cut does harm where the tail
    only touches the floor. The mean of a tube has no such choice of luck.
    """

    @staticmethod
    def bias(T2, snr):
        """Without and with the cut, in per cent: of the voxels' median, of the tube's mean."""
        grid = (60, 50, 1)
        S0, T = np.ones((*grid, 1)), np.full(grid, T2)
        series = series_from_maps(as_model("t2"), PROTOCOLS["t2"], T, S0, 1 / snr, 4)
        tube = rx.tubes_from_labels(np.ones(grid, dtype=int), np.eye(4))
        found = []
        for floor in (None, (3, 1 / snr)):
            maps = rx.fit_maps(series, noise_floor=floor)
            known = np.isfinite(maps["T2"].value)
            assert known.mean() > 0.75
            assert (maps.points[known] >= 3).all()
            (fit,) = rx.fit_tubes(series, tube, noise_floor=floor)
            found += [np.median(maps["T2"].value[known]), fit["T2"].value]
        return 100 * (np.reshape(found, (2, 2)) / T2 - 1)

    @pytest.mark.parametrize(("T2", "snr"), [(0.03, 10), (0.02, 20), (0.03, 20)])
    def test_it_halves_the_bias_of_a_short_T2(self, T2, snr):
        before, after = self.bias(T2, snr)[:, 0]
        assert before > 12
        assert 0 < after < before / 2

    @pytest.mark.parametrize(("T2", "snr", "most"), [(0.05, 10, 20), (0.05, 20, 5), (0.1, 20, 2.5)])
    def test_it_does_little_where_the_tail_only_touches_the_floor(self, T2, snr, most):
        before, after = self.bias(T2, snr)[:, 0]
        assert before < 25
        assert abs(after) < most
        assert after < before + 1

    @pytest.mark.parametrize("snr", [10, 20])
    @pytest.mark.parametrize("T2", [0.03, 0.05, 0.1])
    def test_of_a_tube_it_leaves_less_than_five_per_cent(self, T2, snr):
        before, after = self.bias(T2, snr)[:, 1]
        assert 0 < after < 5
        assert after <= before  # equal where the whole tail is above 3σ

    def test_too_few_above_it_is_low_signal(self):
        series = scanned("t2", 1.0, np.full((4, 4), 0.02))
        maps = rx.fit_maps(series, noise_floor=(3, 150.0))
        assert maps.counts() == {rx.Status.LOW_SIGNAL: 16}
        assert (maps.points == 0).all()

    def test_off_unless_asked_for(self):
        maps = rx.fit_maps(scanned("t2", 5.0, truth("t2", grid=(3, 3))))
        assert maps.choices.noise_floor is None
        assert (maps.points == 16).all()


VFA = rx.Protocol(FA=[2, 5, 10, 15, 20, 30], TR=0.015)


def flip_angles(B1: np.ndarray, T1: np.ndarray, sigma: float = 0.0, seed: int = 0) -> rx.Series:
    model = as_model("t1_vfa")
    signal = np.array(
        [
            model.signal(replace(VFA, FA=VFA.FA * b), np.array([T]), np.array([[1e4]]))[0]
            for b, T in zip(B1.ravel(), T1.ravel(), strict=True)
        ]
    )
    signal = signal + np.random.default_rng(seed).normal(0, sigma, signal.shape)
    return rx.Series(signal.reshape(*B1.shape, 6), VFA, signed=False)


class TestB1:
    grid = (8, 8, 1)
    B1 = np.linspace(0.4, 1.6, 64).reshape(grid)
    T1 = np.random.default_rng(1).uniform(0.3, 2.5, grid)

    def test_each_voxel_is_fitted_with_its_own_angles(self):
        series = flip_angles(self.B1, self.T1, 2.0)
        maps = rx.fit_maps(series, B1=self.B1)
        for voxel in np.ndindex(self.grid):
            scaled = replace(VFA, FA=VFA.FA * self.B1[voxel])
            one = rx.fit_curve(scaled, series.signal[voxel], "t1_vfa", bounds=maps.bounds)
            assert rx.Status(maps.status[voxel]) is one.status
            for name in ("T1", "S0"):
                assert maps[name].value[voxel] == pytest.approx(one[name].value, rel=1e-9)
                assert maps[name].stderr[voxel] == pytest.approx(one[name].stderr, rel=1e-7)
            assert maps.rmse[voxel] ** 2 * 6 == pytest.approx(one.rss, rel=1e-7)
            alone = rx.fit_curve(VFA, series.signal[voxel], "t1_vfa", B1=self.B1[voxel])
            assert alone["T1"].value == pytest.approx(one["T1"].value, rel=1e-9)

    def test_the_truth_comes_back(self):
        series = flip_angles(self.B1, self.T1)
        maps = rx.fit_maps(series, B1=self.B1)
        np.testing.assert_allclose(maps["T1"].value, self.T1, rtol=1e-5)  # of float32 data
        assert maps.notes == ("flip angles are scaled by the B1 map",)
        without = rx.fit_maps(series)["T1"].value
        assert np.abs(without / self.T1 - 1).max() > 0.5

    def test_where_B1_is_none_nothing_is_known(self):
        B1 = np.array(self.B1)
        B1.flat[:7] = [np.nan, 0, -1, np.inf, 0.1, 3.5, -np.inf]
        maps = rx.fit_maps(flip_angles(self.B1, self.T1), B1=B1)
        assert (maps.status.flat[:7] == rx.Status.NON_FINITE).all()
        assert (maps.status.flat[7:] == rx.Status.OK).all()
        assert np.isnan(maps["T1"].value.flat[:7]).all()
        np.testing.assert_allclose(maps["T1"].value.flat[7:], self.T1.flat[7:], rtol=1e-5)
        fit = rx.fit_curve(VFA, np.ones(6), "t1_vfa", B1=0.1)
        assert fit.status is rx.Status.NON_FINITE

    def test_angles_that_become_180_degrees_are_none(self):
        steep = rx.Protocol(FA=[20, 60, 120], TR=0.5)
        series = rx.Series(np.ones((2, 2, 1, 3)), steep)
        B1 = np.array([1.0, 1.2, 1.49, 1.6]).reshape(2, 2, 1)
        maps = rx.fit_maps(series, B1=B1)
        assert (maps.status == rx.Status.NON_FINITE).ravel().tolist() == [False, False, False, True]

    @pytest.mark.parametrize(
        ("B1", "complaint"),
        [
            (100 * B1, "B1: median 100; .*; divide percent by 100"),
            (np.zeros(grid), "B1: no positive number"),
            (np.full(grid, np.nan), "B1: no positive number"),
            (np.ones((8, 8)), r"B1: shape \(8, 8\); expected the grid"),
            (np.ones((8, 7, 1)), r"B1: shape \(8, 7, 1\)"),
        ],
    )
    def test_what_is_no_map_of_it(self, B1, complaint):
        with pytest.raises(rx.InputError, match=complaint):
            rx.fit_maps(flip_angles(self.B1, self.T1), B1=B1)

    def test_a_model_without_flip_angles_has_no_use_for_it(self):
        series = scanned("t2", 5.0, truth("t2", grid=(3, 3)))
        with pytest.raises(rx.FitError, match="B1: model t2; expected a model that reads"):
            rx.fit_maps(series, B1=np.ones((3, 3, 1)))

    def test_a_tube_has_the_mean_of_what_is_usable(self):
        B1 = np.full(self.grid, 0.8)
        series = flip_angles(B1, np.full(self.grid, 1.2))
        B1[0, :4, 0] = np.nan, 0, 90, np.inf
        labels = np.ones(self.grid, dtype=int)
        labels[4:] = 2
        tubes = rx.tubes_from_labels(labels, np.eye(4))
        maps = rx.fit_maps(series, B1=B1)
        table = rx.tube_table(tubes, maps)
        assert table["T1_s"].tolist() == pytest.approx([1.2, 1.2], rel=1e-5)
        # Angles are no times: a T1 of 1.2 s is not "below half of 2°".
        assert list(table["flags"]) == ["", ""]
        B1[:4] = np.nan
        table = rx.tube_table(tubes, rx.fit_maps(series, B1=B1))
        assert list(table["flags"]) == ["T1_non_finite", ""]


@pytest.mark.parametrize("engine", ["numpy", "compiled"])
def test_curves_that_lost_nothing_are_fitted_as_if_alone(engine):
    """Two angles determine two parameters; a clipped voxel beside them changes nothing."""
    protocol = rx.Protocol(FA=[4, 18], TR=0.015)
    model = next(model for model in rx.MODELS if model.name == "t1_vfa")
    T1 = np.geomspace(0.3, 2.0, 500)
    good = model.signal(protocol, T1, np.full((500, 1), 9000.0))
    curves = np.concatenate([np.full((100, 2), 4095.0), good])
    series = rx.Series(curves[:, None, None, :], protocol, signed=False)
    maps = rx.fit_maps(series, model, clip=4095.0, engine=engine)
    status = maps.status.ravel()
    assert (status[:100] == rx.Status.CLIPPED).all()
    assert (status[100:] == rx.Status.OK).all()
    np.testing.assert_allclose(maps["T1"].value.ravel()[100:], T1, rtol=1e-4)


def test_the_cut_takes_what_lies_together():
    signals = {
        "TE": ([9, 1, 9, 9], [1, 0, 0, 0]),
        "TR": ([9, 1, 9, 9], [0, 0, 1, 1]),
        "TI": ([9, 1, 9, 1, 9], [1, 0, 0, 0, 1]),
        "FA": ([1, 9, 20, 9, 1, 9], [0, 1, 1, 1, 0, 0]),
    }
    for swept, (signal, kept) in signals.items():
        choices = Choices((0.01, 1.0), noise_floor=(3.0, 1.0))
        found, _ = kept_points(np.array([signal], dtype=float), choices, swept)
        assert found[0].tolist() == [bool(one) for one in kept], swept


def test_weights_of_one_curve_are_checked_before_they_are_sorted():
    TE = [0.03, 0.01, 0.02, 0.04, 0.05]
    signal = 100 * np.exp(-np.array(TE) / 0.04)
    for wrong in ([1] * 9, [1, 2], 2.0):
        with pytest.raises(rx.InputError, match="weights"):
            rx.fit_curve(TE, signal, "t2", weights=wrong)


def test_a_constant_curve_has_no_rsquared():
    fit = rx.fit_curve(np.arange(1, 9) * 0.01, np.full(8, 0.1), "t2")
    assert np.isnan(fit.rsquared)


@pytest.mark.parametrize("swept", ["TE", "TR", "TI", "FA"])
def test_what_is_not_finite_is_never_cut_away(swept):
    """It decides the status of its curve, wherever it lies."""
    curves = np.array([[1, 9, 1, np.nan, 1, 9], [1, np.inf, 1, 9, 1, 1]])
    choices = Choices((0.01, 1.0), noise_floor=(3.0, 1.0))
    kept, _ = kept_points(curves, choices, swept)
    assert kept[~np.isfinite(curves)].all()
