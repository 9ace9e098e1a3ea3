"""Convolutions by Winograd's algorithm: fewer products, between transforms of tiles."""

from __future__ import annotations

from graphc.codegen_cpu.contract.frame import Frame
from graphc.codegen_cpu.emitter import Emitter
from graphc.codegen_cpu.target import Target
from graphc.codegen_cpu.winograd.gradient import Gradient
from graphc.codegen_cpu.winograd.gradient import plan as of_gradient
from graphc.codegen_cpu.winograd.nest import Nest
from graphc.codegen_cpu.winograd.plan import plan as planned
from graphc.ir.kernel import Kernel


def supports(kernel: Kernel, target: Target) -> bool:
    """Whether `emit` takes this kernel."""
    return planned(kernel, target) is not None or of_gradient(kernel, target) is not None


def emit(kernel: Kernel, target: Target) -> Emitter:
    """The body of the kernel's function."""
    e = Emitter()
    if (chosen := planned(kernel, target)) is not None:
        Nest(Frame(e, kernel), chosen).emit()
    elif (gradient := of_gradient(kernel, target)) is not None:
        Gradient(Frame(e, kernel), gradient).emit()
    e.do("ret void")
    return e
