"""Numbering: what a person would read off the picture, or a refusal, never a guess."""

from __future__ import annotations

import numpy as np
import pytest

import relaxometry as rx
from relaxometry.order import ORDERS, checked_order, in_order
from relaxometry.simulate import Agent, Phantom, Scan, TubeSpec, mese

ECHOES = rx.Protocol(TE=np.arange(1, 5) * 0.020, TR=3.0)


def turned(places, tilt):
    """Places (right, down), the rack turned clockwise by so many degrees and moved."""
    cos, sin = np.cos(np.radians(tilt)), np.sin(np.radians(tilt))
    return np.asarray(places, float) @ np.array([[cos, sin], [-sin, cos]]) + (31, -17)


def rack(rows, columns, right=11.0, down=13.0, shift=0.0, at=0.0):
    """A rack in the order of its rows from `at`, every second row shifted, in mm."""
    return np.array(
        [
            (at + c * right + shift * (r % 2), at + r * down)
            for r in range(rows)
            for c in range(columns)
        ]
    )


def ring(degrees, radius=40.0):
    """Places at angles clockwise from the top."""
    at = np.radians(degrees)
    return np.column_stack([radius * np.sin(at), -radius * np.cos(at)]) + np.array([50, 60])


def numbered(places, order="rows", seed=0, radii=4.0, **how):
    """The places, found in any order, as `in_order` numbers them: their indices as given."""
    places = np.asarray(places, float)
    radii = np.broadcast_to(radii, len(places))
    shuffle = np.random.default_rng(seed).permutation(len(places))
    return shuffle[in_order(places[shuffle], radii[shuffle], order, **how)].tolist()


class TestRows:
    @pytest.mark.parametrize("tilt", [-40, -27, -12, 0, 5, 18, 33, 40])
    @pytest.mark.parametrize("seed", range(4))
    def test_of_a_rack_that_is_tilted_with_tubes_that_are_not_quite_in_line(self, tilt, seed):
        rng = np.random.default_rng(seed)
        places = turned(rack(4, 6) + rng.normal(0, 0.4, (24, 2)), tilt)
        radii = rng.uniform(3, 5, 24)
        assert numbered(places, radii=radii) == list(range(24))

    @pytest.mark.parametrize("tilt", [-40, -15, 0, 20, 40])
    @pytest.mark.parametrize("seed", range(4))
    def test_of_a_rack_with_empty_places(self, tilt, seed):
        rng = np.random.default_rng(seed)
        there = np.sort(rng.choice(30, 24, replace=False))
        places = turned(rack(5, 6)[there] + rng.normal(0, 0.3, (24, 2)), tilt)
        assert numbered(places) == list(range(24))

    @pytest.mark.parametrize("tilt", [-40, 0, 40])
    def test_a_single_row_and_a_single_column(self, tilt):
        assert numbered(turned(rack(1, 7), tilt)) == list(range(7))
        assert numbered(turned(rack(7, 1), tilt)) == list(range(7))

    def test_one_tube(self):
        for order in set(ORDERS) - {"grid"}:
            assert numbered([(3, 4)], order) == [0]
        assert numbered([(3, 4)], "grid", grid=np.array([[0, 7]])) == [0]

    def test_rows_that_are_shifted_against_each_other(self):
        assert numbered(turned(rack(4, 5, 11, 10, shift=5.5), 9)) == list(range(20))

    def test_five_as_on_a_die(self):
        """Its diagonals are rows as well, and no person reads them so while it lies level."""
        die = [(0, 0), (20, 0), (10, 10), (0, 20), (20, 20)]
        assert numbered(die) == [0, 1, 2, 3, 4]
        with pytest.raises(rx.InputError, match="can be read in rows tilted by"):
            numbered(turned(die, 12))

    def test_60_tubes(self):
        assert numbered(turned(rack(6, 10), -22)) == list(range(60))

    @pytest.mark.parametrize(
        "places",
        [
            turned(rack(3, 3, 12, 12), 45),
            turned(rack(4, 4, 12, 12), 44),
            np.vstack([ring(9 + np.arange(10) * 36), ring([20, 110, 200, 290], 15)]),
            np.random.default_rng(3).uniform(0, 100, (25, 2)),
        ],
        ids=["a diamond", "nearly a diamond", "two rings", "anywhere"],
    )
    def test_no_rows_that_can_be_told_apart(self, places):
        for order in ("rows", "columns", "serpentine"):
            with pytest.raises(rx.InputError, match=r"order: .*say grid = \[\[1, 2") as error:
                numbered(places, order)
            assert 'order = "height"' in str(error.value)

    def test_by_height_where_there_are_none(self):
        places = np.random.default_rng(3).uniform(0, 100, (25, 2))
        assert (np.diff(places[numbered(places, "height"), 1]) > 0).all()


class TestColumnsAndSerpentine:
    @pytest.mark.parametrize("tilt", [-35, 0, 35])
    def test_columns_run_down_from_the_left(self, tilt):
        places = turned(rack(3, 4), tilt)
        assert numbered(places, "columns") == [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]

    @pytest.mark.parametrize("tilt", [-35, 0, 35])
    def test_every_second_row_runs_backwards(self, tilt):
        places = turned(rack(3, 4), tilt)
        assert numbered(places, "serpentine") == [0, 1, 2, 3, 7, 6, 5, 4, 8, 9, 10, 11]


