"""SNR, CNR and their changes, by hand arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

import relaxometry as rx
from relaxometry.animalscans import tumour
from relaxometry.contrast import change, cnr_relative

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
            (PRE, REGIONS == 1, REGIONS == 2, "noise region: no scatter"),
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
        with pytest.raises(rx.InputError, match="no slice has all three regions"):
            measure(stack(PRE, PRE), stack(POST, POST), apart)

    @pytest.mark.parametrize(
        ("pre", "post", "complaint"),
        [
            (np.where(REGIONS == 1, 0, PRE), POST, "SNR of the target is 0"),
            (np.where(REGIONS == 2, 0, PRE), POST, "SNR_reference before injection is 0"),
            (np.where(REGIONS == 2, 40, PRE), POST, "CNR_relative before injection is 0"),
            (PRE, np.where(REGIONS == 1, 0, POST), "SNR of the target is 0"),
            (np.where(REGIONS == 3, 0, PRE), POST, "noise region: no scatter"),
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
    assert cnr_relative(20, 15) == pytest.approx(0.25)
    assert cnr_relative(15, 20) == pytest.approx(1 / 3)
    assert change(20, 15) == pytest.approx(-0.25)
    assert change(-4, -5) == pytest.approx(0.25)
