"""What a file or folder holds: every scan with its facts, or why it cannot be fitted."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import InputError
from .folder import searched, sweep_text
from .geometry import voxel_size
from .images import LeftOut, polarity_of, stacked
from .jupyter import Shown
from .plan import Repeated, arrange
from .scans import Scan
from .series import SWEEPABLE, Protocol, kind_of
from .units import QUANTITIES


@dataclass(frozen=True, slots=True)
class ScanSummary:
    """One line of :func:`inspect`: what a scan is, or why it cannot be fitted.

    Attributes
    ----------
    number : int
        For ``read(…, series=number)``.
    kind : str or None
        MESE, MEGRE, IRT1, VFA, VTR; None where it is no series.
    protocol : Protocol or None
    shape : (int, int, int, int)
        Voxels along x, y, z, and number of settings (images where it is no series).
    voxel_mm : (float, float, float) or None
        None where the files do not say.
    field_T : float or None
    vendor, source : str
    polarity : str or None
        ``"magnitude"``, ``"signed"``, or None where only the voxels tell.
    encoding : str
        How its files are written, e.g. ``"classic DICOM, JPEG 2000 lossless"``.
    repeats : int
        Most images of one place at one setting.
    origin : mapping of str to str
        How each setting is known: ``{"TE": "EchoTime (0018,0081)"}``.
    files : tuple of str
        Relative to the folder.
    problem : str or None
    """

    number: int
    kind: str | None
    protocol: Protocol | None
    shape: tuple[int, int, int, int]
    voxel_mm: tuple[float, float, float] | None
    field_T: float | None
    vendor: str
    source: str
    polarity: str | None
    encoding: str
    repeats: int
    origin: Mapping[str, str]
    files: tuple[str, ...]
    problem: str | None

    def __repr__(self) -> str:
        x, y, z, n = self.shape
        facts = [
            f"{self.number}: {self.kind or 'not a series'}",
            f"{n} {sweep_text(self.protocol)}" if self.protocol else _counted(n, "image"),
            f"{x}×{y}×{z}",
            " × ".join(f"{v:.3g}" for v in self.voxel_mm) + " mm" if self.voxel_mm else "",
            "field not stated" if self.field_T is None else f"{self.field_T:.3g} T",
            self.vendor,
            self.encoding or self.source,
            self.polarity,
            f"{self.repeats} repeats" if self.repeats > 1 else "",
            _counted(len(self.files), "file") + self._where,
        ]
        line = ", ".join(fact for fact in facts if fact)
        return f"{line}: {self.problem}" if self.problem else line

    @property
    def _where(self) -> str:
        """The folder that holds all of its files, where it is not the one asked for."""
        folder = os.path.commonpath([Path(file).parent for file in self.files])
        return f" in {Path(folder).as_posix()}" if folder not in ("", ".") else ""

    def to_dict(self) -> dict[str, Any]:
        """For JSON, units in the keys, e.g. ``TE_s``."""
        protocol = self.protocol
        names = [n for n in SWEEPABLE if protocol and getattr(protocol, n) is not None]
        return {
            "number": self.number,
            "kind": self.kind,
            "swept": protocol.swept if protocol else None,
            **{QUANTITIES[name].column: getattr(protocol, name).tolist() for name in names},
            "shape": list(self.shape[:3]),
            "voxel_mm": list(self.voxel_mm) if self.voxel_mm else None,
            "field_T": self.field_T,
            "vendor": self.vendor or None,
            "source": self.source,
            "polarity": self.polarity,
            "encoding": self.encoding or None,
            "repeats": self.repeats,
            "origin": dict(self.origin),
            "n_files": len(self.files),
            "files": list(self.files),
            "problem": self.problem,
        }


@dataclass(frozen=True, slots=True)
class Inspection(Shown):
    """What is in a file or folder.

    Attributes
    ----------
    path : str
        As given.
    rows : tuple of ScanSummary
    ignored : mapping of str to str
        Files that belong to no scan, relative to the folder, and why.
    unreadable : mapping of str to str
        Files that may have belonged to one, but are broken, and how.
    """

    path: str
    rows: tuple[ScanSummary, ...]
    ignored: Mapping[str, str]
    unreadable: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        fit = sum(row.problem is None for row in self.rows)
        head = f"Inspection: {Path(self.path).name}, {fit} series to fit"
        if others := len(self.rows) - fit:
            head += f", {others} other"
        left_out = {"unreadable": self.unreadable, "ignored": self.ignored}
        lines = [f"  {row!r}" for row in self.rows]
        for what, reasons in left_out.items():
            if reasons:
                head += f", {_counted(len(reasons), 'file')} {what}"
            lines += [f"  {what}: {line}" for line in _by_reason(reasons)]
        return "\n".join([head, *lines])

    def to_dict(self) -> dict[str, Any]:
        """For JSON, units in the keys."""
        return {
            "series": [row.to_dict() for row in self.rows],
            "ignored": _listed(self.ignored),
            "unreadable": _listed(self.unreadable),
        }


def inspect(path: str | Path) -> Inspection:
    """Say what is in a file or folder, without failing on anything strange in it.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    Inspection
        No patient data, and nothing that the operator wrote.

    Raises
    ------
    InputError
        If there is no such file or folder.
    """
    path = Path(path)
    content = searched(path, strict=False)
    root = path if path.is_dir() else path.parent
    rows = tuple(_summary(k, s, root) for k, s in enumerate(content.scans(), 1))
    ignored, broken = (
        {
            _below(file, root): _reason(error, Path(file))
            for file, error in content.left_out.items()
            if isinstance(error, LeftOut) is harmless
        }
        for harmless in (True, False)
    )
    return Inspection(str(path), rows, ignored, broken)


def _by_reason(reasons: Mapping[str, str]) -> list[str]:
    """One line for all files with the same reason."""
    files_of: dict[str, list[str]] = {}
    for file, why in reasons.items():
        files_of.setdefault(why, []).append(file)
    return [
        files[0] + (f" and {len(files) - 1} more" if len(files) > 1 else "") + f": {why}"
        for why, files in files_of.items()
    ]


def _listed(reasons: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"file": file, "reason": why} for file, why in reasons.items()]


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _summary(number: int, scan: Scan, root: Path) -> ScanSummary:
    plan, first = scan.plan, scan.images[0]
    if isinstance(scan.error, Repeated):
        # A series all the same; where its repeats are uneven, the problem is told below.
        with suppress(InputError):
            plan = arrange(scan.images, root, repeats="mean")
    level, affine = [0], first.affine
    try:
        level, affine = stacked(scan.images, root)
    except InputError as error:
        problem: str | None = _reason(error, root)
    else:
        problem = _reason(scan.error, root) if scan.error else None
    files = tuple(dict.fromkeys(_below(image.file, root) for image in scan.images))
    slices = first.shape[2] * (max(level) + 1)
    return ScanSummary(
        number=number,
        kind=kind_of(plan.protocol, first.sequence) if plan else None,
        protocol=plan.protocol if plan else None,
        shape=(*first.shape[:2], slices, len(plan.protocol) if plan else len(scan.images)),
        voxel_mm=voxel_size(affine) if first.placed else None,
        field_T=first.field_T,
        vendor=first.vendor,
        source=first.source,
        polarity=polarity_of(first),
        encoding=" or ".join(dict.fromkeys(image.encoding for image in scan.images)),
        repeats=plan.repeats if plan else 1,
        origin=plan.origin if plan else {},
        files=files,
        problem=problem,
    )


def _reason(error: InputError, root: Path) -> str:
    """An error told with its file relative to the folder."""
    place = None if error.path is None else _below(error.path, root)
    local = InputError(
        error.found,
        path=None if place in (None, ".") else place,
        field=error.field,
        expected=error.expected,
        hint=error.hint,
    )
    return str(local)


def _below(file: str, root: Path) -> str:
    path = Path(file)
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
