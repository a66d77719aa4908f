"""Known phantoms: found by their own geometry at any angle, numbered by their times."""

from __future__ import annotations

import copy
import json
import pickle
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import Ellipse

import relaxometry as rx
from relaxometry.bids import write_series
from relaxometry.cli import run
from relaxometry.flags import FLAGS
from relaxometry.nifti import read_labels
from relaxometry.template import SHIPPED, Template, read_template

# s; batch 1 at 1.5 T (Stupic et al., MRM 2021).
T1 = 1e-3 * np.array(
    [2033, 1489, 1012, 731, 514, 368, 260, 185, 133, 92.7, 65.4, 46.3, 32.4, 22.9]
)  # NiCl2
T2 = 1e-3 * np.array([939, 594, 416, 267, 185, 141, 91.8, 64.8, 45.3, 30.6, 19.8, 16.0, 10.5, 8.15])
INVERSION = rx.Protocol(TI=[0.05, 0.1, 0.2, 0.4, 0.6, 0.8], TR=[1.0] * 6)
ECHOES = rx.Protocol(TE=np.arange(1, 9) * 0.02)
FINER = 3  # samples per voxel along x and y


def recovered(T1):
    return np.abs(1 - 1.9 * np.exp(-INVERSION.TI / T1) + np.exp(-INVERSION.TR / T1))


def decayed(T2):
    return np.exp(-ECHOES.TE / T2)


def placed(template, angle=0.0, mirrored=False, scale=1.0, centre=(90.0, 90.0)):
    """True centres (n, 2) in mm, x along a row and y down a column; anticlockwise as it is seen."""
    seen = template.positions * ([-1, 1] if mirrored else [1, 1])
    c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    return np.array(centre) + scale * (seen @ [[c, s], [-s, c]]) * [1, -1]


def drawn(protocol, discs, voxel=1.2, size=180.0, water=None, shell=2.0, snr=50, seed=1):
    """A magnitude series of discs (x, y, radius, signal) in mm, with shells, in water or air."""
    n = round(size / voxel)
    at = (np.arange(n * FINER) + 0.5) / FINER * voxel - voxel / 2
    x, y = at[:, None], at[None, :]
    image = np.zeros((n * FINER, n * FINER, len(protocol)), dtype=np.float32)
    if water is not None:
        image[np.hypot(x - size / 2, y - size / 2) < 0.47 * size] = water
    for cx, cy, radius, signal in discs:
        apart = np.hypot(x - cx, y - cy)
        image[apart < radius + shell] = 0
        image[apart < radius] = signal
    image = image.reshape(n, FINER, n, FINER, -1).mean(axis=(1, 3))
    # A coil that sees one side twice as well as the other.
    image *= np.linspace(0.7, 1.3, n)[:, None, None]
    rng, sigma = np.random.default_rng(seed), image.max() / snr
    noisy = np.hypot(image + rng.normal(0, sigma, image.shape), rng.normal(0, sigma, image.shape))
    return rx.Series(
        noisy[:, :, None].astype(np.float32), protocol, np.diag([voxel, voxel, 5, 1]), signed=False
    )


def plate(quantity="T1", *, missing=(), radius=7.5, extra=(), look=None, **how):
    """A plate of the system phantom and its true centres."""
    template = read_template(f"system-phantom-{quantity}")
    pose = {k: how.pop(k) for k in ("angle", "mirrored", "scale", "centre") if k in how}
    protocol, signal, times = (
        (INVERSION, recovered, T1) if quantity == "T1" else (ECHOES, decayed, T2)
    )
    centres = placed(template, **pose)
    signals = [signal(T) for T in times] if look is None else [look] * 14
    discs = [
        (*xy, radius, s)
        for i, (xy, s) in enumerate(zip(centres, signals, strict=True), start=1)
        if i not in missing
    ]
    return drawn(protocol, [*extra, *discs], **how), centres


def miss(tubes, centres):
    """Largest distance of a circle from its true centre, in mm."""
    return np.hypot(*(tubes.circles[:, :2] - centres).T).max()


# --- the templates themselves --------------------------------------------------------------------


