"""Attention of several heads: projections, masks, and what is joined to the keys."""

from __future__ import annotations

from math import inf

from graphc.errors import AssertedShape, DTypeMismatch, InvalidArgument, InvalidState, ShapeMismatch
from graphc.frontend.api.elementwise import where
from graphc.frontend.api.shapes import cat
from graphc.frontend.autocast import aware
from graphc.frontend.tensor import Tensor
from graphc.ir.types import bool_
from graphc.nn.functional.attention import attend as attention
from graphc.nn.functional.linear import linear as product

__all__ = ["multi_head_attention_forward"]

linear, attend = aware("linear", product), aware("scaled_dot_product_attention", attention)


def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """query [L,B,E], key [S,B,*], value [S,B,*] (or all without B) -> [L,B,E], and weights.

    The weights [B,L,S] are averaged over the heads unless told otherwise; None if not needed. A
    bool mask is True where nothing may be seen, a float mask is added. bias_k and bias_v [1,1,E],
    then zeros, are joined to keys and values if asked for; static_k and static_v
    [B*heads,S,head_dim] stand in for the projected ones.
    """
    batched = _check(query, key, value, embed_dim_to_check, num_heads, is_causal, attn_mask)
    apart = (q_proj_weight, k_proj_weight, v_proj_weight)
    weights = _weights(use_separate_proj_weight, in_proj_weight, apart)
    q, k, v = _projected(_batch_first([query, key, value], batched), weights, in_proj_bias)
    if bias_k is not None and bias_v is not None:
        k, v = (
            cat([x, b.expand(x.shape[0], 1, b.shape[2])], 1) for x, b in ((k, bias_k), (v, bias_v))
        )
    q, k, v = (_heads(x, num_heads) for x in (q, k, v))
    k = k if static_k is None else _static(static_k, k)
    v = v if static_v is None else _static(static_v, v)
    joined = (bias_k is not None) + add_zero_attn
    if add_zero_attn:
        k, v = (cat([x, x.new_zeros(*x.shape[:2], 1, x.shape[3])], 2) for x in (k, v))
    mask = _mask(attn_mask, key_padding_mask, q, k, joined)
    rate = dropout_p if training else 0.0
    hint = is_causal and not need_weights and key_padding_mask is None and not joined
    out, used = attend(q, k, v, None if hint else mask, rate, hint, safe=not need_weights)
    batch, _, length, _ = out.shape
    out = linear(out.transpose(1, 2).reshape(batch, length, -1), out_proj_weight, out_proj_bias)
    out = out.transpose(0, 1) if batched else out.squeeze(0)
    if not need_weights:
        return out, None
    shown = used.mean(dim=1) if average_attn_weights else used
    return out, shown if batched else shown.squeeze(0)


def _weights(
    separate: bool, together: Tensor | None, apart: tuple[Tensor | None, ...]
) -> list[Tensor]:
    """The matrices of the projections: one for all, or one each."""
    weights = [w for w in (apart if separate else (together,)) if w is not None]
    if separate and len(weights) < len(apart):
        raise InvalidArgument("use_separate_proj_weight is True but a weight is None")
    if not weights:
        raise InvalidArgument("use_separate_proj_weight is False but in_proj_weight is None")
    return weights


def _check(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    width: int,
    num_heads: int,
    is_causal: bool,
    attn_mask: Tensor | None,
) -> bool:
    """Whether the inputs have a batch; raises if they do not fit."""
    if query.dim() not in (2, 3):
        raise AssertedShape(
            f"query should be unbatched 2D or batched 3D tensor but received {query.dim()}-D "
            "query tensor"
        )
    if not query.dim() == key.dim() == value.dim():
        raise AssertedShape(
            f"query, key and value must have one rank, got {query.spec}, {key.spec}, {value.spec}"
        )
    if is_causal and attn_mask is None:
        raise InvalidState(
            "Need attn_mask if specifying the is_causal hint. You may use the Transformer module "
            "method `generate_square_subsequent_mask` to create this mask."
        )
    if query.shape[-1] != width:
        raise AssertedShape(
            f"was expecting embedding dimension of {width}, but got {query.shape[-1]}"
        )
    if num_heads <= 0 or width % num_heads:
        raise AssertedShape(f"embed_dim {width} not divisible by num_heads {num_heads}")
    if key.shape[:-1] != value.shape[:-1]:
        raise AssertedShape(
            f"key's sequence and batch dims {key.shape[:-1]} do not match value's "
            f"{value.shape[:-1]}"
        )
    return query.dim() == 3


