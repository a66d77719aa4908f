"""The judgement of a tube's fit: each rule asks one thing of the fit or of the voxels.

Where a rule compares with noise, that is the noise between the tube's own voxels: what is left of
them when the fitted curve, its slope over T and the misfit that all share are taken away. It needs
no air, and holds where filters or parallel imaging make the noise differ from place to place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .cramer_rao import jacobian, told
from .flags import FEW_VOXELS, FLAGS
from .maps import Status, determined
from .models import SignalModel
from .noise import rician_mean
from .series import Protocol, echo_numbers

Array = NDArray[np.float64]

_IMPRECISE = 0.2  # stderr over T
_LAST, _FIRST = 3.0, 0.5  # times the longest time, and the first echo
# Points lie on a floor where the curve has fallen below 2 % of the signal and they stay 4 times
# above it; it matters where the fit feels it.
_GONE, _ABOVE, _FELT = 0.02, 4.0, 0.998
_BIASED = 0.02  # share of T by which the floor of the noise moves the fit
_FIRST_LOW, _ALTERNATE = 0.02, 0.01  # share of the curve, of the first echo and of odd and even
_ECHO_SURE = 5.0  # standard errors of these
_CLEAR = 5.0  # times the noise: its floor lifts what is above by less than 2 %
_UNEVEN = 0.2  # SD of the signal between voxels, beyond noise and a plane
_BESIDE = 0.1  # of the voxels without signal
_GRADIENT = 0.1  # share of T, from one end of the tube to the other
_SPREAD, _FAR = 0.05, 1.5  # SD of T between voxels: beyond the noise, and over that of the noise
_HOLE_SHARE, _HOLE_VOXELS, _HOLE_SURE = 0.05, 3, 4.0
_HALF = 0.5  # of the signal of most voxels: less is missing
_SURE = 1e-4  # probability of as much by noise alone
_ROUNDED = 1e-6  # of the signal: single precision, where a simulation has no noise


@dataclass(frozen=True, eq=False)
class Evidence:
    """A tube, its fit and its voxels, at the n points that were fitted.

    Attributes
    ----------
    status : Status
    model : SignalModel
    protocol : Protocol
        With flip angles as they were (B1 times nominal).
    T, stderr : float
        Of the fit of the mean signal, s; NaN where not determined.
    amplitudes : ndarray (p,)
    rsquared : float
    signal, curve : ndarray (n,)
        The mean signal, and what was fitted to it.
    voxels : ndarray (V, n)
    index : ndarray of int (V, 3)
        Where each voxel lies on the grid.
    size : (float, float, float)
        Of a voxel, mm.
    magnitude : bool
        Whether the noise is that of magnitudes, with a floor.
    seen : bool
        Whether an image showed the tube; otherwise the template of its phantom placed it.
    """

    status: Status
    model: SignalModel
    protocol: Protocol
    T: float
    stderr: float
    amplitudes: Array
    rsquared: float
    signal: Array
    curve: Array
    voxels: Array
    index: NDArray[np.intp]
    size: tuple[float, float, float]
    magnitude: bool
    seen: bool = True

    @cached_property
    def known(self) -> bool:
        """Whether there is a T."""
        return bool(determined(np.array(self.status))) and math.isfinite(self.T)

    @cached_property
    def shown(self) -> bool:
        """Whether the voxels show anything that can be compared."""
        finite = np.isfinite(self.voxels).all() and np.isfinite(self.signal).all()
        return bool(len(self.voxels) >= 3 and self.signal.size and finite and self.signal.any())

    @cached_property
    def limits(self) -> tuple[float, float]:
        """The range of T that counts, s."""
        return limits(self.model, self.protocol, self.amplitudes)

    @cached_property
    def slopes(self) -> Array:
        """What a small change of log T and of each amplitude does to the points (n, 1+p)."""
        J = jacobian(self.model, self.protocol, self.T, self.amplitudes)
        if self.magnitude and self.model.inverts:  # a magnitude falls where the signal rises
            J *= np.where(J[:, 1:] @ self.amplitudes < 0, -1.0, 1.0)[:, None]
        return J

    @cached_property
    def relative_T(self) -> Array:
        """Weights (n,) of the points in the estimate of log T."""
        weights: Array = np.linalg.pinv(self.slopes)[0]
        return weights

    @cached_property
    def _left(self) -> tuple[Array, Array]:
        """An orthonormal basis (n, k) of what a tube may show; what is left of its voxels (V, n).

        The misfit that all voxels share is taken away, too.
        """
        rank = 1 + len(self.amplitudes)
        columns = self.slopes if self.known and len(self.signal) > rank else self.signal[:, None]
        length = np.linalg.norm(columns, axis=0)
        Q = np.linalg.qr(columns / np.where(length > 0, length, 1))[0]
        left = self.voxels - (self.voxels @ Q) @ Q.T
        return Q, left - left.mean(axis=0)

    @cached_property
    def alike(self) -> float:
        """How many voxels share one noise: 1, or more where an image was interpolated.

        From the correlation ρ of neighbours, as if it fell like a Gaussian with their distance:
        1 + 2ρ + 2ρ⁴ + 2ρ⁹ along each side.
        """
        left, place = self._left[1], self.index - self.index.min(axis=0)
        row = np.full(place.max(axis=0) + 2, -1)
        row[tuple(place.T)] = np.arange(len(place))
        power, shared = float((left**2).sum(axis=1).mean()), 1.0
        for step in np.eye(3, dtype=np.intp) if power > 0 else ():
            beside = row[tuple((place + step).T)]
            if (beside >= 0).sum() > 2:
                pairs = (left[beside >= 0] * left[beside[beside >= 0]]).sum(axis=1)
                rho = min(max(float(pairs.mean()) / power, 0.0), 0.9)
                shared *= 1 + 2 * (rho + rho**4 + rho**9)
        return max(1.0, min(shared, len(place) / 4))

    @cached_property
    def freedom(self) -> float:
        """Degrees of freedom of the noise; the median it comes from is worth 0.4 of a mean."""
        n, k = self._left[0].shape
        return float(max(1.0, 0.4 * (len(self.voxels) / self.alike - 1) * (n - k)))

    @cached_property
    def noise(self) -> float:
        """σ of one voxel at one point; NaN where too little is left to tell."""
        Q, left = self._left
        freedom = Q.shape[0] - Q.shape[1]
        if freedom < 1:
            return math.nan
        # The median, made a mean: single voxels of another kind do not count as noise.
        typical = float(np.median((left**2).sum(axis=1))) / (1 - 2 / (9 * freedom)) ** 3
        typical *= len(self.voxels) / (len(self.voxels) - 1)
        share = 1 - (Q**2).sum(axis=1)
        sigma = math.sqrt(typical / share.sum())
        for _ in range(5):
            if not self.magnitude or sigma == 0:
                break
            sigma = math.sqrt(typical / float((share * self._magnitude_variance(sigma)).sum()))
        return max(sigma, _ROUNDED * float(np.abs(self.signal).max()))

    def _magnitude_variance(self, sigma: float) -> Array:
        """Variance of a magnitude over σ²: 1 well above the noise, 2 − π/2 in air."""
        A = np.abs(self.curve if self.known else self.signal) / sigma
        variance: Array = A**2 + 2 - rician_mean(A, 1.0) ** 2
        return np.where(A > 50, 1.0, variance)  # where that difference of squares is rounding

    @cached_property
    def plateau(self) -> float:
        """Where the late points of a decay lie, if the fitted curve leaves them there; else 0."""
        gone = self.curve < _GONE * self.signal.max()
        if self.rsquared > _FELT or gone.sum() < 3:
            return 0.0
        level = float(self.signal[gone].mean())
        return level if level > _ABOVE * self.curve[gone].mean() else 0.0

    @cached_property
    def strength(self) -> Array:
        """How much of the mean signal each voxel (V,) has, whatever its T; 1 on average."""
        share: Array = self.voxels @ self._strength_weights
        return share

    @property
    def strength_noise(self) -> float:
        """SD of these by noise."""
        return self.noise * float(np.linalg.norm(self._strength_weights))

    @cached_property
    def _strength_weights(self) -> Array:
        columns = [self.signal, self.slopes[:, 0]] if self.known else [self.signal]
        weights: Array = np.linalg.pinv(np.column_stack(columns))[0]
        return weights

    @cached_property
    def filled(self) -> NDArray[np.bool_]:
        """Voxels (V,) with more than half of the signal that most have."""
        filled: NDArray[np.bool_] = self.strength > _HALF * np.percentile(self.strength, 75)
        return filled

    @cached_property
    def spread(self) -> tuple[Array, Array, Array]:
        """Relative deviations of T of the filled voxels, to first order; their SD by noise; places.

        With the signal of a voxel a·S(T), the estimate of log T from it is a·log T: it is divided
        by the strength a.
        """
        a = self.strength[self.filled]
        deviation = self.voxels[self.filled] @ self.relative_T / a
        noise = self.noise * self._at_points / a
        return deviation - deviation.mean(), noise, self.index[self.filled] * np.array(self.size)

    @cached_property
    def _at_points(self) -> float:
        """SD of log T for noise of SD 1, less where magnitudes have less."""
        variance = self._magnitude_variance(self.noise) if self.magnitude else 1.0
        return math.sqrt(float((self.relative_T**2 * variance).sum()))

    @property
    def comparable(self) -> bool:
        """Whether T of the voxels can be compared with each other."""
        enough = self.known and self.shown and self.noise > 0 and self.filled.sum() > 6
        return bool(enough and self._at_points > 0)


@dataclass(frozen=True, slots=True)
class Plane:
    """A plane through values of SD `noise` at places, and what it leaves of them.

    Attributes
    ----------
    left : ndarray (V,)
    dof : int
        Of what is left.
    rise : float
        From the lowest to the highest place of the plane.
    chance : float
        Probability of as steep a plane by the noise, or by the scatter of what is left.
    """

    left: Array
    dof: int
    rise: float
    chance: float


def plane_of(tube: Evidence, values: Array, noise: Array, places: Array) -> Plane:
    """The plane through values of the tube's voxels, by weighted least squares."""
    varies = np.ptp(places, axis=0) > 0
    X = np.column_stack([np.ones(len(values)), (places - places.mean(axis=0))[:, varies]])
    beta, _, rank, _ = np.linalg.lstsq(X / noise[:, None], values / noise, rcond=None)
    plane = X @ beta
    flat = np.average(values, weights=noise**-2)
    steps, dof = max(int(rank) - 1, 1), max(len(values) - int(rank), 1)
    left = float((((values - plane) / noise) ** 2).sum()) / dof
    gained = float((((values - flat) / noise) ** 2).sum()) - left * dof
    ratio = gained / steps / max(left, 1.0) / tube.alike
    chance = by_chance(ratio, steps, min(tube.freedom, dof / tube.alike))
    return Plane(values - plane, dof, float(np.ptp(plane)), chance)


