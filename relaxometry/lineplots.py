"""R1 and R2 against concentration: points, lines, bands, residuals, and what was left out."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator, MultipleLocator
from numpy.typing import NDArray

from .agents import LeftOut, RelaxivityTable
from .canvas import FAINT, INK, SMALL_PRINT, Look, Picture, agent_looks, any_letters, short_names
from .flags import tubes_in_words
from .numerals import number
from .quoted import Quoted, quoted
from .regression import Relaxivity
from .units import QUANTITIES, RELAXIVITY_OF

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]
Lines = Mapping[tuple[str, str], Relaxivity]

#: What the small print says of each method.
_METHODS = {
    "ordinary": "ordinary line",
    "relative": "errors in proportion to the rate",
    "weighted": "weighted line",
    "odr": "errors in both axes",
    "york": "errors in both axes",
    "robust": "robust line",
    "theil-sen": "Theil–Sen line",
}
_REASONS = 6  # lines of the legend
_INSIDE = 5  # more lines than these never fit into a panel
_PLAINEST = 14  # letters of a name in a panel
_PAGE = 9.0  # inches that a figure may be high


@any_letters()
def relaxivity_lines(
    table: RelaxivityTable,
    concentration_of: str = "",
    *,
    look: Look | None = None,
    prediction: bool = False,
    residuals: bool = True,
) -> Figure:
    """R1 and R2 against concentration: points with their errors, lines, 95 % confidence bands.

    Points that are left out are hollow, with the number of their tube, and so are those that a
    robust line sets aside; the legend says why. It says r1 and r2 too: with two replicates or more
    their mean ± SD, else the slope ± its standard error.

    Parameters
    ----------
    table : RelaxivityTable
    concentration_of : str
        Ion the concentration counts, for the axis.
    look : Look, optional
        Its size; default two columns of a journal.
    prediction : bool
        Draw the 95 % prediction band too, dotted: where one more tube would be.
    residuals : bool
        Draw beneath each panel how far each point is from its line, over its σ: the error it was
        weighted by (in both axes where the line has those), else the SD of the residuals.
    """
    look = look or Look()
    symbols = [s for s in RELAXIVITY_OF.values() if any(s in fits for fits in table.lines.values())]
    drawing = _Drawing(table, concentration_of, look, prediction, residuals)
    few = len(table) <= _INSIDE and max(len(" ".join(key)) for key in table) <= _PLAINEST
    if few:
        figure, clear = drawing.drawn(symbols, below=False)
        if clear:
            return figure
    return drawing.drawn(symbols, below=True)[0]


class _Drawing:
    """One figure, with its legends in the panels or below them."""

    def __init__(
        self,
        table: RelaxivityTable,
        concentration_of: str,
        look: Look,
        prediction: bool,
        residuals: bool,
    ) -> None:
        self.table, self.look, self.prediction = table, look, prediction
        self.of = f"mM {concentration_of}" if concentration_of else "mM"
        lines = [line for fits in table.lines.values() for line in fits.values()]
        self.residuals = residuals and any(_standard(line)[1].any() for line in lines)
        self.looks = agent_looks(list(table.lines))
        self.quoted = quoted(table)
        self.wide = look.inches / (1 if look.narrow else 2)  # inches of a panel
        self.letters = int(72 * self.wide / (0.58 * look.letters(0.92))) - 12  # of a legend

    def drawn(self, symbols: Sequence[str], below: bool) -> tuple[Figure, bool]:
        """The figure, and whether its legends are clear of what is drawn."""
        look = self.look
        with rc_context(look.style):
            columns, wide = 1 if look.narrow else len(symbols), self.wide
            chosen = {symbol: self._of(symbol) for symbol in symbols}
            gone = {symbol: self._said(symbol) for symbol in symbols}
            entries = {s: len(chosen[s]) + sum(t.count("\n") + 1 for t in gone[s]) for s in symbols}
            entries = {s: n + self._title(s, chosen[s]).count("\n") for s, n in entries.items()}
            rows = len(symbols) // columns
            legend = (max(entries.values()) + 2.0) * look.line_inches * below
            margins = 3.5 * look.line_inches
            # Two panels above each other, with many lines, are to stay on a page.
            high = (_PAGE / rows - legend - margins) / (1.38 if self.residuals else 1.0)
            high = max(0.45 * wide, min(high, (0.72 if look.narrow else 0.8) * wide))
            tall = [high, 0.38 * high][: 1 + self.residuals] + [legend] * below
            figure = Picture(
                figsize=(wide * columns, (sum(tall) + margins) * rows), layout="constrained"
            )
            grid = figure.add_gridspec(rows * len(tall), columns, height_ratios=tall * rows)
            places = [(i // columns * len(tall), i % columns) for i in range(len(symbols))]
            panels = [figure.add_subplot(grid[place]) for place in places]
            for ax, (row, column), symbol in zip(panels, places, symbols, strict=True):
                rings = self._panel(ax, symbol, chosen[symbol], gone[symbol])
                bottom = ax
                if self.residuals:
                    bottom = figure.add_subplot(grid[row + 1, column], sharex=ax)
                    self._residual_panel(bottom, chosen[symbol])
                    ax.tick_params(labelbottom=False)
                bottom.set_xlabel(f"concentration ({self.of})")
                under = figure.add_subplot(grid[row + len(tall) - 1, column]) if below else None
                self._legend(ax, under, symbol, chosen[symbol], rings)
            figure.align_ylabels()
            if not below:
                figure.draw_without_rendering()
            clear = below or all(self._clear(ax) for ax in panels)
        return figure, clear

    def _of(self, symbol: str) -> Lines:
        fits = self.table.lines.items()
        return {key: lines[symbol] for key, lines in fits if symbol in lines}

    def _left_out(self, symbol: str) -> list[LeftOut]:
        """Points of this symbol that are left out of a line, each tube once."""
        once: dict[Any, LeftOut] = {}
        for one in self.table.left_out:  # a blank may be left out of several lines
            if one.symbol == symbol and (one.agent, one.condition) in self.looks:
                once.setdefault(one.tube, one)
        return list(once.values())

    def _said(self, symbol: str) -> list[str]:
        """What the legend says of the points that are not on a line."""
        why: dict[str, list[Any]] = {}
        for one in self._left_out(symbol):
            codes = (
                one.reason if one.by_sheet else ", ".join(c.partition("_")[2] for c in one.codes)
            )
            off = " (off the scale)" * int(one.rate > self._top(symbol))
            why.setdefault((codes or "not determined") + off, []).append(one.tube)
        said = [f"{tubes_in_words(tubes)} left out: {reason}" for reason, tubes in why.items()]
        aside: dict[Any, None] = {}
        for line in self._of(symbol).values():
            aside |= dict.fromkeys(line.tubes[i] for i in np.flatnonzero(~line.used))
        if aside:
            said.append(f"{tubes_in_words(list(aside))} set aside: far off the robust line")
        if len(said) > _REASONS:
            said = [*said[: _REASONS - 1], f"and {len(said) - _REASONS + 1} more reasons"]
        return ["\n".join(textwrap.wrap(text, self.letters)) for text in said]

    def _reach(self, symbol: str) -> float:
        lines = self._of(symbol).values()  # an agent may have no point at all
        there = [float(line.concentration.max()) for line in lines if line.n]
        left_out = self._left_out(symbol)
        there += [one.concentration_mM for one in left_out if math.isfinite(one.rate)]
        return 1.05 * (max(there, default=0.0) or 1.0)

    def _top(self, symbol: str) -> float:
        """The highest rate of a point left out that is drawn: beyond, it presses others flat."""
        tops = [0.0]
        for line in self._of(symbol).values():
            tops += [*line.rate[line.used], *line.line([self._reach(symbol)])]
        return 1.6 * max(top for top in tops if math.isfinite(top))

    def _panel(self, ax: Axes, symbol: str, lines: Lines, said: Sequence[str]) -> dict[Line2D, str]:
        """Draw a panel; return what its legend says of the hollow points."""
        rate, thick = symbol.upper(), self.look.lines
        reach = self._reach(symbol)
        c = np.linspace(0, reach, 121)
        shade, fitted = (0.16 if len(lines) <= 6 else 0.1), False
        for key, line in lines.items():
            colour, marker, dashes = self.looks[key]
            middle, half = line.line(c), line.band(c)
            ax.plot(c, middle, color=colour, linestyle=dashes, zorder=2)
            if np.isfinite(half).all():
                fitted = True
                ax.fill_between(c, middle - half, middle + half, color=colour, alpha=shade, lw=0)
            if self.prediction and np.isfinite(line.prediction(c)).all():
                for sign in (-1, 1):
                    edge = middle + sign * line.prediction(c)
                    ax.plot(c, edge, color=colour, linestyle=":", lw=0.7 * thick, zorder=1.5)
            self._points(ax, line, colour, marker)
        self._hollow(ax, symbol)
        ax.set_ylabel(QUANTITIES[rate].label)
        ax.set_xlim(-0.04 * reach, max(reach, ax.get_xlim()[1]))
        lowest = [float(line.rate[line.used].min()) for line in lines.values() if line.used.any()]
        if min(lowest, default=1.0) > 0:
            ax.set_ylim(bottom=0)
        methods = dict.fromkeys(_METHODS.get(line.method, "") for line in lines.values())
        small = [", ".join(filter(None, methods))]
        small += ["shaded: 95 % confidence"] * fitted + ["dotted: 95 % prediction"] * (
            fitted and self.prediction
        )
        size = self.look.letters(0.8)
        text = textwrap.fill("; ".join(filter(None, small)), int(72 * self.wide / (0.6 * size)) - 8)
        ax.set_title(text, loc="right", y=1, fontsize=size, color=SMALL_PRINT)
        ring: dict[str, Any] = {"marker": "o", "linestyle": "", "color": INK, "mfc": "white"}
        return {Line2D([], [], **ring): text for text in said}

    def _points(self, ax: Axes, line: Relaxivity, colour: str, marker: str) -> None:
        thick = self.look.lines
        bars: dict[str, Any] = {"elinewidth": 0.8 * thick, "capsize": 1.8 * thick}
        c_sd = np.nan_to_num(line.concentration_sd)
        for kept, label, face in ((line.used, "line", colour), (~line.used, "", "white")):
            if kept.any() or label:
                ax.errorbar(
                    line.concentration[kept],
                    line.rate[kept],
                    xerr=c_sd[kept] if (c_sd > 0).any() else None,
                    yerr=line.sigma[kept] if np.isfinite(line.sigma).all() else None,
                    fmt=marker,
                    color=colour,
                    mfc=face,
                    label=label or "_aside",
                    zorder=3,
                    **bars,
                )

    def _hollow(self, ax: Axes, symbol: str) -> None:
        """Draw the points that are left out, those far above all others excepted; number them."""
        numbered: list[tuple[float, float, list[str], str]] = []
        near = 0.02 * self._reach(symbol), 0.04 * self._top(symbol)

        def number(tube: Any, x: float, y: float, colour: str) -> None:
            for x0, y0, names, _ in numbered:  # two at one place share a label
                if abs(x - x0) < near[0] and abs(y - y0) < near[1]:
                    names.append(str(tube))
                    return
            numbered.append((x, y, [str(tube)], colour))

        for key, line in self._of(symbol).items():
            for i in np.flatnonzero(~line.used):
                at = float(line.concentration[i]), float(line.rate[i])
                number(line.tubes[i], *at, self.looks[key][0])
        for one in self._left_out(symbol):
            if not one.rate <= self._top(symbol):
                continue
            colour, marker, _ = self.looks[one.agent, one.condition]
            ax.plot(one.concentration_mM, one.rate, marker, color=colour, mfc="white", zorder=3.5)
            number(one.tube, one.concentration_mM, one.rate, colour)
        size = self.look.points
        for x, y, names, colour in numbered:
            text = ax.annotate(
                ", ".join(dict.fromkeys(names)),
                (x, y),
                xytext=(0.5 * size, -0.85 * size),
                textcoords="offset points",
                fontsize=self.look.letters(0.82),
                color=colour,
                zorder=4,
            )
            text.set_path_effects([withStroke(linewidth=0.18 * size, foreground="white")])

    def _residual_panel(self, ax: Axes, lines: Lines) -> None:
        ax.axhspan(-2, 2, color=FAINT, alpha=0.13, linewidth=0)
        ax.axhline(0, color=FAINT, linewidth=0.6 * self.look.lines)
        farthest = 2.6
        reach = max((float(one.concentration.max()) for one in lines.values() if one.n), default=1)
        # Side by side, for agents are often at the same concentrations.
        aside = np.arange(len(lines)) - (len(lines) - 1) / 2
        aside *= min(0.009, 0.05 / max(len(lines), 1)) * reach
        for (key, line), shift in zip(lines.items(), aside, strict=True):
            colour, marker, _ = self.looks[key]
            z, known = _standard(line)
            for kept, face in ((known & line.used, colour), (known & ~line.used, "white")):
                c = line.concentration[kept] + shift
                size = 3.2 * self.look.lines
                ax.plot(c, z[kept], marker, color=colour, mfc=face, markersize=size, zorder=3)
            # One set aside may be anywhere: its arrow is its number in the panel above.
            on = z[known & line.used]
            farthest = max(farthest, *(1.15 * np.abs(on)), 0.0) if on.size else farthest
        ax.set_ylim(-farthest, farthest)
        ticks = MultipleLocator(2) if farthest < 7 else MaxNLocator(4, symmetric=True)
        ax.yaxis.set_major_locator(ticks)
        ax.set_ylabel("residual / σ")

    def _legend(
        self,
        ax: Axes,
        under: Axes | None,
        symbol: str,
        lines: Lines,
        rings: Mapping[Line2D, str],
    ) -> None:
        place: dict[str, Any] = {"loc": "upper left"}
        if under is not None:
            under.set_axis_off()
            place |= {"bbox_to_anchor": (0, 1), "bbox_transform": under.transAxes}
            place |= {"borderaxespad": 0.0}
        legend = ax.legend(
            [*ax.get_legend_handles_labels()[0], *rings],
            [*self._line_names(symbol, lines), *rings.values()],
            title=self._title(symbol, lines),
            alignment="left",
            **place,
        )
        legend.get_title().set_fontweight("bold")
        legend.set_in_layout(False)

    def _title(self, symbol: str, lines: Lines) -> str:
        """What the numbers of the legend are."""
        own = [self.quoted[key][symbol] for key in lines]
        said = [f"{symbol} ({QUANTITIES[symbol].people_unit})"]
        single = any(not one.n and math.isfinite(one.stderr) for one in own)
        if any(one.n for one in own):
            said += ["mean ± SD of replicates", *["one line: ± standard error"] * single]
        elif single:
            said.append("± standard error")
        return "\n".join(said)

    def _line_names(self, symbol: str, lines: Lines) -> list[str]:
        values = [_in_words(self.quoted[key][symbol]) for key in lines]
        longest = max(8, min(26, self.letters - max(map(len, values), default=0) - 2))
        names = short_names(list(lines), longest)
        return [f"{names[key]}  {value}" for key, value in zip(lines, values, strict=True)]

    def _clear(self, ax: Axes) -> bool:
        """Whether no line, band or point runs behind the legend of a panel."""
        legend = ax.get_legend()
        assert legend is not None
        box, frame = legend.get_window_extent().padded(2.0), ax.get_window_extent()
        if box.y0 < frame.y0 or box.x1 > frame.x1:
            return False
        drawn = [ax.transData.transform(line.get_xydata()) for line in ax.get_lines()]
        drawn += [
            ax.transData.transform(path.vertices)
            for shade in ax.collections
            for path in shade.get_paths()
        ]
        return not any(box.contains(x, y) for xy in drawn for x, y in xy)


def _in_words(one: Quoted) -> str:
    return number(one.value, one.sd if one.n else one.stderr)


def _standard(line: Relaxivity) -> tuple[Array, NDArray[np.bool_]]:
    """Residuals over their σ (n,), and which of them are known."""
    if np.isfinite(line.sigma).all():
        sigma = np.hypot(line.sigma, line.r.value * np.nan_to_num(line.concentration_sd))
    elif line.method in ("ordinary", "relative") and (line.weight > 0).all():
        sigma = 1 / np.sqrt(line.weight)
    else:
        sigma = np.full(line.n, line.residual_sd)
    with np.errstate(divide="ignore", invalid="ignore"):
        z: Array = np.where((sigma > 0) & (line.dof > 0), line.residual / sigma, np.nan)
    return z, np.isfinite(z)
