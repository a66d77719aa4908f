"""Tubes: drawn by hand, found in the image, carried to another grid."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import relaxometry as rx
from relaxometry.simulate import Agent, Phantom, Scan, TubeSpec, mese, phantom, t1_series

ECHOES = rx.Protocol(TE=np.arange(1, 17) * 0.010, TR=3.0)


def sheet_of(numbers, **columns):
    table = pd.DataFrame({"tube": list(numbers), "agent": "C3", "concentration_mM": 0.1})
    return table.assign(**columns)


def blank_series(grid, affine):
    return rx.Series(np.ones((*grid, 2)), rx.Protocol(TE=[0.01, 0.02]), affine=affine)


class TestLabels:
    labels = np.zeros((4, 4, 1), dtype=np.int16)
    labels[:2, :2], labels[2:, 2:] = 7, 2

    def test_every_number_is_a_tube(self):
        tubes = rx.tubes_from_labels(self.labels, np.eye(4))
        assert tubes.numbers == [2, 7]
        assert len(tubes) == 2
        np.testing.assert_array_equal(tubes.voxels(7), self.labels == 7)
        np.testing.assert_array_equal(tubes.mask, self.labels > 0)
        assert repr(tubes) == "Tubes: 2, 4 voxels each"

    def test_the_sheet_keeps_its_order(self):
        tubes = rx.tubes_from_labels(self.labels, np.eye(4), sheet_of([7, 2], agent=["A", "B"]))
        assert tubes.numbers == [7, 2]
        assert repr(tubes) == "Tubes: 2, 4 voxels each: A, B"
        other = tubes.with_sheet(sheet_of([2, 7], agent=["D", "C"]))
        assert list(other.sheet["agent"]) == ["D", "C"]
        assert list(tubes.sheet["agent"]) == ["A", "B"]

    @pytest.mark.parametrize(
        ("numbers", "complaint"),
        [
            ([7], r"tube 2 is drawn but not in the sheet \(2 drawn, 1 listed\)"),
            ([2, 7, 9], "tube 9 is in the sheet but has no voxel"),
            ([2, 2, 7], "tube 2 is listed twice"),
            ([0, 7], "tube in row 1: '0'"),
            ([2.5, 7], "tube in row 1: '2.5'"),
        ],
    )
    def test_labels_and_sheet_must_agree(self, numbers, complaint):
        with pytest.raises(rx.InputError, match=complaint):
            rx.tubes_from_labels(self.labels, np.eye(4), sheet_of(numbers))

    @pytest.mark.parametrize(
        "labels", [labels * 0, labels - 7, labels + 0.5, labels[0, 0], labels == 7]
    )
    def test_labels_that_are_none(self, labels):
        with pytest.raises(rx.InputError, match="labels"):
            rx.tubes_from_labels(labels, np.eye(4))

    def test_a_table_read_by_pandas_means_what_the_file_says(self, tmp_path):
        file = tmp_path / "tubes.csv"
        file.write_text("tube,agent,concentration_mM,exclude\n2,C3,0.4,no\n7,,0,yes\n")
        ours = rx.tubes_from_labels(self.labels, np.eye(4), file)
        pandas = rx.tubes_from_labels(self.labels, np.eye(4), pd.read_csv(file))
        pd.testing.assert_frame_equal(ours.sheet, pandas.sheet)
        assert list(ours.sheet["exclude"]) == [False, True]
        assert repr(pandas) == "Tubes: 2, 4 voxels each: C3"
        with pytest.raises(rx.InputError, match="no column tube"):
            rx.tubes_from_labels(self.labels, np.eye(4), pd.DataFrame({"agent": ["C3"]}))

    def test_labels_cannot_be_changed(self):
        tubes = rx.tubes_from_labels(self.labels, np.eye(4))
        with pytest.raises(ValueError, match="read-only"):
            tubes.labels[0] = 1


class TestCircles:
    """x runs along a row, y down a column, in mm from the centre of the first voxel."""

    def test_against_a_mask_made_by_hand(self):
        # Voxels of 1 mm: the centres within 1.5 mm of (2, 3).
        expected = np.zeros((7, 6), dtype=int)
        for x, y in [(1, 2), (2, 2), (3, 2), (1, 3), (2, 3), (3, 3), (1, 4), (2, 4), (3, 4)]:
            expected[x, y] = 1
        tubes = rx.tubes_from_circles(blank_series((7, 6, 1), np.eye(4)), [[2, 3, 1.5]])
        np.testing.assert_array_equal(tubes.labels[..., 0], expected)

    def test_of_voxels_that_are_not_square(self):
        # Steps of 1 mm along a row and 2 mm down a column, turned and moved: only steps count.
        affine = np.array([[0, 2, 0, 30], [-1, 0, 0, -4], [0, 0, 5, 9], [0, 0, 0, 1.0]])
        series = blank_series((7, 6, 3), affine)
        tubes = rx.tubes_from_circles(series, [[3, 4, 2.0]], sheet_of([5]))
        at = sorted(map(tuple, np.argwhere(tubes.voxels(5)[..., 0]).tolist()))
        assert at == [(1, 2), (2, 2), (3, 1), (3, 2), (3, 3), (4, 2), (5, 2)]
        np.testing.assert_array_equal(tubes.labels[..., 0], tubes.labels[..., 2])  # all slices

    def test_a_margin_is_taken_off_each_radius(self):
        series = blank_series((20, 20, 1), np.eye(4))
        shrunk = rx.tubes_from_circles(series, [[9, 9, 6]], margin_mm=2)
        small = rx.tubes_from_circles(series, [[9, 9, 4]])
        np.testing.assert_array_equal(shrunk.labels, small.labels)
        np.testing.assert_array_equal(shrunk.circles, [[9, 9, 6]])

    def test_one_per_row_of_the_sheet_in_its_order(self):
        series = blank_series((20, 20, 1), np.eye(4))
        tubes = rx.tubes_from_circles(series, [[5, 5, 3], [14, 14, 3]], sheet_of([8, 3]))
        assert (tubes.labels[5, 5, 0], tubes.labels[14, 14, 0]) == (8, 3)

    @pytest.mark.parametrize(
        ("circles", "complaint"),
        [
            ([[5, 5, 3], [9, 5, 3]], "circles of tubes 1 and 2 overlap"),
            ([[40, 5, 3]], r"circle of tube 1 at \(40, 5\) mm.*within 19 × 19 mm"),
            ([[18, 5, 3]], "radius 3 mm, reaches out of the image"),
            ([[5, 0, 3]], "radius 3 mm, reaches out of the image"),
            ([[5, 5, 0]], "circle of tube 1"),
            ([[5, 5, -3]], "circle of tube 1"),
            ([[5.5, 5.5, 0.5]], "circle of tube 1"),  # between the voxels
            ([[5, 5]], "circles: not a list of"),
            ([5, 5, 3], "circles: not a list of"),
            ([[5, 5, "wide"]], "circles: not a list of"),
            ([[5, 5, np.nan]], "circles: not a list of"),
            ([[5, 5, 3], [1, 2]], "circles: not a list of"),
            ([], "circles: not a list of"),
        ],
    )
    def test_circles_that_cannot_be_right(self, circles, complaint):
        with pytest.raises(rx.InputError, match=complaint):
            rx.tubes_from_circles(blank_series((20, 20, 1), np.eye(4)), circles)

    def test_another_number_than_the_sheet_lists(self):
        with pytest.raises(rx.InputError, match="1 circles for 2 tubes in the sheet"):
            rx.tubes_from_circles(
                blank_series((20, 20, 1), np.eye(4)), [[5, 5, 3]], sheet_of([1, 2])
            )

    @pytest.mark.parametrize("margin", [-1.0, float("nan"), float("inf"), 3.0])
    def test_a_margin_that_cannot_be_right(self, margin):
        with pytest.raises(rx.InputError, match=r"margin_mm|circle of tube 1"):
            rx.tubes_from_circles(
                blank_series((20, 20, 1), np.eye(4)), [[5, 5, 3]], margin_mm=margin
            )


class TestOnAnotherGrid:
    """Carried voxel by voxel through the affines."""

    affine = np.array([[-0.5, 0, 0, 10], [0, -0.5, 0, 10], [0, 0, 3, 0], [0, 0, 0, 1.0]])

    @pytest.fixture
    def tubes(self):
        series = blank_series((40, 40, 1), self.affine)
        return rx.tubes_from_circles(series, [[5, 5, 3], [14, 6, 4], [8, 15, 3]])

    def test_its_own_grid_is_itself(self, tubes):
        assert tubes.on(blank_series((40, 40, 1), self.affine)) is tubes

    def test_flipped_and_swapped_axes(self, tubes):
        index = np.array([[0, -1, 0, 39], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
        other = blank_series((40, 40, 1), self.affine @ index)  # new (i, j) was (39 − j, i)
        np.testing.assert_array_equal(tubes.on(other).labels[..., 0], tubes.labels[::-1, :, 0].T)

    def test_a_shifted_field_of_view(self, tubes):
        shift = np.eye(4)
        shift[:2, 3] = 3, -2  # new (i, j) was (i + 3, j − 2)
        carried = tubes.on(blank_series((40, 44, 1), self.affine @ shift)).labels[..., 0]
        np.testing.assert_array_equal(carried[:37, 2:42], tubes.labels[3:, :, 0])
        assert not carried[37:].any()
        assert not carried[:, :2].any()

    def test_half_the_resolution(self, tubes):
        # A voxel of 1 mm covers two by two; its centre lies half a small voxel further in.
        half = self.affine @ np.array(
            [[2, 0, 0, 0.5], [0, 2, 0, 0.5], [0, 0, 1, 0], [0, 0, 0, 1.0]]
        )
        coarse = blank_series((20, 20, 1), half)
        carried = tubes.on(coarse)
        for number in tubes.numbers:
            places = [
                (affine @ np.array([*np.argwhere(t.voxels(number)).mean(axis=0), 1]))[:2]
                for t, affine in ((tubes, self.affine), (carried, half))
            ]
            assert np.linalg.norm(places[0] - places[1]) < 0.5  # half of a coarse voxel, mm
        # Those that lie wholly inside: the four corners do.
        edges = np.arange(21) - 0.25  # in mm; a voxel lies between two
        for number, (x, y, radius) in zip(tubes.numbers, tubes.circles, strict=True):
            inside = (edges[:, None] - x) ** 2 + (edges - y) ** 2 <= radius**2
            whole = inside[:-1, :-1] & inside[1:, :-1] & inside[:-1, 1:] & inside[1:, 1:]
            np.testing.assert_array_equal(carried.voxels(number)[..., 0], whole)
        assert carried.circles is None

    def test_more_slices_take_only_those_that_were_drawn(self, tubes):
        thin = self.affine @ np.diag([1, 1, 1 / 3, 1.0])
        thin[2, 3] = -2  # slices at −2, −1, 0, 1, 2 mm; drawn from −1.5 to 1.5
        carried = tubes.on(blank_series((40, 40, 5), thin)).labels
        assert carried.any(axis=(0, 1)).tolist() == [False, True, True, True, False]
        np.testing.assert_array_equal(carried[..., 2], tubes.labels[..., 0])

    @pytest.mark.parametrize(("shift", "tube"), [([100, 0, 0], 1), ([0, 0, 5], 1), ([0, 9, 0], 1)])
    def test_tubes_that_are_not_there(self, tubes, shift, tube):
        moved = self.affine.copy()
        moved[:3, 3] -= shift
        with pytest.raises(rx.GeometryError, match=f"tube {tube} lies outside the other series"):
            tubes.on(blank_series((40, 40, 1), moved))


def rack(places, T2, matrix=96, field_of_view=48.0):
    """A phantom of tubes (x, y, radius) in mm, all of one T1."""
    tubes = tuple(
        TubeSpec(i + 1, "C3", 0.1, 1.0, 1 / t, x, y, radius)
        for i, ((x, y, radius), t) in enumerate(zip(places, T2, strict=True))
    )
    scan = Scan(7.0, matrix, field_of_view, 3.0, ECHOES, rx.Protocol(TE=0.01, TR=[0.5, 1, 3]))
    return Phantom(scan, (Agent("C3", 1.0, 100.0),), tubes, 0.4, 9.0)


# Rows not quite level, radii from 2 to 4.5 mm, one tube gone after the first echo (T2 = 5 ms).
UNEQUAL = rack(
    [(8, 9, 4.5), (22, 8, 3), (37, 9.5, 2), (9, 26, 2.5), (23, 25, 4), (37, 26, 3), (16, 40, 2)],
    [0.08, 0.005, 0.06, 0.02, 0.03, 0.1, 0.05],
)


def assert_found(tubes, truth, voxel):
    assert len(tubes) == len(truth.tubes)
    for circle, tube in zip(tubes.circles, truth.tubes, strict=True):
        np.testing.assert_allclose(circle[:2], (tube.x, tube.y), atol=0.5 * voxel)
        assert circle[2] == pytest.approx(tube.radius, abs=0.5 * voxel)


class TestFinding:
    @pytest.mark.parametrize("seed", range(3))
    @pytest.mark.parametrize("scan", [mese, t1_series])
    def test_all_tubes_of_the_sample_phantom(self, seed, scan):
        truth = phantom("small")
        tubes = rx.find_tubes(scan(truth, seed, snr=300))
        assert tubes.numbers == list(range(1, 17))
        assert_found(tubes, truth, truth.voxel)

    @pytest.mark.parametrize("seed", range(3))
    def test_unequal_tubes_and_one_that_vanishes(self, seed):
        series = mese(UNEQUAL, seed, snr=200)
        tubes = rx.find_tubes(series, sheet_of(range(1, 8)))
        assert_found(tubes, UNEQUAL, UNEQUAL.voxel)
        # Clear of the wall: every voxel measured lies wholly in its tube.
        share = UNEQUAL._shares()
        for number in tubes.numbers:
            assert (share[number - 1][tubes.voxels(number)[..., 0]] == 1).all()

    def test_voxels_that_are_not_square(self):
        places = [(9, 9, 5), (24, 8, 4), (38, 9, 3.5), (9, 26, 3.5), (24, 26, 5), (38, 27, 4)]
        truth = rack(places, [0.08, 0.006, 0.06, 0.02, 0.03, 0.1])
        fine = mese(truth, 0, snr=200)
        pairs = np.array(fine.signal, dtype=float).reshape(96, 48, 2, 1, 16).mean(axis=2)
        affine = fine.affine @ np.array(
            [[1, 0, 0, 0], [0, 2, 0, 0.5], [0, 0, 1, 0], [0, 0, 0, 1.0]]
        )
        tubes = rx.find_tubes(rx.Series(pairs, ECHOES, affine=affine))
        # The first voxel's centre lies a quarter of a mm further down than that of the truth.
        true = [(t.x, t.y - 0.25, t.radius) for t in truth.tubes]
        off = np.abs(tubes.circles - true)
        assert (off <= (0.25, 0.5, 0.3)).all()  # half a voxel

    @pytest.mark.parametrize("snr", [150, 2000])
    def test_tubes_that_ringing_joins(self, snr):
        """A coarse matrix rings at several percent, far above the noise of a good scan."""
        truth, n, finer = phantom("small"), 64, 4
        at = np.arange(n * finer) / finer * truth.voxel
        middle = slice(n * finer // 2 - n // 2, n * finer // 2 + n // 2)
        rng = np.random.default_rng(0)
        echoes = np.zeros((n, n, 16), dtype=complex)
        for tube in truth.tubes:
            disc = (at[:, None] - tube.x) ** 2 + (at - tube.y) ** 2 <= tube.radius**2
            k_space = np.fft.fftshift(np.fft.fft2(disc))[middle, middle] / finer**2
            image = np.fft.ifft2(np.fft.ifftshift(k_space))
            echoes += image[..., None] * np.exp(-ECHOES.TE * tube.R2)
        noise = rng.normal(0, 1 / snr, (2, *echoes.shape))
        signal = np.abs(echoes + noise[0] + 1j * noise[1])
        tubes = rx.find_tubes(rx.Series(1000 * signal, ECHOES, affine=truth.affine))
        assert_found(tubes, truth, truth.voxel)

    def test_what_is_not_round_is_no_tube(self):
        signal = np.zeros((96, 96, 1, 16))
        signal[10:20, 10:60], signal[40:80, 40:80] = 1000, 800  # a ruler and a box
        decayed = signal * np.exp(-ECHOES.TE / 0.05)
        noisy = decayed + np.random.default_rng(0).rayleigh(2, decayed.shape)
        with pytest.raises(rx.InputError, match="0 tubes found"):
            rx.find_tubes(rx.Series(noisy, ECHOES))

    def test_rows_of_flat_voxels_stay_apart(self):
        """Four small voxels to one down a column: a row is told by mm, not by voxels."""
        truth = rack([(x, y, 4) for y in (8, 20, 32) for x in (8, 20, 32)], [0.05] * 9, 160, 40.0)
        fine = mese(truth, 0)
        flat = np.array(fine.signal, dtype=float).reshape(160, 40, 4, 1, 16).mean(axis=2)
        affine = fine.affine @ np.diag([1, 4, 1, 1.0])
        tubes = rx.find_tubes(rx.Series(flat, ECHOES, affine=affine))
        np.testing.assert_allclose(
            tubes.circles[:, :2], [(t.x, t.y) for t in truth.tubes], atol=0.6
        )

    @pytest.mark.parametrize("angle", [-8, 8])
    def test_a_rack_that_is_not_level(self, angle):
        turn = np.radians(angle)
        places = [
            (
                24 + x * np.cos(turn) - y * np.sin(turn),
                24 + x * np.sin(turn) + y * np.cos(turn),
                3,
            )
            for y in (-13.5, -4.5, 4.5, 13.5)
            for x in (-13.5, -4.5, 4.5, 13.5)
        ]
        truth = rack(places, [0.05] * 16)
        assert_found(rx.find_tubes(mese(truth, 0)), truth, truth.voxel)

    @pytest.mark.parametrize(
        ("turned", "affine"),
        [
            (lambda a: a[:, ::-1], [[1, 0, 0, 0], [0, -1, 0, 95], [0, 0, 1, 0], [0, 0, 0, 1]]),
            (lambda a: a[::-1], [[-1, 0, 0, 95], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
            (
                lambda a: a.swapaxes(0, 1),
                [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]],
            ),
        ],
        ids=["flipped down", "flipped along", "swapped"],
    )
    def test_numbers_do_not_depend_on_the_order_of_the_file(self, turned, affine):
        """As dcm2niix flips y: the same tube has the same number, by what the affine says."""
        series = mese(UNEQUAL, 0, snr=200)
        other = rx.Series(turned(series.signal), ECHOES, affine=series.affine @ np.array(affine))
        here, there = rx.find_tubes(series), rx.find_tubes(other)
        np.testing.assert_array_equal(turned(here.labels), there.labels)

    def test_the_number_counts_and_not_the_row_of_the_sheet(self):
        """A sheet sorted by concentration still means the tube that bears the number."""
        truth = phantom("small")
        series = mese(truth, 0)
        sheet = sheet_of(
            [t.number for t in truth.tubes],
            concentration_mM=[t.concentration_mM for t in truth.tubes],
        )
        shuffled = sheet.sort_values("concentration_mM")
        tubes = rx.find_tubes(series, shuffled)
        np.testing.assert_array_equal(tubes.labels, rx.find_tubes(series).labels)
        assert tubes.numbers == list(shuffled["tube"])
        # Numbers that start elsewhere follow the same order.
        later = rx.find_tubes(series, sheet.assign(tube=sheet["tube"] + 100))
        np.testing.assert_array_equal(
            later.labels, np.where(tubes.labels > 0, tubes.labels + 100, 0)
        )

    def test_over_slices(self):
        one = mese(UNEQUAL, 0, snr=200)
        three = replace(one, signal=np.repeat(one.signal, 3, axis=2))
        tubes = rx.find_tubes(three)
        assert tubes.labels.shape == (96, 96, 3)
        np.testing.assert_array_equal(tubes.labels[..., :1], rx.find_tubes(one).labels)

    @pytest.mark.parametrize(("listed", "found"), [(15, 16), (17, 16)])
    def test_another_number_than_the_sheet_lists(self, listed, found):
        series = mese(phantom("small"), 0)
        with pytest.raises(
            rx.InputError, match=f"{found} tubes found in the image, {listed} listed in the sheet"
        ):
            rx.find_tubes(series, sheet_of(range(1, listed + 1)))

    def test_nothing_to_find(self):
        noise = np.random.default_rng(0).rayleigh(10, (32, 32, 1, 16))
        for signal in (noise, np.zeros_like(noise), np.full_like(noise, 7)):
            with pytest.raises(rx.InputError, match="0 tubes found"):
                rx.find_tubes(rx.Series(signal, ECHOES))

    def test_orders_there_are(self):
        with pytest.raises(rx.InputError, match="order: 'diagonal'; expected rows or columns"):
            rx.find_tubes(mese(UNEQUAL, 0), order="diagonal")


def test_a_label_file_is_read_with_its_affine(tmp_path):
    import nibabel

    labels = np.zeros((8, 9, 2), dtype=np.int16)
    labels[2:4, 3:6], labels[5:7, 3:6] = 1, 2
    path = tmp_path / "labels.nii.gz"
    nibabel.save(nibabel.Nifti1Image(labels, np.diag([0.5, 0.5, 2.0, 1.0])), path)
    tubes = rx.tubes_from_labels(*rx.read_labels(path))
    np.testing.assert_array_equal(tubes.labels, labels)
    with pytest.raises(rx.InputError, match=r"a path; expected an array.*rx\.read_labels"):
        rx.tubes_from_labels(path, np.eye(4))


def test_circles_that_contradict_themselves(tmp_path):
    path = tmp_path / "circles.csv"
    head = "tube,x_mm,y_mm,radius_mm,margin_mm,x_voxel,y_voxel,radius_voxels\n"
    path.write_text(head + "1,2.0,3.0,1.0,0.2,10,15,5\n2,6.0,3.0,1.0,0.2,33,15,5\n")
    scan = mese(UNEQUAL, 0, snr=200)
    with pytest.raises(rx.InputError, match=r"x_mm and x_voxel of tube .*different places"):
        rx.tubes_from_circles(scan, path)
