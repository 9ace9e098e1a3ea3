"""Text of one LLVM function, built a line at a time.

Textual IR, because llvmlite's object builder lacks bfloat, attributes and newer intrinsics. An
`Emitter` hands out SSA names and labels and collects the declarations that the body needs; it
knows nothing about kernels. Pure instructions may be shared (`once`) where they dominate: the end
of a loop's body or of a branch forgets what it computed. Types are `Vec`: an element type and a
lane count (1 is a scalar).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from graphc.ir.types import DType, Scalar

LLVM_ELEMENT = {
    "bool": "i1", "u8": "i8", "i8": "i8", "i16": "i16", "i32": "i32", "i64": "i64",
    "f16": "half", "bf16": "bfloat", "f32": "float", "f64": "double",
}  # fmt: skip
FENCE = "llvm.x86.sse.sfence"  # only there is a vector a whole line
FLOAT_BITS = {"half": 16, "bfloat": 16, "float": 32, "double": 64}


@dataclass(frozen=True, slots=True)
class Vec:
    """An LLVM first-class type: `element` in `lanes` lanes; prints as LLVM spells it."""

    element: str
    lanes: int = 1

    def __str__(self) -> str:
        return self.element if self.lanes == 1 else f"<{self.lanes} x {self.element}>"

    @property
    def is_float(self) -> bool:
        return self.element in FLOAT_BITS

    @property
    def bits(self) -> int:
        return FLOAT_BITS.get(self.element) or int(self.element[1:])

    @property
    def suffix(self) -> str:
        """The type's part of an overloaded intrinsic's name: `v16f32`, `f32`, `i64`."""
        short = {"half": "f16", "bfloat": "bf16", "float": "f32", "double": "f64"}
        name = short.get(self.element, self.element)
        return name if self.lanes == 1 else f"v{self.lanes}{name}"

    def of(self, element: str) -> Vec:
        """The same lanes of another element type."""
        return Vec(element, self.lanes)


def vec(dtype: DType, lanes: int) -> Vec:
    return Vec(LLVM_ELEMENT[dtype.name], lanes)


def literal(value: Scalar, t: Vec) -> str:
    """`value` in every lane, exactly: floats as the hex of the double that LLVM expects."""
    if t.element in ("float", "double"):
        # LLVM spells a float constant as the double it widens to; `0.1` is a parse error.
        single = struct.unpack("<f", struct.pack("<f", value))[0] if t.element == "float" else value
        text = f"0x{struct.unpack('<Q', struct.pack('<d', single))[0]:016X}"
    elif t.element == "i1":
        text = "true" if value else "false"
    else:
        text = str(int(value))
    if t.lanes == 1:
        return text
    return f"splat ({t.element} {text})"


class Emitter:
    """Lines, names and declarations of one function under construction."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.declarations: set[str] = set()
        self.label = "entry"  # the block being filled, for phi nodes
        self.active = ""  # <lanes x i1> of the lanes that may report errors; "" for all
        self.first: list[str] = []  # what the function begins with
        self.numbers: tuple[int, ...] = ()  # arguments that are known while the code is made
        self.last: list[Callable[[], None]] = []  # what it ends with
        self.kept: dict[str, str] = {}  # what is kept through it, by what it is for
        self._names = 0
        self._known: list[dict[str, str]] = [{}]  # pure instructions of each region around

    def fresh(self, hint: str = "v") -> str:
        """A new name without sigil."""
        self._names += 1
        return f"{hint}{self._names}"

    def value(self, text: str) -> str:
        """Emit `%name = text` and return `%name`."""
        name = f"%{self.fresh()}"
        self.lines.append(f"  {name} = {text}")
        return name

    def once(self, text: str) -> str:
        """`%name = text`, which has no effect, or the name that already holds it."""
        for known in self._known:
            if text in known:
                return known[text]
        self._known[-1][text] = name = self.value(text)
        return name

    @contextmanager
    def _region(self) -> Iterator[None]:
        """Code that does not dominate what follows it."""
        self._known.append({})
        yield
        self._known.pop()

    def do(self, text: str) -> None:
        """Emit an instruction without a result."""
        self.lines.append(f"  {text}")

    def block(self, label: str) -> None:
        """Begin the block `label`; the one before must have ended in a terminator."""
        self.lines.append(f"{label}:")
        self.label = label

    def call(self, intrinsic: str, result: Vec, *args: tuple[Vec, str]) -> str:
        """Call `@intrinsic` (name without @) on (type, value) pairs; declares it."""
        types = ", ".join(str(t) for t, _ in args)
        self.declarations.add(f"declare {result} @{intrinsic}({types})")
        values = ", ".join(f"{t} {v}" for t, v in args)
        return self.value(f"call {result} @{intrinsic}({values})")

    def splat(self, scalar: str, t: Vec) -> str:
        """The scalar value in every lane of `t`."""
        if t.lanes == 1:
            return scalar
        one = self.value(f"insertelement {t} poison, {t.element} {scalar}, i64 0")
        zeros = f"<{t.lanes} x i32> zeroinitializer"
        return self.value(f"shufflevector {t} {one}, {t} poison, {zeros}")

    @contextmanager
    def when(self, condition: str, hint: str, after: str) -> Iterator[None]:
        """Code that runs where the i1 holds."""
        inside, done = self.fresh(hint), self.fresh(after)
        self.do(f"br i1 {condition}, label %{inside}, label %{done}")
        self.block(inside)
        with self._region():
            yield
        self.do(f"br label %{done}")
        self.block(done)

    def either(self, condition: str, **ways: Callable[[], object]) -> None:
        """The first of two ways where the i1 holds, else the second; their names become labels."""
        labels, done = [self.fresh(hint) for hint in ways], self.fresh("done")
        self.do(f"br i1 {condition}, label %{labels[0]}, label %{labels[1]}")
        for label, emit in zip(labels, ways.values(), strict=True):
            self.block(label)
            with self._region():
                emit()
            self.do(f"br label %{done}")
        self.block(done)

    @contextmanager
    def loop(self, start: str, stop: str, step: int | str = 1, hint: str = "i") -> Iterator[str]:
        """A counted i64 loop `for i in range(start, stop, step)`; yields the index's name."""
        head, body, done = (self.fresh(f"{hint}.{part}") for part in ("head", "body", "done"))
        index, following, before = f"%{self.fresh(hint)}", f"%{self.fresh(hint)}", self.label
        self.do(f"br label %{head}")
        self.block(head)
        phi_at = len(self.lines)
        self.lines.append("")  # the phi is written when the latch block is known
        more = self.value(f"icmp slt i64 {index}, {stop}")
        self.do(f"br i1 {more}, label %{body}, label %{done}")
        self.block(body)
        with self._region():
            yield index
        self.do(f"{following} = add i64 {index}, {step}")
        self.do(f"br label %{head}")
        incoming = f"[ {start}, %{before} ], [ {following}, %{self.label} ]"
        self.lines[phi_at] = f"  {index} = phi i64 {incoming}"
        self.block(done)

    def carried_loop(
        self,
        start: str,
        stop: str,
        step: int,
        carried: list[tuple[Vec, str]],
        body: Callable[[str, list[str]], list[str]],
    ) -> list[str]:
        """A counted loop with loop-carried values: (type, initial) in, final values out.

        `body(index, values)` emits one trip and returns the next values; accumulators stay in
        registers because they are phis, never memory.
        """
        head, inside, done = (self.fresh(f"acc.{part}") for part in ("head", "body", "done"))
        index, following, before = f"%{self.fresh('i')}", f"%{self.fresh('i')}", self.label
        names = [f"%{self.fresh('acc')}" for _ in carried]
        self.do(f"br label %{head}")
        self.block(head)
        phi_at = len(self.lines)
        self.lines += [""] * (1 + len(carried))
        more = self.value(f"icmp slt i64 {index}, {stop}")
        self.do(f"br i1 {more}, label %{inside}, label %{done}")
        self.block(inside)
        with self._region():
            nexts = body(index, names)
        self.do(f"{following} = add i64 {index}, {step}")
        self.do(f"br label %{head}")
        rows = [(Vec("i64"), index, start, following)]
        rows += [(t, n, i, x) for (t, i), n, x in zip(carried, names, nexts, strict=True)]
        for k, (t, name, first, later) in enumerate(rows):
            incoming = f"[ {first}, %{before} ], [ {later}, %{self.label} ]"
            self.lines[phi_at + k] = f"  {name} = phi {t} {incoming}"
        self.block(done)
        return names

    def repeat_while(
        self,
        carried: list[tuple[Vec, str]],
        test: Callable[[list[str]], str],
        body: Callable[[list[str]], list[str]],
    ) -> list[str]:
        """A loop that runs while the i1 `test(values)` holds; the final values."""
        head, inside, done = (self.fresh(f"while.{part}") for part in ("head", "body", "done"))
        names, before = [f"%{self.fresh('w')}" for _ in carried], self.label
        self.do(f"br label %{head}")
        self.block(head)
        phi_at = len(self.lines)
        self.lines += [""] * len(carried)
        with self._region():
            again = test(names)
            self.do(f"br i1 {again}, label %{inside}, label %{done}")
            self.block(inside)
            nexts = body(names)
        self.do(f"br label %{head}")
        for k, ((t, first), name, later) in enumerate(zip(carried, names, nexts, strict=True)):
            incoming = f"[ {first}, %{before} ], [ {later}, %{self.label} ]"
            self.lines[phi_at + k] = f"  {name} = phi {t} {incoming}"
        self.block(done)
        return names

    def any_lane(self, mask: str, lanes: int) -> str:
        """i1: whether the mask of `lanes` lanes has a true lane."""
        if lanes == 1:
            return mask
        bits = self.value(f"bitcast <{lanes} x i1> {mask} to i{lanes}")
        return self.value(f"icmp ne i{lanes} {bits}, 0")

    def all_lanes(self, mask: str, lanes: int) -> str:
        """i1: whether the mask has no false lane."""
        bits = self.once(f"bitcast <{lanes} x i1> {mask} to i{lanes}")
        return self.once(f"icmp eq i{lanes} {bits}, -1")

    def leave(self) -> None:
        """Return, when all that is left to do is done and what went past the caches has arrived."""
        for finish in self.last:
            finish()
        if f"declare void @{FENCE}()" in self.declarations:
            self.do(f"call void @{FENCE}()")
        self.do("ret void")

    def function(self, name: str) -> str:
        """The finished function text (kernel ABI), without declarations."""
        arguments = "ptr noalias %args, i64 %tid, i64 %nthreads, ptr noalias %room"
        head = f"define void @{name}({arguments}) nounwind {{"
        return "\n".join([head, "entry:", *(f"  {line}" for line in self.first), *self.lines, "}"])
