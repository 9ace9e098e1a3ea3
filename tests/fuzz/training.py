"""Random training steps, and random changes between their calls: of arguments (size, dtype, order
in memory, shared memory), parameters, modules, optimizers and what hangs on them.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import graphc
import graphc.nn.functional as F
from graphc import nn, optim
from graphc.errors import GraphcError, InternalError

CALLS = 5
WIDTH = 4
FUNCTIONS = (F.relu, F.gelu, F.silu, graphc.tanh)
DTYPES = (graphc.float32, graphc.float64, graphc.bfloat16)
OPTIMIZERS: tuple[Callable[[Any], optim.Optimizer], ...] = (
    lambda p: optim.SGD(p, lr=0.1),
    lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    # A large eps: gradients that are nothing but rounding must not become whole steps.
    lambda p: optim.AdamW(p, lr=0.01, eps=1e-2),
    lambda p: optim.Adam(p, lr=0.01, eps=1e-2, amsgrad=True),
    lambda p: optim.RMSprop(p, lr=0.01, eps=1e-2, momentum=0.5),
)


class Block(nn.Module):
    """Images to rows; every member may be changed, replaced or removed."""

    def __init__(self, r: random.Random) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, WIDTH, 3, padding=1, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(WIDTH)
        self.act = r.choice(FUNCTIONS)
        self.drop = nn.Dropout(0.25)
        self.head = nn.Linear(WIDTH, WIDTH)
        self.last = nn.Linear(WIDTH, WIDTH, bias=False)
        self.register_buffer("shift", graphc.zeros(WIDTH))
        self.gain = 1.0

    def forward(self, x: Any) -> Any:
        x = self.act(self.norm(self.conv(x)))
        x = self.drop(x.mean((2, 3))) * self.gain + self.shift
        return self.last(self.act(self.head(x)))


class World:
    """All that one step may read and write."""

    def __init__(self, seed: int) -> None:
        r = random.Random(seed)
        graphc.manual_seed(seed)
        self.net = Block(r)
        self.other = nn.Parameter(graphc.ones(WIDTH))
        self.opt = r.choice(OPTIMIZERS)(self.net.parameters())
        self.clip: float | None = 1.0
        self.weight = 1.0
        self.mean: Any = None
        self.seen: dict[str, Any] = {"n": 0}
        self.log: list[Any] = []
        self.hooks: list[Any] = []

    def tensors(self) -> Iterator[tuple[str, Any]]:
        """All that must agree after each call."""
        for name, p in [*self.net.named_parameters(), ("other", self.other)]:
            yield name, p
            yield f"{name}.grad", p.grad
        yield from self.net.named_buffers()
        for k, state in enumerate(self.opt.state.values()):
            yield from ((f"state {k} {name}", v) for name, v in sorted(state.items()))
        yield "mean", self.mean
        yield from ((f"log {k}", v) for k, v in enumerate(self.log))
        yield "random", graphc.get_rng_state()


# ---- what a step is made of ---------------------------------------------------------------------


def clip(w: World) -> None:
    if w.clip is not None:
        nn.utils.clip_grad_norm_(w.net.parameters(), w.clip)


def average(w: World, loss: Any) -> None:
    loss = loss.detach().float()
    w.mean = loss if w.mean is None else w.mean * 0.5 + loss * 0.5


def count(w: World) -> None:
    w.seen["n"] += 1


def freeze(w: World) -> None:
    with graphc.no_grad():
        w.net.head.weight.clamp_(-w.weight, w.weight)


def shifted(w: World, out: Any) -> None:
    w.net.shift.mul_(0.9).add_(out.detach().mean(0).to(w.net.shift.dtype), alpha=0.1)


LOSSES: dict[str, Callable[[World, Any, Any], Any]] = {
    "squares": lambda w, out, y: F.mse_loss(out, y),
    "classes": lambda w, out, y: F.cross_entropy(out, y.argmax(1)),
    "weighted": lambda w, out, y: (F.l1_loss(out, y, reduction="none") * w.weight).sum(),
    "smooth": lambda w, out, y: F.smooth_l1_loss(out, y) + w.net.last.weight.pow(2).sum() * 0.01,
    "other": lambda w, out, y: ((out - y) * w.other.to(out.dtype)).pow(2).mean(),
}
AFTER: dict[str, Callable[[World, Any, Any], object]] = {
    "clip": lambda w, out, loss: clip(w),
    "average": lambda w, out, loss: average(w, loss),
    "count": lambda w, out, loss: count(w),
    "log": lambda w, out, loss: w.log.append(loss.detach()),
    "clamp": lambda w, out, loss: freeze(w),
    "buffer": lambda w, out, loss: shifted(w, out),
    "halve": lambda w, out, loss: [p.grad.mul_(0.5) for p in w.net.parameters()
                                   if p.grad is not None],
}  # fmt: skip


# ---- what changes between calls -----------------------------------------------------------------


def group(w: World, r: random.Random) -> dict[str, Any]:
    return r.choice(w.opt.param_groups)


def weight(w: World, r: random.Random) -> Any:
    return r.choice(list(w.net.parameters()))


def add_group(w: World, r: random.Random) -> None:
    if all(w.other is not p for g in w.opt.param_groups for p in g["params"]):
        w.opt.add_param_group({"params": [w.other], "lr": 0.01 * r.randint(1, 9)})


def drop_parameter(w: World, r: random.Random) -> None:
    params = group(w, r)["params"]
    if len(params) > 1:
        w.opt.state.pop(params.pop(r.randrange(len(params))), None)


def values(t: Any, r: random.Random) -> Any:
    """New values of t's type and size."""
    rng = np.random.default_rng(r.randrange(1 << 30))
    return graphc.tensor(rng.standard_normal(tuple(t.shape)) * 0.5).to(t.dtype)


