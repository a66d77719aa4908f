"""How often 95 % intervals of r1, r2 and r2/r1 hold the truth when things are as they are.

    python benchmarks/relaxivity_statistics.py [--studies 4000] [--seed 0]

Each study is an agent at five concentrations and a blank (0 … 0.4 mM, r1 = 4, r2 = 100 mM⁻¹ s⁻¹).
For each thing that is wrong with a study: the line that is made for it, and beside it
the ordinary line through the same points: coverage of r1, r2 and r2/r1 in %, and the median
half-width of the interval of r2 in % of it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.studies import CASES, scored


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"{options.studies} studies each, seed {options.seed}: coverage of 95 % intervals in %\n")
    print("| study | line | r1 | r2 | r2/r1 | ± r2 (%) | ordinary: r1 | r2 | r2/r1 | ± r2 (%) |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for case in CASES:
        own = scored(case, case.method, options.studies, options.seed)
        plain = scored(case, "ordinary", options.studies, options.seed)
        cells = [f"{value:.1f}" for value in (*own, *plain)]
        print(f"| {case.name} | {case.method} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
