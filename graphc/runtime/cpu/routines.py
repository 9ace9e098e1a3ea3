"""Routines: launches that Python runs on the program's memory, by their op's meaning."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import partial
from math import prod

import numpy as np

from graphc.errors import GraphcError, InternalError
from graphc.ir.interpret import evaluate
from graphc.ir.kernel import Operand
from graphc.ir.ops import OPS
from graphc.ir.program import CheckSite, Launch, Program
from graphc.ir.types import Array, DType, TensorSpec
from graphc.runtime.cpu.binding import Binding

Routine = Callable[[], None]


def routines_of(program: Program, binding: Binding) -> dict[int, Routine]:
    """The routines of a program by the number of their launch."""
    _check_sizes(program)
    return {
        i: partial(_run, launch, binding, binding.blocks[i], program.checks)
        for i, launch in enumerate(program.launches)
        if launch.kernel.call is not None
    }


def _check_sizes(program: Program) -> None:
    """Raise InternalError if a routine would read or write more than its buffers hold."""
    slots = {s.name: s for s in program.slots}
    for launch in program.launches:
        if (call := launch.kernel.call) is None:
            continue
        sizes = dict(zip(launch.kernel.sizes, launch.sizes, strict=True))
        held = {b.name: slots[s] for b, s in zip(launch.kernel.buffers, launch.slots, strict=True)}
        for o in (*call.args, call.out):
            count = prod(n if isinstance(n, int) else sizes[n] for n in o.shape)
            if count * held[o.buffer].spec.dtype.itemsize > held[o.buffer].size_bytes:
                raise InternalError(f"{launch.kernel.name}: {o} of {held[o.buffer].spec}")


def _run(launch: Launch, binding: Binding, block: int, checks: tuple[CheckSite, ...]) -> None:
    """Read operands where the argument block says they are; write the result there."""
    call = launch.kernel.call
    assert call is not None, "only kernels with a call have no code"
    sizes = dict(zip(launch.kernel.sizes, launch.sizes, strict=True))
    places = {b.name: (k, b.dtype) for k, b in enumerate(launch.kernel.buffers, block + 1)}

    def array(o: Operand) -> Array:
        cell, dtype = places[o.buffer]
        shape = tuple(n if isinstance(n, int) else sizes[n] for n in o.shape)
        return _array_at(int(binding.cells[cell]), shape, dtype)

    out = array(call.out)
    result = TensorSpec(places[call.out.buffer][1], out.shape)
    try:
        out[...] = evaluate(OPS[call.op], [array(a) for a in call.args], dict(call.attrs), result)
    except GraphcError as e:
        (site,) = launch.scalars
        e.where = checks[int(site)].where
        raise


def _array_at(address: int, shape: tuple[int, ...], dtype: DType) -> Array:
    """The row-major array at an address."""
    size = TensorSpec(dtype, shape).size_bytes
    if not size:
        return np.empty(shape, dtype.numpy)
    memory = (ctypes.c_uint8 * size).from_address(address)
    return np.ctypeslib.as_array(memory).view(dtype.numpy).reshape(shape)
