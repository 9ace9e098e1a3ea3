"""Small nets of other kinds, as people write them: what `benchmarks/others.py` times.

Odd channels and sizes, other norms, joins, upsampling, other kernels and strides, other losses:
each stands for a kind of net rather than for a published one.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from nets import VOCABULARY, Model, Namespace, Net, conv_bn, encoder_layer, residual


def module(T: Namespace, run: Any, **children: Model) -> Model:
    """A module of named children whose forward is `run(children, x)`."""

    class Composed(T.nn.Module):  # type: ignore[misc, name-defined]
        """What `run` makes of the children."""

        def __init__(self) -> None:
            super().__init__()
            for name, child in children.items():
                setattr(self, name, child)

        def forward(self, x: Any) -> Any:
            return run(self, x)

    return Composed()


def joined(T: Namespace, *branches: Model) -> Model:
    """The branches of one input side by side, by channels."""
    nn = T.nn

    class Joined(nn.Module):  # type: ignore[misc, name-defined]
        """cat([branch(x) for each branch], 1)"""

        def __init__(self) -> None:
            super().__init__()
            self.branches = nn.ModuleList(branches)

        def forward(self, x: Any) -> Any:
            return T.cat([branch(x) for branch in self.branches], 1)

    return Joined()


def pooled(T: Namespace, channels: int, classes: int) -> list[Model]:
    return [T.nn.AdaptiveAvgPool2d(1), T.nn.Flatten(), T.nn.Linear(channels, classes)]


# ---- convolutions of other shapes --------------------------------------------------------------


def odd_channels(T: Namespace) -> Model:
    nn = T.nn
    layers: list[Model] = []
    for channels_in, channels in ((3, 24), (24, 40), (40, 60)):
        layers += [*conv_bn(T, channels_in, channels, 3), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, *pooled(T, 60, 10))


def wide_kernels(T: Namespace) -> Model:
    nn = T.nn
    layers = [nn.Conv2d(3, 20, 7, padding=3), nn.ReLU(), nn.MaxPool2d(3, 2)]
    layers += [nn.Conv2d(20, 36, 5, stride=2, padding=2), nn.ReLU()]
    layers += [nn.Conv2d(36, 50, 5, stride=3), nn.ELU(), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(50 * 3 * 3, 10))


def dilated(T: Namespace) -> Model:
    nn = T.nn
    layers = [nn.Conv2d(3, 32, 3, padding=1), nn.ReLU()]
    for d in (1, 2, 4):
        layers += [nn.Conv2d(32, 32, 3, padding=d, dilation=d), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(32, 5, 1))


def grouped(T: Namespace) -> Model:
    nn = T.nn
    layers = [*conv_bn(T, 3, 64, 3, stride=2), nn.ReLU()]
    for _ in range(2):
        body = [*conv_bn(T, 64, 64, 1), nn.ReLU(), *conv_bn(T, 64, 64, 3, groups=8), nn.ReLU()]
        body += conv_bn(T, 64, 64, 1)
        layers.append(residual(T, nn.Sequential(*body), nn.Identity(), nn.ReLU()))
    return nn.Sequential(*layers, *pooled(T, 64, 10))


def conv1d(T: Namespace) -> Model:
    nn = T.nn
    layers: list[Model] = []
    for channels_in, channels, size, stride in ((1, 32, 9, 4), (32, 48, 5, 2), (48, 64, 3, 2)):
        layers += [nn.Conv1d(channels_in, channels, size, stride), nn.BatchNorm1d(channels)]
        layers += [nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(64, 10))


def conv3d(T: Namespace) -> Model:
    nn = T.nn
    layers = [nn.Conv3d(3, 16, 3, padding=1), nn.BatchNorm3d(16), nn.ReLU(), nn.MaxPool3d(2)]
    layers += [nn.Conv3d(16, 32, 3, padding=1), nn.BatchNorm3d(32), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(32, 10))


# ---- other norms -------------------------------------------------------------------------------


def normed(T: Namespace, norm: Any) -> Model:
    """Two residual blocks of 32 channels with another norm."""
    nn = T.nn
    layers = [nn.Conv2d(3, 32, 3, padding=1)]
    for _ in range(2):
        body = [norm(), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1)]
        body += [norm(), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1)]
        layers.append(residual(T, nn.Sequential(*body), nn.Identity(), nn.Identity()))
    return nn.Sequential(*layers, nn.ReLU(), *pooled(T, 32, 10))


def group_norm(T: Namespace) -> Model:
    return normed(T, lambda: T.nn.GroupNorm(8, 32))


def instance_norm(T: Namespace) -> Model:
    return normed(T, lambda: T.nn.InstanceNorm2d(32, affine=True))


def layer_norm(T: Namespace) -> Model:
    return normed(T, lambda: T.nn.LayerNorm([32, 32, 32]))


# ---- joins -------------------------------------------------------------------------------------


def dense_block(T: Namespace) -> Model:
    nn = T.nn
    layers, channels = [nn.Conv2d(3, 24, 3, padding=1)], 24
    for block in range(2):
        for _ in range(3):
            grown = [nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, 12, 3, padding=1)]
            layers.append(joined(T, nn.Identity(), nn.Sequential(*grown)))
            channels += 12
        if block == 0:
            layers += [nn.Conv2d(channels, channels // 2, 1), nn.AvgPool2d(2)]
            channels //= 2
    return nn.Sequential(*layers, nn.ReLU(), *pooled(T, channels, 10))


def fire(T: Namespace, channels: int, squeezed: int, grown: int) -> list[Model]:
    nn = T.nn
    one = nn.Sequential(nn.Conv2d(squeezed, grown, 1), nn.ReLU())
    three = nn.Sequential(nn.Conv2d(squeezed, grown, 3, padding=1), nn.ReLU())
    return [nn.Conv2d(channels, squeezed, 1), nn.ReLU(), joined(T, one, three)]


def squeezenet(T: Namespace) -> Model:
    nn = T.nn
    layers = [nn.Conv2d(3, 32, 3, stride=2), nn.ReLU(), nn.MaxPool2d(3, 2)]
    layers += [*fire(T, 32, 16, 32), *fire(T, 64, 24, 48)]
    return nn.Sequential(*layers, *pooled(T, 96, 10))


def inception(T: Namespace) -> Model:
    nn = T.nn

    def block(channels: int) -> Model:
        one = nn.Conv2d(channels, 16, 1)
        three = [nn.Conv2d(channels, 12, 1), nn.ReLU(), nn.Conv2d(12, 24, 3, padding=1)]
        five = [nn.Conv2d(channels, 8, 1), nn.ReLU(), nn.Conv2d(8, 12, 5, padding=2)]
        pool = nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.Conv2d(channels, 12, 1))
        return joined(T, one, nn.Sequential(*three), nn.Sequential(*five), pool)

    layers = [nn.Conv2d(3, 32, 3, stride=2), nn.ReLU(), block(32), nn.ReLU(), block(64), nn.ReLU()]
    return nn.Sequential(*layers, *pooled(T, 64, 10))


def shuffle_unit(T: Namespace, channels: int) -> Model:
    nn, half = T.nn, channels // 2
    body = [*conv_bn(T, half, half, 1), nn.ReLU(), *conv_bn(T, half, half, 3, groups=half)]
    body += [*conv_bn(T, half, half, 1), nn.ReLU()]

    def run(m: Model, x: Any) -> Any:
        kept, used = T.chunk(x, 2, 1)
        y = T.cat([kept, m.body(used)], 1)
        n, c, h, w = y.shape
        return y.reshape(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)

    return module(T, run, body=nn.Sequential(*body))


def shufflenet(T: Namespace) -> Model:
    nn = T.nn
    layers = [*conv_bn(T, 3, 48, 3, stride=2), nn.ReLU()]
    layers += [shuffle_unit(T, 48), shuffle_unit(T, 48)]
    return nn.Sequential(*layers, *pooled(T, 48, 10))


# ---- images out of images ----------------------------------------------------------------------


def unet(T: Namespace, up: Any, channels_up: int = 0) -> Model:
    nn = T.nn

    def double(channels_in: int, channels: int) -> Model:
        layers = [*conv_bn(T, channels_in, channels, 3), nn.ReLU()]
        return nn.Sequential(*layers, *conv_bn(T, channels, channels, 3), nn.ReLU())

    def run(m: Model, x: Any) -> Any:
        a = m.down1(x)
        b = m.down2(m.pool(a))
        c = m.down3(m.pool(b))
        d = m.up2(T.cat([b, m.rise2(c)], 1))
        return m.head(m.up1(T.cat([a, m.rise1(d)], 1)))

    wide2, wide1 = (32, 16) if channels_up else (64, 32)
    return module(
        T, run, down1=double(3, 16), down2=double(16, 32), down3=double(32, 64),
        pool=nn.MaxPool2d(2), rise2=up(64, 32), rise1=up(32, 16),
        up2=double(32 + wide2, 32), up1=double(16 + wide1, 16), head=nn.Conv2d(16, 4, 1),
    )  # fmt: skip


def unet_bilinear(T: Namespace) -> Model:
    return unet(T, lambda *_: T.nn.Upsample(scale_factor=2, mode="bilinear"))


def unet_nearest(T: Namespace) -> Model:
    return unet(T, lambda *_: T.nn.Upsample(scale_factor=2))


def unet_transposed(T: Namespace) -> Model:
    return unet(T, lambda i, o: T.nn.ConvTranspose2d(i, o, 2, stride=2), channels_up=1)


def autoencoder(T: Namespace) -> Model:
    nn = T.nn
    layers: list[Model] = []
    sizes = (784, 256, 64, 16, 64, 256, 784)
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def conv_autoencoder(T: Namespace) -> Model:
    nn = T.nn
    layers = [nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU()]
    layers += [nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(16, 1, 4, 2, 1)]
    return nn.Sequential(*layers)


def dcgan(T: Namespace) -> Model:
    """The generator's step: noise to an image of 32 x 32, and what the discriminator says."""
    nn = T.nn
    layers: list[Model] = [nn.Unflatten(1, (64, 1, 1))]
    for i, o, stride, padding in ((64, 128, 1, 0), (128, 64, 2, 1), (64, 32, 2, 1)):
        layers += [nn.ConvTranspose2d(i, o, 4, stride, padding, bias=False)]
        layers += [nn.BatchNorm2d(o), nn.ReLU()]
    layers += [nn.ConvTranspose2d(32, 3, 4, 2, 1), nn.Tanh()]
    for i, o in ((3, 32), (32, 64), (64, 128)):
        layers += [nn.Conv2d(i, o, 4, 2, 1, bias=False), nn.BatchNorm2d(o), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(128, 1, 4), nn.Flatten(), nn.Sigmoid())


