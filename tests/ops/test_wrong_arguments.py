"""Every public function with a wrong value in the place of each argument: it works, or it refuses.

What it raises is a coded error, or Python's TypeError where the call does not fit the signature;
never an exception from the inside. Which call is right is found by trying values by their names.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.errors import GraphcError, InvalidType

T = graphc
MATRIX = [[0.5, -1.0, 2.0, 0.25], [1.0, 0.5, -0.5, 1.0], [0.1, 0.2, 0.3, 0.4]]
RIGHT: dict[str, Callable[[], Any]] = {
    "matrix": lambda: T.tensor(MATRIX),
    "square": lambda: T.tensor([[2.0, 1.0, 0.0], [1.0, 3.0, 0.5], [0.0, 0.5, 1.0]]),
    "images": lambda: T.arange(64.0).reshape(1, 2, 4, 8),
    "signal": lambda: T.ones(1, 2, 8),
    "volume": lambda: T.ones(1, 2, 4, 4, 4),
    "matrices": lambda: T.ones(2, 3, 3),
    "vector": lambda: T.tensor([1.0, 2.0, 0.5, 3.0]),
    "number": lambda: T.tensor(0.5),
    "classes": lambda: T.tensor([0, 2, 1]),
    "places": lambda: T.tensor([[0, 1, 2, 0]] * 3),
    "mask": lambda: T.tensor([[True, False, True, True]] * 3),
    "filters1": lambda: T.ones(2, 2, 3),
    "filters2": lambda: T.ones(2, 2, 3, 3),
    "filters3": lambda: T.ones(2, 2, 3, 3, 3),
    "list": lambda: [T.tensor(MATRIX), T.tensor(MATRIX)],
    "shape": lambda: (3, 4),
    "pair": lambda: (2, 2),
    "word": lambda: "ij->ji",
    "dtype": lambda: T.float32,
    "zero": lambda: 0,
    "one": lambda: 1,
    "two": lambda: 2,
    "half": lambda: 0.5,
}
FIRST = [
    "matrix",
    "square",
    "images",
    "vector",
    "classes",
    "places",
    "mask",
    "matrices",
    "volume",
    "signal",
    "list",
    "number",
]
LIKELY = {
    "dim": ["zero"],
    "index": ["places", "classes", "mask"],
    "target": ["classes", "matrix", "vector"],
    "size": ["shape", "two"],
    "weight": ["filters2", "matrix", "vector", "filters1", "filters3", "half"],
    "tensors": ["list"],
    "kernel_size": ["two"],
    "output_size": ["two"],
}
WRONG: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "str": lambda: "x",
    "object": object,
    "list": lambda: [1, 2],
    "huge": lambda: 2**70,
    "float": lambda: 1.5,
    "negative": lambda: -7,
    "nothing": lambda: T.zeros(0),
    "integers": lambda: T.tensor([[1, 2], [3, 4]]),
    "empty": list,
    "bool": lambda: True,
    "nan": lambda: float("nan"),
    "complex": lambda: 1 + 2j,
    "array": lambda: np.ones((2, 2), np.float32),
    "dict": lambda: {"a": 1},
    "words": lambda: ["a", "b"],
    "hugest": lambda: 10**400,
}
SETTINGS = {"set_default_dtype", "set_default_device", "manual_seed", "seed", "initial_seed"}
NAMESPACES: dict[str, Any] = {
    "torch": graphc,
    "linalg": graphc.linalg,
    "functional": graphc.nn.functional,
    "Tensor": graphc.Tensor,
}


def functions(namespace: str) -> Iterator[tuple[str, Callable[..., Any]]]:
    """What computes; not what reads files or sets the process up."""
    for name, thing in inspect.getmembers(NAMESPACES[namespace]):
        if inspect.isfunction(thing) and not name.startswith("_") and name not in SETTINGS:
            inner = inspect.unwrap(thing).__module__
            if inner.startswith(("graphc.frontend.api", "graphc.nn.functional")):
                yield name, thing


def right_call(function: Callable[..., Any]) -> list[str] | None:
    """Names of values for the required arguments with which it works."""
    required = [
        p
        for p in inspect.signature(function).parameters.values()
        if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD
    ]
    choices = [FIRST, *([*LIKELY.get(p.name, []), *RIGHT] for p in required[1:])]
    for names in itertools.islice(itertools.product(*choices[: len(required)]), 150):
        try:
            function(*(RIGHT[n]() for n in names))
        except (GraphcError, TypeError):
            continue
        return list(names)
    return None


def wrong_calls(
    function: Callable[..., Any], names: list[str], method: bool
) -> Iterator[tuple[str, list[Any], dict[str, Any]]]:
    parameters = inspect.signature(function).parameters.values()
    named = [p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    for (label, make), k in itertools.product(WRONG.items(), range(int(method), len(named))):
        args, kwargs = [RIGHT[n]() for n in names], {}
        if k < len(args):
            args[k] = make()
        else:
            kwargs[named[k]] = make()
        yield f"{named[k]}={label}", args, kwargs


def from_inside(error: Exception) -> bool:
    """Whether an exception that is not coded came from beneath the call itself."""
    step, depth = error.__traceback__, 0
    while step is not None:
        step, depth = step.tb_next, depth + 1
    return type(error) is not TypeError or depth > 4  # else of the call itself, through wrappers


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("namespace", NAMESPACES)
def test_wrong_arguments_are_refused_by_coded_errors(namespace: str) -> None:
    tried, bare = 0, []
    with np.errstate(all="ignore"):
        for name, function in functions(namespace):
            found = right_call(function)
            if found is None:
                continue
            for label, args, kwargs in wrong_calls(function, found, namespace == "Tensor"):
                tried += 1
                try:
                    function(*args, **kwargs)
                except GraphcError:
                    continue
                except Exception as e:  # what is looked for
                    if from_inside(e):
                        bare.append(f"{name}({label}): {e!r}"[:150])
    assert not bare
    assert tried > 300, "right calls are found for most functions"


BOTH = "atan2 arctan2 dist hypot logaddexp logaddexp2 maximum minimum fmax fmin"
NUMBERS_REFUSED: dict[str, Callable[[Any, Any], Any]] = {
    name: (lambda T, x, name=name: getattr(T, name)(x, 1)) for name in BOTH.split()
} | {
    "first": lambda T, x: T.eq(1, x),
    "first_clamp": lambda T, x: T.clamp(1, x),
    "first_fmod": lambda T, x: T.fmod(1.5, x),
    "by_name": lambda T, x: T.maximum(x, other=1),
    "method": lambda T, x: x.maximum(1),
    "in_place": lambda T, x: x.hypot_(1),
    "addcmul": lambda T, x: T.addcmul(x, x, 2),
    "addcdiv": lambda T, x: T.addcdiv(x, 1, x),
    "tensordot": lambda T, x: T.tensordot(x, x, (0, 1)),
    "bool_of": lambda T, x: T.relu(None),
    "word_for_int": lambda T, x: x.sum("a", True),
    "float_for_int": lambda T, x: x.cumsum(1.5),
    "tensor_for_int": lambda T, x: x.cumsum(x),
    "int_for_word": lambda T, x: T.div(x, x, rounding_mode=1),
}


@pytest.mark.parametrize("name", NUMBERS_REFUSED)
def test_pytorch_raises_type_error_alike(name: str) -> None:
    with pytest.raises(InvalidType):
        NUMBERS_REFUSED[name](graphc, graphc.ones(2, 2))
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError):
        NUMBERS_REFUSED[name](torch, torch.ones(2, 2))


FLAGS_AND_NUMBERS: dict[str, Callable[[Any, Any], Any]] = {
    "keepdim": lambda T, x: x.sum(0, keepdim=1),
    "keepdim_numpy": lambda T, x: x.sum(0, np.bool_(True)),
    "keepdim_none": lambda T, x: x.amax(0, keepdim=None),
    "keepdim_word": lambda T, x: T.mean(x, 0, "no"),
    "descending": lambda T, x: x.sort(0, 1),
    "upper": lambda T, x: T.linalg.cholesky(x, upper=1),
    "equal_nan": lambda T, x: T.isclose(x, x, equal_nan="yes"),
    "unbiased": lambda T, x: T.argsort(x, descending=[1]),
    "training": lambda T, x: T.nn.functional.dropout(x, 0.0, 1),
    "ceil_mode": lambda T, x: T.nn.functional.avg_pool1d(x, 1, ceil_mode=1),
    "dim": lambda T, x: x.softmax(True),
    "dims": lambda T, x: x.sum(True),
    "diagonal": lambda T, x: x.tril(True),
    "offset": lambda T, x: T.diagonal(x, False),
    "power": lambda T, x: T.matrix_power(x, True),
    "stride": lambda T, x: T.nn.functional.avg_pool1d(x, 1, True),
    "float": lambda T, x: T.linalg.vander(x, N=2.0),
    "set": lambda T, x: T.nn.functional.avg_pool2d(x[None], {1, 2}),
    "tensor": lambda T, x: T.nn.functional.layer_norm(x, (2,), 1.0),
    "statistic": lambda T, x: T.nn.functional.batch_norm(x, None, None, 2, training=True),
    "addcmul_of": lambda T, x: T.addcmul(1, x, x),
}


@pytest.mark.parametrize("name", FLAGS_AND_NUMBERS)
def test_no_number_is_a_flag_no_flag_a_number_and_neither_a_tensor(name: str) -> None:
    call = FLAGS_AND_NUMBERS[name]
    for run in (call, graphc.compile(lambda x: call(graphc, x))):
        with pytest.raises(InvalidType):
            run(*([graphc] if run is call else []), graphc.ones(2, 2))
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError):
        call(torch, torch.ones(2, 2))


TAKEN: dict[str, Callable[[Any, Any], Any]] = {
    "numpy_size": lambda T, x: T.nn.functional.avg_pool1d(x, np.int64(2)),
    "numpy_dim": lambda T, x: x.softmax(np.int64(1)),
    "tensor_size": lambda T, x: T.nn.functional.avg_pool1d(x, T.tensor(2)),
}


@pytest.mark.parametrize("name", TAKEN)
def test_numpys_and_tensors_numbers_are_taken(name: str) -> None:
    mine = TAKEN[name](graphc, graphc.ones(2, 2))
    torch = pytest.importorskip("torch")
    assert mine.tolist() == TAKEN[name](torch, torch.ones(2, 2)).tolist()


MESSAGES: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "tensor": (lambda: T.exp(None), TypeError, "argument 'input' must be Tensor, got NoneType"),
    "inside": (lambda: T.stack([T.ones(2), 3]), TypeError, "got int"),
    "int": (lambda: T.ones(2).cumsum("x"), TypeError, "argument 'dim' must be int, got str"),
    "huge": (lambda: T.ones(2).softmax(2**70), ValueError, "must be a 64-bit integer"),
    "sections": (lambda: T.ones(4).chunk(0), RuntimeError, "chunk"),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_the_message_names_the_argument(name: str) -> None:
    call, kind, says = MESSAGES[name]
    with pytest.raises(GraphcError) as caught:
        call()
    assert isinstance(caught.value, kind) and says in str(caught.value)


def test_exceptions_of_the_users_own_code_pass() -> None:
    def distance(x: Any, y: Any) -> Any:
        return {}["missing"]

    x = graphc.ones(2, 2)
    with pytest.raises(KeyError) as caught:
        graphc.nn.functional.triplet_margin_with_distance_loss(x, x, x, distance_function=distance)
    assert not isinstance(caught.value, GraphcError)


def test_warnings_are_at_the_users_line() -> None:
    x = graphc.ones(2)
    with pytest.warns(UserWarning) as caught:
        graphc.add(x, 2, x)  # type: ignore[arg-type]
        x.add(2, x)
        graphc.sum(x, out=graphc.ones(3))
    assert {w.filename for w in caught} == {__file__}
