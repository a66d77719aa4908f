"""Plans of weighted images against hand arithmetic, closed forms, dense grids and simulations."""

from __future__ import annotations

import doctest
import json
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import binary_erosion
from scipy.optimize import brentq

import relaxometry as rx
from relaxometry import animalscans, simulate
from relaxometry.animals import typical_mouse
from relaxometry.cli import run
from relaxometry.noise import rician_mean
from relaxometry.planfiles import read_plan

TUMOUR = {"T1": 1.3, "T2": 0.08, "T2star": 0.05, "uptake_mM": 0.2, "name": "tumour"}
LIVER = {"T1": 0.8, "T2": 0.06, "T2star": 0.03, "S0": 0.9, "uptake_mM": 0.05, "name": "liver"}
R1, R2 = 4.5, 12.0


def planned(**given):
    usual = {"r1": R1, "r2": R2, "target": TUMOUR, "reference": LIVER, "sigma": 0.01}
    return rx.plan_contrast(**(usual | given))


def by_hand(sequence, tissue, c, TE, TR, third=None, r1=R1, r2=R2):
    """The textbook's equation, written anew."""
    decay_time = tissue["T2star"] if sequence == "GRE" else tissue["T2"]
    A, B = 1 / tissue["T1"] + r1 * c, 1 / decay_time + r2 * c
    E1, decay = np.exp(-TR * A), tissue.get("S0", 1.0) * np.exp(-TE * B)
    if sequence == "SE":
        return decay * (1 - E1)
    if sequence == "IR":
        return decay * np.abs(1 - 2 * np.exp(-third * A) + E1)
    a = np.deg2rad(third)
    return decay * np.sin(a) * (1 - E1) / (1 - E1 * np.cos(a))


def contrast_by_hand(sequence, aim, TE, TR, third=None, sigma=0.01, target=TUMOUR, reference=LIVER):
    a0, b0 = (by_hand(sequence, one, 0.0, TE, TR, third) for one in (target, reference))
    a, b = (by_hand(sequence, one, one["uptake_mM"], TE, TR, third) for one in (target, reference))
    return {
        "CNR": np.abs(a - b),
        "dCNR": np.abs(np.abs(a - b) - np.abs(a0 - b0)),
        "dS": np.abs(a - a0),
        "SNR": a,
    }[aim] / sigma


# What an image shows


def test_every_quantity_by_hand():
    plan = planned(TE="40 ms", TR=2)
    row = plan.table.iloc[0]
    t0, t1, r0, r1 = (
        by_hand("SE", one, c, 0.04, 2.0)
        for one, c in ((TUMOUR, 0), (TUMOUR, 0.2), (LIVER, 0), (LIVER, 0.05))
    )
    assert t0 == pytest.approx(math.exp(-0.5) * (1 - math.exp(-2 / 1.3)))
    expected = {
        "TE_s": 0.04,
        "TR_s": 2.0,
        "S_target_post": t1,
        "SNR_target_pre": t0 / 0.01,
        "SNR_reference_post": r1 / 0.01,
        "CNR_usual_pre": abs(t0 - r0) / 0.01,
        "CNR_usual_post": abs(t1 - r1) / 0.01,
        "CNR_relative_pre": abs(t0 - r0) / t0,
        "CNR_relative_post": abs(t1 - r1) / t1,
        "CNR_usual_change": (abs(t1 - r1) - abs(t0 - r0)) / 0.01,
        "dSNR_target_signed": t1 / t0 - 1,
        "dSNR_reference": abs(r1 / r0 - 1),
        "dCNR": abs(abs(t1 - r1) / t1 / (abs(t0 - r0) / t0) - 1),
        "dCNR_usual_signed": abs(t1 - r1) / abs(t0 - r0) - 1,
        "CNR_usual_post_per_sqrt_s": abs(t1 - r1) / 0.01 / math.sqrt(2),
        "SNR_target_post_measured": rician_mean(t1, 0.01) / 0.01,
    }
    for name, value in expected.items():
        assert row[name] == pytest.approx(value, rel=1e-12), name
    assert row["flags"] == ""
    assert plan.best.value == pytest.approx(expected["CNR_usual_post"])
    assert plan.best.within == {}