def super_resolution(T: Namespace) -> Model:
    nn = T.nn
    layers = [nn.Conv2d(1, 32, 5, padding=2), nn.Tanh(), nn.Conv2d(32, 16, 3, padding=1), nn.Tanh()]
    return nn.Sequential(*layers, nn.Conv2d(16, 9, 3, padding=1), nn.PixelShuffle(3))


# ---- depthwise convolutions --------------------------------------------------------------------


def convnext_block(T: Namespace, width: int) -> Model:
    nn = T.nn

    def run(m: Model, x: Any) -> Any:
        y = m.norm(m.depthwise(x).permute(0, 2, 3, 1))
        return x + m.contract(m.activation(m.expand(y))).permute(0, 3, 1, 2)

    return module(
        T, run, depthwise=nn.Conv2d(width, width, 7, padding=3, groups=width),
        norm=nn.LayerNorm(width), expand=nn.Linear(width, 4 * width), activation=nn.GELU(),
        contract=nn.Linear(4 * width, width),
    )  # fmt: skip


def convnext(T: Namespace) -> Model:
    nn = T.nn
    layers = [nn.Conv2d(3, 48, 4, stride=4), convnext_block(T, 48), convnext_block(T, 48)]
    return nn.Sequential(*layers, *pooled(T, 48, 10))


