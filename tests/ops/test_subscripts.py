"""x[index] and x[index] = value in every form: as PyTorch, eager and compiled, with gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.errors import Untraceable

torch: Any = pytest.importorskip("torch")

nan, inf = float("nan"), float("inf")


class Names:
    """What the cases index with, in one namespace."""

    def __init__(self, T: Any) -> None:
        self.T = T
        self.i = T.tensor([2, 0, 1])
        self.two, self.one = T.tensor([0, 1]), T.tensor([1])
        self.m = T.tensor([[True, False, True, True], [False] * 4, [True, True, False, False]])
        self.mr = T.tensor([True, False, True])
        self.u = T.tensor([1, 0, 1], dtype=T.uint8)


GET: dict[str, Callable[[Any, Any], Any]] = {
    "list": lambda N, x: x[0, [0, 1]],
    "list_of_lists": lambda N, x: x[[[0, 1], [1, 2]]],
    "list_of_slice_and_number": lambda N, x: x[[slice(None), 0]],
    "list_of_none": lambda N, x: x[[None, 0]],
    "list_of_tensors": lambda N, x: x[[N.two, N.two]],
    "list_of_0d": lambda N, x: x[[N.one[0], N.one[0]]],
    "tuples": lambda N, x: x[(0, 1), (1, 2)],
    "tuple_and_number": lambda N, x: x[(0, 1), 0],
    "empty_list": lambda N, x: x[[]],
    "empty_list_behind": lambda N, x: x[:, []],
    "array": lambda N, x: x[:, np.array([0, 2])],
    "bool_array": lambda N, x: x[:, np.array([True, False, True])],
    "byte_array": lambda N, x: x[:, np.array([1, 0, 1], dtype=np.uint8)],
    "float_array": lambda N, x: x[np.array([0.0, 1.0])],
    "float_list": lambda N, x: x[[1.0, 0.0]],
    "array_0d": lambda N, x: x[np.array(1)],
    "range": lambda N, x: x[:, range(2)],
    "bool_list": lambda N, x: x[:, [True, False, True]],
    "bytes": lambda N, x: x[:, N.u],
    "byte_0d": lambda N, x: x[N.u[0]],
    "true": lambda N, x: x[True],
    "false_behind": lambda N, x: x[0, False],
    "two_dots": lambda N, x: x[..., 0, ...],
    "behind": lambda N, x: x[:, :, N.i],
    "in_the_middle": lambda N, x: x[:, N.i],
    "middle_and_number": lambda N, x: x[:, N.i, 0],
    "number_between": lambda N, x: x[None][:, N.one, 0, N.i],
    "none_between": lambda N, x: x[N.one, None, N.i],
    "apart": lambda N, x: x[N.two, :, N.two],
    "number_and_tensor_apart": lambda N, x: x[1, :, N.i],
    "unknown_and_tensor_apart": lambda N, x: x[N.one[0], :, N.i],
    "unknown_and_tensor": lambda N, x: x[N.one[0], N.i],
    "tensor_and_unknown": lambda N, x: x[:, N.i, N.one[0]],
    "unknown_between": lambda N, x: x[None][:, N.one, N.one[0], N.i],
    "unknown_in_the_middle": lambda N, x: x[:, N.one[0]],
    "two_unknown": lambda N, x: x[N.one[0], :, N.one[0]],
    "viewed": lambda N, x: x[:, N.i].view(-1),
}
SET: dict[str, Callable[[Any, Any, Any], Any]] = {
    "unknown": lambda N, x, y: x.__setitem__(N.one[0], y),
    "unknown_apart": lambda N, x, y: x.__setitem__((N.one[0], slice(None), N.i), y[:, :3]),
    "unknown_added": lambda N, x, y: x.__setitem__(N.one[0], x[N.one[0]].add_(y)),
    "unknown_multiplied": lambda N, x, y: x[N.one[0]].mul_(y),
    "unknown_filled": lambda N, x, y: x[N.one[0], :2].fill_(3),
    "unknown_then_number": lambda N, x, y: x[N.one[0]].__setitem__(1, y[0]),
    "unknown_then_tensor": lambda N, x, y: x[N.one[0]].__setitem__(N.i, y),
    "unknown_twice": lambda N, x, y: x[N.one[0]][N.one[0]].copy_(y[0]),
    "unknown_behind": lambda N, x, y: x[:, N.one[0]].mul_(y[:2]),
    "mask_in_the_middle": lambda N, x, y: x.__setitem__((slice(None), N.mr), 0),
    "mask_of_rows": lambda N, x, y: x.__setitem__((0, N.mr), y[0]),
    "mask_one_value": lambda N, x, y: x.__setitem__((0, N.m), y[:1, :1]),
    "mask_row": lambda N, x, y: x.__setitem__((..., N.m[0]), 0),
    "bool_list": lambda N, x, y: x.__setitem__((0, [True, False, True]), y[:2]),
    "leading_ones": lambda N, x, y: x.__setitem__((0, [0, 2]), y[None, None, :2]),
    "lists": lambda N, x, y: x.__setitem__((0, [0, 2], [1, 3]), y[0, :2]),
}
REFUSED: dict[str, tuple[Callable[[Any, Any], Any], type[Exception]]] = {
    "float": (lambda N, x: x[1.0], IndexError),
    "dict": (lambda N, x: x[{}], IndexError),
    "numpy_bool": (lambda N, x: x[np.bool_(True)], IndexError),
    "short": (lambda N, x: x[N.two.short()], IndexError),
    "apart": (lambda N, x: x[[0, 1], [0, 1, 2]], IndexError),
    "bytes": (lambda N, x: x[N.u], IndexError),
    "none": (lambda N, x: x.__setitem__(0, None), TypeError),
    "text": (lambda N, x: x.__setitem__(N.two, "a"), TypeError),
    "nan": (lambda N, x: N.i.__setitem__(0, nan), RuntimeError),
    "far": (lambda N, x: N.u.__setitem__([0], 300), RuntimeError),
}
pytestmark = pytest.mark.filterwarnings("ignore:.*(uint8|non-tuple|a list of indices).*")


def data(T: Any) -> tuple[Any, Any]:
    x = T.arange(24.0, dtype=T.float64).reshape(2, 3, 4)
    return x, (x[0] * 2).exp() / 1e9


def run(T: Any, f: Callable[..., Any], compiled: bool = False) -> list[Any]:
    """What f(N, x, y) returns, x as it left it, and both gradients."""
    N = Names(T)

    def step(x: Any, y: Any, *tensors: Any) -> Any:
        for name, tensor in zip(names, tensors):
            setattr(N, name, tensor)
        leaves = (x, y)
        x, y = x * 1, y * 1
        out = f(N, x, y)
        seen = out if out is not None else x
        grown = (seen * T.arange(float(seen.numel())).reshape(seen.shape)).sum() + (x * x).sum()
        return seen, x, *T.autograd.grad(grown + y.sum(), leaves)

    names = [k for k, v in vars(N).items() if k != "T"]
    tensors = [vars(N)[k] for k in names]
    x, y = (t.requires_grad_() for t in data(T))
    call = graphc.compile(step) if compiled else step
    return [t.detach() for t in call(x, y, *tensors)]


def same(a: list[Any], b: list[Any]) -> None:
    for s, t in zip(a, b, strict=True):
        np.testing.assert_allclose(s.numpy(), t.numpy(), rtol=1e-12)


@pytest.mark.parametrize("name", GET)
def test_reading(name: str) -> None:
    f = GET[name]
    wanted = run(torch, lambda N, x, y: f(N, x))
    found = run(graphc, lambda N, x, y: f(N, x))
    assert found[0].is_contiguous() >= wanted[0].is_contiguous()
    same(found, wanted)
    if "byte" not in name:  # a mask known only at run time is refused
        same(run(graphc, lambda N, x, y: f(N, x), compiled=True), wanted)


@pytest.mark.parametrize("name", SET)
def test_writing(name: str) -> None:
    def f(N: Any, x: Any, y: Any) -> None:
        SET[name](N, x, y)

    wanted = run(torch, f)
    same(run(graphc, f), wanted)
    same(run(graphc, f, compiled=True), wanted)


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    f, error = REFUSED[name]
    for T in (torch, graphc):
        with pytest.raises(error):
            f(Names(T), data(T)[0])


def test_an_element_picked_in_a_step_is_not_read_after_its_tensor_was_written() -> None:
    @graphc.compile
    def step(x: graphc.Tensor, k: graphc.Tensor) -> graphc.Tensor:
        row = x[k]
        x.add_(1)
        return row

    with pytest.raises(Untraceable, match="read after the tensor was written"):
        step(graphc.ones(2, 3), graphc.tensor(1))


def test_a_counter_in_a_step_counts() -> None:
    @graphc.compile
    def step(counts: graphc.Tensor, k: graphc.Tensor) -> None:
        counts[k] += 1
        counts[k] += 2

    counts = graphc.zeros(3)
    for k in (0, 2, 2):
        step(counts, graphc.tensor(k))
    assert counts.tolist() == [3.0, 0.0, 6.0]
