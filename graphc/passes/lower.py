"""lower: one group of values becomes one Kernel.

The loops of a kernel are the dimensions of the group's domain (plus the summed dimensions of a
contraction). Every value is emitted on demand *under a chain*: the movement ops between it and the
domain. Movement ops only lengthen the chain; at a buffer, the chain turns into one affine address.
What depends on a reduced dimension goes into the loop of the current phase, all else before it.

Invariant: an emitted name means the value at the current point of the domain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from math import isinf, isnan, prod

from graphc.errors import IntegerDivisionByZero, InternalError
from graphc.ir.extent import is_unknown
from graphc.ir.graph import Value
from graphc.ir.kernel import (
    Apply,
    Axis,
    Const,
    Definition,
    Dot,
    Index,
    Indirect,
    Inside,
    Load,
    Partial,
    Phase,
    Reduce,
    Statement,
    Store,
)
from graphc.ir.meaning.elementwise import by_zero
from graphc.ir.ops import OPS
from graphc.ir.program import CheckSite
from graphc.ir.types import DType, Scalar, Shape, bool_, i64
from graphc.passes.chain import Chain, Step, step, step_of, walk
from graphc.passes.contraction import contraction_views, split_dims, split_groups
from graphc.passes.group import (
    KEPT,
    Fusion,
    Group,
    is_free,
    is_reduce,
    numbered,
    pads_with_more,
)
from graphc.passes.lower_attention import lower_attention
from graphc.passes.nest import Lowered, Nest, affine, guards
from graphc.passes.orders import Orders, reduced_source
from graphc.passes.profile import Profile
from graphc.passes.routine import lower_routine
from graphc.passes.view import Form, View, pad_ranges

LITERALS = (0, 1, -1)
Checks = list[CheckSite]


def lower(
    group: Group, fusion: Fusion, orders: Orders, checks: Checks, profile: Profile
) -> Lowered:
    """The kernel of `group`."""
    if group.kind == "routine":
        return lower_routine(group.members[0], fusion, orders, checks)
    if group.kind == "attention":
        return lower_attention(group, fusion, orders, profile)
    return _Lowering(group, fusion, orders, checks, profile).run()


class _Lowering:
    """Emits one group: `point` collects statements per parallel point, `loop` per step of it."""

    def __init__(
        self, group: Group, fusion: Fusion, orders: Orders, checks: Checks, profile: Profile
    ) -> None:
        self.group = group
        self.profile = profile
        self.fusion = fusion
        self.materialised = fusion.materialised
        self.orders = orders
        self.checks = checks
        self.members = frozenset(group.members)
        self.contraction = next((v for v in group.members if _is_kind(v, "contract")), None)
        self.domain: Shape = group.domain
        if self.contraction is not None:
            self.domain = split_groups(self.contraction)
        self.reduced = self.group.looped()
        self.nest = self._nest()
        self.point: list[Statement] = []
        self.loop: list[Statement] = []
        self.point_memo: dict[object, str] = {}
        self.loop_memo: dict[object, str] = {}
        self.reductions: dict[Value, str] = {}  # results of reductions and of the contraction
        self.in_loop: set[str] = set()  # names defined inside a reduction loop
        self.count = 0

    def run(self) -> Lowered:
        KINDS[self.group.kind](self)
        return self.nest.finish(self.group.name(), self.group.members)

    def _nest(self) -> Nest:
        order = self._memory_order()
        axes = [Axis(f"d{k}", self.domain[k]) for k in order]
        parallel = [a for a, k in zip(axes, order, strict=True) if k not in self.reduced]
        reduced = [a for a, k in zip(axes, order, strict=True) if k in self.reduced]
        profile = self.profile
        return Nest(
            self.group.kind, parallel, reduced, profile.small_extent, profile.literal_strides
        )

    def _memory_order(self) -> Shape:
        """Dimensions of the loops, outermost in memory first."""
        return self._own_dims(self.group.loop_order(self.orders))

    def _own_dims(self, dims: Iterable[int]) -> Shape:
        """Dimensions of the group in the domain of the loops."""
        if len(self.domain) == len(self.group.domain):
            return tuple(dims)
        return tuple(j for k in dims for j in split_dims(k))

    # ---- the three kinds of group --------------------------------------------------------------

    def _map(self) -> None:
        """Phases: each loop runs the reductions that are ready and stores what is ready."""
        g = self.group
        stage = self._stages()
        last = max(stage.values(), default=0)
        for level in range(last + 1):
            for v in g.members:
                if stage[v] == level and g.levels[v] != KEPT and v in g.outputs:
                    self._store(v)
            for v in g.members:
                if is_reduce(v) and stage[v] == level:
                    self._reduce(v)
            self._close_phase()
            for v in g.members:
                if g.levels[v] == KEPT and v in g.outputs and self._ready(v, stage) == level:
                    self._store(v)
        self._close_phase()

    def _stages(self) -> dict[Value, int]:
        """The loop in which each member is computed: after every reduction it reads."""
        stage: dict[Value, int] = {}
        for v in self.group.members:
            stage[v] = max((self._stage_of(a, stage) for a in v.args), default=0)
        return stage

    def _stage_of(self, v: Value, stage: dict[Value, int]) -> int:
        """The first loop in which v is known; of what is computed here again, noted in `stage`."""
        if v in self.members:
            return stage[v] + (1 if is_reduce(v) else 0)
        if v in self.materialised:
            return 0
        if v not in stage:
            stage[v] = max((self._stage_of(a, stage) for a in v.args), default=0)
        return stage[v]

    def _ready(self, v: Value, stage: Mapping[Value, int]) -> int:
        """The loop after which a kept value is known."""
        return stage[v] if is_reduce(v) else max(stage[v] - 1, 0)

    def _contract(self) -> None:
        v = self.contraction
        assert v is not None
        spec = contraction_views(v, self._operand(v, v.args[0]), self._operand(v, v.args[1]))
        self.nest.cut = v.op is OPS["dot"]
        self.nest.winograd = v.attrs.get("winograd", 0)
        first = len(self.domain)
        self.nest.geometry, self.nest.mixes = spec.geometry, self.profile.mixed_roles
        self.nest.reduced = [Axis(f"d{first + n}", spec.summed[n]) for n in spec.order(v)]
        bases = [self._base(v, arg)[0] for arg in v.args]
        names = [self._emit_load(*at, v, inside=True) for at in zip(bases, spec.views, strict=True)]
        name = self._fresh()
        self._put(Dot(name, v.spec.dtype, names[0], names[1], str(v.where)), True)
        self.reductions[v] = name
        self._close_phase()
        for out in self.group.outputs:
            if is_reduce(out):
                self._partial(out)
            else:
                self._store(out)
        self._close_phase()

    def _partial(self, v: Value) -> None:
        """A sum over dimensions of the result, which is done when their points are."""
        value = self.emit(reduced_source(v)[0], self._to_domain())
        view, dims = self._view(v, self._own_chain(v)), self._own_dims(sorted(self.group.reduced))
        over, points = tuple(f"d{k}" for k in dims), prod(self.domain[k] for k in dims)
        at, buffer = affine(view.address, view.shape), self.nest.buffer(v, "w")
        self.nest.partials.append(Partial(buffer, "sum", value, at, over, points, str(v.where)))

    def _operand(self, reader: Value, arg: Value) -> View:
        """Where a contraction's operand lies."""
        base, chain = self._base(reader, arg)
        return self._view(base, chain)

    def _scatter(self) -> None:
        """Zeros first, then each row added at its number, in order."""
        (v,) = self.group.outputs
        x, index = v.args
        axis, rank = v.attrs["axis"], len(self.reduced)
        home = self.fusion.home(v, self.orders).address
        strides = home.strides
        rows = Form((*strides[:axis], *([0] * rank), *strides[axis + 1 :]), home.offset)
        buffer = self.nest.buffer(v, "rw")
        where = str(v.where)
        zero = Const(self._fresh(), v.spec.dtype, 0, where)
        fill = Axis(f"d{len(self.domain)}", v.shape[axis])
        at = affine(rows, self.domain)
        blank = replace(at, terms=(*at.terms, (fill.name, strides[axis])))
        self.nest.phases.append(
            Phase((fill,), (zero, Store(buffer, zero.name, blank, where=where)))
        )
        chain: Chain = ()
        if v.op is not None and v.op.name == "scatter_add":
            chain = (step("reshape", shape=self._only(self.reduced)), step("expand", shape=x.shape))
        value = self.emit(x, ())
        place = self._cast(self.emit(index, chain), index.spec.dtype, i64)
        rounds = v.spec.dtype.is_floating_point
        rows_at = (Indirect(place, strides[axis]),)
        self._put(Store(buffer, value, at, (), rows_at, True, rounds, where=where), True)
        self._close_phase()

    def _only(self, dims: frozenset[int]) -> Shape:
        return tuple(n if k in dims else 1 for k, n in enumerate(self.domain))

    # ---- phases --------------------------------------------------------------------------------

    def _close_phase(self) -> None:
        """Statements so far become phases: what is once per point, then the reduction loop."""
        if self.point:
            self.nest.phases.append(Phase((), tuple(self.point)))
        if self.loop:
            self.nest.phases.append(Phase(tuple(self.nest.reduced), tuple(self.loop)))
        self.point, self.loop, self.loop_memo = [], [], {}

    def _reduce(self, v: Value) -> None:
        assert v.op is not None
        arg = self.emit(reduced_source(v)[0], ())
        name = self._fresh()
        self._put(Reduce(name, v.spec.dtype, v.op.name, arg, str(v.where)), True)
        self.reductions[v] = name

    def _store(self, v: Value) -> None:
        chain = self._own_chain(v)
        value = self.emit(v, chain)
        view = self._view(v, chain)
        buffer = self.nest.buffer(v, "w")
        inside = self.group.levels[v] != KEPT and bool(self.reduced)
        self._put(
            Store(buffer, value, affine(view.address, view.shape), where=str(v.where)), inside
        )

    def _own_chain(self, v: Value) -> Chain:
        """From a member's own dimensions to the domain."""
        g = self.group
        level = g.levels[v]
        if level == KEPT:
            kept = (step("reshape", shape=g.kept_shape), step("expand", shape=g.domain))
            return (*kept, *self._to_domain())
        chain: Chain = () if level == tuple(range(len(level))) else (step("transpose", perm=level),)
        return (*chain, *self._to_domain())

    def _to_domain(self) -> Chain:
        """From the group's dimensions to those of the loops."""
        return (step("reshape", shape=self.domain),) if self.domain != self.group.domain else ()

    # ---- statements ----------------------------------------------------------------------------

    def _fresh(self) -> str:
        self.count += 1
        return f"%{self.count - 1}"

    def _put(self, s: Statement, inside: bool) -> None:
        (self.loop if inside else self.point).append(s)
        if inside and not isinstance(s, Store | Reduce | Dot):
            self.in_loop.add(s.name)

    def _once(self, key: object, inside: bool, make: Callable[[str], Definition]) -> str:
        """The statement for `key`, made at its first use."""
        known = self.point_memo.get(key) or self.loop_memo.get(key)
        if known is not None:
            return known
        name = self._fresh()
        self._put(make(name), inside)
        (self.loop_memo if inside else self.point_memo)[key] = name
        return name

    def _apply(self, op: str, dtype: DType, args: tuple[str, ...], where: str = "") -> str:
        inside = any(a in self.in_loop for a in args)
        key = ("apply", op, dtype, args)
        return self._once(key, inside, lambda name: Apply(name, dtype, op, args, where))

    def _in_loop(self, view: View) -> bool:
        """Whether an address or guard changes inside the reduction loop."""
        forms = (view.address, *(g.form for g in view.guards))
        last = len(self.domain)
        return any(
            s and view.shape[k] > 1 and (k in self.reduced or k >= last)
            for f in forms
            for k, s in enumerate(f.strides)
        )

    # ---- values --------------------------------------------------------------------------------

    def emit(self, v: Value, chain: Chain) -> str:
        """The name of `v` at the current point, seen through `chain`."""
        if v in self.reductions:
            return self.reductions[v]
        key = (v, chain)
        known = self.point_memo.get(key) or self.loop_memo.get(key)
        if known is None:
            known = self._compute(v, chain)
            (self.loop_memo if known in self.in_loop else self.point_memo)[key] = known
        return known

    def _compute(self, v: Value, chain: Chain) -> str:
        if v.const is not None:
            return self._constant(v.const, v.spec.dtype)
        if self._is_stored(v):
            return self._emit_load(v, self._view(v, chain), v)
        assert v.op is not None
        rule = EMIT_KIND.get(v.op.kind)
        if rule is None:
            raise InternalError(f"{v.name} = {v.op.name} is not available in this kernel")
        return rule(self, v, chain)

    def _is_stored(self, v: Value) -> bool:
        return v.is_input or (v in self.materialised and v not in self.members)

    def _constant(self, value: Scalar, dtype: DType) -> str:
        """0, 1, -1, infinities and NaN are literals; every other number is an argument."""
        if is_unknown(value):
            return self.nest.scalar(value, dtype)
        special = isinstance(value, float) and (isnan(value) or isinf(value))
        if special or value in LITERALS or dtype is bool_:
            key = ("const", repr(value), dtype)
            return self._once(key, False, lambda name: Const(name, dtype, value))
        return self.nest.scalar(value, dtype)

    def _emit_load(
        self,
        base: Value,
        view: View,
        reader: Value,
        indirect: tuple[Indirect, ...] = (),
        inside: bool = False,
    ) -> str:
        at, tests = affine(view.address, view.shape), guards(view)
        inside = inside or self._in_loop(view) or any(i.index in self.in_loop for i in indirect)
        buffer = self.nest.buffer(base, "r")
        where, dtype = str(reader.where), base.spec.dtype
        key = ("load", base, at, tests, indirect)
        return self._once(
            key, inside, lambda name: Load(name, dtype, buffer, at, tests, indirect, where)
        )

    def _view(self, base: Value, chain: Chain) -> View:
        return walk(self.fusion.home(base, self.orders), chain)

    def _base(self, reader: Value, v: Value) -> tuple[Value, Chain]:
        """The stored value under movement, and the chain to `v`."""
        chain: list[Step] = []
        top = v
        while not self._is_stored(v):
            if not is_free(v) or v.op is None or v.op.kind != "movement" or pads_with_more(v):
                raise InternalError(f"{reader.name} reads {top.name}, which is not in memory")
            chain.append(step_of(v))
            v = v.args[0]
        return v, tuple(reversed(chain))

    # ---- one rule for each kind of op ----------------------------------------------------------

    def _elementwise(self, v: Value, chain: Chain) -> str:
        assert v.op is not None
        args = [self.emit(a, chain) for a in v.args]
        if v.op.name == "check_index":
            bound = self.nest.scalar(v.attrs["bound"], i64)
            args = [self._inside(v, chain, args[0], 0), bound, self._site(v.attrs["what"], v)]
        elif v.op.name == "check":
            holds = self._inside(v.args[1], chain, args[1], True)
            args = [args[0], holds, self._site(v=v, **v.attrs)]
        elif v.op.can_fail(v.spec.dtype):
            what, error = by_zero(v.op.name, v.spec.dtype.numpy), IntegerDivisionByZero.__name__
            args = [args[0], self._inside(v, chain, args[1], 1), self._site(what, v, error)]
        return self._apply(v.op.name, v.spec.dtype, tuple(args), str(v.where))

    def _site(self, what: str, v: Value, error: str = "", fix: str = "") -> str:
        """The number under which a failed check of `v` reports itself."""
        site = CheckSite(what, (v.where.file, v.where.line, v.where.scope), error, fix)
        if site not in self.checks:
            self.checks.append(site)
        return self.nest.scalar(self.checks.index(site), i64, shared=False)

    def _movement(self, v: Value, chain: Chain) -> str:
        """What is under the movement, with padding that no load gives put around it."""
        padded: list[tuple[Value, Chain]] = []
        while v.op is not None and v.op.kind == "movement" and not self._is_stored(v):
            if v.op.name == "pad" and not self._pads_loads_with_zero(v):
                padded.append((v, chain))
            if v.op.name != "contiguous":
                chain = (step_of(v), *chain)
            v = v.args[0]
        name = self.emit(v, chain)
        for v, outside in reversed(padded):
            name = self._padded(v, outside, name)
        return name

    def _pads_loads_with_zero(self, v: Value) -> bool:
        """A guarded load already gives zero outside."""
        u = v.args[0]
        if pads_with_more(v):
            return False
        while not self._is_stored(u):
            if not is_free(u) or u.op is None or u.op.kind != "movement" or u.op.name == "pad":
                return False
            u = u.args[0]
        return True

    def _padded(self, v: Value, chain: Chain, name: str) -> str:
        """where(inside, name, the padding value)"""
        ranges = pad_ranges(v.args[0].shape, v.attrs["low"], v.attrs["high"])
        nowhere = Form((0,) * len(v.shape))
        view = walk(View(v.shape, nowhere, tuple(ranges)), chain)
        return self._where_inside(v, view, name, v.attrs.get("value", 0.0))

    def _inside(self, v: Value, chain: Chain, name: str, other: Scalar) -> str:
        """An operand of a check, or what never fails where padding stands around `v`."""
        view = walk(View(v.shape, Form((0,) * len(v.shape))), chain)
        return self._where_inside(v, view, name, other)

    def _where_inside(self, v: Value, view: View, name: str, other: Scalar) -> str:
        tests, where, dtype = guards(view), str(v.where), v.spec.dtype
        if not tests:
            return name
        test = self._once(
            ("inside", tests), self._in_loop(view), lambda n: Inside(n, bool_, tests, where)
        )
        return self._apply("where", dtype, (test, name, self._constant(other, dtype)), where)

    def _source(self, v: Value, chain: Chain) -> str:
        assert v.op is not None
        where = str(v.where)
        view = walk(numbered(v), chain)
        at = affine(view.address, view.shape)
        name = self._once(("index", at), self._in_loop(view), lambda n: Index(n, i64, at, where))
        if v.op.name == "iota":
            return self._cast(name, i64, v.spec.dtype)
        ones = step("reshape", shape=(1,) * len(self.domain))
        scalar: Chain = (ones, step("expand", shape=self.domain))
        seed, draw = (self.emit(a, scalar) for a in v.args)
        return self._apply("random_bits", v.spec.dtype, (seed, draw, name), where)

    def _cast(self, name: str, old: DType, new: DType) -> str:
        return name if old is new else self._apply("cast", new, (name,))

    def _index(self, v: Value, chain: Chain) -> str:
        """gather and take_along: a load whose address holds a value."""
        assert v.op is not None
        table, index = v.args
        axis = v.attrs["axis"]
        base, path = self._base(v, table)
        view = self._view(base, path)
        if view.guards:
            raise InternalError(f"{v.name} reads {table.name}, which has borders")
        s = view.address.strides
        spread: Chain = ()
        strides = (*s[:axis], 0, *s[axis + 1 :])
        if v.op.name == "gather":
            rank = len(index.shape)
            strides = (*s[:axis], *([0] * rank), *s[axis + 1 :])
            ones = (*([1] * axis), *index.shape, *([1] * (len(v.shape) - axis - rank)))
            spread = (step("reshape", shape=ones), step("expand", shape=v.shape))
        place = self._cast(self.emit(index, (*spread, *chain)), index.spec.dtype, i64)
        rows = walk(View(v.shape, Form(strides, view.address.offset)), chain)
        return self._emit_load(base, rows, v, (Indirect(place, s[axis]),))


def _is_kind(v: Value, kind: str) -> bool:
    return v.op is not None and v.op.kind == kind


KINDS: Mapping[str, Callable[[_Lowering], None]] = {
    "map": _Lowering._map,
    "contract": _Lowering._contract,
    "scatter": _Lowering._scatter,
}
EMIT_KIND: Mapping[str, Callable[[_Lowering, Value, Chain], str]] = {
    "elementwise": _Lowering._elementwise,
    "movement": _Lowering._movement,
    "source": _Lowering._source,
    "index": _Lowering._index,
}
