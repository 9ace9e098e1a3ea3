"""linear and bilinear: PyTorch's arguments read into primitives."""

from __future__ import annotations

from graphc.errors import DTypeMismatch, InvalidType, ShapeMismatch
from graphc.frontend import primitives as P
from graphc.frontend.operands import numeric
from graphc.frontend.switches import how_multiplied
from graphc.frontend.tensor import Tensor
from graphc.frontend.whole import whole
from graphc.nn.functional.arguments import parameters

__all__ = ["bilinear", "linear"]


@whole("addmm", laid=True)
def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [..., K], weight [N, K], bias [N] -> [..., N]. Raises ShapeMismatch if the Ks differ."""
    if not isinstance(input, Tensor):
        raise InvalidType(f"linear(): argument 'input' must be Tensor, not {type(input).__name__}")
    if not weight.dim():
        raise ShapeMismatch(f"linear: the weight must have 1 or 2 dimensions, got {weight.spec}")
    if weight.dim() == 1:
        total = (input * weight).sum(-1)
        return total if bias is None else total + bias
    k = input.shape[-1] if input.dim() else 0
    if k != weight.shape[1] or not input.dim():
        rows = input.numel() // max(k, 1)
        raise ShapeMismatch(
            f"mat1 and mat2 shapes cannot be multiplied ({rows}x{k} and "
            f"{weight.shape[1]}x{weight.shape[0]})",
            why=f"linear of an input {input.spec} with a weight {weight.spec}",
            fix="make the input's last dimension the layer's in_features",
        )
    if input.dtype is not weight.dtype:
        raise DTypeMismatch(
            f"linear: the input {input.spec} and the weight {weight.spec} differ in dtype",
            fix="convert the input with .float() (NumPy's numbers are float64), or the module "
            "with .to(dtype)",
        )
    parameters("linear", input, None, bias=bias)
    numeric(input, "linear")
    # With its own dimensions what follows can be computed where the product is.
    depth = len(input.shape) - 1
    how = how_multiplied(input, weight)
    y: Tensor = P.apply("dot", input, weight, batch=(), contract=((depth, 1),), **how)
    return y if bias is None else y + bias


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x1 [..., I], x2 [..., J], weight [O,I,J] -> x1 W x2 [..., O].

    Raises ShapeMismatch for other last dimensions.
    """
    if input1.shape[:-1] != input2.shape[:-1] or weight.dim() != 3:
        raise ShapeMismatch(
            f"bilinear: inputs {input1.spec} and {input2.spec} must agree but for their last "
            f"dimension, and the weight {weight.spec} have three"
        )
    if not input1.dtype is input2.dtype is weight.dtype:
        raise DTypeMismatch(
            f"bilinear: dtypes differ: {input1.spec}, {input2.spec}, weight {weight.spec}"
        )
    parameters("bilinear", input1, None, bias=bias)
    o, i, j = weight.shape
    if (input1.shape[-1], input2.shape[-1]) != (i, j):
        raise ShapeMismatch(f"bilinear of {input1.spec} and {input2.spec} by weight {weight.spec}")
    rows = linear(input1, weight.permute(0, 2, 1).reshape(o * j, i))
    pairs = rows.reshape(*input1.shape[:-1], o, j) * input2.unsqueeze(-2)
    y = pairs.sum(-1, dtype=pairs.dtype)
    return y if bias is None else y + bias
