"""Random functions over tensors, as Python source: views, in-place writes, numbers, gradients.

A line is written, run at once on small eager tensors, and kept if it runs; now and then one that
raises is kept as the last line, and then the compiled function must raise alike. Values come in
halves, so that sums and products of them are exact; what jumps (comparisons, floor, argmax) is
applied to those only, and all else stays of the size of 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import graphc
from graphc import Tensor
from graphc.errors import GraphcError
from graphc.ir.types import Array

SIZES = (1, 2, 3, 4, 5, 8)
MOST = 1e4  # in size: above it a value is not kept
KEEP_ERROR = 0.1
Dtype = str  # one of NumPy's letters: f float32, d float64, i int64, b bool


@dataclass
class Source:
    """A function while it is written."""

    rng: np.random.Generator
    arguments: dict[str, Array] = field(default_factory=dict)  # name to sample
    states: dict[str, Array] = field(default_factory=dict)  # tensors of the closure
    grad: set[str] = field(default_factory=set)  # arguments and states that need gradients
    twice: bool = False  # the last argument is the first tensor once more
    lines: list[str] = field(default_factory=list)
    env: dict[str, Any] = field(default_factory=dict)
    exact: set[str] = field(default_factory=set)
    ended: bool = False

    def text(self) -> str:
        """The function; what is returned is everything it named."""
        names = [n for n in self.env if isinstance(self.env[n], Tensor) and n[0] == "v"]
        body = [*self.lines, "" if self.ended else f"return ({', '.join([*names, ''])})"]
        head = f"def f({', '.join(self.arguments)}):"
        return "\n    ".join([head, *filter(None, body)]) + "\n"

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def among(self, n: int) -> int:
        return int(self.rng.integers(n))

    def one(self, *choices: str) -> str:
        return choices[self.among(len(choices))]

    def number(self) -> str:
        return self.one("2", "0.5", "-1.5", "1", "3", "0", "-2.0")

    def pick(self, test: Callable[[Tensor], bool] = lambda t: True, exact: bool = False) -> str:
        """A name whose tensor passes, the young ones more often; "" if there is none."""
        found = [n for n, t in self.env.items() if isinstance(t, Tensor) and test(t)]
        found = [n for n in found if n in self.exact] if exact else found
        return found[max(self.among(len(found)), self.among(len(found)))] if found else ""

    def define(self, expression: str, *names: str, exact: bool = True) -> None:
        """v7 = expression, exact if it is exact of exact operands."""
        name = f"v{len(self.env)}"
        if not self.run(f"{name} = {expression}"):
            return
        value = self.env[name]
        whole = not value.is_floating_point()
        if whole or (exact and all(n in self.exact for n in names)):
            self.exact.add(name)

    def write(self, line: str, target: str, *names: str, exact: bool = True) -> None:
        """A line that writes `target` in place, and so whatever shares its memory."""
        if self.run(line) and not (exact and all(n in self.exact for n in names)):
            storage = self.env[target].storage
            self.exact -= {n for n, t in self.env.items() if t.storage is storage}

    def run(self, line: str) -> bool:
        """Run a line on the samples and keep it, unless it fails or values grow too large."""
        if self.ended:
            return False
        before = {n: t.detach().numpy().copy() for n, t in self.env.items()}
        scope = {"graphc": graphc, "F": graphc.nn.functional, **self.env}
        try:
            exec(line, scope)
        except GraphcError:
            self.ended = self.chance(KEEP_ERROR)
            if self.ended:
                self.lines.append(line)
            return False
        self.env.update({n: t for n, t in scope.items() if isinstance(t, Tensor)})
        if any(_large(t) for t in self.env.values()):
            for n in list(self.env):
                if n not in before:
                    del self.env[n]
            for n, old in before.items():  # bypasses versions: the line is as if never run
                now = self.env[n].detach().numpy()
                if now.flags.writeable:  # else an expanded one: its elements have other names
                    np.copyto(now, old)
            return False
        self.lines.append(line)
        return True


def _large(t: Tensor) -> bool:
    a = t.detach().numpy()
    return bool(a.size and np.abs(np.nan_to_num(a.astype(np.float64), posinf=1e9)).max() > MOST)


def is_real(t: Tensor) -> bool:
    return t.is_floating_point()


def has_dims(t: Tensor) -> bool:
    return t.dim() > 0


# ---- kinds of lines ----------------------------------------------------------------------------


def view(s: Source, name: str) -> str:
    """An expression that views `name`: slices, turns and inserted dimensions."""
    t = s.env[name]
    rank = t.dim()
    forms = [name, f"{name}.unsqueeze({s.among(rank + 1)})", f"{name}.reshape(-1)"]
    if rank:
        k, n = s.among(rank), t.shape
        first = s.among(n[0]) if n[0] else 0
        forms += [f"{name}[{first}:]", f"{name}[::2]", f"{name}.t()" if rank <= 2 else name]
        forms += [f"{name}.transpose(0, {k})", f"{name}.flip({k})", f"{name}.squeeze()"]
        forms += [f"{name}[..., -1:]", f"{name}.unsqueeze(0).expand(2, {', '.join(['-1'] * rank)})"]
        if n[k]:
            start = s.among(n[k])
            forms.append(f"{name}.narrow({k}, {start}, {n[k] - start})")
            forms.append(f"{name}.select({k}, {start})")
    if rank == 2:
        forms.append(f"{name}.diagonal()")
    return forms[s.among(len(forms))]


def define_view(s: Source) -> None:
    if name := s.pick():
        s.define(view(s, name), name)


def operand(s: Source, name: str) -> tuple[str, tuple[str, ...]]:
    """A second operand: a number, the tensor itself, or another one that broadcasts."""
    t = s.env[name]
    if s.chance(0.35):
        return s.number(), ()
    if s.chance(0.2):
        return name, (name,)
    shape = tuple(t.shape)
    other = s.pick(lambda u: _broadcasts(tuple(u.shape), shape))
    return (other, (other,)) if other else (s.number(), ())


def _broadcasts(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    return all(m == n or 1 in (m, n) for m, n in zip(a[::-1], b[::-1]))


def arithmetic(s: Source) -> None:
    if name := s.pick():
        y, used = operand(s, name)
        x = view(s, name) if s.chance(0.2) else name
        op = s.one("+", "-", "*", "+", "-", "*", "/")
        s.define(
            f"{x} {op} {y}" if s.chance(0.8) else f"{y} {op} {x}", name, *used, exact=op != "/"
        )


def compare(s: Source) -> None:
    if name := s.pick(exact=True):
        y, used = operand(s, name)
        if all(n in s.exact for n in used):
            c = f"({name} {s.one('<', '<=', '==', '!=', '>')} {y})"
            other = s.pick(lambda t: t.shape == s.env[name].shape)
            s.define(f"graphc.where({c}, {other}, {s.number()})" if s.chance(0.6) else c, other)


def function(s: Source) -> None:
    if name := s.pick(is_real):
        jumps = ("floor()", "round()", "sign()", "ceil()")
        smooth = ("tanh()", "sigmoid()", "sin()", "cos()", "erf()", "tanh().exp()", "softmax(-1)")
        same = ("relu()", "abs()", "clamp(-1, 2)", "neg()", "clone()", "detach()", "contiguous()")
        if s.chance(0.4):
            s.define(f"{name}.{s.one(*same)}", name)
        elif s.chance(0.3) and (whole := s.pick(is_real, exact=True)):
            s.define(f"{whole}.{s.one(*jumps)}", whole)
        else:
            s.define(f"{name}.{s.one(*smooth)}", name, exact=False)


def reduction(s: Source) -> None:
    if name := s.pick(has_dims):
        t = s.env[name]
        k = s.among(t.dim())
        keep = s.one("", ", keepdim=True")
        if not t.is_floating_point() or s.chance(0.5):
            s.define(f"{name}.{s.one('sum', 'amax', 'amin', 'prod')}({k}{keep})", name, exact=False)
        elif s.chance(0.5):
            form = s.one(f"mean({k}{keep})", f"logsumexp({k})", f"var({k})", "sum()", "mean()")
            s.define(f"{name}.{form}", name, exact=False)
        elif whole := s.pick(has_dims, exact=True):
            s.define(f"{whole}.{s.one('argmax', 'argmin', 'cumsum', 'sum')}(0)", whole)


def join(s: Source) -> None:
    if name := s.pick(has_dims):
        t = s.env[name]
        other = s.pick(lambda u: u.shape == t.shape)
        s.define(
            f"graphc.{s.one('cat', 'stack')}([{name}, {other}], {s.among(t.dim())})", name, other
        )


def convert(s: Source) -> None:
    if name := s.pick():
        kind = s.one("float()", "double()", "float()", "long()", "bool()", "half().float()")
        if name in s.exact or kind in ("float()", "double()"):
            s.define(f"{name}.{kind}", name, exact=kind != "half().float()")


def product(s: Source) -> None:
    if name := s.pick(lambda t: is_real(t) and t.dim() == 2):
        t = s.env[name]
        fits = s.pick(lambda u: u.dim() == 2 and u.shape[0] == t.shape[1] and u.dtype is t.dtype)
        s.define(f"{name} @ {fits or name + '.t()'}", name, *filter(None, [fits]), exact=False)


def index(s: Source) -> None:
    if name := s.pick(has_dims):
        n = s.env[name].shape[0]
        rows = [s.among(n) if n else 0 for _ in range(3)]
        form = s.one(
            f"{name}[graphc.tensor({rows})]", f"{name}.index_select(0, graphc.tensor({rows}))"
        )
        s.define(form, name)


def in_place(s: Source) -> None:
    """A write to a tensor or to a view of it, by operator, method or assignment."""
    name = s.pick()
    if not name:
        return
    target = view(s, name) if s.chance(0.4) else name
    y, used = operand(s, name)
    simple = s.one("add_", "sub_", "mul_", "copy_") if used else s.one("add_", "mul_", "fill_")
    forms = [f"{target}.{simple}({y})", f"{name}[...] = {y}", f"{name}[0] = {s.number()}",
             f"{name}[..., :1] += {s.number()}", f"{name}.zero_()", f"{name}[1:] = {name}[:-1]",
             f"{name}.sub_({name})" if name in s.states else f"{name} *= {y}"]  # fmt: skip
    if s.env[name].is_floating_point():
        forms += [f"{target}.clamp_(-1, 1)", f"{target}.relu_()", f"{target}.neg_()"]
    if name in s.exact:
        forms.append(f"{name}[{name} > 0] = {s.number()}")
    line = forms[s.among(len(forms))]
    s.write(line, name, name, *used)


def drop(s: Source) -> None:
    """Random numbers: eager and compiled draw the same."""
    if name := s.pick(is_real):
        kind = s.one("F.dropout({}, 0.5)", "graphc.rand_like({})", "{} + graphc.randn(1)")
        s.define(kind.format(name), name, exact=False)


KINDS: tuple[tuple[Callable[[Source], None], int], ...] = (
    (define_view, 20), (arithmetic, 16), (compare, 6), (function, 10), (reduction, 8), (join, 5),
    (convert, 5), (product, 4), (index, 4), (in_place, 18), (drop, 2),
)  # fmt: skip


def sample(rng: np.random.Generator, like: Array) -> Array:
    """Halves between -2 and 2, integers, or truth values."""
    halves = rng.integers(-4, 5, like.shape) / 2
    return np.asarray(np.floor(halves) if like.dtype.kind == "i" else halves).astype(like.dtype)


def write(seed: int) -> Source:
    """The function of `seed`."""
    rng = np.random.default_rng(seed)
    s = Source(rng)
    for k in range(1 + s.among(3)):
        _new(s, s.arguments, f"x{k}")
    for k in range(s.among(3)):
        _new(s, s.states, f"s{k}")
    if s.chance(0.3):
        s.twice = True
        s.arguments["same"] = s.arguments["x0"]
        s.env["same"] = s.env["x0"]
        s.exact.add("same")
    weights = np.array([w for _, w in KINDS]) / sum(w for _, w in KINDS)
    for _ in range(3 + s.among(9)):
        KINDS[int(rng.choice(len(KINDS), p=weights))][0](s)
    if s.grad:
        _backward(s)
    return s


def _new(s: Source, group: dict[str, Array], name: str) -> None:
    shape = tuple(int(n) for n in s.rng.choice(SIZES, s.among(4)))
    like = np.zeros(shape, s.one("f4", "f4", "f4", "f4", "f8", "i8", "?"))
    group[name] = sample(s.rng, like)
    needs = s.chance(0.4) and like.dtype.kind == "f"
    s.env[name] = graphc.tensor(group[name], requires_grad=needs)
    s.exact.add(name)
    if needs:
        s.grad.add(name)


def _backward(s: Source) -> None:
    """A loss over some of the values, and its gradients into the leaves."""
    names = [n for n, t in s.env.items() if t.requires_grad and n[0] == "v"]
    if names:
        chosen = {names[s.among(len(names))] for _ in range(2)}
        s.run(f"({' + '.join(f'(({n}) * 0.5).tanh().sum()' for n in sorted(chosen))}).backward()")
