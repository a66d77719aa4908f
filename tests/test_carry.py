"""Tubes carried to other grids, and followed where the phantom was moved between two scans."""

from __future__ import annotations

import json

import numpy as np
import pytest

import relaxometry as rx
from relaxometry.bids import write_series

from .painted import Rack, axial, coronal, regular, swapped, turned

DIRECTIONS = [(1, 0), (0, -1), (-0.6, 0.8), (np.sqrt(0.5), np.sqrt(0.5))]


RACK = regular()
FINE, COARSE = axial(160, 0.2), axial(100, 0.35)


@pytest.fixture(scope="module")
def fine():
    return RACK.scan(FINE, "T2")


@pytest.fixture(scope="module")
def placed(fine):
    return RACK.placed(fine)


@pytest.fixture(scope="module")
def stack():
    """The same in 3-D: 16 slices of 1 mm."""
    return RACK.scan(axial(160, 0.2, 16, 1.0), "T2")


class Leaning:
    """A rack whose tubes lean by mm along x and y per mm of height."""

    def __init__(self, rack, lean):
        self.rack, self.lean = rack, np.eye(4)
        self.lean[:2, 2] = -np.array(lean)

    def scan(self, grid, kind, seed=0):
        # In a frame that leans with them the tubes are upright.
        upright = self.rack.scan((self.lean @ grid[0], grid[1]), kind, seed=seed)
        return rx.Series(upright.signal, upright.protocol, affine=grid[0], signed=False)

    def shares(self, affine, voxels):
        return self.rack.shares(self.lean @ affine, voxels)


class Spheres:
    """Spheres of one radius at z = 0."""

    def __init__(self, rack):
        self.rack, self.radius = rack, rack.tubes[0, 2]

    def scan(self, grid, kind, seed=0):
        affine, shape = grid
        shares = self.shares(affine, np.indices(shape).reshape(3, -1)).reshape(-1, *shape)
        protocol = rx.Protocol(TE=[0.01, 0.02]) if kind == "T2" else rx.Protocol(TR=[1.0, 5.0])
        image = np.repeat(1000 * shares.sum(axis=0)[..., None], 2, axis=3)
        noise = np.random.default_rng(seed).normal(0, 20, (2, *image.shape))
        return rx.Series(np.hypot(image + noise[0], noise[1]), protocol, affine=affine)

    def shares(self, affine, voxels, points=4):
        along = (np.arange(points) + 0.5) / points - 0.5
        shares = np.zeros((len(self.rack.tubes), voxels.shape[1]))
        for offset in np.stack(np.meshgrid(along, along, along)).reshape(3, -1).T:
            at = affine[:3, :3] @ (voxels + offset[:, None]) + affine[:3, 3:]
            for share, (x, y, radius) in zip(shares, self.rack.tubes, strict=True):
                share += (at[0] - x) ** 2 + (at[1] - y) ** 2 + at[2] ** 2 <= radius**2
        return shares / points**3


def found_shift(tubes):
    """In the plane of the scanner; None where it was not judged."""
    return None if tubes.shift_mm is None else tubes.shift_mm[:2]


GRIDS = {
    "coarser": axial(128, 0.35),
    "finer": axial(256, 0.15),
    "another field of view": axial(120, 0.33, middle=(1.37, -2.11)),
    "swapped and flipped": swapped(axial(128, 0.35, middle=(0.4, 0.7))),
    "turned in the plane": turned(axial(128, 0.35), 20, (0, 1)),
    "a thicker slice": axial(160, 0.2, 1, 5.0),
    "3-D": axial(100, 0.3, 5, 1.2),
    "tilted": turned(axial(100, 0.35, 12, 1.0), 20, (1, 2)),
    "coronal": coronal(96, 0.35, 60, 0.4),
    "coronal, thick": coronal(96, 0.35, 24, 1.0),
}


