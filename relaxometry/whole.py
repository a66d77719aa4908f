"""A folder that appears whole or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import InputError


def check_free(folder: str | Path, marker: str, force: bool = False) -> None:
    """Raise `InputError` unless the folder can be made, or `force` may replace what is there.

    With `force` an existing folder is given up only if it is empty or holds `marker`, the file by
    which an earlier result of the same kind is known.
    """
    folder = Path(folder)
    if not folder.exists():
        return
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if not force:
        raise InputError("is there already", path=folder, hint="choose another, or use --force")
    if not (folder / marker).is_file():
        raise InputError(
            f"holds something else: there is no {marker} in it", path=folder, hint="choose another"
        )


@contextmanager
def whole_folder(folder: str | Path, marker: str, force: bool = False) -> Iterator[Path]:
    """A folder to write into, beside `folder`, renamed into its place if all goes well.

    Raises
    ------
    InputError
        As :func:`check_free`, or if the folder cannot be written there.
    """
    folder = Path(folder)
    check_free(folder, marker, force)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", path=folder) from error
    with scratch as beside:
        new = Path(beside) / "new"
        new.mkdir()
        yield new
        if folder.exists():
            folder.rename(Path(beside) / "old")
        new.rename(folder)
