"""The form of nested containers: what they hold but for the tensors and numbers that each call
reads where it finds them. A list, tuple, dict, deque or dataclass that stands in a place is
compared by it (`trees.py`, `stand_ins.py`)."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Mapping
from typing import Any

from graphc.frontend.step.python.stack import MISSING
from graphc.frontend.step.python.standing import is_plain, like
from graphc.frontend.step.signature import is_record, record
from graphc.frontend.tensor import Tensor

KINDS = (list, deque, dict, OrderedDict, defaultdict)
ITEMS = 3  # the part of a form that has those of its items; before that are their keys
Path = tuple[Any, ...]
Get = Any


def parts(x: Any) -> Mapping[Any, Any] | None:
    """What a container holds, by key, index or the name of a field; None for all else."""
    if isinstance(x, tuple):
        return dict(enumerate(tuple.__iter__(x)))
    if type(x) not in KINDS:
        return record(x) if is_record(x) else None
    return x if isinstance(x, dict) else dict(enumerate(x))


def now(get: Get, subject: Any) -> Any:
    """What stands at a place; MISSING where the step has removed that."""
    try:
        return get(subject)
    except (AttributeError, LookupError, ValueError):
        return MISSING


def part(x: Any, key: Any) -> Any:
    """`parts(x)[key]`, MISSING where there is none."""
    if isinstance(x, dict):
        return dict.get(x, key, MISSING)
    if isinstance(x, tuple | list | deque):
        if not isinstance(key, int) or key >= len(x):
            return MISSING
        return tuple.__getitem__(x, key) if isinstance(x, tuple) else x[key]
    return getattr(x, key, MISSING) if is_record(x) and isinstance(key, str) else MISSING


def found_at(get: Get, subject: Any, path: Path) -> Any:
    """What stands at a path of the containers at a place."""
    return At(get, path)(subject)


class At:
    """Gets what stands at a path of nested containers, MISSING where it leads nowhere."""

    __slots__ = ("get", "path")

    def __init__(self, get: Get, path: Path) -> None:
        self.get, self.path = get, path

    def __call__(self, subject: Any) -> Any:
        x = self.get(subject)
        for key in self.path:
            x = part(x, key)
        return x


class LikeTree:
    """Whether a place holds a container like the one that was traced: the getter of its guard. At
    `loose` paths any tensor of the kind will do, at `numbers` any number of the type."""

    __slots__ = ("get", "kept", "loose", "numbers")

    def __init__(
        self, get: Get, x: Any, loose: frozenset[Path], numbers: frozenset[Path] = frozenset()
    ) -> None:
        self.get, self.loose, self.numbers = get, loose, numbers
        self.kept = self._form(x, ())

    def _form(self, x: Any, path: Path) -> Any:
        if path in self.numbers:
            return type(x)
        if isinstance(x, Tensor):
            return like(x) if path in self.loose and is_plain(x) else x
        if (inside := parts(x)) is None:
            return x
        items = tuple(self._form(item, (*path, key)) for key, item in inside.items())
        return type(x), getattr(x, "maxlen", None), (*inside,), items

    @staticmethod
    def keys_of(form: Any, path: Path) -> Path | None:
        """Where in the container is what is at a path of its form; None if that is no item."""
        keys: Path = ()
        for part_of, k in zip(path[::2], path[1::2]):
            if part_of != ITEMS:
                return None
            keys, form = (*keys, form[ITEMS - 1][k]), form[ITEMS][k]
        return keys if len(path) % 2 == 0 else None

    def __call__(self, subject: Any) -> Any:
        from graphc.frontend.step.python.guards import same

        now = self._form(self.get(subject), ())
        return self.kept if same(now, self.kept) else now
