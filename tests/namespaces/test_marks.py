"""Namespaces that public code imports and asks: answers, marks that change nothing, refusals."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.errors import GraphcError
from graphc.utils import _pytree as tree

MODULES = """
    _dynamo accelerator compiler distributed fx hub jit nn.attention nn.attention.flex_attention
    nn.common_types nn.modules nn.modules.batchnorm nn.modules.conv nn.modules.utils nn.parallel
    nn.parallel.distributed nn.utils.parametrizations nn.utils.parametrize serialization testing
    torch_version utils._pytree version
"""


@pytest.mark.parametrize("name", MODULES.split())
def test_the_module_is_there_and_torch_has_it(name: str) -> None:
    mine = importlib.import_module(f"graphc.{name}")
    torch = pytest.importorskip("torch")
    assert torch.__version__
    theirs = importlib.import_module(f"torch.{name}")
    assert not {n for n in getattr(mine, "__all__", []) if not hasattr(theirs, n)}


def test_answers() -> None:
    assert not graphc.accelerator.is_available()
    assert graphc.accelerator.device_count() == 0
    assert graphc.accelerator.current_accelerator() is None
    with pytest.raises(RuntimeError):
        graphc.accelerator.synchronize()
    assert not graphc.jit.is_scripting() and not graphc.jit.is_tracing()
    assert not graphc.compiler.is_compiling()
    assert graphc.compile(lambda x: x + graphc.compiler.is_compiling())(graphc.zeros(1)) == 1
    assert graphc.version.cuda is None


@graphc.jit.script
def scripted(x: graphc.Tensor) -> graphc.Tensor:
    return x * 2


@graphc.jit.ignore
def ignored(x: graphc.Tensor) -> graphc.Tensor:
    return scripted(x)


@graphc.jit.ignore(drop=True)
def dropped(x: graphc.Tensor) -> graphc.Tensor:
    return ignored(x)


@graphc.fx.wrap
@graphc.jit.unused
@graphc.compiler.disable
@graphc.compiler.disable(recursive=False)
@graphc.compiler.allow_in_graph
@graphc.jit.script_if_tracing
def wrapped(x: graphc.Tensor) -> graphc.Tensor:
    return dropped(graphc.jit.annotate(graphc.Tensor, x))


def test_marks_change_nothing() -> None:
    x = graphc.ones(2)
    assert wrapped(x).tolist() == graphc.compile(wrapped)(x).tolist() == [2, 2]
    assert graphc.jit.wait(graphc.jit.fork(scripted, x)).tolist() == [2, 2]
    assert graphc.jit.isinstance([1], list[int])
    assert graphc.fx.wrap("len") == "len"


REFUSED: dict[str, Callable[[], Any]] = {
    "trace": lambda: graphc.jit.trace(scripted, graphc.ones(1)),
    "save": lambda: graphc.jit.save(scripted, "x.pt"),
    "load": lambda: graphc.jit.load("x.pt"),
    "symbolic_trace": lambda: graphc.fx.symbolic_trace(graphc.nn.ReLU()),
    "graph_module": lambda: graphc.fx.GraphModule(),
    "hub": lambda: graphc.hub.load("pytorch/vision", "resnet18"),
    "download": lambda: graphc.hub.download_url_to_file("https://x/y.pt", "y.pt"),
    "weights": lambda: graphc.hub.load_state_dict_from_url("https://x/none.pt"),
    "group": lambda: graphc.distributed.init_process_group(world_size=2, rank=0),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_a_code(name: str) -> None:
    with pytest.raises(NotImplementedError) as e:
        REFUSED[name]()
    assert isinstance(e.value, GraphcError) and e.value.code == "GC010"


def test_hub_of_a_local_folder(tmp_path: Path) -> None:
    (tmp_path / "parts.py").write_text("WIDTH = 3\n")
    (tmp_path / "hubconf.py").write_text(
        "import graphc\nfrom parts import WIDTH\n\n\n"
        'def net(depth, bias=True):\n    "A net."\n'
        "    return graphc.nn.Linear(WIDTH, depth, bias=bias)\n"
    )
    made = graphc.hub.load(tmp_path, "net", 2, bias=False, source="local")
    assert made.weight.shape == (2, 3) and made.bias is None
    assert "net" in graphc.hub.list(tmp_path, source="local")
    assert graphc.hub.help(tmp_path, "net", source="local") == "A net."
    with pytest.raises(RuntimeError, match="callable"):
        graphc.hub.load(tmp_path, "other", source="local")
    graphc.save(made.state_dict(), tmp_path / "w.pt")
    found = graphc.hub.load_state_dict_from_url((tmp_path / "w.pt").as_uri())
    assert graphc.equal(found["weight"], made.weight)
    found = graphc.hub.load_state_dict_from_url("https://a/w.pt", model_dir=str(tmp_path))
    assert graphc.equal(found["weight"], made.weight)


def test_distributed_alone() -> None:
    dist = graphc.distributed
    assert not dist.is_available() and not dist.is_initialized()
    with pytest.raises(ValueError, match="init_process_group"):
        dist.get_rank()
    with pytest.raises(ValueError):
        graphc.nn.parallel.DistributedDataParallel(graphc.nn.Linear(1, 1))
    dist.init_process_group("gloo", world_size=1, rank=0)
    try:
        assert (dist.get_rank(), dist.get_world_size(), dist.is_initialized()) == (0, 1, True)
        x, y = graphc.ones(2), [graphc.zeros(2)]
        dist.all_reduce(x, dist.ReduceOp.SUM)
        dist.all_gather(y, x)
        dist.barrier()
        assert x.tolist() == y[0].tolist() == [1, 1]
        shares = graphc.utils.data.DistributedSampler(range(4), shuffle=False)
        assert list(shares) == [0, 1, 2, 3]
        net = graphc.nn.parallel.DistributedDataParallel(graphc.nn.Linear(2, 1))
        with net.no_sync():
            assert net(x).shape == (1,)
        assert list(net.state_dict()) == ["module.weight", "module.bias"]
    finally:
        dist.destroy_process_group()
    assert not dist.is_initialized()


def test_a_launcher_of_several_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(NotImplementedError, match="4 processes"):
        graphc.distributed.init_process_group()


def test_assertions() -> None:
    graphc._assert(True, "fine")
    graphc._check(True)
    for function, error in ((graphc._check, RuntimeError), (graphc._check_value, ValueError)):
        with pytest.raises(error, match="why"):
            function(False, lambda: "why")
    with pytest.raises(AssertionError, match="not so"):
        graphc._assert(graphc.zeros(()) > 1, "not so")


# ---- trees -------------------------------------------------------------------------------------


def test_trees() -> None:
    nest = {"a": [1, (2, 3)], "b": None}
    leaves, spec = tree.tree_flatten(nest)
    assert leaves == [1, 2, 3, None]
    assert tree.tree_unflatten(leaves, spec) == nest
    assert tree.tree_map(lambda x: x or 0, nest) == {"a": [1, (2, 3)], "b": 0}
    assert tree.tree_map_only(int, lambda x: -x, nest) == {"a": [-1, (-2, -3)], "b": None}
    assert tree.tree_map(lambda x, y: x + y, [1, 2], [3, 4]) == [4, 6]
    assert tree.tree_all(lambda x: x != 9, nest) and not tree.tree_any(lambda x: x == 9, nest)
    assert tree.tree_structure([1, 2]) == tree.tree_structure([3, 4]) != tree.tree_structure((1, 2))
    with pytest.raises(ValueError):
        tree.tree_unflatten([1], spec)


def test_trees_flatten_as_torchs() -> None:
    theirs = pytest.importorskip("torch.utils._pytree")
    for nest in ({"b": 1, "a": (2, [3])}, [], (1, None), 5, {"x": {}}):
        assert tree.tree_leaves(nest) == theirs.tree_leaves(nest)


# ---- _foreach ----------------------------------------------------------------------------------

LISTS: dict[str, Callable[[Any, list[Any], list[Any]], Any]] = {
    "add": lambda T, x, y: T._foreach_add(x, y, alpha=2),
    "add_number": lambda T, x, y: T._foreach_add(x, 2.0),
    "mul_numbers": lambda T, x, y: T._foreach_mul(x, [2.0, 3.0]),
    "div": lambda T, x, y: T._foreach_div(x, y),
    "addcdiv": lambda T, x, y: T._foreach_addcdiv(x, x, y, [1.0, 2.0]),
    "addcmul": lambda T, x, y: T._foreach_addcmul(x, x, y, 0.5),
    "lerp": lambda T, x, y: T._foreach_lerp(x, y, 0.3),
    "sqrt": lambda T, x, y: T._foreach_sqrt(x),
    "norm": lambda T, x, y: T._foreach_norm(x),
    "maximum": lambda T, x, y: T._foreach_maximum(x, y),
    "pow": lambda T, x, y: T._foreach_pow(x, 2.0),
}


@pytest.mark.parametrize("name", LISTS)
def test_foreach_is_torchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    arrays = [[rng.random(3, np.float32) + 1 for _ in range(2)] for _ in range(2)]
    mine, theirs = (
        LISTS[name](T, *([T.tensor(a) for a in part] for part in arrays)) for T in (graphc, torch)
    )
    for a, b in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-6)


def test_foreach_in_place() -> None:
    xs = [graphc.ones(2), graphc.ones(3)]
    graphc._foreach_mul_(xs, 3.0)
    graphc._foreach_add_(xs, xs)
    assert [x.tolist() for x in xs] == [[6, 6], [6, 6, 6]]
    graphc._foreach_zero_(xs)
    assert not any(x.any() for x in xs)
    with pytest.raises(RuntimeError):
        graphc._foreach_add(xs, [graphc.ones(2)])
