"""nest: from the loops and statements of one lowered group to a finished Kernel.

Input: statements over one axis per dimension of the domain, all numbers literal. The steps:
  merge       neighbouring axes that every address crosses with one stride become one axis
  symbolise   numbers that depend on extents become i64 arguments, so that kernels of other sizes,
              above all of another batch, are the same text

A map kernel keeps no number but the strides 0, 1, -1 and small extents (windows). A contract
kernel keeps all but the extent of its outermost points, because its tiles are chosen by them; where
a matrix product begins is an argument, so that the products of a recurrent net's steps are one
kernel. What depends on an extent of the graph is an argument of any kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

from graphc.ir.extent import is_unknown
from graphc.ir.graph import Value
from graphc.ir.kernel import (
    Affine,
    Axis,
    Buffer,
    Guard,
    Index,
    Inside,
    Kernel,
    Kind,
    Load,
    Partial,
    Phase,
    ScalarArg,
    Size,
    Statement,
    Store,
)
from graphc.ir.sizes import smaller, surely_less
from graphc.ir.types import DType, Scalar
from graphc.passes.roles import Geometry
from graphc.passes.view import Form, View

if TYPE_CHECKING:
    from graphc.passes.repeat import Repeat

Access = Literal["r", "w", "rw"]


@dataclass(frozen=True, slots=True)
class Lowered:
    """A kernel and what to launch it with; `buffers` are the values in its signature's order."""

    kernel: Kernel
    buffers: tuple[Value, ...]
    sizes: tuple[int, ...]
    scalars: tuple[Scalar, ...]
    members: tuple[Value, ...]
    repeat: Repeat | None = None  # of a loop

    def may_fail(self) -> bool:
        """Whether it, or a kernel of its trips, may."""
        return self.kernel.may_fail() or (self.repeat is not None and self.repeat.may_fail())

    def noted(self, note: str) -> Lowered:
        """The same with a note on why the kernel ends where it ends."""
        return replace(self, kernel=replace(self.kernel, note=note))

    @property
    def writes(self) -> list[Value]:
        pairs = zip(self.buffers, self.kernel.buffers, strict=True)
        return [v for v, b in pairs if b.access != "r"]

    def writes_something(self) -> bool:
        return any(v.spec.numel for v in self.writes)

    @property
    def reads(self) -> list[Value]:
        pairs = zip(self.buffers, self.kernel.buffers, strict=True)
        return [v for v, b in pairs if b.access == "r"]


