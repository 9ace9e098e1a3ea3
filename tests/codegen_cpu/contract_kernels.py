"""Contract kernels with data: small multiples of 1/8, so every order of adding is exact."""

from __future__ import annotations

import ctypes
import dataclasses
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from graphc.codegen_cpu.contract import contraction
from graphc.codegen_cpu.emitter import Emitter
from graphc.codegen_cpu.jit import compile_module, load_objects
from graphc.codegen_cpu.target import Target
from graphc.ir.cpu_abi import CELL_BYTES, ROOM_BYTES
from graphc.ir.kernel import (
    Affine,
    Axis,
    Buffer,
    Definition,
    Dot,
    Guard,
    Kernel,
    Load,
    Phase,
    ScalarArg,
    Size,
    Statement,
    Store,
)
from graphc.ir.kernel_interpret import run_kernel
from graphc.ir.types import Array, DType, Scalar, bf16, f32, f64
from graphc.runtime.cpu.threads import aligned_cells

PAD = 64  # elements around each output that must stay as they were
Extents = Sequence[tuple[str, Size]]


def at(const: Size = 0, **strides: Size) -> Affine:
    return Affine(tuple((a, s) for a, s in strides.items() if s != 0), const)


@dataclass
class Case:
    """A kernel, the values of its sizes and scalars, and the lengths of its buffers."""

    kernel: Kernel
    lengths: dict[str, int]
    sizes: dict[str, int] = field(default_factory=dict)
    scalars: dict[str, Scalar] = field(default_factory=dict)

    def data(self, seed: int = 0) -> dict[str, Array]:
        rng = np.random.default_rng(seed)
        return {
            b.name: (rng.integers(-8, 9, self.lengths[b.name]) / 8).astype(b.dtype.numpy)
            for b in self.kernel.buffers
        }

    def expected(self) -> dict[str, Array]:
        data = self.data()
        run_kernel(self.kernel, data, self.sizes, self.scalars)
        return data


def contract(
    axes: Extents,
    reduced: Extents,
    a: Affine,
    b: Affine,
    out: Affine,
    *,
    dtypes: tuple[DType, DType, DType] = (f32, f32, f32),
    sizes: tuple[str, ...] = (),
    stage: tuple[Definition, ...] = (),
    operands: tuple[str, str] = ("%a", "%b"),
    epilogue: tuple[Statement, ...] = (),
    buffers: tuple[Buffer, ...] = (),
    scalars: tuple[ScalarArg, ...] = (),
) -> Kernel:
    """y[out] = epilogue(sum of a[a] * b[b]); without an epilogue, a plain store."""
    loads = (Load("%a", dtypes[0], "a", a), Load("%b", dtypes[1], "b", b))
    dot = Dot("%dot", f64 if f64 in dtypes[:2] else f32, *operands)
    inputs = (Buffer("a", dtypes[0], "r"), Buffer("b", dtypes[1], "r"))
    outputs = () if any(x.name == "y" for x in buffers) else (Buffer("y", dtypes[2], "w"),)
    finish = epilogue or (Store("y", "%dot", out),)
    return Kernel(
        "test", "contract", (*inputs, *buffers, *outputs), sizes, scalars,
        tuple(Axis(*x) for x in axes),
        (Phase(tuple(Axis(*x) for x in reduced), (*loads, *stage, dot)), Phase((), finish)),
    )  # fmt: skip


def matmul(m: int, n: int, k: int, layout: str = "nn", symbolic: bool = False) -> Case:
    """[m,k] @ [k,n]; layout "t" stores an operand transposed; a symbolic m is the size n0."""
    a = at(m=k, k=1) if layout[0] == "n" else at(m=1, k=m)
    b = at(k=n, n=1) if layout[1] == "n" else at(n=k, k=1)
    rows: Size = "n0" if symbolic else m
    sizes = ("n0",) if symbolic else ()
    kernel = contract([("m", rows), ("n", n)], [("k", k)], a, b, at(m=n, n=1), sizes=sizes)
    return Case(kernel, {"a": m * k, "b": k * n, "y": m * n}, {"n0": m} if symbolic else {})


