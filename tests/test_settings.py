"""``study.toml`` as people write it: typed, or one line with file and key."""

from __future__ import annotations

import pytest

from relaxometry import InputError
from relaxometry.settings import read_settings

SCAN = '[T2]\npath = "t2"\n'
TUBES = '[tubes]\nsheet = "tubes.csv"\n'
CONTRAST = """[[contrast]]
name = "liver"
pre = "pre.nii"
post = "post.nii"
regions = "regions.nii"
target = 1
reference = 2
noise = 3
"""


@pytest.fixture
def study(tmp_path):
    for name in ("t1", "t2"):
        (tmp_path / name).mkdir()
    for name in ("tubes.csv", "labels.nii", "pre.nii", "post.nii", "later.nii", "regions.nii"):
        (tmp_path / name).touch()

    def write(text, encoding="utf-8"):
        path = tmp_path / "study.toml"
        path.write_bytes(text.encode(encoding))
        return path

    return write


def test_all_of_it(study, tmp_path):
    settings = read_settings(
        study(
            """[study]
title = "Clusters, 7 T"
field_T = 7
temperature_C = 21.5
medium = "1 % agarose"
concentration_of = "Fe"
[T2]
path = "t2"
model = "t2"
series = 2
drop_echoes = [1, 2]
drop_reason = "stimulated echo"
te = ["10 ms", 0.02, "0.03 s", 1]
tr = ["3000 ms"]
[T1]
path = "t1"
polarity = "signed"
ti = [0.1, 2]
fa = [90]
[tubes]
sheet = "tubes.csv"
circles = [[5, 6.5, 2], [15, 6, 2]]
margin_mm = 0.5
shift = "refuse"
on = "T1"
"""
            + CONTRAST
            + 'noise_method = "rayleigh"\n'
            + CONTRAST
        )
    )
    assert settings.facts.field_T == 7.0
    assert isinstance(settings.facts.field_T, float)
    assert settings.facts.medium == "1 % agarose"
    scan = settings.scans["T2"]
    assert scan.path == tmp_path / "t2"
    assert (scan.model, scan.series, scan.drop_echoes) == ("t2", 2, (1, 2))
    assert scan.te == pytest.approx((0.01, 0.02, 0.03, 1.0))
    assert scan.tr == (3.0,)
    assert settings.scans["T1"].polarity == "signed"
    assert settings.scans["T1"].fa == (90.0,)
    assert settings.tubes.on == "T1"
    assert settings.tubes.circles == ([5, 6.5, 2], [15, 6, 2])
    assert (settings.tubes.margin_mm, settings.tubes.order) == (0.5, None)
    assert settings.tubes.shift == "refuse"
    assert [one.noise_method for one in settings.contrasts] == ["rayleigh", "sd"]
    assert settings.contrasts[0].regions == tmp_path / "regions.nii"


def test_the_least_of_it(study):
    settings = read_settings(study(SCAN + TUBES))
    assert settings.facts.field_T is None
    assert settings.facts.title == ""
    assert (settings.tubes.on, settings.tubes.margin_mm) == ("T2", None)
    assert settings.tubes.shift == "correct"
    assert settings.scans["T2"].te is None
    assert settings.contrasts == ()
    assert read_settings(study('[T1]\npath = "t1"\n' + TUBES)).tubes.on == "T1"
    alone = read_settings(study(CONTRAST))
    assert (dict(alone.scans), alone.tubes) == ({}, None)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_as_windows_saves_it(study, encoding):
    text = ('[study]\nmedium = "1 % agarose, 22 °C"\n' + SCAN + TUBES).replace("\n", "\r\n")
    assert read_settings(study(text, encoding)).facts.medium == "1 % agarose, 22 °C"


