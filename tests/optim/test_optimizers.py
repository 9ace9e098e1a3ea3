"""Optimizers against PyTorch: 50 steps with fixed gradients; state dicts; errors."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn, optim
from tests.optim.rows import IDS, ROWS, SHAPES

torch: Any = pytest.importorskip("torch")


def parameters(dtype: str) -> tuple[list[Any], list[Any]]:
    rng = np.random.default_rng(0)
    arrays = [np.asarray(rng.standard_normal(s), dtype) for s in SHAPES]
    return (
        [nn.Parameter(graphc.tensor(a)) for a in arrays],
        [torch.nn.Parameter(torch.tensor(a)) for a in arrays],
    )


def run(opts: Any, params: Any, steps: int, dtype: str, skip: int = -1) -> None:
    """Step both with the same gradients; parameter 1 has none at step `skip`."""
    rng = np.random.default_rng(7)
    for step in range(steps):
        for k, (p, q) in enumerate(zip(*params)):
            g = np.asarray(rng.standard_normal(p.shape), dtype)
            absent = k == 1 and step == skip
            p.grad = None if absent else graphc.tensor(g)
            q.grad = None if absent else torch.tensor(g)
        for opt in opts:
            opt.step()


def check_same(params: Any, rtol: float) -> None:
    for p, q in zip(*params):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol, rtol * 1e-2)


@pytest.mark.parametrize(("name", "options"), ROWS, ids=IDS)
@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-12), ("float32", 3e-5)])
def test_fifty_steps(name: str, options: dict[str, Any], dtype: str, rtol: float) -> None:
    params = parameters(dtype)
    opts = [getattr(m, name)(ps, **options) for m, ps in zip((optim, torch.optim), params)]
    run(opts, params, 50, dtype)
    check_same(params, rtol)


@pytest.mark.parametrize(("name", "options"), ROWS, ids=IDS)
def test_a_parameter_without_gradient_sits_out(name: str, options: dict[str, Any]) -> None:
    params = parameters("float64")
    opts = [getattr(m, name)(ps, **options) for m, ps in zip((optim, torch.optim), params)]
    for skip in (0, 2):
        run(opts, params, 4, "float64", skip)
    check_same(params, 1e-12)
    if name.startswith("Adam"):
        steps = [float(opts[0].state[p]["step"]) for p in params[0]]
        assert steps == [float(opts[1].state[q]["step"]) for q in params[1]] == [8, 6, 8]


@pytest.mark.parametrize(("name", "options"), ROWS, ids=IDS)
def test_state_dict_of_pytorch_loads_and_goes_on(name: str, options: dict[str, Any]) -> None:
    params = parameters("float64")
    opts = [getattr(m, name)(ps, **options) for m, ps in zip((optim, torch.optim), params)]
    run(opts[1:], params, 3, "float64")
    for p, q in zip(*params):
        with graphc.no_grad():
            p.copy_(graphc.tensor(q.detach().numpy()))
    theirs = opts[1].state_dict()
    state = {
        k: {n: graphc.tensor(v.numpy()) for n, v in slots.items() if v is not None}
        for k, slots in theirs["state"].items()
    }
    opts[0].load_state_dict({"state": state, "param_groups": theirs["param_groups"]})
    opts[1].load_state_dict(copy.deepcopy(theirs))  # which turns 0-d slots to float64, too
    run(opts, params, 3, "float64")
    check_same(params, 1e-12)
    mine = opts[0].state_dict()
    assert {k: set(v) for k, v in mine["state"].items() if v} == {
        k: {n for n, x in v.items() if x is not None} for k, v in theirs["state"].items() if v
    }


def test_loading_takes_the_slots_of_the_dict() -> None:
    p = nn.Parameter(graphc.ones(3))
    opt = optim.Adam([p])
    p.grad = graphc.ones(3)
    opt.step()
    saved = copy.deepcopy(opt.state_dict())
    slots = dict(opt.state[p])
    opt.step()
    opt.load_state_dict(saved)
    assert all(opt.state[p][k] is v for k, v in saved["state"][0].items())
    assert slots["step"].item() == 2.0
    assert not any(opt.state[p][k] is v for k, v in slots.items())
    assert opt.state[p]["step"].item() == 1.0


def test_groups_have_their_own_options() -> None:
    a, b = nn.Parameter(graphc.zeros(1)), nn.Parameter(graphc.zeros(1))
    opt = optim.SGD([{"params": [a]}, {"params": b, "lr": 1.0}], lr=0.5)
    a.grad, b.grad = graphc.ones(1), graphc.ones(1)
    opt.step()
    assert (a.item(), b.item()) == (-0.5, -1.0)
    assert [g["lr"] for g in opt.state_dict()["param_groups"]] == [0.5, 1.0]


def test_closure_and_zero_grad() -> None:
    p = nn.Parameter(graphc.ones(2))
    opt = optim.SGD([p], lr=0.5)

    def closure() -> Any:
        opt.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with graphc.no_grad():
        assert opt.step(closure).item() == 2.0
    np.testing.assert_array_equal(p.detach().numpy(), [0.0, 0.0])
    opt.zero_grad(set_to_none=False)
    assert p.grad.tolist() == [0.0, 0.0]
    opt.zero_grad()
    assert p.grad is None


def test_weight_decay_zero_leaves_an_infinite_weight() -> None:
    p = nn.Parameter(graphc.tensor([np.inf]))
    p.grad = graphc.zeros(1)
    optim.SGD([p], lr=0.1, weight_decay=0.0).step()
    assert p.item() == np.inf


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda p: optim.SGD([], lr=0.1), ValueError),
        (lambda p: optim.SGD(p, lr=0.1), TypeError),
        (lambda p: optim.SGD([1], lr=0.1), TypeError),
        (lambda p: optim.SGD([p * 1], lr=0.1), ValueError),
        (lambda p: optim.SGD([p], lr=-0.1), ValueError),
        (lambda p: optim.SGD([p], lr=0.1, momentum=-1), ValueError),
        (lambda p: optim.SGD([p], lr=0.1, nesterov=True), ValueError),
        (lambda p: optim.SGD([{"params": [p]}, {"params": [p]}], lr=0.1), ValueError),
        (lambda p: optim.Adam([p], betas=(1.0, 0.9)), ValueError),
        (lambda p: optim.Adam([p], eps=-1.0), ValueError),
        (lambda p: optim.AdamW([p], weight_decay=-1.0), ValueError),
        (lambda p: optim.Adam([p]).load_state_dict({"state": {}, "param_groups": []}), ValueError),
    ],
)
def test_errors(make: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        make(nn.Parameter(graphc.ones(2)))


def test_repr_is_pytorchs_for_what_both_have() -> None:
    text = repr(optim.SGD([nn.Parameter(graphc.ones(2))], lr=0.1))
    assert text.startswith("SGD (\nParameter Group 0\n    dampening: 0")
    assert "\n    lr: 0.1\n" in text


NAMES = sorted({name for name, _ in ROWS})


@pytest.mark.parametrize("name", NAMES)
def test_groups_defaults_and_repr_are_pytorchs(name: str) -> None:
    params = parameters("float32")
    mine, theirs = (getattr(m, name)(ps) for m, ps in zip((optim, torch.optim), params))
    assert repr(mine) == repr(theirs)
    assert mine.defaults == theirs.defaults
    run((mine, theirs), params, 2, "float32")
    ours, reference = mine.state_dict(), theirs.state_dict()
    assert list(ours) == list(reference)
    assert ours["param_groups"] == reference["param_groups"]
    assert list(ours["param_groups"][0]) == list(reference["param_groups"][0])
    for k, slots in reference["state"].items():
        shapes = {n: (tuple(v.shape), str(v.dtype)[6:]) for n, v in slots.items() if v is not None}
        assert {n: (tuple(v.shape), v.dtype.name) for n, v in ours["state"][k].items()} == {
            n: (shape, {"float32": "f32"}[dtype]) for n, (shape, dtype) in shapes.items()
        }


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("Adafactor", "Adamax", "Rprop")])
def test_a_differentiable_step(name: str) -> None:
    """Gradients through two steps (PyTorch's own Adamax and Rprop fail at the second)."""
    found = []
    for T in (graphc, torch):
        p, x = (T.tensor(v, requires_grad=True) for v in ([1.0, 2.0], [3.0, 1.0]))
        q = p.clone()
        opt = getattr(T.optim, name)([q], lr=0.1, differentiable=True)
        for _ in range(2):
            q.grad = x * 2 + q.clone() ** 2
            opt.step()
        found += [g.numpy() for g in T.autograd.grad(q.sum(), [p, x])]
        with pytest.raises(ValueError, match="non-leaf"):
            getattr(T.optim, name)([q])
    np.testing.assert_allclose(found[0], found[2], rtol=1e-5)
    np.testing.assert_allclose(found[1], found[3], rtol=1e-4, atol=1e-7)


MISUSES: list[tuple[type[Exception], Any]] = [
    (TypeError, lambda o, p: o.SGD([{"params": {p}}], lr=0.1)),
    (RuntimeError, lambda o, p: o.Adam([p], fused=True, foreach=True)),
    (RuntimeError, lambda o, p: o.Adam([p], fused=True, differentiable=True)),
    (TypeError, lambda o, p: o.LBFGS([p]).step()),
]


@pytest.mark.parametrize(("kind", "misuse"), MISUSES)
def test_misuse_is_refused_as_in_pytorch(kind: type[Exception], misuse: Any) -> None:
    for T in (graphc, torch):
        with pytest.raises(kind):
            misuse(T.optim, T.nn.Parameter(T.ones(1)))


def test_groups_print_and_come_in_order_as_in_pytorch() -> None:
    shown = []
    for T in (graphc, torch):
        p, q = (T.nn.Parameter(T.ones(1)) for _ in range(2))
        opt = T.optim.SGD([{"params": [p], "lr": 0.5, "name": "a"}, {"params": q}], momentum=0.9)
        shown += [repr(opt), [list(g) for g in opt.param_groups]]
        shown += [[list(g) for g in opt.state_dict()["param_groups"]]]
    assert shown[:3] == shown[3:]


def test_hooks_run_around_steps_and_state_dicts_and_come_off() -> None:
    found = []
    for T, (p,) in zip(
        (graphc, torch), ([nn.Parameter(graphc.ones(1))], [torch.nn.Parameter(torch.ones(1))])
    ):
        opt, seen = T.optim.SGD([p], lr=0.5, momentum=0.9), []
        log = lambda word: lambda *args: seen.append((word, len(args)))  # noqa: E731, B023
        handles = [
            opt.register_step_pre_hook(log("before")),
            opt.register_step_post_hook(log("after")),
            opt.register_state_dict_pre_hook(log("saving")),
            opt.register_state_dict_post_hook(lambda o, sd: {**sd, "more": 1}),
            opt.register_load_state_dict_pre_hook(log("second")),
            opt.register_load_state_dict_pre_hook(log("first"), prepend=True),
            opt.register_load_state_dict_post_hook(log("loaded")),
        ]
        p.grad = T.ones(1)
        opt.step()
        saved = opt.state_dict()
        opt.load_state_dict(saved)
        for handle in handles:
            handle.remove()
        opt.step()
        opt.load_state_dict(opt.state_dict())
        found.append((seen, sorted(saved)))
    assert found[0] == found[1]


def test_a_step_pre_hook_may_give_other_arguments() -> None:
    for T in (graphc, torch):
        p = T.nn.Parameter(T.ones(1))
        opt = T.optim.SGD([p], lr=0.5)
        opt.register_step_pre_hook(lambda o, args, kwargs: ((o, lambda: 7), {}))
        assert opt.step() == 7
        opt.register_step_pre_hook(lambda o, args, kwargs: 3)
        with pytest.raises(RuntimeError, match="new_args"):
            opt.step()


def test_a_step_hook_put_on_traces_a_compiled_step_anew() -> None:
    p = nn.Parameter(graphc.ones(1))
    opt = optim.SGD([p], lr=0.5)

    @graphc.compile
    def step() -> None:
        p.grad = p.detach() * 0 + 1
        opt.step()

    step()
    handle = opt.register_step_post_hook(lambda o, args, kwargs: p.data.mul_(0))
    step()
    assert p.item() == 0.0
    handle.remove()
    step()
    assert p.item() == -0.5


@pytest.mark.parametrize("T", [graphc, torch], ids=["graphc", "torch"])
def test_parameters_may_come_with_names(T: Any) -> None:
    net = T.nn.Linear(2, 2)
    opt = T.optim.SGD(net.named_parameters(), lr=0.1)
    assert opt.param_groups[0]["params"][1] is net.bias
    assert opt.state_dict()["param_groups"][0]["param_names"] == ["weight", "bias"]
    more = T.nn.Parameter(T.ones(1))
    opt.add_param_group({"params": [("more", more)]})
    for params in ([more], [("a", more), more]):
        with pytest.raises(ValueError, match="names"):
            opt.add_param_group({"params": params})
    net.weight.grad = T.ones(2, 2)
    before = net.weight.sum().item()
    opt.step()
    assert net.weight.sum().item() == pytest.approx(before - 0.4, abs=1e-6)


def test_lbfgs_goes_on_from_a_state_of_pytorch() -> None:
    def converted(v: Any) -> Any:
        if isinstance(v, list):
            return [converted(x) for x in v]
        return graphc.tensor(v.numpy()) if isinstance(v, torch.Tensor) else v

    start = np.arange(4.0)
    p, q = torch.nn.Parameter(torch.tensor(start)), nn.Parameter(graphc.tensor(start))
    options = {"lr": 0.5, "max_iter": 3, "line_search_fn": "strong_wolfe"}
    theirs, mine = torch.optim.LBFGS([p], **options), optim.LBFGS([q], **options)

    def closure(opt: Any, x: Any) -> Any:
        opt.zero_grad()
        loss = ((x - 1) ** 4).sum() + (x * x).sum()
        loss.backward()
        return loss

    theirs.step(lambda: closure(theirs, p))
    with graphc.no_grad():
        q.copy_(graphc.tensor(p.detach().numpy()))
    saved = theirs.state_dict()
    state = {k: {n: converted(v) for n, v in s.items()} for k, s in saved["state"].items()}
    mine.load_state_dict({"state": state, "param_groups": saved["param_groups"]})
    for opt, x in ((theirs, p), (mine, q)):
        for _ in range(2):
            opt.step(lambda: closure(opt, x))  # noqa: B023
    np.testing.assert_allclose(q.detach().numpy(), p.detach().numpy(), rtol=1e-9)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_parameter_that_moves_to_another_group_keeps_its_count(compiled: bool) -> None:
    p, q = (graphc.nn.Parameter(graphc.ones(2)) for _ in range(2))
    adam = graphc.optim.Adam([p, q], lr=0.01)

    def step() -> None:
        adam.zero_grad()
        ((p * q) ** 2).sum().backward()
        adam.step()

    run = graphc.compile(step) if compiled else step
    for k in range(5):
        if k == 3:
            moved = adam.param_groups[0]["params"].pop(0)
            adam.add_param_group({"params": [moved], "lr": 0.5})
        run()
    assert [adam.state[x]["step"].item() for x in (p, q)] == [5.0, 5.0]
