"""One error, one code, one test: what a person reads, word for word (line numbers left out)."""

from __future__ import annotations

import queue
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import graphc
from graphc import errors, nn
from graphc.codegen_cpu.jit import compile_module
from graphc.codegen_cpu.target import Target
from graphc.frontend.device_ops import mixed
from graphc.frontend.step.inspect import verified
from graphc.frontend.step.inspect.recompiles import assert_max_compiles
from graphc.ir import text, verify
from graphc.ir.graph import Graph
from graphc.ir.kernel import Buffer, Kernel
from graphc.ir.program import Launch, Program, Slot
from graphc.ir.types import TensorSpec, f32
from graphc.runtime.cpu.outside import outside
from graphc.runtime.cuda.driver import failure
from graphc.runtime.disk_cache import check_private
from graphc.runtime.failures import out_of_memory
from graphc.utils.data.worker import WorkerFailed

ones = graphc.ones


def shape_mismatch() -> None:
    ones(3) + ones(4)


def dtype_mismatch() -> None:
    ones(3) @ ones(3, dtype=graphc.float64)


def invalid_argument() -> None:
    nn.Dropout(2.0)


def invalid_index() -> None:
    ones(2, 3).sum(5)


def invalid_type() -> None:
    iter(ones(()))


def autograd_error() -> None:
    ones(3).sum().backward()


def invalid_state() -> None:
    graphc.compile(lambda x: x).explain()


def device_unavailable() -> None:
    ones(3).to("cuda")


def devices_mixed() -> None:
    raise mixed(map(graphc.device, ("cuda:0", "cpu")))


def not_available() -> None:
    step = graphc.compile(lambda x: x + 1)
    step(ones(3))
    _ = step.kernels[0].ptx


def unsupported() -> None:
    nn.functional.pad(ones(3), (1, 1), "mirror")


def data_dependent_branch() -> None:
    @graphc.compile
    def step(x: graphc.Tensor) -> graphc.Tensor:
        return x if x.sum() > 0 else -x

    step(ones(3))


def tracer_leak() -> None:
    kept = queue.SimpleQueue()
    graphc.compile(lambda x: kept.put(x + 1))(ones(3))
    kept.get() + 1


def untraceable() -> None:
    base = ones(4, requires_grad=True) * 1
    graphc.compile(lambda x, y: x.detach().add_(1))(base[:3], base[1:])


def too_many_compiles() -> None:
    step = graphc.compile(lambda x: x + 1)
    step(ones(3))
    with assert_max_compiles(0):
        step(ones(4, 1))


def unguarded() -> None:
    items = iter([1.0, 2.0])
    graphc.compile(lambda x: x * next(items))(ones(3))


def index_out_of_range() -> None:
    step = graphc.compile(lambda x, i: x[i])
    step(ones(3), graphc.tensor([1, 7]))


def cuda_error() -> None:
    raise failure("LaunchKernel", 700, "map_add", text="an address is not mapped")


def out_of_memory_error() -> None:
    raise out_of_memory(3 << 30, 2 << 30, [])


def integer_division_by_zero() -> None:
    graphc.tensor([4]) // graphc.tensor([0])


def linear_algebra_error() -> None:
    graphc.linalg.inv(ones(2, 2))


def not_finite() -> None:
    step = graphc.compile(lambda x: x.sqrt(), check="nan")
    step(-ones(2))


def backend_error() -> None:
    code = "declare void @nowhere()\ndefine void @f() {\n call void @nowhere()\n ret void\n}"
    compile_module(code, Target.host())


def cache_error() -> None:
    check_private(Path("/dev/null"))


def file_format_error() -> None:
    text.parse("a shopping list")


def worker_failed() -> None:
    raise WorkerFailed("DataLoader worker 0 (pid 7) ended with exit code -9")


def internal_error() -> None:
    verify.verify(Graph("step", (), ("arg",), (), ()))


def mismatch() -> None:
    step = graphc.compile(lambda x: x * 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verified, "excess", lambda *_: float("inf"))
        graphc.verify(step, ones(3))


