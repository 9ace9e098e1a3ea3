"""Hand-written kernels, so that the runtime is tested without the code generators.

`add`: out[i] = x[i] + c over n elements of f32. `check`: the first index of i64 x[n] outside
[0, bound) goes to the error cell. `spin`: thread 0 takes about `count` microseconds. `fill`: every
thread writes its share of out with a constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from graphc.codegen_cpu.jit import Loaded, compile_module, load_objects
from graphc.codegen_cpu.library import KernelLibrary
from graphc.codegen_cpu.target import Target
from graphc.ir.kernel import Buffer, Kernel, ScalarArg
from graphc.ir.program import CheckSite, Launch, Program, Slot
from graphc.ir.text import read_type
from graphc.ir.types import DTYPES, Array
from graphc.runtime.cpu.dispatch import walker
from graphc.runtime.cpu.engine import Engine
from graphc.runtime.cpu.executor import Executable

SHARE = """
  %{0}.product = mul i64 %tid, %n
  %{0}.lo = udiv i64 %{0}.product, %nthreads
  %{0}.tid1 = add i64 %tid, 1
  %{0}.product1 = mul i64 %{0}.tid1, %n
  %{0}.hi = udiv i64 %{0}.product1, %nthreads
"""


def _cell(name: str, at: int, kind: str) -> str:
    return f"  %{name}.at = getelementptr i64, ptr %args, i64 {at}\n" + (
        f"  %{name} = load {kind}, ptr %{name}.at\n"
    )


ADD = f"""
define void @add(ptr %args, i64 %tid, i64 %nthreads) nounwind {{
entry:
{_cell("x", 1, "ptr")}{_cell("out", 2, "ptr")}{_cell("n", 3, "i64")}{_cell("c", 4, "float")}
{SHARE.format("s")}
  br label %next
next:
  %i = phi i64 [ %s.lo, %entry ], [ %i.next, %one ]
  %more = icmp slt i64 %i, %s.hi
  br i1 %more, label %one, label %done
one:
  %from = getelementptr float, ptr %x, i64 %i
  %v = load float, ptr %from
  %sum = fadd float %v, %c
  %to = getelementptr float, ptr %out, i64 %i
  store float %sum, ptr %to
  %i.next = add i64 %i, 1
  br label %next
done:
  ret void
}}
"""

CHECK = f"""
define void @check(ptr %args, i64 %tid, i64 %nthreads) nounwind {{
entry:
{_cell("error", 0, "ptr")}{_cell("x", 1, "ptr")}{_cell("n", 2, "i64")}{_cell("bound", 3, "i64")}
{_cell("site", 4, "i64")}
{SHARE.format("s")}
  br label %next
next:
  %i = phi i64 [ %s.lo, %entry ], [ %i.next, %one ], [ %i.next, %bad ], [ %i.next, %write ]
  %more = icmp slt i64 %i, %s.hi
  br i1 %more, label %one, label %done
one:
  %i.next = add i64 %i, 1
  %from = getelementptr i64, ptr %x, i64 %i
  %v = load i64, ptr %from
  %inside = icmp ult i64 %v, %bound
  br i1 %inside, label %next, label %bad
bad:
  %pair = cmpxchg ptr %error, i64 0, i64 1 seq_cst seq_cst
  %won = extractvalue {{ i64, i1 }} %pair, 1
  br i1 %won, label %write, label %next
write:
  %e1 = getelementptr i64, ptr %error, i64 1
  store i64 %site, ptr %e1
  %e2 = getelementptr i64, ptr %error, i64 2
  store i64 %v, ptr %e2
  %e3 = getelementptr i64, ptr %error, i64 3
  store i64 %bound, ptr %e3
  br label %next
done:
  ret void
}}
"""

SPIN = f"""
declare i64 @llvm.readcyclecounter()
define void @spin(ptr %args, i64 %tid, i64 %nthreads) nounwind {{
entry:
{_cell("count", 1, "i64")}
  %ticks = mul i64 %count, 2000
  %start = call i64 @llvm.readcyclecounter()
  %first = icmp eq i64 %tid, 0
  br i1 %first, label %next, label %done
next:
  %now = call i64 @llvm.readcyclecounter()
  %spent = sub i64 %now, %start
  %more = icmp ult i64 %spent, %ticks
  br i1 %more, label %next, label %done
done:
  ret void
}}
"""

F32, I64 = DTYPES["f32"], DTYPES["i64"]
ADD_KERNEL = Kernel(
    "add", "map", (Buffer("x", F32, "r"), Buffer("out", F32, "w", "x")), ("n",),
    (ScalarArg("c", F32),), (), (),
)  # fmt: skip
CHECK_KERNEL = Kernel("check", "map", (Buffer("x", I64, "r"),), ("n", "bound", "site"), (), (), ())
SPIN_KERNEL = Kernel("spin", "map", (), ("count",), (), (), ())


@lru_cache(maxsize=1)
def loaded() -> Loaded:
    target = Target.host()
    return load_objects([compile_module(t, target) for t in (ADD, CHECK, SPIN)], target)


@lru_cache(maxsize=1)
def engine() -> Engine:
    library = KernelLibrary(Target.host())
    return Engine(walker(library.native, library.target.triple))


def executable(program: Program, parallel: bool = True) -> Executable:
    functions = [loaded().address(launch.kernel.name) for launch in program.launches]
    return Executable(program, functions, engine(), parallel=parallel)


def add(x: str, out: str, n: int, c: float, barrier: bool = True) -> Launch:
    return Launch(ADD_KERNEL, (x, out), (n,), (c,), barrier)


def check(x: str, n: int, bound: int, site: int = 0) -> Launch:
    return Launch(CHECK_KERNEL, (x,), (n, bound, site), (), True)


def spin(microseconds: int) -> Launch:
    return Launch(SPIN_KERNEL, (), (microseconds,), (), True)


def slot(name: str, type_: str, space: str, index: int) -> Slot:
    return Slot(name, read_type(type_), space, index, 0, 99)  # type: ignore[arg-type]


def program(
    slots: Sequence[Slot], launches: Sequence[Launch], commit: int = 0, arena_bytes: int = 0,
    checks: tuple[CheckSite, ...] = (),
) -> Program:  # fmt: skip
    return Program(
        "step", tuple(slots), tuple(launches), commit, ("out",), arena_bytes, arena_bytes, checks
    )


def chain(n: int, launches: int, steps: int = 0) -> Program:
    """out = x + launches, through two arena buffers; then state += 1 where `steps`."""
    size = -(-4 * n // 64) * 64
    t = f"f32[{n}]"
    slots = [slot("x", t, "arg", 0), slot("out", t, "out", 0), slot("w", t, "state", 0)]
    slots += [slot("a0", t, "arena", 0), slot("a1", t, "arena", size)]
    rows = []
    at = "x"
    for k in range(launches):
        to = "out" if k == launches - 1 else f"a{k % 2}"
        rows.append(add(at, to, n, 1.0, barrier=k > 0))
        at = to
    commit = len(rows)
    rows += [add("w", "w", n, 1.0) for _ in range(steps)]
    return program(slots, rows, commit, 2 * size)


def address(x: Array) -> int:
    return int(x.ctypes.data)


def run_chain(step: Executable, x: Array) -> Array:
    out = np.empty_like(x)
    step.run([address(x)], [address(out)])
    return out
