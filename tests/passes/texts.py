"""Passes on texts: a graph before and after, names aside."""

from __future__ import annotations

import re
from collections.abc import Callable

from graphc.ir import kernel_text, text
from graphc.ir.graph import Graph
from graphc.ir.verify import verify
from graphc.ir.verify_kernel import verify_kernel
from graphc.passes.fuse import fuse
from graphc.passes.lower import lower
from graphc.passes.orders import orders_of
from graphc.passes.profile import Profile
from tests.targets import CPU

Pass = Callable[[Graph, Profile], Graph]


def graph(body: str) -> Graph:
    """The graph of a text without its first line."""
    return text.parse(f"// graphc 1  f\n{body.strip()}\n")


def numbered(shown: str) -> str:
    """The text with its values numbered in order of appearance."""
    names: dict[str, str] = {}
    return re.sub(r"%\d+(?:\.\d+)*", lambda m: names.setdefault(m[0], f"%{len(names)}"), shown)


def assert_becomes(function: Pass, before: str, after: str, profile: Profile = CPU) -> None:
    start = graph(before)
    with start.in_passes():
        got = function(start, profile)
    verify(got, "the pass")
    assert numbered(text.show(got)) == numbered(text.show(graph(after)))


def groups(body: str, profile: Profile = CPU) -> list[str]:
    """What fusion makes of a graph: the ops of each kernel, sorted."""
    found = fuse(graph(body), profile).groups
    return sorted(" ".join(v.op.name for v in g.members if v.op) for g in found)


def kernels(body: str, profile: Profile = CPU) -> list[str]:
    """The kernels' texts, as they are lowered."""
    start = graph(body)
    fusion, orders = fuse(start, profile), orders_of(start, profile)
    made = [lower(g, fusion, orders, [], profile).kernel for g in fusion.groups]
    for kernel in made:
        verify_kernel(kernel)
    return list(map(kernel_text.show, made))