WRONG = {
    # not a file, not TOML
    "nothing in it": ("", "nothing to do; expected at least one of"),
    "not TOML": ("[T2\n", "not readable as TOML: .*line 1"),
    "a key twice": (SCAN + 'path = "t1"\n' + TUBES, "not readable as TOML"),
    # unknown keys
    "unknown table": (
        "[T2star]\n" + SCAN,
        "T2star: unknown key; expected T1, T2, animals, contrast, reference",
    ),
    "unknown shift": (
        SCAN + TUBES + 'shift = "yes"\n',
        r"\[tubes\] shift: 'yes'; expected correct",
    ),
    "small letters": ('[t2]\npath = "t2"\n' + TUBES, "t2: unknown key; expected T1, T2"),
    "unknown fact": ("[study]\nfield = 7.0\n" + SCAN + TUBES, r"\[study\] field: unknown key"),
    "unknown scan key": (SCAN + "echoes = 3\n" + TUBES, r"\[T2\] echoes: unknown key"),
    "unknown tube key": (SCAN + TUBES + "margin = 1\n", r"\[tubes\] margin: unknown key"),
    "margin of labels": (
        SCAN + '[tubes]\nlabels = "study.toml"\nmargin_mm = 1\n',
        r"\[tubes\] margin_mm: margin_mm with labels",
    ),
    "unknown contrast key": (CONTRAST + "air = 3\n", r"\[contrast 1\] air: unknown key"),
    # wrong types
    "table as text": ('T2 = "t2"\n', "T2: 't2'; expected a table"),
    "one contrast": (CONTRAST.replace("[[contrast]]", "[contrast]"), r"contrast: .*\[\[contrast"),
    "field as text": (
        '[study]\nfield_T = "7 T"\n' + SCAN + TUBES,
        r"\[study\] field_T: '7 T'; exp",
    ),
    "field as yes": (
        "[study]\nfield_T = true\n" + SCAN + TUBES,
        r"\[study\] field_T: True; .*numb",
    ),
    "field nan": ("[study]\nfield_T = nan\n" + SCAN + TUBES, r"\[study\] field_T: nan; .*finite"),
    "field zero": (
        "[study]\nfield_T = 0\n" + SCAN + TUBES,
        r"\[study\] field_T: 0; expected above",
    ),
    "negative field": ("[study]\nfield_T = -7\n" + SCAN + TUBES, r"\[study\] field_T: -7"),
    "temperature inf": ("[study]\ntemperature_C = inf\n" + SCAN + TUBES, "temperature_C: inf"),
    "title as number": (
        "[study]\ntitle = 7\n" + SCAN + TUBES,
        r"\[study\] title: 7; expected text",
    ),
    "path as number": ("[T2]\npath = 2\n" + TUBES, r"\[T2\] path: 2; expected text"),
    "model as list": (SCAN + 'model = ["t2"]\n' + TUBES, r"\[T2\] model: .*expected text"),
    "series as text": (SCAN + 'series = "2"\n' + TUBES, r"\[T2\] series: '2'; .*a whole number"),
    "series as fraction": (SCAN + "series = 1.5\n" + TUBES, r"\[T2\] series: 1.5"),
    "one time": (SCAN + 'te = "10 ms"\n' + TUBES, r"\[T2\] te: '10 ms'; expected a list"),
    "time in words": (SCAN + 'te = ["ten ms"]\n' + TUBES, r"\[T2\] te: 'ten ms' is not a time"),
    "time in minutes": (SCAN + 'ti = ["1 min"]\n' + TUBES, r"\[T2\] ti: '1 min'"),
    "time as yes": (SCAN + "tr = [true]\n" + TUBES, r"\[T2\] tr: True is not a time"),
    "angle with unit": (SCAN + 'fa = ["5°"]\n' + TUBES, r"\[T2\] fa: .*expected a list of numbers"),
    "echo as text": (
        SCAN + 'drop_echoes = ["1"]\n' + TUBES,
        r"\[T2\] drop_echoes: .*whole numbers",
    ),
    "echo as fraction": (SCAN + "drop_echoes = [1.0]\n" + TUBES, r"\[T2\] drop_echoes"),
    "one echo": (SCAN + "drop_echoes = 1\n" + TUBES, r"\[T2\] drop_echoes: 1; expected a list"),
    "margin as text": (SCAN + TUBES + 'margin_mm = "1 mm"\n', r"\[tubes\] margin_mm: '1 mm'"),
    "circles as table": (SCAN + TUBES + "circles = {x = 1}\n", r"\[tubes\] circles: .*a list"),
    "label as text": (
        CONTRAST.replace("noise = 3", "noise = 3.5"),
        r"\[contrast 1\] noise: 3.5; expected a whole number or text",
    ),
    "label zero": (CONTRAST.replace("target = 1", "target = 0"), r"\[contrast 1\] target: 0"),
    # choices
    "polarity": (SCAN + 'polarity = "real"\n' + TUBES, r"\[T2\] polarity: .*magnitude or signed"),
    "on another": (SCAN + TUBES + 'on = "T1"\n', r"\[tubes\] on: 'T1'; expected T2"),
    "noise method": (
        CONTRAST + 'noise_method = "rice"\n',
        "noise_method: 'rice'; .*sd or rayleigh",
    ),
    # what is missing
    "no tubes": (SCAN, r"\[tubes\]: missing"),
    "only facts": ("[study]\nfield_T = 7.0\n", "nothing to do"),
    "only tubes": (TUBES, "nothing to do"),
    "no path": ("[T2]\n" + TUBES, r"\[T2\] path: missing"),
    "empty path": ('[T2]\npath = ""\n' + TUBES, r"\[T2\] path: missing"),
    "no post": (CONTRAST.replace('post = "post.nii"\n', ""), r"\[contrast 1\] post: missing"),
    "no target": (CONTRAST.replace("target = 1\n", ""), r"\[contrast 1\] target: missing"),
    "second contrast": (
        CONTRAST + CONTRAST.replace("reference = 2\n", ""),
        r"\[contrast 2\] reference: missing; expected a label of the regions, or a name",
    ),
    "no reason": (SCAN + "drop_echoes = [1]\n" + TUBES, r"\[T2\] drop_reason: echoes dropped with"),
    # what does not exist
    "no scan": ('[T2]\npath = "t3"\n' + TUBES, r"\[T2\] path: 't3' does not exist"),
    "no sheet": (
        SCAN + '[tubes]\nsheet = "none.csv"\n',
        r"\[tubes\] sheet: 'none.csv' does not ex",
    ),
    "no labels": (SCAN + TUBES + 'labels = "l.nii"\n', r"\[tubes\] labels: 'l.nii' does not exist"),
    "no regions": (
        CONTRAST.replace('"regions.nii"', '"r.nii"'),
        r"\[contrast 1\] regions: 'r.nii'",
    ),
    # two ways
    "order and circles": (
        SCAN + TUBES + 'order = "rows"\ncircles = [[1, 2, 3]]\n',
        r"\[tubes\]: both order and circles; expected one way",
    ),
    "labels and circles": (
        SCAN + TUBES + 'labels = "labels.nii"\ncircles = [[1, 2, 3]]\n',
        r"\[tubes\]: both labels and circles",
    ),
    "no file of regions": (
        SCAN + TUBES + 'rois = "rois.zip"\n',
        r"\[tubes\] rois: 'rois.zip' does not exist",
    ),
    "regions with a margin": (
        SCAN + '[tubes]\nrois = "study.toml"\nmargin_mm = 1\n',
        r"\[tubes\] margin_mm: margin_mm with rois",
    ),
    "order and regions": (
        SCAN + TUBES + 'order = "ring"\nrois = "study.toml"\n',
        r"\[tubes\]: both order and rois",
    ),
    "count and circles": (
        SCAN + TUBES + "count = 3\ncircles = [[1, 2, 3]]\n",
        r"\[tubes\]: both count and circles",
    ),
    "count of none": (SCAN + TUBES + "count = 0\n", r"\[tubes\] count: 0; expected a number of t"),
    "order there is none": (
        SCAN + TUBES + 'order = "diagonal"\n',
        r"\[tubes\] order: 'diagonal'; expected rows or columns",
    ),
    "an angle of rows": (
        SCAN + TUBES + 'order = "rows"\nstart_angle = 90\n',
        r'\[tubes\] start_angle: with order = "rows"; expected order = "ring"',
    ),
    "grid without grid": (SCAN + TUBES + 'order = "grid"\n', r"\[tubes\] grid: no grid"),
    "grid of rows": (
        SCAN + TUBES + 'order = "rows"\ngrid = [[1]]\n',
        r'\[tubes\] grid: with order = "rows"',
    ),
    "ragged grid": (SCAN + TUBES + "grid = [[1, 2], [3]]\n", r"\[tubes\] grid: .*equal length"),
    "grid with a tube twice": (
        SCAN + TUBES + "grid = [[1, 2], [2, 0]]\n",
        r"\[tubes\] grid: tube 2 stands there twice",
    ),
    "unit of no circles": (
        SCAN + TUBES + 'circles_unit = "voxels"\n',
        r"\[tubes\] circles_unit: without circles",
    ),
    "circles in inches": (
        SCAN + TUBES + 'circles = [[1, 2, 3]]\ncircles_unit = "inch"\n',
        r"\[tubes\] circles_unit: 'inch'; expected mm or voxels",
    ),
    "no file of circles": (
        SCAN + TUBES + 'circles = "c.csv"\n',
        r"\[tubes\] circles: 'c.csv' does not exist",
    ),
}


