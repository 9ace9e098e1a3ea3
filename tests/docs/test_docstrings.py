"""Docstrings tell shapes, units and errors, and what they tell of errors is so."""

from __future__ import annotations

import importlib
import inspect
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import graphc
import graphc.nn.functional as F
from graphc import nn, optim
from graphc.frontend.step.compiled import CompiledFunction
from graphc.optim import lr_scheduler as lrs
from graphc.utils import data

SPACES = [
    "graphc", "graphc.nn.functional", "graphc.nn.utils", "graphc.nn.utils.rnn", "graphc.linalg",
    "graphc.special", "graphc.fft", "graphc.autograd", "graphc.func", "graphc.cuda",
    "graphc.random", "graphc.sparse", "graphc.signal.windows", "graphc.optim", "graphc.utils.data",
]  # fmt: skip
SHAPE = re.compile(r"\[[^\]\s'\"][^\]]*\]|\[\]|[Ss]hape")
UNIT = re.compile(r"\b([Bb]ytes|[Ss]econds|[Mm]illiseconds|ms)\b")
MEASURED = re.compile(r"(^|_)(bytes|seconds|ms|elapsed|timeout|allocated|reserved)($|_)")
# Layers whose modules, not they, say what shape goes in and out; what is no layer.
WITHOUT = {
    "Module",
    "ModuleList",
    "ModuleDict",
    "ParameterList",
    "ParameterDict",
    "DataParallel",
    "DistributedDataParallel",
}
WITHOUT |= {"RNNBase", "RNNCellBase"}


def public(space: str) -> Iterator[tuple[str, Any]]:
    module = importlib.import_module(space)
    listed = vars(module) if module is nn else getattr(module, "__all__", vars(module))
    for name in sorted(listed):
        thing = getattr(module, name)
        ours = (getattr(thing, "__module__", None) or "").startswith("graphc")
        if ours and not name.startswith("_") and callable(thing):
            yield f"{space}.{name}", thing


FUNCTIONS = [(n, f) for space in SPACES for n, f in public(space) if inspect.isroutine(f)]
LAYERS = [
    (n, c)
    for n, c in public("graphc.nn")
    if isinstance(c, type) and issubclass(c, nn.Module) and n.rpartition(".")[2] not in WITHOUT
]


def speaks_of_tensors(function: Callable[..., Any]) -> bool:
    signature = inspect.signature(function)
    return "Tensor" in str(signature) and "NoReturn" not in str(signature.return_annotation)


def operands() -> Iterator[tuple[Any, ...]]:
    """For functions of any number of tensors of one shape [2, 3]."""
    x = graphc.rand(2, 3) * 0.5 + 0.25
    yield from ((x,), (x, x + 0.1), (x, x * 0.5, x + 0.1), (x, 2), (x, x.double()))
    i = graphc.tensor([[1, 2, 3], [4, 5, 6]])
    yield from ((i,), (i, i), (i > 2,), (i > 2, i > 3))


def is_elementwise(function: Callable[..., Any]) -> bool:
    """Whether it gives of [2, 3] the same, reshaped, as of [6]."""
    for args in operands():
        flat = [a.reshape(6) if isinstance(a, graphc.Tensor) else a for a in args]
        try:
            ours, theirs = function(*args), function(*flat)
        except Exception:  # another number or kind of operands
            continue
        if isinstance(ours, graphc.Tensor) and ours.shape == (2, 3) and theirs.shape == (6,):
            return graphc.allclose(ours.reshape(6).double(), theirs.double(), equal_nan=True)
    return False


def test_functions_of_tensors_tell_shapes_or_are_elementwise() -> None:
    lacking = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, function in FUNCTIONS:
            told = SHAPE.search(inspect.getdoc(function) or "")
            if not told and speaks_of_tensors(function) and not is_elementwise(function):
                lacking.append(name)
    assert not lacking


@pytest.mark.parametrize(("name", "layer"), LAYERS, ids=[n for n, _ in LAYERS])
def test_layers_tell_shapes(name: str, layer: type) -> None:
    told = layer.__doc__ or ""
    assert SHAPE.search(told) or "element by element" in told or "Lazy" in name, told


def measured() -> Iterator[tuple[str, Any]]:
    """What takes or gives times or bytes, by its name or that of an argument."""
    yield from ((n, f) for n, f in FUNCTIONS if MEASURED.search(n.rpartition(".")[2]))
    yield from (
        (n, f) for n, f in [*FUNCTIONS, *public("graphc.utils.data")]
        if any(MEASURED.search(p) for p in inspect.signature(f).parameters)
    )  # fmt: skip
    for name in ("profile", "profile_over", "memory", "explain", "line", "report"):
        yield f"step.{name}", getattr(CompiledFunction, name)


