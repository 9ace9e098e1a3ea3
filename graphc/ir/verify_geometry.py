"""What a contraction says of its loops holds: complaints for `verify_kernel`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from graphc.ir.kernel import Dot, Kernel, Load, Size, WindowAxis
from graphc.ir.kernel_contraction import Dimension, dimensions

POINTS = frozenset({"batch", "m", "n", "g", "k", "d", "h", "w"})  # of parallel loops
SUMMED = frozenset({"k", "c", "t", "r", "s"})
OF_DOT = frozenset({"batch", "m", "n", "k"})  # which may have several dimensions of one role


def geometry(kernel: Kernel) -> Iterator[str]:
    """Each loop has its roles, and addresses and guards are those of the windows."""
    if kernel.winograd and not kernel.window:
        yield "Winograd's algorithm for what is no convolution"
    if not (kernel.roles or kernel.window):
        return
    if kernel.kind != "contract":
        yield f"a {kernel.kind} with the roles of a contraction"
        return
    summed = kernel.phases[0].axes
    loops = {**{a.name: POINTS for a in kernel.axes}, **{a.name: SUMMED for a in summed}}
    told = Counter(r.loop for r in kernel.roles)
    if told != Counter(list(loops)):
        yield "the roles are not those of all its loops, once each"
        return
    every = [(name, loops[r.loop]) for r in kernel.roles for name in r.names]
    yield from (f"{name} is no role of such a loop" for name, known in every if name not in known)
    counts = Counter(name for name, _ in every)
    if not counts.keys() <= OF_DOT:
        yield from (f"two dimensions are {name}" for name, n in counts.items() if n > 1)
    for r in kernel.roles:
        if len(r.extents) != len(r.names) - 1:
            yield f"extents of {r.loop} are not those of its inner dimensions"
            return
    yield from _windows(kernel, {d.role: d for d in dimensions(kernel)})


def _windows(kernel: Kernel, found: Mapping[str, Dimension]) -> Iterator[str]:
    for w in kernel.window:
        if w.out not in POINTS or w.tap not in SUMMED:
            yield f"a window of {w.out} and {w.tap}"
        for load in _of_input(kernel):
            if _steps(w, load, found):
                yield f"{load.buffer} is not read as the window {w.out}, {w.tap} slides"
            if _leaves(w, found) and not load.guards:
                yield f"the window {w.out}, {w.tap} leaves {load.buffer}, which has no guard"


def _of_input(kernel: Kernel) -> list[Load]:
    """The loads that are the first operand itself."""
    dot = next(s for s in kernel.statements() if isinstance(s, Dot))
    return [s for s in kernel.phases[0].body if isinstance(s, Load) and s.name == dot.a]


def _steps(w: WindowAxis, load: Load, found: Mapping[str, Dimension]) -> bool:
    """Whether places and taps are known to step differently."""
    if w.out not in found or w.tap not in found:
        return False
    place, tap = (found[r].stride(load.at) for r in (w.out, w.tap))
    match literals(place, w.dilation, tap, w.stride):
        case (a, dilation, b, stride):
            return a * dilation != b * stride
    return False


def _leaves(w: WindowAxis, found: Mapping[str, Dimension]) -> bool:
    """Whether some place is known to be outside of the input."""
    ends = [found[r].extent if r in found else 1 for r in (w.out, w.tap)]
    match literals(*ends, w.stride, w.dilation, w.low, w.end):
        case (places, taps, stride, dilation, low, end) if end and places and taps:
            last = (places - 1) * stride + (taps - 1) * dilation
            return low > 0 or last >= end
    return False


def literals(*sizes: Size | None) -> tuple[int, ...]:
    """The sizes, or nothing where one is no number."""
    found = tuple(n for n in sizes if isinstance(n, int))
    return found if len(found) == len(sizes) else ()
