"""winograd: dense 3x3 convolutions get their weights once more, transformed.

Input: a laid-out Graph. Output: a Graph with the same meaning in which convolutions that a Winograd
algorithm computes sooner read, as a third operand, `winograd` of their weights: a value like any
other, made once a step by a kernel of its own, whose memory is planned. A data gradient is a
convolution, too, with weights of its own.

Shapes decide, and whether the step changes the weights: if so it sees batches, else it may serve
single samples, and the transform has to pay for one. The batch itself has no say, so the same row
gives the same bits in any.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc.errors import InternalError
from graphc.ir.graph import Graph, Value
from graphc.ir.kernel import Apply, Axis, Load, Phase, Statement, Store, Winograd
from graphc.ir.ops import OPS
from graphc.ir.rewrite import rebuild
from graphc.ir.types import f32
from graphc.ir.winograd import POINTS, SIZE, TAPS, G, products
from graphc.passes.chain import Chain, Step, step_of, walk
from graphc.passes.group import Fusion, is_free
from graphc.passes.nest import Lowered, Nest, affine
from graphc.passes.orders import Orders, orders_of
from graphc.passes.profile import Profile
from graphc.passes.view import Form

SAMPLES = 32  # of a batch in training, as planning assumes
RATE = 0.8  # of a plain convolution's products a second, transforms of the tiles counted in


def winograd(graph: Graph, profile: Profile) -> Graph:
    """Give convolutions transformed weights where that pays."""
    if not profile.winograd_panel:
        return graph
    orders = orders_of(graph, profile)
    written = {t for t in graph.targets if t is not None}

    def visit(v: Value) -> Value:
        if v.op is not OPS["conv"] or not _takes(v, orders, profile):
            return v
        samples = SAMPLES if _base(v.args[1]) in written else 1
        if not _pays(v, samples, profile):
            return v
        x, w = v.args
        u = v.builder.apply("winograd", w, panel=profile.winograd_panel)
        return v.builder.emit(v.op, (x, w, u), v.attrs)

    return rebuild(graph, visit)


def _takes(v: Value, orders: Orders, profile: Profile) -> bool:
    """Whether it is a dense 3x3 convolution of enough channels, which lie innermost."""
    x, w = v.args
    one = all(
        n == 1
        for name in ("stride", "lhs_dilation", "rhs_dilation")
        for n in v.attrs[name]
    )  # fmt: skip
    plain = one and v.attrs.get("groups", 1) == v.attrs.get("batch_groups", 1) == 1
    if not plain or v.spec.dtype is not f32 or w.shape[2:] != (TAPS, TAPS):
        return False
    inner, outer, panel = w.shape[1], w.shape[0], profile.winograd_panel
    known = all(isinstance(n, int) for n in (*w.shape, *v.shape[2:]))
    stored = not any(n for pair in v.attrs["padding"] for n in pair)
    if not (known and stored and min(v.shape[2:]) >= SIZE and orders.innermost(x) == 1):
        return False
    return min(inner, outer) >= profile.winograd_channels and outer % panel == inner % panel == 0


def _pays(v: Value, samples: int, profile: Profile) -> bool:
    """Whether fewer products for so many samples pay for the transform of the weights."""
    height, width = v.shape[2:]
    plain = height * width * TAPS * TAPS * samples
    fewer = products(height) * products(width) * samples / RATE
    return plain > fewer + profile.winograd_cost


def _base(v: Value) -> Value:
    """What is under movement."""
    while v.op is not None and v.op.kind == "movement" and is_free(v):
        v = v.args[0]
    return v


# ---- lowering ----------------------------------------------------------------------------------


def read_by(u: Value, nest: Nest) -> Winograd:
    """Where the kernel of a convolution finds its transformed weights."""
    return Winograd(nest.buffer(u, "r"), SIZE, u.shape[-1])


def lower_winograd(v: Value, fusion: Fusion, orders: Orders, profile: Profile) -> Lowered:
    """The kernel of `winograd`: all points of a pair of channels at each step of its loops."""
    return _Transform(v, fusion, orders, profile).run()


class _Transform:
    """Emits G w G' of each pair of channels, along one axis and then along the other."""

    def __init__(self, v: Value, fusion: Fusion, orders: Orders, profile: Profile) -> None:
        self.v, self.fusion, self.orders = v, fusion, orders
        axes = [Axis(f"d{k}", v.shape[k]) for k in (0, 2, 3)]  # panel, input channel, output one
        self.nest = Nest("map", axes, [], profile.small_extent, profile.literal_strides)
        self.body: list[Statement] = []

    def run(self) -> Lowered:
        v = self.v
        taps = self._taps()
        along = [self._along(column) for column in zip(*taps, strict=True)]
        points = [self._along(row) for row in zip(*along, strict=True)]
        to = self.nest.buffer(v, "w")
        home = self.fusion.home(v, self.orders)
        _, point, *_ = home.address.strides
        strides = tuple(0 if k == 1 else s for k, s in enumerate(home.address.strides))
        for n, name in enumerate(x for row in points for x in row):
            at = affine(Form(strides, home.address.offset + n * point), v.shape)
            self.body.append(Store(to, name, at, where=str(v.where)))
        self.nest.phases = [Phase((), tuple(self.body))]
        return self.nest.finish("winograd", (v,))

    def _taps(self) -> list[list[str]]:
        """Loads of the weights, row by row."""
        base, chain = self._source()
        view = walk(self.fusion.home(base, self.orders), chain)
        if view.guards:
            raise InternalError(f"{self.v.name} reads weights that have borders")
        outs, ins, down, right = view.address.strides
        buffer, panel = self.nest.buffer(base, "r"), self.v.shape[-1]
        strides = (outs * panel, 0, ins, outs)
        return [
            [self._load(buffer, Form(strides, view.address.offset + r * down + s * right))
             for s in range(TAPS)]
            for r in range(TAPS)
        ]  # fmt: skip

    def _source(self) -> tuple[Value, Chain]:
        """The stored weights, and the movement over them."""
        (v,), chain = self.v.args, list[Step]()
        while not (v.is_input or v in self.fusion.materialised):
            if v.op is None or not is_free(v) or v.op.kind != "movement":
                raise InternalError(f"{self.v.name} reads {v.name}, which is not in memory")
            chain.append(step_of(v))
            v = v.args[0]
        return v, tuple(reversed(chain))

    def _along(self, g: Sequence[str]) -> list[str]:
        """G g: three taps at the six points."""
        outer = self._apply("add", g[0], g[2])
        scale, turned = (float(row[0]) for row in G[1:3])
        return [
            g[0],
            self._scaled(scale, self._apply("add", outer, g[1])),
            self._scaled(turned, self._apply("sub", outer, g[1])),
            *(self._sum([float(x) for x in row], g) for row in G[3 : POINTS - 1]),
            g[2],
        ]

    def _sum(self, row: Sequence[float], g: Sequence[str]) -> str:
        first, *rest = (self._scaled(x, tap) for x, tap in zip(row, g, strict=True))
        for term in rest:
            first = self._apply("add", first, term)
        return first

    def _scaled(self, x: float, name: str) -> str:
        return self._apply("mul", name, self.nest.scalar(x, f32))

    def _apply(self, op: str, *args: str) -> str:
        self.body.append(Apply(self._fresh(), f32, op, args, str(self.v.where)))
        return f"%{len(self.body) - 1}"

    def _load(self, buffer: str, form: Form) -> str:
        at = affine(form, self.v.shape)
        self.body.append(Load(self._fresh(), f32, buffer, at, where=str(self.v.where)))
        return f"%{len(self.body) - 1}"

    def _fresh(self) -> str:
        return f"%{len(self.body)}"
