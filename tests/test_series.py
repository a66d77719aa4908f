"""`Protocol` and `Series`: checked at birth, and never changed after."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import numpy as np
import pytest

import relaxometry as rx
from relaxometry.series import Provenance

TE = np.arange(1, 5) * 0.010


def series(n=4, **facts):
    facts.setdefault("protocol", rx.Protocol(TE=np.arange(1, n + 1) * 0.010))
    return rx.Series(np.arange(2 * 3 * 1 * n, dtype=float).reshape(2, 3, 1, n), **facts)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({}, "no acquisition times"),
        ({"TE": [0.01, 0.0]}, "TE: 0 is not possible"),
        ({"TE": [0.01, -0.02]}, "TE: -0.02 is not possible"),
        ({"TR": [1.0, np.nan]}, "TR: nan is not possible"),
        ({"TI": [0.1, np.inf]}, "TI: inf is not possible"),
        ({"TI": [-0.1, 0.2]}, "TI: -0.1 is not possible"),
        ({"FA": [0.0, 5.0]}, "FA: 0 is not possible"),
        ({"TE": -0.01}, "TE: -0.01 is not possible"),
        ({"TE": []}, "TE: shape"),
        ({"TE": [[0.01, 0.02]]}, "TE: shape"),
        ({"TE": ["10 ms"]}, "TE: .* not numeric"),
        ({"TE": [0.01, None]}, "TE: nan"),
        ({"TE": [0.01, 0.02], "TR": [1, 2, 3]}, "different length: TE has 2, TR has 3"),
    ],
)
def test_a_protocol_that_cannot_be_right(settings, complaint):
    with pytest.raises(rx.ProtocolError, match=complaint):
        rx.Protocol(**settings)


def test_a_single_value_stands_for_every_image():
    protocol = rx.Protocol(TE=TE, TR=3)
    assert len(protocol) == 4
    np.testing.assert_array_equal(protocol.TR, [3, 3, 3, 3])
    assert protocol.TI is None


def test_an_inversion_time_may_be_zero():
    assert rx.Protocol(TI=[0.0, 1.0]).times[0] == 0


@pytest.mark.parametrize(
    ("settings", "swept"),
    [
        ({"TE": TE, "TR": 3.0}, "TE"),
        ({"TI": [0.1, 0.2], "TR": 3.0, "TE": 0.01}, "TI"),
        ({"TI": [0.1, 0.2], "TR": [2.0, 3.0]}, "TI"),  # TR may follow TI
        ({"TR": [1.0, 2.0]}, "TR"),
        ({"FA": [5, 10], "TR": 0.015}, "FA"),
        ({"TE": TE, "TR": 3.0 + 1e-7 * np.arange(4)}, "TE"),  # as a scanner rounds it
    ],
)
def test_what_was_swept(settings, swept):
    protocol = rx.Protocol(**settings)
    assert protocol.swept == swept
    np.testing.assert_array_equal(protocol.times, getattr(protocol, swept))


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"TE": 0.01}, "nothing varies"),
        ({"TE": [0.01, 0.01]}, "nothing varies"),
        ({"TE": [0.01, 0.02], "TR": [1, 2]}, "TE and TR vary together: TE 10 … 20 ms"),
        ({"TE": [0.01, 0.02], "TI": [1, 2]}, "TE and TI vary"),
        ({"TE": [0.01, 0.02], "TI": [1, 2], "TR": [1, 2]}, "TE and TI and TR vary"),
        ({"FA": [5, 10], "TR": [1, 2]}, "TR and FA vary"),
    ],
)
def test_exactly_one_setting_is_swept(settings, complaint):
    with pytest.raises(rx.ProtocolError, match=complaint):
        rx.Series(np.ones((2, 2, 1, len(rx.Protocol(**settings)))), rx.Protocol(**settings))


def test_points_are_sorted_and_what_belongs_to_them_comes_along():
    TI, TR = [0.8, 0.1, 0.4], [3.0, 1.0, 2.0]
    signal = np.array([800.0, 100.0, 400.0]) * np.ones((2, 3, 1, 1))
    made = rx.Series(signal, rx.Protocol(TI=TI, TR=TR))
    np.testing.assert_array_equal(made.protocol.TI, [0.1, 0.4, 0.8])
    np.testing.assert_array_equal(made.protocol.TR, [1, 2, 3])
    np.testing.assert_array_equal(made.signal[1, 2, 0], [100, 400, 800])
    np.testing.assert_array_equal(signal[0, 0, 0], [800, 100, 400])  # what was given stays


def test_nothing_can_be_changed_after():
    made = series()
    with pytest.raises(FrozenInstanceError):
        made.field_T = 3.0
    with pytest.raises(FrozenInstanceError):
        made.protocol.TE = TE
    for array in (made.signal, made.affine, made.protocol.TE):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    with pytest.raises(TypeError):
        made.provenance.origin["TE"] = "elsewhere"


def test_a_slice_without_z_is_one_slice():
    made = rx.Series(np.ones((5, 6, 4)), rx.Protocol(TE=TE))
    assert made.grid == (5, 6, 1)
    assert made.signal.dtype == np.float32


@pytest.mark.parametrize(
    ("signal", "complaint"),
    [
        (np.ones(4), "signal of shape"),
        (np.ones((2, 2, 1, 4, 1)), "signal of shape"),
        (np.ones((0, 2, 1, 4)), "signal of shape"),
        (np.ones((2, 2, 1, 3)), "3 images with 4 settings"),
        (np.ones((2, 2, 1, 4)) * 1j, "complex"),
        (np.full((2, 2, 1, 4), "a"), "real numbers"),
    ],
)
def test_a_signal_that_cannot_be_right(signal, complaint):
    with pytest.raises(rx.InputError, match=complaint):
        rx.Series(signal, rx.Protocol(TE=TE))


@pytest.mark.parametrize("field_T", [0, -7.0, float("nan"), 7000])
def test_a_field_that_cannot_be_right(field_T):
    with pytest.raises(rx.InputError, match="field_T"):
        series(field_T=field_T)


def test_points_are_dropped_with_a_reason_that_stays():
    made = series().drop([1, 3], "stimulated echo")
    np.testing.assert_allclose(made.protocol.TE, [0.02, 0.04])
    np.testing.assert_array_equal(made.signal[0, 0, 0], [1, 3])
    assert made.provenance.notes == ("left out point 1, 3 of 4: stimulated echo",)
    assert series().drop([], "nothing").provenance.notes == ()


@pytest.mark.parametrize(
    ("points", "reason", "complaint"),
    [
        ([0], "why", "no point 0"),
        ([5], "why", "no point 5; expected numbers from 1 to 4"),
        ([-1], "why", "no point -1"),
        ([1.5], "why", "no point 1.5"),
        ([1], "", "without a reason"),
        ([1, 2, 3], "why", "1 point left of 4"),
    ],
)
def test_points_that_cannot_be_dropped(points, reason, complaint):
    with pytest.raises(rx.InputError, match=complaint):
        series().drop(points, reason)


def test_one_line_says_what_a_person_would_ask_first():
    assert repr(rx.Protocol(TE=TE, TR=3)) == "Protocol: TE 10 … 40 ms, TR 3000 ms"
    assert repr(rx.Protocol(FA=[5, 20])) == "Protocol: FA 5 … 20°"
    bruker = Provenance(source="DICOM", vendor="Bruker")
    assert (
        repr(series(field_T=7.0, provenance=bruker))
        == "Series: MESE, 2×3×1, 4 TE 10 … 40 ms, 7 T, Bruker"
    )
    recovery = rx.Protocol(TI=[0, 0.1, 0.2, 1], TR=5)
    assert (
        repr(series(protocol=recovery, signed=True))
        == "Series: IRT1, 2×3×1, 4 TI 0 … 1000 ms, signed, field not stated, array"
    )
    gradient = series(sequence="GE")
    assert repr(gradient).startswith("Series: MEGRE")
    assert repr(series(protocol=rx.Protocol(TR=[1, 2, 3, 4]))).startswith("Series: VTR")
    assert "<script>" not in series(provenance=Provenance(vendor="<script>"))._repr_html_()


def test_root_sum_of_squares_shows_nulls_and_short_times():
    signal = np.zeros((3, 1, 1, 4))
    signal[0], signal[1, 0, 0, 0] = [3, 4, 0, 0], -5
    image = rx.Series(signal, rx.Protocol(TE=TE)).root_sum_of_squares()
    np.testing.assert_allclose(image[:, 0, 0], [5, 5, 0])


@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (3, 0, 1, 2), (2, 3, 1, 0)])
def test_root_sum_of_squares_of_many_slabs(axes, monkeypatch):
    """However the array lies in memory, and wherever it is cut."""
    values = np.random.default_rng(1).normal(size=(5, 4, 7, 3)).astype(np.float32)
    laid = np.ascontiguousarray(values.transpose(axes)).transpose(np.argsort(axes))
    monkeypatch.setattr("relaxometry.series._SLAB", 400)
    image = rx.Series(laid, rx.Protocol(TE=TE[:3]), signed=True).root_sum_of_squares()
    assert image.dtype == np.float32
    np.testing.assert_allclose(image, np.linalg.norm(values.astype(float), axis=3), rtol=1e-6)


@pytest.mark.parametrize(("points", "copied"), [([1], False), ([1, 4], False), ([2], True)])
def test_what_is_left_of_a_mapped_series_stays_in_its_file_if_it_lies_together(points, copied):
    signal = np.asfortranarray(np.arange(24, dtype=np.float32).reshape(2, 3, 1, 4))
    left = rx.Series(signal, rx.Protocol(TE=TE)).drop(points, "why")
    keep = [k for k in range(4) if k + 1 not in points]
    np.testing.assert_array_equal(left.signal, signal[..., keep])
    assert np.shares_memory(left.signal, signal) is not copied


def test_objects_show_themselves_in_jupyter_escaped():
    regions = np.array([[1, 1, 2, 2, 3, 3, 3]])
    pre, post = (np.array([[38.0, 42, a, a, 1, 3, 5]]) for a in (30, 10))
    named = rx.measure_contrast(pre, post, regions, target=1, reference=2, noise=3, name="<b>")
    for thing in (named, rx.Estimate(0.1, 0.01, "T2"), rx.Protocol(TE=[0.01, 0.02])):
        shown = thing._repr_html_()
        assert "<b>" not in shown
        assert shown.startswith("<pre")
    assert "&lt;b&gt;" in named._repr_html_()
