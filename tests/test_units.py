"""Times as people write them, and the one table of quantities."""

from __future__ import annotations

import pytest

from relaxometry import InputError
from relaxometry.units import QUANTITIES, RATE_OF, TIME_OF, seconds


@pytest.mark.parametrize(
    ("written", "value"),
    [
        (0.01, 0.01),
        (3, 3.0),
        ("0.01", 0.01),
        ("10 ms", 0.010),
        ("10ms", 0.010),
        (" 0.01 s ", 0.01),
        (".5 s", 0.5),
        ("1e1 ms", 0.010),
        ("2500 us", 0.0025),
        ("2500 µs", 0.0025),  # micro sign
        ("2500 μs", 0.0025),  # Greek mu
    ],
)
def test_seconds(written, value):
    assert seconds(written) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    "written",
    ["", "ms", "ten ms", "10 min", "10 MS", "1,5 ms", "10 ms 3", "nan", "inf", "1e999 s", "0x10"],
)
def test_seconds_of_text_that_is_no_time(written):
    with pytest.raises(InputError, match="not a"):
        seconds(written)


@pytest.mark.parametrize("given", [True, None, [0.01], float("nan"), float("inf")])
def test_seconds_of_what_is_no_number(given):
    with pytest.raises(InputError, match="not a"):
        seconds(given)


def test_every_name_of_a_quantity_carries_its_unit():
    assert QUANTITIES["T2"].column == "T2_s"
    assert QUANTITIES["T2"].label == "T2 (ms)"
    assert QUANTITIES["r1"].column == "r1_per_mM_per_s"
    assert QUANTITIES["R2"].label == "R2 (s⁻¹)"
    assert QUANTITIES["concentration"].column == "concentration_mM"
    # R1 is a rate and r1 a relaxivity: no two quantities share a name in files.
    columns = [quantity.column for quantity in QUANTITIES.values()]
    assert len(set(columns)) == len(columns)
    for time, rate in RATE_OF.items():
        assert TIME_OF[rate] == time
        assert QUANTITIES[time].unit == "s"
        assert QUANTITIES[rate].unit == "s⁻¹"
