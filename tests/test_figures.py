"""Figures for print: their size, their letters, what they say; nothing lies on anything."""

from __future__ import annotations

import io
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text

import relaxometry as rx
from relaxometry import canvas, plots
from relaxometry.agents import RelaxivityTable, relaxivity
from relaxometry.errors import InputError
from relaxometry.labelling import meets, place_labels
from relaxometry.plots import Look
from relaxometry.reports import relaxivity_figures

C = (0.0, 0.025, 0.05, 0.1, 0.2, 0.4)
WIDTHS = ("single", "double")


def rows(
    agents: dict[str, tuple[float, float]], replicates: int = 1, sd: float = 0.0, **more: Any
) -> pd.DataFrame:
    """A table of tubes: r1 and r2 by agent (or "agent|condition"), noise of 2 %."""
    rng, made = np.random.default_rng(5), []
    for name, (r1, r2) in agents.items():
        agent, _, condition = name.partition("|")
        for replicate in range(1, replicates + 1):
            own = 1 + sd * rng.normal()
            for c in C:
                R1, R2 = 0.4 + r1 * own * c, 9 + r2 * own * c
                made.append(
                    {
                        "tube": len(made) + 1,
                        "agent": agent,
                        "condition": condition,
                        "replicate": replicate,
                        "concentration_mM": c,
                        "R1_per_s": R1 * (1 + 0.02 * rng.normal()),
                        "R1_stderr_per_s": 0.02 * R1,
                        "R2_per_s": R2 * (1 + 0.02 * rng.normal()),
                        "R2_stderr_per_s": 0.02 * R2,
                    }
                )
    return pd.DataFrame(made).assign(**more)


FEW = {"IO-5": (2.8, 70.2), "C1": (2.0, 231.6), "C3": (1.5, 533.4)}
MANY = {f"iron oxide cluster {i} in water": (1 + i / 4, 60 + 40 * i) for i in range(12)}
SMART = {"mine|before pH": (3.2, 108.0), "mine|after pH": (5.1, 21.3), "control": (4.0, 90.0)}


@pytest.fixture(scope="module")
def few() -> RelaxivityTable:
    return relaxivity(rows(FEW))


@pytest.fixture(scope="module")
def many() -> RelaxivityTable:
    return relaxivity(rows(MANY))


@pytest.fixture(scope="module")
def smart() -> RelaxivityTable:
    return relaxivity(rows(SMART))


def texts(figure: Figure) -> list[Text]:
    figure.draw_without_rendering()
    return [t for t in figure.findobj(Text) if t.get_text().strip() and t.get_visible()]


def assert_nothing_is_cut_off(figure: Figure) -> None:
    width, height = figure.bbox.size
    for text in texts(figure):
        box = text.get_window_extent()
        inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1
        # Numbers of ticks outside the axes are there and not drawn.
        assert inside or text.get_text() in ticks(figure), (text.get_text(), box, width, height)


def ticks(figure: Figure) -> set[str]:
    labels = (
        label
        for ax in figure.axes
        for axis in (ax.xaxis, ax.yaxis)
        for label in axis.get_ticklabels(which="both")
    )
    names = {name for ax in figure.axes for name in (t.get_text() for t in ax.get_xticklabels())}
    return {t.get_text() for t in labels} - {n for n in names if n[:1].isalpha()}


def entries(figure: Figure, panel: int = 0) -> list[str]:
    legend = figure.axes[panel].get_legend()
    assert legend is not None
    return [text.get_text() for text in legend.get_texts()]


# --- size and letters ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("width", "mm", "size"),
    [
        ("single", 85, 7),
        ("double", 174, 8),
        ("presentation", 254, 16),
        ("60", 60, 7),
        (150, 150, 8),
    ],
)
def test_a_look_is_a_width_and_a_size_of_letters(width: Any, mm: float, size: float) -> None:
    look = Look(width)
    assert (look.mm, look.points) == (mm, size)
    assert look.inches == pytest.approx(mm / 25.4)
    assert Look(width, 9).points == 9


