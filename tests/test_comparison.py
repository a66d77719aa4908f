"""Which relaxivities differ: the tests by other formulae, Holm, stars and letters."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import relaxometry as rx
from relaxometry.comparison import (
    ANCOVA,
    REPLICATES,
    SLOPES,
    compare,
    compare_all,
    comparison_table,
    letters_of,
    omnibus,
)
from relaxometry.multiplicity import holm, letters, stars

from .lines import C, line

#: r2 at 7 T of the clusters of Zhou et al., Nat Commun 8:15468 (2017), mean and SD, n = 3.
CLUSTERS = {
    "C1": (231.6, 9.3),
    "C2": (358.3, 14.2),
    "C3": (533.4, 13.2),
    "C4": (515.3, 18.9),
    "C5": (445.8, 24.6),
    "C6": (589.3, 26.8),
    "C7": (487.7, 21.5),
}


def one(seed, r=100.0, noise=1.0, group="", c=C, **kwargs):
    rng = np.random.default_rng(seed)
    R = 10 + r * c + noise * rng.standard_normal(c.size)
    return line(c, R, tubes=[f"{group}{seed}-{i}" for i in range(c.size)], **kwargs)


def replicated(seed, slopes, blank=None, **kwargs):
    rng = np.random.default_rng(seed)
    c, batch = np.tile(C, len(slopes)), np.repeat(np.arange(1, len(slopes) + 1), C.size)
    R = 10 + np.repeat(slopes, C.size) * c + rng.standard_normal(c.size)
    tubes = [f"{seed}-{i}" for i in range(c.size)]
    if blank is not None:
        c, batch, R = np.append(c, 0), np.append(batch, 0), np.append(R, blank[1])
        tubes.append(blank[0])
    return line(c, R, replicate=batch, tubes=tubes, **kwargs)


def extra_sum_of_squares(lines, weighted=False):
    """F of common against separate slopes from two least-squares fits, and its p."""
    c = np.concatenate([one.concentration for one in lines])
    R = np.concatenate([one.rate for one in lines])
    w = np.concatenate([1 / one.sigma if weighted else np.ones(one.n) for one in lines])
    member = np.concatenate([np.full(one.n, i) for i, one in enumerate(lines)])
    own = (member[:, None] == np.arange(len(lines))).astype(float)
    rss = []
    for design in (np.hstack([own, c[:, None]]), np.hstack([own, own * c[:, None]])):
        X = design * w[:, None]
        rss.append((((R * w) - X @ np.linalg.lstsq(X, R * w)[0]) ** 2).sum())
    between, dof = len(lines) - 1, c.size - 2 * len(lines)
    F = (rss[0] - rss[1]) / between / (rss[1] / dof)
    return F, dof, stats.f.sf(F, between, dof)


class TestAncova:
    def test_two_lines_by_the_extra_sum_of_squares(self):
        a, b = one(1, 100), one(2, 104)
        found = compare(a, b)
        F, dof, p = extra_sum_of_squares([a, b])
        assert found.test == ANCOVA
        assert (found.statistic, found.dof_between, found.dof) == pytest.approx((F, 1, dof))
        assert found.p == pytest.approx(p, rel=1e-9)

    def test_two_lines_by_the_t_test_of_slopes(self):
        a, b = one(1, 100), one(2, 104)
        x, y = (stats.linregress(one.concentration, one.rate) for one in (a, b))
        s2 = ((a.residual**2).sum() + (b.residual**2).sum()) / 6
        stderr = np.sqrt(2 * s2 / ((C - C.mean()) ** 2).sum())
        t = (x.slope - y.slope) / stderr
        found = compare(a, b)
        assert found.difference == pytest.approx(x.slope - y.slope)
        assert found.stderr == pytest.approx(stderr)
        assert found.statistic == pytest.approx(t**2)
        assert found.p == pytest.approx(2 * stats.t.sf(abs(t), 6))
        half = stats.t.ppf(0.975, 6) * stderr
        ends = (found.difference - half, found.difference + half)
        assert found.ci95 == pytest.approx(ends)

    def test_several_lines_at_once(self):
        lines = [one(i, 100 + 2 * i) for i in range(4)]
        found = compare_all(lines)
        F, dof, p = extra_sum_of_squares(lines)
        assert (found.test, found.dof_between, found.dof) == (ANCOVA, 3, dof)
        assert (found.statistic, found.p) == pytest.approx((F, p), rel=1e-8)

    def test_weighted_lines_that_scatter_more_than_their_errors(self):
        sigma = np.array([0.5, 0.4, 0.2, 0.2, 0.3])
        a, b = one(1, 100, sigma=sigma), one(2, 104, sigma=sigma[::-1])
        found = compare(a, b)
        F, dof, p = extra_sum_of_squares([a, b], weighted=True)
        assert (found.test, found.dof) == (ANCOVA, dof)
        assert (found.statistic, found.p) == pytest.approx((F, p), rel=1e-8)

    def test_weighted_lines_whose_errors_suffice_use_those(self):
        a, b = one(1, 100, sigma=np.full(5, 3.0)), one(2, 104, sigma=np.full(5, 3.0))
        found = compare(a, b)
        stderr = 3 * np.sqrt(2 / ((C - C.mean()) ** 2).sum())
        assert found.stderr == pytest.approx(stderr)
        assert found.dof == np.inf
        assert found.p == pytest.approx(2 * stats.norm.sf(abs(found.difference) / stderr))
        assert "taken as known" in found.why

    def test_relative_lines(self):
        a, b = (one(i, 100 + i, noise=0.1, method="relative") for i in (1, 2))
        found = compare(a, b)
        assert found.test == ANCOVA
        assert found.stderr**2 == pytest.approx(
            a.slope.stderr**2 + b.slope.stderr**2, rel=0.2
        )  # the scatter is of both

    def test_a_blank_of_both_counts_once(self):
        c = np.append(C, 0.0)
        rng = np.random.default_rng(8)
        lines = []
        for name in "ab":
            R = np.append(10 + 100 * C + rng.standard_normal(5), 10.5)
            lines.append(line(c, R, tubes=[*(f"{name}{i}" for i in range(5)), "blank"]))
        found = compare(*lines)
        S = ((c - c.mean()) ** 2).sum()
        s2 = sum((one.residual**2).sum() for one in lines) / 8
        assert found.dof == 12 - 4 - 1
        assert found.stderr**2 == pytest.approx(s2 * 2 * (1 / S - (c.mean() / S) ** 2))

    def test_a_fixed_intercept_leaves_one_parameter_each(self):
        assert compare(one(1, intercept=10.0), one(2, intercept=10.0)).dof == 8


class TestWelch:
    def test_over_replicates_as_scipy_does(self):
        a, b = replicated(1, [290, 300, 310]), replicated(2, [320, 310, 345, 322])
        slopes = [
            [np.polyfit(C, one.rate[one.replicate == k], 1)[0] for k in np.unique(one.replicate)]
            for one in (a, b)
        ]
        expected = stats.ttest_ind(*slopes, equal_var=False)
        found = compare(a, b)
        assert found.test == REPLICATES
        assert "3 and 4 replicates" in found.why
        assert (found.statistic, found.p) == pytest.approx((expected.statistic, expected.pvalue))
        assert found.dof == pytest.approx(expected.df)
        interval = expected.confidence_interval()
        assert found.ci95 == pytest.approx((interval.low, interval.high))

    def test_of_several_by_the_formulae_of_1951(self):
        lines = [replicated(i, np.array([290, 300, 310]) + 4 * i * i) for i in range(4)]
        found = compare_all(lines)
        slopes = [
            [np.polyfit(C, one.rate[one.replicate == k], 1)[0] for k in (1, 2, 3)] for one in lines
        ]
        y, v = np.mean(slopes, axis=1), np.var(slopes, axis=1, ddof=1) / 3
        w = 1 / v / (1 / v).sum()
        lack = ((1 - w) ** 2 / 2).sum()
        F = ((y - w @ y) ** 2 / v).sum() / 3 / (1 + 2 * 2 / 15 * lack)
        assert found.statistic == pytest.approx(F)
        assert (found.dof_between, found.dof) == pytest.approx((3, 15 / 3 / lack))
        assert found.p == pytest.approx(stats.f.sf(F, 3, 5 / lack))

    def test_a_blank_of_all_changes_nothing_and_one_of_each_agent_widens(self):
        both = [replicated(i, [290, 300, 310], ("blank", 10.7)) for i in (1, 2)]
        own = [replicated(i, [290, 300, 310], (f"blank {i}", 10.7)) for i in (1, 2)]
        means = [np.var([one.refit((one.replicate == k) | (one.replicate == 0)).r.value
                         for k in (1, 2, 3)], ddof=1) / 3 for one in both]  # fmt: skip
        assert compare(*both).stderr == pytest.approx(np.sqrt(sum(means)))
        assert compare(*own).stderr > compare(*both).stderr

    def test_one_batch_against_several_has_their_scatter(self):
        """Like one more replicate, predicted by the others: t = (ȳ − y)/(s·√(1 + 1/k)), k − 1."""
        several, single = replicated(1, [290, 300, 310]), one(2, 300)
        slopes = [several.refit(several.replicate == k).r.value for k in (1, 2, 3)]
        found = compare(several, single)
        mean, s, y = np.mean(slopes), np.std(slopes, ddof=1), single.r.value
        stderr = s * np.sqrt(1 / 3 + (y / mean) ** 2)
        assert (found.test, found.dof) == (REPLICATES, 2)
        assert found.stderr == pytest.approx(stderr)
        assert found.p == pytest.approx(2 * stats.t.sf(abs(mean - y) / stderr, 2))
        assert compare(single, several).difference == pytest.approx(-found.difference)

    def test_one_batch_against_several_calls_alike_agents_different_as_often_as_it_says(self):
        rng, called = np.random.default_rng(8), 0
        for seed in range(600):
            slopes = 300 * (1 + 0.05 * rng.standard_normal(4))
            several, single = replicated(seed, slopes[:3]), one(seed + 9999, slopes[3])
            called += compare(several, single).p < 0.05
        assert 0.03 <= called / 600 <= 0.075

    def test_stocks_with_errors(self):
        a, b = one(1, 100, stock_rsd=0.05), one(2, 130, stock_rsd=0.03)
        found = compare(a, b)
        assert (found.test, found.why) == (SLOPES, "the stocks have errors")
        assert found.stderr == pytest.approx(np.hypot(a.r.stderr, b.r.stderr))
        alike = compare(a, b, same_stock=True)
        assert alike.stderr < found.stderr
        assert "stock" not in alike.why

    def test_a_stock_error_of_replicates(self):
        a, b = (replicated(i, [290, 300, 310], stock_rsd=0.05) for i in (1, 2))
        plain = [replicated(i, [290, 300, 310]) for i in (1, 2)]
        stock = sum((0.05 * slope.value) ** 2 for slope in compare(a, b).slopes)
        assert compare(a, b).stderr == pytest.approx(np.sqrt(compare(*plain).stderr ** 2 + stock))
        assert compare(a, b, same_stock=True).stderr == pytest.approx(compare(*plain).stderr)

    @pytest.mark.parametrize(
        ("first", "second", "why"),
        [
            ({"method": "robust"}, {"method": "robust"}, "robust lines"),
            ({}, {"sigma": np.ones(5)}, "lines of different kinds (ordinary, weighted)"),
            ({}, {"noise": 30.0}, "the points scatter more about one line than about another"),
            ({}, {"c": 10 * C}, "the lines differ in their concentrations"),
        ],
    )
    def test_where_ancova_does_not_apply(self, first, second, why):
        found = compare(one(1, **first), one(2, **second))
        assert found.test == SLOPES
        assert why in found.why

    def test_the_slopes_of_robust_lines(self):
        a, b = (one(i, 100, method="robust") for i in (1, 2))
        found = compare(a, b)
        t = (a.r.value - b.r.value) / np.hypot(a.slope.stderr, b.slope.stderr)
        assert found.statistic == pytest.approx(t)
        assert found.p == pytest.approx(2 * stats.t.sf(abs(t), found.dof))

    def test_no_test_is_said(self):
        nothing = one(1).refit(np.zeros(5, dtype=bool))
        assert compare(nothing, one(2)).why == "a slope is not determined"
        two = C[:2]
        found = compare(one(1, c=two), one(2, c=two))
        assert (found.test, np.isnan(found.p)) == ("", True)


class TestTypeOne:
    """Of comparisons of equals, as many are wrong as the level says."""

    STUDIES = 1000

    def wrong(self, made):
        return np.mean([compare(*made(seed)).p < 0.05 for seed in range(self.STUDIES)])

    def test_ancova(self):
        assert 0.035 < self.wrong(lambda i: (one(2 * i), one(2 * i + 1))) < 0.065

    def test_stock_errors(self):
        def made(i):
            f = 100 * (1 + 0.05 * np.random.default_rng(i + 10**6).standard_normal(2))
            return [one(2 * i + j, f[j], 0.3, stock_rsd=0.05) for j in (0, 1)]

        assert 0.035 < self.wrong(made) < 0.065


class TestMany:
    def test_holm_by_hand(self):
        assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
        assert holm([0.5, 0.9]) == [1.0, 1.0]
        assert holm([]) == []

    def test_what_was_not_tested_does_not_count(self):
        adjusted = holm([0.01, np.nan, 0.04])
        assert adjusted[::2] == pytest.approx([0.02, 0.04])
        assert np.isnan(adjusted[1])

    @pytest.mark.parametrize(
        ("p", "text"),
        [(0.0009, "***"), (0.001, "**"), (0.0099, "**"), (0.01, "*"), (0.049, "*"), (0.05, "ns")],
    )
    def test_stars(self, p, text):
        assert stars(p) == text

    def test_no_star_without_a_test(self):
        assert stars(np.nan) == ""


def different(*pairs):
    return {frozenset(pair) for pair in pairs}


class TestLetters:
    def test_none_differ(self):
        assert letters("ABC", set()) == {"A": "a", "B": "a", "C": "a"}

    def test_all_differ(self):
        pairs = different(*combinations("ABC", 2))
        assert letters("ABC", pairs) == {"A": "a", "B": "b", "C": "c"}

    def test_a_chain_is_not_transitive(self):
        assert letters("ABC", different("AC")) == {"A": "a", "B": "ab", "C": "b"}

    def test_a_longer_chain(self):
        pairs = different("AC", "AD", "BD")
        assert letters("ABCD", pairs) == {"A": "a", "B": "ab", "C": "bc", "D": "c"}

    def test_one_against_all(self):
        pairs = different("AB", "BC", "BD")
        assert letters("ABCD", pairs) == {"A": "a", "B": "b", "C": "a", "D": "a"}

    def test_a_square(self):
        """A and C differ, and B and D: the neighbours do not."""
        shown = letters("ABCD", different("AC", "BD"))
        assert [len(shown[g]) for g in "ABCD"] == [2, 2, 2, 2]

    def test_share_a_letter_exactly_where_they_do_not_differ(self):
        rng = np.random.default_rng(0)
        for _ in range(300):
            groups = "ABCDEFGH"[: rng.integers(2, 9)]
            pairs = [p for p in combinations(groups, 2) if rng.random() < rng.random()]
            shown = letters(groups, different(*pairs))
            assert all(shown.values())
            assert shown[groups[0]].startswith("a")
            for a, b in combinations(groups, 2):
                assert bool(set(shown[a]) & set(shown[b])) == ((a, b) not in pairs)


class TestTable:
    def lines(self):
        return {
            ("A", "pH 7"): {"r1": one(1, 4, 0.1), "r2": one(2, 100, stock_rsd=0.05)},
            ("A", "pH 5"): {"r1": one(3, 9, 0.1), "r2": one(4, 102, stock_rsd=0.05)},
            ("B", ""): {"r2": one(5, 150, stock_rsd=0.05)},
        }

    def test_every_pair_of_each_symbol_with_holm_over_it(self):
        rows = comparison_table(self.lines())
        assert list(rows["symbol"]) == ["r1", "r2", "r2", "r2"]
        pairs = rows[["agent_a", "condition_a", "agent_b", "condition_b"]].to_numpy().tolist()
        assert pairs[1:] == [
            ["A", "pH 7", "A", "pH 5"],
            ["A", "pH 7", "B", ""],
            ["A", "pH 5", "B", ""],
        ]
        assert list(rows["p_holm"][1:]) == pytest.approx(holm(list(rows["p"][1:])))
        assert rows["p_holm"][0] == rows["p"][0]
        assert list(rows["stars"]) == [stars(p) for p in rows["p_holm"]]

    def test_a_stock_is_shared_by_the_conditions_of_an_agent(self):
        rows = comparison_table(self.lines())
        assert list(rows["test"][1:]) == [ANCOVA, SLOPES, SLOPES]

    def test_letters_from_the_highest_down(self):
        lines = self.lines()
        shown = letters_of(lines, comparison_table(lines))
        assert shown["r2"] == {("A", "pH 7"): "b", ("A", "pH 5"): "b", ("B", ""): "a"}
        assert shown["r1"] == {("A", "pH 7"): "b", ("A", "pH 5"): "a"}

    def test_a_line_that_is_not_there_has_no_letter(self):
        lines = self.lines()
        lines["C", ""] = {"r2": one(1).refit(np.zeros(5, dtype=bool))}
        rows = comparison_table(lines)
        assert (rows["stars"][rows["agent_b"] == "C"] == "").all()
        assert letters_of(lines, rows)["r2"]["C", ""] == ""

    def test_all_at_once(self):
        found = omnibus(self.lines())
        assert set(found) == {"r1", "r2"}
        assert found["r2"].dof_between == 2

    def test_one_agent_has_no_pair(self):
        lines = {("A", ""): {"r2": one(1)}}
        assert comparison_table(lines).empty
        assert letters_of(lines, comparison_table(lines)) == {}
        assert omnibus(lines) == {}


def clusters(seed, exact):
    """Three batches of C1 … C7, rates known to 1 %; slopes of just the published mean and SD."""
    rng = np.random.default_rng(seed)
    rows = []
    for agent, (mean, sd) in CLUSTERS.items():
        z = rng.standard_normal(3)
        z = (z - z.mean()) / z.std(ddof=1) if exact else z
        for batch, slope in enumerate(mean + sd * z, start=1):
            R = (10 + slope * C) * (1 + 0.01 * rng.standard_normal(C.size))
            rows += [(agent, batch, c, rate, 0.01 * rate) for c, rate in zip(C, R, strict=True)]
    names = ["agent", "replicate", "concentration_mM", "R2_per_s", "R2_stderr_per_s"]
    return pd.DataFrame(rows, columns=names).assign(tube=range(1, len(rows) + 1))


class TestPublishedClusters:
    @pytest.mark.parametrize("seed", range(3))
    def test_mean_sd_and_significance_come_back(self, seed):
        result = rx.relaxivity(clusters(seed, exact=True))
        summary = result.replicate_summary.set_index("agent")
        for agent, (mean, sd) in CLUSTERS.items():
            assert summary["r2_mean_per_mM_per_s"][agent] == pytest.approx(mean, rel=0.015)
            # A slope of 5 rates known to 1 % has an error of about 1.5 %.
            assert summary["r2_sd_per_mM_per_s"][agent] == pytest.approx(sd, abs=0.03 * mean)
        rows = result.comparisons.set_index(["agent_a", "agent_b"])
        assert len(rows) == 21
        for pair in (("C1", "C3"), ("C2", "C3")):
            assert rows["test"][pair] == REPLICATES
            assert rows["p_holm"][pair] < 0.01
            assert rows["stars"][pair] in ("**", "***")

    def test_batches_drawn_at_random_give_the_means(self):
        means = []
        for seed in range(10):
            rows = rx.relaxivity(clusters(seed, exact=False)).replicate_summary
            means.append(rows["r2_mean_per_mM_per_s"].to_numpy())
        truth = np.array(list(CLUSTERS.values()))
        error = truth[:, 1] / np.sqrt(3 * 10)
        off = np.abs(np.mean(means, axis=0) - truth[:, 0])
        assert (off < 4 * np.hypot(error, 0.015 * truth[:, 0] / np.sqrt(30))).all()
