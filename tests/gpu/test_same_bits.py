"""In which order sums are added up does not depend on the batch that a process began with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.codegen_gpu.target import Target
from graphc.codegen_gpu.tiles import plan
from graphc.ir.kernel_text import parse
from graphc.nn import functional as F

pytest.importorskip("triton")


@pytest.fixture(autouse=True)
def fake(fake_gpu: None) -> None:
    """All of it on the fake GPU."""


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Any) -> Any:
        return self.head(self.norm(self.conv(x)).relu().mean((2, 3)))


def gradients(batches: tuple[int, ...]) -> list[np.ndarray]:
    """Of the last batch, by a step that was compiled for the first."""
    graphc.manual_seed(0)
    model = Net().to("cuda")
    state = {k: v.clone() for k, v in model.state_dict().items()}

    @graphc.compile
    def step(x: Any, y: Any) -> Any:
        model.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        return loss

    rng = np.random.default_rng(0)
    x = rng.standard_normal((max(batches), 3, 8, 8)).astype(np.float32)
    y = rng.integers(0, 5, max(batches))
    for n in batches:
        model.load_state_dict(state)
        loss = step(graphc.from_numpy(x[:n]).to("cuda"), graphc.from_numpy(y[:n]).to("cuda"))
    assert step.stats.programs == 1
    return [loss.detach().cpu().numpy(), *(p.grad.cpu().numpy() for p in model.parameters())]


def test_the_first_batch_leaves_no_trace() -> None:
    want = gradients((24,))
    for first in (2, 7):
        for a, b in zip(gradients((first, 24)), want, strict=True):
            assert np.array_equal(a, b)


WINDOWS = """\
kernel windows map (x: r f32, o: w f32 | n | ) {
  for a in n, c in 64 {
    for r in 4 {
      %0: f32 = load x[a*256 + r*64 + c]
      %1: f32 = sum %0
    }
    once {
      store o[a*64 + c] = %1
    }
  }
}"""


def test_hints_do_not_say_how_a_short_sum_is_added_up() -> None:
    kernel = parse(WINDOWS)
    plans = [plan(kernel, [n], Target()) for n in (1, 20, 5000, 1 << 20)]
    assert len({(p.form, p.phases) for p in plans}) == 1
