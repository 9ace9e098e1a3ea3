"""torch.autograd.functional's names: Jacobians, Hessians and their products with vectors.

All by reverse mode; `strategy` and `vectorize` are accepted and change nothing. Inputs are one
tensor or a tuple, and results have the structure of PyTorch's: one tensor, or (nested) tuples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphc.errors import AutogradError, InvalidType, ShapeMismatch
from graphc.frontend.api.creation import zeros, zeros_like
from graphc.frontend.api.shapes import stack
from graphc.frontend.autograd import grad
from graphc.frontend.modes import enable_grad
from graphc.frontend.tensor import Tensor

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]

Tensors = Any  # a tensor or a tuple of tensors
Many = tuple[Tensor, ...]


def jacobian(
    func: Callable[..., Tensors],
    inputs: Tensors,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """The derivative of each output by each input, of shape output.shape + input.shape."""
    with enable_grad():
        xs, one_input = _given(inputs, create_graph)
        ys, one_output = _outputs(func(*xs), strict)
        rows = []
        for k, y in enumerate(ys):
            grads = [
                _gradients([element], xs, None, strict, create_graph, f"output {k}")
                for element in y.reshape(-1).unbind()
            ]
            shapes = [(*y.shape, *x.shape) for x in xs]
            rows.append(
                tuple(
                    stack([g[j] for g in grads]).reshape(shape) if grads else zeros(shape)
                    for j, shape in enumerate(shapes)
                )
            )
    kept = [_finished(row, create_graph) for row in rows]
    picked = [row[0] if one_input else row for row in kept]
    return picked[0] if one_output else tuple(picked)


def hessian(
    func: Callable[..., Tensor],
    inputs: Tensors,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """The second derivative of a scalar function by each pair of inputs."""
    one = isinstance(inputs, Tensor)

    def gradient(*xs: Tensor) -> Many:
        found: Many = jacobian(lambda *a: _scalar(func(*a)), xs, True, strict)
        return found

    found = jacobian(gradient, inputs, create_graph, strict)
    return found[0] if one else found


def vjp(
    func: Callable[..., Tensors],
    inputs: Tensors,
    v: Tensors | None = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """The outputs, and v^T J: a tensor for each input. `v` may be left out of a scalar function."""
    with enable_grad():
        xs, one_input = _given(inputs, create_graph)
        ys, one_output = _outputs(func(*xs), strict)
        found = _gradients(ys, xs, _vector(v, ys, "outputs"), strict, create_graph)
    return _finish(ys, create_graph, one_output), _finish(found, create_graph, one_input)


def jvp(
    func: Callable[..., Tensors],
    inputs: Tensors,
    v: Tensors | None = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """The outputs, and J v: a tensor for each output. `v` may be left out for a scalar input.

    By reverse mode twice: u -> u^T J is linear, and its derivative along v is J v.
    """
    with enable_grad():
        xs, _ = _given(inputs, create_graph)
        ys, one_output = _outputs(func(*xs), strict)
        us = tuple(zeros_like(y).requires_grad_() for y in ys)
        pulled = _gradients(ys, xs, us, strict, True)
        found = _gradients(pulled, us, _vector(v, xs, "inputs"), False, create_graph)
    return _finish(ys, create_graph, one_output), _finish(found, create_graph, one_output)


def vhp(
    func: Callable[..., Tensor],
    inputs: Tensors,
    v: Tensors | None = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Tensor, Any]:
    """The value of a scalar function, and v^T H: a tensor for each input."""
    with enable_grad():
        xs, one_input = _given(inputs, create_graph)
        y = _scalar(func(*xs))
        ys, _ = _outputs(y, strict)
        slopes = _gradients(ys, xs, None, strict, True)
        found = _gradients(slopes, xs, _vector(v, xs, "inputs"), strict, create_graph)
    return _finish(ys, create_graph, True), _finish(found, create_graph, one_input)


def hvp(
    func: Callable[..., Tensor],
    inputs: Tensors,
    v: Tensors | None = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Tensor, Any]:
    """The value of a scalar function, and H v, which is v^T H because H is symmetric."""
    return vhp(func, inputs, v, create_graph, strict)


# ---- what goes in and out ----------------------------------------------------------------------


def _listed(x: Tensors, what: str) -> Many:
    xs = x if isinstance(x, tuple) else tuple(x) if isinstance(x, list) else (x,)
    for k, item in enumerate(xs):
        if not isinstance(item, Tensor):
            raise InvalidType(
                f"The {what} must be either a Tensor or a tuple of Tensors but the value at index "
                f"{k} has type {type(item).__name__}"
            )
    return xs


def _given(inputs: Tensors, create_graph: bool) -> tuple[Many, bool]:
    """The inputs as what to differentiate by; attached to their history if that is to go on."""
    xs = tuple(
        x.view_as(x) if create_graph and x.requires_grad else x.detach().clone().requires_grad_()
        for x in _listed(inputs, "inputs given to the function")
    )
    return xs, isinstance(inputs, Tensor)


def _outputs(out: Tensors, strict: bool) -> tuple[Many, bool]:
    ys = _listed(out, "outputs of the user-provided function")
    for k, y in enumerate(ys):
        if strict and not y.requires_grad:
            raise AutogradError(
                f"Output {k} of the user-provided function does not require gradients. The outputs "
                "must be computed in a differentiable manner from the input when running in strict "
                "mode.",
                fix="compute it from the inputs, or pass strict=False",
            )
    return ys, isinstance(out, Tensor)


def _scalar(out: Any) -> Tensor:
    if not isinstance(out, Tensor):
        raise AutogradError("The function given to hessian should return a single Tensor")
    if out.numel() != 1:
        raise AutogradError(
            f"The Tensor returned by the function given to hessian should contain a single "
            f"element, not {out.spec}",
            fix="reduce it with sum() or mean()",
        )
    return out.reshape(())


def _vector(v: Tensors | None, like: Many, what: str) -> Many | None:
    """The vector of a product, fitted to the tensors it multiplies."""
    if v is None:
        if len(like) != 1 or like[0].numel() != 1:
            raise AutogradError(
                f"The vector v can only be None if the user-provided function has {what} of a "
                "single element",
                fix="pass v",
            )
        return tuple(x.detach() * 0 + 1 for x in like)
    vs = _listed(v, "vector v")
    if len(vs) != len(like) or any(a.shape != b.shape for a, b in zip(vs, like)):
        raise ShapeMismatch(
            f"v has shapes {[tuple(a.shape) for a in vs]}, the {what} "
            f"{[tuple(b.shape) for b in like]}"
        )
    return vs


def _gradients(
    ys: Sequence[Tensor],
    xs: Many,
    vs: Many | None,
    strict: bool,
    create_graph: bool,
    label: str = "the outputs",
) -> Many:
    """The gradients by each input; zeros where nothing leads to one, which `strict` refuses."""
    used = [k for k, y in enumerate(ys) if y.requires_grad]
    if not used:
        return tuple(zeros_like(x) for x in xs)
    seeds = None if vs is None else [vs[k] for k in used]
    found = grad([ys[k] for k in used], list(xs), seeds, True, create_graph, allow_unused=True)
    for k, g in enumerate(found):
        if strict and (g is None or (create_graph and not g.requires_grad)):
            raise AutogradError(
                f"{label} of the user-provided function is independent of input {k}. This is not "
                "allowed in strict mode.",
                fix="pass strict=False to get zeros",
            )
    return tuple(zeros_like(x) if g is None else g for g, x in zip(found, xs))


def _finished(found: Many, create_graph: bool) -> Many:
    return found if create_graph else tuple(x.detach() for x in found)


def _finish(found: Many, create_graph: bool, one: bool) -> Any:
    kept = _finished(found, create_graph)
    return kept[0] if one else kept