def test_a_row_for_each_setting_and_concentration():
    c = np.linspace(0.01, 1, 20)
    TE, TR = np.geomspace(0.005, 0.2, 30), np.geomspace(0.3, 6, 31)
    plan = planned(TE=TE, TR=TR, target=TUMOUR | {"uptake_mM": c})
    assert len(plan.table) == 30 * 31 * 20
    t = by_hand("SE", TUMOUR, c, TE[:, None, None], TR[:, None])
    r = by_hand("SE", LIVER, 0.05, TE[:, None, None], TR[:, None])
    np.testing.assert_allclose(
        plan.table["CNR_usual_post"], np.abs(t - r).ravel() / 0.01, rtol=1e-9
    )
    np.testing.assert_array_equal(plan.table["uptake_target_mM"], np.tile(c, 930))
    assert len(plan.optima) == 20
    assert plan.best.value == pytest.approx(np.abs(t - r).max() / 0.01)


def test_several_values_of_one_setting_and_the_best_of_the_other():
    plan = planned(TE=["10 ms", "60 ms"])
    assert plan.table["TE_s"].tolist() == [0.01, 0.06]
    for one in plan.optima:
        assert one.settings["TR"] == pytest.approx(planned(TE=one.TE).best.TR, rel=1e-6)
    assert plan.optima[0].settings["TR"] != pytest.approx(plan.optima[1].TR, rel=0.01)


def test_flags_the_noise_floor_and_a_contrast_that_was_not_there():
    plan = planned(TE=0.3, TR=2, sigma=0.02, reference=None)
    row = plan.table.iloc[0]
    assert "S_target_post below 3σ" in row["flags"]
    assert "no CNR before" in row["flags"]
    assert math.isnan(row["dCNR"])
    assert math.isnan(row["dCNR_usual_signed"])
    assert row["S_target_post_measured"] > 1.1 * row["S_target_post"]
    assert "CNR before below 1" in planned(TE=0.1, TR=2, sigma=0.3).table["flags"][0]
    assert plan.notes == ("no reference: it is the target without agent",)


def test_sigma_from_an_snr():
    at = {"TE": "40 ms", "TR": 2}
    signal = by_hand("SE", TUMOUR, 0.0, 0.04, 2.0)
    assert planned(sigma=None, SNR=20, SNR_at=at).sigma == pytest.approx(signal / 20)
    assert planned(sigma=None, SNR=20, **at).sigma == pytest.approx(signal / 20)
    sd = planned(sigma=None, SNR=20, SNR_at=at, noise_method="sd", **at)
    assert sd.sigma == pytest.approx(signal / 20 / 0.6551363776)
    assert sd.table["SNR_target_pre"][0] == pytest.approx(20)
    # CNR is over σ whatever an SNR is.
    assert sd.table["CNR_usual_pre"][0] * sd.sigma == pytest.approx(
        abs(signal - by_hand("SE", LIVER, 0.0, 0.04, 2.0))
    )


def test_errors_of_r1_and_r2_by_monte_carlo():
    r1, r2 = rx.Estimate(4.5, 0.3, "r1"), rx.Estimate(12.0, 0.8, "r2")
    row = planned(r1=r1, r2=r2, TE=0.02, TR=0.6).table.iloc[0]
    rng = np.random.default_rng(5)
    drawn = rng.normal(4.5, 0.3, 40_000), rng.normal(12.0, 0.8, 40_000)
    t, r = (
        by_hand("SE", one, one["uptake_mM"], 0.02, 0.6, r1=drawn[0], r2=drawn[1])
        for one in (TUMOUR, LIVER)
    )
    # 40 000 draws know an SD to 0.35 %; the rest is curvature.
    assert row["CNR_usual_post_stderr"] == pytest.approx(np.std((t - r) / 0.01), rel=0.03)
    assert row["SNR_target_post_stderr"] == pytest.approx(np.std(t / 0.01), rel=0.03)
    assert math.isnan(planned(TE=0.02, TR=0.6).table["CNR_usual_post_stderr"][0])
    both = planned(r1=r1, r2=r2, TE=0.02, TR=0.6, reference=TUMOUR | {"S0": 1.0})
    assert both.table["CNR_usual_post_stderr"][0] == 0  # what is common cancels


# The best settings


def test_best_TE_of_two_tissues_that_differ_in_T2():
    a, b = 1 / 0.08, 1 / 0.03
    same = {"T1": 1.0, "T2": 0.08}
    plan = planned(r1=None, target=same, reference=same | {"T2": 0.03}, TR=3)
    assert plan.best.settings["TE"] == pytest.approx(math.log(b / a) / (b - a), rel=1e-6)
    near = planned(target=same, reference=same | {"T2": 0.0799}, TR=3)
    assert near.best.settings["TE"] == pytest.approx(
        0.08, rel=1e-3
    )  # the limit of a small difference


def test_best_TR_of_two_tissues_that_differ_in_T1():
    a, b = 1 / 1.4, 1 / 0.6
    same = {"T1": 1.4, "T2": 0.08}
    plan = planned(target=same, reference=same | {"T1": 0.6}, TE=0.01)
    assert plan.best.settings["TR"] == pytest.approx(math.log(b / a) / (b - a), rel=1e-6)


