"""What surrounds layers, run as small scripts with PyTorch and with ours: the results are equal."""

from __future__ import annotations

import re
import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest

import graphc

torch: Any = pytest.importorskip("torch")
SCRIPTS: dict[str, Callable[[Any], Any]] = {}


def script(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    SCRIPTS[f.__name__] = f
    return f


def net(T: Any) -> Any:
    return T.nn.Sequential(
        OrderedDict(a=T.nn.Linear(2, 3), n=T.nn.BatchNorm1d(3), s=T.nn.Sequential(T.nn.ReLU()))
    )


def error(f: Callable[[], Any]) -> str:
    """The class and the first line of what `f` raises."""
    try:
        f()
    except (RuntimeError, ValueError, TypeError, KeyError, AttributeError, IndexError) as e:
        kinds = (RuntimeError, ValueError, TypeError, KeyError, AttributeError, IndexError)
        kind = next(k.__name__ for k in kinds if isinstance(e, k))
        return f"{kind}: {str(e).splitlines()[0]}"
    return "no error"


@script
def reprs(T: Any) -> Any:
    nn = T.nn
    modules = [
        net(T), nn.ModuleList([nn.ReLU(), nn.Linear(1, 2)]), nn.ModuleList([nn.Linear(2, 2)] * 3),
        nn.ModuleDict({"a": nn.Tanh()}), nn.Sequential(), nn.Embedding(3, 2, 1, max_norm=1.0),
        nn.EmbeddingBag(3, 2), nn.EmbeddingBag(3, 2, max_norm=2.0, mode="max", padding_idx=0),
        nn.TransformerDecoderLayer(4, 2, 8), nn.TransformerEncoderLayer(4, 2, 8),
        nn.MultiheadAttention(4, 2), nn.InstanceNorm1d(3, affine=True, bias=False),
        nn.Embedding(3, 2, scale_grad_by_freq=True, norm_type=1.0),
        nn.Transformer(4, 2, 1, 1, 8), nn.Module(), nn.ParameterList(), nn.ParameterDict(),
    ]  # fmt: skip
    return [repr(m) for m in modules]


@script
def parameter_containers(T: Any) -> Any:
    nn = T.nn
    few = nn.ParameterList([nn.Parameter(T.ones(2)), T.ones(2, 3).double(), 5])
    named = nn.ParameterDict({"a": nn.Parameter(T.ones(2)), "b": 3, "c": T.ones(())})
    few += [T.zeros(1)]
    found = [repr(few), repr(named), repr(nn.Sequential(few)), len(few), few[2], named["b"]]
    found += [sorted(k for k, _ in few.named_parameters()), list(named.state_dict()), list(named)]
    found += [type(few[1]).__name__, len(few[1:3]), named.get("z", 7)]
    found += [[n for n, _ in few.named_parameters()], error(lambda: named["z"]), "b" in named]
    del named["a"]
    return [*found, len(named), [type(v).__name__ for v in named.values()]]


@script
def sequences(T: Any) -> Any:
    nn = T.nn
    m = nn.Sequential(OrderedDict(a=nn.Linear(2, 2), b=nn.ReLU6(), c=nn.Linear(2, 2)))
    part, twice, more = m[1:], m * 2, m + nn.Sequential(nn.Tanh())
    found = [repr(part), list(part.state_dict()), repr(twice), twice[0] is twice[3], repr(more)]
    found += [[n for n, _ in m[::2].named_children()], repr(nn.ModuleList(m)[1:])]
    few = nn.Sequential(nn.ReLU())
    found += [few.insert(-1, nn.Tanh()) is few, few.insert(2, nn.GELU()) is few, repr(few)]
    few += nn.Sequential(nn.ELU())
    few *= 2
    del few[0]
    return [
        *found, repr(few), error(lambda: few.insert(8, nn.ReLU()))[:10],
        error(lambda: few * 0)[:10], error(lambda: few * 1.5)[:9], error(lambda: few + 3)[:9],
        error(lambda: T.nn.utils.weight_norm(nn.Linear(1, 1), "none"))[:14],
        isinstance(nn.ReLU6(), nn.Hardtanh),
    ]  # fmt: skip


@script
def own_repr(T: Any) -> Any:
    class Scale(T.nn.Module):  # type: ignore[misc, name-defined]  # of the library under test
        def __init__(self) -> None:
            super().__init__()
            self.register_module("inner", T.nn.ReLU())
            self.register_module("none", None)

        def extra_repr(self) -> str:
            return "by=2"

    return repr(Scale()), repr(T.nn.Linear(2, 3).extra_repr())


@script
def walks(T: Any) -> Any:
    m = net(T)
    m.add_module("again", m.a)
    m.register_buffer("b", None)
    m.register_parameter("p", None)
    return [
        [n for n, _ in m.named_parameters()],
        [n for n, _ in m.named_parameters("x", recurse=False)],
        [n for n, _ in m.named_parameters(remove_duplicate=False)],
        [n for n, _ in m.named_buffers("y")],
        [n for n, _ in m.named_modules(prefix="z", remove_duplicate=False)],
        [n for n, _ in m.named_children()],
        [type(c).__name__ for c in m.children()],
        len(list(m.modules(remove_duplicate=False))),
        len(list(m.modules())),
        list(m.state_dict()),
        sorted(n for n in dir(m) if n in ("a", "n", "b", "p", "again")),
    ]


@script
def buffers(T: Any) -> Any:
    m = T.nn.Module()
    m.kept = T.nn.Buffer(T.ones(2))
    m.loose = T.nn.Buffer(T.zeros(2), persistent=False)
    out = [list(m.state_dict()), [n for n, _ in m.named_buffers()], m.kept.requires_grad]
    m.kept = T.zeros(3)
    del m.loose
    return [*out, [n for n, _ in m.named_buffers()], isinstance(T.nn.Buffer(T.ones(1)), T.Tensor)]


@script
def submodules(T: Any) -> Any:
    m = net(T)
    m.set_submodule("s.0", T.nn.Tanh())
    m.set_submodule("s.more", T.nn.Sigmoid())
    return [
        repr(m), repr(m.get_submodule("s.0")), repr(m.get_submodule("")),
        error(lambda: m.set_submodule("", T.nn.Tanh())),
        error(lambda: m.set_submodule("s.none", T.nn.Tanh(), strict=True)),
        error(lambda: m.set_submodule("none.x", T.nn.Tanh())),
        error(lambda: m.set_submodule("a.weight", T.nn.Tanh())),
        error(lambda: m.get_submodule("s.none")), error(lambda: m.get_submodule("a.weight")),
        error(lambda: m.get_parameter("a.none")), error(lambda: m.get_parameter("none.a")),
        error(lambda: m.get_parameter("n.running_mean")),
        error(lambda: m.get_buffer("a.weight")), error(lambda: m.get_buffer("a.none")),
    ]  # fmt: skip


@script
def registration_errors(T: Any) -> Any:
    m = net(T)
    m.plain = 3
    return [
        error(lambda: m.register_parameter("a.b", None)),
        error(lambda: m.register_parameter("", None)),
        error(lambda: m.register_parameter("plain", None)),
        error(lambda: m.register_buffer("a.b", None)),
        error(lambda: m.register_buffer("", None)),
        error(lambda: m.register_buffer("plain", None)),
        error(lambda: m.add_module("a.b", T.nn.ReLU())),
        error(lambda: m.add_module("", T.nn.ReLU())),
        error(lambda: m.add_module("plain", T.nn.ReLU())),
        error(lambda: m.nothing), error(lambda: delattr(m, "nothing")),
        error(lambda: m.train(3)), error(lambda: m.load_state_dict(3)),
        error(lambda: T.nn.Module()(1)),
        error(lambda: setattr(m.a, "weight", 3)), error(lambda: setattr(m, "a", 3)),
        error(lambda: setattr(m.n, "running_mean", 3)),
        error(lambda: m.register_buffer("x", 3)), error(lambda: m.register_parameter("x", 3)),
        error(lambda: m.add_module("x", 3)), error(lambda: m.register_buffer(3, None)),
    ]  # fmt: skip


@script
def loading(T: Any) -> Any:
    m, out = net(T), []
    full = m.state_dict()
    for change in ({"extra": 1, "a.more": 2, "s.0.x": 3}, {"a.bias": T.ones(4)}, {"a.bias": 3}):
        given = OrderedDict(full)
        given.update(change)
        out.append(error(lambda given=given: m.load_state_dict(given)))
    partial = {k: v for k, v in full.items() if k.startswith("a.")}
    out.append(error(lambda: m.load_state_dict(partial)))
    result = m.load_state_dict({"extra": 1, **partial}, strict=False)
    return [*out, result.missing_keys, result.unexpected_keys, str(m.load_state_dict(full))]


@script
def assigning(T: Any) -> Any:
    m = net(T)
    m.a.weight.requires_grad_(False)
    before, given = m.a.weight, {k: v.clone() for k, v in m.state_dict().items()}
    given["a.bias"] = T.nn.Parameter(T.ones(3).double(), requires_grad=False)
    m.load_state_dict(given, assign=True)
    given["a.weight"].fill_(7)
    return [
        m.a.weight is before, m.a.weight.tolist(), m.a.weight.requires_grad, m.a.bias.requires_grad,
        m.a.bias is given["a.bias"], m.a.bias.dtype is T.float64, type(m.a.weight).__name__,
        m.n.running_mean is given["n.running_mean"], [n for n, _ in m.named_parameters()],
        list(m.state_dict()),
    ]  # fmt: skip


@script
def full_load_error(T: Any) -> Any:
    m = net(T)
    given = OrderedDict(m.state_dict())
    del given["a.bias"]
    given["z"] = given["n.bias"]
    given["n.bias"] = T.ones(7)
    try:
        m.load_state_dict(given)
    except RuntimeError as e:
        return [re.sub(r" \[GC\d+\]", "", line) for line in str(e).splitlines()[:4]]


@script
def state_destination(T: Any) -> Any:
    m, box = net(T), OrderedDict()
    same = m.state_dict(destination=box, prefix="q.") is box
    kept = m.state_dict(keep_vars=True)
    return [
        same, list(box), kept["a.weight"] is m.a.weight, m.state_dict()["a.weight"].requires_grad,
        {k: dict(v) for k, v in m.state_dict()._metadata.items()},
    ]  # fmt: skip


@script
def state_hooks(T: Any) -> Any:
    m, log = net(T), []
    m.a.register_state_dict_pre_hook(lambda mod, prefix, keep: log.append(("pre", prefix, keep)))

    def post(mod: Any, state: Any, prefix: Any, meta: Any) -> None:
        log.append(("post", prefix, sorted(meta)))
        state.pop(prefix + "bias")

    handle = m.a.register_state_dict_post_hook(post)
    keys = list(m.state_dict())

    def before(mod: Any, state: Any, prefix: Any, *rest: Any) -> None:
        log.append(("before", prefix, sorted(state)))
        state[prefix + "bias"] = T.ones(3)

    def after(mod: Any, incompatible: Any) -> None:
        log.append(("after", type(mod).__name__, list(incompatible.missing_keys)))
        incompatible.missing_keys.clear()

    m.a.register_load_state_dict_pre_hook(before)
    m.register_load_state_dict_post_hook(after)
    m.n.register_load_state_dict_post_hook(after)
    given = m.state_dict()
    del given["n.bias"]
    text = str(m.load_state_dict(given))
    handle.remove()
    return [keys, log, text, m.a.bias.tolist(), list(m.state_dict())]


@script
def extra_state(T: Any) -> Any:
    class Counted(T.nn.Module):  # type: ignore[name-defined,misc]  # a base given at run time
        def __init__(self) -> None:
            super().__init__()
            self.count = 1
            self.inner = T.nn.Linear(1, 1)

        def get_extra_state(self) -> Any:
            return {"count": self.count}

        def set_extra_state(self, state: Any) -> None:
            self.count = state["count"]

    m, n = T.nn.Sequential(Counted()), T.nn.Sequential(Counted())
    m[0].count = 7
    n.load_state_dict(m.state_dict())
    short = {k: v for k, v in m.state_dict().items() if "extra" not in k}
    return [
        list(m.state_dict()), n[0].count, error(lambda: n.load_state_dict(short)),
        error(lambda: T.nn.Module().get_extra_state())[:60],
    ]  # fmt: skip


@script
def overridden_load(T: Any) -> Any:
    class Old(T.nn.Linear):  # type: ignore[name-defined,misc]  # as above
        _version = 2

        def _load_from_state_dict(self, state: Any, prefix: str, meta: Any, *rest: Any) -> None:
            if meta.get("version") is None:
                state[prefix + "weight"] = state.pop(prefix + "w")
            super()._load_from_state_dict(state, prefix, meta, *rest)

        def _save_to_state_dict(self, out: Any, prefix: str, keep_vars: bool) -> None:
            super()._save_to_state_dict(out, prefix, keep_vars)
            out[prefix + "note"] = 5

    m = T.nn.Sequential(Old(1, 1))
    given = {"0.w": T.ones(1, 1) * 3, "0.bias": T.zeros(1)}
    text = str(m.load_state_dict(given))
    return [text, list(given), m[0].weight.tolist(), list(m.state_dict())]


@script
def forward_hooks(T: Any) -> Any:
    class Failing(T.nn.Module):  # type: ignore[name-defined,misc]  # as above
        def forward(self, x: Any, fail: bool = False) -> Any:
            if fail:
                raise ValueError("no")
            return x

    m, log = Failing(), []
    m.register_forward_hook(lambda mod, args, out: log.append(("plain", out is None)))
    m.register_forward_hook(
        lambda mod, args, kwargs, out: log.append(("always", sorted(kwargs), out is None)),
        with_kwargs=True, always_call=True,
    )  # fmt: skip
    m.register_forward_pre_hook(
        lambda mod, args, kwargs: ((args[0] + 1,), kwargs), with_kwargs=True
    )
    m.register_forward_pre_hook(lambda mod, args: (args[0] * 10,), prepend=True)
    value = m(T.ones(1)).tolist()
    text = error(lambda: m(T.ones(1), fail=True))

    def broken(mod: Any, args: Any, out: Any) -> None:
        raise KeyError("hook")

    m.register_forward_hook(broken, always_call=True, prepend=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        again = error(lambda: m(T.ones(1), fail=True))
    return [value, log, text, again, len(caught)]


@script
def backward_hooks(T: Any) -> Any:
    m, log = T.nn.Linear(2, 1, bias=False), []
    with T.no_grad():
        m.weight.fill_(3.0)

    def pre(mod: Any, grad_output: Any) -> Any:
        log.append(("pre", grad_output[0].tolist()))
        return (grad_output[0] * 2,)

    m.register_full_backward_hook(
        lambda mod, gi, go: log.append(("full", gi[0].tolist(), go[0].tolist()))
    )
    handle = m.register_full_backward_pre_hook(pre)
    m.register_full_backward_pre_hook(
        lambda mod, go: log.append(("first", go[0].tolist())), prepend=True
    )
    x = T.ones(1, 2, requires_grad=True)
    m(x).sum().backward()
    first = [x.grad.tolist(), m.weight.grad.tolist()]
    handle.remove()
    m(x).sum().backward()
    return [first, log, x.grad.tolist()]


@script
def conversions(T: Any) -> Any:
    m = net(T)
    weight = m.a.weight
    out = [m.half().a.weight.dtype is T.float16, m.type(T.float64).a.weight.dtype is T.float64]
    m.to(T.ones(1, dtype=T.float32)).requires_grad_(False)
    out += [m.a.weight is weight, weight.dtype is T.float32, weight.requires_grad]
    out += [m.to_empty(device="cpu") is m, m.bfloat16().n.running_var.dtype is T.bfloat16]
    return [*out, m.n.num_batches_tracked.dtype is T.int64, error(lambda: m.to(T.int64))]


@script
def pretrained(T: Any) -> Any:
    rows = T.ones(3, 2) * 5
    e = T.nn.Embedding.from_pretrained(rows, padding_idx=1)
    b = T.nn.EmbeddingBag.from_pretrained(rows, mode="sum", freeze=False)
    return [
        repr(e), e.weight.tolist(), e.weight.requires_grad, repr(b), b.weight.requires_grad,
        T.nn.Embedding(3, 2, _weight=rows, _freeze=True).weight.requires_grad,
    ]  # fmt: skip


@script
def parameter_dicts(T: Any) -> Any:
    d = T.nn.ParameterDict({"a": T.ones(1), "b": T.zeros(2)})
    first = d.a
    out = [list(d), list(reversed(d)), len(d), d.get("a") is first, d.get("z", 7)]
    d.update({"c": T.ones(3)})
    d.update([("e", T.ones(4))])
    both = d | {"f": T.ones(1)}
    out += [list(both), both["a"] is first, list({"g": T.ones(1)} | d), d.setdefault("a") is first]
    d |= {"h": T.ones(1)}
    out += [d.popitem()[0], d.pop("b").tolist(), list(d.copy()), "c" in d]
    out += [[n for n, _ in d.named_parameters()], list(d.fromkeys(["x", "y"], T.ones(1)))]
    d.clear()
    return [*out, len(d)]


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.filterwarnings("ignore:.*weight_norm")
@pytest.mark.parametrize("name", SCRIPTS)
def test_same(name: str) -> None:
    def plain(x: Any) -> Any:
        if isinstance(x, list | tuple):
            return [plain(y) for y in x]
        return re.sub(r" \[GC\d+\]", "", x.replace("graphc", "torch")) if isinstance(x, str) else x

    assert plain(SCRIPTS[name](graphc)) == plain(SCRIPTS[name](torch))
