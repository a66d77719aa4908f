"""Lines in words: the numbers of the line, nothing else, for a terminal and for a paper."""

from __future__ import annotations

import doctest
import math
import re
from pathlib import Path

import numpy as np
import pytest

from relaxometry.linereport import correlation, line_frame
from relaxometry.numerals import columns, interval, listed, named, percent, probability, short
from relaxometry.regression import Relaxivity, no_line, relaxivity_fit

C = [0, 0.025, 0.05, 0.1, 0.2, 0.4]
R = [3.10, 16.2, 30.1, 56.0, 110.3, 215.9]
SIGMA = [0.1, 0.3, 0.5, 1, 2, 5]


def line(method: str = "ordinary", rates: list[float] = R, **more: object) -> Relaxivity:
    return relaxivity_fit(C, rates, method=method, symbol="r2", **more)  # type: ignore[arg-type]


def section(text: str, name: str) -> str:
    return text.partition(f"[[{name}]]")[2].partition("[[")[0]


def test_the_report_has_the_check_values() -> None:
    """Of science: slope 532.48 ± 1.35, intercept 3.154 ± 0.254, half-width 3.744 (t, 4 d.f.)."""
    text = line().report()
    values = section(text, "Values")
    assert "r2       532.5 ± 1.3 mM⁻¹ s⁻¹ (0.25 %), 95 % 528.7 to 536.2" in values
    assert "R2(0)    3.15 ± 0.25 s⁻¹ (8.1 %)" in values
    assert "Student's t with 4 degrees of freedom" in values
    head = section(text, "Line")
    assert "R2 = R2(0) + r2·c" in head
    assert "ordinary least squares" in head
    assert "6, c = 0 to 0.4 mM; 4 degrees of freedom" in head
    assert "not known: the points have no errors" in section(text, "Fit statistics")
    assert "P = " in section(text, "Fit statistics")


def test_chi_square_is_that_of_the_weighted_line() -> None:
    """Reduced 0.3232060315 by science, so 1.293 over 4 degrees of freedom."""
    text = section(line("weighted", stderr=SIGMA).report(), "Fit statistics")
    assert re.search(r"χ² +1\.293\n", text)
    assert re.search(r"reduced χ² +0\.3232\n", text)


def test_the_correlation_is_that_of_the_design() -> None:
    """−mean(c)/√mean(c²), whatever the rates."""
    c = np.array(C)
    expected = -c.mean() / math.sqrt((c**2).mean())
    assert correlation(line()) == pytest.approx(expected, rel=1e-12)
    assert f"correlation of r2 and R2(0): −{-expected:.3f}"[:-1] in line().report()


def test_every_point_has_a_row_with_its_residual() -> None:
    fitted = line("weighted", stderr=SIGMA, tubes=[11, 12, 13, 14, 15, 16])
    rows = section(fitted.report(), "Points").splitlines()[2:8]
    for row, tube, c, residual in zip(rows, range(11, 17), C, fitted.residual, strict=True):
        cells = row.replace("−", "-").split()
        assert [float(cell) for cell in cells[:2]] == [tube, c]
        assert float(cells[4]) == pytest.approx(residual, rel=0.06)


def test_odd_points_are_marked_and_the_marks_explained() -> None:
    wrong = [*R[:4], 150.3, R[5]]
    text = section(line(rates=wrong).report(), "Points")
    rows = text.splitlines()
    assert [row.split()[-1] for row in rows[2:8] if row.split()[-1].isalpha()] == ["O", "C"]
    assert "O: off the line through the others" in text
    assert "C: Cook's distance above 1" in text
    assert "set aside" not in text
    robust = line("robust", wrong).report()
    assert rows[6].split()[1] == "0.2"
    assert section(robust, "Points").splitlines()[6].endswith("x")
    assert "x: set aside" in robust
    clean = section(line().report(), "Points")
    assert "O:" not in clean
    assert "x:" not in clean


def test_a_stock_error_is_told_with_the_error_without_it() -> None:
    """5 % of 532.48 is 26.6; with 1.3 in quadrature still 27."""
    values = section(line(stock_rsd=0.05).report(), "Values")
    assert "r2       532 ± 27" in values
    assert "5 % (without it: 532.5 ± 1.3)" in values
    assert "common error" not in line().report()


def test_a_fixed_intercept_is_told_and_has_no_error() -> None:
    text = line(intercept=3.0).report()
    assert "R2(0)    3 s⁻¹, held fixed" in text
    assert "correlation" not in text
    assert "R2(0) held at 3 s⁻¹" in line(intercept=3.0).methods()


