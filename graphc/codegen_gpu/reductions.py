"""Reductions over a block: the state of a reduction, a step of it, and what lanes make of theirs.

A state is one register, or for a position two: the best element so far and where it stands, `NONE`
where there was none. Floats are reduced in float32 (float64 their own), narrow integers in int32,
which wraps to the same. Triton's max drops NaN, so NaN is looked for apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from graphc.codegen_gpu.scalar import REGISTER, literal
from graphc.ir.kernel_interpret import identity
from graphc.ir.ops import OPS
from graphc.ir.types import DType, Scalar, f32, f64, i32

Let = Callable[[str], str]
States = list[str]


@dataclass(frozen=True, slots=True)
class Reduction:
    """A reduction `op` of elements of `dtype` to a result of `result`."""

    op: str
    dtype: DType
    result: DType
    wide: bool = False  # positions are i64
    double: bool = False  # a sum of sums: in float64

    @property
    def held(self) -> DType:
        """The dtype of the state."""
        if self.dtype.is_floating_point:
            return f64 if self.double or self.dtype is f64 else f32
        return i32 if self.dtype.itemsize < 4 else self.dtype

    @property
    def is_float_sum(self) -> bool:
        return self.op == "sum" and self.held is f32

    @property
    def is_position(self) -> bool:
        return OPS[self.op].position

    @property
    def index(self) -> str:
        return "tl.int64" if self.wide else "tl.int32"

    @property
    def none(self) -> str:
        """The position of no element."""
        return f"tl.full([], {(1 << (63 if self.wide else 31)) - 1}, {self.index})"

    @property
    def identity(self) -> str:
        return literal(self.identity_value, self.held)

    @property
    def identity_value(self) -> Scalar:
        value = identity(self.op, self.dtype)
        return int(value) if self.dtype.name == "bool" else value

    def start(self, shape: str) -> States:
        """The states of a block that nothing was reduced into."""
        states = [f"tl.full({shape}, {_inside_full(self.identity)}"]
        return states + [f"tl.full({shape}, {_inside_full(self.none)}"] * self.is_position

    def first(self, x: str, valid: str, position: str, shape: str) -> States:
        """The states of one element for each place of the block; `valid` may be empty: all."""
        x = x if self.held is self.dtype else f"{x}.to({REGISTER[self.held.name]})"
        states = [(x, self.identity)] + [(position, self.none)] * self.is_position
        chosen = [f"tl.where({valid}, {a}, {none})" if valid else a for a, none in states]
        return [f"tl.broadcast_to({a}, {shape})" if shape != "[]" else a for a in chosen]

    def merge(self, let: Let, states: States, more: States) -> States:
        """Both reduced; `more` came later."""
        a, b = states[0], more[0]
        if not self.is_position:
            return [self.combined(a, b)]
        none = self.none
        take = let(f"({more[1]} != {none}) & (({states[1]} == {none}) | {self._better(b, a)})")
        pairs = zip(more, states, strict=True)
        return [f"tl.where({take}, {x}, {y})" for x, y in pairs]

    def combined(self, a: str, b: str) -> str:
        if self.op == "sum":
            return f"({a} | {b})" if self.dtype.name == "bool" else f"({a} + {b})"
        if self.op == "prod":
            return f"({a} * {b})"
        nan = ", propagate_nan=tl.PropagateNan.ALL" if self.dtype.is_floating_point else ""
        return f"tl.{self._extreme}imum({a}, {b}{nan})"

    @property
    def _extreme(self) -> str:
        return "max" if OPS[self.op].best == "largest" else "min"

    def _better(self, x: str, best: str) -> str:
        """Whether a later element takes the place of the best so far."""
        beyond = f"({x} > {best})" if self._extreme == "max" else f"({x} < {best})"
        if not self.dtype.is_floating_point:
            return beyond
        missing = f"({x} != {x})"
        if self.op != "argmax_last_nan":
            missing = f"({missing} & ({best} == {best}))"
        return f"({beyond} | {missing})"

    # ---- across lanes --------------------------------------------------------------------------

    def across(self, let: Let, states: States, axis: int, shape: Sequence[int]) -> States:
        """What all lanes of a dimension make, which stays, with one place, beside another."""
        how = f"axis={axis}, keep_dims={len(shape) > 1}"
        x = states[0]
        if self.op == "sum":
            name = "max" if self.dtype.name == "bool" else "sum"
            return [let(f"tl.{name}({x}, {how})")]
        if self.op == "prod":
            return [self._product(let, x, axis, shape)]
        best = self._best(let, x, how)
        return [best] if not self.is_position else self._place(let, states, best, how)

    def _best(self, let: Let, x: str, how: str) -> str:
        if not self.dtype.is_floating_point:
            return let(f"tl.{self._extreme}({x}, {how})")
        missing = let(f"({x} != {x})")
        some = let(f"tl.max({missing}.to(tl.int32), {how})")
        best = let(f"tl.{self._extreme}(tl.where({missing}, {self.identity}, {x}), {how})")
        return let(f"tl.where({some} > 0, {literal(float('nan'), self.held)}, {best})")

    def _place(self, let: Let, states: States, best: str, how: str) -> States:
        """The first lane element that equals the best; of NaN the first, or the last."""
        x, position = states
        some = f"({position} != {self.none})"
        if not self.dtype.is_floating_point:
            hit = let(f"({some} & ({x} == {best}))")
            return [best, let(f"tl.min(tl.where({hit}, {position}, {self.none}), {how})")]
        missing = let(f"({x} != {x})")
        hit = let(f"({some} & (({x} == {best}) | ({missing} & ({best} != {best}))))")
        place = let(f"tl.min(tl.where({hit}, {position}, {self.none}), {how})")
        if self.op == "argmax_last_nan":
            none = f"tl.full([], -1, {self.index})"
            last = let(f"tl.max(tl.where({hit} & {missing}, {position}, {none}), {how})")
            place = let(f"tl.where({best} != {best}, {last}, {place})")
        return [best, place]

    def _product(self, let: Let, x: str, axis: int, shape: Sequence[int]) -> str:
        """By halves, as a fixed tree."""
        turned = len(shape) > 1 and axis == 0
        n, rows = shape[axis], list(shape[1 - axis : 2 - axis]) if len(shape) > 1 else []
        x = let(f"tl.permute({x}, (1, 0))") if turned else x
        while n > 1:
            n //= 2
            halves = let(f"tl.split(tl.reshape({x}, {[*rows, n, 2]}))")
            x = let(f"({halves}[0] * {halves}[1])")
        if not rows:
            return let(f"tl.sum({x}, axis=0)")
        return let(f"tl.permute({x}, (1, 0))") if turned else x

    def finish(self, states: States) -> str:
        """The result as a register value, not rounded."""
        if self.is_position:
            return f"tl.where({states[1]} == {self.none}, 0, {states[1]}).to(tl.int64)"
        if self.result.name == "bool":
            return f"({states[0]} != 0)"
        same = self.held is self.result and not self.double
        return states[0] if same else f"{states[0]}.to({REGISTER[self.result.name]})"


def _inside_full(scalar: str) -> str:
    """The value and dtype of a `tl.full([], ...)`, with its closing bracket."""
    return scalar.removeprefix("tl.full([], ")