class TestGrids:
    @pytest.mark.parametrize("given", ["circles", "labels"])
    @pytest.mark.parametrize("name", GRIDS)
    def test_every_voxel_lies_wholly_in_its_tube(self, stack, name, given):
        affine, shape = GRIDS[name]
        tubes = RACK.placed(stack)
        if given == "labels":
            tubes = rx.tubes_from_labels(tubes.labels, tubes.affine, tubes.sheet, stack)
        carried = tubes.on(RACK.scan(GRIDS[name], "T1", seed=3))
        assert carried.notes == ()  # nothing has moved
        assert carried.labels.shape == shape
        for i, number in enumerate(tubes.numbers):
            at = np.argwhere(carried.voxels(number)).T
            assert RACK.shares(affine, at)[i].min() > 0.99
            centre = affine[:3, :3] @ at.mean(axis=1) + affine[:3, 3]
            voxel = np.abs(affine[:2, :3]).sum(axis=1)
            assert (np.abs(centre[:2] - RACK.tubes[i, :2]) <= 0.5 * voxel).all()
            # What is measured is not a remnant: at least a quarter of what lies in the slab.
            volume = abs(np.linalg.det(affine[:3, :3])) * at.shape[1]
            thick = min(16.0, abs(affine[2, :3]).dot(shape))
            assert volume > 0.25 * np.pi * RACK.tubes[i, 2] ** 2 * thick

    @pytest.mark.parametrize("name", ["coarser", "finer", "thick", "tilted", "coronal"])
    @pytest.mark.parametrize("shape", ["leaning", "spheres"])
    def test_a_tube_whose_circle_changes_from_slice_to_slice(self, shape, name):
        """Leaning by 3 voxels over 9 slices, or round along the normal, too."""
        if shape == "leaning":
            phantom = Leaning(regular(2, 2, 6.0, 2.0), np.array([0.9, 0.45]) / 8)
        else:
            phantom = Spheres(regular(2, 2, 9.0, 3.6))
        series = phantom.scan(axial(72, 0.3, 9, 1.0 if shape == "leaning" else 0.6), "T2")
        grid = {
            "coarser": axial(50, 0.45, 6, 1.1),
            "finer": axial(100, 0.2, 9, 0.9),
            "thick": axial(50, 0.42, 1, 4.0),
            "tilted": turned(axial(60, 0.35, 10, 1.0), 20, (1, 2)),
            "coronal": coronal(60, 0.35, 50, 0.4),
        }[name]
        tubes = rx.find_tubes(series, count=4)
        assert (tubes.labels != tubes.labels[..., 4:5]).any()
        carried = tubes.on(phantom.scan(grid, "T1", seed=3), shift="ignore")
        volumes = []
        for number in carried.numbers:
            shares = phantom.shares(grid[0], np.argwhere(carried.voxels(number)).T)
            own = shares[shares.mean(axis=1).argmax()]
            assert own.min() > 0.99
            volumes.append(own.size * abs(np.linalg.det(grid[0][:3, :3])))
        measured = tubes.mask.sum() / 4 * abs(np.linalg.det(series.affine[:3, :3]))
        assert min(volumes) > 0.15 * measured

    def test_labels_by_hand_stay_on_their_own_voxels(self, fine, placed):
        tubes = rx.tubes_from_labels(placed.labels, FINE[0], placed.sheet, fine)
        for other in (fine, RACK.scan(FINE, "T1", seed=1)):
            carried = tubes.on(other)
            np.testing.assert_array_equal(carried.labels, tubes.labels)
            assert carried.notes == ()

    @pytest.mark.parametrize("given", ["circles", "labels"])
    def test_a_small_region_deep_in_a_tube_keeps_its_size(self, given):
        """Its wall is seen far away: a voxel on the border of what was drawn does no harm."""
        rack = regular(3, 3, 9.0, 3.5)
        series = rack.scan(FINE, "T2")
        small = Rack(rack.tubes * (1, 1, 0.3), rack.T1, rack.T2).placed(series, margin=False)
        if given == "labels":
            small = rx.tubes_from_labels(small.labels, small.affine, None, series)
        other = rack.scan(axial(170, 0.2, middle=(0.11, 0.07)), "T1")
        carried = small.on(other)
        for number in small.numbers:
            drawn = small.voxels(number).sum()
            assert carried.voxels(number).sum() == pytest.approx(drawn, rel=0.1)
        # Without the image only what lies wholly inside what was drawn is sure.
        alone = rx.tubes_from_labels(small.labels, small.affine).on(other)
        assert alone.mask.sum() < 0.85 * carried.mask.sum()
        assert alone.shift_mm is None
        assert alone.notes == (
            "not checked whether the phantom moved: labels alone do not show where it was",
        )

    def test_from_a_slice_along_the_tubes(self):
        """Stripes drawn on a coronal slice of 2 mm, measured on axial slices."""
        rack = regular(4, 1, 8.0, 2.6)
        affine, shape = coronal(96, 0.4, 1, 2.0)
        series = rack.scan((affine, shape), "T2")
        x = affine[0, 0] * np.arange(96) + affine[0, 3]
        labels = np.zeros(shape, dtype=int)
        for number, (place, _, _) in enumerate(rack.tubes, start=1):
            labels[np.abs(x - place) < 1.4, 30:66] = number
        tubes = rx.tubes_from_labels(labels, affine, None, series)
        grid = axial(120, 0.35, 8, 1.0)
        carried = tubes.on(rack.scan(grid, "T1"))
        for i, number in enumerate(tubes.numbers):
            at = np.argwhere(carried.voxels(number)).T
            assert rack.shares(grid[0], at)[i].min() > 0.99
        # Walls that run along the slice are no circles.
        assert carried.shift_mm is None
        assert carried.notes[0].startswith("not checked whether the phantom moved")
        # Voxels longer than the slice is thick stick out of what was drawn.
        with pytest.raises(rx.GeometryError, match="too coarse"):
            tubes.on(rack.scan(axial(16, 2.5), "T1"))

    def test_there_and_back(self, placed):
        """Nothing is gained by a journey: what comes back lies in what went out."""
        there = placed.on(RACK.scan(axial(300, 0.11), "T1"))
        back = there.on(RACK.scan(FINE, "T1", seed=2))
        assert ((back.labels == placed.labels) | (back.labels == 0)).all()
        assert len(np.unique(back.labels)) == 17

    def test_voxels_too_coarse_for_a_tube(self, placed):
        coarse = RACK.scan(axial(14, 2.6), "T1")
        with pytest.raises(rx.GeometryError, match=r"inside tube 1: its voxels .* too coarse"):
            placed.on(coarse)

    def test_a_tube_outside(self, placed):
        with pytest.raises(rx.GeometryError, match="tube 13 lies outside the other series"):
            placed.on(RACK.scan(axial(100, 0.3, middle=(0, -9)), "T1"))

    def test_slices_where_the_tube_was_not_drawn(self, stack):
        labels = np.array(RACK.placed(stack).labels)
        labels[..., :4] = labels[..., 12:] = 0  # from −4 to 4 mm
        tubes = rx.tubes_from_labels(labels, stack.affine, None, stack)
        grid = axial(160, 0.2, 5, 3.0)  # slices of 3 mm at −6, −3, 0, 3, 6 mm
        carried = tubes.on(RACK.scan(grid, "T1"))
        assert carried.labels.any(axis=(0, 1)).tolist() == [False, False, True, False, False]


