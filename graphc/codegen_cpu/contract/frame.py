"""A kernel function's arguments as SSA values, and i64 arithmetic on them.

An `Int` is a Python int where the extent or stride is a literal, else the name of an i64 value:
what is known folds here, so addresses reach LLVM with immediates. `lanes_at` and `store_lanes` are
the only places that know how an element type lies in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from graphc.codegen_cpu.emitter import Emitter, Vec, literal
from graphc.codegen_cpu.masked import gather, masked_load, masked_store, scatter
from graphc.codegen_cpu.scalar import from_memory, in_memory, register, to_memory
from graphc.ir.kernel import Affine, Kernel, Size
from graphc.ir.types import DType

Int = int | str
I64 = Vec("i64")
POINTER = Vec("ptr")


class Frame:
    """The argument block of `kernel`, read once at the entry of its function."""

    def __init__(self, e: Emitter, kernel: Kernel) -> None:
        self.e = e
        self.dtypes = {b.name: b.dtype for b in kernel.buffers}
        written = {b.alias for b in kernel.buffers if b.access != "r"}
        self.readonly = {b.name for b in kernel.buffers if b.access == "r"} - written
        self.buffers: dict[str, str] = {}
        self.sizes: dict[str, str] = {}
        self.scalars: dict[str, tuple[DType, str]] = {}
        at = 1  # cell 0 points to the error cell
        for buffer in kernel.buffers:
            self.buffers[buffer.name] = e.value(f"load ptr, ptr {self._cell(at)}")
            at += 1
        for size in kernel.sizes:
            self.sizes[size] = e.value(f"load i64, ptr {self._cell(at)}")
            at += 1
        for scalar in kernel.scalars:
            self.scalars[scalar.name] = scalar.dtype, self._scalar(scalar.dtype, at)
            at += 1

    def _cell(self, at: int) -> str:
        return self.e.value(f"getelementptr i64, ptr %args, i64 {at}")

    def _scalar(self, dtype: DType, at: int) -> str:
        """A cell holds the scalar's bits in its low bytes."""
        raw = self.e.value(f"load {in_memory(dtype, 1)}, ptr {self._cell(at)}")
        return from_memory(self.e, dtype, 1, raw)

    def scratch(self, count: int, t: Vec) -> str:
        """Room for `count` elements on the stack, aligned to a cache line; entry block only."""
        return self.e.value(f"alloca {t.element}, i64 {count}, align 64")

    # ---- i64 arithmetic --------------------------------------------------------------------

    def size(self, size: Size) -> Int:
        return self.sizes[size] if isinstance(size, str) else size

    def add(self, x: Int, y: Int) -> Int:
        if isinstance(x, int) and isinstance(y, int):
            return x + y
        if x == 0:
            return y
        return x if y == 0 else self.e.value(f"add i64 {x}, {y}")

    def sub(self, x: Int, y: Int) -> Int:
        if isinstance(x, int) and isinstance(y, int):
            return x - y
        return x if y == 0 else self.e.value(f"sub i64 {x}, {y}")

    def mul(self, x: Int, y: Int) -> Int:
        if isinstance(x, int) and isinstance(y, int):
            return x * y
        if x == 0 or y == 0:
            return 0
        if x == 1:
            return y
        return x if y == 1 else self.e.value(f"mul i64 {x}, {y}")

    def product(self, factors: Iterable[Int]) -> Int:
        result: Int = 1
        for factor in factors:
            result = self.mul(result, factor)
        return result

    def div(self, x: Int, y: int | str) -> Int:
        """x // y of non-negative x and positive y."""
        if isinstance(x, int) and isinstance(y, int):
            return x // y
        return x if y == 1 else self.e.value(f"udiv i64 {x}, {y}")

    def rem(self, x: Int, y: Int) -> Int:
        if isinstance(x, int) and isinstance(y, int):
            return x % y
        return 0 if y == 1 else self.e.value(f"urem i64 {x}, {y}")

    def ceil_div(self, x: Int, y: int) -> Int:
        return self.div(self.add(x, y - 1), y)

    def least(self, x: Int, y: Int) -> Int:
        if isinstance(x, int) and isinstance(y, int):
            return min(x, y)
        return x if x == y else self.e.call("llvm.smin.i64", I64, (I64, str(x)), (I64, str(y)))

    def most(self, x: Int, y: Int) -> Int:
        if isinstance(x, int) and isinstance(y, int):
            return max(x, y)
        return x if x == y else self.e.call("llvm.smax.i64", I64, (I64, str(x)), (I64, str(y)))

    def less(self, x: Int, y: Int) -> str:
        """The i1 x < y."""
        return self.e.value(f"icmp slt i64 {x}, {y}")

    # ---- addresses and memory --------------------------------------------------------------

    def offset(self, at: Affine, index: Mapping[str, Int], const: bool = True) -> Int:
        """The offset in elements at `index`; axes that it lacks count as zero."""
        total: Int = self.size(at.const) if const else 0
        for axis, stride in at.terms:
            if axis in index:
                total = self.add(total, self.mul(self.size(stride), index[axis]))
        return total

    def pointer(self, base: str, offset: Int, dtype: DType) -> str:
        if offset == 0:
            return base
        return self.e.value(f"getelementptr i{8 * dtype.itemsize}, ptr {base}, i64 {offset}")

    def iota(self, lanes: int) -> str:
        return f"<{', '.join(f'i64 {k}' for k in range(lanes))}>" if lanes > 1 else "0"

    def lanes_at(
        self, pointer: str, stride: Int, dtype: DType, lanes: int, mask: str | None = None
    ) -> str:
        """Register values of `lanes` elements in steps of `stride`; where masked off, zero."""
        if stride == 0 and lanes > 1:
            one = self.lanes_at(pointer, 1, dtype, 1)
            return self.e.splat(one, register(dtype, lanes))
        stored = in_memory(dtype, lanes)
        if stride != 1 and lanes > 1:
            raw = self._gather(pointer, stride, dtype, stored, mask)
        elif mask is None:
            raw = self.e.value(f"load {stored}, ptr {pointer}, align {dtype.itemsize}")
        else:
            raw = self._masked_load(pointer, stored, mask)
        return from_memory(self.e, dtype, lanes, raw)

    def _masked_load(self, pointer: str, t: Vec, mask: str) -> str:
        if t.lanes == 1:
            return self._guarded_load(pointer, t, mask)
        return masked_load(self.e, t, pointer, mask)

    def _guarded_load(self, pointer: str, t: Vec, mask: str) -> str:
        """One scalar where `mask` holds, else zero, by a branch."""
        before, inside, done = self.e.label, self.e.fresh("load"), self.e.fresh("loaded")
        self.e.do(f"br i1 {mask}, label %{inside}, label %{done}")
        self.e.block(inside)
        value = self.e.value(f"load {t}, ptr {pointer}")
        self.e.do(f"br label %{done}")
        self.e.block(done)
        return self.e.value(f"phi {t} [ {value}, %{inside} ], [ {_zero(t)}, %{before} ]")

    def _gather(self, pointer: str, stride: Int, dtype: DType, t: Vec, mask: str | None) -> str:
        pointers = self._spread(pointer, stride, dtype, t.lanes)
        return gather(self.e, t, pointers, mask or "")

    def _spread(self, pointer: str, stride: Int, dtype: DType, lanes: int) -> str:
        wide = Vec("i64", lanes)
        steps = self.e.value(f"mul {wide} {self.iota(lanes)}, {self.splat(stride, lanes)}")
        element = f"i{8 * dtype.itemsize}"
        return self.e.value(f"getelementptr {element}, ptr {pointer}, {wide} {steps}")

    def splat(self, x: Int, lanes: int) -> str:
        """An integer in every lane of an i64 vector."""
        t = Vec("i64", lanes)
        return literal(x, t) if isinstance(x, int) else self.e.splat(x, t)

    def store_lanes(
        self, pointer: str, stride: Int, dtype: DType, lanes: int, value: str, mask: str | None
    ) -> None:
        """Store register values in steps of `stride`, where `mask` holds."""
        t, value = in_memory(dtype, lanes), to_memory(self.e, dtype, lanes, value)
        if lanes == 1 or (stride == 1 and mask is None):
            self._store(pointer, t, dtype, value, mask)
            return
        if stride == 1:
            masked_store(self.e, t, pointer, value, mask or "")
            return
        pointers = self._spread(pointer, stride, dtype, lanes)
        scatter(self.e, t, pointers, value, mask or "")

    def _store(self, pointer: str, t: Vec, dtype: DType, value: str, mask: str | None) -> None:
        if mask is None:
            self.e.do(f"store {t} {value}, ptr {pointer}, align {dtype.itemsize}")
            return
        inside, done = self.e.fresh("store"), self.e.fresh("stored")
        self.e.do(f"br i1 {mask}, label %{inside}, label %{done}")
        self.e.block(inside)
        self.e.do(f"store {t} {value}, ptr {pointer}, align {dtype.itemsize}")
        self.e.do(f"br label %{done}")
        self.e.block(done)


def _zero(t: Vec) -> str:
    return "zeroinitializer" if t.lanes > 1 else literal(0, t)