class TestRing:
    @pytest.mark.parametrize("first", [-5, 0, 3, 12, 15])
    def test_clockwise_from_the_top(self, first):
        """A tube at the very top is the first, even if it is off by a few degrees."""
        assert numbered(ring(first + np.arange(12) * 30), "ring") == list(range(12))

    @pytest.mark.parametrize("start", [90, 90 - 360, 450, 93, 85])
    def test_from_a_stated_angle(self, start):
        assert numbered(ring(np.arange(12) * 30), "ring", start_angle=start) == [
            *(3, 4, 5, 6, 7, 8, 9, 10, 11, 0, 1, 2)
        ]

    @pytest.mark.parametrize("seed", range(4))
    def test_with_empty_places_and_tubes_that_are_not_quite_in_line(self, seed):
        rng = np.random.default_rng(seed)
        there = np.sort(rng.choice(np.arange(1, 16), 11, replace=False))
        places = ring(there * 22.5) + rng.normal(0, 0.4, (11, 2))
        assert numbered(places, "ring", radii=rng.uniform(3, 6, 11)) == list(range(11))

    def test_half_a_ring(self):
        assert numbered(ring(np.linspace(190, 370, 7)), "ring") == [6, 0, 1, 2, 3, 4, 5]
        assert numbered(ring(np.linspace(200, 340, 7)), "ring") == list(range(7))

    def test_where_the_first_is_in_doubt(self):
        with pytest.raises(rx.InputError, match="start_angle: a tube lies at 351°") as error:
            numbered(ring(-9 + np.arange(12) * 30), "ring")
        assert "351 to begin with it, 6 to begin after it" in str(error.value)
        places = ring(-9 + np.arange(12) * 30)
        assert numbered(places, "ring", start_angle=351) == list(range(12))
        assert numbered(places, "ring", start_angle=6) == [*range(1, 12), 0]

    @pytest.mark.parametrize(
        ("places", "complaint"),
        [
            (np.vstack([ring(np.arange(8) * 45), [[50, 60]]]), "on no ring: the one in the middle"),
            (rack(3, 4), "lie on no ring"),
            (np.vstack([ring(np.arange(8) * 45), ring([100], 44)]), "on no ring: .* right"),
            (ring(np.linspace(10, 60, 6), 90.0), "span only 50° of a ring"),
            (ring([0, 45, 90, 94, 180, 270]), "two of the tubes found lie at one angle .* 9[04]°"),
            (rack(1, 5), r"on no ring|span only"),
        ],
    )
    def test_what_is_no_ring(self, places, complaint):
        with pytest.raises(rx.InputError, match=f"order: .*{complaint}"):
            numbered(places, "ring", radii=3.0)


class TestGrid:
    grid = np.array([[12, 0, 3], [0, 0, 0], [4, 50, 6], [0, 8, 0]])

    @pytest.mark.parametrize("tilt", [-40, -10, 0, 25, 40])
    @pytest.mark.parametrize("seed", range(3))
    def test_numbers_as_a_person_sees_the_rack(self, tilt, seed):
        row, column = np.nonzero(self.grid)
        jitter = np.random.default_rng(seed).normal(0, 0.4, (6, 2))
        places = turned(np.column_stack([column * 11, row * 14]) + jitter, tilt)
        numbers = self.grid[row, column]
        assert numbers[numbered(places, "grid", seed, grid=self.grid)].tolist() == [
            *(3, 4, 6, 8, 12, 50)
        ]

    @pytest.mark.parametrize(
        ("places", "grid", "complaint"),
        [
            (rack(2, 3), [[1, 2], [3, 4]], "6 tubes found, 4 in the grid"),
            (rack(2, 3), [[1, 2], [3, 4], [5, 6]], "do not stand in these rows and columns"),
            (rack(2, 2), [[1, 2, 3, 4]], "do not stand in these rows and columns"),
            (ring(np.arange(6) * 60), [[1, 2], [3, 4], [5, 6]], "do not stand in these"),
            (turned(rack(2, 2, 12, 12), 45), [[1, 2], [3, 4]], "on this grid tilted by"),
        ],
    )
    def test_tubes_that_stand_otherwise(self, places, grid, complaint):
        with pytest.raises(rx.InputError, match=f"grid: .*{complaint}"):
            numbered(places, "grid", grid=np.array(grid))

    @pytest.mark.parametrize(
        ("grid", "complaint"),
        [
            ([], "rows of equal length"),
            ("1, 2", "rows of equal length"),
            ([1, 2], "rows of equal length"),
            (["12", "34"], "rows of equal length"),
            ([[1, 2], [3]], "rows of equal length"),
            ([[1, -2]], "rows of equal length"),
            ([[1, 2.5]], "rows of equal length"),
            ([[True, 2]], "rows of equal length"),
            ([[0, 0]], "rows of equal length"),
            ([[2**40]], "rows of equal length"),
            ([[1, 2], [2, 0]], "tube 2 stands there twice"),
        ],
    )
    def test_what_is_no_grid(self, grid, complaint):
        with pytest.raises(rx.InputError, match=f"grid: .*{complaint}"):
            checked_order(None, None, grid)


