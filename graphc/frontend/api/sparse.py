"""Sparse matrices in coordinates: indices and values, multiplied by gathering and adding.

A sparse tensor is no Tensor but a pair of them, so it may be made and used inside a step; its
values carry gradients. What it does not offer, `to_dense()` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc.errors import InvalidState, ShapeMismatch
from graphc.frontend.api import creation
from graphc.frontend.api.conversion import to
from graphc.frontend.api.indexing import nonzero
from graphc.frontend.api.shapes import stack
from graphc.frontend.checked import checked
from graphc.frontend.devices import CPU, device
from graphc.frontend.dims import sizes
from graphc.frontend.options import as_dtype, sparse_coo
from graphc.frontend.size import Size
from graphc.frontend.tensor import Tensor
from graphc.ir.types import DType, i64

__all__ = ["SparseTensor", "dsmm", "sparse_coo_tensor", "spmm"]


class SparseTensor:
    """values[k] at indices[:, k] of a tensor of `shape`; what is named twice is added."""

    is_sparse = True
    layout = sparse_coo

    def __init__(
        self, indices: Tensor, values: Tensor, shape: Sequence[int], coalesced: bool = False
    ) -> None:
        self._index, self._value = indices, values
        self._shape = Size(shape)
        self._coalesced = coalesced

    @property
    def shape(self) -> Size:
        return self._shape

    @property
    def dtype(self) -> DType:
        return self._value.dtype

    @property
    def device(self) -> device:
        return self._value.device

    @property
    def requires_grad(self) -> bool:
        return self._value.requires_grad

    @property
    def grad_fn(self) -> Any:
        return self._value.grad_fn

    def size(self, dim: int | None = None) -> Any:
        return self._shape if dim is None else self._shape[dim]

    def dim(self) -> int:
        return len(self._shape)

    def sparse_dim(self) -> int:
        return self._index.spec.shape[0]

    def dense_dim(self) -> int:
        return self._value.dim() - 1

    def numel(self) -> int:
        return self._shape.numel()

    def _nnz(self) -> int:
        return self._value.spec.shape[0]

    def is_coalesced(self) -> bool:
        return self._coalesced

    def _indices(self) -> Tensor:
        return self._index

    def _values(self) -> Tensor:
        return self._value

    def indices(self) -> Tensor:
        """The indices [dims, n] of a coalesced tensor."""
        return self._sorted()._index

    def values(self) -> Tensor:
        """The values [n, ..] of a coalesced tensor."""
        return self._sorted()._value

    def _sorted(self) -> SparseTensor:
        if not self._coalesced:
            raise InvalidState(
                "Cannot get indices or values of an uncoalesced tensor, please call .coalesce() "
                "first"
            )
        return self

    def _flat(self) -> Tensor:
        """Of each entry the number of its place, row-major over the sparse dimensions."""
        place = self._index[0]
        for k in range(1, self.sparse_dim()):
            place = place * self._shape[k] + self._index[k]
        return place

    def coalesce(self) -> SparseTensor:
        """Sorted by place, each place once. Its size depends on the indices: not inside a step."""
        if self._coalesced:
            return self
        places, inverse = self._flat().unique(return_inverse=True)
        values = self._value.new_zeros((places.shape[0], *self._value.spec.shape[1:]))
        values = values.index_add(0, inverse, self._value)
        rows = []
        for n in reversed(self._shape[: self.sparse_dim()]):
            rows.append(places % n)
            places = places // n
        return SparseTensor(stack(rows[::-1]), values, self._shape, True)

    def to_dense(self, dtype: DType | None = None) -> Tensor:
        """The whole tensor, zeros included."""
        count = self._shape[: self.sparse_dim()].numel()
        dense = self._value.new_zeros((count, *self._value.spec.shape[1:]))
        out = dense.index_add(0, self._flat(), self._value).reshape(self._shape)
        return out if dtype is None else out.to(dtype)

    def with_values(self, values: Tensor) -> SparseTensor:
        return SparseTensor(self._index, values, self._shape, self._coalesced)

    def to(self, *args: Any, **kwargs: Any) -> SparseTensor:
        return self.with_values(to(self._value, *args, **kwargs))

    def float(self) -> SparseTensor:
        return self.with_values(self._value.float())

    def double(self) -> SparseTensor:
        return self.with_values(self._value.double())

    def _on(self, where: Any) -> SparseTensor:
        index, value = self._index.to(device=where), self._value.to(device=where)
        return SparseTensor(index, value, self._shape, self._coalesced)

    def cpu(self) -> SparseTensor:
        return self._on(CPU)

    def cuda(self, device: Any = None) -> SparseTensor:
        return self._on("cuda" if device is None else device)

    def detach(self) -> SparseTensor:
        return self.with_values(self._value.detach())

    def clone(self) -> SparseTensor:
        return self.with_values(self._value.clone())

    def requires_grad_(self, requires_grad: bool = True) -> SparseTensor:
        self._value.requires_grad_(requires_grad)
        return self

    def t(self) -> SparseTensor:
        return self.transpose(0, 1)

    def transpose(self, dim0: int, dim1: int) -> SparseTensor:
        order = list(range(self.sparse_dim()))
        order[dim0], order[dim1] = order[dim1], order[dim0]
        shape = [self._shape[k] for k in order] + list(self._shape[self.sparse_dim() :])
        return SparseTensor(self._index[order], self._value, shape)

    def __mul__(self, other: Any) -> SparseTensor:
        return self.with_values(self._value * other)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> SparseTensor:
        return self.with_values(self._value / other)

    def __neg__(self) -> SparseTensor:
        return self.with_values(-self._value)

    def __matmul__(self, other: Tensor) -> Tensor:
        return spmm(self, other)

    mm = matmul = spmm = __matmul__

    def sum(self) -> Tensor:
        return self._value.sum()

    def __repr__(self) -> str:
        return (
            f"tensor(indices={self._index!r},\n       values={self._value!r},\n"
            f"       size={tuple(self._shape)}, nnz={self._nnz()}, layout={self.layout})"
        )


def sparse_coo_tensor(
    indices: Any,
    values: Any = None,
    size: Sequence[int] | None = None,
    *,
    dtype: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
    check_invariants: bool | None = None,
    is_coalesced: bool | None = None,
) -> SparseTensor:
    """A sparse tensor of `values` [n, ..] at `indices` [dims, n]; size: as far as they reach."""
    value = values if isinstance(values, Tensor) else creation.tensor(values, device=device)
    where = value.device if device is None else device
    index = creation.as_tensor(indices, device=where).to(i64)
    value = value.to(where, as_dtype(dtype) or value.dtype)
    if index.dim() != 2 or not value.dim() or index.spec.shape[1] != value.spec.shape[0]:
        raise ShapeMismatch(f"sparse_coo_tensor: indices {index.spec} and values {value.spec}")
    if size is None:
        size = (*((index.amax(1) + 1).tolist()), *value.spec.shape[1:])
    shape = sizes((size,))
    dims = index.spec.shape[0]
    if len(shape) != dims + value.dim() - 1:
        raise ShapeMismatch(f"sparse_coo_tensor: size {shape} for {dims} sparse dimensions")
    what = f"sparse_coo_tensor: an index outside size {shape}"
    inside = (index >= 0) & (index < creation.tensor(shape[:dims], device=where).unsqueeze(1))
    index = checked(index, inside, what, ShapeMismatch)
    out = SparseTensor(index, value, shape, bool(is_coalesced))
    return out.detach().requires_grad_() if requires_grad else out


def spmm(input: Any, mat2: Any) -> Tensor:
    """A sparse matrix times a dense one or a vector: rows gathered, weighted and added up.

    [N, K] and [K, M] or [K] -> [N, M] or [N].
    """
    if not isinstance(input, SparseTensor):
        return input @ mat2  # type: ignore[no-any-return]  # tensors both
    dense: Tensor = mat2.to_dense() if isinstance(mat2, SparseTensor) else mat2
    if input.dim() != 2 or dense.dim() not in (1, 2) or input.shape[1] != dense.spec.shape[0]:
        raise ShapeMismatch(f"sparse mm: {tuple(input.shape)} and {dense.spec}")
    row, column = input._indices()[0], input._indices()[1]
    taken = dense.index_select(0, column)
    weights = input._values().reshape(-1, *(1,) * (dense.dim() - 1))
    out = dense.new_zeros((input.shape[0], *dense.spec.shape[1:]))
    return out.index_add(0, row, taken * weights)


dsmm = spmm


def _to_sparse(x: Tensor, sparse_dim: int | None = None) -> SparseTensor:
    """The entries of x that are not zero; their number is known at run time only."""
    places = nonzero(x.detach())
    values = x[tuple(places.unbind(1))]
    return SparseTensor(places.t().contiguous(), values, x.spec.shape, True)


Tensor.to_sparse = _to_sparse  # type: ignore[attr-defined]  # needs the class to exist
