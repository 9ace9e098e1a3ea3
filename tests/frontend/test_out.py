"""`out=`: results in tensors that the caller gives, by PyTorch's rules."""

from __future__ import annotations

import inspect
from functools import reduce
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.errors import AutogradError, DTypeMismatch, InvalidType, Untraceable

SPACES = ("", "linalg.", "special.", "nn.functional.")
RANDOM = {"bernoulli", "empty", "multinomial", "normal", "rand", "randint", "randn", "randperm"}
# PyTorch takes `out=` here, too; graphc does not.
LEFT = {
    "is_vulkan_available",  # PyTorch's takes any argument
    *("dsmm", "hardshrink", "isin", "lu", "slice_scatter", "spmm", "threshold"),
    *("nn.functional.gelu", "nn.functional.hardshrink", "nn.functional.linear"),
    *("nn.functional.logsigmoid", "nn.functional.softplus", "nn.functional.softshrink"),
}


def functions(space: str) -> dict[str, bool]:
    """The functions of a namespace, and whether each takes `out=`."""
    found = vars(reduce(getattr, space.split(".")[:-1], graphc)).items()
    own = {n: f for n, f in found if inspect.isfunction(f) and not n.startswith("_")}
    return {space + n: "out" in inspect.signature(f).parameters for n, f in own.items()}


EVERY = {name: takes for space in SPACES for name, takes in functions(space).items()}
NAMES = [name for name, takes in EVERY.items() if takes]


def candidates(T: Any) -> list[tuple[Any, ...]]:
    """Arguments to try: every name takes some of them."""
    x = T.tensor([[2.5, 0.5, 0.25], [0.5, 3.0, 0.75], [0.25, 0.75, 1.5]])
    v, n, b = x[0], T.tensor([[1, 2], [3, 4]]), x > 0.6
    at, places = T.tensor([2, 0]), T.tensor([[0, 2, 1], [1, 0, 2]])
    batch, pivots = T.stack([x, 2 * x]), T.tensor([2, 2, 3], dtype=T.int32)
    return [
        *((x,), (n,), (b,), (v,), (x, 1), (x, 0), (n, 1), (x, x), (n, n), (b, b), (v, v)),
        *((x, v), (batch, batch), ([x, x],), (x, x, x), (x, 0.5), (x, x, 0.5), (v, x, v)),
        *((x, v, v), (x, batch, batch), (batch, batch, batch), (x, 0, at), (x, 0, places)),
        *((x, b), (b, x, 2 * x), (x, 0, places, x), (x, 0, at, x[:2]), (x, at)),
        *((x / 4,), (v, 2), (0.0, 1.0, (4,)), (3,), (0, 4), (0, 4, 5), ((2, 2), 1.5), (9, (2, 3))),
        (1, x),
        (x, 2, 0, 1.0),
        *((x, pivots), (x, pivots, x), (x, x, pivots)),
        *((x, 0, 1), (x, 0, 1, 1), (x, 0, 2, 1), (x, (1, 0)), (v, (2, 3)), (x, (2, 2), (1, 1))),
        *((x, (9,)), (x, v, x)),
    ]


def called(T: Any, name: str, args: tuple[Any, ...], **options: Any) -> Any:
    options |= {"upper": True} if name.endswith("solve_triangular") else {}
    return reduce(getattr, name.split("."), T)(*args, **options)


def parts(result: Any) -> tuple[Any, ...]:
    return result if isinstance(result, tuple) else (result,)


def first_accepted(torch: Any, name: str) -> tuple[int, tuple[Any, ...]] | None:
    """Which candidate PyTorch takes with `out=`, and its results."""
    for which, args in enumerate(candidates(torch)):
        try:
            wanted = parts(called(torch, name, args))
            empty = tuple(torch.empty(0, dtype=w.dtype) for w in wanted)
            called(torch, name, args, out=empty if len(empty) > 1 else empty[0])
        except (TypeError, RuntimeError, ValueError, IndexError, AttributeError):
            continue
        return which, wanted
    return None


def takes_out(torch: Any, name: str) -> bool:
    """Whether PyTorch's function takes `out=`, found by calls that others refuse."""
    kinds = (torch.float32, torch.int64, torch.bool)
    for args in candidates(torch):
        for kind in (*kinds, (torch.float32, torch.int64), (torch.float32, torch.float32)):
            pair = isinstance(kind, tuple)
            out = tuple(torch.empty(0, dtype=k) for k in (kind if pair else (kind,)))
            try:
                called(torch, name, args, out=out if pair else out[0])
            except Exception:
                continue
            return True
    return False


@pytest.mark.filterwarnings("ignore")
def test_what_takes_it_in_torch_does() -> None:
    torch = pytest.importorskip("torch")
    assert {n for n, takes in EVERY.items() if not takes and takes_out(torch, n)} == LEFT


