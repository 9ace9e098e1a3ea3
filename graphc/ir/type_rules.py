"""Type rules: the dtype and shape of a result, from those of the operands and the attributes.

Each raises DTypeMismatch, ShapeMismatch or InvalidArgument for what the op does not take. Sizes may
be extents: what has to be equal is asked by `same`, which notes no condition.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from graphc.errors import DTypeMismatch, InvalidArgument, ShapeMismatch
from graphc.ir.meaning import linalg
from graphc.ir.sizes import agree, agree_shape, broadcast, is_one, is_size
from graphc.ir.types import DTYPES, Shape, TensorSpec, bool_, f32, f64, i32, i64

Pairs = tuple[tuple[int, int], ...]


def same_type(*types: TensorSpec) -> TensorSpec:
    """All operands of one dtype and shape; the result alike."""
    first = types[0]
    for t in types[1:]:
        if t.dtype is not first.dtype:
            raise DTypeMismatch(f"operands differ in dtype: {' vs '.join(map(str, types))}")
        if not agree_shape(t.shape, first.shape):
            raise ShapeMismatch(f"operands differ in shape: {' vs '.join(map(str, types))}")
    return first


def float_type(*types: TensorSpec) -> TensorSpec:
    t = same_type(*types)
    if not t.dtype.is_floating_point:
        raise DTypeMismatch(f"needs a floating dtype, got {t}")
    return t


def polygamma_type(x: TensorSpec, *, n: int) -> TensorSpec:
    return float_type(x)


def whole_type(*types: TensorSpec) -> TensorSpec:
    t = same_type(*types)
    if t.dtype.is_floating_point:
        raise DTypeMismatch(f"needs an integer or bool dtype, got {t}")
    return t


def comparison_type(x: TensorSpec, y: TensorSpec) -> TensorSpec:
    return TensorSpec(bool_, same_type(x, y).shape)


def where_type(condition: TensorSpec, x: TensorSpec, y: TensorSpec) -> TensorSpec:
    if condition.dtype is not bool_:
        raise DTypeMismatch(f"where needs a bool condition, got {condition}")
    t = same_type(x, y)
    if not agree_shape(condition.shape, t.shape):
        raise ShapeMismatch(f"where: condition {condition} vs operands {t}")
    return t


def cast_type(x: TensorSpec, *, dtype: str) -> TensorSpec:
    return TensorSpec(DTYPES[dtype], x.shape)


def check_index_type(x: TensorSpec, *, bound: int, what: str) -> TensorSpec:
    return whole_type(x)


def check_type(x: TensorSpec, condition: TensorSpec, **_what: str) -> TensorSpec:
    if condition.dtype is not bool_ or not agree_shape(condition.shape, x.shape):
        raise DTypeMismatch(f"check needs a bool condition for each element of {x}: {condition}")
    return x


def iota_type(*, shape: Shape, axis: int, dtype: str) -> TensorSpec:
    return TensorSpec(DTYPES[dtype], shape)


def random_bits_type(seed: TensorSpec, draw: TensorSpec, *, shape: Shape) -> TensorSpec:
    if seed != TensorSpec(i64, ()) or draw != TensorSpec(i64, ()):
        raise DTypeMismatch(f"random_bits needs two i64 scalars, got {seed}, {draw}")
    return TensorSpec(i32, shape)


def reshape_type(x: TensorSpec, *, shape: Shape) -> TensorSpec:
    if prod(shape) != x.numel:
        raise ShapeMismatch(f"cannot view {x} as shape {shape}")
    return TensorSpec(x.dtype, shape)


def transpose_type(x: TensorSpec, *, perm: Shape) -> TensorSpec:
    if sorted(perm) != list(range(len(x.shape))):
        raise InvalidArgument(f"{perm} is no permutation of the dimensions of {x}")
    return TensorSpec(x.dtype, tuple(x.shape[p] for p in perm))


def expand_type(x: TensorSpec, *, shape: Shape) -> TensorSpec:
    if len(shape) != len(x.shape) or not all(
        [a is b or is_one(a) or _spreads(a, b) for a, b in zip(x.shape, shape)]
    ):
        raise ShapeMismatch(f"cannot expand {x} to shape {shape}")
    return TensorSpec(x.dtype, shape)


def _spreads(a: int, b: int) -> bool:
    return (both := broadcast(a, b)) is not None and agree(both, b)


def slice_type(x: TensorSpec, *, start: Shape, stop: Shape, step: Shape) -> TensorSpec:
    shape = []
    for n, a, b, s in zip(x.shape, start, stop, step, strict=True):
        if b is n and type(a) is int is type(s) and (a, s) == (0, 1) and is_size(n):
            shape.append(n)  # whole, as are most: an extent needs no arithmetic
            continue
        if not (0 <= a <= b <= n and s >= 1):
            raise ShapeMismatch(f"slice [{a}:{b}:{s}] outside {x}")
        shape.append(-(-(b - a) // s))
    return TensorSpec(x.dtype, tuple(shape))


def pad_type(x: TensorSpec, *, low: Shape, high: Shape, value: float = 0.0) -> TensorSpec:
    if min((*low, *high), default=0) < 0:
        raise InvalidArgument(f"pad widths must not be negative: {low}, {high}")
    shape = tuple(n + a + b for n, a, b in zip(x.shape, low, high, strict=True))
    return TensorSpec(x.dtype, shape)


def flip_type(x: TensorSpec, *, axes: Shape) -> TensorSpec:
    return x


def contiguous_type(x: TensorSpec, *, order: Shape = ()) -> TensorSpec:
    """x itself, stored with dimension order[0] outermost (row-major when empty)."""
    if order and sorted(order) != list(range(len(x.shape))):
        raise InvalidArgument(f"{order} is no order of the dimensions of {x}")
    return x


def assemble_type(
    *types: TensorSpec, shape: Shape, starts: tuple[Shape, ...], steps: tuple[Shape, ...]
) -> TensorSpec:
    """Operand k stands at starts[k], starts[k] + steps[k], ...; together they fill `shape`."""
    if sum(t.numel for t in types) != prod(shape):
        raise ShapeMismatch(f"{', '.join(map(str, types))} do not fill shape {shape}")
    return TensorSpec(types[0].dtype, shape)


def concat_type(*types: TensorSpec, axis: int) -> TensorSpec:
    first = types[0]
    if any(t.dtype is not first.dtype or len(t.shape) != len(first.shape) for t in types):
        raise ShapeMismatch(f"cannot concatenate {', '.join(map(str, types))} along {axis}")
    for n, t in enumerate(types):
        for k, (size, other) in enumerate(zip(t.shape, first.shape)):
            if k != axis and not agree(size, other):
                what = f"tensor {n} has size {size} in dimension {k}, tensor 0 has {other}"
                raise ShapeMismatch(f"{what}; only dimension {axis} may differ")
    size = sum(t.shape[axis] for t in types)
    return TensorSpec(first.dtype, (*first.shape[:axis], size, *first.shape[axis + 1 :]))


def unfold_type(x: TensorSpec, *, axis: int, size: int, step: int, dilation: int) -> TensorSpec:
    span = (size - 1) * dilation + 1
    if size < 1 or step < 1 or span > x.shape[axis]:
        raise ShapeMismatch(f"a window of {span} does not fit dimension {axis} of {x}")
    count = (x.shape[axis] - span) // step + 1
    return TensorSpec(x.dtype, (*x.shape[:axis], count, *x.shape[axis + 1 :], size))


def fold_type(x: TensorSpec, *, axis: int, length: int, step: int, dilation: int) -> TensorSpec:
    shape = x.shape[:-1]
    return TensorSpec(x.dtype, (*shape[:axis], length, *shape[axis + 1 :]))


def diagonal_type(x: TensorSpec) -> TensorSpec:
    """out[.., i] = x[.., i, i], of square matrices of any dtype."""
    if len(x.shape) < 2 or x.shape[-1] != x.shape[-2]:
        raise ShapeMismatch(f"the diagonal of {x}")
    return TensorSpec(x.dtype, x.shape[:-1])


def reduce_type(x: TensorSpec, *, axes: Shape) -> TensorSpec:
    return TensorSpec(x.dtype, tuple(n for k, n in enumerate(x.shape) if k not in axes))


def extreme_type(x: TensorSpec, *, axes: Shape, nans: bool = False) -> TensorSpec:
    """`nans` says only whether NaN is among the ties that share a cotangent."""
    if any(x.shape[k] == 0 for k in axes):
        raise ShapeMismatch(f"no extreme of {x} over empty dimensions {axes}")
    return reduce_type(x, axes=axes)


def arg_type(x: TensorSpec, *, axis: int) -> TensorSpec:
    return TensorSpec(i64, extreme_type(x, axes=(axis,)).shape)


def dot_type(
    x: TensorSpec,
    y: TensorSpec,
    *,
    batch: Pairs,
    contract: Pairs,
    narrow: bool = False,
    dtype: str = "",
) -> TensorSpec:
    """batch and contract pair a dimension of x with one of y; the rest are free, x's first."""
    if x.dtype is not y.dtype:
        raise DTypeMismatch(f"dot operands differ in dtype: {x} vs {y}")
    if any(x.shape[i] != y.shape[j] for i, j in (*batch, *contract)):
        raise ShapeMismatch(f"dot of {x} and {y} over {contract}, batch {batch}")
    shared = (*batch, *contract)
    x_free = [n for k, n in enumerate(x.shape) if k not in {i for i, _ in shared}]
    y_free = [n for k, n in enumerate(y.shape) if k not in {j for _, j in shared}]
    return TensorSpec(
        DTYPES[dtype or x.dtype.name], (*(x.shape[i] for i, _ in batch), *x_free, *y_free)
    )


