"""Replicates: mean ± SD as papers print it, and an interval that knows of batches."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.optimize import brentq

import relaxometry as rx
from relaxometry.replicates import batches, covariance_of_slopes, doubts, lines_of_replicates

from .lines import C, line

UNIT = "per_mM_per_s"


def study(rng, slopes, noise=1.0, c=C, blank=False, **kwargs):
    """Replicates 1, 2 … of these slopes, with a blank of all of them if asked for."""
    k = len(slopes)
    c, batch = np.tile(c, k), np.repeat(np.arange(1, k + 1), len(c))
    R = 10 + np.repeat(slopes, len(c) // k) * c + noise * rng.standard_normal(c.size)
    if blank:
        c, batch = np.append(c, 0.0), np.append(batch, 0)
        R = np.append(R, 10 + noise * rng.standard_normal())
    return line(c, R, replicate=batch, **kwargs)


def of_known_errors(y, v):
    """A line whose replicates have just these slopes, and variances that are known."""
    c = np.tile([0.0, 0.5, 1.0], len(y))
    R = 10 + np.repeat(y, 3) * c
    sigma = np.repeat(np.sqrt(np.array(v) / 2), 3)  # Σ(c − c̄)² = 1/2
    return line(c, R, sigma, replicate=np.repeat(np.arange(1, len(y) + 1), 3))


class TestTogether:
    @pytest.mark.parametrize("between", [0.0, 20.0])  # without and with scatter between them
    def test_batches_of_one_design_give_mean_and_t_times_sd_over_root_k(self, between):
        rng = np.random.default_rng(4)
        found = batches(study(rng, 300 + between * np.array([-1.0, 0.3, 0.7])))
        slopes = [one.r.value for one in found.lines.values()]
        half = stats.t.ppf(0.975, 2) * np.std(slopes, ddof=1) / np.sqrt(3)
        assert found.mean == pytest.approx(np.mean(slopes), rel=1e-12)
        assert found.sd == pytest.approx(np.std(slopes, ddof=1), rel=1e-12)
        assert found.mixed.value == pytest.approx(found.mean, rel=1e-9)
        assert found.ci95 == pytest.approx((found.mean - half, found.mean + half), rel=1e-8)
        assert (found.between_sd > 0) == (between > 0)

    def test_published_random_effects(self):
        """The 13 BCG trials (Colditz et al., JAMA 271:698, 1994): values of R package metafor."""
        y = [-0.8893, -1.5854, -1.3481, -1.4416, -0.2175, -0.7861, -1.6209, 0.0120, -0.4694]
        y += [-1.3713, -0.3394, 0.4459, -0.0173]
        v = [0.3256, 0.1946, 0.4154, 0.0200, 0.0512, 0.0069, 0.2230, 0.0040, 0.0564]
        v += [0.0730, 0.0124, 0.5325, 0.0714]
        found = batches(of_known_errors(y, v))
        assert found.between_sd**2 == pytest.approx(0.318, abs=0.001)  # Paule and Mandel
        assert found.within_stderr == pytest.approx(0.0405, abs=1e-4)  # fixed effect
        assert found.mixed.value == pytest.approx(-0.715, abs=0.001)
        assert found.heterogeneity_p == pytest.approx(stats.chi2.sf(152.23, 12), rel=0.1)

    def test_unequal_errors_by_the_scalar_formulae(self):
        y, v = np.array([100.0, 112.0, 96.0, 130.0]), np.array([4.0, 25.0, 9.0, 100.0])
        found = batches(of_known_errors(y, v))

        def of(tau2):
            w = 1 / (v + tau2)
            mu = (w * y).sum() / w.sum()
            return w, mu, (w * (y - mu) ** 2).sum()

        tau2 = brentq(lambda t: of(t)[2] - 3, 0, 1e4)
        w, mu, Q = of(tau2)
        half = stats.t.ppf(0.975, 3) * np.sqrt(Q / 3 / w.sum())
        assert found.between_sd == pytest.approx(np.sqrt(tau2), rel=1e-6)
        assert found.ci95 == pytest.approx((mu - half, mu + half), rel=1e-7)
        assert found.heterogeneity_p == pytest.approx(stats.chi2.sf(of(0)[2], 3), rel=1e-7)

    def test_heterogeneity_is_the_extra_sum_of_squares(self):
        fit = study(np.random.default_rng(8), [300, 303, 309])
        c, R, batch = fit.concentration, fit.rate, fit.replicate
        own = np.array([batch == k for k in (1, 2, 3)]).T.astype(float)
        separate = np.hstack([own, own * c[:, None]])
        common = np.hstack([own, c[:, None]])
        rss = [((R - X @ np.linalg.lstsq(X, R)[0]) ** 2).sum() for X in (common, separate)]
        F = (rss[0] - rss[1]) / 2 / (rss[1] / 9)
        assert batches(fit).heterogeneity_p == pytest.approx(stats.f.sf(F, 2, 9), rel=1e-8)

    def test_a_stock_error_widens_the_interval_but_not_the_sd(self):
        rng = np.random.default_rng(1)
        plain = batches(study(rng, [290, 300, 310]))
        stock = batches(study(np.random.default_rng(1), [290, 300, 310], stock_rsd=0.05))
        assert stock.sd == plain.sd
        assert stock.between_sd == pytest.approx(plain.between_sd)
        expected = np.hypot(plain.mixed.stderr, 0.05 * plain.mixed.value)
        assert stock.mixed.stderr == pytest.approx(expected)

    def test_a_shared_blank_moves_all_slopes_alike(self):
        fit = study(np.random.default_rng(2), [290, 300, 310], blank=True)
        lines = list(lines_of_replicates(fit).values())
        assert [one.n for one in lines] == [6, 6, 6]
        covariance, dof = covariance_of_slopes(lines)
        c = np.append(C, 0.0)
        S = ((c - c.mean()) ** 2).sum()
        s2 = sum((one.residual**2).sum() for one in lines) / 12
        np.testing.assert_allclose(np.diag(covariance), s2 / S)
        off = covariance[~np.eye(3, dtype=bool)]
        np.testing.assert_allclose(off, s2 * (c.mean() / S) ** 2)  # of the blank: dr/dR = −c̄/S
        assert dof == 12 - 2  # the blank stands in three lines

    def test_tubes_numbered_alike_in_every_batch_are_not_shared(self):
        fit = study(np.random.default_rng(2), [290, 300, 310])
        same = line(
            fit.concentration, fit.rate, replicate=fit.replicate, tubes=[*range(5)] * 3
        )  # fmt: skip
        assert batches(same).ci95 == batches(fit).ci95

    def test_exact_points(self):
        found = batches(study(np.random.default_rng(0), [290, 300, 310], noise=0.0))
        assert (found.mean, found.sd) == pytest.approx((300, 10))
        half = stats.t.ppf(0.975, 2) * 10 / np.sqrt(3)
        assert found.ci95 == pytest.approx((300 - half, 300 + half))

    def test_equal_exact_points(self):
        found = batches(study(np.random.default_rng(0), [300, 300, 300], noise=0.0))
        assert found.ci95 == pytest.approx((300, 300))


class TestTooFew:
    def test_one_replicate_tells_nothing_of_batches(self):
        found = batches(study(np.random.default_rng(0), [300]))
        assert np.isnan([found.sd, *found.ci95, found.mixed.value]).all()
        assert found.flags == ("one replicate: it tells nothing of the scatter between batches",)

    def test_two_hardly_know_their_sd(self):
        fit = study(np.random.default_rng(0), [300, 301])
        assert "two replicates: their SD is hardly known" in batches(fit).flags
        assert list(doubts(fit)) == ["r2: two replicates, so their SD is hardly known"]

    def test_a_replicate_without_a_line_is_named(self):
        fit = study(np.random.default_rng(0), [300, 301, 302])
        fit = fit.refit(~((fit.replicate == 2) & (fit.concentration < 0.4)))
        found = batches(fit)
        assert np.isnan(found.lines[2].r.value)
        assert found.slopes.size == 2
        said = list(doubts(fit))
        assert any("replicate 2 gives no line (not determined" in text for text in said)

    def test_too_few_for_a_robust_line(self):
        rng = np.random.default_rng(0)
        fit = study(rng, [300, 301, 302], method="robust")
        fit = fit.refit(~((fit.replicate == 2) & (fit.concentration < 0.15)))
        assert np.isnan(batches(fit).lines[2].r.value)
        assert "four" in batches(fit).lines[2].flags[0]

    def test_two_points_each_count_alike(self):
        fit = study(np.random.default_rng(0), [290, 300, 310], c=np.array([0.4, 0.1]))
        found = batches(fit)
        half = stats.t.ppf(0.975, 2) * found.sd / np.sqrt(3)
        assert found.ci95 == pytest.approx((found.mean - half, found.mean + half))
        assert np.isnan(found.between_sd)
        assert "all count alike" in found.flags[-1]


class TestDoubts:
    def test_batches_that_differ_are_told(self):
        (said,) = doubts(study(np.random.default_rng(0), [250, 300, 350]))
        assert said.startswith("r2: 3 replicates differ by more than their errors (p = ")
        assert said.endswith("so the line through all of them is too sure of itself")

    def test_batches_that_agree_are_not(self):
        assert not list(doubts(study(np.random.default_rng(0), [300, 300, 300])))


def test_coverage_and_sd_of_simulated_studies():
    """2000 studies of 3 batches that differ by an SD of 15."""
    rng = np.random.default_rng(12)
    mixed, pooled, variance = [], [], []
    for _ in range(2000):
        fit = study(rng, 300 + 15 * rng.standard_normal(3))
        found = batches(fit)
        mixed.append(found.ci95[0] < 300 < found.ci95[1])
        pooled.append(fit.ci95[0] < 300 < fit.ci95[1])
        variance.append(found.sd**2)
    assert 0.93 < np.mean(mixed) < 0.97
    assert np.mean(pooled) < 0.80  # the line through all points
    own = 1 / ((C - C.mean()) ** 2).sum()  # error of one slope, for rates known to 1 s⁻¹
    assert np.mean(variance) == pytest.approx(15**2 + own, rel=0.08)


@pytest.fixture(scope="module")
def result():
    rng = np.random.default_rng(5)
    rows = []
    for agent, k, r1, r2 in (("A", 3, 4.0, 24.0), ("B", 1, 2.0, 60.0)):
        for replicate in range(1, k + 1):
            f = 1 + 0.1 * rng.standard_normal(2)
            for c in C:
                R1, R2 = 0.4 + f[0] * r1 * c, 9 + f[1] * r2 * c
                rows.append((agent, str(replicate), c, R1, R2))
    rows.append(("blank", "0", 0.0, 0.4, 9.0))
    names = ["agent", "replicate", "concentration_mM", "R1_per_s", "R2_per_s"]
    table = pd.DataFrame(rows, columns=names)
    table[["R1_per_s", "R2_per_s"]] *= 1 + 0.01 * rng.standard_normal((len(table), 2))
    return rx.relaxivity(table.assign(tube=range(1, len(table) + 1)))


class TestTable:
    def test_a_row_per_replicate_with_the_blank_in_each(self, result):
        rows = result.replicates
        assert list(rows["agent"]) == ["A", "A", "A", "B"]
        assert list(rows["replicate"]) == [1, 2, 3, 1]
        assert set(rows["n_points"]) == {6}
        for row in rows.to_dict("records")[:3]:
            line = result["A"]["r2"]
            keep = np.isin(line.replicate, (0, row["replicate"]))
            slope = np.polyfit(line.concentration[keep], line.rate[keep], 1)[0]
            assert row[f"r2_{UNIT}"] == pytest.approx(slope)
            assert row["r2_r1"] == pytest.approx(row[f"r2_{UNIT}"] / row[f"r1_{UNIT}"])

    def test_summary_has_mean_and_sd_of_slopes_and_ratios(self, result):
        first, second = result.replicate_summary.to_dict("records")
        rows = result.replicates[:3]
        for symbol in ("r1", "r2"):
            slopes = rows[f"{symbol}_{UNIT}"]
            assert first[f"{symbol}_mean_{UNIT}"] == pytest.approx(slopes.mean())
            assert first[f"{symbol}_sd_{UNIT}"] == pytest.approx(slopes.std())
        assert first["r2_r1_mean"] == pytest.approx(rows["r2_r1"].mean())
        assert first["r2_r1_sd"] == pytest.approx(rows["r2_r1"].std())
        assert (first["n_replicates"], second["n_replicates"]) == (3, 1)
        assert np.isnan(second[f"r2_sd_{UNIT}"])
        assert "one replicate" in second["flags"]

    def test_warnings_say_that_batches_differ(self, result):
        assert any(text.startswith("A: r2: 3 replicates differ") for text in result.warnings)
        assert not any("B" in text and "replicate" in text for text in result.warnings)

    def test_nothing_replicated(self):
        table = pd.DataFrame({"agent": "A", "concentration_mM": C, "R2_per_s": 9 + 24 * C})
        result = rx.relaxivity(table)
        assert result.replicates.empty
        assert result.replicate_summary.empty
