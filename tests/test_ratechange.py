"""ΔR1 and ΔR2, concentrations and signal-only changes, against known truth and hand arithmetic."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import relaxometry as rx
from relaxometry.maps import Status
from relaxometry.models import as_model
from relaxometry.noise import rician_mean
from relaxometry.simulate import series_from_maps

TE_s = np.arange(1, 17) * 0.008
TE = rx.Protocol(TE=TE_s)
TR = rx.Protocol(TR=[0.1, 0.2, 0.4, 0.7, 1.2, 2.0, 3.2, 5.0, 8.0])


def scan(R, sigma, seed, shape=(10, 10, 1), model="t2", protocol=TE, **options):
    R = np.broadcast_to(np.asarray(R, float), shape)
    series = series_from_maps(as_model(model), protocol, 1 / R, np.ones((*shape, 1)), sigma, seed)
    from dataclasses import replace

    return replace(series, **options) if options else series


def maps(R, sigma=0.01, seed=0, *, fit=None, **options):
    return rx.fit_maps(scan(R, sigma, seed, **options), clip=None, **(fit or {}))


def whole(change):
    return np.ones(change.value.shape, dtype=bool)


@pytest.fixture(scope="module")
def change():
    return rx.rate_change(maps(20.0, seed=1), maps(50.0, seed=2))


class TestVoxels:
    def test_difference_and_its_error(self, change):
        before, after = change.pre["R2"], change.post["R2"]
        np.testing.assert_allclose(change.value, after.value - before.value)
        np.testing.assert_allclose(change.stderr**2, before.stderr**2 + after.stderr**2)
        # Single voxels lean to the floor of the noise: 1 % at S0/σ = 100.
        assert change.value.mean() == pytest.approx(30, rel=0.02)
        assert (change.quantity, change.symbol) == ("R2", "dR2")
        assert change.counts == {"determined": 100}

    def test_the_error_is_that_of_the_scatter(self):
        """Over 400 voxels: z-scores have SD 1; their stderr from 14 points is itself uncertain."""
        found = rx.rate_change(
            maps(20.0, 0.005, 3, shape=(20, 20, 1)), maps(30.0, 0.005, 4, shape=(20, 20, 1))
        )
        z = (found.value - 10) / found.stderr
        assert z.std() == pytest.approx(1.04, abs=0.12)
        assert np.mean(np.abs(z) < 2.05) == pytest.approx(0.95, abs=0.03)

    def test_what_is_not_determined_is_nan_and_counted(self):
        mask = np.ones((10, 10, 1), dtype=bool)
        mask[0] = False
        one = scan(20.0, 0.01, 1)
        signal = one.signal.copy()
        signal[1, :3] = 0
        signal[2, 0] = np.nan
        other = rx.Series(signal, TE, signed=False)
        found = rx.rate_change(
            rx.fit_maps(one, mask=mask, clip=None), rx.fit_maps(other, clip=None)
        )
        assert np.isnan(found.value[0]).all()
        assert np.isnan(found.value[1, :3]).all()
        assert np.isnan(found.stderr[2, 0])
        assert found.counts == {
            "determined": 86,
            "before: masked": 10,
            "after: low signal": 3,
            "after: non finite": 1,
        }

    def test_in_both(self):
        mask = np.zeros((10, 10, 1), dtype=bool)
        mask[0] = True
        both = [maps(R, fit={"mask": mask}) for R in (20.0, 30.0)]
        assert rx.rate_change(*both).counts == {"determined": 10, "before and after: masked": 90}

    def test_map_says_what_it_is(self, change):
        assert change.map.quantity == "dR2"
        assert change.map.unit == "1/s"
        assert "ΔR2" in repr(change.map)
        assert "100 determined" in repr(change)
        negative = rx.rate_change(change.post, change.pre)
        assert np.nanmax(negative.map.value) < 0

    def test_of_T1(self):
        one = maps(0.5, 0.002, 1, model="t1_sr", protocol=TR)
        other = maps(0.9, 0.002, 2, model="t1_sr", protocol=TR)
        found = rx.rate_change(one, other)
        assert found.quantity == "R1"
        assert np.median(found.value) == pytest.approx(0.4, abs=0.01)

    def test_what_else_differs_is_said(self, change):
        short = rx.Protocol(TE=np.arange(1, 13) * 0.008)
        other = maps(50.0, protocol=short, model="t2", fit={"noise_floor": (3, 0.01)})
        notes = rx.rate_change(change.pre, other).notes
        assert "other TE after than before" in notes
        assert any(note.startswith("after: points below 3·σ") for note in notes)

    def test_refusals(self, change):
        with pytest.raises(rx.GeometryError, match=r"\(5, 5, 1\) after, \(10, 10, 1\) before"):
            rx.rate_change(change.pre, maps(20.0, shape=(5, 5, 1)))
        with pytest.raises(rx.GeometryError, match=r"lie elsewhere.*register"):
            rx.rate_change(change.pre, maps(20.0, affine=np.diag([2.0, 1, 1, 1])))
        with pytest.raises(rx.InputError, match="T2 before and T1 after"):
            rx.rate_change(change.pre, maps(0.5, model="t1_sr", protocol=TR))
        star = maps(20.0, sequence="GE")
        assert "T2star" in star.names
        with pytest.raises(rx.InputError, match="T2 before and T2star after"):
            rx.rate_change(change.pre, star)
        with pytest.raises(rx.InputError, match="3 T before, 7 T after"):
            rx.rate_change(maps(20.0, field_T=3.0), maps(20.0, field_T=7.0))
        with pytest.raises(rx.InputError, match="post: a Series; expected ParameterMaps"):
            rx.rate_change(change.pre, change.post.series)


class TestRegionRate:
    @pytest.mark.parametrize("coils", [1, 8, 32])
    def test_the_floor_of_all_coils_is_taken_off_a_mean(self, coils):
        """Means without noise, by the Rician or chi mean itself: the rate is exact."""
        signal = rician_mean(np.exp(-80 * TE_s), 0.1, coils)[None, None, None]
        series, inside = rx.Series(signal, TE, signed=False), np.ones((1, 1, 1), dtype=bool)
        found = rx.region_rate(series, inside, sigma=0.1, coils=coils, clip=None)
        assert found.value == pytest.approx(80, rel=1e-4)
        if coils > 1:
            one = rx.region_rate(series, inside, sigma=0.1, clip=None)
            assert abs(one.value - 80) > 10

    @pytest.mark.parametrize("coils", [1, 8, 32])
    def test_intervals_hold_the_truth_with_coils(self, coils):
        """95 % of intervals of R2 = 60 s⁻¹ over 40 seeds of 100 voxels at S0/σ = 30."""
        rng = np.random.default_rng(coils)
        inside = np.ones((100, 1, 1), dtype=bool)
        errors, stderrs = [], []
        for _ in range(40):
            signal = magnitudes(np.exp(-60 * TE_s), 1 / 30, coils, 100, rng)[:, None, None]
            series = rx.Series(signal, TE, signed=False)
            found = rx.region_rate(series, inside, sigma=1 / 30, coils=coils, clip=None)
            errors.append(found.value - 60)
            stderrs.append(found.stderr)
        assert (np.abs(errors) < 2.14 * np.array(stderrs)).sum() >= 34
        assert np.mean(errors) == pytest.approx(0, abs=4 * np.mean(stderrs) / math.sqrt(40))

    def test_below_the_floor_by_chance_is_mirrored(self):
        """Points of pure noise go both ways: the rate of the others stays what it is."""
        inside = np.ones((1, 1, 1), dtype=bool)
        mean = rician_mean(np.exp(-80 * TE_s), 0.1)
        floor = 0.1 * math.sqrt(math.pi / 2)
        rates = []
        for sign in (-1, 1):
            signal = mean.copy()
            signal[-4:] = floor + 0.001 * sign * np.array([1, -1, 1, -1])
            series = rx.Series(signal[None, None, None], TE, signed=False)
            rates.append(rx.region_rate(series, inside, sigma=0.1, clip=None).value)
        assert rates[0] == pytest.approx(rates[1], rel=0.01)
        assert rates[0] == pytest.approx(80, rel=0.02)

    def test_with_sigma_the_rate_is_right_where_the_floor_ruins_it(self):
        """S0/σ = 10, R2 = 80: without σ the mean signal is mostly floor."""
        series = scan(80.0, 0.1, 5, shape=(20, 20, 1))
        inside = np.ones(series.grid, dtype=bool)
        raw = rx.region_rate(series, inside, "t2", clip=None)
        right = rx.region_rate(series, inside, "t2", sigma=0.1, clip=None)
        assert raw.value < 40
        assert right.value == pytest.approx(80, abs=3 * right.stderr)
        assert right.stderr < 5

    def test_intervals_hold_the_truth(self):
        """95 % of intervals of ΔR2 = 47 s⁻¹ over 60 seeds of 25 voxels at S0/σ = 30."""
        inside = np.ones((5, 5, 1), dtype=bool)
        held, errors = 0, []
        for seed in range(60):
            R = [
                rx.region_rate(
                    scan(rate, 1 / 30, 2 * seed + k, shape=(5, 5, 1)),
                    inside,
                    sigma=1 / 30,
                    clip=None,
                )
                for k, rate in enumerate((33.0, 80.0))
            ]
            error, stderr = R[1].value - R[0].value - 47, math.hypot(*(r.stderr for r in R))
            held += abs(error) < 2.12 * stderr
            errors.append(error)
        assert held >= 53  # a true 95 % gives fewer in 1 of 100 trials
        assert np.mean(errors) == pytest.approx(0, abs=1.2)

    def test_magnitude_of_an_inversion(self):
        protocol = rx.Protocol(TI=np.geomspace(0.05, 5, 12), TR=8.0)
        series = series_from_maps(
            as_model("t1_ir"), protocol, np.full((15, 15, 1), 1.2),
            np.broadcast_to([1.0, 1.9], (15, 15, 1, 2)), 0.1, 3,
        )  # fmt: skip
        inside = np.ones(series.grid, dtype=bool)
        found = rx.region_rate(series, inside, sigma=0.1, clip=None)
        assert found.value == pytest.approx(1 / 1.2, abs=3 * found.stderr)
        assert found.stderr < 0.03

    def test_clipped_points_stay_out(self):
        series = scan(20.0, 0.01, 7)
        cut = rx.Series(np.minimum(series.signal, 0.7), TE, signed=False)
        inside = np.ones(series.grid, dtype=bool)
        fit = rx.region_fit(cut, inside, sigma=0.01)
        assert not fit.used[:2].any()
        assert fit["R2"].value == pytest.approx(20, abs=3 * fit["R2"].stderr)

    def test_voxels_that_are_not_finite_are_left_out(self):
        series = scan(20.0, 0.01, 8)
        signal = series.signal.copy()
        signal[0] = np.nan
        holed = rx.Series(signal, TE, signed=False)
        inside = np.ones(series.grid, dtype=bool)
        only = inside.copy()
        only[0] = False
        assert (
            rx.region_rate(holed, inside, clip=None).value
            == rx.region_rate(series, only, clip=None).value
        )

    def test_refusals(self):
        series = scan(20.0, 0.01, 8)
        inside = np.ones(series.grid, dtype=bool)
        for mask, complaint in (
            (inside.astype(int), "mask: int64; expected True and False"),
            (inside[:5], "shape"),
            (~inside, "no voxel in it"),
        ):
            with pytest.raises(rx.InputError, match=complaint):
                rx.region_rate(series, mask)
        for options, complaint in (
            ({"sigma": 0.0}, "sigma: 0.0; expected a positive number"),
            ({"sigma": "x"}, "expected a positive number"),
            ({"sigma": 0.1, "coils": 0}, "coils: 0 coils; expected a whole number from 1"),
            ({"coils": 1.5}, "coils: 1.5 coils"),
            ({"coils": "8"}, "coils: '8' coils"),
            ({"sigma": 0.1, "noise_floor": (3, 0.1)}, "sigma with noise_floor"),
            ({"sigma": 0.1, "weights": np.ones(16)}, "sigma with weights"),
            ({"sigma": 0.1, "polarity": "signed"}, "signed data"),
        ):
            with pytest.raises(rx.InputError, match=complaint):
                rx.region_rate(series, inside, **options)
        empty = rx.Series(np.full(series.signal.shape, np.nan), TE, signed=False)
        with pytest.raises(rx.InputError, match="no voxel with finite signal"):
            rx.region_rate(empty, inside)


class TestRegions:
    def test_by_the_mean_signal_and_by_voxels(self, change):
        found = change.region(whole(change), "liver", sigma=0.01)
        assert found.value == pytest.approx(30, abs=3 * found.stderr)
        assert found.mean == pytest.approx(change.value.mean())
        assert found.median == pytest.approx(np.median(change.value))
        assert found.sd == pytest.approx(change.value.std(ddof=1))
        assert found.mean_stderr == pytest.approx(np.sqrt((change.stderr**2).sum()) / 100)
        assert (found.n_voxels, found.n_determined) == (100, 100)
        assert found.value == pytest.approx(found.post.value - found.pre.value)
        assert found.stderr == pytest.approx(math.hypot(found.pre.stderr, found.post.stderr))
        assert 14 <= found.dof <= 28
        row = found.row()
        assert row["region"] == "liver"
        assert row["dR2_per_s"] == found.value
        assert row["dR2_ci95_low_per_s"] < found.value < row["dR2_ci95_high_per_s"]
        assert row["R2_pre_per_s"] == pytest.approx(20, abs=0.5)
        assert "ΔR2 of liver" in repr(found)

    def test_of_one_voxel(self, change):
        mask = ~whole(change)
        mask[3, 4] = True
        found = change.region(mask)
        assert found.value == pytest.approx(change.value[3, 4, 0], rel=1e-4)
        assert found.stderr == pytest.approx(change.stderr[3, 4, 0], rel=1e-3)
        assert math.isnan(found.sd)

    def test_what_is_missing_is_said(self, change):
        """Registered images have no signal at their margins; they cost voxels, not the region."""
        signal = change.post.series.signal.copy()
        signal[:3] = np.nan
        post = rx.fit_maps(rx.Series(signal, TE, signed=False), clip=None)
        found = rx.rate_change(change.pre, post).region(whole(change))
        assert found.n_determined == 70
        assert found.counts == {"determined": 70, "after: non finite": 30}
        assert any("30 voxels have a signal that is not finite" in note for note in found.notes)
        inner = whole(change)
        inner[:3] = False
        assert found.value == pytest.approx(change.region(inner).value, rel=1e-9)
        with pytest.raises(
            rx.InputError, match="region margin: no voxel with finite signal before"
        ):
            rx.rate_change(change.pre, post).region(~inner, "margin")

    def test_not_determined_is_nan_with_a_reason(self, change):
        blank = rx.Series(np.zeros((10, 10, 1, 16)), TE, signed=False)
        found = rx.rate_change(change.pre, rx.fit_maps(blank, clip=None)).region(whole(change))
        assert math.isnan(found.value)
        assert math.isnan(found.stderr)
        assert math.isnan(found.mean)
        assert all(map(math.isnan, found.ci95))
        assert any(Status.LOW_SIGNAL.words in note for note in found.notes)

    def test_an_uneven_region_is_said_to_be(self):
        R = np.where(np.arange(10)[:, None, None] < 5, 20.0, 120.0)
        pre = maps(20.0, 0.002, 1)
        post = maps(np.broadcast_to(R, (10, 10, 1)), 0.002, 2)
        found = rx.rate_change(pre, post).region(whole(rx.rate_change(pre, post)), sigma=0.002)
        assert found.mean == pytest.approx(50, abs=1)
        assert found.value < 45
        assert any("uneven" in note for note in found.notes)

    def test_the_floor_of_coils(self):
        """ΔR2 = 30 s⁻¹ of images of 16 coils, at the floor: one coil's floor is too low."""
        rng = np.random.default_rng(16)
        pair = []
        for R2 in (30.0, 60.0):
            signal = magnitudes(np.exp(-R2 * TE_s), 0.03, 16, 100, rng).reshape(10, 10, 1, -1)
            pair.append(rx.fit_maps(rx.Series(signal, TE, signed=False), clip=None))
        change = rx.rate_change(*pair)
        found = change.region(whole(change), sigma=0.03, coils=16)
        assert found.value == pytest.approx(30, abs=3 * found.stderr)
        assert found.stderr < 1.5
        assert change.region(whole(change), sigma=0.03).value < 25
        told = change.concentration(30.0).region(whole(change), sigma=0.03, coils=16)
        assert told.value == pytest.approx(found.value / 30)
        with pytest.raises(rx.InputError, match="coils"):
            change.region(whole(change), sigma=0.03, coils=0)

    def test_sigma_before_and_after(self, change):
        one = change.region(whole(change), sigma=(0.01, 0.02))
        assert one.sigma == (0.01, 0.02)
        for sigma in ((1.0, 2.0, 3.0), -1.0, (0.1, math.nan)):
            with pytest.raises(rx.InputError, match="sigma"):
                change.region(whole(change), sigma=sigma)