def replace(w: World, r: random.Random) -> None:
    """A parameter that the optimizer does not know."""
    m = r.choice([w.net.conv, w.net.head, w.net.last])
    m.weight = nn.Parameter(values(m.weight, r))


def turned(w: World, r: random.Random) -> None:
    """A weight whose memory lies the other way round."""
    p = r.choice([w.net.head, w.net.last]).weight
    p.data = values(p, r).t().contiguous().t()


def tie(w: World, r: random.Random) -> None:
    w.net.last.weight = w.net.head.weight


def wider(w: World, r: random.Random) -> None:
    inner = r.choice((2, 4, 7))
    dtype = w.net.head.weight.dtype
    w.net.head, w.net.last = nn.Linear(WIDTH, inner), nn.Linear(inner, WIDTH, bias=False)
    for m in (w.net.head, w.net.last):
        for p in m.to(dtype).parameters():
            p.data = values(p, r)


def hook(w: World, r: random.Random) -> None:
    if w.hooks and r.random() < 0.5:
        w.hooks.pop().remove()
        return
    factor = 1.0 + r.randint(1, 4)
    scale: Callable[..., Any] = lambda *xs: xs[-1] * factor  # noqa: E731
    on_weight = r.random() < 0.5
    target = w.net.head.weight.register_hook if on_weight else w.net.head.register_forward_hook
    w.hooks.append(target(scale))


def reloaded(w: World, r: random.Random) -> None:
    state = copy.deepcopy(w.net.state_dict()), copy.deepcopy(w.opt.state_dict())
    w.net.load_state_dict(state[0])
    w.opt.load_state_dict(state[1])


def in_place(w: World, r: random.Random) -> None:
    with graphc.no_grad():
        weight(w, r).mul_(0.5)


