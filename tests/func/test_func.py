"""torch.func beside PyTorch's own: values, structures, and whether results keep a history."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
import graphc.func
from graphc.utils._pytree import tree_leaves

X = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)


def x(T: Any, needs: bool = False) -> Any:
    return T.tensor(X, requires_grad=needs)


def net(T: Any, fill: float = 0.1) -> Any:
    made = T.nn.Sequential(T.nn.Linear(4, 5), T.nn.Tanh(), T.nn.Linear(5, 2))
    for k, p in enumerate(made.parameters()):
        p.data.fill_(fill + 0.1 * k)
    return made


def by_parameters(T: Any) -> Any:
    m = net(T)
    p = {k: v.detach() * 2 for k, v in m.named_parameters()}

    def loss(p: Any, x: Any) -> Any:
        return T.func.functional_call(m, p, (x,)).pow(2).sum()

    one = T.func.grad(loss)(p, x(T))
    return one, T.func.vmap(T.func.grad(loss), in_dims=(None, 0))(p, x(T)), m(x(T)).detach()


def ensemble(T: Any) -> Any:
    models = [net(T, 0.1 * k) for k in range(3)]
    state = T.func.stack_module_state(models)

    def call(p: Any, b: Any, x: Any) -> Any:
        return T.func.functional_call(models[0], (p, b), (x,))

    return state, T.func.vmap(call, in_dims=(0, 0, None))(*state, x(T))


def tied(T: Any) -> Any:
    layer = T.nn.Linear(4, 4)
    layer.weight.data.fill_(0.1)
    layer.bias.data.fill_(0.2)
    m = T.nn.Sequential(layer, T.nn.Tanh(), layer)
    return T.func.functional_call(m, {"0.weight": layer.weight.detach() * 3}, x(T)).detach()


def of_closure(T: Any) -> Any:
    w = x(T, needs=True)
    found = T.func.grad(lambda a: (a**2 * w).sum())(x(T))
    found.sum().backward()
    return found, w.grad


def without_grad(T: Any) -> Any:
    with T.no_grad():
        return T.func.grad(lambda a: (a**3).sum())(x(T, needs=True))


CASES: dict[str, Callable[[Any], Any]] = {
    "grad": lambda T: T.func.grad(lambda a: (a.sin() * a).sum())(x(T)),
    "grad_of_grad": lambda T: T.func.grad(lambda a: T.func.grad(lambda b: (b**3).sum())(a).sum())(
        x(T)
    ),
    "closure": of_closure,
    "inside_autograd": lambda T: T.func.grad(lambda a: (a**3).sum())(x(T, needs=True)),
    "without_grad": without_grad,
    "of_two_tensors": lambda T: T.func.grad(
        lambda a: (T.func.grad(lambda b: (a * b * b).sum())(x(T) + 1) * a).sum()
    )(x(T)),
    "argnums": lambda T: T.func.grad(lambda a, b: (a * b["b"]).sum(), argnums=(0, -1))(
        x(T), {"b": x(T) + 1}
    ),
    "aux": lambda T: T.func.grad_and_value(lambda a: ((a**2).sum(), a * 2), has_aux=True)(x(T)),
    "grad_aux": lambda T: T.func.grad(lambda a: ((a**2).sum(), a * 2), has_aux=True)(x(T)),
    "independent": lambda T: T.func.grad(lambda a: x(T).sum())(x(T)),
    "vjp": lambda T: (lambda r: (r[0], r[1](r[0])))(T.func.vjp(lambda a, b: a * b, x(T), x(T) * 2)),
    "jvp": lambda T: T.func.jvp(lambda a, b: a.sin() * b, (x(T), x(T)), (x(T), x(T) + 1)),
    "linearize": lambda T: T.func.linearize(lambda a: a.sin(), x(T))[1](x(T)),
    "jacrev": lambda T: T.func.jacrev(lambda a: a.sin().sum(1))(x(T)),
    "jacfwd": lambda T: T.func.jacfwd(lambda a: (a @ a.T, a.sum()))(x(T)),
    "hessian": lambda T: T.func.hessian(lambda a: (a**3).sum())(x(T)[0]),
    "vmap": lambda T: T.vmap(lambda a, b: (a * b).sum(), in_dims=(0, None))(x(T), x(T)[0]),
    "vmap_tree": lambda T: T.vmap(lambda d: {"a": d["a"].sin()}, in_dims=({"a": 1},))({"a": x(T)}),
    "vmap_out": lambda T: T.vmap(lambda a: (a, a * 2), out_dims=(1, 0))(x(T)),
    "vmap_out_of_one": lambda T: T.vmap(lambda a: a, out_dims=(1,))(x(T)),
    "vmap_keyword": lambda T: T.vmap(lambda a, b: a + b)(x(T), b=x(T)[0]),
    "vmap_jacobian": lambda T: T.vmap(T.func.jacrev(lambda a: a.sin()))(x(T)),
    "functional_call": by_parameters,
    "ensemble": ensemble,
    "tied": tied,
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch", "ignore::UserWarning:torch")
@pytest.mark.parametrize("name", CASES)
def test_as_in_pytorch(name: str) -> None:
    torch = pytest.importorskip("torch")
    got, want = (
        tree_leaves(CASES[name](graphc)),
        torch.utils._pytree.tree_leaves(CASES[name](torch)),
    )
    assert len(got) == len(want)
    for a, b in zip(got, want):
        assert a.requires_grad == b.requires_grad
        np.testing.assert_allclose(
            a.detach().numpy(), b.detach().numpy(), rtol=1e-5, atol=1e-5, strict=True
        )


def test_compiled() -> None:
    """Gradients of each sample: one program, which equals the sum of them taken at once."""
    m = net(graphc)
    p = {k: v.detach() for k, v in m.named_parameters()}

    def loss(p: Any, x: Any) -> Any:
        return graphc.func.functional_call(m, p, (x,)).pow(2).sum()

    each = graphc.func.vmap(graphc.func.grad(loss), in_dims=(None, 0))
    step = graphc.compile(lambda a: each(p, a))
    whole = graphc.func.grad(loss)(p, x(graphc))
    for _ in range(2):
        for name, g in step(x(graphc)).items():
            assert g.shape == (3, *p[name].shape)
            np.testing.assert_allclose(g.sum(0).numpy(), whole[name].numpy(), rtol=1e-5, atol=1e-5)
    assert step.stats.compiles == 1


def test_randomness() -> None:
    draws = {
        mode: graphc.vmap(lambda a: a + graphc.rand(4), randomness=mode)(graphc.zeros(2, 4))
        for mode in ("same", "different")
    }
    assert draws["same"][0].equal(draws["same"][1])
    assert not draws["different"][0].equal(draws["different"][1])
    before = graphc.get_rng_state()
    with pytest.raises(RuntimeError, match="random operation while in randomness error mode"):
        graphc.vmap(lambda a: a + graphc.rand(4))(graphc.zeros(2, 4))
    assert graphc.get_rng_state().equal(before)


REFUSED: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "no batch": (lambda: graphc.vmap(lambda a: a, in_dims=None)(x(graphc)), ValueError, "mapped"),
    "two sizes": (
        lambda: graphc.vmap(lambda a, b: a)(x(graphc), x(graphc).T), RuntimeError, "same size",
    ),
    "no tensor": (lambda: graphc.vmap(lambda a: 1)(x(graphc)), ValueError, "only return Tensors"),
    "no chunk": (lambda: graphc.vmap(lambda a: a, chunk_size=0), ValueError, "greater than 0"),
    "no such dim": (lambda: graphc.vmap(lambda a: a, 5)(x(graphc)), ValueError, "in_dim=5"),
    "no scalar": (lambda: graphc.func.grad(lambda a: a)(x(graphc)), RuntimeError, "scalar"),
    "an integer": (
        lambda: graphc.func.grad(lambda a: a.sum())(graphc.arange(3)), RuntimeError, "floating",
    ),
    "argnums": (
        lambda: graphc.func.grad(lambda a: a.sum(), 2)(x(graphc)), RuntimeError, "argnum=2",
    ),
    "no argnums": (
        lambda: graphc.func.grad(lambda a: a.sum(), ())(x(graphc)), RuntimeError, "non-empty",
    ),
    "a number": (lambda: graphc.func.grad(lambda a: a * a)(2.0), ValueError, "got float"),
    "tangents in another order": (
        lambda: graphc.func.jvp(
            lambda d: d["a"] * d["b"],
            ({"a": x(graphc), "b": x(graphc)},), ({"b": x(graphc), "a": x(graphc)},),
        ),
        RuntimeError, "structure",
    ),
    "an integer result": (
        lambda: graphc.func.jacrev(lambda a: a.argmax())(x(graphc)), RuntimeError, "floating",
    ),
    "an independent output": (
        lambda: graphc.func.jvp(lambda a: x(graphc), (x(graphc),), (x(graphc),), strict=True),
        RuntimeError, "independent",
    ),
    "tied, with two values": (
        lambda: graphc.func.functional_call(
            graphc.nn.Sequential(*[graphc.nn.Linear(4, 4)] * 2),
            {"0.bias": graphc.zeros(4), "1.bias": graphc.ones(4)}, x(graphc),
        ),
        ValueError, "tied",
    ),
    "unknown name": (
        lambda: graphc.func.functional_call(net(graphc), {"w": x(graphc)}, x(graphc)),
        ValueError, "'w'",
    ),
    "strict": (
        lambda: graphc.func.functional_call(net(graphc), {}, x(graphc), strict=True),
        RuntimeError, "missing",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    call, error, text = REFUSED[name]
    with pytest.raises(error, match=text):
        call()


def test_a_failed_call_puts_the_parameters_back() -> None:
    m = net(graphc)
    own = list(m.parameters())
    with pytest.raises(RuntimeError):
        graphc.func.functional_call(m, {"0.weight": graphc.zeros(5, 4)}, graphc.zeros(3, 7))
    assert all(a is b for a, b in zip(own, m.parameters(), strict=True))


def captured(buffer: Any, x: Any) -> Any:
    buffer.copy_(x)
    return x * 2


def element(buffer: Any, x: Any) -> Any:
    buffer[0] = x.sum()
    return x


def counted(buffer: Any, x: Any) -> Any:
    buffer.add_(1)
    return x


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("function", [captured, element, counted])
@pytest.mark.parametrize("handed", [False, True])
def test_vmap_refuses_writes_to_what_all_slices_share(
    function: Callable[..., Any], compiled: bool, handed: bool
) -> None:
    buffer = graphc.arange(4.0)

    def run(x: Any, buffer: Any) -> Any:
        if handed:
            return graphc.vmap(function, in_dims=(None, 0))(buffer, x)
        return graphc.vmap(lambda x: function(buffer, x))(x)

    with pytest.raises(RuntimeError, match="same for all slices") as caught:
        (graphc.compile(run) if compiled else run)(x(graphc), buffer)
    assert f"in {function.__name__}" in str(caught.value)
    assert buffer.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("compiled", [False, True])
def test_vmap_writes_what_it_makes_and_what_it_maps_over(compiled: bool) -> None:
    def run(x: Any) -> Any:
        def one(row: Any) -> Any:
            sums = graphc.zeros(4)
            sums.add_(row)
            sums[1:].mul_(2)
            graphc.vmap(lambda y: y.add_(1))(row.view(2, 2))
            return sums

        return graphc.vmap(one)(x)

    given = x(graphc)
    got = (graphc.compile(run) if compiled else run)(given)
    assert np.allclose(got.numpy(), X * [1, 2, 2, 2])
    assert np.allclose(given.numpy(), X + 1)


class Following(graphc.nn.Module):
    """Sets its buffer anew in each call."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("b", graphc.zeros(2))

    def forward(self, x: Any) -> Any:
        self.b = self.b * 0.5 + x
        return x - self.b


@pytest.mark.parametrize("passed", [True, False], ids=["argument", "closure"])
@pytest.mark.parametrize("wrap", [graphc.compile, lambda f: f], ids=["compiled", "eager"])
def test_what_a_module_sets_anew_goes_back_to_the_dict(wrap: Any, passed: bool) -> None:
    """As in PyTorch: the module has its own again, the dict the new one; the old one stays."""
    m, first = Following(), graphc.ones(2)
    kept = {"b": first}

    def call(x: Any, given: Any = kept) -> Any:
        return graphc.func.functional_call(m, given, (x,))

    step = wrap(call)
    for k in range(3):
        step(graphc.full((2,), float(k)), *[kept] * passed)
    assert kept["b"].tolist() == [2.625, 2.625]
    assert m.b.tolist() == [0.0, 0.0] and first.tolist() == [1.0, 1.0]