@pytest.mark.parametrize("name", SHIPPED)
def test_the_system_phantom_is_ten_on_a_ring_and_four_on_a_square(name):
    template = read_template(name)
    x, y = template.positions.T
    assert template.numbers == tuple(range(1, 15))
    assert np.hypot(x, y)[:10] == pytest.approx([50] * 10, abs=1e-3)
    # Sphere 1 at the top, then clockwise.
    assert np.rad2deg(np.arctan2(x, y))[:10] % 360 == pytest.approx(np.arange(10) * 36, abs=1e-3)
    assert template.positions[10:].tolist() == [[-20, 20], [20, 20], [20, -20], [-20, -20]]
    assert template.falling["T1"] == template.falling["T2"] == template.numbers
    assert "PhantomViewer" in template.source
    assert template.array == ("NiCl2" if name.endswith("T1") else "MnCl2")


GOOD = {"name": '"Rack"', "radius_mm": "5", "positions_mm": "[[0, 0], [20, 0], [0, 20], [30, 30]]"}


def toml(path: Path, more: str = "", **changed: str) -> Path:
    lines = [f"{key} = {value}" for key, value in {**GOOD, **changed}.items() if value]
    path.write_text("\n".join([*lines, more]), encoding="utf-8")
    return path


def test_a_template_of_ones_own(tmp_path):
    path = toml(
        tmp_path / "rack.toml",
        "[falling]\nT2 = [7, 3, 8, 1]",
        numbers="[1, 3, 7, 8]",
        source='"measured"',
    )
    rack = read_template(path)
    assert repr(rack) == "Template: Rack, 4 tubes of 5 mm radius"
    assert rack.numbers == (1, 3, 7, 8)
    assert rack.positions[3].tolist() == [30, 30]
    assert dict(rack.falling) == {"T2": (7, 3, 8, 1)}
    assert rack.source == "measured"


@pytest.mark.parametrize(
    ("changed", "more", "complaint"),
    [
        ({"name": ""}, "", "name: missing"),
        ({"name": "3"}, "", "name: 3; expected text"),
        ({"radius_mm": ""}, "", "radius_mm: missing"),
        ({"radius_mm": "-1"}, "", "radius_mm: -1; expected a radius in mm"),
        ({"radius_mm": "true"}, "", "radius_mm: True"),
        ({"radius_mm": "nan"}, "", "radius_mm: nan"),
        ({"radius_mm": "1" + "0" * 400}, "", "radius_mm: 1000"),
        ({"positions_mm": ""}, "", "positions_mm: missing"),
        ({"positions_mm": '"here"'}, "", "positions_mm: 'here'"),
        ({"positions_mm": "[[0, 0], [20, 0], [0, 20]]"}, "", "positions_mm: 3 positions"),
        ({"positions_mm": "[[0, 0], [20, 0], [0, 20], [30]]"}, "", "number 4 of the list"),
        ({"positions_mm": '[[0, 0], [20, "0"], [0, 20], [3, 30]]'}, "", "number 2 of the list"),
        ({"positions_mm": "[[0, 0], [20, inf], [0, 20], [3, 30]]"}, "", "number 2 of the list"),
        ({"positions_mm": "[[0, 0], [20, 0], [0, 20], [8, 5]]"}, "", "overlaps number 1"),
        ({"numbers": "[1, 2, 3]"}, "", "numbers: .*expected 4 different whole numbers"),
        ({"numbers": "[1, 2, 2, 3]"}, "", "numbers: .*different whole numbers"),
        ({"numbers": "[0, 1, 2, 3]"}, "", "numbers: "),
        ({"shape": '"cubes"'}, "", "shape: 'cubes'; expected tubes or spheres"),
        ({"rings": "3"}, "", "rings: unknown key"),
        ({"falling": "[1, 2, 3, 4]"}, "", "falling: .*a table"),
        ({}, "[falling]\nT3 = [1, 2, 3, 4]", r"\[falling\] T3: unknown key"),
        ({}, "[falling]\nT1 = [1, 2, 3, 9]", r"\[falling\] T1: 9; expected numbers of the"),
        ({}, "[falling]\nT1 = [1, 2]", r"\[falling\] T1: \[1, 2\]"),
        ({}, "= 3", "not readable as TOML"),
    ],
)
def test_what_is_wrong_with_a_template_is_said(tmp_path, changed, more, complaint):
    path = toml(tmp_path / "rack.toml", more, **changed)
    with pytest.raises(rx.InputError, match=complaint) as caught:
        read_template(path)
    assert caught.value.path == str(path)
    assert len(str(caught.value)) < 400 + len(str(path))


