"""The sheet of tubes as people save it: what is meant, or one line with file, tube and column."""

from __future__ import annotations

import numpy as np
import pytest

from relaxometry import InputError
from relaxometry.sheet import read_sheet

HEADER = "tube,agent,concentration_mM"


@pytest.fixture
def sheet(tmp_path):
    def write(*lines, encoding="utf-8", header=HEADER):
        path = tmp_path / "tubes.csv"
        path.write_bytes("\n".join((header, *lines)).encode(encoding))
        return path

    return write


def rows(path):
    return read_sheet(path).to_dict("records")


def test_all_columns(sheet):
    path = sheet(
        "1,C3,acid,2,0.4,0.01,,",
        "2,,,,0,,no,",
        '3,blank,,,0,,yes,"a bubble, large"',
        header="tube,agent,condition,replicate,concentration_mM,concentration_sd_mM,exclude,reason",
    )
    first, second, third = rows(path)
    assert first == {
        "tube": 1,
        "agent": "C3",
        "condition": "acid",
        "replicate": 2,
        "concentration_mM": 0.4,
        "concentration_sd_mM": 0.01,
        "exclude": False,
        "reason": "",
    }
    assert (second["agent"], second["replicate"], second["exclude"]) == ("", 0, False)  # shared
    assert np.isnan(second["concentration_sd_mM"])
    assert (third["exclude"], third["reason"]) == (True, "a bubble, large")


@pytest.mark.parametrize(
    "lines",
    [
        ["1,C3,0.4", "2,blank,0"],
        ["", "1,C3,0.4", "", "  ,, ", "2,blank,0", ""],  # blank lines
        [" 1 , C3 ,  0.4", "2,blank ,0 "],  # spaces
        ["1,C3,0.4,", "2,blank,0,,"],  # commas at the end of a row
        ['"1","C3","0.4"', '2,"blank",0'],  # quotes
        ["1,C3,4e-1\r", "2,blank,0\r"],  # as Windows ends lines
        ["1.0,C3,.4", "2,blank,0.0"],
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])  # Excel writes a BOM
def test_ways_to_write_the_same(sheet, lines, encoding):
    found = read_sheet(sheet(*lines, encoding=encoding))
    assert list(found["tube"]) == [1, 2]
    assert list(found["agent"]) == ["C3", "blank"]
    assert list(found["concentration_mM"]) == [0.4, 0]


@pytest.mark.parametrize(
    "column", [" tube ,agent, concentration_mM", HEADER + ",", HEADER + ",note"]
)
def test_ways_to_write_the_header(sheet, column):
    assert rows(sheet("1,C3,0.4", header=column))[0]["concentration_mM"] == 0.4


@pytest.mark.parametrize(
    ("said", "meant"),
    [(said, True) for said in ("yes", "YES", "true", "x", "1")]
    + [(said, False) for said in ("no", "False", "0", "")],
)
def test_words_for_exclude(sheet, said, meant):
    assert rows(sheet(f"1,C3,0.4,{said}", header=HEADER + ",exclude"))[0]["exclude"] is meant


