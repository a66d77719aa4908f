"""Studies as people write them: every way to place tubes, and every way to get it wrong."""

from __future__ import annotations

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

import relaxometry as rx
from relaxometry.nifti import read_labels
from relaxometry.tablestudy import analyse_table

AGENTS = ["IO-5", "C1", "C3"]


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    return rx.write_study(tmp_path_factory.mktemp("simulated") / "study", protocol="small").parent


@pytest.fixture(scope="module")
def usual(simulated):
    return rx.analyse(simulated / "study.toml", progress=False)


@pytest.fixture
def study(simulated, tmp_path):
    """A copy whose study.toml may be edited: study(("old", "new"), …) is its path."""
    folder = tmp_path / "study"
    shutil.copytree(simulated, folder, ignore=shutil.ignore_patterns("bids"))
    toml = folder / "study.toml"

    def edit(*changes):
        text = toml.read_text(encoding="utf-8")
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        toml.write_text(text, encoding="utf-8")
        return toml

    edit.folder = folder
    return edit


def analyse(toml):
    return rx.analyse(toml, progress=False)


def without(*tables):
    """Changes that take whole tables out of the simulated study.toml."""
    parts = {
        "T1": '[T1]\npath = "dicom/t1_ir"\n',
        "T2": '[T2]\npath = "dicom/t2_mese"\n',
        "tubes": '[tubes]\nsheet = "tubes.csv"\norder = "rows"\non = "T2"\n',
    }
    return [(parts[table], "") for table in tables]


def truth(study):
    return pd.read_csv(study.folder / "truth.csv")


class TestWhole:
    def test_what_comes_of_it(self, usual):
        assert list(usual.maps) == ["T1", "T2"]
        assert [maps.model.name for maps in usual.maps.values()] == ["t1_ir", "t2"]
        assert [agent for agent, _ in usual.relaxivity] == AGENTS
        assert len(usual.tube_table) == 16
        assert usual.failures == ()
        assert repr(usual).startswith("StudyResult: ")
        assert "16 tubes, T1 by t1_ir, T2 by t2, 3 agents, 1 contrast" in repr(usual)

    def test_the_table_is_the_fit_of_each_tube(self, usual):
        for name, rate in (("T1", "R1"), ("T2", "R2")):
            for row, fit in zip(
                usual.tube_table.to_dict("records"), usual.curves[name], strict=True
            ):
                assert row[f"{name}_s"] == fit[name].value
                assert row[f"{rate}_per_s"] == pytest.approx(1 / row[f"{name}_s"])

    def test_inputs_are_named_without_where_they_lie(self, usual, simulated):
        paths = [one.path for one in usual.inputs]
        assert "study.toml" in paths
        assert "tubes.csv" in paths
        assert "contrast/regions.nii.gz" in paths
        assert sum(path.startswith("dicom/") for path in paths) == 26
        assert not [path for path in paths if Path(path).is_absolute() or ".." in path]
        assert all(len(one.sha256) == 64 for one in usual.inputs)

    def test_files_elsewhere_are_named_without_their_folders(self, study, simulated, tmp_path):
        shutil.move(study.folder / "dicom", tmp_path / "jane doe")
        up, absolute = "../jane doe/t1_ir", (tmp_path / "jane doe" / "t2_mese").as_posix()
        result = analyse(study(("dicom/t1_ir", up), ("dicom/t2_mese", absolute)))
        paths = [one.path for one in result.inputs]
        assert not [path for path in paths if "jane" in path or ".." in path]
        assert paths.count("IM_0001.dcm") == 2

    def test_the_same_twice(self, usual, simulated):
        again = rx.analyse(simulated / "study.toml", workers=1, progress=False)
        pd.testing.assert_frame_equal(again.tube_table, usual.tube_table)


