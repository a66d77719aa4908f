"""Racks of tubes that never were: painted at four times the resolution, scanned with noise.

What the search for tubes must cope with: 1 to 60 tubes of unequal size in rows, in a ring or
anywhere, turned, touching, in a bath brighter than they are, with bubbles in tubes and bath,
fiducials, shading of ±30 %, T2 from 12 to 300 ms, ringing of a truncated k-space, Rician noise.
SNR is that of a tube's signal at TE = 0 in one echo.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import relaxometry as rx

FINE = 4  # parts of a voxel's width
LAYOUTS = ("rack", "ring", "random")
TE = 0.010 * np.arange(1, 9)


@dataclass(frozen=True)
class Verdict:
    """What became of a search, against the truth."""

    missed: int
    false: int
    centre: float  # largest errors in voxels, of the tubes that were found
    radius: float
    numbered: bool = True

    @property
    def right(self) -> bool:
        placed = self.centre <= 0.5 and self.radius <= 0.7
        return self.missed == self.false == 0 and placed and self.numbered


@dataclass(frozen=True)
class Rack:
    """A scan and the truth about it; circles in voxels, in the order of their numbers."""

    series: rx.Series
    circles: np.ndarray  # (tubes, 3) x, y, radius
    layout: str
    order: str
    snr: float
    bath: bool
    touching: bool

    def verdict(self, found: np.ndarray) -> Verdict:
        """Of circles (n, 3) in voxels, in the order of their numbers."""
        true = self.circles
        if not len(found):
            return Verdict(len(true), 0, np.nan, np.nan)
        apart = np.hypot(*(found[:, None, :2] - true[None, :, :2]).transpose(2, 0, 1))
        hit = apart < np.maximum(2, 0.5 * true[:, 2])
        seen = hit.any(axis=0)
        nearest = apart.argmin(axis=0)
        return Verdict(
            missed=int((~seen).sum()),
            false=len(found) - int(seen.sum()),
            centre=float(apart.min(axis=0)[seen].max(initial=0)),
            radius=float(np.abs(found[nearest, 2] - true[:, 2])[seen].max(initial=0)),
            # Of tubes anywhere, two may be as high as each other: no order is the true one.
            numbered=self.layout == "random"
            or len(found) != len(true)
            or bool((nearest == np.arange(len(true))).all()),
        )

    def __str__(self) -> str:
        told = f"{len(self.circles)} tubes of {self.circles[:, 2].min():.1f} voxels, {self.layout}"
        told += f" by {self.order}, SNR {self.snr:.0f}"
        return told + ", bath" * self.bath + ", touching" * self.touching


def rack(
    seed: int,
    tubes: int | None = None,
    layout: str | None = None,
    snr: float | None = None,
    bath: bool | None = None,
    touching: bool | None = None,
) -> Rack:
    """A random rack; what is given is not left to chance."""
    rng = np.random.default_rng([seed, 20])
    grid = int(rng.choice([128, 160, 192, 256]))
    wanted = int(rng.integers(1, 49))
    layout = layout or str(rng.choice(LAYOUTS))
    chance = rng.random(4)
    touching = bool(chance[0] < 0.25) if touching is None else touching
    bath = bool(chance[1] < 0.3) if bath is None else bath
    snr = snr or float(np.exp(rng.uniform(np.log(5), np.log(100))))
    wall = float(rng.uniform(0.4, 1.4)) if bath or touching or chance[2] < 0.6 else 0.0
    places, radii = _layout(rng, grid, tubes or wanted, layout, touching, wall)
    order = {"rack": str(rng.choice(["rows", "columns", "serpentine"])), "ring": "ring"}
    order_name = order.get(layout, "height")
    amplitudes = _amplitudes(rng, len(radii))
    labels = _painted(rng, grid, places, radii, wall, bath)
    scan = _scanned(rng, labels, amplitudes, 1 / snr, truncated=bool(chance[3] < 0.5))
    numbered = _numbered(places, layout, order_name)
    series = rx.Series(
        scan[:, :, None, :], rx.Protocol(TE=TE, TR=3.0), affine=np.diag([-0.2, -0.2, 1.0, 1.0])
    )
    circles = np.column_stack([places, radii])[numbered]
    return Rack(series, circles, layout, order_name, snr, bath, touching)


def _layout(rng, grid, tubes, layout, touching, wall):
    """Centres and inner radii in voxels, rows and columns of a rack in reading order."""
    while True:
        most = min(14.0, 0.42 * grid / np.sqrt(tubes) / 1.15 - wall)
        if most < 3.2:
            tubes = int(0.8 * tubes)
            continue
        radius = rng.uniform(3.2, most)
        outer = radius + wall
        apart = 2 * outer if touching else 2 * outer * rng.uniform(1.1, 1.5) + 1
        places = {"rack": _rack, "ring": _ring, "random": _random}[layout](
            rng, grid, tubes, outer, apart
        )
        room = places is not None and (
            (places - outer).min() > 3 and (places + outer).max() < grid - 4
        )
        if not room:
            tubes = max(1, tubes - 1)
            continue
        radii = np.full(len(places), radius)
        if rng.random() < 0.3:
            radii = np.maximum(3.1, radius * rng.uniform(0.7, 1, len(places)))
        return places, radii


def _rack(rng, grid, tubes, outer, apart):
    columns = int(np.ceil(np.sqrt(tubes)))
    steps = np.array([(k % columns, k // columns) for k in range(tubes)]) * apart
    turn = np.deg2rad(rng.uniform(-15, 15))
    turned = (steps - steps.mean(axis=0)) @ np.array(
        [[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]
    )
    return turned + grid / 2 + rng.uniform(-2, 2, 2)


def _ring(rng, grid, tubes, outer, apart):
    reach = max(apart / (2 * np.sin(np.pi / max(tubes, 2))), 2.5 * outer)
    # The last tube is far enough from the top for no doubt which is the first.
    angles = 2 * np.pi * (np.arange(tubes) + rng.uniform(0.05, 0.55)) / tubes
    return grid / 2 + reach * np.column_stack([np.sin(angles), -np.cos(angles)])


def _random(rng, grid, tubes, outer, apart):
    places = []
    for _ in range(3000):
        place = rng.uniform(outer + 4, grid - outer - 5, 2)
        if all(np.hypot(*(place - other)) > apart for other in places):
            places.append(place)
        if len(places) == tubes:
            return np.array(places)
    return None


def _numbered(places, layout, order):
    """Indices in the order of the numbers; the picture is shown as it is stored."""
    count = len(places)
    if layout == "random":
        return np.argsort(places[:, 1])
    if layout == "rack" and order != "rows":
        columns = int(np.ceil(np.sqrt(count)))
        column, row = np.arange(count) % columns, np.arange(count) // columns
        if order == "columns":
            return np.lexsort((row, column))
        return np.lexsort((np.where(row % 2, -column, column), row))
    return np.arange(count)


def _amplitudes(rng, tubes):
    """Signal at each echo of air, the tubes and the bath, (tubes + 2, echoes)."""
    T2 = np.exp(rng.uniform(np.log(0.012), np.log(0.3), tubes))
    signal = rng.uniform(0.85, 1.1, tubes)[:, None] * np.exp(-TE / T2[:, None])
    bath = rng.uniform(0.3, 1.0) * np.exp(-TE / 1.5)
    return np.vstack([np.zeros(TE.size), signal, bath])


def _painted(rng, grid, places, radii, wall, bath):
    """What is where, on a grid FINE times finer: 0 air, 1 … tubes, tubes + 1 bath."""
    at = (np.arange(grid * FINE) + 0.5) / FINE - 0.5
    labels = np.zeros((grid * FINE, grid * FINE), dtype=np.int16)
    water = len(places) + 1

    def disc(place, radius, what):
        near = [np.flatnonzero(np.abs(at - c) <= radius) for c in place]
        x, y = np.meshgrid(*near, indexing="ij")
        on = np.hypot(at[x] - place[0], at[y] - place[1]) < radius
        labels[x[on], y[on]] = what

    if bath:
        _bath(rng, grid, places, radii + wall, at, labels, water)
        for _ in range(rng.integers(0, 4)):
            disc(rng.uniform(0, grid, 2), rng.uniform(2, 5), 0)
    elif rng.random() < 0.2:
        for _ in range(3):
            disc(rng.uniform(4, grid - 4, 2), rng.uniform(1, 2), water)
    for place, radius in zip(places, radii, strict=True):
        disc(place, radius + wall, 0)
    for number, (place, radius) in enumerate(zip(places, radii, strict=True), start=1):
        disc(place, radius, number)
        if rng.random() < 0.12:
            turn, size = rng.uniform(0, 2 * np.pi), 0.35 * radius
            aside = (radius - 0.8 * size) * np.array([np.cos(turn), np.sin(turn)])
            disc(place + aside, size, 0)
    return labels


def _bath(rng, grid, places, outer, at, labels, water):
    from_middle = at - grid / 2
    most = grid / 2 - 1.5
    if rng.random() < 0.5:
        half = min((np.abs(places - grid / 2) + outer[:, None]).max() + rng.uniform(3, 8), most)
        inside = np.abs(from_middle) < half
        labels[np.ix_(inside, inside)] = water
    else:
        reach = (np.hypot(*(places - grid / 2).T) + outer).max() + rng.uniform(3, 8)
        # A round bath larger than the image fills it.
        labels[np.hypot(from_middle[:, None], from_middle) < reach] = water


def _scanned(rng, labels, amplitudes, sigma, truncated):
    grid = labels.shape[0] // FINE
    shape = (grid, FINE, grid, FINE)
    shading = _shading(rng, grid)
    scan = np.empty((grid, grid, TE.size), dtype=np.float32)
    middle = slice(labels.shape[0] // 2 - grid // 2, labels.shape[0] // 2 - grid // 2 + grid)
    for echo in range(TE.size):
        fine = amplitudes[labels, echo]
        if truncated:
            kspace = np.fft.fftshift(np.fft.fft2(fine))[middle, middle]
            # The middle of FINE parts is half a part short of their mean's.
            phase = np.exp(1j * np.pi * np.arange(-(grid // 2), grid - grid // 2) / grid)
            phase **= (FINE - 1) / FINE
            kspace = kspace * phase[:, None] * phase
            voxels = np.fft.ifft2(np.fft.ifftshift(kspace)).real / FINE**2
        else:
            voxels = fine.reshape(shape).mean(axis=(1, 3))
        noise = rng.normal(0, sigma, (2, grid, grid))
        scan[..., echo] = np.hypot(voxels * shading + noise[0], noise[1])
    return scan


def _shading(rng, grid):
    a, b, c = rng.normal(0, 1, 3)
    x = np.linspace(-1, 1, grid)
    field = a * x[:, None] + b * x + c * x[:, None] * x
    return 1 + 0.3 * rng.random() * field / np.abs(field).max()