def test_ernst_angle():
    plan = planned(sequence="GRE", maximise="SNR", TE=0.002, TR=0.05, target=TUMOUR)
    R = 1 / 1.3 + 4.5 * 0.2
    assert plan.best.settings["FA"] == pytest.approx(
        math.degrees(math.acos(math.exp(-0.05 * R))), rel=1e-6
    )


def test_best_TR_of_one_tissue_at_fixed_scan_time():
    x = brentq(lambda x: math.exp(x) - 1 - 2 * x, 0.5, 3)  # TR/T1: 1.2564
    plan = planned(target={"T1": 0.9, "T2": 0.1}, maximise="SNR", fixed="time", TE=0.01)
    assert plan.best.settings["TR"] == pytest.approx(0.9 * x, rel=1e-6)
    value = by_hand("SE", {"T1": 0.9, "T2": 0.1}, 0, 0.01, 0.9 * x) / 0.01 / math.sqrt(0.9 * x)
    assert plan.best.value == pytest.approx(value)
    longest = planned(target={"T1": 0.9, "T2": 0.1}, maximise="SNR", TE=0.01).best
    assert longest.settings["TR"] == pytest.approx(10)
    assert longest.remarks == ("TR at the most allowed (10000 ms)",)


def test_inversion_that_nulls_the_reference():
    """|S_target| − |S_reference| has its maximum in a kink, where no slope is zero."""
    plan = planned(
        sequence="IR",
        TE=0.01,
        TR=3,
        target={"T1": 0.4, "T2": 0.1},
        reference={"T1": 1.2, "T2": 0.1},
    )
    null = 1.2 * math.log(2 / (1 + math.exp(-3 / 1.2)))
    assert plan.best.settings["TI"] == pytest.approx(null, rel=1e-6)


@pytest.mark.parametrize("aim", ["CNR", "dCNR", "dS", "SNR"])
@pytest.mark.parametrize("fixed", ["averages", "time"])
@pytest.mark.parametrize("sequence", ["SE", "GRE", "IR"])
def test_no_point_of_a_dense_grid_is_better(sequence, fixed, aim):
    bounds = {"TE": (0.004, 0.15), "TR": (0.02, 4.0)}
    extra = {"GRE": {"FA": (2, 90)}, "IR": {"TI": (0.01, 2.0)}, "SE": {}}[sequence]
    best = planned(sequence=sequence, maximise=aim, fixed=fixed, bounds=bounds | extra).best
    axes = [np.geomspace(*ends, 60 if extra else 500) for ends in (bounds | extra).values()]
    TE, TR, *third = np.meshgrid(*axes, indexing="ij", sparse=True)
    value = contrast_by_hand(sequence, aim, TE, TR, *third)
    value = value / np.sqrt(TR) if fixed == "time" else value
    possible = (TE + third[0] if sequence == "IR" else TE) <= TR
    grid = np.where(possible, value, 0).max()
    assert best.value >= grid * (1 - 1e-12)
    assert best.value <= grid * 1.06  # it is no other function either
    at = [best.TE, best.TR, *(best.settings[name] for name in extra)]
    again = contrast_by_hand(sequence, aim, *at)
    assert best.value == pytest.approx(again / (math.sqrt(best.TR) if fixed == "time" else 1))
    for name, (low, high) in (bounds | extra).items():
        assert low * (1 - 1e-9) <= best.settings[name] <= high * (1 + 1e-9)


def test_the_range_that_is_nearly_as_good():
    best = planned(reference=TUMOUR | {"uptake_mM": 0}, within=0.9, maximise="dS").best
    for TR in best.within["TR"]:
        value = contrast_by_hand("SE", "dS", best.TE, TR)
        assert value == pytest.approx(0.9 * best.value, rel=1e-6)
    assert best.within["TE"][0] == best.TE == 0.005
    high = contrast_by_hand("SE", "dS", best.within["TE"][1], best.TR)
    assert high == pytest.approx(0.9 * best.value, rel=1e-6)
    assert best.remarks == ("TE at the least allowed (5 ms)",)


def test_change_of_contrast_is_not_sought_where_there_was_none():
    """Relative ΔCNR is without bound where both were alike before; what is sought is not there."""
    target, reference = TUMOUR | {"uptake_mM": 0.5}, LIVER | {"uptake_mM": 0.0, "S0": 1.0}
    plan = planned(r2=60.0, target=target, reference=reference, maximise="dCNR")
    assert abs(plan.table["CNR_usual_change"][0]) == pytest.approx(plan.best.value)
    there = planned(
        r2=60.0, target=target, reference=reference, TE=plan.best.TE, TR=np.geomspace(0.1, 10, 400)
    ).table
    assert there["CNR_usual_change"].abs().max() <= plan.best.value * (1 + 1e-12)