def magnitudes(A, sigma, coils, voxels, rng):
    """Root sum of squares over coils that see A alike: (voxels, *A.shape)."""
    A = np.asarray(A, float)
    noise = rng.normal(0, sigma, (2, coils, voxels, *A.shape))
    noise[0] += A / math.sqrt(coils)
    return np.sqrt((noise**2).sum(axis=(0, 1)))


def region_of(value, stderr, quantity, name="liver", dof=1e9):
    nothing = rx.Estimate(math.nan, math.nan)
    by_voxels = (value, value, 0.0, 0.0, 1, 1)
    return rx.RegionChange(
        name, quantity, value, stderr, dof, *by_voxels, nothing, nothing, None, None, {}
    )


class TestRatio:
    def test_by_hand(self):
        """Fieller with g = (1.96·0.1/2)²: (ρ ± …)/(1 − g)."""
        found = rx.change_ratio(region_of(40.0, 2.0, "R2"), region_of(2.0, 0.1, "R1"))
        assert found.value == 20
        assert found.stderr == pytest.approx(math.hypot(2 / 2, 20 * 0.1 / 2))
        g = (1.959964 * 0.1 / 2) ** 2
        half = 1.959964 / 2 * math.sqrt(4 * (1 - g) + 400 * 0.01)
        low, high = (20 - half) / (1 - g), (20 + half) / (1 - g)
        assert found.fieller95 == pytest.approx((low, high), rel=1e-5)
        assert found.bounded
        assert found.notes == ()
        assert found.row()["dR2_over_dR1"] == 20

    def test_unbounded_is_said(self):
        found = rx.change_ratio(region_of(40.0, 2.0, "R2"), region_of(0.1, 0.1, "R1"))
        assert not found.bounded
        assert "ΔR1 may be 0" in found.notes[0]
        assert found.row()["dR2_over_dR1_ci95_high"] is None

    def test_not_determined(self):
        found = rx.change_ratio(region_of(math.nan, math.nan, "R2"), region_of(0.1, 0.1, "R1"))
        assert math.isnan(found.value)
        assert "not determined" in found.notes[0]

    def test_refusals(self):
        one = region_of(1.0, 0.1, "R1")
        with pytest.raises(rx.InputError, match="R1 over R1"):
            rx.change_ratio(one, one)
        with pytest.raises(rx.InputError, match="'liver' and 'tumour'"):
            rx.change_ratio(region_of(1.0, 0.1, "R2"), region_of(1.0, 0.1, "R1", "tumour"))
        with pytest.raises(rx.InputError, match="region liver: ΔR1 is 0"):
            rx.change_ratio(region_of(1.0, 0.1, "R2"), region_of(0.0, 0.1, "R1"))


