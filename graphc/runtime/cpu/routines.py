"""Routines: launches that Python runs on the program's memory, by their op's meaning."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import partial

import numpy as np

from graphc.ir.kernel import Operand
from graphc.ir.program import CheckSite, Launch, Program
from graphc.ir.types import Array, DType, TensorSpec
from graphc.runtime.cpu.binding import Binding
from graphc.runtime.routines import check_sizes, run, shape_of

Routine = Callable[[], None]


def routines_of(program: Program, binding: Binding) -> dict[int, Routine]:
    """The routines of a program by the number of their launch."""
    check_sizes(program)
    return {
        i: partial(_run, launch, binding, binding.blocks[i], program.checks)
        for i, launch in enumerate(program.launches)
        if launch.kernel.call is not None
    }


def _run(launch: Launch, binding: Binding, block: int, checks: tuple[CheckSite, ...]) -> None:
    """Read operands where the argument block says they are; write the result there."""
    places = {b.name: (k, b.dtype) for k, b in enumerate(launch.kernel.buffers, block + 1)}

    def array(o: Operand) -> Array:
        cell, dtype = places[o.buffer]
        return _array_at(int(binding.cells[cell]), shape_of(launch, o), dtype)

    run(launch, array, checks)


def _array_at(address: int, shape: tuple[int, ...], dtype: DType) -> Array:
    """The row-major array at an address."""
    size = TensorSpec(dtype, shape).size_bytes
    if not size:
        return np.empty(shape, dtype.numpy)
    memory = (ctypes.c_uint8 * size).from_address(address)
    return np.ctypeslib.as_array(memory).view(dtype.numpy).reshape(shape)
