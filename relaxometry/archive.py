"""Zipped folders of scans: unpacked once, apart from the user's files, and read like any folder."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
import zlib
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .images import Image

# What a folder of images may grow by: noise hardly, air a lot; a bomb by a thousand and more.
_MOST_INFLATED, _HARMLESS = 100, 1 << 28
# What zipfile raises on archives that are garbled, encrypted or packed in ways it does not know.
_DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, EOFError, LookupError, NotImplementedError, OSError),
    *(OverflowError, RuntimeError, ValueError),
)


def is_archive(path: Path) -> bool:
    """Whether a file is called a zip archive, or what ParaVision exports, which is one."""
    return path.suffix.lower() in (".zip", ".pvdatasets") and path.is_file()


def unpacked(path: Path) -> Path:
    """The folder that an archive holds, in a temporary place that lasts as long as the program.

    Raises
    ------
    InputError
        If it is damaged, encrypted, too large for the disk, or inflates as no images do.
    """
    facts = path.stat()
    return _unpacked(path, facts.st_size, facts.st_mtime_ns)


def renamed(image: Image, folder: Path, archive: Path) -> Image:
    """An image of the unpacked folder as one of the archive: ``scan.zip/IM_0001``."""

    def name(file: str) -> str:
        return inside(file, folder, archive)

    return replace(
        image,
        file=name(image.file),
        sidecars=tuple(map(name, image.sidecars)),
        acquisition=image.acquisition.replace(str(folder), str(archive)),
        faults={key: error.at(name(error.path or "")) for key, error in image.faults.items()},
        load=partial(_load, image, folder, archive),
    )


def inside(file: str, folder: Path, archive: Path) -> str:
    """The name of an unpacked file within its archive."""
    path = Path(file)
    return str(archive / path.relative_to(folder)) if path.is_relative_to(folder) else file


def outside(file: str | Path) -> Path:
    """The file on the disk that holds a file: itself, or the archive it lies in."""
    path = Path(file)
    return next((p for p in (path, *path.parents) if p.is_file()), path)


def _load(image: Image, folder: Path, archive: Path) -> NDArray[np.float32]:
    try:
        return image.load()
    except InputError as error:
        raise error.at(inside(error.path or image.file, folder, archive)) from None


def _opened(path: Path) -> zipfile.ZipFile:
    """An archive, its names in UTF-8, as they mostly are without saying so, or in DOS's code."""
    try:
        return zipfile.ZipFile(path, metadata_encoding="utf-8")
    except UnicodeDecodeError:
        return zipfile.ZipFile(path)


@cache
def _home() -> tempfile.TemporaryDirectory[str]:
    """Removed when the program ends."""
    return tempfile.TemporaryDirectory(prefix="relaxometry-", ignore_cleanup_errors=True)


@cache
def _unpacked(path: Path, size: int, changed: int) -> Path:
    folder = Path(tempfile.mkdtemp(dir=_home().name))
    done = False
    try:
        with _opened(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            total = sum(member.file_size for member in members)
            if total > max(_MOST_INFLATED * size, _HARMLESS):
                raise InputError(
                    f"{size} bytes that would unpack to {total / 1e9:.3g} GB",
                    path=path,
                    expected="zipped images",
                    hint="unpack it yourself if you trust it",
                )
            if total > shutil.disk_usage(folder).free:
                raise InputError(
                    f"unpacks to {total / 1e9:.3g} GB, more than is free for it",
                    path=path,
                    hint="set TMPDIR to a larger disk, or unpack it yourself",
                )
            for member in members:
                # Neither this nor a name with .. in it leaves the folder: extract sees to that.
                archive.extract(member, folder)
        done = True
    except _DAMAGED as error:
        if isinstance(error, InputError):
            raise
        if "encrypted" in str(error):
            raise InputError(
                "encrypted", path=path, hint="unpack it yourself, with its password"
            ) from None
        why = (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__
        raise InputError(
            f"cannot be unpacked ({why})".split("\n")[0],
            path=path,
            hint="copy it again, or unpack it yourself",
        ) from None
    finally:
        if not done:
            shutil.rmtree(folder, ignore_errors=True)
    return folder
