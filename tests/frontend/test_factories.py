"""Factories, conversions and queries of the tensor class, against torch: values, or the error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc

torch: Any = pytest.importorskip("torch")

MADE: list[Callable[[Any], Any]] = [
    lambda T: T.logspace(0, 2, 5),
    lambda T: T.logspace(0, 3, 4, base=2),
    lambda T: T.linspace(0, 1, 5, dtype=T.float64, requires_grad=True),
    lambda T: T.linspace(0, 10, 5, dtype=T.int64),
    lambda T: T.linspace(T.tensor(0.0), T.tensor(1.0), 3),
    lambda T: T.eye(3, requires_grad=True),
    lambda T: T.tril_indices(3, 4, -1),
    lambda T: T.triu_indices(4, 3, 1, dtype=T.int32),
    lambda T: T.zeros(size=(2, 3), dtype=T.bool),
    lambda T: T.ones(size=[2], dtype=float),
    lambda T: T.zeros(3, dtype=int),
    lambda T: T.zeros(2, layout=T.strided, pin_memory=False),
    lambda T: T.full([2], T.tensor(3.0)),
    lambda T: T.full((2,), 3.0, dtype=T.int64),
    lambda T: T.arange(end=4),
    lambda T: T.arange(T.tensor(3)),
    lambda T: T.arange(1, 2, 0.3, requires_grad=True),
    lambda T: T.scalar_tensor(2),
    lambda T: T.asarray([1, 2], dtype=T.float32, requires_grad=True),
    lambda T: T.tensor([1, 2]).new_zeros(2, 3),
    lambda T: T.tensor([1.0, 2]).new_ones((2,), dtype=T.int64),
    lambda T: T.tensor([1.0, 2]).new_full((2,), 3, requires_grad=True),
    lambda T: T.tensor([1, 2]).new_tensor([1.5, 2]),
    lambda T: T.tensor([1.0, 2]).new_zeros(size=(2,)),
    lambda T: T.ones_like(T.ones(2), requires_grad=True, dtype=T.float16),
    lambda T: T.zeros_like(T.ones(2), memory_format=T.preserve_format),
    lambda T: T.bernoulli(T.tensor([0.0, 1.0])),
    lambda T: T.multinomial(T.tensor([0.0, 1.0, 0.0]), 1),
    lambda T: T.multinomial(T.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]), 2, replacement=True),
    lambda T: T.randn_like(T.zeros(0, 3)),
    lambda T: T.randint_like(T.zeros(3), 1),
    lambda T: T.randint_like(T.zeros(2, dtype=T.int64), 4, 5),
    lambda T: T.ones(3).new_empty(2, 0, dtype=T.int8),
    lambda T: T.tensor([1.7, -2]).char(),
    lambda T: T.zeros(3, dtype=T.int64).random_(0, 1),
    lambda T: T.zeros(T.broadcast_shapes((3, 1), (2,))),
    lambda T: T.zeros(1, dtype=T.get_default_dtype()),
    lambda T: T.clone(T.ones(3, requires_grad=True)).detach(),
    lambda T: T.detach(T.ones(3, requires_grad=True)),
    lambda T: T.FloatTensor([1, 2]),
    lambda T: T.LongTensor(2, 3).zero_(),
    lambda T: T.ByteTensor([1, 2]),
    lambda T: T.Tensor([1, 2]),
    lambda T: T.Tensor(2, 0),
    lambda T: T.Tensor(),
    lambda T: T.Tensor(T.ones(2, 3).shape).zero_(),
    lambda T: T.ones(2).to("cpu", T.float64),
    lambda T: T.ones(2).to(device="cpu", dtype=T.int64),
    lambda T: T.ones(2).to(T.device("cpu"), T.int8, False, True),
    lambda T: T.ones(2).to(float),
    lambda T: T.as_tensor(np.array([1, 2]), dtype=T.float32),
]

ASKED: list[Callable[[Any], Any]] = [
    lambda T: T.ones(2).type(),
    lambda T: T.ones(2).type(T.float64).type(),
    lambda T: T.ones(2).type("torch.LongTensor").dtype.itemsize,
    lambda T: T.ones(2).type(T.HalfTensor).type(dtype=T.int32).type(),
    lambda T: T.ones(2).long().type(),
    lambda T: isinstance(T.ones(2), T.FloatTensor),
    lambda T: isinstance(T.ones(2), T.LongTensor),
    lambda T: (T.ones(2, 3).ndimension(), T.ones(2, 3).nelement(), T.ones(2, 3).dim()),
    lambda T: (T.ones(2, 3).stride(), T.ones(2, 3).t().stride(-1), T.ones(2, 3).size(-1)),
    lambda T: (T.ones(2, 3).t().is_contiguous(), T.ones(2, 3).is_contiguous()),
    lambda T: (T.ones(2, 3).element_size(), T.ones(2, 3).nbytes, T.float64.itemsize),
    lambda T: (T.int8.is_signed, T.uint8.is_signed, T.float32.is_floating_point),
    lambda T: (T.is_floating_point(T.ones(2)), T.is_complex(T.ones(2)), T.is_signed(T.ones(1))),
    lambda T: (T.is_nonzero(T.tensor([2.0])), T.tensor([0]).is_nonzero(), T.is_tensor(3)),
    lambda T: (T.ones(1).is_cuda, T.ones(1).get_device(), T.ones(1).layout, T.ones(1).device),
    lambda T: T.Size([2]) + T.Size([3]),
    lambda T: T.Size([2, 3])[1:] * 2,
    lambda T: (3,) + T.Size([2]),  # noqa: RUF005  the addition is what is tested
    lambda T: T.finfo(T.float32),
    lambda T: T.finfo(T.bfloat16),
    lambda T: (T.finfo(T.float16), T.finfo(T.float64).resolution),
    lambda T: (T.iinfo(T.int8), T.iinfo(T.int64)),
    lambda T: (T.inf, T.pi, T.e, T.newaxis),
    lambda T: (T.tensor(1.5).tolist(), T.tensor(True).item(), len(T.ones(3, 2))),
    lambda T: [v.item() for v in T.tensor([1, 2])],
    lambda T: (int(T.tensor(2.7)), float(T.tensor(2)), bool(T.tensor([0.0]))),
    lambda T: T.Generator().device,
]

REFUSED: list[Callable[[Any], Any]] = [
    lambda T: T.ones(2).type("torch.Nothing"),
    lambda T: T.zeros(-1),
    lambda T: T.linspace(0, 1, -1),
    lambda T: T.eye(-1),
    lambda T: T.tril_indices(-1, 2),
    lambda T: T.arange(5, 1),
    lambda T: T.arange(0, 5, 0),
    lambda T: T.randint(3, 3, (2,)),
    lambda T: T.randint(0, 2, 3),
    lambda T: T.rand(2, dtype=T.int64),
    lambda T: T.randperm(-1),
    lambda T: T.normal(0.0, -1.0, (2,)),
    lambda T: T.normal(T.zeros(2), T.tensor([1.0, -1.0])),
    lambda T: T.bernoulli(T.tensor([2.0])),
    lambda T: T.bernoulli(T.tensor([1])),
    lambda T: T.multinomial(T.tensor([0.0, 1.0, 3.0]), 5),
    lambda T: T.multinomial(T.tensor([0.0, -1.0]), 1),
    lambda T: T.multinomial(T.zeros(3), 1),
    lambda T: T.multinomial(T.tensor([1, 2]), 1),
    lambda T: T.multinomial(T.ones(2, 2, 2), 1),
    lambda T: T.multinomial(T.ones(2), 0),
    lambda T: T.ones(2).uniform_(2, 1),
    lambda T: T.tensor("a"),
    lambda T: T.tensor([[1], [2, 3]]),
    lambda T: T.tensor(None),
    lambda T: T.tensor(2**70),
    lambda T: T.tensor([1, 2], requires_grad=True),
    lambda T: T.tensor([1, 2]).item(),
    lambda T: len(T.tensor(1)),
    lambda T: bool(T.tensor([1, 2])),
    lambda T: T.ones(2, 3).size(2),
    lambda T: T.from_numpy([1]),
    lambda T: T.from_numpy(np.arange(4)[::-1]),
    lambda T: T.ones(2, requires_grad=True).numpy(),
    lambda T: T.promote_types(T.int8, 3),
    lambda T: T.iinfo(T.float32),
    lambda T: T.finfo(T.int8),
    lambda T: T.zeros(2, dtype="float32"),
    lambda T: T.zeros(),
    lambda T: T.rand(),
    lambda T: T.arange(),
    lambda T: T.tensor(1).reshape(),
    lambda T: T.tensor(1).permute(),
    lambda T: T.tensor(1).new_ones(),
]


def described(x: Any) -> Any:
    if hasattr(x, "tolist"):
        return str(x.dtype).split(".")[-1], tuple(x.shape), x.tolist(), x.requires_grad
    return repr(x).replace("graphc", "torch")


@pytest.mark.parametrize("k", range(len(MADE)))
def test_made(k: int) -> None:
    assert described(MADE[k](graphc)) == described(MADE[k](torch))


@pytest.mark.parametrize("k", range(len(ASKED)))
def test_asked(k: int) -> None:
    assert described(ASKED[k](graphc)) == described(ASKED[k](torch))


@pytest.mark.parametrize("k", range(len(REFUSED)))
def test_refused(k: int) -> None:
    with pytest.raises((RuntimeError, ValueError, TypeError, IndexError, OverflowError)) as theirs:
        REFUSED[k](torch)
    kind = next(c for c in theirs.type.__mro__ if c.__module__ == "builtins")
    kind = RuntimeError if issubclass(kind, RuntimeError) else kind
    with pytest.raises(kind, match="GC"):
        REFUSED[k](graphc)


def test_numpy_shares_memory_both_ways() -> None:
    a = np.arange(6.0).reshape(2, 3)
    x = graphc.from_numpy(a)
    a[0, 0] = 7.0
    assert x[0, 0].item() == 7.0
    x.mul_(2)
    assert a[0, 0] == 14.0 and x.dtype is graphc.float64
    y = graphc.zeros(3)
    y.numpy()[1] = 5.0
    assert y.tolist() == [0.0, 5.0, 0.0]
    assert np.shares_memory(graphc.from_numpy(a.T).numpy(), a)
    assert np.shares_memory(graphc.as_tensor(a).numpy(), a)
    assert not np.shares_memory(graphc.tensor(a).numpy(), a)


def test_factories_inside_a_compiled_step() -> None:
    table = np.array([3.0, 4.0], np.float32)

    def step(x: graphc.Tensor) -> graphc.Tensor:
        made = graphc.tensor([[1.0, 2.0], [3.0, 4.0]]) + graphc.tensor(table)
        lines = graphc.linspace(0, 1, 2) * graphc.logspace(0, 1, 2) + graphc.eye(2)
        return x @ made + lines + x.new_ones(2) + graphc.tril_indices(2, 2).sum()

    x = graphc.ones(2, 2)
    np.testing.assert_allclose(graphc.compile(step)(x).numpy(), step(x).numpy(), rtol=1e-6)


def test_the_default_dtype_reaches_every_float() -> None:
    def dtypes(T: Any) -> list[str]:
        T.set_default_dtype(T.float64)
        try:
            made = [
                T.tensor(1.5), T.tensor([1.0]), T.ones(1), T.arange(2.0), T.linspace(0, 1, 2),
                T.eye(1), T.full((1,), 2.5), T.rand(1), T.randn(1), T.tensor([1]) / T.tensor([2]),
                T.tensor([1]) * 1.5, T.tensor([1]).sqrt(), T.scalar_tensor(1), T.Tensor([1]),
                T.tensor([1]).mean(dtype=T.float64), T.normal(0.0, 1.0, (1,)), T.logspace(0, 1, 2),
                T.tensor([1]).atan2(T.tensor([1])), T.empty(1), T.where(T.tensor(True), 1.0, 2.0),
            ]  # fmt: skip
            return [str(x.dtype).split(".")[-1] for x in made]
        finally:
            T.set_default_dtype(T.float32)

    assert dtypes(graphc) == dtypes(torch)


def test_a_list_takes_the_sizes_of_a_shape() -> None:
    sizes = [5]
    sizes += graphc.ones(2, 3).shape
    assert sizes == [5, 2, 3]