def conv_type(
    x: TensorSpec,
    w: TensorSpec,
    *,
    stride: Shape,
    padding: Pairs,
    lhs_dilation: Shape,
    rhs_dilation: Shape,
    groups: int = 1,
    batch_groups: int = 1,
    winograd: int = 0,
    samples: int = -1,
) -> TensorSpec:
    """x [N,C,*S], w [O,C/groups,*K] -> [N/batch_groups,O,*P]; as in `contractions.conv`."""
    if x.dtype is not w.dtype:
        raise DTypeMismatch(f"conv operands differ in dtype: {x} vs {w}")
    if len(x.shape) != len(w.shape) or x.shape[1] != w.shape[1] * groups:
        raise ShapeMismatch(f"conv of input {x} with weight {w}, groups {groups}: channels differ")
    if w.shape[0] % (groups * batch_groups) or x.shape[0] % batch_groups:
        raise ShapeMismatch(f"conv weight {w} does not split into {groups * batch_groups} groups")
    space = []
    for n, k, s, (lo, hi), ld, rd in zip(
        x.shape[2:], w.shape[2:], stride, padding, lhs_dilation, rhs_dilation, strict=True
    ):
        length = ((n - 1) * ld + 1 if n else 0) + lo + hi
        span = (k - 1) * rd + 1
        if span > length:
            raise ShapeMismatch(
                f"conv kernel {w} (spread {span}) exceeds the padded input {x}",
                fix="add padding, or take a smaller kernel or dilation",
            )
        space.append((length - span) // s + 1)
    return TensorSpec(x.dtype, (x.shape[0] // batch_groups, w.shape[0], *space))


def gather_type(x: TensorSpec, index: TensorSpec, *, axis: int) -> TensorSpec:
    whole_type(index)
    return TensorSpec(x.dtype, (*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]))


def scatter_add_type(x: TensorSpec, index: TensorSpec, *, axis: int, length: int) -> TensorSpec:
    """The adjoint of gather: index.shape in place of `axis` sums into `length` rows of zeros."""
    rank = len(index.shape)
    if x.shape[axis : axis + rank] != index.shape:
        raise ShapeMismatch(f"scatter_add of {x} by {index} along {axis}")
    return TensorSpec(x.dtype, (*x.shape[:axis], length, *x.shape[axis + rank :]))


def take_along_type(x: TensorSpec, index: TensorSpec, *, axis: int) -> TensorSpec:
    """torch.gather: out[..i..] = x[.., index[..i..], ..]; index not larger than x elsewhere."""
    whole_type(index)
    fits = len(x.shape) == len(index.shape) and all(
        k == axis or m <= n for k, (n, m) in enumerate(zip(x.shape, index.shape))
    )
    if not fits:
        raise ShapeMismatch(f"take_along of {x} by {index} along {axis}")
    return TensorSpec(x.dtype, index.shape)


def put_along_type(x: TensorSpec, index: TensorSpec, *, axis: int, length: int) -> TensorSpec:
    """The adjoint of take_along: x sums into zeros, `length` along the axis."""
    if not agree_shape(x.shape, index.shape):
        raise ShapeMismatch(f"put_along of {x} by {index}")
    return TensorSpec(x.dtype, (*x.shape[:axis], length, *x.shape[axis + 1 :]))


def argsort_type(x: TensorSpec, *, axis: int, descending: bool) -> TensorSpec:
    return TensorSpec(i64, x.shape)


def searchsorted_type(rows: TensorSpec, values: TensorSpec, *, right: bool) -> TensorSpec:
    if rows.dtype is not values.dtype or rows.shape[:-1] != values.shape[:-1]:
        raise ShapeMismatch(f"searchsorted of {values} in {rows}")
    return TensorSpec(i64, values.shape)


def last_along_type(index: TensorSpec, *, axis: int, shape: Shape) -> TensorSpec:
    """Where along `axis` the last index to each place of `shape` stands, else -1."""
    whole_type(index)
    return TensorSpec(i64, shape)


def scatter_reduce_type(
    x: TensorSpec, src: TensorSpec, index: TensorSpec, *, axis: int, mode: str
) -> TensorSpec:
    """x folded with src at index along axis by maximum, minimum or multiply."""
    whole_type(index)
    if not agree_shape(src.shape, index.shape) or src.dtype is not x.dtype:
        raise ShapeMismatch(f"scatter_reduce of {src} by {index} into {x}")
    return x


def matrix_type(x: TensorSpec, **_attrs: Any) -> TensorSpec:
    """f32 or f64, at least two dimensions."""
    if x.dtype.name not in ("f32", "f64"):
        raise DTypeMismatch(f"linear algebra needs a float32 or float64 matrix, got {x}")
    if len(x.shape) < 2:
        raise ShapeMismatch(f"linear algebra needs at least 2 dimensions, got {x}")
    return x


def square_type(x: TensorSpec) -> TensorSpec:
    if matrix_type(x).shape[-1] != x.shape[-2]:
        raise ShapeMismatch(f"linear algebra needs square matrices, got {x}")
    return x


def solve_type(a: TensorSpec, b: TensorSpec, **_attrs: Any) -> TensorSpec:
    if a.dtype is not b.dtype:
        raise DTypeMismatch(f"solve: operands differ in dtype: {a} vs {b}")
    if square_type(a).shape[:-1] != b.shape[:-1] or len(a.shape) != len(b.shape):
        raise ShapeMismatch(f"solve of {a} for {b}")
    return b


def det_type(x: TensorSpec) -> TensorSpec:
    return TensorSpec(x.dtype, square_type(x).shape[:-2])


def slogdet_type(x: TensorSpec) -> TensorSpec:
    return TensorSpec(x.dtype, (*square_type(x).shape[:-2], 2))


def factors_type(op: str) -> Callable[..., TensorSpec]:
    """The factors of a decomposition, flattened, one behind the other."""

    def infer(x: TensorSpec, *, full: bool = False) -> TensorSpec:
        *lead, m, n = (square_type if op == "eigh" else matrix_type)(x).shape
        return TensorSpec(x.dtype, (*lead, sum(map(prod, linalg.factor_shapes(op, m, n, full)))))

    return infer


# ---- attention ---------------------------------------------------------------------------------


def attention_type(
    q: TensorSpec, k: TensorSpec, v: TensorSpec, mask: TensorSpec, seed: TensorSpec,
    draw: TensorSpec, **_attrs: Any,
) -> TensorSpec:  # fmt: skip
    """q [*N,L,E], k [*N,S,E], v [*N,S,F], mask [*N,L,S], seed and draw [] -> [*N,L,F]."""
    if not (q.dtype is k.dtype is v.dtype and q.dtype.is_floating_point):
        raise DTypeMismatch(f"attention of {q}, {k} and {v}")
    if mask.dtype is not bool_ and mask.dtype not in (q.dtype, f32):
        raise DTypeMismatch(f"attention of {q} with a mask {mask}")
    if seed != TensorSpec(i64, ()) or draw != seed:
        raise DTypeMismatch(f"attention takes a seed and a draw i64[], got {seed} and {draw}")
    *lead, rows, depth = q.shape if len(q.shape) >= 2 else (0, 0)
    columns = k.shape[-2] if len(k.shape) >= 2 else 0
    wanted = ((*lead, columns, depth), (*lead, columns, v.shape[-1]), (*lead, rows, columns))
    for what, shape in zip((k, v, mask), wanted, strict=True):
        if not agree_shape(what.shape, shape):
            raise ShapeMismatch(f"attention of {q}: {what} in place of {list(shape)}")
    return TensorSpec(q.dtype, (*lead, rows, v.shape[-1]))


def attention_lse_type(*types: TensorSpec, **attrs: Any) -> TensorSpec:
    """As for attention -> [*N,L], in float32 for half types."""
    out = attention_type(*types, **attrs)
    return TensorSpec(f32 if out.dtype.is_half else out.dtype, out.shape[:-1])


ATTENTION_OPERANDS = 6  # q, k, v, mask, seed and draw


def attention_gradient_type(operand: int) -> Callable[..., TensorSpec]:
    """Of the cotangent of an operand of attention, which takes its result, its row statistics, the
    result's cotangent, and perhaps the sum of each row of their product, too."""

    def infer(*types: TensorSpec, **attrs: Any) -> TensorSpec:
        first = types[:ATTENTION_OPERANDS]
        made = attention_type(*first, **attrs)
        rows = attention_lse_type(*first, **attrs)
        wants = (made, rows, made, rows)
        for what, wanted in zip(types[ATTENTION_OPERANDS:], wants, strict=False):
            if what.dtype is not wanted.dtype or not agree_shape(what.shape, wanted.shape):
                raise ShapeMismatch(f"gradient of attention: {what} in place of {wanted}")
        return first[operand]

    return infer


def loop_type(
    *types: TensorSpec,
    body: Any,
    carried: int,
    sliced: int,
    trips: int,
    reverse: bool,
    gives: str,
    index: int,
) -> TensorSpec:
    """One result of a loop over `body`, as in `meaning.loops`."""
    wanted = [v.spec for v in body.inputs]
    for k in range(carried, carried + sliced):
        wanted[k] = TensorSpec(wanted[k].dtype, (trips, *wanted[k].shape))
    if list(types) != wanted:
        raise ShapeMismatch(f"{list(map(str, types))} for a body of {list(map(str, wanted))}")
    outs = [v.spec for v in body.outs]
    if outs[:carried] != wanted[:carried]:
        raise ShapeMismatch(f"carries {list(map(str, outs[:carried]))} of {wanted[:carried]}")
    one = outs[carried + index if gives == "stack" else index]
    rows = {"last": (), "trail": (trips + 1,), "stack": (trips,)}[gives]
    return TensorSpec(one.dtype, (*rows, *one.shape))


def while_type(*types: TensorSpec, holds: Any, body: Any, carried: int) -> TensorSpec:
    """What a loop carries in the end, packed, as in `meaning.loops`."""
    for graph in (holds, body):
        if [v.spec for v in graph.inputs] != list(types):
            raise ShapeMismatch(f"{list(map(str, types))} for {graph.name} of other types")
    outs = [v.spec for v in body.outs[:carried]]
    if outs != list(types[:carried]) or holds.outs[0].spec != TensorSpec(bool_, ()):
        raise ShapeMismatch(f"carries {list(map(str, outs))} of {list(map(str, types))}")
    return _packed(types[:carried])


def opaque_type(
    *types: TensorSpec, call: str, given: Any, dtypes: tuple[str, ...], shapes: tuple[Shape, ...]
) -> TensorSpec:
    """Results of these types, packed."""
    specs = [TensorSpec(DTYPES[d], s) for d, s in zip(dtypes, shapes, strict=True)]
    return _packed(specs)


def _packed(specs: Sequence[TensorSpec]) -> TensorSpec:
    """As `meaning.loops.packed` does."""
    return TensorSpec(f64, (sum(t.numel * (1 + (t.dtype is i64)) for t in specs),))
