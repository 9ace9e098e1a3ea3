"""Arguments that layers and their functions refuse: PyTorch's exception class, and a message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import graphc
from graphc.errors import GraphcError, ShapeMismatch

torch: Any = pytest.importorskip("torch")

REFUSED: dict[str, Callable[[Any], Any]] = {
    "gelu": lambda T: T.nn.functional.gelu(T.ones(2), approximate="x"),
    "GELU": lambda T: T.nn.GELU("x")(T.ones(2)),
    "rrelu": lambda T: T.nn.functional.rrelu(T.ones(2), 0.5, 0.1, training=True),
    "rrelu_eval": lambda T: T.nn.functional.rrelu(T.ones(2), 0.5, 0.1),
    "mha_div": lambda T: T.nn.MultiheadAttention(10, 3),
    "mha_dim": lambda T: T.nn.MultiheadAttention(4, 2)(
        T.ones(3, 2, 5), T.ones(3, 2, 4), T.ones(3, 2, 4)
    ),
    "mha_rank": lambda T: T.nn.MultiheadAttention(4, 2)(T.ones(4), T.ones(4), T.ones(4)),
    "mha_mask": lambda T: T.nn.MultiheadAttention(4, 2)(
        T.ones(3, 2, 4), T.ones(3, 2, 4), T.ones(3, 2, 4), attn_mask=T.ones(2, 2)
    ),
    "mha_kpm": lambda T: T.nn.MultiheadAttention(4, 2)(
        T.ones(3, 2, 4), T.ones(3, 2, 4), T.ones(3, 2, 4), key_padding_mask=T.ones(3, 3).bool()
    ),
    "mha_kv": lambda T: T.nn.MultiheadAttention(4, 2)(
        T.ones(3, 2, 4), T.ones(5, 2, 4), T.ones(4, 2, 4)
    ),
    "mha_causal": lambda T: T.nn.MultiheadAttention(4, 2)(
        T.ones(3, 2, 4), T.ones(3, 2, 4), T.ones(3, 2, 4), is_causal=True
    ),
    "mha_neg": lambda T: T.nn.MultiheadAttention(0, 2),
    "glu": lambda T: T.nn.functional.glu(T.ones(3)),
    "dropout": lambda T: T.nn.functional.dropout(T.ones(3), 1.5),
    "Dropout": lambda T: T.nn.Dropout(-1),
    "alpha": lambda T: T.nn.functional.alpha_dropout(T.ones(3), 2.0),
    "pixel": lambda T: T.nn.functional.pixel_shuffle(T.ones(1, 3, 2, 2), 2),
    "chsh": lambda T: T.nn.functional.channel_shuffle(T.ones(1, 3, 2, 2), 2),
    "gn": lambda T: T.nn.GroupNorm(3, 4),
    "gnf": lambda T: T.nn.functional.group_norm(T.ones(2, 4, 3), 3),
    "bn1": lambda T: T.nn.BatchNorm1d(3)(T.ones(2, 3, 4, 4)),
    "bn_one": lambda T: T.nn.BatchNorm1d(3)(T.ones(1, 3)),
    "in_one": lambda T: T.nn.InstanceNorm1d(3)(T.ones(2, 3, 1)),
    "ln": lambda T: T.nn.LayerNorm(3)(T.ones(2, 4)),
    "conv": lambda T: T.nn.Conv2d(3, 4, 3)(T.ones(1, 4, 5, 5)),
    "conv_rank": lambda T: T.nn.Conv2d(3, 4, 3)(T.ones(3, 5)),
    "conv_groups": lambda T: T.nn.Conv2d(3, 4, 3, groups=2),
    "conv_pad": lambda T: T.nn.Conv2d(3, 4, 3, padding="x"),
    "conv_same": lambda T: T.nn.Conv2d(3, 4, 3, padding="same", stride=2),
    "conv_mode": lambda T: T.nn.Conv2d(3, 4, 3, padding_mode="x"),
    "conv_small": lambda T: T.nn.Conv2d(1, 1, 3)(T.ones(1, 1, 2, 2)),
    "convt_out": lambda T: T.nn.ConvTranspose2d(1, 1, 3, stride=2)(
        T.ones(1, 1, 3, 3), output_size=(20, 20)
    ),
    "convt_op": lambda T: T.nn.ConvTranspose2d(1, 1, 3, output_padding=2)(T.ones(1, 1, 3, 3)),
    "pool_pad": lambda T: T.nn.functional.max_pool2d(T.ones(1, 1, 4, 4), 2, padding=2),
    "avg_pad": lambda T: T.nn.functional.avg_pool2d(T.ones(1, 1, 4, 4), 2, padding=2),
    "pool_small": lambda T: T.nn.functional.max_pool2d(T.ones(1, 1, 1, 1), 2),
    "adaptive": lambda T: T.nn.functional.adaptive_avg_pool2d(T.ones(3), 2),
    "lp": lambda T: T.nn.functional.lp_pool2d(T.ones(1, 1, 4, 4), 2, 0),
    "unpool": lambda T: T.nn.functional.max_unpool2d(T.ones(1, 1, 2, 2), T.ones(1, 1, 2, 2), 2),
    "fold": lambda T: T.nn.functional.fold(T.ones(1, 5, 4), (4, 4), 2),
    "pad_reflect": lambda T: T.nn.functional.pad(T.ones(1, 2, 3), (3, 3), "reflect"),
    "pad_mode": lambda T: T.nn.functional.pad(T.ones(1, 2, 3), (1, 1), "x"),
    "pad_odd": lambda T: T.nn.functional.pad(T.ones(1, 2, 3), (1,)),
    "pad_many": lambda T: T.nn.functional.pad(T.ones(3), (1, 1, 1, 1)),
    "interp": lambda T: T.nn.functional.interpolate(T.ones(1, 1, 3), mode="bilinear", size=4),
    "interp_both": lambda T: T.nn.functional.interpolate(T.ones(1, 1, 3), size=4, scale_factor=2),
    "interp_none": lambda T: T.nn.functional.interpolate(T.ones(1, 1, 3)),
    "interp_mode": lambda T: T.nn.functional.interpolate(T.ones(1, 1, 3), size=4, mode="x"),
    "interp_ac": lambda T: T.nn.functional.interpolate(T.ones(1, 1, 3), size=4, align_corners=True),
    "grid": lambda T: T.nn.functional.grid_sample(T.ones(1, 1, 3, 3), T.ones(1, 2, 2, 3)),
    "grid_mode": lambda T: T.nn.functional.grid_sample(
        T.ones(1, 1, 3, 3), T.ones(1, 2, 2, 2), mode="x"
    ),
    "affine": lambda T: T.nn.functional.affine_grid(T.ones(1, 2, 3), (1, 1, 0, 2)),
    "emb": lambda T: T.nn.functional.embedding(T.tensor([5]), T.ones(3, 2)),
    "emb_f": lambda T: T.nn.functional.embedding(T.tensor([1.0]), T.ones(3, 2)),
    "Emb_pad": lambda T: T.nn.Embedding(3, 2, padding_idx=4),
    "bag": lambda T: T.nn.functional.embedding_bag(T.tensor([1]), T.ones(3, 2)),
    "bag_mode": lambda T: T.nn.functional.embedding_bag(T.tensor([[1]]), T.ones(3, 2), mode="x"),
    "ce": lambda T: T.nn.functional.cross_entropy(T.ones(2, 3), T.tensor([1, 5])),
    "ce_shape": lambda T: T.nn.functional.cross_entropy(T.ones(2, 3), T.tensor([1, 1, 1])),
    "ce_float": lambda T: T.nn.functional.cross_entropy(T.ones(2, 3), T.tensor([1.0, 1.0])),
    "ce_ls": lambda T: T.nn.functional.cross_entropy(
        T.ones(2, 3), T.tensor([1, 1]), label_smoothing=2.0
    ),
    "ce_w": lambda T: T.nn.functional.cross_entropy(
        T.ones(2, 3), T.tensor([1, 1]), weight=T.ones(2)
    ),
    "red": lambda T: T.nn.functional.mse_loss(T.ones(2), T.ones(2), reduction="x"),
    "mse": lambda T: T.nn.functional.mse_loss(T.ones(2), T.ones(3)),
    "bce": lambda T: T.nn.functional.binary_cross_entropy(T.ones(2), T.ones(3)),
    "bce2": lambda T: T.nn.functional.binary_cross_entropy(T.ones(2) * 2, T.ones(2)),
    "bcel": lambda T: T.nn.functional.binary_cross_entropy_with_logits(T.ones(2), T.ones(3)),
    "huber": lambda T: T.nn.functional.huber_loss(T.ones(2), T.ones(2), delta=-1.0),
    "smooth": lambda T: T.nn.functional.smooth_l1_loss(T.ones(2), T.ones(2), beta=-1.0),
    "cosine": lambda T: T.nn.functional.cosine_embedding_loss(
        T.ones(2, 3), T.ones(2, 3), T.ones(2, 3)
    ),
    "margin": lambda T: T.nn.functional.margin_ranking_loss(T.ones(2), T.ones(2), T.ones(2, 2)),
    "triplet": lambda T: T.nn.functional.triplet_margin_loss(T.ones(2, 2), T.ones(2, 2), T.ones(2)),
    "triplet_m": lambda T: T.nn.functional.triplet_margin_loss(
        T.ones(2, 2), T.ones(2, 2), T.ones(2, 2), margin=-1.0
    ),
    "multim": lambda T: T.nn.functional.multi_margin_loss(T.ones(2, 2), T.tensor([0, 1]), p=3),
    "multim_t": lambda T: T.nn.functional.multi_margin_loss(T.ones(2, 2), T.tensor([0, 1, 1])),
    "mlm": lambda T: T.nn.functional.multilabel_margin_loss(T.ones(2, 2), T.tensor([0, 1])),
    "gnll": lambda T: T.nn.functional.gaussian_nll_loss(T.ones(2), T.ones(2), -T.ones(2)),
    "gnll_s": lambda T: T.nn.functional.gaussian_nll_loss(T.ones(2), T.ones(2), T.ones(3)),
    "ctc": lambda T: T.nn.functional.ctc_loss(
        T.ones(4, 2, 3).log_softmax(2), T.tensor([[1, 2], [1, 2]]), T.tensor([4]), T.tensor([2, 2])
    ),
    "ctc_b": lambda T: T.nn.functional.ctc_loss(
        T.ones(4, 2, 3).log_softmax(2),
        T.tensor([[1, 2], [1, 2]]),
        T.tensor([4, 4]),
        T.tensor([2, 2]),
        blank=7,
    ),
    "rnn": lambda T: T.nn.LSTM(3, 4)(T.ones(2, 2, 5)),
    "rnn_h": lambda T: T.nn.LSTM(3, 4)(T.ones(2, 2, 3), (T.ones(1, 3, 4), T.ones(1, 3, 4))),
    "rnn_rank": lambda T: T.nn.GRU(3, 4)(T.ones(3)),
    "rnn_nl": lambda T: T.nn.RNN(3, 4, nonlinearity="x"),
    "rnn_drop": lambda T: T.nn.RNN(3, 4, 2, dropout=2.0),
    "cell": lambda T: T.nn.LSTMCell(3, 4)(T.ones(2, 5)),
    "bilinear": lambda T: T.nn.Bilinear(2, 3, 4)(T.ones(2, 2), T.ones(3, 3)),
    "unflatten": lambda T: T.nn.Unflatten(1, (2, 2))(T.ones(2, 5)),
    "prelu": lambda T: T.nn.PReLU(3)(T.ones(2, 4)),
    "softmax": lambda T: T.nn.functional.softmax(T.ones(2), 3),
    "hardtanh": lambda T: T.nn.Hardtanh(2.0, 1.0),
    "lrn": lambda T: T.nn.functional.local_response_norm(T.ones(2), 2),
    "sdpa": lambda T: T.nn.functional.scaled_dot_product_attention(
        T.ones(2, 3), T.ones(2, 4), T.ones(2, 3)
    ),
    "sdpa_c": lambda T: T.nn.functional.scaled_dot_product_attention(
        T.ones(1, 2, 3),
        T.ones(1, 2, 3),
        T.ones(1, 2, 3),
        attn_mask=T.ones(2, 2).bool(),
        is_causal=True,
    ),
    "tel": lambda T: T.nn.TransformerEncoderLayer(4, 2, activation="x"),
    "onehot": lambda T: T.nn.functional.one_hot(T.tensor([3]), 2),
    "conv_bias_dtype": lambda T: T.nn.functional.conv2d(
        T.ones(1, 1, 4, 4), T.ones(1, 1, 2, 2), T.ones(1).double()
    ),
    "conv_bias_of_integers": lambda T: T.nn.functional.conv1d(
        T.ones(1, 1, 4).long(), T.ones(1, 1, 2).long(), T.ones(1).double()
    ),
    "linear_bias_dtype": lambda T: T.nn.functional.linear(
        T.ones(1, 4), T.ones(3, 4), T.ones(3).double()
    ),
    "bilinear_bias_dtype": lambda T: T.nn.functional.bilinear(
        T.ones(2, 4), T.ones(2, 4), T.ones(3, 4, 4), T.ones(3).double()
    ),
    "ln_dtype": lambda T: T.nn.functional.layer_norm(T.ones(1, 4), (4,), T.ones(4).double()),
    "ln_shape": lambda T: T.nn.functional.layer_norm(T.ones(1, 4), (4,), T.ones(1)),
    "gn_dtype": lambda T: T.nn.functional.group_norm(T.ones(2, 4), 2, T.ones(4).double()),
    "gn_shape": lambda T: T.nn.functional.group_norm(T.ones(2, 4), 2, T.ones(1)),
    "in_dtype": lambda T: T.nn.functional.instance_norm(T.ones(2, 4, 3), weight=T.ones(4).double()),
    "bn_dtype": lambda T: T.nn.functional.batch_norm(
        T.ones(2, 4), T.zeros(4), T.ones(4), T.ones(4).double()
    ),
    "bn_shape": lambda T: T.nn.functional.batch_norm(T.ones(2, 4), T.zeros(1), T.ones(1)),
    "prelu_dtype": lambda T: T.nn.functional.prelu(T.ones(2, 4), T.ones(4).double()),
    "prelu_rank": lambda T: T.nn.functional.prelu(T.ones(2, 4), T.ones(2, 2)),
    "bag_dtype": lambda T: T.nn.functional.embedding_bag(
        T.tensor([0, 1]),
        T.ones(4, 3),
        T.tensor([0]),
        mode="sum",
        per_sample_weights=T.ones(2).double(),
    ),
    "roll_0d": lambda T: T.roll(T.tensor(1.0), 0, 0),
    "linspace_vectors": lambda T: T.linspace(T.ones(2), T.ones(2), 3),
    "logspace_vector": lambda T: T.logspace(0, T.ones(1), 3),
    "cov_fweights": lambda T: T.cov(T.ones(2, 2), fweights=T.tensor([1, -1])),
    "cov_aweights": lambda T: T.cov(T.ones(2, 2), aweights=T.tensor([1.0, -1.0])),
    "movedim": lambda T: T.movedim(T.ones(2, 3), (0, 1), (1,)),
    "hstack": lambda T: T.hstack([]),
    "dstack": lambda T: T.dstack([]),
    "cat": lambda T: T.cat([]),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_pytorchs_class(name: str) -> None:
    with pytest.raises(Exception) as theirs:
        REFUSED[name](torch)
    kind = next(c for c in theirs.type.__mro__ if c.__module__ == "builtins")
    with pytest.raises(kind, match="GC") as mine:
        REFUSED[name](graphc)
    assert isinstance(mine.value, GraphcError)


def test_prelu_has_one_weight_or_one_for_each_channel() -> None:
    x = graphc.ones(2, 1, 3)
    with pytest.raises(ShapeMismatch, match="prelu: 5 weights for 1 channels"):
        graphc.nn.functional.prelu(x, graphc.ones(5))
