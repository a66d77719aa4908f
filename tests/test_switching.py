"""Smart agents: folds, and the words for what a stimulus did."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import relaxometry as rx
from relaxometry.agents import classify
from relaxometry.errors import InputError
from relaxometry.estimate import Estimate
from relaxometry.switching import FALLS, RISES, SAME, UNKNOWN, Fold, switch_in_words, switches

from .lines import C, line

UNIT = "per_mM_per_s"
T1, DUAL, T2 = "T1 agent", "dual-mode", "T2 agent"


def of(r, symbol, error=0.03, name="", **kwargs):
    """A line of relaxivity r through six tubes, with a standard error of so much of r."""
    c = np.append(C, 0.0)
    bend = np.array([1, -1, -0.5, 0.8, -0.7, 0.4])
    bend = bend if symbol == "r1" else np.roll(bend, 2)
    bend -= np.polyval(np.polyfit(c, bend, 1), c)
    R = 10 + r * c
    size = error * r / line(c, R + bend).r.stderr
    return line(c, R + size * bend, symbol=symbol, tubes=[f"{name}{i}" for i in range(6)], **kwargs)


def agent(before, after, **kwargs):
    """Lines of an agent that is switched from (r1, r2) to (r1, r2), and its classes."""
    lines = {
        ("X", name): {
            s: of(r, s, name=name, **kwargs) for s, r in zip(("r1", "r2"), pair, strict=True)
        }
        for name, pair in (("before", before), ("after", after))
    }
    classes = {}
    for key, fits in lines.items():
        q = fits["r2"].r.value / fits["r1"].r.value
        classes[key] = classify(q, (0.9 * q, 1.1 * q))
    return lines, classes


class TestWords:
    @pytest.mark.parametrize(
        ("r1", "r2", "before", "after", "words"),
        [
            (RISES, FALLS, T2, T1, "T2→T1 switchable"),
            (SAME, FALLS, T2, T1, "T2→T1 switchable"),
            (FALLS, RISES, T1, T2, "T1→T2 switchable"),
            (FALLS, FALLS, T2, DUAL, "T2→dual-mode switchable"),
            (RISES, RISES, T2, T2, "T1–T2 dual activated"),
            (RISES, RISES, T2, T1, "T1–T2 dual activated"),
            (RISES, SAME, T2, T2, "T1 activated"),
            (SAME, RISES, T2, T2, "T2 activated"),
            (RISES, FALLS, T2, T2, "T1 activated, T2 deactivated"),
            (FALLS, RISES, T1, T1, "T2 activated, T1 deactivated"),
            (FALLS, FALLS, T2, T2, "deactivated"),
            (FALLS, SAME, T2, T2, "T1 deactivated"),
            (SAME, FALLS, T2, T2, "T2 deactivated"),
            (SAME, SAME, T2, T2, "no significant change"),
            (UNKNOWN, RISES, "not determined", "not determined", "T2 activated"),
            (UNKNOWN, UNKNOWN, "not determined", T1, "not determined"),
            (SAME, FALLS, T2, "T1 agent or dual-mode", "T2→T1 or dual-mode switchable"),
        ],
    )
    def test_of_changes_and_classes(self, r1, r2, before, after, words):
        assert switch_in_words(r1, r2, before, after) == words

    def test_a_class_that_straddles_a_border(self):
        before, after = "dual-mode or T2 agent", "T1 agent or dual-mode"
        changed = Fold(9.0, 4.5, 0.5, (0.3, 0.8))
        words = switch_in_words(RISES, SAME, before, after, changed)
        assert words == "T1 activated, possibly T2→T1 switchable"
        assert switch_in_words(SAME, SAME, before, after, changed) == "possibly T2→T1 switchable"
        unsure = replace(changed, ci95=(0.3, 1.2))
        assert switch_in_words(SAME, SAME, before, after, unsure) == "no significant change"
        within = Fold(9.0, 8.5, 0.94, (0.9, 0.98))
        assert switch_in_words(RISES, SAME, before, before, within) == "T1 activated"


class TestPublished:
    """Li et al., Chem Biomed Imaging 2023: r1, r2 before → after, here known to 3 %."""

    @pytest.mark.parametrize(
        ("name", "before", "after", "words"),
        [
            ("IONAs", (3.2, 108), (5.1, 21.3), "T2→T1 switchable"),
            ("RIAs", (5.2, 330.3), (4.3, 30.7), "T2→dual-mode switchable"),
            ("SPIO@SiO2@MnO2", (1.3, 13.9), (4.6, 82.2), "T1–T2 dual activated"),
            ("USPIONs@CaCO3", (1.3, 30.0), (1.2, 4.8), "T2→T1 switchable"),
            ("RANS", (2.4, 92.2), (16.1, 258.6), "T1–T2 dual activated"),
            ("ESIONP", (5.7, 9.1), (3.9, 42.2), "T1→T2 switchable"),
            ("NAGs", (4.9, 105.2), (7.3, 15.3), "T2→T1 switchable"),
        ],
    )
    def test_smart_agents(self, name, before, after, words):
        (row,) = switches(*agent(before, after)).to_dict("records")
        assert row["switch"] == words, name
        assert row["r1_fold"] == pytest.approx(after[0] / before[0], rel=1e-9)
        assert row["r2_fold"] == pytest.approx(after[1] / before[1], rel=1e-9)
        ratio = after[1] / after[0] / (before[1] / before[0])
        assert row["r2_r1_fold"] == pytest.approx(ratio, rel=1e-9)
        assert row["r2_r1_fold_ci95_low"] < ratio < row["r2_r1_fold_ci95_high"]

    def test_without_errors_it_is_possible_only(self):
        lines = {
            ("IONAs", name): {s: line([0.1, 0.4], 1 + r * np.array([0.1, 0.4]), symbol=s)
                              for s, r in (("r1", r1), ("r2", r2))}
            for name, r1, r2 in (("before", 3.2, 108), ("after", 5.1, 21.3))
        }  # fmt: skip
        unknown = (np.nan, np.nan)
        classes = {key: classify(q, unknown) for key, q in zip(lines, (33.75, 4.18), strict=True)}
        (row,) = switches(lines, classes).to_dict("records")
        assert row["switch"] == "possibly T2→T1 switchable"
        assert row["r1_fold"] == pytest.approx(5.1 / 3.2)
        assert np.isnan(row["r1_fold_ci95_low"])
        assert "r1: no test, no degree of freedom is left for a test" in row["flags"]


class TestFolds:
    def test_fieller_by_the_roots_of_its_quadratic(self):
        lines, classes = agent((3.2, 108), (5.1, 21.3), method="robust")
        (row,) = switches(lines, classes).to_dict("records")
        d, n = (lines["X", name]["r2"] for name in ("before", "after"))
        v, w = n.slope.stderr**2, d.slope.stderr**2
        fold = n.r.value / d.r.value
        dofs = [_dof(one.k95) for one in (n, d)]
        dof = (v + fold**2 * w) ** 2 / (v**2 / dofs[0] + (fold**2 * w) ** 2 / dofs[1])
        t = stats.t.ppf(0.975, dof)
        a, b, c = d.r.value**2 - t * t * w, n.r.value * d.r.value, n.r.value**2 - t * t * v
        roots = sorted(np.roots([a, -2 * b, c]).real)
        assert [row["r2_fold_ci95_low"], row["r2_fold_ci95_high"]] == pytest.approx(roots, rel=1e-4)

    def test_a_stock_error_cancels(self):
        plain = switches(*agent((3.2, 108), (5.1, 21.3)))
        stock = switches(*agent((3.2, 108), (5.1, 21.3), stock_rsd=0.1))
        pd.testing.assert_frame_equal(plain, stock)

    def test_an_unbounded_fold_is_said(self):
        lines, classes = agent((3.2, 108), (5.1, 21.3))
        lines["X", "before"] = lines["X", "before"] | {"r1": of(3.2, "r1", error=0.5)}
        (row,) = switches(lines, classes).to_dict("records")
        assert np.isinf([row["r1_fold_ci95_low"], row["r1_fold_ci95_high"]]).any()
        assert "r1: the fold change is unbounded" in row["flags"]

    def test_a_relaxivity_that_is_not_above_0_has_no_fold(self):
        lines, classes = agent((3.2, 108), (5.1, 21.3))
        broken = replace(lines["X", "before"]["r1"], r=Estimate(-0.1, 0.1, "r1"))
        lines["X", "before"] = lines["X", "before"] | {"r1": broken}
        (row,) = switches(lines, classes).to_dict("records")
        assert np.isnan([row["r1_fold"], row["r2_r1_fold"]]).all()

    def test_replicates_are_the_unit(self):
        rng = np.random.default_rng(0)
        lines, slopes = {}, {}
        for name, values in (("before", [100, 104, 99]), ("after", [20, 22, 21])):
            c, batch = np.tile(C, 3), np.repeat([1, 2, 3], C.size)
            R = 10 + np.repeat(values, C.size) * c + 0.1 * rng.standard_normal(15)
            tubes = [f"{name}{i}" for i in range(15)]
            lines["X", name] = {"r2": line(c, R, replicate=batch, tubes=tubes)}
            slopes[name] = [np.polyfit(C, R[batch == k], 1)[0] for k in (1, 2, 3)]
        (row,) = switches(lines, {}).to_dict("records")
        assert row[f"r2_before_{UNIT}"] == pytest.approx(np.mean(slopes["before"]))
        expected = stats.ttest_ind(slopes["after"], slopes["before"], equal_var=False)
        assert row["r2_p"] == row["r2_p_holm"] == pytest.approx(expected.pvalue)
        assert row["switch"] == "T2 deactivated"


def _dof(k95):
    from scipy.optimize import brentq

    return brentq(lambda dof: stats.t.ppf(0.975, dof) - k95, 0.5, 1e6)


class TestTable:
    def made(self):
        lines = {}
        for name, condition, r1, r2 in (
            ("X", "pH 7.4", 3.2, 108),
            ("Y", "", 4, 20),
            ("X", "pH 6.5", 4.0, 60),
            ("X", "pH 5.5", 5.1, 21.3),
        ):
            place = name + condition
            fits = {"r1": of(r1, "r1", name=place), "r2": of(r2, "r2", name=place)}
            lines[name, condition] = fits
        return lines, dict.fromkeys(lines, T2)

    def test_the_first_condition_is_before(self):
        rows = switches(*self.made())
        assert rows[["agent", "before", "after"]].to_numpy().tolist() == [
            ["X", "pH 7.4", "pH 6.5"],
            ["X", "pH 7.4", "pH 5.5"],
        ]

    def test_unless_it_is_named(self):
        rows = switches(*self.made(), before="pH 5.5")
        assert list(rows["before"]) == ["pH 5.5"] * 2
        assert list(rows["after"]) == ["pH 7.4", "pH 6.5"]

    def test_a_condition_that_nobody_has(self):
        with pytest.raises(InputError, match=r"no agent is measured in 'pH 3'"):
            switches(*self.made(), before="pH 3")

    def test_holm_over_the_changes_of_an_agent(self):
        rows = switches(*self.made())
        p, adjusted = rows[["r1_p", "r2_p"]], rows[["r1_p_holm", "r2_p_holm"]]
        assert adjusted.to_numpy().min() == pytest.approx(4 * p.to_numpy().min())

    def test_another_field_is_no_stimulus(self):
        lines, classes = agent((3.2, 108), (5.1, 21.3))
        settings = {("X", "before"): "3 T", ("X", "after"): "7 T"}
        assert switches(lines, classes, settings=settings).empty

    def test_from_a_table(self):
        rows = []
        rng = np.random.default_rng(4)
        for condition, r1, r2 in (("pH 7.4", 3.2, 108), ("pH 5.5", 5.1, 21.3)):
            rows += [("IONAs", condition, c, 0.4 + r1 * c, 9 + r2 * c) for c in C]
        names = ["agent", "condition", "concentration_mM", "R1_per_s", "R2_per_s"]
        table = pd.DataFrame(rows, columns=names).assign(tube=range(1, 11))
        table[["R1_per_s", "R2_per_s"]] *= 1 + 0.003 * rng.standard_normal((10, 2))
        result = rx.relaxivity(table)
        (row,) = result.switches.to_dict("records")
        assert (row["class_before"], row["class_after"]) == (T2, T1)
        assert row["switch"] == "T2→T1 switchable"
        assert list(result.switches_from("pH 5.5")["switch"]) == ["T1→T2 switchable"]
