"""torch.func's derivatives: functions that compute the derivative of a function.

All by reverse mode. Arguments and results may be nested (tuples, lists, dicts); `argnums` says by
which arguments to differentiate. They compose with each other and with `vmap`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakValueDictionary

from graphc.errors import AutogradError, InvalidArgument, RefusedArgument, ShapeMismatch
from graphc.frontend import autograd
from graphc.frontend.api.creation import zeros, zeros_like
from graphc.frontend.api.shapes import stack
from graphc.frontend.modes import enable_grad, modes
from graphc.frontend.tensor import Tensor
from graphc.utils._pytree import TreeSpec, tree_flatten, tree_map, tree_unflatten

__all__ = ["grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp", "linearize", "vjp"]

Function = Callable[..., Any]
Argnums = int | tuple[int, ...]
SPENT: WeakValueDictionary[int, Tensor] = WeakValueDictionary()
"""Stand-ins of derivatives that are done, by identity: nobody else has them."""


class Inputs:
    """The arguments to differentiate by, as tensors of their own that stand in for them."""

    def __init__(self, args: Sequence[Any], argnums: Argnums) -> None:
        self.args, self.single = list(args), not isinstance(argnums, tuple)
        self.numbers = [_position(n, len(args)) for n in _listed(argnums)]
        if len(set(self.numbers)) != len(self.numbers):
            raise RefusedArgument(f"argnums elements must be unique, got {argnums}")
        if argnums == () and args:
            raise RefusedArgument("argnums must be non-empty")
        self.leaves: list[Tensor] = []
        self.specs: list[TreeSpec] = []
        for n in self.numbers:
            leaves, spec = tree_flatten(self.args[n])
            fresh = [stand_in(leaf) for leaf in leaves]
            self.args[n] = tree_unflatten(fresh, spec)
            self.leaves += fresh
            self.specs.append(spec)

    def rebuilt(self, values: Sequence[Any]) -> Any:
        """One value for each leaf, in the structure of the arguments."""
        left, found = list(values), []
        for spec in self.specs:
            found.append(tree_unflatten(left[: spec.num_leaves], spec))
            del left[: spec.num_leaves]
        return found[0] if self.single else tuple(found)


def stand_in(x: Any) -> Tensor:
    """A tensor equal to x to differentiate by; a derivative outside of this one goes on to x."""
    if not isinstance(x, Tensor):
        raise InvalidArgument(f"expected a tensor to differentiate by, got {type(x).__name__}")
    if not x.is_floating_point():
        raise AutogradError(
            f"a derivative by {x.spec}, which is not floating-point", fix="convert it first"
        )
    return x.view_as(x) if x.requires_grad else x.detach().requires_grad_()


def finished(tree: Any, inputs: Sequence[Tensor]) -> Any:
    """Results as the caller gets them: with a history only if it is recorded outside, too, and
    leads on to something else."""
    SPENT.update({id(x): x for x in inputs if x.is_leaf})
    return tree_map(lambda x: _finished(x) if isinstance(x, Tensor) else x, tree)


def _finished(x: Tensor) -> Tensor:
    if not x.requires_grad or (modes.grad and _leads_on(x)):
        return x
    return x.detach()


def _leads_on(x: Tensor) -> bool:
    """Whether x depends on a leaf other than the stand-ins of what is done."""
    if x.grad_fn is None:
        return id(x) not in SPENT
    seen: set[Any] = set()
    todo: list[Any] = [x.grad_fn]
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        if leaf is not None and id(leaf) not in SPENT:
            return True
        todo += [n for n, _ in node.next_functions]
    return False


def _listed(argnums: Argnums) -> tuple[int, ...]:
    return argnums if isinstance(argnums, tuple) else (argnums,)


def _position(n: Any, count: int) -> int:
    if not isinstance(n, int):
        raise RefusedArgument(f"argnums must be int or tuple of ints, got {type(n).__name__}")
    if not -count <= n < count:
        raise RefusedArgument(f"got argnum={n}, but only {count} positional inputs")
    return n % count


def _parts(result: Any, has_aux: bool) -> tuple[Any, Any]:
    """A function's result and what it gives beside it."""
    if not has_aux:
        return result, None
    if not (isinstance(result, tuple) and len(result) == 2):
        raise RefusedArgument("has_aux=True: expected the function to return a pair (output, aux)")
    return result


