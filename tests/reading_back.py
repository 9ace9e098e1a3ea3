"""`parse(show(x)) == x` for Graph, Kernel and Program: what does not read back, said in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from graphc.frontend.step.capture import capture
from graphc.frontend.step.signature import signature as call_signature
from graphc.frontend.tensor import Tensor
from graphc.ir import kernel_text, program_text, text
from graphc.ir.graph import Graph
from graphc.ir.kernel import Kernel
from graphc.ir.program import Program
from graphc.ir.rewrite import graphs_of
from graphc.passes.pipeline import Compiled, compile_graph
from tests.targets import CPU


def signature(graph: Graph) -> list[object]:
    """Everything that makes two graphs equal: provenance, layouts and bodies of loops, too."""
    values = graph.values()
    number = {v: k for k, v in enumerate([*graph.inputs, *(v for v in values if not v.is_input)])}
    rows = [
        (v.name, str(v.spec), v.op, [number[a] for a in v.args], text.show_attrs(v.attrs),
         text.show_literal(v.const), v.where, *map(signature, graphs_of(v).values()))
        for v in number
    ]  # fmt: skip
    targets = [None if t is None else number[t] for t in graph.targets]
    row_major = {v: tuple(range(len(v.shape))) for v in graph.orders}
    orders = {number[v]: o for v, o in graph.orders.items() if o != row_major[v]}
    return [graph.name, graph.roles, rows, [number[v] for v in graph.outs], targets, orders]


def of_graph(graph: Graph) -> str:
    shown = text.show(graph)
    again = text.parse(shown)
    if text.show(again) != shown:
        return f"graph {graph.name} prints otherwise once read"
    return "" if signature(again) == signature(graph) else f"graph {graph.name} reads otherwise"


def of_kernel(kernel: Kernel) -> str:
    shown = kernel_text.show(kernel)
    again = kernel_text.parse(shown)
    if kernel_text.show(again) != shown or again.note != kernel.note:
        return f"kernel {kernel.name} prints otherwise once read"
    same = _plain(again) == _plain(kernel) or "const nan" in shown
    return "" if same else f"kernel {kernel.name} reads otherwise"


def _plain(kernel: Kernel) -> object:
    """What is equal of equal kernels, the graphs that they run included."""
    if kernel.call is None:
        return kernel
    attrs = [(k, signature(a) if isinstance(a, Graph) else a) for k, a in kernel.call.attrs]
    return replace(kernel, call=replace(kernel.call, attrs=())), attrs


def of_program(program: Program) -> str:
    kernels = {k.name: k for k in program.kernels()}
    if len(kernels) < len({k.key() for k in program.kernels()}):
        return "two kernels have one name"
    shown = program_text.show(program)
    again = program_text.parse(shown, kernels)
    if program_text.show(again) != shown:
        return "the program prints otherwise once read"
    numbers = [c for launch in program.launches for c in launch.scalars]
    return "" if again == program or "nan" in map(repr, numbers) else "the program reads otherwise"


def of_compiled(compiled: Compiled) -> str:
    """Every stage of a compilation."""
    graphs = [s.graph for s in compiled.stages if s.graph is not None]
    program = compiled.program
    found = [*map(of_graph, graphs), *map(of_kernel, program.kernels()), of_program(program)]
    return "; ".join(filter(None, found))


def traced(function: Callable[..., Any], args: Sequence[Any]) -> Graph:
    """The graph of one call, derivatives and updates in it, without any native code."""
    leaves: list[Tensor] = []
    call_signature(args, {}, leaves)
    names = [f"x{k}" for k in range(len(leaves))]
    return capture(function, args, {}, leaves, names, "f").graph


def of_function(function: Callable[..., Any], args: Sequence[Any]) -> str:
    return of_compiled(compile_graph(traced(function, args), CPU))
