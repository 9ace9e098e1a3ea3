"""Tensors on a GPU as the user sees them: moved, looked at, written, mixed, saved, handed on.

On a stand-in whose addresses no host can follow, with two devices.
"""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from standin import StandIn, standing_in

import graphc
from graphc import nn
from graphc.frontend.tensor import Tensor


@pytest.fixture(autouse=True)
def gpu() -> Iterator[StandIn]:
    with standing_in() as made:
        yield made


def numbers(*shape: int) -> Tensor:
    return graphc.arange(float(np.prod(shape))).reshape(shape)


def equal(x: Tensor, y: Tensor) -> bool:
    return bool(np.array_equal(x.detach().cpu().numpy(), y.detach().cpu().numpy()))


# ---- moving ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "move",
    [
        lambda x: x.to("cuda"),
        lambda x: x.to("cuda:0", non_blocking=True),
        lambda x: x.to(graphc.device("cuda"), graphc.float32),
        lambda x: x.to(0),
        lambda x: x.to(device="cuda", copy=True),
        lambda x: x.to(graphc.ones(1, device="cuda")),
        lambda x: x.cuda(),
        lambda x: x.cuda(0, non_blocking=True),
        lambda x: graphc.as_tensor(x, device="cuda"),
        lambda x: graphc.tensor(x, device="cuda"),
    ],
)
def test_moves(move: Any) -> None:
    x = numbers(3, 4)
    y = move(x)
    assert y.device == graphc.device("cuda:0") and y.is_cuda and not y.is_cpu
    assert (y.get_device(), x.get_device()) == (0, -1)
    assert equal(x, y) and y.cpu().device == graphc.device("cpu") and y.spec == x.spec


def test_a_tensor_that_is_there_is_itself_unless_copied() -> None:
    x = numbers(2).cuda()
    assert x.to("cuda") is x and x.cuda() is x and x.to("cuda:0", graphc.float32) is x
    assert x.to("cuda", copy=True) is not x
    assert x.to("cuda", graphc.float64).dtype is graphc.float64
    assert x.to("cuda:1").device.index == 1 and equal(x.to("cuda:1"), x)


def test_a_move_keeps_how_elements_lie() -> None:
    x = numbers(2, 3, 4, 5).contiguous(memory_format=graphc.channels_last)
    y = x.cuda()
    assert y.stride() == x.stride() and equal(x, y)
    assert y.cpu().stride() == x.stride()
    part = x[:, ::2, :, 1:]
    assert part.cuda().stride() == part.clone().stride() and equal(part.cuda(), part)


def test_gradients_come_back_to_where_a_leaf_is() -> None:
    w = numbers(3).requires_grad_()
    (w.cuda() * 2).sum().backward()
    assert w.grad is not None and w.grad.is_cpu and w.grad.tolist() == [2.0] * 3
    v = numbers(3).cuda().requires_grad_()
    (v.cpu() * v.detach().cpu()).sum().backward()
    assert v.grad is not None and v.grad.is_cuda and v.grad.tolist() == [0.0, 1.0, 2.0]


def test_modules_move_with_their_integer_buffers() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).to("cuda")
    assert all(t.is_cuda for t in (*net.parameters(), *net.buffers()))
    weight = net[0].weight
    assert net.cpu() is net and net[0].weight is weight and weight.is_cpu
    net.cuda().double()
    assert net[0].weight.dtype is graphc.float64 and net[1].num_batches_tracked.is_cuda


def test_a_number_of_a_device_that_is_not_there() -> None:
    with pytest.raises(RuntimeError, match="invalid device ordinal"):
        graphc.ones(2, device="cuda:2")


# ---- factories ---------------------------------------------------------------------------------

FACTORIES: dict[str, Any] = {
    "zeros": lambda **o: graphc.zeros(2, 3, **o),
    "full": lambda **o: graphc.full((2,), 7, **o),
    "arange": lambda **o: graphc.arange(1, 9, 2, **o),
    "linspace": lambda **o: graphc.linspace(0, 1, 5, **o),
    "eye": lambda **o: graphc.eye(3, **o),
    "tensor": lambda **o: graphc.tensor([[1, 2], [3, 4]], **o),
    "rand": lambda **o: graphc.rand(5, 3, **o),
    "rand64": lambda **o: graphc.rand(4, dtype=graphc.float64, **o),
    "randn": lambda **o: graphc.randn(5, 3, **o),
    "randint": lambda **o: graphc.randint(10, (7,), **o),
    "randperm": lambda **o: graphc.randperm(9, **o),
    "normal": lambda **o: graphc.normal(1.0, 2.0, (4,), **o),
    "tril_indices": lambda **o: graphc.tril_indices(3, 3, **o),
    "hann_window": lambda **o: graphc.hann_window(8, **o),
}


