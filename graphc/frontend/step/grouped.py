"""Groups of eager mode's elementwise lines (`eager/groups.py`) as programs of one kernel, and its
blocks (`eager/blocks.py`) as programs.

A domain of one dimension is open: its program serves all sizes. Other domains have a program for
each size, of kernels that the library shares."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence

from graphc.frontend.eager.groups import Recipe, Runner
from graphc.frontend.places import HOST
from graphc.frontend.step.family import Backend
from graphc.frontend.step.native import Native, Template
from graphc.ir import sugar as P
from graphc.ir.builder import Builder
from graphc.ir.extent import extent_of
from graphc.ir.graph import Graph, Value
from graphc.ir.sizes import Evaluation
from graphc.ir.symbols import TYPICAL, Extents, Symbol
from graphc.ir.types import Array, DType, Scalar, Shape, TensorSpec


class Groups:
    """The programs of one process."""

    def __init__(self, backend: Backend, busy: Callable[[], bool], kept: int) -> None:
        """`busy`: whether a program is running that this call interrupts; `kept`: programs."""
        self._backend, self._busy, self._kept = backend, busy, kept
        self._open: dict[Recipe, tuple[Symbol, Template]] = {}
        self._programs: OrderedDict[Hashable, Native] = OrderedDict()

    def __call__(self, recipe: Recipe, sizes: Shape) -> Runner:
        return self._runner(self._program(recipe, sizes))

    def of(self, graph: Graph) -> Runner:
        """A graph whose operands and results lie row by row."""
        native = self.native(graph)
        native.bind_state([])
        return self._runner(native)

    def native(self, graph: Graph) -> Native:
        """A graph as a program, not yet bound to its state."""
        return self._backend.build(graph, 0.0)[1].at(Evaluation({}))

    def _runner(self, native: Native) -> Runner:
        address = HOST.address

        def run(arrays: Sequence[Array], outs: Sequence[Array]) -> bool:
            if self._busy():
                return False
            native.run([*map(address, arrays)], [*map(address, outs)])
            native.settle()
            return True

        return run

    def _program(self, recipe: Recipe, sizes: Shape) -> Native:
        key = recipe, sizes
        native = self._programs.get(key)
        if native is None:
            native = self._programs[key] = self._made(recipe, sizes)
            native.bind_state([])
            if len(self._programs) > self._kept:
                self._programs.popitem(last=False)
        return native

    def _made(self, recipe: Recipe, sizes: Shape) -> Native:
        if len(sizes) != 1:
            return self._backend.build(graph_of(recipe, sizes), 0.0)[1].at(Evaluation({}))
        if recipe not in self._open:
            scope = Extents()
            symbol = scope.symbol("N", "other", TYPICAL["other"])
            with scope.passes():
                graph = graph_of(recipe, (extent_of(symbol),))
                self._open[recipe] = symbol, self._backend.build(graph, 0.0)[1]
            assert not scope.conditions, "the code of a group depends on how many elements it has"
        symbol, template = self._open[recipe]
        return template.at(Evaluation({symbol: sizes[0]}))


def graph_of(recipe: Recipe, sizes: Shape) -> Graph:
    """A group as a graph over a domain of these sizes."""
    builder = Builder()
    inputs: list[Value] = []
    values: list[Value] = []
    for dtype, has in recipe.inputs:
        shape = tuple(n for n, here in zip(sizes, has) if here)
        x = builder.input(f"x{len(inputs)}", TensorSpec(dtype, shape))
        inputs.append(x)
        lacks = tuple(k for k, here in enumerate(has) if not here)
        values.append(P.expand_over(x, lacks, sizes) if lacks else x)
    for step in recipe.steps:
        reads = [
            builder.constant(_number(k, dtype), TensorSpec(dtype, sizes))
            if isinstance(k, str)
            else values[k]
            for k, dtype in zip(step.reads, step.dtypes)
        ]
        values.append(builder.emit(step.op, reads, dict(step.attrs)))
    outs = tuple(values[k] for k in recipe.outs)
    roles = ("arg",) * len(inputs)
    return Graph("group", tuple(inputs), roles, outs, (None,) * len(outs))


def _number(text: str, dtype: DType) -> Scalar:
    return float(text) if dtype.is_floating_point else text == "True"
