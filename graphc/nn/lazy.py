"""Layers that learn their number of inputs from the first batch, and parameters without a shape.

A lazy layer keeps the arguments of its kind. At the first call it makes a layer of that kind for
the size it sees, takes over its tensors in the parameters that optimizers already hold, and from
then on is a layer of that kind.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar

from graphc.errors import InvalidArgument, RefusedArgument, Untraceable
from graphc.frontend import epoch
from graphc.frontend import trace as tracing
from graphc.frontend.api.creation import empty
from graphc.frontend.modes import no_grad
from graphc.frontend.options import as_dtype
from graphc.frontend.size import Size
from graphc.frontend.tensor import Tensor
from graphc.ir.types import DType, TensorSpec
from graphc.nn.conv import (
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
)
from graphc.nn.linear import Linear
from graphc.nn.module import Module
from graphc.nn.normalization import (
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    InstanceNorm1d,
    InstanceNorm2d,
    InstanceNorm3d,
)
from graphc.nn.parameter import Buffer, Parameter

__all__ = [
    "LazyBatchNorm1d",
    "LazyBatchNorm2d",
    "LazyBatchNorm3d",
    "LazyConv1d",
    "LazyConv2d",
    "LazyConv3d",
    "LazyConvTranspose1d",
    "LazyConvTranspose2d",
    "LazyConvTranspose3d",
    "LazyInstanceNorm1d",
    "LazyInstanceNorm2d",
    "LazyInstanceNorm3d",
    "LazyLinear",
    "UninitializedBuffer",
    "UninitializedParameter",
]

UNKNOWN = "this belongs to a lazy layer that has seen no batch yet"
CALL = "call the model on one batch first, outside any compiled step"


class _Uninitialized(Tensor):
    """Without shape or elements until `materialize`."""

    _becomes: ClassVar[type[Tensor]]

    @property
    def shape(self) -> Size:
        raise RefusedArgument(
            "Can't access the shape of an uninitialized parameter or buffer", why=UNKNOWN, fix=CALL
        )

    @property
    def spec(self) -> TensorSpec:
        raise InvalidArgument(
            "Attempted to use an uninitialized parameter or buffer", why=UNKNOWN, fix=CALL
        )

    def detach(self) -> Any:
        return self

    def materialize(self, shape: Any, device: Any = None, dtype: DType | None = None) -> None:
        """Take on a shape, with elements that may be anything."""
        self.__class__ = self._becomes  # type: ignore[assignment]  # the same object from now on
        with no_grad():
            self.data = empty(tuple(shape), device=device, dtype=as_dtype(dtype) or self.dtype)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class UninitializedParameter(_Uninitialized, Parameter):
    """A parameter of a lazy layer before its first batch."""

    _becomes = Parameter

    def __new__(
        cls, requires_grad: bool = True, device: Any = None, dtype: DType | None = None
    ) -> UninitializedParameter:
        made = empty(0, device=device, dtype=dtype).alias(cls)
        made.requires_grad_(requires_grad)
        return made

    def __init__(
        self, requires_grad: bool = True, device: Any = None, dtype: DType | None = None
    ) -> None:
        """Everything is done in __new__."""


class UninitializedBuffer(_Uninitialized, Buffer):
    """A buffer of a lazy layer before its first batch."""

    _becomes = Tensor

    def __new__(
        cls,
        requires_grad: bool = False,
        device: Any = None,
        dtype: DType | None = None,
        persistent: bool = True,
    ) -> UninitializedBuffer:
        made = empty(0, device=device, dtype=dtype).alias(cls)
        made.persistent = persistent
        return made

    def __init__(
        self,
        requires_grad: bool = False,
        device: Any = None,
        dtype: DType | None = None,
        persistent: bool = True,
    ) -> None:
        """Everything is done in __new__."""


def is_lazy(param: object) -> bool:
    """Whether it still waits for its shape."""
    return isinstance(param, _Uninitialized)


class LazyModuleMixin(Module):
    """What the lazy layers share. `cls_to_become` is the kind, whose first argument is found."""

    cls_to_become: ClassVar[Any]
    size_name: ClassVar[str]  # that argument, and the attribute it is kept in
    spatial: ClassVar[int] = 0  # dimensions behind the channels; -1: channels are last

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kind, groups = self.cls_to_become, int(kwargs.get("groups", 1))
        kind.__init__(self, max(groups, 1), *args, **kwargs)
        self.__dict__[self.size_name] = 0
        self.__dict__["_lazy_arguments"] = (args, kwargs)
        for name, p in self._parameters.items():
            if p is not None:
                self._parameters[name] = UninitializedParameter(p.requires_grad, dtype=p.dtype)
        for name, b in self._buffers.items():
            if b is not None and b.spec.shape:
                self._buffers[name] = UninitializedBuffer(dtype=b.dtype)
        hook = self.register_forward_pre_hook(LazyModuleMixin._infer, with_kwargs=True)
        self.__dict__["_lazy_hook"] = hook

    def has_uninitialized_params(self) -> bool:
        return any(is_lazy(t) for t in (*self._parameters.values(), *self._buffers.values()))

    def reset_parameters(self) -> None:
        """Nothing to set before the sizes are known."""
        if not self.has_uninitialized_params():
            self.cls_to_become.reset_parameters(self)

    def _infer(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Become a layer of the kind for the input given."""
        if tracing.active() is not None:
            raise Untraceable(
                f"the first call of a {type(self).__name__} inside a compiled step",
                why="the step would make its parameters anew at each call",
                fix=CALL,
            )
        (input, *_) = (*args, *kwargs.values())
        options, named = self.__dict__.pop("_lazy_arguments")
        made = self.cls_to_become(self._size(input), *options, **named)
        with no_grad():
            self._take(self._parameters, made._parameters)
            self._take(self._buffers, made._buffers)
        self.__dict__[self.size_name] = made.__dict__[self.size_name]
        self.__dict__.pop("_lazy_hook").remove()
        self.__class__ = self.cls_to_become
        epoch.modules_changed()

    def _size(self, input: Tensor) -> int:
        if self.spatial < 0:
            return input.shape[-1]
        rank = input.dim()
        batched = self.spatial + 2
        if rank not in (batched, batched - 1, 2 if self.spatial == 1 else batched):
            raise RefusedArgument(f"{type(self).__name__}: got {rank}D input of {input.spec}")
        return input.shape[1 if rank == batched or isinstance(self, _LazyNorm) else 0]

    @staticmethod
    def _take(mine: Mapping[str, Any], made: Mapping[str, Any]) -> None:
        for name, t in mine.items():
            if isinstance(t, _Uninitialized):
                t.materialize(made[name].shape)
                t.copy_(made[name])

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        """What waits for its shape takes that of what is loaded."""
        for name, t in (*self._parameters.items(), *self._buffers.items()):
            given = state_dict.get(prefix + name)
            if isinstance(t, _Uninitialized) and isinstance(given, Tensor) and not is_lazy(given):
                t.materialize(given.shape)
        super()._load_from_state_dict(state_dict, prefix, *rest)


