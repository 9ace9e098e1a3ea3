"""What a function refuses for the values it is given, it refuses in a compiled step as well: the
same class and text, at the user's line, with nothing written."""

from __future__ import annotations

import linecache
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import Tensor, nn
from graphc.errors import GraphcError, InvalidArgument, InvalidState
from graphc.frontend.checked import checked

F = nn.functional
NAN, INF = float("nan"), float("inf")


def lengths(T: Any, inputs: Any, targets: Any) -> Any:
    logp = T.full((4, 1, 3), 0.5).log_softmax(-1)
    return T.nn.functional.ctc_loss(logp, T.tensor([[1, 2]]), inputs, targets)


def clipped(T: Any, g: Any) -> Any:
    w = T.ones(2, requires_grad=True)
    w.grad = g * 1
    return T.nn.utils.clip_grad_norm_([w], 1.0, error_if_nonfinite=True)


# A function of the library and a tensor; what it takes; what it does not take.
ROWS: dict[str, tuple[Callable[[Any, Any], Any], list[Any], list[list[Any]]]] = {
    "bce_input": (
        lambda T, x: T.nn.functional.binary_cross_entropy(x, T.ones_like(x)),
        [0.0, 1.0], [[0.5, 1.5], [-0.1, 0.5], [NAN, 0.5]]),
    "bce_target": (
        lambda T, x: T.nn.functional.binary_cross_entropy(T.full_like(x, 0.5), x),
        [0.0, 1.0], [[0.5, 1.5], [-0.1, 0.5]]),
    "bce_module": (
        lambda T, x: T.nn.BCELoss(reduction="none")(x, T.ones_like(x)),
        [0.0, 1.0], [[0.5, 1.5]]),
    "gaussian_nll": (
        lambda T, x: T.nn.functional.gaussian_nll_loss(T.ones(2), T.zeros(2), x),
        [0.0, 1.0], [[0.5, -1.5]]),
    "gaussian_nll_rows": (
        lambda T, x: T.nn.functional.gaussian_nll_loss(T.ones(2, 3), T.zeros(2, 3), x),
        [0.0, 1.0], [[0.5, -1.5]]),
    "bernoulli": (lambda T, x: T.bernoulli(x), [0.0, 1.0], [[0.5, 1.5], [-0.1, 0], [NAN, 0]]),
    "bernoulli_in_place": (
        lambda T, x: T.zeros(2).bernoulli_(x), [0.0, 1.0], [[0.5, 1.5], [-0.1, 0]]),
    "normal_std": (lambda T, x: T.normal(T.zeros(2), x), [0.0, 1.0], [[0.5, -1.5], [NAN, 1.0]]),
    "normal_of_a_mean": (lambda T, x: T.normal(1.0, x), [0.0, 1.0], [[0.5, -1.5]]),
    "multinomial": (
        lambda T, x: T.multinomial(x, 1), [0.0, 1.0], [[0.5, -1.5], [INF, 1], [NAN, 1], [0, 0]]),
    "multinomial_rows": (
        lambda T, x: T.multinomial(T.stack([x + 1.0, x]), 3, replacement=True),
        [0.0, 1.0], [[0.5, -1.5], [0.0, 0.0]]),
    "quantile": (lambda T, x: T.quantile(T.arange(5.0), x), [0.0, 1.0], [[0.5, 1.5], [-0.1, 0]]),
    "nanquantile": (lambda T, x: T.nanquantile(T.arange(5.0), x), [0.0, 1.0], [[0.5, 1.5]]),
    "histc": (lambda T, x: T.histc(x, 3), [0.0, 1.0], [[0.5, INF], [NAN, 1.0]]),
    "clip_grad_norm": (clipped, [0.0, 1.0], [[0.5, INF], [NAN, 1.0]]),
    "ctc_input_lengths": (lambda T, x: lengths(T, x, T.tensor([2])), [4], [[7], [-1]]),
    "ctc_target_lengths": (lambda T, x: lengths(T, T.tensor([4]), x), [2], [[3]]),
    "poisson": (lambda T, x: T.poisson(x), [0.0, 1.0], [[0.5, -1.5]]),
    "sparse": (
        lambda T, x: T.sparse_coo_tensor(
            T.stack([x, x]), T.ones(2), (3, 3), check_invariants=True).to_dense(),
        [0, 2], [[0, 3]]),
    "one_hot": (lambda T, x: T.nn.functional.one_hot(x, 3), [0, 2], [[0, 3], [-1, 0]]),
    "nll_target": (
        lambda T, x: T.nn.functional.nll_loss(T.zeros(2, 3), x), [0, 2], [[0, 3], [-1, 0]]),
    "multi_margin_target": (
        lambda T, x: T.nn.functional.multi_margin_loss(T.zeros(2, 3), x), [0, 2], [[0, 3]]),
    "embedding": (
        lambda T, x: T.nn.functional.embedding(x, T.ones(3, 2)), [0, 2], [[0, 3], [-1, 0]]),
    "embedding_bag": (
        lambda T, x: T.nn.functional.embedding_bag(T.tensor([0, 1]), T.ones(3, 2), x),
        [0, 1], [[0, 5]]),
    "max_unpool": (
        lambda T, x: T.nn.functional.max_unpool1d(T.ones(1, 1, 2), x.reshape(1, 1, 2), 2),
        [0, 3], [[0, 9]]),
    "sorter": (
        lambda T, x: T.searchsorted(T.tensor([1.0, 2.0]), T.tensor([1.0]), sorter=x),
        [0, 1], [[0, 5]]),
    "take": (lambda T, x: T.take(T.ones(3), x), [0, 2], [[0, 3], [-4, 0]]),
    "gather": (lambda T, x: T.ones(3).gather(0, x), [0, 2], [[0, 3], [-1, 0]]),
    "scatter": (lambda T, x: T.zeros(3).scatter(0, x, 1.0), [0, 2], [[0, 3], [-1, 0]]),
    "index_add": (
        lambda T, x: T.zeros(3).index_add(0, x, T.ones(2)), [0, 2], [[0, 3]]),
    "masked_scatter": (
        lambda T, x: T.zeros(2).masked_scatter(x > 0, T.ones(1)), [0, 2], [[1, 3]]),
    "floor_division": (lambda T, x: T.tensor([4, 5]) // x, [1, 2], [[0, 3]]),
    "remainder": (lambda T, x: T.tensor([4, 5]) % x, [1, 2], [[0, 3]]),
    "cholesky": (lambda T, x: T.linalg.cholesky(T.diag(x)), [1.0, 2.0], [[1.0, -1.0]]),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_refused_alike(name: str) -> None:
    function, good, refused = ROWS[name]
    count = graphc.zeros(())

    @graphc.compile
    def step(x: Tensor) -> Any:
        count.add_(1)
        return function(graphc, x)

    step(graphc.tensor(good))
    for values in refused:
        x = graphc.tensor(values, dtype=graphc.tensor(good).dtype)
        with pytest.raises(GraphcError) as eager:
            function(graphc, x)
        graphc.manual_seed(0)
        with pytest.raises(GraphcError) as error:
            step(x)
        assert type(error.value) is type(eager.value)
        assert (error.value.what, error.value.remedy) == (eager.value.what, eager.value.remedy)
        (theirs, line, _), (ours, at, _) = eager.value.where, error.value.where
        assert (os.path.basename(ours), at) == (os.path.basename(theirs), line)
        assert graphc.default_generator.draw == 0
    assert count.item() == 1
    step(graphc.tensor(good))
    assert count.item() == 2


@pytest.mark.parametrize("name", ROWS)
def test_pytorch_refuses_the_same(name: str) -> None:
    torch = pytest.importorskip("torch")
    function, good, refused = ROWS[name]
    function(torch, torch.tensor(good))
    for values in refused:
        with pytest.raises((RuntimeError, ValueError, IndexError)) as theirs:
            function(torch, torch.tensor(values, dtype=torch.tensor(good).dtype))
        kind = next(k for k in (ValueError, IndexError, RuntimeError) if theirs.errisinstance(k))
        with pytest.raises(kind):
            function(graphc, graphc.tensor(values, dtype=graphc.tensor(good).dtype))


def test_the_line_is_the_one_that_calls() -> None:
    def step(p: Tensor) -> Tensor:
        q = p * 2
        return graphc.bernoulli(q)

    compiled = graphc.compile(step)
    compiled(graphc.tensor([0.5]))
    with pytest.raises(InvalidState) as e:
        compiled(graphc.tensor([0.75]))
    _, line, function = e.value.where
    assert "graphc.bernoulli(q)" in linecache.getline(__file__, line) and function == "step"


def test_hyper_parameters_that_a_module_reads_at_each_call() -> None:
    drop, loss = nn.Dropout(0.5), nn.CrossEntropyLoss(label_smoothing=0.1)
    rows: list[tuple[Any, str, tuple[Tensor, ...]]] = [
        (drop, "p", (graphc.ones(3),)),
        (loss, "label_smoothing", (graphc.ones(1, 3), graphc.tensor([0]))),
    ]
    for module, name, args in rows:
        step = graphc.compile(module)
        step(*args)
        for bad in (1.5, -0.5):
            setattr(module, name, bad)
            for f in (module, step):
                with pytest.raises(InvalidArgument, match=str(bad)):
                    f(*args)
        setattr(module, name, 0.25)
        step(*args)


NUMBERS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "dropout": lambda x, p: F.dropout(x, p),
    "exponential": lambda x, p: x.clone().exponential_(p),
    "normal_in_place": lambda x, p: x.clone().normal_(0.0, p),
    "normal": lambda x, p: graphc.normal(x, p),
    "label_smoothing": lambda x, p: F.cross_entropy(x, graphc.tensor(0), label_smoothing=p),
    "quantile": graphc.quantile,
    "bernoulli": lambda x, p: x.bernoulli(p),
    "bernoulli_in_place": lambda x, p: x.clone().bernoulli_(p),
    "geometric": lambda x, p: x.clone().geometric_(p),
    "gaussian_nll": lambda x, p: F.gaussian_nll_loss(x, x, p),
}


def test_a_number_of_the_call_and_of_its_size_is_that_of_this_call() -> None:
    function, x = NUMBERS["label_smoothing"], graphc.tensor([1.0, 2.0, 0.5, -1.0])
    step = graphc.compile(function)
    for n, number in ((3, 0.125), (3, 0.25), (4, 0.5), (4, 0.75), (3, 0.0625), (4, 0.375)):
        want = function(x[:n], number).item()
        assert step(x[:n], number).item() == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_that_change_from_call_to_call(name: str) -> None:
    function, x = NUMBERS[name], graphc.ones(3)
    step = graphc.compile(function)
    for number in (0.125, 0.25, 0.5, 0.75):
        step(x, number)
    with pytest.raises(GraphcError) as eager:
        function(x, -1.5)
    with pytest.raises(type(eager.value)):
        step(x, -1.5)
    step(x, 0.5)


# ---- the check itself --------------------------------------------------------------------------


def positive(x: Tensor) -> Tensor:
    return checked(x, x > 0, "not positive", InvalidArgument, fix="take the absolute value")


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "int64", "uint8"])
def test_every_element_of_every_dtype_is_seen(dtype: str) -> None:
    kind = getattr(graphc, dtype)
    step = graphc.compile(lambda x: positive(x) + 1)
    for size in (1, 7, 67, 1030):
        for at in {0, size // 2, size - 1}:
            x = graphc.ones(size, dtype=kind)
            assert (step(x) == 2).all()
            x[at] = 0
            with pytest.raises(InvalidArgument, match="not positive"):
                step(x)


def test_nothing_is_checked_in_the_padding_around() -> None:
    step = graphc.compile(lambda x: F.pad(positive(x), (2, 3)))
    assert step(graphc.ones(4)).tolist() == [0, 0, 1, 1, 1, 1, 0, 0, 0]
    with pytest.raises(InvalidArgument):
        step(graphc.tensor([1.0, 1.0, 0.0]))


def test_state_that_takes_what_is_checked_stays_as_it_was() -> None:
    ways: list[Callable[[Tensor, Tensor], object]] = [
        lambda kept, x: kept.add_(positive(x)),
        lambda kept, x: kept.copy_(positive(x)),
        lambda kept, x: kept.mul_(2).add_(positive(x).sum()),
    ]
    for way in ways:
        kept = graphc.full((5,), 3.0)
        step = graphc.compile(lambda x: way(kept, x))  # noqa: B023  # called in this round
        step(graphc.ones(5))
        before = kept.tolist()
        with pytest.raises(InvalidArgument):
            step(graphc.tensor([1.0, 1.0, 1.0, 1.0, -1.0]))
        assert kept.tolist() == before


def test_gradients_pass_through_inside_a_step_and_outside() -> None:
    def inside(x: Tensor) -> Tensor:
        w = x.detach().requires_grad_()
        (positive(w) ** 2).sum().backward()
        return w.grad

    def outside(function: Callable[[Tensor], Tensor]) -> Tensor:
        x = graphc.arange(1.0, 9.0).requires_grad_()
        function(x).sum().backward()
        return x.grad

    def square(x: Tensor) -> Tensor:
        return positive(x) ** 2

    wanted = 2 * np.arange(1.0, 9.0)
    for f in (inside, graphc.compile(inside)):
        np.testing.assert_array_equal(f(graphc.arange(1.0, 9.0)).numpy(), wanted)
    for f in (square, graphc.compile(square)):
        np.testing.assert_array_equal(outside(f).numpy(), wanted)


def test_a_check_costs_no_kernel_of_its_own() -> None:
    plain, guarded = (
        graphc.compile(f) for f in (lambda x: x * 2 + 1, lambda x: positive(x) * 2 + 1)
    )
    for f in (plain, guarded):
        f(graphc.ones(100))
    assert guarded.explain().launches == plain.explain().launches


def test_a_result_that_nobody_reads_is_checked() -> None:
    def discarded(x: Tensor) -> Tensor:
        positive(x)
        F.one_hot(x, 3)
        return x + 1

    def chosen_alike(x: Tensor) -> Tensor:
        return graphc.where(positive(x) > 1, 2.0, 2.0)

    def its_gradient_is_read(x: Tensor) -> Tensor:
        positive(x)
        w = graphc.ones(3, requires_grad=True)
        return (w * x).sum()

    for f in (discarded, chosen_alike, its_gradient_is_read):
        step = graphc.compile(f)
        assert step(graphc.tensor([1, 2, 1])).tolist() == f(graphc.tensor([1, 2, 1])).tolist()
        with pytest.raises(InvalidArgument):
            step(graphc.tensor([1, 2, 0]))
    with pytest.raises(IndexError):
        graphc.compile(discarded)(graphc.tensor([1, 2, 3]))
