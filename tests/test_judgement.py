"""The judgement of tubes: each flag on a tube that deserves it, and not on its clean twin."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter

import relaxometry as rx
from relaxometry.cli import run
from relaxometry.cramer_rao import WORSE, relative_bound, told
from relaxometry.flags import FLAGS, flags_of
from relaxometry.judgement import RULES, limits
from relaxometry.models import as_model
from relaxometry.simulate import series_from_maps

DOCUMENT = Path(__file__).parent.parent / "docs" / "judgement.md"
ECHOES = rx.Protocol(TE=np.arange(1, 17) * 0.010)
DELAYS = rx.Protocol(TI=(0.05, 0.1, 0.2, 0.4, 0.7, 1.1, 1.7, 2.5, 3.5, 5.0), TR=8.0)
RISES = rx.Protocol(TR=(0.2, 0.4, 0.7, 1.2, 2.0, 3.2, 5.0, 8.0))
ANGLES = rx.Protocol(FA=[2, 5, 10, 15, 20, 30], TR=0.015)
#: Protocol, range of T that the times tell well, amplitudes.
OF_EACH = {
    "t2": (ECHOES, (0.04, 0.3), [1000.0]),
    "t2_offset": (ECHOES, (0.03, 0.08), [1000.0, 100.0]),
    "t2star": (ECHOES, (0.04, 0.3), [1000.0]),
    "t1_ir": (DELAYS, (0.3, 2.0), [1000.0, 1960.0]),
    "t1_sr": (RISES, (0.3, 2.5), [1000.0]),
    "t1_sr_offset": (RISES, (0.5, 2.0), [1000.0, -900.0]),
    "t1_vfa": (ANGLES, (0.1, 1.5), [1000.0]),
}


def disc(voxels: int) -> np.ndarray:
    """The voxels nearest to a centre, with air around them."""
    w = int(np.sqrt(voxels / np.pi)) + 2
    x = np.arange(-w, w + 1)
    far = np.hypot(x[:, None], x)
    inside = np.zeros(far.shape, dtype=bool)
    inside.flat[np.argsort(far, axis=None, kind="stable")[:voxels]] = True
    return inside


def tubes_of(name, snr, voxels, count, seed, T=None, signed=False, change=None):
    """The tube table of simulated tubes in a row; SNR is that of the brightest point.

    `change(T, amplitudes, at, i)` may spoil tube i, whose voxels lie at `at`.
    """
    protocol, (low, high), amplitudes = OF_EACH[name]
    model, inside = as_model(name), disc(voxels)
    w = len(inside)
    rng = np.random.default_rng(seed)
    each = np.exp(rng.uniform(np.log(low), np.log(high), count)) if T is None else [T] * count
    values = np.ones((w * count, w, 1))
    parts = np.zeros((w * count, w, 1, len(amplitudes)))
    labels = np.zeros(values.shape, dtype=int)
    for i, value in enumerate(each):
        at = np.argwhere(inside) + np.array([i * w, 0])
        where = (at[:, 0], at[:, 1], 0)
        values[where], parts[where], labels[where] = value, amplitudes, i + 1
        if change is not None:
            change(values, parts, at, i)
    clean = model.signal(protocol, np.array(each), np.tile(amplitudes, (count, 1)))
    sigma = float(np.abs(clean).max(axis=1).mean()) / snr
    series = series_from_maps(model, protocol, values, parts, sigma, seed, signed=signed)
    return table_of(series, labels, model).assign(truth=each)


def table_of(series, labels, model="t2"):
    maps = rx.fit_maps(series, model, labels > 0, clip=None)
    return rx.tube_table(rx.tubes_from_labels(labels, series.affine), maps)


def share(table, code):
    """Of the tubes that have a flag."""
    return np.mean([code in flags.split() for flags in table["flags"]])


def decays(signals, snr=100.0, voxels=40, seed=0, protocol=None):
    """A table of tubes whose noise-free signals (tubes, 16) are given, with Rician noise."""
    rng = np.random.default_rng(seed)
    signals = np.repeat(np.asarray(signals, dtype=float), voxels, axis=0)
    sigma = signals.max() / snr
    noisy = np.hypot(
        signals + rng.normal(0, sigma, signals.shape), rng.normal(0, sigma, signals.shape)
    )
    labels = np.repeat(np.arange(len(signals) // voxels) + 1, voxels)[:, None, None]
    return table_of(rx.Series(noisy[:, None, None], protocol or ECHOES), labels)


# --- what can be wrong with a tube ---------------------------------------------------------------


def hole(part):
    """Air in a round part of the voxels, about one of them."""

    def change(T, amplitudes, at, i):
        centre = at[np.random.default_rng(i).integers(len(at))]
        gone = at[np.argsort(((at - centre) ** 2).sum(axis=1), kind="stable")]
        gone = gone[: round(part * len(at))]
        amplitudes[gone[:, 0], gone[:, 1], 0] = 0

    return change


def beside(part):
    """Part of the region lies beside the tube."""

    def change(T, amplitudes, at, i):
        out = at[np.argsort(at[:, 0], kind="stable")][: round(part * len(at))]
        amplitudes[out[:, 0], out[:, 1], 0] = 0

    return change


def rising(part):
    """T rises across the tube."""

    def change(T, amplitudes, at, i):
        x = at[:, 0] - at[:, 0].min()
        T[at[:, 0], at[:, 1], 0] *= 1 + part * (x / x.max() - 0.5)

    return change


def clumps(sd):
    """T varies from voxel to voxel."""

    def change(T, amplitudes, at, i):
        rng = np.random.default_rng(i)
        T[at[:, 0], at[:, 1], 0] *= np.exp(rng.normal(0, sd, len(at)))

    return change


def shaded(part):
    """What a receive coil does: the signal rises across the tube, and T does not."""

    def change(T, amplitudes, at, i):
        x = at[:, 0] - at[:, 0].min()
        amplitudes[at[:, 0], at[:, 1], 0] *= (1 + part * (x / x.max() - 0.5))[:, None]

    return change


class TestDeclared:
    def test_every_flag_has_its_rule_and_its_row_in_the_document(self):
        assert set(FLAGS) == set(RULES)
        rows = dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", DOCUMENT.read_text("utf-8"), re.M))
        assert rows == {
            code: "excludes" if flag.excludes else "warns" for code, flag in FLAGS.items()
        }

    def test_sentences_are_of_one_line_and_fit_into_lists(self):
        for flag in FLAGS.values():
            assert not set(";\n") & set(flag.sentence)
            assert len(flag.sentence) <= 130

    def test_codes_are_read_from_cells_of_tables_and_files(self):
        found = flags_of("T2", "T2_short; T1_long; T2: not measured; T2_zigzag;T2_short, T2_odd")
        assert [flag.code for flag in found] == ["short", "zigzag"]
        assert flags_of("T1", "T1star_short") == flags_of("T2", "") == ()
        assert [flag.code for flag in flags_of("T2", ["T2_uneven"])] == ["uneven"]


class TestBound:
    """What the times can tell."""

    @pytest.mark.parametrize("T", [0.01, 0.05, 0.3])
    def test_two_echoes_by_hand(self, T):
        """log S has SD σ/S, and T = ΔTE/(log S1 − log S2): σ_T/T = T/ΔTE·√(Σ (σ/S)²)."""
        TE = np.array([0.01, 0.03])
        S = 40 * np.exp(-TE / T)
        by_hand = T / 0.02 * np.sqrt((1 / S**2).sum())
        bound = relative_bound(as_model("t2"), rx.Protocol(TE=TE), np.array([T]), np.array([40.0]))
        assert bound[0] == pytest.approx(by_hand, rel=1e-7)

    @pytest.mark.parametrize("name", list(OF_EACH))
    def test_it_is_the_standard_error_of_a_fit(self, name):
        protocol, (low, high), amplitudes = OF_EACH[name]
        model, T = as_model(name), np.sqrt(low * high)
        S = model.signal(protocol, np.array([T]), np.array([amplitudes]))[0]
        S += np.random.default_rng(1).normal(0, 1, S.shape)
        fit = rx.fit_curve(protocol, S, model, polarity="signed")
        free = fit.points - len(fit.parameters)
        sigma = np.sqrt(fit.rss / free)
        at = np.array([fit[model.time].value])
        bound = relative_bound(model, protocol, at, fit.amplitudes / sigma)
        assert bound[0] == pytest.approx(fit[model.time].stderr / at[0], rel=1e-6)

    @pytest.mark.parametrize("name", list(OF_EACH))
    def test_the_limits_are_where_the_error_is_twenty_times_the_least(self, name):
        protocol, _, amplitudes = OF_EACH[name]
        model, a = as_model(name), np.array(amplitudes)
        low, high = told(model, protocol, a)
        least = relative_bound(model, protocol, np.geomspace(low, high, 4000), a).min()
        inside = relative_bound(model, protocol, np.array([low, high]), a) / least
        outside = relative_bound(model, protocol, np.array([low / 1.02, high * 1.02]), a) / least
        assert inside == pytest.approx([WORSE, WORSE], rel=0.01)
        assert (outside > WORSE).all()
        scaled = told(model, protocol, 7 * a)
        assert scaled == pytest.approx((low, high))

    def test_beside_the_rule_of_thumb(self):
        assert limits(as_model("t2"), ECHOES, np.ones(1)) == pytest.approx((0.005, 0.48), rel=0.05)
        few = rx.Protocol(TE=0.00964 * np.arange(1, 9))
        assert limits(as_model("t2"), few, np.ones(1))[0] == 0.00964 / 2
        low, high = limits(as_model("t1_ir"), rx.Protocol(TI=[0.05, 0.2, 0.8], TR=1.0), [1, 2])
        assert 0.4 * 0.05 < low < 0.2
        assert high <= 2.4

    def test_a_model_of_ones_own(self):
        class Mine(rx.SignalModel):
            name, reads, time, amplitudes = "mine", ("TE",), "T2", ("S0",)
            equation = source = "of a test"

            def basis(self, protocol, T):
                return np.exp(-((protocol.TE / T[:, None]) ** 1.5))[..., None]

        low, high = told(Mine(), ECHOES, np.ones(1))
        assert 0.003 < low < 0.01
        assert high > 0.3

    def test_what_no_time_tells(self):
        """Two angles that are one: nothing depends on T1."""
        nothing = relative_bound(
            as_model("t1_sr"), rx.Protocol(TR=[5.0, 5.0]), np.array([0.1, 1.0]), np.ones(1)
        )
        assert (nothing > 1e6).all()


class TestEach:
    """A tube that deserves it, and its clean twin."""

    @pytest.mark.parametrize(
        ("name", "T", "code"),
        [
            ("t2", 0.0044, "T2_short"),
            ("t2", 0.55, "T2_long"),
            ("t1_ir", 0.012, "T1_short"),
            ("t1_ir", 14.0, "T1_long"),
            ("t1_sr", 0.03, "T1_short"),
            ("t1_sr", 22.0, "T1_long"),
            ("t1_vfa", 0.0035, "T1_short"),
            ("t1_vfa", 50.0, "T1_long"),
        ],
    )
    def test_beyond_what_the_times_tell(self, name, T, code):
        beyond = tubes_of(name, 2e4, 300, 4, 1, T=T, signed=True)
        assert share(beyond, code) == 1
        assert FLAGS[code[3:]].excludes
        middle = np.sqrt(np.prod(OF_EACH[name][1]))
        assert list(tubes_of(name, 2e4, 300, 4, 1, T=middle, signed=True)["flags"]) == [""] * 4

    def test_imprecise(self):
        assert share(tubes_of("t2", 1, 20, 10, 2, T=0.3, signed=True), "T2_imprecise") >= 0.5
        assert share(tubes_of("t2", 100, 20, 10, 2, T=0.3, signed=True), "T2_imprecise") == 0

    @pytest.mark.parametrize(("name", "T"), [("t2", 0.010), ("t2star", 0.012)])
    def test_noise_floor(self, name, T):
        time = as_model(name).time
        assert share(tubes_of(name, 30, 60, 8, 3, T=T), f"{time}_noise_floor") == 1
        signed = tubes_of(name, 30, 60, 8, 3, T=T, signed=True)
        assert share(signed, f"{time}_noise_floor") == 0
        assert share(tubes_of(name, 30, 60, 8, 3, T=0.1), f"{time}_noise_floor") == 0

    @pytest.mark.parametrize("T2", [0.03, 0.08, 0.3])
    def test_a_low_first_echo(self, T2):
        clean = np.exp(-ECHOES.TE / T2)
        low = clean * np.where(np.arange(16) == 0, 0.92, 1)
        table = decays([clean, low] * 5)
        assert [f.split() for f in table["flags"]] == [[], ["T2_first_echo"]] * 5
        # Of a first echo that is too high, stimulated echoes are not the cause.
        high = clean * np.where(np.arange(16) == 0, 1.08, 1)
        assert share(decays([high] * 5), "T2_first_echo") == 0

    def test_odd_and_even_echoes(self):
        clean = np.exp(-ECHOES.TE / 0.08)
        table = decays([clean, clean * (1 + 0.03 * (-1.0) ** np.arange(16))] * 5)
        assert [f.split() for f in table["flags"]] == [[], ["T2_zigzag"]] * 5

    @pytest.mark.parametrize("left_out", [(4,), (2, 5), (7,)])
    def test_odd_and_even_where_echoes_are_left_out(self, left_out):
        clean = np.exp(-ECHOES.TE / 0.08)
        odd = clean * (1 + 0.03 * (-1.0) ** np.arange(16))
        kept = [i for i in range(16) if i + 1 not in left_out]
        table = decays([clean[kept], odd[kept]] * 3, protocol=ECHOES.take(kept))
        assert [f.split() for f in table["flags"]] == [[], ["T2_zigzag"]] * 3

    def test_single_echoes_have_no_odd_and_even(self):
        TE = 0.01 * np.array([1, 2, 3, 5, 8, 12, 20, 32])
        odd = np.exp(-TE / 0.08) * (1 + 0.03 * (-1.0) ** np.arange(8))
        table = decays([odd] * 3, protocol=rx.Protocol(TE=TE, TR=3.0))
        assert share(table, "T2_zigzag") == share(table, "T2_first_echo") == 0

    @pytest.mark.parametrize("empty", [0.06, 0.08])
    def test_a_small_bubble_excludes_nothing(self, empty):
        table = tubes_of("t2", 50, 100, 20, 6, T=0.08, change=hole(empty))
        assert set(table["flags"]) == {"T2_bubble"}

    def test_what_is_tiny_is_no_matter_however_sure(self):
        """0.5 % of the first echo, ±0.3 % from echo to echo, at an SNR of 5000."""
        clean = np.exp(-ECHOES.TE / 0.08)
        low = clean * np.where(np.arange(16) == 0, 0.995, 1)
        odd = clean * (1 + 0.003 * (-1.0) ** np.arange(16))
        assert list(decays([low, odd], snr=5000)["flags"]) == ["", ""]

    def test_echoes_are_no_matter_of_gradient_echoes(self):
        clean = np.exp(-ECHOES.TE / 0.08) * np.where(np.arange(16) == 0, 0.9, 1)
        labels = np.ones((40, 1, 1), dtype=int)
        noisy = np.tile(clean, (40, 1, 1, 1)) + np.random.default_rng(0).normal(
            0, 0.01, (40, 1, 1, 16)
        )
        table = table_of(rx.Series(np.abs(noisy), ECHOES), labels, "t2star")
        assert "first_echo" not in table["flags"][0]

    def test_few_voxels(self):
        assert share(tubes_of("t2", 100, 9, 3, 4), "T2_few_voxels") == 1
        assert share(tubes_of("t2", 100, 10, 3, 4), "T2_few_voxels") == 0

    @pytest.mark.parametrize(("name", "T"), [("t2", 0.08), ("t1_ir", 0.8)])
    @pytest.mark.parametrize(
        ("change", "code"),
        [
            (hole(0.15), "bubble"),
            (hole(0.15), "uneven"),
            (beside(0.3), "uneven"),
            (rising(0.25), "gradient"),
            (clumps(0.1), "inhomogeneous"),
        ],
    )
    def test_voxels_that_differ(self, name, T, change, code):
        """At SNR 30, of tubes of 60 voxels: 95 % and more are seen."""
        code = f"{as_model(name).time}_{code}"
        assert share(tubes_of(name, 30, 60, 40, 5, T=T, change=change), code) >= 0.95
        assert list(tubes_of(name, 30, 60, 20, 5, T=T)["flags"]) == [""] * 20

    @pytest.mark.parametrize("snr", [10, 30])
    @pytest.mark.parametrize("voxels", [20, 300])
    def test_a_bubble_of_15_percent_is_seen(self, snr, voxels):
        assert (
            share(tubes_of("t2", snr, voxels, 20, 6, T=0.08, change=hole(0.15)), "T2_bubble")
            >= 0.95
        )

    def test_each_flag_says_one_thing(self):
        """A gradient is no inhomogeneity, clumps are no gradient, a coil's shade is neither."""
        assert set(tubes_of("t2", 50, 100, 10, 7, T=0.08, change=rising(0.3))["flags"]) == {
            "T2_gradient"
        }
        assert set(tubes_of("t2", 50, 100, 10, 7, T=0.08, change=clumps(0.15))["flags"]) == {
            "T2_inhomogeneous"
        }
        assert set(tubes_of("t2", 50, 100, 10, 7, T=0.08, change=shaded(0.5))["flags"]) == {""}

    def test_two_media_in_one_region(self):
        """A tube of 50 ms half hit, in water of 250 ms that is as bright."""

        def water(T, amplitudes, at, i):
            out = at[at[:, 0] < np.median(at[:, 0])]
            T[out[:, 0], out[:, 1], 0] = 0.25

        table = tubes_of("t2", 50, 60, 5, 8, T=0.05, change=water)
        flags = [set(f.split()) for f in table["flags"]]
        assert all(one & {"T2_inhomogeneous", "T2_gradient"} for one in flags)


