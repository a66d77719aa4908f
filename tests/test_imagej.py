"""Regions drawn in ImageJ: which voxels they hold, which tube each is, and what is refused."""

from __future__ import annotations

import contextlib
import struct
import zipfile

import numpy as np
import pydicom
import pytest
from roifile import ROI_OPTIONS, ROI_SUBTYPE, ROI_TYPE, ImagejRoi, roiwrite

import relaxometry as rx
from relaxometry.bids import write_series
from relaxometry.sample import write_study


def blank_series(grid=(40, 30, 1)):
    """More columns (x) than rows (y), so that none is taken for the other."""
    return rx.Series(np.ones((*grid, 2)), rx.Protocol(TE=[0.01, 0.02]), affine=np.eye(4))


def box(kind, left, top, right, bottom, **more):
    return ImagejRoi(roitype=kind, left=left, top=top, right=right, bottom=bottom, name="1", **more)


def outline(points, kind=ROI_TYPE.POLYGON, name="1", **more):
    roi = ImagejRoi.frompoints(np.array(points), name=name)
    roi.roitype = kind
    for key, value in more.items():
        setattr(roi, key, value)
    return roi


def drawn(tmp_path, roi, series=None):
    file = tmp_path / "region.roi"
    roi.tofile(file)
    return rx.tubes_from_rois(series or blank_series(), file)


def held(tubes, tube=1, z=0):
    return {tuple(v) for v in np.argwhere(tubes.voxels(tube)[..., z]).tolist()}


def pixels(columns, rows):
    return {(x, y) for x in columns for y in rows}


class TestShapes:
    """Coordinates are corners of pixels: pixel i spans i to i + 1."""

    def test_rectangle(self, tmp_path):
        tubes = drawn(tmp_path, box(ROI_TYPE.RECT, 3, 5, 7, 8))
        assert held(tubes) == pixels(range(3, 7), range(5, 8))

    def test_rectangle_between_pixels(self, tmp_path):
        roi = box(ROI_TYPE.RECT, 3, 5, 8, 9, options=ROI_OPTIONS.SUB_PIXEL_RESOLUTION)
        roi.xd, roi.yd, roi.widthd, roi.heightd = 3.6, 5.4, 4.0, 3.0  # 3.6 … 7.6, 5.4 … 8.4
        assert held(drawn(tmp_path, roi)) == pixels(range(4, 8), range(5, 8))

    def test_oval(self, tmp_path):
        """A circle of 4 pixels across, by hand: its square without the corners."""
        square = pixels(range(10, 14), range(20, 24))
        corners = {(10, 20), (13, 20), (10, 23), (13, 23)}
        assert held(drawn(tmp_path, box(ROI_TYPE.OVAL, 10, 20, 14, 24))) == square - corners

    def test_flat_oval_against_its_equation(self, tmp_path):
        x, y = np.indices((40, 30)) + 0.5
        inside = ((x - 20) / 12) ** 2 + ((y - 14.5) / 5.5) ** 2 <= 1
        tubes = drawn(tmp_path, box(ROI_TYPE.OVAL, 8, 9, 32, 20))
        np.testing.assert_array_equal(tubes.voxels(1)[..., 0], inside)

    def test_oval_between_pixels(self, tmp_path):
        x, y = np.indices((40, 30)) + 0.5
        roi = box(ROI_TYPE.OVAL, 8, 9, 15, 16, options=ROI_OPTIONS.SUB_PIXEL_RESOLUTION)
        roi.xd, roi.yd, roi.widthd, roi.heightd = 8.25, 9.5, 6.6, 6.6
        inside = (x - 11.55) ** 2 + (y - 12.8) ** 2 <= 3.3**2
        np.testing.assert_array_equal(drawn(tmp_path, roi).voxels(1)[..., 0], inside)

    @pytest.mark.parametrize("kind", [ROI_TYPE.POLYGON, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED])
    def test_outlines(self, tmp_path, kind):
        """An L: a traced region runs along the corners of pixels."""
        points = [(2, 3), (6, 3), (6, 5), (4, 5), (4, 9), (2, 9)]
        expected = pixels(range(2, 6), range(3, 5)) | pixels(range(2, 4), range(5, 9))
        assert held(drawn(tmp_path, outline(points, kind))) == expected

    def test_an_outline_between_pixels(self, tmp_path):
        points = np.array([(2.6, 3.2), (9.4, 3.2), (9.4, 7.6), (2.6, 7.6)], dtype=np.float32)
        tubes = drawn(tmp_path, outline(points))
        assert held(tubes) == pixels(range(3, 9), range(3, 8))

    def test_a_slanted_outline(self, tmp_path):
        """Below the diagonal from (0, 0) to (10, 10): by hand, centres with y > x."""
        tubes = drawn(tmp_path, outline([(0, 0), (10, 10), (0, 10)]))
        strictly = {(x, y) for x in range(10) for y in range(10) if y > x}
        assert strictly <= held(tubes) <= strictly | {(i, i) for i in range(10)}

    def test_an_ellipse_as_imagej_fits_it_is_an_outline(self, tmp_path):
        at = np.linspace(0, 2 * np.pi, 72, endpoint=False)
        points = np.column_stack([20 + 9 * np.cos(at), 15 + 5 * np.sin(at)]).astype(np.float32)
        roi = outline(points, ROI_TYPE.FREEHAND, subtype=ROI_SUBTYPE.ELLIPSE)
        area = len(held(drawn(tmp_path, roi)))
        assert area == pytest.approx(np.pi * 9 * 5, rel=0.03)

    def test_to_the_very_edge(self, tmp_path):
        tubes = drawn(tmp_path, box(ROI_TYPE.RECT, 0, 0, 40, 30))
        assert tubes.mask.all()


