"""Samples into a batch."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from graphc.errors import InvalidType, ShapeMismatch
from graphc.frontend.api.creation import as_tensor, tensor
from graphc.frontend.api.shapes import stack
from graphc.frontend.tensor import Tensor
from graphc.ir.types import f64

# What makes a batch of samples of a class: libraries enter their own.
default_collate_fn_map: dict[Any, Callable[..., Any]] = {}
NO_NUMBERS = re.compile(r"[SaUO]")  # in the dtype of an array


def collate_tensor(batch: Sequence[Tensor], *, collate_fn_map: Any = None) -> Tensor:
    """[...] each -> [B, ...]."""
    return stack(list(batch))


def default_convert(data: Any) -> Any:
    """One sample with its NumPy arrays and scalars as tensors, at any depth; else as it is."""
    if isinstance(data, Tensor | str | bytes):
        return data
    if isinstance(data, np.ndarray | np.generic):
        return data if data.dtype.kind in "SUO" else as_tensor(np.asarray(data))
    if isinstance(data, Mapping):
        return {key: default_convert(part) for key, part in data.items()}
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*map(default_convert, data))
    if isinstance(data, Sequence):
        return [default_convert(part) for part in data]
    return data


def default_collate(batch: Sequence[Any]) -> Any:
    """A list of samples as one batch, as in PyTorch.

    Tensors and arrays are stacked, numbers become a tensor (floats float64), texts a list;
    containers are taken apart, and the batch has their form (a tuple of samples gives a list).

    Tensors [...] -> [B, ...]. Raises ShapeMismatch where samples differ in shape, InvalidType for
    what makes no batch.
    """
    first = batch[0]
    for kind, collate in default_collate_fn_map.items():
        if isinstance(first, kind):
            return collate(batch, collate_fn_map=default_collate_fn_map)
    if isinstance(first, Tensor):
        return collate_tensor(batch)
    if isinstance(first, np.ndarray | np.generic):
        return stack([as_tensor(np.asarray(sample)) for sample in batch])
    if isinstance(first, float):
        return tensor(list(batch), dtype=f64)
    if isinstance(first, int):
        return tensor(list(batch))
    if isinstance(first, str | bytes):
        return batch
    if isinstance(first, Mapping):
        return {key: default_collate([sample[key] for sample in batch]) for key in first}
    if isinstance(first, Sequence):
        return _collate_sequences(batch, first)
    raise InvalidType(
        "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; "
        f"found {type(first)}"
    )


def _collate_sequences(batch: Sequence[Any], first: Sequence[Any]) -> Any:
    if any(len(sample) != len(first) for sample in batch):
        raise ShapeMismatch(
            "each element in list of batch should be of equal size",
            why="samples of one batch must have the same form",
            fix="pad them in the data set, or pass collate_fn",
        )
    columns = [default_collate(column) for column in zip(*batch)]
    if hasattr(first, "_fields"):  # a named tuple
        return type(first)(*columns)
    return columns


def pinned(batch: Any) -> Any:
    """A batch with its tensors pinned, and whatever else has a `pin_memory` of its own."""
    if isinstance(batch, dict):
        return type(batch)({key: pinned(value) for key, value in batch.items()})
    if isinstance(batch, tuple | list):
        parts = [pinned(value) for value in batch]
        return type(batch)(*parts) if hasattr(batch, "_fields") else type(batch)(parts)
    return batch.pin_memory() if hasattr(batch, "pin_memory") else batch
