"""Partial results of contraction kernels against the interpreter, whose sums run in float64."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import prod

import numpy as np
import pytest

from graphc.codegen_cpu.contract import plan as contraction_plan
from graphc.codegen_cpu.contract.plan import plan
from graphc.codegen_cpu.module import emit_kernel
from graphc.errors import InternalError
from graphc.ir.kernel import Affine, Apply, Buffer, Load, Partial, Statement, Statistic, Store
from graphc.ir.kernel_interpret import run_kernel
from graphc.ir.types import DType, bf16, f32, f64
from tests.codegen_cpu.contract_kernels import Case, Compiled, at, contract, conv, depthwise, matmul
from tests.codegen_cpu.test_contraction import HOST, TARGETS

POINTS = ("oy", "ox")
WIDE = (Apply("%wide", f64, "cast", ("%dot",)), Apply("%square", f64, "mul", ("%wide", "%wide")))


def with_partials(
    case: Case,
    over: Sequence[str],
    statistics: Sequence[tuple[Statistic, str, DType]] = (("sum", "%dot", f32),),
    parts: int = 1,
    epilogue: tuple[Statement, ...] = (),
    samples: int | None = None,
) -> Case:
    """The case with statistics of each sample and channel, the points in equal parts."""
    kernel = case.kernel
    points = [a for a in kernel.axes if a.name in over]
    kept = [a for a in kernel.axes if a.name not in over]
    run = prod(int(a.extent) for a in points) // parts
    channels = int(kept[-1].extent)
    first = at(**{kept[0].name: parts * channels, kept[-1].name: 1} if len(kept) > 1 else {})
    place = first if len(kept) > 1 else at(**{kept[-1].name: 1})
    if parts > 1:
        place = Affine((*place.terms, ("part", channels)), 0)
    rows = case.sizes.get("n0", kept[0].extent) if len(kept) > 1 else 1
    lengths, partials, buffers = dict(case.lengths), [], []
    for k, (op, value, dtype) in enumerate(statistics):
        partials.append(Partial(f"s{k}", op, value, place, tuple(a.name for a in points), run))
        buffers.append(Buffer(f"s{k}", dtype, "w"))
        lengths[f"s{k}"] = int(rows) * parts * channels
    body = (*kernel.phases[1].body, *epilogue)
    phases = (kernel.phases[0], replace(kernel.phases[1], body=body))
    made = replace(
        kernel, buffers=(*kernel.buffers, *buffers), phases=phases, partials=tuple(partials)
    )
    return Case(made, lengths, case.sizes, case.scalars)


def check(case: Case, exact: bool = True) -> None:
    """As the interpreter says, and with the same bits from any number of threads."""
    want = case.expected()
    for target in TARGETS:
        compiled = Compiled(case, target)
        once = compiled.run(1)
        for name in (b.name for b in case.kernel.buffers if b.access == "w"):
            if exact:
                np.testing.assert_array_equal(once[name], want[name], name)
            np.testing.assert_allclose(once[name], want[name], 2e-6, 1e-6, err_msg=name)
            for threads in (2, 3, 7):
                np.testing.assert_array_equal(compiled.run(threads)[name], once[name], name)


def pointwise(n: int, points: int, c: int, oc: int) -> Case:
    """A 1x1 convolution whose places are one axis."""
    kernel = contract(
        [("n", n), ("ox", points), ("oc", oc)], [("c", c)], at(n=points * c, ox=c, c=1),
        at(c=oc, oc=1), at(n=points * oc, ox=oc, oc=1),
    )  # fmt: skip
    return Case(kernel, {"a": n * points * c, "b": c * oc, "y": n * points * oc})


def along(n: int, m: int, k: int, columns: int) -> Case:
    """Products whose lanes run along the sum."""
    kernel = contract(
        [("n", n), ("ox", m), ("oc", columns)], [("k", k)], at(n=m * k, ox=k, k=1), at(oc=k, k=1),
        at(n=m * columns, ox=columns, oc=1),
    )  # fmt: skip
    return Case(kernel, {"a": n * m * k, "b": columns * k, "y": n * m * columns})


SHAPES = {
    "conv": conv(2, 7, 16, 32),
    "conv, lanes in part": conv(3, 6, 3, 10),
    "conv, odd extents": conv(2, 9, 5, 37),
    "conv, one channel": conv(2, 12, 1, 1),
    "conv, one pixel": conv(3, 3, 4, 20),
    "conv, one sample": conv(1, 9, 4, 24),
    "conv, stride 2": conv(2, 9, 4, 48, s=2),
    "conv, many samples": conv(5, 6, 8, 32, symbolic=True),
    "conv, no sample": conv(0, 6, 8, 32, symbolic=True),
    "pointwise": pointwise(3, 49, 16, 40),
    "pointwise, one place": pointwise(3, 1, 16, 40),
    "depthwise": depthwise(3, 9, 20),
    "along": along(2, 7, 300, 5),
    "along, columns in part": along(2, 9, 300, 7),
}


@pytest.mark.parametrize("name", SHAPES)
def test_sums_of_a_sample(name: str) -> None:
    case = SHAPES[name]
    over = [a.name for a in case.kernel.axes if a.name in POINTS]
    three = [("sum", "%dot", f32), ("sum", "%wide", f64), ("sum", "%square", f64)]
    check(with_partials(case, over, three, epilogue=WIDE))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "case, parts",
    [(conv(2, 8, 4, 20), 3), (conv(2, 16, 3, 33), 7), (pointwise(2, 60, 8, 20), 4),
     (depthwise(2, 14, 20), 2)],
)  # fmt: skip
def test_runs_are_parts_of_a_sample(case: Case, parts: int) -> None:
    over = [a.name for a in case.kernel.axes if a.name in POINTS]
    check(with_partials(case, over, parts=parts))


def test_a_run_is_a_whole_batch_of_literal_extent() -> None:
    """Of three axes, when the first is cut: a sample is a run, numbered from outside."""
    check(with_partials(conv(6, 6, 8, 32), ("n", "oy", "ox"), parts=6))


def test_means_and_deviations() -> None:
    three: list[tuple[Statistic, str, DType]]
    three = [("mean", "%dot", f32), ("deviations", "%dot", f32), ("sum", "%dot", f32)]
    check(with_partials(conv(2, 9, 4, 20), POINTS, three, parts=7), exact=False)


def test_deviations_keep_their_digits_beside_a_large_mean() -> None:
    case = with_partials(pointwise(2, 196, 1, 16), ("ox",), [("deviations", "%dot", f32)])
    rng = np.random.default_rng(0)
    data = case.data() | {
        "a": (1000 + rng.standard_normal(392)).astype(np.float32),
        "b": np.ones(16, np.float32),
    }
    case.data = lambda seed=0: {n: x.copy() for n, x in data.items()}  # type: ignore[method-assign]
    wanted = {n: x.astype(np.float64) for n, x in data.items()}
    run_kernel(case.kernel, wanted, {}, {})
    np.testing.assert_allclose(Compiled(case, HOST).run(2)["s0"], wanted["s0"], 1e-6)


def test_wide_and_half_floats() -> None:
    for dtypes, value in (((f64, f64, f64), f64), ((bf16, bf16, f32), f32)):
        a, b = (s.at for s in pointwise(2, 20, 6, 18).kernel.phases[0].body[:2])  # type: ignore[union-attr]
        made = contract(
            [("n", 2), ("ox", 20), ("oc", 18)], [("c", 6)], a, b, at(n=360, ox=18, oc=1),
            dtypes=dtypes,
        )  # fmt: skip
        case = Case(made, pointwise(2, 20, 6, 18).lengths)
        check(with_partials(case, ("ox",), [("sum", "%dot", value)]))


def test_a_long_epilogue_that_reads() -> None:
    """It loops over the rows of a tile, and the statistics are of what it came to."""
    case = conv(2, 8, 8, 20)
    out = case.kernel.phases[1].body[0].at  # type: ignore[union-attr]
    body: list[Statement] = [Load("%x", f32, "x", out)]
    names = ["%dot"]
    for k in range(6):
        body.append(Apply(f"%e{k}", f32, "add", (names[-1], "%x")))
        names.append(f"%e{k}")
    body.append(Store("y", names[-1], out))
    kernel = contract(
        [(a.name, a.extent) for a in case.kernel.axes],
        [(a.name, a.extent) for a in case.kernel.phases[0].axes],
        *(s.at for s in case.kernel.phases[0].body[:2]),  # type: ignore[union-attr]
        out, epilogue=tuple(body), buffers=(Buffer("x", f32, "r"),),
    )  # fmt: skip
    long = Case(kernel, case.lengths | {"x": case.lengths["y"]})
    check(with_partials(long, POINTS, [("sum", "%e5", f32)]))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_stays_in_its_channel(value: float) -> None:
    case = with_partials(conv(2, 6, 3, 10), POINTS, [("sum", "%dot", f32), ("mean", "%dot", f32)])
    data = case.data()
    data["b"][4::10] = np.abs(data["b"][4::10]) + 1
    data["a"][:] = np.abs(data["a"]) + 1
    data["b"][4] = value  # one tap of one channel
    case.data = lambda seed=0: {n: x.copy() for n, x in data.items()}  # type: ignore[method-assign]
    got, want = Compiled(case, HOST).run(2), case.expected()
    for name in ("s0", "s1"):
        np.testing.assert_allclose(got[name], want[name], 1e-6)
        bad = ~np.isfinite(got[name].reshape(2, 10))
        assert bad[:, 4].all() and bad.sum() == 2


@pytest.fixture
def small_caches(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, size in {"L2": 4096, "CHUNK": 4096, "PANEL": 8192, "GROUP": 8192}.items():
        monkeypatch.setattr(contraction_plan, f"{name}_BYTES", size)
    plan.cache_clear()
    yield
    plan.cache_clear()


@pytest.mark.parametrize(
    "case", [conv(4, 7, 32, 96), conv(3, 9, 2, 70), depthwise(2, 20, 70), along(2, 9, 3000, 7)]
)
def test_panels_chunks_and_lanes_in_turn(case: Case, small_caches: None) -> None:
    """Tiles of other lanes, panels and groups come between those of a run."""
    over = [a.name for a in case.kernel.axes if a.name in POINTS]
    check(with_partials(case, over, [("sum", "%dot", f32), ("sum", "%square", f64)], 1, WIDE))


def test_plans_put_lanes_last_or_in_a_panel(small_caches: None) -> None:
    """What the test above counts on."""
    found = [
        plan(with_partials(c, POINTS).kernel, HOST)
        for c in (conv(4, 7, 32, 96), conv(3, 9, 2, 70), depthwise(2, 20, 70))
    ]
    assert {(p.packed, p.lane_last) for p in found if p} >= {(True, False), (False, True)}


def test_bounds_are_checked_there_too() -> None:
    assert emit_kernel(with_partials(conv(2, 6, 3, 10), POINTS).kernel, HOST, checked=True)


def test_runs_that_no_tiles_have_are_refused() -> None:
    """Runs that are no whole rows, or whose ends are not known."""
    ragged = with_partials(conv(2, 7, 4, 8), POINTS)
    (p,) = ragged.kernel.partials
    place = Affine((*p.at.terms, ("part", 8)), 0)
    with pytest.raises(InternalError, match="no tiles to find them"):
        emit_kernel(replace(ragged.kernel, partials=(replace(p, run=7, at=place),)), HOST)
    rows = matmul(12, 16, 8, symbolic=True).kernel
    place = Affine((("n", 1), ("part", 16)), 0)
    partials = (Partial("s", "sum", "%dot", place, ("m",), 4),)
    buffers = (*rows.buffers, Buffer("s", f32, "w"))
    with pytest.raises(InternalError, match="no tiles to find them"):
        emit_kernel(replace(rows, buffers=buffers, partials=partials), HOST)