def _batch_first(tensors: list[Tensor], batched: bool) -> list[Tensor]:
    """[B,L,E] each; what is one tensor stays one, so that it is projected at once."""
    made: dict[int, Tensor] = {}
    for x in tensors:
        if id(x) not in made:
            made[id(x)] = x.transpose(0, 1) if batched else x.unsqueeze(0)
    return [made[id(x)] for x in tensors]


def _projected(tensors: list[Tensor], weights: list[Tensor], bias: Tensor | None) -> list[Tensor]:
    if len(weights) == 1 and tensors[0] is tensors[1] is tensors[2]:
        # One product of three times the width.
        return list(linear(tensors[0], weights[0], bias).chunk(3, -1))
    parts = list(weights[0].chunk(3)) if len(weights) == 1 else weights
    biases = (None,) * 3 if bias is None else bias.chunk(3)
    return [linear(x, w, b) for x, w, b in zip(tensors, parts, biases)]


def _heads(x: Tensor, count: int) -> Tensor:
    """[B,L,E] -> [B,heads,L,head_dim]."""
    batch, length, width = x.shape
    return x.reshape(batch, length, count, width // count).transpose(1, 2)


def _static(given: Tensor, like: Tensor) -> Tensor:
    batch, heads, _, width = like.shape
    if given.dim() != 3 or given.shape[0] != batch * heads or given.shape[2] != width:
        raise AssertedShape(
            f"expecting static keys and values of size ({batch * heads}, S, {width}), "
            f"got {given.spec}"
        )
    return given.reshape(batch, heads, given.shape[1], width)


def _mask(
    attn_mask: Tensor | None,
    key_padding_mask: Tensor | None,
    q: Tensor,
    k: Tensor,
    joined: int,
) -> Tensor | None:
    """What is added to the scores [B,heads,L,S]: 0, or -inf where nothing may be seen."""
    batch, heads, length, _ = q.shape
    steps = k.shape[2] - joined
    total: Tensor | None = None
    if attn_mask is not None:
        shapes = ((length, steps), (batch * heads, length, steps))
        if tuple(attn_mask.shape) not in shapes:
            wanted = shapes[attn_mask.dim() == 3]
            raise ShapeMismatch(
                f"The shape of the {attn_mask.dim()}D attn_mask is {attn_mask.shape}, but should "
                f"be {wanted}."
            )
        total = _added(attn_mask, q)
        if total.dim() == 3:
            total = total.reshape(batch, heads, length, steps)
    if key_padding_mask is not None:  # [B,S] or [S]
        if key_padding_mask.numel() != batch * steps or key_padding_mask.shape[-1] != steps:
            raise AssertedShape(
                f"expecting key_padding_mask shape of {(batch, steps)}, but got "
                f"{key_padding_mask.shape}"
            )
        rows = _added(key_padding_mask, q).reshape(batch, 1, 1, steps)
        total = rows if total is None else total + rows
    if total is None or not joined:
        return total
    return cat([total, total.new_zeros(*total.shape[:-1], joined)], -1)


def _added(mask: Tensor, like: Tensor) -> Tensor:
    if not (mask.dtype is bool_ or mask.dtype.is_floating_point):
        raise DTypeMismatch(
            f"only bool and floating types of masks are supported, got {mask.spec}",
            fix="pass mask.bool() (True: may not be seen)",
        )
    return where(mask, -inf, 0.0).to(like.dtype) if mask.dtype is bool_ else mask
