"""Compiled functions answer as the plain ones do, whatever changes between calls; the programs are
interpreted here, so this is about tracing, guards and binding, not about generated code."""

from __future__ import annotations

import copy
import functools
import gc
import pickle
import queue
import random as pyrandom
import weakref
from typing import Any, NamedTuple

import numpy as np
import pytest

import graphc
from graphc import Tensor, nn
from graphc.errors import (
    DataDependentBranch,
    InvalidType,
    ShapeMismatch,
    TooManyCompiles,
    TracerLeak,
    Untraceable,
)
from graphc.frontend.api import random
from graphc.frontend.step.compiled import disable
from graphc.frontend.step.inspect.recompiles import assert_max_compiles
from tests.frontend.interpreting import compiled, data, programs

# ---- arguments and results ---------------------------------------------------------------------


def test_containers_in_and_out() -> None:
    class Pair(NamedTuple):
        a: Any
        b: Any

    @compiled
    def f(p: Pair, d: dict[str, Any], *, scale: float) -> dict[str, Any]:
        return {"sum": [p.a + p.b, d["x"] * scale], "same": p, "text": "t", "none": None}

    a, b, x = data(2, 3), data(2, 3, seed=1), data(4)
    out = f(Pair(a, b), {"x": x}, scale=2.0)
    np.testing.assert_array_equal(out["sum"][0].numpy(), a.numpy() + b.numpy())
    np.testing.assert_array_equal(out["sum"][1].numpy(), x.numpy() * 2)
    assert out["same"].a is a and out["same"].b is b
    assert (out["text"], out["none"]) == ("t", None)
    assert f.ir("trace").count("%d.x") == 2


def test_results_own_their_memory() -> None:
    f = compiled(lambda x: x * 2)
    kept = [f(graphc.full((3,), float(k))) for k in range(4)]
    assert [t[0].item() for t in kept] == [0.0, 2.0, 4.0, 6.0]
    assert programs(f) == 1


def test_views_of_one_result_share_memory() -> None:
    @compiled
    def f(x: Tensor) -> tuple[Tensor, Tensor]:
        y = x + 1
        return y, y.t()

    y, z = f(data(2, 3))
    y[0, 1] = 7.0
    assert z[1, 0].item() == 7.0


def test_arguments_and_state_come_back_as_themselves() -> None:
    w = data(3, 2)
    f = compiled(lambda x: (x, w, w.t(), x[0]))
    x = data(2, 2)
    same, state, turned, row = f(x)
    assert same is x and state is w
    w[0, 1] = 9.0
    x[0, 0] = 8.0
    assert turned[1, 0].item() == 9.0 and row[0].item() == 8.0


def test_strided_arguments_are_read_right() -> None:
    f = compiled(lambda x: x * 2)
    x = data(4, 6)
    for view in (x.t(), x[:, 1:3], x[::2]):
        np.testing.assert_array_equal(f(view).numpy(), view.numpy() * 2)


def test_numpy_arguments_are_refused() -> None:
    with pytest.raises(InvalidType, match="from_numpy"):
        compiled(lambda x: x)(np.zeros(3))


# ---- signatures --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "first, second, programs_wanted",
    [
        ((data(2, 3),), (data(2, 3, seed=1),), 1),
        ((data(2, 3),), (data(4, 3),), 1),
        ((data(2, 3),), (data(2, 5),), 2),
        ((data(2, 3),), (data(2, 3).double(),), 2),
        ((data(2, 3),), (data(2, 3, grad=True),), 2),
        ((data(2, 3), 2), (data(2, 3), 2), 1),
        ((data(2, 3), 2), (data(2, 3), 3), 2),
        ((data(2, 3), 1), (data(2, 3), True), 2),
        ((data(2, 3), None), (data(2, 3), 0), 2),
        ((data(2, 3), [1, 2]), (data(2, 3), (1, 2)), 2),
        ((data(2, 3), float("nan")), (data(2, 3), float("nan")), 1),
        ((data(2, 3), 0.0), (data(2, 3), -0.0), 2),
    ],
)
def test_what_makes_a_signature(first: Any, second: Any, programs_wanted: int) -> None:
    f = compiled(lambda x, *rest: x + 1)
    f(*first)
    f(*second)
    assert programs(f) == programs_wanted


