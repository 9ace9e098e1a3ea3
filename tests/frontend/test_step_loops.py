"""scan() and recurrent layers in compiled steps: loops whose body is compiled once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.errors import GraphcError, InternalError, Untraceable
from graphc.frontend.step.native_backend import native_backend
from graphc.ir import program_text, rewrite
from graphc.ir.interpret import interpret
from graphc.ir.rewrite import at_sizes
from graphc.ir.sizes import HINTS
from graphc.ir.text import parse, show
from graphc.ir.verify import verify
from graphc.ir.verify_program import verify_program
from tests.program_interpret import run_program

Step = Callable[..., Any]
LENGTHS = (1, 2, 3, 7)
EXACT = {graphc.float64: 1e-12, graphc.float32: 2e-5}


def drawn(*shapes: tuple[int, ...], dtype: Any = graphc.float64) -> list[Any]:
    g = graphc.Generator().manual_seed(sum(shapes[0]))
    return [(graphc.randn(*s, generator=g, dtype=dtype) / 2).requires_grad_() for s in shapes]


def results(f: Step, given: Sequence[Any]) -> list[Any]:
    """What f gives as one number, and the gradients of its arguments."""
    out = f(*given)
    out.backward()
    found = [out.detach().numpy()]
    found += [np.zeros(()) if x.grad is None else x.grad.numpy().copy() for x in given]
    for x in given:
        x.grad = None
    return found


def error(f: Step, g: Step, given: Sequence[Any]) -> float:
    pairs = zip(results(f, given), results(g, given), strict=True)
    return float(max(np.abs(a - b).max() / (np.abs(a).max() + 1e-9) for a, b in pairs))


def recurrence(xs: Any, h: Any, w: Any, u: Any, reverse: bool = False, dim: int = 0) -> Any:
    def trip(carry: Any, x: Any) -> Any:
        a, count = carry
        a = (a @ w + x @ u).tanh() * 0.9 + a * 0.1
        return (a, count + 1), {"square": a * a + x.sum(-1, keepdim=True), "count": count}

    (last, count), ys = graphc.scan(
        trip, (h, graphc.zeros((), dtype=graphc.int64)), xs, dim=dim, reverse=reverse
    )
    return last.sum() * 2 + ys["square"].square().sum() / 2 + ys["count"].sum() + count


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.parametrize("dtype", EXACT)
def test_a_scan_and_its_gradients_are_those_of_eager_code(
    dtype: Any, dim: int, reverse: bool
) -> None:
    def f(*given: Any) -> Any:
        return recurrence(*given, reverse=reverse, dim=dim)

    step = graphc.compile(f)
    for n in LENGTHS:
        shape = (n, 3, 4) if dim == 0 else (3, n, 4)
        given = drawn(shape, (3, 5), (5, 5), (4, 5), dtype=dtype)
        assert error(f, step, given) < EXACT[dtype]


def test_another_length_or_batch_compiles_nothing() -> None:
    model = nn.GRU(4, 8, num_layers=2)
    optimizer = graphc.optim.Adam(model.parameters())

    @graphc.compile
    def step(x: Any) -> Any:
        optimizer.zero_grad()
        loss = model(x)[0].square().mean()
        loss.backward()
        optimizer.step()
        return loss

    step(graphc.randn(5, 3, 4))
    step(graphc.randn(9, 6, 4))  # the batch becomes an extent
    before = step.stats.kernels, native_backend().counts()
    for length, batch in ((12, 3), (40, 2), (17, 7)):
        step(graphc.randn(length, batch, 4))
    assert (step.stats.kernels, native_backend().counts()) == before
    assert step.stats.kernels < 45


def test_kernels_do_not_grow_with_the_length() -> None:
    counts = []
    for n in (6, 60):
        step = graphc.compile(lambda *given: recurrence(*given))
        results(step, drawn((n, 3, 4), (3, 5), (5, 5), (4, 5)))
        counts.append(step.stats.kernels)
    assert counts[0] == counts[1]


def nested(xs: Any, w: Any) -> Any:
    def outer(h: Any, x: Any) -> Any:
        def inner(k: Any, row: Any) -> Any:
            k = (k + row * w).sin()
            return k, k * h

        k, ys = graphc.scan(inner, h, x)
        return k + ys.sum(0), ys

    last, ys = graphc.scan(outer, w * 0.5, xs)
    return last.sum() + ys.square().sum()


def swapped(xs: Any, a: Any, b: Any) -> Any:
    def trip(carry: Any, x: Any) -> Any:
        a, b, c = carry
        return (b + 0 * x, a, c), (a, x, graphc.ones(3, dtype=graphc.float64), c)

    carry, ys = graphc.scan(trip, (a, b, a * 2), xs)
    return sum((k + 1) * t.sum() for k, t in enumerate((*carry, *ys)))


def masked(xs: Any, h: Any, w: Any) -> Any:
    def trip(h: Any, x: Any) -> Any:
        on = h.sum() > 0
        return graphc.where(on, h.exp() * w, x - h), (h > 0, h.to(graphc.float32), h.argmax())

    last, (sign, half, at) = graphc.scan(trip, h, xs)
    return last.sum() + sign.sum() + half.sum().to(graphc.float64) + at.sum()


def twice(xs: Any, h: Any, w: Any) -> Any:
    """Two loops, one of which reads what the other one gives, backwards."""

    def trip(h: Any, x: Any) -> Any:
        h = (x @ w + h).tanh()
        return h, h

    _, ys = graphc.scan(trip, h, xs)
    last, zs = graphc.scan(trip, h, ys[1:], reverse=True)
    return last.sum() + (zs * ys[:-1]).sum() + ys[0].sum()


def bodies(xs: Any, h: Any, w: Any) -> Any:
    """Ops of all kinds in a body: convolution, gather, softmax, sorting."""

    def trip(h: Any, x: Any) -> Any:
        y = nn.functional.conv1d(h[None], w, padding=1)[0].softmax(-1)
        order = x.argsort(-1)
        return y * 2 + x.gather(1, order), (y.sort(-1).values, h[:, graphc.tensor([2, 0])])

    last, (a, b) = graphc.scan(trip, h, xs)
    return last.square().sum() + (a * a).sum() + b.sum()


FORMS: dict[str, tuple[Step, tuple[tuple[int, ...], ...]]] = {
    "nested": (nested, ((4, 3, 5), (5,))),
    "swapped carries": (swapped, ((4, 3), (3,), (3,))),
    "masks and several dtypes": (masked, ((5, 3), (3,), (3,))),
    "one after the other": (twice, ((5, 3, 4), (3, 4), (4, 4))),
    "ops of all kinds": (bodies, ((4, 2, 6), (2, 6), (2, 2, 3))),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_bodies(form: str) -> None:
    f, shapes = FORMS[form]
    step = graphc.compile(f)
    assert error(f, step, drawn(*shapes)) < 1e-11
    lengthened = ((shapes[0][0] + 3, *shapes[0][1:]), *shapes[1:])
    assert error(f, step, drawn(*lengthened)) < 1e-11


def test_what_is_random_differs_from_trip_to_trip_as_in_eager_code() -> None:
    def f(xs: Any) -> Any:
        return graphc.scan(lambda c, x: (c + x, nn.functional.dropout(c, 0.5)), xs[0], xs)[1]

    xs = graphc.ones(4, 50)
    graphc.manual_seed(3)
    eager = f(xs)
    graphc.manual_seed(3)
    assert graphc.compile(f)(xs).tolist() == eager.tolist()
    assert eager[1].ne(0).tolist() != eager[2].ne(0).tolist()


SEEN: list[Any] = []


def writes(c: Any, x: Any) -> Any:
    c.add_(x)
    return c * 1, x


def keeps(c: Any, x: Any) -> Any:
    SEEN.append(c)
    return c + x, x


@pytest.mark.parametrize(("body", "reason"), [(writes, "writes a tensor"), (keeps, "prints, logs")])
def test_a_body_may_only_compute(body: Step, reason: str) -> None:
    step = graphc.compile(lambda xs: graphc.scan(body, xs[0] * 1, xs))
    with pytest.raises(Untraceable, match=reason):
        step(graphc.ones(4, 2))


def test_a_value_of_one_trip_means_nothing_outside() -> None:
    def f(xs: Any) -> Any:
        kept: dict[str, Any] = {}

        def trip(c: Any, x: Any) -> Any:
            kept["c"] = c * 2
            return c + x, x

        return graphc.scan(trip, xs[0], xs)[0] + kept["c"]

    with pytest.raises(GraphcError):
        graphc.compile(f)(graphc.ones(4, 2))


def test_a_failed_check_in_a_trip_is_an_error_and_leaves_state_as_it_was() -> None:
    table, count = graphc.arange(3.0), graphc.zeros(())

    @graphc.compile
    def step(xs: Any) -> Any:
        count.add_(1)
        return graphc.scan(lambda c, i: (c + table[i], c), graphc.zeros(()), xs)[0]

    assert step(graphc.tensor([0, 2, 1])).item() == 3 and count.item() == 1
    with pytest.raises(IndexError):
        step(graphc.tensor([0, 5, 1]))
    assert count.item() == 1


def penalised(loop: Step, tensors: Sequence[Any], orders: int) -> list[Any]:
    """Derivatives of `loop(*tensors)`, of the sum of their squares, and so on."""
    found = []
    s = sum((y * y.sin()).sum() for y in loop(*tensors))
    for _ in range(orders):
        grads = graphc.autograd.grad(s, tensors, create_graph=True)
        found += [g.detach() for g in grads]
        s = sum((g * g).sum() for g in grads)
    return found


@pytest.mark.parametrize("reverse", [False, True])
def test_derivatives_of_derivatives(reverse: bool) -> None:
    def loop(xs: Any, h: Any, w: Any, u: Any) -> Any:
        return [recurrence(xs, h, w, u, reverse)]

    given = [t.requires_grad_() for t in drawn((5, 2, 3), (2, 4), (4, 4), (3, 4))]
    step = graphc.compile(lambda *ts: penalised(loop, ts, 3))
    for got, want in zip(step(*given), penalised(loop, given, 3), strict=True):
        assert graphc.allclose(got, want, rtol=1e-10, atol=1e-12)
    longer = [t.requires_grad_() for t in drawn((9, 2, 3), (2, 4), (4, 4), (3, 4))]
    for got, want in zip(step(*longer), penalised(loop, longer, 3), strict=True):
        assert graphc.allclose(got, want, rtol=1e-10, atol=1e-12)


def within(xs: Any, h: Any, w: Any, u: Any) -> Any:
    """A scan in a scan, what is detached, and a count that has no gradient."""

    def inner(h: Any, k: Any) -> Any:
        h = (h @ w + k).sin()
        return h, h

    def body(carry: Any, x: Any) -> Any:
        h, n = carry
        h = (h.detach() * 0.1 + x @ u + h / (n + 1).double()).tanh()
        h, hs = graphc.scan(inner, h, xs[:3].sum((1, 2)))
        return (h, n + 1), hs.sum(0)

    (h, _), ys = graphc.scan(body, (h, graphc.zeros((), dtype=graphc.int64)), xs)
    return h, ys


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_second_derivatives_of_layers(kind: str) -> None:
    model = getattr(nn, kind)(3, 4, bidirectional=True).double()
    (x,) = drawn((5, 2, 3))

    def f(x: Any) -> Any:
        return penalised(lambda x, *_: model(x)[:1], [x, *model.parameters()], 2)

    x.requires_grad_()
    for got, want in zip(graphc.compile(f)(x), f(x), strict=True):
        assert graphc.allclose(got, want, rtol=1e-10, atol=1e-12)


def test_second_derivatives_of_loops_in_loops() -> None:
    given = [t.requires_grad_() for t in drawn((5, 2, 3), (2, 4), (4, 4), (3, 4))]
    step = graphc.compile(lambda *ts: penalised(within, ts, 2))
    for got, want in zip(step(*given), penalised(within, given, 2), strict=True):
        assert graphc.allclose(got, want, rtol=1e-10, atol=1e-12)


def test_a_gradient_penalty_in_a_training_step_counts_once() -> None:
    """`create_graph=True` into `.grad`, and a second backward through the very same loop."""
    given = [t.requires_grad_() for t in drawn((5, 2, 3), (2, 4), (4, 4), (3, 4))]

    def f(*ts: Any) -> Any:
        loss = recurrence(*ts)
        (g,) = graphc.autograd.grad(loss, ts[2], create_graph=True)
        (loss + (g * g).sum()).backward()
        grads = [t.grad.clone() for t in ts]
        for t in ts:
            t.grad = None
        return grads

    for got, want in zip(graphc.compile(f)(*given), f(*given), strict=True):
        assert graphc.allclose(got, want, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}])
def test_recurrent_layers(kind: str, options: dict[str, Any]) -> None:
    model = getattr(nn, kind)(4, 5, **options).double()

    def f(x: Any) -> Any:
        model.zero_grad()
        out, state = model(x)
        states = state if isinstance(state, tuple) else (state,)
        loss = out.square().sum() + sum(s.sin().sum() for s in states)
        loss.backward()
        return loss, *[p.grad for p in model.parameters()]

    step = graphc.compile(f)
    for n in (2, 5):
        x = graphc.randn(n, 3, 4, dtype=graphc.float64)
        wanted = [t.detach().numpy().copy() for t in f(x)]
        for a, b in zip(wanted, step(x), strict=True):
            assert np.allclose(a, b.detach().numpy(), rtol=1e-11, atol=1e-12)


def test_rows_are_independent_of_the_batch_and_of_threads() -> None:
    model = nn.LSTM(6, 16, num_layers=2)
    forward = graphc.compile(lambda x: model(x)[0])
    x = graphc.randn(9, 7, 6)
    before = graphc.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3):
            graphc.set_num_threads(threads)
            found.append(forward(x).detach().numpy())
    finally:
        graphc.set_num_threads(before)
    assert all(np.array_equal(found[0], y) for y in found)
    alone = forward(x[:, 2:4].contiguous()).detach().numpy()
    assert np.array_equal(alone, found[0][:, 2:4])


def test_each_stage_verifies_means_the_same_and_prints_as_text_that_parses_back() -> None:
    step = graphc.compile(lambda xs, w: graphc.scan(lambda c, x: (c @ w + x, c * 2), xs[0], xs))
    xs, w = graphc.randn(4, 2, 3), graphc.randn(3, 3)
    last, ys = step(xs, w)
    (unit,) = step._units()
    graphs = [s.graph for s in unit.stages if s.graph is not None]
    for graph in graphs:
        verify(graph)
        text = show(graph)
        again = parse(text)
        assert "body @0" in text
        if "body @1" not in text:  # results that do not share a body yet share values
            assert show(again) == text
        for g in (graph, again):
            got = interpret(g, *({"xs": xs, "w": w}[v.name[1:]].numpy() for v in g.inputs))
            assert np.allclose(got[0], last.numpy(), rtol=1e-5)
            assert np.allclose(got[1], ys.numpy(), rtol=1e-5)
    assert len(graphs) > 8


def bodies_of(step: Any) -> list[tuple[int, int]]:
    """For each loop of a step, the products in its body and those beside it."""
    found = []
    for unit in step._units():
        graph = [s.graph for s in unit.stages if s.graph is not None][-1]
        beside = sum(v.op is not None and v.op.name == "dot" for v in graph.values())
        for body in rewrite.bodies_of(graph):
            inside = sum(v.op is not None and v.op.name == "dot" for v in body.values())
            found.append((inside, beside))
    return found


def test_products_that_need_no_trip_are_taken_in_front_of_the_loop_and_behind_it() -> None:
    def f(xs: Any, w: Any, u: Any) -> Any:
        def trip(h: Any, x: Any) -> Any:
            h = (h @ w + x @ u).tanh()
            return h, h

        return graphc.scan(trip, xs[0] @ u, xs)[1].square().sum()

    step = graphc.compile(f)
    given = drawn((6, 3, 4), (5, 5), (4, 5))
    assert error(f, step, given) < 1e-11
    forward, backward = bodies_of(step)
    assert forward == (1, 2)  # beside: the first carry, and x @ u of all trips
    # In a trip the carry's cotangent alone; beside, gradients of x twice, of w, and of u twice.
    assert backward == (1, 5)


def test_a_program_of_trips_means_what_its_graph_means() -> None:
    step = graphc.compile(lambda xs, w: graphc.scan(lambda c, x: (c @ w + x, c * 2), xs[0], xs))
    xs, w = graphc.randn(4, 2, 3), graphc.randn(3, 3)
    wanted = [t.numpy() for t in step(xs, w)]
    (unit,) = step._units()
    verify_program(unit.program)
    graph = at_sizes([s.graph for s in unit.stages if s.graph is not None][-1], HINTS)
    given = [{"xs": xs, "w": w}[v.name[1:]].numpy() for v in graph.inputs]
    for a, b in zip(wanted, run_program(unit.program, graph, given), strict=True):
        assert np.allclose(a, b, rtol=1e-5)
    rows = unit.program.rows()
    assert max(map(len, rows)) == 4 and len(unit.program.launches) > len(rows)
    assert "loops: 1\n" in str(step.explain()) and "4 trips of" in str(step.explain())
    profile = step.profile(xs, w)
    assert max(r.calls for r in profile.by("launch")) == 4


def test_a_part_of_a_buffer_lies_in_it() -> None:
    step = graphc.compile(lambda xs: graphc.scan(lambda c, x: (c + x, c * 2), xs[0], xs))
    step(graphc.randn(4, 3))
    (unit,) = step._units()
    program = unit.program
    parts = [s for s in program.slots if s.within]
    assert parts
    moved = replace(parts[-1], index=program.arena_bytes)
    slots = tuple(moved if s is parts[-1] else s for s in program.slots)
    with pytest.raises(InternalError, match="lies outside"):
        verify_program(replace(program, slots=slots))
    text = program_text.show(program)
    kernels = {k.name: k for k in program.kernels()}
    assert program_text.show(program_text.parse(text, kernels)) == text and " within %" in text


def outer_values(xs: Any, w: Any) -> Any:
    """A body that reads w, and what is made of it before."""
    u = w * 2
    last, ys = graphc.scan(lambda a, x: ((a * w + x * u).tanh(), a), xs[0], xs)
    chosen = graphc.cond(xs.sum() > -1e9, lambda: last * w * u, lambda: last * u)
    return last.sum() + ys.sum() + chosen.sum()


def test_what_a_body_reads_and_what_that_is_made_of_get_their_gradients_once() -> None:
    given = drawn((4, 2, 3), (3,))
    assert error(outer_values, graphc.compile(outer_values), given) < EXACT[graphc.float64]


def test_hooks_of_what_a_body_reads_are_called_once_with_the_sum_of_all_trips() -> None:
    model = nn.LSTM(3, 3, dtype=graphc.float64)
    for p in model.parameters():
        p.register_hook(lambda g: g * g)  # of the parts it would be something else

    def grads(f: Step) -> list[Any]:
        model.zero_grad()
        f(drawn((4, 2, 3))[0])
        return [p.grad.numpy().copy() for p in model.parameters()]

    def step(x: Any) -> Any:
        loss = model(x)[0].square().sum()
        loss.backward()
        return loss.detach()

    for a, b in zip(grads(step), grads(graphc.compile(step)), strict=True):
        assert np.allclose(a, b, rtol=1e-10)


def test_hooks_of_parameters_are_called_once_where_the_backward_comes_after_the_step() -> None:
    given = drawn((2, 3), (3, 3))
    given[1].register_hook(lambda g: g * 3)

    def f(x: Any, *_: Any) -> Any:
        return (x @ given[1]).tanh().sum()

    assert error(f, graphc.compile(f), given) < EXACT[graphc.float64]


def test_a_loop_over_nothing_in_each_slice() -> None:
    step = graphc.compile(recurrence)
    for batch in (2, 0):
        given = drawn((4, batch, 4), (batch, 5), (5, 5), (4, 5))
        for a, b in zip(results(recurrence, given), results(step, given), strict=True):
            assert a.shape == b.shape and np.allclose(a, b)


def test_results_of_a_loop_without_elements() -> None:
    def f(xs: Any) -> Any:
        last, (none, all_) = graphc.scan(lambda a, x: (a + x.sum(), (a[:0], x * a)), xs[0], xs)
        return last.sum() + none.sum() + all_.square().sum()

    assert error(f, graphc.compile(f), drawn((4, 3))) < EXACT[graphc.float64]
