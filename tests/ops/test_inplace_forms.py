"""Every elementwise in-place form against torch: values, dtype kept, the tensor itself returned."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.frontend.api import elementwise, logic, special, ternary
from graphc.frontend.api.methods import names_of
from graphc.frontend.registry import ROWS
from tests.op_table import TABLE, Array, OpRow
from tests.ops.rows import floats, samples

torch: Any = pytest.importorskip("torch")

HOMES = {id(f) for module in (elementwise, logic, special, ternary) for f in vars(module).values()}
FORMS = sorted(
    f"{name}_"
    for function, row in ROWS.items()
    if row.inplace is True and id(function) in HOMES
    for name in names_of(function, row)
)
VALUES = [0.25, 0.5, 0.75, 0.125]
TWO = (
    *("add", "sub", "subtract", "mul", "multiply", "div", "divide", "true_divide", "fmod", "pow"),
    *("remainder", "floor_divide", "atan2", "arctan2", "hypot", "xlogy", "copysign", "heaviside"),
    *("float_power", "ldexp", "eq", "ne", "not_equal", "lt", "less", "le", "less_equal", "gt"),
    *("greater", "ge", "greater_equal", "logical_and", "logical_or", "logical_xor"),
)
WHOLE = ("bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_left_shift", "bitwise_right_shift")
NUMBERS: dict[str, tuple[Any, ...]] = {
    "clamp": (0.3, 0.6),
    "clip": (0.3, 0.6),
    "clamp_min": (0.3,),
    "clamp_max": (0.3,),
    "polygamma": (1,),
    "mvlgamma": (1,),
}


def written(T: Any, name: str) -> Any:
    x = T.tensor(VALUES)
    other = T.tensor([0.5, 0.25, 0.75, 2.0])
    if name in WHOLE:
        x, args = T.tensor([5, 9, 12, 3]), (T.tensor([1, 2, 3, 1]),)
    elif name == "bitwise_not":
        x, args = T.tensor([5, 9]), ()
    elif name in ("acosh", "arccosh"):
        x, args = x + 1, ()
    elif name == "lerp":
        args = (other, 0.25)
    elif name in ("addcmul", "addcdiv"):
        args = (other, other)
    elif name == "masked_fill":
        args = (x > 0.3, 2.0)
    elif name == "float_power":
        x, args = x.double(), (other,)
    else:
        args = (other,) if name in TWO else NUMBERS.get(name, ())
    out = getattr(x, name + "_")(*args)
    assert out is x
    return x


@pytest.mark.parametrize("form", FORMS)
def test_in_place_form_matches_torch(form: str) -> None:
    ours, theirs = written(graphc, form[:-1]), written(torch, form[:-1])
    assert ours.dtype.long_name == str(theirs.dtype).removeprefix("torch.")
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=3e-6, atol=1e-7)


def test_torch_has_no_elementwise_form_that_is_missing() -> None:
    """Those outside the issue's list are named."""
    left_out = {"conj_physical_", "gcd_", "lcm_", "i0_", "igamma_", "igammac_", "mvlgamma_"}
    left_out |= {"nextafter_"}
    functions = {n[:-1] for n in dir(torch.Tensor) if n.endswith("_") and not n.startswith("_")}
    x, y = torch.tensor([0.5, 0.25]), torch.tensor([0.25, 0.5])
    for name in sorted(functions):
        function = getattr(torch, name, None)
        if function is None or f"{name}_" in left_out:
            continue
        for args in ((x,), (x, y)):
            try:
                like = function(*args).shape == x.shape and name not in SHAPED
            except (TypeError, RuntimeError, IndexError):
                continue
            assert not like or hasattr(graphc.Tensor, name + "_"), name


SHAPED = frozenset(
    (
        *("squeeze", "t", "addr", "addbmm", "addmm", "addmv", "baddbmm", "cumsum", "cumprod"),
        *("bernoulli", "renorm", "dropout", "alpha_dropout", "resize_as", "detach"),
    )
)


def test_the_target_keeps_its_dtype() -> None:
    half = graphc.ones(2, dtype=graphc.float16)
    half += graphc.ones(2, dtype=graphc.float64)
    assert half.dtype is graphc.float16 and half.tolist() == [2.0, 2.0]
    whole = graphc.tensor([0, 3])
    assert whole.logical_not_().tolist() == [1, 0] and whole.dtype is graphc.int64


# ---- writes to what a derivative reads -----------------------------------------------------------

SHARED = {"unfold", "as_strided", "as_strided_overlap"}  # PyTorch writes to elements seen twice


def after_write(T: Any, row: OpRow, arrays: list[Array], k: int, to_result: bool) -> Any:
    """The gradient of operand k though it, or the result, was written later; None if refused."""
    xs = [T.tensor(a) for a in arrays]
    leaf = xs[k].requires_grad_()
    xs[k] = leaf * 1.0
    try:
        y = row.fn(T, *xs)
        with T.no_grad() if not to_result else contextlib.nullcontext():
            (y if to_result else xs[k]).add_(1.0)
        y.sum().backward()
    except RuntimeError:
        return None
    return leaf.grad.numpy()


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("to_result", [False, True], ids=["operand", "result"])
@pytest.mark.parametrize("row", [r for r in TABLE if r.grad and r.name not in SHARED], ids=str)
def test_later_writes_are_refused_only_where_torch_refuses(row: OpRow, to_result: bool) -> None:
    arrays = samples(row, np.float64)
    for k in floats(arrays):
        theirs = after_write(torch, row, arrays, k, to_result)
        if theirs is not None:
            ours = after_write(graphc, row, arrays, k, to_result)
            np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-9)