class TestParts:
    def test_T2_alone(self, study, usual):
        result = analyse(study(*without("T1")))
        assert list(result.maps) == ["T2"]
        assert list(result.relaxivity["C3"]) == ["r2"]
        assert result.relaxivity["C3"]["r2"].r.value == usual.relaxivity["C3"]["r2"].r.value
        assert list(result.relaxivity["class"]) == ["not determined"] * 3

    def test_T1_alone(self, study):
        result = analyse(study(*without("T2"), ('on = "T2"', 'on = "T1"')))
        assert list(result.relaxivity["C3"]) == ["r1"]

    def test_contrast_alone(self, study, usual):
        result = analyse(study(*without("T1", "T2", "tubes")))
        assert result.relaxivity is None
        assert result.tube_table.empty
        assert result.contrasts[0].row() == usual.contrasts[0].row()
        assert result.warnings == ()

    def test_without_a_sheet_there_are_tubes_and_no_agents(self, study, usual):
        result = analyse(study(('sheet = "tubes.csv"\n', "")))
        assert result.relaxivity is None
        assert result.failures == ()
        np.testing.assert_array_equal(result.tube_table["T2_s"], usual.tube_table["T2_s"])

    def test_without_agents_there_is_no_relaxivity(self, study):
        lines = ["tube,agent,concentration_mM"] + [f"{i},,0" for i in range(1, 17)]
        (study.folder / "tubes.csv").write_text("\n".join(lines))
        result = analyse(study())
        assert result.relaxivity is None
        assert len(result.tube_table) == 16

    def test_lines_as_they_are_asked_for(self, study, usual):
        (study.folder / "mine.csv").write_text(
            "agent,ion,field_T,r1_per_mM_per_s,r2_per_mM_per_s,source\nX,Fe,7,4,600,ours\n"
        )
        asked = '[relaxivity]\nmethod = "robust"\nR2_0_per_s = 9.0\nliterature = "mine.csv"\n'
        result = analyse(study(("[T1]", f"{asked}[T1]")))
        for lines in result.relaxivity.lines.values():
            assert lines["r1"].method == lines["r2"].method == "robust"
            assert (lines["r2"].R0.value, lines["r2"].fixed, lines["r1"].fixed) == (
                9.0,
                True,
                False,
            )
        assert "mine.csv" in [one.path for one in result.inputs]
        ranked, before = (
            one.ranking.set_index(["agent", "symbol"])["n_published"] for one in (result, usual)
        )
        assert ranked["C3", "r2"] == before["C3", "r2"] + 1

    @pytest.mark.parametrize(
        ("asked", "complaint"),
        [
            ('method = "best"', r"\[relaxivity\] method: 'best'; expected auto or ordinary"),
            ("R1_0_per_s = -1", r"\[relaxivity\] R1_0_per_s"),
            ('literature = "no.csv"', r"\[relaxivity\] literature: 'no.csv' does not exist"),
            ('before = "pH 7"', "condition: no 'pH 7', there are: none"),
            ("intercept = 3", r"\[relaxivity\] intercept"),
        ],
    )
    def test_lines_that_cannot_be_asked_for(self, study, asked, complaint):
        with pytest.raises(rx.InputError, match=complaint):
            analyse(study(("[T1]", f"[relaxivity]\n{asked}\n[T1]")))

    def test_what_a_relaxivity_lacks_is_said(self, study):
        changes = [("temperature_C = 22.0\n", ""), ('medium = "1 % agarose"\n', "")]
        result = analyse(study(*changes))
        assert "not stated, and part of a relaxivity: temperature, medium" in result.warnings


