"""`graphc.verify`: a compiled step beside its meaning, on the very arguments of a call.

The step is compiled, but nothing of the user's changes: its programs run on copies of the
arguments and of all state. The same graphs are evaluated op by op as eager code does, and once more
in float64, which tells how much rounding is to be expected.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.errors import InvalidType, Mismatch
from graphc.frontend.step.alone import run_alone
from graphc.frontend.step.compiled import Compiled
from graphc.frontend.step.family import Entry
from graphc.frontend.step.inputs import inputs_of
from graphc.frontend.step.inspect.checking import excess, interpret_wide
from graphc.frontend.step.native import Native
from graphc.frontend.step.plan import Plan
from graphc.frontend.tensor import Tensor
from graphc.ir.graph import Graph, Value
from graphc.ir.interpret import interpret
from graphc.ir.rewrite import at_sizes
from graphc.ir.types import Array

__all__ = ["verify"]


@dataclass(frozen=True, slots=True)
class Compared:
    """One tensor that the step returns or stores: `excess` is its error over what may be."""

    name: str
    type: str
    where: str
    excess: float

    def __str__(self) -> str:
        return f"{self.excess:8.2f}  {self.name}: {self.type}  {self.where}"


SHOWN = 10  # rows of a verification's text


@dataclass(frozen=True, slots=True)
class Verification:
    """All tensors of a step, in the order in which they are computed."""

    rows: tuple[Compared, ...]

    def __str__(self) -> str:
        """The largest errors; `rows` has all."""
        head = f"{len(self.rows)} tensors agree; error over what rounding allows:"
        largest = sorted(self.rows, key=lambda row: -row.excess)[:SHOWN]
        if rest := len(self.rows) - len(largest):
            return "\n".join([head, *map(str, largest), f"    less in {rest} others"])
        return "\n".join([head, *map(str, self.rows)])


def verify(step: Any, *args: Any, **kwargs: Any) -> Verification:
    """Compare what `step(*args, **kwargs)` computes compiled, eagerly and in float64.

    Raises Mismatch, which names the first tensor whose error is more than rounding explains.
    """
    compiled = step if isinstance(step, Compiled) else vars(step).get("_compiled")
    if not isinstance(compiled, Compiled):
        raise InvalidType(
            f"verify() of a {type(step).__name__}, which is not compiled",
            fix="pass what graphc.compile() gave",
        )
    entry, leaves = compiled.entry(args, kwargs)
    rows = [row for part in _parts(entry, leaves) for row in _compared(*part, entry.plan)]
    for row in rows:
        if row.excess > 1:
            raise Mismatch(
                f"`{row.name}`: {row.type} differs by {row.excess:.3g} times what rounding allows"
                f"{f' ({row.where})' if row.where else ''}"
            )
    return Verification(tuple(rows))


def _parts(entry: Entry, leaves: Sequence[Tensor]) -> Iterator[tuple[Graph, Native, list[Array]]]:
    """The programs of an entry: forward, and backward if it is apart."""
    family, sizes = entry.family, entry.sizes
    graph = at_sizes(family.graph, sizes)
    inputs = inputs_of(entry.plan, graph, leaves)
    yield graph, family.native(family.graph, sizes), inputs
    if family.split is not None:
        split = family.split
        saved = at_sizes(
            Graph(graph.name, family.graph.inputs, family.graph.roles, split.saved,
                  (None,) * len(split.saved)),
            sizes,
        )  # fmt: skip
        backward = at_sizes(split.backward, sizes)
        known = interpret(saved, *inputs)
        seeds = [_seed(v, k) for k, v in enumerate(backward.inputs[len(known) :])]
        yield backward, family.native(split.backward, sizes), [*known, *seeds]


def _seed(v: Value, k: int) -> Array:
    random = np.random.default_rng(k)
    return random.standard_normal(v.spec.shape).astype(v.spec.dtype.numpy)


def _compared(
    graph: Graph, native: Native, inputs: Sequence[Array], plan: Plan
) -> Iterator[Compared]:
    eager, wide = interpret(graph, *inputs), interpret_wide(graph, inputs)
    results = run_alone(graph, native, inputs, plan.place)
    rows = zip(graph.outs, graph.targets, results, eager, wide, strict=True)
    order = sorted(enumerate(rows), key=lambda row: row[1][0].number)
    for k, (v, target, a, b, c) in order:
        name = target.name if target is not None else f"result {k}"
        error = excess(np.asarray(a), b, c, v.spec.dtype.name)
        yield Compared(name, str(v.spec), str(v.where), error)