def _outputs(result: Any) -> tuple[list[Tensor], TreeSpec]:
    leaves, spec = tree_flatten(result)
    for leaf in leaves:
        if not isinstance(leaf, Tensor):
            kind = type(leaf).__name__
            raise RefusedArgument(f"expected the function to return tensors, got {kind}")
    return leaves, spec


def _differentiable(result: Any) -> tuple[list[Tensor], TreeSpec]:
    ys, spec = _outputs(result)
    for y in ys:
        if not y.is_floating_point():
            raise AutogradError(
                f"a derivative of {y.spec}, which is not floating-point", fix="convert it first"
            )
    return ys, spec


def pulled(outputs: Sequence[Tensor], inputs: Sequence[Tensor], us: Any) -> list[Tensor]:
    """The gradient of each input; zero where no output depends on it."""
    pairs = [(y, u) for y, u in zip(outputs, us) if y.requires_grad]
    if not pairs:
        return [zeros_like(x) for x in inputs]
    ys, vs = zip(*pairs)
    found = autograd.grad(ys, inputs, vs, retain_graph=True, create_graph=True, allow_unused=True)
    return [zeros_like(x) if g is None else g for x, g in zip(inputs, found)]


def grad_and_value(func: Function, argnums: Argnums = 0, has_aux: bool = False) -> Function:
    """A function that returns the gradient of `func`, whose output is one number, and its value.

    With `has_aux`, `func` returns a pair, whose second part is handed on: (gradient, (value, aux)).
    """

    def gradient(*args: Any, **kwargs: Any) -> Any:
        with enable_grad():
            inputs = Inputs(args, argnums)
            y, aux = _parts(func(*inputs.args, **kwargs), has_aux)
            if not isinstance(y, Tensor) or y.dim():
                what = f"{y.spec}" if isinstance(y, Tensor) else type(y).__name__
                raise ShapeMismatch(f"expected the function to return a scalar tensor, got {what}")
            found = pulled([y], inputs.leaves, [None])
        value = finished((y, aux) if has_aux else y, inputs.leaves)
        return finished(inputs.rebuilt(found), inputs.leaves), value

    return gradient


def grad(func: Function, argnums: Argnums = 0, has_aux: bool = False) -> Function:
    """A function that returns the gradient of `func`, whose output is one number.

    With `has_aux`, `func` returns a pair, whose second part is handed on: (gradient, aux).
    """
    both = grad_and_value(func, argnums, has_aux)

    def gradient(*args: Any, **kwargs: Any) -> Any:
        found, value = both(*args, **kwargs)
        return (found, value[1]) if has_aux else found

    return gradient


def vjp(func: Function, *primals: Any, has_aux: bool = False) -> Any:
    """`func(*primals)`, and a function of cotangents that gives v^T J by each of the primals."""
    with enable_grad():
        inputs = Inputs(primals, tuple(range(len(primals))))
        result, aux = _parts(func(*inputs.args), has_aux)
        ys, spec = _differentiable(result)

    def pull(*cotangents: Any) -> Any:
        given = cotangents[0] if len(cotangents) == 1 else cotangents
        us, kind = tree_flatten(given)
        if len(us) != len(ys) or (kind != spec and spec.num_leaves > 1):
            raise RefusedArgument("the cotangents must have the structure of the outputs")
        with enable_grad():
            found = pulled(ys, inputs.leaves, us)
        return finished(inputs.rebuilt(found), inputs.leaves)

    shown = finished(tree_unflatten(ys, spec), inputs.leaves)
    return (shown, pull, finished(aux, inputs.leaves)) if has_aux else (shown, pull)


