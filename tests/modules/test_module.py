"""Module: registration, traversal, state, hooks, modes, copies and the mutation epoch."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.frontend import epoch
from graphc.nn.state import IncompatibleKeys


class Block(nn.Module):
    """A parameter, two buffers, a tied pair of layers and a child."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(graphc.ones(2))
        self.register_buffer("seen", graphc.zeros(2))
        self.register_buffer("scratch", graphc.zeros(1), persistent=False)
        self.first = nn.Linear(2, 2)
        self.second = nn.Linear(2, 2)
        self.second.weight = self.first.weight
        self.depth = 3

    def forward(self, x: Any) -> Any:
        return self.second(self.first(x)) * self.scale


def test_registration_and_traversal() -> None:
    m = Block()
    assert [n for n, _ in m.named_parameters()] == [
        "scale", "first.weight", "first.bias", "second.bias",
    ]  # fmt: skip
    assert [n for n, _ in m.named_parameters(remove_duplicate=False)][3] == "second.weight"
    assert [n for n, _ in m.named_buffers()] == ["seen", "scratch"]
    assert [n for n, _ in m.named_modules()] == ["", "first", "second"]
    assert [n for n, _ in m.named_children()] == ["first", "second"]
    assert m.get_submodule("first") is m.first
    assert m.get_parameter("first.weight") is m.second.weight
    assert m.get_buffer("seen") is m.seen
    assert list(m.state_dict()) == [
        "scale", "seen", "first.weight", "first.bias", "second.weight", "second.bias",
    ]  # fmt: skip
    assert "scale" in dir(m) and "first" in dir(m)


def test_assignment_moves_a_name_between_tables() -> None:
    m = Block()
    m.depth = nn.Parameter(graphc.ones(1))
    assert "depth" in m._parameters and "depth" not in m.__dict__
    m.seen = nn.Linear(1, 1)
    assert "seen" in m._modules and "seen" not in m._buffers
    m.first = None
    assert m.first is None and "first" in m._modules
    del m.scale
    assert not hasattr(m, "scale")
    with pytest.raises(AttributeError, match="'Block' object has no attribute 'nothing'"):
        _ = m.nothing


def test_assignment_errors() -> None:
    m = Block()
    with pytest.raises(TypeError):
        m.scale = graphc.ones(2)
    with pytest.raises(TypeError):
        m.first = 3
    with pytest.raises(KeyError):
        m.register_buffer("depth", graphc.ones(1))
    with pytest.raises(KeyError):
        m.add_module("a.b", nn.Identity())
    with pytest.raises(TypeError):
        m.add_module("a", 3)  # type: ignore[arg-type]  # the error under test
    with pytest.raises(TypeError):
        m.register_parameter("late", nn.Parameter(graphc.ones(2)) * 2)  # type: ignore[arg-type]

    class Early(nn.Module):
        def __init__(self) -> None:
            self.weight = nn.Parameter(graphc.ones(1))

    with pytest.raises(AttributeError, match=r"before Module.__init__\(\) call"):
        Early()
    with pytest.raises(NotImplementedError, match='missing the required "forward"'):
        nn.Module()(1)
    with pytest.raises(ValueError):
        m.train(1)  # type: ignore[arg-type]  # the error under test


def test_load_state_dict_names_every_fault_and_changes_nothing() -> None:
    m = Block()
    state = OrderedDict((k, v.clone() + 1) for k, v in m.state_dict().items())
    before = {k: v.tolist() for k, v in m.state_dict().items()}
    del state["scale"], state["first.bias"]
    state["extra"] = graphc.ones(1)
    state["seen"] = graphc.ones(3)
    with pytest.raises(RuntimeError) as e:
        m.load_state_dict(state)
    text = str(e.value)
    assert "Error(s) in loading state_dict for Block:" in text
    assert 'Missing key(s) in state_dict: "scale", "first.bias".' in text
    assert 'Unexpected key(s) in state_dict: "extra".' in text
    assert "size mismatch for seen: copying a param with shape graphc.Size([3])" in text
    assert {k: v.tolist() for k, v in m.state_dict().items()} == before
    state["seen"] = graphc.ones(2)
    result = m.load_state_dict(state, strict=False)
    assert result.missing_keys == ["scale", "first.bias"]
    assert result.unexpected_keys == ["extra"]
    assert m.seen.tolist() == [1.0, 1.0]
    assert str(m.load_state_dict(m.state_dict())) == "<All keys matched successfully>"
    assert str(IncompatibleKeys(["a"], [])) == (
        "_IncompatibleKeys(missing_keys=['a'], unexpected_keys=[])"
    )


