"""torch.autograd.graph's names: nodes of the tape, and hooks on what is saved for backward."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, NamedTuple, Self

from graphc.errors import InvalidState, InvalidType, Untraceable
from graphc.frontend.modes import modes, no_grad
from graphc.frontend.tape import OpNode, edge_of, saving
from graphc.frontend.tensor import Tensor
from graphc.passes.autodiff import Node

__all__ = [
    "GradientEdge",
    "Node",
    "allow_mutation_on_saved_tensors",
    "disable_saved_tensors_hooks",
    "get_gradient_edge",
    "increment_version",
    "save_on_cpu",
    "saved_tensors_hooks",
]


class GradientEdge(NamedTuple):
    """An output of a node of the tape."""

    node: Any
    output_nr: int


def get_gradient_edge(tensor: Tensor) -> GradientEdge:
    """Where a tensor's gradient arrives."""
    if not isinstance(tensor, Tensor):
        raise InvalidType(f"get_gradient_edge: a tensor is expected, got {type(tensor).__name__}")
    edge = edge_of(tensor)
    if edge is None:
        raise InvalidState(
            "It is not possible to get the gradient edge for a Tensor that does not require "
            "gradients",
            fix="requires_grad_() it first",
        )
    return GradientEdge(*edge)


def increment_version(tensor: Any) -> None:
    """Count a change that was made behind graphc's back, so that backward refuses what it read."""
    for x in [tensor] if isinstance(tensor, Tensor) else tensor:
        if not isinstance(x, Tensor):
            raise InvalidType(f"increment_version: tensors are expected, got {type(x).__name__}")
        x.storage.version += 1


class _Packed:
    """What a node saved, packed; called before its gradient, brings it back."""

    def __init__(self, node: OpNode, pack: Callable[..., Any], unpack: Callable[..., Any]) -> None:
        self._node, self._unpack = node, unpack
        self._operands = [self._pack(pack, a) for a in node.operands or ()]
        self._output = self._pack(pack, node.output)
        node.operands = node.output = None
        node.restore = self

    def _pack(self, pack: Callable[..., Any], saved: Any) -> Any:
        if not isinstance(saved, tuple):
            return saved
        shown = saved[0].detach()
        before = shown.storage.version
        kept = [pack(shown)]
        if shown.storage.version != before:
            raise InvalidState(
                "A saved tensor pack hook is modifying its input in place",
                why="what the operation has read, and will give a gradient by, would change",
                fix="write into a clone()",
            )
        return kept

    def _back(self, kept: Any, edge: Any) -> Any:
        if not isinstance(kept, list):
            return kept
        found = self._unpack(kept[0])
        if not isinstance(found, Tensor):
            what = f"unpack_hook must return a Tensor, got {type(found).__name__}"
            raise InvalidType(what)
        found = found.alias()
        if edge is not None:
            found.set_history(*edge)
        return found, found.storage.version

    def __call__(self) -> None:
        node = self._node
        with _Without(), no_grad():
            operands = [self._back(a, e) for a, e in zip(self._operands, node.edges)]
            output = self._back(self._output, None)
        node.operands, node.output, node.restore = operands, output, None


class _Without:
    """Inside, no hook is shown anything."""

    def __enter__(self) -> None:
        self._before, saving.hooks = saving.hooks, ()

    def __exit__(self, *exception: object) -> None:
        saving.hooks = self._before


_disabled: list[str] = []


class saved_tensors_hooks:
    """Inside, `pack_hook(tensor)` says what is kept for backward of each tensor that an operation
    saves, and `unpack_hook` of that gives the tensor again.

    Eager code only: a compiled step chooses what backward keeps. What functions of one's own save
    by `ctx.save_for_backward`, and what a few composed operations keep, is not shown.
    """

    def __init__(
        self, pack_hook: Callable[[Tensor], Any], unpack_hook: Callable[[Any], Tensor]
    ) -> None:
        self.pack_hook, self.unpack_hook = pack_hook, unpack_hook

    def __enter__(self) -> Self:
        if modes.trace is not None:
            raise Untraceable(
                "saved_tensors_hooks inside a compiled step",
                why="the compiler chooses what backward keeps, and may compute it again",
                fix="use it in eager code, or utils.checkpoint to save memory",
            )
        if _disabled:
            raise InvalidState(_disabled[-1], fix="leave disable_saved_tensors_hooks first")
        saving.hooks = (*saving.hooks, self._shown)
        return self

    def _shown(self, node: OpNode) -> None:
        if node.saves():
            with _Without(), no_grad():
                _Packed(node, self.pack_hook, self.unpack_hook)

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        saving.hooks = saving.hooks[:-1]


class save_on_cpu(saved_tensors_hooks):
    """Inside, what backward needs of tensors on a GPU waits for it in the host's memory."""

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda") -> None:
        def pack(x: Tensor) -> Any:
            if x.device.type != device_type:
                return x.device, x
            kept = x.cpu()
            return x.device, kept.pin_memory() if pin_memory else kept

        def unpack(packed: Any) -> Tensor:
            where, kept = packed
            found: Tensor = kept.to(where)
            return found

        super().__init__(pack, unpack)


class allow_mutation_on_saved_tensors(saved_tensors_hooks):
    """Inside, tensors may be written in place that backward needs: it keeps copies."""

    def __init__(self) -> None:
        super().__init__(lambda x: x.clone(), lambda x: x)


@contextmanager
def disable_saved_tensors_hooks(error_message: str) -> Iterator[None]:
    """Inside, `saved_tensors_hooks` raises this message."""
    _disabled.append(error_message)
    try:
        yield
    finally:
        _disabled.pop()
