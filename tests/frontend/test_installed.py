"""State that an installed package keeps to itself: its globals, counters and caches, in a step."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import graphc
from graphc.errors import Unguarded, Untraceable
from graphc.frontend.step.python.words import layout
from tests.libraries import library


class Case(NamedTuple):
    """A package's source, and what others do to it before call k; how many programs it takes."""

    source: str
    change: Callable[[Any, int], Any] = lambda lib, k: None
    programs: int = 3
    kept: Callable[[Any], Any] = lambda lib: None


def sets(name: str) -> Callable[[Any, int], Any]:
    return lambda lib, k: setattr(lib, name, float(k)) if k in (2, 4) else None


def of(name: str, attribute: str) -> Callable[[Any, int], Any]:
    def change(lib: Any, k: int) -> None:
        if k in (2, 4):
            setattr(getattr(lib, name), attribute, float(k))

    return change


CASES: dict[str, Case] = {
    "a number": Case("S = 1.0\ndef f(x): return x * S", sets("S")),
    "a flag": Case(
        "S = False\ndef f(x): return x * (2 if S else 3)",
        lambda lib, k: setattr(lib, "S", k >= 3), 2,
    ),
    "a text": Case(
        "S = 'a'\ndef f(x): return x * (2 if S == 'a' else 3)",
        lambda lib, k: setattr(lib, "S", "ab"[k % 2]), 2,
    ),
    "a member of an enum": Case(
        "import enum\nclass E(enum.Enum):\n  A = 1\n  B = 2\nS = E.A\n"
        "def f(x): return x * S.value",
        lambda lib, k: setattr(lib, "S", lib.E.B if k > 2 else lib.E.A), 2,
    ),
    "a tuple": Case(
        "S = (1, 2)\ndef f(x): return x * S[1]",
        lambda lib, k: setattr(lib, "S", (1, 5)) if k == 3 else None, 2,
    ),
    "a counter": Case(
        "n = 0\ndef f(x):\n  global n\n  n += 1\n  return x * n", programs=1, kept=lambda lib: lib.n
    ),
    "a counter that nobody reads": Case(
        "n = 0\ndef f(x):\n  global n\n  n += 1\n  return x * 2", programs=1, kept=lambda lib: lib.n
    ),
    "a counter of a closure": Case(
        "def make():\n  n = 0\n  def f(x):\n    nonlocal n\n    n += 1\n    return x * n\n"
        "  return f\nf = make()",
        programs=1,
    ),
    "a counter of a configuration": Case(
        "class Cfg: pass\ncfg = Cfg()\ncfg.n = 0\ndef f(x):\n  cfg.n += 1\n  return x * 2",
        programs=1, kept=lambda lib: lib.cfg.n,
    ),
    "a counter of a class": Case(
        "class C:\n  n = 0\n  @classmethod\n  def tick(cls):\n    cls.n += 1\n    return cls.n\n"
        "def f(x): return x * C.tick()",
        kept=lambda lib: lib.C.n,
    ),
    "a class's number": Case("class C: s = 2.0\ndef f(x): return x * C.s", of("C", "s")),
    "an inherited number": Case(
        "class B: s = 2.0\nclass C(B): pass\ndef f(x): return x * C.s", of("B", "s")
    ),
    "a metaclass's number": Case(
        "class M(type): s = 2.0\nclass C(metaclass=M): pass\ndef f(x): return x * C.s", of("M", "s")
    ),
    "an object's number": Case(
        "class C: s = 2.0\nc = C()\ndef f(x): return x * c.s", of("c", "s")
    ),
    "an object behind a list": Case(
        "class C: s = 2.0\nall = [C()]\nc = all[0]\ndef f(x):\n  for o in all: x = x * o.s\n"
        "  return x",
        of("c", "s"),
    ),
    "a slot": Case(
        "class C: __slots__ = ('s',)\nc = C()\nc.s = 1.0\ndef f(x): return x * c.s", of("c", "s")
    ),
    "a property": Case(
        "class C:\n  _s = 1.0\n  @property\n  def s(self): return self._s\nc = C()\n"
        "def f(x): return x * c.s",
        of("c", "_s"),
    ),
    "behind a __getattribute__": Case(
        "class C:\n  def __init__(self): self.s = 1.0\n"
        "  def __getattribute__(self, name): return object.__getattribute__(self, name)\n"
        "c = C()\ndef f(x): return x * c.s",
        of("c", "s"),
    ),
    "by getattr": Case(
        "class C: s = 1.0\nc = C()\ndef f(x): return x * getattr(c, 's')", of("c", "s")
    ),
    "a function's attribute": Case(
        "def g(x): return x * g.s\ng.s = 1.0\ndef f(x): return g(x)", of("g", "s")
    ),
    "defaults": Case(
        "def g(x, s=1.0): return x * s\ndef f(x): return g(x)",
        lambda lib, k: setattr(lib.g, "__defaults__", (5.0,)) if k == 3 else None, 2,
    ),
    "a function that is replaced": Case(
        "def g(x): return x * 2\ndef f(x): return g(x)",
        lambda lib, k: setattr(lib, "g", lambda x: x * 7) if k == 3 else None, 2,
    ),
    "a method that is replaced": Case(
        "class C:\n  def g(self, x): return x * 2\nc = C()\ndef f(x): return c.g(x)",
        lambda lib, k: setattr(lib.C, "g", lambda self, x: x * 7) if k == 3 else None, 2,
    ),
    "a dict": Case(
        "d = {'s': 1.0}\ndef f(x): return x * d['s']",
        lambda lib, k: lib.d.update(s=float(k)) if k in (2, 4) else None,
    ),
    "a cache by shape": Case(
        "cache = {}\ndef f(x):\n  k = tuple(x.shape)\n"
        "  if k not in cache: cache[k] = graphc.ones(k) * 2\n  return x * cache[k]",
        lambda lib, k: lib.cache[2,].mul_(3) if k == 4 else None, 2,
        lambda lib: lib.cache[2,].tolist(),
    ),
    "a mask made at the first call": Case(
        "mask = None\ndef f(x):\n  global mask\n  if mask is None: mask = graphc.arange(2.0)\n"
        "  return x * mask",
        lambda lib, k: lib.mask.add_(1), 2,
    ),
    "a mean that goes on": Case(
        "mean = None\ndef f(x):\n  global mean\n"
        "  mean = x if mean is None else mean * 0.5 + x * 0.5\n  return x * mean",
        programs=2, kept=lambda lib: lib.mean.tolist(),
    ),
    "a list that grows": Case(
        "seen = []\ndef f(x):\n  seen.append(x.shape[0])\n  return x * 2",
        programs=1, kept=lambda lib: lib.seen,
    ),
    "a context variable": Case(
        "import contextvars\nv = contextvars.ContextVar('v', default=1.0)\n"
        "def f(x): return x * v.get()",
        lambda lib, k: lib.v.set(5.0) if k == 3 else None, 2,
    ),
    "the environment": Case(
        "import os\ndef f(x): return x * float(os.environ.get('GRAPHC_TEST', '1'))",
        lambda lib, k: os.environ.update(GRAPHC_TEST="5" if k in (3, 4) else "2"), 3,
    ),
    "a flag that is set meanwhile": Case(
        "on = False\ndef f(x):\n  global on\n  on = True\n  try: return g(x)\n"
        "  finally: on = False\ndef g(x): return x * (2 if on else 3)",
        lambda lib, k: setattr(lib, "on", k == 3), 2, lambda lib: lib.on,
    ),
    "a warning given once": Case(
        "import warnings\nwarned = False\ndef f(x):\n  global warned\n  if not warned:\n"
        "    warnings.warn('once')\n    warned = True\n  return x * 2",
        programs=2, kept=lambda lib: lib.warned,
    ),
    "a level that decides": Case(
        "import logging\nlog = logging.Logger('a')\n"
        "def f(x): return x * (2 if log.isEnabledFor(20) else 3)",
        lambda lib, k: lib.log.setLevel(10 if k % 2 else 50), 3,
    ),
    "a log": Case(
        "import logging\nlog = logging.Logger('a', 50)\ndef f(x):\n  log.info('%s', 1)\n"
        "  return x * 2",
        programs=1,
    ),
    "a memo": Case(
        "import functools\n@functools.lru_cache\ndef g(n): return n * 2.0\n"
        "def f(x): return x * g(x.shape[0])",
        programs=1,
    ),
    "a clock that nobody reads": Case(
        "import time\ndef f(x):\n  began = time.time()\n  return x * 2", programs=1
    ),
    "a method of autograd": Case(
        "S = 2.0\nclass F(graphc.autograd.Function):\n  @staticmethod\n"
        "  def forward(ctx, x): return x * S\n"
        "  @staticmethod\n  def backward(ctx, g): return g * S\n"
        "def f(x):\n  x = x.detach().requires_grad_()\n  F.apply(x).sum().backward()\n"
        "  return x.grad",
        sets("S"),
    ),
    "a hook of a module": Case(
        "S = 2.0\nm = graphc.nn.Identity()\nm.register_forward_hook(lambda m, i, o: o * S)\n"
        "def f(x): return m(x)",
        sets("S"),
    ),
    "a hook of a tensor": Case(
        "S = 2.0\ndef f(x):\n  x = x.detach().requires_grad_()\n  y = x * 2\n"
        "  y.register_hook(lambda g: g * S)\n  y.sum().backward()\n  return x.grad",
        sets("S"),
    ),
    "a module's class": Case(
        "class M(graphc.nn.Module):\n  s = 2.0\n  def forward(self, x): return x * self.s\n"
        "m = M()\ndef f(x): return m(x)",
        lambda lib, k: setattr(lib.M, "s", float(k)),
    ),
    "a number for an optimizer": Case(
        "LR = 0.1\nclass Opt(graphc.optim.Optimizer):\n"
        "  def __init__(self, p): super().__init__(p, {})\n  @graphc.no_grad()\n"
        "  def step(self):\n    for p in self.param_groups[0]['params']:\n"
        "      p.add_(p.grad, alpha=-LR)\n"
        "w = graphc.nn.Parameter(graphc.ones(2))\no = Opt([w])\n"
        "def f(x):\n  o.zero_grad()\n  (w * x).sum().backward()\n  o.step()\n  return w * 1",
        sets("LR"),
    ),
}  # fmt: skip


