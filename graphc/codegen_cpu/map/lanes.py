"""Which axis of a kernel runs across vector lanes, and how far its loops are unrolled.

Either one parallel axis takes the lanes for all phases (elementwise chains, column sums, pooling
over channels), or the parallel points are scalar and each phase gives the lanes to one of its own
axes (row sums, softmax). A cost in vector operations decides, from the kernel alone: strides of 0
and 1 are cheap, others are gathers, and a short axis wastes lanes.

Short axes that stores go along and loads do not, the places of a pooling window or of a pixel that
is shown larger, are written out within the lanes: their points share what was loaded. So is a short
axis that is innermost where kernels store: its vectors are woven (`weave.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from graphc.codegen_cpu.target import Target
from graphc.codegen_cpu.weave import axis_beside, woven_axis
from graphc.ir.kernel import (
    Apply,
    Axis,
    Dot,
    Kernel,
    Load,
    Phase,
    Reduce,
    Size,
    Statement,
    Store,
)
from graphc.ir.kernel_uses import Uses, depends, uses
from graphc.ir.ops import OPS

UNKNOWN = 64  # a symbolic extent, when costs are compared
BODY = 64  # statements (by weight) that unrolled copies of a body may have
HEAVY = 12  # weight of a body that takes longer than an addition: a second chain gains nothing
CHAINS = 8  # accumulators that keep two adders of latency four busy
GATHER = 1.5  # cost of one element of a gather or scatter, in vector loads
SCATTER = 6.0  # and of a scatter that takes a cache line an element, where rows could be written
ROW = 16  # elements that make a row worth writing at once: a cache line of float32
SHARED = 16  # points within the lanes that share what was loaded
ACROSS = 12.0  # cost of merging the lanes of one reduction


@dataclass(frozen=True, slots=True)
class Plan:
    """`lane` is a parallel axis or ""; else `phase_lanes[p]` is an axis of phase p or ""."""

    lane: str
    phase_lanes: tuple[str, ...]
    lanes: int
    copies: int  # vectors of the parallel lane axis per block
    unroll: tuple[int, ...]  # of each phase's innermost loop
    within: tuple[str, ...] = ()  # axes that are written out within the lane axis
    woven: str = ""  # the last of those, if its vectors are woven before they are stored

    def lane_of(self, phase: int) -> str:
        return self.lane or self.phase_lanes[phase]


def weight(s: Statement) -> float:
    return OPS[s.op].cost if isinstance(s, Apply) else 1


def extent(size: Size) -> int:
    return size if isinstance(size, int) else UNKNOWN


# ---- costs -------------------------------------------------------------------------------------


def _efficiency(axis: Axis, lanes: int) -> float:
    """The part of the lanes that a short axis fills."""
    n = axis.extent
    if isinstance(n, str):
        return 1.0
    return max(n, 1) / (max(-(-n // lanes), 1) * lanes)


def _statement_cost(s: Statement, lane: str, lanes: int, full: float, u: Uses) -> float:
    """Per element, with `lane` across `lanes`."""
    if not lane:
        return weight(s)
    if isinstance(s, (Load, Store)):
        gathers = any(lane in u.axes.get(i.index, ()) for i in s.indirect)
        if not gathers and (axis := axis_beside(s, lane, u.extents)):
            return extent(u.extents[axis]) / (lanes * full)  # shuffles and a store
        if gathers or s.at.stride(lane) not in (0, 1):
            return SCATTER if isinstance(s, Store) and _writes_rows(s, lane, u) else GATHER
    return weight(s) / (lanes * full)


def _writes_rows(s: Store, lane: str, u: Uses) -> bool:
    """Whether an axis other than `lane` writes elements side by side."""
    return any(
        stride == 1 and extent(u.extents[axis]) >= ROW
        for axis, stride in s.at.terms
        if axis != lane
    )


def _phase_cost(phase: Phase, axis: Axis | None, lanes: int, u: Uses) -> float:
    """Per point of the parallel axes."""
    trips = prod(extent(a.extent) for a in phase.axes)
    lane, full = (axis.name, _efficiency(axis, lanes)) if axis else ("", 1.0)
    return trips * sum(_statement_cost(s, lane, lanes, full, u) for s in phase.body)


def _may_take_lanes(phase: Phase, axis: Axis, u: Uses) -> bool:
    """Whether the points of a phase axis may run side by side."""
    stores = [s for s in phase.body if isinstance(s, Store)]
    if any(isinstance(s, Reduce) and s.op.startswith("arg") for s in phase.body):
        return axis == phase.axes[-1] and not stores
    for s in stores:
        moves = s.at.stride(axis.name) != 0 and not s.indirect
        if s.add or not moves:
            return False
    return not any(
        u.memory[store.buffer] == u.memory[s.buffer] and (store.at != s.at or s.indirect)
        for store in stores
        for s in phase.body
        if isinstance(s, Load)
    )


def _best_phase_lane(phase: Phase, lanes: int, u: Uses) -> tuple[float, str]:
    reductions = sum(isinstance(s, (Reduce, Dot)) for s in phase.body)
    options = [(_phase_cost(phase, None, lanes, u), "")]
    for axis in phase.axes:
        if axis.extent != 1 and _may_take_lanes(phase, axis, u):
            options.append((_phase_cost(phase, axis, lanes, u) + ACROSS * reductions, axis.name))
    return min(options)


def _lane_count(kernel: Kernel, target: Target) -> int:
    """As many as float32 has, or float64 where the floats are that."""
    dtypes = {b.dtype for b in kernel.buffers}
    floats = {d for d in dtypes if d.is_floating_point}
    return target.lanes(max(floats or dtypes, key=lambda d: d.itemsize)) if dtypes else 1


# ---- the plan ----------------------------------------------------------------------------------


def plan(kernel: Kernel, target: Target) -> Plan:
    u, lanes = uses(kernel), _lane_count(kernel, target)
    inside = [_best_phase_lane(phase, lanes, u) for phase in kernel.phases]
    best, lane = sum(cost for cost, _ in inside), ""
    for axis in kernel.axes:
        if axis.extent == 1:
            continue
        cost = sum(_phase_cost(phase, axis, lanes, u) for phase in kernel.phases)
        if cost <= best:
            best, lane = cost, axis.name
    if lanes == 1 or not (lane or any(name for _, name in inside)):
        nothing = ("",) * len(kernel.phases)
        return Plan("", nothing, 1, 1, tuple(_unroll(p, "", 1, 1) for p in kernel.phases))
    if not lane:
        phase_lanes = tuple(name for _, name in inside)
        unroll = tuple(_unroll(p, n, lanes, 1) for p, n in zip(kernel.phases, phase_lanes))
        return Plan("", phase_lanes, lanes, 1, unroll)
    copies = _copies(kernel, lane, lanes)
    unroll = tuple(_unroll(p, "", lanes, copies) for p in kernel.phases)
    woven = woven_axis(kernel, lane, u)
    if woven and _body_weight(kernel.phases[0]) * extent(u.extents[woven]) > BODY:
        woven = ""
    within = _within(kernel, lane, u, woven)
    return Plan(lane, ("",) * len(kernel.phases), lanes, copies, unroll, within, woven)


def _within(kernel: Kernel, lane: str, u: Uses, woven: str) -> tuple[str, ...]:
    """The last of the short axes that no load goes along, so many that their code stays small, and
    the one to weave, innermost."""
    loads = [s for phase in kernel.phases for s in phase.body if isinstance(s, Load)]
    if not loads or any(phase.axes for phase in kernel.phases):
        return (woven,) if woven else ()
    along = {axis for s in loads for axis in depends(s, u)} | {lane, woven}
    found, count = [woven] if woven else list[str](), extent(u.extents[woven]) if woven else 1
    for axis in reversed(kernel.axes):
        if isinstance(axis.extent, int) and axis.name not in along and axis.extent > 1:
            count *= axis.extent
            if count <= SHARED:
                found.insert(0, axis.name)
    return tuple(found)


def _body_weight(phase: Phase) -> float:
    return max(sum(weight(s) for s in phase.body), 1)


def _reductions(phase: Phase) -> int:
    return sum(isinstance(s, (Reduce, Dot)) for s in phase.body)


def _copies(kernel: Kernel, lane: str, lanes: int) -> int:
    """Vectors of the lane axis per block: few for big bodies, and enough blocks for threads."""
    heaviest = max(_body_weight(p) for p in kernel.phases)
    loops = any(p.axes for p in kernel.phases)
    most = 1 if heaviest >= HEAVY else 4 if loops else 2
    if any(walks_columns(p, lane) for p in kernel.phases):
        most = 4
    axis = next(a for a in kernel.axes if a.name == lane)
    if isinstance(axis.extent, str):
        return most
    vectors = max(-(-axis.extent // lanes), 1)
    rows = prod(a.extent if isinstance(a.extent, int) else 8 for a in kernel.axes if a != axis)
    if rows < 8:
        most = max(1, min(most, vectors * rows // 8))
    if vectors <= most:
        return vectors
    return max(c for c in range(1, most + 1) if vectors % c == 0 or c == 1)


def walks_columns(phase: Phase, lane: str) -> bool:
    """Whether a long loop goes from row to row: a vector of each row is a cache line in a page of
    its own, which costs more than any body; of several side by side the next ones are fetched."""
    return any(
        extent(axis.extent) >= UNKNOWN and s.at.stride(lane) == 1 and s.at.stride(axis.name) != 0
        for axis in phase.axes
        for s in phase.body
        if isinstance(s, (Load, Store))
    )


def _unroll(phase: Phase, lane: str, lanes: int, copies: int) -> int:
    """Copies of the innermost body, each with accumulators of its own."""
    if any(isinstance(s, Store) and s.add for s in phase.body):
        return 1
    if _body_weight(phase) >= HEAVY or not _reductions(phase):
        return 1
    room = int(BODY // 2 // (_body_weight(phase) * copies))
    last = phase.axes[-1].extent if phase.axes and not lane else ""
    if isinstance(last, int) and 1 <= last <= min(room, 4):
        return last
    most = max(1, min(room, CHAINS // (copies * _reductions(phase))))
    return 1 << (most.bit_length() - 1)