def test_a_blank_in_a_dilution_series_is_imaged_like_the_best():
    plan = planned(target=TUMOUR | {"uptake_mM": [0.0, 0.1, 0.4]}, reference=None)
    blank, some, most = plan.optima
    assert blank.settings == most.settings == plan.best.settings
    assert some.settings != most.settings
    assert (blank.value, blank.within) == (0.0, {})
    assert blank.remarks == ("no contrast at any setting: those of 0.4 mM",)
    assert plan.table["CNR_usual_post"][0] == 0
    assert plan.table["TR_s"][0] == most.TR


# Concentration


def test_where_T2_overtakes_T1():
    TE, TR = 0.01, 0.5
    plan = planned(TE=TE, TR=TR, reference=LIVER | {"uptake_mM": 0})
    row = plan.limits().iloc[0]
    peak = (math.log(1 + TR * R1 / (TE * R2)) / TR - 1 / 1.3) / R1  # where the slope of S is 0
    assert row["peak_mM"] == pytest.approx(peak, rel=1e-6)
    S = [by_hand("SE", TUMOUR, c, TE, TR) for c in (0.0, peak, row["same_again_mM"])]
    assert row["peak_enhancement"] == pytest.approx(S[1] / S[0] - 1)
    assert S[2] == pytest.approx(S[0])
    assert row["same_again_mM"] > peak


def test_least_concentration_that_is_seen():
    plan = planned(TE=0.01, TR=0.5, reference=None, sigma=0.02)
    row = plan.limits().iloc[0]
    before = by_hand("SE", TUMOUR, 0.0, 0.01, 0.5)
    for name, noise in (("detectable_CNR_mM", 0.02), ("detectable_change_mM", 0.02 * math.sqrt(2))):
        after = by_hand("SE", TUMOUR, row[name], 0.01, 0.5)
        assert (after - before) / noise == pytest.approx(5, rel=1e-9)
    assert plan.limits(3)["detectable_CNR_mM"][0] < row["detectable_CNR_mM"]


def test_limits_that_do_not_exist_are_nan_with_a_reason():
    dark = planned(r1=None, r2=100.0, TE=0.05, TR=3, reference=None).limits().iloc[0]
    assert math.isnan(dark["peak_mM"])
    assert "falls with any amount" in dark["flags"]
    assert dark["detectable_CNR_mM"] > 0
    seen = planned(TE=0.05, TR=3).limits().iloc[0]
    assert math.isnan(seen["detectable_CNR_mM"])
    assert "without any agent" in seen["flags"]
    noisy = planned(TE=0.05, TR=0.5, sigma=0.4, reference=None).limits().iloc[0]
    assert math.isnan(noisy["detectable_change_mM"])
    assert noisy["flags"].count("no amount") == 2


# Simulated scans


def test_a_simulated_tumour_shows_what_was_planned():
    """Liver and tumour of the typical mouse before and 60 min after clusters, S0/σ = 150."""
    mouse = typical_mouse()

    def as_planned(name):
        tissue = mouse.tissue(name)
        return {
            "T1": 1 / tissue.R1,
            "T2": 1 / tissue.R2,
            "S0": tissue.S0,
            "uptake_mM": tissue.peak_mM,
        }

    plan = rx.plan_contrast(
        r1=mouse.agent.r1,
        r2=mouse.agent.r2,
        target=as_planned("tumour"),
        reference=as_planned("liver"),
        TE=mouse.scan.TE,
        TR=mouse.scan.TR,
        sigma=1 / 150,
        noise_method="sd",
    )
    row = plan.table.iloc[0]
    found = []
    for seed in range(8):
        pre, post, regions, _ = animalscans.tumour(seed)
        measured = rx.measure_contrast(
            pre, post, regions, target=1, reference=2, noise=3, noise_method="sd"
        ).row()
        air = regions == 3
        sd = math.hypot(pre[air].std(), post[air].std()) / math.sqrt(2)
        for when, image in (("pre", pre), ("post", post)):
            apart = abs(image[regions == 1].mean() - image[regions == 2].mean())
            measured[f"CNR_usual_{when}"] = apart * 0.6551363776 / sd  # a CNR is over σ
        found.append(measured)
    mean = pd.DataFrame(found).mean(numeric_only=True)
    # The SD of air is known to 2 % in an image and 0.8 % over eight; 2.5 of that.
    for name in ("SNR_target_pre", "SNR_target_post", "SNR_reference_pre", "SNR_reference_post"):
        assert mean[name] == pytest.approx(row[f"{name}_measured"], rel=0.02), name
    for name in ("CNR_usual_pre", "CNR_usual_post"):
        assert mean[name] == pytest.approx(row[f"{name}_measured"], rel=0.02), name
    for name in ("CNR_relative_pre", "CNR_relative_post"):  # without σ
        assert mean[name] == pytest.approx(row[f"{name}_measured"], abs=0.001), name
    assert mean["dCNR"] == pytest.approx(row["dCNR_measured"], abs=0.01)
    # Over another SD of air before and after: 2.8 % in an image, 1 % over eight.
    assert mean["dSNR_target_signed"] == pytest.approx(row["dSNR_target_signed_measured"], abs=0.02)
    assert mean["dSNR_reference_signed"] == pytest.approx(
        row["dSNR_reference_signed_measured"], abs=0.01
    )
    # 63 % of the liver's signal goes, 2 % of the tumour's.
    assert row["dSNR_reference_signed"] == pytest.approx(-0.63, abs=0.01)
    assert row["dSNR_target_signed"] == pytest.approx(-0.02, abs=0.002)


