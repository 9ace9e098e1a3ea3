"""What a Graph means: each op's meaning, applied in order; the oracle of passes and back ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from graphc.ir.extent import extent_of
from graphc.ir.graph import Graph, Value, topological
from graphc.ir.ops import Op
from graphc.ir.rewrite import at_sizes
from graphc.ir.sizes import Evaluation, fix, same, unknowns
from graphc.ir.symbols import Symbol
from graphc.ir.types import Array, TensorSpec

COMPUTES = frozenset({"elementwise", "reduce", "contract"})


def evaluate(
    op: Op,
    args: Sequence[Array],
    attrs: Any,
    spec: TensorSpec,
    row: Callable[..., Array] | None = None,
) -> Array:
    """One op on arrays, by its meaning or by a `row` that agrees with it.

    16-bit floats compute in float32 and round once to the type of `spec`.
    """
    if 2 in [a.dtype.itemsize for a in args] and op.kind in COMPUTES and op.name != "cast":
        args = [a.astype(np.float32) if _is_half(a.dtype) else a for a in args]
    wanted = spec.dtype.numpy
    with np.errstate(all="ignore"):
        out = np.asarray((row or op.evaluate)(*args, **attrs))
        return out if out.dtype is wanted else out.astype(wanted, copy=False)


def _is_half(dtype: np.dtype[Any]) -> bool:
    return dtype.itemsize == 2 and dtype.kind not in "iu"


def constant(v: Value) -> Array:
    """A constant value as a broadcast array that owns one element."""
    return np.broadcast_to(np.array(v.const, v.spec.dtype.numpy), v.spec.shape)


def _sizes(graph: Graph, inputs: Sequence[Array]) -> Evaluation:
    """The extents that stand alone in the shapes of the inputs."""
    found: dict[Symbol, int] = {}
    for v, a in zip(graph.inputs, inputs, strict=True):
        for n, size in zip(v.shape, a.shape, strict=True):
            symbols = unknowns((n,))
            if len(symbols) == 1 and same(n, extent_of(*symbols)):
                found |= dict.fromkeys(symbols, size)
    return Evaluation(found)


def _rests_on(v: Value, known: Mapping[Value, Array]) -> bool:
    """Whether no other input is read; most values of a step are close to one."""
    stack, seen = [v], {v}
    while stack:
        u = stack.pop()
        if u.is_input and u not in known:
            return False
        stack += [a for a in u.args if a not in seen]
        seen.update(u.args)
    return True


def of_constants(v: Value, known: Mapping[Value, Array], fixing: bool = True) -> Array | None:
    """What v is, if it is computed of constants and inputs that are known alone. Sizes that it
    depends on are fixed; without `fixing` it is not known then."""
    if not _rests_on(v, known):
        return None
    needed = topological([v])
    inputs = tuple(u for u in needed if u.is_input)
    sizes = tuple((u.spec.shape, u.const, *u.attrs.values()) for u in needed)
    if not fixing and unknowns(sizes):
        return None
    fix(sizes, "the shape of a result")
    graph = Graph("constants", inputs, ("state",) * len(inputs), (v,), (None,))
    return interpret(graph, *(known[u] for u in inputs))[0]


def interpret(
    graph: Graph, *inputs: Array, rows: Mapping[str, Callable[..., Array]] | None = None
) -> list[Array]:
    """The outputs of `graph` on arrays, one per input, of the declared types.

    The arrays say what its extents are. `rows`, by the names of ops, are used in place of meanings
    that they agree with.
    """
    rows = rows or {}

    def apply(v: Value, op: Op, args: list[Array]) -> Array:
        return evaluate(op, args, v.attrs, v.spec, rows.get(op.name))

    if any(not v.spec.is_fixed for v in graph.inputs):
        graph = at_sizes(graph, _sizes(graph, inputs))
    env = values_of(graph, inputs, apply)
    return [np.asarray(env[v]) for v in graph.outs]


def values_of(
    graph: Graph, inputs: Sequence[Array], apply: Callable[[Value, Op, list[Array]], Array]
) -> dict[Value, Array]:
    """Every value of a graph of fixed sizes, where `apply` says what an op gives."""
    env: dict[Value, Array] = dict(zip(graph.inputs, inputs, strict=True))
    for v in graph.values():
        if v.op is not None:
            env[v] = apply(v, v.op, [env[a] for a in v.args])
        elif v.const is not None:
            env[v] = constant(v)
    return env