class TestConcentration:
    def test_noise_and_r_are_kept_apart(self, change):
        found = change.concentration(60.0, 6.0)
        np.testing.assert_allclose(found.value, change.value / 60)
        np.testing.assert_allclose(found.stderr, change.stderr / 60)
        assert found.r_relative_stderr == pytest.approx(0.1)
        np.testing.assert_allclose(
            found.total_stderr, np.hypot(change.stderr / 60, 0.1 * change.value / 60)
        )
        of_region = found.region(whole(change), "liver", sigma=0.01)
        c = change.region(whole(change), "liver", sigma=0.01)
        assert of_region.value == pytest.approx(c.value / 60)
        assert of_region.noise_stderr == pytest.approx(c.stderr / 60)
        # However many voxels, the error of r does not shrink.
        assert of_region.r_stderr == pytest.approx(0.05, rel=0.05)
        assert of_region.stderr == pytest.approx(math.hypot(c.stderr / 60, c.value / 600))
        low, high = of_region.ci95
        assert low < 0.5 < high
        row = of_region.row()
        assert row["concentration_mM"] == of_region.value
        assert row["concentration_r_stderr_mM"] == of_region.r_stderr
        assert row["from"] == "dR2"

    def test_an_estimate_brings_its_error(self, change):
        found = change.concentration(rx.Estimate(60.0, 6.0, "r2"))
        assert (found.r, found.r_stderr) == (60, 6)
        assert found.map.quantity == "concentration"
        assert "r known to 10 %" in repr(found)

    def test_negative_stays_negative(self, change):
        found = rx.rate_change(change.post, change.pre).concentration(60.0, 6.0)
        assert (found.value < 0).all()
        assert (found.stderr > 0).all()
        of_region = found.region(whole(change))
        assert of_region.value < 0
        assert of_region.r_stderr > 0

    def test_notes(self, change):
        assert any("taken as exact" in note for note in change.concentration(60.0).notes)
        known = rx.rate_change(maps(20.0, field_T=7.0), maps(50.0, field_T=7.0))
        assert not any(" T," in note for note in known.concentration(60, 1, r_field_T=7.05).notes)
        notes = known.concentration(60, 1, r_field_T=3.0).notes
        assert "r was measured at 3 T, the scans are at 7 T" in notes

    def test_an_r_that_may_be_zero_leaves_it_unbounded(self, change):
        row = change.concentration(60.0, 60.0).region(whole(change)).row()
        assert row["concentration_ci95_high_mM"] is None

    @pytest.mark.parametrize(
        ("r", "r_stderr", "complaint"),
        [
            (0, 0.0, "r: 0 mM⁻¹ s⁻¹; expected a relaxivity above 0"),
            (-5.0, 0.0, "r: -5"),
            (math.nan, 0.0, "r: nan"),
            ("60", 0.0, "r: '60'"),
            (60, -1, "r_stderr: -1"),
            (60, math.inf, "r_stderr: inf"),
            (rx.Estimate(60.0, 6.0, "r2"), 1.0, "beside an Estimate"),
            (rx.Estimate(60.0, math.nan, "r2"), 0.0, "r_stderr: nan"),
            (rx.Estimate(3.0, 0.1, "r1"), 0.0, "r1 for a change of R2"),
            (rx.Estimate(np.ones(3), np.ones(3), "r2"), 0.0, "a map; expected one number"),
        ],
    )
    def test_refusals(self, change, r, r_stderr, complaint):
        with pytest.raises(rx.InputError, match=complaint):
            change.concentration(r, r_stderr)

    def test_of_another_rate(self, change):
        with pytest.raises(rx.InputError, match="a change of R1; expected of R2"):
            change.concentration(60.0).of(region_of(1.0, 0.1, "R1"))