@pytest.mark.parametrize(
    ("width", "size", "message"),
    [
        ("wide", None, "width: 'wide'; expected single, double, presentation, or a number of mm"),
        (10, None, "width: 10; expected 40 to 1000 mm"),
        (float("nan"), None, "width: nan"),
        (True, None, "width: True"),
        ("single", 0.5, "font_size: 0.5; expected 4 to 40 points"),
        ("single", "8", "font_size: '8'"),
        (
            "single",
            40,
            "font_size: 40 points at 85 mm; expected at most 14.1 points; each point takes 6 mm",
        ),
    ],
)
def test_a_look_that_cannot_be(width: Any, size: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Look(width, size)


@pytest.mark.parametrize("width", WIDTHS)
def test_figures_are_as_wide_as_asked(few: RelaxivityTable, width: Any) -> None:
    figure = few.plot("Fe", width=width)
    assert figure.get_size_inches()[0] == pytest.approx(Look(width).inches)
    plotted = plots.relaxivity_map(few, field_T=7, ion="Fe", look=Look(width))
    assert plotted.get_size_inches()[0] == pytest.approx(Look(width).inches)


def test_letters_are_of_the_size_asked_for(few: RelaxivityTable) -> None:
    for size in (6.0, 10.0):
        figures = [
            few.plot("Fe", font_size=size),
            plots.agent_bars(few, look=Look(font_size=size)),
            plots.relaxivity_map(few, field_T=7, ion="Fe", look=Look(font_size=size)),
        ]
        for figure in figures:
            labels = [ax.yaxis.label.get_size() for ax in figure.axes if ax.get_ylabel()]
            assert labels == [size] * len(labels)
            sizes = {t.get_size() for t in texts(figure)}
            assert max(sizes) == size
            assert min(sizes) >= 0.7 * size


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["few", "many", "smart"])
def test_nothing_is_cut_off(name: str, width: Any, request: pytest.FixtureRequest) -> None:
    table, look = request.getfixturevalue(name), Look(width)
    for figure in (
        plots.relaxivity_lines(table, "Fe", look=look, prediction=True),
        plots.agent_bars(table, look=look),
        plots.relaxivity_map(table, field_T=3, ion="Fe", look=look),
    ):
        assert_nothing_is_cut_off(figure)


@pytest.mark.parametrize("kind", ["svg", "pdf", "png"])
def test_a_figure_is_saved_as_its_name_ends(
    few: RelaxivityTable, tmp_path: Path, kind: str
) -> None:
    starts = {"svg": b"<?xml", "pdf": b"%PDF", "png": b"\x89PNG"}
    written = [rx.plots.save(few.plot(), tmp_path / f"{i}.{kind.upper()}") for i in range(2)]
    first, second = (path.read_bytes() for path in written)
    assert first.startswith(starts[kind])
    assert first == second
    assert not any(word in first for word in (b"CreationDate", b"<dc:date>", b"tEXtSoftware"))


def test_a_png_has_the_dots_asked_for(few: RelaxivityTable, tmp_path: Path) -> None:
    figure = few.plot(width="single")
    for dpi in (150, 600):
        plots.save(figure, tmp_path / "one.png", dpi)
        assert imread(tmp_path / "one.png").shape[1] == int(85 / 25.4 * dpi)


def test_letters_of_a_pdf_are_embedded_as_letters(few: RelaxivityTable) -> None:
    assert b"/FontFile2" in canvas.as_pdf(few.plot())


