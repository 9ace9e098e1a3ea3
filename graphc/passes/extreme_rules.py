"""Rules of `simplify` about extremes and where they stand: what is asked at the place of an extreme
is asked of the extreme itself, which is smaller and needs no gather."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from graphc.ir import sugar as P
from graphc.ir.graph import Value
from graphc.ir.ops import OPS
from graphc.ir.types import TensorSpec

# The reduce that gives the element of which another says where it stands, by what both look for.
EXTREMES: dict[str, str] = {op.best: op.name for op in OPS.values() if op.best and not op.position}


def take_extreme(v: Value) -> Value:
    """take_along(x, argmax(x)) => max(x): a reduction in place of a gather."""
    source, index = v.args
    m = _extreme_at(index, source, v.attrs["axis"])
    return v if m is None or m.shape != v.shape else m


def mask_of_extreme(v: Value) -> Value:
    """where(x <= 0, 0, back(put_along(g, argmax(w)))) => back(put_along(where(max(w) <= 0, 0, g),
    argmax(w))), where w are windows of x, or x moved otherwise, and `back` takes them to where x
    has them: behind an activation, a pooling's gradient is masked before it is spread.

    Any comparison of x with a number will do: at the extremes it is one of these, and elsewhere
    there is 0 with it and without it. Sums of windows that overlap add the same terms.
    """
    condition, zero, spread = v.args
    if repr(zero.const) != "0.0" or condition.op is None or len(condition.args) != 2:
        return v
    x, bound = condition.args
    if x.const is not None or bound.const is None or x.shape != v.shape:
        return v
    chain = [spread]
    while chain[-1].op is not None and chain[-1].op.name in WINDOWS:
        x = WINDOWS[chain[-1].op.name](chain[-1], x)
        chain.append(chain[-1].args[0])
    put = chain.pop()
    if put.op is None or put.op.name != "put_along":
        return v
    g, index = put.args
    m = _extreme_at(index, x, put.attrs["axis"])
    if m is None or m.shape != g.shape:
        return v
    at_extreme = m.emit(condition.op, m, _like(bound, m), **condition.attrs)
    w = P.where(at_extreme, _like(zero, g), g)
    w = w.emit(put.op, w, index, **put.attrs)
    for moved in reversed(chain):
        assert moved.op is not None
        w = w.emit(moved.op, w, **moved.attrs)
    return w


def _extreme_at(index: Value, source: Value, axis: int) -> Value | None:
    """The extreme of `source` along an axis whose place the index is, with size 1 there."""
    checked = False
    while index.op is not None and index.op.name in ("reshape", "check_index", "cast", "where"):
        checked |= index.op.checks
        if index.op.name == "where":
            # Where all elements are the same, each place has the extreme, if the row has the place.
            if checked or not _all_least(index.args[0], source, axis):
                return None
            index = index.args[2]
        else:
            index = index.args[0]
    op = index.op
    if op is None or not op.position or index.args[0] is not source or index.attrs["axis"] != axis:
        return None
    m = source.builder.apply(EXTREMES[op.best], source, axes=(axis,))
    return P.reshape(m, (*source.shape[:axis], 1, *source.shape[axis + 1 :]))


def _all_least(condition: Value, source: Value, axis: int) -> bool:
    """Whether the condition says that all of `source` along the axis is -inf."""
    if condition.op is None or condition.op.name != "eq" or condition.args[1].const != -inf:
        return False
    m = condition.args[0]
    while m.op is not None and m.op.name == "reshape":
        m = m.args[0]
    of_source = m.op is not None and m.op.name == "max" and m.args[0] is source
    return of_source and m.attrs["axes"] == (axis,)


def _like(constant: Value, v: Value) -> Value:
    """The same number for each element of `v`."""
    assert constant.const is not None
    return v.builder.constant(constant.const, TensorSpec(constant.spec.dtype, v.shape))


def _unfolded(fold: Value, x: Value) -> Value:
    step, dilation, size = fold.attrs["step"], fold.attrs["dilation"], fold.args[0].shape[-1]
    axis = fold.attrs["axis"]
    return x.builder.apply("unfold", x, axis=axis, size=size, step=step, dilation=dilation)


def _padded(cut: Value, x: Value) -> Value:
    """With what no extreme is, as a pooling pads its input."""
    whole, start, stop, step = cut.args[0].shape, *(cut.attrs[k] for k in ("start", "stop", "step"))
    if any(s != 1 for s in step):
        return x
    high = tuple(n - e for n, e in zip(whole, stop, strict=True))
    return x.builder.apply("pad", x, low=start, high=high, value=-inf)


# What takes the gradient of a movement back, and that movement, of x.
WINDOWS: dict[str, Callable[[Value, Value], Value]] = {
    "fold": _unfolded,
    "slice": _padded,
    "reshape": lambda v, x: P.reshape(x, v.args[0].shape),
}
