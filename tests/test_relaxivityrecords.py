"""Relaxivities as records: every number, null with a reason, and a CSV that says the same."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pandas as pd
import pytest

import relaxometry as rx
from relaxometry.records import as_csv, as_json, paired
from relaxometry.relaxivityrecords import (
    TABLES,
    relaxivity_document,
    relaxivity_tables,
    table_records,
)

C = np.array([0.4, 0.2, 0.1, 0.05, 0.025])


def made(replicates=3, noise=0.005, rates=("R1", "R2"), **columns) -> rx.RelaxivityTable:
    """One agent in two conditions, another in one, a blank of all."""
    rng = np.random.default_rng(3)
    rows = []
    for agent, condition, r1, r2 in (
        ("=A", "pH 7.4", 3.2, 108.0),
        ("=A", "pH 5.5", 5.1, 21.3),
        ("B", "", 4.0, 20.0),
    ):
        for replicate in range(1, replicates + 1):
            f = 1 + 0.03 * rng.standard_normal(2)
            rows += [
                (agent, condition, str(replicate), c, 0.4 + f[0] * r1 * c, 9 + f[1] * r2 * c)
                for c in C
            ]
    rows.append(("blank", "", "0", 0.0, 0.4, 9.0))
    names = ["agent", "condition", "replicate", "concentration_mM", "R1_per_s", "R2_per_s"]
    table = pd.DataFrame(rows, columns=names).assign(tube=range(1, len(rows) + 1))
    table[["R1_per_s", "R2_per_s"]] *= 1 + noise * rng.standard_normal((len(table), 2))
    gone = [f"{rate}_per_s" for rate in ("R1", "R2") if rate not in rates]
    return rx.relaxivity(table.drop(columns=gone).assign(**columns))


def strict(document):
    return json.loads(as_json(document))  # NaN and infinity raise


def test_every_table_is_there_under_its_key():
    document = strict(relaxivity_document(made()))
    assert list(document) == [*TABLES, "letters", "omnibus"]
    assert [len(document[name]) for name in TABLES] == [3, 2 * (3 * 16), 9, 3, 6, 1]
    assert [row["n_slopes"] for row in document["omnibus"]] == [3, 3]
    assert document["omnibus"][1]["p"] < 0.001
    assert [row["letters"] for row in document["letters"] if row["symbol"] == "r2"]


def test_no_lines_no_records():
    assert relaxivity_document(None) == {name: [] for name in (*TABLES, "letters", "omnibus")}


def test_one_line_has_no_replicate_comparison_or_switch():
    table = pd.DataFrame({"agent": "A", "concentration_mM": C, "R2_per_s": 9 + 24 * C})
    found = relaxivity_tables(rx.relaxivity(table))
    assert [name for name in TABLES if found[name]] == ["relaxivity", "points"]


def test_csv_says_the_same_as_json():
    result = made()
    document = strict(relaxivity_document(result))
    for name, records in relaxivity_tables(result).items():
        rows = list(csv.DictReader(io.StringIO(as_csv(records).decode())))
        assert len(rows) == len(document[name])
        for row, record in zip(rows, document[name], strict=True):
            for key, value in record.items():
                if "_ci95" in key:
                    low, high = value or (None, None)
                    cells = [row[key.replace("_ci95", f"_ci95_{end}")] for end in ("low", "high")]
                    assert cells == ["" if v is None else repr(v) for v in (low, high)]
                elif isinstance(value, float):
                    assert float(row[key]) == value
        assert not any(cell.startswith("=") for row in rows for cell in row.values())


def test_a_point_has_what_its_line_knows_of_it():
    result = made(replicates=1)
    rows = [
        row
        for row in strict(relaxivity_document(result))["points"]
        if (row["agent"], row["symbol"]) == ("B", "r2")
    ]
    line = result["B"]["r2"]
    assert [row["concentration_mM"] for row in rows] == line.concentration.tolist()
    assert [row["residual_per_s"] for row in rows] == line.residual.tolist()
    assert [row["leverage"] for row in rows] == line.leverage.tolist()
    assert rows[0]["influence_percent"] == pytest.approx(100 * line.influence[0])
    assert rows[0]["used"] is True
    assert rows[0]["reason"] is None
    assert sum(row["leverage"] for row in rows) == pytest.approx(2)


def test_points_left_out_are_there_with_their_reason():
    excluded = np.zeros(16, dtype=bool)
    excluded[11] = True
    result = made(replicates=1, exclude=excluded, reason=np.where(excluded, "air bubble", ""))
    rows = [row for row in relaxivity_tables(result)["points"] if row["tube"] == 12]
    assert {(row["agent"], row["symbol"]) for row in rows} == {("B", "r1"), ("B", "r2")}
    assert {(row["used"], row["reason"]) for row in rows} == {(False, "air bubble")}
    assert rows[0]["residual_per_s"] is None
    assert "residual_per_s: the point is not on the line" in rows[0]["flags"]


def test_every_null_number_has_a_reason():
    for result in (made(replicates=1), made(rates=("R2",)), made(replicates=2)):
        for name, records in relaxivity_tables(result).items():
            for record in records:
                for key, value in record.items():
                    words = ("condition", "reason", "condition_a", "condition_b", "stars", "test")
                    if value is not None or key in words:
                        continue
                    told = tuple(flag.partition(":")[0] for flag in record["flags"])
                    # A reason for r1, say, is one for all that is null of r1.
                    assert key.lower().startswith(tuple(text.lower() for text in told)) or (
                        told[0] == "no test"
                    ), (name, key, record)


def test_an_unbounded_end_is_null_and_said():
    ends = {"r1_fold_ci95_low": 2.0, "r1_fold_ci95_high": np.inf}
    (record,) = table_records(pd.DataFrame([{"agent": "A", **ends, "flags": ""}]), "not known")
    assert paired(record) == {
        "agent": "A",
        "r1_fold_ci95": [2.0, None],
        "flags": ["r1_fold_ci95: unbounded"],
    }
