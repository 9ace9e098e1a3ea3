"""Facts about an op stand in its row of `ir/ops.py`: no other module holds a list of names."""

from __future__ import annotations

import ast
import inspect
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from graphc.frontend.eager.rows import FAST
from graphc.ir.ops import OPS
from graphc.ir.type_rules import same_type, whole_type
from graphc.ir.types import bool_, f32, i64
from graphc.ir.verify_kernel import operand_count
from graphc.passes.elementary import FUNCTIONS

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "graphc"

# "file name": why it is not a fact of the row
LISTS = {
    "graphc/passes/vjp_rules.py NOT_DIFFERENTIABLE": "what the derivative table leaves out",
    "graphc/codegen_gpu/attention_kernel.py PARTS": "which of a template's loops computes each",
}
CALLS = ("frozenset", "set", "tuple", "dict", "list", "fromkeys", "split")


def constants(node: ast.expr) -> list[object] | None:
    """The constants that a display or a call such as frozenset(...) is made of; None: of others.

    Of a dict they are the keys, and its values have to be constants, too: a table of functions is
    no list of names.
    """
    if isinstance(node, ast.Constant):
        return [node.value]
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)
        if name == "split" and isinstance(node.func, ast.Attribute):
            words = constants(node.func.value)
            return [w for word in words or () for w in str(word).split()]
        args = node.args[:1] if name == "fromkeys" else node.args
        return joined(args) if name in CALLS else None
    if isinstance(node, ast.Dict):
        plain = all(constants(v) is not None for v in node.values)
        return joined([k for k in node.keys if k is not None]) if plain else None
    if isinstance(node, ast.Set | ast.Tuple | ast.List):
        return joined(node.elts)
    if isinstance(node, ast.Starred):
        return constants(node.value)
    if isinstance(node, ast.BinOp):
        return joined([node.left, node.right])
    return None


def joined(nodes: list[ast.expr]) -> list[object] | None:
    found: list[object] = []
    for node in nodes:
        inner = constants(node)
        if inner is None:
            return None
        found += inner
    return found


def lists(path: Path) -> Iterator[str]:
    """Module-level collections of nothing but names of ops."""
    for node in ast.parse(path.read_text()).body:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        if isinstance(node.value, ast.Constant) or ast.unparse(target) == "__all__":
            continue
        found = constants(node.value)
        if found and all(isinstance(c, str) and c in OPS for c in found):
            yield f"{path.relative_to(PACKAGE.parent).as_posix()} {ast.unparse(target)}"


def test_no_module_lists_names_of_ops() -> None:
    layers = ("ir", "passes", "codegen_cpu", "codegen_gpu", "runtime", "frontend")
    paths = [path for layer in layers for path in (PACKAGE / layer).rglob("*.py")]
    assert {name for path in paths for name in lists(path)} == set(LISTS)