class TestMoved:
    @pytest.mark.parametrize("distance", [0, 0.3, 1, 2, 2.9])
    @pytest.mark.parametrize("direction", DIRECTIONS)
    def test_a_nudge_is_followed(self, placed, distance, direction):
        shift = distance * np.array(direction)
        there = RACK.moved(shift)
        carried = placed.on(there.scan(COARSE, "T1", snr=30, seed=5))
        assert np.abs(found_shift(carried) - shift).max() <= 0.3 * 0.35
        for i, number in enumerate(carried.numbers):
            at = np.argwhere(carried.voxels(number)).T
            assert there.shares(COARSE[0], at)[i].min() > 0.99
        if distance:
            x, y = -shift  # along a row and down a column, which run to the left and to the back
            (note,) = carried.notes
            told = note.replace("−", "-").replace(")", "").replace(",", "").split()
            assert note.startswith(f"tubes moved by {distance:.1f} mm (x ")
            np.testing.assert_allclose((float(told[6]), float(told[8])), (x, y), atol=0.1)
        else:
            assert carried.notes == ()

    @pytest.mark.parametrize("snr", [10, 50])
    def test_no_false_alarm_and_how_sure_it_is(self, placed, snr):
        """SD over 20 seeds: below 0.02 voxel of 0.35 mm for 16 tubes, and SNR from 10 on."""
        shifts = []
        for seed in range(20 if snr == 10 else 5):
            small = RACK.scan(axial(80, 0.45), "T1", snr=snr, seed=seed, points=(3, 3, 1))
            assert placed.on(small).notes == ()
            follow = RACK.moved((1, -1)).scan(COARSE, "T1", snr=snr, seed=seed, points=(3, 3, 1))
            shifts.append(found_shift(placed.on(follow)) - (1, -1))
        assert np.std(shifts) < 0.02 * 0.35
        assert np.abs(np.mean(shifts, axis=0)).max() < 0.05 * 0.35

    @pytest.mark.parametrize("direction", DIRECTIONS)
    @pytest.mark.parametrize("shape", [(4, 4), (5, 1), (2, 2)])
    def test_six_mm_are_refused_even_where_that_is_the_next_tube(self, direction, shape):
        rack = regular(*shape)
        tubes = rack.placed(rack.scan(axial(200, 0.25), "T2"))
        away = rack.moved(6 * np.array(direction)).scan(axial(140, 0.35), "T1", seed=1)
        with pytest.raises(rx.GeometryError, match=r"the tubes lie (5\.9|6\.0|6\.1) mm .* moved"):
            tubes.on(away)
        ignored = tubes.on(away, shift="ignore") if shape == (2, 2) else None
        assert ignored is None or ignored.notes == ()

    def test_beyond_what_is_searched_nothing_is_made_up(self, placed):
        """Tubes that left for good: refused or said not to be judged, never followed."""
        away = RACK.moved((14, 0)).scan(axial(160, 0.35), "T1")
        with pytest.raises(rx.GeometryError, match="phantom was moved"):
            placed.on(away)

    def test_a_turn_is_followed_up_to_three_degrees(self, placed):
        there = RACK.moved((0.8, -0.4), degrees=2)
        carried = placed.on(there.scan(COARSE, "T1"))
        (note,) = carried.notes
        assert "turned by 2.0°" in note
        for i, number in enumerate(carried.numbers):
            at = np.argwhere(carried.voxels(number)).T
            assert there.shares(COARSE[0], at)[i].min() > 0.99
        with pytest.raises(rx.GeometryError, match=r"turned by 5\.0°"):
            placed.on(RACK.moved(degrees=5).scan(COARSE, "T1"))

    @pytest.mark.parametrize(
        ("grid", "seen"),
        [
            (turned(axial(100, 0.35, 12, 1.0), 20, (1, 2)), (True, True)),
            (coronal(96, 0.35, 60, 0.4), (True, True)),
            (coronal(96, 0.35, 24, 1.0), (True, True)),
            (coronal(96, 0.35, 12, 2.0), (True, False)),  # slices nearly as thick as a tube is wide
        ],
        ids=["tilted", "coronal", "thick", "thicker"],
    )
    def test_across_orientations(self, stack, grid, seen):
        shift = np.where(seen, (1.4, -1.1), (1.4, 0))
        carried = RACK.placed(stack).on(RACK.moved(shift).scan(grid, "T1", seed=7))
        assert np.abs(found_shift(carried) - shift).max() < 0.3 * 0.35
        assert any("in one direction only" in note for note in carried.notes) is not all(seen)

    def test_tubes_in_water(self):
        rack = regular(bath=0.9)
        tubes = rack.placed(rack.scan(FINE, "T2"))
        carried = tubes.on(rack.moved((-1, 1.5)).scan(COARSE, "T1"))
        assert np.abs(found_shift(carried) - (-1, 1.5)).max() < 0.3 * 0.35

    def test_bottles_in_water(self):
        """Each with a dark shell, and so with a second wall of the other sign close by."""
        rack = regular(3, 3, 12.0, 3.0)

        def scan(rack, grid, kind):
            inner = rack.scan(grid, kind, snr=1e9)
            outer = Rack(rack.tubes + np.array([0, 0, 1.0]), rack.T1, rack.T2)
            affine, shape = grid
            shares = outer.shares(affine, np.indices(shape).reshape(3, -1), (4, 4, 1))
            water = 600 * (1 - shares.sum(axis=0)).reshape(*shape, 1)
            noise = np.random.default_rng(0).normal(0, 20, (2, *inner.signal.shape))
            signal = np.hypot(inner.signal + water + noise[0], noise[1])
            return rx.Series(signal, inner.protocol, affine=affine, signed=False)

        tubes = rack.placed(scan(rack, axial(200, 0.2), "T2"))
        # A dim content shows the outside of its shell.
        np.testing.assert_allclose(tubes.walls.radii, [4, 4, *[3] * 7], atol=0.1)
        for shift in ((0, 0), (1.5, -1.5)):
            carried = tubes.on(scan(rack.moved(shift), axial(120, 0.35), "T1"))
            assert np.abs(found_shift(carried) - shift).max() < 0.3 * 0.35

    @pytest.mark.parametrize("given", ["circles", "labels"])
    def test_regions_drawn_by_hand_well_inside_the_tubes(self, fine, given):
        """Small, and each off by up to 0.4 mm: it is the images that are compared."""
        rng = np.random.default_rng(0)
        by_hand = RACK.tubes + np.column_stack([rng.uniform(-0.4, 0.4, (16, 2)), np.full(16, -1)])
        tubes = Rack(by_hand, RACK.T1, RACK.T2).placed(fine, margin=False)
        if given == "labels":
            tubes = rx.tubes_from_labels(tubes.labels, tubes.affine, None, fine)
        assert tubes.on(RACK.scan(FINE, "T1")).notes == ()
        carried = tubes.on(RACK.moved((1, 1)).scan(FINE, "T1"))
        assert np.abs(found_shift(carried) - 1).max() < 0.3 * 0.2
        centres = [np.argwhere(tubes.voxels(n)).mean(axis=0) for n in tubes.numbers]
        follow = [np.argwhere(carried.voxels(n)).mean(axis=0) for n in tubes.numbers]
        np.testing.assert_allclose(np.subtract(follow, centres)[:, :2], -5, atol=0.5)

    def test_one_tube_alone(self):
        rack = Rack(np.array([(0, 0, 3.0)]), np.array([1.0]), np.array([0.1]))
        tubes = rack.placed(rack.scan(FINE, "T2"))
        for shift in ((0, 0), (2, 0), (1, 2)):
            carried = tubes.on(rack.moved(shift).scan(COARSE, "T1"))
            assert np.abs(found_shift(carried) - shift).max() < 0.3 * 0.35
        with pytest.raises(rx.GeometryError, match=r"6\.0 mm"):
            tubes.on(rack.moved((0, 6)).scan(axial(128, 0.35), "T1"))

    def test_a_tube_that_left_the_others(self, fine):
        loose = RACK.moved()
        loose.tubes[6, :2] += 0.9, 0.6
        other = loose.scan(COARSE, "T1")
        with pytest.raises(rx.GeometryError, match=r"tube 7 has moved by 1\.\d mm against the oth"):
            RACK.placed(fine).on(other)
        excluded = [n == 7 for n in range(1, 17)]
        sheet = {"exclude": excluded, "reason": ["fell over" if e else "" for e in excluded]}
        assert RACK.placed(fine, **sheet).on(other).notes[0].startswith("tube 7 has moved by 1.")

    def test_tubes_without_signal_follow_the_others(self, placed):
        dim = RACK.moved((1, 0))
        dim.T1[[0, 3, 6, 9]] = 1e4
        carried = placed.on(dim.scan(COARSE, "T1"))
        assert len(carried.notes) == 2
        assert carried.notes[1].startswith("tubes 1, 4, 7, 10: no wall shows in its place")
        assert np.abs(found_shift(carried) - (1, 0)).max() < 0.3 * 0.35
        dim.T1[:4] = 1e4  # a whole row: the rest is as regular without it
        carried = placed.on(dim.scan(axial(128, 0.35), "T1"))
        assert carried.notes[2].startswith("a shift by 6 mm more would look the same")
        assert np.abs(found_shift(carried) - (1, 0)).max() < 0.3 * 0.35

    @pytest.mark.parametrize("far", [(12, 0), (11, 0), (13, 0), (12, 12)])
    def test_a_rack_moved_by_about_its_pitch_is_refused(self, far):
        """Most tubes lie where others lay, some in air."""
        rack = regular(3, 3, 12.0, 4.0)
        tubes = rack.placed(rack.scan(axial(160, 0.5), "T2"))
        with pytest.raises(rx.GeometryError, match="phantom was moved"):
            tubes.on(rack.moved(far).scan(axial(140, 0.6), "T1"))

    @pytest.mark.parametrize("far", [(15, 0), (-14, 14), (25, 3)])
    def test_an_irregular_rack_moved_far_is_refused(self, far):
        places = [(-15, -12), (-2, -16), (11, -9), (-9, 0), (5, 2), (-14, 13), (2, 15), (14, 12)]
        tubes = np.array([(x, y, 3.5) for x, y in places])
        rack = Rack(tubes, np.geomspace(0.3, 2.5, 8), np.geomspace(0.02, 0.2, 8))
        placed = rack.placed(rack.scan(axial(160, 0.5), "T2"))
        words = r"lie (15|19|20|25)\.\d mm .* phantom was moved"
        with pytest.raises(rx.GeometryError, match=words):
            placed.on(rack.moved(far).scan(axial(160, 0.6), "T1"))

    def test_empty_images_do_not_make_two_series_one(self, fine):
        away = RACK.moved((4.5, 0)).scan(FINE, "T1")
        blank = fine.signal.copy(), away.signal.copy()
        blank[0][..., -1] = blank[1][..., 0] = 0
        first, second = (
            rx.Series(signal, one.protocol, affine=one.affine, signed=False)
            for signal, one in zip(blank, (fine, away), strict=True)
        )
        with pytest.raises(rx.GeometryError, match="phantom was moved"):
            RACK.placed(first).on(second)

    @pytest.mark.parametrize("distance", [3.5, 4.0, 5.0])
    def test_a_tube_that_moved_far_alone(self, distance):
        rack = regular(3, 3, 14.0, 4.0)
        placed = rack.placed(rack.scan(axial(120, 0.4), "T2"))
        loose = rack.moved()
        loose.tubes[4, 0] += distance
        with pytest.raises(rx.GeometryError, match="tube 5 has moved by"):
            placed.on(loose.scan(axial(100, 0.5), "T1"))

    def test_a_tube_taken_out_is_noted(self):
        rack = regular(3, 3, 14.0, 4.0)
        placed = rack.placed(rack.scan(axial(120, 0.4), "T2"))
        out = Rack(rack.tubes[:8], rack.T1[:8], rack.T2[:8])
        (note,) = placed.on(out.scan(axial(100, 0.5), "T1")).notes
        assert note.startswith("tube 9: no wall shows in its place")

    @pytest.mark.parametrize("what", ["nothing", "noise"])
    def test_an_image_without_tubes_cannot_be_judged(self, placed, what):
        empty = Rack(RACK.tubes, RACK.T1 * 1e30, RACK.T2)
        blank = empty.scan(COARSE, "T1", snr=1e9 if what == "nothing" else 20)
        carried = placed.on(blank)
        assert carried.shift_mm is None
        assert carried.notes == (
            "not checked whether the phantom moved: the walls of the tubes do not show",
        )

    def test_part_of_a_regular_rack_does_not_tell_one_place_from_the_next(self, fine):
        middle = [5, 6, 9, 10]
        four = Rack(RACK.tubes[middle], RACK.T1[middle], RACK.T2[middle]).placed(fine)
        carried = four.on(RACK.scan(COARSE, "T1"))
        (note,) = carried.notes
        assert note.startswith("a shift by 6 mm more would look the same")
        np.testing.assert_array_equal(carried.shift_mm, 0)

    def test_refused_or_ignored_if_asked(self, placed):
        other = RACK.moved((1, 1)).scan(COARSE, "T1")
        with pytest.raises(rx.GeometryError, match=r"lie 1\.4 mm \(x −1\.0, y −1\.0\) from where"):
            placed.on(other, shift="refuse")
        still = RACK.scan(COARSE, "T1")
        refusing = placed.on(still, shift="refuse")
        np.testing.assert_array_equal(refusing.labels, placed.on(still).labels)
        np.testing.assert_array_equal(placed.on(other, shift="ignore").labels, refusing.labels)
        with pytest.raises(rx.InputError, match="shift: 'follow'; expected correct or refuse or"):
            placed.on(other, shift="follow")

    @pytest.mark.parametrize("shift", ["correct", "ignore"])
    @pytest.mark.parametrize("grid", [FINE, COARSE], ids=["same grid", "another"])
    def test_once_carried_it_stays_where_it_is(self, placed, shift, grid):
        """Another echo left out must not move the regions again."""
        other = RACK.moved((0.5, 0)).scan(grid, "T1")
        carried = placed.on(other, shift)
        assert carried.on(other) is carried
        assert carried.on(other.drop([1, 2], "short")) is carried

    def test_circles_follow_on_the_same_grid(self, placed):
        carried = placed.on(RACK.moved((1, 0.5)).scan(FINE, "T1"))
        np.testing.assert_allclose(
            carried.circles[:, :2] - placed.circles[:, :2], [[-1, -0.5]] * 16, atol=0.06
        )
        assert carried.labels.astype(bool).sum() > 0.8 * placed.mask.sum()


