"""Which functions give views, of which memory, with which strides: as PyTorch, written through."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc

torch: Any = pytest.importorskip("torch")

SHAPED: dict[str, Callable[[Any], Any]] = {
    "reshape": lambda x: x.reshape(6, 4),
    "reshape_copy": lambda x: x.mT.reshape(-1),
    "view": lambda x: x.view(-1),
    "flatten": lambda x: x.flatten(),
    "flatten_same": lambda x: x.flatten(1, 1),
    "flatten_copy": lambda x: x.permute(2, 0, 1).flatten(),
    "unflatten": lambda x: x.unflatten(2, (2, 2)),
    "ravel": lambda x: x.ravel(),
    "squeeze": lambda x: x[:, :1].squeeze(1),
    "squeeze_nothing": lambda x: x.squeeze(0),
    "unsqueeze": lambda x: x.unsqueeze(-1),
    "transpose": lambda x: x.transpose(0, 2),
    "t": lambda x: x[0].t(),
    "mT": lambda x: x.mT,
    "permute": lambda x: x.permute(2, 0, 1),
    "movedim": lambda x: x.movedim(0, -1),
    "swapaxes": lambda x: x.swapaxes(0, 1),
    "adjoint": lambda x: x.adjoint(),
    "narrow": lambda x: x.narrow(1, 1, 2),
    "select": lambda x: x.select(2, 1),
    "slice": lambda x: x[:, 1:, ::2],
    "ellipsis": lambda x: x[...],
    "none": lambda x: x[None],
    "integer": lambda x: x[-1, 2],
    "indices": lambda x: x[[1, 0]],
    "expand_as": lambda x: x[:1].expand_as(x)[0],
    "diagonal": lambda x: x.diagonal(1, 0, 2),
    "diagonal_of_view": lambda x: x[:, ::2].diagonal(0, 1, 2),
    "diag": lambda x: x[0].diag(),
    "unfold": lambda x: x.unfold(2, 2, 2),
    "as_strided": lambda x: x.as_strided((2, 3), (4, 1), 2),
    "split": lambda x: x.split(1, 1)[2],
    "chunk": lambda x: x.chunk(2, 2)[1],
    "tensor_split": lambda x: x.tensor_split(2, 2)[1],
    "hsplit": lambda x: x.hsplit([1])[1],
    "unbind": lambda x: x.unbind(1)[1],
    "detach": lambda x: x.detach(),
    "data": lambda x: x.data,
    "alias": lambda x: x.view_as(x),
    "contiguous": lambda x: x.contiguous(),
    "contiguous_copy": lambda x: x.mT.contiguous(),
    "clone": lambda x: x.clone(),
    "to_same": lambda x: x.to(x.dtype),
    "float_same": lambda x: x.float(),
    "double": lambda x: x.double(),
    "flip": lambda x: x.flip(0),
    "roll": lambda x: x.roll(1, 0),
    "repeat": lambda x: x.repeat(1, 1, 1),
    "cat_one": lambda x: x.tile(1),
    "positive": lambda x: x.positive(),
    "repeat_rows": lambda x: x.repeat(2, 1, 1, 1),
    "tile_rows": lambda x: x.tile((2, 1, 1, 1)),
    "repeat_interleave_once": lambda x: x.repeat_interleave(1, 0),
    "roll_by_0": lambda x: x.roll(0),
    "roll_around": lambda x: x.roll(2, 0),
    "index_behind": lambda x: x[:, :, [1, 0]],
    "index_in_the_middle": lambda x: x[:, [1, 0]],
    "topk_indices": lambda x: x.topk(2).indices,
    "kthvalue_index": lambda x: x.kthvalue(2).indices,
}
COPIED: dict[str, Callable[[Any, Any], Any]] = {
    "pad": lambda F, x: F.pad(x, (0, 0)),
    "interpolate": lambda F, x: F.interpolate(x, scale_factor=1),
    "adaptive_avg_pool": lambda F, x: F.adaptive_avg_pool2d(x, (3, 4)),
}
TURNED: dict[str, Callable[[Any], Any]] = {
    "squeeze_": lambda x: x[:, :1].squeeze_(1),
    "unsqueeze_": lambda x: x.unsqueeze_(0),
    "transpose_": lambda x: x.transpose_(0, 2),
    "t_": lambda x: x[0].t_(),
    "swapaxes_": lambda x: x.swapaxes_(1, 2),
    "fill_diagonal_": lambda x: x[0].fill_diagonal_(9),
    "tril_": lambda x: x.tril_(),
}


def filled(T: Any) -> Any:
    return T.arange(24.0).reshape(2, 3, 4)


@pytest.mark.parametrize("name", SHAPED)
def test_memory_and_strides_are_torchs(name: str) -> None:
    found = []
    for T in (graphc, torch):
        x = filled(T)
        y = SHAPED[name](x)
        shares = y.data_ptr() >= x.data_ptr() and y.data_ptr() < x.data_ptr() + 96
        offset = (y.data_ptr() - x.data_ptr()) // 4 if shares else None
        facts = [shares, offset, tuple(y.shape), y.stride(), y.is_contiguous(), y is x]
        version = x._version
        y.mul_(2).add_(1)
        found.append([*facts, x._version > version or name == "data", x.tolist(), y.tolist()])
    assert found[0] == found[1]


@pytest.mark.parametrize("name", COPIED)
def test_a_layer_that_changes_nothing_copies(name: str) -> None:
    for T in (graphc, torch):
        x = filled(T)
        COPIED[name](T.nn.functional, x).zero_()
        assert x.tolist() == filled(T).tolist()


@pytest.mark.parametrize("name", TURNED)
def test_functions_in_place_change_the_tensor_itself(name: str) -> None:
    found = []
    for T in (graphc, torch):
        x = filled(T)
        y = TURNED[name](x)
        y.add_(1)
        found.append([tuple(x.shape), x.stride(), x.tolist(), tuple(y.shape), y.tolist()])
    assert found[0] == found[1]


@pytest.mark.parametrize("name", ["unsqueeze_", "transpose_", "swapaxes_"])
def test_a_leaf_keeps_its_shape(name: str) -> None:
    for T in (graphc, torch):
        x = filled(T).requires_grad_()
        with pytest.raises(RuntimeError):
            TURNED[name](x)
        assert tuple(x.shape) == (2, 3, 4)


def test_the_shape_of_an_argument_is_not_changed_by_a_step() -> None:
    with pytest.raises(graphc.errors.Untraceable, match="outlives the step"):
        graphc.compile(lambda x: x.transpose_(0, 1))(filled(graphc))


def test_history_follows_a_tensor_turned_in_place() -> None:
    found = []
    for T in (graphc, torch):
        x = filled(T).requires_grad_()
        y = x * x
        y.transpose_(0, 2).mul_(T.arange(4.0).reshape(4, 1, 1))
        (gradient,) = T.autograd.grad(y.sum(), x)
        found.append(gradient.numpy())
    np.testing.assert_array_equal(*found)


def test_a_view_of_what_was_turned_is_refused_not_wrong() -> None:
    x = filled(graphc).requires_grad_()
    y = x * 1
    row = y[0]
    y.transpose_(0, 2)
    y.mul_(2)
    with pytest.raises(RuntimeError, match="make the view again"):
        _ = row.requires_grad
