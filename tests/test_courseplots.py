"""Figures of time courses and of maps of what changed."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

import relaxometry as rx
from relaxometry import plots
from relaxometry.canvas import Look


def course(quantity="SNR", group="", times=(0.0, 600.0, 1200.0, 1800.0), n=4, **options):
    rng = np.random.default_rng(1)
    rows = [
        {"animal": f"m{a}", "time_s": t, "value": 20 - 8 * (0 < t < 1800) + rng.normal()}
        for a in range(n)
        for t in times
    ]
    return rx.time_course(pd.DataFrame(rows), quantity, group=group, **options)


def texts(figure):
    figure.draw_without_rendering()
    return [t.get_text() for ax in figure.axes for t in [*ax.texts, ax.title, ax._left_title]]


class TestTimeCourse:
    @pytest.mark.parametrize("width", ["single", "double"])
    def test_a_panel_per_quantity(self, width):
        quantities = ("SNR", "CNR_relative", "dR1_per_s", "dR2_per_s")
        figure = plots.time_course([course(q) for q in quantities], look=Look(width))
        labels = [ax.get_ylabel() for ax in figure.axes]
        assert labels == ["SNR", "CNR, relative", "ΔR1 (s⁻¹)", "ΔR2 (s⁻¹)"]
        assert figure.get_figwidth() == pytest.approx(Look(width).inches)
        assert all(ax.get_xlabel() == "time after injection (min)" for ax in figure.axes)

    @pytest.mark.parametrize(
        ("times", "label"),
        [
            ((0.0, 30.0, 60.0), "(s)"),
            ((0.0, 300.0, 900.0), "(min)"),
            ((0.0, 3600.0, 24 * 3600.0), "(h)"),
            ((0.0, 86400.0, 5 * 86400.0), "(d)"),
        ],
    )
    def test_unit_of_time(self, times, label):
        (ax,) = plots.time_course(course(times=times)).axes
        assert ax.get_xlabel().endswith(label)

    def test_long_spans_are_logarithmic_with_times_as_people_say_them(self):
        (ax,) = plots.time_course(course(times=(0.0, 300.0, 3600.0, 86400.0))).axes
        assert ax.get_xscale() == "symlog"
        told = [t.get_text() for t in ax.get_xticklabels()]
        assert set(told) == {"0", "5 min", "1 h", "1 d"}

    def test_animals_mean_and_before_are_drawn(self):
        found = course()
        (ax,) = found.plot().axes
        lines = [line.get_ydata() for line in ax.lines if len(line.get_xdata()) == 4]
        assert any(np.allclose(y, found.mean) for y in lines)
        for animal in found.animals:
            assert any(np.allclose(y, animal.value) for y in lines)
        dashed = [line.get_ydata()[0] for line in ax.lines if line.get_linestyle() == "--"]
        assert dashed == [pytest.approx(np.mean([a.before for a in found.animals]))]

    def test_changes(self):
        found = course()
        (ax,) = plots.time_course(found, change=True).axes
        assert ax.get_ylabel() == "change of SNR"
        assert any(np.array_equal(line.get_ydata(), found.change_mean) for line in ax.lines)

    def test_the_peak_is_ringed_and_told(self):
        found = course()
        figure = plots.time_course(found)
        (ax,) = figure.axes
        rings = [line for line in ax.lines if line.get_markerfacecolor() == "none"]
        assert rings[0].get_xdata()[0] * 60 == found.curve_peak[1]
        assert any(text.startswith("peak change −") for text in texts(figure))

    def test_a_peak_not_reached_is_said(self):
        figure = plots.time_course(course(times=(0.0, 600.0, 1200.0)))
        assert any("not reached in" in text for text in texts(figure))

    def test_groups_share_a_panel(self):
        figure = plots.time_course([course(group="C3"), course(group="IO-5")])
        assert len(figure.axes) == 1
        (legend,) = figure.legends
        assert [t.get_text() for t in legend.get_texts()] == ["C3", "IO-5"]

    def test_one_animal_and_no_before(self):
        figure = course(times=(60.0, 120.0), n=1).plot()
        assert any("no change known" in text for text in texts(figure))

    def test_a_name_is_no_formula(self):
        figure = plots.time_course([course(group="$x$"), course(group="b")])
        assert plots.as_png(figure, 60).startswith(b"\x89PNG")

    def test_refusals(self):
        with pytest.raises(rx.InputError, match="no time course"):
            plots.time_course([])
        with pytest.raises(rx.InputError, match="two courses of one quantity"):
            plots.time_course([course(), course()])


class TestChangeMap:
    value = np.full((6, 5, 2), np.nan)
    value[1:4, 1:4, 1] = np.arange(9).reshape(3, 3) - 2.0

    def image(self, quantity="dR2"):
        return rx.MapImage(quantity, self.value, np.eye(4))

    def test_zero_is_in_the_middle(self):
        figure = plots.change_map(self.image())
        (drawn,) = figure.axes[0].images
        low, high = drawn.get_clim()
        assert low == -high
        assert high == pytest.approx(np.percentile(np.abs(np.arange(9) - 2.0), 98))
        assert figure.axes[1].get_title(loc="left") == "ΔR2 (s⁻¹)"

    def test_colours_of_a_region_and_slice(self):
        mask = np.zeros(self.value.shape, bool)
        mask[1, 1:3, 1] = True
        (drawn,) = plots.change_map(self.image(), mask, 1).axes[0].images
        assert drawn.get_clim()[1] == pytest.approx(2, rel=0.02)

    def test_nothing_determined(self):
        empty = rx.MapImage("concentration", np.full((3, 3, 1), math.nan), np.eye(4))
        figure = plots.change_map(empty)
        assert figure.axes[1].get_title(loc="left") == "conc. (mM)"

    def test_refusals(self):
        with pytest.raises(rx.GeometryError, match="mask: shape"):
            plots.change_map(self.image(), np.ones((2, 2, 2), bool))
        with pytest.raises(rx.InputError, match="z: 2; expected a slice from 0 to 1"):
            plots.change_map(self.image(), z=2)