@pytest.mark.real_data
class TestRealScans:
    """The system phantom: T1 and T2 scans of one sitting, on grids a few voxels apart.

    On the GE scanner the T2 images lie 0.6 mm from the T1 images; the centres that another program
    found, to about 0.2 mm, say 0.4 and 0.55 mm. On the Philips scanner they lie on one another.
    """

    def placed(self, real_data, plate):
        folder = real_data / "system_phantom"
        series = rx.read(folder / plate)
        expected = json.loads((folder / "expected.json").read_text())[plate]
        across, down = np.linalg.norm(series.affine[:3, :2], axis=0)
        centres = expected["sphere_centres_row_col"]
        circles = [(c * across, r * down, 2.5 * across) for r, c in centres]
        return rx.tubes_from_circles(series, circles), series

    @pytest.mark.parametrize("plate", [4, 5])
    @pytest.mark.parametrize(("scanner", "moved"), [("ge_1p5T", 0.6), ("philips_1p5T", 0.0)])
    def test_the_shift_between_T1_and_T2(self, real_data, plate, scanner, moved):
        T1, T1_series = self.placed(real_data, f"{scanner}/T1_plate{plate}")
        T2, T2_series = self.placed(real_data, f"{scanner}/T2_plate{plate}")
        there, back = T1.on(T2_series), T2.on(T1_series)
        for carried, sign in ((there, 1), (back, -1)):
            np.testing.assert_allclose(carried.shift_mm, (0, 0, sign * moved), atol=0.1)
            # Of some spheres T2 is so short, or T1 so long, that no wall shows.
            followed = [n for n in carried.notes if "no wall shows" not in n]
            assert len(followed) == (1 if moved else 0)
        # The regions land where the other program has its spheres, to half a voxel.
        for carried, drawn in ((there, T2), (back, T1)):
            for number in carried.numbers:
                centre, expected = (
                    np.argwhere(t.voxels(number)).mean(axis=0) for t in (carried, drawn)
                )
                assert np.hypot(*(centre - expected)[:2]) < 0.75


