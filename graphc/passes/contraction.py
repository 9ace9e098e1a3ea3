"""contraction: dot and conv as one sum of products over named dimensions.

    out[p] = sum over k of a[p, k] * b[p, k]

`p` runs over the result's dimensions (a convolution's channels split into group and channel), `k`
over the summed ones. Both operands are views over (p, k); nothing is copied to shape them so.
"""

from __future__ import annotations

from typing import NamedTuple

from graphc.ir.graph import Value
from graphc.ir.kernel import WindowAxis
from graphc.ir.sizes import is_one
from graphc.ir.types import Shape
from graphc.passes.roles import Geometry
from graphc.passes.view import Form, View, pad, unfold

OUTS = ("d", "h", "w")  # roles of places; a convolution of fewer dimensions has the last ones
TAPS = ("t", "r", "s")


class ContractionViews(NamedTuple):
    """Views of the operands over (result dimensions, summed dimensions), and what those are."""

    views: tuple[View, View]
    summed: Shape  # extents of the summed dimensions
    geometry: Geometry

    def order(self, v: Value) -> list[int]:
        """The summed dimensions, outermost first: as the first operand lies in memory.

        Of images whose samples lie innermost, those or, as if they did, the channels: sums over
        channels keep their bits.
        """
        dims, strides = range(len(self.summed)), self.views[0].address.strides
        if v.attrs.get("samples", -1) >= 0:
            return [*dims[1:], 0]
        return sorted(dims, key=lambda n: -abs(strides[len(strides) - len(dims) + n]))


def split_groups(v: Value) -> Shape:
    """The result's shape as the kernel's domain: a convolution's channels are (group, channel)."""
    if v.op is None or v.op.name != "conv":
        return v.shape
    groups = v.attrs.get("groups", 1) * v.attrs.get("batch_groups", 1)
    return (v.shape[0], groups, v.shape[1] // groups, *v.shape[2:])


def split_dims(k: int) -> tuple[int, ...]:
    """Dimension k of a convolution's result in its domain, whose channels are (group, channel)."""
    if k == 0:
        return (0,)
    return (1, 2) if k == 1 else (k + 1,)


def contraction_views(v: Value, a: View, b: View) -> ContractionViews:
    """Operand views (over their own dimensions) spread over the domain of `v`."""
    assert v.op is not None
    return _conv(v, a, b) if v.op.name == "conv" else _dot(v, a, b)


def _dot(v: Value, a: View, b: View) -> ContractionViews:
    batch, contract = v.attrs["batch"], v.attrs["contract"]
    a_shared = [i for i, _ in (*batch, *contract)]
    b_shared = [j for _, j in (*batch, *contract)]
    a_free = [k for k in range(len(a.shape)) if k not in a_shared]
    b_free = [k for k in range(len(b.shape)) if k not in b_shared]
    summed = tuple(a.shape[i] for i, _ in contract)
    shape = (*v.shape, *summed)
    a_dims = [*(i for i, _ in batch), *a_free, *([None] * len(b_free)), *(i for i, _ in contract)]
    b_dims = [*(j for _, j in batch), *([None] * len(a_free)), *b_free, *(j for _, j in contract)]
    free = ["m"] * len(a_free) + ["n"] * len(b_free)
    roles = (*["batch"] * len(batch), *free, *["k"] * len(contract))
    views = _spread(a, a_dims, shape), _spread(b, b_dims, shape)
    return ContractionViews(views, summed, Geometry.of(shape, roles))


def _spread(view: View, dims: list[int | None], shape: Shape) -> View:
    """The view over `shape`, whose dimension n is the view's dims[n] (None: repeated)."""

    def change(f: Form) -> Form:
        return Form(tuple(0 if k is None else f.strides[k] for k in dims), f.offset)

    return view.map(shape, change)


def _conv(v: Value, x: View, w: View) -> ContractionViews:
    space = len(v.shape) - 2
    low = (0, 0, *(a for a, _ in v.attrs["padding"]))
    high = (0, 0, *(b for _, b in v.attrs["padding"]))
    x = pad(x, low=low, high=high) if any((*low, *high)) else x
    for k in range(space):
        size, stride = w.shape[2 + k], v.attrs["stride"][k]
        gap = v.attrs["rhs_dilation"][k]
        x = unfold(x, axis=2 + k, size=size, step=stride, dilation=gap)
    domain = split_groups(v)
    channels = w.shape[1]
    summed = (channels, *w.shape[2:])
    shape = (*domain, *summed)
    rows, outs = domain[0], domain[2]
    by_batch = v.attrs.get("batch_groups", 1) > 1

    def x_form(f: Form) -> Form:
        group = f.strides[0] * rows if by_batch else f.strides[1] * channels
        places, taps = f.strides[2 : 2 + space], f.strides[2 + space :]
        return Form((f.strides[0], group, 0, *places, f.strides[1], *taps), f.offset)

    def w_form(f: Form) -> Form:
        out = f.strides[0]
        quiet = (0,) * space
        return Form((0, out * outs, out, *quiet, f.strides[1], *f.strides[2:]), f.offset)

    roles = ("n", "g", "k", *OUTS[3 - space :], "c", *TAPS[3 - space :])
    views = x.map(shape, x_form), w.map(shape, w_form)
    return ContractionViews(views, summed, Geometry.of(shape, roles, _window(v)))


def _window(v: Value) -> tuple[WindowAxis, ...]:
    """The axes along which a window slides; one of one place, or one tap, only adds points."""
    x, w = v.args
    found = []
    for k, (low, high) in enumerate(v.attrs["padding"], 2):
        stride, dilation = v.attrs["stride"][k - 2], v.attrs["rhs_dilation"][k - 2]
        still = is_one(v.shape[k]) or (is_one(w.shape[k]) and stride == 1)
        if low or high or not still:
            place = (low, low + x.shape[k]) if low or high else (0, 0)
            names = OUTS[k - len(v.shape)], TAPS[k - len(v.shape)]
            found.append(WindowAxis(*names, stride, dilation, *place))
    return tuple(found)
