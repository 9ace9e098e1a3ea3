"""Products and sums of sparse matrices under torch.sparse's names."""

from __future__ import annotations

from typing import Any

from graphc.errors import InvalidType
from graphc.frontend.api.sparse import SparseTensor, sparse_coo_tensor, spmm
from graphc.frontend.tensor import Tensor

__all__ = ["FloatTensor", "addmm", "mm", "sum"]


def mm(sparse: Any, dense: Any, reduce: str = "sum") -> Tensor:
    """A sparse matrix times a dense one; gradients reach the values and the dense matrix.

    [N, K], [K, M] -> [N, M].
    """
    return spmm(sparse, dense)


def addmm(mat: Tensor, mat1: Any, mat2: Tensor, *, beta: float = 1.0, alpha: float = 1.0) -> Tensor:
    """beta * mat + alpha * (mat1 @ mat2), mat1 sparse.

    mat [N, M], mat1 [N, K], mat2 [K, M] -> [N, M].
    """
    return mat * beta + spmm(mat1, mat2) * alpha


def sum(input: SparseTensor, dim: Any = None, dtype: Any = None) -> Any:
    """The sum of all entries, or along `dim` as a dense tensor. [N, M] -> [], [M] or [N]."""
    if not isinstance(input, SparseTensor):
        raise InvalidType(f"sparse.sum: a sparse tensor is expected, got {type(input).__name__}")
    return input._values().sum(dtype=dtype) if dim is None else input.to_dense(dtype).sum(dim)


FloatTensor = sparse_coo_tensor
