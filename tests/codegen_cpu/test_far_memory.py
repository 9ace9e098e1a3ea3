"""Code and its constants are mapped together, wherever a process has room left."""

from __future__ import annotations

import subprocess
import sys

# Leaves free single pages, and below 4 GB of what is taken more room: code of one page would go
# to the one and constants of three to the other, further apart than an instruction reaches.
SCRIPT = """
import ctypes
import mmap

from graphc.codegen_cpu.jit import compile_module, load_objects
from graphc.codegen_cpu.target import Target

library = ctypes.CDLL(None)
library.mmap.restype = ctypes.c_void_p
library.munmap.argtypes = ctypes.c_void_p, ctypes.c_size_t
PAGE = mmap.PAGESIZE
FLAGS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000  # MAP_NORESERVE

def take(pages):
    size = ctypes.c_size_t(pages * PAGE)
    return library.mmap(None, size, 0, FLAGS, -1, ctypes.c_long(0))

numbers = ", ".join(f"i64 {7 * k}" for k in range(1536))
code = compile_module(f'''
@table = internal constant [1536 x i64] [{numbers}]
define i64 @at(i64 %k) {{
  %place = getelementptr i64, ptr @table, i64 %k
  %found = load i64, ptr %place
  ret i64 %found
}}
''', Target.host())
row = take(400)
wall = take((4 << 30) // PAGE)
for pages in (256, 64, 16, 4, 2, 1):
    while take(pages) > wall:
        pass
for k in range(1, 400, 2):
    library.munmap(row + k * PAGE, PAGE)
loaded = load_objects([code], Target.host())
at = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(loaded.address("at"))
assert [at(k) for k in (0, 1, 1535)] == [0, 7, 7 * 1535]
"""


def test_code_is_loaded_where_only_pages_far_apart_are_free() -> None:
    """A process of its own, which LLVM would end."""
    subprocess.run([sys.executable, "-c", SCRIPT], check=True, timeout=120)