def test_state_dict_shares_memory_and_loading_keeps_identity() -> None:
    m, other = Block(), Block()
    weight = m.first.weight
    m.load_state_dict(other.state_dict())
    assert m.first.weight is weight and m.second.weight is weight
    with graphc.no_grad():
        weight.fill_(4.0)
    assert m.state_dict()["second.weight"].tolist() == [[4.0, 4.0], [4.0, 4.0]]
    assert not m.state_dict()["scale"].requires_grad


def test_hooks_fire_in_order_and_stop_when_removed() -> None:
    m = nn.Linear(2, 2)
    log: list[str] = []
    m.register_forward_pre_hook(lambda mod, args: log.append("pre"))
    second = m.register_forward_hook(lambda mod, args, out: log.append("after"))
    m.register_forward_hook(lambda mod, args, out: log.append("first"), prepend=True)
    m(graphc.ones(1, 2))
    second.remove()
    m(graphc.ones(1, 2))
    assert log == ["pre", "first", "after", "pre", "first"]
    with m.register_forward_hook(lambda mod, args, out: out * 0):
        assert m(graphc.ones(1, 2)).tolist() == [[0.0, 0.0]]
    replaced = nn.Identity()
    replaced.register_forward_pre_hook(lambda mod, args: args[0] + 1)
    replaced.register_forward_hook(lambda mod, args, kwargs, out: out * 10, with_kwargs=True)
    assert replaced(graphc.ones(1)).tolist() == [20.0]


@pytest.mark.parametrize("wrap", [lambda f: f, graphc.compile], ids=["eager", "compiled"])
def test_full_backward_hooks(wrap: Any) -> None:
    m, seen = nn.Linear(2, 3), []

    def watch(module: Any, grad_input: Any, grad_output: Any) -> Any:
        seen.append((module is m, tuple(grad_input[0].shape), tuple(grad_output[0].shape)))
        return (grad_input[0] * 10,)

    handle = m.register_full_backward_hook(watch)
    x = nn.Parameter(graphc.ones(4, 2))

    @wrap
    def step() -> None:
        x.grad = None
        m(x * 1).sum().backward()

    step()
    expected = np.tile(m.weight.detach().numpy().sum(0), (4, 1))
    np.testing.assert_allclose(x.grad.numpy(), 10 * expected, rtol=1e-5)
    assert seen == [(True, (4, 2), (4, 3))]
    handle.remove()
    step()
    np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-5)
    first: list[Any] = []
    m.register_full_backward_hook(lambda mod, gi, go: first.append((gi, tuple(go[0].shape))))
    m(graphc.ones(4, 2)).sum().backward()
    assert first == [((None,), (4, 3))]


def test_modes_and_gradients() -> None:
    m = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Dropout(0.5)))
    assert not m.eval()[1][0].training and m.train()[1][0].training
    m.requires_grad_(False)
    assert not any(p.requires_grad for p in m.parameters())
    m.requires_grad_()
    m(graphc.ones(1, 2)).sum().backward()
    m.zero_grad(set_to_none=False)
    assert m[0].weight.grad.tolist() == [[0.0, 0.0], [0.0, 0.0]]
    m.zero_grad()
    assert m[0].weight.grad is None
    names: list[str] = []
    m.apply(lambda mod: names.append(type(mod).__name__))
    assert names == ["Linear", "Dropout", "Sequential", "Sequential"]


def test_conversion_keeps_parameters_and_integers() -> None:
    m = nn.BatchNorm1d(2)
    weight = m.weight
    m.double()
    assert m.weight is weight and weight.dtype is graphc.float64
    assert m.running_mean.dtype is graphc.float64
    assert m.num_batches_tracked.dtype is graphc.int64
    assert m.to(graphc.float32).weight.dtype is graphc.float32
    with pytest.raises(RuntimeError):
        m.to("cuda")


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_keep_ties_and_share_nothing(copied: Any) -> None:
    m = Block()
    twin = copied(m)
    assert twin.first.weight is not m.first.weight
    assert isinstance(twin.first.weight, nn.Parameter) and twin.first.weight.requires_grad
    with graphc.no_grad():
        twin.scale.fill_(9.0)
    assert m.scale.tolist() == [1.0, 1.0]
    if copied is copy.deepcopy:
        assert twin.first.weight is twin.second.weight