@pytest.mark.parametrize("name", FACTORIES)
def test_factories_make_the_same_on_a_device(name: str) -> None:
    results = []
    for options in ({}, {"device": "cuda"}):
        graphc.manual_seed(3)
        results.append(FACTORIES[name](**options))
    here, there = results
    assert there.is_cuda and there.spec == here.spec and equal(here, there)


def test_the_default_device() -> None:
    with graphc.device("cuda"):
        assert graphc.zeros(2).is_cuda and graphc.tensor(1.0).is_cuda
        assert graphc.zeros(2, device="cpu").is_cpu and nn.Linear(2, 2).weight.is_cuda
        assert graphc.zeros_like(graphc.zeros(2, device="cpu")).is_cpu
        with graphc.device("cuda:1"):
            assert graphc.ones(1).device.index == 1
        assert graphc.get_default_device() == graphc.device("cuda:0")
    assert graphc.zeros(2).is_cpu
    graphc.set_default_device("cuda")
    try:
        assert graphc.rand(2).is_cuda
    finally:
        graphc.set_default_device(None)
    assert graphc.rand(2).is_cpu


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x.new_zeros(2),
        lambda x: x.new_full((2,), 3),
        lambda x: x.new_tensor([1.0]),
        lambda x: graphc.zeros_like(x),
        lambda x: graphc.rand_like(x),
        lambda x: graphc.randn_like(x),
        lambda x: graphc.full_like(x, 2),
        lambda x: x.clone(),
        lambda x: graphc.bernoulli(x * 0 + 0.5),
        lambda x: graphc.multinomial(x + 1, 2),
        lambda x: nn.functional.dropout(x, 0.5),
        lambda x: x.uniform_(),
        lambda x: x.normal_(),
    ],
)
def test_what_is_made_like_a_tensor_is_beside_it(make: Any) -> None:
    assert make(numbers(4).cuda()).is_cuda
    assert make(numbers(4)).is_cpu


# ---- looking -----------------------------------------------------------------------------------


def test_looking_at_elements() -> None:
    x = numbers(2, 3).cuda()
    assert x.tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]] and x[1, 2].item() == 5.0
    assert bool(x[0, 1]) and not bool(x[0, 0]) and int(x[1, 0]) == 3 and f"{x[0, 1]:.1f}" == "1.0"
    assert [r.tolist() for r in x] == x.tolist() and len(x) == 2 and 5.0 in x
    assert x.t()[2].tolist() == [2.0, 5.0] and x.half().tolist() == x.tolist()
    assert x.data_ptr() != 0 and x[1].storage_offset() == 3


def test_prints_as_pytorchs() -> None:
    x = graphc.tensor([1.5, 2.0], device="cuda")
    assert repr(x) == "tensor([1.5000, 2.0000], device='cuda:0')"
    assert repr(x.double()) == "tensor([1.5000, 2.0000], device='cuda:0', dtype=torch.float64)" \
        .replace("torch", "graphc")  # fmt: skip
    grown = repr(x.requires_grad_())
    assert grown == "tensor([1.5000, 2.0000], device='cuda:0', requires_grad=True)"
    assert "device='cuda:0', size=(0, 2)" in repr(graphc.zeros(0, 2, device="cuda"))


@pytest.mark.parametrize("look", [lambda x: x.numpy(), np.asarray, lambda x: np.add(x, 1)])
def test_numpy_is_told_to_wait_for_a_copy(look: Any) -> None:
    text = (
        "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu\\(\\) to copy the "
        "tensor to host memory first."
    )
    with pytest.raises(TypeError, match=text):
        look(numbers(2).cuda())
    assert numbers(2).cuda().numpy(force=True).tolist() == [0.0, 1.0]


# ---- views and writes --------------------------------------------------------------------------