def test_modes_are_part_of_the_signature() -> None:
    f = compiled(lambda x: x * 2)
    x = data(2, grad=True)
    assert f(x).requires_grad
    with graphc.no_grad():
        assert not f(x).requires_grad
    assert programs(f) == 2


def test_the_same_tensor_twice() -> None:
    @compiled
    def f(x: Tensor, y: Tensor) -> Tensor:
        x.add_(1)
        return x * y

    x, y = graphc.ones(2), graphc.ones(2)
    np.testing.assert_array_equal(f(x, y).numpy(), [2, 2])
    np.testing.assert_array_equal(f(x, x).numpy(), [9, 9])
    np.testing.assert_array_equal(x.numpy(), [3, 3])


def test_overlapping_arguments_may_be_read_but_not_written_by_each_other() -> None:
    base = data(6)
    read = compiled(lambda x, y: x + y)
    np.testing.assert_array_equal(
        read(base[:4], base[2:]).numpy(), base[:4].numpy() + base[2:].numpy()
    )
    write = compiled(lambda x, y: x.add_(y))
    for f in (lambda x, y: x.add_(y), write):
        with pytest.raises(ShapeMismatch, match="partly overlaps"):
            f(base[:4], base[2:])


def test_an_argument_that_is_also_state() -> None:
    w = graphc.ones(2)

    @compiled
    def f(x: Tensor) -> Tensor:
        w.add_(1)
        return x * w

    other = graphc.full((2,), 10.0)
    np.testing.assert_array_equal(f(other).numpy(), [20, 20])
    np.testing.assert_array_equal(f(w).numpy(), [9, 9])
    np.testing.assert_array_equal(f(other).numpy(), [40, 40])


# ---- guards ------------------------------------------------------------------------------------


def test_closures_retrace() -> None:
    scale = 2.0
    f = compiled(lambda x: x * scale)
    x = graphc.ones(2)
    assert f(x)[0].item() == 2.0
    scale = 3.0
    assert f(x)[0].item() == 3.0
    (why,) = f.explain().recompiles
    assert (why.argument, why.old, why.new) == ("closure `scale`", "2.0", "3.0")


def test_a_rebound_tensor_retraces() -> None:
    w = graphc.ones(2)
    f = compiled(lambda x: x * w)
    x = graphc.ones(2)
    f(x)
    w = graphc.full((2,), 5.0)
    assert f(x)[0].item() == 5.0


def test_assigning_data_is_seen() -> None:
    w = graphc.ones(2)
    f = compiled(lambda x: x * w)
    x = graphc.ones(2)
    f(x)
    w.data = graphc.full((2,), 5.0)
    assert f(x)[0].item() == 5.0


def test_data_assigned_inside_is_written() -> None:
    def descend(w: Tensor) -> Any:
        def step(x: Tensor) -> Tensor:
            loss = ((w * x) ** 2).sum()
            w.grad = None
            loss.backward()
            assert w.grad is not None
            w.data = w.data - 0.1 * w.grad.data
            return loss

        return step

    v, w = (graphc.ones(3, requires_grad=True) for _ in range(2))
    f, eager = compiled(descend(v)), descend(w)
    for x in (graphc.ones(3), graphc.full((3,), 2.0)):
        assert f(x).item() == eager(x).item()
    assert graphc.equal(v, w) and programs(f) == 1


@pytest.mark.parametrize("draw", [pyrandom.random, np.random.rand])
def test_numbers_that_python_draws_inside_are_refused(draw: Any) -> None:
    with pytest.raises(Untraceable, match="was drawn from"):
        compiled(lambda x: x * draw())(graphc.ones(2))


