"""Eager mode's own rows agree with what the ops mean: over the op table, and at edges of shape."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.frontend.eager import arrays, compiled, contractions, sums
from graphc.frontend.eager.rows import FAST
from graphc.frontend.places import HOST
from graphc.frontend.step.native_backend import native
from graphc.frontend.step.one_op import OneOp
from graphc.ir.cpu_abi import RUNNING
from graphc.ir.ops import OPS
from graphc.ir.types import DTYPES, Array, TensorSpec, f32
from tests.op_table import TABLE, OpRow
from tests.ops.rows import samples, tensors

Attrs = dict[str, Any]
Case = tuple[list[Array], Attrs]
SUMS = {"sum", "dot", "conv", "scatter_add", "put_along"}  # in another order, so rounded otherwise
SMALL = {  # what makes small arrays go the way of large ones
    arrays: {"MANY": 1},
    sums: {"CHAIN": 4, "LONG": 8, "STRIP": 4, "NARROW": 16, "LINE": 8},
    contractions: {"CACHED": 40},
    compiled: {"LARGE_DOT": 1, "LARGE_CONV": 1},
}
SPECIAL = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-45]


def agree(name: str, got: Array, want: Array) -> None:
    """Equal to the bit, NaN's payload and zero's sign included, unless terms add up."""
    assert got.dtype == want.dtype, name
    assert got.shape == want.shape, name
    if name not in SUMS or want.dtype.kind in "iub":
        assert got.tobytes() == want.tobytes(), name
        return
    rtol = {2: 3e-2, 4: 1e-5, 8: 1e-12}[want.dtype.itemsize]
    got, want = got.astype(np.float64), want.astype(np.float64)
    scale = float(np.abs(want[np.isfinite(want)]).max(initial=1.0))
    np.testing.assert_allclose(got, want, rtol=rtol, atol=rtol * scale, err_msg=name)


def compared(name: str, args: list[Array], attrs: Attrs) -> Array:
    with np.errstate(all="ignore"):
        got, want = FAST[name](*args, **attrs), OPS[name].evaluate(*args, **attrs)
    agree(name, got, want)
    return got


@pytest.fixture(params=["as they are", "small"])
def limits(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """From which sizes on other ways are taken."""
    if request.param == "small":
        for module, values in SMALL.items():
            for name, value in values.items():
                monkeypatch.setattr(module, name, value)
        sums.sum_of.cache_clear()
    yield str(request.param)
    sums.sum_of.cache_clear()


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call of a row is compared with the meaning."""
    for name in list(FAST):
        row = FAST[name]

        def both(
            *args: Array, name: str = name, row: Callable[..., Array] = row, **attrs: Any
        ) -> Array:
            got = row(*args, **attrs)
            agree(name, got, OPS[name].evaluate(*args, **attrs))
            return got

        monkeypatch.setitem(FAST, name, both)


def watching(name: str, row: Callable[..., Array]) -> Callable[..., Array]:
    def both(*args: Array, **attrs: Any) -> Array:
        got = row(*args, **attrs)
        agree(name, got, OPS[name].evaluate(*args, **attrs))
        return got

    return both


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_over_the_op_table(row: OpRow, limits: str, watched: None) -> None:
    ours = tensors(samples(row, "float32"), row.grad)
    y = row.fn(graphc, *ours)
    if row.grad:
        y.sum().backward()


# ---- edges -------------------------------------------------------------------------------------


