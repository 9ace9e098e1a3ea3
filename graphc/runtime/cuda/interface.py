"""interface: memory that another library describes by `__cuda_array_interface__`, as an array.

Source: https://numba.readthedocs.io/en/stable/cuda/cuda_array_interface.html, versions 2 and 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from graphc.errors import InvalidType
from graphc.ir.types import FROM_NUMPY
from graphc.runtime.cuda.array import DeviceArray


def address_of(told: Mapping[str, Any]) -> int:
    """Where it says its elements are; 0 of none."""
    return int(told["data"][0] or 0)


def array_of(told: Mapping[str, Any], owner: object, index: int) -> DeviceArray:
    """The elements on the device `index`, which `owner` keeps. Raises InvalidType."""
    shape = tuple(int(n) for n in told["shape"])
    dtype = np.dtype(told["typestr"])
    if dtype not in FROM_NUMPY or dtype.byteorder == ">":
        raise InvalidType(f"__cuda_array_interface__: no dtype for elements of {told['typestr']}")
    if told["data"][1]:
        raise InvalidType(
            "the read only flag is not supported, should always be False",
            why="a tensor may be written in place",
            fix="copy it first",
        )
    if told.get("mask") is not None:
        raise InvalidType("__cuda_array_interface__: a mask is not supported", fix="fill it first")
    strides = told.get("strides")
    steps = None if strides is None else tuple(int(s) for s in strides)
    if steps is not None and any(s < 0 or s % dtype.itemsize for s in steps):
        raise InvalidType(
            f"__cuda_array_interface__: strides of {steps} bytes are not supported",
            why="they are negative, or no multiples of an element",
            fix="copy it first",
        )
    if address_of(told) % dtype.itemsize and prod(shape):
        raise InvalidType("__cuda_array_interface__: elements are not aligned", fix="copy it first")
    return DeviceArray(address_of(told), dtype, shape, owner, index, steps)