@pytest.mark.parametrize("name", ["a.jpg", "a", "a.tiff"])
def test_other_endings_are_refused(few: RelaxivityTable, tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"\.svg, \.pdf or \.png"):
        plots.save(few.plot(), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_place_that_is_not_there_is_an_error(few: RelaxivityTable, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        plots.save(few.plot(), tmp_path / "none" / "a.png")


def test_no_two_agents_look_alike() -> None:
    keys = [(f"agent {i}", c) for i in range(7) for c in ("", "before", "after", "later")]
    looks = canvas.agent_looks(keys)
    assert len(set(looks.values())) == len(keys)
    one = canvas.agent_looks([("A", f"pH {i}") for i in range(12)])
    assert len(set(one.values())) == 12
    assert {to_hex(colour).upper() for colour, *_ in looks.values()} == set(canvas.AGENT_COLOURS)


# --- lines ---------------------------------------------------------------------------------------


def test_residuals_are_over_the_error_each_point_was_weighted_by(few: RelaxivityTable) -> None:
    figure = few.plot()
    panel = figure.axes[2]
    line = few.lines["IO-5", ""]["r1"]
    drawn = panel.get_lines()[1]
    np.testing.assert_allclose(drawn.get_ydata(), line.residual / line.sigma)
    assert np.abs(np.asarray(drawn.get_xdata()) - line.concentration).max() < 0.02 * 0.4
    assert len(few.plot(residuals=False).axes) == 2


def test_residuals_of_an_unweighted_line_are_over_their_sd() -> None:
    table = rows(FEW).drop(columns=["R1_stderr_per_s", "R2_stderr_per_s"])
    fitted = relaxivity(table, method="ordinary")
    drawn = fitted.plot().axes[2].get_lines()[1]
    line = fitted.lines["IO-5", ""]["r1"]
    np.testing.assert_allclose(drawn.get_ydata(), line.residual / line.residual_sd)


def test_the_prediction_band_is_drawn_when_asked_for(few: RelaxivityTable) -> None:
    def dotted(figure: Figure) -> list[Any]:
        return [one for one in figure.axes[1].get_lines() if one.get_linestyle() == ":"]

    assert not dotted(few.plot())
    line = few.lines["IO-5", ""]["r2"]
    low, high = dotted(few.plot(prediction=True))[:2]
    c = np.asarray(low.get_xdata())
    np.testing.assert_allclose(low.get_ydata(), line.line(c) - line.prediction(c))
    np.testing.assert_allclose(high.get_ydata(), line.line(c) + line.prediction(c))
    assert (line.prediction(c) > line.band(c)).all()


def test_small_print_says_the_method_and_what_is_shaded(few: RelaxivityTable) -> None:
    title = few.plot(prediction=True).axes[0].get_title(loc="right").replace("\n", " ")
    assert title == "weighted line; shaded: 95 % confidence; dotted: 95 % prediction"


def test_errors_of_the_concentration_are_drawn() -> None:
    table = rows(FEW)
    fitted = relaxivity(table.assign(concentration_sd_mM=0.05 * table["concentration_mM"]))
    container = fitted.plot().axes[1].containers[0]
    segments = container.lines[2][0].get_segments()
    widths = [np.ptp(segment[:, 0]) for segment in segments]
    np.testing.assert_allclose(widths, 2 * 0.05 * np.array(C), atol=1e-12)


def test_a_point_that_a_robust_line_sets_aside_is_hollow_and_numbered() -> None:
    table = rows({"A": (2.0, 100.0)})
    table.loc[3, "R2_per_s"] *= 2.0
    fitted = relaxivity(table, method="robust")
    assert not fitted.lines["A", ""]["r2"].used[3]
    figure = fitted.plot()
    ax = figure.axes[1]
    hollow = [one for one in ax.get_lines() if one.get_markerfacecolor() == "white"]
    assert [one.get_xydata().tolist() for one in hollow] == [[[0.1, table["R2_per_s"][3]]]]
    assert [text.get_text() for text in ax.texts] == ["4"]
    assert entries(figure, 1)[-1] == "tube 4 set aside: far off the robust line"


def test_points_left_out_at_one_place_share_a_label() -> None:
    table = rows({"A": (2.0, 100.0)}, replicates=3)
    table["exclude"] = table["tube"].isin([2, 8, 18])
    ax = relaxivity(table).plot().axes[1]
    assert [text.get_text() for text in ax.texts] == ["2, 8", "18"]
    assert len([one for one in ax.get_lines() if one.get_markerfacecolor() == "white"]) == 3


@pytest.mark.parametrize("name", ["few", "many"])
def test_no_line_runs_behind_a_legend(name: str, request: pytest.FixtureRequest) -> None:
    for width in ("single", "presentation"):
        figure = request.getfixturevalue(name).plot("Fe", width=width)
        figure.draw_without_rendering()
        for ax in figure.axes[:2]:
            legend = ax.get_legend()
            assert legend is not None
            box = legend.get_window_extent()
            drawn = np.vstack([ax.transData.transform(one.get_xydata()) for one in ax.get_lines()])
            assert not any(box.contains(x, y) for x, y in drawn)


def test_each_line_has_its_name_and_value(many: RelaxivityTable) -> None:
    for panel, symbol in enumerate(("r1", "r2")):
        said = entries(many.plot(), panel)
        values = [str(fits[symbol].r).partition(" mM")[0] for fits in many.lines.values()]
        assert [text.partition("  ")[2] for text in said] == values


# --- bars ----------------------------------------------------------------------------------------


def slopes(table: pd.DataFrame) -> pd.DataFrame:
    made = []
    for (agent, condition, replicate), own in table.groupby(
        ["agent", "condition", "replicate"], sort=False
    ):
        row = {"agent": agent, "condition": condition, "replicate": replicate}
        for s in ("r1", "r2"):
            line = np.polyfit(own["concentration_mM"], own[f"{s.upper()}_per_s"], 1)
            row[f"{s}_per_mM_per_s"] = line[0]
        made.append(row)
    return pd.DataFrame(made)


def compared(keys: list[tuple[str, str]], differ: set[tuple[str, str]]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "symbol": "r2",
                "agent_a": a,
                "condition_a": ca,
                "agent_b": b,
                "condition_b": cb,
                "p_holm": 0.004 if {(a, b), (b, a)} & differ else 0.4,
                "stars": "**" if {(a, b), (b, a)} & differ else "ns",
            }
            for (a, ca), (b, cb) in itertools.combinations(keys, 2)
        ]
    )


