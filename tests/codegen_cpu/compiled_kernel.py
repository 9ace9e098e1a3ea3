"""Kernels compiled and called by hand, for tests: no executor, threads one after the other."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping

import numpy as np

from graphc.codegen_cpu.jit import compile_module, load_objects
from graphc.codegen_cpu.map import loops
from graphc.codegen_cpu.target import Target
from graphc.ir.cpu_abi import CELL_BYTES, ROOM_BYTES
from graphc.ir.kernel import Kernel
from graphc.ir.types import Array, Scalar
from graphc.runtime.cpu.threads import aligned_cells


def module_text(kernels: list[Kernel], target: Target) -> str:
    """The generic template's module, with functions k0, k1, ..."""
    functions, declarations = [], set()
    for k, kernel in enumerate(kernels):
        e = loops.emit(kernel, target)
        functions.append(e.function(f"k{k}"))
        declarations |= e.declarations
    head = f'target triple = "{target.triple}"'
    return "\n".join([head, *functions, *sorted(declarations)])


class Native:
    """Functions of several kernels in one module; `run` calls one as T threads would."""

    def __init__(self, kernels: list[Kernel], target: Target | None = None) -> None:
        self.kernels = kernels
        target = target or Target.host()
        text = module_text(kernels, target)
        self.loaded = load_objects([compile_module(text, target)], target)
        kind = ctypes.CFUNCTYPE(
            None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p
        )
        self.room = aligned_cells(ROOM_BYTES // CELL_BYTES)
        self.functions = [kind(self.loaded.address(f"k{k}")) for k in range(len(kernels))]

    def run(
        self,
        buffers: Mapping[str, Array],
        sizes: Mapping[str, int],
        scalars: Mapping[str, Scalar],
        threads: int = 1,
        k: int = 0,
    ) -> list[int]:
        """Writes into `buffers`; the error cell."""
        kernel, error = self.kernels[k], np.zeros(4, np.int64)
        cells = [error.ctypes.data]
        cells += [buffers[b.name].ctypes.data for b in kernel.buffers]
        cells += [sizes[name] for name in kernel.sizes]
        for s in kernel.scalars:
            raw = np.asarray(scalars[s.name], s.dtype.numpy).tobytes().ljust(8, b"\0")
            cells.append(int(np.frombuffer(raw, np.int64)[0]))
        block = np.array(cells, np.int64)
        for tid in range(threads):
            self.functions[k](block.ctypes.data, tid, threads, self.room.ctypes.data)
        return [int(x) for x in error]