def test_tubes_of_a_simulated_phantom_show_what_was_planned():
    phantom = simulate.phantom("small")
    series = simulate.mese(phantom, 3, snr=150)
    agent = phantom.agents[0]
    tubes = [tube for tube in phantom.tubes if tube.agent in (agent.name, simulate.BLANK)]
    medium = {"T1": 1 / phantom.R1_0, "T2": 1 / phantom.R2_0}
    scan = phantom.scan.T2
    TE, TR = [float(t) for t in scan.TE[:3]], float(np.ravel(scan.TR)[0])
    plan = rx.plan_contrast(
        r1=agent.r1,
        r2=agent.r2,
        target=medium | {"uptake_mM": [tube.concentration_mM for tube in tubes]},
        TE=TE,
        TR=TR,
        sigma=1 / 150,
    )
    inside = {t.number: binary_erosion(phantom.labels[..., 0] == t.number) for t in tubes}
    means = {n: series.signal[where][..., :3].mean(axis=(0, 1)) for n, where in inside.items()}
    blank = means[next(tube.number for tube in tubes if tube.agent == simulate.BLANK)]
    measured = np.stack([means[tube.number] / blank - 1 for tube in tubes], axis=1)
    expected = plan.table["dSNR_target_signed_measured"].to_numpy().reshape(3, -1)
    np.testing.assert_allclose(measured, expected, atol=0.02)  # walls, noise of the mean


# Relaxivities


def test_relaxivities_from_a_line_or_a_table():
    c = np.array([0.0, 0.1, 0.2, 0.4, 0.8])
    table = pd.DataFrame(
        {
            "agent": "A",
            "concentration_mM": c,
            "R1_per_s": 0.4 + 4.5 * c + np.array([0, 1, -1, 1, -1]) * 1e-3,
            "R2_per_s": 9.0 + 12.0 * c + np.array([0, -1, 1, 1, -1]) * 1e-2,
            "field_T": 7.0,
        }
    )
    measured = rx.relaxivity(table)
    line = measured.lines["A", ""]["r2"]
    plan = planned(r1=None, r2=None, relaxivity=measured, TE=0.02, TR=0.6)
    assert plan.model.agent.name == "A"
    assert plan.model.agent.field_T == 7.0
    assert plan.model.agent.decay.value == line.r.value
    assert plan.table["CNR_usual_post_stderr"][0] > 0
    alone = planned(r1=None, r2=line)
    assert alone.model.agent.decay.stderr == line.r.stderr
    assert "r1 not known" in alone.notes[0]
    with pytest.raises(rx.InputError, match=r"field_T: 3 T, where the relaxivities are of 7 T"):
        planned(r1=None, r2=None, relaxivity=measured, field_T=3.0)
    with pytest.raises(rx.InputError, match="agent: B; expected one of A"):
        planned(r1=None, r2=None, relaxivity=measured, agent="B")
    with pytest.raises(rx.InputError, match=r"relaxivity: a DataFrame.*Relaxivity as r1="):
        planned(relaxivity=table)