def heights(figure: Figure) -> list[float]:
    return [bar.get_height() for bar in figure.axes[0].patches[::2]]


def test_bars_are_lines_with_their_intervals(few: RelaxivityTable) -> None:
    figure = plots.agent_bars(few, "r2")
    assert heights(figure) == pytest.approx([f["r2"].r.value for f in few.lines.values()])
    ends = [c.lines[2][0].get_segments()[0][:, 1] for c in figure.axes[0].containers[2::3]]
    for end, fits in zip(ends, few.lines.values(), strict=True):
        assert end == pytest.approx(fits["r2"].ci95)
    assert figure.axes[0].get_ylabel() == "r2 (mM⁻¹ s⁻¹)\n95 % interval"
    stderr = plots.agent_bars(few, "r1", errors="stderr")
    assert stderr.axes[0].get_ylabel() == "r1 (mM⁻¹ s⁻¹)\n± standard error"


def test_bars_of_replicates_are_mean_and_sd_with_each_as_a_dot() -> None:
    table = rows(FEW, replicates=3, sd=0.05)
    own = slopes(table)
    figure = plots.agent_bars(relaxivity(table), "r2", replicates=own)
    ax = figure.axes[0]
    by_agent = own.groupby("agent", sort=False)["r2_per_mM_per_s"]
    assert heights(figure) == pytest.approx(by_agent.mean().tolist())
    ends = [c.lines[2][0].get_segments()[0][:, 1] for c in ax.containers[2::3]]
    assert [np.ptp(end) for end in ends] == pytest.approx((2 * by_agent.std(ddof=1)).tolist())
    dots = [one.get_ydata() for one in ax.get_lines() if len(one.get_xdata()) == 3]
    assert np.concatenate(dots) == pytest.approx(own["r2_per_mM_per_s"].to_numpy())
    assert ax.get_ylabel().endswith("mean ± SD of replicates, n = 3")


