"""GRAPHC_VERIFY: each stage's graph, and the program, against the interpreter, on made-up inputs.

Stages may sum in another order, so floats agree within a tolerance of the element type that scales
with the size of the result; integers, bools and the places of NaN agree exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from graphc.errors import IndexOutOfRange, InternalError
from graphc.ir.graph import Graph, Value
from graphc.ir.interpret import interpret, values_of
from graphc.ir.ops import Op
from graphc.ir.rewrite import graphs_of
from graphc.ir.types import Array, TensorSpec

TOLERANCE = {"f64": 1e-9, "f32": 1e-3, "f16": 3e-2, "bf16": 1e-1}
SMALL = 1e-3  # of the largest output: what is smaller may be rounding alone, such as the gradient
# of a bias that batch norm takes away again
Run = Callable[[Sequence[Array]], Sequence[Array]]


def made_up(spec: TensorSpec, seed: int, indices: int = 2) -> Array:
    """Small positive numbers, which are in the domain of every op; of integers, so many."""
    rng = np.random.default_rng(seed)
    if spec.dtype.is_floating_point:
        return rng.uniform(0.1, 1.0, spec.shape).astype(spec.dtype.numpy)
    return rng.integers(0, indices, spec.shape).astype(spec.dtype.numpy)


def check(graph: Graph, stages: Sequence[tuple[str, Graph]], run: Run) -> None:
    """Raise InternalError naming the first stage that computes something else than `graph`.

    Not of loops that data end: by made-up inputs they may go on for ever.
    """
    if any(v.op is not None and v.op.kind == "routine" and graphs_of(v) for v in graph.values()):
        return
    inputs, wanted = computed(graph)
    before = graph
    for name, stage in stages:
        compare(name, wanted, interpret(stage, *inputs), graph, before)
        before = stage
    compare("the compiled program", wanted, run(inputs), graph, graph)


def computed(graph: Graph) -> tuple[list[Array], list[Array]]:
    """Made-up inputs of a graph and its outputs; indices are 0 where 1 is out of some range."""
    inputs = [made_up(v.spec, k) for k, v in enumerate(graph.inputs)]
    try:
        return inputs, interpret(graph, *inputs)
    except IndexOutOfRange:
        inputs = [made_up(v.spec, k, indices=1) for k, v in enumerate(graph.inputs)]
        return inputs, interpret(graph, *inputs)


class StageError(InternalError):
    """`stage` computes something else than the graph it was given, `before`."""

    def __init__(self, what: str, stage: str, before: Graph) -> None:
        super().__init__(
            what, fix="`python -m graphc bisect script.py` finds where; report what it writes"
        )
        self.stage, self.before = stage, before


def compare(
    stage: str, wanted: Sequence[Array], got: Sequence[Array], graph: Graph, before: Graph
) -> None:
    """Raise if what a stage made of `before` gives something else than `graph`."""
    floor = SMALL * max((size(a) for a in wanted), default=0.0)
    narrow = any(v.attrs.get("narrow") for v in graph.values())
    allowed = {**TOLERANCE, "f32": TOLERANCE["bf16"]} if narrow else TOLERANCE
    for v, a, b in zip(graph.outs, wanted, got, strict=True):
        if (error := difference(a, b, floor)) > allowed.get(v.spec.dtype.name, 0.0):
            raise StageError(
                f"{stage} changes the meaning of {graph.name}: {v.name}: {v.spec} differs by "
                f"{error:.2g} of its size",
                stage,
                before,
            )


def size(a: Array) -> float:
    """The root mean square of the finite elements; 0 of none, and of what is no float."""
    if a.dtype.kind in "iub":
        return 0.0
    x = a.astype(np.float64)
    x = x[np.isfinite(x)]
    return float(np.sqrt(np.mean(x * x))) if x.size else 0.0


def difference(a: Array, b: Array, floor: float) -> float:
    """The size of a - b over that of a (at least `floor`); infinite where NaNs differ."""
    if a.dtype.kind in "iub":
        return 0.0 if np.array_equal(a, b) else np.inf
    x, y = a.astype(np.float64), b.astype(np.float64)
    if not np.array_equal(np.isfinite(x), np.isfinite(y)):
        return np.inf
    with np.errstate(invalid="ignore"):
        return size(x - y) / max(size(x), floor, np.finfo(np.float64).tiny)


# ---- beside float64 ------------------------------------------------------------------------------

ROUNDING = {"f64": 1e-14, "f32": 1e-6, "f16": 1e-3, "bf16": 8e-3}  # of a result's size
FEW = (10, 10.0), (100, 5.0), (1000, 3.0), (math.inf, 2.0)  # up to so many: how much more
PEAK = 5.0  # how much more the largest error may be than the mean one


def interpret_wide(graph: Graph, inputs: Sequence[Array]) -> list[Array]:
    """`interpret` with every float in float64: what rounding errors are measured against."""

    def apply(v: Value, op: Op, args: list[Array]) -> Array:
        args = [*map(_wide, args)]  # constants are of their own types
        if op.name == "cast" and v.spec.dtype.is_floating_point:
            return args[0].astype(np.float64)
        inside = {"by": lambda body, *xs: interpret_wide(body, xs)} if graphs_of(v) else {}
        return _wide(np.asarray(op.evaluate(*args, **v.attrs, **inside)))

    with np.errstate(all="ignore"):
        env = values_of(graph, [*map(_wide, inputs)], apply)
    return [_wide(env[v]) for v in graph.outs]


def _wide(a: Array) -> Array:
    return a if a.dtype.kind in "iub" else a.astype(np.float64)


def excess(result: Array, eager: Array, wide: Array, dtype: str) -> float:
    """The error of `result` over what the rounding of `eager` allows: at most 1 where it is right.

    With e, r, s the root mean squares of eager - wide, result - wide and wide: r may be m e + t s,
    and so may the maxima, five times as much. Integers and the places of NaN and Inf are exact.
    """
    if dtype not in ROUNDING:
        return 0.0 if np.array_equal(result, eager) else np.inf
    x, y = result.astype(np.float64), eager.astype(np.float64)
    if not np.array_equal(np.isfinite(x), np.isfinite(y)):
        return np.inf
    kept = np.isfinite(y) & np.isfinite(wide)
    if not kept.any():
        return 0.0
    # Of few numbers the two errors, both chance, may differ much.
    m = next(m for n, m in FEW if y.size <= n)
    m = max(m, 3.0) if dtype in ("f16", "bf16") else m
    errors, allowed, sizes = (np.abs(a[kept]) for a in (x - wide, y - wide, wide))
    ratios = []
    for measure, factor in ((_rms, 1.0), (np.max, PEAK)):
        most = factor * (m * measure(allowed) + ROUNDING[dtype] * measure(sizes))
        ratios.append(float(measure(errors)) / max(float(most), np.finfo(np.float64).tiny))
    return max(ratios)


def _rms(a: Array) -> float:
    return float(np.sqrt(np.mean(a * a)))
