"""The benchmark nets, written once against a namespace `T`: `graphc`, `torch` or `jax_namespace`.

Nothing here imports a framework. Weights and data are NumPy arrays made from a seed and loaded by
parameter name, so each framework starts from the same bits and sees the same batch.

Where a published net draws random numbers while training (the dropout of MobileNetV2 and VGG) the
layer is left out: frameworks draw different numbers, and the losses could not be compared.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Namespace = Any  # a module
Model = Any

SEED = 20
VOCABULARY = 8192
MOBILENET_V2 = [  # expansion, channels, repeats, first stride: table 2 of arXiv:1801.04381
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
]
VGG11 = [64, "pool", 128, "pool", 256, 256, "pool", 512, 512, "pool", 512, 512, "pool"]


@dataclass(frozen=True)
class Net:
    """One row of the benchmark: how to build the net, its batch, and how it is trained."""

    name: str
    build: Callable[[Namespace], Model]
    input_shape: tuple[int, ...]
    classes: int
    batch: int
    optimizer: str  # a key of OPTIMIZERS
    lr: float  # low enough that the loss at step 10 is neither noise nor zero
    small: bool = False  # small nets owe float64 agreement within 1e-4, the others 2e-3
    tokens: bool = False  # the input holds int64 token ids instead of floats
    loss: str = "cross_entropy"  # a function of torch.nn.functional
    target_shape: tuple[int, ...] = ()  # of one sample: a class, one of each pixel, an image

    def data(self, batch: int = 0) -> tuple[Array, Array]:
        """The batch every framework trains on: normal noise or token ids, and targets: classes,
        or numbers between 0 and 1."""
        rng = np.random.default_rng(SEED)
        shape = (batch or self.batch, *self.input_shape)
        target = (shape[0], *self.target_shape)
        y: Array
        if self.loss == "cross_entropy":
            y = rng.integers(0, self.classes, target, dtype=np.int64)
        else:
            y = rng.uniform(0, 1, target).astype(np.float32)
        if self.tokens:
            return rng.integers(0, VOCABULARY, shape, dtype=np.int64), y
        return rng.standard_normal(shape).astype(np.float32), y


# ---- optimizers --------------------------------------------------------------------------------

OPTIMIZERS: dict[str, Callable[[Namespace, Iterable[Any], float], Any]] = {
    "sgd": lambda T, params, lr: T.optim.SGD(params, lr=lr),
    "sgd-m": lambda T, params, lr: T.optim.SGD(params, lr=lr, momentum=0.9),
    "adam": lambda T, params, lr: T.optim.Adam(params, lr=lr),
    "adamw": lambda T, params, lr: T.optim.AdamW(params, lr=lr, weight_decay=0.01),
    "rmsprop": lambda T, params, lr: T.optim.RMSprop(params, lr=lr, momentum=0.9),
}


def train_step(
    T: Namespace, model: Model, optimizer: Any, loss_name: str = "cross_entropy"
) -> Callable[[Any, Any], Any]:
    """The whole step as a person writes it: zero_grad, forward, loss, backward, update."""
    criterion = getattr(T.nn.functional, loss_name)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step


# ---- weights -----------------------------------------------------------------------------------


def weights(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
    """Initial parameters by name: uniform matrices and filters, gains of 1, biases of 0.

    The variance is 1 / fan-in, half of He's: without batch norm VGG diverges from He's by step 3.
    """
    return {name: _weight(name, shape) for name, shape in shapes.items()}


def _weight(name: str, shape: tuple[int, ...]) -> Array:
    if len(shape) == 1:
        return np.full(shape, float(name.endswith("weight")), np.float32)
    # A stream per name: the values do not depend on the order in which a framework lists them.
    rng = np.random.default_rng([SEED, zlib.crc32(name.encode())])
    bound = 0.02 if "embedding" in name else math.sqrt(3 / math.prod(shape[1:]))
    return rng.uniform(-bound, bound, shape).astype(np.float32)


def load_weights(T: Namespace, model: Model) -> None:
    """Overwrite every parameter; buffers keep the values their layers start from."""
    parameters = dict(model.named_parameters())
    arrays = weights({name: tuple(p.shape) for name, p in parameters.items()})
    with T.no_grad():
        for name, p in parameters.items():
            p.copy_(T.from_numpy(arrays[name]))


# ---- small nets --------------------------------------------------------------------------------


def mlp(T: Namespace) -> Model:
    nn = T.nn
    return nn.Sequential(nn.Linear(1000, 100), nn.ReLU(), nn.Linear(100, 10))


def conv3(T: Namespace) -> Model:
    nn = T.nn
    layers: list[Model] = []
    for channels_in, channels in ((1, 16), (16, 16), (16, 10)):
        layers += [nn.Conv2d(channels_in, channels, 3, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def lenet(T: Namespace) -> Model:
    nn = T.nn
    features = [nn.Conv2d(3, 6, 5), nn.ReLU(), nn.MaxPool2d(2)]
    features += [nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    head = [nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)]
    return nn.Sequential(*features, *head)


def convfc(T: Namespace) -> Model:
    nn = T.nn
    features = [nn.Conv2d(1, 10, 5), nn.ReLU(), nn.Conv2d(10, 20, 5), nn.ReLU(), nn.Flatten()]
    return nn.Sequential(*features, nn.Linear(8000, 200), nn.ReLU(), nn.Linear(200, 10))


# ---- ResNet-18, MobileNetV2, VGG-11 --------------------------------------------------------------


def conv_bn(T: Namespace, channels_in: int, channels: int, size: int, **conv: int) -> list[Model]:
    """A convolution that keeps the extent at stride 1, without bias, and its batch norm."""
    padding = (size - 1) // 2
    layer = T.nn.Conv2d(channels_in, channels, size, padding=padding, bias=False, **conv)
    return [layer, T.nn.BatchNorm2d(channels)]


def residual(T: Namespace, body: Model, shortcut: Model, after: Model) -> Model:
    class Residual(T.nn.Module):  # type: ignore[misc, name-defined]
        """after(body(x) + shortcut(x))"""

        def __init__(self) -> None:
            super().__init__()
            self.body, self.shortcut, self.after = body, shortcut, after

        def forward(self, x: Any) -> Any:
            return self.after(self.body(x) + self.shortcut(x))

    return Residual()


def basic_block(T: Namespace, channels_in: int, channels: int, stride: int) -> Model:
    nn = T.nn
    first = conv_bn(T, channels_in, channels, 3, stride=stride)
    body = nn.Sequential(*first, nn.ReLU(), *conv_bn(T, channels, channels, 3))
    shortcut = nn.Identity()
    if stride != 1 or channels_in != channels:
        shortcut = nn.Sequential(*conv_bn(T, channels_in, channels, 1, stride=stride))
    return residual(T, body, shortcut, nn.ReLU())


def resnet18(T: Namespace, stem: list[Model], classes: int) -> Model:
    """ResNet-18 of arXiv:1512.03385 after a stem of 64 channels."""
    nn = T.nn
    layers = [*stem]
    channels_in = 64
    for channels, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers.append(basic_block(T, channels_in, channels, stride))
        layers.append(basic_block(T, channels, channels, 1))
        channels_in = channels
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, classes)]
    return nn.Sequential(*layers, *head)


def resnet18_cifar(T: Namespace) -> Model:
    """The CIFAR form: a 3x3 stem at full resolution and no max pooling."""
    return resnet18(T, [*conv_bn(T, 3, 64, 3), T.nn.ReLU()], 10)


def resnet18_224(T: Namespace) -> Model:
    nn = T.nn
    stem = [*conv_bn(T, 3, 64, 7, stride=2), nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1)]
    return resnet18(T, stem, 1000)


def bottleneck(T: Namespace, channels_in: int, width: int, stride: int) -> Model:
    """1x1, 3x3 with the stride (as in torchvision), 1x1 to four times the width."""
    nn, channels = T.nn, 4 * width
    body = [*conv_bn(T, channels_in, width, 1), nn.ReLU()]
    body += [*conv_bn(T, width, width, 3, stride=stride), nn.ReLU()]
    body += conv_bn(T, width, channels, 1)
    shortcut = nn.Identity()
    if stride != 1 or channels_in != channels:
        shortcut = nn.Sequential(*conv_bn(T, channels_in, channels, 1, stride=stride))
    return residual(T, nn.Sequential(*body), shortcut, nn.ReLU())


def resnet50(T: Namespace) -> Model:
    """ResNet-50 of arXiv:1512.03385."""
    nn = T.nn
    layers = [*conv_bn(T, 3, 64, 7, stride=2), nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1)]
    channels_in = 64
    for width, repeats, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for i in range(repeats):
            layers.append(bottleneck(T, channels_in, width, stride if i == 0 else 1))
            channels_in = 4 * width
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels_in, 1000)]
    return nn.Sequential(*layers, *head)


def inverted_residual(
    T: Namespace, channels_in: int, channels: int, stride: int, expansion: int
) -> Model:
    nn = T.nn
    hidden = channels_in * expansion
    layers: list[Model] = []
    if expansion != 1:
        layers += [*conv_bn(T, channels_in, hidden, 1), nn.ReLU6()]
    layers += [*conv_bn(T, hidden, hidden, 3, stride=stride, groups=hidden), nn.ReLU6()]
    body = nn.Sequential(*layers, *conv_bn(T, hidden, channels, 1))
    if stride == 1 and channels_in == channels:
        return residual(T, body, nn.Identity(), nn.Identity())
    return body


def mobilenetv2(T: Namespace) -> Model:
    nn = T.nn
    layers = [*conv_bn(T, 3, 32, 3, stride=2), nn.ReLU6()]
    channels_in = 32
    for expansion, channels, repeats, first_stride in MOBILENET_V2:
        for i in range(repeats):
            stride = first_stride if i == 0 else 1
            layers.append(inverted_residual(T, channels_in, channels, stride, expansion))
            channels_in = channels
    layers += [*conv_bn(T, channels_in, 1280, 1), nn.ReLU6(), nn.AdaptiveAvgPool2d(1)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(1280, 1000))


def vgg11(T: Namespace, hidden: int = 4096) -> Model:
    """VGG-11 (A) of arXiv:1409.1556 for 128 px: the last map is 4x4 where 224 px has 7x7."""
    nn = T.nn
    layers: list[Model] = []
    channels_in = 3
    for channels in VGG11:
        if isinstance(channels, str):
            layers.append(nn.MaxPool2d(2))
            continue
        layers += [nn.Conv2d(channels_in, channels, 3, padding=1), nn.ReLU()]
        channels_in = channels
    head = [nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(512 * 16, hidden), nn.ReLU()]
    head += [nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1000)]
    return nn.Sequential(*layers, *head)


# ---- a small transformer -------------------------------------------------------------------------


def attention(T: Namespace, width: int, heads: int) -> Model:
    nn = T.nn

    class Attention(nn.Module):  # type: ignore[misc, name-defined]
        """Self-attention over x [B,S,width]."""

        def __init__(self) -> None:
            super().__init__()
            self.qkv = nn.Linear(width, 3 * width)
            self.out = nn.Linear(width, width)

        def forward(self, x: Any) -> Any:
            b, s, _ = x.shape
            q, k, v = (
                T.transpose(t.reshape(b, s, heads, width // heads), 1, 2)
                for t in T.chunk(self.qkv(x), 3, -1)
            )
            mixed = nn.functional.scaled_dot_product_attention(q, k, v)
            return self.out(T.transpose(mixed, 1, 2).reshape(b, s, width))

    return Attention()


def encoder_layer(T: Namespace, width: int, heads: int, hidden: int) -> Model:
    nn = T.nn

    class EncoderLayer(nn.Module):  # type: ignore[misc, name-defined]
        """Attention and a two-layer net, each added to its input and normalised after, as BERT."""

        def __init__(self) -> None:
            super().__init__()
            self.attention = attention(T, width, heads)
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

        def forward(self, x: Any) -> Any:
            x = self.norm1(x + self.attention(x))
            return self.norm2(x + self.mlp(x))

    return EncoderLayer()


def tinybert(T: Namespace) -> Model:
    nn = T.nn
    width, length = 128, 128

    class TinyBert(nn.Module):  # type: ignore[misc, name-defined]
        """Token and position embeddings, two encoder layers, a classifier on the first token."""

        def __init__(self) -> None:
            super().__init__()
            self.token_embedding = nn.Embedding(VOCABULARY, width)
            self.position_embedding = nn.Parameter(T.zeros(length, width))
            self.norm = nn.LayerNorm(width)
            self.layers = nn.Sequential(*(encoder_layer(T, width, 2, 512) for _ in range(2)))
            self.classifier = nn.Linear(width, 2)

        def forward(self, tokens: Any) -> Any:
            positions = self.position_embedding[: tokens.shape[1]]
            x = self.norm(self.token_embedding(tokens) + positions)
            return self.classifier(self.layers(x)[:, 0])

    return TinyBert()


NETS = {
    net.name: net
    for net in (
        Net("mlp", mlp, (1000,), 10, 64, "sgd", 0.01, small=True),
        Net("conv3", conv3, (1, 28, 28), 10, 64, "sgd-m", 0.01, small=True),
        Net("lenet", lenet, (3, 32, 32), 10, 64, "sgd-m", 0.01, small=True),
        Net("convfc", convfc, (1, 28, 28), 10, 64, "adam", 1e-4, small=True),
        Net("resnet18_cifar", resnet18_cifar, (3, 32, 32), 10, 32, "sgd-m", 1e-3),
        Net("resnet18_224", resnet18_224, (3, 224, 224), 1000, 8, "sgd-m", 1e-3),
        Net("mobilenetv2_224", mobilenetv2, (3, 224, 224), 1000, 8, "sgd-m", 1e-4),
        Net("vgg11_128", vgg11, (3, 128, 128), 1000, 8, "sgd-m", 1e-3),
        Net("tinybert", tinybert, (128,), 2, 16, "adamw", 2e-5, tokens=True),
    )
}