def test_stars_are_over_the_pairs_that_differ(few: RelaxivityTable) -> None:
    told = compared(list(few), {("C1", "C3"), ("IO-5", "C3")})
    ax = plots.agent_bars(few, "r2", comparisons=told).axes[0]
    brackets = [one.get_xydata() for one in ax.get_lines() if len(one.get_xdata()) == 4]
    assert [(b[0, 0], b[-1, 0]) for b in brackets] == [(1, 2), (0, 2)]
    assert [text.get_text() for text in ax.texts] == ["**", "**"]
    tops = [fits["r2"].ci95[1] for fits in few.lines.values()]
    levels = [b[:, 1].max() for b in brackets]
    assert levels[1] > levels[0] > tops[2]
    assert ax.get_ylim()[1] > levels[1]
    assert not plots.agent_bars(few, "r2", comparisons=told, marks="none").axes[0].texts


def test_pairs_asked_for_alone_are_marked(few: RelaxivityTable) -> None:
    told = compared(list(few), {("C1", "C3")})
    pairs = [("IO-5", ("C1", "")), ("C3", "C1")]
    ax = plots.agent_bars(few, "r2", comparisons=told, pairs=pairs).axes[0]
    assert sorted(text.get_text() for text in ax.texts) == ["**", "n.s."]
    for wrong, message in (
        ([("IO-5", "C9")], "'C9'; expected one of IO-5, C1, C3"),
        ([("C1", "C1")], "a pair that was compared"),
    ):
        with pytest.raises(InputError, match=message):
            plots.agent_bars(few, "r2", comparisons=told, pairs=wrong)


def test_many_pairs_are_told_by_letters(many: RelaxivityTable) -> None:
    keys = list(many)
    told = compared(keys, {(a[0], b[0]) for a, b in itertools.combinations(keys, 2)})
    letters = {"r2": {key: "abcdefghijkl"[i] for i, key in enumerate(keys)}}
    ax = plots.agent_bars(many, "r2", comparisons=told, letters=letters).axes[0]
    assert [text.get_text() for text in ax.texts] == list("abcdefghijkl")
    assert not [one for one in ax.get_lines() if len(one.get_xdata()) == 4]


def test_what_is_not_determined_has_no_bar(few: RelaxivityTable) -> None:
    table = rows(FEW)
    table.loc[table["agent"] == "C1", "R2_per_s"] = np.nan
    figure = plots.agent_bars(relaxivity(table), "r2", marks="none")
    assert len(heights(figure)) == 2
    assert [text.get_text() for text in figure.axes[0].texts] == ["not\ndetermined"]


def test_one_agent_alone_is_compared_with_nothing() -> None:
    one = relaxivity(rows({"A": (2.0, 50.0)}))
    assert not plots.agent_bars(one).axes[0].texts
    assert plots.as_svg(plots.relaxivity_map(one, field_T=7, ion="Fe"))


def test_bars_are_compared_as_the_table_says() -> None:
    table = relaxivity(rows({"A": (2.0, 50.0), "B": (2.0, 50.5), "C": (2.0, 250.0)}, replicates=3))
    differ = table.comparisons.query("symbol == 'r2' and p_holm < 0.05")
    said = sorted(text.get_text() for text in plots.agent_bars(table).axes[0].texts)
    assert said == sorted(differ["stars"])
    assert len(said) == 2


def test_a_relaxivity_that_the_table_lacks_is_an_error(few: RelaxivityTable) -> None:
    with pytest.raises(InputError, match="symbol: 'r3'; expected r1 or r2"):
        plots.agent_bars(few, "r3")
    alone = relaxivity(rows(FEW).drop(columns=["R1_per_s", "R1_stderr_per_s"]))
    with pytest.raises(InputError, match="symbol: 'r1'; expected r2"):
        plots.agent_bars(alone, "r1")


# --- map -----------------------------------------------------------------------------------------


