"""Data sets: anything with `__getitem__` and `__len__`, or streams with `__iter__`."""

from __future__ import annotations

import warnings
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from math import floor, isclose
from typing import Any, Generic, TypeVar

import numpy as np

from graphc.errors import InvalidArgument, InvalidType
from graphc.frontend.api.creation import from_numpy
from graphc.frontend.api.random import Generator, randperm
from graphc.frontend.tensor import Tensor

T = TypeVar("T", covariant=True)


class Dataset(Generic[T]):
    """Samples by index. A subclass gives `__getitem__`, and `__len__` where a sampler needs it."""

    def __getitem__(self, index: Any) -> T:
        raise NotImplementedError("Subclasses of Dataset should implement __getitem__.")

    def __add__(self, other: Dataset[Any]) -> ConcatDataset:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[T]):
    """A stream of samples. A subclass gives `__iter__`, and `__len__` where it is known.

    Each worker of a loader iterates over its own copy: `get_worker_info()` tells it its share.
    """

    def __iter__(self) -> Iterator[T]:
        raise NotImplementedError("Subclasses of IterableDataset should implement __iter__.")

    def __add__(self, other: Dataset[Any]) -> ChainDataset:  # type: ignore[override]  # as PyTorch
        return ChainDataset([self, other])


class ChainDataset(IterableDataset[Any]):
    """Several streams, one after the other."""

    def __init__(self, datasets: Iterable[Dataset[Any]]) -> None:
        self.datasets = datasets

    def __iter__(self) -> Iterator[Any]:
        for d in self.datasets:
            yield from _stream(d)

    def __len__(self) -> int:
        streams: list[Any] = [_stream(d) for d in self.datasets]
        return sum(map(len, streams))


def _stream(dataset: Dataset[Any]) -> IterableDataset[Any]:
    if not isinstance(dataset, IterableDataset):
        raise InvalidType(
            f"ChainDataset only supports IterableDataset, not {type(dataset).__name__}",
            fix="use ConcatDataset for data sets with an index",
        )
    return dataset


class StackDataset(Dataset[Any]):
    """Samples of several data sets side by side: a tuple, or by name a dict.

    Raises InvalidArgument for different lengths.
    """

    def __init__(self, *args: Dataset[Any], **kwargs: Dataset[Any]) -> None:
        if bool(args) == bool(kwargs):
            raise InvalidArgument(
                "StackDataset takes data sets either as positional or as keyword arguments"
            )
        self.datasets: Any = args or kwargs
        lengths = {len(d) for d in self._parts()}  # type: ignore[arg-type]  # theirs to provide
        if len(lengths) > 1:
            raise InvalidArgument(f"Size mismatch between datasets: {sorted(lengths)}")
        self._length = lengths.pop()

    def _parts(self) -> list[Dataset[Any]]:
        return list(self.datasets.values() if isinstance(self.datasets, dict) else self.datasets)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(self.datasets, dict):
            return {name: d[index] for name, d in self.datasets.items()}
        return tuple(d[index] for d in self.datasets)

    def __len__(self) -> int:
        return self._length


class TensorDataset(Dataset[tuple[Tensor, ...]]):
    """Row i of each of several tensors of one length.

    Tensors [N, ...] -> N tuples of [...]. Raises InvalidArgument for different N.
    """

    def __init__(self, *tensors: Tensor) -> None:
        if any(t.shape[0] != tensors[0].shape[0] for t in tensors):
            raise InvalidArgument("Size mismatch between tensors")
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(t[index] for t in self.tensors)

    def __len__(self) -> int:
        return int(self.tensors[0].shape[0])

    def collated(self, indices: Sequence[int]) -> list[Tensor]:
        """What `default_collate` makes of these samples, by one indexing for each tensor."""
        rows = from_numpy(np.asarray(indices, np.int64))
        return [t[rows] for t in self.tensors]


class Subset(Dataset[T]):
    """The samples of a data set at given indices."""

    def __init__(self, dataset: Dataset[T], indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices

    def __getitem__(self, index: Any) -> T:
        if isinstance(index, list):
            return self.dataset[[self.indices[i] for i in index]]
        return self.dataset[self.indices[index]]

    def __len__(self) -> int:
        return len(self.indices)


class ConcatDataset(Dataset[Any]):
    """Several data sets, one after the other.

    Raises InvalidArgument where there are none.
    """

    def __init__(self, datasets: Iterable[Dataset[Any]]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise InvalidArgument("datasets should not be an empty iterable")
        for d in self.datasets:
            if isinstance(d, IterableDataset):
                raise InvalidArgument(
                    "ConcatDataset does not support IterableDataset", fix="use ChainDataset"
                )
        lengths = [len(d) for d in self.datasets]  # type: ignore[arg-type]  # theirs to provide
        self.cumulative_sizes = list(accumulate(lengths))

    def __getitem__(self, index: int) -> Any:
        size = len(self)
        if not -size <= index < size:
            raise InvalidArgument("absolute value of index should not exceed dataset length")
        index %= size
        k = bisect_right(self.cumulative_sizes, index)
        return self.datasets[k][index - (self.cumulative_sizes[k - 1] if k else 0)]

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]


def random_split(
    dataset: Dataset[T], lengths: Sequence[int | float], generator: Generator | None = None
) -> list[Subset[T]]:
    """Disjoint random subsets of the given lengths, or of the given shares that sum to 1.

    Raises InvalidArgument where lengths do not sum to that of the data set.
    """
    total = len(dataset)  # type: ignore[arg-type]  # the caller's to provide
    sizes = _sizes(total, lengths)
    if sum(sizes) != total:
        raise InvalidArgument(
            "Sum of input lengths does not equal the length of the input dataset!"
        )
    order = randperm(total, generator=generator).tolist()
    ends = list(accumulate(sizes))
    return [Subset(dataset, order[end - n : end]) for end, n in zip(ends, sizes)]


def _sizes(total: int, lengths: Sequence[int | float]) -> list[int]:
    """Lengths as they are, or shares of `total` with the remainder dealt out from the front."""
    if not (isclose(sum(lengths), 1) and sum(lengths) <= 1):
        return [int(n) for n in lengths]
    if any(not 0 <= share <= 1 for share in lengths):
        raise InvalidArgument("each share given to random_split must lie between 0 and 1")
    sizes = [floor(total * share) for share in lengths]
    for k in range(total - sum(sizes)):
        sizes[k % len(sizes)] += 1
    for k, size in enumerate(sizes):
        if size == 0:
            warnings.warn(f"random_split: part {k} is empty", stacklevel=3)
    return sizes
