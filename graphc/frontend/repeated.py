"""Update rules inside a trace: each runs once for operands of its types, and is then repeated.

An optimizer applies one rule to each of its parameters, of which nets have hundreds. The values
that the rule gave for the first of a type are built again over the operands of the next: the same
values, in the same order, as the rule would give, without its Python, promotion and inference.
What a rule of single elements gave serves operands of other shapes, too, if these are of the same
rank: all that such shapes show in are the types, and what is repeated to them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import cache
from typing import Any, NamedTuple, cast

from graphc.frontend.modes import get_default_dtype
from graphc.frontend.tensor import Tensor
from graphc.frontend.trace import Trace
from graphc.ir.graph import Value
from graphc.ir.sizes import is_fixed
from graphc.ir.types import Scalar, Shape, TensorSpec


class Recipe(NamedTuple):
    """What a rule gave for its first operands."""

    given: list[Value]
    steps: list[tuple[list[int], Value]]  # what it computed, and which of those it read first there
    outs: Any  # its result, with a value in place of each tensor


def repeated(
    trace: Trace, rule: Callable[..., Any], args: tuple[Any, ...], single: bool = False
) -> Any:
    """`rule(*args)`, a pure function of tensors, numbers, None and tuples of these; `single`: each
    element of what it gives is computed of the operands' at that place."""
    tensors: list[Tensor] = []
    key = _key(trace, rule, args, tensors)
    if key is None:
        return rule(*args)
    if key not in trace.recipes:
        general = _general(key, tensors) if single else None
        if (recipe := trace.recipes.get(general)) is not None:
            return _again(trace, recipe, tensors)
        out = rule(*args)
        trace.recipes[key] = recipe = _recipe(trace, tensors, out)
        if general is not None and recipe is not None and _is_general(recipe):
            trace.recipes[general] = recipe
        return out
    recipe = trace.recipes[key]
    return rule(*args) if recipe is None else _again(trace, recipe, tensors)


def leaves(x: Any) -> list[Any]:
    if not isinstance(x, tuple):
        return [x]
    found = []
    for part in x:
        if isinstance(part, tuple):
            found += leaves(part)
        else:
            found.append(part)
    return found


def mapped(x: Any, made: Callable[[Any], Any]) -> Any:
    """The same tuples of what `made` gives for each leaf."""
    if not isinstance(x, tuple):
        return made(x)
    parts = [mapped(part, made) for part in x]
    return x._make(parts) if hasattr(x, "_make") else tuple(parts)


def _key(
    trace: Trace, rule: Callable[..., Any], args: tuple[Any, ...], tensors: list[Tensor]
) -> tuple[Hashable, ...] | None:
    """What the values depend on that a rule gives, but for its `tensors`, which are noted; None of
    what it has to see. Numbers of the step are told by their values."""
    key: list[Any] = [rule, get_default_dtype()]
    for x in leaves(args):
        kind: type = type(x)
        if isinstance(x, Tensor):
            if x.views or x.storage.strides or not _is_ours(kind):
                return None
            if x._spec.shape:
                key.append(x._spec)
                tensors.append(x)
            elif x.array is None:
                key.append(trace.value(x))
            else:
                return None
        elif x is None or kind in (bool, int, float):
            key.append((kind, repr(x)))
        else:
            return None
    return tuple(key)


def _general(key: tuple[Hashable, ...], tensors: Sequence[Tensor]) -> Hashable | None:
    """What is left of a key when the shape that all tensors have does not matter; None where they
    have several, or one that shows elsewhere: of a single element nothing is repeated to it."""
    shape = tensors[0]._spec.shape if tensors else ()
    if not is_fixed(shape) or all(n == 1 for n in shape):
        return None
    if any([x._spec.shape != shape for x in tensors]):
        return None
    plain = (x.dtype if isinstance(x, TensorSpec) else x for x in key)
    return "single", len(shape), *plain


def _is_general(recipe: Recipe) -> bool:
    """Whether `_lifted` gives all that its steps read besides operands and other steps."""
    shape = recipe.given[0]._spec.shape
    known = {*recipe.given, *(v for _, v in recipe.steps)}
    steps = (v for _, v in recipe.steps)
    return all(
        v.op is not None
        and v.op.kind == "elementwise"
        and v._spec.shape == shape
        and all(a in known or _repeats_one(a) for a in v.args)
        for v in steps
    )


def _repeats_one(v: Value) -> bool:
    """Whether it is one number, at all places of the shape."""
    if v.op is None:
        return v.const is not None
    return v.op.name == "expand" and all(n == 1 for n in v.args[0]._spec.shape)


def _lifted(v: Value, shape: Shape) -> Value:
    """The same number at all places of another shape."""
    if v.op is None:
        return v.builder.constant(cast(Scalar, v.const), TensorSpec(v._spec.dtype, shape))
    return v.builder.emit(v.op, v.args, {"shape": shape})


@cache
def _is_ours(kind: type) -> bool:
    """Whether no code of a user's says what an operator does."""
    return all(c.__module__.partition(".")[0] in ("graphc", "builtins") for c in kind.__mro__)


def _recipe(trace: Trace, tensors: Sequence[Tensor], out: Any) -> Recipe | None:
    """None where it is more than values computed of the operands."""
    made = [x for x in leaves(out) if x is not None]
    known = all(x.storage in trace.current for x in tensors)
    if not known or any(x.views or x.storage.strides or x.array is not None for x in made):
        return None
    given = [trace.value(x) for x in tensors]
    values = _computed(given, [trace.value(x) for x in made])
    apart = len(set(given)) == len(given) and all(trace.value(x) in values for x in made)
    if not apart or any(v.op is None or v.op.checks for v in values):
        return None
    number = {v: k for k, v in enumerate(given)}
    first: dict[Value, Value] = {}
    for v in values:
        for a in v.args:
            first.setdefault(a, v)
    read = {v: dict.fromkeys(a for a in v.args if a in number and first[a] is v) for v in values}
    steps = [([number[a] for a in read[v]], v) for v in values]
    outs = mapped(out, lambda x: None if x is None else trace.value(x))
    return Recipe(given, steps, outs)


def _computed(given: Sequence[Value], outs: Sequence[Value]) -> list[Value]:
    """What stands between them, in the order of making."""
    met: set[Value] = set()
    stack = list(outs)
    depending = set(given)
    while stack:
        v = stack.pop()
        if v not in met and v not in depending:
            met.add(v)
            stack.extend(v.args)
    found = []
    for v in sorted(met, key=lambda v: v.number):
        if any(a in depending for a in v.args):
            depending.add(v)
            found.append(v)
    return found


def _again(trace: Trace, recipe: Recipe, tensors: Sequence[Tensor]) -> Any:
    builder, given = trace.builder, recipe.given
    shape = tensors[0]._spec.shape if tensors else ()
    other = bool(tensors) and shape != given[0]._spec.shape
    known = set(given) if other else ()
    new: dict[Value, Value] = {}
    with builder.at(builder.here or builder.where(), builder.pulling):
        for reads, v in recipe.steps:
            one = [a for a in v.args if a not in new and a not in known] if other else ()
            # As operators do: rates are made alike first, and numbers become constants last.
            for a in one:
                if a.op is not None:
                    new[a] = _lifted(a, shape)
            for k in reads:
                new[given[k]] = trace.value(tensors[k])
            for a in one:
                if a.op is None:
                    new[a] = _lifted(a, shape)
            new[v] = builder.again(v, [new.get(a, a) for a in v.args])
    return mapped(recipe.outs, lambda v: None if v is None else trace.wrap(new[v]))
