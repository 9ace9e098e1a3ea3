"""Random graphs: a seed becomes a small graph over all primitives, with inputs to run it on.

A graph grows by moves, each of which applies an op to values that exist. Moves keep to what has
one right answer: ops with jumps (comparisons, floor, argmax, conversion to integers) see only
values without rounding errors, functions with poles see arguments away from them once those are
inexact, and indices are in range. What is left may be compared to the last bits (`oracle.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from graphc.ir import sugar as P
from graphc.ir.builder import Builder
from graphc.ir.graph import Graph, Value
from graphc.ir.types import Array, DType, Shape, TensorSpec, bf16, bool_, f16, f32, f64, i32, i64

DIMS = (0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64)
MOST_ELEMENTS = 1 << 16
USUAL_ELEMENTS = 1 << 12  # most values stay below, for the sake of the interpreters' time
SPECIAL_SHARE = 0.3
SPECIALS = (0.0, -0.0, 1.0, -1.0, float("inf"), float("-inf"), float("nan"), 1e-40, 3e38, -1e-45)


@dataclass
class Growth:
    """A graph while it grows: its values, and which of them no rounding has touched."""

    rng: np.random.Generator
    builder: Builder = field(default_factory=Builder)
    values: list[Value] = field(default_factory=list)
    exact: set[Value] = field(default_factory=set)
    inputs: dict[Value, tuple[str, Array]] = field(default_factory=dict)

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def among(self, n: int) -> int:
        return int(self.rng.integers(n))

    def pick(self, test: Callable[[Value], bool]) -> Value | None:
        """A random value that passes, the young ones more often: chains are what gets fused."""
        found = [v for v in self.values if test(v)]
        if not found:
            return None
        return found[max(self.among(len(found)), self.among(len(found)))]

    def new(
        self, shape: Shape, dtype: DType, bound: int = 0, role: str = "arg", special: bool = True
    ) -> Value:
        """A fresh input; integers are below `bound` where it is given."""
        v = self.builder.input(f"x{len(self.inputs)}", TensorSpec(dtype, shape))
        self.inputs[v] = role, self.sample(shape, dtype, bound, special)
        self.exact.add(v)
        self.values.append(v)
        return v

    def divisor(self, x: Value) -> Value:
        """A fresh input of x's type without zeros."""
        v = self.new(x.shape, x.spec.dtype)
        role, array = self.inputs[v]
        self.inputs[v] = role, np.where(array == 0, 3, array).astype(array.dtype)
        return v

    def sample(self, shape: Shape, dtype: DType, bound: int, special: bool) -> Array:
        if dtype is bool_:
            return np.asarray(self.rng.random(shape) < 0.5)
        if not dtype.is_floating_point:
            low, high = (0, bound) if bound else (-100, 100)
            return self.rng.integers(low, max(high, low + 1), shape).astype(dtype.numpy)
        x = self.rng.standard_normal(shape) * 10.0 ** self.rng.integers(-1, 2)
        if special and self.chance(SPECIAL_SHARE):
            odd = self.rng.choice(np.array(SPECIALS), shape)
            x = np.where(self.rng.random(shape) < 0.1, odd, x)
        with np.errstate(over="ignore"):
            return np.asarray(x, np.float64).astype(dtype.numpy)

    def shape(self, rank: int | None = None) -> Shape:
        """Dimensions of an input, small enough."""
        rank = self.among(5) if rank is None else rank
        while True:
            dims = tuple(int(self.rng.choice(DIMS)) for _ in range(rank))
            if 0 in dims and not self.chance(0.15):
                continue
            if np.prod(dims, dtype=int) <= (MOST_ELEMENTS if self.chance(0.05) else USUAL_ELEMENTS):
                return dims

    def add(self, v: Value, *, exact: bool) -> None:
        """Keep a result; what lost nothing to rounding may meet ops that jump."""
        if exact:
            self.exact.add(v)
        if v not in self.values and v.const is None:
            self.values.append(v)

    def add_like(self, v: Value, *args: Value) -> None:
        """A result as exact as what it is made of."""
        whole = not v.spec.dtype.is_floating_point
        self.add(v, exact=whole or all(a in self.exact or a.const is not None for a in args))

    def apply(self, name: str, *args: Value | float, **attrs: object) -> Value:
        return self.builder.apply(name, *args, **attrs)

    def operand_like(self, x: Value) -> Value:
        """Something of x's type: x, a number, another value (perhaps repeated), or an input."""
        draw = self.rng.random()
        if draw < 0.15:
            return x
        if draw < 0.3 and x.spec.dtype is not bool_:
            number = self.rng.choice((0.0, 1.0, -1.0, 2.0, 0.5, 3.0))
            return self.builder.constant(float(number), x.spec)
        same = self.pick(lambda v: v.spec == x.spec and v is not x)
        if same is not None and draw < 0.8:
            return same
        small = self.pick(lambda v: v.spec.dtype is x.spec.dtype and _repeats(v.shape, x.shape))
        if small is None or self.chance(0.3):
            keep = [n if self.chance(0.6) else 1 for n in x.shape]
            small = self.new(tuple(keep), x.spec.dtype)
        rank = len(x.shape) - len(small.shape)
        y = P.expand(P.reshape(small, (1,) * rank + small.shape), x.shape)
        self.add_like(y, small)
        return y