WRONG = {
    "a line": ImagejRoi(roitype=ROI_TYPE.LINE, x1=1, y1=1, x2=9, y2=9),
    "a point": outline([(3, 3), (5, 5)], ROI_TYPE.POINT),
    "a segmented line": outline([(3, 3), (5, 5), (9, 4)], ROI_TYPE.POLYLINE),
    "a freehand line": outline([(3, 3), (5, 5), (9, 4)], ROI_TYPE.FREELINE),
    "an angle": outline([(3, 3), (5, 5), (9, 4)], ROI_TYPE.ANGLE),
    "a text": box(ROI_TYPE.RECT, 3, 5, 7, 8, subtype=ROI_SUBTYPE.TEXT),
    "a rounded rectangle": box(ROI_TYPE.RECT, 3, 5, 17, 18, rounded_rect_arc_size=4),
    "smoothed by a spline": outline([(3, 3), (12, 3), (9, 14)], options=ROI_OPTIONS.SPLINE_FIT),
}


class TestNotAnArea:
    @pytest.mark.parametrize(("what", "roi"), WRONG.items(), ids=list(WRONG))
    def test_is_refused_and_said(self, tmp_path, what, roi):
        with pytest.raises(rx.InputError, match=f"is {what}; expected an oval, rectangle, polygo"):
            drawn(tmp_path, roi)

    def test_composite(self, tmp_path):
        roi = box(ROI_TYPE.RECT, 3, 5, 17, 18, shape_roi_size=4)
        roi.multi_coordinates = np.array([0, 3, 5, 4], dtype=np.float32)
        with pytest.raises(rx.InputError, match="is composite"):
            drawn(tmp_path, roi)

    @pytest.mark.parametrize(
        ("roi", "complaint"),
        [
            (box(ROI_TYPE.RECT, 30, 5, 41, 9), r"reaches out of the image, to \(41, 9\)"),
            (box(ROI_TYPE.RECT, 5, 20, 9, 31), r"out of the image, to \(9, 31\).*rows 0 to 30"),
            (box(ROI_TYPE.OVAL, -3, 5, 9, 9), r"reaches out of the image, to \(-3, 5\)"),
            (box(ROI_TYPE.OVAL, 5, 5, 5, 9), "holds no voxel"),
            (outline(np.array([(5.1, 5.1), (5.2, 5.1), (5.2, 5.3)], np.float32)), "no voxel"),
            (outline([(3, 3)]), "has no outline"),
        ],
    )
    def test_not_in_the_image(self, tmp_path, roi, complaint):
        with pytest.raises(rx.InputError, match=rf"region.roi: region \S+: .*{complaint}"):
            drawn(tmp_path, roi)


def saved(tmp_path, rois, names=None):
    file = tmp_path / "RoiSet.zip"
    roiwrite(file, rois, name=names)
    return file


SQUARES = [box(ROI_TYPE.RECT, 5 * i, 2, 5 * i + 3, 6) for i in range(4)]