def linearize(func: Function, *primals: Any) -> tuple[Any, Function]:
    """`func(*primals)`, and the linear function v -> J v there.

    By reverse mode twice: u -> u^T J is linear, and its derivative along v is J v.
    """
    with enable_grad():
        inputs = Inputs(primals, tuple(range(len(primals))))
        ys, spec = _outputs(func(*inputs.args))
        us = [zeros_like(y).requires_grad_() for y in ys]
        rows = pulled(ys, inputs.leaves, us)
    wanted = tree_flatten(primals)[1]

    def push(*tangents: Any) -> Any:
        vs, given = tree_flatten(tangents)
        if given != wanted:
            raise RefusedArgument("the tangents must have the structure of the primals")
        for x, v in zip(inputs.leaves, vs):
            if tuple(v.shape) != tuple(x.shape):
                raise ShapeMismatch(f"a tangent of {v.spec} for a primal of {x.spec}")
        with enable_grad():
            found = pulled(rows, us, vs)
        return finished(tree_unflatten(found, spec), [*inputs.leaves, *us])

    return finished(tree_unflatten(ys, spec), inputs.leaves), push


def jvp(
    func: Function, primals: Any, tangents: Any, *, strict: bool = False, has_aux: bool = False
) -> Any:
    """`func(*primals)` and J v, `tangents` being v, one for each of the primals (both tuples).

    `strict` refuses an output that does not depend on the primals, whose J v is zero.
    """
    if not (isinstance(primals, tuple) and isinstance(tangents, tuple)):
        raise RefusedArgument("jvp: expected primals and tangents to be tuples")
    if len(primals) != len(tangents) or not primals:
        raise RefusedArgument("jvp: expected as many tangents as primals, and at least one")
    aux: list[Any] = []

    def plain(*args: Any) -> Any:
        y, beside = _parts(func(*args), has_aux)
        aux.append(beside)
        if strict and not all(leaf.requires_grad for leaf in _outputs(y)[0]):
            raise AutogradError("jvp(strict=True): an output is independent of the inputs")
        return y

    y, push = linearize(plain, *primals)
    found = (y, push(*tangents))
    return (*found, tree_map(_plain, aux[0])) if has_aux else found


def _plain(x: Any) -> Any:
    return x.detach() if isinstance(x, Tensor) else x


def jacrev(
    func: Function,
    argnums: Argnums = 0,
    *,
    has_aux: bool = False,
    chunk_size: int | None = None,
) -> Function:
    """A function that returns the derivative of each output of `func` by each input, of shape
    output.shape + input.shape; `chunk_size` is accepted and changes nothing."""

    def jacobian(*args: Any, **kwargs: Any) -> Any:
        with enable_grad():
            inputs = Inputs(args, argnums)
            result, aux = _parts(func(*inputs.args, **kwargs), has_aux)
            ys, spec = _differentiable(result)
            found = [inputs.rebuilt(_rows(y, inputs.leaves)) for y in ys]
        found = finished(tree_unflatten(found, spec), inputs.leaves)
        return (found, finished(aux, inputs.leaves)) if has_aux else found

    return jacobian


def _rows(y: Tensor, xs: Sequence[Tensor]) -> list[Tensor]:
    """The derivatives of the elements of y by each x."""
    rows = [pulled([element], xs, [None]) for element in y.reshape(-1).unbind()]
    if not rows:
        return [zeros((*y.shape, *x.shape), dtype=y.dtype) for x in xs]
    return [stack([r[j] for r in rows]).reshape((*y.shape, *x.shape)) for j, x in enumerate(xs)]


def jacfwd(
    func: Function, argnums: Argnums = 0, has_aux: bool = False, *, randomness: str = "error"
) -> Function:
    """As `jacrev`; by reverse mode, too."""
    if randomness not in ("error", "same", "different"):
        raise InvalidArgument(f"randomness must be error, same or different, got {randomness!r}")
    return jacrev(func, argnums, has_aux=has_aux)


def hessian(func: Function, argnums: Argnums = 0) -> Function:
    """A function that returns the second derivatives of `func`."""
    return jacfwd(jacrev(func, argnums), argnums)
