"""The contraction template against the kernel interpreter, exactly, on data that sums exactly."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator

import numpy as np
import pytest

from graphc.codegen_cpu.bounds import checked
from graphc.codegen_cpu.contract import contraction
from graphc.codegen_cpu.contract import plan as contraction_plan
from graphc.codegen_cpu.contract.plan import Plan, plan
from graphc.codegen_cpu.jit import assembly, compile_module
from graphc.codegen_cpu.target import Target
from graphc.ir.kernel import Apply, Buffer, Const, Guard, Index, Load, ScalarArg, Statement, Store
from graphc.ir.types import Array, bf16, f16, f32, f64, i32, i64
from tests.codegen_cpu.contract_kernels import (
    Case,
    Compiled,
    at,
    bounded_conv,
    contract,
    conv,
    depthwise,
    flipped_conv,
    guarded,
    matmul,
    module_text,
    random_product,
    weight_gradient,
)

HOST = Target.host()
HOST_IS_X86 = HOST.triple.startswith("x86_64")


def narrow(vector_bytes: int) -> Target:
    """The host, told that its registers are smaller: other tiles, other masks."""
    registers = 16 if HOST_IS_X86 else 32
    return dataclasses.replace(HOST, vector_bytes=vector_bytes, registers=registers)


TARGETS = [HOST, *(narrow(b) for b in (32, 16) if b < HOST.vector_bytes)]
# Its units are half as wide as its vectors; any processor with AVX-512 runs the code.
HALVES = dataclasses.replace(HOST, cpu="znver4", features=HOST.features.replace("vp2intersect", ""))


def check(case: Case, targets: list[Target] | None = None) -> None:
    """Equal to the interpreter on every target, with the same bits from any number of threads."""
    want = case.expected()
    for target in targets or TARGETS:
        assert contraction.supports(case.kernel, target)
        compiled = Compiled(case, target)
        outputs = [b.name for b in case.kernel.buffers if b.access != "r" and not b.alias]
        for threads in (1, 2, 3, 7):
            got = compiled.run(threads)
            for name in outputs:
                np.testing.assert_array_equal(got[name], want[name], f"{name} T={threads}")


# ---- shapes ------------------------------------------------------------------------------------

SHAPES = {
    "conv": conv(2, 7, 16, 32),
    "conv, lanes in part": conv(2, 6, 3, 10),
    "conv, two vectors in part": conv(1, 7, 5, 20),
    "conv, stride 2": conv(2, 9, 4, 48, s=2),
    "conv, one channel, shared pixels": conv(2, 12, 1, 16),
    "conv 1x1": conv(2, 5, 16, 40, k=1),
    "conv, small images": conv(6, 6, 8, 32),
    "flipped weights": flipped_conv(2, 6, 8, 20),
    "weight gradient": weight_gradient(2, 8, 5, 20),
    "weight gradient, rows in part": weight_gradient(2, 7, 7, 32),
    "depthwise": depthwise(2, 7, 20),
    "product": matmul(30, 33, 17),
    "product, transposed a": matmul(40, 35, 64, "tn"),
    "product, transposed b": matmul(40, 35, 64, "nt"),
    "product, both": matmul(20, 35, 34, "tt"),
    "few columns along": matmul(9, 5, 300, "nt"),
    "three columns along": matmul(19, 3, 300, "nt"),
    "three columns, moved back": matmul(16, 5, 300, "nt"),
    "matrix by vector": matmul(100, 1, 70),
    "vector by matrix": matmul(1, 100, 70),
    "one output": matmul(1, 1, 50),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes(name: str) -> None:
    check(SHAPES[name])


@pytest.mark.parametrize("m", [0, 1, 3, 12, 13, 30])
@pytest.mark.parametrize("layout", ["nn", "nt"])
def test_a_symbolic_batch_may_be_smaller_than_the_tile(m: int, layout: str) -> None:
    check(matmul(m, 35, 300 if layout == "nt" else 20, layout, symbolic=True), [HOST])


@pytest.mark.parametrize("n", [1, 5, 40])
@pytest.mark.parametrize("k", [20, 300])
def test_symbolic_columns(n: int, k: int) -> None:
    """The lane axis, and with `along` the columns, have an extent that is not literal."""
    for b, strides in ((at(k="n0", n=1), {"m": "n0", "n": 1}), (at(n=k, k=1), {"m": "n0", "n": 1})):
        kernel = contract(
            [("m", 7), ("n", "n0")], [("k", k)], at(m=k, k=1), b, at(**strides), sizes=("n0",)
        )
        check(Case(kernel, {"a": 7 * k, "b": k * n, "y": 7 * n}, {"n0": n}))


def test_symbolic_batch_of_convolutions() -> None:
    check(conv(3, 6, 8, 20, symbolic=True))
    check(weight_gradient(3, 6, 8, 20, symbolic=True))


@pytest.mark.parametrize("seed", range(60))
def test_random_products(seed: int) -> None:
    case = random_product(seed)
    if contraction.supports(case.kernel, HOST):
        check(case, [TARGETS[seed % len(TARGETS)]])


@pytest.mark.parametrize("dtypes", [(f64, f64, f64), (f16, f16, f16), (bf16, bf16, f32)])
def test_dtypes(dtypes: tuple) -> None:  # type: ignore[type-arg]
    for layout in ("nn", "nt"):
        case = matmul(14, 21, 40, layout)
        kernel = case.kernel
        loads = kernel.phases[0].body
        a, b = (s.at for s in loads[:2])  # type: ignore[union-attr]
        made = contract([("m", 14), ("n", 21)], [("k", 40)], a, b, at(m=21, n=1), dtypes=dtypes)
        check(Case(made, case.lengths))


# ---- panels and chunks -------------------------------------------------------------------------


@pytest.fixture
def small_caches(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Budgets so small that small shapes need panels, groups and chunks."""
    sizes = {"L2": 4096, "CHUNK": 4096, "PANEL": 8192, "GROUP": 8192, "STRIP": 1024}
    for name, size in sizes.items():
        monkeypatch.setattr(contraction_plan, f"{name}_BYTES", size)
    plan.cache_clear()
    yield
    plan.cache_clear()


