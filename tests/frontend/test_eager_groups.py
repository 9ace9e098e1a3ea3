"""Groups of elementwise lines: the bits of one line at a time, in any graph, and fewer passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
import graphc.nn.functional as F
from graphc.autograd.graph import saved_tensors_hooks
from graphc.frontend.eager import groups, lines
from graphc.frontend.eager.compiled import AGAIN
from graphc.frontend.eager.lines import Lines, Together
from graphc.frontend.step.native_backend import native
from graphc.ir import sugar as P
from graphc.ir.builder import Builder
from graphc.ir.cpu_abi import RUNNING
from graphc.ir.graph import Value
from graphc.ir.types import Array, TensorSpec, bool_, f32

T = graphc.Tensor
SPECIAL = [0.0, -0.0, 1.0, -1.5, np.inf, -np.inf, np.nan, 1e-45, 3e38, -1e-39]


def noise(shape: tuple[int, ...], seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    return np.where(rng.random(shape) < 0.1, rng.choice(SPECIAL, shape), x).astype(np.float32)


def bits(x: Array) -> bytes:
    """-0 is not 0; a NaN is any NaN: of two, either may be the one that is handed on."""
    return np.where(x == x, x, np.array(np.nan, x.dtype)).astype(x.dtype).tobytes()


LARGE: dict[str, tuple[Callable[..., T], tuple[tuple[int, ...], ...]]] = {
    "gelu": (F.gelu, ((200, 300),)),
    "layer_norm": (lambda x, w, b: F.layer_norm(x, [300], w, b), ((200, 300), (300,), (300,))),
    "group_norm": (lambda x, w, b: F.group_norm(x, 2, w, b), ((40, 4, 700), (4,), (4,))),
    "batch_norm": (
        lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True),
        ((20, 4, 40, 35), (4,), (4,)),
    ),
    "softmax": (lambda x: F.softmax(x, -1), ((200, 700),)),
    "silu": (F.silu, ((200, 700),)),
    "hardswish": (F.hardswish, ((200, 700),)),
    "huber": (lambda x, y: F.huber_loss(x, y), ((200, 700), (200, 700))),
}


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many operations each group had that compiled code has run."""
    seen: list[int] = []
    make = groups.MAKERS[-1]

    def making(recipe: groups.Recipe, sizes: tuple[int, ...]) -> groups.Runner:
        run = make(recipe, sizes)

        def noted(arrays: Any, outs: Any) -> bool:
            seen.append(len(recipe.steps))
            return run(arrays, outs)

        return noted

    monkeypatch.setattr(groups, "MAKERS", [making])
    monkeypatch.setattr(lines, "MAKERS", [making])
    return seen


@pytest.mark.parametrize("name", LARGE)
def test_bits_are_those_of_one_operation_at_a_time(name: str, compiled: list[int]) -> None:
    function, shapes = LARGE[name]

    def step() -> list[bytes]:
        xs = [graphc.from_numpy(noise(s, k)).requires_grad_() for k, s in enumerate(shapes)]
        y = function(*xs)
        y.backward(graphc.from_numpy(noise(y.shape, 9)))
        return [bits(t.numpy()) for t in (y.detach(), *(x.grad for x in xs)) if t is not None]

    with saved_tensors_hooks(lambda x: x, lambda x: x):  # are told of each operation
        expected = step()
    for _ in range(AGAIN + 2):  # by NumPy at first
        assert step() == expected
    assert sum(compiled) >= 4


@pytest.mark.parametrize("make", [
    lambda ps: graphc.optim.SGD(ps, 0.1, momentum=0.9, weight_decay=0.01, nesterov=True),
    lambda ps: graphc.optim.AdamW(ps, 1e-2, amsgrad=True),
])  # fmt: skip
def test_update_rules_keep_their_bits(make: Callable[..., Any], compiled: list[int]) -> None:
    def trained(each: bool) -> list[bytes]:
        p = graphc.from_numpy(noise((300, 200))).requires_grad_()
        optimizer = make([p])
        for k in range(5):
            optimizer.param_groups[0]["lr"] = 0.1 / (k + 1)
            p.grad = graphc.from_numpy(noise((300, 200), k))
            if each:
                with saved_tensors_hooks(lambda x: x, lambda x: x):
                    optimizer.step()
            else:
                optimizer.step()
        slots = [v for v in optimizer.state[p].values() if v is not None]
        return [bits(t.detach().numpy()) for t in (p, *slots)]

    assert trained(False) == trained(True)
    assert len(compiled) >= 2 and min(compiled) >= 6  # a rule is one group


# ---- any graph -----------------------------------------------------------------------------------

UNARY = ("neg", "abs", "relu", "sqrt", "floor", "sign", "erf", "exp")  # NumPy alone computes exp
BINARY = ("add", "sub", "mul", "div", "maximum", "minimum")