def noise(dtype: str, shape: tuple[int, ...], seed: int = 0) -> Array:
    """Noise with ties, and for floats special values among it."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-3, 4, shape).astype(np.float64)
    if DTYPES[dtype].is_floating_point:
        x = np.where(rng.random(shape) < 0.2, rng.choice(SPECIAL, shape), x)
    with np.errstate(invalid="ignore"):
        return x.astype(DTYPES[dtype].numpy)


def plain(shape: tuple[int, ...], dtype: str = "f32") -> Array:
    return np.random.default_rng(1).standard_normal(shape).astype(DTYPES[dtype].numpy)


def choices() -> Iterator[Case]:
    condition = noise("bool", (70, 80))
    for dtype in DTYPES:
        x, y = noise(dtype, (70, 80)), noise(dtype, (70, 80), 1)
        zero, one = np.zeros((), x.dtype), np.ones((), x.dtype)
        for a, b in ((x, y), (x, zero), (zero, y), (x, one), (one, y)):
            yield [condition, a, b], {}
        yield [condition[::-1, ::2], x[:, ::2], y.T[:70, :40]], {}
        yield [condition[:0], x[:0], y[:0]], {}


def floats(*shapes: tuple[int, ...]) -> Iterator[Case]:
    for shape in shapes:
        for dtype in ("f32", "f64", "i64"):
            yield [noise(dtype, shape)], {}


def places() -> Iterator[Case]:
    for axis in (0, 1, 2):
        shape = [30, 40, 20]
        shape[axis] = 9
        for dtype in ("f32", "i64", "bool"):
            x = noise(dtype, tuple(shape))
            yield [x], {"axis": axis}
            yield [np.where(x != x, np.ones((), x.dtype), x)], {"axis": axis}
    yield [noise("f32", (5, 1))], {"axis": 1}
    yield [noise("f32", (0, 5))], {"axis": 1}
    yield [noise("f32", (5, 0, 3))], {"axis": 2}


def windows(x: tuple[int, ...], axis: int, **attrs: int) -> Case:
    return [plain(x)], {"axis": axis, "dilation": 1, **attrs}


def folds() -> Iterator[Case]:
    yield windows((20, 30, 3, 2, 4), 1, length=62, step=2)
    yield windows((20, 30, 3, 4), 1, length=95, step=3, dilation=2)
    for shape in ((20, 30, 3, 2, 4), (2, 1, 3), (30, 40, 1), (0, 5, 2)):  # side by side
        yield windows(shape, 1, length=shape[1] * shape[-1], step=shape[-1])
    yield windows((4, 0, 3), 1, length=0, step=1)


def turned() -> Iterator[Case]:
    for dtype in ("f32", "f64", "f16", "bool"):
        x = noise(dtype, (30, 20, 1, 16))
        for y in (x, x.swapaxes(0, 1), x[:, 3:9], x[:, :, :, 2:5], x.transpose(), x[::-1, ::2]):
            yield [y], {}
            yield [np.broadcast_to(y[..., None], (*y.shape, 2))], {}
    yield [noise("f32", (0, 5)).transpose()], {}


def products() -> Iterator[Case]:
    for x, y, batch, contract in (
        ((3, 4), (4, 5), (), ((1, 0),)),
        ((3, 9000), (9000, 5), (), ((1, 0),)),
        ((70, 5000), (5000, 71), (), ((1, 0),)),
        ((2, 3, 4), (2, 4, 5), ((0, 0),), ((2, 1),)),
        ((2, 3, 4), (3, 4, 5), (), ((1, 0), (2, 1))),
        ((4, 2), (4,), (), ((0, 0),)),
        ((0, 4), (4, 5), (), ((1, 0),)),
        ((3, 0), (0, 5), (), ((1, 0),)),
    ):
        for dtype in ("f32", "f64", "i64"):
            yield [plain(x, dtype), plain(y, dtype)], {"batch": batch, "contract": contract}


def totals() -> Iterator[Case]:
    for shape in ((), (3,), (5000,), (300, 40), (40, 300, 5), (3, 7000), (7000, 3), (0, 4), (4, 0)):
        every = tuple(range(len(shape)))
        for axes in {every, every[:1], every[1:], every[-1:], ()}:
            for x in (plain(shape), plain(shape, "f64"), noise("i64", shape), noise("f32", shape)):
                yield [x], {"axes": axes}
                yield [x.transpose()], {"axes": axes}
    yield [np.broadcast_to(plain((1, 90)), (80, 90))], {"axes": (0,)}


def rows_by_number() -> Iterator[Case]:
    rng = np.random.default_rng(3)
    for index in ((7,), (5, 8), (0,), ()):
        for axis in (0, 1):
            for dtype in ("f32", "f64", "i64", "f16", "bf16"):
                x = plain((3, *index, 4) if axis else (*index, 4), dtype)
                yield [x, rng.integers(0, 6, index)], {"axis": axis, "length": 6}
    for axis, many in ((1, 3), (2, 3), (1, 40)):  # of each place few terms, or not
        shape = [50, 60, 60]
        shape[axis] = 20 * many
        at = rng.permutation(np.repeat(np.arange(20), many))
        for dtype in ("f32", "i64"):
            yield [plain(tuple(shape), dtype), at], {"axis": axis, "length": 25}
            yield [plain(tuple(shape), dtype), at.astype(np.uint8)], {"axis": axis, "length": 25}


def along(value: bool) -> Iterator[Case]:
    x, rng = plain((70, 80, 5), "f64"), np.random.default_rng(2)
    for shape, axis in (((70, 80, 1), 2), ((70, 80, 3), 2), ((70, 4, 5), 1), ((70, 80, 0), 2)):
        for dtype in (np.int64, np.uint8):
            index = rng.integers(0, x.shape[axis], shape).astype(dtype)
            if value:
                yield [plain(shape, "f64"), index], {"axis": axis, "length": x.shape[axis]}
            else:
                yield [x, index], {"axis": axis}


CONVOLUTIONS: dict[str, tuple[tuple[int, ...], tuple[int, ...], Attrs]] = {
    "walked by taps": ((3, 4, 9, 8), (3, 4, 3, 2), {}),
    "strided, dilated": ((2, 4, 13, 11), (3, 4, 3, 2), {"stride": (3, 2), "rhs_dilation": (2, 1)}),
    "phases that do not fill": ((2, 4, 10, 7), (2, 4, 3, 3), {"stride": (3, 1)}),
    "many filters": ((2, 2, 9, 8), (40, 2, 3, 3), {"stride": (2, 1)}),
    "padded, spread": ((2, 3, 5, 4), (2, 3, 3, 3), {"padding": ((2, 1), (1, 2)), "lhs": 2}),
    "spread": ((2, 3, 5, 4), (2, 3, 3, 2), {"lhs": 2}),
    "spread beyond the filters": (
        (2, 3, 4, 3),
        (2, 3, 2, 1),
        {"lhs": 3, "padding": ((4, 0), (1, 5))},
    ),
    "spread and more padding": (
        (2, 4, 3, 4),
        (4, 2, 4, 3),
        {"lhs": 2, "padding": ((3, 3), (2, 7)), "groups": 2},
    ),
    "spread to nothing": ((2, 3, 1, 1), (2, 3, 3, 3), {"lhs": 2, "padding": ((2, 2), (1, 1))}),
    "spread, padding alone met": (
        (1, 1, 1, 2),
        (1, 1, 1, 2),
        {"lhs": 3, "padding": ((7, 5), (8, 9))},
    ),
    "spread and strided": ((2, 3, 5, 4), (2, 3, 3, 3), {"lhs": 2, "stride": (2, 1)}),
    "groups": ((2, 6, 7, 6), (9, 2, 3, 2), {"groups": 3, "stride": (2, 1)}),
    "each channel alone": ((2, 4, 7, 6), (4, 1, 3, 3), {"groups": 4}),
    "1x1": ((2, 4, 7, 6), (3, 4, 1, 1), {"stride": (2, 2)}),
    "one axis": ((2, 4, 17), (3, 4, 5), {"stride": (2,), "rhs_dilation": (3,)}),
    "three axes": ((1, 4, 5, 6, 4), (2, 4, 2, 3, 2), {"stride": (2, 1, 1)}),
    "by places": ((3, 4, 9, 8), (5, 4, 7, 6), {}),
    "by places, dilated": ((3, 2, 15, 13), (2, 2, 5, 6), {"rhs_dilation": (3, 2)}),
    "by places, strided": ((3, 2, 12, 9), (2, 2, 6, 6), {"stride": (3, 2)}),
    "few places, many filters": ((3, 4, 5, 4), (9, 4, 4, 3), {}),
    "batch groups": ((6, 2, 9, 8), (6, 2, 7, 6), {"batch_groups": 3}),
    "batch groups, many filters": ((6, 2, 5, 4), (24, 2, 4, 3), {"batch_groups": 3}),
    "no rows": ((0, 4, 9, 8), (3, 4, 3, 2), {}),
    "no channels": ((2, 0, 5, 5), (3, 0, 3, 3), {}),
}


def convolutions() -> Iterator[Case]:
    for shape, filters, given in CONVOLUTIONS.values():
        rank = len(shape) - 2
        attrs: Attrs = {
            "stride": (1,) * rank,
            "padding": ((0, 0),) * rank,
            "lhs_dilation": (given.get("lhs", 1),) * rank,
            "rhs_dilation": (1,) * rank,
            "groups": 1,
            "batch_groups": 1,
            **{k: v for k, v in given.items() if k != "lhs"},
        }
        yield [plain(shape, "f64"), plain(filters, "f64")], attrs
        yield [plain(shape), plain(filters)], attrs


def draws() -> Iterator[Case]:
    for shape in ((), (0, 3), (1,), (4, 2), (5, 3, 7), (1, 40_001)):
        yield [np.array(-5), np.array(1 << 40)], {"shape": shape}


EDGES: dict[str, Callable[[], Iterator[Case]]] = {
    "where": choices,
    "relu": lambda: floats((70, 80), (3,), (), (0, 4)),
    "sigmoid": lambda: floats((70, 80), (3,), (), (0, 4)),
    "erf": lambda: floats((70, 80), (3,), (), (0, 4)),
    "erfc": lambda: floats((70, 80), (3,), (), (0, 4)),
    "expand": lambda: iter([([noise("f32", (3, 1, 4))], {"shape": (3, 5, 4)})]),
    "unfold": lambda: iter(
        [windows((4, 12, 3), 1, size=3, step=2, dilation=2), windows((4, 3), 1, size=3, step=1)]
    ),
    "diagonal": lambda: floats((4, 4), (3, 5, 5), (2, 0, 0), (1, 1)),
    "fold": folds,
    "contiguous": turned,
    "sum": totals,
    "argmax": places,
    "argmax_last_nan": places,
    "dot": products,
    "conv": convolutions,
    "scatter_add": rows_by_number,
    "take_along": lambda: along(value=False),
    "put_along": lambda: along(value=True),
    "random_bits": draws,
}


@pytest.mark.parametrize("name", FAST)
def test_at_the_edges(name: str, limits: str) -> None:
    for args, attrs in EDGES[name]():
        compared(name, args, attrs)


def test_every_row_is_held_to_its_meaning() -> None:
    assert set(EDGES) == set(FAST)


def test_rows_of_views_share_memory() -> None:
    x = plain((4, 4))
    for name in ("expand", "unfold", "diagonal"):
        (args, attrs) = next(EDGES[name]())
        assert np.shares_memory(FAST[name](*args, **attrs), args[0])
    assert np.shares_memory(FAST["diagonal"](x), x)
    assert FAST["diagonal"](x).flags.writeable


def test_a_copy_is_no_view() -> None:
    for args, _ in turned():
        made = FAST["contiguous"](*args)
        assert made.flags.c_contiguous and not np.may_share_memory(made, args[0])


def test_folded_windows_are_no_view() -> None:
    for args, attrs in folds():
        assert not np.may_share_memory(FAST["fold"](*args, **attrs), args[0])


def test_an_index_out_of_range_is_refused() -> None:
    x = plain((70, 80, 5), "f64")
    with pytest.raises(IndexError):
        FAST["take_along"](x, np.full((70, 80, 1), 5), axis=2)


def test_sums_read_an_array_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradient of a bias: neighbouring axes are one, and a sum over no axis is no copy."""
    seen: list[tuple[int, ...]] = []

    def noted(x: Array, axes: Any, dtype: Any = None) -> Array:
        seen.append((x.size, np.size(axes)))
        return np.asarray(np.add.reduce(x, axes, dtype))

    x = plain((32, 64, 192))
    want = x.astype(np.float64).sum((0, 1))
    monkeypatch.setattr(sums, "total", noted)
    np.testing.assert_allclose(FAST["sum"](x, axes=(0, 1)), want, rtol=1e-5, atol=1e-4)
    (first, _), (second, axes) = seen
    assert first <= x.size and second < x.size / 8 and axes == 1