def test_an_excluded_tube_may_lack_what_it_is(sheet):
    path = sheet("1,C3,0.4,", "2,,,yes", "3,,0.2,yes", header=HEADER + ",exclude")
    assert [row["exclude"] for row in rows(path)] == [False, True, True]


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        (["1,C3,a lot"], "concentration_mM of tube 1: 'a lot'; expected a number"),
        (["1,C3,0.4 mM"], "concentration_mM of tube 1: '0.4 mM'"),
        (["1,C3,0.4", '2,C3,"0,2"'], "concentration_mM of tube 2: '0,2'.*decimal point as a point"),
        (["1,C3,0,4", "2,C3,0,2"], "line 2 has 4 fields, the header 3; .*decimal point"),
        (["1,C3,0.4", "2,C3,0,2"], "line 3 has 4 fields, the header 3"),
        (["1,C3,nan"], "concentration_mM of tube 1: no concentration"),
        (["1,C3,inf"], "concentration_mM of tube 1: 'inf'"),
        (["1,C3,-0.1"], "concentration_mM of tube 1: -0.1 mM; expected ≥ 0"),
        (["1,C3,"], "concentration_mM of tube 1: no concentration; .*exclude = yes"),
        (["1,C3"], "concentration_mM of tube 1: no concentration"),
        (["5,,0.4"], "agent of tube 5: no agent"),
        (["1,C3,0.4", "1,C3,0.2"], "tube: tube 1 is listed twice"),
        (["one,C3,0.4"], "tube in row 1: 'one'"),
        (["1.5,C3,0.4"], "tube in row 1: '1.5'; expected a whole number from 1"),
        (["0,C3,0.4"], "tube in row 1: '0'"),
        (["-3,C3,0.4"], "tube in row 1: '-3'"),
        (["1,C3,0.4", ",C3,0.2"], "tube in row 2: ''"),
        ([], "no tube in the sheet"),
        (['1,"C3,0.4', "2,C3,0.2"], "not a CSV table"),
    ],
)
def test_rows_that_cannot_be_right(sheet, lines, complaint):
    path = sheet(*lines)
    with pytest.raises(InputError, match=complaint) as error:
        read_sheet(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("column", "value", "complaint"),
    [
        ("concentration_sd_mM", "-1", "concentration_sd_mM of tube 4: -1 mM"),
        ("concentration_sd_mM", "5 %", "concentration_sd_mM of tube 4: '5 %'"),
        ("replicate", "A", "replicate of tube 4: 'A'; expected a number"),
        ("replicate", "0", "replicate of tube 4: '0'"),
        ("exclude", "maybe", "exclude of tube 4: 'maybe'; expected yes or no"),
    ],
)
def test_cells_of_other_columns(sheet, column, value, complaint):
    with pytest.raises(InputError, match=complaint):
        read_sheet(sheet(f"4,C3,0.4,{value}", header=f"{HEADER},{column}"))


@pytest.mark.parametrize(
    ("header", "complaint"),
    [
        ("tube,agent", "no column concentration_mM, there are: tube, agent"),
        ("tube|agent|concentration_mM", "no column tube, .*expected columns divided by commas"),
        ("Tube,agent,concentration_mM", "Tube: no such column; tube is meant"),
        ("1,C3,0.4", "no column tube"),
        ("", "no column tube"),
        (HEADER + ",concentration_mM", "concentration_mM: two columns of this name"),
    ],
)
def test_headers_that_cannot_be_right(sheet, header, complaint):
    path = sheet(header=header)
    with pytest.raises(InputError, match=complaint) as error:
        read_sheet(path)
    assert str(error.value).startswith(f"{path}: ")


def test_what_is_no_sheet(sheet, tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_sheet(tmp_path / "none.csv")
    with pytest.raises(InputError, match="not a CSV table"):
        read_sheet(tmp_path)
    with pytest.raises(InputError, match="not a CSV table"):
        read_sheet(sheet("1,C3,0.4", encoding="utf-16-le"))  # without its mark


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
@pytest.mark.parametrize("divider", [",", ";", "\t"])
def test_encodings_and_dividers_of_spreadsheets(sheet, encoding, divider):
    lines = [line.replace(",", divider) for line in (HEADER, "1,5 µm,0.4", "2,,0")]
    (first, _) = rows(sheet(*lines[1:], header=lines[0], encoding=encoding))
    assert (first["agent"], first["concentration_mM"]) == ("5 µm", 0.4)


def test_a_slip_in_a_column_name_is_said_and_a_comment_is_not(sheet):
    said = sheet("1,C3,0.4,yes", header=f"{HEADER},excluded")
    with pytest.raises(InputError, match=r"tubes.csv: excluded: no such column; exclude is meant"):
        read_sheet(said)
    assert len(read_sheet(sheet("1,C3,0.4,from Monday", header=f"{HEADER},comment"))) == 1
