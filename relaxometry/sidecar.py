"""`Sidecar`: what the JSON files beside a NIfTI file say of how it was scanned.

Sidecars are those of BIDS and dcm2niix: times in seconds, angles in degrees. File names order
nothing here (``_e10`` sorts before ``_e2``): the values in the sidecars do.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import InputError
from .images import hint_by_hand
from .recall import Recall
from .series import Sequence_
from .standins import check_fetched, dangling
from .units import LONGEST

# Keys of each setting, the one to trust first. Plurals hold one value per volume.
_KEYS = {
    "TE": ("EchoTimes", "EchoTime"),
    "TI": ("InversionTimes", "InversionTime"),
    "TR": ("RepetitionTimes", "RepetitionTimeExcitation", "RepetitionTime"),
    "FA": ("FlipAngles", "FlipAngle"),
}
# All that is ever read; of any other key not even the name may come out.
_READ = frozenset(
    (
        *(key for keys in _KEYS.values() for key in keys),
        *("ComplexImageComponent", "ImageType", "MagneticFieldStrength", "Manufacturer"),
        *("ProtocolName", "PulseSequenceType", "ScanningSequence", "SeriesDescription"),
        *("SeriesNumber", "Units"),
    )
)
# Echoes of protons fade within seconds. A train of 1 … 6 ms, written as if in seconds, shows here.
_LONGEST = {**LONGEST, "TE": 2.0}
_COMPONENTS = {
    **dict.fromkeys(("M", "MAG", "MAGNITUDE"), "M"),
    **dict.fromkeys(("P", "PH", "PHASE"), "P"),
    **dict.fromkeys(("R", "REAL"), "R"),
    **dict.fromkeys(("I", "IMAG", "IMAGINARY"), "I"),
}
_SEQUENCE_OF_SUFFIX: dict[str, Sequence_] = {
    "MESE": "SE",
    "IRT1": "SE",
    "MEGRE": "GE",
    "VFA": "GE",
}
_SWEEPING_ENTITIES = ("echo", "inv", "flip")
# What dcm2niix puts behind a name: echo, component, image number, and a letter where a name is
# taken (each TR or angle of a sweep comes out as _e1, _e1a, _e1b).
_DCM2NIIX = re.compile(
    r"(?:_e\d+[a-z]?)?(?:(?P<component>_(?:ph|real|imaginary))[a-z]?)?(?:_i\d{5}[a-z]?)?$"
)


@dataclass(frozen=True, slots=True)
class Name:
    """A file name taken apart: ``sub-01_echo-2_MESE`` → entities sub and echo, suffix MESE."""

    stem: str
    entities: Mapping[str, str]
    suffix: str

    @classmethod
    def of(cls, path: Path) -> Name:
        """The name of a NIfTI file or of a sidecar."""
        stem = re.sub(r"(\.nii(\.gz)?|\.json)$", "", path.name, flags=re.IGNORECASE)
        *parts, suffix = stem.split("_")
        return cls(stem, dict(part.split("-", 1) for part in parts if "-" in part), suffix)

    @property
    def is_bids(self) -> bool:
        """Whether the name follows BIDS."""
        return self.stem.startswith("sub-")

    @property
    def is_result(self) -> bool:
        """Whether BIDS names it as computed from scans: a parametric map, a label map, a mask."""
        return self.is_bids and self.suffix.endswith(("map", "dseg", "probseg", "mask"))

    @property
    def component(self) -> str:
        """``_ph``, ``_real`` or ``_imaginary``, as dcm2niix marks them; else empty."""
        behind = None if self.is_bids else _DCM2NIIX.search(self.stem)
        return (behind and behind["component"]) or ""

    @property
    def order(self) -> tuple[float, ...]:
        """All whole numbers in the name: sorts ``_e2`` before ``_e10``."""
        return tuple(float(digits) for digits in re.findall(r"\d+", self.stem))

    @property
    def acquisition(self) -> str:
        """The stem without what tells the images of one acquisition apart."""
        if not self.is_bids:
            behind = _DCM2NIIX.search(self.stem)
            return self.stem if behind is None else self.stem[: behind.start()] + self.component
        parts = self.stem.split("_")
        return "_".join(part for part in parts if part.split("-")[0] not in _SWEEPING_ENTITIES)


@dataclass(frozen=True, slots=True)
class Sidecar:
    """Everything the sidecars of one NIfTI file say together.

    Attributes
    ----------
    name : Name
        Of the NIfTI file.
    fields : mapping of str to (value, Path)
        Value of each key, and the sidecar it was found in.
    """

    name: Name
    fields: Mapping[str, tuple[Any, Path]]

    @property
    def files(self) -> list[Path]:
        """The sidecars that said any of it."""
        return list(dict.fromkeys(file for _, file in self.fields.values()))

    @classmethod
    def of(cls, path: Path) -> Sidecar:
        """Read the sidecars of a NIfTI file; the deepest and most specific one wins.

        Raises
        ------
        InputError
            If one of them is not strict JSON.
        """
        name = Name.of(path)
        fields: dict[str, tuple[Any, Path]] = {}
        for sidecar in _applying(path, name):
            fields |= {key: (value, sidecar) for key, value in _read_json(sidecar).items()}
        return cls(name, fields)

    def settings(
        self, n: int
    ) -> tuple[dict[str, list[float]], dict[str, str], dict[str, InputError]]:
        """TE, TI, TR in s and FA in degrees of n volumes.

        Returns
        -------
        settings : dict of str to list of float
            One value per volume. An inversion recovery that dcm2niix folded into one 4-D file has a
            scalar InversionTime: one of its TIs, the others are lost. It then has no TI.
        origin : dict of str to str
            How each is known, or why not.
        faults : dict of str to InputError
            What is stated but is no number, cannot be right, is in milliseconds, or is not one
            value per volume.
        """
        settings: dict[str, list[float]] = {}
        origin: dict[str, str] = {}
        faults: dict[str, InputError] = {}
        used: dict[str, str] = {}
        for symbol, keys in _KEYS.items():
            key = next((key for key in keys if self._value(key) is not None), None)
            if key is None:
                continue
            used[symbol] = key
            try:
                settings[symbol] = self._numbers(key, n, _LONGEST[symbol])
                origin[symbol] = self._said(key)
            except InputError as error:
                faults[symbol] = error
        for te, tr in zip(settings.get("TE", ()), settings.get("TR", ()), strict=False):
            if 0 < tr < te:
                faults["TE"] = InputError(
                    f"{te:g} s is longer than {used['TR']}, {tr:g} s",
                    path=self.fields[used["TE"]][1],
                    field=used["TE"],
                    expected="both in seconds",
                    hint=hint_by_hand("TE"),
                )
                del settings["TE"], origin["TE"]
                break
        nothing_varies = all(len(set(values)) == 1 for values in settings.values())
        if n > 1 and nothing_varies and "TI" in settings:
            del settings["TI"]
            origin["TI"] = (
                f"the sidecar has one InversionTime for {n} volumes, the others are lost (dcm2niix "
                "folds an inversion recovery so): give the list with --ti"
            )
        return settings, origin, faults

    @property
    def field_T(self) -> float | None:
        """Field strength in T; raises `InputError` if it is no positive number."""
        key = "MagneticFieldStrength"
        return None if self._value(key) is None else self._numbers(key, 1)[0]

    @property
    def component(self) -> tuple[str, str]:
        """M, P, R or I, and what says so; two empty texts where nothing does."""
        part = self.name.entities.get("part")
        image_type = _listed(self._value("ImageType"))
        words = [
            (part, f"part-{part}"),
            (self._value("ComplexImageComponent"), self._said("ComplexImageComponent")),
            # The first two say ORIGINAL or DERIVED, PRIMARY or SECONDARY.
            *((word, self._said("ImageType", f" {word}")) for word in image_type[2:]),
        ]
        if self.fields:  # of dcm2niix; without its sidecar "_ph" may stand for anything
            mark = self.name.component
            words.append((mark.lstrip("_"), f"{mark} in the file name"))
        for word, reason in words:
            if isinstance(word, str) and word.upper() in _COMPONENTS:
                return _COMPONENTS[word.upper()], reason
        return "", ""

    @property
    def sequence(self) -> Sequence_ | None:
        """Spin or gradient echo, from the sequence's description or else the BIDS suffix."""
        codes = re.findall("[A-Z]+", " ".join(map(str, _listed(self._value("ScanningSequence")))))
        words = self.text("PulseSequenceType").lower()
        for spin, gradient in (
            ("SE" in codes, "GR" in codes),
            ("spin" in words, any(word in words for word in ("gradient", "flash", "spgr"))),
        ):
            if spin != gradient:
                return "SE" if spin else "GE"
        return _SEQUENCE_OF_SUFFIX.get(self.name.suffix)

    @property
    def problem(self) -> str:
        """Why the file is nothing to fit; empty if it may be."""
        return {"P": "phase images", "I": "imaginary images"}.get(self.component[0], "")

    @property
    def order(self) -> tuple[float, ...]:
        """When it was taken: number of the scanner's series, then the numbers in the name."""
        series = self._value("SeriesNumber")
        return (series if isinstance(series, float) else 0.0, *self.name.order)

    def text(self, *keys: str) -> str:
        """The first of these fields that is text; empty if none is."""
        return next((v for key in keys if isinstance(v := self._value(key), str)), "")

    def _said(self, key: str, what: str = "") -> str:
        """A key, what it says, and the name of the sidecar that has it."""
        return f"{key}{what} ({self.fields[key][1].name})" if key in self.fields else key

    def _value(self, key: str) -> Any:
        return self.fields.get(key, (None,))[0]

    def _numbers(self, key: str, n: int, longest: float = math.inf) -> list[float]:
        """The value or values of a field, one per volume."""
        value, sidecar = self.fields[key]
        values = value if isinstance(value, list) else [value] * n
        if len(values) != n:
            raise InputError(
                f"{len(values)} values for {n} volume{'s' if n > 1 else ''}",
                path=sidecar,
                field=key,
                expected="one value per volume, or a single one for all",
            )
        for number in values:
            if not isinstance(number, float):
                found = json.dumps(number)
                raise InputError(f"{found:.40}", path=sidecar, field=key, expected="a number")
            if not 0 <= number < math.inf:
                raise InputError(f"{number:g} is not possible", path=sidecar, field=key)
            if number > longest:
                raise InputError(
                    f"{number:g} s is too long, it looks like milliseconds",
                    path=sidecar,
                    field=key,
                    expected="seconds",
                    hint="divide by 1000, or give the values by hand",
                )
        return list(values)


