"""Objects as images: linked once, they run wherever they are copied to, without LLVM."""

from __future__ import annotations

import ctypes

import pytest

from graphc.codegen_cpu.elf import image_of, sections_of, undefined_symbols, unpacked
from graphc.codegen_cpu.jit import compile_module, load_objects
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


def named(text: str, k: int) -> str:
    """The functions under names of their own."""
    return text.replace("@one", f"@n{k}_one").replace("@two", f"@n{k}_two")


@pytest.mark.parametrize("count", [1, 3])
def test_loaded_code_runs(count: int) -> None:
    """As an image or by LLVM's engine, whichever this machine's objects allow."""
    objects = [compile_module(named(TABLE, k), HOST) for k in range(count)]
    for k, code in enumerate(objects):
        image = image_of(code)
        if image is not None:
            objects[k] = image.packed()
    loaded = load_objects(objects, HOST)
    kind = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64)
    for k in range(count):
        filled = ctypes.create_string_buffer(9)
        two = kind(loaded.address(f"n{k}_two"))
        assert [two(i, ctypes.addressof(filled), 8) for i in range(3)] == [105, 107, 111]
        assert filled.raw == b"\3" * 8 + b"\0"
