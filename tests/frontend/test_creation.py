"""Creation, conversion, printing and indexed assignment against torch."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.frontend.trace import Trace
from graphc.ir.interpret import interpret

torch: Any = pytest.importorskip("torch")

MADE: list[Callable[[Any], Any]] = [
    lambda T: T.tensor(3),
    lambda T: T.tensor(3.5),
    lambda T: T.tensor(True),
    lambda T: T.tensor([[1, 2], [3, 4]]),
    lambda T: T.tensor([1, 2.5]),
    lambda T: T.tensor([]),
    lambda T: T.tensor([[], []]),
    lambda T: T.tensor([True, False]),
    lambda T: T.tensor(np.arange(3, dtype=np.float64)),
    lambda T: T.tensor(np.float64(2.0)),
    lambda T: T.tensor([1, 2], dtype=T.float16),
    lambda T: T.tensor([300, -1]).to(T.uint8),
    lambda T: T.tensor([T.tensor(1.0), T.tensor(2.0)]),
    lambda T: T.as_tensor([1, 2]),
    lambda T: T.zeros(2, 3),
    lambda T: T.zeros((2, 3), dtype=T.int32),
    lambda T: T.ones([2]),
    lambda T: T.full((2, 2), 7),
    lambda T: T.full((2,), 1.5),
    lambda T: T.full((2,), True),
    lambda T: T.zeros_like(T.ones(2, 2, dtype=T.int64)),
    lambda T: T.full_like(T.ones(2), 3),
    lambda T: T.arange(5),
    lambda T: T.arange(1.0, 2.0, 0.25),
    lambda T: T.arange(5, 0, -2),
    lambda T: T.arange(3, dtype=T.float64),
    lambda T: T.linspace(-1, 1, 5),
    lambda T: T.linspace(0, 1, 1),
    lambda T: T.eye(2, 3),
    lambda T: T.meshgrid(T.arange(2), T.arange(3), indexing="ij")[1],
    lambda T: T.ones(2).new_zeros(3),
    lambda T: T.ones(2, dtype=T.int64).new_full((2,), 4),
    lambda T: T.ones(2).type_as(T.ones(1, dtype=T.float64)),
    lambda T: T.tensor([1.7, -1.7]).long() + T.tensor([1, 0]).bool().int(),
    lambda T: T.tensor([0.0, 0.5, float("nan")]).bool(),
]


@pytest.mark.parametrize("k", range(len(MADE)))
def test_creation_matches_torch(k: int) -> None:
    ours, theirs = MADE[k](graphc), MADE[k](torch)
    assert ours.dtype.long_name == str(theirs.dtype).removeprefix("torch.")
    assert tuple(ours.shape) == tuple(theirs.shape) and ours.tolist() == theirs.tolist()


def test_grad_fn_is_shown() -> None:
    assert repr(graphc.ones(1, requires_grad=True) * 2) == "tensor([2.], grad_fn=<MulBackward0>)"


def assigned(f: Callable[[Any, Any], Any]) -> list[Any]:
    out = []
    for T in (graphc, torch):
        x = T.arange(24.0).reshape(2, 3, 4)
        f(T, x)
        out.append(x.tolist())
    return out


ASSIGNED: list[Callable[[Any, Any], Any]] = [
    lambda T, x: x.__setitem__(0, 5),
    lambda T, x: x.__setitem__((0, slice(1, None)), T.ones(4)),
    lambda T, x: x.__setitem__((Ellipsis, -1), T.tensor([[1.0], [2.0]])),
    lambda T, x: x.__setitem__((slice(None), slice(None, None, 2), slice(1, 4, 2)), 9.0),
    lambda T, x: x.__setitem__(x > 10, -1.0),
    lambda T, x: x.__setitem__(x > 20, T.tensor([7.0, 8.0, 9.0])),
    lambda T, x: x.__setitem__(T.tensor([1, 0]), T.zeros(3, 4)),
    lambda T, x: x.__setitem__((0, T.tensor([2, 0])), T.tensor([[1.0], [2.0]])),
    lambda T, x: x.__setitem__((slice(None), T.tensor([0, 2]), T.tensor([1, 3])), 0.5),
    lambda T, x: x.__setitem__((T.tensor([0]), slice(None), T.tensor([1, 3])), T.ones(2, 3)),
    lambda T, x: x.__setitem__((0, 0), T.arange(4)),
    lambda T, x: x.__setitem__(0, T.ones(1, 1, 3, 4)),
    lambda T, x: x[0].__iadd__(10),
    lambda T, x: x.__setitem__((1, T.tensor([0, 0, 1])), x[1, T.tensor([0, 0, 1])] + 1),
    lambda T, x: x.scatter_(1, T.tensor([[[0, 1, 2, 0]]]), 3.5),
    lambda T, x: x.scatter_add_(1, T.tensor([[[0, 1, 2, 0]]]), T.ones(1, 1, 4)),
    lambda T, x: x.index_add_(2, T.tensor([0, 0, 3]), T.ones(2, 3, 3)),
    lambda T, x: x.copy_(T.arange(4)),
    lambda T, x: x.clamp_(3, 5),
    lambda T, x: x.__setitem__((slice(0, 0),), 3.0),
    lambda T, x: x.__setitem__(T.tensor([False, True]), 3.0),
]


@pytest.mark.parametrize("k", range(len(ASSIGNED)))
def test_assignment_matches_torch(k: int) -> None:
    ours, theirs = assigned(ASSIGNED[k])
    assert ours == theirs


def test_assignment_of_repeated_indices_keeps_the_last_and_its_gradient() -> None:
    x = graphc.zeros(3)
    v = graphc.tensor([1.0, 2.0, 3.0], requires_grad=True)
    x[graphc.tensor([1, 1, 0])] = v
    assert x.tolist() == [3.0, 2.0, 0.0]
    (x * graphc.tensor([5.0, 7.0, 9.0])).sum().backward()
    assert v.grad is not None and v.grad.tolist() == [0.0, 7.0, 5.0]


def test_reading_with_masks_ints_and_lists() -> None:
    for T in (graphc, torch):
        x = T.arange(6.0).reshape(2, 3)
        assert x[x > 2].tolist() == [3.0, 4.0, 5.0] and x[T.tensor(1)].tolist() == x[1].tolist()
        assert x[[1, 0]].tolist() == x.flip(0).tolist() and x[:, [True, False, True]].shape == (
            2,
            2,
        )
        assert x[True].shape == (1, 2, 3) and x[False].shape == (0, 2, 3)
        assert [r.tolist() for r in x] == x.tolist() and len(x) == 2 and 4.0 in x
        assert x.nonzero().tolist()[0] == [0, 1] and T.masked_select(x, x < 2).tolist() == [0, 1]
        assert list(range(5))[T.tensor(2)] == 2


def test_scatter_writes_each_place_once_and_the_last_wins() -> None:
    def f(v: graphc.Tensor) -> graphc.Tensor:
        x = graphc.ones(2, 3)
        x = x.scatter(1, graphc.tensor([[0, 0, 2]]), v)
        return x.scatter(0, graphc.tensor([[1, 1]]), 9.0) * graphc.arange(1.0, 4)

    v = graphc.tensor([[5.0, 6.0, 7.0]], requires_grad=True)
    out = f(v)
    assert out.tolist() == [[6.0, 2.0, 21.0], [9.0, 18.0, 3.0]]
    out.sum().backward()
    assert v.grad is not None and v.grad.tolist() == [[0.0, 1.0, 3.0]]
    trace = Trace()
    with trace.activate():
        graph = trace.graph("step", [f(trace.argument(v, "v"))])
    state = [i.storage.array for i in trace.inputs[1:] if i.storage is not None]
    (again,) = interpret(graph, v.detach().numpy(), *(a for a in state if a is not None))
    assert again.tolist() == out.tolist()


def test_limits_of_dtypes() -> None:
    for name in ("float16", "bfloat16", "float32", "float64"):
        ours, theirs = (T.finfo(getattr(T, name)) for T in (graphc, torch))
        for field in ("bits", "max", "min", "eps", "tiny", "dtype"):
            assert getattr(ours, field) == getattr(theirs, field)
    for name in ("uint8", "int8", "int64"):
        ours, theirs = (T.iinfo(getattr(T, name)) for T in (graphc, torch))
        assert (ours.bits, ours.max, ours.min) == (theirs.bits, theirs.max, theirs.min)
    with pytest.raises(TypeError):
        graphc.finfo(graphc.int32)


def test_devices_and_conversions() -> None:
    x = graphc.ones(2, device="cpu")
    assert x.device == graphc.device("cpu") and str(x.device) == "cpu" and x.to("cpu") is x
    for bad in (lambda: graphc.ones(2, device="cuda"), lambda: x.to("cuda:0")):
        with pytest.raises(RuntimeError, match="GC008"):
            bad()
    assert x.to(graphc.float64).dtype is graphc.float64 and x.to(x.double()).dtype is graphc.float64
    assert graphc.equal(x, x.clone()) and graphc.allclose(x, x + 1e-9)
    assert (np.float32(2) * x).tolist() == [2.0, 2.0] and np.asarray(x).tolist() == [1.0, 1.0]
    assert x.size() == (2,) and x.size(0) == 2 and x.numel() == 2 and x.element_size() == 4
    graphc.set_default_dtype(graphc.float64)
    try:
        assert graphc.tensor(1.5).dtype is graphc.float64 and graphc.ones(1).dtype is graphc.float64
    finally:
        graphc.set_default_dtype(graphc.float32)
    with pytest.raises(TypeError):
        graphc.set_default_dtype(graphc.int64)


def test_zeros_take_no_memory_before_they_are_touched() -> None:
    """As in PyTorch: an optimizer's slots are cleared by the threads of the first step."""
    pages = Path("/proc/self/statm")
    if not pages.exists():
        pytest.skip("Linux tells what is resident")

    def resident() -> int:
        return int(pages.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    before = resident()
    made = [graphc.zeros(4096, 4096), graphc.zeros_like(graphc.empty(4096, 4096))]
    assert resident() - before < 32 << 20
    assert not any(x[::512, ::512].any() for x in made)


def test_a_negative_zero_keeps_its_sign() -> None:
    assert np.signbit(graphc.full((3,), -0.0).numpy()).all()
    assert not np.signbit(graphc.full((3,), 0.0).numpy()).any()