def _repeats(small: Shape, large: Shape) -> bool:
    """Whether `small` broadcasts to `large`, which differs."""
    if len(small) > len(large) or small == large:
        return False
    return all(a in (1, b) for a, b in zip(small, large[len(large) - len(small) :]))


def is_float(v: Value) -> bool:
    return v.spec.dtype.is_floating_point


# ---- elementwise -------------------------------------------------------------------------------

EXACT_UNARY = ("neg", "abs", "relu", "sign", "floor", "ceil", "round", "trunc")
SMOOTH_UNARY = ("tanh", "sigmoid", "erf", "erfc")
STEEP_UNARY = ("exp", "expm1", "sin", "cos")
POLAR_UNARY = ("log", "log1p", "sqrt", "rsqrt")
JUMPS = frozenset({"sign", "floor", "ceil", "round", "trunc"})


def unary(g: Growth) -> None:
    x = g.pick(is_float)
    if x is None:
        return
    name = str(g.rng.choice(EXACT_UNARY + SMOOTH_UNARY + STEEP_UNARY + POLAR_UNARY))
    inexact = x not in g.exact
    if (name in JUMPS and inexact) or (name.startswith("erf") and x.spec.numel > 2000):
        name = "relu"
    if name in STEEP_UNARY and inexact:
        x = g.apply("tanh", x)
    if name in POLAR_UNARY and inexact:
        x = g.apply("abs", x) + 0.5
    out = g.apply(name, x)
    g.add(out, exact=name in EXACT_UNARY and x in g.exact)


def binary(g: Growth) -> None:
    x = g.pick(is_float)
    if x is None:
        return
    name = str(g.rng.choice(("add", "sub", "mul", "div", "maximum", "minimum", "pow")))
    y = g.operand_like(x)
    if name == "div" and y not in g.exact and y.const is None:
        y = g.apply("abs", y) + 0.5
    if name == "pow":
        x, y = _safe_power(g, x, y)
    out = g.apply(name, x, y)
    g.add(out, exact=name in ("maximum", "minimum") and {x, y} <= g.exact)


def _safe_power(g: Growth, x: Value, y: Value) -> tuple[Value, Value]:
    """Bases and exponents near 1 once they are inexact: the result stays of their size.

    A negative base has a power only if the exponent is whole, so the exponent must be exact for it.
    """
    if x not in g.exact:
        x = g.apply("sigmoid", x) + 0.5
    if y not in g.exact and y.const is None:
        x, y = g.apply("abs", x) + 0.5, g.apply("tanh", y)
    return x, y


def comparison(g: Growth) -> None:
    """A comparison of exact values, mostly used at once to choose between two others."""
    x = g.pick(lambda v: v in g.exact)
    if x is None:
        return
    y = g.operand_like(x)
    if y not in g.exact and y.const is None:
        return
    c = g.apply(str(g.rng.choice(("lt", "le", "eq", "ne"))), x, y)
    g.add(c, exact=True)
    a = g.pick(lambda v: v.shape == c.shape)
    if a is not None:
        b = g.operand_like(a)
        g.add_like(g.apply("where", c, a, b), a, b)


