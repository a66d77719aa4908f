"""What lies where a file should be when it was never fetched: Git LFS pointers, dangling links."""

from __future__ import annotations

from pathlib import Path

from .errors import InputError

_POINTER = b"version https://git-lfs.github.com/spec/"


def pointer(path: Path) -> bool:
    """Whether a file is the small text that Git LFS leaves until the file itself is fetched."""
    try:
        if not path.is_file():  # a pipe would be waited for
            return False
        with path.open("rb") as file:
            return file.read(64).startswith(_POINTER)
    except OSError:
        return False  # whoever reads it says why it cannot be


def dangling(path: Path) -> bool:
    """Whether a path is a link to nothing, as git-annex leaves them for files elsewhere."""
    return path.is_symlink() and not path.exists()


def check_fetched(path: Path) -> None:
    """Raise if something else lies in the place of a file.

    Raises
    ------
    InputError
        If it is a pointer of Git LFS or a dangling link, with how to fetch the file.
    """
    if dangling(path):
        raise InputError(
            "a link to a file that is not here",
            path=path,
            hint="fetch it: git annex get, or datalad get",
        )
    if pointer(path):
        raise InputError("a Git LFS pointer in place of the file", path=path, hint="git lfs pull")