# --- in the image --------------------------------------------------------------------------------


def scanned(places, radius=3.5):
    """A series of tubes (right, down) in mm, in a slice where x runs right and y down."""
    tubes = tuple(
        TubeSpec(i + 1, "C3", 0.1, 1.0, 20.0, x, y, radius) for i, (x, y) in enumerate(places)
    )
    scan = Scan(7.0, 96, 96.0, 3.0, ECHOES, rx.Protocol(TE=0.01, TR=[0.5, 1, 3]))
    return mese(Phantom(scan, (Agent("C3", 1.0, 100.0),), tubes, 0.4, 9.0), 0)


STORED = {
    "as shown": (lambda a: a, np.eye(4)),
    "flipped down": (lambda a: a[:, ::-1], [[1, 0, 0, 0], [0, -1, 0, 95], [0, 0, 1, 0]]),
    "flipped along": (lambda a: a[::-1], [[-1, 0, 0, 95], [0, 1, 0, 0], [0, 0, 1, 0]]),
    "swapped": (lambda a: a.swapaxes(0, 1), [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0]]),
    "swapped and flipped": (
        lambda a: a.swapaxes(0, 1)[::-1],
        [[0, 1, 0, 0], [-1, 0, 0, 95], [0, 0, 1, 0]],
    ),
}


@pytest.mark.parametrize(("turn", "step"), STORED.values(), ids=list(STORED))
@pytest.mark.parametrize(
    ("places", "how"),
    [
        (ring(20 + np.arange(8) * 45, 30) - (2, 12), {"order": "ring"}),
        (ring(65 + np.arange(8) * 45, 30) - (2, 12), {"order": "ring", "start_angle": 60}),
        (rack(3, 4, at=20), {"order": "rows"}),
        (rack(2, 3, at=20), {"grid": [[1, 2, 3], [4, 5, 6]]}),
    ],
    ids=["ring", "ring from 60°", "rows", "grid"],
)
def test_numbers_depend_on_the_picture_alone(places, how, turn, step):
    series = scanned(places)
    affine = series.affine @ np.vstack([np.array(step)[:3], [0, 0, 0, 1]])
    tubes = rx.find_tubes(rx.Series(turn(series.signal), ECHOES, affine=affine), **how)
    labels = np.zeros((96, 96), int)
    for number, (x, y) in enumerate(places, start=1):
        labels[round(x), round(y)] = number
    expected = turn(labels)
    assert (tubes.labels[..., 0][expected > 0] == expected[expected > 0]).all()


def test_a_grid_gives_the_numbers_and_the_sheet_must_have_them(tmp_path):
    series, grid = scanned(rack(2, 2, at=20)), [[7, 3], [0, 9]]
    with pytest.raises(rx.InputError, match="4 tubes found, 3 in the grid"):
        rx.find_tubes(series, grid=grid)
    grid[1][0] = 1
    tubes = rx.find_tubes(series, grid=grid)
    assert tubes.numbers == [1, 3, 7, 9]
    assert [tubes.labels[x, y, 0] for x, y in ((20, 20), (31, 20), (20, 33), (31, 33))] == [
        *(7, 3, 1, 9)
    ]
    sheet = tmp_path / "tubes.csv"
    sheet.write_text("tube,agent,concentration_mM\n9,A,1\n7,A,2\n3,A,3\n1,A,4\n")
    assert rx.find_tubes(series, sheet, grid=grid).numbers == [9, 7, 3, 1]
    np.testing.assert_array_equal(rx.find_tubes(series, sheet, grid=grid).labels, tubes.labels)
    sheet.write_text("tube,agent,concentration_mM\n9,A,1\n7,A,2\n3,A,3\n2,A,4\n")
    with pytest.raises(rx.InputError, match="tube 1 is in one of grid and sheet"):
        rx.find_tubes(series, sheet, grid=grid)


def test_a_count_that_is_not_met():
    series = scanned(rack(2, 2, at=20))
    assert len(rx.find_tubes(series, count=4)) == 4
    with pytest.raises(rx.InputError, match=r"4 tubes found in the image, 5 expected.*circles = "):
        rx.find_tubes(series, count=5)


@pytest.mark.parametrize(
    ("how", "complaint"),
    [
        ({"order": "spiral"}, "order: 'spiral'; expected rows or columns or serpentine or ring"),
        ({"order": "grid"}, "grid: no grid"),
        ({"order": "ring", "grid": [[1]]}, 'grid: with order = "ring"'),
        ({"start_angle": 5}, 'start_angle: with order = "rows"; expected order = "ring"'),
        ({"order": "ring", "start_angle": float("nan")}, "start_angle: nan"),
    ],
)
def test_what_does_not_go_together(how, complaint):
    with pytest.raises(rx.InputError, match=complaint):
        rx.find_tubes(scanned([(30, 30)]), **how)