def test_units_are_told() -> None:
    lacking = [n for n, f in measured() if not UNIT.search(inspect.getdoc(f) or "")]
    assert not lacking


def rand(*shape: int) -> graphc.Tensor:
    return graphc.rand(*shape)


def ids(*values: int) -> graphc.Tensor:
    return graphc.tensor(values)


def parameter() -> list[graphc.Tensor]:
    return [nn.Parameter(rand(3))]


def two_optimizers() -> list[Any]:
    return [lrs.StepLR(optim.SGD(parameter(), lr=0.1), 1) for _ in range(2)]


def uncompiled() -> Any:
    return graphc.compile(lambda x: x * 2)


def compiled() -> Any:
    step = uncompiled()
    step(rand(3))
    return step


# By error: whose docstring promises it, and a call that raises it.
PROMISED: dict[str, list[tuple[Any, Callable[[], Any]]]] = {
    "ShapeMismatch": [
        (nn.Linear, lambda: nn.Linear(3, 4)(rand(2, 5))),
        (nn.Bilinear, lambda: nn.Bilinear(3, 4, 5)(rand(2, 3), rand(2, 5))),
        (nn.Unflatten, lambda: nn.Unflatten(1, (2, 2))(rand(2, 3))),
        (nn.Conv2d, lambda: nn.Conv2d(3, 4, 3)(rand(2, 5, 8, 8))),
        (nn.Conv1d, lambda: nn.Conv1d(3, 4, 9)(rand(2, 3, 4))),
        (nn.ConvTranspose2d, lambda: nn.ConvTranspose2d(3, 4, 3)(rand(2, 5, 8, 8))),
        (nn.BatchNorm2d, lambda: nn.BatchNorm2d(3)(rand(2, 4, 5, 5))),
        (nn.GroupNorm, lambda: nn.GroupNorm(2, 4)(rand(2, 6, 3))),
        (nn.LayerNorm, lambda: nn.LayerNorm(3)(rand(2, 4))),
        (nn.RMSNorm, lambda: nn.RMSNorm(3)(rand(2, 4))),
        (nn.MaxPool2d, lambda: nn.MaxPool2d(2)(rand(2, 3))),
        (nn.AvgPool2d, lambda: nn.AvgPool2d(9)(rand(2, 3, 4, 4))),
        (nn.MaxUnpool2d, lambda: nn.MaxUnpool2d(2)(rand(2, 3, 4, 4), ids(1))),
        (nn.AdaptiveAvgPool2d, lambda: nn.AdaptiveAvgPool2d(2)(rand(2, 3))),
        (nn.ReflectionPad2d, lambda: nn.ReflectionPad2d(5)(rand(2, 3, 4, 4))),
        (nn.CircularPad2d, lambda: nn.CircularPad2d(5)(rand(2, 3, 4, 4))),
        (nn.GLU, lambda: nn.GLU()(rand(2, 3))),
        (nn.PReLU, lambda: nn.PReLU(4)(rand(2, 3))),
        (nn.GRU, lambda: nn.GRU(3, 4)(rand(5, 2, 2))),
        (nn.LSTMCell, lambda: nn.LSTMCell(3, 4)(rand(5, 2))),
        (nn.MultiheadAttention, lambda: nn.MultiheadAttention(4, 2)(*[rand(3, 2, 5)] * 3)),
        (nn.Transformer, lambda: nn.Transformer(4, 2)(rand(3, 2, 4), rand(3, 3, 4))),
        (nn.TransformerDecoderLayer,
         lambda: nn.TransformerDecoderLayer(4, 2)(*[rand(3, 2, 5)] * 2)),
        (nn.MSELoss, lambda: nn.MSELoss()(rand(2, 3), rand(2, 4))),
        (nn.CrossEntropyLoss, lambda: nn.CrossEntropyLoss()(rand(2, 3), rand(2))),
        (nn.KLDivLoss, lambda: nn.KLDivLoss()(rand(2, 3), rand(2))),
        (nn.PoissonNLLLoss, lambda: nn.PoissonNLLLoss()(rand(2, 3), rand(2))),
        (nn.MarginRankingLoss, lambda: nn.MarginRankingLoss()(rand(2), rand(2), rand(2, 3))),
        (nn.CosineEmbeddingLoss, lambda: nn.CosineEmbeddingLoss()(*[rand(2, 3)] * 2, rand(3))),
        (nn.MultiLabelMarginLoss, lambda: nn.MultiLabelMarginLoss()(rand(2, 3), ids(0, 1))),
        (nn.TripletMarginLoss, lambda: nn.TripletMarginLoss()(*[rand(2, 3)] * 2, rand(4, 3))),
        (nn.PairwiseDistance, lambda: nn.PairwiseDistance()(rand(2, 3), rand(2, 4))),
        (nn.PixelShuffle, lambda: nn.PixelShuffle(2)(rand(2, 3, 4, 4))),
        (nn.PixelUnshuffle, lambda: nn.PixelUnshuffle(2)(rand(2, 3, 3, 4))),
        (nn.ChannelShuffle, lambda: nn.ChannelShuffle(2)(rand(2, 3, 3, 4))),
        (nn.Fold, lambda: nn.Fold(4, 2)(rand(2, 3, 4))),
        (nn.Unfold, lambda: nn.Unfold(2)(rand(2, 3))),
        (F.linear, lambda: F.linear(rand(2, 3), rand(4, 5))),
        (graphc.matmul, lambda: rand(2, 3) @ rand(4, 5)),
        (graphc.stack, lambda: graphc.stack([rand(2), rand(3)])),
        (graphc.cat, lambda: graphc.cat([rand(2, 2), rand(3, 3)])),
        (data.default_collate, lambda: data.default_collate([rand(2), rand(3)])),
    ],
    "InvalidArgument": [
        (nn.Conv2d, lambda: nn.Conv2d(3, 4, 3, groups=2)),
        (nn.BatchNorm1d, lambda: nn.BatchNorm1d(3)(rand(1, 3))),
        (nn.InstanceNorm2d, lambda: nn.InstanceNorm2d(3, affine=True)(rand(2, 4, 5, 5))),
        (nn.GroupNorm, lambda: nn.GroupNorm(2, 3)),
        (nn.LocalResponseNorm, lambda: nn.LocalResponseNorm(2)(rand(2))),
        (nn.Dropout, lambda: nn.Dropout(1.5)),
        (nn.Softmax2d, lambda: nn.Softmax2d()(rand(2))),
        (nn.GELU, lambda: nn.GELU("x")(rand(2))),
        (nn.EmbeddingBag, lambda: nn.EmbeddingBag(3, 4)(ids(1))),
        (nn.GRU, lambda: nn.GRU(3, 4)(rand(5))),
        (nn.MultiheadAttention, lambda: nn.MultiheadAttention(5, 2)),
        (nn.FractionalMaxPool2d, lambda: nn.FractionalMaxPool2d(2)),
        (nn.BCELoss, lambda: nn.BCELoss()(rand(2, 3), rand(3))),
        (nn.BCEWithLogitsLoss, lambda: nn.BCEWithLogitsLoss()(rand(2, 3), rand(3))),
        (nn.GaussianNLLLoss, lambda: nn.GaussianNLLLoss()(rand(2), rand(2), -1 - rand(2))),
        (F.celu, lambda: F.celu(rand(2), alpha=0.0)),
        (optim.LBFGS, lambda: optim.LBFGS([{"params": parameter()}, {"params": parameter()}])),
        (optim.Muon, lambda: optim.Muon(parameter())),
        (lrs.ConstantLR, lambda: lrs.ConstantLR(optim.SGD(parameter(), lr=1), factor=2)),
        (lrs.LinearLR, lambda: lrs.LinearLR(optim.SGD(parameter(), lr=1), end_factor=2)),
        (lrs.CosineAnnealingWarmRestarts,
         lambda: lrs.CosineAnnealingWarmRestarts(optim.SGD(parameter(), lr=1), T_0=0)),
        (lrs.OneCycleLR, lambda: lrs.OneCycleLR(optim.SGD(parameter(), lr=1), 0.1)),
        (lrs.ReduceLROnPlateau,
         lambda: lrs.ReduceLROnPlateau(optim.SGD(parameter(), lr=1), factor=2)),
        (lrs.ChainedScheduler, lambda: lrs.ChainedScheduler(two_optimizers())),
        (data.TensorDataset, lambda: data.TensorDataset(rand(2), rand(3))),
        (data.random_split, lambda: data.random_split(range(5), [2, 2])),
        (data.BatchSampler, lambda: data.BatchSampler(range(3), 0, False)),
        (data.RandomSampler, lambda: data.RandomSampler(range(3), num_samples=0)),
        (data.RandomSampler, lambda: data.RandomSampler(range(3), num_samples=1.5)),
        (data.ConcatDataset, lambda: data.ConcatDataset([])),
        (data.StackDataset, lambda: data.StackDataset(range(2), range(3))),
        (data.DistributedSampler, lambda: data.DistributedSampler(range(3), 2, 2)),
        (data.DataLoader, lambda: data.DataLoader(range(3), batch_size=0)),
        (CompiledFunction.ir, lambda: compiled().ir("fuses")),
        (CompiledFunction.line, lambda: compiled().line("nowhere.py:1")),
        (CompiledFunction.diff, lambda: compiled().diff("trace", "fuses")),
        (CompiledFunction.profile_over, lambda: compiled().profile_over([rand(3)])),
        (graphc.compile, lambda: graphc.compile(lambda x: x, other=1)),
        *[(getattr(optim, name), lambda name=name: getattr(optim, name)([]))
          for name in ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "Adamax", "NAdam",
                       "RAdam", "Rprop", "ASGD", "Lion", "Adafactor", "Muon")],
        *[(getattr(optim, name), lambda name=name: getattr(optim, name)(parameter(), lr=-1))
          for name in ("SGD", "Adam", "AdamW", "RMSprop", "Lion", "Adafactor")],
    ],
    "InvalidIndex": [
        (nn.Flatten, lambda: nn.Flatten(5)(rand(2, 3))),
        (nn.Softmax, lambda: nn.Softmax(3)(rand(2, 3))),
        (F.softmax, lambda: F.softmax(rand(2, 3), dim=3)),
        (nn.ModuleList, lambda: nn.ModuleList()[3]),
    ],
    "InvalidType": [
        (nn.ModuleList, lambda: nn.ModuleList([1])),
        (nn.Sequential, lambda: nn.Sequential(1)),
        (optim.Optimizer, lambda: optim.SGD(rand(3), lr=0.1)),
        (optim.LBFGS, lambda: optim.LBFGS(parameter()).step()),
        (lrs.StepLR, lambda: lrs.StepLR("x", 2)),
        (data.default_collate, lambda: data.default_collate([object()])),
    ],
    "DTypeMismatch": [
        (nn.Linear, lambda: nn.Linear(3, 4)(graphc.ones(2, 3, dtype=graphc.float64))),
        (nn.Embedding, lambda: nn.Embedding(3, 4)(rand(3))),
    ],
    "IndexOutOfRange": [
        (nn.Embedding, lambda: nn.Embedding(3, 4)(ids(3))),
        (nn.NLLLoss, lambda: nn.NLLLoss()(rand(2, 3), ids(0, 5))),
        (nn.CrossEntropyLoss, lambda: nn.CrossEntropyLoss()(rand(2, 3), ids(0, 5))),
        (nn.MultiMarginLoss, lambda: nn.MultiMarginLoss()(rand(2, 3), ids(0, 5))),
    ],
    "InvalidState": [
        (nn.BCELoss, lambda: nn.BCELoss()(rand(2) + 2, rand(2))),
        *[(getattr(CompiledFunction, name), lambda name=name: getattr(uncompiled(), name)())
          for name in ("ir", "explain", "memory", "report")],
        (CompiledFunction.line, lambda: uncompiled().line("net.py:1")),
        (CompiledFunction.diff, lambda: uncompiled().diff("trace", "fuse")),
    ],
    "Unsupported": [
        (nn.Upsample, lambda: nn.Upsample(scale_factor=2, mode="bilinear")(rand(2, 3))),
    ],
    "RuntimeError": [(F.softshrink, lambda: F.softshrink(rand(2), -1.0))],
    "AutogradError": [(graphc.autograd.backward, lambda: graphc.autograd.backward(rand(1).sum()))],
}  # fmt: skip
ROWS = [(error, thing, call) for error, rows in PROMISED.items() for thing, call in rows]


@pytest.mark.parametrize(
    ("error", "thing", "call"), ROWS, ids=[f"{t.__name__}-{e}" for e, t, _ in ROWS]
)
def test_errors_are_as_told(error: str, thing: Any, call: Callable[[], Any]) -> None:
    assert error in (inspect.getdoc(thing) or ""), "its docstring does not name the error"
    with pytest.raises(getattr(graphc.errors, error, RuntimeError)), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        call()