def test_containers() -> None:
    seq = nn.Sequential(OrderedDict(a=nn.Linear(2, 3), b=nn.ReLU()))
    assert list(seq.state_dict()) == ["a.weight", "a.bias"]
    assert isinstance(seq[1], nn.ReLU) and isinstance(seq[-1], nn.ReLU) and len(seq[:1]) == 1
    seq.append(nn.Tanh())
    assert [type(m).__name__ for m in seq] == ["Linear", "ReLU", "Tanh"]
    with pytest.raises(IndexError):
        seq[3]
    items = nn.ModuleList([nn.Linear(1, 1), nn.Linear(1, 1)])
    items.insert(0, nn.ReLU())
    del items[1]
    assert list(items.state_dict()) == ["1.weight", "1.bias"] and len(items) == 2
    items[0] = nn.Tanh()
    assert isinstance(items[0], nn.Tanh)
    named = nn.ModuleDict({"x": nn.Linear(1, 1)})
    named["y"] = nn.ReLU()
    assert list(named) == ["x", "y"] and "x" in named and isinstance(named.pop("y"), nn.ReLU)
    params = nn.ParameterList([graphc.ones(1), nn.Parameter(graphc.zeros(1))])
    assert len(list(params.parameters())) == 2 and params[-1].tolist() == [0.0]
    table = nn.ParameterDict({"k": graphc.ones(1)})
    assert [n for n, _ in table.named_parameters()] == ["k"]


CHANGES: list[tuple[str, Any, bool]] = [
    ("attribute", lambda m: setattr(m, "depth", 4), True),
    ("same_attribute", lambda m: setattr(m, "depth", 3), False),
    ("mode", lambda m: m.eval(), True),
    ("same_mode", lambda m: m.train(), False),
    ("child", lambda m: setattr(m, "third", nn.Identity()), True),
    ("parameter", lambda m: setattr(m, "scale", nn.Parameter(graphc.ones(2))), True),
    ("buffer", lambda m: setattr(m, "seen", graphc.ones(2)), True),
    ("delete", lambda m: delattr(m, "seen"), True),
    ("hook", lambda m: m.register_forward_hook(lambda *a: None), True),
    ("requires_grad", lambda m: m.requires_grad_(False), True),
    ("call", lambda m: m(graphc.ones(1, 2)), False),
    ("load", lambda m: m.load_state_dict(m.state_dict()), False),
]


@pytest.mark.parametrize(("name", "change", "moves"), CHANGES, ids=[c[0] for c in CHANGES])
def test_epoch(name: str, change: Any, moves: bool) -> None:
    m = Block()
    before = epoch.modules
    change(m)
    assert (epoch.modules != before) == moves


def test_parameter() -> None:
    data = graphc.ones(2)
    p = nn.Parameter(data)
    assert p.requires_grad and p.is_leaf and isinstance(p, graphc.Tensor)
    data.fill_(5.0)
    assert p.tolist() == [5.0, 5.0]
    assert repr(p) == "Parameter containing:\ntensor([5., 5.], requires_grad=True)"
    assert not nn.Parameter(data, requires_grad=False).requires_grad
    with pytest.raises(RuntimeError):
        nn.Parameter(graphc.ones(2, dtype=graphc.int64))


def test_assigned_buffer_of_a_compiled_step_is_carried() -> None:
    class Counter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("total", graphc.zeros(2))

        def forward(self, x: Any) -> Any:
            self.total = self.total + x
            return self.total * 1

    m = Counter()
    step = graphc.compile(lambda x: m(x))
    for k in range(3):
        out = step(graphc.ones(2))
        np.testing.assert_array_equal(out.numpy(), [k + 1.0] * 2)
    np.testing.assert_array_equal(m.total.numpy(), [3.0, 3.0])


def test_a_module_that_passes_names_on_is_not_asked_for_what_it_is_given() -> None:
    class Wrapper(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner
            self.switch = True

        @property
        def on(self) -> bool:
            return bool(self.kept)

        def __getattr__(self, name: str) -> Any:
            try:
                return super().__getattr__(name)
            except AttributeError:
                return getattr(self.inner if self.on else None, name)

        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, value)

    wrapper = Wrapper.__new__(Wrapper)
    nn.Module.__init__(wrapper)
    wrapper.inner = nn.Linear(2, 3)
    assert [name for name, _ in wrapper.named_children()] == ["inner"]
    with pytest.raises(AttributeError, match=r"before Module.__init__\(\) call"):
        Wrapper.__new__(Wrapper).inner = nn.ReLU()
