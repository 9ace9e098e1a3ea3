"""Multi-head attention and the transformer encoder."""

from __future__ import annotations

import copy
from collections.abc import Callable
from math import inf

from graphc.errors import InvalidArgument, ShapeMismatch
from graphc.frontend.creation import empty
from graphc.frontend.elementwise import where
from graphc.frontend.tensor import Tensor
from graphc.ir.types import DType, bool_
from graphc.nn import functional as F
from graphc.nn import init
from graphc.nn.containers import ModuleList
from graphc.nn.dropout import Dropout
from graphc.nn.functional.attention import attend, causal_mask
from graphc.nn.linear import Linear
from graphc.nn.module import Module
from graphc.nn.normalization import LayerNorm
from graphc.nn.parameter import Parameter

__all__ = ["MultiheadAttention", "TransformerEncoder", "TransformerEncoderLayer"]


class MultiheadAttention(Module):
    """Attention of `num_heads` heads over queries, keys and values of width embed_dim."""

    in_proj_bias: Parameter | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: object = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        if embed_dim <= 0 or num_heads <= 0 or embed_dim % num_heads:
            raise InvalidArgument(
                f"embed_dim must be divisible by num_heads, got {embed_dim} and {num_heads}"
            )
        if add_bias_kv or add_zero_attn or {kdim, vdim} - {None, embed_dim}:
            raise InvalidArgument(
                "add_bias_kv, add_zero_attn and kdim or vdim other than embed_dim "
                "are not supported",
                why="keys and values share the query's projection",
                fix="project them to embed_dim with nn.Linear first",
            )
        self.embed_dim = embed_dim
        self.num_heads = num_heads
        self.dropout = dropout
        self.batch_first = batch_first
        self.head_dim = embed_dim // num_heads
        self.in_proj_weight = Parameter(empty(3 * embed_dim, embed_dim, device=device, dtype=dtype))
        self.in_proj_bias = (
            Parameter(empty(3 * embed_dim, device=device, dtype=dtype)) if bias else None
        )
        self.out_proj = Linear(embed_dim, embed_dim, bias=bias, device=device, dtype=dtype)
        init.xavier_uniform_(self.in_proj_weight)
        if self.in_proj_bias is not None and self.out_proj.bias is not None:
            init.zeros_(self.in_proj_bias)
            init.zeros_(self.out_proj.bias)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """query [L,B,E] (batch_first: [B,L,E]; unbatched: [L,E]) -> output alike, and weights.

        Weights are [B,L,S], averaged over the heads unless told otherwise; None if not needed.
        A bool mask is True where a position must not be seen (as in PyTorch's module).
        """
        if query.dim() not in (2, 3) or query.shape[-1] != self.embed_dim:
            raise ShapeMismatch(
                f"query should be unbatched 2D or batched 3D of width {self.embed_dim}, "
                f"got {query.type}"
            )
        unbatched = query.dim() == 2
        same = (key is query, value is query)
        tensors = [query, query if same[0] else key, query if same[1] else value]
        if unbatched:
            tensors = [t.unsqueeze(0) for t in tensors]
        elif not self.batch_first:
            tensors = [t.transpose(0, 1) for t in tensors]
        q, k, v = self._project(tensors, self_attention=all(same))
        mask = self._mask(attn_mask, key_padding_mask, is_causal, q, k)
        heads, weights = attend(q, k, v, mask, self.dropout if self.training else 0.0, False)
        batch, _, length, _ = heads.shape
        out = self.out_proj(heads.transpose(1, 2).reshape(batch, length, self.embed_dim))
        averaged = weights.mean(dim=1) if average_attn_weights else weights
        if unbatched:
            out, averaged = out.squeeze(0), averaged.squeeze(0)
        elif not self.batch_first:
            out = out.transpose(0, 1)
        return out, averaged if need_weights else None

    def _project(self, tensors: list[Tensor], self_attention: bool) -> list[Tensor]:
        """[B,L,E] three times -> q, k, v as [B,heads,L,head_dim]."""
        if self_attention:  # one product of three times the width
            joined = F.linear(tensors[0], self.in_proj_weight, self.in_proj_bias)
            parts = list(joined.chunk(3, -1))
        else:
            weights = self.in_proj_weight.chunk(3)
            biases = (None,) * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
            parts = [F.linear(t, w, b) for t, w, b in zip(tensors, weights, biases)]
        shape = (self.num_heads, self.head_dim)
        return [p.reshape(*p.shape[:2], *shape).transpose(1, 2) for p in parts]

    def _mask(
        self,
        attn_mask: Tensor | None,
        key_padding_mask: Tensor | None,
        is_causal: bool,
        q: Tensor,
        k: Tensor,
    ) -> Tensor | None:
        """What is added to the scores [B,heads,L,S]: 0, or -inf where nothing may be seen."""
        if is_causal and attn_mask is None:
            attn_mask = ~causal_mask(q, (q.shape[2], k.shape[2]))
        if attn_mask is not None and attn_mask.dim() == 3:  # [B*heads,L,S]
            attn_mask = attn_mask.reshape(-1, self.num_heads, *attn_mask.shape[1:])
        masks = [attn_mask]
        if key_padding_mask is not None:  # [B,S] or [S]
            rows = key_padding_mask.reshape(-1, 1, 1, key_padding_mask.shape[-1])
            masks.append(rows)
        total: Tensor | None = None
        for mask in masks:
            if mask is not None:
                added = where(mask, -inf, 0.0).to(q.dtype) if mask.dtype is bool_ else mask
                total = added if total is None else total + added
        return total


