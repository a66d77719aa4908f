"""Is an animal that moved between two images noticed, and how exactly, while its contrast changes?

    python benchmarks/moved_animals.py [--animals 50] [--registered 8] [--write-docs]

Animals of one slice and of seven, before and after an injection: shifts of up to 3 voxels each way
with fractions, turns of up to 5°, the liver darkened by up to 70 %, vessels brighter or darker,
another receiver gain (×0.5 to 2), another bias field (±30 %), ghosts of up to 10 %. Prints the
error of the shift of the middle and of the displacement of the worst place of the body, in voxels;
what is said of still animals, of noise and of featureless images; and what registration leaves,
also by SimpleITK where that is installed. `--write-docs` puts the tables into
docs/before-and-after.md.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np

import relaxometry as rx

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.tables import paste, table
from tests.animals import VOXEL, Animal, Scan, axial, uptake

SNRS = (10, 15, 20, 30, 60)
DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "before-and-after.md"


def pair(seed: int, snr: float, slices: int, still: bool = False):
    """(pre, post, affine, true shift in voxels and slices, true turn) of a random animal."""
    rng = np.random.default_rng((seed, slices))
    animal, grid = Animal.of(seed), (128, 128, slices)
    shift = rng.uniform(-3, 3, 2) * (not still)
    along = rng.uniform(-1.2, 1.2) * (slices > 2) * (not still)
    degrees = rng.choice([0, 1, 1]) * rng.uniform(-5, 5) * (not still)
    ghost, bias = rng.choice([0, 0, 0.05, 0.1]), rng.uniform(-0.3, 0.3, (2, 2))
    change = uptake(rng, rng.uniform(0.3, 1.0))
    gain = 2 ** rng.uniform(-1, 1)
    pre = animal.image(Scan(snr, 1.0, tuple(bias[0]), ghost, 2 * seed), grid)
    post = animal.image(
        Scan(snr, gain, tuple(bias[1]), ghost, 2 * seed + 1),
        grid,
        change,
        (shift[0] * VOXEL, shift[1] * VOXEL, along),
        degrees,
    )
    return pre, post, axial(grid), np.array([*shift, along]), degrees


def error_at_rim(matrix: np.ndarray, affine: np.ndarray, grid, shift, degrees) -> np.ndarray:
    """(in the plane in voxels, across in slices): error at the worst place of the body's rim."""
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    rim = np.stack([48 * np.cos(angles), 42 * np.sin(angles)])
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    true = np.array([[c, -s], [s, c]]) @ rim + shift[:2, None]
    motion = np.linalg.inv(affine) @ matrix @ affine
    middle = (np.array(grid) - 1) / 2
    places = np.vstack([rim + middle[:2, None], np.full(24, middle[2]), np.ones(24)])
    found = (motion @ places)[:3] - middle[:, None]
    return np.array([np.hypot(*(found[:2] - true)).max(), np.abs(found[2] - shift[2]).max()])


def accuracy(slices: int, snr: float, seeds: range) -> list[str]:
    """A row of the table of errors."""
    middle, rim, across, held, took = [], [], [], [], []
    for seed in seeds:
        pre, post, affine, shift, degrees = pair(seed, snr, slices)
        begun = time.perf_counter()
        found = rx.displacement(pre, post, affine)
        took.append(time.perf_counter() - begun)
        if not found.known:
            continue
        motion = np.linalg.inv(affine) @ found.matrix @ affine
        at = np.append((np.array(pre.shape) - 1) / 2, 1)
        middle.append(np.hypot(*((motion @ at - at)[:2] - shift[:2])))
        in_plane, through = error_at_rim(found.matrix, affine, pre.shape, shift, degrees)
        rim.append(in_plane)
        held.append(in_plane < found.uncertainty_voxels)
        if np.isfinite(found.shift_voxels[2]):
            across.append(through)
    z = f"{np.median(across):.2f} ({max(across):.2f})" if across else "not sought"
    return [
        str(slices),
        f"{snr:g}",
        f"{len(rim)} of {len(seeds)}",
        f"{np.median(middle):.3f} ({max(middle):.2f})",
        f"{np.median(rim):.3f}",
        f"{np.percentile(rim, 95):.2f}",
        f"{max(rim):.2f}",
        f"{np.mean(held):.0%}",
        z,
        f"{np.median(took):.1f} s",
    ]


def verdict(found: rx.Displacement) -> str:
    try:
        rx.check_still(found)
    except rx.InputError:
        return "refused"
    return "passed" if found.known else "not told, and says so"