def out_of_bounds() -> None:
    slot = Slot("x", TensorSpec(f32, (4,)), "arg", 0, 0, 0)
    kernel = Kernel("add", "map", (Buffer("b0", f32, "r"),), (), (), (), ())
    step = Program("step", (slot,), (Launch(kernel, ("x",), (), ()),), 1, (), 0, 0)
    raise outside(step, launch=0, number=0, offset=16, size=16)


GOLDEN: dict[Callable[[], None], str] = {
    shape_mismatch: """\
shapes (3,) and (4,) do not broadcast at dimension 0: 3 against 4 [GC001]
  test_errors.py:N in shape_mismatch
     N | ones(3) + ones(4)
  why   the operation's shape rule does not hold
  fix   reshape or expand one operand so that the shapes agree
  more  python -m graphc explain GC001""",
    dtype_mismatch: """\
matmul: operands differ in dtype: f32[3] vs f64[3] [GC002]
  test_errors.py:N in dtype_mismatch
     N | ones(3) @ ones(3, dtype=graphc.float64)
  why   the operation is not defined for these element types
  fix   convert one operand with .to(dtype)
  more  python -m graphc explain GC002""",
    invalid_argument: """\
dropout probability has to be between 0 and 1, but got 2.0 [GC003]
  test_errors.py:N in invalid_argument
     N | nn.Dropout(2.0)
  why   the value is outside what the argument may be
  fix   pass a value in the stated range
  more  python -m graphc explain GC003""",
    invalid_index: """\
dimension 5 is out of range: expected -2 to 1 [GC004]
  test_errors.py:N in invalid_index
     N | ones(2, 3).sum(5)
  why   the index does not exist in the tensor
  fix   use an index in range
  more  python -m graphc explain GC004""",
    invalid_type: """\
iteration over a 0-d tensor [GC005]
  test_errors.py:N in invalid_type
     N | iter(ones(()))
  why   the function does not take this type
  fix   pass a tensor or number as documented
  more  python -m graphc explain GC005""",
    autograd_error: """\
backward from f32[], which does not require grad and has no grad_fn [GC006]
  test_errors.py:N in autograd_error
     N | ones(3).sum().backward()
  why   autograd cannot give a correct gradient here
  fix   make a parameter that leads to it require grad, outside no_grad
  more  python -m graphc explain GC006""",
    invalid_state: """\
nothing is compiled yet [GC007]
  test_errors.py:N in invalid_state
     N | graphc.compile(lambda x: x).explain()
  why   a step is compiled by its first call, which tells shapes and dtypes
  fix   call it once, then ask
  more  python -m graphc explain GC007""",
    device_unavailable: """\
no CUDA device: GRAPHC_CUDA=off [GC008]
  test_errors.py:N in device_unavailable
     N | ones(3).to("cuda")
  why   the switch says that no GPU is to be used
  fix   unset GRAPHC_CUDA
  more  python -m graphc explain GC008""",
    devices_mixed: """\
Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu! \
[GC011]
  test_errors.py:N in devices_mixed
     N | raise mixed(map(graphc.device, ("cuda:0", "cpu")))
  why   an operation runs where all of its operands are
  fix   move them to one device with .to(device)
  more  python -m graphc explain GC011""",
    not_available: """\
no `ptx`: device is cpu [GC009]
  test_errors.py:N in not_available
     N | _ = step.kernels[0].ptx
  why   it does not exist for this device or mode
  fix   read .llvm or .asm
  more  python -m graphc explain GC009""",
    unsupported: """\
Unrecognised padding mode 'mirror' [GC010]
  test_errors.py:N in unsupported
     N | nn.functional.pad(ones(3), (1, 1), "mirror")
  why   the operation is not defined for this mode and rank
  fix   use one of ('constant', 'reflect', 'replicate', 'circular')
  more  python -m graphc explain GC010""",
    data_dependent_branch: """\
Python reads bool[] from test_errors.py:N (lt) <step>, known only at run time [GC104]
  test_errors.py:N in step
     N | return x if x.sum() > 0 else -x
  why   the step is compiled once; Python cannot branch on a traced tensor
  fix   use graphc.where(condition, a, b) or graphc.cond, or move the test out of the step
  more  python -m graphc explain GC104""",
    tracer_leak: """\
f32[B] stood for a value inside a compiled step that has ended [GC105]
  test_errors.py:N in tracer_leak
     N | kept.get() + 1
  why   the tensor stood for a value inside a compiled step, which has ended
  fix   return the value from the step instead of storing it
  more  python -m graphc explain GC105""",
    untraceable: """\
the step writes argument `x`, whose memory another one shows with a history [GC106]
  test_errors.py:N in untraceable
     N | graphc.compile(lambda x, y: x.detach().add_(1))(base[:3], base[1:])
  why   a compiled step replays tensor operations only
  fix   pass a clone() of one, or write outside the compiled function
  more  python -m graphc explain GC106""",
    too_many_compiles: """\
`<lambda>` is compiled again (argument `x`: f32[3] -> f32[4,1]); allowed: 0 [GC201]
  test_errors.py:N in too_many_compiles
     N | step(ones(4, 1))
  why   an input, attribute or mode changed, so the step was compiled again
  fix   see step.explain() for what changed
  more  python -m graphc explain GC201""",
    unguarded: """\
the step takes items from `items`, a list_iterator made outside it [GC202]
  test_errors.py:N in <lambda>
     N | graphc.compile(lambda x: x * next(items))(ones(3))
  why   Python runs once, so each call would see the items of the first
  fix   take them outside and pass them, or iterate over a list
  more  python -m graphc explain GC202""",
    index_out_of_range: """\
index of dimension 0: index 7 is out of range [0, 3) [GC301]
  test_errors.py:N in <lambda>
     N | step = graphc.compile(lambda x, i: x[i])
  why   a run-time index is outside its dimension; nothing was changed
  fix   clamp or check the indices (class targets, embedding ids) before the step
  more  python -m graphc explain GC301""",
    out_of_memory_error: """\
the step needs 3221.2 MB more, 2147.5 MB are free; the largest:  [GC302]
  test_errors.py:N in out_of_memory_error
     N | raise out_of_memory(3 << 30, 2 << 30, [])
  why   the planned arena is larger than the memory that is free
  fix   use a smaller batch
  more  python -m graphc explain GC302""",
    integer_division_by_zero: """\
floor division by zero in int64 [GC303]
  test_errors.py:N in integer_division_by_zero
     N | graphc.tensor([4]) // graphc.tensor([0])
  why   integers have no infinity to return; nothing was changed
  fix   mask zero divisors with graphc.where before dividing
  more  python -m graphc explain GC303""",
    not_finite: """\
`sqrt` gave NaN in 2 of 2 elements of f32[2], at call 1 [GC305]
  test_errors.py:N in <lambda>
     N | step = graphc.compile(lambda x: x.sqrt(), check="nan")
  why   its inputs: `x` f32[2] from -1 to -1, 0 NaN
  fix   keep its operands in range: clamp, add a small number, or lower the learning rate
  more  python -m graphc explain GC305""",
    backend_error: """\
generated code calls nowhere, which no library has [GC401]
  test_errors.py:N in backend_error
     N | compile_module(code, Target.host())
  why   an internal invariant does not hold
  fix   report this with the program that shows it
  more  python -m graphc explain GC401""",
    cuda_error: """\
cuLaunchKernel: CUDA_ERROR_ILLEGAL_ADDRESS in kernel map_add [GC402]
  test_errors.py:N in cuda_error
     N | raise failure("LaunchKernel", 700, "map_add", text="an address is not mapped")
  why   an address is not mapped
  fix   run with GRAPHC_CUDA=fake, which checks every access, and report what it says
  more  python -m graphc explain GC402""",
    cache_error: """\
the kernel cache /dev/null is not a plain folder [GC501]
  test_errors.py:N in cache_error
     N | check_private(Path("/dev/null"))
  why   the cache folder is not private to this user
  fix   set GRAPHC_CACHE_DIR to a folder only you can write
  more  python -m graphc explain GC501""",
    linear_algebra_error: """\
linalg.inv: the matrix is singular, shape (2, 2) [GC304]
  test_errors.py:N in linear_algebra_error
     N | graphc.linalg.inv(ones(2, 2))
  why   the matrix has no such inverse or factor; nothing was changed
  fix   add a small multiple of the identity, or use lstsq() or pinv()
  more  python -m graphc explain GC304""",
    file_format_error: """\
graph text must begin with "// graphc 1" [GC502]
  test_errors.py:N in file_format_error
     N | text.parse("a shopping list")
  why   the file is damaged or of another format
  fix   write it again with graphc.save
  more  python -m graphc explain GC502""",
    worker_failed: """\
DataLoader worker 0 (pid 7) ended with exit code -9 [GC601]
  test_errors.py:N in worker_failed
     N | raise WorkerFailed("DataLoader worker 0 (pid 7) ended with exit code -9")
  why   the process ended without an answer (killed, out of memory, or a crash in a library)
  fix   run with num_workers=0 to see the cause, or use fewer workers
  more  python -m graphc explain GC601""",
    internal_error: """\
ill-formed graph step: 0 inputs have 1 roles [GC901]
  test_errors.py:N in internal_error
     N | verify.verify(Graph("step", (), ("arg",), (), ()))
  why   an internal invariant does not hold
  fix   report this with the program that shows it
  more  python -m graphc explain GC901""",
    mismatch: """\
`result 0`: f32[3] differs by inf times what rounding allows (test_errors.py:N <lambda>) [GC903]
  test_errors.py:N in mismatch
     N | graphc.verify(step, ones(3))
  why   compiled, eager and float64 results agree up to rounding in a right program
  fix   find the pass or kernel with `python -m graphc bisect script.py`, and report it
  more  python -m graphc explain GC903""",
    out_of_bounds: """\
kernel add (launch 0 of step) is at byte 16 of 16 of buffer b0, slot x [GC902]
  why   the kernel's addresses and the plan of memory disagree: an error of the compiler
  fix   report this with the program that shows it
  more  python -m graphc explain GC902""",
}


