"""Published relaxivities: as published, where comparable, and rows of one's own."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from relaxometry import reference
from relaxometry.errors import InputError
from relaxometry.literature import comparable, literature

R1, R2 = "r1_per_mM_per_s", "r2_per_mM_per_s"

#: Zhou et al., Nat Commun 8:15468 (2017): r2 ± SD at 7 T, n = 3.
ZHOU = {
    "IO-5": (70.2, 5.7),
    "IO-15": (127.4, 3.4),
    "C1": (231.6, 9.3),
    "C2": (358.3, 14.2),
    "C3": (533.4, 13.2),
    "C3low": (295.8, 23.9),
    "C3high": (486.6, 18.5),
    "C4": (515.3, 18.9),
    "C5": (445.8, 24.6),
    "IO plates": (204.5, 11.4),
    "C6": (589.3, 26.8),
    "C7": (487.7, 21.5),
    "ferumoxytol": (103.4, 6.5),
}
#: Li et al., Chem Biomed Imaging (2023): r1, r2 before and after, and the field.
SMART = {
    "IONAs": ((3.2, 108.0), (5.1, 21.3), 3.0),
    "RIAs": ((5.2, 330.3), (4.3, 30.7), 3.0),
    "SPIO@SiO2@MnO2": ((1.3, 13.9), (4.6, 82.2), 3.0),
    "USPIONs@CaCO3": ((1.3, 30.0), (1.2, 4.8), None),
    "RANS": ((2.4, 92.2), (16.1, 258.6), 1.5),
}


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return literature()


@pytest.mark.parametrize("name", ZHOU)
def test_the_study_of_clusters_is_as_published(table: pd.DataFrame, name: str) -> None:
    named = f"IO cluster {name}" if name.startswith("C") else name
    rows = table[table["agent"].str.partition(" (")[0] == named]
    assert len(rows) == 1
    row = rows.iloc[0]
    assert (row[R2], row["r2_sd"]) == ZHOU[name]
    assert (row["field_T"], row["ion"]) == (7.0, "Fe")
    assert "10.1038/ncomms15468" in row["source"]


@pytest.mark.parametrize("name", SMART)
def test_smart_agents_are_as_published(table: pd.DataFrame, name: str) -> None:
    rows = table[table["agent"] == name]
    before, after, field = SMART[name]
    assert [tuple(row) for row in rows[[R1, R2]].to_numpy()] == [before, after]
    assert [text.partition(" ")[0] for text in rows["condition"]] == ["before", "after"]
    assert rows["field_T"].isna().all() if field is None else (rows["field_T"] == field).all()


def test_commercial_agents_are_said_to_be_approximate(table: pd.DataFrame) -> None:
    rows = table[table["agent"].isin(["Feridex / Endorem", "Resovist"])]
    assert rows[[R1, R2]].to_numpy().tolist() == [[24, 98], [25, 150]]
    assert rows["field_T"].isna().all()
    assert rows["remark"].str.contains("approximate").all()


def test_every_row_has_its_source_and_ion_and_a_value(table: pd.DataFrame) -> None:
    assert table["source"].str.contains(r" 10\.\d{4}").all()
    assert (table["ion"] != "").all()
    assert table[[R1, R2, "r2_r1"]].notna().any(axis=1).all()
    assert not table["own"].any()
    assert table["field_T"].dropna().between(0.1, 20).all()


def test_a_ratio_is_worked_out_and_said_to_be(table: pd.DataFrame) -> None:
    resovist = table[table["agent"] == "Resovist"].iloc[0]
    assert resovist["r2_r1"] == 6.0
    assert resovist["derived"]
    stated = table[table["agent"] == "ES-GON5-PAA"].iloc[0]
    assert stated["r2_r1"] == 1.02
    assert not stated["derived"]
    assert (table.loc[table["derived"], [R1, R2]].notna()).all(axis=None)


def test_rows_by_ion_and_field(table: pd.DataFrame) -> None:
    assert set(literature(ion="Mn")["ion"]) == {"Mn", "Fe+Mn", "Fe+Mn+Zn"}
    assert set(literature(field_T=2.89)["field_T"]) == {3.0}
    assert literature(field_T=9.4).empty
    assert len(literature(ion="Fe", field_T=7.0)) == 17 + 2  # of iron alone, and of D@HMON@FG@R2
    assert len(reference.literature()) == len(table)


def test_an_unknown_field_is_comparable_with_none(table: pd.DataFrame) -> None:
    for field in (None, float("nan"), 0.0, -3.0):
        rows, words = comparable(table, field, "Fe")
        assert rows.empty
        assert words == "iron agents at an unknown field"


def test_the_family_steps_in_where_an_ion_has_too_few(table: pd.DataFrame) -> None:
    rows, words = comparable(table, 3.0, "Mn")
    assert set(rows["ion"]) == {"Fe+Mn"}
    assert words == "agents with manganese, alone or not, at 3 T"
    rows, words = comparable(table, 7.0, "Fe")
    assert set(rows["ion"]) == {"Fe"}
    assert words == "iron agents at 7 T"


def test_a_table_of_ones_own_is_added(tmp_path: Path, table: pd.DataFrame) -> None:
    own = tmp_path / "own.csv"
    own.write_text(
        "agent,ion,field_T,r1_per_mM_per_s,r2_per_mM_per_s,source,batch\n"
        'Mine,Fe,7,2,300,"our work, 2024",4\n',
        encoding="utf-8",
    )
    both = literature(own)
    assert len(both) == len(table) + 1
    row = both.iloc[-1]
    assert (row["agent"], row["r2_r1"], row["source"]) == ("Mine", 150.0, "our work, 2024")
    assert row["own"]
    assert row["condition"] == ""
    assert both.columns.tolist() == table.columns.tolist()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("agent,ion\nA,Fe\n", "no column source"),
        ("agent,ion,source\nA,Fe,x\n", "no relaxivity"),
        ("agent,ion,source,r2_per_mM_per_s\n", "no row"),
        ("agent,ion,source,r2_per_mM_per_s\nA,Fe,x,many\n", "r2_per_mM_per_s in row 1: 'many'"),
        ("agent,ion,source,r2_r1\nA,Fe,x,-3\n", "r2_r1 in row 1: -3; expected above 0"),
        ("agent,ion,source,r2_r1\nA,Fe,x,0\n", "r2_r1 in row 1: 0; expected above 0"),
        ("agent,ion,source,r2_r1\nA,Fe,x,inf\n", "r2_r1 in row 1: 'inf'"),
        ('agent,ion,source,r2_r1\nA,Fe,x,"3,2"\n', "decimal point as a point"),
        ("agent,ion,source,r2_r1\nA,Fe,,3\n", "source in row 1: empty"),
        ("agent,ion,source,r2_r1,field_T\nA,Fe,x,3,7\nB,Fe,x,,7\n", "row 2: no relaxivity"),
        ("agent,ion,source,r2_r1,r2_per_mM_s\nA,Fe,x,3,7\n", "r2_per_mM_per_s is meant?"),
    ],
)
def test_a_bad_table_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "own.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        literature(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        literature(tmp_path / "none.csv")
