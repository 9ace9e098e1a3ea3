"""What a compiled call returns: its output arrays as tensors, in the tree the function returned."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from graphc.frontend.size import Size
from graphc.frontend.step.capture import Layout, Output
from graphc.frontend.step.python.standing import Standing
from graphc.frontend.step.signature import TABLES, is_record, rebuilt
from graphc.frontend.storage import Storage
from graphc.frontend.tensor import Tensor, fresh
from graphc.frontend.views import inverse, replay
from graphc.ir.sizes import Evaluation
from graphc.ir.symbols import Unknown
from graphc.ir.types import Array, TensorSpec

Leaf = Callable[[Output], Any]


class Strided:
    """How to show what the program stored in memory order as a tensor with strides."""

    def __init__(self, stored: TensorSpec, layout: Layout) -> None:
        order, self._strides = layout
        self._perm = inverse(order)
        self._spec = TensorSpec(stored.dtype, tuple(stored.shape[k] for k in self._perm))

    def tensor(self, array: Array) -> Tensor:
        out = fresh(array.transpose(self._perm), self._spec)
        out.storage.strides = self._strides
        return out


def filler(x: Any) -> Callable[[Leaf], Any] | None:
    """What `rebuilt(x, leaf, Output)` gives, of a leaf, with all that is asked of x asked once;
    None if that is x itself: where it holds no output and nothing that each call makes anew."""
    if isinstance(x, Output):
        return lambda leaf: leaf(x)
    named = isinstance(x, tuple) and hasattr(x, "_fields")
    if named or type(x) in (list, tuple, Size):
        parts, kind = _parts(tuple.__iter__(x) if named else x), type(x)
        if not named and type(x) is not list and not any(f for f, _ in parts):
            return None
        if named:
            return lambda leaf: kind(*[f(leaf) if f else item for f, item in parts])
        return lambda leaf: kind([f(leaf) if f else item for f, item in parts])
    if type(x) in TABLES:
        parts, keys, kind = _parts(x.values()), list(x), type(x)
        return lambda leaf: kind(zip(keys, [f(leaf) if f else item for f, item in parts]))
    found: list[Output] = []
    if is_record(x):
        rebuilt(x, found.append, Output)
    return (lambda leaf: rebuilt(x, leaf, Output)) if found else None


def _parts(items: Iterable[Any]) -> list[tuple[Callable[[Leaf], Any] | None, Any]]:
    return [(filler(item), item) for item in items]


class Results:
    """The returned tree of a plan, to be filled with the tensors of each call."""

    def __init__(
        self,
        tree: Any,
        types: Sequence[TensorSpec],
        layouts: Sequence[Layout],
        sizes: Evaluation,
        places: Sequence[Standing],
    ) -> None:
        """`types`: of what the program stores; `layouts`: how it is shown; `places`: those that the
        step rebinds."""
        tree = rebuilt(tree, sizes, Unknown)
        self._tree = tree = rebuilt(tree, lambda o: o.at(sizes), Output)
        self._filled = filler(tree)
        self._types, self._places = types, places
        self._strided = {k: Strided(types[k], sizes(at)) for k, at in enumerate(layouts) if at[0]}
        bare = isinstance(tree, Output) and tree.source == "out" and not tree.views
        bare = bare and tree.kind is Tensor
        self.bare: Output | None = tree if bare and not self._strided else None

    def fill(
        self, leaves: Sequence[Tensor], outs: Sequence[Array], grads: Sequence[Tensor]
    ) -> tuple[Any, list[Tensor]]:
        """The result, and its tensors that take part in a later backward pass, by slot."""
        if self.bare is not None:  # the common case, a loss
            out = fresh(outs[self.bare.index], self._types[self.bare.index])
            out._requires_grad = self.bare.requires_grad
            return out, [out] if self.bare.slot >= 0 else []
        made = [fresh(a, t) for a, t in zip(outs, self._types)]
        for k, strided in self._strided.items():
            made[k] = strided.tensor(outs[k])
        slots: dict[int, Tensor] = {}
        shown: dict[int, Output] = {}  # the first that shows a result as it is

        def tensor(o: Output) -> Any:
            if o.source == "out":
                base = made[o.index]
            elif o.source == "grad":
                base = grads[o.index]
            elif o.source == "place":
                found = self._places[o.index].value()
                base = found if o.itself or o.requires_grad else found.detach()
            else:
                base = _shown(o, leaves)
            out = replay(base, o.views) if o.views else base
            if o.source == "out":
                if out is base and shown.setdefault(o.index, o).requires_grad != o.requires_grad:
                    out = base.alias()  # the same memory, detached
                out._requires_grad = o.requires_grad
            if o.kind is not Tensor:
                out = out.alias(o.kind)
                out._requires_grad = o.requires_grad
            if o.slot >= 0:
                slots[o.slot] = out
            return out

        result = self._tree if self._filled is None else self._filled(tensor)
        return result, [slots[k] for k in sorted(slots)]


def _shown(o: Output, leaves: Sequence[Tensor]) -> Tensor:
    """The argument or state that an output shows, with its history only if that was kept."""
    if o.itself:
        return leaves[o.index]
    base = o.tensor if o.storage is not None else leaves[o.index]
    if base is None:
        assert o.storage is not None
        return whole(o.storage)
    return base if o.requires_grad else base.detach()


def whole(storage: Storage) -> Tensor:
    """A tensor over all the memory of a state."""
    assert storage.array is not None
    out = fresh(storage.array, storage.spec)
    out.storage = storage
    storage.hold(out)
    return out
