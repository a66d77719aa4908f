"""How two images of one object lie to each other, whatever their contrast: the shift and turn.

Where the signal of either image is, within a patch of a few voxels, nearly a linear function of
that of the other, with any slope and sign, the patch says where its edges are and nothing about how
bright they are. Its share is the mutual information of two Gaussians, −½·ln(1 − ρ²), with ρ² the
squared correlation in the patch, noise included, and their sum is greatest where the images match.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SEARCHED_DEG = 10.0
_TURN_STEP_DEG = 2.0
_SMOOTH = 1.0  # voxels in the plane: interpolation then hardly changes the noise
_COARSE_SMOOTH = 1.5
_COARSE_SLICES = 9
_MOST_SLICES = 11
_EDGE, _APART = 7, 3  # a patch's edge, and the distance of neighbours, in voxels
_MOST_PATCHES = 300
_FAINT = 0.15  # of the bright end: air, where ghosts have edges and turn otherwise
_LIVELY = 3.0  # variance of a patch in units of the noise: below, it holds no edge
_FEWEST_PATCHES = 8
_FEWEST_BLOCKS = 4
#: Peak over SD of the coarse search. Pairs of noise reach 6, animals at an SNR of 10 have 10.
_DISTINCT = 7.5
#: By which the error between blocks of patches is too small, and what remains at any SNR, in
#: voxels: benchmarks/moved_animals.py.
_WIDER, _LEAST_STDERR = 1.9, 0.015
#: Voxels, of the shift and of what the turn moves half way to the rim: above, it is not seen. A
#: turn that shows at all is kept, since without it the rim is far off.
_MOST_STDERR, _MOST_STDERR_TURN = 0.35, 0.8


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """Where a second image's object lies, in voxels and radians, from where it lies in the first.

    A place p (voxels, in the plane, from `middle`) is found at R(turn)·p + shift[:2], and
    shift[2] slices further on. `covariance` (4, 4) is of (shift x, shift y, shift z, turn); NaN
    for what was not sought.
    """

    shift: Array
    turn: float
    covariance: Array
    n_patches: int


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A smoothed image in units of its noise, ready to be looked up between voxels."""

    splines: Array  # (z, x, y) coefficients in the plane
    smooth: Array
    orientation: NDArray[np.complex128]
    unknown: NDArray[np.bool_]

    @staticmethod
    def of(image: NDArray[Any], aspect: float) -> Prepared | None:
        """From an image (x, y, z); `aspect` is the voxel's edge along x over that along y.

        None where it has no noise and no signal at all.
        """
        from scipy.ndimage import binary_dilation, gaussian_filter, spline_filter1d

        values = np.asarray(image, dtype=float)
        unknown = ~np.isfinite(values)
        values = np.where(unknown, 0.0, values)
        sigma = _noise(values)
        if not sigma > 0:
            return None
        values = values / sigma
        plane = (_SMOOTH, _SMOOTH, 0)
        # White noise smoothed by a Gaussian of SD s in the plane keeps 1/(4πs²) of its variance.
        smooth = gaussian_filter(values, plane) * np.sqrt(4 * np.pi) * _SMOOTH
        splines = spline_filter1d(spline_filter1d(smooth, 3, 0, mode="mirror"), 3, 1, mode="mirror")
        wide = (_COARSE_SMOOTH, _COARSE_SMOOTH, 0)
        along_x = gaussian_filter(values, wide, order=(1, 0, 0))
        along_y = gaussian_filter(values, wide, order=(0, 1, 0)) * aspect
        slope = along_x + 1j * along_y
        size = np.abs(slope) ** 2
        # Noise gives a squared slope of 2/(8πs⁴); strong edges shall not drown the others.
        least = max(9 * 2 / (8 * np.pi * _COARSE_SMOOTH**4), 0.02 * np.percentile(size, 99))
        # The square of the slope does not change when the edge is turned from dark to bright.
        orientation = slope**2 / (size + least)
        if unknown.any():
            unknown = binary_dilation(unknown, np.ones((9, 9, 1), dtype=bool))
            orientation[unknown] = 0
        splines = np.ascontiguousarray(np.moveaxis(splines, 2, 0))
        return Prepared(splines, smooth, orientation, unknown)

    @property
    def shape(self) -> tuple[int, int, int]:
        nz, nx, ny = self.splines.shape
        return nx, ny, nz

    def lit(self) -> NDArray[np.bool_]:
        """Where a patch about the voxel reaches the object, and not only a ghost in the air."""
        from scipy.ndimage import maximum_filter

        around = maximum_filter(self.smooth, (_EDGE, _EDGE, 1))
        near: NDArray[np.bool_] = around > _FAINT * np.percentile(self.smooth, 99)
        return near

    def at(self, x: Array, y: Array, z: NDArray[np.intp], further: float) -> Array:
        """Values at places in voxels of the slices z, moved on by a part of a slice or more."""
        from scipy.interpolate import CubicSpline
        from scipy.ndimage import map_coordinates

        nz, nx, ny = self.splines.shape
        planes = self.splines
        if further and further == round(further):
            z = z + round(further)
        elif further:
            there = np.clip(np.arange(nz) + further, 0, nz - 1)
            planes = CubicSpline(np.arange(nz), np.eye(nz))(there) @ planes.reshape(nz, -1)
        # Slices one below the other: look-up in the plane alone is quicker.
        sheet = planes.reshape(nz * nx, ny)
        rows = np.clip(x, 1, nx - 2) + nx * z[:, None]
        looked: Array = map_coordinates(sheet, [rows, y], order=3, prefilter=False, mode="mirror")
        return looked


