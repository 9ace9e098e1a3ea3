"""What a compiled image is made of, read from its code by the programs that Triton ships.

Registers, spills and instructions say whether a kernel is what was meant, without a GPU; the
parameters of its PTX entry, whether the runtime packs what the code expects.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from graphc.codegen_gpu import abi
from graphc.errors import BackendError
from graphc.ir.cuda_abi import Image

USAGE = re.compile(r"REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)")
INSTRUCTION = re.compile(
    r"^\s*/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)", re.MULTILINE
)
PARAMETER = re.compile(r"\.param\s+(?:\.align\s+\d+\s+)?\.(\w+)")


SPILLS = ("LDL", "STL")  # loads and stores of local memory
TENSOR_CORES = ("wgmma.mma_async", "mma.sync")  # in PTX: of a group of warps, of one warp


@dataclass(frozen=True, slots=True)
class Resources:
    """What one thread, and one program, of a kernel occupies."""

    registers: int
    stack_bytes: int
    local_bytes: int
    shared_bytes: int  # of a program, as asked for at launch


def resources(image: Image) -> Resources:
    found = USAGE.search(run_tool("cuobjdump", ["-res-usage"], image))
    if found is None:
        raise BackendError(f"cuobjdump tells no resources of kernel {image.entry}")
    registers, stack, _, local = map(int, found.groups())
    return Resources(registers, stack, local, image.shared_bytes)


def sass(image: Image) -> str:
    """The machine code as text; a third of a second."""
    return run_tool("nvdisasm", ["-c"], image)


def spills(image: Image) -> bool:
    """Whether registers go to memory. A stack alone does not say so: it may lie unused."""
    found = resources(image)
    if not found.stack_bytes and not found.local_bytes:
        return False
    return any(name.startswith(SPILLS) for name in instructions(sass(image)))


def tensor_core_instruction(image: Image) -> str:
    """How its products are computed by tensor cores; empty where none are."""
    return next((name for name in TENSOR_CORES if name in image.ptx), "")


def instructions(text: str) -> Counter[str]:
    """How often each instruction, with its modifiers, stands in machine code: `LDG.E.128`."""
    return Counter(match[1] for match in INSTRUCTION.finditer(text))


def entry_parameters(image: Image) -> tuple[str, ...]:
    """Types of the PTX entry's parameters in order, to be what `abi.parameter_types` says."""
    begin = image.ptx.find(f".visible .entry {image.entry}(")
    end = image.ptx.find("\n)", begin)
    if begin < 0 or end < 0:
        raise BackendError(f"the PTX of kernel {image.entry} has no entry of this name")
    return tuple(PARAMETER.findall(image.ptx[begin:end]))


def run_tool(name: str, options: Sequence[str], image: Image) -> str:
    with tempfile.TemporaryDirectory(prefix="graphc") as folder:
        file = Path(folder) / "kernel.cubin"
        file.write_bytes(image.cubin)
        command = [str(abi.toolchain().tool(name)), *options, str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BackendError(f"{name} fails on kernel {image.entry}: {done.stderr.strip()[-200:]}")
    return done.stdout
