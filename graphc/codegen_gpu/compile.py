"""Source to Image, inside a worker: Triton compiles text that lies in a module file of its own.

Triton reads a function's source from its file, so the text is written to one and imported.
"""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

from graphc.codegen_gpu import abi, facts
from graphc.codegen_gpu.hazards import overwrites
from graphc.codegen_gpu.target import WARP
from graphc.ir.cuda_abi import Image, Source

REGISTERS, MOST_REGISTERS = 65536, 255  # of a multiprocessor, of a thread
STEP = 8  # registers are given out so many at once


def compile_source(source: Source, arch: str, folder: Path) -> Image:
    """Raises whatever Triton and ptxas raise."""
    asked = source
    made = _made(source, asked, arch, folder)
    if overwrites(made.ptx):  # each product then ends within its trip
        asked = replace(source, num_stages=1)
        made = _made(source, asked, arch, folder)
        if overwrites(made.ptx):
            raise RuntimeError("registers are written that a product still reads")
    if not facts.spills(made):
        return made
    used = facts.resources(made).registers
    for limit in limits(used, source.num_warps):
        other = _made(source, asked, arch, folder, limit)
        if not facts.spills(other):
            return other
    return made


def limits(used: int, warps: int) -> list[int]:
    """Registers of a thread to ask for where so many were too few: half as many more, then all.

    Without being told, ptxas keeps values in memory where that lets another program run beside.
    """
    most = min(MOST_REGISTERS, REGISTERS // (warps * WARP) // STEP * STEP)
    more = min(most, -(-3 * used // 2 // STEP) * STEP)
    return [n for n in dict.fromkeys((more, most)) if n > used]


def _made(source: Source, asked: Source, arch: str, folder: Path, registers: int = 0) -> Image:
    kernel = abi.compiled(function(source, folder), asked, arch, registers)
    fields = abi.image_fields(kernel.metadata._asdict())
    return Image(source, arch, cubin=kernel.asm["cubin"], ptx=kernel.asm["ptx"], **fields)


def function(source: Source, folder: Path) -> Any:
    """The `@triton.jit` function of the text."""
    file = folder / f"{source.name}.py"
    file.write_text(source.text)
    spec = importlib.util.spec_from_file_location(source.name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, source.name)