class TestFalseAlarms:
    def test_tubes_of_noise_alone(self):
        """1260 tubes over all models: no flag, but where late points do lie on the noise floor."""
        codes, off, tubes = Counter(), [], 0
        for k, name in enumerate(OF_EACH):
            for snr in (20, 100, 500):
                for voxels in (20, 150):
                    table = tubes_of(name, snr, voxels, 30, 100 * k + snr + voxels)
                    tubes += len(table)
                    codes.update(flag[3:] for flag in " ".join(table["flags"]).split())
                    flagged = table[table["flags"] != ""]
                    time = as_model(name).time
                    off += list(flagged[f"{time}_s"] / flagged["truth"] - 1)
        assert tubes == 1260
        assert {code.removeprefix("tar_") for code in codes} <= {"noise_floor"}
        # And there it is deserved: these T are wrong by several per cent, nearly all too long.
        assert len(off) < 0.04 * tubes
        assert np.median(off) > 0.02

    def test_large_tubes(self):
        table = tubes_of("t2", 50, 500, 20, 9)
        assert list(table["flags"]) == [""] * 20

    def test_neighbours_that_share_their_noise(self):
        """Interpolated images: 60 voxels are worth fewer."""
        rng, flags = np.random.default_rng(10), []
        inside = disc(60)
        for T2 in rng.uniform(0.06, 0.2, 60):
            shape = (2, len(inside) + 8, len(inside) + 8, 16)
            noise = np.stack(
                [gaussian_filter(one, (0.8, 0.8, 0)) for one in rng.normal(size=shape)]
            )
            noise = noise[:, 4:-4, 4:-4] / noise.std() / 30
            signal = np.hypot(np.exp(-ECHOES.TE / T2) + noise[0], noise[1])
            table = table_of(rx.Series(signal[:, :, None], ECHOES), inside[..., None].astype(int))
            flags += table["flags"][0].split()
        assert len(flags) <= 1

    def test_without_noise(self):
        table = tubes_of("t2", 1e9, 40, 5, 11, signed=True)
        assert list(table["flags"]) == [""] * 5


