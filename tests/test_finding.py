"""Finding tubes where they are: simulated racks of every kind, stacks of slices, real scans."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

import relaxometry as rx
from relaxometry.geometry import voxel_size

from .racks import Rack, rack

#: What a rack is made to be; everything else is left to the seed.
CASES = {
    "one tube": (1, {"tubes": 1}),
    "one in a bath": (2, {"tubes": 1, "bath": True, "snr": 20.0}),
    "two": (3, {"tubes": 2, "snr": 12.0}),
    "48 in rows": (4, {"tubes": 48, "layout": "rack", "snr": 15.0}),
    "60 in rows": (5, {"tubes": 60, "layout": "rack", "snr": 30.0, "touching": False}),
    "touching in rows": (6, {"tubes": 20, "layout": "rack", "touching": True, "snr": 25.0}),
    "touching in a bath": (7, {"tubes": 12, "touching": True, "bath": True, "snr": 30.0}),
    "a ring": (8, {"tubes": 16, "layout": "ring", "snr": 10.0}),
    "a ring in a bath": (9, {"tubes": 16, "layout": "ring", "bath": True, "snr": 15.0}),
    "a touching ring": (10, {"tubes": 12, "layout": "ring", "touching": True, "snr": 20.0}),
    "anywhere": (12, {"tubes": 30, "layout": "random", "snr": 12.0}),
    "anywhere in a bath": (13, {"tubes": 30, "layout": "random", "bath": True, "snr": 20.0}),
    "little noise": (14, {"layout": "rack", "snr": 100.0}),
}


def found(scan: Rack) -> np.ndarray:
    """Circles in voxels, in the order of their numbers."""
    tubes = rx.find_tubes(scan.series, order=scan.order, count=len(scan.circles))
    assert tubes.circles is not None
    return tubes.circles / voxel_size(scan.series.affine)[0]


@pytest.mark.parametrize(("seed", "case"), CASES.values(), ids=list(CASES))
def test_all_tubes_and_nothing_else_numbered_and_to_half_a_voxel(seed, case):
    scan = rack(seed, **case)
    verdict = scan.verdict(found(scan))
    assert verdict.right, verdict


@pytest.mark.parametrize("seed", range(400, 412))
def test_faint_tubes_are_found_or_the_number_is_refused(seed):
    scan = rack(seed, snr=5.0)
    told, circles = "", np.empty((0, 3))
    try:
        circles = found(scan)
    except rx.InputError as error:
        told = str(error)
    if told:
        assert re.search(rf"\d+ tubes found in the image, {len(scan.circles)} expected", told)
        assert "circles = " in told
    else:
        verdict = scan.verdict(circles)
        assert verdict.missed == verdict.false == 0
        assert verdict.numbered


def painted(circles, grid=(96, 96), level=1.0, around=0.0, fine=5, size=(1.0, 1.0)):
    """An image of discs; circles in mm from the centre of the first voxel."""
    x = (np.arange(grid[0] * fine) + 0.5) / fine - 0.5
    y = (np.arange(grid[1] * fine) + 0.5) / fine - 0.5
    image = np.full((x.size, y.size), around)
    for cx, cy, radius in circles:
        image[np.hypot(x[:, None] * size[0] - cx, y * size[1] - cy) < radius] = level
    return image.reshape(grid[0], fine, grid[1], fine).mean(axis=(1, 3))


def series_of(images, times, kind="TE", size=(1.0, 1.0, 1.0), sigma=0.02, seed=0):
    """Magnitudes with noise of images (x, y, z, n)."""
    images = np.asarray(images, dtype=float)
    rng = np.random.default_rng(seed)
    noisy = np.hypot(
        images + rng.normal(0, sigma, images.shape), rng.normal(0, sigma, images.shape)
    )
    other = {"TE": {"TR": 3.0}, "TI": {"TE": 0.01, "TR": 10.0}}[kind]
    return rx.Series(
        noisy.astype(np.float32),
        rx.Protocol(**{kind: times}, **other),
        affine=np.diag([-size[0], -size[1], size[2], 1.0]),
        signed=None if kind == "TE" else False,
    )


PLACES = [(20.3, 24.6, 7.2), (48.1, 23.8, 7.2), (75.4, 24.2, 7.2), (30.0, 62.0, 9.5)]


def assert_placed(tubes: rx.Tubes, places, centre=0.1, radius=0.2):
    assert len(tubes) == len(places)
    for (x, y, r), (cx, cy, cr) in zip(places, tubes.circles, strict=True):
        assert np.hypot(x - cx, y - cy) < centre
        assert abs(r - cr) < radius


def test_a_short_T2_shows_in_the_first_echo_only():
    TE = 0.01 * np.arange(1, 17)
    T2 = [0.0047, 0.08, 0.2, 0.03]
    discs = [painted([place]) for place in PLACES]
    images = sum(d[..., None, None] * np.exp(-TE / t) for d, t in zip(discs, T2, strict=True))
    assert_placed(rx.find_tubes(series_of(images, TE, sigma=0.005)), PLACES)


def test_a_null_of_inversion_recovery_hides_no_tube():
    TI = np.array([0.1, 0.4, 0.8, 1.6, 3.2])
    T1 = [0.8 / np.log(2), 0.4 / np.log(2), 0.3, 2.0]
    discs = [painted([place]) for place in PLACES]
    images = sum(
        d[..., None, None] * np.abs(1 - 2 * np.exp(-TI / t)) for d, t in zip(discs, T1, strict=True)
    )
    assert_placed(rx.find_tubes(series_of(images, TI, "TI")), PLACES)


def test_voxels_of_two_widths():
    size = (1.0, 0.6)
    image = painted(PLACES, grid=(96, 160), size=size)[..., None, None] * [1.0, 0.8, 0.6]
    tubes = rx.find_tubes(series_of(image, [0.01, 0.02, 0.03], size=(*size, 1.0)))
    assert_placed(tubes, PLACES, centre=0.2, radius=0.3)


def test_a_region_keeps_clear_of_the_wall():
    image = painted(PLACES)[..., None, None] * [1.0, 0.8, 0.6]
    scan = series_of(image, [0.01, 0.02, 0.03])
    whole = painted(PLACES) > 0.999
    for margin in (None, 1.0, 3.0):
        tubes = rx.find_tubes(scan, margin_mm=margin)
        assert whole[tubes.mask[:, :, 0]].all()
        reach = PLACES[0][2] - (1.5 if margin is None else margin)
        assert (tubes.labels == 1).sum() == pytest.approx(np.pi * reach**2, rel=0.08)


def test_small_round_things_beside_the_rack_are_left_out():
    wells = [(60.0 + 9 * i, 80.0, 3.1) for i in range(3)]
    image = painted([*PLACES, *wells])[..., None, None] * [1.0, 0.8, 0.6]
    scan = series_of(image, [0.01, 0.02, 0.03])
    tubes = rx.find_tubes(scan)
    assert_placed(tubes, PLACES)
    assert tubes.notes == ("left out, less than half as wide as most: 3",)
    with pytest.raises(rx.InputError, match="4 tubes found in the image and 3 less than half as w"):
        rx.find_tubes(scan, count=7)


@pytest.mark.parametrize("strength", [0.03, 0.08])
def test_ghosts_half_the_field_of_view_away_are_no_tubes(strength):
    rack_of_four = [(20.0, 14.0, 6.0), (44.0, 15.0, 6.0), (70.0, 14.5, 6.0), (45.0, 34.0, 6.0)]
    image = painted(rack_of_four)
    image = image + strength * np.roll(image, 48, axis=1)
    tubes = rx.find_tubes(series_of(image[..., None, None] * [1.0, 0.8, 0.6], [0.01, 0.02, 0.03]))
    assert_placed(tubes, rack_of_four)


@pytest.mark.parametrize("cut", [0.7, 1.5, 2.5, 4.0])
def test_a_tube_cut_by_the_edge_is_left_out_and_it_is_said(cut):
    places = [*PLACES, (95.5 - 7.2 + cut, 60.0, 7.2)]
    scan = series_of(painted(places)[..., None, None] * [1.0, 0.8, 0.6], [0.01, 0.02, 0.03])
    tubes = rx.find_tubes(scan)
    assert_placed(tubes, PLACES)
    if cut < 2:
        assert tubes.notes == ("left out, cut by the edge of the image: 1",)
    with pytest.raises(rx.InputError, match=r"4 tubes found in the image.*5 expected"):
        rx.find_tubes(scan, count=5)


def test_a_bubble_in_the_middle_hides_no_tube():
    image = painted(PLACES)
    x, y = np.arange(96)[:, None], np.arange(96)
    image[np.hypot(x - 48.1, y - 23.8) < 3.2] = 0.0
    scan = series_of(image[..., None, None] * [1.0, 0.8, 0.6], [0.01, 0.02, 0.03])
    assert_placed(rx.find_tubes(scan), PLACES, centre=0.2, radius=0.3)


@pytest.mark.parametrize("level", [0.0, 1.0], ids=["air", "water"])
def test_nothing_to_find(level):
    image = np.full((64, 64, 1, 3), level)
    with pytest.raises(rx.InputError, match="0 tubes found in the image"):
        rx.find_tubes(series_of(image, [0.01, 0.02, 0.03], sigma=0.05))


def test_an_image_with_holes_in_its_data():
    image = painted(PLACES)[..., None, None] * np.array([1.0, 0.8, 0.6])
    scan = series_of(image, [0.01, 0.02, 0.03])
    signal = scan.signal.copy()
    signal[5:8, 80:90] = np.nan
    broken = rx.Series(signal, scan.protocol, affine=scan.affine)
    assert_placed(rx.find_tubes(broken), PLACES)


def test_tubes_in_no_rows_are_numbered_by_height_and_it_is_said():
    scan = rack(21, tubes=24, layout="random", snr=30.0, bath=False).series
    tubes = rx.find_tubes(scan)
    assert (np.diff(tubes.circles[:, 1]) >= 0).all()
    assert "do not stand in rows, so they are numbered by height" in tubes.notes[0]
    with pytest.raises(rx.InputError, match="rows"):
        rx.find_tubes(scan, order="rows")


class TestStacks:
    """Tubes are followed from slice to slice."""

    def stack(self, circles_of, slices, sigma=0.02):
        """circles_of(z) for each slice → three echoes."""
        images = np.stack([painted(circles_of(z)) for z in range(slices)], axis=2)
        return series_of(images[..., None] * [1.0, 0.8, 0.6], [0.01, 0.02, 0.03], sigma=sigma)

    def test_tubes_that_lean(self):
        def at(z):
            return [(x + 0.5 * z, y - 0.3 * z, r) for x, y, r in PLACES]

        tubes = rx.find_tubes(self.stack(at, 9))
        assert_placed(tubes, at(4), centre=0.3)
        for z in range(9):
            assert (painted(at(z)) > 0.999)[tubes.mask[:, :, z]].all()
            assert set(np.unique(tubes.labels[:, :, z])) == {0, 1, 2, 3, 4}

    def test_a_long_stack_is_no_worse_for_noise(self):
        tubes = rx.find_tubes(self.stack(lambda _: PLACES, 40, sigma=0.25))
        assert_placed(tubes, PLACES, centre=0.2, radius=0.4)
        assert (tubes.labels == 1).any(axis=(0, 1)).all()

    def test_tubes_that_end(self):
        ends = (12, 7, 12, 9)

        def at(z):
            return [place for place, end in zip(PLACES, ends, strict=True) if z < end]

        tubes = rx.find_tubes(self.stack(at, 12))
        shown = [(tubes.labels == n).any(axis=(0, 1)).sum() for n in (1, 2, 3, 4)]
        assert shown == list(ends)

    def test_spheres(self):
        def at(z):
            radius = np.sqrt(max(8.5**2 - (z - 7) ** 2, 0))
            return [(x, y, radius) for x, y, _ in PLACES[:3]] if radius > 3 else []

        tubes = rx.find_tubes(self.stack(at, 15))
        assert len(tubes) == 3
        for z in range(15):
            inside = painted(at(z)) > 0.999 if at(z) else np.zeros((96, 96), dtype=bool)
            assert inside[tubes.mask[:, :, z]].all()
        assert (tubes.labels[:, :, 7] == 1).sum() > (tubes.labels[:, :, 2] == 1).sum() > 0

    def test_what_shows_in_two_slices_is_no_tube(self):
        def at(z):
            return [*PLACES, (72.0, 66.0, 8.0)] if z in (3, 4) else PLACES

        assert_placed(rx.find_tubes(self.stack(at, 12)), PLACES)

    def test_letters_in_one_wide_tube(self):
        def at(z):
            return [(48.0, 48.0, 36.0)]

        images = np.stack([painted(at(z)) for z in range(8)], axis=2)
        for z in (2, 3, 4):  # an H
            images[36:40, 34:62, z] = images[56:60, 34:62, z] = images[40:56, 46:50, z] = 0.1
        scan = series_of(images[..., None] * [1.0, 0.8, 0.6], [0.01, 0.02, 0.03])
        assert_placed(rx.find_tubes(scan), at(0), radius=0.3)


@pytest.mark.real_data
class TestReal:
    def test_all_spheres_of_the_system_phantom_without_a_template(self, real_data: Path):
        from relaxometry.circles import find_circles

        folder = real_data / "system_phantom"
        for plate, known in json.loads((folder / "expected.json").read_text()).items():
            series = rx.read(folder / plate)
            dx, dy, _ = voxel_size(series.affine)
            image = series.root_sum_of_squares()[:, :, 0]
            circles = find_circles(image, dx, dy, series.signal.shape[-1])
            true = np.array(known["sphere_centres_row_col"])[:, ::-1]
            apart = np.hypot(*(circles[:, None, :2] / (dx, dy) - true).transpose(2, 0, 1))
            assert apart.min(axis=0).max() < 1.5, plate
            # Posts and wells of the plate are round too, but there are few of them.
            assert len(circles) <= 14 + 4, plate

    @pytest.mark.parametrize("scan", ["9", "11"])
    def test_the_one_wide_tube_of_the_Bruker_scans(self, real_data: Path, scan: str):
        series = rx.read(real_data / "bruker_7T" / "paravision" / scan)
        tubes = rx.find_tubes(series)
        assert len(tubes) == 1
        assert tubes.circles is not None
        dx, dy, _ = voxel_size(series.affine)
        # In the last but one slice there is nothing but water: its area and its middle.
        water = series.root_sum_of_squares()[:, :, 7]
        ix, iy = np.nonzero(water > np.median(water[80:110, 60:100]) / 2)
        x, y, radius = tubes.circles[0]
        assert radius == pytest.approx(np.sqrt(ix.size * dx * dy / np.pi), abs=0.7 * dx)
        assert np.hypot(x - ix.mean() * dx, y - iy.mean() * dy) < 0.5 * dx
