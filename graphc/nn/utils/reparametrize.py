"""Weights computed from other parameters before each forward, under PyTorch's older names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from graphc.errors import InvalidArgument, InvalidState
from graphc.frontend.modes import no_grad
from graphc.frontend.tensor import Tensor
from graphc.nn.functional.normalization import normalize
from graphc.nn.module import Module
from graphc.nn.parameter import Parameter

__all__ = ["remove_spectral_norm", "remove_weight_norm", "spectral_norm", "weight_norm"]

M = TypeVar("M", bound=Module)


def norm_except(v: Tensor, dim: int) -> Tensor:
    """|v| over all dimensions but `dim`, which stays (-1: over all)."""
    if dim == -1:
        return (v * v).sum().sqrt()
    others = [k for k in range(v.dim()) if k != dim % v.dim()]
    return (v * v).sum(others, keepdim=True).sqrt() if others else v.abs()


class WeightNorm:
    """weight = g v / |v|, recomputed before each forward (Salimans and Kingma 2016)."""

    def __init__(self, name: str, dim: int) -> None:
        self.name = name
        self.dim = dim

    def compute(self, module: Module) -> Tensor:
        g, v = getattr(module, f"{self.name}_g"), getattr(module, f"{self.name}_v")
        return v * (g / norm_except(v, self.dim))  # type: ignore[no-any-return]  # by name

    def __call__(self, module: Module, args: Any) -> None:
        setattr(module, self.name, self.compute(module))

    def apply(self, module: Module) -> None:
        weight = _taken(module, self.name)
        module.register_parameter(
            f"{self.name}_g", Parameter(norm_except(weight, self.dim).detach())
        )
        module.register_parameter(f"{self.name}_v", Parameter(weight.detach()))
        setattr(module, self.name, self.compute(module))
        module.register_forward_pre_hook(self)

    def remove(self, module: Module) -> None:
        weight = self.compute(module).detach()
        for name in (self.name, f"{self.name}_g", f"{self.name}_v"):
            delattr(module, name)
        setattr(module, self.name, Parameter(weight))


class SpectralNorm:
    """weight / sigma, its largest singular value by power iteration (Miyato et al. 2018)."""

    def __init__(self, name: str, n_power_iterations: int, dim: int, eps: float) -> None:
        if n_power_iterations <= 0:
            raise InvalidArgument(
                "Expected n_power_iterations to be positive, but got "
                f"n_power_iterations={n_power_iterations}"
            )
        self.name = name
        self.n_power_iterations = n_power_iterations
        self.dim = dim
        self.eps = eps

    def compute(self, module: Module, iterate: bool) -> Tensor:
        weight: Tensor = getattr(module, f"{self.name}_orig")
        u, v = getattr(module, f"{self.name}_u"), getattr(module, f"{self.name}_v")
        matrix = as_matrix(weight, self.dim)
        if iterate:
            u, v = power_iteration(matrix, u, v, self.n_power_iterations, self.eps)
        sigma: Tensor = (u * (matrix @ v)).sum()
        return weight / sigma

    def __call__(self, module: Module, args: Any) -> None:
        setattr(module, self.name, self.compute(module, module.training))

    def apply(self, module: Module) -> None:
        weight = _taken(module, self.name)
        u, v = first_vectors(as_matrix(weight, self.dim), self.eps)
        module.register_parameter(f"{self.name}_orig", weight)
        setattr(module, self.name, weight.detach())
        module.register_buffer(f"{self.name}_u", u)
        module.register_buffer(f"{self.name}_v", v)
        module.register_forward_pre_hook(self)

    def remove(self, module: Module) -> None:
        with no_grad():
            weight = self.compute(module, iterate=False)
        delattr(module, self.name)
        for end in ("_u", "_v", "_orig"):
            delattr(module, self.name + end)
        setattr(module, self.name, Parameter(weight.detach()))


def as_matrix(weight: Tensor, dim: int) -> Tensor:
    """[weight.shape[dim], all others]."""
    x = weight if dim == 0 else weight.movedim(dim, 0)
    return x.reshape(x.shape[0], -1)


@no_grad()
def first_vectors(matrix: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Random unit vectors [rows], [columns] from which a power iteration starts."""
    rows, columns = matrix.shape
    u = normalize(matrix.new_empty(rows).normal_(0.0, 1.0), dim=0, eps=eps)
    v = normalize(matrix.new_empty(columns).normal_(0.0, 1.0), dim=0, eps=eps)
    return u, v


@no_grad()
def power_iteration(
    matrix: Tensor, u: Tensor, v: Tensor, rounds: int, eps: float
) -> tuple[Tensor, Tensor]:
    """Better singular vectors, also written into u and v; the ones given back stay as they are."""
    left, right = u, v
    for _ in range(rounds):
        right = normalize(matrix.t() @ left, dim=0, eps=eps)
        left = normalize(matrix @ right, dim=0, eps=eps)
    u.copy_(left)
    v.copy_(right)
    return left.clone(), right.clone()


def _taken(module: Module, name: str) -> Parameter:
    """The parameter `name`, which the module holds no more."""
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook.fn, WeightNorm | SpectralNorm) and hook.fn.name == name:
            raise InvalidState(
                f"Cannot register two {type(hook.fn).__name__} hooks on the same parameter {name}"
            )
    weight = module._parameters.get(name)
    if weight is None:
        raise AttributeError(f"{module._get_name()} has no parameter `{name}`")
    del module._parameters[name]
    return weight


def weight_norm(module: M, name: str = "weight", dim: int | None = 0) -> M:
    """Make weight = g v / |v| with parameters name_g and name_v; norms over all but `dim`."""
    WeightNorm(name, -1 if dim is None else dim).apply(module)
    return module


def remove_weight_norm(module: M, name: str = "weight") -> M:
    """Undo weight_norm: the weight as it is now becomes a parameter."""
    return _remove(module, name, WeightNorm, "weight_norm")


def spectral_norm(
    module: M,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> M:
    """Divide a weight by its largest singular value, found step by step in training.

    `dim` counts the rows: 1 for transposed convolutions, else 0.
    """
    if dim is None:
        dim = int(type(module).__name__.startswith("ConvTranspose"))
    SpectralNorm(name, n_power_iterations, dim, eps).apply(module)
    return module


def remove_spectral_norm(module: M, name: str = "weight") -> M:
    """Undo spectral_norm: the divided weight becomes a parameter."""
    return _remove(module, name, SpectralNorm, "spectral_norm")


def _remove(module: M, name: str, kind: Callable[..., WeightNorm | SpectralNorm], text: str) -> M:
    for number, hook in module._forward_pre_hooks.items():
        fn = hook.fn
        if isinstance(fn, WeightNorm | SpectralNorm) and type(fn) is kind and fn.name == name:
            fn.remove(module)
            del module._forward_pre_hooks[number]
            return module
    raise InvalidArgument(f"{text} of '{name}' not found in {module}")
