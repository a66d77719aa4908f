"""The check values of the science: computed apart from this project, reached to 1e-6 or better."""

from __future__ import annotations

import numpy as np
import pytest

import relaxometry as rx
from relaxometry.ratio import fieller
from relaxometry.regression import t95

ENGINES = ("own", "lmfit")

T2_SIGNAL = [903, 825, 741, 678, 604, 553, 501, 448, 413, 369, 332, 307, 272, 251, 223, 207]
IR_TIMES = [0.05, 0.1, 0.2, 0.4, 0.7, 1, 1.5, 2.5, 4, 6]
IR_SIGNAL = [870, 745, 520, 151, 260, 515, 770, 945, 989, 1003]


def matches(estimate: rx.Estimate, value: float, stderr: float) -> None:
    assert estimate.value == pytest.approx(value, rel=1e-6)
    assert estimate.stderr == pytest.approx(stderr, rel=1e-6)


@pytest.mark.parametrize("engine", ENGINES)
def test_t2(engine):
    fit = rx.fit_curve(np.arange(1, 17) * 0.010, T2_SIGNAL, "t2", engine=engine)
    matches(fit["S0"], 1001.07203417, 2.8072230365)
    matches(fit["T2"], 0.1006170217, 4.65479167e-4)
    assert fit.rss == pytest.approx(176.3397317730, rel=1e-6)
    assert fit.rsquared == pytest.approx(0.9997591643, rel=1e-9)
    assert abs(fit["T2"].value - 0.1007155047) > 5e-5  # the log-linear answer is another one


@pytest.mark.parametrize("engine", ENGINES)
def test_t1_inversion_recovery(engine):
    fit = rx.fit_curve(IR_TIMES, IR_SIGNAL, "t1_ir", engine=engine)
    matches(fit["S0"], 1002.50061, 3.9438072)  # a; TR unknown
    matches(fit["B"], 2015.87736, 5.8404878)  # −b
    matches(fit["T1"], 0.705073713, 5.48046244e-3)
    assert fit.rss == pytest.approx(284.2576356525, rel=1e-6)


@pytest.mark.parametrize("engine", ENGINES)
def test_t1_saturation_recovery(engine):
    times = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4]
    fit = rx.fit_curve(times, [92, 181, 330, 555, 795, 962, 997], "t1_sr", engine=engine)
    matches(fit["S0"], 999.783789, 2.44016841)
    matches(fit["T1"], 0.997736252, 7.06634e-3)
    assert fit.rss == pytest.approx(46.6958662493, rel=1e-6)


@pytest.mark.parametrize("engine", ENGINES)
def test_t2_with_an_offset(engine):
    fit = rx.fit_curve(np.arange(1, 17) * 0.010, T2_SIGNAL, "t2_offset", engine=engine)
    assert fit["S0"].value == pytest.approx(1000.7917151, rel=1e-8)
    assert fit["T2"].value == pytest.approx(0.1005376942, rel=1e-8)
    assert fit["C"].value == pytest.approx(0.3781914874, rel=1e-5)
    assert fit.rss == pytest.approx(176.3220299593, rel=1e-8)


@pytest.mark.parametrize("engine", ENGINES)
def test_t1_variable_flip_angle(engine):
    protocol = rx.Protocol(FA=[2, 5, 10, 15, 20, 30], TR=0.015)
    signal = [33.5, 71.2, 96.8, 97.9, 90.1, 70.6]
    fit = rx.fit_curve(protocol, signal, "t1_vfa", engine=engine)
    matches(fit["S0"], 936.885126, 17.85005903)
    matches(fit["T1"], 0.649463637, 2.122726e-2)
    assert fit.rss == pytest.approx(8.8254955183, rel=1e-6)


CONCENTRATION = [0, 0.025, 0.05, 0.1, 0.2, 0.4]
RATE = [3.10, 16.2, 30.1, 56.0, 110.3, 215.9]