class TestNumbers:
    def test_names_that_are_numbers(self, tmp_path):
        file = saved(tmp_path, SQUARES, ["12", "7", "03", "4"])
        tubes = rx.tubes_from_rois(blank_series(), file)
        assert tubes.numbers == [3, 4, 7, 12]
        assert held(tubes, 12) == pixels(range(3), range(2, 6))
        assert held(tubes, 3) == pixels(range(10, 13), range(2, 6))
        assert tubes.source == "drawn in ImageJ"

    def test_other_names_are_numbered_in_the_order_of_the_file_and_told(self, tmp_path):
        file = saved(tmp_path, SQUARES, ["Gd 2", "0004-0006", "water", "Gd 1"])
        tubes = rx.tubes_from_rois(blank_series(), file)
        assert tubes.numbers == [1, 2, 3, 4]
        assert held(tubes, 3) == pixels(range(10, 13), range(2, 6))
        assert "(1 = Gd 2, 2 = 0004-0006, 3 = water, 4 = Gd 1)" in tubes.source

    def test_the_sheet(self, tmp_path):
        sheet = tmp_path / "tubes.csv"
        sheet.write_text("tube,agent,concentration_mM\n7,A,1\n5,A,2\n9,A,3\n8,,0\n")
        series = blank_series()
        by_order = rx.tubes_from_rois(series, saved(tmp_path, SQUARES, list("abcd")), sheet)
        assert by_order.numbers == [7, 5, 9, 8]
        assert held(by_order, 5) == pixels(range(5, 8), range(2, 6))
        (tmp_path / "RoiSet.zip").unlink()
        by_name = rx.tubes_from_rois(series, saved(tmp_path, SQUARES, list("9875")), sheet)
        assert held(by_name, 5) == pixels(range(15, 18), range(2, 6))
        (tmp_path / "RoiSet.zip").unlink()
        with pytest.raises(rx.InputError, match="3 regions for 4 tubes in the sheet"):
            rx.tubes_from_rois(series, saved(tmp_path, SQUARES[:3], list("abc")), sheet)
        (tmp_path / "RoiSet.zip").unlink()
        with pytest.raises(rx.InputError, match="tube 5 is in the sheet but has no voxel"):
            rx.tubes_from_rois(series, saved(tmp_path, SQUARES, list("9876")), sheet)

    @pytest.mark.parametrize(
        ("names", "complaint"),
        [
            (["1", "2", "water", "3"], "region water has a name that is no number"),
            (["1", "2", "01", "3"], "two regions are named 1"),
        ],
    )
    def test_names_in_doubt(self, tmp_path, names, complaint):
        with pytest.raises(rx.InputError, match=f"RoiSet.zip: {complaint}"):
            rx.tubes_from_rois(blank_series(), saved(tmp_path, SQUARES, names))

    def test_regions_that_overlap(self, tmp_path):
        rois = [*SQUARES[:2], box(ROI_TYPE.OVAL, 4, 3, 12, 9)]
        with pytest.raises(rx.InputError, match="regions of tubes 2 and 3 overlap"):
            rx.tubes_from_rois(blank_series(), saved(tmp_path, rois, ["1", "2", "3"]))


class TestSlices:
    def test_a_position_is_a_slice_and_none_is_all(self, tmp_path):
        rois = [SQUARES[0], box(ROI_TYPE.RECT, 5, 2, 8, 6, position=2)]
        rois.append(box(ROI_TYPE.RECT, 10, 2, 13, 6, c_position=1, z_position=3, t_position=1))
        tubes = rx.tubes_from_rois(
            blank_series((40, 30, 3)), saved(tmp_path, rois, ["1", "2", "3"])
        )
        there = [tubes.voxels(n).any(axis=(0, 1)).tolist() for n in (1, 2, 3)]
        assert there == [[True] * 3, [False, True, False], [False, False, True]]

    def test_of_one_slice_it_is_the_echo_that_was_looked_at(self, tmp_path):
        tubes = drawn(tmp_path, box(ROI_TYPE.RECT, 3, 5, 7, 8, position=2))
        assert tubes.mask.any()

    def test_beyond_the_slices(self, tmp_path):
        with pytest.raises(rx.InputError, match=r"lies in image 7 of a stack; expected slice 1 to"):
            drawn(tmp_path, box(ROI_TYPE.RECT, 3, 5, 7, 8, position=7), blank_series((40, 30, 3)))


