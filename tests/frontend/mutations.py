"""What may happen to a model between two calls of a compiled step, and the steps it happens to.

Run as a script it plays every mutation against one kind of step, eagerly and compiled, and prints a
line for each: a process of its own, because what goes wrong here is memory.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import graphc
from graphc import nn, optim
from graphc.errors import GraphcError
from graphc.frontend.tensor import Tensor


class Net(nn.Module):
    """Weights of two shapes, a square one, two that may be tied, a convolution, buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm1d(12)
        self.square = nn.Linear(12, 12)
        self.twin = nn.Linear(12, 12, bias=False)
        self.last = nn.Linear(12, 5)
        self.register_buffer("scale", graphc.ones(5))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv(x.reshape(-1, 1, 2, 2)).reshape(-1, 12))
        return self.last(self.twin(self.square(y).tanh()).tanh()) * self.scale


class World:
    """A net, its optimizer, and a step: built alike twice, one is compiled."""

    def __init__(self, kind: str, wrap: Callable[[Any], Any]) -> None:
        graphc.manual_seed(0)
        self.net = Net()
        opts = {"adam": lambda p: optim.Adam(p, lr=0.01, eps=0.01)}
        make = opts.get(kind, lambda p: optim.SGD(p, lr=0.05, momentum=0.9))
        self.opt = make(self.net.parameters())
        self.net_call = wrap(self.net) if kind == "module" else self.net
        own = {"module": self.eager_backward}.get(kind)
        self.step = own or wrap({"forward": self.forward}.get(kind, self.train))

    def forward(self, x: Tensor) -> Tensor:
        with graphc.no_grad():
            return self.net(x)

    def train(self, x: Tensor) -> Tensor:
        self.opt.zero_grad()
        loss = (self.net(x) ** 2).mean()
        loss.backward()
        self.opt.step()
        return loss

    def eager_backward(self, x: Tensor) -> Tensor:
        self.opt.zero_grad()
        loss = (self.net_call(x) ** 2).mean()
        loss.backward()
        self.opt.step()
        return loss

    def batch(self, k: int) -> Tensor:
        x = np.random.default_rng(k).standard_normal((6, 4))
        return graphc.tensor(x).to(self.net.last.weight.dtype)

    def call(self, k: int) -> list[Any]:
        """What the step returned, and all it left."""
        try:
            out = self.step(self.batch(k))
        except GraphcError as e:
            return [type(e).__mro__[1].__name__]
        state = [*self.net.parameters(), *self.net.buffers()]
        grads = [p.grad for p in self.net.parameters()]
        slots = [v for s in self.opt.state.values() for v in s.values()]
        return [out, *state, *grads, *slots]


Mutation = Callable[[World], object]


def _data(w: World, value: Callable[[Tensor], Tensor]) -> None:
    w.net.square.weight.data = value(w.net.square.weight.data)


def _grads(w: World, value: Callable[[Tensor], Tensor]) -> None:
    for p in w.net.parameters():
        if p.grad is not None:
            p.grad = value(p.grad)


def _grad_data(w: World, value: Callable[[Tensor], Tensor]) -> None:
    for p in w.net.parameters():
        if p.grad is not None:
            p.grad.data = value(p.grad.data)


def _tie(w: World) -> None:
    w.net.twin.weight.data = w.net.square.weight.data


def _untie(w: World) -> None:
    w.net.twin.weight.data = w.net.twin.weight.data.clone() * 2


def _same_parameter(w: World) -> None:
    w.net.twin.weight = w.net.square.weight


def _wider(w: World) -> None:
    """Another number of classes: weights, gradients and optimizer state of other shapes."""
    graphc.manual_seed(1)
    w.net.last = nn.Linear(12, 7).to(w.net.last.weight.dtype)
    w.net.scale = graphc.full((7,), 2.0)
    w.opt = type(w.opt)(w.net.parameters(), lr=0.01)


def _data_of_other_shape(w: World) -> None:
    """The same Parameters, other shapes."""
    last = w.net.last
    last.weight.data, last.bias.data = graphc.ones(9, 12) * 0.1, graphc.ones(9)
    last.weight.grad = last.bias.grad = None
    w.net.scale = graphc.ones(9)
    w.opt.state.clear()


def _slots(w: World, value: Callable[[Tensor], Tensor]) -> None:
    for slots in w.opt.state.values():
        for name, x in slots.items():
            if isinstance(x, Tensor) and x.dim():
                slots[name] = value(x)


def _with_data(x: Tensor, value: Tensor) -> Tensor:
    x.data = value
    return x


def _reload(w: World, **options: Any) -> None:
    held = {k: v.clone() * 0.5 for k, v in w.net.state_dict().items()}
    w.net.load_state_dict(held, **options)


def _reload_double(w: World) -> None:
    held = {k: v.double() for k, v in w.net.state_dict().items()}
    w.net.load_state_dict(held, assign=True)


def _shared_grads(w: World) -> None:
    g = w.net.square.weight.grad
    w.net.twin.weight.grad = g


