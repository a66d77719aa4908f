"""Figures of plans: what is drawn, at the size that was asked for."""

from __future__ import annotations

import numpy as np
import pytest

import relaxometry as rx
from relaxometry.plots import Look, as_svg, concentration_plot, contrast_map

TARGET = {"T1": 1.3, "T2": 0.08, "T2star": 0.05, "uptake_mM": 0.2, "name": "$5 <b>tumour</b>"}
REFERENCE = {"T1": 0.8, "T2": 0.06, "T2star": 0.03, "name": "liver"}


def planned(**given):
    usual = {"r1": 4.5, "r2": 12.0, "target": TARGET, "reference": REFERENCE, "sigma": 0.01}
    return rx.plan_contrast(**(usual | given))


def test_the_map_marks_the_optimum_and_what_is_nearly_as_good():
    plan = planned(maximise="dS", fixed="time")
    figure = contrast_map(plan)
    ax = figure.axes[0]
    (marker,) = ax.lines
    assert marker.get_xdata()[0] == pytest.approx(1e3 * plan.best.TE)
    assert marker.get_ydata()[0] == pytest.approx(1e3 * plan.best.TR)
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("TE (ms)", "TR (ms)")
    assert "line: 95 % of it" in ax.get_title(loc="left")
    # The line of 95 % crosses TE of the optimum where the range of TR ends.
    bold = max(ax.collections, key=lambda one: float(np.max(one.get_linewidths(), initial=0)))
    drawn = np.concatenate([path.vertices for path in bold.get_paths()])
    assert drawn[:, 1].min() == pytest.approx(1e3 * plan.best.within["TR"][0], rel=0.01)
    assert drawn[:, 1].max() == pytest.approx(1e3 * plan.best.within["TR"][1], rel=0.01)


def test_isolines_are_numbered_and_their_numbers_lie_apart():
    figure = contrast_map(planned())
    numbers = figure.axes[0].texts
    assert len(numbers) > 3
    places = np.log([text.get_position() for text in numbers])
    apart = np.linalg.norm(places[:, None] - places, axis=2) + 9 * np.eye(len(places))
    assert apart.min() > 0.1


def test_impossible_times_are_hatched():
    plan = planned(sequence="GRE", TE="10 ms", FA=20)
    ax = contrast_map(plan).axes[0]
    assert [one.get_hatch() for one in ax.collections if one.get_hatch()] == ["////"]
    assert "FA 20°" in ax.get_title(loc="left")


def test_signal_against_concentration():
    plan = planned(TE=0.01, TR=0.5, target=TARGET | {"uptake_mM": [0.05, 0.2, 1.0]})
    top, bottom = concentration_plot(plan).axes
    assert [text.get_text() for text in top.get_legend().get_texts()] == [TARGET["name"], "liver"]
    curve = top.lines[0]
    c, S = curve.get_xdata(), curve.get_ydata()
    peak = plan.limits()["peak_mM"][0]
    assert c[np.argmax(S)] == pytest.approx(peak, rel=0.05)
    dots = [line for line in top.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(dots[0].get_ydata(), plan.table["S_target_post"])
    assert bottom.get_xlabel() == "agent in the target (mM)"
    assert any(f"{peak:.2g} mM" in text.get_text() for text in top.texts)


def test_an_agent_taken_up_by_the_reference_alone():
    plan = planned(
        r1=None,
        r2=533.4,
        TE=0.04,
        TR=3,
        target=TARGET | {"uptake_mM": 0},
        reference=REFERENCE | {"uptake_mM": 0.05},
    )
    assert concentration_plot(plan).axes[1].get_xlabel() == "agent in the reference (mM)"
    nothing = planned(
        TE=0.04, TR=3, target=TARGET | {"uptake_mM": 0}, reference=REFERENCE | {"uptake_mM": 0}
    )
    assert nothing.plot("concentration").axes[1].get_xlabel() == "agent in the target (mM)"


def test_a_plan_that_shows_nothing_can_be_drawn():
    plan = planned(TE=0.04, TR=3, reference=None, target=TARGET | {"uptake_mM": 0})
    assert plan.best.value == 0
    assert len(contrast_map(plan).axes[0].texts) == 0


def test_the_size_that_was_asked_for():
    plan = planned(sequence="IR", TE=0.01, TI=0.5)
    for width in ("single", "double", 60.0):
        look = Look(width)
        for kind in ("contrast", "concentration"):
            figure = plan.plot(kind, look=look)
            assert figure.get_size_inches()[0] == pytest.approx(look.inches)


def test_the_same_plan_gives_the_same_bytes():
    assert as_svg(planned().plot()) == as_svg(planned().plot())
