"""The primitives for code above the frontend (nn, optim): `ir.sugar` under one import."""

from graphc.ir.sugar import (
    apply,
    cast,
    expand,
    expand_over,
    flip,
    full_like,
    one_hot,
    pad,
    reshape,
    slice,
    sum,
    transpose,
    unslice,
    unsqueeze,
    where,
    zeros,
)

__all__ = [
    "apply",
    "cast",
    "expand",
    "expand_over",
    "flip",
    "full_like",
    "one_hot",
    "pad",
    "reshape",
    "slice",
    "sum",
    "transpose",
    "unslice",
    "unsqueeze",
    "where",
    "zeros",
]
