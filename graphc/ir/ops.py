"""The primitives: one row each, and a row's NumPy function (`ir/meaning`) *is* what the op means.

Fusion and code generation switch on `kind`, never on names. Operands of an elementwise op have one
shape (broadcasting is an explicit `expand`), and half-precision operands arrive as float32
(`interpret.evaluate` rounds the result once). Everything else (softmax, batch norm, losses, Adam)
is plain Python over these rows.

kinds
  source       made from nothing: iota, random bits
  elementwise  one element of each operand gives one element
  movement     elements change place: a view where the strides allow
  reduce       takes axes away
  contract     dot and conv: sums of products over shared axes
  attention    softmax between two products, its row statistics and gradients, each in one pass
  index        addresses that are data: gather and its adjoint
  routine      whole arrays at once, by a library: sorting, decompositions
  loop         a graph of its own, the body, once for each trip
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from graphc.ir import type_rules as T
from graphc.ir.meaning import (
    attention,
    contractions,
    elementwise,
    indexing,
    linalg,
    loops,
    movement,
    opaque,
    reductions,
    sorting,
    sources,
    special,
)
from graphc.ir.types import Array, DType, Shape, TensorSpec

Kind = Literal[
    "source",
    "elementwise",
    "movement",
    "reduce",
    "contract",
    "attention",
    "index",
    "routine",
    "loop",
]
Runs = Literal["host", "device", "both"]
Attrs = Mapping[str, Any]
Held = Callable[[Sequence[Shape], Shape, int], int]  # bytes, of shapes in and out, and their items


@dataclass(frozen=True, eq=False, slots=True)
class Op:
    """A primitive: name in every dump, kind, type rule, meaning in NumPy, and facts.

    A fact is said here and nowhere else: no other module holds a list of names of ops.
    """

    name: str
    kind: Kind
    infer: Callable[..., TensorSpec]
    evaluate: Callable[..., Array]
    commutative: bool = False
    linear: bool = False  # a movement or reduce that commutes with a cast or scaling
    cost: int = 1  # of one element, in additions, where a kernel computes it
    exact: bool = False  # gives an operand's element, or what every dtype holds: nothing to round
    correct: bool = False  # the real result, rounded once: the same bits on all machines
    aliases: bool = False  # `evaluate` may return a view of its operand
    may_fail: Literal["never", "integers", "always"] = "never"  # at run time, for data of a kind
    combine: str = ""  # the elementwise op that makes one of the results for two parts
    best: Literal["", "largest", "smallest"] = ""  # the element that a reduce looks for
    position: bool = False  # a reduce that says where that element stands
    scatters: bool = False  # its addresses are data where it writes
    axes: str = ""  # those of a result of attention, as `kernel_attention.py` calls them
    stores: bool = False  # a movement whose result is in memory, made there by what it reads
    variadic: bool = False  # takes any number of operands, one included
    runs: Runs = "both"  # where it may run: "host" if only libraries for that have it
    held: Held | None = None  # by a routine's NumPy at once, where that is more than a result

    def can_fail(self, dtype: DType) -> bool:
        """Whether it may fail at run time, with a result of this dtype."""
        return self.may_fail == "always" or (
            self.may_fail == "integers" and not dtype.is_floating_point
        )

    @property
    def checks(self) -> bool:
        """Whether it gives an operand on, or raises for what that holds."""
        return self.may_fail == "always"

    def __repr__(self) -> str:
        return self.name


# ---- the rows ----------------------------------------------------------------------------------

# fmt: off
_ROWS = [
    # source
    Op("iota", "source", T.iota_type, sources.iota, exact=True, aliases=True),
    Op("random_bits", "source", T.random_bits_type, sources.random_bits, cost=90, exact=True),
    # elementwise, one operand
    Op("neg", "elementwise", T.same_type, np.negative, exact=True),
    Op("abs", "elementwise", T.same_type, np.abs, exact=True),
    Op("sign", "elementwise", T.same_type, elementwise.sign, exact=True),
    Op("relu", "elementwise", T.same_type, elementwise.relu, exact=True),
    Op("exp", "elementwise", T.float_type, np.exp, cost=14),
    Op("expm1", "elementwise", T.float_type, np.expm1, cost=20),
    Op("log", "elementwise", T.float_type, np.log, cost=16),
    Op("log1p", "elementwise", T.float_type, np.log1p, cost=22),
    Op("sin", "elementwise", T.float_type, np.sin, cost=30),
    Op("cos", "elementwise", T.float_type, np.cos, cost=30),
    Op("asin", "elementwise", T.float_type, np.arcsin),
    Op("acos", "elementwise", T.float_type, np.arccos),
    Op("atan", "elementwise", T.float_type, np.arctan, cost=24),
    Op("sinh", "elementwise", T.float_type, np.sinh),
    Op("cosh", "elementwise", T.float_type, np.cosh),
    Op("tanh", "elementwise", T.float_type, np.tanh, cost=22),
    Op("asinh", "elementwise", T.float_type, np.arcsinh),
    Op("acosh", "elementwise", T.float_type, np.arccosh),
    Op("atanh", "elementwise", T.float_type, np.arctanh),
    Op("sigmoid", "elementwise", T.float_type, elementwise.sigmoid, cost=16),
    Op("erf", "elementwise", T.float_type, special.erf, cost=24),
    Op("erfc", "elementwise", T.float_type, special.erfc, cost=30),
    Op("erfcx", "elementwise", T.float_type, special.erfcx),
    Op("erfinv", "elementwise", T.float_type, special.erfinv),
    Op("lgamma", "elementwise", T.float_type, special.lgamma),
    Op("polygamma", "elementwise", T.polygamma_type, special.polygamma),
    Op("sqrt", "elementwise", T.float_type, np.sqrt, cost=4, correct=True),
    Op("rsqrt", "elementwise", T.float_type, elementwise.rsqrt, cost=5),
    Op("floor", "elementwise", T.float_type, np.floor, exact=True),
    Op("ceil", "elementwise", T.float_type, np.ceil, exact=True),
    Op("round", "elementwise", T.float_type, np.rint, exact=True),
    Op("trunc", "elementwise", T.float_type, np.trunc, exact=True),
    Op("not", "elementwise", T.whole_type, np.invert, exact=True),
    Op("cast", "elementwise", T.cast_type, elementwise.cast, correct=True),
    Op("check_index", "elementwise", T.check_index_type, elementwise.check_index, cost=6,
        exact=True, aliases=True, may_fail="always"),
    # elementwise, two operands
    Op("check", "elementwise", T.check_type, elementwise.check, cost=4, exact=True, aliases=True,
        may_fail="always"),
    Op("add", "elementwise", T.same_type, np.add, commutative=True, correct=True),
    Op("sub", "elementwise", T.same_type, elementwise.sub, correct=True),
    Op("mul", "elementwise", T.same_type, np.multiply, commutative=True, correct=True),
    Op("div", "elementwise", T.float_type, np.divide, cost=4, correct=True),
    Op("floordiv", "elementwise", T.same_type, elementwise.floordiv, cost=30, may_fail="integers"),
    Op("rem", "elementwise", T.same_type, elementwise.rem, cost=24, may_fail="integers"),
    Op("fmod", "elementwise", T.same_type, elementwise.fmod, cost=20, may_fail="integers"),
    Op("pow", "elementwise", T.same_type, elementwise.power, cost=40),
    Op("atan2", "elementwise", T.float_type, np.arctan2),
    Op("hypot", "elementwise", T.float_type, np.hypot),
    Op("maximum", "elementwise", T.same_type, np.maximum, commutative=True, exact=True),
    Op("minimum", "elementwise", T.same_type, np.minimum, commutative=True, exact=True),
    Op("and", "elementwise", T.whole_type, np.bitwise_and, commutative=True, exact=True),
    Op("or", "elementwise", T.whole_type, np.bitwise_or, commutative=True, exact=True),
    Op("xor", "elementwise", T.whole_type, np.bitwise_xor, commutative=True, exact=True),
    Op("shl", "elementwise", T.whole_type, elementwise.shift_left, exact=True),
    Op("shr", "elementwise", T.whole_type, elementwise.shift_right, exact=True),
    Op("lt", "elementwise", T.comparison_type, np.less, exact=True),
    Op("le", "elementwise", T.comparison_type, np.less_equal, exact=True),
    Op("eq", "elementwise", T.comparison_type, np.equal, commutative=True, exact=True),
    Op("ne", "elementwise", T.comparison_type, np.not_equal, commutative=True, exact=True),
    # elementwise, three operands
    Op("where", "elementwise", T.where_type, elementwise.where, exact=True),
    # movement
    Op("reshape", "movement", T.reshape_type, movement.reshape, linear=True),
    Op("transpose", "movement", T.transpose_type, movement.transpose, linear=True),
    Op("expand", "movement", T.expand_type, movement.expand, linear=True),
    Op("slice", "movement", T.slice_type, movement.slice_, linear=True),
    Op("pad", "movement", T.pad_type, movement.pad),
    Op("flip", "movement", T.flip_type, movement.flip, linear=True, aliases=True),
    Op("assemble", "movement", T.assemble_type, movement.assemble, stores=True, variadic=True),
    Op("concat", "movement", T.concat_type, movement.concat, variadic=True),
    Op("unfold", "movement", T.unfold_type, movement.unfold, linear=True),
    Op("fold", "movement", T.fold_type, movement.fold, linear=True),
    Op("diagonal", "movement", T.diagonal_type, movement.diagonal, linear=True),
    Op("contiguous", "movement", T.contiguous_type, movement.contiguous, aliases=True,
        stores=True),
    # reduce
    Op("sum", "reduce", T.reduce_type, reductions.reduce_sum, linear=True, combine="add"),
    Op("prod", "reduce", T.reduce_type, reductions.reduce_prod, combine="mul"),
    Op("max", "reduce", T.extreme_type, reductions.reduce_max, exact=True, combine="maximum",
        best="largest"),
    Op("min", "reduce", T.extreme_type, reductions.reduce_min, exact=True, combine="minimum",
        best="smallest"),
    Op("argmax", "reduce", T.arg_type, reductions.argmax, exact=True, best="largest",
        position=True),
    Op("argmin", "reduce", T.arg_type, reductions.argmin, exact=True, best="smallest",
        position=True),
    Op("argmax_last_nan", "reduce", T.arg_type, reductions.argmax_last_nan, exact=True,
        best="largest", position=True),
    # contract
    Op("dot", "contract", T.dot_type, contractions.dot, combine="add"),
    Op("conv", "contract", T.conv_type, contractions.conv),
    # attention
    Op("attention", "attention", T.attention_type, attention.attention, axes="lf"),
    Op("attention_lse", "attention", T.attention_lse_type, attention.attention_lse,
        axes="l"),
    Op("attention_dq", "attention", T.attention_gradient_type(0), attention.attention_dq,
        axes="le"),
    Op("attention_dk", "attention", T.attention_gradient_type(1), attention.attention_dk,
        axes="se"),
    Op("attention_dv", "attention", T.attention_gradient_type(2), attention.attention_dv,
        axes="sf"),
    # index
    Op("gather", "index", T.gather_type, indexing.gather, exact=True),
    Op("scatter_add", "index", T.scatter_add_type, indexing.scatter_add, scatters=True),
    Op("take_along", "index", T.take_along_type, indexing.take_along, exact=True),
    Op("put_along", "index", T.put_along_type, indexing.put_along, scatters=True),
    # routine
    Op("argsort", "routine", T.argsort_type, sorting.argsort, may_fail="always"),
    Op("searchsorted", "routine", T.searchsorted_type, sorting.searchsorted, may_fail="always"),
    Op("last_along", "routine", T.last_along_type, indexing.last_along, may_fail="always"),
    Op("scatter_reduce", "routine", T.scatter_reduce_type, indexing.scatter_reduce,
        may_fail="always"),
    Op("gcd", "routine", T.same_type, np.gcd, may_fail="always", runs="host"),
    Op("lcm", "routine", T.same_type, np.lcm, may_fail="always", runs="host"),
    Op("cholesky", "routine", T.square_type, linalg.cholesky, may_fail="always", runs="host",
        held=linalg.held_by_tested),
    Op("inv", "routine", T.square_type, linalg.inv, may_fail="always", runs="host",
        held=linalg.held),
    Op("solve", "routine", T.solve_type, linalg.solve, may_fail="always", runs="host",
        held=linalg.held),
    Op("triangular_solve", "routine", T.solve_type, linalg.triangular_solve, may_fail="always",
        runs="host"),
    Op("det", "routine", T.det_type, linalg.det, may_fail="always", runs="host",
        held=linalg.held_by_tested),
    Op("cofactor", "routine", T.square_type, linalg.cofactor, may_fail="always", runs="host",
        held=linalg.held_by_cofactor),
    Op("slogdet", "routine", T.slogdet_type, linalg.slogdet, may_fail="always", runs="host",
        held=linalg.held_by_tested),
    Op("qr", "routine", T.factors_type("qr"), linalg.qr, may_fail="always", runs="host",
        held=linalg.held_by_qr),
    Op("eigh", "routine", T.factors_type("eigh"), linalg.eigh, may_fail="always", runs="host",
        held=linalg.held_by_factors),
    Op("svd", "routine", T.factors_type("svd"), linalg.svd, may_fail="always", runs="host",
        held=linalg.held_by_factors),
    Op("while_loop", "routine", T.while_type, loops.while_loop, may_fail="always", runs="host"),
    Op("opaque", "routine", T.opaque_type, opaque.opaque, may_fail="always", runs="host"),
    # loop
    Op("loop", "loop", T.loop_type, loops.loop),
]
# fmt: on

OPS: dict[str, Op] = {op.name: op for op in _ROWS}