def test_a_template_that_is_not_there(tmp_path):
    with pytest.raises(rx.InputError, match="no such file"):
        read_template(tmp_path / "rack.toml")
    with pytest.raises(rx.InputError, match="expected system-phantom-T1 or system-phantom-T2"):
        read_template("system-phantom")
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(rx.InputError, match="not readable as TOML"):
        read_template(tmp_path / "folder.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(rx.InputError, match="not readable as TOML"):
        read_template(tmp_path / "bytes.toml")


def test_a_template_and_what_it_finds_can_be_pickled_and_copied():
    template = read_template("system-phantom-T1")
    tubes = rx.find_tubes(plate("T1", angle=30)[0], template=template)
    for again in (pickle.loads(pickle.dumps(tubes)), copy.deepcopy(tubes)):
        assert again.alignment.template.falling == template.falling
        assert again.alignment.template.array == "NiCl2"
        assert not again.alignment.template.positions.flags.writeable
        np.testing.assert_array_equal(again.labels, tubes.labels)
        np.testing.assert_array_equal(again.alignment.places, tubes.alignment.places)


# --- finding -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize(
    ("quantity", "angle", "scale", "how"),
    [
        ("T1", 0, 1.0, {"water": recovered(2.9)}),
        ("T1", 77, 0.98, {"snr": 20}),
        ("T2", 143, 1.02, {"water": decayed(1.9)}),
        ("T2", 180, 0.98, {"shell": 0.0}),
        ("T1", 251, 1.01, {"voxel": 0.8, "water": recovered(2.9), "snr": 15}),
        ("T2", 324, 1.0, {"voxel": 1.5}),
    ],
)
def test_a_plate_is_found_and_numbered_however_it_lies(quantity, angle, scale, how, mirrored):
    series, centres = plate(quantity, angle=angle, scale=scale, mirrored=mirrored, **how)
    tubes = rx.find_tubes(series, template=f"system-phantom-{quantity}")
    voxel = float(series.affine[0, 0])
    assert tubes.numbers == list(range(1, 15))
    assert miss(tubes, centres) < 0.6 * voxel
    found = tubes.alignment
    assert found.seen.sum() >= 13
    assert found.scale == pytest.approx(scale, abs=0.004)
    assert found.mirrored == mirrored
    assert (found.rotation - angle + 180) % 360 - 180 == pytest.approx(0, abs=0.7)
    assert found.radius == pytest.approx(7.5, abs=0.8)
    # What is measured lies within the true discs.
    x, y, _ = (voxel * np.argwhere(tubes.voxels(5))).T
    assert np.hypot(x - centres[4, 0], y - centres[4, 1]).max() < 7.5 - 0.5 * voxel
    assert len(x) > 10


def test_spheres_that_do_not_show_are_placed_by_the_template_and_named():
    series, centres = plate("T1", missing=(3, 8, 12), angle=30, mirrored=True)
    tubes = rx.find_tubes(series, template="system-phantom-T1")
    assert tubes.alignment.placed_by_template == (3, 8, 12)
    assert miss(tubes, centres) < 0.6
    assert tubes.alignment.notes == (
        "tube 3, 8, 12: not seen in the image, placed by the template",
    )
    assert "system phantom" in tubes.source
    assert "scale of 1.00" in tubes.source


@pytest.fixture(scope="module")
def hidden(tmp_path_factory):
    """A study of a plate on which three spheres do not show, and its folder."""
    series, _ = plate("T1", missing=(3, 8, 12), angle=30, mirrored=True)
    folder = tmp_path_factory.mktemp("hidden")
    write_series(series, folder / "t1")
    (folder / "study.toml").write_text(
        '[T1]\npath = "t1"\n[tubes]\ntemplate = "system-phantom-T1"\n'
    )
    return folder, rx.analyse(folder / "study.toml", progress=False)


def test_a_flag_names_the_spheres_that_do_not_show(hidden):
    _, result = hidden
    flagged = ["T1_placed_by_template" in flags.split() for flags in result.tube_table["flags"]]
    assert [n for n, one in enumerate(flagged, start=1) if one] == [3, 8, 12]
    told = [w for w in result.warnings if "where the template says" in w]
    assert [w.partition(":")[0] for w in told] == ["tubes 3, 8 and 12"]
    assert not FLAGS["placed_by_template"].excludes