def test_ordinary_line():
    line = rx.relaxivity_fit(CONCENTRATION, RATE, symbol="r2")
    assert line.method == "ordinary"
    assert line.r.value == pytest.approx(532.4829493088, rel=1e-10)
    assert line.R0.value == pytest.approx(3.1542857143, rel=1e-9)
    assert line.r.stderr == pytest.approx(1.3484019012, rel=1e-9)
    assert line.R0.stderr == pytest.approx(0.2541329215, rel=1e-9)
    assert (line.ci95[1] - line.ci95[0]) / 2 == pytest.approx(3.7437638584, rel=1e-9)


def test_weighted_line():
    line = rx.relaxivity_fit(CONCENTRATION, RATE, stderr=[0.1, 0.3, 0.5, 1, 2, 5])
    assert line.method == "weighted"
    assert line.r.value == pytest.approx(532.96619022, rel=1e-9)
    assert line.R0.value == pytest.approx(3.08845171, rel=1e-8)
    assert line.r.stderr == pytest.approx(5.01356041, rel=1e-8)
    assert line.R0.stderr == pytest.approx(0.09674631, rel=1e-6)
    assert line.chi2_reduced == pytest.approx(0.3232060315, rel=1e-8)


@pytest.mark.parametrize("method", ["auto", "odr", "york"])
def test_line_with_errors_in_both_axes(method):
    # Pearson's data with York's weights.
    x = [0, 0.9, 1.8, 2.6, 3.3, 4.4, 5.2, 6.1, 6.5, 7.4]
    y = [5.9, 5.4, 4.4, 4.6, 3.5, 3.7, 2.8, 2.8, 2.4, 1.5]
    weight_x = np.array([1000, 1000, 500, 800, 200, 80, 60, 20, 1.8, 1])
    weight_y = np.array([1, 1.8, 4, 8, 20, 20, 70, 70, 100, 500])
    line = rx.relaxivity_fit(
        x, y, stderr=weight_y**-0.5, concentration_sd=weight_x**-0.5, method=method
    )
    assert line.method == ("odr" if method == "auto" else method)
    assert line.R0.value == pytest.approx(5.47991022, rel=1e-8)
    assert line.r.value == pytest.approx(-0.48053341, rel=1e-7)
    assert line.chi2_reduced == pytest.approx(1.48329415, rel=1e-8)
    # The published errors are those before scaling by √(χ²/ν), which is above 1 here.
    birge = np.sqrt(line.chi2_reduced)
    assert line.R0.stderr / birge == pytest.approx(0.29497074, rel=1e-7)
    assert line.r.stderr / birge == pytest.approx(0.05798500, rel=1e-6)


def test_ratio_of_relaxivities():
    r1, r2 = rx.Estimate(4.2, 0.3, "r1"), rx.Estimate(98, 2.5, "r2")
    ratio = r2.over(r1)
    assert ratio.value == pytest.approx(23.3333333333, rel=1e-10)
    assert ratio.stderr == pytest.approx(1.7697700890, rel=1e-10)

    low, high = fieller(r2, r1, t95(8))
    assert low == pytest.approx(19.7955753011, rel=1e-10)
    assert high == pytest.approx(28.1725083203, rel=1e-10)


def test_ratio_of_a_relaxivity_that_may_be_zero():
    unbounded = fieller(rx.Estimate(70, 0.1), rx.Estimate(0.04, 0.045), 4.3)
    # r1 is at most 0.04 + 4.3·0.045 = 0.2335, and nothing bounds the ratio above.
    assert unbounded[0] == pytest.approx(70 / 0.2335, rel=0.01)
    assert unbounded[1] == float("inf")
    assert fieller(rx.Estimate(0.1, 1), rx.Estimate(0.1, 1), 3) == (-float("inf"), float("inf"))
    assert fieller(rx.Estimate(24, 0.0), rx.Estimate(4, 0.0), 3) == (6, 6)
