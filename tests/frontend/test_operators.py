"""Python's operators between tensors and NumPy arrays, NumPy numbers and other objects."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc

torch: Any = pytest.importorskip("torch")

A = np.array([[1.5, -2.0, 3.0], [0.5, 1.0, -1.0]])
BINARY = [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow, operator.eq]
OTHERS: list[Any] = [A, A.astype(np.float32), A[0], np.float32(2), np.float64(2), np.int64(2)]
pytestmark = pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")  # PyTorch's
MIXED: dict[str, Callable[[Any, Any], Any]] = {
    "array_divided": lambda T, x: A.astype(np.float32) / x,
    "matrix_by_array": lambda T, x: x @ A.T.astype(np.float32),
    "list_times": lambda T, x: [0] * T.tensor(2),
    "text_times": lambda T, x: "a" * T.tensor(2),
    "equals_none": lambda T, x: (x == None, x != None),  # noqa: E711  on purpose
    "equals_list": lambda T, x: x == [1, 2],
    "reversed": lambda T, x: reversed(x),
    "numpy_unary": lambda T, x: np.sin(x),
    "numpy_binary": lambda T, x: np.maximum(x, 0),
    "numpy_0d": lambda T, x: np.sqrt(x[0, 0]),
    "axis": lambda T, x: x.sum(axis=1) + T.mean(x, axis=-1) + x.amax(axis=1),
    "keepdims": lambda T, x: x.sum(axis=0, keepdims=True) + x.norm(dim=0, keepdim=True),
    "axis_of_many": lambda T, x: T.cat([T.stack([x, x], axis=1), x.unsqueeze(1)], axis=1),
    "axis_of_linalg": lambda T, x: T.linalg.vector_norm(x, axis=0),
    "format": lambda T, x: f"{x[0, 0]:.2f} {T.tensor(3):03d} {x}",
}
REFUSED: dict[str, tuple[Callable[[Any, Any], Any], type[Exception]]] = {
    "two_axes": (lambda T, x: x.sum(dim=0, axis=0), TypeError),
    "none": (lambda T, x: x + None, TypeError),
    "text": (lambda T, x: "a" + x, TypeError),
    "list": (lambda T, x: x * [1, 2], TypeError),
    "matrix_by_number": (lambda T, x: x @ 2, TypeError),
    "matrix_by_none": (lambda T, x: operator.imatmul(x, None), TypeError),
    "int": (lambda T, x: int(x), ValueError),
    "float": (lambda T, x: float(x), ValueError),
    "format": (lambda T, x: f"{x:.2f}", TypeError),
    "cat_a_tensor": (lambda T, x: T.cat(x), TypeError),
    "stack_nothing": (lambda T, x: T.stack([]), RuntimeError),
    "permute": (lambda T, x: x.permute(0, 0), RuntimeError),
    "fill_by_vector": (lambda T, x: x.fill_(x[0]), RuntimeError),
    "data_of_vectors": (lambda T, x: T.tensor([x[0], x[0]]), ValueError),
    "data_too_large": (lambda T, x: T.tensor([300], dtype=T.uint8), RuntimeError),
    "full_too_large": (lambda T, x: T.full((2,), 1e300), RuntimeError),
}


def seen(value: Any) -> Any:
    if isinstance(value, graphc.Tensor | torch.Tensor):
        return "tensor", str(value.dtype).split(".")[-1], value.tolist()
    return value


@pytest.mark.parametrize("other", OTHERS, ids=lambda a: f"{a.dtype}{list(a.shape)}")
@pytest.mark.parametrize("f", BINARY, ids=lambda f: f.__name__)
def test_a_tensor_and_what_numpy_has(f: Any, other: Any) -> None:
    for shown in (np.abs(A), np.abs(A).astype(np.float32)):
        mine, theirs = (seen(f(T.tensor(shown), other)) for T in (graphc, torch))
        assert mine[:2] == theirs[:2]
        np.testing.assert_allclose(mine[2], theirs[2], rtol=1e-6)


@pytest.mark.parametrize("name", MIXED)
def test_other_expressions(name: str) -> None:
    mine, theirs = (seen(MIXED[name](T, T.tensor(A).float())) for T in (graphc, torch))
    if isinstance(mine, tuple) and mine[0] == "tensor":
        assert mine[:2] == theirs[:2]
        np.testing.assert_allclose(mine[2], theirs[2], rtol=1e-6)
    else:
        assert mine == theirs


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    f, error = REFUSED[name]
    for T in (torch, graphc):
        with pytest.raises(error):
            f(T, T.tensor(A).float())


def test_an_operator_leaves_the_answer_to_a_class_that_has_one() -> None:
    class Scaled:
        def __radd__(self, x: Any) -> str:
            return "added"

        def __rmatmul__(self, x: Any) -> str:
            return "multiplied"

    assert graphc.ones(2) + Scaled() == "added"
    assert graphc.ones(2, 2) @ Scaled() == "multiplied"


def test_comparisons_with_an_array() -> None:
    x = graphc.tensor(A)
    assert (x != A[0]).tolist() == [[False] * 3, [True] * 3]
    assert (x < A[0]).tolist() == (A[0] > A).tolist()
    assert (A[0] >= x).tolist() == (A[0] >= A).tolist()


def test_an_array_in_a_step() -> None:
    @graphc.compile
    def step(x: graphc.Tensor) -> graphc.Tensor:
        (g,) = graphc.autograd.grad((x * A + A[0]).sum(), x)
        return g

    np.testing.assert_array_equal(step(graphc.ones(2, 3, requires_grad=True)).numpy(), A)