@dataclass
class Nest:
    """Loops and statements under construction; axis `d3` is dimension 3 of the domain."""

    kind: Kind
    parallel: list[Axis]
    reduced: list[Axis]
    small_extent: int  # up to which an extent is a window's, and a literal
    literal_strides: bool = False
    phases: list[Phase] = field(default_factory=list)
    buffers: list[tuple[Value, str, Access]] = field(default_factory=list)  # value, name, access
    scalars: list[tuple[ScalarArg, Scalar]] = field(default_factory=list)
    cut: bool = False  # whether a contraction reads one of many equal parts, by its offset
    leading: set[str] = field(default_factory=lambda: {"d0"})  # axes that hold dimension 0
    geometry: Geometry = field(default_factory=Geometry)  # of a contraction
    winograd: int = 0  # of a convolution
    partials: list[Partial] = field(default_factory=list)  # of its results
    mixes: bool = True  # whether axes become one where their roles differ
    # Axes that stay apart, because a kernel knows them by name, and whether their extents are text.
    named: Mapping[str, bool] = field(default_factory=dict)

    def buffer(self, v: Value, access: Access) -> str:
        """The name of the buffer of `v`; each value has one."""
        for value, name, _ in self.buffers:
            if value is v:
                return name
        name = f"b{len(self.buffers)}"
        self.buffers.append((v, name, access))
        return name

    def scalar(self, value: Scalar, dtype: DType, shared: bool = True) -> str:
        """The name of a scalar argument."""
        for arg, known in self.scalars:
            if shared and arg.dtype is dtype and repr(known) == repr(value):
                return arg.name
        arg = ScalarArg(f"c{len(self.scalars)}", dtype)
        self.scalars.append((arg, value))
        return arg.name

    def finish(self, name: str, members: Sequence[Value]) -> Lowered:
        """Merge, symbolise and number."""
        self._merge(self.parallel)
        self._merge(self.reduced)
        sizes = _Symbols(self)
        self._map(sizes.affine, sizes.size)
        parallel, reduced = sizes.axes(self.parallel), sizes.axes(self.reduced)
        place = {tuple(self.reduced): tuple(reduced)}
        phases = [
            Phase(place.get(p.axes) or tuple(sizes.axes(list(p.axes))), p.body) for p in self.phases
        ]
        roles = self.geometry.roles((*self.parallel, *self.reduced), sizes.size)
        window = self.geometry.windows(sizes.size)
        kernel = Kernel(
            name,
            self.kind,
            tuple(Buffer(n, v.spec.dtype, a) for v, n, a in self.buffers),
            tuple(sizes.names),  # all of them by now
            tuple(arg for arg, _ in self.scalars),
            tuple(parallel),
            tuple(phases),
            roles=roles,
            window=window,
            winograd=self.winograd,
            partials=tuple(self.partials),
        )
        return Lowered(
            kernel,
            tuple(v for v, _, _ in self.buffers),
            tuple(sizes.values),
            tuple(value for _, value in self.scalars),
            tuple(members),
        )

    # ---- merging axes --------------------------------------------------------------------------

    def _merge(self, axes: list[Axis]) -> None:
        """Drop axes of extent 1, then join neighbours that all addresses cross alike."""
        before = tuple(self.reduced)
        axes[:] = [a for a in axes if a.extent != 1]
        k = len(axes) - 2
        while k >= 0:
            outer, inner = axes[k], axes[k + 1]
            if self._joins(outer, inner):
                if outer.name in self.leading:
                    self.leading.add(inner.name)
                axes[k : k + 2] = [Axis(inner.name, _product(outer.extent, inner.extent))]
                self.geometry.join(outer.name, inner.name)
                self._map(partial(_without, axis=outer.name), lambda s: s)
            k -= 1
        self.phases = [
            replace(p, axes=tuple(self.reduced)) if p.axes and p.axes == before else p
            for p in self.phases
        ]

    def _joins(self, outer: Axis, inner: Axis) -> bool:
        assert isinstance(inner.extent, int)
        if outer.name in self.named or inner.name in self.named:
            return False
        if not (self.mixes or self.geometry.alike(outer.name, inner.name)):
            return False
        together = all((outer.name in p.over) == (inner.name in p.over) for p in self.partials)
        return together and all(
            f.stride(outer.name) == _product(f.stride(inner.name), inner.extent)
            for f in self.affines()
        )

    def affines(self) -> Iterator[Affine]:
        yield from (p.at for p in self.partials)
        for phase in self.phases:
            for s in phase.body:
                if isinstance(s, Load | Store | Index):
                    yield s.at
                if isinstance(s, Load | Store | Inside):
                    yield from (g.at for g in s.guards)

    def _map(self, change: Callable[[Affine], Affine], size: Callable[[Size], Size]) -> None:
        """Change every affine form, and every size outside them."""
        self.phases = [
            replace(p, body=tuple(_changed(s, change, size) for s in p.body)) for p in self.phases
        ]
        left = [a.name for a in self.parallel]
        self.partials = [
            replace(p, at=change(p.at), over=tuple(a for a in left if a in p.over))
            for p in self.partials
        ]


def _product(a: Size, b: Size) -> int:
    assert isinstance(a, int) and isinstance(b, int)
    return a * b


def _without(f: Affine, axis: str) -> Affine:
    if any(a == axis for a, _ in f.terms):
        return Affine(tuple(t for t in f.terms if t[0] != axis), f.const)
    return f


def _changed(
    s: Statement, change: Callable[[Affine], Affine], size: Callable[[Size], Size]
) -> Statement:
    if isinstance(s, Load | Store):
        at = change(s.at)
        if at is s.at and not s.guards and not s.indirect:
            return s
        return replace(
            s,
            at=at,
            guards=tuple(_guard(g, change, size) for g in s.guards),
            indirect=tuple(replace(i, stride=size(i.stride)) for i in s.indirect),
        )
    if isinstance(s, Index):
        return replace(s, at=change(s.at))
    if isinstance(s, Inside):
        return replace(s, guards=tuple(_guard(g, change, size) for g in s.guards))
    return s


