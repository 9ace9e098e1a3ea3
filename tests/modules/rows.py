"""Layers as rows: how to build one from `nn` (ours or PyTorch's), and the shape it takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Row(NamedTuple):
    """A layer and its input's shape; `bound` makes the input integers below it."""

    name: str
    build: Callable[[Any], Any]
    shape: tuple[int, ...]
    bound: int = 0
    rtol: float = 1e-9

    def __str__(self) -> str:
        return self.name


LAYERS = [
    Row("linear", lambda nn: nn.Linear(5, 7), (4, 5)),
    Row("linear_1d", lambda nn: nn.Linear(5, 7), (5,)),
    Row("linear_3d_no_bias", lambda nn: nn.Linear(5, 7, bias=False), (2, 3, 5)),
    Row("conv1d", lambda nn: nn.Conv1d(3, 4, 3, padding=1), (2, 3, 9)),
    Row("conv1d_same", lambda nn: nn.Conv1d(3, 4, 5, padding="same"), (2, 3, 9)),
    Row("conv2d", lambda nn: nn.Conv2d(3, 4, 3), (2, 3, 8, 9)),
    Row("conv2d_unbatched", lambda nn: nn.Conv2d(3, 4, 3, padding=1), (3, 6, 6)),
    Row("conv2d_stride", lambda nn: nn.Conv2d(3, 4, 3, 2, 1, bias=False), (2, 3, 7, 8)),
    Row(
        "conv2d_dilation", lambda nn: nn.Conv2d(3, 4, (3, 2), (2, 1), (2, 1), (2, 3)), (1, 3, 9, 9)
    ),
    Row("conv2d_groups", lambda nn: nn.Conv2d(4, 6, 3, padding=1, groups=2), (2, 4, 5, 5)),
    Row("conv2d_depthwise", lambda nn: nn.Conv2d(4, 8, 3, groups=4), (2, 4, 5, 5)),
    Row(
        "conv2d_same", lambda nn: nn.Conv2d(2, 3, (3, 5), padding="same", dilation=2), (2, 2, 7, 8)
    ),
    Row("batchnorm1d", lambda nn: nn.BatchNorm1d(4), (6, 4)),
    Row("batchnorm1d_3d", lambda nn: nn.BatchNorm1d(4, eps=1e-3, momentum=0.3), (2, 4, 5)),
    Row("batchnorm2d", lambda nn: nn.BatchNorm2d(4), (3, 4, 5, 2)),
    Row("batchnorm2d_cumulative", lambda nn: nn.BatchNorm2d(4, momentum=None), (3, 4, 5, 2)),
    Row("batchnorm2d_plain", lambda nn: nn.BatchNorm2d(4, affine=False), (3, 4, 5, 2)),
    Row(
        "batchnorm2d_untracked",
        lambda nn: nn.BatchNorm2d(4, track_running_stats=False),
        (3, 4, 5, 2),
    ),
    Row("layernorm", lambda nn: nn.LayerNorm(6), (3, 4, 6)),
    Row("layernorm_2", lambda nn: nn.LayerNorm((4, 6), eps=1e-3), (3, 4, 6)),
    Row("layernorm_plain", lambda nn: nn.LayerNorm(6, elementwise_affine=False), (3, 6)),
    Row("groupnorm", lambda nn: nn.GroupNorm(2, 6), (2, 6, 3, 4)),
    Row("rmsnorm", lambda nn: nn.RMSNorm(6), (3, 6)),
    Row("embedding", lambda nn: nn.Embedding(9, 4), (3, 5), 9),
    Row("embedding_padding", lambda nn: nn.Embedding(9, 4, padding_idx=-2), (3, 5), 9),
    Row("dropout_zero", lambda nn: nn.Dropout(0.0), (3, 5)),
    Row("maxpool1d", lambda nn: nn.MaxPool1d(3, 2, 1), (2, 3, 8)),
    Row("maxpool2d", lambda nn: nn.MaxPool2d(2), (2, 3, 7, 8)),
    Row("maxpool2d_padding", lambda nn: nn.MaxPool2d(3, 2, 1), (2, 3, 7, 8)),
    Row("maxpool2d_ceil", lambda nn: nn.MaxPool2d(3, 2, 1, ceil_mode=True), (2, 3, 6, 8)),
    Row("maxpool2d_dilation", lambda nn: nn.MaxPool2d((2, 3), 1, 0, (2, 1)), (1, 2, 6, 6)),
    Row("avgpool1d", lambda nn: nn.AvgPool1d(3, 2, 1), (2, 3, 8)),
    Row("avgpool2d", lambda nn: nn.AvgPool2d(2), (2, 3, 7, 8)),
    Row("avgpool2d_padding", lambda nn: nn.AvgPool2d(3, 2, 1), (2, 3, 7, 8)),
    Row(
        "avgpool2d_exclude",
        lambda nn: nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
        (2, 3, 6, 7),
    ),
    Row("avgpool2d_ceil", lambda nn: nn.AvgPool2d(3, 2, 1, ceil_mode=True), (2, 3, 6, 7)),
    Row("avgpool2d_divisor", lambda nn: nn.AvgPool2d(2, divisor_override=3), (2, 3, 4, 4)),
    Row("adaptive_1", lambda nn: nn.AdaptiveAvgPool2d(1), (2, 3, 7, 8)),
    Row("adaptive_divides", lambda nn: nn.AdaptiveAvgPool2d((2, 4)), (2, 3, 6, 8)),
    Row("adaptive_uneven", lambda nn: nn.AdaptiveAvgPool2d((3, None)), (2, 3, 7, 5)),
    Row("adaptive_1d", lambda nn: nn.AdaptiveAvgPool1d(3), (2, 3, 8)),
    Row("flatten", lambda nn: nn.Flatten(), (2, 3, 4)),
    Row("unflatten", lambda nn: nn.Unflatten(1, (2, 3)), (4, 6)),
    Row("identity", lambda nn: nn.Identity(), (4, 6)),
    Row("relu", lambda nn: nn.ReLU(), (4, 6)),
    Row("relu6", lambda nn: nn.ReLU6(), (4, 6)),
    Row("leaky_relu", lambda nn: nn.LeakyReLU(0.2), (4, 6)),
    Row("prelu", lambda nn: nn.PReLU(6), (4, 6, 2)),
    Row("elu", lambda nn: nn.ELU(0.7), (4, 6)),
    Row("hardtanh", lambda nn: nn.Hardtanh(), (4, 6)),
    Row("hardswish", lambda nn: nn.Hardswish(), (4, 6)),
    # PyTorch rounds the slope 1/6 to float32.
    Row("hardsigmoid", lambda nn: nn.Hardsigmoid(), (4, 6), rtol=1e-7),
    Row("silu", lambda nn: nn.SiLU(), (4, 6)),
    Row("gelu", lambda nn: nn.GELU(), (4, 6)),
    Row("gelu_tanh", lambda nn: nn.GELU("tanh"), (4, 6)),
    Row("sigmoid", lambda nn: nn.Sigmoid(), (4, 6)),
    Row("logsigmoid", lambda nn: nn.LogSigmoid(), (4, 6)),
    Row("softplus", lambda nn: nn.Softplus(2.0, 3.0), (4, 6)),
    Row("tanh", lambda nn: nn.Tanh(), (4, 6)),
    Row("celu", lambda nn: nn.CELU(0.7), (4, 6), rtol=1e-6),  # its 1 / alpha is rounded, too
    Row("selu", lambda nn: nn.SELU(), (4, 6)),
    Row("glu", lambda nn: nn.GLU(1), (4, 6, 2)),
    Row("mish", lambda nn: nn.Mish(), (4, 6)),
    Row("softsign", lambda nn: nn.Softsign(), (4, 6)),
    Row("tanhshrink", lambda nn: nn.Tanhshrink(), (4, 6)),
    Row("hardshrink", lambda nn: nn.Hardshrink(0.7), (4, 6)),
    Row("softshrink", lambda nn: nn.Softshrink(0.7), (4, 6)),
    Row("threshold", lambda nn: nn.Threshold(0.3, -7.0), (4, 6)),
    Row("rrelu_same", lambda nn: nn.RReLU(0.3, 0.3), (4, 6)),
    Row("softmax2d", lambda nn: nn.Softmax2d(), (2, 3, 2, 2)),
    Row("softmin", lambda nn: nn.Softmin(1), (4, 6)),
    Row("softmax", lambda nn: nn.Softmax(dim=1), (4, 6, 2)),
    Row("log_softmax", lambda nn: nn.LogSoftmax(dim=-1), (4, 6)),
    Row(
        "sequential",
        lambda nn: nn.Sequential(nn.Linear(5, 6), nn.Sequential(nn.ReLU(), nn.Linear(6, 2))),
        (4, 5),
    ),
    Row(
        "encoder_layer",
        lambda nn: nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True),
        (2, 5, 8),
    ),
    Row(
        "encoder",
        lambda nn: nn.TransformerEncoder(
            nn.TransformerEncoderLayer(8, 2, 16, 0.0, activation="gelu", norm_first=True),
            2,
            nn.LayerNorm(8),
            enable_nested_tensor=False,
        ),
        (5, 2, 8),
    ),
]