def by_chance(ratio: float, dof: float, freedom: float) -> float:
    """Probability that noise makes the ratio of two variances as large (F distribution)."""
    from scipy.special import fdtrc

    return float(fdtrc(dof, freedom, ratio))


# --- rules ---------------------------------------------------------------------------------------


def _status(status: Status) -> Callable[[Evidence], bool]:
    return lambda tube: tube.status is status


def limits(model: SignalModel, protocol: Protocol, amplitudes: Array) -> tuple[float, float]:
    """The range of T, s, that counts: told by the times, and within the rule of thumb.

    Told is where the relative error is at most 20 times that of the best T
    (:func:`relaxometry.cramer_rao.told`). Besides, a T2 of less than half the first echo time has
    lost 86 % of its signal before it, and beyond three times the longest time a curve is hardly
    bent: what bends it then may be the scanner.
    """
    low, high = told(model, protocol, amplitudes)
    if math.isnan(low):
        return 0.0, math.inf
    times = protocol.times
    if protocol.swept == "TE":
        low = max(low, _FIRST * float(times[times > 0].min()))
    if protocol.swept != "FA":  # angles are no times
        high = min(high, _LAST * float(times.max()))
    return low, high


def _short(tube: Evidence) -> bool:
    return tube.known and tube.limits[0] > tube.T


