"""Is an animal that moved between two images noticed, and how exactly, while its contrast changes?

    python benchmarks/moved_animals.py [--animals 300] [--first 0] [--register] [--write-docs]

Animals of one slice and of seven, before and after an injection: shifts of up to 3 voxels each way
with fractions, turns of up to 5°, the liver darkened by up to 70 %, vessels brighter or darker,
another receiver gain (×0.5 to 2), another bias field (±30 %), ghosts of up to 10 %. Prints the error
of the displacement of the worst place of the body, in voxels, and how often its 95 % interval
holds; then what is said of still animals, of noise and of featureless images. `--register` measures
what is left after registration. `--write-docs` puts the tables into docs/before-and-after.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

import relaxometry as rx

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.animals import VOXEL, Animal, Scan, axial, uptake



SNRS = (10, 15, 20, 30, 60)
DOCS = Path(__file__).resolve().parents[1] / "docs" / "before-and-after.md"


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
    return np.array(
        [np.hypot(*(found[:2] - true)).max(), np.abs(found[2] - shift[2]).max()]
    )


def row(slices: int, snr: float, seeds: range) -> tuple[str, list]:
    errors, across, held, told, took, bad = [], [], [], 0, [], []
    for seed in seeds:
        pre, post, affine, shift, degrees = pair(seed, snr, slices)
        begun = time.perf_counter()
        found = rx.displacement(pre, post, affine)
        took.append(time.perf_counter() - begun)
        if not found.known:
            bad.append((seed, found.notes))
            continue
        told += 1
        true = rx.displacement
        in_plane, through = error_at_rim(found.matrix, affine, pre.shape, shift, degrees)
        errors.append(in_plane)
        if np.isfinite(found.shift_voxels[2]):
            across.append(through)
        if in_plane > 0.15:
            bad.append((seed, round(in_plane, 2)))
        centre = np.hypot(*(found.shift_voxels[:2] - shift[:2]))
        held.append(found.uncertainty_voxels)
        del true, centre
    q = np.percentile(errors, [50, 95, 99, 100]) if errors else [np.nan] * 4
    z = f"{np.median(across):.2f} ({np.max(across):.2f}, {len(across)})" if across else "—"
    line = (
        f"| {slices} | {snr} | {told} of {len(seeds)} | {q[0]:.3f} | {q[1]:.3f} | {q[2]:.3f} "
        f"| {q[3]:.3f} | {np.mean(np.array(errors) < 0.15):.1%} "
        f"| {np.mean(np.array(errors) < np.array(held)):.1%} | {z} | {np.mean(took):.2f} s |"
    )
    return line, bad


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--animals", type=int, default=100)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--slices", type=int, nargs="*", default=[1, 7])
    parser.add_argument("--snr", type=float, nargs="*", default=SNRS)
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.animals)
    for slices in options.slices:
        for snr in options.snr:
            line, bad = row(slices, snr, seeds)
            print(line, bad[:6], flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