class TestFiles:
    def test_round_trip(self, change, tmp_path):
        nib = pytest.importorskip("nibabel")
        concentration = change.concentration(60.0, 6.0)
        written = rx.write_rate_change(
            change, tmp_path, concentration=concentration, sources=["bids::a.nii"]
        )
        anat = tmp_path / "sub-01" / "anat"
        for name, array in (
            ("dR2map", change.value),
            ("desc-stderr_dR2map", change.stderr),
            ("desc-dR2_concentrationmap", concentration.value),
            ("desc-dR2stderr_concentrationmap", concentration.stderr),
        ):
            path = anat / f"sub-01_{name}.nii.gz"
            assert path in written
            np.testing.assert_allclose(nib.load(path).get_fdata(), array, rtol=1e-6)
        sidecar = json.loads((anat / "sub-01_dR2map.json").read_text("utf-8"))
        assert sidecar["Units"] == "1/s"
        assert sidecar["Sources"] == ["bids::a.nii"]
        sidecar = json.loads((anat / "sub-01_desc-dR2_concentrationmap.json").read_text("utf-8"))
        assert (sidecar["Units"], sidecar["Relaxivity"]) == ("mM", 60)
        assert sidecar["RelaxivityStandardError"] == 6
        ignored = (tmp_path / ".bidsignore").read_text("utf-8").split()
        assert ignored == ["*_dR2map.*", "*_concentrationmap.*"]

    def test_status_says_which(self, tmp_path):
        nib = pytest.importorskip("nibabel")
        mask = np.ones((10, 10, 1), dtype=bool)
        mask[0] = False
        other = mask.copy()
        other[:2] = False
        found = rx.rate_change(maps(20.0, fit={"mask": mask}), maps(30.0, fit={"mask": other}))
        rx.write_rate_change(found, tmp_path)
        path = tmp_path / "sub-01" / "anat" / "sub-01_desc-status_dR2map.nii.gz"
        status = np.asarray(nib.load(path).dataobj)
        assert [int(status[x, 0, 0]) for x in range(3)] == [3, 2, 0]

    def test_nothing_is_written_where_it_is_refused(self, change, tmp_path):
        other = rx.rate_change(change.pre, change.post).concentration(60.0)
        with pytest.raises(rx.InputError, match="of another change"):
            rx.write_rate_change(change, tmp_path / "a", concentration=other)
        with pytest.raises(rx.InputError, match="letters and digits"):
            rx.write_rate_change(change, tmp_path / "a", subject="../x")
        assert not (tmp_path / "a").exists()


