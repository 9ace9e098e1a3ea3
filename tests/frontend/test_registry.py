"""The registry: what is said of a function beside it is what tensors and namespaces have."""

from __future__ import annotations

import inspect
import pickle
from types import FunctionType

import numpy as np
import pytest

import graphc
from graphc.frontend.api import public
from graphc.frontend.api.methods import augmented, names_of
from graphc.frontend.methods import Methods
from graphc.frontend.registry import ROWS
from tests.frontend import stub


class Empty:
    """A class."""


SPACES = (graphc, graphc.linalg, graphc.special, graphc.nn.functional)


def test_the_stub_is_that_of_the_registry() -> None:
    """`python -m tests.frontend.stub` writes it again."""
    written = stub.definitions(stub.FILE.read_text())
    assert written == stub.definitions(stub.text())
    bound = set(vars(Methods)) - set(vars(Empty))  # less what Python gives any class
    assert {n.partition(":")[0] for n in written} == bound


def test_all_that_is_marked_is_bound() -> None:
    """Also of modules that something else imports first, and each name once."""
    seen: set[str] = set()
    for function, row in ROWS.items():
        names = [*names_of(function, row), *row.attributes, *row.operators, *augmented(row)]
        names += [f"{n}_" for n in names_of(function, row) if row.inplace]
        missing = [n for n in names if n not in vars(Methods)]
        assert not missing, f"{function.__module__}.{function.__name__}: {missing}"
        assert seen.isdisjoint(names), f"{function.__module__}.{function.__name__}: {names}"
        seen.update(names)


def test_what_holds_of_a_function_holds_of_its_other_names() -> None:
    x = graphc.tensor([1.0, -2.0])
    assert x.multiply_(2) is x and x.tolist() == [2.0, -4.0]
    assert x.absolute().tolist() == [2.0, 4.0]
    out = graphc.empty(4)
    assert graphc.concat([x, x], out=out) is out
    assert x.reshape(2, 1).swapdims_(0, 1).shape == (1, 2)
    with pytest.raises(TypeError, match="takes tensors"):
        graphc.less(1, x)


def test_there_is_one_wrapper() -> None:
    """Between a call and the function; a factory adds the options of all of them."""
    own = public.wrapped.__code__.co_filename
    for space in (*SPACES, graphc.Tensor):
        for name, thing in vars(space).items():
            if isinstance(thing, FunctionType) and thing.__code__.co_filename == own:
                inner = thing.__wrapped__
                assert inner.__code__.co_filename != own, name


@pytest.mark.parametrize("name", ["Tensor.relu", "Tensor.multiply_", "add", "special.xlog1py"])
def test_pickle_finds_them(name: str) -> None:
    thing = graphc
    for part in name.split("."):
        thing = getattr(thing, part)
    assert pickle.loads(pickle.dumps(thing)) is thing


def test_signatures_are_those_of_the_functions() -> None:
    assert list(inspect.signature(graphc.Tensor.lerp).parameters) == ["input", "end", "weight"]
    assert list(inspect.signature(graphc.lerp).parameters) == ["input", "end", "weight", "out"]
    assert graphc.Tensor.lerp.__doc__ == graphc.lerp.__doc__


def test_operators_pass_what_is_no_operand() -> None:
    class Other:
        def __radd__(self, x: graphc.Tensor) -> str:
            return "theirs"

    x = graphc.ones(2)
    assert x + Other() == "theirs"  # type: ignore[comparison-overlap]  # the other operand's
    assert (x + np.ones(2)).tolist() == [2.0, 2.0]
    x += np.ones(2)
    assert x.tolist() == [2.0, 2.0]
