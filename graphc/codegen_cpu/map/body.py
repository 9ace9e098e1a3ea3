"""Statements of a loop body: each becomes scalar code where it is the same for all lanes, else a
vector per copy of the lane axis.

`Body` holds what the loops around it have fixed: the index of each axis, the vectors of the lane
axis (first index and mask of live lanes), and the values so far.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from graphc.codegen_cpu.emitter import Emitter, Vec, literal
from graphc.codegen_cpu.map.scope import ZERO, Int, Scope, iota
from graphc.codegen_cpu.masked import gather, masked_load, masked_store, scatter
from graphc.codegen_cpu.math.philox import aligned_bits
from graphc.codegen_cpu.scalar import (
    apply,
    cast,
    from_memory,
    in_memory,
    register,
    reports,
    to_memory,
)
from graphc.ir.kernel import (
    Affine,
    Apply,
    Const,
    Guard,
    Index,
    Indirect,
    Inside,
    Kernel,
    Load,
    Statement,
    Store,
)
from graphc.ir.kernel_uses import Uses, arguments, depends
from graphc.ir.types import DType, Scalar

ZEROS = 128  # bytes that a load outside its guards reads: the widest vector there is


class Vector(NamedTuple):
    """A vector of the lane axis: the index of its first lane, its live lanes ("" for all)."""

    start: Int
    mask: str


@dataclass(frozen=True, slots=True)
class Value:
    """A register per copy, or one scalar (a literal where `constant` is set) for all lanes."""

    dtype: DType
    parts: list[str]
    varying: bool
    constant: Scalar | None = None


class Condition(NamedTuple):
    """Guards: an i1 for all lanes ("" if none) and a mask of lanes ("" if none)."""

    scalar: str
    mask: str


class Body:
    """Emits statements; `lane` is the axis across lanes ("" for scalar code)."""

    def __init__(self, e: Emitter, scope: Scope, kernel: Kernel, u: Uses) -> None:
        self.e, self.scope, self.uses = e, scope, u
        self.buffers = {b.name: (f"%b{k}", b.dtype) for k, b in enumerate(kernel.buffers)}
        self.indices: dict[str, Int] = {}
        self.order: dict[str, int] = {}  # of the axes, outermost first
        self.values: dict[str, Value] = {}
        self.nonempty = ""  # i1 that a load hoisted out of a possibly empty loop must respect
        self.lane = ""
        self.width = 1
        self.vectors = [Vector(ZERO, "")]
        self._indexed = {s.name: s for s in kernel.statements() if isinstance(s, Index)}
        self._terms: dict[int, list[tuple[str, Int]]] = {}

    # ---- addresses -----------------------------------------------------------------------------

    def offset(self, at: Affine) -> Int:
        """The affine form of the axes entered so far, summed from the outermost on."""
        terms = self._terms.get(id(at))
        if terms is None:
            ordered = sorted(at.terms, key=lambda term: self.order[term[0]])
            terms = self._terms[id(at)] = [(a, self.scope.size(s)) for a, s in ordered]
        scope, total = self.scope, self.scope.size(at.const)
        for axis, stride in terms:
            if axis not in self.indices:
                break
            total = scope.add(total, scope.mul(self.indices[axis], stride))
        return total

    def _address(self, place: Int, buffer: str) -> str:
        base, dtype = self.buffers[buffer]
        element = in_memory(dtype, 1).element
        if place.name:
            base = self.scope.once(f"getelementptr {element}, ptr {base}, i64 {place.name}")
        if place.literal:
            base = self.scope.once(f"getelementptr {element}, ptr {base}, i64 {place.literal}")
        return base

    def _place(self, at: Affine, indirect: tuple[Indirect, ...]) -> Int:
        """The element offset, without indirect terms that vary across lanes."""
        total = self.offset(at)
        for term in indirect:
            value = self.values[term.index]
            if not value.varying:
                index = Int(value.parts[0], 0) if value.parts else Int("", int(value.constant or 0))
                total = self.scope.add(total, self.scope.mul(index, self.scope.size(term.stride)))
        return total

    def _lane_offsets(self, at: Affine, indirect: tuple[Indirect, ...], copy: int) -> str:
        """i64 lanes: what each lane adds to the common offset of a gather or scatter."""
        t = Vec("i64", self.width)
        total = self._steps(self.scope.size(at.stride(self.lane)))
        for term in indirect:
            value = self.values[term.index]
            if value.varying:
                stride = self.scope.splat(self.scope.text(self.scope.size(term.stride)), t)
                moved = self.scope.once(f"mul {t} {value.parts[copy]}, {stride}")
                total = self.scope.once(f"add {t} {total}, {moved}")
        return total

    def _steps(self, stride: Int) -> str:
        """0, stride, 2 * stride, ... in i64 lanes."""
        t = Vec("i64", self.width)
        if stride.is_literal:
            return iota(t, stride.literal)
        return self.scope.once(f"mul {t} {iota(t)}, {self.scope.splat(self.scope.text(stride), t)}")

    # ---- guards --------------------------------------------------------------------------------

    def condition(self, guards: tuple[Guard, ...]) -> Condition:
        """All of `guards` at the current vector."""
        scalar, mask, m = "true", "", Vec("i1", self.width)
        scope = self.scope
        for guard in guards:
            at, lo, hi = self.offset(guard.at), scope.size(guard.lo), scope.size(guard.hi)
            stride = scope.size(guard.at.stride(self.lane)) if self.lane else ZERO
            if stride == ZERO:
                scalar = scope.both(scalar, scope.less(at, hi))
                if lo != ZERO or not self._is_index(at):
                    scalar = scope.both(scalar, scope.less(scope.sub(lo, Int("", 1)), at))
                continue
            here = self._range_mask(at, stride, lo, hi)
            mask = scope.both(mask, here, m) if mask else here
        return Condition("" if scalar == "true" else scalar, mask)

    def _is_index(self, at: Int) -> bool:
        """Whether it is a bare loop index, which is never negative."""
        return at in self.indices.values()

    def _range_mask(self, at: Int, stride: Int, lo: Int, hi: Int) -> str:
        """lo <= at + lane * stride < hi, by lane."""
        scope, t = self.scope, Vec("i64", self.width)
        steps = self._steps(stride)
        first = scope.splat(scope.text(scope.sub(lo, at)), t)
        last = scope.splat(scope.text(scope.sub(hi, at)), t)
        above = scope.once(f"icmp sge {t} {steps}, {first}")
        below = scope.once(f"icmp slt {t} {steps}, {last}")
        return scope.once(f"and {t.of('i1')} {above}, {below}")

    def _mask(self, vector: Vector, condition: Condition) -> str:
        """Live lanes where the condition holds; "" when that is all."""
        m = Vec("i1", self.width)
        masks = [x for x in (vector.mask, condition.mask) if x]
        if masks and condition.scalar:
            masks.append(self.scope.splat(condition.scalar, m))
        if not masks:
            return ""
        first, *rest = masks
        for x in rest:
            first = self.scope.both(first, x, m)
        return first

    # ---- statements ----------------------------------------------------------------------------

    def varies(self, s: Statement) -> bool:
        return bool(self.lane) and self.lane in depends(s, self.uses)

    def run(self, s: Statement) -> None:
        """Emit one statement that is no reduction."""
        varying = self.varies(s) or any(self.values[a].varying for a in arguments(s))
        if isinstance(s, Store):
            self._store(s)
        elif isinstance(s, Const):
            self.values[s.name] = Value(s.dtype, [], False, s.value)
        elif varying:
            self.values[s.name] = Value(s.dtype, [self._vector(s, u) for u in self.copies()], True)
        else:
            self.enter(0)
            self.values[s.name] = Value(s.dtype, [self._scalar(s)], False)

    def copies(self) -> range:
        return range(len(self.vectors))

    def enter(self, copy: int) -> Vector:
        """Make one vector of the lane axis the current one."""
        vector = self.vectors[copy]
        if self.lane:
            self.indices[self.lane] = vector.start
        return vector

    def scalar(self, name: str) -> str:
        value = self.values[name]
        if value.constant is not None:
            return literal(value.constant, register(value.dtype, 1))
        return value.parts[0]

    def lanes(self, name: str, copy: int) -> str:
        """The value in `width` lanes."""
        value = self.values[name]
        t = register(value.dtype, self.width)
        if value.varying:
            return value.parts[copy]
        if value.constant is not None:
            return literal(value.constant, t)
        return self.scope.splat(value.parts[0], t)

    def _scalar(self, s: Statement) -> str:
        match s:
            case Load():
                return self._load_scalar(s, self.condition(s.guards))
            case Index():
                return self.scope.text(self.offset(s.at))
            case Inside():
                return self.condition(s.guards).scalar or "true"
            case Apply():
                dtypes = [self.values[a].dtype for a in s.args]
                return apply(self.e, 1, s.op, s.dtype, dtypes, [self.scalar(a) for a in s.args])
        raise AssertionError(s)

    def _vector(self, s: Statement, copy: int) -> str:
        vector = self.enter(copy)
        match s:
            case Load():
                return self._load_vector(s, copy, vector)
            case Index():
                t = Vec("i64", self.width)
                start = self.scope.splat(self.scope.text(self.offset(s.at)), t)
                steps = self._steps(self.scope.size(s.at.stride(self.lane)))
                return self.scope.once(f"add {t} {start}, {steps}")
            case Inside():
                mask = self._mask(Vector(ZERO, ""), self.condition(s.guards))
                return mask or literal(True, Vec("i1", self.width))
            case Apply(op="random_bits") if self._counts_by_fours(*s.args):
                seed, draw, index = s.args
                first = self.scope.text(self.offset(self._indexed[index].at))
                return aligned_bits(self.e, self.width, self.scalar(seed), self.scalar(draw), first)
            case Apply():
                dtypes = [self.values[a].dtype for a in s.args]
                args = [self.lanes(a, copy) for a in s.args]
                self.e.active = vector.mask if reports(s.op) else ""
                result = apply(self.e, self.width, s.op, s.dtype, dtypes, args)
                self.e.active = ""
                return result
        raise AssertionError(s)

    def _counts_by_fours(self, seed: str, draw: str, index: str) -> bool:
        """Whether a vector's indices are consecutive from a multiple of four.

        The first lane of a vector is at a multiple of its width along the lane axis.
        """
        at = self._indexed[index].at if index in self._indexed else Affine()
        parts = [at.const, *(stride for axis, stride in at.terms if axis != self.lane)]
        uniform = not (self.values[seed].varying or self.values[draw].varying)
        fours = all(isinstance(x, int) and x % 4 == 0 for x in parts)
        return uniform and fours and at.stride(self.lane) == 1 and self.width % 4 == 0

    # ---- loads ---------------------------------------------------------------------------------

    def _load_scalar(self, s: Load, condition: Condition) -> str:
        place = self._place(s.at, s.indirect)
        pointer = self._guarded(self._address(place, s.buffer), condition.scalar)
        return self._read(s, pointer, 1)

    def _guarded(self, pointer: str, condition: str) -> str:
        """The address, or that of zeros where the condition fails: no branch, no mask."""
        condition = self.scope.both(condition or "true", self.nonempty or "true")
        if condition == "true":
            return pointer
        return self.e.value(f"select i1 {condition}, ptr {pointer}, ptr %zeros")

    def _read(self, s: Load, pointer: str, lanes: int) -> str:
        dtype = self.buffers[s.buffer][1]
        t = in_memory(dtype, lanes)
        raw = self.e.value(f"load {t}, ptr {pointer}, align {dtype.itemsize}")
        return self._converted(s, dtype, lanes, raw)

    def _converted(self, s: Load, dtype: DType, lanes: int, raw: str) -> str:
        return cast(self.e, lanes, dtype, s.dtype, from_memory(self.e, dtype, lanes, raw))

    def _load_vector(self, s: Load, copy: int, vector: Vector) -> str:
        dtype = self.buffers[s.buffer][1]
        condition = self.condition(s.guards)
        pointer = self._address(self._place(s.at, s.indirect), s.buffer)
        gathers = any(self.values[i.index].varying for i in s.indirect)
        mask = self._mask(vector, condition)
        t = in_memory(dtype, self.width)
        if gathers or s.at.stride(self.lane) != 1:
            if not mask and (condition.scalar or self.nonempty):
                guard = self.scope.both(condition.scalar or "true", self.nonempty or "true")
                mask = self.scope.splat(guard, t.of("i1"))
            offsets = self._lane_offsets(s.at, s.indirect, copy)
            raw = gather(self.e, t, self._pointers(t, pointer, offsets), mask)
            return self._converted(s, dtype, self.width, raw)
        if not mask:
            return self._read(s, self._guarded(pointer, condition.scalar), self.width)
        if self.nonempty:
            mask = self.scope.both(mask, self.scope.splat(self.nonempty, t.of("i1")), t.of("i1"))
        return self._converted(s, dtype, self.width, masked_load(self.e, t, pointer, mask))

    def _pointers(self, t: Vec, pointer: str, offsets: str) -> str:
        return self.scope.once(
            f"getelementptr {t.element}, ptr {pointer}, <{t.lanes} x i64> {offsets}"
        )

    # ---- stores --------------------------------------------------------------------------------

    def _store(self, s: Store) -> None:
        """One store per copy of the lane axis; a single scalar one where no lane matters."""
        varying = self.varies(s) or any(self.values[a].varying for a in arguments(s))
        for copy in self.copies() if varying else range(1):
            vector = self.enter(copy)
            condition = self.condition(s.guards)
            if not condition.scalar:
                self._write(s, copy, vector, condition, varying)
                continue
            inside, after = self.e.fresh("store"), self.e.fresh("after")
            self.e.do(f"br i1 {condition.scalar}, label %{inside}, label %{after}")
            self.e.block(inside)
            with self.scope.inner():
                self._write(s, copy, vector, Condition("", condition.mask), varying)
            self.e.do(f"br label %{after}")
            self.e.block(after)

    def _write(
        self, s: Store, copy: int, vector: Vector, condition: Condition, varying: bool
    ) -> None:
        dtype = self.buffers[s.buffer][1]
        pointer = self._address(self._place(s.at, s.indirect), s.buffer)
        lanes = self.width if varying else 1
        value = self.lanes(s.value, copy) if varying else self.scalar(s.value)
        value = cast(self.e, lanes, self.values[s.value].dtype, dtype, value)
        t, align = in_memory(dtype, lanes), dtype.itemsize
        mask = self._mask(vector, condition) if varying else ""
        scatters = varying and (
            s.at.stride(self.lane) != 1 or any(self.values[i.index].varying for i in s.indirect)
        )
        offsets = self._lane_offsets(s.at, s.indirect, copy) if scatters else ""
        pointers = self._pointers(t, pointer, offsets) if scatters else ""
        if s.add:
            old = (
                gather(self.e, t, pointers, mask) if scatters
                else masked_load(self.e, t, pointer, mask) if mask
                else self.e.value(f"load {t}, ptr {pointer}, align {align}")
            )  # fmt: skip
            old = from_memory(self.e, dtype, lanes, old)
            value = apply(self.e, lanes, "add", dtype, [dtype, dtype], [old, value])
        raw = to_memory(self.e, dtype, lanes, value)
        if scatters:
            scatter(self.e, t, pointers, raw, mask)
        elif mask:
            masked_store(self.e, t, pointer, raw, mask)
        else:
            self.e.do(f"store {t} {raw}, ptr {pointer}, align {align}")
