"""x[ptr:ptr + n] in a compiled step, where only a call knows ptr."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import graphc
from graphc import Tensor
from graphc.errors import DataDependentBranch, InvalidIndex


def enqueue(queue: Tensor, ptr: Tensor, keys: Tensor) -> Tensor:
    """As MoCo has it."""
    n, at = keys.shape[0], int(ptr)
    assert queue.shape[1] % n == 0
    queue[:, at : at + n] = keys.T
    ptr[0] = (at + n) % queue.shape[1]
    return queue.clone()


def test_a_queue_is_written_where_its_pointer_stands() -> None:
    found = []
    for f in (enqueue, graphc.compile(enqueue)):
        queue, ptr = graphc.zeros(2, 6), graphc.zeros(1, dtype=graphc.int64)
        seen = [f(queue, ptr, graphc.ones(2, 2) * k).tolist() for k in range(1, 6)]
        found.append((seen, queue.tolist(), ptr.tolist()))
    assert found[0] == found[1]
    assert f.stats.programs == 1  # type: ignore[attr-defined]  # the compiled one


READS: dict[str, Callable[[Tensor, Any], Any]] = {
    "rows": lambda x, k: x[k : k + 2],
    "columns": lambda x, k: x[:, k : k + 3].sum(0),
    "one": lambda x, k: x[1, k : k + 1],
    "scaled": lambda x, k: x[:, 2 * k : 2 * (k + 1)],
    "back": lambda x, k: x[k - 1 : k + 1, 1:],
    "none": lambda x, k: x[k:k],
    "ellipsis": lambda x, k: x[..., k : 1 + k],
    "new": lambda x, k: x[None, k : k + 1, 2],
    "in_place": lambda x, k: x[k : k + 1].add_(7).sum() + x.sum(),
}


@pytest.mark.parametrize("name", READS)
def test_a_slice_is_what_eager_code_gives(name: str) -> None:
    def step(x: Tensor, k: Tensor) -> Any:
        y = x * 2
        return READS[name](y, k.item()), y

    compiled = graphc.compile(step)
    for k in (1, 2, 1):
        x = graphc.arange(30.0).reshape(5, 6).requires_grad_()
        z = x.detach().clone().requires_grad_()
        (a, u), (b, v) = compiled(x, graphc.tensor(k)), step(z, graphc.tensor(k))
        assert graphc.equal(a, b) and graphc.equal(u, v)
        if name != "in_place":
            ((a**2).sum() + u.sum()).backward()
            ((b**2).sum() + v.sum()).backward()
            assert x.grad is not None and z.grad is not None and graphc.equal(x.grad, z.grad)
    assert compiled.stats.programs == 1


@pytest.mark.parametrize("k", [-1, 4])
def test_one_that_leaves_the_tensor_raises(k: int) -> None:
    """Python would give fewer elements: another shape."""
    step = graphc.compile(lambda x, k: x[(n := k.item()) : n + 2])
    x = graphc.zeros(5)
    step(x, graphc.tensor(3))
    with pytest.raises(RuntimeError, match=r"a slice of 2 elements.*leaves dimension 0"):
        step(x, graphc.tensor(k))


def test_what_has_another_length_at_each_call_is_refused() -> None:
    x, k = graphc.zeros(5), graphc.tensor(1)
    for f in (lambda x, k: x[: k.item()], lambda x, k: x[k.item() :]):
        with pytest.raises(DataDependentBranch):
            graphc.compile(f)(x, k)
    with pytest.raises(InvalidIndex, match="index once more"):
        graphc.compile(lambda x, k: x[k, (n := k.item()) : n + 1])(graphc.zeros(3, 3), k)
