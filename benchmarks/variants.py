"""One function per peer: build a net in that framework and return its training step.

Every peer gets the same treatment: the same cores (set by `worker.py`), denormals flushed, the
same weights and batch, and a whole step (zero_grad, forward, loss, backward, update) per call.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import nets

Facts = dict[str, float]

PROBE_SECONDS = 0.5


@dataclass
class Built:
    """A step that returns its loss once it is complete, and what else the framework can tell."""

    step: Callable[[], Any]
    facts: Callable[[], Facts] = field(default=dict)
    probes: Sequence[Callable[[], Facts]] = ()


# ---- graphc ------------------------------------------------------------------------------------


def graphc_compiled(net: nets.Net, threads: int) -> Built:
    import graphc

    model, optimizer, x, y = prepare(graphc, net, threads)
    step = graphc.compile(nets.train_step(graphc, model, optimizer, net.loss))

    def facts() -> Facts:
        memory = step.memory()
        return {
            "kernels": step.stats.kernels,
            "kernels_compiled": step.stats.kernels_compiled,
            "compile_seconds": step.stats.compile_seconds,
            "planned_mb": step.stats.peak_bytes / 1e6,
            "arena_mb": memory.arena_bytes / 1e6,
            "bound_mb": memory.bound_bytes / 1e6,
        }

    def batch_change() -> Facts:
        return graphc_batch_change(graphc, net, step)

    def python_cost() -> Facts:
        return graphc_python_cost(lambda: step(x, y))

    return Built(lambda: step(x, y), facts, [python_cost, batch_change])


def beside_kernels_ms(call: Callable[[], Any]) -> float:
    """What a call takes beside the kernels it runs."""
    from graphc.runtime.cpu.engine import ENGINES

    (engine,) = ENGINES
    before = engine.walked
    whole = elapsed_ms(call)
    return whole - (engine.walked - before) / engine.rate() * 1e3


def graphc_python_cost(call: Callable[[], Any]) -> Facts:
    """What a call takes beside its kernels, in microseconds: the median of many."""
    costs: list[float] = []
    end = time.perf_counter() + PROBE_SECONDS
    while len(costs) < 5 or time.perf_counter() < end:
        costs.append(beside_kernels_ms(call) * 1e3)
    return {"python_us": statistics.median(costs)}


def graphc_batch_change(graphc: Any, net: nets.Net, step: Any) -> Facts:
    """What the first call of a batch size not seen before takes beside its kernels, programs
    traced for it, and kernels compiled. (The kernels' own time is no part of it: that of two
    calls differs by more.)"""
    x, y = tensors(graphc, net, net.batch - net.batch // 4)
    stats = step.stats
    kernels, programs = stats.kernels_compiled, stats.programs
    return {
        "batch_change_ms": beside_kernels_ms(lambda: step(x, y)),
        "batch_change_programs": stats.programs - programs,
        "batch_change_kernels": stats.kernels_compiled - kernels,
    }


def graphc_eager(net: nets.Net, threads: int, double: bool = False) -> Built:
    import graphc

    model, optimizer, x, y = prepare(graphc, net, threads, double)
    step = nets.train_step(graphc, model, optimizer, net.loss)
    return Built(lambda: step(x, y))


# ---- torch -------------------------------------------------------------------------------------


def torch_eager(
    net: nets.Net, threads: int, double: bool = False, channels_last: bool = False
) -> Built:
    import torch

    model, optimizer, x, y = prepare(torch, net, threads, double)
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
        x = x.to(memory_format=torch.channels_last)
    step = nets.train_step(torch, model, optimizer, net.loss)
    return Built(lambda: step(x, y))


def torch_channels_last(net: nets.Net, threads: int) -> Built | None:
    if len(net.input_shape) != 3:
        return None  # the layout is one of images
    return torch_eager(net, threads, channels_last=True)


def torch_compile(net: nets.Net, threads: int) -> Built:
    """Forward with loss, and the optimizer step, each compiled: autograd runs between the two."""
    import torch

    model, optimizer, x, y = prepare(torch, net, threads)
    criterion = getattr(torch.nn.functional, net.loss)
    forward = torch.compile(lambda x, y: criterion(model(x), y))
    update = torch.compile(optimizer.step)

    def step() -> Any:
        optimizer.zero_grad()
        loss = forward(x, y)
        loss.backward()
        update()
        return loss

    return Built(step)


# ---- JAX ---------------------------------------------------------------------------------------


def jax_jit(net: nets.Net, threads: int) -> Built:
    """XLA takes its thread count from the affinity mask that `worker.py` has set."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    import jax
    import jax_namespace

    model = net.build(jax_namespace)
    shapes = {k: v.shape for k, v in jax_namespace.named(model, "parameter_names").items()}
    state = jax_namespace.initial_state(model, net.optimizer, nets.weights(shapes))
    jitted = jax_namespace.jit_step(model, net.optimizer, net.lr)
    x, y = (jax.numpy.asarray(a) for a in net.data())

    def step() -> Any:
        nonlocal state
        loss, state = jitted(state, x, y)
        jax.block_until_ready(state)
        return loss

    return Built(step)


# ---- shared ------------------------------------------------------------------------------------


def prepare(
    T: nets.Namespace, net: nets.Net, threads: int, double: bool = False
) -> tuple[Any, Any, Any, Any]:
    """Model with the shared weights, optimizer and batch, for a framework with PyTorch's names."""
    T.set_num_threads(threads)
    T.set_flush_denormal(True)  # before the thread pool starts: its threads inherit the mode
    model = net.build(T)
    nets.load_weights(T, model)
    x, y = tensors(T, net)
    if double:
        model = model.double()
        x = x if net.tokens else x.double()
    return model, nets.OPTIMIZERS[net.optimizer](T, model.parameters(), net.lr), x, y


def tensors(T: nets.Namespace, net: nets.Net, batch: int = 0) -> tuple[Any, Any]:
    x, y = net.data(batch)
    return T.from_numpy(x), T.from_numpy(y)


def elapsed_ms(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1e3


VARIANTS: dict[str, Callable[[nets.Net, int], Built | None]] = {
    "graphc": graphc_compiled,
    "graphc-eager": graphc_eager,
    "torch-eager": torch_eager,
    "torch-channels-last": torch_channels_last,
    "torch-compile": torch_compile,
    "jax": jax_jit,
}
REFERENCES: dict[str, Callable[[nets.Net, int], Built | None]] = {
    "torch-float64": lambda net, threads: torch_eager(net, threads, double=True),
    "graphc-float64": lambda net, threads: graphc_eager(net, threads, double=True),
}
