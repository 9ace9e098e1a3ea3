"""Attention written by hand beside its meaning in NumPy, and its sources over dense tensors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, prod

import numpy as np
from on_host import aligned, run

from graphc.codegen_gpu import attention
from graphc.codegen_gpu.attention_parts import Attention, Dropout, Operands, Part, Tensor, tile
from graphc.codegen_gpu.target import Target
from graphc.codegen_gpu.text import Writer
from graphc.ir.cuda_abi import GridDim, Param, Source
from graphc.ir.meaning.sources import random_bits
from graphc.ir.types import Array, DType, bool_, f32

SEED, DRAW = -(3 << 40) - 5, 7
HEAD = "import triton\nimport triton.language as tl\n\n\n@triton.jit\ndef {}({}):\n{}\n"


@dataclass(frozen=True)
class Case:
    """One attention over [*batch, queries, head], [*batch, keys, head | width]."""

    batch: tuple[int, ...]
    queries: int
    keys: int
    head: int
    width: int
    dtype: DType = f32
    causal: bool = False
    mask: DType | None = None
    dropout: float = 0.0
    named: bool = False  # sizes are parameters
    scale: float = 0.3
    tf32: bool = False
    wide: bool = False  # sizes and offsets are i64

    def shapes(self) -> dict[str, tuple[int, ...]]:
        row = (*self.batch, self.queries)
        k, v = (*self.batch, self.keys, self.head), (*self.batch, self.keys, self.width)
        return {
            "q": (*row, self.head), "k": k, "v": v, "out": (*row, self.width), "lse": row,
            "mask": (*row, self.keys), "delta": row, "grad": (*row, self.width),
            "dq": (*row, self.head), "dk": k, "dv": v,
        }  # fmt: skip

    def dtypes(self) -> dict[str, DType]:
        own = {"lse": f32, "delta": f32, "mask": self.mask or f32}
        return {name: own.get(name, self.dtype) for name in self.shapes()}

    def data(self, seed: int = 0) -> dict[str, Array]:
        rng, found = np.random.default_rng(seed), {}
        for name, shape in self.shapes().items():
            x = rng.standard_normal(shape).astype(np.float32)
            if name == "mask" and self.mask is bool_:
                x = x > -0.7
            found[name] = aligned(x.astype(self.dtypes()[name].numpy))
        return found


def source(case: Case, part: Part, *, delta: bool = True, arch: str = "sm_90a") -> Source:
    """The kernel's text, over dense tensors."""
    writer, shapes, dtypes = Writer(), case.shapes(), case.dtypes()
    names = dict(zip(shapes, (f"b{k}" for k in range(len(shapes)))))
    sizes = ("n0", "n1") if case.named else (str(case.queries), str(case.keys))

    def tensor(name: str) -> Tensor:
        shape = list(shapes[name])
        rows = name in ("k", "v", "dk", "dv")
        texts = [str(n) for n in shape]
        if case.named:
            texts[len(case.batch)] = "n1" if rows else "n0"
            if name == "mask":
                texts[-1] = "n1"
        strides = [" * ".join(texts[d + 1 :]) or "1" for d in range(len(shape))]
        strides = [f"({s})" if "*" in s else s for s in strides]
        if not case.named:
            strides = [str(prod(shape[d + 1 :])) for d in range(len(shape))]
        lead, row = len(case.batch), strides[:-1]
        each = 16 // dtypes[name].itemsize
        lines = len(shape) == lead + 2 and all(x.isdecimal() and int(x) % each == 0 for x in row)
        rest = [*strides[lead:], "1"][:2]
        return Tensor(names[name], tuple(strides[:lead]), *rest, lines=lines)

    a = Attention(
        case.dtype, tuple(map(str, case.batch)), *sizes, case.head, case.width, "c0", case.causal,
        case.mask, dropout=Dropout("c1", "c2", "c3", "c4") if case.dropout else None,
        tf32=case.tf32,
        wide=case.wide,
    )  # fmt: skip
    points = case.keys if part == "keys" else case.queries
    t = tile(a, part, None if case.named else points, Target.named(arch))
    mask = tensor("mask") if case.mask else None
    o = Operands(tensor("q"), tensor("k"), tensor("v"), tensor("lse"), mask, tensor("out"))
    if part == "forward":
        attention.forward(a, o, tensor("out"), tensor("lse"), t, writer)
    elif part == "queries":
        o = o._replace(grad=tensor("grad"))
        attention.backward_queries(a, o, tensor("dq"), tensor("delta"), t, writer)
    else:
        o = o._replace(grad=tensor("grad"), delta=tensor("delta") if delta else None)
        attention.backward_keys(a, o, tensor("dk"), tensor("dv"), t, writer)
    params = [Param(b, "pointer", "buffer", k, "u8" if dtypes[n] is bool_ else dtypes[n].name, 16)
              for k, (n, b) in enumerate(names.items())]  # fmt: skip
    params += [
        Param(f"n{k}", "i64" if case.wide else "i32", "size", k) for k in range(2)
    ] * case.named
    kinds = ("f32", "i64", "i64", "i32", "f32")
    params += [Param(f"c{k}", kind, "scalar", k) for k, kind in enumerate(kinds)]  # type: ignore[arg-type]
    text = HEAD.format("attention", ", ".join(p.name for p in params), writer.text())
    along = "keys" if part == "keys" else "queries"
    rows = GridDim((along if case.named else points,), t.rows)
    return Source(
        "attention", text, tuple(params), (), (GridDim(case.batch), rows), t.warps, t.stages
    )  # fmt: skip


