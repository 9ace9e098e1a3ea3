"""Text to object to address: what is refused, what is cached, and that one thread compiles."""

from __future__ import annotations

import gc
import threading
import weakref
from pathlib import Path

import llvmlite.binding as binding
import pytest

from graphc.codegen_cpu.elf import undefined_symbols
from graphc.codegen_cpu.jit import assembly, compile_module, load_objects, processor_of
from graphc.codegen_cpu.library import KernelLibrary
from graphc.codegen_cpu.llvm import machine_of
from graphc.codegen_cpu.target import Target
from graphc.errors import BackendError
from graphc.ir.kernel import Affine, Apply, Axis, Buffer, Kernel, Load, Phase, ScalarArg, Store
from graphc.ir.types import f32
from graphc.runtime.cpu import dispatch
from graphc.runtime.disk_cache import DiskCache

HOST = Target.host()


def function(name: str, body: str, declarations: str = "") -> str:
    return f"{declarations}\ndefine void @{name}(ptr %args) {{\n{body}\n  ret void\n}}\n"


def test_objects_load_together_and_keep_their_names() -> None:
    objects = [compile_module(function(f"f{k}", ""), HOST) for k in range(5)]
    loaded = load_objects(objects, HOST)
    assert len({loaded.address(f"f{k}") for k in range(5)}) == 5
    with pytest.raises(BackendError, match="lacks f9"):
        loaded.address("f9")
    del loaded
    gc.collect()


def test_text_that_llvm_refuses_is_an_error() -> None:
    for body in ("  %x = add float 1.0", "  %x = load i32, ptr %nowhere"):
        with pytest.raises(BackendError, match="refuses"):
            compile_module(function("f", body), HOST)


def test_a_library_call_is_an_error_and_not_a_dead_process() -> None:
    text = function("f", "  call void @absent(ptr %args)", "declare void @absent(ptr)")
    with pytest.raises(BackendError, match="absent"):
        compile_module(text, HOST)
    libm = "  %x = load float, ptr %args\n  %y = call float @llvm.exp.f32(float %x)\n"
    libm += "  store float %y, ptr %args"
    with pytest.raises(BackendError, match="expf"):
        compile_module(function("f", libm, "declare float @llvm.exp.f32(float)"), HOST)


def test_undefined_symbols_of_other_formats_are_none() -> None:
    assert not list(undefined_symbols(b"MZ" + bytes(100)))


@pytest.mark.parametrize("name", ["haswell", "sapphirerapids", "neoverse-n1"])
def test_the_walker_compiles_for_every_processor(name: str) -> None:
    target = Target.named(name)
    text = assembly(dispatch.module_text(target.triple), target)
    assert all(symbol in text for symbol in dispatch.SYMBOLS)


STEPS = """
define void @steps(ptr %x, ptr %y, i64 %n) {
entry:
  br label %body
body:
  %i = phi i64 [ 0, %entry ], [ %next, %body ]
  %row = mul i64 %i, 96
  %from = getelementptr float, ptr %x, i64 %row
  %to = getelementptr float, ptr %y, i64 %i
  %value = load float, ptr %from
  store float %value, ptr %to
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %n
  br i1 %more, label %body, label %done
done:
  ret void
}
"""


def test_llvm_gives_our_loops_no_other_counters_and_others_what_they_expect() -> None:
    """What a loop steps by is chosen by the emitter; the options of a process are everybody's."""

    def others() -> str:
        machine = machine_of(processor_of(target))
        with binding.parse_assembly(STEPS, binding.create_context()) as module:
            return str(machine.emit_assembly(module))

    target = Target.named("haswell")
    before, mine, after = others(), assembly(STEPS, target), others()
    assert before == after
    assert "addq\t$384" in before and "addq\t$384" not in mine


def kernel(k: int) -> Kernel:
    """y = x (+ x) * k times, so that each k is other code."""
    at = Affine((("i", 1),))
    body = [Load("0", f32, "x", at)]
    body += [Apply(str(j + 1), f32, "add", (str(j), "c")) for j in range(k)]  # type: ignore[misc]
    buffers = Buffer("x", f32, "r"), Buffer("y", f32, "w")
    phase = Phase((), (*body, Store("y", str(k), at)))
    scalars = (ScalarArg("c", f32),)
    return Kernel(f"k{k}", "map", buffers, ("n",), scalars, (Axis("i", "n"),), (phase,))


def test_library_compiles_once_then_finds_memory_then_disk(tmp_path: Path) -> None:
    kernels = [kernel(k) for k in (1, 2, 3, 1)]
    first = KernelLibrary(HOST, DiskCache(tmp_path / "k"))
    addresses = first.functions(kernels)
    assert addresses[0] == addresses[3] and len(set(addresses)) == 3
    assert first.functions(kernels) == addresses
    assert (first.compiled, first.hits) == (3, 0)
    second = KernelLibrary(HOST, DiskCache(tmp_path / "k"))
    assert len(set(second.functions(kernels))) == 3
    assert (second.compiled, second.hits) == (0, 3)
    memory_only = KernelLibrary(HOST)
    memory_only.functions(kernels)
    assert memory_only.compiled == 3


def test_code_that_nobody_uses_is_unmapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphc.codegen_cpu.library.RECENT_BYTES", 0)
    library = KernelLibrary(HOST)
    both, one = library.functions([kernel(6), kernel(7)]), library.functions([kernel(6)])
    assert list(one) == both[:1] and library.compiled == 2
    code = weakref.ref(both.code[0])
    del both
    assert code() is not None  # `one` uses it
    del one
    assert code() is None
    again = library.functions([kernel(6)])
    assert again[0] and library.compiled == 3


def test_what_was_used_last_stays_mapped() -> None:
    library = KernelLibrary(HOST)
    for _ in range(2):
        library.functions([kernel(8)])
    assert library.compiled == 1


def test_another_target_finds_none_of_this_ones_entries(tmp_path: Path) -> None:
    KernelLibrary(HOST, DiskCache(tmp_path / "k")).functions([kernel(1)])
    narrow = KernelLibrary(Target.named("haswell"), DiskCache(tmp_path / "k"))
    narrow.functions([kernel(1)])
    assert (narrow.compiled, narrow.hits) == (1, 0)


def test_threads_that_want_the_same_kernels_compile_them_once() -> None:
    library = KernelLibrary(HOST)
    found: list[list[int]] = []
    workers = [
        threading.Thread(target=lambda: found.append(library.functions([kernel(4), kernel(5)])))
        for _ in range(8)
    ]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert library.compiled == 2 and len(found) == 8 and all(f == found[0] for f in found)