WRITES: dict[str, Any] = {
    "slice": lambda x, v: x.__setitem__((slice(1, 3), slice(None, None, 2)), v(2, 2)),
    "number": lambda x, v: x.__setitem__((slice(None), 1), 7),
    "row": lambda x, v: x[2].copy_(v(4)),
    "transposed": lambda x, v: x.t().mul_(2),
    "diagonal": lambda x, v: x.diagonal().fill_(9),
    "mask": lambda x, v: x.__setitem__(x > 5, 0),
    "mask of values": lambda x, v: x.__setitem__(x > 8, v(3)),
    "indexed": lambda x, v: x.__setitem__(graphc.tensor([2, 0]), v(2, 4)),
    "list": lambda x, v: x.__setitem__([0, 2], 5),
    "pair": lambda x, v: x.__setitem__((v(2).long(), v(2).long()), v(2)),
    "flat": lambda x, v: x.view(-1)[3:9].add_(1),
    "overlapping": lambda x, v: x.view(-1)[1:].copy_(x.view(-1)[:-1].clone()),
    "expanded": lambda x, v: x.add_(v(4).expand(3, 4)),
    "index_put_": lambda x, v: x.index_put_((v(2).long(),), v(4), accumulate=True),
    "scatter_": lambda x, v: x.scatter_(1, v(3, 1).long() % 4, 9.0),
    "whole": lambda x, v: x.copy_(v(3, 4).t().contiguous().t()),
}


@pytest.mark.parametrize("name", WRITES)
def test_writes_go_to_the_memory_of_all_views(name: str) -> None:
    both = []
    for device in ("cpu", "cuda"):
        x = numbers(3, 4).to(device)
        seen = x.t()
        WRITES[name](x, lambda *s, device=device: numbers(*s).to(device))
        assert seen.device.type == device and x._version == both[0][2] if both else True
        both.append((x.cpu(), seen.cpu(), x._version))
    for a, b in zip(both[0][:2], both[1][:2]):
        assert equal(a, b)


def test_a_write_brings_elements_from_another_device() -> None:
    x, y = numbers(3).cuda(), numbers(3)
    x[1:] = graphc.tensor([8.0, 9.0])
    x[0] = 7
    y.copy_(x)
    assert x.tolist() == y.tolist() == [7.0, 8.0, 9.0]
    z = numbers(4, 2).cuda()[:, 0]
    z.copy_(graphc.ones(4).double())
    assert z.tolist() == [1.0] * 4
    with pytest.raises(RuntimeError, match="on the same device"):
        x[graphc.tensor([0, 1])] = graphc.ones(2)


def test_indices_of_the_cpu_choose_on_any_device() -> None:
    x = numbers(4, 2).cuda()
    for index in (graphc.tensor([2, 0]), graphc.tensor([True, False, True, False]), [1, 3]):
        assert x[index].is_cuda and equal(x[index], x.cpu()[index])
    assert x[x > 3].tolist() == [4.0, 5.0, 6.0, 7.0] and x.nonzero().is_cuda
    with pytest.raises(RuntimeError, match="on the same device"):
        numbers(4)[graphc.tensor([1], device="cuda")]


def test_history_of_writes_is_the_cpus() -> None:
    found = []
    for device in ("cpu", "cuda"):
        w = numbers(4).to(device).requires_grad_()
        x = w * 2
        x[1:3] = x[1:3].clone() * w[:2]
        x.view(2, 2)[0].mul_(3)
        (x * x).sum().backward()
        assert w.grad is not None and w.grad.device.type == device
        found.append(w.grad.tolist())
    assert found[0] == found[1]


# ---- two devices -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mix",
    [
        lambda a, b: a + b,
        lambda a, b: a @ b,
        lambda a, b: graphc.cat([a, b]),
        lambda a, b: graphc.where(a > 0, a, b),
        lambda a, b: a.add_(b),
        lambda a, b: graphc.maximum(a, b),
        lambda a, b: nn.functional.linear(a, b),
    ],
)
def test_devices_do_not_mix(mix: Any) -> None:
    a, b = graphc.ones(2, 2, device="cuda"), graphc.ones(2, 2)
    text = "Expected all tensors to be on the same device, but found at least two devices, "
    with pytest.raises(RuntimeError, match=text + "cuda:0 and cpu!") as caught:
        mix(a, b)
    assert caught.value.code == "GC011" and "test_tensors.py" in str(caught.value)  # type: ignore[attr-defined]
    assert a.tolist() == [[1.0, 1.0], [1.0, 1.0]]


