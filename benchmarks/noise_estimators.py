"""How near σ is every noise method, is its error honest, and how often is true air refused?

    python benchmarks/noise_estimators.py [--write-docs]

Simulated magnitude images, root sum of squares over 1 to 32 coils; nothing is fitted.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable

import numpy as np
from scipy import ndimage
from tables import ROOT, paste, percent, table

import relaxometry as rx
from relaxometry.aircheck import check_air
from relaxometry.noise import rician_amplitude, rician_mean

COILS = (1, 4, 8, 32)
SIGMA = 20.0
SIDE = 32  # voxels of the square of air, or of the object
REPEATS = 200


def magnitude(scene: np.ndarray, sigma: float, coils: int, rng: np.random.Generator) -> np.ndarray:
    total = np.zeros(scene.shape)
    for _ in range(coils):
        total += (scene / np.sqrt(coils) + rng.normal(0, sigma, scene.shape)) ** 2
        total += rng.normal(0, sigma, scene.shape) ** 2
    return np.sqrt(total)


def accuracy(repeats: int) -> str:
    rows = []
    rng = np.random.default_rng(1)
    everywhere = np.ones((SIDE, SIDE), bool)
    x, y = np.meshgrid(*(np.linspace(-1, 1, SIDE),) * 2, indexing="ij")
    lit = 1000 * (1 + 0.2 * x - 0.1 * y)
    for method in ("sd", "rayleigh", "mean", "chi", "difference", "smoothed"):
        for coils in COILS:
            if method == "rayleigh" and coils > 1:
                continue
            found = []
            for _ in range(repeats):
                scene = lit if method in ("difference", "smoothed") else 0 * lit
                image = magnitude(scene, SIGMA, coils, rng)
                if method == "difference":
                    second = magnitude(scene, SIGMA, coils, rng)
                    given = {"second": second, "region": everywhere}
                elif method == "smoothed":
                    given = {"region": everywhere}
                else:
                    given = {"air": everywhere}
                try:
                    found.append(rx.measure_noise(image, method=method, coils=coils, **given))
                except rx.InputError:
                    continue  # one true air in a thousand; counted below
            sigma = np.array([one.sigma for one in found])
            stated = float(np.mean([one.sigma_stderr for one in found]))
            rows.append(
                [
                    f"`{method}`",
                    str(coils),
                    f"{100 * (sigma.mean() / SIGMA - 1):+.2f}",
                    f"{100 * sigma.std(ddof=1) / SIGMA:.2f}",
                    f"{100 * stated / SIGMA:.2f}",
                    f"{found[0].n_voxels}",
                ]
            )
    header = ["method", "coils", "bias of σ (%)", "SD of σ (%)", "stated error (%)", "voxels"]
    return table(header, rows)


def false_alarms(repeats: int) -> str:
    rows = []
    rng = np.random.default_rng(2)
    roundings: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "as scanned": lambda image: image,
        "rounded": np.round,
        "rounded down": np.floor,
    }
    for side in (10, 32, 100):
        for name, rounding in roundings.items():
            refused = noted = count = 0
            for coils in COILS:
                for sigma in (1.0, 2.0, 30.0):
                    for _ in range(repeats if side < 100 else repeats // 4):
                        image = rounding(magnitude(np.zeros((side, side)), sigma, coils, rng))
                        count += 1
                        try:
                            air = check_air(image, coils, air=np.ones(image.shape, bool))
                        except rx.InputError:
                            refused += 1
                        else:
                            noted += any("round" not in note for note in air.notes)
            shares = [percent(refused / count), percent(noted / count)]
            rows.append([str(side**2), name, str(count), *shares])
    return table(["voxels", "values", "patches", "refused (%)", "noted (%)"], rows)


def power(repeats: int) -> str:
    """How often air that is none is refused by a method for one coil, or noted."""
    rng = np.random.default_rng(3)
    shape = (32, 32)
    x, _ = np.meshgrid(*(np.linspace(-1, 1, 32),) * 2, indexing="ij")
    corner = np.zeros(shape)
    corner[8:24, 8:24] = 1.0

    def noise(scene: np.ndarray | float = 0.0, coils: int = 1) -> np.ndarray:
        return magnitude(np.zeros(shape) + scene, 1.0, coils, rng)

    cases: dict[str, Callable[[], np.ndarray]] = {
        "5 % of the voxels set to 0": lambda: np.where(rng.random(shape) < 0.05, 0, noise()),
        "smoothed, 3×3": lambda: ndimage.uniform_filter(noise(), 3),
        "median filter, 3×3": lambda: ndimage.median_filter(noise(), 3),
        "8 coils, taken for 1": lambda: noise(coils=8),
        "2 coils, taken for 1": lambda: noise(coils=2),
        "ghost of 1 σ in a quarter": lambda: noise(corner),
        "ghost of 2 σ in a quarter": lambda: noise(2 * corner),
        "tissue, SNR 20": lambda: noise(20.0),
        "object of SNR 5 in a third": lambda: noise(5.0 * (x < -1 / 3)),
        "object of SNR 60 in half": lambda: noise(60.0 * (x < 0)),
        "noise that doubles from side to side": lambda: noise() * (1.5 + 0.5 * x),
        "grey levels of 1.5 σ": lambda: np.round(noise() / 1.5),
    }
    rows = []
    for name, make in cases.items():
        counts: Counter[str] = Counter()
        for _ in range(repeats):
            image = make()
            for method in ("rayleigh", "sd"):
                try:
                    found = rx.measure_noise(image, np.ones(shape, bool), method)
                except rx.InputError:
                    counts[f"{method} refused"] += 1
                else:
                    counts[f"{method} noted"] += bool(found.notes)
        kinds = ("rayleigh refused", "rayleigh noted", "sd refused", "sd noted")
        rows.append([name, *(percent(counts[kind] / repeats) for kind in kinds)])
    header = ["air", "`rayleigh` refused (%)", "noted (%)", "`sd` refused (%)", "noted (%)"]
    return table(header, rows)


def ghosts(repeats: int) -> str:
    rng = np.random.default_rng(4)
    x, y = np.meshgrid(*(np.linspace(-1, 1, 128),) * 2, indexing="ij")
    phantom = (np.hypot(x, y) < 0.6).astype(float)
    rows = []
    for ghost in (0.01, 0.03, 0.1):
        for snr in (25, 100, 400):
            scene = phantom + ghost * np.roll(phantom, 64, 1)
            found = [rx.ghosting(magnitude(scene, 1 / snr, 1, rng)) for _ in range(repeats)]
            seen = [one for one in found if one.axis == 1]
            ratio = float(np.mean([one.ghosting_percent for one in found]))
            size = float(np.mean([one.ghost_percent for one in seen])) if seen else float("nan")
            rows.append(
                [
                    f"{100 * ghost:g}",
                    str(snr),
                    f"{ratio:.2f}",
                    f"{size:.2f}" if seen else "–",
                    percent(len(seen) / repeats),
                ]
            )
    header = ["ghost (%)", "SNR", "`ghosting_percent`", "`ghost_percent`", "seen (%)"]
    return table(header, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write-docs", action="store_true")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    options = parser.parse_args()
    A = np.geomspace(1e-3, 1e5, 500)
    for coils in COILS:
        back = rician_amplitude(rician_mean(A, 1.0, coils), 1.0, coils)
        worst = float(np.abs(back[A > 0.1] / A[A > 0.1] - 1).max())
        print(f"{coils} coils: A from its mean is off by {worst:.1e} at most (A > 0.1 σ)")
    told = {
        ("noise.md", "accuracy"): accuracy(options.repeats),
        ("noise.md", "false alarms"): false_alarms(options.repeats),
        ("noise.md", "power"): power(options.repeats // 2),
        ("uniformity.md", "ghosts"): ghosts(options.repeats // 10),
    }
    for (document, name), lines in told.items():
        print(f"{name}\n{lines}")
        if options.write_docs:
            paste(ROOT / "docs" / document, name, lines)


if __name__ == "__main__":
    main()