class TestSignalOnly:
    def test_by_hand(self):
        found = rx.signal_only_dR2([[100.0, 80.0]], [[50.0, 80.0]], 0.02, sigma=2.0)
        # Far above the floor A² = M² − σ².
        by_hand = math.log(math.sqrt((100**2 - 4) / (50**2 - 4))) / 0.02
        assert found.value[0, 0] == pytest.approx(by_hand, rel=1e-5)
        assert found.value[0, 1] == 0
        assert found.stderr[0, 0] == pytest.approx(math.hypot(2 / 100, 2 / 50) / 0.02, rel=2e-3)
        bare = rx.signal_only_dR2([100.0], [50.0], 0.02)
        assert bare.value[0] == pytest.approx(math.log(2) / 0.02)

    @pytest.mark.parametrize("coils", [1, 8, 32])
    def test_the_floor_of_all_coils_is_taken_off(self, coils):
        """ΔR2 = 25.6 s⁻¹ down to a signal of 6σ: unbiased over 60 seeds, errors as they scatter."""
        rng = np.random.default_rng(20 + coils)
        values, stderrs = [], []
        for _ in range(60):
            pre, post = (magnitudes(A, 1.0, coils, 100, rng) for A in (6 * math.exp(0.512), 6.0))
            found = rx.signal_only_dR2(pre, post, 0.02, sigma=1.0, coils=coils)
            region = found.region(np.ones(100, bool))
            values.append(region.value)
            stderrs.append(region.stderr)
        assert np.mean(values) == pytest.approx(25.6, abs=4 * np.std(values) / math.sqrt(60))
        assert np.mean(stderrs) == pytest.approx(np.std(values), rel=0.3)
        assert found.coils == coils
        told = any("mean signal after by" in note for note in region.notes)
        assert told == (coils > 1)

    @pytest.mark.parametrize("coils", [1, 8, 32])
    def test_air_is_at_the_floor_with_any_coils(self, coils):
        rng = np.random.default_rng(coils)
        pre, post = (magnitudes(A, 1.0, coils, 200, rng) for A in (30.0, 0.0))
        found = rx.signal_only_dR2(pre, post, 0.02, sigma=1.0, coils=coils)
        assert found.counts["determined"] <= 4
        region = found.region(np.ones(200, bool))
        assert math.isnan(region.value)
        assert any("after is at the floor of the noise" in note for note in region.notes)
        # A floor that leaves room: 10 of its σ above it.
        lifted = np.full(200, rician_mean(10.0, 1.0, coils))
        sure = rx.signal_only_dR2(pre, lifted, 0.02, sigma=1.0, coils=coils)
        assert sure.region(np.ones(200, bool)).value == pytest.approx(math.log(3) / 0.02, rel=0.02)

    def test_two_sigmas(self):
        found = rx.signal_only_dR2([100.0], [50.0], 0.02, sigma=(2.0, 1.0))
        assert found.stderr[0] == pytest.approx(math.hypot(2 / 100, 1 / 50) / 0.02, rel=2e-3)

    def test_what_is_not_determined(self):
        pre = np.array([100.0, 0, np.nan, 100, 5, 100])
        post = np.array([50.0, 50, 50, -1, 50, 5])
        found = rx.signal_only_dR2(pre, post, 0.02, sigma=2.0)
        assert np.isfinite(found.value).tolist() == [True] + 5 * [False]
        assert np.isnan(found.stderr[1:]).all()
        assert found.counts == {
            "determined": 1,
            "before: signal not finite": 1,
            "before: signal not above 0": 1,
            "before: signal at the floor of the noise": 1,
            "after: signal not above 0": 1,
            "after: signal at the floor of the noise": 1,
        }

    def test_without_sigma_there_is_no_error_and_it_says_so(self):
        found = rx.signal_only_dR2([100.0], [50.0], 0.02)
        assert np.isnan(found.stderr).all()
        assert any("σ is not given" in note for note in found.notes)
        assert any("not judged" in note for note in found.notes)

    def test_size_of_the_effect_of_T1(self):
        """A pure change of T1 at TR = 2 s is all that is measured, and the effect is all of it."""
        f = [1 - math.exp(-2 / 2), 1 - math.exp(-2 / 1)]
        found = rx.signal_only_dR2(
            [100 * f[0]], [100 * f[1]], 0.02, TR=2.0, T1_pre=2.0, T1_post=1.0
        )
        assert found.T1_effect[0] == pytest.approx(math.log(f[0] / f[1]) / 0.02)
        assert found.value[0] == pytest.approx(found.T1_effect[0])
        assert found.value[0] < 0
        assert any("not taken off" in note for note in found.notes)

    def test_coverage_of_a_region(self):
        """95 % of intervals over 200 seeds: uneven tissue, alike in both, does not widen them."""
        rng = np.random.default_rng(11)
        tissue = 100 * (1 + 0.3 * rng.random((8, 8)))
        held, widths = 0, []
        for _ in range(200):
            noise = rng.normal(0, 2, (2, 2, 8, 8))
            pre, post = (
                np.hypot(tissue * k + n[0], n[1]) for k, n in zip((1, 0.5), noise, strict=True)
            )
            found = rx.signal_only_dR2(pre, post, 0.02, sigma=2.0).region(np.ones((8, 8), bool))
            held += abs(found.value - math.log(2) / 0.02) < 2.0 * found.stderr
            widths.append(found.stderr)
        assert 0.90 <= held / 200 <= 0.99
        assert np.mean(widths) == pytest.approx(math.hypot(2 / 115, 2 / 57.5) / 8 / 0.02, rel=0.05)

    def test_row_names_it_everywhere(self):
        found = rx.signal_only_dR2(np.full(4, 100.0), np.full(4, 50.0), 0.02, sigma=2.0)
        row = found.region(np.ones(4, bool), "liver").row()
        assert all("signal_only" in key for key in row if "dR2" in key)
        assert row["dR2_signal_only_per_s"] == pytest.approx(math.log(2) / 0.02, rel=1e-3)
        assert row["n_determined"] == 4

    def test_region_of_one_voxel_has_the_error_of_sigma(self):
        region = rx.signal_only_dR2([100.0], [50.0], 0.02, sigma=2.0).region(np.ones(1, bool))
        assert region.stderr == pytest.approx(math.hypot(2 / 100, 2 / 50) / 0.02, rel=0.01)
        bare = rx.signal_only_dR2([100.0], [50.0], 0.02).region(np.ones(1, bool))
        assert math.isnan(bare.stderr)

    @pytest.mark.parametrize(
        ("post", "sigma", "why"),
        [
            ([-1.0, -2.0], None, "after is not above 0"),
            ([3.0, 4.0], 2.0, "after is at the floor of the noise"),
            ([np.nan, np.nan], None, "no voxel has a finite signal"),
        ],
    )
    def test_a_region_that_is_not_determined(self, post, sigma, why):
        found = rx.signal_only_dR2([100.0, 100.0], post, 0.02, sigma=sigma)
        region = found.region(np.ones(2, bool))
        assert math.isnan(region.value)
        assert math.isnan(region.stderr)
        assert any(why in note for note in region.notes)

    @pytest.mark.parametrize(
        ("options", "complaint"),
        [
            ({"TE": 20}, "TE: 20 s is too much; expected seconds"),
            ({"TE": 0.0}, "TE: 0.0; expected a time in s"),
            ({"TE": "20 ms"}, "TE: '20 ms'"),
            ({"sigma": -1.0}, "sigma: -1.0"),
            ({"coils": 0}, "coils: 0 coils"),
            ({"coils": math.nan}, "coils: nan coils"),
            ({"sigma": (1.0,)}, "one, or before and after"),
            ({"TR": 2.0}, "T1_pre: missing"),
            ({"T1_pre": 2.0, "T1_post": 1.0}, "TR: missing"),
            ({"TR": 2.0, "T1_pre": 2.0, "T1_post": 0.0}, "T1_post: not above 0"),
            ({"TR": 2.0, "T1_pre": [1.0, 2.0], "T1_post": 1.0}, "T1_pre: shape"),
            ({"post": [1.0, 2.0]}, "one grid"),
        ],
    )
    def test_refusals(self, options, complaint):
        with pytest.raises(rx.InputError, match=complaint):
            rx.signal_only_dR2(**({"pre": [100.0], "post": [50.0], "TE": 0.02} | options))
