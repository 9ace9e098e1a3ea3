"""Scaled dot-product attention."""

from __future__ import annotations

from math import inf, sqrt

from graphc.errors import InvalidState
from graphc.frontend.elementwise import where
from graphc.frontend.tensor import Tensor
from graphc.ir.ops import OPS
from graphc.ir.types import Shape, bool_
from graphc.nn.functional.activation import softmax
from graphc.nn.functional.dropout import dropout

__all__ = ["scaled_dot_product_attention"]


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """softmax(q k^T * scale + mask) v over q [...,L,E], k [...,S,E], v [...,S,F] -> [...,L,F].

    A bool mask says who may be seen, a float mask is added; `scale` is 1/sqrt(E) unless given.
    """
    return attend(query, key, value, attn_mask, dropout_p, is_causal, scale)[0]


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    dropout_p: float,
    is_causal: bool,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """The attended values and the weights [...,L,S] that made them."""
    # Scaling the query costs L*E multiplications instead of L*S.
    factor = 1.0 / sqrt(query.shape[-1]) if scale is None else scale
    scores = (query * factor) @ key.transpose(-2, -1)
    if is_causal:
        if mask is not None:
            raise InvalidState("Explicit attn_mask should not be set when is_causal=True")
        mask = causal_mask(scores, scores.type.shape[-2:])
    if mask is not None:
        scores = where(mask, scores, -inf) if mask.dtype is bool_ else scores + mask
    weights = softmax(scores, -1)
    used = dropout(weights, dropout_p) if dropout_p else weights
    return used @ value, weights


def causal_mask(like: Tensor, shape: Shape) -> Tensor:
    """bool [L,S]: whether position l may see position s, that is s <= l."""
    row = like.emit(OPS["iota"], shape=shape, axis=0, dtype="i64")
    column = like.emit(OPS["iota"], shape=shape, axis=1, dtype="i64")
    return column <= row
