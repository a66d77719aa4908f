"""Figures of a plan: contrast over TE and TR with its optimum, and signal against concentration."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import rc_context
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from .bestsettings import Optimum
from .canvas import AGENT_COLOURS, ALARM, FAINT, INK, SMALL_PRINT, Look, Picture, any_letters
from .contrastmodel import FLOOR
from .detectable import ROSE, direction
from .noise import rician_mean
from .planning import ContrastPlan
from .units import QUANTITIES
from .weighted import said

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]

_NODES = 241
_EDGE, _APART = 0.05, 0.12  # of an axis: numbers keep so far from its ends and from each other
_PAPER = LinearSegmentedColormap.from_list("contrast", ["#ffffff", "#cfe1ef", "#7fb2d6", "#2f7fb5"])
_TARGET, _REFERENCE = AGENT_COLOURS[0], AGENT_COLOURS[4]
_WORDS = {
    "CNR": "CNR after the agent",
    "dCNR": "Change of the CNR",
    "dS": "Change of the target's signal / σ",
    "SNR": "SNR of the target after the agent",
}


@any_letters()
def contrast_map(plan: ContrastPlan, look: Look | None = None) -> Figure:
    """What was maximised over TE and TR, with isolines, the optimum and what is nearly as good.

    Both axes are logarithmic. FA or TI is that of the optimum, and the concentrations too. Where TE
    (and TI) do not fit into TR it is hatched.

    Parameters
    ----------
    plan : ContrastPlan
    look : Look, optional
        Its size; default one column of a journal.
    """
    look = look or Look("single")
    best = plan.best
    TE, TR = (_axis(plan, name) for name in ("TE", "TR"))
    at = {**{n: np.asarray(v) for n, v in best.settings.items()}, "TE": TE[:, None], "TR": TR}
    height = plan.model.aim(plan.maximise, plan.fixed, at, best.uptake_mM)
    shortest = TE + best.settings.get("TI", 0.0)  # TR into which they fit
    possible = shortest[:, None] <= TR
    with rc_context(look.style):
        wide = look.inches
        figure = Picture(figsize=(wide, min(0.86 * wide, 5.6)), layout="constrained")
        ax = figure.subplots()
        _filled(ax, TE * 1e3, TR * 1e3, (height.T, possible.T), plan, look)
        if not possible.all():
            ax.fill_between(
                TE * 1e3,
                TR[0] * 1e3,
                shortest * 1e3,
                facecolor="#f1f1f1",
                edgecolor="#b5b5b5",
                hatch="////",
                linewidth=0,
                zorder=3,
            )
        ax.plot(
            best.TE * 1e3,
            best.TR * 1e3,
            "o",
            color=ALARM,
            mec="white",
            mew=0.8 * look.lines,
            markersize=7 * look.lines,
            zorder=5,
            clip_on=False,
        )
        ax.set_xlabel(QUANTITIES["TE"].label)
        ax.set_ylabel(QUANTITIES["TR"].label)
        ax.set_title("\n".join(_titles(plan, best)), loc="left", fontsize=look.letters(0.95))
    return figure


def _axis(plan: ContrastPlan, name: str) -> Array:
    """Values of TE or TR to be drawn, s: what was allowed, and what was given."""
    low, high = plan.bounds.ranges.get(name, plan.model.sequence.bounds[name])
    given = plan.bounds.given.get(name, np.array([plan.best.settings[name]]))
    return np.geomspace(min(low, given.min()), max(high, given.max()), _NODES)


def _filled(
    ax: Axes,
    x: Array,
    y: Array,
    drawn: tuple[Array, NDArray[np.bool_]],
    plan: ContrastPlan,
    look: Look,
) -> None:
    """The contrast (y, x) as colour and isolines; what is not possible is to be covered."""
    height, possible = drawn
    top = float(height[possible].max())
    # An image under lines: as areas it would be a megabyte, with seams between them.
    ax.pcolormesh(
        x,
        y,
        height,
        vmin=0,
        vmax=top or 1.0,
        cmap=_PAPER,
        shading="nearest",
        rasterized=True,
        zorder=1,
    )
    for side, ends in (("x", x), ("y", y)):
        _logarithmic(ax, side, ends)
    if top <= 0:
        return
    levels = MaxNLocator(9).tick_values(0, top)
    thin = 0.55 * look.lines
    lines = ax.contour(x, y, height, levels[1:], colors=INK, linewidths=thin, zorder=2)
    best = plan.best
    places = _label_places(lines.allsegs, x, y, possible, (best.TE * 1e3, best.TR * 1e3))
    if places:
        size = look.letters(0.85)
        ax.clabel(lines, fontsize=size, fmt="%g", inline_spacing=2 * look.lines, manual=places)
    if best.share * best.value < top:
        ax.contour(
            x,
            y,
            height,
            [best.share * best.value],
            colors=ALARM,
            linewidths=1.5 * look.lines,
            zorder=2.5,
        )


def _label_places(
    lines: list[list[Array]],
    x: Array,
    y: Array,
    possible: NDArray[np.bool_],
    best: tuple[float, float],
) -> list[tuple[float, float]]:
    """A place on each isoline for its number: off the edges, the optimum and the other numbers."""

    def shares(points: Array) -> Array:
        low, high = np.log([x[0], y[0]]), np.log([x[-1], y[-1]])
        inside: Array = (np.log(points) - low) / (high - low)
        return inside

    taken = [shares(np.array(best))]
    places = []
    for segments in lines:
        drawn = [one for one in segments if len(one) > 1]
        if not drawn:
            continue
        points = max(drawn, key=lambda one: float(np.ptp(shares(one), axis=0).sum()))
        at = shares(points)
        room = np.minimum(np.minimum(at, 1 - at).min(axis=1) - _EDGE, 0.0)
        column, row = np.rint(np.clip(at, 0, 1) * (_NODES - 1)).astype(int).T
        lower = np.maximum(row - int(_EDGE * _NODES), 0)
        room = np.where(possible[lower, column] | possible.all(), room, -1.0)
        apart = np.min([np.linalg.norm(at - one, axis=1) for one in taken], axis=0)
        score = np.minimum(apart, _APART) + 10 * room
        # Of the places that are equally free, the one in the middle of the line.
        middle = np.abs(np.arange(len(at)) - len(at) / 2) / len(at)
        i = int(np.argmax(score - 0.02 * middle))
        if room[i] < 0 or apart[i] < 0.5 * _APART:
            continue
        taken.append(at[i])
        places.append((float(points[i, 0]), float(points[i, 1])))
    return places


def _titles(plan: ContrastPlan, best: Optimum) -> list[str]:
    unit = " per √s" if plan.fixed == "time" else ""
    more = [said(n, v) for n, v in best.settings.items() if n in ("FA", "TI")]
    first = ", ".join([f"{_WORDS[plan.maximise]}{unit}", plan.model.sequence.name, *more])
    second = f"best {best.value:.3g}: {said('TE', best.TE)}, {said('TR', best.TR)}"
    return [first, f"{second}; line: {100 * best.share:g} % of it"]


def _logarithmic(ax: Axes, side: str, ends: Array) -> None:
    getattr(ax, f"set_{side}scale")("log")
    getattr(ax, f"set_{side}lim")(ends[0], ends[-1])
    axis = getattr(ax, f"{side}axis")
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=20))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(LogLocator(subs=tuple(range(1, 10)), numticks=40))
    axis.set_minor_formatter(NullFormatter())


@any_letters()
def concentration_plot(plan: ContrastPlan, look: Look | None = None) -> Figure:
    """Signals and CNR against concentration at the best settings.

    Lines are noise-free; where magnitudes lie on their noise floor, what would be measured is
    dotted. Points are the concentrations of the plan.

    Parameters
    ----------
    plan : ContrastPlan
    look : Look, optional
        Its size; default one column of a journal.
    """
    look = look or Look("single")
    model, best = plan.model, plan.best
    share, region = direction(model)
    at = {name: np.array([value]) for name, value in best.settings.items()}
    found = plan._limits_at(at)
    own = getattr(model, region).uptake_mM
    lowest, most = _span(found, own)
    c = np.geomspace(lowest, most, 400)
    s = model.signals(at, (share[0] * c, share[1] * c))
    with rc_context(look.style):
        wide = look.inches
        figure = Picture(figsize=(wide, min(1.15 * wide, 6.4)), layout="constrained")
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(1.25, 1))
        for role, values, colour in (
            ("target", s.target_post, _TARGET),
            ("reference", s.reference_post, _REFERENCE),
        ):
            name = getattr(model, role).name or role
            values = np.broadcast_to(values, c.shape)
            top.plot(c, values, color=colour, label=name)
            top.plot(c, rician_mean(values, model.sigma), ":", color=colour)
            before = float(np.ravel(getattr(s, f"{role}_pre"))[0])
            top.axhline(before, color=colour, lw=0.6 * look.lines, ls="--", zorder=1)
        top.axhspan(0, FLOOR * model.sigma, color="#eeeeee", zorder=0, lw=0)
        top.set_ylim(0)
        top.set_ylabel("signal (unit of S0)")
        top.legend(loc="best")
        told = ", ".join(said(n, v) for n, v in best.settings.items())
        top.set_title(f"{model.sequence.name}, {told}", loc="left", fontsize=look.letters(0.95))
        CNR = np.abs(s.target_post - s.reference_post) / model.sigma
        bottom.plot(c, np.broadcast_to(CNR, c.shape), color=INK)
        bottom.axhline(ROSE, color=FAINT, lw=0.8 * look.lines, ls="--")
        bottom.annotate(
            f"{ROSE:g} (Rose)",
            (1, ROSE),
            (-2, 1.5),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            ha="right",
            va="bottom",
            color=SMALL_PRINT,
            fontsize=look.letters(0.85),
        )
        bottom.set_ylabel("CNR after")
        bottom.set_ylim(0)
        bottom.set_xlabel(f"agent in the {region} (mM)")
        _logarithmic(bottom, "x", c)
        bottom.xaxis.set_major_locator(LogLocator(numticks=12))
        _points(top, bottom, plan, region, look)
        peak, least = found["peak_mM"], found["detectable_CNR_mM"]
        for ax, at_c, text in ((top, peak, "T2 overtakes from"), (bottom, least, "seen from")):
            if lowest <= at_c <= most:
                _marked(ax, at_c, f"{text} {at_c:.2g} mM", look)
    return figure


def _span(found: dict[str, float], own: Array) -> tuple[float, float]:
    """Concentrations to draw: all that the plan and its limits name, with room."""
    keys = ("peak_mM", "same_again_mM", "detectable_CNR_mM", "detectable_change_mM")
    named = [found[key] for key in keys if math.isfinite(found[key])]
    named += [float(one) for one in own if one > 0]
    if not named:
        return 1e-3, 1.0
    return min(named) / 3, max(*named, min(named) * 30) * 2


def _points(top: Axes, bottom: Axes, plan: ContrastPlan, region: str, look: Look) -> None:
    model, best = plan.model, plan.best
    at = {name: np.array([value]) for name, value in best.settings.items()}
    s = model.signals(at, (model.target.uptake_mM, model.reference.uptake_mM))
    c = getattr(model, region).uptake_mM
    style: dict[str, Any] = {"ls": "none", "marker": "o", "mec": "white", "mew": 0.5 * look.lines}
    for values, colour in ((s.target_post, _TARGET), (s.reference_post, _REFERENCE)):
        top.plot(c, np.broadcast_to(values, c.shape), color=colour, **style)
    CNR = np.abs(s.target_post - s.reference_post) / model.sigma
    bottom.plot(c, np.broadcast_to(CNR, c.shape), color=INK, **style)


def _marked(ax: Axes, c: float, text: str, look: Look) -> None:
    ax.axvline(c, color=ALARM, lw=0.8 * look.lines, zorder=1)
    low, high = ax.get_xlim()
    right = math.log(c / low) > 0.6 * math.log(high / low)
    ax.annotate(
        text,
        (c, 0),
        (-3 if right else 3, 2),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="right" if right else "left",
        va="bottom",
        color=ALARM,
        fontsize=look.letters(0.85),
    )