CHANGES: dict[str, Callable[[World, random.Random], object]] = {
    "lr": lambda w, r: group(w, r).__setitem__("lr", 0.01 * r.randint(1, 9)),
    "decay": lambda w, r: group(w, r).__setitem__("weight_decay", r.choice((0.0, 0.1))),
    "add group": add_group,
    "drop parameter": drop_parameter,
    "optimizer": lambda w, r: setattr(w, "opt", r.choice(OPTIMIZERS)(w.net.parameters())),
    "forget": lambda w, r: w.opt.state.clear(),
    "reload": reloaded,
    "clip": lambda w, r: setattr(w, "clip", r.choice((None, 0.1, 2.0))),
    "weight": lambda w, r: setattr(w, "weight", r.choice((0.5, 1.0, 2))),
    "gain": lambda w, r: setattr(w.net, "gain", r.choice((0.5, 1.0, 2))),
    "function": lambda w, r: setattr(w.net, "act", r.choice(FUNCTIONS)),
    "mode": lambda w, r: w.net.train(r.random() < 0.5),
    "mode of a part": lambda w, r: w.net.norm.train(r.random() < 0.5),
    "momentum": lambda w, r: setattr(w.net.norm, "momentum", r.choice((0.1, 0.5, None))),
    "drop": lambda w, r: setattr(w.net.drop, "p", r.choice((0.0, 0.25, 0.5, 1.0))),
    "frozen": lambda w, r: weight(w, r).requires_grad_(r.random() < 0.3),
    "dtype": lambda w, r: w.net.to(r.choice(DTYPES)),
    "in place": in_place,
    "data": lambda w, r: (p := weight(w, r)) is None or setattr(p, "data", values(p, r)),
    "replaced": replace,
    "turned": turned,
    "tied": tie,
    "width": wider,
    "channels last": lambda w, r: w.net.to(memory_format=graphc.channels_last),
    "buffer": lambda w, r: setattr(w.net, "shift", values(w.net.shift, r)),
    "norm": lambda w, r: setattr(w.net, "norm", nn.Identity()),
    "hook": hook,
    "gradient": lambda w, r: (p := weight(w, r)) is None or setattr(p, "grad", values(p, r)),
    "no gradients": lambda w, r: w.opt.zero_grad(set_to_none=r.random() < 0.5),
    "copied": lambda w, r: setattr(w, "net", copy.deepcopy(w.net)),
    "mean": lambda w, r: setattr(w, "mean", None),
    "log": lambda w, r: w.log.clear(),
    "nothing": lambda w, r: None,
}

Pair = tuple[Any, Any]
ARGUMENTS: dict[str, Callable[[Any, Any], Pair]] = {
    "plain": lambda x, y: (x, y),
    "channels last": lambda x, y: (x.contiguous(memory_format=graphc.channels_last), y),
    "turned": lambda x, y: (
        x.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0),
        y.t().clone().t(),
    ),
    "parts": lambda x, y: (graphc.cat([x, x], 3)[..., ::2], graphc.cat([y, y], 1)[:, WIDTH:]),
    "backwards": lambda x, y: (x.flip(0), y.flip(1)),
    "expanded": lambda x, y: (x[:1].expand(x.shape), y[:1].expand(y.shape)),
    "shared": lambda x, y: (x, x.reshape(-1)[: y.numel()].view(y.shape)),
    "offset": lambda x, y: (graphc.cat([x[:1], x])[1:], graphc.cat([y[:1], y])[1:]),
    "leaf": lambda x, y: (x.requires_grad_(), y),
    "derived": lambda x, y: (x.requires_grad_() * 2, y),
    "whole": lambda x, y: (x.round(), y.round()),
}


def arguments(r: random.Random, dtype: graphc.dtype) -> Callable[[], Pair]:
    """Fresh arguments, equal at each call."""
    kind, n, side = r.choice(sorted(ARGUMENTS)), r.choice((1, 2, 3, 8, 17)), r.choice((3, 4, 6))
    seed = r.randrange(1 << 30)

    def make() -> Pair:
        rng = np.random.default_rng(seed)
        x, y = rng.standard_normal((n, 2, side, side)), rng.standard_normal((n, WIDTH))
        return ARGUMENTS[kind](graphc.tensor(x).to(dtype), graphc.tensor(y).to(dtype))

    return make


