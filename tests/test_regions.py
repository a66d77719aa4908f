"""Regions by name: label images, outlines of ImageJ, circles, and what is refused."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
from roifile import ImagejRoi

import relaxometry as rx
from relaxometry.nifti import write_volume

AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])
GRID = (10, 8, 2)


def labels():
    image = np.zeros(GRID, dtype=np.int16)
    image[1:3, 1:3], image[5:8, 2:6, 0] = 1, 2
    return image


@pytest.fixture
def nifti(tmp_path):
    path = tmp_path / "regions.nii.gz"
    write_volume(path, labels(), AFFINE)
    return path


class TestLabels:
    def test_by_label_and_by_name(self, nifti):
        regions = rx.read_regions(nifti, names={"tumour": 1, "liver": 2})
        assert repr(regions) == ("Regions: tumour 8, liver 12 voxels, label image regions.nii.gz")
        np.testing.assert_array_equal(regions.mask("liver"), labels() == 2)
        np.testing.assert_array_equal(regions.mask(1), labels() == 1)
        assert regions.name(2) == "liver"

    @pytest.mark.parametrize(
        ("file", "text"),
        [
            ("names.csv", "label,name\n1,tumour\n2,liver\n"),
            ("names.csv", "name;label\ntumour;1\nliver;2\n"),
            ("names.toml", "tumour = 1\nliver = 2\n"),
        ],
    )
    def test_names_from_a_file(self, nifti, tmp_path, file, text):
        (tmp_path / file).write_text(text)
        regions = rx.read_regions(nifti, names=tmp_path / file)
        assert dict(regions.names) == {"tumour": 1, "liver": 2}

    @pytest.mark.parametrize(
        ("file", "text", "complaint"),
        [
            ("names.csv", "label,colour\n1,red\n", "no column name"),
            ("names.csv", "label,name\n1,tumour\n1,liver\n", "'liver' or label 1 twice"),
            ("names.csv", "label,name\n1,tumour\n2,tumour\n", "'tumour' or label 2 twice"),
            (
                "names.csv",
                "label,name\n0,air\n",
                "label of air: '0'; expected a whole number from 1",
            ),
            ("names.csv", "label,name\none,air\n", "label of air: 'one'; expected a number"),
            ("names.csv", "label,name\n1,\n", "'' = 1; expected a name"),
            ("names.toml", "tumour = 1.5\n", "'tumour' = 1.5; expected a name and a whole number"),
            ("names.toml", "tumour = true\n", "'tumour' = True; expected a name"),
            ("names.toml", "tumour =\n", "not readable as TOML"),
        ],
    )
    def test_names_that_are_none(self, nifti, tmp_path, file, text, complaint):
        (tmp_path / file).write_text(text)
        with pytest.raises(rx.InputError, match=complaint) as caught:
            rx.read_regions(nifti, names=tmp_path / file)
        assert caught.value.path == str(tmp_path / file)

    @pytest.mark.parametrize(
        ("region", "complaint"),
        [
            ("kidney", "no region 'kidney'; expected tumour, lung"),
            (7, "no voxel has label 7; expected one of 1, 2"),
            ("lung", "no voxel has label 9"),
        ],
    )
    def test_a_region_there_is_none_of(self, nifti, region, complaint):
        regions = rx.read_regions(nifti, names={"tumour": 1, "lung": 9})
        with pytest.raises(rx.InputError, match=complaint):
            regions.mask(region)

    def test_a_name_where_none_has_one(self, nifti):
        with pytest.raises(rx.InputError, match="no region 'liver'; expected labels: none has"):
            rx.read_regions(nifti).mask("liver")


class TestOnAnotherGrid:
    def test_the_same_grid_is_the_same(self, nifti):
        regions = rx.read_regions(nifti)
        assert regions.on(GRID, AFFINE) is regions

    def test_one_slice_of_the_stack(self, nifti):
        second = AFFINE.copy()
        second[2, 3] = 3.0  # the second slice alone
        found = rx.read_regions(nifti).on((10, 8, 1), second)
        np.testing.assert_array_equal(found.labels, labels()[..., 1:])

    def test_finer_voxels_take_the_label_their_centre_lies_in(self, nifti):
        fine = np.diag([1.0, 1.0, 3.0, 1.0])
        fine[:2, 3] = -0.5
        found = rx.read_regions(nifti).on((20, 16, 2), fine)
        np.testing.assert_array_equal(found.labels, labels().repeat(2, 0).repeat(2, 1))

    def test_a_slice_taken_the_other_way_round(self, nifti):
        turned = AFFINE @ np.array([[0, -1, 0, 9], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
        found = rx.read_regions(nifti).on((8, 10, 2), turned)
        np.testing.assert_array_equal(found.labels, labels()[::-1].swapaxes(0, 1))

    def test_outside_there_is_nothing(self, nifti):
        away = AFFINE.copy()
        away[0, 3] = 8.0
        found = rx.read_regions(nifti).on(GRID, away)
        np.testing.assert_array_equal(found.labels[:6], labels()[4:])
        assert not found.labels[6:].any()

    def test_elsewhere_is_an_error(self, nifti):
        away = AFFINE.copy()
        away[0, 3] = 500.0
        with pytest.raises(rx.GeometryError, match="lie elsewhere than the images"):
            rx.read_regions(nifti).on(GRID, away)


class TestDrawn:
    def test_imagej(self, tmp_path):
        square = np.array([[1, 1], [4, 1], [4, 4], [1, 4]], dtype=np.float32)
        path = tmp_path / "RoiSet.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name, points in (("tumour", square), ("liver", square + 4)):
                archive.writestr(f"{name}.roi", ImagejRoi.frompoints(points).tobytes())
        regions = rx.read_regions(path, GRID, AFFINE)
        assert dict(regions.names) == {"tumour": 1, "liver": 2}
        np.testing.assert_array_equal(np.argwhere(regions.mask("tumour")).min(0), [1, 1, 0])
        assert regions.mask("tumour").sum() == 2 * 9
        assert regions.source == "drawn in ImageJ"

    def test_circles(self):
        regions = rx.read_regions({"tube": [6.0, 6.0, 2.0]}, GRID, AFFINE)
        x, y, _ = np.nonzero(regions.mask("tube"))
        assert set(zip(x.tolist(), y.tolist(), strict=True)) == {
            (3, 3), (2, 3), (4, 3), (3, 2), (3, 4),
        }  # fmt: skip

    def test_circles_of_a_file_in_their_slices(self, tmp_path):
        path = tmp_path / "circles.csv"
        path.write_text(
            "name,x_mm,y_mm,radius_mm,slice\nliver,6,6,2,1\nliver,8,6,2,2\nmuscle,14,10,1,\n"
        )
        regions = rx.read_regions(path, GRID, AFFINE)
        assert dict(regions.names) == {"liver": 1, "muscle": 2}
        assert regions.mask("liver")[3, 3].tolist() == [True, True]
        assert regions.mask("liver")[5, 3].tolist() == [False, True]
        assert regions.mask("muscle")[7, 5].tolist() == [True, True]

    @pytest.mark.parametrize(
        ("rows", "complaint"),
        [
            ("a,6,6,99,\n", r"circle a: \(6, 6\) mm with radius 99 mm; expected voxels within"),
            ("a,6,6,-1,\n", "circle a"),
            ("a,6,x,1,\n", "y_mm of a: 'x'; expected a number"),
            ("a,6,6,1,3\n", "slice 3 of a; expected 1 to 2, or none"),
            ("a,6,6,1,0\n", "slice of a: '0'"),
            (",6,6,1,\n", "name: no name"),
            ("a,6,6,2,\nb,7,6,2,\n", "regions a and b overlap"),
        ],
    )
    def test_circles_that_are_none(self, tmp_path, rows, complaint):
        path = tmp_path / "circles.csv"
        path.write_text("name,x_mm,y_mm,radius_mm,slice\n" + rows)
        with pytest.raises(rx.InputError, match=complaint) as caught:
            rx.read_regions(path, GRID, AFFINE)
        assert caught.value.path == str(path)

    @pytest.mark.parametrize(
        ("given", "options", "complaint"),
        [
            ({"a": [1, 2]}, {}, r"circle a: \[1, 2\]; expected \[x, y, radius\] in mm"),
            ({"a": [1, 2, float("nan")]}, {}, "circle a"),
            ({"a": [6, 6, 2]}, {"names": {"b": 1}}, "names for regions that have their own"),
            ({"a": [6, 6, 2]}, {"grid": None}, "no image they were drawn on"),
            ("mask.png", {}, "a .png file; expected a label image"),
        ],
    )
    def test_what_is_no_region(self, given, options, complaint):
        options = {"grid": GRID, "affine": AFFINE} | options
        with pytest.raises(rx.InputError, match=complaint):
            rx.read_regions(given, **options)
