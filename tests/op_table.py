"""One row per operation of the public API: a function over a namespace, and its inputs.

`fn(T, *tensors)` runs with `T` graphc or torch, so a row is its own reference. From each row come:
values against torch in f64 and f32, the gradient and the second derivative along random
directions, and the traced graph against eager (`tests/ops`). `low` and `high` bound the samples;
`away` keeps them that far from the kinks listed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class In:
    """One tensor input: shape, and the range its samples come from."""

    shape: tuple[int, ...] = (3, 4)
    low: float = -2.0
    high: float = 2.0
    kinks: tuple[float, ...] = ()
    dtype: str = "f"  # f: the floating dtype under test; i: i64; b: bool

    def sample(self, rng: np.random.Generator, dtype: Any) -> Array:
        if self.dtype == "i":
            return rng.integers(int(self.low), int(self.high), self.shape)
        if self.dtype == "b":
            return np.asarray(rng.random(self.shape) < 0.5)
        x = rng.uniform(self.low, self.high, self.shape)
        for k in self.kinks:
            near = np.abs(x - k) < 0.1
            x = np.where(near, k + np.where(x >= k, 0.2, -0.2), x)
        return np.asarray(x, dtype)


@dataclass(frozen=True)
class OpRow:
    """An operation with inputs; `grad` and `second` say which derivatives exist."""

    name: str
    fn: Callable[..., Any]
    inputs: tuple[In, ...] = (In(),)
    grad: bool = True
    second: bool = True
    rtol: float = 1e-12

    def __str__(self) -> str:
        return self.name


POS = In(low=0.3, high=3.0)
SMOOTH = In(kinks=(0.0,))
B = In((1, 4))
COL = In((3, 1))


def unary(name: str, x: In = In(), **options: Any) -> OpRow:  # frozen
    return OpRow(name, lambda T, x: getattr(x, name)(), (x,), **options)


def shape_row(name: str, fn: Callable[..., Any], *inputs: In) -> OpRow:
    return OpRow(name, fn, inputs or (In((2, 3, 4)),))


def conv_row(name: str, x: In, w: In, **options: Any) -> OpRow:
    def fn(T: Any, x: Any, w: Any) -> Any:
        return T.nn.functional.conv2d(x, w, **options)

    return OpRow(name, fn, (x, w), rtol=1e-10)


ELEMENTWISE = [
    unary("neg"),
    unary("abs", SMOOTH),
    unary("sign", SMOOTH),
    unary("exp"),
    unary("exp2"),
    unary("expm1"),
    unary("log", POS),
    unary("log2", POS),
    unary("log10", POS),
    unary("log1p", In(low=-0.5)),
    unary("sin"),
    unary("cos"),
    unary("tan", In(low=-1.0, high=1.0)),
    unary("sinh"),
    unary("cosh"),
    unary("tanh"),
    unary("sigmoid"),
    unary("erf"),
    unary("erfc"),
    unary("sqrt", POS),
    unary("rsqrt", POS),
    unary("square"),
    unary("reciprocal", POS),
    unary("floor", In(kinks=(-1.0, 0.0, 1.0))),
    unary("ceil", In(kinks=(-1.0, 0.0, 1.0))),
    unary("round", In(kinks=(-1.5, -0.5, 0.5, 1.5))),
    unary("trunc", In(kinks=(-1.0, 0.0, 1.0))),
    unary("relu", SMOOTH),
    unary("isnan", grad=False),
    unary("isinf", grad=False),
    unary("isfinite", grad=False),
    unary("logical_not", grad=False),
    OpRow("add", lambda T, x, y: x + y, (In(), In())),
    OpRow("add_broadcast", lambda T, x, y: x + y, (B, COL)),
    OpRow("add_alpha", lambda T, x, y: x.add(y, alpha=3), (In(), In((4,)))),
    OpRow("add_number", lambda T, x: 2 + x + 1.5),
    OpRow("sub", lambda T, x, y: x - y, (In(), B)),
    OpRow("rsub", lambda T, x: 2 - x),
    OpRow("mul", lambda T, x, y: x * y, (In(), COL)),
    OpRow("mul_self", lambda T, x: x * x * 3),
    OpRow("div", lambda T, x, y: x / y, (In(), POS)),
    OpRow("div_number", lambda T, x: x / 3),
    OpRow("rdiv", lambda T, x: 3 / x, (POS,)),
    OpRow("div_floor", lambda T, x, y: T.div(x, y, rounding_mode="floor"), (In(), POS), False),
    OpRow("div_trunc", lambda T, x, y: T.div(x, y, rounding_mode="trunc"), (In(), POS), False),
    OpRow("floordiv", lambda T, x, y: x // y, (In(), POS), False),
    OpRow("remainder", lambda T, x, y: x % y, (In(), POS), False),
    OpRow("remainder_number", lambda T, x: x % 0.7, grad=False),
    OpRow("fmod", lambda T, x, y: x.fmod(y), (In(), POS), False),
    OpRow("pow", lambda T, x, y: x**y, (POS, In())),
    OpRow("pow_2", lambda T, x: x**2),
    OpRow("pow_3", lambda T, x: x**3),
    OpRow("pow_half", lambda T, x: x**0.5, (POS,)),
    OpRow("pow_minus", lambda T, x: x**-1.5, (POS,)),
    OpRow("pow_0", lambda T, x: x**0),
    OpRow("rpow", lambda T, x: 2.5**x),
    OpRow("maximum", lambda T, x, y: T.maximum(x, y), (In(), In())),
    OpRow("minimum", lambda T, x, y: T.minimum(x, y), (In(), B)),
    OpRow("fmax", lambda T, x, y: T.fmax(x, y), (In(), In())),
    OpRow("fmin", lambda T, x, y: T.fmin(x, y), (In(), In())),
    OpRow("where", lambda T, c, x, y: T.where(c, x, y), (In(dtype="b"), In(), COL)),
    OpRow("where_number", lambda T, c, x: T.where(c, x, 2.0), (In(dtype="b"), In())),
    OpRow("where_lead", lambda T, c, x: T.where(c, 0.0, x), (In((1, 4), dtype="b"), In())),
    OpRow("clamp", lambda T, x: x.clamp(-0.5, 0.7), (In(kinks=(-0.5, 0.7)),)),
    OpRow("clamp_min", lambda T, x: x.clamp(min=0.5), (In(kinks=(0.5,)),)),
    OpRow("clamp_tensor", lambda T, x, y: T.clamp(x, max=y), (In(), B)),
    OpRow("lerp", lambda T, x, y: x.lerp(y, 0.3), (In(), In())),
    OpRow("addcmul", lambda T, x, y, z: x.addcmul(y, z, value=0.5), (In(), In(), B)),
    OpRow("addcdiv", lambda T, x, y, z: x.addcdiv(y, z, value=0.5), (In(), In(), POS)),
    OpRow("masked_fill", lambda T, m, x: x.masked_fill(m, -1.0), (In(dtype="b"), In())),
    OpRow("nan_to_num", lambda T, x: T.nan_to_num(x)),
    OpRow("lt", lambda T, x, y: x < y, (In(), COL), False),
    OpRow("ge_number", lambda T, x: x >= 0.5, grad=False),
    OpRow("eq", lambda T, x: x == x.flip(0), grad=False),
    OpRow("logic", lambda T, x, y: (x & y) | (~x ^ y), (In(dtype="b"), In(dtype="b")), False),
    OpRow("cast", lambda T, x: x.double() * 2, second=False, rtol=1e-6),
]

REDUCTIONS = [
    OpRow("sum", lambda T, x: x.sum()),
    OpRow("sum_dim", lambda T, x: x.sum(1)),
    OpRow("sum_dims_keep", lambda T, x: x.sum((0, -1), keepdim=True), (In((2, 3, 4)),)),
    OpRow("mean", lambda T, x: x.mean()),
    OpRow("mean_dim", lambda T, x: x.mean(-1, keepdim=True)),
    OpRow("prod", lambda T, x: x.prod()),
    OpRow("prod_dim", lambda T, x: x.prod(1)),
    OpRow("var", lambda T, x: x.var()),
    OpRow("var_dim", lambda T, x: x.var(1, correction=0)),
    OpRow("std_dim", lambda T, x: x.std(0, keepdim=True)),
    OpRow("norm", lambda T, x: x.norm()),
    OpRow("norm_1", lambda T, x: x.norm(1, dim=1), (SMOOTH,)),
    OpRow("norm_3", lambda T, x: x.norm(3, dim=1), (SMOOTH,)),
    OpRow("norm_inf", lambda T, x: x.norm(float("inf"), dim=1), (SMOOTH,), second=False),
    OpRow("max", lambda T, x: x.max()),
    OpRow("min", lambda T, x: x.min()),
    OpRow("max_dim", lambda T, x: x.max(1).values),
    OpRow("max_index", lambda T, x: x.max(1, keepdim=True).indices, grad=False),
    OpRow("min_dim", lambda T, x: x.min(0)[0]),
    OpRow("amax", lambda T, x: x.amax((0, 2)), (In((2, 3, 4)),)),
    OpRow("amin", lambda T, x: x.amin(1, keepdim=True)),
    OpRow("argmax", lambda T, x: x.argmax(), grad=False),
    OpRow("argmin_dim", lambda T, x: x.argmin(1, keepdim=True), grad=False),
    OpRow("any", lambda T, x: x.any(1), (In(dtype="b"),), False),
    OpRow("all", lambda T, x: x.all(), (In(dtype="b"),), False),
    OpRow("count_nonzero", lambda T, x: T.count_nonzero(x > 0), grad=False),
    OpRow("logsumexp", lambda T, x: x.logsumexp(1)),
    OpRow("logsumexp_dims", lambda T, x: x.logsumexp((0, 2), keepdim=True), (In((2, 3, 4)),)),
    OpRow("softmax", lambda T, x: x.softmax(1)),
    OpRow("log_softmax", lambda T, x: x.log_softmax(0)),
    OpRow("cumsum", lambda T, x: x.cumsum(1), (In((2, 5)),)),
]

SHAPES = [
    shape_row("reshape", lambda T, x: x.reshape(4, -1)),
    shape_row("view", lambda T, x: x.view(6, 4)),
    shape_row("flatten", lambda T, x: x.flatten(1)),
    shape_row("unflatten", lambda T, x: x.unflatten(2, (2, -1))),
    shape_row("squeeze", lambda T, x: x.squeeze(1), In((2, 1, 3))),
    shape_row("unsqueeze", lambda T, x: x.unsqueeze(-1)),
    shape_row("transpose", lambda T, x: x.transpose(0, 2)),
    shape_row("t", lambda T, x: x.t(), In()),
    shape_row("T", lambda T, x: x.mT),
    shape_row("permute", lambda T, x: x.permute(2, 0, 1)),
    shape_row("permute_reshape", lambda T, x: x.permute(2, 0, 1).reshape(-1)),
    shape_row("movedim", lambda T, x: x.movedim((0, 1), (2, 0))),
    shape_row("expand", lambda T, x: x.expand(2, 3, -1), In((3, 1))),
    shape_row("repeat", lambda T, x: x.repeat(2, 1, 3)),
    shape_row("repeat_interleave", lambda T, x: x.repeat_interleave(3, 1)),
    shape_row("tile", lambda T, x: x.tile(2), In()),
    shape_row("flip", lambda T, x: x.flip(0, 2)),
    shape_row("roll", lambda T, x: x.roll((1, -2), (0, 2))),
    shape_row("cat", lambda T, x, y: T.cat([x, y, x], 1), In((2, 3)), In((2, 1))),
    shape_row("stack", lambda T, x, y: T.stack((x, y), -1), In(), In()),
    shape_row("split", lambda T, x: T.split(x, 2, 1)[1]),
    shape_row("chunk", lambda T, x: x.chunk(2, 2)[1] * x.chunk(2, 2)[0]),
    shape_row("unbind", lambda T, x: x.unbind(1)[2]),
    shape_row("narrow", lambda T, x: x.narrow(2, 1, 2)),
    shape_row("select", lambda T, x: x.select(1, -1)),
    shape_row("unfold", lambda T, x: x.unfold(1, 3, 2), In((2, 7))),
    shape_row("clone", lambda T, x: x.clone().contiguous()),
    shape_row("tril", lambda T, x: x.tril(-1)),
    shape_row("triu", lambda T, x: x.triu(1)),
    shape_row("diagonal", lambda T, x: x.diagonal(1, 0, 2)),
    shape_row("diag", lambda T, x: T.diag(x, -1), In((3,))),
]

INDEXING = [
    shape_row("index_int", lambda T, x: x[1]),
    shape_row("index_slice", lambda T, x: x[:, 1:, ::2]),
    shape_row("index_step", lambda T, x: x[..., 1::3], In((2, 8))),
    shape_row("index_none", lambda T, x: x[None, :, 0, ..., None]),
    shape_row("index_tensor", lambda T, i, x: x[i], In((5,), -2, 2, dtype="i"), In((2, 3))),
    shape_row(
        "index_two",
        lambda T, i, j, x: x[:, i, j],
        In((2, 2), 0, 3, dtype="i"),
        In((2,), -4, 4, dtype="i"),
        In((2, 3, 4)),
    ),
    shape_row(
        "index_apart",
        lambda T, i, j, x: x[i, :, j],
        In((2,), 0, 2, dtype="i"),
        In((2,), -4, 4, dtype="i"),
        In((2, 3, 4)),
    ),
    shape_row("index_mixed", lambda T, i, x: x[1:, i, None], In((2,), 0, 3, dtype="i"), In((2, 3))),
    shape_row("gather", lambda T, i, x: x.gather(1, i), In((3, 2), 0, 4, dtype="i"), In()),
    shape_row("gather_one", lambda T, i, x: x.gather(1, i), In((3, 1), 0, 4, dtype="i"), In()),
    shape_row("gather_0", lambda T, i, x: x.gather(0, i), In((5, 4), 0, 3, dtype="i"), In()),
    shape_row(
        "scatter_add",
        lambda T, i, x, y: x.scatter_add(1, i, y),
        In((3, 5), 0, 4, dtype="i"),
        In(),
        In((3, 5)),
    ),
    shape_row("scatter", lambda T, x, y: x.scatter(1, T.tensor([[1, 3]]), y), In(), In((1, 2))),
    shape_row(
        "index_select", lambda T, i, x: x.index_select(1, i), In((5,), 0, 4, dtype="i"), In()
    ),
    shape_row(
        "index_add",
        lambda T, i, x, y: x.index_add(1, i, y),
        In((5,), 0, 4, dtype="i"),
        In(),
        In((3, 5)),
    ),
    shape_row(
        "embedding",
        lambda T, i, w: T.nn.functional.embedding(i, w),
        In((2, 3), 0, 5, dtype="i"),
        In((5, 4)),
    ),
]

PRODUCTS = [
    OpRow("matmul", lambda T, x, y: x @ y, (In((3, 4)), In((4, 2)))),
    OpRow("matmul_vector", lambda T, x, y: x @ y, (In((3, 4)), In((4,)))),
    OpRow("vector_matmul", lambda T, x, y: x @ y, (In((3,)), In((3, 4)))),
    OpRow("dot", lambda T, x, y: x.dot(y), (In((4,)), In((4,)))),
    OpRow("matmul_batch", lambda T, x, y: x @ y, (In((2, 3, 4)), In((2, 4, 2)))),
    OpRow("matmul_wide", lambda T, x, y: x @ y, (In((5, 1, 3, 4)), In((2, 4, 2)))),
    OpRow("matmul_shared", lambda T, x, y: x @ y, (In((2, 3, 4)), In((4, 2)))),
    OpRow("vector_batch", lambda T, x, y: x @ y, (In((4,)), In((2, 4, 3)))),
    OpRow("bmm", lambda T, x, y: T.bmm(x, y), (In((2, 3, 4)), In((2, 4, 2)))),
    OpRow("mv", lambda T, x, y: x.mv(y), (In((3, 4)), In((4,)))),
    OpRow("outer", lambda T, x, y: T.outer(x, y), (In((3,)), In((4,)))),
    OpRow(
        "addmm",
        lambda T, x, a, b: T.addmm(x, a, b, beta=2, alpha=0.5),
        (In((2,)), In((3, 4)), In((4, 2))),
    ),
    OpRow("einsum", lambda T, x, y: T.einsum("bij,bkj->bik", x, y), (In((2, 3, 4)), In((2, 5, 4)))),
    OpRow("einsum_sum", lambda T, x, y: T.einsum("ij,jk->k", x, y), (In((3, 4)), In((4, 2)))),
    OpRow(
        "linear", lambda T, x, w, b: T.nn.functional.linear(x, w, b), (In(), In((2, 4)), In((2,)))
    ),
    conv_row("conv", In((2, 3, 6, 5)), In((4, 3, 3, 2))),
    conv_row("conv_stride", In((2, 3, 7, 6)), In((4, 3, 3, 3)), stride=2, padding=1),
    conv_row("conv_gap", In((1, 2, 8, 8)), In((2, 2, 3, 3)), stride=3, dilation=2, padding=(0, 2)),
    conv_row("conv_groups", In((2, 4, 5, 5)), In((6, 2, 3, 3)), groups=2, padding=1),
    conv_row("conv_depthwise", In((2, 3, 5, 5)), In((6, 1, 3, 3)), groups=3, stride=2),
    conv_row("conv_wide_pad", In((1, 2, 3, 3)), In((2, 2, 2, 2)), padding=3),
    conv_row("conv_1x1", In((2, 3, 4, 4)), In((5, 3, 1, 1)), stride=2),
]

TABLE = [*ELEMENTWISE, *REDUCTIONS, *SHAPES, *INDEXING, *PRODUCTS]
