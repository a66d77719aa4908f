"""Simulated mice: the equations by hand, images against the truth, and what goes wrong in them."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import relaxometry as rx
from relaxometry import animals, bids, nifti
from relaxometry.animals import REGIONS, Mouse, mice, truth, typical_mouse
from relaxometry.animalscans import (
    InVivo,
    Session,
    centre_labels,
    mese,
    t1_vtr,
    t2_weighted,
    tumour,
)
from relaxometry.noise import air_factors
from relaxometry.sample import write_study
from relaxometry.simulate import AGENTS

SIGMA = 3200 / 150


@pytest.fixture(scope="module")
def mouse() -> Mouse:
    return typical_mouse()


@pytest.fixture(scope="module")
def scanned(mouse: Mouse) -> InVivo:
    return t2_weighted(mouse, 0)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("mice") / "study", "liver-7T", seed=2).parent


def spine(found: InVivo) -> np.ndarray:
    """(2,) centre in voxels of the bright spine in the lower half of the centre slice."""
    image = found.images[40:56, 62:80, 1, 0].astype(float)
    at = np.argwhere(image > 0.75 * image.max())
    return at.mean(axis=0) + np.array([40, 62])


class TestTruth:
    def test_uptake_by_hand(self, mouse):
        """√(t/60·exp(1 − t/60)) of the peak: 0.62, 0.91, 1 and 0.86."""
        share = [mouse.concentration_mM("liver", t) / 0.048 for t in (0, 10, 30, 60, 120)]
        assert share == pytest.approx([0, 0.61927, 0.90794, 1, 0.85776], abs=1e-5)
        assert mouse.concentration_mM("muscle", 60) == 0

    def test_rates_by_hand(self, mouse):
        assert mouse.rates("liver", 0) == pytest.approx((1 / 1.3, 1 / 0.034))
        assert mouse.rates("liver", 60) == pytest.approx(
            (1 / 1.3 + 1.5 * 0.048, 1 / 0.034 + 533.4 * 0.048)
        )
        assert mouse.rates("muscle", 60) == mouse.rates("muscle", 0)

    def test_signal_by_hand(self, mouse):
        # TE 40 ms, TR 3 s. Tumour: (1 − e^(−3/1.8))·e^(−40/56) = 0.811124·0.489542.
        assert mouse.signal("tumour", 0) == pytest.approx([0.397079], rel=1e-5)
        # Liver: 0.95·(1 − e^(−3/1.3))·e^(−40/34) = 0.95·0.900524·0.308365.
        assert mouse.signal("liver", 0) == pytest.approx([0.263801], rel=1e-5)
        assert mouse.signal("liver", 0, mouse.scan.T2)[9] == pytest.approx(
            0.95 * (1 - np.exp(-3 / 1.3)) * np.exp(-60 / 34)
        )

    def test_the_table_says_what_the_equations_say(self, mouse):
        table = truth([mouse]).set_index(["time_min", "region"])
        assert len(table) == 5 * 3
        liver = table.loc[60, "liver"]
        assert liver.concentration_mM == pytest.approx(0.048)
        assert liver.dR2_per_s == pytest.approx(25.6032)
        assert liver.dR1_per_s == pytest.approx(0.072)
        assert liver.dR2_dR1 == pytest.approx(533.4 / 1.5)
        snr = table.loc[0, "tumour"].SNR
        assert snr == pytest.approx(150 * 0.397079, rel=1e-5)
        before = 1 - 0.263801 / 0.397079
        assert table.loc[0, "liver"].CNR_relative == pytest.approx(before, rel=1e-4)
        tumour_, after = (table.loc[60, name].signal for name in ("tumour", "liver"))
        assert liver.CNR_relative == pytest.approx(1 - after / tumour_)
        assert liver.dCNR == pytest.approx((1 - after / tumour_) / before - 1, rel=1e-4)
        assert liver.dSNR_signed == pytest.approx(after / 0.263801 - 1, rel=1e-4)
        unknown = table[["CNR_relative", "dCNR"]].isna().all(axis=1)
        assert set(table.index[unknown].get_level_values("region")) == {"tumour"}
        assert table.dR2_dR1.isna()[0].all()
        assert table.dR2_dR1.isna()[60, "muscle"]
        assert list(truth([mouse], times_min=[45]).time_min.unique()) == [0, 45]

    def test_animals_scatter_as_stated(self):
        many = mice(400, seed=3)
        uptake = np.array([m.concentration_mM("liver", 60) for m in many])
        assert uptake.mean() == pytest.approx(0.048, rel=0.015)
        # A normal distribution with its tails beyond 2 SD put at 2 SD has 0.96 of the SD.
        assert uptake.std() / uptake.mean() == pytest.approx(0.96 * 0.08, rel=0.12)
        assert np.ptp(uptake) <= 4.01 * 0.08 * 0.048
        T2 = np.array([1 / m.tissue("liver").R2 for m in many])
        assert T2.std() / T2.mean() == pytest.approx(0.96 * 0.02, rel=0.12)
        assert abs(np.corrcoef(T2, uptake)[0, 1]) < 0.15
        assert mice(3, seed=3) == many[:3]
        assert mice(3, seed=4) != many[:3]

    def test_another_agent(self):
        (one,) = mice(1, agent=AGENTS[0])
        _, before = one.rates("liver", 0)
        _, after = one.rates("liver", 60)
        assert after - before == pytest.approx(70.2 * one.concentration_mM("liver", 60))
        assert "IO-5" in repr(one)

    def test_what_there_is_not(self, mouse):
        with pytest.raises(rx.InputError, match="tissue: no tissue 'kidney'"):
            mouse.rates("kidney", 0)
        with pytest.raises(rx.InputError, match="time_min: -1 min"):
            mouse.rates("liver", -1)
        with pytest.raises(rx.InputError, match="no protocol '9T'; expected liver-7T"):
            typical_mouse("9T")
        for n in (0, 2.5):
            with pytest.raises(rx.InputError, match="a whole number from 1"):
                mice(n)


class TestRegions:
    def test_lie_inside_their_tissue(self):
        """In every mouse and slice no voxel of a region holds anything else."""
        for mouse in (typical_mouse(), *mice(5, seed=1)):
            shares = dict(zip((t.name for t in mouse.tissues), mouse.shares(), strict=True))
            for name in ("tumour", "liver", "muscle"):
                region = mouse.labels == REGIONS[name]
                assert region.any(axis=(0, 1)).all()
                assert shares[name][region].min() == pytest.approx(1)
            air = mouse.labels == REGIONS["air"]
            assert air.sum(axis=(0, 1)).tolist() == [512] * 3
            assert sum(shares.values())[air].max() == 0

    def test_have_the_area_of_their_ellipses(self, mouse):
        for name, (a, b), n in (
            ("tumour", (2.5, 2.3), 1),
            ("liver", (3, 3), 1),
            ("muscle", (1.8, 1.5), 2),
        ):
            area = (mouse.labels[..., 1] == REGIONS[name]).sum() * 0.3**2
            assert area == pytest.approx(n * np.pi * a * b, rel=0.03)

    def test_shares_fill_the_body_and_no_more(self, mouse):
        total = mouse.shares().sum(axis=0)
        assert (total.min(), total.max()) == pytest.approx((0, 1))
        assert total[..., 1].sum() * 0.3**2 == pytest.approx(np.pi * 12.6 * 10.2, rel=1e-3)

    def test_slices_differ(self, mouse):
        assert len({mouse.labels[..., z].tobytes() for z in range(3)}) == 3


class TestImages:
    def test_are_as_a_scanner_writes_them(self, scanned):
        assert scanned.images.shape == (96, 96, 3, 5)
        assert scanned.images.dtype == np.int16
        assert scanned.times_min == (0, 10, 30, 60, 120)
        assert 0 <= scanned.images.min() <= scanned.images.max() < 4095
        np.testing.assert_allclose(scanned.affine @ [47.5, 47.5, 1, 1], [0, 0, 0, 1], atol=1e-12)
        assert "mouse 0, 96×96×3, T2-weighted before and 10, 30, 60, 120 min" in repr(scanned)

    def test_means_are_those_of_the_truth(self):
        """Each mean is known to σ/√n; a magnitude lies higher by σ²/2A."""
        for mouse in mice(2, seed=7):
            found = t2_weighted(mouse, 7)
            for row in truth([mouse]).itertuples():
                image = found.images[..., found.times_min.index(row.time_min)]
                values = image[found.region(row.region)]
                A = 3200 * row.signal
                expected = A + SIGMA**2 / (2 * A)
                assert abs(values.mean() - expected) < 4 * SIGMA / np.sqrt(values.size)
                assert values.std() == pytest.approx(SIGMA, rel=0.15)

    def test_air_is_rayleigh(self, scanned):
        mean, sd = air_factors()
        air = scanned.images[scanned.region("air")]
        assert air.mean() == pytest.approx(mean * SIGMA, rel=0.02)
        assert air.std() == pytest.approx(sd * SIGMA, rel=0.03)
        assert scanned.sigma == pytest.approx(SIGMA)

    def test_one_pair_knows_the_change_of_cnr_to_2_percent(self, mouse):
        """In each of 60. Over 1200 of six mice: SD 0.4 to 0.5 %, largest error 1.5 %."""
        known = truth([mouse], times_min=[60]).set_index(["time_min", "region"])
        dCNR = known.loc[(60, "liver"), "dCNR"]
        errors = []
        for seed in range(60):
            pre, post, regions, _ = tumour(seed)
            pair = rx.measure_contrast(pre, post, regions, target=1, reference=2, noise=3)
            errors.append(pair.mean("dCNR") / dCNR - 1)
        assert np.abs(errors).max() < 0.02
        assert np.mean(errors) == pytest.approx(0, abs=0.003)

    def test_the_liver_stays_above_the_noise(self):
        """10 σ at the peak in every mouse that can be: uptake and R2 at + 2 SD."""
        assert min(truth(mice(60, seed=1), times_min=[60]).SNR) > 10

    def test_noise_is_of_its_own_by_seed_mouse_and_time(self, mouse, scanned):
        again, other = t2_weighted(mouse, 0), t2_weighted(mouse, 1)
        assert np.array_equal(scanned.images, again.images)
        neighbour = t2_weighted(replace(mouse, number=1), 0)
        air = scanned.region("air")
        first = scanned.pre[air]
        for another in (other.pre, neighbour.pre, scanned.post(10)):
            assert abs(np.corrcoef(first, another[air])[0, 1]) < 0.1
        one = t2_weighted(mouse, 0, times_min=[60])
        assert np.array_equal(one.post(60), scanned.post(60))

    def test_what_cannot_be(self, mouse, scanned):
        with pytest.raises(rx.InputError, match="no image at 45 min; expected 10, 30, 60, 120"):
            scanned.post(45)
        with pytest.raises(rx.InputError, match="no region 'kidney'"):
            scanned.region("kidney")
        with pytest.raises(rx.InputError, match="snr: 0"):
            t2_weighted(mouse, 0, snr=0)
        with pytest.raises(rx.InputError, match="times_min"):
            t2_weighted(mouse, 0, times_min=[0])


class TestSessions:
    def one(self, mouse: Mouse, **session: object) -> InVivo:
        return t2_weighted(mouse, 0, snr=1e6, times_min=[60], before=Session(**session))

    def test_shift_and_rotation_move_the_animal_and_not_the_regions(self, mouse):
        still = self.one(mouse)
        moved = self.one(mouse, shift_mm=(0.6, -0.3))
        assert spine(moved) - spine(still) == pytest.approx([2, -1], abs=0.1)
        assert np.array_equal(moved.labels, still.labels)
        assert np.array_equal(moved.post(60), still.post(60))
        # The spine lies 7 mm below the middle: turned from +x to +y by 5° it goes to −x.
        turned = self.one(mouse, rotation_deg=5)
        expected = 7 / 0.3 * np.array([-np.sin(np.radians(5)), np.cos(np.radians(5)) - 1])
        assert spine(turned) - spine(still) == pytest.approx(expected, abs=0.1)

    def test_a_whole_voxel_is_a_shift_of_the_image(self, mouse):
        still, moved = self.one(mouse), self.one(mouse, shift_mm=(0.3, 0))
        expected = np.roll(still.pre, 1, axis=0).astype(int)
        assert np.abs(moved.pre - expected).max() <= 3200 / 64 / 2  # one of 64 parts of a voxel

    def test_gain_scales_signal_and_noise(self, mouse):
        found = t2_weighted(mouse, 0, after=Session(gain=1.5), times_min=[60])
        usual = t2_weighted(mouse, 0, times_min=[60])
        np.testing.assert_allclose(found.post(60), 1.5 * usual.post(60), atol=1.3)

    def test_ghost(self, mouse):
        still, found = self.one(mouse), self.one(mouse, ghost=0.1)
        expected = still.pre + 0.1 * np.roll(still.pre, 48, axis=1)
        np.testing.assert_allclose(found.pre, expected, atol=1.5)

    def test_bias(self, mouse):
        still, found = self.one(mouse), self.one(mouse, bias=0.2)
        inside = still.pre > 100
        factor = (found.pre / np.maximum(still.pre, 1))[:, :, 1]
        rows = np.argwhere(inside[..., 1])
        y = (rows[:, 1] + 0.5) / 96 * 2 - 1
        np.testing.assert_allclose(factor[tuple(rows.T)], 1 - 0.2 * y, atol=0.02)

    def test_coils_raise_the_floor_and_keep_the_signal(self, mouse):
        found = t2_weighted(mouse, 0, times_min=[60], before=Session(coils=4))
        mean, sd = air_factors(4)
        air = found.pre[found.region("air")]
        assert air.mean() == pytest.approx(mean * SIGMA, rel=0.02)
        assert air.std() == pytest.approx(sd * SIGMA, rel=0.06)
        A = 3200 * 0.397079
        # A² + 2·4·σ² on average, so A + (2·4 − 1)·σ²/2A.
        expected = A + 7 * SIGMA**2 / (2 * A)
        assert found.pre[found.region("tumour")].mean() == pytest.approx(expected, abs=4)

    def test_masked(self, mouse):
        found = t2_weighted(mouse, 0, times_min=[60], before=Session(masked=True))
        assert (found.pre[found.region("air")] == 0).all()
        assert (found.post(60)[found.region("air")] > 0).any()
        usual = t2_weighted(mouse, 0, times_min=[60])
        liver = found.region("liver")
        assert np.array_equal(found.pre[liver], usual.pre[liver])

    @pytest.mark.parametrize(
        "wrong",
        [
            {"shift_mm": (np.nan, 0)},
            {"shift_mm": (1, 2, 3)},
            {"rotation_deg": np.inf},
            {"gain": 0},
            {"ghost": 1},
            {"ghost": -0.1},
            {"coils": 0},
            {"coils": 1.5},
            {"bias": 1},
        ],
    )
    def test_what_cannot_be(self, wrong):
        with pytest.raises(rx.InputError, match=next(iter(wrong))):
            Session(**wrong)


class TestSeries:
    def test_are_of_the_centre_slice(self, mouse):
        T2, T1 = mese(mouse, 0, 0), t1_vtr(mouse, 0, 0)
        assert (T2.kind, T1.kind, T2.grid, T1.grid) == ("MESE", "VTR", (96, 96, 1), (96, 96, 1))
        assert T2.field_T == 7
        assert not T2.signed
        np.testing.assert_allclose(T2.protocol.TE, np.arange(6, 61, 6) / 1e3)
        np.testing.assert_allclose(T2.affine @ [0, 0, 0, 1], mouse.affine @ [0, 0, 1, 1])
        assert np.array_equal(centre_labels(mouse)[..., 0], mouse.labels[..., 1])
        for series in (T2, T1):
            assert (series.signal == np.rint(series.signal)).all()
            assert 2000 < series.signal.max() < 4095

    def test_rates_come_back(self):
        """Of each region's mean signal: ΔR2 of the liver to 2 %, ΔR1 to 8 %, and so c = ΔR/r."""
        (mouse,) = mice(1, seed=5)
        labels = centre_labels(mouse)
        rates = {}
        for time in (0, 60):
            T2, T1 = mese(mouse, time, 5), t1_vtr(mouse, time, 5)
            for name in ("tumour", "liver", "muscle"):
                means = [s.signal[labels == REGIONS[name]].mean(axis=0) for s in (T1, T2)]
                rates[time, name] = (
                    1 / rx.fit_curve(T1.protocol.TR, means[0], "t1_sr")["T1"].value,
                    1 / rx.fit_curve(T2.protocol.TE, means[1], "t2")["T2"].value,
                )
                expected = mouse.rates(name, time)
                assert rates[time, name] == pytest.approx(expected, rel=0.015)
        dR1, dR2 = np.subtract(rates[60, "liver"], rates[0, "liver"])
        c = mouse.concentration_mM("liver", 60)
        assert dR2 / 533.4 == pytest.approx(c, rel=0.02)
        assert dR1 / 1.5 == pytest.approx(c, rel=0.08)

    def test_noise_differs_by_series_and_time(self, mouse):
        air = centre_labels(mouse)[..., 0] == REGIONS["air"]
        images = [s(mouse, t, 0).signal[air, 0, 0] for s in (mese, t1_vtr) for t in (0, 60)]
        assert np.abs(np.corrcoef(images) - np.eye(4)).max() < 0.2
        assert np.array_equal(images[0], mese(mouse, 0, 0).signal[air, 0, 0])


