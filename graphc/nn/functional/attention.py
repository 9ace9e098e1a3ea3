"""Scaled dot-product attention."""

from __future__ import annotations

from math import inf, sqrt

from graphc.errors import DTypeMismatch, InvalidState, ShapeMismatch
from graphc.frontend.api.elementwise import where
from graphc.frontend.tensor import Tensor
from graphc.frontend.whole import whole
from graphc.ir.ops import OPS
from graphc.ir.types import Shape, bool_, f32
from graphc.nn.functional.activation import softmax
from graphc.nn.functional.dropout import dropout

__all__ = ["scaled_dot_product_attention"]


@whole("scaled_dot_product_attention", laid=True)
def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(q k^T * scale + mask) v over q [...,L,E], k [...,S,E], v [...,S,F] -> [...,L,F].

    A bool mask says who may be seen, a float mask is added; `scale` is 1/sqrt(E) unless given. A
    query that may see nobody gets zeros. With enable_gqa, each head of k and v [..., H, S, *]
    serves several of q, whose number of heads is a multiple.
    """
    if attn_mask is not None and not (
        attn_mask.dtype is bool_ or attn_mask.dtype is query.dtype or attn_mask.dtype is f32
    ):
        raise DTypeMismatch(
            "Expected attn_mask dtype to be bool or float or to match query dtype, but got "
            f"attn_mask.dtype: {attn_mask.dtype} and  query.dtype: {query.dtype} instead."
        )
    if enable_gqa:
        key, value = _served(query, key), _served(query, value)
    return attend(query, key, value, attn_mask, dropout_p, is_causal, scale)[0]


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    dropout_p: float,
    is_causal: bool,
    scale: float | None = None,
    safe: bool = True,
) -> tuple[Tensor, Tensor]:
    """The attended values and the weights [...,L,S] that made them."""
    # Scaling the query costs L*E multiplications instead of L*S.
    factor = 1.0 / sqrt(query.shape[-1]) if scale is None else scale
    scores = (query * factor) @ key.transpose(-2, -1)
    if is_causal:
        if mask is not None:
            raise InvalidState("Explicit attn_mask should not be set when is_causal=True")
        mask = causal_mask(scores, scores.spec.shape[-2:])
    if mask is not None:
        scores = where(mask, scores, -inf) if mask.dtype is bool_ else scores + mask
    weights = softmax(scores, -1) if mask is None or not safe else _safe_softmax(scores)
    used = dropout(weights, dropout_p) if dropout_p else weights
    return used @ value, used


def _safe_softmax(scores: Tensor) -> Tensor:
    """softmax over the last dimension that gives zeros, not NaN, where all are -inf."""
    if scores.dtype.is_half:
        return _safe_softmax(scores.to(f32)).to(scores.dtype)
    if not scores.shape[-1]:
        return scores
    top = scores.detach().amax(-1, keepdim=True)
    e = (scores - where(top == -inf, 0.0, top)).exp()
    return e / where(top == -inf, 1.0, e.sum(-1, keepdim=True))


def _served(query: Tensor, shared: Tensor) -> Tensor:
    """Keys or values with each head repeated for the query heads that it serves."""
    heads, own = query.shape[-3], shared.shape[-3]
    if own == 0 or heads % own:
        raise ShapeMismatch(
            "Number of heads in key and value must divide the number of heads in query"
        )
    return shared if own == heads else shared.repeat_interleave(heads // own, -3)


def causal_mask(like: Tensor, shape: Shape) -> Tensor:
    """bool [L,S]: whether position l may see position s, that is s <= l."""
    row = like.emit(OPS["iota"], shape=shape, axis=0, dtype="i64")
    column = like.emit(OPS["iota"], shape=shape, axis=1, dtype="i64")
    return column <= row
