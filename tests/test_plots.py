"""Figures: what is drawn is what was measured, in the unit its axis says, seen the right way up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from relaxometry import canvas, pictures, plots
from relaxometry.agents import RelaxivityTable, relaxivity
from relaxometry.animalscans import tumour
from relaxometry.contrastmeasure import measure_contrast
from relaxometry.curvefit import fit_curve
from relaxometry.finding import find_tubes
from relaxometry.fit import fit_maps, fit_tubes
from relaxometry.maps import ParameterMaps
from relaxometry.series import Protocol, Series
from relaxometry.tubes import Tubes, tubes_from_labels
from relaxometry.tubetable import tube_table

from . import handmade


@pytest.fixture(scope="module")
def series() -> dict[str, Series]:
    return {quantity: handmade.series_of(quantity) for quantity in ("T1", "T2")}


@pytest.fixture(scope="module")
def tubes(series: dict[str, Series]) -> Tubes:
    return find_tubes(series["T2"], handmade.sheet_of())


@pytest.fixture(scope="module")
def maps(series: dict[str, Series], tubes: Tubes) -> dict[str, ParameterMaps]:
    return {quantity: fit_maps(one, mask=tubes.mask) for quantity, one in series.items()}


@pytest.fixture(scope="module")
def table(tubes: Tubes, maps: dict[str, ParameterMaps]) -> pd.DataFrame:
    return tube_table(tubes, *maps.values())


@pytest.fixture(scope="module")
def lines(table: pd.DataFrame) -> RelaxivityTable:
    return relaxivity(table)


def picture(figure: Figure) -> AxesImage:
    return figure.axes[0].get_images()[0]


def words(figure: Figure) -> str:
    return " | ".join(t.get_text() for t in figure.findobj(lambda a: hasattr(a, "get_text")))


def test_a_map_is_in_ms_with_its_colours_and_no_value_is_grey(
    maps: dict[str, ParameterMaps], tubes: Tubes
) -> None:
    for name, colours in (("T1", "lipari"), ("T2", "navia")):
        figure = plots.parameter_map(maps[name], name)
        drawn = picture(figure)
        # "small" is axial with +x to the patient's left and +y to the back: rows are y, down.
        expected = 1e3 * maps[name][name].value[:, :, 0].T
        np.testing.assert_allclose(np.ma.filled(drawn.get_array(), np.nan), expected)
        assert colours in drawn.get_cmap().name
        assert figure.axes[1].get_title(loc="left") == f"{name} (ms)"
        r, g, b, _ = drawn.get_cmap()(np.ma.masked)
        assert r == g == b
        low, high = drawn.get_clim()
        known = expected[np.isfinite(expected)]
        assert low <= np.median(known) <= high <= known.max()


def test_one_wild_voxel_does_not_set_the_colours(maps: dict[str, ParameterMaps]) -> None:
    value, stderr = (array.copy() for array in maps["T2"].raw["T2"])
    before = picture(plots.parameter_map(maps["T2"], "T2")).get_clim()
    value[np.unravel_index(np.nanargmax(value), value.shape)] = 100.0
    wild = replace(maps["T2"], raw={**maps["T2"].raw, "T2": (value, stderr)})
    after = picture(plots.parameter_map(wild, "T2")).get_clim()
    assert after == pytest.approx(before, rel=0.05)


def test_colours_are_for_the_tubes_and_not_for_what_is_around(
    series: dict[str, Series], tubes: Tubes
) -> None:
    everywhere = fit_maps(series["T1"])  # noise in the air: any T1 at all
    values = 1e3 * everywhere["T1"].value[tubes.mask]
    low, high = picture(plots.parameter_map(everywhere, "T1", tubes)).get_clim()
    assert 0 <= low <= np.percentile(values, 2)
    assert np.percentile(values, 90) <= high <= values.max()
    assert high < np.nanmax(1e3 * everywhere["T1"].value) / 2


def test_a_map_without_any_value_is_drawn(series: dict[str, Series]) -> None:
    nothing = fit_maps(series["T2"], mask=np.zeros(series["T2"].grid, bool))
    assert plots.as_png(plots.parameter_map(nothing, "T2")).startswith(b"\x89PNG")


def test_numbers_lie_on_their_tubes_as_the_picture_is_shown(
    series: dict[str, Series], tubes: Tubes
) -> None:
    """The same scan stored the other way round looks the same."""
    flipped = series["T2"].affine.copy()
    flipped[:3, 0] *= -1
    flipped[:3, 3] += series["T2"].affine[:3, 0] * (series["T2"].grid[0] - 1)
    mirrored = replace(series["T2"], signal=series["T2"].signal[::-1], affine=flipped)
    labels = tubes_from_labels(tubes.labels[::-1].copy(), flipped, tubes.sheet)
    figures = [plots.tube_overlay(series["T2"], tubes), plots.tube_overlay(mirrored, labels)]
    images = [picture(figure).get_array() for figure in figures]
    np.testing.assert_array_equal(*images)
    for figure in figures:
        texts = {t.get_text(): t.get_position() for t in figure.axes[0].texts}
        assert sorted(texts, key=int) == [str(n) for n in range(1, 8)]
        # Three by row: 1 is left of 2, 4 is under 1, and 1 lies where the phantom has it.
        assert texts["1"][0] < texts["2"][0]
        assert texts["4"][1] > texts["1"][1]
        voxel = 40 / 64
        x, y = (tubes.circles[0, :2] / voxel).tolist()
        assert texts["1"] == pytest.approx((x, y), abs=0.5)


def test_outlines_enclose_just_the_voxels_measured() -> None:
    labels = np.zeros((8, 6, 1), dtype=np.int32)
    labels[2:5, 1:3, 0] = 1
    scan = Series(np.ones((8, 6, 1, 2), np.float32), Protocol(TE=[0.01, 0.02]), affine=_axial())
    figure = plots.tube_overlay(scan, tubes_from_labels(labels, scan.affine))
    path = figure.axes[0].patches[0].get_path()
    assert len(path.vertices) == 2 * (2 * 3 + 2 * 2)  # the edges around 3 × 2 voxels
    np.testing.assert_allclose(path.vertices.min(axis=0), [1.5, 0.5])
    np.testing.assert_allclose(path.vertices.max(axis=0), [4.5, 2.5])


def _axial() -> np.ndarray:
    return np.diag([-1.0, -1.0, 1.0, 1.0])


def test_a_number_does_not_hide_a_small_tube() -> None:
    labels = np.zeros((100, 100, 1), dtype=np.int32)
    labels[50:53, 40:43] = 1  # columns 50 to 52, rows 40 to 42
    labels[10:40, 60:90] = 2
    scan = Series(np.ones((100, 100, 1, 2), np.float32), Protocol(TE=[0.01, 0.02]), affine=_axial())
    small, large = plots.tube_overlay(scan, tubes_from_labels(labels, scan.affine)).axes[0].texts
    assert small.get_position()[0] == 51
    assert small.get_position()[1] < 40
    assert small.get_va() == "bottom"
    assert large.get_position() == (24.5, 74.5)


def test_voxels_that_are_not_square_keep_their_proportions() -> None:
    affine = np.diag([-2.0, -1.0, 1.0, 1.0])
    scan = Series(np.ones((10, 10, 1, 2), np.float32), Protocol(TE=[0.01, 0.02]), affine=affine)
    labels = np.zeros((10, 10, 1), dtype=np.int32)
    labels[4:6, 4:6] = 1
    width, height = plots.tube_overlay(scan, tubes_from_labels(labels, affine)).get_size_inches()
    assert width / height == pytest.approx(2)


def test_of_several_slices_the_fullest_is_shown() -> None:
    mask = np.zeros((4, 4, 5), dtype=bool)
    mask[1:3, 1:3, 1:4] = True
    assert pictures.fullest_slice(mask) == 2
    mask[0, 0, 3] = True
    assert pictures.fullest_slice(mask) == 3


def test_curves_pass_through_noiseless_points(tubes: Tubes) -> None:
    TI = np.array([0.03, 0.1, 0.3, 0.6, 1.0, 2.0])
    protocol = Protocol(TI=TI, TR=TI + 0.5)  # TR grows with TI
    signal = np.abs(900 * (1 + np.exp(-protocol.TR / 0.8) - 1.9 * np.exp(-TI / 0.8)))
    one = replace(tubes, sheet=tubes.sheet)
    curves = [fit_curve(protocol, signal, "t1_ir")] * len(one)
    figure = plots.curve_panel(curves, one)
    ax = figure.axes[0]
    curve, points = ax.get_lines()
    np.testing.assert_allclose(points.get_xdata(), 1e3 * TI)
    np.testing.assert_allclose(points.get_ydata(), signal / signal.max())
    x, y = curve.get_data()
    assert len(x) > 100
    assert x[[0, -1]] == pytest.approx(1e3 * TI[[0, -1]])
    # At every TI of the line, the equation with the TR that belongs to it.
    truth = np.abs(1 + np.exp(-(x / 1e3 + 0.5) / 0.8) - 1.9 * np.exp(-x / 800)) * 900 / signal.max()
    np.testing.assert_allclose(y, truth, atol=1e-6)
    assert "T1 800" in ax.get_title()
    assert figure.get_supxlabel() == "TI (ms)"


def test_times_are_logarithmic_where_they_span_much(
    series: dict[str, Series], tubes: Tubes
) -> None:
    panels = {q: plots.curve_panel(fit_tubes(s, tubes), tubes) for q, s in series.items()}
    assert panels["T1"].axes[0].get_xscale() == "log"  # 50 … 5000 ms
    assert panels["T2"].axes[0].get_xscale() == "linear"  # 10 … 160 ms
    from_zero = Protocol(TI=[0.0, 0.1, 1.0, 5.0], TR=8.0)
    curves = [fit_curve(from_zero, [90, 70, 20, 98], "t1_ir")] * len(tubes)
    assert plots.curve_panel(curves, tubes).axes[0].get_xscale() == "linear"


def test_signed_curves_show_their_negative_part(tubes: Tubes) -> None:
    protocol = Protocol(TI=[0.05, 0.2, 0.6, 1.5, 4.0], TR=8.0)
    signal = 100 * (1 - 1.9 * np.exp(-protocol.TI / 0.7))
    curves = [fit_curve(protocol, signal, "t1_ir", polarity="signed")] * len(tubes)
    assert plots.curve_panel(curves, tubes).axes[0].get_ylim()[0] < signal.min() / signal.max()


def test_doubtful_tubes_are_marked(series: dict[str, Series], tubes: Tubes) -> None:
    curves = list(fit_tubes(series["T2"], tubes))
    flat = fit_curve(series["T2"].protocol, np.zeros(16), "t2")
    noise = fit_curve(series["T2"].protocol, np.linspace(10, 11, 16), "t2")
    figure = plots.curve_panel([flat, noise, *curves[2:]], tubes, flagged={4})
    titles = [ax.get_title() for ax in figure.axes[:7]]
    assert [title.startswith("⚑") for title in titles] == [True, True, False, True, *[False] * 3]
    assert "low signal" in titles[0]
    assert "at bound" in titles[1]
    assert plots.as_svg(figure)


def test_lines_show_points_errors_and_truth(lines: RelaxivityTable) -> None:
    figure = plots.relaxivity_lines(lines, concentration_of="Fe")
    labels = ["R1 (s⁻¹)", "R2 (s⁻¹)", "residual / σ", "residual / σ"]
    assert sorted(ax.get_ylabel() for ax in figure.axes) == sorted(labels)
    assert [ax.get_xlabel() for ax in figure.axes[2:]] == ["concentration (mM Fe)"] * 2
    ax = figure.axes[1]
    line, bars = ax.containers[0].lines[0], ax.containers[0].lines[2][0]
    fitted = lines["A"]["r2"]
    np.testing.assert_allclose(line.get_xdata(), fitted.concentration)
    np.testing.assert_allclose(line.get_ydata(), fitted.rate)
    ends = np.array([segment[:, 1] for segment in bars.get_segments()])
    np.testing.assert_allclose(np.ptp(ends, axis=1), 2 * fitted.sigma)
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert band.max() > fitted.line(0.4)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels[0] == f"A  {fitted.r}".removesuffix(" mM⁻¹ s⁻¹")
    assert ax.get_legend().get_title().get_text() == "r2 (mM⁻¹ s⁻¹)\n± standard error"


def test_excluded_points_are_hollow(table: pd.DataFrame) -> None:
    sheet = table.assign(exclude=table["tube"] == 1)
    figure = plots.relaxivity_lines(relaxivity(sheet))
    ax = figure.axes[1]
    hollow = [one for one in ax.get_lines() if one.get_markerfacecolor() == "white"]
    assert [one.get_xydata().tolist() for one in hollow] == [[[0.4, table["R2_per_s"][0]]]]


def test_flagged_points_are_hollow_and_the_legend_says_why(table: pd.DataFrame) -> None:
    flags = np.where(table["tube"] == 1, "T2_short T2_imprecise", "")
    figure = plots.relaxivity_lines(relaxivity(table.assign(flags=flags)))
    for ax, points in zip(figure.axes[:2], ([], [[[0.4, table["R2_per_s"][0]]]]), strict=True):
        hollow = [one for one in ax.get_lines() if one.get_markerfacecolor() == "white"]
        assert [one.get_xydata().tolist() for one in hollow] == points
        assert [text.get_text() for text in ax.texts] == ["1"] * len(points)
    labels = [text.get_text() for text in figure.axes[1].get_legend().get_texts()]
    assert labels[-1] == "tube 1 left out: short, imprecise"


def test_a_point_far_off_presses_no_line_flat(table: pd.DataFrame) -> None:
    wild = table.assign(exclude=table["tube"] == 1)
    wild.loc[0, ["R2_per_s", "T2_s"]] = 1e5, 1e-5
    ax = plots.relaxivity_lines(relaxivity(wild)).axes[1]
    assert ax.get_ylim()[1] < 2 * table["R2_per_s"].max()
    assert ax.get_legend().get_texts()[-1].get_text().replace("\n", " ") == (
        "tube 1 left out: no reason given (off the scale)"
    )


def test_every_agent_and_condition_looks_different() -> None:
    rows = [
        {
            "agent": f"agent {i}",
            "condition": condition,
            "concentration_mM": c,
            "R2_per_s": 9 + i * c,
        }
        for i in range(9)
        for condition in ("before", "after")
        for c in (0.0, 0.5, 1.0)
    ]
    figure = plots.relaxivity_lines(relaxivity(pd.DataFrame(rows)))
    ax = figure.axes[0]
    looks = {(c.lines[0].get_color(), c.lines[0].get_marker()) for c in ax.containers}
    assert len(ax.containers) == 18
    assert len({colour for colour, _ in looks}) == 7
    assert {c.lines[0].get_color() for c in ax.containers[:2]} == {canvas.AGENT_COLOURS[0]}
    assert plots.as_svg(figure)


def test_two_points_have_a_line_and_no_band() -> None:
    table = pd.DataFrame({"agent": "A", "concentration_mM": [0.0, 1.0], "T1_ms": [2500, 200]})
    figure = plots.relaxivity_lines(relaxivity(table))
    assert len(figure.axes) == 1
    assert not any("Poly" in type(c).__name__ for c in figure.axes[0].collections)
    assert plots.as_svg(figure)


def test_names_are_never_formulas() -> None:
    names = ["$\\frac{1}", "_hidden", "<b>&amp;", "Fe₃O₄@SiO₂ é"]
    table = pd.DataFrame(
        [
            {"agent": name, "concentration_mM": c, "R1_per_s": 0.4 + c, "R2_per_s": 9 + 50 * c}
            for name in names
            for c in (0.0, 0.5, 1.0)
        ]
    )
    figure = plots.relaxivity_lines(relaxivity(table))
    for name in names:
        assert f"{name}  " in words(figure)
    assert b"<b>" not in plots.as_svg(figure)


def test_bars_are_before_and_after() -> None:
    pre, post, regions, _ = tumour(2)
    one = [a[..., :1] for a in (pre, post, regions)]
    both = [
        measure_contrast(*arrays, target=1, reference=2, noise=3, name=name)
        for arrays, name in ((one, "one"), ((pre, post, regions), "two"))
    ]
    figure = plots.contrast_bars(both)
    titles = ["SNR, target", "SNR, reference", "CNR, relative", "CNR, usual"]
    assert [ax.get_title(loc="left") for ax in figure.axes] == titles
    for ax, name in zip(figure.axes, ("SNR_target", "SNR_reference"), strict=False):
        heights = [bar.get_height() for bar in ax.patches]
        expected = [c.mean(f"{name}_{when}") for c in both for when in ("pre", "post")]
        assert heights == pytest.approx(expected)
        assert [t.get_text().split("\n")[-1] for t in ax.get_xticklabels()] == [
            *("before", "after"),
            *("before", "after"),
        ]
    assert "over slices" in words(figure)
    assert plots.as_svg(figure)


def test_bars_of_animals_have_dots_and_stars() -> None:
    group = []
    for seed in range(4):
        pre, post, regions, _ = tumour(seed)
        found = measure_contrast(pre, post, regions, target=1, reference=2, noise=3)
        group.append(replace(found, animal=f"$m_{seed}$", group="<b>C3</b>", time_s=3600.0))
    figure = plots.contrast_bars(group)
    ax = figure.axes[1]
    assert [bar.get_height() for bar in ax.patches] == pytest.approx(
        [np.mean([one.mean(f"SNR_reference_{when}") for one in group]) for when in ("pre", "post")]
    )
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    assert [len(line.get_xdata()) for line in dots] == [4, 4]
    assert "***" in [text.get_text() for text in ax.texts]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["before", "60 min"]
    assert "mean ± SD over animals (n = 4)" in words(figure)


def test_the_same_figure_has_the_same_bytes(lines: RelaxivityTable) -> None:
    first, second = (plots.relaxivity_lines(lines) for _ in range(2))
    assert plots.as_svg(first) == plots.as_svg(second)
    assert plots.as_png(first) == plots.as_png(second)
    assert b"<dc:date>" not in plots.as_svg(first)
