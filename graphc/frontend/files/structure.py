"""The structure of a checkpoint as JSON: {kind: value} for each part, tensors by name.

Only the kinds below exist, so a file can name no code. What is plain data in PyTorch's checkpoints
comes back as it was; NumPy's numbers come back as Python's, a named tuple as a tuple, a subclass of
dict as a dict.
"""

from __future__ import annotations

import argparse
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from graphc.errors import InvalidType
from graphc.frontend import tensor as tensors
from graphc.frontend.devices import device
from graphc.frontend.files.locations import Place, location_of
from graphc.frontend.size import Size
from graphc.ir.types import Array, DType, dtype_named

Tensor = tensors.Tensor
MAX_DEPTH = 64  # of nesting: reader and writer recurse
SEQUENCES: dict[str, type] = {
    "size": Size, "list": list, "tuple": tuple, "set": set, "frozenset": frozenset,
}  # fmt: skip


def describe(obj: Any, arrays: dict[str, Array]) -> Any:
    """JSON for `obj`; fills `arrays` with the memory of its tensors by name."""
    return _Writer(arrays).part(obj, "", 0)


class _Writer:
    def __init__(self, arrays: dict[str, Array]) -> None:
        self.arrays = arrays
        self.seen: dict[Any, str] = {}  # tensors that are written

    def part(self, obj: Any, path: str, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise InvalidType(f"save: more than {MAX_DEPTH} levels of nesting at {path[:200]!r}")
        if isinstance(obj, Tensor):
            return self.tensor(obj, path)
        if isinstance(obj, np.ndarray) and obj.dtype.kind in "biuf":
            name = self.named(path, np.frombuffer(obj.tobytes(), np.uint8))
            return {"array": [name, obj.dtype.str, list(obj.shape)]}
        if isinstance(obj, np.generic):
            obj = obj.item()
        if isinstance(obj, argparse.Namespace):
            return {"namespace": self.part(vars(obj), path, depth + 1)}
        if isinstance(obj, Mapping):
            kind = "ordered" if isinstance(obj, OrderedDict) else "dict"
            pairs = obj.items()
            return {kind: [[self.key(k, path), self.inner(v, path, k, depth)] for k, v in pairs]}
        for kind, cls in SEQUENCES.items():
            if isinstance(obj, cls):
                parts: Any = obj
                return {kind: [self.inner(v, path, k, depth) for k, v in enumerate(parts)]}
        return _described(obj, path)

    def inner(self, obj: Any, path: str, key: Any, depth: int) -> Any:
        return self.part(obj, f"{path}.{key}" if path else str(key), depth + 1)

    def key(self, k: Any, path: str) -> Any:
        """Strings and integers as they are; another key's JSON in a list of one."""
        if isinstance(k, str | int) and not isinstance(k, bool | np.generic):
            return k
        return [_Writer({}).part(k, f"{path}, in a key", 0)] if _plain(k) else _refused(k, path)

    def named(self, path: str, array: Array) -> str:
        name = path or "tensor"
        while name in self.arrays or name == "__metadata__":
            name += "_"
        self.arrays[name] = array
        return name

    def tensor(self, x: Tensor, path: str) -> Any:
        array = x.detach().host()
        where = (id(x.storage), x.storage_offset(), x.spec, x.strides())
        if where not in self.seen:
            self.seen[where] = self.named(path, array)
        return {"tensor": [self.seen[where], x.requires_grad and x.is_leaf, *location_of(x)]}


def _plain(k: Any) -> bool:
    """Whether it may be a key: numbers, texts, None and tuples of them."""
    if isinstance(k, tuple):
        return all(map(_plain, k))
    return k is None or isinstance(k, str | bytes | int | float | np.generic)


def _refused(k: Any, path: str) -> Any:
    raise InvalidType(
        f"save: the key {k!r:.100} of the dict at {path[:200]!r} is no number or string"
    )


def _described(obj: Any, path: str) -> Any:
    """JSON for what has no parts."""
    if obj is None or isinstance(obj, bool | str):
        return {"value": obj}
    if isinstance(obj, int):
        return {"int": str(obj)} if obj.bit_length() > 53 else {"value": obj}
    if isinstance(obj, float):
        return {"value": obj} if math.isfinite(obj) else {"float": repr(obj)}
    if isinstance(obj, complex):
        return {"complex": [repr(obj.real), repr(obj.imag)]}
    if isinstance(obj, bytes):
        return {"bytes": obj.hex()}
    if isinstance(obj, DType):
        return {"dtype": obj.name}
    if isinstance(obj, device):
        return {"device": str(obj)}
    raise InvalidType(
        f"save: {type(obj).__name__} at {path[:200]!r} is no tensor, number, string or container",
        fix="save its state_dict() instead",
    )


# ---- back --------------------------------------------------------------------------------------


def rebuild(tree: Any, named: dict[str, Tensor], place: Place) -> Any:
    """Inverse of `describe`; KeyError, TypeError or ValueError where the JSON is damaged."""
    return _Reader(named, place).part(tree, 0)


class _Reader:
    def __init__(self, named: dict[str, Tensor], place: Place) -> None:
        self.named, self.place = named, place
        self.placed: dict[str, Tensor] = {}

    def part(self, tree: Any, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise ValueError("nested too deeply")
        ((kind, value),) = tree.items()
        if kind in SEQUENCES:
            return SEQUENCES[kind]([self.part(v, depth + 1) for v in value])
        if kind in ("dict", "ordered"):
            pairs = [(self.key(k), self.part(v, depth + 1)) for k, v in value]
            return OrderedDict(pairs) if kind == "ordered" else dict(pairs)
        if kind == "namespace":
            return argparse.Namespace(**self.part(value, depth + 1))
        if kind == "tensor":
            return self.tensor(*value)
        if kind == "array":
            return self.array(*value)
        return LEAVES[kind](value)

    def key(self, k: Any) -> Any:
        if isinstance(k, list):
            (tree,) = k
            k = _Reader({}, self.place).part(tree, 0)
            if not _plain(k):
                raise ValueError(f"a key {k!r:.50}")
        elif not isinstance(k, str | int) or isinstance(k, bool):
            raise ValueError(f"a key {k!r:.50}")
        return k

    def tensor(self, name: str, requires_grad: bool, location: str = "cpu") -> Tensor:
        x = self.placed.get(name)
        if x is None:
            x = self.placed[name] = self.place(self.named[name], location)
        if requires_grad and not x.is_floating_point():
            raise ValueError(f"a gradient for {x.spec}")
        return x.requires_grad_() if requires_grad else x

    def array(self, name: str, code: str, shape: list[int]) -> Array:
        dtype = np.dtype(code)
        if dtype.kind not in "biuf":
            raise ValueError(f"an array of {code!r:.50}")
        return np.frombuffer(self.named[name].numpy().tobytes(), dtype).reshape(shape).copy()


def _value(value: Any) -> Any:
    if value is not None and not isinstance(value, bool | int | float | str):
        raise ValueError("a value that is no number or string")
    return value


def _integer(text: str) -> int:
    if len(text) > 1000:
        raise ValueError(f"an integer of {len(text)} digits")
    return int(text)


LEAVES: dict[str, Callable[[Any], Any]] = {
    "value": _value,
    "int": _integer,
    "float": float,
    "complex": lambda parts: complex(*map(float, parts)),
    "bytes": bytes.fromhex,
    "dtype": dtype_named,
    "device": device,
}