@pytest.mark.parametrize("shape", [(256, 8), (40, 3, 4), (300,), (33, 70)])
def test_few_rows_are_counted_with_the_bits_of_the_meaning(shape: tuple[int, ...]) -> None:
    x = noise("f32", shape)
    x = np.where(np.isfinite(x), x * np.float32(1.1), np.float32(-0.0))
    for length in (5, 1000):
        index = np.random.default_rng(1).integers(0, length, shape[:1])
        assert arrays._by_counts(x, index, 0, length) is not None
        got = FAST["scatter_add"](x, index, axis=0, length=length)
        want = OPS["scatter_add"].evaluate(x, index, axis=0, length=length)
        assert got.tobytes() == want.tobytes()
    with pytest.raises(IndexError):
        FAST["scatter_add"](x, np.full(shape[:1], 9), axis=0, length=9)


def test_large_copies_into_another_order_are_compiled_once_met_often(
    shapes: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "LARGE_COPY", 1 << 10)
    monkeypatch.setattr(compiled, "_met", {})
    x = graphc.randn(4, 20, 5, 6)
    copies = {
        "permuted": lambda: x.permute(0, 2, 3, 1).contiguous(),
        "reshaped": lambda: x.permute(3, 0, 2, 1).reshape(-1),
        "with gaps": lambda: x[:, :15].permute(0, 2, 3, 1).contiguous(),
        "doubles": lambda: x.double().permute(0, 2, 3, 1).contiguous(),
        "row by row": lambda: x.flatten(),
    }
    for name, copy in copies.items():
        made = [copy().numpy() for _ in range(4)]
        assert len(shapes) == 2 * (name in ("permuted", "reshaped")), name
        assert all(a.tobytes() == made[0].tobytes() for a in made)
        shapes.clear()
    want = np.ascontiguousarray(x.numpy().transpose(0, 2, 3, 1))
    assert copies["permuted"]().numpy().tobytes() == want.tobytes()