def test_published_relaxivities():
    plan = planned(r1=None, r2=None, agent="ionas", condition="after pH", field_T=3.0)
    assert plan.model.agent.r1.value == 5.1
    assert plan.model.agent.decay.value == 21.3
    assert "Li 2023" in plan.notes[0]
    sure = planned(r1=None, r2=None, agent="IO cluster C3", field_T=7.0, TE=0.02, TR=2)
    assert sure.model.agent.decay.value == 533.4
    assert sure.table["CNR_usual_post_stderr"][0] > 0  # of the published 13.2
    with pytest.raises(rx.InputError, match=r"2 published values of ionas.*before pH.*after pH"):
        planned(r1=None, r2=None, agent="ionas", field_T=3.0)
    with pytest.raises(rx.InputError, match="not among the published"):
        planned(r1=None, r2=None, agent="unobtainium")
    with pytest.raises(rx.InputError, match=r"0 published values of Feridex .*at 3 T"):
        planned(r1=None, r2=None, agent="Feridex", field_T=3.0)  # its field is not stated
    assert planned(r1=None, r2=None, agent="Feridex").model.agent.r1.value == 24


def test_gradient_echo_without_r2star_goes_by_r2():
    plan = planned(sequence="GRE")
    assert "r2 in its place" in plan.notes[0]
    own = planned(sequence="GRE", r2star=40.0)
    assert own.model.agent.decay.value == 40
    assert own.notes == ()


# What is refused


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"target": None}, r"target: missing"),
        ({"target": {"T2": 0.08}}, r"target T1: missing"),
        ({"target": {"T1": 1.3}}, r"target T2: missing; expected a time: spin echo needs it"),
        ({"target": {"T1": 1.3, "T2": 0.08}, "sequence": "GRE"}, r"target T2star: missing"),
        ({"reference": {"T1": 1.3}}, r"reference T2: missing"),
        ({"target": TUMOUR | {"T1": -1}}, r"target T1: -1 s; expected above 0"),
        ({"target": TUMOUR | {"T1": 1300}}, r'T1: 1300 s.*write "1300 ms" or 1.3'),
        ({"target": TUMOUR | {"T2": 80}}, r'T2: 80 s.*write "80 ms"'),
        ({"target": TUMOUR | {"T2": 2.7}}, r"T2 of 2.7 s with T1 of 1.3 s; expected at most 2·T1"),
        ({"target": TUMOUR | {"T2star": 0.09}}, r"T2star: T2\* of 0.09 s with T2 of 0.08 s"),
        ({"target": TUMOUR | {"T2": "soon"}}, r"'soon' is not a time"),
        ({"target": TUMOUR | {"S0": 0}}, r"target S0: 0; expected above 0"),
        ({"target": TUMOUR | {"S0": "80 %"}}, r"S0: '80 %'.*1 % is 0.01"),
        ({"target": TUMOUR | {"uptake_mM": -0.1}}, r"uptake_mM: -0.1 mM; expected 0 or more"),
        ({"target": TUMOUR | {"uptake_mM": "lots"}}, r"uptake_mM: 'lots'"),
        ({"target": TUMOUR | {"uptake_mM": [[1]]}}, r"uptake_mM: shape \(1, 1\)"),
        ({"target": TUMOUR | {"uptake_mM": [math.nan]}}, r"nan mM"),
        ({"target": TUMOUR | {"uptake": 1}}, r"no such property: 'uptake'.*uptake_mM is meant"),
        ({"target": TUMOUR | {"name": 3}}, r"target name: 3"),
        (
            {
                "target": TUMOUR | {"uptake_mM": [1, 2]},
                "reference": LIVER | {"uptake_mM": [1, 2, 3]},
            },
            r"2 and 3 concentrations",
        ),
        ({"sequence": "EPI"}, r"sequence: 'EPI'; expected SE \(spin echo\), GRE"),
        ({"sequence": 7}, r"sequence: 7"),
        ({"TE": 40}, r'TE: 40 s.*write "40 ms" or 0.04'),
        ({"TE": -0.01}, r"TE: -0.01 s; expected above 0"),
        ({"TE": []}, r"TE: none"),
        ({"TR": 2000}, r'TR: 2000 s.*write "2000 ms" or 2'),
        ({"TE": 0.5, "TR": 0.4}, r"TE 500 ms with TR 400 ms; expected at most TR"),
        ({"TE": [0.1, 0.5], "TR": [0.4, 2]}, r"TE 500 ms with TR 400 ms"),
        ({"TE": 0.5, "bounds": {"TR": (0.1, 0.4)}}, r"TE 500 ms with TR 400 ms"),
        ({"sequence": "IR", "TI": 1.5, "TR": 1}, r"TE \+ TI: TE 5 ms \+ TI 1500 ms with TR 1000"),
        ({"FA": 30}, r"FA: given; expected none: spin echo"),
        ({"sequence": "GRE", "FA": 180}, r"FA: 180°; expected above 0 and below 180°"),
        ({"sequence": "GRE", "FA": 0}, r"FA: 0; expected above 0"),
        ({"bounds": {"FA": (1, 2)}}, r"bounds: 'FA'; expected TE, TR"),
        ({"bounds": {"TE": 0.1}}, r"bounds TE: 0.1; expected two"),
        ({"bounds": {"TE": (0.1, 0.01)}}, r"bounds TE: 0.1 to 0.01"),
        ({"bounds": {"TE": (0.1, 0.2)}, "TE": 0.1}, r"TE: given, and bounds for it too"),
        ({"sigma": None}, r"sigma, SNR: none"),
        ({"SNR": 20}, r"sigma, SNR: both"),
        ({"sigma": 0}, r"sigma: 0; expected above 0"),
        ({"sigma": 2}, r"sigma: 2 where S0 is 1.*1 % of S0 is 0.01"),
        ({"sigma": "1 %"}, r"sigma: '1 %'.*1 % is 0.01"),
        ({"SNR_at": {"TE": 0.1}}, r"SNR_at: given without SNR"),
        ({"sigma": None, "SNR": 20}, r"SNR_at: no TE, TR; expected the settings"),
        ({"sigma": None, "SNR": 20, "SNR_at": {"TI": 1}}, r"SNR_at: 'TI'; expected TE, TR"),
        ({"sigma": None, "SNR": 20, "SNR_at": {"TE": 1, "TR": 0.5}}, r"SNR_at: TE 1000 ms"),
        ({"sigma": None, "SNR": 20, "SNR_at": {"TE": 2, "TR": 5}}, r"SNR_at: .* no signal there"),
        ({"sigma": None, "SNR": -3, "TE": 0.1, "TR": 1}, r"SNR: -3"),
        ({"noise_method": "air"}, r"noise_method: 'air'; expected rayleigh, sd"),
        ({"maximise": "beauty"}, r"maximise: 'beauty'; expected CNR, dCNR, dS, SNR"),
        ({"fixed": "cost"}, r"fixed: 'cost'; expected averages, time"),
        ({"within": 95}, r"within: 95.*95 % is 0.95"),
        ({"r1": -1}, r"r1: -1; expected 0 or more"),
        ({"r1": "4.5"}, r"r1: '4.5'"),
        ({"r1": math.nan}, r"r1: nan"),
        ({"r1": rx.Estimate(np.ones(2), np.ones(2))}, r"r1: a map; expected one number"),
        ({"r1": 30.0}, r"r2: r2 of 12 with r1 of 30; expected at least r1/2.*swapped"),
        ({"r2star": 5.0}, r"r2star: 5; expected r2 \(12\) or more"),
        ({"r1": None, "r2": None}, r"r1, r2: no relaxivity"),
        ({"field_T": -3}, r"field_T: -3"),
        ({"reference": TUMOUR}, r"maximise: CNR after .*: 0 at all settings"),
        ({"TE": np.linspace(0.01, 0.1, 600)}, r"600 settings with 1 concentrations"),
    ],
)
def test_bad_input_is_refused(given, told):
    with pytest.raises(rx.InputError, match=told):
        planned(**given)