def shown(trigger: Callable[[], None]) -> errors.GraphcError:
    with pytest.raises(errors.GraphcError) as caught:
        trigger()
    return caught.value


def without_lines(message: str) -> str:
    message = re.sub(r"(\.py):\d+", r"\1:N", message)
    return re.sub(r"^ +\d+ \|", "     N |", message, flags=re.M)


@pytest.mark.parametrize("trigger", GOLDEN, ids=lambda t: t.__name__)
def test_message(trigger: Callable[[], None]) -> None:
    error = shown(trigger)
    assert without_lines(str(error)) == GOLDEN[trigger]
    assert GOLDEN[trigger].count(f"[{error.code}]") == 1


def test_every_error_has_a_golden_message() -> None:
    named = [re.search(r"\[(GC\d+)\]", message) for message in GOLDEN.values()]
    assert sorted(m[1] for m in named if m) == sorted(errors.all_errors())


def test_codes_are_the_classes_own() -> None:
    classes = errors.GraphcError.__subclasses__()
    assert len({c.code for c in classes}) == len(classes)
    assert all(c.__doc__ and c.why and c.fix for c in classes)


def test_errors_are_caught_as_pytorchs() -> None:
    for cls in errors.GraphcError.__subclasses__():
        assert any(not issubclass(base, errors.GraphcError) for base in cls.__bases__), cls


def test_user_text_is_cut() -> None:
    error = errors.InvalidArgument("x" * 3, where=(__file__, 10**6, "f"))
    assert len(str(error).splitlines()) == 5  # no such line to show


def test_every_error_has_a_section_in_the_docs() -> None:
    """With its class, what to do, and an example as it is printed."""
    page = (Path(__file__).parent.parent / "docs" / "errors.md").read_text()
    sections = {part[:5]: part for part in page.split("\n## ")[1:]}
    assert list(sections) == sorted(errors.all_errors())
    messages = {m[1]: text for text in GOLDEN.values() if (m := re.search(r"\[(GC\d+)\]", text))}
    for code, cls in errors.all_errors().items():
        section = sections[code]
        assert section.startswith(f"{code} {cls.__name__}\n"), code
        assert messages[code].replace("N |", "7 |") in section, code
        about = re.sub(r"```.*?```", "", section, flags=re.S)
        assert len(about.split()) > 25, f"{code}: says too little of itself"
