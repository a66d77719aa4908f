"""`relaxometry tubes`: what it writes, how it goes on in a study, and when it writes nothing."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
from roifile import ROI_TYPE, ImagejRoi, roiwrite

import relaxometry as rx
from relaxometry import pictures, plots
from relaxometry.bids import write_series
from relaxometry.cli import run
from relaxometry.nifti import read_labels
from relaxometry.sample import write_study
from relaxometry.tubefiles import way_back

FILES = ("circles.csv", "labels.nii.gz", "overlay.png", "overlay.svg", "tubes.csv")


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    """A small simulated study of 16 tubes, not to be changed."""
    return write_study(tmp_path_factory.mktemp("tubes") / "study", "small").parent


@pytest.fixture(scope="module")
def scan(study) -> str:
    return str(study / "dicom" / "t2_mese")


@pytest.fixture(scope="module")
def written(study, scan) -> Path:
    folder = study.parent / "tubes"
    assert run(["tubes", scan, "-o", str(folder), "--quiet"]) == 0
    return folder


@pytest.fixture(scope="module")
def found(scan):
    return rx.find_tubes(rx.read(scan))


def fails(arguments, capsys) -> str:
    """The one line of a command that ends with code 3."""
    assert run([str(a) for a in arguments]) == 3
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    return told


class TestWhatIsWritten:
    def test_files(self, written):
        assert sorted(file.name for file in written.iterdir()) == sorted(FILES)

    def test_labels_are_what_was_found(self, written, scan):
        found = rx.find_tubes(rx.read(scan))
        labels, affine = read_labels(written / "labels.nii.gz")
        np.testing.assert_array_equal(labels, found.labels)
        np.testing.assert_allclose(affine, found.affine, atol=1e-5)

    def test_circles_in_mm_and_voxels(self, written, scan):
        series = rx.read(scan)
        found = rx.find_tubes(series)
        table = pd.read_csv(written / "circles.csv")
        assert list(table) == [
            *("tube", "x_mm", "y_mm", "radius_mm", "margin_mm"),
            *("x_voxel", "y_voxel", "radius_voxels", "n_voxels"),
        ]
        in_mm = table[["x_mm", "y_mm", "radius_mm"]].to_numpy()
        np.testing.assert_allclose(in_mm, found.circles, atol=1e-5)
        voxel = 40 / 64
        in_voxels = table[["x_voxel", "y_voxel", "radius_voxels"]].to_numpy()
        np.testing.assert_allclose(in_voxels * voxel, found.circles, atol=1e-4)
        assert table["n_voxels"].tolist() == [found.voxels(n).sum() for n in range(1, 17)]
        assert table["margin_mm"].unique() == pytest.approx(found.margin_mm)

    def test_the_picture(self, written, scan):
        series = rx.read(scan)
        expected = plots.as_svg(rx.find_tubes(series).plot(series))
        assert (written / "overlay.svg").read_bytes() == expected
        assert (written / "overlay.png").read_bytes().startswith(b"\x89PNG")

    def test_the_sheet_is_one_to_fill_in(self, written):
        sheet = pd.read_csv(written / "tubes.csv")
        assert list(sheet) == [
            *("tube", "agent", "concentration_mM", "concentration_sd_mM"),
            *("replicate", "condition", "exclude", "reason"),
        ]
        assert sheet["tube"].tolist() == list(range(1, 17))
        assert sheet.drop(columns="tube").isna().all(axis=None)

    def test_what_it_says(self, scan, tmp_path, capsys, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert run(["tubes", scan, "-o", "out", "--count", "16"]) == 0
        told = capsys.readouterr().out
        assert "Tubes: 16, " in told
        assert "out/overlay.png" in told
        assert "out/tubes.csv" in told
        assert 'circles = "…/circles.csv"' in told


def test_circles_are_the_way_back_only_if_they_give_the_same_tubes(scan, found):
    assert way_back(found) == "circles.csv"
    three = np.repeat(found.labels, 3, axis=2)
    assert way_back(replace(found, labels=three)) == "circles.csv"
    three[..., 2] = 0  # the tubes end here
    assert way_back(replace(found, labels=three)) == "labels.nii.gz"
    assert way_back(replace(found, circles=None)) == "labels.nii.gz"


class TestOn:
    """What it wrote, in a study."""

    @pytest.fixture
    def own(self, study, written, tmp_path) -> Path:
        folder = Path(shutil.copytree(study, tmp_path / "study"))
        for name in FILES:
            shutil.copy(written / name, folder / f"new_{name}")
        return folder

    def edit(self, folder, sheet, how):
        text = (folder / "study.toml").read_text()
        assert 'sheet = "tubes.csv"\norder = "rows"' in text
        new = text.replace('sheet = "tubes.csv"\norder = "rows"', f'sheet = "{sheet}"\n{how}')
        (folder / "study.toml").write_text(new)
        return folder / "study.toml"

    def test_unfilled_it_says_what_to_fill_in(self, own):
        path = self.edit(own, "new_tubes.csv", 'circles = "new_circles.csv"')
        with pytest.raises(rx.InputError, match=r"new_tubes.csv: agent, concentration_mM: not fil"):
            rx.analyse(path)

    @pytest.mark.parametrize(
        "how", ['circles = "new_circles.csv"', 'labels = "new_labels.nii.gz"', "count = 16"]
    )
    def test_filled_in_it_gives_the_same_tubes(self, own, scan, how):
        filled = pd.read_csv(own / "tubes.csv")
        empty = pd.read_csv(own / "new_tubes.csv").drop(columns=["agent", "concentration_mM"])
        empty.merge(filled, on="tube").to_csv(own / "new_tubes.csv", index=False)
        result = rx.analyse(self.edit(own, "new_tubes.csv", how))
        found = rx.find_tubes(rx.read(scan))
        np.testing.assert_array_equal(result.tubes["T2"].labels, found.labels)
        assert list(result.tube_table["agent"])[:2] == ["IO-5", "IO-5"]
        named = how.partition('"')[2].strip('"')
        assert not named or named in [file.path for file in result.inputs]

    def test_regions_of_imagej(self, own):
        rois = [
            ImagejRoi(roitype=ROI_TYPE.OVAL, left=x - 3, top=y - 3, right=x + 4, bottom=y + 4)
            for x, y in pd.read_csv(own / "new_circles.csv")[["x_voxel", "y_voxel"]]
            .round()
            .astype(int)
            .to_numpy()
            .tolist()
        ]
        roiwrite(own / "rois.zip", rois, name=[str(n) for n in range(1, 17)])
        result = rx.analyse(self.edit(own, "tubes.csv", 'rois = "rois.zip"'))
        assert "rois.zip" in [file.path for file in result.inputs]
        assert set(result.tube_table["n_voxels"]) == {37}  # of 7 across, by hand
        rows = rx.find_tubes(rx.read(own / "dicom" / "t2_mese"))
        for number in rows.numbers:
            inside = rows.labels[result.tubes["T2"].voxels(number)]
            assert set(inside.tolist()) <= {0, number}
        assert result.tubes["T2"].source == "drawn in ImageJ"


class TestAgain:
    @pytest.fixture
    def folder(self, written, tmp_path) -> Path:
        return Path(shutil.copytree(written, tmp_path / "out"))

    def test_only_by_force(self, folder, scan, capsys):
        assert "is there already" in fails(["tubes", scan, "-o", folder], capsys)
        assert run(["tubes", scan, "-o", str(folder), "--force", "--order", "serpentine"]) == 0
        assert pd.read_csv(folder / "circles.csv")["x_mm"].is_monotonic_increasing is False

    def test_circles_that_were_renumbered(self, folder, scan):
        table = pd.read_csv(folder / "circles.csv")
        before, _ = read_labels(folder / "labels.nii.gz")
        table["tube"] = 100 + table["tube"]
        table.sample(frac=1, random_state=0).to_csv(folder / "circles.csv", index=False)
        arguments = ["tubes", scan, "-o", str(folder), "--force"]
        assert run([*arguments, "--circles", str(folder / "circles.csv")]) == 0
        after, _ = read_labels(folder / "labels.nii.gz")
        np.testing.assert_array_equal(after, np.where(before > 0, before + 100, 0))

    def test_a_sheet_that_somebody_filled_in_is_never_lost(self, folder, scan, capsys):
        filled = "tube,agent,concentration_mM,mood\n" + "".join(
            f"{n},Gd,1,!\n" for n in range(1, 17)
        )
        (folder / "tubes.csv").write_text(filled)
        arguments = ["tubes", scan, "-o", str(folder), "--force"]
        assert "tubes.csv: somebody has filled it in" in fails(arguments, capsys)
        assert run([*arguments, "--sheet", str(folder / "tubes.csv")]) == 0
        assert (folder / "tubes.csv").read_text() == filled
        (folder / "tubes.csv").write_text(filled.replace("5,Gd", "five,Gd"))
        assert "somebody has filled it in" in fails(arguments, capsys)

    def test_a_folder_of_something_else_stays(self, scan, tmp_path, capsys):
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "labels.nii.gz").write_bytes(b"mine")
        told = fails(["tubes", scan, "-o", tmp_path / "mine", "--force"], capsys)
        assert "holds something else" in told
        assert (tmp_path / "mine" / "labels.nii.gz").read_bytes() == b"mine"


class TestByHand:
    @pytest.mark.parametrize("axes", ["as ITK-SNAP", "as 3D Slicer", "turned"])
    def test_labels_of_other_programs(self, found, scan, tmp_path, axes):
        """Whole numbers as floats or shorts, and the same place in another order of axes."""
        labels, affine = found.labels, found.affine
        if axes == "turned":
            labels, turn = labels.swapaxes(0, 2)[::-1], np.zeros((4, 4))
            turn[2, 0], turn[1, 1], turn[0, 2], turn[3, 3] = -1, 1, 1, 1
            turn[2, 3] = labels.shape[0] - 1
            affine = affine @ turn
        kind = np.int16 if axes == "as ITK-SNAP" else np.float32
        image = nibabel.Nifti1Image(labels.astype(kind), affine)
        image.set_sform(affine, code="aligned")
        image.set_qform(affine, code="unknown" if axes == "as ITK-SNAP" else "scanner")
        image.to_filename(tmp_path / "drawn.nii.gz")
        out = tmp_path / "out"
        assert run(["tubes", scan, "-o", str(out), "--labels", str(tmp_path / "drawn.nii.gz")]) == 0
        np.testing.assert_array_equal(read_labels(out / "labels.nii.gz")[0], found.labels)
        assert not (out / "circles.csv").exists()
        assert (out / "overlay.svg").is_file()

    def test_regions(self, scan, tmp_path):
        roi = ImagejRoi(roitype=ROI_TYPE.OVAL, left=8, top=9, right=14, bottom=15, name="5")
        roi.tofile(tmp_path / "5.roi")
        out = tmp_path / "out"
        assert run(["tubes", scan, "-o", str(out), "--rois", str(tmp_path / "5.roi")]) == 0
        assert pd.read_csv(out / "tubes.csv")["tube"].tolist() == [5]
        assert read_labels(out / "labels.nii.gz")[0][11, 11, 0] == 5

    def test_circles_in_voxels(self, scan, tmp_path, found):
        series = rx.read(scan)
        voxel = 40 / 64
        in_voxels = rx.tubes_from_circles(
            series, found.circles / voxel, margin_mm=found.margin_mm, unit="voxels"
        )
        np.testing.assert_array_equal(in_voxels.labels, found.labels)
        (tmp_path / "c.csv").write_text("tube,x_voxel,y_voxel,radius_voxels\n4,20,30,5\n")
        tubes = rx.tubes_from_circles(series, tmp_path / "c.csv")
        x, y = np.indices((64, 64))
        expected = np.where((x - 20) ** 2 + (y - 30) ** 2 <= 25, 4, 0)
        np.testing.assert_array_equal(tubes.labels[..., 0], expected)
        flat = rx.Series(series.signal[:, ::2], series.protocol, affine=np.diag([1, 2, 1, 1.0]))
        with pytest.raises(rx.InputError, match="voxels of 1 × 2 mm: a radius in voxels is no ci"):
            rx.tubes_from_circles(flat, [[20, 10, 5]], unit="voxels")

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            ("x_mm,y_mm,radius_mm\n1,2,3\n", "no column tube"),
            ("tube,x_mm,y_mm\n1,2,3\n", "no column x_voxel; expected tube, x_mm, y_mm, radius_mm"),
            ("tube,x_mm,y_mm,radius_mm\n1,2,,3\n", "y_mm of tube 1: ''; expected a number"),
            ("tube,x_mm,y_mm,radius_mm\n1,9,9,3\n1,20,20,3\n", "tube 1 is listed twice"),
            ("tube,x_mm,y_mm,radius_mm\n", "no tube"),
            (
                "tube,x_mm,y_mm,radius_mm,margin_mm\n1,9,9,3,1\n2,20,20,3,2\n",
                "margin_mm: not the same for all tubes",
            ),
        ],
    )
    def test_circles_that_cannot_be_right(self, scan, tmp_path, capsys, text, complaint):
        (tmp_path / "c.csv").write_text(text)
        told = fails(["tubes", scan, "-o", tmp_path / "o", "--circles", tmp_path / "c.csv"], capsys)
        assert "c.csv" in told
        assert complaint in told
        assert not (tmp_path / "o").exists()

    def test_circles_and_a_sheet_belong_together_by_number(self, scan, tmp_path):
        (tmp_path / "c.csv").write_text("tube,x_mm,y_mm,radius_mm\n4,10,10,3\n2,25,25,3\n")
        (tmp_path / "s.csv").write_text("tube,agent,concentration_mM\n2,A,1\n4,B,1\n")
        series = rx.read(scan)
        tubes = rx.tubes_from_circles(series, tmp_path / "c.csv", tmp_path / "s.csv")
        assert tubes.labels[16, 16, 0] == 4
        assert tubes.numbers == [2, 4]
        (tmp_path / "s.csv").write_text("tube,agent,concentration_mM\n2,A,1\n5,B,1\n")
        with pytest.raises(rx.InputError, match="tube 4 is in one of circles and sheet"):
            rx.tubes_from_circles(series, tmp_path / "c.csv", tmp_path / "s.csv")


class TestWrong:
    @pytest.mark.parametrize(
        ("more", "complaint"),
        [
            (["--count", "15"], "16 tubes found in the image, 15 expected"),
            (["--order", "spiral"], "--order: 'spiral'; expected rows or columns"),
            (["--order", "ring"], "order: the 16 tubes found lie on no ring"),
            (["--start-angle", "90"], '--start-angle: with order = "rows"'),
            (["--grid", "1,2;3"], "--grid: "),
            (["--grid", "1,two"], "--grid: '1,two'; expected tube numbers row by row"),
            (["--grid", "1,2;3,4"], "16 tubes found, 4 in the grid"),
            (["--margin", "9"], "margin_mm: 9 mm leaves nothing of a tube"),
            (["--labels", "a.nii", "--margin", "1"], "--margin: margin_mm with labels"),
            (["--labels", "a.nii", "--rois", "b.zip"], "both labels and rois"),
            (["--labels", "a.nii"], "a.nii: no such file"),
            (["--rois", "b.zip"], "b.zip: no such file"),
            (["--circles", "c.csv"], "c.csv: no such file"),
            (["--sheet", "s.csv"], "s.csv: no such file"),
            (["--series", "9"], "9"),
        ],
    )
    def test_is_one_line_and_nothing_is_written(self, scan, tmp_path, capsys, more, complaint):
        assert complaint in fails(["tubes", scan, "-o", tmp_path / "out", *more], capsys)
        assert list(tmp_path.iterdir()) == []

    def test_a_sheet_of_another_number_even_unfilled(self, scan, tmp_path, capsys):
        sheet = tmp_path / "tubes.csv"
        sheet.write_text(
            "tube,agent,concentration_mM\n" + "".join(f"{n},,\n" for n in range(1, 16))
        )
        arguments = ["tubes", scan, "-o", tmp_path / "out", "--sheet", sheet]
        assert "16 tubes found in the image, 15 listed in the sheet" in fails(arguments, capsys)
        sheet.write_text(sheet.read_text() + "16,,\n")
        assert run([str(a) for a in arguments]) == 0

    def test_a_disk_that_fails_leaves_nothing(self, scan, tmp_path, capsys, monkeypatch):
        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("relaxometry.tubefiles.as_png", full)
        assert "No space left" in fails(["tubes", scan, "-o", tmp_path / "out"], capsys)
        assert list(tmp_path.iterdir()) == []


class TestPicture:
    """What a person sees: where each tube is, how large, and in which order."""

    def series(self, n, slices=1):
        return rx.Series(np.ones((n, n, slices, 2)), rx.Protocol(TE=[0.01, 0.02]), affine=np.eye(4))

    def test_the_circle_that_was_found(self):
        """As shown, x of this affine runs to the left and y upwards."""
        series = self.series(60)
        tubes = rx.tubes_from_circles(series, [[15, 20, 8]], margin_mm=2)
        circle = tubes.plot(series).axes[0].patches[2]
        assert circle.center == pytest.approx((59 - 15, 59 - 20))
        assert (circle.width, circle.height) == pytest.approx((16, 16))

    def test_an_arrow_from_each_tube_to_the_next(self):
        series = self.series(60)
        sheet = pd.DataFrame({"tube": [3, 1, 2], "agent": "", "concentration_mM": 0})
        tubes = rx.tubes_from_circles(series, [[10, 10, 4], [49, 49, 4], [10, 49, 4]], sheet)
        arrows = [p for p in tubes.plot(series).axes[0].patches if hasattr(p, "get_arrowstyle")]
        ends = [arrow._posA_posB for arrow in arrows]
        # 1 at (10, 10) of the picture, 2 at (49, 10), 3 at (49, 49): from edge to edge.
        np.testing.assert_allclose(ends, [[(14, 10), (45, 10)], [(49, 14), (49, 45)]], atol=1e-6)

    @pytest.mark.parametrize("n", [64, 256])
    @pytest.mark.parametrize("side", [1, 4, 7])
    def test_numbers_have_room(self, n, side):
        pitch = n / (side + 1)
        series = self.series(n)
        circles = [
            (pitch * (i + 1), pitch * (j + 1), 0.4 * pitch)
            for j in range(side)
            for i in range(side)
        ]
        figure = rx.tubes_from_circles(series, circles, margin_mm=0.1 * pitch).plot(series)
        assert len(figure.axes[0].texts) == side**2
        across = 72 * figure.get_size_inches()[1] * 0.8 * pitch / n  # of a tube, in points
        assert across > 2 * pictures._NUMBER_SIZE

    def test_tubes_of_other_slices(self):
        labels = np.zeros((20, 20, 3), dtype=int)
        labels[2:8, 2:8, 1], labels[12:15, 12:15, 0] = 1, 2
        series = self.series(20, 3)
        figure = rx.tubes_from_labels(labels, series.affine).plot(series)
        assert [t.get_text() for t in figure.axes[0].texts] == ["1"]

    def test_jupyter_shows_it(self):
        series = self.series(20)
        figure = rx.tubes_from_circles(series, [[9, 9, 5]]).plot(series)
        assert figure._repr_png_().startswith(b"\x89PNG")


def test_a_series_read_from_nifti_gives_the_same_numbers(scan, written, tmp_path):
    write_series(rx.read(scan), tmp_path / "bids")
    assert run(["tubes", str(tmp_path / "bids"), "-o", str(tmp_path / "out")]) == 0
    ours, _ = read_labels(tmp_path / "out" / "labels.nii.gz")
    theirs, _ = read_labels(written / "labels.nii.gz")
    assert (ours == theirs).mean() > 0.999
