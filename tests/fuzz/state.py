"""Random programs over Python state, and random changes of that state between calls."""

from __future__ import annotations

import random
import types
from collections.abc import Callable
from operator import attrgetter
from typing import Any

import graphc
from graphc import nn
from graphc.errors import Unguarded

CALLS = 5
Change = tuple[str, Callable[[random.Random], None]]


class Plain:
    """An object with attributes, items of its own, a property and a method."""

    kind = 2.0

    def __init__(self, k: float) -> None:
        self.k = k
        self.flag = True
        self.items = [k, k + 1.0]
        self.table: dict[str, Any] = {"a": k, "b": k + 2.0}
        self.child: Any = None
        self.unread = 0.0

    @property
    def twice(self) -> float:
        return self.k * 2.0

    def scaled(self, x: Any) -> Any:
        return x * self.k

    def __getitem__(self, name: str) -> float:
        return float(self.table.get(name, 1.0))


class Heir(Plain):
    def scaled(self, x: Any) -> Any:
        return super().scaled(x) + self.kind


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = 2.0
        self.cfg = Plain(3.0)
        self.w = nn.Parameter(graphc.ones(3))
        self.parts = nn.ModuleList([nn.Identity(), nn.ReLU()])

    def forward(self, x: Any) -> Any:
        c = self.cfg
        for part in self.parts:
            x = part(x) * self.scale
        return x * self.w.detach() + c.k


class World:
    """The state of one program."""

    def __init__(self) -> None:
        self.plain: list[Any] = [Heir(2.0), Plain(3.0), Heir(1.5)]
        self.plain[0].child = self.plain[1]
        self.net = Net()
        self.options = types.SimpleNamespace(k=2.0, names=["k"])
        self.limit = 3
        self.count = 0


def other_dict(x: Plain, k: float) -> None:
    """An object's attributes in another dict."""
    x.__dict__ = {**vars(x), "k": k}


# Ways to read: from the world and a tensor, a tensor.
READS: dict[str, Callable[[World, Any], Any]] = {
    "attribute": lambda w, x: x * w.plain[0].k,
    "child": lambda w, x: x + w.plain[0].child.k,
    "property": lambda w, x: x * w.plain[1].twice,
    "method": lambda w, x: w.plain[0].scaled(x),
    "loop": lambda w, x: x * sum(p.k for p in w.plain),
    "items": lambda w, x: x + sum(w.plain[1].items),
    "item": lambda w, x: x * w.plain[1].items[0],
    "table": lambda w, x: x * w.plain[0].table["a"],
    "get": lambda w, x: x * w.plain[0].table.get("c", 1.0),
    "own item": lambda w, x: x * w.plain[2]["b"],
    "values": lambda w, x: x + max(w.plain[2].table.values()),
    "flag": lambda w, x: x * 2 if w.plain[0].flag else x * 3,
    "class": lambda w, x: x * w.plain[2].kind,
    "by name": lambda w, x: x * getattr(w.options, w.options.names[0]),
    "vars": lambda w, x: x * vars(w.options)["k"],
    "length": lambda w, x: x * len(w.plain),
    "limit": lambda w, x: x * 2 if w.count < w.limit else x * 5,
    "net": lambda w, x: w.net(x),
    "weight": lambda w, x: x + w.net.w.detach(),
    "mode": lambda w, x: x * 2 if w.net.training else x * 3,
    "copy": lambda w, x: x * [*w.plain[1].items, 7.0][-2],
    "equal": lambda w, x: x * 2 if w.plain[0].items == w.plain[1].items else x * 3,
    "member": lambda w, x: x * 2 if "c" in w.plain[0].table else x * 3,
    "by key": lambda w, x: x * max(w.plain, key=attrgetter("k")).items[0],
    "text": lambda w, x: x * len(f"{w.options}"),
    "trained": lambda w, x: x + trained(w.net, x),
}


def trained(net: Net, x: Any) -> Any:
    """The sum of a gradient that stays in the net."""
    net.w.grad = None
    ((x * net.w) ** 2).sum().backward()
    return net.w.grad.sum().to(x.dtype)


