"""Just enough of the PyTorch names, over JAX, to build the benchmark nets and jit a whole step.

A module holds its arrays as attributes. `apply` puts traced arrays in their place, runs `forward`
and collects the buffers that it wrote, so the step below is the pure function that JAX wants.
Images are NHWC inside, the layout XLA's CPU convolution takes without a transpose; weights keep
PyTorch's shapes and are transposed inside the jitted step (measured: no visible cost).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Array = Any
Tree = dict[str, Array]

IMAGE = ("NHWC", "OIHW", "NHWC")


class Parameter:
    """Marks an attribute of a module as trained."""

    def __init__(self, value: Array) -> None:
        self.value = value


class Module:
    """Named parameters and buffers, found through attributes in order of definition."""

    def __init__(self) -> None:
        self.parameter_names: list[str] = []
        self.buffer_names: list[str] = []

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Parameter):
            self.parameter_names.append(name)
            value = value.value
        super().__setattr__(name, value)

    def __call__(self, x: Array) -> Array:
        return self.forward(x)  # type: ignore[attr-defined]

    def walk(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        yield prefix, self
        for name, child in vars(self).items():
            if isinstance(child, Module):
                yield from child.walk(f"{prefix}{name}.")


class Sequential(Module):
    def __init__(self, *layers: Module) -> None:
        super().__init__()
        self.size = len(layers)
        for i, layer in enumerate(layers):
            setattr(self, str(i), layer)

    def forward(self, x: Array) -> Array:
        for i in range(self.size):
            x = getattr(self, str(i))(x)
        return x


class Linear(Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = Parameter(np.zeros((outputs, inputs), np.float32))
        self.bias = Parameter(np.zeros(outputs, np.float32))

    def forward(self, x: Array) -> Array:
        return x @ self.weight.T + self.bias


class Conv2d(Module):
    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.stride, self.padding, self.groups, self.has_bias = stride, padding, groups, bias
        self.weight = Parameter(np.zeros((outputs, inputs // groups, size, size), np.float32))
        if bias:
            self.bias = Parameter(np.zeros(outputs, np.float32))

    def forward(self, x: Array) -> Array:
        y = lax.conv_general_dilated(
            x,
            self.weight,
            (self.stride, self.stride),
            [(self.padding, self.padding)] * 2,
            dimension_numbers=IMAGE,
            feature_group_count=self.groups,
        )
        return y + self.bias if self.has_bias else y


class BatchNorm2d(Module):
    """Training mode: batch statistics, unbiased running variance, momentum 0.1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.buffer_names = ["running_mean", "running_var"]
        self.weight = Parameter(np.ones(channels, np.float32))
        self.bias = Parameter(np.zeros(channels, np.float32))
        self.running_mean = np.zeros(channels, np.float32)
        self.running_var = np.ones(channels, np.float32)

    def forward(self, x: Array) -> Array:
        mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
        n = x.size // x.shape[-1]
        self.running_mean = 0.9 * self.running_mean + 0.1 * mean
        self.running_var = 0.9 * self.running_var + 0.1 * var * (n / (n - 1))
        return (x - mean) * (lax.rsqrt(var + 1e-5) * self.weight) + self.bias