class TestStudy:
    def test_every_file_that_is_named_is_there(self, study):
        toml = tomllib.loads((study / "study.toml").read_text(encoding="utf-8"))
        assert toml["study"]["field_T"] == 7
        assert [c["animal"] for c in toml["contrast"]] == ["1", "2", "3", "4", "5"]
        for pair in toml["contrast"]:
            files = [pair["pre"], *pair["post"], pair["regions"], pair["names"]]
            assert [file for file in files if not (study / file).is_file()] == []
            assert pair["times"] == ["10 min", "30 min", "60 min", "120 min"]
            assert len(pair["post"]) == 4
            assert {pair[k] for k in ("target", "reference", "noise", "muscle")} == set(REGIONS)
        first = toml["contrast"][0]
        assert (first["r1_per_mM_per_s"], first["r2_per_mM_per_s"]) == (1.5, 533.4)
        series = [first["T2_pre"], *first["T2_post"], first["T1_pre"], *first["T1_post"]]
        assert [folder for folder in series if not (study / folder).is_dir()] == []
        assert first["rate_times"] == ["60 min"]

    def test_images_are_the_simulated_ones(self, study):
        for mouse in mice(5, seed=2):
            folder, known = study / f"mouse{mouse.number}", t2_weighted(mouse, 2)
            expected = {"pre": known.pre, "regions": known.labels}
            expected |= {f"post_{t:03.0f}min": known.post(t) for t in known.times_min[1:]}
            assert {p.name for p in folder.glob("*.nii.gz")} == {f"{n}.nii.gz" for n in expected}
            for name, image in expected.items():
                written, affine = nifti.read_volume(folder / f"{name}.nii.gz")
                assert np.array_equal(written, image)
                np.testing.assert_allclose(affine, mouse.affine, atol=1e-5)

    def test_series_are_read_back(self, study):
        mouse = mice(1, seed=2)[0]
        for name, simulated in (("t2", mese), ("t1", t1_vtr)):
            for when, time in (("pre", 0), ("post", 60)):
                known, read = simulated(mouse, time, 2), rx.read(study / f"mouse1/{name}_{when}")
                assert read.kind == known.kind
                assert np.array_equal(read.signal, known.signal)
                np.testing.assert_allclose(read.protocol.times, known.protocol.times)
                np.testing.assert_allclose(read.protocol.TR, known.protocol.TR)
                np.testing.assert_allclose(read.affine, known.affine, atol=1e-5)
                assert (read.field_T, read.sequence, read.signed) == (7, "SE", False)

    def test_truth_and_names(self, study):
        written = pd.read_csv(study / "truth.csv")
        known = truth(mice(5, seed=2))
        pd.testing.assert_frame_equal(written, known, check_dtype=False, rtol=1e-8)
        names = pd.read_csv(study / "regions.csv")
        assert dict(zip(names["name"], names.label, strict=True)) == dict(REGIONS)

    def test_images_alone_want_a_label_that_bids_allows(self, mouse, tmp_path):
        with pytest.raises(rx.InputError, match="subject: 'mouse 1'"):
            bids.write_images(mese(mouse, 0, 0), tmp_path / "t2", subject="mouse 1")
        assert list(tmp_path.iterdir()) == []

    def test_the_readme_says_what_was_simulated(self, study):
        said = (study / "README.txt").read_text(encoding="utf-8")
        assert "5 mice with a tumour in the liver at 7 T, before and 10, 30, 60, 120 min" in said
        assert "S0/sigma = 150,\nseed 2" in said
        assert "1 tumour, 2 liver, 3 air, 4 muscle" in said

    def test_protocols_are_those_of_tubes_and_mice(self, tmp_path):
        with pytest.raises(rx.InputError, match=r"'9T'; expected seed-7T, .*, liver-7T"):
            write_study(tmp_path / "study", "9T")
        assert set(animals.SCANS) == {"liver-7T"}
