"""Named tuples of functions with several results."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest

import graphc
from graphc import return_types

CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "aminmax": lambda T, x: x.aminmax(),
    "max": lambda T, x: x.max(0),
    "min": lambda T, x: T.min(x, 1),
    "cummax": lambda T, x: x.cummax(0),
    "cummin": lambda T, x: x.cummin(0),
    "sort": lambda T, x: x.sort(),
    "topk": lambda T, x: x.topk(2),
    "kthvalue": lambda T, x: x.kthvalue(1),
    "median": lambda T, x: x.median(0),
    "nanmedian": lambda T, x: x.nanmedian(0),
    "mode": lambda T, x: x.mode(0),
    "slogdet": lambda T, x: T.slogdet(x),
    "linalg_slogdet": lambda T, x: T.linalg.slogdet(x),
    "qr": lambda T, x: T.qr(x),
    "linalg_qr": lambda T, x: T.linalg.qr(x),
    "svd": lambda T, x: T.svd(x),
    "linalg_svd": lambda T, x: T.linalg.svd(x),
    "linalg_eigh": lambda T, x: T.linalg.eigh(x),
    "linalg_lstsq": lambda T, x: T.linalg.lstsq(x, x),
}


def values(T: Any) -> Any:
    return T.tensor([[2.0, 0.5], [0.5, 1.0]])


@pytest.mark.parametrize("name", CALLS)
def test_a_result_has_a_class_and_prints_a_line_each(name: str) -> None:
    got = CALLS[name](graphc, values(graphc))
    kind = getattr(return_types, name)
    assert type(got) is kind
    lines = [f"{field}={part!r}" for field, part in zip(kind._fields, got)]
    assert repr(got) == f"graphc.return_types.{name}(\n" + ",\n".join(lines) + ")"
    again = pickle.loads(pickle.dumps(got))
    assert type(again) is kind
    assert all(graphc.equal(a, b) for a, b in zip(again, got))


@pytest.mark.filterwarnings("ignore:torch.qr:UserWarning")
@pytest.mark.parametrize("name", CALLS)
def test_fields_are_torchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    theirs = CALLS[name](torch, values(torch))
    assert type(theirs).__name__ == name
    assert getattr(return_types, name)._fields == type(theirs).__match_args__


@graphc.compile
def largest(x: graphc.Tensor) -> Any:
    return x.max(0)


def test_compiled_functions_return_them() -> None:
    got = largest(values(graphc))
    assert isinstance(got, return_types.max)
    assert got.indices.tolist() == [0, 1]
