"""How pictures become scans and series: by value, never by position in a list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from relaxometry.errors import GeometryError, InputError, ProtocolError
from relaxometry.images import Image
from relaxometry.plan import assemble
from relaxometry.scans import scans

# As on the Siemens scan of the system phantom, ms.
SIEMENS_TI = (50, 100, 200, 400, 600, 800)
SIEMENS_TR = (1000, 1000, 1000, 1260, 1860, 2460)


def picture(value: float = 1.0, z: float = 0.0, **facts: Any) -> Image:
    """A 4 × 3 slice of one value at height z, with settings TE, TI, TR in ms and FA in degrees."""
    settings = {
        name: facts.pop(name) * (1.0 if name == "FA" else 1e-3)
        for name in ("TE", "TI", "TR", "FA")
        if name in facts
    }
    affine = np.diag([0.5, 0.5, 2.0, 1.0])
    affine[:3, 3] = facts.pop("corner", (10.0, -5.0, 0.0))
    affine[2, 3] += z
    voxels = facts.pop("voxels", np.full((4, 3, 1), value, dtype=np.float32))
    facts = {"file": f"scan/{value:g}_{z:g}", "sequence": "SE", "component": "M"} | facts
    return Image(settings=settings, shape=(4, 3, 1), affine=affine, load=lambda: voxels, **facts)


def echoes(times: Sequence[float] = (10, 20, 30), heights: Sequence[float] = (0.0,)) -> list[Image]:
    """One image per echo (ms) and height (mm), its value 100·height + time."""
    return [
        picture(100 * z + te, z, TE=te, TR=3000, acquisition="mese")
        for te in times
        for z in heights
    ]


def shuffled(images: list[Image], seed: int = 0) -> list[Image]:
    return [images[k] for k in np.random.default_rng(seed).permutation(len(images))]


@pytest.mark.parametrize("seed", range(3))
def test_images_are_sorted_by_time_and_position_whatever_their_order(seed: int) -> None:
    series = assemble(shuffled(echoes((10, 20, 30), (0, 2, 4, 6)), seed), "scan")
    assert series.signal.shape == (4, 3, 4, 3)
    expected = 100 * np.array([0, 2, 4, 6])[:, None] + np.array([10, 20, 30])
    assert np.array_equal(series.signal[0, 0], expected)
    assert series.protocol.TE.tolist() == [0.010, 0.020, 0.030]
    assert series.protocol.TR.tolist() == [3.0] * 3
    assert series.kind == "MESE"


def test_affine_of_a_stack_comes_from_positions_not_from_the_thickness() -> None:
    series = assemble(echoes(heights=(6, 0, 3)), "scan")
    assert series.affine[:, 2] == pytest.approx([0, 0, 3, 0])
    assert series.affine[:3, 3] == pytest.approx([10, -5, 0])


def test_TR_that_follows_TI_is_kept_for_each_point() -> None:
    images = [
        picture(ti, TE=12, TI=ti, TR=tr, acquisition=f"series {ti}")
        for ti, tr in zip(SIEMENS_TI, SIEMENS_TR, strict=True)
    ]
    (scan,) = scans(shuffled(images), "scan")
    series = assemble(scan.images, "scan")
    assert series.kind == "IRT1"
    assert np.allclose(series.protocol.TI * 1e3, SIEMENS_TI)
    assert np.allclose(series.protocol.TR * 1e3, SIEMENS_TR)
    assert series.signal[0, 0, 0].tolist() == list(SIEMENS_TI)


def test_one_TI_at_two_TR_is_an_error() -> None:
    images = [picture(1, TI=50, TR=1000), picture(2, TI=50, TR=2000), picture(3, TI=100, TR=1000)]
    with pytest.raises(ProtocolError, match="TI 50 ms occurs at 2 different TR"):
        assemble(images, "scan")


def test_two_swept_settings_are_both_named_with_their_values() -> None:
    images = [picture(k, TE=te, TR=tr) for k, (te, tr) in enumerate([(10, 500), (20, 1000)])]
    with pytest.raises(ProtocolError, match=r"scan: .*TE 10 … 20 ms.*TR 500 … 1000 ms"):
        assemble(images, "scan")


def test_a_missing_slice_is_named() -> None:
    images = [i for i in echoes(heights=(0, 2, 4)) if i.file != "scan/220_2"]
    with pytest.raises(InputError, match=r"slice 2 of 3 \(at 2 mm .*\) is missing at TE 20 ms"):
        assemble(images, "scan")


def test_a_slice_missing_everywhere_leaves_a_gap() -> None:
    with pytest.raises(GeometryError, match="2 to 4 mm apart"):
        assemble(echoes(heights=(0, 2, 6)), "scan")


def test_a_doubled_image_is_never_averaged_but_named() -> None:
    images = [*echoes(), picture(99, TE=20, TR=3000, acquisition="mese", file="scan/again")]
    with pytest.raises(InputError, match=r"2 images of slice 1 .* at TE 20 ms: 20_0 and again"):
        assemble(images, "scan")


def test_times_that_differ_by_rounding_are_the_same() -> None:
    images = [picture(1, TE=10, TR=2000.0), picture(2, TE=20, TR=2000.0001)]
    assert assemble(images, "scan").kind == "MESE"


def test_flip_angle_is_trusted_in_gradient_echo_only() -> None:
    spin = [picture(te, TE=te, FA=180) for te in (10, 20)]
    assert assemble(spin, "scan").protocol.FA is None
    refocusing = [picture(te, TE=te, FA=fa) for te, fa in ((10, 180), (20, 160))]
    assert assemble(refocusing, "scan").kind == "MESE"
    gradient = [picture(fa, TE=2, TR=15, FA=fa, sequence="GE") for fa in (15, 2, 5)]
    series = assemble(gradient, "scan")
    assert series.kind == "VFA"
    assert series.protocol.FA.tolist() == [2, 5, 15]
    both = [picture(te, TE=te, FA=10 * te, sequence="GE") for te in (1, 2)]
    with pytest.raises(ProtocolError, match="TE and FA vary together"):
        assemble(both, "scan")


def test_a_setting_unknown_for_some_images_is_left_out_unless_it_was_swept() -> None:
    images = [picture(10, TE=10, TR=3000), picture(20, TE=20)]
    assert assemble(images, "scan").protocol.TR is None
    with pytest.raises(InputError, match=r"scan/0_0: EchoTime: not stated; expected .* --te"):
        assemble([*echoes(), picture(0, TR=3000)], "scan")


def test_a_wrong_number_matters_only_until_the_right_one_is_given_by_hand() -> None:
    fault = {"TE": InputError("'12,5'", path="scan/2", field="EchoTime (0018,0081)")}
    images = [picture(1, TE=10), picture(2, faults=fault)]
    with pytest.raises(InputError, match=r"scan/2: EchoTime .*'12,5'"):
        assemble(images, "scan")
    series = assemble(images, "scan", times={"TE": [0.0125, 0.010]})
    assert series.protocol.TE.tolist() == [0.010, 0.0125]
    angle = {"FA": InputError("'abc'")}
    assert assemble([picture(t, TE=t, faults=angle) for t in (1, 2)], "scan").kind == "MESE"


def test_times_by_hand_go_to_images_in_the_order_they_were_taken() -> None:
    # One EchoTime for all echoes, as GE may write: the instance number tells them apart.
    images = [picture(k, z, TE=10, order=(1, k)) for k in (1, 2, 3) for z in (0, 2)]
    series = assemble(shuffled(images), "scan", times={"TE": [0.01, 0.02, 0.03]})
    assert series.signal[0, 0, :, :].tolist() == [[1, 2, 3]] * 2
    assert series.protocol.TE.tolist() == [0.01, 0.02, 0.03]
    assert series.provenance.origin["TE"] == "given by hand"


def test_times_by_hand_go_to_the_images_in_the_order_they_were_taken() -> None:
    """As on a Bruker, where the longest TR comes first."""
    images = [picture(te, TE=te, order=(1, -te)) for te in (10, 30, 20)]
    series = assemble(images, "scan", times={"TE": [0.031, 0.021, 0.011]})
    assert series.signal[0, 0, 0].tolist() == [10, 20, 30]
    assert series.protocol.TE.tolist() == [0.011, 0.021, 0.031]
    words = r"TE: 11 ms before 21 ms by hand, where the files state 30 ms before 20 ms; expected"
    with pytest.raises(InputError, match=words):
        assemble(images, "scan", times={"TE": [0.011, 0.021, 0.031]})


def test_an_image_that_lost_its_setting_is_missed() -> None:
    """Each TI an acquisition of its own: one without it, or of another size, would stand alone."""

    def each(ti: float, **facts: Any) -> Image:
        return picture(ti, TE=12, acquisition=f"{ti}", name=f"IR_TI{ti}", **facts)

    whole = [each(ti, TI=ti) for ti in (50, 100, 200)]
    (scan,) = scans(whole, "scan")
    assert scan.plan is not None
    lost = scans([*whole, each(400)], "scan")
    told = [str(scan.error) for scan in lost if len(scan.images) == 3]
    assert "scan/400_0: EchoTime (not EchoTime and InversionTime), unlike the images" in told[0]
    larger = replace(each(400, TI=400), shape=(8, 3, 1))
    told = [str(scan.error) for scan in scans([*whole, larger], "scan") if len(scan.images) == 3]
    assert "8×3×1 voxels (not 4×3×1 voxels), unlike the images taken with it" in told[0]
    # Nor is one that nobody named, in a file of another name.
    bare = [replace(image, name="", file=f"scan/ir_{k}.nii") for k, image in enumerate(whole)]
    told = scans([*bare, replace(each(400), name="", file="scan/t2w.nii")], "scan")
    assert any(scan.plan for scan in told)
    # Another scan in the same folder is no part of it.
    other = replace(larger, name="localiser")
    assert any(scan.plan for scan in scans([*whole, other], "scan"))


def test_what_is_too_long_is_told_with_its_file_and_tag() -> None:
    images = [picture(te, TE=te, file=f"scan/{te}") for te in (10, 20)]
    odd = replace(images[1], settings={"TE": 20.0}, origin={"TE": "EchoTime (0018,0081)"})
    words = r"scan/20: EchoTime \(0018,0081\): 20 s is too much; expected up to 10; give"
    with pytest.raises(InputError, match=words):
        assemble([images[0], odd], "scan")


def test_times_by_hand_are_checked() -> None:
    with pytest.raises(ProtocolError, match="2 values by hand for 3 images"):
        assemble(echoes(), "scan", times={"TE": [0.01, 0.02]})
    with pytest.raises(ProtocolError, match="seconds, not milliseconds"):
        assemble(echoes(), "scan", times={"TE": [10, 20, 30]})
    with pytest.raises(ProtocolError, match="TE and TI vary together"):
        assemble(echoes(), "scan", times={"TI": [0.1, 0.2, 0.3]})
    assert assemble(echoes(), "scan", times={"TR": [2.5]}).protocol.TR.tolist() == [2.5] * 3


def test_images_at_one_setting_are_no_series() -> None:
    with pytest.raises(ProtocolError, match=r"nothing varies: 2 images at TE 10 ms; .* --te"):
        assemble([picture(1, TE=10), picture(2, TE=10)], "scan")
    with pytest.raises(ProtocolError, match="no acquisition times"):
        assemble([picture(1), picture(2)], "scan")


def speckled(share: float) -> np.ndarray:
    """A 40 × 25 image of 1000 with a share of −1000 and noise of both signs around 0 in air."""
    voxels = np.full(1000, 1000, dtype=np.float32)
    voxels[:500] = np.random.default_rng(1).normal(0, 5, 500)
    voxels[500 : 500 + round(share * 500)] *= -1
    return voxels.reshape(40, 25, 1)


@pytest.mark.parametrize(
    ("component", "share", "signed"),
    [("R", 0.0, True), ("M", 0.5, False), ("", 0.004, False), ("", 0.3, True), ("", 0.0, False)],
)
def test_polarity_is_told_by_the_component_then_by_many_voxels(
    component: str, share: float, signed: bool
) -> None:
    images = [
        Image(
            file="scan",
            settings={"TI": ti},
            shape=(40, 25, 1),
            affine=np.eye(4),
            load=lambda: speckled(share),
            component=component,
        )
        for ti in (0.1, 0.2)
    ]
    series = assemble(images, "scan")
    assert series.signed is signed
    assert ("voxels" in series.provenance.origin["signed"]) is (component == "")
    by_hand = assemble(images, "scan", polarity="magnitude" if signed else "signed")
    assert by_hand.signed is not signed
    assert by_hand.provenance.origin["signed"] == "given by hand"


def test_images_of_unknown_gain_are_not_compared() -> None:
    alike = [picture(te, TE=te, gain=1.5) for te in (10, 20)]
    assert assemble(alike, "scan").kind == "MESE"
    with pytest.raises(InputError, match=r"2005,100E.*1.5 to 1.8"):
        assemble([*alike, picture(30, TE=30, gain=1.8)], "scan")


def test_a_folder_of_everything_is_sorted_into_scans() -> None:
    inversion = [
        picture(ti, z, TE=12, TI=ti, TR=2000, acquisition=f"ti {ti}", order=(5, ti))
        for ti in SIEMENS_TI
        for z in (0, 2)
    ]
    phase = [picture(te, TE=te, TR=3000, acquisition="mese", component="P") for te in (10, 20)]
    localiser = [picture(7, TE=5, TR=20, corner=(0, 0, 50), acquisition="loc", sequence="GE")]
    t2map = [picture(8, TE=10, acquisition="map", problem="computed from other images")]
    found = scans(shuffled([*echoes(), *inversion, *phase, *localiser, *t2map]), "scan")
    fit = [scan for scan in found if scan.plan is not None]
    assert [assemble(s.images, "scan").kind for s in fit] == ["MESE", "IRT1"]
    assert [len(s.images) for s in fit] == [3, 12]
    problems = " | ".join(s.error.found for s in found if s.error)
    for part in ("a phase image", "nothing varies", "computed from other images"):
        assert part in problems


def test_magnitude_and_real_images_of_one_acquisition_are_two_scans() -> None:
    real = [picture(te, TE=te, TR=3000, acquisition="mese", component="R") for te in (10, 20, 30)]
    found = scans(shuffled([*echoes(), *real]), "scan")
    assert sorted(assemble(s.images, "scan").signed for s in found) == [False, True]


def test_the_same_protocol_in_two_folders_is_two_scans_but_one_setting_per_folder_is_one() -> None:
    def sweep(folder: str) -> list[Image]:
        return [
            picture(ti, TI=ti, TE=10, acquisition=f"{folder}{ti}", file=folder.format(ti) + "/1")
            for ti in (50, 100, 200)
        ]

    assert len(scans([*sweep("before"), *sweep("after")], "study")) == 2
    assert len(scans(sweep("ti_{}"), "study")) == 1


@pytest.mark.parametrize("change", [{"affine": 0.1}, {"field_T": 3.0}])
def test_an_image_that_strays_from_its_acquisition_is_not_lost_in_silence(change) -> None:
    images = echoes((10, 20, 30, 40))
    shift = change.get("affine", 0.0)
    moved = images[2].affine + shift * np.eye(4, k=3)  # 0.1 mm along x
    images[2] = replace(images[2], affine=moved, field_T=change.get("field_T"))
    first, second = scans(images, "scan")
    for scan in (first, second):
        assert scan.plan is None
    assert "unlike the images taken with it" in str(first.error)


class TestRepeats:
    """Several images of one place at one setting: an error, until somebody says what they are."""

    TE = (10.0, 20.0, 40.0)

    def images(self, slices: Sequence[float] = (0.0, 2.0)) -> list[Image]:
        """Three repeats of each echo in each slice: value TE, TE + 3, TE + 6, plus 100·height."""
        return [
            picture(
                te + 3 * k + 100 * z, z, TE=te, TR=3000, acquisition="mese",
                order=(1.0, float(k)), file=f"scan/{te:g}_{z:g}_{k}",
            )
            for k in range(3)
            for te in self.TE
            for z in slices
        ]  # fmt: skip

    def test_nothing_is_averaged_silently(self) -> None:
        words = r"3 images of slice 1 of 2 .* at TE 10 ms.*repeats = \"mean\" or \"separate\""
        with pytest.raises(InputError, match=words):
            assemble(self.images(), "scan")

    def test_the_mean_when_asked(self) -> None:
        series = assemble(shuffled(self.images()), "scan", repeats="mean")
        assert series.protocol.TE.tolist() == [0.010, 0.020, 0.040]
        expected = np.array(self.TE) + 3 + 100 * np.array([[0], [2]])
        assert np.array_equal(series.signal[0, 0], expected)
        assert series.provenance.notes == ("mean of up to 3 images of one place at one setting",)
        assert len(series.provenance.files) == 18

    def test_each_a_point_when_asked(self) -> None:
        series = assemble(shuffled(self.images()), "scan", repeats="separate")
        assert series.protocol.TE.tolist() == [0.010] * 3 + [0.020] * 3 + [0.040] * 3
        expected = np.array([10, 13, 16, 20, 23, 26, 40, 43, 46]) + 100 * np.array([[0], [2]])
        assert np.array_equal(series.signal[0, 0], expected)
        assert "each a point of its own" in series.provenance.notes[0]

    def test_a_slice_with_fewer_is_an_error(self) -> None:
        with pytest.raises(InputError, match=r"2 of 3 repeats of slice 2 of 2 .* at TE 40 ms"):
            assemble(self.images()[:-1], "scan", repeats="mean")

    def test_a_setting_with_fewer_is_none(self) -> None:
        """Its mean is only noisier; what the weights should be is the user's to say."""
        images = [i for i in self.images() if not i.file.endswith("_2") or i.settings["TE"] < 0.03]
        assert len(assemble(images, "scan", repeats="separate").protocol) == 8
        assert assemble(images, "scan", repeats="mean").signal[0, 0, 0, 2] == 41.5

    def test_without_repeats_nothing_is_noted(self) -> None:
        assert assemble(echoes(), "scan", repeats="mean").provenance.notes == ()
