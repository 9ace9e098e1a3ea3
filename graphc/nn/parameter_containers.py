"""ParameterList and ParameterDict: tensors become parameters of the owner, other values stay."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

from graphc.frontend.tensor import Tensor
from graphc.nn.containers import position
from graphc.nn.module import Module
from graphc.nn.parameter import Parameter

__all__ = ["ParameterDict", "ParameterList"]


def _held(value: Any) -> Any:
    """A tensor as a parameter; anything else as it is."""
    is_plain = isinstance(value, Tensor) and not isinstance(value, Parameter)
    return Parameter(value) if is_plain else value


def _line(name: str, value: Any, kind: str) -> str:
    """How PyTorch lists an entry."""
    if not isinstance(value, Tensor):
        return f"  ({name}): Object of type: {type(value).__name__}"
    size = "x".join(map(str, value.shape))
    return f"  ({name}): Parameter containing: [{kind} of size {size}]"


class ParameterList(Module):
    """A list whose parameters belong to its owner."""

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        super().__init__()
        self._size = 0
        if values is not None:
            self.extend(values)

    def append(self, value: Any) -> Self:
        setattr(self, str(self._size), _held(value))
        self._size += 1
        return self

    def extend(self, values: Iterable[Any]) -> Self:
        for v in values:
            self.append(v)
        return self

    def __iadd__(self, values: Iterable[Any]) -> Self:
        return self.extend(values)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return ParameterList(list(self)[index])
        return getattr(self, str(position(index, self._size)))

    def __setitem__(self, index: int, value: Any) -> None:
        setattr(self, str(position(index, self._size)), _held(value))

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Any]:
        return iter([getattr(self, str(k)) for k in range(self._size)])

    def extra_repr(self) -> str:
        lines = []
        for k, v in enumerate(self):
            kind = f"torch.{v.dtype.long_name}" if isinstance(v, Tensor) else ""
            lines.append(_line(str(k), v, kind))
        return "\n".join(lines)


class ParameterDict(Module):
    """A dict whose parameters belong to its owner."""

    def __init__(self, parameters: Any = None) -> None:
        super().__init__()
        self._keys: dict[str, None] = {}
        if parameters is not None:
            self.update(parameters)

    def __getitem__(self, key: str) -> Any:
        return getattr(self, key)

    def __setitem__(self, key: str, value: Any) -> None:
        self._keys[key] = None
        setattr(self, key, _held(value))

    def __delitem__(self, key: str) -> None:
        del self._keys[key]
        delattr(self, key)

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __reversed__(self) -> Iterator[str]:
        return reversed(list(self._keys))

    def __or__(self, other: Mapping[str, Any]) -> ParameterDict:
        return self.copy()._with(other)

    def __ror__(self, other: Mapping[str, Any]) -> ParameterDict:
        return ParameterDict(other)._with(self)

    def __ior__(self, other: Mapping[str, Any]) -> Self:
        return self._with(other)

    def _with(self, other: Any) -> Self:
        self.update(other)
        return self

    def copy(self) -> ParameterDict:
        """Another dict of the same parameters."""
        return ParameterDict(dict(self.items()))

    def setdefault(self, key: str, default: Any = None) -> Any:
        """What stands at `key`, which is `default` from now on if nothing did."""
        if key not in self:
            self[key] = default
        return self[key]

    def clear(self) -> None:
        for key in list(self):
            del self[key]

    def pop(self, key: str) -> Any:
        """Take out what stands at `key`."""
        value = self[key]
        del self[key]
        return value

    def popitem(self) -> tuple[str, Any]:
        """Take out what was entered last."""
        if not self._keys:
            raise KeyError("popitem(): the dict is empty")
        key = next(reversed(self))
        return key, self.pop(key)

    def get(self, key: str, default: Any = None) -> Any:
        return dict(self.items()).get(key, default)

    def fromkeys(self, keys: Iterable[str], default: Any = None) -> ParameterDict:
        """A dict with `default` at every one of `keys`."""
        return ParameterDict(dict.fromkeys(keys, default))

    def update(self, parameters: Any) -> None:
        """Enter all items of a mapping, or pairs."""
        items = parameters.items() if hasattr(parameters, "items") else parameters
        for key, value in items:
            self[key] = value

    def keys(self) -> Iterable[str]:
        return self._keys.keys()

    def values(self) -> Iterable[Any]:
        return [self[key] for key in self._keys]

    def items(self) -> Iterable[tuple[str, Any]]:
        return [(key, self[key]) for key in self._keys]

    def extra_repr(self) -> str:
        lines = []
        for key, v in self.items():
            kind = f"torch.{v.dtype.legacy_name}" if isinstance(v, Tensor) else ""
            lines.append(_line(key, v, kind))
        return "\n".join(lines)