def conv(n: int, h: int, c: int, oc: int, k: int = 3, s: int = 1, symbolic: bool = False) -> Case:
    """NHWC over a padded image of h x h, weights [k][k][c][oc]."""
    o = (h - k) // s + 1
    x = at(n=h * h * c, oy=s * h * c, ox=s * c, ky=h * c, kx=1)
    w = at(ky=k * c * oc, kx=oc, oc=1)
    y = at(n=o * o * oc, oy=o * oc, ox=oc, oc=1)
    batch: Size = "n0" if symbolic else n
    axes = [("n", batch), ("oy", o), ("ox", o), ("oc", oc)]
    sizes = ("n0",) if symbolic else ()
    kernel = contract(axes, [("ky", k), ("kx", k * c)], x, w, y, sizes=sizes)
    lengths = {"a": n * h * h * c, "b": k * k * c * oc, "y": n * o * o * oc}
    return Case(kernel, lengths, {"n0": n} if symbolic else {})


def bounded_conv(n: int, h: int, c: int, oc: int, k: int, pad: int) -> Case:
    """A convolution whose zeros above and below the image are not stored, as those beside it."""
    width, o = h + 2 * pad, h + 2 * pad - k + 1
    x = at(n=h * width * c, oy=width * c, ox=c, ky=width * c, kx=1, const=-pad * width * c)
    w = at(ky=k * c * oc, kx=oc, oc=1)
    y = at(n=o * o * oc, oy=o * oc, ox=oc, oc=1)
    axes = [("n", n), ("oy", o), ("ox", o), ("oc", oc)]
    kernel = contract(axes, [("ky", k), ("kx", k * c)], x, w, y)
    guards = (Guard(at(oy=1, ky=1, const=-pad), 0, h),)
    lengths = {"a": n * h * width * c, "b": k * k * c * oc, "y": n * o * o * oc}
    return Case(guarded(kernel, guards), lengths)


def guarded(kernel: Kernel, guards: tuple[Guard, ...]) -> Kernel:
    """The kernel whose first operand is 0 elsewhere."""
    first, *others = kernel.phases
    load = dataclasses.replace(first.body[0], guards=guards)
    first = dataclasses.replace(first, body=(load, *first.body[1:]))
    return dataclasses.replace(kernel, phases=(first, *others))


def flipped_conv(n: int, h: int, c: int, oc: int) -> Case:
    """A data gradient: the taps of the 3x3 weights run backwards."""
    case = conv(n, h, c, oc)
    w = at(const=8 * c * oc, ky=-3 * c * oc, kx=-c * oc, ic=oc, oc=1)
    x = at(n=h * h * c, oy=h * c, ox=c, ky=h * c, kx=c, ic=1)
    out = case.kernel.phases[1].body[0].at  # type: ignore[union-attr]
    axes = [(a.name, a.extent) for a in case.kernel.axes]
    kernel = contract(axes, [("ky", 3), ("kx", 3), ("ic", c)], x, w, out)
    return Case(kernel, case.lengths)


def weight_gradient(n: int, h: int, c: int, oc: int, symbolic: bool = False) -> Case:
    o = h - 2
    batch: Size = "n0" if symbolic else n
    kernel = contract(
        [("ky", 3), ("kx", 3 * c), ("oc", oc)],
        [("n", batch), ("oy", o), ("ox", o)],
        at(n=h * h * c, oy=h * c, ox=c, ky=h * c, kx=1),
        at(n=o * o * oc, oy=o * oc, ox=oc, oc=1),
        at(ky=3 * c * oc, kx=oc, oc=1),
        sizes=("n0",) if symbolic else (),
    )
    lengths = {"a": n * h * h * c, "b": n * o * o * oc, "y": 9 * c * oc}
    return Case(kernel, lengths, {"n0": n} if symbolic else {})


def depthwise(n: int, h: int, c: int) -> Case:
    o = h - 2
    kernel = contract(
        [("n", n), ("oy", o), ("ox", o), ("ch", c)],
        [("ky", 3), ("kx", 3)],
        at(n=h * h * c, oy=h * c, ox=c, ky=h * c, kx=c, ch=1),
        at(ky=3 * c, kx=c, ch=1),
        at(n=o * o * c, oy=o * c, ox=c, ch=1),
    )
    return Case(kernel, {"a": n * h * h * c, "b": 9 * c, "y": n * o * o * c})