@pytest.mark.parametrize(
    "line",
    [
        'A = frozenset({"exp", "log"})',
        'A = {"exp"}',
        'A: tuple[str, ...] = ("exp", "log")',
        'A = {"exp": 14, "log": 16}',
        'A = frozenset("exp log".split())',
        'A = set(["exp"]) | {"log"}',
        'A = dict.fromkeys(("exp", "log"), 3)',
    ],
)
def test_a_list_of_names_is_found(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{__name__}.PACKAGE", tmp_path / "graphc")
    file = tmp_path / "rules.py"
    file.write_text(f'{line}\nB = {{"exp": len}}\nC = ("exp", "other")\nD = "exp"\n')
    assert list(lists(file)) == ["rules.py A"]


# ---- facts that can be checked ------------------------------------------------------------------


def test_a_combination_is_what_its_reduction_does() -> None:
    """Folding two parts, then combining them, folds the whole."""
    x = np.array([[3.0, -1.0, 2.0, 0.5]])
    for op in OPS.values():
        if op.kind == "reduce" and op.combine:
            a, b = op.evaluate(x[:, :2], axes=(1,)), op.evaluate(x[:, 2:], axes=(1,))
            whole = op.evaluate(x, axes=(1,))
            np.testing.assert_array_equal(OPS[op.combine].evaluate(a, b), whole, op.name)


def test_a_reduction_finds_the_best() -> None:
    x = np.array([[3.0, -1.0, 2.0]])
    for op in OPS.values():
        if op.best:
            at = int(x.argmax() if op.best == "largest" else x.argmin())
            got = op.evaluate(x, axis=1) if op.position else op.evaluate(x, axes=(1,))
            assert got == (at if op.position else x[0, at]), op.name
        else:
            assert not op.position


def test_exact_ops_give_what_half_floats_hold() -> None:
    x = np.array([-2.5, -0.0, 0.1, 1.5, 3.0], np.float16)
    for op in OPS.values():
        if op.kind == "elementwise" and op.exact and op.infer is same_type:
            args = [x.astype(np.float32), x[::-1].astype(np.float32)]
            got = op.evaluate(*args[: operand_count(op.name)])
            np.testing.assert_array_equal(got, got.astype(np.float16), op.name)


def test_only_rows_that_say_so_return_their_operand() -> None:
    """What eager code would hand out as a tensor of its own."""
    x = np.array([3, 1, 2])
    for op in OPS.values():
        if op.kind != "elementwise" or op.infer not in (same_type, whole_type):
            continue
        got = op.evaluate(*[x] * operand_count(op.name))
        assert op.aliases or not np.shares_memory(got, x), op.name
    assert np.shares_memory(OPS["check_index"].evaluate(x, bound=9, what="index"), x)


def test_facts_go_with_their_kinds() -> None:
    for op in OPS.values():
        assert op.combine in ("", *OPS)
        assert not op.best or op.kind == "reduce"
        assert not op.scatters or op.kind == "index"
        assert not op.stores or op.kind == "movement"
        assert op.may_fail == "never" or op.kind in ("elementwise", "routine")
        assert op.may_fail == "always" or op.kind != "routine"  # Python may raise anything
        assert op.runs == "both" or op.kind == "routine"  # a kernel's code runs anywhere
        assert op.cost >= 1
        assert op.cost == 1 or op.name not in FUNCTIONS  # what becomes a formula costs its ops


def test_only_integers_have_no_quotient_by_zero() -> None:
    assert OPS["rem"].can_fail(i64) and not OPS["rem"].can_fail(f32)
    assert OPS["check_index"].can_fail(i64) and not OPS["add"].can_fail(bool_)


def attributes(function: object) -> set[str]:
    assert callable(function)
    parameters = inspect.signature(function).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return set()
    return {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}


@pytest.mark.parametrize("name", [name for name, op in OPS.items() if attributes(op.infer)])
def test_a_meaning_takes_the_attributes_of_its_type_rule(name: str) -> None:
    for row in (OPS[name].evaluate, FAST.get(name)):
        try:
            taken = attributes(row) if row is not None else set()
        except ValueError:  # NumPy's own functions have no signature
            continue
        assert not taken or attributes(OPS[name].infer) <= taken


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", [op.name for op in OPS.values() if op.held is not None])
def test_a_routine_holds_as_much_as_its_row_says(name: str, dtype: type) -> None:
    op, attrs = OPS[name], {"full": False} if name in ("qr", "svd") else {}
    x = np.random.default_rng(0).standard_normal((32, 48, 48 - 16 * len(attrs))).astype(dtype)
    x = x if attrs else x @ x.mT / 48 + np.eye(48, dtype=dtype)
    args = [x, x.copy()] if name == "solve" else [x]
    op.evaluate(*args, **attrs)  # what NumPy keeps for good is there before
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        out = np.asarray(op.evaluate(*args, **attrs))
        most = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert op.held is not None
    assert op.held([a.shape for a in args], out.shape, out.itemsize) == pytest.approx(
        most, rel=0.05
    )
