"""Functional forms of layers: convolutions, padding, pooling, normalisation, resizing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.op_table.rows import In, OpRow

IMAGE = In((2, 3, 5, 4))
SIGNAL = In((2, 3, 6))
VOLUME = In((1, 2, 3, 4, 3))
GRID = In((2, 3, 2, 2), low=-1.2, high=1.2)
WHOLE_GRID = In((2, 3, 2, 2), low=-5, high=6, dtype="i")


def functional(
    name: str, call: Callable[..., Any], *inputs: In, label: str = "", **options: Any
) -> OpRow:
    """A row of nn.functional.`name`; `call` gets the function first."""

    def fn(T: Any, *tensors: Any) -> Any:
        return call(getattr(T.nn.functional, name), *tensors)

    return OpRow(f"{name}{label}", fn, inputs or (IMAGE,), **options)


def near(rtol: float = 1e-10) -> dict[str, float]:
    """Sums of many products are added in another order than torch's."""
    return {"rtol": rtol}


CONVOLUTIONS = [
    functional(
        "conv1d",
        lambda f, x, w, b: f(x, w, b, 2, 1, 2),
        SIGNAL,
        In((4, 3, 2)),
        In((4,)),
        **near(),
    ),
    functional(
        "conv3d", lambda f, x, w: f(x, w, None, (1, 2, 1), 1), VOLUME, In((2, 2, 2, 3, 1)), **near()
    ),
    functional(
        "conv_transpose1d",
        lambda f, x, w, b: f(x, w, b, 3, 1, 2),
        SIGNAL,
        In((3, 2, 4)),
        In((2,)),
        **near(),
    ),
    functional(
        "conv_transpose2d",
        lambda f, x, w: f(x, w, None, 2, 1, 1, 1, (1, 2)),
        IMAGE,
        In((3, 2, 3, 2)),
        **near(),
    ),
    functional(
        "conv_transpose2d",
        lambda f, x, w: f(x, w, groups=3, padding=(0, 1)),
        IMAGE,
        In((3, 2, 2, 3)),
        label="_groups",
        **near(),
    ),
    functional(
        "conv_transpose3d",
        lambda f, x, w: f(x, w, stride=2),
        VOLUME,
        In((2, 1, 2, 1, 2)),
        **near(),
    ),
    functional(
        "bilinear",
        lambda f, x, y, w, b: f(x, y, w, b),
        In((2, 3, 4)),
        In((2, 3, 5)),
        In((2, 4, 5)),
        In((2,)),
        **near(),
    ),
]

PADDINGS = [
    functional("pad", lambda f, x: f(x, (1, -2, 0, 3), value=2.5), label="_constant"),
    functional("pad", lambda f, x: f(x, (1, 2, -1, 3), "reflect"), label="_reflect"),
    functional("pad", lambda f, x: f(x, (3, 0), "reflect"), In((2, 4)), label="_reflect_2d"),
    functional("pad", lambda f, x: f(x, (2, 5, 1, -1), "replicate"), label="_replicate"),
    functional("pad", lambda f, x: f(x, (-1, 2, 4, 5), "circular"), label="_circular"),
    functional(
        "pad", lambda f, x: f(x.transpose(2, 3), (1, 1, 0, 2), "replicate"), label="_strided"
    ),
]

