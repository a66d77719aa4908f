"""A folder that appears whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import InputError


def check_free(folder: str | Path, marker: str, force: bool = False) -> None:
    """Raise `InputError` unless the folder can be made, or `force` may replace what is there.

    An empty folder is free. With `force` another is given up only if it holds `marker`, the file
    by which an earlier result of the same kind is known.
    """
    folder = Path(folder)
    disk = next(parent for parent in folder.resolve().parents if parent.exists())
    if not os.access(disk, os.W_OK):
        raise InputError("cannot be written: no permission", path=folder, hint="choose another")
    if not folder.exists():
        return
    if not folder.is_dir():
        raise InputError("is a file", path=folder, expected="a folder", hint="choose another")
    if not any(folder.iterdir()):
        return
    if not force:
        raise InputError("is there already", path=folder, hint="choose another, or use --force")
    if not (folder / marker).is_file():
        raise InputError(
            f"holds something else: there is no {marker} in it", path=folder, hint="choose another"
        )


@contextmanager
def whole_folder(folder: str | Path, marker: str, force: bool = False) -> Iterator[Path]:
    """A folder to write into, renamed to `folder` if all goes well and gone if anything fails.

    Raises
    ------
    InputError
        As :func:`check_free`, or if nothing can be written there.
    """
    check_free(folder, marker, force)
    target = Path(folder).resolve()
    # On the same disk, so that the last step is a mere renaming.
    disk = next(parent for parent in target.parents if parent.exists())
    try:
        scratch = tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=disk)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", path=folder) from error
    with scratch as beside:
        new, old = Path(beside) / "new", Path(beside) / "old"
        new.mkdir()
        yield new
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            target.rename(old)
        try:
            new.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
