"""A float that is another in each call, as an argument of what takes one: one program serves all.

What it is an argument of stands in `TAKEN`, several of them in one step. `DECIDES` holds those
that a number chooses the formula of: they are traced for each. What a number may not be stands in
`REFUSED`; one that the call itself finds, by `.item()`, is refused before anything is written.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from types import SimpleNamespace as Space
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.errors import GraphcError
from graphc.nn import functional as F

Function = Callable[[Any, Any], Any]
RATES = (0.75, 0.625, 0.875, 0.6, 0.8, 0.9)
X = graphc.tensor([[-1.0, -0.4, 0.2, 0.9], [0.3, -0.7, 1.4, 0.5]])
LABELS, ROW = graphc.tensor([1, 3]), graphc.tensor([[0, 1, 0, 1]])


def put(x: Any, index: Any, v: Any) -> Any:
    x = x.clone()
    x[index] = v
    return x


def clipped(clip: Function) -> Function:
    def f(x: Any, v: Any) -> Any:
        p = x.detach().clone().requires_grad_()
        graphc.autograd.backward(p.square().sum())
        clip([p], v)
        return p.grad

    return f


def running(x: Any, v: Any) -> Any:
    mean, var = graphc.zeros(4), graphc.ones(4)
    out = F.batch_norm(x, mean, var, training=True, momentum=v, eps=v)
    return graphc.cat([out, mean[None], var[None]])


TAKEN: dict[str, Function] = {
    "clamp": lambda x, v: x.clamp(-v, v) + x.clamp(min=v) + x.clamp_max(v),
    "clamp_": lambda x, v: x.clone().clamp_(max=v),
    "clamp of integers": lambda x, v: x.long().clamp(max=v),
    "clamp of halves": lambda x, v: x.half().clamp(max=v),
    "where": lambda x, v: graphc.where(x > 0, x, v) + x.where(x > 1, v),
    "where of numbers": lambda x, v: graphc.where(x > 0, 1, v),
    "masked_fill": lambda x, v: x.masked_fill(x > 0, v),
    "masked_fill of integers": lambda x, v: x.long().masked_fill(x > 0, v),
    "full": lambda x, v: graphc.full((2,), v),
    "full of integers": lambda x, v: graphc.full((2,), v, dtype=graphc.int32),
    "full_like": lambda x, v: graphc.full_like(x, v) + x.new_full((4,), v),
    "fill_": lambda x, v: graphc.zeros(3).fill_(v),
    "tensor": lambda x, v: graphc.tensor(v) * x + graphc.as_tensor(v) + graphc.scalar_tensor(v),
    "tensor of a list": lambda x, v: graphc.tensor([[v, 1.0], [2, 1 - v]]),
    "items": lambda x, v: put(x, 0, v) + put(x, x > 1, v) + put(x, (LABELS[:1] * 0, LABELS), v),
    "index_fill": lambda x, v: x.index_fill(0, LABELS[:1], v),
    "scatter": lambda x, v: x.scatter(0, ROW, v),
    "fill_diagonal_": lambda x, v: x.clone().fill_diagonal_(v),
    "quantile": lambda x, v: x.quantile(v, dim=1) + x.nanquantile(v),
    "lerp": lambda x, v: x.lerp(x * 2, v) + x.lerp(x * 2, v - 0.3) + x.lerp(x * 2, -v),
    "addcmul": lambda x, v: x.addcmul(x, x, value=v).addcdiv(x, x.abs() + 1, value=v),
    "alpha": lambda x, v: x.add(x, alpha=v) + x.sub(x, alpha=v) + graphc.rsub(x, x, alpha=v),
    "addmm": lambda x, v: graphc.addmm(x[:, :2], x, x.mT, beta=v, alpha=2 * v),
    "index_add": lambda x, v: x.index_add(0, ROW[0, :2], x, alpha=v),
    "leaky_relu": lambda x, v: F.leaky_relu(x, v) + F.rrelu(x, v, 1.0),
    "elu": lambda x, v: F.elu(x, v) + F.celu(x, v),
    "hardtanh": lambda x, v: F.hardtanh(x, -v, v),
    "shrink": lambda x, v: F.hardshrink(x, v) + F.softshrink(x, v),
    "threshold": lambda x, v: F.threshold(x, v, 2 * v),
    "softplus": lambda x, v: F.softplus(x, v, v),
    "smooth_l1": lambda x, v: F.smooth_l1_loss(x, x * 2, beta=v) + F.huber_loss(x, x * 2, delta=v),
    "label_smoothing": lambda x, v: F.cross_entropy(x, LABELS, label_smoothing=v),
    "margins": lambda x, v: F.margin_ranking_loss(x, x * 2, x.sign(), margin=v)
    + F.triplet_margin_loss(x, x * x, x * 2, margin=v)
    + F.multi_margin_loss(x, LABELS, margin=v),
    "eps of losses": lambda x, v: F.gaussian_nll_loss(x, x * 2, x.abs(), eps=v)
    + F.poisson_nll_loss(x, x.abs(), log_input=False, eps=v),
    "pow": lambda x, v: x.abs() ** v + v**x + graphc.pow(v, x) + x.abs().pow_(v),
    "float_power": lambda x, v: x.abs().float_power(v),
    "normalize": lambda x, v: F.normalize(x, eps=v) + F.cosine_similarity(x, x * x, eps=v).sum(),
    "layer_norm": lambda x, v: F.layer_norm(x, (4,), eps=v) + F.rms_norm(x, (4,), eps=v),
    "batch_norm": running,
    "group_norm": lambda x, v: F.group_norm(x, 2, eps=v) + F.instance_norm(x[None], eps=v),
    "logit": lambda x, v: x.abs().frac().logit(eps=v / 4),
    "nan_to_num": lambda x, v: (x / 0).nan_to_num(nan=v, posinf=v, neginf=-v),
    "pad": lambda x, v: F.pad(x, (1, -1, 2, 0), value=v),
    "remainder": lambda x, v: x % v + x // v + x.fmod(v) + x.div(v, rounding_mode="trunc"),
    "comparisons": lambda x, v: (x > v).float() + x.ge(v) + (x == v) + x.isclose(x * 2, atol=v),
    "xlogy": lambda x, v: graphc.xlogy(x, v) + graphc.special.xlog1py(x, v),
    "copysign": lambda x, v: x.copysign(-v),
    "ranges": lambda x, v: graphc.linspace(v, 1, 4) + graphc.logspace(0, 1, 4, base=v),
    "correction": lambda x, v: x.var(1, correction=v) + x.std(1, correction=v),
    "trapezoid": lambda x, v: graphc.trapezoid(x, dx=v) + graphc.gradient(x, spacing=v)[0].sum(),
    "attention": lambda x, v: F.scaled_dot_product_attention(x[None], x[None], x[None], scale=v),
    "places": lambda x, v: graphc.bucketize(v, X[0].sort()[0]) + graphc.histc(x, 4, -v, v),
    "clip_grad_norm_": clipped(nn.utils.clip_grad_norm_),
    "clip_grad_value_": clipped(nn.utils.clip_grad_value_),
    "foreach": lambda x, v: graphc._foreach_mul([x, x * 2], v)[1],
    "integers": lambda x, v: x.long() * v + (x > 0) * v + x.half() * v,
    "float64": lambda x, v: x.double().add(x, alpha=v) * v,
    "constant_": lambda x, v: nn.init.constant_(graphc.zeros(3), v),
    "dropout": lambda x, v: F.dropout(x, v) + F.alpha_dropout(x, v),
    "normal": lambda x, v: graphc.zeros(4).normal_(v, v) + graphc.normal(v, 1.0, size=(4,)),
    "normal of a tensor": lambda x, v: graphc.normal(x, v),
    "uniform_": lambda x, v: graphc.zeros(4).uniform_(-v, v),
    "bernoulli": lambda x, v: graphc.zeros(4).bernoulli_(v) + graphc.bernoulli(x, v),
    "other draws": lambda x, v: graphc.zeros(4).exponential_(v) + graphc.zeros(4).geometric_(v),
    "truncated": lambda x, v: nn.init.trunc_normal_(graphc.zeros(4), 0.0, v),
    "norm": lambda x, v: x.norm(v) + graphc.dist(x, x * 2, v) + graphc.linalg.vector_norm(x, v),
    "norms of rows": lambda x, v: F.normalize(x, v) + graphc.renorm(x, 2 * v, 0, v),
    "gumbel_softmax": lambda x, v: F.gumbel_softmax(x, v),
}  # fmt: skip

DECIDES: dict[str, Function] = {
    "cdist": lambda x, v: graphc.cdist(x, x * x, v),
}


def same(a: Any, b: Any) -> bool:
    """Of one dtype, and equal but for the rounding of fused kernels."""
    close = np.allclose(
        a.detach().numpy(), b.detach().numpy(), rtol=1e-5, atol=1e-6, equal_nan=True
    )
    return a.dtype is b.dtype and a.shape == b.shape and bool(close)


def steps(functions: dict[str, Function]) -> Callable[[Any, Any], dict[str, Any]]:
    def step(x: Any, v: Any) -> dict[str, Any]:
        outs = {name: f(x, v) for name, f in functions.items()}
        total = sum(out.sum() for out in outs.values() if out.requires_grad)
        if isinstance(total, graphc.Tensor):
            outs["gradient"] = graphc.autograd.grad(total, x)[0]
        return {name: out.detach() for name, out in outs.items()}

    return step


def calls(functions: dict[str, Function], way: str) -> Iterator[tuple[dict[str, Any], ...]]:
    """What a plain call and a compiled one give, for each rate."""
    step, me = steps(functions), Space(v=0.0)
    compiled = graphc.compile(step if way == "argument" else lambda x: step(x, me.v))
    for v in RATES:
        me.v = v
        given = (X.clone().requires_grad_(), v)
        graphc.manual_seed(3)
        plain = step(*given)
        graphc.manual_seed(3)
        yield plain, compiled(*given[: 2 if way == "argument" else 1])


# A function of a number, and one that it does not take.
REFUSED: dict[str, tuple[Function, float]] = {
    "dropout": (lambda x, v: F.dropout(x, v), 1.5),
    "alpha_dropout": (lambda x, v: F.alpha_dropout(x, v, training=True), -0.5),
    "normal_": (lambda x, v: x.clone().normal_(0.0, v), -1.0),
    "uniform_": (lambda x, v: x.clone().uniform_(0.5, v), 0.25),
    "uniform_ too wide": (lambda x, v: x.clone().uniform_(-v, v), 3e38),
    "exponential_": (lambda x, v: x.clone().exponential_(v), 0.0),
    "geometric_": (lambda x, v: x.clone().geometric_(v), 1.0),
    "bernoulli": (lambda x, v: graphc.bernoulli(x, v), 1.5),
    "truncated": (lambda x, v: nn.init.trunc_normal_(x.clone(), 0.0, 1.0, 0.5, v), 0.25),
    "softshrink": (lambda x, v: F.softshrink(x, v), -1.0),
    "celu": (lambda x, v: F.celu(x, v), 0.0),
    "hardtanh": (lambda x, v: F.hardtanh(x, 0.5, v), 0.25),
    "rrelu": (lambda x, v: F.rrelu(x, v, 0.5), 0.75),
    "huber_loss": (lambda x, v: F.huber_loss(x, x * 2, delta=v), 0.0),
    "smooth_l1_loss": (lambda x, v: F.smooth_l1_loss(x, x * 2, beta=v), -1.0),
    "label_smoothing": (lambda x, v: F.cross_entropy(x, LABELS, label_smoothing=v), 1.5),
    "margin": (lambda x, v: F.triplet_margin_loss(x, x * x, x * 2, margin=v), 0.0),
    "quantile": (lambda x, v: x.quantile(v), 1.5),
    "isclose": (lambda x, v: x.isclose(x * 2, atol=v), -1.0),
    "histc": (lambda x, v: graphc.histc(x, 4, 0.0, v), -1.0),
    "full": (lambda x, v: graphc.full((2,), v), 1e39),
    "full of integers": (lambda x, v: graphc.full((2,), v, dtype=graphc.int8), 128.0),
    "no integer": (lambda x, v: graphc.full((2,), v, dtype=graphc.int64), float("inf")),
    "no byte": (lambda x, v: graphc.full((2,), v, dtype=graphc.uint8), -1.0),
    "masked_fill of halves": (lambda x, v: x.half().masked_fill(x > 0, v), 65505.0),
    "clamp of halves": (lambda x, v: x.half().clamp(max=v), -1e6),
    "alpha": (lambda x, v: x.half().add(x.half(), alpha=v), 1e6),
}  # fmt: skip

GROUPS = [[*TAKEN][k::6] for k in range(6)]


@pytest.mark.parametrize("names", GROUPS)
def test_one_program_serves_all_numbers(names: list[str]) -> None:
    with graphc.assert_max_compiles(3):
        for plain, compiled in calls({name: TAKEN[name] for name in names}, "state"):
            assert [k for k in plain if not same(plain[k], compiled[k])] == []


def test_and_all_that_are_passed() -> None:
    with graphc.assert_max_compiles(3):
        for plain, compiled in calls({name: TAKEN[name] for name in GROUPS[0]}, "argument"):
            assert [k for k in plain if not same(plain[k], compiled[k])] == []


@pytest.mark.parametrize("name", DECIDES)
def test_what_a_number_decides_is_traced_for_each(name: str) -> None:
    for way in ("state", "argument"):
        for plain, compiled in calls({name: DECIDES[name]}, way):
            assert same(plain[name], compiled[name])


@pytest.mark.parametrize("names", GROUPS)
def test_one_that_the_call_finds_is_taken_as_the_tensor_that_it_is_of(names: list[str]) -> None:
    step = steps({name: TAKEN[name] for name in names})
    compiled = graphc.compile(lambda x, v: step(x, v.item()))
    for v in RATES[:2]:
        x = X.clone().requires_grad_()
        graphc.manual_seed(3)
        plain = step(x, v)
        graphc.manual_seed(3)
        found = compiled(x, graphc.tensor(v, dtype=graphc.float64))
        assert [k for k in plain if not same(plain[k], found[k])] == []
    assert compiled.stats.programs == 1


@pytest.mark.parametrize("name", REFUSED)
def test_what_it_may_not_be_is_refused_before_anything_is_written(name: str) -> None:
    function, bad = REFUSED[name]
    count = graphc.zeros(())

    @graphc.compile
    def step(x: Any, v: Any) -> Any:
        count.add_(1)
        return function(x, v.item())

    with pytest.raises(GraphcError) as eager:
        function(X, bad)
    with pytest.raises(GraphcError) as error:
        step(X, graphc.tensor(bad, dtype=graphc.float64))
    assert type(error.value) is type(eager.value) and count.item() == 0
    assert error.value.what[:5] == eager.value.what[:5]  # the number itself comes later
    assert f"{__file__.rpartition('/')[2]}:" in str(error.value)


def test_what_python_computes_of_one_is_an_operand_too() -> None:
    def f(x: Any, v: Any) -> Any:
        a = v.item()
        return [
            x * math.exp(-a), x + math.log(a), x / math.sqrt(a), x * a**2, x.clamp(max=abs(-a)),
            x * (a > 0.7), x * ((a > 0.1) & (a < 0.7)), x * math.sin(a) * math.erf(a),
            x.long() * int(5 * a) + int(-a), graphc.arange(5) * math.floor(-9 * a) + math.ceil(a),
            graphc.arange(9) << round(3 * a), x * (7 // a) + 7 % a + -a // 0.3, x + max(a, 0.7),
            x.clamp(max=min(0.3, 0.9, a)), x.long() + max(int(9 * a), 2, 7) % 4 + int(7 * v),
            graphc.full((2,), int(9 * a)), graphc.tensor(1) * max(a, -a),
        ]  # fmt: skip

    step = graphc.compile(f)
    for v in RATES[:2]:
        v = graphc.tensor(v, dtype=graphc.float64)
        assert [k for k, (a, b) in enumerate(zip(step(X, v), f(X, v))) if not same(a, b)] == []


def test_a_nan_is_no_integer_and_nothing_is_written() -> None:
    count = graphc.zeros(())

    @graphc.compile
    def step(x: Any, v: Any) -> Any:
        count.add_(1)
        return x * int(v.item())

    assert step(X, graphc.tensor(2.5)).equal(X * 2) and count.item() == 1
    for bad in (math.nan, math.inf, -1e19):
        with pytest.raises(ValueError, match="to integer"):
            step(X, graphc.tensor(bad))
    assert count.item() == 1


def test_one_program_has_norms_of_all_orders() -> None:
    def f(x: Any, p: Any) -> Any:
        outs = x.norm(p), x.norm(p, 1, keepdim=True), graphc.linalg.vector_norm(x, p, dim=0)
        total = sum((out * (k + 1)).sum() for k, out in enumerate(outs))
        slope = graphc.autograd.grad(total, x)[0] if total.requires_grad else x * 0
        return [*(out.detach() for out in outs), slope]

    step = graphc.compile(lambda x, p: f(x, p.item()))
    for p in (2.0, 1.0, 3.0, 0.5, math.inf, -math.inf, 0.0, -1.0):
        given = graphc.tensor(p, dtype=graphc.float64)
        x = graphc.tensor([[-1.0, 0.0, 0.2], [0.3, -0.7, 1.4]]) + 0.05 * (p < 0)
        plain, found = f(x.requires_grad_(), p), step(x, given)
        assert [k for k, (a, b) in enumerate(zip(found, plain)) if not same(a, b)] == [], p
    assert step.stats.programs == 1
