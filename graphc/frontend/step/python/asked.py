"""What a step asks of a container without a look at its items: how many there are, whether there
are any, whether a key is among them; and whether an object has an attribute. The answer is compared
at each call, not the items."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from functools import partial
from types import FrameType, ModuleType
from typing import Any

from graphc.frontend.step.names import key_text
from graphc.frontend.step.python import deep, lazy
from graphc.frontend.step.python.found import own, raw
from graphc.frontend.step.python.held import FIXED, Place, advances, cached, mapping_of
from graphc.frontend.step.python.held import has as has_key
from graphc.frontend.step.python.reads import Reads
from graphc.frontend.step.python.stack import top
from graphc.frontend.table import Table
from graphc.frontend.tensor import Tensor

KEYED = (dict, OrderedDict, defaultdict, Counter, set, frozenset)  # which hash what they look for
PLAIN = (*KEYED, list, deque)  # without code of a user's


def of_truth(watch: Any, frame: FrameType, _: Any) -> None:
    """The value on top decides."""
    lazy.check_untouched(watch.reads, top(frame))
    truth(watch.reads, frame, top(frame))


def of_length(watch: Any, frame: FrameType, _: Any) -> None:
    lazy.check_untouched(watch.reads, top(frame))
    length(watch.reads, frame, top(frame))


def of_key(watch: Any, frame: FrameType, _: Any) -> None:
    """Whether what is below is in the value on top."""
    key, c = top(frame, 2), top(frame)
    lazy.check_untouched(watch.reads, c)
    deep.shown(watch.reads, frame, key)
    if advances(c):
        watch.reads.iterator(frame, c)
    has(watch.reads, frame, c, key)


def of_keys(watch: Any, frame: FrameType, _: Any) -> None:
    """A `match` asks a mapping for keys."""
    watch.reads.whole(frame, top(frame, 2))


def of_class(watch: Any, frame: FrameType, _: Any) -> None:
    """A `match` asks for a class and attributes."""
    x, kind, names = top(frame, 3), top(frame, 2), top(frame)
    for name in (*names, *getattr(kind, "__match_args__", ())):
        watch.reads.attribute(frame, x, name)


def length(reads: Reads, frame: FrameType, c: Any) -> None:
    """`len(c)`."""
    _answer(reads, frame, c, "length", None, len)


def truth(reads: Reads, frame: FrameType, c: Any) -> None:
    """`if c:`."""
    _answer(reads, frame, c, "truth", None, bool)


def has(reads: Reads, frame: FrameType, c: Any, key: Any) -> None:
    """`key in c`."""
    plain = isinstance(key, FIXED) or (isinstance(key, Tensor) and not key.is_traced)
    if plain and _is_one_of(mapping_of(c), KEYED):
        _answer(reads, frame, c, "has", key, partial(has_key, key))
    else:
        deep.shown(reads, frame, c)


def _is_one_of(c: Any, kinds: tuple[type, ...]) -> bool:
    return type(c) in kinds or isinstance(c, Table)


def _answer(
    reads: Reads, frame: FrameType, c: Any, what: str, key: Any, get: Callable[[Any], Any]
) -> None:
    c = mapping_of(c)
    plain = _is_one_of(c, PLAIN)
    if not plain or reads.has_changed(c):
        reads.whole(frame, c, deep=not plain)
        return
    place = what, id(c), key
    if place not in reads.notes and ("whole", id(c), None) not in reads.notes:
        label = f"{what} of `{reads.name(c)}`"
        label = label if key is None else f"`{key_text(key)} in {reads.name(c)}`"
        reads.note(place, frame, label, c, [(get, c, get(c))])


def fact(reads: Reads, frame: FrameType, what: str, x: Any, get: Callable[[Any], Any]) -> None:
    """`get(x)`, which the interpreter or a library knows of x."""
    place = (what, id(x), None)
    if place not in reads.notes:
        reads.note(place, frame, f"{what} `{reads.name(x)}`", x, [(get, x, get(x))])


def referent(reads: Reads, frame: FrameType, ref: Any) -> None:
    """What a weak reference leads to, which no guard keeps alive."""
    if (x := ref()) is not None:
        reads.weak[id(x)] = ref
    fact(reads, frame, "referent of", ref, _is_dead)


def _is_dead(ref: Any) -> bool:
    return ref() is None


def of_cache(reads: Reads, frame: FrameType, fn: Any, key: Any) -> None:
    """A functools.lru_cache: what it holds under a key, MISSING for any."""
    place = ("cached", id(fn), key)
    if place not in reads.notes:
        reads.note(place, frame, f"cache of `{reads.name(fn)}`", fn, cached(fn, key))


def has_own(reads: Reads, frame: FrameType, x: Any, name: Any) -> bool:
    """Whether an object itself has an attribute, whatever that is: noted, if so."""
    if isinstance(x, type | Tensor | ModuleType) or type(x) in FIXED or name not in own(x):
        return False
    if hasattr(raw(type(x).__mro__, name), "__get__"):
        return False
    place: Place = ("has", id(x), name)
    if place not in reads.notes and ("attr", id(x), name) not in reads.written:
        row = own(x).__contains__, name, True
        reads.note(place, frame, f"`{reads.name(x)}` has `{name}`", x, [row])
    return True