def test_a_number_in_a_tensor_of_the_cpu_mixes() -> None:
    x, k = numbers(3).cuda().requires_grad_(), graphc.tensor(2.0, requires_grad=True)
    y = x * k + k
    y.sum().backward()
    assert y.is_cuda and y.tolist() == [2.0, 4.0, 6.0]
    assert k.grad is not None and k.grad.is_cpu and k.grad.item() == 6.0
    assert (k + graphc.tensor(1.0, device="cuda")).is_cuda
    with pytest.raises(RuntimeError, match="cuda:1 and cuda:0"):
        graphc.ones(2, device="cuda:1") + graphc.ones(2, device="cuda:0")


# ---- files, copies, other libraries ------------------------------------------------------------


@pytest.mark.parametrize(
    ("chosen", "device"),
    [
        (None, "cuda:0"),
        ("cpu", "cpu"),
        (graphc.device("cuda:1"), "cuda:1"),
        ({"cuda:0": "cuda:1"}, "cuda:1"),
        (lambda storage, location: storage, "cpu"),
        (lambda storage, location: storage.cuda(1), "cuda:1"),
        (lambda storage, location: None, "cuda:0"),
    ],
)
def test_checkpoints_are_mapped(chosen: Any, device: str) -> None:
    x = numbers(3).cuda()
    file = io.BytesIO()
    graphc.save({"x": x, "again": x, "k": 3}, file)
    file.seek(0)
    found = graphc.load(file, map_location=chosen)
    assert str(found["x"].device) == device and equal(found["x"], x) and found["k"] == 3
    assert found["x"] is found["again"]


def test_copies_stay_on_their_device() -> None:
    x = nn.Parameter(numbers(2, 3).cuda())
    for y in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert type(y) is type(x) and y.is_cuda and equal(x, y) and y.requires_grad


def test_state_dicts_load_across_devices() -> None:
    there, here = nn.Linear(2, 2).cuda(), nn.Linear(2, 2)
    there.load_state_dict(here.state_dict())
    assert there.weight.is_cuda and equal(there.weight, here.weight)
    optimizer = graphc.optim.Adam(there.parameters())
    there(numbers(1, 2).cuda()).sum().backward()
    optimizer.step()
    again = graphc.optim.Adam(here.parameters())
    again.load_state_dict(optimizer.state_dict())
    assert again.state[here.weight]["exp_avg"].is_cpu
    assert optimizer.state[there.weight]["exp_avg"].is_cuda


def test_bytes_seen_as_another_type_share_memory() -> None:
    x = numbers(4).cuda()
    bits = x.view(graphc.int32)
    assert bits.tolist() == numbers(4).view(graphc.int32).tolist()
    bits[0] = 1065353216
    assert x[0].item() == 1.0 and x.view(graphc.uint8).shape == (16,)
    assert x.untyped_storage().nbytes() == 16 and str(x.untyped_storage().device) == "cuda:0"
    assert x.untyped_storage().data_ptr() == x.data_ptr()


def test_the_interfaces_of_other_libraries() -> None:
    x = numbers(3, 4).cuda()[:, 1:3]
    told = x.__cuda_array_interface__
    assert told["shape"] == (3, 2) and told["strides"] == (16, 4) and told["typestr"] == "<f4"
    assert told["data"][0] == x.data_ptr()
    assert not hasattr(numbers(2), "__cuda_array_interface__")
    assert x.__dlpack_device__() == (2, 0) and numbers(2).__dlpack_device__() == (1, 0)
    y = graphc.from_dlpack(x)
    assert y.is_cuda and y.data_ptr() == x.data_ptr() and equal(x, y) and y.stride() == x.stride()
    y[0, 0] = 50
    assert x[0, 0].item() == 50
    shared = numbers(3)
    there = np.from_dlpack(shared)
    shared[0] = 4
    assert there[0] == 4 and graphc.from_dlpack(np.arange(3)).tolist() == [0, 1, 2]


class Foreign:
    """An array of another library's, such as CuPy's, over a tensor's memory."""

    def __init__(self, x: Tensor, **other: Any) -> None:
        self.held = x
        told = x.__cuda_array_interface__
        self.__cuda_array_interface__ = {**told, "stream": 1, **other}


