"""How often a fit ends anywhere but in the global least-squares minimum, model by model.

    python benchmarks/exactness.py [--curves 1000000] [--models t2 t1_ir] [--seed 1]

Each model's share of the curves is spread over even and uneven times and over the cases of
`tests/hard_cases.py`: SNR 50 and 5, nothing but noise, times far beyond the last and far below the
first. The minimum is found by `tests/brute_force.py`, which shares nothing with the solver. Prints
a Markdown table. Curves that tie have another T but the same RSS to 1e-12 of the signal.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import relaxometry as rx
from tests.hard_cases import CASES, SCHEMES, compared, simulated

BLOCK = 20_000


def main(
    curves: int = 1_000_000,
    models: Sequence[str] = (),
    seed: int = 1,
    engine: str | None = None,
) -> list[dict[str, Any]]:
    """Rows of the table: one per model, times and case."""
    return list(rows(curves, models, seed, engine))


def rows(
    curves: int, models: Sequence[str], seed: int, engine: str | None
) -> Iterator[dict[str, Any]]:
    chosen = [model for model in rx.MODELS if not models or model.name in models]
    share = -(-curves // (len(chosen) * len(SCHEMES) * len(CASES)))
    for model in chosen:
        for times, protocols in SCHEMES.items():
            protocol = protocols[model.reads[0]]
            if len(protocol) < 1 + len(model.amplitudes):
                continue
            for case in CASES:
                rng = np.random.default_rng(seed)
                row = {"model": model.name, "times": times, "case": case, "curves": 0}
                row |= {"misses": 0, "ties": 0, "unanswered": 0, "largest_error": 0.0}
                start = time.perf_counter()
                for size in _blocks(share):
                    y, magnitude = simulated(model, protocol, case, size, rng)
                    found = compared(model, protocol, y, magnitude, engine)
                    assert found.beaten == 0, "the search itself missed a minimum"
                    row["curves"] += size
                    row["misses"] += int(found.missed.sum())
                    row["ties"] += found.tied
                    row["unanswered"] += int(np.isnan(found.T).sum())
                    row["largest_error"] = max(row["largest_error"], found.largest)
                row["seconds"] = time.perf_counter() - start
                yield row


def _blocks(size: int) -> Iterator[int]:
    for start in range(0, size, BLOCK):
        yield min(BLOCK, size - start)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--curves", type=int, default=1_000_000, help="in all")
    parser.add_argument("--models", nargs="*", default=[], help="default: all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--engine", choices=["numpy", "compiled"])
    parser.add_argument("--out", type=Path, help="also written here as Markdown and JSON")
    options = parser.parse_args()
    lines = [
        "| model | times | case | curves | misses | ties | no answer | largest error of T |",
        "|---|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines))
    kept = []
    for row in rows(options.curves, options.models, options.seed, options.engine):
        kept.append(row)
        lines.append(
            f"| {row['model']} | {row['times']} | {row['case']} | {row['curves']} "
            f"| {row['misses']} | {row['ties']} | {row['unanswered']} "
            f"| {row['largest_error']:.1e} |"
        )
        print(lines[-1], flush=True)
    if options.out:
        name = f"exactness-{options.engine or 'numpy'}"
        facts = {"curves": sum(row["curves"] for row in kept), "seed": options.seed, "rows": kept}
        (options.out / f"{name}.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
        (options.out / f"{name}.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
