"""Builtins of our own: what the interpreter reads of one lasts as long as it does."""

from __future__ import annotations

import ctypes
import gc
from typing import Any

from graphc.runtime.builtin import OF_BYTES, builtin


def test_the_collector_cannot_empty_a_builtins_definition() -> None:
    def made_of(name: bytes) -> Any:
        address = ctypes.cast(ctypes.pythonapi.PyObject_Repr, ctypes.c_void_p).value or 0
        return builtin(name, address, b"own", keep)

    keep: list[int] = []
    made = made_of(b"half" + b"way")
    (parts,) = [x for x in gc.get_referents(made) if isinstance(x, tuple)]
    (word,) = [x for x in parts if x == b"halfway"]
    (definition,) = [x for x in parts if type(x) is bytes and x is not word]
    assert definition.startswith((id(word) + OF_BYTES).to_bytes(8, "little"))
    assert parts[-1] is keep
    assert not gc.is_tracked(word) and not gc.is_tracked(definition)
    assert made.__name__ == "halfway"