def test_the_report_tells_of_spheres_that_do_not_show(hidden, tmp_path):
    _, result = hidden
    page = rx.report(result, tmp_path / "out").read_text(encoding="utf-8")
    assert "dashed: not seen in the image, placed by the template" in page
    written = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    flags = {tube["tube"]: tube["flags"] for tube in written["tubes"]}
    assert "T1_placed_by_template" in flags[8]
    assert "T1_placed_by_template" not in flags[7]


def test_circles_of_spheres_that_do_not_show_are_dashed():
    series, _ = plate("T1", missing=(3, 8, 12))
    tubes = rx.find_tubes(series, template="system-phantom-T1")
    circles = [p for p in tubes.plot(series).axes[0].patches if isinstance(p, Ellipse)]
    dashed = [
        n for n, c in zip(tubes.numbers, circles, strict=True) if c.get_linestyle() != "solid"
    ]
    assert dashed == [3, 8, 12]


def test_a_sheet_may_leave_out_what_does_not_show():
    series, _ = plate("T1", missing=(3, 8, 12))
    sheet = pd.DataFrame({"tube": [8, 2], "agent": "A", "concentration_mM": [1, 2]})
    tubes = rx.find_tubes(series, sheet, template="system-phantom-T1")
    assert tubes.placed_by_template == (8,)


# --- on the command line -------------------------------------------------------------------------


class TestCommand:
    def tubes(self, hidden, out, *more):
        return run(["tubes", str(hidden[0] / "t1"), "-o", str(out), *map(str, more)])

    def test_what_it_says_is_what_a_study_needs(self, hidden, tmp_path, capsys, monkeypatch):
        monkeypatch.chdir(tmp_path)
        more = ("--template", "system-phantom-T1", "--margin", "2.5")
        assert self.tubes(hidden, "out", *more) == 0
        told = capsys.readouterr().out
        assert "note: tube 3, 8, 12: not seen in the image, placed by the template\n" in told
        assert "11 of 14 seen" in told
        assert "Fill in" not in told
        tubes = re.search(r"Then in study.toml: \[tubes\] (.*)", told)[1]
        reference = re.search(r"\[reference\] (.*), batch = … \(1, 2 or 2.5\)", told)[1]
        assert "[study] temperature_C" in told
        study = hidden[0] / "by_template.toml"
        study.write_text(
            '[study]\ntemperature_C = 20\nfield_T = 1.5\n[T1]\npath = "t1"\n'
            f"[tubes]\n{tubes.replace(', ', chr(10))}\n[reference]\n{reference}\nbatch = 1\n"
        )
        result = rx.analyse(study, progress=False)
        labels, _ = read_labels(tmp_path / "out" / "labels.nii.gz")
        np.testing.assert_array_equal(result.tubes["T1"].labels, labels)
        assert set(result.tube_table["agent"]) == {"NiCl2"}
        sheet = pd.read_csv(tmp_path / "out" / "tubes.csv")
        assert sheet["tube"].tolist() == list(range(1, 15))
        assert sheet["agent"].isna().all()

    def test_with_a_template_of_ones_own_there_is_a_sheet_to_fill_in(
        self, hidden, tmp_path, capsys
    ):
        shipped = read_template("system-phantom-T1")
        (tmp_path / "own.toml").write_text(
            f'name = "ours"\nradius_mm = 7.5\npositions_mm = {shipped.positions.tolist()}\n'
            f"[falling]\nT1 = {list(range(1, 15))}\n"
        )
        out = tmp_path / "out"
        assert self.tubes(hidden, out, "--template", tmp_path / "own.toml") == 0
        told = capsys.readouterr().out
        assert "Fill in what is in each tube" in told
        assert '[tubes] sheet = "…/tubes.csv", template = "…/own.toml"' in told
        assert "[reference]" not in told
        sheet = pd.read_csv(out / "tubes.csv").assign(agent="A", concentration_mM=1.0)
        sheet.to_csv(tmp_path / "filled.csv", index=False)
        again = ("--template", "system-phantom-T1", "--sheet", tmp_path / "filled.csv")
        assert self.tubes(hidden, tmp_path / "again", *again) == 0
        told = capsys.readouterr().out
        assert '[tubes] sheet = "…/tubes.csv", template = "system-phantom-T1"' in told
        assert (tmp_path / "again" / "tubes.csv").read_bytes() == (
            tmp_path / "filled.csv"
        ).read_bytes()

    @pytest.mark.parametrize(
        ("more", "complaint"),
        [
            (["--order", "rows"], "both order and template; expected one way to place the tubes"),
            (["--count", "14"], "both count and template"),
            (["--grid", "1,2;3,4"], "both grid and template"),
            (["--start-angle", "9"], "both start_angle and template"),
            (["--labels", "a.nii"], "both labels and template"),
            (["--rois", "a.zip"], "both rois and template"),
            (["--circles", "a.csv"], "both circles and template"),
            (["--margin", "9"], "9 mm leaves nothing of a tube"),
            (["--template", "system-phantom"], "--template: 'system-phantom'; expected system-ph"),
            (["--template", "none.toml"], "none.toml: no such file"),
        ],
    )
    def test_what_contradicts_a_template(self, hidden, tmp_path, capsys, more, complaint):
        out = tmp_path / "out"
        assert self.tubes(hidden, out, "--template", "system-phantom-T1", *more) == 3
        told = capsys.readouterr().err
        assert complaint in told
        assert told.count("\n") == 1
        assert not out.exists()


