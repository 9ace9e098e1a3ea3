"""Function: an operation with a derivative of the user's own."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from graphc.errors import AutogradError, InvalidType
from graphc.frontend import epoch, inplace
from graphc.frontend import tensor as tensors
from graphc.frontend.api import reductions
from graphc.frontend.modes import modes, no_grad
from graphc.frontend.tape import RuleNode, attach, edge_of
from graphc.ir.types import TensorSpec
from graphc.passes.autodiff import Cotangents, Edge, Node, already_freed

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = ["Function", "once_differentiable"]


class Context:
    """What a Function's forward leaves for its backward; further attributes may be set on it."""

    def __init__(self, name: str, needs_input_grad: tuple[bool, ...] = ()) -> None:
        self.needs_input_grad = needs_input_grad
        self._name = name
        self._saved: tuple[Any, ...] | None = ()
        self._versions: tuple[int, ...] = ()
        self._dirty: tuple[Any, ...] = ()
        self._not_differentiable: tuple[Any, ...] = ()
        self._materialize = True

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep tensors (or None) for backward, which is refused if they change in between."""
        for t in tensors:
            if t is not None and not is_tensor(t):
                raise InvalidType(
                    f"save_for_backward can only save variables, but argument is of type "
                    f"{type(t).__name__}",
                    fix="set it as an attribute of ctx",
                )
        self._saved = tensors

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What `save_for_backward` kept."""
        if self._saved is None:
            raise already_freed(self._name)
        for t, version in zip(self._saved, self._versions):
            if t is not None and t.storage.version != version:
                raise AutogradError(
                    f"a tensor saved for the gradient of {self._name}, {t.spec}, has been changed "
                    f"by an in-place operation: version {t.storage.version}, expected {version}",
                    fix="clone() the tensor before changing it",
                )
        return self._saved

    @property
    def saved_variables(self) -> tuple[Any, ...]:
        """`saved_tensors` by its former name."""
        return self.saved_tensors

    def save_for_forward(self, *tensors: Any) -> None:
        """Accepted: PyTorch's forward mode would read them."""

    def mark_dirty(self, *tensors: Any) -> None:
        """Name the inputs that forward has written in place; it must return them."""
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors: Any) -> None:
        """Name the outputs that have no gradient."""
        self._not_differentiable = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether backward gets zeros (as it does unless told) or None for outputs not used."""
        self._materialize = value

    def _finish(self) -> None:
        """After forward: the versions that the saved tensors must still have in backward."""
        self._versions = tuple(0 if t is None else t.storage.version for t in self._saved or ())


class Function:
    """A differentiable operation with a backward of its own: subclass, then call `apply`.

    Either `forward(ctx, *args)`, or `forward(*args)` with `setup_context(ctx, inputs, output)`.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Raises: functions with a state of their own are PyTorch's of long ago."""
        raise AutogradError(
            f"a legacy autograd.Function, {type(self).__name__}, is called as an object",
            why="forward and backward are static methods, whose state is in ctx",
            fix=f"make both static, with ctx in place of self, and call "
            f"{type(self).__name__}.apply(...)",
        )

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """The result: a tensor or a tuple."""
        raise NotImplementedError(
            "You must implement the forward function for custom autograd.Function."
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Keep on ctx what backward reads, where forward takes no ctx."""
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """A gradient (or None) for each argument of forward."""
        raise NotImplementedError(
            "You must implement the backward function for custom autograd.Function."
        )

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Run forward unrecorded, and put `backward` on the tape as its derivative."""
        apart = cls.setup_context is not Function.setup_context
        if apart:
            bound = inspect.signature(cls.forward).bind(*args, **kwargs)
            bound.apply_defaults()
            args = bound.args
            kwargs = {}
        given, args = args, (*args, *kwargs.values())
        context = Context(cls.__name__, tuple(is_tensor(a) and a.requires_grad for a in args))
        edges = [edge_of(a) if is_tensor(a) else None for a in args]
        with no_grad():
            out = cls.forward(*args) if apart else cls.forward(context, *given, **kwargs)
            if apart:
                cls.setup_context(context, args, out)
        context._finish()
        outs = out if isinstance(out, tuple) else (out,)
        if any(all(d is not o for o in outs) for d in context._dirty):
            raise AutogradError(
                f"{cls.__name__}.forward returns not all inputs that mark_dirty() names",
                fix="return the tensor that was given to mark_dirty()",
            )
        outs = tuple(_of_its_own(o, args, context) for o in outs)
        if modes.grad and any(edges):
            _record(cls, context, args, edges, outs)
        return outs if isinstance(out, tuple) else outs[0]


def is_tensor(x: object) -> bool:
    return isinstance(x, tensors.Tensor)


def _of_its_own(o: Any, args: Sequence[Any], context: Context) -> Any:
    """An output that is an argument, unwritten, as another tensor: it gets a history."""
    if is_tensor(o) and any(o is a for a in args) and not any(o is d for d in context._dirty):
        return o.alias()
    return o


def _record(
    cls: type[Function],
    context: Context,
    args: Sequence[Any],
    edges: Sequence[Edge | None],
    outs: Sequence[Any],
) -> None:
    for x in context._dirty:
        inplace.check_writable(x)
    marked = [id(m) for m in context._not_differentiable]
    types = [o.spec if is_tensor(o) else None for o in outs]
    node = FunctionNode(cls, context, args, edges, types)
    for slot, o in enumerate(outs):
        if not is_tensor(o) or not o.dtype.is_floating_point or id(o) in marked:
            continue
        if any(o is d for d in context._dirty):
            base = o._base
            inplace.rebase(o, base, edge_of(base) if base is not None else None, (node, slot))
        else:
            attach(o, node, slot)


class FunctionNode(Node):
    """A call of a Function on the tape."""

    __slots__ = ("_backward", "_context", "_inputs", "_like", "_outs")

    def __init__(
        self,
        cls: type[Function],
        context: Context,
        args: Sequence[Any],
        edges: Sequence[Edge | None],
        outs: Sequence[TensorSpec | None],
    ) -> None:
        super().__init__(cls.__name__, edges, len(outs))
        epoch.functions_changed()
        self._backward: Callable[..., Any] = cls.backward
        self._context = context
        self._inputs = [a.spec if is_tensor(a) else None for a in args]
        self._like: Tensor = next(a for a in args if is_tensor(a)).alias()
        self._outs = outs

    def pull(self, cotangents: list[Any]) -> Cotangents:
        given = [
            self._like.full(0, t) if g is None and t is not None and self._context._materialize
            else g
            for g, t in zip(cotangents, self._outs)
        ]  # fmt: skip
        result = self._backward(self._context, *given)
        results = list(result) if isinstance(result, tuple | list) else [result]
        expected = len(self._inputs)
        if len(results) < expected or any(g is not None for g in results[expected:]):
            raise AutogradError(
                f"function {self.label}Backward returned an incorrect number of gradients "
                f"(expected {expected}, got {len(results)})",
                fix="return a gradient, or None, for each argument of forward",
            )
        return [self._fitted(k, g) for k, g in enumerate(results[:expected])]

    def _fitted(self, k: int, g: Any) -> Any:
        """The gradient of argument k, in its dtype and summed to its shape."""
        spec = self._inputs[k]
        if g is not None and spec is None:
            raise AutogradError(
                f"function {self.label}Backward returned a gradient different than None at "
                f"position {k + 1}, but the corresponding forward input was not a Variable",
                fix="return None for what is no tensor",
            )
        if g is None or spec is None or self.edges[k] is None:
            return None
        if not is_tensor(g):
            what = f"{self.label}.backward: expected a Tensor or None, got {g!r}"[:200]
            raise AutogradError(what, fix="return a tensor, or None for no gradient")
        extra = len(g.spec.shape) - len(spec.shape)
        pairs = zip(g.spec.shape[extra:], spec.shape) if extra >= 0 else ()
        if extra < 0 or any(n not in (1, m) for m, n in pairs):
            raise AutogradError(
                f"function {self.label}Backward returned an invalid gradient at index {k} - got "
                f"{list(g.spec.shape)} but expected shape compatible with {list(spec.shape)}",
                fix="return a gradient of the shape of the argument",
            )
        if g.spec.shape != spec.shape:
            shape = (1,) * extra + spec.shape
            dims = [d for d, (m, n) in enumerate(zip(g.spec.shape, shape)) if m != n or d < extra]
            g = reductions.sum(g, dims, True).reshape(spec.shape)
        return g.to(spec.dtype)

    def name(self) -> str:
        return f"{self.label}Backward"

    def saves(self) -> bool:
        return bool(self._context._saved)

    def release(self) -> None:
        if self.saves():
            self._context._saved = None


def once_differentiable(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a `backward` whose result has no derivative; asking for one raises RuntimeError."""

    @functools.wraps(backward)
    def unrecorded(ctx: Any, *gradients: Any) -> Any:
        with no_grad():
            result = backward(ctx, *gradients)
        edges = [edge_of(g) if is_tensor(g) else None for g in gradients]
        if not modes.grad or not any(edges):
            return result
        results = result if isinstance(result, tuple) else (result,)
        node = RuleNode("once_differentiable", edges, _refuse, len(results))
        given = tuple(r.detach() if is_tensor(r) else r for r in results)
        for slot, r in enumerate(given):
            if is_tensor(r) and r.dtype.is_floating_point:
                attach(r, node, slot)
        return given if isinstance(result, tuple) else given[0]

    return unrecorded


def _refuse(cotangents: list[Any]) -> Cotangents:
    raise AutogradError(
        "trying to differentiate twice a function that was marked with @once_differentiable",
        fix="take the decorator off backward, if it is made of differentiable operations",
    )
