"""Random functions give compiled what they give eagerly: results, mutated tensors, gradients,
random position, and errors."""

from __future__ import annotations

import os
import time
from typing import Any, NamedTuple

import numpy as np
import pytest

import graphc
from graphc.errors import GraphcError
from graphc.ir.types import Array
from tests.fuzz.sources import Source, sample, write

SEEDS = range(120)
FRESH_SECONDS = 5.0
CALLS = 2


class Outcome(NamedTuple):
    """What calls of a function left behind; `error` ends them."""

    values: list[Array]
    error: str
    kept: bool = False  # a tensor of the closure has been left with a history


def outcome(s: Source, text: str, compiled: bool) -> Outcome:
    """Call the function a few times on fresh arguments; its closure lives on."""
    rng = np.random.default_rng(1)
    states = {n: graphc.tensor(a, requires_grad=n in s.grad) for n, a in s.states.items()}
    scope: dict[str, Any] = {"graphc": graphc, "F": graphc.nn.functional, **states}
    exec(compile(text, "<fuzz>", "exec"), scope)
    f = graphc.compile(scope["f"]) if compiled else scope["f"]
    graphc.manual_seed(7)
    values: list[Array] = []
    for _ in range(CALLS):
        given = {
            n: graphc.tensor(sample(rng, a), requires_grad=n in s.grad)
            for n, a in s.arguments.items()
        }
        if s.twice:
            given["same"] = given["x0"]
        for t in states.values():
            t.grad = None
        try:
            returned = f(*given.values())
        except (GraphcError, RuntimeError, IndexError, ValueError) as e:
            kept = any(t.grad_fn is not None for t in states.values())
            return Outcome(values, type(e).__name__, kept)
        leaves = [*given.values(), *states.values()]
        grads = [t.grad for t in leaves if t.grad is not None]
        values += [t.detach().numpy().copy() for t in (*returned, *leaves, *grads)]
        values.append(graphc.get_rng_state().numpy().copy())
    if compiled:
        assert f.stats.programs == 1
    return Outcome(values, "", any(t.grad_fn is not None for t in states.values()))


def differs(s: Source, text: str) -> str:
    """Why eager and compiled disagree, or nothing."""
    want, got = outcome(s, text, False), outcome(s, text, True)
    if got.error == "Untraceable" and (want.kept or ".expand(" in text):
        return ""  # a step refuses histories that outlive it, and parts of expanded views written
    if want.error != got.error:
        return f"eager: {want.error or 'no error'}, compiled: {got.error or 'no error'}"
    if want.error:
        return ""
    if len(want.values) != len(got.values):
        return f"{len(want.values)} results, compiled {len(got.values)}"
    for k, (a, b) in enumerate(zip(got.values, want.values)):
        if a.dtype != b.dtype or a.shape != b.shape:
            return f"result {k}: {a.dtype}{a.shape}, eager {b.dtype}{b.shape}"
        scale = np.abs(b[np.isfinite(b)]).max(initial=1.0) if b.dtype.kind == "f" else 0
        if not np.allclose(a, b, rtol=1e-4, atol=1e-5 * float(scale), equal_nan=True):
            return f"result {k}: {a.ravel()[:8]}, eager {b.ravel()[:8]}"
    return ""


def shrunk(s: Source, text: str) -> str:
    """The text without lines that the difference does not need."""
    lines = text.splitlines()
    k = len(lines) - 2
    while k > 0:
        fewer = "\n".join([*lines[:k], *lines[k + 1 :]]) + "\n"
        name = lines[k].strip().partition(" = ")[0]
        fewer = fewer.replace(f"{name}, ", "") if name.isidentifier() else fewer
        if _still(s, fewer):
            lines = fewer.splitlines()
        k -= 1
    return "\n".join(lines)


def _still(s: Source, text: str) -> bool:
    try:
        return bool(differs(s, text))
    except NameError:
        return False


def assert_agrees(seed: int) -> None:
    s = write(seed)
    text = s.text()
    if why := differs(s, text):
        small = shrunk(s, text)
        inputs = {n: (a.dtype.str, a.shape) for n, a in {**s.arguments, **s.states}.items()}
        pytest.fail(f"seed {seed}: {why}\n{small}\n{inputs}, gradients {sorted(s.grad)}")


@pytest.mark.parametrize("seed", SEEDS)
def test_compiled_equals_eager(seed: int) -> None:
    assert_agrees(seed)


def test_fresh_seeds() -> None:
    end = time.monotonic() + FRESH_SECONDS
    while time.monotonic() < end:
        assert_agrees(int.from_bytes(os.urandom(4), "little"))