def test_fiducials_and_bright_spots_do_not_confuse():
    grid = [(x, y, 5.0, recovered(0.1)) for x in range(10, 180, 40) for y in range(10, 180, 40)]
    cells = [(60 + 6 * i, 90, 2.0, recovered(0.3)) for i in range(10)]
    series, centres = plate("T1", angle=12, extra=[*grid, *cells])
    assert miss(rx.find_tubes(series, template="system-phantom-T1"), centres) < 0.6


def test_the_numbers_of_some_spheres_only():
    series, centres = plate("T1", angle=200)
    sheet = pd.DataFrame({"tube": [9, 2, 5], "agent": "Ni", "concentration_mM": [12, 0.6, 2.6]})
    tubes = rx.find_tubes(series, sheet, template="system-phantom-T1")
    assert tubes.numbers == [9, 2, 5]
    assert miss(tubes, centres[[8, 1, 4]]) < 0.6
    with pytest.raises(rx.InputError, match="tube 15 of the sheet is not in the template"):
        rx.find_tubes(series, sheet.replace({"tube": {9: 15}}), template="system-phantom-T1")


def test_another_rack_is_refused_with_the_number_that_fits():
    rack = [(x, y, 7.5, decayed(0.1)) for x in range(30, 151, 30) for y in range(30, 151, 30)]
    with pytest.raises(rx.InputError, match=r"\d of 14 positions of the template fit") as caught:
        rx.find_tubes(drawn(ECHOES, rack), template="system-phantom-T2")
    assert "at least 9" in str(caught.value)


def test_an_empty_image_is_refused():
    with pytest.raises(rx.InputError, match="0 of 14 positions"):
        rx.find_tubes(rx.Series(np.zeros((64, 64, 1, 8)), ECHOES), template="system-phantom-T2")


@pytest.mark.parametrize("scale", [0.93, 1.07])
def test_a_plate_of_another_size_is_refused(scale):
    series, _ = plate("T2", scale=scale)
    with pytest.raises(rx.InputError, match="of 14 positions of the template"):
        rx.find_tubes(series, template="system-phantom-T2")


def test_two_plates_in_one_image_are_refused():
    first, _ = plate("T2", centre=(70, 70), size=280.0, angle=10)
    second, _ = plate("T2", centre=(205, 205), size=280.0, seed=2)
    both = rx.Series(first.signal + second.signal, ECHOES, first.affine, signed=False)
    with pytest.raises(rx.InputError, match=r"cannot be numbered.*leads by"):
        rx.find_tubes(both, template="system-phantom-T2")


def test_a_plate_of_equal_spheres_cannot_be_numbered():
    series, _ = plate("T1", look=recovered(0.3))
    with pytest.raises(rx.InputError, match="cannot be numbered"):
        rx.find_tubes(series, template="system-phantom-T1")


