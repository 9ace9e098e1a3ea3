"""torch.nn.modules' names: the layers of graphc.nn under the files that PyTorch keeps them in.

Code asks for bases there, `nn.modules.batchnorm._BatchNorm`. Each such file is a module made from a
row of the table: names of graphc.nn, and bases by the name they have in PyTorch.
"""

from __future__ import annotations

from typing import Any

import graphc.nn as nn
from graphc.frontend.aliases import module_of
from graphc.nn import conv, dropout, losses, normalization, padding, pooling, rnn
from graphc.nn import lazy as lazy_layers
from graphc.nn import state as state
from graphc.nn.functional.arguments import per_dim
from graphc.nn.module import Module as Module

LAYERS = {
    "adaptive": "AdaptiveLogSoftmaxWithLoss",
    "activation": """
        CELU ELU GELU GLU Hardshrink Hardsigmoid Hardswish Hardtanh LeakyReLU LogSigmoid LogSoftmax
        Mish MultiheadAttention PReLU RReLU ReLU ReLU6 SELU SiLU Sigmoid Softmax Softmax2d Softmin
        Softplus Softshrink Softsign Tanh Tanhshrink Threshold
    """,
    "batchnorm": """
        BatchNorm1d BatchNorm2d BatchNorm3d LazyBatchNorm1d LazyBatchNorm2d LazyBatchNorm3d
        SyncBatchNorm
    """,
    "channelshuffle": "ChannelShuffle",
    "container": "ModuleDict ModuleList ParameterDict ParameterList Sequential",
    "conv": """
        Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d LazyConv1d LazyConv2d
        LazyConv3d LazyConvTranspose1d LazyConvTranspose2d LazyConvTranspose3d
    """,
    "distance": "CosineSimilarity PairwiseDistance",
    "dropout": "AlphaDropout Dropout Dropout1d Dropout2d Dropout3d FeatureAlphaDropout",
    "flatten": "Flatten Unflatten",
    "fold": "Fold Unfold",
    "instancenorm": """
        InstanceNorm1d InstanceNorm2d InstanceNorm3d LazyInstanceNorm1d LazyInstanceNorm2d
        LazyInstanceNorm3d
    """,
    "lazy": "",
    "linear": "Bilinear Identity LazyLinear Linear",
    "loss": """
        BCELoss BCEWithLogitsLoss CTCLoss CosineEmbeddingLoss CrossEntropyLoss GaussianNLLLoss
        HingeEmbeddingLoss HuberLoss KLDivLoss L1Loss MSELoss MarginRankingLoss MultiLabelMarginLoss
        MultiLabelSoftMarginLoss MultiMarginLoss NLLLoss PoissonNLLLoss SmoothL1Loss SoftMarginLoss
        TripletMarginLoss TripletMarginWithDistanceLoss
    """,
    "module": "Module",
    "normalization": "GroupNorm LayerNorm LocalResponseNorm RMSNorm",
    "padding": """
        CircularPad1d CircularPad2d CircularPad3d ConstantPad1d ConstantPad2d ConstantPad3d
        ReflectionPad1d ReflectionPad2d ReflectionPad3d ReplicationPad1d ReplicationPad2d
        ReplicationPad3d ZeroPad1d ZeroPad2d ZeroPad3d
    """,
    "pixelshuffle": "PixelShuffle PixelUnshuffle",
    "pooling": """
        AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d AdaptiveMaxPool1d AdaptiveMaxPool2d
        AdaptiveMaxPool3d AvgPool1d AvgPool2d AvgPool3d FractionalMaxPool2d FractionalMaxPool3d
        LPPool1d LPPool2d LPPool3d MaxPool1d MaxPool2d MaxPool3d MaxUnpool1d MaxUnpool2d MaxUnpool3d
    """,
    "rnn": "GRU GRUCell LSTM LSTMCell RNN RNNBase RNNCell",
    "sparse": "Embedding EmbeddingBag",
    "transformer": """
        Transformer TransformerDecoder TransformerDecoderLayer TransformerEncoder
        TransformerEncoderLayer
    """,
    "upsampling": "Upsample UpsamplingBilinear2d UpsamplingNearest2d",
    "utils": "",
}


def _ntuple(n: int, name: str = "parse") -> Any:
    """A function that repeats a number n times, and makes a tuple of a sequence."""

    def parse(x: Any) -> tuple[Any, ...]:
        return tuple(x) if hasattr(x, "__iter__") else tuple(per_dim(x, n, name)) if isinstance(
            x, int
        ) else (x,) * n  # fmt: skip

    return parse


BASES: dict[str, dict[str, Any]] = {
    "batchnorm": {
        "_BatchNorm": normalization._BatchNorm,
        "_NormBase": normalization._NormBase,
    },
    "conv": {
        "_ConvNd": conv._Convolution,
        "_ConvTransposeNd": conv._ConvTranspose,
    },
    "dropout": {"_DropoutNd": dropout.Dropout},
    "instancenorm": {"_InstanceNorm": normalization._InstanceNorm},
    "lazy": {"LazyModuleMixin": lazy_layers.LazyModuleMixin},
    "linear": {"NonDynamicallyQuantizableLinear": nn.linear.NonDynamicallyQuantizableLinear},
    "loss": {"_Loss": losses.Loss, "_WeightedLoss": losses.WeightedLoss},
    "module": {"_IncompatibleKeys": state.IncompatibleKeys},
    "padding": {"_ConstantPadNd": padding._ConstantPad},
    "pooling": {
        "_AvgPoolNd": pooling._AvgPool,
        "_MaxPoolNd": pooling._MaxPool,
        "_MaxUnpoolNd": pooling._MaxUnpool,
        "_LPPoolNd": pooling._LPPool,
        "_AdaptiveAvgPoolNd": pooling._AdaptiveAvgPool,
        "_AdaptiveMaxPoolNd": pooling._AdaptiveMaxPool,
    },
    "rnn": {"RNNCellBase": rnn._Cell},
    "utils": {
        "_ntuple": _ntuple,
        "_single": _ntuple(1),
        "_pair": _ntuple(2),
        "_triple": _ntuple(3),
        "_quadruple": _ntuple(4),
        "_reverse_repeat_tuple": lambda t, n: tuple(x for x in reversed(t) for _ in range(n)),
        "consume_prefix_in_state_dict_if_present": state.consume_prefix,
    },
}


for _name, _names in LAYERS.items():
    _own = {layer: getattr(nn, layer) for layer in _names.split()}
    globals().update(_own)
    globals()[_name] = module_of(f"{__name__}.{_name}", {**_own, **BASES.get(_name, {})})
