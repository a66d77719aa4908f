"""How often the statistics of replicates and comparisons keep their word, over simulated studies.

    python benchmarks/replicates_and_tests.py [--studies 2000]

Prints Markdown tables: coverage of the mixed interval beside that of the line through all points;
type I errors of each test and, over all pairs, of Holm's correction; and the clusters C1 … C7 of
the T2-relaxivity study (Zhou et al., Nat Commun 2017) from simulated replicates.
"""

from __future__ import annotations

import argparse
from collections import Counter
from itertools import combinations

import numpy as np
import pandas as pd

import relaxometry as rx
from relaxometry.comparison import compare, compare_all
from relaxometry.multiplicity import holm
from relaxometry.replicates import batches

C_mM = np.array([0.4, 0.2, 0.1, 0.05, 0.025])
R0_per_s = 10.0
# r2 at 7 T in mM⁻¹ s⁻¹, mean and SD of three batches, as published.
CLUSTERS = {
    "C1": (231.6, 9.3),
    "C2": (358.3, 14.2),
    "C3": (533.4, 13.2),
    "C4": (515.3, 18.9),
    "C5": (445.8, 24.6),
    "C6": (589.3, 26.8),
    "C7": (487.7, 21.5),
}


def line(rng, r, noise, *, k=1, between=0.0, blank=None, group="", sigma=None, stock=0.0, **kwargs):
    """A line of k batches whose slopes scatter by `between`; noise of a rate in s⁻¹."""
    c, batch = np.tile(C_mM, k), np.repeat(np.arange(1, k + 1), C_mM.size)
    slopes = r * (1 + stock * rng.standard_normal()) + between * rng.standard_normal(k)
    R = R0_per_s + np.repeat(slopes, C_mM.size) * c + noise * rng.standard_normal(c.size)
    tubes = [f"{group}{i}" for i in range(c.size)]
    if blank is not None:
        c, batch, R = np.append(c, 0.0), np.append(batch, 0), np.append(R, blank[1])
        tubes.append(blank[0])
    stderr = None if sigma is None else np.full(c.size, sigma)
    return rx.relaxivity_fit(
        c, R, stderr, symbol="r2", tubes=tubes, replicate=batch, stock_rsd=stock, **kwargs
    )


def blank_of(rng, name, noise=1.0):
    return name, R0_per_s + noise * rng.standard_normal()


def coverage(studies: int) -> None:
    print(f"\n{studies} studies of 3 batches, r2 = 300, 5 concentrations, rate noise 1 s⁻¹\n")
    print("| batches differ by SD | blank | mixed interval % | line through all points % ", end="")
    print("| root mean SD² | expected | Q test below 0.05, % |\n|---|---|---|---|---|---|---|")
    spread = ((C_mM - C_mM.mean()) ** 2).sum()
    for between, shared in ((0, 0), (5, 0), (15, 0), (50, 0), (0, 1), (5, 1), (15, 1)):
        rng = np.random.default_rng(1)
        mixed, pooled, SD2, uneven = [], [], [], []
        for _ in range(studies):
            blank = blank_of(rng, "blank") if shared else None
            fit = line(rng, 300.0, 1.0, k=3, between=between, blank=blank)
            found = batches(fit)
            mixed.append(found.ci95[0] < 300 < found.ci95[1])
            pooled.append(fit.ci95[0] < 300 < fit.ci95[1])
            SD2.append(found.sd**2)
            uneven.append(found.heterogeneity_p < 0.05)
        expected = "" if shared else f"{np.sqrt(between**2 + 1 / spread):.2f}"
        print(
            f"| {between} | {'shared' if shared else 'none'} | {100 * np.mean(mixed):.1f} "
            f"| {100 * np.mean(pooled):.1f} | {np.sqrt(np.mean(SD2)):.2f} | {expected} "
            f"| {100 * np.mean(uneven):.1f} |"
        )


def cases(rng):
    """What is compared, by name: lines of equal true relaxivity."""
    b = blank_of(rng, "blank")
    return {
        "two lines": [line(rng, 100, 1, group=g) for g in "ab"],
        "two lines, one blank": [line(rng, 100, 1, group=g, blank=b) for g in "ab"],
        "four lines at once": [line(rng, 100, 1, group=g) for g in "abcd"],
        "scatter 1 : 2": [line(rng, 100, s, group=g) for g, s in (("a", 1), ("b", 2))],
        "scatter 1 : 5": [line(rng, 100, s, group=g) for g, s in (("a", 1), ("b", 5))],
        "weighted, errors right": [line(rng, 100, 1, group=g, sigma=1.0) for g in "ab"],
        "weighted, errors 2.5 times too small": [
            line(rng, 100, 1, group=g, sigma=0.4) for g in "ab"
        ],
        "stocks of 5 %": [line(rng, 100, 0.3, group=g, stock=0.05) for g in "ab"],
        "robust lines": [line(rng, 100, 1, group=g, method="robust") for g in "ab"],
        "2 batches each": [line(rng, 300, 1, k=2, between=10, group=g) for g in "ab"],
        "3 batches each": [line(rng, 300, 1, k=3, between=10, group=g) for g in "ab"],
        "3 batches, SD 10 and 30": [
            line(rng, 300, 1, k=3, between=s, group=g) for g, s in (("a", 10), ("b", 30))
        ],
        "5 batches each": [line(rng, 300, 1, k=5, between=10, group=g) for g in "ab"],
        "3 batches against one": [
            line(rng, 300, 1, k=k, between=10, group=g) for g, k in (("a", 3), ("b", 1))
        ],
        "3 batches, four agents at once": [
            line(rng, 300, 1, k=3, between=10, group=g) for g in "abcd"
        ],
    }


