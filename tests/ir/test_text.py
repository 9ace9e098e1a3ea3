"""The Graph printer and parser: a fixed golden text, and the round trip on awkward graphs."""

from __future__ import annotations

import math

import numpy as np
import pytest

from graphc.errors import FileFormatError, GraphcError
from graphc.ir import sugar as P
from graphc.ir import types as T
from graphc.ir.builder import Builder
from graphc.ir.graph import Graph, Value, Where
from graphc.ir.interpret import interpret
from graphc.ir.text import escaped, parse, parse_where, read_attrs, show, show_attrs
from graphc.ir.types import TensorSpec
from tests.reading_back import signature

STEP = """\
// graphc 1  train_step  simplify 3/6  ops 11 -> 9  B=128
graph(%x: f32[128,64], %y: f32[128,10], scalar %lr: f32[], state %fc.weight: f32[10,64]) {
  %1: f32[128,10] = dot %x %fc.weight {batch=() contract=((1,1),)} # net.py:9 fc
  %2: f32[128,10] = sub %1 %y                              # train.py:14 train_step
  %3: f32[128,10] = mul %2 %2                              # train.py:14 train_step
  %4: f32[] = sum %3 {axes=(0,1)}                          # train.py:14 train_step
  %5: f32[128,10] = 2.0                                    # bw train.py:14 train_step
  %6: f32[128,10] = mul %2 %5                              # bw train.py:14 train_step
  %7: f32[10,64] = dot %6 %x {batch=() contract=((0,0),)}  # bw net.py:9 fc
  %r: f32[1,1] = reshape %lr {shape=(1,1)}                 # opt train.py:16 fc.weight
  %e: f32[10,64] = expand %r {shape=(10,64)}               # opt train.py:16 fc.weight
  %8: f32[10,64] = mul %7 %e                               # opt train.py:16 fc.weight
  %9: f32[10,64] = sub %fc.weight %8                       # opt train.py:16 fc.weight
  return %4, state %fc.weight = %9
}
"""


def test_text_of_a_step_parses_and_prints_the_same() -> None:
    graph = parse(STEP)
    assert show(graph, "simplify 3/6  ops 11 -> 9  B=128") == STEP
    assert graph.roles == ("arg", "arg", "scalar", "state")
    assert graph.targets == (None, graph.inputs[3])
    assert graph.outs[1].where == Where("opt", "train.py", 16, "fc.weight")


def test_parsed_graph_computes_the_same() -> None:
    graph = parse(STEP)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((128, 64), np.float32), rng.standard_normal((128, 10), np.float32)
    w, lr = rng.standard_normal((10, 64), np.float32), np.float32(0.1)
    once = interpret(graph, x, y, np.asarray(lr), w)
    again = interpret(parse(show(graph)), x, y, np.asarray(lr), w)
    assert all(np.array_equal(a, b) for a, b in zip(once, again))


def awkward() -> Graph:
    """Special numbers, texts with every delimiter, every dtype, an unused input, no scope."""
    b = Builder()
    x = b.input("x", TensorSpec(T.f32, (2, 3)), Where("", "my file.py", 3, "a.b"))
    i = b.input("index", TensorSpec(T.i64, ()), Where())
    unused = b.input("unused", TensorSpec(T.bf16, ()), Where("bw"))
    with b.at(Where("bw", "net.py", 7)):
        low = P.pad(x, (0, 1), (2, 0), -math.inf)
        nan = b.constant(math.nan, TensorSpec(T.f16, (0, 3)))
        zero = b.constant(-0.0, TensorSpec(T.f64, ()))
        flag = b.constant(True, TensorSpec(T.bool_, ()))
        big = b.constant(-(2**63), TensorSpec(T.i64, ()))
    with b.at(Where("", "", 0, "")):
        what = 'it\'s "1 # 2", {a=(b)}\n%x'
        checked: Value = P.apply("check_index", i, bound=5, what=what)
        iota: Value = x.builder.apply("iota", shape=(4,), axis=0, dtype="u8")
    outs = (low, nan, zero, flag, big, checked, iota, x)
    return Graph("net.<lambda>", (x, i, unused), ("arg", "state", "scalar"), outs, (None,) * 8)


