"""Attention: softmax(q k^T * scale, masked) v, its row statistics, and its gradients.

Over q [*N,L,E], k [*N,S,E], v [*N,S,F] and a mask [*N,L,S]: of bools, which say what is kept, the
rest being `fill`; or of floats, which are added. With `causal`, row l keeps the columns s <= l. A
row of -inf alone has weights of zero where `safe`, else NaN. Where `drop` is not 0, a weight is
kept if the 24 high bits of its random number (see `random_bits`, over [*N,L,S]) reach `drop`, and
then multiplied by `gain`. Everything is computed in float64 and rounded once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from graphc.ir.meaning.sources import random_bits
from graphc.ir.types import Array

UNIT_BITS = 24  # of a random number that a uniform float32 is made of


class Weights(NamedTuple):
    """Softmax's results, the factors of dropout, and the logarithm of each row's sum."""

    p: Array
    kept: Array
    lse: Array
    seen: Array  # where scores are not filled


def _seen(mask: Array, causal: bool) -> Array:
    seen = mask if mask.dtype == np.bool_ else np.ones(mask.shape, np.bool_)
    if causal:
        rows, columns = mask.shape[-2:]
        seen = seen & (np.arange(columns) <= np.arange(rows)[:, None])
    return seen


def _kept(shape: tuple[int, ...], seed: Array, draw: Array, drop: int, gain: float) -> Array:
    if not drop:
        return np.ones(shape)
    bits = random_bits(seed, draw, shape=shape) >> (32 - UNIT_BITS) & (1 << UNIT_BITS) - 1
    return np.where(bits >= drop, gain, 0.0)


def _weights(
    q: Array, k: Array, mask: Array, seed: Array, draw: Array, *, scale: float, causal: bool,
    fill: float, safe: bool, drop: int, gain: float,
) -> Weights:  # fmt: skip
    s = (q.astype(np.float64) * scale) @ k.astype(np.float64).swapaxes(-1, -2)
    seen = _seen(mask, causal)
    s = np.where(seen, s if mask.dtype == np.bool_ else s + mask, fill)
    top = s.max(-1, keepdims=True, initial=-np.inf)
    top = np.where(np.isneginf(top), 0.0, top)
    e = np.exp(s - top)
    total = e.sum(-1, keepdims=True)
    lse = top + np.log(total)
    if safe:
        lse = np.where(total == 0, np.inf, lse)
    kept = _kept(s.shape, seed, draw, drop, gain)
    return Weights(e / np.where((total == 0) & safe, 1.0, total), kept, lse[..., 0], seen)


def attention(
    q: Array, k: Array, v: Array, mask: Array, seed: Array, draw: Array, **attrs: Any
) -> Array:
    """[*N,L,F]: for each row of q the mean of v's rows by their weights."""
    w = _weights(q, k, mask, seed, draw, **attrs)
    out: Array = (w.p * w.kept) @ v.astype(np.float64)
    return out.astype(q.dtype)


def attention_lse(
    q: Array, k: Array, v: Array, mask: Array, seed: Array, draw: Array, **attrs: Any
) -> Array:
    """[*N,L]: log(sum(exp(scores))) of each row, +inf of a row without any where `safe`."""
    wide = q.dtype if q.dtype.itemsize >= 4 else np.float32
    return _weights(q, k, mask, seed, draw, **attrs).lse.astype(wide)


def _pulled(w: Weights, v: Array, out: Array, g: Array, mean: Array | None) -> Array:
    """The cotangents of the scores, from those of the result; `mean` is sum(g * out) of each row,
    where that was computed before."""
    g = g.astype(np.float64)
    mean = (g * out).sum(-1, keepdims=True) if mean is None else mean[..., None]
    back = w.p * (w.kept * (g @ v.astype(np.float64).swapaxes(-1, -2)) - mean)
    return np.where(w.seen, back, 0.0)


def attention_dq(
    q: Array, k: Array, v: Array, mask: Array, seed: Array, draw: Array,
    out: Array, lse: Array, g: Array, mean: Array | None = None, **attrs: Any,
) -> Array:  # fmt: skip
    """The cotangent of q, given the result, its row statistics and its cotangent g."""
    w = _weights(q, k, mask, seed, draw, **attrs)
    back: Array = _pulled(w, v, out, g, mean) @ k.astype(np.float64) * attrs["scale"]
    return back.astype(q.dtype)


def attention_dk(
    q: Array, k: Array, v: Array, mask: Array, seed: Array, draw: Array,
    out: Array, lse: Array, g: Array, mean: Array | None = None, **attrs: Any,
) -> Array:  # fmt: skip
    """The cotangent of k."""
    w = _weights(q, k, mask, seed, draw, **attrs)
    pulled = _pulled(w, v, out, g, mean).swapaxes(-1, -2)
    back: Array = pulled @ q.astype(np.float64) * attrs["scale"]
    return back.astype(q.dtype)


def attention_dv(
    q: Array, k: Array, v: Array, mask: Array, seed: Array, draw: Array,
    out: Array, lse: Array, g: Array, mean: Array | None = None, **attrs: Any,
) -> Array:  # fmt: skip
    """The cotangent of v."""
    w = _weights(q, k, mask, seed, draw, **attrs)
    back: Array = (w.p * w.kept).swapaxes(-1, -2) @ g.astype(np.float64)
    return back.astype(q.dtype)
