"""Spans hold for every sample, and there is none of what may be infinite or NaN."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from graphc.ir.extent import extent_of
from graphc.ir.kernel import Affine, Apply, Axis, Buffer, Dot, Kernel, Load, Phase, Reduce, Store
from graphc.ir.ops import OPS
from graphc.ir.symbols import Extents
from graphc.ir.types import bool_, f16, f32
from graphc.passes.nest import Lowered
from graphc.passes.spans import MOST, RULES, Known, Span, largest, stored

SPANS = Span(-3.0, 2.0), Span(0.0, 4.0), Span(0.25, 1.5), Span(-2.0, -0.5), Span(-1e30, 1e30)
ONE = Affine((("d0", 1),))
BINARY = {"add", "sub", "mul", "div", "maximum", "minimum"}


def lowered(*body: object, reads: int, loops: int = 0) -> Lowered:
    """A kernel over 8 points that stores the last name; with loops, after one of so many trips."""
    names = [f"b{k}" for k in range(reads)]
    buffers = (*(Buffer(n, f32, "r") for n in names), Buffer("y", f32, "w"))
    last = body[-1].name  # type: ignore[attr-defined]
    store = Phase((), (Store("y", last, ONE),))
    phases = Phase((Axis("d1", loops),) if loops else (), body), store  # type: ignore[arg-type]
    if not loops:
        phases = (Phase((), (*body, Store("y", last, ONE))),)  # type: ignore[arg-type]
    kernel = Kernel("k", "map", buffers, (), (), (Axis("d0", 8),), phases)
    return Lowered(kernel, (), (), (), ())


def span_of(op: str, *spans: Known) -> Known:
    loads = [Load(f"%{k}", f32, f"b{k}", ONE) for k in range(len(spans))]
    apply = Apply(f"%{len(spans)}", f32, op, tuple(x.name for x in loads))
    given = {f"b{k}": s for k, s in enumerate(spans)}
    return stored(lowered(*loads, apply, reads=len(spans)), given)["y"]


@pytest.mark.parametrize("op", sorted(RULES.keys() - {"where", "cast"}))
def test_what_an_op_gives_lies_in_its_span(op: str) -> None:
    some = False
    for spans in product(SPANS, repeat=2 if op in BINARY else 1):
        if (found := span_of(op, *spans)) is None:
            continue
        some = True
        points = [np.linspace(s.lo, s.hi, 9, dtype=np.float32) for s in spans]
        given = [x.ravel() for x in np.meshgrid(*points)]
        values = np.asarray(OPS[op].evaluate(*given))
        assert np.isfinite(values).all(), (op, spans)
        assert found.lo <= values.min() and values.max() <= found.hi, (op, spans)
    assert some


@pytest.mark.parametrize(
    ("op", "spans"),
    [
        ("div", (Span(1.0, 2.0), Span(-1.0, 1.0))),  # by zero
        ("sqrt", (Span(-1.0, 1.0),)),
        ("log", (Span(0.0, 1.0),)),
        ("exp", (Span(0.0, 1000.0),)),
        ("mul", (Span(-1e30, 1e30), Span(-1e30, 1e30))),  # too large for float32
        ("pow", (Span(1.0, 2.0), Span(1.0, 2.0))),  # no row
        ("add", (None, Span(1.0, 2.0))),
    ],
)  # fmt: skip
def test_of_what_may_be_infinite_or_nan_nothing_is_known(op: str, spans: tuple[Known, ...]) -> None:
    assert span_of(op, *spans) is None


def test_a_square_is_not_negative_and_a_sum_has_as_many_terms_as_its_loop() -> None:
    load = Load("%0", f32, "b0", Affine((("d0", 8), ("d1", 1))))
    square = Apply("%1", f32, "mul", ("%0", "%0"))
    found = stored(
        lowered(load, square, Reduce("%2", f32, "sum", "%1"), reads=1, loops=100),
        {"b0": Span(-2.0, 3.0)},
    )["y"]
    assert found is not None and found.lo == 0.0 and 900.0 <= found.hi < 1000.0
    other = Load("%1", f32, "b1", Affine((("d1", 1),)))
    found = stored(
        lowered(load, other, Dot("%2", f32, "%0", "%1"), reads=2, loops=100),
        {"b0": Span(-2.0, 3.0), "b1": Span(-1.0, 0.5)},
    )["y"]
    assert found is not None and found.lo <= -300.0 and 300.0 <= found.hi < 400.0


@pytest.mark.parametrize(("hint", "most"), [(8, MOST), (MOST + 1, MOST**2)])
def test_how_many_terms_a_sum_over_an_extent_has_is_a_condition(hint: int, most: int) -> None:
    scope = Extents()
    n = extent_of(scope.symbol("B", "batch", hint))

    def over(size: int, op: str) -> Known:
        load = Load("%0", f32, "b0", Affine((("d1", 1),)))
        kernel = lowered(load, Reduce("%1", f32, op, "%0"), reads=1, loops=1).kernel
        loop = replace(kernel.phases[0], axes=(Axis("d1", "s0"),))
        kernel = replace(kernel, sizes=("s0",), phases=(loop, *kernel.phases[1:]))
        return stored(Lowered(kernel, (), (size,), (), ()), {"b0": Span(-1.0, 2.0)})["y"]

    with scope.passes():
        assert over(n, "max") is not None and over(n - 4, "max") is None  # of none it is infinite
        assert not scope.conditions
        found = over(n, "sum")
    assert found is not None and found.hi >= 2.0 * most > found.hi * 0.9
    (condition,) = scope.conditions.values()
    assert condition.met(lambda _: most) and not condition.met(lambda _: most + 1)


def test_what_is_too_large_for_half_a_type_has_no_span() -> None:
    assert largest(f16) == 65504.0 and largest(f32) == float(np.finfo(np.float32).max)
    load = Load("%0", f32, "b0", ONE)
    body = (load, Apply("%1", f16, "cast", ("%0",)), Apply("%2", f32, "cast", ("%1",)))
    assert stored(lowered(*body, reads=1), {"b0": Span(-7e4, 7e4)})["y"] is None
    assert stored(lowered(*body, reads=1), {"b0": Span(-9.0, 9.0)})["y"] is not None
    test = Apply("%1", bool_, "le", ("%0", "%0"))
    cast = Apply("%2", f32, "cast", ("%1",))
    assert stored(lowered(load, test, cast, reads=1), {"b0": None})["y"] is not None
