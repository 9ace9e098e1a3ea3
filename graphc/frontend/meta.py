"""The meta device: tensors that have a type, a shape and strides, and no elements.

Models are described there before memory is spent on them: `with graphc.device("meta")`, then
`to_empty(device=...)`, or `load_state_dict(..., assign=True)`. Operations give results of the types
that the rules of types say; what would need an element is an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from graphc.errors import InvalidType, Unsupported
from graphc.frontend import places
from graphc.ir.ops import Attrs, Op
from graphc.ir.remote import RemoteArray
from graphc.ir.types import Array, Scalar, TensorSpec


class MetaArray(RemoteArray):
    """No elements; addresses count from the start of its storage."""

    __slots__ = ()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NoReturn:
        raise InvalidType(
            "can't convert meta device type tensor to numpy",
            why="a tensor on the meta device has no elements",
            fix=FIX,
        )

    def __getitem__(self, at: object) -> NoReturn:
        self.__array__()

    def __repr__(self) -> str:
        return f"<{self.dtype}{list(self.shape)} on meta>"


FIX = 'give the model memory: module.to_empty(device="cpu"), or load_state_dict(..., assign=True)'


def no_data(*_: Any, **__: Any) -> NoReturn:
    raise Unsupported(
        "Cannot copy out of meta tensor; no data!",
        why="a tensor on the meta device has a type and a shape, and no elements",
        fix=FIX,
    )


class MetaPlace:
    """Where memory costs nothing: what writes it does nothing, what reads it is an error."""

    name, index = "meta", -1
    kind: type = MetaArray

    def empty(self, shape: Sequence[int], dtype: np.dtype[Any]) -> Any:
        return MetaArray(0, dtype, tuple(shape), object())

    def address(self, array: Any) -> int:
        return array.address  # type: ignore[no-any-return]  # of a MetaArray

    def base(self, array: Any) -> object | None:
        return array.base  # type: ignore[no-any-return]  # of a MetaArray

    def row_major(self, array: Any) -> Any:
        return array if array.flags.c_contiguous else self.empty(array.shape, array.dtype)

    def overlap(self, a: Any, b: Any) -> bool:
        (start, end), (first, last) = a.span(), b.span()
        return a.base is b.base and start < last and first < end

    def run(self, op: Op, operands: Sequence[Any], attrs: Attrs, spec: TensorSpec) -> Any:
        return self.empty(spec.shape, spec.dtype.numpy)

    def copy(self, target: Any, source: Array) -> None: ...
    def add(self, target: Any, source: Array) -> None: ...
    def upload(self, target: Any, source: Array, wait: bool) -> None: ...
    def fill(self, target: Any, value: Scalar) -> None: ...
    def settle(self) -> None: ...
    def wait(self) -> None: ...
    def used_by(self, array: Any, stream: int) -> None: ...

    def fetched(self, source: Array) -> Any | None:
        return None

    def download(self, source: Any) -> Array:
        no_data()

    def exported(self, array: Any, stream: int | None) -> Any:
        no_data()

    def imported(self, owner: Any) -> Any:
        no_data()

    def told(self, interface: Mapping[str, Any], owner: object) -> Any:
        no_data()


META = MetaPlace()
places.PLACES[MetaArray] = lambda _: META
