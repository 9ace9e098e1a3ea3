"""torch.nn.utils.prune's names: parameters with masks, and which entries masks take away.

A pruned parameter `weight` becomes `weight_orig`, trained, and `weight_mask`, a buffer; `weight`
itself is their product, made anew before each call of the module. `remove` makes it for good.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

from graphc.errors import InvalidArgument, InvalidType
from graphc.frontend.api.creation import ones_like
from graphc.frontend.api.linalg import vector_norm
from graphc.frontend.api.random import randperm
from graphc.frontend.api.shapes import cat
from graphc.frontend.api.sorting import topk
from graphc.frontend.modes import no_grad
from graphc.frontend.tensor import Tensor
from graphc.nn.module import Module

__all__ = [
    "BasePruningMethod",
    "CustomFromMask",
    "Identity",
    "L1Unstructured",
    "LnStructured",
    "PruningContainer",
    "RandomStructured",
    "RandomUnstructured",
    "custom_from_mask",
    "global_unstructured",
    "identity",
    "is_pruned",
    "l1_unstructured",
    "ln_structured",
    "random_structured",
    "random_unstructured",
    "remove",
]

Amount = int | float


class BasePruningMethod(ABC):
    """A way of choosing what to take away: `compute_mask` gives the new mask of the old one."""

    PRUNING_TYPE: str = ""
    _tensor_name: str = ""

    def __call__(self, module: Module, inputs: Any) -> None:
        """Before the module is called: make the pruned tensor."""
        setattr(module, self._tensor_name, self.apply_mask(module))

    @abstractmethod
    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """Ones and zeros in the shape of `t`, whose values decide; `default_mask` holds already."""

    def apply_mask(self, module: Module) -> Tensor:
        """The original times its mask."""
        name = self._tensor_name
        original: Tensor = getattr(module, f"{name}_orig")
        mask: Tensor = getattr(module, f"{name}_mask")
        return mask.to(original.dtype) * original

    @classmethod
    def apply(
        cls,
        module: Module,
        name: str,
        *args: Any,
        importance_scores: Tensor | None = None,
        **kwargs: Any,
    ) -> BasePruningMethod:
        """Prune `name` of the module, on top of what was pruned of it before."""
        old = _method_of(module, name)
        method: BasePruningMethod = cls(*args, **kwargs)
        method._tensor_name = name
        if old is not None:
            method = PruningContainer.joined(old, method)
        original = getattr(module, name)
        scores = original if importance_scores is None else importance_scores
        if scores.shape != original.shape:
            raise InvalidArgument(
                f"importance_scores of shape {tuple(scores.shape)} for {name!r}, "
                f"{tuple(original.shape)}"
            )
        with no_grad():
            mask = ones_like(scores) if old is None else getattr(module, f"{name}_mask")
            new = method.compute_mask(scores.detach(), mask.detach().clone())
        if old is None:
            module.register_parameter(f"{name}_orig", module._parameters.pop(name))
        module.register_buffer(f"{name}_mask", new.to(original.dtype))
        if old is not None:
            _drop(module, name)
        method(module, None)
        module.register_forward_pre_hook(method)
        return method

    def prune(
        self,
        t: Tensor,
        default_mask: Tensor | None = None,
        importance_scores: Tensor | None = None,
    ) -> Tensor:
        """A pruned copy of a tensor."""
        scores = t if importance_scores is None else importance_scores
        mask = ones_like(t) if default_mask is None else default_mask
        return t * self.compute_mask(scores, mask)

    def remove(self, module: Module) -> None:
        """Make the pruned tensor the parameter again; what was taken away stays 0."""
        name = self._tensor_name
        original = module._parameters.pop(f"{name}_orig")
        if original is None:
            raise InvalidArgument(f"{name!r} of {type(module).__name__} is not pruned")
        with no_grad():
            original.data = original.data * getattr(module, f"{name}_mask").to(original.dtype)
        delattr(module, name)
        del module._buffers[f"{name}_mask"]
        module.register_parameter(name, original)


def _methods(module: Module) -> dict[int, BasePruningMethod]:
    hooks = {key: hook.fn for key, hook in module._forward_pre_hooks.items()}
    return {key: fn for key, fn in hooks.items() if isinstance(fn, BasePruningMethod)}


def _method_of(module: Module, name: str) -> BasePruningMethod | None:
    return next((m for m in _methods(module).values() if m._tensor_name == name), None)


def _drop(module: Module, name: str) -> None:
    """Forget the hook that made the pruned tensor."""
    for key, method in _methods(module).items():
        if method._tensor_name == name:
            del module._forward_pre_hooks[key]


class PruningContainer(BasePruningMethod):
    """Several methods, one after the other, each of what the ones before it left."""

    def __init__(self, *args: BasePruningMethod) -> None:
        self._pruning_methods: tuple[BasePruningMethod, ...] = ()
        if args:
            self._tensor_name = args[0]._tensor_name
        for method in args:
            self.add_pruning_method(method)

    @classmethod
    def joined(cls, old: BasePruningMethod, new: BasePruningMethod) -> Self:
        """What there was, and one more."""
        before = old._pruning_methods if isinstance(old, PruningContainer) else (old,)
        return cls(*before, new)

    def add_pruning_method(self, method: BasePruningMethod | None) -> None:
        """One more, of the same tensor."""
        if method is None:
            return
        if not isinstance(method, BasePruningMethod):
            raise InvalidType(f"{type(method)} is not a BasePruningMethod subclass")
        if method._tensor_name != self._tensor_name:
            raise InvalidArgument(
                "Can only add pruning methods acting on the parameter named "
                f"'{self._tensor_name}' to PruningContainer {self}. Found '{method._tensor_name}'"
            )
        self._pruning_methods += (method,)

    def __len__(self) -> int:
        return len(self._pruning_methods)

    def __iter__(self) -> Any:
        return iter(self._pruning_methods)

    def __getitem__(self, k: int) -> BasePruningMethod:
        return self._pruning_methods[k]

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """The last method's, among the entries that are left."""
        method = self._pruning_methods[-1]
        mask = default_mask.clone()
        if method.PRUNING_TYPE == "unstructured":
            kept = mask == 1
            part = method.compute_mask(t[kept], default_mask[kept])
            mask[kept] = part.to(mask.dtype)
            return mask
        if method.PRUNING_TYPE == "structured":
            dim: int = method.dim % t.dim()  # type: ignore[attr-defined]  # of structured ones
            others = tuple(k for k in range(t.dim()) if k != dim)
            left = (mask.sum(others) != 0).nonzero().flatten()
            part = method.compute_mask(t.index_select(dim, left), mask.index_select(dim, left))
            return mask.index_copy(dim, left, part.to(mask.dtype))
        return method.compute_mask(t, mask)


