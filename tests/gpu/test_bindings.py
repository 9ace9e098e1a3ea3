"""The real driver's calls reach libcuda with the arguments that they are given.

A libcuda that only tells what it was called with (`libcuda.c`) takes the place of NVIDIA's, in a
process of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("cuda.bindings.driver")
COMPILER = shutil.which("cc")
HERE = Path(__file__).parent
pytestmark = pytest.mark.skipif(
    COMPILER is None or not sys.platform.startswith("linux"), reason="needs a C compiler"
)

SCRIPT = """
import ctypes
import threading
import numpy as np
from dataclasses import replace
from small_kernels import IMAGE
from graphc.errors import CudaError, OutOfMemory
from graphc.runtime.cuda import pack
from graphc.runtime.cuda.bindings import CudaDriver
from graphc.runtime.cuda.device import Device
from graphc.runtime.cuda.driver import FunctionAttribute, MapElement, PointerAttribute, Swizzle

d = CudaDriver()
d.Init()
gpu = Device(d)
s = gpu.stream
f = gpu.function(replace(IMAGE, cubin=b"\\x7fELF...", shared_bytes=100000))
packed = pack.pack(IMAGE.source, [0x7f0000000000, 0x7f0000001000, 5, 2.5], (0x10, 0x20))
d.LaunchKernel(f, (3, 2, 1), 128, 100000, s, packed.address)
block = gpu.allocate(1000)
d.MemcpyHtoDAsync(block.address, 0x4000, 32, s)
d.MemcpyDtoHAsync(0x4000, block.address, 32, s)
gpu.move(block.address, block.address + 64, 7)
for word in (b"\\1", b"\\1\\2", b"\\1\\2\\3\\4"):
    gpu.set(block.address, word, 3)
print(d.FuncGetAttribute(FunctionAttribute.NUM_REGS, f), d.MemGetInfo(), d.StreamQuery(s))
print(d.OccupancyMaxActiveBlocksPerMultiprocessor(f, 128, 9), gpu.properties.name, gpu.arch)
e = d.EventCreate(timing=True)
d.EventRecord(e, s)
d.StreamWaitEvent(s, e)
print(d.PointerGetAttribute(PointerAttribute.DEVICE_ORDINAL, block.address))
print(d.EventQuery(e), d.EventElapsedTime(e, e))
d.EventSynchronize(e)
d.EventDestroy(e)
d.StreamBeginCapture(s)
graph = d.StreamEndCapture(s)
executable = d.GraphInstantiate(graph)
d.GraphUpload(executable, s)
d.GraphLaunch(executable, s)
launch = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(d.GraphLauncher())
launch(executable, s)
copy = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_size_t] * 3, ctypes.c_void_p)(d.Copier())
print(copy(0x7f0000000000, 0x7f0000000040, 9, s))
d.GraphExecDestroy(executable)
d.GraphDestroy(graph)
room = (ctypes.c_char * 192)()
at = ctypes.addressof(room) + -ctypes.addressof(room) % 64
bf16 = MapElement.BFLOAT16
d.TensorMapEncodeTiled(at, bf16, 0x7f0000000000, (64, 32), (128,), (64, 16), Swizzle.BYTES_128)
print(ctypes.string_at(at, 128) == b"\\7" * 128)
d.MemFreeHost(d.MemHostAlloc(64))
for wrong in (
    lambda: d.LaunchKernel(f, (77, 1, 1), 32, 0, s, packed.address),
    lambda: d.TensorMapEncodeTiled(at + 16, bf16, 0, (64,), (), (64,)),
    lambda: gpu.allocate(1 << 40),
):
    try:
        wrong()
    except (CudaError, OutOfMemory) as error:
        print(type(error).__name__, error.what[:60], "|", error.reason)
for call in (
    lambda: gpu.set(block.address, b"\\5", 3),
    lambda: print(d.StreamQuery(s), d.EventQuery(0x61)),
):
    thread = threading.Thread(target=call)  # which has no context
    thread.start()
    thread.join()
gpu.synchronize()
d.StreamDestroy(s)
"""

TOLD = """\
CtxSetCurrent 0xc0
StreamCreateWithPriority 1 0
StreamCreateWithPriority 1 0
StreamCreateWithPriority 1 0
ModuleLoadData ELF.
ModuleGetFunction 0x30 axpy
FuncSetAttribute 0x40 8 100000
FuncGetAttribute 4 0x40
LaunchKernel 0x40 3 2 1 128 1 1 100000 0x51 1
with 0x7f0000000000 0x7f0000001000 5 2.5 0x10 0x20
MemAlloc 2097152
MemcpyHtoDAsync 0x7f0000000000 0x4000 32 0x51
MemcpyDtoHAsync 0x4000 0x7f0000000000 32 0x51
MemcpyDtoDAsync 0x7f0000000000 0x7f0000000040 7 0x51
MemsetD8Async 0x7f0000000000 1 3 0x51
MemsetD16Async 0x7f0000000000 513 3 0x51
MemsetD32Async 0x7f0000000000 67305985 3 0x51
FuncGetAttribute 4 0x40
7 (5, 9) False
Occupancy 0x40 128 9
3 Stub sm_90a
EventCreate 0
EventRecord 0x61 0x51
StreamWaitEvent 0x51 0x61 0
PointerGetAttribute 9 0x7f0000000000
1
EventElapsedTime 0x61 0x61
True 1.5
EventSynchronize 0x61
EventDestroy 0x61
StreamBeginCapture 0x51 1
StreamEndCapture 0x51
GraphInstantiate 0x71 0
GraphUpload 0x81 0x51
GraphLaunch 0x81 0x51
GraphLaunch 0x81 0x51
MemcpyDtoDAsync 0x7f0000000000 0x7f0000000040 9 0x51
0
GraphExecDestroy 0x81
GraphDestroy 0x71
TensorMapEncodeTiled 0 9 2 0x7f0000000000 64 32 128 64 16 1 1 0 3 2 0
True
MemHostAlloc 64 1
MemFreeHost 0x9000
LaunchKernel 0x40 77 1 1 32 1 1 0 0x51 1
with 0x7f0000000000 0x7f0000001000 5 2.5 0x10 0x20
CudaError cuLaunchKernel: CUDA_ERROR_ILLEGAL_ADDRESS in kernel axpy | explained
CudaError cuTensorMapEncodeTiled: CUDA_ERROR_INVALID_VALUE | the map must lie on 64 bytes
MemAlloc 1099511627776
CtxSynchronize
MemAlloc 1099511627776
DeviceOutOfMemory CUDA out of memory: 1099511.6 MB were asked for; 0.0 MB of 0 | \
the device's memory is in use, by this process or by others
CtxSetCurrent 0xc0
MemsetD8Async 0x7f0000000000 5 3 0x51
CtxSetCurrent 0xc0
False True
CtxSynchronize
StreamDestroy 0x51
"""


def test_every_call_arrives(tmp_path: Path) -> None:
    library = tmp_path / "libcuda.so.1"
    build = [str(COMPILER), "-shared", "-fPIC", "-w", "-o", str(library), "libcuda.c", "-ldl"]
    subprocess.run(build, cwd=HERE, check=True)
    environment = os.environ | {
        "LD_LIBRARY_PATH": str(tmp_path),
        "PYTHONPATH": os.pathsep.join([str(HERE.parent.parent), str(HERE)]),
    }
    done = subprocess.run(
        [sys.executable, "-u", "-c", SCRIPT], env=environment, capture_output=True, text=True
    )
    assert not done.returncode, done.stderr
    assert done.stdout == TOLD