def match(first: NDArray[Any], second: NDArray[Any], aspect: float) -> Match | str:
    """Shift and turn from the first image (x, y, z) to the second; a reason where none is found.

    Parameters
    ----------
    first, second : ndarray (x, y, z)
        Magnitudes on one grid; NaN is left out.
    aspect : float
        The voxel's edge along x over that along y.
    """
    slab = _slab(first)
    a, b = Prepared.of(first[..., slab], aspect), Prepared.of(second[..., slab], aspect)
    if a is None or b is None:
        return "an image is constant"
    turns = np.radians(np.arange(-SEARCHED_DEG, SEARCHED_DEG + 0.1, _TURN_STEP_DEG))
    start, still = _coarse(a, b, aspect, turns), None
    # What cannot be seen is left out: the turn of a round object, slices that all look the same.
    reasons = []
    for slices, turn in ((True, True), (False, True), (True, False), (False, False)):
        if slices and a.shape[2] < 3:
            continue
        if not turn:
            still = _coarse(a, b, aspect, np.zeros(1)) if still is None else still
        at = start if turn or still is None else still
        if isinstance(at, str):
            return at
        patches = _Patches.around(a, b, aspect, at, slices, turn)
        found = patches.best() if patches is not None else "too few edges show in both images"
        if isinstance(found, Match):
            return found
        reasons.append(found)
    return reasons[-1]


def likeness(first: NDArray[Any], second: NDArray[Any], aspect: float) -> float:
    """How alike the edges of two images (x, y, z) lie, at the best shift in the plane: up to 1."""
    from scipy.fft import fft2, ifft2

    slab = _slab(first)
    a, b = (Prepared.of(image[..., slab], aspect) for image in (first, second))
    if a is None or b is None:
        return 0.0
    wa, wb = (_coarser(one.orientation) for one in (a, b))
    power = np.sqrt((np.abs(wa) ** 2).sum() * (np.abs(wb) ** 2).sum())
    if not power > 0:
        return 0.0
    both = (np.conj(fft2(wa, axes=(0, 1))) * fft2(wb, axes=(0, 1))).sum(axis=-1)
    return float(ifft2(both).real.max() / power)