def _long(tube: Evidence) -> bool:
    return tube.known and tube.limits[1] < tube.T


def _imprecise(tube: Evidence) -> bool:
    return tube.known and tube.stderr > _IMPRECISE * tube.T


def _noise_floor(tube: Evidence) -> bool:
    if not tube.known:
        return False
    if tube.plateau > 0:
        return True
    if not (tube.magnitude and tube.shown and tube.noise > 0):
        return False
    lifted = rician_mean(tube.curve, tube.noise) - np.abs(tube.curve)
    return bool(abs(tube.relative_T @ lifted) > _BIASED)


def _echoes(tube: Evidence) -> tuple[bool, bool]:
    """Whether the first echo is low, and whether odd and even echoes differ.

    Both are fitted with the curve, as shares of it: the first echo's own, and one that changes its
    sign from echo to echo.
    """
    if not (tube.known and tube.model.time == "T2" and tube.protocol.swept == "TE"):
        return False, False
    if not (tube.shown and tube.noise > 0):
        return False, False
    # Echoes near the noise are lifted by its floor.
    clear = tube.curve > _CLEAR * max(tube.noise, tube.plateau)
    train = echo_numbers(tube.protocol.times)
    if train is None or clear.sum() < len(tube.amplitudes) + 5:
        return False, False
    curve, number = tube.curve[clear], train[clear]
    first = np.where(number == 1, curve, 0.0)
    design = np.column_stack([first, curve * (-1.0) ** number, tube.slopes[clear]])
    inverse = np.linalg.pinv(design)[:2]
    share = inverse @ tube.signal[clear]
    error = tube.noise * math.sqrt(tube.alike / len(tube.voxels)) * np.linalg.norm(inverse, axis=1)
    low = share[0] < -max(_FIRST_LOW, _ECHO_SURE * error[0])
    differ = abs(share[1]) > max(_ALTERNATE, _ECHO_SURE * error[1])
    return bool(low), bool(differ)


