"""Attention, transformers and embeddings with all of their arguments, against PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

import numpy as np
import pytest

import graphc

torch: Any = pytest.importorskip("torch")
# PyTorch's remarks on its own fast paths.
pytestmark = [
    pytest.mark.filterwarnings("ignore:enable_nested_tensor"),
    pytest.mark.filterwarnings("ignore:Support for mismatched"),
]
CLOSE = {"rtol": 1e-9, "atol": 1e-11}
RNG = np.random.default_rng(0)
A = {name: RNG.standard_normal(shape) for name, shape in {
    "q": (5, 3, 8), "k": (6, 3, 8), "v": (6, 3, 8), "k4": (6, 3, 4), "v2": (6, 3, 2),
    "bq": (3, 5, 8), "bk": (3, 6, 8), "uq": (5, 8), "uk": (6, 8), "mask": (5, 6),
    "mask3": (6, 5, 6),
    "square": (5, 5), "heads": (2, 4, 5, 8), "served": (2, 2, 6, 8), "sk": (6, 7, 4),
}.items()}  # fmt: skip
CAUSAL = np.triu(np.ones((5, 5), bool), 1)
PADDING = np.arange(6)[None, :] >= np.array([[6], [4], [2]])
SHORT = np.arange(5)[None, :] >= np.array([[5], [4], [2]])
IDS = np.array([[1, 4, 4], [2, 0, 2], [2, 2, 1]])
FLAT = np.array([3, 1, 4, 1, 2, 2, 2, 0])


class Case:
    """`call(T, module, x)`: x gives arrays as tensors of T; the module gets PyTorch's weights."""

    def __init__(self, build: Callable[[Any], Any] | None, call: Callable[..., Any]) -> None:
        self.build, self.call = build, call


