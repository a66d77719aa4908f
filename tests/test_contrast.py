"""SNR, CNR and their changes, by hand arithmetic."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import numpy as np
import pytest

import relaxometry as rx
from relaxometry.animalscans import tumour
from relaxometry.contrastformulas import (
    change,
    cnr_relative,
    cnr_usual,
    relative_enhancement,
    snr_of,
    target_to_muscle,
)
from relaxometry.noiselevel import measure_noise

# One row: target (mean 40), reference (mean 30), noise (1, 3, 5: SD 2).
REGIONS = np.array([[1, 1, 2, 2, 3, 3, 3]])
PRE = np.array([[38.0, 42, 30, 30, 1, 3, 5]])
POST = np.array([[40.0, 40, 9, 11, 1, 3, 5]])
LABELS = {"target": 1, "reference": 2, "noise": 3}


def measure(pre=PRE, post=POST, regions=REGIONS, **options):
    return rx.measure_contrast(pre, post, regions, **(LABELS | options))


def stack(*slices):
    return np.stack(slices, axis=-1)


class TestSnr:
    def test_mean_over_sd_of_air(self):
        assert rx.snr(PRE, REGIONS == 1, REGIONS == 3) == pytest.approx(40 / 2)

    def test_rayleigh_divides_the_sd_first(self):
        found = rx.snr(PRE, REGIONS == 1, REGIONS == 3, "rayleigh")
        assert found == pytest.approx(20 * 0.6551363776, rel=1e-9)

    def test_of_simulated_noise_is_the_true_one(self):
        """Magnitude noise in air: σ = SD/0.6551, so that SNR = A/σ."""
        rng = np.random.default_rng(1)
        real, imaginary = rng.normal(0, 5, (2, 400, 400))
        image = np.hypot(real + np.where(np.arange(400) < 200, 0, 100.0), imaginary)
        tissue = np.broadcast_to(np.arange(400) >= 200, image.shape)
        assert rx.snr(image, tissue, ~tissue, "rayleigh") == pytest.approx(20, rel=0.01)

    @pytest.mark.parametrize(
        ("image", "region", "noise", "complaint"),
        [
            (PRE, REGIONS == 9, REGIONS == 3, "signal region: 0 voxels"),
            (PRE, REGIONS == 1, REGIONS == 9, "noise region: 0 voxels"),
            (PRE, REGIONS == 1, REGIONS == 2, "air: every voxel is 30: the scanner has set"),
            (np.where(REGIONS == 1, np.nan, PRE), REGIONS == 1, REGIONS == 3, "signal region: NaN"),
            (np.where(REGIONS == 3, np.inf, PRE), REGIONS == 1, REGIONS == 3, "noise region: NaN"),
            (PRE, (REGIONS == 1)[0], REGIONS == 3, r"signal region: shape \(7,\)"),
        ],
    )
    def test_what_has_none(self, image, region, noise, complaint):
        with pytest.raises(rx.InputError, match=complaint):
            rx.snr(image, region, noise)

    def test_a_method_there_is_none(self):
        with pytest.raises(rx.InputError, match="'rice'; expected sd or rayleigh"):
            rx.snr(PRE, REGIONS == 1, REGIONS == 3, "rice")


class TestContrast:
    # SNR pre 20 and 15, post 20 and 5; CNR pre 0.25, post 0.75.
    BY_HAND = {  # noqa: RUF012
        "SNR_target_pre": 20.0,
        "SNR_target_post": 20.0,
        "SNR_reference_pre": 15.0,
        "SNR_reference_post": 5.0,
        "CNR_relative_pre": 0.25,
        "CNR_relative_post": 0.75,
        "dCNR": 2.0,
        "dCNR_signed": 2.0,
        "dSNR_target": 0.0,
        "dSNR_target_signed": 0.0,
        "dSNR_reference": 2 / 3,
        "dSNR_reference_signed": -2 / 3,
    }

    def test_by_hand(self):
        row = measure(name="C3, axial").row()
        assert {key: row[key] for key in self.BY_HAND} == pytest.approx(self.BY_HAND)
        assert (row["name"], row["noise_method"], row["n_slices"]) == ("C3, axial", "sd", 1)
        assert not [key for key in row if key.endswith("_sd")]

    def test_rayleigh_scales_each_snr_and_no_ratio(self):
        plain, rayleigh = measure(), measure(noise_method="rayleigh")
        for key in self.BY_HAND:
            factor = 0.6551363776 if key.startswith("SNR") else 1
            assert rayleigh.mean(key) == pytest.approx(factor * plain.mean(key), rel=1e-9)

    def test_slices_are_paired_with_themselves(self):
        # The second slice twice as bright before: its reference falls by 5/6, not by 2/3.
        bright = np.where(REGIONS == 3, PRE, 2 * PRE)
        found = measure(stack(PRE, bright), stack(POST, POST), stack(REGIONS, REGIONS))
        assert found.n_slices == 2
        np.testing.assert_allclose(found.slices["dSNR_reference"], [2 / 3, 5 / 6])
        assert found.mean("dSNR_reference") == pytest.approx(0.75)
        assert found.row()["dSNR_reference_sd"] == pytest.approx((1 / 6) / np.sqrt(2))
        assert found.row()["SNR_target_pre"] == pytest.approx(30)

    def test_slices_without_all_three_regions_do_not_count(self):
        no_noise = np.where(REGIONS == 3, 0, REGIONS)
        found = measure(stack(PRE, PRE), stack(POST, POST), stack(REGIONS, no_noise))
        assert found.n_slices == 1
        apart = stack(np.where(REGIONS == 3, 0, REGIONS), np.where(REGIONS == 3, 3, 0))
        with pytest.raises(rx.InputError, match="no slice has all regions"):
            measure(stack(PRE, PRE), stack(POST, POST), apart)

    @pytest.mark.parametrize(
        ("pre", "post", "complaint"),
        [
            (np.where(REGIONS == 1, 0, PRE), POST, "SNR of the target is 0"),
            (
                np.where(REGIONS == 2, 0, PRE),
                POST,
                r"signal of reference \(2\) before injection is 0",
            ),
            (
                np.where(REGIONS == 2, 40, PRE),
                POST,
                r"CNR_relative of target \(1\) and reference \(2\) before injection is 0",
            ),
            (PRE, np.where(REGIONS == 1, 0, POST), "SNR of the target is 0"),
            (np.where(REGIONS == 3, 0, PRE), POST, "noise before: every voxel is 0: the scanner"),
        ],
    )
    def test_a_division_by_zero_names_what_is_zero(self, pre, post, complaint):
        with pytest.raises(rx.InputError, match=complaint):
            measure(pre, post)

    @pytest.mark.parametrize(
        ("options", "complaint"),
        [
            ({"target": 4}, "region target: no voxel has label 4"),
            ({"noise": 9}, "region noise: no voxel has label 9"),
            ({"post": POST[:, :6]}, r"post \(1, 6, 1\).*expected one grid"),
            ({"regions": REGIONS.T}, "expected one grid"),
            ({"noise_method": "rice"}, "noise_method: 'rice'"),
        ],
    )
    def test_what_cannot_be_measured(self, options, complaint):
        with pytest.raises(rx.InputError, match=complaint):
            measure(**options)

    def test_the_simulated_tumour(self):
        """The liver falls by exp(−0.040·533.4·0.048) = 0.359 and gains 2 % by its shorter T1."""
        pre, post, regions, _ = tumour(0)
        found = measure(pre, post, regions, noise_method="rayleigh", name="liver")
        recovered = np.expm1(-3 * (1 / 1.3 + 1.5 * 0.048)) / np.expm1(-3 / 1.3)
        fall = np.exp(-0.040 * 533.4 * 0.048) * recovered - 1
        # Three slices of 512 voxels of air know each σ to 2 %.
        assert found.mean("SNR_target_pre") == pytest.approx(59.56, rel=0.06)
        assert found.mean("dSNR_reference_signed") == pytest.approx(fall, abs=0.03)
        assert found.mean("dSNR_target_signed") == pytest.approx(-0.02, abs=0.09)
        # The noise cancels from a relative CNR, and with it the error of σ.
        assert found.mean("dCNR_signed") == pytest.approx(1.2384, rel=0.02)
        told = {name: 100 * found.mean(f"dSNR_{name}_signed") for name in ("target", "reference")}
        assert (
            f"liver: target SNR {told['target']:+.1f} %, reference SNR {told['reference']:+.1f} %, "
            in repr(found)
        )


def test_parts_by_hand():
    assert cnr_relative(20, 15).value == pytest.approx(0.25)
    assert cnr_relative(15, 20).value == pytest.approx(1 / 3)
    assert change(20, 15).value == pytest.approx(-0.25)
    assert change(-4, -5).value == pytest.approx(0.25)


class TestErrors:
    """Target 40 ± 1, reference 30 ± 2, noise 2 ± 0.1, by hand."""

    T, R, N = rx.Estimate(40.0, 1.0), rx.Estimate(30.0, 2.0), rx.Estimate(2.0, 0.1)

    def test_snr(self):
        found = snr_of(self.T, self.N)
        assert (found.value, found.stderr) == pytest.approx((20, 20 * np.hypot(1 / 40, 0.1 / 2)))

    def test_relative_cnr_has_no_part_of_the_noise(self):
        found = cnr_relative(self.T, self.R)
        assert found.value == pytest.approx(0.25)
        assert found.stderr == pytest.approx(0.75 * np.hypot(1 / 40, 2 / 30))

    def test_usual_cnr(self):
        found = cnr_usual(self.T, self.R, self.N)
        error = np.hypot(np.hypot(1, 2) / 2, 5 * 0.1 / 2)
        assert (found.value, found.stderr) == pytest.approx((5, error))

    def test_target_to_muscle(self):
        found = target_to_muscle(self.T, rx.Estimate(20.0, 0.5))
        error = 2 * np.hypot(1 / 40, 0.5 / 20)
        assert (found.value, found.stderr) == pytest.approx((2, error))

    def test_relative_enhancement_divides_by_the_scale(self):
        found = relative_enhancement(self.T, rx.Estimate(30.0, 1.0), rx.Estimate(1.25, 0.02))
        assert found.value == pytest.approx(24 / 40 - 1)
        error = 0.6 * np.sqrt((1 / 30) ** 2 + (0.02 / 1.25) ** 2 + (1 / 40) ** 2)
        assert found.stderr == pytest.approx(error)

    @pytest.mark.parametrize(
        ("call", "complaint"),
        [
            (lambda e: snr_of(e, rx.Estimate(0.0, 0.1)), "the noise is not above 0"),
            (lambda e: cnr_usual(e, e, rx.Estimate(-1.0, 0.1)), "the noise is not above 0"),
            (lambda e: target_to_muscle(e, rx.Estimate(0.0, 1.0)), "signal of the muscle is 0"),
            (lambda e: relative_enhancement(rx.Estimate(0.0, 1), e), "signal of the region before"),
        ],
    )
    def test_a_division_by_zero(self, call, complaint):
        with pytest.raises(rx.InputError, match=complaint):
            call(self.T)


class TestMoreThanThePapers:
    WITH_MUSCLE = np.array([[1, 1, 2, 2, 4, 4, 3, 3, 3]])
    BEFORE = np.array([[38.0, 42, 29, 31, 19, 21, 1, 3, 5]])
    AFTER = np.array([[40.0, 40, 9, 11, 24, 26, 1, 3, 5]])

    def found(self, **options):
        options = {"muscle": 4} | options
        return measure(self.BEFORE, self.AFTER, self.WITH_MUSCLE, **options)

    def test_by_hand(self):
        row = self.found().row()
        expected = {
            "S_target_pre": 40,
            "S_muscle_post": 25,
            "CNR_usual_pre": 10 / (2 / 0.6551363776),
            "CNR_usual_post": 30 / (2 / 0.6551363776),
            "dCNR_usual": 2,
            "TM_pre": 2,
            "TM_post": 1.6,
            "dTM": 0.2,
            "dTM_signed": -0.2,
            "RE_target": 0,
            "RE_reference": -2 / 3,
            "RE_muscle": 0.25,
            "dCNR_percent": 200,
            "dSNR_reference_signed_percent": -200 / 3,
            "RE_reference_percent": -200 / 3,
        }
        assert {key: row[key] for key in expected} == pytest.approx(expected)

    def test_the_scale_divides_enhancement_and_nothing_else(self):
        plain, scaled = self.found(), self.found(scale=rx.Estimate(1.25, 0.0))
        assert "RE_muscle" not in scaled.estimates
        assert scaled.mean("RE_reference") == pytest.approx(8 / 30 - 1)
        for key in plain.estimates:
            if not key.startswith("RE"):
                assert key in scaled.estimates
                assert scaled.mean(key) == plain.mean(key)

    def test_every_number_has_its_formula(self):
        formulas = self.found().formulas
        assert formulas["noise"] == "SD(air)"
        assert formulas["CNR_relative_pre"] == "|SNR(target) − SNR(reference)|/SNR(target)"
        assert formulas["dCNR_usual_signed"] == (
            "(CNR_usual(post) − CNR_usual(pre))/CNR_usual(pre)"
        )
        assert formulas["SNR_muscle_post"] == "S/noise"
        named = [key for key in self.found().estimates if not key.startswith("S_")]
        assert [key for key in named if not formulas.get(key)] == []

    def test_regions_by_name(self):
        names = {"tumour": 1, "liver": 2, "air": 3, "muscle": 4}
        regions = rx.Regions(self.WITH_MUSCLE[..., None], np.eye(4), names)
        by_name = measure(
            *(self.BEFORE, self.AFTER, regions),
            target="tumour", reference="liver", noise="air", muscle="muscle",
        )  # fmt: skip
        assert by_name.row() == self.found().row()
        with pytest.raises(rx.InputError, match="region reference: no region 'lung'; expected tum"):
            measure(self.BEFORE, self.AFTER, regions, reference="lung")

    def test_two_roles_of_one_region(self):
        with pytest.raises(
            rx.InputError, match="region reference: target and reference are both '1'"
        ):
            self.found(reference=1)

    def test_slices_have_rows_of_their_own(self):
        both = [np.stack([a, 2 * a], axis=-1) for a in (self.BEFORE, self.AFTER)]
        regions = np.stack([self.WITH_MUSCLE] * 2, axis=-1)
        rows = measure(*both, regions, muscle=4).slice_rows()
        assert [row["slice"] for row in rows] == [1, 2]
        assert [row["noise_pre"] for row in rows] == pytest.approx([2, 4])
        assert [row["SNR_target_pre"] for row in rows] == pytest.approx([20, 20])
        assert [row["n_voxels_target"] for row in rows] == [2, 2]


SHAPE = (48, 48, 4)
DRAWN = np.zeros(SHAPE, dtype=int)
DRAWN[4:14, 4:14], DRAWN[4:14, 20:30], DRAWN[30:46, 4:44] = 1, 2, 3
TRUTH = {"pre": {1: 400.0, 2: 300.0}, "post": {1: 390.0, 2: 120.0}}


def scan(when, rng):
    signal = np.zeros(SHAPE)
    for label, value in TRUTH[when].items():
        signal[label == DRAWN] = value
    real, imaginary = rng.normal(0, 10, (2, *SHAPE))
    return np.hypot(signal + real, imaginary)


@pytest.fixture(scope="module")
def measured():
    rng = np.random.default_rng(8)
    return {
        pooled: [
            measure(
                *(scan("pre", rng), scan("post", rng), DRAWN),
                noise_method="rayleigh",
                pooled=pooled,
            )
            for _ in range(120)
        ]
        for pooled in (False, True)
    }


class TestSimulatedImages:
    """Errors against their scatter over many images; one coil, σ = 10."""

    def test_the_numbers_are_the_known_ones(self, measured):
        for found in measured.values():
            mean = {key: np.mean([one.mean(key) for one in found]) for key in found[0].estimates}
            assert mean["SNR_target_pre"] == pytest.approx(40, rel=0.005)
            assert mean["CNR_usual_post"] == pytest.approx(27, rel=0.01)
            assert mean["CNR_relative_pre"] == pytest.approx(0.25, rel=0.01)
            assert mean["dCNR"] == pytest.approx((27 / 39) / 0.25 - 1, rel=0.01)

    @pytest.mark.parametrize("pooled", [False, True])
    @pytest.mark.parametrize(
        "key", ["SNR_target_pre", "CNR_relative_post", "CNR_usual_pre", "dCNR", "dSNR_reference"]
    )
    def test_standard_errors_are_the_scatter(self, measured, pooled, key):
        """120 images tell an SD to 6.5 %: three of these."""
        values = [one.mean(key) for one in measured[pooled]]
        stated = np.mean([one.stderr(key) for one in measured[pooled]])
        assert stated == pytest.approx(np.std(values, ddof=1), rel=0.2)

    def test_a_low_signal_is_remarked(self):
        rng = np.random.default_rng(2)
        dark = np.where(DRAWN == 2, 0.15, 1.0) * scan("post", rng)
        found = measure(scan("pre", rng), dark, DRAWN, noise_method="rayleigh")
        assert [n for n in found.notes if n.startswith("reference post: 1.")]

    def test_a_cnr_that_is_not_told_from_zero_is_remarked(self):
        rng = np.random.default_rng(2)
        pre = scan("pre", rng)
        pre = np.where(DRAWN == 2, pre / 0.7502, pre)
        found = measure(pre, scan("post", rng), DRAWN, noise_method="rayleigh")
        assert [n for n in found.notes if n.startswith("CNR before is not told from 0")]

    def test_the_error_of_a_scale_is_shared_by_all_slices(self):
        rng = np.random.default_rng(3)
        found = measure(
            *(scan("pre", rng), scan("post", rng), DRAWN),
            noise_method="rayleigh",
            scale=rx.Estimate(1.0, 0.01),
        )
        # RE + 1 = 120/300 has the 1 % of the scale, however many slices there are.
        assert found.stderr("RE_reference") == pytest.approx(0.004, rel=0.1)

    def test_two_images_make_the_signal_too(self):
        rng = np.random.default_rng(6)
        pre, post, again, after = (scan(w, rng) for w in ("pre", "post", "pre", "post"))
        found = rx.measure_contrast(
            *(pre, post, DRAWN), target=1, reference=2, noise_method="difference",
            repeats=(again, after),
        )  # fmt: skip
        both = (pre[DRAWN == 1].mean() + again[DRAWN == 1].mean()) / 2
        assert found.mean("S_target_pre") == pytest.approx(both)

    def test_correlated_voxels_count_for_fewer(self):
        """Images doubled by zero filling: four voxels count as one."""
        rng = np.random.default_rng(7)

        def doubled(when):
            signal = np.zeros(SHAPE)
            for label, value in TRUTH[when].items():
                signal[label == DRAWN] = value
            # Noise of half the band: independent in every second voxel only.
            real, imaginary = (zero_filled(rng.normal(0, 10, (24, 24, 4))) for _ in range(2))
            return np.hypot(signal + real, imaginary)

        def zero_filled(noise):
            k = np.fft.fftshift(np.fft.fft2(noise, axes=(0, 1)), axes=(0, 1))
            k = np.pad(k, ((12, 12), (12, 12), (0, 0)))
            return 4 * np.fft.ifft2(np.fft.ifftshift(k, axes=(0, 1)), axes=(0, 1)).real

        made = [
            measure(doubled("pre"), doubled("post"), DRAWN, noise_method="sd") for _ in range(60)
        ]
        scatter = np.std([one.mean("S_target_pre") for one in made], ddof=1)
        stated = np.mean([one.stderr("S_target_pre") for one in made])
        assert stated == pytest.approx(scatter, rel=0.3)

    def test_clipped_voxels_are_remarked(self):
        rng = np.random.default_rng(3)
        found = measure(
            scan("pre", rng), scan("post", rng).clip(max=390), DRAWN, noise_method="rayleigh"
        )
        assert [n for n in found.notes if n.startswith("target post: 5") and "clipped" in n]

    def test_a_target_that_turned_darker_is_remarked(self):
        rng = np.random.default_rng(3)
        pre, post = scan("pre", rng), scan("post", rng)
        found = measure(pre, np.where(DRAWN == 1, 0.2 * post, post), DRAWN)
        assert [n for n in found.notes if n.startswith("the target was brighter than the refer")]

    def test_slices_left_out_are_said(self):
        rng = np.random.default_rng(3)
        drawn = DRAWN.copy()
        drawn[..., 2][drawn[..., 2] == 3] = 0
        found = measure(scan("pre", rng), scan("post", rng), drawn, noise_method="rayleigh")
        assert found.n_slices == 3
        assert "slices left out, where not all regions were drawn: 3" in found.notes
        pooled = measure(
            scan("pre", rng), scan("post", rng), drawn, noise_method="rayleigh", pooled=True
        )
        assert pooled.n_slices == 4

    def test_air_is_found_where_none_is_given(self):
        rng = np.random.default_rng(3)
        wide = (96, 96, 1)
        labels = np.zeros(wide, dtype=int)
        labels[30:45, 30:66], labels[48:63, 30:66] = 1, 2
        signal = np.where(labels == 1, 400.0, np.where(labels == 2, 300.0, 0))
        pre, post = (np.hypot(signal + rng.normal(0, 10, wide), rng.normal(0, 10, wide))
                     for _ in range(2))  # fmt: skip
        found = rx.measure_contrast(
            pre, post, labels, target=1, reference=2, noise_method="rayleigh"
        )
        assert found.mean("SNR_target_pre") == pytest.approx(40, rel=0.05)

    def test_two_images(self):
        rng = np.random.default_rng(5)
        pre, post, again, after = (scan(w, rng) for w in ("pre", "post", "pre", "post"))
        options = {"noise_method": "difference", "reference": 2, "target": 1}
        found = rx.measure_contrast(pre, post, DRAWN, repeats=(again, after), **options)
        assert found.mean("SNR_target_pre") == pytest.approx(40, rel=0.06)
        with pytest.raises(rx.InputError, match="one image only; expected each image taken twice"):
            rx.measure_contrast(pre, post, DRAWN, **options)


class TestSnrMap:
    def test_value_and_error(self):
        noise = measure_noise(PRE, REGIONS == 3, "sd")
        found = rx.snr_map(PRE, noise)
        assert repr(found).startswith("SNR map")
        np.testing.assert_allclose(found.value, PRE / 2)
        error = np.hypot(noise.sigma / 2, PRE / 2 * noise.stderr / 2)
        np.testing.assert_allclose(found.stderr, error)

    def test_nan_stays_nan(self):
        found = rx.snr_map(np.array([1.0, np.nan]), 0.5)
        np.testing.assert_array_equal(found.value, [2, np.nan])
        np.testing.assert_array_equal(found.stderr, [1, np.nan])

    @pytest.mark.parametrize("noise", [0.0, -1.0, float("nan")])
    def test_noise_that_is_none(self, noise):
        with pytest.raises(rx.InputError, match=r"noise: .*expected above 0"):
            rx.snr_map(PRE, noise)


def test_the_examples_of_the_docs(monkeypatch):
    root = Path(__file__).parents[1]
    monkeypatch.chdir(root)
    text = (root / "docs" / "contrast.md").read_text(encoding="utf-8")
    text = "\n".join(re.findall(r"```pycon\n(.*?)```", text, re.DOTALL))
    test = doctest.DocTestParser().get_doctest(text, {}, "contrast.md", None, 0)
    said: list[str] = []
    assert doctest.DocTestRunner(verbose=False).run(test, out=said.append).failed == 0, said