def test_round_trip_of_awkward_values() -> None:
    graph = awkward()
    assert signature(parse(show(graph))) == signature(graph)
    assert show(parse(show(graph))) == show(graph)


def test_long_input_lists_take_a_line_each() -> None:
    b = Builder()
    xs = tuple(b.input(f"layer{k}.weight", TensorSpec(T.f32, (16, 16)), Where()) for k in range(9))
    graph = Graph("f", xs, ("state",) * 9, (xs[0],), (None,))
    text = show(graph)
    assert max(map(len, text.splitlines())) <= 100
    assert signature(parse(text)) == signature(graph)


def test_no_inputs_and_no_outputs() -> None:
    graph = Graph("empty", (), (), (), ())
    assert show(graph) == "// graphc 1  empty\ngraph() {\n  return\n}\n"
    assert signature(parse(show(graph))) == signature(graph)


def test_orders_round_trip() -> None:
    b = Builder()
    x, w = (b.input(n, TensorSpec(T.f32, (2, 3)), Where("", "a.py", 1)) for n in "xw")
    for inputs in ((x, w), (w,)):
        graph = Graph("f", inputs, ("state",) * len(inputs), (w,), (None,), {w: (1, 0)})
        assert "state %w: f32[2,3] order (1,0)" in show(graph)
        again = parse(show(graph))
        assert again.orders == {again.inputs[-1]: (1, 0)}
        assert signature(again) == signature(graph)


PLACES = [
    Where(), Where("bw"), Where("opt", "a.py", 3, "x.y"), Where("", "", 0, "f"),
    Where("", "a.py", 3, "a\\b\nc"),
]  # fmt: skip


@pytest.mark.parametrize("where", PLACES)
def test_provenance_round_trip(where: Where) -> None:
    assert parse_where(escaped(str(where))) == where


@pytest.mark.parametrize(
    "attrs",
    [
        {"axes": ()},
        {"axes": (1,)},
        {"padding": ((0, 1), (2, 3)), "groups": 2},
        {"value": 1e-05},
        {"what": "a }{ 'b'"},
    ],
)
def test_attributes_round_trip(attrs: dict[str, object]) -> None:
    assert read_attrs(show_attrs(attrs) + " # tail") == (attrs, " # tail")


def edited(old: str, new: str) -> str:
    assert old in STEP
    return STEP.replace(old, new)


@pytest.mark.parametrize(
    "text, complaint",
    [
        ("graph() {\n  return\n}", "must begin"),
        (STEP.partition("  return")[0], "ends before its return"),
        (edited("graph(%x", "grph(%x"), 'expected "graph("'),
        (edited("%1: f32[128,10] =", "%1: f32[128,11] ="), "declared f32[128,11], but dot gives"),
        (edited("mul %2 %2", "mul %2 %77"), "%77 is not defined above"),
        (edited("mul %2 %2", "mull %2 %2"), "neither an op nor a number"),
        (edited("%3: f32[128,10]", "%3: float[128,10]"), "is not a type"),
        (
            edited("f32[10,64])", "f32[10,64] order (0))"),
            "no order",
        ),
        (edited("axes=(0,1)", "axes=(0,?)"), "not a literal"),
        (edited("return %4", "return %44"), "%44 is not defined above"),
    ],
)
def test_damaged_text_is_refused_with_its_line(text: str, complaint: str) -> None:
    with pytest.raises(FileFormatError) as e:
        parse(text)
    assert complaint in str(e.value)


def test_a_row_that_breaks_the_type_rule_is_refused() -> None:
    with pytest.raises(GraphcError, match="reshape"):
        parse(edited("{shape=(1,1)}", "{shape=(1,2)}"))
