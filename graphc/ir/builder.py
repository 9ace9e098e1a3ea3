"""Builder: the only maker of values. Infers the type, records the line, never builds one twice."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from graphc.errors import GraphcError, user_frame, user_stack
from graphc.ir.extent import is_unknown
from graphc.ir.graph import Stack, Value, Where
from graphc.ir.ops import OPS, Attrs, Op
from graphc.ir.types import Scalar, TensorSpec

UNSPEAKABLE = re.compile(r"[\s,:=(){}#]")  # in a label: the text of a Graph is read by these


class Builder:
    """Makes the values of one trace and of every graph that passes derive from it."""

    def __init__(self, like: Builder | None = None) -> None:
        """`like`: another builder, some of whose values are built again here."""
        self._made: dict[Hashable, Value] = {}
        self._names: set[str] = set()
        self.here: Where | None = None  # provenance while a pass or the parser builds
        self.phase = ""  # "bw" and "opt" while those parts of a step are traced
        self.scope: list[str] = []  # module path while tracing
        self.making = ""  # the stage and rule that build
        self.pulling = ""  # the op whose derivative is traced
        self.pulled: dict[str, str] = like.pulled if like else {}  # the same, of values by name
        # By file, line and scope of a `Where`: the calls that led to the first value from there.
        self.stacks: dict[tuple[str, int, str], Stack] = like.stacks if like else {}
        self.derived: float = (
            like.derived if like else 0.0
        )  # seconds that derivatives took to trace
        self._places: dict[tuple[str, str, int, str], Where] = {}  # by the user's whole path
        self._count = 0
        self._families: dict[str, list[Any]] = {}  # by label: its first one, and how many followed

    def forget(self) -> None:
        """Hold no value any more: each holds its builder, and a ring of these lives until Python's
        collector comes."""
        self._made.clear()

    def input(self, name: str, spec: TensorSpec, where: Where | None = None) -> Value:
        """A fresh input; a name already taken gets a number, what no label holds becomes `_`."""
        label, k = f"%{UNSPEAKABLE.sub('_', name) or '_'}", 1
        first = label
        while label in self._names:
            k += 1
            label = f"{first}.{k}"
        return self._once(label, label, spec, None, (), {}, None, where)

    def constant(self, c: Scalar, spec: TensorSpec, name: str = "") -> Value:
        """A tensor filled with `c`; keyed by its text, because 0.0 == -0.0 and nan != nan."""
        if is_unknown(c):
            pass
        elif spec.dtype.is_floating_point:
            c = float(c)
        elif spec.dtype.category == 0:
            c = bool(c)
        else:
            c = int(c)
        return self._once((repr(c), spec), name, spec, None, (), {}, c)

    def apply(self, name: str, *args: Value | Scalar, **attrs: Any) -> Value:
        return self.emit(OPS[name], args, attrs)

    def emit(self, op: Op, args: Sequence[Value | Scalar], attrs: Attrs, name: str = "") -> Value:
        """Apply `op`; numbers become constants, and constants stand right where order is free."""
        values = self._lift(args)
        _constants_right(op, values)
        try:
            spec = op.infer(*[v._spec for v in values], **attrs)
        except GraphcError as e:
            e.what = f"{op.name}: {e.what}"
            raise
        key = (op, *values, *sorted(attrs.items())) if attrs else (op, *values)
        return self._once(key, name, spec, op, tuple(values), dict(attrs), None)

    def again(self, v: Value, args: Sequence[Value]) -> Value:
        """The op of `v` over other arguments; where their types are the same, so is its own."""
        assert v.op is not None
        for a, b in zip(args, v.args, strict=True):
            if a._spec is not b._spec and a._spec != b._spec:
                return self.emit(v.op, args, v.attrs)
        values = list(args)
        _constants_right(v.op, values)
        key = (v.op, *values, *sorted(v.attrs.items())) if v.attrs else (v.op, *values)
        return self._once(key, "", v._spec, v.op, tuple(values), v.attrs, None)

    def _lift(self, args: Sequence[Value | Scalar]) -> list[Value]:
        if all([type(a) is Value for a in args]):
            return list(args)  # type: ignore[arg-type]  # just checked
        like = next(a for a in reversed(args) if isinstance(a, Value)).spec
        return [a if isinstance(a, Value) else self.constant(a, like) for a in args]

    def at(self, where: Where, pulling: str = "") -> At:
        """Give every value built inside this provenance, `pulling`: as the derivative of an op."""
        return At(self, where, pulling)

    def by(self, maker: str) -> By:
        """Every value built inside says that this stage, or rule of the stage, made it."""
        return By(self, maker)

    @contextmanager
    def deriving(self) -> Iterator[None]:
        """Note how long derivatives take that are traced inside."""
        before, start = self.derived, time.perf_counter()
        try:
            yield
        finally:  # what was noted further inside is part of it
            self.derived = before + time.perf_counter() - start

    def mark(self) -> int:
        """A point in time: what is made later has a larger number."""
        return self._count

    def heir(self, w: Value, v: Value, since: int) -> Value:
        """`w`, which takes the place of `v`. If it was made since, it is called after it, %7 as
        %7.1 and then %7.2, so that a value can be followed through all stages."""
        if w.number <= since or w is v:
            return w
        family = self._families.setdefault(v.name, [v.name, 0])
        name = v.name
        while name in self._names:
            family[1] += 1
            name = f"{family[0]}.{family[1]}"
        self._names.discard(w.name)
        self._names.add(name)
        self._families[name] = family
        object.__setattr__(w, "name", name)  # nobody has seen it yet
        return w

    def twin(self, v: Value) -> Value:
        """`v` for a program that computes it twice: another buffer, so another name, %7.1."""
        name = self._fresh()
        self._names.add(name)
        return self.heir(replace(v, name=name), v, v.number - 1)

    def where(self) -> Where:
        """Provenance of a value built now: set by `at`, else the user's line."""
        if self.here is not None:
            return self.here
        frame = user_frame(2)
        path, line = (frame.f_code.co_filename, frame.f_lineno) if frame else ("", 0)
        scope = self.scope[-1] if self.scope else (frame.f_code.co_name if frame else "")
        key = self.phase, path, line, scope
        if (known := self._places.get(key)) is not None:
            return known
        at = self._places[key] = Where(self.phase, os.path.basename(path), line, scope)
        if at[1:] not in self.stacks:
            self.stacks[at[1:]] = user_stack(frame)
        return at

    def _once(
        self,
        key: Hashable,
        name: str,
        spec: TensorSpec,
        op: Op | None,
        args: tuple[Value, ...],
        attrs: Attrs,
        const: Scalar | None,
        where: Where | None = None,
    ) -> Value:
        made = self._made.get(key)
        if made is not None:
            return made
        self._count += 1
        if not name or name in self._names:
            name = self._fresh()
        at = where or self.here or self.where()
        v = Value(name, spec, self, op, args, attrs, const, at, self._count, self.making)
        self._made[key] = v
        self._names.add(name)
        if self.pulling:
            self.pulled[name] = self.pulling
        return v

    def _fresh(self) -> str:
        k = self._count
        while (name := f"%{k}") in self._names:
            k += 1
        return name


def _constants_right(op: Op, values: list[Value]) -> None:
    """Sort what may stand in any order: constants last."""
    if op.commutative and any([v.const is not None for v in values]):
        values.sort(key=lambda v: v.const is not None)


class At:
    """What `Builder.at` gives: entered for every value of every pass, so no generator."""

    __slots__ = ("_before", "_builder", "_now")

    def __init__(self, builder: Builder, where: Where, pulling: str) -> None:
        self._builder, self._now = builder, (where, pulling)

    def __enter__(self) -> None:
        b = self._builder
        self._before = b.here, b.pulling
        b.here, b.pulling = self._now

    def __exit__(self, *raised: object) -> None:
        self._builder.here, self._builder.pulling = self._before


class By:
    """What `Builder.by` gives: entered at each value that a rule looks at, so no generator."""

    __slots__ = ("_before", "_builder", "_maker")

    def __init__(self, builder: Builder, maker: str) -> None:
        self._builder, self._maker = builder, maker

    def __enter__(self) -> None:
        self._before = before = self._builder.making
        self._builder.making = f"{before}: {self._maker}" if before else self._maker

    def __exit__(self, *raised: object) -> None:
        self._builder.making = self._before