def launched(case: Case, part: Part, data: dict[str, Array], **options: bool) -> Source:
    """Run it on the data in place."""
    made = source(case, part, **options)
    sizes = {"queries": case.queries, "keys": case.keys} if case.named else {}
    p = case.dropout
    least = ceil(float(np.float32(p)) * 2**24)
    scalars = [case.scale, SEED, DRAW, least, 1 / (1 - p) if p < 1 else 0.0]
    run(made, [*data.values()], sizes, scalars)
    return made


def meaning(case: Case, data: dict[str, Array]) -> dict[str, Array]:
    """Every result in float64, as attention is written with its weights in memory."""
    q, k, v, grad = (data[n].astype(np.float64) for n in ("q", "k", "v", "grad"))
    s = q @ k.swapaxes(-1, -2) * case.scale
    if case.causal:
        s = np.where(np.tri(case.queries, case.keys, dtype=bool), s, -np.inf)
    if case.mask is bool_:
        s = np.where(data["mask"], s, -np.inf)
    elif case.mask:
        s = s + data["mask"].astype(np.float64)
    top = s.max(-1, keepdims=True, initial=-np.inf)
    e = np.exp(s - np.where(np.isneginf(top), 0, top))
    total = e.sum(-1, keepdims=True)
    p = e / np.where(total == 0, 1, total)
    kept = np.ones_like(p)
    if case.dropout:
        words = random_bits(np.int64(SEED), np.int64(DRAW), shape=p.shape)
        unit = (words.view(np.uint32) >> 8).astype(np.float32) * np.float32(2.0**-24)
        factor = 1 / (1 - case.dropout) if case.dropout < 1 else 0.0
        kept = (unit >= np.float32(case.dropout)) * factor
    out = (p * kept) @ v
    with np.errstate(divide="ignore"):
        lse = np.log(total) + np.where(np.isneginf(top), 0, top)
    lse = np.where(total == 0, np.inf, lse)[..., 0]
    dp = (grad @ v.swapaxes(-1, -2)) * kept
    delta = (dp * p).sum(-1, keepdims=True)
    ds = p * (dp - delta) * case.scale
    return {
        "out": out, "lse": lse, "delta": delta[..., 0], "dq": ds @ k,
        "dk": ds.swapaxes(-1, -2) @ q, "dv": (p * kept).swapaxes(-1, -2) @ grad,
    }  # fmt: skip


def checked(case: Case, rtol: float = 2e-5) -> None:
    """Forward, then both gradients, with what forward stored."""
    data = case.data()
    want = meaning(case, data)
    launched(case, "forward", data)
    close(data, want, ("out", "lse"), rtol)
    for name in ("out", "lse"):  # so that an error does not count twice
        data[name][...] = want[name].astype(data[name].dtype)
    launched(case, "queries", data)
    close(data, want, ("dq", "delta"), rtol)
    for stored in (True, False):
        data["dk"].fill(0), data["dv"].fill(0)
        launched(case, "keys", data, delta=stored)
        close(data, want, ("dk", "dv"), rtol)


def close(
    data: dict[str, Array], want: dict[str, Array], names: tuple[str, ...], rtol: float
) -> None:
    for name in names:
        got, right = data[name].astype(np.float64), want[name]
        np.testing.assert_allclose(got, right, rtol=rtol, atol=rtol * 4, err_msg=name)


__all__ = ["Case", "checked", "launched", "meaning", "replace", "source"]
