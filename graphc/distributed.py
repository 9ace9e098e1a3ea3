"""torch.distributed's names for one process: there are no groups of several.

`is_available` says no, so scripts that ask run alone. One that insists may make a group of one, in
which collectives are done at once; a larger one is refused.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from graphc import config
from graphc.errors import InvalidArgument, Unsupported
from graphc.frontend.tensor import Tensor

__all__ = [
    "ProcessGroup",
    "ReduceOp",
    "all_gather",
    "all_gather_into_tensor",
    "all_gather_object",
    "all_reduce",
    "barrier",
    "broadcast",
    "broadcast_object_list",
    "destroy_process_group",
    "gather",
    "get_backend",
    "get_rank",
    "get_world_size",
    "group",
    "init_process_group",
    "is_available",
    "is_gloo_available",
    "is_initialized",
    "is_mpi_available",
    "is_nccl_available",
    "is_torchelastic_launched",
    "monitored_barrier",
    "new_group",
    "reduce",
    "scatter",
]


class ReduceOp(Enum):
    """How `all_reduce` joins; of one process, nothing changes."""

    SUM = 0
    AVG = 1
    PRODUCT = 2
    MIN = 3
    MAX = 4
    BAND = 5
    BOR = 6
    BXOR = 7


class ProcessGroup:
    """The group of this process alone."""

    def rank(self) -> int:
        return 0

    def size(self) -> int:
        return 1


class group:
    """torch.distributed.group: WORLD is the group once there is one."""

    WORLD: ProcessGroup | None = None


def is_available() -> bool:
    """False: there is one process."""
    return False


is_nccl_available = is_gloo_available = is_mpi_available = is_torchelastic_launched = is_available


def is_initialized() -> bool:
    """Whether `init_process_group` was called."""
    return group.WORLD is not None


def init_process_group(
    backend: str | None = None,
    init_method: str | None = None,
    timeout: Any = None,
    world_size: int = -1,
    rank: int = -1,
    store: Any = None,
    group_name: str = "",
    pg_options: Any = None,
    device_id: Any = None,
) -> None:
    """A group of this process alone; refused where more were started or asked for."""
    if is_initialized():
        raise InvalidArgument("trying to initialize the default process group twice!")
    size = config.number("world_size") if world_size < 0 else world_size
    if size > 1:
        raise Unsupported(
            f"init_process_group: {size} processes",
            why="graphc runs a step on the cores of one machine, in one process",
            fix="start one process; its threads use every core",
        )
    group.WORLD = ProcessGroup()


def destroy_process_group(group: Any = None) -> None:
    """Forget the group, so that it can be made again."""
    _default()
    globals()["group"].WORLD = None


def _default() -> ProcessGroup:
    if group.WORLD is None:
        raise InvalidArgument(
            "Default process group has not been initialized, please make sure to call "
            "init_process_group.",
            why="this process is alone",
            fix="ask is_initialized() first",
        )
    return group.WORLD


def new_group(ranks: Any = None, *args: Any, **kwargs: Any) -> ProcessGroup:
    """Another group of the one process."""
    _default()
    return ProcessGroup()


def get_rank(group: Any = None) -> int:
    """0, of the one process."""
    return _default().rank()


def get_world_size(group: Any = None) -> int:
    """1, the number of processes."""
    return _default().size()


def get_backend(group: Any = None) -> str:
    """ "graphc"."""
    _default()
    return "graphc"


def barrier(group: Any = None, async_op: bool = False, device_ids: Any = None) -> None:
    """Nobody else is to be waited for."""
    _default()


monitored_barrier = barrier


def all_reduce(
    tensor: Tensor, op: ReduceOp = ReduceOp.SUM, group: Any = None, async_op: bool = False
) -> None:
    """The sum (or else) over one process is what it has."""
    _default()


def reduce(
    tensor: Tensor, dst: int | None = None, op: ReduceOp = ReduceOp.SUM, group: Any = None,
    async_op: bool = False,
) -> None:  # fmt: skip
    """Leaves the tensor as it is: the sum over one process."""
    _default()


def broadcast(
    tensor: Tensor, src: int | None = None, group: Any = None, async_op: bool = False
) -> None:
    """Leaves the tensor as it is: it comes from the one process."""
    _default()


def broadcast_object_list(
    object_list: list[Any], src: int | None = None, group: Any = None, device: Any = None
) -> None:
    """Leaves the list as it is: it comes from the one process."""
    _default()


def all_gather(
    tensor_list: list[Tensor], tensor: Tensor, group: Any = None, async_op: bool = False
) -> None:
    """Into a list of one."""
    _default()
    _one(tensor_list).copy_(tensor)


def all_gather_into_tensor(
    output_tensor: Tensor, input_tensor: Tensor, group: Any = None, async_op: bool = False
) -> None:
    """Copies input_tensor, of the one process, to output_tensor, which has as many elements."""
    _default()
    output_tensor.copy_(input_tensor.reshape(output_tensor.shape))


def all_gather_object(object_list: list[Any], obj: Any, group: Any = None) -> None:
    """Puts `obj` into the list, which has one place."""
    _default()
    _one(object_list)
    object_list[0] = obj


def gather(
    tensor: Tensor, gather_list: list[Tensor] | None = None, dst: int | None = None,
    group: Any = None, async_op: bool = False,
) -> None:  # fmt: skip
    """Copies the tensor to the only one of `gather_list`."""
    _default()
    _one(gather_list).copy_(tensor)


def scatter(
    tensor: Tensor, scatter_list: list[Tensor] | None = None, src: int | None = None,
    group: Any = None, async_op: bool = False,
) -> None:  # fmt: skip
    """Copies the only one of `scatter_list` to the tensor."""
    _default()
    tensor.copy_(_one(scatter_list))


def _one(items: list[Any] | None) -> Any:
    if not items or len(items) != 1:
        raise InvalidArgument(f"expected a list of one entry, for one process, got {items!r:.100}")
    return items[0]