@pytest.mark.parametrize("width", [1, 2, 3, 16, 64, 65])
def test_what_lies_side_by_side_is_copied_as_one(width: int) -> None:
    """Heads of attention turned back: NumPy would go number by number."""
    x = noise("f32", (40, 60, 1, width)).swapaxes(0, 1)
    first, side = arrays._side_by_side(x)
    assert (first, side) == (2, 4 * width)
    agree("row_major", arrays.row_major(x), np.ascontiguousarray(x))


@pytest.mark.parametrize("shape", [(900, 3, 2), (300, 1, 17), (5000, 1), (40, 40, 2, 2, 2)])
def test_row_major_of_short_axes(shape: tuple[int, ...]) -> None:
    x = noise("f32", shape[::-1]).transpose()
    got = arrays.row_major(x)
    assert got.flags.c_contiguous
    agree("row_major", got, np.ascontiguousarray(x))


# ---- the meaning of a convolution --------------------------------------------------------------


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_conv_means_a_product_for_each_place_and_tap(name: str) -> None:
    (x, w), a = list(convolutions())[2 * list(CONVOLUTIONS).index(name)]
    xd = np.pad(spread(x, a["lhs_dilation"]), ((0, 0), (0, 0), *a["padding"]))
    groups, parts, deep = a["groups"], a["batch_groups"], w.shape[1]
    y = OPS["conv"].evaluate(x, w, **a)
    want, rows = np.zeros_like(y), len(x) // parts
    for o in range(len(w)):
        part = o // (len(w) // (groups * parts))
        seen = xd[part * rows : (part + 1) * rows] if parts > 1 else xd
        seen = seen[:, part * deep : (part + 1) * deep] if groups > 1 else seen
        for place in np.ndindex(*y.shape[2:]):
            for tap in np.ndindex(*w.shape[2:]):
                steps = zip(place, a["stride"], tap, a["rhs_dilation"])
                at = tuple(p * s + k * d for p, s, k, d in steps)
                want[(slice(None), o, *place)] += seen[(..., *at)] @ w[(o, slice(None), *tap)]
    np.testing.assert_allclose(y, want, rtol=1e-12, atol=1e-12)


