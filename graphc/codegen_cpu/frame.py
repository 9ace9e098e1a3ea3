"""The frame of a kernel's function: its arguments as SSA values, addresses, scratch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from graphc.codegen_cpu.emitter import Emitter, Vec
from graphc.codegen_cpu.integers import Int, Integers, parts
from graphc.codegen_cpu.memory import ZEROS
from graphc.codegen_cpu.scalar import from_memory, in_memory
from graphc.errors import InternalError
from graphc.ir.cpu_abi import LINE_BYTES, ROOM_BYTES
from graphc.ir.kernel import PART, Affine, Axis, Kernel, Load
from graphc.ir.types import DType, Scalar, i64

STACK_BYTES = 4096  # of what is kept at a time; what a register would do for is less


@dataclass(frozen=True, slots=True)
class Value:
    """A register per copy, or one scalar (a literal where `constant` is set) for all lanes."""

    dtype: DType
    parts: list[str]
    varying: bool
    constant: Scalar | None = None


class Frame(Integers):
    """The argument block of `kernel`, read once at the entry of its function.

    `nest`: the axes as loops go over them, outermost first, if other than the kernel's order.
    """

    def __init__(self, e: Emitter, kernel: Kernel, nest: Sequence[Axis] | None = None) -> None:
        super().__init__(e, {name: f"%n{k}" for k, name in enumerate(kernel.sizes)})
        self.dtypes = {b.name: b.dtype for b in kernel.buffers}
        written = {b.alias for b in kernel.buffers if b.access != "r"}
        self.readonly = {b.name for b in kernel.buffers if b.access == "r"} - written
        self.buffers = {b.name: f"%b{k}" for k, b in enumerate(kernel.buffers)}
        self.arguments: dict[str, Value] = {}
        if nest is None:
            nest = [*kernel.axes, *(axis for phase in kernel.phases for axis in phase.axes)]
        self._order = {axis.name: k for k, axis in enumerate(nest)} | {PART: len(nest)}
        self._terms: dict[int, list[tuple[str, Int]]] = {}
        self._room = 0  # bytes of the thread's room that are taken
        self._kept: list[Affine] = []  # what `_terms` knows by its id
        self._prologue(kernel)

    def _prologue(self, kernel: Kernel) -> None:
        e, at = self.e, 1  # cell 0 points to the error cell

        def argument(t: str) -> str:
            nonlocal at
            cell = e.value(f"getelementptr i64, ptr %args, i64 {at}")
            at += 1
            return f"load {t}, ptr {cell}"

        for name in self.buffers.values():
            e.do(f"{name} = {argument('ptr')}")
        for size, name in self.sizes.items():
            e.do(f"{name} = {argument('i64')}")
            self.arguments[size] = Value(i64, [name], False)
        for scalar in kernel.scalars:  # its bits are in the low bytes of the cell
            raw = e.value(argument(str(in_memory(scalar.dtype, 1))))
            value = from_memory(e, scalar.dtype, 1, raw)
            self.arguments[scalar.name] = Value(scalar.dtype, [value], False)
        if any(isinstance(s, Load) for s in kernel.statements()):
            e.do(f"%zeros = alloca [{ZEROS} x i8], align 64")
            e.do(f"store <{ZEROS} x i8> zeroinitializer, ptr %zeros, align 64")

    def scratch(self, count: int, t: Vec) -> str:
        """Room for `count` elements, aligned to a cache line; entry block only.

        Much is the thread's, not its stack's: a thread of the user's may have a small one.
        """
        size = count * t.bits // 8
        if size <= STACK_BYTES:
            return self.e.value(f"alloca {t.element}, i64 {count}, align 64")
        at, self._room = self._room, self._room + -(-size // LINE_BYTES) * LINE_BYTES
        if self._room > ROOM_BYTES:
            raise InternalError(f"a kernel wants {self._room} bytes, and a thread has {ROOM_BYTES}")
        return self.e.value(f"getelementptr i8, ptr %room, i64 {at} ; {size} bytes")

    # ---- addresses -----------------------------------------------------------------------------

    def offset(self, at: Affine, index: Mapping[str, Int]) -> Int:
        """In elements, summed from the outermost axis on; axes that `index` lacks count as zero."""
        total = self.size(at.const)
        for axis, stride in self._ordered(at):
            if axis in index:
                total = self.add(total, self.mul(index[axis], stride))
        return total

    def _ordered(self, at: Affine) -> list[tuple[str, Int]]:
        terms = self._terms.get(id(at))
        if terms is None:
            ordered = sorted(at.terms, key=lambda term: self._order[term[0]])
            terms = self._terms[id(at)] = [(a, self.size(s)) for a, s in ordered]
            self._kept.append(at)
        return terms

    def pointer(self, base: str, offset: Int, dtype: DType) -> str:
        """Literals last, so that they become displacements."""
        element = in_memory(dtype, 1).element
        for part in parts(offset):
            if part:
                base = self.e.once(f"getelementptr {element}, ptr {base}, i64 {part}")
        return base

    def address(self, buffer: str, offset: Int) -> str:
        return self.pointer(self.buffers[buffer], offset, self.dtypes[buffer])
