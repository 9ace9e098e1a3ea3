"""What graphc assumes of Triton's calling convention, tried on the device with kernels by hand.

Each case packs, launches and reads back by the runtime's own means, as a program does. What no
device has run yet comes first: recording in a stream of its own, with a mode that lets other
threads go on, and graphs that native code starts.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from gpu_work import FAKE

from graphc.codegen_gpu.library import GpuLibrary
from graphc.codegen_gpu.target import Target
from graphc.ir.cuda_abi import GridDim, Image, Param, Source
from graphc.runtime.cuda import device as devices
from graphc.runtime.cuda import pack
from graphc.runtime.disk_cache import DiskCache

Array = Any
HEAD = "import triton\nimport triton.language as tl\n\n\n@triton.jit\n"
WARP = 32


def pointer(name: str, dtype: str, index: int, align: int = 16) -> Param:
    return Param(name, "pointer", "buffer", index, dtype, align)


ARGUMENTS = Source(
    "arguments",
    HEAD
    + """\
def arguments(ints, floats, a, b, c, d, e):
    tl.store(ints, a.to(tl.int64))
    tl.store(ints + 1, b)
    tl.store(ints + 2, e.to(tl.int64))
    tl.store(floats, c.to(tl.float64))
    tl.store(floats + 1, d)
""",
    (
        pointer("ints", "i64", 0),
        pointer("floats", "f64", 1),
        Param("a", "i32", "scalar", 0),
        Param("b", "i64", "scalar", 1),
        Param("c", "f32", "scalar", 2),
        Param("d", "f64", "scalar", 3),
        Param("e", "i32", "scalar", 4),
    ),
    (),
    (GridDim((1,)),),
)
ADD_ONE = Source(
    "add_one",
    HEAD
    + """\