def sheet(flags=None, **columns):
    """Two agents at four concentrations and a blank, r1 = 4 and r2 = 24."""
    c = np.array([0.1, 0.2, 0.3, 0.4] * 2 + [0.0])
    return pd.DataFrame(
        {
            "tube": np.arange(1, 10),
            "agent": ["A"] * 4 + ["B"] * 4 + ["blank"],
            "concentration_mM": c,
            "R1_per_s": 0.4 + 4 * c,
            "R2_per_s": 9 + 24 * c,
            "flags": [(flags or {}).get(tube, "") for tube in range(1, 10)],
            **columns,
        }
    )


class TestLeftOut:
    """Excluding flags and the lines."""

    def test_a_tube_leaves_the_line_of_that_quantity_alone(self):
        table = sheet({4: "T2_short T2_zigzag", 2: "T1_long T2_bubble"})
        table.loc[3, "R2_per_s"] = 500.0
        table.loc[1, "R1_per_s"] = 0.01
        result = rx.relaxivity(table)
        r1, r2 = result["A"]["r1"], result["A"]["r2"]
        assert (r1.n, r2.n) == (4, 4)
        assert r1.concentration.tolist() == [0.1, 0.3, 0.4, 0.0]
        assert r2.concentration.tolist() == [0.1, 0.2, 0.3, 0.0]
        assert (r1.r.value, r2.r.value) == pytest.approx((4, 24))
        assert result["r2_r1"][0] == pytest.approx(6)
        assert (result["B"]["r1"].n, result["B"]["r2"].n) == (5, 5)
        assert result.warnings == (
            f"A: tube 2 left out of r1: T1 {FLAGS['long'].sentence}",
            f"A: tube 4 left out of r2: T2 {FLAGS['short'].sentence}",
        )
        assert "r2: without tube 4 (T2_short)" in result["flags"][0]
        assert [(one.tube, one.symbol, one.codes) for one in result.left_out] == [
            (2, "r1", ("T1_long",)),
            (4, "r2", ("T2_short",)),
        ]

    def test_keeping_them_is_said(self):
        kept = rx.relaxivity(sheet({4: "T2_short"}), keep_flagged=True)
        assert kept["A"]["r2"].n == 5
        assert kept.left_out == ()
        (told_of,) = kept.warnings
        assert told_of == f"A: tube 4 kept in r2 although T2 {FLAGS['short'].sentence}"

    def test_warnings_leave_nothing_out(self):
        mild = " ".join(f"T2_{code}" for code, flag in FLAGS.items() if not flag.excludes)
        assert rx.relaxivity(sheet({4: mild}))["A"]["r2"].n == 5

    def test_a_blank_is_left_out_of_every_line(self):
        result = rx.relaxivity(sheet({9: "T1_uneven"}))
        assert [result[agent]["r1"].n for agent in "AB"] == [4, 4]
        assert [result[agent]["r2"].n for agent in "AB"] == [5, 5]
        assert len(result.warnings) == 2

    def test_what_is_kept_all_the_same_is_said_with_the_line(self):
        table = rx.relaxivity(sheet({4: "T2_short T2_zigzag"}), keep_flagged=True).table
        assert "r2: with tube 4 (T2_short)" in table.loc[table["agent"] == "A", "flags"].item()

    def test_an_agent_that_loses_all_its_points_says_why(self):
        table = sheet(dict.fromkeys((1, 2, 3, 4), "T2_short"))
        result = rx.relaxivity(table)
        assert np.isnan(result["A"]["r2"].r.value)
        assert "not determined: rates known at 1 concentration" in result["flags"][0]
        assert "without tube 1 (T2_short)" in result["flags"][0]
        assert result["class"][0] == "not determined"
        assert result["B"]["r2"].r.value == pytest.approx(24)
        everything = rx.relaxivity(sheet(dict.fromkeys(range(1, 10), "T1_short T2_short")))
        assert everything.table["r2_per_mM_per_s"].isna().all()

    def test_what_is_not_determined_is_not_kept(self):
        table = sheet({4: "T2_at_bound"})
        table.loc[3, "R2_per_s"] = np.nan
        for keep in (False, True):
            result = rx.relaxivity(table, keep_flagged=keep)
            assert result["A"]["r2"].n == 4
            assert "T2 ended at the bound" in result.warnings[0]

    def test_the_sheet_comes_first(self):
        table = sheet({4: "T2_short"}, exclude=[False] * 3 + [True] + [False] * 5, reason="broken")
        for keep in (False, True):
            result = rx.relaxivity(table, keep_flagged=keep)
            assert result.warnings == ("tube 4 left out as the sheet says: broken",)
            assert [one.symbol for one in result.left_out if one.by_sheet] == ["r1", "r2"]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return rx.write_study(tmp_path_factory.mktemp("judged") / "study", protocol="small")


