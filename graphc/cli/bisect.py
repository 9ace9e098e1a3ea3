"""`graphc bisect SCRIPT`: run a script, and find the first pass or kernel that computes wrongly.

Each program that the script compiles is checked on made-up inputs: every pass against the graph
before it, then every kernel against what it means, launch by launch. What is found is written as a
script of its own, which fails as long as the error is there.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from graphc import config
from graphc.cli.command import Command, Exit, Report, not_found, nothing_compiled
from graphc.cli.script import run_script
from graphc.codegen_cpu.library import KernelLibrary
from graphc.codegen_cpu.profile import profile
from graphc.codegen_cpu.target import Target
from graphc.errors import InternalError
from graphc.frontend.step.checking import (
    TOLERANCE,
    StageError,
    compare,
    computed,
    difference,
    made_up,
)
from graphc.frontend.step.seen import seeing
from graphc.ir import kernel_text, text
from graphc.ir.graph import Graph
from graphc.ir.interpret import interpret
from graphc.ir.kernel import Kernel
from graphc.ir.kernel_interpret import run_kernel
from graphc.ir.program import Launch, Program, Slot
from graphc.ir.types import Array, Scalar, TensorSpec
from graphc.passes.pipeline import PIPELINE, compile_graph, run_passes
from graphc.runtime.cpu.dispatch import walker
from graphc.runtime.cpu.executor import Engine, Executable

SEED = 0


@dataclass(frozen=True, slots=True)
class Found:
    """The first thing that is wrong: a "pass" or a "kernel", what differs, and how to see it."""

    kind: str
    name: str
    what: str
    repro: str


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("script", type=Path, help="a Python file that compiles steps")
    parser.add_argument("args", nargs=argparse.REMAINDER, help="the script's own arguments")


def run(args: argparse.Namespace) -> Report:
    if not args.script.is_file():
        return not_found(f"{args.script}: no such file")
    try:
        with config.using("verify", "1"), seeing() as steps:
            run_script(args.script, args.args)
    except StageError as e:
        found = explain(e)
        path = Path(f"bisect_{found.name}.py".replace("/", "_"))
        path.write_text(found.repro)
        told = f"{found.kind} `{found.name}`: {found.what}\n  alone in {path}"
        data = {"kind": found.kind, "name": found.name, "what": found.what, "repro": str(path)}
        return Report(told, data, Exit.FAILED)
    if not any(s.ran for s in steps):
        return nothing_compiled(args.script)
    return Report("every pass and every program computes what it should", {"kind": None})


def explain(e: StageError) -> Found:
    """Which pass or kernel it is, with a script that shows it alone."""
    if e.stage in {s.name for s in PIPELINE}:
        repro = _script("stage", e.stage, text.show(e.before))
        return Found("pass", e.stage, e.what, repro)
    found = first_bad_kernel(e.before)
    if found is None:
        repro = _script("program", e.stage, text.show(e.before))
        return Found("program", e.stage, f"{e.what}; no kernel alone is wrong", repro)
    launch, what = found
    sizes, scalars = repr(launch.sizes), repr(launch.scalars)
    given = f", {sizes}, {scalars}"
    return Found(
        "kernel", launch.kernel.name, what,
        _script("kernel", launch.kernel.name, kernel_text.show(launch.kernel), given),
    )  # fmt: skip


def _script(kind: str, name: str, shown: str, rest: str = "") -> str:
    return "\n".join(
        [
            f'"""Fails as long as the {kind} `{name}` is wrong."""',
            "",
            f"from graphc.cli.bisect import reproduce_{kind}",
            "",
            f'TEXT = r"""\n{shown}\n"""',
            "",
            f"reproduce_{kind}(TEXT, {name!r}{rest})",
            "",
        ]
    )


# ---- reproducing ---------------------------------------------------------------------------------


def reproduce_stage(shown: str, name: str) -> None:
    """Raise if the pass changes the meaning of the graph."""
    graph = text.parse(shown)
    stage = next(s for s in PIPELINE if s.name == name)
    after = run_passes(graph, [stage], profile(Target.host()))
    inputs, wanted = computed(graph)
    compare(name, wanted, interpret(after, *inputs), graph, graph)


def reproduce_program(shown: str, name: str) -> None:
    """Raise if a kernel of the graph's program is wrong."""
    found = first_bad_kernel(text.parse(shown))
    if found is not None:
        raise InternalError(f"kernel `{found[0].kernel.name}`: {found[1]}")