def test_the_map_has_agents_errors_and_borders(few: RelaxivityTable) -> None:
    ax = plots.relaxivity_map(few, field_T=7, ion="Fe").axes[0]
    for container, fits in zip(ax.containers, few.lines.values(), strict=True):
        (x,), (y,) = container.lines[0].get_data()
        assert (x, y) == (fits["r1"].r.value, fits["r2"].r.value)
        across, up = (bars.get_segments()[0] for bars in container.lines[2])
        assert across[:, 0] == pytest.approx(fits["r1"].ci95)
        assert up[:, 1] == pytest.approx(fits["r2"].ci95)
    borders = [one.get_xydata() for one in ax.get_lines() if one.get_linestyle() == "--"]
    assert [xy[:, 1] / xy[:, 0] for xy in borders] == [pytest.approx([5, 5]), pytest.approx([8, 8])]
    said = " ".join(text.get_text() for text in ax.texts)
    assert "T1 agents, r2/r1 < 5" in said
    assert "T2 agents, r2/r1 > 8" in said


def test_published_agents_are_those_at_this_field(few: RelaxivityTable) -> None:
    figure = plots.relaxivity_map(few, field_T=7, ion="Fe")
    points = figure.axes[0].get_lines()[2].get_xydata()
    # Li 2023: NAGs before and after; Yang 2023: two with r1 and r2/r1.
    expected = [(0.86, 0.86 * 25.1), (4.6, 4.6 * 4.0), (4.9, 105.2), (7.3, 15.3)]
    assert [tuple(p) for p in points] == [pytest.approx(e) for e in expected]
    said = [text.replace("\n", " ").replace("\N{NO-BREAK SPACE}", " ") for text in entries(figure)]
    assert said[:2] == ["published iron agents at 7 T (4 values)",
                        "right edge: only r2 published (13)"]  # fmt: skip


def test_without_a_field_nothing_published_is_drawn(few: RelaxivityTable) -> None:
    figure = plots.relaxivity_map(few, ion="Fe")
    assert entries(figure)[0].replace("\n", " ") == "no published iron agents at an unknown field"
    assert len(figure.axes[0].get_lines()) == 3 + len(few)


def test_the_field_may_be_that_of_the_table(few: RelaxivityTable) -> None:
    stated = RelaxivityTable(few.table.assign(field_T=7.0), few.lines)
    assert "published iron" in entries(plots.relaxivity_map(stated, ion="Fe"))[0]


def test_arrows_lead_from_before_to_after(smart: RelaxivityTable) -> None:
    turned = pd.DataFrame([{"agent": "mine", "before": "before pH", "after": "after pH"}])
    ax = plots.relaxivity_map(smart, field_T=9.4, switches=turned).axes[0]
    (arrow,) = [text for text in ax.texts if getattr(text, "arrow_patch", None)]
    ends = [smart.lines["mine", when] for when in ("before pH", "after pH")]
    assert arrow.xyann == (ends[0]["r1"].r.value, ends[0]["r2"].r.value)
    assert arrow.xy == (ends[1]["r1"].r.value, ends[1]["r2"].r.value)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("field", [3.0, 7.0])
def test_no_name_lies_on_another(smart: RelaxivityTable, field: float, width: Any) -> None:
    figure = plots.relaxivity_map(smart, field_T=field, look=Look(width))
    ax = figure.axes[0]
    names = [text for text in texts(figure) if text in ax.texts and not text.get_rotation()]
    boxes = [text.get_window_extent() for text in names]
    assert not [a for a, b in itertools.combinations(boxes, 2) if a.overlaps(b)]
    mine = [c.lines[0].get_xydata()[0] for c in ax.containers]
    for x, y in ax.transData.transform(mine):
        assert not any(box.contains(x, y) for box in boxes)
    assert len(names) >= 3


