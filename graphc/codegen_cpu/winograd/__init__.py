"""Convolutions by Winograd's algorithm: fewer products, between transforms of tiles."""

from __future__ import annotations

from graphc.codegen_cpu.emitter import Emitter
from graphc.codegen_cpu.frame import Frame
from graphc.codegen_cpu.statements import Statements
from graphc.codegen_cpu.target import Target
from graphc.codegen_cpu.winograd.gradient import Gradient
from graphc.codegen_cpu.winograd.gradient import plan as of_gradient
from graphc.codegen_cpu.winograd.nest import Nest
from graphc.codegen_cpu.winograd.plan import plan as planned
from graphc.ir.kernel import Kernel
from graphc.ir.kernel_uses import uses


def supports(kernel: Kernel, target: Target) -> bool:
    """Whether `emit` takes this kernel."""
    return planned(kernel, target) is not None or of_gradient(kernel, target) is not None


def emit(kernel: Kernel, target: Target) -> Emitter:
    """The body of the kernel's function."""
    e = Emitter()
    frame = Frame(e, kernel)
    statements = Statements(frame, kernel, uses(kernel))
    if (chosen := planned(kernel, target)) is not None:
        Nest(frame, chosen, statements).emit()
    elif (gradient := of_gradient(kernel, target)) is not None:
        Gradient(frame, gradient, statements).emit()
    e.leave()
    return e