POOLINGS = [
    functional("adaptive_avg_pool1d", lambda f, x: f(x, 4), SIGNAL),
    functional("max_pool1d", lambda f, x: f(x, 2, 1), SIGNAL),
    functional("max_pool2d", lambda f, x: f(x, (3, 2), 2, 1, 1, True)),
    functional("max_pool2d", lambda f, x: f(x.expand(2, 2, 3, 3), 2), In((2, 1, 3, 3)), label="_x"),
    functional("max_pool3d", lambda f, x: f(x, 2, 1, 1), VOLUME),
    functional("avg_pool1d", lambda f, x: f(x, 3, 2, 1), SIGNAL),
    functional("avg_pool2d", lambda f, x: f(x, 2, 2, 1, True, False)),
    functional("avg_pool3d", lambda f, x: f(x, 2, 1, 0, False, True, 3), VOLUME),
    functional("adaptive_avg_pool2d", lambda f, x: f(x, (2, 3))),
    functional("adaptive_avg_pool3d", lambda f, x: f(x, 2), VOLUME),
    functional("adaptive_max_pool1d", lambda f, x: f(x, 4), SIGNAL),
    functional("adaptive_max_pool2d", lambda f, x: f(x, (3, 2))),
    functional("adaptive_max_pool3d", lambda f, x: f(x, (2, 2, None)), VOLUME),
    functional("lp_pool1d", lambda f, x: f(x, 2.0, 2, 1), In((2, 3, 6), 0.3, 2.0), **near()),
    functional("lp_pool2d", lambda f, x: f(x, 3, 2), In((1, 2, 4, 4), 0.3, 2.0), **near()),
    functional("lp_pool3d", lambda f, x: f(x, 2, 2), In((1, 2, 2, 3, 2), 0.3, 2.0), **near()),
    OpRow(
        "max_unpool1d",
        lambda T, x: T.nn.functional.max_unpool1d(x, T.tensor([[4, 0, 3], [1, 2, 5]]), 2),
        (In((2, 3)),),
    ),
    OpRow(
        "max_unpool2d_of_max_pool2d",
        lambda T, x: T.nn.functional.max_unpool2d(
            *T.nn.functional.max_pool2d(x, (2, 3), return_indices=True),
            (2, 3),
            output_size=(5, 4),
        ),
        (IMAGE,),
    ),
    OpRow(
        "max_unpool3d_of_max_pool3d",
        lambda T, x: T.nn.functional.max_unpool3d(
            *T.nn.functional.max_pool3d(x, 2, return_indices=True), 2
        ),
        (VOLUME,),
    ),
]

REARRANGEMENTS = [
    functional("unfold", lambda f, x: f(x, (2, 3), 1, (0, 1), 2), label="_image"),
    functional("fold", lambda f, x: f(x, (4, 5), (2, 3), 1, 0, (2, 1)), In((2, 12, 6))),
    functional("pixel_shuffle", lambda f, x: f(x, 2), In((2, 4, 2, 3))),
    functional("pixel_unshuffle", lambda f, x: f(x, 2), In((3, 4, 2))),
    functional("channel_shuffle", lambda f, x: f(x, 2), In((2, 4, 3))),
]

NORMS = [
    functional("rms_norm", lambda f, x, w: f(x, (4,), w, 1e-3), IMAGE, In((4,)), **near()),
    functional("dropout1d", lambda f, x: f(x, 0.3, False), SIGNAL),
    functional("rrelu", lambda f, x: f(x, 0.1, 0.3), SIGNAL, second=False),
    functional("normalize", lambda f, x: f(x), In((3, 4)), **near()),
    functional("normalize", lambda f, x: f(x, 3.0, 0), In((3, 4), 0.3), label="_3", **near()),
    functional("local_response_norm", lambda f, x: f(x, 2, 0.3, 0.7, 1.5), SIGNAL, **near()),
    functional(
        "instance_norm",
        lambda f, x, w, b: f(x, weight=w, bias=b),
        SIGNAL,
        In((3,)),
        In((3,)),
        **near(1e-9),
    ),
    functional(
        "instance_norm",
        lambda f, x, m, v: f(x, m.detach(), v.detach(), use_input_stats=False),
        SIGNAL,
        In((3,)),
        In((3,), 0.5),
        label="_running",
        grad=False,
        **near(),
    ),
    functional("dropout3d", lambda f, x: f(x, 0.3, False), VOLUME),
]

