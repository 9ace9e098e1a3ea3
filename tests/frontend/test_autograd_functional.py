"""autograd.functional, gradcheck and gradgradcheck, against PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc

torch: Any = pytest.importorskip("torch")
BOTH = [graphc, torch]


def given(T: Any) -> tuple[Any, Any]:
    return T.tensor([0.3, -1.2], dtype=T.float64), T.tensor([[0.5], [2.0]], dtype=T.float64)


def arrays(x: Any) -> Any:
    return tuple(map(arrays, x)) if isinstance(x, tuple | list) else x.detach().numpy()


def both(T: Any, x: Any, y: Any) -> Any:
    return x.sin() * y, (x * x).sum()


ROWS: list[tuple[str, Callable[[Any, Any, Any], Any]]] = [
    ("jacobian", lambda T, f, x: f.jacobian(lambda a: a.exp(), x[0])),
    ("jacobian-many", lambda T, f, x: f.jacobian(lambda a, b: both(T, a, b), x)),
    ("jacobian-unused", lambda T, f, x: f.jacobian(lambda a, b: a * 2, x)),
    ("jacobian-constant", lambda T, f, x: f.jacobian(lambda a: T.ones(2), x[0])),
    ("jacobian-ignored", lambda T, f, x: f.jacobian(T.tanh, x[0], vectorize=False)),
    ("hessian", lambda T, f, x: f.hessian(lambda a: (a**3).sum(), x[0])),
    ("hessian-many", lambda T, f, x: f.hessian(lambda a, b: (a.sin() @ b).sum(), x)),
    ("vjp", lambda T, f, x: f.vjp(lambda a, b: a.exp() * b, x, T.ones(2, 2, dtype=T.float64))),
    ("vjp-scalar", lambda T, f, x: f.vjp(lambda a: (a**2).sum(), x[0])),
    ("jvp", lambda T, f, x: f.jvp(lambda a: a.exp() * a, x[0], x[0] * 2)),
    ("jvp-many", lambda T, f, x: f.jvp(lambda a, b: both(T, a, b), x, (x[0] * 2, x[1] + 1))),
    ("hvp", lambda T, f, x: f.hvp(lambda a: (a**4).sum(), x[0], x[0] + 1)),
    ("vhp-many", lambda T, f, x: f.vhp(lambda a, b: (a.sin() @ b).sum() ** 2, x, x)),
]


@pytest.mark.parametrize(("name", "call"), ROWS, ids=[r[0] for r in ROWS])
def test_functional(name: str, call: Callable[[Any, Any, Any], Any]) -> None:
    mine, theirs = (arrays(call(T, T.autograd.functional, given(T))) for T in BOTH)
    compare(mine, theirs)
    step = graphc.compile(lambda x, y: call(graphc, graphc.autograd.functional, (x, y)))
    compare(arrays(step(*given(graphc))), theirs)


def compare(mine: Any, theirs: Any) -> None:
    if isinstance(theirs, tuple):
        assert isinstance(mine, tuple) and len(mine) == len(theirs)
        for a, b in zip(mine, theirs):
            compare(a, b)
        return
    assert mine.shape == theirs.shape
    np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-15)


def test_create_graph_lets_a_jacobian_be_differentiated() -> None:
    found = []
    for T in BOTH:
        x = given(T)[0].requires_grad_()
        jac = T.autograd.functional.jacobian(lambda a: a**3, x, create_graph=True)
        found.append(T.autograd.grad(jac.sum(), x)[0].numpy())
    np.testing.assert_allclose(*found, rtol=1e-12)


ERRORS: list[tuple[str, type[Exception], Callable[[Any, Any, Any], Any]]] = [
    ("strict output", RuntimeError, lambda T, f, x: f.jacobian(lambda a: T.ones(2), x[0], strict=True)),  # noqa: E501
    ("strict input", RuntimeError, lambda T, f, x: f.jacobian(lambda a, b: a, x, strict=True)),
    ("no scalar", RuntimeError, lambda T, f, x: f.hessian(lambda a: a, x[0])),
    ("no tensor", TypeError, lambda T, f, x: f.jacobian(lambda a: a, 3.0)),
    ("no v", RuntimeError, lambda T, f, x: f.vjp(lambda a: a, x[0])),
    ("shape of v", RuntimeError, lambda T, f, x: f.vjp(lambda a: a, x[0], x[1])),
]  # fmt: skip


@pytest.mark.parametrize("T", BOTH, ids=["graphc", "torch"])
@pytest.mark.parametrize(("name", "error", "call"), ERRORS, ids=[e[0] for e in ERRORS])
def test_errors(name: str, error: type[Exception], call: Any, T: Any) -> None:
    with pytest.raises(error):
        call(T, T.autograd.functional, given(T))


# ---- gradcheck ---------------------------------------------------------------------------------


def wrong(T: Any) -> Any:
    class Wrong(T.autograd.Function):  # type: ignore[misc, name-defined]
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * 3 * ctx.saved_tensors[0]

    return Wrong.apply


@pytest.mark.parametrize("T", BOTH, ids=["graphc", "torch"])
def test_gradcheck_tells_right_from_wrong(T: Any) -> None:
    check, check2 = T.autograd.gradcheck, T.autograd.gradgradcheck
    x, y = (v.requires_grad_() for v in given(T))
    before = x.tolist()
    assert check(lambda a, b: (a.sin() * b, a.sum()), (x, y), eps=1e-6, atol=1e-6)
    assert check2(lambda a, b: (a.sin() * b).exp(), (x, y))
    assert check2(lambda a: a**3, x, T.ones(2, dtype=T.float64, requires_grad=True))
    assert not check(wrong(T), (x,), raise_exception=False)
    with pytest.raises(RuntimeError, match="Jacobian mismatch for output 0 with respect to input"):
        check(wrong(T), (x,))
    with pytest.raises(ValueError, match="requires_grad"):
        check(T.sin, (x.detach(),))
    with pytest.warns(UserWarning):
        check(lambda a: a * 2, (x.detach().float().requires_grad_(),), atol=1e-1, rtol=1e-1)
    assert x.tolist() == before


def test_gradcheck_refuses_what_does_not_exist() -> None:
    x = given(graphc)[0].requires_grad_()
    with pytest.raises(ValueError, match="forward-mode"):
        graphc.autograd.gradcheck(graphc.sin, (x,), check_forward_ad=True)
    with pytest.raises(ValueError, match="share memory"):
        graphc.autograd.gradcheck(graphc.sin, (graphc.ones(1).double().expand(3).requires_grad_(),))


def test_gradcheck_of_a_compiled_function() -> None:
    x = given(graphc)[0].requires_grad_()
    assert graphc.autograd.gradcheck(graphc.compile(lambda a: a.sin() * a), (x,))