class _LazyNorm(LazyModuleMixin):
    """Of norms the channels always stand at 1."""


def _lazy(
    kind: type[Module],
    size_name: str,
    spatial: int,
    base: type[LazyModuleMixin] = LazyModuleMixin,
    **defaults: bool,
) -> Any:
    """The lazy layer of a kind: its arguments but the first; `defaults` are other than its own."""
    signature = inspect.signature(kind.__init__)
    own, _, *rest = signature.parameters.values()
    others = [p.replace(default=defaults.get(p.name, p.default)) for p in rest]
    arguments = signature.replace(parameters=[own, *others])
    name = f"Lazy{kind.__name__}"

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        bound = arguments.bind(self, *args, **kwargs)
        given = {**defaults, **bound.arguments}
        del given["self"]
        base.__init__(self, **given)

    __init__.__signature__ = arguments  # type: ignore[attr-defined]
    members = {
        "__doc__": f"{kind.__name__} whose {size_name} is that of the first batch.",
        "__module__": __name__,
        "__init__": __init__,
        "cls_to_become": kind,
        "size_name": size_name,
        "spatial": spatial,
    }
    return type(name, (base, kind), members)


LazyLinear = _lazy(Linear, "in_features", -1)
LazyConv1d = _lazy(Conv1d, "in_channels", 1)
LazyConv2d = _lazy(Conv2d, "in_channels", 2)
LazyConv3d = _lazy(Conv3d, "in_channels", 3)
LazyConvTranspose1d = _lazy(ConvTranspose1d, "in_channels", 1)
LazyConvTranspose2d = _lazy(ConvTranspose2d, "in_channels", 2)
LazyConvTranspose3d = _lazy(ConvTranspose3d, "in_channels", 3)
LazyBatchNorm1d = _lazy(BatchNorm1d, "num_features", 1, _LazyNorm)
LazyBatchNorm2d = _lazy(BatchNorm2d, "num_features", 2, _LazyNorm)
LazyBatchNorm3d = _lazy(BatchNorm3d, "num_features", 3, _LazyNorm)
TRACKED = {"affine": True, "track_running_stats": True}  # as PyTorch has it for these
LazyInstanceNorm1d = _lazy(InstanceNorm1d, "num_features", 1, LazyModuleMixin, **TRACKED)
LazyInstanceNorm2d = _lazy(InstanceNorm2d, "num_features", 2, LazyModuleMixin, **TRACKED)
LazyInstanceNorm3d = _lazy(InstanceNorm3d, "num_features", 3, LazyModuleMixin, **TRACKED)