# ---- methods -----------------------------------------------------------------------------------


def _check_amount(amount: Amount) -> None:
    if isinstance(amount, bool) or not isinstance(amount, int | float):
        raise InvalidType(f"Invalid type for amount: {amount!r:.60}. Must be int or float.")
    if (isinstance(amount, int) and amount < 0) or (
        isinstance(amount, float) and not 0.0 <= amount <= 1.0
    ):
        raise InvalidArgument(
            f"amount={amount} should either be a float in the range [0.0, 1.0] or a non-negative "
            "integer"
        )


def _count(amount: Amount, size: int) -> int:
    """How many of `size` are to go."""
    found = amount if isinstance(amount, int) else round(amount * size)
    if found > size:
        raise InvalidArgument(f"amount={amount} should be at most the {size} units to prune")
    return found


class Identity(BasePruningMethod):
    """Takes nothing away."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """As it was."""
        return default_mask


class _ByAmount(BasePruningMethod):
    def __init__(self, amount: Amount) -> None:
        _check_amount(amount)
        self.amount = amount


class RandomUnstructured(_ByAmount):
    """Takes entries away by chance."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """A share or a number of all entries."""
        mask = default_mask.clone()
        gone = _count(self.amount, t.numel())
        if gone:
            flat = mask.reshape(-1)
            flat[randperm(t.numel(), device=t.device)[:gone]] = 0
            mask = flat.reshape(mask.shape)
        return mask


class L1Unstructured(_ByAmount):
    """Takes away the entries that are nearest to 0."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """A share or a number of all entries."""
        mask = default_mask.clone()
        gone = _count(self.amount, t.numel())
        if gone:
            least = topk(t.abs().reshape(-1), gone, largest=False).indices
            flat = mask.reshape(-1)
            flat[least] = 0
            mask = flat.reshape(mask.shape)
        return mask


class _Structured(_ByAmount):
    PRUNING_TYPE = "structured"

    def __init__(self, amount: Amount, dim: int = -1) -> None:
        super().__init__(amount)
        self.dim = dim

    def _check(self, t: Tensor) -> int:
        """How many slices go."""
        if t.dim() < 2:
            raise InvalidArgument(
                f"Structured pruning can only be applied to multidimensional tensors, got {t.spec}"
            )
        if not -t.dim() <= self.dim < t.dim():
            raise InvalidArgument(f"Invalid index {self.dim} for tensor {t.spec}")
        return _count(self.amount, t.shape[self.dim])

    def _without(self, t: Tensor, default_mask: Tensor, slices: Tensor) -> Tensor:
        mask = ones_like(t).index_fill(self.dim, slices, 0)
        return mask * default_mask.to(mask.dtype)


class RandomStructured(_Structured):
    """Takes whole slices of a dimension away by chance."""

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """A share or a number of the slices."""
        gone = self._check(t)
        if not gone:
            return default_mask
        order = randperm(t.shape[self.dim], device=t.device)
        return self._without(t, default_mask, order[:gone])


class LnStructured(_Structured):
    """Takes away the slices of a dimension with the smallest norm of order n."""

    def __init__(self, amount: Amount, n: Any, dim: int = -1) -> None:
        super().__init__(amount, dim)
        self.n = n

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """A share or a number of the slices."""
        gone = self._check(t)
        if not gone:
            return default_mask
        dim = self.dim % t.dim()
        others = tuple(k for k in range(t.dim()) if k != dim)
        order = 2 if self.n == "fro" else float(self.n)
        norms = vector_norm(t, order, others)
        return self._without(t, default_mask, topk(norms, gone, largest=False).indices)


class CustomFromMask(BasePruningMethod):
    """Takes away what a mask says."""

    PRUNING_TYPE = "global"

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """Where both are one."""
        return default_mask * self.mask.to(default_mask.dtype)


# ---- functions ---------------------------------------------------------------------------------


def identity(module: Module, name: str) -> Module:
    """Give `name` a mask of ones."""
    Identity.apply(module, name)
    return module


def random_unstructured(module: Module, name: str, amount: Amount) -> Module:
    """Take entries of `name` away by chance: a share (float) or a number (int)."""
    RandomUnstructured.apply(module, name, amount)
    return module


def l1_unstructured(
    module: Module, name: str, amount: Amount, importance_scores: Tensor | None = None
) -> Module:
    """Take away the entries of `name` (or of the scores) that are nearest to 0."""
    L1Unstructured.apply(module, name, amount, importance_scores=importance_scores)
    return module


def random_structured(module: Module, name: str, amount: Amount, dim: int) -> Module:
    """Take whole slices of a dimension of `name` away by chance."""
    RandomStructured.apply(module, name, amount, dim)
    return module


def ln_structured(
    module: Module,
    name: str,
    amount: Amount,
    n: Any,
    dim: int,
    importance_scores: Tensor | None = None,
) -> Module:
    """Take away the slices of a dimension of `name` with the smallest norm of order n."""
    LnStructured.apply(module, name, amount, n, dim, importance_scores=importance_scores)
    return module


def custom_from_mask(module: Module, name: str, mask: Tensor) -> Module:
    """Take away where the mask is 0."""
    CustomFromMask.apply(module, name, mask)
    return module


def global_unstructured(
    parameters: Iterable[tuple[Module, str]],
    pruning_method: type[BasePruningMethod],
    importance_scores: Mapping[tuple[Module, str], Tensor] | None = None,
    **kwargs: Any,
) -> None:
    """Prune several tensors as one: what is least of all goes, wherever it stands."""
    places: Sequence[tuple[Module, str]] = list(parameters)
    scores = dict(importance_scores or {})
    values = [scores.get((m, n), getattr(m, n)).detach() for m, n in places]
    masks = [getattr(m, f"{n}_mask", ones_like(getattr(m, n))).detach() for m, n in places]
    container = PruningContainer()
    container._tensor_name = "temp"
    method = pruning_method(**kwargs)
    method._tensor_name = "temp"
    container.add_pruning_method(method)
    if method.PRUNING_TYPE != "unstructured":
        raise InvalidType(
            'Only "unstructured" PRUNING_TYPE supported for the `pruning_method`. Found method '
            f"{pruning_method} of type {method.PRUNING_TYPE}"
        )
    whole = cat([v.reshape(-1) for v in values])
    found = container.compute_mask(whole, cat([m.reshape(-1) for m in masks]))
    at = 0
    for (module, name), value in zip(places, values):
        part = found[at : at + value.numel()].reshape(value.shape)
        custom_from_mask(module, name, part)
        at += value.numel()


def remove(module: Module, name: str) -> Module:
    """Make the pruning of `name` for good."""
    method = _method_of(module, name)
    if method is None:
        raise InvalidArgument(f"Parameter '{name}' of module {module} has to be pruned before "
                              "pruning can be removed")  # fmt: skip
    method.remove(module)
    _drop(module, name)
    return module


def is_pruned(module: Module) -> bool:
    """Whether anything in it, or below it, is pruned."""
    return any(_methods(inner) for inner in module.modules())