def test_labels_keep_clear_of_points_obstacles_and_each_other() -> None:
    rng = np.random.default_rng(2)
    points = rng.uniform(0, 300, (25, 2))
    sizes = np.tile([40.0, 8.0], (25, 1))
    wall = (100.0, 0.0, 120.0, 300.0)
    placed = place_labels(points, sizes, (0, 0, 300, 300), [wall])
    boxes = [(p.x, p.y, p.x + 40, p.y + 8) for p in placed if p]
    assert 10 < len(boxes) < 25
    for a, b in itertools.combinations(boxes, 2):
        assert not meets(a, [b])
    for box in boxes:
        assert not meets(box, [wall])
        assert min(box) >= 0
        assert max(box) <= 300
        assert not any(box[0] < x < box[2] and box[1] < y < box[3] for x, y in points)
    assert place_labels(points[:1], sizes[:1], (0, 0, 10, 10)) == [None]


def test_negative_relaxivities_have_no_place_and_are_counted() -> None:
    table = relaxivity(rows({"A": (2.0, 50.0), "B": (2.0, -20.0)}))
    figure = plots.relaxivity_map(table, field_T=7)
    assert entries(figure)[-1].replace("\n", " ") == "r2 below 0: no place on the map (1)"
    assert_nothing_is_cut_off(plots.agent_bars(table))


BATCHES = {f"Fe3O4@SiO2-PEG-cRGD batch {x}": (3.0 + i, 90.0 + i) for i, x in enumerate("ABC")}


@pytest.mark.parametrize("width", WIDTHS)
def test_long_names_that_differ_at_their_ends_are_told_apart(width: Any) -> None:
    table = relaxivity(rows(BATCHES))
    figure = plots.relaxivity_map(table, field_T=7, look=Look(width))
    ends = [text[-8:] for text in entries(figure)[-3:]]
    assert ends == [" batch A", " batch B", " batch C"]
    legend = figure.axes[0].get_legend()
    assert max(t.get_window_extent().x1 for t in legend.get_texts()) <= figure.bbox.width
    bars = plots.agent_bars(table, look=Look(width)).axes[0]
    assert len({t.get_text() for t in bars.get_xticklabels()}) == 3


def test_names_alike_when_cut_are_numbered() -> None:
    keys = [(f"iron oxide cluster {x} of the nanoparticles made in water", "") for x in "AB"]
    names = list(canvas.short_names(keys, 20).values())
    assert [name[-3:] for name in names] == [" #1", " #2"]
    assert max(map(len, names)) <= 20


def test_numbers_at_the_axes_of_many_decades_do_not_touch() -> None:
    wide = relaxivity(rows({"A": (0.002, 50.0), "B": (900.0, 60.0)}))
    for width in WIDTHS:
        figure = plots.relaxivity_map(wide, field_T=7, look=Look(width))
        figure.draw_without_rendering()
        labels = [t for t in figure.axes[0].get_xticklabels() if t.get_text()]
        boxes = sorted(t.get_window_extent().extents[[0, 2]].tolist() for t in labels)
        assert all(a[1] < b[0] for a, b in itertools.pairwise(boxes))


@pytest.mark.filterwarnings("error")
def test_letters_that_the_font_lacks_are_no_warning(few: RelaxivityTable) -> None:
    table = relaxivity(rows({"磁性纳米": (3.0, 90.0), "🧲": (4.0, 120.0)}))
    for figure in relaxivity_figures(table, "Fe", 7.0).values():
        assert plots.as_png(figure, dpi=50)


# --- replicates ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def uneven() -> RelaxivityTable:
    """Three, one and two replicates that differ by more than their errors."""
    table = rows(FEW, replicates=3, sd=0.1)
    most = table["agent"].map({"IO-5": 3, "C1": 1, "C3": 2})
    return relaxivity(table[table["replicate"] <= most])


def test_the_legend_says_mean_and_sd_of_replicates(uneven: RelaxivityTable) -> None:
    figure = plots.relaxivity_lines(uneven)
    slopes_of = uneven.replicates.groupby("agent")["r2_per_mM_per_s"]
    title = figure.axes[1].get_legend().get_title().get_text()
    assert title.split("\n")[1:] == ["mean ± SD of replicates", "one line: ± standard error"]
    said = {name.split()[0]: name.split()[1:] for name in entries(figure, 1)}
    for agent in ("IO-5", "C3"):
        own = slopes_of.get_group(agent)
        assert float(said[agent][0]) == pytest.approx(own.mean(), rel=5e-3)
        assert float(said[agent][2]) == pytest.approx(own.std(ddof=1), rel=0.05)
    assert float(said["C1"][2]) == pytest.approx(uneven["C1"]["r2"].r.stderr, rel=0.05)


