"""What functions that pool by the largest are to type checkers: with `return_indices` they give
two tensors, without it one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol, cast, overload

from graphc.frontend.tensor import Tensor
from graphc.nn.functional.arguments import Sizes

Wanted = int | Sequence[int | None] | None
Both = tuple[Tensor, Tensor]


class MaxPool(Protocol):
    """A window slides over the input."""

    @overload
    def __call__(
        self, input: Tensor, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0,
        dilation: Sizes = 1, ceil_mode: bool = False, return_indices: Literal[False] = False,
    ) -> Tensor: ...  # fmt: skip
    @overload
    def __call__(
        self, input: Tensor, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0,
        dilation: Sizes = 1, ceil_mode: bool = False, *, return_indices: Literal[True],
    ) -> Both: ...  # fmt: skip
    @overload
    def __call__(
        self, input: Tensor, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0,
        dilation: Sizes = 1, ceil_mode: bool = False, return_indices: bool = False,
    ) -> Any: ...  # fmt: skip


class AdaptiveMaxPool(Protocol):
    """A number of windows is given."""

    @overload
    def __call__(
        self, input: Tensor, output_size: Wanted, return_indices: Literal[False] = False
    ) -> Tensor: ...
    @overload
    def __call__(
        self, input: Tensor, output_size: Wanted, return_indices: Literal[True]
    ) -> Both: ...
    @overload
    def __call__(self, input: Tensor, output_size: Wanted, return_indices: bool = False) -> Any: ...


def max_pool(function: Callable[..., Any]) -> MaxPool:
    return cast(MaxPool, function)


def adaptive_max_pool(function: Callable[..., Any]) -> AdaptiveMaxPool:
    return cast(AdaptiveMaxPool, function)
