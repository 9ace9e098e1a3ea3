"""A kernel of kind "attention" (`ir/kernel_attention.py`) by the template in `attention.py`.

Its results are those of one of the template's functions: of the forward, of the gradient of the
queries, or of keys and values; passes make no other (`Profile.attention_apart`).
"""

from __future__ import annotations

from graphc.codegen_gpu import attention
from graphc.codegen_gpu.attention_parts import (
    HIDDEN,
    Attention,
    Dropout,
    Operands,
    Part,
    Tensor,
    Tile,
    tile,
)
from graphc.codegen_gpu.body import Body
from graphc.codegen_gpu.target import ACCESS_BYTES, Target
from graphc.errors import InternalError
from graphc.ir.cuda_abi import GridDim
from graphc.ir.kernel import Affine, Const, Kernel, Load, Size
from graphc.ir.kernel_attention import OPERANDS, RESULTS, parts
from graphc.ir.kernel_attention import Attention as Parts
from graphc.ir.types import DType

PARTS: dict[str, Part] = {
    "attention": "forward", "attention_lse": "forward", "attention_dq": "queries",
    "attention_dk": "keys", "attention_dv": "keys",
}  # fmt: skip


def dtype(kernel: Kernel) -> DType:
    """Of what is multiplied."""
    return taken_apart(kernel).load("q").dtype


def taken_apart(kernel: Kernel) -> Parts:
    found = parts(kernel)
    assert found is not None, "asked of attention"
    return found


def emit(body: Body, target: Target, tf32: bool) -> tuple[tuple[GridDim, ...], Tile]:
    """Write the function's body; its grid and tile."""
    return _Emitter(body, taken_apart(body.kernel), tf32).run(target)


class _Emitter:
    def __init__(self, body: Body, p: Parts, tf32: bool) -> None:
        self.body, self.parts, self.tf32 = body, p, tf32
        self.outer = body.kernel.axes

    def run(self, target: Target) -> tuple[tuple[GridDim, ...], Tile]:
        p, writer = self.parts, self.body.writer
        (part,) = {PARTS[op] for op in p.results}
        a, o = self.attention(), self.operands()
        points = p.columns if part == "keys" else p.rows
        t = tile(a, part, points if isinstance(points, int) else None, target)
        out = {op: self.tensor(s.buffer, s.at, RESULTS[op]) for op, s in p.results.items()}
        if part == "forward":
            attention.forward(a, o, out.get("attention"), out.get("attention_lse"), t, writer)
        elif part == "queries":
            attention.backward_queries(a, o, out["attention_dq"], None, t, writer)
        else:
            results = out.get("attention_dk"), out.get("attention_dv")
            attention.backward_keys(a, o, *results, t, writer)
        batch = GridDim(tuple(x.extent for x in self.outer))
        return (batch, GridDim((points,), t.rows)), t

    # ---- what is computed ----------------------------------------------------------------------

    def attention(self) -> Attention:
        p, body = self.parts, self.body
        mask = p.operands["mask"]
        head, width = p.depth, p.width
        if not isinstance(head, int) or not isinstance(width, int):
            raise InternalError(f"{body.kernel.name}: attention over heads of unknown length")
        return Attention(
            p.load("q").dtype,
            tuple(body.size(x.extent) for x in self.outer),
            body.size(p.rows),
            body.size(p.columns),
            head,
            width,
            self.number("scale"),
            bool(p.number("causal")),
            mask.dtype if isinstance(mask, Load) else None,
            HIDDEN if p.number("fill") == float("-inf") else self.number("fill"),
            bool(p.number("safe")),
            self.dropout(),
            self.tf32,
            body.wide,
            body.permit.text if body.permit else "",
        )

    def number(self, name: str) -> str:
        found = self.parts.attrs[name]
        return self.known(found)

    def known(self, found: Load | Const | str) -> str:
        """A single number, as text."""
        if isinstance(found, Const):
            self.body.run(found)
            return self.body.values[found.name].text
        if isinstance(found, Load):
            at = self.tensor(found.buffer, found.at, "")
            return self.body.writer.let(f"tl.load({at.name})", 0)
        return self.body.values[found].text

    def dropout(self) -> Dropout | None:
        if self.parts.number("drop") == 0:
            return None
        seed, draw = (
            self.body.writer.let(f"tl.cast({self.known(self.parts.operands[n])}, tl.int64)", 0)
            for n in ("seed", "draw")
        )
        least = self.body.writer.let(f"tl.cast({self.number('drop')}, tl.int32)", 0)
        return Dropout(seed, draw, least, self.number("gain"))

    # ---- operands ------------------------------------------------------------------------------

    def operands(self) -> Operands:
        p = self.parts
        found = {
            name: self.tensor(x.buffer, x.at, OPERANDS[name])
            for name, x in p.operands.items()
            if isinstance(x, Load) and OPERANDS[name]
        }
        nowhere = Tensor("", (), "0")
        return Operands(
            found["q"], found["k"], found["v"], found.get("lse", nowhere), found.get("mask"),
            found.get("out"), found.get("mean"), found.get("g"),
        )  # fmt: skip

    def tensor(self, buffer: str, at: Affine, own: str) -> Tensor:
        """Where an operand or result with these of the kernel's own axes lies."""
        name, body = self.body.buffers[buffer], self.body

        def stride(axis: str) -> str:
            return body.size(at.stride(axis)) if at.stride(axis) != 0 else "0"

        if at.const != 0:
            name = body.writer.let(f"({name} + {self.wide(at.const)})", 0)
        along = [stride(axis) for axis in own]
        row, lane = along[0] if along else "0", along[1] if along[1:] else "1"
        batch = tuple(stride(x.name) for x in self.outer)
        matrix = len(own) == 2 and row != "0" and lane == "1"
        return Tensor(name, batch, row, lane, matrix and self.in_lines(buffer, at, own[0]))

    def in_lines(self, buffer: str, at: Affine, row: str) -> bool:
        """Whether each row begins at a line of 16 bytes."""
        each = ACCESS_BYTES // self.body.dtypes[buffer].itemsize
        steps = (at.const, *(at.stride(axis) for axis in (*(x.name for x in self.outer), row)))
        return all(isinstance(n, int) and n % each == 0 for n in steps)

    def wide(self, size: Size) -> str:
        return f"tl.cast({self.body.size(size)}, tl.int64)"
