"""Run a Program natively on NumPy arrays, without the frontend."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from graphc.codegen_cpu.library import KernelLibrary
from graphc.codegen_cpu.target import Target
from graphc.ir.graph import Graph
from graphc.ir.program import Program
from graphc.ir.types import Array
from graphc.runtime.cpu.dispatch import walker
from graphc.runtime.cpu.engine import Engine
from graphc.runtime.cpu.executor import Executable


@lru_cache(maxsize=1)
def session() -> tuple[KernelLibrary, Engine]:
    library = KernelLibrary(Target.host())
    return library, Engine(walker(library.native, library.target.triple))


def run_native(program: Program, graph: Graph, inputs: Sequence[Array]) -> list[Array]:
    """The outputs of `graph` by compiled code; states are copied first."""
    library, engine = session()
    functions = library.functions([launch.kernel for launch in program.launches])
    executable = Executable(program, functions, engine)
    by_role: dict[str, list[Array]] = {"arg": [], "state": [], "scalar": []}
    for array, role in zip(inputs, graph.roles, strict=True):
        order = program.orders[len(by_role[role])] if role == "state" else range(np.ndim(array))
        by_role[role].append(np.array(np.transpose(array, order), order="C"))
    pairs = list(zip(graph.outs, graph.targets, strict=True))
    outs = [np.zeros(v.shape, v.spec.dtype.numpy) for v, t in pairs if t is None]
    executable.bind_state([a.ctypes.data for a in by_role["state"]])
    executable.run(
        [a.ctypes.data for a in by_role["arg"]],
        [a.ctypes.data for a in outs],
        [a.item() for a in by_role["scalar"]],
    )
    fresh, orders = iter(outs), program.orders
    final = [a.transpose(np.argsort(o)) for a, o in zip(by_role["state"], orders, strict=True)]
    return [next(fresh) if t is None else final[graph.states().index(t)] for _, t in pairs]
