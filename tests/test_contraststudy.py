"""A study of animals before and after an injection, from its files to its numbers."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import relaxometry as rx
from relaxometry import animals, animalscans, bids
from relaxometry.nifti import read_volume, write_volume

SAMPLE = Path(__file__).parents[1] / "sample_data" / "in_vivo"
ONE = """[[contrast]]
name = "mouse 1"
pre = "pre.nii.gz"
post = "post.nii.gz"
regions = "regions.nii.gz"
names = "regions.csv"
target = "tumour"
reference = "liver"
noise = "air"
muscle = "muscle"
noise_method = "rayleigh"
"""


@pytest.fixture(scope="module")
def result():
    return rx.analyse(SAMPLE / "study.toml", progress=False)


@pytest.fixture(scope="module")
def truth():
    table = pd.read_csv(SAMPLE / "truth.csv", dtype={"animal": str})
    return table.set_index(["animal", "time_min", "region"])


@pytest.fixture
def study(tmp_path):
    """One mouse, the image after as a session with its faults makes it; `write` makes a study."""
    mouse = animals.typical_mouse()
    names = "label,name\n" + "".join(f"{v},{k}\n" for k, v in animals.REGIONS.items())
    (tmp_path / "regions.csv").write_text(names)
    write_volume(tmp_path / "regions.nii.gz", mouse.labels.astype(np.int16), mouse.affine)

    def write(text=ONE, before=None, seed=0, **after):
        seen = animalscans.t2_weighted(
            *(mouse, seed),
            times_min=(60.0,),
            before=animalscans.Session(**(before or {})),
            after=animalscans.Session(**after),
        )
        for name, image in (("pre", seen.pre), ("post", seen.post(60.0))):
            write_volume(tmp_path / f"{name}.nii.gz", image, seen.affine)
        (tmp_path / "study.toml").write_text(text)
        return tmp_path / "study.toml"

    return write


class TestFiveMice:
    def test_snr_and_cnr_are_the_known_ones(self, result, truth):
        assert len(result.contrasts) == 20
        for one in result.contrasts:
            then = truth.loc[(one.animal, one.time_s / 60)]
            before = truth.loc[(one.animal, 0)]
            # σ of three slices of 512 voxels is known to 1.3 %.
            assert one.mean("SNR_target_pre") == pytest.approx(
                before.loc["tumour", "SNR"], rel=0.06
            )
            assert one.mean("SNR_reference_post") == pytest.approx(
                then.loc["liver", "SNR"], rel=0.06
            )
            assert one.mean("CNR_relative_post") == pytest.approx(
                then.loc["liver", "CNR_relative"], rel=0.01
            )
            assert one.mean("dCNR") == pytest.approx(then.loc["liver", "dCNR"], rel=0.02)

    def test_animals_are_counted_and_slices_are_not(self, result):
        table = result.contrast.animals
        assert set(table["n_animals"]) == {5}
        assert set(table["n_slices"]) == {15}
        liver = table[(table["quantity"] == "SNR_reference") & (table["time_s"] == 3600)].iloc[0]
        by_hand = [o.mean("SNR_reference_post") for o in result.contrasts if o.time_s == 3600]
        assert liver["post_mean"] == pytest.approx(np.mean(by_hand))
        assert liver["post_sd"] == pytest.approx(np.std(by_hand, ddof=1))
        assert liver["stars"] == "***"

    def test_rates_and_concentrations(self, result, truth):
        (rates,) = [one for one in result.contrast.rates if one.changes]
        assert (rates.animal, rates.time_s) == ("1", 3600.0)
        rows = {row["region"]: row for row in rates.rows}
        liver, known = rows["liver"], truth.loc[("1", 60, "liver")]
        assert liver["dR2_per_s"] == pytest.approx(known["dR2_per_s"], rel=0.01)
        assert liver["dR1_per_s"] == pytest.approx(known["dR1_per_s"], rel=0.06)
        assert liver["dR2_over_dR1_ci95_low"] < 533.4 / 1.5 < liver["dR2_over_dR1_ci95_high"]
        by_r2 = liver["concentration_by_r2_mM"]
        assert by_r2 == pytest.approx(known["concentration_mM"], rel=0.01)
        assert liver["concentration_by_r2_noise_stderr_mM"] < 0.01 * by_r2
        muscle = rows["muscle"]
        assert abs(muscle["dR2_per_s"]) < 3 * muscle["dR2_stderr_per_s"]
        assert muscle["dR2_over_dR1_bounded"] is False

    def test_the_signal_alone_is_near_and_says_its_name(self, result, truth):
        alone = [one for one in result.contrast.rates if not one.changes]
        assert len(alone) == 20
        for one in alone:
            row = next(r for r in one.rows if r["region"] == "liver")
            known = truth.loc[(one.animal, one.time_s / 60, "liver"), "dR2_per_s"]
            # T1 shortens too, which makes the liver a little brighter.
            assert row["dR2_signal_only_per_s"] == pytest.approx(known, rel=0.03)
            assert any(note.startswith("signal only") for note in one.notes)

    def test_time_courses_have_the_known_peak(self, result):
        by_name = {(c.quantity, c.group): c for c in result.contrast.courses}
        course = by_name["SNR_reference", "C3"]
        assert len(course.animals) == 5
        assert course.row()["time_to_peak_s"] == pytest.approx(3600)
        assert course.curve_peak[1] == 3600
        assert ("dR2_signal_only_per_s", "C3, liver") in by_name

    def test_nothing_is_warned_of(self, result):
        assert result.warnings == ()
        assert result.failures == ()


class TestFiles:
    @pytest.fixture(scope="class")
    @classmethod
    def written(cls, result, tmp_path_factory):
        folder = tmp_path_factory.mktemp("report") / "out"
        rx.report(result, folder)
        return folder

    def test_every_number_has_its_formula(self, written):
        found = json.loads((written / "results.json").read_text(encoding="utf-8"))
        first = found["contrast"][0]
        assert first["formulas"]["noise"] == "SD(air)/√(2 − π/2)"
        assert first["formulas"]["dCNR"].startswith("|CNR_relative(post) − CNR_relative(pre)|")
        assert len(first["slices"]) == first["n_slices"] == 3
        page = (written / "index.html").read_text(encoding="utf-8")
        for formula in ("|SNR(target) − SNR(reference)|/SNR(target)", "S(target)/S(muscle)"):
            assert formula in page
        assert found["contrast_animals"][0]["formula"] == "S/noise"
        assert found["contrast_animals"][0]["n_animals"] == 5

    def test_tables_and_maps(self, written, result):
        contrast = pd.read_csv(written / "contrast.csv")
        assert len(contrast) == 20
        assert contrast["dCNR_percent"].to_numpy() == pytest.approx(100 * contrast["dCNR"])
        assert len(pd.read_csv(written / "contrast_slices.csv")) == 60
        rates = pd.read_csv(written / "rate_changes.csv")
        assert {"dR2_per_s", "dR2_signal_only_per_s"} <= set(rates)
        courses = pd.read_csv(written / "time_courses.csv")
        assert courses.columns[-1] == "flags"
        flags = {"; ".join(course.flags) for course in result.contrast.courses}
        assert set(courses["flags"].fillna("")) == flags
        assert set(courses["time_s"]) == {0.0, 600.0, 1800.0, 3600.0, 7200.0}
        maps = written / "derivatives" / "relaxometry" / "sub-mouse1at60min" / "anat"
        assert (maps / "sub-mouse1at60min_dR2map.nii.gz").exists()
        figures = {p.stem for p in (written / "figures").glob("*.png")}
        assert {"contrast", "contrast_images_5", "time_courses", "dR2_map_2"} <= figures


class TestMoved:
    def test_a_mouse_that_moved_is_refused(self, study):
        path = study(shift_mm=(0.6, 0.0))  # two voxels
        with pytest.raises(rx.InputError, match="the subject moved between the images") as caught:
            rx.analyse(path)
        assert 'shift = "correct"' in str(caught.value)

    def test_or_measured_where_it_lies_if_told(self, study):
        found = rx.analyse(study(ONE + 'shift = "ignore"\n', shift_mm=(0.6, 0.0)))
        assert len(found.contrasts) == 1

    def test_less_than_half_a_voxel_is_let_pass(self, study):
        assert len(rx.analyse(study(shift_mm=(0.09, 0.0))).contrasts) == 1

    @pytest.mark.parametrize("how", ["edges", "mattes"])
    def test_registered_the_numbers_are_those_of_a_mouse_that_lay_still(self, study, how):
        still = rx.analyse(study()).contrasts[0]
        text = ONE + f'shift = "correct"\nregistration = "{how}"\n'
        moved = rx.analyse(study(text, shift_mm=(0.6, -0.3))).contrasts[0]
        assert moved.mean("dCNR") == pytest.approx(still.mean("dCNR"), rel=0.02)
        assert moved.mean("SNR_reference_post") == pytest.approx(
            still.mean("SNR_reference_post"), rel=0.05
        )
        assert [note for note in moved.notes if note.startswith("registered")]

    def test_noise_is_measured_where_the_air_lies_on_the_image_as_scanned(self, study):
        """The mouse moved towards the corner that was air before."""
        still = rx.analyse(study()).contrasts[0]
        text = ONE + 'shift = "correct"\n'
        moved = rx.analyse(study(text, shift_mm=(-1.8, -1.8))).contrasts[0]
        assert moved.mean("SNR_reference_post") == pytest.approx(
            still.mean("SNR_reference_post"), rel=0.08
        )

    def test_a_mirrored_image_is_refused(self, study):
        path = study()
        image, affine = read_volume(path.parent / "post.nii.gz")
        write_volume(path.parent / "post.nii.gz", image[::-1], affine)
        with pytest.raises(rx.InputError, match="the image after looks mirrored along x"):
            rx.analyse(path)

    def test_what_cannot_be_told_fails_a_check(self, study):
        result = rx.analyse(study(rotation_deg=35.0))
        (failure,) = result.failures
        assert "whether the subject moved cannot be told" in failure
        with pytest.raises(rx.InputError, match="whether the subject moved cannot be told"):
            rx.analyse(study(ONE + 'shift = "correct"\n', rotation_deg=35.0))

    def test_series_that_moved_are_refused(self, study, tmp_path):
        scans = {"t2_pre": animalscans.mese(animals.typical_mouse(), 0.0, 0)}
        after = animalscans.mese(animals.typical_mouse(), 60.0, 0)
        scans["t2_post"] = replace(after, signal=np.roll(after.signal, 4, axis=0))
        for name, series in scans.items():
            bids.write_images(series, tmp_path / name)
        text = ONE + 'T2_pre = "t2_pre"\nT2_post = "t2_post"\n'
        with pytest.raises(rx.InputError, match="the subject moved between the series"):
            rx.analyse(study(text))
        found = rx.analyse(study(text + 'shift = "ignore"\n')).contrast.rates
        assert len(found) == 1

    def test_what_was_checked_stands_in_the_result(self, study):
        row = rx.analyse(study()).contrasts[0].row()
        assert row["shift_voxels"] < 0.2
        assert row["scale_ratio"] == pytest.approx(1, abs=0.02)
        ignored = rx.analyse(study(ONE + 'shift = "ignore"\nscale = "ignore"\n')).contrasts[0].row()
        assert math.isnan(ignored["shift_voxels"])
        assert math.isnan(ignored["scale_ratio"])


class TestAnimals:
    def test_slices_of_one_image_are_no_animals(self, study):
        text = "\n".join(ONE + f'animal = "s{i}"\n' for i in range(2))
        with pytest.raises(rx.InputError, match=r"animals 's0' and 's1'.*no animals"):
            rx.analyse(study(text))

    def test_one_animal_twice_is_said(self, study):
        text = "\n".join(ONE + 'animal = "1"\n' for _ in range(2))
        result = rx.analyse(study(text))
        assert any("animal 1 was measured 2 times at one time" in w for w in result.warnings)
        assert set(result.contrast.animals["n_animals"]) == {1}

    def test_other_roles_in_one_group_are_said(self, study):
        swapped = ONE.replace("tumour", "x").replace("liver", "tumour").replace('"x"', '"liver"')
        result = rx.analyse(study(f'{ONE}animal = "1"\n{swapped}animal = "1"\n'))
        assert any(
            "not all animals have one target and one reference" in w for w in result.warnings
        )


class TestScale:
    def test_divides_the_signal_only_change_too(self, study):
        text = ONE + 'TE = "40 ms"\nscale = "correct"\n'
        rows = {
            gain: {
                r["region"]: r for r in rx.analyse(study(text, gain=gain)).contrast.rates[0].rows
            }
            for gain in (1.0, 1.25)
        }
        for region in ("tumour", "liver"):
            one, other = (rows[gain][region]["dR2_signal_only_per_s"] for gain in (1.0, 1.25))
            error = rows[1.25][region]["dR2_signal_only_stderr_per_s"]
            assert other == pytest.approx(one, abs=4 * error)

    def test_more_noise_without_a_muscle_is_said(self, study):
        text = ONE.replace('muscle = "muscle"\n', "")
        warnings = rx.analyse(study(text, gain=1.5)).warnings
        assert any("noise is 1.5" in w and "another gain" in w for w in warnings)

    def test_another_gain_is_said(self, study):
        result = rx.analyse(study(gain=1.25))
        (warning,) = result.warnings
        assert warning.startswith("mouse 1: muscle is 1.2")
        assert result.contrasts[0].mean("RE_muscle") == pytest.approx(0.25, abs=0.02)

    def test_and_divided_out_if_told(self, study):
        plain = rx.analyse(study()).contrasts[0]
        one = rx.analyse(study(ONE + 'scale = "correct"\n', gain=1.25)).contrasts[0]
        assert "RE_muscle" not in one.estimates
        assert one.mean("RE_reference") == pytest.approx(plain.mean("RE_reference"), abs=0.01)
        assert one.mean("dCNR") == pytest.approx(plain.mean("dCNR"), rel=0.03)
        assert any("enhancements and ΔR2" in note for note in one.notes)

    def test_the_same_gain_is_no_news(self, study):
        assert rx.analyse(study()).warnings == ()


class TestRefused:
    def test_a_masked_background(self, study):
        path = study(masked=True)
        with pytest.raises(rx.InputError, match="the scanner has set the background") as caught:
            rx.analyse(path)
        assert "'difference'" in str(caught.value)
        assert "'smoothed'" in str(caught.value)

    def test_which_another_method_measures(self, study):
        text = ONE.replace('noise = "air"\n', "").replace("rayleigh", "smoothed")
        masked = rx.analyse(study(text, before={"masked": True}, masked=True)).contrasts[0]
        plain = rx.analyse(study()).contrasts[0]
        assert masked.mean("SNR_target_pre") == pytest.approx(plain.mean("SNR_target_pre"), rel=0.1)

    def test_no_corner_of_air(self, study):
        text = ONE.replace('noise = "air"\n', "")
        with pytest.raises(
            rx.InputError, match=r"noise before: no corner free of the object.* in slice .*phase"
        ):
            rx.analyse(study(text))
        for more in ('phase_axis = "x"\n', 'noise_slices = "pooled"\n'):
            found = rx.analyse(study(text + more)).contrasts[0]
            assert found.mean("SNR_target_pre") == pytest.approx(59.6, rel=0.06)

    def test_coils_that_are_not_said(self, study):
        with pytest.raises(rx.InputError, match=r"noise before: .* not of 1; .*coils=8") as caught:
            rx.analyse(study(before={"coils": 8}, coils=8))
        assert caught.value.path.endswith("pre.nii.gz")
        text = ONE.replace('"rayleigh"', '"chi"\ncoils = 8')
        found = rx.analyse(study(text, before={"coils": 8}, coils=8)).contrasts[0]
        assert found.mean("SNR_target_pre") == pytest.approx(59.6, rel=0.08)

    @pytest.mark.parametrize(
        ("change", "complaint"),
        [
            (('"tumour"', '"kidney"'), "region target: no region 'kidney'; expected tumour, liver"),
            (('"tumour"', "9"), "region target: no voxel has label 9"),
            (('"tumour"', '"liver"'), "target and reference are both 'liver'"),
            (('names = "regions.csv"\n', ""), "no region 'tumour'; expected labels: none has"),
        ],
    )
    def test_regions_that_are_not_there(self, study, change, complaint):
        with pytest.raises(rx.InputError, match=complaint) as caught:
            rx.analyse(study(ONE.replace(*change)))
        assert caught.value.path is not None

    def test_regions_of_another_place(self, study):
        path = study()
        labels, affine = read_volume(path.parent / "regions.nii.gz")
        affine = affine.copy()
        affine[0, 3] += 1.0
        write_volume(path.parent / "regions.nii.gz", labels.astype(np.int16), affine)
        with pytest.raises(rx.GeometryError, match="its voxels lie elsewhere than those of pre"):
            rx.analyse(path)

    def test_an_agent_without_lines(self, study, tmp_path):
        shutil.copytree(SAMPLE / "mouse1" / "t2_pre", tmp_path / "t2_pre")
        shutil.copytree(SAMPLE / "mouse1" / "t2_post", tmp_path / "t2_post")
        text = ONE + 'T2_pre = "t2_pre"\nT2_post = "t2_post"\nagent = "C3"\n'
        with pytest.raises(rx.InputError, match="0 lines of 'C3'; expected one of: no lines"):
            rx.analyse(study(text))

    def test_a_scan_of_another_quantity(self, study, tmp_path):
        shutil.copytree(SAMPLE / "mouse1" / "t2_pre", tmp_path / "t2_pre")
        text = ONE + 'T1_pre = "t2_pre"\nT1_post = "t2_pre"\n'
        with pytest.raises(rx.InputError, match="expected a scan of T1"):
            rx.analyse(study(text))


def test_two_images_of_each(study, tmp_path):
    """Noise by the difference of two images is that of air, within both their errors."""
    text = ONE.replace("rayleigh", "difference").replace('noise = "air"\n', "")
    path = study(text + 'pre_repeat = "pre2.nii.gz"\npost_repeat = "post2.nii.gz"\n')
    (tmp_path / "pre2.nii.gz").touch()
    first = {n: (tmp_path / f"{n}.nii.gz").read_bytes() for n in ("pre", "post")}
    study(text, seed=1)
    for name, content in first.items():
        (tmp_path / f"{name}.nii.gz").rename(tmp_path / f"{name}2.nii.gz")
        (tmp_path / f"{name}.nii.gz").write_bytes(content)
    path.write_text(text + 'pre_repeat = "pre2.nii.gz"\npost_repeat = "post2.nii.gz"\n')
    one = rx.analyse(path).contrasts[0]
    assert one.mean("SNR_target_pre") == pytest.approx(59.6, rel=0.08)
    assert one.noise_method == "difference"


def test_the_agent_of_the_studys_own_lines(tmp_path):
    """r1 and r2 of the phantom of the same study make concentrations in the animal."""
    phantom = rx.write_study(tmp_path / "phantom", "small")
    shutil.copytree(SAMPLE, tmp_path / "phantom" / "mice")
    text = (SAMPLE / "study.toml").read_text().split("[[contrast]]")[1]
    text = "\n".join(
        line
        for line in text.splitlines()
        if not line.startswith(("pre", "post", "ti", "TE", "r1", "r2"))
    )
    text = text.replace('"mouse1/', '"mice/mouse1/').replace('"regions.csv"', '"mice/regions.csv"')
    own = phantom.read_text().split("[[contrast]]")[0]
    phantom.write_text(own + "[[contrast]]\n" + text + '\nagent = "C3"\n')
    result = rx.analyse(phantom, progress=False)
    (rates,) = result.contrast.rates
    liver = next(row for row in rates.rows if row["region"] == "liver")
    r2 = result.relaxivity["C3"]["r2"].r
    assert liver["concentration_by_r2_mM"] == pytest.approx(liver["dR2_per_s"] / r2.value)
    share = liver["concentration_by_r2_r_stderr_mM"] / liver["concentration_by_r2_mM"]
    assert share == pytest.approx(r2.stderr / r2.value, rel=1e-6)


def test_uniformity_of_a_phantom(tmp_path):
    """A disc that falls by 20 % from its middle to its edge, with a ghost of 2 %."""
    x, y = np.mgrid[:128, :128] - 63.5
    radius = np.hypot(x, y)
    disc = np.where(radius < 40, 1000 * (1 - 0.2 * (radius / 40) ** 2), 0.0)
    ghost = 0.02 * np.roll(disc, 64, axis=1)
    rng = np.random.default_rng(0)
    image = np.hypot(disc + ghost + rng.normal(0, 4, disc.shape), rng.normal(0, 4, disc.shape))
    write_volume(tmp_path / "flood.nii.gz", image[..., None], np.eye(4))
    (tmp_path / "study.toml").write_text(
        '[[uniformity]]\nname = "<i>flood</i>"\nimage = "flood.nii.gz"\n'
    )
    result = rx.analyse(tmp_path / "study.toml")
    (flood,) = result.floods
    # NEMA's region of 75 % of the area ends at √0.75 of the radius: S from 1 to 0.85.
    assert flood.uniformity.uniformity_percent == pytest.approx(100 * (1 - 0.15 / 1.85), abs=1.5)
    assert flood.ghosting.axis == 1
    page = rx.report(result, tmp_path / "out").read_text(encoding="utf-8")
    assert "Uniformity and ghosting" in page
    assert "<i>flood" not in page
    row = pd.read_csv(tmp_path / "out" / "uniformity.csv").iloc[0]
    assert row["uniformity_percent"] == pytest.approx(flood.uniformity.uniformity_percent)
    found = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert "Smax" in found["uniformity"][0]["formulas"]["uniformity_percent"]


def test_replaced_settings_are_no_other_study(result):
    """What is not known of an animal is null with a reason, never 0."""
    from relaxometry.contrastrecords import contrast_records

    (record,) = contrast_records([replace(result.contrasts[0], animal="", time_s=None)])
    assert record["animal"] is None
    assert {"animal: not stated", "time_s: not stated"} <= set(record["flags"])
    assert not any(isinstance(v, float) and math.isnan(v) for v in record.values())