def random_product(seed: int) -> Case:
    """A batched product of random extents, each operand in a random order of its axes."""
    r = random.Random(seed)
    extent = {a: r.choice((1, 2, 3, 5, 8, 16, 17, 20, 33)) for a in "pqmnkl"}

    def place(names: str) -> tuple[Affine, int]:
        order, stride, strides = r.sample(names, len(names)), 1, {}
        for axis in order:
            strides[axis] = stride
            stride *= extent[axis]
        return at(**strides), stride

    both = r.choice(("", "p", "q", "pq"))
    a, b, y = place(both + "mkl"), place(both + "nkl"), place(both + "mn")
    axes = sorted(both + "mn", key=lambda axis: -int(y[0].stride(axis)))
    kernel = contract(
        [(x, extent[x]) for x in axes], [(x, extent[x]) for x in "kl"], a[0], b[0], y[0]
    )
    return Case(kernel, {"a": a[1], "b": b[1], "y": y[1]})


def narrowed(case: Case) -> Case:
    """The same product of operands in bfloat16."""
    kernel = case.kernel
    first, *others = kernel.phases
    body = tuple(
        dataclasses.replace(s, dtype=bf16) if isinstance(s, Load) else s for s in first.body
    )
    buffers = tuple(
        dataclasses.replace(b, dtype=bf16) if b.name in "ab" else b for b in kernel.buffers
    )
    phases = (dataclasses.replace(first, body=body), *others)
    return dataclasses.replace(
        case, kernel=dataclasses.replace(kernel, buffers=buffers, phases=phases)
    )


Emit = Callable[[Kernel, Target], Emitter]


class Compiled:
    """A contract kernel's native code; `run` calls it as `threads` threads would."""

    def __init__(self, case: Case, target: Target, emit: Emit = contraction.emit) -> None:
        self.case = case
        e = emit(case.kernel, target)
        self.numbers = e.numbers
        code = compile_module(text_of(e, target), target)
        self.loaded = load_objects([code], target)
        kind = ctypes.CFUNCTYPE(
            None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p
        )
        self.room = aligned_cells(ROOM_BYTES // CELL_BYTES)
        self.function = kind(self.loaded.address("k"))

    def run(self, threads: int) -> dict[str, Array]:
        """The buffers afterwards. Fails if anything around one of them changed."""
        kernel, error = self.case.kernel, np.zeros(4, np.int64)
        held = {n: np.pad(x, PAD, constant_values=7) for n, x in self.case.data().items()}
        inside = {n: x[PAD:-PAD] for n, x in held.items()}
        cells = [error.ctypes.data, *(_memory(inside, b).ctypes.data for b in kernel.buffers)]
        cells += [self.case.sizes[s] for s in kernel.sizes]
        for s in kernel.scalars:
            raw = np.asarray(self.case.scalars[s.name], s.dtype.numpy).tobytes()
            cells.append(int.from_bytes(raw, "little"))
        cells += self.numbers
        cells += [_memory(inside, b).nbytes for b in kernel.buffers]  # for code that checks bounds
        block = np.array(cells, np.int64)
        for tid in range(threads):
            self.function(block.ctypes.data, tid, threads, self.room.ctypes.data)
        assert not error.any()
        for x in held.values():
            assert (x[:PAD] == 7).all() and (x[-PAD:] == 7).all()
        return inside


def _memory(arrays: dict[str, Array], buffer: Buffer) -> Array:
    """The array a buffer is bound to: an alias is the same memory."""
    return arrays[buffer.alias or buffer.name]


def module_text(kernel: Kernel, target: Target, emit: Emit = contraction.emit) -> str:
    return text_of(emit(kernel, target), target)


def text_of(e: Emitter, target: Target) -> str:
    declarations = "\n".join(sorted(e.declarations))
    return f'target triple = "{target.triple}"\n{declarations}\n{e.function("k")}\n'
