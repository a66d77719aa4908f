"""How a line is drawn: the methods, which of them suits, and what each of them needs."""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import InputError

Array = NDArray[np.float64]
Method = Literal["auto", "ordinary", "relative", "weighted", "odr", "york", "robust", "theil-sen"]
METHODS = get_args(Method)
#: Methods that take the errors given for true, and widen them only where the points scatter more.
ABSOLUTE = ("weighted", "odr", "york")
BOTH_AXES = ("odr", "york")
#: With fewer points none can be told to be wrong.
FEWEST_ROBUST = 4


def chosen(
    method: Method,
    c: Array,
    R: Array,
    sigma: Array | None,
    c_sd: Array | None,
    intercept: float | None,
) -> tuple[Method, str]:
    """The method, and why; raises `InputError` for one that lacks what it needs."""
    if method not in METHODS:
        raise InputError(f"{method!r}", field="method", expected=", ".join(METHODS))
    reason = "asked for"
    if method == "auto":
        if sigma is None:
            method, reason = "ordinary", "the rates have no errors"
        elif c_sd is not None and (c_sd > 0).any():
            method, reason = "odr", "rates and concentrations have errors"
        else:
            method, reason = "weighted", "every rate has an error"
    if method in ABSOLUTE and sigma is None:
        raise InputError(f"method {method} without errors of the rates", field="stderr")
    if method in BOTH_AXES and c_sd is None:
        raise InputError(f"method {method} without errors of the concentrations",
                         field="concentration_sd")  # fmt: skip
    if method in ("york", "theil-sen") and intercept is not None:
        raise InputError(f"method {method} with a fixed intercept", expected="another, as odr")
    if method == "robust" and c.size < FEWEST_ROBUST - (intercept is not None):
        raise InputError(
            f"{c.size} points", field="method robust", expected="at least four",
            hint="with fewer, none can be told to be wrong",
        )  # fmt: skip
    if method == "relative" and (R <= 0).any():
        raise InputError(f"a rate of {R.min():g} s⁻¹", field="method relative", expected="above 0")
    return method, reason


def check(
    c: Array,
    R: Array,
    sigma: Array | None,
    c_sd: Array | None,
    intercept: float | None,
    stock_rsd: float,
) -> None:
    for name, values in (("rate", R), ("stderr", sigma), ("concentration_sd", c_sd)):
        if values is not None and values.shape != c.shape:
            raise InputError(f"{values.size} values", field=name, expected=f"{c.size} of them")
    for name, values in (("concentration", c), ("concentration_sd", c_sd)):
        if values is not None and (values < 0).any():
            raise InputError(f"{values.min():g} mM", field=name, expected="none below 0")
    if np.unique(c).size < 2:
        raise InputError(
            f"{np.unique(c).size} different concentration", expected="at least two for a line"
        )
    if sigma is not None and (sigma <= 0).any():
        raise InputError(f"an error of {sigma.min():g}", field="stderr", expected="above 0")
    if intercept is not None and not math.isfinite(intercept):
        raise InputError(f"{intercept!r}", field="intercept", expected="a finite rate in s⁻¹")
    if not 0 <= stock_rsd < 1:
        raise InputError(
            f"{stock_rsd!r}", field="stock_rsd", expected="a fraction, as 0.05 for 5 %"
        )


def numbers(values: ArrayLike, name: str) -> Array:
    try:
        array = np.atleast_1d(np.asarray(values, dtype=np.float64))
    except (TypeError, ValueError):
        raise InputError(f"{values!r} is not numeric", field=name) from None
    if array.ndim != 1 or not np.isfinite(array).all():
        raise InputError("not a list of finite numbers", field=name)
    return array


def names_of(tubes: ArrayLike | None, n: int) -> tuple[Any, ...]:
    if tubes is None:
        return ()
    names = tuple(np.atleast_1d(np.asarray(tubes, dtype=object)).tolist())
    if len(names) != n:
        raise InputError(f"{len(names)} values", field="tubes", expected=f"{n} of them")
    return names


def batches_of(replicate: ArrayLike | None, n: int) -> NDArray[np.int_]:
    if replicate is None:
        return np.ones(n, dtype=int)
    given = numbers(replicate, "replicate")
    batch = given.astype(int)
    if (batch != given).any() or (batch < 0).any():
        raise InputError(f"{replicate!r}", field="replicate", expected="whole numbers from 0")
    if batch.shape != (n,):
        raise InputError(f"{batch.size} values", field="replicate", expected=f"{n} of them")
    return batch
