"""routine: an op whose NumPy meaning is its implementation becomes a kernel of one `Call`.

Its operands are whole row-major buffers; `foresee` stores any other as one. The kernel has no code,
and its sizes are arguments, so that another batch is the same kernel. It may fail: its check site
says which line of the user's that is.
"""

from __future__ import annotations

from graphc.errors import InternalError
from graphc.ir.graph import Value
from graphc.ir.kernel import Buffer, Call, Kernel, Operand, ScalarArg
from graphc.ir.program import CheckSite
from graphc.ir.types import Shape, i64
from graphc.passes.foresee import is_row_major
from graphc.passes.group import Fusion, is_free, moved
from graphc.passes.nest import Lowered
from graphc.passes.orders import Orders


def lower_routine(v: Value, fusion: Fusion, orders: Orders, checks: list[CheckSite]) -> Lowered:
    """The kernel of one routine."""
    assert v.op is not None
    bases = [*(_buffer(v, a, fusion, orders) for a in v.args), v]
    buffers = list(dict.fromkeys(bases))
    names = {b: f"b{k}" for k, b in enumerate(buffers)}
    shapes: list[Shape] = [a.shape for a in (*v.args, v)]
    operands, count = [], 0
    for base, shape in zip(bases, shapes, strict=True):
        operands.append(Operand(names[base], tuple(f"n{count + k}" for k in range(len(shape)))))
        count += len(shape)
    site = CheckSite(v.op.name, (v.where.file, v.where.line, v.where.scope))
    if site not in checks:
        checks.append(site)
    attrs = tuple(sorted(v.attrs.items()))
    args, out = tuple(operands[:-1]), operands[-1]
    call = Call(v.op.name, args, attrs, "c0", out, v.op.runs, str(v.where))
    kernel = Kernel(
        v.op.name,
        "routine",
        tuple(Buffer(names[b], b.spec.dtype, "w" if b is v else "r") for b in buffers),
        tuple(f"n{k}" for k in range(count)),
        (ScalarArg("c0", i64),),
        (),
        (),
        call=call,
    )
    sizes = tuple(n for shape in shapes for n in shape)
    return Lowered(kernel, tuple(buffers), sizes, (checks.index(site),), (v,))


def _buffer(reader: Value, v: Value, fusion: Fusion, orders: Orders) -> Value:
    """The stored value that `v` is a whole row-major view of."""
    top, chain = v, []
    while not (v.is_input or v in fusion.materialised):
        if v.op is None or not is_free(v) or v.op.kind != "movement":
            break
        chain.append(v)
        v = v.args[0]
    else:
        if is_row_major(moved(fusion.home(v, orders), reversed(chain))):
            return v
    raise InternalError(f"{reader.name} reads {top.name}, which is no whole buffer")