class TestTubes:
    """The same tubes, however they are placed."""

    def test_found_on_T1(self, study, usual):
        result = analyse(study(('on = "T2"', 'on = "T1"')))
        # Not the same voxels to the last, but the same tubes.
        T2 = result.tube_table["T2_s"] / usual.tube_table["T2_s"]
        np.testing.assert_allclose(T2, 1, rtol=0.05)

    def test_circles(self, study):
        true = truth(study)
        # Clear of the wall by two voxels.
        circles = [[t.x_mm, t.y_mm, t.radius_mm - 1.25] for t in true.itertuples()]
        result = analyse(study(('order = "rows"', f"circles = {circles}")))
        long = true["T2_s"] > 0.02
        np.testing.assert_allclose(result.tube_table["T2_s"][long], true["T2_s"][long], rtol=0.01)
        np.testing.assert_allclose(result.tube_table["T1_s"][long], true["T1_s"][long], rtol=0.01)
        margin = analyse(
            study((f"{circles}", f"{[[*c[:2], c[2] + 1.25] for c in circles]}\nmargin_mm = 1.25"))
        )
        pd.testing.assert_frame_equal(margin.tube_table, result.tube_table)

    def test_labels(self, study, usual):
        result = analyse(study(('order = "rows"', 'labels = "labels.nii.gz"')))
        labels, _ = read_labels(study.folder / "labels.nii.gz")
        np.testing.assert_array_equal(result.tubes["T1"].labels, labels)
        assert "labels.nii.gz" in [one.path for one in result.inputs]

    def test_labels_that_another_program_flipped(self, study):
        """dcm2niix turns y over; the affine says so, and the tubes are the same."""
        image = nib.load(study.folder / "labels.nii.gz")
        turned = image.affine @ np.array(
            [[1, 0, 0, 0], [0, -1, 0, 63], [0, 0, 1, 0], [0, 0, 0, 1.0]]
        )
        flipped = nib.Nifti1Image(np.asarray(image.dataobj)[:, ::-1], turned)
        nib.save(flipped, study.folder / "flipped.nii.gz")
        straight = analyse(study(('order = "rows"', 'labels = "labels.nii.gz"')))
        other = analyse(study(("labels.nii.gz", "flipped.nii.gz")))
        pd.testing.assert_frame_equal(other.tube_table, straight.tube_table)

    def test_a_sheet_in_another_order(self, study, usual):
        sheet = pd.read_csv(study.folder / "tubes.csv").sort_values("concentration_mM")
        sheet.to_csv(study.folder / "tubes.csv", index=False)
        result = analyse(study())
        assert list(result.tube_table["tube"]) == list(sheet["tube"])
        pd.testing.assert_frame_equal(
            result.tube_table.sort_values("tube", ignore_index=True), usual.tube_table
        )

    def test_an_excluded_tube_is_measured_and_left_out(self, study, usual):
        sheet = pd.read_csv(study.folder / "tubes.csv").assign(exclude="no", reason="")
        sheet.loc[0, ["exclude", "reason"]] = "yes", "air bubble"
        sheet.to_csv(study.folder / "tubes.csv", index=False)
        result = analyse(study())
        assert "tube 1 left out as the sheet says: air bubble" in result.warnings
        assert result.tube_table.loc[0, "T2_s"] == usual.tube_table.loc[0, "T2_s"]
        points = {agent: result.relaxivity[agent]["r2"].n for agent in AGENTS}
        # Tube 11, the strongest C3, is flagged besides: its T2 is half the first echo time.
        assert points == {"IO-5": 5, "C1": 6, "C3": 5}
        assert result.relaxivity["C3"]["r2"].r.value == usual.relaxivity["C3"]["r2"].r.value

    def test_all_tubes_excluded(self, study):
        sheet = pd.read_csv(study.folder / "tubes.csv").assign(exclude="yes")
        sheet.to_csv(study.folder / "tubes.csv", index=False)
        result = analyse(study())
        assert result.relaxivity is None
        assert result.failures == ()


class TestEchoes:
    def test_dropped_with_their_reason(self, study):
        changed = study(
            ('path = "dicom/t2_mese"\n', 'path = "dicom/t2_mese"\ndrop_echoes = [1, 16]\n'
             'drop_reason = "stimulated echo"\n')
        )  # fmt: skip
        result = analyse(changed)
        times = result.maps["T2"].series.protocol.TE
        np.testing.assert_allclose(times, np.arange(2, 16) * 0.010)
        assert "T2: left out point 1, 16 of 16: stimulated echo" in result.warnings
        # The tube that only the first echo shows is still found.
        assert result.tube_table["T2_n_voxels"].min() > 10

    def test_times_by_hand(self, study, usual):
        longer = [f"{12 * i} ms" for i in range(1, 17)]
        result = analyse(study(('"dicom/t2_mese"', f'"dicom/t2_mese"\nte = {longer}')))
        np.testing.assert_allclose(
            result.tube_table["T2_s"], 1.2 * usual.tube_table["T2_s"], rtol=1e-6
        )


T2_PATH = 'path = "dicom/t2_mese"'
WRONG = {
    "another field": ([("field_T = 7.0", "field_T = 3.0")], "field_T is 3 but the T1 data .* 7 T"),
    "echo there is none": (
        [(T2_PATH, T2_PATH + '\ndrop_echoes = [17]\ndrop_reason = "why"')],
        r"\[T2\] drop_echoes: no point 17; expected numbers from 1 to 16",
    ),
    "all echoes": (
        [(T2_PATH, T2_PATH + f'\ndrop_echoes = {list(range(1, 17))}\ndrop_reason = "why"')],
        r"\[T2\] drop_echoes: 0 point left of 16",
    ),
    "model there is none": (
        [(T2_PATH, T2_PATH + '\nmodel = "t3"')],
        r"\[T2\] model: no model 't3'",
    ),
    "model of T1": (
        [(T2_PATH, T2_PATH + '\nmodel = "t1_ir"')],
        r"\[T2\]: .*with model t1_ir; expected a scan and a model of T2",
    ),
    "scans swapped": (
        [("t2_mese", "other"), ("t1_ir", "t2_mese"), ("other", "t1_ir")],
        r"\[T1\]: Series: MESE.*expected a scan and a model of T1",
    ),
    "times that are too few": ([(T2_PATH, T2_PATH + "\nte = [0.01, 0.02]")], "t2_mese"),
    "series there is none": ([(T2_PATH, T2_PATH + "\nseries = 9")], "t2_mese"),
    "order there is none": ([('order = "rows"', 'order = "diagonal"')], "order: 'diagonal'"),
    "overlapping circles": (
        [('order = "rows"', f"circles = {[[10, 10, 3]] * 16}")],
        "circles: circles of tubes 1 and 2 overlap",
    ),
    "too few circles": (
        [('order = "rows"', "circles = [[10, 10, 3]]")],
        "circles: 1 circles for 16 tubes in the sheet",
    ),
    "circles outside": (
        [('order = "rows"', f"circles = {[[90, 10 * i, 3] for i in range(16)]}")],
        r"circle of tube 1 at \(90, 0\) mm",
    ),
    "negative margin": ([('order = "rows"', "margin_mm = -1")], "margin_mm: -1 mm"),
    "wide margin": (
        [('order = "rows"', "margin_mm = 5")],
        "margin_mm: 5 mm leaves nothing of a tube",
    ),
    "label there is none": ([("noise = 3", "noise = 7")], "region noise: no voxel has label 7"),
}