def type_one(studies: int) -> None:
    rng = np.random.default_rng(2)
    wrong: Counter[str] = Counter()
    tests: dict[str, Counter[str]] = {}
    for _ in range(studies):
        for name, lines in cases(rng).items():
            found = compare_all(lines)
            wrong[name] += found.p < 0.05
            tests.setdefault(name, Counter())[found.test] += 1
    print(f"\nWrong at 5 %, of {studies} studies in which nothing differs\n")
    print("| compared | wrong % | test |\n|---|---|---|")
    for name, used in tests.items():
        told = ", ".join(f"{t} {100 * n / studies:.0f} %" for t, n in used.most_common())
        print(f"| {name} | {100 * wrong[name] / studies:.1f} | {told} |")


def family(studies: int) -> None:
    print(f"\nAny of 6 pairs of 4 equal agents wrong at 5 %, of {studies} studies\n")
    print("| lines | uncorrected % | Holm % |\n|---|---|---|")
    for name, settings in (
        ("one line each", {}),
        ("3 batches each", {"k": 3, "between": 10}),
        ("5 batches each", {"k": 5, "between": 10}),
    ):
        rng = np.random.default_rng(3)
        plain = corrected = 0
        for _ in range(studies):
            lines = [line(rng, 300, 1, group=g, **settings) for g in "abcd"]
            p = [compare(a, b).p for a, b in combinations(lines, 2)]
            plain += min(p) < 0.05
            corrected += min(holm(p)) < 0.05
        print(f"| {name} | {100 * plain / studies:.1f} | {100 * corrected / studies:.1f} |")


def clusters(rng, exact: bool) -> pd.DataFrame:
    """A tube table of three batches of C1 … C7, rates known to 1 %."""
    rows = []
    for agent, (mean, sd) in CLUSTERS.items():
        z = rng.standard_normal(3)
        if exact:  # batches of just this mean and SD
            z = (z - z.mean()) / z.std(ddof=1)
        for batch, slope in enumerate(mean + sd * z, start=1):
            R = (R0_per_s + slope * C_mM) * (1 + 0.01 * rng.standard_normal(C_mM.size))
            rows += [(agent, batch, c, rate, 0.01 * rate) for c, rate in zip(C_mM, R, strict=True)]
    table = pd.DataFrame(
        rows, columns=["agent", "replicate", "concentration_mM", "R2_per_s", "R2_stderr_per_s"]
    )
    return table.assign(tube=np.arange(1, len(table) + 1))


def published(seeds: int) -> None:
    print(f"\nC1 … C7 from three simulated batches each, {seeds} times, 21 pairs\n")
    print("| batches | mean off by, % | SD / published | C3 : C1 below 0.01, % ", end="")
    print("| C3 : C2 below 0.01, % | largest p of the two |\n|---|---|---|---|---|---|")
    for exact in (True, False):
        off, ratio, p1, p2 = [], [], [], []
        for seed in range(seeds):
            found = rx.relaxivity(clusters(np.random.default_rng(seed), exact))
            mean = found.replicate_summary["r2_mean_per_mM_per_s"].to_numpy()
            sd = found.replicate_summary["r2_sd_per_mM_per_s"].to_numpy()
            truth = np.array(list(CLUSTERS.values()))
            off.append(np.abs(mean / truth[:, 0] - 1).max())
            ratio.append(sd / truth[:, 1])
            pairs = found.comparisons.set_index(["agent_a", "agent_b"])["p_holm"]
            p1.append(pairs["C1", "C3"])
            p2.append(pairs["C2", "C3"])
        print(
            f"| {'of the published mean and SD' if exact else 'drawn at random'} "
            f"| {100 * np.mean(off):.1f} | {np.mean(ratio):.2f} "
            f"| {' | '.join(f'{100 * np.mean(np.array(p) < 0.01):.1f}' for p in (p1, p2))} "
            f"| {max(p1 + p2):.2g} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=300, help="of C1 … C7")
    options = parser.parse_args()
    coverage(options.studies)
    type_one(options.studies)
    family(options.studies)
    published(options.seeds)


if __name__ == "__main__":
    main()