@pytest.mark.parametrize("name", ["float32", "float16", "bool", "uint8", "int64", "float64"])
def test_memory_of_another_library_is_a_tensor(gpu: StandIn, name: str) -> None:
    x = numbers(3, 4).to(getattr(graphc, name)).cuda()[:, 1:3]
    y = graphc.as_tensor(Foreign(x), device="cuda")
    assert y.data_ptr() == x.data_ptr() and y.spec == x.spec and y.stride() == x.stride()
    y[0, 0] = 0
    assert equal(x, y) and graphc.asarray(Foreign(x)).data_ptr() == x.data_ptr()
    copied = graphc.tensor(Foreign(x))
    assert copied.is_cuda and equal(copied, x) and copied.data_ptr() != x.data_ptr()
    assert graphc.as_tensor(Foreign(x), device="cpu").is_cpu


def test_it_is_kept_and_found_on_its_gpu(gpu: StandIn) -> None:
    blocks = gpu.place(1).memory.blocks  # type: ignore[attr-defined]  # the stand-in's
    y = graphc.as_tensor(Foreign(numbers(5).to("cuda:1")))
    assert str(y.device) == "cuda:1" and y.tolist() == [0, 1, 2, 3, 4] and len(blocks) == 1
    del y
    assert not blocks
    empty = graphc.as_tensor(Foreign(numbers(0, 3).cuda()))
    assert empty.shape == (0, 3) and empty.is_cuda


REFUSED: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "of the host": ({"data": (4096, False)}, ValueError, "resides on host memory"),
    "only to be read": ({"data": (0, True)}, TypeError, "read only flag is not supported"),
    "of complex numbers": ({"typestr": "<c8"}, TypeError, "no dtype for elements of <c8"),
    "turned round": ({"strides": (-4,)}, TypeError, "strides of"),
    "with a mask": ({"mask": 1}, TypeError, "a mask is not supported"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_memory_that_is_no_tensor_is_refused(name: str) -> None:
    other, kind, says = REFUSED[name]
    with pytest.raises(kind, match=says):
        graphc.as_tensor(Foreign(numbers(3).cuda(), **other))


@pytest.mark.parametrize("name", ["float16", "bfloat16", "bool", "uint8", "int64", "float64"])
def test_dlpack_keeps_types(name: str) -> None:
    x = graphc.tensor([1, 0, 1]).to(getattr(graphc, name)).cuda()
    y = graphc.from_dlpack(x)
    assert y.spec == x.spec and y.tolist() == x.tolist()


def test_dlpack_keeps_memory_until_its_taker_is_done(gpu: StandIn) -> None:
    memory = gpu.place(0).memory
    capsule = numbers(5).cuda().__dlpack__()
    assert len(memory.blocks) == 1  # type: ignore[attr-defined]  # the stand-in's
    del capsule
    assert len(memory.blocks) == 0  # type: ignore[attr-defined]
    y = graphc.from_dlpack(numbers(5).cuda())
    assert y.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    del y
    assert len(memory.blocks) == 0  # type: ignore[attr-defined]


def test_pinned_memory() -> None:
    x = numbers(4).pin_memory()
    assert x.is_pinned() and not numbers(4).is_pinned() and x.tolist() == [0.0, 1.0, 2.0, 3.0]
    assert x.pin_memory() is x and graphc.zeros(2, pin_memory=True).is_pinned()
    assert equal(x.to("cuda", non_blocking=True), x)
    with pytest.raises(RuntimeError, match="only dense CPU tensors can be pinned"):
        x.cuda().pin_memory()


def test_memory_is_free_when_tensors_go(gpu: StandIn) -> None:
    memory = gpu.place(0).memory
    x = numbers(4, 4).cuda()
    view = x[1]
    del x
    assert len(memory.blocks) == 1 and view.tolist() == [4.0, 5.0, 6.0, 7.0]  # type: ignore[attr-defined]
    del view
    assert len(memory.blocks) == 0  # type: ignore[attr-defined]


def test_a_loader_pins_what_it_gives() -> None:
    data = [(numbers(2), {"k": k}) for k in range(4)]
    for x, rest in graphc.utils.data.DataLoader(data, 2, pin_memory=True):
        assert x.is_pinned() and rest["k"].is_pinned()


def test_sparse_tensors_move() -> None:
    x = graphc.sparse_coo_tensor([[0, 1], [1, 0]], [2.0, 3.0], (2, 2)).cuda()
    assert str(x.device) == "cuda:0" and x.to_dense().tolist() == [[0.0, 2.0], [3.0, 0.0]]
    assert x.cpu().device.type == "cpu"


def test_jacobians_are_checked_where_inputs_are() -> None:
    x = numbers(3).double().cuda().requires_grad_()
    assert graphc.autograd.gradcheck(lambda v: (v * v).sin(), (x,))
