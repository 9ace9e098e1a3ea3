"""Containers: modules in a sequence or under names."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

from graphc.errors import InvalidArgument, InvalidIndex, InvalidType
from graphc.frontend.tensor import Tensor
from graphc.nn.module import Module

__all__ = ["ModuleDict", "ModuleList", "Sequential"]


def position(index: int, length: int) -> int:
    """`index` counted from the front; IndexError outside the container."""
    if not -length <= index < length:
        raise InvalidIndex(f"index {index} is out of range", why=f"the container holds {length}")
    return index % length


class _ModuleSequence(Module):
    """Submodules named "0", "1", ... in order."""

    def _items(self) -> list[Any]:
        """Modules, and None where that was put in."""
        return list(self._modules.values())

    def _refill(self, modules: Iterable[Module | None]) -> None:
        for name in list(self._modules):
            delattr(self, name)
        self.extend(modules)

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return self._sliced(index)
        return self._items()[position(index, len(self))]

    def _sliced(self, index: slice) -> Any:
        raise NotImplementedError

    def _key(self, index: int) -> str:
        return list(self._modules)[position(index, len(self))]

    def __setitem__(self, index: int, module: Module | None) -> None:
        setattr(self, self._key(index), module)

    def __delitem__(self, index: int | slice) -> None:
        items = self._items()
        del items[index]
        self._refill(items)

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items())

    def append(self, module: Module | None) -> Self:
        self.add_module(str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Module | None]) -> Self:
        for m in modules:
            self.append(m)
        return self

    def insert(self, index: int, module: Module | None) -> Any:
        items = self._items()
        items.insert(index, module)
        self._refill(items)

    def pop(self, index: int = -1) -> Module:
        module: Module = self[index]
        del self[index]
        return module


class Sequential(_ModuleSequence):
    """Calls its modules one after the other; takes them as arguments or as one dict.

    Shapes are those of the first module's input and the last one's output. Raises InvalidType for
    what is no Module.
    """

    def __init__(self, *args: Module | Mapping[str, Module]) -> None:
        super().__init__()
        if len(args) == 1 and isinstance(args[0], Mapping):
            for name, module in args[0].items():
                self.add_module(name, module)
            return
        for index, m in enumerate(args):
            self.register_module(str(index), m)  # type: ignore[arg-type]  # checked there

    def _sliced(self, index: slice) -> Any:
        """Modules keep their names."""
        make: Any = type(self)
        return make(OrderedDict(list(self._modules.items())[index]))

    def insert(self, index: int, module: Module | None) -> Self:
        if not -len(self) <= index <= len(self):
            raise InvalidIndex(f"Index out of range: {index}")
        super().insert(index, module)
        return self

    def __add__(self, other: Sequential) -> Sequential:
        return Sequential(*self, *_sequential(other))

    def __iadd__(self, other: Sequential) -> Self:
        return self.extend(_sequential(other))

    def __mul__(self, count: int) -> Sequential:
        """Its modules `count` times, the same ones."""
        if not isinstance(count, int) or count <= 0:
            kind = InvalidArgument if isinstance(count, int) else InvalidType
            raise kind(f"a Sequential is repeated a positive number of times, got {count!r}")
        return Sequential(*self._items() * count)

    __rmul__ = __mul__

    def __imul__(self, count: int) -> Self:
        return self.extend((self * count)[len(self) :])

    def forward(self, input: Any) -> Tensor:
        """What the last module makes of what the others made of `input`; a Tensor to type checkers,
        though a last module may give something else."""
        for module in self._items():
            input = module(input)
        return input  # type: ignore[no-any-return]  # as said


def _sequential(x: object) -> Sequential:
    if not isinstance(x, Sequential):
        raise InvalidArgument(f"only a Sequential is added to a Sequential, got {type(x)}")
    return x


class ModuleList(_ModuleSequence):
    """A list whose modules belong to its owner.

    Raises InvalidType for what is no Module, InvalidIndex for an index outside.
    """

    def __init__(self, modules: Iterable[Module | None] | None = None) -> None:
        super().__init__()
        if modules is not None:
            self.extend(modules)

    def _sliced(self, index: slice) -> Any:
        make: Any = type(self)
        return make(self._items()[index])

    def __add__(self, other: Iterable[Module]) -> ModuleList:
        return ModuleList([*self, *other])

    def __iadd__(self, other: Iterable[Module]) -> Self:
        return self.extend(other)

    def __repr__(self) -> str:
        """Equal neighbours are shown once, with their count."""
        rows: list[tuple[int, int, str]] = []
        for k, text in enumerate(repr(m) for m in self):
            if rows and rows[-1][2] == text:
                rows[-1] = (rows[-1][0], k, text)
            else:
                rows.append((k, k, text))
        if not rows:
            return f"{self._get_name()}()"
        lines = [
            f"({a}): {text}" if a == b else f"({a}-{b}): {b - a + 1} x {text}"
            for a, b, text in rows
        ]
        inside = "\n".join(lines).replace("\n", "\n  ")
        return f"{self._get_name()}(\n  {inside}\n)"


class ModuleDict(Module):
    """A dict whose modules belong to its owner.

    Raises InvalidType for what is no Module, KeyError for a name that is not there.
    """

    def __init__(
        self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] | None = None
    ) -> None:
        super().__init__()
        if modules is not None:  # a subclass's `update` may need more than is there yet
            self.update(modules)

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        pairs = modules.items() if isinstance(modules, Mapping | ModuleDict) else modules
        for name, module in pairs:
            self[name] = module

    def __getitem__(self, name: str) -> Any:
        return self._modules[name]

    def __setitem__(self, name: str, module: Module) -> None:
        self.add_module(name, module)

    def __delitem__(self, name: str) -> None:
        delattr(self, name)

    def __contains__(self, name: str) -> bool:
        return name in self._modules

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def keys(self) -> Iterable[str]:
        return self._modules.keys()

    def values(self) -> Iterable[Any]:
        return self._modules.values()

    def items(self) -> Iterable[tuple[str, Any]]:
        return self._modules.items()

    def pop(self, name: str) -> Any:
        module = self[name]
        del self[name]
        return module

    def clear(self) -> None:
        for name in list(self):
            del self[name]