class TestHostile:
    def test_a_zip_that_inflates(self, tmp_path):
        file = tmp_path / "bomb.zip"
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("1.roi", b"Iout" + bytes(50_000_000))
        with pytest.raises(rx.InputError, match=r"bomb.zip/1.roi: a region of 50 MB"):
            rx.tubes_from_rois(blank_series(), file)

    def test_thousands_of_regions(self, tmp_path):
        file = tmp_path / "many.zip"
        with zipfile.ZipFile(file, "w") as archive:
            for i in range(1001):
                archive.writestr(f"{i}.roi", b"")
        with pytest.raises(rx.InputError, match=r"1001 regions; expected 1 to 1000"):
            rx.tubes_from_rois(blank_series(), file)

    def test_files_that_are_something_else(self, tmp_path):
        series = blank_series()
        for name, content, complaint in (
            ("empty.roi", b"", "not readable as a region"),
            ("text.roi", b"x" * 100, "not readable as a region"),
            ("large.roi", bytes(2_000_000), "too large for a region"),
            ("text.zip", b"x" * 100, "cannot be unpacked"),
            ("rois.txt", b"1,2,3", "a .txt file; expected .roi or .zip"),
        ):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(rx.InputError, match=f"{name}: .*{complaint}"):
                rx.tubes_from_rois(series, tmp_path / name)
        with zipfile.ZipFile(tmp_path / "none.zip", "w") as archive:
            archive.writestr("readme.txt", "nothing")
            archive.writestr("__MACOSX/._1.roi", "nothing")
        with pytest.raises(rx.InputError, match=r"none\.zip: 0 regions"):
            rx.tubes_from_rois(series, tmp_path / "none.zip")
        with pytest.raises(rx.InputError, match="no such file"):
            rx.tubes_from_rois(series, tmp_path / "absent.zip")

    def test_a_count_of_points_that_is_not_true(self, tmp_path):
        data = bytearray(outline([(2, 3), (6, 3), (6, 9)]).tobytes())
        for n in (20, 60_000):
            data[16:18] = struct.pack(">H", n)
            (tmp_path / "region.roi").write_bytes(data[:90])
            with pytest.raises(rx.InputError, match=r"region\.roi: not readable as a region"):
                rx.tubes_from_rois(blank_series(), tmp_path / "region.roi")

    def test_any_damage_is_an_input_error_or_a_region(self, tmp_path, capfd):
        rng, file, series = np.random.default_rng(0), tmp_path / "region.roi", blank_series()
        whole = [outline([(3, 3), (20, 4), (18, 22)]).tobytes(), SQUARES[1].tobytes()]
        for i in range(200):
            data = bytearray(whole[i % 2])
            for at in rng.integers(4, len(data), 4):
                data[at] = rng.integers(256)
            file.write_bytes(data[: rng.integers(40, len(data) + 1)] if i % 3 == 0 else data)
            with contextlib.suppress(rx.InputError):  # and nothing but an InputError
                assert rx.tubes_from_rois(series, file).mask.any()
        told = capfd.readouterr()
        assert (told.out, told.err) == ("", "")


class TestWhatImageJShows:
    """Column = x, row = y, the first row on top, in the order the file keeps them."""

    def test_of_dicom(self, tmp_path):
        folder = write_study(tmp_path / "study", "small").parent / "dicom" / "t2_mese"
        series = rx.read(folder)
        shown = pydicom.dcmread(min(folder.iterdir())).pixel_array  # (row, column)
        row, column = np.unravel_index(shown.argmax(), shown.shape)
        tubes = drawn(tmp_path, box(ROI_TYPE.RECT, column, row, column + 1, row + 1), series)
        assert series.signal[tubes.voxels(1)][0, 0] == shown[row, column]
        assert series.signal[..., 0].max() == shown[row, column]

    def test_of_nifti(self, tmp_path):
        signal = np.arange(6 * 5 * 2, dtype=np.float32).reshape(6, 5, 1, 2) + 1
        affine = np.diag([-2.0, 2.0, 3.0, 1.0])
        write_series(rx.Series(signal, rx.Protocol(TE=[0.01, 0.02]), affine=affine), tmp_path / "b")
        series = rx.read(tmp_path / "b")
        tubes = drawn(tmp_path, box(ROI_TYPE.RECT, 4, 1, 5, 2), series)
        assert held(tubes) == {(4, 1)}
        assert series.signal[4, 1, 0, 0] == signal[4, 1, 0, 0]
