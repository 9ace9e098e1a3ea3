"""Control flow on values known only at run time: `cond`, `while_loop` and `scan`.

Eagerly each is the Python that it stands for. In a compiled step `cond` computes both branches and
selects, so a branch may do nothing but compute, and its derivative is that of the branch chosen
alone. `scan` is a loop of the program, whose body is traced once (`loops.py`); where the body draws
random numbers or checks values, it is unrolled. So is `while_loop` as long as its condition follows
from constants; from there on the host runs its trips (`whiles.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphc.errors import (
    InvalidArgument,
    InvalidType,
    ShapeMismatch,
    Untraceable,
)
from graphc.frontend.api.elementwise import where
from graphc.frontend.api.shapes import movedim, stack
from graphc.frontend.autograd import clone
from graphc.frontend.modes import modes, no_grad
from graphc.frontend.step.signature import rebuilt
from graphc.frontend.tape import LeafNode, RuleNode, attach, edge_of
from graphc.frontend.tensor import Tensor
from graphc.frontend.trace import Trace
from graphc.frontend.unstacked import unstacked
from graphc.ir.graph import Graph, topological
from graphc.ir.interpret import interpret
from graphc.passes.autodiff import Cotangents, Edge, backpropagate, next_number

__all__ = ["cond", "scan", "while_loop"]

Function = Callable[..., Any]
PURE = "both branches are computed, and one result chosen, so a branch may only compute"


def tensors_of(tree: Any) -> list[Tensor]:
    found: list[Tensor] = []
    rebuilt(tree, found.append)
    return found


# ---- cond ----------------------------------------------------------------------------------------


def cond(pred: Any, true_fn: Function, false_fn: Function, operands: Sequence[Any] = ()) -> Any:
    """`true_fn(*operands)` if pred holds, else `false_fn(*operands)`.

    Inside a compiled step both are computed where `pred` is a tensor of the step.
    """
    if not isinstance(pred, bool | int | Tensor) or not (callable(true_fn) and callable(false_fn)):
        raise InvalidType("cond() takes a bool or tensor, two functions and their operands")
    trace = modes.trace
    if not isinstance(pred, Tensor):
        return (true_fn if pred else false_fn)(*operands)
    if pred.numel() != 1:
        raise ShapeMismatch(f"cond() by {pred.spec}, which is not one value", fix="reduce it first")
    if trace is None:
        return (true_fn if pred else false_fn)(*operands)
    number = next_number()
    results = [_branch(trace, f, operands) for f in (true_fn, false_fn)]
    return _chosen(pred.reshape(()) != 0, results, number)


def _branch(trace: Trace, function: Function, operands: Sequence[Any]) -> Any:
    """What a branch gives; raises if it does more than compute."""
    before = _marks(trace)
    values = dict(trace.current)
    result = function(*operands)
    name = getattr(function, "__name__", "a branch")
    for what, old, new in zip(DONE, before, _marks(trace), strict=True):
        if old != new:
            raise Untraceable(f"`{name}`, a branch of cond(), {what}", why=PURE, fix=FIX)
    if any(trace.current[s] is not v for s, v in values.items()):
        raise Untraceable(f"`{name}`, a branch of cond(), writes a tensor", why=PURE, fix=FIX)
    return result


FIX = "return what it computes, and write, print or store it after cond()"
DONE = (
    "prints, logs or stores something",
    "draws random numbers",
    "may raise an error by its values, though it is not chosen",
    "sets gradients",
)


def _marks(trace: Trace) -> tuple[Any, ...]:
    drawn = sum(trace.draws.values())
    stored = [id(x) for changed in trace.slots for x in changed.table.values()]
    return (len(trace.after_commit), stored), drawn, len(trace.checks), len(trace.grads)


def _chosen(pred: Tensor, results: Sequence[Any], number: int) -> Any:
    """The result of the branch that `pred` chooses, with its derivative."""
    outs = [tensors_of(r) for r in results]
    kinds = [rebuilt(r, lambda t: (t.dtype.name, tuple(t.shape))) for r in results]
    if kinds[0] != kinds[1]:
        raise ShapeMismatch(
            f"the branches of cond() give {kinds[0]!r:.200} and {kinds[1]!r:.200}",
            why="one program computes both, so they give tensors of the same dtypes and shapes",
            fix="make the results alike with .to(dtype) or expand()",
        )
    with no_grad():
        chosen = [where(pred, a, b) for a, b in zip(*outs, strict=True)]
    edges = _frontier([t for o in outs for t in o], number)
    if modes.grad and edges:
        node = RuleNode("cond", edges, _rule(pred.detach(), outs, edges), len(chosen))
        for k, (out, a, b) in enumerate(zip(chosen, *outs, strict=True)):
            if a.requires_grad or b.requires_grad:
                attach(out, node, k)
    found = iter(chosen)
    return rebuilt(results[0], lambda _: next(found))


def _frontier(outs: Sequence[Tensor], number: int) -> list[Edge]:
    """Where gradients leave the branches: to leaves, and to what was made before them."""
    found: dict[Edge, None] = {}
    seen: set[Edge] = set()
    work = [e for t in outs if (e := edge_of(t)) is not None]
    while work:
        edge = work.pop()
        if edge in seen:
            continue
        seen.add(edge)
        if isinstance(edge[0], LeafNode) or edge[0].number <= number:
            found[edge] = None
        else:
            work += [e for e in edge[0].edges if e is not None]
    return list(found)


def _rule(
    pred: Tensor, outs: Sequence[Sequence[Tensor]], edges: Sequence[Edge]
) -> Callable[[list[Any]], Cotangents]:
    """The derivative of the chosen branch: what the other one gives, NaN too, is cut off."""
    if any(node.hooks for node, _ in edges):
        raise Untraceable(
            "a branch of cond() reads a tensor that has hooks", fix="hook the result of cond()"
        )
    starts = [[edge_of(t) for t in branch] for branch in outs]
    ends = {node for node, _ in edges}

    def rule(cotangents: list[Any]) -> Cotangents:
        total: list[Any] = [None] * len(edges)
        for chosen, branch in zip((pred, pred.logical_not()), starts):
            roots = [
                (e, where(chosen, g, 0.0))
                for e, g in zip(branch, cotangents)
                if e is not None and g is not None
            ]
            found = backpropagate(roots, edges, everything=False, keep=True, ends=ends)
            for k, edge in enumerate(edges):
                if (g := found.get(edge)) is not None:
                    g = where(chosen, g, 0.0)
                    total[k] = g if total[k] is None else total[k] + g
        return total

    return rule


# ---- while_loop ----------------------------------------------------------------------------------


def while_loop(
    cond_fn: Function, body_fn: Function, carried_inputs: Any, additional_inputs: Any = ()
) -> Any:
    """`carried_inputs`, replaced by `body_fn(*carried)` as long as `cond_fn(*carried)` holds.

    Both get `additional_inputs`, too. Inside a compiled step that loop has no derivative where the
    condition reads tensors of the step.
    """
    if not isinstance(carried_inputs, tuple | list):
        raise InvalidType("while_loop() carries a tuple or list of tensors and numbers")
    carried: Any = tuple(carried_inputs)
    while (holds := _holds(cond_fn(*carried, *additional_inputs))) is not None:
        if not holds:
            return carried
        after = _after(body_fn, carried, additional_inputs)
        _check_carried(carried, after, "while_loop")
        carried = after
    return _while(cond_fn, body_fn, carried, tuple(additional_inputs))


def _holds(answer: Any) -> bool | None:
    """Whether there is another trip; None where only the call will know."""
    trace = modes.trace
    if trace is None or not isinstance(answer, Tensor):
        return bool(answer)
    value = trace.value(answer)
    if any(v.is_input or not v.spec.is_fixed for v in topological([value])):
        return None
    (known,) = interpret(Graph("condition", (), (), (value,), (None,)))
    return bool(known)


def _after(body_fn: Function, carried: Sequence[Any], more: Sequence[Any]) -> tuple[Any, ...]:
    after = body_fn(*carried, *more)
    return (after,) if isinstance(after, Tensor) else tuple(after)


def _while(cond_fn: Function, body_fn: Function, carried: Any, more: tuple[Any, ...]) -> Any:
    """The loop as an op, which the host runs at each call."""
    from graphc.frontend.step.whiles import While

    trace = modes.trace
    assert trace is not None, "eager code knows its conditions"
    before, values = _marks(trace), dict(trace.current)
    loop = While(trace, tensors_of(carried))
    values |= trace.current
    stand_ins = iter(loop.carry)
    inside = rebuilt(carried, lambda _: next(stand_ins))
    after: Any = ()

    def body() -> list[Tensor]:
        nonlocal after
        after = _after(body_fn, inside, more)
        _check_carried(carried, after, "while_loop")
        return tensors_of(after)

    holds = loop.traced(lambda: [cond_fn(*inside, *more).reshape(()) != 0])
    new = loop.traced(body)
    if any(trace.current[s] is not v for s, v in values.items()):
        raise Untraceable("the body of while_loop() writes a tensor", why=TRIPS, fix=BEHIND)
    for what, old, now in zip(DONE, before, _marks(trace), strict=True):
        if old != now:
            raise Untraceable(f"the body of while_loop() {what}", why=TRIPS, fix=BEHIND)
    if _plain(after) != _plain(carried):
        raise Untraceable(
            "while_loop() carries numbers of Python's that change, and tensors decide how often",
            why=TRIPS,
            fix="carry graphc.tensor(0) in place of 0",
        )
    grad = any(t.requires_grad for t in (*tensors_of(carried), *tensors_of(after)))
    lasts = iter(loop.end(holds, new, grad))
    return rebuilt(carried, lambda _: next(lasts))


TRIPS = "its body is traced once, for all trips, so it may only compute"
BEHIND = "return what it computes, and write, print or store it after while_loop()"


def _check_carried(before: Any, after: Any, name: str) -> None:
    kinds = [rebuilt(t, lambda t: (t.dtype.name, tuple(t.shape))) for t in (before, after)]
    flat = [[k for k in _leaves(kind) if isinstance(k, tuple)] for kind in kinds]
    if flat[0] != flat[1]:
        raise ShapeMismatch(
            f"{name}() carries {flat[0]!r:.200} and then {flat[1]!r:.200}",
            why="what is carried keeps its dtypes and shapes",
            fix="convert or broadcast the initial values first",
        )


def _leaves(tree: Any) -> list[Any]:
    if isinstance(tree, tuple) and len(tree) == 2 and isinstance(tree[0], str):
        return [tree]
    if isinstance(tree, dict):
        return [x for item in tree.values() for x in _leaves(item)]
    return [x for item in tree for x in _leaves(item)] if isinstance(tree, tuple | list) else []


# ---- scan ----------------------------------------------------------------------------------------


def scan(
    combine_fn: Function, init: Any, xs: Any, *, dim: int = 0, reverse: bool = False
) -> tuple[Any, Any]:
    """`carry, y = combine_fn(carry, x)` for each slice x of xs along `dim`, from `init` on; returns
    the last carry, and all y stacked along the first dimension.

    reverse: from the last slice to the first.
    """
    slices = tensors_of(xs)
    if not slices:
        return init, []
    lengths = [x.shape[dim] for x in slices]
    if any(n != lengths[0] for n in lengths) or lengths[0] == 0:
        raise InvalidArgument(
            f"scan() over {sorted({int(n) for n in lengths})} slices",
            fix="give tensors of one length, which is not 0, along the dimension",
        )
    moved = rebuilt(xs, lambda x: movedim(x, dim, 0))
    if (trace := modes.trace) is not None and lengths[0] != 1:
        found = _looped(trace, combine_fn, init, moved, reverse)
        if found is not None:
            return found
    return _unrolled(combine_fn, init, moved, int(lengths[0]), reverse)


def _unrolled(
    combine_fn: Function, init: Any, moved: Any, length: int, reverse: bool
) -> tuple[Any, Any]:
    carry, found = init, []
    rows = [unstacked(x) for x in tensors_of(moved)]
    for k in reversed(range(length)) if reverse else range(length):
        after, y = combine_fn(carry, _slices(moved, [each[k] for each in rows]))
        _check_carried(carry, after, "scan")
        carry = after
        found.append(y)
    ys = _stacked(found[::-1] if reverse else found)
    return rebuilt(carry, clone), ys  # not what the last slice gave: a hook sees its gradient alone


def _slices(tree: Any, slices: Sequence[Tensor]) -> Any:
    """The tree with these tensors in place of its own."""
    left = iter(slices)
    return rebuilt(tree, lambda _: next(left))


def _looped(
    trace: Trace, combine_fn: Function, init: Any, moved: Any, reverse: bool
) -> tuple[Any, Any] | None:
    """The scan as a loop of the program; None for a body that has to be unrolled."""
    from graphc.frontend.step.loops import Loop

    number, before, values = next_number(), _marks(trace), dict(trace.current)
    draws, checks = dict(trace.draws), dict(trace.checks)
    loop = Loop(trace, tensors_of(init), tensors_of(moved), reverse)
    stand_ins = dict(trace.current)
    carry, x = iter(loop.carry), iter(loop.slice)
    after, y = combine_fn(rebuilt(init, lambda _: next(carry)), rebuilt(moved, lambda _: next(x)))
    if any(trace.current[s] is not v for s, v in (*values.items(), *stand_ins.items())):
        raise Untraceable("the body of scan() writes a tensor", why=ONCE, fix=RETURN)
    for what, old, new in zip(DONE, before, _marks(trace), strict=True):
        if old != new and what not in AGAIN:
            raise Untraceable(f"the body of scan() {what}", why=ONCE, fix=RETURN)
    drawn = before[1] != _marks(trace)[1] or len(checks) != len(trace.checks)
    if drawn or _plain(after) != _plain(init):
        trace.draws, trace.checks = draws, checks
        return None
    _check_carried(init, after, "scan")
    lasts, stacks = loop.end(tensors_of(after), tensors_of(y), lambda outs: _frontier(outs, number))
    last, stacked = iter(lasts), iter(stacks)
    return rebuilt(after, lambda _: next(last)), rebuilt(y, lambda _: next(stacked))


ONCE = "its body is traced once, for all slices, so it may only compute"
RETURN = "return what it computes, and write, print or store it after scan()"
AGAIN = (DONE[1], DONE[2])  # what unrolled code does right


def _plain(tree: Any) -> Any:
    """All that is not a tensor."""
    return rebuilt(tree, lambda _: None)


def _stacked(found: Sequence[Any]) -> Any:
    rows = [tensors_of(y) for y in found]
    columns = iter([stack(list(column)) for column in zip(*rows, strict=True)])
    return rebuilt(found[0], lambda _: next(columns))
