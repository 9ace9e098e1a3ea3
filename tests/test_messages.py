"""Typical mistakes: the message says which argument, what it got, and a fix that can be pasted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import graphc as T
from graphc.errors import GraphcError

F = T.nn.functional


def logits() -> Any:
    return T.ones(4, 3)


def leaf() -> Any:
    return T.ones(2).requires_grad_()


MISTAKES: dict[str, tuple[Callable[[], Any], type[Exception], tuple[str, ...]]] = {
    "float_classes": (
        lambda: F.cross_entropy(logits(), T.ones(4)),
        RuntimeError,
        ("class targets must be int64 or uint8", "[4, 3]", "got f32[4]", "target.long()"),
    ),
    "column_of_classes": (
        lambda: F.cross_entropy(logits(), T.ones(4, 1).long()),
        RuntimeError,
        ("Expected target size [4], got [4, 1]", "target.squeeze(1)"),
    ),
    "class_for_module": (
        lambda: T.nn.Sequential(T.nn.Linear(2, 3), T.nn.ReLU),  # type: ignore[arg-type]
        TypeError,
        ("ReLU is a class, not a module", "nn.ReLU()"),
    ),
    "no_parameters": (
        lambda: T.optim.SGD([], lr=0.1),
        ValueError,
        ("empty parameter list", "plain list", "nn.ModuleList", "generator"),
    ),
    "optimize_result": (
        lambda: T.optim.SGD([leaf() * 2], lr=0.1),
        ValueError,
        ("non-leaf", "f32[2] is what mul gives", "x.detach().requires_grad_()"),
    ),
    "numpy": (
        lambda: leaf().numpy(),
        RuntimeError,
        ("share its memory", "tensor.detach().numpy()"),
    ),
    "cat": (
        lambda: T.cat([logits(), T.ones(5, 3)], 1),
        RuntimeError,
        ("tensor 1 has size 5 in dimension 0, tensor 0 has 4", "only dimension 1 may differ"),
    ),
    "add": (
        lambda: logits() + T.ones(4, 4),
        RuntimeError,
        ("(4, 3) and (4, 4)", "at dimension 1: 3 against 4"),
    ),
    "kernel": (
        lambda: T.nn.Conv2d(1, 1, 3)(T.ones(1, 1, 2, 2)),
        RuntimeError,
        ("exceeds the padded input", "add padding, or take a smaller kernel"),
    ),
    "bool": (
        lambda: bool(logits()),
        RuntimeError,
        ("12 elements", ".any() or .all()"),
    ),
    "grad_of_ints": (
        lambda: T.tensor([1, 2]).requires_grad_(),
        RuntimeError,
        ("not i64[2]", "x.float()"),
    ),
    "float_ids": (
        lambda: T.nn.Embedding(3, 2)(logits()),
        RuntimeError,
        ("got f32[4,3]", "ids.long()"),
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_message(name: str) -> None:
    mistake, kind, says = MISTAKES[name]
    with pytest.raises(GraphcError) as caught:
        mistake()
    assert isinstance(caught.value, kind)
    for words in says:
        assert words in str(caught.value)


def test_a_module_of_pytorchs_in_a_step() -> None:
    torch = pytest.importorskip("torch")
    lin = torch.nn.Linear(2, 2)
    calls: list[Callable[[], Any]] = [
        lambda: T.compile(lambda x: lin(x))(T.ones(2)),
        lambda: T.nn.Sequential(lin),
    ]
    for call in calls:
        with pytest.raises(TypeError, match=r"of PyTorch(.|\n)*load its state_dict\(\)"):
            call()
    with pytest.raises(TypeError, match=r"torch\.Tensor(.|\n)*graphc\.from_numpy"):
        T.nn.Linear(2, 2)(torch.ones(2))


def test_arguments_of_a_recompile_have_names() -> None:
    step = T.compile(lambda x, k=1, flag=True: x * k)
    step(T.ones(2)), step(T.ones(2), 2), step(T.ones(2), k=3, flag=False)
    told = [(r.change.what, r.change.old, r.change.new) for r in step.explain().recompiles]
    assert told == [
        ("argument `k`", "not given", "2"),
        ("argument `k`", "2", "3"),
        ("argument `flag`", "not given", "False"),
    ]
