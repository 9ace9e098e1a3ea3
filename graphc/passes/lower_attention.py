"""lower_attention: the values of one attention become a kernel of loads, results and stores.

Every operand is in memory (`foresee`), and its address is over the parallel axes, which number the
matrices, and its own of the axes of `ir/kernel_attention.py`. How deep heads are is part of the
text, how long sequences are only where strides are, too.
"""

from __future__ import annotations

from math import inf
from typing import Any

from graphc.errors import InternalError
from graphc.ir.graph import Value
from graphc.ir.kernel import Affine, Apply, Axis, Const, Load, Phase, Statement, Store
from graphc.ir.kernel_attention import ATTRS, OPERANDS, RESULTS
from graphc.ir.types import DType, Scalar, bool_, f32, i64
from graphc.passes.group import Fusion, Group, is_free, moved
from graphc.passes.nest import Lowered, Nest
from graphc.passes.orders import Orders
from graphc.passes.profile import Profile
from graphc.passes.view import View

LITERAL = {"l": False, "s": False, "e": True, "f": True}  # extents that are part of the text
ATTR_TYPES = {"scale": f32, "causal": bool_, "fill": f32, "safe": bool_, "drop": i64, "gain": f32}


def lower_attention(group: Group, fusion: Fusion, orders: Orders, profile: Profile) -> Lowered:
    """The kernel of `group`."""
    return _Lowering(group, fusion, orders, profile).run()


class _Lowering:
    def __init__(self, group: Group, fusion: Fusion, orders: Orders, profile: Profile) -> None:
        self.group, self.fusion, self.orders = group, fusion, orders
        q, k, v = group.members[0].args[:3]
        self.lead = [f"d{n}" for n in range(len(q.shape) - 2)]
        extents = (*q.shape[-2:-1], *k.shape[-2:], v.shape[-1])
        inner = [Axis(name, n) for name, n in zip(LITERAL, extents, strict=True)]
        outer = [Axis(name, n) for name, n in zip(self.lead, q.shape)]
        literal = profile.literal_strides  # of which lengths are parts
        named = {name: always or literal for name, always in LITERAL.items()}
        small = profile.small_extent
        self.nest = Nest("attention", outer, inner, small, literal, named=named)
        self.axes = tuple(inner)
        self.body: list[Statement] = []

    def run(self) -> Lowered:
        first = self.group.members[0]
        where = str(first.where)
        names = [
            self._operand(a, own, where)
            for a, own in zip(first.args, OPERANDS.values(), strict=False)
        ]
        names += [self._number(first.attrs[a], ATTR_TYPES[a], where) for a in ATTRS]
        for v in self.group.members:
            if v in self.group.outputs:
                assert v.op is not None
                own = RESULTS[v.op.name]
                made = Apply(self._fresh(), v.spec.dtype, v.op.name, tuple(names), str(v.where))
                self.body.append(made)
                at = self._at(self.fusion.home(v, self.orders), own)
                self.body.append(Store(self.nest.buffer(v, "w"), made.name, at, where=made.where))
        stores = [s for s in self.body if isinstance(s, Store)]
        rest = [s for s in self.body if not isinstance(s, Store)]
        self.nest.phases = [Phase(tuple(self.nest.reduced), (*rest, *stores))]
        return self.nest.finish(self.group.name(), self.group.members)

    def _fresh(self) -> str:
        return f"%{sum(not isinstance(s, Store) for s in self.body)}"

    def _operand(self, v: Value, own: str, where: str) -> str:
        if v.const is not None:
            return self._number(v.const, v.spec.dtype, where)
        chain, top = [], v
        while not (v.is_input or v in self.fusion.materialised):
            if v.op is None or not is_free(v) or v.op.kind != "movement":
                raise InternalError(f"attention reads {top.name}, which is not in memory")
            chain.append(v)
            v = v.args[0]
        view = moved(self.fusion.home(v, self.orders), reversed(chain))
        if view.guards:
            raise InternalError(f"attention reads {top.name}, which has borders")
        name, buffer = self._fresh(), self.nest.buffer(v, "r")
        self.body.append(Load(name, v.spec.dtype, buffer, self._at(view, own), where=where))
        return name

    def _at(self, view: View, own: str) -> Affine:
        names = [*self.lead, *own] if view.shape else []
        strides = zip(names, view.address.strides, view.shape, strict=True)
        return Affine(tuple((a, s) for a, s, n in strides if s and n > 1), view.address.offset)

    def _number(self, value: Any, dtype: DType, where: str) -> str:
        """What changes the code is a literal, everything else an argument."""
        if dtype is bool_ or value in (0, 1, -inf):
            return self._literal(value, dtype, where)
        return self.nest.scalar(value, dtype, shared=False)

    def _literal(self, value: Scalar, dtype: DType, where: str) -> str:
        name = self._fresh()
        self.body.append(Const(name, dtype, value, where))
        return name
