"""Automatic casts: inside `autocast`, functions take their tensors in the types that PyTorch's
lists say, device by device.

Where a function is made public (`api/public.py`) it learns what the lists say of its name; what it
calls inside runs as it is. Casts are ordinary operations, so gradients come back in the types of
what was cast, and a compiled step fuses them with what made the values.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from graphc.errors import DeviceUnavailable, InvalidState, InvalidType
from graphc.frontend.devices import device, resolve
from graphc.frontend.modes import modes
from graphc.frontend.operands import is_tensor
from graphc.ir.types import DType, bf16, f16, f32, f64

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = ["aware", "is_autocast_available", "narrow_type", "working"]

F = TypeVar("F", bound=Callable[..., Any])
Rule = Literal["narrow", "wide", "wide unless dtype", "widest", "unsafe"]

PRODUCTS = """
    addbmm addmm baddbmm bmm chain_matmul conv1d conv2d conv3d conv_transpose1d conv_transpose2d
    conv_transpose3d einsum inner linear lstm matmul mm multi_dot prelu rnn
    scaled_dot_product_attention tensordot vecdot __matmul__
"""  # on either device
VECTOR_PRODUCTS = "addmv addr gru mv recurrent_cell"  # and on a GPU
LOSSES = """
    binary_cross_entropy_with_logits cdist cosine_embedding_loss cross_entropy hinge_embedding_loss
    huber_loss kl_div l1_loss margin_ranking_loss mse_loss multi_margin_loss
    multilabel_margin_loss nll_loss poisson_nll_loss smooth_l1_loss soft_margin_loss
    triplet_margin_loss
"""
WIDE_ON_CPU = """
    adaptive_avg_pool3d adaptive_max_pool3d avg_pool3d binary_cross_entropy cholesky cholesky_ex
    ctc_loss eigh eigvalsh fractional_max_pool2d fractional_max_pool3d grid_sample inv inverse
    lstsq matrix_rank max_pool3d max_unpool2d max_unpool3d nanquantile prod qr quantile solve
    svd svdvals tensorinv tensorsolve trace
"""
WIDE_ON_GPU = """
    acos arccos asin arcsin cosh erfinv exp expm1 log log10 log1p log2 reciprocal rsqrt sinh tan
    pow softplus layer_norm group_norm cosine_similarity dist pdist renorm logsumexp interpolate
    upsample __pow__ __rpow__ __rtruediv__
"""
SUMS = "prod softmax softmin log_softmax cumprod cumsum sum norm vector_norm matrix_norm normalize"
WIDEST = "addcdiv addcmul atan2 arctan2 bilinear cross dot vdot grid_sample index_put scatter_add"


def _rows(**names: str) -> dict[str, Rule]:
    told = {"wide_unless_dtype": "wide unless dtype"}
    rules = {cast("Rule", told.get(rule, rule)): text for rule, text in names.items()}
    return {name: rule for rule, text in rules.items() for name in text.split()}


RULES: Mapping[str, Mapping[str, Rule]] = {
    "cpu": _rows(narrow=PRODUCTS, wide=LOSSES + WIDE_ON_CPU),
    "cuda": _rows(
        narrow=PRODUCTS + VECTOR_PRODUCTS,
        wide=LOSSES + WIDE_ON_GPU,
        wide_unless_dtype=SUMS,
        widest=WIDEST,
        unsafe="binary_cross_entropy",
    ),
}
NAMES = frozenset(name for rows in RULES.values() for name in rows)


DEFAULTS = {"cpu": bf16, "cuda": f16}


def is_autocast_available(device_type: str) -> bool:
    """Whether autocast can be enabled. Raises for an unknown device type."""
    try:
        return resolve(device(device_type).type).type in DEFAULTS
    except DeviceUnavailable:
        return False


def working(what: str, device_type: Any, enabled: bool) -> bool:
    """Whether it is to work; warns for a device that is not there."""
    if not isinstance(device_type, str):
        kind = type(device_type).__name__
        raise InvalidType(f"Expected `device_type` of type `str`, got: `{kind}`")
    device(device_type)
    if not enabled or is_autocast_available(device_type):
        return enabled
    warnings.warn(
        f"{what}: device {device_type!r} is not available, disabling", UserWarning, stacklevel=3
    )
    return False


def narrow_type(device_type: str) -> DType | None:
    """What products on a device take now; None where nothing is cast."""
    return next((dtype for kind, dtype in modes.autocast if kind == device_type), None)


def aware(name: str, function: F) -> F:
    """`function` as autocast has it called: itself if no list holds its name."""
    if name not in NAMES:
        return function

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        if not modes.autocast:
            return function(*args, **kwargs)
        return _called(name, function, args, kwargs)

    return cast("F", called)


def _called(
    name: str, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Any:
    tensors = list(_tensors((*args, *kwargs.values())))
    kind = tensors[0].device.type if tensors else ""
    narrow = narrow_type(kind)
    rule = RULES.get(kind, {}).get(name) if narrow is not None else None
    if rule is None:
        return function(*args, **kwargs)
    if rule == "unsafe":
        raise InvalidState(
            f"{name} is unsafe to autocast",
            why="logarithms of rounded probabilities overflow",
            fix="give what sigmoid is applied to, to binary_cross_entropy_with_logits",
        )
    dtype = _dtype(cast("Rule", rule), cast(DType, narrow), tensors, kwargs)
    before, modes.autocast = modes.autocast, ()
    try:
        if dtype is not None:
            args = _cast(tuple(args), dtype)
            kwargs = {k: _cast(x, dtype) for k, x in kwargs.items()}
        return function(*args, **kwargs)
    finally:
        modes.autocast = before


def _dtype(
    rule: Rule, narrow: DType, tensors: Iterable[Tensor], kwargs: Mapping[str, Any]
) -> DType | None:
    """What the tensors of a call are cast to; None: they stay as they are."""
    if rule == "narrow":
        return narrow
    if rule == "widest":
        kinds = {x.dtype for x in tensors if _may_cast(x)}
        return f32 if len(kinds) > 1 else None
    asked = rule == "wide unless dtype" and kwargs.get("dtype") is not None
    return None if asked else f32


def _may_cast(x: Tensor) -> bool:
    return x.dtype.is_floating_point and x.dtype is not f64


def _tensors(parts: Iterable[Any]) -> Iterator[Tensor]:
    for part in parts:
        if is_tensor(part):
            yield part
        elif type(part) in (list, tuple) or hasattr(part, "_fields"):
            yield from _tensors(part)


def _cast(part: Any, dtype: DType) -> Any:
    """The tensors of an argument in another type; numbers, doubles and all else as they are."""
    if is_tensor(part):
        return part.to(dtype) if _may_cast(part) and part.dtype is not dtype else part
    if type(part) in (list, tuple):
        return type(part)(_cast(item, dtype) for item in part)
    if hasattr(part, "_fields"):
        return type(part)(*(_cast(item, dtype) for item in part))
    return part
