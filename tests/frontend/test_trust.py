"""What tells whether a compiled step is right: verify, check=, and memory before the first run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
import graphc.nn.functional as F
from graphc import nn, optim
from graphc.errors import InvalidArgument, InvalidType, Mismatch, NotFinite, OutOfMemory
from graphc.frontend.step.inspect import verified
from graphc.frontend.step.inspect.checking import excess
from graphc.runtime.cpu import arena


def training() -> tuple[Any, Any]:
    graphc.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3)
    )
    opt = optim.Adam(net.parameters())

    def step(x: Any, y: Any) -> Any:
        opt.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        opt.step()
        return loss

    return net, step


def batch(rows: int = 8) -> tuple[Any, Any]:
    return graphc.randn(rows, 6), graphc.randint(0, 3, (rows,))


# ---- verify --------------------------------------------------------------------------------------


def test_verify_compares_all_that_a_step_gives_and_changes_nothing() -> None:
    net, step = training()
    compiled, data = graphc.compile(step), batch()
    before = [p.tolist() for p in net.parameters()], graphc.get_rng_state().tolist()
    found = graphc.verify(compiled, *data)
    assert before == ([p.tolist() for p in net.parameters()], graphc.get_rng_state().tolist())
    assert all(p.grad is None for p in net.parameters())
    names = {row.name for row in found.rows}
    assert {"result 0", "%0.weight", "%0.weight.grad", "%1.running_var"} <= names
    assert all(row.excess <= 1 for row in found.rows) and "agree" in str(found)
    shown = str(found).splitlines()
    assert len(shown) < len(found.rows) and shown[-1].endswith(f"in {len(found.rows) - 10} others")
    compiled(*data)
    graphc.verify(compiled, *batch(5))
    assert compiled.stats.programs == 1


def test_verify_looks_at_the_backward_of_a_module_too() -> None:
    net = graphc.compile(nn.Sequential(nn.Linear(4, 4), nn.Tanh()))
    found = graphc.verify(net, graphc.randn(3, 4))
    assert any(row.where.startswith("bw") for row in found.rows)
    with pytest.raises(InvalidType, match="not compiled"):
        graphc.verify(lambda: 1)


def test_verify_names_the_first_tensor_that_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    step = graphc.compile(lambda x, y: (x * 2, (x - y).exp()))
    given = graphc.randn(20), graphc.randn(20)
    graphc.verify(step, *given)

    def run(graph: Any, native: Any, inputs: Any, place: Any) -> Any:
        out = verified_run(graph, native, inputs, place)
        out[1] = out[1] * np.float32(1 + 1e-4)
        return out

    verified_run = verified.run_alone
    monkeypatch.setattr(verified, "run_alone", run)
    with pytest.raises(Mismatch, match="result 1"):
        graphc.verify(step, *given)


def test_the_tolerance_scales_with_what_rounding_explains() -> None:
    random = np.random.default_rng(0)
    wide = random.standard_normal(2000)
    eager = wide.astype(np.float32)
    assert excess(eager, eager, wide, "f32") <= 1
    assert excess(eager * np.float32(1 + 1e-5), eager, wide, "f32") > 1
    assert excess(np.zeros_like(eager), eager, wide, "f32") > 1
    assert excess(np.array([1]), np.array([2]), np.array([2]), "i64") == np.inf
    nan = np.where(np.arange(2000) == 3, np.nan, eager).astype(np.float32)
    assert excess(nan, eager, wide, "f32") == np.inf


# ---- check= --------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", ["nan", "finite"])
def test_a_checked_step_stops_before_it_keeps_a_nan(check: str) -> None:
    net, step = training()
    compiled, data = graphc.compile(step, check=check), batch()
    compiled(*data), compiled(*data)
    before = {k: v.tolist() for k, v in net.state_dict().items()}
    bad = data[0].clone()
    bad[1, 2] = float("nan")
    with pytest.raises(NotFinite, match=r"`x` holds NaN in 1 of 48 elements.*at call 3"):
        compiled(bad, data[1])
    assert before == {k: v.tolist() for k, v in net.state_dict().items()}
    compiled(*data)
    assert compiled.stats.programs == 1


def rooted(w: Any) -> Any:
    opt = optim.SGD([w], lr=1.0)

    def step(x: Any) -> Any:
        opt.zero_grad()
        y = w * x
        loss = y.sqrt().sum()
        loss.backward()
        opt.step()
        opt.zero_grad()
        return loss

    return step


def test_the_op_of_the_first_bad_value_its_line_and_inputs_are_named() -> None:
    w = nn.Parameter(graphc.tensor([1.0, 4.0]))
    step = graphc.compile(rooted(w), check="finite")
    step(graphc.full((2,), 0.25))
    kept = w.tolist()
    with pytest.raises(NotFinite) as e:
        step(graphc.zeros(2))
    text = str(e.value)
    assert "`div` gave Inf in 2 of 2 elements" in text and "in the backward of `sqrt`" in text
    assert "y.sqrt().sum()" in text and "from 0 to 0, 0 NaN" in text and w.tolist() == kept
    step = graphc.compile(rooted(w), check="nan")
    with pytest.raises(
        NotFinite, match=r"`sqrt` gave NaN in 2 of 2 elements of f32\[2\], at call 1"
    ):
        step(graphc.full((2,), -1.0))


def test_in_a_loop_the_op_of_its_body_is_named() -> None:
    w = nn.Parameter(graphc.ones(2))

    def step(x: Any) -> Any:
        def body(c: Any, row: Any) -> Any:
            c = c + (row * w).log()
            return c, c

        _, ys = graphc.scan(body, graphc.zeros(2), x)
        ys.sum().backward()
        return ys.sum()

    compiled, rows = graphc.compile(step, check="nan"), graphc.ones(5, 2)
    compiled(rows)
    rows[2, 0] = -1.0
    with pytest.raises(NotFinite, match=r"`log` gave NaN in 1 of 2 elements") as e:
        compiled(rows)
    assert "(row * w).log()" in str(e.value) and "from -1 to 1" in str(e.value)


def test_of_several_ops_in_a_line_the_differentiated_one_is_named() -> None:
    w = nn.Parameter(graphc.ones(2))

    def step(x: Any) -> Any:
        y = graphc.acos(w * x) * (x - x)
        y.sum().backward()
        return y

    compiled = graphc.compile(step, check="nan")
    compiled(graphc.tensor([0.5, 0.2]))
    with pytest.raises(NotFinite, match=r"`div` gave NaN .* in the backward of `acos`"):
        compiled(graphc.tensor([1.0, 0.2]))


def test_a_constant_is_named_as_one() -> None:
    @graphc.compile(check="nan")
    def step(x: Any) -> Any:
        return x.sum() + x[:0].mean()

    where = r"the constant nan holds NaN in 1 of 1 .*:\d+ in step.*written into the step"
    with pytest.raises(NotFinite, match=r"(?s)" + where):
        step(graphc.ones(3))


def test_a_mask_of_inf_is_not_blamed() -> None:
    def step(x: Any, m: Any) -> Any:
        return x.masked_fill(m, float("-inf")).softmax(-1)

    compiled = graphc.compile(step, check="finite")
    x = graphc.randn(2, 3)
    good = graphc.tensor([[True, False, False], [False, False, True]])
    assert graphc.allclose(compiled(x, good), step(x, good))
    with pytest.raises(NotFinite, match="gave NaN") as e:
        compiled(x, graphc.ones(2, 3, dtype=graphc.bool))
    assert "`where` gave" not in str(e.value)


def test_what_is_not_checked_has_no_check() -> None:
    _, step = training()
    plain, checked = graphc.compile(step), graphc.compile(step, check="nan")
    plain(*batch()), checked(*batch())
    assert "NotFinite" in checked.ir("memory") and "NotFinite" not in plain.ir("memory")
    assert " within " in checked.ir("fuse") and " within " not in plain.ir("fuse")
    with pytest.raises(InvalidArgument, match="check='all'"):
        graphc.compile(step, check="all")


# ---- memory --------------------------------------------------------------------------------------


def test_memory_is_known_before_the_first_run() -> None:
    net, step = training()
    compiled, data = graphc.compile(step), batch(64)
    before = [p.tolist() for p in net.parameters()]
    planned = compiled.memory(*data)
    assert before == [p.tolist() for p in net.parameters()] and compiled.stats.programs == 1
    compiled(*data)
    assert compiled.memory() == planned and compiled.stats.programs == 1
    assert compiled.memory(*batch(128)).peak_bytes > planned.peak_bytes


def test_a_step_that_does_not_fit_is_refused_with_the_figures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(arena, "free_bytes", lambda: 1 << 20)
    w = nn.Parameter(graphc.zeros(4))

    @graphc.compile
    def step(x: Any) -> Any:
        y = (x[:, None] * x).cumsum(0) * w.sum()
        y.sum().backward()
        return y

    with pytest.raises(
        OutOfMemory, match=r"needs \d+\.\d MB more, 1\.0 MB are free.*results 64\.0 MB"
    ):
        step(graphc.ones(4000))
    assert w.grad is None and step.memory(graphc.ones(4000)).by_kind["out"] == 4 * 4000 * 4000
