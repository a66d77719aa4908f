"""r2/r1 of lines through the same tubes, with intervals by the delta method and by Fieller."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .estimate import Estimate
from .jupyter import Shown
from .regression import NORMAL95, Relaxivity, t95

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, repr=False)
class Ratio(Shown):
    """A ratio of two relaxivities.

    Attributes
    ----------
    value, stderr : float
        The ratio, and its standard error by the delta method.
    covariance : float
        Of the two relaxivities, (mM⁻¹ s⁻¹)².
    k95 : float
        Coverage factor: half-width of a 95 % interval over the standard error.
    delta95, fieller95 : (float, float)
        95 % intervals; Fieller's has an infinite end where the denominator may be 0.
    """

    value: float
    stderr: float
    covariance: float
    k95: float
    delta95: tuple[float, float]
    fieller95: tuple[float, float]
    numerator: Relaxivity
    denominator: Relaxivity

    def simulated95(self, seed: int = 0, draws: int = 200_000) -> tuple[float, float]:
        """The interval by Monte Carlo, as a check of the others.

        Draws both relaxivities from a bivariate Student's t (normal where their errors are known)
        of their covariance; without a meaning where the denominator may be 0.

        Notes
        -----
        JCGM 101:2008 (GUM, Supplement 1).
        """
        rng = np.random.default_rng(seed)
        n, d = self.numerator.slope, self.denominator.slope
        covariance = (
            np.array([[n.stderr**2, self.covariance], [self.covariance, d.stderr**2]])
            * (self.k95 / NORMAL95) ** 2
        )
        drawn = rng.multivariate_normal([n.value, d.value], covariance, draws)
        low, high = np.quantile(drawn[:, 0] / drawn[:, 1], [0.025, 0.975])
        return float(low), float(high)

    def __repr__(self) -> str:
        low, high = self.fieller95
        return f"Ratio: {self.value:.4g} ± {self.stderr:.2g} (95 % {low:.4g} … {high:.4g})"


def ratio(numerator: Relaxivity, denominator: Relaxivity) -> Ratio:
    """Ratio of two relaxivities measured on the same tubes, r2 over r1.

    Parameters
    ----------
    numerator, denominator : Relaxivity
        Their points are paired by tube. An error of the stock's concentration, common to all
        tubes of both, cancels.

    Returns
    -------
    Ratio

    Notes
    -----
    What the two lines share: the stated error of a tube's concentration moves both its rates, which
    gives r1·r2·σ_c² to the covariance of that tube's points; of scatter that no error explains,
    the part that goes together in both lines is taken from their residuals. Where both are
    ordinary lines through the same tubes, Fieller's interval is then the set of ratios ρ for which
    the slope of R2 − ρ·R1 is 0 by Student's t, which is exact.
    """
    n, d = numerator.slope, denominator.slope
    value = n.value / d.value if d.value else math.nan
    shared = _shared(numerator, denominator) if math.isfinite(value) else (0.0, 0.0)
    parts = np.array([n.stderr**2, (value * d.stderr) ** 2])
    cross = -2 * value * np.array(shared)  # known, from scatter
    known = np.array([numerator.known, denominator.known])
    total = float(parts.sum() + cross.sum())
    covariance = float(sum(shared))
    if not math.isfinite(total):
        unknown = (math.nan, math.nan)
        return Ratio(
            value, math.nan, covariance, math.nan, unknown, unknown, numerator, denominator
        )
    sure = max(float((known * parts).sum() + cross[0]), 0.0)
    unsure = max(float(((1 - known) * parts).sum() + cross[1]), 0.0)
    k = NORMAL95
    if sure + unsure > 0:
        t = t95(_dof(numerator, denominator, (1 - known) * parts, shared[1] != 0))
        k = math.sqrt((NORMAL95**2 * sure + (t**2 * unsure if unsure else 0.0)) / (sure + unsure))
    # Lines with intervals of their own (robust ones) say how far they reach.
    own = [one.k95 for one in (numerator, denominator) if one.method in ("robust", "theil-sen")]
    k = max([k, *own]) if own else k
    stderr = math.sqrt(max(total, 0.0)) / abs(d.value)
    return Ratio(
        value,
        stderr,
        covariance,
        k,
        (value - k * stderr, value + k * stderr),
        fieller(n, d, k, covariance),
        numerator,
        denominator,
    )


def fieller(
    numerator: Estimate, denominator: Estimate, k: float, covariance: float = 0.0
) -> tuple[float, float]:
    """Fieller's interval of the ratio of two estimates.

    It stays right where the delta method fails: a denominator that may be 0 leaves it unbounded.

    Parameters
    ----------
    numerator, denominator : Estimate
    k : float
        Coverage factor of the level wanted, as Student's t.
    covariance : float
        Of the two.

    Returns
    -------
    (float, float)
        With an infinite end where it is unbounded; of two branches, the one of the estimate's sign.

    Notes
    -----
    Fieller, J R Stat Soc B 16:175 (1954).
    """
    n, d = numerator.value, denominator.value
    dn, dd, dnd = k * numerator.stderr, k * denominator.stderr, k * k * covariance
    a, b = d * d - dd * dd, n * d - dnd
    # b² − a·c with its large terms cancelled by hand: exact data would lose it to rounding.
    discriminant = (n * dd) ** 2 + (d * dn) ** 2 - 2 * n * d * dnd - (dn * dd) ** 2 + dnd**2
    if not math.isfinite(a + discriminant):
        return math.nan, math.nan
    if a == 0 or (discriminant < 0 and a < 0):
        return -math.inf, math.inf
    root = math.sqrt(max(discriminant, 0.0))
    ends = sorted((b + sign * root) / a for sign in (-1, 1))
    if a > 0:
        return ends[0], ends[1]
    return (ends[1], math.inf) if n * d > 0 else (-math.inf, ends[0])


def _shared(one: Relaxivity, other: Relaxivity) -> tuple[float, float]:
    """Covariance of two slopes through common tubes: from stated errors, and from scatter."""
    mine, theirs = _common(one, other)
    if mine.size == 0:
        return 0.0, 0.0
    a, b = one.pull[mine], other.pull[theirs]
    stated = 0.0
    if one.method in ("odr", "york") and other.method in ("odr", "york"):
        c_sd = one.concentration_sd[mine]
        stated = float(one.r.value * other.r.value * (a * b * c_sd**2).sum())
    unsure = math.sqrt((1 - one.known) * (1 - other.known))
    dof = mine.size - one.parameters
    if not unsure or dof < 1:
        return stated, 0.0
    weights = np.sqrt(one.weight[mine] * other.weight[theirs])
    z1 = one.residual[mine] * np.sqrt(one.weight[mine])
    z2 = other.residual[theirs] * np.sqrt(other.weight[theirs])
    both = math.sqrt(float(z1 @ z1) * float(z2 @ z2))
    if not both or not (weights > 0).any():
        return stated, 0.0
    together = float(z1 @ z2) / both
    used = weights > 0
    alike = float((a[used] * b[used] / weights[used]).sum())
    alone = math.sqrt(
        float((a[used] ** 2 / one.weight[mine][used]).sum())
        * float((b[used] ** 2 / other.weight[theirs][used]).sum())
    )
    size = one.slope.stderr * other.slope.stderr
    return stated, together * alike / alone * size * unsure


def _common(one: Relaxivity, other: Relaxivity) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Where the points of the same tubes stand in each of two lines."""
    if one.tubes and other.tubes:
        # Racks of several batches may number their tubes alike.
        theirs = {key: i for i, key in enumerate(zip(other.tubes, other.replicate, strict=True))}
        mine = enumerate(zip(one.tubes, one.replicate, strict=True))
        pairs = [(i, theirs[key]) for i, key in mine if key in theirs]
    elif np.array_equal(one.concentration, other.concentration):
        pairs = [(i, i) for i in range(one.n)]
    else:
        pairs = []
    found = np.array(pairs, dtype=np.intp).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def _dof(one: Relaxivity, other: Relaxivity, parts: Array, paired: bool) -> float:
    """Degrees of freedom of the scatter: shared where paired, else by Welch and Satterthwaite."""
    counts = np.array([one.dof, other.dof], dtype=float)
    if paired or not parts.sum() > 0:
        return float(counts.min())
    return float(parts.sum() ** 2 / (parts**2 / counts).sum())