RESIZES = [
    functional("interpolate", lambda f, x: f(x, scale_factor=2), label="_nearest"),
    functional("interpolate", lambda f, x: f(x, (3, 7), mode="nearest-exact"), label="_exact"),
    functional("interpolate", lambda f, x: f(x, 8, mode="linear"), SIGNAL, label="_linear"),
    functional("interpolate", lambda f, x: f(x, (3, 7), mode="bilinear"), label="_bilinear"),
    functional("interpolate", lambda f, x: f(x, (7, 3), mode="bicubic"), label="_bicubic"),
    functional(
        "interpolate",
        lambda f, x: f(x, scale_factor=(2, 1.5, 1), mode="trilinear"),
        VOLUME,
        label="_trilinear",
    ),
    functional("interpolate", lambda f, x: f(x, (2, 3), mode="area"), label="_area"),
]

SAMPLES = [
    *(
        functional(
            "grid_sample",
            lambda f, x, g, m=mode, p=padding, a=align: f(x, g, m, p, a),
            IMAGE,
            GRID,
            label=f"_{mode}_{padding}_{'aligned' if align else 'edges'}",
            rtol=1e-9,
        )
        for mode, padding, align in (
            ("bilinear", "zeros", False),
            ("bilinear", "border", True),
            ("bilinear", "reflection", False),
            ("bicubic", "zeros", False),
            ("bicubic", "border", True),
            ("bicubic", "reflection", True),
        )
    ),
    *(
        functional(
            "grid_sample",
            lambda f, x, g, p=padding, a=align: f(x, g.to(x.dtype) * 0.23, "nearest", p, a),
            IMAGE,
            WHOLE_GRID,  # the nearest place has no derivative
            label=f"_nearest_{padding}",
        )
        for padding, align in (("zeros", False), ("border", False), ("reflection", True))
    ),
    functional(
        "grid_sample",
        lambda f, x, g: f(x, g, align_corners=False),
        VOLUME,
        In((1, 2, 1, 2, 3), -1.2, 1.2),
        label="_volume",
        rtol=1e-9,
    ),
    functional("affine_grid", lambda f, x: f(x, (2, 1, 3, 4), align_corners=False), In((2, 2, 3))),
    functional(
        "affine_grid",
        lambda f, x: f(x, (1, 1, 2, 3, 2), align_corners=True),
        In((1, 3, 4)),
        label="_volume",
    ),
]

PAIR = (In((4, 5)), In((4, 5)))
DISTANCES = [
    functional("pairwise_distance", lambda f, x, y: f(x, y, 2, 1e-6, True), *PAIR),
    functional("cosine_similarity", lambda f, x, y: f(x, y, 0), *PAIR),
    functional(
        "cosine_similarity",
        lambda f, x, y: f(x1=x, x2=y, eps=10.0),
        *PAIR,
        label="_eps",
        grad=False,
    ),
    # functional("pdist", lambda f, x: f(x, 2), In((4, 5))),
]

LOSSES = [
    functional(
        "cosine_embedding_loss",
        lambda f, w, x, y: f(x, y, 2 * w - 1, 0.1, reduction="sum"),
        In((4,), 0, 2, dtype="i"),
        *PAIR,
    ),
    functional(
        "gaussian_nll_loss",
        lambda f, x, y, v: f(x, y, v * v + 0.5, full=True),
        *(*PAIR, In((4, 5))),
    ),
    functional(
        "margin_ranking_loss",
        lambda f, x, y, w: f(x, y, w.sign(), 0.3),
        *(In((6,)), In((6,)), In((6,), kinks=(0.0,))),
        second=False,
    ),
    functional(
        "triplet_margin_loss", lambda f, x, y, z: f(x, y, z, 4.0), *PAIR, In((4, 5)), rtol=1e-10
    ),
    functional(
        "triplet_margin_with_distance_loss",
        lambda f, x, y, z: f(x, y, z, distance_function=lambda a, b: (a - b).abs().sum(-1)),
        *PAIR,
        In((4, 5)),
        second=False,
    ),
]

LAYERS = [
    *DISTANCES,
    *LOSSES,
    *CONVOLUTIONS,
    *PADDINGS,
    *POOLINGS,
    *REARRANGEMENTS,
    *NORMS,
    *RESIZES,
    *SAMPLES,
]