CHUNKED = {
    "conv": conv(4, 7, 32, 96),
    "weight gradient": weight_gradient(6, 9, 7, 40),
    "weight gradient, symbolic": weight_gradient(5, 9, 7, 40, symbolic=True),
    "product": matmul(64, 100, 150),
    "product, transposed b": matmul(64, 100, 150, "nt"),
    "product, along": matmul(6, 9, 3000, "nt"),
    "product, transposed a": matmul(70, 100, 151, "tn"),
}


@pytest.mark.parametrize("name", CHUNKED)
def test_chunks_do_not_change_a_bit(name: str, small_caches: None) -> None:
    case = CHUNKED[name]
    chosen = plan(case.kernel, HOST)
    assert chosen is not None and (chosen.chunk is not None or chosen.packed)
    check(case)


def over_samples(rows: int, columns: int, samples: int) -> Case:
    """The gradient of a weight: a sum over a symbolic number of rows of two matrices."""
    kernel = contract(
        [("m", "n0"), ("n", columns)], [("k", "n1")], at(k="n0", m=1), at(k=columns, n=1),
        at(m=columns, n=1), sizes=("n0", "n1"),
    )  # fmt: skip
    lengths = {"a": rows * samples, "b": samples * columns, "y": rows * columns}
    return Case(kernel, lengths, {"n0": rows, "n1": samples})


@pytest.mark.parametrize("samples", [0, 1, 7, 64, 65, 300, 700])
@pytest.mark.parametrize("rows, columns", [(3, 1000), (45, 512), (14, 72)])
def test_sums_over_few_or_many_samples(rows: int, columns: int, samples: int) -> None:
    check(over_samples(rows, columns, samples))


@pytest.mark.parametrize("samples", [7, 65])
def test_strips_of_few_samples(samples: int, small_caches: None) -> None:
    case = over_samples(20, 1024, samples)
    chosen = plan(case.kernel, HOST)
    assert chosen is not None and chosen.packed and chosen.few is not None
    assert not chosen.few.packed and chosen.few.strip > 0
    assert chosen.few.strip * chosen.few.width * 4 <= contraction_plan.STRIP_BYTES < 4 * 1024
    check(case)


