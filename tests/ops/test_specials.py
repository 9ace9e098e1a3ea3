"""NaN, infinities, signed zeros, ties, kinks and empty tensors: values and gradients as torch's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc

torch: Any = pytest.importorskip("torch")

nan, inf = float("nan"), float("inf")
SPECIAL = [0.0, -0.0, 1.0, -1.0, 1.5, -2.5, inf, -inf, nan, 1e-40, -1e-40, 3e38, 0.5]

UNARY = (
    *("neg", "abs", "sign", "relu", "exp", "expm1", "log", "log1p", "sin", "cos", "tanh"),
    *("sigmoid", "erf", "erfc", "sqrt", "rsqrt", "square", "reciprocal", "floor", "ceil"),
    *("round", "trunc", "isnan", "isinf", "isfinite", "log2", "exp2", "asin", "acos", "atan"),
    *("sinh", "cosh", "tan", "asinh", "acosh", "atanh", "sinc", "lgamma", "digamma", "erfinv"),
    *("logit", "signbit", "frac", "isposinf", "isneginf", "deg2rad", "nan_to_num"),
)
BINARY: dict[str, Callable[[Any, Any, Any], Any]] = {
    "add": lambda T, x, y: x + y,
    "sub": lambda T, x, y: x - y,
    "mul": lambda T, x, y: x * y,
    "div": lambda T, x, y: x / y,
    "pow": lambda T, x, y: x**y,
    "remainder": lambda T, x, y: x % y,
    "fmod": lambda T, x, y: x.fmod(y),
    "maximum": lambda T, x, y: T.maximum(x, y),
    "minimum": lambda T, x, y: T.minimum(x, y),
    "fmax": lambda T, x, y: T.fmax(x, y),
    "fmin": lambda T, x, y: T.fmin(x, y),
    "atan2": lambda T, x, y: T.atan2(x, y),
    "hypot": lambda T, x, y: T.hypot(x, y),
    "copysign": lambda T, x, y: T.copysign(x, y),
    "xlogy": lambda T, x, y: T.xlogy(x, y) + 0.0,
    "logaddexp": lambda T, x, y: T.logaddexp(x, y),
    "heaviside": lambda T, x, y: T.heaviside(x, y),
    "lt": lambda T, x, y: x < y,
    "le": lambda T, x, y: x <= y,
    "eq": lambda T, x, y: x == y,
    "ne": lambda T, x, y: x != y,
    "where": lambda T, x, y: T.where(x > 0, x, y),
}
# `//` is left out: torch and NumPy differ on inf // y and x // -inf, where neither is exact.
GRADIENTS: dict[str, tuple[list[Any], Callable[[Any, Any], Any]]] = {
    "relu": ([0.0, -0.0, 1.0, -1.0, nan], lambda T, x: T.relu(x)),
    "abs": ([0.0, -0.0, 2.0, -2.0], lambda T, x: x.abs()),
    "sqrt": ([0.0, 4.0], lambda T, x: x.sqrt()),
    "clamp": ([-1.0, 1.0, 0.0, 2.0, -2.0, nan], lambda T, x: x.clamp(-1, 1)),
    "clamp_crossed": ([nan, 0.0, 2.0], lambda T, x: x.clamp(1, -1)),
    "clamp_nan": ([nan, 0.0, 2.0], lambda T, x: x.clamp(min=nan)),
    "clamp_by_itself": (
        [nan, 0.0, 2.0, 3.0],
        lambda T, x: T.clamp(T.tensor([0.0, nan, 1.0, 5.0], dtype=x.dtype), x, x * 2),
    ),
    "hardsigmoid_nan": ([nan, -3.0, 3.0, 0.0], lambda T, x: T.nn.functional.hardsigmoid(x) * 0.0),
    "max_nan": ([nan, 1.0, nan], lambda T, x: x.max()),
    "min_nan": ([nan, 1.0, nan], lambda T, x: x.min() * 2),
    "amax_nan": ([nan, 1.0, nan, 2.0, 5.0, 5.0], lambda T, x: x.reshape(2, 3).amax(1)),
    "norm_inf_nan": ([nan, 1.0, nan], lambda T, x: x.norm(inf)),
    "median_nan": ([nan, 1.0, nan], lambda T, x: x.median()),
    "nanmedian_nan": ([nan, 1.0, nan, 1.0], lambda T, x: x.nanmedian()),
    "huber_inf": (
        [inf, -inf, 0.5, nan],
        lambda T, x: T.nn.functional.huber_loss(x, T.zeros_like(x), reduction="none"),
    ),
    "smooth_l1_inf": (
        [inf, -inf, 0.5, nan],
        lambda T, x: T.nn.functional.smooth_l1_loss(x, T.zeros_like(x), reduction="none"),
    ),
    "norm": ([0.0, 0.0], lambda T, x: x.norm()),
    "std": ([2.0, 2.0, 2.0], lambda T, x: x.std()),
    "prod_zero": ([2.0, 0.0, 3.0], lambda T, x: x.prod()),
    "prod_zeros": ([2.0, 0.0, 0.0], lambda T, x: x.prod()),
    "max": ([1.0, 3.0, 3.0], lambda T, x: x.max()),
    "amin": ([1.0, 1.0, 3.0], lambda T, x: x.amin()),
    "max_dim": ([1.0, 3.0, 3.0], lambda T, x: x.max(0).values),
    "median": ([1.0, 3.0, 3.0, 4.0], lambda T, x: x.median()),
    "sort_ties": ([3.0, 1.0, 3.0], lambda T, x: x.sort(stable=True)[0] * T.arange(3)),
    "maximum": ([1.0, 3.0, -1.0], lambda T, x: T.maximum(x, x.flip(0))),
    "maximum_tie": ([1.0, 3.0, -1.0], lambda T, x: T.maximum(x, x.detach())),
    "fmax_tie": ([1.0, 3.0, nan], lambda T, x: T.fmax(x, x.detach())[:2]),
    "pow_0": ([0.0, 2.0], lambda T, x: x**0),
    "pow_1": ([0.0, 2.0], lambda T, x: x**1.0),
    "pow_3": ([0.0, -2.0], lambda T, x: x**3),
    "zero_pow": ([0.5, 0.0, 2.0], lambda T, x: T.tensor([0.0, 0.0, 0.0], dtype=x.dtype) ** x),
    "asin_edge": ([1.0, -1.0, 0.0], lambda T, x: x.asin()),
    "acos_edge": ([1.0, -1.0, 0.0], lambda T, x: x.acos()),
    "atanh_edge": ([1.0, -1.0, 0.0], lambda T, x: x.atanh()),
    "sinc_0": ([0.0, 1.0], lambda T, x: x.sinc()),
    "logit_edge": ([0.0, 1.0, 0.5], lambda T, x: x.logit()),
    "atan2_origin": ([0.0, 0.0], lambda T, x: T.atan2(x[0], x[1])),
    "copysign_0": ([0.0, 2.0], lambda T, x: x.copysign(-1.0)),
    "xlogy_0": ([0.0, 2.0], lambda T, x: T.xlogy(x, T.tensor([0.5, 3.0], dtype=x.dtype))),
    "xlogy_00": ([0.0, 0.0], lambda T, x: T.xlogy(x, T.tensor([0.0, -1.0], dtype=x.dtype))),
    "logaddexp_tie": ([1.0, inf, -inf], lambda T, x: T.logaddexp(x, T.zeros_like(x))),
    "where_nan": ([0.0, 1.0], lambda T, x: T.where(x > 0, x.log(), x)),
    "where_inf": ([0.0, 1.0], lambda T, x: T.where(x > 0, x.sqrt(), T.zeros_like(x))),
    "floor": ([0.5, 1.5], lambda T, x: x.floor() + x.round() + x.trunc() + x.ceil() + x.sign()),
    "max_pool_nan": (
        [nan, 1.0, 3.0, nan, inf, nan, nan, 2.0],
        lambda T, x: T.nn.functional.max_pool1d(x[None, None], 4, 2),
    ),
    "max_pool_ties": (
        [2.0, 2.0, -inf, -inf, 3.0, 3.0],
        lambda T, x: T.nn.functional.max_pool1d(x[None, None], 2, 2),
    ),
    "adaptive_max_pool_nan": (
        [nan, 1.0, nan, 2.0, 5.0],
        lambda T, x: T.nn.functional.adaptive_max_pool1d(x[None], 2),
    ),
    "normalize_zero": ([0.0, 0.0], lambda T, x: T.nn.functional.normalize(x, dim=0)),
    "lp_pool_negative": (
        [-1.0, 2.0, -3.0, 1.0],
        lambda T, x: T.nn.functional.lp_pool1d(x[None], 3.0, 2),
    ),
    "bilinear_inf": (
        [inf, 1.0, 2.0],
        lambda T, x: T.nn.functional.interpolate(x[None, None], 5, mode="linear"),
    ),
    "logsumexp": ([0.0, inf, 1.0], lambda T, x: x[:1].logsumexp(0)),
    "svd_values": (
        [1.0, -2.0, 3.0, 0.5, 1.0, 4.0],
        lambda T, x: T.linalg.svd(x.reshape(2, 3)).S * T.arange(1, 3),
    ),
    "svd_vectors": (
        [1.0, -2.0, 3.0, 0.5, 1.0, 4.0],
        lambda T, x: T.linalg.svd(x.reshape(2, 3)).Vh[0].abs() * T.arange(1, 4),
    ),
}
FORWARD: dict[str, Callable[[Any], Any]] = {
    "max_nan": lambda T: T.tensor([1.0, nan, inf]).max(),
    "min_nan": lambda T: T.tensor([1.0, nan, -inf]).amin(),
    "argmax_nan": lambda T: T.tensor([1.0, nan, inf, nan]).argmax(),
    "argmin_nan": lambda T: T.tensor([1.0, nan, -inf]).argmin(),
    "argmax_tie": lambda T: T.tensor([1.0, 3.0, 3.0]).argmax(),
    "max_dim_nan": lambda T: T.tensor([[1.0, nan], [2.0, 1.0]]).max(1).indices,
    "clamp_nan": lambda T: T.tensor([nan, -2.0, 2.0]).clamp(-1, 1),
    "clamp_crossed": lambda T: T.tensor([nan, -2.0, 0.0, 2.0]).clamp(1, -1),
    "pad_minus_zero": lambda T: 1 / T.nn.functional.pad(T.ones(2), (1, 2), value=-0.0),
    "softmax_inf": lambda T: T.tensor([-inf, -inf]).softmax(0),
    "logsumexp_inf": lambda T: T.tensor([-inf, -inf]).logsumexp(0),
    "logsumexp_plus": lambda T: T.tensor([inf, 1.0]).logsumexp(0),
    "logsumexp_empty": lambda T: T.zeros(2, 0).logsumexp(1),
    "sum_empty": lambda T: T.zeros(2, 0).sum(1),
    "prod_empty": lambda T: T.zeros(0).prod(),
    "mean_empty": lambda T: T.zeros(0).mean(),
    "mean_empty_dim": lambda T: T.zeros(2, 0).mean(1),
    "any_empty": lambda T: T.zeros(0).any(),
    "all_empty": lambda T: T.zeros(0).all(),
    "var_empty": lambda T: T.zeros(2, 0).var(1),
    "var_one": lambda T: T.ones(1).var(),
    "matmul_empty": lambda T: T.zeros(2, 0) @ T.zeros(0, 3),
    "cat_empty": lambda T: T.cat([T.zeros(0), T.ones(2)]),
    "zero_d": lambda T: T.tensor(3.0).sum(0) + T.tensor(2.0).max() + T.tensor(1.0).softmax(0),
    "zero_d_dim": lambda T: T.tensor(3.0).max(0).values + T.tensor(3.0).unsqueeze(0).squeeze(-1),
    "half_mean": lambda T: T.full((4096,), 60.0, dtype=T.float16).mean(),
    "half_softmax": lambda T: T.linspace(-3, 3, 7).bfloat16().softmax(0),
    "bf16": lambda T: T.linspace(-3, 3, 7).bfloat16().exp() * 3 + 1,
    "f16": lambda T: T.linspace(-3, 3, 7).half().sigmoid() / 3,
    "isclose": lambda T: T.isclose(T.tensor([1.0, inf, nan]), T.tensor([1.0 + 1e-7, inf, nan])),
    "det_singular": lambda T: T.linalg.det(T.ones(3, 3)),
    "det_empty": lambda T: T.linalg.det(T.zeros(2, 0, 0)),
    "slogdet_singular": lambda T: T.linalg.slogdet(T.ones(2, 2)).logabsdet,
    "logdet_negative": lambda T: T.tensor([[-1.0, 0.0], [0.0, 1.0]]).logdet(),
    "inv_empty": lambda T: T.linalg.inv(T.zeros(2, 0, 0)),
    "qr_empty": lambda T: T.linalg.qr(T.zeros(3, 0), "complete").Q,
    "svd_empty": lambda T: T.linalg.svd(T.zeros(3, 0)).U,
    "pinv_empty": lambda T: T.linalg.pinv(T.zeros(0, 3)),
    "pinv_zero": lambda T: T.linalg.pinv(T.zeros(3, 2)),
    "rank_zero": lambda T: T.linalg.matrix_rank(T.zeros(2, 3, 3)),
    "solve_empty": lambda T: T.linalg.solve(T.eye(3), T.zeros(3, 0)),
    "cond_singular": lambda T: T.linalg.cond(T.ones(2, 2), 1),
    "triangular_zero": lambda T: T.linalg.solve_triangular(
        T.tensor([[1.0, 0.0], [0.0, 0.0]]), T.ones(2, 1), upper=True
    ),
    "lstsq_short": lambda T: T.linalg.lstsq(T.eye(3)[:2], T.ones(2, 1), driver="gelsd").solution,
    "addmm_beta_0": lambda T: T.addmm(T.full((2, 2), nan), T.eye(2), T.eye(2), beta=0),
    "bmm_empty": lambda T: T.bmm(T.zeros(2, 2, 0), T.zeros(2, 0, 4)),
    "vector_matmul_empty": lambda T: T.zeros(0) @ T.zeros(5, 0, 3),
    "cdist_empty": lambda T: T.cdist(T.zeros(3, 0), T.zeros(2, 0)),
    "einsum_empty": lambda T: T.einsum("ij,jk->ik", T.zeros(2, 0), T.zeros(0, 3)),
    "einsum_ints": lambda T: T.einsum("ij,ij->i", T.ones(2, 3).long(), T.ones(2, 3).long()),
    "cummax_nan": lambda T: T.stack(T.tensor([1.0, 1, nan, 3, inf]).cummax(0)),
    "cummin_ties": lambda T: T.tensor([2.0, 1, 1, -inf, -inf, nan, nan]).cummin(0)[1],
    "cummax_bool": lambda T: T.tensor([False, True, False]).cummax(0)[0],
    "cummax_0d": lambda T: T.stack(T.tensor(3.0).cummax(0)),
    "cummax_empty": lambda T: T.zeros(0, 3).cummax(0)[1],
    "cumprod_nan": lambda T: T.tensor([2.0, inf, 0, 1]).cumprod(0),
    "cumprod_0d": lambda T: T.tensor(3).cumprod(0),
    "logcumsumexp_inf": lambda T: T.tensor([-inf, -inf, 1, 900.0, inf]).logcumsumexp(0),
    "logcumsumexp_nan": lambda T: T.tensor([1.0, nan, 2]).logcumsumexp(0),
    "scatter_nan": lambda T: T.zeros(2).scatter_reduce(
        0, T.tensor([0, 0, 1]), T.tensor([1.0, nan, -1]), "amax"
    ),
    "scatter_int_mean": lambda T: T.tensor([-8, 1]).scatter_reduce(
        0, T.tensor([0, 0]), T.tensor([1, 2]), "mean"
    ),
    "scatter_int_amin": lambda T: T.tensor([5, 6]).scatter_reduce(
        0, T.tensor([0]), T.tensor([9]), "amin", include_self=False
    ),
    "scatter_0d": lambda T: T.tensor(1.0).scatter(0, T.tensor(0), 5.0),
    "scatter_add_0d": lambda T: T.tensor(1.0).scatter_add(0, T.tensor(0), T.tensor(2.0)),
    "scatter_empty": lambda T: T.ones(3).scatter(0, T.zeros(0, dtype=T.int64), 5.0),
    "scatter_last": lambda T: T.zeros(2).scatter(0, T.tensor([1, 1]), T.tensor([3.0, 4.0])),
    "index_copy_last": lambda T: T.zeros(2).index_copy(0, T.tensor([1, 1]), T.tensor([3.0, 4.0])),
    "index_fill_0d": lambda T: T.tensor(1.0).index_fill(0, T.tensor(0), 5.0),
    "index_fill_tensor": lambda T: T.zeros(3).index_fill(0, T.tensor([1]), T.tensor(7.0)),
    "index_add_empty": lambda T: T.ones(2, 0).index_add(0, T.tensor([1]), T.ones(1, 0)),
    "index_select_0d": lambda T: T.tensor(4.0).index_select(0, T.tensor([0])),
    "take_empty": lambda T: T.ones(3).take(T.zeros(0, 2, dtype=T.int64)),
    "take_0d": lambda T: T.tensor(3.0).take(T.tensor([0, -1])),
    "masked_scatter_empty": lambda T: T.ones(0).masked_scatter(T.ones(0) > 0, T.ones(2)),
    "masked_scatter_none": lambda T: T.ones(2).masked_scatter(T.ones(2) > 9, T.ones(0)),
    "diagonal_off": lambda T: T.ones(2, 3).diagonal(5),
    "diagonal_empty": lambda T: T.ones(0, 3).diagonal(),
    "diag_empty": lambda T: T.diag(T.ones(0), 1),
    "diag_bool": lambda T: T.tensor([True, False]).diag_embed(),
    "block_diag_empty": lambda T: T.block_diag(T.ones(0, 2), T.tensor(3), T.ones(2).double()),
    "block_diag_none": lambda T: T.block_diag(),
    "fill_diagonal_wide": lambda T: T.zeros(2, 5).fill_diagonal_(1, wrap=True),
    "tensor_split_many": lambda T: T.cat([p * 2 for p in T.arange(5).tensor_split(7)]),
    "as_strided_empty": lambda T: T.ones(3).as_strided((0, 2), (1, 1)),
    "as_strided_0d": lambda T: T.arange(3.0).as_strided((), (), 2),
    "aminmax_nan": lambda T: T.stack(T.tensor([1.0, nan]).aminmax()),
    "diff_more": lambda T: T.arange(3).diff(5),
    "diff_0": lambda T: T.arange(3).diff(0),
    "repeat_0": lambda T: T.ones(2, 3).repeat_interleave(0, 1),
    "cumsum_bool": lambda T: T.tensor([True, True]).cumsum(0),
    "prod_bool": lambda T: T.tensor([True, False]).prod(),
    "nanmean_none": lambda T: T.tensor([nan, nan]).nanmean(),
    "std_mean_half": lambda T: T.std_mean(T.linspace(1, 2, 9).half())[0],
    "combinations_0": lambda T: T.combinations(T.arange(3), 0),
    "trapezoid_ints": lambda T: T.trapezoid(T.arange(4)),
    "sort_nan": lambda T: T.tensor([2.0, nan, -inf, inf, 1.0]).sort().values,
    "sort_nan_down": lambda T: T.tensor([2.0, nan, -inf, 1.0]).sort(descending=True).values,
    "sort_stable": lambda T: T.tensor([1, 0, 1, 0, 1]).sort(stable=True, descending=True).indices,
    "sort_0d": lambda T: T.tensor(3.0).sort().values + T.tensor(3.0).topk(1).values,
    "sort_empty": lambda T: T.zeros(2, 0).sort().values,
    "topk_nan": lambda T: T.tensor([2.0, nan, 5.0]).topk(2).values,
    "topk_0": lambda T: T.tensor([2.0, 5.0]).topk(0).indices,
    "median_nan": lambda T: T.tensor([[2.0, nan, 5.0], [1.0, 2.0, 3.0]]).median(1).values,
    "median_all_nan": lambda T: T.tensor([2.0, nan, 5.0]).median(),
    "median_nothing": lambda T: T.zeros(0).median(),
    "nanmedian": lambda T: T.tensor([[2.0, nan, 5.0], [nan, nan, nan]]).nanmedian(1).values,
    "quantile_nan": lambda T: T.tensor([[2.0, nan, 5.0], [1.0, 2.0, 4.0]]).quantile(0.3, 1),
    "histc_nan": lambda T: T.tensor([2.0, nan, 5.0]).histc(3, 0, 6),
    "histc_point": lambda T: T.tensor([2.0, 2.0]).histc(3),
    "searchsorted_nan": lambda T: T.searchsorted(T.tensor([0.0, 1.0]), T.tensor([nan, inf, 0.5])),
    "sort_bf16": lambda T: T.tensor([2.0, nan, -1.0]).bfloat16().sort().values,
    "pow_down": lambda T: T.tensor([0, 1, -1, 2, -3]) ** T.tensor([[-1], [-2], [3], [0]]),
    "max_pool_nan_places": lambda T: T.nn.functional.max_pool2d(
        T.tensor([[[nan, 1.0, nan], [2.0, nan, 5.0]]]), 2, 1, return_indices=True
    )[1],
    "max_pool_low": lambda T: T.nn.functional.max_pool2d(
        T.full((1, 3, 3), -inf), 2, 2, 1, return_indices=True
    )[1],
    "max_pool_ints": lambda T: T.nn.functional.max_pool2d(
        T.tensor([[[-5, 1, -7], [-2, -9, -3]]]), 2, 1, 1
    ),
    "adaptive_max_places": lambda T: T.nn.functional.adaptive_max_pool2d(
        T.arange(42.0).reshape(1, 6, 7) % 11, (4, 3), return_indices=True
    )[1],
    "max_unpool_overlap": lambda T: T.nn.functional.max_unpool1d(
        T.tensor([[3.0, 3.0, 0.1, 0.1, 0.1]]), T.tensor([[1, 1, 3, 3, 3]]), 2, 1
    ),
    "grid_outside": lambda T: T.nn.functional.grid_sample(
        T.ones(1, 1, 3, 3), T.tensor([[[[-9.0, 0.0], [0.0, 5.0], [1.5, 0.0]]]]), align_corners=False
    ),
    "interpolate_int": lambda T: T.nn.functional.interpolate(
        T.arange(6).to(T.uint8).reshape(1, 1, 2, 3), (5, 4)
    ),
    "interpolate_half": lambda T: T.nn.functional.interpolate(
        T.linspace(0, 1, 6).half().reshape(1, 1, 2, 3), (5, 4), mode="bilinear"
    ),
    "conv_empty_batch": lambda T: T.nn.functional.conv_transpose2d(
        T.zeros(0, 2, 3, 3), T.ones(2, 3, 2, 2), stride=2
    ),
    "pad_empty_batch": lambda T: T.nn.functional.pad(T.zeros(0, 2, 3), (1, 2), "reflect"),
    "pool_empty_batch": lambda T: T.nn.functional.max_pool2d(T.zeros(0, 2, 4, 4), 2),
    "adaptive_empty_batch": lambda T: T.nn.functional.adaptive_max_pool2d(T.zeros(0, 2, 4, 4), 3),
    "interpolate_empty_batch": lambda T: T.nn.functional.interpolate(T.zeros(0, 2, 4), 3),
    "fold_empty_batch": lambda T: T.nn.functional.unfold(T.zeros(0, 2, 4, 4), 2),
    "alpha_dropout_inf": lambda T: T.nn.functional.alpha_dropout(T.tensor([inf, 1.0]), 1.0, True),
    "nan_to_num": lambda T: T.tensor([nan, inf, -inf, 1.0]).nan_to_num(nan=2.0, posinf=9.0),
    "clamp_by_nan": lambda T: T.tensor([1.0, nan]).clamp(min=nan, max=2.0),
    "random_to": lambda T: T.zeros(50, dtype=T.int64).random_(1),
    "new_of_data": lambda T: T.ones(2).half().new([1, 2]) + T.ones(2).new(2).zero_(),
    "add_of_old": lambda T: T.ones(2).add_(3, T.ones(2)).sub(0.5, T.ones(2)),
    "addcmul_of_old": lambda T: T.ones(2).addcmul_(3, T.ones(2), T.full((2,), 2.0)),
    "addcdiv_of_old": lambda T: T.addcdiv(T.ones(2), -3, T.ones(2), T.full((2,), 2.0)),
    "byte_below_0": lambda T: T.full((2,), -255, dtype=T.uint8).masked_fill(T.ones(2) > 0, -1),
    "norm_nuclear": lambda T: T.arange(6.0).reshape(2, 3).norm("nuc", keepdim=True),
    "data_of_scalars": lambda T: T.tensor([np.float64(1), 2]),
    "data_of_int32": lambda T: T.tensor([[np.int32(1)], [np.int32(2)]]),
    "data_of_tensors": lambda T: T.tensor([T.ones(1, dtype=T.float64), T.ones(1, 1).long()]),
    "data_of_arrays": lambda T: T.tensor([[np.ones(2)[0]], [np.zeros(2)[0]]]),
    "scatter_value": lambda T: T.zeros(2, 2).scatter(0, T.tensor([[1, 0]]), value=3),
    "index_fill_last": lambda T: T.zeros(3).index_fill(0, T.tensor([-1]), 1.0),
    "copy_number": lambda T: T.zeros(2).copy_(3),
    "eye_by_tensor": lambda T: T.eye(T.tensor(2), T.tensor(3)),
    "roll_by_tensor": lambda T: T.arange(4).roll(T.tensor(1), 0),
    "sum_by_tensor": lambda T: T.ones(2, 3).sum(T.tensor(1)),
    "broadcast": lambda T: T.zeros(T.broadcast_shapes((3, 1), 4)),
}


FREE_ZERO = {"maximum", "minimum", "remainder"}  # either zero is right: IEEE 754, 9.6; ours NumPy's


def same(a: Any, b: Any, rtol: float = 2e-6, signs: bool = True) -> None:
    assert str(a.dtype).split(".")[-1] == str(b.dtype).split(".")[-1]
    assert tuple(a.shape) == tuple(b.shape)
    x, y = np.asarray(a.tolist()), np.asarray(b.tolist())
    np.testing.assert_allclose(x, y, rtol=rtol, atol=1e-44, equal_nan=True)
    if x.dtype.kind == "f" and signs:
        zero = (x == 0) & (y == 0)
        np.testing.assert_array_equal(np.signbit(x[zero]), np.signbit(y[zero]))


@pytest.mark.parametrize("name", UNARY)
def test_unary_functions_on_special_values(name: str) -> None:
    same(getattr(graphc.tensor(SPECIAL), name)(), getattr(torch.tensor(SPECIAL), name)())


@pytest.mark.parametrize("name", BINARY)
def test_binary_functions_on_special_values(name: str) -> None:
    def grid(T: Any) -> Any:
        x = T.tensor(SPECIAL)
        return BINARY[name](T, x.unsqueeze(1).expand(-1, len(SPECIAL)), x)

    same(grid(graphc), grid(torch), signs=name not in FREE_ZERO)


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_at_kinks_and_ties(name: str) -> None:
    values, f = GRADIENTS[name]
    grads = []
    for T in (graphc, torch):
        x = T.tensor(values, dtype=T.float64, requires_grad=True)
        f(T, x).sum().backward()
        grads.append(x.grad.numpy())
    np.testing.assert_allclose(grads[0], grads[1], rtol=1e-12, equal_nan=True)


@pytest.mark.filterwarnings("ignore:var")
@pytest.mark.filterwarnings("ignore:.*deprecated")
@pytest.mark.parametrize("name", FORWARD)
def test_edges_of_functions(name: str) -> None:
    rtol = (
        1e-2
        if name in ("bf16", "half_softmax")
        else 2e-3
        if name in ("f16", "interpolate_half")
        else 2e-6
    )
    same(FORWARD[name](graphc), FORWARD[name](torch), rtol)
