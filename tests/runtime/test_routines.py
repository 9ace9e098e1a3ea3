"""Routines in compiled steps: order, memory, failure, threads, signals, no compiling."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import graphc
from graphc.errors import LinAlgError
from graphc.ir import kernel_text, program_text
from graphc.ir.builder import Builder
from graphc.ir.graph import Graph
from graphc.ir.interpret import interpret
from graphc.ir.ops import OPS
from graphc.ir.program import Program
from graphc.ir.types import TensorSpec, f32, i64
from graphc.passes.pipeline import compile_graph
from graphc.runtime import routines
from graphc.runtime.cpu.threads import get_num_threads, set_num_threads
from tests.program_interpret import run_program
from tests.program_native import run_native
from tests.runtime.test_signals import run
from tests.targets import CPU

ROWS = TensorSpec(f32, (6, 40))


def sorted_rows(state: bool = False) -> Graph:
    """exp of the rows of a transposed tensor in order; w + 1, where there is state."""
    b = Builder()
    x, w = b.input("x", TensorSpec(f32, (40, 6))), b.input("w", TensorSpec(f32, (6, 40)))
    y = b.apply("transpose", x, perm=(1, 0)) * 2.0
    index = b.apply("argsort", y, axis=1, descending=True)
    out = b.apply("exp", b.apply("take_along", y, index, axis=1))
    outs, targets = (out, w + 1.0), (None, w)
    roles = ("arg", "state") if state else ("arg", "arg")
    return Graph("sorted", (x, w), roles, outs, targets if state else (None, None))


def inputs() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal((40, 6)).astype("f4"), np.zeros((6, 40), "f4")]


@pytest.fixture
def threads() -> Iterator[None]:
    before = get_num_threads()
    yield
    set_num_threads(before)


def launch_of(program: Program, name: str) -> int:
    (k,) = (k for k, x in enumerate(program.launches) if x.kernel.name == name)
    return k


@pytest.mark.parametrize("state", [False, True])
def test_graph_program_and_native_code_agree(state: bool) -> None:
    graph = sorted_rows(state)
    program = compile_graph(graph, CPU).program
    want = interpret(graph, *inputs())
    for got in (run_program(program, graph, inputs()), run_native(program, graph, inputs())):
        for a, b in zip(got, want, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)


def test_a_routine_is_one_launch_in_the_arena_before_the_commit() -> None:
    program = compile_graph(sorted_rows(state=True), CPU).program
    k = launch_of(program, "argsort")
    slots = {s.name: s for s in program.slots}
    source, result = (slots[name] for name in program.launches[k].slots)
    assert result.space == source.space == "arena" and result.last > k >= source.first
    assert k < program.commit
    reads = next(n for n, x in enumerate(program.launches) if result.name in x.slots[:-1])
    meets = program.launches[reads].barrier or reads >= program.commit
    assert program.launches[k].barrier and meets
    apart = source.index + source.size_bytes <= result.index
    assert apart or result.index + result.size_bytes <= source.index


def test_texts_go_round() -> None:
    program = compile_graph(sorted_rows(), CPU).program
    for kernel in program.kernels():
        again = kernel_text.parse(kernel_text.show(kernel))
        assert again == kernel and again.call == kernel.call
        assert kernel_text.show(again) == kernel_text.show(kernel)
    kernels = {k.name: k for k in program.kernels()}
    assert program_text.parse(program_text.show(program), kernels) == program


def test_another_batch_is_the_same_kernel_and_compiles_nothing() -> None:
    @graphc.compile
    def step(x: graphc.Tensor) -> graphc.Tensor:
        return (x * 2).sort(dim=1).values + 1

    for n in (5, 9, 2, 3):
        x = graphc.randn(n, 7)
        np.testing.assert_array_equal(step(x).numpy(), np.sort(x.numpy() * 2, 1) + 1)
    assert step.stats.compiles == 1 and step.stats.programs == 1


@pytest.mark.parametrize("count", [1, 2, 3])
def test_threads_change_no_bit(count: int, threads: None) -> None:
    def step(x: graphc.Tensor, w: graphc.Tensor) -> graphc.Tensor:
        y = graphc.linalg.qr(x @ w).R
        return graphc.linalg.inv(y @ y.mT + graphc.eye(16)).sort(0).values.sum(1)

    graphc.manual_seed(0)
    x, w = graphc.randn(400, 64), graphc.randn(64, 16)
    set_num_threads(1)
    alone = graphc.compile(step)(x, w).numpy()
    set_num_threads(count)
    compiled = graphc.compile(step)
    for _ in range(20):
        np.testing.assert_array_equal(compiled(x, w).numpy(), alone)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_failure_leaves_state_and_names_the_line(count: int, threads: None) -> None:
    set_num_threads(count)
    w = graphc.zeros(20_000)

    @graphc.compile
    def step(x: graphc.Tensor) -> graphc.Tensor:
        w.add_(1)
        y = graphc.linalg.inv(x)
        return y.sum() + w.sum()

    good, bad = graphc.eye(4), graphc.ones(4, 4)
    step(good)
    for _ in range(3):
        with pytest.raises(RuntimeError, match="singular") as caught:
            step(bad)
        assert isinstance(caught.value, LinAlgError)
        assert caught.value.where[0] == "test_routines.py" and caught.value.where[2] == "step"
        assert (w.numpy() == 1).all()
    assert step(good).item() == 4 + 2 * 20_000 and (w.numpy() == 2).all()


def test_a_check_that_failed_before_a_routine_did_is_reported_once() -> None:
    w = graphc.zeros(3)

    @graphc.compile
    def step(x: graphc.Tensor, i: graphc.Tensor) -> graphc.Tensor:
        w.add_(1)
        return graphc.linalg.inv(x[i]).sum()

    x = graphc.eye(2)
    with pytest.raises(IndexError, match="7"):
        step(x, graphc.tensor([0, 7]))
    assert step(x, graphc.tensor([0, 1])).item() == 2
    assert (w.numpy() == 1).all()


def test_any_exception_in_a_routine_ends_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    w = graphc.zeros(3)

    @graphc.compile
    def step(x: graphc.Tensor) -> graphc.Tensor:
        w.add_(1)
        return x.sort().values

    x = graphc.randn(5)
    step(x)

    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as m:
        m.setattr(routines, "evaluate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            step(x)
    assert (w.numpy() == 1).all()
    np.testing.assert_array_equal(step(x).numpy(), np.sort(x.numpy()))
    assert (w.numpy() == 2).all()


INTERRUPTED = """
import graphc
from graphc.runtime import routines
w = graphc.zeros(30_000)
step = graphc.compile(lambda x: (w.add_(1), x.sort().values.sum())[1])
x = graphc.randn(300_000)
step(x)
done = 1
for k in range(12):
    def send():
        time.sleep(0.003 * k)
        os.kill(os.getpid(), signal.SIGINT)
    thread = threading.Thread(target=send)
    try:
        thread.start()
        for _ in range(4):
            step(x)
        thread.join()
        time.sleep(1)
        print("not interrupted")
    except KeyboardInterrupt:
        thread.join()
    values = set(w.numpy().tolist())
    assert len(values) == 1, values  # all of a step, or nothing
