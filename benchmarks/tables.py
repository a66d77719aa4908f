"""Markdown tables, and putting them between the markers of a document."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def paste(document: Path, name: str, text: str) -> None:
    """Replace what stands between ``<!-- begin: name -->`` and ``<!-- end: name -->``."""
    begin, end = f"<!-- begin: {name} -->", f"<!-- end: {name} -->"
    old = document.read_text(encoding="utf-8")
    if begin not in old or end not in old:
        raise SystemExit(f"{document.name} has no {begin} … {end}")
    head, rest = old.split(begin, 1)
    _, tail = rest.split(end, 1)
    document.write_text(f"{head}{begin}\n{text.strip()}\n{end}{tail}", encoding="utf-8")
    print(f"wrote {name} into {document.relative_to(ROOT)}")


def rate(mvox: float) -> str:
    """A rate in million voxels per second, for people: three figures."""
    return f"{mvox:.3g}" if mvox >= 0.1 else f"{mvox:.2g}"


def times(ratio: float) -> str:
    return f"{ratio:,.0f}".replace(",", " ") if ratio >= 10 else f"{ratio:.2g}"


def percent(share: float) -> str:
    if share == 0:
        return "0"
    return f"{100 * share:.2g}" if share < 0.1 else f"{100 * share:.0f}"