def spread(x: Array, dilation: tuple[int, ...]) -> Array:
    """Zeros between elements, by repeating each and keeping the first."""
    for axis, d in enumerate(dilation, 2):
        kept = np.arange(d * x.shape[axis]) % d == 0
        x = np.repeat(x, d, axis) * kept.reshape(-1, *(1,) * (x.ndim - axis - 1))
        x = x.take(range(x.shape[axis] - d + 1), axis)
    return x


def test_a_large_convolution_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its shape, however its operands lie; of float64, and below the size, NumPy computes it."""
    seen: list[tuple[int, ...]] = []
    run = compiled.RUNNERS[-1]

    def noted(op: Any, operands: Any, attrs: Any, spec: Any) -> Array:
        seen.append(spec.shape)
        return run(op, operands, attrs, spec)

    monkeypatch.setattr(compiled, "RUNNERS", [noted])
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((4, 16, 24, 24)), rng.standard_normal((24, 16, 3, 3))
    large = graphc.tensor(x, dtype=graphc.float32), graphc.tensor(w, dtype=graphc.float32)
    turned = large[0].permute(1, 0, 2, 3).contiguous().permute(1, 0, 2, 3)
    got = graphc.conv2d(*large)
    assert seen == [(4, 24, 22, 22)]
    assert graphc.conv2d(turned, large[1]).allclose(got, rtol=1e-4, atol=1e-4)
    assert graphc.conv2d(large[0], large[1].flip(2).flip(2)).equal(got)
    want = graphc.conv2d(graphc.tensor(x), graphc.tensor(w))
    assert len(seen) == 3 and graphc.conv2d(large[0][:1, :, :6, :6], large[1]).shape[2] == 4
    assert len(seen) == 3  # the two were float64, and small
    error = got.numpy() - want.numpy()
    assert np.sqrt((error**2).mean()) < 1e-5 * np.sqrt((want.numpy() ** 2).mean())


@pytest.fixture
def shapes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Of what compiled code has computed."""
    seen: list[tuple[int, ...]] = []
    run = compiled.RUNNERS[-1]

    def noted(op: Any, operands: Any, attrs: Any, spec: Any) -> Array | None:
        made = run(op, operands, attrs, spec)
        seen.extend([] if made is None else [made.shape])
        return made

    monkeypatch.setattr(compiled, "RUNNERS", [noted])
    return seen


