"""Source to Image, inside a worker: Triton compiles text that lies in a module file of its own.

Triton reads a function's source from its file, so the text is written to one and imported.
"""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

from graphc.codegen_gpu import abi
from graphc.codegen_gpu.hazards import overwrites
from graphc.ir.cuda_abi import Image, Source


def compile_source(source: Source, arch: str, folder: Path) -> Image:
    """Raises whatever Triton and ptxas raise."""
    kernel = abi.compiled(function(source, folder), source, arch)
    if overwrites(kernel.asm["ptx"]):  # each product then ends within its trip
        kernel = abi.compiled(function(source, folder), replace(source, num_stages=1), arch)
        if overwrites(kernel.asm["ptx"]):
            raise RuntimeError("registers are written that a product still reads")
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