def _step(lib: Any, x: Any) -> Any:
    return lib.f(x)


def _calls(case: Case, lib: Any, step: Any) -> list[Any]:
    out = []
    for k in (1, 2, 3, 4, 5, 6, *[0] * 12, 4, 2, 3):  # so often that words are watched
        if out:
            case.change(lib, k)
        result = step(graphc.tensor([1.0 + k, 2.0]))
        out.append((result.tolist(), str(case.kept(lib))))
    return out


@pytest.mark.filterwarnings("ignore:once")
@pytest.mark.parametrize("name", CASES)
def test_it_is_followed_as_a_users_is(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, found, step = CASES[name], [], None
    for wrap in (lambda f: f, graphc.compile):
        monkeypatch.setenv("GRAPHC_TEST", "1")
        lib = library("import graphc\n" + case.source, tmp_path, monkeypatch)
        step = wrap(partial(_step, lib))
        found.append(_calls(case, lib, step))
    assert found[0] == found[1]
    assert step is not None and step.stats.programs <= case.programs


REFUSED = {
    "a clock": "import time\ndef f(x): return x * time.time()",
    "a clock that it keeps": "import time\nlast = 0\ndef f(x):\n  global last\n"
    "  last = time.time()\n  return x",
    "a date": "import datetime\ndef f(x): return x * datetime.datetime.now().second",
    "a generator of its own": "import random\nr = random.Random(0)\n"
    "def f(x): return x * r.random()",
    "NumPy's": "import numpy\nr = numpy.random.default_rng(0)\ndef f(x): return x * r.random()",
    "Python's": "import random\ndef f(x): return x * random.random()",
    "an iterator": "import itertools\nn = itertools.count()\ndef f(x): return x * next(n)",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_call_can_repeat_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lib = library(REFUSED[name], tmp_path, monkeypatch)
    with pytest.raises((Unguarded, Untraceable)) as error:
        graphc.compile(lambda x: lib.f(x))(graphc.ones(2))
    assert "test_installed.py" in str(error.value) or name == "Python's"


def test_what_is_put_back_and_names_behind_code_cost_a_call_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = """
on = False
names, stack = {"a": 1}, []
class C:
    __slots__ = ("s",)
    def g(self): return self.s
class D:
    def __init__(self): self.s = 1.0
    def __getattribute__(self, name): return object.__getattribute__(self, name)
c, d = C(), D()
c.s = 2.0
def f(x):
    global on
    on = True
    stack.append("f")
    y = x * c.g() * d.s * (2 if "b" in names else 3) * len(stack)
    stack.pop()
    on = False
    return y
"""
    lib = library(source, tmp_path, monkeypatch)
    step = graphc.compile(lambda x: lib.f(x))
    for _ in range(12):
        assert step(graphc.ones(2)).tolist() == [6.0, 6.0]
    assert step._last is not None and not step._last.has_effects
    assert lib.stack == [] and not lib.on
    (kept,) = step._last.guards.sets
    if layout() is not None:  # this Python keeps words
        assert kept._words.asked == [] and len(kept._words.table) < len(kept.always)


def test_a_memo_that_others_fill_is_no_reason_to_trace_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = """
import functools
@functools.lru_cache(maxsize=64)
def g(n): return n * 2.0
def f(x): return x * g(3)
"""
    lib = library(source, tmp_path, monkeypatch)
    step = graphc.compile(lambda x: lib.f(x))
    for k in range(4):
        assert step(graphc.ones(2)).tolist() == [6.0, 6.0]
        lib.g(k + 10)
    assert not step._recompiles
    lib.g.cache_clear()
    assert step(graphc.ones(2)).tolist() == [6.0, 6.0]


def test_a_logger_of_a_package_logs_at_each_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = """
import time
told = []
class Logger:
    def info(self, text, *args): told.append((time.time() > 0, text.format(*args)))
logger = Logger()
def f(x):
    logger.info("{}", 1)
    return x * 2
"""
    lib = library(source, tmp_path, monkeypatch)
    step = graphc.compile(lambda x: lib.f(x))
    for _ in range(3):
        assert step(graphc.ones(2)).tolist() == [2.0, 2.0]
    assert lib.told == [(True, "1")] * 3
    assert step.stats.programs == 1