class LayerNorm(Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = Parameter(np.ones(width, np.float32))
        self.bias = Parameter(np.zeros(width, np.float32))

    def forward(self, x: Array) -> Array:
        mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        return (x - mean) * lax.rsqrt(var + 1e-5) * self.weight + self.bias


class Embedding(Module):
    def __init__(self, rows: int, width: int) -> None:
        super().__init__()
        self.weight = Parameter(np.zeros((rows, width), np.float32))

    def forward(self, ids: Array) -> Array:
        return self.weight[ids]


class MaxPool2d(Module):
    def __init__(self, size: int, stride: int = 0, padding: int = 0) -> None:
        super().__init__()
        self.size, self.stride, self.padding = size, stride or size, padding

    def forward(self, x: Array) -> Array:
        window, strides = (1, self.size, self.size, 1), (1, self.stride, self.stride, 1)
        padding = [(0, 0), *[(self.padding, self.padding)] * 2, (0, 0)]
        return lax.reduce_window(x, -jnp.inf, lax.max, window, strides, padding)


class AdaptiveAvgPool2d(Module):
    """Only what the nets use: to one pixel, or to the extent that is already there."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Array) -> Array:
        if x.shape[1:3] == (self.size, self.size):
            return x
        assert self.size == 1
        return x.mean((1, 2), keepdims=True)


class Pointwise(Module):
    def __init__(self, function: Callable[[Array], Array]) -> None:
        super().__init__()
        self.forward = function


def flatten(x: Array) -> Array:
    """In the order of NCHW, which the weights of the layer behind it expect."""
    return x.transpose(0, 3, 1, 2).reshape(x.shape[0], -1)


def scaled_dot_product_attention(q: Array, k: Array, v: Array) -> Array:
    scores = jnp.einsum("bhqd,bhkd->bhqk", q, k) / np.sqrt(q.shape[-1])
    return jnp.einsum("bhqk,bhkd->bhqd", jax.nn.softmax(scores, axis=-1), v)


def cross_entropy(logits: Array, y: Array) -> Array:
    log_p = jax.nn.log_softmax(logits)
    return -jnp.take_along_axis(log_p, y[:, None], axis=1).mean()


nn = SimpleNamespace(
    Module=Module,
    Parameter=Parameter,
    Sequential=Sequential,
    Linear=Linear,
    Conv2d=Conv2d,
    BatchNorm2d=BatchNorm2d,
    LayerNorm=LayerNorm,
    Embedding=Embedding,
    MaxPool2d=MaxPool2d,
    AdaptiveAvgPool2d=AdaptiveAvgPool2d,
    Identity=lambda: Pointwise(lambda x: x),
    ReLU=lambda: Pointwise(jax.nn.relu),
    ReLU6=lambda: Pointwise(jax.nn.relu6),
    GELU=lambda: Pointwise(lambda x: jax.nn.gelu(x, approximate=False)),
    Flatten=lambda: Pointwise(flatten),
    functional=SimpleNamespace(scaled_dot_product_attention=scaled_dot_product_attention),
)
transpose = jnp.swapaxes


def chunk(x: Array, parts: int, dim: int) -> list[Array]:
    return jnp.split(x, parts, dim)


def zeros(*shape: int) -> Array:
    return np.zeros(shape, np.float32)


# ---- the pure step -------------------------------------------------------------------------------


def named(model: Module, kind: str) -> Tree:
    """The arrays of `kind`, "parameter_names" or "buffer_names", by their dotted names."""
    return {
        prefix + name: getattr(module, name)
        for prefix, module in model.walk()
        for name in getattr(module, kind)
    }


def apply(model: Module, arrays: Tree, x: Array) -> tuple[Array, Tree]:
    """forward(x) with `arrays` in place of the model's; also the buffers it left behind."""
    for prefix, module in model.walk():
        for name in (*module.parameter_names, *module.buffer_names):
            setattr(module, name, arrays[prefix + name])
    return model(x), named(model, "buffer_names")


def sgd(p: Array, g: Array, slots: tuple[Array, ...], t: Array, lr: float) -> tuple[Array, ...]:
    return (p - lr * g,)


def sgd_momentum(
    p: Array, g: Array, slots: tuple[Array, ...], t: Array, lr: float
) -> tuple[Array, ...]:
    m = 0.9 * slots[0] + g
    return p - lr * m, m


def adam(p: Array, g: Array, slots: tuple[Array, ...], t: Array, lr: float) -> tuple[Array, ...]:
    m, v = 0.9 * slots[0] + 0.1 * g, 0.999 * slots[1] + 0.001 * g * g
    correction = jnp.sqrt(1 - 0.999**t)
    return p - (lr / (1 - 0.9**t)) * m / (jnp.sqrt(v) / correction + 1e-8), m, v


def adamw(p: Array, g: Array, slots: tuple[Array, ...], t: Array, lr: float) -> tuple[Array, ...]:
    return adam(p * (1 - lr * 0.01), g, slots, t, lr)


UPDATES = {"sgd": (sgd, 0), "sgd-m": (sgd_momentum, 1), "adam": (adam, 2), "adamw": (adamw, 2)}


def jit_step(model: Module, optimizer: str, lr: float) -> Callable[..., Any]:
    """(state, x, y) -> (loss, state), jitted, with the old state's memory given up for the new."""
    update, _ = UPDATES[optimizer]

    def loss_of(params: Tree, buffers: Tree, x: Array, y: Array) -> tuple[Array, Tree]:
        image = x.transpose(0, 2, 3, 1) if x.ndim == 4 else x
        logits, new_buffers = apply(model, {**params, **buffers}, image)
        return cross_entropy(logits, y), new_buffers

    def step(state: Any, x: Array, y: Array) -> Any:
        params, buffers, slots, t = state
        t = t + 1
        gradient = jax.value_and_grad(loss_of, has_aux=True)
        (loss, buffers), grads = gradient(params, buffers, x, y)
        new = {k: update(p, grads[k], slots[k], t, lr) for k, p in params.items()}
        params, slots = {k: v[0] for k, v in new.items()}, {k: v[1:] for k, v in new.items()}
        return loss, (params, buffers, slots, t)

    return jax.jit(step, donate_argnums=0)


def initial_state(model: Module, optimizer: str, weights: Tree) -> Any:
    """Parameters from `weights`, buffers as built, optimizer slots of zeros, step 0."""
    params = {k: jnp.asarray(v) for k, v in weights.items()}
    buffers = {k: jnp.asarray(v) for k, v in named(model, "buffer_names").items()}
    count = UPDATES[optimizer][1]
    slots = {k: tuple(jnp.zeros_like(p) for _ in range(count)) for k, p in params.items()}
    return params, buffers, slots, jnp.zeros((), jnp.float32)