def test_only_the_slices_through_the_spheres_are_measured():
    one, centres = plate("T2", angle=40)
    air = np.abs(np.random.default_rng(5).normal(0, 0.01, one.signal.shape))
    stack = rx.Series(np.concatenate([air, air, one.signal, air], axis=2), ECHOES, one.affine)
    tubes = rx.find_tubes(stack, template="system-phantom-T2")
    assert np.flatnonzero(tubes.mask.any(axis=(0, 1))).tolist() == [2]
    assert miss(tubes, centres) < 0.6
    far = np.concatenate([one.signal, air, air, air, air, air, one.signal], axis=2)
    with pytest.raises(rx.InputError, match=r"slices 1 and 7 both show 1[34] or more"):
        rx.find_tubes(rx.Series(far, ECHOES, one.affine), template="system-phantom-T2")


RACK = Template(
    "3 × 4",
    np.array([[25 * i, -25 * j] for j in range(3) for i in range(4)]),
    radius=8.0,
    numbers=tuple(range(1, 13)),
    falling={"T2": (12, 3, 1, 7, 5, 9, 2, 10, 4, 6, 8, 11)},
)


def rack_series(template=RACK, **pose):
    centres = placed(template, centre=(50, 60), **pose)
    order = RACK.falling["T2"]
    times = [0.3 / 1.3 ** order.index(n) for n in template.numbers]
    return drawn(
        ECHOES, [(*c, 8, decayed(T)) for c, T in zip(centres, times, strict=True)]
    ), centres


def test_a_rack_of_ones_own_is_numbered_by_its_own_order():
    series, centres = rack_series(angle=-20)
    tubes = rx.find_tubes(series, template=RACK)
    assert miss(tubes, centres) < 0.6
    assert tubes.mask.shape == series.grid


def test_a_rack_that_looks_alike_both_ways_needs_an_order():
    series, _ = rack_series()
    plain = Template(RACK.name, RACK.positions, RACK.radius, RACK.numbers)
    with pytest.raises(rx.InputError, match="4 ways to number the tubes look alike"):
        rx.find_tubes(series, template=plain)


def test_an_uneven_rack_needs_no_order():
    uneven = Template(
        "uneven", np.vstack([RACK.positions[:-1], [100.0, -43.0]]), RACK.radius, RACK.numbers
    )
    series, centres = rack_series(uneven, angle=5)
    assert miss(rx.find_tubes(series, template=uneven), centres) < 0.6


LESS = Template("less a corner", RACK.positions[:-1], RACK.radius, RACK.numbers[:-1])


@pytest.mark.parametrize("snr", [15, 50])
@pytest.mark.parametrize(
    ("angle", "mirrored", "water"),
    [(0, False, None), (5, False, None), (-120, True, None), (180, False, decayed(1.9))],
)
def test_a_rack_less_a_corner_needs_no_order(angle, mirrored, water, snr):
    centres = placed(LESS, angle=angle, mirrored=mirrored, centre=(90, 90))
    middle = placed(LESS, angle=angle, mirrored=mirrored, centre=(0, 0)).mean(axis=0)
    centres -= middle
    series = drawn(ECHOES, [(*c, 8, decayed(0.1)) for c in centres], water=water, snr=snr)
    tubes = rx.find_tubes(series, template=LESS)
    assert tubes.alignment.seen.all()
    assert miss(tubes, centres) < 0.6


def test_a_rack_less_a_corner_that_does_not_show_its_other_end_is_refused():
    centres = placed(LESS, centre=(50, 60))
    discs = [(*c, 8, decayed(0.1)) for c in centres]
    with pytest.raises(rx.InputError, match="ways to number the tubes look alike"):
        rx.find_tubes(drawn(ECHOES, discs[1:]), template=LESS)
    # One in the middle that does not show says nothing of which end is which.
    tubes = rx.find_tubes(drawn(ECHOES, discs[:5] + discs[6:]), template=LESS)
    assert tubes.alignment.placed_by_template == (6,)
    assert miss(tubes, centres) < 0.6


def test_a_plate_that_is_cut_off_is_refused():
    series, _ = plate("T1", centre=(45.0, 90.0))
    with pytest.raises(rx.InputError, match="reaches out of the image"):
        rx.find_tubes(series, template="system-phantom-T1")


