"""Random nets that do not mix the rows of a batch, in eval mode: images, sequences, vectors.

`built(seed)` gives a net and its input for `ROWS` rows. Each layer is drawn from a table of makers;
a maker gets the random source and the shape of a row, and gives a module and the row's next shape.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from math import prod

import numpy as np

import graphc
import graphc.nn.functional as F
from graphc import Tensor, nn

ROWS = 64
WORDS = 50

Shape = tuple[int, ...]
Made = tuple[nn.Module, Shape]
Maker = Callable[[random.Random, Shape], Made | None]
ACTIVATIONS = (nn.ReLU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.ELU)


class Lambda(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Residual(nn.Module):
    def __init__(self, *body: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(*body)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Side(nn.Module):
    """Two branches side by side."""

    def __init__(self, a: nn.Module, b: nn.Module, dim: int) -> None:
        super().__init__()
        self.a, self.b, self.dim = a, b, dim

    def forward(self, x: Tensor) -> Tensor:
        return graphc.cat([self.a(x), self.b(x)], self.dim)


class ClassToken(nn.Module):
    def __init__(self, width: int, repeated: bool) -> None:
        super().__init__()
        self.token, self.repeated = nn.Parameter(graphc.randn(1, 1, width)), repeated

    def forward(self, x: Tensor) -> Tensor:
        n = x.shape[0]
        token = self.token.repeat(n, 1, 1) if self.repeated else self.token.expand(n, -1, -1)
        return graphc.cat([token, x], 1)


class Attention(nn.Module):
    def __init__(self, width: int, heads: int, kind: str) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.heads, self.kind = heads, kind

    def forward(self, x: Tensor) -> Tensor:
        b, n, width = x.shape
        parts = self.qkv(x).reshape(b, n, 3, self.heads, width // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        if self.kind == "written out":
            y = (q @ k.transpose(-1, -2) / (width // self.heads) ** 0.5).softmax(-1) @ v
        else:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=self.kind == "causal")
        return self.out(y.transpose(1, 2).reshape(b, n, width))


class Recurrent(nn.Module):
    def __init__(self, kind: str, width: int, hidden: int, both: bool) -> None:
        super().__init__()
        self.rnn = getattr(nn, kind)(width, hidden, batch_first=True, bidirectional=both)

    def forward(self, x: Tensor) -> Tensor:
        return self.rnn(x)[0]


# ---- any rows ----------------------------------------------------------------------------------


def _activation(r: random.Random, s: Shape) -> Made:
    return r.choice(ACTIVATIONS)(), s


def _linear(r: random.Random, s: Shape) -> Made:
    n = r.choice([1, 3, 8, 16, 64])
    return nn.Linear(s[-1], n, bias=r.random() < 0.7), (*s[:-1], n)


def _layer_norm(r: random.Random, s: Shape) -> Made:
    return nn.LayerNorm(list(s if r.random() < 0.5 else s[-1:])), s


def _batch_norm(r: random.Random, s: Shape) -> Made:
    norm = getattr(nn, f"BatchNorm{max(len(s) - 1, 1)}d")(s[0])
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    return norm, s


def _group_norm(r: random.Random, s: Shape) -> Made | None:
    groups = r.choice([g for g in (1, 2, 4, 8) if s[0] % g == 0])
    return (nn.GroupNorm(groups, s[0]), s) if prod(s) // groups > 1 else None


def _mlp(r: random.Random, s: Shape) -> Made:
    n = s[-1]
    return Residual(nn.LayerNorm(n), nn.Linear(n, 4 * n), nn.GELU(), nn.Linear(4 * n, n)), s


def _softmax(r: random.Random, s: Shape) -> Made:
    return nn.Softmax(r.randint(1, len(s))), s


# ---- images ------------------------------------------------------------------------------------


def _conv_of(s: Shape) -> type[nn.Module]:
    return getattr(nn, f"Conv{len(s) - 1}d")


def _conv(r: random.Random, s: Shape) -> Made | None:
    c, *space = s
    out, k = r.choice([1, 4, 8, 16, 32]), r.choice([1, 3, 3, 5])
    stride, dilation, padding = r.choice([1, 1, 2, 3]), r.choice([1, 1, 2]), r.choice([0, k // 2])
    groups = 2 if c % 2 == out % 2 == 0 and r.random() < 0.2 else 1
    sizes = [(n + 2 * padding - dilation * (k - 1) - 1) // stride + 1 for n in space]
    if min(sizes) < 1:
        return None
    conv = _conv_of(s)(c, out, k, stride, padding, dilation, groups, r.random() < 0.6)
    return conv, (out, *sizes)


def _depthwise(r: random.Random, s: Shape) -> Made:
    return _conv_of(s)(s[0], s[0], 3, padding=1, groups=s[0]), s


def _block(r: random.Random, s: Shape) -> Made:
    conv, c = _conv_of(s), s[0]
    return Residual(conv(c, c, 3, padding=1), nn.ReLU(), conv(c, c, 3, padding=1)), s


def _branches(r: random.Random, s: Shape) -> Made:
    conv, c, n = _conv_of(s), s[0], r.choice([4, 8])
    return Side(conv(c, n, 1), conv(c, n, 3, padding=1), 1), (2 * n, *s[1:])


def _pool(r: random.Random, s: Shape) -> Made | None:
    k, stride = r.choice([2, 3]), r.choice([1, 2])
    if min(s[1:]) < k:
        return None
    pool = getattr(nn, f"{r.choice(['Max', 'Avg'])}Pool{len(s) - 1}d")(k, stride)
    return pool, (s[0], *((n - k) // stride + 1 for n in s[1:]))


def _instance_norm(r: random.Random, s: Shape) -> Made | None:
    return (getattr(nn, f"InstanceNorm{len(s) - 1}d")(s[0]), s) if prod(s[1:]) > 1 else None


def _upsample(r: random.Random, s: Shape) -> Made | None:
    return (nn.Upsample(scale_factor=2), (s[0], *(2 * n for n in s[1:]))) if prod(s) < 900 else None


# ---- sequences ---------------------------------------------------------------------------------


def _attention(r: random.Random, s: Shape) -> Made | None:
    if s[-1] % 4:
        return None
    return Residual(
        Attention(s[-1], r.choice([1, 2, 4]), r.choice(["", "causal", "written out"]))
    ), s


def _encoder(r: random.Random, s: Shape) -> Made | None:
    n = s[-1]
    return (nn.TransformerEncoderLayer(n, 2, 2 * n, batch_first=True), s) if n % 2 == 0 else None


def _class_token(r: random.Random, s: Shape) -> Made:
    return ClassToken(s[-1], r.random() < 0.5), (s[0] + 1, s[1])


def _recurrent(r: random.Random, s: Shape) -> Made:
    n, both = r.choice([8, 16, 20]), r.random() < 0.3
    return Recurrent(r.choice(["LSTM", "GRU", "RNN"]), s[-1], n, both), (s[0], n * (1 + both))


def _convolved(r: random.Random, s: Shape) -> Made:
    turn, n = Lambda(lambda x: x.transpose(1, 2)), r.choice([8, 16])
    return nn.Sequential(turn, nn.Conv1d(s[1], n, 3, padding=1), turn), (s[0], n)


def _mixed(r: random.Random, s: Shape) -> Made:
    turn = Lambda(lambda x: x.transpose(1, 2))
    return Residual(turn, nn.Linear(s[0], s[0]), turn), s


def _cumulative(r: random.Random, s: Shape) -> Made:
    return Lambda(lambda x: x.cumsum(1).tanh()), s


# ---- nets --------------------------------------------------------------------------------------

ANY = (_activation, _layer_norm, _softmax)
IMAGE = (*ANY, _conv, _conv, _conv, _depthwise, _block, _branches, _pool, _batch_norm, _group_norm,
         _instance_norm, _upsample)  # fmt: skip
SEQUENCE = (*ANY, _attention, _attention, _class_token, _class_token, _mlp, _mlp, _linear, _encoder,
            _recurrent, _convolved, _mixed, _cumulative)  # fmt: skip
VECTOR = (*ANY, _linear, _linear, _mlp, _batch_norm, _group_norm)
ENDS: Sequence[Callable[[Tensor], Tensor]] = (
    lambda x: x,
    lambda x: x.flatten(1),
    lambda x: x.flatten(1).sum(1),
    lambda x: x.mean(tuple(range(2, x.dim()))) if x.dim() > 2 else x,
    lambda x: x.flatten(1).std(1),
    lambda x: x[:, 0],
    lambda x: x[:, -1],
    lambda x: x.amax(1),
    lambda x: x.mean(1),
    lambda x: x.flatten(1).logsumexp(1),
)


def built(seed: int) -> tuple[nn.Module, Tensor]:
    """A net in eval mode, and `ROWS` rows for it."""
    r, rows = random.Random(seed), np.random.default_rng(seed)
    graphc.manual_seed(seed)
    layers: list[nn.Module] = []
    kind = r.choice(["image", "image", "sequence", "sequence", "words", "vector"])
    if kind == "image":
        rank = r.choice([1, 2, 2, 2, 3])
        sizes = [3, 4, 5, 6] if rank == 3 else [4, 6, 7, 8, 9, 14, 16]
        shape: Shape = (r.choice([1, 3, 4, 8, 16]), *(r.choice(sizes) for _ in range(rank)))
    else:
        length, width = r.choice([1, 2, 5, 8, 16, 33]), r.choice([8, 16, 24, 64])
        shape = (r.choice([4, 8, 17, 64, 300]),) if kind == "vector" else (length, width)
    if kind == "words":
        layers.append(nn.Embedding(WORDS, shape[1]))
        x = graphc.tensor(rows.integers(0, WORDS, (ROWS, shape[0])))
    else:
        x = graphc.tensor(rows.standard_normal((ROWS, *shape)).astype(np.float32))
    makers = {"image": IMAGE, "vector": VECTOR}.get(kind, SEQUENCE)
    for _ in range(r.randint(2, 5)):
        if (made := r.choice(makers)(r, shape)) is not None:
            layers.append(made[0])
            shape = made[1]
    return nn.Sequential(*layers, Lambda(r.choice(ENDS))).eval(), x