def add_one(x, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(x + i, tl.load(x + i, mask=i < n) + 1.0, mask=i < n)
""",
    (pointer("x", "f32", 0), Param("n", "i32", "size", 0)),
    (("BLOCK", 256),),
    (GridDim(("n",), 256),),
)
BF16 = Source(
    "halves",
    HEAD
    + """\
def halves(x, y, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + i, mask=i < n, other=0.0)
    tl.store(y + i, value.to(tl.bfloat16), mask=i < n)
""",
    (pointer("x", "f32", 0), pointer("y", "bf16", 1), Param("n", "i32", "size", 0)),
    (("BLOCK", 256),),
    (GridDim(("n",), 256),),
)
DOT = Source(
    "dot",
    HEAD
    + """\
def dot(a, b, c, N: tl.constexpr):
    i = tl.arange(0, N)
    place = i[:, None] * N + i
    left, right = tl.load(a + place), tl.load(b + place)
    tl.store(c + place, tl.dot(left, right, input_precision="ieee"))
""",
    (pointer("a", "f32", 0), pointer("b", "f32", 1), pointer("c", "f32", 2)),
    (("N", 32),),
    (GridDim((1,)),),
)

FOLDED = Source(  # a left operand that is folded out of a box, as Triton 3.6 gets it wrong
    "folded",
    HEAD
    + """\
def folded(a, b, c, n):
    left = tl.make_tensor_descriptor(a, [8, 8, 1024], [8192, 1024, 1], [8, 8, 64])
    right = tl.make_tensor_descriptor(b, [64, 1024], [1024, 1], [64, 64])
    acc = tl.zeros([64, 64], tl.float32)
    for t in range(0, n):
        x = tl.reshape(left.load([0, 0, t * 64]), [64, 64])
        acc = tl.dot(x, right.load([0, t * 64]).T, acc)
    i = tl.arange(0, 64)
    tl.store(c + i[:, None] * 64 + i[None, :], acc)
""",
    (
        pointer("a", "bf16", 0),
        pointer("b", "bf16", 1),
        pointer("c", "f32", 2),
        Param("n", "i32", "size", 0),
    ),
    (),
    (GridDim((1,)),),
    num_warps=4,
    num_stages=3,
)


def descriptor(shape: Sequence[int], block: Sequence[int], at: Sequence[int]) -> Source:
    """Copy the tile that begins at `at`, which may lie outside, through a descriptor made on the
    device: it needs scratch memory, and on sm_90 moves by TMA."""
    strides = [prod(shape[k + 1 :]) for k in range(len(shape))]
    dims = [f"{n}" for n in shape]
    name = f"tile{len(shape)}_{prod(block)}"
    text = HEAD + (
        f"def {name}(x, y, BLOCK: tl.constexpr):\n"
        f"    whole = tl.make_tensor_descriptor(x, shape=[{', '.join(dims)}],\n"
        f"        strides=[{', '.join(map(str, strides))}], block_shape={list(block)})\n"
        f"    tile = whole.load({list(at)})\n"
        f"    tl.store(y + tl.arange(0, BLOCK), tile.reshape([BLOCK]))\n"
    )
    params = (pointer("x", "f32", 0), pointer("y", "f32", 1))
    return Source(name, text, params, (("BLOCK", prod(block)),), (GridDim((1,)),))


class Bench:
    """Launches of single kernels on the current device."""

    def __init__(self) -> None:
        self.device = devices.current()
        self.driver = self.device.driver
        self.library = GpuLibrary(Target.named("sm_90a"), DiskCache())
        if not FAKE:
            self.library = GpuLibrary(Target(self.device.arch), DiskCache())
        self.held: list[Any] = []

    def image(self, source: Source) -> Image:
        return Image(source) if FAKE else self.library.images([source])[0]

    def upload(self, array: Array) -> int:
        found = self.device.allocate(max(1, array.nbytes))
        self.held.append(found)
        self.device.upload(found.address, array)
        return int(found.address)

    def download(self, address: int, like: Array) -> Array:
        made = np.empty_like(like)
        self.device.download(made, address)
        return made

    def ready(
        self, source: Source, buffers: Sequence[int], sizes: dict[str, int], scalars: Sequence[Any]
    ) -> Callable[[], None]:
        """A call that launches it once more."""
        image = self.image(source)
        grid = pack.grid(source, sizes)
        scratch = [
            self.upload(np.zeros(need * prod(grid), np.uint8)) if need else 0
            for need, _ in (image.global_scratch, image.profile_scratch)
        ]
        values = pack.bound(source, buffers, [*sizes.values()], scalars)
        packed = pack.pack(source, values, (scratch[0], scratch[1]))
        self.held.append(packed)
        function = self.device.function(image)
        shape = grid, WARP * source.num_warps, image.shared_bytes, self.device.stream
        return lambda: self.driver.LaunchKernel(function, *shape, packed.address)


# ---- cases -------------------------------------------------------------------------------------


def check_arguments(bench: Bench) -> None:
    """i32, i64, f32, f64 and an i32 behind an f64: offsets of the parameters."""
    ints, floats = np.zeros(3, np.int64), np.zeros(2)
    places = [bench.upload(ints), bench.upload(floats)]
    given = [-7, 1 << 40, 0.1, 1e300, 123]
    bench.ready(ARGUMENTS, places, {}, given)()
    assert bench.download(places[0], ints).tolist() == [-7, 1 << 40, 123]
    assert bench.download(places[1], floats).tolist() == [float(np.float32(0.1)), 1e300]


def check_rounding(bench: Bench) -> None:
    """f32 to bf16 rounds to nearest, ties to even."""
    import ml_dtypes

    x = np.random.default_rng(0).standard_normal(300).astype(np.float32)
    x[:4] = [1.00390625, 1.01171875, np.inf, -0.0]
    y = np.zeros(300, ml_dtypes.bfloat16)
    places = [bench.upload(x), bench.upload(y)]
    bench.ready(BF16, places, {"n": 300}, [])()
    found = bench.download(places[1], y)
    assert (found.view(np.uint16) == x.astype(ml_dtypes.bfloat16).view(np.uint16)).all()


def check_dot(bench: Bench) -> None:
    """A product of f32 keeps its bits: no TF32."""
    rng = np.random.default_rng(1)
    a, b = (rng.standard_normal((32, 32)).astype(np.float32) for _ in range(2))
    places = [bench.upload(m) for m in (a, b, np.zeros_like(a))]
    bench.ready(DOT, places, {}, [])()
    found = bench.download(places[2], a)
    wanted = a.astype(np.float64) @ b.astype(np.float64)
    assert np.abs(found - wanted).max() < 1e-5 * np.abs(wanted).max()


def check_tile(
    bench: Bench, shape: Sequence[int], block: Sequence[int], at: Sequence[int]
) -> dict[str, Any]:
    """What lies outside is zero, also below zero."""
    source = descriptor(shape, block, at)
    x = np.random.default_rng(2).standard_normal(shape).astype(np.float32)
    y = np.full(block, np.nan, np.float32)
    places = [bench.upload(x), bench.upload(y)]
    bench.ready(source, places, {}, [])()
    wanted = np.zeros(block, np.float32)
    for place in np.ndindex(*block):
        where = tuple(a + b for a, b in zip(place, at))
        if all(0 <= k < n for k, n in zip(where, shape)):
            wanted[place] = x[where]
    assert (bench.download(places[1], y) == wanted).all()
    return {"global_scratch": bench.image(source).global_scratch[0]}


def check_folded(bench: Bench) -> dict[str, Any]:
    """The same bits each time; and whether this Triton's first code for it would write registers
    that a product still reads (`codegen_gpu/hazards.py`), so that its loop has no pipeline."""
    import ml_dtypes

    rng = np.random.default_rng(3)
    trips, runs = (2, 2) if FAKE else (16, 200)
    a, b = (rng.standard_normal((64, 1024)).astype(ml_dtypes.bfloat16) for _ in range(2))
    places = [bench.upload(m) for m in (a, b, np.zeros((64, 64), np.float32))]
    launch = bench.ready(FOLDED, places, {"n": trips}, [])
    left, right = (m[:, : 64 * trips].astype(np.float64) for m in (a, b))
    wanted = left @ right.T
    found = []
    for _ in range(runs):
        launch()
        found.append(bench.download(places[2], np.zeros((64, 64), np.float32)))
    assert np.abs(found[0] - wanted).max() < 1e-3 * np.abs(wanted).max()
    assert all((c == found[0]).all() for c in found)
    first, plain = (_code(bench.image(s)) for s in (FOLDED, replace(FOLDED, num_stages=1)))
    return {"hazard_found": first == plain if first else None}


def _code(image: Image) -> list[str]:
    """The instructions, without what tells of the text's file."""
    lines = (line.strip() for line in image.ptx.splitlines())
    return [x for x in lines if x and not x.startswith((".", "//"))]


def check_replay(bench: Bench, replays: int = 3) -> None:
    """Two launches, recorded once: each replay adds two; the recording itself runs nothing."""
    x = np.arange(300, dtype=np.float32)
    place = bench.upload(x)
    launch = bench.ready(ADD_ONE, [place], {"n": 300}, [])
    driver, stream = bench.driver, bench.device.stream
    launch()  # loads the code, which a capture may not
    driver.StreamBeginCapture(stream)
    launch()
    launch()
    graph = driver.StreamEndCapture(stream)
    executable = driver.GraphInstantiate(graph)
    for _ in range(replays):
        driver.GraphLaunch(executable, stream)
    assert (bench.download(place, x) == x + 1 + 2 * replays).all()
    driver.GraphExecDestroy(executable)
    driver.GraphDestroy(graph)


def check_own_capture(bench: Bench, records: int = 6) -> None:
    """What is recorded, in a stream of its own, while other threads allocate, compute and wait;
    FakeDriver's memory is for one thread."""
    import graphc

    weight = graphc.ones(64, 64, device="cuda")
    step = graphc.compile(lambda x: ((x @ weight).relu() @ weight).sum())
    busy, failed = threading.Event(), []

    def others() -> None:
        try:
            for n in itertools.count(1):
                assert graphc.ones(64 * n, device="cuda").add(1).sum().item() == 128 * n
                if busy.is_set():
                    return
        except Exception as e:
            failed.append(e)

    thread = threading.Thread(target=others)
    if not FAKE:
        thread.start()
    held = [graphc.ones(8, 64, device="cuda") for _ in range(records)]
    found = [step(x).item() for x in held]  # each at other addresses
    busy.set()
    if not FAKE:
        thread.join()
    assert not failed and found == [8 * 64 * 64 * 64.0] * records, (failed, found)


def check_started_again(bench: Bench, calls: int = 200) -> dict[str, Any]:
    """Calls by native code: right, told of a failed check, and how long each takes the host."""
    import graphc

    table, count = graphc.ones(5, 3, device="cuda"), graphc.zeros(1, device="cuda")
    step: Any = graphc.compile(lambda k: (count.add_(1) * table[k]).sum())
    at = graphc.tensor([1, 2], device="cuda")
    for _ in range(20):
        step(at)
    before = count.item()
    start = time.perf_counter()
    for _ in range(calls):
        out = step(at)
    call_us = (time.perf_counter() - start) * 1e6 / calls
    assert count.item() == before + calls and out.item() == 6 * (before + calls)
    latched = step._latch is not None
    at.copy_(graphc.tensor([1, 9], device="cuda"))
    try:
        step(at).item()
    except IndexError:
        assert count.item() == before + calls
        return {"call_us": call_us, "latched": latched}
    raise AssertionError("an index out of range is not told")


def check_inputs_ahead(bench: Bench, batches: int = 8) -> dict[str, Any]:
    """Pinned batches, each copied while the step before it may run: none is read too soon or
    overwritten; and what a batch takes so, to what its copy and its step take one by one."""
    import graphc

    rows, width = (4, 8) if FAKE else (1 << 14, 1 << 10)  # 64 MiB
    weight = graphc.eye(width, device="cuda")
    step: Any = graphc.compile(lambda x: (x @ weight @ weight @ weight).sum(1).amax())
    given = [graphc.full((rows, width), float(k)).pin_memory() for k in range(batches)]

    def timed(wait: bool) -> float:
        start = time.perf_counter()
        found = []
        for x in given:
            found.append(step(x.to("cuda", non_blocking=True)))
            if wait:
                graphc.cuda.synchronize()
        assert [x.item() for x in found] == [float(k * width) for k in range(batches)]
        return (time.perf_counter() - start) * 1e3 / batches

    timed(wait=True)
    return {"apart_ms": timed(wait=True), "ahead_ms": timed(wait=False)}


TILES: dict[str, tuple[Sequence[int], Sequence[int], Sequence[int]]] = {
    "rank 2": ((12, 16), (8, 16), (-3, 4)),
    "rank 4": ((2, 5, 6, 8), (1, 4, 4, 8), (1, -1, 3, 0)),
    "rank 5": ((2, 4, 2, 4, 8), (1, 2, 1, 4, 8), (1, -1, 1, -1, 0)),
    "one row a box": ((16, 2, 2, 16), (16, 1, 1, 16), (3, 1, 0, 0)),
}
CASES: dict[str, Callable[[Bench], Any]] = {
    "capture beside others": check_own_capture,
    "started again": check_started_again,
    "inputs ahead": check_inputs_ahead,
    "arguments": check_arguments,
    "bf16 rounding": check_rounding,
    "f32 dot": check_dot,
    "capture and replay": check_replay,
    "registers that products read": check_folded,
    **{
        f"descriptor of {name}": lambda b, tile=tile: check_tile(b, *tile)
        for name, tile in TILES.items()
    },
}


def all_sources() -> list[Source]:
    own = [ARGUMENTS, ADD_ONE, BF16, DOT, FOLDED, replace(FOLDED, num_stages=1)]
    return [*own, *(descriptor(*tile) for tile in TILES.values())]


def run(record: Callable[[dict[str, Any]], None]) -> None:
    """Each case in turn; what fails is noted, and the next runs."""
    bench = Bench()
    for name, case in CASES.items():
        try:
            facts = case(bench) or {}
            record({"case": name, "ok": True, **facts})
        except Exception as e:
            record({"case": name, "ok": False, "error": f"{type(e).__name__}: {e}"[:2000]})
