"""How a tensor prints: PyTorch's format."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.frontend.modes import get_default_dtype
from graphc.ir.types import Array, bool_, i64

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

PRECISION, THRESHOLD, EDGE_ITEMS, LINE_WIDTH = 4, 1000, 3, 80


def text(x: Tensor) -> str:
    """`tensor([...], dtype=..., grad_fn=...)`; a traced tensor shows its type."""
    if x.array is None:
        return f"<traced {x.type}>"
    suffixes = []
    if x.numel() == 0 and x.ndim != 1:
        suffixes.append(f"size={tuple(x.shape)}")
    if x.dtype not in (get_default_dtype(), i64, bool_) or (
        x.numel() == 0 and x.dtype is not get_default_dtype()
    ):
        suffixes.append(f"dtype={x.dtype!r}")
    if x.grad_fn is not None:
        suffixes.append(f"grad_fn={x.grad_fn!r}")
    elif x.requires_grad:
        suffixes.append("requires_grad=True")
    body = "[]" if x.numel() == 0 else _body(x.array, len("tensor("))
    return _with_suffixes("tensor(" + body, suffixes, len("tensor("))


def _with_suffixes(body: str, suffixes: list[str], indent: int) -> str:
    """Suffixes on the last line while they fit, else each on a new one."""
    last = len(body) - body.rfind("\n") - 1
    for s in suffixes:
        if last + len(s) + 2 > LINE_WIDTH:
            body += ",\n" + " " * indent + s
            last = indent + len(s)
        else:
            body += ", " + s
            last += len(s) + 2
    return body + ")"


def _body(array: Array, indent: int) -> str:
    shown = array.astype(np.float64) if array.dtype.kind not in "biu" else array
    summarise = array.size > THRESHOLD
    cell = _formatter(_corners(shown) if summarise else shown)
    return _lines(shown, indent, summarise, cell)


def _corners(a: Array) -> Array:
    """The elements that a summary shows, by which the columns are laid out."""
    for axis, n in enumerate(a.shape):
        if n > 2 * EDGE_ITEMS:
            keep = [*range(EDGE_ITEMS), *range(n - EDGE_ITEMS, n)]
            a = np.take(a, keep, axis)
    return a


def _formatter(a: Array) -> Callable[[Any], str]:
    """One width for all cells: integers, floats that are whole, fixed or scientific notation."""
    flat = a.ravel()
    if a.dtype.kind in "biu":
        width = max(len(str(v)) for v in flat.tolist())
        return lambda v: str(v).rjust(width)
    finite = flat[np.isfinite(flat) & (flat != 0)]
    style = ".4f"
    if finite.size:
        low, high = float(np.abs(finite).min()), float(np.abs(finite).max())
        if bool((finite == np.ceil(finite)).all()):
            style = "sci" if high / low > 1000.0 or high > 1e8 else "int"
            style = style if high > 1e8 or high / low > 1e12 else "int"
        elif high / low > 1000.0 or high > 1e8 or low < 1e-4:
            style = "sci"
    elif flat.size:
        style = "int"
    if flat.size and not finite.size and not np.isfinite(flat).all():
        style = "int"
    cells = [_number(float(v), style) for v in flat.tolist()]
    width = max(map(len, cells), default=0)
    return lambda v: _number(float(v), style).rjust(width)


def _number(v: float, style: str) -> str:
    if not math.isfinite(v):
        return str(v)
    if style == "sci":
        return f"{v:.{PRECISION}e}"
    return f"{v:.0f}." if style == "int" else f"{v:.{PRECISION}f}"


def _lines(a: Array, indent: int, summarise: bool, cell: Callable[[Any], str]) -> str:
    if a.ndim == 0:
        return cell(a.item()).strip()
    cut = summarise and a.shape[0] > 2 * EDGE_ITEMS
    if a.ndim == 1:
        values = a.tolist()
        cells = (
            [cell(v) for v in values]
            if not cut
            else [
                *(cell(v) for v in values[:EDGE_ITEMS]),
                " ...",
                *(cell(v) for v in values[-EDGE_ITEMS:]),
            ]
        )
        per_line = max(1, (LINE_WIDTH - indent) // (len(cells[0]) + 2))
        rows = [", ".join(cells[k : k + per_line]) for k in range(0, len(cells), per_line)]
        return "[" + (",\n" + " " * (indent + 1)).join(rows) + "]"
    parts = list(a) if not cut else [*a[:EDGE_ITEMS], None, *a[-EDGE_ITEMS:]]
    inner = ["..." if p is None else _lines(p, indent + 1, summarise, cell) for p in parts]
    gap = ",\n" * 1 + "\n" * (a.ndim - 2) + " " * (indent + 1)
    return "[" + gap.join(inner) + "]"
