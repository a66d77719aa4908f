"""Plans as files: a TOML file that says what is planned, and a folder with what came of it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .canvas import as_pdf, as_png, as_svg
from .errors import InputError
from .estimate import Estimate
from .planning import ContrastPlan, plan_contrast
from .records import Record, as_csv, as_json, plain
from .tomltable import TomlTable
from .units import QUANTITIES
from .weighted import Tissue
from .whole import whole_folder

MARKER = "plan.json"  # by which an earlier result is known
SETTINGS = ("TE", "TR", "FA", "TI")
_TABLES = ("agent", "image", "bounds", "noise", "target", "reference", "plan")
_VALUE = (str, int, float)


def read_plan(path: str | Path) -> ContrastPlan:
    """The plan that a TOML file asks for: tables and keys as in docs/planning.md.

    Raises
    ------
    InputError
        Naming the file and the key: for a file that is no TOML, an unknown key, or as
        :func:`plan_contrast`.
    """
    path = Path(path)
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise InputError("no such file", path=path, expected="a plan, as a TOML file") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"cannot be read: {error}"[:200], path=path) from error
    try:
        return plan_contrast(**_arguments(document, path.parent))
    except InputError as error:
        raise error.at(path) from None


def _arguments(document: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    top = TomlTable("", document, folder)
    agent, image, bounds, noise, target, reference, plan = (top.table(name) for name in _TABLES)
    top.done()
    found: dict[str, Any] = {
        symbol: _relaxivity(agent, symbol) for symbol in ("r1", "r2", "r2star")
    }
    found["agent"] = agent.text("name") or None
    found["condition"] = agent.text("condition")
    found["field_T"] = agent.number("field_T")
    found["sequence"] = image.take("sequence", str, "SE")
    found |= {name: image.take(name, (*_VALUE, list)) for name in SETTINGS}
    found["bounds"] = {name: bounds.take(name, list) for name in SETTINGS if bounds.seen(name)}
    found["sigma"], found["SNR"] = noise.number("sigma"), noise.number("SNR")
    at = {name: noise.take(name, _VALUE) for name in SETTINGS if noise.seen(name)}
    found["SNR_at"] = at or None
    found["noise_method"] = noise.take("method", str, "rayleigh")
    found["target"] = _tissue(target)
    found["reference"] = _tissue(reference) if top.seen("reference") else None
    found["maximise"] = plan.take("maximise", str, "CNR")
    found["fixed"] = plan.take("fixed", str, "averages")
    within = plan.number("within")
    for table in (agent, image, bounds, noise, target, reference, plan):
        table.done()
    return found | ({} if within is None else {"within": within})


def _relaxivity(table: TomlTable, symbol: str) -> float | Estimate | None:
    value, stderr = table.number(symbol), table.number(f"{symbol}_stderr")
    if stderr is None:
        return value
    if value is None:
        raise InputError("without its value", field=table.key(f"{symbol}_stderr"))
    return Estimate(value, stderr, symbol)


def _tissue(table: TomlTable) -> dict[str, Any] | None:
    if not table.values:
        return None
    kinds: dict[str, tuple[type, ...]] = dict.fromkeys(("T1", "T2", "T2star"), _VALUE)
    kinds |= {"S0": (int, float), "uptake_mM": (int, float, list), "name": (str,)}
    return {name: table.take(name, kind) for name, kind in kinds.items() if table.seen(name)}


def write_plan(plan: ContrastPlan, folder: str | Path, force: bool = False) -> Path:
    """Write a plan: table, limits, best settings, figures, text.

    ``plan.csv``, ``limits.csv``, ``plan.json``, ``plan.txt``, ``contrast`` and ``concentration``
    as SVG, PDF and PNG.

    Raises
    ------
    InputError
        If the folder exists and may not be replaced. Nothing is written then.
    """
    folder = Path(folder)
    figures = {kind: plan.plot(kind) for kind in ("contrast", "concentration")}
    rows, limits = (_records(table) for table in (plan.table, plan.limits()))
    with whole_folder(folder, MARKER, force) as beside:
        (beside / "plan.csv").write_bytes(as_csv(rows))
        (beside / "limits.csv").write_bytes(as_csv(limits))
        (beside / MARKER).write_bytes(as_json(plan_record(plan)))
        (beside / "plan.txt").write_text(plan.report(), encoding="utf-8")
        for kind, figure in figures.items():
            for ending, written in (("svg", as_svg), ("pdf", as_pdf), ("png", as_png)):
                (beside / f"{kind}.{ending}").write_bytes(written(figure))
    return folder


def plan_record(plan: ContrastPlan) -> Record:
    """What was planned and the best settings, for JSON: every unit in its key."""
    model = plan.model
    decay = model.sequence.decay
    return {
        "schema_version": 1,
        "sequence": model.sequence.name,
        "equation": model.sequence.equation,
        "agent": {
            "name": plain(model.agent.name),
            "field_T": plain(model.agent.field_T),
            **{
                f"{symbol}{end}_per_mM_per_s": plain(value)
                for symbol, one in (("r1", model.agent.r1), (f"r{decay[1:]}", model.agent.decay))
                for end, value in (("", one.value), ("_stderr", one.stderr))
            },
        },
        "target": _tissue_record(model.target),
        "reference": _tissue_record(model.reference),
        "sigma": plan.sigma,
        "noise_method": plan.noise_method,
        "maximise": plan.maximise,
        "fixed": plan.fixed,
        "best": [
            {
                "uptake_target_mM": one.uptake_mM[0],
                "uptake_reference_mM": one.uptake_mM[1],
                **{QUANTITIES[name].column: value for name, value in one.settings.items()},
                "value": one.value,
                "share": one.share,
                "within": {
                    QUANTITIES[name].column: list(ends) for name, ends in one.within.items()
                },
                "remarks": list(one.remarks),
            }
            for one in plan.optima
        ],
        "notes": list(plan.notes),
    }


def _tissue_record(tissue: Tissue) -> Record:
    return {
        "name": plain(tissue.name),
        "T1_s": tissue.T1,
        "T2_s": plain(tissue.T2),
        "T2star_s": plain(tissue.T2star),
        "S0": tissue.S0,
        "uptake_mM": tissue.uptake_mM.tolist(),
    }


def _records(table: Any) -> list[Record]:
    return [{k: plain(v) for k, v in row.items()} for row in table.to_dict("records")]
