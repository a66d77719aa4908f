"""A folder that appears whole or not at all."""

from __future__ import annotations

import pytest

from relaxometry import InputError
from relaxometry.whole import check_free, whole_folder


def write(folder, *, text="new", force=False, fail=False):
    with whole_folder(folder, "result.json", force) as beside:
        (beside / "result.json").write_text(text)
        (beside / "deep").mkdir()
        (beside / "deep" / "map").write_text(text)
        assert not folder.exists() or force or not any(folder.iterdir())
        if fail:
            raise OSError("disk full")


def contents(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_appears_whole(tmp_path):
    write(tmp_path / "a" / "b" / "out")
    assert contents(tmp_path) == [
        "a", "a/b", "a/b/out", "a/b/out/deep", "a/b/out/deep/map", "a/b/out/result.json",
    ]  # fmt: skip


@pytest.mark.parametrize("place", ["out", "a/b/out"])
def test_nothing_is_left_of_what_failed(tmp_path, place):
    with pytest.raises(OSError, match="disk full"):
        write(tmp_path / place, fail=True)
    assert contents(tmp_path) == []


def test_an_earlier_result_stays_until_the_new_one_is_whole(tmp_path):
    out = tmp_path / "out"
    write(out, text="old")
    with pytest.raises(OSError, match="disk full"):
        write(out, force=True, fail=True)
    assert (out / "result.json").read_text() == "old"
    (out / "left over").write_text("of the old one")
    write(out, force=True)
    assert (out / "deep" / "map").read_text() == "new"
    assert contents(tmp_path) == ["out", "out/deep", "out/deep/map", "out/result.json"]


def test_an_earlier_result_is_not_replaced_unasked(tmp_path):
    write(tmp_path / "out", text="old")
    with pytest.raises(InputError, match="is there already; choose another, or use --force"):
        write(tmp_path / "out")
    assert (tmp_path / "out" / "result.json").read_text() == "old"


@pytest.mark.parametrize("force", [False, True])
def test_what_is_not_ours_is_never_replaced(tmp_path, force):
    thesis, file = tmp_path / "thesis", tmp_path / "file"
    thesis.mkdir()
    (thesis / "chapter.txt").write_text("years of work")
    file.write_text("a file")
    for path in (thesis, file):
        with pytest.raises(InputError) as error:
            write(path, force=force)
        assert str(error.value).startswith(f"{path}: ")
    assert (thesis / "chapter.txt").read_text() == "years of work"
    assert file.read_text() == "a file"


def test_an_empty_folder_is_free(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    check_free(out, "result.json")
    write(out)
    assert (out / "result.json").exists()


def test_a_folder_below_a_file_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("a file")
    with pytest.raises(InputError, match="cannot be written"):
        write(tmp_path / "file" / "out")
    assert contents(tmp_path) == ["file"]
