"""Native functions as builtins of Python's, called without ctypes."""

from __future__ import annotations

import ctypes
from typing import Any

FASTCALL = 0x80  # METH_FASTCALL: arguments as an array and its length
OF_BYTES = bytes.__basicsize__ - 1  # where in a bytes object its bytes begin


class Method(ctypes.Structure):
    """PyMethodDef."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


def builtin(name: bytes, function: int, own: bytes, *keep: object) -> Any:
    """A builtin of the function at this address, which is handed `own` and its arguments; what is
    to live as long stands where its module would."""
    method = Method(name, function, FASTCALL, None)
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.restype = ctypes.py_object
    make.argtypes = ctypes.c_void_p, ctypes.py_object, ctypes.py_object
    return make(ctypes.addressof(method), own, (method, *keep))