class TestWrong:
    @pytest.mark.parametrize(("changes", "complaint"), WRONG.values(), ids=list(WRONG))
    def test_is_said_in_one_line(self, study, changes, complaint):
        with pytest.raises(rx.InputError, match=complaint) as error:
            analyse(study(*changes))
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize("lines", [15, 17])
    def test_a_sheet_of_another_rack(self, study, lines):
        rows = ["tube,agent,concentration_mM", *(f"{i},A,{i}" for i in range(1, lines + 1))]
        (study.folder / "tubes.csv").write_text("\n".join(rows))
        with pytest.raises(rx.InputError, match=f"16 tubes found in the image, {lines} listed"):
            analyse(study())

    @pytest.mark.parametrize("moved", ["post", "regions"])
    def test_contrast_images_that_lie_elsewhere(self, study, moved):
        """Regions drawn on a flipped copy would measure other tissue."""
        path = study.folder / "contrast" / f"{moved}.nii.gz"
        image = nib.load(path)
        turned = image.affine @ np.array(
            [[1, 0, 0, 0], [0, -1, 0, 127], [0, 0, 1, 0], [0, 0, 0, 1.0]]
        )
        flipped = nib.Nifti1Image(np.asarray(image.dataobj)[:, ::-1], turned)
        nib.save(flipped, path)
        with pytest.raises(rx.GeometryError, match=f"{moved}.nii.gz: its voxels lie elsewhere"):
            analyse(study(*without("T1", "T2", "tubes")))


class TestTableAlone:
    ROWS = (
        "agent,concentration_mM,T1_ms,T2_ms,exclude",
        "A,0.4,500,58.82,no",
        "A,0.2,833.33,76.92,",
        "A,0.1,1250,90.91,",
        "A,0.3,1,1,yes",
        ",0,2500,111.11,no",
    )

    @pytest.fixture
    def table(self, tmp_path):
        def write(*lines):
            path = tmp_path / "table.csv"
            path.write_text("\n".join(lines), encoding="utf-8-sig")
            return path

        return write

    def test_relaxivities(self, table):
        result = analyse_table(table(*self.ROWS))
        lines = result.relaxivity["A"]
        assert lines["r1"].r.value == pytest.approx(4, rel=1e-4)
        assert lines["r2"].r.value == pytest.approx(20, rel=1e-3)
        assert lines["r2"].n == 4
        assert [one.path for one in result.inputs] == ["table.csv"]
        assert any("not stated" in warning for warning in result.warnings)

    @pytest.mark.parametrize(
        ("lines", "complaint"),
        [
            (["agent,concentration_mM,T2_ms", "A,0,4,58"], "line 2 has 4 fields, the header 3"),
            (["agent;concentration_mM", "A;0,4"], "no rates or times"),
            (
                ["agent,concentration_mM,T2_ms", 'A,"0,4",58'],
                "concentration_mM of row 1: '0,4'; .*point",
            ),
            (["agent,concentration_mM,T2_ms", "A,0.4,0"], "T2_ms: a time that is not positive"),
            (["agent,concentration_mM", "A,0.4"], "no rates or times"),
            (["agent,concentration_mM,T2_ms", "A,0.4,50"], "r2 of A not determined"),
            (["agent,concentration_mM,T2_ms"], "no row in the table"),
            ([""], "no column agent"),
        ],
    )
    def test_that_cannot_be_right(self, table, lines, complaint):
        path = table(*lines)
        with pytest.raises(rx.InputError, match=complaint) as error:
            analyse_table(path)
        assert str(error.value).startswith(f"{path}: ")
        assert "\n" not in str(error.value)