def test_recompiles_are_explained() -> None:
    f = compiled(lambda x, k: x * k)
    f(data(2, 3), 1)
    f(data(2, 5), 1)
    f(data(2, 5), 2)
    rows = [(r.argument, r.old, r.new) for r in f.explain().recompiles]
    assert rows == [("argument `x`", "f32[2,3]", "f32[2,5]"), ("argument `k`", "1", "2")]
    assert "argument `x`: f32[2,3] -> f32[2,5]" in str(f.explain())


def test_recompiles_say_what_to_do() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.Dropout())
    f = compiled(lambda x, k: net(x) * k)
    f(data(2, 3), 1.0)
    f(data(2, 3), 2.0)
    f(data(2, 3), 3.0)
    f(data(2, 2, 3), 3.0)
    f(data(2, 4, 3), 3.0)
    net.eval()
    f(data(2, 4, 3), 3.0)
    rows = [(r.argument, r.fix.partition(";")[0].partition(":")[0]) for r in f.explain().recompiles]
    assert rows == [
        ("argument `k`", "pass it as a tensor"),
        ("argument `k`", "nothing"),
        ("argument `x`", "pass one dtype and rank"),
        ("argument `x`", "nothing"),
        ("train mode of `Sequential` and 2 more", "both are kept"),
    ]


@pytest.mark.parametrize(
    ("function", "calls", "fix"),
    [
        (lambda x, k: x * k, ((3, 2), (3, 3)), "take a size from a tensor's shape"),
        (lambda x, k: x * 2 if k == "a" else x, ((3, "a"), (3, "b")), "keep it constant"),
        (lambda x, k: x.sum() + sum(range(x.size(0))), ((3, 0), (4, 0)), "pad to few sizes"),
        (lambda x, k: x if x.size(0) > 3 else -x, ((3, 0), (4, 0)), "both are kept"),
    ],
    ids=["integer", "text", "needed size", "compared size"],
)
def test_a_remedy_is_of_the_kind_of_what_changed(
    function: Any, calls: tuple[tuple[int, Any], ...], fix: str
) -> None:
    f = compiled(function)
    for n, k in calls:
        f(data(n), k)
    (row,) = f.explain().recompiles
    assert row.fix.startswith(fix)


def test_max_compiles() -> None:
    f = compiled(lambda x: x + 1)
    with assert_max_compiles(1):
        f(data(2))
        f(data(3))
    with pytest.raises(TooManyCompiles, match="`x`"), assert_max_compiles(0):
        f(data(3, 1))


