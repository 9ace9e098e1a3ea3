"""What a launch does in numbers: floating-point operations, and the least bytes it must move.

`flops` counts an addition, a multiplication or a call of a function as one, a product that is
summed as two. `bytes` counts what each buffer needs to move once: what is read and what is
written, as if everything in between stayed in cache; so bytes over time is a bandwidth that no
cache flatters, and the floor of a launch is the larger of both over the machine's peaks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import NamedTuple

from graphc.ir.kernel import Apply, Axis, Call, Dot, Kernel, Load, Phase, Reduce, Size, Store
from graphc.ir.kernel_attention import flops as attention_flops
from graphc.ir.kernel_attention import parts
from graphc.ir.ops import OPS
from graphc.ir.program import Launch, Program


class Work(NamedTuple):
    """Of one launch, or of several."""

    flops: int = 0
    read_bytes: int = 0
    written_bytes: int = 0

    @property
    def bytes(self) -> int:
        return self.read_bytes + self.written_bytes

    def times(self, n: int) -> Work:
        return Work(*(n * a for a in self))

    def plus(self, other: Work) -> Work:
        return Work(*(a + b for a, b in zip(self, other, strict=True)))


def work_of(program: Program) -> list[Work]:
    """Of each launch of a program."""
    held = {s.name: s.size_bytes for s in program.slots}
    return [work(launch, [held[name] for name in launch.slots]) for launch in program.launches]


def work(launch: Launch, held: Sequence[int]) -> Work:
    """Of one; `held`: the bytes of each buffer of its kernel."""
    kernel = launch.kernel
    sizes = dict(zip(kernel.sizes, launch.sizes, strict=True))
    if kernel.call is not None:
        return _of_call(kernel, kernel.call, sizes)
    limits = dict(zip((b.name for b in kernel.buffers), held, strict=True))
    outer = points(kernel.axes, sizes)
    attends = parts(kernel)
    if attends is None:
        flops = sum(_flops(p) * outer * points(p.axes, sizes) for p in kernel.phases)
    else:
        rows, columns, *deep = (number(n, sizes) for n in attends.extents)
        each = sum(attention_flops(op, *deep) for op in attends.results)
        flops = outer * rows * columns * each
    touched = {True: dict.fromkeys(limits, 0), False: dict.fromkeys(limits, 0)}
    for phase in kernel.phases:
        axes = (*kernel.axes, *phase.axes)
        for s in phase.body:
            if isinstance(s, Load | Store):
                count = _elements(s, axes, sizes)
                for place in (touched[written] for written in _sides(s)):
                    place[s.buffer] = max(place[s.buffer], count)
    moved = [_bytes(kernel, touched[written], limits) for written in (False, True)]
    return Work(flops, *moved)


def points(axes: Sequence[Axis], sizes: Mapping[str, int]) -> int:
    """How often what stands in these loops runs."""
    return prod(number(a.extent, sizes) for a in axes)


def number(size: Size, sizes: Mapping[str, int]) -> int:
    """A size of a kernel at a launch."""
    return sizes[size] if isinstance(size, str) else int(size)


def _flops(phase: Phase) -> int:
    """Of one point of a phase."""
    return sum(
        2 if isinstance(s, Dot) else int(isinstance(s, Reduce) or _computes(s))
        for s in phase.body
        if isinstance(s, Apply | Dot | Reduce) and s.dtype.is_floating_point
    )


def _computes(s: Apply | Dot | Reduce) -> bool:
    """Whether it is arithmetic: neither a choice nor a copy of one of its operands."""
    return isinstance(s, Apply) and s.op != "cast" and not OPS[s.op].exact


def _sides(s: Load | Store) -> tuple[bool, ...]:
    """Whether it writes; both where a store adds to what is there."""
    if isinstance(s, Load):
        return (False,)
    return (True, False) if s.add else (True,)


def _elements(s: Load | Store, axes: Sequence[Axis], sizes: Mapping[str, int]) -> int:
    """How many places it visits at most: axes that it does not depend on visit none anew."""
    moving = axes if s.indirect else [a for a in axes if s.at.stride(a.name) != 0]
    return points(moving, sizes)


def _bytes(kernel: Kernel, touched: Mapping[str, int], limits: Mapping[str, int]) -> int:
    size = {b.name: b.dtype.itemsize for b in kernel.buffers}
    return sum(min(n * size[name], limits[name]) for name, n in touched.items())


def _of_call(kernel: Kernel, call: Call, sizes: Mapping[str, int]) -> Work:
    """A routine reads its operands and writes its result; what it computes is not known."""
    size = {b.name: b.dtype.itemsize for b in kernel.buffers}

    def whole(buffer: str, shape: Sequence[Size]) -> int:
        return size[buffer] * prod(number(n, sizes) for n in shape)

    read = sum(whole(o.buffer, o.shape) for o in call.args)
    return Work(0, read, whole(call.out.buffer, call.out.shape))
