"""Dtypes that exist as names: looked up and compared, refused where a tensor would have them."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import graphc
from graphc.ir.types import NAME_ONLY

NAMES = sorted(NAME_ONLY)


@pytest.mark.parametrize("name", NAMES)
def test_facts_are_torchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    mine, theirs = getattr(graphc, name), getattr(torch, name)
    assert repr(mine).partition(".")[2] == repr(theirs).partition(".")[2]
    assert mine.itemsize == theirs.itemsize
    assert mine.is_floating_point == theirs.is_floating_point
    assert mine.is_complex == theirs.is_complex
    assert pickle.loads(pickle.dumps(mine)) is mine


def test_every_dtype_of_torch_is_a_name() -> None:
    torch = pytest.importorskip("torch")
    theirs = {name for name, value in vars(torch).items() if isinstance(value, torch.dtype)}
    assert not {name for name in theirs if not isinstance(getattr(graphc, name, 0), graphc.dtype)}


def test_aliases_of_complex() -> None:
    assert graphc.cfloat is graphc.complex64
    assert graphc.cdouble is graphc.complex128
    assert graphc.chalf is graphc.complex32


USES: dict[str, Callable[[Any, graphc.Tensor], Any]] = {
    "zeros": lambda d, x: graphc.zeros(2, dtype=d),
    "tensor": lambda d, x: graphc.tensor([1], dtype=d),
    "to": lambda d, x: x.to(d),
    "type": lambda d, x: x.type(d),
    "sum": lambda d, x: x.sum(dtype=d),
    "softmax": lambda d, x: graphc.softmax(x, 0, dtype=d),
    "promote": lambda d, x: graphc.promote_types(d, graphc.float32),
    "layer": lambda d, x: graphc.nn.Linear(2, 2, dtype=d),
    "default": lambda d, x: graphc.set_default_dtype(d),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("name", ["uint16", "complex64", "float8_e4m3fn"])
def test_computing_is_refused(name: str, use: str) -> None:
    expected = (TypeError, RuntimeError) if use == "default" else RuntimeError
    with pytest.raises(expected, match=name if use != "default" else None):
        USES[use](getattr(graphc, name), graphc.ones(2))


def test_refused_inside_a_step() -> None:
    step = graphc.compile(lambda x: x.to(graphc.complex64))
    with pytest.raises(RuntimeError, match="complex64"):
        step(graphc.ones(2))


@pytest.mark.parametrize("name", ["uint16", "uint32", "uint64"])
def test_limits(name: str) -> None:
    torch = pytest.importorskip("torch")
    mine, theirs = graphc.iinfo(getattr(graphc, name)), torch.iinfo(getattr(torch, name))
    assert (mine.bits, mine.min, mine.max) == (theirs.bits, theirs.min, theirs.max)


def test_files_may_name_them(tmp_path: Path) -> None:
    graphc.save({"dtype": graphc.complex64}, tmp_path / "ours")
    assert graphc.load(tmp_path / "ours")["dtype"] is graphc.complex64
    torch = pytest.importorskip("torch")
    torch.save({"dtype": torch.float8_e5m2}, tmp_path / "theirs.pt")
    assert graphc.load(tmp_path / "theirs.pt")["dtype"] is graphc.float8_e5m2
