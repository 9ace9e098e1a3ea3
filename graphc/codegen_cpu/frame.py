"""The frame of a kernel's function: its arguments as SSA values, addresses, scratch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

from graphc.codegen_cpu.emitter import Emitter, Vec
from graphc.codegen_cpu.integers import Int, Integers, Known, parts
from graphc.codegen_cpu.memory import ZEROS
from graphc.codegen_cpu.scalar import from_memory, in_memory
from graphc.codegen_cpu.target import LINE_BYTES
from graphc.errors import InternalError
from graphc.ir.cpu_abi import PAIR_BYTES, ROOM_BYTES
from graphc.ir.kernel import PART, Affine, Axis, Kernel, Load, Store
from graphc.ir.types import DType, Scalar, i64

PAST_BYTES = 1 << 20  # what a reader that comes later does not find in a second-level cache
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
    `numbers`: literals of the kernel that are arguments of its code, behind all others.
    """

    def __init__(
        self,
        e: Emitter,
        kernel: Kernel,
        nest: Sequence[Axis] | None = None,
        numbers: Sequence[int] = (),
    ) -> None:
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
        self._prologue(kernel, numbers)

    def _prologue(self, kernel: Kernel, numbers: Sequence[int]) -> None:
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
        for number in numbers:
            self.named[number] = Known(e.value(argument("i64")), number)
        e.numbers = tuple(numbers)
        self.past = self._past(kernel)
        if any(isinstance(s, Load) for s in kernel.statements()):
            e.do(f"%zeros = alloca [{ZEROS} x i8], align 64")
            e.do(f"store <{ZEROS} x i8> zeroinitializer, ptr %zeros, align 64")

    def _past(self, kernel: Kernel) -> dict[str, str]:
        """The i1, of each buffer that is stored to and no more, whether its lines go past the
        caches: one that is written there is read from memory first, a third of a copy's traffic."""
        written = {b.name for b in kernel.buffers if b.access == "w" and not b.alias}
        loops = (*kernel.axes, *(axis for phase in kernel.phases for axis in phase.axes))
        extents = {axis.name: self.size(axis.extent) for axis in loops}
        found: dict[str, list[str]] = {}
        for s in kernel.statements():
            if isinstance(s, Store) and s.buffer in written:
                points = self.product(extents[axis] for axis, _ in s.at.terms)
                found.setdefault(s.buffer, []).extend(self._goes_past(s, points))
        whole = {name: tests for name, tests in found.items() if "false" not in tests}
        return {name: reduce(self.both, tests) for name, tests in whole.items()}

    def _goes_past(self, s: Store, points: Int) -> Iterator[str]:
        """What must hold: that it stores much, and that whole vectors are whole lines."""
        size = self.dtypes[s.buffer].itemsize
        yield str(not (s.add or s.indirect)).lower()
        yield self.less(PAST_BYTES // size, points)
        start = self.e.once(f"ptrtoint ptr {self.buffers[s.buffer]} to i64")
        yield self.equal(self.rem(start, LINE_BYTES), 0)
        for step in (s.at.const, *(step for _, step in s.at.terms if step != 1)):
            yield self.equal(self.rem(self.size(step), LINE_BYTES // size), 0)

    def scratch(self, count: int, t: Vec) -> str:
        """Room for `count` elements, aligned to a cache line; entry block only.

        Much is the thread's, not its stack's: a thread of the user's may have a small one.
        """
        size = count * t.bits // 8
        if size <= STACK_BYTES:
            return self.e.value(f"alloca {t.element}, i64 {count}, align 64")
        at, self._room = self._room, self._room + -(-size // PAIR_BYTES) * PAIR_BYTES
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
