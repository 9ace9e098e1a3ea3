"""torch.distributed of one process: collectives copy, and give work where asked not to wait."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import graphc
import graphc.distributed as dist
from graphc.errors import InvalidArgument, InvalidState


@pytest.fixture
def alone() -> Iterator[None]:
    dist.init_process_group("gloo", world_size=1, rank=0)
    yield
    dist.destroy_process_group()


def tensors() -> tuple[graphc.Tensor, graphc.Tensor]:
    return graphc.zeros(3), graphc.tensor([1.0, 2.0, 3.0])


COLLECTIVES: dict[str, Any] = {
    "all_gather": lambda y, x, **k: dist.all_gather([y], x, **k),
    "all_gather_into_tensor": lambda y, x, **k: dist.all_gather_into_tensor(y, x, **k),
    "all_to_all": lambda y, x, **k: dist.all_to_all([y], [x], **k),
    "all_to_all_single": lambda y, x, **k: dist.all_to_all_single(y, x, [3], [3], **k),
    "gather": lambda y, x, **k: dist.gather(x, [y], **k),
    "reduce_scatter": lambda y, x, **k: dist.reduce_scatter(y, [x], **k),
    "reduce_scatter_tensor": lambda y, x, **k: dist.reduce_scatter_tensor(y, x, **k),
    "scatter": lambda y, x, **k: dist.scatter(y, [x], **k),
    "all_reduce": lambda y, x, **k: dist.all_reduce(y.copy_(x), dist.ReduceOp.AVG, **k),
    "reduce": lambda y, x, **k: dist.reduce(y.copy_(x), 0, **k),
    "broadcast": lambda y, x, **k: dist.broadcast(y.copy_(x), 0, **k),
}


@pytest.mark.parametrize("name", COLLECTIVES)
def test_collectives_copy(name: str, alone: None) -> None:
    y, x = tensors()
    assert COLLECTIVES[name](y, x) is None and graphc.equal(x, y)
    y, x = tensors()
    work = COLLECTIVES[name](y, x, async_op=True)
    assert isinstance(work, dist.Work) and work.wait() and work.is_completed()
    assert work.exception() is None and graphc.equal(x, y)


@pytest.mark.parametrize("name", COLLECTIVES)
def test_collectives_need_a_group(name: str) -> None:
    y, x = tensors()
    with pytest.raises(InvalidArgument, match="has not been initialized"):
        COLLECTIVES[name](y, x)


def test_objects(alone: None) -> None:
    into: list[Any] = [None]
    dist.gather_object({"a": 1}, into)
    assert into == [{"a": 1}]
    dist.scatter_object_list(into, ["b"])
    assert into == ["b"] and dist.barrier(async_op=True) is not None
    with pytest.raises(InvalidArgument):
        dist.scatter_object_list([], ["b"])
    with pytest.raises(InvalidArgument):
        dist.all_to_all([graphc.ones(1)] * 2, [graphc.ones(1)] * 2)


def test_ranks_and_groups(alone: None) -> None:
    world = dist.group.WORLD
    assert dist.get_process_group_ranks(world) == [0] and dist.get_pg_count() == 1
    assert dist.get_global_rank(world, 0) == dist.get_group_rank(world, 0) == 0
    own, every = dist.new_subgroups(1)
    assert every == [own] and own is not dist.GroupMember.NON_GROUP_MEMBER
    for refused in (
        lambda: dist.get_global_rank(world, 1),
        lambda: dist.get_group_rank(world, 2),
        lambda: dist.new_subgroups(2),
    ):
        with pytest.raises(InvalidArgument):
            refused()


def test_what_is_asked_before(monkeypatch: pytest.MonkeyPatch) -> None:
    assert dist.get_pg_count() == 0 and dist.default_pg_timeout.seconds == 1800
    assert not any(
        (dist.is_ucc_available(), dist.is_xccl_available(), dist.is_backend_available("nccl"))
    )
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert dist.get_node_local_rank(2) == 2
    with pytest.raises(InvalidState, match="fallback_rank"):
        dist.get_node_local_rank()
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert dist.get_node_local_rank() == 3
    assert dist.get_debug_level() is dist.DebugLevel.OFF
    dist.set_debug_level(dist.DebugLevel.INFO)
    assert dist.get_debug_level() is dist.DebugLevel.INFO
    dist.set_debug_level(dist.DebugLevel.OFF)