def _applying(path: Path, name: Name) -> list[Path]:
    """Sidecars that apply, the least specific first (BIDS inheritance principle)."""
    own = path.with_name(f"{name.stem}.json")
    inherited: list[Path] = []
    for folder in _levels(path.parent) if name.is_bids else []:
        level = [
            (len(entities), file)
            for file, entities in _sidecars(folder).get(name.suffix, ())
            if entities <= name.entities.items()
        ]
        inherited = [folder / file for _, file in sorted(level)] + inherited
    applying = inherited if own in inherited else [*inherited, own]
    # A folder may bear any name. A link to nothing has settings, that nobody has fetched.
    return [sidecar for sidecar in applying if sidecar.is_file() or dangling(sidecar)]


def _listing(folder: Path) -> dict[str, list[tuple[str, Set[tuple[str, str]]]]]:
    """The names of a folder's JSON files and their entities, by suffix."""
    by_suffix: dict[str, list[tuple[str, Set[tuple[str, str]]]]] = {}
    for file in folder.glob("*.json"):
        its = Name.of(file)
        by_suffix.setdefault(its.suffix, []).append((file.name, its.entities.items()))
    return by_suffix


# Every image of a folder asks for it.
_sidecars = Recall(_listing)


def _levels(folder: Path) -> list[Path]:
    """The folder and those above it, up to the root of its BIDS data set; itself alone if none."""
    absolute = folder.absolute()
    levels = [folder, *folder.parents]
    levels += [absolute, *absolute.parents][len(levels) :]
    for depth, level in enumerate(levels, 1):
        if (level / "dataset_description.json").is_file():
            return levels[:depth]
    return [folder]


def _read_json(path: Path) -> dict[str, Any]:
    """A JSON object, strictly: no duplicate keys, no NaN; a byte-order mark is let pass."""
    check_fetched(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be opened ({error.strerror})", path=path) from None
    try:
        found = json.loads(
            content.decode("utf-8-sig"),
            object_pairs_hook=_unique,
            parse_constant=_refused,
            parse_int=float,
        )
    except (ValueError, RecursionError) as error:
        raise InputError(f"not strict JSON: {error}", path=path) from error
    if not isinstance(found, dict):
        raise InputError("no settings by name", path=path, expected="a JSON object {…}")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            raise ValueError(f"{repr(key) if key in _READ else 'a key'} is given twice")
        seen.add(key)
    return dict(pairs)


def _refused(constant: str) -> float:
    raise ValueError(f"{constant} is not a number in JSON")


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
