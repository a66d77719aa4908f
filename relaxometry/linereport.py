"""A fitted line in words: a report for a terminal, a sentence for a paper, a row for a table."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd

from .agentrow import line_numbers
from .diagnosis import ALONE, CURVED, OFF_THE_LINE
from .numerals import columns, interval, number, percent, probability, short
from .regression import STATED95, Relaxivity

#: What a line is called in a sentence, by its method.
FITTED_BY = {
    "ordinary": "ordinary least squares",
    "relative": "least squares weighted by 1/R² (errors in proportion to the rate)",
    "weighted": "least squares weighted by 1/σ²",
    "odr": "orthogonal distance regression with errors in both axes "
    "(ODRPACK; Boggs et al., ACM Trans Math Softw 15:348, 1989)",
    "york": "a line with errors in both axes (York et al., Am J Phys 72:367, 2004)",
    "robust": "an average of the lines without each set of points that may be wrong, by its "
    "probability (Box & Tiao, Biometrika 55:119, 1968)",
    "theil-sen": "the median of the slopes of all pairs of points "
    "(Theil–Sen; Sen, J Am Stat Assoc 63:1379, 1968)",
}
# A point that decides more than a point should (Cook & Weisberg, Residuals and Influence, 1982).
_COOK = 1.0


def line_report(line: Relaxivity) -> str:
    """All there is to say about a line, section by section, as a text to print.

    Parameters
    ----------
    line : Relaxivity

    Returns
    -------
    str
        Equation, method, statistics, values with their intervals, correlation, points, remarks;
        many lines, without a line break at the end.
    """
    sections = {
        "Line": _line_rows(line),
        "Fit statistics": _statistics(line),
        "Values": _values(line),
        "Points": list(_points(line)),
        "Remarks": [f"- {flag}" for flag in line.flags],
    }
    text: list[str] = []
    for heading, rows in sections.items():
        if rows:
            text += [f"[[{heading}]]", *(f"    {row}".rstrip() for row in rows)]
    return "\n".join(text)


def line_methods(line: Relaxivity, ion: str = "") -> str:
    """A sentence of methods with the numbers in it, ready to paste.

    Parameters
    ----------
    line : Relaxivity
    ion : str
        What the concentration counts, ``Fe``.
    """
    r, R = _symbols(line)
    if not math.isfinite(line.r.value):
        return f"{r} could not be determined ({'; '.join(line.flags) or 'no line'})."
    rests = _rests_on(line)
    how = (
        f"± standard error; 95 % CI {interval(*line.ci95)}, by {rests}"
        if rests
        else "its error is not known"
    )
    matrix = (
        f"{R}(0) held at {short(line.R0.value)}"
        if line.fixed
        else f"{R}(0) = {number(line.R0.value, line.R0.stderr)}"
    )
    return (
        f"{r} was obtained as the slope of {R} against the concentration"
        f"{f' of {ion}' if ion else ''} ({reach(line)} mM, n = {line.n} points) by "
        f"{FITTED_BY.get(line.method, line.method)}: {r} = "
        f"{number(line.r.value, line.r.stderr)} mM⁻¹ s⁻¹ ({how}), "
        f"{matrix} s⁻¹, R² = {line.rsquared:.4f}."
    )


def line_frame(line: Relaxivity) -> pd.DataFrame:
    """The numbers of a line as one row, with the columns of ``relaxivity.csv``."""
    return pd.DataFrame([line_numbers(line, _symbols(line)[0]) | {"flags": "; ".join(line.flags)}])


def correlation(line: Relaxivity) -> float:
    """Correlation of the slope and the intercept; NaN where either has no error."""
    (var_R0, both), (_, var_r) = line.covariance
    scale = math.sqrt(var_R0 * var_r) if var_R0 >= 0 and var_r >= 0 else math.nan
    return float(both / scale) if scale > 0 else math.nan


def reach(line: Relaxivity) -> str:
    """The concentrations of a line, from the least to the most."""
    c = line.concentration
    return f"{c.min():.4g} to {c.max():.4g}" if c.size else "none"


def _symbols(line: Relaxivity) -> tuple[str, str]:
    r = line.r.symbol or "r"
    return r, r.upper()


def _line_rows(line: Relaxivity) -> list[str]:
    r, R = _symbols(line)
    why = f": {line.reason}" if line.reason else ""
    return [
        f"{R} = {R}(0) + {r}·c",
        f"method           {FITTED_BY.get(line.method, 'no line')}{why}",
        f"points           {line.n}, c = {reach(line)} mM; {line.dof} degrees of freedom",
    ]


def _statistics(line: Relaxivity) -> list[str]:
    if not math.isfinite(line.r.value):
        return []
    chi2 = line.chi2_reduced * line.dof
    p = line.curvature_p
    bend = "a bend that is more than noise" if p < CURVED else "no sign of a bend"
    return [
        f"χ²               {short(chi2, unknown='not known: the points have no errors')}",
        f"reduced χ²       {short(line.chi2_reduced)}",
        f"R²               {line.rsquared:.6f}",
        f"residual SD      {short(line.residual_sd)} s⁻¹",
        "curvature        "
        + (f"P = {probability(p)}: {bend}" if math.isfinite(p) else "not tested: too few points"),
    ]


def _values(line: Relaxivity) -> list[str]:
    r, R = _symbols(line)
    if not math.isfinite(line.r.value):
        return [f"{r} not determined"]
    rows = []
    for name, one, unit, ends, fixed in (
        (r, line.r, "mM⁻¹ s⁻¹", line.ci95, False),
        (f"{R}(0)", line.R0, "s⁻¹", line.R0_ci95, line.fixed),
    ):
        if fixed:
            rows.append(f"{name:8} {short(one.value, 6)} {unit}, held fixed")
            continue
        if not math.isfinite(one.stderr):
            rows.append(f"{name:8} {number(one.value)} {unit}, its error is not known")
            continue
        relative = percent(abs(one.stderr / one.value)) if one.value else "–"
        told = interval(*ends)
        rows.append(
            f"{name:8} {number(one.value, one.stderr)} {unit} ({relative})"
            + (f", 95 % {told}" if told else ", 95 % interval not known")
        )
    rests = _rests_on(line)
    if rests:
        rows.append(f"± is one standard error; intervals by {rests}")
    if line.stock_rsd > 0:
        own = number(line.slope.value, line.slope.stderr)
        rows.append(
            f"{r} and its interval hold the common error of the concentrations, "
            f"{percent(line.stock_rsd)} (without it: {own})"
        )
    both = correlation(line)
    if math.isfinite(both):
        rows.append(f"correlation of {r} and {R}(0): {short(both, 3)}")
    return rows


def _rests_on(line: Relaxivity) -> str:
    """What the interval of a line rests on."""
    if not math.isfinite(line.k95):
        return ""
    freedom = f"{line.dof} degree{'' if line.dof == 1 else 's'} of freedom"
    if line.method == "robust":
        text = "the posterior of the slope over which points are wrong"
    elif line.method == "theil-sen":
        text = "the ranks of the slopes of all pairs"
    elif line.known >= 1:
        text = f"the stated errors of the points, {STATED95:.2f} standard errors"
    elif line.known > 0:
        text = (
            f"stated errors ({percent(line.known)} of the variance, factor {STATED95:.2f}) and "
            f"Student's t with {freedom} for the scatter"
        )
    else:
        text = f"Student's t with {freedom}"
    stock = f", with the common error of the concentrations ({percent(line.stock_rsd)})"
    return text + (stock if line.stock_rsd > 0 else "")


def _points(line: Relaxivity) -> Iterator[str]:
    if not line.n:
        return
    _, R = _symbols(line)
    heads = ["tube", "c (mM)", f"{R} (s⁻¹)", "σ", "residual", "leverage", "Cook", "influence", ""]
    marks = [_marks(line, i) for i in range(line.n)]
    rows = [
        [
            str(line.tubes[i]) if line.tubes else f"({i + 1})",
            short(line.concentration[i]),
            short(line.rate[i]),
            short(line.sigma[i], 2),
            short(line.residual[i], 2),
            short(line.leverage[i], 2),
            short(line.cook[i], 2),
            percent(line.influence[i]),
            " ".join(marks[i]),
        ]
        for i in range(line.n)
    ]
    yield from columns(heads, rows)
    yield f"influence: change of {line.r.symbol or 'r'} without the point"
    yield from (told for mark, told in _MARKS.items() if any(mark in own for own in marks))


_MARKS = {
    "x": "x: set aside",
    "O": f"O: off the line through the others (P < {OFF_THE_LINE:g})",
    "S": f"S: more than {100 * ALONE:g} % of what is known of the slope is this point's",
    "C": f"C: Cook's distance above {_COOK:g}",
}


def _marks(line: Relaxivity, i: int) -> list[str]:
    found = line.diagnosis
    odd = {
        "x": bool(line.used.size) and not line.used[i],
        "O": found is not None and found.off[i] < OFF_THE_LINE,
        "S": found is not None and found.share[i] > ALONE,
        "C": line.cook[i] > _COOK,
    }
    return [mark for mark in _MARKS if odd[mark]]
