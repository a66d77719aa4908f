"""What a ``study.toml`` says of images before and after an injection, and of uniformity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from .errors import InputError
from .tomltable import TomlTable
from .units import RELAXIVITY_OF, elapsed

Region = int | str
#: How a subject that moved between two scans is met.
MOVES = ("refuse", "correct", "ignore")
#: How a moved image is registered: by the edges that told the motion, or by SimpleITK.
REGISTRATIONS = ("edges", "mattes")
#: How the brightness of two sessions is met: looked at by a reference, divided out, not looked at.
SCALES = ("check", "correct", "ignore")
QUANTITIES = ("T1", "T2")
_LONGEST_TE_S = 1.0
#: How animals before and after are compared.
PairedTest = Literal["t", "wilcoxon"]
TESTS: tuple[PairedTest, ...] = get_args(PairedTest)


@dataclass(frozen=True, slots=True)
class RateSettings:
    """T1 or T2 series of one animal before and after, and the relaxivity that makes mM of them."""

    quantity: str
    pre: Path
    post: tuple[Path, ...]
    times_s: tuple[float | None, ...]
    relaxivity: float | None = None
    relaxivity_stderr: float = 0.0


@dataclass(frozen=True, slots=True)
class ContrastSettings:
    """Images of one animal (or phantom) before and after an injection, and their regions."""

    name: str
    pre: Path | None
    post: tuple[Path, ...]
    times_s: tuple[float | None, ...]
    regions: Path | Mapping[str, Sequence[float]]
    target: Region
    reference: Region
    names: Path | None = None
    noise: Region | None = None
    muscle: Region | None = None
    noise_method: str = "sd"
    coils: int = 1
    pooled: bool = False
    phase_axis: int | None = None
    pre_repeat: Path | None = None
    post_repeat: tuple[Path, ...] = ()
    animal: str = ""
    group: str = ""
    agent: str = ""
    shift: str = "refuse"
    registration: str = "edges"
    scale: str = "check"
    TE_s: float | None = None
    rates: tuple[RateSettings, ...] = ()

    @property
    def files(self) -> list[Path]:
        """Every file and folder it names."""
        images = [self.pre, *self.post, self.names, self.pre_repeat, *self.post_repeat]
        images += [path for rate in self.rates for path in (rate.pre, *rate.post)]
        images += [self.regions] if isinstance(self.regions, Path) else []
        return [path for path in images if path is not None]


@dataclass(frozen=True, slots=True)
class UniformitySettings:
    """An image of a uniform phantom, and the label image of its regions where one is given."""

    name: str
    image: Path
    region: Path | None = None


def contrast_settings(table: TomlTable, methods: Sequence[str]) -> ContrastSettings:
    """One ``[[contrast]]``; `methods` are the names of noise methods."""
    pre = table.path("pre") if table.seen("pre") else None
    post = table.paths("post")
    times = _times(table, "times", len(post))
    rates = tuple(_rates(table))
    if not rates:
        for key, missing in (("pre", pre is None), ("post", not post)):
            if missing:
                raise InputError("missing", field=table.key(key), expected="a path")
    elif (pre is None) != (not post):
        key = "pre" if pre is None else "post"
        raise InputError("missing", field=table.key(key), expected="images before and after")
    method = table.choice("noise_method", tuple(methods)) or "sd"
    pre_repeat = table.path("pre_repeat") if table.seen("pre_repeat") else None
    post_repeat = table.paths("post_repeat")
    if (method == "difference" and bool(post)) != (pre_repeat is not None) or (
        pre_repeat is not None and len(post_repeat) != len(post)
    ):
        raise InputError(
            f"noise_method {method} with {int(pre_repeat is not None)} pre_repeat and "
            f"{len(post_repeat)} post_repeat",
            field=table.key("noise_method"),
            expected='with "difference" each image a second time, with others none',
        )
    if table.seen("scale") and table.values["scale"] == "correct" and not table.seen("muscle"):
        raise InputError(
            "'correct' without a muscle",
            field=table.key("scale"),
            expected="muscle, a region that takes up no agent",
        )
    stated = {one.quantity: one.relaxivity for one in rates if one.relaxivity is not None}
    if table.seen("agent") and stated:
        raise InputError("beside a relaxivity", field=table.key("agent"), expected="one of the two")
    if len(stated) == 2 and stated["T2"] < stated["T1"] / 2:
        raise InputError(
            f"r1 {stated['T1']:g} and r2 {stated['T2']:g}",
            field=table.key("r2_per_mM_per_s"),
            expected="an r2 that is not far below r1",
            hint="are the two swapped?",
        )
    if table.seen("agent") and not rates:
        raise InputError(
            "without series before and after",
            field=table.key("agent"),
            expected="T1_pre and T1_post, or T2_pre and T2_post",
        )
    coils = table.take("coils", int)
    if coils is not None and coils < 1:
        raise InputError(f"{coils}", field=table.key("coils"), expected="a whole number from 1")
    TE = table.time("TE")
    if TE is not None and TE > _LONGEST_TE_S:
        raise InputError(
            f"{TE:g} s", field=table.key("TE"), expected='at most 1 s; with its unit, "40 ms"'
        )
    _check_files(table, pre, post)
    settings = ContrastSettings(
        name=table.text("name"),
        pre=pre,
        post=post,
        times_s=times,
        regions=_regions(table),
        names=table.path("names") if table.seen("names") else None,
        target=_needed(table, "target"),
        reference=_needed(table, "reference"),
        noise=table.region("noise"),
        muscle=table.region("muscle"),
        noise_method=method,
        coils=coils or 1,
        pooled=table.choice("noise_slices", ("each", "pooled")) == "pooled",
        phase_axis={"x": 0, "y": 1, None: None}[table.choice("phase_axis", ("x", "y"))],
        pre_repeat=pre_repeat,
        post_repeat=post_repeat,
        animal=_name(table, "animal"),
        group=_name(table, "group"),
        agent=table.text("agent"),
        shift=table.choice("shift", MOVES) or "refuse",
        registration=table.choice("registration", REGISTRATIONS) or "edges",
        scale=table.choice("scale", SCALES) or "check",
        TE_s=TE,
        rates=rates,
    )
    table.done()
    return settings


def _check_files(table: TomlTable, pre: Path | None, post: Sequence[Path]) -> None:
    """One file is one image: none twice."""
    seen = [] if pre is None else [pre.resolve()]
    for path in post:
        if path.resolve() in seen:
            raise InputError(
                f"{path.name} twice", field=table.key("post"), expected="another image each time"
            )
        seen.append(path.resolve())


def uniformity_settings(table: TomlTable) -> UniformitySettings:
    """One ``[[uniformity]]``."""
    settings = UniformitySettings(
        name=table.text("name"),
        image=table.path("image"),
        region=table.path("region") if table.seen("region") else None,
    )
    table.done()
    return settings


def _regions(table: TomlTable) -> Path | Mapping[str, Sequence[float]]:
    circles = table.take("regions", (str, dict))
    return circles if isinstance(circles, dict) else table.path("regions")


def _needed(table: TomlTable, key: str) -> Region:
    region = table.region(key)
    if region is None:
        raise InputError(
            "missing", field=table.key(key), expected="a label of the regions, or a name"
        )
    return region


def _name(table: TomlTable, key: str) -> str:
    """A name, which may be written as a number."""
    value = table.take(key, (str, int))
    return "" if value is None else str(value).strip()


def _times(table: TomlTable, key: str, n: int) -> tuple[float | None, ...]:
    """When each image after was taken, in s after the injection."""
    values = table.take(key, list)
    if values is None:
        if n > 1:
            raise InputError(
                f"{n} images after without their times",
                field=table.key(key),
                expected='one time each, e.g. times = ["10 min", "24 h"]',
            )
        return (None,) * n
    if len(values) != n:
        raise InputError(
            f"{len(values)} for {n} images after", field=table.key(key), expected="one time each"
        )
    bare = [value for value in values if not isinstance(value, str)]
    if bare:
        raise InputError(
            f"{bare[0]!r} without a unit",
            field=table.key(key),
            expected='"60 s", "10 min" or "24 h"',
        )
    try:
        times = tuple(elapsed(value) for value in values)
    except InputError as error:
        raise InputError(error.found, field=table.key(key), expected=error.expected) from None
    if len(set(times)) < len(times):
        raise InputError(f"{values!r}"[:80], field=table.key(key), expected="each time once")
    return times


def _rates(table: TomlTable) -> list[RateSettings]:
    found = []
    for quantity in QUANTITIES:
        pre, post = f"{quantity}_pre", f"{quantity}_post"
        relaxivity = RELAXIVITY_OF[quantity.replace("T", "R")]
        r = table.positive(f"{relaxivity}_per_mM_per_s")
        error = table.number(f"{relaxivity}_stderr_per_mM_per_s")
        if error is not None and (error < 0 or r is None):
            raise InputError(
                f"{error:g}" if r is not None else f"without {relaxivity}_per_mM_per_s",
                field=table.key(f"{relaxivity}_stderr_per_mM_per_s"),
                expected="0 or more, beside its relaxivity",
            )
        after = table.paths(post)
        if not table.seen(pre) and not after:
            if r is not None:
                raise InputError(
                    f"without {pre} and {post}",
                    field=table.key(f"{relaxivity}_per_mM_per_s"),
                    expected="series before and after, of which it makes concentrations",
                )
            continue
        if not table.seen(pre) or not after:
            missing = post if table.seen(pre) else pre
            raise InputError(
                "missing", field=table.key(missing), expected="series before and after"
            )
        times = _rate_times(table, len(after))
        found.append(RateSettings(quantity, table.path(pre), after, times, r, error or 0.0))
    return found


def _rate_times(table: TomlTable, n: int) -> tuple[float | None, ...]:
    """When the series after were taken: their own times, or those of the images."""
    if table.seen("rate_times"):
        return _times(table, "rate_times", n)
    images: Any = table.values.get("times")
    if isinstance(images, list) and len(images) == n:
        return _times(table, "times", n)
    return _times(table, "rate_times", n)