# --- in a study, and on real scans ---------------------------------------------------------------


def test_a_study_names_its_template(tmp_path):
    from relaxometry.settings import read_settings

    (tmp_path / "scan.nii").touch()
    study = tmp_path / "study.toml"

    def settings(template: str, more: str = ""):
        text = f'[T1]\npath = "scan.nii"\n[tubes]\ntemplate = "{template}"\n{more}'
        study.write_text(text, encoding="utf-8")
        return read_settings(study).tubes

    assert settings("system-phantom-T1").template == "system-phantom-T1"
    toml(tmp_path / "rack.toml")
    assert settings("rack.toml").template == tmp_path / "rack.toml"
    with pytest.raises(rx.InputError, match=r"\[tubes\] template: 'none.toml' does not exist"):
        settings("none.toml")
    with pytest.raises(rx.InputError, match=r"\[tubes\] template: 'plate'; expected system-"):
        settings("plate")
    with pytest.raises(rx.InputError, match="both order and template"):
        settings("system-phantom-T1", 'order = "rows"')


def test_a_study_of_the_other_plate_fails_its_check(hidden, tmp_path):
    study = hidden[0] / "other.toml"
    text = '[study]\ntemperature_C = 20\nfield_T = 1.5\n[T1]\npath = "t1"\n[tubes]\n'
    known = '[reference]\nphantom = "system-phantom"\nbatch = 1\n'
    study.write_text(text + f'template = "system-phantom-T1"\n{known}array = "MnCl2"\n')
    result = rx.analyse(study, progress=False)
    (told,) = (text for text in result.failures if "hardly the solutions" in text)
    assert "The values of NiCl2 fit better (T1 " in told
    assert run(["report", str(study), "-o", str(tmp_path / "out")]) == 1
    assert "hardly the solutions" in (tmp_path / "out" / "index.html").read_text("utf-8")
    assert not any("sphere numbers" in warning for warning in result.warnings)
    # The same circles by hand: nothing says that their numbers are those of spheres.
    circles = result.tubes["T1"].circles.tolist()
    study.write_text(text + f'circles = {circles}\n{known}array = "NiCl2"\n')
    result = rx.analyse(study, progress=False)
    assert not any("hardly the solutions" in text for text in result.failures)
    assert any("taken for the sphere numbers" in warning for warning in result.warnings)
    # Batch 1 was measured at 20 °C alone; what is in the spheres does not depend on it.
    study.write_text(study.read_text().replace("temperature_C = 20", "temperature_C = 21"))
    warmer = rx.analyse(study, progress=False)
    assert warmer.reference is None
    assert any("21 °C; expected 20 °C" in warning for warning in warmer.warnings)
    assert set(warmer.tube_table["agent"]) == {"NiCl2"}
    r1 = [one.relaxivity["NiCl2"]["r1"].r.value for one in (result, warmer)]
    assert r1[0] == r1[1]
    page = rx.report(result, tmp_path / "again").read_text("utf-8")
    assert "Source: Stupic et al., MRM 86:1194 (2021), supporting tables." in page


PLATES = [
    f"{scanner}/{quantity}_plate{number}"
    for scanner in ("siemens_aera_1p5T", "ge_1p5T", "philips_1p5T")
    for quantity in ("T1", "T2")
    for number in (4, 5)
    if (scanner, quantity, number)
    not in {("siemens_aera_1p5T", "T1", 4), ("siemens_aera_1p5T", "T2", 5)}
]


@pytest.mark.real_data
@pytest.mark.parametrize("folder", PLATES)
def test_real_plates_are_found_and_numbered_without_being_told_where(real_data, folder):
    root = real_data / "system_phantom"
    expected = json.loads((root / "expected.json").read_text())[folder]["sphere_centres_row_col"]
    series = rx.read(root / folder)
    plate = "system-phantom-T2" if folder.endswith("plate4") else "system-phantom-T1"
    tubes = rx.find_tubes(series, template=plate)
    voxels = tubes.circles[:, :2] / np.linalg.norm(series.affine[:3, :2], axis=0)
    apart = np.hypot(*(voxels - np.array(expected)[:, ::-1]).T)
    assert apart.max() <= 1.5
    assert tubes.alignment.placed_by_template == ()
    assert tubes.alignment.rms < 0.6