def mha(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Case:
    return Case(lambda T: T.nn.MultiheadAttention(8, 2, *args, **kwargs), call)


def bag(call: Callable[..., Any], **kwargs: Any) -> Case:
    return Case(lambda T: T.nn.EmbeddingBag(5, 4, **kwargs), call)


def qkv(x: Any, *names: str) -> list[Any]:
    return [x(A[n]) for n in names or ("q", "k", "v")]


CASES: dict[str, Case] = {
    "plain": mha(lambda T, m, x: m(*qkv(x))),
    "per_head": mha(lambda T, m, x: m(*qkv(x), average_attn_weights=False)),
    "unneeded": mha(lambda T, m, x: m(*qkv(x), need_weights=False)[0]),
    "kdim_vdim": mha(lambda T, m, x: m(*qkv(x, "q", "k4", "v2")), kdim=4, vdim=2),
    "bias_kv": mha(lambda T, m, x: m(*qkv(x), x(PADDING)), add_bias_kv=True),
    "zero_attn": mha(lambda T, m, x: m(*qkv(x), attn_mask=x(A["mask"])), add_zero_attn=True),
    "both_joined": mha(
        lambda T, m, x: m(*qkv(x), x(PADDING), attn_mask=x(A["mask"])),
        add_bias_kv=True, add_zero_attn=True, bias=False,
    ),
    "mask_3d": mha(lambda T, m, x: m(*qkv(x), attn_mask=x(A["mask3"] > 0.5))),
    "batch_first": mha(lambda T, m, x: m(*qkv(x, "bq", "bk", "bk"), x(PADDING)), batch_first=True),
    "unbatched": mha(lambda T, m, x: m(*qkv(x, "uq", "uk", "uk"), x(PADDING[1])), batch_first=True),
    "self": mha(lambda T, m, x: m(*[x(A["q"])] * 3)),
    "causal": mha(
        lambda T, m, x: m(
            *[x(A["q"])] * 3, attn_mask=x(CAUSAL), is_causal=True, need_weights=False)[0]
    ),
    "static": mha(
        lambda T, m, x: T.nn.functional.multi_head_attention_forward(
            *qkv(x), 8, 2, m.in_proj_weight, m.in_proj_bias, None, None, False, 0.0,
            m.out_proj.weight, m.out_proj.bias, static_k=x(A["sk"]), static_v=x(A["sk"] * 2),
        )
    ),
    "sdpa_gqa": Case(None, lambda T, m, x: T.nn.functional.scaled_dot_product_attention(
        *qkv(x, "heads", "served", "served"), enable_gqa=True, scale=0.3)),
    "sdpa_blind": Case(None, lambda T, m, x: T.nn.functional.scaled_dot_product_attention(
        *qkv(x, "heads", "heads", "heads"), attn_mask=x(np.eye(5) > np.eye(5)[:1]))),
    "sdpa_blind_float": Case(None, lambda T, m, x: T.nn.functional.scaled_dot_product_attention(
        *qkv(x, "heads", "heads", "heads"), attn_mask=x(np.where(np.eye(5) > 0, -inf, -inf)))),
    "encoder_masks": Case(
        lambda T: T.nn.TransformerEncoder(
            T.nn.TransformerEncoderLayer(8, 2, 16, 0.0), 2, enable_nested_tensor=False),
        lambda T, m, x: m(x(A["q"]), x(CAUSAL), x(SHORT), is_causal=False)),
    "encoder_causal": Case(
        lambda T: T.nn.TransformerEncoder(
            T.nn.TransformerEncoderLayer(8, 2, 16, 0.0, norm_first=True, bias=False), 1),
        lambda T, m, x: m(x(A["q"]), x(CAUSAL), is_causal=True)),
    "decoder_layer": Case(
        lambda T: T.nn.TransformerDecoderLayer(8, 2, 16, 0.0),
        lambda T, m, x: m(x(A["q"]), x(A["k"]), x(CAUSAL), None, None, x(PADDING), True)),
    "decoder_unbatched": Case(
        lambda T: T.nn.TransformerDecoderLayer(8, 2, 16, 0.0, "gelu"),
        lambda T, m, x: m(x(A["uq"]), x(A["uk"]))),
    "decoder": Case(
        lambda T: T.nn.TransformerDecoder(
            T.nn.TransformerDecoderLayer(8, 2, 16, 0.0, norm_first=True, batch_first=True), 2,
            T.nn.LayerNorm(8)),
        lambda T, m, x: m(x(A["bq"]), x(A["bk"]), None, x(A["mask"]), x(SHORT))),
    "transformer": Case(
        lambda T: T.nn.Transformer(8, 2, 1, 1, 16, 0.0, batch_first=True),
        lambda T, m, x: m(
            x(A["bk"]), x(A["bq"]), src_key_padding_mask=x(PADDING),
            tgt_mask=T.nn.Transformer.generate_square_subsequent_mask(5, dtype=T.float64))),
    "embedding_options": Case(
        lambda T: T.nn.Embedding(5, 4, 2, max_norm=1.0, norm_type=1.5, scale_grad_by_freq=True),
        lambda T, m, x: m(x(IDS))),
    "bag_fixed": bag(lambda T, m, x: m(x(IDS))),
    "bag_fixed_max": bag(lambda T, m, x: m(x(IDS)), mode="max", padding_idx=2),
    "bag_fixed_padding": bag(lambda T, m, x: m(x(IDS)), padding_idx=2),
    "bag_weighted": bag(
        lambda T, m, x: m(x(FLAT), x(np.array([0, 2, 2, 5])), x(A["k"][:, 0, 0].repeat(2)[:8])),
        mode="sum", padding_idx=-1),
    "bag_mean": bag(lambda T, m, x: m(x(FLAT), x(np.array([0, 2, 2, 4]))), padding_idx=2),
    "bag_max": bag(
        lambda T, m, x: m(x(FLAT), x(np.array([0, 2, 2, 4]))), mode="max", padding_idx=2),
    "bag_last": bag(
        lambda T, m, x: m(x(FLAT), x(np.array([0, 2, 4, 8]))), include_last_offset=True,
        max_norm=1.0, mode="sum"),
    "bag_max_shared": bag(lambda T, m, x: m(x(FLAT), x(np.array([0, 3]))), mode="max"),
}  # fmt: skip


def run(T: Any, case: Case, weights: Any, wrap: Any = lambda f: f) -> list[np.ndarray]:
    """All outputs, and the gradients of all floating inputs and weights."""
    module = None
    if case.build is not None:
        module = case.build(T).double()
        module.load_state_dict({k: T.from_numpy(v.copy()) for k, v in weights.items()})
    made: list[Any] = []

    def step(*given: Any) -> Any:
        queue = list(given)

        def tensor(a: np.ndarray) -> Any:
            if given:
                return queue.pop(0)
            made.append(T.from_numpy(np.array(a)))
            if a.dtype == np.float64:
                made[-1].requires_grad_(True)
            return made[-1]

        out = case.call(T, module, tensor)
        outs = list(out) if isinstance(out, tuple) else [out]
        if given or wrap is None:
            sum(((o * o).sum() for o in outs), 0.0).backward()
        return outs

    step()
    outs = wrap(step)(*made)
    grads = [t.grad for t in made if t.requires_grad]
    grads += [p.grad for p in module.parameters()] if module is not None else []
    state = [] if module is None else list(module.state_dict().values())
    return [np.zeros(0) if g is None else g.detach().numpy() for g in (*outs, *grads, *state)]


@pytest.mark.parametrize("name", CASES)
def test_same(name: str) -> None:
    case, weights = CASES[name], {}
    if case.build is not None:
        torch.manual_seed(0)
        rng = np.random.default_rng(1)
        weights = {
            k: rng.standard_normal(tuple(v.shape))
            for k, v in case.build(torch).state_dict().items()
        }
    expected = run(torch, case, weights)
    for wrap in (lambda f: f, graphc.compile):
        mine = run(graphc, case, weights, wrap)
        assert len(mine) == len(expected)
        for a, b in zip(mine, expected):
            np.testing.assert_allclose(a, b, **CLOSE)


ERRORS: dict[str, tuple[type[Exception], Callable[[Any, Any], Any]]] = {
    "causal hint": (RuntimeError, lambda T, x: T.nn.MultiheadAttention(8, 2)(
        *[x(A["q"])] * 3, is_causal=True)),
    "attn_mask": (RuntimeError, lambda T, x: T.nn.MultiheadAttention(8, 2)(
        *[x(A["q"])] * 3, attn_mask=x(A["mask"]))),
    "mode has to be": (ValueError, lambda T, x: T.nn.functional.embedding_bag(
        x(IDS), x(A["square"]), mode="other")),
    "offsets has to be": (ValueError, lambda T, x: T.nn.functional.embedding_bag(
        x(FLAT), x(A["square"]))),
    "then offsets has to be None": (ValueError, lambda T, x: T.nn.functional.embedding_bag(
        x(IDS), x(A["square"]), x(FLAT))),
    "per_sample_weights": (NotImplementedError, lambda T, x: T.nn.functional.embedding_bag(
        x(IDS), x(A["square"]), per_sample_weights=x(IDS * 1.0))),
    "batch number": (RuntimeError, lambda T, x: T.nn.Transformer(8, 2, 1, 1, 8)(
        x(A["q"]), x(A["bq"]))),
    "feature number": (RuntimeError, lambda T, x: T.nn.Transformer(8, 2, 1, 1, 8)(
        x(A["q"]), x(A["v2"]))),
}  # fmt: skip


@pytest.mark.parametrize("text", ERRORS)
def test_errors(text: str) -> None:
    kind, call = ERRORS[text]
    for T in (graphc, torch):
        with pytest.raises(kind, match=text if T is graphc else None):
            call(T, lambda a, T=T: T.from_numpy(np.array(a)))