def squeeze_excite(T: Namespace, width: int, squeezed: int, gate: Model) -> Model:
    nn = T.nn
    body = [nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, squeezed, 1), nn.ReLU()]
    body += [nn.Conv2d(squeezed, width, 1), gate]
    return module(T, lambda m, x: x * m.scale(x), scale=nn.Sequential(*body))


def mbconv(
    T: Namespace, channels_in: int, channels: int, size: int, stride: int, kind: str
) -> Model:
    """An inverted residual of EfficientNet ("swish") or MobileNetV3 ("hard")."""
    nn, hidden = T.nn, 4 * channels_in
    activation, gate = {
        "swish": (nn.SiLU, nn.Sigmoid),
        "hard": (nn.Hardswish, nn.Hardsigmoid),
    }[kind]
    layers = [*conv_bn(T, channels_in, hidden, 1), activation()]
    layers += [*conv_bn(T, hidden, hidden, size, stride=stride, groups=hidden), activation()]
    layers += [squeeze_excite(T, hidden, channels_in // 2, gate())]
    body = nn.Sequential(*layers, *conv_bn(T, hidden, channels, 1))
    if stride == 1 and channels_in == channels:
        return residual(T, body, nn.Identity(), nn.Identity())
    return body


def mbconvs(T: Namespace, kind: str) -> Model:
    nn = T.nn
    layers = [*conv_bn(T, 3, 16, 3, stride=2), nn.SiLU() if kind == "swish" else nn.Hardswish()]
    layers += [mbconv(T, 16, 24, 3, 2, kind), mbconv(T, 24, 24, 5, 1, kind)]
    layers += [mbconv(T, 24, 40, 5, 2, kind), mbconv(T, 40, 40, 3, 1, kind)]
    return nn.Sequential(*layers, *pooled(T, 40, 10))


def efficientnet(T: Namespace) -> Model:
    return mbconvs(T, "swish")


def mobilenetv3(T: Namespace) -> Model:
    return mbconvs(T, "hard")


# ---- without convolutions ----------------------------------------------------------------------


def vit(T: Namespace) -> Model:
    nn = T.nn

    def run(m: Model, x: Any) -> Any:
        y = T.transpose(m.patches(x).flatten(2), 1, 2)
        return m.head(m.layers(y).mean(1))

    layers = nn.Sequential(*(encoder_layer(T, 64, 4, 128) for _ in range(2)))
    return module(T, run, patches=nn.Conv2d(3, 64, 4, stride=4), layers=layers,
                  head=nn.Linear(64, 10))  # fmt: skip


def mixer(T: Namespace) -> Model:
    nn = T.nn

    def block() -> Model:
        def run(m: Model, x: Any) -> Any:
            x = x + T.transpose(m.tokens(T.transpose(m.norm1(x), 1, 2)), 1, 2)
            return x + m.channels(m.norm2(x))

        tokens = nn.Sequential(nn.Linear(64, 32), nn.GELU(), nn.Linear(32, 64))
        channels = nn.Sequential(nn.Linear(64, 128), nn.GELU(), nn.Linear(128, 64))
        return module(T, run, norm1=nn.LayerNorm(64), norm2=nn.LayerNorm(64),
                      tokens=tokens, channels=channels)  # fmt: skip

    def run(m: Model, x: Any) -> Any:
        y = T.transpose(m.patches(x).flatten(2), 1, 2)
        return m.head(m.layers(y).mean(1))

    return module(T, run, patches=nn.Conv2d(3, 64, 4, stride=4),
                  layers=nn.Sequential(block(), block()), head=nn.Linear(64, 10))  # fmt: skip


def text_mean(T: Namespace) -> Model:
    nn = T.nn

    def run(m: Model, x: Any) -> Any:
        return m.head(m.embedding(x).mean(1))

    head = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4))
    return module(T, run, embedding=nn.Embedding(VOCABULARY, 64), head=head)


