"""Random kernels with data: sums of small multiples of 1/8, so every order of adding is exact."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import count

import numpy as np

from graphc.ir.kernel import (
    Affine,
    Apply,
    Axis,
    Buffer,
    Const,
    Definition,
    Guard,
    Index,
    Indirect,
    Inside,
    Kernel,
    Load,
    Phase,
    Reduce,
    ScalarArg,
    Size,
    Statement,
    Store,
)
from graphc.ir.types import Array, DType, Scalar, bf16, bool_, f16, f32, f64, i8, i32, i64, u8

EXTENTS = (0, 1, 2, 3, 7, 15, 16, 17, 33, 64)
DTYPES = (f32, f32, f32, f32, f64, f16, bf16, i32, i64, u8, i8, bool_)
GRID = 60_000  # points of a kernel's loops
BINARY = ("add", "sub", "mul", "maximum", "minimum")
UNARY = ("neg", "abs", "relu", "sign")


@dataclass
class Case:
    """A kernel and what to call it with."""

    kernel: Kernel
    buffers: dict[str, Array]
    sizes: dict[str, int]
    scalars: dict[str, Scalar]

    def outputs(self) -> list[str]:
        return [b.name for b in self.kernel.buffers if b.access != "r"]


class Maker:
    """Draws one case; everything comes from `seed`."""

    def __init__(self, seed: int) -> None:
        self.r = random.Random(seed)
        self.numpy = np.random.default_rng(seed)
        self.names = count()
        self.sizes: dict[str, int] = {}
        self.buffers: list[Buffer] = []
        self.data: dict[str, Array] = {}
        self.values: dict[str, DType] = {}
        self.outer: dict[str, DType] = {}

    def case(self) -> Case:
        r = self.r
        axes = self.axes("i", r.choice((0, 1, 1, 2, 2, 3)), 4000)
        scalars = (ScalarArg("c0", r.choice((f32, f64, i64))),)
        self.values["c0"] = scalars[0].dtype
        phases = [self.phase(axes, p) for p in range(r.choice((1, 1, 2, 3)))]
        kernel = Kernel(
            "random", "map", tuple(self.buffers), tuple(self.sizes), scalars, axes, tuple(phases)
        )
        return Case(kernel, self.data, self.sizes, {"c0": 2})

    def size(self, n: int) -> Size:
        """`n` as a literal, or as a new argument."""
        if self.r.random() < 0.6:
            return n
        name = f"n{len(self.sizes)}"
        self.sizes[name] = n
        return name

    def number(self, size: Size) -> int:
        return size if isinstance(size, int) else self.sizes[size]

    def axes(self, letter: str, rank: int, most: int) -> tuple[Axis, ...]:
        extents: list[int] = []
        for _ in range(rank):
            n = self.r.choice(EXTENTS[1:] if self.r.random() < 0.9 else EXTENTS)
            extents.append(n if n * int(np.prod(extents)) <= most else 2)
        if letter == "i" and self.r.random() < 0.2 and extents:
            extents[-1] = self.r.choice((100, 300, 513))
        return tuple(Axis(f"{letter}{k}", self.size(n)) for k, n in enumerate(extents))

    def phase(self, axes: tuple[Axis, ...], p: int) -> Phase:
        r = self.r
        points = int(np.prod([self.number(a.extent) for a in axes]))
        inner = self.axes(f"r{p}_", r.choice((0, 1, 1, 2)), min(600, GRID // max(points, 1)))
        if inner and points < 20 and r.random() < 0.2:
            inner = (Axis(inner[0].name, self.size(3000)),)
        scope = (*axes, *inner)
        outer = dict(self.values)
        body: list[Statement] = [self.load(scope) for _ in range(r.choice((1, 1, 2, 3)))]
        if r.random() < 0.3:
            body.append(self.other(scope))
        for _ in range(r.choice((0, 1, 2, 4))):
            body.append(self.apply(list(self.values)))
        body = [s for s in body if s is not None]
        names = [s.name for s in body]
        if inner and r.random() < 0.8:
            for _ in range(r.choice((1, 1, 2))):
                body.append(self.reduce(r.choice(names)))
        else:
            body += [self.store(scope, r.choice(names)) for _ in range(r.choice((1, 1, 2)))]
        if inner:
            folds = {s.name: s.dtype for s in body if isinstance(s, Reduce)}
            self.values = outer | folds
        return Phase(inner, tuple(body))

    def name(self, dtype: DType) -> str:
        name = f"%{next(self.names)}"
        self.values[name] = dtype
        return name

    # ---- memory --------------------------------------------------------------------------------

    def array(self, dtype: DType, n: int) -> Array:
        if dtype is bool_:
            return self.numpy.integers(0, 2, n).astype(bool)
        low = 0 if dtype is u8 else -2
        x = self.numpy.integers(low, 3, n).astype(np.float64)
        if dtype.is_floating_point and self.r.random() < 0.3:
            x = x / 8
        if dtype.is_floating_point and self.r.random() < 0.1 and n:
            x[self.numpy.integers(0, n, 1 + n // 50)] = np.nan
        return x.astype(dtype.numpy)

    def strides(self, scope: tuple[Axis, ...], every: bool) -> list[tuple[str, int]]:
        """Row-major strides of a random order of the axes; some missing unless `every`."""
        order = list(scope)
        if self.r.random() < 0.4:
            self.r.shuffle(order)
        if not every:
            order = [a for a in order if self.r.random() < 0.8]
        stride, rows = self.r.choice((1, 1, 1, 1, 2)), []
        for axis in reversed(order):
            flip = -1 if not every and self.r.random() < 0.1 else 1
            rows.append((axis.name, stride * flip))
            stride *= max(self.number(axis.extent), 1) + self.r.choice((0, 0, 0, 1))
        return rows

    def place(self, scope: tuple[Axis, ...], every: bool) -> tuple[Affine, int]:
        """An address form and the number of elements that it spans."""
        rows = self.strides(scope, every)
        extent = {a.name: max(self.number(a.extent), 1) for a in scope}
        low = sum(min(s, 0) * (extent[a] - 1) for a, s in rows)
        high = sum(max(s, 0) * (extent[a] - 1) for a, s in rows)
        pad = self.r.choice((0, 0, 0, 3))
        terms = [(a, self.stride(s)) for a, s in rows if s]
        names = [a.name for a in scope]
        terms.sort(key=lambda term: names.index(term[0]))
        return Affine(tuple(terms), self.stride(pad - low)), high - low + 1 + pad

    def stride(self, s: int) -> Size:
        return s if s in (0, 1, -1) or self.r.random() < 0.8 else self.size(s)

    def guards(self, scope: tuple[Axis, ...]) -> tuple[Guard, ...]:
        if not scope or self.r.random() < 0.75:
            return ()
        axis = self.r.choice(scope)
        n = self.number(axis.extent)
        at = Affine(((axis.name, 1),), self.r.choice((0, -1)))
        return (Guard(at, self.size(self.r.randint(0, 2)), self.size(self.r.randint(1, n + 1))),)

    def load(self, scope: tuple[Axis, ...]) -> Load:
        dtype = self.r.choice(DTYPES)
        at, n = self.place(scope, every=False)
        indirect: tuple[Indirect, ...] = ()
        whole = [v for v, d in self.values.items() if d is i64 and v.startswith("%k")]
        if whole and self.r.random() < 0.5:
            indirect = (Indirect(self.r.choice(whole), self.stride(3)),)
            n += 3 * 5
        buffer = self.buffer(dtype, n, "r")
        return Load(self.name(dtype), dtype, buffer, at, self.guards(scope), indirect)

    def buffer(self, dtype: DType, n: int, access: str) -> str:
        name = f"{'x' if access == 'r' else 'y'}{len(self.buffers)}"
        self.buffers.append(Buffer(name, dtype, access))  # type: ignore[arg-type]
        self.data[name] = self.array(dtype, n)
        return name

    def store(self, scope: tuple[Axis, ...], value: str) -> Store:
        at, n = self.place(scope, every=True)
        return Store(self.buffer(self.values[value], n, "w"), value, at, self.guards(scope))

    # ---- values --------------------------------------------------------------------------------

    def other(self, scope: tuple[Axis, ...]) -> Definition:
        """An Index, Inside, Const, or an index loaded for a gather."""
        kind = self.r.randrange(4)
        if kind == 0:
            return Index(self.name(i64), i64, self.place(scope, every=False)[0])
        if kind == 1:
            return Inside(self.name(bool_), bool_, self.guards(scope))
        if kind == 2:
            return Const(self.name(f32), f32, self.r.choice((0.0, 1.0, -1.0)))
        at, n = self.place(scope, every=False)
        buffer = self.buffer(i64, n, "r")
        self.data[buffer] = np.abs(self.data[buffer])
        name = f"%k{next(self.names)}"
        self.values[name] = i64
        return Load(name, i64, buffer, at)

    def apply(self, names: list[str]) -> Apply | None:
        r = self.r
        a = r.choice(names)
        dtype = self.values[a]
        alike = [n for n in names if self.values[n] is dtype]
        kind = r.randrange(5)
        if kind == 0 and dtype is not bool_:
            op = r.choice(UNARY)
            return Apply(self.name(dtype), dtype, op, (a,))
        if kind == 1:
            to = r.choice((f32, f64, f16) if dtype.is_floating_point else (f32, f64, i64))
            return Apply(self.name(to), to, "cast", (a,))
        if kind == 2:
            op = r.choice(("lt", "le", "eq", "ne"))
            return Apply(self.name(bool_), bool_, op, (a, r.choice(alike)))
        if kind == 3:
            masks = [n for n in names if self.values[n] is bool_]
            if masks:
                chosen = (r.choice(masks), a, r.choice(alike))
                return Apply(self.name(dtype), dtype, "where", chosen)
        op = r.choice(BINARY)
        return Apply(self.name(dtype), dtype, op, (a, r.choice(alike)))

    def reduce(self, arg: str) -> Reduce:
        dtype = self.values[arg]
        op = self.r.choice(
            ("sum", "sum", "sum", "max", "min", "argmax", "argmin", "argmax_last_nan")
        )
        result = i64 if op.startswith("arg") else dtype
        return Reduce(self.name(result), result, op, arg)


def cases(first: int, number: int) -> list[Case]:
    return [Maker(seed).case() for seed in range(first, first + number)]


def describe(case: Case) -> str:
    from graphc.ir.kernel_text import show

    return f"{show(case.kernel)}\n{case.sizes}"