@pytest.mark.parametrize(("text", "complaint"), WRONG.values(), ids=list(WRONG))
def test_what_cannot_be_right(study, text, complaint):
    path = study(text)
    with pytest.raises(InputError, match=complaint) as error:
        read_settings(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_what_is_no_study(study, tmp_path):
    with pytest.raises(InputError, match=r"no such file; expected a study\.toml"):
        read_settings(tmp_path / "none.toml")
    with pytest.raises(InputError, match=r"expected a study\.toml"):
        read_settings(tmp_path)
    with pytest.raises(InputError, match="not readable as TOML"):
        read_settings(study("[study]\nmedium = 'µ'\n", "latin-1"))


AFTER = 'post = ["post.nii", "later.nii"]\ntimes = ["10 min", "24 h"]\n'
ANIMAL = CONTRAST.replace('post = "post.nii"\n', AFTER)


def test_an_animal_over_time(study, tmp_path):
    more = """animal = 7
group = "C3"
muscle = "muscle"
names = "tubes.csv"
noise_method = "chi"
coils = 8
noise_slices = "pooled"
shift = "correct"
scale = "ignore"
TE = "40 ms"
T2_pre = "t2"
T2_post = ["t2"]
rate_times = ["90 min"]
r2_per_mM_per_s = 533.4
r2_stderr_per_mM_per_s = 6.0
"""
    settings = read_settings(study(ANIMAL + more + '[animals]\ntest = "wilcoxon"\n'))
    one = settings.contrasts[0]
    assert one.post == (tmp_path / "post.nii", tmp_path / "later.nii")
    assert one.times_s == (600.0, 86400.0)
    assert (one.animal, one.group, one.muscle) == ("7", "C3", "muscle")
    assert (one.noise_method, one.coils, one.pooled) == ("chi", 8, True)
    assert (one.shift, one.scale, one.TE_s) == ("correct", "ignore", pytest.approx(0.04))
    assert settings.test == "wilcoxon"
    rate = one.rates[0]
    assert (rate.quantity, rate.times_s, rate.relaxivity) == ("T2", (5400.0,), 533.4)
    assert rate.relaxivity_stderr == 6.0
    assert tmp_path / "tubes.csv" in one.files


def test_the_least_of_a_contrast(study):
    one = read_settings(study(CONTRAST.replace("noise = 3\n", ""))).contrasts[0]
    assert (one.noise, one.muscle, one.coils, one.pooled) == (None, None, 1, False)
    assert (one.shift, one.scale, one.times_s, one.animal) == ("refuse", "check", (None,), "")


def test_regions_as_circles(study):
    circles = "regions = {tumour = [1, 2, 3], liver = [4, 5, 6]}"
    text = CONTRAST.replace('regions = "regions.nii"', circles)
    assert read_settings(study(text)).contrasts[0].regions["liver"] == [4, 5, 6]


def test_rates_without_images(study):
    lines = 'T1_pre = "t1"\nT1_post = "t1"\n'
    text = CONTRAST.replace('pre = "pre.nii"\npost = "post.nii"\n', lines)
    one = read_settings(study(text)).contrasts[0]
    assert (one.pre, one.post, one.rates[0].quantity) == (None, (), "T1")


def test_uniformity(study, tmp_path):
    settings = read_settings(study('[[uniformity]]\nname = "flood"\nimage = "pre.nii"\n'))
    assert settings.uniformities[0].image == tmp_path / "pre.nii"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (ANIMAL.replace('times = ["10 min", "24 h"]\n', ""), "2 images after without their times"),
        (ANIMAL.replace(', "24 h"', ""), "times: 1 for 2 images after; expected one time each"),
        (ANIMAL.replace("24 h", "10 min"), "expected each time once"),
        (ANIMAL.replace("24 h", "1 fortnight"), "'1 fortnight' is not a time after an injection"),
        (ANIMAL.replace('"24 h"', "60"), 'times: 60 without a unit; expected "60 s"'),
        (ANIMAL.replace('"24 h"', '"-5 min"'), "'-5 min' is not a time after an injection"),
        (CONTRAST + "TE = 4\n", "TE: 4 s; expected at most 1 s"),
        (CONTRAST.replace("post.nii", "pre.nii"), "post: pre.nii twice; expected another image"),
        (CONTRAST + "r2_per_mM_per_s = 5\n", "r2_per_mM_per_s: without T2_pre and T2_post"),
        (CONTRAST + 'agent = "C3"\n', "agent: without series before and after"),
        (CONTRAST + 'scale = "correct"\n', "scale: 'correct' without a muscle"),
        (
            CONTRAST + 'T2_pre = "t2"\nT2_post = "t1"\nr2_per_mM_per_s = 5\nagent = "C3"\n',
            "agent: beside a relaxivity; expected one of the two",
        ),
        (
            CONTRAST + 'T2_pre = "t2"\nT2_post = "t1"\nT1_pre = "t1"\nT1_post = "t2"\n'
            "r2_per_mM_per_s = 5\nr1_per_mM_per_s = 50\n",
            "r1 50 and r2 5; .* are the two swapped",
        ),
        (ANIMAL.replace('"later.nii"]', "5]"), r"post: 5; expected a path"),
        (CONTRAST + 'noise_method = "difference"\n', "difference with 0 pre_repeat and 0 post_rep"),
        (CONTRAST + 'pre_repeat = "pre.nii"\n', "noise_method sd with 1 pre_repeat"),
        (CONTRAST + "coils = 0\n", "coils: 0; expected a whole number from 1"),
        (CONTRAST + 'shift = "maybe"\n', "shift: 'maybe'; expected refuse or correct or ignore"),
        (CONTRAST + 'scale = "yes"\n', "scale: 'yes'; expected check or correct or ignore"),
        (CONTRAST + 'TE = "0 ms"\n', "TE: '0 ms'; expected a time above 0"),
        (CONTRAST + 'TE = "soon"\n', "TE: 'soon' is not a time"),
        (CONTRAST + 'T2_pre = "t2"\n', "T2_post: missing; expected series before and after"),
        (CONTRAST + 'T2_post = "t2"\n', "T2_pre: missing; expected series before and after"),
        (CONTRAST + "r2_per_mM_per_s = 0\n", "r2_per_mM_per_s: 0; expected above 0"),
        (CONTRAST + "r2_stderr_per_mM_per_s = 1\n", "without r2_per_mM_per_s"),
        (CONTRAST.replace("target = 1", "target = 0"), "target: 0; expected a label"),
        (CONTRAST + '[animals]\ntest = "anova"\n', "test: 'anova'; expected t or wilcoxon"),
        ("[[uniformity]]\n", r"\[uniformity 1\] image: missing"),
    ],
)
def test_what_no_contrast_can_be(study, text, complaint):
    with pytest.raises(InputError, match=complaint):
        read_settings(study(text))