class TransformerEncoderLayer(Module):
    """Self-attention and a feed-forward network, each with dropout, residual and LayerNorm."""

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[Tensor], Tensor] = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: object = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        self.self_attn = MultiheadAttention(
            d_model, nhead, dropout, bias, batch_first=batch_first, device=device, dtype=dtype
        )
        self.linear1 = Linear(d_model, dim_feedforward, bias, device, dtype)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, device, dtype)
        self.norm_first = norm_first
        self.norm1 = LayerNorm(d_model, layer_norm_eps, True, bias, device, dtype)
        self.norm2 = LayerNorm(d_model, layer_norm_eps, True, bias, device, dtype)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)
        self.activation = _activation(activation)

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        def attended(x: Tensor) -> Tensor:
            out, _ = self.self_attn(
                x,
                x,
                x,
                attn_mask=src_mask,
                key_padding_mask=src_key_padding_mask,
                need_weights=False,
                is_causal=is_causal,
            )
            return self.dropout1(out)  # type: ignore[no-any-return]  # a module's call is untyped

        if self.norm_first:
            x = src + attended(self.norm1(src))
            return x + self._feed_forward(self.norm2(x))
        x = self.norm1(src + attended(src))
        return self.norm2(x + self._feed_forward(x))  # type: ignore[no-any-return]  # as above

    def _feed_forward(self, x: Tensor) -> Tensor:
        hidden = self.dropout(self.activation(self.linear1(x)))
        return self.dropout2(self.linear2(hidden))  # type: ignore[no-any-return]  # as above


def _activation(name: str | Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    if not isinstance(name, str):
        return name
    known: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "gelu": F.gelu}
    if name not in known:
        raise InvalidArgument(f"activation should be relu/gelu, not {name}")
    return known[name]


class TransformerEncoder(Module):
    """`num_layers` copies of an encoder layer, and a final norm if given."""

    def __init__(
        self,
        encoder_layer: Module,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        super().__init__()
        self.layers = ModuleList(copy.deepcopy(encoder_layer) for _ in range(num_layers))
        self.num_layers = num_layers
        self.norm = norm

    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        for layer in self.layers:
            src = layer(src, mask, src_key_padding_mask, bool(is_causal))
        return src if self.norm is None else self.norm(src)
