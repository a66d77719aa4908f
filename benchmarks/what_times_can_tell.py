"""What the times of a protocol can tell: the Cramér–Rao bound over T, and the limits it gives.

    python benchmarks/what_times_can_tell.py [--write-docs]

Nothing is simulated. For each protocol the least relative error σ_T/T at one S0 and one noise, the
range in which it is at most 20 times that of the best T, and beside it the rule of thumb.
"""

from __future__ import annotations

import argparse

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter
from tables import ROOT, paste, table

from relaxometry import MODELS, Protocol
from relaxometry.canvas import STYLE, as_png
from relaxometry.cramer_rao import WORSE, relative_bound, told
from relaxometry.judgement import limits

ECHOES = np.arange(10, 161, 10) / 1e3
DELAYS = (0.05, 0.1, 0.2, 0.4, 0.7, 1.1, 1.7, 2.5, 3.5, 5.0)
PLATE = (0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
ANGLES = (2, 5, 10, 15, 20, 30)
REPETITIONS = (0.2, 0.4, 0.7, 1.2, 2.0, 3.2, 5.0, 8.0)
#: Name, model, protocol, amplitudes (only their ratios count), whether it is drawn.
CASES = (
    ("16 echoes, 10–160 ms", "t2", Protocol(TE=ECHOES), [1.0], True),
    ("32 echoes, 12.7–406 ms", "t2", Protocol(TE=0.0127 * np.arange(1, 33)), [1.0], False),
    ("8 echoes, 9.6–77 ms", "t2", Protocol(TE=0.00964 * np.arange(1, 9)), [1.0], False),
    ("16 echoes, 10–160 ms", "t2_offset", Protocol(TE=ECHOES), [1.0, 0.05], False),
    ("10 TI, 0.05–5 s, TR 8 s", "t1_ir", Protocol(TI=DELAYS, TR=8.0), [1.0, 1.96], True),
    ("6 TI, 0.05–0.8 s, TR 1 s", "t1_ir", Protocol(TI=PLATE, TR=1.0), [1.0, 2.0], False),
    (
        "6 TI, 0.05–0.8 s, TR 1–2.46 s",
        "t1_ir",
        Protocol(TI=PLATE, TR=[1, 1, 1, 1.26, 1.86, 2.46]),
        [1.0, 2.0],
        False,
    ),
    ("8 TR, 0.2–8 s", "t1_sr", Protocol(TR=REPETITIONS), [1.0], True),
    ("8 TR, 0.2–8 s", "t1_sr_offset", Protocol(TR=REPETITIONS), [1.0, -1.0], False),
    ("6 angles, 2–30°, TR 15 ms", "t1_vfa", Protocol(FA=ANGLES, TR=0.015), [1.0], True),
)
_MODEL = {model.name: model for model in MODELS}


def ms(T: float) -> str:
    return f"{1e3 * T:.3g}" if T < 1 else f"{1e3 * T:.0f}"


def thumb(protocol: Protocol) -> tuple[float, float] | None:
    """Half the first echo time (half the shortest TI or TR) to three times the longest."""
    if protocol.swept == "FA":
        return None
    return 0.5 * protocol.times.min(), 3 * protocol.times.max()


def rows() -> list[list[str]]:
    found = []
    for name, key, protocol, amplitudes, _ in CASES:
        model, a = _MODEL[key], np.array(amplitudes)
        low, high = told(model, protocol, a)
        rule = thumb(protocol)
        T = np.geomspace(*model.bounds(protocol), 2000)
        bound = relative_bound(model, protocol, T, a)
        worse = "–", "–"
        if rule is not None:
            at = relative_bound(model, protocol, np.array(rule), a) / bound.min()
            worse = tuple(f"{w:.2g}" if w < 1e3 else ">1000" for w in at)
        found.append(
            [
                f"`{key}`",
                name,
                ms(T[bound.argmin()]),
                f"{bound.min():.2g}",
                f"{ms(low)} … {ms(high)}",
                "–" if rule is None else f"{ms(rule[0])} … {ms(rule[1])}",
                f"{worse[0]} / {worse[1]}",
                " … ".join(ms(T) for T in limits(model, protocol, a)),
            ]
        )
    return found


@rc_context(STYLE)
def figure() -> Figure:
    drawn = [case for case in CASES if case[-1]]
    picture = Figure(figsize=(7.2, 4.6), layout="constrained")
    for ax, (name, key, protocol, amplitudes, _) in zip(
        picture.subplots(2, 2).flat, drawn, strict=True
    ):
        model, a = _MODEL[key], np.array(amplitudes)
        T = np.geomspace(*model.bounds(protocol), 1500)
        bound = relative_bound(model, protocol, T, a)
        ax.plot(1e3 * T, bound / bound.min(), color="#0072B2", linewidth=1.3)
        low, high = limits(model, protocol, a)
        ax.axvspan(1e3 * low, 1e3 * high, color="#0072B2", alpha=0.1, linewidth=0)
        ax.axhline(WORSE, color="#8a8a8a", linewidth=0.8)
        for place in thumb(protocol) or ():
            ax.axvline(1e3 * place, color="#D55E00", linewidth=0.9, linestyle="--")
        ax.set(xscale="log", yscale="log", ylim=(0.8, 300), title=f"{key}: {name}")
        ax.set_xlabel(f"{model.time} (ms)")
        ax.set_ylabel("σ/T over that of the best T")
        ax.set_xlim(1e3 * told(model, protocol, a)[0] / 3, 3e3 * told(model, protocol, a)[1])
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_formatter(NullFormatter())
    return picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write-docs", action="store_true")
    options = parser.parse_args()
    header = ["model", "times", "best T (ms)", "σ_T/T there, for S0/σ = 1"]
    header += ["told (ms)", "rule of thumb (ms)", "error at its ends over the best", "counts (ms)"]
    lines = table(header, rows())
    print(lines)
    if options.write_docs:
        paste(ROOT / "docs" / "judgement.md", "told", lines)
        (ROOT / "docs" / "images" / "what-times-can-tell.png").write_bytes(as_png(figure()))


if __name__ == "__main__":
    main()
