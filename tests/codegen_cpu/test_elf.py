"""Objects as images: linked once, they run wherever they are copied to, without LLVM."""

from __future__ import annotations

import ctypes
import struct

import pytest

from graphc.codegen_cpu import jit
from graphc.codegen_cpu.elf import (
    PLT32,
    RELA,
    image_of,
    sections_of,
    undefined_symbols,
    unpacked,
)
from graphc.codegen_cpu.jit import compile_module, load_objects, processor_of
from graphc.codegen_cpu.llvm import object_code
from graphc.codegen_cpu.target import Target

INTEL = Target.named("haswell")
HOST = Target.host()

TABLE = """
@table = internal constant [3 x i64] [i64 5, i64 7, i64 11]
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
define i64 @one(i64 %k, ptr %to, i64 %size) nounwind {
  call void @llvm.memset.p0.i64(ptr %to, i8 3, i64 %size, i1 false)
  %place = getelementptr i64, ptr @table, i64 %k
  %found = load i64, ptr %place
  ret i64 %found
}
define i64 @two(i64 %k, ptr %to, i64 %size) nounwind noinline {
  %a = call i64 @one(i64 %k, ptr %to, i64 %size)
  %b = add i64 %a, 100
  ret i64 %b
}
"""


def test_an_image_holds_functions_constants_and_calls_of_the_library() -> None:
    image = image_of(compile_module(TABLE, INTEL))
    assert image is not None
    assert set(image.functions) == {"one", "two"} and set(image.calls) == {"memset"}
    assert (5).to_bytes(8, "little") in image.code
    assert unpacked(image.packed()) == image


def test_what_has_no_image_stays_an_object() -> None:
    other = compile_module(TABLE, Target.named("neoverse-n1"))
    assert image_of(other) is None and set(undefined_symbols(other)) == {"memset"}
    written = "@cell = global i64 3\ndefine ptr @at() { ret ptr @cell }"
    assert image_of(compile_module(written, INTEL)) is None
    assert image_of(b"MZ" + bytes(100)) is None and sections_of(b"MZ" + bytes(100)) == []
    assert unpacked(other) is None


OTHERS = [
    "@o = global i64 3\ndefine ptr @f() { ret ptr @o }",  # written
    "@o = internal global [9 x i64] zeroinitializer\ndefine ptr @f() { ret ptr @o }",  # .bss
    "@o = internal thread_local global i64 3\ndefine ptr @f() { ret ptr @o }",
    "@o = internal constant i64 3, align 128\ndefine ptr @f() { ret ptr @o }",
    "@o = external global i64\ndefine ptr @f() { ret ptr @o }",  # by way of the GOT
    "@o = internal constant ptr @f\ndefine ptr @f() { ret ptr @o }",  # holds an address
    "declare void @absent()\ndefine void @f() { call void @absent() ret void }",
]


@pytest.mark.parametrize("text", OTHERS)
def test_what_takes_a_linker_that_knows_more_has_no_image(text: str) -> None:
    assert image_of(object_code(text, processor_of(INTEL))) is None


@pytest.mark.parametrize("kind", [k for k in range(1, 43) if k not in (2, PLT32)])
def test_no_other_relocation_is_taken_for_a_distance(kind: int) -> None:
    code = bytearray(compile_module(TABLE, INTEL))
    assert image_of(bytes(code)) is not None
    table = next(s for s in sections_of(bytes(code)) if s.type == RELA and s.size)
    struct.pack_into("<I", code, table.offset + 8, kind)
    assert image_of(bytes(code)) is None


def named(text: str, k: int) -> str:
    """The functions under names of their own."""
    return text.replace("@one", f"@n{k}_one").replace("@two", f"@n{k}_two")


@pytest.mark.parametrize(("count", "images"), [(1, 1), (3, 3), (3, 0), (4, 2)])
def test_loaded_code_runs(count: int, images: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As images where this machine's objects have such, by LLVM's engine, or some in either way."""
    objects = [compile_module(named(TABLE, k), HOST) for k in range(count)]
    for k, code in enumerate(objects[:images]):
        image = image_of(code)
        if image is not None:
            objects[k] = image.packed()
    monkeypatch.setattr(jit, "image_of", lambda code: None)
    loaded = load_objects(objects, HOST)
    kind = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64)
    for k in range(count):
        filled = ctypes.create_string_buffer(9)
        two = kind(loaded.address(f"n{k}_two"))
        assert [two(i, ctypes.addressof(filled), 8) for i in range(3)] == [105, 107, 111]
        assert filled.raw == b"\3" * 8 + b"\0"
