"""Eager operations as programs of one operation, each compiled once for its types: all of a GPU's,
what is too large for NumPy, and what random draws round.

Numbers beside tensors are arguments of the call, but for those that rewrite rules know: a rate that
changes at each step compiles nothing. Routines without code run on the host.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from graphc.errors import GraphcError, user_location
from graphc.frontend.eager.pool import POOL
from graphc.frontend.places import HOST, DevicePlace, Place
from graphc.frontend.step.family import Backend
from graphc.frontend.step.memory import begins_well
from graphc.frontend.step.native import Native, Template
from graphc.frontend.views import inverse, row_major
from graphc.ir import sugar as P
from graphc.ir.builder import Builder
from graphc.ir.extent import extent_of
from graphc.ir.graph import Graph, Value
from graphc.ir.interpret import evaluate
from graphc.ir.ops import Attrs, Op
from graphc.ir.sizes import Evaluation
from graphc.ir.symbols import TYPICAL, Extents, Symbol
from graphc.ir.types import FROM_NUMPY, Array, DType, Scalar, Shape, TensorSpec, f32, f64, i64

KEPT = 4096  # programs; each is a small table, its kernels are the library's
ARGUMENTS = {f32: f32, f64: f64, i64: i64}  # how a number of a type reaches a program
EXACT = (0.0, 1.0, -1.0, 2.0, 0.5)  # floats that rules look for


class Laid(NamedTuple):
    """An operand as it lies in memory, which its program reads as it is: dense, with the dimensions
    of `order`, outermost first, and repeated along all others."""

    spec: TensorSpec
    order: Shape

    @property
    def memory(self) -> TensorSpec:
        return TensorSpec(self.spec.dtype, tuple(self.spec.shape[k] for k in self.order))


class Number(NamedTuple):
    """An argument of the call: how it is passed, and of which type it is used."""

    passed: DType
    used: DType


Operands = Sequence[Any]  # arrays of a device, and as 0-d arrays of the host numbers


class OneOp:
    """The programs of one device."""

    def __init__(
        self, backend: Backend, has_code: Callable[[str, DType, int], bool], kept: int = KEPT
    ) -> None:
        """`has_code`: of which routines, over rows of a type and length. `kept`: programs."""
        self._backend, self._has_code, self._kept = backend, has_code, kept
        self._programs: OrderedDict[Hashable, Native] = OrderedDict()
        self._found: dict[Hashable, Native] = {}  # the same by what NumPy says of operands

    def __call__(
        self, place: DevicePlace, op: Op, operands: Operands, attrs: Attrs, spec: TensorSpec
    ) -> Any:
        by_host = op.kind == "routine" and not self._takes(op, operands, attrs)
        if by_host or not spec.numel:
            return on_host(place, op, operands, attrs, spec)
        numbers = [type(a) is np.ndarray for a in operands]
        return self.run(place, op, operands, numbers, attrs, spec)

    def run(
        self, place: Place, op: Op, operands: Operands, numbers: Sequence[bool], attrs: Attrs,
        spec: TensorSpec,
    ) -> Any:  # fmt: skip
        """By compiled code. `numbers` tells which operands are no tensors."""
        key = _as_found(op, operands, attrs) if not any(numbers) else None
        if (native := self._found.get(key)) is not None:
            return self._ran(native, place, operands, (), spec)
        parts: list[Any] = []
        arrays: list[Array] = []
        for a, is_number in zip(operands, numbers, strict=True):
            if is_number:
                parts.append(_argument(a, op))
            else:
                part, array = usable(place, a)
                parts.append(part)
                arrays.append(array)
        native = self._program(op, parts, attrs, spec)
        if key is not None:
            self._found[key] = native
        scalars = [a.item() for a, part in zip(operands, parts) if isinstance(part, Number)]
        return self._ran(native, place, arrays, scalars, spec)

    def _ran(
        self, native: Native, place: Place, arrays: Operands, scalars: Sequence[Scalar],
        spec: TensorSpec,
    ) -> Any:  # fmt: skip
        """`arrays` are alive while it runs."""
        out = self._empty(place, spec)
        try:
            native.run([*map(place.address, arrays)], [place.address(out)], scalars)
            native.settle()
        except GraphcError as e:  # its line is that of the first call
            e.where = user_location()
            raise
        return out

    def _empty(self, place: Place, spec: TensorSpec) -> Any:
        dtype = np.dtype(spec.dtype.numpy)
        return (POOL if place is HOST else place).empty(spec.shape, dtype)

    def _takes(self, op: Op, operands: Operands, attrs: Attrs) -> bool:
        """Whether a routine has code."""
        x = operands[0]
        if "axis" not in attrs or type(x) is np.ndarray:
            return False
        return self._has_code(op.name, FROM_NUMPY[x.dtype], x.shape[attrs["axis"]])

    def _program(self, op: Op, parts: Sequence[Any], attrs: Attrs, spec: TensorSpec) -> Native:
        key = (op, *map(_named, parts), *sorted(attrs.items()), spec)
        native = self._programs.get(key)
        if native is None:
            native = self._made(op, parts, attrs, spec)
            native.bind_state([])
            self._programs[key] = native
            if len(self._programs) > self._kept:
                self._programs.popitem(last=False)
                self._found.clear()
        else:
            with suppress(KeyError):  # another thread has dropped it
                self._programs.move_to_end(key)
        return native

    def _made(self, op: Op, parts: Sequence[Any], attrs: Attrs, spec: TensorSpec) -> Native:
        _, template = self._backend.build(one_op(op, parts, attrs, spec), 0.0)
        return template.at(Evaluation({}))


class OverVectors(OneOp):
    """Elementwise operations, whose code serves vectors of any length."""

    def __init__(self, backend: Backend, kept: int = KEPT) -> None:
        super().__init__(backend, lambda *_: False, kept)
        self._templates: dict[Hashable, tuple[Symbol, Template]] = {}

    def run(
        self, place: Place, op: Op, operands: Operands, numbers: Sequence[bool], attrs: Attrs,
        spec: TensorSpec,
    ) -> Any:  # fmt: skip
        flat = [
            a if is_number else place.row_major(a).reshape(-1)
            for a, is_number in zip(operands, numbers, strict=True)
        ]
        line = TensorSpec(spec.dtype, (spec.numel,))
        return super().run(place, op, flat, numbers, attrs, line).reshape(spec.shape)

    def _made(self, op: Op, parts: Sequence[Any], attrs: Attrs, spec: TensorSpec) -> Native:
        types = (p.dtype if isinstance(p, TensorSpec) else _named(p) for p in parts)
        key = (op, *types, *sorted(attrs.items()))
        if key not in self._templates:
            self._templates[key] = self._opened(op, parts, attrs, spec)
        symbol, template = self._templates[key]
        return template.at(Evaluation({symbol: spec.numel}))

    def _opened(
        self, op: Op, parts: Sequence[Any], attrs: Attrs, spec: TensorSpec
    ) -> tuple[Symbol, Template]:
        scope = Extents()
        symbol = scope.symbol("N", "other", TYPICAL["other"])

        def line(part: Any) -> Any:
            known = isinstance(part, TensorSpec)
            return TensorSpec(part.dtype, (extent_of(symbol),)) if known else part

        with scope.passes():
            graph = one_op(op, [*map(line, parts)], attrs, line(spec))
            _, template = self._backend.build(graph, 0.0)
        assert not scope.conditions, f"the code of {op} depends on how many elements there are"
        return symbol, template


def _as_found(op: Op, operands: Operands, attrs: Attrs) -> Hashable:
    """What tells a program of the host apart where all operands lie row by row; else None."""
    if not all([type(a) is np.ndarray and a.flags.c_contiguous for a in operands]):
        return None
    return (op, *[a.shape for a in operands], *[a.dtype for a in operands], *attrs.items())


def _named(part: Any) -> Hashable:
    """0.0 and -0.0, 1 and True differ by their texts."""
    return repr(part) if _is_constant(part) else part


def _argument(a: Array, op: Op) -> Any:
    """What a number is in the program: the type of an argument, or itself, a constant."""
    dtype = FROM_NUMPY[a.dtype]
    if op.kind == "source":
        return Number(dtype, dtype)
    if dtype.is_floating_point and a.item() not in EXACT and np.isfinite(a):
        return Number(ARGUMENTS.get(dtype, f32), dtype)
    return a.astype(np.float64).item() if dtype.is_half else a.item()


def usable(place: Place, array: Array) -> tuple[TensorSpec | Laid, Array]:
    """What a program reads an operand as, and where: in its own memory or else in a copy."""
    spec = TensorSpec(FROM_NUMPY[array.dtype], tuple(array.shape))
    if not array.flags.c_contiguous and begins_well(array):
        laid = lying(spec, array.strides)
        if laid is not None:
            return laid, array
    return spec, place.row_major(array)


def lying(spec: TensorSpec, strides: Shape) -> Laid | None:
    """How elements with these strides, in bytes, lie; None if there are gaps between them."""
    own = [k for k, n in enumerate(spec.shape) if n > 1 and strides[k]]
    order = tuple(sorted(own, key=lambda k: -strides[k]))
    dense = row_major([spec.shape[k] for k in order])
    gapless = all(strides[k] == step * spec.dtype.itemsize for k, step in zip(order, dense))
    return Laid(spec, order) if gapless else None


def one_op(op: Op, parts: Sequence[Any], attrs: Attrs, spec: TensorSpec) -> Graph:
    """`op` on operands of these types, constants, and arguments of the call."""
    builder = Builder()
    inputs: list[Value] = []
    shape = next((p.shape for p in map(_spec, parts) if p is not None), ())
    values: list[Any] = []
    for k, part in enumerate(parts):
        if isinstance(part, TensorSpec):
            inputs.append(builder.input(f"x{k}", part))
            values.append(inputs[-1])
        elif isinstance(part, Laid):
            inputs.append(builder.input(f"x{k}", part.memory))
            values.append(_seen(inputs[-1], part))
        elif isinstance(part, Number):
            inputs.append(builder.input(f"x{k}", TensorSpec(part.passed, ())))
            values.append(_spread(inputs[-1], part.used, shape))
        else:
            values.append(part)
    roles = ("scalar" if isinstance(p, Number) else "arg" for p in parts if not _is_constant(p))
    out = builder.emit(op, values, attrs)
    return Graph(op.name, tuple(inputs), tuple(roles), (out,), (None,))


def _seen(memory: Value, laid: Laid) -> Value:
    """An operand as the operation sees it."""
    shape, order = laid.spec.shape, laid.order
    turned = P.transpose(memory, inverse([sorted(order).index(k) for k in order]))
    return P.expand_over(turned, tuple(k for k in range(len(shape)) if k not in order), shape)


def _is_constant(part: Any) -> bool:
    return not isinstance(part, TensorSpec | Laid | Number)


def _spec(part: Any) -> TensorSpec | None:
    """Of a tensor."""
    part = part.spec if isinstance(part, Laid) else part
    return part if isinstance(part, TensorSpec) else None


def _spread(number: Value, dtype: DType, shape: tuple[int, ...]) -> Value:
    """An argument as an operand beside tensors of `dtype` and `shape`."""
    return P.expand_over(P.cast(number, dtype), tuple(range(len(shape))), shape)


def on_host(place: DevicePlace, op: Op, operands: Operands, attrs: Attrs, spec: TensorSpec) -> Any:
    """By the op's NumPy meaning."""
    arrays = [a if type(a) is np.ndarray else place.download(a) for a in operands]
    made = evaluate(op, arrays, attrs, spec)
    out = place.empty(spec.shape, spec.dtype.numpy)
    place.upload(out, np.array(made, order="C"), wait=True)
    return out
