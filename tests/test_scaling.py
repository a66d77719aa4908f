"""The scale of one image against another by a reference, by hand arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

import relaxometry as rx

# Ten voxels of 8 and 12 (mean 10, SD √(40/9) = 2.108), ten of 18 and 22 (mean 20, the same SD).
PRE = np.array([[8.0, 12] * 5, [0.0] * 10])
POST = np.array([[18.0, 22] * 5, [0.0] * 10])
REGION = np.array([[True] * 10, [False] * 10])


def test_ratio_and_its_error():
    """Ratio 2; s = 2.108/√10 = 2/3 each; stderr = √((0.667/10)² + (2·0.667/10)²) = 0.1491."""
    found = rx.intensity_scale(PRE, POST, REGION)
    assert found.ratio.value == pytest.approx(2)
    assert found.ratio.stderr == pytest.approx(np.sqrt(5) / 15)
    assert found.sd_pre == pytest.approx(np.sqrt(40 / 9) / 10)
    assert found.sd_post == pytest.approx(np.sqrt(40 / 9) / 20)
    assert found.n_voxels == 10
    assert found.changed


def test_it_divides():
    found = rx.intensity_scale(PRE, POST, REGION)
    np.testing.assert_allclose(found.apply(POST)[0, :2], [9, 11])
    again = rx.intensity_scale(PRE, found.apply(POST), REGION)
    assert again.ratio.value == pytest.approx(1)
    assert not again.changed


@pytest.mark.parametrize(
    ("factor", "tolerance", "changed", "said"),
    [
        (1.04, 0.05, False, "within 5 %, the scale did not change"),
        (1.04, 0.01, True, "divide the image after by this"),
        (0.8, 0.05, True, "muscle is 0.800000 ± 0.000011 times"),
        (1.0, 0.0, False, "within 0 %"),
    ],
)
def test_the_verdict(factor, tolerance, changed, said):
    pre = np.where(np.arange(10000) % 2, 99.9, 100.1)  # stderr of the ratio: about 1.4e-5
    found = rx.intensity_scale(
        pre, factor * pre, np.ones(10000, bool), name="muscle", tolerance=tolerance
    )
    assert found.changed is changed
    assert said in found.words
    assert found.words in repr(found)


def test_a_change_that_may_be_noise_is_none():
    post = np.array([5.0, 19] * 5 + [0.0] * 10).reshape(2, 10)  # mean 12, stderr of the ratio 0.25
    found = rx.intensity_scale(PRE, post, REGION)
    assert found.ratio.value == pytest.approx(1.2)
    assert not found.changed
    assert "too uncertain" in found.words
    assert any("scatters by 61 %" in note for note in found.notes)


def test_what_is_no_number_is_left_out_of_both():
    pre, region = np.full((2, 10), 10.0), np.ones((2, 10), bool)
    post = 2 * pre
    pre[0, 0], post[0, 1] = np.nan, np.inf
    found = rx.intensity_scale(pre, post, region)
    assert found.ratio.value == pytest.approx(2)
    assert found.n_voxels == 18
    assert "2 of 20 voxels" in found.notes[0]


@pytest.mark.parametrize(
    ("pre", "post", "region", "options", "complaint"),
    [
        (0 * PRE, POST, REGION, {}, "the reference: mean signal 0 before; expected a positive"),
        (PRE, -POST, REGION, {}, "mean signal -20 after"),
        (PRE, np.nan * POST, REGION, {}, "0 voxels with a number"),
        (PRE, POST, np.arange(20).reshape(2, 10) < 9, {}, "9 voxels with a number"),
        (PRE, POST[:1], REGION, {}, "expected one grid"),
        (PRE, POST, REGION[:, :5], {}, "expected one grid"),
        (PRE, POST, REGION, {"tolerance": -1}, "tolerance"),
        (PRE, POST.astype(str), REGION, {}, "post: an array of"),
    ],
)
def test_what_is_refused(pre, post, region, options, complaint):
    with pytest.raises(rx.InputError, match=complaint):
        rx.intensity_scale(pre, post, region, **options)
