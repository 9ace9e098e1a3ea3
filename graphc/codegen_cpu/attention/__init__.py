"""Attention: two products with softmax between them, by blocks that stay in the caches."""

from __future__ import annotations

from graphc.codegen_cpu.attention.forward import Forward
from graphc.codegen_cpu.attention.gradient import Gradient
from graphc.codegen_cpu.attention.plan import plan as planned
from graphc.codegen_cpu.emitter import Emitter
from graphc.codegen_cpu.frame import Frame
from graphc.codegen_cpu.target import Target
from graphc.errors import InternalError
from graphc.ir.kernel import Kernel


def emit(kernel: Kernel, target: Target) -> Emitter:
    """The body of the kernel's function."""
    e = Emitter()
    chosen = planned(kernel, target)
    if chosen is None:
        raise InternalError(f"{kernel.name}: attention over heads that no pass lets through")
    frame = Frame(e, kernel)
    template = Gradient if chosen.parts.is_gradient else Forward
    template(frame, chosen, kernel.axes).emit()
    e.leave()
    return e