def test_more_that_is_refused():
    plan = planned(TE=0.01, TR=0.5)
    with pytest.raises(rx.InputError, match=r"least: -1"):
        plan.limits(-1)
    with pytest.raises(rx.InputError, match=r"kind: 'pie'; expected contrast or concentration"):
        plan.plot("pie")
    with pytest.raises(rx.InputError, match=r"too many settings"):
        planned(TE=np.linspace(0.01, 0.1, 1500), TR=np.linspace(1, 2, 1500))
    with pytest.raises(rx.InputError, match=r"r1, r2: 0; expected a relaxivity above 0"):
        planned(r1=0.0, r2=0.0, TE=0.01, TR=0.5).limits()


# Words, files, the command


def test_repr_and_report_say_what_a_person_asks_first():
    plan = planned(r1=rx.Estimate(4.5, 0.2, "r1"), fixed="time", field_T=3.0)
    assert repr(plan).startswith("Contrast plan: SE, CNR at fixed time. Best: TE 5 ms")
    assert "TE at the least allowed (5 ms)" in repr(plan.best)
    told = plan.report()
    for part in (
        "Spin echo with the agent, 3 T",
        "r1 = 4.50 ± 0.20",
        "Target (tumour): T1 1300 ms, T2 80 ms",
        "per √s of TR",
        "S = S0·(1 − exp(−TR/T1))·exp(−TE/T2)",
        "CNR = |S_target − S_reference|/σ",
        "delta method",
    ):
        assert part in told, part


