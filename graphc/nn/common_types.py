"""torch.nn.common_types: names of annotations for sizes in one to six dimensions."""

from __future__ import annotations

from typing import Any, TypeAlias

_scalar_or_tuple_1_t: TypeAlias = Any | tuple[Any]
_scalar_or_tuple_2_t: TypeAlias = Any | tuple[Any, Any]
_scalar_or_tuple_3_t: TypeAlias = Any | tuple[Any, Any, Any]
_scalar_or_tuple_4_t: TypeAlias = Any | tuple[Any, Any, Any, Any]
_scalar_or_tuple_5_t: TypeAlias = Any | tuple[Any, Any, Any, Any, Any]
_scalar_or_tuple_6_t: TypeAlias = Any | tuple[Any, Any, Any, Any, Any, Any]
_scalar_or_tuple_any_t: TypeAlias = Any | tuple[Any, ...]

_size_1_t: TypeAlias = int | tuple[int]
_size_2_t: TypeAlias = int | tuple[int, int]
_size_3_t: TypeAlias = int | tuple[int, int, int]
_size_4_t: TypeAlias = int | tuple[int, int, int, int]
_size_5_t: TypeAlias = int | tuple[int, int, int, int, int]
_size_6_t: TypeAlias = int | tuple[int, int, int, int, int, int]
_size_any_t: TypeAlias = int | tuple[int, ...]

_size_any_opt_t: TypeAlias = tuple[int | None, ...]
_size_2_opt_t: TypeAlias = tuple[int | None, int | None]
_size_3_opt_t: TypeAlias = tuple[int | None, int | None, int | None]

_ratio_2_t: TypeAlias = float | tuple[float, float]
_ratio_3_t: TypeAlias = float | tuple[float, float, float]
_ratio_any_t: TypeAlias = float | tuple[float, ...]

_tensor_list_t: TypeAlias = list[object] | tuple[object, ...]
_maybe_indices_t: TypeAlias = _scalar_or_tuple_2_t