@pytest.mark.filterwarnings("ignore:.*(deprecated|torch.cross).*:UserWarning")
@pytest.mark.parametrize("name", NAMES)
def test_out_is_filled_as_by_torch(name: str) -> None:
    found = first_accepted(pytest.importorskip("torch"), name)
    assert found is not None, f"no arguments for {name}"
    which, wanted = found
    args = candidates(graphc)[which]
    for shaped in (True, False):
        out = tuple(graphc.zeros(w.shape if shaped else 0) for w in wanted)
        out = tuple(o.to(getattr(graphc, str(w.dtype)[6:])) for o, w in zip(out, wanted))
        got = called(graphc, name, args, out=out if len(out) > 1 else out[0])
        assert all(g is o for g, o in zip(parts(got), out))
        for g, p, w in zip(out, parts(called(graphc, name, args)), wanted):
            assert tuple(g.shape) == tuple(w.shape)
            if name not in RANDOM:
                np.testing.assert_array_equal(g.numpy(), p.numpy())


@pytest.mark.filterwarnings("ignore")
def test_out_of_another_dtype_is_filled_where_torch_fills_it() -> None:
    torch = pytest.importorskip("torch")
    others = {"float32": "float64", "int64": "int32", "bool": "uint8", "int32": "int64"}
    others |= {"float64": "float32"}
    differ, refused = [], 0
    for name in NAMES:
        found = first_accepted(torch, name)
        assert found is not None
        kinds = [str(w.dtype)[6:] for w in found[1]]
        for k, kind in enumerate(kinds):
            taken = []
            for T in (torch, graphc):
                wanted = [others[kind] if j == k else x for j, x in enumerate(kinds)]
                out = tuple(T.empty(0, dtype=getattr(T, x)) for x in wanted)
                args = candidates(T)[found[0]]
                try:
                    called(T, name, args, out=out if len(out) > 1 else out[0])
                except RuntimeError:
                    taken.append(False)
                else:
                    taken.append(True)
            refused += not taken[0]
            if taken[0] is not taken[1]:
                differ.append((name, kind, *taken))
    # Of weights that are tensors PyTorch's lerp casts nothing, of a number it does.
    assert differ == [("lerp", "float32", False, True)] and refused > 100


def test_creation_computes_in_the_dtype_of_out() -> None:
    f, n = graphc.empty(3), graphc.empty(3, dtype=graphc.int64)
    assert graphc.arange(3, out=f).tolist() == [0.0, 1.0, 2.0]
    assert graphc.full((3,), 1.5, out=n).tolist() == [1, 1, 1]
    assert graphc.sum(graphc.tensor([[0.5], [0.5]]), 0, out=n[:1]).tolist() == [0]
    with pytest.raises(DTypeMismatch, match="not that of out"):
        graphc.zeros(3, dtype=graphc.float32, out=n)


def test_results_are_cast_upwards_only() -> None:
    x = graphc.tensor([1.0, 2.0])
    assert graphc.add(x, 1, out=graphc.empty(2, dtype=graphc.float16)).tolist() == [2.0, 3.0]
    assert graphc.eq(x, 1, out=graphc.empty(2)).tolist() == [1.0, 0.0]
    n = graphc.zeros(2, dtype=graphc.int64)
    with pytest.raises(DTypeMismatch, match="not cast to out"):
        graphc.add(x, 1, out=n)
    assert n.tolist() == [0, 0]


def test_views_operands_and_wrong_shapes() -> None:
    x = graphc.arange(6.0).reshape(2, 3)
    assert graphc.mul(x, x, out=x) is x
    assert x.tolist() == [[0, 1, 4], [9, 16, 25]]
    graphc.neg(x[0], out=x[:, :].T[:, 1])
    assert x.tolist() == [[0, 1, 4], [0, -1, -4]]
    with pytest.warns(UserWarning, match=r"\(3,\) and was resized .* \(2, 3\)"):
        out = graphc.add(x, x, out=graphc.empty(3))
    assert out.tolist() == (2 * x).tolist()


def test_what_is_refused() -> None:
    x = graphc.ones(2, requires_grad=True)
    with pytest.raises(AutogradError, match=r"add.*out= is not differentiated"):
        graphc.add(x, 1, out=graphc.empty(2))
    with pytest.raises(AutogradError, match="out= is not differentiated"):
        graphc.add(x.detach(), 1, out=x)
    with graphc.no_grad():
        assert graphc.add(x, 1, out=x).tolist() == [2.0, 2.0]
    with pytest.raises(InvalidType, match="out must be a tensor, got int"):
        graphc.add(x, 1, out=3)
    with pytest.raises(InvalidType, match="out must be 2 tensors, got 1"):
        graphc.max(x.detach(), 0, out=graphc.empty(()))
    with pytest.raises(TypeError, match="unexpected keyword argument 'out'"):
        x.add(1, out=x)


def test_in_a_compiled_step() -> None:
    average = graphc.zeros(3)

    @graphc.compile
    def step(x: graphc.Tensor) -> graphc.Tensor:
        total = graphc.sum(x, 0, out=graphc.empty(3))
        graphc.lerp(average, total, 0.5, out=average)
        return total

    x = graphc.arange(6.0).reshape(2, 3)
    for _ in range(2):
        assert step(x).tolist() == [3.0, 5.0, 7.0]
    assert average.tolist() == [2.25, 3.75, 5.25]

    @graphc.compile
    def grows(x: graphc.Tensor) -> graphc.Tensor:
        return graphc.add(x, x, out=graphc.empty(0))

    with pytest.raises(Untraceable, match="would become"):
        grows(x)