def test_what_intervals_rest_on() -> None:
    assert (
        "the stated errors of the points, 1.90 standard errors"
        in line("weighted", stderr=SIGMA).report()
    )
    tight = line("weighted", stderr=[s / 10 for s in SIGMA]).report()
    assert "of the variance, factor 1.90) and Student's t with 4 degrees of freedom" in tight
    assert "ranks of the slopes" in line("theil-sen").report()


def test_lines_without_an_error_or_without_a_slope_say_so() -> None:
    two = relaxivity_fit(C[:2], R[:2])
    assert "r        524 mM⁻¹ s⁻¹, its error is not known" in two.report()
    assert "(its error is not known)" in two.methods()
    assert "nan" not in two.report()
    none = no_line(np.array([0.1]), np.array([5.0]), "r1", "rates known at 1 concentration")
    assert "r1 not determined" in none.report()
    assert "rates known at 1 concentration" in none.report()
    assert none.methods().startswith("r1 could not be determined")
    assert "nan" not in none.report()
    empty = no_line(np.empty(0), np.empty(0), "r1", "no rates")
    assert "[[Points]]" not in empty.report()
    assert "None" not in empty.report()


def test_the_methods_sentence_has_the_numbers_in_it() -> None:
    text = line("weighted", stderr=SIGMA).methods("Fe")
    assert text.startswith(
        "r2 was obtained as the slope of R2 against the concentration of Fe (0 to 0.4 mM, "
        "n = 6 points) by least squares weighted by 1/σ²: r2 = 533.0 ± 5.0 mM⁻¹ s⁻¹ "
        "(± standard error; 95 % CI 523.4 to 542.5"
    )
    assert "R2(0) = 3.088 ± 0.097 s⁻¹" in text
    assert text.endswith(".")
    assert "concentration (0" in line().methods()


def test_the_frame_is_one_row_in_the_columns_of_the_csv() -> None:
    frame = line().to_dataframe()
    assert len(frame) == 1
    row = frame.iloc[0]
    assert row["r2_per_mM_per_s"] == pytest.approx(532.4829493088, rel=1e-10)
    assert row["R2_0_stderr_per_s"] == pytest.approx(0.2541329215, rel=1e-9)
    assert row["r2_ci95_high_per_mM_per_s"] - row["r2_per_mM_per_s"] == pytest.approx(3.7437638584)
    assert (row["r2_n_points"], row["r2_method"]) == (6, "ordinary")
    unnamed = line_frame(relaxivity_fit(C, R))
    assert unnamed["r_per_mM_per_s"][0] == row["r2_per_mM_per_s"]


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (528.7392, 536.2267, "528.7 to 536.2"),
        (-1.5, 2.5, "−1.5 to 2.5"),
        (3.0, math.inf, "above 3"),
        (-math.inf, 3.0, "below 3"),
        (-math.inf, math.inf, "unbounded"),
        (math.nan, 2.0, ""),
        (2.0, 2.0, ""),
        (0.0, 1e-9, "0.00000000000 to 0.00000000100"),
        (4.081632653061226, 4.081632653061234, "4.081633 to 4.081633"),
    ],
)
def test_intervals(low: float, high: float, text: str) -> None:
    assert interval(low, high) == text


def test_numbers_for_people() -> None:
    assert [percent(f) for f in (0.0123, 1.5, -0.0, math.nan)] == ["1.2 %", "150 %", "0 %", "–"]
    assert [probability(p) for p in (0.0432, 3e-7, 1.0, math.nan)] == [
        *("0.043", "< 0.0001", "1.0", "–")
    ]
    assert short(-0.012345, 2) == "−0.012"
    assert named("a\nb", "", "pH\t5") == "a b pH 5"
    assert [listed(w) for w in (["a"], ["a", "b"], ["a", "b", "c"])] == [
        "a",
        "a and b",
        "a, b and c",
    ]
    assert columns(["a", "n"], [["xyz", "1"], ["y", "22"]]) == ["a     n", "xyz   1", "y    22"]


def test_the_documented_report_is_the_one_that_is_printed() -> None:
    docs = Path(__file__).parent.parent / "docs" / "reports.md"
    text = docs.read_text(encoding="utf-8").replace("```", "")
    test = doctest.DocTestParser().get_doctest(text, {}, "reports.md", None, 0)
    said: list[str] = []
    failed = doctest.DocTestRunner(verbose=False).run(test, out=said.append).failed
    assert len(test.examples) == 4
    assert failed == 0, "".join(said)
