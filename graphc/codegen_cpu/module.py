"""LLVM modules from kernels: one function per kernel, named after what it computes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from graphc.codegen_cpu import attention, bounds, winograd
from graphc.codegen_cpu.contract import contraction
from graphc.codegen_cpu.emitter import Emitter
from graphc.codegen_cpu.map import loops
from graphc.codegen_cpu.target import Target
from graphc.errors import InternalError
from graphc.ir.kernel import Kernel


def symbol(kernel: Kernel, checked: bool = False) -> str:
    """The function's name: the same for equal kernels in every process."""
    return ("c_" if checked else "k_") + hashlib.blake2b(
        kernel.key().encode(), digest_size=16
    ).hexdigest()


def emit_module(kernels: Sequence[Kernel], target: Target, checked: bool = False) -> str:
    """One module with a function for each distinct kernel; `checked` accesses ask for bounds."""
    functions: dict[str, str] = {}
    declarations: set[str] = set()
    for kernel in kernels:
        name = symbol(kernel, checked)
        if name in functions:
            continue
        e = _emit(kernel, target)
        e = bounds.checked(e, kernel) if checked else e
        functions[name] = e.function(name)
        declarations |= e.declarations
    return _module(target, [*functions.values()], declarations)


def _emit(kernel: Kernel, target: Target, shared: bool = False) -> Emitter:
    """By the first template that takes the kernel; the last takes every one."""
    if winograd.supports(kernel, target):
        return winograd.emit(kernel, target)
    if kernel.kind == "attention":
        return attention.emit(kernel, target)
    fits = contraction.supports(kernel, target)
    if kernel.partials and not fits:
        raise InternalError(f"{kernel.name} has partial results, but no tiles to find them")
    return contraction.emit(kernel, target, shared) if fits else loops.emit(kernel, target)


def emit_kernel(kernel: Kernel, target: Target, checked: bool = False) -> str:
    """A module of one kernel."""
    return emit_module([kernel], target, checked)


class Module(NamedTuple):
    """The text of a kernel's code, the name of its function, and the numbers that this takes behind
    the other arguments."""

    text: str
    symbol: str
    numbers: tuple[int, ...] = ()


def emit_shared(kernel: Kernel, target: Target, checked: bool = False) -> Module:
    """A module that may be that of other kernels, too, whose numbers are others."""
    if checked:
        return Module(emit_kernel(kernel, target, checked), symbol(kernel, checked))
    e = _emit(kernel, target, shared=True)
    name = symbol(kernel)
    if e.numbers:
        name = "s_" + hashlib.blake2b(e.function("").encode(), digest_size=16).hexdigest()
    return Module(_module(target, [e.function(name)], e.declarations), name, e.numbers)


def _module(target: Target, functions: Sequence[str], declarations: set[str]) -> str:
    head = f'target triple = "{target.triple}"'
    return "\n\n".join([head, *functions, "\n".join(sorted(declarations)), ""])
