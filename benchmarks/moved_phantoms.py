"""How well the shift between two scans is found, and what is said where it is not.

    python benchmarks/moved_phantoms.py [--phantoms 300] [--first 0]

Prints how sure the shift of one rack is by SNR; then, of random phantoms that lay still, were
nudged or were moved by 6 mm, what became of them, the error of the shift in voxels, and the seeds
of those that went wrong. Exit code 1 if one did.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

import numpy as np

import relaxometry as rx

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.painted import Rack, axial, regular


def tubes_in(rng: np.random.Generator) -> np.ndarray:
    """Up to 24 tubes (x, y, radius) in mm, unequal, at most touching."""
    number, gap, placed = int(rng.integers(1, 25)), rng.choice([0.0, 0.5, 2.0]), []
    for _ in range(5000):
        radius, (x, y) = rng.uniform(1.6, 3.5), rng.uniform(-17, 17, 2)
        free = all(np.hypot(x - a, y - b) > radius + r + gap for a, b, r in placed)
        if free and np.hypot(x, y) + radius < 19:
            placed.append((x, y, radius))
        if len(placed) == number:
            break
    return np.array(placed)


def biased(series: rx.Series, slope: np.ndarray) -> rx.Series:
    """With a field that varies by up to 30 % each way along the axes of the image."""
    x, y = (np.linspace(-1, 1, n) for n in series.grid[:2])
    field = 1 + 0.3 * (slope[0] * x[:, None] + slope[1] * y)
    signal = series.signal * field[..., None, None]
    return rx.Series(signal, series.protocol, affine=series.affine, signed=False)


def outcome(seed: int) -> tuple[str, str, float]:
    """(moved how, what became of it, error in voxels) of one random phantom."""
    rng = np.random.default_rng(seed)
    tubes = tubes_in(rng)
    T1, T2 = rng.uniform(0.1, 3, len(tubes)), rng.uniform(0.01, 0.3, len(tubes))
    rack = Rack(tubes, T1, T2, float(rng.choice([0, 0, 0.4, 0.9])))
    fine, other = rng.choice([0.2, 0.3, 0.4, 0.5], 2)
    snr, distance = rng.choice([5, 10, 20, 50]), rng.choice([0, 0, 1, 2.5, 6])
    way, slope = rng.uniform(0, 2 * np.pi), rng.uniform(-1, 1, 2)
    degrees = rng.choice([0, 0, 1, 2.5]) if len(tubes) > 4 and distance < 3 else 0.0
    shift = distance * np.array([np.cos(way), np.sin(way)])
    first, second = axial(int(44 / fine), fine), axial(int(48 / other), other)
    second[0][:2, 3] += rng.uniform(-1, 1, 2)
    T2_series = biased(rack.scan(first, "T2", snr, seed), slope)
    there = rack.moved(shift, degrees)
    there.bath *= rng.uniform(0.3, 1.5)
    T1_series = biased(there.scan(second, "T1", snr, seed), -slope)
    drawn = Rack(tubes.copy(), T1, T2)
    by_hand = rng.random() < 0.3
    drawn.tubes[:, 2] *= 0.6 if by_hand else 1
    drawn.tubes[:, :2] += rng.normal(0, 0.15 if by_hand else 0.1 * fine, (len(tubes), 2))
    circles = [(first[0][0, 3] - x, first[0][1, 3] - y, r) for x, y, r in drawn.tubes]
    margin = 0.0 if by_hand else min(1.5 * fine, 0.6 * tubes[:, 2].min())
    moved = "6 mm" if distance == 6 else f"{distance:g} mm{', turned' if degrees else ''}"
    try:
        placed = rx.tubes_from_circles(T2_series, circles, margin_mm=margin)
    except rx.InputError:
        return moved, "circles overlap", np.nan
    try:
        carried = placed.on(T1_series)
    except rx.GeometryError as error:
        if "coarse" in str(error):
            return moved, "too coarse", np.nan
        return moved, "refused" if distance == 6 else "WRONG: refused", np.nan
    if carried.shift_mm is None:
        return moved, "not judged, and says so", np.nan
    if distance == 6:
        alias = any("would look the same" in note for note in carried.notes)
        return moved, "the nearer of two places, and says so" if alias else "WRONG", np.nan
    if (carried.shift_mm == 0).all() and not distance:
        return moved, "stays", np.nan
    # Where the middle of the tubes that are seen went.
    seen = placed.walls.centres[placed.walls.seen].mean(axis=0)
    middle = first[0][:2, 3] - seen
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    true = np.array([[cos, -sin], [sin, cos]]) @ middle + shift - middle
    error = float(np.hypot(*(carried.shift_mm[:2] - true)) / max(fine, other))
    limit = 0.6 if degrees else 0.3  # of a turn, the middle of the tubes used differs a little
    return moved, "followed" if error < limit else "WRONG", error


def how_sure(rack: Rack, snr: float) -> str:
    """SD and largest error of the shift over 20 seeds, in voxels of 0.35 mm."""
    placed, errors = rack.placed(rack.scan(axial(160, 0.2), "T2")), []
    for seed in range(20):
        shift = np.random.default_rng(seed).uniform(-1.5, 1.5, 2)
        carried = placed.on(rack.moved(shift).scan(axial(100, 0.35), "T1", snr, seed))
        errors.append((carried.shift_mm[:2] - shift) / 0.35)
    return f"{np.std(errors):.3f} ({np.abs(errors).max():.2f})"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--phantoms", type=int, default=300)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    many = regular()
    one = Rack(many.tubes[5:6], np.array([1.0]), np.array([0.08]))
    print("| SNR of one image | 16 tubes | one tube |\n|---|---|---|")
    for snr in (50, 20, 10, 5):
        print(f"| {snr} | {how_sure(many, snr)} | {how_sure(one, snr)} |")
    counts: Counter[tuple[str, str]] = Counter()
    errors, wrong = [], []
    for seed in range(options.first, options.first + options.phantoms):
        moved, became, error = outcome(seed)
        counts[moved, became] += 1
        errors += [error] if np.isfinite(error) and "turned" not in moved else []
        wrong += [seed] if "WRONG" in became else []
    print("\n| moved | what became of it | phantoms |\n|---|---|---|")
    for (moved, became), number in sorted(counts.items()):
        print(f"| {moved} | {became} | {number} |")
    middle, most = np.percentile(errors, [50, 95])
    print(f"\nError of the shift, voxels: median {middle:.2f}, 95 % {most:.2f}, ", end="")
    print(f"largest {max(errors):.2f}. Wrong: {wrong or 'none'}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
