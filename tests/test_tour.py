"""A tour of graphc, to be read from top to bottom; each stop is a test, so all of it is true.

graphc compiles a whole training step, forward, backward and optimizer update, into one native
program. What a person writes has the names of PyTorch.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import graphc
import graphc.nn.functional as F
from graphc import nn, optim
from graphc.ir import interpret, text

README = Path(__file__).parent.parent / "README.md"


# ---- 1. Tensors are NumPy arrays that remember how they came about -------------------------------


def test_a_tensor_shares_memory_with_its_array() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    t = graphc.from_numpy(array)
    t[0, 0] = 10.0
    assert array[0, 0] == 10.0
    assert np.shares_memory(t.T.numpy(), array)  # a view is a view


def test_backward_fills_grad() -> None:
    w = graphc.tensor([1.0, -2.0, 3.0], requires_grad=True)
    loss = (w * w).sum()
    loss.backward()
    np.testing.assert_array_equal(w.grad.numpy(), [2.0, -4.0, 6.0])


# ---- 2. A model and its step, as always ----------------------------------------------------------


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4 * 4 * 4, 3)

    def forward(self, x: graphc.Tensor) -> graphc.Tensor:
        x = F.max_pool2d(F.relu(self.norm(self.conv(x))), 2)
        return self.fc(x.flatten(1))


def make_step(model: nn.Module):  # type: ignore[no-untyped-def]
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def train_step(x: graphc.Tensor, y: graphc.Tensor) -> graphc.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return train_step


def batch(size: int) -> tuple[graphc.Tensor, graphc.Tensor]:
    rng = np.random.default_rng(size)
    x = rng.standard_normal((size, 1, 8, 8)).astype(np.float32)
    return graphc.from_numpy(x), graphc.from_numpy(rng.integers(0, 3, size))


def test_without_compile_it_runs_eagerly() -> None:
    graphc.manual_seed(0)
    step = make_step(Net())
    losses = [step(*batch(16)).item() for _ in range(6)]
    assert losses[-1] < losses[0]


# ---- 3. One decorator makes it one native program ------------------------------------------------


@pytest.fixture(scope="module")
def compiled():  # type: ignore[no-untyped-def]
    """`@graphc.compile` on the step function, called once: the first call compiles."""
    graphc.manual_seed(0)
    step = graphc.compile(make_step(Net()))
    step(*batch(16))
    return step


def test_compiled_and_eager_agree(compiled) -> None:  # type: ignore[no-untyped-def]
    graphc.manual_seed(0)
    eager = make_step(Net())
    eager(*batch(16))
    for _ in range(3):
        assert compiled(*batch(16)).item() == pytest.approx(eager(*batch(16)).item(), rel=1e-4)


def test_the_whole_step_is_one_program(compiled) -> None:  # type: ignore[no-untyped-def]
    """State is discovered: parameters, running statistics and momentum were never listed."""
    assert compiled.explain().programs == 1
    assert compiled.stats.compiles == 1


def test_another_batch_size_compiles_no_kernel(compiled) -> None:  # type: ignore[no-untyped-def]
    before = compiled.stats.kernels_compiled
    compiled(*batch(9))
    assert compiled.stats.kernels_compiled == before
    assert compiled.stats.compiles == 1


def test_a_model_alone_compiles_too() -> None:
    """Loss and optimizer stay outside: a forward and a backward program."""
    model = graphc.compile(Net())
    x, y = batch(8)
    F.cross_entropy(model(x), y).backward()
    assert model.conv.weight.grad is not None
    assert model.explain().programs == 2


def test_a_class_compiles_each_instance() -> None:
    @graphc.compile
    class Double(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 2)

        def forward(self, x: graphc.Tensor) -> graphc.Tensor:
            return self.fc(x) * 2.0

    model = Double()
    x = graphc.ones(4, 3)
    expected = (x @ model.fc.weight.T + model.fc.bias) * 2.0
    np.testing.assert_allclose(
        model(x).detach().numpy(), expected.detach().numpy(), rtol=1e-5, atol=1e-6
    )


# ---- 4. Nothing about it is hidden ---------------------------------------------------------------


def test_every_stage_can_be_read(compiled) -> None:  # type: ignore[no-untyped-def]
    assert compiled.stages[0] == "trace"
    for stage in compiled.stages:
        assert compiled.ir(stage).strip(), stage


def test_each_value_knows_its_line(compiled) -> None:  # type: ignore[no-untyped-def]
    """`conv` stands in the forward of Net; its gradient carries the same line, marked `bw`."""
    rows = [r for r in compiled.ir("trace").splitlines() if re.search(r"= conv ", r)]
    assert rows
    assert all("test_tour.py:" in row for row in rows)


def test_the_text_parses_back_and_means_the_same() -> None:
    """A graph is its text: what is printed can be read, and interpreted, by whoever doubts it."""

    @graphc.compile
    def step(x: graphc.Tensor) -> graphc.Tensor:
        return (x * 2.0 + 1.0).sum()

    x = np.arange(5, dtype=np.float32)
    answer = step(graphc.from_numpy(x))
    graph = text.parse(step.ir("simplify"))
    (again,) = interpret.interpret(graph, x)
    assert float(again) == answer.item() == 25.0


def test_kernels_show_their_code(compiled) -> None:  # type: ignore[no-untyped-def]
    kernel = compiled.kernels[0]
    assert kernel.name in kernel.text
    assert "define" in kernel.llvm
    assert kernel.asm


def test_peak_memory_is_known_before_the_run(compiled) -> None:  # type: ignore[no-untyped-def]
    memory = compiled.memory()
    assert 0 < memory.bound_bytes <= memory.arena_bytes
    assert compiled.stats.peak_bytes >= memory.arena_bytes


# ---- 5. Mistakes are answered with the line, the reason and the fix ------------------------------


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(RuntimeError) as caught:
        nn.Linear(3, 2)(graphc.ones(4, 5))
    message = str(caught.value)
    assert "test_tour.py" in message
    assert "fix" in message and "why" in message


def test_a_bad_batch_leaves_the_model_as_it_was(compiled) -> None:  # type: ignore[no-untyped-def]
    model = nn.Linear(4, 3)
    step = graphc.compile(make_step(model))
    x = graphc.ones(2, 4)
    step(x, graphc.tensor([0, 1]))
    before = model.weight.detach().clone()
    with pytest.raises(IndexError):
        step(x, graphc.tensor([0, 7]))
    assert graphc.equal(model.weight, before)


# ---- 6. The README does what it says -------------------------------------------------------------


def test_the_readmes_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.S)
    assert blocks
    code = compile(blocks[0], str(README), "exec", dont_inherit=True)
    exec(code, {"__name__": "readme"})
    assert "program" in capsys.readouterr().out