def test_bars_of_uneven_replicates(uneven: RelaxivityTable) -> None:
    def reach(figure: Figure) -> list[Any]:
        bars = figure.axes[0].containers[2::3]
        return [c.lines[2][0].get_segments()[0][:, 1] for c in bars]

    figure = plots.agent_bars(uneven, "r2")
    own = uneven.replicates.groupby("agent", sort=False)["r2_per_mM_per_s"]
    sd = [*own.std(ddof=1).dropna()]
    half = [np.ptp(ends) / 2 for ends in reach(figure)]
    assert half == pytest.approx([sd[0], uneven["C1"]["r2"].r.stderr, sd[1]])
    said = figure.axes[0].get_ylabel()
    assert said.endswith("mean ± SD of replicates, n = 2–3\none replicate: line, ± standard error")
    summary = uneven.replicate_summary.set_index("agent")
    ends = dict(zip(FEW, reach(plots.agent_bars(uneven, "r2", errors="ci95")), strict=True))
    for agent in ("IO-5", "C3"):
        mixed = [summary.loc[agent, f"r2_mixed_ci95_{end}_per_mM_per_s"] for end in ("low", "high")]
        assert ends[agent] == pytest.approx(mixed)
    assert ends["C1"] == pytest.approx(uneven["C1"]["r2"].ci95)


def test_dots_do_not_lie_on_error_bars(uneven: RelaxivityTable) -> None:
    ax = plots.agent_bars(uneven, "r2").axes[0]
    dots = [x for one in ax.get_lines() if one.get_marker() == "o" for x in one.get_xdata()]
    assert len(dots) == 5
    assert min(x - round(x) for x in dots) > 0.1


def test_the_map_has_the_mean_of_replicates(uneven: RelaxivityTable) -> None:
    ax = plots.relaxivity_map(uneven).axes[0]
    summary = uneven.replicate_summary.set_index("agent")
    (x,), (y,) = ax.containers[0].lines[0].get_data()
    expected = [summary.loc["IO-5", f"{s}_mean_per_mM_per_s"] for s in ("r1", "r2")]
    assert [x, y] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"errors": "sem"}, "errors: 'sem'; expected auto, sd, ci95, stderr"),
        ({"marks": "star"}, "marks: 'star'; expected auto, stars, letters, none"),
        ({"errors": "sd"}, "no agent has two replicates"),
    ],
)
def test_unknown_errors_and_marks_are_refused(
    few: RelaxivityTable, options: Any, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        plots.agent_bars(few, **options)


# --- all of a table ------------------------------------------------------------------------------


def test_figures_of_a_table(few: RelaxivityTable) -> None:
    names = ["relaxivity", "r1_bars", "r2_bars", "relaxivity_map"]
    assert list(relaxivity_figures(few, "Fe", 7.0)) == names
    one = relaxivity(rows({"A": (2.0, 50.0)}))
    assert list(relaxivity_figures(one)) == ["relaxivity", "relaxivity_map"]
    alone = relaxivity(rows(FEW).drop(columns=["R1_per_s", "R1_stderr_per_s"]))
    assert list(relaxivity_figures(alone)) == ["relaxivity", "r2_bars"]


def test_names_are_text_in_every_figure() -> None:
    names = {"$\\frac{1}": (2.0, 50.0), "_hidden": (2.2, 60.0), "<b>&amp;": (2.4, 70.0)}
    for name, figure in relaxivity_figures(relaxivity(rows(names)), "Fe", 7.0).items():
        said = " | ".join(t.get_text() for t in texts(figure))
        assert all(agent in said for agent in names), name
        svg = io.BytesIO(plots.as_svg(figure)).getvalue()
        assert b"<b>" not in svg
