"""torch.testing's names: equality up to rounding of numbers, tensors and containers, and tensors to
test with."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphc.errors import InvalidArgument, InvalidType
from graphc.frontend.api.creation import empty
from graphc.frontend.api.limits import finfo, iinfo
from graphc.frontend.api.random import randint
from graphc.frontend.promotion import promote_types
from graphc.frontend.tensor import Tensor
from graphc.ir.types import DType, bf16, bool_, f16, f32, f64, i64

__all__ = ["assert_close", "make_tensor"]

TOLERANCES: dict[Any, tuple[float, float]] = {
    f16: (1e-3, 1e-5),
    bf16: (1.6e-2, 1e-5),
    f32: (1.3e-6, 1e-5),
    f64: (1e-7, 1e-7),
    float: (1e-7, 1e-7),
}  # relative and absolute; of all else zero
Message = str | Callable[[str], str] | None


class Options(NamedTuple):
    """What the caller asked for."""

    rtol: float | None
    atol: float | None
    equal_nan: bool
    check_device: bool
    check_dtype: bool
    check_stride: bool

    def tolerances(self, *kinds: Any) -> tuple[float, float]:
        if self.rtol is not None and self.atol is not None:
            return self.rtol, self.atol
        known = [TOLERANCES.get(k, (0.0, 0.0)) for k in kinds]
        return max(r for r, _ in known), max(a for _, a in known)


def assert_close(
    actual: Any,
    expected: Any,
    *,
    allow_subclasses: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_device: bool = True,
    check_dtype: bool = True,
    check_layout: bool = True,
    check_stride: bool = False,
    msg: Message = None,
) -> None:
    """AssertionError unless |actual - expected| <= atol + rtol * |expected| everywhere.

    Takes tensors, numbers, None, and sequences and mappings of these. The tolerances are those of
    the dtype unless both are given. Shapes must agree, and what the check_ flags name.
    """
    if (rtol is None) != (atol is None):
        lacking = "rtol" if rtol is None else "atol"
        raise InvalidArgument(
            f"Both 'rtol' and 'atol' must be either specified or omitted, but got no {lacking}."
        )
    options = Options(rtol, atol, equal_nan, check_device, check_dtype, check_stride)
    fault = _fault(actual, expected, options, allow_subclasses, "")
    if fault:
        raise AssertionError(fault if msg is None else msg if isinstance(msg, str) else msg(fault))


def _fault(a: Any, b: Any, options: Options, subclasses: bool, at: str) -> str:
    """What is wrong; "" if nothing. `at` says where in the containers."""
    related = isinstance(a, type(b)) or isinstance(b, type(a))
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        if not subclasses and type(a) is not type(b):
            raise _no_pair(a, b)
        fault = _of_tensors(a, b, options)
    elif isinstance(a, Mapping) and isinstance(b, Mapping):
        return _of_mappings(a, b, options, subclasses, at)
    elif _is_sequence(a) and _is_sequence(b):
        return _of_sequences(a, b, options, subclasses, at)
    elif isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        fault = _of_arrays(a, b, *options.tolerances(*_kinds(a, b)), options.equal_nan)
    elif _is_number(a) and _is_number(b):
        fault = _of_numbers(a, b, options)
    elif a is None and b is None:
        fault = ""
    else:
        raise _no_pair(a, b, related)
    return f"{fault}\n\nThe failure occurred for item {at}" if fault and at else fault


def _no_pair(a: Any, b: Any, related: bool = False) -> InvalidType:
    return InvalidType(
        f"No comparison pair was able to handle inputs of type {type(a)} and {type(b)}.",
        why="tensors, numbers, None, sequences and mappings are compared with their own kind",
    )


def _is_number(x: Any) -> bool:
    return isinstance(x, bool | int | float | np.generic)


def _is_sequence(x: Any) -> bool:
    return isinstance(x, Sequence) and not isinstance(x, str)


def _of_mappings(a: Any, b: Any, options: Options, subclasses: bool, at: str) -> str:
    missing, more = sorted(set(b) - set(a), key=repr), sorted(set(a) - set(b), key=repr)
    if missing or more:
        rows = ["The keys of the mappings do not match:"]
        rows += [f"Missing keys in the actual mapping: {missing}"] if missing else []
        rows += [f"Additional keys in the actual mapping: {more}"] if more else []
        return "\n".join(rows)
    faults = (_fault(a[k], b[k], options, subclasses, f"{at}[{k!r}]") for k in b)
    return next((f for f in faults if f), "")


def _of_sequences(a: Any, b: Any, options: Options, subclasses: bool, at: str) -> str:
    if len(a) != len(b):
        return f"The length of the sequences mismatch: {len(a)} != {len(b)}"
    pairs = enumerate(zip(a, b))
    faults = (_fault(x, y, options, subclasses, f"{at}[{k}]") for k, (x, y) in pairs)
    return next((f for f in faults if f), "")


def _of_numbers(a: Any, b: Any, options: Options) -> str:
    if options.check_dtype and type(a) is not type(b):
        return f"The (d)types do not match: {type(a)} != {type(b)}."
    rtol, atol = options.tolerances(type(a), type(b))
    if a == b or (options.equal_nan and a != a and b != b) or abs(a - b) <= atol + rtol * abs(b):
        return ""
    relation = "equal" if rtol == atol == 0 else "close"
    allowed = (f" (up to {t} allowed)" if relation == "close" else "" for t in (atol, rtol))
    return (
        f"Scalars are not {relation}!\n\nExpected {b} but got {a}.\n"
        f"Absolute difference: {abs(a - b)}{next(allowed)}\n"
        f"Relative difference: {abs(a - b) / abs(b) if b else np.inf}{next(allowed)}"
    )


def _of_tensors(a: Tensor, b: Tensor, options: Options) -> str:
    checks = [("shape", tuple(a.shape), tuple(b.shape))]
    checks += [("device", a.device, b.device)] if options.check_device else []  # type: ignore[list-item]
    checks += [("dtype", a.dtype, b.dtype)] if options.check_dtype else []  # type: ignore[list-item]
    checks += [("stride()", a.stride(), b.stride())] if options.check_stride else []
    for name, x, y in checks:
        if x != y:
            return f"The values for attribute '{name}' do not match: {x} != {y}."
    kinds: tuple[DType, DType] = (a.dtype, b.dtype)
    if a.dtype is not b.dtype:
        common = promote_types(a.dtype, b.dtype)
        a, b = a.to(common), b.to(common)
    tolerances = options.tolerances(*kinds)
    return _of_arrays(a.detach().host(), b.detach().host(), *tolerances, options.equal_nan)


def _kinds(*arrays: Any) -> list[DType | None]:
    known = {np.dtype(np.float16): f16, np.dtype(np.float32): f32, np.dtype(np.float64): f64}
    return [known.get(a.dtype) for a in arrays]


def _of_arrays(a: Any, b: Any, rtol: float, atol: float, equal_nan: bool) -> str:
    if a.shape != b.shape:
        return f"The values for attribute 'shape' do not match: {a.shape} != {b.shape}."
    exact = a.dtype.kind in "iu"
    x, y = (v.astype(object if exact else np.float64) for v in (a, b))
    with np.errstate(all="ignore"):
        distance = abs(x - y)
        good = (a == b) | (distance <= atol + rtol * abs(y))
        good |= (a != a) & (b != b) if equal_nan else False
        good = good.astype(bool)
        if good.all():
            return ""
        relative = np.where(good, 0, distance.astype(float)) / abs(y.astype(float))
    relation = "equal" if rtol == atol == 0 else "close"
    rows = [f"Tensor-likes are not {relation}!", ""]
    if a.ndim:
        count = int((~good).sum())
        share = f"{count / good.size:.1%}"
        rows.append(f"Mismatched elements: {count} / {good.size} ({share})")
    wrong = np.where(good, 0, distance.astype(float))
    for name, values, allowed in (("absolute", wrong, atol), ("relative", relative, rtol)):
        rows.append(_greatest(name, values, allowed, relation == "close"))
    return "\n".join(rows)


def _greatest(name: str, values: Any, allowed: float, close: bool) -> str:
    known = np.where(np.isnan(values), -1, values) if not np.isnan(values).all() else values
    place = np.unravel_index(int(np.argmax(known)), values.shape)
    where = f" at index {tuple(int(k) for k in place)}" if values.ndim else ""
    limit = f" (up to {allowed} allowed)" if close else ""
    return f"Greatest {name} difference: {values[place]}{where}{limit}"


# ---- tensors to test with ------------------------------------------------------------------------


def make_tensor(
    *shape: Any,
    dtype: DType,
    device: Any,
    low: float | None = None,
    high: float | None = None,
    requires_grad: bool = False,
    noncontiguous: bool = False,
    exclude_zero: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """A tensor of a shape, its elements drawn evenly from low to high (exclusive).

    -9 to 9 of floats, -9 to 10 of integers, all of the dtype where it has less. `noncontiguous`:
    every second element of a larger one; `exclude_zero`: 1, or the least normal number, for 0.
    Raises InvalidArgument for bounds that the dtype has not, or that do not rise.
    """
    sizes = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], Sequence) else shape
    whole = not dtype.is_floating_point
    if noncontiguous and memory_format is not None:
        raise InvalidArgument(
            "The parameters `noncontiguous` and `memory_format` are mutually exclusive"
        )
    if requires_grad and whole:
        raise InvalidArgument(
            f"`requires_grad=True` is not supported for boolean and integral dtypes, got {dtype}"
        )
    first, last = _interval(dtype, low, high)
    apart = noncontiguous and math.prod(sizes) > 1
    drawn = (*sizes[:-1], 2 * sizes[-1]) if apart else sizes
    if whole:
        out = randint(math.ceil(first), math.ceil(last), drawn, dtype=dtype, device=device)
    else:
        out = empty(drawn, dtype=dtype, device=device).uniform_(first, last)
    if apart:
        out = out[..., 1::2]
    elif memory_format is not None:
        out = out.clone(memory_format=memory_format)
    if exclude_zero:
        out.masked_fill_(out == 0, 1 if whole else finfo(dtype).tiny)
    return out.requires_grad_(requires_grad) if requires_grad else out


def _interval(dtype: DType, low: float | None, high: float | None) -> tuple[float, float]:
    """The bounds to draw from, within what the dtype has."""
    if dtype is bool_:
        lowest, beyond, usual = 0.0, 2.0, (0.0, 2.0)
    elif dtype.is_floating_point:
        lowest, beyond, usual = finfo(dtype).min, finfo(dtype).max, (-9.0, 9.0)
    else:
        lowest, beyond = iinfo(dtype).min, iinfo(dtype).max + (dtype is not i64)
        usual = (-9.0, 10.0)
    first, last = (usual[0] if low is None else low), (usual[1] if high is None else high)
    if first != first or last != last:
        raise InvalidArgument(f"`low` and `high` cannot be NaN, but got {low} and {high}")
    if first > last or (first == last and not dtype.is_floating_point):
        raise InvalidArgument(f"`low` must be less than `high`, but got {first} >= {last}")
    if last < lowest or first >= beyond:
        raise InvalidArgument(
            f"The value interval specified by `low` and `high` is [{first}, {last}), but {dtype} "
            f"only supports [{lowest}, {beyond})"
        )
    return min(max(first, lowest), beyond), min(max(last, lowest), beyond)
