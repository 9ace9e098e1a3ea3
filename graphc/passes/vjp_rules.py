"""Derivatives: for each op, one rule for each operand, each a line over the same operators.

A rule takes (g, z, *operands, **attrs): the cotangent of the output, the output, the operands.
A parameter whose name begins with _ is read for its type only, so the tape need not keep it. A
number stands for a constant operand. None in place of a rule: the operand (a condition, an index)
has no derivative. `concat` takes any number of operands, so its one rule is told which.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import accumulate
from math import pi, sqrt
from typing import Any

from graphc.ir import sugar as P
from graphc.ir.sizes import same
from graphc.ir.type_rules import Pairs
from graphc.ir.types import Shape
from graphc.passes import matrix_rules as M
from graphc.passes import product_rules as R
from graphc.passes import scatter_rules as S

Rule = Callable[..., Any]


def zero(g: Any, _z: Any, *_operands: Any) -> Any:
    return P.full_like(g, 0.0)


# ---- elementwise -------------------------------------------------------------------------------


def compare(op: str, x: Any, y: Any) -> Any:
    return P.apply(op, x, y)


def select(condition: Any, x: Any, y: Any) -> Any:
    return P.where(condition, x, y)


def extreme(worse: Callable[[Any, Any], Any]) -> tuple[Rule, Rule]:
    """maximum and minimum: the whole to the better operand, half to each on a tie."""

    def share(g: Any, x: Any, y: Any) -> Any:
        return select(worse(x, y), 0.0, select(compare("eq", x, y), g * 0.5, g))

    return lambda g, _z, x, y: share(g, x, y), lambda g, _z, x, y: share(g, y, x)


def less(x: Any, y: Any) -> Any:
    return compare("lt", x, y)


def greater(x: Any, y: Any) -> Any:
    return compare("lt", y, x)


def power_base(g: Any, _z: Any, x: Any, y: Any) -> Any:
    """y * x^(y-1), and 0 where y is 0 whatever x."""
    if isinstance(y, int | float):
        return P.full_like(g, 0.0) if y == 0 else g * power(x, y - 1) * y
    d = g * (y * power(x, y - 1.0))
    return select(compare("eq", y, 0.0), 0.0, d)


def power(x: Any, y: Any) -> Any:
    if isinstance(y, int | float) and y in (1, 2):
        return x if y == 1 else x * x
    return P.apply("pow", x, y)


def power_exponent(g: Any, z: Any, x: Any, y: Any) -> Any:
    """z * log(x), and 0 at x = 0 with y >= 0, where the logarithm is -inf."""
    if isinstance(x, int | float):
        x = P.full_like(z, x)
    flat = P.apply("and", compare("eq", x, 0.0), compare("le", P.full_like(z, 0.0), y))
    return select(flat, 0.0, g * (z * P.apply("log", x)))


def square(x: Any) -> Any:
    return x * x


def one_less_square(x: Any) -> Any:
    return (1.0 - x) * (x + 1.0)


def over_square(part: Any, y: Any, x: Any) -> Any:
    """part / (x^2 + y^2), and 0 at the origin."""
    square = x * x + y * y
    return select(compare("eq", square, 0.0), 0.0, part / square)


def cast(g: Any, _z: Any, _x: Any, *, dtype: str) -> Any:
    return P.cast(g, _x.spec.dtype) if _x.spec.dtype.is_floating_point else None


# ---- movement and reduce -----------------------------------------------------------------------


def inverse(perm: Shape) -> Shape:
    return tuple(sorted(range(len(perm)), key=perm.__getitem__))


def expand(g: Any, _z: Any, _x: Any, *, shape: Shape) -> Any:
    old = _x.spec.shape
    axes = tuple(k for k, (n, m) in enumerate(zip(old, shape)) if not same(n, m))
    return P.reshape(P.sum(g, axes), old)


def slice_(g: Any, _z: Any, _x: Any, *, start: Shape, stop: Shape, step: Shape) -> Any:
    return P.unslice(g, _x.spec.shape, start, step)


def pad(g: Any, _z: Any, _x: Any, *, low: Shape, high: Shape, value: float = 0.0) -> Any:
    stop = tuple(a + n for a, n in zip(low, _x.spec.shape))
    return P.slice(g, low, stop)


def concat(g: Any, _z: Any, *_xs: Any, axis: int, argument: int) -> Any:
    ends = list(accumulate(x.spec.shape[axis] for x in _xs))
    start = [0] * len(g.spec.shape)
    stop = list(g.spec.shape)
    start[axis], stop[axis] = ends[argument] - _xs[argument].spec.shape[axis], ends[argument]
    return P.slice(g, tuple(start), tuple(stop))


def unfold(g: Any, _z: Any, _x: Any, *, axis: int, size: int, step: int, dilation: int) -> Any:
    length = _x.spec.shape[axis]
    return P.apply("fold", g, axis=axis, length=length, step=step, dilation=dilation)


def diagonal(g: Any, _z: Any, _x: Any) -> Any:
    return M.diagonal(g)


def fold(g: Any, _z: Any, _x: Any, *, axis: int, length: int, step: int, dilation: int) -> Any:
    shape = _x.spec.shape
    windows = P.apply("unfold", g, axis=axis, size=shape[-1], step=step, dilation=dilation)
    return P.slice(windows, (0,) * len(shape), shape)


def extreme_of(g: Any, z: Any, x: Any, *, axes: Shape, nans: bool = False) -> Any:
    """max and min share their cotangent equally among ties, or all that are NaN with `nans`."""
    shape = x.spec.shape
    ties = compare("eq", x, P.expand_over(z, axes, shape))
    ties = P.cast(P.apply("or", ties, compare("ne", x, x)) if nans else ties, g.spec.dtype)
    return P.expand_over(g / P.sum(ties, axes), axes, shape) * ties


# ---- contract ----------------------------------------------------------------------------------


def free(rank: int, taken: Sequence[int]) -> list[int]:
    return [k for k in range(rank) if k not in taken]


def dot_side(
    g: Any, _mine: Any, other: Any, batch: Pairs, contract: Pairs, first: bool, **how: Any
) -> Any:
    """One operand's cotangent: g contracted with the other operand's free dimensions.

    The pairs are (my dimension, the other's); `first` says whether my free dimensions come first
    in g. The result arrives as batch, my free, contracted in the other's order; then sorts."""
    mine_batch, other_batch = [i for i, _ in batch], [j for _, j in batch]
    mine_free = free(len(_mine.spec.shape), [i for i, _ in (*batch, *contract)])
    other_free = free(len(other.spec.shape), [j for _, j in (*batch, *contract)])
    begin = len(batch) + (len(mine_free) if first else 0)
    d = P.apply(
        "dot",
        g,
        other,
        batch=tuple(enumerate(other_batch)),
        contract=tuple((begin + k, j) for k, j in enumerate(other_free)),
        **how,
    )
    arrived = [*mine_batch, *mine_free, *(i for i, _ in sorted(contract, key=lambda p: p[1]))]
    return P.transpose(d, inverse(tuple(arrived)))


def dot_left(g: Any, _z: Any, _x: Any, y: Any, *, batch: Pairs, contract: Pairs, **how: Any) -> Any:
    return dot_side(g, _x, y, batch, contract, True, **how)


def dot_right(
    g: Any, _z: Any, x: Any, _y: Any, *, batch: Pairs, contract: Pairs, **how: Any
) -> Any:
    turned = [tuple((j, i) for i, j in pairs) for pairs in (batch, contract)]
    return dot_side(g, _y, x, turned[0], turned[1], False, **how)


def conv_input(g: Any, _z: Any, _x: Any, w: Any, **attrs: Any) -> Any:
    """Correlate the spread cotangent with the flipped filters, in and out channels exchanged."""
    parts, groups = attrs.pop("batch_groups", 1), attrs.pop("groups", 1)
    if parts > 1:
        d = _conv_input(g, _as_groups(_x.spec.shape, parts), w, groups=parts, **attrs)
        return from_groups(d, parts)
    return _conv_input(g, _x.spec.shape, w, groups=groups, **attrs)


def _conv_input(
    g: Any,
    shape: Shape,
    w: Any,
    *,
    stride: Shape,
    padding: Pairs,
    lhs_dilation: Shape,
    rhs_dilation: Shape,
    groups: int,
    **how: int,
) -> Any:
    """Output place p and tap k met input place u = p*stride + k*rhs_dilation - low, so u meets the
    spread cotangent at u + low - k*rhs_dilation. Padding that comes out negative is cut instead.

    Of a spread input only every lhs_dilation'th place is asked for: that is a stride, unless the
    cotangent is spread as well, or cut where it begins."""
    kernel, space = w.spec.shape[2:], shape[2:]
    pads, start, stop = [], [0, 0], [shape[0], shape[1]]
    strides, steps = list[int](), [1, 1]
    for n, k, p, s, (lo, _), ld, rd in zip(
        space, kernel, g.spec.shape[2:], stride, padding, lhs_dilation, rhs_dilation
    ):
        length = max((n - 1) * ld + 1, 0)
        low, high = (k - 1) * rd - lo, length + lo - ((p - 1) * s + 1)
        pads.append((max(low, 0), max(high, 0)))
        by_stride = s == 1 and low >= 0
        strides.append(ld if by_stride else 1)
        steps.append(1 if by_stride else ld)
        start.append(max(-low, 0))
        stop.append(n if by_stride else max(-low, 0) + length)
    d = P.apply(
        "conv",
        g,
        _swap_channels(w, groups),
        stride=tuple(strides),
        padding=tuple(pads),
        lhs_dilation=stride,
        rhs_dilation=rhs_dilation,
        groups=groups,
        batch_groups=1,
        **how,
    )
    return P.slice(d, tuple(start), tuple(stop), tuple(steps))


def _swap_channels(w: Any, groups: int) -> Any:
    """[G*o, c, *K] -> [G*c, o, *K] with the kernel flipped."""
    o, c, *kernel = w.spec.shape
    space = tuple(range(2, 2 + len(kernel)))
    w = P.flip(w, space)
    if groups == 1:
        return P.transpose(w, (1, 0, *space))
    w = P.reshape(w, (groups, o // groups, c, *kernel))
    w = P.transpose(w, (0, 2, 1, *(k + 1 for k in space)))
    return P.reshape(w, (groups * c, o // groups, *kernel))


def conv_weight(g: Any, _z: Any, x: Any, _w: Any, **attrs: Any) -> Any:
    """Correlate input with cotangent, batch and channels exchanged, stride and dilation too."""
    parts, groups = attrs.pop("batch_groups", 1), attrs.pop("groups", 1)
    how = {name: attrs.pop(name) for name in ("winograd",) if name in attrs}
    if parts > 1:
        x, groups = to_groups(x, parts), parts
    space = tuple(range(2, len(x.spec.shape)))
    x, padding = _read_by_taps(x, g.spec.shape, _w.spec.shape, **attrs)
    d = P.apply(
        "conv",
        P.transpose(x, (1, 0, *space)),
        P.transpose(g, (1, 0, *space)),
        stride=attrs["rhs_dilation"],
        padding=padding,
        lhs_dilation=attrs["lhs_dilation"],
        rhs_dilation=attrs["stride"],
        groups=1,
        batch_groups=groups,
        **how,
    )
    c, o = d.spec.shape[:2]
    d = P.slice(d, (0,) * len(d.spec.shape), (c, o, *_w.spec.shape[2:]))
    return P.transpose(d, (1, 0, *space))


def _read_by_taps(
    x: Any,
    out: Shape,
    kernel: Shape,
    *,
    stride: Shape,
    padding: Pairs,
    lhs_dilation: Shape,
    rhs_dilation: Shape,
) -> tuple[Any, Pairs]:
    """The part of the padded input that some tap meets, so that no tap too many is computed.

    A strided convolution need not reach the end of its input; what is behind its reach is cut."""
    pads, stop = [], list(x.spec.shape)
    for d, (p, k, s, (lo, hi), ld, rd) in enumerate(
        zip(out[2:], kernel[2:], stride, padding, lhs_dilation, rhs_dilation), start=2
    ):
        reach = (k - 1) * rd + (p - 1) * s + 1
        behind = (stop[d] - 1) * ld + 1 + lo + hi - reach
        if ld == 1 and behind > hi:
            stop[d] -= behind - hi
        pads.append((lo, max(hi - behind, 0) if ld == 1 else hi))
    return P.slice(x, (0,) * len(stop), tuple(stop)), tuple(pads)


def _as_groups(shape: Shape, parts: int) -> Shape:
    return (shape[0] // parts, parts * shape[1], *shape[2:])


def to_groups(x: Any, parts: int) -> Any:
    """[B*n, c, *S] -> [n, B*c, *S]: a conv with batch groups is one with groups over this."""
    n, c, *space = x.spec.shape
    x = P.reshape(x, (parts, n // parts, c, *space))
    x = P.transpose(x, (1, 0, 2, *range(3, 3 + len(space))))
    return P.reshape(x, (n // parts, parts * c, *space))


def from_groups(x: Any, parts: int) -> Any:
    n, c, *space = x.spec.shape
    x = P.reshape(x, (n, parts, c // parts, *space))
    x = P.transpose(x, (1, 0, 2, *range(3, 3 + len(space))))
    return P.reshape(x, (n * parts, c // parts, *space))


# ---- attention ---------------------------------------------------------------------------------


def attention_operand(op: str) -> Rule:
    """The cotangent of q, k or v: the weights are computed again from their rows' statistics."""

    def rule(
        g: Any, z: Any, q: Any, k: Any, v: Any, mask: Any, seed: Any, draw: Any, **attrs: Any
    ) -> Any:
        operands = (q, k, v, mask, seed, draw)
        lse = P.apply("attention_lse", *operands, **attrs)
        return P.apply(op, *operands, z, lse, g, **attrs)

    return rule


# ---- index -------------------------------------------------------------------------------------


# ---- the rows ----------------------------------------------------------------------------------

# fmt: off
VJP: dict[str, tuple[Rule | None, ...]] = {
    "neg":     (lambda g, _z, _x: -g,),
    "abs":     (lambda g, _z, x: g * P.apply("sign", x),),
    "sign":    (zero,),
    "relu":    (lambda g, z, _x: select(compare("le", z, 0.0), 0.0, g),),  # relu'(NaN) is 1
    "exp":     (lambda g, z, _x: g * z,),
    "expm1":   (lambda g, z, _x: g * (z + 1.0),),
    "log":     (lambda g, _z, x: g / x,),
    "log1p":   (lambda g, _z, x: g / (x + 1.0),),
    "sin":     (lambda g, _z, x: g * P.apply("cos", x),),
    "cos":     (lambda g, _z, x: -(g * P.apply("sin", x)),),
    "asin":    (lambda g, _z, x: g / P.apply("sqrt", one_less_square(x)),),
    "acos":    (lambda g, _z, x: -(g / P.apply("sqrt", one_less_square(x))),),
    "atan":    (lambda g, _z, x: g / (x * x + 1.0),),
    "sinh":    (lambda g, _z, x: g * P.apply("cosh", x),),
    "cosh":    (lambda g, _z, x: g * P.apply("sinh", x),),
    "asinh":   (lambda g, _z, x: g / P.apply("sqrt", x * x + 1.0),),
    "acosh":   (lambda g, _z, x: g / P.apply("sqrt", x * x - 1.0),),
    "atanh":   (lambda g, _z, x: g / one_less_square(x),),
    "tanh":    (lambda g, z, _x: g * (1.0 - z * z),),
    "sigmoid": (lambda g, z, _x: g * ((1.0 - z) * z),),
    "erf":     (lambda g, _z, x: g * (P.apply("exp", -(x * x)) * (2 / sqrt(pi))),),
    "erfc":    (lambda g, _z, x: g * (P.apply("exp", -(x * x)) * (-2 / sqrt(pi))),),
    "erfcx":   (lambda g, z, x: g * (x * z * 2.0 - 2 / sqrt(pi)),),
    "erfinv":  (lambda g, _z, x: g * (P.apply("exp", square(P.apply("erfinv", x)))
                                     * (sqrt(pi) / 2)),),
    "lgamma":  (lambda g, _z, x: g * P.apply("polygamma", x, n=0),),
    "polygamma": (lambda g, _z, x, *, n: g * P.apply("polygamma", x, n=n + 1),),
    "sqrt":    (lambda g, z, _x: g / (z * 2.0),),
    "rsqrt":   (lambda g, z, _x: g * (z * z * z) * -0.5,),
    "floor":   (zero,),
    "ceil":    (zero,),
    "round":   (zero,),
    "trunc":   (zero,),
    "cast":    (cast,),
    "add":     (lambda g, _z, _x, _y: g, lambda g, _z, _x, _y: g),
    "sub":     (lambda g, _z, _x, _y: g, lambda g, _z, _x, _y: -g),
    "mul":     (lambda g, _z, _x, y: g * y, lambda g, _z, x, _y: g * x),
    "div":     (lambda g, _z, _x, y: g / y, lambda g, _z, x, y: -(g * (x / y / y))),
    "floordiv": (zero, zero),
    "rem":     (lambda g, _z, _x, _y: g, lambda g, _z, x, y: -(g * P.apply("floordiv", x, y))),
    "fmod":    (lambda g, _z, _x, _y: g, lambda g, _z, x, y: -(g * P.apply("trunc", x / y))),
    "pow":     (power_base, power_exponent),
    "atan2":   (lambda g, _z, y, x: g * over_square(x, y, x),
                lambda g, _z, y, x: -(g * over_square(y, y, x))),
    "hypot":   (lambda g, z, x, _y: g * (x / z), lambda g, z, _x, y: g * (y / z)),
    "maximum": extreme(less),
    "minimum": extreme(greater),
    "check":   (lambda g, _z, _x, _c, **_what: g, None),
    "where":   (None, lambda g, _z, c, _x, _y: select(c, g, 0.0),
                lambda g, _z, c, _x, _y: select(c, 0.0, g)),
    "reshape": (lambda g, _z, _x, *, shape: P.reshape(g, _x.spec.shape),),
    "transpose": (lambda g, _z, _x, *, perm: P.transpose(g, inverse(perm)),),
    "expand":  (expand,),
    "slice":   (slice_,),
    "pad":     (pad,),
    "flip":    (lambda g, _z, _x, *, axes: P.flip(g, axes),),
    "concat":  (concat,),
    "unfold":  (unfold,),
    "fold":    (fold,),
    "diagonal": (diagonal,),
    "contiguous": (lambda g, _z, _x: g,),
    "sum":     (lambda g, _z, _x, *, axes: P.expand_over(g, axes, _x.spec.shape),),
    "prod":    (R.prod,),
    "max":     (extreme_of,),
    "min":     (extreme_of,),
    "dot":     (dot_left, dot_right),
    "conv":    (conv_input, conv_weight),
    "attention": (attention_operand("attention_dq"), attention_operand("attention_dk"),
                  attention_operand("attention_dv"), None, None, None),
    "gather":  (lambda g, _z, _x, index, *, axis: P.apply(
        "scatter_add", g, index, axis=axis, length=_x.spec.shape[axis]), None),
    "scatter_add": (lambda g, _z, _x, index, *, axis, length: P.apply(
        "gather", g, index, axis=axis), None),
    "take_along": (lambda g, _z, _x, index, *, axis: P.put_along(
        g, index, axis, _x.spec.shape), None),
    "put_along":  (lambda g, _z, _x, index, *, axis, length: P.apply(
        "take_along", g, index, axis=axis), None),
    "scatter_reduce": (S.target, S.source, None),
    "cholesky": (M.cholesky,),
    "inv":      (M.inv,),
    "solve":    (M.solve_matrix, M.solve_right),
    "triangular_solve": (M.triangular_matrix, M.triangular_right),
    "det":      (M.det,),
    "cofactor": (M.cofactor,),
    "slogdet":  (M.slogdet,),
    "qr":       (M.qr,),
    "eigh":     (M.eigh,),
    "svd":      (M.svd,),
}
# fmt: on

# Where the derivative is to be differentiated again.
AGAIN: dict[str, tuple[Rule | None, ...]] = {
    "prod": (R.prod_again,),
    "scatter_reduce": (partial(S.target, again=True), partial(S.source, again=True), None),
}

NOT_DIFFERENTIABLE = frozenset(
    (
        *("iota", "random_bits", "check_index", "argmax", "argmin", "argmax_last_nan"),
        *("argsort", "searchsorted", "last_along", "gcd", "lcm", "while_loop", "opaque"),
        "assemble",  # passes make it, after every derivative
        # what a walk makes that nobody differentiates again
        *("attention_lse", "attention_dq", "attention_dk", "attention_dv"),
        *("not", "and", "or", "xor", "shl", "shr", "lt", "le", "eq", "ne"),
    )
)


def _reads(rule: Rule | None) -> frozenset[int]:
    """Which of (z, *operands) a rule reads beyond the type, counted from 0 (the output)."""
    if rule is None:
        return frozenset()
    names = [
        p.name
        for p in inspect.signature(rule).parameters.values()
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.VAR_POSITIONAL)
    ]
    return frozenset(k for k, name in enumerate(names[1:]) if not name.startswith("_"))


READS: Mapping[str, tuple[frozenset[int], ...]] = {
    name: tuple(_reads(rule) for rule in rules) for name, rules in VJP.items()
}