MUTATIONS: dict[str, Mutation] = {
    "nothing": lambda w: None,
    "double": lambda w: w.net.double(),
    "half_of_double": lambda w: (w.net.double(), w.net.float()),
    "bfloat16": lambda w: w.net.bfloat16(),
    "half": lambda w: w.net.half(),
    "double_without_grads": lambda w: (w.opt.zero_grad(), w.net.double()),
    "data_copy": lambda w: _data(w, lambda x: x.clone() * 2),
    "data_transposed": lambda w: _data(w, lambda x: x.t()),
    "data_transposed_copy": lambda w: _data(w, lambda x: x.t().contiguous()),
    "data_of_view": lambda w: _data(w, lambda x: graphc.cat([x, x])[::2]),
    "data_strided": lambda w: _data(w, lambda x: graphc.stack([x, x], 2)[:, :, 1]),
    "data_double": lambda w: _data(w, lambda x: x.double()),
    "data_of_other": lambda w: _data(w, lambda x: w.net.last.weight.data[:1].expand(12, 12)),
    "data_other_shape": _data_of_other_shape,
    "another_head": _wider,
    "tied_by_data": _tie,
    "untied": _untie,
    "tied_by_parameter": _same_parameter,
    "new_parameter": lambda w: setattr(w.net.last, "weight", nn.Parameter(graphc.ones(5, 12))),
    "no_bias": lambda w: setattr(w.net.last, "bias", None),
    "buffer_replaced": lambda w: setattr(w.net, "scale", graphc.full((5,), 3.0)),
    "buffer_scalar": lambda w: setattr(w.net, "scale", graphc.full((1,), 3.0)),
    "buffer_double": lambda w: setattr(w.net, "scale", graphc.ones(5).double()),
    "buffer_data": lambda w: setattr(w.net.scale, "data", graphc.full((5,), 4.0)),
    "statistics_replaced": lambda w: setattr(w.net.norm, "running_mean", graphc.ones(12)),
    "grads_cleared": lambda w: w.opt.zero_grad(),
    "grads_zeroed": lambda w: w.opt.zero_grad(set_to_none=False),
    "grads_copied": lambda w: _grads(w, lambda g: g.clone()),
    "grads_transposed": lambda w: _grads(w, lambda g: g.t().clone().t() if g.dim() == 2 else g),
    "grads_of_views": lambda w: _grads(w, lambda g: graphc.stack([g, g])[1]),
    "grads_shared": _shared_grads,
    "grad_data": lambda w: _grad_data(w, lambda g: g.clone()),
    "grad_data_double": lambda w: _grad_data(w, lambda g: g.double()),
    "grad_data_transposed": lambda w: _grad_data(w, lambda g: g.t() if g.dim() == 2 else g),
    "grad_data_other_shape": lambda w: _grad_data(w, lambda g: g.reshape(-1)[:1]),
    "slots_copied": lambda w: _slots(w, lambda x: x.clone()),
    "slots_double": lambda w: _slots(w, lambda x: x.double()),
    "slots_data_double": lambda w: _slots(w, lambda x: _with_data(x, x.double())),
    "slots_transposed": lambda w: _slots(w, lambda x: x.t().clone().t() if x.dim() == 2 else x),
    "slots_cleared": lambda w: w.opt.state.clear(),
    "optimizer_reloaded": lambda w: w.opt.load_state_dict(w.opt.state_dict()),
    "reloaded": lambda w: _reload(w),
    "reloaded_by_assignment": lambda w: _reload(w, assign=True),
    "reloaded_double": _reload_double,
    "strides_looked_at": lambda w: [p.stride() for p in w.net.parameters()],
    "written_in_place": lambda w: w.net.square.weight.data.mul_(1.5),
    "frozen": lambda w: w.net.square.requires_grad_(False),
    "evaluating": lambda w: w.net.eval(),
}  # fmt: skip


def difference(a: Any, b: Any) -> str:
    if not isinstance(a, Tensor) or not isinstance(b, Tensor):
        return "" if a == b else f"{a} and {b}"
    if a.spec != b.spec:
        return f"{a.spec} and {b.spec}"
    x, y = (t.detach().double().numpy() for t in (a, b))
    loose = 0.05 if a.dtype.itemsize == 2 else 1e-4
    if np.allclose(x, y, rtol=loose, atol=loose, equal_nan=True):
        return ""
    return f"{a.spec} differs by {np.abs(x - y).max()}"


def played(kind: str, name: str) -> Iterator[str]:
    """What differs between eager and compiled, in two calls before and three after each of two."""
    worlds = [World(kind, lambda f: f), World(kind, graphc.compile)]
    for k in range(7):
        if k in (2, 4):
            for w in worlds:
                MUTATIONS[name](w)
        eager, compiled = (w.call(k) for w in worlds)
        if len(eager) != len(compiled):
            yield f"call {k}: {eager[0]} and {compiled[0]}"
            return
        found = [why for pair in zip(eager, compiled) if (why := difference(*pair))]
        if found:
            yield f"call {k}: {found[0]}"
            return


def main(kind: str, *names: str) -> None:
    for name in names or MUTATIONS:
        print(f"{name}: {'; '.join(played(kind, name)) or 'alike'}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