step(x)
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_sigint_while_a_routine_runs(threads: int) -> None:
    assert run(INTERRUPTED, threads) == ""


def test_fork_after_a_routine() -> None:
    body = """
    import graphc
    step = graphc.compile(lambda x: x.sort().values * 2)
    x = graphc.randn(40_000)
    want = step(x).numpy()
    pid = os.fork()
    if pid == 0:
        os._exit(0 if (step(x).numpy() == want).all() else 1)
    assert os.waitpid(pid, 0)[1] == 0 and (step(x).numpy() == want).all()
    """
    assert run(body, 3) == ""


ROUTINE_ARGS = {
    "searchsorted": "xx",
    "solve": "xx",
    "triangular_solve": "xx",
    "last_along": "i",
    "scatter_reduce": "xxi",
}


def test_every_routine_is_lowered_as_one() -> None:
    """A graph of each routine alone has one kernel without code."""
    attrs = {"argsort": {"axis": 0, "descending": False}, "searchsorted": {"right": True},
             "triangular_solve": {"upper": True, "unit": False},
             "last_along": {"axis": 1, "shape": (4, 6)},
             "scatter_reduce": {"axis": 0, "mode": "maximum"},
             "opaque": {"call": "mine::own", "given": (("tensor", 0),), "dtypes": ("f32",),
                        "shapes": ((4, 4),)},
             "qr": {"full": False}, "svd": {"full": False}}  # fmt: skip
    written = (op for op in OPS.values() if op.kind == "routine" and op.name != "while_loop")
    for op in written:  # a loop's graphs are traced: `test_control_flow.py` has them
        b = Builder()
        x = b.input("x", TensorSpec(f32, (4, 4)))
        index = b.input("index", TensorSpec(i64, (4, 4)))
        args = ROUTINE_ARGS.get(op.name, "x")
        operands = [{"x": x, "i": index}[a] for a in args]
        out = b.apply(op.name, *operands, **attrs.get(op.name, {}))
        (launch,) = compile_graph(
            Graph(op.name, (x, index), ("arg",) * 2, (out,), (None,)), CPU
        ).program.launches
        assert launch.kernel.kind == "routine" and launch.kernel.call is not None
        assert launch.kernel.call.op == op.name