class TestTimes:
    """T1 and T2 of the same tubes from series of different matrix and orientation."""

    rack = regular(3, 2, 9.0, 3.0)
    grids = (axial(96, 0.35, 8, 1.5), coronal(80, 0.45, 40, 0.6))

    def series(self, shift=(0, 0)):
        T2 = self.rack.scan(self.grids[0], "T2", snr=100)
        return T2, self.rack.moved(shift).scan(self.grids[1], "T1", snr=100, seed=2)

    def check(self, table):
        for name, truth in (("T1", self.rack.T1), ("T2", self.rack.T2)):
            off = np.abs(table[f"{name}_s"] - truth)
            assert (off < 0.01 * truth + 4 * table[f"{name}_stderr_s"]).all(), name

    @pytest.mark.parametrize("shift", [(0, 0), (1.5, 1.2)])
    def test_in_the_table(self, shift):
        T2, T1 = self.series(shift)
        tubes = self.rack.placed(T2)
        maps = [rx.fit_maps(one, mask=tubes.on(one).mask, progress=False) for one in (T1, T2)]
        self.check(rx.tube_table(tubes, *maps))

    def study(self, folder, shift, more=""):
        T2, T1 = self.series(shift)
        for name, one in (("t2", T2), ("t1", T1)):
            write_series(one, folder / name)
        rows = [f"{i},C3,{c}" for i, c in enumerate((0.1, 0.2, 0.3, 0.4, 0.5, 0.6), start=1)]
        (folder / "tubes.csv").write_text("tube,agent,concentration_mM\n" + "\n".join(rows))
        circles = [[float(v) for v in c] for c in self.rack.placed(T2).circles]
        (folder / "study.toml").write_text(
            '[T1]\npath = "t1"\n[T2]\npath = "t2"\n'
            'drop_echoes = [1]\ndrop_reason = "stimulated echo"\n'
            f'[tubes]\nsheet = "tubes.csv"\ncircles = {circles}\nmargin_mm = 0.6\n{more}'
        )
        return folder / "study.toml"

    def test_in_a_study(self, tmp_path):
        toml = self.study(tmp_path, (1.4, -1.4))
        result = rx.analyse(toml, progress=False)
        (warning,) = [w for w in result.warnings if "moved" in w]
        assert warning == "T1: tubes moved by 2.0 mm (x −1.4, y +1.4) against T2; regions follow"
        self.check(result.tube_table)

    def test_a_study_with_another_phantom_position(self, tmp_path):
        toml = self.study(tmp_path, (6, 0))
        with pytest.raises(rx.GeometryError, match=r"T1: the tubes lie 6\.0 mm .* scan again"):
            rx.analyse(toml, progress=False)

    @pytest.mark.parametrize("shift", ["refuse", "ignore"])
    def test_a_study_may_refuse_or_ignore(self, tmp_path, shift):
        toml = self.study(tmp_path, (0.8, 0), f'shift = "{shift}"\n')
        if shift == "refuse":
            with pytest.raises(rx.GeometryError, match=r"T1: the tubes lie 0\.8 mm"):
                rx.analyse(toml, progress=False)
        else:
            result = rx.analyse(toml, progress=False)
            assert not [w for w in result.warnings if "moved" in w]
            assert result.tubes["T1"].shift_mm is None
