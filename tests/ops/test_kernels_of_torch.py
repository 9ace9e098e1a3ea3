"""For which dtypes a function exists: as in PyTorch, eager and compiled.

A row is a call of one dtype. Where PyTorch has no kernel, it is refused as PyTorch refuses it;
elsewhere dtype and values agree.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc

torch: Any = pytest.importorskip("torch")
DTYPES = ("bool", "uint8", "int32", "int64", "float16", "float32")
Call = Callable[[Any, Callable[..., Any]], Any]  # of the namespace, and ones of the dtype

PRODUCTS: dict[str, Call] = {
    "mm": lambda T, o: T.mm(o(2, 2), o(2, 2)),
    "bmm": lambda T, o: T.bmm(o(2, 2, 2), o(2, 2, 2)),
    "matmul": lambda T, o: o(2, 2, 2) @ o(2, 2),
    "matmul_vector": lambda T, o: o(2, 2) @ o(2),
    "dot": lambda T, o: T.dot(o(2), o(2)),
    "inner": lambda T, o: T.inner(o(2, 2), o(2, 2)),
    "tensordot": lambda T, o: T.tensordot(o(2, 2), o(2, 2), 1),
    "einsum": lambda T, o: T.einsum("ij,jk->ik", o(2, 2), o(2, 2)),
    "multi_dot": lambda T, o: T.linalg.multi_dot([o(2, 2), o(2, 2)]),
    "addmm": lambda T, o: T.addmm(o(2, 2), o(2, 2), o(2, 2)),
    "addmv": lambda T, o: T.addmv(o(2), o(2, 2), o(2)),
    "addr": lambda T, o: T.addr(o(2, 2), o(2), o(2), beta=3, alpha=2),
    "addbmm": lambda T, o: T.addbmm(o(2, 2), o(1, 2, 2), o(1, 2, 2)),
    "baddbmm": lambda T, o: T.baddbmm(o(1, 2, 2), o(1, 2, 2), o(1, 2, 2)),
    "outer": lambda T, o: T.outer(o(2), o(2)),
    "kron": lambda T, o: T.kron(o(2, 2), o(2, 2)),
    "cross": lambda T, o: T.cross(o(3), o(3), dim=0),
    "matrix_power": lambda T, o: T.matrix_power(o(2, 2), 3),
    "linear": lambda T, o: T.nn.functional.linear(o(2, 2), o(2, 2), o(2)),
    "bilinear": lambda T, o: T.nn.functional.bilinear(o(2, 2), o(2, 2), o(2, 2, 2)),
    "conv_transpose1d": lambda T, o: T.nn.functional.conv_transpose1d(o(1, 2, 4), o(2, 2, 2)),
    "conv_transpose2d": lambda T, o: T.nn.functional.conv_transpose2d(o(1, 2, 4, 4), o(2, 2, 2, 2)),
}
ELEMENTS: dict[str, Call] = {
    "clamp": lambda T, o: o(2).clamp(0, 1),
    "clamp_bools": lambda T, o: o(2).clamp(False, True),
    "clamp_bool": lambda T, o: T.clamp_min(o(2), True),
    "clamp_tensors": lambda T, o: T.clamp(o(2), o(2), o(2)),
    "clamp_tensor": lambda T, o: T.clamp(o(2), max=o(2)),
    "addcmul": lambda T, o: T.addcmul(o(2), o(2), o(2), value=3),
    "round": lambda T, o: T.round(o(2)),
    "round_decimals": lambda T, o: T.round(o(2), decimals=1),
    "round_zero": lambda T, o: T.round(o(2), decimals=0),
    "special_round": lambda T, o: T.special.round(o(2)),
    "hardtanh": lambda T, o: T.nn.functional.hardtanh(o(2)),
    "hardtanh_above": lambda T, o: T.nn.functional.hardtanh(o(2), 0.0, 2.0),
    "threshold": lambda T, o: T.nn.functional.threshold(o(2), 0.5, 3),
    "bitwise_and": lambda T, o: o(2) & o(2),
    "left_shift": lambda T, o: o(2) << o(2),
    "remainder": lambda T, o: o(2) % o(2),
    "floor_divide": lambda T, o: o(2) // o(2),
    "fmod": lambda T, o: T.fmod(o(2), o(2)),
    "pow": lambda T, o: o(2) ** o(2),
    "gcd": lambda T, o: T.gcd(o(2), o(2)),
    "hypot": lambda T, o: T.hypot(o(2), o(2)),
    "gammainc": lambda T, o: T.special.gammainc(o(2), o(2)),
    "mvlgamma": lambda T, o: T.mvlgamma(o(2) + o(2), 1),
    "logcumsumexp": lambda T, o: T.logcumsumexp(o(3), 0),
    "kthvalue": lambda T, o: T.kthvalue(o(3), 2)[0],
    "median": lambda T, o: T.median(o(3), 0)[0],
    "gradient": lambda T, o: T.gradient(o(3))[0],
    "gradient_spaced": lambda T, o: T.gradient(o(3), spacing=[2.0])[0],
    "unravel_index": lambda T, o: T.unravel_index(o(3), (2, 3))[1],
    "sum_to_size": lambda T, o: o(3).sum_to_size(()),
    "isclose": lambda T, o: T.isclose(o(2) * 8, o(2) * 9, rtol=0.2),
}  # fmt: skip
LAYERS: dict[str, Call] = {
    "max_pool1d": lambda T, o: T.nn.functional.max_pool1d(o(2, 4), 2),
    "max_pool1d_at": lambda T, o: T.nn.functional.max_pool1d(o(2, 4), 2, return_indices=True)[0],
    "max_pool2d": lambda T, o: T.nn.functional.max_pool2d(o(1, 4, 4), 2),
    "avg_pool1d": lambda T, o: T.nn.functional.avg_pool1d(o(2, 4), 2),
    "avg_pool2d": lambda T, o: T.nn.functional.avg_pool2d(o(1, 4, 4), 2),
    "avg_pool3d": lambda T, o: T.nn.functional.avg_pool3d(o(1, 4, 4, 4), 2),
    "adaptive_avg_pool1d": lambda T, o: T.nn.functional.adaptive_avg_pool1d(o(2, 4), 2),
    "adaptive_avg_pool2d": lambda T, o: T.nn.functional.adaptive_avg_pool2d(o(1, 4, 4), 2),
    "adaptive_max_pool1d": lambda T, o: T.nn.functional.adaptive_max_pool1d(o(2, 4), 2),
    "adaptive_max_pool2d": lambda T, o: T.nn.functional.adaptive_max_pool2d(o(1, 4, 4), 2),
    "max_unpool1d": lambda T, o: T.nn.functional.max_unpool1d(o(1, 1, 2), T.tensor([[[0, 2]]]), 2),
    "grid_sample": lambda T, o: T.nn.functional.grid_sample(
        o(1, 1, 2, 2), o(1, 2, 2, 2), align_corners=False
    ),
    "nearest": lambda T, o: T.nn.functional.interpolate(o(1, 1, 2), 4),
    "by_lines": lambda T, o: T.nn.functional.interpolate(o(1, 1, 2), 4, mode="linear"),
    "unfold": lambda T, o: T.nn.functional.unfold(o(1, 3, 3), 2),
    "mse_loss": lambda T, o: T.nn.functional.mse_loss(o(3), o(3)),
    "hinge_loss": lambda T, o: T.nn.functional.hinge_embedding_loss(o(3), o(3), reduction="none"),
    "hinge_mean": lambda T, o: T.nn.functional.hinge_embedding_loss(o(3), o(3)),
    "pdist": lambda T, o: T.nn.functional.pdist(o(2, 2)),
}
ROWS = PRODUCTS | ELEMENTS | LAYERS
WIDER = {
    ("avg_pool3d", "float16"): "PyTorch has it on a GPU alone",
    ("pdist", "float16"): "PyTorch has it on a GPU alone",
    ("unfold", "bool"): "PyTorch's copies bools, but no integers; here both are refused",
}
REFUSALS = (NotImplementedError, IndexError, ValueError, TypeError, RuntimeError)


def ones(T: Any, dtype: str) -> Callable[..., Any]:
    return lambda *shape: T.ones(*shape, dtype=getattr(T, dtype))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ROWS)
def test_a_function_is_of_the_dtypes_that_it_is_of_in_pytorch(name: str) -> None:
    for dtype in DTYPES:
        if (name, dtype) in WIDER:
            continue
        try:
            theirs = ROWS[name](torch, ones(torch, dtype))
        except REFUSALS as e:
            kind = next(k for k in REFUSALS if isinstance(e, k))
            for step in (ROWS[name], graphc.compile(lambda T, o: ROWS[name](T, o))):
                with pytest.raises(kind) as caught:
                    step(graphc, ones(graphc, dtype))
                assert isinstance(caught.value, graphc.errors.GraphcError), dtype
            continue
        mine = ROWS[name](graphc, ones(graphc, dtype))
        assert mine.dtype.long_name == str(theirs.dtype).removeprefix("torch."), dtype
        np.testing.assert_allclose(mine.double(), theirs.double(), 2e-3, strict=True)
