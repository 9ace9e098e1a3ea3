"""How a tensor prints: PyTorch's format, with its options."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.errors import InvalidArgument, is_own
from graphc.frontend.modes import get_default_dtype, modes
from graphc.frontend.places import on_host
from graphc.ir.types import Array, bool_, i64

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = ["set_printoptions"]


@dataclass(frozen=True, slots=True)
class Options:
    precision: int = 4  # digits behind the point
    threshold: float = 1000  # elements from which on a tensor is summarised
    edgeitems: int = 3  # shown at each end of a dimension then
    linewidth: int = 80
    sci_mode: bool | None = None  # scientific notation: None chooses by the values


PROFILES = {
    "default": Options(),
    "short": Options(precision=2, edgeitems=2),
    "full": Options(threshold=math.inf),
}
_options = [Options()]


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """How tensors print from now on; `profile` is default, short or full, before the others."""
    base = _options[0]
    if profile is not None:
        if profile not in PROFILES:
            raise InvalidArgument(f"no print profile {profile!r}: {', '.join(PROFILES)}")
        base = PROFILES[profile]
    given = {
        "precision": precision,
        "threshold": threshold,
        "edgeitems": edgeitems,
        "linewidth": linewidth,
    }
    changed: Any = {name: value for name, value in given.items() if value is not None}
    _options[0] = dataclasses.replace(base, **changed, sci_mode=sci_mode)


def options() -> Options:
    """How tensors print now."""
    return _options[0]


def reset(before: Options) -> None:
    """Print as then."""
    _options[0] = before


def shown(x: Tensor, form: str | None) -> str:
    """What `repr` gives for None, else `format`; of a step being traced, its user's code gets what
    stands for the text."""
    trace = modes.trace
    if trace is not None and not is_own(sys._getframe(2).f_code.co_filename):
        return trace.text(x, form)
    if form is None or x.array is None:
        return text(x)
    return object.__format__(x, form) if x.shape else format(x.item(), form)


def text(x: Tensor) -> str:
    """`tensor([...], dtype=..., grad_fn=...)`; a traced tensor shows its type."""
    if x.array is None:
        return f"<traced {x.spec}>"
    start = "tensor("
    empty = x.numel() == 0 or x.is_meta
    suffixes = [] if x.is_cpu else [f"device='{x.device}'"]
    if empty and (x.ndim != 1 or x.is_meta):
        suffixes.append(f"size={tuple(x.shape)}")
    usual = (get_default_dtype(),) if empty else (get_default_dtype(), i64, bool_)
    if x.dtype not in usual:
        suffixes.append(f"dtype={x.dtype!r}")
    if x.grad_fn is not None:
        suffixes.append(f"grad_fn={x.grad_fn!r}")
    elif x.requires_grad:
        suffixes.append("requires_grad=True")
    body = elements(x, len(start))
    return with_suffixes(start + body, suffixes, len(start), _options[0].linewidth)


def elements(x: Tensor, indent: int) -> str:
    """The elements alone; lines after the first are `indent` columns in."""
    if x.array is None:
        return str(x.spec)
    if x.is_meta:
        return "..."
    return _body(on_host(x.array), indent, _options[0]) if x.numel() else "[]"


def with_suffixes(body: str, suffixes: Sequence[str], indent: int, width: int) -> str:
    """Suffixes on the last line while they fit, else each on a new one."""
    last = len(body) - body.rfind("\n") + 1
    for s in suffixes:
        if last + len(s) + 2 > width:
            body += ",\n" + " " * indent + s
            last = indent + len(s)
        else:
            body += ", " + s
            last += len(s) + 2
    return body + ")"


def _body(array: Array, indent: int, options: Options) -> str:
    shown = array.astype(np.float64) if array.dtype.kind not in "biu" else array
    summarise = array.size > options.threshold
    cell = Cells(_corners(shown, options.edgeitems) if summarise else shown, options)
    return _lines(shown, indent, options.edgeitems if summarise else -1, cell)


def _corners(a: Array, edge: int) -> Array:
    """The elements that a summary shows, by which the columns are laid out."""
    for axis, n in enumerate(a.shape):
        if n > 2 * edge:
            a = np.take(a, [*range(edge), *range(n - edge, n)], axis)
    return a


class Cells:
    """How the elements of one tensor print: all in one notation, padded to one width."""

    def __init__(self, a: Array, options: Options) -> None:
        self.options = options
        self.width = 1
        if a.dtype.kind in "biu":
            self._format: Callable[[Any], str] = str
            self.width = max((len(str(v)) for v in a.ravel().tolist()), default=1)
            return
        finite = a[np.isfinite(a) & (a != 0)].ravel()
        self._format = self._formatter("int")
        if finite.size:
            self._format = self._formatter(_style(np.abs(finite), options.sci_mode))
            self.width = max(len(self._format(v)) for v in finite.tolist())

    def _formatter(self, style: str) -> Callable[[float], str]:
        digits = self.options.precision
        if style == "sci":
            return lambda v: f"{v:.{digits}e}"
        if style == "int":
            return lambda v: f"{v:.0f}." if math.isfinite(v) else f"{v:.0f}"
        return lambda v: f"{v:.{digits}f}"

    def __call__(self, v: Any) -> str:
        return self._format(v).rjust(self.width)


def _style(sizes: Array, scientific: bool | None) -> str:
    """int, fixed or sci, by the sizes of the numbers that are finite and not 0."""
    whole = bool((sizes == np.ceil(sizes)).all())
    if scientific is None and sizes.size:
        low, high = float(sizes.min()), float(sizes.max())
        scientific = high / low > 1000.0 or high > 1e8 or (not whole and low < 1e-4)
    return "sci" if scientific else "int" if whole else "fixed"


def _lines(a: Array, indent: int, edge: int, cell: Cells) -> str:
    """Nested lists; of more than 2 * edge items only the edges, unless `edge` is negative."""
    if a.ndim == 0:
        return cell(a.item())
    cut = 0 <= 2 * edge < a.shape[0]
    parts = [*a[:edge], None, *a[len(a) - edge :]] if cut else list(a)
    if a.ndim == 1:
        cells = [" ..." if p is None else cell(p.item()) for p in parts]
        per_line = max(1, (cell.options.linewidth - indent) // (cell.width + 2))
        rows = [", ".join(cells[k : k + per_line]) for k in range(0, len(cells), per_line)]
        return "[" + (",\n" + " " * (indent + 1)).join(rows) + "]"
    inner = ["..." if p is None else _lines(p, indent + 1, edge, cell) for p in parts]
    return "[" + ("," + "\n" * (a.ndim - 1) + " " * (indent + 1)).join(inner) + "]"
