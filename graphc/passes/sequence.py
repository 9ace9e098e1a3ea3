"""sequence: the order in which kernels run.

Input: kernels, and who waits for whom. Output: an order, in which among ready kernels the one whose
values were traced first goes first; an optimizer kernel goes as soon as its gradient exists, so
that gradients do not pile up. Passes make values of their own, whose numbers are late: the sum of a
gradient over pixels would run when all convolutions have, and each of their gradients live until
then. So a second order is tried, in which a kernel that leaves less memory in use than it finds
goes before all others, and kept where the most in use at once is less.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence, Set

from graphc.ir.graph import Value
from graphc.passes.memory import Request, lower_bound
from graphc.passes.nest import Lowered

OPTIMIZER = "opt"


def sequence(
    kernels: Sequence[Lowered],
    after: Sequence[Set[int]],
    touched: Sequence[Set[Value]],
    weights: Mapping[Value, int],
) -> list[int]:
    """`after`: who waits for each kernel; `touched`: its buffers; `weights`: bytes of those whose
    memory is another buffer's before and after their life."""
    orders = [
        _Sequence(kernels, after, touched, weights, freeing).run() for freeing in (False, True)
    ]
    return min(orders, key=lambda order: _most(order, touched, weights))


def waits_of(after: Sequence[Set[int]]) -> list[int]:
    """How many kernels each waits for."""
    waits = [0] * len(after)
    for followers in after:
        for k in followers:
            waits[k] += 1
    return waits


def _most(order: Sequence[int], touched: Sequence[Set[Value]], weights: Mapping[Value, int]) -> int:
    """The most bytes alive at once."""
    first: dict[Value, int] = {}
    last: dict[Value, int] = {}
    for n, k in enumerate(order):
        for v in touched[k]:
            first.setdefault(v, n)
            last[v] = n
    return lower_bound(Request(weights[v], first[v], last[v]) for v in first if v in weights)


def _rank(kernel: Lowered) -> float | None:
    """When the kernel's first value was traced; None for an optimizer kernel."""
    numbers = [v.number for v in kernel.members if v.where.phase != OPTIMIZER]
    return float(min(numbers)) if numbers else None


class _Sequence:
    """The making of one order."""

    def __init__(
        self,
        kernels: Sequence[Lowered],
        after: Sequence[Set[int]],
        touched: Sequence[Set[Value]],
        weights: Mapping[Value, int],
        freeing: bool,
    ) -> None:
        self._after, self._freeing = after, freeing
        self._waits, self._ranks = waits_of(after), [_rank(k) for k in kernels]
        self._now: dict[int, float] = {}  # the ready kernels, each with its place
        self._ready: list[tuple[float, int]] = []
        self._small: list[tuple[int, float, int]] = []  # of them, those that shrink memory
        self._weights = weights
        self._touched = [[v for v in vs if v in weights] for vs in touched]
        self._users: dict[Value, set[int]] = {}  # of each buffer, the kernels that have not run
        for k, buffers in enumerate(self._touched):
            for v in buffers:
                self._users.setdefault(v, set()).add(k)
        self._alive: set[Value] = set()

    def run(self) -> list[int]:
        order: list[int] = []
        for k, n in enumerate(self._waits):
            if n == 0:
                self._add(k, self._ranks[k] or 0.0)
        while self._now:
            k = self._next()
            now = self._now.pop(k)
            order.append(k)
            for f in sorted(self._after[k]):
                self._waits[f] -= 1
                if self._waits[f] == 0:
                    own = self._ranks[f]
                    self._add(f, now + 0.5 if own is None else own)
            self._use(k)
        assert len(order) == len(self._waits), "kernels wait for each other"
        return order

    def _add(self, k: int, now: float) -> None:
        self._now[k] = now
        heapq.heappush(self._ready, (now, k))
        self._consider(k)

    def _next(self) -> int:
        while self._small:
            k = heapq.heappop(self._small)[-1]
            if k in self._now:
                return k
        while True:
            k = heapq.heappop(self._ready)[-1]
            if k in self._now:
                return k

    def _use(self, k: int) -> None:
        """The kernel runs; whoever is the last to use one of its buffers may shrink memory now."""
        for v in self._touched[k]:
            self._alive.add(v)
            users = self._users[v]
            users.discard(k)
            for other in users if len(users) == 1 else ():
                self._consider(other)

    def _consider(self, k: int) -> None:
        """Note a ready kernel that leaves less in use than it finds."""
        if self._freeing and k in self._now and (growth := self._growth(k)) < 0:
            heapq.heappush(self._small, (growth, self._now[k], k))

    def _growth(self, k: int) -> int:
        """The bytes by which a kernel lets memory grow: of what it begins, less what it ends."""
        growth = 0
        for v in self._touched[k]:
            growth += self._weights[v] * (v not in self._alive)
            growth -= self._weights[v] * (len(self._users[v]) == 1)
        return growth