@pytest.mark.parametrize("samples", [0, 3, 7, 64])
def test_what_an_update_reads_is_asked_for_while_few_samples_are_summed(samples: int) -> None:
    """Each row once: of what is read, and of what is only written."""
    case = weight_update(samples)
    chosen = plan(case.kernel, HOST)
    assert chosen is not None and chosen.few is not None
    text = module_text(case.kernel, HOST)
    assert text.count("call void @llvm.prefetch") == 3 * chosen.few.vectors
    check(case)


def test_what_goes_past_the_caches_is_not_asked_for() -> None:
    """Rows that are whole lines: of what is only written, no line is read from memory."""
    target, case = Target.named("sapphirerapids"), weight_update(7, 1024, 257)
    chosen = plan(case.kernel, target)
    assert chosen is not None and chosen.few is not None
    text = module_text(case.kernel, target)
    assert "!nontemporal" in text
    assert text.count("call void @llvm.prefetch") == chosen.few.vectors
    check(case)


def test_an_update_is_masked_in_the_last_tile_of_a_row_alone() -> None:
    """Of its last vector; those of all other tiles are stored whole."""
    target, case = Target.named("sapphirerapids"), weight_update(7)
    chosen = plan(case.kernel, target)
    assert chosen is not None and 1000 % chosen.width
    text = module_text(case.kernel, target)
    masked = text.count("call void @llvm.masked.store")
    whole = len(re.findall(r"store <16 x float> [^,]+, ptr [^,]+, align 4\b", text))
    assert masked and whole == masked * (2 * chosen.vectors - 1)


def weight_update(samples: int, columns: int = 1000, rows: int = 40) -> Case:
    """q = p - a gradient over a symbolic number of samples, which is kept as well."""
    out = at(m=columns, n=1)
    epilogue: tuple[Statement, ...] = (
        Store("y", "%dot", out),
        Load("%p", f32, "p", out),
        Apply("%1", f32, "sub", ("%p", "%dot")),
        Store("q", "%1", out),
    )
    kernel = contract(
        [("m", rows), ("n", columns)], [("k", "n0")], at(k=rows, m=1), at(k=columns, n=1), out,
        epilogue=epilogue, sizes=("n0",),
        buffers=(Buffer("p", f32, "r"), Buffer("q", f32, "w"), Buffer("y", f32, "w")),
    )  # fmt: skip
    lengths = {"a": rows * samples, "b": columns * samples} | dict.fromkeys("pqy", rows * columns)
    return Case(kernel, lengths, {"n0": samples})


@pytest.mark.parametrize("m", [0, 1, 5, 8, 9, 16, 33])
def test_lanes_of_few_samples_are_narrow(m: int) -> None:
    """Lanes over the samples: of a single one most would be empty."""
    case = matmul(m, 45, 300, "nt", symbolic=True)
    chosen = plan(case.kernel, TARGETS[0])
    assert chosen is not None and chosen.lane.name == "m"
    if HOST.vector_bytes > 16:
        assert chosen.few is not None and chosen.few.width == chosen.most < chosen.width
    check(case)


FEW = [0, 1, 2, 4, 8, 9, 16, 17, 37]
PAGE = 1024  # elements: samples so far apart crowd each other out, so lanes run over them


def by_samples(p: Plan) -> list[Plan]:
    """Its plans, the one for most samples first."""
    return [p] if p.few is None else [p, *by_samples(p.few)]


