"""Strides as PyTorch shows them: each function on inputs that lie in many ways, and formats.

The table needs PyTorch; what a user relies on most stands below it in numbers.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest

import graphc
import graphc.nn.functional

Function = Callable[[Any, Any], Any]  # of a namespace, graphc or torch, and a tensor
CL = (2, 4, 6, 6)


def made(T: Any, *shape: int) -> Any:
    n = int(np.prod(shape))
    return ((T.arange(float(n)) * 7 % 11 - 5) / 4).reshape(shape).to(T.float32)


LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "row-major": lambda T: made(T, *CL),
    "channels last": lambda T: made(T, *CL).to(memory_format=T.channels_last),
    "one channel": lambda T: made(T, 2, 1, 6, 6).to(memory_format=T.channels_last),
    "one position": lambda T: made(T, 2, 4, 1, 1).to(memory_format=T.channels_last),
    "every other channel": lambda T: made(T, 2, 8, 6, 6).to(memory_format=T.channels_last)[:, ::2],
    "one image": lambda T: made(T, 3, 4, 6, 6).to(memory_format=T.channels_last)[1:2],
    "permuted": lambda T: made(T, 2, 6, 6, 4).permute(0, 3, 1, 2),
    "turned": lambda T: made(T, 2, 4, 6, 6).transpose(2, 3),
    "reversed": lambda T: made(T, 6, 6, 4, 2).permute(3, 2, 1, 0),
    "repeated": lambda T: made(T, 1, 4, 1, 1).expand(*CL),
    "volume": lambda T: made(T, 2, 4, 2, 6, 6).to(memory_format=T.channels_last_3d),
    "matrix": lambda T: made(T, 6, 4).t(),
    "columns": lambda T: made(T, 4, 12)[:, ::2],
    "gaps, turned": lambda T: made(T, 6, 8)[:, ::2].t(),
    "block": lambda T: made(T, 5, 4, 6).transpose(0, 2),
    "vector": lambda T: made(T, 12)[::2],
}

ELEMENTWISE: dict[str, Function] = {
    "relu": lambda T, x: x.relu(),
    "neg": lambda T, x: -x,
    "exp": lambda T, x: x.exp(),
    "sigmoid": lambda T, x: x.sigmoid(),
    "add number": lambda T, x: x + 1,
    "number minus": lambda T, x: 1 - x,
    "power": lambda T, x: x**2,
    "add self": lambda T, x: x + x,
    "add row-major": lambda T, x: x + x.contiguous(),
    "row-major add": lambda T, x: x.contiguous() + x,
    "add row": lambda T, x: x + x[..., :1, :].contiguous() if x.dim() > 1 else x + 1,
    "row add": lambda T, x: x[..., :1, :].contiguous() + x if x.dim() > 1 else x + 1,
    "add 0-d": lambda T, x: x + T.tensor(2.0),
    "mul last": lambda T, x: x * T.ones(x.shape[-1]),
    "compare": lambda T, x: x > 0,
    "where": lambda T, x: T.where(x > 0, x, -x),
    "clamp": lambda T, x: x.clamp(-1, 1),
    "maximum": lambda T, x: T.maximum(x, x * 2),
    "double": lambda T, x: x.double(),
    "to int": lambda T, x: x.to(T.int64),
    "gelu": lambda T, x: T.nn.functional.gelu(x),
    "silu": lambda T, x: T.nn.functional.silu(x),
    "leaky": lambda T, x: T.nn.functional.leaky_relu(x),
    "hardtanh": lambda T, x: T.nn.functional.hardtanh(x),
    "softplus": lambda T, x: T.nn.functional.softplus(x),
    "dropout": lambda T, x: T.nn.functional.dropout(x, 0.5),
    "mse": lambda T, x: T.nn.functional.mse_loss(x, x + 1, reduction="none"),
    "lerp": lambda T, x: T.lerp(x, x + 1, 0.5),
    "addcmul": lambda T, x: T.addcmul(x, x, x),
    "inplace": lambda T, x: x.clone().add_(1),
    "inplace of row-major": lambda T, x: x.contiguous().clone().add_(x),
}

COPIES: dict[str, Function] = {
    "clone": lambda T, x: x.clone(),
    "clone contiguous": lambda T, x: x.clone(memory_format=T.contiguous_format),
    "contiguous": lambda T, x: x.contiguous(),
    "to contiguous": lambda T, x: x.to(memory_format=T.contiguous_format),
    "to preserve": lambda T, x: x.to(memory_format=T.preserve_format),
    "to copy": lambda T, x: x.to(T.float32, copy=True),
    "deepcopy": lambda T, x: copy.deepcopy(x.clone()),
    "zeros_like": lambda T, x: T.zeros_like(x),
    "ones_like": lambda T, x: T.ones_like(x, dtype=T.int64),
    "empty_like": lambda T, x: T.empty_like(x),
    "full_like": lambda T, x: T.full_like(x, 2.0),
    "rand_like": lambda T, x: T.rand_like(x),
    "randn_like": lambda T, x: T.randn_like(x),
    "randint_like": lambda T, x: T.randint_like(x, 5),
    "like, contiguous": lambda T, x: T.zeros_like(x, memory_format=T.contiguous_format),
    "new_zeros": lambda T, x: x.new_zeros(x.shape),
    "copy_": lambda T, x: T.zeros(x.shape).copy_(x),
    "channels_last": lambda T, x: x.to(memory_format=T.channels_last),
    "contiguous channels_last": lambda T, x: x.contiguous(memory_format=T.channels_last),
    "clone channels_last": lambda T, x: x.clone(memory_format=T.channels_last),
    "double channels_last": lambda T, x: x.double(memory_format=T.channels_last),
    "like, channels_last": lambda T, x: T.zeros_like(x, memory_format=T.channels_last),
    "channels_last_3d": lambda T, x: x.to(memory_format=T.channels_last_3d),
}

VIEWS: dict[str, Function] = {
    "as is": lambda T, x: x,
    "detach": lambda T, x: x.detach(),
    "flatten": lambda T, x: x.flatten(),
    "flatten from 1": lambda T, x: x.flatten(1) if x.dim() > 1 else x,
    "flatten 2": lambda T, x: x.flatten(2) if x.dim() > 2 else x,
    "view(-1)": lambda T, x: x.view(-1),
    "view 2": lambda T, x: x.view(*x.shape[:2], -1) if x.dim() > 2 else x,
    "unsqueeze": lambda T, x: (x.unsqueeze(0), x.unsqueeze(1), x.unsqueeze(-1)),
    "squeeze": lambda T, x: x[:1].squeeze(0),
    "reshape": lambda T, x: x.reshape(-1, 2),
    "first": lambda T, x: x[0],
    "last": lambda T, x: x[..., -1],
    "part": lambda T, x: x[:1, 1:],
    "step": lambda T, x: x[..., ::2],
    "permute": lambda T, x: x.permute(*reversed(range(x.dim()))),
    "permute, add": lambda T, x: x.permute(*reversed(range(x.dim()))) + 1,
    "part, add": lambda T, x: x[..., 1:] + 1,
    "first, relu": lambda T, x: x[0].relu(),
    "as_strided": lambda T, x: T.as_strided(x.relu(), (3,), (2,)),
    "as_strided of a part": lambda T, x: T.as_strided(x.clone()[-1:], (2, 2), (1, 3)),
    "chunk": lambda T, x: x.chunk(2)[0],
    "expand": lambda T, x: x.expand(3, *x.shape),
    "unbind": lambda T, x: x.unbind(0)[1],
}

OTHERS: dict[str, Function] = {
    "sum": lambda T, x: x.sum(0),
    "mean": lambda T, x: x.mean(-1, keepdim=True),
    "amax": lambda T, x: x.amax(0, keepdim=True),
    "max": lambda T, x: tuple(x.max(0)),
    "cumsum": lambda T, x: x.cumsum(0),
    "softmax": lambda T, x: x.softmax(0),
    "log_softmax": lambda T, x: x.log_softmax(-1),
    "sort": lambda T, x: x.sort(0).values,
    "flip": lambda T, x: x.flip(0),
    "cat": lambda T, x: T.cat([x, x]),
    "cat 1": lambda T, x: T.cat([x, x], -1),
    "cat mixed": lambda T, x: T.cat([x, x.contiguous()]),
    "stack": lambda T, x: T.stack([x, x]),
    "stack 1": lambda T, x: T.stack([x, x], 1),
    "repeat": lambda T, x: x.repeat(*[2] * x.dim()),
    "gather": lambda T, x: x.gather(0, T.zeros(x.shape, dtype=T.int64)),
    "index_select": lambda T, x: x.index_select(0, T.tensor([0, 1])),
    "masked_fill": lambda T, x: x.masked_fill(x > 0, 0.0),
    "layer_norm": lambda T, x: T.nn.functional.layer_norm(x, tuple(x.shape[-1:])),
    "linear": lambda T, x: T.nn.functional.linear(x, T.ones(3, x.shape[-1])),
    "matmul": lambda T, x: x @ T.ones(x.shape[-1], 3),
    "pad": lambda T, x: T.nn.functional.pad(x, (1, 1)),
    "argsort": lambda T, x: x.argsort(0),
    "index": lambda T, x: x[T.tensor([0, 1])],
    "index 2": lambda T, x: x[..., T.tensor([[0, 1], [1, 0]])],
    "mask": lambda T, x: x[x > 0],
    "index_add": lambda T, x: x.index_add(0, T.arange(x.shape[0]), x),
    "tril": lambda T, x: x.tril(),
}

F: dict[str, Function] = {
    "conv": lambda N, x: N.conv2d(x, x.new_ones(3, x.shape[1], 1, 1)),
    "conv bias": lambda N, x: N.conv2d(x, x.new_ones(3, x.shape[1], 1, 1), x.new_ones(3)),
    "conv padded": lambda N, x: N.conv2d(x, x.new_ones(3, x.shape[1], 3, 3), padding=1),
    "conv_transpose": lambda N, x: N.conv_transpose2d(x, x.new_ones(x.shape[1], 3, 1, 1)),
    "unbatched conv": lambda N, x: N.conv2d(x[0], x.new_ones(3, x.shape[1], 1, 1)),
    "batch_norm": lambda N, x: N.batch_norm(x, x.new_zeros(x.shape[1]), x.new_ones(x.shape[1])),
    "batch_norm training": lambda N, x: N.batch_norm(x, None, None, training=True),
    "instance_norm": lambda N, x: N.instance_norm(x),
    "group_norm": lambda N, x: N.group_norm(x, 1),
    "max_pool": lambda N, x: N.max_pool2d(x, 2),
    "max_pool, where": lambda N, x: N.max_pool2d(x, 2, return_indices=True),
    "avg_pool": lambda N, x: N.avg_pool2d(x, 2),
    "avg_pool padded": lambda N, x: N.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
    "adaptive_avg_pool": lambda N, x: N.adaptive_avg_pool2d(x, 2),
    "adaptive_avg_pool 1": lambda N, x: N.adaptive_avg_pool2d(x, 1),
    "adaptive_max_pool": lambda N, x: N.adaptive_max_pool2d(x, 2),
    "interpolate": lambda N, x: N.interpolate(x, scale_factor=2),
    "bilinear": lambda N, x: N.interpolate(x, (3, 9), mode="bilinear"),
    "reflect": lambda N, x: N.pad(x, (1, 1, 1, 1), mode="reflect"),
    "replicate": lambda N, x: N.pad(x, (1, 1, 1, 1), mode="replicate"),
    "pixel_unshuffle": lambda N, x: N.pixel_unshuffle(x, 2),
}
IMAGES = {name: (lambda T, x, f=f: f(T.nn.functional, x)) for name, f in F.items()}

VOLUMES: dict[str, Function] = {
    "conv3d": lambda T, x: T.nn.functional.conv3d(x, x.new_ones(3, 4, 1, 1, 1)),
    "batch_norm": lambda T, x: T.nn.functional.batch_norm(x, None, None, training=True),
    "max_pool3d": lambda T, x: T.nn.functional.max_pool3d(x, 2),
    "avg_pool3d": lambda T, x: T.nn.functional.avg_pool3d(x, 2),
    "adaptive_avg_pool3d": lambda T, x: T.nn.functional.adaptive_avg_pool3d(x, 2),
    "interpolate": lambda T, x: T.nn.functional.interpolate(x, scale_factor=2),
}

# Strides of single elements, where PyTorch's functions follow several rules.
APART = {
    *((name, at) for name in ("clamp", "hardtanh") for at in ("one channel", "one position")),
    ("part, add", "one position"),  # a result without elements
    ("unbatched conv", "one position"),
    *(("unsqueeze", at) for at in ("one position", "one image")),
}

GENERAL = {**ELEMENTWISE, **COPIES, **VIEWS, **OTHERS}
ROWS = [
    *((name, layout, f) for layout in LAYOUTS for name, f in GENERAL.items()),
    *((name, layout, f) for layout in list(LAYOUTS)[:10] for name, f in IMAGES.items()),
    *((name, "volume", f) for name, f in VOLUMES.items()),
]
ERRORS = (RuntimeError, IndexError, TypeError, ValueError)


def facts(T: Any, function: Function, layout: str) -> Any:
    """Shapes, strides and contiguity of what the function gives, or that it raises."""
    try:
        out = function(T, LAYOUTS[layout](T))
    except ERRORS:
        return "raises"
    outs = out if isinstance(out, tuple) else (out,)
    return [(tuple(y.shape), y.stride(), *contiguity(T, y)) for y in outs]


def contiguity(T: Any, y: Any) -> list[bool]:
    formats = (T.contiguous_format, T.channels_last, T.channels_last_3d)
    return [y.is_contiguous(), *(y.is_contiguous(memory_format=f) for f in formats)]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_strides_are_pytorchs(layout: str) -> None:
    torch = pytest.importorskip("torch")
    wrong = []
    for name, at, function in ROWS:
        if at == layout and (name, layout) not in APART:
            wanted, found = facts(torch, function, layout), facts(graphc, function, layout)
            if wanted != found:
                wrong.append(f"{name}: {found}, not {wanted}")
    assert not wrong, "\n".join(wrong)


def test_the_table_is_long() -> None:
    assert len(ROWS) > 1000 > 10 * len(APART)


COMPILED = {
    **{name: GENERAL[name] for name in ("relu", "add number", "row-major add", "add row", "where")},
    **{name: GENERAL[name] for name in ("double", "clone", "contiguous", "zeros_like", "cat")},
    **{name: GENERAL[name] for name in ("inplace", "permute, add", "permute", "flatten from 1")},
    **{name: GENERAL[name] for name in ("view(-1)", "as_strided", "softmax", "to preserve")},
    **{name: GENERAL[name] for name in ("channels_last", "like, channels_last", "reshape")},
    **{name: IMAGES[name] for name in ("conv bias", "batch_norm training", "max_pool, where")},
}


@pytest.mark.parametrize("name", COMPILED)
def test_compiled_functions_show_the_strides_of_eager_ones(name: str) -> None:
    function = COMPILED[name]
    step = graphc.compile(lambda x: function(graphc, x))
    for layout in ("channels last", "turned", "every other channel", "row-major", "channels last"):
        x = LAYOUTS[layout](graphc)
        try:
            wanted = function(graphc, x)
        except RuntimeError:
            with pytest.raises(RuntimeError):
                step(x)
            continue
        found = step(x)
        pairs = zip(wanted, found) if isinstance(wanted, tuple) else [(wanted, found)]
        for a, b in pairs:
            if graphc.frontend.layouts.is_dense(tuple(a.shape), a.stride()):
                assert a.stride() == b.stride()
            assert a.shape == b.shape and graphc.allclose(a, b, equal_nan=True)


def test_a_compiled_step_is_traced_once_for_a_layout() -> None:
    step = graphc.compile(lambda x: x * 2)
    with graphc.assert_max_compiles(3):
        for n in range(3):
            for layout in ("row-major", "channels last", "turned"):
                x = LAYOUTS[layout](graphc) + n
                y = step(x)
                assert y.stride() == x.stride() and graphc.equal(y, x * 2)


def test_results_share_memory_and_views_as_in_eager_code() -> None:
    @graphc.compile
    def both(x: Any) -> Any:
        y = x + 1
        return y, y[:, 1], y.permute(0, 2, 3, 1)

    x = LAYOUTS["channels last"](graphc)
    y, part, turned = both(x)
    assert y.stride() == (144, 1, 24, 4) and part.stride() == (144, 24, 4)
    assert turned.is_contiguous() and turned.view(-1).tolist() == turned.flatten().tolist()
    turned.view(-1)[0] = 99.0
    assert y[0, 0, 0, 0].item() == 99.0
    part.zero_()
    assert y[:, 1].abs().sum().item() == 0.0


def net(T: Any) -> Any:
    T.manual_seed(0)
    layers = T.nn.Conv2d(3, 4, 3), T.nn.BatchNorm2d(4), T.nn.ReLU(), T.nn.MaxPool2d(2)
    return T.nn.Sequential(*layers, T.nn.Conv2d(4, 8, 2), T.nn.Flatten(), T.nn.Linear(32, 2))


def train(model: Any, x: Any, compiled: bool) -> list[float]:
    opt = graphc.optim.SGD(model.parameters(), 0.01, momentum=0.9)

    def step(x: Any) -> Any:
        opt.zero_grad()
        loss = (model(x) ** 2).mean()
        loss.backward()
        opt.step()
        return loss

    run = graphc.compile(step) if compiled else step
    return [run(x).item() for _ in range(4)]


@pytest.mark.parametrize("compiled", [False, True])
def test_a_channels_last_net_trains_as_the_other(compiled: bool) -> None:
    x = made(graphc, 2, 3, 8, 8)
    plain, last = net(graphc), net(graphc).to(memory_format=graphc.channels_last)
    assert last[0].weight.stride() == (27, 1, 9, 3) and last[4].weight.stride() == (16, 1, 8, 4)
    assert last[6].weight.is_contiguous() and last[1].running_mean.is_contiguous()
    images = x.to(memory_format=graphc.channels_last)
    assert train(plain, x, compiled) == pytest.approx(train(last, images, compiled), rel=1e-4)
    for a, b in zip(plain.parameters(), last.parameters()):
        assert graphc.allclose(a, b, atol=1e-5)
    # what programs keep in an order of their own is shown as it was
    assert last[0].weight.stride() == (27, 1, 9, 3)
    assert last[0].weight.is_contiguous(memory_format=graphc.channels_last)
    assert last[4].weight.detach().permute(0, 2, 3, 1).is_contiguous()
    assert plain[0].weight.stride() == (27, 9, 3, 1)
    state = last.state_dict()
    assert state["0.weight"].stride() == (27, 1, 9, 3)
    plain.load_state_dict(state)
    assert plain[0].weight.is_contiguous() and graphc.equal(plain[0].weight, last[0].weight)


def test_a_conv_follows_its_weight() -> None:
    last = net(graphc).to(memory_format=graphc.channels_last)
    y = last[0](made(graphc, 2, 3, 8, 8))
    assert y.is_contiguous(memory_format=graphc.channels_last) and not y.is_contiguous()
    forward = graphc.compile(last[:4])
    assert forward(made(graphc, 2, 3, 8, 8)).stride() == (36, 1, 12, 4)


def test_gradients_through_formats() -> None:
    x = made(graphc, *CL).requires_grad_()
    y = x.to(memory_format=graphc.channels_last)
    z = y.contiguous(memory_format=graphc.channels_last)
    assert z is y and y.grad_fn is not None
    ((y * 2).contiguous() * graphc.arange(288.0).reshape(CL)).sum().backward()
    assert x.grad.tolist() == (2 * graphc.arange(288.0)).reshape(CL).tolist()


def test_writes_go_where_the_elements_are() -> None:
    x = LAYOUTS["channels last"](graphc)
    rows = x.contiguous()
    x[:, 1] = 5.0
    x.add_(1).mul_(graphc.arange(4.0).reshape(4, 1, 1))
    rows[:, 1] = 5.0
    rows.add_(1).mul_(graphc.arange(4.0).reshape(4, 1, 1))
    assert graphc.equal(x, rows) and x.stride() == (144, 1, 24, 4)
    flat = x.permute(0, 2, 3, 1).view(-1)
    flat[1] = -1.0
    assert x[0, 1, 0, 0].item() == -1.0 and x.numpy().strides == (576, 4, 96, 16)
    assert graphc.as_strided(x, (4,), (1,)).tolist() == x[0, :, 0, 0].tolist()
    assert x.storage_offset() == 0 and x[:, 2].storage_offset() == 2
    assert x.permute(0, 2, 3, 1).data_ptr() == x.data_ptr()


def test_values_survive_files_pickles_and_text() -> None:
    x = LAYOUTS["channels last"](graphc)
    rows = x.contiguous()
    file = BytesIO()
    graphc.save({"x": x}, file)
    assert graphc.load(BytesIO(file.getvalue()))["x"].tolist() == rows.tolist()
    assert pickle.loads(pickle.dumps(x)).tolist() == rows.tolist()
    assert copy.deepcopy(x).stride() == x.stride()
    assert repr(x) == repr(rows) and x.tolist() == rows.tolist()
    assert graphc.equal(graphc.from_numpy(x.numpy()), rows)


REFUSED: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "view": (lambda T, x: x.view(2, -1), "reshape"),
    "rank": (lambda T, x: x[0].contiguous(memory_format=T.channels_last), "rank 4"),
    "rank 3d": (lambda T, x: x.to(memory_format=T.channels_last_3d), "rank 5"),
    "preserve": (lambda T, x: x.contiguous(memory_format=T.preserve_format), "preserve"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("compiled", [False, True])
def test_what_cannot_be_is_refused(name: str, compiled: bool) -> None:
    function, message = REFUSED[name]
    run = graphc.compile(function) if compiled else function
    with pytest.raises(RuntimeError, match=message):
        run(graphc, LAYOUTS["channels last"](graphc))


def test_a_format_must_be_one() -> None:
    for wrong in (3, "channels_last", graphc.float32):
        with pytest.raises(TypeError, match="memory format"):
            graphc.zeros(1, 1, 1, 1).to(memory_format=wrong)
    assert graphc.empty(2, 3, 4, 4, memory_format=graphc.channels_last).stride() == (48, 1, 12, 3)


def test_numpy_s_orders_are_shown() -> None:
    x = graphc.from_numpy(np.asfortranarray(np.arange(6.0).reshape(2, 3)))
    assert x.stride() == (1, 2) and (x + 1).stride() == (1, 2) and x.t().is_contiguous()
    assert (x + 1).tolist() == [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
