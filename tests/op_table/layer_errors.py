"""Calls of functional layers that graphc and torch both refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.op_table.layers import GRID, IMAGE, VOLUME
from tests.op_table.rows import ErrorRow, In


def refused(
    name: str,
    label: str,
    call: Callable[..., Any],
    error: type[Exception],
    *inputs: In,
    says: str = "",
) -> ErrorRow:
    def fn(T: Any, *tensors: Any) -> Any:
        return call(getattr(T.nn.functional, name), *tensors)

    return ErrorRow(f"{name}_{label}", fn, error, inputs or (IMAGE,), says)


W = In((4, 3, 2, 2))
ERRORS = [
    refused(
        "conv2d",
        "channels",
        lambda f, x, w: f(x, w),
        RuntimeError,
        In((2, 5, 4, 4)),
        W,
        says="3 channels, but got 5",
    ),
    refused("conv2d", "rank", lambda f, x, w: f(x, w), RuntimeError, In((4, 4)), W, says="[4, 4]"),
    refused(
        "conv2d",
        "kernel",
        lambda f, x, w: f(x, w),
        RuntimeError,
        In((1, 3, 1, 4)),
        W,
        says="1,3,1,4",
    ),
    refused(
        "conv2d", "dtype", lambda f, x, w: f(x.double(), w), RuntimeError, IMAGE, W, says="f64"
    ),
    refused(
        "conv2d",
        "bias",
        lambda f, x, w: f(x, w, w[:3, 0, 0, 0]),
        RuntimeError,
        IMAGE,
        W,
        says="4 elements",
    ),
    refused(
        "conv2d", "stride", lambda f, x, w: f(x, w, stride=0), RuntimeError, IMAGE, W, says="stride"
    ),
    refused(
        "conv2d",
        "padding",
        lambda f, x, w: f(x, w, padding=-1),
        RuntimeError,
        IMAGE,
        W,
        says="negative padding",
    ),
    refused(
        "conv2d",
        "same",
        lambda f, x, w: f(x, w, stride=2, padding="same"),
        RuntimeError,
        IMAGE,
        W,
        says="strided",
    ),
    refused(
        "conv3d",
        "rank",
        lambda f, x, w: f(x, w),
        RuntimeError,
        IMAGE,
        In((2, 3, 1, 1, 1, 1)),
        says="conv3d",
    ),
    refused(
        "conv_transpose2d",
        "channels",
        lambda f, x, w: f(x, w),
        RuntimeError,
        IMAGE,
        W,
        says="4 channels, but got 3",
    ),
    refused(
        "conv_transpose2d",
        "output_padding",
        lambda f, x, w: f(x, w, stride=2, output_padding=2),
        RuntimeError,
        IMAGE,
        In((3, 2, 2, 2)),
        says="output padding",
    ),
    refused(
        "conv_transpose2d",
        "small",
        lambda f, x, w: f(x, w, padding=4),
        RuntimeError,
        IMAGE,
        In((3, 2, 2, 2)),
        says="too small",
    ),
    refused(
        "bilinear",
        "batch",
        lambda f, x, y, w: f(x, y, w),
        RuntimeError,
        In((2, 3)),
        In((3, 3)),
        In((2, 3, 3)),
        says="must agree",
    ),
    refused(
        "bilinear",
        "features",
        lambda f, x, y, w: f(x, y, w),
        RuntimeError,
        In((2, 3)),
        In((2, 3)),
        In((2, 3, 4)),
        says="2,3,4",
    ),
    refused("pad", "odd", lambda f, x: f(x, (1, 2, 3)), RuntimeError, says="divisible by 2"),
    refused(
        "pad", "mode", lambda f, x: f(x, (1, 2), "mirror"), NotImplementedError, says="'mirror'"
    ),
    refused(
        "pad", "rank", lambda f, x: f(x, (1, 2), "reflect"), NotImplementedError, says="2,3,5,4"
    ),
    refused(
        "pad",
        "reach",
        lambda f, x: f(x, (4, 0, 0, 0), "reflect"),
        RuntimeError,
        says="(4, 0) at dimension 3",
    ),
    refused(
        "pad",
        "wrap",
        lambda f, x: f(x, (5, 0, 0, 0), "circular"),
        RuntimeError,
        says="wrapping around",
    ),
    refused("pad", "negative", lambda f, x: f(x, (-3, -2)), RuntimeError, says="negative"),
    refused(
        "pad", "value", lambda f, x: f(x, (1, 0, 0, 0), "circular", 2.0), RuntimeError, says="value"
    ),
    refused(
        "max_pool3d", "rank", lambda f, x: f(x, 2), RuntimeError, In((2, 3, 4)), says="4D or 5D"
    ),
    refused("max_pool2d", "kernel", lambda f, x: f(x, 0), RuntimeError, says="positive"),
    refused(
        "avg_pool3d",
        "divisor",
        lambda f, x: f(x, 2, divisor_override=0),
        RuntimeError,
        VOLUME,
        says="divisor",
    ),
    refused("avg_pool2d", "padding", lambda f, x: f(x, 2, 1, 2), RuntimeError, says="pad=2"),
    refused(
        "adaptive_max_pool2d",
        "rank",
        lambda f, x: f(x, 2),
        RuntimeError,
        In((3, 4)),
        says="adaptive_max_pool2d",
    ),
    refused(
        "adaptive_avg_pool2d", "negative", lambda f, x: f(x, (-1, 2)), RuntimeError, says="(-1, 2)"
    ),
    refused(
        "adaptive_max_pool2d", "empty", lambda f, x: f(x, 2), RuntimeError, In((2, 0, 3)), says="0"
    ),
    refused(
        "max_unpool2d", "shape", lambda f, x: f(x, x[:1].long(), 2), RuntimeError, says="indices"
    ),
    refused(
        "max_unpool2d",
        "size",
        lambda f, x: f(x, x.long(), 2, output_size=(1, 1)),
        ValueError,
        says="(1, 1)",
    ),
    refused(
        "unfold", "rank", lambda f, x: f(x, 2), RuntimeError, In((1, 2, 2, 2, 2)), says="1,2,2,2,2"
    ),
    refused("unfold", "kernel", lambda f, x: f(x, 6), RuntimeError, says="at least one"),
    refused(
        "fold", "rows", lambda f, x: f(x, (4, 5), 2), RuntimeError, In((2, 6, 12)), says="2,6,12"
    ),
    refused("pixel_shuffle", "channels", lambda f, x: f(x, 2), RuntimeError, says="3 is not"),
    refused("pixel_unshuffle", "size", lambda f, x: f(x, 3), RuntimeError, says="5,4"),
    refused("pixel_shuffle", "rank", lambda f, x: f(x, 2), RuntimeError, In((4, 4)), says="4,4"),
    refused("channel_shuffle", "groups", lambda f, x: f(x, 2), RuntimeError, says="3 channels"),
    refused(
        "local_response_norm",
        "rank",
        lambda f, x: f(x, 2),
        ValueError,
        In((3, 4)),
        says="3D or higher",
    ),
    refused("instance_norm", "one", lambda f, x: f(x), ValueError, In((2, 3, 1)), says="2, 3, 1"),
    refused("dropout3d", "p", lambda f, x: f(x, 1.5), ValueError, says="1.5"),
    refused("alpha_dropout", "p", lambda f, x: f(x, -0.1), ValueError, says="-0.1"),
    refused("interpolate", "neither", lambda f, x: f(x), ValueError, says="scale_factor"),
    refused("interpolate", "both", lambda f, x: f(x, 2, 2), ValueError, says="only one"),
    refused(
        "interpolate",
        "align",
        lambda f, x: f(x, 2, align_corners=True),
        ValueError,
        says="align_corners",
    ),
    refused(
        "interpolate",
        "mode_rank",
        lambda f, x: f(x, 2, mode="linear"),
        NotImplementedError,
        says="4D input",
    ),
    refused(
        "interpolate",
        "mode",
        lambda f, x: f(x, 2, mode="cubic"),
        NotImplementedError,
        says="cubic",
    ),
    refused(
        "interpolate", "rank", lambda f, x: f(x, 2), NotImplementedError, In((3, 4)), says="3,4"
    ),
    refused("interpolate", "sizes", lambda f, x: f(x, (2, 3, 4)), ValueError, says="(2, 3, 4)"),
    refused(
        "interpolate",
        "recompute",
        lambda f, x: f(x, 2, recompute_scale_factor=True),
        ValueError,
        says="recompute",
    ),
    refused("interpolate", "zero", lambda f, x: f(x, (0, 3)), RuntimeError, says="greater than 0"),
    refused(
        "grid_sample",
        "mode",
        lambda f, x, g: f(x, g, "cubic"),
        ValueError,
        IMAGE,
        GRID,
        says="'cubic'",
    ),
    refused(
        "grid_sample",
        "padding",
        lambda f, x, g: f(x, g, padding_mode="wrap"),
        ValueError,
        IMAGE,
        GRID,
        says="'wrap'",
    ),
    refused(
        "grid_sample",
        "grid",
        lambda f, x, g: f(x, g, align_corners=True),
        RuntimeError,
        IMAGE,
        In((2, 3, 2, 3)),
        says="2,3,2,3",
    ),
    refused(
        "affine_grid",
        "theta",
        lambda f, x: f(x, (2, 1, 3, 4), True),
        ValueError,
        In((2, 3, 3)),
        says="2,3,3",
    ),
]