@pytest.fixture(scope="module")
def folder(study):
    rx.report(rx.analyse(study, progress=False), study.parent / "report")
    return study.parent / "report"


class TestStudy:
    """All of it, from scans to the report: the sample's tube 11 is too dark for its echoes."""

    def test_results_tell_it(self, folder):
        found = json.loads((folder / "results.json").read_text("utf-8"))
        tube = found["tubes"][10]
        assert tube["left_out_of"] == ["r2"]
        assert any(FLAGS[code[3:]].excludes for code in tube["flags"])
        assert [one["tube"] for one in found["tubes"] if one["left_out_of"]] == [11]
        row = next(row for row in found["relaxivity"] if row["agent"] == "C3")
        assert (row["r1_n_points"], row["r2_n_points"]) == (6, 5)
        assert any("without tube 11" in flag for flag in row["flags"])
        assert any("C3: tube 11 left out of r2: T2 " in one for one in found["warnings"])

    def test_the_page_tells_it(self, folder):
        page = (folder / "index.html").read_text("utf-8")
        assert "left out of r2" in page
        assert 'class="gone"' in page
        assert "Hollow points" in page

    def test_the_table_of_a_report_gives_the_same_lines(self, folder, tmp_path):
        assert run(["relaxivity", str(folder / "tubes.csv"), "-o", str(tmp_path / "out")]) == 0
        first, second = (
            pd.read_csv(one / "relaxivity.csv").drop(columns="flags")
            for one in (folder, tmp_path / "out")
        )
        pd.testing.assert_frame_equal(first, second)

    def test_kept_when_asked(self, study, folder, tmp_path):
        out = tmp_path / "out"
        arguments = ["relaxivity", str(folder / "tubes.csv"), "-o", str(out), "--keep-flagged"]
        assert run(arguments) == 0
        table = pd.read_csv(out / "relaxivity.csv").set_index("agent")
        assert table.loc["C3", "r2_n_points"] == 6
        assert run(["report", str(study), "-o", str(tmp_path / "kept"), "--keep-flagged"]) == 0
        found = json.loads((tmp_path / "kept" / "results.json").read_text("utf-8"))
        assert found["tubes"][10]["left_out_of"] == []
        assert any("tube 11 kept in r2 although T2" in one for one in found["warnings"])

    def test_all_tubes_of_the_sheet_left_out(self, study, tmp_path):
        table = pd.read_csv(study.parent / "tubes.csv").assign(exclude="yes", reason="moved")
        other = rx.write_study(tmp_path / "study", protocol="small")
        table.to_csv(other.parent / "tubes.csv", index=False)
        result = rx.analyse(other, progress=False)
        assert "tube 3 left out as the sheet says: moved" in result.warnings
        assert "no r1 or r2: every tube with an agent is left out" in result.warnings