def _uneven(tube: Evidence) -> bool:
    if not (tube.shown and tube.noise > 0):
        return False
    # What is empty is a bubble, unless it is much: then the region lies beside its tube.
    filled = tube.filled if _holes_show(tube) else np.ones(len(tube.voxels), dtype=bool)
    if 1 - filled.mean() > _BESIDE:
        return True
    if filled.sum() <= 6:
        return False
    noise = np.full(int(filled.sum()), tube.strength_noise)
    places = tube.index[filled] * np.array(tube.size)
    plane = plane_of(tube, tube.strength[filled], noise, places)
    variance = float((plane.left**2).sum()) / plane.dof
    chance = by_chance(variance / noise[0] ** 2, plane.dof / tube.alike, tube.freedom)
    return bool(variance - noise[0] ** 2 > _UNEVEN**2 and chance < _SURE)


def _holes_show(tube: Evidence) -> bool:
    """Whether a hole could be told from noise."""
    usual = float(np.percentile(tube.strength, 75))
    return _HALF * usual >= _HOLE_SURE * tube.strength_noise


def _bubble(tube: Evidence) -> bool:
    if not (tube.shown and tube.noise > 0 and _holes_show(tube)):
        return False
    from scipy.ndimage import label

    holes = tube.index[~tube.filled]
    if len(holes) < max(_HOLE_VOXELS, _HOLE_SHARE * len(tube.voxels)):
        return False
    place = holes - holes.min(axis=0)
    there = np.zeros(place.max(axis=0) + 1, dtype=bool)
    there[tuple(place.T)] = True
    sizes = np.bincount(label(there)[0].ravel())[1:]
    return bool(sizes.max() >= max(_HOLE_VOXELS, _HOLE_SHARE * len(tube.voxels)))


def _gradient(tube: Evidence) -> bool:
    if not tube.comparable:
        return False
    plane = plane_of(tube, *tube.spread)
    return plane.rise > _GRADIENT and plane.chance < _SURE


def _inhomogeneous(tube: Evidence) -> bool:
    if not tube.comparable:
        return False
    deviation, noise, places = tube.spread
    plane = plane_of(tube, deviation, noise, places)
    ratio = float(((plane.left / noise) ** 2).sum()) / plane.dof
    beyond = float((plane.left**2).sum()) / plane.dof - float((noise**2).mean())
    far = ratio > _FAR**2 and beyond > _SPREAD**2
    return far and by_chance(ratio, plane.dof / tube.alike, tube.freedom) < _SURE


#: The rule of each flag, in the order in which flags are told.
RULES: Mapping[str, Callable[[Evidence], bool]] = {
    **{
        status.name.lower(): _status(status)
        for status in Status
        if status not in (Status.OK, Status.MASKED)
    },
    "short": _short,
    "long": _long,
    "imprecise": _imprecise,
    "noise_floor": _noise_floor,
    "first_echo": lambda tube: _echoes(tube)[0],
    "zigzag": lambda tube: _echoes(tube)[1],
    "placed_by_template": lambda tube: not tube.seen,
    "few_voxels": lambda tube: len(tube.voxels) < FEW_VOXELS,
    "uneven": _uneven,
    "bubble": _bubble,
    "gradient": _gradient,
    "inhomogeneous": _inhomogeneous,
}


def judged(tube: Evidence) -> tuple[str, ...]:
    """Codes of what is doubtful about a tube, in the order of :data:`relaxometry.flags.FLAGS`."""
    return tuple(code for code in FLAGS if RULES[code](tube))