def test_a_float_that_keeps_changing_becomes_a_scalar_of_the_call() -> None:
    f = compiled(lambda x, lr, *, decay=0.0: x * lr - decay)
    x = graphc.ones(2)
    for k in range(20):
        lr, decay = 0.1 * k, 0.5 * (k // 4)
        expected = np.float32(lr) - np.float32(decay)
        assert f(x, lr, decay=decay)[0].item() == pytest.approx(expected, abs=1e-6)
    assert programs(f) <= 6


def test_a_float_that_python_branches_on_has_a_program_for_each_answer() -> None:
    @compiled
    def f(x: Tensor, t: float) -> Tensor:
        return x + 1 if t > 2.5 else x - 1

    assert [f(graphc.zeros(1), float(k)).item() for k in range(6)] == [-1, -1, -1, 1, 1, 1]
    assert programs(f) == 4  # of 0.0, of 1.0, and of what is at most 2.5, and more


def test_a_float_that_python_needs_itself_stays_in_the_signature() -> None:
    f = compiled(lambda x, t: x * len("." * int(10 * t)))
    assert [f(graphc.ones(1), k / 10).item() for k in range(6)] == [0, 1, 2, 3, 4, 5]
    assert programs(f) == 6


def test_plans_are_bounded() -> None:
    f = compiled(lambda x, k: x + int(k), on_limit="raise")
    with pytest.raises(TooManyCompiles):
        for k in range(100):
            f(data(2), str(k))
    assert programs(f) <= 64


# ---- state -------------------------------------------------------------------------------------


def test_state_is_found_and_written() -> None:
    count = graphc.zeros(())

    @compiled
    def f(x: Tensor) -> Tensor:
        count.add_(1)
        return x + count

    values = [f(graphc.zeros(1)).item() for _ in range(3)]
    assert values == [1.0, 2.0, 3.0] and count.item() == 3.0
    assert programs(f) == 1


def test_strided_state_is_written_back() -> None:
    base = np.zeros((3, 2), np.float32)
    w = graphc.from_numpy(base.T)

    @compiled
    def f() -> None:
        w.add_(1)

    f()
    f()
    np.testing.assert_array_equal(base, np.full((3, 2), 2))


@pytest.mark.parametrize("first", [False, True])
def test_programs_that_want_state_in_different_orders(first: bool) -> None:
    w = data(3, 2)

    @compiled
    def f(x: Tensor) -> Tensor:
        w.add_(1)
        return x @ w

    expected = w.numpy().copy()
    f._backend.reversed = first  # type: ignore[attr-defined]  # of the double
    for size in (4, 5, 4, 5, 4):
        expected += 1
        np.testing.assert_allclose(f(graphc.ones(size, 3))[0].numpy(), expected.sum(0), rtol=1e-6)
        f._backend.reversed = not first  # type: ignore[attr-defined]  # of the double
    np.testing.assert_allclose(w.numpy(), expected, rtol=1e-6)
    assert programs(f) == 1 and len(f._backend.natives) == 2  # type: ignore[attr-defined]


def test_a_failing_step_changes_nothing() -> None:
    w = data(3, grad=True)
    before = copy.deepcopy(w)
    count = graphc.zeros(())
    state = graphc.get_rng_state()

    @compiled
    def f(x: Tensor) -> None:
        count.add_(1)
        graphc.rand(3)
        (w * x).sum().backward()
        raise KeyError("user's own")

    with pytest.raises(KeyError, match="user's own"):
        f(data(3))
    assert count.item() == 0 and w.grad is None and w._version == before._version
    assert graphc.equal(graphc.get_rng_state(), state)
    np.testing.assert_array_equal(w.detach().numpy(), before.detach().numpy())


def test_random_numbers_are_eagers() -> None:
    def f(x: Tensor) -> Tensor:
        return graphc.rand(3) + graphc.rand(3) * x

    x = graphc.ones(3)
    graphc.manual_seed(5)
    eager = [f(x).numpy() for _ in range(3)]
    graphc.manual_seed(5)
    step = compiled(f)
    assert all(np.array_equal(step(x).numpy(), e) for e in eager)
    assert programs(step) == 1


@pytest.mark.parametrize("when, counts", [("before", 0), ("after", 1)])
def test_an_interrupted_step_counts_whole_or_not_at_all(when: str, counts: int) -> None:
    w = data(3, grad=True)

    @compiled
    def f() -> None:
        w.grad = None
        (w * graphc.rand(3)).sum().backward()

    f()
    draws, grad = random.default_generator.draw, w.grad.numpy().copy()
    f._backend.natives[0].interrupt = when  # type: ignore[attr-defined]  # of the double
    with pytest.raises(KeyboardInterrupt):
        f()
    assert random.default_generator.draw - draws == counts
    assert (not np.array_equal(w.grad.numpy(), grad)) == bool(counts)
    f()


# ---- what cannot be traced ---------------------------------------------------------------------


def test_branches_on_values_are_refused_with_the_line() -> None:
    @compiled
    def f(x: Tensor) -> Tensor:
        if x.sum() > 0:
            return x
        return -x

    with pytest.raises(DataDependentBranch) as e:
        f(data(3))
    assert "if x.sum() > 0:" in str(e.value) and "test_compile.py" in str(e.value)


def test_an_escaped_tensor_is_refused() -> None:
    kept: queue.SimpleQueue[Tensor] = queue.SimpleQueue()  # whose items nobody can look at

    @compiled
    def f(x: Tensor) -> Tensor:
        assert kept.put(x * 2) is None
        return x

    f(data(3))
    with pytest.raises(TracerLeak):
        print(kept.get() + 1)


# ---- plain runs --------------------------------------------------------------------------------


def test_disable(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    @compiled
    def f(x: Tensor) -> Tensor:
        calls.append(x.is_traced)
        return x

    with disable():
        f(data(2))
    monkeypatch.setenv("GRAPHC_DISABLE", "1")
    f(data(2))
    monkeypatch.delenv("GRAPHC_DISABLE")
    f(data(2))
    assert calls == [False, False, True]


def test_a_compiled_function_inlines_into_another() -> None:
    inner = compiled(lambda x: x * 2)
    outer = compiled(lambda x: inner(x) + 1)
    assert outer(graphc.ones(1)).item() == 3.0
    assert outer.explain().programs == 1 and programs(inner) == 0


def test_what_a_called_object_reads_is_guarded() -> None:
    scale = 2.0
    inner = compiled(lambda x: x * scale)

    class Times:
        def __init__(self, k: float) -> None:
            self.k = k

        def __call__(self, x: Tensor) -> Tensor:
            return x * self.k

    times = Times(3.0)
    wrapped = functools.partial(lambda y, x: x * y * scale, 5.0)
    f = compiled(lambda x: wrapped(times(inner(x))))
    x = graphc.ones(1)
    assert f(x).item() == 2 * 3 * 5 * 2
    scale = 1.0
    assert f(x).item() == 3 * 5
    times.k = 7.0
    assert f(x).item() == 7 * 5


def test_a_number_that_the_step_changes_is_right_in_every_call() -> None:
    class Counter:
        n = 0

    counter = Counter()

    def step(x: Tensor) -> Tensor:
        counter.n += 1
        return x * counter.n

    f = compiled(step)
    assert [f(graphc.ones(1)).item() for _ in range(4)] == [1, 2, 3, 4]


class Trainer:
    def __init__(self, k: float) -> None:
        self.k = k

    @graphc.compile
    def step(self, x: Tensor) -> Tensor:
        return x * self.k


def test_compiled_methods_copy_and_pickle_and_are_collected() -> None:
    a = Trainer(2.0)
    x = graphc.ones(1)
    assert a.step(x).item() == 2.0 and a.step is a.step
    for b in (copy.deepcopy(a), pickle.loads(pickle.dumps(a))):
        b.k = 3.0
        assert (a.step(x).item(), b.step(x).item()) == (2.0, 3.0)
    assert pickle.loads(pickle.dumps(Trainer.step)) is Trainer.step
    gone = weakref.ref(a)
    del a
    gc.collect()
    assert gone() is None


def test_methods_have_a_cache_for_each_instance() -> None:
    class Trainer:
        def __init__(self, k: float) -> None:
            self.k = k

        @compiled
        def step(self, x: Tensor) -> Tensor:
            return x * self.k

    a, b = Trainer(2.0), Trainer(3.0)
    x = graphc.ones(1)
    assert (a.step(x).item(), b.step(x).item(), a.step(x).item()) == (2.0, 3.0, 2.0)
    assert programs(a.step) == programs(b.step) == 1
    a.k = 5.0
    assert a.step(x).item() == 5.0


def test_an_object_may_have_attributes_of_our_names() -> None:
    class Doubled:
        def __init__(self) -> None:
            self._function, self._name, self.stats = (lambda x: x), 7, "mine"

        def __call__(self, x: Tensor) -> Tensor:
            return x * 2

    f = graphc.compile(Doubled())
    assert f(graphc.ones(1)).item() == 2 and f.stats.programs == 1