def featureless(kind: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two images that do not tell a motion."""
    rng = np.random.default_rng((seed, 23))
    signal = {"noise": 0.0, "one even signal that fills the image": 30.0}.get(kind)
    if signal is not None:
        return tuple(
            np.hypot(signal + rng.normal(size=(96, 96)), rng.normal(size=(96, 96))) for _ in "ab"
        )
    animal, grid = Animal.of(seed), (128, 128, 1)
    return (
        animal.image(Scan(30, seed=seed), grid),
        np.hypot(*rng.normal(0, 50, (2, *grid))).astype(np.float32),
    )


def verdicts(seeds: range) -> list[list[str]]:
    rows = []
    cases = {
        "an animal that lay still": lambda s: pair(s, (10, 15, 20, 30, 60)[s % 5], 1, True)[:2],
        "an animal moved by 1 voxel": lambda s: moved_by_one(s),
        "noise": lambda s: featureless("noise", s),
        "one even signal that fills the image": lambda s: featureless(
            "one even signal that fills the image", s
        ),
        "an animal, then noise": lambda s: featureless("gone", s),
    }
    for name, images in cases.items():
        said: Counter[str] = Counter()
        for seed in seeds:
            pre, post = images(seed)
            said[verdict(rx.displacement(pre, post, np.diag([-0.25, -0.25, 1, 1])))] += 1
        order = ("passed", "refused", "not told, and says so")
        rows.append([name, *(str(said[word]) for word in order)])
    return rows


def moved_by_one(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """An animal before and after, one voxel further on."""
    rng = np.random.default_rng((seed, 29))
    animal, grid, way = Animal.of(seed), (128, 128, 1), rng.uniform(0, 2 * np.pi)
    snr = SNRS[seed % 5]
    shift = (VOXEL * np.cos(way), VOXEL * np.sin(way), 0.0)
    change = uptake(rng, rng.uniform(0.3, 1.0))
    return (
        animal.image(Scan(snr, seed=2 * seed), grid),
        animal.image(Scan(snr, seed=2 * seed + 1), grid, change, shift),
    )


def registered(slices: int, seeds: range) -> list[list[str]]:
    rows = []
    methods = ["edges"] + ["mattes"] * (importlib.util.find_spec("SimpleITK") is not None)
    for method in methods:
        errors, took = [], []
        for seed in seeds:
            pre, post, affine, shift, degrees = pair(seed, SNRS[1 + seed % 4], slices)
            begun = time.perf_counter()
            found = rx.register(pre, post, affine, method=method)
            took.append(time.perf_counter() - begun)
            motion = np.linalg.inv(affine) @ found.matrix @ affine
            at = np.append((np.array(pre.shape) - 1) / 2, 1)
            middle = np.hypot(*((motion @ at - at)[:2] - shift[:2]))
            errors.append(
                [middle, error_at_rim(found.matrix, affine, pre.shape, shift, degrees)[0]]
            )
        (m, r), (mm, rm) = np.median(errors, axis=0), np.max(errors, axis=0)
        rows.append(
            [
                method,
                str(slices),
                str(len(seeds)),
                f"{m:.3f} ({mm:.2f})",
                f"{r:.3f} ({rm:.2f})",
                f"{np.median(took):.1f} s",
            ]
        )
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--animals", type=int, default=50)
    parser.add_argument("--registered", type=int, default=8)
    parser.add_argument("--write-docs", action="store_true", help="into docs/")
    options = parser.parse_args()
    many, few = range(options.animals), range(-(-options.animals // 5))
    tables = {
        "moved-animals": lambda: table(
            [
                "slices",
                "SNR",
                "told",
                "middle (largest)",
                "worst place: median",
                "95 %",
                "largest",
                "within ±",
                "across, slices (largest)",
                "takes",
            ],
            [accuracy(1, snr, many) for snr in SNRS] + [accuracy(7, snr, few) for snr in SNRS],
        ),
        "moved-animals-verdicts": lambda: table(
            ["images", "passed", "refused", "not told, and says so"], verdicts(many)
        ),
        "moved-animals-registered": lambda: table(
            ["method", "slices", "animals", "middle (largest)", "worst place (largest)", "takes"],
            registered(1, range(options.registered)),
        ),
    }
    for name, made in tables.items():
        text = made()
        print(text, flush=True)
        if options.write_docs:
            paste(DOCUMENT, name, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