def _guard(g: Guard, change: Callable[[Affine], Affine], size: Callable[[Size], Size]) -> Guard:
    return Guard(change(g.at), size(g.lo), size(g.hi))


class _Symbols:
    """Names for the numbers of a kernel; equal strides of one axis share a name."""

    def __init__(self, nest: Nest) -> None:
        self.literal = nest.kind == "contract"  # extents, too
        self.literal_strides = self.literal or nest.literal_strides
        self.named = nest.named
        self.cut = nest.cut
        # Where an extent is unknown that is the batch, and dimension 0 holds what it says.
        batched = any(is_unknown(a.extent) for a in nest.parallel)
        self.leading = set() if batched else nest.leading
        # Equal kernels over other numbers of points are one; what is summed is part of the text,
        # because sums are cut by it, unless it is an extent.
        self.small = nest.small_extent
        summed = {a for p in nest.partials for a in p.over}  # each tile knows where its run ends
        first = [a for a in nest.parallel[:1] if a.name not in summed]
        self.outermost = {
            a.name for a in first if not (self._is_window(a) or self._is_row(a, nest.affines()))
        }
        self.names: list[str] = []
        self.values: list[int] = []
        self._known: dict[tuple[str, int], str] = {}

    def axes(self, axes: list[Axis]) -> list[Axis]:
        return [Axis(a.name, self._extent(a)) for a in axes]

    def _extent(self, a: Axis) -> Size:
        if is_unknown(a.extent):
            return self._symbol("n", a.name, a.extent)
        keep = a.name not in self.outermost if self.literal else self._is_window(a)
        keep = self.named.get(a.name, keep)
        return a.extent if keep else self._symbol("n", a.name, a.extent)

    def _is_window(self, a: Axis) -> bool:
        fixed = a.name not in self.leading and not is_unknown(a.extent)
        return fixed and int(a.extent) <= self.small

    def _is_row(self, a: Axis, addresses: Iterable[Affine]) -> bool:
        """Whether a contraction goes along whole rows of it, as a weight gradient along channels:
        their length is a stride of other axes, and so a part of the text already."""
        fixed = self.literal and not is_unknown(a.extent)
        return fixed and any(
            f.stride(a.name) == 1 and any(s == a.extent for _, s in f.terms) for f in addresses
        )

    def affine(self, f: Affine) -> Affine:
        terms = tuple((a, self._stride(a, s)) for a, s in f.terms)
        return Affine(terms, self._offset(f.const) if self.cut else self.size(f.const))

    def _stride(self, axis: str, s: Size) -> Size:
        keep = not is_unknown(s) and (self.literal_strides or s in (1, -1))
        return s if keep else self._symbol("s", axis, s)

    def size(self, s: Size) -> Size:
        keep = not is_unknown(s) and self.literal_strides
        return s if keep else self._offset(s)

    def _offset(self, s: Size) -> Size:
        return s if isinstance(s, str) or s in (0, 1, -1) else self._symbol("o", "", s)

    def _symbol(self, prefix: str, axis: str, value: Size) -> str:
        assert not isinstance(value, str)
        key = (prefix + axis, value)
        if key not in self._known:
            self._known[key] = f"{prefix}{len(self.names)}"
            self.names.append(self._known[key])
            self.values.append(value)
        return self._known[key]


# ---- from views to addresses -------------------------------------------------------------------


def affine(form: Form, shape: Sequence[int]) -> Affine:
    """A form over the domain's dimensions as an address over its axes."""
    terms = tuple((f"d{k}", s) for k, (s, n) in enumerate(zip(form.strides, shape)) if s and n > 1)
    return Affine(terms, form.offset)


def guards(view: View) -> tuple[Guard, ...]:
    """The guards of a view that can fail somewhere in its shape."""
    found: dict[Guard, None] = {}
    for g in view.guards:
        reach = [s * (n - 1) for s, n in zip(g.form.strides, view.shape)]
        low = g.form.offset + sum(r for r in reach if smaller(r, 0))
        high = g.form.offset + sum(r for r in reach if smaller(0, r))
        if not (surely_less(g.lo, low + 1) and surely_less(high, g.hi)):
            found[Guard(affine(g.form, view.shape), g.lo, g.hi)] = None
    return tuple(found)