@pytest.mark.parametrize("layout", ["nn", "nt"])
@pytest.mark.parametrize("target", TARGETS, ids=lambda t: str(t.vector_bytes))
def test_plans_of_a_large_matrix_by_samples(layout: str, target: Target) -> None:
    """A vector of several, half of it, and, where the matrix lies as lanes want, a single one."""
    chosen = plan(matmul(1, 512, PAGE, layout, symbolic=True).kernel, target)
    assert chosen is not None and chosen.lane.name == "m" and chosen.vectors > 1
    plans, lanes = by_samples(chosen), target.lanes(f32)
    mosts = [p.most for p in plans[:-1]]
    halves = [lanes // 2] if target.vector_bytes > 16 else []
    assert mosts == [lanes, *halves, *([1] if layout == "nn" else [])]
    assert [p.width for p in plans[1 : 2 + len(halves)]] == [lanes, *halves]
    assert plans[-1].lane.name == ("n" if layout == "nn" else "m")


class Gaussian(Case):
    """Numbers whose sums round; those of fewer samples are the first of those of more."""

    def data(self, seed: int = 0) -> dict[str, Array]:
        each = ((b, np.random.default_rng([seed, ord(b.name)])) for b in self.kernel.buffers)
        return {b.name: r.standard_normal(self.lengths[b.name], np.float32) for b, r in each}


@pytest.mark.parametrize("layout", ["nn", "nt"])
def test_a_sample_has_the_same_bits_in_any_batch(layout: str) -> None:
    """Whichever plan takes it, from any number of threads."""
    compiled, whole = None, None
    for m in reversed(FEW):
        case = matmul(m, 512, PAGE, layout, symbolic=True)
        case = Gaussian(case.kernel, case.lengths, case.sizes)
        compiled = compiled or Compiled(case, HOST)
        compiled.case = case
        for threads in (1, 2, 3):
            y = compiled.run(threads)["y"]
            whole = y if whole is None else whole
            np.testing.assert_array_equal(y, whole[: y.size])
    assert whole is not None
    want = Gaussian(case.kernel, {"a": 37 * PAGE, "b": PAGE * 512, "y": 37 * 512}).data()
    a, b = want["a"].reshape(37, PAGE).astype(float), want["b"].astype(float)
    b = b.reshape(PAGE, 512) if layout == "nn" else b.reshape(512, PAGE).T
    np.testing.assert_allclose(whole.reshape(37, 512), a @ b, atol=1e-3)


@pytest.mark.parametrize("m", [0, 1, 9, 16])
def test_a_large_matrix_by_few_samples(m: int, small_caches: None) -> None:
    check(matmul(m, 512, PAGE, "nn", symbolic=True))


# ---- stages and epilogues ----------------------------------------------------------------------


def test_stage_of_both_operands() -> None:
    """relu(a) * (b * scale): computed as the operands are read."""
    stage = (
        Apply("%ra", f32, "relu", ("%a",)),
        Apply("%sb", f32, "mul", ("%b", "scale")),
    )
    case = matmul(20, 40, 12)
    kernel = contract(
        [("m", 20), ("n", 40)], [("k", 12)], at(m=12, k=1), at(k=40, n=1), at(m=40, n=1),
        stage=stage, operands=("%ra", "%sb"), scalars=(ScalarArg("scale", f32),),
    )  # fmt: skip
    check(Case(kernel, case.lengths, {}, {"scale": 0.5}))


def test_stage_with_lanes_along_the_reduction() -> None:
    """(a + 1) * (b + 1) over 299 points: lanes past the end would add 1 * 1."""
    one = Const("%one", f32, 1.0)
    stage = (
        one,
        Apply("%ra", f32, "add", ("%a", "%one")),
        Apply("%sb", f32, "add", ("%b", "%one")),
    )
    kernel = contract(
        [("m", 3), ("n", 5)], [("k", 299)], at(m=299, k=1), at(n=299, k=1), at(m=5, n=1),
        stage=stage, operands=("%ra", "%sb"),
    )  # fmt: skip
    chosen = plan(kernel, HOST)
    assert chosen is not None and chosen.how == "along"
    check(Case(kernel, {"a": 3 * 299, "b": 5 * 299, "y": 15}))


@pytest.mark.parametrize("columns", [3, 5, 6])
def test_an_epilogue_on_three_columns_along(columns: int) -> None:
    """A vector of results has a fourth lane, which reads nothing and is not stored."""
    out = at(m=columns, n=1)
    epilogue: tuple[Statement, ...] = (
        Load("%bias", f32, "bias", at(n=1)),
        Load("%old", f32, "old", out),
        Apply("%1", f32, "add", ("%dot", "%bias")),
        Apply("%2", f32, "mul", ("%1", "%old")),
        Store("y", "%2", out),
    )
    kernel = contract(
        [("m", 24), ("n", columns)], [("k", 640)], at(m=640, k=1), at(n=640, k=1), out,
        epilogue=epilogue, buffers=(Buffer("bias", f32, "r"), Buffer("old", f32, "r")),
    )  # fmt: skip
    chosen = plan(kernel, HALVES)
    assert chosen is not None and (chosen.how, chosen.out_lanes) == ("along", 4)
    assert chosen.vectors == 3 or columns == 5
    lengths = {"a": 24 * 640, "b": columns * 640, "bias": columns}
    check(Case(kernel, lengths | dict.fromkeys(("old", "y"), 24 * columns)))


@pytest.mark.parametrize("m", [24, 29])
def test_bias_residual_and_two_stores(m: int) -> None:
    """Rows that fill the tiles take the epilogue from registers, others from memory."""
    out = at(m=36, n=1)
    epilogue: tuple[Statement, ...] = (
        Load("%bias", f32, "bias", at(n=1)),
        Load("%old", f32, "old", out),
        Apply("%1", f32, "add", ("%dot", "%bias")),
        Apply("%2", f32, "relu", ("%1",)),
        Store("z", "%1", at(m=1, n=m)),
        Apply("%3", f32, "add", ("%2", "%old")),
        Store("y", "%3", out),
    )
    kernel = contract(
        [("m", m), ("n", 36)], [("k", 9)], at(m=9, k=1), at(k=36, n=1), out,
        epilogue=epilogue,
        buffers=(Buffer("bias", f32, "r"), Buffer("old", f32, "r"), Buffer("z", f32, "w")),
    )  # fmt: skip
    lengths = {"a": m * 9, "b": 9 * 36, "bias": 36, "old": m * 36, "z": m * 36, "y": m * 36}
    check(Case(kernel, lengths))


@pytest.mark.parametrize("layout", ["nn", "nt"])
@pytest.mark.parametrize("rows", [26, 37])
def test_update_in_place(rows: int, layout: str) -> None:
    """p = p - lr * (g + decay * p), once for every element even where tiles overlap."""
    k = 300 if layout == "nt" else 20
    out = at(m=45, n=1)
    epilogue: tuple[Statement, ...] = (
        Load("%p", f32, "p", out),
        Apply("%1", f32, "mul", ("%p", "decay")),
        Apply("%2", f32, "add", ("%dot", "%1")),
        Apply("%3", f32, "mul", ("%2", "lr")),
        Apply("%4", f32, "sub", ("%p", "%3")),
        Store("y", "%4", out),
    )
    case = matmul(rows, 45, k, layout)
    a, b = (s.at for s in case.kernel.phases[0].body[:2])  # type: ignore[union-attr]
    kernel = contract(
        [("m", rows), ("n", 45)], [("k", k)], a, b, out, epilogue=epilogue,
        buffers=(Buffer("p", f32, "rw"), Buffer("y", f32, "w", alias="p")),
        scalars=(ScalarArg("lr", f32), ScalarArg("decay", f32)),
    )  # fmt: skip
    lengths = {"a": rows * k, "b": 45 * k, "p": rows * 45, "y": rows * 45}
    case = Case(kernel, lengths, {}, {"lr": 0.125, "decay": 0.25})
    separate = dataclasses.replace(
        kernel, buffers=(*kernel.buffers[:2], Buffer("p", f32, "r"), Buffer("y", f32, "w"))
    )
    want = dataclasses.replace(case, kernel=separate).expected()["y"]
    for target in TARGETS:
        compiled = Compiled(case, target)
        for threads in (1, 3):
            np.testing.assert_array_equal(compiled.run(threads)["p"], want)


def test_guarded_and_broadcast_epilogue() -> None:
    """A guarded load, a guarded store, an index and a constant."""
    out = at(m=40, n=1)
    inside = (Guard(at(n=1), 3, 30),)
    epilogue: tuple[Statement, ...] = (
        Load("%g", f32, "g", at(m=40, n=1, const=-3), guards=inside),
        Load("%row", f32, "row", at(m=1)),
        Const("%one", f32, 1.0),
        Apply("%1", f32, "add", ("%dot", "%g")),
        Apply("%2", f32, "add", ("%1", "%row")),
        Apply("%3", f32, "add", ("%2", "%one")),
        Store("y", "%3", out, guards=(Guard(at(m=1, n=1), 4, 50),)),
    )
    kernel = contract(
        [("m", 25), ("n", 40)], [("k", 9)], at(m=9, k=1), at(k=40, n=1), out, epilogue=epilogue,
        buffers=(Buffer("g", f32, "r"), Buffer("row", f32, "r")),
    )  # fmt: skip
    check(Case(kernel, {"a": 225, "b": 360, "g": 1000, "row": 25, "y": 1000}))


@pytest.mark.parametrize(("rows", "columns"), [(4, 6), (6, 11), (9, 45)])
@pytest.mark.parametrize("layout", ["nn", "nt"])
def test_random_bits_in_the_epilogue(layout: str, rows: int, columns: int) -> None:
    """Bits are those of a column's number, also in a tile that was moved back over another."""
    out = at(m=columns, n=1)
    epilogue: tuple[Statement, ...] = (
        Index("%k", i64, at(n=1)),
        Apply("%bits", i32, "random_bits", ("seed", "draw", "%k")),
        Store("z", "%bits", out),
        Store("y", "%dot", out),
    )
    plain = matmul(rows, columns, 300, layout)
    a, b = (s.at for s in plain.kernel.phases[0].body[:2])  # type: ignore[union-attr]
    kernel = contract(
        [("m", rows), ("n", columns)], [("k", 300)], a, b, out, epilogue=epilogue,
        buffers=(Buffer("z", i32, "w"),),
        scalars=(ScalarArg("seed", i64), ScalarArg("draw", i64)),
    )  # fmt: skip
    size = rows * columns
    lengths = {"a": rows * 300, "b": columns * 300, "z": size, "y": size}
    check(Case(kernel, lengths, {}, {"seed": 7, "draw": 3}))


def test_an_empty_reduction_is_left_to_the_loops() -> None:
    assert not contraction.supports(matmul(8, 16, 0).kernel, HOST)


@pytest.mark.parametrize(
    ("n", "h", "c", "oc", "k", "pad"),
    [
        (2, 10, 16, 6, 5, 4),
        (3, 5, 3, 20, 3, 1),
        (2, 3, 2, 5, 5, 6),  # rows of outputs without a term
        (1, 1, 1, 1, 3, 2),
        (2, 4, 2, 17, 1, 2),
        (1, 9, 1, 40, 2, 1),
    ],
)
def test_zeros_that_are_not_stored_are_not_met(
    n: int, h: int, c: int, oc: int, k: int, pad: int
) -> None:
    case = bounded_conv(n, h, c, oc, k, pad)
    check(case)
    for target in TARGETS:
        chosen = plan(case.kernel, target)
        assert chosen is not None and "oy" not in {r.axis.name for r in chosen.rows}


@pytest.mark.parametrize(("h", "c", "k"), [(1, 1, 1), (5, 1, 3), (9, 2, 5), (28, 1, 5)])
def test_a_panel_of_an_image_has_nothing_from_beside_it(h: int, c: int, k: int) -> None:
    """Without masked instructions an image of few channels is copied, which reads it whole."""
    case = bounded_conv(2, h, c, 1, k, 2)
    for target in TARGETS:
        compiled = Compiled(case, target, lambda k, t: checked(contraction.emit(k, t), k))
        np.testing.assert_array_equal(compiled.run(2)["y"], case.expected()["y"])


def test_bounds_of_a_packed_or_innermost_axis() -> None:
    for case in (matmul(8, 16, 40), matmul(20, 35, 64, "nt"), matmul(9, 5, 300, "nt")):
        check(replace_kernel(case, (Guard(at(k=1), 1, 7),)))
        check(replace_kernel(case, (Guard(at(m=1, k=1), 3, 20), Guard(at(k=1, const=-2), 0, 33))))


def replace_kernel(case: Case, guards: tuple[Guard, ...]) -> Case:
    return dataclasses.replace(case, kernel=guarded(case.kernel, guards))


def test_guards_that_are_no_bounds_are_left_to_the_loops() -> None:
    kernel = matmul(8, 16, 8).kernel
    for guard in (Guard(at(m=1), 1, 7), Guard(at(k=2), 1, 7)):
        assert not contraction.supports(guarded(kernel, (guard,)), HOST)
    # What is computed of a zero need not be one.
    first, *others = guarded(kernel, (Guard(at(k=1), 1, 7),)).phases
    load, right, dot = first.body
    exp = Apply("%e", f32, "exp", (load.name,))
    body = (load, exp, right, dataclasses.replace(dot, a="%e"))
    phases = (dataclasses.replace(first, body=body), *others)
    assert not contraction.supports(dataclasses.replace(kernel, phases=phases), HOST)


# ---- generated code ----------------------------------------------------------------------------

REAL = {
    "conv 64": conv(8, 58, 64, 64),
    "conv 512": conv(32, 6, 512, 512),
    "conv, first layer": conv(8, 30, 1, 16),
    "weight gradient 128": weight_gradient(8, 30, 128, 128),
    "product": matmul(2048, 128, 512),
    "product, along": matmul(4, 100, 1000, "nt"),
    "product, transposed b": matmul(64, 100, 1000, "nt"),
    "product, three columns": matmul(64, 3, 1000, "nt"),
    "depthwise": depthwise(8, 58, 96),
}
MULTIPLY = re.compile(r"\s(vfn?madd\w+p[sd]|fmla)\s")
ON_STACK = re.compile(r"\s(v\w+\s.*\(%r[sb]p\)|(ldr|str|ldp|stp)\s+q.*\[sp)")


@pytest.mark.parametrize("target", ["haswell", "sapphirerapids", "neoverse-n1"])
@pytest.mark.parametrize("name", REAL)
def test_hot_loops_keep_sums_in_registers(name: str, target: str) -> None:
    """A tile too big for the registers shows as stack operands of vector instructions."""
    known = Target.named(target)
    kernel = REAL[name].kernel
    text = module_text(kernel, known)
    blocks = re.split(r"\n(?=\.?L?BB\w*:|\.LBB\w*:)", assembly(text, known))
    hot = max(blocks, key=lambda block: len(MULTIPLY.findall(block)))
    assert len(MULTIPLY.findall(hot)) >= 8
    assert not [line for line in hot.splitlines() if ON_STACK.search(line)]
    assert compile_module(text, known)  # raises if it calls a library


def test_rows_that_crowd_each_other_out_of_the_cache_are_not_tiled() -> None:
    """Images of 16 x 16 x 16 lie whole pages apart: a tile of pixels, not of images."""
    chosen = plan(conv(64, 16, 16, 16, s=2, symbolic=True).kernel, HOST)
    assert chosen is not None
    assert {r.axis.name for r in chosen.rows} <= {"oy", "ox"}


@pytest.mark.skipif(HOST.vector_bytes != 64, reason="vectors of AVX-512")
@pytest.mark.parametrize("channels", [6, 7, 15, 16, 20, 24])
def test_half_vectors_for_few_channels(channels: int) -> None:
    """The same bits from vectors of either width."""
    chosen = plan(conv(2, 14, 8, channels, symbolic=True).kernel, HALVES)
    assert chosen is not None
    assert chosen.lanes == (8 if 0 < channels % 16 <= 8 else 16)
    for case in (conv(2, 9, 8, channels, symbolic=True), weight_gradient(2, 9, 8, channels)):
        check(case, [HALVES])


def test_lanes_do_not_run_along_a_few_taps() -> None:
    taps = contract(
        [("o", 10), ("x", 20)],
        [("c", 10), ("t", 5)],
        at(c=24, x=1, t=1),
        at(o=50, c=5, t=1),
        at(o=20, x=1),
    )
    chosen = plan(taps, HOST)
    assert chosen is not None
    assert chosen.how == "lanes"


def test_no_plan_depends_on_names() -> None:
    """Two targets with the same record get the same code: nothing asks which processor runs."""
    other = dataclasses.replace(HOST, name="other")
    kernel = conv(2, 7, 16, 32).kernel
    assert module_text(kernel, HOST) == module_text(kernel, other)