def number(r: random.Random) -> float:
    return r.choice([1.0, 2.0, 3.0, 0.5, r.randint(1, 9) / 2])


def some(w: World, r: random.Random) -> Any:
    return r.choice(w.plain)


CHANGES: dict[str, Callable[[World, random.Random], object]] = {
    "k": lambda w, r: setattr(some(w, r), "k", number(r)),
    "flag": lambda w, r: setattr(some(w, r), "flag", r.random() < 0.5),
    "item": lambda w, r: some(w, r).items.__setitem__(0, number(r)),
    "append": lambda w, r: some(w, r).items.append(number(r)),
    "items": lambda w, r: setattr(some(w, r), "items", [number(r), number(r)]),
    "table": lambda w, r: some(w, r).table.update({r.choice("abc"): number(r)}),
    "pop": lambda w, r: some(w, r).table.pop("c", None),
    "child": lambda w, r: setattr(w.plain[0], "child", some(w, r)),
    "object": lambda w, r: w.plain.__setitem__(2, Heir(number(r))),
    "more": lambda w, r: w.plain.append(Plain(number(r))),
    "own method": lambda w, r: setattr(w.plain[0], "scaled", lambda x: x * 9),
    "own class attribute": lambda w, r: setattr(w.plain[2], "kind", number(r)),
    "option": lambda w, r: setattr(w.options, "k", number(r)),
    "name": lambda w, r: (setattr(w.options, "m", number(r)), w.options.names.__setitem__(0, "m")),
    "limit": lambda w, r: setattr(w, "limit", r.randint(0, 8)),
    "count": lambda w, r: setattr(w, "count", w.count + 1),
    "scale": lambda w, r: setattr(w.net, "scale", number(r)),
    "config": lambda w, r: setattr(w.net.cfg, "k", number(r)),
    "parameter": lambda w, r: setattr(w.net, "w", nn.Parameter(graphc.ones(3) * number(r))),
    "in place": lambda w, r: w.net.w.data.mul_(number(r)),
    "dtype": lambda w, r: w.net.to(r.choice([graphc.float32, graphc.float64])),
    "data": lambda w, r: setattr(w.net.w, "data", graphc.ones(3).to(w.net.w.dtype) * number(r)),
    "strides": lambda w, r: setattr(w.net.w, "data", (graphc.arange(6.0) * number(r))[::2]),
    "shape": lambda w, r: setattr(w.net, "w", nn.Parameter(graphc.ones(r.choice([1, 3])))),
    "gradient": lambda w, r: setattr(w.net.w, "grad", graphc.ones_like(w.net.w)),
    "dict": lambda w, r: other_dict(some(w, r), number(r)),
    "part": lambda w, r: w.net.parts.append(nn.Identity()),
    "drop part": lambda w, r: len(w.net.parts) > 1 and w.net.parts.__delitem__(0),
    "forward": lambda w, r: setattr(w.net, "forward", lambda x: x * 11),
    "train": lambda w, r: w.net.train(r.random() < 0.5),
    "unread": lambda w, r: setattr(some(w, r), "unread", r.random()),
    "nothing": lambda w, r: None,
}


def run(seed: int) -> None:
    """One program, called between random changes; each call must be what plain Python gives."""
    r = random.Random(seed)
    names = r.sample(sorted(READS), r.randint(1, 4))
    counts = r.random() < 0.3
    worlds = World(), World()

    def program(w: World, x: Any) -> Any:
        if counts:
            w.count += 1
        for name in names:
            x = READS[name](w, x) * 0.5
        return x

    mine, plain = worlds
    step = graphc.compile(lambda x: program(mine, x))
    x = graphc.tensor([1.0, -2.0, 3.0])
    done: list[str] = []
    for _ in range(CALLS):
        expected = program(plain, x).tolist()
        try:
            got = step(x).tolist()
        except Unguarded:
            return
        assert got == expected, f"seed {seed}: reads {names}, changes {done}: {got} != {expected}"
        for name in r.choices(sorted(CHANGES), k=r.randint(0, 3)):
            done.append(name)
            state = r.getstate()
            CHANGES[name](mine, r)
            r.setstate(state)
            CHANGES[name](plain, r)