# ---- one sequence -------------------------------------------------------------------------------


def program(r: random.Random) -> tuple[list[str], Callable[[World, Any, Any], Any]]:
    """What happens in a step, and the step."""
    loss_name = r.choice(sorted(LOSSES))
    after = r.sample(sorted(AFTER), r.randint(0, 3))
    accumulates = r.random() < 0.2

    def step(w: World, x: Any, y: Any) -> Any:
        if not accumulates:
            w.opt.zero_grad()
        out = w.net(x)
        loss = LOSSES[loss_name](w, out, y)
        loss.backward()
        for name in after:
            AFTER[name](w, out, loss)
        w.opt.step()
        return out.detach(), loss.detach()

    return [loss_name, *after], step


def outcome(step: Callable[..., Any], make: Callable[[], Pair], seed: int) -> Any:
    """Results and the gradient of the argument, or the error."""
    graphc.manual_seed(seed)
    x, y = make()
    try:
        out = step(x, y)
    except (GraphcError, RuntimeError, ValueError, TypeError, IndexError) as e:
        return e
    return *out, x.grad if x.is_leaf else None


def differs(name: str, a: Any, b: Any) -> str:
    """Why `a` is not what eager mode has, `b`, or nothing."""
    if not isinstance(b, graphc.Tensor) or not isinstance(a, graphc.Tensor):
        return "" if type(a) is type(b) and a == b else f"{name}: {a!r}, eager {b!r}"
    if (a.dtype, a.shape, a.requires_grad) != (b.dtype, b.shape, b.requires_grad):
        return f"{name}: {a.dtype} {a.shape} {a.requires_grad}, " \
            f"eager {b.dtype} {b.shape} {b.requires_grad}"  # fmt: skip
    found, want = (t.detach().double().numpy() for t in (a, b))
    near = 0.1 if b.dtype is graphc.bfloat16 else 1e-3
    scale = float(np.abs(want[np.isfinite(want)]).max(initial=1e-3))
    if not np.allclose(found, want, rtol=near, atol=near * scale, equal_nan=True):
        return f"{name}: {found.ravel()[:6]}, eager {want.ravel()[:6]}"
    return ""


def run(seed: int) -> str:
    """One step, called between random changes; what refused it, or nothing."""
    r = random.Random(seed)
    made, body = program(r)
    mine, plain = World(seed), World(seed)
    step = graphc.compile(lambda x, y: body(mine, x, y))
    done: list[str] = []
    for call in range(CALLS):
        make = arguments(r, plain.net.conv.weight.dtype)
        expected = outcome(lambda x, y: body(plain, x, y), make, seed + call)
        got = outcome(step, make, seed + call)
        if isinstance(expected, Exception) or isinstance(got, Exception):
            if isinstance(got, InternalError):
                raise got
            if isinstance(got, GraphcError) and not isinstance(got, type(expected)):
                return f"{getattr(got, 'code', '')} {str(got).splitlines()[0]}"
            why = f"seed {seed}: {made}, changes {done}: {got!r}, eager {expected!r}"
            assert type(got) is type(expected), why
            return ""
        pairs = [(f"result {k}", a, b) for k, (a, b) in enumerate(zip(got, expected))]
        pairs += [(n, a, b) for (n, a), (_, b) in zip(mine.tensors(), plain.tensors(), strict=True)]
        wrong = [why for row in pairs if (why := differs(*row))]
        assert not wrong, f"seed {seed}: {made}, call {call}, changes {done}: {wrong[:4]}"
        for name in r.choices(sorted(CHANGES), k=r.choice((0, 0, 1, 1, 2, 3))):
            done.append(name)
            state = r.getstate()
            CHANGES[name](mine, r)
            r.setstate(state)
            CHANGES[name](plain, r)
        done.append("|")
    return ""
