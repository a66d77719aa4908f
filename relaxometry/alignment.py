"""`Alignment`: where a known phantom lies in an image, found by its geometry, numbered by physics.

Circles of about the known radius are sought, bright or dark (see :mod:`relaxometry.edges`); the
pose of the template (shift, any rotation, reflection, scale) is the one that most of them agree
on, by sampling pairs (Fischler & Bolles, Commun ACM 24:381, 1981), refined by least squares. Poses
that look alike are told apart by the known order of T1 or T2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .edges import RADII, Edges
from .errors import InputError
from .geometry import voxel_size
from .models import model_for
from .series import Series
from .template import Template

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]

#: How far the scale may be from 1: gradients are off by less, another phantom by more.
SCALE_TOLERANCE = 0.03
# Circles looked at, and pairs of positions sampled times positions: enough to meet each pose often.
_CIRCLES, _PAIRS = 60, 900
_LEAST_SHARE = 0.6  # of the positions, that must be seen
_INSIDE = np.linspace(0.7, 1.2, 26)
# Logarithms of times, fitted by a falling sequence: the share of their variance that may be left,
# and how much worse (in χ²) the next best numbering must be.
_LEFT, _APART = 0.1, 12.0
# Of the clarity of a usual circle: that of one that is surely there, and of none.
_CLEAR, _EMPTY = 0.7, 0.3
_LEAST_SD = 0.1  # of ln T: no rough time is surer than 10 %


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Alignment:
    """Where the positions of a template lie in an image.

    Attributes
    ----------
    template : Template
    places : ndarray (n, 2)
        x, y in mm along a row and down a column from the centre of the first voxel.
    seen : ndarray of bool (n,)
        Whether the image shows a circle there; otherwise the template alone says so.
    radius : float
        What is inside in this slice, in mm.
    scale : float
        Size in the image over the true one: a measure of the gradients' calibration.
    rotation : float
        Degrees anticlockwise, in an image with x to the right and y down; where it is mirrored,
        after its left and right were exchanged.
    mirrored : bool
        The phantom is seen from behind in that image.
    rms : float
        Of the distances between circles and template, in mm.
    slices : slice
        Slices to be measured.
    """

    template: Template
    places: Array
    seen: NDArray[np.bool_]
    radius: float
    scale: float
    rotation: float
    mirrored: bool
    rms: float
    slices: slice

    @property
    def placed_by_template(self) -> tuple[int, ...]:
        """Numbers of the positions where the image shows nothing."""
        pairs = zip(self.template.numbers, self.seen, strict=True)
        return tuple(number for number, seen in pairs if not seen)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the result should know."""
        hidden = self.placed_by_template
        if not hidden:
            return ()
        listed = ", ".join(map(str, hidden))
        return (f"tube {listed}: not seen in the image, placed by the template",)

    def __repr__(self) -> str:
        seen = f"{int(self.seen.sum())} of {len(self.seen)} seen"
        mirrored = ", mirrored" if self.mirrored else ""
        return (
            f"Alignment: {self.template.name}, {seen}, scale {self.scale:.4f}, "
            f"rotated by {self.rotation:.1f}°{mirrored}, rms {self.rms:.2g} mm"
        )


@dataclass(frozen=True, slots=True)
class _Pose:
    """A similarity: place = turn·position + shift, of the conjugate position where mirrored."""

    turn: complex
    shift: complex
    mirrored: bool
    circle: tuple[int, ...]  # per position, −1 where there is none
    rms: float

    @property
    def hits(self) -> int:
        return sum(i >= 0 for i in self.circle)

    def places(self, positions: Complex) -> Complex:
        return self.turn * (positions.conj() if self.mirrored else positions) + self.shift


