"""Tables as people make them: read, with what is said of them, or one line that mends them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import relaxometry as rx
from relaxometry.cli import run
from relaxometry.columns import SHEET, TABLE, check_columns
from relaxometry.csvtable import read_csv
from relaxometry.rates import RELATIVE_FLOOR, doubts_of, points_of
from relaxometry.results import tube_records
from relaxometry.settings import StudyFacts
from relaxometry.study import analyse

HEADER = "agent,concentration_mM,R1_per_s,R2_per_s"
ROWS = ("A,0.4,2.0,49.0", "A,0.2,1.2,29.0", "A,0.1,0.8,19.0", "blank,0,0.4,9.0")
STATED = StudyFacts("", 7.0, 22.0, "water", "Fe")


@pytest.fixture
def saved(tmp_path):
    """A table as a file, from lines or bytes."""

    def write(*lines, content=None, encoding="utf-8", name="table.csv"):
        path = tmp_path / name
        path.write_bytes("\n".join(lines).encode(encoding) if content is None else content)
        return path

    return write


@pytest.fixture
def refused(tmp_path, capsys):
    """What the library and the command say of a table: the same line, and nothing is written."""

    def say(path, *options):
        with pytest.raises(rx.InputError) as error:
            rx.analyse_table(path)
        told = str(error.value)
        assert run(["relaxivity", str(path), "-o", str(tmp_path / "out"), *options]) == 3
        assert capsys.readouterr().err == f"error: {told}\n"
        assert "\n" not in told
        assert told.startswith(f"{path}: ")
        assert not (tmp_path / "out").exists()
        return told

    return say


def frame(header=HEADER, rows=ROWS, **columns):
    cells = [row.split(",") for row in rows]
    return pd.DataFrame(cells, columns=header.split(",")).assign(**columns)


def same_lines(result):
    lines = result.relaxivity["A"]
    found = [lines[s].r.value for s in ("r1", "r2")] + [lines[s].R0.value for s in ("r1", "r2")]
    np.testing.assert_allclose(found, [4, 100, 0.4, 9], rtol=1e-9)
    return result


def german(line):
    return line.replace(",", ";").replace(".", ",")


class TestFiles:
    @pytest.mark.parametrize(
        "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252", "mac-roman"]
    )
    def test_encodings(self, saved, encoding):
        lines = [f"{HEADER},note", *(f"{row},5 µm" for row in ROWS)]
        content = "\n".join(lines).encode(encoding)
        if encoding == "utf-16-le":
            content = b"\xff\xfe" + content
        result = same_lines(rx.analyse_table(saved(content=content), STATED))
        told = ["Windows-1252" in warning for warning in result.warnings]
        assert told == ([True] if encoding in ("cp1252", "mac-roman") else [])

    def test_letters_of_excel_arrive(self, saved):
        lines = [HEADER, *ROWS]
        path = saved(*(line.replace("A,", "Dotarem® µ,") for line in lines), encoding="cp1252")
        assert list(rx.analyse_table(path).relaxivity) == [("Dotarem® µ", "")]

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    def test_ends_of_lines_empty_rows_and_spaces(self, saved, end):
        lines = ["", f" {HEADER} ,,", ",,,,", *(row.replace(",", " , ") for row in ROWS), "", ",,,"]
        same_lines(rx.analyse_table(saved(content=end.join(lines).encode())))

    @pytest.mark.parametrize("divider", [";", "\t"])
    @pytest.mark.parametrize("first", ["", "sep=%s\n"])
    def test_semicolons_and_tabs_with_points(self, saved, divider, first):
        first = first % divider if first else ""
        content = first + "\n".join(line.replace(",", divider) for line in (HEADER, *ROWS))
        result = same_lines(rx.analyse_table(saved(content=content.encode()), STATED))
        assert result.warnings == ()

    @pytest.mark.parametrize("divider", [";", "\t"])
    def test_decimal_commas_are_read_and_said(self, saved, divider):
        lines = (german(line).replace(";", divider) for line in (HEADER, *ROWS))
        result = same_lines(rx.analyse_table(saved(*lines), STATED))
        assert result.warnings == ("decimal commas are read as decimal points: '0,4' as 0.4",)

    def test_texts_keep_their_commas(self, saved):
        lines = [german(line) for line in (HEADER, *ROWS)]
        lines = [f"{lines[0]};condition", *(f"{line};7,4" for line in lines[1:])]
        assert list(rx.analyse_table(saved(*lines)).relaxivity) == [("A", "7,4")]

    def test_thousands_cannot_be_told_from_decimals(self, saved, refused):
        path = saved("agent;concentration_mM;T1_ms", "A;1;1,234", "A;2;2,345")
        assert "'1,234' in line 2 may be 1.234 or 1234; write the decimal" in refused(path)
        clear = saved("agent;concentration_mM;T1_ms", "A;0,5;1,234", "A;2;2345")  # 0,5 tells
        assert "T1_ms" not in str(read_csv(clear).notes)
        assert read_csv(clear).table.loc[0, "T1_ms"] == "1.234"

    @pytest.mark.parametrize(
        ("lines", "complaint"),
        [
            ([HEADER, "A,0,4,2,0,49,0"], "line 2 has 7 fields, the header 4; .*point as a point"),
            ([HEADER, 'A,"0,4",2,49'], "concentration_mM of row 1: '0,4'; .*point as a point"),
            ([HEADER, 'A,0.4,2,"4,9"', ROWS[1]], "R2_per_s of row 1: '4,9'; .*point as a point"),
            (["agent;concentration_mM;T2_ms", "A;0,4;20.5"], "'0,4' in line 2 and '20.5' in l"),
            (["agent;concentration_mM;T2_ms", "A;1.000,5;20"], "'1.000,5'"),
            ([HEADER, "A,0.4 mM,2,49", *ROWS[1:]], "'0.4 mM'; .*number alone: its unit is in"),
            ([HEADER, "A,0.4,2.0 ± 0.1,49"], "R1_per_s of row 1: '2.0 ± 0.1'.*number alone"),
            ([HEADER, "A,0.4,2.0,<49"], "R2_per_s of row 1: '<49'; expected a number"),
            ([HEADER, "A,−0.4,2.0,49"], "'−0.4'; expected a number; write minus as -"),
            ([HEADER, "A,0.4,2.0,1_0"], "R2_per_s of row 1: '1_0'"),
            ([HEADER, "A,1. Mai,2.0,49"], "mM of row 1: '1. Mai'; .*has made a date of it"),
            ([HEADER, "A,0.4,Jan 05,49"], "R1_per_s of row 1: 'Jan 05'; .*has made a date of it"),
            ([HEADER, "A,0.4,0.002,0.049"], "R1 of tube 1: 0.002 s⁻¹; expected R1 in s⁻¹"),
            ([HEADER, "A,inf,2.0,49"], "concentration_mM of row 1: 'inf'"),
            ([HEADER, "A,-0.4,2.0,49"], "concentration_mM of row 1: -0.4 mM; expected ≥ 0"),
            ([HEADER, "A,,2.0,49", ROWS[1]], "row 1 has no concentration; .*0 for a blank"),
            ([HEADER, "A,0.4,-2.0,49"], "R1 of tube 1: -2 s⁻¹; expected above 0"),
            ([HEADER], "no row in the table"),
            ([HEADER, *["A,0.4,2,49", "A,0.4,2.1,50"]], "rates known at 1 concentration"),
            ([HEADER, *["blank,0,0.4,9"] * 2], "no agent in the table"),
            ([HEADER + ",R1_per_s", ROWS[0] + ",1"], "R1_per_s: two columns of this name"),
            (["agent|concentration_mM", "A|0.4"], r"no column agent, there are: agent\|conc"),
            (["sep=|", HEADER], r"columns divided by '\|'; expected commas"),
            (["agent,concentration_mM", "A,0.4"], "no rates or times; expected a column R1_per_s"),
            ([""], "no column agent"),
        ],
    )  # fmt: skip
    def test_that_cannot_be_right(self, saved, refused, lines, complaint):
        assert re.search(complaint, refused(saved(*lines)))

    @pytest.mark.parametrize(
        ("content", "complaint"),
        [
            (b"PK\x03\x04rest", "a spreadsheet (.xlsx, .ods), not a CSV table; save it as CSV"),
            (b"\xd0\xcf\x11\xe0rest", "a spreadsheet (.xls), not a CSV table; save it as CSV"),
            (b"%PDF-1.7", "a PDF, not a CSV table"),
            (HEADER.encode("utf-16-le"), "it is not text"),  # without its mark
            (bytes(range(256)), "it is not text"),
            (b"agent,T2_ms\n\x81\x8d,1", "not a CSV table"),  # in no encoding of Excel
        ],
    )
    def test_other_files(self, saved, refused, content, complaint):
        assert complaint in refused(saved(content=content))

    def test_a_workbook_by_its_own_name(self, saved, refused):
        assert "save it as CSV" in refused(saved(content=b"PK\x03\x04", name="table.xlsx"))

    def test_a_folder_and_nothing(self, tmp_path, refused):
        assert "not a CSV table" in refused(tmp_path)
        assert "no such file" in refused(tmp_path / "none.csv")


class TestNames:
    @pytest.mark.parametrize(
        ("written", "meant"),
        [
            ("R2 (1/s)", "R2_per_s"),
            ("R2 [s-1]", "R2_per_s"),
            ("R2 (s⁻¹)", "R2_per_s"),
            ("R2 (s^-1)", "R2_per_s"),
            ("r2_per_s", "R2_per_s"),
            ("R2_Per_S", "R2_per_s"),
            ("R2 per s", "R2_per_s"),
            ("T2 (ms)", "T2_ms"),
            ("T2[ms]", "T2_ms"),
            ("t2_ms", "T2_ms"),
            ("T2 sec", "T2_s"),
            ("T2_se_ms", "T2_stderr_ms"),
            ("T2 SD (ms)", "T2_sd_ms"),
            ("R2_error_per_s", "R2_stderr_per_s"),
            ("Concentration (mM)", "concentration_mM"),
            ("conc_mM", "concentration_mM"),
            ("c (mmol/L)", "concentration_mM"),
            ("[Fe] (mM)", "concentration_mM"),
            ("Fe (µg/mL)", "concentration_ug_per_mL"),
            ("concentration_µM", "concentration_uM"),
            ("Concentration of Gd (mg/mL)", "concentration_mg_per_mL"),
            ("concentrationmM", "concentration_mM"),
            ("Agent", "agent"),
            ("conditions", "condition"),
            ("replicates", "replicate"),
            ("excluded", "exclude"),
            ("temperature (°C)", "temperature_C"),
            ("field (T)", "field_T"),
            ("B0 (T)", "field_T"),
            ("stock_sd_mM", "stock_sd_percent"),
            ("stock SD (%)", "stock_sd_percent"),
            ("dilution", "dilution_factor"),
            ("n voxels", "n_voxels"),
        ],
    )
    def test_what_is_meant(self, written, meant):
        with pytest.raises(rx.InputError) as error:
            check_columns(["tube", written], TABLE)
        assert str(error.value) == f"{written}: no such column; {meant} is meant?"

    @pytest.mark.parametrize(
        ("written", "meant"),
        [
            ("T1", "T1_s or T1_ms"),
            ("T2", "T2_s or T2_ms"),
            ("R2", "R2_per_s"),
            ("r2", "R2_per_s"),
            ("T2_stderr", "T2_stderr_s or T2_stderr_ms"),
            ("temperature", "temperature_C"),
            ("field", "field_T"),
            ("molar_mass", "molar_mass_g_per_mol"),
        ],
    )
    def test_a_unit_is_missing(self, written, meant):
        with pytest.raises(rx.InputError) as error:
            check_columns(["tube", written], TABLE)
        assert str(error.value) == f"{written}: a column without a unit; {meant} is meant?"

    @pytest.mark.parametrize("written", ["concentration", "Concentration", "conc.", "c", "[Fe]"])
    def test_a_concentration_without_a_unit(self, written, saved, refused):
        told = refused(saved(HEADER.replace("concentration_mM", written), *ROWS))
        if written == "[Fe]":  # may as well be a note
            assert "no column concentration_mM" in told
        else:
            assert f"{written}: a column without a unit; concentration_mM or" in told

    @pytest.mark.parametrize(
        "column",
        [
            *("note", "comment", "date", "pH", "sample", "batch", "operator", "size_nm", "zeta_mV"),
            *("x_mm", "V (mL)", "TE_ms", "TI_ms", "TR_ms", "T2star_ms", "T1rho_ms", "R2star_per_s"),
            *("concentration_nominal_mM", "concentration_icp_mM", "r2_r1", "S0", ""),
        ],
    )
    def test_a_comment_is_welcome(self, column):
        check_columns(["tube", "concentration_mM", column], TABLE)
        check_columns(["tube", "concentration_mM", column], SHEET)

    def test_every_known_name_is_itself(self):
        for known in (SHEET, TABLE):
            check_columns(known, known)

    def test_one_thing_under_two_names(self):
        with pytest.raises(rx.InputError, match=r"R2 \(1/s\): and R2_per_s say the same"):
            rx.relaxivity(frame().assign(**{"R2 (1/s)": 1.0}))

    def test_a_time_without_a_unit_beside_its_rate_is_a_comment(self):
        assert rx.relaxivity(frame(T2=0.1))["A"]["r2"].r.value == pytest.approx(100)

    def test_frames_too(self):
        with pytest.raises(rx.InputError, match="T2: a column without a unit; T2_s or T2_ms"):
            rx.relaxivity(frame()[["agent", "concentration_mM"]].assign(T2=[20, 34, 52, 110]))

    def test_in_a_file(self, saved, refused):
        told = refused(saved(HEADER.replace("R2_per_s", "R2 (1/s)"), *ROWS))
        assert told.endswith("R2 (1/s): no such column; R2_per_s is meant?")


class TestUnits:
    @pytest.mark.parametrize(
        ("column", "values"),
        [("T1_ms", [0.5, 0.83, 1.25, 2.5]), ("T2_ms", [0.02, 0.05, 0.11, 1.9])],
    )
    def test_seconds_in_a_column_of_milliseconds(self, column, values):
        made = frame()[["agent", "concentration_mM"]].assign(**{column: values})
        with pytest.raises(rx.InputError, match=f"{column}: the longest is .* ms; .*these are sec"):
            rx.relaxivity(made)
        seconds = made.rename(columns={column: column.replace("_ms", "_s")})
        assert len(rx.relaxivity(seconds)) == 1

    def test_milliseconds_in_a_column_of_seconds(self):
        made = frame()[["agent", "concentration_mM"]].assign(T1_s=[500, 830, 1250, 2500])
        with pytest.raises(rx.InputError, match="T1_s: 2500 s is too long; expected T1 in s"):
            rx.relaxivity(made)

    def test_short_times_may_be_stated_in_seconds(self):
        made = frame()[["agent", "concentration_mM"]].assign(T2_s=[5e-4, 8e-4, 1e-3, 2e-3])
        assert rx.relaxivity(made)["A"]["r2"].n == 4


class TestErrorsOfRates:
    def test_a_standard_deviation_of_n_measurements(self):
        """SD/√n, and in quadrature the 1 % that no method betters."""
        line = rx.relaxivity(frame(R2_sd_per_s=2.0, n=4))["A"]["r2"]
        assert line.method == "weighted"
        np.testing.assert_allclose(line.sigma, np.hypot(1.0, RELATIVE_FLOOR * line.rate))

    def test_of_times(self):
        made = frame()[["agent", "concentration_mM"]]
        T2 = 1e3 / np.array([49, 29, 19, 9.0])
        line = rx.relaxivity(made.assign(T2_ms=T2, T2_sd_ms=0.06 * T2, n=9))["A"]["r2"]
        np.testing.assert_allclose(line.sigma, np.hypot(0.02, RELATIVE_FLOOR) * line.rate)

    def test_of_an_unknown_number_is_not_used_and_said(self):
        result = rx.relaxivity(frame(R2_sd_per_s=2.0))
        assert result["A"]["r2"].method == "ordinary"
        assert result.warnings == (
            "R2_sd_per_s is not used: of how many measurements, a column n would say",
        )


class TestRows:
    def test_a_tube_listed_twice(self, saved, refused):
        lines = [f"tube,{HEADER}", *(f"{i},{row}" for i, row in enumerate(ROWS, 1)), f"2,{ROWS[1]}"]
        assert "tube: tube 2 is listed twice; expected one row per tube" in refused(saved(*lines))

    @pytest.mark.parametrize(
        "differs",
        [
            {"replicate": [1, 1, 1, 1, 2, 2, 2, 2]},
            {"condition": ["before"] * 4 + ["after"] * 4},
            {"field_T": [1.5] * 4 + [7] * 4},
            {"temperature_C": [20] * 4 + [37] * 4},
            {"medium": ["water"] * 4 + ["plasma"] * 4},
            {"agent": ["A", "A", "A", "blank", "B", "B", "B", "control"]},
        ],
    )
    def test_the_same_numbers_in_another_setting(self, differs):
        twice = pd.concat([frame(tube=range(1, 5))] * 2).assign(**differs)
        assert len(points_of(twice)) == 8

    def test_a_tube_left_out_may_be_listed_again(self):
        again = frame(tube=range(1, 5)).iloc[:1].assign(exclude="yes", reason="bubble")
        made = pd.concat([frame(tube=range(1, 5), exclude="no", reason=""), again])
        assert rx.relaxivity(made)["A"]["r2"].n == 4

    def test_a_number_under_two_agents_is_said(self):
        made = pd.concat([frame(tube=range(1, 5)), frame(tube=[1, 5, 6, 7]).replace("A", "B")])
        (warning,) = rx.relaxivity(made).warnings
        assert warning == "tube 1 of several agents: taken for different tubes"

    def test_rows_alike_are_said(self):
        (warning,) = rx.relaxivity(frame(rows=(*ROWS, ROWS[1]))).warnings
        assert warning == "rows 2, 5 are alike and all counted: copies?"
        apart = frame(rows=(*ROWS, ROWS[1]), replicate=[1, 1, 1, 1, 2])
        assert not any("alike" in text for text in rx.relaxivity(apart).warnings)

    @pytest.mark.parametrize("rows", [ROWS[:2], (ROWS[0], ROWS[3])])
    def test_two_points_are_said(self, rows, saved):
        told = "A: nothing checks a line through two points"
        assert told in rx.relaxivity(frame(rows=rows)).warnings
        result = rx.analyse_table(saved(HEADER, *rows))
        assert told in result.warnings
        assert np.isnan(result.relaxivity["A"]["r2"].r.stderr)

    def test_two_points_at_each_of_two_fields(self):
        made = pd.concat([frame(rows=ROWS[:2], field_T=1.5), frame(rows=ROWS[:2], field_T=7)])
        (told,) = [w for w in doubts_of(made, points_of(made)) if "two points" in w]
        assert told.startswith("A: ")
        blank = pd.concat([made, frame(rows=ROWS[3:])])
        assert doubts_of(blank, points_of(blank)) == []

    def test_replicates(self):
        """A blank that states none belongs to all of them: 0."""
        points = points_of(frame(replicate=["1", "2", "2", ""]))
        assert list(points["replicate"]) == [1, 2, 2, 0]
        assert list(points_of(frame())["replicate"]) == [1, 1, 1, 0]
        assert list(points_of(frame(replicate=["1", "2", "2", "2"]))["replicate"]) == [1, 2, 2, 2]

    @pytest.mark.parametrize(
        ("said", "complaint"),
        [
            ({"replicate": ["A", "1", "1", ""]}, "replicate of row 1: 'A'; expected a number"),
            ({"replicate": ["0", "1", "1", ""]}, "replicate of row 1: '0'; .*whole number from 1"),
            ({"replicate": ["1.5", "1", "1", ""]}, "replicate of row 1: '1.5'"),
            ({"field_T": 0}, "field_T of row 1: 0; expected above 0 T"),
            ({"field_T": "7 T"}, "field_T of row 1: '7 T'.*number alone"),
            ({"temperature_C": "warm"}, "temperature_C of row 1: 'warm'"),
            ({"exclude": "maybe"}, "exclude of row 1: 'maybe'; expected yes or no"),
        ],
    )
    def test_cells_that_cannot_be_right(self, said, complaint):
        with pytest.raises(rx.InputError, match=complaint):
            rx.relaxivity(frame(**said))

    @pytest.mark.parametrize(
        ("given", "complaint"),
        [
            ("table.csv", r"not a table \(str\); .*DataFrame; .* relaxometry\.analyse_table"),
            (frame()["R2_per_s"], r"not a table \(Series\)"),
            (frame().rename(columns={"R1_per_s": "R2_per_s"}), "R2_per_s: two columns of this"),
            (frame(concentration_mM=pd.Timestamp("2026-05-01")), "'2026-05-01 .*made a date of it"),
            (frame().set_index("agent"), "no column agent; there are"),
            (pd.DataFrame(), "no column agent"),
        ],
    )
    def test_what_is_no_such_table(self, given, complaint):
        with pytest.raises(rx.InputError, match=complaint):
            rx.relaxivity(given)

    @pytest.mark.parametrize("kind", ["float32", "Float64", "str", "object", "category"])
    def test_types_of_columns(self, kind):
        made = frame().astype({"concentration_mM": kind, "R2_per_s": kind})
        assert rx.relaxivity(made)["A"]["r2"].r.value == pytest.approx(100)

    def test_what_the_rows_say_is_carried(self):
        said = {"field_T": 7, "temperature_C": "37", "medium": "plasma", "ion": ["Fe"] * 3 + [""]}
        points = points_of(frame(**said))
        assert set(points["field_T"]) == {7.0}
        assert set(points["temperature_C"]) == {37.0}
        assert set(points["medium"]) == {"plasma"}
        assert list(points["ion"]) == ["Fe", "Fe", "Fe", ""]
        plain = points_of(frame())
        assert plain[["field_T", "temperature_C"]].isna().all(axis=None)
        assert set(plain["medium"]) == set(plain["ion"]) == {""}


class TestFacts:
    def test_from_the_rows(self, saved):
        lines = [f"{HEADER},ion,field_T,temperature_C,medium"]
        lines += [f"{row},Fe,7,22.5,1 % agarose" for row in ROWS[:3]] + [f"{ROWS[3]},,,,"]
        result = rx.analyse_table(saved(*lines), StudyFacts("Mine"))
        assert result.facts == StudyFacts("Mine", 7.0, 22.5, "1 % agarose", "Fe")
        assert result.warnings == ()

    def test_options_and_rows_may_agree(self):
        made = frame(field_T=3, ion="Fe", medium="water")
        facts = StudyFacts("", 2.89, 20.0, "water", "Fe")  # sold as 3 T
        assert rx.analyse_table(made, facts).facts == facts

    @pytest.mark.parametrize(
        ("column", "value", "said"),
        [
            ("field_T", 1.5, "1.5 in the table, but 7"),
            ("temperature_C", 37, "37.0 in the table, but 22.0"),
            ("medium", "plasma", "plasma in the table, but water"),
            ("ion", "Gd", "Gd in the table, but Fe"),
        ],
    )
    def test_a_contradiction(self, column, value, said):
        with pytest.raises(rx.InputError, match=f"{column}: {said}"):
            rx.analyse_table(frame(**{column: value}), STATED)

    def test_several_fields_are_stated_though_not_one_for_all(self):
        made = pd.concat([frame(field_T=1.5, condition="a"), frame(field_T=7, condition="b")])
        result = rx.analyse_table(made, StudyFacts("", None, 22.0, "water", "Fe"))
        assert result.facts.field_T is None
        assert not any("not stated" in warning for warning in result.warnings)
        some = made.assign(field_T=[1.5] * 4 + [""] * 4)
        told = rx.analyse_table(some, StudyFacts("", None, 22.0, "water", "Fe")).warnings
        assert any("not stated, and part of a relaxivity: field strength" in one for one in told)

    def test_the_ion_said_once_is_that_of_the_masses(self):
        made = frame().rename(columns={"concentration_mM": "concentration_ug_per_mL"})
        result = rx.analyse_table(made, STATED)
        assert result.relaxivity["A"]["r2"].r.value == pytest.approx(100 * 55.845)

    def test_ppm_is_said(self):
        made = frame(ion="Fe").rename(columns={"concentration_mM": "concentration_ppm"})
        assert any("taken as µg per g at 1 g/mL" in one for one in rx.relaxivity(made).warnings)


class TestSheets:
    """The same in the sheet of a study: what it says is read, checked and carried."""

    @pytest.fixture
    def folder(self, tmp_path_factory):
        return rx.write_study(tmp_path_factory.mktemp("tables") / "study", "small").parent

    @pytest.fixture
    def study(self, folder):
        """The study with another sheet, and without the lines that begin with…"""
        plain = (folder / "tubes.csv").read_text(encoding="utf-8")
        toml = (folder / "study.toml").read_text(encoding="utf-8")

        def changed(sheet, without="\0"):
            (folder / "tubes.csv").write_text(sheet(plain), encoding="utf-8")
            lines = [line for line in toml.splitlines() if not line.startswith(without)]
            (folder / "study.toml").write_text("\n".join(lines), encoding="utf-8")
            return analyse(folder / "study.toml")

        yield changed
        (folder / "tubes.csv").write_text(plain, encoding="utf-8")
        (folder / "study.toml").write_text(toml, encoding="utf-8")

    def test_masses_are_of_the_ion_of_the_study(self, study):
        weighed = study(lambda text: text.replace("concentration_mM", "concentration_ug_per_mL"))
        counted = study(lambda text: text)
        np.testing.assert_allclose(
            weighed.tube_table["concentration_mM"] * 55.845, counted.tube_table["concentration_mM"]
        )

    def test_decimal_commas_and_facts(self, study):
        def sheet(text):
            head, *rows = text.strip().splitlines()
            lines = [f"{head},ion,stock_sd_percent", *(f"{row},Fe,3" for row in rows)]
            return "\n".join(map(german, lines))

        result = study(sheet, without="concentration_of")
        assert result.facts.concentration_of == "Fe"
        assert any(w.startswith("tubes.csv: decimal commas are read") for w in result.warnings)
        assert set(points_of(result.tube_table)["stock_rsd"]) == {0.03, 0.0}
        kept = tube_records(result.tube_table, result.relaxivity)
        assert {(row["stock_sd_percent"], row["ion"]) for row in kept} == {(3.0, "Fe")}

    def test_a_contradiction_names_the_sheet(self, study):
        def sheet(text):
            head, *rows = text.strip().splitlines()
            return "\n".join([f"{head},field_T", *(f"{row},1.5" for row in rows)])

        with pytest.raises(rx.InputError, match=r"tubes\.csv: field_T: 1\.5 in the table, but 7"):
            study(sheet)


class TestCommand:
    @pytest.fixture
    def command(self, saved, tmp_path, capsys):
        def call(*options, lines=(HEADER, *ROWS)):
            path = saved(*lines)
            code = run(["relaxivity", str(path), "-o", str(tmp_path / "out"), *options])
            told = capsys.readouterr()
            return code, told.out + told.err, tmp_path / "out"

        return call

    def test_ion_and_masses(self, command):
        header = HEADER.replace("_mM", "_ug_per_mL")
        code, _, out = command("--ion", "Fe", lines=(header, *ROWS))
        assert code == 0
        (row,) = pd.read_csv(out / "relaxivity.csv").to_dict("records")
        assert row["r2_per_mM_per_s"] == pytest.approx(5584.5)
        results = json.loads((out / "results.json").read_text(encoding="utf-8"))
        assert results["study"]["concentration_of"] == "Fe"
        assert command("--force", lines=(header, *ROWS))[0] == 3

    def test_decimal_commas_are_said(self, command):
        code, told, _ = command(lines=[german(line) for line in (HEADER, *ROWS)])
        assert code == 0
        assert "note: decimal commas are read as decimal points: '0,4' as 0.4" in told

    @pytest.mark.parametrize("method", ["ordinary", "auto"])
    def test_method(self, command, method):
        header = f"{HEADER},R1_stderr_per_s,R2_stderr_per_s"
        code, _, out = command(
            "--method", method, lines=(header, *(f"{row},0.1,1" for row in ROWS))
        )
        assert code == 0
        (row,) = pd.read_csv(out / "relaxivity.csv").to_dict("records")
        assert (row["method"] == "ordinary") == (method == "ordinary")

    @pytest.mark.parametrize(
        ("options", "code", "said"),
        [
            (["--method", "lasso"], 2, "--method"),
            (["--figure-width", "huge"], 2, "--figure-width"),
            (["--font-size", "1"], 3, "font_size: 1.0; expected 4 to 40 points"),
            (["--field", "0"], 3, "--field: 0; expected tesla"),
            (["--temperature", "nan"], 3, "--temperature: nan"),
            (["--stock-sd-percent", "-1"], 3, "stock_sd_percent: -1; expected percent, from 0"),
            (["--before", "pH 7.4"], 3, "condition: no 'pH 7.4', there are: none"),
            (["--literature", "nowhere.csv"], 3, "nowhere.csv: no such file"),
        ],
    )
    def test_options_that_cannot_be_right(self, command, options, code, said):
        found, told, out = command(*options)
        assert found == code
        assert said in told
        assert not out.exists()

    def test_what_was_given_is_handed_on(self, saved):
        own = saved(
            "agent,ion,field_T,r1_per_mM_per_s,r2_per_mM_per_s,source\nX,Fe,7,4,90,ours",
            name="own.csv",
        )
        made = pd.concat([frame(condition="pH 7.4"), frame(condition="pH 5")])
        result = rx.analyse_table(made, before="pH 7.4", literature=own, stock_sd_percent=3)
        assert result.relaxivity.before == "pH 7.4"
        assert result.literature["agent"].iloc[-1] == "X"
        assert [one.path for one in result.inputs] == ["own.csv"]
        with pytest.raises(rx.InputError, match=r"no 'ph 7\.4', there are: pH 7\.4, pH 5"):
            rx.analyse_table(made, before="ph 7.4")

    def test_the_stock_is_said_once(self):
        with pytest.raises(rx.InputError, match="stock_sd_percent: in the table and given as well"):
            rx.analyse_table(frame(stock_sd_percent=3), stock_sd_percent=4)

    def test_help_names_the_options(self, capsys):
        assert run(["relaxivity", "--help"]) == 0
        told = capsys.readouterr().out
        named = ("method", "stock-sd-percent", "ion", "field", "temperature", "medium", "before")
        for option in (*named, "literature", "figure-width", "font-size"):
            assert f"--{option} " in told


GUIDE = Path(__file__).parent.parent / "docs" / "tables.md"
EXAMPLES = re.findall(r"<!-- table: (.*?) -->\n```csv\n(.*?)```", GUIDE.read_text("utf-8"), re.S)


@pytest.mark.parametrize(("expected", "text"), EXAMPLES)
def test_the_examples_of_the_guide(expected, text, saved):
    known = dict(one.split("=") for one in re.findall(r"\w+=[^=]+?(?=\s\w+=|$)", expected))
    ion = known.pop("ion", "")
    made = rx.analyse_table(saved(content=text.encode()), StudyFacts(concentration_of=ion))
    result = made.relaxivity
    for condition in known.pop("conditions", "").split(","):
        assert any(condition in key for _, key in result)
    for symbol, value in known.items():
        np.testing.assert_allclose(result.table[f"{symbol}_per_mM_per_s"], float(value), rtol=1e-4)


def test_the_guide_has_examples_and_names_every_column():
    assert len(EXAMPLES) == 5
    text = GUIDE.read_text("utf-8")
    for column in SHEET:
        if not re.match(r"(concentration|particles)_sd_", column):
            assert f"`{column}`" in text, column