def text_conv(T: Namespace) -> Model:
    nn = T.nn

    def run(m: Model, x: Any) -> Any:
        y = T.transpose(m.embedding(x), 1, 2)
        return m.head(T.cat([T.relu(conv(y)).amax(2) for conv in (m.three, m.four, m.five)], 1))

    return module(
        T, run, embedding=nn.Embedding(VOCABULARY, 50), three=nn.Conv1d(50, 40, 3),
        four=nn.Conv1d(50, 40, 4), five=nn.Conv1d(50, 40, 5), head=nn.Linear(120, 4),
    )  # fmt: skip


def many_classes(T: Namespace) -> Model:
    nn = T.nn
    return nn.Sequential(nn.Linear(100, 128), nn.ReLU(), nn.Linear(128, 10000))


def tabular(T: Namespace) -> Model:
    nn = T.nn
    layers: list[Model] = []
    for inputs, outputs in ((30, 100), (100, 50)):
        layers += [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(50, 1), nn.Sigmoid())


BCE, LOGITS, MSE = "binary_cross_entropy", "binary_cross_entropy_with_logits", "mse_loss"

NETS = {
    net.name: net
    for net in (
        Net("odd_channels", odd_channels, (3, 45, 45), 10, 50, "sgd-m", 0.01),
        Net("wide_kernels", wide_kernels, (3, 45, 45), 10, 50, "adam", 1e-4),
        Net("dilated", dilated, (3, 32, 32), 5, 16, "sgd-m", 0.01, target_shape=(32, 32)),
        Net("grouped", grouped, (3, 45, 45), 10, 32, "sgd-m", 0.01),
        Net("conv1d", conv1d, (1, 1000), 10, 50, "adam", 1e-4),
        Net("conv3d", conv3d, (3, 8, 32, 32), 10, 8, "sgd-m", 0.01),
        Net("group_norm", group_norm, (3, 32, 32), 10, 32, "sgd-m", 0.01),
        Net("instance_norm", instance_norm, (3, 32, 32), 10, 32, "sgd-m", 0.01),
        Net("layer_norm", layer_norm, (3, 32, 32), 10, 32, "sgd-m", 0.01),
        Net("dense_block", dense_block, (3, 32, 32), 10, 32, "sgd-m", 0.01),
        Net("squeezenet", squeezenet, (3, 64, 64), 10, 32, "rmsprop", 1e-5),
        Net("inception", inception, (3, 45, 45), 10, 50, "adam", 1e-4),
        Net("shufflenet", shufflenet, (3, 45, 45), 10, 50, "sgd-m", 0.01),
        Net("unet_bilinear", unet_bilinear, (3, 64, 64), 4, 4, "adam", 1e-4, target_shape=(64, 64)),
        Net("unet_nearest", unet_nearest, (3, 64, 64), 4, 4, "adam", 1e-4, target_shape=(64, 64)),
        Net("unet_transposed", unet_transposed, (3, 64, 64), 4, 4, "adam", 1e-4,
            target_shape=(64, 64)),
        Net("autoencoder", autoencoder, (784,), 0, 64, "adam", 1e-4, loss=MSE, target_shape=(784,)),
        Net("conv_autoencoder", conv_autoencoder, (1, 28, 28), 0, 64, "adam", 1e-4, loss=LOGITS,
            target_shape=(1, 28, 28)),
        Net("dcgan", dcgan, (64,), 0, 32, "adam", 1e-4, loss=BCE, target_shape=(1,)),
        Net("super_resolution", super_resolution, (1, 24, 24), 0, 32, "adam", 1e-4, loss=MSE,
            target_shape=(1, 72, 72)),
        Net("convnext", convnext, (3, 64, 64), 10, 16, "adamw", 1e-4),
        Net("efficientnet", efficientnet, (3, 64, 64), 10, 32, "rmsprop", 1e-5),
        Net("mobilenetv3", mobilenetv3, (3, 45, 45), 10, 50, "adamw", 1e-4),
        Net("vit", vit, (3, 32, 32), 10, 32, "adamw", 1e-4),
        Net("mixer", mixer, (3, 32, 32), 10, 32, "adamw", 1e-4),
        Net("text_mean", text_mean, (64,), 4, 64, "adam", 1e-4, tokens=True),
        Net("text_conv", text_conv, (64,), 4, 50, "adam", 1e-4, tokens=True),
        Net("many_classes", many_classes, (100,), 10000, 64, "adamw", 1e-4),
        Net("tabular", tabular, (30,), 0, 256, "rmsprop", 1e-4, loss=BCE, target_shape=(1,)),
    )
}  # fmt: skip