def reproduce_kernel(
    shown: str, name: str, sizes: Sequence[int], scalars: Sequence[Scalar]
) -> None:
    """Raise if the kernel computes something else than it means, on made-up buffers."""
    kernel = kernel_text.parse(shown)
    lengths = _lengths(kernel, sizes, scalars)
    memory = {
        b.name: made_up(TensorSpec(b.dtype, (lengths[b.name],)), k)
        for k, b in enumerate(kernel.buffers)
    }
    launch = Launch(kernel, tuple(memory), tuple(sizes), tuple(scalars))
    if (what := _Native().differs(launch, memory)) is not None:
        raise InternalError(f"kernel `{name}`: {what}")


def _lengths(kernel: Kernel, sizes: Sequence[int], scalars: Sequence[Scalar]) -> dict[str, int]:
    """How many elements a launch may reach in each buffer: found by trying."""
    count = {b.name: 1 for b in kernel.buffers}
    given = dict(zip(kernel.sizes, sizes)), {a.name: c for a, c in zip(kernel.scalars, scalars)}
    for _ in range(64):
        memory = {
            b.name: made_up(TensorSpec(b.dtype, (count[b.name],)), k)
            for k, b in enumerate(kernel.buffers)
        }
        try:
            run_kernel(kernel, memory, *given)
        except (IndexError, ValueError):
            count = {name: 2 * n for name, n in count.items()}
        else:
            return count
    return count


# ---- kernels -------------------------------------------------------------------------------------


def first_bad_kernel(graph: Graph) -> tuple[Launch, str] | None:
    """The first launch of the graph's program that gives something else than its kernel means."""
    program = compile_graph(graph, profile(Target.host())).program
    slots = {s.name: s for s in program.slots}
    memory = _memory(program, graph)
    arena = np.zeros(program.arena_bytes, np.uint8)

    def flat(slot: Slot) -> Array:
        if slot.space == "arena":
            return arena[slot.index : slot.index + slot.size_bytes].view(slot.spec.dtype.numpy)
        made = np.zeros(slot.spec.numel, slot.spec.dtype.numpy)
        return memory.setdefault((slot.space, slot.index), made)

    native = _Native()
    for launch in program.launches:
        buffers = {s: flat(slots[s]) for s in launch.slots}
        what = native.differs(launch, buffers)
        if what is not None:
            return launch, what
    return None


def _memory(program: Program, graph: Graph) -> dict[tuple[str, int], Array]:
    """The inputs of the graph as its program finds them."""
    memory: dict[tuple[str, int], Array] = {}
    counts = {"arg": 0, "state": 0, "scalar": 0}
    for array, role in zip(computed(graph)[0], graph.roles, strict=True):
        order = program.orders[counts[role]] if role == "state" else range(array.ndim)
        memory[role, counts[role]] = np.array(array.transpose(order)).ravel()
        counts[role] += 1
    return memory


class _Native:
    """Runs launches one at a time, as this machine's code and as the interpreter."""

    def __init__(self) -> None:
        target = Target.host()
        self._library = KernelLibrary(target)  # without the cache: what is on disk may be older
        self._engine = Engine(walker(self._library.native, target.triple))

    def differs(self, launch: Launch, memory: Mapping[str, Array]) -> str | None:
        """What is different, if anything; leaves in `memory` what the kernel means."""
        kernel, names = launch.kernel, list(dict.fromkeys(launch.slots))
        ours = {name: memory[name].copy() for name in names}
        buffers = {
            b.name: memory[name] for b, name in zip(kernel.buffers, launch.slots, strict=True)
        }
        scalars = {a.name: c for a, c in zip(kernel.scalars, launch.scalars, strict=True)}
        run_kernel(kernel, buffers, dict(zip(kernel.sizes, launch.sizes, strict=True)), scalars)
        if kernel.kind == "routine":
            return None
        self._run(launch, names, ours)
        for name in names:
            dtype = next(b.dtype for b, n in zip(kernel.buffers, launch.slots) if n == name)
            error = difference(memory[name], ours[name], 0.0)
            if error > TOLERANCE.get(dtype.name, 0.0):
                return f"{name}: {dtype.name} differs by {error:.2g} of its size"
        return None

    def _run(self, launch: Launch, names: Sequence[str], memory: Mapping[str, Array]) -> None:
        types = {
            name: TensorSpec(b.dtype, (len(memory[name]),))
            for b, name in zip(launch.kernel.buffers, launch.slots, strict=True)
        }
        slots = [Slot(name, types[name], "state", k, 0, 0) for k, name in enumerate(names)]
        orders = ((0,),) * len(names)
        program = Program("bisect", tuple(slots), (launch,), 0, (), 0, 0, orders=orders)
        functions = self._library.functions([launch.kernel])
        executable = Executable(program, functions, self._engine, parallel=False)
        executable.bind_state([memory[name].ctypes.data for name in names])
        executable.run([])


COMMAND = Command("bisect", "find the first pass or kernel that computes wrongly", arguments, run)