def some_graph(seed: int, shape: tuple[int, ...]) -> tuple[list[Value], list[Value]]:
    """Operations of every kind that there is in lists, on values made before."""
    rng, b = np.random.default_rng(seed), Builder()
    given = [b.input(f"x{k}", TensorSpec(f32, shape)) for k in range(3)]
    given += [b.input("row", TensorSpec(f32, (1, *shape[1:]))), b.input("r", TensorSpec(f32, ()))]
    every = tuple(range(len(shape)))
    full = [*given[:3], P.expand(given[3], shape), P.expand_over(given[4], every, shape)]
    for _ in range(18):
        x, y, z = (full[k] for k in rng.integers(max(0, len(full) - 7), len(full), 3))
        match rng.integers(7):
            case 0 | 1:
                full.append(b.apply(str(rng.choice(UNARY)), x))
            case 2 | 3:
                full.append(b.apply(str(rng.choice(BINARY)), x, y))
            case 4:
                full.append(b.apply(str(rng.choice(BINARY)), x, float(rng.choice(SPECIAL))))
            case 5:
                full.append(b.apply("where", b.apply("lt", x, y), z, x))
            case _:
                full.append(P.expand_over(b.apply("sum", x, axes=(1,)), (1,), shape))
    held = b.apply("cast", b.apply("le", full[-1], full[-2]), dtype="f32")
    assert held.args[0].spec.dtype is bool_
    some = [full[k] for k in rng.integers(5, len(full), 4)]
    wanted = [v for v in dict.fromkeys([*some, full[-1], held]) if v.const is None]
    return given, wanted


@pytest.mark.parametrize("shape", [(6, 4), (5, 1, 3, 2)])
def test_any_graph_keeps_its_bits(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch, compiled: list[int]
) -> None:
    for name in ("LARGE", "WORTH"):
        monkeypatch.setattr(groups, name, 1)
    monkeypatch.setattr(lines, "AGAIN", 0)
    for seed in range(12):
        given, wanted = some_graph(seed, shape)
        together, alone = Lines(given, wanted), Lines(given, wanted, groups=False)
        arrays = [noise(v.spec.shape, k) for k, v in enumerate(given)]
        for got, want in zip(together(arrays), alone(arrays), strict=True):
            assert got.dtype == want.dtype and got.shape == want.shape
            assert bits(got) == bits(want)
    assert len(compiled) > 20 and max(compiled) > 6


def test_what_has_to_run_between_is_no_part() -> None:
    """exp(x * x) * x: a group that had both products would have to be run in two."""
    b = Builder()
    x = b.input("x", TensorSpec(f32, (500, 500)))
    square = b.apply("mul", x, x)
    last = b.apply("add", b.apply("mul", b.apply("exp", square), x), square)
    given = [x]
    order = [square, last.args[0].args[0], last.args[0], last]
    listed = groups.grouped(order, {v: list(v.args) for v in order}, [last])
    assert [type(v) for v in listed] == [Value, Value, groups.Group]
    (array,) = Lines(given, [last])([np.ones((500, 500), np.float32)])
    assert (array == np.exp(np.float32(1)) + 1).all()


def test_inside_a_handler_numpy_computes_it() -> None:
    b = Builder()
    x = b.input("x", TensorSpec(f32, (500, 500)))
    y = b.apply("mul", b.apply("add", x, x), x)
    (group,) = groups.grouped([y.args[0], y], {v: list(v.args) for v in (y, y.args[0])}, [y])
    assert isinstance(group, groups.Group)
    call, array = Together(group), noise((500, 500))
    want = [call(array) for _ in range(AGAIN + 1)][-1][0]
    engine = native()._engine
    with engine.lock:
        engine.busy = RUNNING
        try:
            (got,) = call(array)
        finally:
            engine.busy = 0
    assert bits(got) == bits(want)


def test_of_a_large_sigmoid_numpy_computes_the_exponential_alone() -> None:
    b = Builder()
    x = b.input("x", TensorSpec(f32, (500, 500)))
    made = Lines([x], [b.apply("mul", x, b.apply("sigmoid", x))])
    kinds = [type(line.function) for line in made._lines]
    assert kinds.count(Together) == 2 and len(kinds) == 3
    array = noise((500, 500))
    plain = Lines([x], [b.apply("mul", x, b.apply("sigmoid", x))], groups=False)
    want = bits(plain([array])[0])
    assert [bits(made([array])[0]) for _ in range(AGAIN + 1)] == [want] * (AGAIN + 1)


def test_one_program_serves_all_sizes() -> None:
    def counted() -> int:
        return native().counts()[0] + native().counts()[1]

    def run(rows: int) -> None:
        x = graphc.ones(rows, 400, requires_grad=True)
        for _ in range(AGAIN + 1):
            F.gelu(x).sum().backward()

    run(200)
    before = counted()
    run(201)
    assert counted() == before
