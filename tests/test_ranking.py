"""How does mine rank: counted by hand among rows that are made up."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest

import relaxometry as rx
from relaxometry.ranking import ordinal

UNIT = "per_mM_per_s"


def others(*values: float, field_T: float = 7.0, ion: str = "Fe") -> pd.DataFrame:
    table = rx.reference.literature().iloc[:0]
    rows = [
        {
            "agent": f"P{i}",
            "ion": ion,
            "condition": "",
            "field_T": field_T,
            f"r2_{UNIT}": v,
            "source": "Somebody 2020 10.1000/x",
        }
        for i, v in enumerate(values, start=1)
    ]
    return pd.DataFrame(rows, columns=table.columns)


def mine(value: float, low: float = math.nan, high: float = math.nan, **more: Any) -> pd.DataFrame:
    row = {"agent": "A", "condition": "", f"r2_{UNIT}": value, **more}
    return pd.DataFrame([row | {f"r2_ci95_low_{UNIT}": low, f"r2_ci95_high_{UNIT}": high}])


def test_rank_among_four() -> None:
    (row,) = rx.rank(mine(250, 180, 320), 7.0, "Fe", others(100, 200, 300, 400)).to_dict("records")
    assert (row["rank"], row["rank_best"], row["rank_worst"]) == (3, 2, 4)
    assert (row["n_published"], row["n_other_field"], row["n_unknown_field"]) == (4, 0, 0)
    assert (row["nearest"], row["nearest_value"]) == ("P3", 300)  # 300/250 < 250/200
    assert row["words"] == (
        "r2 = 250 ranks 3rd (2nd to 4th within its 95 % interval) of 5 values of iron "
        "agents at 7 T, highest first, itself included; nearest: P3 (300, Somebody 2020)"
    )


def test_without_an_interval_there_is_one_rank() -> None:
    (row,) = rx.rank(mine(1000), 7.0, "Fe", others(100, 200, 300)).to_dict("records")
    assert row["rank"] == 1
    assert pd.isna(row["rank_best"])
    assert "ranks 1st of 4" in row["words"]


def test_other_and_unknown_fields_are_counted_and_not_compared() -> None:
    rows = [others(1, 2, 3), others(9000, 9001, field_T=9.4), others(9002, field_T=math.nan)]
    among = pd.concat(rows, ignore_index=True)
    (row,) = rx.rank(mine(2.5), 7.0, "Fe", among).to_dict("records")
    assert (row["rank"], row["n_published"]) == (2, 3)
    assert (row["n_other_field"], row["n_unknown_field"]) == (2, 1)


def test_too_few_are_no_ranking() -> None:
    (row,) = rx.rank(mine(250), 7.0, "Fe", others(100, 200)).to_dict("records")
    assert pd.isna(row["rank"])
    assert row["words"] == (
        "r2 = 250: too few to rank, 2 published values of iron agents at 7 T: "
        "P2 (200, Somebody 2020)"
    )
    (row,) = rx.rank(mine(250), 9.4, "Gd", others(100, 200)).to_dict("records")
    assert row["words"] == (
        "r2 = 250: too few to rank, no published values of gadolinium agents at 9.4 T"
    )


def test_an_unstated_field_is_not_ranked() -> None:
    (row,) = rx.rank(mine(250), None, "Fe", others(100, 200, 300)).to_dict("records")
    assert pd.isna(row["rank"])
    assert "not ranked, the field is not stated" in row["words"]


def test_the_field_is_that_of_the_row_where_none_is_given() -> None:
    table = pd.concat([mine(250, field_T=7.0), mine(250, field_T=3.0)])
    ranked = rx.rank(table, ion="Fe", literature=others(100, 200, 300))
    assert ranked["n_published"].tolist() == [3, 0]
    assert ranked["field_T"].tolist() == [7.0, 3.0]


def test_what_is_not_determined_is_not_ranked() -> None:
    (row,) = rx.rank(mine(math.nan), 7.0, "Fe", others(1, 2, 3)).to_dict("records")
    assert pd.isna(row["rank"])
    assert row["words"] == "r2 not determined: not ranked"


def test_any_ion_is_said_to_be() -> None:
    among = pd.concat([others(1, 2), others(3, ion="Gd")], ignore_index=True)
    (row,) = rx.rank(mine(2.5), 7.0, None, among).to_dict("records")
    assert "ranks 2nd of 4 values of agents of any ion at 7 T" in row["words"]


def test_the_study_among_published_agents() -> None:
    table = pd.DataFrame(
        {
            "agent": ["C3"],
            "condition": [""],
            f"r1_{UNIT}": [1.5],
            f"r2_{UNIT}": [530.0],
            "r2_r1": [353.0],
        }
    )
    r1, r2, ratio = rx.rank(table, 7.0, "Fe").to_dict("records")
    assert (r2["rank"], r2["n_published"]) == (3, 15)  # below IO clusters C6 and C3
    assert r2["nearest"] == "IO cluster C3"
    assert (r1["symbol"], ratio["symbol"], ratio["rank"]) == ("r1", "r2_r1", 1)


def test_replicates_rank_by_their_mean_and_mixed_interval() -> None:
    rows = [
        {"agent": "A", "replicate": n, "concentration_mM": c, "R2_per_s": 9 + r2 * c + e}
        for n, r2 in ((1, 80.0), (2, 100.0), (3, 120.0))
        for c, e in ((0.0, 0.02), (0.1, -0.03), (0.2, 0.01), (0.4, 0.01))
    ]
    table = rx.relaxivity(pd.DataFrame(rows))
    (row,) = rx.rank(table, 7.0, "Fe", others(60, 90, 110, 140)).to_dict("records")
    (summary,) = table.replicate_summary.to_dict("records")
    assert row["value"] == pytest.approx(100, rel=0.01)
    assert row["ci95_low"] == summary[f"r2_mixed_ci95_low_{UNIT}"] < 80
    assert (row["rank"], row["rank_best"], row["rank_worst"]) == (3, 1, 5)
    assert "mean of 3 replicates) ranks 3rd" in row["words"]


@pytest.mark.parametrize(
    ("low", "high", "kind", "why"),
    [
        (2.0, math.inf, "T2 agent", "unbounded"),
        (math.nan, math.nan, "T2 agent, interval unknown", "not known"),
        (-1.0, 40.0, "T2 agent", "reaches below 0"),
        (2.0, 40.0, "not determined", "r1 or r2 may be 0"),
    ],
)
def test_a_ratio_that_says_nothing_is_not_ranked(
    low: float, high: float, kind: str, why: str
) -> None:
    row = {"agent": "A", "condition": "", "class": kind, "r2_r1": 20.0}
    table = pd.DataFrame([row | {"r2_r1_ci95_low": low, "r2_r1_ci95_high": high}])
    (ranked,) = rx.rank(table, 7.0, "Fe", others(1, 2, 3).assign(r2_r1=5.0)).to_dict("records")
    assert pd.isna(ranked["rank"])
    assert "not ranked" in ranked["words"]
    assert why in ranked["words"]


def test_a_negative_value_is_not_ranked() -> None:
    (row,) = rx.rank(mine(-2.0), 7.0, "Fe", others(1, 2, 3)).to_dict("records")
    assert row["words"] == "r2 = −2: not ranked, it is not above 0"


@pytest.mark.parametrize(
    ("ion", "name"),
    [(i, "iron") for i in ("Fe", "fe", "Fe3+", "Fe(III)", "fe(III)", "iron", "Iron")]
    + [(i, "gadolinium") for i in ("Gd3+", "gadolinium", "GD")],
)
def test_an_ion_may_be_spelled_in_any_way(ion: str, name: str) -> None:
    among = pd.concat([others(1, 2, 3), others(4, 5, 6, ion="Gd(III)")], ignore_index=True)
    (row,) = rx.rank(mine(2.5), 7.0, ion, among).to_dict("records")
    assert row["n_published"] == 3
    assert f"of 4 values of {name} agents at 7 T" in row["words"]
    shipped = rx.reference.literature(ion={"iron": "Fe", "gadolinium": "Gd"}[name])
    assert len(rx.reference.literature(ion=ion)) == len(shipped) > 0


def test_ions_together_are_not_charges() -> None:
    both = rx.reference.literature(ion="Fe+Mn")
    assert len(both) > 0
    assert len(rx.reference.literature(ion="Fe3+ + Mn2+")) == len(both)


@pytest.mark.parametrize(
    ("n", "text"), [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (22, "22nd")]
)
def test_ordinals(n: int, text: str) -> None:
    assert ordinal(n) == text
