"""Groups that are alike are lowered once, and what their kernels say is their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from graphc.ir import kernel_text, records
from graphc.ir.builder import Builder
from graphc.ir.graph import Graph, Value, Where
from graphc.ir.ops import OPS
from graphc.ir.types import TensorSpec, f32, i32
from graphc.passes import pipeline
from graphc.passes.lower import lower
from graphc.passes.nest import Lowered
from graphc.passes.pipeline import lower_graph, run_passes
from graphc.passes.repeats import Repeats
from tests.targets import CPU

Layer = Callable[[Value, Value], Value]


def dense(x: Value, w: Value) -> Value:
    z = x.builder.emit(OPS["dot"], (x, w), {"batch": (), "contract": ((1, 0),)})
    return x.builder.apply("relu", z) + x.builder.apply("exp", z)


def divided(x: Value, w: Value) -> Value:
    """Integers by what may be zero: each says where it failed."""
    return x.builder.apply("floordiv", x.builder.apply("sum", w, axes=(0,)), x)


def layers(layer: Layer, count: int, dtype: Any = f32) -> Graph:
    """Each in a module of its own; in every other one the sum stands on another line."""
    b = Builder()
    shape = (64, 64) if layer is dense else (64,)
    x = first = b.input("x", TensorSpec(dtype, shape), Where())
    weights = [b.input(f"w{k}", TensorSpec(dtype, (64, 64)), Where()) for k in range(count)]
    for k, w in enumerate(weights):
        with b.at(Where("", "net.py", 3 + k % 2, f"layers.{k}")):
            x = layer(x, w)
    inputs = (first, *weights)
    return Graph("f", inputs, ("arg",) * len(inputs), (x,), (None,))


def lowered(
    graph: Graph, monkeypatch: pytest.MonkeyPatch, repeats: bool = True
) -> tuple[list[Lowered], int]:
    """The kernels of a graph, and how many of them were lowered."""
    calls = [0]

    def counted(*args: Any) -> Lowered:
        calls[0] += 1
        return lower(*args)

    with monkeypatch.context() as m:
        m.setattr(pipeline, "lower", counted)
        if not repeats:
            m.setattr(Repeats, "lowered", lambda self, group, lower: lower())
        found, _ = lower_graph(run_passes(graph, pipeline.PIPELINE, CPU), CPU)
    return found, calls[0]


def told(kernels: list[Lowered]) -> list[Any]:
    """All that a schedule sees of them."""
    return [
        (
            kernel_text.show(k.kernel),
            k.kernel.key(),
            [v.name for v in k.buffers],
            [v.name for v in k.members],
            k.sizes,
            k.scalars,
        )
        for k in kernels
    ]


def test_twice_the_layers_lower_no_more_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    few, once = lowered(layers(dense, 8), monkeypatch)
    many, still = lowered(layers(dense, 16), monkeypatch)
    assert len(many) >= len(few) + 8
    assert once == still < len(few)


def test_a_repeat_says_what_its_own_lowering_would_say(monkeypatch: pytest.MonkeyPatch) -> None:
    one_by_one, calls = lowered(layers(dense, 8), monkeypatch, repeats=False)
    assert calls == len(one_by_one)
    kernels, _ = lowered(layers(dense, 8), monkeypatch)
    assert told(kernels) == told(one_by_one)
    texts = "\n".join(kernel_text.show(k.kernel) for k in kernels)
    assert all(f"layers.{k}" in texts for k in range(8))


def test_what_may_fail_is_lowered_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = layers(divided, 4, i32)
    kernels, _ = lowered(graph, monkeypatch)
    assert told(kernels) == told(lowered(layers(divided, 4, i32), monkeypatch, repeats=False)[0])
    assert any(k.may_fail() for k in kernels)


def test_repeats_are_stored_and_read_as_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = lowered(layers(dense, 8), monkeypatch)
    kernels = tuple(k.kernel for k in found)
    data = records.written(kernels)
    back = records.read(data, {})
    assert list(map(kernel_text.show, back)) == list(map(kernel_text.show, kernels))
    assert [k.key() for k in back] == [k.key() for k in kernels]
    assert records.written(back) == data
