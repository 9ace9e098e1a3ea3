"""torch.nn.attention.flex_attention: attention whose scores and mask are functions of positions.

The functions are called once with all positions at a time, [B,1,1,1], [H,1,1], [Q,1] and [KV], so
they are to be written elementwise, as PyTorch demands, too. Blocks without any visible pair are
computed like the others: the mask is dense.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, sqrt
from typing import Any, NamedTuple

from graphc.errors import Unsupported
from graphc.frontend.api.creation import arange
from graphc.frontend.api.elementwise import where
from graphc.frontend.api.reductions import logsumexp
from graphc.frontend.operands import broadcast_to
from graphc.frontend.tensor import Tensor

__all__ = [
    "AuxRequest",
    "BlockMask",
    "and_masks",
    "create_block_mask",
    "create_mask",
    "flex_attention",
    "noop_mask",
    "or_masks",
]

_DEFAULT_SPARSE_BLOCK_SIZE = 128
Mask = Callable[..., Any]


class AuxRequest(NamedTuple):
    """What `return_aux` would ask for."""

    lse: bool = False
    max_scores: bool = False


class BlockMask(NamedTuple):
    """Who may be seen: `mask_mod(b, h, q, kv)` over [B, H, Q, KV]."""

    mask_mod: Mask
    sizes: tuple[int, int, int, int]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return self.sizes


def noop_mask(batch: Any, head: Any, token_q: Any, token_kv: Any) -> Any:
    """Everybody sees everybody."""
    return token_q >= 0


def and_masks(*mask_mods: Mask) -> Mask:
    """What all of them allow."""

    def both(b: Any, h: Any, q: Any, kv: Any) -> Any:
        allowed = noop_mask(b, h, q, kv)
        for mask in mask_mods:
            allowed = allowed & mask(b, h, q, kv)
        return allowed

    return both


def or_masks(*mask_mods: Mask) -> Mask:
    """What one of them allows."""

    def either(b: Any, h: Any, q: Any, kv: Any) -> Any:
        allowed = q < 0
        for mask in mask_mods:
            allowed = allowed | mask(b, h, q, kv)
        return allowed

    return either


def _places(sizes: tuple[int, int, int, int], device: Any) -> list[Tensor]:
    """Batch, head, query and key numbers, each along its own dimension."""
    return [arange(n, device=device).reshape(n, *(1,) * (3 - k)) for k, n in enumerate(sizes)]


def create_mask(
    mod_fn: Mask, B: int | None, H: int | None, Q_LEN: int, KV_LEN: int, device: Any = None
) -> Tensor:
    """The mask as bool [B, H, Q, KV]."""
    sizes = (B or 1, H or 1, Q_LEN, KV_LEN)
    return broadcast_to(mod_fn(*_places(sizes, device)), sizes)


def create_block_mask(
    mask_mod: Mask,
    B: int | None,
    H: int | None,
    Q_LEN: int,
    KV_LEN: int,
    device: Any = None,
    BLOCK_SIZE: Any = 128,
    _compile: bool = False,
) -> BlockMask:
    """A mask for flex_attention; block sizes change nothing."""
    return BlockMask(mask_mod, (B or 1, H or 1, Q_LEN, KV_LEN))


def flex_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    score_mod: Callable[..., Any] | None = None,
    block_mask: BlockMask | None = None,
    scale: float | None = None,
    enable_gqa: bool = False,
    return_lse: bool = False,
    kernel_options: Any = None,
    *,
    return_aux: Any = None,
) -> Any:
    """softmax(score_mod(q k^T * scale)) v over q [B,H,Q,E], k [B,H,KV,E], v [B,H,KV,F].

    A query that may see nobody gets zeros. With return_lse also the logarithms of the sums [B,H,Q].
    """
    if return_aux is not None:
        raise Unsupported("flex_attention: return_aux", fix="use return_lse=True")
    if enable_gqa and query.shape[1] != key.shape[1]:
        times = query.shape[1] // key.shape[1]
        key, value = (x.repeat_interleave(times, 1) for x in (key, value))
    scores = (query * (1.0 / sqrt(query.shape[-1]) if scale is None else scale)) @ key.mT
    batch, heads, queries, keys = scores.shape
    places = _places((batch, heads, queries, keys), query.device)
    if score_mod is not None:
        scores = score_mod(scores, *places)
    if block_mask is not None:
        scores = where(broadcast_to(block_mask.mask_mod(*places), scores.spec.shape), scores, -inf)
    sums = logsumexp(scores, -1, keepdim=True)
    blind = sums == -inf
    weights = where(blind, 0.0, (scores - where(blind, 0.0, sums)).exp())
    out = weights @ value
    return (out, sums.squeeze(-1)) if return_lse else out