def _slab(image: NDArray[Any]) -> slice:
    """The slices about the middle of the object: a rigid body moves alike in all of them."""
    nz = image.shape[2]
    if nz <= _MOST_SLICES:
        return slice(0, nz)
    bright = np.nansum(np.square(image, dtype=float), axis=(0, 1))
    middle = int((np.arange(nz) * bright).sum() / bright.sum()) if bright.any() else nz // 2
    first = min(max(middle - _MOST_SLICES // 2, 0), nz - _MOST_SLICES)
    return slice(first, first + _MOST_SLICES)


def _noise(values: Array) -> float:
    """SD of the noise, from second differences, which a smooth image hardly has."""
    size = float(np.abs(values).max())
    if not size > 0 or min(values.shape[:2]) < 3:
        return 0.0
    second = values[2:] - 2 * values[1:-1] + values[:-2]
    # Air that a scanner set to zero has no noise to tell.
    second = second[(values[2:] != 0) & (values[1:-1] != 0) & (values[:-2] != 0)]
    sigma = 1.4826 * float(np.median(np.abs(second))) / np.sqrt(6) if second.size else 0.0
    return max(sigma, 1e-3 * size)


def _coarse(a: Prepared, b: Prepared, aspect: float, turns: Array) -> Array | str:
    """(shift x, y, z, turn) to a voxel, a slice and a step of the turn, by orientation.

    Correlates the squared, normalised gradients as complex numbers, at every shift by FFT, after
    Fitch, Kadyrov, Christmas & Kittler, Proc BMVC 133 (2002).
    """
    from scipy.fft import fft2, ifft2, next_fast_len
    from scipy.ndimage import map_coordinates

    wa, wb = (_coarser(w.orientation) for w in (a, b))
    every = a.shape[0] // wa.shape[0]
    nx, ny, nz = wa.shape
    # Room for a shift of a quarter of the field of view, so that the far side is not met.
    room = (next_fast_len(nx + nx // 4), next_fast_len(ny + ny // 4))
    x, y = np.mgrid[:nx, :ny].astype(float)
    x, y = x - (nx - 1) / 2, y - (ny - 1) / 2
    there = np.conj(fft2(wa, room, axes=(0, 1)))
    power_a, power_b = ((np.abs(w) ** 2).sum(axis=(0, 1)) for w in (wa, wb))
    furthest = min(nz - 2, 3) if nz > 2 else 0
    best, found, surface = -np.inf, np.zeros(4), np.zeros(room)
    for turn in turns:
        u, v = _turned(x, y, turn, aspect)
        u, v = u + (nx - 1) / 2, v + (ny - 1) / 2
        planes = [
            map_coordinates(wb[..., k], [u, v], order=1) * np.exp(-2j * turn) for k in range(nz)
        ]
        here = fft2(np.stack(planes, axis=-1), room, axes=(0, 1))
        for k in range(-furthest, furthest + 1):
            mine, other = slice(max(0, -k), nz - max(0, k)), slice(max(0, k), nz - max(0, -k))
            power = np.sqrt(power_a[mine].sum() * power_b[other].sum())
            if not power > 0:
                continue
            alike = ifft2((there[..., mine] * here[..., other]).sum(axis=-1)).real / power
            if alike.max() > best:
                best, surface = float(alike.max()), alike
                at = np.array(np.unravel_index(alike.argmax(), room), dtype=float)
                at -= np.array(room) * (at > np.array(room) / 2)
                found = np.array([*_turned(at[0] * every, at[1] * every, turn, aspect), k, turn])
    if not best > _DISTINCT * surface.std():
        return "no place of the one image stands out as like the other: noise, or no edges"
    return found


def _coarser(field: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """The middle slices, in voxels so large that the plane has at most 192 of them each way."""
    nx, ny, nz = field.shape
    first = max(0, (nz - _COARSE_SLICES) // 2)
    field = field[..., first : first + _COARSE_SLICES]
    every = -(-max(nx, ny) // 192)
    if every == 1:
        return field
    cut = field[: nx // every * every, : ny // every * every]
    blocks = cut.reshape(nx // every, every, ny // every, every, -1)
    whole: NDArray[np.complex128] = blocks.mean(axis=(1, 3))
    return whole


def _turned(x: Any, y: Any, turn: float, aspect: float) -> tuple[Any, Any]:
    """Voxel offsets in the plane, turned; voxels need not be square."""
    c, s = np.cos(turn), np.sin(turn)
    return c * x - s / aspect * y, s * aspect * x + c * y


@dataclass(slots=True, eq=False)
class _Patches:
    """Patches that hold edges in both images, and how alike they are at any shift and turn."""

    a: Prepared
    b: Prepared
    aspect: float
    start: Array
    free: list[int]  # of (shift x, shift y, shift z, turn)
    scale: Array  # what changes a place by about one voxel
    centres: Array  # (n, 3)
    window: Array

    @classmethod
    def around(
        cls, a: Prepared, b: Prepared, aspect: float, start: Array, slices: bool, turn: bool
    ) -> _Patches | None:
        nx, ny, nz = a.shape
        if min(nx, ny) < 3 * _EDGE:
            return None
        k = round(start[2])
        low, high = (max(0, 1 - k), min(nz, nz - 1 - k)) if slices else (max(0, -k), nz - max(0, k))
        margin = _EDGE // 2 + 1
        x, y, z = np.meshgrid(
            np.arange(margin, nx - margin, _APART),
            np.arange(margin, ny - margin, _APART),
            np.arange(low, high),
            indexing="ij",
        )
        centres = np.column_stack([x.ravel(), y.ravel(), z.ravel()]).astype(float)
        hann = np.hanning(_EDGE + 2)[1:-1]
        window = np.outer(hann, hann).ravel() / hann.sum() ** 2
        free = [0, 1] + [2] * slices + [3] * turn
        scale = np.array([1.0, 1.0, 1.0, 4.0 / (nx + ny)])
        patches = cls(a, b, aspect, start, free, scale, centres, window)
        spread_a, spread_b, _ = patches.moments(start)[: len(centres)].T
        lively = (spread_a > _LIVELY) & (spread_b > _LIVELY)
        at = tuple(np.rint(centres).astype(int).T)
        lively &= ~a.unknown[at] & ~b.unknown[at] & (a.lit()[at] & b.lit()[at])
        chosen = np.flatnonzero(lively)
        if chosen.size < _FEWEST_PATCHES:
            return None
        if chosen.size > _MOST_PATCHES:
            chosen = chosen[np.linspace(0, chosen.size - 1, _MOST_PATCHES).astype(int)]
        patches.centres = centres[chosen]
        return patches

    def moments(self, place: Array) -> Array:
        """(patches, 3): variance in either image and covariance; twice as many with slices.

        Both images are looked up half way, so that interpolation does the same to both. Between
        slices that is not possible at the ends: each is looked up at the slices of the other.
        """
        middle = (np.array(self.a.shape[:2]) - 1) / 2
        offset = np.arange(_EDGE) - (_EDGE - 1) / 2
        across = np.repeat(offset, _EDGE), np.tile(offset, _EDGE)
        x, y = (self.centres[:, i, None] + across[i] - middle[i] for i in range(2))
        z = self.centres[:, 2].astype(int)
        half = place[:2] / 2
        ax, ay = _turned(x, y, -place[3] / 2, self.aspect)
        bx, by = _turned(x, y, place[3] / 2, self.aspect)
        ax, ay = ax - half[0] + middle[0], ay - half[1] + middle[1]
        bx, by = bx + half[0] + middle[0], by + half[1] + middle[1]
        ways = [(z, 0.0, z, place[2])]
        if 2 in self.free:
            there = z + round(self.start[2])
            ways.append((there, -place[2], there, 0.0))
        rows = []
        for az, a_on, bz, b_on in ways:
            a, b = self.a.at(ax, ay, az, float(a_on)), self.b.at(bx, by, bz, float(b_on))
            a -= (a @ self.window)[:, None]
            b -= (b @ self.window)[:, None]
            pairs = (a * a, b * b, a * b)
            rows.append(np.column_stack([pair @ self.window for pair in pairs]))
        return np.concatenate(rows)

    def likeness(self, place: Array) -> Array:
        """(patches,) mutual information of each patch, the noise of each image being 1."""
        a, b, ab = self.moments(place).T
        product = (a + 1) * (b + 1)
        shares = 0.5 * np.log(product / (product - ab**2))
        each: Array = shares.reshape(-1, len(self.centres)).mean(axis=0)
        return each

    def best(self) -> Match | str:
        """The place of the greatest likeness, and how sure it is."""
        from scipy.optimize import minimize

        start, scale = self.start, self.scale

        def there(steps: Array) -> Array:
            place = start.copy()
            place[self.free] += steps * scale[self.free]
            return place

        # A third of the patches finds the peak; all of them make the last step, and the error.
        some = replace(self, centres=self.centres[:: max(1, min(3, len(self.centres) // 100))])

        def unlike(steps: Array) -> float:
            return -float(some.likeness(there(steps)).sum())

        p = len(self.free)
        simplex = np.vstack([np.zeros(p), np.eye(p) - 0.3 / p])
        options: Any = {"initial_simplex": simplex, "xatol": 0.04, "fatol": 1e-3, "maxiter": 400}
        steps = minimize(
            unlike,
            np.zeros(p),
            method="Nelder-Mead",
            options=options,
        ).x
        gains, curvature = self._derivatives(there, steps)
        if np.linalg.eigvalsh(curvature).max() >= 0:
            return "the likeness of the images has no peak: too few edges show in both"
        inverse = np.linalg.inv(curvature)
        last = -inverse @ gains.sum(axis=0)
        if np.abs(last).max() < 0.2:
            steps = steps + last
        if np.abs(steps[:2]).max() > 5 or (2 in self.free and abs(steps[2]) > 0.99):
            return "the likeness of the images has no peak near where the edges agree best"
        # Neighbouring patches share voxels, and organs move together: errors between blocks.
        block = (self.centres[:, :2] // (2 * _EDGE)).astype(int)
        _, number = np.unique(block, axis=0, return_inverse=True)
        number = number.ravel()
        blocks = int(number.max()) + 1
        if blocks < max(_FEWEST_BLOCKS, p + 1):
            return "edges show in too few places of the images"
        of_blocks = np.stack([np.bincount(number, gains[:, i]) for i in range(p)], axis=1)
        spread = of_blocks.T @ of_blocks * blocks / (blocks - p)
        small = inverse @ spread @ inverse * _WIDER**2 + np.eye(p) * _LEAST_STDERR**2
        most = np.where(np.array(self.free) == 3, _MOST_STDERR_TURN, _MOST_STDERR)
        if (np.sqrt(small.diagonal()) > most).any():
            return "the edges that show in both images do not tell the place to half a voxel"
        covariance = np.full((4, 4), np.nan)
        covariance[np.ix_(self.free, self.free)] = small * np.outer(
            scale[self.free], scale[self.free]
        )
        place = there(steps)
        # Half way and half way again: R(t)·s/2 + s/2 is the shift of the middle.
        half = place[:2] / 2
        shift = half + np.array(_turned(half[0], half[1], place[3], self.aspect))
        z = place[2] if 2 in self.free else np.nan
        turn = float(place[3]) if 3 in self.free else np.nan
        return Match(np.array([*shift, z]), turn, covariance, len(self.centres))

    def _derivatives(self, there: Any, steps: Array, h: float = 0.15) -> tuple[Array, Array]:
        """Slope of each patch (patches, p), and the curvature of their sum (p, p)."""
        p = len(steps)
        unit = np.eye(p) * h
        here = self.likeness(there(steps)).sum()
        ahead = [self.likeness(there(steps + e)) for e in unit]
        behind = [self.likeness(there(steps - e)) for e in unit]
        gains = np.stack([(f - g) / (2 * h) for f, g in zip(ahead, behind, strict=True)], axis=1)
        up, down = (np.array([f.sum() for f in both]) for both in (ahead, behind))
        curvature = np.diag(up + down - 2 * here) / h**2
        for i, j in combinations(range(p), 2):
            both = self.likeness(there(steps + unit[i] + unit[j])).sum()
            neither = self.likeness(there(steps - unit[i] - unit[j])).sum()
            mixed = both + neither - up[i] - up[j] - down[i] - down[j] + 2 * here
            curvature[i, j] = curvature[j, i] = mixed / (2 * h * h)
        return gains, curvature