@pytest.mark.real_data
class TestSystemPhantom:
    def flags(self, real_data, plate, drop=()):
        folder = real_data / "system_phantom" / plate
        known = json.loads((real_data / "system_phantom" / "expected.json").read_text())[plate]
        series = rx.read(folder)
        dx, dy = np.linalg.norm(series.affine[:3, :2], axis=0)
        circles = [[c * dx, r * dy, 2.5 * dx] for r, c in known["sphere_centres_row_col"]]
        tubes = rx.tubes_from_circles(series, circles)
        maps = rx.fit_maps(series, mask=tubes.mask, drop_echoes=drop, drop_reason="a test")
        table = rx.tube_table(tubes, maps)
        return [{flag[3:] for flag in flags.split()} for flags in table["flags"]]

    @pytest.mark.parametrize(
        "plate", ["siemens_aera_1p5T/T2_plate4", "philips_1p5T/T2_plate4", "ge_1p5T/T2_plate5"]
    )
    def test_the_first_echo_of_a_train(self, real_data, plate):
        assert sum("first_echo" in one for one in self.flags(real_data, plate)) >= 10
        assert not any("first_echo" in one for one in self.flags(real_data, plate, drop=[1]))

    def test_odd_and_even_echoes_of_manganese(self, real_data):
        found = self.flags(real_data, "siemens_aera_1p5T/T2_plate4", drop=[1])
        assert sum("zigzag" in one for one in found[5:11]) >= 4
        assert not any("zigzag" in one for one in found[:5])

    def test_the_last_spheres_lie_on_the_floor(self, real_data):
        found = self.flags(real_data, "siemens_aera_1p5T/T2_plate4", drop=[1])
        assert all("noise_floor" in one for one in found[-3:])
        assert "short" in found[-1]

    def test_long_times(self, real_data):
        found = self.flags(real_data, "ge_1p5T/T2_plate4")
        assert [n for n, one in enumerate(found, start=1) if "long" in one] == [1, 2, 3, 4, 5]
        T1 = self.flags(real_data, "ge_1p5T/T1_plate4")
        assert [n for n, one in enumerate(T1, start=1) if "long" in one] == [1]

    @pytest.mark.parametrize("scanner", ["siemens_aera_1p5T", "ge_1p5T", "philips_1p5T"])
    def test_nickel_is_as_good_as_it_is(self, real_data, scanner):
        found = self.flags(real_data, f"{scanner}/T1_plate5")
        assert not any(FLAGS[code].excludes for one in found for code in one)
