"""Routines: launches that the host runs by their op's meaning, on memory of any device."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from graphc.errors import GraphcError, InternalError
from graphc.ir.interpret import evaluate
from graphc.ir.kernel import Call, Operand
from graphc.ir.ops import OPS
from graphc.ir.program import CheckSite, Launch, Program
from graphc.ir.types import Array, Shape, TensorSpec


def call_of(launch: Launch) -> Call:
    """What a routine's launch calls."""
    assert launch.kernel.call is not None, "only kernels with a call have no code"
    return launch.kernel.call


def shape_of(launch: Launch, o: Operand) -> Shape:
    """An operand's shape for this launch's sizes."""
    sizes = dict(zip(launch.kernel.sizes, launch.sizes, strict=True))
    return tuple(n if isinstance(n, int) else sizes[n] for n in o.shape)


def check_sizes(program: Program) -> None:
    """Raise InternalError if a routine would read or write more than its buffers hold."""
    slots = {s.name: s for s in program.slots}
    for launch in program.launches:
        if (call := launch.kernel.call) is None:
            continue
        held = {b.name: slots[s] for b, s in zip(launch.kernel.buffers, launch.slots, strict=True)}
        for o in (*call.args, call.out):
            count = prod(shape_of(launch, o))
            if count * held[o.buffer].spec.dtype.itemsize > held[o.buffer].size_bytes:
                raise InternalError(f"{launch.kernel.name}: {o} of {held[o.buffer].spec}")


def run(launch: Launch, array: Callable[[Operand], Array], checks: tuple[CheckSite, ...]) -> None:
    """Evaluate the op on the `array`s of its operands, and write the result into that of `out`."""
    call = call_of(launch)
    out = array(call.out)
    dtypes = {b.name: b.dtype for b in launch.kernel.buffers}
    result = TensorSpec(dtypes[call.out.buffer], out.shape)
    try:
        out[...] = evaluate(OPS[call.op], [array(a) for a in call.args], dict(call.attrs), result)
    except GraphcError as e:
        (site,) = launch.scalars
        e.where = checks[int(site)].where
        raise
