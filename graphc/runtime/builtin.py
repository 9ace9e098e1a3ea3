"""Native functions as builtins of Python's, called without ctypes."""

from __future__ import annotations

import ctypes
import struct
from typing import Any

FASTCALL = 0x80  # METH_FASTCALL: arguments as an array and its length
OF_BYTES = bytes.__basicsize__ - 1  # where in a bytes object its bytes begin
METHOD = struct.Struct("PPiP")  # PyMethodDef: name, function, flags, doc


def builtin(name: bytes, function: int, own: bytes, *keep: object) -> Any:
    """A builtin of the function at this address, which is handed `own` and its arguments; what is
    to live as long stands where its module would.

    Its definition is in a bytes object: a builtin reads it to the last, and the collector empties
    an object of ctypes that is garbage with it before that.
    """
    method = METHOD.pack(id(name) + OF_BYTES, function, FASTCALL, 0)
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.restype = ctypes.py_object
    make.argtypes = ctypes.c_void_p, ctypes.py_object, ctypes.py_object
    return make(id(method) + OF_BYTES, own, (method, name, *keep))