def test_products_beside_a_growing_cache_compile_nothing(shapes: list[tuple[int, ...]]) -> None:
    keys = graphc.randn(8, 700, 64)
    for length in (600, 700):
        query, seen = graphc.randn(8, 1, 64), keys[:, :length]
        weights = query @ seen.mT
        got = weights @ seen
        want = query.double() @ seen.double().mT @ seen.double()
        assert got.allclose(want.float(), rtol=1e-3, atol=1e-2)
    assert not shapes
    _ = keys @ keys.mT
    assert shapes == [(8, 700, 700)]


def test_a_handler_inside_a_program_is_given_its_products(shapes: list[tuple[int, ...]]) -> None:
    x, engine = graphc.randn(100, 100), native()._engine
    want = x @ x
    assert shapes == [(100, 100)]
    with engine.lock:
        engine.busy = RUNNING
        try:
            got = x @ x
        finally:
            engine.busy = 0
    assert got.allclose(want, rtol=1e-4, atol=1e-4) and len(shapes) == 1


def test_programs_of_one_op_are_dropped() -> None:
    single = OneOp(native(), lambda *_: False, kept=2)
    for n in (3, 4, 5, 3):
        x = np.ones((n, 6), np.float32)
        attrs: Attrs = {"batch": (), "contract": ((1, 1),)}
        out = single.run(HOST, OPS["dot"], [x, x], [False] * 2, attrs, TensorSpec(f32, (n, n)))
        assert (out == 6).all() and len(single._programs) <= 2