def test_a_tissue_is_kept_in_seconds():
    liver = rx.Tissue(T1="800 ms", T2="60 ms", uptake_mM=[0.1, 0.2])
    assert (liver.T1, liver.T2) == (0.8, 0.06)
    assert repr(liver) == "Tissue: T1 800 ms, T2 60 ms, S0 1, takes up 0.1 to 0.2 mM"
    assert planned(reference=LIVER, target=liver).optima[1].uptake_mM == (0.2, 0.05)


PLAN = """
[agent]
r1 = 4.5
r1_stderr = 0.2
r2 = 12.0
field_T = 3.0

[image]
sequence = "SE"
TE = "10 ms"

[bounds]
TR = ["0.2 s", 4]

[noise]
SNR = 20
TE = "40 ms"
TR = 2

[target]
name = "tumour = <b>"
T1 = "1300 ms"
T2 = "80 ms"
uptake_mM = [0.1, 0.2]

[reference]
T1 = 0.8
T2 = 0.06

[plan]
maximise = "dCNR"
within = 0.9
"""


@pytest.fixture
def plan_file(tmp_path):
    file = tmp_path / "PLAN.toml"
    file.write_text(PLAN, encoding="utf-8")
    return file


def test_the_command_writes_a_plan(plan_file, tmp_path, capsys):
    folder = tmp_path / "out"
    assert run(["plan", str(plan_file), "-o", str(folder)]) == 0
    told = capsys.readouterr().out
    assert "Contrast plan: SE, dCNR" in told
    names = {one.name for one in folder.iterdir()}
    figures = {f"{kind}.{end}" for kind in ("contrast", "concentration") for end in
               ("svg", "pdf", "png")}  # fmt: skip
    assert names == {"plan.csv", "limits.csv", "plan.json", "plan.txt", *figures}
    record = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    table = pd.read_csv(folder / "plan.csv")
    plan = rx.plan_contrast(
        r1=rx.Estimate(4.5, 0.2, "r1"),
        r2=12.0,
        field_T=3.0,
        TE=0.01,
        bounds={"TR": (0.2, 4.0)},
        SNR=20,
        SNR_at={"TE": 0.04, "TR": 2.0},
        target={"T1": 1.3, "T2": 0.08, "uptake_mM": [0.1, 0.2]},
        reference={"T1": 0.8, "T2": 0.06},
        maximise="dCNR",
        within=0.9,
    )
    np.testing.assert_allclose(table["CNR_usual_post"], plan.table["CNR_usual_post"])
    assert [one["TR_s"] for one in record["best"]] == [one.TR for one in plan.optima]
    assert record["agent"]["r2_stderr_per_mM_per_s"] is None
    assert run(["plan", str(plan_file), "-o", str(folder)]) == 3
    assert "is there already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("[plan]", "[plans]", "plans: unknown key"),
        ("within", "wihtin", r"\[plan\] wihtin: unknown key"),
        ("T2 = 0.06", "", "reference T2: missing"),
        ("[agent]", "[agent", "cannot be read"),
        ("r1 = 4.5", "", r"\[agent\] r1_stderr: without its value"),
        ('TR = ["0.2 s", 4]', "TR = 4", r"\[bounds\] TR: 4; expected a list"),
        ("uptake_mM = [0.1, 0.2]", 'uptake_mM = ["a"]', "target uptake_mM"),
    ],
)
def test_a_plan_file_that_is_wrong(plan_file, tmp_path, capsys, old, new, told):
    assert old in PLAN
    plan_file.write_text(PLAN.replace(old, new, 1), encoding="utf-8")
    assert run(["plan", str(plan_file), "-o", str(tmp_path / "out")]) == 3
    error = capsys.readouterr().err
    assert "PLAN.toml" in error
    assert re.search(told, error), error
    assert not (tmp_path / "out").exists()


def test_a_plan_file_that_is_not_there(tmp_path, capsys):
    assert run(["plan", str(tmp_path / "none.toml"), "-o", str(tmp_path / "out")]) == 3
    assert "no such file" in capsys.readouterr().err


DOCUMENT = Path(__file__).parent.parent / "docs" / "planning.md"


def test_the_documented_examples_say_what_they_say(tmp_path):
    text = DOCUMENT.read_text(encoding="utf-8").replace("```", "")
    test = doctest.DocTestParser().get_doctest(text, {}, "planning.md", None, 0)
    said: list[str] = []
    failed = doctest.DocTestRunner(verbose=False).run(test, out=said.append).failed
    assert len(test.examples) > 5
    assert failed == 0, "".join(said)
    # The plan file beside it is the same plan.
    file = tmp_path / "PLAN.toml"
    file.write_text(re.search(r"```toml\n(.*?)```", DOCUMENT.read_text("utf-8"), re.S)[1], "utf-8")
    assert repr(read_plan(file).best) in text
