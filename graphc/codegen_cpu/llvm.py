"""LLVM text -> object code, through llvmlite's binding layer. Imports little, as the processes that
compile start with it.

Traps (llvmlite 0.50, LLVM 22): the collector finalises the objects of a ring in any order, and a
module without its context ends the process; a TargetMachine of the default code model takes movabs
for every constant.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from typing import NamedTuple

import llvmlite.binding as llvm

from graphc.errors import BackendError

VERSION = ".".join(map(str, llvm.llvm_version_info))

# The emitted text is already vectorised, unrolled, hoisted and free of most common expressions
# (`Emitter.once`): these clean up after it. The standard pipelines take several times as long, and
# value numbering alone a tenth of all that LLVM takes, for half a percent of the code.
PASSES = ("sroa", "simplify_cfg", "instruction_combine", "aggressive_dce")

# What is off. Loops step by one index that addresses scale, and literals are displacements: what
# loop strength reduction looks for at length is not there, and it is a quarter of what LLVM takes.
# Nor is there anything to sink or split before instructions are chosen: a twentieth.
SWITCHES = ("-disable-lsr", "-disable-cgp")

# Of LLVM's levels for machine code the second schedules once more behind register allocation, and
# looks longer in places: a tenth of what it takes, and no step is faster for it, as processors
# reorder by themselves.
LEVEL = 1


class Processor(NamedTuple):
    """What LLVM is told of a processor."""

    triple: str
    cpu: str
    features: str


@cache
def _initialize() -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()


def machine_of(processor: Processor) -> llvm.TargetMachine:
    """A fresh TargetMachine."""
    _initialize()
    return llvm.Target.from_triple(processor.triple).create_target_machine(
        cpu=processor.cpu, features=processor.features, opt=LEVEL, reloc="pic", codemodel="small"
    )


@lru_cache(maxsize=4)
def _shared_machine(processor: Processor) -> llvm.TargetMachine:
    """For compiling only: never handed to an engine, which would own it."""
    return machine_of(processor)


@contextmanager
def _switched() -> Iterator[None]:
    """LLVM's options are those of the process, which may compile other things, too."""
    for switch in SWITCHES:
        llvm.set_option("", switch)
    try:
        yield
    finally:
        for switch in SWITCHES:
            llvm.set_option("", f"{switch}=false")


@contextmanager
def _optimised(text: str, machine: llvm.TargetMachine) -> Iterator[llvm.ModuleRef]:
    """The module, with a context of its own: types and constants live as long as that does."""
    context = llvm.create_context()
    try:
        module = _parsed(text, context)
        manager = llvm.create_new_module_pass_manager()
        for name in PASSES:
            getattr(manager, f"add_{name}_pass")()
        builder = llvm.create_pass_builder(
            machine, llvm.create_pipeline_tuning_options(speed_level=1)
        )
        try:
            manager.run(module, builder)
            yield module
        finally:
            llvm.ffi.lib.LLVMPY_DisposeNewModulePassManger(manager)  # its own `close` frees nothing
            manager.detach()
            builder.close()
            module.close()
    finally:
        context.close()


def _parsed(text: str, context: llvm.ContextRef) -> llvm.ModuleRef:
    try:
        module = llvm.parse_assembly(text, context)
        module.verify()
    except RuntimeError as e:
        raise BackendError(f"LLVM refuses generated code: {e}") from None
    return module


def object_code(text: str, processor: Processor) -> bytes:
    """Object code of a module. Raises BackendError if LLVM refuses it."""
    machine = _shared_machine(processor)
    with _optimised(text, machine) as module, _switched():
        return bytes(machine.emit_object(module))


def assembly_text(text: str, processor: Processor) -> str:
    """What `object_code` makes, as text."""
    machine = _shared_machine(processor)
    with _optimised(text, machine) as module, _switched():
        return str(machine.emit_assembly(module))
