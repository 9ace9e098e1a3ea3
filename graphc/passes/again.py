"""again: kernels that run a second time, so that what they write need not be kept in between.

    y = relu(norm(x)); conv(y); ...; gradients(y)
    =>  y = relu(norm(x)); conv(y); ...; y' = relu(norm(x)); gradients(y')

Input: kernels in order. Output: the same, some of them once more, right before those that read late
what they write. A kernel that computes points of what is in memory anyway costs little beside the
contractions behind it (`Profile.again`), and what it writes is a good part of what is alive where
most is. So one after another is run again while less comes of it, largest first. The bits are the
same: it is the same kernel, and whatever it reads is still what it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from graphc.ir.graph import Value
from graphc.ir.kernel import Apply
from graphc.ir.ops import OPS
from graphc.ir.program import Launch
from graphc.ir.sizes import HINTS
from graphc.ir.work import Work, points, work
from graphc.passes.nest import Lowered
from graphc.passes.profile import Profile

Place = tuple[str, int]  # of what is not in the arena: a space, and a number there


@dataclass(frozen=True, slots=True)
class _Once:
    """A kernel that could run again at `late`, and the bytes that it would free meanwhile."""

    early: int
    late: int
    value: Value
    freed_bytes: int


def again(
    kernels: Sequence[Lowered],
    fixed: Mapping[Value, Place],
    whole: Mapping[Value, Value],
    profile: Profile,
) -> list[Lowered]:
    """`fixed`: the places of what is not in the arena; `whole`: what parts are parts of."""
    best = list(kernels)
    if profile.again is None:
        return best
    now = _Order(best, fixed, whole, profile)
    least = now.most()
    done: set[Value] = set()
    while True:
        found = max(now.candidates(done), key=lambda once: once.freed_bytes, default=None)
        if found is None:
            return best
        now, second = now.with_again(found)
        done |= {found.value, second}
        most = now.most()
        if most < least:
            best, least = now.kernels, most
        elif most > least:
            return best


class _Order:
    """Kernels in order, and what is alive when."""

    def __init__(
        self,
        kernels: list[Lowered],
        fixed: Mapping[Value, Place],
        whole: Mapping[Value, Value],
        profile: Profile,
    ) -> None:
        self.kernels = kernels
        self.fixed, self.whole, self.profile = fixed, whole, profile
        self.users: dict[Value, list[int]] = {}  # of each buffer of the arena
        self.writers: dict[Place, list[int]] = {}
        for n, k in enumerate(kernels):
            for v in dict.fromkeys(whole.get(v, v) for v in k.buffers if v not in fixed):
                self.users.setdefault(v, []).append(n)
            for v in k.writes:
                if v in fixed:
                    self.writers.setdefault(fixed[v], []).append(n)

    def most(self) -> int:
        return max(self._alive(), default=0)

    def _alive(self) -> list[int]:
        """The bytes in use at each launch."""
        change = [0] * (len(self.kernels) + 1)
        for v, users in self.users.items():
            change[users[0]] += _bytes(v)
            change[users[-1] + 1] -= _bytes(v)
        return list(accumulate(change))[:-1]

    # ---- which --------------------------------------------------------------------------------

    def candidates(self, done: set[Value]) -> Iterator[_Once]:
        """Kernels that leave less alive where most is, if they run again behind that."""
        alive, likes = self._alive(), self.profile.again
        assert likes is not None
        peak = max(range(len(alive)), key=alive.__getitem__, default=0)
        parts = {*self.whole, *self.whole.values()}
        for n, k in enumerate(self.kernels[:peak]):
            v = k.writes[0]
            if v in done or v in self.fixed or v in parts or not _plain(k):
                continue
            late = next((m for m in self.users[v] if m >= peak), None)
            if late is None or late == peak:
                continue
            prolonged = (u for u in k.reads if u not in self.fixed)
            freed = _bytes(v) - sum(_bytes(u) for u in prolonged if self._last(u) < late)
            if freed < likes.least_bytes or not self._unchanged(k, n, late):
                continue
            if self._cheap(k, v, late):
                yield _Once(n, late, v, freed)

    def _last(self, v: Value) -> int:
        return self.users[self.whole.get(v, v)][-1]

    def _cheap(self, k: Lowered, v: Value, late: int) -> bool:
        """Whether contractions that read `v` from there on are much more work than k is."""
        assert self.profile.again is not None
        readers = [self.kernels[n] for n in self.users[v] if n >= late]
        flops = sum(_work(r).flops for r in readers if r.kernel.kind == "contract")
        moved = _work(k).bytes + v.spec.dtype.itemsize * self._accesses(k)
        return flops >= self.profile.again.flops_a_byte * moved

    def _accesses(self, k: Lowered) -> int:
        """How many accesses to memory its expensive ops are worth."""
        sizes = dict(zip(k.kernel.sizes, HINTS(k.sizes), strict=True))
        outer = points(k.kernel.axes, sizes)
        return sum(
            outer * points(p.axes, sizes) * self.profile.accesses(OPS[s.op].cost)
            for p in k.kernel.phases
            for s in p.body
            if isinstance(s, Apply)
        )

    def _unchanged(self, k: Lowered, early: int, late: int) -> bool:
        """Whether nobody writes meanwhile what k reads."""
        places = (self.fixed[v] for v in k.reads if v in self.fixed)
        return not any(early < n < late for at in places for n in self.writers.get(at, ()))

    # ---- once more ----------------------------------------------------------------------------

    def with_again(self, once: _Once) -> tuple[_Order, Value]:
        """The order with that kernel run again, and what it then writes."""
        v = once.value
        second = v.builder.twin(v)
        ahead, behind = self.kernels[: once.late], self.kernels[once.late :]
        repeated = _of(self.kernels[once.early], v, second)
        kernels = [*ahead, repeated, *(_of(k, v, second) for k in behind)]
        return _Order(kernels, self.fixed, self.whole, self.profile), second


def _of(k: Lowered, v: Value, second: Value) -> Lowered:
    """The kernel with another buffer in place of that of `v`."""
    if v not in k.buffers:
        return k
    buffers, members = (
        tuple(second if u is v else u for u in values) for values in (k.buffers, k.members)
    )
    return replace(k, buffers=buffers, members=members)


def _plain(k: Lowered) -> bool:
    """Whether it computes one value at points of what it reads, and cannot fail."""
    once = len(k.writes) == 1 and all(b.access in ("r", "w") for b in k.kernel.buffers)
    return once and k.kernel.kind == "map" and not k.may_fail()


def _work(k: Lowered) -> Work:
    launch = Launch(k.kernel, (), HINTS(k.sizes), ())
    return work(launch, [_bytes(v) for v in k.buffers])


def _bytes(v: Value) -> int:
    return v.spec.at(HINTS).size_bytes