def integer(g: Growth) -> None:
    x = g.pick(lambda v: not is_float(v))
    x = g.new(g.shape(), i64) if x is None else x
    y = g.operand_like(x)
    if x.spec.dtype is bool_:
        names = ("and", "or", "xor", "not", "add", "mul", "sub", "maximum")
    else:
        names = ("and", "or", "xor", "not", "shl", "shr", "add", "sub", "mul", "floordiv",
                 "rem", "fmod", "maximum", "minimum", "neg", "abs", "sign", "relu")  # fmt: skip
    name = str(g.rng.choice(names))
    if name in ("floordiv", "rem", "fmod"):  # by an input without zeros, or by what has none
        y = g.divisor(x) if g.chance(0.5) else g.apply("or", y, 1)
    one = name in ("not", "neg", "abs", "sign", "relu")
    g.add(g.apply(name, x) if one else g.apply(name, x, y), exact=True)


def float_remainder(g: Growth) -> None:
    """Floor division and remainders jump, so they see exact values; no quotient is huge."""
    x = g.pick(lambda v: is_float(v) and v in g.exact and v.spec.dtype.itemsize >= 4)
    if x is None:
        return
    number = float(g.rng.choice((1.0, -2.0, 0.75, 3.0)))
    y = g.builder.constant(number, x.spec)
    g.add(g.apply(str(g.rng.choice(("floordiv", "rem", "fmod"))), x, y), exact=False)


def convert(g: Growth) -> None:
    x = g.pick(lambda v: True)
    if x is None:
        return
    old = x.spec.dtype
    new = (f32, f32, f64, f16, bf16, i64, i32, bool_)[g.among(8)]
    if is_float(x) and not new.is_floating_point:
        if x not in g.exact:
            return
        if new is not bool_:  # out of range has no stated value
            finite = g.apply("where", g.apply("eq", x, x), x, 0.0)
            x = g.apply("minimum", g.apply("maximum", finite, -100.0), 100.0)
    exact = x in g.exact and not (new.is_floating_point and new.itemsize < old.itemsize)
    g.add(P.cast(x, new), exact=exact and (is_float(x) or (new is not f16 and new is not bf16)))


# ---- movement ----------------------------------------------------------------------------------


def move(g: Growth) -> None:
    x = g.pick(lambda v: True)
    if x is not None:
        make = MOVES[g.among(len(MOVES))]
        out = make(g, x)
        if out is not None and out.spec.numel <= MOST_ELEMENTS:
            g.add_like(out, x)


