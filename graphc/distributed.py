"""torch.distributed's names for one process: there are no groups of several.

`is_available` says no, so scripts that ask run alone. One that insists may make a group of one, in
which collectives are done at once; a larger one is refused.
"""

from __future__ import annotations

from datetime import timedelta
from enum import Enum
from typing import Any

from graphc import config
from graphc.errors import InvalidArgument, InvalidState, Unsupported
from graphc.frontend.tensor import Tensor

__all__ = [
    "DebugLevel",
    "GroupMember",
    "ProcessGroup",
    "ReduceOp",
    "Work",
    "all_gather",
    "all_gather_into_tensor",
    "all_gather_object",
    "all_reduce",
    "all_to_all",
    "all_to_all_single",
    "barrier",
    "broadcast",
    "broadcast_object_list",
    "default_pg_timeout",
    "destroy_process_group",
    "gather",
    "gather_object",
    "get_backend",
    "get_debug_level",
    "get_global_rank",
    "get_group_rank",
    "get_node_local_rank",
    "get_pg_count",
    "get_process_group_ranks",
    "get_rank",
    "get_world_size",
    "group",
    "init_process_group",
    "is_available",
    "is_backend_available",
    "is_gloo_available",
    "is_initialized",
    "is_mpi_available",
    "is_nccl_available",
    "is_torchelastic_launched",
    "is_ucc_available",
    "is_xccl_available",
    "monitored_barrier",
    "new_group",
    "new_subgroups",
    "reduce",
    "reduce_scatter",
    "reduce_scatter_tensor",
    "scatter",
    "scatter_object_list",
    "set_debug_level",
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


class DebugLevel(Enum):
    """How much is checked and told of collectives; of one process there is nothing to tell."""

    OFF = 0
    INFO = 1
    DETAIL = 2


_level = [DebugLevel.OFF]
default_pg_timeout = timedelta(minutes=30)


def get_debug_level() -> DebugLevel:
    """What was set last."""
    return _level[0]


def set_debug_level(level: DebugLevel) -> None:
    """Kept, for `get_debug_level`."""
    _level[0] = level


class ProcessGroup:
    """The group of this process alone."""

    def rank(self) -> int:
        return 0

    def size(self) -> int:
        return 1


class Work:
    """What a collective gives that was asked not to be waited for: it is done."""

    def wait(self, timeout: Any = None) -> bool:
        """True, at once."""
        return True

    is_completed = is_success = wait

    def exception(self) -> None:
        """None: nothing failed."""


class group:
    """torch.distributed.group: WORLD is the group once there is one."""

    WORLD: ProcessGroup | None = None


class GroupMember:
    """torch.distributed.GroupMember: what stands for a group that this process is not in."""

    NON_GROUP_MEMBER = -100


def is_available() -> bool:
    """False: there is one process."""
    return False


is_nccl_available = is_gloo_available = is_mpi_available = is_torchelastic_launched = is_available
is_ucc_available = is_xccl_available = is_available


def is_backend_available(backend: str) -> bool:
    """False of each: what joins processes is not there."""
    return False


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


def get_process_group_ranks(group: Any = None) -> list[int]:
    """[0], of the one process."""
    _default()
    return [0]


def get_global_rank(group: Any, group_rank: int) -> int:
    """The rank of a member of a group among all; InvalidArgument for another than 0."""
    _default()
    if group_rank != 0:
        raise InvalidArgument(f"Group rank {group_rank} is not part of group {group!r:.100}")
    return 0


def get_group_rank(group: Any, global_rank: int) -> int:
    """The rank in a group of a process; InvalidArgument for another than 0."""
    _default()
    if global_rank != 0:
        raise InvalidArgument(f"Global rank {global_rank} is not part of group {group!r:.100}")
    return 0


def get_node_local_rank(fallback_rank: int | None = None) -> int:
    """The rank on this machine that a launcher has set, else `fallback_rank`."""
    found = config.number("local_rank")
    if found >= 0:
        return found
    if fallback_rank is None:
        raise InvalidState(
            "LOCAL_RANK is not in the environment. Consider passing fallback_rank to allow "
            "`get_node_local_rank` to work",
        )
    return int(fallback_rank)


def get_pg_count() -> int:
    """How many groups there are: 1, or none before `init_process_group`."""
    return int(is_initialized())


def new_subgroups(
    group_size: int | None = None, group: Any = None, *args: Any, **kwargs: Any
) -> tuple[ProcessGroup, list[ProcessGroup]]:
    """The group of this process, and all of them, of one process each."""
    if group_size not in (None, 1):
        raise InvalidArgument(f"The arg 'group_size' ({group_size}) must not exceed the world size")
    made = new_group()
    return made, [made]


def get_backend(group: Any = None) -> str:
    """ "graphc"."""
    _default()
    return "graphc"


def barrier(group: Any = None, async_op: bool = False, device_ids: Any = None) -> Work | None:
    """Nobody else is to be waited for."""
    return _done(async_op)


monitored_barrier = barrier


def all_reduce(
    tensor: Tensor, op: ReduceOp = ReduceOp.SUM, group: Any = None, async_op: bool = False
) -> Work | None:
    """The sum (or else) over one process is what it has."""
    return _done(async_op)


def reduce(
    tensor: Tensor, dst: int | None = None, op: ReduceOp = ReduceOp.SUM, group: Any = None,
    async_op: bool = False,
) -> Work | None:  # fmt: skip
    """Leaves the tensor as it is: the sum over one process."""
    return _done(async_op)


def broadcast(
    tensor: Tensor, src: int | None = None, group: Any = None, async_op: bool = False
) -> Work | None:
    """Leaves the tensor as it is: it comes from the one process."""
    return _done(async_op)


def broadcast_object_list(
    object_list: list[Any], src: int | None = None, group: Any = None, device: Any = None
) -> None:
    """Leaves the list as it is: it comes from the one process."""
    _default()


def all_gather(
    tensor_list: list[Tensor], tensor: Tensor, group: Any = None, async_op: bool = False
) -> Work | None:
    """Into a list of one."""
    _default()
    _one(tensor_list).copy_(tensor)
    return _done(async_op)


def all_gather_into_tensor(
    output_tensor: Tensor, input_tensor: Tensor, group: Any = None, async_op: bool = False
) -> Work | None:
    """Copies input_tensor, of the one process, to output_tensor, which has as many elements."""
    _default()
    output_tensor.copy_(input_tensor.reshape(output_tensor.shape))
    return _done(async_op)


def all_gather_object(object_list: list[Any], obj: Any, group: Any = None) -> None:
    """Puts `obj` into the list, which has one place."""
    _default()
    _one(object_list)
    object_list[0] = obj


def gather(
    tensor: Tensor, gather_list: list[Tensor] | None = None, dst: int | None = None,
    group: Any = None, async_op: bool = False,
) -> Work | None:  # fmt: skip
    """Copies the tensor to the only one of `gather_list`."""
    _default()
    _one(gather_list).copy_(tensor)
    return _done(async_op)


def scatter(
    tensor: Tensor, scatter_list: list[Tensor] | None = None, src: int | None = None,
    group: Any = None, async_op: bool = False,
) -> Work | None:  # fmt: skip
    """Copies the only one of `scatter_list` to the tensor."""
    _default()
    tensor.copy_(_one(scatter_list))
    return _done(async_op)


def all_to_all(
    output_tensor_list: list[Tensor], input_tensor_list: list[Tensor], group: Any = None,
    async_op: bool = False,
) -> Work | None:  # fmt: skip
    """Copies the only one of the second list to the only one of the first."""
    _default()
    _one(output_tensor_list).copy_(_one(input_tensor_list))
    return _done(async_op)


def all_to_all_single(
    output: Tensor, input: Tensor, output_split_sizes: Any = None, input_split_sizes: Any = None,
    group: Any = None, async_op: bool = False,
) -> Work | None:  # fmt: skip
    """Copies input to output; sizes of parts, if given, are of one part."""
    _default()
    for sizes in (output_split_sizes, input_split_sizes):
        if sizes:
            _one(list(sizes))
    output.copy_(input)
    return _done(async_op)


def reduce_scatter(
    output: Tensor, input_list: list[Tensor], op: ReduceOp = ReduceOp.SUM, group: Any = None,
    async_op: bool = False,
) -> Work | None:  # fmt: skip
    """Copies the only one of `input_list` to output."""
    _default()
    output.copy_(_one(input_list))
    return _done(async_op)


def reduce_scatter_tensor(
    output: Tensor, input: Tensor, op: ReduceOp = ReduceOp.SUM, group: Any = None,
    async_op: bool = False,
) -> Work | None:  # fmt: skip
    """Copies input, of the one process, to output, which has as many elements."""
    _default()
    output.copy_(input.reshape(output.shape))
    return _done(async_op)


def gather_object(
    obj: Any, object_gather_list: list[Any] | None = None, dst: int | None = None,
    group: Any = None, group_dst: int | None = None,
) -> None:  # fmt: skip
    """Puts `obj` into the list, which has one place."""
    _default()
    _one(object_gather_list)
    assert object_gather_list is not None
    object_gather_list[0] = obj


def scatter_object_list(
    scatter_object_output_list: list[Any], scatter_object_input_list: list[Any] | None = None,
    src: int | None = None, group: Any = None, group_src: int | None = None,
) -> None:  # fmt: skip
    """Puts the only one of the second list into the first place of the first one."""
    _default()
    if not scatter_object_output_list:
        raise InvalidArgument("scatter_object_output_list must have at least one entry")
    scatter_object_output_list[0] = _one(scatter_object_input_list)


def _done(async_op: bool) -> Work | None:
    _default()
    return Work() if async_op else None


def _one(items: list[Any] | None) -> Any:
    if not items or len(items) != 1:
        raise InvalidArgument(f"expected a list of one entry, for one process, got {items!r:.100}")
    return items[0]
