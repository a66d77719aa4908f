"""How often 95 % intervals of r1, r2 and r2/r1 hold the truth when things are as they are.

    python benchmarks/relaxivity_statistics.py [--studies 4000] [--seed 0]

Each study is an agent at five concentrations and a blank (0 … 0.4 mM, r1 = 4, r2 = 100 mM⁻¹ s⁻¹).
For each thing that is wrong with a study: the line that is made for it, and beside it
the ordinary line through the same points: coverage of r1, r2 and r2/r1 in %, and the median
half-width of the interval of r2 in % of it. Then the relaxivities of the system phantom."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tables import ROOT, paste, table

import relaxometry as rx
from tests.studies import CASES, scored

PAGE = ROOT / "docs" / "relaxivity.md"


def coverage(studies: int, seed: int) -> str:
    rows = []
    for case in CASES:
        own = scored(case, case.method, studies, seed)
        plain = scored(case, "ordinary", studies, seed)
        rows.append([case.name, case.method, *(f"{value:.1f}" for value in (*own, *plain))])
    header = ["r1", "r2", "r2/r1", "± r2 (%)"]
    return table(["study", "line", *header, "ordinary: r1", *header[1:]], rows)


def system_phantom() -> str:
    rows = []
    for array, symbol in (("NiCl2", "r1"), ("MnCl2", "r2")):
        for field_T in (1.5, 3.0):
            known = rx.reference.system_phantom(array, batch=1, field_T=field_T)
            c, rate = known["concentration_mM"], 1 / known[f"T{symbol[1]}_s"]
            ordinary, relative, robust = (
                rx.relaxivity_fit(c, rate, method=method)
                for method in ("ordinary", "relative", "robust")
            )
            low, high = robust.ci95
            rows.append(
                [
                    f"{symbol} of {array}",
                    f"{field_T:g}",
                    *(str(v) for line in (ordinary, relative) for v in (line.r, line.R0)),
                    f"{robust.r.value:.4g}, {low:.4g} to {high:.4g}",
                ]
            )
    header = ["", "T", "ordinary: r", "R(0)", "relative: r", "R(0)", "robust: r, 95 %"]
    return table(header, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write-docs", action="store_true", help="into docs/")
    options = parser.parse_args()
    for name, text in (
        ("system phantom", system_phantom()),
        ("coverage", coverage(options.studies, options.seed)),
    ):
        print(text, flush=True)
        if options.write_docs:
            paste(PAGE, name, text)


if __name__ == "__main__":
    main()
