"""samples: whether the samples of a batch lie innermost, said by the convolutions of the graph.

Input: a decomposed Graph. Output: the same in which, if all convolutions have so few channels that
these would leave many lanes of a vector empty, each says `samples=d`: points of dimension `d` of
its x are the samples, and they are the lanes, of images [C, *K, B]. Then every load and store of an
image is of whole vectors, windows of pools, too; weights are broadcast; and what padding stands
around an image need not be multiplied, as a tile has one place of it.

Channels alone decide, and whether the step changes the weights: the batch has no say, so a row has
the same bits in any. Of a few samples the places along an image's rows fill the lanes.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from graphc.ir.extent import is_unknown
from graphc.ir.graph import Graph, Value
from graphc.ir.ops import OPS
from graphc.ir.rewrite import rebuild
from graphc.ir.sizes import typical
from graphc.ir.types import f32
from graphc.passes.layout import Reading, base_of
from graphc.passes.orders import identity, reduced_axes
from graphc.passes.profile import Profile


def samples(graph: Graph, profile: Profile) -> Graph:
    """Say so where it pays for all of them: an image between two orders would be copied."""
    convs = [v for v in graph.values() if v.op is OPS["conv"]]
    if not _trained(graph, convs) or not all(_may(v, profile) for v in convs):
        return graph
    products = sum(map(_products, convs))
    lanes = sum(_products(v) / _filled(_outputs(v), profile) for v in convs)
    images = _images(graph, convs)
    if images is None or lanes * (1 - profile.empty_lanes) < products:
        return graph
    return _said(graph, images)


def _trained(graph: Graph, convs: Iterable[Value]) -> bool:
    """Whether the step changes a weight: if so it sees batches, else perhaps single samples."""
    written = {t for t in graph.targets if t is not None}
    return any(v.args[1] in written for v in convs)


def _images(graph: Graph, convs: Iterable[Value]) -> set[Value] | None:
    """Values that would lie so; None if they do not suit what is done with them.

    A sum over a part of an image would have other bits. One over all samples that images wait for,
    a batch norm's, is found by tiles of channels as they are computed.
    """
    images = {_reading(v).base for v in convs}
    summed: set[Value] = set()
    for v in graph.values():
        of_image, of_sum = (not known.isdisjoint(v.args) for known in (images, summed))
        if v.op is None or not (of_image or of_sum):
            continue
        if not of_image or v.op is OPS["dot"]:
            summed |= {v} if of_sum else set()
        elif of_sum:
            return None
        elif _stays(v):
            images.add(v)
        elif _over_samples(v):
            summed.add(v)
        else:
            return None
    return images


def _over_samples(v: Value) -> bool:
    """Whether a sum is one of all samples, whose bits depend on them anyway."""
    reduces = v.op is not None and v.op.kind == "reduce"
    return reduces and 0 in reduced_axes(v) and not any(map(is_unknown, v.shape))


def _said(graph: Graph, images: set[Value]) -> Graph:
    """Convolutions say where their samples are; products read rows of them, as they always do."""
    rows: dict[Value, Value] = {}

    def row(v: Value) -> Value:
        if v in images and v not in rows:
            rows[v] = v.builder.apply("contiguous", v, order=identity(v))
        return rows.get(v, v)

    def visit(v: Value) -> Value:
        if v.op is OPS["dot"]:
            args = tuple(map(row, v.args))
            return v if args == v.args else v.builder.again(v, args)
        if v.op is OPS["conv"]:
            v = v.builder.emit(v.op, v.args, {**v.attrs, "samples": _samples(v)})
        if not images.isdisjoint(v.args) and _stays(v):
            images.add(v)
        return v

    return rebuild(graph, visit)


def _stays(v: Value) -> bool:
    """Whether what is computed of an image is one."""
    assert v.op is not None
    kinds = ("elementwise", "movement")
    return v.op is OPS["conv"] or v.op.kind in kinds or (v.op.kind == "reduce" and v.op.exact)


def _samples(v: Value) -> int:
    """The dimension of x that the samples are; a weight gradient sums over them."""
    return _reading(v).perm.index(0)


def _reading(v: Value) -> Reading:
    return base_of(v, (True,) * (len(v.shape) - 2))


def _may(v: Value, profile: Profile) -> bool:
    """Whether it is plain, of few channels, in float32, and all but the samples is known."""
    x, w = v.args
    at = _samples(v)
    steps = {*v.attrs["lhs_dilation"], v.attrs.get("groups", 1), v.attrs.get("batch_groups", 1)}
    others = (*x.shape[:at], *x.shape[at + 1 :], w.shape[0], *w.shape[2:])
    if at > 1 or any(map(is_unknown, others)) or steps != {1}:
        return False
    channels = x.shape[1 - at], w.shape[0]
    return max(channels) <= profile.few_channels and v.spec.dtype is f32


def _products(v: Value) -> int:
    return typical(v.spec.numel) * typical(prod(v.args[1].shape[1:]))


def _outputs(v: Value) -> int:
    """Channels that would lie across lanes: a weight gradient's [C, O, *K] are O."""
    return v.shape[1]


def _filled(n: int, profile: Profile) -> float:
    """The part of the lanes that channels fill, of vectors or of halves of them."""
    whole, half = (n / (-(-n // lanes) * lanes) for lanes in (profile.run, profile.run // 2 or 1))
    return max(whole, half * profile.half_rate)
