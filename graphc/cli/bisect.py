"""`graphc bisect SCRIPT`: run a script, and find the first pass or kernel that computes wrongly.

Each program that the script compiles is checked on made-up inputs: every pass against the graph
before it, then every kernel against what it means, launch by launch. What is found is written as a
script of its own, which fails as long as the error is there.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from graphc import config
from graphc.cli.command import Command, Exit, Report, not_found, nothing_compiled
from graphc.cli.script import run_script
from graphc.codegen_cpu.library import KernelLibrary
from graphc.codegen_cpu.profile import profile
from graphc.codegen_cpu.target import Target
from graphc.errors import InternalError
from graphc.frontend.step.inspect.checking import (
    TOLERANCE,
    StageError,
    compare,
    computed,
    difference,
    made_up,
)
from graphc.frontend.step.inspect.seen import seeing
from graphc.ir import kernel_text, text
from graphc.ir.graph import Graph, Value
from graphc.ir.interpret import evaluate, interpret, values_of
from graphc.ir.kernel import Kernel
from graphc.ir.kernel_interpret import run_kernel
from graphc.ir.ops import Op
from graphc.ir.program import Launch, Program, Slot
from graphc.ir.types import Array, DType, Scalar, TensorSpec
from graphc.passes.group import is_op, parts_of
from graphc.passes.orders import orders_of
from graphc.passes.pipeline import PIPELINE, compile_graph, run_passes
from graphc.runtime.cpu.dispatch import walker
from graphc.runtime.cpu.engine import Engine
from graphc.runtime.cpu.executor import Executable

UNWRITABLE = r"[^\w.]+"  # in the name of a file


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
        path = Path(f"bisect_{re.sub(UNWRITABLE, '_', found.name)}.py")
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
    launch, what, as_lowered = found
    if as_lowered:
        repro = _script("program", "lower", text.show(e.before))
        what = f"kernel `{launch.kernel.name}` does what it says, which is wrong: {what}"
        return Found("pass", "lower", what, repro)
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
        raise InternalError(f"kernel `{found.launch.kernel.name}`: {found.what}")


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


class Bad(NamedTuple):
    """A launch that gives something else than it should. `as_lowered`: its kernel's code does what
    the kernel says, but that is not what the graph's values mean."""

    launch: Launch
    what: str
    as_lowered: bool


def first_bad_kernel(graph: Graph) -> Bad | None:
    """The first bad launch of the graph's program."""
    compiled = compile_graph(graph, profile(Target.host()))
    program = compiled.program
    (*_, passed) = [s.graph for s in compiled.stages if s.graph is not None]
    meant = _meanings(passed, computed(graph)[0])
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
            return Bad(launch, what, as_lowered=False)
        for b, name in zip(launch.kernel.buffers, launch.slots, strict=True):
            if b.access == "r" or name not in meant:
                continue
            if (what := _differ(name, b.dtype, meant[name], buffers[name])) is not None:
                return Bad(launch, what, as_lowered=True)
    return None


def _meanings(graph: Graph, inputs: Sequence[Array]) -> dict[str, Array]:
    """The elements of each value as a buffer of its own holds them."""

    def apply(v: Value, op: Op, args: list[Array]) -> Array:
        return evaluate(op, args, v.attrs, v.spec)

    orders, parts = orders_of(graph, profile(Target.host())), parts_of(graph)
    values = values_of(graph, inputs, apply)
    alone = [v for v in values if v not in parts and not is_op(v, "assemble")]
    return {v.name.removeprefix("%"): values[v].transpose(orders(v)).ravel() for v in alone}


def _differ(name: str, dtype: DType, wanted: Array, got: Array) -> str | None:
    """What is different, if anything."""
    error = difference(wanted, got, 0.0)
    if error <= TOLERANCE.get(dtype.name, 0.0):
        return None
    return f"{name}: {dtype.name} differs by {error:.2g} of its size"


def _memory(program: Program, graph: Graph) -> dict[tuple[str, int], Array]:
    """The inputs of the graph as its program finds them."""
    memory: dict[tuple[str, int], Array] = {}
    counts = {"arg": 0, "state": 0, "scalar": 0}
    for array, role in zip(computed(graph)[0], graph.roles, strict=True):
        order = program.orders[counts[role]] if role == "state" else range(array.ndim)
        memory[role, counts[role]] = np.array(array.transpose(order)).ravel()
        counts[role] += 1
    return memory


def _copies(memory: Mapping[str, Array], names: Sequence[str]) -> dict[str, Array]:
    """Copies of buffers; those that are one in memory, as what is updated in place, are one."""
    whole = {
        memory[n].ctypes.data: memory[n] for n in sorted(names, key=lambda n: memory[n].nbytes)
    }
    copied = {at: a.view(np.uint8).copy() for at, a in whole.items()}
    return {
        n: copied[memory[n].ctypes.data][: memory[n].nbytes].view(memory[n].dtype) for n in names
    }


class _Native:
    """Runs launches one at a time, as this machine's code and as the interpreter."""

    def __init__(self) -> None:
        target = Target.host()
        self._library = KernelLibrary(target)  # without the cache: what is on disk may be older
        self._engine = Engine(walker(self._library.native, target.triple))

    def differs(self, launch: Launch, memory: Mapping[str, Array]) -> str | None:
        """What is different, if anything; leaves in `memory` what the kernel means."""
        kernel, names = launch.kernel, list(dict.fromkeys(launch.slots))
        ours = _copies(memory, names)
        buffers = {
            b.name: memory[name] for b, name in zip(kernel.buffers, launch.slots, strict=True)
        }
        scalars = {a.name: c for a, c in zip(kernel.scalars, launch.scalars, strict=True)}
        run_kernel(kernel, buffers, dict(zip(kernel.sizes, launch.sizes, strict=True)), scalars)
        if kernel.kind == "routine":
            return None
        self._run(launch, names, ours)
        for b, name in zip(kernel.buffers, launch.slots, strict=True):
            if (what := _differ(name, b.dtype, memory[name], ours[name])) is not None:
                return what
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