def align(template: Template, series: Series) -> Alignment:
    """Find where a known phantom lies.

    Parameters
    ----------
    template : Template
    series : Series
        Root sum of squares over its points is searched; their course tells alike poses apart.

    Returns
    -------
    Alignment

    Raises
    ------
    InputError
        If fewer than 60 % of the positions fit, the scale is off by more than 3 %, two slices show
        such a plate, or the numbers cannot be told apart.
    """
    positions = template.positions @ np.array([1, -1j])  # y is up there, and down in an image
    dx, dy, dz = voxel_size(series.affine)
    images = series.root_sum_of_squares().astype(np.float64)
    if template.shape == "tubes":
        images = images.mean(axis=2, keepdims=True)
    searched = []
    for z in range(images.shape[2]):
        edges = Edges(images[:, :, z], dx, dy)
        circles = edges.circles(template.radius, max(_CIRCLES, 2 * len(template)))
        searched.append((edges, circles, _poses(positions, circles, template.radius, max(dx, dy))))
    most = [max((pose.hits for pose in poses), default=0) for _, _, poses in searched]
    z = _slice(template, searched, most, dz)
    edges, circles, poses = searched[z]
    best = max(poses, key=lambda pose: (pose.hits, -pose.rms), default=None)
    needed = max(3, math.ceil(_LEAST_SHARE * len(template)))
    if best is None or best.hits < needed:
        raise InputError(
            f"{0 if best is None else best.hits} of {len(template)} positions of the template "
            f"fit the image ({template.name})",
            field="template",
            expected=f"at least {needed}, at their true size to {100 * SCALE_TOLERANCE:g} %",
            hint="is it this phantom, and this plate? else give circles or a label image",
        )
    # Spheres are measured where they are widest; tubes run through.
    through = slice(0, series.grid[2])
    if template.shape == "spheres":
        beside = max(0, int((template.radius / 2 - dz / 2) // dz))
        through = slice(max(0, z - beside), z + beside + 1)
    times = _rough_times(series, through, circles, 0.6 * template.radius, dx, dy)
    quantity = model_for(series.kind).time.removesuffix("star")
    if template.falling.get(quantity):
        pose = _numbered(template, quantity, poses, times)
    else:
        pose = _only(template, quantity, best, poses, edges, circles)
    places = pose.places(positions)
    seen = np.array([i >= 0 for i in pose.circle])
    places[seen] = circles[[i for i in pose.circle if i >= 0]]
    clear = np.median(np.abs(edges.around(places[seen], _INSIDE * template.radius)), axis=0)
    return Alignment(
        template=template,
        places=np.column_stack([places.real, places.imag]),
        seen=seen,
        radius=float(template.radius * _INSIDE[int(np.argmax(clear))]),
        scale=abs(pose.turn),
        rotation=_degrees(-pose.turn if pose.mirrored else pose.turn),
        mirrored=pose.mirrored,
        rms=pose.rms,
        slices=through,
    )


def _degrees(turn: complex) -> float:
    """Of a turn in an image whose y runs down, anticlockwise as it is seen."""
    return -math.degrees(math.atan2(turn.imag, turn.real))


def _slice(
    template: Template,
    searched: list[tuple[Edges, Complex, list[_Pose]]],
    most: list[int],
    dz: float,
) -> int:
    """The slice that shows the template best: most positions, then the clearest circles."""
    clear = []
    for (edges, circles, poses), hits in zip(searched, most, strict=True):
        used = {i for p in poses if p.hits == hits for i in p.circle if i >= 0}
        around = edges.around(circles[sorted(used)], RADII * template.radius)
        clear.append(float(np.abs(around).max(axis=1).mean()) if used else 0.0)
    z = max(range(len(most)), key=lambda i: (most[i], clear[i]))
    for other, hits in enumerate(most):
        if abs(other - z) * dz > 3 * template.radius and hits >= max(3, most[z] - 1):
            raise InputError(
                f"slices {min(z, other) + 1} and {max(z, other) + 1} both show {hits} or more of "
                f"its {len(template)} positions ({template.name})",
                field="template",
                expected="images of one plate",
                hint="read the slices of one plate only, or give circles or a label image",
            )
    return z


# --- poses ---------------------------------------------------------------------------------------


def _poses(positions: Complex, circles: Complex, radius: float, voxel: float) -> list[_Pose]:
    """Poses that nearly as many circles agree on as on the best one."""
    from scipy.spatial import cKDTree

    if len(circles) < 2:
        return []
    tolerance = min(max(1.5 * voxel, 0.35 * radius), 0.9 * radius)
    tree = cKDTree(np.column_stack([circles.real, circles.imag]))

    def matched(places: Complex) -> NDArray[np.intp]:
        """The nearest circle to each place; −1 where none is near."""
        distance, circle = tree.query(np.stack([places.real, places.imag], axis=-1))
        return np.where(np.asarray(distance) <= tolerance, circle, -1)

    a, b = np.array([(a, b) for a in range(len(positions)) for b in range(len(positions))]).T
    far = np.abs(positions[a] - positions[b])
    a, b = a[far >= 0.6 * far.max()], b[far >= 0.6 * far.max()]
    few = np.linspace(0, len(a) - 1, min(len(a), max(_PAIRS // len(positions), 12))).astype(int)
    a, b = a[few], b[few]
    i, j = np.triu_indices(len(circles), 1)
    apart = circles[j] - circles[i]
    found: dict[tuple[bool, tuple[int, ...]], None] = {}
    most = 0
    for mirrored in (False, True):
        own = positions.conj() if mirrored else positions
        turn = apart[:, None] / (own[b] - own[a])
        # A little more than the scale may be, since two circles alone do not say it well.
        pair, sampled = np.nonzero(np.abs(np.abs(turn) - 1) <= SCALE_TOLERANCE + 0.02)
        turn = turn[pair, sampled]
        shift = circles[i[pair]] - turn * own[a[sampled]]
        for start in range(0, len(turn), 4096):
            part = slice(start, start + 4096)
            near = matched(turn[part, None] * own + shift[part, None])
            hits = (near >= 0).sum(axis=1)
            most = max(most, int(hits.max(initial=0)))
            for one in np.unique(near[hits >= max(most - 1, 3)], axis=0).tolist():
                found[mirrored, tuple(one)] = None
    poses: dict[tuple[bool, tuple[int, ...]], _Pose] = {}
    for mirrored, circle in found:
        if sum(k >= 0 for k in circle) < most - 1:
            continue
        pose = _refined(positions, circles, mirrored, circle)
        for _ in range(2):
            again = matched(pose.places(positions))
            if (again >= 0).sum() < 3:
                break
            pose = _refined(positions, circles, mirrored, tuple(again.tolist()))
        if abs(abs(pose.turn) - 1) <= SCALE_TOLERANCE:
            poses[mirrored, pose.circle] = pose
    most = max((pose.hits for pose in poses.values()), default=0)
    return [pose for pose in poses.values() if pose.hits >= most - 1]


def _refined(
    positions: Complex, circles: Complex, mirrored: bool, circle: tuple[int, ...]
) -> _Pose:
    """The least-squares pose of matched circles (Umeyama, IEEE Trans PAMI 13:376, 1991)."""
    which = np.array(circle)
    own = (positions.conj() if mirrored else positions)[which >= 0]
    there = circles[which[which >= 0]]
    centred, away = own - own.mean(), there - there.mean()
    turn = complex(np.vdot(centred, away) / np.vdot(centred, centred).real)
    shift = complex(there.mean() - turn * own.mean())
    rms = float(np.sqrt(np.mean(np.abs(turn * own + shift - there) ** 2)))
    return _Pose(turn, shift, mirrored, circle, rms)


# --- numbers -------------------------------------------------------------------------------------


def _only(
    template: Template,
    quantity: str,
    best: _Pose,
    poses: list[_Pose],
    edges: Edges,
    circles: Complex,
) -> _Pose:
    """The best pose, where every other is clearly worse.

    Another that numbers the tubes otherwise is, if it fits fewer circles, does not explain one that
    is as clear as the rest, and puts a tube where there is clearly none.

    Raises
    ------
    InputError
        If another is not.
    """
    positions = template.positions @ np.array([1, -1j])

    def clear(places: Complex) -> Array:
        found: Array = np.abs(edges.around(places, RADII * template.radius)).max(axis=1)
        return found

    shown = clear(circles)
    own = {i for i in best.circle if i >= 0}
    usual = float(np.median(shown[sorted(own)]))
    alike = []
    for pose in poses:
        places = pose.places(positions)
        if np.abs(places - best.places(positions)).max() <= template.radius:
            continue  # the same numbers, from nearly the same circles
        left = sorted(own.difference(pose.circle))
        empty = places[[i < 0 for i in pose.circle]]
        worse = (
            pose.hits < best.hits
            and shown[left].max(initial=0) >= _CLEAR * usual
            and clear(empty).min(initial=1) <= _EMPTY * usual
        )
        if not worse:
            alike.append(pose)
    if alike:
        raise InputError(
            f"{len(alike) + 1} ways to number the tubes look alike ({template.name})",
            field="template",
            expected=f"numbers by falling {quantity}",
            hint=f"add them to the template: [falling] {quantity} = […]",
        )
    return best


def _numbered(
    template: Template, quantity: str, poses: list[_Pose], times: tuple[Array, Array]
) -> _Pose:
    """The pose whose times fall in the known order.

    Raises
    ------
    InputError
        If no pose does, or another does so nearly as well.
    """
    order = template.falling[quantity]
    misfit = [_misfit(template.numbers, order, pose.circle, times) for pose in poses]
    first, *rest = sorted(range(len(poses)), key=lambda i: (misfit[i][0], -poses[i].hits))
    best = poses[first]
    others = [misfit[i][0] for i in rest if poses[i].circle != best.circle]
    chi2, spread = misfit[first]
    lead = min(others, default=math.inf) - chi2
    if not chi2 <= _LEFT * spread or not lead >= _APART:
        raise InputError(
            f"its tubes cannot be numbered: of {len(others) + 1} ways to lay it on the image the "
            f"best leaves {100 * chi2 / spread if spread else 100:.0f} % of the variance of "
            f"{quantity} unexplained by its known order, and leads by {lead:.1f} in χ² "
            f"({template.name})",
            field="template",
            expected=f"at most {100 * _LEFT:g} %, and a lead of {_APART:g}",
            hint="is it this plate? else give circles or a label image",
        )
    return best


def _misfit(
    numbers: tuple[int, ...],
    order: tuple[int, ...],
    circle: tuple[int, ...],
    times: tuple[Array, Array],
) -> tuple[float, float]:
    """χ² of a falling sequence of ln T in the known order, and that of a constant."""
    from scipy.optimize import isotonic_regression

    of_number = dict(zip(numbers, circle, strict=True))
    known = [of_number[n] for n in order if of_number[n] >= 0]
    T, sd = np.log(times[0][known]), times[1][known]
    if len(T) < 3:
        return math.inf, 0.0
    weights = 1 / sd**2
    falling = isotonic_regression(T, weights=weights, increasing=False).x
    mean = np.average(T, weights=weights)
    return float((weights * (T - falling) ** 2).sum()), float((weights * (T - mean) ** 2).sum())


def _rough_times(
    series: Series, slices: slice, circles: Complex, radius: float, dx: float, dy: float
) -> tuple[Array, Array]:
    """T1 or T2 (s) of the mean signal in each circle, on a grid of times, and the SD of its ln."""
    nx, ny, _ = series.grid
    x, y = np.arange(nx)[:, None] * dx, np.arange(ny)[None, :] * dy
    inside = [np.hypot(x - c.real, y - c.imag) <= max(radius, dx, dy) for c in circles]
    signal = np.array([series.signal[one][:, slices].mean(axis=(0, 1)) for one in inside])
    # Without signal every time fits alike: its SD is that of the whole grid, and it tells nothing.
    signal = np.nan_to_num(signal.astype(np.float64))
    model = model_for(series.kind)
    low, high = model.bounds(series.protocol)
    T = np.geomspace(low, high, 160)
    basis = np.linalg.qr(model.basis(series.protocol, T))[0]
    fewest = [0]
    if model.inverts and not series.signed:
        fewest = list(range(signal.shape[1] + 1))
    caught = np.zeros((len(T), len(signal)))
    for negative in fewest:  # so many points lie before the null
        signs = np.where(np.arange(signal.shape[1]) < negative, -1.0, 1.0)
        length = (np.einsum("tnp,cn->tcp", basis, signal * signs) ** 2).sum(axis=-1)
        np.maximum(caught, length, out=caught)
    power = (signal**2).sum(axis=1)
    rss = np.maximum(power - caught, 0)
    # As far as the RSS rises by that of 2 σ of a point, σ² = RSS/(n − p): χ² by 4.
    free = max(signal.shape[1] - basis.shape[-1] - 1, 1)
    inside_2sd = rss <= rss.min(axis=0) * (1 + 4 / free) + 1e-9 * power
    step = float(np.log(T[1] / T[0]))
    sd = np.maximum(inside_2sd.sum(axis=0) * step / 4, _LEAST_SD)
    return T[rss.argmin(axis=0)], sd