def _reshape(g: Growth, x: Value) -> Value:
    """Split and merge dimensions at random."""
    dims = list(x.shape)
    for _ in range(2):
        if dims and g.chance(0.5):
            k = g.among(len(dims))
            factor = int(g.rng.choice((1, 2, 3, 4, 8)))
            if dims[k] % factor == 0:
                dims[k : k + 1] = [dims[k] // factor, factor]
        elif len(dims) > 1:
            k = g.among(len(dims) - 1)
            dims[k : k + 2] = [dims[k] * dims[k + 1]]
    return P.reshape(x, tuple(dims))


def _transpose(g: Growth, x: Value) -> Value:
    return P.transpose(x, tuple(int(k) for k in g.rng.permutation(len(x.shape))))


def _expand(g: Growth, x: Value) -> Value | None:
    at = g.among(len(x.shape) + 1)
    n = int(g.rng.choice((1, 2, 3, 8)))
    if n * x.spec.numel > USUAL_ELEMENTS * 4:
        return None
    wide = P.reshape(x, (*x.shape[:at], 1, *x.shape[at:]))
    return P.expand(wide, (*x.shape[:at], n, *x.shape[at:]))


def _slice(g: Growth, x: Value) -> Value:
    start = tuple(g.among(n + 1) if g.chance(0.4) else 0 for n in x.shape)
    room = [(a, n) for a, n in zip(start, x.shape)]
    stop = tuple(a + g.among(n - a + 1) if g.chance(0.4) else n for a, n in room)
    step = tuple(1 + g.among(3) if g.chance(0.3) else 1 for _ in x.shape)
    return P.slice(x, start, stop, step)


def _pad(g: Growth, x: Value) -> Value:
    low = tuple(g.among(3) if g.chance(0.5) else 0 for _ in x.shape)
    high = tuple(g.among(4) if g.chance(0.5) else 0 for _ in x.shape)
    value = float(g.rng.choice((0.0, 0.0, 1.0, -3.0)))
    return P.pad(x, low, high, 0.0 if x.spec.dtype is bool_ else value)


def _flip(g: Growth, x: Value) -> Value:
    return P.flip(x, tuple(k for k in range(len(x.shape)) if g.chance(0.5)))


def _concat(g: Growth, x: Value) -> Value | None:
    if not x.shape:
        return None
    axis = g.among(len(x.shape))
    parts = [x, g.operand_like(x)]
    half = tuple((n + 1) // 2 if k == axis else n for k, n in enumerate(x.shape))
    cut = P.slice(x, (0,) * len(x.shape), half)
    if g.chance(0.5):
        parts.append(cut)
    if any(p not in g.exact and p.const is None for p in parts) and x in g.exact:
        parts = [x, cut]
    return g.apply("concat", *parts, axis=axis)


def _unfold(g: Growth, x: Value) -> Value | None:
    if not x.shape:
        return None
    axis = g.among(len(x.shape))
    size, step, dilation = 1 + g.among(3), 1 + g.among(3), 1 + g.among(2)
    if (size - 1) * dilation + 1 > x.shape[axis] or size * x.spec.numel > MOST_ELEMENTS:
        return None
    return g.apply("unfold", x, axis=axis, size=size, step=step, dilation=dilation)


def _diagonal(g: Growth, x: Value) -> Value | None:
    if len(x.shape) < 2 or 0 in x.shape[-2:]:
        return None
    n = min(x.shape[-2:])
    square = P.slice(x, (0,) * len(x.shape), (*x.shape[:-2], n, n))
    return g.apply("diagonal", square)


def _contiguous(g: Growth, x: Value) -> Value:
    order = tuple(int(k) for k in g.rng.permutation(len(x.shape)))
    return g.apply("contiguous", x, order=order if g.chance(0.7) else ())


MOVES = (_reshape, _reshape, _transpose, _expand, _slice, _slice, _pad, _pad, _flip, _concat,
         _concat, _unfold, _diagonal, _contiguous)  # fmt: skip


def fold(g: Growth) -> None:
    """Windows added up; a sum, so no movement in what it does to rounding."""
    x = g.pick(lambda v: is_float(v) and len(v.shape) >= 2 and 1 <= v.shape[-1] <= 9)
    if x is None:
        return
    axis = g.among(len(x.shape) - 1)
    step, dilation = 1 + g.among(3), 1 + g.among(2)
    length = max(0, x.shape[axis] - 1) * step + (x.shape[-1] - 1) * dilation + 1 + g.among(3)
    if length * x.spec.numel <= MOST_ELEMENTS * max(1, x.shape[axis]):
        out = g.apply("fold", x, axis=axis, length=length, step=step, dilation=dilation)
        g.add(out, exact=False)


# ---- reductions and contractions ---------------------------------------------------------------


def reduce(g: Growth) -> None:
    x = g.pick(lambda v: v.spec.dtype is not bool_ and len(v.shape) > 0)
    if x is None:
        return
    axes = tuple(k for k in range(len(x.shape)) if g.chance(0.5)) or (len(x.shape) - 1,)
    name = str(g.rng.choice(("sum", "sum", "sum", "max", "min", "prod")))
    if name == "prod" and is_float(x):
        x = g.apply("sigmoid", x) + 0.5
    if name in ("max", "min") and any(x.shape[k] == 0 for k in axes):
        name = "sum"
    out = g.apply(name, x, axes=axes)
    g.add(out, exact=not is_float(x) or (name in ("max", "min") and x in g.exact))


def arg_extreme(g: Growth) -> None:
    """An argmax, sometimes followed by the gather that takes the maximum."""
    x = g.pick(lambda v: v in g.exact and len(v.shape) > 0 and v.spec.dtype is not bool_)
    if x is None:
        return
    axis = g.among(len(x.shape))
    if x.shape[axis] == 0:
        return
    index = g.apply(str(g.rng.choice(("argmax", "argmin"))), x, axis=axis)
    g.add(index, exact=True)
    if g.chance(0.5):
        kept = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
        g.add(g.apply("take_along", x, P.reshape(index, kept), axis=axis), exact=True)


def softmax(g: Growth) -> None:
    """A chain that every net has: reductions read again by elementwise ops over the same rows."""
    x = g.pick(lambda v: is_float(v) and len(v.shape) > 0 and 0 not in v.shape)
    if x is None:
        return
    axes = (g.among(len(x.shape)),)
    top = P.expand_over(g.apply("max", x, axes=axes), axes, x.shape)
    e = g.apply("exp", x - top)
    g.add(e / P.expand_over(P.sum(e, axes), axes, x.shape), exact=False)


def dot(g: Growth) -> None:
    x = g.pick(lambda v: is_float(v) and 1 <= len(v.shape) <= 4)
    if x is None:
        return
    rank = len(x.shape)
    order = [int(k) for k in g.rng.permutation(rank)]
    shared = order[: 1 + (g.chance(0.3) and rank > 1)]
    batch = order[len(shared) : len(shared) + (g.chance(0.4) and rank > len(shared))]
    free = [int(g.rng.choice(DIMS[1:])) for _ in range(g.among(3))]
    dims = [(x.shape[k], k) for k in (*shared, *batch)] + [(n, -1) for n in free]
    dims = [dims[int(k)] for k in g.rng.permutation(len(dims))]
    shape = tuple(n for n, _ in dims)
    kept = x.spec.numel // max(1, int(np.prod([x.shape[k] for k in shared])))
    if np.prod(shape) > MOST_ELEMENTS or kept * np.prod([1, *free]) > MOST_ELEMENTS:
        return
    wanted = TensorSpec(x.spec.dtype, shape)
    y = g.pick(lambda v: v.spec == wanted)
    y = g.new(shape, x.spec.dtype) if y is None else y
    places = {k: at for at, (_, k) in enumerate(dims) if k >= 0}
    out = g.apply("dot", x, y, batch=tuple((k, places[k]) for k in batch),
                  contract=tuple((k, places[k]) for k in shared))  # fmt: skip
    g.add(out, exact=False)


def conv(g: Growth) -> None:
    """A convolution of one or two dimensions with every attribute drawn."""
    x = g.pick(lambda v: is_float(v) and len(v.shape) in (3, 4) and 0 not in v.shape)
    if x is None or g.chance(0.4):
        space = tuple(int(n) for n in g.rng.choice((3, 7, 8, 9, 16), 1 + g.among(2)))
        x = g.new((1 + g.among(4), int(g.rng.choice((1, 2, 3, 4, 6, 8, 16))), *space), f32)
    n = len(x.shape) - 2
    groups = int(g.rng.choice([d for d in (1, 1, 2, 3, 4, 8) if x.shape[1] % d == 0]))
    both = [d for d in (1, 1, 1, 2, 4) if groups == 1 and x.shape[0] % d == 0]
    batch_groups = int(g.rng.choice(both or [1]))
    outs = groups * batch_groups * int(g.rng.choice((1, 2, 3, 4, 8)))
    size = tuple(1 + g.among(min(3, k)) for k in x.shape[2:])
    dilated = g.chance(0.3)
    # No multiplication by an inserted zero is promised, so its product with infinity is not either.
    w = g.new((outs, x.shape[1] // groups, *size), x.spec.dtype, special=not dilated)
    attrs = {
        "stride": tuple(1 + (g.chance(0.3) and g.among(3)) for _ in range(n)),
        "padding": tuple((g.among(3), g.among(3)) for _ in range(n)),
        "lhs_dilation": tuple(1 + (dilated and g.among(3)) for _ in range(n)),
        "rhs_dilation": tuple(1 + (g.chance(0.3) and g.among(2)) for _ in range(n)),
        "groups": groups,
        "batch_groups": batch_groups,
    }
    spans = [(k - 1) * d + 1 for k, d in zip(size, attrs["rhs_dilation"])]  # type: ignore[call-overload]
    rooms = [
        (m - 1) * d + 1 + lo + hi
        for m, d, (lo, hi) in zip(x.shape[2:], attrs["lhs_dilation"], attrs["padding"])  # type: ignore[call-overload]
    ]
    small = outs * x.shape[0] * np.prod(rooms) <= MOST_ELEMENTS
    if small and all(a <= b for a, b in zip(spans, rooms)):
        g.add(g.apply("conv", x, w, **attrs), exact=False)


# ---- indices and sources -----------------------------------------------------------------------


def gather(g: Growth) -> None:
    x = g.pick(lambda v: len(v.shape) > 0 and 0 not in v.shape)
    if x is None:
        return
    axis = g.among(len(x.shape))
    if g.chance(0.5):
        index = _index(
            g, tuple(int(n) for n in g.rng.choice((1, 2, 3, 9), g.among(3))), x.shape[axis]
        )
        rest = x.spec.numel // x.shape[axis]
        if index.spec.numel * rest <= MOST_ELEMENTS:
            g.add_like(g.apply("gather", x, index, axis=axis), x)
        return
    n = int(g.rng.choice((1, 2, 9)))
    index = _index(g, (*x.shape[:axis], n, *x.shape[axis + 1 :]), x.shape[axis])
    g.add_like(g.apply("take_along", x, index, axis=axis), x)


def scatter(g: Growth) -> None:
    x = g.pick(lambda v: len(v.shape) > 0 and v.spec.dtype is not bool_ and v.spec.numel <= 4096)
    if x is None:
        return
    axis, length = g.among(len(x.shape)), int(g.rng.choice((1, 3, 9, 16)))
    if g.chance(0.5):
        rank = 1 + (g.chance(0.3) and axis + 1 < len(x.shape))
        index = _index(g, x.shape[axis : axis + rank], length)
        out = g.apply("scatter_add", x, index, axis=axis, length=length)
    else:
        index = _index(g, x.shape, length)
        shape = (*x.shape[:axis], length, *x.shape[axis + 1 :])
        out = g.apply("put_along", x, index, axis=axis, length=shape[axis])
    g.add(out, exact=not is_float(x))


def _index(g: Growth, shape: Shape, bound: int) -> Value:
    """Indices in range, some checked, some computed."""
    index = g.new(shape, i64, bound)
    g.values.remove(index)
    if g.chance(0.3):
        index = g.apply("rem", index + 7, bound)
    if g.chance(0.5):
        index = g.apply("check_index", index, bound=bound, what="index")
    return index


def source(g: Growth) -> None:
    shape = g.shape(1 + g.among(3))
    if g.chance(0.5):
        dtype = str(g.rng.choice(("i64", "f32", "i32")))
        like = g.values[0]
        g.add(
            like.emit(_op("iota"), shape=shape, axis=g.among(len(shape)), dtype=dtype), exact=True
        )
        return
    seed, draw = (g.new((), i64, 1 << 40, role="scalar") for _ in range(2))
    g.add(g.apply("random_bits", seed, draw, shape=shape), exact=True)


def _op(name: str) -> object:
    from graphc.ir.ops import OPS

    return OPS[name]


# Shares: movement in three of five moves of a usual graph, reductions in half of the graphs.
KINDS: tuple[tuple[Callable[[Growth], None], int], ...] = (
    (unary, 10), (binary, 14), (comparison, 6), (integer, 5), (float_remainder, 2), (convert, 5),
    (move, 32), (fold, 3), (reduce, 10), (arg_extreme, 4), (softmax, 2), (dot, 6), (conv, 6),
    (gather, 4), (scatter, 3), (source, 2),
)  # fmt: skip
DTYPES_OF_INPUTS = (f32, f32, f32, f32, f32, f32, f64, i64, bool_, bf16)


def grow(seed: int) -> tuple[Graph, list[Array]]:
    """The graph of `seed` and inputs for it."""
    g = Growth(np.random.default_rng(seed))
    for _ in range(1 + g.among(3)):
        g.new(g.shape(), DTYPES_OF_INPUTS[g.among(len(DTYPES_OF_INPUTS))])
    weights = np.array([w for _, w in KINDS]) / sum(w for _, w in KINDS)
    for _ in range(3 + g.among(10)):
        KINDS[int(g.rng.choice(len(KINDS), p=weights))][0](g)
    return _finish(g, f"fuzz_{seed}")


def _finish(g: Growth, name: str) -> tuple[Graph, list[Array]]:
    """Return what nobody reads and a little more; some values become the next state of inputs."""
    read = {a for v in g.values for a in v.args}
    made = [v for v in g.values if v.op is not None]
    outs = [v for v in made if v not in read or g.chance(0.15)] or [g.values[0]]
    roles = {v: role for v, (role, _) in g.inputs.items()}
    targets: list[Value | None] = [None] * len(outs)
    for state in list(g.inputs):
        fits = [k for k, v in enumerate(outs) if v.spec == state.spec and targets[k] is None]
        if roles[state] == "arg" and g.chance(0.5) and state.spec.numel:
            same = state * 0.5 if is_float(state) else None
            if fits:
                targets[fits[0]], roles[state] = state, "state"
            elif same is not None and g.chance(0.3):
                outs.append(same)
                targets.append(state)
                roles[state] = "state"
    graph = Graph(name, tuple(roles), tuple(roles.values()), tuple(outs), tuple(targets))
    return graph, [array for _, array in g.inputs.values()]
