"""What GPU code and the runtime agree on: a kernel's source, its image, and how it is launched.

`codegen_gpu` writes a `Source` for a Kernel and compiles it to an `Image`; `runtime/cuda` loads
images and packs their parameters. Neither imports the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Literal

from graphc.ir.kernel import Size

Bound = Literal["error", "buffer", "size", "scalar", "scratch", "counters"]
ParamType = Literal["pointer", "i32", "i64", "f32", "f64"]

ERROR_WORDS = 4  # i64 each: 1 if set, which check, the value and its bound


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter of a kernel's function: what it is bound to, and how it is passed.

    `index` counts the buffers, sizes or scalars of the Kernel's signature. A pointer has the
    element type's name (`f32`); its value is aligned to `align` bytes at every launch.
    "scratch" is memory for one launch, of any contents; "counters" is one i32 for each program of
    the grid, zero before the first launch, which every launch leaves as zeros.
    """

    name: str
    type: ParamType
    bound: Bound
    index: int = 0
    dtype: str = ""
    align: int = 1


@dataclass(frozen=True, slots=True)
class GridDim:
    """Programs along some axes: the product of `extents` over `block`, up. A kernel's are the
    product of those of all its dimensions, and lie in one."""

    extents: tuple[Size, ...]
    block: int = 1

    def count(self, sizes: dict[str, int]) -> int:
        points = prod(n if isinstance(n, int) else sizes[n] for n in self.extents)
        return -(-points // self.block)


@dataclass(frozen=True, slots=True)
class Source:
    """A kernel as Triton text: a module with one `@triton.jit` function `name`.

    `constants` are its compile-time parameters, which follow `params` in the function's signature.
    """

    name: str
    text: str
    params: tuple[Param, ...]
    constants: tuple[tuple[str, int], ...]
    grid: tuple[GridDim, ...]
    num_warps: int = 4
    num_stages: int = 2
    scratch_bytes: int = 0  # for each program of the grid; 0: no parameter is bound to any
    flushes: bool = False  # functions of the library may take denormals for zeros


@dataclass(frozen=True, slots=True)
class Image:
    """A source, compiled for one architecture ("sm_90a"); without a cubin it is for FakeDriver."""

    source: Source
    arch: str = ""
    cubin: bytes = field(default=b"", repr=False)
    entry: str = ""  # the function's symbol in the cubin
    shared_bytes: int = 0
    global_scratch: tuple[int, int] = (0, 1)  # bytes for each program, and their alignment
    profile_scratch: tuple[int, int] = (0, 1)
    ptx: str = field(default="", repr=False)  # what the cubin was made from, to be read
